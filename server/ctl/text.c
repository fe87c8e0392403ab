// A decoder of UTF-8 that refuses overlong forms and surrogates, and a list of what is hostile.
#include "server/ctl/text.h"

#include <stdarg.h>
#include <string.h>
#include <wchar.h>

uint32_t text_next(const char *s, size_t size, size_t *length)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)s;
	size_t n = p[0] < 0x80             ? 1
		   : (p[0] & 0xe0) == 0xc0 ? 2
		   : (p[0] & 0xf0) == 0xe0 ? 3
		   : (p[0] & 0xf8) == 0xf0 ? 4
					   : 0;

	*length = 1;
	if (n == 1)
		return p[0];
	if (n == 0 || n > size)
		return 0xfffd;
	uint32_t c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0xfffd;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0xfffd;
	*length = n;
	return c;
}

bool text_is_hostile(uint32_t c)
{
	static const uint32_t ranges[][2] = {
		{0x00, 0x1f},
		{0x7f, 0x9f},
		{0xad, 0xad},
		{0x61c, 0x61c},
		{0x180e, 0x180e},
		{0x200b, 0x200f},
		{0x2028, 0x202e},
		{0x2060, 0x206f},
		{0xfe00, 0xfe0f},
		{0xfeff, 0xfeff},
		{0xfff0, 0xfffb},
		{0xe000, 0xf8ff},
		{0xe0000, 0x10ffff},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	}
	return false;
}

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
	if (text_escape(&out, s, strnlen(s, 64 * 1024)) != ERR_OK)
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
