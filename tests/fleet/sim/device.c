// A device: the agent's core, its disk, its power, its link. The disk is two buffers, as state.bin
// and state.prev are; a save is durable when it returns. Power may go within a save: the write is
// then whole or not there, and whatever the core goes on to do in that call has no effect.
#include "tests/fleet/sim/sim.h"

#include <stdlib.h>
#include <string.h>

struct now device_now(const struct device *d)
{
	return (struct now){
		{d->sim->now + d->mono_base}, {SIM_EPOCH_MS + d->sim->now + d->wall_offset}};
}

// ---- the core's half of the port

static void disk_write(struct device *d, struct bytes state)
{
	struct buf before = d->disk_before;

	d->disk_before = d->disk;
	d->disk = before;
	buf_clear(&d->disk);
	if (buf_append(&d->disk, state.data, state.size) != ERR_OK)
		abort();
}

// That a command begins is what it forgets; or all but the beginning.
static bool disk_lies(const struct device *d)
{
	const struct op_record *op = &d->core.state.op;

	if (d->sim->config.broken == BREAK_STATE)
		return d->core.state.generation > 4;
	return d->lying && op->kind == KIND_EXECUTE_COMMAND && !op_status_is_final(op->status);
}

static enum err port_save(void *ctx, struct bytes state)
{
	struct device *d = ctx;

	if (d->gone)
		return ERR_OK;
	if (d->disk_full)
		return err_set(ERR_NO_SPACE, "the disk of %s is full", d->id);
	// The command runs though its beginning was not stored; power goes when it has begun.
	if (d->cut_armed && d->sim->config.broken == BREAK_KILL &&
		d->core.state.op.kind == KIND_EXECUTE_COMMAND)
		return ERR_OK;
	if (!d->cut_armed || d->cut_keeps) {
		if (!disk_lies(d))
			disk_write(d, state);
	}
	if (d->cut_armed) {
		d->cut_armed = false;
		d->gone = true;
	}
	return ERR_OK;
}

static enum err port_publish(void *ctx, const char *topic, struct bytes payload, int qos)
{
	struct device *d = ctx;

	if (d->gone)
		return ERR_OK;
	if (!d->link_up)
		return err_set(ERR_CLOSED, "there is no link");
	broker_from_device(d, topic, payload, qos);
	return ERR_OK;
}

static bool is_host_filter(const char *topic)
{
	return strncmp(topic, "helio/v1/host/", 14) == 0;
}

static void port_subscribe(void *ctx, const char *const *topics, size_t count, int qos)
{
	struct device *d = ctx;

	(void)qos;
	if (!d->gone && count == 1 && is_host_filter(topics[0]))
		broker_host_wanted(d, true);
}

static void port_unsubscribe(void *ctx, const char *topic)
{
	struct device *d = ctx;

	if (!d->gone && is_host_filter(topic))
		d->host_wanted = false;
}

static void port_send_elsewhere(
	void *ctx, const struct address *to, const char *topic, struct bytes payload)
{
	struct device *d = ctx;

	(void)to;
	(void)payload;
	violate(d->sim, "%s sends a report to %s, which nobody asked for", d->id, topic);
}

static void port_random(void *ctx, void *out, size_t size)
{
	struct device *d = ctx;

	rng_fill(&d->sim->ids, out, size);
}

static void port_session_began(void *ctx, uint64_t session_id, const struct session_keys *keys)
{
	struct device *d = ctx;

	(void)keys;
	trace(d->sim, "%s is in session %llu", d->id, (unsigned long long)session_id);
}

const struct agent_port sim_port = {
	.save = port_save,
	.publish = port_publish,
	.subscribe = port_subscribe,
	.unsubscribe = port_unsubscribe,
	.view = doer_view,
	.holdings = doer_holdings,
	.holding = doer_holding,
	.activate = doer_activate,
	.fetch = doer_fetch,
	.fetch_pace = doer_fetch_pace,
	.fetch_stop = doer_fetch_stop,
	.command = doer_command,
	.command_stop = doer_command_stop,
	.command_fetch = doer_command_fetch,
	.changes = doer_changes,
	.usage = doer_usage,
	.send_elsewhere = port_send_elsewhere,
	.random = port_random,
	.session_began = port_session_began,
};

// ---- life

static void state_first(struct device *d, struct agent_state *state)
{
	struct id16 store;

	rng_fill(&d->sim->ids, store.b, sizeof(store.b));
	agent_state_init(state, &store);
}

void device_init(struct sim *s, uint32_t index)
{
	struct device *d = &s->devices[index];

	*d = (struct device){.sim = s, .index = index, .channel = index % SIM_CHANNELS};
	snprintf(d->id, sizeof(d->id), "d%06u", index);
	buf_init(&d->disk, AGENT_STATE_MAX);
	buf_init(&d->disk_before, AGENT_STATE_MAX);
	d->ran = calloc(SIM_ACTS, 1);
	if (!d->ran)
		abort();
	d->lying = s->config.broken == BREAK_DISK;
	d->config = (struct agent_config){
		.client_id = d->id,
		.version = "1.0",
		.hw_class = "sim",
		.key = s->keys[index],
		.root = &s->root,
		.interval_ms = s->interval_ms,
		.response_max_age_ms = 20000,
		.scratch = &s->scratch,
		.out = &s->out,
	};
}

