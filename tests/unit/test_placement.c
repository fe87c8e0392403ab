// The state chain of a placement and the choice of the data broker (S002-4, S002-5).
#include "tests/unit/helper.h"

#include "server/placement.h"

static void every_state_and_event_has_its_word(void **state)
{
	(void)state;
	for (int s = PLACE_OFFERED; s < PLACE_STATE_COUNT; s++) {
		enum place_state back = 0;

		assert_string_not_equal(place_state_word((enum place_state)s), "?");
		assert_int_equal(
			place_state_parse(place_state_word((enum place_state)s), &back), ERR_OK);
		assert_int_equal(back, s);
	}
	for (int e = 0; e < PLACE_EVENT_COUNT; e++)
		assert_string_not_equal(place_event_word((enum place_event)e), "?");
	assert_string_equal(place_state_word((enum place_state)0), "?");
	assert_int_equal(place_state_parse("lost", &(enum place_state){0}), ERR_FORMAT);
}

static void the_chain_of_a_life_is_walked(void **state)
{
	static const struct {
		enum place_event e;
		enum place_state to;
	} life[] = {
		{PLACE_EV_NO_BROKER, PLACE_DEFERRED},
		{PLACE_EV_CHOSEN, PLACE_SENDING},
		{PLACE_EV_CLAIMED, PLACE_VERIFYING},
		{PLACE_EV_PROVEN, PLACE_STORED},
		{PLACE_EV_LEASED, PLACE_STORED},
		{PLACE_EV_UNLEASED, PLACE_LINGER},
		{PLACE_EV_LEASED, PLACE_STORED},
		{PLACE_EV_DOUBT, PLACE_VERIFYING},
		{PLACE_EV_PROVEN, PLACE_STORED},
		{PLACE_EV_UNLEASED, PLACE_LINGER},
		{PLACE_EV_UNWANTED, PLACE_STOPPING},
		{PLACE_EV_STOPPED, PLACE_WAITING},
		{PLACE_EV_CHOSEN, PLACE_SENDING},
		{PLACE_EV_FAILED, PLACE_DEFERRED},
		{PLACE_EV_WITHDRAW, PLACE_WITHDRAWN},
		{PLACE_EV_OFFER, PLACE_OFFERED},
	};
	enum place_state s = PLACE_OFFERED;

	(void)state;
	for (size_t i = 0; i < sizeof(life) / sizeof(life[0]); i++) {
		s = place_step(s, life[i].e);
		assert_int_equal(s, life[i].to);
	}
}

