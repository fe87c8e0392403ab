// What the parts of the SQLite engine know of each other: db_sqlite.c (statements, files),
// db_sqlite_pipeline.c (what waits for the disk) and db_sqlite_later.c (what waits to be run).
// Nobody else includes this.
#ifndef HELIO_SERVER_DB_SQLITE_H
#define HELIO_SERVER_DB_SQLITE_H

#include "server/db/db_engine.h"
#include "server/db/later.h"
#include "server/db/redo.h"
#include "server/db/wal_flush.h"
#include <sqlite3.h>
#include <stdatomic.h>

// Of SQLite's log, a page of 4 KiB each. Few: a flush waits behind the sync of what is carried
// back.
#define CHECKPOINT_FRAMES 500
#define REDO_SEQ "redo-seq" // of table meta: the last group of the commits
#define REDO_LOG "redo-log" // the number of the log that goes with this store

struct db_stmt {
	struct statement base;
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
	bool log_needed; // SQLite's own: something is not in the redo log
	bool by_redo, flush_at_once;
	uint64_t flush_to;      // of the flush under way
	int flush_errno;        // of one at once
	atomic_uint write_us;   // what a flush of the redo log takes, smoothed
	struct later later;     // of the loop
	struct later applying;  // of the applier, while it is at it
	uint64_t apply_to;      // the last of its groups
	int64_t hand_ms;        // when they were looked at and not kept
	enum err apply_verdict; // of the last time, with
	char apply_sentence[256];
	struct db_stmt cache[STATEMENT_CACHE];
};

static inline struct sqlite_db *sqlite_of(struct db *db)
{
	return (struct sqlite_db *)db;
}

// db_sqlite.c
enum err sqlite_fail(sqlite3 *handle, int rc, const char *what);
enum err sqlite_exec(struct db *db, const char *sql) MUST_CHECK;
enum err sqlite_bind(struct db_stmt *stmt, int position, const struct db_value *v) MUST_CHECK;
enum err sqlite_step(struct db_stmt *stmt, bool *row) MUST_CHECK;
void sqlite_reset(struct db_stmt *stmt);
enum err sqlite_run(
	struct db *db, const char *sql, const struct db_value *values, size_t count) MUST_CHECK;
enum err meta_put(struct db *db, const char *key, uint64_t number) MUST_CHECK; // not of a group
// 0 where there is none, and in a store that has no such table.
enum err meta_number(struct sqlite_db *s, const char *key, uint64_t *out) MUST_CHECK;

// db_sqlite_later.c: of the engine's table, and
void sqlite_later_init(struct sqlite_db *s);
void sqlite_later_fini(struct sqlite_db *s);
bool sqlite_later(struct db *db, const char *sql, const struct db_value *values, size_t count);
enum err sqlite_later_run(struct db *db) MUST_CHECK;
void sqlite_later_drop(struct db *db);
enum db_hand sqlite_later_hand(struct db *db);
bool sqlite_later_is_over(struct db *db);
enum err sqlite_later_end(struct db *db) MUST_CHECK;
void sqlite_apply(void *ctx); // on the applier's thread

// db_sqlite_pipeline.c: of the engine's table, and
enum err sqlite_pipeline(struct db *db, db_tell_fn tell, void *ctx) MUST_CHECK;
void sqlite_pipeline_end(struct db *db);
void sqlite_note(struct db *db, const char *sql, const struct db_value *values, size_t count);
bool sqlite_seal(struct db *db);
void sqlite_flush_begin(struct db *db);
bool sqlite_flush_is_over(struct db *db);
enum err sqlite_flush_end(struct db *db) MUST_CHECK;
enum err sqlite_flush_whole(struct db *db) MUST_CHECK;
enum err sqlite_redo(struct db *db) MUST_CHECK;
// At an open: what the redo log holds and the store does not. Errors: ERR_CORRUPT when it does not
// fit.
enum err redo_after_crash(struct sqlite_db *s) MUST_CHECK;

#endif
