// What the agent does at the server's word, against a server in memory: an operation is executed
// once, whatever is lost, repeated or cut; information is sent until it arrived; a package is
// fetched until it is whole or given up.
#include "tests/unit/agent_helper.h"

// ---- operations

static void an_operation_is_on_disk_before_it_is_acknowledged_or_begun(void **state)
{
	struct world *w = *state;
	w->save_fails = true;
	world_execute(w, "show", "art-1");
	assert_int_equal(w->commands, 0);
	assert_int_equal(w->core.state.op.op_id, 0);
	assert_true(world_next_beat(w).last_response_id < w->response_id);
	w->save_fails = false;
	w->response_id--; // the server sends the same response again
	world_execute(w, "show", "art-1");
	assert_int_equal(w->commands, 1);
	assert_string_equal(w->arg, "art-1");
	assert_int_equal(world_next_beat(w).last_response_id, w->response_id);
}

static void a_resend_is_acknowledged_and_not_executed_again(void **state)
{
	struct world *w = *state;
	w->command_answers_at_once = true;
	world_execute(w, "show", "art-1");
	for (int i = 0; i < 5; i++) {
		world_run(w, 1000);
		w->response_id--;
		world_execute(w, "show", "art-1");
	}
	assert_int_equal(w->commands, 1);
	assert_int_equal(w->core.counters.resends, 5);
	struct heartbeat h = world_next_beat(w);
	assert_int_equal(h.op->status, OP_DONE);
	assert_int_equal(h.last_response_id, w->response_id);
}

static void a_resend_after_a_power_cut_is_not_executed_again(void **state)
{
	struct world *w = *state;
	w->command_answers_at_once = true;
	world_execute(w, "show", "art-1");
	uint64_t op = w->core.state.op.op_id;
	world_power_cut(w);
	world_sign_in(w);
	w->response_id--;
	world_execute(w, "show", "art-1");
	assert_int_equal(w->commands, 1);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.op->op_id, op);
	assert_int_equal(h.op->status, OP_DONE);
}

static void a_command_that_was_interrupted_reports_failed_and_does_not_run_again(void **state)
{
	struct world *w = *state;
	world_execute(w, "clear-cache", NULL);
	assert_int_equal(w->commands, 1);
	world_power_cut(w);
	world_sign_in(w);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.op->status, OP_FAILED);
	assert_string_equal(h.op->detail, "interrupted");
	world_run(w, 60000);
	assert_int_equal(w->commands, 1);
}

static void a_program_whose_end_nobody_saw_is_unknown(void **state)
{
	struct world *w = *state;
	world_execute(w, "backup", NULL);
	world_power_cut(w);
	world_sign_in(w);
	assert_int_equal(world_beat(w).op->status, OP_UNKNOWN);
}

// An authentic response of one part whose bytes are put together by hand.
static void deliver_by_hand(struct world *w, enum response_kind kind, const void *part, size_t size)
{
	static const uint8_t tags[] = {[KIND_SEND_INFORMATION] = 0x52,
		[KIND_RETRIEVE_INFORMATION] = 0x5a,
		[KIND_EXECUTE_COMMAND] = 0x62};
	struct world_answer *x = world_answer(w, kind);
	SCOPED_BUF struct buf body, out;
	buf_init(&body, LIMIT_RESPONSE);
	buf_init(&out, LIMIT_RESPONSE);
	struct execute_command e = {.verb = "ping"};
	x->b.kind = KIND_EXECUTE_COMMAND;
	x->b.execute = &e;
	assert_int_equal(response_body_encode(&x->b, &body), ERR_OK);
	body.size -= 8; // the execute part: tag, length and  0a 04 ping
	assert_int_equal(body.data[body.size], 0x62);
	for (size_t i = 0; i + 1 < body.size; i++) {
		if (body.data[i] == 0x10 && body.data[i + 1] == KIND_EXECUTE_COMMAND)
			body.data[i + 1] = (uint8_t)kind;
	}
	uint8_t head[2] = {tags[kind], (uint8_t)size};
	assert_int_equal(buf_append(&body, head, 2), ERR_OK);
	assert_int_equal(buf_append(&body, part, size), ERR_OK);
	x->r.body_bytes = buf_bytes(&body);
	assert_int_equal(response_encode(&x->r, &out), ERR_OK);
	struct topic topic = topic_of(TOPIC_RSP, WORLD_ID);
	assert_int_equal(seal_mac(&out, topic.s, &w->keys.mac_down), ERR_OK);
	world_deliver(w, TOPIC_RSP, &out);
}

