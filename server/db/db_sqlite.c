// SQLite behind db.h: one writing connection in WAL mode with synchronous=FULL, so that a commit is
// on the disk when it returns and a crash leaves the last commit. Pipelined, it is NORMAL: what was
// run is on the disk in the redo log (FILE-redo) before its commit; db_sqlite_pipeline.c does what
// waits for the disk, db_sqlite_later.c what waits to be run. A second program that would write the
// same file is refused (a lock of ours: SQLite's own exclusive mode would shut out the
// checkpointer).
#include "server/db/db_sqlite.h"

#include "proto/base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 200                          // somebody reads, or looks with another tool
#define CHECK_WHOLE_BYTES (32 * 1024 * 1024) // read in 50 ms

enum err sqlite_fail(sqlite3 *handle, int rc, const char *what)
{
	enum err e = ERR_IO;

	switch (rc & 0xff) {
	case SQLITE_FULL:
		e = ERR_NO_SPACE;
		break;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		e = ERR_READ_ONLY;
		break;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		e = ERR_CORRUPT;
		break;
	case SQLITE_NOMEM:
		e = ERR_MEMORY;
		break;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		e = ERR_EXISTS;
		break;
	default:
		break;
	}
	int system = handle ? sqlite3_system_errno(handle) : 0;
	if (e == ERR_IO && (system == ENOSPC || system == EDQUOT))
		e = ERR_NO_SPACE;
	if (e == ERR_IO && system == EROFS)
		e = ERR_READ_ONLY;
	return err_set(e, "database: %s: %s (%d)", what,
		handle ? sqlite3_errmsg(handle) : sqlite3_errstr(rc), rc);
}

enum err sqlite_exec(struct db *db, const char *sql)
{
	struct sqlite_db *s = sqlite_of(db);
	int rc = sqlite3_exec(s->handle, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? ERR_OK : sqlite_fail(s->handle, rc, "exec");
}

static void sqlite_rollback(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	for (size_t i = 0; i < STATEMENT_CACHE; i++)
		if (s->cache[i].handle)
			sqlite3_reset(s->cache[i].handle);
	if (!sqlite3_get_autocommit(s->handle))
		(void)sqlite3_exec(s->handle, "ROLLBACK", NULL, NULL, NULL);
	if (s->redo)
		redo_drop(s->redo);
}

// Another statement's place is taken as if it were free.
static enum err sqlite_prepare(struct db *db, const char *sql, struct db_stmt **out)
{
	struct sqlite_db *s = sqlite_of(db);
	struct statement *place = NULL;

	TRY(statement_find(&s->cache[0].base, sizeof(s->cache[0]), sql, &place));
	struct db_stmt *c = (struct db_stmt *)place;
	if (place->sql != sql) {
		TRY(statement_check(sql));
		sqlite3_finalize(c->handle);
		*c = (struct db_stmt){.owner = s};
		int rc = sqlite3_prepare_v3(
			s->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &c->handle, NULL);
		if (rc != SQLITE_OK)
			return sqlite_fail(s->handle, rc, sql);
		place->sql = sql;
	}
	place->used = true;
	*out = c;
	return ERR_OK;
}

enum err sqlite_bind(struct db_stmt *stmt, int position, const struct db_value *v)
{
	int rc = SQLITE_ERROR;

	switch (v->type) {
	case DB_NULL:
		rc = sqlite3_bind_null(stmt->handle, position);
		break;
	case DB_INT:
		rc = sqlite3_bind_int64(stmt->handle, position, v->i);
		break;
	case DB_REAL:
		rc = sqlite3_bind_double(stmt->handle, position, v->r);
		break;
	case DB_TEXT:
		rc = sqlite3_bind_text(stmt->handle, position, (const char *)v->b.data,
			(int)v->b.size, SQLITE_STATIC);
		break;
	case DB_BLOB:
		rc = v->b.size ? sqlite3_bind_blob(stmt->handle, position, v->b.data,
					 (int)v->b.size, SQLITE_STATIC)
			       : sqlite3_bind_zeroblob(stmt->handle, position, 0);
		break;
	}
	return rc == SQLITE_OK ? ERR_OK : sqlite_fail(stmt->owner->handle, rc, stmt->base.sql);
}

enum err sqlite_step(struct db_stmt *stmt, bool *row)
{
	int rc = sqlite3_step(stmt->handle);

