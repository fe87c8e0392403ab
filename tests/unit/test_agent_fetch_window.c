// The measuring window on a line in memory: a plan, a broker with Mosquitto's queue (Receive
// Maximum in flight, a bounded queue behind it, silence for what does not fit), and a line of some
// bytes a millisecond and some delay each way.
#include "client/fetch_plan.h"
#include "proto/digest.h"
#include "tests/unit/helper.h"

#define MAX 2000
#define SIZE (192 * 1024)
#define SOON 4096

struct line {
	double bytes_per_ms;
	int64_t delay_ms; // each way
	size_t receive_maximum, queue_max;
};

struct event {
	int64_t at_ms;
	uint32_t item;
};

struct events {
	struct event e[SOON];
	size_t first, count;
};

struct net {
	struct line line;
	struct fetch_pace pace;
	struct fetch_plan plan;
	struct fetch_item items[MAX];
	uint32_t order[MAX];
	unsigned asked[MAX];
	bool filter[MAX];
	struct events up, down, acks; // SUBSCRIBE, objects, PUBACK on their way
	uint32_t queue[SOON];         // at the broker: first those in flight, then those queued
	size_t queued, in_flight, written;
	double credit; // bytes that the line could have carried
	uint64_t waiting_bytes;
	size_t dropped, most_queued, packets;
	uint64_t most_bytes; // of several
	size_t most_live;
	bool fixed; // the control: a window that is as large as it may be at once, and stays so
	struct mono now;
	int64_t step_at_ms;
	bool finished;
};

static void later(struct events *q, int64_t at_ms, uint32_t item)
{
	assert_true(q->count < SOON);
	q->e[(q->first + q->count++) % SOON] = (struct event){at_ms, item};
}

static bool due(struct events *q, int64_t now_ms, uint32_t *item)
{
	if (q->count == 0 || q->e[q->first].at_ms > now_ms)
		return false;
	*item = q->e[q->first].item;
	q->first = (q->first + 1) % SOON;
	q->count--;
	return true;
}

static uint32_t noise(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*seed >> 33);
}

static struct net *net_new(const struct line *line, size_t count, uint32_t window,
	uint64_t window_bytes, uint64_t seed)
{
	struct net *n = calloc(1, sizeof *n);
	n->line = *line;
	n->now.ms = 1000;
	for (uint32_t i = 0; i < count; i++) {
		n->items[i] = (struct fetch_item){.topic = sha256(&i, sizeof i), .tag = i};
		n->items[i].size_bytes = seed == 0 ? SIZE : 64 * 1024 + noise(&seed) % (320 * 1024);
	}
	fetch_pace_init(&n->pace, window, window_bytes, 0, n->now);
	fetch_plan_init(&n->plan, &n->pace, n->items, n->order, count, 1, n->now);
	fetch_pace_round_trip(&n->pace, 2 * line->delay_ms + 1);
	return n;
}

static void client_step(struct net *n)
{
	struct fetch_step s;
	if (n->fixed)
		n->pace.open.bytes = (double)n->pace.open.most_bytes;
	fetch_plan_step(&n->plan, n->now, &s);
	for (size_t i = 0; i < s.unsubscribe_count; i++)
		n->filter[n->items[s.unsubscribe[i]].tag] = false;
	for (size_t i = 0; i < s.subscribe_count; i++) {
		assert_false(n->filter[n->items[s.subscribe[i]].tag]);
		n->filter[n->items[s.subscribe[i]].tag] = true;
		n->asked[n->items[s.subscribe[i]].tag]++;
		later(&n->up, n->now.ms + n->line.delay_ms, s.subscribe[i]);
	}
	n->packets += s.subscribe_count != 0;
	if (n->plan.live > n->most_live)
		n->most_live = n->plan.live;
	if (n->plan.out_bytes > n->most_bytes && n->plan.live > 1)
		n->most_bytes = n->plan.out_bytes;
	n->step_at_ms = s.wait_ms < 0 ? INT64_MAX : n->now.ms + (s.wait_ms == 0 ? 1 : s.wait_ms);
	n->finished = s.finished;
}

