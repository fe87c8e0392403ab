// What every engine has in common: values, the transaction of a turn, reading rows.
#include "server/db/db.h"
#include "proto/base/text.h"
#include "server/db/db_engine.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct db_value db_value_text(const char *s)
{
	const char *text = s ? s : "";

	return (struct db_value){.type = DB_TEXT, .b = bytes_of(text, strlen(text))};
}

struct db_value db_value_blob(struct bytes b)
{
	return (struct db_value){.type = DB_BLOB, .b = b};
}

enum err statement_check(const char *sql)
{
	bool quoted = false;
	long highest = 0;

	for (const char *s = sql; *s; s++) {
		long n = *s == '$' && !quoted ? strtol(s + 1, NULL, 10) : 0;

		quoted = quoted != (*s == '\'');
		if (n > highest + 1)
			return err_set(ERR_FORMAT, "$1, $2 ... stand out of order in %.200s", sql);
		highest = n > highest ? n : highest;
	}
	return ERR_OK;
}

enum err statement_find(
	struct statement *cache, size_t size, const char *sql, struct statement **out)
{
	size_t at = statement_place(sql);
	struct statement *unused = NULL;

	for (size_t i = 0; i < STATEMENT_CACHE; i++, at++) {
		*out = (struct statement *)(void *)((char *)cache + at % STATEMENT_CACHE * size);
		if (!(*out)->sql || (*out)->sql == sql)
			return ERR_OK;
		if (!unused && !(*out)->used)
			unused = *out;
	}
	*out = unused;
	return unused ? ERR_OK
		      : err_set(ERR_FULL, "%d statements are used at a time", STATEMENT_CACHE);
}

static enum err stmt_start(struct db *db, const char *sql, const struct db_value *values,
	size_t count, struct db_stmt **out)
{
	enum err e = db->engine->prepare(db, sql, out);

	if (e != ERR_OK)
		return e;
	for (size_t i = 0; e == ERR_OK && i < count; i++)
		e = db->engine->bind(*out, (int)i + 1, &values[i]);
	if (e != ERR_OK)
		db->engine->reset(*out);
	else
		db->statements++;
	return e;
}

// The engine is the caller's again. What it could not run may have been told: it is run from the
// log.
static enum err handed_end(struct db *db)
{
	if (!db->handed)
		return ERR_OK;
	db->handed = false;
	enum err e = db->engine->later_end(db);
	if (e != ERR_OK) {
		db->behind = true;
		db_fail(db, e);
	}
	return e;
}

static enum err transaction_begin(struct db *db)
{
	if (db->in_transaction)
		return ERR_OK;
	TRY(db->engine->begin(db));
	db->in_transaction = true;
	return db->guard ? db->guard(db->guard_ctx, db) : ERR_OK;
}

// Before anything is run or read.
static enum err catch_up(struct db *db)
{
	TRY(handed_end(db));
	if (!db->waiting)
		return ERR_OK;
	enum err e = transaction_begin(db);
	if (e == ERR_OK)
		e = db->engine->later_run(db);
	if (e != ERR_OK)
		db_fail(db, e);
	else
		db->waiting = false;
	return e;
}

static enum err write_run(
	struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	struct db_stmt *stmt = NULL;
	bool row = true;

	db->asked = true;
	TRY(catch_up(db));
	TRY(transaction_begin(db));
	TRY(stmt_start(db, sql, values, count, &stmt));
	enum err e = ERR_OK;
	while (e == ERR_OK && row)
		e = db->engine->step(stmt, &row);
	db->engine->reset(stmt);
	db->open = true;
	if (e == ERR_OK && db->pipelined && db->engine->note)
		db->engine->note(db, sql, values, count);
	return e;
}

void db_guard(struct db *db, db_guard_fn fn, void *ctx)
{
	db->guard = fn;
	db->guard_ctx = ctx;
}

