// Who was heard lately: by attended time, at the interval that was told last, and what waits when
// many fall silent at once. Views: what changed does not wait for what did not.
#include "tests/unit/core_rig.h"

#include "proto/base/log.h"

// Time as the program makes it pass.
static void pass_finely(struct rig *r, int64_t ms)
{
	for (int64_t left = ms; left > 0; left -= 50) {
		rig_advance(r, left < 50 ? left : 50);
		core_tick(r->core, r->now);
		core_turn_end(r->core, r->now);
	}
}

// How long it takes from now until the view says so.
static int64_t until_reach(struct rig *r, const struct agent *a, enum reach reach, int64_t limit_ms)
{
	int64_t began = r->now.mono.ms;

	while (agent_info(r, a).reach != reach) {
		if (r->now.mono.ms - began > limit_ms)
			return -1;
		sent_clear(r);
		pass_finely(r, 50);
	}
	return r->now.mono.ms - began;
}

// A beat at this moment, whose response is obeyed.
static void beat_quietly(struct rig *r, struct agent *a)
{
	struct topic topic = topic_hb(a->id), rsp = topic_of(TOPIC_RSP, a->id);
	struct response m;

	sent_clear(r);
	agent_beat_bytes(a, &a->last);
	rig_give(r, topic.s, buf_bytes(&a->last), false);
	const struct sent *s = sent_find(r, rsp.s);
	assert_non_null(s);
	assert_int_equal(response_decode(&r->arena, sent_bytes(s), &m), ERR_OK);
	agent_obey(a, &m);
	arena_reset(&r->arena);
}

static void settle_all(struct rig *r) // past the spread after the start
{
	rig_pass(r, 2000);
}

static void S003_4_late_comes_between_two_intervals_and_two_and_a_half_and_half_a_second(
	void **state)
{
	static const uint32_t intervals[] = {200, 500, 1000, 7000, 60000};
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	settle_all(r);
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		int64_t ms = intervals[i];
		assert_int_equal(core_client_set_interval(r->core, "f1", intervals[i]), ERR_OK);
		// Told twice: longer and shorter than before are both in this list.
		agent_gets(a, KIND_NO_ACTION);
		agent_gets(a, KIND_NO_ACTION);
		assert_int_equal(a->interval_ms, intervals[i]);
		int64_t took = until_reach(r, a, REACH_LATE, ms * 4);
		assert_true(took > ms * 2 && took <= ms * 5 / 2 + 500);
	}
}

static void S001_c34_a_client_told_a_shorter_interval_is_missed_by_that(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	settle_all(r);
	assert_int_equal(core_client_set_interval(r->core, "f1", 60000), ERR_OK);
	agent_gets(a, KIND_NO_ACTION);
	for (int i = 0; i < 5; i++) { // it stands far ahead now
		pass_finely(r, 55000);
		agent_gets(a, KIND_NO_ACTION);
	}
	assert_int_equal(core_client_set_interval(r->core, "f1", 1000), ERR_OK);
	agent_gets(a, KIND_NO_ACTION);
	for (int i = 0; i < 20; i++) { // and lives by it
		pass_finely(r, 900);
		agent_gets(a, KIND_NO_ACTION);
		assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
	}
	int64_t took = until_reach(r, a, REACH_LATE, 10000);
	assert_true(took > 2000 && took <= 3000);
	// Silence counts from the last beat too.
	took += until_reach(r, a, REACH_SILENT, 60000);
	assert_true(took >= 10000 && took <= 10500);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
	// Longer again: nobody is missed by the old one.
	assert_int_equal(core_client_set_interval(r->core, "f1", 20000), ERR_OK);
	agent_gets(a, KIND_NO_ACTION);
	pass_finely(r, 45000);
	assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
}

