// Aligned difference between old and new bytes: what an object of coding BSDIFF_ZSTD holds once
// zstd has let go of it. After Colin Percival's bsdiff ("Naive Differences of Executable Code",
// 2003): where new code is old code that moved, most bytes are equal and the others differ by a
// little; the differences are nearly all zero, and zstd writes those for almost nothing.
//
//   patch    := varint(control bytes) varint(diff bytes) control diff extra
//   control  := { varint(diff length) varint(extra length) varint(zigzag(seek)) }*
//
// The writer of the output stands at 0 of the base. Each triple: diff-length bytes are the sum
// (modulo 256) of base and diff, both go on; extra-length bytes come from extra; then the place in
// the base moves by seek. A varint is as protobuf's, of at most 5 bytes.
//
// Bounds, each checked before a byte is touched: output exactly as long as promised; every place in
// the base inside it; control, diff and extra used up to the last byte; a patch of at most
// DELTA_PATCH_MAX. The output is not believed: who decodes hashes it.
#ifndef HELIO_DELTA_H
#define HELIO_DELTA_H

#include "proto/base/mem.h"
#include "proto/limits.h"
#include <string.h>

// All of an object's output as extra or diff, and a control triple for every 16 bytes of it.
#define DELTA_PATCH_MAX (LIMIT_CHUNK + LIMIT_CHUNK / 4)

#define DELTA_GRAM 16 // bytes that new and old must have in common before anybody looks closer

// The place of the gram at p in a table of 2^bits.
static inline uint32_t delta_gram_slot(const uint8_t *p, unsigned bits)
{
	uint64_t a, b;

	memcpy(&a, p, sizeof a);
	memcpy(&b, p + 8, sizeof b);
	return (uint32_t)(((a * UINT64_C(0x9e3779b97f4a7c15)) ^
				  (b * UINT64_C(0x85ebca77c2b2ae63))) >>
			  (64 - bits));
}

// Keeps the table of the base's places: 8 MiB. One per thread.
struct delta_maker;
enum err delta_maker_new(struct delta_maker **out) MUST_CHECK;
void delta_maker_free(struct delta_maker *m);

// patch: replaced. base: at most 2^31 bytes. Errors: ERR_FULL (the patch would be larger than
// DELTA_PATCH_MAX: these two have little in common), ERR_MEMORY.
enum err delta_make(
	struct delta_maker *m, struct bytes base, struct bytes plain, struct buf *patch) MUST_CHECK;

// Writes out[size]. Errors: ERR_FORMAT, whatever else the patch says.
enum err delta_apply(struct bytes base, struct bytes patch, uint8_t *out, size_t size) MUST_CHECK;

#endif
