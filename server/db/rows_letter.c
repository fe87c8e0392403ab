// See rows_letter.h.
#include "server/db/rows_letter.h"
#include "server/db/rows.h"
#include <string.h>

enum err rows_letter_put(struct db *db, const struct letter_row *r, int64_t at_ms)
{
	return db_run(db,
		"INSERT INTO letter (place, kind, client, text, a, b, body, at_ms)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		DB_I(r->place), DB_I(r->kind), DB_T(r->client), DB_T(r->text), DB_I(r->a),
		DB_I(r->b), DB_B(r->body), DB_I(at_ms));
}

enum err rows_letter_each(struct db *db, const char places[LETTER_PLACES + 1], uint64_t after,
	size_t max, enum err (*fn)(void *ctx, const struct letter_row *row), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows,
		"SELECT number, place, kind, client, text, a, b, body FROM letter"
		" WHERE substr($1, CAST(place + 1 AS SMALLINT), 1) = '1' AND (place <> $2 OR "
		"number > $3)"
		" ORDER BY number LIMIT $4",
		DB_T(places), DB_I(LETTER_TO_ALL), DB_I(after), DB_I(max)));
	while (e == ERR_OK && db_next(&rows)) {
		struct letter_row row = {
			.number = (uint64_t)db_int(&rows, 0),
			.place = (unsigned)db_int(&rows, 1),
			.kind = (unsigned)db_int(&rows, 2),
			.client = db_text(&rows, 3),
			.text = db_text(&rows, 4),
			.a = (uint64_t)db_int(&rows, 5),
			.b = (uint64_t)db_int(&rows, 6),
			.body = db_blob(&rows, 7),
		};
		e = fn(ctx, &row);
	}
	return rows_close(&rows, e);
}

enum err rows_letter_take(struct db *db, uint64_t number)
{
	return db_run(db, "DELETE FROM letter WHERE number = $1", DB_I(number));
}

enum err rows_letter_waits(struct db *db, const char *client, unsigned kind, bool *waits)
{
	struct db_rows rows;

	TRY(db_query(db, &rows, "SELECT 1 FROM letter WHERE client = $1 AND kind = $2 LIMIT 1",
		DB_T(client), DB_I(kind)));
	*waits = db_next(&rows);
	return db_end(&rows);
}

enum err rows_letter_count(struct db *db, uint64_t waiting[LETTER_PLACES])
{
	struct db_rows rows;

	memset(waiting, 0, LETTER_PLACES * sizeof(*waiting));
	TRY(db_query_values(
		db, &rows, "SELECT place, count(*) FROM letter GROUP BY place", NULL, 0));
	while (db_next(&rows)) {
		uint64_t place = (uint64_t)db_int(&rows, 0);
		if (place < LETTER_PLACES)
			waiting[place] = (uint64_t)db_int(&rows, 1);
	}
	return db_end(&rows);
}

enum err rows_letter_last(struct db *db, uint64_t *number)
{
	struct db_rows rows;

	*number = 0;
	TRY(db_query(db, &rows, "SELECT coalesce(max(number), 0) FROM letter WHERE place = $1",
		DB_I(LETTER_TO_ALL)));
	if (db_next(&rows))
		*number = (uint64_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_letter_prune(struct db *db, int64_t before_ms)
{
	return db_run(db, "DELETE FROM letter WHERE place = $1 AND at_ms < $2", DB_I(LETTER_TO_ALL),
		DB_I(before_ms));
}
