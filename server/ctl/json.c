// cJSON parses and prints; numbers and hostile characters are dealt with around it.
#include "server/ctl/json.h"

#include "server/ctl/text.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define JSON_MAX (64u * 1024 * 1024)
#define EXACT_DIGITS 15

// Copies text, with quotes around integers that a double would round.
static enum err numbers_keep(struct bytes text, struct buf *out)
{
	const char *s = (const char *)text.data;
	bool in_string = false;

	for (size_t i = 0; i < text.size;) {
		size_t n = 1;

		if (in_string && s[i] == '\\' && i + 1 < text.size) {
			n = 2;
		} else if (s[i] == '"') {
			in_string = !in_string;
		} else if (!in_string && (isdigit((unsigned char)s[i]) || s[i] == '-')) {
			while (i + n < text.size && strchr("0123456789.eE+-", s[i + n]) && s[i + n])
				n++;
			if (n > EXACT_DIGITS && strspn(s + i, "-0123456789") >= n) {
				TRY(buf_printf(out, "\"%.*s\"", (int)n, s + i));
				i += n;
				continue;
			}
		}
		TRY(buf_append(out, s + i, n));
		i += n;
	}
	return buf_append(out, "", 1);
}

enum err json_parse(struct bytes text, cJSON **out)
{
	SCOPED_BUF struct buf kept, zero;

	buf_init(&kept, JSON_MAX);
	buf_init(&zero, JSON_MAX);
	// strspn above must not run past the end.
	TRY(buf_append(&zero, text.data, text.size));
	TRY(buf_append(&zero, "", 1));
	TRY(numbers_keep(bytes_of(zero.data, text.size), &kept));
	*out = cJSON_ParseWithOpts((const char *)kept.data, NULL, true);
	if (!*out)
		return err_set(ERR_FORMAT, "an answer that is not JSON");
	return ERR_OK;
}

const char *json_text(const cJSON *object, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	return s ? s : "";
}

double json_number(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (cJSON_IsString(item))
		return strtod(item->valuestring, NULL);
	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

uint64_t json_u64(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (cJSON_IsString(item))
		return strtoull(item->valuestring, NULL, 10);
	double v = cJSON_IsNumber(item) ? item->valuedouble : 0;
	return v > 0 && v < 1e19 ? (uint64_t)v : 0;
}

bool json_bool(const cJSON *object, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}

void json_add_u64(cJSON *object, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	cJSON_AddRawToObject(object, key, text);
}

void json_add_i64(cJSON *object, const char *key, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	cJSON_AddRawToObject(object, key, text);
}

void json_add_hex(cJSON *object, const char *key, const void *data, size_t size)
{
	SCOPED_FREE char *hex = malloc(2 * size + 1);

	if (!hex)
		return;
	hex_encode(data, size, hex);
	cJSON_AddStringToObject(object, key, hex);
}

// Outside strings JSON is ASCII, so every other character lies inside one and may be escaped.
void json_print_bytes(FILE *to, struct bytes text)
{
	const char *s = (const char *)text.data;

	for (size_t i = 0, n; i < text.size; i += n) {
		uint32_t c = text_next(s + i, text.size - i, &n);

		if (c == '\n' || c == '\t' || (c != 0xfffd && !text_is_hostile(c)))
			fwrite(s + i, 1, n, to);
		else if (c > 0xffff)
			fprintf(to, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
				(unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
		else
			fprintf(to, "\\u%04x", (unsigned)c);
	}
	if (text.size == 0 || s[text.size - 1] != '\n')
		fputc('\n', to);
}

void json_print(FILE *to, const cJSON *document, bool indented)
{
	SCOPED_FREE char *text =
		indented ? cJSON_Print(document) : cJSON_PrintUnformatted(document);

	if (text)
		json_print_bytes(to, bytes_of(text, strlen(text)));
}
