// See rows_budget.h.
#include "server/db/rows_budget.h"

#include "server/db/rows_content.h"

enum err rows_budget_put(struct db *db, const struct budget *b)
{
	return db_run(db,
		"INSERT OR REPLACE INTO budget (kind, name, bytes_per_s, fetches) VALUES ($1, $2, "
		"$3, $4)",
		DB_I(b->kind), DB_T(b->name), DB_I(b->bytes_per_s), DB_I(b->fetches));
}

enum err rows_budget_delete(struct db *db, enum budget_kind kind, const char *name)
{
	return db_run(
		db, "DELETE FROM budget WHERE kind = $1 AND name = $2", DB_I(kind), DB_T(name));
}

enum err rows_budget_each(
	struct db *db, enum err (*each)(void *ctx, const struct budget *b), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(
		db, &rows, "SELECT kind, name, bytes_per_s, fetches FROM budget", NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		struct budget b = {
			.kind = (enum budget_kind)db_int(&rows, 0),
			.bytes_per_s = (uint64_t)db_int(&rows, 2),
			.fetches = (uint32_t)db_int(&rows, 3),
			.is_stored = true,
		};

		e = str_copy(b.name, sizeof(b.name), db_text(&rows, 1))
			    ? each(ctx, &b)
			    : err_set(ERR_CORRUPT, "a budget has a name that is too long");
	}
	return rows_close(&rows, e);
}
