// The interval of a client, and what load makes of it: a fleet in numbers, whose beats are the
// load.
#include "tests/unit/helper.h"

#include "proto/base/clock.h"
#include "proto/limits.h"
#include "server/frequency.h"
#include "server/load_meter.h"
#include <math.h>

static const struct frequency_policy policy = {
	.idle_ms = 10000, .busy_ms = 1000, .min_ms = 500, .max_ms = 60000};

// As it is long after the last step.
static uint32_t interval_of(
	const struct frequency_policy *p, uint32_t level, uint32_t operator_ms, bool busy)
{
	const struct frequency f = {.level = level, .from = level ? level - 1 : 0};

	return frequency_interval(
		p, &f, operator_ms, busy, (struct mono){2 * (int64_t)HEARTBEAT_MAX_MS});
}

static void S001_c34_slow_when_idle_and_fast_while_an_operation_runs(void **state)
{
	struct frequency_policy reversed = policy;

	(void)state;
	assert_int_equal(interval_of(&policy, 0, 0, false), 10000);
	assert_int_equal(interval_of(&policy, 0, 0, true), 1000);
	// A busy interval that is longer than the idle one makes nobody slower.
	reversed.busy_ms = 20000;
	assert_int_equal(interval_of(&reversed, 0, 0, true), 10000);
}

static void S001_c34_the_operators_value_is_obeyed_between_the_limits(void **state)
{
	(void)state;
	for (uint32_t level = 0; level < FREQUENCY_LEVELS; level++)
		for (int busy = 0; busy < 2; busy++) {
			assert_int_equal(interval_of(&policy, level, 700, busy), 700);
			assert_int_equal(interval_of(&policy, level, 1, busy), 500);
			assert_int_equal(interval_of(&policy, level, 1000000000, busy), 60000);
		}
}

static void S001_c34_load_makes_it_slower_and_never_leaves_the_limits(void **state)
{
	struct frequency_policy widest = {
		HEARTBEAT_MAX_MS, HEARTBEAT_MIN_MS, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS, 0};

	(void)state;
	for (int busy = 0; busy < 2; busy++) {
		uint32_t before = 0;
		for (uint32_t level = 0; level < FREQUENCY_LEVELS; level++) {
			uint32_t ms = interval_of(&policy, level, 0, busy);
			assert_true(ms >= before && ms >= policy.min_ms && ms <= policy.max_ms);
			before = ms;
		}
	}
	assert_int_equal(interval_of(&policy, 1, 0, false), 15000);
	assert_int_equal(interval_of(&policy, 1, 0, true), 1500);
	assert_int_equal(interval_of(&policy, FREQUENCY_LEVELS - 1, 0, false), 60000);
	assert_int_equal(interval_of(&widest, FREQUENCY_LEVELS - 1, 0, false), HEARTBEAT_MAX_MS);
	// Each level is one step above the one before, which is what keeps it from swinging.
	for (uint32_t level = 1; level < FREQUENCY_LEVELS; level++)
		assert_true(frequency_permille(level) <=
			    FREQUENCY_STEP * frequency_permille(level - 1) + 1);
	assert_true(FREQUENCY_LOW * FREQUENCY_STEP < FREQUENCY_HIGH);
	assert_int_equal(frequency_permille(1000), frequency_permille(FREQUENCY_LEVELS - 1));
}

static void a_short_burst_and_nonsense_change_nothing(void **state)
{
	struct frequency f = {0};

	(void)state;
	for (int64_t s = 0; s < 600; s++) {
		double load = s % 20 == 0 ? 1.0 : s % 7 == 0 ? (double)NAN : 0.1;
		assert_false(frequency_load(&f, &policy, load, (struct mono){s * 1000}));
		assert_true(f.load >= 0 && f.load <= 1);
	}
	// The clock that stands still, or the same moment twice, is no time either.
	for (int i = 0; i < 1000; i++)
		assert_false(frequency_load(&f, &policy, 1.0, (struct mono){599 * 1000}));
}

