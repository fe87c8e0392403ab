// Who judges whom, and by which clock: looks of one server at the rows of the others, under a clock
// that the test turns.
#include "helper.h"
#include "server/shard_watch.h"
#include <stdio.h>

#define LEASE_MS 1000

struct judge {
	struct shard_watch watch;
	struct mono now;
};

static struct judge judge_of(void)
{
	return (struct judge){.now = {5000}};
}

// Rows of other servers, as one look finds them.
static void look(struct judge *j, const struct server_row *rows, size_t count)
{
	(void)shard_watch_begin(&j->watch, LEASE_MS, j->now);
	for (size_t i = 0; i < count; i++)
		shard_watch_see(&j->watch, &rows[i]);
	shard_watch_end(&j->watch, j->now);
}

static bool dead(const struct judge *j, const char *holder)
{
	for (size_t i = 0; i < j->watch.count; i++)
		if (strcmp(j->watch.seen[i].holder, holder) == 0)
			return shard_watch_is_dead(&j->watch.seen[i], LEASE_MS);
	return false;
}

static struct server_row over(const char *holder)
{
	return (struct server_row){.holder = holder, .fencing = 7, .until_ms = 90, .left_ms = 0};
}

static void looks(struct judge *j, const struct server_row *row, int count, int64_t every_ms)
{
	for (int i = 0; i < count; i++) {
		j->now = mono_add_ms(j->now, every_ms);
		look(j, row, 1);
	}
}

static void who_has_just_come_watches_a_whole_lease(void **state)
{
	struct judge j = judge_of();
	const struct server_row other = over("b");

	(void)state;
	look(&j, &other, 1);
	looks(&j, &other, 4, 200);
	assert_false(dead(&j, "b"));
	looks(&j, &other, 1, 199);
	assert_false(dead(&j, "b"));
	assert_int_equal(shard_watch_left_ms(&j.watch, LEASE_MS), 1);
	looks(&j, &other, 1, 1);
	assert_true(dead(&j, "b"));
}

static void a_standstill_counts_a_part_of_the_lease_however_long_it_was(void **state)
{
	static const int64_t still_ms[] = {251, 1000, 3600000};

	(void)state;
	for (size_t i = 0; i < sizeof(still_ms) / sizeof(still_ms[0]); i++) {
		struct judge j = judge_of();
		const struct server_row other = over("b");

		look(&j, &other, 1);
		looks(&j, &other, 1, still_ms[i]);
		assert_false(dead(&j, "b"));
		assert_int_equal(j.watch.seen[0].still_ms, LEASE_MS / SHARD_WATCH_PART);
		// Where all is slow for long, somebody judges all the same.
		looks(&j, &other, SHARD_WATCH_PART - 2, still_ms[i]);
		assert_false(dead(&j, "b"));
		looks(&j, &other, 1, still_ms[i]);
		assert_true(dead(&j, "b"));
	}
}

// What the look itself took is nobody's silence.
static void the_time_of_a_look_does_not_count(void **state)
{
	struct judge j = judge_of();
	const struct server_row other = over("b");

	(void)state;
	look(&j, &other, 1);
	for (int i = 0; i < 20; i++) {
		(void)shard_watch_begin(&j.watch, LEASE_MS, j.now);
		shard_watch_see(&j.watch, &other);
		j.now = mono_add_ms(j.now, 10000);
		shard_watch_end(&j.watch, j.now);
	}
	assert_false(dead(&j, "b"));
	assert_int_equal(j.watch.seen[0].still_ms, 0);
}

static void who_renews_lives_whatever_the_databases_clock_says(void **state)
{
	struct judge j = judge_of();
	struct server_row other = over("b");

	(void)state;
	for (int i = 0; i < 50; i++) {
		other.until_ms++;
		other.left_ms = i % 2 ? -5000 : 2 * SHARD_LEASE_MOST_MS;
		looks(&j, &other, 1, 200);
		assert_false(dead(&j, "b"));
	}
	looks(&j, &other, 5, 200);
	assert_true(dead(&j, "b"));
}

static void both_clocks_must_say_so(void **state)
{
	static const struct {
		int64_t left_ms;
		bool dead;
	} cases[] = {{1, false}, {SHARD_LEASE_MOST_MS, false}, {0, true}, {-1, true},
		{SHARD_LEASE_MOST_MS + 1, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct judge j = judge_of();
		struct server_row other = over("b");

		other.left_ms = cases[i].left_ms;
		looks(&j, &other, 20, 200);
		assert_int_equal(dead(&j, "b"), cases[i].dead);
	}
}

static void each_is_watched_for_itself_and_a_new_term_anew(void **state)
{
	struct judge j = judge_of();
	struct server_row rows[] = {over("b"), over("c")};

	(void)state;
	for (int i = 0; i < 6; i++) {
		rows[1].until_ms++;
		look(&j, rows, 2);
		j.now = mono_add_ms(j.now, 200);
	}
	assert_true(dead(&j, "b"));
	assert_false(dead(&j, "c"));
	rows[0].fencing++; // it began again, and its row says the same time
	look(&j, rows, 2);
	assert_false(dead(&j, "b"));
	assert_int_equal(j.watch.count, 2);
	// One that was gone meanwhile, too.
	looks(&j, &rows[1], 1, 200);
	assert_int_equal(j.watch.count, 1);
	look(&j, rows, 2);
	assert_int_equal(j.watch.seen[1].still_ms, 0);
}

static void a_look_that_failed_is_none(void **state)
{
	struct judge j = judge_of();
	const struct server_row other = over("b");

	(void)state;
	look(&j, &other, 1);
	for (int i = 0; i < 20; i++) {
		j.now = mono_add_ms(j.now, 200);
		(void)shard_watch_begin(&j.watch, LEASE_MS, j.now);
	}
	assert_false(dead(&j, "b"));
	looks(&j, &other, 1, 200);
	assert_int_equal(j.watch.seen[0].still_ms, 200);
}

static void of_more_servers_than_are_watched_some_wait(void **state)
{
	struct judge j = judge_of();
	char names[SHARD_WATCHED + 5][8];
	struct server_row rows[SHARD_WATCHED + 5];

	(void)state;
	for (size_t i = 0; i < SHARD_WATCHED + 5; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "s%zu", i);
		rows[i] = over(names[i]);
	}
	for (int i = 0; i < 6; i++) {
		look(&j, rows, SHARD_WATCHED + 5);
		j.now = mono_add_ms(j.now, 200);
	}
	assert_int_equal(j.watch.count, SHARD_WATCHED);
	assert_true(dead(&j, names[SHARD_WATCHED - 1]));
	for (int i = 0; i < 7; i++) { // the first are gone
		look(&j, rows + 5, SHARD_WATCHED);
		j.now = mono_add_ms(j.now, 200);
	}
	assert_true(dead(&j, names[SHARD_WATCHED + 4]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_has_just_come_watches_a_whole_lease),
		cmocka_unit_test(a_standstill_counts_a_part_of_the_lease_however_long_it_was),
		cmocka_unit_test(the_time_of_a_look_does_not_count),
		cmocka_unit_test(who_renews_lives_whatever_the_databases_clock_says),
		cmocka_unit_test(both_clocks_must_say_so),
		cmocka_unit_test(each_is_watched_for_itself_and_a_new_term_anew),
		cmocka_unit_test(a_look_that_failed_is_none),
		cmocka_unit_test(of_more_servers_than_are_watched_some_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
