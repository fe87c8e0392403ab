// What a client is given: the element its pointer shows, or, when it is detached, one snapshot of
// what it lacks after it told what it holds. The pointer moves in the commit that stores the
// response.
#include "server/core_inside.h"
#include "server/event_body.h"
#include <string.h>

// After the snapshot: the tail, in every queue the client was detached from. What was appended to
// them since then is passed over.
static enum err pointers_to_tail(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	for (size_t i = 0; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		struct event_queue *q = &p.channel->queue;
		if (*p.pointer != POINTER_HEAD)
			continue;
		TRY(rows_detached_end(core->db, client_id(&core->clients, c), q->name, q->tail_seq,
			core->now.wall.ms));
		*p.pointer = q->tail_seq;
		queue_stand(q, *p.pointer);
		channel_touch(core, p.channel);
	}
	client_dirty(core, number);
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
		int64_t moment = r->packages[i].activate_unix_ms;
		if (core->hooks.package_find) {
			if (core->hooks.package_find(core->hooks.ctx, core, &r->packages[i].package,
				    &core->arena, &found) != ERR_OK)
				continue;
			r->packages[i] = found;
			r->packages[i].activate = activate;
			r->packages[i].activate_unix_ms = moment;
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

// ---- what a heavier channel of the client says otherwise

static bool slots_name(
	const struct slot_row *slots, size_t count, const struct package_ref *p, bool *shows)
{
	bool named = false;

	for (size_t i = 0; i < count; i++) {
		named |= slots[i].kind == p->kind && strcmp(slots[i].name, p->name) == 0;
		*shows |= slots[i].kind == PACKAGE_IMAGES && slots[i].activate;
	}
	return named;
}

static enum err packages_overrule(
	struct core *core, const char *heavier, struct retrieve_information *r)
{
	struct slot_row *slots = NULL;
	size_t count = 0, kept = 0;

	TRY(rows_slot_list(core->db, heavier, &core->arena, &slots, &count));
	for (size_t i = 0; i < r->package_count; i++) {
		struct package_ref p = r->packages[i];
		bool shows = false;
		if (slots_name(slots, count, &p, &shows))
			continue;
		p.activate = p.activate && !(shows && p.kind == PACKAGE_IMAGES);
		r->packages[kept++] = p;
	}
	r->package_count = kept;
	return ERR_OK;
}

static enum err changes_overrule(
	struct core *core, const char *heavier, struct retrieve_information *r)
{
	struct value_row *values = NULL;
	size_t count = 0, kept = 0;

	TRY(rows_value_list(core->db, heavier, &core->arena, &values, &count));
	for (size_t i = 0; i < r->change_count; i++) {
		bool set = false;
		for (size_t k = 0; k < count; k++)
			set |= strcmp(values[k].key, r->changes[i].key) == 0;
		if (!set)
			r->changes[kept++] = r->changes[i];
	}
	r->change_count = kept;
	return ERR_OK;
}

static enum err element_overrule(struct core *core, struct client *c, const struct event_queue *q,
	struct retrieve_information *r)
{
	size_t order[LIMIT_CLIENT_CHANNELS];
	size_t count = q->name[0] == '@' ? 0 : memberships_by_weight(core, c, order);

	for (size_t i = 0; i < count; i++) {
		const struct event_queue *other = &membership_at(core, c, order[i]).channel->queue;
		if (other == q)
			return ERR_OK;
		if (r->package_count)
			TRY(packages_overrule(core, other->name, r));
		if (r->change_count)
			TRY(changes_overrule(core, other->name, r));
	}
	return ERR_OK;
}

// What the element asks this client to retrieve. NULL in *r: nothing that is left of it.
static enum err element_retrieve(struct core *core, struct client *c, const struct event_queue *q,
	struct retrieve_information **r)
{
	if (membership_count(c) > 1)
		TRY(element_overrule(core, c, q, *r));
	(void)retrieve_drop_penalised(core, c, *r);
	if (!retrieve_still_exists(core, *r))
		*r = NULL;
	return ERR_OK;
}

static enum err element_answer(struct core *core, uint32_t number, uint64_t seq,
	const struct event_queue *q, const struct element *e)
{
	struct client *c = client_at(&core->clients, number);
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
	if (a.retrieve)
		TRY(element_retrieve(core, c, q, &a.retrieve));
	if (body.retrieve && !a.retrieve)
		return respond_no_action(core, number, seq, REASON_EVENT,
			"what the event named was withdrawn, or failed on this client, or a "
			"heavier channel says otherwise");
	if (a.retrieve)
		interval_apply(core, number, a.retrieve);
	if (client_open(c))
		TRY(open_overtake(core, number, &a));
	return operation_open(core, number, seq, &a);
}

bool next_overtakes(struct core *core, uint32_t number, enum next_act act, size_t at)
{
	struct client *c = client_at(&core->clients, number);
	struct place p = membership_at(core, c, at);
	const struct event_queue *q = act == NEXT_PRIVATE ? c->rare->private : &p.channel->queue;
	struct response_body body;

	if ((act != NEXT_PRIVATE && act != NEXT_CHANNEL) ||
		client_open(c)->kind != KIND_RETRIEVE_INFORMATION)
		return false;
	const struct element *e =
		queue_show(q, act == NEXT_PRIVATE ? c->rare->private_pointer : *p.pointer);
	if (!e || e->type != ELEMENT_DISPLAY || body_open(core, e->body, &body) != ERR_OK ||
		!body.retrieve || !open_is_overtaken(core, c, body.retrieve) ||
		element_retrieve(core, c, q, &body.retrieve) != ERR_OK)
		return false;
	return body.retrieve && open_is_overtaken(core, c, body.retrieve);
}

// ---- commands that are over before they were told

enum over {
	NOT_OVER,
	OVER_EXPIRED,
	OVER_WITHDRAWN
};

static enum err element_over(struct core *core, const struct element *e, enum over *over)
{
	struct response_body body;
	bool withdrawn = false;

	*over = NOT_OVER;
	if ((e->type != ELEMENT_COMMAND && e->type != ELEMENT_COMMAND_REF) ||
		body_open(core, e->body, &body) != ERR_OK)
		return ERR_OK;
	int64_t expires = body.execute ? body.execute->expires_unix_ms : 0;
	if (expires && expires <= core->now.wall.ms)
		*over = OVER_EXPIRED;
	if (body.retrieve && body.retrieve->command)
		TRY(core_command_is_withdrawn(core, body.retrieve->command, &withdrawn));
	if (withdrawn)
		*over = OVER_WITHDRAWN;
	return ERR_OK;
}

static void over_tell(
	const char *id, const struct event_queue *q, const struct element *e, enum over over)
{
	if (over == OVER_WITHDRAWN)
		log_info("COMMAND-UNTOLD", "client=%s queue=%s seq=%u flow=%llu why=withdrawn", id,
			q->name, e->seq, (unsigned long long)e->flow_id);
	else
		log_warn("COMMAND-EXPIRED", "client=%s queue=%s seq=%u flow=%llu author=%s text=%s",
			id, q->name, e->seq, (unsigned long long)e->flow_id, log_quote(e->author),
			log_quote(e->text));
}

// Passes over every such command at the pointer; each is written down, and told in the log, by
// its author's name. The beat gets NO_ACTION, the next one what follows.
static enum err over_pass(struct core *core, uint32_t number, uint64_t seq, struct event_queue *q,
	uint32_t *pointer, bool *passed)
{
	const char *id = client_id(&core->clients, client_at(&core->clients, number));
	const char *why = "a command's time was over: it was not given";
	const struct element *e;
	enum over over;

	*passed = false;
	while ((e = queue_show(q, *pointer))) {
		TRY(element_over(core, e, &over));
		if (over == NOT_OVER)
			break;
		if (over == OVER_WITHDRAWN)
			why = "a command was withdrawn: it was not given";
		TRY(rows_event_skip(core->db, id, q->name, e->seq, e->seq + 1, core->now.wall.ms));
		over_tell(id, q, e, over);
		queue_advance(q, pointer);
		*passed = true;
	}
	return *passed ? respond_no_action(core, number, seq, REASON_EVENT, why) : ERR_OK;
}

enum err channel_take(struct core *core, uint32_t number, uint64_t seq, size_t at)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = client_rare_get(c);
	struct place p = membership_at(core, c, at);
	struct event_queue *q = &p.channel->queue;

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for an operation");
	bool expired = false;
	TRY(over_pass(core, number, seq, q, p.pointer, &expired));
	const struct element *e = expired ? NULL : queue_show(q, *p.pointer);
	bool epoch = e && element_is_epoch(core, e);
	if (e)
		TRY(element_answer(core, number, seq, q, e));
	if (e)
		queue_advance(q, p.pointer);
	client_dirty(core, number);
	rare->in_a_row = 0;
	channel_touch(core, p.channel);
	if (epoch)
		return membership_detach(core, number, at, "the queue began a new epoch");
	return channel_trim(core, q);
}

enum err private_take(struct core *core, uint32_t number, uint64_t seq)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = c->rare;
	struct event_queue *q = rare->private;

	bool expired = false;
	TRY(over_pass(core, number, seq, q, &rare->private_pointer, &expired));
	if (!expired) {
		TRY(element_answer(core, number, seq, q, queue_show(q, rare->private_pointer)));
		queue_advance(q, &rare->private_pointer);
	}
	client_dirty(core, number);
	rare->in_a_row++;
	TRY(channel_trim(core, q));
	if (q->count == 0)
		private_queue_free(rare);
	return ERR_OK;
}

