// Devices that hold valid credentials and mean no good: what they can say again and again stays
// bounded in rows, operations and answers, is seen, and the others are served meanwhile.
#include "core_rig.h"
#include "server/core_inside.h"

static uint64_t row_count(struct rig *r, const char *table)
{
	char sql[80];
	struct db_rows rows;
	uint64_t count = 0;

	(void)snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM %s", table);
	assert_int_equal(db_query(r->db, &rows, sql), ERR_OK);
	if (db_next(&rows))
		count = (uint64_t)db_int(&rows, 0);
	assert_int_equal(db_end(&rows), ERR_OK);
	return count;
}

// ---- disagreeing

// One beat of a client that does what it is told and claims a response it was never given.
static enum response_kind stranger_beat(struct agent *a, bool strange)
{
	struct response got;
	uint64_t shown = a->last_response_id;

	if (a->op.op_id) {
		a->op.status = OP_DONE;
		a->holdings = (struct holdings){.full = true, .items = a->items};
	}
	if (strange)
		a->last_response_id = shown + 1000;
	bool answered = agent_beat(a->rig, a, &got);
	a->last_response_id = shown;
	assert_true(answered);
	agent_obey(a, &got);
	a->got = got;
	return got.body->kind;
}

static void a_client_that_resyncs_and_disagrees_again_is_corrected_ever_later_and_told(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	uint64_t before = row_count(r, "operation");
	size_t corrections = 0;

	for (int i = 0; i < 300; i++) {
		arena_reset(&r->arena);
		r->ended_count = 0;
		// It agrees to every resync and shows a strange id with the next beat.
		corrections += stranger_beat(a, i % 2 == 0) == KIND_EXECUTE_COMMAND;
	}
	assert_in_range(corrections, 6, 12);
	assert_in_range(row_count(r, "operation") - before, 6, 12);
	assert_int_equal(rig_counter(r, "alerts.client-disagrees"), 1);
	// Control: after a while of agreeing the next one comes at once.
	for (unsigned i = 0; i < 70; i++) {
		arena_reset(&r->arena);
		r->ended_count = 0;
		(void)stranger_beat(a, false);
	}
	assert_int_equal(stranger_beat(a, true), KIND_EXECUTE_COMMAND);
}

static void a_client_that_works_at_what_it_was_not_given_is_not_cancelled_with_every_beat(
	void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	size_t cancels = 0;

	for (int i = 0; i < 300; i++) {
		struct response got;
		struct operation own = a->op;
		bool told = own.op_id == a->last_response_id;
		arena_reset(&r->arena);
		r->ended_count = 0;
		if (told)
			a->op.status = OP_DONE;
		else
			a->op = (struct operation){.op_id = 7, .status = OP_RUNNING, .detail = ""};
		assert_true(agent_beat(r, a, &got));
		agent_obey(a, &got);
		a->last_response_id = got.body->response_id;
		if (told && got.body->kind == KIND_NO_ACTION)
			a->op.op_id = 0;
		cancels += got.body->kind == KIND_EXECUTE_COMMAND;
	}
	assert_in_range(cancels, 6, 14);
	assert_int_equal(rig_counter(r, "alerts.client-disagrees"), 1);
}

static void a_response_that_never_arrives_is_sent_ten_times_then_the_client_starts_anew(
	void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct response got;

	append_request(r, "@f1");
	uint64_t before = row_count(r, "operation");
	for (int i = 0; i < 300; i++) {
		arena_reset(&r->arena);
		r->ended_count = 0;
		a->ack = ACK_RESPONSE; // it never says that it misses anything, and takes nothing
		assert_true(agent_beat(r, a, &got));
	}
	assert_in_range(rig_counter(r, "resends"), 10, 280);
	// The question in three attempts, and the resyncs.
	assert_in_range(row_count(r, "operation") - before, 6, 20);
	assert_int_equal(rig_counter(r, "alerts.client-disagrees"), 1);
}

// ---- refusing

