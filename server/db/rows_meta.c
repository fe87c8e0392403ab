// Numbers and secrets of the store itself.
#include "server/db/rows.h"

enum err rows_meta_number(struct db *db, const char *key, int64_t *out)
{
	struct db_rows rows;

	*out = 0;
	TRY(db_query(db, &rows, "SELECT number FROM meta WHERE key = $1", DB_T(key)));
	if (db_next(&rows))
		*out = db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_meta_put_number(struct db *db, const char *key, int64_t number)
{
	return db_run(db,
		"INSERT INTO meta (key, number) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET "
		"number = excluded.number",
		DB_T(key), DB_I(number));
}

enum err rows_meta_draw(struct db *db, const char *key, int64_t least, int64_t *out)
{
	TRY(db_run(db,
		"INSERT INTO meta (key, number) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET "
		"number = CASE WHEN meta.number >= excluded.number THEN meta.number + 1"
		" ELSE excluded.number END",
		DB_T(key), DB_I(least)));
	return rows_meta_number(db, key, out);
}

enum err rows_meta_raise(struct db *db, const char *key, int64_t number)
{
	return db_run(db,
		"INSERT INTO meta (key, number) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET "
		"number = CASE WHEN meta.number > excluded.number THEN meta.number"
		" ELSE excluded.number END",
		DB_T(key), DB_I(number));
}

enum err rows_meta_secret(struct db *db, const char *key, struct key32 *out, bool *found)
{
	struct db_rows rows;

	*found = false;
	TRY(db_query(db, &rows, "SELECT data FROM meta WHERE key = $1", DB_T(key)));
	if (db_next(&rows))
		*found = db_fixed(&rows, 0, out->b, sizeof(out->b));
	return db_end(&rows);
}

enum err rows_meta_put_secret(struct db *db, const char *key, const struct key32 *secret)
{
	return db_run(db,
		"INSERT INTO meta (key, data) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET data "
		"= excluded.data",
		DB_T(key), DB_D(secret));
}
