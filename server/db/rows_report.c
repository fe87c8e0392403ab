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
		"INSERT OR IGNORE INTO usage (client, store_id, ledger_seq, package, image, "
		"from_ms, duration_ms, clock_quality)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		DB_T(client), DB_D(store_id), DB_I(s->ledger_seq), DB_D(&s->package),
		DB_T(s->image), DB_I(s->from_unix_ms), DB_I(s->duration_ms),
		DB_I(s->clock_quality));
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
		"SELECT package, image, from_ms, duration_ms FROM usage WHERE client = $1"
		" ORDER BY from_ms DESC, ledger_seq DESC LIMIT $2",
		DB_T(client), DB_I(max)));
	while (*count < max && db_next(&rows)) {
		struct usage_item *r = &(*out)[(*count)++];
		(void)db_fixed(&rows, 0, r->package.b, sizeof(r->package.b));
		r->image = arena_strdup(a, db_text(&rows, 1));
		r->from_unix_ms = db_int(&rows, 2);
		r->duration_ms = (uint32_t)db_int(&rows, 3);
		if (!r->image)
			rows.failed = err_set(ERR_FULL, "no room for %zu rows", max);
	}
	return db_end(&rows);
}
