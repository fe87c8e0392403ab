// What the decoding child writes and its parent reads: both are this program, of the same build.
#ifndef HELIO_PUBLISHER_INGEST_WIRE_H
#define HELIO_PUBLISHER_INGEST_WIRE_H

#include <stdint.h>

#define INGEST_MAGIC 0x68656c69u
#define INGEST_HEADER_BYTES 4096 // then the picture
#define INGEST_EXIT_CAGE 71      // the child could not lock itself in: our fault, not the picture's
#define INGEST_EXIT_ANSWER 72

struct ingest_header {
	uint32_t magic, word, format, width, height, reserved;
	uint64_t size;
	char text[200];
};

#endif
