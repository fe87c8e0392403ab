// replay: recorded beats and answers against another policy; the same policy changes nothing.
#include "tests/unit/helper.h"

#include "server/accordance.h"
#include "server/ctl/replay.h"

#define ID(n) (((uint64_t)7 << 32) + (n))

struct play {
	struct replay *r;
	struct replay_counts n;
	struct replay_difference first;
	uint64_t seq, found;
};

static const struct replay_policy usual = {.mismatch_limit = 3,
	.resend_limit = 10,
	.attempts_max = 3,
	.op_deadline_s = 600,
	.intervals = {.idle_ms = 30000, .busy_ms = 2000, .min_ms = 200, .max_ms = 60000}};

static void play_begin(struct play *p, const struct replay_policy *would)
{
	*p = (struct play){.r = replay_new(&usual, would)};
	assert_non_null(p->r);
}

// What the next answers carry besides.
static struct answer {
	uint32_t attempt;
	struct send_information *send;
} answer;

// A beat that shows `shown` and works at op (0: none), and its answer.
static void beat(struct play *p, uint64_t shown, uint64_t op_id, enum op_status status,
	enum response_kind kind, uint64_t id, enum client_state state, enum reason_code code)
{
	struct operation op = {.op_id = op_id, .status = status, .detail = ""};
	struct heartbeat h = {.client_id = "f1",
		.session_id = 1,
		.seq = ++p->seq,
		.last_response_id = shown,
		.ack = ACK_RESPONSE,
		.op = op_id ? &op : NULL};
	struct reason reason = {code, ""};
	struct execute_command ping = {.verb = code == REASON_RESYNC ? "resync" : "ping"};
	struct response_body body = {.response_id = id,
		.kind = kind,
		.op_id = kind == KIND_NO_ACTION ? 0 : id,
		.state = state,
		.reason = &reason,
		.channel = "",
		.attempt = answer.attempt,
		.send = kind == KIND_SEND_INFORMATION ? answer.send : NULL,
		.execute = kind == KIND_EXECUTE_COMMAND ? &ping : NULL};
	struct response m = {.client_id = "f1",
		.in_reply_to_seq = p->seq,
		.heartbeat_interval_ms = state == CS_IDLE ? 30000 : 2000,
		.body = &body};
	struct replay_difference d;
	bool found = false;

	assert_int_equal(replay_heartbeat(p->r, (int64_t)p->seq * 1000, &h), ERR_OK);
	assert_int_equal(replay_response(p->r, &m, &found, &d), ERR_OK);
	if (found && p->found++ == 0)
		p->first = d;
}

static void idle(struct play *p, uint64_t shown, uint64_t id)
{
	beat(p, shown, 0, 0, KIND_NO_ACTION, id, CS_IDLE, REASON_CAUGHT_UP);
}

static void command(
	struct play *p, uint64_t shown, uint64_t id, enum client_state state, enum reason_code code)
{
	beat(p, shown, 0, 0, KIND_EXECUTE_COMMAND, id, state, code);
}

// A command that the client does not begin: told again three times, then a resync.
static void stubborn(struct play *p)
{
	idle(p, 0, ID(1));
	idle(p, ID(1), ID(2));
	command(p, ID(2), ID(3), CS_AWAIT_COMMAND, REASON_EVENT);
	for (int i = 0; i < 3; i++) // the stored body once more, with its own reason
		command(p, ID(3), ID(3), CS_AWAIT_COMMAND, REASON_EVENT);
	command(p, ID(3), ID(4), CS_RESYNC, REASON_RESYNC);
	beat(p, ID(4), ID(4), OP_RUNNING, KIND_NO_ACTION, ID(5), CS_RESYNC, REASON_OPERATION_OPEN);
	replay_end(p->r, &p->n);
}

static void the_same_policy_changes_nothing(void **state)
{
	struct play p;

	(void)state;
	play_begin(&p, &usual);
	stubborn(&p);
	assert_int_equal(p.n.heartbeats, 8);
	assert_int_equal(p.n.compared, 7);
	assert_int_equal(p.n.before, 1);
	assert_int_equal(p.n.different + p.n.unexplained + p.n.left_out + p.n.unanswered, 0);
	assert_int_equal(p.n.intervals_different + p.n.intervals_unknown, 0);
	assert_int_equal(p.found, 0);
	replay_free(p.r);
}

static void a_lower_limit_resyncs_earlier_and_the_rest_is_left_out(void **state)
{
	struct replay_policy would = usual;
	struct play p;

	(void)state;
	would.mismatch_limit = 1;
	play_begin(&p, &would);
	stubborn(&p);
	assert_int_equal(p.n.different, 1);
	assert_int_equal(p.first.was, REPLAY_RESEND);
	assert_int_equal(p.first.would_be, REPLAY_RESYNC);
	assert_string_equal(accordance_rule_name(p.first.was_rule), "not at work");
	assert_string_equal(accordance_rule_name(p.first.would_rule), "not at work, told often");
	assert_int_equal(p.first.seq, 5); // the second beat that does not show it
	assert_int_equal(p.n.left_out, 2);
	replay_free(p.r);
}

