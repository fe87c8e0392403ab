// What the fuzz targets share. A target takes any bytes; it must come back, and what it promises of
// them must hold.
#ifndef HELIO_TESTS_FUZZ_H
#define HELIO_TESTS_FUZZ_H

#include "proto/base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_HOLDS(promise)                                                                        \
	do {                                                                                       \
		if (!(promise)) {                                                                  \
			fprintf(stderr, "%s:%d: does not hold: %s (%s)\n", __FILE__, __LINE__,     \
				#promise, err_text());                                             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
