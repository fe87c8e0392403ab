// Operations: opened by a response of kinds 2 to 4, closed by exactly one recorded outcome. At most
// one is open per client; a cancel passes the open one and holds it until both are known.
//
//   open --DONE/REFUSED/CANCELLED/UNKNOWN--> ended
//        --FAILED, deadline, resync-------> SEND, RETRIEVE: waits for its next attempt, after the
//        last ended
//                                           EXECUTE_COMMAND: ended, never repeated unasked
#include "proto/base/text.h"
#include "server/core_inside.h"
#include <stdlib.h>
#include <string.h>

struct open_operation *client_open(const struct client *c)
{
	return c->rare ? c->rare->open : NULL;
}

// A command that may run longer than others is waited for as long.
uint32_t operation_deadline(const struct core *core, const struct open_operation *op)
{
	uint32_t usual_s = core->config.op_deadline_s;
	uint32_t seconds = op->command_s > usual_s ? op->command_s : usual_s;

	return attended_tick(core) + seconds * (1000 / TICK_MS);
}

static struct operation_row row_of(const struct core *core, const struct client *c,
	const struct open_operation *op, enum operation_place place)
{
	return (struct operation_row){
		.client = client_id(&core->clients, c),
		.queue = op->queue,
		.detail = op->detail,
		.op_id = op->op_id,
		.first_op_id = op->first_op_id,
		.before_id = op->before_id,
		.flow_id = op->flow_id,
		.event_seq = op->event_seq,
		.kind = (enum response_kind)op->kind,
		.attempt = op->attempt,
		.percent = op->percent,
		.body = bytes_of(op->body, op->body_size),
		.status = (enum op_status)op->status,
		.reported = op->reported,
		.cancel_flow = op->cancel_flow,
		.place = place,
		.opened_ms = op->opened.ms,
	};
}

// What runs at most once, and for how long: the body tells; a command may also be fetched
// (COMMAND_REF).
static void command_note(struct open_operation *op, struct bytes bytes)
{
	struct response_body body;
	SCOPED_ARENA struct arena a = {0};

	op->command = op->kind == KIND_EXECUTE_COMMAND;
	if (!op->command && op->kind != KIND_RETRIEVE_INFORMATION)
		return;
	arena_init(&a, LIMIT_RESPONSE * 8, 1024);
	if (response_body_decode(&a, bytes, &body) != ERR_OK)
		return;
	op->command = body.execute || (body.retrieve && body.retrieve->command);
	op->command_s = body.execute ? body.execute->timeout_ms / 1000 + COMMAND_GRACE_S : 0;
}

struct open_operation *operation_from_row(const struct operation_row *r)
{
	struct open_operation *op = calloc(1, sizeof(*op) + r->body.size);

	if (!op)
		return NULL;
	op->op_id = r->op_id;
	op->first_op_id = r->first_op_id;
	op->before_id = r->before_id;
	op->flow_id = r->flow_id;
	op->event_seq = r->event_seq;
	op->kind = (uint8_t)r->kind;
	op->attempt = r->attempt;
	op->percent = (uint8_t)r->percent;
	op->status = (uint8_t)r->status;
	op->reported = r->reported;
	command_note(op, r->body);
	op->cancel_flow = r->cancel_flow;
	op->opened = (struct wall){r->opened_ms};
	(void)str_copy(op->queue, sizeof(op->queue), r->queue);
	(void)str_copy(op->detail, sizeof(op->detail), r->detail);
	op->body_size = r->body.size;
	if (r->body.size)
		memcpy(op->body, r->body.data, r->body.size);
	return op;
}

void operation_describe(const struct core *core, const struct client *c,
	const struct open_operation *op, struct operation_info *out)
{
	*out = (struct operation_info){
		.op_id = op->op_id,
		.first_op_id = op->first_op_id,
		.kind = (enum response_kind)op->kind,
		.attempt = op->attempt,
		.flow_id = op->flow_id,
		.event_seq = op->event_seq,
		.status = (enum op_status)op->status,
		.percent = op->percent,
		.opened = op->opened,
	};
	(void)str_copy(out->client, sizeof(out->client), client_id(&core->clients, c));
	(void)str_copy(out->queue, sizeof(out->queue), op->queue);
	(void)str_copy(out->detail, sizeof(out->detail), op->detail);
}

