// Channels and private queues: the managed event queue joined with the store and with the clients.
//
// A channel also remembers what it wants now: per package name the newest package (slot), per key
// the newest value. That is what a detached client is given at once, instead of the history it
// missed.
#include "server/core_inside.h"
#include "server/event_body.h"
#include "server/sip_hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the table of channels

static uint32_t slot_of(const struct core *core, const char *name)
{
	uint32_t mask = core->channel_slot_count - 1;
	uint32_t at = (uint32_t)sip_hash(&core->hash_key, name, strlen(name)) & mask;

	while (core->channel_slots[at] &&
		strcmp(core->channels[core->channel_slots[at] - 1]->queue.name, name) != 0)
		at = (at + 1) & mask;
	return at;
}

struct channel *channel_find(const struct core *core, const char *name)
{
	if (core->channel_slot_count == 0)
		return NULL;
	uint16_t found = core->channel_slots[slot_of(core, name)];
	return found ? core->channels[found - 1] : NULL;
}

struct channel *channel_of(const struct core *core, const struct client *c)
{
	return core->channels[c->channel];
}

static enum err table_grow(struct core *core)
{
	uint32_t count = core->channel_slot_count ? core->channel_slot_count * 2 : 16;
	uint16_t *slots = calloc(count, sizeof(*slots));
	struct channel **channels = realloc(core->channels, count * sizeof(struct channel *));

	if (channels)
		core->channels = channels;
	if (!slots || !channels) {
		free(slots);
		return err_set(ERR_MEMORY, "no memory for channels");
	}
	free(core->channel_slots);
	core->channel_slots = slots;
	core->channel_slot_count = core->channel_cap = count;
	for (uint32_t i = 0; i < core->channel_count; i++)
		slots[slot_of(core, channels[i]->queue.name)] = (uint16_t)(i + 1);
	return ERR_OK;
}

static enum err channel_add(struct core *core, const char *name, uint64_t epoch, uint32_t tail_seq,
	struct channel **out)
{
	if (!id_is_valid(name))
		return err_set(ERR_RANGE, "%s is not a channel's name", log_quote(name));
	if (core->channel_count == CHANNELS_MAX - 1)
		return err_set(ERR_FULL, "the server holds %u channels", core->channel_count);
	if (core->channel_count * 2 >= core->channel_slot_count)
		TRY(table_grow(core));
	struct channel *ch = calloc(1, sizeof(*ch));
	if (!ch)
		return err_set(ERR_MEMORY, "no memory for a channel");
	queue_init(&ch->queue, name, epoch, tail_seq);
	ch->weight = CHANNEL_WEIGHT_DEFAULT;
	ch->number = (uint16_t)core->channel_count;
	core->channels[core->channel_count++] = ch;
	core->channel_slots[slot_of(core, name)] = (uint16_t)(ch->number + 1);
	*out = ch;
	return ERR_OK;
}

enum err channel_make(struct core *core, const char *name, struct channel **out)
{
	*out = channel_find(core, name);
	if (*out)
		return ERR_OK;
	if (!core->leads)
		return err_set(ERR_NOT_NOW, "channel %s: another server leads", name);
	TRY(channel_add(core, name, core->incarnation, 1, out));
	log_info("CHANNEL-MADE", "channel=%s epoch=%u", name, core->incarnation);
	channel_touch(core, *out);
	TRY(channel_write(core, *out));
	return channel_epoch_open(core, *out);
}

enum err channel_load(struct core *core, const struct queue_row *row)
{
	struct channel *ch = NULL;

	TRY(channel_add(core, row->name, row->epoch, row->tail_seq ? row->tail_seq : 1, &ch));
	ch->queue.paused = row->paused;
	ch->queue.closed = row->closed;
	ch->queue.rate_bytes_per_s = row->rate_bytes_per_s;
	ch->weight = (uint16_t)row->weight;
	channel_touch(core, ch);
	return ERR_OK;
}