	*row = rc == SQLITE_ROW;
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return ERR_OK;
	return sqlite_fail(stmt->owner->handle, rc, stmt->base.sql);
}

void sqlite_reset(struct db_stmt *stmt)
{
	sqlite3_reset(stmt->handle);
	sqlite3_clear_bindings(stmt->handle);
	stmt->base.used = false;
}

// Prepared once. Not noted: no part of a group by itself.
enum err sqlite_run(struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	struct db_stmt *stmt = NULL;
	bool row = true;

	TRY(sqlite_prepare(db, sql, &stmt));
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = sqlite_bind(stmt, (int)i + 1, &values[i]);
	while (e == ERR_OK && row)
		e = sqlite_step(stmt, &row);
	sqlite_reset(stmt);
	return e;
}

static enum err sqlite_say(struct db *db, const char *sql)
{
	return sqlite_run(db, sql, NULL, 0);
}

enum err meta_put(struct db *db, const char *key, uint64_t number)
{
	return sqlite_run(db,
		"INSERT INTO meta (key, number) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET "
		"number = excluded.number",
		(const struct db_value[]){DB_T(key), DB_I(number)}, 2);
}

// 0 where there is none, and in a store that has no such table.
enum err meta_number(struct sqlite_db *s, const char *key, uint64_t *out)
{
	sqlite3_stmt *stmt = NULL;

	*out = 0;
	int rc = sqlite3_prepare_v2(
		s->handle, "SELECT number FROM meta WHERE key = ?1", -1, &stmt, NULL);
	if (rc == SQLITE_ERROR) // no such table
		return ERR_OK;
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(stmt, 0);
	enum err e =
		rc == SQLITE_ROW || rc == SQLITE_DONE ? ERR_OK : sqlite_fail(s->handle, rc, key);
	sqlite3_finalize(stmt);
	return e;
}

// On the thread that has the connection.
static enum err sqlite_begin(struct db *db)
{
	return sqlite_say(db, "BEGIN IMMEDIATE");
}

static enum err sqlite_commit(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	if (sqlite3_get_autocommit(s->handle)) // an error ended it meanwhile
		return err_set(ERR_IO, "database: the transaction is gone");
	if (s->redo && s->group > s->committed)
		TRY(meta_put(db, REDO_SEQ, s->group));
	TRY(sqlite_say(db, "COMMIT"));
	s->committed = s->group;
	return ERR_OK;
}

static int64_t sqlite_column_int(struct db_stmt *stmt, int column)
{
	return sqlite3_column_int64(stmt->handle, column);
}

static double sqlite_column_real(struct db_stmt *stmt, int column)
{
	return sqlite3_column_double(stmt->handle, column);
}

static struct bytes sqlite_column_bytes(struct db_stmt *stmt, int column)
{
	const void *data = sqlite3_column_type(stmt->handle, column) == SQLITE_BLOB
				   ? sqlite3_column_blob(stmt->handle, column)
				   : (const void *)sqlite3_column_text(stmt->handle, column);

	return bytes_of(data, (size_t)sqlite3_column_bytes(stmt->handle, column));
}

// The copy is made by VACUUM INTO and stripped of the session keys before it gets its name: a
// stolen backup speaks for nobody, and a restored one finds every session ended.
static enum err sqlite_backup(struct db *db, const char *path)
{
	struct sqlite_db *s = sqlite_of(db);
	char part[4096];
	sqlite3_stmt *vacuum = NULL;
	sqlite3 *copy = NULL;