// ---- opening

static enum err answer_encode(struct core *core, const struct answer *a, uint64_t id)
{
	struct reason reason = {a->code, a->text};

	return response_body_encode(
		&(struct response_body){
			.response_id = id,
			.kind = a->kind,
			.op_id = id,
			.state = a->state,
			.reason = &reason,
			.channel = a->queue[0] == '@' ? "" : a->queue,
			.event_seq = a->event_seq,
			.flow_id = a->flow_id,
			.attempt = a->attempt,
			.send = a->send,
			.retrieve = a->retrieve,
			.execute = a->execute,
		},
		&core->body);
}

static enum err answer_note(struct core *core, const struct client *c, uint64_t seq, uint64_t id,
	const struct answer *a)
{
	return rows_answer_add(core->db, &(struct answer_row){
						 .client = client_id(&core->clients, c),
						 .text = a->text,
						 .queue = a->queue,
						 .response_id = id,
						 .in_reply_to = seq,
						 .op_id = id,
						 .event_seq = a->event_seq,
						 .flow_id = a->flow_id,
						 .at_ms = core->now.wall.ms,
						 .kind = a->kind,
						 .state = a->state,
						 .code = a->code,
						 .attempt = a->attempt,
						 .rule = core->judged_by,
						 .interval_ms = respond_interval(core, c),
						 .interval_by = respond_interval_by(core, c),
					 });
}

static struct open_operation *operation_new(
	struct core *core, const struct client *c, uint64_t id, const struct answer *a)
{
	struct open_operation *op = operation_from_row(&(struct operation_row){
		.queue = a->queue,
		.detail = "",
		.op_id = id,
		.first_op_id = a->first_op_id ? a->first_op_id : id,
		.before_id = a->before_id ? a->before_id : c->d,
		.flow_id = a->flow_id,
		.event_seq = a->event_seq,
		.kind = a->kind,
		.attempt = a->attempt,
		.body = buf_bytes(&core->body),
		.opened_ms = core->now.wall.ms,
	});

	if (!op)
		return NULL;
	op->resync = a->resync;
	op->passed = a->passed;
	op->deadline_tick = operation_deadline(core, op);
	return op;
}

enum err operation_open(struct core *core, uint32_t number, uint64_t seq, const struct answer *a)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = client_rare_get(c);
	uint64_t id = core_response_id(core, c, ++c->v);

	if (!rare)
		return err_set(ERR_MEMORY, "no memory for an operation");
	TRY(answer_encode(core, a, id));
	struct open_operation *op = operation_new(core, c, id, a);
	if (!op)
		return err_set(ERR_MEMORY, "no memory for an operation");
	rare->open = op;
	c->d = id;
	c->ack_resends = 0; // of this response none was asked for yet
	c->last_kind = (uint8_t)a->kind;
	c->last_reason = (uint8_t)a->code;
	c->last_was_resend = false;
	client_set_state(core, number, a->state, a->text);
	view_due(core, number);
	struct operation_row row = row_of(core, c, op, PLACE_OPEN);
	TRY(rows_operation_put(core->db, &row));
	if (op->passed)
		TRY(rows_operation_place(core->db, row.client, op->passed->op_id, PLACE_PASSED));
	TRY(answer_note(core, c, seq, id, a));
	log_debug("ANSWER", "client=%s kind=%s response=%llu flow=%llu reason=%s text=%s",
		client_id(&core->clients, c), response_kind_word(a->kind), (unsigned long long)id,
		(unsigned long long)a->flow_id, reason_word(a->code), log_quote(a->text));
	return respond_body(core, number, seq, bytes_of(op->body, op->body_size), a->kind);
}

// ---- ending

static enum err outcome_write(struct core *core, const struct client *c,
	const struct open_operation *op, enum op_status outcome, bool is_final,
	enum operation_place place)
{
	struct operation_row row = row_of(core, c, op, place);