// The heaviest of its channels that the client is detached from.
static const char *snapshot_channel(struct core *core, struct client *c)
{
	size_t order[LIMIT_CLIENT_CHANNELS], count = memberships_by_weight(core, c, order);

	for (size_t i = 0; i < count; i++) {
		struct place p = membership_at(core, c, order[i]);
		if (*p.pointer == POINTER_HEAD)
			return p.channel->queue.name;
	}
	return channel_of(core, c)->queue.name;
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
			.queue = snapshot_channel(core, client_at(&core->clients, number)),
			.flow_id = core_flow_new(core),
			.attempt = 1,
			.send = &send,
		});
}

// ---- the snapshot

static bool lacks(
	struct core *core, const struct client *c, const struct slot_row *slot, bool newest_shown)
{
	struct digest showing;
	const char *image = NULL;

	if (slot->kind == PACKAGE_SOFTWARE && client_is_penalised(core, c, &slot->package))
		return false;
	if (!client_holds(core, c, &slot->package))
		return true;
	if (!newest_shown || slot->kind != PACKAGE_IMAGES)
		return false;
	showing_split(intern_get(&core->interned, c->showing), &showing, &image);
	return !digest_equal(&showing, &slot->package);
}

// What all channels of the client want, the lightest first; of one package name only what the
// heaviest says. *shown is the one that is to be on the screen: the last of the heaviest channel
// that shows any.
struct wanted {
	struct slot_row *slots;
	size_t count, cap, shown;
};

