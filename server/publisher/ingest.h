// Ingest: a file of somebody becomes a picture we dare to send to devices.
//
// The bytes are copied into memory of our own (so that nobody changes them meanwhile), and decoded
// in a child: this program again, started with INGEST_CHILD_OPTION, that has no keys, no files but
// two memory files, no network, and limits on memory, time and system calls (attacks C1, C2).
// Whatever happens to the child is a word about the picture, and the next good picture works.
//
// ingest_run blocks for as long as the child needs: call it on libuv's pool.
#ifndef HELIO_PUBLISHER_INGEST_H
#define HELIO_PUBLISHER_INGEST_H

#include "server/publisher/picture.h"

#define INGEST_CHILD_OPTION "--decode-picture"
#define INGEST_DEADLINE_MS 90000
#define INGEST_CPU_S 60
#define INGEST_MEMORY_BYTES                                                                        \
	(1280ull * 1024 * 1024) // 64 M pixels as coefficients, turned, and the files

struct ingest_limits {
	uint32_t deadline_ms;   // 0: INGEST_DEADLINE_MS
	const char *program;    // NULL: this program; started with INGEST_CHILD_OPTION
	uint32_t width, height; // sides that it is to have, not above its own; 0: as it is
};

struct ingested {
	enum picture_word word;
	char text[200]; // why not, one sentence
	enum picture_format format;
	uint32_t width, height;
	struct digest original;
	int fd; // memory file with the picture from offset 0; -1 when refused. The caller closes
		// it.
	size_t size;
};

// in_fd: any readable descriptor; read from offset 0 when it is a file. Errors are about us
// (memory, descriptors); what is wrong with the picture stands in out->word and out->text.
enum err ingest_run(int in_fd, const struct ingest_limits *limits, struct ingested *out) MUST_CHECK;
void ingested_close(struct ingested *i);
// SHA-256 of the picture that came out.
enum err ingested_hash(const struct ingested *i, struct digest *out) MUST_CHECK;

// main() of every program that calls ingest_run begins with this: it returns when the program was
// not started as a child, and never returns otherwise.
void ingest_child_enter(int argc, char **argv);

// Bounded look at a JPEG or PNG of our own making: format and size as its header says.
bool picture_probe(
	struct bytes head, enum picture_format *format, uint32_t *width, uint32_t *height);

#endif
