// The verb reboot, done: who defers it is asked once a second, the program that reboots is started
// once, and after the start of the agent that follows the kernel's boot id tells how it ended.
//
//   asked -> [deferred: the file `defer` beside the playlist, or the program reboot_check says so]
//         -> ordered (on disk) -> program -> another boot id: DONE | too late, or rc: FAILED
#include "client/runtime.h"

#include "client/reboot.h"
#include "client/runtime_update.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 1000
#define CHECK_TIMEOUT_MS 10000
#define TAIL_BYTES 200

static struct reboot_record *record(struct runtime *rt)
{
	return &rt->core.state.reboot;
}

// ---- what is the case

// As the kernel writes it: 36 characters, 32 of them hex digits.
enum err runtime_boot_id(const struct runtime *rt, struct id16 *out)
{
	const char *path = rt->settings->boot_id_file;
	char hex[33];
	size_t n = 0;
	SCOPED_BUF struct buf text;
	buf_init(&text, 128);
	TRY(file_read(path[0] != '\0' ? path : "/proc/sys/kernel/random/boot_id", &text));
	for (size_t i = 0; i < text.size && n < 32; i++) {
		if (text.data[i] != '-' && text.data[i] != '\n')
			hex[n++] = (char)text.data[i];
	}
	hex[n] = '\0';
	return n == 32 ? hex_decode(hex, out->b, sizeof out->b)
		       : err_set(ERR_FORMAT, "the kernel's boot id cannot be read");
}

static bool is_deferred(struct runtime *rt, const char **who)
{
	char path[300];
	*who = "the file defer";
	if (path_join(path, sizeof path, rt->display.dir, "defer") == ERR_OK &&
		access(path, F_OK) == 0)
		return true;
	*who = "reboot_check";
	return rt->settings->reboot_check[0] != '\0' && !rt->reboot_free;
}

// ---- the end

static void reboot_end(struct runtime *rt, enum op_status status, int rc, const char *detail)
{
	uint64_t op = record(rt)->op_id;
	struct command_result r = {.status = status, .rc = rc, .detail = detail};
	*record(rt) = (struct reboot_record){0};
	uv_timer_stop(&rt->reboot_timer);
	log_info("REBOOT-END", "client=%s op=%llu status=%s detail=%s", rt->config.client_id,
		(unsigned long long)op, op_status_word(status), log_quote(detail));
	if (op == REBOOT_OF_UPDATE)
		updates_reboot_ended(rt, status, detail);
	else
		agent_command_done(&rt->core, clock_now(), op, &r);
	runtime_arm(rt);
}

static void reboot_fail(struct runtime *rt, const char *why)
{
	char detail[LIMIT_TEXT];
	if (!str_copy(detail, sizeof detail, why))
		detail[0] = '\0';
	reboot_end(rt, OP_FAILED, 1, detail);
}

// ---- the two programs

static enum err run(struct runtime *rt, const char *line, uint32_t timeout_ms,
	void (*done)(void *ctx, const struct process_end *end), struct process **out)
{
	struct words words;
	TRY(words_split(&words, line));
	struct process_order order = {
		.argv = words.argv,
		.cwd = rt->settings->state_dir,
		.timeout_ms = timeout_ms,
		.tail_max = TAIL_BYTES,
	};
	const struct process_events events = {.done = done};
	return process_start(&rt->loop, &order, &events, rt, out);
}

static void on_check_done(void *ctx, const struct process_end *end)
{
	struct runtime *rt = ctx;
	rt->reboot_check = NULL;
	rt->reboot_free = !end->timed_out && end->signal == 0 && end->exit_code == 0;
}

static void check_begin(struct runtime *rt)
{
	const char *line = rt->settings->reboot_check;
	if (line[0] == '\0' || rt->reboot_check != NULL)
		return;
	if (run(rt, line, CHECK_TIMEOUT_MS, on_check_done, &rt->reboot_check) != ERR_OK)
		log_warn("REBOOT-CHECK", "client=%s why=%s", rt->config.client_id,
			log_quote(err_text()));
}

static void on_order_done(void *ctx, const struct process_end *end)
{
	struct runtime *rt = ctx;
	char detail[LIMIT_TEXT], tail[TAIL_BYTES + 1];
	rt->reboot_order = NULL;
	if (record(rt)->op_id == 0 || (end->exit_code == 0 && end->signal == 0))
		return;
	runtime_tail(end->tail, tail, sizeof tail);
	text_format(detail, sizeof detail, "the program that reboots: rc=%d signal=%d output=%s",
		end->exit_code, end->signal, tail);
	reboot_end(rt, OP_FAILED, end->exit_code, detail);
}