	row.outcome = outcome;
	row.is_final = is_final;
	row.ended_ms = core->now.wall.ms;
	TRY(rows_operation_end(core->db, &row));
	log_info("OP-ENDED",
		"client=%s op=%llu kind=%s outcome=%s final=%d attempt=%u flow=%llu detail=%s",
		row.client, (unsigned long long)op->op_id, response_kind_word(row.kind),
		op_status_word(outcome), is_final, op->attempt, (unsigned long long)op->flow_id,
		log_quote(op->detail));
	if (!core->hooks.operation_ended)
		return ERR_OK;
	struct operation_info info;
	operation_describe(core, c, op, &info);
	info.outcome = outcome;
	info.is_final = is_final;
	info.ended = core->now.wall;
	core->hooks.operation_ended(core->hooks.ctx, core, &info);
	return ERR_OK;
}

// All that it named failed on the client for good: to ask again, or by a medium, is of no use.
static bool is_hopeless(struct core *core, const struct client *c, const struct open_operation *op)
{
	struct response_body body;

	return op->kind == KIND_RETRIEVE_INFORMATION &&
	       body_open(core, bytes_of(op->body, op->body_size), &body) == ERR_OK &&
	       body.retrieve && retrieve_drop_penalised(core, c, body.retrieve) &&
	       body.retrieve->package_count == 0 && body.retrieve->change_count == 0;
}

static bool repeats(
	const struct core *core, const struct open_operation *op, enum op_status outcome)
{
	return outcome == OP_FAILED && !op->resync && !op->command &&
	       op->attempt < core->config.attempts_max;
}

// A detached client that refuses what it needs first, or the snapshot, would be asked with every
// beat.
static bool refuses_snapshot(struct core *core, struct client *c, const struct open_operation *op,
	enum op_status outcome)
{
	const struct channel *ch = channel_find(core, op->queue);
	size_t at = ch ? membership_find(core, c, ch) : SIZE_MAX;

	return outcome != OP_DONE && !op->command && op->event_seq == 0 && at != SIZE_MAX &&
	       *membership_at(core, c, at).pointer == POINTER_HEAD;
}

// All attempts failed. What came from the channel, or from us, detaches the client: it will get one
// snapshot, not before a while, or when there is something new: also what came while it failed.
static enum err exhausted(struct core *core, uint32_t number, const struct open_operation *op)
{
	struct client *c = client_at(&core->clients, number);
	const struct channel *ch = channel_find(core, op->queue);
	size_t at = ch ? membership_find(core, c, ch) : SIZE_MAX;
	uint32_t rest_s = REST_FIRST_S << (c->rare->exhausted < 6 ? c->rare->exhausted : 6);

	log_warn("ATTEMPTS-EXHAUSTED", "client=%s op=%llu attempts=%u flow=%llu detail=%s",
		client_id(&core->clients, c), (unsigned long long)op->op_id, op->attempt,
		(unsigned long long)op->flow_id, log_quote(op->detail));
	if (op->queue[0] == '@')
		return ERR_OK;
	c->rare->exhausted++;
	c->rare->rest_tick = attended_tick(core) +
			     (rest_s < REST_MAX_S ? rest_s : REST_MAX_S) * (1000 / TICK_MS);
	c->rare->rest_tail = memberships_tails(core, c, true);
	return at == SIZE_MAX ? channel_detach(core, number, "every attempt failed")
			      : membership_detach(core, number, at, "every attempt failed");
}

enum err operation_close(
	struct core *core, uint32_t number, enum op_status outcome, const char *because)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = c->rare;
	struct open_operation *op = rare->open;
	bool hopeless = outcome == OP_FAILED && is_hopeless(core, c, op);
	bool again = !hopeless && repeats(core, op, outcome);
	enum err e = ERR_OK;

	if (op->passed)
		TRY(operation_close_passed(
			core, number, outcome == OP_DONE ? OP_CANCELLED : OP_UNKNOWN));
	rare->open = NULL;
	if (op->kind == KIND_SEND_INFORMATION)
		report_parts_drop(core, number);
	op->status = (uint8_t)outcome;
	client_set_state(core, number, CS_IDLE, because);
	e = outcome_write(core, c, op, outcome, !again, again ? PLACE_RETRY : PLACE_ENDED);
	if (outcome == OP_DONE && op->kind == KIND_RETRIEVE_INFORMATION)
		rare->exhausted = 0;
	if (again) {
		free(rare->retry);
		rare->retry = op;
		return e;
	}
	bool failed = outcome == OP_FAILED && !op->command && !hopeless;
	if (e == ERR_OK && (failed || refuses_snapshot(core, c, op, outcome)))
		e = exhausted(core, number, op);
	free(op);
	return e;
}

