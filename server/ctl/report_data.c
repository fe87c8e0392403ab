// Bytes of a report; see report_data.h.
#include "server/ctl/report_data.h"

#include "server/ctl/text.h"
#include <stdio.h>
#include <string.h>

enum err report_data_decode(const char *base64, struct buf *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	int8_t value[256];
	uint32_t bits = 0;
	int have = 0;

	memset(value, -1, sizeof(value));
	for (int i = 0; digits[i]; i++)
		value[(unsigned char)digits[i]] = (int8_t)i;
	TRY(buf_reserve(out, strlen(base64) / 4 * 3 + 3));
	for (const char *p = base64; *p && *p != '='; p++) {
		int digit = value[(unsigned char)*p];

		if (digit < 0)
			return err_set(ERR_FORMAT, "the report's data is not base64");
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have >= 8) {
			have -= 8;
			out->data[out->size++] = (uint8_t)(bits >> have);
		}
	}
	return ERR_OK;
}

enum err report_data_write(struct bytes data, const char *path)
{
	FILE *f = fopen(path, "wb");

	if (!f)
		return err_set_errno("cannot create %s", path);
	size_t n = data.size ? fwrite(data.data, 1, data.size, f) : 0;
	if (fclose(f) != 0 || n != data.size)
		return err_set_errno("cannot write %s", path);
	return ERR_OK;
}

void report_lines_show(struct bytes text)
{
	char line[4096];
	const uint8_t *at = text.data, *end = text.data + text.size;

	while (at < end) {
		const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
		size_t size = (size_t)((newline ? newline : end) - at);
		size_t take = size < sizeof(line) - 1 ? size : sizeof(line) - 1;

		memcpy(line, at, take);
		line[take] = '\0';
		text_print(stdout, line);
		putchar('\n');
		at += size + 1;
	}
}
