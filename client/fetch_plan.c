// The plan of one page's objects; see fetch_plan.h.
#include "client/fetch_plan.h"

#include <stdlib.h>
#include <string.h>

#define WATCH_MIN_MS 1000
#define WATCH_MAX_MS 60000
#define FIRST_BYTES_PER_MS 1024.0
#define BURST_MIN (64 * 1024)
#define BURST_MAX                                                                                  \
	LIMIT_CHUNK // not above one object: then any second holds at most rate + one object
#define SMOOTH 0.2
#define RECEIVE_MOST 16
#define BATCH 4 // objects of a SUBSCRIBE, where the window is no smaller
// Neighbours in the files that are asked for together: the disk writes them in one piece, and still
// no two devices walk through a package in the same order. A small package has no runs to spare: it
// is read into memory anyway, and its order has to be of many places.
#define ORDER_RUN 8
#define ORDER_PLACES 64

// An eighth of a second, but what 20 ms carry at least: the timer's grain must not slow a fast
// link.
static uint64_t burst_of(uint64_t rate_per_s)
{
	uint64_t burst = rate_per_s / 8;
	if (burst > BURST_MAX)
		burst = BURST_MAX;
	if (burst < rate_per_s / 50)
		burst = rate_per_s / 50;
	return burst < BURST_MIN ? BURST_MIN : burst;
}

void fetch_pace_init(struct fetch_pace *p, uint32_t window, uint64_t window_bytes,
	uint64_t rate_bytes_per_s, struct mono now)
{
	*p = (struct fetch_pace){.progress = now, .rate_from = now};
	p->window = window < 1 ? 1 : window > FETCH_WINDOW_MAX ? FETCH_WINDOW_MAX : window;
	fetch_window_init(&p->open, window_bytes, now);
	ratelimit_init(&p->bucket, rate_bytes_per_s, burst_of(rate_bytes_per_s), now);
	// Empty: who had to wait for its connection and the package's head has saved as much as the
	// others were sent, and those that were granted the same at the same time end together.
	p->bucket.tokens = 0;
}

void fetch_pace_set(struct fetch_pace *p, uint64_t rate_bytes_per_s, bool hold, struct mono now)
{
	p->hold = hold;
	ratelimit_set(&p->bucket, rate_bytes_per_s, burst_of(rate_bytes_per_s), now);
}

void fetch_pace_round_trip(struct fetch_pace *p, int64_t ms)
{
	double sample = ms < 0 ? 0 : (double)ms;
	p->round_trip_ms =
		p->round_trip_ms == 0 ? sample : p->round_trip_ms * (1 - SMOOTH) + sample * SMOOTH;
}

uint16_t fetch_receive_maximum(uint32_t window)
{
	uint32_t half = window / 2;
	uint32_t least = window < 2 ? 1 : 2;
	return (uint16_t)(half < least ? least : half > RECEIVE_MOST ? RECEIVE_MOST : half);
}

int64_t fetch_pace_patience_ms(const struct fetch_pace *p, uint64_t live_bytes)
{
	double rate = p->bytes_per_ms > 0 ? p->bytes_per_ms : FIRST_BYTES_PER_MS;
	double patience = 4 * p->round_trip_ms;
	double transfer = 2 * (double)live_bytes / rate;
	if (patience < transfer)
		patience = transfer;
	if (patience < WATCH_MIN_MS)
		patience = WATCH_MIN_MS;
	for (uint32_t i = 0; i < p->alarms && patience < WATCH_MAX_MS; i++)
		patience *= 2;
	return patience > WATCH_MAX_MS ? WATCH_MAX_MS : (int64_t)patience;
}

// ---- setting up

static int item_compare(const void *a, const void *b)
{
	const struct fetch_item *x = a, *y = b;
	return digest_compare(&x->topic, &y->topic);
}

// splitmix64: an order of the client's own is all that is asked of it.
static uint64_t mix(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15U);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