void db_fail(struct db *db, enum err e)
{
	if (db->failed)
		return;
	db->failed = true;
	db->why = e;
	text_format(db->sentence, sizeof(db->sentence), "%s", err_text());
}

enum err db_run_values(struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	if (db->failed)
		return err_set(ERR_NOT_NOW, "the transaction has failed already");
	if (db->behind) // another group would hide those from the log
		return err_set(ERR_NOT_NOW, "the store has not settled after one that failed");
	enum err e = write_run(db, sql, values, count);
	if (e != ERR_OK)
		db_fail(db, e);
	return e;
}

// Of a turn that has a guard, or runs in a transaction already, nothing waits.
enum err db_run_later_values(
	struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	if (db->failed || db->behind || db->in_transaction || db->guard || !db->pipelined ||
		!db->engine->later || !db->engine->later(db, sql, values, count))
		return db_run_values(db, sql, values, count);
	db->open = db->waiting = true;
	return ERR_OK;
}

enum err db_query_values(struct db *db, struct db_rows *rows, const char *sql,
	const struct db_value *values, size_t count)
{
	*rows = (struct db_rows){.db = db};
	db->asked = true;
	enum err e = catch_up(db);
	if (e == ERR_OK)
		e = stmt_start(db, sql, values, count, &rows->stmt);
	if (e != ERR_OK)
		rows->stmt = NULL;
	return e;
}

bool db_next(struct db_rows *rows)
{
	bool row = false;

	if (!rows->stmt || rows->failed != ERR_OK)
		return false;
	rows->failed = rows->db->engine->step(rows->stmt, &row);
	if (rows->failed != ERR_OK && rows->db->in_transaction)
		db_fail(rows->db, rows->failed); // an engine may have ended it
	return rows->failed == ERR_OK && row;
}

enum err db_end(struct db_rows *rows)
{
	if (rows->stmt)
		rows->db->engine->reset(rows->stmt);
	rows->stmt = NULL;
	return rows->failed;
}

int64_t db_int(struct db_rows *rows, int column)
{
	return rows->db->engine->column_int(rows->stmt, column);
}

double db_real(struct db_rows *rows, int column)
{
	return rows->db->engine->column_real(rows->stmt, column);
}

struct bytes db_blob(struct db_rows *rows, int column)
{
	return rows->db->engine->column_bytes(rows->stmt, column);
}

const char *db_text(struct db_rows *rows, int column)
{
	struct bytes b = rows->db->engine->column_bytes(rows->stmt, column);

	return b.data ? (const char *)b.data : "";
}

bool db_fixed(struct db_rows *rows, int column, void *out, size_t size)
{
	struct bytes b = db_blob(rows, column);

	memset(out, 0, size);
	if (b.size != size)
		return false;
	memcpy(out, b.data, size);
	return true;
}

// What was run is a group, where something was. True: the log has it.
static bool group_end(struct db *db)
{
	if (!db->open)
		return true;
	db->open = false;
	db->groups++;
	db->sealed = db->pipelined;
	return db->pipelined && db->engine->seal && db->engine->seal(db);
}

static enum err commit_failed(struct db *db)
{
	db_rollback(db);
	return err_set(db->why, "%s", db->sentence);
}

enum err db_commit_all(struct db *db)
{
	db->asked = false;
	if (db->failed || catch_up(db) != ERR_OK)
		return commit_failed(db);
	if (!db->in_transaction)
		return ERR_OK;
	group_end(db);
	enum err e = db->engine->commit(db);
	if (e != ERR_OK) {
		db_rollback(db);
		return e;
	}
	db->in_transaction = db->sealed = false;
	db->commits++;
	return ERR_OK;
}

// Where it is asked all the time, too, it would wait for what was handed over.
enum err db_commit(struct db *db)
{
	bool asked = db->asked, busy = db->handed && !db->engine->later_is_over(db);

