// See rows_key.h.
#include "server/db/rows_key.h"

#define COLUMNS "key_id, customer, secret, current, created_ms"
#define READ                                                                                       \
	COLUMNS ", coalesce((SELECT publisher FROM customer WHERE id = content_key.customer AND"   \
		" removed = 0), '')"

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
	(void)str_copy(out->publisher, sizeof(out->publisher), db_text(rows, 5));
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
		db, &rows, "SELECT " READ " FROM content_key WHERE key_id = $1", DB_D(key_id)));
	return one_take(&rows, out, "of this id");
}

enum err rows_key_current(struct db *db, const char *customer, struct key_row *out)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT " READ " FROM content_key WHERE customer = $1 AND current = 1",
		DB_T(customer)));
	return one_take(&rows, out, customer);
}

enum err rows_key_newest(struct db *db, const char *customer, struct key_row *out)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT " READ " FROM content_key WHERE customer = $1"
		" ORDER BY current DESC, created_ms DESC LIMIT 1",
		DB_T(customer)));
	return one_take(&rows, out, customer);
}

enum err rows_key_customers(struct db *db, const char *publisher, const char *after, size_t max,
	void *ctx, rows_key_each *each)
{
	struct db_rows rows;
	struct key_row row;

	TRY(db_query(db, &rows,
		"SELECT " READ " FROM content_key WHERE ($1 = '' OR customer IN (SELECT id FROM"
		" customer WHERE publisher = $1 AND removed = 0)) AND customer > $2 AND NOT EXISTS"
		" (SELECT 1 FROM content_key AS other WHERE other.customer = content_key.customer"
		" AND (other.current, other.created_ms, other.key_id) >"
		" (content_key.current, content_key.created_ms, content_key.key_id))"
		" ORDER BY customer LIMIT $3",
		DB_T(publisher), DB_T(after), DB_I(max)));
	enum err e = ERR_OK;
	while (e == ERR_OK && db_next(&rows)) {
		row_take(&rows, &row);
		e = each(ctx, &row);
	}
	secret_wipe(&row, sizeof(row));
	return rows_close(&rows, e);
}
