// The core as a whole, driven by real bytes: which element of which queue a client is given next,
// and how it is led back when it and the server do not agree.
#include "core_rig.h"
#include "proto/base/log.h"

// ---- corrections

static void S000_8_an_unknown_operation_is_cancelled_and_an_unknown_response_resynced(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	struct operation kept = a->op;
	a->op = (struct operation){.op_id = 999, .status = OP_RUNNING, .detail = ""};
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "cancel");
	assert_string_equal(a->got.body->execute->args[0], "999");
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).mismatches, 1);
	(void)kept;

	uint64_t right = a->last_response_id;
	a->last_response_id = right + 5;
	assert_true(agent_beat(r, a, &a->got));
	assert_int_equal(a->got.body->kind, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "resync");
	assert_int_equal(a->got.body->state, CS_RESYNC);
	a->last_response_id = right;
	agent_obey(a, &a->got);
	a->op.status = OP_DONE;
	a->holdings.full = true;
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);
}

static void S001_c35_busy_holds_the_pointer_and_resend_gives_the_last_one(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);

	append_display(r, "default", &art);
	for (int i = 0; i < 5; i++) {
		a->ack = ACK_BUSY;
		agent_gets(a, KIND_NO_ACTION);
		assert_int_equal(a->got.body->reason->code, REASON_BUSY);
		assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_DISPLAY);
	}
	a->ack = ACK_RESPONSE;
	struct response first;
	assert_true(agent_beat(r, a, &first));
	a->ack = ACK_RESEND;
	assert_true(agent_beat(r, a, &a->got));
	assert_true(bytes_equal(first.body_bytes, a->got.body_bytes));
	for (int i = 0; i < 22 && a->got.body->kind != KIND_EXECUTE_COMMAND; i++)
		assert_true(agent_beat(r, a, &a->got));
	assert_int_equal(a->got.body->kind, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "resync");
}

// A rollout to more clients than may begin at once: the others are told that their turn comes, are
// to ask again soon, keep their place, and get it later. What is of one client alone does not wait.
static void a_rollout_is_begun_at_a_rate(void **state)
{
	struct rig *r = *state;
	struct agent *a[15];
	char id[8];
	unsigned begun = 0;

	r->config.operations_per_s = 5;
	rig_restart(r);
	for (int i = 0; i < 15; i++) {
		(void)snprintf(id, sizeof(id), "f%d", i);
		a[i] = rig_settled(r, id);
	}
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	append_display(r, "default", &art);
	append_command(r, "@f14", "ping");
	rig_pass(r, 10000);
	int64_t now = r->now.mono.ms;
	for (int i = 0; i < 15; i++) {
		r->now.mono.ms = now - 1000; // all at the same time
		enum response_kind kind = agent_step(a[i]);
		if (kind == KIND_RETRIEVE_INFORMATION) {
			begun++;
			continue;
		}
		assert_int_equal(kind, i == 14 ? KIND_EXECUTE_COMMAND : KIND_NO_ACTION);
		if (i == 14)
			continue;
		assert_int_equal(a[i]->got.body->reason->code, REASON_TURN);
		// One after the other, five a second, each once: its interval stays what it was.
		uint32_t soon = r->config.interval_min_ms + (uint32_t)(i - 9) * 200;
		assert_int_equal(a[i]->got.next_beat_ms, soon < r->config.interval_ms ? soon : 0);
		assert_int_equal(a[i]->got.heartbeat_interval_ms, r->config.interval_ms);
		assert_int_equal(agent_info(r, a[i]).pointer_at, ELEMENT_DISPLAY);
	}
	assert_int_equal(begun, 10);
	for (int i = 10; i < 14; i++) // a second later, five more
		agent_gets(a[i], KIND_RETRIEVE_INFORMATION);
}

// All beat at this moment.
static unsigned that_begin(struct rig *r, struct agent **a, unsigned count)
{
	struct now now = r->now;
	unsigned begun = 0;

	for (unsigned i = 0; i < count; i++) {
		r->now.mono.ms = now.mono.ms - 1000; // a beat takes a second
		begun += agent_step(a[i]) == KIND_RETRIEVE_INFORMATION;
	}
	r->now = now;
	return begun;
}

