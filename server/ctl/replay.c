// See replay.h.
#include "server/ctl/replay.h"

#include "server/next_event.h"
#include <stdlib.h>
#include <string.h>

#define PATIENCE_GONE 1000u // more than accordance has

struct pending {
	uint64_t seq;
	int64_t at_ms;
	struct accordance_shown shown;
	uint32_t percent;
	bool full_holdings;
};

struct replayed {
	char id[LIMIT_ID + 1];
	struct accordance_state s; // the limits are filled in for each policy
	bool known;                // the recording tells where the client stands
	bool diverged;
	uint64_t resend_shown;
	int64_t resend_counted_ms;
	uint32_t attempt; // of the open operation
	bool repeats;     // it is begun again when it fails: no command
	int64_t moved_ms; // when it was told, or last said something new
	enum op_status said;
	uint32_t percent;
	uint32_t interval_ms;
	struct pending pending[REPLAY_PENDING];
	size_t pending_count;
};

struct replay {
	struct replay_policy was, would;
	struct replayed *clients;
	size_t count, cap, last;
	struct replay_counts n;
};

struct replay *replay_new(const struct replay_policy *was, const struct replay_policy *would)
{
	struct replay *r = calloc(1, sizeof(*r));

	if (r) {
		r->was = *was;
		r->would = *would;
	}
	return r;
}

void replay_free(struct replay *r)
{
	if (r)
		free(r->clients);
	free(r);
}

static struct replayed *client_of(struct replay *r, const char *id)
{
	if (r->last < r->count && strcmp(r->clients[r->last].id, id) == 0)
		return &r->clients[r->last];
	for (r->last = 0; r->last < r->count; r->last++)
		if (strcmp(r->clients[r->last].id, id) == 0)
			return &r->clients[r->last];
	if (r->count == REPLAY_CLIENTS_MAX)
		return NULL;
	if (r->count == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct replayed *more = realloc(r->clients, cap * sizeof(*more));
		if (!more)
			return NULL;
		r->clients = more;
		r->cap = cap;
	}
	struct replayed *c = &r->clients[r->count++];
	*c = (struct replayed){.s.state = CS_IDLE};
	(void)str_copy(c->id, sizeof(c->id), id);
	return c;
}

static void pending_remove(struct replayed *c, size_t i)
{
	memmove(&c->pending[i], &c->pending[i + 1],
		(c->pending_count - i - 1) * sizeof(c->pending[0]));
	c->pending_count--;
}

enum err replay_heartbeat(struct replay *r, int64_t at_ms, const struct heartbeat *h)
{
	struct replayed *c = h->session_id ? client_of(r, h->client_id) : NULL;

	if (!h->session_id)
		return ERR_OK; // a sign-in is answered by an offer
	if (!c)
		return err_set(ERR_FULL, "no room for more clients than %zu", r->count);
	r->n.heartbeats++;
	if (c->pending_count == REPLAY_PENDING) {
		pending_remove(c, 0);
		r->n.unanswered++;
	}
	c->pending[c->pending_count++] = (struct pending){
		.seq = h->seq,
		.at_ms = at_ms,
		.shown = {.last_response_id = h->last_response_id,
			.ack = h->ack,
			.op_id = h->op ? h->op->op_id : 0,
			.op_status = h->op ? h->op->status : 0},
		.percent = h->op ? h->op->percent : 0,
		.full_holdings = h->holdings && h->holdings->full,
	};
	return ERR_OK;
}

// ---- what the recorded answer did

static bool is_verb(const struct response_body *b, const char *verb)
{
	return b->execute && strcmp(b->execute->verb, verb) == 0;
}

static enum replay_act act_recorded(const struct replayed *c, const struct response_body *b)
{
	if (b->kind == KIND_NO_ACTION)
		return REPLAY_NOTHING;
	if (b->response_id == c->s.d)
		return REPLAY_RESEND; // the stored body, with the reason it had
	if (b->reason->code == REASON_RESYNC)
		return REPLAY_RESYNC;
	if (b->reason->code == REASON_CANCEL_UNKNOWN || (is_verb(b, "cancel") && c->s.open_op))
		return REPLAY_CANCEL;
	return b->reason->code == REASON_RETRY ? REPLAY_RETRY : REPLAY_QUEUE;
}

static enum replay_act act_of_next(const struct next_event *n)
{
	switch (n->act) {
	case NEXT_NOTHING:
		return REPLAY_NOTHING;
	case NEXT_RESEND:
		return REPLAY_RESEND;
	case NEXT_CANCEL:
	case NEXT_CANCEL_OPEN:
		return REPLAY_CANCEL;
	case NEXT_RESYNC:
		return REPLAY_RESYNC;
	case NEXT_RETRY:
		return REPLAY_RETRY;
	case NEXT_PRIVATE:
	case NEXT_CHANNEL:
	case NEXT_ASK_HOLDINGS:
	case NEXT_SNAPSHOT:
		break;
	}
	return REPLAY_QUEUE;
}