static void S003_4_a_stall_of_the_server_makes_nobody_silent(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	settle_all(r);
	agent_gets(a, KIND_NO_ACTION);
	// The process stood for half a minute, three times; what came meanwhile is read after the
	// tick.
	for (int i = 0; i < 3; i++) {
		rig_advance(r, 30000);
		core_tick(r->core, r->now);
		core_turn_end(r->core, r->now);
		assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
		beat_quietly(r, a);
	}
	// Control: the same time, attended, does.
	rig_pass(r, 30000);
	assert_int_equal(agent_info(r, a).reach, REACH_SILENT);
	for (int i = 0; i < 40; i++) { // until that is saved
		pass_finely(r, 1000);
		beat_quietly(r, a);
	}
	// A kill and a start: the time between counts for nobody, and the first moments neither.
	rig_kill(r);
	r->now.mono.ms += 3600 * 1000;
	r->now.wall.ms += 3600 * 1000;
	sent_clear(r);
	rig_start(r);
	pass_finely(r, 2000);
	assert_int_equal(agent_info(r, a).reach, REACH_ONLINE);
	assert_true(until_reach(r, a, REACH_SILENT, 60000) >= 9000);
}

// ---- mass silence: a fleet of enrolled clients of which the first ones speak

#define MANY 40

static struct agent *many[MANY];

static void many_speak(struct rig *r)
{
	char id[8];

	for (int i = 0; i < MANY; i++) {
		(void)snprintf(id, sizeof(id), "m%d", i);
		many[i] = calloc(1, sizeof(*many[i]));
		agent_init(r, many[i], id, ROLE_CLIENT);
		assert_true(agent_sign_in(r, many[i]));
		agent_gets(many[i], KIND_SEND_INFORMATION);
		arena_reset(&r->arena);
	}
}

static size_t silent_of(struct rig *r)
{
	size_t n = 0;

	for (int i = 0; i < MANY; i++)
		n += core_client_reach(r->core, many[i]->id) == REACH_SILENT;
	return n;
}

// The last `silent` of them say nothing, until they are silent.
static void fall_silent(struct rig *r, int silent)
{
	for (int s = 0; s < 14; s++) {
		sent_clear(r);
		rig_pass(r, 1000);
		for (int i = 0; i < MANY - silent; i++)
			beat_quietly(r, many[i]);
	}
}

static void many_free(void)
{
	for (int i = 0; i < MANY; i++) {
		agent_fini(many[i]);
		free(many[i]);
	}
}

static void many_begin(struct rig *r)
{
	many_speak(r);
	for (int i = 0; i < MANY; i++)
		beat_quietly(r, many[i]);
	sent_clear(r);
	rig_pass(r, 1000);
	for (int i = 0; i < MANY; i++)
		beat_quietly(r, many[i]);
}

static void S003_7_a_few_that_fall_silent_are_a_few_devices(void **state)
{
	struct rig *r = *state;

	many_begin(r);
	fall_silent(r, 15);
	assert_int_equal(silent_of(r), 15);
	assert_false(core_mass_silence(r->core));
	assert_int_equal(core_mass_silence_release(r->core, "alice.1"), ERR_NOT_NOW);
	many_free();
}

static void S003_7_mass_silence_waits_for_a_person_also_over_a_restart(void **state)
{
	struct rig *r = *state;

	many_begin(r);
	assert_false(core_mass_silence(r->core));
	fall_silent(r, 30);
	assert_int_equal(silent_of(r), 30);
	assert_true(core_mass_silence(r->core));
	// Time alone ends it not, nor does a kill.
	rig_pass(r, 600 * 1000);
	assert_true(core_mass_silence(r->core));
	rig_restart(r);
	rig_pass(r, 60 * 1000);
	assert_true(core_mass_silence(r->core));
	assert_int_equal(core_mass_silence_release(r->core, "alice.1"), ERR_OK);
	assert_false(core_mass_silence(r->core));
	core_turn_end(r->core, r->now);
	rig_restart(r);
	rig_pass(r, 60 * 1000);
	assert_false(core_mass_silence(r->core));
	many_free();
}

static void S003_7_mass_silence_ends_when_they_are_heard_again(void **state)
{
	struct rig *r = *state;

	many_begin(r);
	fall_silent(r, 30);
	assert_true(core_mass_silence(r->core));
	for (int i = MANY - 30; i < MANY - 10; i++)
		beat_quietly(r, many[i]);
	sent_clear(r);
	rig_pass(r, 1000);
	assert_true(core_mass_silence(r->core)); // ten are missing still
	for (int i = MANY - 10; i < MANY; i++)
		beat_quietly(r, many[i]);
	sent_clear(r);
	rig_pass(r, 1000);
	assert_false(core_mass_silence(r->core));
	many_free();
}