static void an_authentic_answer_that_is_not_understood_is_refused_by_its_id_once(void **state)
{
	struct world *w = *state;
	static const struct {
		enum response_kind kind;
		const char *part, *detail;
		size_t size;
	} cases[] = {
		{KIND_SEND_INFORMATION, "\x08\x08", "not understood: send.what is 8, at most 7", 2},
		{KIND_SEND_INFORMATION, "\x08\x00", "not understood: send.what is missing or 0", 2},
		{KIND_SEND_INFORMATION, "\x08\x01\xa8\x02\x01",
			"not understood: send has an unknown field 37", 5},
		{KIND_SEND_INFORMATION, "\xff\xff\xff",
			"not understood: send is cut short or malformed", 3},
		{KIND_RETRIEVE_INFORMATION, "\x20\x01",
			"not understood: retrieve.heartbeat_interval_ms is 1, at least 200", 2},
		{KIND_EXECUTE_COMMAND, "\x0a\x01/", "not understood: execute.verb is no id", 3},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		deliver_by_hand(w, cases[i].kind, cases[i].part, cases[i].size);
		if (i % 2 == 1) { // also when the power goes right after it
			world_power_cut(w);
			world_sign_in(w);
		}
		struct heartbeat h = world_next_beat(w);
		assert_int_equal(h.last_response_id, w->response_id);
		assert_int_equal(h.op->op_id, w->response_id);
		assert_int_equal(h.op->status, OP_REFUSED);
		if (strncmp(h.op->detail, cases[i].detail, strlen(cases[i].detail)) != 0)
			fail_msg("%s", h.op->detail);
		assert_int_equal(h.ack, i % 2 == 1 ? ACK_NOTHING : ACK_RESPONSE);
	}
	assert_int_equal(w->commands, 0);
	assert_int_equal(world_count(w, TOPIC_REPORT), 0);
	// Control: the same way with a content that is understood begins an operation.
	deliver_by_hand(w, KIND_SEND_INFORMATION, "\x08\x01", 2);
	assert_int_equal(world_count(w, TOPIC_REPORT), 1);
}

static void a_damaged_state_never_repeats_a_resent_command(void **state)
{
	struct world *w = *state;
	w->core.state.uncertain = true;
	// A resend is the same body again: its reason is that of the first time.
	world_answer_execute(w, "backup", NULL)->reason.code = REASON_EVENT;
	world_answer_send(w);
	assert_int_equal(w->commands, 0);
	assert_int_equal(w->core.state.op.status, OP_UNKNOWN);
	world_run(w, 1000);
	world_execute(w, "backup", NULL);
	assert_int_equal(w->commands, 1);
}

static void a_damaged_state_is_trusted_again_when_the_server_waits_for_nothing(void **state)
{
	struct world *w = *state;
	w->core.state.uncertain = true;
	world_answer(w, KIND_NO_ACTION)->reason.code = REASON_STALE_BOOT;
	world_answer_send(w);
	assert_true(w->core.state.uncertain);
	world_run(w, 1000);
	world_answer(w, KIND_NO_ACTION)->reason.code = REASON_CAUGHT_UP;
	world_answer_send(w);
	world_run(w, 1000);
	world_execute(w, "backup", NULL);
	assert_int_equal(w->commands, 1);
}

static void a_final_status_stays_in_every_beat_until_the_next_operation(void **state)
{
	struct world *w = *state;
	world_execute(w, "ping", NULL);
	uint64_t op = w->core.state.op.op_id;
	for (int i = 0; i < 5; i++) {
		struct heartbeat h = world_next_beat(w);
		assert_int_equal(h.op->op_id, op);
		assert_int_equal(h.op->status, OP_DONE);
		world_no_action(w);
	}
	world_run(w, 1000);
	world_execute(w, "ping", NULL);
	assert_true(world_next_beat(w).op->op_id > op);
}

static void a_running_command_is_busy(void **state)
{
	struct world *w = *state;
	world_execute(w, "show", "art-1");
	struct heartbeat h = world_next_beat(w);
	assert_int_equal(h.ack, ACK_BUSY);
	assert_int_equal(h.op->status, OP_RUNNING);
	struct command_result r = {.status = OP_DONE, .detail = "rc=0"};
	agent_command_done(&w->core, w->now, w->command_op, &r);
	world_no_action(w);
	assert_int_equal(world_next_beat(w).ack, ACK_RESPONSE);
}

static void wrong_arguments_and_expired_commands_are_refused(void **state)
{
	struct world *w = *state;
	world_execute(w, "show", NULL);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	world_run(w, 1000);
	world_answer_execute(w, "pause", NULL)->execute.expires_unix_ms = w->now.wall.ms - 1;
	world_answer_send(w);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_int_equal(w->commands, 0);
}

static void resync_tells_everything_held(void **state)
{
	struct world *w = *state;
	world_no_action(w);
	assert_true(world_next_beat(w).holdings == NULL);
	world_execute(w, "resync", NULL);
	struct heartbeat h = world_next_beat(w);
	assert_non_null(h.holdings);
	assert_true(h.holdings->full);
	assert_int_equal(h.op->status, OP_DONE);
	world_no_action(w);
	assert_null(world_next_beat(w).holdings);
}

static void cancel_gives_up_what_is_open(void **state)
{
	struct world *w = *state;
	char text[32];
	assert_int_equal(w->fetches, 1);
	uint64_t op = w->core.state.op.op_id;
	world_run(w, 1000);
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)op);
	world_execute(w, "cancel", text);
	assert_int_equal(w->fetch_stops, 1);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_non_null(strstr(w->core.state.op.detail, "was given up"));
	struct want want = world_want(w);
	assert_non_null(want.release);
	assert_int_equal(want.release->outcome, OP_CANCELLED);
}

// ---- information

