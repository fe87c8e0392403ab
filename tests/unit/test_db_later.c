// Writes that wait to be run (db_run_later): seen by whoever reads, kept in their order, run by
// another thread where they are many, and never lost when that fails.
#include "server/db/db_engine.h"
#include "server/db/later.h"
#include "store_fixture.h"
#include <fcntl.h>
#include <sys/wait.h>

#define MANY 40 // enough to be handed over

static void told_nobody(void *ctx)
{
	(void)ctx;
}

static int setup(void **state)
{
	int rc = fixture_make(state, db_sqlite_open);
	struct fixture *f = *state;

	if (rc == 0)
		assert_int_equal(db_pipeline(f->db, told_nobody, NULL), ERR_OK);
	return rc;
}

static void sum_add(struct fixture *f, int64_t n)
{
	assert_int_equal(db_run_later(f->db,
				 "INSERT INTO meta (key, number) VALUES ('sum', $1) ON CONFLICT "
				 "(key) DO UPDATE SET number = meta.number + excluded.number",
				 DB_I(n)),
		ERR_OK);
}

static void sum_double(struct fixture *f)
{
	assert_int_equal(
		db_run_later(f->db,
			"UPDATE meta SET number = 2 * number WHERE key = 'sum' AND $1 <> ''",
			DB_T("a text that makes the record of a statement longer than most")),
		ERR_OK);
}

static void flush(struct fixture *f)
{
	assert_int_equal(db_flush_begin(f->db), ERR_OK);
	assert_int_equal(db_flush_end(f->db), ERR_OK);
}

// Groups that were told and wait; nothing was read since the commit before.
static void many_wait(struct fixture *f)
{
	for (int i = 0; i < MANY; i++) {
		sum_add(f, 1);
		sum_double(f);
		flush(f);
	}
	assert_true(db_is_waiting(f->db));
	assert_false(f->db->in_transaction);
}

static int64_t sum_of(int rounds)
{
	int64_t sum = 0;

	for (int i = 0; i < rounds; i++)
		sum = 2 * (sum + 1);
	return sum;
}

// What was told is run, however many statements were run since.
static void more_statements_than_places_lose_nothing(void **state)
{
	static char texts[STATEMENT_CACHE + 20][80];
	struct fixture *f = *state;
	int64_t sum = 0;

	for (size_t i = 0; i < STATEMENT_CACHE + 20; i++) {
		snprintf(texts[i], sizeof(texts[0]),
			"UPDATE meta SET number = number + $1 WHERE key = 'sum' AND %zu >= 0", i);
		if (i == 0)
			sum_add(f, 0);
		assert_int_equal(db_run_later(f->db, texts[i], DB_I(i)), ERR_OK);
		sum += (int64_t)i;
		flush(f);
		if (i % 50 == 0)
			assert_int_equal(db_commit(f->db), ERR_OK);
	}
	assert_int_equal(fixture_number(f, "sum"), sum);
	assert_int_equal(db_commit_all(f->db), ERR_OK);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), sum);
}

static void who_reads_sees_what_waits(void **state)
{
	struct fixture *f = *state;

	sum_add(f, 3);
	assert_true(db_is_waiting(f->db) && db_is_dirty(f->db) && db_is_pending(f->db));
	assert_false(f->db->in_transaction);
	assert_int_equal(fixture_number(f, "sum"), 3);
	assert_false(db_is_waiting(f->db));
	flush(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), 3);
}

static void order_is_kept_among_both_kinds(void **state)
{
	struct fixture *f = *state;

	sum_add(f, 3);
	sum_double(f);
	assert_int_equal(rows_meta_put_number(f->db, "sum", 10), ERR_OK); // at once
	sum_add(f, 1);                                                    // in its transaction
	assert_false(db_is_waiting(f->db));
	assert_int_equal(fixture_number(f, "sum"), 11);
	flush(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	sum_double(f);
	flush(f);
	db_rollback(f->db); // told: it comes back from the log
	assert_int_equal(fixture_number(f, "sum"), 11);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 22);
}

static void a_group_that_did_not_end_is_forgotten_as_a_whole(void **state)
{
	struct fixture *f = *state;

	sum_add(f, 3);
	db_rollback(f->db);
	assert_false(db_is_waiting(f->db) || db_is_dirty(f->db));
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 0);
	sum_add(f, 4);
	flush(f);
	assert_int_equal(db_commit_all(f->db), ERR_OK);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), 4);
}

