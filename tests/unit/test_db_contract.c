// What the server relies on, of every engine behind db.h: what a commit promises, what a kill
// leaves, what is refused, and that the same statements leave the same rows. Each test runs on
// SQLite, and on PostgreSQL where one is at hand (tests/with_postgres).
#include "server/db/db_engine.h"
#include "server/db/rows_key.h"
#include "server/db/rows_usage.h"
#include "server/usage_take.h"
#include "store_fixture.h"
#include <signal.h>
#include <sys/wait.h>

struct contract {
	void (*test)(void **state);
	bool postgres;
};

static int setup(void **state)
{
	const struct contract *c = *state;
	int rc = fixture_make(state, c->postgres ? store_postgres_open : db_sqlite_open);
	struct fixture *f = *state;

	f->test = c->test;
	return rc;
}

static void what_is_committed_stays_and_what_is_not_goes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_true(db_is_dirty(f->db));
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_false(db_is_dirty(f->db));
	assert_int_equal(rows_meta_put_number(f->db, "a", 2), ERR_OK);
	assert_int_equal(fixture_number(f, "a"), 2);
	fixture_reopen(f);
	assert_int_equal(fixture_number(f, "a"), 1);
}

static void a_turn_without_a_write_commits_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t commits = f->db->commits;

	assert_int_equal(fixture_number(f, "a"), 0);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(f->db->commits, commits);
}

static void a_failed_statement_fails_the_whole_turn(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_int_not_equal(
		db_run(f->db, "INSERT INTO no_such_table VALUES ($1)", DB_I(1)), ERR_OK);
	assert_int_equal(rows_meta_put_number(f->db, "b", 1), ERR_NOT_NOW);
	assert_int_equal(db_commit(f->db), ERR_IO);
	assert_non_null(strstr(err_text(), "no_such_table"));
	assert_false(db_is_dirty(f->db));
	assert_int_equal(fixture_number(f, "a"), 0);
	assert_int_equal(rows_meta_put_number(f->db, "b", 2), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "b"), 2);
}

// Of each the address counts: as if the program had so many.
#define TEXTS (STATEMENT_CACHE + 60)

static void more_statements_than_places_fail_nothing(void **state)
{
	static char texts[TEXTS][80];
	struct fixture *f = *state;
	struct db_rows held, rows;
	int64_t written = 0;

	assert_int_equal(rows_meta_put_number(f->db, "a", 41), ERR_OK);
	assert_int_equal(db_query(f->db, &held, "SELECT number FROM meta WHERE key = $1 AND 1 = 1",
				 DB_T("a")),
		ERR_OK);
	for (int i = 0; i < 2 * TEXTS; i++) { // the second time the first are gone
		char *sql = texts[i % TEXTS];
		bool write = i % TEXTS % 10 == 0;
		if (write)
			snprintf(sql, sizeof(texts[0]),
				"UPDATE meta SET number = number + $1 WHERE key = 'b' AND %d > 0",
				1);
		else
			snprintf(sql, sizeof(texts[0]),
				"SELECT %d + number FROM meta WHERE key = $1", i % TEXTS);
		if (i == 0)
			assert_int_equal(rows_meta_put_number(f->db, "b", 0), ERR_OK);
		if (write) {
			if (db_run(f->db, sql, DB_I(1)) != ERR_OK)
				fail_msg("%d: %s", i, err_text());
			written++;
			continue;
		}
		if (db_query(f->db, &rows, sql, DB_T("a")) != ERR_OK || !db_next(&rows))
			fail_msg("%d: %s", i, err_text());
		assert_int_equal(db_int(&rows, 0), i % TEXTS + 41);
		assert_int_equal(db_end(&rows), ERR_OK);
	}
	assert_true(db_next(&held)); // whoever reads keeps the place
	assert_int_equal(db_int(&held, 0), 41);
	assert_int_equal(db_end(&held), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(fixture_number(f, "b"), written);
}

static void more_readings_at_a_time_than_places_are_refused(void **state)
{
	static char texts[STATEMENT_CACHE + 2][40];
	static struct db_rows rows[STATEMENT_CACHE + 2];
	struct fixture *f = *state;
	size_t open = 0;

	for (; open < STATEMENT_CACHE + 2; open++) {
		snprintf(texts[open], sizeof(texts[0]), "SELECT %zu", open);
		if (db_query_values(f->db, &rows[open], texts[open], NULL, 0) != ERR_OK)
			break;
	}
	assert_in_range(open, STATEMENT_CACHE - 30, STATEMENT_CACHE);
	assert_non_null(strstr(err_text(), "are used at a time"));
	while (open > 0)
		assert_int_equal(db_end(&rows[--open]), ERR_OK);
	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
}

static void parameters_out_of_order_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		db_run(f->db, "INSERT INTO meta (key, number) VALUES ($2, $1)", DB_I(1), DB_T("a")),
		ERR_FORMAT);
}

