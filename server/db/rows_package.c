// Packages as they were offered. The envelope is what was verified; everything else is read from
// it.
#include "server/db/rows_content.h"

enum err rows_package_put(struct db *db, const struct package_row *r)
{
	return db_run(db,
		"INSERT OR REPLACE INTO package (id, publisher, kind, name, version, size_bytes, "
		"object_bytes, envelope, offered_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		DB_D(&r->id), DB_T(r->publisher), DB_I(r->kind), DB_T(r->name), DB_T(r->version),
		DB_I(r->size_bytes), DB_I(r->object_bytes), DB_B(r->envelope), DB_I(r->offered_ms));
}

enum err rows_package_each(
	struct db *db, enum err (*each)(void *ctx, const struct package_row *row), void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(db, &rows,
		"SELECT id, publisher, kind, name, version, size_bytes, object_bytes, offered_ms "
		"FROM package",
		NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		struct package_row r = {
			.publisher = db_text(&rows, 1),
			.kind = (enum package_kind)db_int(&rows, 2),
			.name = db_text(&rows, 3),
			.version = db_text(&rows, 4),
			.size_bytes = (uint64_t)db_int(&rows, 5),
			.object_bytes = (uint64_t)db_int(&rows, 6),
			.offered_ms = db_int(&rows, 7),
		};
		db_fixed(&rows, 0, r.id.b, sizeof(r.id.b));
		e = each(ctx, &r);
	}
	return rows_close(&rows, e);
}

enum err rows_package_envelope(
	struct db *db, const struct digest *id, struct arena *a, struct bytes *out)
{
	struct db_rows rows;
	bool found;

	*out = (struct bytes){0};
	TRY(db_query(db, &rows, "SELECT envelope FROM package WHERE id = $1", DB_D(id)));
	found = db_next(&rows);
	if (found)
		*out = arena_copy(a, db_blob(&rows, 0));
	TRY(db_end(&rows));
	if (!found)
		return err_set(ERR_NOT_FOUND, "no package %s", digest_short(id));
	return out->data ? ERR_OK : err_set(ERR_FULL, "no room for a manifest");
}

enum err rows_package_ref(struct db *db, struct arena *a, struct package_ref *out,
	int withdrawn_state, bool *withdrawn)
{
	struct db_rows rows;
	bool found;

	TRY(db_query(db, &rows,
		"SELECT p.publisher, p.kind, p.name, p.version, p.size_bytes, coalesce(l.state, 0)"
		" FROM package p LEFT JOIN placement l ON l.package = p.id WHERE p.id = $1",
		DB_D(&out->package)));
	found = db_next(&rows);
	if (found) {
		out->publisher = arena_strdup(a, db_text(&rows, 0));
		out->kind = (enum package_kind)db_int(&rows, 1);
		out->name = arena_strdup(a, db_text(&rows, 2));
		out->version = arena_strdup(a, db_text(&rows, 3));
		out->size_bytes = (uint64_t)db_int(&rows, 4);
		*withdrawn = db_int(&rows, 5) == withdrawn_state;
	}
	TRY(db_end(&rows));
	if (!found)
		return err_set(ERR_NOT_FOUND, "no package %s", digest_short(&out->package));
	return out->publisher && out->name && out->version
		       ? ERR_OK
		       : err_set(ERR_FULL, "no room for a package reference");
}
