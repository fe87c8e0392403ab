// What the simulator (tests/fleet/sim) found, each as the shortest story that shows it.
#include "proto/base/log.h"
#include "tests/unit/core_rig.h"
#include <unistd.h>

#define BURST 15

// As many beats as a link holds that stood still: all of them come at one moment.
static void burst(struct rig *r, struct agent *a)
{
	struct topic topic = topic_hb(a->id);

	rig_advance(r, 1000);
	for (int i = 0; i < BURST; i++) {
		sent_clear(r);
		agent_beat_bytes(a, &a->last);
		rig_give(r, topic.s, buf_bytes(&a->last), false);
	}
}

static void S001_c35_beats_that_come_in_one_heap_asked_once(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct response first;

	append_command(r, "@f1", "ping");
	assert_true(agent_beat(r, a, &first)); // and is lost
	a->ack = ACK_RESEND;
	burst(r, a);
	burst(r, a);
	assert_int_equal(rig_counter(r, "mismatches"), 0);
	assert_true(agent_beat(r, a, &a->got));
	assert_true(bytes_equal(first.body_bytes, a->got.body_bytes));
	// Control: as many beats, each at its own time, do start the client anew.
	for (int i = 0; i < BURST; i++)
		assert_true(agent_beat(r, a, &a->got));
	assert_int_equal(rig_counter(r, "mismatches"), 1);
	assert_string_equal(a->got.body->execute->verb, "resync");
}

// The client never had the response that the resync takes back; what it shows came before that.
static void S001_c36_a_resync_that_is_lost_is_sent_again_not_begun_again(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	uint64_t resync = 0;

	append_command(r, "@f1", "ping");
	assert_true(agent_beat(r, a, &a->got)); // lost, as all that follows
	a->ack = ACK_RESEND;
	for (int i = 0; i < 2 * BURST && !resync; i++) {
		assert_true(agent_beat(r, a, &a->got));
		if (strcmp(a->got.body->execute->verb, "resync") == 0)
			resync = a->got.body->op_id;
	}
	assert_true(resync != 0);
	a->ack = ACK_RESPONSE;
	for (int i = 0; i < 5; i++) {
		assert_true(agent_beat(r, a, &a->got));
		assert_int_equal(a->got.body->op_id, resync);
	}
	assert_int_equal(rig_counter(r, "mismatches"), 1);
}

static size_t report_rows(struct rig *r, uint64_t report_id)
{
	struct db_rows rows;
	size_t count = 0;

	assert_int_equal(db_query(r->db, &rows, "SELECT 1 FROM report WHERE report_id = $1",
				 DB_I(report_id)),
		ERR_OK);
	while (db_next(&rows))
		count++;
	assert_int_equal(db_end(&rows), ERR_OK);
	return count;
}

static void S000_4_a_question_answered_twice_is_recorded_once_and_acknowledged(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_request(r, "@f1");
	agent_gets(a, KIND_SEND_INFORMATION);
	size_t before = r->reports;
	agent_report(r, a, INFO_DISPLAY, NULL);
	uint64_t kept = a->report_id;
	agent_report(r, a, INFO_DISPLAY, NULL); // under the next number: its state was lost
	assert_int_equal(r->reports, before + 1);
	assert_int_equal(report_rows(r, kept), 1);
	assert_int_equal(report_rows(r, a->report_id), 0);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.acked_report_id, a->report_id);
	// Control: the answer to another question is another report.
	append_request(r, "@f1");
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report(r, a, INFO_DISPLAY, NULL);
	assert_int_equal(r->reports, before + 2);
}

static void a_report_of_the_lost_store_takes_no_number_of_the_new_one(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_request(r, "@f1");
	agent_gets(a, KIND_SEND_INFORMATION);
	struct agent *anew = rig_copy(r, a);
	rig_random(r, anew->store_id.b, sizeof(anew->store_id.b));
	anew->lineage = (struct id16){0};
	anew->op = (struct operation){0};
	anew->last_response_id = 0;
	assert_true(agent_sign_in(r, anew)); // told the highest number by now
	size_t before = r->reports;
	agent_report(r, a, INFO_DISPLAY, NULL); // on its way since before the disk was lost
	assert_int_equal(r->reports, before + 1);
	agent_gets(anew, KIND_SEND_INFORMATION);
	agent_report_holdings(r, anew);
	assert_int_equal(anew->report_id, a->report_id); // the same number
	assert_int_equal(r->reports, before + 2);
	agent_done_gets(anew, KIND_NO_ACTION);
}

