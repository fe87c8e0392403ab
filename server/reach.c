// Reach: whether a client has been heard lately. Set by time alone, and only by attended time: time
// in which the control broker answered us and we were there to listen, less a spread after each gap
// for the fleet to find its way back. A will, a retained replay or a ping is nothing here.
//
// Each client that may change stands in a wheel at the tick when that is to be looked at again;
// being heard does not move it, looking does. So a heartbeat costs nothing here and nothing is
// walked per tick. A client that is told a shorter interval than before would be missed too late
// there: until the wheel has looked at it, it stands in a second one besides.
//
// When many fall silent within one interval, that is the network and not the devices: what follows
// from silence waits until they are heard again, or until a person says so. That wait is a row of
// the store, for a restart proves nothing.
#include "server/core_inside.h"
#include <stdlib.h>

// A client that was silent for longer at a start counts as silent for so long.
#define SILENT_REMEMBERED_MS (200ll * 24 * 3600 * 1000)

static uint32_t told_ms(const struct core *core, const struct client *c)
{
	return c->told_interval_ms ? c->told_interval_ms : core->config.interval_ms;
}

static uint32_t late_ms(uint32_t interval_ms)
{
	return (uint32_t)(interval_ms * 5ull / 2 + LATE_SLACK_MS);
}

static uint32_t deadline_ms(const struct core *core, const struct client *c)
{
	uint32_t interval = told_ms(core, c);
	uint64_t silent = (uint64_t)core->config.silent_after_s * 1000;

	if (silent < 3ull * interval)
		silent = 3ull * interval;
	uint64_t ms = c->reach == REACH_LATE ? silent : late_ms(interval);
	return ms > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)ms;
}

uint32_t attended_tick(const struct core *core)
{
	return (uint32_t)(core->attended_ms / TICK_MS);
}

uint32_t core_reconnect_spread_ms(const struct core *core)
{
	return reconnect_spread_ms(core->config.reconnect_spread_s * 1000, core->clients.clients);
}

uint32_t core_reconnect_told_ms(const struct core *core)
{
	uint32_t least_ms = core->config.reconnect_spread_s * 1000;

	return reconnect_spread_ms(
		least_ms < core->config.interval_ms ? least_ms : core->config.interval_ms,
		core->clients.clients);
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
		core->spread_ms = core_reconnect_spread_ms(core);
		return;
	}
	if (core->spread_ms > 0) {
		core->spread_ms -= step;
		return;
	}
	// Of a long one what was sent meanwhile waits to be read yet.
	core->attended_ms += step < ATTENDED_COUNT_MS ? step : ATTENDED_COUNT_MS;
}

static void wheel_put(struct core *core, uint32_t number, uint32_t due_tick)
{
	struct client *c = client_at(&core->clients, number);
	uint32_t ahead = (due_tick - core->wheel_tick) / WHEEL_SLOT_TICKS;

	if ((int32_t)(due_tick - core->wheel_tick) < 0)
		ahead = 0;
	if (ahead >= WHEEL_SLOTS)
		ahead = WHEEL_SLOTS - 1;
	uint32_t slot = (core->wheel_tick / WHEEL_SLOT_TICKS + ahead) % WHEEL_SLOTS;
	c->wheel_next = core->wheel[slot];
	core->wheel[slot] = number;
	c->flags |= CLIENT_TIMED;
}

// ---- the second wheel: pairs of a client and the tick when the first one looks at it

static void sooner_put(struct core *core, uint32_t number, uint32_t due_tick, uint32_t until_tick)
{
	int32_t ahead = (int32_t)(due_tick - core->wheel_tick) / (int32_t)WHEEL_SLOT_TICKS;

	ahead = ahead < 0 ? 0 : ahead;
	if (ahead >= (int32_t)SOONER_SLOTS)
		ahead = SOONER_SLOTS - 1;
	struct number_list *slot =
		&core->sooner[(core->wheel_tick / WHEEL_SLOT_TICKS + (uint32_t)ahead) %
			      SOONER_SLOTS];
	// Without memory the first wheel finds it, later.
	if (number_list_add(slot, number) && !number_list_add(slot, until_tick))
		slot->count--;
}

