// The channels of a client after its first; and what it passed over in a queue while it was
// detached.
#include "server/db/rows.h"

enum err rows_membership_put(struct db *db, const struct membership_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO membership (client, place, channel, epoch, pointer)"
		" VALUES ($1, $2, $3, $4, $5)",
		DB_T(r->client), DB_I(r->place), DB_T(r->channel), DB_I(r->epoch),
		DB_I(r->pointer));
}

enum err rows_membership_clear(struct db *db, const char *client)
{
	return db_run(db, "DELETE FROM membership WHERE client = $1", DB_T(client));
}

static enum err rows_give(struct db_rows *rows,
	enum err (*fn)(void *ctx, const struct membership_row *row), void *ctx)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && db_next(rows)) {
		struct membership_row row = {
			.client = db_text(rows, 0),
			.place = (uint32_t)db_int(rows, 1),
			.channel = db_text(rows, 2),
			.epoch = (uint64_t)db_int(rows, 3),
			.pointer = (uint32_t)db_int(rows, 4),
		};
		e = fn(ctx, &row);
	}
	return rows_close(rows, e);
}

enum err rows_membership_each(
	struct db *db, enum err (*fn)(void *ctx, const struct membership_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query_values(db, &rows,
		"SELECT client, place, channel, epoch, pointer FROM membership ORDER BY client, "
		"place",
		NULL, 0));
	return rows_give(&rows, fn, ctx);
}

enum err rows_membership_of(struct db *db, const char *client,
	enum err (*fn)(void *ctx, const struct membership_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT client, place, channel, epoch, pointer FROM membership WHERE client = $1 "
		"ORDER BY place",
		DB_T(client)));
	return rows_give(&rows, fn, ctx);
}

// ---- detached

enum err rows_detached_put(struct db *db, const char *client, const char *queue, uint32_t seq)
{
	return db_run(db,
		"INSERT OR REPLACE INTO detached (client, queue, seq) VALUES ($1, $2, $3)",
		DB_T(client), DB_T(queue), DB_I(seq));
}

enum err rows_detached_end(
	struct db *db, const char *client, const char *queue, uint32_t tail, int64_t at_ms)
{
	TRY(db_run(db,
		"INSERT OR IGNORE INTO skipped (client, queue, seq, at_ms)"
		" SELECT d.client, d.queue, e.seq, $1 FROM detached d JOIN event e"
		" ON e.queue = d.queue AND e.seq >= d.seq AND e.seq < $2 AND e.type IN ($3, $4)"
		" WHERE d.client = $5 AND d.queue = $6",
		DB_I(at_ms), DB_I(tail), DB_I(ELEMENT_REQUEST), DB_I(ELEMENT_COMMAND), DB_T(client),
		DB_T(queue)));
	return db_run(db, "DELETE FROM detached WHERE client = $1 AND queue = $2", DB_T(client),
		DB_T(queue));
}

enum err rows_detached_forget(struct db *db, const char *client)
{
	return db_run(db, "DELETE FROM detached WHERE client = $1", DB_T(client));
}

// ---- skipped

enum err rows_event_skip_all(
	struct db *db, const char *queue, uint64_t epoch, uint32_t tail, int64_t at_ms)
{
	TRY(db_run(db,
		"INSERT OR IGNORE INTO skipped (client, queue, seq, at_ms)"
		" SELECT c.id, $1, e.seq, $2 FROM event e JOIN client c ON c.channel = $1 AND "
		"c.epoch = $3"
		" AND c.pointer > 0 AND c.pointer <= e.seq"
		" WHERE e.queue = $1 AND e.live = 1 AND e.seq < $4 AND e.type IN ($5, $6)",
		DB_T(queue), DB_I(at_ms), DB_I(epoch), DB_I(tail), DB_I(ELEMENT_REQUEST),
		DB_I(ELEMENT_COMMAND)));
	return db_run(db,
		"INSERT OR IGNORE INTO skipped (client, queue, seq, at_ms)"
		" SELECT m.client, $1, e.seq, $2 FROM event e JOIN membership m ON m.channel = $1 "
		"AND m.epoch = $3"
		" AND m.pointer > 0 AND m.pointer <= e.seq"
		" WHERE e.queue = $1 AND e.live = 1 AND e.seq < $4 AND e.type IN ($5, $6)",
		DB_T(queue), DB_I(at_ms), DB_I(epoch), DB_I(tail), DB_I(ELEMENT_REQUEST),
		DB_I(ELEMENT_COMMAND));
}

static void skipped_read(struct db_rows *rows, struct arena *a, struct skipped_row *r)
{
	*r = (struct skipped_row){
		.client = arena_strdup(a, db_text(rows, 0)),
		.queue = arena_strdup(a, db_text(rows, 1)),
		.seq = (uint32_t)db_int(rows, 2),
		.at_ms = db_int(rows, 3),
		.type = (enum element_type)db_int(rows, 4),
		.author = arena_strdup(a, db_text(rows, 5)),
		.text = arena_strdup(a, db_text(rows, 6)),
		.flow_id = (uint64_t)db_int(rows, 7),
	};
	if (!r->client || !r->queue || !r->author || !r->text)
		rows->failed = err_set(ERR_FULL, "no room for skipped events");
}

#define SKIPPED_COLUMNS                                                                            \
	"SELECT s.client, s.queue, s.seq, s.at_ms, e.type, e.author, e.text, e.flow FROM skipped " \
	"s JOIN event e ON e.queue = s.queue AND e.seq = s.seq"

enum err rows_skipped_list(struct db *db, const char *client, const char *queue, uint32_t seq,
	size_t max, struct arena *a, struct skipped_row **out, size_t *count)
{
	struct db_rows rows;

	*count = 0;
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for skipped events");
	if (client)
		TRY(db_query(db, &rows,
			SKIPPED_COLUMNS
			" WHERE s.client = $1 ORDER BY s.at_ms DESC, s.seq DESC LIMIT $2",
			DB_T(client), DB_I(max)));
	else
		TRY(db_query(db, &rows,
			SKIPPED_COLUMNS
			" WHERE s.queue = $1 AND s.seq = $2 ORDER BY s.client LIMIT $3",
			DB_T(queue), DB_I(seq), DB_I(max)));
	while (*count < max && db_next(&rows))
		skipped_read(&rows, a, &(*out)[(*count)++]);
	return db_end(&rows);
}
