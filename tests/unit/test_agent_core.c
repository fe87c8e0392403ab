// The agent's core against a server in memory: which answers are taken, what is acknowledged, when
// beats leave, and that an operation is executed once, whatever is lost, repeated or cut.
#include "tests/unit/agent_helper.h"

// ---- sign-in

static void the_first_heartbeat_is_a_signed_sign_in(void **state)
{
	struct world *w = *state;
	agent_link_up(&w->core, w->now);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.session_id, 0);
	assert_non_null(h.sign_in);
	assert_non_null(h.status);
	assert_int_equal(h.sign_in->boot_counter, 1);
	assert_true(w->saves >= 1); // the counter was on disk before it was used
	assert_memory_equal(&h.sign_in->public_key, sign_key_public(w->client_key), 32);
}

static void nothing_is_signed_while_the_boot_counter_cannot_be_stored(void **state)
{
	struct world *w = *state;
	w->save_fails = true;
	agent_link_up(&w->core, w->now);
	assert_int_equal(world_count(w, TOPIC_HB), 0);
	w->save_fails = false;
	world_run(w, 10000);
	assert_true(world_count(w, TOPIC_HB) >= 1);
}

static void an_offer_begins_a_session_and_the_first_beat_follows_at_once(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.session_id, w->session_id);
	assert_int_equal(h.seq, 1);
	assert_int_equal(h.ack, ACK_NOTHING);
	assert_memory_equal(&h.boot, &w->boot, sizeof h.boot);
	assert_non_null(h.holdings);
	assert_true(h.holdings->full);
	assert_int_equal(h.ip_address.size, 4);
}

static void the_lineage_token_is_stored_before_the_session_begins(void **state)
{
	struct world *w = *state;
	agent_link_up(&w->core, w->now);
	w->save_fails = true;
	world_offer(w, NULL);
	assert_false(w->core.session.current);
	w->save_fails = false;
	world_run(w, 5000);
	world_offer(w, NULL);
	assert_true(w->core.session.current);
	world_power_off(w);
	world_power_on(w);
	agent_link_up(&w->core, w->now);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.sign_in->lineage.b[0], w->session_id);
	assert_true(h.sign_in->boot_counter >= 2);
}

static void offer_for_another(struct session_offer *o)
{
	o->principal = "f2";
}
static void offer_of_another_sign_in(struct session_offer *o)
{
	o->sign_in_sha256.b[0] ^= 1;
}
static void offer_with_a_session_that_does_not_rise(struct session_offer *o)
{
	o->session_id = 1;
}
static void offer_of_an_unknown_key(struct session_offer *o)
{
	o->server_key_id.b[0] ^= 1;
}

static void offers_that_are_not_for_this_sign_in_are_refused(void **state)
{
	struct world *w = *state;
	void (*cases[])(struct session_offer *) = {
		offer_for_another, offer_of_another_sign_in, offer_of_an_unknown_key};
	agent_link_up(&w->core, w->now);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		world_offer(w, cases[i]);
		assert_false(w->core.session.current);
	}
	world_offer(w, NULL);
	assert_true(w->core.session.current);
	// A lower session never becomes current: sign in again and be offered an old one.
	world_power_off(w);
	world_power_on(w);
	agent_link_up(&w->core, w->now);
	world_offer(w, offer_with_a_session_that_does_not_rise);
	assert_false(w->core.session.current);
}

static void an_offer_serves_once_and_lives_a_minute(void **state)
{
	struct world *w = *state;
	agent_link_up(&w->core, w->now);
	w->now.mono.ms += OFFER_LIFE_MS + 1;
	world_offer(w, NULL);
	assert_false(w->core.session.current);
	agent_tick(&w->core, w->now);
	world_offer(w, NULL);
	assert_true(w->core.session.current);
	size_t beats = world_count(w, TOPIC_HB);
	assert_false(w->core.session.asking);
	(void)beats;
}

// ---- which responses are taken

static void a_response_is_acknowledged_by_the_next_beat(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_no_action(w);
	world_run(w, 1000);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.ack, ACK_RESPONSE);
	assert_int_equal(h.last_response_id, w->response_id);
	assert_true(h.holdings == NULL || !h.holdings->full);
}

