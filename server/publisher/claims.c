// What lies on which broker, by our own claims. A claim is a row before the first byte is sent, so
// that nothing lies anywhere that we do not know of; object_on says what was acknowledged under the
// broker's present mark, and is emptied with the mark.
#include "store.h"
#include <stdlib.h>
#include <string.h>

const char *placement_state_word(enum placement_state s)
{
	static const char *const words[] = {"?", "sending", "stored", "stopping", "failed", "lost"};

	return (unsigned)s < sizeof words / sizeof words[0] ? words[s] : "?";
}

static void placement_row(struct db_rows *rows, struct placement *p)
{
	*p = (struct placement){.state = (enum placement_state)db_int(rows, 2),
		.directive_id = (uint64_t)db_int(rows, 3)};
	(void)db_fixed(rows, 0, p->package.b, sizeof p->package.b);
	(void)str_copy(p->broker, sizeof p->broker, db_text(rows, 1));
}

static enum err placements_read(struct db_rows *rows, placement_each *each, void *ctx)
{
	while (db_next(rows)) {
		struct placement p;
		placement_row(rows, &p);
		if (!each(ctx, &p))
			break;
	}
	return db_end(rows);
}

enum err placement_list(
	struct store *s, const struct digest *package, placement_each *each, void *ctx)
{
	struct db_rows rows;

	if (package)
		TRY(db_query(s->db, &rows,
			"SELECT package, broker, state, directive_id FROM placement"
			" WHERE package = $1 ORDER BY broker",
			DB_D(package)));
	else
		TRY(db_query_values(s->db, &rows,
			"SELECT package, broker, state, directive_id FROM placement"
			" ORDER BY package, broker",
			NULL, 0));
	return placements_read(&rows, each, ctx);
}

// ---- marks

enum err broker_mark(struct store *s, const char *broker, struct id16 *mark)
{
	struct db_rows rows;

	*mark = (struct id16){{0}};
	TRY(db_query(s->db, &rows, "SELECT mark FROM broker WHERE broker = $1", DB_T(broker)));
	if (db_next(&rows))
		(void)db_fixed(&rows, 0, mark->b, sizeof mark->b);
	return db_end(&rows);
}

enum err broker_put(struct store *s, const struct address *a)
{
	static const struct id16 none;

	return db_run(s->db,
		"INSERT INTO broker (broker, mark, host, ip, port, tls) VALUES ($1, $2, $3, $4, "
		"$5, $6)"
		" ON CONFLICT (broker) DO UPDATE SET host = excluded.host, ip = excluded.ip,"
		" port = excluded.port, tls = excluded.tls",
		DB_T(a->broker_id), DB_D(&none), DB_T(a->host), DB_T(a->ip), DB_I(a->port),
		DB_I(a->tls));
}

enum err broker_address(struct store *s, const char *broker, struct arena *a, struct address *out)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows, "SELECT host, ip, port, tls FROM broker WHERE broker = $1",
		DB_T(broker)));
	bool found = db_next(&rows);
	if (found)
		*out = (struct address){.broker_id = arena_strdup(a, broker),
			.host = arena_strdup(a, db_text(&rows, 0)),
			.ip = arena_strdup(a, db_text(&rows, 1)),
			.port = (uint32_t)db_int(&rows, 2),
			.tls = db_int(&rows, 3) != 0,
			.topic = ""};
	TRY(db_end(&rows));
	if (!found)
		return err_set(ERR_NOT_FOUND, "no address is known of broker %s", broker);
	return out->broker_id && out->host && out->ip ? ERR_OK : err_set(ERR_MEMORY, "no memory");
}

enum err broker_forget(struct store *s, const char *broker, const struct id16 *mark)
{
	TRY(db_run(
		s->db, "UPDATE broker SET mark = $1 WHERE broker = $2", DB_D(mark), DB_T(broker)));
	TRY(db_run(s->db, "DELETE FROM object_on WHERE broker = $1", DB_T(broker)));
	return db_run(s->db, "UPDATE placement SET state = $1 WHERE broker = $2 AND state = $3",
		DB_I(PLACEMENT_LOST), DB_T(broker), DB_I(PLACEMENT_STORED));
}

// ---- sending

static enum err objects_read(struct db_rows *rows, struct send_object **objects, size_t *count)
{
	size_t cap = 0;
	enum err e = ERR_OK;

	*objects = NULL;
	*count = 0;
	while (e == ERR_OK && db_next(rows)) {
		if (*count == cap) {
			cap = cap ? cap * 2 : 256;
			struct send_object *more = realloc(*objects, cap * sizeof *more);
			if (!more) {
				e = err_set(ERR_MEMORY, "no memory for a list of objects");
				break;
			}
			*objects = more;
		}
		struct send_object *o = &(*objects)[*count];
		*o = (struct send_object){
			.size_bytes = (uint32_t)db_int(rows, 1), .there = db_int(rows, 2) != 0};
		*count += db_fixed(rows, 0, o->sha256.b, sizeof o->sha256.b);
	}
	enum err ended = db_end(rows);
	e = e != ERR_OK ? e : ended;
	if (e != ERR_OK) {
		free(*objects);
		*objects = NULL;
		*count = 0;
	}
	return e;
}

