// What was seen of every operation and every act, written down when the turn that did it was
// committed, and what must be true of it:
//   an operation has one id for ever, one body, and ends once; a chain of attempts ends finally
//   once nobody is told something new while an operation of his is open, but to cancel it events of
//   a queue come in their order, none twice a command runs at most once, whatever happens; a report
//   is recorded once what an operator did and was told is done ends, for each client it was meant
//   for, in an outcome or in the list of what was passed over
#include "tests/fleet/sim/sim.h"

#include <stdlib.h>
#include <string.h>

void ledger_init(struct sim *s)
{
	s->ops = calloc(s->config.agents, sizeof(*s->ops));
	s->acts = calloc(SIM_ACTS, sizeof(*s->acts));
	if (!s->ops || !s->acts)
		abort();
}

void ledger_fini(struct sim *s)
{
	for (uint32_t i = 0; i < s->config.agents; i++)
		free(s->ops[i].items);
	free(s->ops);
	for (uint32_t i = 0; i < s->act_count; i++)
		free(s->acts[i].expects);
	free(s->acts);
	free(s->notes);
}

static struct op_seen *op_find(struct op_list *l, uint64_t op_id)
{
	for (size_t i = l->count; i-- > 0;)
		if (l->items[i].op_id == op_id)
			return &l->items[i];
	return NULL;
}

static struct op_seen *op_add(struct op_list *l, uint64_t op_id)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 16;
		l->items = realloc(l->items, l->cap * sizeof(*l->items));
		if (!l->items)
			abort();
	}
	struct op_seen *op = &l->items[l->count++];
	*op = (struct op_seen){.op_id = op_id};
	return op;
}

bool ledger_is_resend(struct sim *s, uint32_t client, uint64_t op_id)
{
	const struct op_seen *op = op_find(&s->ops[client], op_id);

	return op && op->body_hash;
}

// ---- what a turn did

void ledger_note(struct sim *s, const struct note *n)
{
	if (s->note_count == s->note_cap) {
		s->note_cap = s->note_cap ? 2 * s->note_cap : 64;
		s->notes = realloc(s->notes, s->note_cap * sizeof(*s->notes));
		if (!s->notes)
			abort();
	}
	s->notes[s->note_count++] = *n;
}

void ledger_forget(struct sim *s)
{
	for (size_t i = 0; i < s->note_count; i++)
		if (s->notes[i].kind == NOTE_ACT)
			s->acts[s->notes[i].act].dropped = true;
	s->note_count = 0;
}

// Number + 1 of the act that made this event; 0: none that is followed.
static uint32_t act_of_event(const struct sim *s, uint32_t client, const char *queue, uint64_t seq)
{
	for (uint32_t i = s->act_count; seq && i-- > 0;) {
		const struct act *a = &s->acts[i];
		bool same = a->client ? queue[0] == '@' && a->client == client + 1
				      : queue[0] == 'c' && a->expects &&
						strtoul(queue + 1, NULL, 10) == a->channel;
		if (same && a->seq == seq && !a->before_restore && a->kind != ACT_VALUE)
			return i + 1;
	}
	return 0;
}

static void ended_take(struct sim *s, const struct note *n)
{
	struct op_list *l = &s->ops[n->client];
	struct op_seen *op = op_find(l, n->op.op_id);
	const char *id = s->devices[n->client].id;

	if (!op)
		op = op_add(l, n->op.op_id); // nobody was told of it
	if (!op->act && !op->body_hash)
		op->act = act_of_event(s, n->client, n->op.queue, n->op.event_seq);
	trace(s, "%s operation %llx ends: %s%s %s", id, (unsigned long long)op->op_id,
		op_status_word(n->op.outcome), n->op.is_final ? "" : ", to be tried again",
		n->op.detail);
	if (op->ended && !op->before_restore &&
		(op->final || !n->op.is_final || op->outcome != n->op.outcome))
		violate(s, "operation %llx of %s ends twice: %s, then %s",
			(unsigned long long)op->op_id, id, op_status_word(op->outcome),
			op_status_word(n->op.outcome));
	if (n->op.kind == KIND_RETRIEVE_INFORMATION &&
		(n->op.outcome == OP_CANCELLED || n->op.outcome == OP_UNKNOWN) &&
		strncmp(n->op.detail, "superseded: ", 12) != 0)
		s->devices[n->client].excused = true;
	op->ended = true;
	op->final = n->op.is_final;
	op->outcome = n->op.outcome;
	op->first_op_id = n->op.first_op_id;
	op->flow_id = n->op.flow_id;
	op->kind = n->op.kind;
	op->ended_turn = s->server.turns;
}

