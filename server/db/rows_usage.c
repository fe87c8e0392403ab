// One literal for each way to ask, so that an index serves each: the primary key is (client,
// store_id, ledger_seq), and another index is (client, from_ms).
#include "server/db/rows_usage.h"

#include <string.h>

// ---- rows

#define COLUMNS                                                                                    \
	"client, store_id, ledger_seq, boot, customer, package, image, from_ms, duration_ms, "     \
	"clock_quality"
#define TIMES " AND from_ms >= $4 AND from_ms < $5 AND ($6 = '' OR customer = $6)"

static struct usage_whole whole_take(struct db_rows *rows)
{
	struct usage_whole w = {
		.place = {.client = db_text(rows, 0), .ledger_seq = (uint64_t)db_int(rows, 2)},
		.customer = db_text(rows, 4),
		.image = db_text(rows, 6),
		.shown = {.ledger_seq = (uint64_t)db_int(rows, 2),
			.boot_counter = (uint64_t)db_int(rows, 3),
			.from_unix_ms = db_int(rows, 7),
			.duration_ms = (uint32_t)db_int(rows, 8),
			.clock_quality = (uint32_t)db_int(rows, 9)},
	};

	w.shown.image = w.image;
	(void)db_fixed(rows, 1, w.place.store_id.b, sizeof(w.place.store_id.b));
	(void)db_fixed(rows, 5, w.shown.package.b, sizeof(w.shown.package.b));
	return w;
}

enum err rows_usage_page(struct db *db, const struct usage_filter *f,
	const struct usage_place *after, size_t max, void *ctx,
	enum err (*each)(void *ctx, const struct usage_whole *row))
{
	static const char of_all[] =
		"SELECT " COLUMNS
		" FROM usage WHERE (client, store_id, ledger_seq) > ($1, $2, $3)" TIMES
		" ORDER BY client, store_id, ledger_seq LIMIT $7";
	static const char of_client[] =
		"SELECT " COLUMNS
		" FROM usage WHERE client = $1 AND (store_id, ledger_seq) > ($2, $3)" TIMES
		" ORDER BY store_id, ledger_seq LIMIT $7";
	bool one = f->client[0] != '\0';
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows, one ? of_client : of_all, DB_T(one ? f->client : after->client),
		DB_D(&after->store_id), DB_I(after->ledger_seq), DB_I(f->since_ms),
		DB_I(f->until_ms), DB_T(f->customer), DB_I(max)));
	while (e == ERR_OK && db_next(&rows)) {
		struct usage_whole w = whole_take(&rows);

		e = each(ctx, &w);
	}
	return rows_close(&rows, e);
}

// ---- sums

#define SUMS(key, where)                                                                           \
	"SELECT k, count(*), CAST(sum(duration_ms) AS BIGINT), min(from_ms), max(from_ms) FROM"    \
	" (SELECT " key " AS k, duration_ms, from_ms FROM usage WHERE " where                      \
	" AND from_ms >= $2 AND from_ms < $3 AND ($4 = '' OR customer = $4)) AS shown"             \
	" WHERE $5 = '' OR k > $5 GROUP BY k ORDER BY k LIMIT $6"
#define HOUR "from_ms / 3600000 * 3600" // ten digits of it
#define BOTH(key)                                                                                  \
	{                                                                                          \
		SUMS(key, "$1 = ''"), SUMS(key, "client = $1")                                     \
	}

static const char *const sums[][2] = {
	[USAGE_BY_PICTURE] = BOTH("CASE WHEN substr(image, 5, 1) = '-' AND substr(image, 1, 4) "
				  "BETWEEN '0000' AND '9999' THEN substr(image, 6) ELSE image END"),
	[USAGE_BY_CLIENT] = BOTH("client"),
	[USAGE_BY_CUSTOMER] = BOTH("customer"),
	[USAGE_BY_HOUR] = BOTH("substr('0000000000' || CAST(" HOUR " AS TEXT),"
			       " length(CAST(" HOUR " AS TEXT)) + 1)"),
	[USAGE_BY_PACKAGE] = BOTH("lower(hex(package))"),
};

enum err rows_usage_sums(struct db *db, const struct usage_filter *f, enum usage_key key,
	const char *after, size_t max, void *ctx,
	enum err (*each)(void *ctx, const struct usage_sum *sum))
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows, sums[key][f->client[0] != '\0'], DB_T(f->client), DB_I(f->since_ms),
		DB_I(f->until_ms), DB_T(f->customer), DB_T(after), DB_I(max)));
	while (e == ERR_OK && db_next(&rows))
		e = each(ctx, &(struct usage_sum){
				      .key = db_text(&rows, 0),
				      .shown = (uint64_t)db_int(&rows, 1),
				      .duration_ms = (uint64_t)db_int(&rows, 2),
				      .first_ms = db_int(&rows, 3),
				      .last_ms = db_int(&rows, 4),
			      });
	return rows_close(&rows, e);
}

// ---- gaps

enum err rows_usage_gaps(struct db *db, const char *client, size_t max, void *ctx,
	enum err (*each)(void *ctx, const struct usage_gap *gap))
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows,
		"SELECT store_id, before, seq FROM (SELECT store_id, ledger_seq AS seq,"
		" LAG(ledger_seq, 1, 0) OVER (PARTITION BY store_id ORDER BY ledger_seq) AS before"
		" FROM usage WHERE client = $1) AS pairs WHERE seq > before + 1"
		" ORDER BY store_id, seq LIMIT $2",
		DB_T(client), DB_I(max)));
	while (e == ERR_OK && db_next(&rows)) {
		struct usage_gap gap = {
			.from_seq = (uint64_t)db_int(&rows, 1) + 1,
			.to_seq = (uint64_t)db_int(&rows, 2) - 1,
			.is_first = db_int(&rows, 1) == 0,
		};

		(void)db_fixed(&rows, 0, gap.store_id.b, sizeof(gap.store_id.b));
		e = each(ctx, &gap);
	}
	return rows_close(&rows, e);
}

// ---- bounds

enum err rows_usage_newest(struct db *db, const char *client, int64_t *from_ms)
{
	struct db_rows rows;

	*from_ms = 0;
	TRY(db_query(db, &rows,
		"SELECT from_ms FROM usage WHERE client = $1 ORDER BY from_ms DESC LIMIT 1",
		DB_T(client)));
	if (db_next(&rows))
		*from_ms = db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_usage_trim(struct db *db, const char *client, int64_t before_ms, uint64_t rows_max)
{
	struct db_rows rows;
	int64_t last_ms = INT64_MIN;

	TRY(db_run(db, "DELETE FROM usage WHERE client = $1 AND from_ms < $2 AND clock_quality > 1",
		DB_T(client), DB_I(before_ms)));
	TRY(db_query(db, &rows,
		"SELECT from_ms FROM usage WHERE client = $1 ORDER BY from_ms DESC LIMIT 1 OFFSET "
		"$2",
		DB_T(client), DB_I(rows_max)));
	if (db_next(&rows))
		last_ms = db_int(&rows, 0);
	TRY(db_end(&rows));
	if (last_ms == INT64_MIN)
		return ERR_OK;
	return db_run(db, "DELETE FROM usage WHERE client = $1 AND from_ms <= $2", DB_T(client),
		DB_I(last_ms));
}
