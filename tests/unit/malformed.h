// Payloads that were good once: changed by chance in the ways that reach deep into a decoder. The
// same seed gives the same payloads. HELIO_MALFORMED says how many a test makes of them.
#ifndef HELIO_TESTS_UNIT_MALFORMED_H
#define HELIO_TESTS_UNIT_MALFORMED_H

#include "tests/unit/codec_samples.h"
#include "tests/unit/helper.h"

#define MALFORMED_ROOM (64u * 1024) // of a payload while it is changed

static inline size_t malformed_count(void)
{
	const char *said = getenv("HELIO_MALFORMED");

	return said ? strtoul(said, NULL, 10) : 20000;
}

struct chance {
	uint64_t state;
};

static inline uint32_t chance_below(struct chance *c, size_t limit)
{
	c->state ^= c->state << 13;
	c->state ^= c->state >> 7;
	c->state ^= c->state << 17;
	return limit ? (uint32_t)((c->state >> 16) % limit) : 0;
}

// Puts bytes into b at a place, in front of what stands there.
static inline void bytes_put(struct buf *b, size_t at, const uint8_t *data, size_t size)
{
	if (b->size + size > MALFORMED_ROOM || buf_reserve(b, b->size + size) != ERR_OK)
		return;
	memmove(b->data + at + size, b->data + at, b->size - at);
	memcpy(b->data + at, data, size);
	b->size += size;
}

static inline void bytes_cut(struct buf *b, size_t at, size_t size)
{
	memmove(b->data + at, b->data + at + size, b->size - at - size);
	b->size -= size;
}

// What a decoder stumbles over: ends of ranges, lengths that lie, tags that are none, groups.
static inline void put_stumbling_block(struct chance *c, struct buf *b, size_t at)
{
	static const struct bytes blocks[] = {SAMPLE_BYTES("\0"), SAMPLE_BYTES("\x08\x02"),
		SAMPLE_BYTES("\x0b"), SAMPLE_BYTES("\x0c"), SAMPLE_BYTES("\x0f"),
		SAMPLE_BYTES("\x12\x7f"), SAMPLE_BYTES("\x12\xff\xff\xff\xff\x0f"),
		SAMPLE_BYTES("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		SAMPLE_BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		SAMPLE_BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		SAMPLE_BYTES("\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"),
		SAMPLE_BYTES("\x40\0"), SAMPLE_BYTES("\x40\x63"), SAMPLE_BYTES("\xf8\x3f\x01"),
		SAMPLE_BYTES("\xfa\x7f\x20"), SAMPLE_BYTES("\x52\0"), SAMPLE_BYTES("\x62\0\x62\0"),
		SAMPLE_BYTES("\xc0\x80"), SAMPLE_BYTES("\xed\xa0\x80"), SAMPLE_BYTES("\x7f\x80")};
	const struct bytes *one = &blocks[chance_below(c, sizeof(blocks) / sizeof(blocks[0]))];

	bytes_put(b, at, one->data, one->size);
}

static inline void put_noise(struct chance *c, struct buf *b, size_t at)
{
	uint8_t noise[64];
	size_t size = 1 + chance_below(c, sizeof(noise));

	for (size_t i = 0; i < size; i++)
		noise[i] = (uint8_t)chance_below(c, 256);
	bytes_put(b, at, noise, size);
}

// The same element again and again, up to some thousand times.
static inline void put_many(struct chance *c, struct buf *b, size_t at)
{
	uint8_t element[2] = {(uint8_t)(chance_below(c, 15) << 3 | 2), 0};

	for (size_t n = (size_t)1 << chance_below(c, 13); n > 0; n--)
		bytes_put(b, at, element, sizeof(element));
}

static inline void change_once(struct chance *c, struct buf *b, struct bytes other)
{
	size_t at = chance_below(c, b->size + 1), left = b->size - at;
	size_t size = chance_below(c, left + 1), from = chance_below(c, other.size + 1);
	uint8_t copy[256];

	switch (chance_below(c, 64)) {
	case 0:
		put_many(c, b, at);
		return;
	case 1:
		b->size = at;
		return;
	case 2 ... 12:
		put_stumbling_block(c, b, at);
		return;
	case 13 ... 20:
		put_noise(c, b, at);
		return;
	case 21 ... 27:
		bytes_cut(b, at, size > 8 ? 8 : size);
		return;
	case 28 ... 33: // a part twice
		size = size > sizeof(copy) ? sizeof(copy) : size;
		memcpy(copy, b->data + at, size);
		bytes_put(b, chance_below(c, b->size + 1), copy, size);
		return;
	case 34 ... 39: // the tail of another message
		b->size = at;
		bytes_put(b, at, other.data + from, other.size - from);
		return;
	default:
		if (left == 0)
			return;
		if (chance_below(c, 2))
			b->data[at] ^= (uint8_t)(1u << chance_below(c, 8));
		else
			b->data[at] = (uint8_t)chance_below(c, 256);
	}
}

// One to four changes.
static inline void malform(struct chance *c, struct buf *b, struct bytes other)
{
	for (uint32_t n = 1 + chance_below(c, 4); n > 0; n--)
		change_once(c, b, other);
}

#endif
