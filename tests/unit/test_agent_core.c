// The agent's core against a server in memory: which answers are taken, what is acknowledged, and
// when beats leave. What an answer makes it do is in test_agent_operations.c.
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
	world_power_cut(w);
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
	world_power_cut(w);
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
	world_no_action(w);
	struct heartbeat h = world_next_beat(w);
	assert_int_equal(h.ack, ACK_RESPONSE);
	assert_int_equal(h.last_response_id, w->response_id);
	assert_true(h.holdings == NULL || !h.holdings->full);
}

static void retained_answers_are_refused(void **state)
{
	struct world *w = *state;
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_RESPONSE);
	world_answer(w, KIND_NO_ACTION);
	world_answer_encode(w, &out);
	struct topic topic = topic_of(TOPIC_RSP, WORLD_ID);
	agent_message(&w->core, w->now, topic.s, strlen(topic.s), buf_bytes(&out), true);
	assert_false(w->core.any_response);
	assert_int_equal(w->core.counters.refused, 1);
}

static void every_flipped_bit_of_a_response_is_refused_and_asks_for_a_resend(void **state)
{
	struct world *w = *state;
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_RESPONSE);
	world_answer(w, KIND_NO_ACTION);
	world_answer_encode(w, &out);
	for (size_t bit = 0; bit < out.size * 8; bit++) {
		out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		world_deliver(w, TOPIC_RSP, &out);
		out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_false(w->core.any_response);
	}
	assert_int_equal(world_next_beat(w).ack, ACK_RESEND);
	world_no_action(w);
	assert_int_equal(world_next_beat(w).ack, ACK_RESPONSE);
}

static void answers_to_other_beats_clients_and_sessions_are_refused(void **state)
{
	struct world *w = *state;
	world_answer(w, KIND_NO_ACTION)->r.in_reply_to_seq = 99;
	world_answer_send(w);
	assert_false(w->core.any_response);
	world_answer(w, KIND_NO_ACTION)->r.client_id = "f2";
	world_answer_send(w);
	assert_false(w->core.any_response);
	world_answer(w, KIND_NO_ACTION)->r.session_id--;
	world_answer_send(w);
	assert_false(w->core.any_response);
	assert_int_equal(w->core.counters.refused, 3);
	world_no_action(w);
	assert_true(w->core.any_response);
}

static void an_answer_to_a_beat_before_the_last_sixteen_is_refused(void **state)
{
	struct world *w = *state;
	world_no_action(w);
	world_answer_execute(w, "ping", NULL);
	for (int i = 0; i < ANSWER_WINDOW_BEATS; i++)
		world_run(w, 1000);
	uint64_t refused = w->core.counters.refused;
	world_answer_send(w);
	assert_int_equal(w->core.counters.refused, refused + 1);
	assert_int_equal(w->core.state.op.op_id, 0);
}

static void an_answer_older_than_the_age_limit_is_refused_even_when_the_wall_clock_is_set(
	void **state)
{
	struct world *w = *state;
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
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_RESPONSE);
	world_answer_execute(w, "ping", NULL);
	world_answer_encode(w, &out);
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
	world_no_action(w);
	assert_int_equal(world_next_beat(w).ack, ACK_RESPONSE);
	assert_int_equal(world_next_beat(w).ack, ACK_RESPONSE);
	assert_int_equal(world_next_beat(w).ack, ACK_RESEND);
}

static void another_boot_is_learned_from_the_answer(void **state)
{
	struct world *w = *state;
	w->boot.b[0] = 42;
	world_answer(w, KIND_NO_ACTION)->reason.code = REASON_STALE_BOOT;
	world_answer_send(w);
	struct heartbeat h = world_next_beat(w);
	assert_int_equal(h.boot.b[0], 42);
	// The beat before counted for nothing: everything held is told again.
	assert_true(h.holdings != NULL && h.holdings->full);
}

static struct id16 boot_told(struct world *w)
{
	return world_next_beat(w).boot;
}

