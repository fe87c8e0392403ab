// SQLite behind db.h: one writing connection in WAL mode with synchronous=FULL, so that a commit is
// on the disk when it returns and a crash leaves the last commit. Pipelined, it is NORMAL: what was
// run is on the disk in the redo log (FILE-redo) before its commit, and the threads of wal_flush.c do
// what waits for the disk. Each commit holds the number of its last group, so that an open after a
// crash runs those that follow. A second program that would write the same file is refused (a lock of
// ours: SQLite's own exclusive mode would shut out the checkpointer).
//
//   flush    by the redo log; by SQLite's own log (after the commit) where the redo log cannot take it
//            or there is none (a small disk)
//   retire   a checkpoint of the carrier brings all that was committed to the disk, so that an area of
//            the redo log is free again
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "server/db/db_engine.h"
#include "server/db/redo.h"
#include "server/db/wal_flush.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHECKPOINT_FRAMES 4000      // of the log; a page of 4 KiB each
#define CHECKPOINT_FRAMES_MAX 24000 // then it is brought to its end
#define CHECKPOINT_FRAMES_BOUND (2 * CHECKPOINT_FRAMES_MAX)
#define CHECKPOINT_FRAMES_LAST 400
#define BUSY_MS 200                          // somebody reads, or looks with another tool
#define CHECK_WHOLE_BYTES (32 * 1024 * 1024) // read in 50 ms
#define REDO_SEQ "redo-seq"                  // of table meta: the last group of the commits
#define REDO_LOG "redo-log"                  // the number of the log that goes with this store
// A small write that the disk takes at once is waited for: the thread would have to be woken, and the
// loop again, which costs more (75 us each on the reference machine).
#define AT_ONCE_US 500
#define AT_ONCE_BYTES (16 * 1024)

struct db_stmt {
	const char *sql;
	sqlite3_stmt *handle;
	struct sqlite_db *owner;
};

struct sqlite_db {
	struct db base;
	sqlite3 *handle;
	char *file;
	int lock_fd;
	struct wal_flush *flush; // pipelined
	sqlite3 *carrier;        // of its second thread alone
	atomic_int carried;      // frames of the log that are in the database
	int here_again;          // frames at which the loop may carry
	struct redo *redo;
	uint64_t group, committed; // numbers: the last that was sealed, and committed
	atomic_ullong retire_to, retired;
	bool log_needed;           // SQLite's own: something is not in the redo log
	bool by_redo, flush_at_once;
	uint64_t flush_to;         // of the flush under way
	int flush_errno;           // of one at once
	atomic_uint write_us;      // what a flush of the redo log takes, smoothed
	struct db_stmt cache[STATEMENT_CACHE];
};

static struct sqlite_db *sqlite_of(struct db *db)
{
	return (struct sqlite_db *)db;
}

static enum err sqlite_fail(sqlite3 *handle, int rc, const char *what)
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

static enum err sqlite_exec(struct db *db, const char *sql)
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

static enum err sqlite_prepare(struct db *db, const char *sql, struct db_stmt **out)
{
	struct sqlite_db *s = sqlite_of(db);
	size_t at = statement_place(sql);

	for (size_t i = 0; i < STATEMENT_CACHE; i++, at++) {
		struct db_stmt *c = &s->cache[at % STATEMENT_CACHE];
		if (c->sql == sql) {
			*out = c;
			return ERR_OK;
		}
		if (c->sql)
			continue;
		TRY(statement_check(sql));
		int rc = sqlite3_prepare_v3(
			s->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &c->handle, NULL);
		if (rc != SQLITE_OK)
			return sqlite_fail(s->handle, rc, sql);
		c->sql = sql;
		c->owner = s;
		*out = c;
		return ERR_OK;
	}
	return err_set(ERR_FULL, "more than %d different statements", STATEMENT_CACHE);
}

static enum err sqlite_bind(struct db_stmt *stmt, int position, const struct db_value *v)
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
	return rc == SQLITE_OK ? ERR_OK : sqlite_fail(stmt->owner->handle, rc, stmt->sql);
}

