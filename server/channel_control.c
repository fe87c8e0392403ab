// What the server itself decides about a queue (US 9,288,284: control events): a new epoch, pause,
// resume, rate, close. Each changes the server's own state at once, which rides in every response;
// the CONTROL element records the change in its place in the order, and is never consolidated. No
// message of a client makes one.
//
//   epoch   the queue was made, or the store is older than what the fleet has seen. Everybody is
//           told once, at its place in the order; who took it is detached and gets a snapshot.
//   close   nothing is appended any more; what waits is still given. resume opens it again.
#include "server/core_inside.h"
#include "server/event_body.h"
#include <string.h>

enum err channel_write(struct core *core, struct channel *ch)
{
	const struct event_queue *q = &ch->queue;

	channel_changed(core, ch);
	return rows_queue_put(core->db, &(struct queue_row){
						.name = q->name,
						.epoch = q->epoch,
						.tail_seq = q->tail_seq,
						.weight = ch->weight,
						.paused = q->paused,
						.closed = q->closed,
						.rate_bytes_per_s = q->rate_bytes_per_s,
					});
}

// ---- the event

static enum err control_append(struct core *core, struct channel *ch, const char *word,
	const char *value, const char *author, uint64_t *flow)
{
	const char *args[2] = {word, value};
	struct execute_command command = {
		.verb = "control", .args = args, .arg_count = value ? 2 : 1, .timeout_ms = 60000};
	const char *text = value ? arena_printf(&core->arena, "%s %s", word, value) : word;
	struct event e = {
		.type = ELEMENT_CONTROL, .command = &command, .author = author, .text = text};
	struct response_body *body = NULL;

	TRY(event_body_make(core, &e, &body));
	return channel_append(core, ch->queue.name, &e, body, NULL, flow);
}

static enum err control_apply(
	struct event_queue *q, enum channel_control what, uint64_t value, const char **word)
{
	switch (what) {
	case CONTROL_PAUSE:
		q->paused = true;
		*word = "pause";
		return ERR_OK;
	case CONTROL_RESUME:
		q->paused = q->closed = false;
		*word = "resume";
		return ERR_OK;
	case CONTROL_RATE:
		q->rate_bytes_per_s = value;
		*word = "rate";
		return ERR_OK;
	case CONTROL_CLOSE:
		q->closed = true;
		*word = "close";
		return ERR_OK;
	case CONTROL_EPOCH:
		break;
	}
	return err_set(ERR_RANGE, "no operator opens an epoch");
}

// A private queue held after a restore goes on when an operator says so.
static enum err private_resume(struct core *core, const char *queue)
{
	uint32_t number = client_table_find(&core->clients, queue + 1);

	if (number != CLIENT_NONE && client_at(&core->clients, number)->elsewhere)
		return letter_to_client(core, queue + 1, LETTER_RESUME, NULL);
	struct client_rare *rare =
		number == CLIENT_NONE ? NULL : client_at(&core->clients, number)->rare;

	if (!rare || !rare->private)
		return err_set(
			ERR_NOT_FOUND, "nothing waits in the private queue of %s", queue + 1);
	rare->private->paused = false;
	return rows_queue_delete(core->db, queue);
}

enum err core_channel_control(struct core *core, const char *channel, enum channel_control what,
	uint64_t value, const char *author, uint64_t *flow)
{
	const char *word = "", *number = NULL;

	if (channel[0] == '@' && what == CONTROL_RESUME)
		return private_resume(core, channel);
	struct channel *ch = channel_find(core, channel);
	if (!ch)
		return err_set(ERR_NOT_FOUND, "no channel %s", channel);
	TRY(control_apply(&ch->queue, what, value, &word));
	if (what == CONTROL_RATE) {
		number = arena_printf(&core->arena, "%llu", (unsigned long long)value);
		if (!number)
			return err_set(ERR_FULL, "no room for a control event");
	}
	return control_append(core, ch, word, number, author, flow);
}

// ---- epochs

bool element_is_epoch(struct core *core, const struct element *e)
{
	struct response_body body;

	if (e->type != ELEMENT_CONTROL ||
		response_body_decode(&core->arena, e->body, &body) != ERR_OK || !body.execute)
		return false;
	return body.execute->arg_count > 0 && strcmp(body.execute->args[0], "epoch") == 0;
}

enum err channel_epoch_open(struct core *core, struct channel *ch)
{
	const char *number =
		arena_printf(&core->arena, "%llu", (unsigned long long)ch->queue.epoch);

