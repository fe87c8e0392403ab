// What is still in the broker's memory of what was handed (broker-conf/shelf).
#include "tests/unit/helper.h"

#include "broker-conf/shelf/shelf_backlog.h"

static void what_is_used_above_a_quiet_moment_is_under_way(void **state)
{
	struct shelf_backlog b = {0};

	(void)state;
	assert_int_equal(shelf_backlog_bytes(&b, 100, true, 0), 0);
	assert_int_equal(shelf_backlog_bytes(&b, 130, false, 0), 30);
	assert_int_equal(shelf_backlog_bytes(&b, 110, false, 0), 10);
	// More connections, more of what is kept: known at the next quiet moment.
	assert_int_equal(shelf_backlog_bytes(&b, 160, true, 0), 0);
	assert_int_equal(shelf_backlog_bytes(&b, 165, false, 0), 5);
}

static void less_than_the_base_lowers_it(void **state)
{
	struct shelf_backlog b = {0};

	(void)state;
	assert_int_equal(shelf_backlog_bytes(&b, 100, true, 0), 0);
	assert_int_equal(shelf_backlog_bytes(&b, 70, false, 0), 0);
	assert_int_equal(shelf_backlog_bytes(&b, 100, false, 0), 30);
}

static void what_clients_hold_is_no_part_of_the_base(void **state)
{
	struct shelf_backlog b = {0};

	(void)state;
	assert_int_equal(shelf_backlog_bytes(&b, 100, true, 0), 0);
	// Slow readers, time and again: the base does not follow them.
	for (uint64_t held = 50; held < 1000; held += 50)
		assert_int_equal(shelf_backlog_bytes(&b, 100 + held, true, held), held);
	// They hold more than there is: they have read it, and did not unsubscribe.
	assert_int_equal(shelf_backlog_bytes(&b, 120, true, 1000), 20);
	assert_int_equal(shelf_backlog_bytes(&b, 100, true, 1000), 0);
}

static void what_the_broker_keeps_is_not_under_way(void **state)
{
	struct shelf_backlog b = {0};

	(void)state;
	assert_int_equal(shelf_backlog_bytes(&b, 100, true, 0), 0);
	shelf_backlog_keep(&b, 40);
	assert_int_equal(shelf_backlog_bytes(&b, 150, false, 0), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_used_above_a_quiet_moment_is_under_way),
		cmocka_unit_test(less_than_the_base_lowers_it),
		cmocka_unit_test(what_clients_hold_is_no_part_of_the_base),
		cmocka_unit_test(what_the_broker_keeps_is_not_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
