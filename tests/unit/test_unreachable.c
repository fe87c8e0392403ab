// Who cannot fetch from which data broker, and for how long (S001-c26).
#include "tests/unit/helper.h"

#include "server/unreachable.h"

static struct mono at(int64_t s)
{
	return (struct mono){1000000 + s * 1000};
}

static void two_complaints_put_a_broker_out_of_question_for_the_period(void **state)
{
	struct unreachable *u = unreachable_new(60);

	(void)state;
	assert_false(unreachable_is(u, "f1", "da", at(0)));
	unreachable_note(u, "f1", "da", at(0));
	assert_false(unreachable_is(u, "f1", "da", at(0)));
	unreachable_note(u, "f1", "da", at(10));
	assert_true(unreachable_is(u, "f1", "da", at(10)));
	assert_false(unreachable_is(u, "f1", "db", at(10)));
	assert_false(unreachable_is(u, "f2", "da", at(10)));
	unreachable_note(u, "f1", "da", at(60)); // complaining on prolongs nothing
	assert_true(unreachable_is(u, "f1", "da", at(69)));
	assert_false(unreachable_is(u, "f1", "da", at(70)));
	unreachable_note(u, "f1", "da", at(71)); // begins anew
	assert_false(unreachable_is(u, "f1", "da", at(71)));
	unreachable_free(u);
}

static void two_complaints_far_apart_are_two_blips(void **state)
{
	struct unreachable *u = unreachable_new(60);

	(void)state;
	unreachable_note(u, "f1", "da", at(0));
	unreachable_note(u, "f1", "da", at(61));
	assert_false(unreachable_is(u, "f1", "da", at(61)));
	unreachable_note(u, "f1", "da", at(62));
	assert_true(unreachable_is(u, "f1", "da", at(62)));
	unreachable_forget(u, "f1", "da");
	assert_false(unreachable_is(u, "f1", "da", at(62)));
	unreachable_free(u);
}

static void without_a_period_there_is_no_such_rule(void **state)
{
	struct unreachable *u = unreachable_new(0);

	(void)state;
	for (int i = 0; i < 5; i++)
		unreachable_note(u, "f1", "da", at(0));
	assert_false(unreachable_is(u, "f1", "da", at(0)));
	unreachable_free(u);
}

static void of_too_many_the_oldest_is_forgotten(void **state)
{
	struct unreachable *u = unreachable_new(60);
	char client[16];

	(void)state;
	for (int i = 0; i <= UNREACHABLE_MAX; i++) {
		snprintf(client, sizeof(client), "c%d", i);
		unreachable_note(u, client, "da", at(0));
		unreachable_note(u, client, "da", at(0));
	}
	assert_false(unreachable_is(u, "c0", "da", at(1)));
	assert_true(unreachable_is(u, "c1", "da", at(1)));
	assert_true(unreachable_is(u, client, "da", at(1)));
	unreachable_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_complaints_put_a_broker_out_of_question_for_the_period),
		cmocka_unit_test(two_complaints_far_apart_are_two_blips),
		cmocka_unit_test(without_a_period_there_is_no_such_rule),
		cmocka_unit_test(of_too_many_the_oldest_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