static void a_client_that_refuses_to_tell_its_holdings_is_asked_at_growing_distances(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	size_t asked = 0;

	assert_true(agent_sign_in(r, a));
	for (int i = 0; i < 1000; i++) {
		arena_reset(&r->arena);
		r->ended_count = 0;
		core_tick(r->core, r->now);
		asked += agent_step(a) == KIND_SEND_INFORMATION;
		a->op.status = OP_REFUSED;
	}
	assert_in_range(asked, 3, 10);
	assert_int_equal(a->got.body->reason->code, REASON_ATTEMPTS_EXHAUSTED);
	// Control: when there is something new it is asked at once.
	struct digest p = rig_add_package(r, "menu", "1", PACKAGE_IMAGES);
	append_display(r, "default", &p);
	agent_gets(a, KIND_SEND_INFORMATION);
}

// ---- storms

static void percent_that_goes_up_and_down_does_not_keep_an_operation_open_for_ever(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_request(r, "@f1");
	agent_gets(a, KIND_SEND_INFORMATION);
	r->ended_count = 0;
	uint32_t deadline_s = core_get_config(r->core)->op_deadline_s;
	for (uint32_t i = 0; i < PROGRESS_MAX + 2 * deadline_s && r->ended_count == 0; i++) {
		arena_reset(&r->arena);
		core_tick(r->core, r->now);
		a->op.status = OP_RUNNING;
		a->op.percent = i % 2 ? 10 : 20;
		(void)agent_step(a);
	}
	assert_int_equal(r->ended_count, 1);
	assert_int_equal(r->ended[0].outcome, OP_FAILED);
}

// Whoever reads gigabytes of its own files goes on; whoever says one number for ever does not.
static void a_client_that_reads_its_own_files_keeps_its_operation(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest p = rig_add_package(r, "menu", "1", PACKAGE_IMAGES);
	uint32_t deadline_s = core_get_config(r->core)->op_deadline_s, mb = 0;

	append_display(r, "default", &p);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	a->items[0] = (struct holding){.package = p, .lease = 9, .chunks_total = 9};
	a->holdings = (struct holdings){.items = a->items, .item_count = 1};
	r->ended_count = 0;
	for (uint32_t i = 0; i < 5 * deadline_s; i++) {
		arena_reset(&r->arena);
		core_tick(r->core, r->now);
		a->op.status = OP_RUNNING;
		a->items[0].looked_mb = mb += 1;
		(void)agent_step(a);
		assert_int_equal(r->ended_count, 0);
	}
	for (uint32_t i = 0; i < 2 * deadline_s && r->ended_count == 0; i++) {
		arena_reset(&r->arena);
		core_tick(r->core, r->now);
		a->op.status = OP_RUNNING;
		(void)agent_step(a);
	}
	assert_int_equal(r->ended_count, 1);
}

static void a_flood_of_changes_makes_few_events_and_the_rest_comes_later(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct agent *b = rig_settled(r, "f2");
	struct change changes[LIMIT_CHANGES];
	uint64_t before = row_count(r, "event"), next = 1;

	for (int beat = 0; beat < 50; beat++) {
		arena_reset(&r->arena);
		for (size_t i = 0; i < LIMIT_CHANGES; i++)
			changes[i] = (struct change){.change_id = next + i,
				.key = "skip",
				.value = beat % 2 ? "a" : "b"};
		a->changes = changes;
		a->change_count = LIMIT_CHANGES;
		rig_advance(r, -990); // a hundred beats a second
		struct response got;
		assert_true(agent_beat(r, a, &got));
		next = got.acked_change_id + 1;
	}
	assert_int_equal(next - 1, 120); // of 1,600
	assert_in_range(row_count(r, "event") - before, 1, 8);
	// A minute later it may go on: none of its changes was lost.
	rig_pass(r, 61000);
	(void)agent_step(a);
	assert_int_equal(a->got.acked_change_id, 120 + LIMIT_CHANGES);
	// Control: another device of the channel has its own measure.
	changes[0].change_id = 1;
	b->changes = changes;
	b->change_count = 1;
	(void)agent_step(b);
	assert_int_equal(b->got.acked_change_id, 1);
}

