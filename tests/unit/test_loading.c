// A large fleet is loaded while it is answered: who speaks comes first, nothing is trimmed before
// all are there, and what was committed before the kill is what is found.
#include "core_rig.h"
#include "server/db/rows.h"

#define CROWD 10000 // more than one start loads

// Clients that signed in once and stand at the tail of "default".
static void crowd_add(struct rig *r, const char *prefix)
{
	struct channel_info channel;
	char id[LIMIT_ID + 1];

	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	for (int i = 0; i < CROWD; i++) {
		(void)snprintf(id, sizeof(id), "%s%05d", prefix, i);
		const struct principal_row p = {.id = id, .name = id, .role = ROLE_CLIENT};
		const struct client_row c = {.id = id,
			.channel = "default",
			.state = CS_IDLE,
			.reach = REACH_ONLINE,
			.epoch = channel.epoch,
			.pointer = (uint32_t)channel.tail_seq,
			.last_kind = KIND_NO_ACTION,
			.holdings_known = true};
		assert_int_equal(rows_principal_put(r->db, &p), ERR_OK);
		assert_int_equal(rows_client_put(r->db, &c), ERR_OK);
	}
	assert_int_equal(db_commit(r->db), ERR_OK);
}

static void load_all(struct rig *r)
{
	while (core_load_some(r->core, 400, r->now))
		;
	core_turn_end(r->core, r->now);
	assert_false(core_is_loading(r->core));
}

static void who_speaks_is_answered_before_the_others_are_loaded(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "zz-last"); // behind the crowd in the order of ids

	crowd_add(r, "m");
	rig_restart(r);
	assert_true(core_is_loading(r->core));
	assert_in_range(core_client_count(r->core), 1, CROWD - 1);
	uint64_t shown = a->last_response_id;
	agent_gets(a, KIND_NO_ACTION); // the new boot is told
	agent_gets(a, KIND_NO_ACTION);
	assert_true(a->last_response_id > shown);
	assert_true(core_is_loading(r->core));
	assert_int_equal(agent_info(r, a).mismatches, 0);
	load_all(r);
	assert_int_equal(core_client_count(r->core), CROWD + 1);
	agent_gets(a, KIND_NO_ACTION);
}

static void nothing_is_trimmed_before_everybody_is_there(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "a-first");
	struct digest package = rig_add_package(r, "pics", "1", PACKAGE_IMAGES);
	struct channel_info channel;

	crowd_add(r, "m");
	rig_restart(r);
	append_display(r, "default", &package);
	agent_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_RETRIEVE_INFORMATION); // the only one loaded that stood there moved on
	assert_true(core_is_loading(r->core));
	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(channel.elements, 1);
	load_all(r);
	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(channel.elements, 1);
	assert_int_equal(channel.pointers, CROWD + 1);
}

static void a_list_of_the_fleet_is_never_a_part_of_it(void **state)
{
	struct rig *r = *state;
	struct client_info info;
	size_t cursor = 0, seen = 0;

	crowd_add(r, "m");
	rig_restart(r);
	assert_true(core_is_loading(r->core));
	assert_int_equal(core_client_find(r->core, "m09999", &info), ERR_OK);
	assert_int_equal(core_client_find(r->core, "m10000", &info), ERR_NOT_FOUND);
	while (core_client_next(r->core, &cursor, &info))
		seen++;
	assert_int_equal(seen, CROWD);
	assert_false(core_is_loading(r->core));
}

static void an_operation_and_a_private_command_are_found_at_once(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "zz-last");

	append_command(r, "@zz-last", "ping");
	agent_gets(a, KIND_EXECUTE_COMMAND);
	append_command(r, "@zz-last", "ping");
	uint64_t op = a->op.op_id;
	crowd_add(r, "m");
	rig_restart(r);
	assert_true(core_is_loading(r->core));
	assert_int_equal(agent_info(r, a).operation.op_id, op);
	agent_gets(a, KIND_NO_ACTION);
	agent_done_gets(a, KIND_EXECUTE_COMMAND);
	assert_true(a->op.op_id != op);
	assert_true(core_is_loading(r->core));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_speaks_is_answered_before_the_others_are_loaded,
			rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(
			nothing_is_trimmed_before_everybody_is_there, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(
			a_list_of_the_fleet_is_never_a_part_of_it, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(
			an_operation_and_a_private_command_are_found_at_once, rig_setup,
			rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
