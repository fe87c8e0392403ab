// The window of a fetch against a broker in memory that follows Mosquitto's rules: a SUBSCRIBE to a
// retained topic delivers once, a live filter subscribed again is an error of ours, silence is all
// that a missing object says.
#include "client/fetch_plan.h"
#include "proto/digest.h"
#include "tests/unit/helper.h"

#define MAX 2000
#define SIZE (192 * 1024)

struct lab {
	struct fetch_pace pace;
	struct fetch_plan plan;
	struct fetch_item items[MAX];
	uint32_t order[MAX];
	bool filter[MAX]; // at the broker, by tag
	bool absent[MAX]; // by tag
	unsigned asked[MAX], delivered[MAX];
	uint32_t flight[MAX]; // items on their way, first in first out
	size_t flight_count;
	unsigned subscribes, largest_batch, most_live;
	uint64_t most_bytes;
	struct mono now;
	int64_t next_ms;
	uint64_t bytes;
};

static void lab_init(struct lab *x, size_t count, uint32_t window, uint64_t window_bytes,
	uint64_t rate, uint64_t seed)
{
	memset(x, 0, sizeof *x);
	x->now.ms = 5000;
	for (uint32_t i = 0; i < count; i++)
		x->items[i] = (struct fetch_item){
			.topic = sha256(&i, sizeof i), .size_bytes = SIZE, .tag = i};
	fetch_pace_init(&x->pace, window, window_bytes, rate, x->now);
	fetch_plan_init(&x->plan, &x->pace, x->items, x->order, count, seed, x->now);
}

static bool lab_step(struct lab *x)
{
	struct fetch_step s;
	fetch_plan_step(&x->plan, x->now, &s);
	for (size_t i = 0; i < s.unsubscribe_count; i++) {
		assert_true(x->filter[x->items[s.unsubscribe[i]].tag]);
		x->filter[x->items[s.unsubscribe[i]].tag] = false;
	}
	for (size_t i = 0; i < s.subscribe_count; i++) {
		uint32_t tag = x->items[s.subscribe[i]].tag;
		assert_false(x->filter[tag]); // never a live filter again
		x->filter[tag] = true;
		x->asked[tag]++;
		if (!x->absent[tag])
			x->flight[x->flight_count++] = s.subscribe[i];
	}
	x->subscribes += s.subscribe_count != 0 ? 1 : 0;
	if (s.subscribe_count > x->largest_batch)
		x->largest_batch = (unsigned)s.subscribe_count;
	if (x->plan.live > x->most_live)
		x->most_live = (unsigned)x->plan.live;
	if (x->plan.out_bytes > x->most_bytes)
		x->most_bytes = x->plan.out_bytes;
	x->next_ms = s.wait_ms;
	return s.finished;
}

static void lab_deliver(struct lab *x)
{
	uint32_t item = x->flight[0];
	memmove(x->flight, x->flight + 1, --x->flight_count * sizeof x->flight[0]);
	if (!fetch_plan_arrived(&x->plan, item, x->now))
		return;
	x->delivered[x->items[item].tag]++;
	x->bytes += x->items[item].size_bytes;
	fetch_plan_stored(&x->plan, item);
}

// All that is on its way. An arrival is followed by another step, as in the fetcher.
static bool lab_arrive(struct lab *x)
{
	bool any = x->flight_count != 0;
	while (x->flight_count != 0)
		lab_deliver(x);
	return any;
}

// One object a tick, or the wait that the plan asks for.
static void lab_run(struct lab *x, int64_t tick_ms)
{
	for (unsigned i = 0; i < 100000; i++) {
		if (lab_step(x))
			return;
		if (x->flight_count != 0) {
			lab_deliver(x);
			x->now.ms += tick_ms;
		} else {
			assert_true(x->next_ms >= 0);
			x->now.ms += x->next_ms > 0 ? x->next_ms : 1;
		}
	}
	fail_msg("the plan does not end");
}

static void every_object_is_asked_for_once_and_the_window_holds(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 1000, 32, UINT64_MAX / 8, 0, 1);
	lab_run(x, 1);
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(x->asked[i], 1);
		assert_int_equal(x->delivered[i], 1);
		assert_false(x->filter[i]); // and unsubscribed
	}
	assert_in_range(x->most_live, 24, 32);
	assert_in_range(x->largest_batch, 8, 32);
	assert_true(x->subscribes <= 1000 / 8 + 8);
	free(x);
}

