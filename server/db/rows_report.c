// The last report of each kind, and the ledger of what was shown.
#include "server/db/rows.h"

enum err rows_report_put(struct db *db, const struct report_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO report (client, what, report_id, received_ms, body, data)"
		" VALUES ($1, $2, $3, $4, $5, $6)",
		DB_T(r->client), DB_I(r->what), DB_I(r->report_id), DB_I(r->received_ms),
		DB_B(r->body), DB_B(r->data));
}

enum err rows_report_find(struct db *db, const char *client, enum info_kind what, struct arena *a,
	struct report_row *out)
{
	struct db_rows rows;
	bool found = false;

	*out = (struct report_row){.client = client, .what = what};
	TRY(db_query(db, &rows,
		"SELECT report_id, received_ms, body, data FROM report WHERE client = $1 AND what "
		"= $2",
		DB_T(client), DB_I(what)));
	if (db_next(&rows)) {
		found = true;
		out->report_id = (uint64_t)db_int(&rows, 0);
		out->received_ms = db_int(&rows, 1);
		out->body = arena_copy(a, db_blob(&rows, 2));
		struct bytes data = db_blob(&rows, 3);
		if (data.size)
			out->data = arena_copy(a, data);
		if (!out->body.data || out->data.size != data.size)
			rows.failed = err_set(ERR_FULL, "no room for the report");
	}
	TRY(db_end(&rows));
	return found ? ERR_OK
		     : err_set(ERR_NOT_FOUND, "%s has not reported %s yet", client,
			       info_kind_word(what));
}

enum err rows_usage_add(
	struct db *db, const char *client, const struct id16 *store_id, const struct shown *s)
{
	return db_run(db,
		"INSERT INTO usage (client, store_id, ledger_seq, package, image, from_ms, "
		"duration_ms, clock_quality, boot, planned_ms, result, reason, customer)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
		" COALESCE((SELECT customer FROM customer_client WHERE client = $1), ''))"
		" ON CONFLICT (client, store_id, ledger_seq, boot) DO UPDATE SET doubt = 1"
		" WHERE usage.from_ms <> excluded.from_ms"
		" OR usage.duration_ms <> excluded.duration_ms OR usage.image <> excluded.image"
		" OR usage.package <> excluded.package",
		DB_T(client), DB_D(store_id), DB_I(s->ledger_seq), DB_D(&s->package),
		DB_T(s->image), DB_I(s->from_unix_ms), DB_I(s->duration_ms), DB_I(s->clock_quality),
		DB_I(s->boot_counter), DB_I(s->planned_ms), DB_I(s->result),
		DB_T(s->reason ? s->reason : ""));
}

enum err rows_usage_count(struct db *db, const char *client, const struct id16 *store_id,
	uint64_t first_seq, uint64_t last_seq, uint64_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query(db, &rows,
		"SELECT count(*) FROM usage WHERE client = $1 AND store_id = $2"
		" AND ledger_seq >= $3 AND ledger_seq <= $4",
		DB_T(client), DB_D(store_id), DB_I(first_seq), DB_I(last_seq)));
	if (db_next(&rows))
		*count = (uint64_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_usage_first(struct db *db, const char *client, const struct digest *package,
	int64_t from_ms, struct arena *a, struct usage_item *out)
{
	struct db_rows rows;
	bool found = false;

	*out = (struct usage_item){.package = *package};
	TRY(db_query(db, &rows,
		"SELECT image, from_ms, duration_ms FROM usage WHERE client = $1 AND package = $2"
		" AND from_ms >= $3 AND result < 3 ORDER BY from_ms LIMIT 1", // proto/shown.h
		DB_T(client), DB_D(package), DB_I(from_ms)));
	if (db_next(&rows)) {
		found = true;
		out->image = arena_strdup(a, db_text(&rows, 0));
		out->from_unix_ms = db_int(&rows, 1);
		out->duration_ms = (uint32_t)db_int(&rows, 2);
		if (!out->image)
			rows.failed = err_set(ERR_FULL, "no room for a picture's name");
	}
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "%s reported no picture of it", client);
}

enum err rows_usage_list(struct db *db, const char *client, size_t max, struct arena *a,
	struct usage_item **out, size_t *count)
{
	struct db_rows rows;

	*count = 0;
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu rows", max);
	TRY(db_query(db, &rows,
		"SELECT package, image, from_ms, duration_ms, result FROM usage WHERE client = $1"
		" ORDER BY from_ms DESC, ledger_seq DESC LIMIT $2",
		DB_T(client), DB_I(max)));
	while (*count < max && db_next(&rows)) {
		struct usage_item *r = &(*out)[(*count)++];
		(void)db_fixed(&rows, 0, r->package.b, sizeof(r->package.b));
		r->image = arena_strdup(a, db_text(&rows, 1));
		r->from_unix_ms = db_int(&rows, 2);
		r->duration_ms = (uint32_t)db_int(&rows, 3);
		r->result = (enum shown_result)db_int(&rows, 4);
		if (!r->image)
			rows.failed = err_set(ERR_FULL, "no room for %zu rows", max);
	}
	return db_end(&rows);
}

