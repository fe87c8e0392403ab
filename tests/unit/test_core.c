// The core as a whole, driven by real bytes: the conversation of protocol.md, over restarts and
// losses. What the queues make of it is in test_core_queue.c.
#include "core_rig.h"
#include "proto/base/log.h"
#include "server/accordance.h"
#include "server/db/rows.h"

#ifndef HONEST_SEEDS
#define HONEST_SEEDS 5
#endif

static void S003_3_a_sign_in_obtains_an_offer_and_changes_nothing_else(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);

	struct client_info before = agent_info(r, a);
	uint64_t commits = rig_counter(r, "commits");
	assert_true(agent_sign_in(r, a));
	assert_client_unchanged(a, before);
	assert_int_equal(rig_counter(r, "commits"), commits);
	struct topic rsp = topic_of(TOPIC_RSP, "f1");
	assert_null(sent_find(r, rsp.s));
}

static void S003_3_the_first_beat_in_the_offered_session_makes_it_current(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	assert_int_equal(agent_info(r, a).session_id, a->session_id);
	assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
	assert_in_range(agent_info(r, a).free_bytes, 81100000000, 81234567890);
	struct agent *old = rig_copy(r, a);
	assert_true(agent_sign_in(r, a));
	agent_gets(a, KIND_NO_ACTION);
	assert_true(a->session_id > old->session_id);
	assert_false(agent_beat(r, old, &old->got));
	assert_int_equal(rig_counter(r, "reject.session"), 1);
}

static void S003_3_a_replayed_beat_is_refused_and_changes_nothing(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	struct topic topic = topic_hb("f1");
	struct client_info before = agent_info(r, a);
	sent_clear(r);
	rig_advance(r, 500);
	rig_give(r, topic.s, buf_bytes(&a->last), false);
	assert_client_unchanged(a, before);
	assert_int_equal(rig_counter(r, "reject.replay"), 1);
	assert_int_equal(r->sent_count, 0);
}

static void S003_3_a_replayed_sign_in_leaves_the_live_session_alone(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	struct buf b;
	struct key32 secret;
	struct topic topic = topic_hb("f1");

	buf_init(&b, LIMIT_HEARTBEAT);
	agent_sign_in_bytes(r, a, &b, &secret);
	rig_give(r, topic.s, buf_bytes(&b), false);
	assert_true(agent_take_offer(r, a, buf_bytes(&b), &secret));
	agent_gets(a, KIND_SEND_INFORMATION);
	uint64_t session = agent_info(r, a).session_id;
	for (int i = 0; i < 3; i++)
		rig_give(r, topic.s, buf_bytes(&b), false);
	assert_int_equal(agent_info(r, a).session_id, session);
	agent_gets(a, KIND_NO_ACTION);
	buf_fini(&b);
}

// Two clients' beats and sign-ins under each other's names, altered, and on another topic.
static void S003_1_what_is_not_signed_by_its_sender_is_refused(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct topic topic_a = topic_hb("f1"), topic_b = topic_hb("f2");

	rig_settled(r, "f2");
	struct client_info before = agent_info(r, a);
	agent_beat_bytes(a, &a->last);
	for (size_t i = 0; i < a->last.size; i += 7) {
		a->last.data[i] ^= 1;
		sent_clear(r);
		rig_give(r, topic_a.s, buf_bytes(&a->last), false);
		assert_int_equal(r->sent_count, 0);
		a->last.data[i] ^= 1;
	}
	rig_give(r, topic_b.s, buf_bytes(&a->last), false);
	rig_give(r, topic_a.s, bytes_of(a->last.data, a->last.size - 34), false);
	rig_give(r, topic_a.s, buf_bytes(&a->last), true);
	assert_client_unchanged(a, before);
	assert_int_equal(rig_counter(r, "reject.retained"), 1);
	assert_true(rig_counter(r, "reject.signature") > 10);
	rig_give(r, topic_a.s, buf_bytes(&a->last), false);
	assert_int_equal(agent_info(r, a).seq, before.seq + 1);
}