void channels_fini(struct core *core)
{
	for (uint32_t i = 0; i < core->channel_count; i++) {
		queue_fini(&core->channels[i]->queue);
		free(core->channels[i]);
	}
	free(core->channels);
	free(core->channel_slots);
	core->channels = NULL;
	core->channel_slots = NULL;
	core->channel_count = core->channel_cap = core->channel_slot_count = 0;
	core->channel_views_due = 0;
}

void channel_changed(struct core *core, struct channel *ch)
{
	core->channels_told += core->shared && !ch->told;
	ch->told = core->shared;
}

void channel_touch(struct core *core, struct channel *ch)
{
	core->channel_views_due += !ch->view_due;
	ch->view_due = true;
}

// ---- private queues

void private_queue_free(struct client_rare *rare)
{
	if (!rare->private)
		return;
	queue_fini(rare->private);
	free(rare->private);
	rare->private = NULL;
}

enum err private_queue_get(struct core *core, uint32_t number, struct event_queue **out)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = client_rare_get(c);
	char name[LIMIT_ID + 2];
	uint32_t highest = 0;

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for a private queue");
	*out = rare->private;
	if (*out)
		return ERR_OK;
	(void)snprintf(name, sizeof(name), "@%s", client_id(&core->clients, c));
	TRY(rows_event_highest(core->db, name, &highest));
	struct event_queue *q = malloc(sizeof(*q));
	if (!q)
		return err_set(ERR_MEMORY, "no memory for a private queue");
	queue_init(q, name, core->incarnation, highest + 1);
	rare->private_pointer = q->tail_seq;
	queue_stand(q, rare->private_pointer);
	*out = rare->private = q;
	return ERR_OK;
}

enum err queue_of_name(
	struct core *core, const char *name, struct event_queue **queue, uint32_t *client)
{
	struct channel *ch = NULL;

	*client = CLIENT_NONE;
	if (name[0] != '@') {
		TRY(channel_make(core, name, &ch));
		*queue = &ch->queue;
		return ERR_OK;
	}
	uint32_t number = client_table_find(&core->clients, name + 1);
	if (number == CLIENT_NONE || client_at(&core->clients, number)->role != ROLE_CLIENT)
		return err_set(ERR_NOT_FOUND, "no client %s", name + 1);
	TRY(private_queue_get(core, number, queue));
	*client = number;
	return ERR_OK;
}

// ---- appending

static enum err event_write(struct core *core, const char *queue, const struct element *e)
{
	return rows_event_put(core->db, &(struct event_row){
						.queue = queue,
						.text = e->text,
						.author = e->author,
						.seq = e->seq,
						.first_seq = e->first_seq,
						.type = e->type,
						.body = e->body,
						.flow_id = e->flow_id,
						.at_ms = e->at.ms,
					});
}

static enum err slot_write(struct core *core, const struct event_queue *q, const struct element *e,
	const struct package_ref *p)
{
	struct slot_row slot;

	TRY(rows_slot_find(core->db, q->name, p->kind, p->name, &slot));
	if (!digest_equal(&slot.package, &p->package))
		slot.previous = slot.package;
	slot.package = p->package;
	slot.version = p->version;
	slot.activate = p->activate;
	slot.activate_unix_ms = p->activate_unix_ms;
	slot.seq = e->seq;
	slot.flow_id = e->flow_id;
	return rows_slot_put(core->db, &slot);
}

// What a newcomer must be given from now on.
static enum err wanted_write(struct core *core, const struct event_queue *q,
	const struct element *e, const struct response_body *body)
{
	const struct retrieve_information *r = body->retrieve;

	if (!r || q->name[0] == '@')
		return ERR_OK;
	for (size_t i = 0; i < r->package_count; i++)
		TRY(slot_write(core, q, e, &r->packages[i]));
	for (size_t i = 0; i < r->change_count; i++)
		TRY(rows_value_put(core->db, &(struct value_row){
						     .queue = q->name,
						     .key = r->changes[i].key,
						     .value = r->changes[i].value,
						     .change_id = r->changes[i].change_id,
						     .seq = e->seq,
					     }));
	return ERR_OK;
}

enum err channel_trim(struct core *core, struct event_queue *q)
{
	uint32_t up_to = 0, gone;