static enum err sqlite_step(struct db_stmt *stmt, bool *row)
{
	int rc = sqlite3_step(stmt->handle);

	*row = rc == SQLITE_ROW;
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return ERR_OK;
	return sqlite_fail(stmt->owner->handle, rc, stmt->sql);
}

static void sqlite_reset(struct db_stmt *stmt)
{
	sqlite3_reset(stmt->handle);
	sqlite3_clear_bindings(stmt->handle);
}

// Prepared once: they are said each turn. Not part of a group.
static enum err sqlite_say_with(
	struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	struct db_stmt *stmt = NULL;
	bool row = false;

	TRY(sqlite_prepare(db, sql, &stmt));
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = sqlite_bind(stmt, (int)i + 1, &values[i]);
	if (e == ERR_OK)
		e = sqlite_step(stmt, &row);
	sqlite_reset(stmt);
	return e;
}

static enum err sqlite_say(struct db *db, const char *sql)
{
	return sqlite_say_with(db, sql, NULL, 0);
}

static enum err meta_put(struct db *db, const char *key, uint64_t number)
{
	return sqlite_say_with(db,
		"INSERT INTO meta (key, number) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET "
		"number = excluded.number",
		(const struct db_value[]){DB_T(key), DB_I(number)}, 2);
}

// 0 where there is none, and in a store that has no such table.
static uint64_t meta_number(struct sqlite_db *s, const char *key)
{
	sqlite3_stmt *stmt = NULL;
	uint64_t number = 0;

	if (sqlite3_prepare_v2(s->handle, "SELECT number FROM meta WHERE key = ?1", -1, &stmt,
		    NULL) == SQLITE_OK &&
		sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC) == SQLITE_OK &&
		sqlite3_step(stmt) == SQLITE_ROW)
		number = (uint64_t)sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return number;
}

static enum err sqlite_begin(struct db *db)
{
	return sqlite_say(db, "BEGIN IMMEDIATE");
}

static enum err sqlite_commit(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

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
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s->file);
	free(s);
}

// ---------------------------------------------------------------- the pipeline

