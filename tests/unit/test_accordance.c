// Accordance as a table of cases: what the server keeps, what the heartbeat shows, what must
// follow.
#include "helper.h"
#include "server/accordance.h"

#define INC(n) ((uint64_t)100 << 32 | (n))
#define OLD(n) ((uint64_t)99 << 32 | (n))

// P = INC(3), D = INC(5), V = INC(8) throughout, in incarnation 100.
static struct accordance_state open_state(enum client_state state)
{
	return (struct accordance_state){.state = state,
		.d = INC(5),
		.p = INC(3),
		.v = INC(8),
		.incarnation = 100,
		.open_op = INC(5),
		.is_resync = state == CS_RESYNC,
		.mismatch_limit = 3,
		.resend_limit = 10};
}

static struct accordance_state idle_state(void)
{
	struct accordance_state s = open_state(CS_IDLE);

	s.open_op = s.p = 0;
	return s;
}

struct row {
	const char *what;
	uint64_t shown;
	enum ack ack;
	uint64_t op;
	enum op_status status;
	enum accordance_outcome outcome;
	enum op_status completes;
	bool mismatch;
};

static void rows_check(const struct accordance_state *s, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct accordance_shown h = {
			rows[i].shown, rows[i].ack, rows[i].op, rows[i].status};
		struct accordance a = accordance_judge(s, &h);
		if (a.outcome != rows[i].outcome || a.completes != rows[i].completes ||
			a.mismatch != rows[i].mismatch)
			fail_msg("%s: outcome %d completes %d mismatch %d (%s)", rows[i].what,
				(int)a.outcome, (int)a.completes, a.mismatch, a.why);
		assert_true(a.why != NULL && (a.outcome == ACCORD || a.why[0] != '\0'));
	}
}

#define CHECK(s, rows) rows_check(&(s), rows, sizeof(rows) / sizeof((rows)[0]))

static void S000_8_what_is_shown_places_the_client(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_AWAIT_COMMAND);
	const struct row rows[] = {
		{"D", INC(5), ACK_RESPONSE, INC(5), OP_RUNNING, ACCORD, 0, false},
		{"between D and V", INC(7), ACK_RESPONSE, INC(5), OP_RUNNING, ACCORD, 0, false},
		{"V", INC(8), ACK_RESPONSE, INC(5), OP_RUNNING, ACCORD, 0, false},
		{"above V", INC(9), ACK_RESPONSE, INC(5), OP_RUNNING, ACCORD_RESYNC, 0, true},
		{"P", INC(3), ACK_RESPONSE, INC(3), OP_DONE, ACCORD_RESEND, 0, false},
		{"between P and D", INC(4), ACK_RESPONSE, INC(3), OP_DONE, ACCORD_RESEND, 0, false},
		{"below P", INC(2), ACK_RESPONSE, INC(3), OP_DONE, ACCORD_RESYNC, 0, true},
		{"nothing", 0, ACK_NOTHING, 0, 0, ACCORD_RESYNC, 0, true},
		{"a later incarnation", (uint64_t)101 << 32, ACK_RESPONSE, INC(5), OP_RUNNING,
			ACCORD_RESTORED, 0, true},
	};
	CHECK(s, rows);
	s.d = OLD(5);
	s.p = OLD(3);
	s.open_op = OLD(5);
	const struct row older[] = {
		{"D of an older incarnation", OLD(5), ACK_RESPONSE, OLD(5), OP_RUNNING, ACCORD, 0,
			false},
		{"NO_ACTION of it after D", OLD(900), ACK_RESPONSE, OLD(5), OP_RUNNING, ACCORD, 0,
			false},
		{"P of it", OLD(3), ACK_RESPONSE, OLD(3), OP_DONE, ACCORD_RESEND, 0, false},
	};
	CHECK(s, older);
}

static void a_new_client_shows_nothing_and_accords(void **state)
{
	(void)state;
	const struct accordance_state s = {
		.state = CS_IDLE, .incarnation = 100, .mismatch_limit = 3, .resend_limit = 10};
	const struct row rows[] = {{"nothing at all", 0, ACK_NOTHING, 0, 0, ACCORD, 0, false}};
	CHECK(s, rows);
}

