// Texts that end with the SHA-256 of what stands before it: no chance finds that. Such a target is
// given the text as it is, and once more with a right end.
#ifndef HELIO_TESTS_FUZZ_TEXT_H
#define HELIO_TESTS_FUZZ_TEXT_H

#include "proto/digest.h"
#include "tests/fuzz/fuzz.h"

// The text up to the last line that begins with `end`, and a right one.
static inline void text_ended(const uint8_t *data, size_t size, struct buf *out)
{
	size_t keep = size;

	for (size_t i = 0; i + 4 <= size; i++)
		if ((i == 0 || data[i - 1] == '\n') && memcmp(data + i, "end\t", 4) == 0)
			keep = i;
	FUZZ_HOLDS(buf_append(out, data, keep) == ERR_OK);
	if (keep > 0 && data[keep - 1] != '\n')
		FUZZ_HOLDS(buf_append(out, "\n", 1) == ERR_OK);
	struct digest d = sha256(out->data, out->size);
	FUZZ_HOLDS(buf_printf(out, "end\t%s\n", digest_hex(&d)) == ERR_OK);
}

#endif