// A crowd that beats together begins together, where nobody else is held up by it: its first rounds
// are not what makes the server busy. Where thousands are answered all the time, few begin at once.
static void a_quiet_server_lets_a_crowd_begin_together(void **state)
{
	enum {
		CROWD = 12
	};
	struct rig *r = *state;
	struct agent *a[CROWD];
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	struct digest next = rig_add_package(r, "art", "2", PACKAGE_IMAGES);
	char id[8];

	r->config.operations_per_s = 100; // 25 at once, 11 where others are answered
	rig_restart(r);
	for (int i = 0; i < CROWD; i++) {
		(void)snprintf(id, sizeof(id), "f%d", i);
		a[i] = rig_settled(r, id);
	}
	append_display(r, "default", &art);
	rig_pass(r, 10000);
	assert_int_equal(that_begin(r, a, CROWD), CROWD);
	for (int i = 0; i < CROWD; i++) {
		agent_hold(a[i], &art);
		agent_done_gets(a[i], KIND_NO_ACTION);
	}
	// 6,000 a second for more than a second.
	for (int64_t end = r->now.mono.ms + 1200; r->now.mono.ms < end; rig_pass(r, 2))
		assert_int_equal(that_begin(r, a, CROWD), 0);
	append_display(r, "default", &next);
	assert_int_equal(that_begin(r, a, CROWD), 11);
	// Control: a while after they went, all that are left begin.
	rig_pass(r, 10000);
	assert_int_equal(that_begin(r, a, CROWD), 1);
}

// A rollout shares the beats of those at work; who went silent in the middle has no part in it.
static void S001_c34_a_crowd_at_work_beats_less_often(void **state)
{
	enum {
		CROWD = 12
	};
	struct rig *r = *state;
	struct agent *a[CROWD];
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	uint32_t busy_ms = 2000;
	char id[8];

	r->config.interval_ms = 20000;
	r->config.interval_busy_ms = busy_ms;
	r->config.busy_beats_per_s = 1;
	rig_restart(r);
	for (int i = 0; i < CROWD; i++) {
		(void)snprintf(id, sizeof(id), "f%d", i);
		a[i] = rig_settled(r, id);
	}
	append_display(r, "default", &art);
	for (uint32_t i = 0; i < CROWD; i++) {
		uint32_t shared = ((i + 1) * 1000 + busy_ms - 1) / busy_ms * busy_ms;

		agent_gets(a[i], KIND_RETRIEVE_INFORMATION);
		assert_int_equal(a[i]->got.heartbeat_interval_ms, shared);
	}
	uint32_t crowded = a[CROWD - 1]->got.heartbeat_interval_ms;
	assert_true(crowded > busy_ms);
	rig_restart(r); // each is counted once, as it is loaded
	for (int i = 0; i < CROWD; i++) {
		a[i]->op.status = OP_RUNNING;
		agent_gets(a[i], KIND_NO_ACTION); // tells the new boot
	}
	agent_gets(a[0], KIND_NO_ACTION);
	assert_int_equal(a[0]->got.heartbeat_interval_ms, crowded);
	for (int i = 3; i < CROWD; i++) {
		agent_hold(a[i], &art);
		agent_done_gets(a[i], KIND_NO_ACTION);
		assert_int_equal(a[i]->got.heartbeat_interval_ms, r->config.interval_ms);
	}
	agent_gets(a[0], KIND_NO_ACTION);
	assert_int_equal(a[0]->got.heartbeat_interval_ms, 2 * busy_ms);
	for (int i = 0; agent_info(r, a[1]).reach != REACH_SILENT; i++) {
		assert_true(i < 100);
		rig_pass(r, 3000);
		agent_gets(a[0], KIND_NO_ACTION);
	}
	assert_int_equal(agent_info(r, a[2]).reach, REACH_SILENT);
	agent_gets(a[0], KIND_NO_ACTION);
	assert_int_equal(a[0]->got.heartbeat_interval_ms, busy_ms);
}

