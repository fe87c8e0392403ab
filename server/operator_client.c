// Verbs about one principal: clients above all, and who may take part at all.
#include "server/operator.h"

#include "server/enrol.h"
#include <arpa/inet.h>

// ---------------------------------------------------------------- shapes

static void json_ip(cJSON *o, const struct client_info *i)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (i->ip_size == 4 || i->ip_size == 16)
		inet_ntop(i->ip_size == 4 ? AF_INET : AF_INET6, i->ip, text, sizeof(text));
	put_text(o, "ip", text);
}

void json_operation(cJSON *o, const struct operation_info *op)
{
	put_text(o, "client", op->client);
	put_id(o, "op_id", op->op_id);
	put_id(o, "first_op_id", op->first_op_id);
	put_text(o, "kind", response_kind_word(op->kind));
	put_number(o, "attempt", op->attempt);
	put_id(o, "flow", op->flow_id);
	put_text(o, "queue", op->queue);
	put_number(o, "event_seq", op->event_seq);
	put_text(o, "status", op->status ? op_status_word(op->status) : "");
	put_text(o, "outcome", op->outcome ? op_status_word(op->outcome) : "open");
	put_bool(o, "final", op->is_final);
	put_number(o, "percent", op->percent);
	put_text(o, "detail", op->detail);
	put_time(o, "opened_unix_ms", op->opened);
	put_time(o, "ended_unix_ms", op->ended);
}

static void json_open_operation(struct operator_call *c, cJSON *o, const struct client_info *i)
{
	struct client_info *full = NULL;

	if (i->has_operation && !i->operation.op_id) { // a row of core_client_next: look it up
		full = arena_alloc(c->arena, sizeof(*full));
		if (full && core_client_find(c->room->core, i->id, full) == ERR_OK)
			i = full;
	}
	if (i->has_operation && i->operation.op_id)
		json_operation(put_object(o, "op"), &i->operation);
	else
		cJSON_AddNullToObject(o, "op");
}

// The version people mean: of what is shown, else of the software.
static void json_showing(struct operator_call *c, cJSON *o, const struct client_info *i)
{
	struct package *k = presence_find(c->room->presence, &i->showing_package);
	struct software_version *list = NULL;
	size_t count = 0;
	const char *version = k ? k->version : "";
	cJSON *s;

	if (!k && core_client_software(c->room->core, i->id, c->arena, &list, &count) == ERR_OK &&
		count > 0)
		version = list[0].version;
	put_text(o, "version", version);
	s = put_object(o, "showing");
	put_digest(s, "package", &i->showing_package);
	put_text(s, "name", k ? k->name : "");
	put_text(s, "version", k ? k->version : "");
	put_text(o, "showing_image", i->showing_image);
}

static void json_places(cJSON *list, const struct client_info *i)
{
	for (size_t k = 0; i->role == ROLE_CLIENT && k < i->place_count; k++) {
		cJSON *o = put_item(list);

		put_text(o, "channel", i->places[k].channel);
		put_number(o, "weight", i->places[k].weight);
		put_number(o, "pointer", i->places[k].pointer_seq);
		put_text(o, "pointer_at", element_type_word(i->places[k].pointer_at));
	}
}