static void S001_c34_a_step_keeps_beats_spread_that_were_spread(void **state)
{
	struct frequency f = {.level = 1, .from = 0, .seen = true, .stepped = {1000000}};
	int64_t before = 0;

	(void)state;
	for (int down = 0; down < 2; down++) {
		f.level = !down;
		f.from = (uint32_t)down;
		int64_t old = down ? 15000 : 10000, fresh = 25000 - old;
		// A thousand clients, evenly over the old interval: their next beats, evenly over
		// the new one, beginning where the last round ended.
		for (int64_t i = 0; i < 1000; i++) {
			struct mono at = {f.stepped.ms + i * old / 1000};
			int64_t next = at.ms + frequency_interval(&policy, &f, 0, false, at);
			assert_true(llabs(next - (f.stepped.ms + old + i * fresh / 1000)) <= 2);
			assert_true(i == 0 || next - before <= fresh / 1000 + 2);
			before = next;
		}
		struct mono later = {f.stepped.ms + old};
		assert_int_equal(frequency_interval(&policy, &f, 0, false, later), fresh);
	}
}

// ---- a fleet: each client takes the interval of the moment with its beat, and beats are the load

#define CLIENTS 2000

struct fleet {
	int64_t due_ms[CLIENTS];
	struct frequency f;
	uint32_t changes, turns; // of the level; of its direction
	int last;
};

typedef bool step_fn(struct frequency *f, double load, struct mono now);

static bool ours(struct frequency *f, double load, struct mono now)
{
	return frequency_load(f, &policy, load, now);
}

// The control: as slow as the load of the last second says, at once.
static bool hasty(struct frequency *f, double load, struct mono now)
{
	uint32_t level = load > 0.9   ? f->level + (f->level < FREQUENCY_LEVELS - 1)
			 : load < 0.7 ? f->level - (f->level > 0)
				      : f->level;
	bool changed = level != f->level;

	f->from = f->level = level;
	f->stepped = now;
	return changed;
}

static void fleet_begin(struct fleet *t)
{
	*t = (struct fleet){0};
	for (int i = 0; i < CLIENTS; i++)
		t->due_ms[i] = (int64_t)i * policy.idle_ms / CLIENTS;
}

// share: the load that the whole fleet makes at its own interval. Returns the load of the last
// second.
static double fleet_run(
	struct fleet *t, step_fn *step, int64_t from_s, int64_t to_s, double share, double fixed)
{
	double load = 0;

	for (int64_t s = from_s; s < to_s; s++) {
		size_t beats = 0;
		for (int i = 0; i < CLIENTS; i++)
			while (t->due_ms[i] < (s + 1) * 1000) {
				beats++;
				t->due_ms[i] += frequency_interval(
					&policy, &t->f, 0, false, (struct mono){t->due_ms[i]});
			}
		load = fixed + share * (double)beats * policy.idle_ms / 1000 / CLIENTS;
		uint32_t before = t->f.level;
		if (!step(&t->f, load > 1 ? 1 : load, (struct mono){(s + 1) * 1000}))
			continue;
		int direction = t->f.level > before ? 1 : -1;
		t->changes++;
		t->turns += t->last && direction != t->last;
		t->last = direction;
	}
	return load;
}