static void retained_answers_are_refused(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_RESPONSE);
	world_sign_in(w);
	world_answer_init(w, &x, KIND_NO_ACTION);
	world_answer_encode(w, &x, &out);
	struct topic topic = topic_of(TOPIC_RSP, WORLD_ID);
	agent_message(&w->core, w->now, topic.s, strlen(topic.s), buf_bytes(&out), true);
	assert_false(w->core.any_response);
	assert_int_equal(w->core.counters.refused, 1);
}

static void every_flipped_bit_of_a_response_is_refused_and_asks_for_a_resend(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_RESPONSE);
	world_sign_in(w);
	world_answer_init(w, &x, KIND_NO_ACTION);
	world_answer_encode(w, &x, &out);
	for (size_t bit = 0; bit < out.size * 8; bit++) {
		out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		world_deliver(w, TOPIC_RSP, &out);
		out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_false(w->core.any_response);
	}
	world_run(w, 1000);
	assert_int_equal(world_beat(w).ack, ACK_RESEND);
	world_no_action(w);
	world_run(w, 1000);
	assert_int_equal(world_beat(w).ack, ACK_RESPONSE);
}

static void answers_to_other_beats_clients_and_sessions_are_refused(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.in_reply_to_seq = 99;
	world_answer_send(w, &x);
	assert_false(w->core.any_response);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.client_id = "f2";
	world_answer_send(w, &x);
	assert_false(w->core.any_response);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.session_id--;
	world_answer_send(w, &x);
	assert_false(w->core.any_response);
	assert_int_equal(w->core.counters.refused, 3);
	world_no_action(w);
	assert_true(w->core.any_response);
}

static void an_answer_to_a_beat_before_the_last_sixteen_is_refused(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	world_no_action(w);
	world_answer_init(w, &x, KIND_EXECUTE_COMMAND);
	for (int i = 0; i < ANSWER_WINDOW_BEATS; i++)
		world_run(w, 1000);
	struct execute_command e = {.verb = "ping"};
	x.b.execute = &e;
	uint64_t refused = w->core.counters.refused;
	world_answer_send(w, &x);
	assert_int_equal(w->core.counters.refused, refused + 1);
	assert_int_equal(w->core.state.op.op_id, 0);
}

static void an_answer_older_than_the_age_limit_is_refused_even_when_the_wall_clock_is_set(
	void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	w->now.mono.ms += 10001;
	w->now.wall.ms -= 3600000;
	world_no_action(w);
	assert_false(w->core.any_response);
	w->now.mono.ms -= 1;
	world_no_action(w);
	assert_true(w->core.any_response);
}

static void a_second_different_answer_to_one_beat_is_refused_and_a_copy_is_ignored(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_RESPONSE);
	world_sign_in(w);
	world_answer_init(w, &x, KIND_EXECUTE_COMMAND);
	struct execute_command e = {.verb = "ping"};
	x.b.execute = &e;
	world_answer_encode(w, &x, &out);
	world_deliver(w, TOPIC_RSP, &out);
	assert_int_equal(w->core.counters.operations, 1);
	world_deliver(w, TOPIC_RSP, &out);
	assert_int_equal(w->core.counters.operations, 1);
	assert_int_equal(w->core.counters.refused, 0);
	world_no_action(w);
	assert_int_equal(w->core.counters.refused, 1);
}

static void an_older_operation_is_refused(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_execute(w, "ping", NULL);
	uint64_t last = w->core.last_response_id;
	world_run(w, 1000);
	w->response_id -= 2;
	world_execute(w, "ping", NULL);
	assert_int_equal(w->core.last_response_id, last);
	assert_int_equal(w->core.counters.operations, 1);
}

static void a_beat_without_answer_for_two_intervals_asks_for_a_resend(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_no_action(w);
	world_run(w, 1000);
	assert_int_equal(world_beat(w).ack, ACK_RESPONSE);
	world_run(w, 1000);
	assert_int_equal(world_beat(w).ack, ACK_RESPONSE);
	world_run(w, 1000);
	assert_int_equal(world_beat(w).ack, ACK_RESEND);
}

