// SQLite, pipelined: synchronous=NORMAL, and
//
//   flush    by the redo log (FILE-redo), before the commit; by SQLite's own log, after it, where
//   the
//            redo log cannot take a group or there is none (a small disk)
//   retire   a checkpoint of the carrier brings all that was committed to the disk, so that an area
//   of
//            the redo log is free again
//   redo     each commit holds the number of its last group: after a crash, and after a commit that
//            failed, those that follow in the redo log are run again
#include "server/db/db_sqlite.h"

#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECKPOINT_FRAMES_MAX 24000 // then it is brought to its end
#define CHECKPOINT_FRAMES_BOUND (2 * CHECKPOINT_FRAMES_MAX)
#define CHECKPOINT_FRAMES_LAST 200
// A small write that the disk takes at once is waited for: the thread would have to be woken, and
// the loop again (75 us each on the reference machine), and each of the two wakes makes the group
// smaller and the work of a message more: 240 us of CPU instead of 200.
#define AT_ONCE_US 2000
#define AT_ONCE_BYTES (16 * 1024)
// Of pages, at most; a server asks each turn for those of any of its clients.
#define CACHE_KIB "-32768"

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

// A carry syncs the log by itself; not one that finds nothing to do because somebody reads.
static bool log_is_synced(const struct sqlite_db *s)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s-wal", s->file) >= sizeof(path))
		return false;
	SCOPED_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && fdatasync(fd) == 0;
}

// On the carrier's thread.
static void log_carry(void *ctx)
{
	struct sqlite_db *s = ctx;
	unsigned long long retire_to = atomic_load(&s->retire_to);
	int rc = s->carrier ? SQLITE_OK : carrier_open(s->file, &s->carrier);

	if (rc == SQLITE_OK)
		rc = log_carry_by(s, s->carrier);
	if (rc == SQLITE_OK && log_is_synced(s))
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
	if (last == 0 || last > s->committed || !wal_carry_is_idle(s->flush))
		return;
	atomic_store(&s->retire_to, s->committed);
	wal_carry_ask(s->flush);
}

void sqlite_note(struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	struct sqlite_db *s = sqlite_of(db);

	if (s->redo)
		redo_note(s->redo, sql, values, count);
}

bool sqlite_seal(struct db *db)
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

void sqlite_flush_begin(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	s->by_redo = s->redo && !s->log_needed && redo_is_waiting(s->redo);
	s->flush_at_once = false;
	s->flush_to = s->by_redo ? s->group : s->committed;
	if (!s->by_redo) {
		if (s->redo)
			redo_forget(s->redo);
		wal_flush_begin(s->flush, NULL);
		return;
	}
	redo_begin(s->redo);
	s->flush_at_once =
		atomic_load(&s->write_us) < AT_ONCE_US && redo_write_size(s->redo) <= AT_ONCE_BYTES;
	if (s->flush_at_once)
		s->flush_errno = redo_flush(s);
	else
		wal_flush_begin(s->flush, redo_flush);
}

bool sqlite_flush_is_over(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	return s->flush_at_once || wal_flush_is_over(s->flush);
}

enum err sqlite_flush_end(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);
	bool at_once = s->flush_at_once;

	s->flush_at_once = false;
	if (at_once)
		return s->flush_errno ? redo_failed(s->flush_errno) : ERR_OK;
	TRY(wal_flush_end(s->flush));
	if (s->by_redo)
		return ERR_OK;
	if (s->flush_to == s->group)
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
	uint64_t last;      // group that was run
	sqlite3_stmt *stmt; // prepared last
};

static enum err redo_prepare(struct redoing *g, const char *sql)
{
	if (g->stmt && strcmp(sqlite3_sql(g->stmt), sql) == 0)
		return ERR_OK;
	sqlite3_finalize(g->stmt);
	int rc = sqlite3_prepare_v2(g->s->handle, sql, -1, &g->stmt, NULL);
	return rc == SQLITE_OK ? ERR_OK : sqlite_fail(g->s->handle, rc, sql);
}

static enum err redo_run(
	void *ctx, uint64_t group, const char *sql, const struct db_value *values, size_t count)
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
	struct db_stmt stmt = {.base.sql = sql, .handle = g->stmt, .owner = g->s};
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
	uint64_t id = 0;
	enum err e = meta_number(s, REDO_LOG, &id);
	if (e == ERR_OK)
		e = redo_read(path, id, redo_run, &g);
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

// A store that was put back from a copy does not go on where its log does: what the log holds is of
// the time after the copy, and the server notices the copy by other signs. Never looked at again.
static enum err redo_leave(struct sqlite_db *s, const char *why)
{
	log_warn("STORE-REDO", "why=%s", log_quote(why));
	return meta_put(&s->base, REDO_LOG, 0);
}

// After a crash.
enum err redo_after_crash(struct sqlite_db *s)
{
	uint64_t log = 0, backup = 0;
	char why[200];

	TRY(meta_number(s, REDO_SEQ, &s->group));
	TRY(meta_number(s, REDO_LOG, &log));
	TRY(meta_number(s, "is-backup", &backup));
	s->committed = s->group;
	if (log == 0)
		return ERR_OK;
	if (backup)
		return redo_leave(s, "the store is a backup; its redo log is not used");
	enum err e = redo_all(s);
	text_format(why, sizeof(why), "%s", e == ERR_OK ? "" : err_text());
	if (e == ERR_STALE)
		return redo_leave(s, why);
	if (e == ERR_OK || e == ERR_NO_SPACE || e == ERR_READ_ONLY || e == ERR_MEMORY)
		return e;
	return err_set(ERR_CORRUPT,
		"the redo log of %s does not fit it (%s); moved away, the store opens as it was "
		"before it",
		s->file, why);
}

// In the life of a store that could not commit: no flush is under way.
enum err sqlite_redo(struct db *db)
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

enum err sqlite_pipeline(struct db *db, db_tell_fn tell, void *ctx)
{
	struct sqlite_db *s = sqlite_of(db);

	if (!s->file)
		return err_set(ERR_UNSUPPORTED, "a database in memory has no pipeline");
	if (db->in_transaction)
		return err_set(ERR_NOT_NOW, "a pipeline begins between turns");
	TRY(redo_begin_log(s)); // its commit is on the disk: still FULL
	TRY(wal_flush_new(s->file,
		&(struct wal_flush_ports){.tell = tell,
			.tell_ctx = ctx,
			.carry = log_carry,
			.apply = sqlite_apply,
			.ctx = s},
		&s->flush));
	enum err e = sqlite_exec(db, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=" CACHE_KIB);
	if (e != ERR_OK) {
		wal_flush_free(s->flush);
		s->flush = NULL;
		return e;
	}
	sqlite3_wal_hook(s->handle, on_log_grew, s);
	return ERR_OK;
}

void sqlite_pipeline_end(struct db *db)
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
enum err sqlite_flush_whole(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	if (s->redo)
		TRY(redo_begin_log(s));
	int rc = sqlite3_wal_checkpoint_v2(s->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return rc == SQLITE_OK ? ERR_OK : sqlite_fail(s->handle, rc, "checkpoint");
}