void device_fini(struct device *d)
{
	if (d->alive)
		agent_fini(&d->core);
	buf_fini(&d->disk);
	buf_fini(&d->disk_before);
	free(d->ran);
}

static void state_read(struct device *d, struct agent_state *state)
{
	struct id16 none = {0};

	agent_state_init(state, &none);
	if (d->disk.size == 0)
		state_first(d, state);
	else if (agent_state_decode(buf_bytes(&d->disk), state) != ERR_OK)
		violate(d->sim, "%s cannot read its state: %s", d->id, err_text());
}

void device_power_on(struct device *d)
{
	struct agent_state state;

	if (d->alive)
		return;
	d->gone = d->cut_armed = false;
	if (d->sim->quiet)
		d->disk_full = false;
	d->mono_base = rng_between(&d->sim->fate, 1000, 1000000) - d->sim->now;
	state_read(d, &state);
	if (agent_init(&d->core, &d->config, &sim_port, d, &state) != ERR_OK)
		abort();
	d->alive = true;
	trace(d->sim, "%s has power, boot %llu", d->id,
		(unsigned long long)d->core.state.boot_counter);
	heap_push(d->sim, d->sim->now + rng_between(&d->sim->fate, 1, 500), EVENT_CONNECT, d->index,
		d->link_token, NULL, 0);
	device_arm(d);
}

// The state was damaged: what comes back is the copy before it, as state_file.c does.
static void disk_tear(struct device *d)
{
	struct agent_state state;
	struct id16 none = {0};

	if (d->disk_before.size == 0)
		return;
	agent_state_init(&state, &none);
	if (agent_state_decode(buf_bytes(&d->disk_before), &state) != ERR_OK)
		abort();
	state.uncertain = true;
	state.boot_counter++;
	if (agent_state_encode(&state, &d->disk) != ERR_OK)
		abort();
	agent_state_fini(&state);
	trace(d->sim, "%s lost the newest copy of its state", d->id);
}

void device_power_off(struct device *d, int64_t away_ms)
{
	if (!d->alive)
		return;
	trace(d->sim, "%s loses power for %lld ms", d->id, (long long)away_ms);
	device_link(d, false);
	doer_stop(d);
	d->beats += d->core.counters.beats;
	agent_fini(&d->core);
	d->alive = false;
	d->power_token++;
	d->tick_token++;
	d->tick_at = 0;
	if (d->sim->config.faults & FAULT_TORN && !d->sim->quiet && rng_chance(&d->sim->fate, 200))
		disk_tear(d);
	heap_push(d->sim, d->sim->now + away_ms, EVENT_POWER, d->index, d->power_token, NULL, 0);
}

void device_wipe(struct device *d)
{
	device_power_off(d, rng_between(&d->sim->fate, 100, 5000));
	trace(d->sim, "%s lost its disk", d->id);
	buf_clear(&d->disk);
	buf_clear(&d->disk_before);
	d->held = 0;
	d->showing = 0;
	memset(d->values, 0, sizeof(d->values));
	memset(d->installed, 0, sizeof(d->installed));
}

// After every event: power that went within it, and the next deadline.
void device_arm(struct device *d)
{
	struct sim *s = d->sim;

	if (!d->alive)
		return;
	if (d->gone) {
		device_power_off(d, rng_between(&s->fate, 100, 8000));
		return;
	}
	int64_t at = agent_deadline(&d->core, device_now(d).mono).ms - d->mono_base;
	if (at <= s->now)
		at = s->now + 1;
	if (d->tick_at > s->now && d->tick_at <= at)
		return;
	d->tick_at = at;
	heap_push(s, at, EVENT_TICK, d->index, ++d->tick_token, NULL, 0);
}

void device_tick(struct device *d)
{
	d->tick_at = 0;
	agent_tick(&d->core, device_now(d));
	if (d->sim->config.broken == BREAK_STATE && !d->sim->quiet)
		d->gone = rng_chance(&d->sim->fate, 10);
	if (agent_unanswered(&d->core) > d->unheard)
		d->unheard = agent_unanswered(&d->core);
	device_arm(d);
}

void device_link(struct device *d, bool up)
{
	struct sim *s = d->sim;

	if (!d->alive || d->link_up == up)
		return;
	if (up && !s->broker.up) {
		heap_push(s, s->now + rng_between(&s->fate, 100, 2000), EVENT_CONNECT, d->index,
			d->link_token, NULL, 0);
		return;
	}
	d->link_up = up;
	d->link_token++;
	d->host_wanted = false;
	d->up_last = d->down_last = 0;
	if (up) {
		agent_link_up(&d->core, device_now(d));
		device_arm(d);
		return;
	}
	if (!d->gone)
		agent_link_down(&d->core, device_now(d));
	heap_push(s, s->now + rng_between(&s->fate, 100, 4000), EVENT_CONNECT, d->index,
		d->link_token, NULL, 0);
}

void device_message(struct device *d, struct message *m)
{
	struct sim *s = d->sim;

	s->result->messages++;
	sim_mix(s, hash_bytes(m->data, m->topic_length + 1 + m->size,
			   (uint64_t)s->now << 20 | d->index));
	agent_message(&d->core, device_now(d), m->data, m->topic_length,
		bytes_of(m->data + m->topic_length + 1, m->size), m->retained);
	device_arm(d);
}