static void a_report_is_repeated_under_its_id_until_the_server_acknowledged_it(void **state)
{
	struct world *w = *state;
	struct report r;
	world_ask(w, INFO_DISPLAY, NULL);
	assert_int_equal(world_count(w, TOPIC_REPORT), 1);
	uint64_t id = w->core.state.op.report_id;
	for (int i = 0; i < 10; i++) {
		world_run(w, 1000);
		world_no_action(w);
	}
	assert_true(world_count(w, TOPIC_REPORT) >= 2);
	const struct world_sent *s = world_last(w, TOPIC_REPORT);
	arena_reset(&w->arena);
	assert_int_equal(seal_check_mac(world_bytes(s), s->topic, &w->keys.mac_up), ERR_OK);
	assert_int_equal(report_decode(&w->arena, world_bytes(s), &r), ERR_OK);
	assert_int_equal(r.report_id, id);
	assert_int_equal(r.op_id, w->core.state.op.op_id);
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
	world_run(w, 1000);
	world_answer(w, KIND_NO_ACTION)->r.acked_report_id = id;
	world_answer_send(w);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	size_t reports = world_count(w, TOPIC_REPORT);
	world_run(w, 100000);
	assert_int_equal(world_count(w, TOPIC_REPORT), reports);
}

static void a_report_goes_on_under_its_id_after_a_power_cut(void **state)
{
	struct world *w = *state;
	world_ask(w, INFO_USAGE, NULL);
	uint64_t id = w->core.state.op.report_id;
	world_power_cut(w);
	size_t before = world_count(w, TOPIC_REPORT);
	world_sign_in(w);
	assert_int_equal(world_count(w, TOPIC_REPORT), before + 1);
	assert_int_equal(w->core.state.op.report_id, id);
}

static void logs_and_screenshots_are_refused_with_a_reason(void **state)
{
	struct world *w = *state;
	world_ask(w, INFO_LOGS, NULL);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_non_null(strstr(w->core.state.op.detail, "unsupported"));
	world_run(w, 1000);
	world_ask(w, INFO_SCREENSHOT, NULL);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_int_equal(world_count(w, TOPIC_REPORT), 0);
}

// ---- a report in parts

static struct {
	unsigned gathered, stopped;
	bool again, asked_for_logs;
} doer;

static void parts_gather(void *ctx, uint64_t report_id, const struct send_information *s)
{
	struct world *w = ctx;
	doer.gathered++;
	doer.asked_for_logs = s->what == INFO_LOGS;
	agent_report_ready(&w->core, w->now, report_id,
		&(struct report_ready){.parts = 10, .again = doer.again});
}

static enum err parts_part(void *ctx, struct arena *a, uint32_t part, struct report *out)
{
	(void)ctx;
	char *text = arena_printf(a, "part %u", part);
	*out = (struct report){.what = INFO_LOGS, .data = bytes_of(text, strlen(text))};
	return ERR_OK;
}

static void parts_stop(void *ctx)
{
	(void)ctx;
	doer.stopped++;
}

static void with_a_doer(struct world *w, bool again)
{
	static struct agent_port port;
	port = world_port;
	port.report_gather = parts_gather;
	port.report_part = parts_part;
	port.report_stop = parts_stop;
	w->core.port = &port;
	memset(&doer, 0, sizeof doer);
	doer.again = again;
}

// The parts that were sent from report message `from` on: "0 1 2 3".
static const char *parts_sent(struct world *w, size_t from)
{
	static char text[200];
	struct report r;
	size_t n = 0, at = 0;
	text[0] = '\0';
	for (size_t i = 0; i < w->sent_count; i++) {
		if (w->sent[i].kind != TOPIC_REPORT || n++ < from)
			continue;
		arena_reset(&w->arena);
		assert_int_equal(report_decode(&w->arena, world_bytes(&w->sent[i]), &r), ERR_OK);
		assert_int_equal(r.parts, 10);
		assert_int_equal(r.report_id, w->core.state.op.report_id);
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%u", at ? " " : "", r.part);
	}
	return text;
}

static void world_tell_parts(struct world *w, uint64_t report_id, uint32_t parts)
{
	world_run(w, 1000);
	struct world_answer *x = world_answer(w, KIND_NO_ACTION);
	x->r.open_report_id = report_id;
	x->r.open_report_parts = parts;
	world_answer_send(w);
}

static void a_report_in_parts_goes_on_behind_what_the_server_holds(void **state)
{
	struct world *w = *state;
	with_a_doer(w, false);
	world_ask(w, INFO_LOGS, NULL);
	uint64_t id = w->core.state.op.report_id;
	assert_true(doer.asked_for_logs);
	assert_string_equal(parts_sent(w, 0), "0 1 2 3");
	world_tell_parts(w, id, 4);
	assert_string_equal(parts_sent(w, 4), "4 5 6 7");
	world_tell_parts(w, id, 5);
	assert_string_equal(parts_sent(w, 8), "8");
	assert_int_equal(w->core.state.op.percent, 50);
	world_tell_parts(w, id + 1, 9); // of another report: says nothing
	assert_string_equal(parts_sent(w, 9), "");
	world_tell_parts(w, id, 5);
	world_run(w, 10000); // 5 was lost: again from there, no earlier
	size_t sent = world_count(w, TOPIC_REPORT);
	assert_true(sent >= 13);
	assert_true(strncmp(parts_sent(w, 9), "5 6 7 8", 7) == 0);
	world_tell_parts(w, id, 9);
	assert_string_equal(parts_sent(w, sent), "9");
	world_run(w, 1000);
	world_answer(w, KIND_NO_ACTION)->r.acked_report_id = id;
	world_answer_send(w);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_true(doer.gathered == 1 && doer.stopped == 1);
}