static void sign_ins_without_end_do_not_use_up_those_of_the_others(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	struct agent *b = rig_agent(r, "f2", ROLE_CLIENT);
	uint32_t all = r->config.offers_per_s;
	struct topic topic = topic_hb("f1");
	struct buf garbage;
	struct key32 secret;

	// Each is signed by a key that is not the enrolled one.
	buf_init(&garbage, LIMIT_HEARTBEAT);
	agent_sign_in_bytes(r, a, &garbage, &secret);
	garbage.data[garbage.size - 1] ^= 1;
	for (uint32_t i = 0; i < all + 10; i++)
		rig_give(r, topic.s, buf_bytes(&garbage), false);
	buf_fini(&garbage);
	assert_int_equal(rig_counter(r, "reject.signature"), 30);
	assert_true(agent_sign_in(r, b));
	// Nor when each of them succeeds and becomes a session.
	rig_pass(r, 61000);
	uint64_t made = rig_counter(r, "sign-ins");
	for (uint32_t i = 0; i < 60; i++) {
		arena_reset(&r->arena);
		rig_advance(r, -900);
		if (agent_sign_in(r, a))
			(void)agent_step(a);
	}
	assert_in_range(rig_counter(r, "sign-ins") - made, 29, 31);
	assert_true(agent_sign_in(r, b));
}

static void more_messages_than_the_limit_are_dropped_and_counted(void **state)
{
	struct rig *r = *state;
	struct agent *a, *b;

	rig_kill(r);
	r->config.messages_per_s = 100;
	rig_start(r);
	a = rig_settled(r, "f1");
	b = rig_settled(r, "f2");
	rig_advance(r, 1000 - r->now.mono.ms % 1000);
	uint64_t before = rig_counter(r, "heartbeats");
	for (int i = 0; i < 500; i++) {
		struct response got;
		arena_reset(&r->arena);
		rig_advance(r, -1000); // all within one second
		(void)agent_beat(r, a, &got);
	}
	assert_int_equal(rig_counter(r, "heartbeats") - before, 100);
	assert_int_equal(rig_counter(r, "reject.too-many"), 400);
	agent_gets(b, KIND_NO_ACTION);
	agent_gets(a, KIND_NO_ACTION); // and a second later it is heard again
}

static void a_client_that_comes_more_often_than_told_is_seen_though_it_says_otherwise(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct agent *b = rig_settled(r, "f2");

	for (int i = 0; i < 140; i++) {
		arena_reset(&r->arena);
		sent_clear(r);
		agent_gets(b, KIND_NO_ACTION); // a second each
		rig_advance(r, -800);
		agent_gets(a, KIND_NO_ACTION);
		rig_advance(r, -1000);
		agent_gets(a, KIND_NO_ACTION);
		rig_advance(r, -1000);
		for (int k = 0; k < 4; k++) {
			agent_gets(a, KIND_NO_ACTION);
			rig_advance(r, -1000);
		}
		rig_advance(r, 800);
		assert_int_equal(a->interval_ms, 1000); // what it says
	}
	assert_int_equal(rig_counter(r, "alerts.client-hasty"), 1);
	assert_int_equal(agent_info(r, a).mismatches, 1);
	assert_int_equal(agent_info(r, b).mismatches, 0);
}

// ---- reports

