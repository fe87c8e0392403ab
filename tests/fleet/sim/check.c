// What must be true at any time, and what must have become true when faults have stopped and time
// has gone on. This file alone looks into the core.
#include "tests/fleet/sim/sim.h"

#include "server/core_inside.h"
#include <string.h>

// ---- pointers and queues

static bool pointers_count(struct core *core, const struct channel *ch)
{
	const struct event_queue *q = &ch->queue;
	uint64_t standing = q->standing_tail, pointers = 0;
	size_t cursor = 0;

	for (const struct element *e = q->head; e; e = e->after)
		standing += e->standing;
	for (uint32_t n; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		const struct client *c = client_at(&core->clients, n);
		pointers += c->channel == ch->number && c->role == ROLE_CLIENT &&
			    !queue_is_detached(q, c->pointer);
	}
	return standing == pointers;
}

void check_queues(struct sim *s)
{
	struct core *core = s->server.core;
	size_t cursor = 0;

	if (!core || core_is_degraded(core))
		return;
	for (uint32_t i = 0; i < core->channel_count; i++) {
		const struct event_queue *q = &core->channels[i]->queue;
		if (queue_check(q) != ERR_OK)
			violate(s, "queue %s: %s", q->name, err_text());
		if (!pointers_count(core, core->channels[i]))
			violate(s, "queue %s counts other pointers than there are", q->name);
	}
	for (uint32_t n; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		const struct client *c = client_at(&core->clients, n);
		const struct event_queue *q = c->rare ? c->rare->private : NULL;
		if (c->pointer > channel_of(core, c)->queue.tail_seq)
			violate(s, "the pointer of %s lies behind the tail",
				client_id(&core->clients, c));
		if (q && queue_check(q) != ERR_OK)
			violate(s, "queue %s: %s", q->name, err_text());
		if (c->state == CS_CLONE_SUSPECT &&
			!(s->config.faults & (FAULT_TORN | FAULT_RESTORE)) &&
			s->config.broken != BREAK_DISK)
			violate(s, "%s is held for a clone", client_id(&core->clients, c));
	}
}

// ---- rest

static const char *client_rest(struct core *core, const struct client *c)
{
	const struct client_rare *rare = c->rare;

	if (c->state != CS_IDLE)
		return client_state_word((enum client_state)c->state);
	if (c->reach != REACH_ONLINE)
		return reach_word((enum reach)c->reach);
	if (rare && rare->open)
		return "an operation is open";
	if (rare && rare->retry)
		return "an operation waits for its next attempt";
	if (rare && rare->private && rare->private->count)
		return "its private queue waits";
	if (c->pointer != channel_of(core, c)->queue.tail_seq)
		return c->pointer == POINTER_HEAD ? "it is detached" : "its channel waits";
	return "";
}

static const char *device_rest(const struct device *d)
{
	const struct agent_core *c = &d->core;

	if (!d->alive || !d->link_up)
		return "it is away";
	if (!c->session.current)
		return "it has no session";
	if (c->retrieve.phase != RETRIEVE_NONE || c->report.open || c->command_running)
		return "it is at work";
	if (c->state.change_count)
		return "its changes are not heard";
	if (c->state.op.op_id && !op_status_is_final(c->state.op.status))
		return "its operation is open";
	if (c->unsaved)
		return "its state is not saved";
	return "";
}

const char *check_rest(struct sim *s)
{
	static char text[160];
	struct core *core = s->server.core;

	if (!core || core_is_degraded(core) || !s->server.link_up)
		return "the server is away";
	for (uint32_t i = 0; i < s->config.agents; i++) {
		const struct device *d = &s->devices[i];
		uint32_t n = client_table_find(&core->clients, d->id);
		const struct client *c = client_at(&core->clients, n);
		const char *why = client_rest(core, c);
		if (!why[0])
			why = device_rest(d);
		if (!why[0] && d->core.grid.interval_ms != c->told_interval_ms)
			why = "it keeps another interval than told";
		if (why[0]) {
			snprintf(text, sizeof(text), "%s: %s", d->id, why);
			return text;
		}
	}
	return "";
}

// ---- what all have come to

static void check_slots(struct sim *s, const struct device *d, const char *channel)
{
	struct channel_slot *slots = NULL;
	size_t count = 0;

	if (core_channel_slots(s->server.core, channel, &s->arena, &slots, &count) != ERR_OK) {
		violate(s, "%s has no slots: %s", channel, err_text());
		return;
	}
	uint32_t showing = UINT32_MAX;
	for (size_t i = 0; i < count; i++) {
		uint32_t index = package_index(&slots[i].package);
		if (!(d->held >> index & 1) && (!d->excused || index >= s->last_packages))
			violate(s, "%s does not hold package %u of %s", d->id, index, channel);
		if (slots[i].kind == PACKAGE_IMAGES)
			showing = index; // in the order in which they were set
	}
	if (showing != UINT32_MAX && d->showing != showing + 1 &&
		(!d->excused || showing >= s->last_packages))
		violate(s, "%s shows package %d, and %s says %u", d->id, (int)d->showing - 1,
			channel, showing);
}

static void check_values(struct sim *s, const struct device *d, const char *channel)
{
	struct value_row *values = NULL;
	size_t count = 0;

	if (rows_value_list(s->server.db, channel, &s->arena, &values, &count) != ERR_OK) {
		violate(s, "%s has no values: %s", channel, err_text());
		return;
	}
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < SIM_KEYS; k++)
			if (strcmp(values[i].key, value_keys[k]) == 0 &&
				value_number(values[i].value) != d->values[k] &&
				(!d->excused || value_number(values[i].value) >= s->last_values))
				violate(s, "%s has %s=v%u, and %s says %s", d->id, value_keys[k],
					d->values[k], channel, values[i].value);
}

static void check_accord(struct sim *s, const struct device *d, const struct client *c)
{
	const struct op_list *l = &s->ops[d->index];

	// Ten beats in a row that ask again are a reason to start anew, by the book.
	if (s->config.faults & ~(unsigned)FAULTS_OF_THE_WAY ||
		d->unheard > s->server.core->config.resend_limit)
		return;
	if (c->mismatches)
		violate(s, "%s disagreed %u times, and messages were lost only", d->id,
			c->mismatches);
	for (size_t i = 0; i < l->count; i++)
		if (l->items[i].is_resync)
			violate(s, "%s had to start anew, and messages were lost only", d->id);
}

void check_end(struct sim *s)
{
	struct core *core = s->server.core;

	for (uint32_t i = 0; i < s->config.agents && !sim_is_violated(s); i++) {
		const struct device *d = &s->devices[i];
		uint32_t n = client_table_find(&core->clients, d->id);
		const struct client *c = client_at(&core->clients, n);
		const char *channel = channel_of(core, c)->queue.name;
		arena_reset(&s->arena);
		check_slots(s, d, channel);
		check_values(s, d, channel);
		check_accord(s, d, c);
	}
	if (!sim_is_violated(s))
		ledger_check_end(s);
	if (!sim_is_violated(s))
		check_queues(s);
}
