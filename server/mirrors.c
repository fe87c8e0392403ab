// What the leader knows of the clients that other servers answer: their rows, looked at again in
// turn, or when somebody asks. They stand in their queues as the rows say. A pointer only rises,
// so an old look holds back too much and never too little; but who was detached comes back at a
// tail that its server read a moment ago. So an element goes when nobody stands on it in a look
// over all that began well after it was appended.
#include "server/core_inside.h"
#include "server/db/rows_letter.h"

#define LOOK_PERIOD_MS 100
#define LOOKS_IN_A_ROUND 300u // half a minute
#define LOOK_LEAST 16u
#define LOOK_ALL_AT_ONCE 2000u
#define LOOK_ALL_AGAIN_MS 1000
#define LOOK_AGAIN_TICKS 25u  // of one client, 250 ms
#define TAIL_LATE_MS 60000    // no server that may write has read an older tail
#define LETTERS_KEPT_MS 60000 // who has not read them by then begins anew

static struct channel *channel_of_row(const struct core *core, const struct client_row *row)
{
	struct channel *ch = channel_find(core, row->channel);

	return ch ? ch : channel_find(core, "default");
}

enum err mirror_update(struct core *core, uint32_t number, const struct client_row *row)
{
	struct client *c = client_at(&core->clients, number);
	struct channel *before = core->channels[c->channel], *ch = channel_of_row(core, row);
	bool was_online = c->reach == REACH_ONLINE;

	c->flags &= (uint8_t) ~(CLIENT_HOLDINGS_KNOWN | CLIENT_REVOKED);
	TRY(client_fill(core, number, row));
	if (c->role != ROLE_CLIENT || row->state == 0 || !ch)
		return ERR_OK;
	if (c->elsewhere && !was_online && c->reach == REACH_ONLINE && core->hooks.online)
		core->hooks.online(core->hooks.ctx, core, number);
	uint32_t pointer = pointer_of_row(ch, row->epoch, row->pointer);
	if (ch == before && pointer == c->pointer)
		return ERR_OK;
	queue_leave(&before->queue, c->pointer);
	before->clients--;
	c->channel = ch->number;
	c->pointer = pointer;
	ch->clients++;
	queue_stand(&ch->queue, pointer);
	channel_touch(core, before);
	channel_touch(core, ch);
	return ERR_OK;
}

// The channels after the first.
static enum err places_look(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	for (size_t i = 1; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		queue_leave(&p.channel->queue, *p.pointer);
		p.channel->clients--;
		channel_touch(core, p.channel);
	}
	if (c->rare)
		c->rare->more_count = 0;
	return rows_membership_of(core->db, client_id(&core->clients, c), membership_load, core);
}

static enum err row_look(void *ctx, const struct client_row *row)
{
	struct core *core = ctx;

	if (!client_table_holds(&core->clients, row->id))
		return principal_load(core, row);
	uint32_t number = client_table_find(&core->clients, row->id);
	struct client *c = client_at(&core->clients, number);
	if (!c->elsewhere)
		return ERR_OK;
	c->heard_tick = (uint32_t)(core->now.mono.ms / TICK_MS);
	return mirror_update(core, number, row);
}

void mirror_look_anew(struct core *core, uint32_t number)
{
	const struct client *c = client_at(&core->clients, number);

	if (!c->elsewhere)
		return;
	enum err e = rows_client_of(core->db, client_id(&core->clients, c), row_look, core);
	if (e == ERR_OK)
		e = places_look(core, number);
	share_fail(core, e);
}

void mirror_look(struct core *core, uint32_t number)
{
	uint32_t tick = (uint32_t)(core->now.mono.ms / TICK_MS);

	if (tick - client_at(&core->clients, number)->heard_tick >= LOOK_AGAIN_TICKS)
		mirror_look_anew(core, number);
}

// ---- all of them

struct look {
	struct core *core;
	size_t count;
};

static enum err look_next(void *ctx, const struct client_row *row)
{
	struct look *look = ctx;
	struct core *core = look->core;

	look->count++;
	(void)str_copy(core->mirrors.looked_up_to, sizeof(core->mirrors.looked_up_to), row->id);
	return row_look(core, row);
}

// Those that came to a further channel since.
static enum err place_look(void *ctx, const struct membership_row *row)
{
	struct core *core = ctx;
	uint32_t number = share_client(core, row->client, true);

	if (number == CLIENT_NONE || !client_at(&core->clients, number)->elsewhere)
		return ERR_OK;
	struct client *c = client_at(&core->clients, number);
	struct channel *ch = channel_find(core, row->channel);
	size_t at = ch ? membership_find(core, c, ch) : SIZE_MAX;
	if (at == SIZE_MAX)
		return membership_load(core, row);
	struct place p = membership_at(core, c, at);
	queue_leave(&ch->queue, *p.pointer);
	*p.pointer = pointer_of_row(ch, row->epoch, row->pointer);
	queue_stand(&ch->queue, *p.pointer);
	return ERR_OK;
}

static enum err round_end(struct core *core)
{
	struct mirrors *m = &core->mirrors;

	TRY(rows_membership_each(core->db, place_look, core));
	m->before_ms = m->round_ms - TAIL_LATE_MS;
	m->round_ms = core->now.wall.ms;
	m->looked_up_to[0] = '\0';
	m->looked_all = core->now.mono;
	for (uint32_t i = 0; i < core->channel_count; i++)
		TRY(channel_trim(core, &core->channels[i]->queue));
	return rows_letter_prune(core->db, core->now.wall.ms - LETTERS_KEPT_MS);
}

static enum err look_some(struct core *core, size_t max)
{
	struct look look = {.core = core};
	char after[LIMIT_ID + 1];

	(void)str_copy(after, sizeof(after), core->mirrors.looked_up_to);
	TRY(rows_client_after(core->db, after, max, look_next, &look));
	return look.count < max ? round_end(core) : ERR_OK;
}

enum err mirrors_look_all(struct core *core)
{
	struct mirrors *m = &core->mirrors;

	if (!core->shared || !core->leads ||
		mono_since_ms(core->now.mono, m->looked_all) < LOOK_ALL_AGAIN_MS)
		return ERR_OK;
	m->looked_up_to[0] = '\0';
	m->round_ms = core->now.wall.ms;
	do
		TRY(look_some(core, LOOK_ALL_AT_ONCE));
	while (m->looked_up_to[0]);
	return ERR_OK;
}

void mirrors_tick(struct core *core)
{
	struct mirrors *m = &core->mirrors;

	if (!core->leads || core->loading || core->now.mono.ms < m->look_next.ms)
		return;
	if (m->round_ms == 0)
		m->round_ms = core->now.wall.ms;
	m->look_next = mono_add_ms(core->now.mono, LOOK_PERIOD_MS);
	share_fail(core, look_some(core, core->clients.count / LOOKS_IN_A_ROUND + LOOK_LEAST));
}