static void the_window_is_bounded_in_bytes_too(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 300, 64, 2 * 1024 * 1024, 0, 1);
	lab_run(x, 1);
	assert_true(x->most_bytes <= 2 * 1024 * 1024);
	assert_true(x->most_live >= 8);
	// An object larger than the window goes alone.
	lab_init(x, 3, 64, 1000, 0, 1);
	lab_run(x, 1);
	assert_int_equal(x->plan.stored, 3);
	assert_int_equal(x->most_live, 1);
	free(x);
}

static void the_order_is_the_clients_own(void **state)
{
	struct lab *x = malloc(sizeof *x), *y = malloc(sizeof *y);
	(void)state;
	lab_init(x, 100, 32, UINT64_MAX / 8, 0, 1);
	lab_init(y, 100, 32, UINT64_MAX / 8, 0, 2);
	unsigned same = 0;
	for (size_t i = 0; i < 100; i++)
		same += x->order[i] == y->order[i] ? 1 : 0;
	assert_true(same < 20);
	lab_init(y, 100, 32, UINT64_MAX / 8, 0, 1);
	assert_memory_equal(x->order, y->order, 100 * sizeof x->order[0]);
	free(x);
	free(y);
}

// A filter that many hold at a time costs the broker each of them: places are spread.
static void a_crowd_does_not_ask_for_the_same_object_at_the_same_time(void **state)
{
	static const size_t sizes[] = {53, 200, 2000};
	struct lab *x = malloc(sizeof *x);
	(void)state;
	for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
		unsigned first[MAX] = {0}, last[MAX] = {0}, places = 0;
		for (uint64_t client = 0; client < 1000; client++) {
			struct digest own = sha256(&client, sizeof client);
			uint64_t seed;
			memcpy(&seed, own.b, sizeof seed);
			lab_init(x, sizes[k], 32, UINT64_MAX / 8, 0, seed);
			places += first[x->items[x->order[0]].tag]++ == 0;
			last[x->items[x->order[sizes[k] - 1]].tag]++;
		}
		for (size_t i = 0; i < sizes[k]; i++) {
			assert_true(first[i] <= 3 * 1000 / (sizes[k] < 64 ? sizes[k] : 64));
			assert_true(last[i] <= 3 * 1000 / (sizes[k] < 64 ? sizes[k] : 64));
		}
		assert_true(places >= (sizes[k] < 600 ? sizes[k] : 600) * 9 / 10);
	}
	free(x);
}

static void neighbours_of_a_large_package_are_asked_for_together(void **state)
{
	struct lab *x = malloc(sizeof *x);
	size_t together = 0;
	(void)state;
	lab_init(x, 2000, 32, UINT64_MAX / 8, 0, 9);
	for (size_t i = 1; i < 2000; i++)
		together += x->items[x->order[i]].tag == x->items[x->order[i - 1]].tag + 1;
	assert_true(together >= 2000 * 7 / 8 - 2);
	free(x);
}

static void a_missing_object_is_asked_for_three_times_and_reported(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 50, 16, UINT64_MAX / 8, 0, 1);
	x->absent[7] = x->absent[31] = true;
	lab_run(x, 1);
	assert_int_equal(x->asked[7] + x->asked[31], FETCH_TRIES + 1); // one of them is the witness
	assert_int_equal(x->plan.missing, 2);
	assert_int_equal(x->plan.stored, 48);
	assert_false(x->filter[7]);
	free(x);
}

static void a_broker_that_lost_everything_is_found_out_within_seconds(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 500, 32, UINT64_MAX / 8, 0, 1);
	for (int i = 0; i < 12; i++) {
		(void)lab_step(x);
		(void)lab_arrive(x);
		x->now.ms += 20;
	}
	size_t stored = x->plan.stored;
	assert_true(stored > 50 && stored < 450);
	memset(x->absent, 1, sizeof x->absent);
	x->flight_count = 0;
	struct mono begin = x->now;
	lab_run(x, 1);
	assert_true(x->plan.given_up);
	assert_true(x->plan.missing >= 8);
	assert_true(mono_since_ms(x->now, begin) < 10000);
	free(x);
}

static unsigned filters(const struct lab *x)
{
	unsigned n = 0;
	for (size_t i = 0; i < MAX; i++)
		n += x->filter[i];
	return n;
}

