// When an answer is too old.
#include "proto/base/log.h"
#include "server/freshness.h"
#include "tests/unit/core_rig.h"

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
		{60, 0, now + 5000, true},
		{60, now + 5000, now - 1000, false}, // and it was asked since
		{UINT32_MAX, 1, 0, false},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (freshness_is_due(cases[i].max_age_s, cases[i].received, cases[i].asked, now) !=
			cases[i].due)
			fail_msg("case %zu", i);
	}
}

// ---- who is due when

static void what_is_due_comes_by_time_and_nothing_else_is_looked_at(void **state)
{
	enum {
		PLACES = 100000
	};
	struct due_list d = {0};
	uint32_t place, last_due = 0, random = 1;
	size_t taken = 0;

	(void)state;
	for (uint32_t i = 0; i < PLACES; i++) {
		random = random * 1664525u + 1013904223u;
		assert_int_equal(due_put(&d, i, 1000 + (random >> 8) % 86400), ERR_OK);
	}
	assert_false(due_take(&d, 999, &place));
	for (uint32_t now = 1000; now < 1000 + 86400; now++) {
		while (d.count > 0 && d.items[0].due_s <= now) {
			uint32_t due = d.items[0].due_s;

			assert_true(due_take(&d, now, &place));
			assert_true(due >= last_due && due == now);
			last_due = due;
			taken++;
		}
		assert_false(due_take(&d, now, &place));
	}
	assert_int_equal(taken, PLACES);
	due_fini(&d);
}

static void who_is_parked_waits_for_being_woken_and_is_woken_once(void **state)
{
	struct due_list d = {0};
	uint32_t place = 0;

	(void)state;
	assert_int_equal(due_wake(&d, 700, 5), ERR_OK); // unknown
	assert_int_equal(due_park(&d, 700), ERR_OK);
	assert_int_equal(due_wake(&d, 699, 5), ERR_OK);
	assert_false(due_take(&d, UINT32_MAX, &place));
	assert_int_equal(due_wake(&d, 700, 5), ERR_OK);
	assert_int_equal(due_wake(&d, 700, 5), ERR_OK);
	assert_false(due_take(&d, 4, &place));
	assert_true(due_take(&d, 5, &place));
	assert_int_equal(place, 700);
	assert_false(due_take(&d, UINT32_MAX, &place));
	due_fini(&d);
}

// ---- with a fleet

static struct freshness *watched;

static void on_online(void *ctx, struct core *core, size_t place)
{
	(void)ctx;
	freshness_online(watched, place, core_now(core));
}

static void fleet_enrol(struct rig *r, unsigned count)
{
	enum log_level level = log_get_level();

	log_set_level(LOG_WARN); // not a line for each
	for (unsigned i = 0; i < count; i++) {
		char id[16] = ""; // all of it is the key
		struct enrolment e = {.id = id, .name = "", .role = ROLE_CLIENT};

		(void)snprintf(id, sizeof id, "n%06u", i);
		memcpy(e.public_key.b, id, sizeof id);
		e.public_key.b[20] = 1;
		assert_int_equal(core_enrol(r->core, &e), ERR_OK);
	}
	core_turn_end(r->core, r->now);
	log_set_level(level);
}

// 100,000 clients that nobody hears, and one that is heard.
static void a_tick_costs_what_is_due_and_not_the_fleet(void **state)
{
	enum {
		FLEET = 100000
	};
	struct rig *r = *state;
	struct freshness f = {.max_age_s = {[INFO_SOFTWARE] = 3600}};
	struct core_hooks hooks = {.ctx = r, .online = on_online};
	unsigned ticks = 0;

	watched = &f;
	fleet_enrol(r, FLEET);
	(void)rig_settled(r, "f1");
	core_set_hooks(r->core, &hooks);
	for (; f.looks < FLEET + 1 && ticks < 2 * FLEET / FRESHNESS_LOOKS_PER_TICK; ticks++)
		freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, FLEET + 1); // each once
	assert_int_equal(f.asked, 1);
	assert_in_range(
		ticks, FLEET / FRESHNESS_LOOKS_PER_TICK, 2 * FLEET / FRESHNESS_LOOKS_PER_TICK);

	f.looks = 0;
	for (ticks = 0; ticks < 1000; ticks++)
		freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 0); // nobody is due
	assert_int_equal(f.due.count, 1);
	r->now.wall.ms += 3600 * 1000;
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 1);
	freshness_fini(&f);
}

static void who_is_heard_again_is_asked_what_became_due_meanwhile(void **state)
{
	struct rig *r = *state;
	struct freshness f = {.max_age_s = {[INFO_SOFTWARE] = 3600}};
	struct core_hooks hooks = {.ctx = r, .online = on_online};

	watched = &f;
	fleet_enrol(r, 3);
	core_set_hooks(r->core, &hooks);
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 3);
	assert_int_equal(f.asked, 0);
	struct agent *a = rig_settled(r, "f1"); // a new place, heard after it was looked at
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.asked, 1);
	assert_int_equal(agent_info(r, a).private_elements, 1);
	r->now.wall.ms += 5000;
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.asked, 1);
	freshness_fini(&f);
}

static void another_policy_and_a_clock_set_back_look_at_all_again(void **state)
{
	struct rig *r = *state;
	struct freshness f = {0};

	fleet_enrol(r, 10);
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 0); // no policy
	assert_int_equal(freshness_set(&f, r->db, INFO_SOFTWARE, 3600), ERR_OK);
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 10);
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 10);
	assert_int_equal(freshness_set(&f, r->db, INFO_DISPLAY, 60), ERR_OK);
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 20);
	r->now.wall.ms -= 3600 * 1000;
	freshness_tick(&f, r->core, r->now);
	assert_int_equal(f.looks, 30);
	freshness_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_is_asked_for_when_neither_it_nor_the_question_is_young),
		cmocka_unit_test(what_is_due_comes_by_time_and_nothing_else_is_looked_at),
		cmocka_unit_test(who_is_parked_waits_for_being_woken_and_is_woken_once),
		cmocka_unit_test_setup_teardown(
			a_tick_costs_what_is_due_and_not_the_fleet, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(
			who_is_heard_again_is_asked_what_became_due_meanwhile, rig_setup,
			rig_teardown),
		cmocka_unit_test_setup_teardown(
			another_policy_and_a_clock_set_back_look_at_all_again, rig_setup,
			rig_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