static void report_take(struct sim *s, const struct note *n)
{
	struct op_seen *op = op_find(&s->ops[n->client], n->op.op_id);

	if (op && ++op->reports > 1 && !op->before_restore)
		violate(s, "the report of operation %llx of %s is recorded twice",
			(unsigned long long)op->op_id, s->devices[n->client].id);
}

void ledger_commit(struct sim *s)
{
	for (size_t i = 0; i < s->note_count; i++) {
		const struct note *n = &s->notes[i];
		if (n->kind == NOTE_ACT)
			s->acts[n->act].committed = true;
		else if (n->kind == NOTE_ENDED)
			ended_take(s, n);
		else
			report_take(s, n);
	}
	s->note_count = 0;
}

// The store is an older one: what happened since is not known to it.
void ledger_restored(struct sim *s, uint32_t acts_before)
{
	for (uint32_t i = 0; i < s->config.agents; i++) {
		struct op_list *l = &s->ops[i];
		for (size_t k = 0; k < l->count; k++)
			l->items[k].before_restore = true;
		memset(l->last_seq, 0, sizeof(l->last_seq));
		l->last_private = 0;
	}
	for (uint32_t i = 0; i < s->act_count; i++) {
		s->acts[i].before_restore = true;
		if (i >= acts_before)
			s->acts[i].committed = false;
	}
}

// It was removed: nothing is left of what was, and its queue begins anew.
void ledger_enrolled_again(struct sim *s, uint32_t client)
{
	struct op_list *l = &s->ops[client];

	for (size_t k = 0; k < l->count; k++)
		l->items[k].before_restore = true;
	memset(l->last_seq, 0, sizeof(l->last_seq));
	l->last_private = 0;
	for (uint32_t i = 0; i < s->act_count; i++) {
		if (s->acts[i].expects)
			s->acts[i].expects[client] = 0;
		if (s->acts[i].client == client + 1)
			s->acts[i].before_restore = true;
	}
}

const char *ledger_disagrees(struct sim *s, uint32_t client, uint64_t open_op, uint64_t passed_op)
{
	const struct op_list *l = &s->ops[client];

	for (size_t i = l->count; i-- > 0 && i + 4 >= l->count;) {
		const struct op_seen *op = &l->items[i];
		bool open = op->op_id == open_op || op->op_id == passed_op;
		if (op->before_restore)
			continue;
		if (open && op->ended)
			return "what has ended is open";
		if (!open && !op->ended)
			return "what is open was forgotten";
	}
	return NULL;
}

// ---- what the server says

static void order_check(
	struct sim *s, uint32_t client, const struct response *r, const struct response_body *b)
{
	struct op_list *l = &s->ops[client];
	uint64_t *last = &l->last_private;

	if (b->event_seq == 0 || b->attempt > 1)
		return;
	if (b->channel[0] == 'c') {
		unsigned long channel = strtoul(b->channel + 1, NULL, 10) % SIM_CHANNELS;
		last = &l->last_seq[channel];
		if (l->last_epoch[channel] != r->epoch)
			*last = 0;
		l->last_epoch[channel] = r->epoch;
	}
	if (b->event_seq <= *last)
		violate(s, "event %llu of %s is given to %s after %llu",
			(unsigned long long)b->event_seq,
			b->channel[0] ? b->channel : "its own queue", s->devices[client].id,
			(unsigned long long)*last);
	*last = b->event_seq;
}

