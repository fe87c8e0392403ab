// See rows_shard.h. What runs out is judged by one clock, the database's, so that servers whose
// clocks differ agree. Rows are locked as PostgreSQL locks them when it is said plainly: a change
// waits for who holds the row, and then looks at the row again.
#include "server/db/rows_shard.h"
#include "proto/base/log.h"
#include "proto/limits.h"
#include "server/db/rows.h"
#include <string.h>

#define NOW DB_NOW_MS

static enum err shards_make(struct db *db)
{
	struct db_rows rows;
	int64_t count = 0;

	TRY(db_query_values(db, &rows, "SELECT count(*) FROM shard_lease", NULL, 0));
	if (db_next(&rows))
		count = db_int(&rows, 0);
	TRY(db_end(&rows));
	for (int i = 0; count < SHARD_PLACES && i < SHARD_PLACES; i++)
		TRY(db_run(db,
			"INSERT OR IGNORE INTO shard_lease (shard, holder, fencing) VALUES ($1, "
			"'', 0)",
			DB_I(i)));
	return ERR_OK;
}

enum err rows_server_term(struct db *db, const char *holder, uint32_t lease_ms, uint64_t *fencing)
{
	int64_t number = 0;

	TRY(db_run_values(db,
		"INSERT INTO meta (key, number) VALUES ('fencing', 1) ON CONFLICT (key) DO UPDATE"
		" SET number = meta.number + 1",
		NULL, 0));
	TRY(rows_meta_number(db, "fencing", &number));
	TRY(shards_make(db));
	TRY(db_run(db,
		"INSERT OR REPLACE INTO server_lease (holder, fencing, until_ms)"
		" VALUES ($1, $2, " NOW " + $3)",
		DB_T(holder), DB_I(number), DB_I(lease_ms)));
	TRY(db_run(db, "UPDATE shard_lease SET holder = '', fencing = 0 WHERE holder = $1",
		DB_T(holder)));
	*fencing = (uint64_t)number;
	return ERR_OK;
}

static enum err term_check(struct db_rows *rows)
{
	bool found = db_next(rows);

	TRY(db_end(rows));
	return found ? ERR_OK
		     : err_set(ERR_STALE, "another server has taken over what this one had");
}

enum err rows_server_renew(struct db *db, const char *holder, uint64_t fencing, uint32_t lease_ms)
{
	struct db_rows rows;

	TRY(db_run(db,
		"UPDATE server_lease SET until_ms = " NOW
		" + $1 WHERE holder = $2 AND fencing = $3",
		DB_I(lease_ms), DB_T(holder), DB_I(fencing)));
	TRY(db_query(db, &rows, "SELECT 1 FROM server_lease WHERE holder = $1 AND fencing = $2",
		DB_T(holder), DB_I(fencing)));
	return term_check(&rows);
}

enum err rows_server_guard(struct db *db, const char *holder, uint64_t fencing)
{
	static const char alone[] = "SELECT 1 FROM server_lease WHERE holder = $1 AND fencing = $2";
	static const char among_others[] =
		"SELECT 1 FROM server_lease WHERE holder = $1 AND fencing = $2 FOR SHARE";
	struct db_rows rows;

	TRY(db_query(
		db, &rows, db->engine->shared ? among_others : alone, DB_T(holder), DB_I(fencing)));
	return term_check(&rows);
}

// Who holds its row is a turn of its own that did not end: of a server that was stopped, or whose
// network is gone while the database tells it something. One that goes on lives: it renews, or ends
// the same term as we do.
static enum err turn_end(struct db *db, const char *holder, uint64_t fencing, int64_t until_ms)
{
	struct db_rows rows;
	size_t ended = 0;

	TRY(db_query(db, &rows,
		"SELECT pg_terminate_backend(a.pid) FROM server_lease s JOIN pg_stat_activity a"
		" ON a.backend_xid = s.xmax WHERE s.holder = $1 AND s.fencing = $2"
		" AND s.until_ms = $3"
		" AND a.pid <> pg_backend_pid() AND a.usename = current_user"
		" AND a.state_change < clock_timestamp() - interval '500 milliseconds'",
		DB_T(holder), DB_I(fencing), DB_I(until_ms)));
	while (db_next(&rows))
		ended++;
	if (ended)
		log_warn("SHARD-TURN-ENDED", "holder=%s fencing=%llu ended=%zu", holder,
			(unsigned long long)fencing, ended);
	return db_end(&rows);
}

// *free: its row is as it was, and nobody holds it.
static enum err server_is_free(
	struct db *db, const char *holder, uint64_t fencing, int64_t until_ms, bool *free)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT 1 FROM server_lease WHERE holder = $1 AND fencing = $2 AND until_ms = $3"
		" FOR UPDATE SKIP LOCKED",
		DB_T(holder), DB_I(fencing), DB_I(until_ms)));
	*free = db_next(&rows);
	return db_end(&rows);
}

static enum err term_is_over(struct db *db, const char *holder, uint64_t fencing, bool *over)
{
	struct db_rows rows;

