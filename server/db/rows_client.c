// One row per client: what its next heartbeat is judged by.
#include "server/db/rows.h"

enum err rows_client_put(struct db *db, const struct client_row *r)
{
	return db_run_later(db,
		"INSERT INTO client (id, highest_session, boot_counter, state, reach, d, channel, "
		"epoch, pointer,"
		" holdings_known, mismatches, interval_set_ms, told_interval_ms, "
		"status_interval_ms, change_id, report_id,"
		" last_kind, last_heard_ms, ip, profile, showing, holdings)"
		" VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "
		"$16, $17, $18, $19, $20, $21)"
		" ON CONFLICT (id) DO UPDATE SET highest_session = CASE WHEN "
		"client.highest_session > excluded.highest_session THEN client.highest_session"
		" ELSE excluded.highest_session END,"
		" state = excluded.state, reach = excluded.reach, d = excluded.d, channel = "
		"excluded.channel,"
		" epoch = excluded.epoch, pointer = excluded.pointer, holdings_known = "
		"excluded.holdings_known,"
		" mismatches = excluded.mismatches, interval_set_ms = excluded.interval_set_ms,"
		" told_interval_ms = excluded.told_interval_ms, status_interval_ms = "
		"excluded.status_interval_ms,"
		" change_id = excluded.change_id, report_id = excluded.report_id, last_kind = "
		"excluded.last_kind,"
		" last_heard_ms = excluded.last_heard_ms, ip = excluded.ip, profile = "
		"excluded.profile,"
		" showing = excluded.showing, holdings = excluded.holdings",
		DB_T(r->id), DB_I(r->highest_session), DB_I(r->state), DB_I(r->reach), DB_I(r->d),
		DB_T(r->channel), DB_I(r->epoch), DB_I(r->pointer), DB_I(r->holdings_known),
		DB_I(r->mismatches), DB_I(r->interval_set_ms), DB_I(r->told_interval_ms),
		DB_I(r->status_interval_ms), DB_I(r->change_id), DB_I(r->report_id),
		DB_I(r->last_kind), DB_I(r->last_heard_ms), DB_B(r->ip), DB_B(r->profile),
		DB_B(r->showing), DB_B(r->holdings));
}

static void row_read(struct db_rows *rows, struct client_row *r)
{
	*r = (struct client_row){
		.id = db_text(rows, 0),
		.role = (enum role)db_int(rows, 1),
		.revoked = db_int(rows, 2) != 0,
		.session_id = (uint64_t)db_int(rows, 3),
		.session_expires_ms = db_int(rows, 6),
		.highest_session = (uint64_t)db_int(rows, 7),
		.state = (enum client_state)db_int(rows, 8),
		.reach = (enum reach)db_int(rows, 9),
		.d = (uint64_t)db_int(rows, 10),
		.channel = db_text(rows, 11),
		.epoch = (uint64_t)db_int(rows, 12),
		.pointer = (uint32_t)db_int(rows, 13),
		.holdings_known = db_int(rows, 14) != 0,
		.mismatches = (uint32_t)db_int(rows, 15),
		.interval_set_ms = (uint32_t)db_int(rows, 16),
		.told_interval_ms = (uint32_t)db_int(rows, 17),
		.status_interval_ms = (uint32_t)db_int(rows, 18),
		.change_id = (uint64_t)db_int(rows, 19),
		.report_id = (uint64_t)db_int(rows, 20),
		.last_kind = (enum response_kind)db_int(rows, 21),
		.last_heard_ms = db_int(rows, 22),
		.ip = db_blob(rows, 23),
		.profile = db_blob(rows, 24),
		.showing = db_blob(rows, 25),
		.holdings = db_blob(rows, 26),
	};
	(void)db_fixed(rows, 4, r->mac_up.b, sizeof(r->mac_up.b));
	(void)db_fixed(rows, 5, r->mac_down.b, sizeof(r->mac_down.b));
}

#define SELECT_CLIENT                                                                              \
	"SELECT p.id, p.role, p.revoked, s.session_id, s.mac_up, s.mac_down, s.expires_ms, "       \
	"c.highest_session,"                                                                       \
	" c.state, c.reach, c.d, c.channel, c.epoch, c.pointer, c.holdings_known, "                \
	"c.mismatches, c.interval_set_ms,"                                                         \
	" c.told_interval_ms, c.status_interval_ms, c.change_id, c.report_id, c.last_kind, "       \
	"c.last_heard_ms, c.ip,"                                                                   \
	" c.profile, c.showing, c.holdings"
#define CLIENT_COLUMNS 27
#define FROM_CLIENT                                                                                \
	" FROM principal p LEFT JOIN session s ON s.id = p.id LEFT JOIN client c ON c.id = "       \
	"p.id"