void json_client(struct operator_call *c, cJSON *o, const struct client_info *i)
{
	put_text(o, "id", i->id);
	put_text(o, "name", i->name);
	put_text(o, "role", role_word(i->role));
	put_bool(o, "revoked", i->revoked);
	put_text(o, "state", i->role == ROLE_CLIENT ? client_state_word(i->state) : "");
	put_text(o, "reach", reach_word(i->reach));
	put_time(o, "last_heard_unix_ms", i->last_heard);
	put_text(o, "channel", i->channel);
	json_places(put_list(o, "channels"), i);
	json_open_operation(c, o, i);
	json_showing(c, o, i);
	json_ip(o, i);
	put_number(o, "interval_ms", i->interval_ms);
	put_number(o, "interval_set_ms", i->interval_set_ms);
	put_number(o, "interval_status_ms", i->interval_status_ms);
	put_id(o, "session_id", i->session_id);
	put_id(o, "response_id", i->response_id);
	put_text(o, "last_kind", i->last_kind ? response_kind_word(i->last_kind) : "");
	put_text(o, "last_reason", i->last_reason ? reason_word(i->last_reason) : "");
	put_number(o, "mismatches", i->mismatches);
	put_number(o, "pointer", i->pointer_seq);
	put_text(o, "pointer_at", i->role == ROLE_CLIENT ? element_type_word(i->pointer_at) : "");
	put_bool(o, "at_tail", i->pointer_at == ELEMENT_TAIL);
	put_number(o, "private_elements", i->private_elements);
	put_text(o, "agent_version", i->agent_version);
	put_text(o, "agent_state", i->agent_state);
	put_text(o, "hw_class", i->hw_class);
	put_number(o, "free_bytes", i->free_bytes);
	put_number(o, "packages", i->holding_count);
}

void json_lease(struct operator_call *c, cJSON *o, const struct lease *l)
{
	const struct presence *p = c->room->presence;
	const struct package *k = presence_find(c->room->presence, &l->package);
	struct rates_view v = {.site = ""};

	(void)rates_look(p->rates, l->id, &v);
	put_id(o, "lease", l->id);
	put_text(o, "client", l->client);
	put_digest(o, "package", &l->package);
	put_text(o, "name", k ? k->name : "");
	put_text(o, "version", k ? k->version : "");
	put_text(o, "broker", l->broker);
	put_text(o, "site", v.site);
	put_time(o, "granted_unix_ms", l->granted);
	put_number(o, "ttl_ms", l->ttl_ms);
	put_number(o, "rate_bytes_per_s", l->rate_bytes_per_s);
	put_number(o, "window_bytes", l->window_bytes);
	put_number(o, "due_bytes_per_s", v.due_bytes_per_s);
	put_number(o, "measured_bytes_per_s", l->progress.bytes_per_s);
	put_number(o, "chunks_have", l->progress.have);
	put_number(o, "chunks_total", l->progress.total);
	put_number(o, "looked_mb", l->progress.looked_mb);
	put_bool(o, "stalled", l->progress.is_stalled);
}

void json_leases(
	struct operator_call *c, cJSON *o, const char *client, const struct digest *package)
{
	cJSON *list = put_list(o, "leases");
	void *cursor = NULL;

	for (const struct lease *l; (l = leases_next(c->room->presence->leases, &cursor));) {
		if ((client && strcmp(l->client, client) != 0) ||
			(package && !digest_equal(&l->package, package)))
			continue;
		json_lease(c, put_item(list), l);
	}
}

// ---------------------------------------------------------------- verbs

static enum err run_list(struct operator_call *c)
{
	const char *channel = call_text(c, "channel"), *role = call_text(c, "role");
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	cJSON *list = put_list(c->json, "clients");
	struct client_brief brief;
	size_t cursor = 0, listed = 0;

	if (!info)
		return err_set(ERR_FULL, "no memory for this request");
	while (core_client_walk(c->room->core, &cursor, &brief)) {
		if (strcmp(role_word(brief.role), role ? role : "client") != 0 ||
			(channel && !core_client_is_in(c->room->core, brief.place, channel)) ||
			!page_takes(c, brief.place, &listed) ||
			!core_client_at(c->room->core, brief.place, info))
			continue;
		json_client(c, put_item(list), info);
	}
	return ERR_OK;
}

static enum err json_updates(struct operator_call *c, const char *id)
{
	struct update_status *updates = NULL;
	size_t count = 0;
	cJSON *list = put_list(c->json, "updates");

	TRY(core_client_updates(c->room->core, id, c->arena, &updates, &count));
	for (size_t i = 0; i < count; i++) {
		const struct update_status *u = &updates[i];
		cJSON *o = put_item(list);

		put_text(o, "name", u->name);
		put_text(o, "version", u->version);
		put_digest(o, "package", &u->package);
		put_text(o, "state", u->state);
		put_text(o, "reason", u->reason);
		put_number(o, "failures", u->failures);
		put_time(o, "until_unix_ms", (struct wall){u->until_unix_ms});
	}
	return ERR_OK;
}