static void S001_c34_steps_of_load_are_followed_without_swinging(void **state)
{
	static const double steps[] = {0.3, 1.2, 0.3, 2.0, 0.9, 4.0, 0.2};
	struct fleet t;
	int64_t at = 0;

	(void)state;
	fleet_begin(&t);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint32_t turns = t.turns;
		double load = fleet_run(&t, ours, at, at + 3600, steps[i], 0.02);
		at += 3600;
		// It went where it belongs, by a detour of one turn at most, and stays there.
		assert_true(t.turns - turns <= 2);
		assert_true(load < FREQUENCY_HIGH + 0.05);
		assert_true(t.f.level == 0 || load > FREQUENCY_LOW - 0.05);
		uint32_t changes = t.changes;
		(void)fleet_run(&t, ours, at, at + 3600, steps[i], 0.02);
		at += 3600;
		assert_int_equal(t.changes, changes);
	}
	assert_int_equal(t.f.level, 0);
	// Control: this fleet does swing where the steps are taken before they are seen.
	fleet_begin(&t);
	(void)fleet_run(&t, hasty, 0, 7200, 1.2, 0.02);
	assert_true(t.turns > 20);
}

static void S001_c34_load_that_is_not_the_fleets_ends_at_the_limit_and_comes_back(void **state)
{
	struct fleet t;

	(void)state;
	fleet_begin(&t);
	(void)fleet_run(&t, ours, 0, 3600, 0.01, 1.0);
	assert_int_equal(t.f.level, FREQUENCY_LEVELS - 1);
	assert_int_equal(t.turns, 0);
	(void)fleet_run(&t, ours, 3600, 7200, 0.01, 0.0);
	assert_int_equal(t.f.level, 0);
	assert_int_equal(t.turns, 1);
}

// ---- the meter

static void the_servers_load_is_the_time_in_which_it_did_not_wait(void **state)
{
	struct load_meter m = {0};
	struct load_reading r = {.idle_ns = 77000000000, .other_us = 5000000, .dropped = 3};

	(void)state;
	assert_true(load_of_server(&m, &r, (struct mono){5000}) == 0);
	r.idle_ns += 750000000; // of a second
	assert_true(fabs(load_of_server(&m, &r, (struct mono){6000}) - 0.25) < 1e-9);
	r.idle_ns += 2000000000; // more than the time that passed: clocks differ a little
	assert_true(load_of_server(&m, &r, (struct mono){7000}) == 0);
	r.idle_ns += 1000000000; // the loop waits, the link's thread is at its limit
	r.other_us += 950000;
	assert_true(fabs(load_of_server(&m, &r, (struct mono){8000}) - 0.95) < 1e-9);
	r.idle_ns += 1000000000;
	assert_true(load_of_server(&m, &r, (struct mono){8000}) == 0); // no time passed
	r.dropped++;
	assert_true(load_of_server(&m, &r, (struct mono){9000}) == 1);
}

static void the_brokers_load_is_its_own_count_of_what_it_can_carry(void **state)
{
	struct load_meter m = {0};

	(void)state;
	assert_true(load_of_broker(&m, 1000, (struct mono){0}) == 0);
	load_broker_count(&m, 5000000, (struct mono){1000});
	assert_true(load_of_broker(&m, 1000, (struct mono){1000}) == 0);
	load_broker_count(&m, 5005000, (struct mono){11000});
	assert_true(fabs(load_of_broker(&m, 1000, (struct mono){12000}) - 0.5) < 1e-9);
	load_broker_count(&m, 5105000, (struct mono){21000});
	assert_true(load_of_broker(&m, 1000, (struct mono){21000}) == 1);
	// It began anew: one reading says nothing.
	load_broker_count(&m, 100, (struct mono){31000});
	assert_true(load_of_broker(&m, 1000, (struct mono){31000}) == 0);
	load_broker_count(&m, 10100, (struct mono){41000});
	assert_true(load_of_broker(&m, 1000, (struct mono){41000}) == 1);
	// What is not said again carries nothing.
	assert_true(load_of_broker(&m, 1000, (struct mono){41001 + LOAD_COUNT_OLD_MS}) == 0);
}

