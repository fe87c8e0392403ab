// What is said waits for the disk, and the loop does not: a core on a store whose disk the test
// holds in its hand.
#include "core_rig.h"

static struct {
	bool over;    // the flush under way came to its end
	bool at_once; // it does so when it begins, by a log that needs no commit
	enum err verdict, whole;
	unsigned begun, ended, wholes;
} disk;

static enum err disk_pipeline(struct db *db, db_tell_fn tell, void *ctx)
{
	(void)db;
	(void)tell;
	(void)ctx;
	return ERR_OK;
}

static void disk_pipeline_end(struct db *db)
{
	(void)db;
}

static void disk_begin(struct db *db)
{
	(void)db;
	disk.begun++;
	disk.over = disk.at_once;
}

static bool disk_is_over(struct db *db)
{
	(void)db;
	return disk.over;
}

static enum err disk_end(struct db *db)
{
	(void)db;
	disk.ended++;
	return disk.verdict == ERR_OK ? ERR_OK : err_set(disk.verdict, "the disk is broken");
}

static bool disk_seal(struct db *db)
{
	(void)db;
	return disk.at_once;
}

static void disk_note(struct db *db, const char *sql, const struct db_value *values, size_t count)
{
	(void)db;
	(void)sql;
	(void)values;
	(void)count;
}

static enum err disk_whole(struct db *db)
{
	(void)db;
	disk.wholes++;
	return disk.whole == ERR_OK ? ERR_OK : err_set(disk.whole, "the disk is still broken");
}

// From now on nothing reaches the disk before disk_writes().
static void disk_take(struct rig *r)
{
	memset(&disk, 0, sizeof(disk));
	r->engine.pipeline = disk_pipeline;
	r->engine.pipeline_end = disk_pipeline_end;
	r->engine.flush_begin = disk_begin;
	r->engine.flush_is_over = disk_is_over;
	r->engine.flush_end = disk_end;
	r->engine.flush_whole = disk_whole;
	r->engine.seal = disk_seal;
	r->engine.note = disk_note;
	assert_int_equal(db_pipeline(r->db, NULL, NULL), ERR_OK);
	sent_clear(r);
}

static void disk_writes(struct rig *r)
{
	disk.over = true;
	core_stored(r->core, r->now);
}

static bool answered(struct rig *r, const struct agent *a)
{
	struct topic topic = topic_of(TOPIC_RSP, a->id);

	return sent_find(r, topic.s) != NULL;
}

static void S000_7_an_answer_that_sets_a_state_waits_for_the_disk(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	disk_take(r);
	append_command(r, "@f1", "ping");
	disk_writes(r);
	unsigned before = disk.begun;
	assert_false(agent_beat(r, a, &a->got));
	assert_int_equal(disk.begun, before + 1);
	core_stored(r->core, r->now); // told without a reason
	assert_int_equal(r->sent_count, 0);
	disk_writes(r);
	assert_true(answered(r, a));
	assert_false(db_is_pending(r->db));
}

static void who_only_listens_waits_for_nothing(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	disk_take(r);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(disk.begun, 0);
}

static void what_follows_stays_behind_and_goes_in_one_flush(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1"), *b = rig_settled(r, "f2"),
		     *c = rig_settled(r, "f3");

	append_command(r, "@f1", "ping");
	append_command(r, "@f2", "ping");
	disk_take(r);
	assert_false(agent_beat(r, a, &a->got));
	assert_false(agent_beat(r, b, &b->got));
	assert_false(agent_beat(r, c, &c->got));
	assert_int_equal(disk.begun, 1);
	sent_clear(r);
	uint64_t commits = r->db->commits;
	disk_writes(r);
	assert_true(r->db->commits == commits + 1);
	assert_true(answered(r, a));
	assert_false(answered(r, b));
	assert_false(answered(r, c)); // no commit of its own, yet behind one
	assert_int_equal(disk.begun, 2);
	disk_writes(r);
	assert_true(answered(r, b) && answered(r, c));
	assert_int_equal(disk.begun, 2);
}

static void X_4_a_disk_that_fails_lets_nothing_out_until_all_is_written_anew(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_command(r, "@f1", "ping");
	disk_take(r);
	assert_false(agent_beat(r, a, &a->got));
	sent_clear(r);
	disk.verdict = ERR_IO;
	disk.whole = ERR_IO;
	disk_writes(r);
	assert_true(core_is_degraded(r->core));
	assert_int_equal(r->sent_count, 0);
	rig_pass(r, 5000);
	assert_true(disk.wholes > 0 && core_is_degraded(r->core));
	assert_int_equal(r->sent_count, 0);
	// That a flush succeeds now says nothing of the one that failed.
	disk.verdict = ERR_OK;
	rig_pass(r, 40000);
	assert_true(core_is_degraded(r->core));
	disk.whole = ERR_OK;
	for (int i = 0; i < 40; i++) {
		rig_pass(r, 1000);
		disk_writes(r);
	}
	assert_false(core_is_degraded(r->core));
	assert_false(db_is_pending(r->db));
	assert_false(answered(r, a)); // what waited then is not sent late: the client asks again
	core_link(r->core, true, r->now);
	db_pipeline_end(r->db);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_STALE_BOOT);
	agent_gets(a, KIND_EXECUTE_COMMAND);
}