static void S000_1_a_beat_without_status_is_refused(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct topic topic = topic_hb("f1");
	struct status status = {
		.state = "idle", .agent_version = "1", .interval_ms = 1000, .clock_quality = 1};
	static const uint8_t ip[4] = {10, 0, 0, 1};
	struct buf b;

	buf_init(&b, LIMIT_HEARTBEAT);
	const struct heartbeat h = {.client_id = "f1",
		.ip_address = bytes_of(ip, 4),
		.session_id = a->session_id,
		.seq = a->seq + 1,
		.ack = ACK_RESPONSE,
		.status = &status,
		.boot = a->boot};
	assert_int_equal(heartbeat_encode(&h, &b), ERR_OK);
	// Field 10 is cut out of the encoded bytes: tag 0x52, length, content.
	uint8_t *at = memmem(b.data, b.size, "\x52", 1);
	while (at && at[2] != 0x0a)
		at = memmem(at + 1, b.size - (size_t)(at + 1 - b.data), "\x52", 1);
	assert_non_null(at);
	size_t length = at[1] + 2u;
	memmove(at, at + length, b.size - (size_t)(at - b.data) - length);
	b.size -= length;
	assert_int_equal(seal_mac(&b, topic.s, &a->keys.mac_up), ERR_OK);
	struct client_info before = agent_info(r, a);
	sent_clear(r);
	rig_give(r, topic.s, buf_bytes(&b), false);
	assert_int_equal(rig_counter(r, "reject.no-status"), 1);
	assert_int_equal(r->sent_count, 0);
	assert_int_equal(agent_info(r, a).last_heard.ms, before.last_heard.ms);
	buf_fini(&b);
}

// ---- the four kinds

static void S000_3_to_6_four_clients_get_the_four_kinds_in_one_run(void **state)
{
	struct rig *r = *state;
	struct agent *f[4];
	static const char *const ids[4] = {"f1", "f2", "f3", "f4"};
	static const char *const channels[4] = {"idle", "idle", "art", "idle"};

	for (int i = 0; i < 4; i++) {
		f[i] = rig_agent(r, ids[i], ROLE_CLIENT);
		assert_int_equal(core_client_set_channel(r->core, ids[i], channels[i]), ERR_OK);
		agent_settle(r, f[i]);
	}
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	append_request(r, "@f2");
	append_display(r, "art", &art);
	append_command(r, "@f4", "ping");

	agent_gets(f[0], KIND_NO_ACTION);
	assert_int_equal(f[0]->got.body->reason->code, REASON_CAUGHT_UP);
	assert_int_equal(agent_info(r, f[0]).state, CS_IDLE);
	agent_gets(f[1], KIND_SEND_INFORMATION);
	assert_int_equal(f[1]->got.body->send->what, INFO_DISPLAY);
	assert_int_equal(agent_info(r, f[1]).state, CS_AWAIT_INFO);
	agent_gets(f[2], KIND_RETRIEVE_INFORMATION);
	assert_true(digest_equal(&f[2]->got.body->retrieve->packages[0].package, &art));
	assert_true(f[2]->got.body->retrieve->packages[0].activate);
	assert_int_equal(agent_info(r, f[2]).state, CS_AWAIT_RETRIEVE);
	agent_gets(f[3], KIND_EXECUTE_COMMAND);
	assert_string_equal(f[3]->got.body->execute->verb, "ping");
	assert_int_equal(agent_info(r, f[3]).state, CS_AWAIT_COMMAND);

	agent_report(r, f[1], INFO_DISPLAY, NULL);
	agent_hold(f[2], &art);
	for (int i = 1; i < 4; i++) {
		agent_done_gets(f[i], KIND_NO_ACTION);
		assert_int_equal(agent_info(r, f[i]).state, CS_IDLE);
		assert_int_equal(agent_info(r, f[i]).mismatches, 0);
	}
	assert_int_equal(r->ended_count, 4 + 3);
	for (size_t i = 0; i < r->ended_count; i++)
		assert_int_equal(r->ended[i].outcome, OP_DONE);
	assert_true(core_client_holds(r->core, "f3", &art));
}