// ---- judging

struct verdict {
	struct accordance accordance;
	enum replay_act act;
	const char *why;
};

// Without progress for the time of an operation, and not ended. A command has a time of its own.
static bool is_overdue(
	const struct replayed *c, const struct pending *p, const struct replay_policy *policy)
{
	bool ended = p->shown.op_id == c->s.open_op && op_status_is_final(p->shown.op_status);

	return c->s.open_op && c->repeats && !ended &&
	       p->at_ms - c->moved_ms >= (int64_t)policy->op_deadline_s * 1000;
}

// Would a failed operation be begun again? What made it fail as it was must have happened then too.
static bool would_retry(const struct replay *r, const struct replayed *c, const struct pending *p,
	const struct response_body *b, enum replay_act recorded)
{
	bool failed = p->shown.op_id == c->s.open_op && p->shown.op_status == OP_FAILED;

	if (recorded == REPLAY_RETRY)
		return b->attempt <= r->would.attempts_max;
	return c->s.open_op && c->repeats && (failed || is_overdue(c, p, &r->would)) &&
	       c->attempt < r->would.attempts_max && c->attempt >= r->was.attempts_max * failed;
}

static void moved_note(struct replayed *c, const struct pending *p)
{
	if (p->shown.op_id != c->s.open_op ||
		(p->shown.op_status == c->said && p->percent == c->percent))
		return;
	c->said = p->shown.op_status;
	c->percent = p->percent;
	c->moved_ms = p->at_ms;
}

static struct verdict judge(const struct replayed *c, const struct pending *p,
	const struct response_body *b, enum replay_act recorded, const struct replay_policy *policy,
	bool retry)
{
	struct accordance_state s = c->s;
	struct verdict v;
	bool over = is_overdue(c, p, policy);

	s.mismatch_limit = policy->mismatch_limit;
	s.resend_limit = policy->resend_limit;
	v.accordance = accordance_judge(&s, &p->shown);
	struct next_input in = {
		.state = s.state,
		.accordance = &v.accordance,
		.degraded = b->reason->code == REASON_DEGRADED,
		.busy = p->shown.ack == ACK_BUSY,
		.asked_again = p->shown.ack == ACK_RESEND,
		.open = s.open_op && !v.accordance.completes && !over,
		.correction_waits = recorded == REPLAY_NOTHING && b->reason->code == REASON_RESYNC,
		.cancel_asked = recorded == REPLAY_CANCEL && b->reason->code == REASON_EVENT,
		.retry = retry,
		.private_shows = QUEUE_NONE,
		.channel_shows = recorded == REPLAY_QUEUE ? QUEUE_ELEMENT : QUEUE_TAIL,
		.channel_type = ELEMENT_CONTROL,
	};
	struct next_event next = next_event_decide(&in);
	v.act = act_of_next(&next);
	v.why = next.why;
	return v;
}

// What DONE needs beside the word is not on the wire: the recorded answer says whether it was
// there.
static void proof_from_answer(struct replayed *c, const struct pending *p,
	const struct response_body *b, enum replay_act recorded)
{
	bool told_again = recorded == REPLAY_RESEND || recorded == REPLAY_RESYNC;

	if (p->shown.op_id != c->s.open_op || p->shown.op_status != OP_DONE)
		return;
	bool waits = recorded == REPLAY_NOTHING && b->reason->code == REASON_OPERATION_OPEN;
	c->s.reported = !told_again && !waits;
	c->s.complete = !told_again;
	if (told_again)
		c->s.patience = PATIENCE_GONE;
}

// As the server counts: beats that come in one heap asked once.
static void count_asked(struct replayed *c, const struct pending *p)
{
	if (p->shown.ack != ACK_RESEND) {
		c->s.ack_resends = 0;
		return;
	}
	if (c->resend_shown != p->shown.last_response_id)
		c->s.ack_resends = 0;
	else if (c->s.ack_resends && p->at_ms - c->resend_counted_ms < (int64_t)c->interval_ms / 2)
		return;
	c->resend_shown = p->shown.last_response_id;
	c->resend_counted_ms = p->at_ms;
	c->s.ack_resends++;
}

static void count_judged(struct replayed *c, const struct accordance *a)
{
	if (a->waits)
		c->s.patience++;
	if (a->outcome == ACCORD_RESEND && a->mismatch)
		c->s.resends++;
	else if (a->outcome == ACCORD && !a->waits)
		c->s.resends = 0;
	if (a->passed_completes)
		c->s.passed_op = 0;
	if (a->completes)
		c->s.open_op = c->s.passed_op = 0;
}

// ---- the state that a recorded answer set

static void state_set(
	struct replayed *c, const struct response_body *b, enum replay_act recorded, int64_t at_ms)
{
	struct accordance_state *s = &c->s;