static void after_a_power_cut_only_the_rest_of_a_report_is_sent(void **state)
{
	struct world *w = *state;
	with_a_doer(w, false);
	world_ask(w, INFO_LOGS, NULL);
	uint64_t id = w->core.state.op.report_id;
	world_power_cut(w);
	with_a_doer(w, true);
	size_t sent = world_count(w, TOPIC_REPORT);
	world_sign_in(w);
	world_run(w, 3000);
	assert_string_equal(parts_sent(w, sent), ""); // first the server says what it holds
	world_tell_parts(w, id, 3);
	assert_string_equal(parts_sent(w, sent), "3 4 5 6");
	assert_int_equal(w->core.state.op.report_id, id);
	// A server that came back from an older store holds less than it said: from there again.
	world_tell_parts(w, id, 1);
	sent = world_count(w, TOPIC_REPORT);
	world_run(w, 20000);
	assert_true(strncmp(parts_sent(w, sent), "1 2 3 4", 7) == 0);
}

static void parts_of_another_making_are_never_mixed(void **state)
{
	struct world *w = *state;
	with_a_doer(w, false);
	world_ask(w, INFO_LOGS, NULL);
	uint64_t id = w->core.state.op.report_id;
	world_power_cut(w);
	with_a_doer(w, false); // what was kept is gone: it is gathered anew
	size_t sent = world_count(w, TOPIC_REPORT);
	world_sign_in(w);
	world_tell_parts(w, id, 3);
	world_run(w, 5000);
	assert_int_equal(w->core.state.op.report_id, id + 1);
	assert_true(strncmp(parts_sent(w, sent), "0 1 2 3", 7) == 0);
}

static void a_report_goes_only_to_brokers_that_the_settings_allow(void **state)
{
	struct world *w = *state;
	struct {
		struct address to;
		bool allowed;
	} cases[] = {
		{{.broker_id = "d",
			 .host = "data-1.example",
			 .ip = "",
			 .port = 8883,
			 .topic = "helio/v1/inbox/f1"},
			true},
		{{.broker_id = "d", .host = "", .ip = "10.0.0.9", .port = 8884, .topic = ""}, true},
		{{.broker_id = "d", .host = "", .ip = "10.0.0.9", .port = 8885, .topic = ""},
			false},
		{{.broker_id = "d", .host = "evil.example", .ip = "", .port = 8883, .topic = ""},
			false},
		{{.broker_id = "d",
			 .host = "data-1.example",
			 .ip = "6.6.6.6",
			 .port = 8883,
			 .topic = ""},
			false},
		{{.broker_id = "d",
			 .host = "data-1.example",
			 .ip = "",
			 .port = 8883,
			 .topic = "helio/v1/inbox/f2"},
			false},
	};
	unsigned expected = 0;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_ask(w, INFO_HOLDINGS, &cases[i].to);
		expected += cases[i].allowed ? 1 : 0;
		assert_int_equal(w->elsewhere, expected);
		assert_int_equal(
			w->core.state.op.status, cases[i].allowed ? OP_RUNNING : OP_REFUSED);
		world_run(w, 1000);
		expected = w->elsewhere;
		assert_int_equal(world_count(w, TOPIC_REPORT), 0);
	}
}

// ---- retrieve

static void a_want_is_repeated_under_its_id_until_it_is_granted(void **state)
{
	struct world *w = *state;
	world_retrieve(w);
	uint64_t id = world_want(w).fetch->request_id;
	world_run(w, 40000);
	assert_true(world_count(w, TOPIC_WANT) >= 3);
	assert_int_equal(world_want(w).fetch->request_id, id);
	assert_int_equal(w->fetches, 0);
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 1);
	size_t wants = world_count(w, TOPIC_WANT);
	world_run(w, 5000);
	assert_int_equal(world_count(w, TOPIC_WANT), wants);
}

// Started anew, the server took nothing of what named its boot before.
static void a_want_is_said_again_to_a_server_that_started_anew(void **state)
{
	struct world *w = *state;
	world_retrieve(w);
	uint64_t id = world_want(w).fetch->request_id;
	world_no_action(w);
	assert_int_equal(world_count(w, TOPIC_WANT), 1);
	w->boot.b[0] ^= 1;
	world_next_beat(w);
	world_no_action(w);
	assert_int_equal(world_count(w, TOPIC_WANT), 2);
	struct want again = world_want(w);
	assert_int_equal(again.fetch->request_id, id);
	assert_memory_equal(&again.boot, &w->boot, sizeof w->boot);
}

