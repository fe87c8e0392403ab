// Software that failed on a client: it is not given to that client while the penalty holds, by no
// event, attempt or snapshot; and what else there is goes on.
#include "tests/unit/core_rig.h"

static void append_software(struct rig *r, const struct digest *package, int64_t at_unix_ms)
{
	const struct event e = {.type = ELEMENT_SOFTWARE,
		.packages = package,
		.package_count = 1,
		.activate = true,
		.activate_unix_ms = at_unix_ms};

	assert_int_equal(core_append_event(r->core, "default", &e, NULL, NULL), ERR_OK);
	core_turn_end(r->core, r->now);
}

static struct update_status penalty(const struct digest *package, int64_t until_unix_ms)
{
	return (struct update_status){.name = "app",
		.version = "2",
		.package = *package,
		.state = "rolled-back",
		.reason = "health: rc=1",
		.failures = 1,
		.until_unix_ms = until_unix_ms};
}

static void assert_told(struct rig *r, const struct agent *a, size_t want)
{
	struct update_status *told = NULL;
	size_t count = 0;
	SCOPED_ARENA struct arena arena;

	arena_init(&arena, 65536, 1000);
	assert_int_equal(core_client_updates(r->core, a->id, &arena, &told, &count), ERR_OK);
	assert_int_equal(count, want);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(told[i].name, a->updates[i].name);
		assert_string_equal(told[i].version, a->updates[i].version);
		assert_string_equal(told[i].state, a->updates[i].state);
		assert_string_equal(told[i].reason, a->updates[i].reason);
		assert_int_equal(told[i].failures, a->updates[i].failures);
		assert_int_equal(told[i].until_unix_ms, a->updates[i].until_unix_ms);
		assert_true(digest_equal(&told[i].package, &a->updates[i].package));
	}
}

static void a_failure_with_a_penalty_is_the_last_attempt(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest app = rig_add_package(r, "app", "2", PACKAGE_SOFTWARE);
	struct update_status told[2] = {penalty(&app, 0)};
	uint64_t alerts = rig_counter(r, "alerts.update-failed");

	told[1] = (struct update_status){
		.name = "os", .version = "", .package = {{9}}, .state = "trial", .reason = ""};
	append_software(r, &app, 0);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	r->ended_count = 0;
	a->op.status = OP_FAILED;
	a->op.detail = "activate: rolled-back reason=health rc=1";
	a->updates = told;
	a->update_count = 2;
	for (int i = 0; i < 5; i++)
		agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->ended_count, 1);
	assert_true(r->ended[0].is_final);
	assert_int_equal(r->ended[0].outcome, OP_FAILED);
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_TAIL);
	assert_int_equal(rig_counter(r, "alerts.update-failed"), alerts + 1);
	assert_told(r, a, 2);
	rig_restart(r);
	assert_told(r, a, 2);
	assert_true(agent_sign_in(r, a));
	agent_gets(a, KIND_NO_ACTION);
	a->update_count = 0;
	agent_gets(a, KIND_NO_ACTION);
	assert_told(r, a, 0);
}

static void no_event_gives_what_failed_and_the_next_one_is_given(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1"), *well = rig_settled(r, "f2");
	struct digest app = rig_add_package(r, "app", "2", PACKAGE_SOFTWARE);
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);
	struct update_status told = penalty(&app, r->now.wall.ms + 3600000);

	a->updates = &told;
	a->update_count = 1;
	agent_gets(a, KIND_NO_ACTION);
	append_software(r, &app, 0);
	append_display(r, "default", &art);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_EVENT);
	assert_non_null(strstr(a->got.body->reason->text, "failed on this client"));
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_true(digest_equal(&a->got.body->retrieve->packages[0].package, &art));
	agent_gets(well, KIND_RETRIEVE_INFORMATION);
	assert_true(digest_equal(&well->got.body->retrieve->packages[0].package, &app));
}

static void a_snapshot_leaves_it_out_until_the_penalty_is_over(void **state)
{
	struct rig *r = *state;
	struct digest app = rig_add_package(r, "app", "2", PACKAGE_SOFTWARE);
	struct update_status told = penalty(&app, r->now.wall.ms + 3600000);
	struct update_status over = penalty(&app, r->now.wall.ms - 1);

	append_software(r, &app, 0);
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT), *b = rig_agent(r, "f2", ROLE_CLIENT);
	a->updates = &told;
	b->updates = &over;
	a->update_count = b->update_count = 1;
	agent_settle(r, a); // ends with NO_ACTION: it lacks nothing
	assert_true(agent_sign_in(r, b));
	agent_gets(b, KIND_SEND_INFORMATION);
	agent_report_holdings(r, b);
	agent_done_gets(b, KIND_RETRIEVE_INFORMATION);
	assert_true(digest_equal(&b->got.body->retrieve->packages[0].package, &app));
}

static void the_moment_rides_with_the_event_and_with_the_snapshot(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest app = rig_add_package(r, "app", "2", PACKAGE_SOFTWARE);
	int64_t moment = r->now.wall.ms + 7200000;

	append_software(r, &app, moment);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->retrieve->packages[0].activate_unix_ms, moment);
	assert_true(a->got.body->retrieve->packages[0].activate);
	rig_restart(r);
	struct agent *b = rig_agent(r, "f2", ROLE_CLIENT);
	assert_true(agent_sign_in(r, b));
	agent_gets(b, KIND_SEND_INFORMATION);
	agent_report_holdings(r, b);
	agent_done_gets(b, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(b->got.body->retrieve->packages[0].activate_unix_ms, moment);
	assert_true(b->got.body->retrieve->packages[0].activate);
}

#define T(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_failure_with_a_penalty_is_the_last_attempt),
		T(no_event_gives_what_failed_and_the_next_one_is_given),
		T(a_snapshot_leaves_it_out_until_the_penalty_is_over),
		T(the_moment_rides_with_the_event_and_with_the_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
