// How a transfer gets on, as the heartbeats of its client show it: how fast, and whether at all.
//
// Chunks are what a client counts; a chunk stands for its part of the package's objects. What a
// client had already, of an earlier version or attempt, is no transfer: the first count is where
// measuring begins. A client that reads its own files, to see what need not come, gets on too.
// Pure.
#ifndef HELIO_SERVER_LEASE_PROGRESS_H
#define HELIO_SERVER_LEASE_PROGRESS_H

#include "proto/base/clock.h"
#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_SAMPLE_MS 1000 // a rate is taken over this at least

struct lease_progress {
	bool is_known; // a count was heard
	uint32_t have, total;
	uint32_t looked_mb;        // of its own files, before anything comes
	int64_t moved_attended_ms; // when the count was another last, or the lease began
	int64_t heard_attended_ms; // last, or the lease began
	uint32_t sample_have;
	struct mono sample_at;
	uint64_t bytes_per_s; // smoothed
	bool is_stalled;
};

struct lease_shown {
	uint32_t have, total;  // total 0: the client does not know it yet
	uint32_t looked_mb;    // of its own files; 0: it does not look
	uint64_t object_bytes; // of the package
	uint32_t silence_ms;   // of which counts so much
	int64_t attended_ms;
	struct mono now;
};

void lease_progress_note(struct lease_progress *p, const struct lease_shown *s);
// How long nothing may move: `patience_ms`, three beats, and the time that the largest object takes
// at this rate four times over. rate 0: no limit.
int64_t lease_patience_ms(uint32_t patience_ms, uint32_t interval_ms, uint64_t rate_bytes_per_s);
// Nothing moved for so long, and something is still to come.
bool lease_progress_stands(
	const struct lease_progress *p, int64_t attended_ms, int64_t patience_ms);

#endif
