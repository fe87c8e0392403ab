// The one operation in the slot.
//
// A response of kind 2 to 4 opens one. Its id and body are on disk before it is acknowledged or
// begun, so that a power cut at any moment either lost the response (the server sends it again) or
// kept it. An id that is known is acknowledged and not begun again. A command is marked as started
// in the same write: at most once, and what was interrupted says so.
#include "client/agent_parts.h"

#include "client/command_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool operation_is_open(const struct agent_core *c)
{
	return c->state.op.op_id != 0 && !op_status_is_final(c->state.op.status);
}

void operation_end(
	struct agent_core *c, struct now now, enum op_status status, const char *format, ...)
{
	struct op_record *op = &c->state.op;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(op->detail, sizeof op->detail, format, args);
	va_end(args);
	if (n < 0)
		op->detail[0] = '\0';
	op->status = status;
	if (status == OP_DONE)
		op->percent = 100;
	c->command_running = false;
	c->report.open = false;
	state_save_soon(c, now);
	log_info("OP-END", "client=%s op=%llu kind=%s status=%s detail=%s", c->config->client_id,
		(unsigned long long)op->op_id, response_kind_word(op->kind), op_status_word(status),
		log_quote(op->detail));
}

// ---- opening

static void operation_stop(struct agent_core *c, struct now now)
{
	if (!operation_is_open(c))
		return;
	log_info("OP-SUPERSEDED", "client=%s op=%llu", c->config->client_id,
		(unsigned long long)c->state.op.op_id);
	if (c->command_running)
		c->port->command_stop(c->ctx, c->state.op.op_id);
	c->command_running = false;
	c->report.open = false;
	retrieve_stop(c, now, OP_CANCELLED);
}

static enum err body_copy(struct buf *to, struct bytes body)
{
	buf_init(to, LIMIT_RESPONSE);
	return buf_append(to, body.data, body.size);
}

// The response as state, on disk. On error nothing has changed.
static enum err operation_store(
	struct agent_core *c, const struct response *r, struct op_record *before)
{
	struct agent_state *s = &c->state;
	struct buf body, old_body = s->body;
	uint64_t old_response = s->last_response_id, old_report = s->report_id;
	enum err e = body_copy(&body, r->body_bytes);
	if (e != ERR_OK) {
		buf_fini(&body);
		return e;
	}
	*before = s->op;
	bool was_uncertain = s->uncertain;
	s->op = (struct op_record){
		.op_id = r->body->op_id,
		.kind = r->body->kind,
		.status = OP_ACCEPTED,
		.started = r->body->execute != NULL,
	};
	if (r->body->kind == KIND_SEND_INFORMATION)
		s->op.report_id = ++s->report_id;
	s->body = body;
	s->last_response_id = r->body->response_id;
	s->uncertain = false;
	e = agent_state_save(c);
	if (e == ERR_OK) {
		buf_fini(&old_body);
		if (!agent_state_knows_op(s, r->body->op_id))
			agent_state_add_op(s, r->body->op_id);
		return ERR_OK;
	}
	buf_fini(&s->body);
	s->body = old_body;
	s->op = *before;
	s->last_response_id = old_response;
	s->report_id = old_report;
	s->uncertain = was_uncertain;
	return e;
}

static bool reason_is_resend(enum reason_code code)
{
	return code == REASON_RESEND_LOST || code == REASON_RESEND_ASKED ||
	       code == REASON_RESEND_MISMATCH;
}

static void operation_begin(struct agent_core *c, struct now now, const struct response_body *b)
{
	switch (b->kind) {
	case KIND_SEND_INFORMATION:
		send_info_begin(c, now, b->send);
		break;
	case KIND_RETRIEVE_INFORMATION:
		retrieve_begin(c, now, b->retrieve);
		break;
	case KIND_EXECUTE_COMMAND:
		operation_execute(c, now, b->execute);
		break;
	case KIND_NO_ACTION:
		break;
	}
}

