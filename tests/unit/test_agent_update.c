// The state machine of updates: every state with every event, the limits of what may be cut, the
// file at each durable step, penalties, windows, and the settings' rows.
#include "client/update.h"
#include "client/update_file.h"
#include "client/update_handler.h"
#include "proto/base/zone.h"
#include "tests/unit/helper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct update_limits limits = {.install_tries = 3, .trial_starts = 3, .undo_tries = 2};

static struct update_record record_in(enum update_state state, uint32_t tries)
{
	struct update_record r = {.name = "app",
		.version = "2.0",
		.package = {{1, 2, 3}},
		.security_counter = 7,
		.state = state,
		.tries = tries,
		.token = "1.0"};
	return r;
}

// ---- the table

#define N UPDATE_NONE

static const struct {
	enum update_state state;
	enum update_state done, restart, open, failed, late, started, cancelled;
} cells[] = {
	{UPDATE_NONE, N, N, N, N, N, N, N},
	{UPDATE_FETCHED, UPDATE_WAITING, N, N, UPDATE_ROLLED_BACK, UPDATE_ROLLED_BACK,
		UPDATE_FETCHED, UPDATE_ROLLED_BACK},
	{UPDATE_WAITING, N, N, UPDATE_INSTALLING, UPDATE_ROLLED_BACK, N, UPDATE_WAITING,
		UPDATE_ROLLED_BACK},
	{UPDATE_INSTALLING, UPDATE_TRIAL, UPDATE_RESTARTING, N, UPDATE_ROLLING_BACK,
		UPDATE_ROLLING_BACK, UPDATE_INSTALLING, UPDATE_ROLLING_BACK},
	{UPDATE_RESTARTING, UPDATE_TRIAL, N, N, UPDATE_ROLLING_BACK, UPDATE_ROLLING_BACK,
		UPDATE_RESTARTING, UPDATE_ROLLING_BACK},
	{UPDATE_TRIAL, UPDATE_COMMITTING, N, N, UPDATE_ROLLING_BACK, UPDATE_ROLLING_BACK,
		UPDATE_TRIAL, UPDATE_ROLLING_BACK},
	{UPDATE_COMMITTING, UPDATE_CONFIRMED, N, N, UPDATE_ROLLING_BACK, UPDATE_ROLLING_BACK,
		UPDATE_COMMITTING, N},
	{UPDATE_CONFIRMED, N, N, N, N, N, N, N},
	{UPDATE_ROLLING_BACK, UPDATE_ROLLED_BACK, UPDATE_REVERTING, N, UPDATE_ROLLING_BACK,
		UPDATE_ROLLING_BACK, UPDATE_ROLLING_BACK, N},
	{UPDATE_REVERTING, UPDATE_ROLLED_BACK, N, N, UPDATE_BROKEN, UPDATE_BROKEN, UPDATE_REVERTING,
		N},
	{UPDATE_ROLLED_BACK, N, N, N, N, N, N, N},
	{UPDATE_BROKEN, N, N, N, N, N, N, N},
};

static void every_state_has_an_answer_to_every_event(void **state)
{
	(void)state;
	assert_int_equal(sizeof cells / sizeof cells[0], UPDATE_STATES);
	for (size_t i = 0; i < UPDATE_STATES; i++) {
		const enum update_state want[UPDATE_EVENTS] = {
			[UPDATE_DONE] = cells[i].done,
			[UPDATE_RESTART] = cells[i].restart,
			[UPDATE_OPEN] = cells[i].open,
			[UPDATE_FAILED] = cells[i].failed,
			[UPDATE_LATE] = cells[i].late,
			[UPDATE_STARTED] = cells[i].started,
			[UPDATE_CANCELLED] = cells[i].cancelled,
		};
		assert_int_equal(cells[i].state, i);
		for (int e = 0; e < UPDATE_EVENTS; e++) {
			struct update_record r = record_in((enum update_state)i, 1), before = r;
			bool taken = update_step(&r, (enum update_event)e, &limits, "w", "d");
			assert_int_equal(taken, want[e] != N);
			assert_int_equal(r.state, taken ? want[e] : (enum update_state)i);
			if (!taken)
				assert_memory_equal(&r, &before, sizeof r);
		}
	}
}