enum err operation_close_passed(struct core *core, uint32_t number, enum op_status outcome)
{
	struct client *c = client_at(&core->clients, number);
	struct open_operation *op = c->rare->open->passed;

	if (!op)
		return ERR_OK;
	c->rare->open->passed = NULL;
	op->status = (uint8_t)outcome;
	enum err e = outcome_write(core, c, op, outcome, true, PLACE_ENDED);
	free(op);
	return e;
}

enum err operations_abandon(struct core *core, uint32_t number, const char *because)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = c->rare;

	if (!rare)
		return ERR_OK;
	if (rare->retry) {
		// Its last attempt has its outcome already; now it is the final one.
		enum err e = outcome_write(core, c, rare->retry, OP_FAILED, true, PLACE_ENDED);
		free(rare->retry);
		rare->retry = NULL;
		TRY(e);
	}
	if (!rare->open)
		return ERR_OK;
	if (rare->open->passed)
		TRY(operation_close_passed(core, number, OP_UNKNOWN));
	struct open_operation *op = rare->open;
	enum op_status outcome = op->command ? OP_UNKNOWN : OP_FAILED;
	rare->open = NULL;
	op->status = (uint8_t)outcome;
	(void)str_copy(op->detail, sizeof(op->detail), because);
	enum err e = outcome_write(core, c, op, outcome, true, PLACE_ENDED);
	free(op);
	client_set_state(core, number, CS_IDLE, because);
	return e;
}

// ---- the next attempt

// Nothing of what it named is given any more: the attempt before was the last one.
static enum err retry_drop(struct core *core, uint32_t number, uint64_t seq)
{
	struct client *c = client_at(&core->clients, number);
	struct open_operation *old = c->rare->retry;
	enum err e = outcome_write(core, c, old, OP_FAILED, true, PLACE_ENDED);

	c->rare->retry = NULL;
	free(old);
	TRY(e);
	return respond_no_action(
		core, number, seq, REASON_EVENT, "what the operation named was withdrawn");
}

enum err operation_retry(struct core *core, uint32_t number, uint64_t seq)
{
	struct client *c = client_at(&core->clients, number);
	struct open_operation *old = c->rare->retry;
	struct response_body body;

	TRY(body_open(core, bytes_of(old->body, old->body_size), &body));
	if (body.retrieve)
		(void)retrieve_drop_penalised(core, c, body.retrieve);
	if (body.retrieve && !retrieve_still_exists(core, body.retrieve))
		return retry_drop(core, number, seq);
	TRY(rows_operation_place(core->db, client_id(&core->clients, c), old->op_id, PLACE_ENDED));
	c->rare->retry = NULL;
	struct answer a = {
		.kind = body.kind,
		.state = body.state,
		.code = REASON_RETRY,
		.queue = old->queue,
		.event_seq = old->event_seq,
		.flow_id = old->flow_id,
		.attempt = old->attempt + 1,
		.first_op_id = old->first_op_id,
		.send = body.send,
		.retrieve = body.retrieve,
		.execute = body.execute,
	};
	const char *before = old->detail[0] ? old->detail : "the one before failed";
	a.text = arena_printf(&core->arena, "attempt %u of %u: %.*s", a.attempt,
		core->config.attempts_max, text_most(before, 300), before);
	if (!a.text)
		a.text = "";
	enum err e = operation_open(core, number, seq, &a);
	free(old);
	return e;
}

#define CANCEL_LOOKS 16 // newest operations of a client

// ---- questions

bool operation_is_complete(
	struct core *core, const struct client *c, const struct open_operation *op)
{
	struct response_body body;

	if (body_open(core, bytes_of(op->body, op->body_size), &body) != ERR_OK || !body.retrieve)
		return false;
	for (size_t i = 0; i < body.retrieve->package_count; i++)
		if (!client_holds(core, c, &body.retrieve->packages[i].package))
			return false;
	return true;
}

// Another server's client: what its rows say.
static enum err cancel_elsewhere(
	struct core *core, const char *client, uint64_t op_id, const char *author, uint64_t *flow)
{
	struct operation_info *ops = NULL;
	size_t count = 0, at = 0;
	uint64_t drawn = core_flow_new(core);

