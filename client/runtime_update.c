// See runtime_update.h. One look a second, or at once after each step:
//
//   look -> the record at work, else one to prepare, else one that waits for nothing any more
//        -> its verb: plan -> program or pool -> judge -> next step ... -> verb_end
//        -> update_step -> the file -> look
#include "client/runtime_update_parts.h"

#include "client/update_file.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/base/zone.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNDO_AGAIN_MS 2000
#define SAID_BYTES 200 // of a program's output, in a reason
#define UNSURE_TRIES 6
#define UNSURE_AGAIN_MS 500 // doubles
#define SOCKET_FOLDER 92    // a socket's path has 108 bytes

static void verb_go(struct updates *u);

static struct update_limits limits_of(const struct updates *u)
{
	const struct agent_settings *s = u->rt->settings;
	return (struct update_limits){
		.install_tries = s->update_install_tries,
		.trial_starts = s->update_trial_starts,
		.undo_tries = 5,
	};
}

int64_t update_wall_ms(const struct updates *u)
{
	return agent_time_ms(&u->rt->core, clock_now());
}

static int64_t in_state_ms(const struct updates *u)
{
	return mono_since_ms(clock_now().mono, u->since);
}

// ---- taking a step

void update_count_failure(struct updates *u, struct update_record *r)
{
	const struct agent_settings *s = u->rt->settings;
	bool failed = r->state == UPDATE_ROLLED_BACK || r->state == UPDATE_BROKEN;
	bool innocent = strcmp(r->reason, UPDATE_GIVEN_UP) == 0 ||
			strcmp(r->reason, UPDATE_DAMAGED) == 0 ||
			strcmp(r->reason, UPDATE_DEVICE) == 0;
	if (!failed || r->penalised || innocent)
		return;
	r->penalised = true;
	update_penalise(&u->list, r, update_wall_ms(u), (int64_t)s->update_penalty_s * 1000,
		s->update_attempts);
}

bool update_list_save(struct updates *u, const struct update_list *before)
{
	if (update_file_write(u->rt->settings->state_dir, &u->list) == ERR_OK)
		return true;
	log_error("UPDATE-UNSAVED", "client=%s why=%s", u->rt->config.client_id,
		log_quote(err_text()));
	u->list = *before;
	u->again = mono_add_ms(clock_now().mono, UPDATE_AGAIN_MS);
	return false;
}

void update_step_tell(
	const struct updates *u, const struct update_record *r, enum update_state from)
{
	enum log_level level = r->state == UPDATE_BROKEN ? LOG_ERROR
			       : r->state == UPDATE_ROLLING_BACK || r->state == UPDATE_ROLLED_BACK
				       ? LOG_WARN
				       : LOG_INFO;
	log_write(level, "UPDATE",
		"client=%s name=%s version=%s from=%s to=%s tries=%u reason=%s detail=%s",
		u->rt->config.client_id, log_quote(r->name), log_quote(r->version),
		update_state_word(from), update_state_word(r->state), r->tries, r->reason,
		log_quote(r->detail));
}

// On disk, or not taken.
bool update_take(struct updates *u, struct update_record *r, enum update_event event,
	const char *word, const char *detail)
{
	struct update_list before = u->list;
	struct update_limits limits = limits_of(u);
	enum update_state from = r->state;
	if (!update_step(r, event, &limits, word, detail))
		return false;
	if ((r->state == UPDATE_RESTARTING || r->state == UPDATE_REVERTING) && r->state != from &&
		runtime_boot_id(u->rt, &r->boot_id) != ERR_OK)
		memset(&r->boot_id, 0, sizeof r->boot_id);
	update_count_failure(u, r);
	if (!update_list_save(u, &before))
		return false;
	update_step_tell(u, r, from);
	if (update_row_self(&u->table) == update_row_find(&u->table, r->name) &&
		r->state != UPDATE_TRIAL)
		(void)alarm(0); // update_guard.c set it
	u->since = clock_now().mono;
	u->beats_before = u->rt->core.counters.responses;
	u->restarting = false;
	u->unsure = 0;
	u->health[0] = '\0';
	update_look_soon(u);
	return true;
}

