// SQLite behind db.h: its file, its log, its pipeline, its backup. What every engine promises
// stands in test_db_contract.c.
#include "store_fixture.h"
#include <sys/eventfd.h>
#include <sys/stat.h>

static int setup(void **state)
{
	return fixture_make(state, db_sqlite_open);
}

static void the_file_is_private(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void F19_a_damaged_store_is_refused(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2000; i++)
		assert_int_equal(db_run(f->db, "INSERT INTO value VALUES ('q', $1, 'v', 0, $2)",
					 DB_I(i), DB_I(i)),
			ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(f->db->engine->exec(f->db, "PRAGMA wal_checkpoint(TRUNCATE)"), ERR_OK);
	db_close(f->db);
	f->db = NULL;
	FILE *file = fopen(f->file, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	long size = ftell(file);
	for (long at = 8192; at < size; at += 4096) {
		assert_int_equal(fseek(file, at, SEEK_SET), 0);
		assert_int_equal(fwrite("\xde\xad\xbe\xef\xde\xad\xbe\xef", 1, 8, file), 8);
	}
	assert_int_equal(fclose(file), 0);
	assert_int_equal(db_sqlite_open(f->file, &f->db), ERR_CORRUPT);
	assert_null(f->db);
}

static void told(void *ctx)
{
	uint64_t one = 1;

	assert_int_equal(write(*(int *)ctx, &one, sizeof(one)), sizeof(one));
}

static void flush(struct fixture *f)
{
	assert_int_equal(db_flush_begin(f->db), ERR_OK);
	assert_int_equal(db_flush_end(f->db), ERR_OK);
	assert_false(db_is_pending(f->db));
}

static void a_pipelined_group_is_on_the_disk_before_its_commit(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	assert_false(db_is_pending(f->db));
	assert_int_equal(db_flush_begin(f->db), ERR_OK); // of nothing
	assert_false(db_is_flushing(f->db));
	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_true(db_is_pending(f->db));
	uint64_t commits = f->db->commits;
	flush(f);
	assert_true(f->db->commits == commits && !db_is_dirty(f->db));
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_false(db_is_pending(f->db));
	assert_int_equal(fixture_number(f, "a"), 1);
	// A commit that nobody flushed is written, and the next flush takes it along.
	assert_int_equal(rows_meta_put_number(f->db, "a", 2), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_true(db_is_pending(f->db));
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_false(db_is_pending(f->db));
	db_pipeline_end(f->db);
	close(fd);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "a"), 2);
}

// A group larger than the log needs the commit first, is flushed by the thread, and that tells.
static void a_group_that_the_redo_log_cannot_take_is_flushed_with_the_store(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t count = 0;
	static char filling[100000];

	memset(filling, 'x', sizeof(filling) - 1);
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	for (int i = 0; i < 30; i++)
		assert_int_equal(db_run(f->db, "INSERT INTO value VALUES ('q', $1, $2, 0, 0)",
					 DB_I(i), DB_T(filling)),
			ERR_OK);
	uint64_t commits = f->db->commits;
	assert_int_equal(db_flush_begin(f->db), ERR_OK);
	assert_true(f->db->commits == commits + 1);
	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK); // while it is written
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_true(db_flush_is_over(f->db));
	assert_int_equal(db_flush_end(f->db), ERR_OK);
	assert_true(db_is_pending(f->db)); // the second
	flush(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	db_pipeline_end(f->db);
	close(fd);
}

// ---- what the disk holds after a crash

// The store as it was at some time; its redo log as it is now.
static void store_keep(struct fixture *f, const char *copy)
{
	fixture_copy(f, copy, "");
	fixture_copy(f, copy, "-wal");
}

static int64_t number_in(struct fixture *f, const char *copy, const char *name)
{
	struct db *db = NULL;
	int64_t n = 0;

	fixture_copy(f, copy, "-redo");
	assert_int_equal(db_sqlite_open(copy, &db), ERR_OK);
	assert_int_equal(rows_meta_number(db, name, &n), ERR_OK);
	db_close(db);
	// Once more: what was run again is not run a second time.
	assert_int_equal(db_sqlite_open(copy, &db), ERR_OK);
	int64_t again = 0;
	assert_int_equal(rows_meta_number(db, name, &again), ERR_OK);
	assert_int_equal(n, again);
	db_close(db);
	return n;
}

static void add_one(struct fixture *f)
{
	assert_int_equal(db_run(f->db,
				 "INSERT INTO meta (key, number) VALUES ($1, 1) ON CONFLICT (key) "
				 "DO UPDATE SET number = meta.number + 1",
				 DB_T("sum")),
		ERR_OK);
}

static void X_4_a_power_cut_takes_back_nothing_that_was_flushed(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	char copy[160], bare[160], fresh[160];

	(void)snprintf(copy, sizeof(copy), "%s/cut.db", f->folder);
	(void)snprintf(bare, sizeof(bare), "%s/cut-bare.db", f->folder);
	(void)snprintf(fresh, sizeof(fresh), "%s/cut-fresh.db", f->folder);
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	store_keep(f, copy); // SQLite's own files were not synced since
	store_keep(f, bare);
	for (int i = 1; i <= 500; i++) {
		add_one(f);
		if (i % 7 == 0)
			add_one(f); // two in one group
		flush(f);
		if (i == 250)
			store_keep(f, fresh); // not committed yet
		assert_int_equal(db_commit(f->db), ERR_OK);
	}
	add_one(f); // nobody was told
	assert_int_equal(number_in(f, copy, "sum"), 571);
	assert_int_equal(number_in(f, fresh, "sum"), 571);
	// Control: without the log the rows are those of before.
	struct db *db = NULL;
	int64_t n = 0;
	assert_int_equal(db_sqlite_open(bare, &db), ERR_OK);
	assert_int_equal(rows_meta_number(db, "sum", &n), ERR_OK);
	assert_int_equal(n, 0);
	db_close(db);
	db_rollback(f->db);
	close(fd);
}

// Both areas are used again and again; a copy of the store is never older than the last two hold.
static void areas_take_turns_when_the_store_has_what_they_hold(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	char copy[160];
	static char filling[40000];

	(void)snprintf(copy, sizeof(copy), "%s/cut.db", f->folder);
	memset(filling, 'x', sizeof(filling) - 1);
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	for (int i = 1; i <= 600; i++) { // 24 MB: three laps of two areas
		add_one(f);
		assert_int_equal(
			db_run(f->db, "INSERT OR REPLACE INTO value VALUES ('q', $1, $2, 0, 0)",
				DB_I(i % 50), DB_T(filling)),
			ERR_OK);
		flush(f);
		assert_int_equal(db_commit(f->db), ERR_OK);
	}
	store_keep(f, copy);
	add_one(f);
	flush(f);
	assert_int_equal(number_in(f, copy, "sum"), 601);
	assert_int_equal(db_commit(f->db), ERR_OK);
	close(fd);
}

static enum err no_commit(struct db *db)
{
	(void)db;
	return err_set(ERR_NO_SPACE, "the disk is full");
}

// Somebody was told: what the store could not take is in the log, and the store has it afterwards.
static void X_4_what_was_flushed_and_not_committed_is_not_lost(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	const struct db_engine *engine = f->db->engine;
	struct db_engine full = *engine;

	full.commit = no_commit;
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	add_one(f);
	flush(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	add_one(f);
	flush(f);
	f->db->engine = &full;
	assert_int_equal(db_commit(f->db), ERR_NO_SPACE);
	f->db->engine = engine;
	assert_int_equal(fixture_number(f, "sum"), 1);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 2);
	add_one(f); // a group that was never flushed
	f->db->engine = &full;
	assert_int_equal(db_commit(f->db), ERR_NO_SPACE);
	f->db->engine = engine;
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 2);
	add_one(f);
	flush(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	db_pipeline_end(f->db);
	close(fd);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), 3);
}

