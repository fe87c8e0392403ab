// What goes back on a stick: which orders of the medium were obeyed, and what was shown, with this
// device's own time stamps, signed by its identity. The server merges it by the ledger's numbers,
// so that it may be written, carried and merged as often as anybody likes.
#ifndef HELIO_CLIENT_MEDIUM_RETURN_H
#define HELIO_CLIENT_MEDIUM_RETURN_H

#include "client/display_side.h"
#include "proto/sign.h"

struct return_source {
	const char *client_id;
	const struct sign_key *key;
	struct id16 store_id;
	const struct display_side *display;
	int64_t now_unix_ms;
	uint32_t clock_quality; // 1 none, 2 from the server, 3 ntp
	struct medium_result *results;
	size_t result_count; // at most LIMIT_RETURN_ROWS
};

struct return_done {
	size_t rows, bytes;
	bool left_out; // the newest did not fit; they are still in the ledger
};

// Replaces <dir>/helio/return/<client>.bin (proto/medium.h) as a whole; behind links nothing is
// written. One part after the other, so that a month of showings takes no more memory than one
// part. Blocking: for a thread of its own, which reads the ledger too; what s points to stays
// until it is done. Errors: ERR_READ_ONLY, ERR_NO_SPACE, ERR_DENIED, ERR_IO.
enum err return_write(
	const struct return_source *s, const char *dir, struct return_done *done) MUST_CHECK;

#endif
