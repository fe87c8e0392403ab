// Letters between the servers of one store (share.h): written and taken in the transaction of what
// they are about.
#ifndef HELIO_SERVER_DB_ROWS_LETTER_H
#define HELIO_SERVER_DB_ROWS_LETTER_H

#include "server/db/db.h"

#define LETTER_TO_ALL 257 // behind the shards and the lead; not taken, but pruned

struct letter_row {
	uint64_t number; // rises; of one writer in the order of its commits
	unsigned place;  // a shard, SHARD_LEAD or LETTER_TO_ALL
	unsigned kind;
	const char *client, *text;
	uint64_t a, b;
	struct bytes body;
};

enum err rows_letter_put(struct db *db, const struct letter_row *row, int64_t at_ms) MUST_CHECK;
#define LETTER_PLACES (LETTER_TO_ALL + 1)

// To these places ('1' for each that is meant, '0' for the others), in the order of their numbers;
// of those to all only those behind `after`. What waits for others, or for nobody yet, is in nobody
// else's way.
enum err rows_letter_each(struct db *db, const char places[LETTER_PLACES + 1], uint64_t after,
	size_t max, enum err (*fn)(void *ctx, const struct letter_row *row), void *ctx) MUST_CHECK;
enum err rows_letter_take(struct db *db, uint64_t number) MUST_CHECK;
// One of this kind about this client waits to be taken.
enum err rows_letter_waits(
	struct db *db, const char *client, unsigned kind, bool *waits) MUST_CHECK;
// How many wait for each place.
enum err rows_letter_count(struct db *db, uint64_t waiting[LETTER_PLACES]) MUST_CHECK;
// The number of the last letter to all; 0: none.
enum err rows_letter_last(struct db *db, uint64_t *number) MUST_CHECK;
enum err rows_letter_prune(struct db *db, int64_t before_ms) MUST_CHECK; // of those to all

#endif
