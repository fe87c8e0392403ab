// The channels of a client. Its first stands in struct client; the few that have more keep them in
// client_rare. Each channel has its own queue and each membership its own pointer; what joins them
// is the weight: the heaviest channel that has something is served, and of what several set the
// heaviest one's value counts (give.c).
//
// Changing what a client belongs to, or what a channel weighs, may change every value that the
// client should have: it gets one snapshot over all its channels. Where it stands behind in a
// queue it goes on afterwards; where it is caught up nothing is lost by coming back at the tail.
#include "server/core_inside.h"
#include <stdlib.h>
#include <string.h>

size_t membership_count(const struct client *c)
{
	return 1 + (c->rare ? c->rare->more_count : 0);
}

struct place membership_at(const struct core *core, struct client *c, size_t i)
{
	if (i == 0)
		return (struct place){core->channels[c->channel], &c->pointer};
	struct membership *m = &c->rare->more[i - 1];
	return (struct place){core->channels[m->channel], &m->pointer};
}

size_t membership_find(const struct core *core, struct client *c, const struct channel *ch)
{
	for (size_t i = 0; i < membership_count(c); i++)
		if (membership_at(core, c, i).channel == ch)
			return i;
	return SIZE_MAX;
}

static bool is_heavier(const struct channel *a, const struct channel *b)
{
	if (a->weight != b->weight)
		return a->weight > b->weight;
	return strcmp(a->queue.name, b->queue.name) < 0;
}

size_t memberships_by_weight(
	const struct core *core, struct client *c, size_t order[LIMIT_CLIENT_CHANNELS])
{
	size_t count = membership_count(c);

	for (size_t i = 0; i < count; i++) {
		const struct channel *ch = membership_at(core, c, i).channel;
		size_t at = i;
		while (at > 0 && is_heavier(ch, membership_at(core, c, order[at - 1]).channel)) {
			order[at] = order[at - 1];
			at--;
		}
		order[at] = i;
	}
	return count;
}

// ---- what is shown

static struct channel_offer offer_of(struct place p)
{
	const struct event_queue *q = &p.channel->queue;

	if (queue_is_detached(q, *p.pointer))
		return (struct channel_offer){.shows = QUEUE_DETACHED, .held = q->paused};
	const struct element *e = queue_show(q, *p.pointer);
	return (struct channel_offer){
		.shows = e ? QUEUE_ELEMENT : QUEUE_TAIL,
		.type = e ? e->type : 0,
		.held = q->paused,
	};
}

size_t memberships_choose(
	const struct core *core, struct client *c, bool resting, struct channel_offer *out)
{
	struct channel_offer offers[LIMIT_CLIENT_CHANNELS];
	size_t order[LIMIT_CLIENT_CHANNELS];

	if (membership_count(c) == 1) {
		*out = offer_of(membership_at(core, c, 0));
		return 0;
	}
	size_t count = memberships_by_weight(core, c, order);
	for (size_t i = 0; i < count; i++)
		offers[i] = offer_of(membership_at(core, c, order[i]));
	size_t chosen = next_channel_choose(offers, count, resting);
	*out = offers[chosen];
	return order[chosen];
}

uint32_t memberships_tails(const struct core *core, struct client *c, bool pointers)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		bool tail = !pointers || *p.pointer == POINTER_HEAD;
		sum += tail ? p.channel->queue.tail_seq : *p.pointer;
	}
	return sum;
}

// ---- rows

uint32_t pointer_of_row(const struct channel *ch, uint64_t epoch, uint32_t pointer)
{
	const struct event_queue *q = &ch->queue;

	if (epoch == q->epoch)
		return pointer;
	if (!ch->epoch_seq || queue_is_detached(q, ch->epoch_seq))
		return POINTER_HEAD;
	const struct element *e = queue_show(q, ch->epoch_seq);
	return e && e->seq == ch->epoch_seq ? ch->epoch_seq : POINTER_HEAD;
}

static enum err more_add(struct client *c, const struct channel *ch, uint32_t pointer)
{
	struct client_rare *rare = client_rare_get(c);
	struct membership *more =
		rare ? realloc(rare->more, (rare->more_count + 1) * sizeof(*more)) : NULL;

	if (!more)
		return err_set(ERR_MEMORY, "no memory for the channels of a client");
	rare->more = more;
	more[rare->more_count++] = (struct membership){.pointer = pointer, .channel = ch->number};
	return ERR_OK;
}

enum err membership_load(void *ctx, const struct membership_row *row)
{
	struct core *core = ctx;
	uint32_t number = share_client(core, row->client, true);
	struct channel *ch = channel_find(core, row->channel);
	struct client *c = number == CLIENT_NONE ? NULL : client_at(&core->clients, number);

