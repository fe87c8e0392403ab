// What a client is given: the element its pointer shows, or, when it is detached, one snapshot of
// what it lacks after it told what it holds. The pointer moves in the commit that stores the
// response.
#include "server/core_inside.h"
#include "server/event_body.h"
#include <string.h>

enum err channel_detach(struct core *core, uint32_t number, const char *because)
{
	struct client *c = client_at(&core->clients, number);
	struct channel *ch = channel_of(core, c);
	const char *id = client_id(&core->clients, c);

	if (c->pointer == POINTER_HEAD)
		return ERR_OK;
	log_info("DETACHED", "client=%s channel=%s pointer=%u tail=%u because=%s", id,
		ch->queue.name, c->pointer, ch->queue.tail_seq, log_quote(because));
	TRY(rows_event_skip(
		core->db, id, ch->queue.name, c->pointer, ch->queue.tail_seq, core->now.wall.ms));
	queue_leave(&ch->queue, c->pointer);
	c->pointer = POINTER_HEAD;
	c->flags &= (uint8_t)~CLIENT_HOLDINGS_KNOWN;
	client_dirty(core, number);
	channel_touch(core, ch);
	return channel_trim(core, &ch->queue);
}

static enum err pointer_to_tail(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	struct channel *ch = channel_of(core, c);

	c->pointer = ch->queue.tail_seq;
	queue_stand(&ch->queue, c->pointer);
	client_dirty(core, number);
	channel_touch(core, ch);
	return ERR_OK;
}

static enum client_state state_of_kind(enum response_kind kind)
{
	switch (kind) {
	case KIND_SEND_INFORMATION:
		return CS_AWAIT_INFO;
	case KIND_RETRIEVE_INFORMATION:
		return CS_AWAIT_RETRIEVE;
	case KIND_EXECUTE_COMMAND:
		return CS_AWAIT_COMMAND;
	case KIND_NO_ACTION:
		break;
	}
	return CS_IDLE;
}

// Packages that were withdrawn since are told to nobody. False when nothing is left of the element.
bool retrieve_still_exists(struct core *core, struct retrieve_information *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->package_count; i++) {
		struct package_ref found;
		bool activate = r->packages[i].activate;
		if (core->hooks.package_find) {
			if (core->hooks.package_find(core->hooks.ctx, core, &r->packages[i].package,
				    &core->arena, &found) != ERR_OK)
				continue;
			r->packages[i] = found;
			r->packages[i].activate = activate;
		}
		r->packages[kept++] = r->packages[i];
	}
	r->package_count = kept;
	return kept || r->change_count || r->command || r->heartbeat_interval_ms;
}

// An interval that is retrieved as an operation (claim 27) is also what every later response says.
static void interval_apply(struct core *core, uint32_t number, const struct retrieve_information *r)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = r->heartbeat_interval_ms ? client_rare_get(c) : NULL;

	if (rare)
		rare->interval_set_ms = r->heartbeat_interval_ms;
}

static enum err element_answer(struct core *core, uint32_t number, uint64_t seq,
	const struct event_queue *q, const struct element *e)
{
	struct response_body body;

	TRY(body_open(core, e->body, &body));
	struct answer a = {
		.kind = body.kind,
		.state = state_of_kind(body.kind),
		.code = e->type == ELEMENT_INTERVAL ? REASON_INTERVAL : REASON_EVENT,
		.text = arena_strdup(&core->arena, e->text),
		.queue = q->name,
		.event_seq = e->seq,
		.flow_id = e->flow_id,
		.attempt = 1,
		.send = body.send,
		.retrieve = body.retrieve,
		.execute = body.execute,
	};
	if (!a.text)
		return err_set(ERR_FULL, "no room for an answer");
	if (a.retrieve && !retrieve_still_exists(core, a.retrieve))
		return respond_no_action(
			core, number, seq, REASON_EVENT, "what the event named was withdrawn");
	if (a.retrieve)
		interval_apply(core, number, a.retrieve);
	return operation_open(core, number, seq, &a);
}

enum err channel_take(struct core *core, uint32_t number, uint64_t seq, bool from_private)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = client_rare_get(c);

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for an operation");
	struct event_queue *q = from_private ? rare->private : &channel_of(core, c)->queue;
	uint32_t *pointer = from_private ? &rare->private_pointer : &c->pointer;
	TRY(element_answer(core, number, seq, q, queue_show(q, *pointer)));
	queue_advance(q, pointer);
	client_dirty(core, number);
	TRY(channel_trim(core, q));
	rare->in_a_row = from_private ? (uint16_t)(rare->in_a_row + 1) : 0;
	if (!from_private)
		channel_touch(core, channel_of(core, c));
	else if (q->count == 0)
		private_queue_free(rare);
	return ERR_OK;
}

