// Queues, their elements, and what a channel wants now.
#include "server/db/rows.h"
#include <string.h>

enum err rows_queue_put(struct db *db, const struct queue_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO queue (name, epoch, tail_seq, paused, closed, rate, weight)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)",
		DB_T(r->name), DB_I(r->epoch), DB_I(r->tail_seq), DB_I(r->paused), DB_I(r->closed),
		DB_I(r->rate_bytes_per_s), DB_I(r->weight));
}

enum err rows_queue_delete(struct db *db, const char *name)
{
	return db_run(db, "DELETE FROM queue WHERE name = $1", DB_T(name));
}

static enum err queues_give(
	struct db_rows *rows, enum err (*fn)(void *ctx, const struct queue_row *row), void *ctx)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && db_next(rows)) {
		struct queue_row row = {
			.name = db_text(rows, 0),
			.epoch = (uint64_t)db_int(rows, 1),
			.tail_seq = (uint32_t)db_int(rows, 2),
			.paused = db_int(rows, 3) != 0,
			.closed = db_int(rows, 4) != 0,
			.rate_bytes_per_s = (uint64_t)db_int(rows, 5),
			.weight = (uint32_t)db_int(rows, 6),
		};
		e = fn(ctx, &row);
	}
	return rows_close(rows, e);
}

enum err rows_queue_each(
	struct db *db, enum err (*fn)(void *ctx, const struct queue_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query_values(db, &rows,
		"SELECT name, epoch, tail_seq, paused, closed, rate, weight FROM queue ORDER BY "
		"name",
		NULL, 0));
	return queues_give(&rows, fn, ctx);
}

enum err rows_queue_of(struct db *db, const char *name,
	enum err (*fn)(void *ctx, const struct queue_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT name, epoch, tail_seq, paused, closed, rate, weight FROM queue WHERE name "
		"= $1",
		DB_T(name)));
	return queues_give(&rows, fn, ctx);
}

enum err rows_event_put(struct db *db, const struct event_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO event (queue, seq, first_seq, type, body, text, author, "
		"flow, at_ms, live)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)",
		DB_T(r->queue), DB_I(r->seq), DB_I(r->first_seq), DB_I(r->type), DB_B(r->body),
		DB_T(r->text), DB_T(r->author), DB_I(r->flow_id), DB_I(r->at_ms));
}

enum err rows_event_highest(struct db *db, const char *queue, uint32_t *seq)
{
	struct db_rows rows;

	*seq = 0;
	TRY(db_query(db, &rows, "SELECT coalesce(max(seq), 0) FROM event WHERE queue = $1",
		DB_T(queue)));
	if (db_next(&rows))
		*seq = (uint32_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_event_retire(struct db *db, const char *queue, uint32_t from_seq, uint32_t to_seq)
{
	// One is the usual case, and half the work: its key tells where it stands.
	if (from_seq == to_seq)
		return db_run_later(db,
			"UPDATE event SET live = 0 WHERE queue = $1 AND seq = $2 AND +live = 1",
			DB_T(queue), DB_I(to_seq));
	return db_run_later(db,
		"UPDATE event SET live = 0 WHERE queue = $1 AND seq >= $2 AND seq <= $3 AND live = "
		"1",
		DB_T(queue), DB_I(from_seq), DB_I(to_seq));
}

static enum err events_give(
	struct db_rows *rows, enum err (*fn)(void *ctx, const struct event_row *row), void *ctx)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && db_next(rows)) {
		struct event_row row = {
			.queue = db_text(rows, 0),
			.seq = (uint32_t)db_int(rows, 1),
			.first_seq = (uint32_t)db_int(rows, 2),
			.type = (enum element_type)db_int(rows, 3),
			.body = db_blob(rows, 4),
			.text = db_text(rows, 5),
			.author = db_text(rows, 6),
			.flow_id = (uint64_t)db_int(rows, 7),
			.at_ms = db_int(rows, 8),
		};
		e = fn(ctx, &row);
	}
	return rows_close(rows, e);
}