static void S000_7_the_state_view_goes_out_before_the_response(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct state_view view;
	struct topic rsp = topic_of(TOPIC_RSP, "f1"), topic = topic_of(TOPIC_VIEW_STATE, "f1");

	append_command(r, "@f1", "ping");
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_true(sent_at(r, topic.s) < sent_at(r, rsp.s));
	const struct sent *s = sent_find(r, topic.s);
	assert_true(s->retained);
	assert_int_equal(
		seal_check_signature(sent_bytes(s), topic.s, sign_key_public(r->online)), ERR_OK);
	assert_int_equal(state_view_decode(&r->arena, sent_bytes(s), &view), ERR_OK);
	assert_int_equal(view.state, CS_AWAIT_COMMAND);
	assert_int_equal(view.response_id, a->got.body->response_id);
	assert_int_equal(view.op_id, a->got.body->op_id);
	assert_int_equal(sent_find(r, rsp.s)->qos, 1);
}

static void S000_4_done_without_a_report_is_not_believed(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f2");

	append_request(r, "@f2");
	agent_gets(a, KIND_SEND_INFORMATION);
	uint64_t op = a->got.body->op_id;
	agent_done_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_SEND_INFORMATION);
	assert_int_equal(a->got.body->op_id, op);
	assert_int_equal(agent_info(r, a).state, CS_AWAIT_INFO);
	agent_report(r, a, INFO_DISPLAY, NULL);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.acked_report_id, a->report_id);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);
}

static void S000_5_done_while_holdings_lack_the_package_is_not_believed(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f3");
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);

	append_display(r, "default", &art);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	uint64_t id = a->got.body->response_id;
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->response_id, id);
	assert_int_equal(agent_info(r, a).state, CS_AWAIT_RETRIEVE);
	assert_int_equal(agent_info(r, a).mismatches, 1);
	agent_hold(a, &art);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);
}

// ---- loss, and kill -9

static void S000_8_a_lost_response_is_sent_again_with_the_same_body(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct response first, again;

	append_command(r, "@f1", "ping");
	assert_true(agent_beat(r, a, &first));
	assert_int_equal(first.body->kind, KIND_EXECUTE_COMMAND);
	assert_true(agent_beat(r, a, &again));
	assert_true(bytes_equal(first.body_bytes, again.body_bytes));
	assert_int_equal(again.in_reply_to_seq, first.in_reply_to_seq + 1);
	agent_obey(a, &again);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).mismatches, 0);
	assert_int_equal(rig_counter(r, "resends"), 1);
}

static void S004_9_a_kill_between_commit_and_publish_loses_and_doubles_nothing(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_command(r, "@f1", "one");
	append_command(r, "@f1", "two");
	r->deaf = true;
	assert_false(agent_beat(r, a, &a->got));
	rig_restart(r);
	struct client_info info = agent_info(r, a);
	assert_int_equal(info.state, CS_AWAIT_COMMAND);
	uint64_t op = info.operation.op_id;
	assert_int_equal(info.private_elements, 1);
	// The beat answers the earlier start: it learns the boot and nothing else.
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_STALE_BOOT);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_int_equal(a->got.body->op_id, op);
	assert_string_equal(a->got.body->execute->verb, "one");
	agent_done_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "two");
	assert_true(a->got.body->op_id > op);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).mismatches, 0);
}

static void S000_7_a_restart_keeps_the_state_and_judges_by_it(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f3");
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);

	append_display(r, "default", &art);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	uint64_t op = a->got.body->op_id, epoch = a->got.epoch;
	rig_restart(r);
	struct client_info info = agent_info(r, a);
	assert_int_equal(info.state, CS_AWAIT_RETRIEVE);
	assert_int_equal(info.operation.op_id, op);
	assert_int_equal(info.session_id, a->session_id);
	a->op.status = OP_RUNNING;
	a->op.percent = 40;
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_STALE_BOOT);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_OPERATION_OPEN);
	assert_int_equal(a->got.epoch, epoch);
	agent_hold(a, &art);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_TAIL);
	assert_int_equal(agent_info(r, a).mismatches, 0);
}

static void X_4_a_commit_that_fails_answers_nobody_and_recovers_by_itself(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_command(r, "@f1", "ping");
	r->commit_fails = ERR_NO_SPACE;
	assert_false(agent_beat(r, a, &a->got));
	assert_true(core_is_degraded(r->core));
	assert_int_equal(r->sent_count, 0);
	assert_false(agent_beat(r, a, &a->got));
	rig_pass(r, 5000);
	assert_true(core_is_degraded(r->core));
	assert_int_equal(r->sent_count, 0);
	r->commit_fails = ERR_OK;
	rig_pass(r, 40000);
	assert_false(core_is_degraded(r->core));
	core_link(r->core, true, r->now);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_STALE_BOOT);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).mismatches, 0);
}