// ---- verbs

static const char *words_of(enum update_verb v)
{
	return v == UPDATE_ROLL_BACK ? "rollback" : update_verb_word(v);
}

// CONFIRMED says what the slot and the floor say already.
static void confirm(struct updates *u, struct update_record *r)
{
	struct runtime *rt = u->rt;
	enum err e = depot_activate(&rt->store, PACKAGE_SOFTWARE, r->name, &r->package);
	if (e == ERR_OK)
		e = agent_state_raise_floor(&rt->core.state, r->name, r->security_counter);
	if (e == ERR_OK)
		e = agent_state_save(&rt->core);
	if (e == ERR_OK) {
		log_info("SOFTWARE", "client=%s name=%s version=%s", rt->config.client_id,
			log_quote(r->name), log_quote(r->version));
		(void)update_take(u, r, UPDATE_DONE, NULL, NULL);
		return;
	}
	log_error("UPDATE-UNCONFIRMED", "client=%s name=%s why=%s", rt->config.client_id,
		log_quote(r->name), log_quote(err_text()));
	u->again = mono_add_ms(clock_now().mono, UNDO_AGAIN_MS);
}

static void trial_not_yet(struct updates *u, const char *text)
{
	text_format(u->health, sizeof u->health, "%s", text);
	u->again = mono_add_ms(clock_now().mono, UPDATE_AGAIN_MS);
}

static enum err program_begin(
	struct updates *u, const char *const *argv, const char *temporary, uint32_t timeout_s);

static void verified(struct updates *u, struct update_record *r)
{
	const struct words *check = &u->call.row->check;
	if (u->said.old_runs) {
		(void)update_take(u, r, UPDATE_FAILED, "fell-back",
			"what ran before was started instead of the new version");
		return;
	}
	if (check->argc == 0) {
		(void)update_take(u, r, UPDATE_DONE, NULL, NULL);
		return;
	}
	u->checking = true;
	if (program_begin(u, check->argv, NULL, u->rt->settings->update_trial_s) != ERR_OK) {
		u->checking = false;
		trial_not_yet(u, err_text());
	}
}

static void verb_good(struct updates *u, struct update_record *r)
{
	enum update_restart restart = u->call.row->restart;
	switch (u->call.verb) {
	case UPDATE_PREPARE:
		memcpy(r->token, u->said.token, sizeof r->token);
		(void)update_take(u, r, UPDATE_DONE, NULL, NULL);
		return;
	case UPDATE_INSTALL:
		(void)update_take(
			u, r, restart == RESTART_NONE ? UPDATE_DONE : UPDATE_RESTART, NULL, NULL);
		return;
	case UPDATE_VERIFY:
		verified(u, r);
		return;
	case UPDATE_COMMIT:
		confirm(u, r);
		return;
	case UPDATE_ROLL_BACK:
		(void)update_take(u, r,
			r->restarted && !u->said.old_runs && restart != RESTART_NONE
				? UPDATE_RESTART
				: UPDATE_DONE,
			NULL, NULL);
		return;
	case UPDATE_VERBS:
		return;
	}
}

static void verb_bad(struct updates *u, struct update_record *r, const char *why)
{
	if (u->call.verb == UPDATE_VERIFY) {
		trial_not_yet(u, why);
		return;
	}
	(void)update_take(u, r, UPDATE_FAILED, words_of(u->call.verb), why);
	if (u->call.verb == UPDATE_ROLL_BACK)
		u->again = mono_add_ms(clock_now().mono, UNDO_AGAIN_MS);
}

// Nothing was found out: again, a few times, later each time, unless that is of no use.
static void verb_unsure(
	struct updates *u, struct update_record *r, enum update_verdict v, const char *why)
{
	char text[LIMIT_TEXT];
	if (u->call.verb == UPDATE_VERIFY || u->call.verb == UPDATE_ROLL_BACK) {
		verb_bad(u, r, why); // these are repeated as they are
	} else if (v == VERDICT_UNSURE && u->unsure < UNSURE_TRIES) {
		u->again = mono_add_ms(clock_now().mono, UNSURE_AGAIN_MS << u->unsure++);
		log_warn("UPDATE-AGAIN", "client=%s name=%s verb=%s time=%u why=%s",
			u->rt->config.client_id, log_quote(r->name), words_of(u->call.verb),
			u->unsure, log_quote(why));
	} else {
		text_format(text, sizeof text, "%s: %s", words_of(u->call.verb), why);
		(void)update_take(u, r, UPDATE_FAILED, UPDATE_DEVICE, text);
	}
}