static int carrier_open(const char *file, sqlite3 **out)
{
	int rc = sqlite3_open_v2(file, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(*out,
			"PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0;"
			"PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
			NULL, NULL, NULL);
	return rc;
}

static int log_carry_by(struct sqlite_db *s, sqlite3 *connection)
{
	int carried = 0;
	int rc = sqlite3_wal_checkpoint_v2(
		connection, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, &carried);

	if (rc == SQLITE_OK)
		atomic_store(&s->carried, carried);
	return rc;
}

// On the carrier's thread.
static void log_carry(void *ctx)
{
	struct sqlite_db *s = ctx;
	unsigned long long retire_to = atomic_load(&s->retire_to);
	int rc = s->carrier ? SQLITE_OK : carrier_open(s->file, &s->carrier);

	if (rc == SQLITE_OK)
		rc = log_carry_by(s, s->carrier);
	if (rc == SQLITE_OK) // it synced the log first
		atomic_store(&s->retired, retire_to);
	if (rc == SQLITE_OK || rc == SQLITE_BUSY)
		return;
	log_warn("STORE-CHECKPOINT", "rc=%d why=%s", rc,
		log_quote(s->carrier ? sqlite3_errmsg(s->carrier) : sqlite3_errstr(rc)));
	sqlite3_close(s->carrier);
	s->carrier = NULL;
}

enum carry {
	CARRY_NOTHING,
	CARRY_BESIDE, // on the thread
	CARRY_HERE
};

// A log begins anew only when all of it was carried back and nobody reads it: one that never rests
// is followed by the thread until little is left, and that the loop carries itself. A thread that
// cannot follow is not waited for: the log has a bound.
static enum carry carry_choose(const struct sqlite_db *s, int frames, int left)
{
	if (frames < CHECKPOINT_FRAMES_MAX)
		return left >= CHECKPOINT_FRAMES ? CARRY_BESIDE : CARRY_NOTHING;
	if (left > CHECKPOINT_FRAMES_LAST && frames < CHECKPOINT_FRAMES_BOUND)
		return CARRY_BESIDE;
	return frames >= s->here_again ? CARRY_HERE : CARRY_NOTHING;
}

// After each commit: the log holds so many frames. An error here is no error of the commit.
static int on_log_grew(void *ctx, sqlite3 *handle, const char *name, int frames)
{
	struct sqlite_db *s = ctx;

	(void)name;
	if (frames < atomic_load(&s->carried)) { // it began anew
		atomic_store(&s->carried, 0);
		s->here_again = 0;
	}
	switch (carry_choose(s, frames, frames - atomic_load(&s->carried))) {
	case CARRY_NOTHING:
		break;
	case CARRY_BESIDE:
		if (wal_carry_is_idle(s->flush))
			wal_carry_ask(s->flush);
		break;
	case CARRY_HERE: // while somebody reads for long, not at each commit
		s->here_again = frames + CHECKPOINT_FRAMES_LAST;
		if (frames >= CHECKPOINT_FRAMES_BOUND)
			wal_carry_wait(s->flush);
		(void)log_carry_by(s, handle);
		break;
	}
	return SQLITE_OK;
}

// The area before the present one shall be free when this one is full.
static void redo_carry(struct sqlite_db *s)
{
	redo_retire(s->redo, atomic_load(&s->retired));
	uint64_t last = redo_to_retire(s->redo);
	if (last == 0 || last > s->committed || last <= atomic_load(&s->retire_to) ||
		!wal_carry_is_idle(s->flush))
		return;
	atomic_store(&s->retire_to, s->committed);
	wal_carry_ask(s->flush);
}

static void sqlite_note(
	struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	struct sqlite_db *s = sqlite_of(db);

	if (s->redo)
		redo_note(s->redo, sql, values, count);
}

static bool sqlite_seal(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	s->group++;
	if (!s->redo)
		return false;
	redo_carry(s);
	if (!redo_seal(s->redo, s->group))
		s->log_needed = true;
	return !s->log_needed;
}

// On the flusher's thread, or at once.
static int redo_flush(void *ctx)
{
	struct sqlite_db *s = ctx;
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	int failed = redo_write(s->redo);
	clock_gettime(CLOCK_MONOTONIC, &to);
	int64_t us = (to.tv_sec - from.tv_sec) * 1000000ll + (to.tv_nsec - from.tv_nsec) / 1000;
	unsigned before = atomic_load(&s->write_us), now = us > 1000000 ? 1000000 : (unsigned)us;
	atomic_store(&s->write_us, (7 * before + now) / 8);
	return failed;
}

static enum err redo_failed(int number)
{
	errno = number;
	return err_set_errno("database: the redo log");
}

static void sqlite_flush_begin(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	s->by_redo = s->redo && !s->log_needed;
	s->flush_at_once = false;
	s->flush_to = s->by_redo ? s->group : s->committed;
	if (!s->by_redo) {
		if (s->redo)
			redo_forget(s->redo);
		wal_flush_begin(s->flush, NULL);
		return;
	}
	redo_begin(s->redo);
	s->flush_at_once = atomic_load(&s->write_us) < AT_ONCE_US &&
			   redo_write_size(s->redo) <= AT_ONCE_BYTES;
	if (s->flush_at_once)
		s->flush_errno = redo_flush(s);
	else
		wal_flush_begin(s->flush, redo_flush);
}

static bool sqlite_flush_is_over(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	return s->flush_at_once || wal_flush_is_over(s->flush);
}

static enum err sqlite_flush_end(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);
	bool at_once = s->flush_at_once;

	s->flush_at_once = false;
	if (at_once)
		return s->flush_errno ? redo_failed(s->flush_errno) : ERR_OK;
	TRY(wal_flush_end(s->flush));
	if (s->by_redo)
		return ERR_OK;
	s->log_needed = false;
	if (s->redo)
		redo_retire(s->redo, s->flush_to);
	return ERR_OK;
}

