// Batches of the first pass, and who fills them; packager_files.c and packager_read.c alone include
// this.
#ifndef HELIO_PUBLISHER_PACKAGER_BATCH_H
#define HELIO_PUBLISHER_PACKAGER_BATCH_H

#include "proto/digest.h"
#include "server/publisher/packager_inside.h"

// A chunk on its way.
struct piece {
	struct chunk_ref ref;
	const uint8_t *data;
	struct id16 mark;
	bool met; // known by its mark: ref is whole
	struct object made;
	bool fresh; // its object is new, and written
};

// What a batch has of a file.
struct part {
	size_t file;
	struct bytes bytes;
	size_t first, count; // pieces
	bool begins, ends;
	const struct seen_file *seen; // it is not read
	bool settled;               // where it ends: nobody wrote while it was read, or long before
	struct sha256_stream *hash; // of a file of several batches
	struct digest sha256;       // of the file, where it ends
};

struct batch {
	uint8_t *room;
	size_t size;
	struct piece *pieces;
	size_t piece_count;
	struct part *parts;
	size_t part_count;
	size_t next, busy; // steps: the next that nobody has, and how many are under way
};

enum err batch_init(struct batch *b) MUST_CHECK;
void batch_fini(struct batch *b);

// One at a time, in any thread.
struct reader {
	struct pack_work *work;
	size_t file; // that is open, or comes next
	int fd;
	bool eof;
	bool began; // some of the file is in an earlier batch
	int64_t opened_unix_ms;
	bool alone; // nobody could write to the file after it was opened, but who opened it later
	struct seen_follow follow;
	struct sha256_stream *streams[2]; // files that go on from batch to batch: this and the last
	unsigned streams_used;
	uint8_t *rest; // read, and not cut yet
	size_t rest_size;
};

enum err reader_init(struct reader *r, struct pack_work *w) MUST_CHECK;
void reader_fini(struct reader *r);
// Fills the batch with what comes next; no part: nothing is left. mac: of this thread.
enum err batch_read(struct reader *r, struct batch *b, struct onetime_mac *mac) MUST_CHECK;

#endif
