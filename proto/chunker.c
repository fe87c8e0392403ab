// FastCDC. The Gear hash of a place is a sum over the 64 bytes before it; a chunk ends where the
// top bits of that hash are zero. Two masks pull the lengths together (normalised chunking): 19
// bits up to CHUNK_NORMAL, 16 bits after it, which gives 190 KiB on average. The hash is begun 64
// bytes before the least length, so that a cut depends on the content alone and never on where
// the chunk began.
#include "proto/chunker.h"
#include "proto/limits.h"
#include <assert.h>

#define CHUNK_NORMAL (144 * 1024)
#define CUT_BITS_EARLY 19
#define CUT_BITS_LATE 16
#define GEAR_WINDOW 64

// Gear value of byte n: splitmix64 (Steele, Lea, Flood 2014) of its place in a sequence, worked out
// by the compiler. The seed is "helio v1" in ASCII.
#define SEED 0x68656c696f207631u
#define MIX_A(n) ((uint64_t)(n)*0x9e3779b97f4a7c15u + SEED)
#define MIX_B(z) (((z) ^ ((z) >> 30)) * 0xbf58476d1ce4e5b9u)
#define MIX_C(z) (((z) ^ ((z) >> 27)) * 0x94d049bb133111ebu)
#define MIX_D(z) ((z) ^ ((z) >> 31))
#define GEAR(n) MIX_D(MIX_C(MIX_B(MIX_A(n))))
#define GEAR4(n) GEAR(n), GEAR((n) + 1), GEAR((n) + 2), GEAR((n) + 3)
#define GEAR16(n) GEAR4(n), GEAR4((n) + 4), GEAR4((n) + 8), GEAR4((n) + 12)
#define GEAR64(n) GEAR16(n), GEAR16((n) + 16), GEAR16((n) + 32), GEAR16((n) + 48)

static const uint64_t gear[256] = {GEAR64(0), GEAR64(64), GEAR64(128), GEAR64(192)};

// First place in [at, end) where the top `bits` of the hash are zero; end when there is none.
static size_t find_cut(const uint8_t *data, size_t at, size_t end, unsigned bits, uint64_t *hash)
{
	uint64_t h = *hash;
	uint64_t below = UINT64_C(1) << (64 - bits);

	for (; at < end; at++) {
		h = (h << 1) + gear[data[at]];
		if (h < below)
			break;
	}
	*hash = h;
	return at;
}

size_t chunk_cut(const uint8_t *data, size_t size)
{
	assert(size >= 1);
	if (size <= CHUNK_AVG)
		return size;
	size_t end = size < CHUNK_MAX ? size : CHUNK_MAX;
	uint64_t h = 0;

	for (size_t i = CHUNK_MIN - GEAR_WINDOW; i < CHUNK_MIN; i++)
		h = (h << 1) + gear[data[i]];
	size_t at = find_cut(data, CHUNK_MIN, CHUNK_NORMAL, CUT_BITS_EARLY, &h);
	if (at < CHUNK_NORMAL)
		return at + 1;
	at = find_cut(data, CHUNK_NORMAL, end, CUT_BITS_LATE, &h);
	return at < end ? at + 1 : end;
}
