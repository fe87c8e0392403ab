// The store behind the server: a small interface, so that another engine is one more file.
//
// A transaction begins by itself at the first write and ends with db_commit: one commit per turn of
// the loop. Statements are SQL with $1 $2 ... in order of first appearance, given as string
// literals: the literal's address is the key of the statement cache.
//
//   TRY(db_run(db, "INSERT INTO lease (id, client) VALUES ($1, $2)", DB_I(id), DB_T(client)));
//
//   struct db_rows rows;
//   TRY(db_query(db, &rows, "SELECT name, size FROM package WHERE id = $1", DB_D(&id)));
//   while (db_next(&rows)) use(db_text(&rows, 0), db_int(&rows, 1));
//   TRY(db_end(&rows));
//
// A transaction in which a statement failed cannot be committed: the whole turn fails, and the core
// loads again from what is stored. One connection, one writer, and one thread that calls.
//
// A commit is on the disk when db_commit returns. A loop that must not wait for the disk calls
// db_pipeline: then db_flush_begin .. db_flush_end make all that was run before stay, and a commit
// is only written (a kill of the process takes nothing back, a power cut may). What was run is a
// group then; where the engine has a redo log (redo.h), the flush is that of the log, and the commit
// may follow later, of several groups: reads see them meanwhile, and what fails takes nothing of them
// back (db_settle). So a statement that writes must do the same when it is run again on the same rows: no
// clock and no chance in its text, nothing that counts on the order of rows that it does not name.
//
// What each heartbeat writes is not even run at once, there (db_run_later): the log has it, so it may
// be told; the engine runs it when it is read, or when something else is run, or on a thread of its
// own, many at a time, with the commit. Order and groups stay as they were said.
#ifndef HELIO_SERVER_DB_H
#define HELIO_SERVER_DB_H

#include "proto/base/mem.h"

enum db_type {
	DB_NULL,
	DB_INT,
	DB_TEXT,
	DB_BLOB,
	DB_REAL
};

struct db_value {
	enum db_type type;
	int64_t i;
	double r;
	struct bytes b; // text or blob, borrowed until the statement has run
};

#define DB_I(x) ((struct db_value){.type = DB_INT, .i = (int64_t)(x)})
#define DB_R(x) ((struct db_value){.type = DB_REAL, .r = (x)})
#define DB_N() ((struct db_value){.type = DB_NULL})
#define DB_T(s) db_value_text(s)         // NULL counts as ""
#define DB_B(bytes) db_value_blob(bytes) // struct bytes
#define DB_D(digest)                                                                               \
	db_value_blob(bytes_of((digest)->b, sizeof((digest)->b))) // digest, id16, key32

struct db_value db_value_text(const char *s);
struct db_value db_value_blob(struct bytes b);

struct db;
struct db_stmt;

// On another thread: a flush is over.
typedef void (*db_tell_fn)(void *ctx);

enum db_hand {
	DB_HANDED,
	DB_KEPT, // there was a commit just now: more will come
	DB_FEW   // not worth a thread
};

struct db_rows {
	struct db *db;
	struct db_stmt *stmt;
	enum err failed;
};