static void a_failed_retrieve_is_tried_again_and_then_given_up(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);

	r->ended_count = 0;
	append_display(r, "default", &art);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	uint64_t first = a->got.body->op_id, before = 0;
	for (uint32_t attempt = 1; attempt <= 3; attempt++) {
		assert_int_equal(a->got.body->attempt, attempt);
		assert_true(a->got.body->op_id > before);
		before = a->got.body->op_id;
		a->op.status = OP_FAILED;
		a->op.detail = "no broker";
		if (attempt < 3)
			agent_gets(a, KIND_RETRIEVE_INFORMATION);
	}
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_ATTEMPTS_EXHAUSTED);
	assert_int_equal(r->ended_count, 3);
	assert_false(r->ended[0].is_final);
	assert_true(r->ended[2].is_final);
	assert_int_equal(r->ended[2].first_op_id, first);
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_HEAD);
	// Something new ends the rest: holdings, then one snapshot of the newest.
	struct digest next = rig_add_package(r, "art", "2", PACKAGE_IMAGES);
	append_display(r, "default", &next);
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report_holdings(r, a);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->retrieve->package_count, 1);
	assert_true(digest_equal(&a->got.body->retrieve->packages[0].package, &next));
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_TAIL);
}

static void what_was_withdrawn_is_not_tried_again(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);

	r->ended_count = 0;
	append_display(r, "default", &art);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	uint64_t first = a->got.body->op_id;
	struct digest next = rig_add_package(r, "art", "2", PACKAGE_IMAGES);
	append_display(r, "default", &next);
	r->packages[0].package.b[0] ^= 1; // gone
	a->op.status = OP_FAILED;
	a->op.detail = "withdrawn";
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_EVENT);
	assert_int_equal(r->ended[r->ended_count - 1].op_id, first);
	assert_true(r->ended[r->ended_count - 1].is_final);
	// The one that came meanwhile is not held up; a restart brings nothing back.
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION); // the new boot
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->retrieve->package_count, 1);
	assert_true(digest_equal(&a->got.body->retrieve->packages[0].package, &next));
	assert_int_equal(a->got.body->attempt, 1);
}

static void a_cancelled_operation_ends_once_and_so_does_the_cancel(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	r->ended_count = 0;
	append_command(r, "@f1", "long");
	agent_gets(a, KIND_EXECUTE_COMMAND);
	uint64_t op = a->got.body->op_id;
	a->op.status = OP_RUNNING;
	assert_int_equal(core_operation_cancel(r->core, "f1", 0, "alice.1", NULL), ERR_OK);
	core_turn_end(r->core, r->now);
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "cancel");
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->ended_count, 2);
	assert_int_equal(r->ended[0].op_id, op);
	assert_int_equal(r->ended[0].outcome, OP_CANCELLED);
	assert_int_equal(r->ended[1].outcome, OP_DONE);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);
}

// ---- queues

static void S004_4_a_clients_change_reaches_the_others_once(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct agent *b = rig_settled(r, "f2");
	struct change change = {7, "showing", "art-3"}, unknown = {8, "epoch", "9"};

	a->changes = &change;
	a->change_count = 1;
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.acked_change_id, 7);
	agent_done_gets(a, KIND_NO_ACTION);
	agent_gets(b, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(b->got.body->retrieve->change_count, 1);
	assert_string_equal(b->got.body->retrieve->changes[0].value, "art-3");
	agent_done_gets(b, KIND_NO_ACTION);
	struct channel_info info;
	assert_int_equal(core_channel_find(r->core, "default", &info), ERR_OK);
	assert_int_equal(info.elements, 0);
	a->changes = &unknown;
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.acked_change_id, 8);
}

static void S004_5_pointers_of_two_clients_show_different_elements(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct queue_view view;

	rig_settled(r, "f2");
	for (int i = 0; i < 3; i++)
		append_request(r, "default");
	uint64_t before = 0;
	for (int i = 0; i < 3; i++) {
		agent_gets(a, KIND_SEND_INFORMATION);
		assert_true(a->got.body->event_seq > before);
		before = a->got.body->event_seq;
		agent_report(r, a, INFO_DISPLAY, NULL);
		a->op.status = OP_DONE;
	}
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(core_queue_view(r->core, "default", &r->arena, &view), ERR_OK);
	assert_int_equal(view.element_count, 5);
	assert_int_equal(view.elements[0].type, ELEMENT_HEAD);
	assert_int_equal(view.elements[4].type, ELEMENT_TAIL);
	assert_int_equal(view.pointer_count, 2);
	assert_int_equal(view.pointers[0].at, ELEMENT_TAIL);
	assert_int_equal(view.pointers[1].at, ELEMENT_REQUEST);
}