static void a_higher_limit_goes_on_resending(void **state)
{
	struct replay_policy would = usual;
	struct play p;

	(void)state;
	would.mismatch_limit = 4;
	play_begin(&p, &would);
	stubborn(&p);
	assert_int_equal(p.n.different, 1);
	assert_int_equal(p.first.was, REPLAY_RESYNC);
	assert_int_equal(p.first.would_be, REPLAY_RESEND);
	replay_free(p.r);
}

static void intervals_are_compared_where_their_source_is_known(void **state)
{
	struct replay_policy would = usual;
	struct play p;

	(void)state;
	would.intervals.idle_ms = 10000;
	play_begin(&p, &would);
	stubborn(&p);
	assert_int_equal(p.n.different, 0);
	assert_int_equal(p.n.intervals_different, 1); // the idle one whose state was known
	replay_free(p.r);
}

static void what_the_policy_does_not_explain_is_not_compared(void **state)
{
	struct replay_policy would = usual;
	struct play p;

	(void)state;
	would.mismatch_limit = 1;
	play_begin(&p, &would);
	idle(&p, 0, ID(1));
	command(&p, ID(1), ID(2), CS_AWAIT_COMMAND, REASON_EVENT);
	// The server ended it by its deadline: nothing on the wire says so.
	beat(&p, ID(2), 0, 0, KIND_NO_ACTION, ID(3), CS_IDLE, REASON_CAUGHT_UP);
	replay_end(p.r, &p.n);
	assert_int_equal(p.n.unexplained, 1);
	assert_int_equal(p.n.different, 0);
	replay_free(p.r);
}

// A question that fails at once, three times; the third failure ends it.
static void questions_fail(struct play *p)
{
	static struct send_information ask = {.what = INFO_SOFTWARE, .unit = "", .pattern = ""};

	idle(p, 0, ID(1));
	for (uint32_t n = 0; n < 3; n++) {
		answer = (struct answer){.attempt = n + 1, .send = &ask};
		beat(p, ID(1 + n), n ? ID(1 + n) : 0, n ? OP_FAILED : 0, KIND_SEND_INFORMATION,
			ID(2 + n), CS_AWAIT_INFO, n ? REASON_RETRY : REASON_EVENT);
	}
	answer = (struct answer){0};
	beat(p, ID(4), ID(4), OP_FAILED, KIND_NO_ACTION, ID(5), CS_IDLE, REASON_CAUGHT_UP);
	replay_end(p->r, &p->n);
}

static void fewer_and_more_attempts_are_seen(void **state)
{
	struct replay_policy would = usual;
	struct play p;

	(void)state;
	play_begin(&p, &would);
	questions_fail(&p);
	assert_int_equal(p.n.different + p.n.unexplained, 0);
	replay_free(p.r);
	would.attempts_max = 2;
	play_begin(&p, &would);
	questions_fail(&p);
	assert_int_equal(p.n.different, 1);
	assert_int_equal(p.first.seq, 4);
	assert_int_equal(p.first.was, REPLAY_RETRY);
	assert_int_not_equal(p.first.would_be, REPLAY_RETRY);
	replay_free(p.r);
	would.attempts_max = 4;
	play_begin(&p, &would);
	questions_fail(&p);
	assert_int_equal(p.n.different, 1);
	assert_int_equal(p.first.seq, 5);
	assert_int_equal(p.first.was, REPLAY_NOTHING);
	assert_int_equal(p.first.would_be, REPLAY_RETRY);
	replay_free(p.r);
}

// One beat a second, and no progress after the first.
static void a_shorter_deadline_ends_what_does_not_go_on(void **state)
{
	static struct send_information ask = {.what = INFO_SOFTWARE, .unit = "", .pattern = ""};
	struct replay_policy would = usual;
	struct play p;

	(void)state;
	for (uint32_t deadline = 3; deadline <= 30; deadline += 27) {
		would.op_deadline_s = deadline;
		play_begin(&p, &would);
		idle(&p, 0, ID(1));
		answer = (struct answer){.attempt = 1, .send = &ask};
		beat(&p, ID(1), 0, 0, KIND_SEND_INFORMATION, ID(2), CS_AWAIT_INFO, REASON_EVENT);
		answer = (struct answer){0};
		for (unsigned i = 0; i < 10; i++)
			beat(&p, ID(2), ID(2), OP_RUNNING, KIND_NO_ACTION, ID(3 + i), CS_AWAIT_INFO,
				REASON_OPERATION_OPEN);
		replay_end(p.r, &p.n);
		assert_int_equal(p.n.unexplained, 0);
		assert_int_equal(p.n.different, deadline == 3);
		if (deadline == 3) {
			assert_int_equal(p.first.seq, 6); // told at 2, at work at 3
			assert_int_equal(p.first.would_be, REPLAY_RETRY);
		}
		replay_free(p.r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_policy_changes_nothing),
		cmocka_unit_test(a_lower_limit_resyncs_earlier_and_the_rest_is_left_out),
		cmocka_unit_test(a_higher_limit_goes_on_resending),
		cmocka_unit_test(intervals_are_compared_where_their_source_is_known),
		cmocka_unit_test(what_the_policy_does_not_explain_is_not_compared),
		cmocka_unit_test(fewer_and_more_attempts_are_seen),
		cmocka_unit_test(a_shorter_deadline_ends_what_does_not_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