// An answer of the server that had the client before, which was stopped as it said it: the beat is
// an older one. What it sets is over; its operation stands in the store, and is one and the same.
static void a_late_word_of_the_former_server_sets_nothing(void **state)
{
	struct world *w = *state;
	SCOPED_BUF struct buf late, order;
	buf_init(&late, LIMIT_RESPONSE);
	buf_init(&order, LIMIT_RESPONSE);
	world_no_action(w);
	world_run(w, 1000);
	struct world_answer *x = world_answer(w, KIND_NO_ACTION);
	x->r.heartbeat_interval_ms = 5000;
	x->r.hold = true;
	x->r.rate_bytes_per_s = 7;
	x->r.epoch = 3;
	world_answer_encode(w, &late);
	world_run(w, 1000);
	world_answer_execute(w, "backup", NULL);
	world_answer_encode(w, &order);
	world_run(w, 1000);
	// The other one has the client now, under a higher number.
	w->boot.b[9] = 42;
	w->response_id += 1ull << 32;
	x = world_answer(w, KIND_NO_ACTION);
	x->reason.code = REASON_STALE_BOOT;
	x->r.epoch = 4;
	world_answer_send(w);
	world_deliver(w, TOPIC_RSP, &late);
	assert_int_equal(w->core.grid.interval_ms, 1000);
	assert_false(w->core.hold);
	assert_int_equal(w->core.epoch, 4);
	assert_int_equal(boot_told(w).b[9], 42);
	// The operation is said by both, and done once.
	world_deliver(w, TOPIC_RSP, &order);
	assert_int_equal(w->commands, 1);
	uint64_t op = w->core.state.op.op_id;
	x = world_answer_execute(w, "backup", NULL);
	x->b.response_id = x->b.op_id = op;
	world_answer_send(w);
	assert_int_equal(w->commands, 1);
	assert_int_equal(boot_told(w).b[9], 42);
	// And what it said after the other's operation is refused.
	uint64_t refused = w->core.counters.refused;
	world_execute(w, "backup", NULL);
	assert_int_equal(w->core.state.op.op_id, w->response_id);
	world_run(w, 1000);
	x = world_answer_execute(w, "backup", NULL);
	x->b.response_id = x->b.op_id = op + 1;
	world_answer_send(w);
	assert_int_equal(w->core.counters.refused, refused + 1);
	assert_int_not_equal(w->core.state.op.op_id, op + 1);
}

// Two answer one beat, because the clock of one does not go: the first is heard, and the next beat
// is judged by whoever has the client.
static void of_two_answers_of_two_servers_to_one_beat_one_counts(void **state)
{
	struct world *w = *state;
	world_no_action(w);
	world_run(w, 1000);
	uint64_t refused = w->core.counters.refused;
	w->boot.b[9] = 42;
	world_no_action(w);
	w->boot.b[9] = 7;
	world_answer(w, KIND_NO_ACTION)->r.heartbeat_interval_ms = 5000;
	world_answer_send(w);
	assert_int_equal(w->core.counters.refused, refused + 1);
	assert_int_equal(w->core.grid.interval_ms, 1000);
	assert_int_equal(boot_told(w).b[9], 42);
	world_answer(w, KIND_NO_ACTION)->reason.code = REASON_STALE_BOOT;
	world_answer_send(w);
	assert_int_equal(boot_told(w).b[9], 7);
}

static void changes_ride_until_the_server_holds_them(void **state)
{
	struct world *w = *state;
	assert_int_equal(agent_change(&w->core, "brightness", "7"), ERR_OK);
	world_no_action(w);
	assert_int_equal(world_next_beat(w).change_count, 1);
	world_answer(w, KIND_NO_ACTION)->r.acked_change_id = 1;
	world_answer_send(w);
	assert_int_equal(world_next_beat(w).change_count, 0);
}

// ---- when beats leave

