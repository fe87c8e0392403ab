// Leases of servers and of shards (schema_shard.h). Every time is the database's own.
#ifndef HELIO_SERVER_DB_ROWS_SHARD_H
#define HELIO_SERVER_DB_ROWS_SHARD_H

#include "server/db/db.h"

#define SHARDS 256
#define SHARD_LEAD 256 // channels, placement, publishers, the API
#define SHARD_PLACES 257

enum shard_owner {
	SHARD_FREE,
	SHARD_MINE,
	SHARD_OTHERS
};

// A new term: a number that nobody had, and none of the holder's former shards.
enum err rows_server_term(
	struct db *db, const char *holder, uint32_t lease_ms, uint64_t *fencing) MUST_CHECK;
#define SHARD_LEASE_MOST_MS 60000

// lease_ms more from now. Errors: ERR_STALE (the term was ended by another).
enum err rows_server_renew(
	struct db *db, const char *holder, uint64_t fencing, uint32_t lease_ms) MUST_CHECK;
// The term is held until this transaction ends: whoever would end it waits. Errors: ERR_STALE.
enum err rows_server_guard(struct db *db, const char *holder, uint64_t fencing) MUST_CHECK;
// Ends a term that was not renewed since it said until_ms, and frees its shards. Waits for nobody:
// whose turn stands open in the database for half a second has that ended there, and goes the next
// time. *ended: it is over when this is committed.
enum err rows_server_bury(struct db *db, const char *holder, uint64_t fencing, int64_t until_ms,
	bool *ended) MUST_CHECK;
enum err rows_servers_count(struct db *db, size_t *count) MUST_CHECK;
struct server_row {
	const char *holder;
	uint64_t fencing;
	int64_t until_ms, left_ms; // by the database's clock
};
// In the order of their terms.
enum err rows_servers_each(struct db *db, enum err (*fn)(void *ctx, const struct server_row *row),
	void *ctx) MUST_CHECK;
// In order; holder "": nobody. None where no server ever shared the store.
enum err rows_shards_each(struct db *db,
	enum err (*fn)(void *ctx, unsigned shard, const char *holder), void *ctx) MUST_CHECK;
// A planned end.
enum err rows_server_leave(struct db *db, const char *holder, uint64_t fencing) MUST_CHECK;

// Takes it where it is free; rows_shards_read says who got it.
enum err rows_shard_take(
	struct db *db, unsigned shard, const char *holder, uint64_t fencing) MUST_CHECK;
enum err rows_shard_give(
	struct db *db, unsigned shard, const char *holder, uint64_t fencing) MUST_CHECK;
// out: LIMIT_ID and a NUL; "" nobody.
enum err rows_shard_holder(struct db *db, unsigned shard, char *out) MUST_CHECK;
// owner: [SHARD_PLACES].
enum err rows_shards_read(
	struct db *db, const char *holder, uint64_t fencing, enum shard_owner *owner) MUST_CHECK;

#endif