static void a_look_at_its_own_files_is_told_while_it_lasts(void **state)
{
	struct world *w = *state;
	struct heartbeat h = world_next_beat(w);
	assert_int_equal(h.holdings->items[0].looked_mb, 0);
	assert_string_equal(h.op->detail, "");
	w->looked_bytes = UINT64_C(1700) * 1024 * 1024 + 5;
	world_no_action(w);
	h = world_next_beat(w);
	assert_int_equal(h.holdings->items[0].looked_mb, 1700);
	assert_int_equal(h.op->percent, 0);
	assert_string_equal(h.op->detail, "looks through its own files: 1700 MB so far");
	w->looked_bytes = 0;
	agent_fetch_bytes(&w->core, 77, false);
	world_no_action(w);
	h = world_next_beat(w);
	assert_int_equal(h.holdings->items[0].looked_mb, 0);
	assert_string_equal(h.op->detail, "77 bytes to come");
}

static void a_package_is_done_when_it_is_complete_and_the_lease_is_released(void **state)
{
	struct world *w = *state;
	agent_fetch_progress(&w->core, 120, 300);
	struct heartbeat h = world_next_beat(w);
	assert_int_equal(h.op->percent, 40);
	assert_int_equal(h.op->status, OP_RUNNING);
	assert_int_equal(h.holdings->item_count, 1);
	assert_int_equal(h.holdings->items[0].lease, 77);
	assert_int_equal(h.holdings->items[0].chunks_have, 120);
	assert_false(h.holdings->items[0].complete);
	w->package_complete = true;
	agent_fetch_done(&w->core, w->now, &w->package);
	world_no_action(w);
	h = world_next_beat(w);
	assert_int_equal(h.op->status, OP_DONE);
	assert_int_equal(h.op->percent, 100);
	assert_true(h.holdings->items[0].complete);
	assert_int_equal(h.holdings->items[0].lease, 0);
	struct want want = world_want(w);
	assert_non_null(want.release);
	assert_int_equal(want.release->lease, 77);
	world_grant(w, NULL);
	size_t wants = world_count(w, TOPIC_WANT);
	world_run(w, 60000);
	assert_int_equal(world_count(w, TOPIC_WANT), wants);
}

static void what_is_held_is_only_switched_to(void **state)
{
	struct world *w = *state;
	w->package_complete = true;
	world_retrieve(w);
	assert_int_equal(w->activations, 1);
	assert_int_equal(w->fetches, 0);
	assert_int_equal(world_count(w, TOPIC_WANT), 0);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	world_run(w, 1000);
	w->activate_fails = true;
	world_retrieve(w);
	assert_int_equal(w->core.state.op.status, OP_FAILED);
}

static void a_switch_that_takes_time_is_asked_again_until_it_is_done(void **state)
{
	struct world *w = *state;
	w->package_complete = w->activate_later = true;
	world_retrieve_kind(w, PACKAGE_SOFTWARE);
	uint64_t op = w->core.state.op.op_id;
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
	unsigned asked = w->activations;
	world_run(w, 2000);
	assert_true(w->activations > asked);
	agent_switch_progress(&w->core, 72, "trial: 1 of 3 heartbeats answered");
	world_no_action(w);
	struct heartbeat h = world_next_beat(w);
	assert_string_equal(h.status->state, "updating");
	assert_int_equal(h.op->percent, 72);
	assert_string_equal(h.op->detail, "trial: 1 of 3 heartbeats answered");
	world_power_cut(w);
	world_sign_in(w);
	assert_int_equal(w->core.state.op.op_id, op);
	assert_false(op_status_is_final(w->core.state.op.status));
	w->activate_later = false;
	agent_switch_progress(&w->core, 100, "confirmed");
	world_run(w, 1000);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_string_equal(w->core.state.op.detail, "confirmed");
	assert_int_equal(w->fetches, 0);
}

static void a_switch_that_fails_ends_the_operation_and_a_cancel_gives_it_up(void **state)
{
	struct world *w = *state;
	w->package_complete = w->activate_later = true;
	world_retrieve_kind(w, PACKAGE_SOFTWARE);
	uint64_t op = w->core.state.op.op_id;
	char number[24];
	(void)snprintf(number, sizeof number, "%llu", (unsigned long long)op);
	world_run(w, 1000);
	world_execute(w, "cancel", number);
	assert_int_equal(w->switch_cancelled, op);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	world_run(w, 1000);
	world_retrieve_kind(w, PACKAGE_SOFTWARE);
	w->activate_later = false;
	w->activate_fails = true;
	world_run(w, 1000);
	assert_int_equal(w->core.state.op.status, OP_FAILED);
}

static void software_that_failed_here_is_not_even_fetched(void **state)
{
	struct world *w = *state;
	w->refusal = "reason=penalty: app 2 failed once";
	world_retrieve_kind(w, PACKAGE_SOFTWARE);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_string_equal(w->core.state.op.detail, w->refusal);
	assert_int_equal(world_count(w, TOPIC_WANT), 0);
	world_run(w, 1000);
	world_retrieve_kind(w, PACKAGE_IMAGES); // pictures are not asked about
	assert_int_equal(world_count(w, TOPIC_WANT), 1);
}

static void a_retrieve_goes_on_after_a_power_cut(void **state)
{
	struct world *w = *state;
	uint64_t op = w->core.state.op.op_id;
	world_power_cut(w);
	world_sign_in(w);
	assert_int_equal(w->core.state.op.op_id, op);
	assert_non_null(world_want(w).fetch);
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 2);
}