static void another_boot_is_learned_from_the_answer(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	w->boot.b[0] = 42;
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.reason.code = REASON_STALE_BOOT;
	world_answer_send(w, &x);
	world_run(w, 1000);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.boot.b[0], 42);
	// The beat before counted for nothing: everything held is told again.
	assert_true(h.holdings != NULL && h.holdings->full);
}

static void changes_ride_until_the_server_holds_them(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	assert_int_equal(agent_change(&w->core, "brightness", "7"), ERR_OK);
	world_no_action(w);
	world_run(w, 1000);
	assert_int_equal(world_beat(w).change_count, 1);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.acked_change_id = 1;
	world_answer_send(w, &x);
	world_run(w, 1000);
	assert_int_equal(world_beat(w).change_count, 0);
}

// ---- when beats leave

static void beats_keep_the_grid_for_ever_and_only_the_server_changes_it(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	world_no_action(w);
	world_run(w, 1000);
	int64_t first = w->core.grid.last.ms;
	for (int i = 0; i < 200; i++)
		world_pass(w, 337); // a loop that is late each time
	assert_int_equal((w->core.grid.last.ms - first) % 1000, 0);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.heartbeat_interval_ms = 300;
	world_answer_send(w, &x);
	size_t before = world_count(w, TOPIC_HB);
	world_run(w, 3000);
	size_t beats = world_count(w, TOPIC_HB) - before;
	assert_in_range(beats, 9, 11);
	assert_int_equal(world_beat(w).status->interval_ms, 300);
}

static void a_stall_makes_one_beat_and_not_a_burst(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_no_action(w);
	world_run(w, 2000);
	int64_t phase = w->core.grid.next.ms % 1000;
	size_t before = world_count(w, TOPIC_HB);
	world_pass(w, 10500);
	assert_int_equal(world_count(w, TOPIC_HB), before + 1);
	world_run(w, 1000);
	assert_int_equal(world_count(w, TOPIC_HB), before + 2);
	assert_int_equal(w->core.grid.next.ms % 1000, phase);
}

static void the_interval_of_a_response_is_obeyed_within_its_limits(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.heartbeat_interval_ms = HEARTBEAT_MIN_MS;
	world_answer_send(w, &x);
	assert_int_equal(w->core.grid.interval_ms, HEARTBEAT_MIN_MS);
	assert_int_equal(beat_interval_clamp(0), HEARTBEAT_MIN_MS);
	assert_int_equal(beat_interval_clamp(UINT64_MAX), HEARTBEAT_MAX_MS);
	world_run(w, 300);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.heartbeat_interval_ms = HEARTBEAT_MAX_MS;
	world_answer_send(w, &x);
	assert_int_equal(w->core.grid.interval_ms, HEARTBEAT_MAX_MS);
}

static void the_first_phase_is_random(void **state)
{
	struct world *w = *state;
	int64_t phases[8];
	unsigned different = 0;
	for (unsigned i = 0; i < 8; i++) {
		struct beat_grid g = {0};
		uint64_t random;
		world_random(w, &random, sizeof random);
		beat_grid_start(&g, w->now.mono, 1000, random);
		phases[i] = g.next.ms - w->now.mono.ms;
		assert_in_range(phases[i], 1, 1000);
		different += i > 0 && phases[i] != phases[i - 1] ? 1 : 0;
	}
	assert_true(different >= 5);
}

// ---- the host's sign of life, and signing in again

static void host_send(struct world *w, uint64_t counter)
{
	SCOPED_BUF struct buf out;
	struct host_state h = {.server = "server.1",
		.counter = counter,
		.boot = w->boot,
		.server_unix_ms = w->now.wall.ms,
		.period_ms = 1000,
		.up = true};
	struct topic topic = topic_of(TOPIC_HOST, "server.1");
	buf_init(&out, LIMIT_OFFER);
	assert_int_equal(host_state_encode(&h, &out), ERR_OK);
	assert_int_equal(seal_signature(&out, topic.s, w->online_key), ERR_OK);
	agent_message(&w->core, w->now, topic.s, strlen(topic.s), buf_bytes(&out), true);
}

