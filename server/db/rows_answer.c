// Answers of kinds 2 to 4, as `why` tells them. NO_ACTION is remembered in memory only.
#include "server/db/rows.h"

enum err rows_answer_add(struct db *db, const struct answer_row *r)
{
	return db_run_later(db,
		"INSERT INTO answer (client, response_id, at_ms, in_reply_to, op_id, kind, state, "
		"code, text, queue,"
		" event_seq, flow, attempt, rule, interval_ms, interval_by) VALUES ($1, $2, $3, "
		"$4, "
		"$5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
		DB_T(r->client), DB_I(r->response_id), DB_I(r->at_ms), DB_I(r->in_reply_to),
		DB_I(r->op_id), DB_I(r->kind), DB_I(r->state), DB_I(r->code), DB_T(r->text),
		DB_T(r->queue), DB_I(r->event_seq), DB_I(r->flow_id), DB_I(r->attempt),
		DB_I(r->rule), DB_I(r->interval_ms), DB_I(r->interval_by));
}

enum err rows_answer_list(struct db *db, const char *client, size_t max, struct arena *a,
	struct answer_row **out, size_t *count)
{
	struct db_rows rows;

	*count = 0;
	*out = arena_array(a, max, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu answers", max);
	TRY(db_query(db, &rows,
		"SELECT response_id, at_ms, in_reply_to, op_id, kind, state, code, text, queue, "
		"event_seq, flow, attempt, rule, interval_ms, interval_by"
		" FROM answer WHERE client = $1 ORDER BY number DESC LIMIT $2",
		DB_T(client), DB_I(max)));
	while (*count < max && db_next(&rows)) {
		struct answer_row *r = &(*out)[(*count)++];
		*r = (struct answer_row){
			.client = client,
			.response_id = (uint64_t)db_int(&rows, 0),
			.at_ms = db_int(&rows, 1),
			.in_reply_to = (uint64_t)db_int(&rows, 2),
			.op_id = (uint64_t)db_int(&rows, 3),
			.kind = (enum response_kind)db_int(&rows, 4),
			.state = (enum client_state)db_int(&rows, 5),
			.code = (enum reason_code)db_int(&rows, 6),
			.text = arena_strdup(a, db_text(&rows, 7)),
			.queue = arena_strdup(a, db_text(&rows, 8)),
			.event_seq = (uint64_t)db_int(&rows, 9),
			.flow_id = (uint64_t)db_int(&rows, 10),
			.attempt = (uint32_t)db_int(&rows, 11),
			.rule = (uint32_t)db_int(&rows, 12),
			.interval_ms = (uint32_t)db_int(&rows, 13),
			.interval_by = (uint32_t)db_int(&rows, 14),
		};
		if (!r->text || !r->queue)
			rows.failed = err_set(ERR_FULL, "no room for %zu answers", max);
	}
	return db_end(&rows);
}

enum err rows_answer_prune(struct db *db, int64_t before_ms)
{
	return db_run(db,
		"DELETE FROM answer WHERE number IN (SELECT number FROM answer WHERE at_ms < $1 "
		"ORDER BY number LIMIT 5000)",
		DB_I(before_ms));
}
