// The parts of one report, on disk until the server holds them all: gathered once, so that each
// part is the same whenever it is sent, also by the next process.
//
// File <state_dir>/report: "hsp1", the report's id, then each part as its length and an encoded
// Report, then length 0, the number of parts and the SHA-256 of all before it. It appears by rename
// when it is whole; anything else found there is no spool.
#ifndef HELIO_CLIENT_REPORT_SPOOL_H
#define HELIO_CLIENT_REPORT_SPOOL_H

#include "proto/digest.h"
#include "proto/message.h"

#define SPOOL_PARTS_MAX 512

struct report_spool {
	char path[300], temporary[310], dir[300];
	int fd;
	uint64_t report_id;
	uint32_t parts;
	uint64_t at[SPOOL_PARTS_MAX + 1]; // where each part begins, and where the last one ends
	struct sha256_stream *hash;       // while it is written
	struct buf out;
};

enum err spool_init(struct report_spool *s, const char *state_dir) MUST_CHECK;
// What lies there for this report, from before. Errors: ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO.
enum err spool_open(struct report_spool *s, uint64_t report_id) MUST_CHECK;
enum err spool_begin(struct report_spool *s, uint64_t report_id) MUST_CHECK;
// Only what it says counts, not its header. Errors: ERR_FULL, ERR_NO_SPACE, ERR_IO.
enum err spool_add(struct report_spool *s, const struct report *part) MUST_CHECK;
// Durable when it returns. A spool without a part gets an empty one.
enum err spool_commit(struct report_spool *s) MUST_CHECK;
// Into the arena. Errors: ERR_NOT_FOUND, ERR_CORRUPT.
enum err spool_read(
	struct report_spool *s, struct arena *a, uint32_t part, struct report *out) MUST_CHECK;
// Closes and removes it.
void spool_drop(struct report_spool *s);
// Closes it; what is whole stays for the next process.
void spool_fini(struct report_spool *s);

#endif