	TRY(db_query(db, &rows, "SELECT 1 FROM server_lease WHERE holder = $1 AND fencing = $2",
		DB_T(holder), DB_I(fencing)));
	*over = !db_next(&rows);
	return db_end(&rows);
}

// It may be renewed between any two of these statements.
enum err rows_server_bury(
	struct db *db, const char *holder, uint64_t fencing, int64_t until_ms, bool *ended)
{
	bool free = true;

	*ended = false;
	if (db->engine->shared)
		TRY(server_is_free(db, holder, fencing, until_ms, &free));
	if (!free)
		return turn_end(db, holder, fencing, until_ms);
	TRY(db_run(db,
		"DELETE FROM server_lease WHERE holder = $1 AND fencing = $2 AND until_ms = $3",
		DB_T(holder), DB_I(fencing), DB_I(until_ms)));
	TRY(db_run(db,
		"UPDATE shard_lease SET holder = '', fencing = 0 WHERE holder = $1 AND fencing = $2"
		" AND NOT EXISTS (SELECT 1 FROM server_lease WHERE holder = $1 AND fencing = $2)",
		DB_T(holder), DB_I(fencing)));
	return term_is_over(db, holder, fencing, ended);
}

enum err rows_servers_count(struct db *db, size_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query_values(db, &rows, "SELECT count(*) FROM server_lease", NULL, 0));
	if (db_next(&rows))
		*count = (size_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_servers_each(
	struct db *db, enum err (*fn)(void *ctx, const struct server_row *row), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows,
		"SELECT holder, fencing, until_ms, until_ms - " NOW
		" FROM server_lease ORDER BY fencing",
		NULL, 0));
	while (e == ERR_OK && db_next(&rows))
		e = fn(ctx, &(struct server_row){.holder = db_text(&rows, 0),
				    .fencing = (uint64_t)db_int(&rows, 1),
				    .until_ms = db_int(&rows, 2),
				    .left_ms = db_int(&rows, 3)});
	return rows_close(&rows, e);
}

enum err rows_shards_each(
	struct db *db, enum err (*fn)(void *ctx, unsigned shard, const char *holder), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(
		db, &rows, "SELECT shard, holder FROM shard_lease ORDER BY shard", NULL, 0));
	while (e == ERR_OK && db_next(&rows))
		e = fn(ctx, (unsigned)db_int(&rows, 0), db_text(&rows, 1));
	return rows_close(&rows, e);
}

enum err rows_server_leave(struct db *db, const char *holder, uint64_t fencing)
{
	TRY(db_run(db,
		"UPDATE shard_lease SET holder = '', fencing = 0 WHERE holder = $1 AND fencing = "
		"$2",
		DB_T(holder), DB_I(fencing)));
	return db_run(db, "DELETE FROM server_lease WHERE holder = $1 AND fencing = $2",
		DB_T(holder), DB_I(fencing));
}

enum err rows_shard_take(struct db *db, unsigned shard, const char *holder, uint64_t fencing)
{
	return db_run(db,
		"UPDATE shard_lease SET holder = $1, fencing = $2 WHERE shard = $3 AND holder = ''",
		DB_T(holder), DB_I(fencing), DB_I(shard));
}

enum err rows_shard_give(struct db *db, unsigned shard, const char *holder, uint64_t fencing)
{
	return db_run(db,
		"UPDATE shard_lease SET holder = '', fencing = 0 WHERE shard = $1 AND holder = $2 "
		"AND "
		"fencing = $3",
		DB_I(shard), DB_T(holder), DB_I(fencing));
}

static enum shard_owner owner_of(struct db_rows *rows, const char *holder, uint64_t fencing)
{
	const char *is = db_text(rows, 1);

	if (!is[0])
		return SHARD_FREE;
	return strcmp(is, holder) == 0 && (uint64_t)db_int(rows, 2) == fencing ? SHARD_MINE
									       : SHARD_OTHERS;
}

enum err rows_shards_read(
	struct db *db, const char *holder, uint64_t fencing, enum shard_owner *owner)
{
	struct db_rows rows;

	for (size_t i = 0; i < SHARD_PLACES; i++)
		owner[i] = SHARD_FREE;
	TRY(db_query_values(db, &rows, "SELECT shard, holder, fencing FROM shard_lease", NULL, 0));
	while (db_next(&rows)) {
		int64_t shard = db_int(&rows, 0);

		if (shard >= 0 && shard < SHARD_PLACES)
			owner[shard] = owner_of(&rows, holder, fencing);
	}
	return db_end(&rows);
}

enum err rows_shard_holder(struct db *db, unsigned shard, char *out)
{
	struct db_rows rows;

	out[0] = '\0';
	TRY(db_query(db, &rows, "SELECT holder FROM shard_lease WHERE shard = $1", DB_I(shard)));
	if (db_next(&rows))
		(void)str_copy(out, LIMIT_ID + 1, db_text(&rows, 0));
	return db_end(&rows);
}