static enum err placement_put(struct store *s, const char *broker, const struct digest *package,
	enum placement_state state, uint64_t directive_id)
{
	return db_run(s->db,
		"INSERT OR REPLACE INTO placement (package, broker, state, directive_id)"
		" VALUES ($1, $2, $3, $4)",
		DB_D(package), DB_T(broker), DB_I(state), DB_I(directive_id));
}

static enum err placement_change(struct store *s, const char *broker, const struct digest *package,
	enum placement_state state)
{
	return db_run(s->db, "UPDATE placement SET state = $1 WHERE package = $2 AND broker = $3",
		DB_I(state), DB_D(package), DB_T(broker));
}

enum err claim_package(struct store *s, const char *broker, const struct digest *package,
	uint64_t directive_id, struct send_object **objects, size_t *count)
{
	struct db_rows rows;

	TRY(placement_put(s, broker, package, PLACEMENT_SENDING, directive_id));
	TRY(db_query(s->db, &rows,
		"SELECT p.object, o.size_bytes, EXISTS (SELECT 1 FROM object_on n"
		" WHERE n.broker = $1 AND n.object = p.object)"
		" FROM package_object p JOIN object o ON o.sha256 = p.object"
		" WHERE p.package = $2 ORDER BY p.ordinal",
		DB_T(broker), DB_D(package)));
	return objects_read(&rows, objects, count);
}

enum err claim_objects(
	struct store *s, const char *broker, struct send_object *objects, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!objects[i].done || objects[i].noted)
			continue;
		TRY(db_run(s->db,
			"INSERT OR IGNORE INTO object_on (broker, object) VALUES ($1, $2)",
			DB_T(broker), DB_D(&objects[i].sha256)));
		objects[i].noted = true;
	}
	return ERR_OK;
}

enum err claim_complete(struct store *s, const char *broker, const struct digest *package)
{
	TRY(db_run(s->db,
		"INSERT OR IGNORE INTO object_on (broker, object)"
		" SELECT $1, object FROM package_object WHERE package = $2",
		DB_T(broker), DB_D(package)));
	return placement_change(s, broker, package, PLACEMENT_STORED);
}

enum err claim_fail(struct store *s, const char *broker, const struct digest *package)
{
	return placement_change(s, broker, package, PLACEMENT_FAILED);
}

// ---- withdrawing

// Objects of the package that no other package, which is there or on its way, needs on this broker.
enum err withdraw_begin(struct store *s, const char *broker, const struct digest *package,
	uint64_t directive_id, struct send_object **objects, size_t *count)
{
	struct db_rows rows;

	TRY(placement_put(s, broker, package, PLACEMENT_STOPPING, directive_id));
	TRY(db_query(s->db, &rows,
		"SELECT p.object, o.size_bytes, 0 FROM package_object p JOIN object o ON o.sha256 "
		"= p.object"
		" WHERE p.package = $1 AND NOT EXISTS (SELECT 1 FROM package_object q"
		" JOIN placement l ON l.package = q.package AND l.broker = $2"
		" WHERE q.object = p.object AND q.package != $1 AND l.state IN ($3, $4))"
		" ORDER BY p.ordinal",
		DB_D(package), DB_T(broker), DB_I(PLACEMENT_SENDING), DB_I(PLACEMENT_STORED)));
	TRY(objects_read(&rows, objects, count));
	for (size_t i = 0; i < *count; i++)
		TRY(db_run(s->db, "DELETE FROM object_on WHERE broker = $1 AND object = $2",
			DB_T(broker), DB_D(&(*objects)[i].sha256)));
	return ERR_OK;
}

enum err withdraw_end(struct store *s, const char *broker, const struct digest *package)
{
	return db_run(s->db, "DELETE FROM placement WHERE package = $1 AND broker = $2",
		DB_D(package), DB_T(broker));
}

// ---- directives

enum err directive_look(
	struct store *s, const struct digest *package, const char *broker, struct directives *out)
{
	struct db_rows rows;

	*out = (struct directives){0};
	TRY(db_query(s->db, &rows, "SELECT broker, directive_id FROM directive WHERE package = $1",
		DB_D(package)));
	while (db_next(&rows)) {
		const char *at = db_text(&rows, 0);
		uint64_t id = (uint64_t)db_int(&rows, 1);
		if (strcmp(at, broker) == 0)
			out->at = id;
		if (!at[0])
			out->of_none = id;
		if (id > out->highest)
			out->highest = id;
	}
	return db_end(&rows);
}

enum err directive_note(struct store *s, const struct digest *package, const char *broker,
	uint64_t directive_id, bool anew)
{
	if (anew)
		TRY(db_run(s->db, "DELETE FROM directive WHERE package = $1", DB_D(package)));
	return db_run(s->db,
		"INSERT OR REPLACE INTO directive (package, broker, directive_id)"
		" VALUES ($1, $2, $3)",
		DB_D(package), DB_T(broker), DB_I(directive_id));
}
