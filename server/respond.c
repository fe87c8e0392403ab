// How an answer leaves: a fresh header (session, boot, interval, rate, hold, epoch) around a body,
// sealed with the session's MAC, into the outbox of the turn. What must last was written to the
// store before.
#include "server/core_inside.h"
#include <string.h>

// Who waits for its turn comes once when it is due, and not a second time before it was answered:
// a server that is late would be later still. 0: as its interval says.
static uint32_t turn_beat(const struct core *core, const struct client *c, uint32_t interval_ms)
{
	uint32_t soon_ms = core->intervals.min_ms + core->turn_ms;

	if (!core->turn_waits || (c->rare && c->rare->interval_set_ms) || soon_ms >= interval_ms)
		return 0;
	return soon_ms;
}

uint32_t respond_interval(const struct core *core, const struct client *c)
{
	return frequency_interval(&core->intervals, &core->frequency,
		c->rare ? c->rare->interval_set_ms : 0, client_open(c) != NULL, core->now.mono);
}

enum frequency_by respond_interval_by(const struct core *core, const struct client *c)
{
	return frequency_by(&core->intervals, &core->frequency,
		c->rare ? c->rare->interval_set_ms : 0, client_open(c) != NULL);
}

// While a client fetches, its lease's; a paused one leaves its part to the others.
static uint64_t rate_of(struct core *core, const struct client *c, const struct event_queue *q)
{
	uint64_t all = core->config.rate_bytes_per_s, own = q->rate_bytes_per_s, leased = 0;
	const struct open_operation *op = client_open(c);

	if (op && op->kind == KIND_RETRIEVE_INFORMATION && core->hooks.lease_rate)
		leased = core->hooks.lease_rate(core->hooks.ctx, core, client_id(&core->clients, c),
			q->paused ? 1 : own, c->told_interval_ms, core->now);
	if (leased)
		return leased;
	return rate_lower(all, own);
}

// Whose control state rides in the header: that of the channel whose operation is open, else of the
// client's first.
const struct event_queue *queue_of_control(const struct core *core, const struct client *c)
{
	const struct open_operation *op = client_open(c);
	const struct channel *ch = op && c->rare->more_count ? channel_find(core, op->queue) : NULL;

	return ch ? &ch->queue : &channel_of(core, c)->queue;
}

// The client is told its interval; from now on that one counts.
static uint32_t interval_tell(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	uint32_t interval = respond_interval(core, c), before = c->told_interval_ms;

	if (interval == before)
		return interval;
	c->told_interval_ms = interval;
	if (interval < before)
		reach_sooner(core, number, before);
	c->flags |= CLIENT_STALE_ROW;
	return interval;
}

static void header_fill(struct core *core, uint32_t number, uint64_t seq, struct response *r)
{
	struct client *c = client_at(&core->clients, number);
	const struct event_queue *q = queue_of_control(core, c);
	const struct client_rare *rare = c->rare;

	memset(r, 0, sizeof(*r)); // its padding is part of a key: no_action.h
	r->client_id = client_id(&core->clients, c);
	r->session_id = c->session_id;
	r->in_reply_to_seq = seq;
	r->boot = client_boot(core, c);
	r->server_unix_ms = core->now.wall.ms;
	r->heartbeat_interval_ms = interval_tell(core, number);
	r->rate_bytes_per_s = rate_of(core, c, q);
	r->hold = q->paused;
	r->epoch = q->epoch;
	r->acked_change_id = rare ? rare->change_id : 0;
	r->acked_report_id = rare ? rare->report_id : 0;
	r->open_report_id = rare && rare->parts ? rare->parts->report_id : 0;
	r->open_report_parts = rare && rare->parts ? rare->parts->next : 0;
	r->reconnect_spread_ms = core_reconnect_told_ms(core);
	r->next_beat_ms = turn_beat(core, c, r->heartbeat_interval_ms);
}

// What stands encoded in core->message.
static enum err answer_send(struct core *core, uint32_t number, enum response_kind kind)
{
	struct client *c = client_at(&core->clients, number);
	struct topic topic = topic_of(TOPIC_RSP, client_id(&core->clients, c));

	TRY(client_seal(c, &core->message, topic.s));
	c->flags &= (uint8_t)~CLIENT_FRESH;
	core->answers[kind]++;
	return outbox_send(
		core, NULL, topic.s, &core->message, kind == KIND_NO_ACTION ? 0 : 1, false);
}