// The record that the verb was for, unless something else became of it meanwhile.
struct update_record *update_of_verb(struct updates *u)
{
	struct update_record *r = update_find(&u->list, u->doing.name);
	return r != NULL && r->state == u->doing.state &&
			       digest_equal(&r->package, &u->doing.package)
		       ? r
		       : NULL;
}

// The disk lost a byte of the package: the release is not to blame, and is fetched anew.
static void damaged(struct updates *u, const char *why)
{
	struct update_record *r = update_of_verb(u);
	update_look_soon(u);
	if (r == NULL)
		return;
	(void)update_take(u, r, UPDATE_FAILED, UPDATE_DAMAGED, why);
	if (depot_demote(&u->rt->store, &u->doing.package) != ERR_OK)
		log_error("UPDATE-DAMAGED", "client=%s why=%s", u->rt->config.client_id,
			log_quote(err_text()));
}

static void verb_end(struct updates *u, enum update_verdict v, const char *why)
{
	struct update_record *r = update_of_verb(u);
	char text[LIMIT_TEXT];
	text_format(text, sizeof text, "%s", why);
	if (r != NULL && v == VERDICT_GOOD)
		verb_good(u, r);
	else if (r != NULL && v == VERDICT_BAD)
		verb_bad(u, r, text);
	else if (r != NULL)
		verb_unsure(u, r, v, text);
	update_look_soon(u);
}

// ---- programs

static void end_say(const struct process_end *end, char *out, size_t size)
{
	char tail[301];
	runtime_tail(end->tail, tail, sizeof tail);
	size_t length = strlen(tail);
	const char *said = length > SAID_BYTES ? tail + length - SAID_BYTES : tail;
	if (end->timed_out)
		(void)snprintf(out, size, "timeout output=%s", said);
	else if (end->signal != 0)
		(void)snprintf(out, size, "signal=%d output=%s", end->signal, said);
	else
		(void)snprintf(out, size, "rc=%d output=%s", end->exit_code, said);
}

static void check_end(struct updates *u, bool good, const char *text)
{
	struct update_record *r = update_of_verb(u);
	u->checking = false;
	if (r != NULL && good)
		(void)update_take(u, r, UPDATE_DONE, NULL, NULL);
	else if (r != NULL)
		trial_not_yet(u, text);
	update_look_soon(u);
}

static void restart_end(struct updates *u, bool good, const char *text)
{
	struct update_record *r = update_of_verb(u);
	if (r != NULL)
		(void)update_take(u, r, good ? UPDATE_DONE : UPDATE_FAILED, "restart", text);
	update_look_soon(u);
}

static void step_end(struct updates *u, const struct update_end *end, const char *text)
{
	const struct update_handler *h = u->call.row->handler;
	enum update_verdict v =
		h->weigh != NULL ? h->weigh(&u->call, u->step, end) : update_weigh(end);
	if (v == VERDICT_GOOD && h->judge != NULL &&
		h->judge(&u->call, u->step, end->output, &u->said) != ERR_OK) {
		v = VERDICT_UNSURE;
		text = err_text();
	}
	if (v != VERDICT_GOOD) {
		verb_end(u, v, text);
		return;
	}
	u->step++;
	if (u->said.new_runs)
		verb_end(u, VERDICT_GOOD, "");
	else
		verb_go(u);
}

static void on_program_done(void *ctx, const struct process_end *end)
{
	struct updates *u = ctx;
	char text[LIMIT_TEXT];
	const struct update_end how = {.timed_out = end->timed_out,
		.exit_code = end->exit_code,
		.signal = end->signal,
		.output = end->tail};
	bool good = update_weigh(&how) == VERDICT_GOOD;
	u->process = NULL;
	end_say(end, text, sizeof text);
	if (u->checking) {
		check_end(u, good, text);
		return;
	}
	if (u->restarting) {
		restart_end(u, good, text);
		return;
	}
	step_end(u, &how, text);
}