static void many_are_run_beside_the_caller(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(db_commit(f->db), ERR_OK); // nothing; what was read before is long ago
	many_wait(f);
	uint64_t commits = f->db->commits;
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_true(f->db->handed && !db_is_waiting(f->db));
	assert_true(f->db->commits == commits + 1);
	sum_add(f, 1); // waits for its turn
	flush(f);
	assert_int_equal(fixture_number(f, "sum"), sum_of(MANY) + 1);
	assert_false(f->db->handed);
	assert_int_equal(db_commit(f->db), ERR_OK);
	// Who reads all the time does not wait for others.
	(void)fixture_number(f, "sum");
	many_wait(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_false(f->db->handed || db_is_waiting(f->db));
}

static void X_4_a_cut_while_others_run_it_takes_nothing_back(void **state)
{
	struct fixture *f = *state;
	struct db *db = NULL;
	char copy[160];

	(void)snprintf(copy, sizeof(copy), "%s/cut.db", f->folder);
	for (int i = 0; i < 50; i++) {
		sum_add(f, 1);
		sum_double(f);
		flush(f);
		if (i == MANY)
			assert_int_equal(db_commit(f->db), ERR_OK);
	}
	assert_true(f->db->handed);
	fixture_copy(f, copy, "-redo"); // before the rest: the log only grows
	fixture_copy(f, copy, "");
	fixture_copy(f, copy, "-wal");
	assert_int_equal(db_sqlite_open(copy, &db), ERR_OK);
	int64_t sum = 0;
	assert_int_equal(rows_meta_number(db, "sum", &sum), ERR_OK);
	assert_int_equal(sum, sum_of(50));
	db_close(db);
}

// A tool that holds the store until its input ends.
struct tool {
	pid_t pid;
	int input;
};

static struct tool held(struct fixture *f)
{
	char command[256], flag[160];
	int ends[2];

	(void)snprintf(flag, sizeof(flag), "%s/held", f->folder);
	(void)snprintf(command, sizeof(command), "BEGIN IMMEDIATE;\n.once '%s'\nSELECT 1;\n", flag);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(ends[0], 0);
		(void)execlp("sqlite3", "sqlite3", f->file, (char *)NULL);
		_exit(127);
	}
	close(ends[0]);
	assert_int_equal(write(ends[1], command, strlen(command)), strlen(command));
	for (int i = 0; i < 60000 && access(flag, F_OK) != 0; i++)
		(void)usleep(1000);
	assert_int_equal(access(flag, F_OK), 0);
	return (struct tool){.pid = pid, .input = ends[1]};
}

static void let_go(struct tool *t)
{
	int status = -1;

	close(t->input);
	assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
	assert_int_equal(status, 0);
}

// Somebody holds the store with a tool for longer than a writer waits.
static void X_4_what_others_could_not_run_comes_back_from_the_log(void **state)
{
	struct fixture *f = *state;

	many_wait(f);
	struct tool tool = held(f);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_true(f->db->handed);
	sum_add(f, 1);
	assert_int_equal(db_flush_begin(f->db), ERR_OK);
	assert_int_equal(db_flush_end(f->db), ERR_OK); // told, too
	sum_add(f, 100);                               // not told
	int64_t n = 0;
	assert_int_equal(rows_meta_number(f->db, "sum", &n), ERR_EXISTS);
	assert_int_equal(db_commit(f->db), ERR_EXISTS);
	assert_false(f->db->handed || db_is_waiting(f->db));
	assert_int_equal(db_settle(f->db), ERR_EXISTS); // it is still held
	let_go(&tool);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), sum_of(MANY) + 1);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), sum_of(MANY) + 1);
}

static void an_end_of_the_pipeline_leaves_nothing_to_be_run_again(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		sum_add(f, 1);
		flush(f);
	}
	assert_true(db_is_waiting(f->db));
	db_pipeline_end(f->db);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 3);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "sum"), 3);
}

