// What must be true at any time, and what must have become true when faults have stopped and time
// has gone on. This file alone looks into the core.
#include "tests/fleet/sim/sim.h"

#include "server/core_inside.h"
#include <stdlib.h>
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
		struct client *c = client_at(&core->clients, n);
		size_t at = c->role == ROLE_CLIENT ? membership_find(core, c, ch) : SIZE_MAX;
		pointers += at != SIZE_MAX &&
			    !queue_is_detached(q, *membership_at(core, c, at).pointer);
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

// ---- a client, after the turn that heard it

static enum client_state state_of_open(const struct open_operation *op)
{
	if (!op)
		return CS_IDLE;
	if (op->resync)
		return CS_RESYNC;
	if (op->kind == KIND_SEND_INFORMATION)
		return CS_AWAIT_INFO;
	return op->kind == KIND_RETRIEVE_INFORMATION ? CS_AWAIT_RETRIEVE : CS_AWAIT_COMMAND;
}

static void pointers_check(struct sim *s, struct core *core, struct client *c, const char *id)
{
	for (size_t i = 0; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		const struct event_queue *q = &p.channel->queue;
		if (queue_is_detached(q, *p.pointer))
			continue;
		const struct element *e =
			*p.pointer <= q->tail_seq ? queue_show(q, *p.pointer) : NULL;
		if (*p.pointer > q->tail_seq)
			violate(s, "the pointer of %s lies behind the tail of %s", id, q->name);
		else if (e ? e->seq < *p.pointer || !e->standing : !q->standing_tail)
			violate(s, "the pointer of %s shows nothing in %s", id, q->name);
	}
}

void check_client(struct sim *s, uint32_t index)
{
	struct core *core = s->server.core;
	const char *id = s->devices[index].id;
	uint32_t n = client_table_find(&core->clients, id);

	if (n == CLIENT_NONE)
		return;
	struct client *c = client_at(&core->clients, n);
	const struct open_operation *op = client_open(c);
	pointers_check(s, core, c, id);
	if (c->state == CS_CLONE_SUSPECT)
		return;
	if (c->state != state_of_open(op))
		violate(s, "%s is in state %s, and what is open says %s", id,
			client_state_word((enum client_state)c->state),
			client_state_word(state_of_open(op)));
	if (op && op->op_id != c->d)
		violate(s, "%s has %llx open, and was told %llx last", id,
			(unsigned long long)op->op_id, (unsigned long long)c->d);
	const char *why = ledger_disagrees(
		s, index, op ? op->op_id : 0, op && op->passed ? op->passed->op_id : 0);
	if (why)
		violate(s, "the operations of %s: %s", id, why);
}

// ---- models that are wrong

static void pointer_bend(struct sim *s, struct client *c, struct event_queue *q)
{
	const struct element *e = queue_is_detached(q, c->pointer) ? NULL : q->last;

	if (s->config.broken == BREAK_POINTER) {
		queue_leave(q, c->pointer);
		c->pointer = q->tail_seq + 5;
	} else if (s->config.broken == BREAK_LOST && e && queue_show(q, c->pointer)) {
		queue_advance(q, &c->pointer);
	} else if (s->config.broken == BREAK_AGAIN && e && c->pointer == q->tail_seq) {
		queue_leave(q, c->pointer);
		c->pointer = e->seq;
		queue_stand(q, c->pointer);
	}
}

void server_bend(struct sim *s)
{
	struct core *core = s->server.core;

	if (s->config.broken < BREAK_POINTER || s->server.turns % 16 != 0 || !core || s->quiet)
		return;
	uint32_t n = client_table_find(
		&core->clients, s->devices[rng_below(&s->fate, s->config.agents)].id);
	if (n == CLIENT_NONE)
		return;
	struct client *c = client_at(&core->clients, n);
	pointer_bend(s, c, &core->channels[c->channel]->queue);
	if (s->config.broken == BREAK_OPEN && client_open(c) && !client_open(c)->passed) {
		free(c->rare->open);
		c->rare->open = NULL;
		c->state = CS_IDLE;
	}
	if (s->config.broken == BREAK_ACCORD && client_open(c))
		c->state = CS_IDLE;
	if (s->config.broken == BREAK_IDS && c->v > 4)
		c->v -= 4;
}

// ---- rest

static const char *client_rest(struct core *core, struct client *c)
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
	for (size_t i = 0; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		if (*p.pointer != p.channel->queue.tail_seq)
			return *p.pointer == POINTER_HEAD ? "it is detached" : "its channel waits";
	}
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
		struct client *c = client_at(&core->clients, n);
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

// A package of a channel is held, unless a heavier channel has another one in the same slot.
static void check_slots(struct sim *s, struct core *core, const struct device *d, struct client *c)
{
	size_t order[LIMIT_CLIENT_CHANNELS], count = memberships_by_weight(core, c, order);
	bool taken[SIM_SLOTS] = {false};
	uint32_t showing = UINT32_MAX;

	for (size_t i = 0; i < count; i++) {
		const char *channel = membership_at(core, c, order[i]).channel->queue.name;
		struct channel_slot *slots = NULL;
		size_t rows = 0;
		if (core_channel_slots(core, channel, &s->arena, &slots, &rows) != ERR_OK)
			violate(s, "%s has no slots: %s", channel, err_text());
		for (size_t r = 0; r < rows; r++) {
			uint32_t index = package_index(&slots[r].package);
			bool last = !d->excused || index >= s->last_packages;
			if (taken[index % SIM_SLOTS])
				continue;
			taken[index % SIM_SLOTS] = true;
			if (!(d->held >> index & 1) && last)
				violate(s, "%s does not hold package %u of %s", d->id, index,
					channel);
			if (slots[r].kind == PACKAGE_IMAGES)
				showing = last ? index : UINT32_MAX; // in the order they were set
		}
	}
	if (count == 1 && showing != UINT32_MAX && d->showing != showing + 1)
		violate(s, "%s shows package %d, and its channel says %u", d->id,
			(int)d->showing - 1, showing);
}

// Of what several channels set, the heaviest one's value counts.
static void check_values(struct sim *s, struct core *core, const struct device *d, struct client *c)
{
	size_t order[LIMIT_CLIENT_CHANNELS], count = memberships_by_weight(core, c, order);
	bool set[SIM_KEYS] = {false};

	for (size_t i = 0; i < count; i++) {
		const char *channel = membership_at(core, c, order[i]).channel->queue.name;
		struct value_row *values = NULL;
		size_t rows = 0;
		if (rows_value_list(s->server.db, channel, &s->arena, &values, &rows) != ERR_OK)
			violate(s, "%s has no values: %s", channel, err_text());
		for (size_t r = 0; r < rows * SIM_KEYS; r++) {
			const struct value_row *v = &values[r / SIM_KEYS];
			size_t k = r % SIM_KEYS;
			uint32_t number = value_number(v->value);
			if (strcmp(v->key, value_keys[k]) != 0 || set[k])
				continue;
			set[k] = true;
			if (number != d->values[k] && (!d->excused || number >= s->last_values))
				violate(s, "%s has %s=v%u, and %s says %s", d->id, v->key,
					d->values[k], channel, v->value);
		}
	}
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
		struct client *c = client_at(&core->clients, n);
		arena_reset(&s->arena);
		check_slots(s, core, d, c);
		check_values(s, core, d, c);
		check_accord(s, d, c);
	}
	if (!sim_is_violated(s))
		ledger_check_end(s);
	if (!sim_is_violated(s))
		check_queues(s);
}
