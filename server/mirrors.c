// What the leader knows of the clients that other servers answer: their rows, as those write them.
//
//   a server writes a client's row -> client_change: its term, and its how manieth write this is
//   leader, at each tick           -> the rows behind the last number it saw of each living term
//
// One server's writes are numbered in the order of its commits, so nothing is missed and nothing is
// read twice; what it costs follows from what changed, not from how large the fleet is. A term that
// is over is read to its end, also where it came and went between two looks.
//
// They stand in their queues as the rows say. A pointer only rises, so an old look holds back too
// much and never too little; but who was detached comes back at a tail that its server read a
// moment ago. So an element goes when nobody stands on it in a look that began well after it was
// appended.
#include "server/core_inside.h"
#include "server/db/rows_letter.h"
#include "server/db/rows_shard.h"
#include <stdlib.h>

#define LOOK_AT_ONCE 2000u   // rows between two turns; the others at the next tick
#define LOOK_AGAIN_TICKS 25u // of one client, 250 ms
#define TRIM_PERIOD_MS 5000
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

void mirror_places_drop(struct core *core, struct client *c)
{
	for (size_t i = 1; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		queue_leave(&p.channel->queue, *p.pointer);
		p.channel->clients--;
		channel_touch(core, p.channel);
	}
	if (c->rare)
		c->rare->more_count = 0;
}

// The channels after the first.
static enum err places_look(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	mirror_places_drop(core, c);
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

// ---- what changed

enum err mirror_tell(struct core *core, uint32_t number)
{
	uint64_t term = core->shared && !core->leads && core->ports.term
				? core->ports.term(core->ports.ctx)
				: 0;

	if (term == 0)
		return ERR_OK;
	const struct client *c = client_at(&core->clients, number);
	return rows_change_put(core->db, client_id(&core->clients, c), term, ++core->changes);
}

// Its further channels follow.
static enum err change_look(void *ctx, const struct client_row *row)
{
	struct core *core = ctx;
	uint32_t number = client_table_find(&core->clients, row->id);

	if (number != CLIENT_NONE && client_at(&core->clients, number)->elsewhere)
		mirror_places_drop(core, client_at(&core->clients, number));
	return row_look(core, row);
}

static enum err place_look(void *ctx, const struct membership_row *row)
{
	struct core *core = ctx;
	uint32_t number = share_client(core, row->client, true);

	return number != CLIENT_NONE && client_at(&core->clients, number)->elsewhere
		       ? membership_load(core, row)
		       : ERR_OK;
}

// *whole: nothing of this term is left to be read.
static enum err term_look(struct core *core, struct mirror_term *t, bool *whole)
{
	struct change_reader r = {.ctx = core, .client = change_look, .place = place_look};

	TRY(rows_change_after(core->db, t->term, t->seen, LOOK_AT_ONCE, &r));
	t->seen = r.last;
	*whole = r.count < LOOK_AT_ONCE;
	return ERR_OK;
}

static enum err term_add(struct mirrors *m, uint64_t term, bool is_over)
{
	if (m->term_count == m->term_cap) {
		size_t cap = m->term_cap ? 2 * m->term_cap : 16;
		struct mirror_term *more = realloc(m->terms, cap * sizeof(*more));
		if (!more)
			return err_set(ERR_MEMORY, "no memory for the terms of servers");
		m->terms = more;
		m->term_cap = cap;
	}
	m->terms[m->term_count++] = (struct mirror_term){.term = term, .is_over = is_over};
	return ERR_OK;
}

static enum err term_note(void *ctx, const struct server_row *row)
{
	struct mirrors *m = &((struct core *)ctx)->mirrors;

	for (size_t i = 0; i < m->term_count; i++)
		if (m->terms[i].term == row->fencing) {
			m->terms[i].is_over = false;
			return ERR_OK;
		}
	return term_add(m, row->fencing, false);
}

static bool term_is_noted(const struct mirrors *m, uint64_t term)
{
	for (size_t i = 0; i < m->term_count; i++)
		if (m->terms[i].term == term)
			return true;
	return false;
}

// A server may come, write and go between two looks.
static enum err terms_missed(struct core *core)
{
	struct mirrors *m = &core->mirrors;
	uint64_t term = m->highest;

	for (;;) {
		TRY(rows_change_term(core->db, term, &term));
		if (!term)
			break;
		if (!term_is_noted(m, term))
			TRY(term_add(m, term, true));
	}
	for (size_t i = 0; i < m->term_count; i++)
		if (m->terms[i].term > m->highest)
			m->highest = m->terms[i].term;
	return ERR_OK;
}

static enum err terms_read(struct core *core)
{
	struct mirrors *m = &core->mirrors;

	for (size_t i = 0; i < m->term_count; i++)
		m->terms[i].is_over = true; // unless the store says otherwise
	TRY(rows_servers_each(core->db, term_note, core));
	return terms_missed(core);
}

// What is over by now is read with the rows.
enum err mirrors_begin(struct core *core)
{
	struct mirrors *m = &core->mirrors;
	int64_t begun = 0;

	m->term_count = 0;
	if (!core->shared || !core->leads)
		return ERR_OK;
	TRY(rows_meta_number(core->db, "fencing", &begun));
	m->highest = (uint64_t)begun;
	TRY(terms_read(core));
	for (size_t i = 0; i < m->term_count; i++)
		TRY(rows_change_last(core->db, m->terms[i].term, &m->terms[i].seen));
	return ERR_OK;
}

void mirrors_fini(struct core *core)
{
	free(core->mirrors.terms);
}

// *whole: all that was committed before this look is known.
static enum err terms_look(struct core *core, bool *whole)
{
	struct mirrors *m = &core->mirrors;
	size_t kept = 0;

	*whole = true;
	TRY(terms_read(core));
	for (size_t i = 0; i < m->term_count; i++) {
		struct mirror_term t = m->terms[i];
		bool read = false;
		TRY(term_look(core, &t, &read));
		*whole = *whole && read;
		if (!t.is_over || !read)
			m->terms[kept++] = t;
	}
	m->term_count = kept;
	return ERR_OK;
}

static enum err old_go(struct core *core)
{
	for (uint32_t i = 0; i < core->channel_count; i++)
		if (core->channels[i]->queue.count)
			TRY(channel_trim(core, &core->channels[i]->queue));
	return rows_letter_prune(core->db, core->now.wall.ms - LETTERS_KEPT_MS);
}

enum err mirrors_look_all(struct core *core)
{
	bool whole = !core->shared || !core->leads;

	while (!whole)
		TRY(terms_look(core, &whole));
	return ERR_OK;
}

static enum err mirrors_look(struct core *core)
{
	struct mirrors *m = &core->mirrors;
	bool whole;

	TRY(terms_look(core, &whole));
	if (whole)
		m->before_ms = core->now.wall.ms - TAIL_LATE_MS;
	if (core->now.mono.ms < m->trim_at.ms)
		return ERR_OK;
	m->trim_at = mono_add_ms(core->now.mono, TRIM_PERIOD_MS);
	return old_go(core);
}

void mirrors_tick(struct core *core)
{
	if (core->leads && !core->loading)
		share_fail(core, mirrors_look(core));
}