static void S004_16_a_newcomer_gets_one_snapshot_and_no_history(void **state)
{
	struct rig *r = *state;
	struct digest one = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	struct digest two = rig_add_package(r, "art", "2", PACKAGE_IMAGES);

	rig_settled(r, "f1");
	append_display(r, "default", &one);
	append_command(r, "default", "old");
	append_display(r, "default", &two);
	struct agent *b = rig_agent(r, "f2", ROLE_CLIENT);
	assert_true(agent_sign_in(r, b));
	agent_gets(b, KIND_SEND_INFORMATION);
	assert_int_equal(b->got.body->send->what, INFO_HOLDINGS);
	agent_report_holdings(r, b);
	agent_done_gets(b, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(b->got.body->retrieve->package_count, 1);
	assert_true(digest_equal(&b->got.body->retrieve->packages[0].package, &two));
	agent_hold(b, &two);
	agent_done_gets(b, KIND_NO_ACTION);
	agent_gets(b, KIND_NO_ACTION);
}

static void S004_18_the_slowest_is_detached_and_comes_back_by_a_snapshot(void **state)
{
	struct rig *r = *state;
	struct channel_info info;

	r->config.queue_max = 4;
	r->config.queue_high_water = 4;
	rig_restart(r);
	struct agent *a = rig_settled(r, "f1");
	for (int i = 0; i < 6; i++)
		append_command(r, "default", "ping");
	assert_int_equal(core_channel_find(r->core, "default", &info), ERR_OK);
	assert_true(info.elements <= 4);
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_HEAD);
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report_holdings(r, a);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_TAIL);
}

static void S004_10_consolidation_leaves_control_events_and_gives_one_response(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest p[4];
	struct consolidated *runs = NULL;
	size_t count = 0;
	static const char *const versions[4] = {"1", "2", "3", "4"};

	for (int i = 0; i < 4; i++)
		p[i] = rig_add_package(r, "art", versions[i], PACKAGE_IMAGES);
	append_display(r, "default", &p[0]);
	append_display(r, "default", &p[1]);
	assert_int_equal(
		core_channel_control(r->core, "default", CONTROL_RATE, 1000, "alice.1", NULL),
		ERR_OK);
	append_display(r, "default", &p[2]);
	append_display(r, "default", &p[3]);
	assert_int_equal(
		core_channel_consolidate(r->core, "default", &r->arena, &runs, &count), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_int_equal(count, 2);
	assert_int_equal(runs[0].count, 2);
	assert_int_equal(runs[1].into, runs[1].chose[1]);
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.rate_bytes_per_s, 1000);
	assert_int_equal(a->got.body->retrieve->package_count, 1);
	assert_true(digest_equal(&a->got.body->retrieve->packages[0].package, &p[1]));
	agent_hold(a, &p[1]);
	agent_done_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "control");
	assert_string_equal(a->got.body->execute->args[0], "rate");
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_true(digest_equal(&a->got.body->retrieve->packages[0].package, &p[3]));
}

static void a_paused_channel_holds_everything_but_control(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	assert_int_equal(
		core_channel_control(r->core, "default", CONTROL_PAUSE, 0, "alice.1", NULL),
		ERR_OK);
	append_command(r, "default", "ping");
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->args[0], "pause");
	assert_true(a->got.hold);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_HOLD);
	assert_int_equal(
		core_channel_control(r->core, "default", CONTROL_RESUME, 0, "alice.1", NULL),
		ERR_OK);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "ping");
	assert_false(a->got.hold);
}

// ---- a newer version of what is being fetched

static uint64_t runs(struct agent *a)
{
	a->op.status = OP_RUNNING;
	return a->got.body->op_id;
}