static void S001_c36_idle_tolerates_the_finished_operation_and_cancels_others(void **state)
{
	(void)state;
	struct accordance_state s = idle_state();
	const struct row rows[] = {
		{"none", INC(8), ACK_RESPONSE, 0, 0, ACCORD, 0, false},
		{"the finished one", INC(8), ACK_RESPONSE, INC(5), OP_DONE, ACCORD, 0, false},
		{"an older finished one", INC(8), ACK_RESPONSE, INC(1), OP_FAILED, ACCORD, 0,
			false},
		{"DONE, then RUNNING", INC(8), ACK_RESPONSE, INC(5), OP_RUNNING, ACCORD_CANCEL, 0,
			true},
		{"one never given", INC(8), ACK_RESPONSE, 999, OP_RUNNING, ACCORD_CANCEL, 0, true},
		{"one never given, above V", INC(8), ACK_RESPONSE, INC(50), OP_RUNNING,
			ACCORD_CANCEL, 0, true},
		{"one never given, finished", INC(8), ACK_RESPONSE, INC(50), OP_DONE, ACCORD_RESYNC,
			0, true},
		{"lost NO_ACTION, asked for", INC(6), ACK_RESEND, 0, 0, ACCORD, 0, false},
		{"busy", INC(8), ACK_BUSY, 0, 0, ACCORD, 0, false},
	};
	CHECK(s, rows);
}

static void S000_8_an_open_operation_ends_by_its_own_final_status_only(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_AWAIT_COMMAND);
	const struct row rows[] = {
		{"accepted", INC(5), ACK_RESPONSE, INC(5), OP_ACCEPTED, ACCORD, 0, false},
		{"done", INC(5), ACK_RESPONSE, INC(5), OP_DONE, ACCORD, OP_DONE, false},
		{"failed", INC(5), ACK_RESPONSE, INC(5), OP_FAILED, ACCORD, OP_FAILED, false},
		{"refused", INC(5), ACK_RESPONSE, INC(5), OP_REFUSED, ACCORD, OP_REFUSED, false},
		{"cancelled", INC(5), ACK_RESPONSE, INC(5), OP_CANCELLED, ACCORD, OP_CANCELLED,
			false},
		{"unknown", INC(5), ACK_RESPONSE, INC(5), OP_UNKNOWN, ACCORD, OP_UNKNOWN, false},
		{"done, whatever else it shows", 0, ACK_RESPONSE, INC(5), OP_DONE, ACCORD, OP_DONE,
			false},
		{"done and busy", INC(5), ACK_BUSY, INC(5), OP_DONE, ACCORD, OP_DONE, false},
		{"none", INC(5), ACK_RESPONSE, 0, 0, ACCORD_RESEND, 0, true},
		{"another", INC(5), ACK_RESPONSE, INC(3), OP_DONE, ACCORD_RESEND, 0, true},
	};
	CHECK(s, rows);
	s.resends = 3;
	const struct row limit[] = {
		{"the limit", INC(5), ACK_RESPONSE, 0, 0, ACCORD_RESYNC, 0, true}};
	CHECK(s, limit);
}

static void S000_4_done_waits_for_the_report_twice(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_AWAIT_INFO);
	const struct accordance_shown done = {INC(5), ACK_RESPONSE, INC(5), OP_DONE};

	for (uint32_t patience = 0; patience < 2; patience++) {
		s.patience = patience;
		struct accordance a = accordance_judge(&s, &done);
		assert_int_equal(a.outcome, ACCORD);
		assert_true(a.waits);
		assert_int_equal(a.completes, 0);
	}
	s.patience = 2;
	assert_int_equal(accordance_judge(&s, &done).outcome, ACCORD_RESEND);
	s.reported = true;
	assert_int_equal(accordance_judge(&s, &done).completes, OP_DONE);
}

static void S000_5_done_needs_the_holdings(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_AWAIT_RETRIEVE);
	const struct accordance_shown done = {INC(5), ACK_RESPONSE, INC(5), OP_DONE};

	assert_int_equal(accordance_judge(&s, &done).outcome, ACCORD_RESEND);
	assert_true(accordance_judge(&s, &done).mismatch);
	s.complete = true;
	assert_int_equal(accordance_judge(&s, &done).completes, OP_DONE);
}