// Another group would have a higher number than those in the log that the store lacks.
static void X_4_nothing_is_added_before_what_was_told_is_back(void **state)
{
	struct fixture *f = *state;
	char path[200];

	sum_add(f, 1);
	flush(f);
	(void)snprintf(path, sizeof(path), "%s/copy.db", f->folder);
	sum_add(f, 100);
	assert_int_equal(db_backup(f->db, path), ERR_NOT_NOW); // in the midst of a turn
	db_rollback(f->db);
	assert_int_equal(
		db_run_later(f->db, "DELETE FROM meta WHERE key = $1", DB_T("sum")), ERR_NOT_NOW);
	db_rollback(f->db);
	assert_int_equal(db_settle(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "sum"), 1);
	sum_add(f, 1);
	flush(f);
	assert_int_equal(db_backup(f->db, path), ERR_OK);
	struct db *copy = NULL;
	int64_t n = 0;
	assert_int_equal(db_sqlite_open(path, &copy), ERR_OK);
	assert_int_equal(rows_meta_number(copy, "sum", &n), ERR_OK);
	assert_int_equal(n, 2);
	db_close(copy);
}

static void more_than_may_wait_is_run_at_once(void **state)
{
	struct fixture *f = *state;
	static char filling[60000];
	int waited = 0;

	memset(filling, 'x', sizeof(filling) - 1);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(db_run_later(f->db,
					 "INSERT OR REPLACE INTO value VALUES ('q', $1, $2, 0, 0)",
					 DB_I(i), DB_T(filling)),
			ERR_OK);
		flush(f);
		waited += db_is_waiting(f->db);
	}
	assert_true(waited > 10 && waited < 30);
	assert_int_equal(db_commit_all(f->db), ERR_OK);
	struct db_rows rows;
	assert_int_equal(
		db_query_values(f->db, &rows, "SELECT count(*) FROM value", NULL, 0), ERR_OK);
	assert_true(db_next(&rows));
	assert_int_equal(db_int(&rows, 0), 40);
	assert_int_equal(db_end(&rows), ERR_OK);
}

static enum err value_take(void *ctx, const char *sql, const struct db_value *values, size_t count)
{
	size_t *run = ctx;

	assert_string_equal(sql, "of all kinds");
	assert_int_equal(count, 6);
	assert_int_equal(values[0].i, (int64_t)*run);
	assert_true(values[1].r == 0.5);
	assert_int_equal(values[2].type, DB_NULL);
	assert_int_equal(values[3].b.size, 4);
	assert_memory_equal(values[3].b.data, "text", 4);
	assert_int_equal(values[4].b.size, *run);
	assert_int_equal(values[5].b.size, 0);
	++*run;
	return *run == 9 ? err_set(ERR_IO, "nine") : ERR_OK;
}

static void values_of_all_kinds_are_kept(void **state)
{
	struct later l, other;
	uint8_t bytes[20] = {1, 2, 3};
	size_t run = 0;

	(void)state;
	later_init(&l, 1024);
	later_init(&other, 1024);
	size_t added = 0;
	for (bool fits = true; fits; added += fits)
		fits = later_add(&l, "of all kinds",
			(const struct db_value[]){DB_I(added), DB_R(0.5), DB_N(), DB_T("text"),
				DB_B(bytes_of(bytes, added)), DB_T(NULL)},
			6);
	assert_true(added > 5 && added < 9);
	later_swap(&l, &other);
	assert_int_equal(later_bytes(&l), 0);
	assert_int_equal(later_run(&other, value_take, &run), ERR_OK);
	assert_int_equal(run, added);
	struct db_value many[LATER_VALUES + 1] = {{.type = DB_NULL}};
	assert_false(later_add(&l, "too many", many, LATER_VALUES + 1));
	later_clear(&other);
	assert_int_equal(later_run(&other, value_take, &run), ERR_OK);
	later_fini(&l);
	later_fini(&other);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, fixture_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(more_statements_than_places_lose_nothing),
		T(who_reads_sees_what_waits),
		T(order_is_kept_among_both_kinds),
		T(a_group_that_did_not_end_is_forgotten_as_a_whole),
		T(many_are_run_beside_the_caller),
		T(X_4_a_cut_while_others_run_it_takes_nothing_back),
		T(X_4_what_others_could_not_run_comes_back_from_the_log),
		T(an_end_of_the_pipeline_leaves_nothing_to_be_run_again),
		T(X_4_nothing_is_added_before_what_was_told_is_back),
		T(more_than_may_wait_is_run_at_once),
		cmocka_unit_test(values_of_all_kinds_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