// ---------------------------------------------------------------- the redo log

static enum err redo_path(const char *file, char path[static PATH_MAX])
{
	return (size_t)snprintf(path, PATH_MAX, "%s-redo", file) < PATH_MAX
		       ? ERR_OK
		       : err_set(ERR_RANGE, "the path of the database is too long");
}

struct redoing {
	struct sqlite_db *s;
	uint64_t first, last; // groups that were run
	const char *text;     // prepared last
	sqlite3_stmt *stmt;
};

static enum err redo_prepare(struct redoing *g, const char *sql)
{
	if (g->stmt && strcmp(sqlite3_sql(g->stmt), sql) == 0)
		return ERR_OK;
	sqlite3_finalize(g->stmt);
	int rc = sqlite3_prepare_v2(g->s->handle, sql, -1, &g->stmt, NULL);
	return rc == SQLITE_OK ? ERR_OK : sqlite_fail(g->s->handle, rc, sql);
}

static enum err redo_run(void *ctx, uint64_t group, const char *sql, const struct db_value *values,
	size_t count)
{
	struct redoing *g = ctx;
	uint64_t done = g->last ? g->last : g->s->committed;

	if (group < done || (group == done && !g->last))
		return ERR_OK;
	if (group > done + 1)
		return err_set(ERR_STALE, "it goes on at %llu, and the store ends at %llu",
			(unsigned long long)group, (unsigned long long)done);
	g->last = group;
	TRY(redo_prepare(g, sql));
	struct db_stmt stmt = {.sql = sql, .handle = g->stmt, .owner = g->s};
	enum err e = ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = sqlite_bind(&stmt, (int)i + 1, &values[i]);
	for (bool row = true; e == ERR_OK && row;)
		e = sqlite_step(&stmt, &row);
	sqlite_reset(&stmt);
	return e;
}

// One transaction: the groups that the store does not have.
static enum err redo_all(struct sqlite_db *s)
{
	struct redoing g = {.s = s};
	char path[PATH_MAX];

	TRY(redo_path(s->file, path));
	TRY(sqlite_exec(&s->base, "BEGIN IMMEDIATE"));
	enum err e = redo_read(path, meta_number(s, REDO_LOG), redo_run, &g);
	sqlite3_finalize(g.stmt);
	if (e == ERR_OK && g.last)
		e = meta_put(&s->base, REDO_SEQ, g.last);
	if (e == ERR_OK)
		e = sqlite_exec(&s->base, "COMMIT");
	if (e != ERR_OK) {
		(void)sqlite3_exec(s->handle, "ROLLBACK", NULL, NULL, NULL);
		return e;
	}
	if (g.last) {
		log_info("STORE-REDO", "from=%llu to=%llu", (unsigned long long)s->committed + 1,
			(unsigned long long)g.last);
		s->committed = s->group = g.last;
	}
	return ERR_OK;
}

// After a crash. A store that was put back from a copy does not go on where its log does: what the
// log holds is of the time after the copy, and the server notices the copy by other signs.
static enum err redo_after_crash(struct sqlite_db *s)
{
	s->group = s->committed = meta_number(s, REDO_SEQ);
	if (meta_number(s, REDO_LOG) == 0)
		return ERR_OK;
	if (meta_number(s, "is-backup")) {
		log_warn("STORE-REDO", "why=\"the store is a backup; its redo log is not used\"");
		return ERR_OK;
	}
	enum err e = redo_all(s);
	if (e == ERR_STALE) {
		log_warn("STORE-REDO", "why=%s", log_quote(err_text()));
		return ERR_OK;
	}
	if (e == ERR_OK || e == ERR_NO_SPACE || e == ERR_READ_ONLY || e == ERR_MEMORY)
		return e;
	char why[200];
	(void)snprintf(why, sizeof(why), "%s", err_text());
	return err_set(ERR_CORRUPT,
		"the redo log of %s does not fit it (%s); moved away, the store opens as it was before it",
		s->file, why);
}

