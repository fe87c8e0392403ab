// One literal for each way to ask, so that an index serves each: the primary key is (client,
// store_id, ledger_seq, boot), and another index is (client, from_ms).
#include "server/db/rows_usage.h"

#include <string.h>

// ---- rows

#define COLUMNS                                                                                    \
	"client, store_id, ledger_seq, boot, customer, package, image, from_ms, duration_ms, "     \
	"clock_quality, planned_ms, result, reason, doubt"
#define TIMES " AND from_ms >= $5 AND from_ms < $6 AND ($7 = '' OR customer = $7)"

static struct usage_whole whole_take(struct db_rows *rows)
{
	struct usage_whole w = {
		.place = {.client = db_text(rows, 0),
			.ledger_seq = (uint64_t)db_int(rows, 2),
			.boot = (uint64_t)db_int(rows, 3)},
		.customer = db_text(rows, 4),
		.image = db_text(rows, 6),
		.shown = {.ledger_seq = (uint64_t)db_int(rows, 2),
			.boot_counter = (uint64_t)db_int(rows, 3),
			.from_unix_ms = db_int(rows, 7),
			.duration_ms = (uint32_t)db_int(rows, 8),
			.clock_quality = (uint32_t)db_int(rows, 9),
			.planned_ms = (uint32_t)db_int(rows, 10),
			.result = (enum shown_result)db_int(rows, 11),
			.reason = db_text(rows, 12)},
		.doubt = db_int(rows, 13) != 0,
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
		" FROM usage WHERE (client, store_id, ledger_seq, boot) > ($1, $2, $3, $4)" TIMES
		" ORDER BY client, store_id, ledger_seq, boot LIMIT $8";
	static const char of_client[] =
		"SELECT " COLUMNS " FROM usage WHERE client = $1 AND (store_id, ledger_seq, boot) "
				  "> ($2, $3, $4)" TIMES
		" ORDER BY store_id, ledger_seq, boot LIMIT $8";
	bool one = f->client[0] != '\0';
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows, one ? of_client : of_all, DB_T(one ? f->client : after->client),
		DB_D(&after->store_id), DB_I(after->ledger_seq), DB_I(after->boot),
		DB_I(f->since_ms), DB_I(f->until_ms), DB_T(f->customer), DB_I(max)));
	while (e == ERR_OK && db_next(&rows)) {
		struct usage_whole w = whole_take(&rows);

		e = each(ctx, &w);
	}
	return rows_close(&rows, e);
}

// ---- sums

// result: 2 cut, 3 skipped, 4 failed (proto/shown.h).
#define COUNTED(what) "CAST(sum(CASE WHEN " what " THEN 1 ELSE 0 END) AS BIGINT)"
#define SUMS(key, where)                                                                                                                                                                             \
	"SELECT k, " COUNTED("doubt = 0 AND result < 3") ","                                                                                                                                         \
							 " CAST(sum(CASE WHEN doubt = 0 THEN "                                                                                                       \
							 "duration_ms ELSE 0 END) AS BIGINT),"                                                                                                       \
							 " min(from_ms), max(from_ms), " COUNTED("doubt = 0 AND result = 2") ", " COUNTED("doubt = 0 AND result = 3") ", " COUNTED(                  \
								 "doubt = 0 AND result = 4") ","                                                                                                     \
											     " " COUNTED("doubt = 1") " FROM"                                                                        \
														      " (SELECT " key                                                                \
														      " AS k, duration_ms, from_ms, result, doubt FROM usage WHERE " where           \
														      " AND from_ms >= $2 AND from_ms < $3 AND ($4 = '' OR customer = $4)) AS shown" \
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
	[USAGE_BY_NAME] = BOTH("COALESCE((SELECT name FROM package WHERE id = usage.package),"
			       " lower(hex(package)))"),
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
				      .cut = (uint64_t)db_int(&rows, 5),
				      .skipped = (uint64_t)db_int(&rows, 6),
				      .failed = (uint64_t)db_int(&rows, 7),
				      .doubtful = (uint64_t)db_int(&rows, 8),
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

// ---- sources

static struct usage_source source_take(struct db_rows *rows, int at)
{
	struct usage_source s = {
		.boot = (uint64_t)db_int(rows, at + 1),
		.first_ms = db_int(rows, at + 2),
		.last_ms = db_int(rows, at + 3),
	};

	(void)db_fixed(rows, at, s.store_id.b, sizeof(s.store_id.b));
	return s;
}

enum err rows_usage_source_put(struct db *db, const char *client, const struct usage_source *source)
{
	return db_run(db,
		"INSERT OR REPLACE INTO usage_source (client, store_id, boot, first_ms, last_ms)"
		" VALUES ($1, $2, $3, $4, $5)",
		DB_T(client), DB_D(&source->store_id), DB_I(source->boot), DB_I(source->first_ms),
		DB_I(source->last_ms));
}

