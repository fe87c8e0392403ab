// What goes wrong, and for how long. Every fault mends by itself within seconds of virtual time, so
// that at the end of faults everything can come back.
#include "tests/fleet/sim/sim.h"

#define HOUR_MS 3600000ll

static struct device *victim(struct sim *s)
{
	return &s->devices[rng_below(&s->fate, s->config.agents)];
}

static void mend_later(struct sim *s, enum sim_fault fault, uint32_t who, int64_t after_ms)
{
	heap_push(s, s->now + after_ms, EVENT_MEND, who, 0, NULL, (uint32_t)fault);
}

// ---- at a device

static void device_fault(struct sim *s, unsigned fault)
{
	struct device *d = victim(s);

	switch (fault) {
	case FAULT_LINK:
		device_link(d, false);
		return;
	case FAULT_AGENT:
		if (rng_chance(&s->fate, 600)) {
			d->cut_armed = true;
			d->cut_keeps = rng_chance(&s->fate, 500);
		} else {
			device_power_off(d, rng_between(&s->fate, 100, 15000));
		}
		return;
	case FAULT_DISK:
		d->disk_full = true;
		mend_later(s, FAULT_DISK, d->index, rng_between(&s->fate, 100, 8000));
		return;
	case FAULT_WIPE:
		if (rng_chance(&s->fate, 300) && d->alive)
			device_wipe(d);
		return;
	case FAULT_CLOCK:
		d->wall_offset = rng_between(&s->fate, -48 * HOUR_MS, 48 * HOUR_MS);
		return;
	case FAULT_REVOKE:
		if (rng_chance(&s->fate, 300) && host_revoke(s, d->index))
			mend_later(s, FAULT_REVOKE, d->index, rng_between(&s->fate, 500, 15000));
		return;
	default:
		return;
	}
}

// ---- at the server and the broker

static void server_fault(struct sim *s, unsigned fault)
{
	struct server_host *h = &s->server;

	switch (fault) {
	case FAULT_SERVER:
		if (rng_chance(&s->fate, 200))
			host_shutdown(s, rng_between(&s->fate, 50, 6000));
		else
			h->kill_next = (enum kill_place)rng_between(
				&s->fate, KILL_BEFORE_COMMIT, KILL_WHILE_PUBLISHING);
		return;
	case FAULT_BROKER:
		if (s->broker.up)
			broker_restart(s);
		return;
	case FAULT_LINK:
		host_link(s, false);
		return;
	case FAULT_STALL:
		h->stalled = true;
		mend_later(s, FAULT_STALL, 0, rng_between(&s->fate, 1000, 12000));
		return;
	case FAULT_STORE:
		if (h->read_only)
			return;
		host_read_only(s, true);
		mend_later(s, FAULT_STORE, 0, rng_between(&s->fate, 200, 6000));
		return;
	case FAULT_FULL:
		if (h->read_only)
			return;
		host_disk_full(s, true);
		mend_later(s, FAULT_FULL, 0, rng_between(&s->fate, 200, 6000));
		return;
	case FAULT_STORM:
		for (uint32_t i = 0; i < s->config.agents; i++)
			device_power_off(&s->devices[i], rng_between(&s->fate, 100, 1000));
		return;
	case FAULT_CLOCK:
		h->wall_offset = rng_between(&s->fate, -HOUR_MS, HOUR_MS);
		return;
	case FAULT_RESTORE:
		if (h->has_backup && rng_chance(&s->fate, 400))
			host_restore(s);
		else
			host_backup(s);
		return;
	default:
		return;
	}
}

static unsigned fault_choose(struct sim *s, unsigned among)
{
	unsigned enabled[32], count = 0;

	for (unsigned bit = 1; bit <= FAULTS_ALL; bit <<= 1)
		if (s->config.faults & among & bit)
			enabled[count++] = bit;
	return count ? enabled[rng_below(&s->fate, count)] : 0;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

void fault_random(struct sim *s)
{
	// A short run has its share of faults too.
	int64_t device_beats = clamp(s->config.beats / 2, 5, 30);
	int64_t device_every = device_beats * s->interval_ms / s->config.agents;
	int64_t server_every = clamp(s->config.beats / 3, 3, 40) * s->interval_ms;
	int64_t every = device_every < server_every ? device_every : server_every;

	if (s->quiet)
		return;
	heap_push(s, s->now + 1 + (int64_t)rng_below(&s->fate, (uint64_t)every * 2 + 1),
		EVENT_FAULT, 0, 0, NULL, 0);
	unsigned fault = fault_choose(
		s, FAULT_LINK | FAULT_AGENT | FAULT_DISK | FAULT_WIPE | FAULT_CLOCK | FAULT_REVOKE);
	if (fault && rng_chance(&s->fate, (uint32_t)(1000 * every / device_every)))
		device_fault(s, fault);
	fault = fault_choose(s, FAULT_SERVER | FAULT_BROKER | FAULT_LINK | FAULT_STALL |
					FAULT_STORE | FAULT_CLOCK | FAULT_RESTORE | FAULT_FULL |
					FAULT_STORM);
	if (fault && rng_below(&s->fate, (uint64_t)server_every) < (uint64_t)every)
		server_fault(s, fault);
}

void faults_stop(struct sim *s)
{
	trace(s, "faults stop");
	s->quiet = true;
	s->server.kill_next = KILL_NOT;
	if (s->server.disk_full)
		host_disk_full(s, false);
	if (s->server.read_only)
		host_read_only(s, false);
	for (uint32_t i = 0; i < s->config.agents; i++) {
		s->devices[i].disk_full = false;
		s->devices[i].cut_armed = false;
		s->devices[i].lying = false;
	}
}
