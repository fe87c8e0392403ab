// How much of a transfer may be under way, and how many transfers a data broker's memory bears.
//
// What a client has subscribed to and not acknowledged, its broker may hold for it a second time:
// up to Receive Maximum objects as packets, and the rest as a queue that drops in silence when it
// is full (max_queued_bytes). So a grant names a window in bytes, and the window is a slot of the
// broker's memory. The slots of all live leases never sum up to more than the budget; who finds
// none waits, with a reason and a time.
//
// Inside of what it was granted the client measures (client/fetch_window.h). An object larger than
// the window goes alone, so a slot has room for one at least; a small package never needs more than
// there is of it.
//
// Pure: the sums are kept by whoever counts leases.
#ifndef HELIO_SERVER_WINDOWS_H
#define HELIO_SERVER_WINDOWS_H

#include "proto/limits.h"
#include <stdbool.h>
#include <stdint.h>

#define WINDOW_LEAST_BYTES (4 * CHUNK_AVG)
#define WINDOW_MOST_BYTES (FETCH_WINDOW_MAX * CHUNK_AVG)
#define WINDOW_SLOT_LEAST LIMIT_OBJECT // below it nobody fetches a package of that size

struct window_limits {
	uint64_t budget_bytes; // of a broker, for all its transfers; 0: no limit
	uint64_t queue_bytes;  // that a broker keeps for one client; 0: no limit
};

struct window_wish {
	uint64_t rate_bytes_per_s; // 0: no limit
	uint64_t package_bytes;    // of all its objects; 0: not known
	uint64_t taken_bytes;      // of the budget, by the others
};

struct window {
	uint64_t bytes;      // at least 1
	uint64_t slot_bytes; // what it takes of the budget
};

// False: no slot is free. A window is what its rate carries in a tenth of a second, and never more
// than a sixteenth of what is free: the first that come leave room for those after them.
bool window_choose(
	const struct window_limits *l, const struct window_wish *wish, struct window *out);
// Of a lease of before a restart: the most that it can have been given.
uint64_t window_slot_most(uint64_t package_bytes);

#endif