enum err rows_usage_source_find(struct db *db, const char *client, const struct usage_source *which,
	struct usage_source *out)
{
	struct db_rows rows;
	bool found = false;

	TRY(db_query(db, &rows,
		"SELECT store_id, boot, first_ms, last_ms FROM usage_source"
		" WHERE client = $1 AND store_id = $2 AND boot = $3",
		DB_T(client), DB_D(&which->store_id), DB_I(which->boot)));
	if (db_next(&rows)) {
		found = true;
		*out = source_take(&rows, 0);
	}
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "no such boot of %s", client);
}

enum err rows_usage_source_others(struct db *db, const char *client,
	const struct usage_source *source, int64_t overlap_ms, struct usage_source *out, size_t max,
	size_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query(db, &rows,
		"SELECT store_id, boot, first_ms, last_ms FROM usage_source WHERE client = $1"
		" AND last_ms > $2 AND first_ms < $3 AND (boot <> $4 OR store_id <> $5)"
		" AND last_ms - first_ms > $6 ORDER BY last_ms DESC LIMIT $7",
		DB_T(client), DB_I(source->first_ms + overlap_ms),
		DB_I(source->last_ms - overlap_ms), DB_I(source->boot), DB_D(&source->store_id),
		DB_I(overlap_ms), DB_I(max)));
	while (*count < max && db_next(&rows))
		out[(*count)++] = source_take(&rows, 0);
	return db_end(&rows);
}

enum err rows_usage_doubt(struct db *db, const char *client, int64_t from_ms, int64_t until_ms,
	const struct usage_source *source)
{
	return db_run(db,
		"UPDATE usage SET doubt = 1 WHERE client = $1 AND from_ms >= $2 AND from_ms <= $3"
		" AND store_id = $4 AND boot = $5 AND clock_quality > 1 AND doubt = 0",
		DB_T(client), DB_I(from_ms), DB_I(until_ms), DB_D(&source->store_id),
		DB_I(source->boot));
}

enum err rows_usage_pairs(struct db *db, const char *client, int64_t overlap_ms, size_t max,
	void *ctx,
	enum err (*each)(void *ctx, const struct usage_source *a, const struct usage_source *b))
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows,
		"SELECT a.store_id, a.boot, a.first_ms, a.last_ms, b.store_id, b.boot, b.first_ms,"
		" b.last_ms FROM usage_source AS a JOIN usage_source AS b ON b.client = a.client"
		" AND (b.store_id, b.boot) > (a.store_id, a.boot) WHERE a.client = $1"
		" AND b.last_ms > a.first_ms + $2 AND a.last_ms > b.first_ms + $2"
		" AND a.last_ms > a.first_ms + $2 AND b.last_ms > b.first_ms + $2"
		" ORDER BY a.last_ms DESC LIMIT $3",
		DB_T(client), DB_I(overlap_ms), DB_I(max)));
	while (e == ERR_OK && db_next(&rows)) {
		struct usage_source a = source_take(&rows, 0), b = source_take(&rows, 4);

		e = each(ctx, &a, &b);
	}
	return rows_close(&rows, e);
}

enum err rows_usage_doubts(struct db *db, const char *client, uint64_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query(db, &rows, "SELECT count(*) FROM usage WHERE client = $1 AND doubt = 1",
		DB_T(client)));
	if (db_next(&rows))
		*count = (uint64_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_usage_doubtful(struct db *db, size_t max, void *ctx,
	enum err (*each)(void *ctx, const char *client, uint64_t count))
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows,
		"SELECT client, count(*) FROM usage WHERE doubt = 1 GROUP BY client LIMIT $1",
		DB_I(max)));
	while (e == ERR_OK && db_next(&rows))
		e = each(ctx, db_text(&rows, 0), (uint64_t)db_int(&rows, 1));
	return rows_close(&rows, e);
}

// ---- bounds

static enum err sources_trim(struct db *db, const char *client, int64_t before_ms)
{
	return db_run(db, "DELETE FROM usage_source WHERE client = $1 AND last_ms < $2",
		DB_T(client), DB_I(before_ms));
}

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
	TRY(sources_trim(db, client, before_ms));
	TRY(db_query(db, &rows,
		"SELECT from_ms FROM usage WHERE client = $1 ORDER BY from_ms DESC LIMIT 1 OFFSET "
		"$2",
		DB_T(client), DB_I(rows_max)));
	if (db_next(&rows))
		last_ms = db_int(&rows, 0);
	TRY(db_end(&rows));
	if (last_ms == INT64_MIN)
		return ERR_OK;
	TRY(db_run(db, "DELETE FROM usage WHERE client = $1 AND from_ms <= $2", DB_T(client),
		DB_I(last_ms)));
	return sources_trim(db, client, last_ms);
}