static void a_group_that_is_not_stored_takes_nothing_from_the_one_before(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1"), *b = rig_settled(r, "f2"),
		     *c = rig_settled(r, "f3");

	append_command(r, "@f1", "ping");
	append_command(r, "@f2", "ping");
	append_command(r, "@f3", "ping");
	disk_take(r);
	assert_false(agent_beat(r, a, &a->got)); // on its way
	assert_false(agent_beat(r, b, &b->got)); // behind it, and
	assert_false(agent_beat(r, c, &c->got)); // with it in one commit
	sent_clear(r);
	r->commit_fails = ERR_NO_SPACE;
	disk_writes(r);
	assert_true(answered(r, a));
	assert_true(core_is_degraded(r->core));
	assert_false(db_is_flushing(r->db));
	assert_false(answered(r, b) || answered(r, c));
}

static void a_planned_end_waits_for_the_disk(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_command(r, "@f1", "ping");
	disk_take(r);
	assert_false(agent_beat(r, a, &a->got));
	append_command(r, "@f1", "ping");
	core_settle(r->core, r->now);
	assert_true(answered(r, a));
	assert_false(db_is_pending(r->db));
	assert_int_equal(disk.ended, 2);
}

// The beat of an agent, as a loop hands it in that has more to do.
static void beat_tell(struct rig *r, struct agent *a)
{
	struct topic topic = topic_hb(a->id);

	agent_beat_bytes(a, &a->last);
	core_message(r->core, NULL, topic.s, strlen(topic.s), buf_bytes(&a->last), false, r->now);
	core_turn_tell(r->core, r->now);
}

static void what_nobody_waits_for_is_done_when_no_message_waits(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1"), *b = rig_settled(r, "f2");
	struct topic view = topic_of(TOPIC_VIEW_STATE, "f1");

	append_command(r, "@f1", "ping");
	append_command(r, "@f2", "ping");
	disk_take(r);
	disk.at_once = true;
	uint64_t commits = r->db->commits;
	beat_tell(r, a);
	assert_true(answered(r, a));
	assert_true(sent_at(r, view.s) < sent_at(r, topic_of(TOPIC_RSP, "f1").s)); // S000-7
	beat_tell(r, b); // it waited while the first was judged
	assert_true(answered(r, b));
	assert_true(r->db->commits == commits);
	assert_true(core_rest_waits(r->core));
	assert_false(core_rest_is_urgent(r->core, r->now));
	r->now.mono.ms += 8;
	assert_true(core_rest_is_urgent(r->core, r->now));
	core_rest(r->core, r->now);
	assert_true(r->db->commits == commits + 1);
	assert_false(core_rest_waits(r->core));
	core_rest(r->core, r->now);
	assert_true(r->db->commits == commits + 1);
}

// Thousands in a second: their answers come first. A quiet fleet's views do.
static void a_pressed_loop_leaves_views_for_later(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1"), *b = rig_settled(r, "f2");
	struct topic view = topic_of(TOPIC_VIEW_STATE, "f1");

	disk_take(r);
	disk.at_once = true;
	for (int i = 0; i < 200; i++)
		beat_tell(r, b);
	append_command(r, "@f1", "ping");
	rig_pass(r, 100);
	sent_clear(r);
	beat_tell(r, a);
	assert_true(answered(r, a));
	assert_null(sent_find(r, view.s));
	core_rest(r->core, r->now);
	assert_non_null(sent_find(r, view.s));

	rig_pass(r, 300); // nobody says anything
	append_command(r, "@f2", "ping");
	sent_clear(r);
	beat_tell(r, b);
	assert_true(answered(r, b));
	assert_true(sent_at(r, topic_of(TOPIC_VIEW_STATE, "f2").s) <
		    sent_at(r, topic_of(TOPIC_RSP, "f2").s));
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(S000_7_an_answer_that_sets_a_state_waits_for_the_disk),
		T(who_only_listens_waits_for_nothing),
		T(what_follows_stays_behind_and_goes_in_one_flush),
		T(X_4_a_disk_that_fails_lets_nothing_out_until_all_is_written_anew),
		T(a_group_that_is_not_stored_takes_nothing_from_the_one_before),
		T(a_planned_end_waits_for_the_disk),
		T(what_nobody_waits_for_is_done_when_no_message_waits),
		T(a_pressed_loop_leaves_views_for_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