static void values_come_back_as_they_went_in(void **state)
{
	struct fixture *f = *state;
	struct db_rows rows;
	struct digest d;
	const uint8_t bytes[3] = {0, 1, 0};

	memset(&d, 7, sizeof(d));
	assert_int_equal(
		f->db->engine->exec(f->db,
			"CREATE TABLE t (i INTEGER, r REAL, s TEXT, b BLOB, d BLOB, n INTEGER)"),
		ERR_OK);
	assert_int_equal(
		db_run(f->db, "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6)", DB_I(UINT64_MAX),
			DB_R(0.5), DB_T("x\ty"), DB_B(bytes_of(bytes, 3)), DB_D(&d), DB_N()),
		ERR_OK);
	assert_int_equal(
		db_query_values(f->db, &rows, "SELECT i, r, s, b, d, n FROM t", NULL, 0), ERR_OK);
	assert_true(db_next(&rows));
	assert_true((uint64_t)db_int(&rows, 0) == UINT64_MAX);
	assert_true(db_real(&rows, 1) > 0.49 && db_real(&rows, 1) < 0.51);
	assert_string_equal(db_text(&rows, 2), "x\ty");
	assert_int_equal(db_blob(&rows, 3).size, 3);
	struct digest back;
	assert_true(db_fixed(&rows, 4, back.b, sizeof(back.b)));
	assert_true(digest_equal(&d, &back));
	assert_false(db_fixed(&rows, 3, back.b, sizeof(back.b)));
	assert_true(digest_is_zero(&back));
	assert_string_equal(db_text(&rows, 5), "");
	assert_false(db_next(&rows));
	assert_int_equal(db_end(&rows), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
}

static void a_store_of_a_newer_program_is_refused_with_a_sentence(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		db_run(f->db, "UPDATE schema_version SET version = $1", DB_I(SCHEMA_VERSION + 1)),
		ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(schema_migrate(f->db), ERR_VERSION);
	assert_non_null(strstr(err_text(), "newer program"));
}

static void F27_a_second_server_on_the_same_store_is_refused(void **state)
{
	struct fixture *f = *state;
	pid_t child = fork();

	if (child == 0) {
		struct db *second = NULL;
		_exit(f->open(f->file, &second) == ERR_EXISTS ? 0 : 1);
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void X_4_a_kill_at_any_moment_leaves_the_last_commit(void **state)
{
	struct fixture *f = *state;

	db_close(f->db);
	f->db = NULL;
	for (int round = 0; round < (f->open == store_postgres_open ? 6 : 20); round++) {
		int channel[2];
		assert_int_equal(pipe(channel), 0);
		pid_t child = fork();
		if (child == 0) {
			struct db *db = NULL;
			if (f->open(f->file, &db) != ERR_OK)
				_exit(1);
			for (int64_t n = 1;; n++) {
				if (rows_meta_put_number(db, "x", n) != ERR_OK ||
					rows_meta_put_number(db, "y", n) != ERR_OK ||
					db_commit(db) != ERR_OK ||
					write(channel[1], &n, sizeof(n)) != sizeof(n))
					_exit(1);
			}
		}
		int64_t acknowledged = 0, n = 0;
		for (int i = 0; i < 5 + round; i++)
			assert_int_equal(read(channel[0], &n, sizeof(n)), sizeof(n));
		assert_int_equal(kill(child, 9), 0);
		assert_int_equal(waitpid(child, NULL, 0), child);
		close(channel[1]);
		acknowledged = n;
		while (read(channel[0], &n, sizeof(n)) == sizeof(n))
			acknowledged = n;
		close(channel[0]);
		assert_int_equal(f->open(f->file, &f->db), ERR_OK);
		assert_int_equal(fixture_number(f, "x"), fixture_number(f, "y"));
		assert_true(fixture_number(f, "x") >= acknowledged);
		db_close(f->db);
		f->db = NULL;
	}
}

// ---- what a row is after each kind of statement

static void what_replaces_a_row_leaves_one(void **state)
{
	struct fixture *f = *state;
	struct db_rows rows;

	for (int i = 1; i <= 3; i++)
		assert_int_equal(
			rows_question_put(f->db, i < 3 ? "f1" : "f2", INFO_USAGE, 100 * i), ERR_OK);
	assert_int_equal(db_query_values(f->db, &rows,
				 "SELECT client, asked_ms FROM question ORDER BY client", NULL, 0),
		ERR_OK);
	assert_true(db_next(&rows));
	assert_string_equal(db_text(&rows, 0), "f1");
	assert_int_equal(db_int(&rows, 1), 200);
	assert_true(db_next(&rows));
	assert_int_equal(db_int(&rows, 1), 300);
	assert_false(db_next(&rows));
	assert_int_equal(db_end(&rows), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
}

static void what_is_ignored_changes_nothing_and_fails_nothing(void **state)
{
	struct fixture *f = *state;
	struct id16 store = {{1}};
	struct shown shown = {
		.ledger_seq = 7, .image = "a.jpg", .from_unix_ms = 5, .duration_ms = 9};
	uint64_t count = 0;

	assert_int_equal(rows_usage_add(f->db, "f1", &store, &shown), ERR_OK);
	shown.duration_ms = 1;
	assert_int_equal(rows_usage_add(f->db, "f1", &store, &shown), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(rows_usage_count(f->db, "f1", &store, 7, 7, &count), ERR_OK);
	assert_int_equal(count, 1);
}

// A column that was NULL when its statement was first said.
static void a_value_may_be_nothing_and_then_something(void **state)
{
	struct fixture *f = *state;
	struct db_rows rows;
	static const char put[] = "INSERT INTO t VALUES ($1, $2, $3, $4)";

	assert_int_equal(
		f->db->engine->exec(f->db, "CREATE TABLE t (n INTEGER, i INTEGER, s TEXT, b BLOB)"),
		ERR_OK);
	assert_int_equal(db_run(f->db, put, DB_I(1), DB_N(), DB_N(), DB_N()), ERR_OK);
	assert_int_equal(
		db_run(f->db, put, DB_I(2), DB_I(-5), DB_T("x"), DB_B(bytes_of("\0", 1))), ERR_OK);
	assert_int_equal(
		db_run(f->db, put, DB_I(3), DB_N(), DB_T(""), DB_B(bytes_of("", 0))), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(
		db_query_values(f->db, &rows, "SELECT i, s, b FROM t ORDER BY n", NULL, 0), ERR_OK);
	assert_true(db_next(&rows));
	assert_int_equal(db_int(&rows, 0), 0);
	assert_string_equal(db_text(&rows, 1), "");
	assert_true(db_next(&rows));
	assert_int_equal(db_int(&rows, 0), -5);
	assert_string_equal(db_text(&rows, 1), "x");
	assert_int_equal(db_blob(&rows, 2).size, 1);
	assert_true(db_next(&rows));
	assert_int_equal(db_blob(&rows, 2).size, 0);
	assert_int_equal(db_end(&rows), ERR_OK);
}

static void names_are_ordered_by_their_bytes(void **state)
{
	static const char *const names[] = {"b", "B", "a.1", "a-1", "a_1", "A", "a1", "Z"};
	static const char *const ordered[] = {"A", "B", "Z", "a-1", "a.1", "a1", "a_1", "b"};
	struct fixture *f = *state;
	struct db_rows rows;

	for (size_t i = 0; i < 8; i++)
		assert_int_equal(rows_meta_put_number(f->db, names[i], 1), ERR_OK);
	assert_int_equal(db_query(f->db, &rows, "SELECT key FROM meta WHERE key > $1 ORDER BY key",
				 DB_T("")),
		ERR_OK);
	for (size_t i = 0; i < 8; i++) {
		assert_true(db_next(&rows));
		assert_string_equal(db_text(&rows, 0), ordered[i]);
	}
	assert_int_equal(db_end(&rows), ERR_OK);
	db_rollback(f->db);
}

// More than an engine may send before it asks, with one bad among them.
static void a_long_turn_is_one_whole(void **state)
{
	struct fixture *f = *state;
	static const char put[] = "INSERT INTO t VALUES ($1)";
	struct db_rows rows;
	int failed = 0; // an engine may tell it at the end alone

	assert_int_equal(
		f->db->engine->exec(f->db, "CREATE TABLE t (n INTEGER PRIMARY KEY)"), ERR_OK);
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < 1000; i++)
			failed +=
				db_run(f->db, put, DB_I(turn == 0 && i == 700 ? 699 : i)) != ERR_OK;
		assert_int_equal(db_commit(f->db) == ERR_OK, turn == 1);
		assert_true(turn == 0 || !failed);
		failed = 0;
		assert_int_equal(
			db_query_values(f->db, &rows, "SELECT count(*) FROM t", NULL, 0), ERR_OK);
		assert_true(db_next(&rows));
		assert_int_equal(db_int(&rows, 0), turn * 1000);
		assert_int_equal(db_end(&rows), ERR_OK);
	}
}

static void a_read_within_a_turn_sees_what_was_written_in_it(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 50; i++) {
		assert_int_equal(rows_meta_put_number(f->db, "a", i), ERR_OK);
		assert_int_equal(fixture_number(f, "a"), i);
	}
	db_rollback(f->db);
	assert_int_equal(fixture_number(f, "a"), 0);
}

static void a_disk_that_takes_no_writes_is_told_as_such(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_read_only(f->db, true), ERR_OK);
	if (rows_meta_put_number(f->db, "a", 1) != ERR_OK)
		assert_true(db_is_dirty(f->db));
	assert_int_equal(db_commit(f->db), ERR_READ_ONLY);
	assert_int_equal(store_read_only(f->db, false), ERR_OK);
	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
}

// ---- statements whose words the engines read differently

static enum err sum_note(void *ctx, const struct usage_sum *sum)
{
	struct buf *b = ctx;

	return buf_printf(b, "%s=%d/%d ", sum->key, (int)sum->shown, (int)sum->duration_ms);
}

static void sums_of_what_was_shown_are_the_same(void **state)
{
#define ABABABAB "abababababababab"
	static const char all_of_it[] = ABABABAB ABABABAB ABABABAB ABABABAB "=3/130 ";
	static const char *const expected[] = {
		[USAGE_BY_PICTURE] = "Z.jpg=1/100 a.jpg=2/30 ",
		[USAGE_BY_CLIENT] = "f1=2/30 f2=1/100 ",
		[USAGE_BY_CUSTOMER] = "=3/130 ",
		[USAGE_BY_HOUR] = "0000003600=2/30 1794999600=1/100 ",
		[USAGE_BY_PACKAGE] = all_of_it,
		[USAGE_BY_NAME] = "art=3/130 ",
	};
	struct fixture *f = *state;
	const struct usage_filter all = {"", "", 0, INT64_MAX};
	const struct id16 store = {{1}};
	struct shown shown = {
		.ledger_seq = 1, .image = "0001-a.jpg", .from_unix_ms = 3600000, .duration_ms = 10};
	SCOPED_BUF struct buf text;

	buf_init(&text, 4096);
	memset(&shown.package, 0xab, sizeof(shown.package));
	assert_int_equal(rows_usage_add(f->db, "f1", &store, &shown), ERR_OK);
	shown.ledger_seq = 2;
	shown.image = "a.jpg";
	shown.from_unix_ms = 7199999;
	shown.duration_ms = 20;
	assert_int_equal(rows_usage_add(f->db, "f1", &store, &shown), ERR_OK);
	shown.image = "0002-Z.jpg";
	shown.from_unix_ms = 1795000000123 / 3600000 * 3600000 + 1000;
	shown.duration_ms = 100;
	assert_int_equal(rows_usage_add(f->db, "f2", &store, &shown), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(
		db_run(f->db,
			"INSERT INTO package (id, publisher, kind, name, version, size_bytes, "
			"object_bytes, envelope, offered_ms) VALUES ($1, 'p', 1, 'art', '1', 0, 0, "
			"$2, 0)",
			DB_D(&shown.package), DB_B(bytes_of("", 0))),
		ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	for (enum usage_key key = USAGE_BY_PICTURE; key <= USAGE_BY_NAME; key++) {
		buf_clear(&text);
		assert_int_equal(
			rows_usage_sums(f->db, &all, key, "", 10, &text, sum_note), ERR_OK);
		assert_int_equal(buf_append(&text, "", 1), ERR_OK);
		assert_string_equal((const char *)text.data, expected[key]);
	}
	buf_clear(&text);
	assert_int_equal(
		rows_usage_sums(f->db, &all, USAGE_BY_CLIENT, "f1", 10, &text, sum_note), ERR_OK);
	assert_int_equal(buf_append(&text, "", 1), ERR_OK);
	assert_string_equal((const char *)text.data, "f2=1/100 ");
}

// Rows of one boot from a moment on, ten seconds each.
static void boot_take(
	struct fixture *f, uint8_t store, uint64_t boot, int64_t from_ms, size_t count)
{
	struct shown rows[64];

	assert_true(count <= 64);
	for (size_t i = 0; i < count; i++)
		rows[i] = (struct shown){.ledger_seq = (uint64_t)from_ms / 10000 + i,
			.boot_counter = boot,
			.image = "a.jpg",
			.from_unix_ms = from_ms + (int64_t)i * 10000,
			.duration_ms = 10000,
			.clock_quality = 3,
			.result = SHOWN_WHOLE};
	assert_int_equal(usage_take(f->db, "f1", &(struct id16){{store}}, rows, count), ERR_OK);
}

static uint64_t doubtful(struct fixture *f)
{
	uint64_t count = 0;

	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(rows_usage_doubts(f->db, "f1", &count), ERR_OK);
	return count;
}

static enum err pair_note(void *ctx, const struct usage_source *a, const struct usage_source *b)
{
	return buf_printf(ctx, "%d.%d/%d.%d ", a->store_id.b[0], (int)a->boot, b->store_id.b[0],
		(int)b->boot);
}

static void what_two_devices_of_one_name_showed_at_once_is_in_no_sum(void **state)
{
	struct fixture *f = *state;
	const struct usage_filter all = {"", "", 0, INT64_MAX};
	SCOPED_BUF struct buf text;

	buf_init(&text, 4096);
	// One device: a boot after another, then a new state folder.
	boot_take(f, 1, 11, 1000000, 60);
	boot_take(f, 1, 12, 1610000, 30);
	boot_take(f, 2, 12, 1920000, 30);
	boot_take(f, 1, 11, 1000000, 60); // again
	assert_int_equal(doubtful(f), 0);
	// A copy of it appears while the last boot runs, first for less than clocks may differ.
	boot_take(f, 2, 13, 2180000, 4);
	assert_int_equal(doubtful(f), 0);
	boot_take(f, 2, 12, 2220000, 30);
	boot_take(f, 2, 13, 2220000, 30);
	// From 2,180,000 to 2,510,000 both spoke: 34 rows each.
	assert_int_equal(doubtful(f), 68);
	boot_take(f, 2, 13, 2520000, 10); // and goes on alone
	assert_int_equal(doubtful(f), 68);
	assert_int_equal(
		rows_usage_sums(f->db, &all, USAGE_BY_CLIENT, "", 10, &text, sum_note), ERR_OK);
	assert_int_equal(rows_usage_pairs(f->db, "f1", 60000, 10, &text, pair_note), ERR_OK);
	assert_int_equal(buf_append(&text, "", 1), ERR_OK);
	// 60 + 30 + 30 before the copy, less the four that it joined, and ten after.
	assert_string_equal((const char *)text.data, "f1=126/1260000 2.12/2.13 ");
}

// The same number, the same boot, another picture: one of two copies, nobody knows which.
static void a_row_that_is_contradicted_is_doubtful(void **state)
{
	struct fixture *f = *state;
	struct shown row = {.ledger_seq = 1,
		.boot_counter = 5,
		.image = "a.jpg",
		.from_unix_ms = 1,
		.clock_quality = 1};
	const struct id16 store = {{1}};

	assert_int_equal(usage_take(f->db, "f1", &store, &row, 1), ERR_OK);
	assert_int_equal(usage_take(f->db, "f1", &store, &row, 1), ERR_OK);
	assert_int_equal(doubtful(f), 0);
	row.image = "b.jpg";
	assert_int_equal(usage_take(f->db, "f1", &store, &row, 1), ERR_OK);
	assert_int_equal(doubtful(f), 1);
	// Of another boot it is another row: a power cut took the one whose number comes again.
	row.boot_counter = 6;
	assert_int_equal(usage_take(f->db, "f1", &store, &row, 1), ERR_OK);
	assert_int_equal(doubtful(f), 1);
}

static enum err key_note(void *ctx, const struct key_row *row)
{
	struct buf *b = ctx;

	return buf_printf(b, "%s:%d:%d ", row->customer, row->key_id.b[0], row->current);
}

static void of_each_customer_the_newest_key_is_told_once(void **state)
{
	struct fixture *f = *state;
	SCOPED_BUF struct buf text;

	buf_init(&text, 4096);
	for (int i = 1; i <= 6; i++) {
		const struct key_row row = {
			.key_id = {{(uint8_t)i}}, .created_ms = i < 3 ? 5 : 10 - i};
		assert_int_equal(rows_key_turn(f->db, i % 2 ? "acme" : "zoo", &row), ERR_OK);
	}
	assert_int_equal(rows_key_turn(f->db, "zoo", NULL), ERR_OK); // none is current
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(rows_key_customers(f->db, "", "", 10, &text, key_note), ERR_OK);
	assert_int_equal(buf_append(&text, "", 1), ERR_OK);
	assert_string_equal((const char *)text.data, "acme:5:1 zoo:4:0 ");
}

static void run(void **state)
{
	struct fixture *f = *state;

	if (!f->db) {
		print_message("no PostgreSQL at hand (tests/with_postgres), or built without\n");
		skip();
	}
	f->test(state);
}

#define BOTH(f)                                                                                    \
	{#f, run, setup, fixture_drop, &(struct contract){f, false}},                              \
	{                                                                                          \
#f "_on_postgresql", run, setup, fixture_drop, &(struct contract)                  \
		{                                                                                  \
			f, true                                                                    \
		}                                                                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(what_is_committed_stays_and_what_is_not_goes),
		BOTH(a_turn_without_a_write_commits_nothing),
		BOTH(a_failed_statement_fails_the_whole_turn),
		BOTH(more_statements_than_places_fail_nothing),
		BOTH(more_readings_at_a_time_than_places_are_refused),
		BOTH(parameters_out_of_order_are_refused),
		BOTH(values_come_back_as_they_went_in),
		BOTH(a_store_of_a_newer_program_is_refused_with_a_sentence),
		BOTH(F27_a_second_server_on_the_same_store_is_refused),
		BOTH(X_4_a_kill_at_any_moment_leaves_the_last_commit),
		BOTH(what_replaces_a_row_leaves_one),
		BOTH(what_is_ignored_changes_nothing_and_fails_nothing),
		BOTH(a_value_may_be_nothing_and_then_something),
		BOTH(names_are_ordered_by_their_bytes),
		BOTH(a_long_turn_is_one_whole),
		BOTH(a_read_within_a_turn_sees_what_was_written_in_it),
		BOTH(sums_of_what_was_shown_are_the_same),
		BOTH(what_two_devices_of_one_name_showed_at_once_is_in_no_sum),
		BOTH(a_row_that_is_contradicted_is_doubtful),
		BOTH(of_each_customer_the_newest_key_is_told_once),
		BOTH(a_disk_that_takes_no_writes_is_told_as_such),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
