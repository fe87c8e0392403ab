// Three threads beside the loop that writes (db_sqlite.c), so that it never waits for the disk:
//
//   flusher        writes the redo log, or fdatasync of the write-ahead log: what was committed
//                  before it began is on the disk when it ends
//   carrier        runs what carries pages from the log back into the database, with a connection
//                  of its own (SQLITE_CHECKPOINT_PASSIVE: it stops nobody)
//   applier        runs what waits in the loop's connection, which the loop leaves to it meanwhile
//                  (db_sqlite_later.c)
//
// The first two hold nothing of the loop's connection. SQLite, "Write-Ahead Logging": with
// synchronous=NORMAL a commit is not synced, the log is synced before a checkpoint, the database
// before the log is written from its beginning again; so whatever the flusher never reached is lost
// by a power cut as a whole suffix of commits, and nothing else is.
#ifndef HELIO_SERVER_DB_WAL_FLUSH_H
#define HELIO_SERVER_DB_WAL_FLUSH_H

#include "server/db/db.h"

struct wal_flush;

struct wal_flush_ports {
	db_tell_fn tell; // at the end of each flush, on the flusher's thread
	void *tell_ctx;
	void (*carry)(void *ctx); // on the carrier's
	void (*apply)(void *ctx); // on the applier's
	void *ctx;
};

// On the flusher's thread, with the ports' ctx: 0, or an errno.
typedef int (*wal_flush_fn)(void *ctx);

// file: the database; the log lies beside it. Errors: ERR_IO, ERR_MEMORY.
enum err wal_flush_new(
	const char *file, const struct wal_flush_ports *ports, struct wal_flush **out) MUST_CHECK;
// Waits for what is under way. Nobody is told after it.
void wal_flush_free(struct wal_flush *w);

// One at a time. fn NULL: the write-ahead log is synced.
void wal_flush_begin(struct wal_flush *w, wal_flush_fn fn);
bool wal_flush_is_over(struct wal_flush *w);
// Waits where it is not over. The verdict of the flush that ended.
enum err wal_flush_end(struct wal_flush *w) MUST_CHECK;

// One of the two has work; nothing when it is at it.
void wal_carry_ask(struct wal_flush *w);
bool wal_carry_is_idle(struct wal_flush *w);
void wal_carry_wait(struct wal_flush *w); // until it is
void wal_apply_ask(struct wal_flush *w);
bool wal_apply_is_idle(struct wal_flush *w);
void wal_apply_wait(struct wal_flush *w);

#endif