// What is sealed for a customer comes with its key, sealed for this session: it is made anew each
// time the body is said.
static void keys_fill(struct core *core, uint32_t number, struct bytes said, struct response *r)
{
	const struct client *c = client_at(&core->clients, number);
	const struct caller to = {
		.id = client_id(&core->clients, c),
		.role = ROLE_CLIENT,
		.session_id = c->session_id,
		.now = core->now,
		.arena = &core->arena,
	};

	if (!core->hooks.content_keys)
		return;
	enum err e =
		core->hooks.content_keys(core->hooks.ctx, core, &to, said, &r->keys, &r->key_count);
	if (e == ERR_OK)
		return;
	log_warn("CONTENT-KEY-MISSING", "client=%s why=%s", to.id, log_quote(err_text()));
	r->key_count = 0; // the client says no-key, and is told again
}

enum err respond_body(struct core *core, uint32_t number, uint64_t seq, struct bytes body,
	enum response_kind kind)
{
	struct response r;

	header_fill(core, number, seq, &r);
	r.body_bytes = body;
	if (kind == KIND_RETRIEVE_INFORMATION)
		keys_fill(core, number, body, &r);
	TRY(response_encode(&r, &core->message));
	return answer_send(core, number, kind);
}

static enum err respond_plain(struct core *core, uint32_t number, uint64_t seq,
	uint64_t response_id, const struct reason *reason)
{
	struct client *c = client_at(&core->clients, number);
	struct response r;

	header_fill(core, number, seq, &r);
	TRY(no_action_encode(&core->no_action, &r, response_id, (enum client_state)c->state, reason,
		channel_of(core, c)->queue.name, &core->message));
	return answer_send(core, number, KIND_NO_ACTION);
}

static void remember(struct core *core, uint32_t number, uint64_t seq, const struct why_item *item)
{
	struct client *c = client_at(&core->clients, number);

	c->last_reason = item->code;
	why_add(core, number,
		&(struct why_item){
			.response_id = item->response_id,
			.seq = (uint32_t)seq,
			.op_id = item->op_id,
			.text = item->text,
			.kind = item->kind,
			.state = c->state,
			.code = item->code,
			.rule = core->judged_by,
			.interval_ms = respond_interval(core, c),
			.interval_by = (uint8_t)respond_interval_by(core, c),
		});
}

enum err respond_no_action(
	struct core *core, uint32_t number, uint64_t seq, enum reason_code code, const char *why)
{
	struct client *c = client_at(&core->clients, number);
	uint64_t id = core_response_id(core, c, ++c->v);
	const struct open_operation *open = client_open(c);

	c->last_kind = KIND_NO_ACTION;
	c->last_was_resend = false;
	remember(core, number, seq,
		&(struct why_item){.response_id = id,
			.op_id = open ? open->op_id : 0,
			.kind = KIND_NO_ACTION,
			.code = (uint8_t)code,
			.text = why});
	return respond_plain(core, number, seq, id, &(struct reason){code, why});
}

enum err respond_resend(
	struct core *core, uint32_t number, uint64_t seq, enum reason_code code, const char *why)
{
	struct client *c = client_at(&core->clients, number);
	const struct open_operation *open = client_open(c);

	c->last_kind = open->kind;
	c->last_was_resend = true;
	core->resends++;
	remember(core, number, seq,
		&(struct why_item){.response_id = open->op_id,
			.op_id = open->op_id,
			.kind = open->kind,
			.code = (uint8_t)code,
			.text = why});
	return respond_body(core, number, seq, bytes_of(open->body, open->body_size),
		(enum response_kind)open->kind);
}

// The client learns the present boot and nothing else: no id of ours is spent, so nothing that it
// shows later can look like the receipt of a response it never got. A client that has no id yet
// needs one.
enum err respond_stale_boot(struct core *core, uint32_t number, const struct heartbeat *h)
{
	struct client *c = client_at(&core->clients, number);
	uint8_t fresh = c->flags & CLIENT_FRESH;
	uint64_t id = h->last_response_id ? h->last_response_id : core_response_id(core, c, ++c->v);

	core->stale_boots++;
	TRY(respond_plain(core, number, h->seq, id,
		&(struct reason){REASON_STALE_BOOT,
			"the heartbeat answers an earlier start of the server"}));
	c->flags |= fresh;
	return ERR_OK;
}

enum err body_open(struct core *core, struct bytes body, struct response_body *out)
{
	enum err e = response_body_decode(&core->arena, body, out);

	if (e == ERR_OK)
		return ERR_OK;
	return err_set(ERR_CORRUPT, "a stored body cannot be read");
}
