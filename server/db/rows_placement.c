// Placements: the first of each package, its further copies, and when each data broker was last a
// publishing target.
#include "server/db/rows_content.h"

enum err rows_placement_put(struct db *db, const struct placement_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO placement (package, state, broker, directive, "
		"directive_id, answered, since_ms, verified_ms, mark, index_sha256, viewed, "
		"barred, detail, directive_top) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
		"$11, $12, $13, $14)",
		DB_D(&r->package), DB_I(r->state), DB_T(r->broker), DB_I(r->directive),
		DB_I(r->directive_id), DB_I(r->answered), DB_I(r->since_ms), DB_I(r->verified_ms),
		DB_D(&r->mark), DB_D(&r->index_sha256), DB_I(r->viewed), DB_I(r->barred),
		DB_T(r->detail), DB_I(r->directive_top));
}

static struct placement_row placement_read(struct db_rows *rows)
{
	struct placement_row r = {
		.state = (int)db_int(rows, 1),
		.broker = db_text(rows, 2),
		.directive = (enum directive_kind)db_int(rows, 3),
		.directive_id = (uint64_t)db_int(rows, 4),
		.answered = db_int(rows, 5) != 0,
		.since_ms = db_int(rows, 6),
		.verified_ms = db_int(rows, 7),
		.viewed = db_int(rows, 10) != 0,
		.barred = db_int(rows, 11) != 0,
		.detail = db_text(rows, 12),
		.directive_top = (uint64_t)db_int(rows, 13),
	};

	db_fixed(rows, 0, r.package.b, sizeof(r.package.b));
	db_fixed(rows, 8, r.mark.b, sizeof(r.mark.b));
	db_fixed(rows, 9, r.index_sha256.b, sizeof(r.index_sha256.b));
	return r;
}

enum err rows_placement_each(
	struct db *db, enum err (*each)(void *ctx, const struct placement_row *row), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows,
		"SELECT package, state, broker, directive, directive_id, answered, since_ms, "
		"verified_ms, mark, index_sha256, viewed, barred, detail, directive_top FROM "
		"placement",
		NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		struct placement_row r = placement_read(&rows);

		e = each(ctx, &r);
	}
	return rows_close(&rows, e);
}

enum err rows_copy_put(struct db *db, const struct copy_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO placement_copy (package, broker, state, directive, "
		"directive_id, answered, since_ms, mark, index_sha256) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		DB_D(&r->package), DB_T(r->broker), DB_I(r->state), DB_I(r->directive),
		DB_I(r->directive_id), DB_I(r->answered), DB_I(r->since_ms), DB_D(&r->mark),
		DB_D(&r->index_sha256));
}

enum err rows_copy_delete(struct db *db, const struct digest *package, const char *broker)
{
	return db_run(db, "DELETE FROM placement_copy WHERE package = $1 AND broker = $2",
		DB_D(package), DB_T(broker));
}

enum err rows_copy_each(
	struct db *db, enum err (*each)(void *ctx, const struct copy_row *row), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows,
		"SELECT package, broker, state, directive, directive_id, answered, since_ms, "
		"mark, index_sha256 FROM placement_copy ORDER BY package, broker",
		NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		struct copy_row r = {
			.broker = db_text(&rows, 1),
			.state = (int)db_int(&rows, 2),
			.directive = (enum directive_kind)db_int(&rows, 3),
			.directive_id = (uint64_t)db_int(&rows, 4),
			.answered = db_int(&rows, 5) != 0,
			.since_ms = db_int(&rows, 6),
		};

		db_fixed(&rows, 0, r.package.b, sizeof(r.package.b));
		db_fixed(&rows, 7, r.mark.b, sizeof(r.mark.b));
		db_fixed(&rows, 8, r.index_sha256.b, sizeof(r.index_sha256.b));
		e = each(ctx, &r);
	}
	return rows_close(&rows, e);
}

enum err rows_target_put(struct db *db, const char *broker, int64_t last_ms)
{
	return db_run(db, "INSERT OR REPLACE INTO data_target (broker, last_ms) VALUES ($1, $2)",
		DB_T(broker), DB_I(last_ms));
}

enum err rows_target_each(
	struct db *db, enum err (*each)(void *ctx, const char *broker, int64_t last_ms), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows, "SELECT broker, last_ms FROM data_target", NULL, 0));
	while (e == ERR_OK && db_next(&rows))
		e = each(ctx, db_text(&rows, 0), db_int(&rows, 1));
	return rows_close(&rows, e);
}