// A room that does not know writes on: what it began holds locks, and is over with its turn.
static void a_degraded_server_holds_no_transaction_over_a_turn(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	int64_t n = 0;

	append_command(r, "@f1", "ping");
	r->commit_fails = ERR_NO_SPACE;
	assert_false(agent_beat(r, a, &a->got));
	assert_true(core_is_degraded(r->core));
	assert_int_equal(rows_meta_put_number(r->db, "unknowing", 1), ERR_OK);
	assert_true(db_is_dirty(r->db));
	core_turn_end(r->core, r->now);
	assert_false(db_is_dirty(r->db));
	assert_false(r->db->in_transaction);
	assert_int_equal(rows_meta_number(r->db, "unknowing", &n), ERR_OK);
	assert_int_equal(n, 0);
	r->commit_fails = ERR_OK;
	rig_pass(r, 40000);
	assert_false(core_is_degraded(r->core));
}

static void who_knows_that_the_store_is_back_makes_the_core_try_it_sooner(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_command(r, "@f1", "ping");
	r->commit_fails = ERR_NO_SPACE;
	assert_false(agent_beat(r, a, &a->got));
	assert_int_equal(store_read_only(r->db, true), ERR_OK);
	rig_pass(r, 70000); // it waits half a minute from one time to the next by now
	assert_int_equal(store_read_only(r->db, false), ERR_OK);
	r->commit_fails = ERR_OK;
	assert_true(core_is_degraded(r->core));
	core_recover_within(r->core, 2000, r->now);
	core_recover_within(r->core, 60000, r->now); // never later for it
	rig_pass(r, 1000);
	assert_true(core_is_degraded(r->core));
	rig_pass(r, 1500);
	assert_false(core_is_degraded(r->core));
}

static void S000_7_a_store_that_takes_no_writes_answers_nobody(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_command(r, "@f1", "ping");
	assert_int_equal(store_read_only(r->db, true), ERR_OK);
	assert_false(agent_beat(r, a, &a->got));
	assert_true(core_is_degraded(r->core));
	assert_int_equal(r->sent_count, 0);
	rig_pass(r, 3000);
	assert_true(core_is_degraded(r->core));
	assert_int_equal(store_read_only(r->db, false), ERR_OK);
	rig_pass(r, 40000);
	assert_false(core_is_degraded(r->core));
	agent_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_EXECUTE_COMMAND);
}

static void a_beat_of_an_earlier_boot_counts_for_nothing(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	rig_restart(r);
	struct client_info before = agent_info(r, a);
	assert_true(agent_beat(r, a, &a->got));
	assert_client_unchanged(a, before);
	assert_int_equal(rig_counter(r, "reject.boot"), 1);
}

static void hoarded_beats_keep_nobody_alive(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct buf hoard[8];
	struct topic topic = topic_hb("f1");

	for (int i = 0; i < 8; i++) {
		buf_init(&hoard[i], LIMIT_HEARTBEAT);
		agent_beat_bytes(a, &hoard[i]);
	}
	for (int i = 0; i < 8; i++) {
		rig_pass(r, 4000);
		rig_give(r, topic.s, buf_bytes(&hoard[i]), false);
		buf_fini(&hoard[i]);
	}
	assert_int_equal(agent_info(r, a).reach, REACH_SILENT);
}

static void S003_7_silence_is_late_then_silent_by_attended_time_only(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);

	assert_int_equal(agent_info(r, a).reach, REACH_NEVER);
	agent_settle(r, a);
	rig_pass(r, 2000);
	core_link(r->core, false, r->now);
	rig_pass(r, 60000);
	assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
	core_link(r->core, true, r->now);
	rig_pass(r, 3000);
	assert_int_equal(agent_info(r, a).reach, REACH_LATE);
	rig_pass(r, 12000);
	assert_int_equal(agent_info(r, a).reach, REACH_SILENT);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
}

// ---- identity

