// A decoder of UTF-8 that refuses overlong forms and surrogates, and a list of what is hostile.
#include "proto/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Of a character that begins so; 0: none does.
static size_t character_size(unsigned char first)
{
	return first < 0x80             ? 1
	       : (first & 0xe0) == 0xc0 ? 2
	       : (first & 0xf0) == 0xe0 ? 3
	       : (first & 0xf8) == 0xf0 ? 4
					: 0;
}

uint32_t text_next(const char *s, size_t size, size_t *length)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *p = (const unsigned char *)s;
	size_t n = character_size(p[0]);

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

void text_blank(char *s, size_t size)
{
	for (size_t i = 0, n; i < size; i += n) {
		n = 1;
		if (s[i] >= 0x20 && s[i] < 0x7f)
			continue;
		uint32_t c = text_next(s + i, size - i, &n);
		if ((c == 0xfffd && n == 1) || text_is_hostile(c))
			memset(s + i, ' ', n);
	}
}

// ---- cutting

size_t text_whole(const char *s, size_t size)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t at = size;

	while (at > 0 && size - at < 3 && (p[at - 1] & 0xc0) == 0x80)
		at--;
	if (at == 0 || p[at - 1] < 0xc0)
		return size;
	return character_size(p[at - 1]) > size - at + 1 ? at - 1 : size;
}

int text_most(const char *s, size_t most)
{
	size_t size = strnlen(s, most + 1);

	return (int)(size <= most ? size : text_whole(s, most));
}

void text_format(char *out, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf(out, size, format, args);
	va_end(args);
	if (n < 0)
		out[0] = '\0';
	else if ((size_t)n >= size)
		out[text_whole(out, size - 1)] = '\0';
}
