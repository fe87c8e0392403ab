// Content-defined chunking: FastCDC (Xia et al., USENIX ATC 2016) with normalised cut masks.
//
// Each file is cut by itself, so equal files share all chunks. What is left of a file and is at
// most CHUNK_AVG bytes is one chunk. The Gear table and the masks are fixed for ever: others would
// end all deduplication.
#ifndef HELIO_CHUNKER_H
#define HELIO_CHUNKER_H

#include "proto/base/mem.h"

// Length of the first chunk of data[size]: 1..CHUNK_MAX, at least CHUNK_MIN unless size is less.
// The caller shows either CHUNK_MAX bytes or more, or all that is left of the file. size >= 1.
// Pure.
size_t chunk_cut(const uint8_t *data, size_t size);

#endif