	if (core->loading && q->name[0] != '@') {
		core->trim_waits = true; // a client that is not loaded yet may stand there
		return ERR_OK;
	}
	if (core->shared && !core->leads && q->name[0] != '@') {
		(void)queue_trim(q, INT64_MAX, &up_to); // what others need, the leader keeps
		return ERR_OK;
	}
	gone = queue_trim(
		q, core->shared && q->name[0] != '@' ? core->mirrors.before_ms : INT64_MAX, &up_to);
	if (gone == 0)
		return ERR_OK;
	return rows_event_retire(core->db, q->name, gone == 1 ? up_to : 0, up_to);
}

struct merge_context {
	struct core *core;
	struct event_queue *queue;
	struct arena *arena; // NULL: nobody asks which were chosen
	struct consolidated *runs;
	size_t run_count, run_max;
};

static enum err run_note(
	struct merge_context *m, struct element *const *run, size_t count, uint32_t into)
{
	struct consolidated *r;

	if (!m->arena || m->run_count == m->run_max)
		return ERR_OK;
	r = &m->runs[m->run_count];
	*r = (struct consolidated){.into = into, .count = count};
	r->chose = arena_array(m->arena, count, sizeof(*r->chose));
	if (!r->chose)
		return err_set(ERR_FULL, "no room to say what was consolidated");
	for (size_t i = 0; i < count; i++)
		r->chose[i] = run[i]->seq;
	m->run_count++;
	return ERR_OK;
}

static enum err run_merge(
	void *ctx, struct element *const *run, size_t count, struct element_data *out)
{
	struct merge_context *m = ctx;

	return event_body_merge(&m->core->arena, &m->core->body, run, count, out);
}

static enum err run_merged(
	void *ctx, struct element *const *run, size_t count, const struct element *into)
{
	struct merge_context *m = ctx;
	char chose[256];
	size_t at = 0;

	for (size_t i = 0; i < count && at < sizeof(chose) - 12; i++)
		at += (size_t)snprintf(
			chose + at, sizeof(chose) - at, "%s%u", i ? "," : "", run[i]->seq);
	log_info("CONSOLIDATE", "consolidate queue=%s chose=%s into=%u", m->queue->name, chose,
		into->seq);
	TRY(run_note(m, run, count, into->seq));
	TRY(rows_event_retire(m->core->db, m->queue->name, into->first_seq, into->seq));
	return event_write(m->core, m->queue->name, into);
}

enum err channel_join(struct core *core, struct event_queue *q, struct arena *a,
	struct consolidated **out, size_t *count)
{
	struct merge_context ctx = {.core = core, .queue = q, .arena = a};
	size_t gone = 0;

	if (a) {
		ctx.run_max = q->count / 2;
		ctx.runs = arena_array(a, ctx.run_max + 1, sizeof(*ctx.runs));
		if (!ctx.runs)
			return err_set(ERR_FULL, "no room to say what was consolidated");
	}
	TRY(queue_consolidate(q, &(struct queue_merge){&ctx, run_merge, run_merged}, &gone));
	if (a) {
		*out = ctx.runs;
		*count = ctx.run_count;
	}
	return ERR_OK;
}

// At high water runs of DISPLAY events become one each; what is still too long loses its slowest
// readers.
static enum err queue_shorten(struct core *core, struct event_queue *q)
{
	if (q->count >= core->config.queue_high_water &&
		q->tail_seq - q->looked_seq > core->config.queue_high_water / 8)
		TRY(channel_join(core, q, NULL, NULL, NULL));
	while (q->count > core->config.queue_max) {
		log_warn("QUEUE-DETACHED", "queue=%s seq=%u pointers=%u why=\"the queue is full\"",
			q->name, q->head->seq, q->head->standing);
		TRY(rows_event_retire(core->db, q->name, 0, q->head->seq));
		queue_drop_head(q);
	}
	return channel_trim(core, q);
}

static struct element_data element_data_make(
	struct core *core, const struct event *ev, const struct response_body *body)
{
	return (struct element_data){
		.type = ev->type,
		.text = ev->text && ev->text[0] ? ev->text
						: event_body_text(&core->arena, ev->type, body),
		.author = ev->author,
		.flow_id = ev->flow_id ? ev->flow_id : core_flow_new(core),
		.at = core->now.wall,
	};
}

