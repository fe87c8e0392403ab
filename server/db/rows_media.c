// Media orders. Few: one for each package that could not go over the link.
#include "server/db/rows_media.h"

#define COLUMNS                                                                                    \
	"number, client, publisher, name, version, kind, package, activate, state, reason, "       \
	"medium_kind, path, sha256, size_bytes, detail, failed_op, created_ms, changed_ms"

// In the column of activate: 0 not, 1 at once, else the moment.
static int64_t activate_pack(const struct media_row *r)
{
	return !r->activate ? 0 : r->activate_unix_ms > 1 ? r->activate_unix_ms : 1;
}

enum err rows_media_put(struct db *db, const struct media_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO media_order (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, "
		"$7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
		DB_I(r->number), DB_T(r->client), DB_T(r->publisher), DB_T(r->name),
		DB_T(r->version), DB_I(r->kind), DB_D(&r->package), DB_I(activate_pack(r)),
		DB_I(r->state), DB_T(r->reason), DB_T(r->medium_kind), DB_T(r->path),
		DB_D(&r->sha256), DB_I(r->size_bytes), DB_T(r->detail), DB_I(r->failed_op),
		DB_I(r->created_ms), DB_I(r->changed_ms));
}

static bool row_take(struct db_rows *rows, struct arena *a, struct media_row *r)
{
	*r = (struct media_row){
		.number = (uint64_t)db_int(rows, 0),
		.client = arena_strdup(a, db_text(rows, 1)),
		.publisher = arena_strdup(a, db_text(rows, 2)),
		.name = arena_strdup(a, db_text(rows, 3)),
		.version = arena_strdup(a, db_text(rows, 4)),
		.kind = (enum package_kind)db_int(rows, 5),
		.activate = db_int(rows, 7) != 0,
		.activate_unix_ms = db_int(rows, 7) > 1 ? db_int(rows, 7) : 0,
		.state = (enum media_state)db_int(rows, 8),
		.reason = arena_strdup(a, db_text(rows, 9)),
		.medium_kind = arena_strdup(a, db_text(rows, 10)),
		.path = arena_strdup(a, db_text(rows, 11)),
		.size_bytes = (uint64_t)db_int(rows, 13),
		.detail = arena_strdup(a, db_text(rows, 14)),
		.failed_op = (uint64_t)db_int(rows, 15),
		.created_ms = db_int(rows, 16),
		.changed_ms = db_int(rows, 17),
	};
	(void)db_fixed(rows, 6, r->package.b, sizeof(r->package.b));
	(void)db_fixed(rows, 12, r->sha256.b, sizeof(r->sha256.b));
	return r->client && r->publisher && r->name && r->version && r->reason && r->medium_kind &&
	       r->path && r->detail;
}

enum err rows_media_find(struct db *db, uint64_t number, struct arena *a, struct media_row *out)
{
	struct db_rows rows;
	bool found = false;

	TRY(db_query(
		db, &rows, "SELECT " COLUMNS " FROM media_order WHERE number = $1", DB_I(number)));
	if (db_next(&rows)) {
		found = true;
		if (!row_take(&rows, a, out))
			rows.failed = err_set(ERR_FULL, "no room for a media order");
	}
	TRY(db_end(&rows));
	return found ? ERR_OK
		     : err_set(ERR_NOT_FOUND, "no media order %llu", (unsigned long long)number);
}

// One statement for each index: an "or" with a parameter would leave the store none to use, and
// every question would read the orders of all clients.
#define LIST(client, state)                                                                        \
	"SELECT " COLUMNS " FROM media_order WHERE number > $1 AND " client                        \
	" AND ($3 = 0 OR package = $4) AND " state                                                 \
	" AND ($6 = 0 OR state <= $7) AND ($8 = 0 OR state > $9)"                                  \
	" AND ($10 = 0 OR detail <> '') ORDER BY number LIMIT $11"
#define ANY_CLIENT "($2 = '' OR client = $2)"
#define ANY_STATE "($5 = 0 OR state = $5)"

static const char *list_statement(const struct media_filter *f)
{
	if (f->client && f->client[0])
		return LIST("client = $2", ANY_STATE);
	return f->state ? LIST(ANY_CLIENT, "state = $5") : LIST(ANY_CLIENT, ANY_STATE);
}

enum err rows_media_list(struct db *db, const struct media_filter *f, struct arena *a,
	struct media_row **out, size_t *count)
{
	struct db_rows rows;
	struct digest none = {{0}};

	*count = 0;
	*out = arena_array(a, f->max ? f->max : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu media orders", f->max);
	TRY(db_query(db, &rows, list_statement(f), DB_I(f->after), DB_T(f->client),
		DB_I(f->package != NULL), DB_D(f->package ? f->package : &none), DB_I(f->state),
		DB_I(f->open), DB_I(MEDIA_POSTED), DB_I(f->over), DB_I(MEDIA_POSTED), DB_I(f->told),
		DB_I(f->max)));
	while (*count < f->max && db_next(&rows))
		if (!row_take(&rows, a, &(*out)[(*count)++]))
			rows.failed = err_set(ERR_FULL, "no room for %zu media orders", f->max);
	return db_end(&rows);
}

enum err rows_media_last(struct db *db, const char *client, const struct digest *package,
	struct arena *a, struct media_row *out)
{
	struct db_rows rows;
	bool found = false;

	TRY(db_query(db, &rows,
		"SELECT " COLUMNS " FROM media_order WHERE client = $1 AND package = $2"
		" ORDER BY number DESC LIMIT 1",
		DB_T(client), DB_D(package)));
	if (db_next(&rows)) {
		found = true;
		if (!row_take(&rows, a, out))
			rows.failed = err_set(ERR_FULL, "no room for a media order");
	}
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "no medium for %s with this", client);
}

enum err rows_media_delete(struct db *db, uint64_t number)
{
	return db_run(db, "DELETE FROM media_order WHERE number = $1", DB_I(number));
}

static enum err count_take(struct db_rows *rows, uint64_t *count)
{
	if (db_next(rows))
		*count = (uint64_t)db_int(rows, 0);
	return db_end(rows);
}

enum err rows_media_over(struct db *db, uint64_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query(db, &rows, "SELECT count(*) FROM media_order WHERE state > $1",
		DB_I(MEDIA_POSTED)));
	return count_take(&rows, count);
}

enum err rows_media_count(struct db *db, enum media_state state, uint64_t *count)
{
	struct db_rows rows;

	*count = 0;
	TRY(db_query(db, &rows, "SELECT count(*) FROM media_order WHERE state = $1", DB_I(state)));
	return count_take(&rows, count);
}