static void beats_keep_the_grid_for_ever_and_only_the_server_changes_it(void **state)
{
	struct world *w = *state;
	world_no_action(w);
	world_run(w, 1000);
	int64_t first = w->core.grid.last.ms;
	for (int i = 0; i < 200; i++)
		world_pass(w, 337); // a loop that is late each time
	assert_int_equal((w->core.grid.last.ms - first) % 1000, 0);
	world_answer(w, KIND_NO_ACTION)->r.heartbeat_interval_ms = 300;
	world_answer_send(w);
	size_t before = world_count(w, TOPIC_HB);
	world_run(w, 3000);
	size_t beats = world_count(w, TOPIC_HB) - before;
	assert_in_range(beats, 9, 11);
	assert_int_equal(world_beat(w).status->interval_ms, 300);
}

static void a_stall_makes_one_beat_and_not_a_burst(void **state)
{
	struct world *w = *state;
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

// The grid is where it was: a fleet that comes back within a spread is heard within it.
static void a_beat_that_was_due_without_a_link_leaves_when_it_is_up(void **state)
{
	struct world *w = *state;
	world_no_action(w);
	world_run(w, 2000);
	int64_t phase = w->core.grid.next.ms % 1000;
	size_t before = world_count(w, TOPIC_HB);
	agent_link_down(&w->core, w->now);
	for (int i = 0; i < 10; i++) {
		world_pass(w, 450);
		assert_true(agent_deadline(&w->core, w->now.mono).ms > w->now.mono.ms);
	}
	assert_int_equal(world_count(w, TOPIC_HB), before);
	agent_link_up(&w->core, w->now);
	assert_true(agent_deadline(&w->core, w->now.mono).ms <= w->now.mono.ms);
	world_pass(w, 0);
	assert_int_equal(world_count(w, TOPIC_HB), before + 1);
	world_pass(w, 1000);
	assert_int_equal(world_count(w, TOPIC_HB), before + 2);
	assert_int_equal(w->core.grid.next.ms % 1000, phase);
	// Nothing was due: nothing leaves before its time.
	agent_link_down(&w->core, w->now);
	agent_link_up(&w->core, w->now);
	world_pass(w, 0);
	assert_int_equal(world_count(w, TOPIC_HB), before + 2);
}

static void X_7_the_spread_of_a_fleet_is_kept_over_a_power_cut(void **state)
{
	struct world *w = *state;
	world_no_action(w);
	unsigned saves = w->saves;
	assert_int_equal(w->core.state.reconnect_spread_ms, 0);
	for (int i = 0; i < 3; i++) {
		world_run(w, 1000);
		world_answer(w, KIND_NO_ACTION)->r.reconnect_spread_ms = 10000;
		world_answer_send(w);
	}
	assert_int_equal(w->core.state.reconnect_spread_ms, 10000);
	assert_int_equal(w->saves, saves + 1); // once, not with each answer
	world_power_cut(w);
	assert_int_equal(w->core.state.reconnect_spread_ms, 10000);
}

static void the_interval_of_a_response_is_obeyed_within_its_limits(void **state)
{
	struct world *w = *state;
	world_answer(w, KIND_NO_ACTION)->r.heartbeat_interval_ms = HEARTBEAT_MIN_MS;
	world_answer_send(w);
	assert_int_equal(w->core.grid.interval_ms, HEARTBEAT_MIN_MS);
	assert_int_equal(beat_interval_clamp(0), HEARTBEAT_MIN_MS);
	assert_int_equal(beat_interval_clamp(UINT64_MAX), HEARTBEAT_MAX_MS);
	world_run(w, 300);
	world_answer(w, KIND_NO_ACTION)->r.heartbeat_interval_ms = HEARTBEAT_MAX_MS;
	world_answer_send(w);
	assert_int_equal(w->core.grid.interval_ms, HEARTBEAT_MAX_MS);
}

// Whose turn comes soon beats then, once: unanswered it goes on as before.
static void a_beat_that_is_asked_for_soon_comes_once(void **state)
{
	struct world *w = *state;
	world_answer(w, KIND_NO_ACTION)->r.heartbeat_interval_ms = 20000;
	world_answer_send(w);
	world_run(w, 20000);
	struct world_answer *soon = world_answer(w, KIND_NO_ACTION);
	soon->r.heartbeat_interval_ms = 20000;
	soon->r.next_beat_ms = 700;
	world_answer_send(w);
	size_t before = world_count(w, TOPIC_HB);
	world_run(w, 699);
	assert_int_equal(world_count(w, TOPIC_HB), before);
	world_run(w, 1);
	assert_int_equal(world_count(w, TOPIC_HB), before + 1);
	assert_int_equal(world_beat(w).status->interval_ms, 20000);
	world_run(w, 19999);
	assert_int_equal(world_count(w, TOPIC_HB), before + 1);
	world_run(w, 1);
	assert_int_equal(world_count(w, TOPIC_HB), before + 2);
	// Nobody comes later for it.
	world_run(w, 19000);
	soon = world_answer(w, KIND_NO_ACTION);
	soon->r.heartbeat_interval_ms = 20000;
	soon->r.next_beat_ms = HEARTBEAT_MAX_MS;
	world_answer_send(w);
	world_run(w, 1000);
	assert_int_equal(world_count(w, TOPIC_HB), before + 3);
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

static void host_says(struct world *w, const char *server, uint8_t boot, uint64_t counter)
{
	SCOPED_BUF struct buf out;
	struct host_state h = {.server = server,
		.counter = counter,
		.boot = {{boot}},
		.server_unix_ms = w->now.wall.ms,
		.period_ms = 1000,
		.up = true};
	struct topic topic = topic_of(TOPIC_HOST, server);
	buf_init(&out, LIMIT_OFFER);
	assert_int_equal(host_state_encode(&h, &out), ERR_OK);
	assert_int_equal(seal_signature(&out, topic.s, w->online_key), ERR_OK);
	agent_message(&w->core, w->now, topic.s, strlen(topic.s), buf_bytes(&out), true);
}

static void host_send(struct world *w, uint64_t counter)
{
	host_says(w, "server.1", 1, counter);
}

static void the_host_is_fresh_only_while_its_counter_rises(void **state)
{
	struct world *w = *state;
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

// Both are dead: what lies at the broker of one is no sign of life of the other.
static void the_counter_of_one_server_says_nothing_of_another(void **state)
{
	struct world *w = *state;
	host_says(w, "server.1", 1, 5);
	host_says(w, "server.2", 2, 900);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_UNKNOWN);
	host_says(w, "server.1", 1, 5);
	host_says(w, "server.2", 2, 900);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_UNKNOWN);
	host_says(w, "server.1", 1, 6);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_FRESH);
}

