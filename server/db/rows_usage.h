// The ledger of what was shown, as it is asked for: rows in their order, sums, gaps; and its
// bounds. (rows_usage_add and what reports need stand in rows.h.) Texts are borrowed until `each`
// returns.
#ifndef HELIO_SERVER_DB_ROWS_USAGE_H
#define HELIO_SERVER_DB_ROWS_USAGE_H

#include "proto/message.h"
#include "server/db/db.h"

struct usage_filter {
	const char *client, *customer; // "": all
	int64_t since_ms, until_ms;    // until exclusive; INT64_MAX: for ever
};

// Where a page ends, and the next one goes on behind it.
struct usage_place {
	const char *client; // "": before the first
	struct id16 store_id;
	uint64_t ledger_seq, boot;
};

struct usage_whole {
	struct usage_place place;
	const char *customer, *image;
	struct shown shown;
	bool doubt; // see usage_take.h
};

enum err rows_usage_page(struct db *db, const struct usage_filter *f,
	const struct usage_place *after, size_t max, void *ctx,
	enum err (*each)(void *ctx, const struct usage_whole *row)) MUST_CHECK;

enum usage_key {
	USAGE_BY_PICTURE, // its name without the number that a package puts before it
	USAGE_BY_CLIENT,
	USAGE_BY_CUSTOMER,
	USAGE_BY_HOUR,    // that it began in: Unix seconds of the hour, ten digits
	USAGE_BY_PACKAGE, // hex
	USAGE_BY_NAME,    // of the package; hex of one that was never offered here
};

struct usage_sum {
	const char *key;
	uint64_t shown, duration_ms;
	uint64_t cut;              // of `shown`: shorter than planned
	uint64_t skipped, failed;  // lost turns, not in `shown`
	uint64_t doubtful;         // left out of all of these
	int64_t first_ms, last_ms; // begins of the first and the last one
};

// Those whose key is above `after` ("": all), rising.
enum err rows_usage_sums(struct db *db, const struct usage_filter *f, enum usage_key key,
	const char *after, size_t max, void *ctx,
	enum err (*each)(void *ctx, const struct usage_sum *sum)) MUST_CHECK;

// Numbers of a device's ledger that never came, between two that did; before the first, with
// is_first: dropped by the device, not asked for, or older than what is kept.
struct usage_gap {
	struct id16 store_id;
	uint64_t from_seq, to_seq;
	bool is_first;
};

enum err rows_usage_gaps(struct db *db, const char *client, size_t max, void *ctx,
	enum err (*each)(void *ctx, const struct usage_gap *gap)) MUST_CHECK;

// The time that a boot of a ledger covers: begins of its first and its last row, by clocks that are
// known to be right.
struct usage_source {
	struct id16 store_id;
	uint64_t boot;
	int64_t first_ms, last_ms;
};

// Over the one of the same store and boot.
enum err rows_usage_source_put(
	struct db *db, const char *client, const struct usage_source *source) MUST_CHECK;
// By store and boot. Errors: ERR_NOT_FOUND.
enum err rows_usage_source_find(struct db *db, const char *client, const struct usage_source *which,
	struct usage_source *out) MUST_CHECK;
// Those of the same client that share more than overlap_ms with it.
enum err rows_usage_source_others(struct db *db, const char *client,
	const struct usage_source *source, int64_t overlap_ms, struct usage_source *out, size_t max,
	size_t *count) MUST_CHECK;
// Marks what a source says of a time as doubtful.
enum err rows_usage_doubt(struct db *db, const char *client, int64_t from_ms, int64_t until_ms,
	const struct usage_source *source) MUST_CHECK;
// Pairs of sources of a client that share more than overlap_ms, the newest first.
enum err rows_usage_pairs(struct db *db, const char *client, int64_t overlap_ms, size_t max,
	void *ctx,
	enum err (*each)(
		void *ctx, const struct usage_source *a, const struct usage_source *b)) MUST_CHECK;
// How many rows of a client are doubtful; of all clients that have any.
enum err rows_usage_doubts(struct db *db, const char *client, uint64_t *count) MUST_CHECK;
enum err rows_usage_doubtful(struct db *db, size_t max, void *ctx,
	enum err (*each)(void *ctx, const char *client, uint64_t count)) MUST_CHECK;

// The newest begin that is held, 0: none.
enum err rows_usage_newest(struct db *db, const char *client, int64_t *from_ms) MUST_CHECK;
// Forgets rows of a client that began before (not those of a device whose clock nobody knew: when
// they began is not known either), and all but its newest rows_max.
enum err rows_usage_trim(
	struct db *db, const char *client, int64_t before_ms, uint64_t rows_max) MUST_CHECK;

#endif
