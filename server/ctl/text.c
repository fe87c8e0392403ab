// Escapes, and the columns that a text takes.
#include "server/ctl/text.h"

#include <stdarg.h>
#include <string.h>
#include <wchar.h>

enum err text_escape(struct buf *out, const char *s, size_t size)
{
	for (size_t i = 0, n; i < size; i += n) {
		uint32_t c = text_next(s + i, size - i, &n);

		if ((c == 0xfffd && n == 1) || c < 0x20 || c == 0x7f)
			TRY(buf_printf(out, "\\x%02x", (unsigned char)s[i]));
		else if (text_is_hostile(c))
			TRY(buf_printf(out, "\\u{%x}", (unsigned)c));
		else
			TRY(buf_append(out, s + i, n));
	}
	return ERR_OK;
}

void text_print(FILE *to, const char *s)
{
	SCOPED_BUF struct buf out;

	buf_init(&out, 1024 * 1024);
	if (text_escape(&out, s, (size_t)text_most(s, 64 * 1024)) != ERR_OK)
		return;
	if (out.size > 0)
		fwrite(out.data, 1, out.size, to);
}

void text_join(char *out, size_t size, const char *format, ...)
{
	size_t at = strlen(out);
	va_list args;

	if (at > 0 && at + 1 < size) {
		out[at++] = ' ';
		out[at] = '\0';
	}
	va_start(args, format);
	vsnprintf(out + at, size - at, format, args);
	va_end(args);
}

static size_t char_width(uint32_t c)
{
	int w = c < 0x80 ? 1 : wcwidth((wchar_t)c);

	return w < 0 ? 1 : (size_t)w;
}

size_t text_width(const char *s)
{
	size_t width = 0, size = strlen(s);

	for (size_t i = 0, n; i < size; i += n)
		width += char_width(text_next(s + i, size - i, &n));
	return width;
}

size_t text_cut(const char *s, size_t columns)
{
	size_t width = 0, size = strlen(s), i = 0;

	for (size_t n; i < size; i += n) {
		width += char_width(text_next(s + i, size - i, &n));
		if (width > columns)
			break;
	}
	return i;
}