enum err rows_event_each_live(
	struct db *db, enum err (*fn)(void *ctx, const struct event_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query_values(db, &rows,
		"SELECT queue, seq, first_seq, type, body, text, author, flow, at_ms FROM event "
		"WHERE live = 1"
		" ORDER BY queue, seq",
		NULL, 0));
	return events_give(&rows, fn, ctx);
}

enum err rows_event_of(struct db *db, const char *queue, uint32_t from_seq,
	enum err (*fn)(void *ctx, const struct event_row *row), void *ctx)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT queue, seq, first_seq, type, body, text, author, flow, at_ms FROM event "
		"WHERE queue = $1 AND seq >= $2 AND live = 1 ORDER BY seq",
		DB_T(queue), DB_I(from_seq)));
	return events_give(&rows, fn, ctx);
}

enum err rows_event_waiting(struct db *db, const char *queue, uint32_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query(db, &rows, "SELECT count(*) FROM event WHERE queue = $1 AND live = 1",
		DB_T(queue)));
	if (db_next(&rows))
		*count = (uint32_t)db_int(&rows, 0);
	return db_end(&rows);
}

enum err rows_event_skip(struct db *db, const char *client, const char *queue, uint32_t pointer,
	uint32_t tail, int64_t at_ms)
{
	return db_run(db,
		"INSERT OR IGNORE INTO skipped (client, queue, seq, at_ms)"
		" SELECT $1, $2, seq, $3 FROM event WHERE queue = $2 AND seq >= $4 AND seq < $5 "
		"AND type IN ($6, $7)",
		DB_T(client), DB_T(queue), DB_I(at_ms), DB_I(pointer), DB_I(tail),
		DB_I(ELEMENT_REQUEST), DB_I(ELEMENT_COMMAND));
}

enum err rows_event_body(
	struct db *db, const char *queue, uint64_t seq, struct arena *a, struct bytes *out)
{
	struct db_rows rows;
	uint8_t *copy = NULL;

	TRY(db_query(db, &rows, "SELECT body FROM event WHERE queue = $1 AND seq = $2", DB_T(queue),
		DB_I(seq)));
	if (db_next(&rows)) {
		struct bytes body = db_blob(&rows, 0);
		copy = arena_alloc(a, body.size + 1);
		if (copy)
			memcpy(copy, body.data, body.size);
		*out = bytes_of(copy, body.size);
	}
	TRY(db_end(&rows));
	return copy ? ERR_OK
		    : err_set(ERR_NOT_FOUND, "no event %llu in %s", (unsigned long long)seq, queue);
}

enum err rows_event_prune(struct db *db, int64_t before_ms)
{
	TRY(db_run(db, "DELETE FROM skipped WHERE at_ms < $1", DB_I(before_ms)));
	return db_run(db, "DELETE FROM event WHERE live = 0 AND at_ms < $1", DB_I(before_ms));
}

static int64_t activate_pack(const struct slot_row *r)
{
	return !r->activate ? 0 : r->activate_unix_ms > 1 ? r->activate_unix_ms : 1;
}

static void activate_split(int64_t value, struct slot_row *r)
{
	r->activate = value != 0;
	r->activate_unix_ms = value > 1 ? value : 0;
}

enum err rows_slot_put(struct db *db, const struct slot_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO slot (queue, kind, name, version, package, previous, "
		"activate, seq, flow)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		DB_T(r->queue), DB_I(r->kind), DB_T(r->name), DB_T(r->version), DB_D(&r->package),
		DB_D(&r->previous), DB_I(activate_pack(r)), DB_I(r->seq), DB_I(r->flow_id));
}

enum err rows_slot_find(struct db *db, const char *queue, enum package_kind kind, const char *name,
	struct slot_row *out)
{
	struct db_rows rows;