// ---- views

static size_t views_sent(const struct rig *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->sent_count; i++)
		n += strncmp(r->sent[i].topic, "helio/v1/view/state/", 20) == 0;
	return n;
}

static int tight_setup(void **state)
{
	struct rig *r = rig_new();

	rig_kill(r);
	r->config.views_per_s = 40; // 10 of the unchanged, in bursts of 1
	r->config.view_period_s = 1;
	rig_start(r);
	*state = r;
	return 0;
}

static void S003_4_what_changed_does_not_wait_for_what_did_not(void **state)
{
	struct rig *r = *state;

	many_begin(r);
	sent_clear(r);
	rig_pass(r, 1500);
	// Everybody's view is old: each asks for one again, in one instant.
	size_t unchanged = 0;
	for (int i = 1; i < MANY; i++) {
		beat_quietly(r, many[i]);
		unchanged += views_sent(r);
	}
	assert_true(unchanged >= 1 && unchanged <= 3);
	// One that changes in the same instant goes with its own turn.
	many[0]->showing = rig_add_package(r, "pictures", "1", PACKAGE_IMAGES);
	beat_quietly(r, many[0]);
	assert_int_equal(views_sent(r), 1);
	assert_true(sent_at(r, "helio/v1/view/state/m0") < sent_at(r, "helio/v1/rsp/m0"));
	assert_false(core_is_due(r->core));
	many_free();
}

static void S003_4_views_over_the_budget_stay_due_and_follow(void **state)
{
	struct rig *r = *state;
	struct digest package = rig_add_package(r, "pictures", "1", PACKAGE_IMAGES);
	size_t sent = 0;

	many_begin(r);
	sent_clear(r);
	rig_pass(r, 1000);
	for (int i = 0; i < MANY; i++) {
		many[i]->showing = package;
		beat_quietly(r, many[i]);
		sent += views_sent(r);
	}
	assert_true(sent >= 20 && sent < MANY); // a burst of half a second
	assert_true(core_is_due(r->core));
	sent_clear(r);
	for (int ms = 0; core_is_due(r->core) && ms < 1000; ms += 2) {
		rig_advance(r, 2);
		core_turn_end(r->core, r->now);
	}
	assert_int_equal(sent + views_sent(r), MANY);
	many_free();
}

static void the_host_state_rises_over_restarts_and_says_when_it_ends(void **state)
{
	struct rig *r = *state;
	struct host_state h;
	uint64_t before = 0;

	for (int i = 0; i < 4; i++) {
		sent_clear(r);
		core_host_say(r->core, r->now);
		core_turn_end(r->core, r->now);
		const struct sent *s = sent_find(r, "helio/v1/host/server.1");
		assert_true(s && s->retained);
		assert_int_equal(seal_check_signature(sent_bytes(s), "helio/v1/host/server.1",
					 sign_key_public(r->online)),
			ERR_OK);
		assert_int_equal(host_state_decode(&r->arena, sent_bytes(s), &h), ERR_OK);
		assert_true(h.up && h.counter > before);
		before = h.counter;
		if (i % 2)
			rig_restart(r);
	}
	core_shutdown(r->core, r->now);
	sent_clear(r);
	core_turn_end(r->core, r->now);
	assert_int_equal(host_state_decode(
				 &r->arena, sent_bytes(sent_find(r, "helio/v1/host/server.1")), &h),
		ERR_OK);
	assert_true(!h.up && h.counter > before);
}

// ---- intervals