	if (b->reason->code == REASON_STALE_BOOT)
		return;
	s->incarnation = (uint32_t)(b->response_id >> 32);
	s->state = b->state;
	if (b->response_id > s->v)
		s->v = b->response_id;
	if (b->kind == KIND_NO_ACTION) {
		if (b->state == CS_IDLE) {
			s->open_op = s->passed_op = 0;
			if (!c->known)
				s->d = b->response_id;
			c->known = true;
		}
		return;
	}
	c->known = true;
	if (recorded == REPLAY_RESEND)
		return;
	*s = (struct accordance_state){
		.state = b->state,
		.p = s->d,
		.d = b->response_id,
		.v = b->response_id,
		.incarnation = s->incarnation,
		.open_op = b->op_id,
		.passed_op = recorded == REPLAY_CANCEL ? s->open_op : 0,
		.is_resync = is_verb(b, "resync") && b->state == CS_RESYNC,
	};
	c->diverged = false;
	c->attempt = b->attempt ? b->attempt : 1;
	c->repeats = b->kind == KIND_SEND_INFORMATION || (b->retrieve && !b->retrieve->command);
	c->moved_ms = at_ms;
	c->said = 0;
	c->percent = 0;
}

// ---- intervals

static void interval_compare(struct replay *r, const struct replayed *c, uint32_t told_ms)
{
	struct frequency calm = {0};
	struct mono now = {0};
	bool busy = c->s.open_op != 0;
	uint32_t was = frequency_interval(&r->was.intervals, &calm, 0, busy, now);
	uint32_t would = frequency_interval(&r->would.intervals, &calm, 0, busy, now);

	r->n.intervals++;
	if (told_ms == was) {
		r->n.intervals_different += would != was;
		return;
	}
	// An operator's own value, or load: both only meet the limits.
	if (frequency_interval(&r->would.intervals, &calm, told_ms, busy, now) != told_ms)
		r->n.intervals_different++;
	else
		r->n.intervals_unknown++;
}

// ---- one answer

static bool compare(struct replay *r, struct replayed *c, const struct pending *p,
	const struct response_body *b, enum replay_act recorded, struct replay_difference *out)
{
	if (!c->known || b->reason->code == REASON_STALE_BOOT) {
		r->n.before++;
		return false;
	}
	count_asked(c, p);
	proof_from_answer(c, p, b, recorded);
	if (c->s.is_resync && p->full_holdings)
		c->s.full_holdings = c->s.reported = true;
	moved_note(c, p);
	struct verdict was = judge(c, p, b, recorded, &r->was, recorded == REPLAY_RETRY);
	struct verdict would =
		judge(c, p, b, recorded, &r->would, would_retry(r, c, p, b, recorded));
	bool explained = was.act == recorded, left_out = c->diverged;

	count_judged(c, &was.accordance);
	if (c->diverged && !c->s.open_op && was.accordance.outcome == ACCORD)
		c->diverged = false; // from the next one on
	if (left_out || !explained) {
		r->n.left_out += left_out;
		r->n.unexplained += !left_out;
		return false;
	}
	r->n.compared++;
	if (was.act == would.act)
		return false;
	r->n.different++;
	c->diverged = true;
	*out = (struct replay_difference){
		.at_ms = p->at_ms,
		.client = c->id,
		.seq = p->seq,
		.was = was.act,
		.would_be = would.act,
		.was_rule = was.accordance.rule,
		.would_rule = would.accordance.rule,
		.why = would.why,
	};
	return true;
}

enum err replay_response(
	struct replay *r, const struct response *m, bool *found, struct replay_difference *out)
{
	struct replayed *c = client_of(r, m->client_id);
	size_t i = 0;

	*found = false;
	if (!c)
		return err_set(ERR_FULL, "no room for more clients than %zu", r->count);
	while (i < c->pending_count && c->pending[i].seq != m->in_reply_to_seq)
		i++;
	enum replay_act recorded = act_recorded(c, m->body);
	bool had = c->known;
	int64_t at_ms = c->moved_ms;
	if (i < c->pending_count) {
		struct pending p = c->pending[i];

		pending_remove(c, i);
		at_ms = p.at_ms;
		*found = compare(r, c, &p, m->body, recorded, out);
	}
	bool diverged = c->diverged;
	state_set(c, m->body, recorded, at_ms);
	if (*found)
		c->diverged = diverged;
	if (had)
		interval_compare(r, c, m->heartbeat_interval_ms);
	c->interval_ms = m->heartbeat_interval_ms;
	return ERR_OK;
}

void replay_end(const struct replay *r, struct replay_counts *out)
{
	*out = r->n;
	out->clients = r->count;
	for (size_t i = 0; i < r->count; i++)
		out->unanswered += r->clients[i].pending_count;
}

const char *replay_act_word(enum replay_act act)
{
	static const char *const words[] = {
		"?", "no action", "resend", "cancel", "resync", "retry", "next of the queue"};

	return act >= REPLAY_NOTHING && act <= REPLAY_QUEUE ? words[act] : words[0];
}