// What an engine fills in. Every function is required; of those for a pipeline an engine that has
// none gives no `pipeline`, and the others are never called.
struct db_engine {
	const char *name;
	bool shared; // several programs may write: rows are locked where it matters
	enum err (*begin)(struct db *db);
	enum err (*commit)(struct db *db);
	void (*rollback)(struct db *db);
	enum err (*prepare)(struct db *db, const char *sql, struct db_stmt **out);
	enum err (*bind)(struct db_stmt *s, int position, const struct db_value *v); // 1-based
	enum err (*step)(struct db_stmt *s, bool *row);
	void (*reset)(struct db_stmt *s);
	int64_t (*column_int)(struct db_stmt *s, int column); // 0-based
	double (*column_real)(struct db_stmt *s, int column);
	struct bytes (*column_bytes)(struct db_stmt *s, int column);
	enum err (*exec)(struct db *db, const char *sql); // several statements
	enum err (*backup)(struct db *db, const char *path);
	enum err (*pipeline)(struct db *db, db_tell_fn tell, void *ctx);
	void (*pipeline_end)(struct db *db); // what is under way ends first
	void (*flush_begin)(struct db *db);
	bool (*flush_is_over)(struct db *db);
	enum err (*flush_end)(struct db *db); // waits
	enum err (*flush_whole)(
		struct db *db); // after one that failed: what was to be on the disk is written anew
	// Of a redo log; all NULL where there is none. note: after each write that succeeded. seal: what
	// was noted is a group; false: the log cannot take it, a flush needs the commit. redo: groups
	// that are on the disk and were not committed are run again, and committed.
	void (*note)(struct db *db, const char *sql, const struct db_value *values, size_t count);
	bool (*seal)(struct db *db);
	enum err (*redo)(struct db *db);
	// Of writes that may wait; all NULL where they cannot. later: copied, and noted; false: not
	// taken. later_run: in the open transaction, and forgotten. later_drop: forgotten, with what is
	// noted of the open group. later_hand: all of them, of groups that ended, may be run and
	// committed beside the loop, which then leaves the engine alone until later_end said how it went.
	bool (*later)(struct db *db, const char *sql, const struct db_value *values, size_t count);
	enum err (*later_run)(struct db *db);
	void (*later_drop)(struct db *db);
	enum db_hand (*later_hand)(struct db *db);
	bool (*later_is_over)(struct db *db);
	enum err (*later_end)(struct db *db); // waits
	void (*close)(struct db *db);
};

// The first of each transaction that writes; its error is the turn's.
typedef enum err (*db_guard_fn)(void *ctx, struct db *db);

struct db {
	const struct db_engine *engine;
	db_guard_fn guard;
	void *guard_ctx;
	bool in_transaction, failed;
	enum err why; // of the first statement that failed, and its sentence
	char sentence[256];
	uint64_t commits, statements;
	bool pipelined, flushing, flush_failed;
	bool open;   // something was run after the last group ended
	bool sealed; // the transaction holds groups that ended
	bool behind; // it was rolled back, and the log may hold what the store does not
	bool waiting; // writes wait to be run
	bool handed;  // others are run beside the loop
	bool asked;   // something was read, or run at once, after the last commit
	uint64_t groups, flushing_to, durable; // how many; numbers of groups
};

// Opens or creates FILE (0600, WAL, synchronous=FULL, trusted_schema=OFF, cell_size_check,
// exclusive lock) and checks it (quick_check, up to 32 MiB). ":memory:" for tests. Errors:
// ERR_EXISTS (another process has it), ERR_CORRUPT, ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO.
enum err db_sqlite_open(const char *file, struct db **out) MUST_CHECK;
// url: as libpq reads it (postgresql://... or "host=... dbname=..."); tables stand in the first
// schema of its search path. Each turn is one transaction and its commit is on the disk when it
// returns (no pipeline). A lost connection fails the turn; the first statement after it connects
// anew. shared: beside others that say so, too; a program that does not has it for itself. Errors:
// ERR_CLOSED (no connection), ERR_EXISTS (another server has it), ERR_UNSUPPORTED
// (built without libpq).
enum err db_postgres_open(const char *url, bool shared, struct db **out) MUST_CHECK;
void db_close(struct db *db);

// Creates the tables or brings them to the present version, in one transaction.
// Errors: ERR_VERSION when the store was made by a newer program.
enum err schema_migrate(struct db *db) MUST_CHECK;

#define db_run(db, sql, ...)                                                                       \
	db_run_values(db, sql, (const struct db_value[]){__VA_ARGS__},                             \
		sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))
