// The core as a whole, driven by real bytes: commands whose time is over, commands that are
// fetched, commands that may run long, and the rotation of an identity key.
#include "core_rig.h"
#include "proto/base/log.h"
#include "server/db/rows.h"

// ---- expiry

static void append_expiring(struct rig *r, const char *queue, const char *verb, int64_t after_ms)
{
	struct execute_command command = {
		.verb = verb, .timeout_ms = 1000, .expires_unix_ms = r->now.wall.ms + after_ms};
	const struct event e = {.type = ELEMENT_COMMAND, .command = &command, .author = "alice.1"};

	assert_int_equal(core_append_event(r->core, queue, &e, NULL, NULL), ERR_OK);
	core_turn_end(r->core, r->now);
}

static int64_t rows_count(struct rig *r, const char *sql)
{
	struct db_rows rows;
	int64_t n = -1;

	assert_int_equal(db_query_values(r->db, &rows, sql, NULL, 0), ERR_OK);
	if (db_next(&rows))
		n = db_int(&rows, 0);
	assert_int_equal(db_end(&rows), ERR_OK);
	return n;
}

static void S000_6_an_expired_command_is_passed_over_in_either_queue(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	const char *const queues[] = {"@f1", "default"};

	for (size_t i = 0; i < 2; i++) {
		append_expiring(r, queues[i], "late", 500); // a beat takes a second here
		append_expiring(r, queues[i], "later", 700);
		append_expiring(r, queues[i], "good", 3600000);
		agent_gets(a, KIND_NO_ACTION);
		assert_non_null(strstr(a->got.body->reason->text, "time was over"));
		agent_gets(a, KIND_EXECUTE_COMMAND);
		assert_string_equal(a->got.body->execute->verb, "good");
		agent_done_gets(a, KIND_NO_ACTION);
		assert_int_equal(a->got.body->reason->code, REASON_CAUGHT_UP);
	}
	assert_int_equal(rows_count(r, "SELECT count(*) FROM skipped WHERE client = 'f1'"), 4);
	assert_int_equal(rows_count(r, "SELECT count(*) FROM operation WHERE client = 'f1' AND "
				       "kind = 4"),
		2);
}

// ---- by reference

static void append_reference(struct rig *r, const char *queue)
{
	const struct command_ref ref = {.publisher = "pub.1",
		.sha256 = sha256("x", 1),
		.from = &(struct address){.broker_id = "da",
			.host = "localhost",
			.ip = "",
			.port = 8883,
			.topic = ""}};
	const struct event e = {.type = ELEMENT_COMMAND_REF, .command_ref = &ref};

	assert_int_equal(core_append_event(r->core, queue, &e, NULL, NULL), ERR_OK);
	core_turn_end(r->core, r->now);
}

static void S001_c25_a_fetched_command_is_told_once_and_never_tried_again(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest art = rig_add_package(r, "art", "1", PACKAGE_IMAGES);

	append_reference(r, "default");
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_string_equal(a->got.body->retrieve->command->publisher, "pub.1");
	a->op.status = OP_FAILED;
	a->op.detail = "rc=1";
	r->ended_count = 0;
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->ended_count, 1);
	assert_true(r->ended[0].is_final);
	assert_int_equal(r->ended[0].outcome, OP_FAILED);
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_TAIL); // nor is it detached
	for (int i = 0; i < 5; i++)
		agent_gets(a, KIND_NO_ACTION);
	// Over a restart of the server it is known for a command by its body.
	append_reference(r, "default");
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION);
	a->op.status = OP_UNKNOWN;
	r->ended_count = 0;
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->ended[0].outcome, OP_UNKNOWN);
	assert_true(r->ended[0].is_final);
	// Control: a package is tried again.
	append_display(r, "default", &art);
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	a->op.status = OP_FAILED;
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->attempt, 2);
}

// ---- how long

static void command_of(struct rig *r, struct agent *a, uint32_t timeout_ms)
{
	struct execute_command command = {.verb = "work", .timeout_ms = timeout_ms};
	const struct event e = {.type = ELEMENT_COMMAND, .command = &command};

	assert_int_equal(core_append_event(r->core, "@f1", &e, NULL, NULL), ERR_OK);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	a->op.status = OP_RUNNING;
	r->ended_count = 0;
	// Who is given up is told.
	for (int i = 0; i < 700 && r->ended_count == 0; i++) {
		enum response_kind kind = agent_step(a);
		assert_int_equal(kind, r->ended_count ? KIND_EXECUTE_COMMAND : KIND_NO_ACTION);
	}
}

