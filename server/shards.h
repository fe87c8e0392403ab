// The leases of one server among several on one store (PostgreSQL): what it owns, and what keeps a
// late one from writing.
//
//   shards_begin   a term: a row of this server with a fencing number that nobody had before
//   shards_tick    renews it, and commits that; then, with a commit of its own, ends the terms of
//                  servers that say nothing any more (shard_watch.h: of what stood still, it was
//                  watched for a whole lease), takes what is free and gives up what is too much
//                  (shard_plan.h)
//   guard          each transaction that writes begins by locking this server's row where its
//                  number is still its own (db_guard). Who takes over deletes that row first: it
//                  waits for the turn at hand, and every later one of the former owner fails with
//                  ERR_STALE
//   shards_own     who may be answered. Counted by the monotonic clock from before the renewal was
//                  sent, less a margin: a server that cannot renew falls silent before another
//                  speaks
//
// One row a server is locked, not one a shard: a turn touches clients of many shards, and a shard
// changes hands only when its server gives it up itself or is ended as a whole.
//
// A data flow for many servers: `lead` appends to queues, consolidates and trims them, places
// packages, speaks with publishers and the API; owners of shards hold their clients' sessions,
// pointers and answers, and read queues by sequence.
#ifndef HELIO_SERVER_SHARDS_H
#define HELIO_SERVER_SHARDS_H

#include "proto/base/clock.h"
#include "proto/limits.h"
#include "server/db/rows_shard.h"
#include "server/shard_watch.h"

struct shards {
	struct db *db;
	char holder[LIMIT_ID + 1];
	uint32_t lease_ms;
	bool all; // whoever has the lead has all shards: the others stand by
	// Inside the transaction that gives these away; set after shards_begin. NULL: nothing is to
	// be written.
	enum err (*leaving)(void *ctx, const unsigned *shards, size_t count);
	void *ctx;
	uint64_t fencing; // 0: no term
	struct mono good_until, renew_at;
	struct shard_watch watch; // of the others
	enum shard_owner owner[SHARD_PLACES];
	size_t count;   // of shards that are ours
	bool unsettled; // others have too much or too little: looked at again soon
};

#define SHARDS_MARGIN 4    // a part of the lease: silent so long before its end
#define SHARDS_RENEW 6     // renewed after that part of it
#define SHARDS_SOON_MS 300 // while shards move

// Begins a term and guards the store with it. db is borrowed, and between turns. Errors: those of
// the store.
enum err shards_begin(struct shards *s, struct db *db, const char *holder, uint32_t lease_ms,
	bool all, struct now now) MUST_CHECK;
// Between turns. changed: other shards are ours than before. Errors: ERR_STALE: the term is over,
// or nobody knows whether shards were given away, and nothing of this server's memory counts any
// more; those of the store.
enum err shards_tick(struct shards *s, struct now now, bool *changed) MUST_CHECK;
bool shards_own(const struct shards *s, unsigned shard, struct now now);
bool shards_lead(const struct shards *s, struct now now);
// Who has the lead, by the store; "" nobody.
enum err shards_leader(struct shards *s, char out[LIMIT_ID + 1]) MUST_CHECK;
// This server's term is not over yet.
bool shards_live(const struct shards *s, struct now now);
// A planned end: the others need not wait.
enum err shards_leave(struct shards *s) MUST_CHECK;

#endif