// What was on its way is lost, the witness comes and overtakes it, and then nothing comes any more:
// the window is smaller now, so not all that was overtaken was asked for again.
static void a_plan_that_gives_up_leaves_no_filter_of_what_was_overtaken(void **state)
{
	struct lab *x = malloc(sizeof *x);
	unsigned waiting = 0;
	(void)state;
	lab_init(x, 500, FETCH_WINDOW_MAX, UINT64_MAX / 8, 0, 1);
	for (int i = 0; i < 8; i++) {
		(void)lab_step(x);
		(void)lab_arrive(x);
		x->now.ms += 20;
	}
	(void)lab_step(x);
	assert_true(x->flight_count > 8);
	x->flight_count = 0;
	x->now.ms += 60000;
	(void)lab_step(x); // the watchdog's one
	assert_int_equal(x->flight_count, 1);
	x->pace.hold = true; // asked for nothing more: it stays as it is
	(void)lab_arrive(x);
	for (size_t i = 0; i < 500; i++)
		waiting += x->items[i].state == ITEM_WAITING && x->items[i].subscribed;
	assert_true(waiting > 8); // overtaken
	assert_true(filters(x) >= waiting);
	memset(x->absent, 1, sizeof x->absent);
	x->pace.hold = false;
	x->pace.window = 1;
	lab_run(x, 1);
	assert_true(x->plan.given_up);
	assert_int_equal(filters(x), 0);
	free(x);
}

static void silence_is_borne_for_a_second_at_least_and_longer_on_slow_lines(void **state)
{
	struct fetch_pace p;
	(void)state;
	fetch_pace_init(&p, 32, 1 << 22, 0, (struct mono){0});
	assert_int_equal(fetch_pace_patience_ms(&p, 0), 1000);
	fetch_pace_round_trip(&p, 600);
	assert_int_equal(fetch_pace_patience_ms(&p, 0), 2400);
	p.bytes_per_ms = 10; // 10 kB/s
	assert_int_equal(fetch_pace_patience_ms(&p, 200000), 40000);
	p.alarms = 5;
	assert_int_equal(fetch_pace_patience_ms(&p, 200000), 60000);
}

static void a_slow_line_does_not_lead_to_copies(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 40, 32, 2 * 1024 * 1024, 0, 1);
	lab_run(x, 900); // 213 kB/s
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(x->asked[i], 1);
	free(x);
}

static void wrong_bytes_are_asked_for_again_and_then_given_up(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 1, 16, UINT64_MAX / 8, 0, 1);
	for (int i = 0; i < FETCH_TRIES; i++) {
		assert_false(lab_step(x));
		assert_int_equal(x->flight_count, 1);
		uint32_t item = x->flight[0];
		x->flight_count = 0;
		assert_true(fetch_plan_arrived(&x->plan, item, x->now));
		assert_false(fetch_plan_arrived(&x->plan, item, x->now)); // a copy
		fetch_plan_bad(&x->plan, item);
	}
	assert_true(lab_step(x));
	assert_int_equal(x->plan.missing, 1);
	assert_int_equal(x->asked[0], FETCH_TRIES);
	free(x);
}

static void after_a_broken_connection_only_the_missing_ones_are_asked_for(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 200, 32, UINT64_MAX / 8, 0, 1);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 30; i++) {
			(void)lab_step(x);
			if (x->flight_count != 0)
				lab_deliver(x);
			x->now.ms++;
		}
		fetch_plan_disconnected(&x->plan, x->now);
		memset(x->filter, 0, sizeof x->filter);
		x->flight_count = 0;
	}
	lab_run(x, 1);
	assert_int_equal(x->plan.stored, 200);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(x->delivered[i], 1);
	free(x);
}

// ---- objects that are told with others: tag n needs tag n - 1, but for every eighth

#define CHAIN 8

static void chain_init(struct lab *x, size_t count, uint32_t window, uint64_t window_bytes)
{
	lab_init(x, count, window, window_bytes, 0, 1);
	for (uint32_t i = 0; i < count; i++)
		x->items[i] = (struct fetch_item){.topic = sha256(&i, sizeof i),
			.size_bytes = SIZE,
			.wave = (uint8_t)(i % CHAIN),
			.tag = i};
	fetch_plan_init(&x->plan, &x->pace, x->items, x->order, count, 7, x->now);
}