static void what_ended_stays_and_is_told_by_its_word(void **state)
{
	(void)state;
	for (int s = 0; s < UPDATE_STATES; s++) {
		bool final = s == UPDATE_NONE || s == UPDATE_CONFIRMED || s == UPDATE_ROLLED_BACK ||
			     s == UPDATE_BROKEN;
		assert_int_equal(update_is_final((enum update_state)s), final);
		assert_string_not_equal(update_state_word((enum update_state)s), "?");
	}
	assert_string_equal(update_state_word(UPDATE_STATES), "?");
}

// Each work that is cut again and again comes to an end: and that end is never the new version.
static void what_is_cut_again_and_again_is_rolled_back(void **state)
{
	(void)state;
	static const enum update_state cut[] = {UPDATE_INSTALLING, UPDATE_TRIAL, UPDATE_COMMITTING};
	for (size_t i = 0; i < 3; i++) {
		struct update_record r = record_in(cut[i], 1);
		assert_true(update_step(&r, UPDATE_STARTED, &limits, NULL, NULL));
		assert_true(update_step(&r, UPDATE_STARTED, &limits, NULL, NULL));
		assert_int_equal(r.state, cut[i]);
		assert_int_equal(r.tries, 3);
		assert_true(update_step(&r, UPDATE_STARTED, &limits, NULL, NULL));
		assert_int_equal(r.state, UPDATE_ROLLING_BACK);
		assert_string_equal(
			r.reason, cut[i] == UPDATE_TRIAL ? "crash-loop" : "interrupted");
		assert_true(update_step(&r, UPDATE_FAILED, &limits, "rollback", "no"));
		assert_int_equal(r.state, UPDATE_ROLLING_BACK);
		assert_true(update_step(&r, UPDATE_FAILED, &limits, "rollback", "no"));
		assert_int_equal(r.state, UPDATE_BROKEN);
	}
}

static void the_first_failure_is_the_reason(void **state)
{
	(void)state;
	struct update_record r = record_in(UPDATE_TRIAL, 1);
	assert_true(update_step(&r, UPDATE_LATE, &limits, "health", "rc=1"));
	assert_true(update_step(&r, UPDATE_FAILED, &limits, "rollback", "no space"));
	assert_string_equal(r.reason, "health");
	assert_string_equal(r.detail, "rc=1; then: no space");
}

// ---- power cuts: at each durable step the file is read, the agent starts, and goes on

enum run {
	RUN_GOOD,
	RUN_BAD_INSTALL,
	RUN_BAD_HEALTH
};

static enum update_event event_of(const struct update_record *r, enum run run)
{
	switch ((int)r->state) {
	case UPDATE_WAITING:
		return UPDATE_OPEN;
	case UPDATE_INSTALLING:
		return run == RUN_BAD_INSTALL ? UPDATE_FAILED : UPDATE_RESTART;
	case UPDATE_TRIAL:
		return run == RUN_BAD_HEALTH ? UPDATE_LATE : UPDATE_DONE;
	case UPDATE_ROLLING_BACK:
		return r->restarted ? UPDATE_RESTART : UPDATE_DONE;
	default:
		return UPDATE_DONE;
	}
}

// The list as the disk has it; the rest of the memory is gone.
static void cut(struct update_list *list)
{
	SCOPED_BUF struct buf text;
	buf_init(&text, UPDATE_FILE_MAX);
	assert_int_equal(update_list_encode(list, &text), ERR_OK);
	memset(list, 0xee, sizeof *list);
	assert_int_equal(update_list_decode(buf_bytes(&text), list), ERR_OK);
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		if (!update_is_final(list->records[i].state))
			(void)update_step(&list->records[i], UPDATE_STARTED, &limits, NULL, NULL);
	}
}