	if (!number)
		return err_set(ERR_FULL, "no room for a control event");
	ch->epoch_seq = ch->queue.tail_seq;
	return control_append(core, ch, "epoch", number, core->server_id, NULL);
}

// Nothing that stood in the queue counts any more.
static enum err queue_empty(struct core *core, struct event_queue *q)
{
	TRY(rows_event_skip_all(core->db, q->name, q->epoch, q->tail_seq, core->now.wall.ms));
	TRY(rows_event_retire(core->db, q->name, 0, q->tail_seq));
	while (q->head)
		queue_drop_head(q);
	q->detached += q->standing_tail;
	q->standing_tail = 0;
	q->epoch = core->incarnation;
	q->tail_seq += 1;
	q->floor_seq = q->looked_seq = q->tail_seq;
	return ERR_OK;
}

static void pointers_to_epoch(struct core *core)
{
	size_t cursor = 0;

	for (uint32_t n = 0; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		struct client *c = client_at(&core->clients, n);
		for (size_t i = 0; c->role == ROLE_CLIENT && i < membership_count(c); i++) {
			struct place p = membership_at(core, c, i);
			*p.pointer = p.channel->queue.tail_seq;
			queue_stand(&p.channel->queue, *p.pointer);
		}
	}
}

// Our store is older than what the fleet has seen: no pointer can be trusted any more. Everybody
// stands before the event that says so, and gets a snapshot after it. Rows of clients stay as they
// are: they name the epoch before (pointer_of_row).
enum err channels_new_epoch(struct core *core, const char *because)
{
	TRY(loading_finish(core));
	TRY(clients_flush(core));
	for (uint32_t i = 0; i < core->channel_count; i++)
		TRY(queue_empty(core, &core->channels[i]->queue));
	pointers_to_epoch(core);
	for (uint32_t i = 0; i < core->channel_count; i++) {
		struct channel *ch = core->channels[i];
		TRY(channel_epoch_open(core, ch));
		log_warn("EPOCH", "channel=%s epoch=%u because=%s", ch->queue.name,
			core->incarnation, log_quote(because));
	}
	return ERR_OK;
}

// ---- consolidation by command

enum err core_channel_consolidate(struct core *core, const char *channel, struct arena *a,
	struct consolidated **out, size_t *count)
{
	struct channel *ch = channel_find(core, channel);

	if (!ch)
		return err_set(ERR_NOT_FOUND, "no channel %s", channel);
	ch->queue.looked_seq = ch->queue.floor_seq;
	TRY(channel_join(core, &ch->queue, a, out, count));
	channel_changed(core, ch);
	channel_touch(core, ch);
	return ERR_OK;
}

// ---- the check

enum err core_queue_check(struct core *core, const char *queue, struct queue_check *out)
{
	struct event_queue *q = NULL;
	struct channel *ch = channel_find(core, queue);
	uint64_t standing = 0;
	size_t cursor = 0;

	*out = (struct queue_check){0};
	if (!ch)
		return err_set(ERR_NOT_FOUND, "no channel %s", queue);
	TRY(loading_finish(core));
	q = &ch->queue;
	TRY(queue_check(q));
	for (const struct element *e = q->head; e; e = e->after)
		standing += e->standing;
	out->elements = q->count;
	for (uint32_t n = 0; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		struct client *c = client_at(&core->clients, n);
		size_t at = c->role == ROLE_CLIENT ? membership_find(core, c, ch) : SIZE_MAX;
		if (at == SIZE_MAX)
			continue;
		uint32_t pointer = *membership_at(core, c, at).pointer;
		bool detached = queue_is_detached(q, pointer);
		out->detached += detached;
		out->at_tail += !detached && pointer == q->tail_seq;
		out->at_elements += !detached && pointer != q->tail_seq;
	}
	if (out->at_elements + out->at_tail + out->detached != ch->clients)
		return err_set(ERR_CORRUPT, "queue %s: %u clients, but %llu pointers", q->name,
			ch->clients,
			(unsigned long long)(out->at_elements + out->at_tail + out->detached));
	if (out->at_elements != standing || out->at_tail != q->standing_tail)
		return err_set(ERR_CORRUPT,
			"queue %s: %llu pointers stand on elements and %llu at the tail, but %llu "
			"and %u were counted",
			q->name, (unsigned long long)out->at_elements,
			(unsigned long long)out->at_tail, (unsigned long long)standing,
			q->standing_tail);
	return ERR_OK;
}