static void S001_c34_a_crowd_at_work_shares_its_beats(void **state)
{
	struct frequency_policy p = policy;
	struct frequency f = {.working = 100000};
	const struct mono now = {1000};

	(void)state;
	assert_int_equal(frequency_interval(&p, &f, 0, true, now), 1000); // no bound
	p.busy_per_s = 500;
	assert_int_equal(frequency_interval(&p, &f, 0, true, now), 10000); // as if it were idle
	assert_int_equal(frequency_by(&p, &f, 0, true), FREQUENCY_BY_LOAD);
	for (f.working = 0; f.working < 5000; f.working++) {
		uint32_t ms = frequency_interval(&p, &f, 0, true, now);

		assert_true((uint64_t)f.working * 1000 <= (uint64_t)p.busy_per_s * ms);
		assert_true(ms % p.busy_ms == 0 && ms <= 1000 + 2 * f.working);
		assert_int_equal(
			frequency_by(&p, &f, 0, true) == FREQUENCY_BY_BUSY, f.working <= 500);
		assert_int_equal(frequency_interval(&p, &f, 0, false, now), 10000);
		assert_int_equal(frequency_interval(&p, &f, 700, true, now), 700);
	}
}

static void S001_c34_every_interval_names_what_it_came_from(void **state)
{
	struct frequency f = {0};
	const struct frequency_policy p = {
		.idle_ms = 30000, .busy_ms = 2000, .min_ms = 200, .max_ms = 60000};

	(void)state;
	assert_int_equal(frequency_by(&p, &f, 0, false), FREQUENCY_BY_IDLE);
	assert_int_equal(frequency_by(&p, &f, 0, true), FREQUENCY_BY_BUSY);
	assert_int_equal(frequency_by(&p, &f, 1000, true), FREQUENCY_BY_OPERATOR);
	assert_int_equal(frequency_by(&p, &f, 10, true), FREQUENCY_BY_LIMIT);
	f.level = 2;
	assert_int_equal(frequency_by(&p, &f, 0, true), FREQUENCY_BY_LOAD);
	assert_string_equal(frequency_by_word(FREQUENCY_BY_LOAD), "load");
	assert_string_equal(frequency_by_word((enum frequency_by)0), "");
}

static void X_7_a_fleet_finds_its_way_back_in_a_second_for_each_1500_clients(void **state)
{
	static const struct {
		uint32_t least_ms, clients, ms;
	} cases[] = {
		{5000, 0, 5000},
		{5000, 7500, 5000},
		{5000, 8999, 5000},
		{5000, 9000, 6000},
		{5000, 15000, 10000},
		{5000, 1000000, 666000},
		{30000, 15000, 30000},
		{0, 4, 0}, // a fleet of a test
		{300, 1499, 300},
		{300, 15000, 10000}, // however short the interval
		{3600000, 1, RECONNECT_SPREAD_MAX_MS},
		{5000, UINT32_MAX, RECONNECT_SPREAD_MAX_MS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			reconnect_spread_ms(cases[i].least_ms, cases[i].clients), cases[i].ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S001_c34_slow_when_idle_and_fast_while_an_operation_runs),
		cmocka_unit_test(S001_c34_the_operators_value_is_obeyed_between_the_limits),
		cmocka_unit_test(S001_c34_load_makes_it_slower_and_never_leaves_the_limits),
		cmocka_unit_test(S001_c34_a_step_keeps_beats_spread_that_were_spread),
		cmocka_unit_test(X_7_a_fleet_finds_its_way_back_in_a_second_for_each_1500_clients),
		cmocka_unit_test(a_short_burst_and_nonsense_change_nothing),
		cmocka_unit_test(S001_c34_steps_of_load_are_followed_without_swinging),
		cmocka_unit_test(
			S001_c34_load_that_is_not_the_fleets_ends_at_the_limit_and_comes_back),
		cmocka_unit_test(the_servers_load_is_the_time_in_which_it_did_not_wait),
		cmocka_unit_test(S001_c34_a_crowd_at_work_shares_its_beats),
		cmocka_unit_test(S001_c34_every_interval_names_what_it_came_from),
		cmocka_unit_test(the_brokers_load_is_its_own_count_of_what_it_can_carry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