static void a_lost_disk_forgets_and_a_copied_one_is_suspected(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);

	agent_hold(a, &art);
	agent_settle(r, a);
	assert_true(core_client_holds(r->core, "f1", &art));
	struct agent *copy = rig_copy(r, a);
	assert_true(agent_sign_in(r, a));
	agent_gets(a, KIND_NO_ACTION);
	// The copy comes back with the token of the session before.
	assert_true(agent_sign_in(r, copy));
	agent_gets(copy, KIND_NO_ACTION);
	assert_int_equal(copy->got.body->reason->code, REASON_CLONE_SUSPECT);
	assert_int_equal(agent_info(r, a).state, CS_CLONE_SUSPECT);
	assert_int_equal(core_client_clear_clone(r->core, "f1"), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);

	rig_random(r, copy->store_id.b, sizeof(copy->store_id.b));
	memset(&copy->lineage, 0, sizeof(copy->lineage));
	copy->last_response_id = 0;
	copy->op = (struct operation){0};
	copy->holdings = (struct holdings){0};
	copy->boot_counter = 1;
	assert_true(agent_sign_in(r, copy));
	agent_gets(copy, KIND_SEND_INFORMATION);
	assert_false(core_client_holds(r->core, "f1", &art));
	assert_int_equal(agent_info(r, a).mismatches, 0);
}

