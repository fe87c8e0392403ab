// See share.h. What is ours, and what comes and goes with a shard.
#include "server/core_inside.h"
#include <string.h>

bool core_leads(const struct core *core)
{
	return core->leads;
}

void share_read(struct core *core)
{
	core->shared = core->ports.owns != NULL;
	for (unsigned p = 0; p < SHARD_PLACES; p++)
		core->ours[p] = !core->shared || core->ports.owns(core->ports.ctx, p);
	core->leads = core->ours[SHARD_LEAD];
}

bool share_loads(const struct core *core, const struct client_row *row)
{
	return core->leads || (row->role == ROLE_CLIENT && core->ours[shard_byte(row->id)]);
}

// A topic that names another shard than its id's is found out where that shard is.
bool share_is_ours(const struct core *core, const struct topic_parts *parts)
{
	if (!core->shared)
		return true;
	if (parts->kind == TOPIC_PUB || parts->kind == TOPIC_API)
		return core->leads;
	return core->ours[shard_byte(parts->id)];
}

struct id16 client_boot(const struct core *core, const struct client *c)
{
	struct id16 boot = core->boot;

	for (size_t i = 0; i < sizeof(uint32_t) && c->role == ROLE_CLIENT; i++)
		boot.b[i] ^= (uint8_t)(core->gains[c->shard] >> 8 * i);
	return boot;
}

void share_fail(struct core *core, enum err e)
{
	if (e != ERR_OK)
		db_fail(core->db, e);
}

// ---- a client comes

static enum err taken_fill(void *ctx, const struct client_row *row)
{
	struct core *core = ctx;

	return mirror_update(core, client_table_find(&core->clients, row->id), row);
}

enum err share_take(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	if (!c->elsewhere || !core->ours[c->shard])
		return ERR_OK;
	TRY(rows_client_of(core->db, client_id(&core->clients, c), taken_fill, core));
	mirror_places_drop(core, c); // not all changes were looked at; the rows of all follow
	c->elsewhere = false;
	c->v = c->seq = 0;
	client_begin(core, number);
	return ERR_OK;
}

uint32_t share_client(struct core *core, const char *id, bool also_elsewhere)
{
	if (core->gaining && !core->gaining[shard_byte(id)])
		return CLIENT_NONE;
	uint32_t number = client_table_find(&core->clients, id);
	if (number == CLIENT_NONE)
		return number;
	share_fail(core, share_take(core, number));
	return also_elsewhere || !client_at(&core->clients, number)->elsewhere ? number
									       : CLIENT_NONE;
}

// What the leader itself appended and trimmed is whole; others read what they have not seen.
static enum err shards_gain(struct core *core, const bool *gained)
{
	TRY(incarnation_gain(core, gained));
	for (size_t i = 0; i < SHARDS; i++)
		core->gains[i] += gained[i];
	if (!core->leads)
		TRY(channels_follow_all(core));
	core->attended_until_ms = core->now.wall.ms; // somebody listened until now
	core->gaining = gained;
	enum err e = loading_begin(core);
	if (e == ERR_OK)
		e = client_rows_load(core);
	core->gaining = NULL;
	return e;
}

// ---- a client goes

// The leader goes on to know where it stands.
static void client_leave(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare kept = {0};

	if (!core->leads) {
		principal_forget(core, number);
		return;
	}
	offers_forget(core, number);
	client_count(core, c, -1);
	c->elsewhere = true;
	c->flags &= (uint8_t)~CLIENT_STALE_ROW;
	if (!c->rare)
		return;
	kept.more = c->rare->more;
	kept.more_count = c->rare->more_count;
	c->rare->more = NULL;
	rare_free(c->rare);
	c->rare = NULL;
	struct client_rare *rare = kept.more ? client_rare_get(c) : NULL;
	if (rare) {
		rare->more = kept.more;
		rare->more_count = kept.more_count;
	}
}

static void shards_lose(struct core *core, const bool *lost)
{
	size_t cursor = 0;

	for (uint32_t n; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		const struct client *c = client_at(&core->clients, n);
		if (c->role == ROLE_CLIENT && lost[c->shard] && !c->elsewhere)
			client_leave(core, n);
	}
}

enum err core_share_leave(struct core *core, const unsigned *shards, size_t count)
{
	bool leaving[SHARDS] = {false};
	size_t cursor = 0;

	if (core->degraded)
		return ERR_OK;
	for (size_t i = 0; i < count; i++)
		leaving[shards[i] % SHARDS] = true;
	for (uint32_t n; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		const struct client *c = client_at(&core->clients, n);
		if (c->role == ROLE_CLIENT && leaving[c->shard] && !c->elsewhere &&
			c->flags & CLIENT_STALE_ROW)
			TRY(client_row_write(core, n));
	}
	return ERR_OK;
}

// ---- both

// Who comes to lead begins as at a start: the rows hold what the former leader had said.
static void lead_take(struct core *core)
{
	enum err e = ERR_OK;

	core_unload(core);
	e = core_load(core);
	if (e == ERR_OK && core->hooks.reload)
		e = core->hooks.reload(core->hooks.ctx, core);
	if (e != ERR_OK) {
		core_fail(core, e, "lead");
		return;
	}
	log_info("LEADS", "incarnation=%u", core->incarnation);
	host_publish(core, true);
}

void core_share_changed(struct core *core, struct now now)
{
	bool before[SHARD_PLACES], gained[SHARD_PLACES], lost[SHARD_PLACES];
	bool led = core->leads;
	size_t gains = 0, losses = 0;

	core->now = now;
	if (core->degraded)
		return; // everything is read anew
	arena_reset(&core->arena);
	memcpy(before, core->ours, sizeof(before));
	share_read(core);
	if (core->leads && !led) {
		lead_take(core);
		return;
	}
	for (unsigned p = 0; p < SHARD_PLACES; p++) {
		gained[p] = core->ours[p] && !before[p];
		lost[p] = before[p] && !core->ours[p];
		gains += gained[p];
		losses += lost[p];
	}
	if (losses)
		shards_lose(core, lost);
	if (gains)
		share_fail(core, shards_gain(core, gained));
	log_info("SHARE", "gained=%zu lost=%zu clients=%u incarnation=%u", gains, losses,
		core->clients.clients, core->incarnation);
	arena_reset(&core->arena);
}

void core_share_tick(struct core *core, struct now now)
{
	core->now = now;
	if (!core->shared || core->degraded || core->db->failed)
		return;
	arena_reset(&core->arena);
	letters_take(core);
	if (!core->db->failed)
		mirrors_tick(core);
	arena_reset(&core->arena);
}
