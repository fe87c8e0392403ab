// Text records; see escape.h.
#include "client/escape.h"

#include "proto/digest.h"
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

#define END_SIZE (4 + 64 + 1)

static void end_make(const void *data, size_t size, char line[END_SIZE + 1])
{
	struct digest d = sha256(data, size);

	memcpy(line, "end\t", 4);
	hex_encode(d.b, sizeof d.b, line + 4);
	line[END_SIZE - 1] = '\n';
}

enum err record_end(struct buf *text)
{
	char line[END_SIZE + 1];

	end_make(text->data, text->size, line);
	return buf_append(text, line, END_SIZE);
}

enum err record_body(struct bytes text, const char *what, char **out)
{
	char want[END_SIZE + 1];

	*out = NULL;
	if (text.size < END_SIZE)
		return err_set(ERR_CORRUPT, "%s is cut short", what);
	size_t size = text.size - END_SIZE;
	end_make(text.data, size, want);
	if (memcmp(text.data + size, want, END_SIZE) != 0)
		return err_set(ERR_CORRUPT, "%s does not match its digest", what);
	*out = malloc(size + 1);
	if (*out == NULL)
		return err_set(ERR_MEMORY, "no memory for %s", what);
	memcpy(*out, text.data, size);
	(*out)[size] = '\0';
	return ERR_OK;
}
