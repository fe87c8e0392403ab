// The verbs that need the display, the store or a program.
#include "client/runtime.h"

#include "client/command_table.h"
#include "client/runtime_update.h"
#include "proto/base/log.h"
#include "proto/base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_BYTES 300 // of a program's output in the operation's detail

static void answer(
	struct runtime *rt, uint64_t op_id, enum op_status status, int rc, const char *detail)
{
	struct command_result r = {.status = status, .rc = rc, .detail = detail};
	agent_command_done(&rt->core, clock_now(), op_id, &r);
	runtime_arm(rt);
}

static void answer_verb(
	struct runtime *rt, uint64_t op_id, const char *verb, enum err e, const char *done)
{
	char why[LIMIT_TEXT];
	int rc = e == ERR_OK ? 0 : 1;
	text_format(why, sizeof why, "%s", e == ERR_OK ? done : err_text());
	log_info("EXEC", "client=%s verb=%s rc=%d op=%llu", rt->config.client_id, log_quote(verb),
		rc, (unsigned long long)op_id);
	answer(rt, op_id, e == ERR_OK ? OP_DONE : OP_FAILED, rc, why);
}

// ---- display

enum err runtime_show(struct runtime *rt, const char *name)
{
	struct agent_state *s = &rt->core.state;
	if (strcmp(s->showing, name) != 0) {
		if (!str_copy(s->showing, sizeof s->showing, name))
			return err_set(ERR_RANGE, "the name of a package is too long");
		TRY(agent_state_save(&rt->core));
	}
	display_forget_show(&rt->display);
	return display_write(&rt->display, s->showing);
}

static enum err display_verb(struct runtime *rt, const char *verb, const char *arg)
{
	struct agent_state *s = &rt->core.state;
	struct digest id;
	s->display_command++;
	TRY(agent_state_save(&rt->core));
	if (depot_slot(&rt->store, PACKAGE_IMAGES, s->showing, SLOT_CURRENT, &id) != ERR_OK)
		return err_set(ERR_NOT_FOUND, "nothing is shown");
	TRY(display_command(&rt->display, s->display_command, verb, arg));
	return display_write(&rt->display, s->showing);
}

static enum err show_verb(struct runtime *rt, const char *what)
{
	struct digest id;
	char path[513];
	if (depot_slot(&rt->store, PACKAGE_IMAGES, what, SLOT_CURRENT, &id) == ERR_OK)
		return runtime_show(rt, what);
	if (display_has_picture(&rt->display, rt->core.state.showing, what, path))
		return display_verb(rt, "show", path);
	return err_set(ERR_NOT_FOUND, "neither a package nor a picture has the name %s", what);
}

static void display_execute(struct runtime *rt, uint64_t op_id, const struct execute_command *e)
{
	enum err err;
	if (strcmp(e->verb, "show") == 0)
		err = show_verb(rt, e->args[0]);
	else if (strcmp(e->verb, "restart-display") == 0)
		err = display_restart(&rt->display);
	else
		err = display_verb(rt, e->verb, "");
	answer_verb(rt, op_id, e->verb, err, "");
}

// ---- store

void runtime_idle(struct runtime *rt)
{
	uint64_t op = rt->clear_op;
	if (op == 0 || !fetcher_is_idle(rt->fetcher))
		return;
	rt->clear_op = 0;
	enum err e = depot_collect(&rt->store, NULL, 0);
	answer_verb(rt, op, "clear-cache", e, "");
}

static void allow_execute(struct runtime *rt, uint64_t op_id, const struct execute_command *e)
{
	char said[64] = "";
	enum err err = updates_allow(rt, e->args[0], said, sizeof said);
	answer_verb(rt, op_id, e->verb, err, said);
}

// ---- programs

static const struct named_command *named_find(const struct runtime *rt, const char *verb)
{
	for (size_t i = 0; i < rt->command_count; i++) {
		if (strcmp(rt->commands[i].name, verb) == 0)
			return &rt->commands[i];
	}
	return NULL;
}

void runtime_tail(struct bytes output, char *out, size_t size)
{
	size_t take = output.size < TAIL_BYTES ? output.size : TAIL_BYTES;
	size_t at = 0;
	for (size_t i = output.size - take; i < output.size && at + 1 < size; i++) {
		unsigned char c = output.data[i];
		out[at++] = isprint(c) ? (char)c : ' ';
	}
	while (at > 0 && out[at - 1] == ' ')
		at--;
	out[at] = '\0';
}

// "rc=0 bytes=12 sha256=... output=...": the whole output is witnessed, its end is shown.
static void end_describe(const struct process_end *end, char detail[LIMIT_TEXT])
{
	char tail[TAIL_BYTES + 1], how[32], hex[65];
	runtime_tail(end->tail, tail, sizeof tail);
	hex_encode(end->output_sha256.b, sizeof end->output_sha256.b, hex);
	if (end->timed_out)
		(void)snprintf(how, sizeof how, "timeout");
	else if (end->signal != 0)
		(void)snprintf(how, sizeof how, "signal=%d", end->signal);
	else
		(void)snprintf(how, sizeof how, "rc=%d", end->exit_code);
	text_format(detail, LIMIT_TEXT, "%s bytes=%llu sha256=%s output=%s", how,
		(unsigned long long)end->output_bytes, hex, tail);
}