	if (busy && !db->failed && !db->waiting && !db->in_transaction)
		return ERR_OK; // there is nothing, and how that went is found out later
	if (db->failed || !db->waiting || db->in_transaction || asked || !group_end(db))
		return db_commit_all(db);
	if (busy)
		return ERR_OK;
	if (handed_end(db) != ERR_OK)
		return commit_failed(db);
	enum db_hand hand = db->engine->later_hand(db);
	if (hand == DB_FEW)
		return db_commit_all(db);
	if (hand == DB_KEPT)
		return ERR_OK;
	db->handed = true;
	db->waiting = db->sealed = false;
	db->commits++;
	return ERR_OK;
}

bool db_is_waiting(const struct db *db)
{
	return db->waiting;
}

void db_rollback(struct db *db)
{
	(void)handed_end(db); // that it failed is known: behind
	if (db->waiting)
		db->engine->later_drop(db);
	db->waiting = false;
	if (db->in_transaction)
		db->engine->rollback(db);
	db->behind = db->behind || db->sealed;
	db->in_transaction = db->open = db->sealed = false;
	db->failed = false;
}

bool db_is_dirty(const struct db *db)
{
	return db->open || db->failed;
}

// ---- the pipeline

enum err db_pipeline(struct db *db, db_tell_fn tell, void *ctx)
{
	if (!db->engine->pipeline)
		return err_set(ERR_UNSUPPORTED, "a store of %s has no pipeline", db->engine->name);
	TRY(db->engine->pipeline(db, tell, ctx));
	db->durable = db->groups;
	db->pipelined = true;
	return ERR_OK;
}

void db_pipeline_end(struct db *db)
{
	if (!db->pipelined)
		return;
	if (db_commit_all(db) != ERR_OK)
		db_rollback(db); // what it could not take is in the log
	db->engine->pipeline_end(db);
	db->pipelined = db->flushing = false;
}

bool db_is_pending(const struct db *db)
{
	return db->pipelined && (db->open || db->durable < db->groups);
}

bool db_is_flushing(const struct db *db)
{
	return db->flushing;
}

enum err db_flush_begin(struct db *db)
{
	if (db->flushing || !db_is_pending(db))
		return ERR_OK;
	if (db->failed || !group_end(db))
		TRY(db_commit_all(db));
	db->flushing = true;
	db->flushing_to = db->groups;
	db->engine->flush_begin(db);
	return ERR_OK;
}

bool db_flush_is_over(struct db *db)
{
	return db->flushing && db->engine->flush_is_over(db);
}

// After one that failed, one that succeeds says nothing of what the first one lost: the kernel
// counts those pages as clean ("PostgreSQL's fsync() surprise", LWN 2018).
enum err db_flush_end(struct db *db)
{
	enum err e = db->engine->flush_end(db);

	db->flushing = false;
	if (e == ERR_OK && !db->flush_failed)
		db->durable = db->flushing_to;
	else
		db->flush_failed = true;
	return e;
}

enum err db_settle(struct db *db)
{
	if (handed_end(db) != ERR_OK)
		db_rollback(db);
	TRY(db->flushing ? db_flush_end(db) : ERR_OK);
	// Also after a flush that failed: what was flushed before it was told, and may rest in the
	// log.
	if (db->behind && db->engine->redo)
		TRY(db->engine->redo(db));
	db->behind = false;
	if (!db->flush_failed && db_is_pending(db)) {
		TRY(db_flush_begin(db));
		TRY(db_flush_end(db));
	}
	if (db->flush_failed)
		TRY(db->engine->flush_whole(db));
	db->flush_failed = false;
	db->durable = db->groups;
	return ERR_OK;
}

enum err db_backup(struct db *db, const char *path)
{
	if (db_is_dirty(db))
		return err_set(ERR_NOT_NOW, "a backup begins between turns");
	TRY(db_commit_all(db));
	return db->engine->backup(db, path);
}

void db_close(struct db *db)
{
	if (!db)
		return;
	db_rollback(db);
	db_pipeline_end(db);
	db->engine->close(db);
}
