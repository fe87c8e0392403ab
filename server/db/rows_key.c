// See rows_key.h.
#include "server/db/rows_key.h"

#define COLUMNS "key_id, customer, secret, current, created_ms"

enum err rows_key_turn(struct db *db, const char *customer, const struct key_row *row)
{
	TRY(db_run(db, "UPDATE content_key SET current = 0 WHERE customer = $1 AND current = 1",
		DB_T(customer)));
	if (!row)
		return ERR_OK;
	return db_run(db,
		"INSERT OR REPLACE INTO content_key (" COLUMNS ") VALUES ($1, $2, $3, 1, $4)",
		DB_D(&row->key_id), DB_T(customer), DB_D(&row->secret), DB_I(row->created_ms));
}

static void row_take(struct db_rows *rows, struct key_row *out)
{
	*out = (struct key_row){.current = db_int(rows, 3) != 0, .created_ms = db_int(rows, 4)};
	(void)db_fixed(rows, 0, out->key_id.b, sizeof(out->key_id.b));
	(void)str_copy(out->customer, sizeof(out->customer), db_text(rows, 1));
	(void)db_fixed(rows, 2, out->secret.b, sizeof(out->secret.b));
}

static enum err one_take(struct db_rows *rows, struct key_row *out, const char *what)
{
	bool found = db_next(rows);

	if (found)
		row_take(rows, out);
	TRY(db_end(rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "no key %s", what);
}

enum err rows_key_find(struct db *db, const struct id16 *key_id, struct key_row *out)
{
	struct db_rows rows;

	TRY(db_query(
		db, &rows, "SELECT " COLUMNS " FROM content_key WHERE key_id = $1", DB_D(key_id)));
	return one_take(&rows, out, "of this id");
}

enum err rows_key_current(struct db *db, const char *customer, struct key_row *out)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT " COLUMNS " FROM content_key WHERE customer = $1 AND current = 1",
		DB_T(customer)));
	return one_take(&rows, out, customer);
}

enum err rows_key_customers(struct db *db, void *ctx, rows_key_each *each)
{
	struct db_rows rows;
	struct key_row row;

	TRY(db_query_values(db, &rows,
		"SELECT " COLUMNS ", max(current * 9007199254740992 + created_ms) FROM content_key"
		" GROUP BY customer ORDER BY customer",
		NULL, 0));
	enum err e = ERR_OK;
	while (e == ERR_OK && db_next(&rows)) {
		row_take(&rows, &row);
		e = each(ctx, &row);
	}
	secret_wipe(&row, sizeof(row));
	return rows_close(&rows, e);
}