static void S001_c34_load_and_operations_change_what_is_told_and_nothing_else_does(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1"), *b = rig_settled(r, "f2");

	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.heartbeat_interval_ms, 8000);
	// One client by its operator: the next response says it, and only that client's.
	assert_int_equal(core_client_set_interval(r->core, "f1", 500), ERR_OK);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.heartbeat_interval_ms, 500);
	agent_gets(b, KIND_NO_ACTION);
	assert_int_equal(b->got.heartbeat_interval_ms, 8000);
	// Fast while an operation runs, slow again with the answer that follows its end.
	append_request(r, "@f2");
	agent_gets(b, KIND_SEND_INFORMATION);
	assert_int_equal(b->got.heartbeat_interval_ms, 1000);
	agent_gets(b, KIND_NO_ACTION);
	assert_int_equal(b->got.heartbeat_interval_ms, 1000);
	agent_report(r, b, INFO_DISPLAY, NULL);
	agent_done_gets(b, KIND_NO_ACTION);
	assert_int_equal(b->got.heartbeat_interval_ms, 8000);
	// Slower under load of the server, and of the broker; the operator's word stands.
	for (int load = 0; load < 2; load++) {
		for (int s = 0; s < 40; s++) {
			rig_advance(r, 1000);
			core_set_load(r->core, load ? 0.1 : 0.95, load ? 0.95 : 0.1, r->now);
		}
		agent_gets(b, KIND_NO_ACTION);
		assert_true(b->got.heartbeat_interval_ms > 12000);
		agent_gets(a, KIND_NO_ACTION);
		assert_int_equal(a->got.heartbeat_interval_ms, 500);
		for (int s = 0; s < 900; s++) {
			rig_advance(r, 1000);
			core_set_load(r->core, 0.1, 0.1, r->now);
		}
		agent_gets(b, KIND_NO_ACTION);
		assert_int_equal(b->got.heartbeat_interval_ms, 8000);
	}
}

static int idle_setup(void **state)
{
	struct rig *r = rig_new();

	rig_kill(r);
	r->config.interval_ms = 8000;
	r->config.interval_busy_ms = 1000;
	r->config.interval_max_ms = 60000;
	rig_start(r);
	*state = r;
	return 0;
}

static void S001_c27_an_interval_that_is_retrieved_is_what_every_later_response_says(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	const struct event e = {.type = ELEMENT_INTERVAL, .interval_ms = 300, .author = "alice.1"};

	assert_int_equal(core_append_event(r->core, "@f1", &e, NULL, NULL), ERR_OK);
	core_turn_end(r->core, r->now);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->retrieve->heartbeat_interval_ms, 300);
	assert_int_equal(a->got.heartbeat_interval_ms, 300); // the two never contradict each other
	uint64_t op = a->op.op_id;
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->ended[r->ended_count - 1].op_id, op);
	assert_int_equal(r->ended[r->ended_count - 1].outcome, OP_DONE);
	assert_int_equal(a->got.heartbeat_interval_ms, 300);
	rig_restart(r);
	(void)agent_step(a);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.heartbeat_interval_ms, 300);
	// Out of range is no event at all.
	static const uint32_t wrong[] = {0, 1, 199, 1000000000};
	for (size_t i = 0; i < 4; i++) {
		const struct event bad = {.type = ELEMENT_INTERVAL, .interval_ms = wrong[i]};
		assert_int_equal(core_append_event(r->core, "@f1", &bad, NULL, NULL), ERR_RANGE);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define TIGHT(f) cmocka_unit_test_setup_teardown(f, tight_setup, rig_teardown)
#define IDLE(f) cmocka_unit_test_setup_teardown(f, idle_setup, rig_teardown)

int main(void)
{
	log_init("test_reach", LOG_ERROR);
	const struct CMUnitTest tests[] = {
		T(S003_4_late_comes_between_two_intervals_and_two_and_a_half_and_half_a_second),
		T(S001_c34_a_client_told_a_shorter_interval_is_missed_by_that),
		T(S003_4_a_stall_of_the_server_makes_nobody_silent),
		T(S003_7_a_few_that_fall_silent_are_a_few_devices),
		T(S003_7_mass_silence_waits_for_a_person_also_over_a_restart),
		T(S003_7_mass_silence_ends_when_they_are_heard_again),
		TIGHT(S003_4_what_changed_does_not_wait_for_what_did_not),
		TIGHT(S003_4_views_over_the_budget_stay_due_and_follow),
		T(the_host_state_rises_over_restarts_and_says_when_it_ends),
		IDLE(S001_c34_load_and_operations_change_what_is_told_and_nothing_else_does),
		T(S001_c27_an_interval_that_is_retrieved_is_what_every_later_response_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