static void broker_takes(struct net *n)
{
	uint32_t item;
	while (due(&n->acks, n->now.ms, &item))
		n->in_flight--;
	while (due(&n->up, n->now.ms, &item)) {
		size_t behind = n->queued > n->line.receive_maximum - n->in_flight
					? n->queued - (n->line.receive_maximum - n->in_flight)
					: 0;
		if (behind >= n->line.queue_max) {
			n->dropped++; // and nobody is told
			continue;
		}
		n->queue[n->queued++] = item;
		if (behind > n->most_queued)
			n->most_queued = behind;
	}
}

static void line_carries(struct net *n)
{
	n->credit += n->line.bytes_per_ms;
	while (n->queued != 0 && n->in_flight < n->line.receive_maximum) {
		uint32_t item = n->queue[0];
		if (n->credit < n->items[item].size_bytes)
			return;
		n->credit -= n->items[item].size_bytes;
		memmove(n->queue, n->queue + 1, --n->queued * sizeof n->queue[0]);
		n->in_flight++;
		later(&n->down, n->now.ms + n->line.delay_ms, item);
	}
	n->credit = 0; // nothing to carry: the time is lost
}

// True: the client has something to do.
static bool client_takes(struct net *n)
{
	uint32_t item;
	bool any = n->now.ms >= n->step_at_ms;
	while (due(&n->down, n->now.ms, &item)) {
		later(&n->acks, n->now.ms + n->line.delay_ms, item);
		any = true;
		if (fetch_plan_arrived(&n->plan, item, n->now))
			fetch_plan_stored(&n->plan, item);
	}
	return any;
}

static void net_run_for(struct net *n, int64_t ms)
{
	for (int64_t end = n->now.ms + ms; n->now.ms < end && !n->finished; n->now.ms++) {
		broker_takes(n);
		line_carries(n);
		if (client_takes(n))
			client_step(n);
	}
}

// Milliseconds that it took.
static int64_t net_run(struct net *n)
{
	int64_t begin = n->now.ms;
	client_step(n);
	net_run_for(n, 4 * 3600 * 1000);
	assert_true(n->finished);
	assert_int_equal(n->plan.stored, n->plan.count);
	return n->now.ms - begin;
}

static uint64_t content_bytes(const struct net *n)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < n->plan.count; i++)
		sum += n->items[i].size_bytes;
	return sum;
}

// ---- on any line

static void on_any_line_each_object_comes_once_and_no_bound_is_passed(void **state)
{
	uint64_t seed = 20261121;
	(void)state;
	for (int run = 0; run < 150; run++) {
		uint32_t window = 1 + noise(&seed) % 64;
		uint64_t most = (uint64_t)1 << (16 + noise(&seed) % 9);
		struct line line = {
			.bytes_per_ms = (double)(UINT64_C(1024) << (noise(&seed) % 10)),
			.delay_ms = noise(&seed) % 200,
			.receive_maximum = 1 + window / 4,
			.queue_max = 1000,
		};
		struct net *n = net_new(&line, 150, window, most, seed | 1);
		(void)net_run(n);
		for (size_t i = 0; i < n->plan.count; i++)
			assert_int_equal(n->asked[i], 1);
		assert_true(n->most_live <= window);
		assert_true(n->most_bytes <= most);
		assert_true(n->most_queued <= window);
		assert_int_equal(n->dropped, 0);
		free(n);
	}
}

