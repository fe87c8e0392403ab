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
	uint64_t ledger_seq;
};

struct usage_whole {
	struct usage_place place;
	const char *customer, *image;
	struct shown shown;
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
};

struct usage_sum {
	const char *key;
	uint64_t shown, duration_ms;
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

// The newest begin that is held, 0: none.
enum err rows_usage_newest(struct db *db, const char *client, int64_t *from_ms) MUST_CHECK;
// Forgets rows of a client that began before (not those of a device whose clock nobody knew: when
// they began is not known either), and all but its newest rows_max.
enum err rows_usage_trim(
	struct db *db, const char *client, int64_t before_ms, uint64_t rows_max) MUST_CHECK;

#endif
