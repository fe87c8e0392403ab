// The broker is restarted: how long until all devices are connected again, and until all are answered.
#include "tests/fleet/fleet.h"

#include "proto/base/file.h"
#include <stdio.h>
#include <stdlib.h>

static int64_t broke_at_us; // the first link that broke, since it was asked; 0: none yet

void way_answered(struct way_back *w)
{
	if (broke_at_us && w->broke && !w->answered_us)
		w->answered_us = now_us();
}

static void echo_beat(struct echo_device *d, struct mono now)
{
	int64_t at = now_us();

	if (d->link.state != MINI_UP || !d->up || !beat_grid_take(&d->grid, now))
		return;
	if (echo_send(d, at) != ERR_OK)
		mini_close(&d->link);
}

// Everybody lives: beats on its grid, comes back when its link broke.
static void fleet_live(struct fleet *f)
{
	struct now now = clock_now();

	devices_return(f);
	for (size_t i = 0; i < f->o->count; i++) {
		struct way_back *w = way_of(f, i);
		const struct mini_client *link = link_of(f, i);

		if (!f->o->echo)
			fleet_device_tick(&f->devices[i], now);
		else
			echo_beat(&f->echoes[i], now.mono);
		mini_keepalive(link_of(f, i), now.mono);
		if (link->state == MINI_CLOSED && !w->broke) {
			w->broke = true;
			broke_at_us = broke_at_us ? broke_at_us : now_us();
		}
		if (link->state == MINI_UP && w->broke && !w->up_us)
			w->up_us = now_us();
	}
}

static size_t answered_count(const struct fleet *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->o->count; i++)
		n += way_of(f, i)->answered_us != 0;
	return n;
}

static void fleet_live_for(struct fleet *f, int64_t ms)
{
	for (int64_t end = now_us() + ms * 1000; now_us() < end;) {
		int64_t look = now_us() + 50000;

		while (now_us() < look)
			mini_loop_run(&f->loop, 10);
		fleet_live(f);
	}
}

static void reconnect_print(const struct fleet *f)
{
	uint32_t *up = calloc(f->o->count, sizeof(*up)), *answered = calloc(f->o->count, sizeof(*answered));

	for (size_t i = 0; up && answered && i < f->o->count; i++) {
		const struct way_back *w = way_of(f, i);

		up[i] = (uint32_t)((w->up_us - broke_at_us) / 1000);
		answered[i] = (uint32_t)((w->answered_us - broke_at_us) / 1000);
	}
	if (up && answered)
		printf("{\"clients\":%zu,\"spread_ms\":%u,\"connected_p50_ms\":%u,\"connected_ms\":%u,"
		       "\"answered_p50_ms\":%u,\"answered_ms\":%u}\n",
			f->o->count, spread_of(f, 0), percentile(up, f->o->count, 0.5), percentile(up, f->o->count, 1.0),
			percentile(answered, f->o->count, 0.5), percentile(answered, f->o->count, 1.0));
	fflush(stdout);
	free(up);
	free(answered);
}

#define RECONNECT_MAX_MS 300000

static enum err reconnect_measure(struct fleet *f)
{
	int64_t end = now_us() + RECONNECT_MAX_MS * 1000ll;

	fleet_live_for(f, f->o->echo ? f->o->interval_ms : f->devices[0].core.grid.interval_ms);
	for (size_t i = 0; i < f->o->count; i++) {
		struct way_back *w = way_of(f, i);

		w->broke = false;
		w->up_us = w->answered_us = 0;
	}
	broke_at_us = 0;
	puts("{\"armed\":true}");
	fflush(stdout);
	while (answered_count(f) < f->o->count) {
		if (now_us() > end)
			return err_set(ERR_TIMEOUT, "%zu of %zu devices were answered again", answered_count(f), f->o->count);
		fleet_live_for(f, 1);
	}
	reconnect_print(f);
	return ERR_OK;
}

enum err reconnects_run(struct fleet *f)
{
	struct options step = *f->o;

	step.rate = 1;
	step.seconds = 1;
	for (size_t i = 0; f->o->echo && i < f->o->count; i++)
		beat_grid_start(&f->echoes[i].grid, clock_now().mono, f->o->interval_ms, random_u64());
	setvbuf(stdin, NULL, _IONBF, 0);
	puts("{\"ready\":true}");
	fflush(stdout);
	while (step_read(f, &step))
		TRY(reconnect_measure(f));
	return ERR_OK;
}
