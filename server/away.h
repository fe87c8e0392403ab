// Who is away, and what waits for them: the questions by which packages find another way than the
// link (S001-c1, c6, c7). Part of the core; the answers are of this moment.
//
// Nothing here is called by a heartbeat. A walk looks at so many records of the table and no more,
// and costs of each who is heard one byte; so an event stays one element of the queue, however
// many clients it is for.
#ifndef HELIO_SERVER_AWAY_H
#define HELIO_SERVER_AWAY_H

#include "server/core.h"

struct away_client {
	const char *id; // borrowed until the next call
	enum reach reach;
	int64_t silent_ms;      // attended since it was heard; of one never heard: 0
	struct wall last_heard; // 0: never
};

// The next client that is SILENT or was NEVER heard; with `all`, the next one. *cursor begins at 0;
// *budget: how many records may still be looked at. False: at the end (*budget is left over) or out
// of budget.
bool core_away_next(
	struct core *core, size_t *cursor, size_t *budget, bool all, struct away_client *out);
// Errors: ERR_NOT_FOUND.
enum err core_away_find(struct core *core, const char *id, struct away_client *out) MUST_CHECK;

// Packages that the client is to have and does not hold: what its channels want, of each name what
// the heaviest says, its private queue, and its open operation. Into the arena. Errors:
// ERR_NOT_FOUND, ERR_FULL.
enum err core_client_awaits(struct core *core, const char *id, struct arena *a,
	struct package_ref **out, size_t *count) MUST_CHECK;

// The client is served by a medium now: an open RETRIEVE ends, and it is detached from its
// channels. When it comes back it tells what it holds and is given what it lacks. Errors:
// ERR_NOT_FOUND, those of the store.
enum err core_client_to_medium(struct core *core, const char *id, const char *because) MUST_CHECK;

#endif