static void the_host_is_fresh_only_while_its_counter_rises(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_UNKNOWN);
	host_send(w, 5);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_UNKNOWN);
	host_send(w, 5);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_UNKNOWN);
	host_send(w, 6);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_FRESH);
	w->now.mono.ms += 3001;
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_STALE);
	host_send(w, 6);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_STALE);
}

static void six_unanswered_beats_under_a_fresh_host_sign_in_again(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_no_action(w);
	uint64_t counter = 1;
	for (int i = 0; i < 6; i++) {
		world_run(w, 1000);
		host_send(w, counter++);
	}
	assert_int_equal(w->core.counters.sign_ins, 1);
	assert_int_equal(w->host_subscriptions, 1);
	world_run(w, 1500);
	host_send(w, counter++);
	world_run(w, 3000);
	assert_true(w->core.counters.sign_ins >= 2);
	// The old session goes on until the new one is there.
	assert_true(w->core.session.current);
}

static void unanswered_beats_without_a_fresh_host_keep_the_session(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_no_action(w);
	world_run(w, 20000);
	assert_int_equal(w->core.counters.sign_ins, 1);
}

static void a_session_ends_after_a_day_at_the_latest(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_no_action(w);
	w->core.session.since.ms -= SESSION_LIFE_MS;
	world_pass(w, 3000);
	assert_int_equal(w->core.counters.sign_ins, 2);
}

// ---- operations

static void an_operation_is_on_disk_before_it_is_acknowledged_or_begun(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	w->save_fails = true;
	world_execute(w, "show", "art-1");
	assert_int_equal(w->commands, 0);
	assert_int_equal(w->core.state.op.op_id, 0);
	world_run(w, 1000);
	assert_true(world_beat(w).last_response_id < w->response_id);
	w->save_fails = false;
	w->response_id--; // the server sends the same response again
	world_execute(w, "show", "art-1");
	assert_int_equal(w->commands, 1);
	assert_string_equal(w->arg, "art-1");
	world_run(w, 1000);
	assert_int_equal(world_beat(w).last_response_id, w->response_id);
}

static void a_resend_is_acknowledged_and_not_executed_again(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	w->command_answers_at_once = true;
	world_execute(w, "show", "art-1");
	for (int i = 0; i < 5; i++) {
		world_run(w, 1000);
		w->response_id--;
		world_execute(w, "show", "art-1");
	}
	assert_int_equal(w->commands, 1);
	assert_int_equal(w->core.counters.resends, 5);
	world_run(w, 1000);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.op->status, OP_DONE);
	assert_int_equal(h.last_response_id, w->response_id);
}

static void a_resend_after_a_power_cut_is_not_executed_again(void **state)
{
	struct world *w = *state;
	w->command_answers_at_once = true;
	world_sign_in(w);
	world_execute(w, "show", "art-1");
	uint64_t op = w->core.state.op.op_id;
	world_power_off(w);
	world_power_on(w);
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
	world_sign_in(w);
	world_execute(w, "clear-cache", NULL);
	assert_int_equal(w->commands, 1);
	world_power_off(w);
	world_power_on(w);
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
	world_sign_in(w);
	world_execute(w, "reboot", NULL);
	world_power_off(w);
	world_power_on(w);
	world_sign_in(w);
	assert_int_equal(world_beat(w).op->status, OP_UNKNOWN);
}

static void a_damaged_state_never_repeats_a_resent_command(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	w->core.state.uncertain = true;
	world_answer_init(w, &x, KIND_EXECUTE_COMMAND);
	struct execute_command e = {.verb = "reboot"};
	x.b.execute = &e;
	x.reason.code = REASON_RESEND_LOST;
	world_answer_send(w, &x);
	assert_int_equal(w->commands, 0);
	assert_int_equal(w->core.state.op.status, OP_UNKNOWN);
	world_run(w, 1000);
	world_execute(w, "reboot", NULL);
	assert_int_equal(w->commands, 1);
}