	if (access(path, F_OK) == 0)
		return err_set(ERR_EXISTS, "%s exists", path);
	if (db->in_transaction)
		return err_set(ERR_NOT_NOW, "a backup begins between turns");
	if ((size_t)snprintf(part, sizeof(part), "%s.part", path) >= sizeof(part))
		return err_set(ERR_RANGE, "the path of the backup is too long");
	(void)unlink(part);
	int rc = sqlite3_prepare_v2(s->handle, "VACUUM INTO ?1", -1, &vacuum, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(vacuum, 1, part, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(vacuum) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(s->handle);
	sqlite3_finalize(vacuum);
	if (rc == SQLITE_OK)
		rc = sqlite3_open_v2(part, &copy, SQLITE_OPEN_READWRITE, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(copy,
			"PRAGMA secure_delete=ON; DELETE FROM session;"
			" INSERT OR REPLACE INTO meta (key, number) VALUES ('is-backup', 1); "
			"VACUUM;",
			NULL, NULL, NULL);
	enum err e = rc == SQLITE_OK ? ERR_OK : sqlite_fail(copy ? copy : s->handle, rc, "backup");
	sqlite3_close(copy);
	if (e == ERR_OK && rename(part, path) != 0)
		e = err_set_errno("rename %s", part);
	if (e != ERR_OK)
		(void)unlink(part);
	return e;
}

static void sqlite_close(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	for (size_t i = 0; i < STATEMENT_CACHE; i++)
		sqlite3_finalize(s->cache[i].handle);
	sqlite3_close(s->handle);
	redo_close(s->redo);
	sqlite_later_fini(s);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->file);
	free(s);
}

static const struct db_engine sqlite_engine = {
	.name = "sqlite",
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.prepare = sqlite_prepare,
	.bind = sqlite_bind,
	.step = sqlite_step,
	.reset = sqlite_reset,
	.column_int = sqlite_column_int,
	.column_real = sqlite_column_real,
	.column_bytes = sqlite_column_bytes,
	.exec = sqlite_exec,
	.backup = sqlite_backup,
	.pipeline = sqlite_pipeline,
	.pipeline_end = sqlite_pipeline_end,
	.flush_begin = sqlite_flush_begin,
	.flush_is_over = sqlite_flush_is_over,
	.flush_end = sqlite_flush_end,
	.flush_whole = sqlite_flush_whole,
	.note = sqlite_note,
	.seal = sqlite_seal,
	.redo = sqlite_redo,
	.later = sqlite_later,
	.later_run = sqlite_later_run,
	.later_drop = sqlite_later_drop,
	.later_hand = sqlite_later_hand,
	.later_is_over = sqlite_later_is_over,
	.later_end = sqlite_later_end,
	.close = sqlite_close,
};

static int first_text(void *out, int count, char **values, char **names)
{
	(void)names;
	if (count > 0 && values[0])
		(void)str_copy(out, 256, values[0]);
	return 1;
}

// A large store would be read for seconds before anybody is answered: its pages are checked as they
// are used, which is within the first minute for all that is loaded.
static enum err sqlite_check(struct sqlite_db *s, const char *file)
{
	char verdict[256] = "";
	struct stat st;

	if (stat(file, &st) == 0 && st.st_size > CHECK_WHOLE_BYTES)
		return ERR_OK;
	int rc = sqlite3_exec(s->handle, "PRAGMA quick_check(1)", first_text, verdict, NULL);

	if (rc != SQLITE_OK && rc != SQLITE_ABORT)
		return sqlite_fail(s->handle, rc, "quick_check");
	if (strcmp(verdict, "ok") != 0)
		return err_set(ERR_CORRUPT, "database is damaged: %s", verdict);
	return ERR_OK;
}

static enum err sqlite_setup(struct sqlite_db *s, const char *file, bool memory)
{
	sqlite3_extended_result_codes(s->handle, 1);
	sqlite3_busy_timeout(s->handle, BUSY_MS);
	(void)sqlite3_db_config(s->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	// Our schema has none: one that somebody put there does nothing (attack C13).
	(void)sqlite3_db_config(s->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	(void)sqlite3_db_config(s->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	TRY(sqlite_exec(&s->base, "PRAGMA trusted_schema=OFF;"
				  "PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;"));
	if (!memory) {
		TRY(sqlite_exec(&s->base, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"));
		sqlite3_wal_autocheckpoint(s->handle, CHECKPOINT_FRAMES);
	}
	TRY(sqlite_exec(&s->base, "BEGIN IMMEDIATE; COMMIT;"));
	return sqlite_check(s, file);
}

// Made by us before SQLite opens it, so that nobody else can ever read it. Locked as long as it is
// open; SQLite's own locks are of another kind (fcntl), and the descriptor outlives its connection:
// closing it earlier would take those away.
static enum err file_take(struct sqlite_db *s, const char *file)
{
	s->file = strdup(file);
	if (!s->file)
		return err_set(ERR_MEMORY, "no memory for the database");
	s->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return err_set_errno("database %s", file);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	if (errno == EWOULDBLOCK)
		return err_set(ERR_EXISTS, "database %s is used by another process", file);
	return err_set_errno("lock of %s", file);
}

static enum err sqlite_start(struct sqlite_db *s, const char *file, bool memory)
{
	if (!memory)
		TRY(file_take(s, file));
	int rc = sqlite3_open_v2(file, &s->handle,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc != SQLITE_OK)
		return sqlite_fail(s->handle, rc, file);
	TRY(sqlite_setup(s, file, memory));
	return memory ? ERR_OK : redo_after_crash(s);
}

enum err db_sqlite_open(const char *file, struct db **out)
{
	*out = NULL;
	// Nobody reads SQLite's own statistics, and they cost a lock at each allocation. Too late,
	// and without effect, once something of SQLite ran.
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	struct sqlite_db *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(ERR_MEMORY, "no memory for the database");
	s->base.engine = &sqlite_engine;
	s->lock_fd = -1;
	sqlite_later_init(s);
	enum err e = sqlite_start(s, file, strcmp(file, ":memory:") == 0);
	if (e != ERR_OK) {
		sqlite_close(&s->base);
		return e;
	}
	*out = &s->base;
	return ERR_OK;
}
