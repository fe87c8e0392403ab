// Text records; see escape.h.
#include "client/escape.h"

#include "proto/end_line.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool byte_is_plain(unsigned char c)
{
	return c >= 0x20 && c != 0x7f && c != '%';
}

enum err escape_append(struct buf *out, const char *s)
{
	while (*s != '\0') {
		size_t plain = 0;
		while (byte_is_plain((unsigned char)s[plain]))
			plain++;
		TRY(buf_append(out, s, plain));
		s += plain;
		if (*s != '\0')
			TRY(buf_printf(out, "%%%02X", (unsigned char)*s++));
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

enum err record_end(struct buf *text)
{
	char line[END_LINE_SIZE + 1];
	struct digest sum = sha256(text->data, text->size);

	end_line_make(&sum, line);
	return buf_append(text, line, END_LINE_SIZE);
}

enum err record_body(struct bytes text, const char *what, char **out)
{
	*out = NULL;
	TRY(end_line_take(&text, what, NULL));
	*out = malloc(text.size + 1);
	if (*out == NULL)
		return err_set(ERR_MEMORY, "no memory for %s", what);
	memcpy(*out, text.data, text.size);
	(*out)[text.size] = '\0';
	return ERR_OK;
}

enum err record_magic(char *line, const struct record_format *format)
{
	char *f[2];
	uint64_t version;

	if (line == NULL || record_fields(line, f, 2) != 2 || strcmp(f[0], format->magic) != 0 ||
		record_u64(f[1], &version) != ERR_OK)
		return err_set(ERR_CORRUPT, "%s begins with something else", format->what);
	if (version < format->least || version > format->newest)
		return err_set(ERR_VERSION, "%s has format %llu, this agent knows %llu",
			format->what, (unsigned long long)version,
			(unsigned long long)format->newest);
	return ERR_OK;
}
