// See away.h.
#include "server/away.h"

#include "server/core_inside.h"
#include <string.h>

static bool is_away(const struct client *c)
{
	return c->reach == REACH_SILENT || c->reach == REACH_NEVER;
}

static void away_fill(const struct core *core, const struct client *c, struct away_client *out)
{
	*out = (struct away_client){
		.id = client_id(&core->clients, c),
		.reach = (enum reach)c->reach,
		.last_heard = client_heard(c),
	};
	if (c->reach != REACH_NEVER)
		out->silent_ms =
			c->elsewhere
				? core->now.wall.ms - client_heard(c).ms
				: (int64_t)(int32_t)(attended_tick(core) - c->heard_tick) * TICK_MS;
}

bool core_away_next(
	struct core *core, size_t *cursor, size_t *budget, bool all, struct away_client *out)
{
	while (*budget > 0) {
		uint32_t number = client_table_next(&core->clients, cursor);
		if (number == CLIENT_NONE)
			return false;
		--*budget;
		const struct client *c = client_at(&core->clients, number);
		if (c->role != ROLE_CLIENT || c->flags & CLIENT_REVOKED || (!all && !is_away(c)))
			continue;
		away_fill(core, c, out);
		return true;
	}
	return false;
}

static struct client *away_client(struct core *core, const char *id, uint32_t *number)
{
	*number = client_table_find(&core->clients, id);
	if (*number != CLIENT_NONE)
		mirror_look(core, *number);
	struct client *c = *number == CLIENT_NONE ? NULL : client_at(&core->clients, *number);

	return c && c->role == ROLE_CLIENT ? c : NULL;
}

static enum err no_client(const char *id)
{
	return err_set(ERR_NOT_FOUND, "no client %s", id);
}

enum err core_away_find(struct core *core, const char *id, struct away_client *out)
{
	uint32_t number;
	const struct client *c = away_client(core, id, &number);

	if (!c)
		return no_client(id);
	away_fill(core, c, out);
	return ERR_OK;
}

// ---- what waits

struct awaited {
	struct core *core;
	const struct client *client;
	struct arena *arena;
	struct package_ref *packages;
	size_t count;
};

#define AWAITED_MAX LIMIT_HOLDINGS

static bool awaited_names(const struct awaited *w, enum package_kind kind, const char *name)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->packages[i].kind == kind && strcmp(w->packages[i].name, name) == 0)
			return true;
	return false;
}

// Of one name only the first counts: the private queue's before the channels', the heavier
// channel's before the lighter one's.
static void awaited_add(struct awaited *w, const struct digest *package, bool activate)
{
	struct core *core = w->core;
	struct package_ref ref;

	if (w->count == AWAITED_MAX || !core->hooks.package_find ||
		core->hooks.package_find(core->hooks.ctx, core, package, w->arena, &ref) != ERR_OK)
		return;
	ref.activate = activate;
	if (!awaited_names(w, ref.kind, ref.name))
		w->packages[w->count++] = ref;
}

static void awaited_add_body(struct awaited *w, struct bytes encoded)
{
	struct response_body body;

	if (!encoded.size || body_open(w->core, encoded, &body) != ERR_OK || !body.retrieve)
		return;
	for (size_t i = 0; i < body.retrieve->package_count; i++)
		awaited_add(w, &body.retrieve->packages[i].package,
			body.retrieve->packages[i].activate);
}

// The newest first: of one name it is the one that stays.
static void awaited_add_private(struct awaited *w)
{
	const struct client_rare *rare = w->client->rare;
	const struct element *newest_first[LIMIT_HOLDINGS];
	size_t count = 0;

	if (!rare)
		return;
	for (const struct element *e = rare->private ? rare->private->head : NULL;
		e && count < LIMIT_HOLDINGS; e = e->after)
		newest_first[count++] = e;
	while (count-- > 0)
		awaited_add_body(w, newest_first[count]->body);
}

static void awaited_add_operation(struct awaited *w, const struct open_operation *op)
{
	if (op && op->kind == KIND_RETRIEVE_INFORMATION)
		awaited_add_body(w, bytes_of(op->body, op->body_size));
}

static enum err awaited_add_channels(struct awaited *w, struct client *c)
{
	size_t order[LIMIT_CLIENT_CHANNELS];
	size_t channels = memberships_by_weight(w->core, c, order);

	for (size_t i = 0; i < channels; i++) {
		struct slot_row *slots = NULL;
		size_t count = 0;
		const char *queue = membership_at(w->core, c, order[i]).channel->queue.name;
		TRY(rows_slot_list(w->core->db, queue, w->arena, &slots, &count));
		for (size_t k = 0; k < count; k++)
			awaited_add(w, &slots[k].package, slots[k].activate);
	}
	return ERR_OK;
}

static void awaited_drop_held(struct awaited *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->count; i++)
		if (!client_holds(w->core, w->client, &w->packages[i].package))
			w->packages[kept++] = w->packages[i];
	w->count = kept;
}

enum err core_client_awaits(
	struct core *core, const char *id, struct arena *a, struct package_ref **out, size_t *count)
{
	uint32_t number;
	struct client *c = away_client(core, id, &number);
	struct awaited w = {.core = core, .client = c, .arena = a};

	*count = 0;
	if (!c)
		return no_client(id);
	w.packages = *out = arena_array(a, AWAITED_MAX, sizeof(**out));
	if (!w.packages)
		return err_set(ERR_FULL, "no room for what %s awaits", id);
	awaited_add_private(&w);
	TRY(awaited_add_channels(&w, c));
	awaited_add_operation(&w, client_open(c));
	awaited_add_operation(&w, c->rare ? c->rare->retry : NULL);
	awaited_drop_held(&w);
	*count = w.count;
	return ERR_OK;
}

// ---- another way

enum err core_client_to_medium(struct core *core, const char *id, const char *because)
{
	uint32_t number;
	const struct client *c = away_client(core, id, &number);
	const struct open_operation *op = c ? client_open(c) : NULL;

	if (!c)
		return no_client(id);
	if (c->elsewhere)
		return letter_to_client(
			core, id, LETTER_MEDIUM, &(struct letter_said){.text = because});
	if ((op && op->kind == KIND_RETRIEVE_INFORMATION && !op->command) ||
		(!op && c->rare && c->rare->retry &&
			c->rare->retry->kind == KIND_RETRIEVE_INFORMATION))
		TRY(operations_abandon(core, number, because));
	return channel_detach(core, number, because);
}