static void revoked_is_refused_and_removed_is_unknown(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	assert_int_equal(core_principal_revoke(r->core, "f1"), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_false(agent_beat(r, a, &a->got));
	assert_int_equal(rig_counter(r, "reject.revoked"), 1);
	rig_restart(r);
	assert_false(agent_sign_in(r, a));
	const struct enrolment again = {.id = "f1",
		.role = ROLE_CLIENT,
		.public_key = *sign_key_public(a->key),
		.name = ""};
	assert_int_equal(core_enrol(r->core, &again), ERR_DENIED);
	assert_int_equal(core_principal_remove(r->core, "f1"), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_false(agent_sign_in(r, a));
	assert_int_equal(rig_counter(r, "reject.unknown-client"), 1);
	assert_int_equal(core_enrol(r->core, &again), ERR_OK);
	core_turn_end(r->core, r->now);
}

static void S001_c36_who_is_removed_and_comes_back_is_given_no_id_twice(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	const struct enrolment again = {.id = "f1",
		.role = ROLE_CLIENT,
		.public_key = *sign_key_public(a->key),
		.name = ""};

	append_request(r, "@f1");
	agent_gets(a, KIND_SEND_INFORMATION);
	uint64_t last = a->got.body->op_id;
	assert_int_equal(core_principal_remove(r->core, "f1"), ERR_OK);
	assert_int_equal(core_enrol(r->core, &again), ERR_OK);
	core_turn_end(r->core, r->now);
	a->op = (struct operation){0};
	a->last_response_id = 0;
	assert_true(agent_sign_in(r, a));
	agent_gets(a, KIND_SEND_INFORMATION);
	assert_true(a->got.body->op_id > last);
}

static void operators_sign_in_the_same_way_and_are_answered(void **state)
{
	struct rig *r = *state;
	struct agent *op = rig_agent(r, "alice.1", ROLE_OPERATOR);
	struct buf b;
	struct topic topic = topic_of(TOPIC_API, "alice.1"), answer = topic_apir("alice.1", "n7");

	assert_true(agent_sign_in(r, op));
	buf_init(&b, LIMIT_API);
	const struct api_request q = {.seat = "alice.1",
		.session_id = op->session_id,
		.seq = 1,
		.boot = op->boot,
		.request_id = 5,
		.verb = "status",
		.answer_level = "n7"};
	assert_int_equal(api_request_encode(&q, &b), ERR_OK);
	assert_int_equal(seal_mac(&b, topic.s, &op->keys.mac_up), ERR_OK);
	rig_give(r, topic.s, buf_bytes(&b), false);
	assert_int_equal(r->requests, 1);
	const struct sent *s = sent_find(r, answer.s);
	assert_non_null(s);
	assert_int_equal(seal_check_mac(sent_bytes(s), answer.s, &op->keys.mac_down), ERR_OK);
	rig_give(r, topic.s, buf_bytes(&b), false);
	assert_int_equal(r->requests, 1);
	assert_int_equal(rig_counter(r, "reject.replay"), 1);
	// The same bytes on a client's topic reach nobody.
	struct topic hb = topic_hb("alice.1");
	rig_give(r, hb.s, buf_bytes(&b), false);
	assert_int_equal(rig_counter(r, "reject.role"), 1);
	buf_fini(&b);
}

// ---- a restored store

static void a_restored_store_is_noticed_and_opens_an_epoch(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	char copy[128];

	store_must_be_file();
	(void)snprintf(copy, sizeof(copy), "%s/backup.db", r->folder);
	assert_int_equal(db_backup(r->db, copy), ERR_OK);
	agent_gets(a, KIND_NO_ACTION);
	uint64_t epoch = a->got.epoch;
	rig_restart(r); // a plain restart in between: another incarnation than the backup's
	rig_kill(r);
	char wal[160];
	(void)snprintf(wal, sizeof(wal), "%s-wal", r->file);
	(void)unlink(wal);
	assert_int_equal(rename(copy, r->file), 0);
	rig_advance(r, 5000);
	rig_start(r);
	assert_int_equal(rig_counter(r, "stores-restored"), 1);
	struct response unused;
	assert_false(agent_beat(r, a, &unused)); // backups hold no session
	assert_true(agent_sign_in(r, a));
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "control");
	assert_string_equal(a->got.body->execute->args[0], "epoch");
	assert_true(a->got.epoch > epoch);
	agent_done_gets(a, KIND_SEND_INFORMATION);
	assert_int_equal(agent_info(r, a).mismatches, 0);
}

static void why_tells_the_rule_behind_every_answer(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct why_entry *entries = NULL;
	size_t count = 0;

	for (int i = 0; i < 5; i++)
		agent_gets(a, KIND_NO_ACTION);
	append_command(r, "@f1", "ping");
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_int_equal(core_why(r->core, "f1", 10, &r->arena, &entries, &count), ERR_OK);
	assert_true(count >= 3);
	assert_int_equal(entries[0].kind, KIND_EXECUTE_COMMAND);
	assert_int_equal(entries[0].code, REASON_EVENT);
	assert_string_equal(entries[0].text, "exec ping");
	assert_string_equal(entries[0].queue, "@f1");
	assert_true(entries[0].flow_id != 0);
	assert_string_equal(entries[0].rule_name, "what ended is still shown");
	assert_int_equal(entries[0].interval_ms, a->got.heartbeat_interval_ms);
	assert_string_equal(entries[0].interval_by, "idle");
	assert_int_equal(entries[1].code, REASON_CAUGHT_UP);
	assert_int_equal(entries[1].count, 5);
	assert_string_equal(entries[1].interval_by, "idle");

	// The same sentence by another rule is another entry; a rule is named as its table names
	// it.
	a->op = (struct operation){0};
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_int_equal(core_why(r->core, "f1", 10, &r->arena, &entries, &count), ERR_OK);
	assert_string_equal(entries[0].rule_name, "not at work");
	assert_string_equal(accordance_rule_name(entries[0].rule), "not at work");
	assert_int_equal(entries[0].code, REASON_RESEND_MISMATCH);
	assert_string_equal(accordance_rule_name(0), "");
	assert_string_equal(accordance_rule_name(99), "");
}

static void a_quiet_beat_writes_nothing(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	agent_gets(a, KIND_NO_ACTION);
	uint64_t statements = rig_counter(r, "statements");
	for (int i = 0; i < 20; i++)
		agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(rig_counter(r, "statements"), statements);
}

// Honest client, 10 % of its beats and 20 % of the responses lost, the server killed now and then:
// every operation ends once, nothing is given twice or skipped, nothing is a mismatch.
struct honest {
	uint64_t begun, last_begun, given;
};

static void honest_append(struct rig *r, struct honest *h, uint8_t dice)
{
	if (h->given == 40)
		return;
	h->given++;
	if (dice & 2)
		append_request(r, dice & 1 ? "@f1" : "default");
	else
		append_command(r, dice & 1 ? "@f1" : "default", "ping");
}

static void honest_obey(struct rig *r, struct agent *a, struct honest *h, const struct response *m)
{
	bool fresh = m->body->kind != KIND_NO_ACTION && m->body->op_id != a->op.op_id;

	agent_obey(a, m);
	if (fresh) {
		assert_true(m->body->op_id > h->last_begun);
		h->last_begun = m->body->op_id;
		h->begun++;
		if (m->body->kind == KIND_SEND_INFORMATION)
			agent_report(r, a, INFO_DISPLAY, NULL);
	} else if (a->kind == KIND_SEND_INFORMATION && a->op.op_id &&
		   m->acked_report_id < a->report_id) {
		a->report_id--; // not acknowledged: the same report again
		agent_report(r, a, INFO_DISPLAY, NULL);
	}
	// DONE of a report is said only after the server acknowledged it.
	bool reported = a->kind != KIND_SEND_INFORMATION || m->acked_report_id == a->report_id;
	if (a->op.op_id && reported)
		a->op.status = OP_DONE;
}

static void honest_run(struct rig *r, struct agent *a, uint64_t seed)
{
	struct honest h = {0};
	struct response m;

	r->random = seed * 7919;
	for (int beat = 0; beat < 700; beat++) {
		uint8_t dice[4];
		bool lossy = beat < 500;
		rig_random(r, dice, sizeof(dice));
		arena_reset(&r->arena);
		if (lossy && dice[0] < 30)
			honest_append(r, &h, dice[3]);
		if (lossy && dice[1] < 6)
			rig_restart(r);
		if (lossy && dice[2] < 26) {
			agent_beat_bytes(a, &a->last);
			continue;
		}
		if (agent_beat(r, a, &m) && !(lossy && dice[3] < 52))
			honest_obey(r, a, &h, &m);
	}
	assert_true(h.given > 20);
	assert_int_equal(h.begun, h.given);
	assert_int_equal(r->ended_count, h.given);
	for (size_t i = 0; i < r->ended_count; i++)
		assert_int_equal(r->ended[i].outcome, OP_DONE);
	assert_int_equal(agent_info(r, a).mismatches, 0);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);
}