#define db_query(db, rows, sql, ...)                                                               \
	db_query_values(db, rows, sql, (const struct db_value[]){__VA_ARGS__},                     \
		sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))

// A write: begins the transaction when none is open. With no parameters: db_run_values(db, sql,
// NULL, 0).
enum err db_run_values(
	struct db *db, const char *sql, const struct db_value *values, size_t count) MUST_CHECK;
#define db_run_later(db, sql, ...)                                                                 \
	db_run_later_values(db, sql, (const struct db_value[]){__VA_ARGS__},                       \
		sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value))
// A write of rows that are seldom read. It must not fail but for what the disk does: its error may
// come with the next call, or with a commit, and after somebody was told.
enum err db_run_later_values(
	struct db *db, const char *sql, const struct db_value *values, size_t count) MUST_CHECK;
// A read; one at a time per literal. Always followed by db_end, also when left early.
enum err db_query_values(struct db *db, struct db_rows *rows, const char *sql,
	const struct db_value *values, size_t count) MUST_CHECK;
bool db_next(struct db_rows *rows);
enum err db_end(struct db_rows *rows) MUST_CHECK;
// Ends a reading; the first error counts.
static inline enum err rows_close(struct db_rows *rows, enum err e)
{
	enum err end = db_end(rows);

	return e != ERR_OK ? e : end;
}

int64_t db_int(struct db_rows *rows, int column);
double db_real(struct db_rows *rows, int column);
struct bytes db_blob(struct db_rows *rows, int column); // borrowed until the next step
const char *db_text(struct db_rows *rows, int column);  // never NULL; borrowed until the next step
// Exactly size bytes into out; zeroes them and returns false otherwise (NULL, other size).
bool db_fixed(struct db_rows *rows, int column, void *out, size_t size);

// Milliseconds of Unix time in a statement, by the clock of the database.
#define DB_NOW_MS "CAST((julianday('now') - 2440587.5) * 86400000 AS BIGINT)"

// From now on, until another is given; NULL: none.
void db_guard(struct db *db, db_guard_fn fn, void *ctx);
// The turn cannot be committed any more, because of e and the sentence at hand.
void db_fail(struct db *db, enum err e);
// Nothing open: success without a word to the disk. Of writes that wait the engine may take its own
// time, and may leave them to the next commit (db_is_waiting).
enum err db_commit(struct db *db) MUST_CHECK;
// All of it, before it returns.
enum err db_commit_all(struct db *db) MUST_CHECK;
bool db_is_waiting(const struct db *db);
void db_rollback(struct db *db);
bool db_is_dirty(const struct db *db); // something was run that is not of a group yet
// From now on commits do not wait. Errors: ERR_UNSUPPORTED (a database in memory), ERR_IO.
enum err db_pipeline(struct db *db, db_tell_fn tell, void *ctx) MUST_CHECK;
// What is under way ends first; nobody is told any more, and a commit waits for the disk again.
void db_pipeline_end(struct db *db);
// Something that was run or committed may not be on the disk yet.
bool db_is_pending(const struct db *db);
bool db_is_flushing(const struct db *db);
// Of all that was run until now; nothing when there is nothing, or one is under way. It may be over
// when it returns, and it may have needed the commit; if not, that comes later. Errors: db_commit's.
enum err db_flush_begin(struct db *db) MUST_CHECK;
bool db_flush_is_over(struct db *db);
// Waits where it is not over. An error: what was run since the last good one may be lost by a power
// cut; nobody may hear of it until db_settle succeeded.
enum err db_flush_end(struct db *db) MUST_CHECK;
// Between groups. Returns when all that was committed is on the disk and all that was flushed is
// committed; also the way out of a failed flush or commit.
enum err db_settle(struct db *db) MUST_CHECK;
// A copy without the session keys, made while the server runs. It says of itself that it is one:
// meta number "is-backup". ERR_EXISTS when path exists.
enum err db_backup(struct db *db, const char *path) MUST_CHECK;

#endif