static enum err run_show(struct operator_call *c)
{
	const char *id = call_text(c, "client");
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	struct digest *held = NULL;
	struct software_version *software = NULL;
	size_t held_count = 0, software_count = 0;
	cJSON *list;

	if (!info)
		return err_set(ERR_FULL, "no memory for this request");
	TRY(core_client_find(c->room->core, id, info));
	json_client(c, c->json, info);
	if (info->role == ROLE_CLIENT) {
		TRY(core_client_holdings(c->room->core, id, c->arena, &held, &held_count));
		TRY(core_client_software(c->room->core, id, c->arena, &software, &software_count));
	}
	list = put_list(c->json, "holdings");
	for (size_t i = 0; i < held_count; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(digest_hex(&held[i])));
	list = put_list(c->json, "software");
	for (size_t i = 0; i < software_count; i++) {
		cJSON *o = put_item(list);

		put_text(o, "name", software[i].name);
		put_text(o, "version", software[i].version);
		put_digest(o, "package", &software[i].package);
	}
	json_leases(c, c->json, id, NULL);
	return info->role == ROLE_CLIENT ? json_updates(c, id) : ERR_OK;
}

// An operator must not lock itself out by a slip of the hand.
static enum err not_oneself(struct operator_call *c, const char *id)
{
	return strcmp(id, c->seat) == 0 ? err_set(ERR_DENIED, "%s is the seat that asks", id)
					: ERR_OK;
}

static enum err run_remove(struct operator_call *c)
{
	const char *id = call_text(c, "client");

	TRY(not_oneself(c, id));
	TRY(core_principal_remove(c->room->core, id));
	put_text(c->json, "client", id);
	return ERR_OK;
}

static enum err run_revoke(struct operator_call *c)
{
	const char *id = call_text(c, "client");

	TRY(not_oneself(c, id));
	TRY(core_principal_revoke(c->room->core, id));
	put_text(c->json, "client", id);
	return ERR_OK;
}

// "a,b,c": cut in place; each is an existing channel.
static enum err channels_cut(struct operator_call *c, char *list, const char **out, size_t *count)
{
	struct channel_info ch;
	char *rest = NULL;

	*count = 0;
	for (char *one = strtok_r(list, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
		if (*count == LIMIT_CLIENT_CHANNELS)
			return err_set(ERR_RANGE, "a client is in 1 to %d channels",
				LIMIT_CLIENT_CHANNELS);
		TRY(core_channel_find(c->room->core, one, &ch));
		out[(*count)++] = one;
	}
	return ERR_OK;
}

// A customer's client stays in the channel of its order, whatever it is in besides.
static void order_channel_keep(
	const struct client_info *info, const char *names[LIMIT_CLIENT_CHANNELS], size_t *count)
{
	const char *order = info->places[0].channel;

	if (strncmp(order, "c.", 2) != 0 || *count == LIMIT_CLIENT_CHANNELS)
		return;
	for (size_t i = 0; i < *count; i++)
		if (strcmp(names[i], order) == 0)
			return;
	memmove(&names[1], &names[0], *count * sizeof(names[0]));
	names[0] = order;
	++*count;
}

static enum err run_channel(struct operator_call *c)
{
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	char *list = arena_strdup(c->arena, call_text(c, "channel"));
	const char *names[LIMIT_CLIENT_CHANNELS];
	size_t count = 0;

	if (!info || !list)
		return err_set(ERR_FULL, "no memory for this request");
	TRY(call_client(c, "client", info));
	TRY(channels_cut(c, list, names, &count));
	order_channel_keep(info, names, &count);
	TRY(core_client_set_channels(c->room->core, info->id, names, count));
	TRY(core_client_find(c->room->core, info->id, info));
	put_text(c->json, "client", info->id);
	put_text(c->json, "channel", info->channel);
	json_places(put_list(c->json, "channels"), info);
	return ERR_OK;
}

static enum err run_clear_clone(struct operator_call *c)
{
	TRY(core_client_clear_clone(c->room->core, call_text(c, "client")));
	put_text(c->json, "client", call_text(c, "client"));
	return ERR_OK;
}

// Claim 27: an operation of its own, which the client acknowledges.
static enum err interval_append(struct operator_call *c, const char *client, uint32_t ms)
{
	struct event e = {.type = ELEMENT_INTERVAL, .interval_ms = ms};
	const char *queue = arena_printf(c->arena, "@%s", client);