static const struct db_engine *whole_engine;

static enum err broken_flush_end(struct db *db)
{
	(void)whole_engine->flush_end(db);
	return err_set(ERR_IO, "the disk is broken");
}

// One group was told and waits for its commit; the flush of the next one fails.
static void X_4_a_flush_that_fails_takes_nothing_back_of_what_was_told_before(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	struct db_engine broken = *f->db->engine;

	whole_engine = f->db->engine;
	broken.flush_end = broken_flush_end;
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	add_one(f);
	flush(f);
	assert_int_equal(rows_meta_put_number(f->db, "untold", 1), ERR_OK);
	f->db->engine = &broken;
	assert_int_equal(db_flush_begin(f->db), ERR_OK);
	assert_int_equal(db_flush_end(f->db), ERR_IO);
	db_rollback(f->db);
	f->db->engine = whole_engine;
	assert_int_equal(fixture_number(f, "sum"), 0);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 1);
	add_one(f); // in the new log
	flush(f);
	db_rollback(f->db);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 2);
	db_pipeline_end(f->db);
	close(fd);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), 2);
}

// Groups that ended, were told and wait for a commit; then a statement fails.
static void X_4_what_fails_takes_nothing_back_of_groups_that_ended(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	for (int i = 0; i < 3; i++) {
		add_one(f);
		flush(f);
	}
	assert_int_equal(fixture_number(f, "sum"), 3);
	add_one(f);
	assert_int_not_equal(
		db_run_values(f->db, "INSERT INTO nothing VALUES (1)", NULL, 0), ERR_OK);
	assert_int_not_equal(db_flush_begin(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 0);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 3);
	add_one(f);
	flush(f);
	db_rollback(f->db);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 4);
	assert_int_equal(db_settle(f->db), ERR_OK);
	db_pipeline_end(f->db);
	close(fd);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), 4);
}