static void a_line_is_kept_full(void **state)
{
	static const struct line lines[] = {
		{100, 20, 16, 1000},    // 800 kbit/s
		{250, 10, 16, 1000},    // 2 Mbit/s
		{250, 300, 16, 1000},   // by satellite
		{1250, 40, 16, 1000},   // 10 Mbit/s
		{12500, 15, 16, 1000},  // 100 Mbit/s
		{12500, 60, 16, 1000},  // and far away
		{125000, 1, 16, 1000},  // 1 Gbit/s
		{1000000, 0, 16, 1000}, // on the same machine
	};
	(void)state;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct net *n = net_new(&lines[i], 600, 64, 8 * 1024 * 1024, 5);
		double ideal_ms = (double)content_bytes(n) / lines[i].bytes_per_ms;
		double ms = (double)net_run(n);
		double allowed = ideal_ms * 1.1 + 40.0 * (double)lines[i].delay_ms + 60;
		if (ms > allowed)
			fail_msg("line %zu: %.0f ms, could be %.0f, window %.0f", i, ms, ideal_ms,
				n->pace.open.bytes);
		free(n);
	}
}

static double queue_ms(struct net *n, bool fixed)
{
	n->fixed = fixed;
	client_step(n);
	net_run_for(n, 20000); // it has settled
	double sum = 0;
	for (int i = 0; i < 200; i++) {
		net_run_for(n, 50);
		uint64_t bytes = 0;
		for (size_t k = 0; k < n->queued; k++)
			bytes += n->items[n->queue[k]].size_bytes;
		sum += (double)bytes / n->line.bytes_per_ms;
	}
	free(n);
	return sum / 200;
}

static void a_slow_line_has_no_long_queue(void **state)
{
	const struct line line = {1250, 20, 16, 1000}; // 10 Mbit/s
	(void)state;
	double measured = queue_ms(net_new(&line, 2000, 64, 12 * 1024 * 1024, 3), false);
	double fixed = queue_ms(net_new(&line, 2000, 64, 12 * 1024 * 1024, 3), true);
	// Two objects take 370 ms of it.
	if (measured > 600 || fixed < 5000)
		fail_msg("%.0f ms of queue, %.0f ms with a window that does not measure", measured,
			fixed);
}

// ---- lines that change

static void a_line_that_becomes_slow_shrinks_the_window_and_a_fast_one_opens_it(void **state)
{
	struct net *n = net_new(&(struct line){12500, 20, 16, 1000}, 2000, 64, 8 << 20, 3);
	(void)state;
	client_step(n);
	net_run_for(n, 3000);
	double wide = n->pace.open.bytes;
	n->line.bytes_per_ms = 500;
	net_run_for(n, 30000);
	double narrow = n->pace.open.bytes;
	n->line.bytes_per_ms = 12500;
	net_run_for(n, 6000);
	double again = n->pace.open.bytes;
	if (wide < 1e6 || narrow > wide / 2 || narrow > 6 * SIZE || again < 0.8 * wide)
		fail_msg("windows of %.0f, %.0f and %.0f bytes", wide, narrow, again);
	assert_false(n->finished);
	free(n);
}

static void a_longer_way_is_no_queue(void **state)
{
	struct net *n = net_new(&(struct line){5000, 5, 16, 1000}, 2000, 64, 8 << 20, 3);
	(void)state;
	client_step(n);
	net_run_for(n, 3000);
	n->line.delay_ms = 250; // another path
	net_run_for(n, 30000);
	size_t before = n->plan.stored;
	net_run_for(n, 10000);
	double rate = (double)(n->plan.stored - before) * 224 * 1024 / 10000;
	if (!n->finished && rate < 0.6 * 5000)
		fail_msg("%.0f of 5000 bytes/ms, window %.0f", rate, n->pace.open.bytes);
	free(n);
}

// ---- a broker that drops

static size_t dropped_with(uint32_t window, uint64_t most, bool fixed, int64_t *ms, size_t *twice)
{
	const struct line line = {2000, 10, 4, 12}; // 4 in flight, 12 behind them
	struct net *n = net_new(&line, 400, window, most, 0);
	n->fixed = fixed;
	*ms = net_run(n);
	*twice = 0;
	for (size_t i = 0; i < n->plan.count; i++)
		*twice += n->asked[i] > 1;
	size_t dropped = n->dropped;
	free(n);
	return dropped;
}