static void a_power_cut_at_any_step_changes_no_outcome(void **state)
{
	(void)state;
	for (int run = RUN_GOOD; run <= RUN_BAD_HEALTH; run++) {
		for (unsigned at = 0; at < 12; at++) {
			struct update_list list = {0};
			struct update_record *r = &list.records[0];
			*r = record_in(UPDATE_FETCHED, 1);
			unsigned steps = 0;
			for (; !update_is_final(r->state) && steps < 20; steps++) {
				if (steps == at || steps == at + 1) // nested, too
					cut(&list);
				assert_true(update_step(
					r, event_of(r, (enum run)run), &limits, "bad", "d"));
			}
			assert_int_equal(
				r->state, run == RUN_GOOD ? UPDATE_CONFIRMED : UPDATE_ROLLED_BACK);
			assert_string_equal(r->name, "app");
			assert_string_equal(r->token, "1.0");
			assert_true(steps <= 8);
		}
	}
}

// ---- the file

static struct update_list full_list(void)
{
	struct update_list list = {0};
	for (size_t i = 0; i < UPDATES_MAX; i++) {
		struct update_record *r = &list.records[i];
		*r = record_in((enum update_state)(1 + i), (uint32_t)i);
		(void)snprintf(r->name, sizeof r->name, "app %zu\t%%\n", i);
		(void)snprintf(r->detail, sizeof r->detail, "line\nbreak \x7f end");
		(void)snprintf(r->reason, sizeof r->reason, "health");
		r->op_id = UINT64_MAX - i;
		r->restarted = i % 2 == 0;
		r->penalised = i % 3 == 0;
		r->unheard = i % 4 == 0;
		r->not_before_ms = INT64_MAX;
	}
	for (size_t i = 0; i < PENALTIES_MAX; i++) {
		struct update_record r = record_in(UPDATE_ROLLED_BACK, 1);
		r.package.b[5] = (uint8_t)i;
		update_penalise(&list, &r, 1000, 1000, i % 2 == 0 ? 1 : 9);
	}
	return list;
}

static void the_file_gives_back_what_it_was_given(void **state)
{
	(void)state;
	struct update_list list = full_list(), again;
	SCOPED_BUF struct buf text;
	buf_init(&text, UPDATE_FILE_MAX);
	assert_int_equal(update_list_encode(&list, &text), ERR_OK);
	assert_int_equal(update_list_decode(buf_bytes(&text), &again), ERR_OK);
	assert_memory_equal(&again, &list, sizeof list);
}

static void a_damaged_file_is_refused_at_every_byte(void **state)
{
	(void)state;
	struct update_list list = {.records[0] = record_in(UPDATE_TRIAL, 2)}, again, empty = {0};
	SCOPED_BUF struct buf text;
	buf_init(&text, UPDATE_FILE_MAX);
	assert_int_equal(update_list_encode(&list, &text), ERR_OK);
	for (size_t i = 0; i < text.size; i++) {
		text.data[i] ^= 1;
		assert_int_equal(update_list_decode(buf_bytes(&text), &again), ERR_CORRUPT);
		assert_memory_equal(&again, &empty, sizeof empty);
		text.data[i] ^= 1;
		assert_int_equal(update_list_decode(bytes_of(text.data, i), &again), ERR_CORRUPT);
	}
}

// ---- penalties

static void a_failure_waits_twice_as_long_each_time_and_then_for_ever(void **state)
{
	(void)state;
	struct update_list list = {0};
	struct update_record r = record_in(UPDATE_ROLLED_BACK, 1);
	update_penalise(&list, &r, 0, 1000, 3);
	const struct update_penalty *p = update_penalty_find(&list, &r.package);
	assert_non_null(p);
	assert_true(update_penalty_holds(p, 999));
	assert_false(update_penalty_holds(p, 1000));
	update_penalise(&list, &r, 5000, 1000, 3);
	assert_int_equal(list.penalty_count, 1);
	assert_true(update_penalty_holds(p, 6999));
	assert_false(update_penalty_holds(p, 7000));
	update_penalise(&list, &r, 9000, 1000, 3);
	assert_true(update_penalty_holds(p, INT64_MAX - 1));
	assert_int_equal(update_penalty_clear(&list, "other"), 0);
	assert_int_equal(update_penalty_clear(&list, "app"), 1);
	assert_null(update_penalty_find(&list, &r.package));
	update_penalise(&list, &r, 0, 1000, 3);
	assert_int_equal(update_penalty_clear(&list, digest_hex(&r.package)), 1);
	assert_false(update_penalty_holds(NULL, 0));
}

