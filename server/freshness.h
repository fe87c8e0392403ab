// How old an answer of a client may be: a policy of the server, one age for each kind of
// information (S000-4). Who asks with an age gets the copy while it is fresh; and of the clients
// that are online and idle the server itself asks for what is older, one kind at a time, at most
// once in that age: a device that refuses is not asked again and again.
//
//   settings, then what an operator set (in the store) -> max_age_s
//   client -> due_list, by the second in which its oldest answer is too old
//   tick -> those that are due -> freshness_is_due -> REQUEST in the private queue -> due_list
//
// No tick walks the fleet: it looks at who is due, and once, after a start or a new policy, at each
// client, so many a second. One that is due while nobody hears it waits until it is heard again.
#ifndef HELIO_SERVER_FRESHNESS_H
#define HELIO_SERVER_FRESHNESS_H

#include "server/core.h"
#include "server/due_list.h"

#define FRESHNESS_LOOKS_PER_TICK 1000 // two rows of the store for each kind with a policy: 10 ms
#define FRESHNESS_ASKS_PER_TICK 200   // an element, a question and soon an answer each

struct freshness {
	uint32_t by_settings_s[INFO_SCREENSHOT + 1]; // by kind; 0: never asked by itself
	uint32_t max_age_s[INFO_SCREENSHOT + 1];     // what counts
	struct due_list due;
	size_t seen;           // places of core_client_next up to here are in the list
	int64_t tick_ms;       // wall, of the last tick
	uint64_t looks, asked; // since the start
};

// Pure. Unix milliseconds; 0: never.
bool freshness_is_due(uint32_t max_age_s, int64_t received_ms, int64_t asked_ms, int64_t now_ms);

void freshness_fini(struct freshness *f);
// What an operator set, on top of the settings.
enum err freshness_load(struct freshness *f, struct db *db) MUST_CHECK;
enum err freshness_set(
	struct freshness *f, struct db *db, enum info_kind what, uint32_t max_age_s) MUST_CHECK;
// Back to the settings.
enum err freshness_reset(struct freshness *f, struct db *db, enum info_kind what) MUST_CHECK;
// Clients may stand at other places, or other ages count: each is looked at again.
void freshness_again(struct freshness *f);
void freshness_tick(struct freshness *f, struct core *core, struct now now);
// The hook `online` of the core: whoever waited for this is due.
void freshness_online(struct freshness *f, size_t place, struct now now);

// Is what the client last said an answer to this question, and at most so old? *received: when it
// came. Errors of the store only.
enum err freshness_copy(struct core *core, const char *client, const struct send_information *ask,
	uint32_t max_age_s, struct now now, struct wall *received, bool *fresh) MUST_CHECK;

#endif