// The device took the offer and stored its number; the server forgot both, and its clock went back.
static void an_offer_is_above_those_before_it_though_the_clock_was_set_back(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	uint64_t highest = 0;

	for (int i = 0; i < 4; i++) {
		assert_true(agent_sign_in(r, a));
		assert_true(a->session_id > highest);
		highest = a->session_id;
		r->now.wall.ms -= 3600 * 1000;
		if (i % 2 == 0)
			rig_restart(r);
		else
			rig_pass(r, OFFER_LIFE_MS + 1000); // the offer's time is over
	}
	// Control: a clock that goes on is followed.
	r->now.wall.ms += 30ll * 24 * 3600 * 1000;
	assert_true(agent_sign_in(r, a));
	assert_int_equal(a->session_id, (uint64_t)r->now.wall.ms / 1000);
}

static void store_replace(struct rig *r, const char *copy)
{
	char wal[160];

	rig_kill(r);
	(void)snprintf(wal, sizeof(wal), "%s-wal", r->file);
	(void)unlink(wal);
	assert_int_equal(rename(copy, r->file), 0);
	rig_advance(r, 5000);
	rig_start(r);
}

// Nothing outside of the store differs: only the backup itself can tell.
static void a_backup_of_this_start_is_noticed_when_it_comes_back(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	char copy[128];

	store_must_be_file();
	(void)snprintf(copy, sizeof(copy), "%s/backup.db", r->folder);
	assert_int_equal(db_backup(r->db, copy), ERR_OK);
	append_command(r, "@f1", "ping"); // after the backup
	agent_gets(a, KIND_EXECUTE_COMMAND);
	uint64_t epoch = a->got.epoch;
	store_replace(r, copy);
	assert_int_equal(rig_counter(r, "stores-restored"), 1);
	assert_true(agent_sign_in(r, a));
	assert_true(agent_step(a) != 0);
	assert_true(a->got.epoch > epoch);
	// Control: it is a store like any other from here on.
	rig_restart(r);
	assert_int_equal(rig_counter(r, "stores-restored"), 0);
}

static uint64_t grant_number(struct rig *r)
{
	struct grant g = {.package = {{7}}}, out;
	const struct sent *s;

	sent_clear(r);
	assert_int_equal(core_send_grant(r->core, "f1", &g), ERR_OK);
	core_turn_end(r->core, r->now);
	s = sent_find(r, topic_of(TOPIC_GRANT, "f1").s);
	assert_non_null(s);
	assert_int_equal(grant_decode(&r->arena, sent_bytes(s), &out), ERR_OK);
	return out.seq;
}

// A session outlives a start of the server: the client refuses what is not numbered above the last.
static void what_is_told_in_a_session_is_numbered_upward_over_a_restart(void **state)
{
	struct rig *r = *state;
	uint64_t before = 0;

	(void)rig_settled(r, "f1");
	for (int i = 0; i < 3; i++) {
		uint64_t now = grant_number(r);
		assert_true(now > before);
		before = now;
	}
	rig_restart(r);
	assert_true(grant_number(r) > before);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	log_init("test_core_faults", LOG_ERROR);
	const struct CMUnitTest tests[] = {
		T(S001_c35_beats_that_come_in_one_heap_asked_once),
		T(S001_c36_a_resync_that_is_lost_is_sent_again_not_begun_again),
		T(S000_4_a_question_answered_twice_is_recorded_once_and_acknowledged),
		T(a_report_of_the_lost_store_takes_no_number_of_the_new_one),
		T(an_offer_is_above_those_before_it_though_the_clock_was_set_back),
		T(a_backup_of_this_start_is_noticed_when_it_comes_back),
		T(what_is_told_in_a_session_is_numbered_upward_over_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