static void only_names(const struct response *m, const struct digest *package)
{
	assert_int_equal(m->body->kind, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(m->body->retrieve->package_count, 1);
	assert_memory_equal(m->body->retrieve->packages[0].package.b, package->b, 32);
}

static void a_newer_version_is_given_at_once_and_the_older_ends_once(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest one = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	struct digest two = rig_add_package(r, "art", "2", PACKAGE_IMAGES);
	struct response first, again;

	r->ended_count = 0;
	append_display(r, "default", &one);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	uint64_t old = runs(a);
	agent_gets(a, KIND_NO_ACTION);
	append_display(r, "default", &two);
	assert_true(agent_beat(r, a, &first));
	only_names(&first, &two);
	assert_int_equal(r->ended_count, 1);
	assert_int_equal(r->ended[0].op_id, old);
	assert_int_equal(r->ended[0].outcome, OP_CANCELLED);
	assert_true(r->ended[0].is_final);
	assert_string_equal(r->ended[0].detail, "superseded: art@2");
	assert_int_equal(agent_info(r, a).state, CS_AWAIT_RETRIEVE);
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_TAIL);
	// It was lost, and the older one ended meanwhile: said again, the same, and nothing ends
	// twice.
	a->op.status = OP_DONE;
	agent_hold(a, &one);
	assert_true(agent_beat(r, a, &again));
	assert_true(bytes_equal(first.body_bytes, again.body_bytes));
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION); // the new boot
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_true(bytes_equal(first.body_bytes, a->got.body_bytes));
	agent_hold(a, &two);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->ended_count, 2);
	assert_int_equal(r->ended[1].outcome, OP_DONE);
	assert_int_equal(agent_info(r, a).mismatches, 0);
}

static void what_the_older_one_asked_for_besides_is_asked_for_again(void **state)
{
	struct rig *r = *state;
	struct digest old[3] = {rig_add_package(r, "art", "1", PACKAGE_IMAGES),
		rig_add_package(r, "bar", "1", PACKAGE_IMAGES),
		rig_add_package(r, "cafe", "1", PACKAGE_IMAGES)};
	struct digest two = rig_add_package(r, "art", "2", PACKAGE_IMAGES);
	struct change change = {.change_id = 1, .key = "showing", .value = "v1"};
	struct agent *a = rig_settled(r, "f1");
	const struct event e = {.type = ELEMENT_DISPLAY,
		.packages = old,
		.package_count = 3,
		.changes = &change,
		.change_count = 1,
		.activate = true};

	assert_int_equal(core_append_event(r->core, "default", &e, NULL, NULL), ERR_OK);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	(void)runs(a);
	r->packages[2].package = (struct digest){{1}}; // withdrawn: nobody is asked for it again
	append_display(r, "default", &two);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	const struct retrieve_information *got = a->got.body->retrieve;
	assert_int_equal(got->package_count, 2);
	assert_string_equal(got->packages[0].name, "bar");
	assert_memory_equal(got->packages[1].package.b, two.b, 32);
	assert_int_equal(got->change_count, 1);
	assert_string_equal(got->changes[0].value, "v1");
}

static void what_is_not_newer_waits_for_the_open_one(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest one = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	struct digest two = rig_add_package(r, "art", "2", PACKAGE_IMAGES);
	struct digest other = rig_add_package(r, "bar", "1", PACKAGE_IMAGES);
	struct digest system = rig_add_package(r, "app", "1", PACKAGE_SOFTWARE);
	struct digest next = rig_add_package(r, "app", "2", PACKAGE_SOFTWARE);
	const struct event software[2] = {
		{.type = ELEMENT_SOFTWARE, .packages = &system, .package_count = 1},
		{.type = ELEMENT_SOFTWARE, .packages = &next, .package_count = 1}};

	append_display(r, "default", &one);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	(void)runs(a);
	append_display(r, "default", &one); // the same
	agent_gets(a, KIND_NO_ACTION);
	append_display(r, "default", &other); // of another name
	agent_gets(a, KIND_NO_ACTION);
	append_command(r, "default", "ping");
	append_display(r, "default", &two); // newer, but behind others in the order
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_OPERATION_OPEN);
	agent_hold(a, &one);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	only_names(&a->got, &one);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	agent_hold(a, &other);
	agent_done_gets(a, KIND_EXECUTE_COMMAND);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	agent_hold(a, &two);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(core_append_event(r->core, "default", &software[0], NULL, NULL), ERR_OK);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	(void)runs(a);
	assert_int_equal(core_append_event(r->core, "default", &software[1], NULL, NULL), ERR_OK);
	agent_gets(a, KIND_NO_ACTION); // an update is let end
	assert_int_equal(r->ended_count, 6);
}