// What is on disk now is never started again.
static void reboot_order(struct runtime *rt)
{
	record(rt)->ordered = true;
	record(rt)->ordered_ms = clock_now().mono.ms;
	if (agent_state_save(&rt->core) != ERR_OK) {
		record(rt)->ordered = false;
		return; // the next look tries again
	}
	log_warn("REBOOT", "client=%s op=%llu", rt->config.client_id,
		(unsigned long long)record(rt)->op_id);
	if (run(rt, rt->settings->reboot, rt->settings->reboot_wait_s * 1000, on_order_done,
		    &rt->reboot_order) != ERR_OK)
		reboot_fail(rt, err_text());
}

// ---- looking

static void reboot_happened(struct runtime *rt)
{
	char detail[LIMIT_TEXT];
	text_format(detail, sizeof detail, "rebooted: boot_counter=%llu%s",
		(unsigned long long)rt->core.state.boot_counter,
		record(rt)->ordered ? "" : ", before it was ordered");
	reboot_end(rt, OP_DONE, 0, detail);
}

static void reboot_wait_tell(struct runtime *rt, const struct reboot_limits *limits,
	const struct reboot_look *look, const char *who)
{
	char detail[LIMIT_TEXT];
	if (record(rt)->ordered)
		text_format(detail, sizeof detail, "ordered");
	else
		text_format(detail, sizeof detail, "deferred by %s", who);
	agent_command_progress(&rt->core, record(rt)->op_id,
		reboot_percent(record(rt), limits, look->mono_ms), detail);
}

static void reboot_look(struct runtime *rt)
{
	const struct reboot_limits limits = {
		.defer_max_ms = (int64_t)rt->settings->reboot_defer_max_s * 1000,
		.wait_max_ms = (int64_t)rt->settings->reboot_wait_s * 1000,
	};
	struct reboot_look look = {.mono_ms = clock_now().mono.ms};
	const char *who = "";
	if (runtime_boot_id(rt, &look.boot_id) != ERR_OK) {
		reboot_fail(rt, err_text());
		return;
	}
	look.deferred = is_deferred(rt, &who);
	switch (reboot_decide(record(rt), &limits, &look)) {
	case REBOOT_WAIT:
		check_begin(rt);
		reboot_wait_tell(rt, &limits, &look, who);
		return;
	case REBOOT_ORDER:
		reboot_order(rt);
		return;
	case REBOOT_HAPPENED:
		reboot_happened(rt);
		return;
	case REBOOT_MISSED:
		reboot_fail(rt, "no reboot happened in time");
		return;
	}
}

static void on_look(uv_timer_t *timer)
{
	struct runtime *rt = timer->data;
	if (record(rt)->op_id != 0)
		reboot_look(rt);
}

void runtime_reboot_resume(struct runtime *rt)
{
	if (record(rt)->op_id == 0)
		return;
	bool commanded = record(rt)->op_id == rt->core.state.op.op_id && rt->core.command_running;
	if (!commanded && record(rt)->op_id != REBOOT_OF_UPDATE) {
		*record(rt) = (struct reboot_record){0}; // of an operation that was superseded
		return;
	}
	uv_timer_start(&rt->reboot_timer, on_look, 0, LOOK_MS);
}

void runtime_reboot(struct runtime *rt, uint64_t op_id)
{
	struct reboot_record r = {.op_id = op_id, .begun_ms = clock_now().mono.ms};
	enum err e = runtime_boot_id(rt, &r.boot_id);
	*record(rt) = r;
	if (e == ERR_OK)
		e = agent_state_save(&rt->core);
	if (e != ERR_OK) {
		reboot_fail(rt, err_text());
		return;
	}
	rt->reboot_free = false;
	uv_timer_start(&rt->reboot_timer, on_look, 0, LOOK_MS);
}

void runtime_reboot_stop(struct runtime *rt, uint64_t op_id)
{
	if (record(rt)->op_id != op_id)
		return;
	*record(rt) = (struct reboot_record){0};
	uv_timer_stop(&rt->reboot_timer);
	if (rt->reboot_order != NULL)
		process_kill(rt->reboot_order);
	rt->reboot_order = NULL;
}

void runtime_reboot_close(struct runtime *rt)
{
	if (rt->reboot_check != NULL)
		process_kill(rt->reboot_check);
	rt->reboot_check = NULL;
	uv_close((uv_handle_t *)&rt->reboot_timer, NULL);
}