static struct fetch_item *tagged(struct lab *x, uint32_t tag)
{
	struct digest topic = sha256(&tag, sizeof tag);
	return &x->items[fetch_plan_find(&x->plan, &topic)];
}

static bool is_ready(struct lab *x, uint32_t tag)
{
	return tag % CHAIN == 0 || tagged(x, tag - 1)->state == ITEM_STORED;
}

// What came last is delivered first. An object that lacks what it needs is parked; one that is
// stored lets go of those that waited for it.
static void chain_deliver(struct lab *x, int32_t bad_tag)
{
	uint32_t item = x->flight[--x->flight_count];
	if (!fetch_plan_arrived(&x->plan, item, x->now))
		return;
	if ((int32_t)x->items[item].tag == bad_tag) {
		fetch_plan_bad(&x->plan, item);
		return;
	}
	if (!is_ready(x, x->items[item].tag)) {
		fetch_plan_park(&x->plan, item, true);
		return;
	}
	for (uint32_t tag = x->items[item].tag;; tag++) {
		uint32_t at = (uint32_t)(tagged(x, tag) - x->items);
		fetch_plan_park(&x->plan, at, false);
		fetch_plan_stored(&x->plan, at);
		x->delivered[tag]++;
		if ((tag + 1) % CHAIN == 0 || tag + 1 == x->plan.count ||
			!tagged(x, tag + 1)->parked)
			return;
	}
}

static void chain_run(struct lab *x, int32_t bad_tag)
{
	for (unsigned i = 0; i < 10000; i++) {
		if (lab_step(x))
			return;
		if (x->flight_count != 0)
			chain_deliver(x, bad_tag);
		else
			x->now.ms += x->next_ms > 0 ? x->next_ms : 1;
	}
	fail_msg("the plan never ends");
}

static void objects_that_need_others_all_come_in_a_small_window(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	chain_init(x, 100, 6, 4 * SIZE);
	for (size_t i = 1; i < 100; i++) // wave by wave
		assert_true(x->items[x->order[i - 1]].wave <= x->items[x->order[i]].wave);
	chain_run(x, -1);
	assert_int_equal(x->plan.stored, 100);
	assert_true(x->most_bytes <= 5 * SIZE); // the window, and one that all of it waits for
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(x->asked[i], 1);
	free(x);
}

static void what_waits_for_a_missing_object_ends_with_it(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	chain_init(x, 40, 32, UINT64_MAX / 8);
	x->absent[16] = true;
	chain_run(x, -1);
	assert_int_equal(x->asked[16], FETCH_TRIES);
	assert_int_equal(x->plan.missing, 1);
	assert_int_equal(tagged(x, 16)->state, ITEM_MISSING);
	assert_int_equal(x->plan.stored, 40 - CHAIN); // the other families are whole
	chain_init(x, 40, 32, UINT64_MAX / 8);
	chain_run(x, 16); // it comes, and is wrong each time
	assert_int_equal(tagged(x, 16)->state, ITEM_MISSING);
	assert_int_equal(x->plan.stored, 40 - CHAIN);
	free(x);
}

static void a_broken_connection_leaves_what_is_parked(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	chain_init(x, 64, 16, UINT64_MAX / 8);
	for (int round = 0; round < 6; round++) {
		for (int i = 0; i < 12; i++) {
			(void)lab_step(x);
			if (x->flight_count != 0)
				chain_deliver(x, -1);
			x->now.ms++;
		}
		fetch_plan_disconnected(&x->plan, x->now);
		memset(x->filter, 0, sizeof x->filter);
		x->flight_count = 0;
	}
	chain_run(x, -1);
	assert_int_equal(x->plan.stored, 64);
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(x->delivered[i], 1);
	free(x);
}

static void a_rate_is_kept_in_every_second_and_used(void **state)
{
	struct lab *x = malloc(sizeof *x);
	const uint64_t rate = 2000000;
	(void)state;
	lab_init(x, 100, 64, UINT64_MAX / 8, rate, 1);
	struct {
		int64_t ms;
		uint64_t bytes;
	} log[4000];
	size_t n = 0;
	struct mono begin = x->now;
	while (!lab_step(x)) {
		bool arrived = lab_arrive(x);
		assert_true(n < 4000);
		log[n].ms = x->now.ms;
		log[n++].bytes = x->bytes;
		x->now.ms += arrived ? 1 : x->next_ms > 0 ? x->next_ms : 1;
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = i; k < n && log[k].ms - log[i].ms < 1000; k++) {
			uint64_t before = i == 0 ? 0 : log[i - 1].bytes;
			assert_true(log[k].bytes - before <= rate + SIZE + 65536);
		}
	}
	double seconds = (double)(x->now.ms - begin.ms) / 1000;
	double expected = 100.0 * SIZE / (double)rate;
	assert_true(seconds > expected * 0.85 && seconds < expected * 1.15);
	free(x);
}