enum err channel_ask_holdings(struct core *core, uint32_t number, uint64_t seq)
{
	struct send_information send = {.what = INFO_HOLDINGS};

	return operation_open(core, number, seq,
		&(struct answer){
			.kind = KIND_SEND_INFORMATION,
			.state = CS_AWAIT_INFO,
			.code = REASON_SNAPSHOT,
			.text = "the client is new or was away: what does it hold",
			.queue = channel_of(core, client_at(&core->clients, number))->queue.name,
			.flow_id = core_flow_new(core),
			.attempt = 1,
			.send = &send,
		});
}

// ---- the snapshot

static bool lacks(const struct core *core, const struct client *c, const struct slot_row *slot,
	bool newest_shown)
{
	struct digest showing;
	const char *image = NULL;

	if (!client_holds(core, c, &slot->package))
		return true;
	if (!newest_shown || slot->kind != PACKAGE_IMAGES)
		return false;
	showing_split(intern_get(&core->interned, c->showing), &showing, &image);
	return !digest_equal(&showing, &slot->package);
}

static enum err snapshot_packages(struct core *core, const struct client *c,
	struct retrieve_information *r, uint64_t *flow, bool *more)
{
	struct slot_row *slots = NULL;
	size_t count = 0, last_shown = SIZE_MAX;

	TRY(rows_slot_list(
		core->db, channel_of(core, c)->queue.name, &core->arena, &slots, &count));
	r->packages = arena_array(&core->arena, LIMIT_PACKAGES_PER_RESPONSE, sizeof(*r->packages));
	if (!r->packages)
		return err_set(ERR_FULL, "no room for a snapshot");
	for (size_t i = 0; i < count; i++)
		if (slots[i].kind == PACKAGE_IMAGES && slots[i].activate)
			last_shown = i;
	for (size_t i = 0; i < count; i++) {
		struct package_ref ref;
		if (!lacks(core, c, &slots[i], i == last_shown))
			continue;
		if (!core->hooks.package_find ||
			core->hooks.package_find(core->hooks.ctx, core, &slots[i].package,
				&core->arena, &ref) != ERR_OK)
			continue;
		if (r->package_count == LIMIT_PACKAGES_PER_RESPONSE) {
			*more = true;
			return ERR_OK;
		}
		ref.activate =
			slots[i].activate && (slots[i].kind == PACKAGE_SOFTWARE || i == last_shown);
		r->packages[r->package_count++] = ref;
		*flow = slots[i].flow_id;
	}
	return ERR_OK;
}

static enum err snapshot_values(
	struct core *core, const struct client *c, struct retrieve_information *r)
{
	struct value_row *values = NULL;
	size_t count = 0;

	TRY(rows_value_list(
		core->db, channel_of(core, c)->queue.name, &core->arena, &values, &count));
	size_t first = count > LIMIT_CHANGES ? count - LIMIT_CHANGES : 0;
	r->changes = arena_array(&core->arena, LIMIT_CHANGES, sizeof(*r->changes));
	if (!r->changes)
		return err_set(ERR_FULL, "no room for a snapshot");
	for (size_t i = first; i < count; i++)
		r->changes[r->change_count++] = (struct change){.change_id = values[i].change_id,
			.key = values[i].key,
			.value = values[i].value};
	return ERR_OK;
}

enum err channel_snapshot(struct core *core, uint32_t number, uint64_t seq)
{
	struct client *c = client_at(&core->clients, number);
	struct retrieve_information r = {0};
	uint64_t flow = 0;
	bool more = false;

	TRY(snapshot_packages(core, c, &r, &flow, &more));
	TRY(snapshot_values(core, c, &r));
	if (!more)
		TRY(pointer_to_tail(core, number));
	if (r.package_count == 0 && r.change_count == 0)
		return respond_no_action(core, number, seq, REASON_SNAPSHOT,
			"the client lacks nothing: it is caught up");
	const char *text = arena_printf(&core->arena,
		"all it lacks at once: %zu package%s, %zu value%s", r.package_count,
		r.package_count == 1 ? "" : "s", r.change_count, r.change_count == 1 ? "" : "s");
	return operation_open(core, number, seq,
		&(struct answer){
			.kind = KIND_RETRIEVE_INFORMATION,
			.state = CS_AWAIT_RETRIEVE,
			.code = REASON_SNAPSHOT,
			.text = text ? text : "",
			.queue = channel_of(core, c)->queue.name,
			.flow_id = flow ? flow : core_flow_new(core),
			.attempt = 1,
			.retrieve = &r,
		});
}