	*out = (struct slot_row){.queue = queue, .name = name, .kind = kind, .version = ""};
	TRY(db_query(db, &rows,
		"SELECT package, previous, activate, seq, flow FROM slot"
		" WHERE queue = $1 AND kind = $2 AND name = $3",
		DB_T(queue), DB_I(kind), DB_T(name)));
	if (db_next(&rows)) {
		(void)db_fixed(&rows, 0, out->package.b, sizeof(out->package.b));
		(void)db_fixed(&rows, 1, out->previous.b, sizeof(out->previous.b));
		activate_split(db_int(&rows, 2), out);
		out->seq = (uint32_t)db_int(&rows, 3);
		out->flow_id = (uint64_t)db_int(&rows, 4);
	}
	return db_end(&rows);
}

static enum err count_of(struct db *db, struct db_rows *rows, size_t *count)
{
	(void)db;
	*count = db_next(rows) ? (size_t)db_int(rows, 0) : 0;
	return db_end(rows);
}

enum err rows_slot_list(
	struct db *db, const char *queue, struct arena *a, struct slot_row **out, size_t *count)
{
	struct db_rows rows;
	size_t max = 0;

	*count = 0;
	TRY(db_query(db, &rows, "SELECT count(*) FROM slot WHERE queue = $1", DB_T(queue)));
	TRY(count_of(db, &rows, &max));
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu slots", max);
	TRY(db_query(db, &rows,
		"SELECT kind, name, version, package, previous, activate, seq, flow FROM slot "
		"WHERE queue = $1 ORDER BY seq",
		DB_T(queue)));
	while (*count < max && db_next(&rows)) {
		struct slot_row *r = &(*out)[(*count)++];
		*r = (struct slot_row){
			.queue = queue,
			.kind = (enum package_kind)db_int(&rows, 0),
			.name = arena_strdup(a, db_text(&rows, 1)),
			.version = arena_strdup(a, db_text(&rows, 2)),
			.seq = (uint32_t)db_int(&rows, 6),
			.flow_id = (uint64_t)db_int(&rows, 7),
		};
		activate_split(db_int(&rows, 5), r);
		(void)db_fixed(&rows, 3, r->package.b, sizeof(r->package.b));
		(void)db_fixed(&rows, 4, r->previous.b, sizeof(r->previous.b));
		if (!r->name || !r->version)
			rows.failed = err_set(ERR_FULL, "no room for %zu slots", max);
	}
	return db_end(&rows);
}

enum err rows_slot_wants(struct db *db, const struct digest *package, bool *wanted)
{
	struct db_rows rows;

	TRY(db_query(db, &rows, "SELECT 1 FROM slot WHERE package = $1 LIMIT 1", DB_D(package)));
	*wanted = db_next(&rows);
	return db_end(&rows);
}

enum err rows_value_put(struct db *db, const struct value_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO value (queue, key, value, change_id, seq) VALUES ($1, $2, "
		"$3, $4, $5)",
		DB_T(r->queue), DB_T(r->key), DB_T(r->value), DB_I(r->change_id), DB_I(r->seq));
}

enum err rows_value_list(
	struct db *db, const char *queue, struct arena *a, struct value_row **out, size_t *count)
{
	struct db_rows rows;
	size_t max = 0;

	*count = 0;
	TRY(db_query(db, &rows, "SELECT count(*) FROM value WHERE queue = $1", DB_T(queue)));
	TRY(count_of(db, &rows, &max));
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu values", max);
	TRY(db_query(db, &rows,
		"SELECT key, value, change_id, seq FROM value WHERE queue = $1 ORDER BY seq",
		DB_T(queue)));
	while (*count < max && db_next(&rows)) {
		struct value_row *r = &(*out)[(*count)++];
		*r = (struct value_row){
			.queue = queue,
			.key = arena_strdup(a, db_text(&rows, 0)),
			.value = arena_strdup(a, db_text(&rows, 1)),
			.change_id = (uint64_t)db_int(&rows, 2),
			.seq = (uint32_t)db_int(&rows, 3),
		};
		if (!r->key || !r->value)
			rows.failed = err_set(ERR_FULL, "no room for %zu values", max);
	}
	return db_end(&rows);
}