static void a_busy_client_and_a_paused_channel_are_not_overtaken(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest one = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	struct digest two = rig_add_package(r, "art", "2", PACKAGE_IMAGES);

	append_display(r, "default", &one);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	(void)runs(a);
	append_display(r, "default", &two);
	a->ack = ACK_BUSY;
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_BUSY);
	assert_int_equal(
		core_channel_control(r->core, "default", CONTROL_PAUSE, 0, "alice.1", NULL),
		ERR_OK);
	agent_gets(a, KIND_NO_ACTION);
	// Held still for longer than any deadline: nobody gives it up.
	for (int i = 0; i < 30; i++) {
		rig_pass(r, 60000);
		agent_gets(a, KIND_NO_ACTION);
	}
	assert_int_equal(r->ended_count, 1); // what it holds, at its first
	assert_int_equal(
		core_channel_control(r->core, "default", CONTROL_RESUME, 0, "alice.1", NULL),
		ERR_OK);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	only_names(&a->got, &two);
}

// The server gives up, the client is at it and cannot know: it is told, and that is no mismatch.
static void who_is_given_up_is_told_and_did_nothing_wrong(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	char number[24];

	append_display(r, "default", &art);
	for (uint32_t i = 0; i < r->config.attempts_max; i++) {
		agent_gets(a, KIND_RETRIEVE_INFORMATION);
		(void)runs(a);
		(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)a->op.op_id);
		agent_gets(a, KIND_NO_ACTION);
		rig_pass(r, ((int64_t)r->config.op_deadline_s + 1) * 1000);
	}
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "cancel");
	assert_string_equal(a->got.body->execute->args[0], number);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).mismatches, 0);
	assert_int_equal(agent_info(r, a).state, CS_IDLE);
}

// More than the list of due views holds: the others are found again by their flag.
static void S000_7_of_a_whole_fleet_that_is_due_each_is_shown_once(void **state)
{
	enum {
		FLEET = 5000
	};
	struct rig *r = *state;
	uint8_t *shown = calloc(FLEET, 1);
	char id[LIMIT_ID + 1];

	for (int i = 0; i < FLEET; i++) {
		(void)snprintf(id, sizeof(id), "w%d", i);
		const struct enrolment e = {.id = id, .role = ROLE_CLIENT, .name = ""};
		assert_int_equal(core_enrol(r->core, &e), ERR_OK);
	}
	for (int turns = 0; turns < FLEET && (turns == 0 || core_is_due(r->core)); turns++) {
		sent_clear(r);
		rig_advance(r, 100);
		core_turn_end(r->core, r->now);
		for (size_t i = 0; i < r->sent_count; i++)
			if (strncmp(r->sent[i].topic, "helio/v1/view/state/w", 21) == 0)
				shown[strtoul(r->sent[i].topic + 21, NULL, 10)]++;
	}
	assert_false(core_is_due(r->core));
	for (int i = 0; i < FLEET; i++)
		assert_int_equal(shown[i], 1);
	free(shown);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	log_init("test_core_queue", LOG_ERROR);
	const struct CMUnitTest tests[] = {
		T(S000_7_of_a_whole_fleet_that_is_due_each_is_shown_once),
		T(S000_8_an_unknown_operation_is_cancelled_and_an_unknown_response_resynced),
		T(S001_c35_busy_holds_the_pointer_and_resend_gives_the_last_one),
		T(a_rollout_is_begun_at_a_rate),
		T(a_quiet_server_lets_a_crowd_begin_together),
		T(S001_c34_a_crowd_at_work_beats_less_often),
		T(a_failed_retrieve_is_tried_again_and_then_given_up),
		T(what_was_withdrawn_is_not_tried_again),
		T(a_cancelled_operation_ends_once_and_so_does_the_cancel),
		T(S004_4_a_clients_change_reaches_the_others_once),
		T(S004_5_pointers_of_two_clients_show_different_elements),
		T(S004_16_a_newcomer_gets_one_snapshot_and_no_history),
		T(S004_18_the_slowest_is_detached_and_comes_back_by_a_snapshot),
		T(S004_10_consolidation_leaves_control_events_and_gives_one_response),
		T(a_paused_channel_holds_everything_but_control),
		T(a_newer_version_is_given_at_once_and_the_older_ends_once),
		T(what_the_older_one_asked_for_besides_is_asked_for_again),
		T(what_is_not_newer_waits_for_the_open_one),
		T(a_busy_client_and_a_paused_channel_are_not_overtaken),
		T(who_is_given_up_is_told_and_did_nothing_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