static void a_resync_ends_with_everything_held_only(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_RESYNC);
	const struct accordance_shown done = {INC(5), ACK_RESPONSE, INC(5), OP_DONE};

	assert_int_equal(accordance_judge(&s, &done).outcome, ACCORD_RESEND);
	s.full_holdings = true;
	assert_int_equal(accordance_judge(&s, &done).completes, OP_DONE);
}

static void a_passed_operation_may_end_while_its_cancel_is_open(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_AWAIT_COMMAND);
	s.passed_op = INC(3);
	const struct accordance_shown running = {INC(5), ACK_RESPONSE, INC(3), OP_RUNNING};
	const struct accordance_shown done = {INC(5), ACK_RESPONSE, INC(3), OP_DONE};

	assert_int_equal(accordance_judge(&s, &running).outcome, ACCORD);
	assert_int_equal(accordance_judge(&s, &done).passed_completes, OP_DONE);
	assert_int_equal(accordance_judge(&s, &done).completes, 0);
}

static void S001_c35_asking_again_is_answered_ten_times_then_resynced(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_AWAIT_COMMAND);
	const struct accordance_shown lost = {INC(3), ACK_RESEND, INC(3), OP_DONE};

	struct accordance a = accordance_judge(&s, &lost);
	assert_int_equal(a.outcome, ACCORD_RESEND);
	assert_int_equal(a.code, REASON_RESEND_ASKED);
	assert_false(a.mismatch);
	s.ack_resends = 10;
	assert_int_equal(accordance_judge(&s, &lost).outcome, ACCORD_RESYNC);
	struct accordance_state idle = idle_state();
	const struct accordance_shown again = {INC(8), ACK_RESEND, 0, 0};
	idle.ack_resends = 9;
	assert_int_equal(accordance_judge(&idle, &again).outcome, ACCORD);
	idle.ack_resends = 10;
	assert_int_equal(accordance_judge(&idle, &again).outcome, ACCORD_RESYNC);
}

static void a_suspected_clone_is_never_corrected(void **state)
{
	(void)state;
	struct accordance_state s = open_state(CS_CLONE_SUSPECT);
	const struct accordance_shown strange = {INC(99), ACK_RESPONSE, 999, OP_RUNNING};

	assert_int_equal(accordance_judge(&s, &strange).outcome, ACCORD);
}

// ---- the whole table

struct cell {
	unsigned at[AXIS_COUNT];
	struct accordance_place place;
};

// Can the server and a client be there at all?
static bool cell_exists(const struct cell *c)
{
	bool open = c->at[AXIS_STATE] >= CS_AWAIT_INFO && c->at[AXIS_STATE] <= CS_RESYNC;
	bool lost = c->at[AXIS_SHOWN] == SHOWS_P || c->at[AXIS_SHOWN] == SHOWS_BETWEEN;
	bool of_open = c->at[AXIS_OP] == NAMES_OPEN || c->at[AXIS_OP] == NAMES_PASSED;
	bool proof_fits =
		c->at[AXIS_PROOF] == PROOF_THERE || c->at[AXIS_STATE] == CS_AWAIT_INFO ||
		(c->at[AXIS_PROOF] == PROOF_MISSING &&
			(c->at[AXIS_STATE] == CS_AWAIT_RETRIEVE || c->at[AXIS_STATE] == CS_RESYNC));

	return (open || !lost) && (open || !of_open) && proof_fits &&
	       (c->at[AXIS_OP] == NAMES_NONE) == (c->at[AXIS_STATUS] == 0);
}

static bool cell_next(struct cell *c)
{
	for (unsigned axis = 0; axis < AXIS_COUNT; axis++) {
		if (accordance_word((enum accordance_axis)axis, ++c->at[axis]))
			return true;
		c->at[axis] = 0;
	}
	return false;
}

static void cells_each(void (*visit)(const struct cell *c, void *ctx), void *ctx)
{
	struct cell c = {{0}, {0}};

	do {
		if (c.at[AXIS_STATE] == 0 || c.at[AXIS_ACK] == 0 || !cell_exists(&c))
			continue;
		c.place.bits = 0;
		for (unsigned axis = 0; axis < AXIS_COUNT; axis++)
			c.place.bits |= accordance_bit((enum accordance_axis)axis, c.at[axis]);
		visit(&c, ctx);
	} while (cell_next(&c));
}