// ---- parts

enum err rows_report_part_put(struct db *db, const struct report_part_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO report_part (client, part, report_id, what, parts, body)"
		" VALUES ($1, $2, $3, $4, $5, $6)",
		DB_T(r->client), DB_I(r->part), DB_I(r->report_id), DB_I(r->what), DB_I(r->parts),
		DB_B(r->body));
}

enum err rows_report_parts_drop(struct db *db, const char *client)
{
	return db_run(db, "DELETE FROM report_part WHERE client = $1", DB_T(client));
}

enum err rows_report_parts_each(struct db *db, const char *client, void *ctx,
	enum err (*each)(void *ctx, const struct report_part_row *row))
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(db, &rows,
		"SELECT part, body FROM report_part WHERE client = $1 ORDER BY part",
		DB_T(client)));
	while (e == ERR_OK && db_next(&rows))
		e = each(ctx, &(struct report_part_row){.client = client,
				      .part = (uint32_t)db_int(&rows, 0),
				      .body = db_blob(&rows, 1)});
	return rows_close(&rows, e);
}

enum err rows_report_parts_each_open(
	struct db *db, void *ctx, enum err (*each)(void *ctx, const struct report_part_row *row))
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows,
		"SELECT client, max(part), max(report_id), max(what), max(parts),"
		" CAST(sum(length(body)) AS BIGINT) FROM report_part GROUP BY client",
		NULL, 0));
	while (e == ERR_OK && db_next(&rows))
		e = each(ctx, &(struct report_part_row){.client = db_text(&rows, 0),
				      .part = (uint32_t)db_int(&rows, 1),
				      .report_id = (uint64_t)db_int(&rows, 2),
				      .what = (enum info_kind)db_int(&rows, 3),
				      .parts = (uint32_t)db_int(&rows, 4),
				      .bytes = (size_t)db_int(&rows, 5)});
	return rows_close(&rows, e);
}

// ---- how old an answer is

static enum err number_find(
	struct db *db, const char *sql, const char *client, enum info_kind what, int64_t *out)
{
	struct db_rows rows;

	*out = 0;
	TRY(db_query(db, &rows, sql, DB_T(client), DB_I(what)));
	if (db_next(&rows))
		*out = db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_question_find(
	struct db *db, const char *client, enum info_kind what, int64_t *asked_ms)
{
	return number_find(db, "SELECT asked_ms FROM question WHERE client = $1 AND what = $2",
		client, what, asked_ms);
}

enum err rows_question_put(struct db *db, const char *client, enum info_kind what, int64_t asked_ms)
{
	return db_run(db,
		"INSERT OR REPLACE INTO question (client, what, asked_ms) VALUES ($1, $2, $3)",
		DB_T(client), DB_I(what), DB_I(asked_ms));
}

enum err rows_report_age(
	struct db *db, const char *client, enum info_kind what, int64_t *received_ms)
{
	return number_find(db, "SELECT received_ms FROM report WHERE client = $1 AND what = $2",
		client, what, received_ms);
}

enum err rows_operation_body(
	struct db *db, const char *client, uint64_t op_id, struct arena *a, struct bytes *body)
{
	struct db_rows rows;
	bool found = false;

	TRY(db_query(db, &rows, "SELECT body FROM operation WHERE client = $1 AND op_id = $2",
		DB_T(client), DB_I(op_id)));
	if (db_next(&rows)) {
		found = true;
		*body = arena_copy(a, db_blob(&rows, 0));
		if (!body->data)
			rows.failed = err_set(ERR_FULL, "no room for an operation");
	}
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "there is no such operation");
}

enum err rows_operation_answered(struct db *db, const char *client, uint64_t op_id, bool *answered)
{
	struct db_rows rows;

	*answered = false;
	TRY(db_query(db, &rows, "SELECT reported FROM operation WHERE client = $1 AND op_id = $2",
		DB_T(client), DB_I(op_id)));
	if (db_next(&rows))
		*answered = db_int(&rows, 0) != 0;
	return db_end(&rows);
}

enum err rows_operation_answer(struct db *db, const char *client, uint64_t op_id)
{
	return db_run(db, "UPDATE operation SET reported = 1 WHERE client = $1 AND op_id = $2",
		DB_T(client), DB_I(op_id));
}