static void grant_not_now(struct grant *g)
{
	g->granted = false;
	g->from = NULL;
	g->reason = "busy";
	g->retry_after_ms = 5000;
}
static void grant_for_another_request(struct grant *g)
{
	g->request_id++;
}
static void grant_for_another_package(struct grant *g)
{
	g->package.b[0] ^= 1;
}
static void grant_of_another_publisher(struct grant *g)
{
	g->publisher = "other";
}
static void grant_seen_before(struct grant *g)
{
	g->seq = 1;
}

static void grant_never(struct grant *g)
{
	grant_not_now(g);
	g->reason = "withdrawn: it is not given any more";
	g->retry_after_ms = 0;
}

static void a_grant_that_will_never_come_ends_the_operation(void **state)
{
	struct world *w = *state;
	agent_fetch_broker_failed(&w->core, w->now, "refused");
	world_grant(w, grant_never);
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_string_equal(w->core.state.op.detail, "withdrawn: it is not given any more");
	size_t wants = world_count(w, TOPIC_WANT);
	world_run(w, 500); // the release of the lease is said, and nothing is asked
	assert_null(world_want(w).fetch);
	assert_in_range(world_count(w, TOPIC_WANT), wants, wants + 1);
}

static void grants_that_do_not_answer_the_want_are_ignored(void **state)
{
	struct world *w = *state;
	void (*cases[])(struct grant *) = {grant_for_another_request, grant_for_another_package,
		grant_of_another_publisher, grant_seen_before};
	world_retrieve(w);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_grant(w, cases[i]);
		assert_int_equal(w->fetches, 0);
	}
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 1);
}

static void a_refused_grant_is_asked_for_again_later_as_a_new_request(void **state)
{
	struct world *w = *state;
	world_retrieve(w);
	uint64_t first = world_want(w).fetch->request_id;
	world_grant(w, grant_not_now);
	size_t wants = world_count(w, TOPIC_WANT);
	world_run(w, 4900);
	assert_int_equal(world_count(w, TOPIC_WANT), wants);
	world_run(w, 200);
	assert_int_equal(world_count(w, TOPIC_WANT), wants + 1);
	assert_true(world_want(w).fetch->request_id > first);
}

static void a_grant_that_comes_unasked_after_a_later_is_taken_and_names_no_old_complaint(
	void **state)
{
	struct world *w = *state;
	struct digest missing = sha256("a", 1);
	agent_fetch_missing(&w->core, w->now, &missing, 1);
	world_grant(w, grant_not_now);
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 2);
	agent_fetch_broker_failed(&w->core, w->now, "refused");
	world_run(w, 5000);
	assert_int_equal(world_want(w).fetch->missing_count, 0);
}

static void a_grant_repeated_after_its_broker_failed_does_not_cut_the_wait_short(void **state)
{
	struct world *w = *state;
	world_retrieve(w);
	for (int i = 0; i < 2; i++) {
		world_grant(w, NULL);
		agent_fetch_broker_failed(&w->core, w->now, "refused");
	}
	assert_int_equal(w->core.retrieve.phase, RETRIEVE_LATER);
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 2);
}

static void grant_slower(struct grant *g)
{
	g->rate_bytes_per_s = 5000;
}

static void grant_of_another_lease(struct grant *g)
{
	g->lease = 78;
}

static void grant_of_another_broker(struct grant *g)
{
	g->from->broker_id = "data.2";
}

static void a_grant_that_comes_twice_begins_one_fetch(void **state)
{
	struct world *w = *state;
	world_retrieve(w);
	world_grant(w, NULL);
	agent_fetch_progress(&w->core, 120, 300);
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 1);
	world_grant(w, grant_slower);
	assert_int_equal(w->fetches, 1);
	assert_int_equal(w->pace_rate, 5000);
	assert_int_equal(world_next_beat(w).holdings->items[0].chunks_have, 120);
	// Another one is no repeat: the server moved it.
	world_grant(w, grant_of_another_lease);
	assert_int_equal(w->fetches, 2);
	world_grant(w, grant_of_another_broker);
	assert_int_equal(w->fetches, 3);
}

static void a_broker_that_failed_and_missing_objects_go_back_to_the_server(void **state)
{
	struct world *w = *state;
	struct digest missing[2] = {sha256("a", 1), sha256("b", 1)};
	agent_fetch_broker_failed(&w->core, w->now, "refused");
	assert_string_equal(world_want(w).fetch->failed_broker, "data.1");
	world_grant(w, NULL);
	agent_fetch_missing(&w->core, w->now, missing, 2);
	world_run(w, 5000);
	struct want want = world_want(w);
	assert_int_equal(want.fetch->missing_count, 2);
	assert_true(digest_equal(&want.fetch->missing_objects[1], &missing[1]));
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
}

static void brokers_that_always_fail_end_the_operation(void **state)
{
	struct world *w = *state;
	world_retrieve(w);
	assert_int_equal(w->core.state.op.status, OP_ACCEPTED); // S001-c36: not begun yet
	for (int i = 0; i < 20 && w->core.state.op.status < OP_DONE; i++) {
		world_grant(w, NULL);
		assert_int_equal(w->core.state.op.status, OP_RUNNING);
		agent_fetch_broker_failed(&w->core, w->now, "refused");
		world_run(w, 40000);
		w->now.mono.ms += 1;
	}
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_non_null(strstr(w->core.state.op.detail, "reason=broker"));
}