static void what_must_not_happen_is_refused(void **state)
{
	static const struct {
		enum place_state s;
		enum place_event e;
	} refused[] = {
		{PLACE_STORED, PLACE_EV_UNWANTED}, // STOP requires that no lease lives
		{PLACE_STOPPING, PLACE_EV_LEASED}, // no grant while stopping
		{PLACE_STOPPING, PLACE_EV_CHOSEN},
		{PLACE_SENDING, PLACE_EV_LEASED}, // no grant before the read-back
		{PLACE_SENDING, PLACE_EV_PROVEN},
		{PLACE_VERIFYING, PLACE_EV_LEASED},
		{PLACE_WAITING, PLACE_EV_CLAIMED}, // undirected content counts for nothing
		{PLACE_WAITING, PLACE_EV_LEASED},
		{PLACE_WITHDRAWN, PLACE_EV_CHOSEN},
		{PLACE_WITHDRAWN, PLACE_EV_LEASED},
		{PLACE_OFFERED, PLACE_EV_CLAIMED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(place_step(refused[i].s, refused[i].e), 0);
	assert_int_equal(place_step((enum place_state)0, PLACE_EV_CHOSEN), 0);
	assert_int_equal(place_step(PLACE_STATE_COUNT, PLACE_EV_CHOSEN), 0);
	assert_int_equal(place_step(PLACE_STORED, PLACE_EVENT_COUNT), 0);
}

static void a_withdrawal_is_taken_in_every_state(void **state)
{
	(void)state;
	for (int s = PLACE_OFFERED; s < PLACE_STATE_COUNT; s++)
		assert_int_equal(
			place_step((enum place_state)s, PLACE_EV_WITHDRAW), PLACE_WITHDRAWN);
}

struct choice_case {
	const char *name;
	struct place_candidate c[4];
	size_t count;
	struct place_policy policy;
	enum place_verdict verdict;
	const char *chosen;
	int64_t retry_ms;
	bool fallback;
};

#define NOW 1000000
#define C(id, usable, busy, leases, last)                                                          \
	{                                                                                          \
		id, usable, busy, leases, last                                                     \
	}

static const struct choice_case cases[] = {
	{"the least busy", {C("a", true, 5, 0, 0), C("b", true, 1, 0, 0), C("c", true, 3, 0, 0)}, 3,
		{0, false}, PLACE_CHOSEN, "b", 0, false},
	{"idle ones are equal, whatever they counted",
		{C("b", true, 0.0001, 0, 0), C("a", true, 0.0004, 0, 0)}, 2, {0, false},
		PLACE_CHOSEN, "a", 0, false},
	{"a hundredth of the capacity decides",
		{C("a", true, 0.02, 0, 0), C("b", true, 0.01, 9, 0)}, 2, {0, false}, PLACE_CHOSEN,
		"b", 0, false},
	{"equal load: fewer leases", {C("a", true, 1, 4, 0), C("b", true, 1, 3, 0)}, 2, {0, false},
		PLACE_CHOSEN, "b", 0, false},
	{"equal load and leases: by id, in any order",
		{C("b", true, 0, 0, 0), C("a", true, 0, 0, 0)}, 2, {0, false}, PLACE_CHOSEN, "a", 0,
		false},
	{"a dead one never wins by its last low load",
		{C("a", false, 0, 0, 0), C("b", true, 9, 9, 0)}, 2, {0, false}, PLACE_CHOSEN, "b",
		0, false},
	{"a recent target is passed over", {C("a", true, 0, 0, NOW - 9999), C("b", true, 9, 0, 0)},
		2, {10000, false}, PLACE_CHOSEN, "b", 0, false},
	{"after the period it is chosen again",
		{C("a", true, 0, 0, NOW - 10000), C("b", true, 9, 0, 0)}, 2, {10000, false},
		PLACE_CHOSEN, "a", 0, false},
	{"all recent: deferred until the first is free",
		{C("a", true, 0, 0, NOW - 1000), C("b", true, 0, 0, NOW - 4000),
			C("c", true, 0, 0, NOW - 2000)},
		3, {10000, false}, PLACE_DEFER, NULL, 6000, false},
	{"all recent, fallback: the one used longest ago",
		{C("a", true, 0, 0, NOW - 1000), C("b", true, 7, 0, NOW - 4000)}, 2, {10000, true},
		PLACE_CHOSEN, "b", 0, true},
	{"period 0 excludes nobody", {C("a", true, 0, 0, NOW), C("b", true, 1, 0, 0)}, 2,
		{0, false}, PLACE_CHOSEN, "a", 0, false},
	{"a target in the future excludes nobody: the clock was set back",
		{C("a", true, 0, 0, NOW + 86400000)}, 1, {10000, false}, PLACE_CHOSEN, "a", 0,
		false},
	{"an unusable recent one does not make it wait",
		{C("a", false, 0, 0, NOW - 1000), C("b", true, 0, 0, NOW - 500)}, 2, {10000, false},
		PLACE_DEFER, NULL, 9500, false},
	{"none usable", {C("a", false, 0, 0, 0)}, 1, {0, true}, PLACE_NONE, NULL, 0, false},
	{"none at all", {{0}}, 0, {0, false}, PLACE_NONE, NULL, 0, false},
};

static void S002_4_S002_5_the_choice_of_the_data_broker(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct choice_case *t = &cases[i];
		struct place_choice got = place_choose(t->c, t->count, &t->policy, NOW);

		if (got.verdict != t->verdict || got.retry_after_ms != t->retry_ms ||
			got.fallback != t->fallback ||
			(t->chosen && strcmp(t->c[got.index].id, t->chosen) != 0))
			fail_msg("case '%s': verdict %d index %zu retry %lld", t->name,
				(int)got.verdict, got.index, (long long)got.retry_after_ms);
	}
}

// Three idle brokers, a period of 10 s, four requests at once: each is named once, the fourth
// waits.
static void S002_5_four_requests_at_once(void **state)
{
	struct place_candidate c[3] = {
		C("da", true, 0, 0, 0), C("db", true, 0, 0, 0), C("dc", true, 0, 0, 0)};
	const struct place_policy policy = {10000, false};
	struct place_choice got;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		got = place_choose(c, 3, &policy, NOW + (int64_t)i);
		assert_int_equal(got.verdict, PLACE_CHOSEN);
		assert_int_equal(got.index, i);
		c[got.index].last_target_unix_ms = NOW + (int64_t)i;
	}
	got = place_choose(c, 3, &policy, NOW + 3);
	assert_int_equal(got.verdict, PLACE_DEFER);
	assert_in_range(got.retry_after_ms, 1, 10000);
	// Requests 11 s apart: the same least busy one each time; it is recency, not rotation.
	for (int i = 2; i < 5; i++) {
		got = place_choose(c, 3, &policy, NOW + i * 11000);
		assert_int_equal(got.index, 0);
		c[0].last_target_unix_ms = NOW + i * 11000;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_and_event_has_its_word),
		cmocka_unit_test(the_chain_of_a_life_is_walked),
		cmocka_unit_test(what_must_not_happen_is_refused),
		cmocka_unit_test(a_withdrawal_is_taken_in_every_state),
		cmocka_unit_test(S002_4_S002_5_the_choice_of_the_data_broker),
		cmocka_unit_test(S002_5_four_requests_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