static enum err rows_give(
	struct db_rows *rows, enum err (*fn)(void *ctx, const struct client_row *row), void *ctx)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && db_next(rows)) {
		struct client_row row;
		row_read(rows, &row);
		e = fn(ctx, &row);
	}
	return rows_close(rows, e);
}

enum err rows_client_after(struct db *db, const char *after, size_t max,
	enum err (*fn)(void *ctx, const struct client_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query(db, &rows, SELECT_CLIENT FROM_CLIENT " WHERE p.id > $1 ORDER BY p.id LIMIT $2",
		DB_T(after), DB_I(max)));
	return rows_give(&rows, fn, ctx);
}

enum err rows_client_of(struct db *db, const char *id,
	enum err (*fn)(void *ctx, const struct client_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query(db, &rows, SELECT_CLIENT FROM_CLIENT " WHERE p.id = $1", DB_T(id)));
	return rows_give(&rows, fn, ctx);
}

// ---- what changed

enum err rows_change_put(struct db *db, const char *client, uint64_t term, uint64_t number)
{
	return db_run_later(db,
		"INSERT INTO client_change (client, term, number) VALUES ($1, $2, $3)"
		" ON CONFLICT (client) DO UPDATE SET term = excluded.term, number = "
		"excluded.number",
		DB_T(client), DB_I(term), DB_I(number));
}

// One row of the join: the first of a client brings the client.
static enum err change_give(struct db_rows *rows, struct change_reader *r)
{
	uint64_t number = (uint64_t)db_int(rows, CLIENT_COLUMNS);
	struct client_row row;

	row_read(rows, &row);
	if (number != r->last) {
		r->last = number;
		r->count++;
		TRY(r->client(r->ctx, &row));
	}
	struct membership_row place = {
		.client = row.id,
		.place = (uint32_t)db_int(rows, CLIENT_COLUMNS + 1),
		.channel = db_text(rows, CLIENT_COLUMNS + 2),
		.epoch = (uint64_t)db_int(rows, CLIENT_COLUMNS + 3),
		.pointer = (uint32_t)db_int(rows, CLIENT_COLUMNS + 4),
	};
	return place.channel[0] ? r->place(r->ctx, &place) : ERR_OK;
}

enum err rows_change_after(
	struct db *db, uint64_t term, uint64_t after, size_t max, struct change_reader *reader)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	reader->last = after;
	reader->count = 0;
	TRY(db_query(db, &rows,
		SELECT_CLIENT
		", h.number, m.place, m.channel, m.epoch, m.pointer" FROM_CLIENT
		" JOIN (SELECT c.client, c.number FROM client_change c JOIN principal q ON q.id = "
		"c.client WHERE c.term = $1 AND c.number > $2 "
		"ORDER BY c.number LIMIT $3) h ON h.client = p.id LEFT JOIN membership m ON "
		"m.client = p.id ORDER BY h.number, m.place",
		DB_I(term), DB_I(after), DB_I(max)));
	while (e == ERR_OK && db_next(&rows))
		e = change_give(&rows, reader);
	return rows_close(&rows, e);
}

enum err rows_change_last(struct db *db, uint64_t term, uint64_t *number)
{
	struct db_rows rows;

	*number = 0;
	TRY(db_query(db, &rows,
		"SELECT coalesce(max(number), 0) FROM client_change WHERE term = $1", DB_I(term)));
	if (db_next(&rows))
		*number = (uint64_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_change_term(struct db *db, uint64_t after, uint64_t *term)
{
	struct db_rows rows;

	*term = 0;
	TRY(db_query(db, &rows, "SELECT coalesce(min(term), 0) FROM client_change WHERE term > $1",
		DB_I(after)));
	if (db_next(&rows))
		*term = (uint64_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_device_find(struct db *db, const char *id, struct device_row *out)
{
	struct db_rows rows;

	*out = (struct device_row){0};
	TRY(db_query(db, &rows,
		"SELECT highest_session, boot_counter, store_id FROM client WHERE id = $1",
		DB_T(id)));
	if (db_next(&rows)) {
		out->highest_session = (uint64_t)db_int(&rows, 0);
		out->boot_counter = (uint64_t)db_int(&rows, 1);
		(void)db_fixed(&rows, 2, out->store_id.b, sizeof(out->store_id.b));
	}
	return db_end(&rows);
}

enum err rows_device_put(struct db *db, const char *id, const struct device_row *row)
{
	return db_run(db,
		"UPDATE client SET highest_session = CASE WHEN highest_session > $1 THEN "
		"highest_session ELSE $1 END, boot_counter = $2, store_id = $3 WHERE id = $4",
		DB_I(row->highest_session), DB_I(row->boot_counter), DB_D(&row->store_id),
		DB_T(id));
}
