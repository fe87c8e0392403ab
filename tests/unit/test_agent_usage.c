// What the display showed, as the agent reads it from the ledger they share.
#include "client/display_side.h"
#include "proto/digest.h"
#include "tests/unit/helper.h"

struct lab {
	char dir[100], path[200], old[210];
	struct depot depot;
	struct display_side d;
	struct arena a;
	struct shown *rows;
	size_t count;
	char package[65];
};

static int lab_setup(void **state)
{
	struct lab *x = calloc(1, sizeof *x);
	char dir[] = "/tmp/helio-unit-XXXXXX";
	struct digest package = sha256("v1", 2);
	assert_non_null(mkdtemp(dir));
	assert_true(str_copy(x->dir, sizeof x->dir, dir));
	arena_init(&x->a, 1024 * 1024, 10000);
	(void)snprintf(x->path, sizeof x->path, "%s/display", dir);
	assert_int_equal(dir_make(x->path), ERR_OK);
	assert_int_equal(display_side_init(&x->d, x->dir, &x->depot), ERR_OK);
	(void)snprintf(x->path, sizeof x->path, "%s/display/shown.log", dir);
	(void)snprintf(x->old, sizeof x->old, "%s.1", x->path);
	hex_encode(package.b, 32, x->package);
	*state = x;
	return 0;
}

static int lab_teardown(void **state)
{
	struct lab *x = *state;
	enum err e = tree_remove(x->dir);
	arena_fini(&x->a);
	free(x);
	return e == ERR_OK ? 0 : -1;
}

static void usage(struct lab *x, int64_t since_unix_ms, size_t max)
{
	display_usage(&x->d, &x->a, since_unix_ms, max, &x->rows, &x->count);
}

static void usage_rows_come_once_in_order_and_after_the_time_asked_for(void **state)
{
	struct lab *x = *state;
	FILE *out = fopen(x->path, "w");
	for (int i = 1; i <= 5; i++)
		fprintf(out, "%d\t00000000000000aa0000000000000000\t%s\ta%%25.jpg\t%d\t1000\t3\n",
			i, x->package, i * 1000);
	fprintf(out, "5\t00\t%s\tagain.jpg\t9000\t1000\t3\n",
		x->package); // the number does not rise
	fprintf(out, "6\t00\t%s\tcut", x->package);
	fclose(out);
	usage(x, 3000, 100);
	assert_int_equal(x->count, 3);
	assert_int_equal(x->rows[0].ledger_seq, 3);
	assert_string_equal(x->rows[0].image, "a%.jpg");
	assert_int_equal(x->rows[0].duration_ms, 1000);
	assert_int_equal(x->rows[0].boot_counter, 0xaa);
	usage(x, INT64_MAX, 100);
	assert_int_equal(x->count, 0);
	usage(x, 0, 2);
	assert_int_equal(x->count, 2);
}

static void usage_says_how_a_turn_ended_and_rows_that_say_nonsense_are_left_out(void **state)
{
	static const char *const ends[] = {"10000\twhole\t-", "10000\tcut\tcommand",
		"0\tfailed\tunreadable", "10000\teaten\t-", "10000\tcut\tW0RD",
		"10000\tcut\taaaaaaaaaaaaaaaaa", "soon\tcut\tstop", "-1\tcut\tstop", "10000\tcut",
		"10000\tcut\tstop\tmore", "4294967296\tcut\tstop"};
	struct lab *x = *state;
	FILE *out = fopen(x->path, "w");
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		fprintf(out, "%zu\t00\t%s\ta.jpg\t1\t900\t3\t%s\n", i + 1, x->package, ends[i]);
	fclose(out);
	usage(x, 0, 100);
	assert_int_equal(x->count, 3);
	assert_int_equal(x->rows[0].result, SHOWN_WHOLE);
	assert_string_equal(x->rows[0].reason, "");
	assert_int_equal(x->rows[0].planned_ms, 10000);
	assert_int_equal(x->rows[1].result, SHOWN_CUT);
	assert_string_equal(x->rows[1].reason, "command");
	assert_int_equal(x->rows[2].result, SHOWN_FAILED);
	assert_string_equal(x->rows[2].reason, "unreadable");
}

// A slice a turn gives what one reading gives, also when the display begins a new part meanwhile.
static void usage_in_slices_is_the_same_usage(void **state)
{
	struct lab *x = *state;
	struct shown rows[8];
	struct ledger_read ledger;
	size_t seen = 0, turns = 0;
	bool end = false;
	for (int part = 0; part < 2; part++) {
		FILE *out = fopen(part == 0 ? x->old : x->path, "w");
		for (int i = 1; i <= 30; i++)
			fprintf(out, "%d\t00\t%s\ta.jpg\t%d\t1000\t3\n", part * 30 + i, x->package,
				i);
		fclose(out);
	}
	usage(x, 10, 100);
	assert_int_equal(x->count, 2 * 21);
	ledger_begin(&ledger, &x->d, 10);
	for (; !end; turns++) {
		size_t n = ledger_slice(&ledger, &x->a, 7, rows, 5, &end);
		assert_true(n <= 5);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(rows[i].ledger_seq, x->rows[seen + i].ledger_seq);
		seen += n;
		if (turns == 2) { // the part that is being read becomes the one before
			assert_int_equal(rename(x->path, x->old), 0);
			fclose(fopen(x->path, "w"));
		}
	}
	assert_int_equal(seen, x->count);
	assert_true(turns >= 60 / 7);
	ledger_end(&ledger);
	ledger_end(&ledger);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(usage_rows_come_once_in_order_and_after_the_time_asked_for),
		CASE(usage_says_how_a_turn_ended_and_rows_that_say_nonsense_are_left_out),
		CASE(usage_in_slices_is_the_same_usage),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