static void two_servers_that_live_are_fresh_whoever_speaks_last(void **state)
{
	struct world *w = *state;
	host_says(w, "server.1", 1, 900);
	host_says(w, "server.2", 2, 5);
	for (uint64_t i = 1; i < 10; i++) {
		w->now.mono.ms += 500;
		host_says(w, "server.1", 1, 900 + i);
		assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_FRESH);
		w->now.mono.ms += 500;
		host_says(w, "server.2", 2, 5 + i);
		assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_FRESH);
	}
	// One dies: the other takes over its clients.
	for (uint64_t i = 10; i < 20; i++) {
		w->now.mono.ms += 1000;
		host_says(w, "server.2", 2, 5 + i);
		assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_FRESH);
	}
	w->now.mono.ms += 3001;
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_STALE);
}

static void of_more_servers_than_are_watched_the_last_heard_are_kept(void **state)
{
	struct world *w = *state;
	char name[16];
	for (uint64_t round = 1; round <= 3; round++) {
		for (unsigned i = 0; i < HOSTS_WATCHED + 3; i++) {
			(void)snprintf(name, sizeof name, "server.%u", i);
			w->now.mono.ms++;
			host_says(w, name, (uint8_t)(i + 1), round);
		}
	}
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_UNKNOWN);
	host_says(w, name, HOSTS_WATCHED + 3, 4);
	assert_int_equal(agent_host_trust(&w->core, w->now.mono), HOST_FRESH);
}