void operation_obey(struct agent_core *c, struct now now, const struct taken *t)
{
	const struct response *r = &t->response;
	const struct response_body *b = r->body;
	struct op_record before = {0};
	bool known = agent_state_knows_op(&c->state, b->op_id) || b->op_id == c->state.op.op_id;
	bool unsure = c->state.uncertain && reason_is_resend(b->reason->code);
	bool same_open = b->op_id == c->state.op.op_id && operation_is_open(c);
	if (same_open) {
		c->state.last_response_id = b->response_id;
		state_save_soon(c, now);
		if (!c->unsaved)
			c->last_response_id = b->response_id;
		return;
	}
	struct op_record open_before = c->state.op;
	bool was_open = operation_is_open(c);
	if (operation_store(c, r, &before) != ERR_OK) {
		c->save_next = now.mono;
		log_error("OP-NOT-STORED", "client=%s op=%llu why=%s", c->config->client_id,
			(unsigned long long)b->op_id, log_quote(err_text()));
		return;
	}
	c->stopped_op = was_open ? open_before.op_id : 0;
	if (was_open) {
		struct op_record mine = c->state.op;
		c->state.op = open_before;
		operation_stop(c, now);
		c->state.op = mine;
	}
	if (b->response_id > c->last_response_id)
		c->last_response_id = b->response_id;
	c->counters.operations++;
	log_info("OP-BEGIN", "client=%s op=%llu kind=%s flow=%llu attempt=%u", c->config->client_id,
		(unsigned long long)b->op_id, response_kind_word(b->kind),
		(unsigned long long)b->flow_id, b->attempt);
	if (b->kind == KIND_EXECUTE_COMMAND && known)
		operation_end(
			c, now, OP_UNKNOWN, "it began before and its outcome is no longer kept");
	else if (b->kind == KIND_EXECUTE_COMMAND && unsure)
		operation_end(c, now, OP_UNKNOWN, "the state was damaged: it may have run before");
	else if (t->puzzle != NULL)
		operation_end(c, now, OP_REFUSED, "not understood: %s", t->puzzle);
	else
		operation_begin(c, now, b);
}

// ---- after a start

void operation_recover(struct agent_core *c)
{
	struct op_record *op = &c->state.op;
	struct response_body body;
	if (!operation_is_open(c) || !op->started)
		return;
	arena_reset(c->config->scratch);
	bool ours = response_body_decode(c->config->scratch, buf_bytes(&c->state.body), &body) ==
			    ERR_OK &&
		    body.execute != NULL && command_row_find(body.execute->verb) != NULL;
	op->status = ours ? OP_FAILED : OP_UNKNOWN;
	bool fits = str_copy(op->detail, sizeof op->detail,
		ours ? "interrupted" : "interrupted: the agent ended while it ran");
	log_warn("OP-INTERRUPTED", "client=%s op=%llu status=%s complete=%d", c->config->client_id,
		(unsigned long long)op->op_id, op_status_word(op->status), fits);
}

void operation_resume(struct agent_core *c, struct now now)
{
	struct response_body body;
	if (!operation_is_open(c) || c->state.op.started || c->report.open ||
		c->retrieve.phase != RETRIEVE_NONE)
		return;
	struct bytes stored = buf_bytes(&c->state.body);
	if (response_body_decode(c->config->scratch, stored, &body) != ERR_OK) {
		const char *puzzle = session_puzzle(c);
		if (response_body_outline(c->config->scratch, stored, &body) == ERR_OK)
			operation_end(c, now, OP_REFUSED, "not understood: %s", puzzle);
		else
			operation_end(
				c, now, OP_FAILED, "state: the stored response cannot be read");
		return;
	}
	log_info("OP-RESUMED", "client=%s op=%llu", c->config->client_id,
		(unsigned long long)c->state.op.op_id);
	operation_begin(c, now, &body);
}

// ---- commands