static enum err program_begin(
	struct updates *u, const char *const *argv, const char *temporary, uint32_t timeout_s)
{
	static const struct process_events events = {.done = on_program_done};
	const struct process_order order = {
		.argv = argv,
		.cwd = u->rt->settings->state_dir,
		.temporary = temporary,
		.timeout_ms = timeout_s * 1000,
		.tail_max = UPDATE_OUTPUT,
	};
	log_info("UPDATE-RUN", "client=%s name=%s program=%s first=%s", u->rt->config.client_id,
		log_quote(u->doing.name), log_quote(argv[0]),
		log_quote(argv[1] != NULL ? argv[1] : ""));
	return process_start(&u->rt->loop, &order, &events, u, &u->process);
}

// A handler's program has a folder for what it needs meanwhile that nobody else can write to, nor
// another of its kind disturb: SWUpdate puts its sockets there too, whose paths are short.
static enum err handler_begin(struct updates *u, const char *const *argv)
{
	char folder[SOCKET_FOLDER];
	const struct agent_settings *s = u->rt->settings;
	bool own = path_join(folder, sizeof folder, s->state_dir, "tmp") == ERR_OK;
	own = own && tree_remove(folder) == ERR_OK && mkdir(folder, 0700) == 0;
	return program_begin(u, argv, own ? folder : NULL, s->update_timeout_s);
}

// ---- work in the pool

static void on_work(uv_work_t *work)
{
	struct updates *u = work->data;
	u->work_result = u->checked ? u->call.row->handler->work(&u->call, &u->said)
				    : update_package_check(&u->rt->store, &u->doing.package);
	if (u->work_result != ERR_OK)
		text_format(u->said.text, sizeof u->said.text, "%s", err_text());
}

static void on_worked(uv_work_t *work, int status)
{
	struct updates *u = work->data;
	(void)status;
	u->working = false;
	if (u->rt->stopping)
		return;
	if (u->work_result == ERR_CORRUPT && !u->checked) {
		damaged(u, u->said.text);
		return;
	}
	if (u->work_result != ERR_OK) {
		verb_end(u, update_weigh_error(u->work_result), u->said.text);
		return;
	}
	u->step += u->checked ? 1 : 0;
	u->checked = true;
	verb_go(u);
}

static void work_begin(struct updates *u)
{
	u->work.data = u;
	u->working = uv_queue_work(&u->rt->loop, &u->work, on_work, on_worked) == 0;
	if (!u->working)
		verb_end(u, VERDICT_UNSURE, "the pool takes no work");
}

static void verb_go(struct updates *u)
{
	struct update_argv argv;
	if (!u->checked) {
		work_begin(u);
		return;
	}
	switch (u->call.row->handler->plan(&u->call, u->step, &argv)) {
	case PLAN_END:
		verb_end(u, VERDICT_GOOD, "");
		return;
	case PLAN_WORK:
		work_begin(u);
		return;
	case PLAN_PROGRAM:
		if (handler_begin(u, argv.argv) != ERR_OK)
			verb_end(u, VERDICT_UNSURE, err_text());
		return;
	}
}

static void verb_begin(struct updates *u, const struct update_record *r, enum update_verb verb)
{
	const struct update_row *row = update_row_find(&u->table, r->name);
	u->doing = *r;
	u->said = (struct update_said){0};
	u->step = 0;
	u->checked = verb != UPDATE_PREPARE && verb != UPDATE_INSTALL;
	u->checking = false;
	u->call = (struct update_call){
		.verb = verb,
		.row = row,
		.name = u->doing.name,
		.version = u->doing.version,
		.token = u->doing.token,
		.package = r->package,
		.tries = r->tries,
	};
	if (row == NULL) {
		static const struct update_row none = {.restart = RESTART_NONE};
		u->call.row = &none;
		verb_end(u, VERDICT_UNSURE, "the settings name no handler for it any more");
		return;
	}
	depot_package_path(&u->rt->store, &r->package, "files", u->call.folder);
	enum err e = ERR_OK;
	if (row->handler->suffix != NULL && (verb == UPDATE_PREPARE || verb == UPDATE_INSTALL))
		e = update_image_find(u->call.folder, row->handler->suffix, u->call.image);
	if (e != ERR_OK)
		verb_end(u, e == ERR_NOT_FOUND ? VERDICT_BAD : update_weigh_error(e), err_text());
	else
		verb_go(u);
}