// ---- windows

static void a_window_is_so_many_hours_of_the_local_day(void **state)
{
	(void)state;
	struct update_window w;
	static const char *const bad[] = {"", "02:00", "2:00-4:00", "25:00-26:00", "02:60-04:00",
		"02:00-04:00x", "02:00 04:00", "02:00-04:00 Europe/Berlin x"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(update_window_parse(bad[i], &w), ERR_FORMAT);
	assert_int_equal(update_window_parse("02:00-04:00 Europe/Berlin", &w), ERR_OK);
	assert_string_equal(w.zone, "Europe/Berlin");
	int64_t midnight = (int64_t)20000 * 86400000, hour = 3600000;
	assert_false(update_window_is_open(&w, midnight + 2 * hour - 1, 0));
	assert_true(update_window_is_open(&w, midnight + 2 * hour, 0));
	assert_true(update_window_is_open(&w, midnight + 4 * hour - 1, 0));
	assert_false(update_window_is_open(&w, midnight + 4 * hour, 0));
	assert_true(update_window_is_open(&w, midnight, 2 * 3600));
	assert_false(update_window_is_open(&w, midnight + 3 * hour, -3 * 3600));
	assert_int_equal(update_window_parse("22:00-02:00", &w), ERR_OK);
	assert_true(update_window_is_open(&w, midnight + 23 * hour, 0));
	assert_true(update_window_is_open(&w, midnight + hour, 0));
	assert_false(update_window_is_open(&w, midnight + 12 * hour, 0));
	assert_true(update_window_is_open(&w, -1, 0)); // 1969-12-31 23:59
	assert_int_equal(update_window_parse("00:00-24:00", &w), ERR_OK);
	assert_true(update_window_is_open(&w, midnight + 24 * hour - 1, 0));
	assert_int_equal(update_window_parse("05:00-05:00", &w), ERR_OK);
	assert_false(update_window_is_open(&w, midnight + 5 * hour, 0));
	w = (struct update_window){0};
	assert_true(update_window_is_open(&w, midnight, 0));
}

// ---- rauc

static void the_booted_slot_is_read_from_the_status(void **state)
{
	(void)state;
	char slot[40];
	static const char good[] = "RAUC_SYSTEM_COMPATIBLE='x'\nRAUC_SYSTEM_SLOTS='a.1 a.0'\n"
				   "RAUC_SLOT_STATE_1='inactive'\nRAUC_SLOT_STATE_2='booted'\n";
	assert_int_equal(rauc_booted(bytes_of(good, sizeof good - 1), slot, sizeof slot), ERR_OK);
	assert_string_equal(slot, "a.0");
	static const char none[] = "RAUC_SYSTEM_SLOTS='a.1 a.0'\nRAUC_SLOT_STATE_1='inactive'\n";
	assert_int_equal(
		rauc_booted(bytes_of(none, sizeof none - 1), slot, sizeof slot), ERR_FORMAT);
	assert_int_equal(rauc_booted(bytes_of("", 0), slot, sizeof slot), ERR_FORMAT);
}

// ---- whose fault it is

#define SWU_STARTED "[INFO ] : SWUPDATE started :  Software Update started !\n"
#define SWU_GOOD "[INFO ] : SWUPDATE successful ! SWUPDATE successful !\n"
#define SWU_BAD                                                                                    \
	"[ERROR] : SWUPDATE failed [0] ERROR : HASH mismatch\n"                                    \
	"[ERROR] : SWUPDATE failed [1] Image invalid or corrupted. Not installing ...\n"

static const struct {
	const struct update_handler *handler;
	enum update_verb verb;
	unsigned step;
	int exit_code, signal;
	bool timed_out;
	const char *output;
	enum update_verdict want;
} ends[] = {
	{&update_script, UPDATE_INSTALL, 0, 0, 0, false, "No space left on device", VERDICT_GOOD},
	{&update_script, UPDATE_INSTALL, 0, 1, 0, false, "it is ill", VERDICT_BAD},
	{&update_script, UPDATE_INSTALL, 0, 75, 0, false, "", VERDICT_UNSURE},
	{&update_script, UPDATE_INSTALL, 0, 1, 0, false, "cp: x: No space left on device",
		VERDICT_UNSURE},
	{&update_script, UPDATE_INSTALL, 0, 0, 9, false, "", VERDICT_UNSURE},
	{&update_script, UPDATE_INSTALL, 0, 0, 11, false, "", VERDICT_BAD},
	{&update_script, UPDATE_INSTALL, 0, 0, 15, true, "", VERDICT_BAD},
	{&update_swupdate, UPDATE_PREPARE, 0, 0, 0, false, SWU_STARTED SWU_GOOD, VERDICT_GOOD},
	// It asked itself too early: with its work done, not begun, cut.
	{&update_swupdate, UPDATE_PREPARE, 0, 1, 0, false, SWU_STARTED SWU_GOOD, VERDICT_GOOD},
	{&update_swupdate, UPDATE_PREPARE, 0, 1, 0, false, "", VERDICT_UNSURE},
	{&update_swupdate, UPDATE_PREPARE, 0, 1, 0, false, SWU_STARTED, VERDICT_UNSURE},
	{&update_swupdate, UPDATE_PREPARE, 0, 1, 0, false, SWU_STARTED SWU_BAD, VERDICT_BAD},
	{&update_swupdate, UPDATE_INSTALL, 0, 1, 0, false, SWU_STARTED SWU_BAD, VERDICT_BAD},
	{&update_swupdate, UPDATE_INSTALL, 0, 1, 0, false, SWU_STARTED SWU_GOOD, VERDICT_UNSURE},
	{&update_swupdate, UPDATE_INSTALL, 0, 1, 0, false,
		"[ERROR] : SWUPDATE failed [0] ERROR : write: No space left on device\n" SWU_BAD,
		VERDICT_UNSURE},
	{&update_swupdate, UPDATE_PREPARE, 0, 2, 0, false,
		"[ERROR] : SWUPDATE failed [0] ERROR : Error creating IPC control socket\n",
		VERDICT_UNSURE},
	{&update_swupdate, UPDATE_COMMIT, 0, 1, 0, false, "", VERDICT_BAD},
	{&update_rauc, UPDATE_PREPARE, 0, 1, 0, false, "error creating proxy", VERDICT_UNSURE},
	{&update_rauc, UPDATE_PREPARE, 1, 1, 0, false, "signature verification failed",
		VERDICT_BAD},
	{&update_rauc, UPDATE_INSTALL, 1, 1, 0, false, "Installing `x` failed", VERDICT_BAD},
	{&update_rauc, UPDATE_INSTALL, 0, 1, 0, false, "error creating proxy", VERDICT_UNSURE},
	{&update_rauc, UPDATE_INSTALL, 1, 2, 0, false, "D-Bus error while installing `x`",
		VERDICT_UNSURE},
	{&update_rauc, UPDATE_COMMIT, 0, 1, 0, false, "", VERDICT_UNSURE},
};

static void a_device_in_trouble_is_no_fault_of_the_release(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		const struct update_call call = {.verb = ends[i].verb};
		const struct update_end end = {.timed_out = ends[i].timed_out,
			.exit_code = ends[i].exit_code,
			.signal = ends[i].signal,
			.output = bytes_of(ends[i].output, strlen(ends[i].output))};
		const struct update_handler *h = ends[i].handler;
		enum update_verdict have =
			h->weigh != NULL ? h->weigh(&call, ends[i].step, &end) : update_weigh(&end);
		if (have != ends[i].want)
			fail_msg("row %zu: %d, wanted %d", i, have, ends[i].want);
	}
	assert_int_equal(update_weigh_error(ERR_OK), VERDICT_GOOD);
	assert_int_equal(update_weigh_error(ERR_FORMAT), VERDICT_BAD);
	assert_int_equal(update_weigh_error(ERR_NO_SPACE), VERDICT_DEVICE);
	assert_int_equal(update_weigh_error(ERR_IO), VERDICT_UNSURE);
	assert_int_equal(update_weigh_error(ERR_MEMORY), VERDICT_UNSURE);
}

