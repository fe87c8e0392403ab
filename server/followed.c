// Channels of a server that does not lead: read by their sequence, never written. What was appended
// follows what is there; where a run became one element, or a new epoch began, the channel is read
// as a whole, and who stands in it stands on as before.
#include "server/core_inside.h"
#include <string.h>

struct followed {
	struct core *core;
	struct channel *channel;
	struct event_queue *queue; // where rows go
	struct queue_row row;
	bool found, fits, whole;
};

static enum err row_note(void *ctx, const struct queue_row *row)
{
	struct followed *f = ctx;

	f->found = true;
	f->row = *row;
	f->row.name = ""; // borrowed
	return ERR_OK;
}

static enum err row_read(struct followed *f, const char *name)
{
	f->found = false;
	return rows_queue_of(f->core->db, name, row_note, f);
}

static enum err element_add(void *ctx, const struct event_row *row)
{
	struct followed *f = ctx;
	struct element_data data = element_data_of(row);
	struct element *e = NULL;

	f->fits = f->fits && row->first_seq == row->seq && row->seq == f->queue->tail_seq;
	if (!f->fits)
		return ERR_OK;
	TRY(queue_append(f->queue, &data, &e));
	channel_epoch_note(f->core, f->channel, f->queue->last);
	return ERR_OK;
}

static enum err element_load(void *ctx, const struct event_row *row)
{
	struct followed *f = ctx;
	struct element_data data = element_data_of(row);

	TRY(queue_load(f->queue, row->first_seq, row->seq, &data));
	channel_epoch_note(f->core, f->channel, f->queue->last);
	return ERR_OK;
}

static void stand_anew(struct followed *f, uint64_t epoch)
{
	struct core *core = f->core;
	size_t cursor = 0;

	for (uint32_t n; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		struct client *c = client_at(&core->clients, n);
		for (size_t i = 0; c->role == ROLE_CLIENT && i < membership_count(c); i++) {
			struct place p = membership_at(core, c, i);
			if (p.channel != f->channel)
				continue;
			*p.pointer = pointer_of_row(f->channel, epoch, *p.pointer);
			queue_stand(&f->channel->queue, *p.pointer);
		}
	}
}

static enum err read_whole(struct followed *f, const char *name)
{
	struct event_queue fresh;
	uint64_t epoch = f->channel->queue.epoch;

	queue_init(&fresh, name, f->row.epoch, f->row.tail_seq ? f->row.tail_seq : 1);
	f->queue = &fresh;
	enum err e = rows_event_of(f->core->db, name, 0, element_load, f);
	if (e != ERR_OK) {
		queue_fini(&fresh);
		return e;
	}
	queue_fini(&f->channel->queue);
	f->channel->queue = fresh;
	f->queue = &f->channel->queue;
	stand_anew(f, epoch);
	return ERR_OK;
}

// The leader may write between two of our reads: the row is the same before and after.
static bool row_equal(const struct queue_row *a, const struct queue_row *b)
{
	return a->epoch == b->epoch && a->tail_seq == b->tail_seq;
}

static enum err read_on(struct followed *f, const char *name)
{
	struct event_queue *q = f->queue = &f->channel->queue;

	f->fits = q->epoch == f->row.epoch && !f->whole;
	f->whole = false;
	if (f->fits)
		TRY(rows_event_of(f->core->db, name, q->tail_seq, element_add, f));
	if (!f->fits || q->tail_seq < f->row.tail_seq)
		TRY(read_whole(f, name));
	return ERR_OK;
}

static enum err state_take(struct followed *f)
{
	struct channel *ch = f->channel;
	bool weighs_other = ch->weight != f->row.weight;

	ch->queue.paused = f->row.paused;
	ch->queue.closed = f->row.closed;
	ch->queue.rate_bytes_per_s = f->row.rate_bytes_per_s;
	ch->weight = (uint16_t)f->row.weight;
	return weighs_other ? memberships_anew(f->core, ch) : ERR_OK;
}

// whole: who comes may stand on what nobody here was waiting for any more.
static enum err follow(struct core *core, const char *name, bool whole)
{
	struct followed f = {.core = core, .channel = channel_find(core, name), .whole = whole};
	struct queue_row before;

	TRY(row_read(&f, name));
	if (!f.found)
		return ERR_OK;
	if (!f.channel) {
		f.row.name = name;
		TRY(channel_load(core, &f.row));
		f.channel = channel_find(core, name);
		f.whole = true;
	}
	for (int tries = 0; tries < 5; tries++) {
		before = f.row;
		TRY(read_on(&f, name));
		TRY(row_read(&f, name));
		if (row_equal(&before, &f.row))
			break;
	}
	return state_take(&f);
}

enum err channel_follow(struct core *core, const char *name)
{
	return follow(core, name, false);
}

struct names {
	struct core *core;
	const char **items;
	size_t count, max;
};

static enum err name_note(void *ctx, const struct queue_row *row)
{
	struct names *n = ctx;

	if (row->name[0] == '@' || n->count == n->max)
		return ERR_OK;
	n->items[n->count] = arena_strdup(&n->core->arena, row->name);
	return n->items[n->count++] ? ERR_OK : err_set(ERR_FULL, "no room for channels");
}

enum err channels_follow_all(struct core *core)
{
	struct names n = {.core = core, .max = CHANNELS_MAX};

	n.items = arena_array(&core->arena, n.max, sizeof(*n.items));
	if (!n.items)
		return err_set(ERR_FULL, "no room for channels");
	TRY(rows_queue_each(core->db, name_note, &n));
	for (size_t i = 0; i < n.count; i++)
		TRY(follow(core, n.items[i], true));
	return ERR_OK;
}
