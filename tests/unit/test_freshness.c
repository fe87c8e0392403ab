// When an answer is too old.
#include "server/freshness.h"
#include "tests/unit/helper.h"

static void an_answer_is_asked_for_when_neither_it_nor_the_question_is_young(void **state)
{
	static const int64_t now = 1795255245000;
	static const struct {
		uint32_t max_age_s;
		int64_t received, asked;
		bool due;
	} cases[] = {
		{0, 0, 0, false},                      // no policy
		{0, 1, 1, false},                      // nor for what is ancient
		{60, 0, 0, true},                      // never heard
		{60, now - 59999, 0, false},           // fresh
		{60, now - 60000, 0, true},            // stale
		{60, 0, now - 59999, false},           // just asked, no answer yet
		{60, 0, now - 60000, true},            // asked long ago, and nothing came
		{60, now - 90000, now - 30000, false}, // refused or on its way: not again at once
		{60, now - 30000, now - 90000, false},
		{60, now + 5000, 0, true}, // the clock was set back
		{UINT32_MAX, 1, 0, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (freshness_is_due(cases[i].max_age_s, cases[i].received, cases[i].asked, now) !=
			cases[i].due)
			fail_msg("case %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_asked_for_when_neither_it_nor_the_question_is_young),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