static void a_failed_fetch_fails_the_operation_with_its_word(void **state)
{
	struct world *w = *state;
	agent_fetch_failed(&w->core, w->now, "no-space", "1000 bytes are needed");
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_non_null(strstr(w->core.state.op.detail, "reason=no-space"));
	assert_int_equal(world_want(w).release->outcome, OP_FAILED);
}

// Half of a character is in no message: a device that cut one could not even say that it lives.
static void C11_a_long_reason_is_told_wherever_it_is_cut(void **state)
{
	struct world *w = *state;
	char text[1000];
	for (size_t before = 0; before < 4; before++) {
		memset(text, 'a', before);
		for (size_t at = before; at < sizeof text - 4; at += 4)
			memcpy(text + at, "\U0001f600", 5);
		agent_fetch_failed(&w->core, w->now, "io", text);
		assert_int_equal(w->core.state.op.status, OP_FAILED);
		struct heartbeat h = world_next_beat(w);
		assert_non_null(h.op);
		assert_int_equal(h.op->status, OP_FAILED);
		assert_true(strlen(h.op->detail) > 500);
		world_retrieve(w);
		world_grant(w, NULL);
	}
}

// What its manifest says against this device no second try changes.
static void a_package_that_does_not_fit_is_refused_at_once_and_the_next_one_fetched(void **state)
{
	struct world *w = *state;
	static struct package_ref two[2] = {
		{.package = {{1}}, .publisher = "pub", .kind = PACKAGE_SOFTWARE, .name = "app"},
		{.package = {{2}}, .publisher = "pub", .kind = PACKAGE_IMAGES, .name = "art"}};
	struct retrieve_information r = {.packages = two, .package_count = 2};
	agent_fetch_failed(&w->core, w->now, "no-space", "the first one ends");
	world_run(w, 1000);
	world_answer_retrieve(w, &r);
	world_answer_send(w);
	w->package = two[0].package;
	world_grant(w, NULL);
	agent_fetch_failed(&w->core, w->now, "hw-class", "the package is for other hardware");
	assert_false(op_status_is_final(w->core.state.op.status));
	assert_true(digest_equal(&world_want(w).fetch->package, &two[1].package));
	w->package = two[1].package;
	world_grant(w, NULL);
	agent_fetch_done(&w->core, w->now, &two[1].package);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_string_equal(
		w->core.state.op.detail, "reason=hw-class the package is for other hardware");
}

static void the_rate_of_a_response_reaches_the_fetch(void **state)
{
	struct world *w = *state;
	world_run(w, 1000);
	world_answer(w, KIND_NO_ACTION)->r.rate_bytes_per_s = 2000000;
	w->answer.r.hold = true;
	world_answer_send(w);
	assert_int_equal(w->pace_rate, 2000000);
	assert_true(w->pace_hold);
}

static void an_interval_is_an_operation_of_its_own(void **state)
{
	struct world *w = *state;
	struct retrieve_information r = {.heartbeat_interval_ms = 300};
	world_answer_retrieve(w, &r);
	world_answer_send(w);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_int_equal(w->core.grid.interval_ms, 300);
	world_power_cut(w);
	assert_int_equal(w->core.grid.interval_ms, 300); // kept over a start
}

static void command_envelope(
	struct world *w, const char *client, struct sign_key *key, struct buf *out)
{
	SCOPED_BUF struct buf payload;
	struct execute_command e = {.verb = "show", .args = (const char *[]){"x"}, .arg_count = 1};
	struct signed_command s = {.client_id = client, .command = &e};
	buf_init(&payload, LIMIT_ENVELOPE);
	assert_int_equal(signed_command_encode(&s, &payload), ERR_OK);
	assert_int_equal(envelope_make(PURPOSE_COMMAND, buf_bytes(&payload), &key, 1, out), ERR_OK);
	(void)w;
}

static void a_fetched_command_runs_only_with_the_release_signature_and_once(void **state)
{
	struct world *w = *state;
	SCOPED_BUF struct buf good;
	SCOPED_BUF struct buf forged;
	struct command_ref ref = {.publisher = "pub", .sha256 = sha256("e", 1)};
	struct retrieve_information r = {.command = &ref};
	buf_init(&good, LIMIT_ENVELOPE);
	buf_init(&forged, LIMIT_ENVELOPE);
	command_envelope(w, "", w->online_key, &good);
	command_envelope(w, "", w->client_key, &forged);
	world_answer_retrieve(w, &r);
	world_answer_send(w);
	assert_int_equal(w->command_fetches, 1);
	agent_command_fetched(&w->core, w->now, w->command_op, ERR_OK, buf_bytes(&forged));
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_int_equal(w->commands, 0);
	world_run(w, 1000);
	world_answer_retrieve(w, &r);
	world_answer_send(w);
	agent_command_fetched(&w->core, w->now, w->command_op, ERR_OK, buf_bytes(&good));
	assert_int_equal(w->commands, 1);
	world_power_cut(w);
	world_sign_in(w);
	assert_int_equal(w->command_fetches, 2);
	assert_int_equal(w->core.state.op.status, OP_UNKNOWN);
}