static void element_log(const char *queue, const struct element *e)
{
	log_info("EVENT", "queue=%s seq=%u type=%s flow=%llu author=%s text=%s", queue, e->seq,
		element_type_word(e->type), (unsigned long long)e->flow_id,
		log_quote(e->author ? e->author : ""), log_quote(e->text ? e->text : ""));
}

static enum err element_append(struct core *core, struct event_queue *q, const struct event *ev,
	const struct response_body *body, struct element **out)
{
	struct element_data data = element_data_make(core, ev, body);
	uint32_t head = q->head ? q->head->first_seq : 0;

	TRY(event_body_encode(body, &core->body));
	data.body = buf_bytes(&core->body);
	TRY(queue_append(q, &data, out));
	if (head && q->head->first_seq != head) // what the queue spanned was too much
		TRY(rows_event_retire(core->db, q->name, 0, q->head->first_seq - 1));
	element_log(q->name, *out);
	TRY(event_write(core, q->name, *out));
	return wanted_write(core, q, *out, body);
}

static bool is_elsewhere(const struct core *core, const char *client)
{
	uint32_t number = client_table_find(&core->clients, client);

	return number != CLIENT_NONE && client_at(&core->clients, number)->elsewhere;
}

// Into the private queue of another server's client, which reads it there.
static enum err append_elsewhere(struct core *core, const char *queue, const struct event *ev,
	const struct response_body *body, uint64_t *seq, uint64_t *flow)
{
	const struct element_data data = element_data_make(core, ev, body);
	uint32_t highest = 0, waiting = 0;

	TRY(rows_event_waiting(core->db, queue, &waiting));
	if (waiting >= PRIVATE_QUEUE_MAX)
		return err_set(
			ERR_FULL, "%u events wait in the private queue of %s", waiting, queue + 1);
	TRY(rows_event_highest(core->db, queue, &highest));
	TRY(event_body_encode(body, &core->body));
	const struct element e = {.seq = highest + 1,
		.first_seq = highest + 1,
		.type = data.type,
		.body = buf_bytes(&core->body),
		.flow_id = data.flow_id,
		.at = data.at,
		.text = (char *)(uintptr_t)data.text,
		.author = (char *)(uintptr_t)data.author};
	element_log(queue, &e);
	TRY(event_write(core, queue, &e));
	if (body->retrieve && body->retrieve->package_count && core->hooks.distributed)
		core->hooks.distributed(core->hooks.ctx, core, queue);
	if (seq)
		*seq = e.seq;
	if (flow)
		*flow = e.flow_id;
	return letter_to_client(core, queue + 1, LETTER_QUEUE, NULL);
}

enum err channel_append(struct core *core, const char *queue, const struct event *ev,
	const struct response_body *body, uint64_t *seq, uint64_t *flow)
{
	struct event_queue *q = NULL;
	struct element *e = NULL;
	uint32_t client = CLIENT_NONE;

	if (!core->leads)
		return err_set(ERR_NOT_NOW, "queue %s: another server leads", queue);
	if (queue[0] == '@' && is_elsewhere(core, queue + 1))
		return append_elsewhere(core, queue, ev, body, seq, flow);
	TRY(queue_of_name(core, queue, &q, &client));
	if (client != CLIENT_NONE && q->count >= PRIVATE_QUEUE_MAX)
		return err_set(
			ERR_FULL, "%u events wait in the private queue of %s", q->count, queue + 1);
	if (q->closed && ev->type != ELEMENT_CONTROL)
		return err_set(ERR_NOT_NOW, "channel %s is closed", queue);
	TRY(element_append(core, q, ev, body, &e));
	if (body->retrieve && body->retrieve->package_count && core->hooks.distributed)
		core->hooks.distributed(core->hooks.ctx, core, queue);
	if (seq)
		*seq = e->seq;
	if (flow)
		*flow = e->flow_id;
	if (client != CLIENT_NONE)
		return ERR_OK;
	struct channel *ch = channel_find(core, queue);
	TRY(channel_write(core, ch));
	channel_touch(core, ch);
	return queue_shorten(core, q);
}

