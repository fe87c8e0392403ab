// What the targets for pictures share: a PNG whose sums are right, so that what is behind them is
// met; and what only costs time.
#ifndef HELIO_TESTS_FUZZ_PICTURE_H
#define HELIO_TESTS_FUZZ_PICTURE_H

#include "tests/fuzz/fuzz.h"

#define PNG_HEAD 8

static inline uint32_t png_u32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint32_t png_crc(const uint8_t *b, size_t size)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < size; i++) {
		crc ^= b[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	return ~crc;
}

// A copy in which the sum of each chunk is that of its bytes; of what is no PNG just a copy.
static inline uint8_t *png_mended(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	if (size < PNG_HEAD || memcmp(data, "\x89PNG\r\n\x1a\n", PNG_HEAD) != 0)
		return copy;
	for (size_t at = PNG_HEAD; at + 12 <= size;) {
		size_t length = png_u32(copy + at);
		if (length > size - at - 12)
			break;
		uint32_t crc = png_crc(copy + at + 4, length + 4);
		for (size_t i = 0; i < 4; i++)
			copy[at + 8 + length + i] = (uint8_t)(crc >> (24 - 8 * i));
		at += length + 12;
	}
	return copy;
}

// Large and allowed: takes seconds, and shows nothing that a small one does not.
static inline bool sides_are_slow(uint32_t width, uint32_t height)
{
	return (uint64_t)width * height > 1 << 20 && width <= 16384 && height <= 16384;
}

static inline bool picture_is_slow(struct bytes in)
{
	const uint8_t *b = in.data;

	if (in.size >= 24 && memcmp(b, "\x89PNG", 4) == 0)
		return sides_are_slow(png_u32(b + 16), png_u32(b + 20));
	for (size_t i = 0; in.size >= 9 && b[0] == 0xff && i < in.size - 9; i++)
		if (b[i] == 0xff && b[i + 1] >= 0xc0 && b[i + 1] <= 0xc2 &&
			sides_are_slow((uint32_t)b[i + 7] << 8 | b[i + 8],
				(uint32_t)b[i + 5] << 8 | b[i + 6]))
			return true;
	// Sides of a WebP stand in several forms, and what a film of its format takes is bounded by
	// its own limits: only small ones are tried.
	return in.size >= 30 && memcmp(b, "RIFF", 4) == 0 &&
	       ((memcmp(b + 12, "VP8 ", 4) == 0 && (b[27] | b[29]) > 3) ||
		       (memcmp(b + 12, "VP8L", 4) == 0 && (b[22] | b[24]) > 3) ||
		       (memcmp(b + 12, "VP8X", 4) == 0 && (b[25] | b[26] | b[28] | b[29]) > 3));
}

#endif
