// How much of what they can do the server and its control broker do: what the interval of a
// heartbeat follows (frequency.h). Pure: readings of clocks and counters come in, 0..1 comes out.
//
// The server's load is the part of the time in which its loop was not waiting, or the CPU of its
// other threads (those of the links) in parts of a core, whichever is more; a link that had to drop
// messages is all of it. The broker's is the messages it received per second, by its own count in
// $SYS, of those it can carry.
#ifndef HELIO_SERVER_LOAD_METER_H
#define HELIO_SERVER_LOAD_METER_H

#include "proto/base/clock.h"
#include <stdbool.h>
#include <stdint.h>

#define LOAD_COUNT_OLD_MS 60000 // an unchanged counter is not said again: then it carries nothing

// Rising counters.
struct load_reading {
	uint64_t idle_ns;  // of the loop, waiting
	uint64_t other_us; // CPU of all threads but the loop's
	uint64_t dropped;  // messages
};

// Begins as zeros.
struct load_meter {
	bool read, counted;
	struct load_reading last;
	struct mono last_at, count_at;
	uint64_t count;
	double messages_per_s;
};

// 0 for the first reading.
double load_of_server(struct load_meter *m, const struct load_reading *r, struct mono now);
// The broker said how many messages it has received since it began; fewer than before: it began
// anew.
void load_broker_count(struct load_meter *m, uint64_t count, struct mono now);
double load_of_broker(const struct load_meter *m, uint32_t capacity_per_s, struct mono now);

#endif