static void six_unanswered_beats_under_a_fresh_host_sign_in_again(void **state)
{
	struct world *w = *state;
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
	world_no_action(w);
	world_run(w, 20000);
	assert_int_equal(w->core.counters.sign_ins, 1);
}

static void a_session_ends_after_a_day_at_the_latest(void **state)
{
	struct world *w = *state;
	world_no_action(w);
	w->core.session.since.ms -= SESSION_LIFE_MS;
	world_pass(w, 3000);
	assert_int_equal(w->core.counters.sign_ins, 2);
}

#define CASE_FROM(f, setup) cmocka_unit_test_setup_teardown(f, setup, world_teardown)
#define CASE(f) CASE_FROM(f, world_setup)
#define IN_SESSION(f) CASE_FROM(f, world_setup_in_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_first_heartbeat_is_a_signed_sign_in),
		CASE(nothing_is_signed_while_the_boot_counter_cannot_be_stored),
		IN_SESSION(an_offer_begins_a_session_and_the_first_beat_follows_at_once),
		CASE(the_lineage_token_is_stored_before_the_session_begins),
		CASE(offers_that_are_not_for_this_sign_in_are_refused),
		CASE(an_offer_serves_once_and_lives_a_minute),
		IN_SESSION(a_response_is_acknowledged_by_the_next_beat),
		IN_SESSION(retained_answers_are_refused),
		IN_SESSION(every_flipped_bit_of_a_response_is_refused_and_asks_for_a_resend),
		IN_SESSION(answers_to_other_beats_clients_and_sessions_are_refused),
		IN_SESSION(an_answer_to_a_beat_before_the_last_sixteen_is_refused),
		IN_SESSION(
			an_answer_older_than_the_age_limit_is_refused_even_when_the_wall_clock_is_set),
		IN_SESSION(a_second_different_answer_to_one_beat_is_refused_and_a_copy_is_ignored),
		IN_SESSION(an_older_operation_is_refused),
		IN_SESSION(a_beat_without_answer_for_two_intervals_asks_for_a_resend),
		IN_SESSION(another_boot_is_learned_from_the_answer),
		IN_SESSION(a_late_word_of_the_former_server_sets_nothing),
		IN_SESSION(of_two_answers_of_two_servers_to_one_beat_one_counts),
		IN_SESSION(changes_ride_until_the_server_holds_them),
		IN_SESSION(beats_keep_the_grid_for_ever_and_only_the_server_changes_it),
		IN_SESSION(a_beat_that_was_due_without_a_link_leaves_when_it_is_up),
		IN_SESSION(a_stall_makes_one_beat_and_not_a_burst),
		IN_SESSION(X_7_the_spread_of_a_fleet_is_kept_over_a_power_cut),
		IN_SESSION(the_interval_of_a_response_is_obeyed_within_its_limits),
		IN_SESSION(a_beat_that_is_asked_for_soon_comes_once),
		CASE(the_first_phase_is_random),
		IN_SESSION(the_host_is_fresh_only_while_its_counter_rises),
		IN_SESSION(the_counter_of_one_server_says_nothing_of_another),
		IN_SESSION(two_servers_that_live_are_fresh_whoever_speaks_last),
		IN_SESSION(of_more_servers_than_are_watched_the_last_heard_are_kept),
		IN_SESSION(six_unanswered_beats_under_a_fresh_host_sign_in_again),
		IN_SESSION(unanswered_beats_without_a_fresh_host_keep_the_session),
		IN_SESSION(a_session_ends_after_a_day_at_the_latest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
