// Commands: the closed list and what the settings name. The core answers some itself; the others go
// to the doer and end with agent_command_done. A command that is fetched is verified first, and
// stored as started before it runs.
#include "client/agent_parts.h"

#include "client/command_table.h"

#include <stdlib.h>
#include <string.h>

#define PERCENT_RUNNING_MAX 99 // 100 is said by DONE alone

// ---- stopping

void command_stop(struct agent_core *c)
{
	uint64_t op = c->state.op.op_id;
	c->port->command_stop(c->ctx, op);
	c->stopping_op =
		c->port->command_ends != NULL && c->port->command_ends(c->ctx, op) ? op : 0;
}

// DONE is said when the program is gone, not when it was asked to go.
static void cancel_execute(struct agent_core *c, struct now now, const char *op_text)
{
	char *end;
	unsigned long long op = strtoull(op_text, &end, 10);
	if (*op_text == '\0' || *end != '\0') {
		operation_end(c, now, OP_REFUSED, "cancel wants the number of an operation");
		return;
	}
	if (c->stopping_op != 0 && op == c->stopping_op)
		return;
	if (c->port->switch_cancel != NULL)
		c->port->switch_cancel(c->ctx, op);
	// Whatever was open was stopped when this operation took the slot.
	operation_end(c, now, OP_DONE, "operation %llu %s", op,
		op == c->stopped_op ? "was given up" : "was not at work");
}

void agent_command_stopped(struct agent_core *c, struct now now, uint64_t op_id)
{
	bool cancel_waits = c->stopping_op == op_id && c->stopped_op == op_id && c->cancelling;
	if (c->stopping_op == op_id)
		c->stopping_op = 0;
	if (!cancel_waits)
		return;
	c->cancelling = false;
	if (operation_is_open(c))
		operation_end(
			c, now, OP_DONE, "operation %llu was given up", (unsigned long long)op_id);
}

// ---- the core's own verbs

// The control state came with this very response and comes with each one after it, and that is
// obeyed: an older pause, reached late in the queue, never holds up what a resume let go.
static void control_execute(struct agent_core *c, struct now now, const struct execute_command *e)
{
	static const char *const words[] = {"pause", "resume", "rate", "close", "epoch"};
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(e->args[0], words[i]) != 0)
			continue;
		operation_end(c, now, OP_DONE, "%s: hold=%d rate=%llu epoch=%llu", words[i],
			c->hold ? 1 : 0, (unsigned long long)c->rate_bytes_per_s,
			(unsigned long long)c->epoch);
		return;
	}
	operation_end(c, now, OP_REFUSED, "control: no such change");
}

static void identify_execute(struct agent_core *c, struct now now)
{
	operation_end(c, now, OP_DONE, "client=%s version=%s session=%llu boot_counter=%llu",
		c->config->client_id, c->config->version, (unsigned long long)c->session.id,
		(unsigned long long)c->state.boot_counter);
}

static void resync_execute(struct agent_core *c, struct now now)
{
	c->full_wanted = true;
	c->full_seq = 0;
	operation_end(c, now, OP_DONE, "the next heartbeats carry everything held");
}

static void core_execute(struct agent_core *c, struct now now, const struct execute_command *e)
{
	c->cancelling = strcmp(e->verb, "cancel") == 0;
	if (c->cancelling)
		cancel_execute(c, now, e->args[0]);
	else if (strcmp(e->verb, "resync") == 0)
		resync_execute(c, now);
	else if (strcmp(e->verb, "identify") == 0)
		identify_execute(c, now);
	else if (strcmp(e->verb, "control") == 0)
		control_execute(c, now, e);
	else if (strcmp(e->verb, "rotate-key") == 0)
		rotate_execute(c, now);
	else
		operation_end(c, now, OP_DONE, "pong");
	log_info("EXEC", "client=%s verb=%s rc=%d op=%llu", c->config->client_id,
		log_quote(e->verb), c->state.op.status == OP_REFUSED ? 1 : 0,
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

// A start found this command begun. True when its own witness, and not this start, tells how it
// ended: a new boot of the kernel, a key on disk.
bool command_recover(struct agent_core *c, const struct execute_command *e)
{
	if (strcmp(e->verb, "reboot") == 0 && c->state.reboot.op_id == c->state.op.op_id) {
		c->command_running = true;
		return true;
	}
	return strcmp(e->verb, "rotate-key") == 0 && rotate_recover(c);
}

// ---- what the doer says

void agent_command_done(
	struct agent_core *c, struct now now, uint64_t op_id, const struct command_result *r)
{
	if (op_id != c->state.op.op_id || !operation_is_open(c))
		return;
	operation_end(c, now, r->status, "%s", r->detail);
}

void agent_command_progress(
	struct agent_core *c, uint64_t op_id, uint32_t percent, const char *detail)
{
	if (op_id != c->state.op.op_id || !c->command_running)
		return;
	c->state.op.percent = percent < PERCENT_RUNNING_MAX ? percent : PERCENT_RUNNING_MAX;
	if (detail != NULL && !str_copy(c->state.op.detail, sizeof c->state.op.detail, detail))
		c->state.op.detail[0] = '\0';
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
