// Operations: open ones with the body that is sent again verbatim, ended ones with their one
// outcome.
#include "server/db/rows.h"

#define COLUMNS                                                                                    \
	"client, op_id, first_op_id, before_id, kind, attempt, flow, queue, event_seq, body, "     \
	"status, percent, detail,"                                                                 \
	" outcome, is_final, place, reported, cancel_flow, opened_ms, ended_ms"

enum err rows_operation_put(struct db *db, const struct operation_row *r)
{
	return db_run_later(db,
		"INSERT OR REPLACE INTO operation (" COLUMNS ") VALUES"
		" ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, "
		"$18, $19, $20)",
		DB_T(r->client), DB_I(r->op_id), DB_I(r->first_op_id), DB_I(r->before_id),
		DB_I(r->kind), DB_I(r->attempt), DB_I(r->flow_id), DB_T(r->queue),
		DB_I(r->event_seq), DB_B(r->body), DB_I(r->status), DB_I(r->percent),
		DB_T(r->detail), DB_I(r->outcome), DB_I(r->is_final), DB_I(r->place),
		DB_I(r->reported), DB_I(r->cancel_flow), DB_I(r->opened_ms), DB_I(r->ended_ms));
}

enum err rows_operation_progress(struct db *db, const char *client, uint64_t op_id,
	enum op_status status, uint32_t percent, const char *detail, bool reported)
{
	return db_run_later(db,
		"UPDATE operation SET status = $1, percent = $2, detail = $3, reported = $4 WHERE "
		"client = $5 AND op_id = $6",
		DB_I(status), DB_I(percent), DB_T(detail), DB_I(reported), DB_T(client),
		DB_I(op_id));
}

enum err rows_operation_end(struct db *db, const struct operation_row *r)
{
	return db_run_later(db,
		"UPDATE operation SET status = $1, percent = $2, detail = $3, outcome = $4, "
		"is_final = $5, place = $6,"
		" ended_ms = $7 WHERE client = $8 AND op_id = $9",
		DB_I(r->status), DB_I(r->percent), DB_T(r->detail), DB_I(r->outcome),
		DB_I(r->is_final), DB_I(r->place), DB_I(r->ended_ms), DB_T(r->client),
		DB_I(r->op_id));
}

enum err rows_operation_place(
	struct db *db, const char *client, uint64_t op_id, enum operation_place place)
{
	return db_run_later(db, "UPDATE operation SET place = $1 WHERE client = $2 AND op_id = $3",
		DB_I(place), DB_T(client), DB_I(op_id));
}

enum err rows_operation_cancel(struct db *db, const char *client, uint64_t op_id, uint64_t flow)
{
	return db_run(db, "UPDATE operation SET cancel_flow = $1 WHERE client = $2 AND op_id = $3",
		DB_I(flow), DB_T(client), DB_I(op_id));
}

static void row_read(struct db_rows *rows, struct operation_row *r)
{
	*r = (struct operation_row){
		.client = db_text(rows, 0),
		.op_id = (uint64_t)db_int(rows, 1),
		.first_op_id = (uint64_t)db_int(rows, 2),
		.before_id = (uint64_t)db_int(rows, 3),
		.kind = (enum response_kind)db_int(rows, 4),
		.attempt = (uint32_t)db_int(rows, 5),
		.flow_id = (uint64_t)db_int(rows, 6),
		.queue = db_text(rows, 7),
		.event_seq = (uint64_t)db_int(rows, 8),
		.body = db_blob(rows, 9),
		.status = (enum op_status)db_int(rows, 10),
		.percent = (uint32_t)db_int(rows, 11),
		.detail = db_text(rows, 12),
		.outcome = (enum op_status)db_int(rows, 13),
		.is_final = db_int(rows, 14) != 0,
		.place = (enum operation_place)db_int(rows, 15),
		.reported = db_int(rows, 16) != 0,
		.cancel_flow = (uint64_t)db_int(rows, 17),
		.opened_ms = db_int(rows, 18),
		.ended_ms = db_int(rows, 19),
	};
}

enum err rows_operation_each_open(
	struct db *db, enum err (*fn)(void *ctx, const struct operation_row *row), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows,
		"SELECT " COLUMNS " FROM operation WHERE place <> 0 ORDER BY op_id", NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		struct operation_row row;
		row_read(&rows, &row);
		e = fn(ctx, &row);
	}
	return rows_close(&rows, e);
}

static enum err rows_copy(struct db_rows *rows, size_t max, struct arena *a,
	struct operation_row **out, size_t *count)
{
	*count = 0;
	*out = arena_array(a, max, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu operations", max);
	while (*count < max && db_next(rows)) {
		struct operation_row *r = &(*out)[*count];
		row_read(rows, r);
		r->client = arena_strdup(a, r->client);
		r->queue = arena_strdup(a, r->queue);
		r->detail = arena_strdup(a, r->detail);
		r->body = arena_copy(a, r->body);
		if (!r->client || !r->queue || !r->detail)
			return err_set(ERR_FULL, "no room for %zu operations", max);
		(*count)++;
	}
	return ERR_OK;
}

enum err rows_operation_list(struct db *db, const char *client, uint64_t flow, size_t max,
	struct arena *a, struct operation_row **out, size_t *count)
{
	struct db_rows rows;

	if (client)
		TRY(db_query(db, &rows,
			"SELECT " COLUMNS
			" FROM operation WHERE client = $1 AND (flow = $2 OR $2 = 0)"
			" ORDER BY op_id DESC LIMIT $3",
			DB_T(client), DB_I(flow), DB_I(max)));
	else
		TRY(db_query(db, &rows,
			"SELECT " COLUMNS
			" FROM operation WHERE flow = $1 ORDER BY op_id DESC LIMIT $2",
			DB_I(flow), DB_I(max)));
	enum err e = rows_copy(&rows, max, a, out, count);
	return rows_close(&rows, e);
}

enum err rows_operation_prune(struct db *db, int64_t ended_before_ms)
{
	return db_run(db, "DELETE FROM operation WHERE place = 0 AND ended_ms < $1",
		DB_I(ended_before_ms));
}