// ---- settings

static enum err parse(const char *handler, const char *key, const char *line)
{
	struct update_table table;
	char *handlers[] = {(char *)(uintptr_t)handler}, *lines[] = {(char *)(uintptr_t)line};
	struct agent_settings s = {.update_handlers = {.items = handlers, .count = 1}};
	struct setting_list list = {.items = lines, .count = 1};
	if (key != NULL && strcmp(key, "restart") == 0)
		s.update_restarts = list;
	else if (key != NULL && strcmp(key, "window") == 0)
		s.update_windows = list;
	else if (key != NULL && strcmp(key, "rollback") == 0)
		s.update_rollbacks = list;
	return update_table_parse(&s, &table);
}

static void the_rows_of_the_settings_are_checked(void **state)
{
	(void)state;
	assert_int_equal(parse("app symlink /opt/app", NULL, NULL), ERR_OK);
	assert_int_equal(parse("os rauc", NULL, NULL), ERR_OK);
	assert_int_equal(parse("os rauc /usr/bin/rauc -c /etc/r.conf", NULL, NULL), ERR_OK);
	assert_int_equal(parse("os swupdate", "rollback", "os /bin/false"), ERR_OK);
	assert_int_equal(parse("app script /bin/true", "restart", "app none"), ERR_OK);
	assert_int_equal(parse("agent symlink /opt/h", "restart", "agent exec"), ERR_OK);
	assert_int_equal(parse("app symlink /a", "window", "* 02:00-04:00 Europe/Berlin"), ERR_OK);
	static const char *const bad[][3] = {{"", NULL, NULL}, {"app", NULL, NULL},
		{"app nothing /x", NULL, NULL}, {"app symlink opt", NULL, NULL},
		{"app symlink /opt/a b", NULL, NULL}, {"app script", NULL, NULL},
		{"app script relative", NULL, NULL}, {"os swupdate", NULL, NULL},
		{"app symlink /a", "restart", "other exec"},
		{"app symlink /a", "restart", "app sometimes"},
		{"app script /bin/true", "restart", "app exec"},
		{"app symlink /a", "window", "app 2-3"},
		{"app symlink /a", "window", "app 02:00-03:00 No/Where"},
		{"app symlink /a", "window", "app 02:00-03:00 ../../etc/passwd"}};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_not_equal(parse(bad[i][0], bad[i][1], bad[i][2]), ERR_OK);
		assert_non_null(strstr(err_text(), "[update]"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_has_an_answer_to_every_event),
		cmocka_unit_test(what_ended_stays_and_is_told_by_its_word),
		cmocka_unit_test(what_is_cut_again_and_again_is_rolled_back),
		cmocka_unit_test(the_first_failure_is_the_reason),
		cmocka_unit_test(a_power_cut_at_any_step_changes_no_outcome),
		cmocka_unit_test(the_file_gives_back_what_it_was_given),
		cmocka_unit_test(a_damaged_file_is_refused_at_every_byte),
		cmocka_unit_test(a_failure_waits_twice_as_long_each_time_and_then_for_ever),
		cmocka_unit_test(a_window_is_so_many_hours_of_the_local_day),
		cmocka_unit_test(the_booted_slot_is_read_from_the_status),
		cmocka_unit_test(a_device_in_trouble_is_no_fault_of_the_release),
		cmocka_unit_test(the_rows_of_the_settings_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
