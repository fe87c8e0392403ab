// Reach: whether a client has been heard lately. Set by time alone, and only by attended time: time
// in which the control broker answered us and we were there to listen, less a spread after each gap
// for the fleet to find its way back. A will, a retained replay or a ping is nothing here.
//
// Each client that may change stands in a wheel at the tick when that is to be looked at again;
// being heard does not move it, looking does. So a heartbeat costs nothing here and nothing is
// walked per tick.
#include "server/core_inside.h"

static uint32_t deadline_ms(const struct core *core, const struct client *c)
{
	uint32_t interval = c->told_interval_ms ? c->told_interval_ms : core->config.interval_ms;
	uint64_t silent = (uint64_t)core->config.silent_after_s * 1000;

	if (silent < 3ull * interval)
		silent = 3ull * interval;
	uint64_t ms = c->reach == REACH_LATE ? silent : interval * 5ull / 2 + 500;
	return ms > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)ms;
}

uint32_t attended_tick(const struct core *core)
{
	return (uint32_t)(core->attended_ms / TICK_MS);
}

void attended_advance(struct core *core)
{
	int64_t step = mono_since_ms(core->now.mono, core->attended_at);

	if (step <= 0)
		return;
	core->attended_at = core->now.mono;
	if (!core->link_up)
		return;
	if (step > ATTENDED_STEP_MS) {
		// The process stood still: nobody listened.
		core->spread_ms = (int64_t)core->config.reconnect_spread_s * 1000;
		return;
	}
	if (core->spread_ms > 0) {
		core->spread_ms -= step;
		return;
	}
	core->attended_ms += step;
}

static void wheel_put(struct core *core, uint32_t number, uint32_t due_tick)
{
	struct client *c = client_at(&core->clients, number);
	uint32_t ahead = (due_tick - core->wheel_tick) / WHEEL_SLOT_TICKS + 1;

	if ((int32_t)(due_tick - core->wheel_tick) < 0)
		ahead = 0;
	if (ahead >= WHEEL_SLOTS)
		ahead = WHEEL_SLOTS - 1;
	uint32_t slot = (core->wheel_tick / WHEEL_SLOT_TICKS + ahead) % WHEEL_SLOTS;
	c->wheel_next = core->wheel[slot];
	core->wheel[slot] = number;
	c->flags |= CLIENT_TIMED;
}

void reach_watch(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	if (!(c->flags & CLIENT_TIMED))
		wheel_put(core, number, c->heard_tick + deadline_ms(core, c) / TICK_MS);
}

void reach_heard(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	client_set_heard(c, core->now.wall);
	c->heard_tick = attended_tick(core);
	c->flags |= CLIENT_STALE_ROW;
	client_set_reach(core, number, REACH_ONLINE, "heard");
	reach_watch(core, number);
}

static void silent_count(struct core *core, uint32_t tick)
{
	uint32_t window = core->config.interval_ms / TICK_MS + 1;
	uint32_t limit = (uint32_t)((uint64_t)core->clients.clients *
				    core->config.mass_silence_percent / 100);

	if (tick - core->silent_window_tick > window) {
		core->silent_window_tick = tick;
		core->silent_in_window = 0;
	}
	core->silent_in_window++;
	if (core->mass_silence || core->silent_in_window < 20 || core->silent_in_window <= limit)
		return;
	core->mass_silence = true;
	log_error("MASS-SILENCE",
		"silent=%u of=%u why=\"so many at once point at the network, not at the devices\"",
		core->silent_in_window, core->clients.clients);
}

static void client_look(struct core *core, uint32_t number, uint32_t tick)
{
	struct client *c = client_at(&core->clients, number);

	c->flags &= (uint8_t)~CLIENT_TIMED;
	if (!(c->flags & CLIENT_USED)) {
		client_table_release(&core->clients, number);
		return;
	}
	if (c->reach != REACH_ONLINE && c->reach != REACH_LATE)
		return;
	if (tick - c->heard_tick < deadline_ms(core, c) / TICK_MS) {
		reach_watch(core, number);
		return;
	}
	if (c->reach == REACH_ONLINE) {
		client_set_reach(
			core, number, REACH_LATE, "no heartbeat for two and a half intervals");
		reach_watch(core, number);
		return;
	}
	client_set_reach(core, number, REACH_SILENT, "no heartbeat for the time of silence");
	silent_count(core, tick);
}

// Heartbeats came back: decisions need not wait any more.
static void mass_silence_end(struct core *core, uint32_t tick)
{
	uint32_t window = core->config.interval_ms / TICK_MS + 1;

	if (core->mass_silence && tick - core->silent_window_tick > 3 * window) {
		core->mass_silence = false;
		log_info("MASS-SILENCE-OVER", "clients=%u", core->clients.clients);
	}
}

void reach_run(struct core *core)
{
	uint32_t tick = attended_tick(core);

	for (uint32_t turns = 0; turns < WHEEL_SLOTS &&
				 (int32_t)(tick - core->wheel_tick) >= (int32_t)WHEEL_SLOT_TICKS;
		turns++) {
		uint32_t slot = core->wheel_tick / WHEEL_SLOT_TICKS % WHEEL_SLOTS;
		uint32_t number = core->wheel[slot];
		core->wheel[slot] = CLIENT_NONE;
		core->wheel_tick += WHEEL_SLOT_TICKS;
		while (number != CLIENT_NONE) {
			uint32_t next = client_at(&core->clients, number)->wheel_next;
			client_look(core, number, tick);
			number = next;
		}
	}
	mass_silence_end(core, tick);
}

bool core_mass_silence(const struct core *core)
{
	return core->mass_silence;
}

void core_link(struct core *core, bool up, struct now now)
{
	core->now = now;
	attended_advance(core);
	if (up && !core->link_up)
		core->spread_ms = (int64_t)core->config.reconnect_spread_s * 1000;
	core->link_up = up;
}