	if (!c || c->role != ROLE_CLIENT)
		return ERR_OK;
	size_t known = ch ? membership_find(core, c, ch) : SIZE_MAX;
	if (!ch || (known == SIZE_MAX && membership_count(c) == LIMIT_CLIENT_CHANNELS))
		return err_set(ERR_CORRUPT, "%s stands in channel %s, which does not exist",
			row->client, row->channel);
	uint32_t pointer = pointer_of_row(ch, row->epoch, row->pointer);
	if (known != SIZE_MAX) { // from the time when it was another server's
		struct place p = membership_at(core, c, known);
		queue_leave(&ch->queue, *p.pointer);
		*p.pointer = pointer;
		queue_stand(&ch->queue, pointer);
		return ERR_OK;
	}
	queue_stand(&ch->queue, pointer);
	ch->clients++;
	return more_add(c, ch, pointer);
}

enum err memberships_write(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	for (size_t i = 1; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		TRY(rows_membership_put(core->db, &(struct membership_row){
							  .client = client_id(&core->clients, c),
							  .channel = p.channel->queue.name,
							  .place = (uint32_t)i,
							  .epoch = p.channel->queue.epoch,
							  .pointer = *p.pointer,
						  }));
	}
	return ERR_OK;
}

void memberships_leave(struct core *core, struct client *c)
{
	for (size_t i = 0; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		queue_leave(&p.channel->queue, *p.pointer);
		p.channel->clients--;
		channel_touch(core, p.channel);
	}
}

// ---- detaching

enum err membership_detach(struct core *core, uint32_t number, size_t i, const char *because)
{
	struct client *c = client_at(&core->clients, number);
	struct place p = membership_at(core, c, i);
	struct event_queue *q = &p.channel->queue;
	const char *id = client_id(&core->clients, c);

	if (*p.pointer == POINTER_HEAD)
		return ERR_OK;
	log_info("DETACHED", "client=%s channel=%s pointer=%u tail=%u because=%s", id, q->name,
		*p.pointer, q->tail_seq, log_quote(because));
	TRY(rows_event_skip(core->db, id, q->name, *p.pointer, q->tail_seq, core->now.wall.ms));
	TRY(rows_detached_put(core->db, id, q->name, q->tail_seq));
	queue_leave(q, *p.pointer);
	*p.pointer = POINTER_HEAD;
	c->flags &= (uint8_t)~CLIENT_HOLDINGS_KNOWN;
	client_dirty(core, number);
	channel_touch(core, p.channel);
	return channel_trim(core, q);
}

enum err channel_detach(struct core *core, uint32_t number, const char *because)
{
	const struct client *c = client_at(&core->clients, number);

	for (size_t i = 0; i < membership_count(c); i++)
		TRY(membership_detach(core, number, i, because));
	return ERR_OK;
}

enum err memberships_detach_fallen(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	for (size_t i = 0; i < membership_count(c); i++) {
		struct place p = membership_at(core, c, i);
		if (*p.pointer != POINTER_HEAD && queue_is_detached(&p.channel->queue, *p.pointer))
			TRY(membership_detach(
				core, number, i, "it fell behind what the queue keeps"));
	}
	return ERR_OK;
}

// One snapshot over all channels: the first of them is detached where none is. Of those in which
// the client is caught up nothing is lost.
static enum err values_anew(struct core *core, uint32_t number, const char *because)
{
	struct client *c = client_at(&core->clients, number);
	size_t detached = 0, count = membership_count(c);

	for (size_t i = 0; i < count; i++) {
		struct place p = membership_at(core, c, i);
		if (*p.pointer == p.channel->queue.tail_seq)
			TRY(membership_detach(core, number, i, because));
		detached += *p.pointer == POINTER_HEAD;
	}
	c->flags &= (uint8_t)~CLIENT_HOLDINGS_KNOWN;
	client_dirty(core, number);
	view_due(core, number);
	return detached ? ERR_OK : membership_detach(core, number, 0, because);
}

// ---- an operator changes them

// Where the client stands in a channel that it keeps; POINTER_HEAD in a new one.
static uint32_t pointer_kept(const struct core *core, struct client *c, const struct channel *ch)
{
	size_t at = membership_find(core, c, ch);

	return at == SIZE_MAX ? POINTER_HEAD : *membership_at(core, c, at).pointer;
}

static bool names_channel(struct channel *const *list, size_t count, const struct channel *ch)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == ch)
			return true;
	return false;
}