static void a_final_status_stays_in_every_beat_until_the_next_operation(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_execute(w, "ping", NULL);
	uint64_t op = w->core.state.op.op_id;
	for (int i = 0; i < 5; i++) {
		world_run(w, 1000);
		struct heartbeat h = world_beat(w);
		assert_int_equal(h.op->op_id, op);
		assert_int_equal(h.op->status, OP_DONE);
		world_no_action(w);
	}
	world_run(w, 1000);
	world_execute(w, "ping", NULL);
	world_run(w, 1000);
	assert_true(world_beat(w).op->op_id > op);
}

static void a_running_command_is_busy(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_execute(w, "show", "art-1");
	world_run(w, 1000);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.ack, ACK_BUSY);
	assert_int_equal(h.op->status, OP_RUNNING);
	struct command_result r = {.status = OP_DONE, .detail = "rc=0"};
	agent_command_done(&w->core, w->now, w->command_op, &r);
	world_no_action(w);
	world_run(w, 1000);
	assert_int_equal(world_beat(w).ack, ACK_RESPONSE);
}

static void wrong_arguments_and_expired_commands_are_refused(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	world_execute(w, "show", NULL);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	world_run(w, 1000);
	world_answer_init(w, &x, KIND_EXECUTE_COMMAND);
	struct execute_command e = {.verb = "pause", .expires_unix_ms = w->now.wall.ms - 1};
	x.b.execute = &e;
	world_answer_send(w, &x);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_int_equal(w->commands, 0);
}

static void resync_tells_everything_held(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_no_action(w);
	world_run(w, 1000);
	assert_true(world_beat(w).holdings == NULL);
	world_execute(w, "resync", NULL);
	world_run(w, 1000);
	struct heartbeat h = world_beat(w);
	assert_non_null(h.holdings);
	assert_true(h.holdings->full);
	assert_int_equal(h.op->status, OP_DONE);
	world_no_action(w);
	world_run(w, 1000);
	assert_null(world_beat(w).holdings);
}

static void cancel_gives_up_what_is_open(void **state)
{
	struct world *w = *state;
	char text[32];
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
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
	struct world_answer x;
	struct report r;
	world_sign_in(w);
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
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.acked_report_id = id;
	world_answer_send(w, &x);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	size_t reports = world_count(w, TOPIC_REPORT);
	world_run(w, 100000);
	assert_int_equal(world_count(w, TOPIC_REPORT), reports);
}

static void a_report_goes_on_under_its_id_after_a_power_cut(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_ask(w, INFO_USAGE, NULL);
	uint64_t id = w->core.state.op.report_id;
	world_power_off(w);
	world_power_on(w);
	size_t before = world_count(w, TOPIC_REPORT);
	world_sign_in(w);
	assert_int_equal(world_count(w, TOPIC_REPORT), before + 1);
	assert_int_equal(w->core.state.op.report_id, id);
}

static void logs_and_screenshots_are_refused_with_a_reason(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_ask(w, INFO_LOGS, NULL);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_non_null(strstr(w->core.state.op.detail, "unsupported"));
	world_run(w, 1000);
	world_ask(w, INFO_SCREENSHOT, NULL);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
	assert_int_equal(world_count(w, TOPIC_REPORT), 0);
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
	world_sign_in(w);
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
	world_sign_in(w);
	world_retrieve(w);
	uint64_t id = world_want(w).fetch->request_id;
	world_run(w, 10000);
	assert_true(world_count(w, TOPIC_WANT) >= 3);
	assert_int_equal(world_want(w).fetch->request_id, id);
	assert_int_equal(w->fetches, 0);
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 1);
	size_t wants = world_count(w, TOPIC_WANT);
	world_run(w, 5000);
	assert_int_equal(world_count(w, TOPIC_WANT), wants);
}