static int tag_compare(const void *a, const void *b, void *items)
{
	const struct fetch_item *x = &((const struct fetch_item *)items)[*(const uint32_t *)a];
	const struct fetch_item *y = &((const struct fetch_item *)items)[*(const uint32_t *)b];
	if (x->wave != y->wave)
		return x->wave < y->wave ? -1 : 1;
	return x->tag < y->tag ? -1 : x->tag > y->tag;
}

static void run_swap(uint32_t *order, size_t run, size_t a, size_t b)
{
	for (size_t i = 0; i < run; i++) {
		uint32_t swap = order[a * run + i];
		order[a * run + i] = order[b * run + i];
		order[b * run + i] = swap;
	}
}

static void order_reverse(uint32_t *order, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		uint32_t swap = order[i];
		order[i] = order[count - 1 - i];
		order[count - 1 - i] = swap;
	}
}

// The first `by` go behind the others.
static void order_rotate(uint32_t *order, size_t count, size_t by)
{
	order_reverse(order, by);
	order_reverse(order + by, count - by);
	order_reverse(order, count);
}

// Whole runs change places; then all is turned, so that the rest that makes no run, and the first
// object of a run, stand anywhere.
static void runs_shuffle(uint32_t *order, size_t count, uint64_t seed)
{
	size_t run = count / ORDER_PLACES;
	if (count == 0)
		return;
	run = run < 1 ? 1 : run > ORDER_RUN ? ORDER_RUN : run;
	for (size_t i = count / run; i > 1; i--)
		run_swap(order, run, i - 1, (size_t)(mix(&seed) % i));
	order_rotate(order, count, (size_t)(mix(&seed) % count));
}

static void waves_shuffle(struct fetch_plan *p, uint64_t seed)
{
	for (size_t from = 0, to; from < p->count; from = to) {
		uint8_t wave = p->items[p->order[from]].wave;
		for (to = from; to < p->count && p->items[p->order[to]].wave == wave; to++)
			;
		runs_shuffle(p->order + from, to - from, seed);
	}
}

void fetch_plan_init(struct fetch_plan *p, struct fetch_pace *pace, struct fetch_item *items,
	uint32_t *order, size_t count, uint64_t seed, struct mono now)
{
	*p = (struct fetch_plan){.items = items, .order = order, .count = count, .pace = pace};
	pace->progress = now;
	fetch_window_rested(&pace->open, now);
	if (count != 0)
		qsort(items, count, sizeof *items, item_compare);
	for (size_t i = 0; i < count; i++) {
		items[i].state = ITEM_WAITING;
		items[i].tries = 0;
		items[i].subscribed = false;
		items[i].parked = false;
		order[i] = (uint32_t)i;
	}
	qsort_r(order, count, sizeof *order, tag_compare, items);
	waves_shuffle(p, seed);
}

