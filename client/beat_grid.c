// The heartbeat's grid; see beat_grid.h.
#include "client/beat_grid.h"

#include "proto/limits.h"

uint32_t beat_interval_clamp(uint64_t interval_ms)
{
	if (interval_ms < HEARTBEAT_MIN_MS)
		return HEARTBEAT_MIN_MS;
	if (interval_ms > HEARTBEAT_MAX_MS)
		return HEARTBEAT_MAX_MS;
	return (uint32_t)interval_ms;
}

void beat_grid_start(struct beat_grid *g, struct mono now, uint32_t interval_ms, uint64_t random)
{
	g->running = true;
	g->interval_ms = beat_interval_clamp(interval_ms);
	g->last = now;
	g->next = mono_add_ms(now, 1 + (int64_t)(random % g->interval_ms));
}

bool beat_grid_take(struct beat_grid *g, struct mono now)
{
	int64_t late_ms = mono_since_ms(now, g->next);
	if (!g->running || late_ms < 0)
		return false;
	int64_t missed = late_ms / g->interval_ms;
	g->last = mono_add_ms(g->next, missed * g->interval_ms);
	g->next = mono_add_ms(g->last, g->interval_ms);
	return true;
}

void beat_grid_once(struct beat_grid *g, struct mono now, uint32_t ms)
{
	struct mono at = mono_add_ms(now, beat_interval_clamp(ms));
	if (g->running && mono_since_ms(g->next, at) > 0)
		g->next = at;
}

void beat_grid_set(struct beat_grid *g, struct mono now, uint32_t interval_ms)
{
	interval_ms = beat_interval_clamp(interval_ms);
	if (interval_ms == g->interval_ms)
		return;
	g->interval_ms = interval_ms;
	if (!g->running)
		return;
	g->next = mono_add_ms(g->last, interval_ms);
	if (mono_since_ms(now, g->next) > 0)
		g->next = now;
}
