// Writes that are in the redo log and need not be in the store yet: run by the loop when it reads
// or runs something else, or by the applier, many at a time:
//
//   db_run_later ─► later, redo log ─┬─► later_run: in the loop's transaction
//                                    └─► later_hand ─► applying ─► a transaction of the applier's
//
// While the applier is at it the connection, its statements and its transaction are its own. The
// commit says which group is its last one, as every commit does: what fails, or is cut, is run
// again from the log.
#include "proto/base/text.h"
#include "server/db/db_sqlite.h"

#include <stdio.h>
#include <time.h>

#define LATER_BYTES_MAX (1u << 20) // then they are run at once
#define LATER_HAND_BYTES 4096      // fewer are run sooner than a thread is woken
// The more a commit holds, the fewer pages are written again and again, to a disk that the redo log
// waits for; but who reads waits for all that is kept.
#define LATER_KEEP_MS 20
#define LATER_KEEP_BYTES (LATER_BYTES_MAX / 2)

void sqlite_later_init(struct sqlite_db *s)
{
	later_init(&s->later, LATER_BYTES_MAX);
	later_init(&s->applying, LATER_BYTES_MAX);
}

void sqlite_later_fini(struct sqlite_db *s)
{
	later_fini(&s->later);
	later_fini(&s->applying);
}

bool sqlite_later(struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	struct sqlite_db *s = sqlite_of(db);

	if (!s->redo || s->log_needed || !later_add(&s->later, sql, values, count))
		return false;
	redo_note(s->redo, sql, values, count);
	return true;
}

static enum err statement_run(
	void *ctx, const char *sql, const struct db_value *values, size_t count)
{
	return sqlite_run(ctx, sql, values, count);
}

enum err sqlite_later_run(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);
	enum err e = later_run(&s->later, statement_run, db);

	later_clear(&s->later);
	return e;
}

void sqlite_later_drop(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	later_clear(&s->later);
	if (s->redo)
		redo_drop(s->redo);
}

// ---------------------------------------------------------------- the applier

static enum err applied(struct sqlite_db *s)
{
	TRY(s->base.engine->begin(&s->base));
	TRY(later_run(&s->applying, statement_run, &s->base));
	TRY(meta_put(&s->base, REDO_SEQ, s->apply_to));
	return sqlite_exec(&s->base, "COMMIT");
}

void sqlite_apply(void *ctx)
{
	struct sqlite_db *s = ctx;

	s->apply_verdict = applied(s);
	if (s->apply_verdict == ERR_OK)
		return;
	text_format(s->apply_sentence, sizeof(s->apply_sentence), "%s", err_text());
	if (!sqlite3_get_autocommit(s->handle))
		(void)sqlite3_exec(s->handle, "ROLLBACK", NULL, NULL, NULL);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

enum db_hand sqlite_later_hand(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);
	int64_t now = now_ms();

	if (now - s->hand_ms < LATER_KEEP_MS && later_bytes(&s->later) < LATER_KEEP_BYTES)
		return DB_KEPT;
	s->hand_ms = now;
	if (later_bytes(&s->later) < LATER_HAND_BYTES)
		return DB_FEW;
	later_swap(&s->later, &s->applying);
	s->apply_to = s->group;
	wal_apply_ask(s->flush);
	return DB_HANDED;
}

bool sqlite_later_is_over(struct db *db)
{
	return wal_apply_is_idle(sqlite_of(db)->flush);
}

enum err sqlite_later_end(struct db *db)
{
	struct sqlite_db *s = sqlite_of(db);

	wal_apply_wait(s->flush);
	later_clear(&s->applying);
	if (s->apply_verdict != ERR_OK)
		return err_set(s->apply_verdict, "%s", s->apply_sentence);
	s->committed = s->apply_to;
	return ERR_OK;
}