static void a_package_is_done_when_it_is_complete_and_the_lease_is_released(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
	agent_fetch_progress(&w->core, 120, 300);
	world_run(w, 1000);
	struct heartbeat h = world_beat(w);
	assert_int_equal(h.op->percent, 40);
	assert_int_equal(h.op->status, OP_RUNNING);
	assert_int_equal(h.holdings->item_count, 1);
	assert_int_equal(h.holdings->items[0].lease, 77);
	assert_int_equal(h.holdings->items[0].chunks_have, 120);
	assert_false(h.holdings->items[0].complete);
	w->package_complete = true;
	agent_fetch_done(&w->core, w->now, &w->package);
	world_no_action(w);
	world_run(w, 1000);
	h = world_beat(w);
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
	world_sign_in(w);
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

static void a_retrieve_goes_on_after_a_power_cut(void **state)
{
	struct world *w = *state;
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
	uint64_t op = w->core.state.op.op_id;
	world_power_off(w);
	world_power_on(w);
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
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
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
	world_sign_in(w);
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
	world_sign_in(w);
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
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
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
	world_sign_in(w);
	world_retrieve(w);
	for (int i = 0; i < 2; i++) {
		world_grant(w, NULL);
		agent_fetch_broker_failed(&w->core, w->now, "refused");
	}
	assert_int_equal(w->core.retrieve.phase, RETRIEVE_LATER);
	world_grant(w, NULL);
	assert_int_equal(w->fetches, 2);
}

static void a_broker_that_failed_and_missing_objects_go_back_to_the_server(void **state)
{
	struct world *w = *state;
	struct digest missing[2] = {sha256("a", 1), sha256("b", 1)};
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
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
	world_sign_in(w);
	world_retrieve(w);
	for (int i = 0; i < 20 && w->core.state.op.status == OP_RUNNING; i++) {
		world_grant(w, NULL);
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
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
	agent_fetch_failed(&w->core, w->now, "no-space", "1000 bytes are needed");
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_non_null(strstr(w->core.state.op.detail, "reason=no-space"));
	assert_int_equal(world_want(w).release->outcome, OP_FAILED);
}

static void the_rate_of_a_response_reaches_the_fetch(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	world_sign_in(w);
	world_retrieve(w);
	world_grant(w, NULL);
	world_run(w, 1000);
	world_answer_init(w, &x, KIND_NO_ACTION);
	x.r.rate_bytes_per_s = 2000000;
	x.r.hold = true;
	world_answer_send(w, &x);
	assert_int_equal(w->pace_rate, 2000000);
	assert_true(w->pace_hold);
}

static void an_interval_is_an_operation_of_its_own(void **state)
{
	struct world *w = *state;
	struct world_answer x;
	struct retrieve_information r = {.heartbeat_interval_ms = 300};
	world_sign_in(w);
	world_answer_init(w, &x, KIND_RETRIEVE_INFORMATION);
	x.b.retrieve = &r;
	world_answer_send(w, &x);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_int_equal(w->core.grid.interval_ms, 300);
	world_power_off(w);
	world_power_on(w);
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
	struct world_answer x;
	SCOPED_BUF struct buf good;
	SCOPED_BUF struct buf forged;
	struct command_ref ref = {.publisher = "pub", .sha256 = sha256("e", 1)};
	struct retrieve_information r = {.command = &ref};
	buf_init(&good, LIMIT_ENVELOPE);
	buf_init(&forged, LIMIT_ENVELOPE);
	command_envelope(w, "", w->online_key, &good);
	command_envelope(w, "", w->client_key, &forged);
	world_sign_in(w);
	world_answer_init(w, &x, KIND_RETRIEVE_INFORMATION);
	x.b.retrieve = &r;
	world_answer_send(w, &x);
	assert_int_equal(w->command_fetches, 1);
	agent_command_fetched(&w->core, w->now, w->command_op, ERR_OK, buf_bytes(&forged));
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_int_equal(w->commands, 0);
	world_run(w, 1000);
	world_answer_init(w, &x, KIND_RETRIEVE_INFORMATION);
	x.b.retrieve = &r;
	world_answer_send(w, &x);
	agent_command_fetched(&w->core, w->now, w->command_op, ERR_OK, buf_bytes(&good));
	assert_int_equal(w->commands, 1);
	world_power_off(w);
	world_power_on(w);
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
	world_sign_in(w);
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

#define CASE(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_first_heartbeat_is_a_signed_sign_in),
		CASE(nothing_is_signed_while_the_boot_counter_cannot_be_stored),
		CASE(an_offer_begins_a_session_and_the_first_beat_follows_at_once),
		CASE(the_lineage_token_is_stored_before_the_session_begins),
		CASE(offers_that_are_not_for_this_sign_in_are_refused),
		CASE(an_offer_serves_once_and_lives_a_minute),
		CASE(a_response_is_acknowledged_by_the_next_beat),
		CASE(retained_answers_are_refused),
		CASE(every_flipped_bit_of_a_response_is_refused_and_asks_for_a_resend),
		CASE(answers_to_other_beats_clients_and_sessions_are_refused),
		CASE(an_answer_to_a_beat_before_the_last_sixteen_is_refused),
		CASE(an_answer_older_than_the_age_limit_is_refused_even_when_the_wall_clock_is_set),
		CASE(a_second_different_answer_to_one_beat_is_refused_and_a_copy_is_ignored),
		CASE(an_older_operation_is_refused),
		CASE(a_beat_without_answer_for_two_intervals_asks_for_a_resend),
		CASE(another_boot_is_learned_from_the_answer),
		CASE(changes_ride_until_the_server_holds_them),
		CASE(beats_keep_the_grid_for_ever_and_only_the_server_changes_it),
		CASE(a_stall_makes_one_beat_and_not_a_burst),
		CASE(the_interval_of_a_response_is_obeyed_within_its_limits),
		CASE(the_first_phase_is_random),
		CASE(the_host_is_fresh_only_while_its_counter_rises),
		CASE(six_unanswered_beats_under_a_fresh_host_sign_in_again),
		CASE(unanswered_beats_without_a_fresh_host_keep_the_session),
		CASE(a_session_ends_after_a_day_at_the_latest),
		CASE(an_operation_is_on_disk_before_it_is_acknowledged_or_begun),
		CASE(a_resend_is_acknowledged_and_not_executed_again),
		CASE(a_resend_after_a_power_cut_is_not_executed_again),
		CASE(a_command_that_was_interrupted_reports_failed_and_does_not_run_again),
		CASE(a_program_whose_end_nobody_saw_is_unknown),
		CASE(a_damaged_state_never_repeats_a_resent_command),
		CASE(a_final_status_stays_in_every_beat_until_the_next_operation),
		CASE(a_running_command_is_busy),
		CASE(wrong_arguments_and_expired_commands_are_refused),
		CASE(resync_tells_everything_held),
		CASE(cancel_gives_up_what_is_open),
		CASE(a_report_is_repeated_under_its_id_until_the_server_acknowledged_it),
		CASE(a_report_goes_on_under_its_id_after_a_power_cut),
		CASE(logs_and_screenshots_are_refused_with_a_reason),
		CASE(a_report_goes_only_to_brokers_that_the_settings_allow),
		CASE(a_want_is_repeated_under_its_id_until_it_is_granted),
		CASE(a_package_is_done_when_it_is_complete_and_the_lease_is_released),
		CASE(what_is_held_is_only_switched_to),
		CASE(a_retrieve_goes_on_after_a_power_cut),
		CASE(a_grant_that_will_never_come_ends_the_operation),
		CASE(grants_that_do_not_answer_the_want_are_ignored),
		CASE(a_refused_grant_is_asked_for_again_later_as_a_new_request),
		CASE(a_grant_that_comes_unasked_after_a_later_is_taken_and_names_no_old_complaint),
		CASE(a_grant_repeated_after_its_broker_failed_does_not_cut_the_wait_short),
		CASE(a_broker_that_failed_and_missing_objects_go_back_to_the_server),
		CASE(brokers_that_always_fail_end_the_operation),
		CASE(a_failed_fetch_fails_the_operation_with_its_word),
		CASE(the_rate_of_a_response_reaches_the_fetch),
		CASE(an_interval_is_an_operation_of_its_own),
		CASE(a_fetched_command_runs_only_with_the_release_signature_and_once),
		CASE(under_random_loss_and_cuts_every_command_runs_at_most_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
