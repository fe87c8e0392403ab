#include "server/publisher/order_store.h"

enum err order_put(struct store *s, const struct order_row *r)
{
	return db_run(s->db,
		"INSERT INTO package_order (id, revision, body, content, package, matched, "
		"included,"
		" size_bytes, reason, warnings, changed_unix_ms, told)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)"
		" ON CONFLICT (id) DO UPDATE SET revision = $2, body = $3, told = 0",
		DB_T(r->id), DB_I(r->revision), DB_B(r->body), DB_D(&r->content), DB_D(&r->package),
		DB_I(r->matched), DB_I(r->included), DB_I(r->size_bytes), DB_T(r->reason),
		DB_T(r->warnings), DB_I(r->changed_unix_ms));
}

enum err order_set_outcome(struct store *s, const struct order_row *r)
{
	TRY(db_run(s->db,
		"UPDATE package_order SET content = $1, package = $2, matched = $3, included = $4,"
		" size_bytes = $5, reason = $6, warnings = $7, changed_unix_ms = $8, told = 0"
		" WHERE id = $9",
		DB_D(&r->content), DB_D(&r->package), DB_I(r->matched), DB_I(r->included),
		DB_I(r->size_bytes), DB_T(r->reason), DB_T(r->warnings), DB_I(r->changed_unix_ms),
		DB_T(r->id)));
	if (digest_is_zero(&r->package))
		return ERR_OK;
	return db_run(s->db,
		"INSERT OR REPLACE INTO order_package (id, package, at) VALUES ($1, $2,"
		" (SELECT coalesce(max(at), 0) + 1 FROM order_package WHERE id = $1))",
		DB_T(r->id), DB_D(&r->package));
}

enum err order_set_told(struct store *s, const char *id, bool told)
{
	return db_run(
		s->db, "UPDATE package_order SET told = $1 WHERE id = $2", DB_I(told), DB_T(id));
}

enum err order_list(struct store *s, order_each *each, void *ctx)
{
	struct db_rows rows;

	TRY(db_query_values(s->db, &rows,
		"SELECT id, revision, body, content, package, matched, included, size_bytes, "
		"reason,"
		" warnings, changed_unix_ms, told FROM package_order ORDER BY id",
		NULL, 0));
	while (db_next(&rows)) {
		struct order_row r = {.revision = (uint64_t)db_int(&rows, 1),
			.body = db_blob(&rows, 2),
			.matched = (uint32_t)db_int(&rows, 5),
			.included = (uint32_t)db_int(&rows, 6),
			.size_bytes = (uint64_t)db_int(&rows, 7),
			.reason = db_text(&rows, 8),
			.warnings = db_text(&rows, 9),
			.changed_unix_ms = db_int(&rows, 10),
			.told = db_int(&rows, 11) != 0};
		(void)str_copy(r.id, sizeof r.id, db_text(&rows, 0));
		(void)db_fixed(&rows, 3, r.content.b, sizeof r.content.b);
		(void)db_fixed(&rows, 4, r.package.b, sizeof r.package.b);
		if (!each(ctx, &r))
			break;
	}
	return db_end(&rows);
}

enum err order_old_packages(struct store *s, uint32_t keep, old_package_each *each, void *ctx)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows,
		"SELECT DISTINCT h.package FROM order_package h WHERE NOT EXISTS"
		" (SELECT 1 FROM package_order o WHERE o.package = h.package) AND NOT EXISTS"
		" (SELECT 1 FROM order_package k WHERE k.package = h.package AND"
		" (SELECT count(*) FROM order_package n WHERE n.id = k.id AND n.at > k.at) <= $1)",
		DB_I(keep)));
	while (db_next(&rows)) {
		struct digest d;
		(void)db_fixed(&rows, 0, d.b, sizeof d.b);
		if (!each(ctx, &d))
			break;
	}
	return db_end(&rows);
}

enum err order_forget_package(struct store *s, const struct digest *package)
{
	return db_run(s->db, "DELETE FROM order_package WHERE package = $1", DB_D(package));
}