// ---- restarts

static void restart_program(
	struct updates *u, const struct update_record *r, const struct update_row *row)
{
	u->doing = *r;
	u->call.row = row;
	u->restarting = true;
	if (program_begin(u, row->restart_program.argv, NULL, u->rt->settings->update_timeout_s) !=
		ERR_OK)
		restart_end(u, false, err_text());
}

// Until the kernel's boot id is another; who wants it later is asked by the reboot itself.
static void restart_reboot(struct updates *u, struct update_record *r)
{
	struct id16 now;
	if (runtime_boot_id(u->rt, &now) != ERR_OK)
		return;
	if (memcmp(&now, &r->boot_id, sizeof now) != 0) {
		(void)update_take(u, r, UPDATE_DONE, NULL, NULL);
		return;
	}
	if (u->rt->core.state.reboot.op_id == 0 && !u->rt->offline)
		runtime_reboot(u->rt, REBOOT_OF_UPDATE);
}

void updates_reboot_ended(struct runtime *rt, enum op_status status, const char *detail)
{
	struct updates *u = rt->updates;
	struct update_record *r = u != NULL ? update_at_work(&u->list) : NULL;
	if (r == NULL || (r->state != UPDATE_RESTARTING && r->state != UPDATE_REVERTING))
		return;
	if (status == OP_DONE)
		restart_reboot(u, r);
	else
		(void)update_take(u, r, UPDATE_LATE, "reboot", detail);
}

static void restart_look(struct updates *u, struct update_record *r)
{
	const struct update_row *row = update_row_find(&u->table, r->name);
	switch (row != NULL ? row->restart : RESTART_NONE) {
	case RESTART_NONE:
		(void)update_take(u, r, UPDATE_DONE, NULL, NULL);
		return;
	case RESTART_PROGRAM:
		restart_program(u, r, row);
		return;
	case RESTART_REBOOT:
		restart_reboot(u, r);
		return;
	case RESTART_EXEC:
	case RESTART_EXIT:
		if (u->rt->offline || u->rt->once)
			return;
		u->rt->restart = row->restart;
		log_warn("AGENT-RESTART", "client=%s name=%s version=%s how=%s",
			u->rt->config.client_id, log_quote(r->name), log_quote(r->version),
			row->restart == RESTART_EXEC ? "exec" : "exit");
		runtime_stop(u->rt);
		return;
	}
}

// ---- the trial

static uint64_t beats_of(const struct updates *u)
{
	return u->rt->core.counters.responses - u->beats_before;
}

static void trial_look(struct updates *u, struct update_record *r)
{
	const struct agent_settings *s = u->rt->settings;
	char text[LIMIT_TEXT];
	bool heard = r->unheard || beats_of(u) >= s->update_trial_beats;
	if (in_state_ms(u) > (int64_t)s->update_trial_s * 1000) {
		text_format(text, sizeof text, "%llu of %u heartbeats answered in %u s%s%s",
			(unsigned long long)beats_of(u), s->update_trial_beats, s->update_trial_s,
			u->health[0] != '\0' ? ": " : "", u->health);
		(void)update_take(u, r, UPDATE_LATE, heard ? "health" : "no-heartbeats", text);
	} else if (heard) {
		verb_begin(u, r, UPDATE_VERIFY);
	}
}

// ---- waiting

