// How an answer leaves: a fresh header (session, boot, interval, rate, hold, epoch) around a body,
// sealed with the session's MAC, into the outbox of the turn. What must last was written to the
// store before.
#include "server/core_inside.h"
#include <string.h>

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

static uint64_t rate_of(const struct core *core, const struct event_queue *q)
{
	uint64_t all = core->config.rate_bytes_per_s, own = q->rate_bytes_per_s;

	if (all == 0 || own == 0)
		return all ? all : own;
	return all < own ? all : own;
}

// Whose control state rides in the header: that of the channel whose operation is open, else of the
// client's first.
const struct event_queue *queue_of_control(const struct core *core, const struct client *c)
{
	const struct open_operation *op = client_open(c);
	const struct channel *ch = op && c->rare->more_count ? channel_find(core, op->queue) : NULL;

	return ch ? &ch->queue : &channel_of(core, c)->queue;
}

enum err respond_body(struct core *core, uint32_t number, uint64_t seq, struct bytes body,
	enum response_kind kind)
{
	struct client *c = client_at(&core->clients, number);
	const char *id = client_id(&core->clients, c);
	const struct event_queue *q = queue_of_control(core, c);
	const struct report_parts *parts = c->rare ? c->rare->parts : NULL;
	uint32_t interval = respond_interval(core, c);
	struct topic topic = topic_of(TOPIC_RSP, id);

	if (interval != c->told_interval_ms) {
		uint32_t before = c->told_interval_ms;
		c->told_interval_ms = interval;
		if (interval < before)
			reach_sooner(core, number, before);
		c->flags |= CLIENT_STALE_ROW;
	}
	TRY(response_encode(
		&(struct response){
			.client_id = id,
			.session_id = c->session_id,
			.in_reply_to_seq = seq,
			.boot = core->boot,
			.server_unix_ms = core->now.wall.ms,
			.heartbeat_interval_ms = interval,
			.rate_bytes_per_s = rate_of(core, q),
			.hold = q->paused,
			.epoch = q->epoch,
			.acked_change_id = c->rare ? c->rare->change_id : 0,
			.acked_report_id = c->rare ? c->rare->report_id : 0,
			.open_report_id = parts ? parts->report_id : 0,
			.open_report_parts = parts ? parts->next : 0,
			.reconnect_spread_ms = core_reconnect_spread_ms(core),
			.reconnect_spread_ms = core_reconnect_spread_ms(core),
			.body_bytes = body,
		},
		&core->message));
	TRY(client_seal(c, &core->message, topic.s));
	c->flags &= (uint8_t)~CLIENT_FRESH;
	core->answers[kind]++;
	return outbox_send(
		core, NULL, topic.s, &core->message, kind == KIND_NO_ACTION ? 0 : 1, false);
}

static void remember(struct core *core, uint32_t number, uint64_t seq, const struct why_item *item)
{
	struct client *c = client_at(&core->clients, number);

	c->last_reason = item->code;
	why_add(core, number,
		&(struct why_item){
			.response_id = item->response_id,
			.seq = seq,
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

static enum err no_action_encode(struct core *core, const struct client *c, uint64_t response_id,
	enum reason_code code, const char *why)
{
	struct reason reason = {code, why};

	return response_body_encode(
		&(struct response_body){
			.response_id = response_id,
			.kind = KIND_NO_ACTION,
			.state = (enum client_state)c->state,
			.reason = &reason,
			.channel = channel_of(core, c)->queue.name,
		},
		&core->body);
}

enum err respond_no_action(
	struct core *core, uint32_t number, uint64_t seq, enum reason_code code, const char *why)
{
	struct client *c = client_at(&core->clients, number);
	uint64_t id = core_response_id(core, ++c->v);
	const struct open_operation *open = client_open(c);

	c->last_kind = KIND_NO_ACTION;
	c->last_was_resend = false;
	remember(core, number, seq,
		&(struct why_item){.response_id = id,
			.op_id = open ? open->op_id : 0,
			.kind = KIND_NO_ACTION,
			.code = (uint8_t)code,
			.text = why});
	TRY(no_action_encode(core, c, id, code, why));
	return respond_body(core, number, seq, buf_bytes(&core->body), KIND_NO_ACTION);
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
	uint64_t id = h->last_response_id ? h->last_response_id : core_response_id(core, ++c->v);

	core->stale_boots++;
	TRY(no_action_encode(core, c, id, REASON_STALE_BOOT,
		"the heartbeat answers an earlier start of the server"));
	TRY(respond_body(core, number, h->seq, buf_bytes(&core->body), KIND_NO_ACTION));
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
