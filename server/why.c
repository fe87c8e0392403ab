// The why log: what was answered and the rule behind it. Answers of kinds 2 to 4 are rows; the many
// NO_ACTIONs, and resends, stand here, in one ring for all clients: each entry knows its client's
// entry before it, and equal answers in a row are one entry with a count.
#include "server/core_inside.h"
#include <stdlib.h>
#include <string.h>

enum err why_init(struct why_log *w, uint32_t size)
{
	*w = (struct why_log){.size = size, .next = 1};
	w->items = calloc(size, sizeof(*w->items));
	return w->items ? ERR_OK : err_set(ERR_MEMORY, "no memory for the why log");
}

void why_fini(struct why_log *w)
{
	free(w->items);
	*w = (struct why_log){0};
}

// The entry of that number, or NULL when it was overwritten.
static struct why_item *why_get(const struct why_log *w, uint32_t number, uint32_t client)
{
	if (number == 0 || w->next - number > w->size)
		return NULL;
	struct why_item *item = &w->items[number % w->size];
	return item->client == client ? item : NULL;
}

#define PACE_BEATS 64u

// A run of equal answers also tells how often the client comes, whatever it says of itself.
static void pace_look(struct core *core, uint32_t number, struct why_item *item)
{
	if (item->count % PACE_BEATS != 0)
		return;
	uint32_t told =
		item->pace_told_ms < item->interval_ms ? item->pace_told_ms : item->interval_ms;
	patience_pace(core, number, PACE_BEATS, (int64_t)item->last_ms - item->pace_ms, told);
	item->pace_ms = item->last_ms;
	item->pace_told_ms = item->interval_ms;
}

void why_add(struct core *core, uint32_t number, const struct why_item *add)
{
	struct client *c = client_at(&core->clients, number);
	struct why_item *last = why_get(&core->why, c->why, number);
	int64_t since = last ? core->now.wall.ms - last->first_ms : 0;

	if (last && since >= 0 && since <= UINT32_MAX && last->kind == add->kind &&
		last->code == add->code && last->state == add->state && last->op_id == add->op_id &&
		last->text == add->text && last->rule == add->rule) {
		last->count++;
		last->interval_ms = add->interval_ms;
		last->interval_by = add->interval_by;
		last->last_ms = (uint32_t)since;
		last->response_id = add->response_id;
		last->seq = add->seq;
		pace_look(core, number, last);
		return;
	}
	uint32_t at = core->why.next++;
	if (core->why.next == 0)
		core->why.next = 1;
	struct why_item *item = &core->why.items[at % core->why.size];
	*item = *add;
	item->client = number;
	item->before = last ? c->why : 0;
	item->count = 1;
	item->first_ms = core->now.wall.ms;
	item->last_ms = item->pace_ms = 0;
	item->pace_told_ms = add->interval_ms;
	c->why = at;
}

static struct why_entry entry_of_item(const struct why_item *i)
{
	return (struct why_entry){
		.first = {i->first_ms},
		.last = {i->first_ms + i->last_ms},
		.count = i->count,
		.response_id = i->response_id,
		.in_reply_to_seq = i->seq,
		.op_id = i->op_id,
		.kind = (enum response_kind)i->kind,
		.state = (enum client_state)i->state,
		.code = (enum reason_code)i->code,
		.text = i->text,
		.queue = "",
		.rule = i->rule,
		.rule_name = accordance_rule_name(i->rule),
		.interval_ms = i->interval_ms,
		.interval_by = frequency_by_word((enum frequency_by)i->interval_by),
	};
}

static struct why_entry entry_of_row(const struct answer_row *r)
{
	return (struct why_entry){
		.first = {r->at_ms},
		.last = {r->at_ms},
		.count = 1,
		.response_id = r->response_id,
		.in_reply_to_seq = r->in_reply_to,
		.op_id = r->op_id,
		.kind = r->kind,
		.state = r->state,
		.code = r->code,
		.text = r->text,
		.queue = r->queue,
		.event_seq = r->event_seq,
		.flow_id = r->flow_id,
		.attempt = r->attempt,
		.rule = r->rule,
		.rule_name = accordance_rule_name(r->rule),
		.interval_ms = r->interval_ms,
		.interval_by = frequency_by_word((enum frequency_by)r->interval_by),
	};
}

// Rows and ring are both newest first: merged by time.
enum err core_why(struct core *core, const char *client, size_t max, struct arena *a,
	struct why_entry **out, size_t *count)
{
	struct answer_row *rows = NULL;
	size_t row_count = 0, row = 0;
	uint32_t number = client_table_find(&core->clients, client);

	*count = 0;
	if (number == CLIENT_NONE)
		return err_set(ERR_NOT_FOUND, "no client %s", client);
	TRY(rows_answer_list(core->db, client, max ? max : 1, a, &rows, &row_count));
	*out = arena_array(a, max ? max : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu answers", max);
	uint32_t at = client_at(&core->clients, number)->why;
	while (*count < max) {
		const struct why_item *item = why_get(&core->why, at, number);
		if (!item && row == row_count)
			break;
		if (item &&
			(row == row_count || item->first_ms + item->last_ms >= rows[row].at_ms)) {
			(*out)[(*count)++] = entry_of_item(item);
			at = item->before;
		} else {
			(*out)[(*count)++] = entry_of_row(&rows[row++]);
		}
	}
	return ERR_OK;
}
