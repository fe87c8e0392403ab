// How old an answer of a client may be: a policy of the server, one age for each kind of
// information (S000-4). Who asks with an age gets the copy while it is fresh; and of the clients
// that are online and idle the server itself asks for what is older, one kind at a time, at most
// once in that age: a device that refuses is not asked again and again.
//
//   settings, then what an operator set (in the store) -> max_age_s
//   tick -> the next few clients -> freshness_is_due -> REQUEST in the private queue
//
// It walks a few hundred clients a second, so an age is kept to within a walk through the fleet.
#ifndef HELIO_SERVER_FRESHNESS_H
#define HELIO_SERVER_FRESHNESS_H

#include "server/core.h"

#define FRESHNESS_PER_TICK 200 // clients, about 2 ms

struct freshness {
	uint32_t by_settings_s[INFO_SCREENSHOT + 1]; // by kind; 0: never asked by itself
	uint32_t max_age_s[INFO_SCREENSHOT + 1];     // what counts
	size_t cursor;
	uint64_t asked; // since the start
};

// Pure. Unix milliseconds; 0: never.
bool freshness_is_due(uint32_t max_age_s, int64_t received_ms, int64_t asked_ms, int64_t now_ms);

// What an operator set, on top of the settings.
enum err freshness_load(struct freshness *f, struct db *db) MUST_CHECK;
enum err freshness_set(
	struct freshness *f, struct db *db, enum info_kind what, uint32_t max_age_s) MUST_CHECK;
// Back to the settings.
enum err freshness_reset(struct freshness *f, struct db *db, enum info_kind what) MUST_CHECK;
void freshness_tick(struct freshness *f, struct core *core, struct now now);

// Is what the client last said an answer to this question, and at most so old? *received: when it
// came. Errors of the store only.
enum err freshness_copy(struct core *core, const char *client, const struct send_information *ask,
	uint32_t max_age_s, struct now now, struct wall *received, bool *fresh) MUST_CHECK;

#endif