	if (!queue)
		return err_set(ERR_FULL, "no memory for this request");
	put_text(c->json, "client", client);
	put_number(c->json, "interval_ms", ms);
	return call_append(c, queue, &e, NULL);
}

static enum err run_interval(struct operator_call *c)
{
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	uint32_t ms = (uint32_t)call_u64(c, "ms", 0);

	if (!info)
		return err_set(ERR_FULL, "no memory for this request");
	if (ms && (ms < HEARTBEAT_MIN_MS || ms > HEARTBEAT_MAX_MS))
		return err_set(ERR_RANGE, "an interval is %d to %d ms, or 0 for the policy's",
			HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS);
	TRY(call_client(c, "client", info));
	if (call_bool(c, "operation", false))
		return interval_append(c, info->id, ms);
	TRY(core_client_set_interval(c->room->core, info->id, ms));
	TRY(core_client_find(c->room->core, info->id, info));
	put_text(c->json, "client", info->id);
	put_number(c->json, "interval_ms", ms ? ms : info->interval_ms);
	return ERR_OK;
}

static enum err run_enrol(struct operator_call *c)
{
	struct enrolment e;

	TRY(enrol_take(c->room->core, &c->room->trust->root, c->room->server_id, c->body, c->arena,
		c->now, &e));
	put_text(c->json, "id", e.id);
	put_text(c->json, "role", role_word(e.role));
	return ERR_OK;
}

static const struct verb_row rows[] = {
	{.name = "client-list",
		.help = "clients, or other principals",
		.run = run_list,
		.args = {{"channel", ARG_ID, false, NULL, "only clients of this channel"},
			{"role", ARG_WORD, false, "client|publisher|operator", "other principals"},
			{"max", ARG_U32, false, NULL, "how many in one answer (10000)"},
			{"from", ARG_U64, false, NULL, "goes on at the next of an answer"}}},
	{.name = "client-show",
		.help = "everything known of one client",
		.run = run_show,
		.args = {{"client", ARG_ID, true, NULL, "whom"}}},
	{.name = "client-remove",
		.help = "forgets a principal; it may enrol again",
		.writes = true,
		.run = run_remove,
		.args = {{"client", ARG_ID, true, NULL, "whom"}}},
	{.name = "client-revoke",
		.help = "accepts nothing from a principal any more",
		.writes = true,
		.run = run_revoke,
		.args = {{"client", ARG_ID, true, NULL, "whom"}}},
	{.name = "client-channel",
		.help = "moves a client to a channel, or to several; changes of its own go to the "
			"first",
		.writes = true,
		.run = run_channel,
		.args = {{"client", ARG_ID, true, NULL, "whom"},
			{"channel", ARG_TEXT, true, NULL, "to which: CHANNEL[,CHANNEL...]"}}},
	{.name = "client-clear-clone",
		.help = "the operator knows which of two devices with one identity is the right "
			"one",
		.writes = true,
		.run = run_clear_clone,
		.args = {{"client", ARG_ID, true, NULL, "whom"}}},
	{.name = "interval",
		.help = "how often a client sends heartbeats",
		.writes = true,
		.run = run_interval,
		.args = {{"client", ARG_ID, true, NULL, "whom"},
			{"ms", ARG_U32, true, NULL, "milliseconds; 0: back to the policy"},
			{"operation", ARG_BOOL, false, NULL,
				"as an operation that the client acknowledges"}}},
	{.name = "enrol",
		.help = "takes a signed enrolment",
		.writes = true,
		.body = true,
		.run = run_enrol},
};

const struct verb_table operator_client_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