static void what_a_broker_drops_comes_and_the_window_learns(void **state)
{
	int64_t ms, fixed_ms;
	size_t twice;
	(void)state;
	assert_true(dropped_with(64, 64 * SIZE, true, &fixed_ms, &twice) > 50); // the control
	size_t dropped = dropped_with(64, 64 * SIZE, false, &ms, &twice);
	if (dropped > 20 || twice > 40 || ms > fixed_ms * 3 / 4)
		fail_msg("%zu dropped, %zu asked for twice, %lld ms (%lld)", dropped, twice,
			(long long)ms, (long long)fixed_ms);
	// And inside of what the broker is known to bear, none is.
	assert_int_equal(dropped_with(16, 64 * SIZE, true, &ms, &twice), 0);
	assert_int_equal(dropped_with(16, 64 * SIZE, false, &ms, &twice), 0);
	assert_int_equal(twice, 0);
}

static void all_that_was_lost_at_once_is_asked_for_after_one_silence(void **state)
{
	struct net *n = net_new(&(struct line){20000, 5, 16, 1000}, 300, 64, 8 << 20, 0);
	(void)state;
	client_step(n);
	net_run_for(n, 400);
	size_t live = n->plan.live;
	assert_true(live > 8);
	n->queued = n->in_flight = 0; // all that was under way is gone
	n->up = n->down = n->acks = (struct events){.count = 0};
	double before = n->pace.open.bytes;
	int64_t lost_at = n->now.ms;
	net_run_for(n, 600000);
	assert_true(n->finished && n->plan.stored == 300);
	assert_true(n->pace.open.losses == 1);
	assert_true(n->now.ms - lost_at < 6000); // not one silence for each
	assert_true(before > 0);
	free(n);
}

// ---- the controller alone

static void its_edges_hold(void **state)
{
	struct fetch_window w;
	struct mono now = {5};
	(void)state;
	fetch_window_init(&w, 0, now);
	assert_int_equal(fetch_window_bytes(&w), 1);
	fetch_window_init(&w, 1 << 20, now);
	assert_int_equal(fetch_window_bytes(&w), WINDOW_FIRST_BYTES);
	for (int i = 0; i < 100; i++)
		fetch_window_lost(&w, now);
	assert_true(fetch_window_bytes(&w) >= 1 && fetch_window_bytes(&w) <= CHUNK_AVG);
	for (int i = 0; i < 5000; i++) {
		now.ms += 30;
		fetch_window_full(&w);
		fetch_window_arrived(&w, SIZE, 5, now);
	}
	assert_int_equal(fetch_window_bytes(&w), 1 << 20);
	fetch_window_restart(&w, now);
	assert_int_equal(fetch_window_bytes(&w), WINDOW_FIRST_BYTES);
	for (int i = 0; i < 5000; i++) { // never full: nothing is learnt from what was not used
		now.ms += 30;
		fetch_window_arrived(&w, SIZE, 5, now);
	}
	assert_int_equal(fetch_window_bytes(&w), WINDOW_FIRST_BYTES);
	now.ms += 1; // an object of no bytes, and time that stands still
	for (int i = 0; i < 100; i++)
		fetch_window_arrived(&w, 0, 0, now);
	now.ms += 1000;
	for (int i = 0; i < 100; i++, now.ms += 25)
		fetch_window_arrived(&w, 0, -1, now);
	fetch_window_arrived(&w, 0, 100000, now);
	assert_true(fetch_window_bytes(&w) >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_any_line_each_object_comes_once_and_no_bound_is_passed),
		cmocka_unit_test(a_line_is_kept_full),
		cmocka_unit_test(a_slow_line_has_no_long_queue),
		cmocka_unit_test(
			a_line_that_becomes_slow_shrinks_the_window_and_a_fast_one_opens_it),
		cmocka_unit_test(a_longer_way_is_no_queue),
		cmocka_unit_test(what_a_broker_drops_comes_and_the_window_learns),
		cmocka_unit_test(all_that_was_lost_at_once_is_asked_for_after_one_silence),
		cmocka_unit_test(its_edges_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
