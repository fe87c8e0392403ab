// The redo log of a store: what each turn ran, as statements and values, on the disk within one
// write. A store of pages needs several of them for a row and its indexes; a log of what was run
// needs a few hundred bytes, so whoever waits for the disk waits for those, and the store follows:
//
//   db_run ─► redo_note ─► open group ─► redo_seal: group n ─► redo_begin / redo_write: a batch on
//                                                             the disk, what it says may be told
//   after a crash: the store as it is, which knows its last group ─► redo_read: those that follow
//
// The file has a fixed size and its blocks are written before it is used, so a write within it
// changes nothing of the file system's own. Two areas take turns: one is written while the store
// brings what the other one holds to the disk by itself (redo_retire). A group that is larger than
// an area, or comes before that, is not for the log: the caller syncs the store.
//
// Batches are whole blocks, complete in themselves (they bring the text of their statements), and
// carry a digest over all of it and the number of the log; so a torn batch, one of an earlier lap
// and one of another log are no batch. Redo by statements is how replicas of MySQL (statement-based
// binary log) and VoltDB's command log do it; it demands that the same statements give the same
// rows: no clock and no chance in their text (db.h).
//
// The numbers in the file are of the byte order of the machine: it is never carried to another.
#ifndef HELIO_SERVER_DB_REDO_H
#define HELIO_SERVER_DB_REDO_H

#include "server/db/db.h"

#define REDO_AREA_BYTES (4u << 20)
#define REDO_FILE_BYTES (4096u + 2 * REDO_AREA_BYTES)

struct redo;

// Makes the file, or takes the one that is there, as a new log `id`: what it held is gone. Errors:
// ERR_NO_SPACE (the disk is small or full), ERR_IO, ERR_MEMORY.
enum err redo_open(const char *file, uint64_t id, struct redo **out) MUST_CHECK;
void redo_close(struct redo *r);

// ---- the thread that runs the statements

// Into the open group. sql is a literal: its address stands for it until the next batch begins.
void redo_note(struct redo *r, const char *sql, const struct db_value *values, size_t count);
// The open group did not come to be.
void redo_drop(struct redo *r);
bool redo_is_open(const struct redo *r);
// The open group ends and has its number, one above the last. False: it is not in the log and the
// sealed ones before it are not any more either, all that has not begun; the store must be synced
// instead.
bool redo_seal(struct redo *r, uint64_t number);
// Sealed groups wait for a batch.
bool redo_is_waiting(const struct redo *r);
// They do not: the store was synced.
void redo_forget(struct redo *r);
// The sealed groups are the next batch. Until redo_write returned no other begins.
void redo_begin(struct redo *r);
// The store itself has all groups up to this number on the disk.
void redo_retire(struct redo *r, uint64_t number);
// The last group of the area before, which must be retired until the present area is full; 0: none.
uint64_t redo_to_retire(const struct redo *r);

// ---- any one thread

// The batch is on the disk: 0, or an errno.
int redo_write(struct redo *r);
size_t redo_write_size(const struct redo *r);

// ---- after a crash

// values are borrowed. An error ends the reading and is its result.
typedef enum err (*redo_fn)(
	void *ctx, uint64_t group, const char *sql, const struct db_value *values, size_t count);

// All that the file holds of log `id`, in order. No file, another log: nothing. Errors: those of
// fn, ERR_IO, ERR_MEMORY.
enum err redo_read(const char *file, uint64_t id, redo_fn fn, void *ctx) MUST_CHECK;

#endif
