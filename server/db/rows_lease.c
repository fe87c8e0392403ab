// Leases that are out. Age is not stored: it is counted in time that somebody attended.
#include "server/db/rows_content.h"

enum err rows_lease_put(struct db *db, const struct lease_row *r)
{
	TRY(db_run(db,
		"INSERT OR REPLACE INTO lease (id, client, package, broker, request_id, "
		"granted_ms, ttl_ms, rate) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		DB_I(r->id), DB_T(r->client), DB_D(&r->package), DB_T(r->broker),
		DB_I(r->request_id), DB_I(r->granted_ms), DB_I(r->ttl_ms), DB_I(r->rate)));
	return db_run(db,
		"INSERT OR REPLACE INTO fetched (client, package, broker, granted_ms) VALUES ($1, "
		"$2, $3, $4)",
		DB_T(r->client), DB_D(&r->package), DB_T(r->broker), DB_I(r->granted_ms));
}

enum err rows_fetched_find(struct db *db, const char *client, const struct digest *package,
	struct arena *a, const char **broker, int64_t *granted_ms)
{
	struct db_rows rows;

	*broker = "";
	*granted_ms = 0;
	TRY(db_query(db, &rows,
		"SELECT broker, granted_ms FROM fetched WHERE client = $1 AND package = $2",
		DB_T(client), DB_D(package)));
	if (db_next(&rows)) {
		*broker = arena_strdup(a, db_text(&rows, 0));
		*granted_ms = db_int(&rows, 1);
		if (!*broker)
			rows.failed = err_set(ERR_FULL, "no room for a broker's name");
	}
	return db_end(&rows);
}

enum err rows_fetched_prune(struct db *db, int64_t before_ms)
{
	return db_run(db, "DELETE FROM fetched WHERE granted_ms < $1", DB_I(before_ms));
}

enum err rows_lease_delete(struct db *db, uint64_t id)
{
	return db_run(db, "DELETE FROM lease WHERE id = $1", DB_I(id));
}

enum err rows_lease_rate_put(struct db *db, uint64_t id, uint64_t rate)
{
	return db_run(db, "UPDATE lease SET rate = $1 WHERE id = $2", DB_I(rate), DB_I(id));
}

enum err rows_lease_rate(struct db *db, uint64_t id, uint64_t *rate)
{
	struct db_rows rows;
	bool found;

	TRY(db_query(db, &rows, "SELECT rate FROM lease WHERE id = $1", DB_I(id)));
	found = db_next(&rows);
	if (found)
		*rate = (uint64_t)db_int(&rows, 0);
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "no lease %llu", (unsigned long long)id);
}

enum err rows_lease_each(
	struct db *db, enum err (*each)(void *ctx, const struct lease_row *row), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows,
		"SELECT id, client, package, broker, request_id, granted_ms, ttl_ms, rate FROM "
		"lease ORDER BY granted_ms, id",
		NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		struct lease_row r = {
			.id = (uint64_t)db_int(&rows, 0),
			.client = db_text(&rows, 1),
			.broker = db_text(&rows, 3),
			.request_id = (uint64_t)db_int(&rows, 4),
			.granted_ms = db_int(&rows, 5),
			.ttl_ms = (uint32_t)db_int(&rows, 6),
			.rate = (uint64_t)db_int(&rows, 7),
		};
		db_fixed(&rows, 2, r.package.b, sizeof(r.package.b));
		e = each(ctx, &r);
	}
	return rows_close(&rows, e);
}