// When it ends, whose head took so long; counted from the grant.
static int64_t rated_end_ms(int64_t head_ms)
{
	struct lab *x = malloc(sizeof *x);
	lab_init(x, 100, 64, UINT64_MAX / 8, 8000000, 1);
	int64_t begin = x->now.ms;
	x->now.ms += head_ms;
	while (!lab_step(x))
		x->now.ms += lab_arrive(x) ? 1 : x->next_ms > 0 ? x->next_ms : 1;
	int64_t took = x->now.ms - begin;
	free(x);
	return took;
}

static void those_that_are_granted_together_end_together(void **state)
{
	(void)state;
	int64_t at_once = rated_end_ms(0);
	for (int64_t head_ms = 20; head_ms <= 120; head_ms += 20) {
		int64_t apart = rated_end_ms(head_ms) - at_once;
		if (apart < -10 || apart > 10)
			fail_msg("after a head of %lld ms it ends %lld ms apart",
				(long long)head_ms, (long long)apart);
	}
	// Control: what is later than the bucket is deep stays later.
	assert_true(rated_end_ms(500) - at_once > 300);
}

static void a_new_rate_takes_effect_in_mid_flight_and_hold_begins_nothing(void **state)
{
	struct lab *x = malloc(sizeof *x);
	(void)state;
	lab_init(x, 100, 64, UINT64_MAX / 8, 1000000, 1);
	for (int i = 0; i < 10; i++) {
		(void)lab_step(x);
		x->now.ms += lab_arrive(x) ? 1 : x->next_ms > 0 ? x->next_ms : 1;
	}
	fetch_pace_set(&x->pace, 1000000, true, x->now);
	uint64_t held = x->bytes;
	x->now.ms += 10000;
	assert_false(lab_step(x));
	assert_int_equal(x->flight_count, 0);
	assert_int_equal(x->bytes, held);
	fetch_pace_set(&x->pace, 8000000, false, x->now);
	struct mono begin = x->now;
	while (!lab_step(x)) {
		x->now.ms += lab_arrive(x) ? 1 : x->next_ms > 0 ? x->next_ms : 1;
	}
	double seconds = (double)(x->now.ms - begin.ms) / 1000;
	double expected = (100.0 * SIZE - (double)held) / 8000000;
	if (!(seconds > expected * 0.8 && seconds < expected * 1.2))
		fail_msg("%.3f s instead of %.3f s", seconds, expected);
	free(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_object_is_asked_for_once_and_the_window_holds),
		cmocka_unit_test(the_window_is_bounded_in_bytes_too),
		cmocka_unit_test(the_order_is_the_clients_own),
		cmocka_unit_test(a_crowd_does_not_ask_for_the_same_object_at_the_same_time),
		cmocka_unit_test(neighbours_of_a_large_package_are_asked_for_together),
		cmocka_unit_test(a_missing_object_is_asked_for_three_times_and_reported),
		cmocka_unit_test(a_broker_that_lost_everything_is_found_out_within_seconds),
		cmocka_unit_test(silence_is_borne_for_a_second_at_least_and_longer_on_slow_lines),
		cmocka_unit_test(a_slow_line_does_not_lead_to_copies),
		cmocka_unit_test(wrong_bytes_are_asked_for_again_and_then_given_up),
		cmocka_unit_test(after_a_broken_connection_only_the_missing_ones_are_asked_for),
		cmocka_unit_test(a_plan_that_gives_up_leaves_no_filter_of_what_was_overtaken),
		cmocka_unit_test(objects_that_need_others_all_come_in_a_small_window),
		cmocka_unit_test(what_waits_for_a_missing_object_ends_with_it),
		cmocka_unit_test(a_broken_connection_leaves_what_is_parked),
		cmocka_unit_test(a_rate_is_kept_in_every_second_and_used),
		cmocka_unit_test(those_that_are_granted_together_end_together),
		cmocka_unit_test(a_new_rate_takes_effect_in_mid_flight_and_hold_begins_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