// What the log holds is of the time after the copy: the server notices the copy itself.
static void the_log_of_another_life_is_left_alone(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	char copy[160], path[200];

	(void)snprintf(copy, sizeof(copy), "%s/backup.db", f->folder);
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	add_one(f);
	flush(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(db_backup(f->db, copy), ERR_OK);
	for (int i = 0; i < 5; i++) {
		add_one(f);
		flush(f);
		assert_int_equal(db_commit(f->db), ERR_OK);
	}
	assert_int_equal(number_in(f, copy, "sum"), 1);
	db_pipeline_end(f->db);
	// The next life has a log of its own, in the same file.
	(void)snprintf(copy, sizeof(copy), "%s/old.db", f->folder);
	store_keep(f, copy);
	fixture_reopen(f);
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	add_one(f);
	flush(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(number_in(f, copy, "sum"), 6);
	// Damaged from its first block: no batch, no error.
	store_keep(f, copy);
	(void)snprintf(path, sizeof(path), "%s-redo", f->file);
	FILE *file = fopen(path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, 4096 + 100, SEEK_SET), 0);
	assert_int_equal(fwrite("\xff", 1, 1, file), 1);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(number_in(f, copy, "sum"), 7);
	close(fd);
}

// The log's file is as long as it ever was; more than this it never is, whatever is written, and
// however slow the thread is that carries it back.
static void a_pipelined_store_carries_its_log_back(void **state)
{
	struct fixture *f = *state;
	char log[160], filling[3000];
	struct stat st;
	int fd = eventfd(0, EFD_CLOEXEC);

	memset(filling, 'x', sizeof(filling));
	filling[sizeof(filling) - 1] = 0;
	(void)snprintf(log, sizeof(log), "%s-wal", f->file);
	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	for (int i = 0; i < 100000; i++) { // 400 MB into the log
		assert_int_equal(
			db_run(f->db, "INSERT OR REPLACE INTO value VALUES ('q', $1, $2, 0, 0)",
				DB_I(i % 500), DB_T(filling)),
			ERR_OK);
		if (i % 20 == 0)
			assert_int_equal(db_commit(f->db), ERR_OK);
	}
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(stat(log, &st), 0);
	assert_in_range(st.st_size, 4096, 220 << 20);
	close(fd);
}

static void a_store_in_memory_has_no_pipeline(void **state)
{
	struct db *db = NULL;

	(void)state;
	assert_int_equal(db_sqlite_open(":memory:", &db), ERR_OK);
	assert_int_equal(db_pipeline(db, told, NULL), ERR_UNSUPPORTED);
	assert_false(db_is_pending(db));
	db_close(db);
}

static void a_backup_holds_everything_but_the_session_keys(void **state)
{
	struct fixture *f = *state;
	char copy[160];
	struct db *backup = NULL;
	struct session_row session = {.id = "f1", .session_id = 5, .expires_ms = 9};

	memset(&session.keys, 0x5a, sizeof(session.keys));
	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_int_equal(rows_session_put(f->db, &session), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	(void)snprintf(copy, sizeof(copy), "%s/backup.db", f->folder);
	assert_int_equal(db_backup(f->db, copy), ERR_OK);
	assert_int_equal(db_backup(f->db, copy), ERR_EXISTS);
	struct buf b;
	buf_init(&b, 1 << 24);
	assert_int_equal(file_read(copy, &b), ERR_OK);
	assert_null(memmem(b.data, b.size, session.keys.mac_up.b, 32));
	buf_fini(&b);
	assert_int_equal(db_sqlite_open(copy, &backup), ERR_OK);
	int64_t n = 0;
	assert_int_equal(rows_meta_number(backup, "a", &n), ERR_OK);
	assert_int_equal(n, 1);
	struct db_rows rows;
	assert_int_equal(
		db_query_values(backup, &rows, "SELECT count(*) FROM session", NULL, 0), ERR_OK);
	assert_true(db_next(&rows));
	assert_int_equal(db_int(&rows, 0), 0);
	assert_int_equal(db_end(&rows), ERR_OK);
	db_close(backup);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, fixture_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_file_is_private),
		T(F19_a_damaged_store_is_refused),
		T(a_pipelined_group_is_on_the_disk_before_its_commit),
		T(a_group_that_the_redo_log_cannot_take_is_flushed_with_the_store),
		T(X_4_a_power_cut_takes_back_nothing_that_was_flushed),
		T(areas_take_turns_when_the_store_has_what_they_hold),
		T(X_4_what_was_flushed_and_not_committed_is_not_lost),
		T(X_4_what_fails_takes_nothing_back_of_groups_that_ended),
		T(X_4_a_flush_that_fails_takes_nothing_back_of_what_was_told_before),
		T(the_log_of_another_life_is_left_alone),
		T(a_pipelined_store_carries_its_log_back),
		T(a_store_in_memory_has_no_pipeline),
		T(a_backup_holds_everything_but_the_session_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
