// The heartbeat's grid: absolute deadlines on the monotonic clock, one random phase at the start,
// the interval only as the server says (S003-2, S001-c34). Pure.
//
// A beat that comes late does not move the grid, and beats missed in a stall are not made up for:
// one beat, then the grid goes on.
#ifndef HELIO_CLIENT_BEAT_GRID_H
#define HELIO_CLIENT_BEAT_GRID_H

#include "proto/base/clock.h"

#include <stdbool.h>

struct beat_grid {
	bool running;
	uint32_t interval_ms;
	struct mono next;
	struct mono last; // the grid point of the last beat, or the start
};

// [HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS]
uint32_t beat_interval_clamp(uint64_t interval_ms);

// First point at now + a part of the interval that `random` chooses.
void beat_grid_start(struct beat_grid *g, struct mono now, uint32_t interval_ms, uint64_t random);
// True once per grid point that has passed; several passed ones count as one.
bool beat_grid_take(struct beat_grid *g, struct mono now);
// The next point is so soon, if it is sooner; those behind it are an interval apart again.
void beat_grid_once(struct beat_grid *g, struct mono now, uint32_t ms);
// A new interval counts from the last grid point, never into the past.
void beat_grid_set(struct beat_grid *g, struct mono now, uint32_t interval_ms);

#endif