// Loss, repetition and power cuts at random: each command runs at most once, and every one that was
// reported as done ran.
static void under_random_loss_and_cuts_every_command_runs_at_most_once(void **state)
{
	struct world *w = *state;
	w->command_answers_at_once = true;
	unsigned opened = 0, ran_before = 0;
	uint64_t current = 0;
	for (int i = 0; i < 2000; i++) {
		uint64_t dice;
		world_random(w, &dice, sizeof dice);
		w->sent_count = 0;
		world_run(w, 1000);
		if (w->sent_count == 0)
			continue;
		if (dice % 29 == 0) {
			world_power_off(w);
			world_power_on(w);
			world_sign_in(w);
		}
		if (dice % 5 == 0)
			continue; // the answer is lost
		struct heartbeat h = world_beat(w);
		if (h.session_id == 0)
			continue;
		bool seen = current != 0 && h.last_response_id >= current;
		bool finished =
			h.op != NULL && h.op->op_id == current && op_status_is_final(h.op->status);
		if (current == 0 || (seen && finished)) {
			current = w->response_id + 1;
			opened++;
		} else {
			w->response_id = current - 1; // the same one again
		}
		ran_before = w->commands;
		world_execute(w, "show", "x");
		assert_true(w->commands <= ran_before + 1);
		assert_true(w->commands <= opened);
	}
	assert_true(opened > 500);
	assert_int_equal(w->commands, opened);
}

#define CASE_FROM(f, setup) cmocka_unit_test_setup_teardown(f, setup, world_teardown)
#define CASE(f) CASE_FROM(f, world_setup)
#define IN_SESSION(f) CASE_FROM(f, world_setup_in_session)
#define FETCHING(f) CASE_FROM(f, world_setup_fetching)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SESSION(an_operation_is_on_disk_before_it_is_acknowledged_or_begun),
		IN_SESSION(a_resend_is_acknowledged_and_not_executed_again),
		IN_SESSION(a_resend_after_a_power_cut_is_not_executed_again),
		IN_SESSION(an_authentic_answer_that_is_not_understood_is_refused_by_its_id_once),
		IN_SESSION(a_command_that_was_interrupted_reports_failed_and_does_not_run_again),
		IN_SESSION(a_program_whose_end_nobody_saw_is_unknown),
		IN_SESSION(a_damaged_state_never_repeats_a_resent_command),
		IN_SESSION(a_damaged_state_is_trusted_again_when_the_server_waits_for_nothing),
		IN_SESSION(a_final_status_stays_in_every_beat_until_the_next_operation),
		IN_SESSION(a_running_command_is_busy),
		IN_SESSION(wrong_arguments_and_expired_commands_are_refused),
		IN_SESSION(resync_tells_everything_held),
		FETCHING(cancel_gives_up_what_is_open),
		IN_SESSION(a_report_is_repeated_under_its_id_until_the_server_acknowledged_it),
		IN_SESSION(a_report_goes_on_under_its_id_after_a_power_cut),
		IN_SESSION(logs_and_screenshots_are_refused_with_a_reason),
		IN_SESSION(a_report_in_parts_goes_on_behind_what_the_server_holds),
		IN_SESSION(after_a_power_cut_only_the_rest_of_a_report_is_sent),
		IN_SESSION(parts_of_another_making_are_never_mixed),
		IN_SESSION(a_report_goes_only_to_brokers_that_the_settings_allow),
		IN_SESSION(a_want_is_repeated_under_its_id_until_it_is_granted),
		IN_SESSION(a_want_is_said_again_to_a_server_that_started_anew),
		FETCHING(a_look_at_its_own_files_is_told_while_it_lasts),
		FETCHING(a_package_is_done_when_it_is_complete_and_the_lease_is_released),
		IN_SESSION(what_is_held_is_only_switched_to),
		IN_SESSION(a_switch_that_takes_time_is_asked_again_until_it_is_done),
		IN_SESSION(a_switch_that_fails_ends_the_operation_and_a_cancel_gives_it_up),
		IN_SESSION(software_that_failed_here_is_not_even_fetched),
		FETCHING(a_retrieve_goes_on_after_a_power_cut),
		FETCHING(a_grant_that_will_never_come_ends_the_operation),
		IN_SESSION(grants_that_do_not_answer_the_want_are_ignored),
		IN_SESSION(a_refused_grant_is_asked_for_again_later_as_a_new_request),
		FETCHING(
			a_grant_that_comes_unasked_after_a_later_is_taken_and_names_no_old_complaint),
		IN_SESSION(a_grant_repeated_after_its_broker_failed_does_not_cut_the_wait_short),
		IN_SESSION(a_grant_that_comes_twice_begins_one_fetch),
		FETCHING(a_broker_that_failed_and_missing_objects_go_back_to_the_server),
		IN_SESSION(brokers_that_always_fail_end_the_operation),
		FETCHING(a_failed_fetch_fails_the_operation_with_its_word),
		FETCHING(C11_a_long_reason_is_told_wherever_it_is_cut),
		FETCHING(a_package_that_does_not_fit_is_refused_at_once_and_the_next_one_fetched),
		FETCHING(the_rate_of_a_response_reaches_the_fetch),
		IN_SESSION(an_interval_is_an_operation_of_its_own),
		IN_SESSION(a_fetched_command_runs_only_with_the_release_signature_and_once),
		IN_SESSION(under_random_loss_and_cuts_every_command_runs_at_most_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
