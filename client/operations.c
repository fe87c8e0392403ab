// The one operation in the slot.
//
// A response of kind 2 to 4 opens one. Its id and body are on disk before it is acknowledged or
// begun, so that a power cut at any moment either lost the response (the server sends it again) or
// kept it. An id that is known is acknowledged and not begun again. A command is marked as started
// in the same write: at most once, and what was interrupted says so.
#include "client/agent_parts.h"

#include "client/command_table.h"
#include "proto/base/text.h"

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
	op->detail[n < 0 ? 0 : text_whole(op->detail, strlen(op->detail))] = '\0';
	op->status = status;
	if (status == OP_DONE)
		op->percent = 100;
	c->command_running = false;
	send_info_stop(c);
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
		command_stop(c);
	c->command_running = false;
	send_info_stop(c);
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

// What runs at most once: a command, also one that is fetched first.
static bool body_is_command(const struct response_body *b)
{
	return b->kind == KIND_EXECUTE_COMMAND ||
	       (b->retrieve != NULL && b->retrieve->command != NULL);
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
	// A resend has the body that it had: nothing in it says that it came before.
	bool unsure = c->state.uncertain;
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
	if (body_is_command(b) && known)
		operation_end(
			c, now, OP_UNKNOWN, "it began before and its outcome is no longer kept");
	else if (body_is_command(b) && unsure)
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
	bool known = response_body_decode(c->config->scratch, buf_bytes(&c->state.body), &body) ==
			     ERR_OK &&
		     body.execute != NULL;
	if (known && command_recover(c, body.execute))
		return;
	bool ours = known && command_row_find(body.execute->verb) != NULL;
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