static void cancel_execute(struct agent_core *c, struct now now, const char *op_text)
{
	char *end;
	unsigned long long op = strtoull(op_text, &end, 10);
	if (*op_text == '\0' || *end != '\0') {
		operation_end(c, now, OP_REFUSED, "cancel wants the number of an operation");
		return;
	}
	// Whatever was open was stopped when this operation took the slot.
	operation_end(c, now, OP_DONE, "operation %llu %s", op,
		op == c->stopped_op ? "was given up" : "was not at work");
}

static void core_execute(struct agent_core *c, struct now now, const struct execute_command *e)
{
	struct agent_view view = {0};
	if (strcmp(e->verb, "cancel") == 0) {
		cancel_execute(c, now, e->args[0]);
	} else if (strcmp(e->verb, "resync") == 0) {
		c->full_wanted = true;
		c->full_seq = 0;
		operation_end(c, now, OP_DONE, "the next heartbeats carry everything held");
	} else if (strcmp(e->verb, "identify") == 0) {
		c->port->view(c->ctx, c->config->scratch, &view);
		operation_end(c, now, OP_DONE,
			"client=%s version=%s session=%llu boot_counter=%llu", c->config->client_id,
			c->config->version, (unsigned long long)c->session.id,
			(unsigned long long)c->state.boot_counter);
	} else {
		operation_end(c, now, OP_DONE, "pong");
	}
	log_info("EXEC", "client=%s verb=%s rc=%d op=%llu", c->config->client_id,
		log_quote(e->verb), c->state.op.status == OP_DONE ? 0 : 1,
		(unsigned long long)c->state.op.op_id);
}

void operation_execute(struct agent_core *c, struct now now, const struct execute_command *e)
{
	const struct command_row *row = command_row_find(e->verb);
	if (e->expires_unix_ms != 0 && agent_time_ms(c, now) > e->expires_unix_ms) {
		operation_end(c, now, OP_REFUSED, "expired");
		return;
	}
	if (row != NULL && (e->arg_count < row->args_min || e->arg_count > row->args_max)) {
		operation_end(c, now, OP_REFUSED, "%s: %s", row->verb, row->help);
		return;
	}
	c->state.op.status = OP_RUNNING;
	if (row != NULL && row->place == COMMAND_CORE) {
		core_execute(c, now, e);
		return;
	}
	c->command_running = true;
	c->port->command(c->ctx, c->state.op.op_id, e);
}

void agent_command_done(
	struct agent_core *c, struct now now, uint64_t op_id, const struct command_result *r)
{
	if (op_id != c->state.op.op_id || !operation_is_open(c))
		return;
	operation_end(c, now, r->status, "%s", r->detail);
}

static enum err command_open(
	struct agent_core *c, struct bytes envelope, struct signed_command *out)
{
	const struct root *root = c->config->root;
	struct bytes payload;
	TRY(envelope_open(PURPOSE_COMMAND, envelope, root->software_keys, root->software_key_count,
		root->software_threshold, &payload));
	TRY(signed_command_decode(c->config->scratch, payload, out));
	if (out->client_id[0] != '\0' && strcmp(out->client_id, c->config->client_id) != 0)
		return err_set(ERR_DENIED, "the command is for another client");
	return ERR_OK;
}

void agent_command_fetched(
	struct agent_core *c, struct now now, uint64_t op_id, enum err e, struct bytes envelope)
{
	struct signed_command command;
	if (op_id != c->state.op.op_id || !operation_is_open(c) ||
		c->retrieve.phase != RETRIEVE_COMMAND)
		return;
	arena_reset(c->config->scratch);
	c->retrieve.phase = RETRIEVE_NONE;
	if (e == ERR_OK)
		e = command_open(c, envelope, &command);
	if (e != ERR_OK) {
		operation_end(c, now, OP_FAILED, "command: %s", err_text());
		return;
	}
	c->state.op.started = true;
	if (agent_state_save(c) != ERR_OK) {
		c->state.op.started = false;
		operation_end(c, now, OP_FAILED, "state: %s", err_text());
		return;
	}
	operation_execute(c, now, command.command);
}