static void S000_8_an_honest_client_under_loss_and_kills_never_mismatches(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= HONEST_SEEDS; seed++) {
		struct rig *r = rig_new();
		struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
		agent_settle(r, a);
		r->ended_count = 0;
		honest_run(r, a, seed);
		rig_free(r);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	log_init("test_core", LOG_ERROR);
	const struct CMUnitTest tests[] = {
		T(S003_3_a_sign_in_obtains_an_offer_and_changes_nothing_else),
		T(S003_3_the_first_beat_in_the_offered_session_makes_it_current),
		T(S003_3_a_replayed_beat_is_refused_and_changes_nothing),
		T(S003_3_a_replayed_sign_in_leaves_the_live_session_alone),
		T(S003_1_what_is_not_signed_by_its_sender_is_refused),
		T(S000_1_a_beat_without_status_is_refused),
		T(S000_3_to_6_four_clients_get_the_four_kinds_in_one_run),
		T(S000_7_the_state_view_goes_out_before_the_response),
		T(S000_4_done_without_a_report_is_not_believed),
		T(S000_5_done_while_holdings_lack_the_package_is_not_believed),
		T(S000_8_a_lost_response_is_sent_again_with_the_same_body),
		T(S004_9_a_kill_between_commit_and_publish_loses_and_doubles_nothing),
		T(S000_7_a_restart_keeps_the_state_and_judges_by_it),
		T(X_4_a_commit_that_fails_answers_nobody_and_recovers_by_itself),
		T(a_degraded_server_holds_no_transaction_over_a_turn),
		T(who_knows_that_the_store_is_back_makes_the_core_try_it_sooner),
		T(S000_7_a_store_that_takes_no_writes_answers_nobody),
		T(a_beat_of_an_earlier_boot_counts_for_nothing),
		T(hoarded_beats_keep_nobody_alive),
		T(S003_7_silence_is_late_then_silent_by_attended_time_only),
		T(a_lost_disk_forgets_and_a_copied_one_is_suspected),
		T(revoked_is_refused_and_removed_is_unknown),
		T(S001_c36_who_is_removed_and_comes_back_is_given_no_id_twice),
		T(operators_sign_in_the_same_way_and_are_answered),
		T(a_restored_store_is_noticed_and_opens_an_epoch),
		T(why_tells_the_rule_behind_every_answer),
		T(a_quiet_beat_writes_nothing),
		cmocka_unit_test(S000_8_an_honest_client_under_loss_and_kills_never_mismatches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
