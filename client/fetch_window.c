// The controller of fetch_window.h.
#include "client/fetch_window.h"

#define SMOOTH 0.2
#define RATE_FADES 0.98 // of the best rate, a round
#define RATE_GROWS 1.02 // beyond the best one
#define LEAST_OBJECTS 2 // below that no delay shrinks the window
#define BASE_NEAR 1.1   // times the base: it was met
#define BASE_PROBE_MS 10000
#define CEILING_MS 30000

static double at_least(double a, double b)
{
	return a > b ? a : b;
}

static double at_most(double a, double b)
{
	return a < b ? a : b;
}

static void round_begin(struct fetch_window *w, struct mono now)
{
	w->from = now;
	w->round_bytes = 0;
	w->trips_ms = 0;
	w->trips = 0;
	w->full = false;
}

static void window_set(struct fetch_window *w, double bytes)
{
	w->bytes = at_least(1, at_most(bytes, w->ceiling));
}

static double least_bytes(const struct fetch_window *w)
{
	return LEAST_OBJECTS * w->object_bytes;
}

void fetch_window_restart(struct fetch_window *w, struct mono now)
{
	w->opening = true;
	w->object_bytes = CHUNK_AVG;
	w->base_ms = -1;
	w->base_at = now;
	w->probed_from = 0;
	w->ceiling = (double)w->most_bytes;
	w->ceiling_at = now;
	w->rate = 0;
	window_set(w, WINDOW_FIRST_BYTES);
	round_begin(w, now);
}

void fetch_window_init(struct fetch_window *w, uint64_t most_bytes, struct mono now)
{
	*w = (struct fetch_window){.most_bytes = most_bytes == 0 ? 1 : most_bytes};
	fetch_window_restart(w, now);
}

uint64_t fetch_window_bytes(const struct fetch_window *w)
{
	return (uint64_t)w->bytes;
}

void fetch_window_full(struct fetch_window *w)
{
	w->full = true;
}

void fetch_window_rested(struct fetch_window *w, struct mono now)
{
	round_begin(w, now);
}

void fetch_window_lost(struct fetch_window *w, struct mono now)
{
	w->losses++;
	w->opening = false;
	w->probed_from = 0;
	w->ceiling = at_least(w->bytes * 0.75, at_most(least_bytes(w), w->ceiling));
	w->ceiling_at = now;
	window_set(w, at_least(w->bytes / 2, w->object_bytes));
	round_begin(w, now);
}

// ---- the end of a round

struct round {
	double rate, queue_ms, target_ms;
};

static void shrink(struct fetch_window *w, const struct round *r)
{
	double keeps_full = r->rate * (w->base_ms + r->target_ms / 2);
	double bytes = w->bytes - w->object_bytes;
	if (w->opening || r->queue_ms > 2 * r->target_ms)
		bytes = at_least(w->bytes * (w->opening ? 0.5 : 0.75), keeps_full);
	if (bytes < w->bytes)
		window_set(w, at_least(bytes, least_bytes(w)));
	w->opening = false;
}

static void grow(struct fetch_window *w, const struct round *r)
{
	bool faster = r->rate > w->rate * RATE_GROWS;
	if (w->opening || !w->full)
		return;
	if (r->queue_ms < r->target_ms / 2 || faster)
		window_set(w, w->bytes + w->object_bytes);
}

static void judge(struct fetch_window *w, double elapsed_ms)
{
	struct round r = {.rate = (double)w->round_bytes / elapsed_ms};
	r.queue_ms = w->trips_ms / w->trips - w->base_ms;
	r.target_ms = at_least(WINDOW_TARGET_MS, LEAST_OBJECTS * w->object_bytes / r.rate);
	w->rounds++;
	if (r.queue_ms > r.target_ms)
		shrink(w, &r);
	else
		grow(w, &r);
	w->rate = at_least(r.rate, w->rate * RATE_FADES);
}

// ---- the shortest round trip

static void probe_begin(struct fetch_window *w, struct mono now)
{
	w->probed_from = w->bytes;
	w->probe_at = now;
	window_set(w, at_most(w->bytes, least_bytes(w)));
}

// One that was asked for after it began is here.
static void probe_end(struct fetch_window *w, double trip_ms, struct mono now)
{
	w->opening = trip_ms > 2 * w->base_ms && trip_ms > w->base_ms + WINDOW_TARGET_MS;
	w->base_ms = trip_ms;
	w->base_at = now;
	window_set(w, w->probed_from);
	w->probed_from = 0;
	round_begin(w, now);
}

static void base_learn(struct fetch_window *w, double trip_ms, struct mono now)
{
	bool of_probe = w->probed_from != 0 && trip_ms <= (double)mono_since_ms(now, w->probe_at);
	if (of_probe) {
		probe_end(w, trip_ms, now);
		return;
	}
	if (w->base_ms < 0 || trip_ms <= w->base_ms * BASE_NEAR + 1)
		w->base_at = now;
	if (w->base_ms < 0 || trip_ms < w->base_ms)
		w->base_ms = trip_ms;
	if (w->probed_from == 0 && mono_since_ms(now, w->base_at) >= BASE_PROBE_MS)
		probe_begin(w, now);
}

// ---- what came

static void ceiling_rises(struct fetch_window *w, struct mono now)
{
	if (mono_since_ms(now, w->ceiling_at) < CEILING_MS)
		return;
	w->ceiling = at_most(w->ceiling + w->object_bytes, (double)w->most_bytes);
	w->ceiling_at = now;
}

void fetch_window_arrived(
	struct fetch_window *w, uint32_t size_bytes, int64_t trip_ms, struct mono now)
{
	w->round_bytes += size_bytes;
	w->object_bytes += SMOOTH * ((double)size_bytes - w->object_bytes);
	ceiling_rises(w, now);
	if (trip_ms >= 0) {
		w->trips++;
		w->trips_ms += (double)trip_ms;
		base_learn(w, (double)trip_ms, now);
		if ((double)trip_ms > w->base_ms + at_least(WINDOW_TARGET_MS, 2 * w->base_ms))
			w->opening = false; // not first at the end of the round
	}
	if (w->opening && w->full && w->probed_from == 0)
		window_set(w, w->bytes + (double)size_bytes);
	double elapsed_ms = (double)mono_since_ms(now, w->from);
	if (w->trips == 0 || elapsed_ms < WINDOW_ROUND_MS || elapsed_ms < w->trips_ms / w->trips)
		return;
	if (w->probed_from == 0)
		judge(w, elapsed_ms);
	round_begin(w, now);
}