enum err core_append_event(
	struct core *core, const char *queue, const struct event *e, uint64_t *seq, uint64_t *flow)
{
	struct response_body *body = NULL;

	if (e->type == ELEMENT_CONTROL)
		return err_set(ERR_RANGE, "control events are made by the server alone");
	TRY(event_body_make(core, e, &body));
	return channel_append(core, queue, e, body, seq, flow);
}

static enum err changes_to_lead(struct core *core, const char *channel, const struct event *e)
{
	struct response_body *body = NULL;

	TRY(event_body_make(core, e, &body));
	TRY(event_body_encode(body, &core->body));
	return core_letter_to_lead(core, &(struct letter_said){.kind = LETTER_CHANGES,
						 .client = e->author,
						 .text = channel,
						 .body = buf_bytes(&core->body)});
}

// A visual change that a client indicates becomes a display event of its channel (S004-4).
enum err channel_append_changes(
	struct core *core, uint32_t number, const struct change *changes, size_t count)
{
	const struct client *c = client_at(&core->clients, number);
	struct event e = {
		.type = ELEMENT_DISPLAY,
		.changes = changes,
		.change_count = count,
		.author = client_id(&core->clients, c),
	};

	const struct event_queue *q = &channel_of(core, c)->queue;

	if (!core->leads)
		return changes_to_lead(core, q->name, &e);
	if (q->closed) {
		log_info("CHANGE-REFUSED", "client=%s channel=%s why=\"the channel is closed\"",
			e.author, q->name);
		return ERR_OK;
	}
	return core_append_event(core, q->name, &e, NULL, NULL);
}

// ---- questions of other rooms

static void info_fill(const struct channel *ch, struct channel_info *out)
{
	const struct event_queue *q = &ch->queue;

	*out = (struct channel_info){
		.weight = ch->weight,
		.epoch = q->epoch,
		.tail_seq = q->tail_seq,
		.pointers_at_tail = q->standing_tail,
		.pointers = q->standing_tail,
		.clients = ch->clients,
		.elements = q->count,
		.paused = q->paused,
		.closed = q->closed,
		.rate_bytes_per_s = q->rate_bytes_per_s,
	};
	for (const struct element *e = q->head; e; e = e->after)
		out->pointers += e->standing;
	(void)str_copy(out->name, sizeof(out->name), q->name);
}

bool core_channel_next(struct core *core, size_t *cursor, struct channel_info *out)
{
	if (*cursor >= core->channel_count)
		return false;
	info_fill(core->channels[(*cursor)++], out);
	return true;
}

enum err core_channel_find(struct core *core, const char *channel, struct channel_info *out)
{
	struct channel *ch = channel_find(core, channel);

	if (!ch)
		return err_set(ERR_NOT_FOUND, "no channel %s", channel);
	info_fill(ch, out);
	return ERR_OK;
}

enum err core_channel_slots(struct core *core, const char *channel, struct arena *a,
	struct channel_slot **out, size_t *count)
{
	struct slot_row *rows = NULL;

	*count = 0;
	if (!channel_find(core, channel))
		return err_set(ERR_NOT_FOUND, "no channel %s", channel);
	TRY(rows_slot_list(core->db, channel, a, &rows, count));
	*out = arena_array(a, *count ? *count : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu slots", *count);
	for (size_t i = 0; i < *count; i++)
		(*out)[i] = (struct channel_slot){rows[i].kind, rows[i].name, rows[i].version,
			rows[i].package, rows[i].previous};
	return ERR_OK;
}

bool core_package_is_wanted(struct core *core, const struct digest *package)
{
	bool wanted = false;

	if (rows_slot_wants(core->db, package, &wanted) != ERR_OK)
		return true;
	for (uint32_t i = 0; !wanted && i < core->channel_count; i++)
		for (const struct element *e = core->channels[i]->queue.head; !wanted && e;
			e = e->after)
			wanted = event_body_names(core, e, package);
	return wanted;
}