// In the life of a store that could not commit: no flush is under way.
static enum err sqlite_redo(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	if (!s->redo)
		return ERR_OK;
	if (redo_is_waiting(s->redo)) { // some may be committed, and one is not
		redo_forget(s->redo);
		s->log_needed = true;
	}
	TRY(redo_all(s));
	s->group = s->committed;
	return ERR_OK;
}

// A new log. Its number stands in the store before anything stands in it.
static enum err redo_renew(struct sqlite_db *s)
{
	char path[PATH_MAX];
	uint64_t id = random_u64() >> 2 | 1; // positive, and never 0

	redo_close(s->redo);
	s->redo = NULL;
	s->log_needed = false;
	TRY(redo_path(s->file, path));
	TRY(sqlite_exec(&s->base, "BEGIN IMMEDIATE"));
	enum err e = meta_put(&s->base, REDO_LOG, id);
	if (e == ERR_OK)
		e = meta_put(&s->base, REDO_SEQ, s->group);
	if (e == ERR_OK)
		e = sqlite_exec(&s->base, "COMMIT");
	if (e != ERR_OK) {
		(void)sqlite3_exec(s->handle, "ROLLBACK", NULL, NULL, NULL);
		return e;
	}
	s->committed = s->group;
	atomic_store(&s->retire_to, s->group);
	atomic_store(&s->retired, s->group);
	return redo_open(path, id, &s->redo);
}

// Without it SQLite's own log is synced: a small disk.
static enum err redo_begin_log(struct sqlite_db *s)
{
	enum err e = redo_renew(s);

	if (e != ERR_NO_SPACE)
		return e;
	log_info("STORE-LOG", "why=%s", log_quote(err_text()));
	return ERR_OK;
}

static enum err sqlite_pipeline(struct db *db, db_tell_fn tell, void *ctx)
{
	struct sqlite_db *s = sqlite_of(db);

	if (!s->file)
		return err_set(ERR_UNSUPPORTED, "a database in memory has no pipeline");
	if (db->in_transaction)
		return err_set(ERR_NOT_NOW, "a pipeline begins between turns");
	TRY(redo_begin_log(s)); // its commit is on the disk: still FULL
	TRY(wal_flush_new(s->file,
		&(struct wal_flush_ports){
			.tell = tell, .tell_ctx = ctx, .carry = log_carry, .ctx = s},
		&s->flush));
	enum err e = sqlite_exec(db, "PRAGMA synchronous=NORMAL");
	if (e != ERR_OK) {
		wal_flush_free(s->flush);
		s->flush = NULL;
		return e;
	}
	sqlite3_wal_hook(s->handle, on_log_grew, s);
	return ERR_OK;
}

static void sqlite_pipeline_end(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	sqlite3_wal_autocheckpoint(s->handle, CHECKPOINT_FRAMES);
	if (sqlite_exec(db, "PRAGMA synchronous=FULL") != ERR_OK)
		log_warn("STORE-FLUSH", "why=%s", log_quote(err_text()));
	wal_flush_free(s->flush);
	s->flush = NULL;
	sqlite3_close(s->carrier);
	s->carrier = NULL;
	redo_close(s->redo);
	s->redo = NULL;
}

// Every page of the log is written into the database and that is synced: nothing depends any more
// on what the log's failed sync left on the disk. Nor on that of a redo log: it is a new one, whose
// number is on the disk before anything is in it.
static enum err sqlite_flush_whole(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	if (s->redo)
		TRY(redo_begin_log(s));
	int rc = sqlite3_wal_checkpoint_v2(s->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return rc == SQLITE_OK ? ERR_OK : sqlite_fail(s->handle, rc, "checkpoint");
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
	enum err e = sqlite_start(s, file, strcmp(file, ":memory:") == 0);
	if (e != ERR_OK) {
		sqlite_close(&s->base);
		return e;
	}
	*out = &s->base;
	return ERR_OK;
}
