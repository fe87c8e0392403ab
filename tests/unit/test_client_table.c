// The client table, the interned values beneath it, and the keyed hash of both.
#include "helper.h"
#include "server/client_table.h"
#include "server/core_inside.h"
#include "server/intern.h"
#include "server/sip_hash.h"

static const struct id16 key = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

static void the_hash_is_siphash_2_4(void **state)
{
	(void)state;
	uint8_t in[15];

	for (uint8_t i = 0; i < 15; i++)
		in[i] = i;
	assert_true(sip_hash(&key, in, 15) == 0xa129ca6149be45e5ull); // the paper's example
}

static void every_client_is_found_and_no_other(void **state)
{
	(void)state;
	struct client_table t;
	char id[32];

	client_table_init(&t, &key);
	assert_int_equal(client_table_find(&t, "f1"), CLIENT_NONE);
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t number = 0;
		(void)snprintf(id, sizeof(id), "frame-%u", i);
		assert_int_equal(
			client_table_add(&t, id, i % 10 ? ROLE_CLIENT : ROLE_OPERATOR, &number),
			ERR_OK);
		assert_int_equal(number, i);
	}
	for (uint32_t i = 0; i < 5000; i++) {
		(void)snprintf(id, sizeof(id), "frame-%u", i);
		assert_int_equal(client_table_find(&t, id), i);
		assert_string_equal(client_id(&t, client_at(&t, i)), id);
	}
	assert_int_equal(client_table_find(&t, "frame-5000"), CLIENT_NONE);
	assert_int_equal(t.clients, 4500);
	client_table_fini(&t, NULL);
}

static void removal_leaves_the_others_findable_and_the_place_is_used_again(void **state)
{
	(void)state;
	struct client_table t;
	char id[32];
	size_t cursor = 0, seen = 0;

	client_table_init(&t, &key);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t number = 0;
		(void)snprintf(id, sizeof(id), "f%u", i);
		assert_int_equal(client_table_add(&t, id, ROLE_CLIENT, &number), ERR_OK);
	}
	for (uint32_t i = 0; i < 3000; i += 3)
		client_table_remove(&t, i);
	for (uint32_t i = 0; i < 3000; i++) {
		(void)snprintf(id, sizeof(id), "f%u", i);
		assert_int_equal(client_table_find(&t, id), i % 3 ? i : CLIENT_NONE);
	}
	uint32_t number = 0;
	assert_int_equal(client_table_add(&t, "again", ROLE_CLIENT, &number), ERR_OK);
	assert_true(number < 3000 && number % 3 == 0);
	while (client_table_next(&t, &cursor) != CLIENT_NONE)
		seen++;
	assert_int_equal(seen, 2001);
	client_table_fini(&t, NULL);
}

static void a_place_that_the_wheel_holds_is_not_used_again_before_it_lets_go(void **state)
{
	(void)state;
	struct client_table t;
	uint32_t a = 0, b = 0;

	client_table_init(&t, &key);
	assert_int_equal(client_table_add(&t, "a", ROLE_CLIENT, &a), ERR_OK);
	client_at(&t, a)->flags |= CLIENT_TIMED;
	client_at(&t, a)->wheel_next = 4711; // who stands behind it in the wheel
	client_table_remove(&t, a);
	assert_int_equal(client_at(&t, a)->wheel_next, 4711);
	assert_int_equal(client_table_add(&t, "b", ROLE_CLIENT, &b), ERR_OK);
	assert_int_not_equal(a, b);
	client_table_release(&t, a);
	assert_int_equal(client_table_add(&t, "c", ROLE_CLIENT, &b), ERR_OK);
	assert_int_equal(a, b);
	client_table_fini(&t, NULL);
}

// Struct, id of about 11 characters, and its share of the slots (4 bytes at 3/8 to 3/4 load).
static void a_client_costs_at_most_192_bytes_in_all(void **state)
{
	(void)state;
	assert_true(sizeof(struct client) <= 160);
	assert_true(sizeof(struct client) + 11 + 4 * 8 / 3 <= 192);
}

static void equal_values_are_stored_once_and_die_with_their_last_user(void **state)
{
	(void)state;
	struct intern in;
	uint32_t numbers[2000];

	intern_init(&in, &key);
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t value = i % 50;
		numbers[i] = intern_take(&in, bytes_of(&value, sizeof(value)));
		assert_int_not_equal(numbers[i], 0);
	}
	assert_int_equal(in.used, 50);
	assert_int_equal(numbers[0], numbers[50]);
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t value = i % 50;
		assert_memory_equal(intern_get(&in, numbers[i]).data, &value, sizeof(value));
		intern_drop(&in, numbers[i]);
	}
	assert_int_equal(in.used, 0);
	assert_int_equal(in.bytes, 0);
	assert_int_equal(intern_take(&in, bytes_of(NULL, 0)), 0);
	for (uint32_t i = 0; i < 50; i++)
		assert_true(intern_take(&in, bytes_of(&i, sizeof(i))) <= 50);
	intern_fini(&in);
}

static void a_held_value_changes_only_when_it_differs(void **state)
{
	(void)state;
	struct intern in;
	uint32_t held = 0;

	intern_init(&in, &key);
	assert_true(intern_set(&in, &held, bytes_of("a", 1)));
	assert_false(intern_set(&in, &held, bytes_of("a", 1)));
	assert_true(intern_set(&in, &held, bytes_of("b", 1)));
	assert_int_equal(in.used, 1);
	assert_true(intern_set(&in, &held, bytes_of(NULL, 0)));
	assert_int_equal(in.used, 0);
	intern_fini(&in);
}

static void only_known_changes_of_state_are_made(void **state)
{
	(void)state;
	for (int to = CS_IDLE; to <= CS_CLONE_SUSPECT; to++) {
		assert_true(client_state_change_is_known(CS_IDLE, (enum client_state)to));
		assert_true(client_state_change_is_known((enum client_state)to, CS_IDLE));
		assert_int_equal(
			client_state_change_is_known(CS_CLONE_SUSPECT, (enum client_state)to),
			to == CS_IDLE || to == CS_CLONE_SUSPECT);
	}
	assert_false(client_state_change_is_known(CS_RESYNC, CS_AWAIT_RETRIEVE));
	assert_false(client_state_change_is_known(0, CS_IDLE));
}

static void free_bytes_fit_into_sixteen_bits(void **state)
{
	(void)state;
	for (uint64_t bytes = 0; bytes < 0x800; bytes++)
		assert_int_equal(free_unpack(free_pack(bytes)), bytes);
	for (uint64_t bytes = 1; bytes < (uint64_t)1 << 41; bytes += bytes / 3 + 1) {
		uint64_t told = free_unpack(free_pack(bytes));
		assert_in_range(told, bytes - bytes / 1000, bytes);
	}
	assert_int_equal(free_unpack(free_pack(UINT64_MAX)), (uint64_t)0x7ff << 31);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(free_bytes_fit_into_sixteen_bits),
		cmocka_unit_test(the_hash_is_siphash_2_4),
		cmocka_unit_test(every_client_is_found_and_no_other),
		cmocka_unit_test(removal_leaves_the_others_findable_and_the_place_is_used_again),
		cmocka_unit_test(a_place_that_the_wheel_holds_is_not_used_again_before_it_lets_go),
		cmocka_unit_test(a_client_costs_at_most_192_bytes_in_all),
		cmocka_unit_test(equal_values_are_stored_once_and_die_with_their_last_user),
		cmocka_unit_test(a_held_value_changes_only_when_it_differs),
		cmocka_unit_test(only_known_changes_of_state_are_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