static void on_process_done(void *ctx, const struct process_end *end)
{
	struct runtime *rt = ctx;
	uint64_t op = rt->process_op;
	char detail[LIMIT_TEXT];
	bool good = !end->timed_out && end->signal == 0 && end->exit_code == 0;
	int rc = good ? 0 : end->exit_code != 0 ? end->exit_code : -1;
	rt->process = NULL;
	rt->process_op = 0;
	shelf_end(&rt->outputs);
	log_info("EXEC", "client=%s rc=%d stopped=%d op=%llu", rt->config.client_id, rc,
		end->stopped, (unsigned long long)op);
	if (end->stopped) {
		agent_command_stopped(&rt->core, clock_now(), op);
		runtime_arm(rt);
		return;
	}
	end_describe(end, detail);
	answer(rt, op, good ? OP_DONE : OP_FAILED, end->exit_code, detail);
}

static void on_process_output(void *ctx, const char *data, size_t size)
{
	struct runtime *rt = ctx;
	shelf_add(&rt->outputs, data, size);
}

static void on_process_percent(void *ctx, uint32_t percent)
{
	struct runtime *rt = ctx;
	agent_command_progress(&rt->core, rt->process_op, percent, NULL);
}

// One program at a time: one that was stopped and lingers goes at once.
static void process_clear(struct runtime *rt)
{
	uint64_t op = rt->process_op;
	if (rt->process == NULL)
		return;
	process_kill(rt->process);
	shelf_end(&rt->outputs);
	rt->process = NULL;
	rt->process_op = 0;
	agent_command_stopped(&rt->core, clock_now(), op);
}

static uint32_t lower_of(uint32_t asked, uint32_t most)
{
	return asked != 0 && asked < most ? asked : most;
}

static void named_execute(struct runtime *rt, uint64_t op_id, const struct named_command *c,
	const struct execute_command *e)
{
	const char *argv[AGENT_COMMAND_ARGS + LIMIT_ARGS + 1] = {0};
	size_t argc = 0;
	if (e->arg_count != 0 && !c->takes_args) {
		answer(rt, op_id, OP_REFUSED, 1, "this command takes no arguments");
		return;
	}
	for (size_t i = 0; i < c->argc; i++)
		argv[argc++] = c->argv[i];
	for (size_t i = 0; i < e->arg_count && i < LIMIT_ARGS; i++)
		argv[argc++] = e->args[i];
	struct process_order order = {
		.argv = argv,
		.cwd = rt->settings->state_dir,
		.timeout_ms = lower_of(e->timeout_ms, c->timeout_ms),
		.tail_max = lower_of(e->max_output_bytes, TAIL_BYTES),
	};
	static const struct process_events events = {.done = on_process_done,
		.percent = on_process_percent,
		.output = on_process_output};
	process_clear(rt);
	log_info("EXEC-BEGIN", "client=%s verb=%s op=%llu", rt->config.client_id, c->name,
		(unsigned long long)op_id);
	rt->process_op = op_id;
	shelf_begin(&rt->outputs, op_id, e->max_output_bytes);
	if (process_start(&rt->loop, &order, &events, rt, &rt->process) != ERR_OK) {
		rt->process_op = 0;
		shelf_drop(&rt->outputs);
		answer_verb(rt, op_id, c->name, ERR_IO, err_text());
	}
}

// ---- the closed list

void runtime_command(void *ctx, uint64_t op_id, const struct execute_command *e)
{
	struct runtime *rt = ctx;
	const struct command_row *row = command_row_find(e->verb);
	const struct named_command *named = named_find(rt, e->verb);
	if (row != NULL && row->place == COMMAND_DISPLAY) {
		display_execute(rt, op_id, e);
	} else if (row != NULL && strcmp(row->verb, "allow-update") == 0) {
		allow_execute(rt, op_id, e);
	} else if (row != NULL && row->place == COMMAND_STORE) {
		rt->clear_op = op_id;
		runtime_idle(rt);
	} else if (row != NULL && row->place == COMMAND_DEVICE) {
		runtime_reboot(rt, op_id);
	} else if (named != NULL) {
		named_execute(rt, op_id, named, e);
	} else {
		log_warn("EXEC-REFUSED", "client=%s verb=%s op=%llu", rt->config.client_id,
			log_quote(e->verb), (unsigned long long)op_id);
		answer(rt, op_id, OP_REFUSED, 1, "this verb is not on the list");
	}
}

bool runtime_command_ends(void *ctx, uint64_t op_id)
{
	struct runtime *rt = ctx;
	return rt->process != NULL && rt->process_op == op_id;
}

void runtime_command_stop(void *ctx, uint64_t op_id)
{
	struct runtime *rt = ctx;
	if (rt->process != NULL && rt->process_op == op_id)
		process_stop(rt->process);
	runtime_reboot_stop(rt, op_id);
	if (rt->clear_op == op_id)
		rt->clear_op = 0;
	side_link_stop(rt->side);
}
