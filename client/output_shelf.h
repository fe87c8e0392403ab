// What named programs said, whole, until somebody asks for it: of the last few operations, each up
// to a limit. The outcome of a command tells its end and the hash of all of it; here is the rest.
//
// Folder <state_dir>/outputs: one file for each operation, named by its number in decimal; with
// ".cut" behind it when more was said than the limit allows, ".part" while the program runs. A file
// appears under its own name by rename, durable; what is ".part" at a start was interrupted, and
// goes.
#ifndef HELIO_CLIENT_OUTPUT_SHELF_H
#define HELIO_CLIENT_OUTPUT_SHELF_H

#include "proto/base/mem.h"

#define OUTPUT_SHELF_MAX 64 // operations

struct output_shelf {
	char dir[300];
	uint32_t keep; // operations; 0: nothing is kept
	uint32_t max_bytes;
	// of the program at work
	uint64_t op_id; // 0: none
	int fd;
	uint32_t room; // bytes that still fit
	bool cut;
};

// Makes the folder. Errors: ERR_RANGE, ERR_IO.
enum err shelf_init(struct output_shelf *s, const char *state_dir, uint32_t keep,
	uint32_t max_bytes) MUST_CHECK;
// A program begins; max_bytes: of this one, 0: the shelf's. Without room on the disk nothing is
// kept, and that is logged once: the program runs all the same.
void shelf_begin(struct output_shelf *s, uint64_t op_id, uint32_t max_bytes);
void shelf_add(struct output_shelf *s, const char *data, size_t size);
// It ended: durable when this returns, and the oldest one goes.
void shelf_end(struct output_shelf *s);
void shelf_drop(struct output_shelf *s); // it never ran: nothing is kept
// Errors: ERR_NOT_FOUND, ERR_FULL (larger than out may be), ERR_IO.
enum err shelf_find(
	const struct output_shelf *s, uint64_t op_id, struct buf *out, bool *cut) MUST_CHECK;
void shelf_fini(struct output_shelf *s);

#endif