static void report_usage(struct rig *r, struct agent *a, uint64_t op_id, uint32_t part,
	uint32_t parts, uint64_t first_row, size_t rows)
{
	struct topic topic = topic_report(a->id);
	struct shown *shown = calloc(rows, sizeof(*shown));
	struct report m = {.client_id = a->id,
		.session_id = a->session_id,
		.seq = ++a->report_seq,
		.boot = a->boot,
		.report_id = a->report_id,
		.op_id = op_id,
		.what = INFO_USAGE,
		.part = part,
		.parts = parts,
		.usage = shown,
		.usage_count = rows};
	struct buf b;

	for (size_t i = 0; i < rows; i++)
		shown[i] = (struct shown){.ledger_seq = first_row + i,
			.image = "a.jpg",
			.from_unix_ms = 253402300799999, // its clock lies
			.duration_ms = 1,
			.clock_quality = 1,
			.package = sha256("p", 1)};
	buf_init(&b, LIMIT_REPORT);
	if (report_encode(&m, &b) != ERR_OK)
		fail_msg("report: %s", err_text());
	assert_int_equal(seal_mac(&b, topic.s, &a->keys.mac_up), ERR_OK);
	rig_give(r, topic.s, buf_bytes(&b), false);
	buf_fini(&b);
	free(shown);
}

static void one_question_has_one_answer_however_many_reports_come(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	uint64_t row = 1;

	append_request_for(r, "@f1", INFO_USAGE);
	agent_gets(a, KIND_SEND_INFORMATION);
	uint64_t question = a->op.op_id;
	// Parts that do not follow each other bring no rows.
	a->report_id++;
	for (int i = 0; i < 20; i++, row += 100)
		report_usage(r, a, question, 7, 9, row, 100);
	assert_int_equal(row_count(r, "usage"), 0);
	a->report_id++;
	report_usage(r, a, question, 0, 1, row, 100);
	assert_int_equal(row_count(r, "usage"), 100);
	agent_done_gets(a, KIND_NO_ACTION);
	// The same question, answered under ever higher numbers.
	for (int i = 0; i < 20; i++, row += 100) {
		a->report_id++;
		report_usage(r, a, question, 0, 1, row + 100, 100);
	}
	assert_int_equal(row_count(r, "usage"), 100);
	assert_int_equal(rig_counter(r, "reports"), 2); // holdings, and this one
	// Each is acknowledged, so that an honest device that forgot comes to an end.
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.acked_report_id, a->report_id);
}

// ---- the later start

static void a_client_that_remembers_later_starts_again_and_again_opens_few_epochs(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	uint64_t first = core_incarnation(r->core);

	for (uint64_t i = 1; i <= 150; i++) {
		struct response got;
		arena_reset(&r->arena);
		r->ended_count = 0;
		a->last_response_id = (core_incarnation(r->core) + 1) << 32 | 5;
		if (a->op.op_id)
			a->op.status = OP_DONE;
		assert_true(agent_beat(r, a, &got));
		a->op = (struct operation){
			.op_id = got.body->op_id, .status = OP_DONE, .detail = ""};
	}
	assert_in_range(core_incarnation(r->core), first + 1, first + 40);
	assert_in_range(rig_counter(r, "stores-restored"), 1, 8);
	assert_int_equal(rig_counter(r, "alerts.client-disagrees"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_client_that_resyncs_and_disagrees_again_is_corrected_ever_later_and_told),
		TEST(a_client_that_works_at_what_it_was_not_given_is_not_cancelled_with_every_beat),
		TEST(a_response_that_never_arrives_is_sent_ten_times_then_the_client_starts_anew),
		TEST(a_client_that_refuses_to_tell_its_holdings_is_asked_at_growing_distances),
		TEST(a_client_that_reads_its_own_files_keeps_its_operation),
		TEST(percent_that_goes_up_and_down_does_not_keep_an_operation_open_for_ever),
		TEST(a_flood_of_changes_makes_few_events_and_the_rest_comes_later),
		TEST(sign_ins_without_end_do_not_use_up_those_of_the_others),
		TEST(more_messages_than_the_limit_are_dropped_and_counted),
		TEST(a_client_that_comes_more_often_than_told_is_seen_though_it_says_otherwise),
		TEST(one_question_has_one_answer_however_many_reports_come),
		TEST(a_client_that_remembers_later_starts_again_and_again_opens_few_epochs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
