// Orders: what publishers are to make for customers, and what they made of it. A withdrawn order
// keeps its row until an edit is numbered above it, so that its revision never falls.
#include "server/db/rows_customer.h"

#define COLUMNS                                                                                    \
	"id, customer, publisher, revision, withdrawn, body, clients, flow, seat, verb, "          \
	"answered, "                                                                               \
	"package, shown, matched, included, size_bytes, reason, warnings, changed_ms, answered_ms"

enum err rows_order_put(struct db *db, const struct order_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO package_order (" COLUMNS
		") VALUES ($1, $2, $3, $4, $5, $6, "
		"$7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
		DB_T(r->id), DB_T(r->customer), DB_T(r->publisher), DB_I(r->revision),
		DB_I(r->withdrawn), DB_B(r->body), DB_I(r->clients), DB_I(r->flow), DB_T(r->seat),
		DB_T(r->verb), DB_I(r->answered), DB_D(&r->package), DB_D(&r->shown),
		DB_I(r->matched), DB_I(r->included), DB_I(r->size_bytes), DB_T(r->reason),
		DB_T(r->warnings), DB_I(r->changed_ms), DB_I(r->answered_ms));
}

enum err rows_order_prune(struct db *db, const char *customer, uint64_t revision)
{
	return db_run(db,
		"DELETE FROM package_order WHERE customer = $1 AND withdrawn = 1 AND"
		" answered >= revision AND revision < $2",
		DB_T(customer), DB_I(revision));
}

static bool row_take(struct db_rows *rows, struct arena *a, struct order_row *r)
{
	*r = (struct order_row){
		.id = arena_strdup(a, db_text(rows, 0)),
		.customer = arena_strdup(a, db_text(rows, 1)),
		.publisher = arena_strdup(a, db_text(rows, 2)),
		.revision = (uint64_t)db_int(rows, 3),
		.withdrawn = db_int(rows, 4) != 0,
		.body = arena_copy(a, db_blob(rows, 5)),
		.clients = (uint64_t)db_int(rows, 6),
		.flow = (uint64_t)db_int(rows, 7),
		.seat = arena_strdup(a, db_text(rows, 8)),
		.verb = arena_strdup(a, db_text(rows, 9)),
		.answered = (uint64_t)db_int(rows, 10),
		.matched = (uint32_t)db_int(rows, 13),
		.included = (uint32_t)db_int(rows, 14),
		.size_bytes = (uint64_t)db_int(rows, 15),
		.reason = arena_strdup(a, db_text(rows, 16)),
		.warnings = arena_strdup(a, db_text(rows, 17)),
		.changed_ms = db_int(rows, 18),
		.answered_ms = db_int(rows, 19),
	};
	(void)db_fixed(rows, 11, r->package.b, sizeof(r->package.b));
	(void)db_fixed(rows, 12, r->shown.b, sizeof(r->shown.b));
	return r->id && r->customer && r->publisher && r->body.size && r->seat && r->verb &&
	       r->reason && r->warnings;
}

enum err rows_order_find(struct db *db, const char *id, struct arena *a, struct order_row *out)
{
	struct db_rows rows;
	bool found = false;

	TRY(db_query(db, &rows, "SELECT " COLUMNS " FROM package_order WHERE id = $1", DB_T(id)));
	if (db_next(&rows)) {
		found = true;
		if (!row_take(&rows, a, out))
			rows.failed = err_set(ERR_FULL, "no room for an order");
	}
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "no order %s", id);
}

enum err rows_order_list(struct db *db, const char *customer, const char *after, size_t max,
	struct arena *a, struct order_row **out, size_t *count)
{
	struct db_rows rows;

	*count = 0;
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu orders", max);
	TRY(db_query(db, &rows,
		"SELECT " COLUMNS " FROM package_order WHERE ($1 = '' OR customer = $1) AND id > $2"
		" ORDER BY id LIMIT $3",
		DB_T(customer), DB_T(after), DB_I(max)));
	while (*count < max && db_next(&rows))
		if (!row_take(&rows, a, &(*out)[(*count)++]))
			rows.failed = err_set(ERR_FULL, "no room for %zu orders", max);
	return db_end(&rows);
}