static void act_name(struct sim *s, struct op_seen *op, const struct response_body *b)
{
	const struct execute_command *e = b->execute;
	uint64_t act = 0;

	if (e && strcmp(e->verb, "tool") == 0)
		act = strtoull(e->args[0], NULL, 10) + 1;
	if (b->send)
		act = (uint64_t)b->send->since_unix_ms;
	op->is_resync = e && strcmp(e->verb, "resync") == 0;
	if (act == 0)
		return;
	op->act = (uint32_t)act;
	if (act > s->act_count || s->acts[act - 1].dropped)
		violate(s, "act %llu was never committed, and a client is told",
			(unsigned long long)act);
}

static void told_anew(
	struct sim *s, uint32_t client, const struct response *r, const struct response_body *b)
{
	struct op_list *l = &s->ops[client];
	const char *id = s->devices[client].id;
	bool cancels = b->execute && strcmp(b->execute->verb, "cancel") == 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct op_seen *o = &l->items[i];
		if (!o->ended && !cancels && !o->before_restore)
			violate(s, "%s is told %llx (%s) while %llx is open", id,
				(unsigned long long)b->op_id, response_kind_word(b->kind),
				(unsigned long long)o->op_id);
		if (o->op_id > b->op_id)
			violate(s, "id %llx of %s comes after %llx", (unsigned long long)b->op_id,
				id, (unsigned long long)o->op_id);
	}
	order_check(s, client, r, b);
	s->result->operations++;
	struct op_seen *op = op_add(l, b->op_id);
	op->kind = b->kind;
	op->flow_id = b->flow_id;
	op->event_seq = b->event_seq;
	act_name(s, op, b);
}

void ledger_published(struct sim *s, const char *topic, struct bytes payload)
{
	uint32_t client = (uint32_t)strtoul(strrchr(topic, '/') + 2, NULL, 10);
	struct response r;

	arena_reset(&s->arena);
	if (client >= s->config.agents || response_decode(&s->arena, payload, &r) != ERR_OK) {
		violate(s, "a response cannot be read: %s", err_text());
		return;
	}
	if (r.body->kind == KIND_NO_ACTION)
		return;
	uint64_t hash = hash_bytes(r.body_bytes.data, r.body_bytes.size, 1) | 1;
	struct op_seen *op = op_find(&s->ops[client], r.body->op_id);
	trace(s, "%s is told %llx: %s, %s%s", s->devices[client].id,
		(unsigned long long)r.body->op_id, response_kind_word(r.body->kind),
		r.body->reason->text, op && op->body_hash ? " (again)" : "");
	if (op && op->body_hash && s->config.broken == BREAK_RESEND)
		s->server.deaf = true;
	if (op && op->ended && op->ended_turn != s->server.turns && !op->before_restore)
		violate(s, "%s is told %llx again, which has ended", s->devices[client].id,
			(unsigned long long)op->op_id);
	if (!op) {
		told_anew(s, client, &r, r.body);
		op = op_find(&s->ops[client], r.body->op_id);
	} else if (!op->body_hash) {
		act_name(s, op, r.body);
	}
	if (op->body_hash && op->body_hash != hash)
		violate(s, "%s is told %llx with another body", s->devices[client].id,
			(unsigned long long)op->op_id);
	op->body_hash = hash;
}

void ledger_ran(struct device *d, uint32_t act)
{
	struct sim *s = d->sim;

	trace(s, "%s runs the command of act %u", d->id, act);
	if (act >= s->act_count || s->acts[act].dropped)
		violate(s, "%s runs a command that nobody gave", d->id);
	else if (++d->ran[act] > 1 && !s->acts[act].before_restore)
		violate(s, "%s runs the command of act %u twice", d->id, act);
}

// ---- the end