static void S000_6_a_command_that_may_run_long_is_waited_for_as_long(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	command_of(r, a, 1800000); // half an hour; 700 s are past
	assert_int_equal(r->ended_count, 0);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->ended[0].outcome, OP_DONE);
	command_of(r, a, 60000); // control: the usual deadline is ten minutes
	assert_int_equal(r->ended_count, 1);
	assert_int_equal(r->ended[0].outcome, OP_UNKNOWN);
}

// ---- rotation

static struct key32 key_of(struct rig *r, const char *id)
{
	struct key32 key = {{0}};

	assert_int_equal(core_principal_key(r->core, id, ROLE_CLIENT, &key), ERR_OK);
	return key;
}

static void S003_3_a_key_is_rotated_by_the_first_beat_of_its_session(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct sign_key *old = a->key, *next = NULL;
	struct key32 secret, first = key_of(r, "f1");
	const struct enrolment again = {
		.id = "f1", .role = ROLE_CLIENT, .public_key = first, .name = "f1"};

	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &next), ERR_OK);
	a->next_key = next;
	a->boot_counter++;
	assert_true(agent_sign_in(r, a));
	struct key32 now = key_of(r, "f1"); // an offer changes nothing
	assert_memory_equal(&now, &first, 32);
	r->commit_fails = ERR_NO_SPACE; // what is not on disk is not answered
	assert_false(agent_beat(r, a, &a->got));
	r->commit_fails = ERR_OK;
	rig_pass(r, 60000);
	now = key_of(r, "f1");
	assert_memory_equal(&now, &first, 32);
	assert_true(agent_sign_in(r, a));
	assert_true(agent_step(a) != 0);
	now = key_of(r, "f1");
	assert_memory_equal(&now, sign_key_public(next), 32);
	// Over a restart; the key of before signs in no more, its enrolment is no new one.
	rig_restart(r);
	assert_false(agent_sign_in(r, a)); // both signed, but the old one is not the key
	a->next_key = NULL;
	assert_false(agent_sign_in(r, a));
	assert_int_equal(core_enrol(r->core, &again), ERR_OK);
	now = key_of(r, "f1");
	assert_memory_equal(&now, sign_key_public(next), 32);
	a->key = next;
	a->boot_counter++;
	assert_true(agent_sign_in(r, a));
	assert_true(agent_step(a) != 0);
	sign_key_free(old);
}

static void S003_3_a_next_key_needs_its_own_proof(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct key32 secret, share = {{0}};
	struct topic topic = topic_hb("f1");
	static const uint8_t ip[4] = {10, 0, 0, 1};
	SCOPED_BUF struct buf b;

	buf_init(&b, LIMIT_HEARTBEAT);
	for (int bent = 1; bent >= 0; bent--) {
		struct sign_in in = {.public_key = *sign_key_public(a->key),
			.store_id = a->store_id,
			.boot_counter = 2,
			.lineage = a->lineage};
		struct status status = {.state = "x", .interval_ms = 1000, .clock_quality = 1};
		struct sign_key *next = NULL;
		sign_key_generate(&secret);
		assert_int_equal(sign_key_load(&secret, &next), ERR_OK);
		in.nonce.b[0] = 7;
		x25519_generate(&share, &in.x25519_share);
		rotation_prove("f1", &in, next);
		in.next_proof.b[5] ^= (uint8_t)bent;
		const struct heartbeat h = {.client_id = "f1",
			.ip_address = bytes_of(ip, 4),
			.ack = ACK_NOTHING,
			.seq = 1,
			.status = &status,
			.sign_in = &in};
		assert_int_equal(heartbeat_encode(&h, &b), ERR_OK);
		assert_int_equal(seal_signature(&b, topic.s, a->key), ERR_OK);
		sent_clear(r);
		rig_give(r, topic.s, buf_bytes(&b), false);
		const struct sent *offer = sent_find(r, "helio/v1/offer/f1");
		assert_int_equal(
			offer != NULL, bent == 0); // control: with the right proof it is taken
		sign_key_free(next);
	}
}

#define T(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(S000_6_an_expired_command_is_passed_over_in_either_queue),
		T(S001_c25_a_fetched_command_is_told_once_and_never_tried_again),
		T(S000_6_a_command_that_may_run_long_is_waited_for_as_long),
		T(S003_3_a_key_is_rotated_by_the_first_beat_of_its_session),
		T(S003_3_a_next_key_needs_its_own_proof),
	};

	log_init("test_core_commands", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
