// What the operator API remembers: answers to requests that changed something (one request, one
// effect), the flows they began, and enrolments that were taken.
#include "server/db/rows_content.h"

enum err rows_api_put(struct db *db, const struct api_answer_row *r)
{
	TRY(db_run(db,
		"INSERT OR REPLACE INTO api_answer (seat, request_id, verb, error_word, error, "
		"json, at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		DB_T(r->seat), DB_I(r->request_id), DB_T(r->verb), DB_T(r->error_word),
		DB_T(r->error), DB_B(r->json), DB_I(r->at_ms)));
	return db_run(db,
		"DELETE FROM api_answer WHERE seat = $1 AND request_id <= (SELECT request_id FROM "
		"api_answer WHERE seat = $1 ORDER BY request_id DESC LIMIT 1 OFFSET $2)",
		DB_T(r->seat), DB_I(API_ANSWERS_KEPT));
}

static enum err api_is_stale(struct db *db, const char *seat, uint64_t request_id)
{
	struct db_rows rows;
	int64_t count = 0;
	uint64_t oldest = 0;

	TRY(db_query(db, &rows, "SELECT COUNT(*), MIN(request_id) FROM api_answer WHERE seat = $1",
		DB_T(seat)));
	if (db_next(&rows)) {
		count = db_int(&rows, 0);
		oldest = (uint64_t)db_int(&rows, 1);
	}
	TRY(db_end(&rows));
	if (count >= API_ANSWERS_KEPT && request_id < oldest)
		return err_set(ERR_STALE, "request %llu of %s is older than every one remembered",
			(unsigned long long)request_id, seat);
	return err_set(
		ERR_NOT_FOUND, "request %llu of %s is new", (unsigned long long)request_id, seat);
}

enum err rows_api_find(struct db *db, const char *seat, uint64_t request_id, struct arena *a,
	struct api_answer_row *out)
{
	struct db_rows rows;
	bool found;

	*out = (struct api_answer_row){.seat = seat, .request_id = request_id};
	TRY(db_query(db, &rows,
		"SELECT verb, error_word, error, json, at_ms FROM api_answer WHERE seat = $1 AND "
		"request_id = $2",
		DB_T(seat), DB_I(request_id)));
	found = db_next(&rows);
	if (found) {
		out->verb = arena_strdup(a, db_text(&rows, 0));
		out->error_word = arena_strdup(a, db_text(&rows, 1));
		out->error = arena_strdup(a, db_text(&rows, 2));
		out->json = arena_copy(a, db_blob(&rows, 3));
		out->at_ms = db_int(&rows, 4);
	}
	TRY(db_end(&rows));
	if (!found)
		return api_is_stale(db, seat, request_id);
	if (!out->verb || !out->error_word || !out->error)
		return err_set(ERR_FULL, "no room for a stored answer");
	return ERR_OK;
}

enum err rows_flow_put(struct db *db, const struct flow_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO flow (flow, queue, seq, package, verb, seat, at_ms) VALUES "
		"($1, $2, $3, $4, $5, $6, $7)",
		DB_I(r->flow), DB_T(r->queue), DB_I(r->seq), DB_D(&r->package), DB_T(r->verb),
		DB_T(r->seat), DB_I(r->at_ms));
}

enum err rows_flow_find(struct db *db, uint64_t flow, struct arena *a, struct flow_row *out)
{
	struct db_rows rows;
	bool found;

	*out = (struct flow_row){.flow = flow};
	TRY(db_query(db, &rows,
		"SELECT queue, seq, package, verb, seat, at_ms FROM flow WHERE flow = $1",
		DB_I(flow)));
	found = db_next(&rows);
	if (found) {
		out->queue = arena_strdup(a, db_text(&rows, 0));
		out->seq = (uint64_t)db_int(&rows, 1);
		db_fixed(&rows, 2, out->package.b, sizeof(out->package.b));
		out->verb = arena_strdup(a, db_text(&rows, 3));
		out->seat = arena_strdup(a, db_text(&rows, 4));
		out->at_ms = db_int(&rows, 5);
	}
	TRY(db_end(&rows));
	if (!found)
		return err_set(ERR_NOT_FOUND, "no flow %llu", (unsigned long long)flow);
	if (!out->queue || !out->verb || !out->seat)
		return err_set(ERR_FULL, "no room for a flow");
	return ERR_OK;
}

enum err rows_enrol_put(struct db *db, const struct digest *sha256, const char *id, int64_t at_ms)
{
	return db_run(db,
		"INSERT OR REPLACE INTO enrol_seen (sha256, id, at_ms) VALUES ($1, $2, $3)",
		DB_D(sha256), DB_T(id), DB_I(at_ms));
}

enum err rows_enrol_is_known(struct db *db, const struct digest *sha256, bool *known)
{
	struct db_rows rows;

	TRY(db_query(db, &rows, "SELECT 1 FROM enrol_seen WHERE sha256 = $1", DB_D(sha256)));
	*known = db_next(&rows);
	return db_end(&rows);
}