static void wanted_drop(struct wanted *w, const struct slot_row *by)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->slots[i].kind == by->kind && strcmp(w->slots[i].name, by->name) == 0) {
			memmove(&w->slots[i], &w->slots[i + 1],
				(w->count - i - 1) * sizeof(*w->slots));
			w->count--;
			if (w->shown != SIZE_MAX && w->shown >= i)
				w->shown = w->shown == i ? SIZE_MAX : w->shown - 1;
			return;
		}
}

static enum err wanted_add(struct core *core, const char *channel, struct wanted *w)
{
	struct slot_row *slots = NULL;
	size_t count = 0;

	TRY(rows_slot_list(core->db, channel, &core->arena, &slots, &count));
	struct slot_row *all = arena_array(&core->arena, w->count + count + 1, sizeof(*all));
	if (!all)
		return err_set(ERR_FULL, "no room for a snapshot");
	if (w->count)
		memcpy(all, w->slots, w->count * sizeof(*all));
	w->slots = all;
	for (size_t i = 0; i < count; i++) {
		wanted_drop(w, &slots[i]);
		if (slots[i].kind == PACKAGE_IMAGES && slots[i].activate)
			w->shown = w->count;
		all[w->count++] = slots[i];
	}
	return ERR_OK;
}

static enum err snapshot_wanted(struct core *core, struct client *c, struct wanted *w)
{
	size_t order[LIMIT_CLIENT_CHANNELS], count = memberships_by_weight(core, c, order);

