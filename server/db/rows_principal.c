// Who may sign in, and the session each is in.
#include "server/db/rows.h"

enum err rows_principal_put(struct db *db, const struct principal_row *row)
{
	return db_run(db,
		"INSERT INTO principal (id, role, public_key, box_key, name, revoked, enrolled_ms)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET role = "
		"excluded.role,"
		" public_key = excluded.public_key, box_key = excluded.box_key, name = "
		"excluded.name,"
		" revoked = excluded.revoked",
		DB_T(row->id), DB_I(row->role), DB_D(&row->public_key), DB_D(&row->box_key),
		DB_T(row->name), DB_I(row->revoked), DB_I(row->enrolled_ms));
}

enum err rows_principal_find(
	struct db *db, const char *id, struct arena *a, struct principal_row *out)
{
	struct db_rows rows;
	bool found = false;

	*out = (struct principal_row){0};
	TRY(db_query(db, &rows,
		"SELECT role, public_key, box_key, name, revoked, enrolled_ms FROM principal WHERE "
		"id = $1",
		DB_T(id)));
	if (db_next(&rows)) {
		found = true;
		out->role = (enum role)db_int(&rows, 0);
		(void)db_fixed(&rows, 1, out->public_key.b, sizeof(out->public_key.b));
		(void)db_fixed(&rows, 2, out->box_key.b, sizeof(out->box_key.b));
		out->name = arena_strdup(a, db_text(&rows, 3));
		out->revoked = db_int(&rows, 4) != 0;
		out->enrolled_ms = db_int(&rows, 5);
		out->id = arena_strdup(a, id);
	}
	TRY(db_end(&rows));
	if (!found)
		return err_set(ERR_NOT_FOUND, "%s is not enrolled", id);
	return out->name && out->id ? ERR_OK : err_set(ERR_MEMORY, "no memory for a principal");
}

enum err rows_principal_rekey(
	struct db *db, const char *id, const struct key32 *next, int64_t at_ms)
{
	TRY(db_run(db,
		"INSERT OR IGNORE INTO former_key (id, public_key, until_ms)"
		" SELECT id, public_key, $1 FROM principal WHERE id = $2",
		DB_I(at_ms), DB_T(id)));
	return db_run(
		db, "UPDATE principal SET public_key = $1 WHERE id = $2", DB_D(next), DB_T(id));
}

enum err rows_principal_had_key(struct db *db, const char *id, const struct key32 *key, bool *had)
{
	struct db_rows rows;

	TRY(db_query(db, &rows,
		"SELECT 1 FROM principal WHERE id = $1 AND public_key = $2"
		" UNION ALL SELECT 1 FROM former_key WHERE id = $1 AND public_key = $2",
		DB_T(id), DB_D(key)));
	*had = db_next(&rows);
	return db_end(&rows);
}

enum err rows_principal_box(struct db *db, const char *id, const struct key32 *box_key)
{
	return db_run(
		db, "UPDATE principal SET box_key = $1 WHERE id = $2", DB_D(box_key), DB_T(id));
}

enum err rows_principal_revoke(struct db *db, const char *id)
{
	TRY(db_run(db, "UPDATE principal SET revoked = 1 WHERE id = $1", DB_T(id)));
	return rows_session_delete(db, id);
}

enum err rows_principal_delete(struct db *db, const char *id)
{
	TRY(rows_session_delete(db, id));
	TRY(db_run(db, "DELETE FROM principal WHERE id = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM former_key WHERE id = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM client WHERE id = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM client_change WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM operation WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM answer WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM skipped WHERE client = $1", DB_T(id)));
	TRY(rows_membership_clear(db, id));
	TRY(rows_detached_forget(db, id));
	TRY(db_run(db, "DELETE FROM report WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM usage WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM usage_source WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM report_part WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM question WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM media_order WHERE client = $1", DB_T(id)));
	TRY(db_run(db, "DELETE FROM event WHERE queue = '@' || $1", DB_T(id)));
	return db_run(db, "DELETE FROM queue WHERE name = '@' || $1", DB_T(id));
}

enum err rows_session_put(struct db *db, const struct session_row *row)
{
	return db_run(db,
		"INSERT OR REPLACE INTO session (id, session_id, mac_up, mac_down, enc, expires_ms)"
		" VALUES ($1, $2, $3, $4, $5, $6)",
		DB_T(row->id), DB_I(row->session_id), DB_D(&row->keys.mac_up),
		DB_D(&row->keys.mac_down), DB_D(&row->keys.enc), DB_I(row->expires_ms));
}

enum err rows_session_secret(
	struct db *db, const char *id, uint64_t session_id, struct key32 *enc)
{
	struct db_rows rows;

	*enc = (struct key32){{0}};
	TRY(db_query(db, &rows, "SELECT enc FROM session WHERE id = $1 AND session_id = $2",
		DB_T(id), DB_I(session_id)));
	bool found = db_next(&rows) && db_fixed(&rows, 0, enc->b, sizeof(enc->b));
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "%s is in another session", id);
}

enum err rows_session_delete(struct db *db, const char *id)
{
	return db_run(db, "DELETE FROM session WHERE id = $1", DB_T(id));
}