int64_t fetch_plan_find(const struct fetch_plan *p, const struct digest *topic)
{
	size_t low = 0, high = p->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = digest_compare(&p->items[middle].topic, topic);
		if (c == 0)
			return (int64_t)middle;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

// ---- what happened

static void rate_learn(struct fetch_pace *p, uint32_t bytes, struct mono now)
{
	p->since_bytes += bytes;
	int64_t ms = mono_since_ms(now, p->rate_from);
	if (ms < 50)
		return;
	double sample = (double)p->since_bytes / (double)ms;
	p->bytes_per_ms =
		p->bytes_per_ms == 0 ? sample : p->bytes_per_ms * (1 - SMOOTH) + sample * SMOOTH;
	p->since_bytes = 0;
	p->rate_from = now;
}

// One that silence made us ask for again is here, by its first or its second way: what was asked
// for before it is not on its way any more.
static void overtaken(struct fetch_plan *p, const struct fetch_item *by)
{
	for (uint32_t i = 0; i < p->count && p->next > 0; i++) {
		struct fetch_item *it = &p->items[i];
		if (it->state != ITEM_LIVE || it->rank >= by->rank)
			continue;
		it->state = ITEM_WAITING;
		p->live--;
		p->live_bytes -= it->size_bytes;
		p->out_bytes -= it->size_bytes;
		p->order[--p->next] = i;
	}
}

bool fetch_plan_arrived(struct fetch_plan *p, uint32_t item, struct mono now)
{
	struct fetch_item *it = &p->items[item];
	if (it->state != ITEM_LIVE)
		return false;
	int64_t trip_ms = it->tries == 0 ? (int64_t)((uint32_t)now.ms - it->asked_ms) : -1;
	rate_learn(p->pace, it->size_bytes, now);
	fetch_window_arrived(&p->pace->open, it->size_bytes, trip_ms, now);
	if (it->tries != 0 && p->pace->alarms != 0)
		overtaken(p, it);
	p->pace->progress = now;
	p->pace->alarms = 0;
	it->state = ITEM_ARRIVED;
	p->live--;
	p->live_bytes -= it->size_bytes;
	p->arrived++;
	if (p->gone_count < FETCH_BATCH)
		p->gone[p->gone_count++] = item;
	return true;
}

void fetch_plan_park(struct fetch_plan *p, uint32_t item, bool parked)
{
	struct fetch_item *it = &p->items[item];
	if (it->parked == parked || it->state != ITEM_ARRIVED)
		return;
	it->parked = parked;
	p->parked = parked ? p->parked + 1 : p->parked - 1;
}

static void item_leaves(struct fetch_plan *p, struct fetch_item *it)
{
	if (it->parked)
		p->parked--;
	it->parked = false;
	p->arrived--;
	p->out_bytes -= it->size_bytes;
}

void fetch_plan_stored(struct fetch_plan *p, uint32_t item)
{
	struct fetch_item *it = &p->items[item];
	if (it->state != ITEM_ARRIVED)
		return;
	item_leaves(p, it);
	it->state = ITEM_STORED;
	p->stored++;
}

void fetch_plan_bad(struct fetch_plan *p, uint32_t item)
{
	struct fetch_item *it = &p->items[item];
	if (it->state != ITEM_ARRIVED)
		return;
	item_leaves(p, it);
	if (++it->tries >= FETCH_TRIES) {
		it->state = ITEM_MISSING;
		p->missing++;
		return;
	}
	it->state = ITEM_WAITING;
	if (p->next > 0)
		p->order[--p->next] = item; // next to be asked; the place before `next` is used up
}

void fetch_plan_disconnected(struct fetch_plan *p, struct mono now)
{
	size_t keep = p->next;
	// What was live waits again, in the places just before those that were never asked for.
	for (size_t i = p->count; i-- > 0;) {
		struct fetch_item *it = &p->items[i];
		it->subscribed = false;
		if (it->state != ITEM_LIVE)
			continue;
		it->state = ITEM_WAITING;
		p->live--;
		p->live_bytes -= it->size_bytes;
		p->out_bytes -= it->size_bytes;
		if (keep > 0)
			p->order[--keep] = (uint32_t)i;
	}
	qsort_r(p->order + keep, p->next - keep, sizeof *p->order, tag_compare, p->items);
	p->next = keep;
	p->gone_count = 0;
	fetch_window_restart(&p->pace->open, now);
	p->pace->alarms = 0;
}

// ---- what to do

static void item_subscribe(
	struct fetch_plan *p, uint32_t item, struct mono now, struct fetch_step *out)
{
	struct fetch_item *it = &p->items[item];
	it->asked_ms = (uint32_t)now.ms;
	it->rank = p->ranks++;
	if (it->subscribed)
		out->unsubscribe[out->unsubscribe_count++] = item;
	out->subscribe[out->subscribe_count++] = item;
	it->subscribed = true;
	it->state = ITEM_LIVE;
	p->live++;
	p->live_bytes += it->size_bytes;
	p->out_bytes += it->size_bytes;
}

static void flush_gone(struct fetch_plan *p, struct fetch_step *out)
{
	for (size_t i = 0; i < p->gone_count; i++) {
		struct fetch_item *it = &p->items[p->gone[i]];
		if (!it->subscribed || it->state == ITEM_LIVE)
			continue;
		it->subscribed = false;
		out->unsubscribe[out->unsubscribe_count++] = p->gone[i];
	}
	p->gone_count = 0;
}

static void item_give_up(struct fetch_plan *p, uint32_t item, struct fetch_step *out)
{
	struct fetch_item *it = &p->items[item];
	out->unsubscribe[out->unsubscribe_count++] = item;
	it->state = ITEM_MISSING;
	it->subscribed = false;
	p->missing++;
	p->live--;
	p->live_bytes -= it->size_bytes;
	p->out_bytes -= it->size_bytes;
}

// The live item that was asked for most often, of several the last one: one witness is enough to
// tell a broker that has lost everything from one that is slow, and the last one tells of all.
static uint32_t live_witness(const struct fetch_plan *p)
{
	uint32_t best = UINT32_MAX;
	for (uint32_t i = 0; i < p->count; i++) {
		const struct fetch_item *it = &p->items[i];
		const struct fetch_item *top = best != UINT32_MAX ? &p->items[best] : it;
		if (it->state != ITEM_LIVE)
			continue;
		if (best == UINT32_MAX || it->tries > top->tries ||
			(it->tries == top->tries && it->rank > top->rank))
			best = i;
	}
	return best;
}

// Silence: one object is asked for again. After three tries without a word all that is live is
// missing here, and the plan ends.
static void watchdog(struct fetch_plan *p, struct mono now, struct fetch_step *out)
{
	struct fetch_pace *pace = p->pace;
	if (p->live == 0 || p->arrived != p->parked)
		return;
	int64_t patience = fetch_pace_patience_ms(pace, p->live_bytes);
	int64_t silent = mono_since_ms(now, pace->progress);
	if (silent < patience) {
		out->wait_ms = patience - silent;
		return;
	}
	uint32_t witness = live_witness(p);
	pace->progress = now;
	pace->alarms++;
	fetch_window_lost(&pace->open, now);
	if (++p->items[witness].tries >= FETCH_TRIES) {
		for (uint32_t i = 0; i < p->count; i++) {
			if (p->items[i].state == ITEM_LIVE)
				item_give_up(p, i, out);
		}
		p->given_up = true;
		return;
	}
	p->items[witness].asked_ms = (uint32_t)now.ms;
	out->unsubscribe[out->unsubscribe_count++] = witness;
	out->subscribe[out->subscribe_count++] = witness;
	out->wait_ms = fetch_pace_patience_ms(pace, p->live_bytes);
}

// Nothing is on its way and nothing is being stored: what is parked waits for what comes next.
static bool is_still(const struct fetch_plan *p)
{
	return p->live == 0 && p->arrived == p->parked;
}

static bool has_room(const struct fetch_plan *p, uint32_t size_bytes)
{
	size_t out = p->live + p->arrived;
	if (is_still(p))
		return true;
	if (out >= p->pace->window)
		return false;
	return out == 0 || p->out_bytes + size_bytes <= fetch_window_bytes(&p->pace->open);
}

// Of the objects that come next, at most a packet of them.
static uint64_t batch_bytes(const struct fetch_plan *p)
{
	uint64_t bytes = 0;
	for (size_t i = p->next; i < p->count && i < p->next + BATCH; i++)
		bytes += p->items[p->order[i]].size_bytes;
	return bytes;
}

// Milliseconds until the rate allows as many as make a packet, or half of what the bucket holds.
static int64_t rate_waits_ms(const struct fetch_plan *p, struct mono now)
{
	const struct ratelimit *bucket = &p->pace->bucket;
	if (is_still(p) || bucket->rate_per_s == 0)
		return 0;
	uint64_t batch = batch_bytes(p);
	return ratelimit_wait_ms(
		bucket, batch < bucket->burst / 2 ? batch : bucket->burst / 2, now);
}

static void refill(struct fetch_plan *p, struct mono now, struct fetch_step *out)
{
	struct fetch_pace *pace = p->pace;
	int64_t wait_ms = rate_waits_ms(p, now);
	if (wait_ms > 0) {
		out->wait_ms = wait_ms;
		return;
	}
	while (p->next < p->count && out->subscribe_count < FETCH_BATCH) {
		uint32_t item = p->order[p->next];
		uint32_t size = p->items[item].size_bytes;
		if (!has_room(p, size))
			break;
		if (!ratelimit_take(&pace->bucket, size, now)) {
			out->wait_ms = ratelimit_wait_ms(&pace->bucket, size, now);
			break;
		}
		if (p->live == 0)
			pace->progress = now;
		p->next++;
		item_subscribe(p, item, now, out);
	}
}

// Enough of the window is free for a packet of its own: a quarter of it, but a batch of objects,
// or half of it when that is less. In objects and in bytes.
static bool is_enough(double room, double window, double batch)
{
	double half = window / 2;
	double least = batch < half ? batch : half;
	return room >= window / 4 && room >= least;
}

static bool batch_is_due(const struct fetch_plan *p)
{
	const struct fetch_pace *pace = p->pace;
	double out = (double)(p->live + p->arrived), window = pace->window;
	double bytes = (double)fetch_window_bytes(&pace->open);
	return is_still(p) || (is_enough(window - out, window, BATCH) &&
				      is_enough(bytes - (double)p->out_bytes, bytes,
					      BATCH * pace->open.object_bytes));
}

// The window is what keeps it from asking for more: not the rate, not the number of objects.
static void tell_full(struct fetch_plan *p, const struct fetch_step *step)
{
	bool waits_for_rate = step->wait_ms >= 0;
	if (!waits_for_rate && p->out_bytes >= fetch_window_bytes(&p->pace->open) / 2)
		fetch_window_full(&p->pace->open);
}

// The plan ends: no filter of it stays behind, not of those either that were overtaken and that
// nobody asks for any more. False: there was no room for all, the rest goes with another step.
static bool flush_rest(struct fetch_plan *p, struct fetch_step *out)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (!p->items[i].subscribed)
			continue;
		if (out->unsubscribe_count == 2 * FETCH_BATCH) {
			out->wait_ms = 0;
			return false;
		}
		p->items[i].subscribed = false;
		out->unsubscribe[out->unsubscribe_count++] = i;
	}
	return true;
}

void fetch_plan_step(struct fetch_plan *p, struct mono now, struct fetch_step *out)
{
	struct fetch_pace *pace = p->pace;
	*out = (struct fetch_step){.wait_ms = -1};
	if (p->parked != 0 && is_still(p) && (p->missing != 0 || p->next == p->count))
		p->given_up = true; // what they wait for does not come
	bool more = p->next < p->count && !p->given_up;
	if (more && pace->hold)
		fetch_window_rested(&pace->open, now);
	else if (more && batch_is_due(p))
		refill(p, now, out);
	if (more && p->next < p->count)
		tell_full(p, out);
	if (p->gone_count * 2 >= FETCH_BATCH) // each packet of them costs as much as one that asks
		flush_gone(p, out);
	if (out->subscribe_count == 0 && out->wait_ms < 0)
		watchdog(p, now, out);
	else if (out->wait_ms < 0)
		out->wait_ms = fetch_pace_patience_ms(pace, p->live_bytes);
	out->finished = (p->next == p->count || p->given_up) && is_still(p) &&
			(p->arrived == 0 || p->given_up) && flush_rest(p, out);
}
