// The settings of [server] that decide answers: one table, from which heliod reads its settings and
// helioctl replays a recording.
//
//   X(name, least, most, default, seen, help)    seen: a recording of the wire shows what it
//   decides
#ifndef HELIO_SERVER_POLICY_H
#define HELIO_SERVER_POLICY_H

#include "proto/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_SETTINGS(X)                                                                         \
	X(interval_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS, 30000, true,                            \
		"heartbeat interval of an idle client")                                            \
	X(interval_busy_ms, 0, HEARTBEAT_MAX_MS, 0, true,                                          \
		"while an operation is open; 0: 2000, or interval_ms if that is less")             \
	X(interval_min_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS, 200, true,                          \
		"no client is told a shorter interval")                                            \
	X(interval_max_ms, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS, 3600000, true,                      \
		"no client is told a longer interval, also not under load")                        \
	X(attempts_max, 1, 100, 3, true, "attempts of an operation that fails")                    \
	X(mismatch_limit, 1, 1000, 5, true, "resends of one response before a resync")             \
	X(resend_limit, 1, 1000, 10, true,                                                         \
		"times in a row that a client asks for the same response, before a resync")        \
	X(op_deadline_s, 1, 7 * 86400, 600, true,                                                  \
		"an operation without progress for so long has failed")                            \
	X(private_in_a_row, 1, 1000, 4, false,                                                     \
		"answers from a client's own queue before its channels are looked at")             \
	X(resyncs_per_s, 1, 100000, 100, false,                                                    \
		"resyncs begun per second, in all: a late server must not make itself later")      \
	X(busy_beats_per_s, 1, 1000000, 1000, false,                                               \
		"heartbeats of clients at work per second, in all: more of them beat less often")  \
	X(operations_per_s, 1, 1000000, 5000, false,                                               \
		"operations of channels begun per second, in all: a rollout delays nobody's beat")

#define POLICY_FIELD(name, least, most, def, seen, help) uint32_t name;
struct policy {
	POLICY_SETTINGS(POLICY_FIELD)
};

struct policy_row {
	const char *name;
	size_t offset; // in struct policy, of a uint32_t
	uint32_t least, most;
	bool seen;
};

extern const struct policy_row policy_rows[];
extern const size_t policy_row_count;

void policy_default(struct policy *p);
// The interval of a busy client, where interval_busy_ms may say 0.
uint32_t policy_busy_ms(const struct policy *p);

#endif
