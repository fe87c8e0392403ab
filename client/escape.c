// Text records; see escape.h.
#include "client/escape.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool byte_is_plain(unsigned char c)
{
	return c >= 0x20 && c != 0x7f && c != '%';
}

enum err escape_append(struct buf *out, const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;
		if (byte_is_plain(c))
			TRY(buf_append(out, s, 1));
		else
			TRY(buf_printf(out, "%%%02X", c));
	}
	return ERR_OK;
}

bool escape_decode(char *s)
{
	char *to = s;
	while (*s != '\0') {
		if (*s != '%') {
			*to++ = *s++;
			continue;
		}
		char hex[3] = {0};
		if (s[1] == '\0' || s[2] == '\0')
			return false;
		memcpy(hex, s + 1, 2);
		char *end;
		long value = strtol(hex, &end, 16);
		if (end != hex + 2 || value <= 0)
			return false;
		*to++ = (char)value;
		s += 3;
	}
	*to = '\0';
	return true;
}

char *record_line(char **cursor)
{
	char *line = *cursor;
	if (line == NULL || *line == '\0')
		return NULL;
	char *end = strchr(line, '\n');
	if (end != NULL) {
		*end = '\0';
		*cursor = end + 1;
	} else {
		*cursor = NULL;
	}
	return line;
}

size_t record_fields(char *line, char **fields, size_t max)
{
	size_t count = 0;
	while (count < max) {
		fields[count++] = line;
		char *tab = count < max ? strchr(line, '\t') : NULL;
		if (tab == NULL)
			break;
		*tab = '\0';
		line = tab + 1;
	}
	return count;
}

enum err record_u64(const char *field, uint64_t *out)
{
	if (field[0] < '0' || field[0] > '9')
		return err_set(ERR_FORMAT, "a number was expected");
	char *end;
	errno = 0;
	unsigned long long value = strtoull(field, &end, 10);
	if (errno != 0 || *end != '\0')
		return err_set(ERR_FORMAT, "a number was expected");
	*out = value;
	return ERR_OK;
}