static bool is_final(unsigned status)
{
	return op_status_is_final((enum op_status)status);
}

struct tally {
	size_t cells, of_rule[64];
};

static void cell_check(const struct cell *c, void *ctx)
{
	struct tally *t = ctx;
	size_t count;
	const struct accordance_rule *rules = accordance_rules(&count);
	const struct accordance_rule *r = accordance_rule(c->place);
	bool open = c->at[AXIS_STATE] >= CS_AWAIT_INFO && c->at[AXIS_STATE] <= CS_RESYNC;

	t->cells++;
	t->of_rule[r - rules]++;
	assert_true(r != &rules[count - 1]);
	assert_true(r->outcome == ACCORD || (r->code != 0 && r->why[0]));
	if (r->ends) {
		assert_true(open && c->at[AXIS_OP] == NAMES_OPEN && is_final(c->at[AXIS_STATUS]));
		assert_true(c->at[AXIS_STATUS] != OP_DONE || c->at[AXIS_PROOF] == PROOF_THERE);
	}
	if (r->ends_passed)
		assert_true(c->at[AXIS_OP] == NAMES_PASSED && is_final(c->at[AXIS_STATUS]));
	if (r->outcome == ACCORD_RESEND)
		assert_true(open);
	// Told often enough, the same words are not said again.
	if (r->outcome == ACCORD_RESEND && r->mismatch)
		assert_int_equal(c->at[AXIS_TOLD], 0);
	if (c->at[AXIS_STATE] == CS_CLONE_SUSPECT)
		assert_true(r->outcome == ACCORD && !r->ends);
	// A client that shows D and works at what it was told is never corrected for it.
	if (c->at[AXIS_SHOWN] == SHOWS_D && c->at[AXIS_OP] == NAMES_OPEN &&
		c->at[AXIS_STATUS] == OP_RUNNING && c->at[AXIS_ASKED] == 0)
		assert_int_equal(r->outcome, ACCORD);
}

static void every_cell_has_its_rule_and_every_rule_its_cell(void **state)
{
	(void)state;
	struct tally t = {0};
	size_t count;

	cells_each(cell_check, &t);
	(void)accordance_rules(&count);
	for (size_t i = 0; i + 1 < count; i++)
		if (t.of_rule[i] == 0)
			fail_msg("rule %zu judges nothing", i + 1);
	assert_true(t.cells > 20000);
}

static void a_place_of_no_axis_is_mended_as_a_stranger(void **state)
{
	(void)state;
	size_t count;
	const struct accordance_rule *rules = accordance_rules(&count);
	struct accordance_place nowhere = {UINT64_MAX};

	assert_ptr_equal(accordance_rule(nowhere), &rules[count - 1]);
	assert_int_equal(rules[count - 1].outcome, ACCORD_RESYNC);
}

static void S000_8_the_table_describes_itself(void **state)
{
	(void)state;
	SCOPED_BUF struct buf text;

	buf_init(&text, 256 * 1024);
	assert_int_equal(accordance_describe(&text), ERR_OK);
	assert_int_equal(buf_append(&text, "", 1), ERR_OK);
	assert_non_null(strstr((const char *)text.data, "stateDiagram"));
	assert_non_null(
		strstr((const char *)text.data, "the client works at an operation that has ended"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S000_8_what_is_shown_places_the_client),
		cmocka_unit_test(a_new_client_shows_nothing_and_accords),
		cmocka_unit_test(S001_c36_idle_tolerates_the_finished_operation_and_cancels_others),
		cmocka_unit_test(S000_8_an_open_operation_ends_by_its_own_final_status_only),
		cmocka_unit_test(S000_4_done_waits_for_the_report_twice),
		cmocka_unit_test(S000_5_done_needs_the_holdings),
		cmocka_unit_test(a_resync_ends_with_everything_held_only),
		cmocka_unit_test(a_passed_operation_may_end_while_its_cancel_is_open),
		cmocka_unit_test(S001_c35_asking_again_is_answered_ten_times_then_resynced),
		cmocka_unit_test(a_suspected_clone_is_never_corrected),
		cmocka_unit_test(every_cell_has_its_rule_and_every_rule_its_cell),
		cmocka_unit_test(a_place_of_no_axis_is_mended_as_a_stranger),
		cmocka_unit_test(S000_8_the_table_describes_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