enum err update_window_look(const struct updates *u, const struct update_record *r, bool *open)
{
	const struct update_row *row = update_row_find(&u->table, r->name);
	int64_t now = update_wall_ms(u);
	int32_t offset_s = 0;
	*open = now >= r->not_before_ms;
	if (!*open || row == NULL || !row->window.given)
		return ERR_OK;
	TRY(zone_offset(row->window.zone, now / 1000, &offset_s));
	*open = update_window_is_open(&row->window, now, offset_s);
	return ERR_OK;
}

static void wait_look(struct updates *u, struct update_record *r)
{
	bool open = false;
	if (update_window_look(u, r, &open) != ERR_OK)
		(void)update_take(u, r, UPDATE_FAILED, "window", err_text());
	else if (open)
		(void)update_take(u, r, UPDATE_OPEN, NULL, NULL);
}

// ---- looking

static void record_look(struct updates *u, struct update_record *r)
{
	switch (r->state) {
	case UPDATE_FETCHED:
		verb_begin(u, r, UPDATE_PREPARE);
		return;
	case UPDATE_WAITING:
		wait_look(u, r);
		return;
	case UPDATE_INSTALLING:
		verb_begin(u, r, UPDATE_INSTALL);
		return;
	case UPDATE_RESTARTING:
	case UPDATE_REVERTING:
		restart_look(u, r);
		return;
	case UPDATE_TRIAL:
		trial_look(u, r);
		return;
	case UPDATE_COMMITTING:
		verb_begin(u, r, UPDATE_COMMIT);
		return;
	case UPDATE_ROLLING_BACK:
		verb_begin(u, r, UPDATE_ROLL_BACK);
		return;
	case UPDATE_NONE:
	case UPDATE_CONFIRMED:
	case UPDATE_ROLLED_BACK:
	case UPDATE_BROKEN:
	case UPDATE_STATES:
		return;
	}
}

static void each_look(struct updates *u, enum update_state state)
{
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		if (u->process == NULL && !u->working && u->list.records[i].state == state &&
			update_at_work(&u->list) == NULL)
			record_look(u, &u->list.records[i]);
	}
}

// Of what the operation in the slot waits for: how far, in a word and in percent.
static void progress_tell(struct updates *u, const struct update_record *r)
{
	const struct agent_settings *s = u->rt->settings;
	char detail[120];
	int64_t gone = in_state_ms(u) / 1000;
	uint32_t first = 90, share = 0, whole = 1;
	if (r->state == UPDATE_INSTALLING)
		first = 20, share = 40, whole = s->update_timeout_s;
	else if (r->state == UPDATE_RESTARTING)
		first = 60, share = 10, whole = s->reboot_defer_max_s + s->reboot_wait_s;
	else if (r->state == UPDATE_TRIAL)
		first = 70, share = 29, whole = s->update_trial_s;
	if (gone > whole)
		gone = whole;
	if (r->state == UPDATE_TRIAL)
		(void)snprintf(detail, sizeof detail, "trial: %llu of %u heartbeats answered",
			(unsigned long long)beats_of(u), s->update_trial_beats);
	else
		(void)snprintf(detail, sizeof detail, "%s", update_state_word(r->state));
	agent_switch_progress(
		&u->rt->core, first + (uint32_t)(gone * share / (whole > 0 ? whole : 1)), detail);
}

static bool all_ended(const struct updates *u)
{
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		if (!update_is_final(u->list.records[i].state))
			return false;
	}
	return true;
}

static void on_look(uv_timer_t *timer)
{
	struct updates *u = timer->data;
	struct update_record *r = update_at_work(&u->list);
	if (u->rt->stopping || u->rt->offline)
		return; // who only imports leaves it to the agent that runs next
	if (all_ended(u) && u->process == NULL && !u->working)
		uv_timer_stop(timer);
	if (r != NULL)
		progress_tell(u, r);
	if (u->process != NULL || u->working || mono_since_ms(clock_now().mono, u->again) < 0)
		return;
	if (r != NULL) {
		record_look(u, r);
		return;
	}
	each_look(u, UPDATE_FETCHED);
	each_look(u, UPDATE_WAITING);
}

void update_look_soon(struct updates *u)
{
	if (u->timer_there && !u->rt->stopping)
		uv_timer_start(&u->timer, on_look, 0, UPDATE_LOOK_MS);
}
