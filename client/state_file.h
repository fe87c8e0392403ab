// Where the agent's state lies: state.bin, and state.prev, the copy before it.
//
// A save writes a new file, keeps the old one as state.prev and renames; a cut at any point leaves
// one of the two whole. A few kilobytes are kept in reserve, so that a full disk can still take the
// state that says so.
#ifndef HELIO_CLIENT_STATE_FILE_H
#define HELIO_CLIENT_STATE_FILE_H

#include "client/agent_state.h"

struct state_file {
	char dir[256], path[300], prev[300], tmp[300], reserve[300];
};

enum state_source {
	STATE_NEW,
	STATE_READ,
	STATE_PREVIOUS,
	STATE_LOST
};

enum err state_file_init(struct state_file *f, const char *state_dir) MUST_CHECK;
// Reads the newest whole copy into out (initialised). STATE_PREVIOUS: the newest was damaged, and
// out is marked uncertain. STATE_LOST: both were, out is a first state with a new store id, and the
// damaged files are kept aside as *.bad. Errors: ERR_VERSION (never overwritten), ERR_IO.
enum err state_file_read(
	struct state_file *f, struct agent_state *out, enum state_source *source) MUST_CHECK;
enum err state_file_write(struct state_file *f, struct bytes text) MUST_CHECK;

#endif