	*w = (struct wanted){.shown = SIZE_MAX};
	for (size_t i = count; i-- > 0;)
		TRY(wanted_add(core, membership_at(core, c, order[i]).channel->queue.name, w));
	return ERR_OK;
}

static enum err snapshot_packages(struct core *core, struct client *c,
	struct retrieve_information *r, uint64_t *flow, bool *more)
{
	struct wanted w;

	TRY(snapshot_wanted(core, c, &w));
	r->packages = arena_array(&core->arena, LIMIT_PACKAGES_PER_RESPONSE, sizeof(*r->packages));
	if (!r->packages)
		return err_set(ERR_FULL, "no room for a snapshot");
	for (size_t i = 0; i < w.count; i++) {
		const struct slot_row *slot = &w.slots[i];
		struct package_ref ref;
		if (!lacks(core, c, slot, i == w.shown))
			continue;
		if (!core->hooks.package_find ||
			core->hooks.package_find(core->hooks.ctx, core, &slot->package,
				&core->arena, &ref) != ERR_OK)
			continue;
		if (r->package_count == LIMIT_PACKAGES_PER_RESPONSE) {
			*more = true;
			return ERR_OK;
		}
		ref.activate = slot->activate && (slot->kind == PACKAGE_SOFTWARE || i == w.shown);
		ref.activate_unix_ms = ref.activate ? slot->activate_unix_ms : 0;
		r->packages[r->package_count++] = ref;
		*flow = slot->flow_id;
	}
	return ERR_OK;
}

static void change_drop(struct change *changes, size_t *count, const char *key)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(changes[i].key, key) == 0) {
			memmove(&changes[i], &changes[i + 1], (*count - i - 1) * sizeof(*changes));
			--*count;
			return;
		}
}

// The lightest channel first, so that the heaviest one's value of a key stays.
static enum err snapshot_values(struct core *core, struct client *c, struct retrieve_information *r)
{
	size_t order[LIMIT_CLIENT_CHANNELS], channels = memberships_by_weight(core, c, order);

	r->changes = arena_array(&core->arena, LIMIT_CHANGES, sizeof(*r->changes));
	if (!r->changes)
		return err_set(ERR_FULL, "no room for a snapshot");
	for (size_t i = channels; i-- > 0;) {
		struct value_row *values = NULL;
		size_t count = 0;
		TRY(rows_value_list(core->db, membership_at(core, c, order[i]).channel->queue.name,
			&core->arena, &values, &count));
		for (size_t k = 0; k < count; k++) {
			change_drop(r->changes, &r->change_count, values[k].key);
			if (r->change_count == LIMIT_CHANGES)
				change_drop(r->changes, &r->change_count, r->changes[0].key);
			r->changes[r->change_count++] =
				(struct change){.change_id = values[k].change_id,
					.key = values[k].key,
					.value = values[k].value};
		}
	}
	return ERR_OK;
}

enum err channel_snapshot(struct core *core, uint32_t number, uint64_t seq)
{
	struct client *c = client_at(&core->clients, number);
	struct retrieve_information r = {0};
	const char *channel = snapshot_channel(core, c);
	uint64_t flow = 0;
	bool more = false;

	TRY(snapshot_packages(core, c, &r, &flow, &more));
	TRY(snapshot_values(core, c, &r));
	if (!more)
		TRY(pointers_to_tail(core, number));
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
			.queue = channel,
			.flow_id = flow ? flow : core_flow_new(core),
			.attempt = 1,
			.retrieve = &r,
		});
}