static void op_check_end(struct sim *s, uint32_t client, const struct op_seen *op)
{
	const struct op_list *l = &s->ops[client];
	const struct device *d = &s->devices[client];
	bool later = false;

	if (op->before_restore)
		return;
	if (!op->ended)
		violate(s, "operation %llx of %s never ends", (unsigned long long)op->op_id, d->id);
	for (size_t i = 0; i < l->count && !op->final; i++)
		later = later || (l->items[i].op_id > op->op_id &&
					 l->items[i].first_op_id == op->first_op_id);
	if (!op->final && !later)
		violate(s, "operation %llx of %s was to be tried again, and was not",
			(unsigned long long)op->op_id, d->id);
	if (op->kind == KIND_SEND_INFORMATION && op->outcome == OP_DONE && op->reports != 1)
		violate(s, "operation %llx of %s is done with %u reports",
			(unsigned long long)op->op_id, d->id, op->reports);
	if (op->act && op->kind == KIND_EXECUTE_COMMAND && op->outcome == OP_DONE &&
		d->ran[op->act - 1] == 0)
		violate(s, "the command of act %u is done, and %s never ran it", op->act - 1,
			d->id);
}

static bool was_skipped(struct sim *s, uint32_t client, const struct act *a)
{
	char queue[24];
	struct db_rows rows;

	if (a->client && !a->may_expire)
		return false;
	if (a->client)
		snprintf(queue, sizeof(queue), "@%s", s->devices[client].id);
	else
		snprintf(queue, sizeof(queue), "c%u", a->channel);
	if (db_query(s->server.db, &rows,
		    "SELECT 1 FROM skipped WHERE client = $1 AND queue = $2 AND seq = $3",
		    DB_T(s->devices[client].id), DB_T(queue), DB_I(a->seq)) != ERR_OK)
		return false;
	bool found = db_next(&rows);
	return db_end(&rows) == ERR_OK && found;
}

static void act_check_client(struct sim *s, uint32_t number, uint32_t client)
{
	const struct act *a = &s->acts[number];
	const struct op_list *l = &s->ops[client];
	uint32_t finals = 0;

	for (size_t i = 0; i < l->count; i++)
		finals += l->items[i].act == number + 1 && l->items[i].final;
	if (finals > 1)
		violate(s, "act %u has %u final outcomes at %s", number, finals,
			s->devices[client].id);
	if (finals == 0 && !was_skipped(s, client, a))
		violate(s, "act %u (%s) never came to an end at %s", number,
			a->kind == ACT_ASK ? "ask" : "command", s->devices[client].id);
}

static void act_check_end(struct sim *s, uint32_t number)
{
	const struct act *a = &s->acts[number];

	if (!a->committed || a->before_restore || (a->kind != ACT_ASK && a->kind != ACT_COMMAND))
		return;
	if (a->client) {
		act_check_client(s, number, a->client - 1);
		return;
	}
	for (uint32_t i = 0; i < s->config.agents; i++)
		if (a->expects[i])
			act_check_client(s, number, i);
}

// The record in the store says the same: nothing is open, each chain has one final outcome.
static void rows_check_end(struct sim *s)
{
	struct db_rows rows;

	if (db_query_values(s->server.db, &rows,
		    "SELECT client, first_op_id, sum(is_final), sum(place != 0) FROM operation"
		    " GROUP BY client, first_op_id"
		    " HAVING sum(is_final) != 1 OR sum(place != 0) != 0",
		    NULL, 0) != ERR_OK) {
		violate(s, "the record cannot be read: %s", err_text());
		return;
	}
	if (db_next(&rows))
		violate(s, "the record of %s has %lld final outcomes of %llx, %lld open",
			db_text(&rows, 0), (long long)db_int(&rows, 2),
			(unsigned long long)db_int(&rows, 1), (long long)db_int(&rows, 3));
	if (db_end(&rows) != ERR_OK)
		violate(s, "the record cannot be read: %s", err_text());
}

void ledger_check_end(struct sim *s)
{
	for (uint32_t i = 0; i < s->config.agents && !sim_is_violated(s); i++)
		for (size_t k = 0; k < s->ops[i].count; k++)
			op_check_end(s, i, &s->ops[i].items[k]);
	for (uint32_t i = 0; i < s->act_count && !sim_is_violated(s); i++)
		act_check_end(s, i);
	if (!sim_is_violated(s))
		rows_check_end(s);
}