	TRY(core_operations(core, client, 0, CANCEL_LOOKS, &core->arena, &ops, &count));
	while (at < count && (ops[at].outcome || (op_id && ops[at].op_id != op_id)))
		at++;
	if (at == count)
		return err_set(ERR_NOT_NOW, "%s has no such operation open", client);
	if (flow)
		*flow = drawn;
	return letter_to_client(core, client, LETTER_CANCEL,
		&(struct letter_said){.a = ops[at].op_id, .b = drawn, .text = author});
}

enum err core_operation_cancel(
	struct core *core, const char *client, uint64_t op_id, const char *author, uint64_t *flow)
{
	uint32_t number = client_table_find(&core->clients, client);

	if (number != CLIENT_NONE && client_at(&core->clients, number)->elsewhere)
		return cancel_elsewhere(core, client, op_id, author, flow);
	uint64_t drawn = core_flow_new(core);
	if (flow)
		*flow = drawn;
	return operation_cancel_as(core, client, op_id, author, drawn);
}

enum err operation_cancel_as(
	struct core *core, const char *client, uint64_t op_id, const char *author, uint64_t flow)
{
	uint32_t number = client_table_find(&core->clients, client);
	struct client *c = number == CLIENT_NONE ? NULL : client_at(&core->clients, number);
	const struct open_operation *op = c ? client_open(c) : NULL;

	if (!c || c->role != ROLE_CLIENT)
		return err_set(ERR_NOT_FOUND, "no client %s", client);
	if (op && op->passed && (op_id == 0 || op_id == op->passed->op_id))
		return err_set(
			ERR_NOT_NOW, "the operation of %s is being cancelled already", client);
	if (!op || (op_id != 0 && op_id != op->op_id))
		return err_set(ERR_NOT_NOW, "%s has no such operation open", client);
	c->rare->open->cancel_flow = flow;
	log_info("OP-CANCEL-ASKED", "client=%s op=%llu author=%s", client,
		(unsigned long long)op->op_id, log_quote(author ? author : ""));
	return rows_operation_cancel(core->db, client, op->op_id, op->cancel_flow);
}

static void info_of_row(const struct operation_row *r, struct operation_info *out)
{
	*out = (struct operation_info){
		.op_id = r->op_id,
		.first_op_id = r->first_op_id,
		.kind = r->kind,
		.attempt = r->attempt,
		.flow_id = r->flow_id,
		.event_seq = r->event_seq,
		.status = r->status,
		.outcome = r->outcome,
		.is_final = r->is_final,
		.percent = r->percent,
		.opened = {r->opened_ms},
		.ended = {r->ended_ms},
	};
	(void)str_copy(out->client, sizeof(out->client), r->client);
	(void)str_copy(out->queue, sizeof(out->queue), r->queue);
	(void)str_copy(out->detail, sizeof(out->detail), r->detail);
}

enum err core_operations(struct core *core, const char *client, uint64_t flow, size_t max,
	struct arena *a, struct operation_info **out, size_t *count)
{
	struct operation_row *rows = NULL;

	TRY(rows_operation_list(core->db, client, flow, max ? max : 1, a, &rows, count));
	*out = arena_array(a, *count ? *count : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu operations", *count);
	for (size_t i = 0; i < *count; i++)
		info_of_row(&rows[i], &(*out)[i]);
	return ERR_OK;
}

enum err core_skipped(struct core *core, const char *client, const char *queue, uint64_t seq,
	size_t max, struct arena *a, struct skipped_event **out, size_t *count)
{
	struct skipped_row *rows = NULL;

	TRY(rows_skipped_list(
		core->db, client, queue, (uint32_t)seq, max ? max : 1, a, &rows, count));
	*out = arena_array(a, *count ? *count : 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for %zu skipped events", *count);
	for (size_t i = 0; i < *count; i++)
		(*out)[i] = (struct skipped_event){
			.client = rows[i].client,
			.queue = rows[i].queue,
			.author = rows[i].author,
			.text = rows[i].text,
			.seq = rows[i].seq,
			.flow_id = rows[i].flow_id,
			.type = rows[i].type,
			.at = {rows[i].at_ms},
		};
	return ERR_OK;
}
