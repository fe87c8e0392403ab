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

static void a_pipelined_commit_is_seen_at_once_and_told_when_it_is_on_the_disk(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t count = 0;

	assert_int_equal(db_pipeline(f->db, told, &fd), ERR_OK);
	assert_false(db_is_pending(f->db));
	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "a"), 1);
	assert_true(db_is_pending(f->db));
	assert_false(db_flush_is_over(f->db));
	db_flush_begin(f->db);
	assert_int_equal(rows_meta_put_number(f->db, "a", 2), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK); // while the first is written
	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
	assert_true(db_flush_is_over(f->db));
	assert_int_equal(db_flush_end(f->db), ERR_OK);
	assert_true(db_is_pending(f->db)); // the second
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_false(db_is_pending(f->db));
	db_pipeline_end(f->db);
	close(fd);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "a"), 2);
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
		T(a_pipelined_commit_is_seen_at_once_and_told_when_it_is_on_the_disk),
		T(a_pipelined_store_carries_its_log_back),
		T(a_store_in_memory_has_no_pipeline),
		T(a_backup_holds_everything_but_the_session_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