void reach_sooner(struct core *core, uint32_t number, uint32_t before_ms)
{
	const struct client *c = client_at(&core->clients, number);
	uint32_t now = attended_tick(core);

	if (c->role == ROLE_CLIENT)
		sooner_put(core, number, now + deadline_ms(core, c) / TICK_MS,
			now + late_ms(before_ms) / TICK_MS);
}

void reach_watch(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	uint32_t now = attended_tick(core);
	uint32_t due = c->heard_tick + deadline_ms(core, c) / TICK_MS;
	uint32_t soon = now + late_ms(told_ms(core, c)) / TICK_MS;

	// One that is late may be heard and missed again long before it would be silent.
	if (!(c->flags & CLIENT_TIMED))
		wheel_put(core, number, (int32_t)(due - soon) > 0 ? soon : due);
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

// ---- silence of many at once

static uint32_t mass_limit(const struct core *core)
{
	return (uint32_t)((uint64_t)core->clients.clients * core->config.mass_silence_percent /
			  100);
}

static void mass_silence_set(struct core *core, bool waits)
{
	core->mass_silence = waits;
	core->silent_in_window = 0;
	if (!core->leads)
		return; // of its own part alone
	// The row is the number of those that were silent before, and one more.
	if (rows_meta_put_number(core->db, "mass-silence",
		    waits ? (int64_t)core->silent_before + 1 : 0) != ERR_OK)
		log_error("MASS-SILENCE-UNSAVED", "why=%s", log_quote(err_text()));
}

static void silent_note(struct core *core, uint32_t tick)
{
	uint32_t window = core->config.interval_ms / TICK_MS + 1;

	if (tick - core->silent_window_tick > window) {
		core->silent_window_tick = tick;
		core->silent_in_window = 0;
	}
	core->silent_in_window++;
	if (core->mass_silence || core->silent_in_window < MASS_SILENCE_LEAST ||
		core->silent_in_window <= mass_limit(core))
		return;
	log_error("MASS-SILENCE",
		"silent=%u of=%u why=\"so many at once point at the network, not at the devices\"",
		core->silent_in_window, core->clients.clients);
	core->silent_before = core->silent_count - core->silent_in_window;
	mass_silence_set(core, true);
}

// All but a few of them came back: decisions need not wait any more.
static void mass_silence_look(struct core *core)
{
	if (!core->mass_silence || core->loading ||
		core->silent_count > core->silent_before + mass_limit(core))
		return;
	log_info("MASS-SILENCE-OVER", "silent=%u of=%u", core->silent_count, core->clients.clients);
	mass_silence_set(core, false);
}

enum err core_mass_silence_release(struct core *core, const char *by)
{
	if (!core->mass_silence)
		return err_set(ERR_NOT_NOW, "nothing waits for a mass silence");
	log_warn("MASS-SILENCE-RELEASED", "by=%s silent=%u of=%u", by, core->silent_count,
		core->clients.clients);
	mass_silence_set(core, false);
	return ERR_OK;
}

bool core_mass_silence(const struct core *core)
{
	return core->mass_silence;
}

enum err reach_load(struct core *core)
{
	int64_t waits = 0;

	core->frequency.working = 0;
	core->silent_count = core->silent_in_window = 0; // each client counts as it is loaded
	TRY(rows_meta_number(core->db, "mass-silence", &waits));
	core->mass_silence = waits > 0;
	core->silent_before = waits > 0 ? (uint32_t)(waits - 1) : 0;
	return rows_meta_number(core->db, "attended-until", &core->attended_until_ms);
}

// The time between that and now is nobody's silence: we were not there to listen.
uint32_t reach_silent_ticks(const struct core *core, const struct client *c)
{
	int64_t ms = core->attended_until_ms - client_heard(c).ms;

	if (c->reach != REACH_SILENT || ms <= 0)
		return 0;
	return ms < SILENT_REMEMBERED_MS ? (uint32_t)(ms / TICK_MS)
					 : (uint32_t)(SILENT_REMEMBERED_MS / TICK_MS);
}

void reach_note(struct core *core)
{
	if (core->silent_count == 0 || !core->leads)
		return;
	core->attended_noted = core->now.mono;
	if (rows_meta_put_number(core->db, "attended-until", core->now.wall.ms) != ERR_OK)
		log_error("ATTENDED-UNSAVED", "why=%s", log_quote(err_text()));
}

void reach_fini(struct core *core)
{
	for (size_t i = 0; i < SOONER_SLOTS; i++) {
		free(core->sooner[i].items);
		core->sooner[i] = (struct number_list){0};
	}
}

// ---- looking

// What time has made of a client that was not heard since its deadline.
static void client_judge(struct core *core, uint32_t number, uint32_t tick)
{
	struct client *c = client_at(&core->clients, number);

	if (tick - c->heard_tick < deadline_ms(core, c) / TICK_MS)
		return;
	if (c->reach == REACH_ONLINE) {
		client_set_reach(
			core, number, REACH_LATE, "no heartbeat for two and a half intervals");
		return;
	}
	client_set_reach(core, number, REACH_SILENT, "no heartbeat for the time of silence");
	silent_note(core, tick);
}

static bool is_watched(const struct client *c)
{
	return c->flags & CLIENT_USED && !c->elsewhere &&
	       (c->reach == REACH_ONLINE || c->reach == REACH_LATE);
}

static void client_look(struct core *core, uint32_t number, uint32_t tick)
{
	struct client *c = client_at(&core->clients, number);

	c->flags &= (uint8_t)~CLIENT_TIMED;
	if (!(c->flags & CLIENT_USED)) {
		client_table_release(&core->clients, number);
		return;
	}
	if (is_watched(c))
		client_judge(core, number, tick);
	if (is_watched(c))
		reach_watch(core, number);
}

static void sooner_look(struct core *core, uint32_t slot, uint32_t tick)
{
	struct number_list list = core->sooner[slot];

	core->sooner[slot] = (struct number_list){0};
	for (size_t i = 0; i + 1 < list.count; i += 2) {
		uint32_t number = list.items[i], until = list.items[i + 1];
		const struct client *c = client_at(&core->clients, number);
		if (is_watched(c))
			client_judge(core, number, tick);
		uint32_t due = c->heard_tick + deadline_ms(core, c) / TICK_MS;
		if (is_watched(c) && (int32_t)(until - due) > 0)
			sooner_put(core, number, due, until);
	}
	free(list.items);
}

void reach_run(struct core *core)
{
	uint32_t tick = attended_tick(core);

	for (uint32_t turns = 0; turns < WHEEL_SLOTS &&
				 (int32_t)(tick - core->wheel_tick) >= (int32_t)WHEEL_SLOT_TICKS;
		turns++) {
		uint32_t at = core->wheel_tick / WHEEL_SLOT_TICKS, slot = at % WHEEL_SLOTS;
		uint32_t number = core->wheel[slot];
		core->wheel[slot] = CLIENT_NONE;
		core->wheel_tick += WHEEL_SLOT_TICKS;
		while (number != CLIENT_NONE) {
			uint32_t next = client_at(&core->clients, number)->wheel_next;
			client_look(core, number, tick);
			number = next;
		}
		sooner_look(core, at % SOONER_SLOTS, tick);
	}
	mass_silence_look(core);
	if (mono_since_ms(core->now.mono, core->attended_noted) >=
		(int64_t)core->config.save_period_s * 1000)
		reach_note(core);
}

void core_link(struct core *core, bool up, struct now now)
{
	core->now = now;
	attended_advance(core);
	if (up && !core->link_up)
		core->spread_ms = core_reconnect_spread_ms(core);
	if (up)
		core->link_since = now.mono;
	core->link_up = up;
}