static enum err channels_resolve(struct core *core, const char *const *names, size_t count,
	struct channel *out[LIMIT_CLIENT_CHANNELS])
{
	if (count == 0 || count > LIMIT_CLIENT_CHANNELS)
		return err_set(ERR_RANGE, "a client is in 1 to %d channels", LIMIT_CLIENT_CHANNELS);
	for (size_t i = 0; i < count; i++) {
		TRY(channel_make(core, names[i], &out[i]));
		if (names_channel(out, i, out[i]))
			return err_set(ERR_RANGE, "channel %s is named twice", names[i]);
	}
	return ERR_OK;
}

static bool is_same(
	const struct core *core, struct client *c, struct channel *const *list, size_t count)
{
	bool same = count == membership_count(c);

	for (size_t i = 0; same && i < count; i++)
		same = membership_at(core, c, i).channel == list[i];
	return same;
}

static enum err channels_replace(
	struct core *core, uint32_t number, struct channel *const *list, size_t count)
{
	struct client *c = client_at(&core->clients, number);
	uint32_t pointers[LIMIT_CLIENT_CHANNELS] = {0};

	for (size_t i = 0; i < membership_count(c); i++)
		if (!names_channel(list, count, membership_at(core, c, i).channel))
			TRY(membership_detach(core, number, i, "it leaves the channel"));
	for (size_t i = 0; i < membership_count(c); i++)
		membership_at(core, c, i).channel->clients--;
	for (size_t i = 0; i < count; i++) {
		pointers[i] = pointer_kept(core, c, list[i]);
		list[i]->clients++;
	}
	if (c->rare)
		c->rare->more_count = 0;
	c->channel = list[0]->number;
	c->pointer = pointers[0];
	for (size_t i = 1; i < count; i++)
		TRY(more_add(c, list[i], pointers[i]));
	return ERR_OK;
}

static enum err channels_elsewhere(
	struct core *core, const char *id, const char *const *names, size_t count)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, LIMIT_CLIENT_CHANNELS * (LIMIT_ID + 2));
	for (size_t i = 0; i < count; i++)
		TRY(buf_printf(&text, "%s\t", names[i]));
	TRY(buf_append(&text, "", 1));
	return letter_to_client(
		core, id, LETTER_CHANNELS, &(struct letter_said){.text = (const char *)text.data});
}

enum err core_client_set_channels(
	struct core *core, const char *id, const char *const *names, size_t count)
{
	uint32_t number = client_table_find(&core->clients, id);
	struct channel *list[LIMIT_CLIENT_CHANNELS];

	if (number == CLIENT_NONE || client_at(&core->clients, number)->role != ROLE_CLIENT)
		return err_set(ERR_NOT_FOUND, "no client %s", id);
	TRY(channels_resolve(core, names, count, list));
	struct client *c = client_at(&core->clients, number);
	if (c->elsewhere) // what we know of it may be old: its server looks whether it is the same
		return channels_elsewhere(core, id, names, count);
	if (is_same(core, c, list, count))
		return ERR_OK;
	log_info("CHANNEL-CHANGED", "client=%s from=%s to=%s channels=%zu", id,
		channel_of(core, c)->queue.name, list[0]->queue.name, count);
	TRY(channels_replace(core, number, list, count));
	TRY(rows_membership_clear(core->db, id));
	// What it left it does not miss.
	TRY(rows_detached_forget(core->db, id));
	for (size_t i = 0; i < count; i++)
		channel_touch(core, list[i]);
	return values_anew(core, number, "it changes its channels");
}

enum err core_client_set_channel(struct core *core, const char *id, const char *channel)
{
	return core_client_set_channels(core, id, &channel, 1);
}

enum err core_channel_set_weight(struct core *core, const char *channel, uint32_t weight)
{
	struct channel *ch = channel_find(core, channel);

	if (!ch)
		return err_set(ERR_NOT_FOUND, "no channel %s", channel);
	if (weight > CHANNEL_WEIGHT_MAX)
		return err_set(ERR_RANGE, "a weight is 0 to %u", CHANNEL_WEIGHT_MAX);
	if (ch->weight == weight)
		return ERR_OK;
	log_info("CHANNEL-WEIGHT", "channel=%s from=%u to=%u", channel, ch->weight, weight);
	ch->weight = (uint16_t)weight;
	channel_touch(core, ch);
	TRY(channel_write(core, ch));
	return memberships_anew(core, ch);
}

enum err memberships_anew(struct core *core, const struct channel *ch)
{
	size_t cursor = 0;

	for (uint32_t n = 0; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		struct client *c = client_at(&core->clients, n);
		if (c->role == ROLE_CLIENT && !c->elsewhere && membership_count(c) > 1 &&
			membership_find(core, c, ch) != SIZE_MAX)
			TRY(values_anew(core, n, "a channel weighs something else"));
	}
	return ERR_OK;
}
