// Ids and values that somebody chose so that they fall into one corner of a table (attack C10): he
// knows the hash, its code, and a key, but not this server's. The control gives him this one too.
#include "tests/unit/flood.h"

#include "server/client_table.h"
#include "server/core_inside.h"
#include "server/intern.h"
#include "server/sip_hash.h"
#include "tests/unit/core_rig.h"

#define CORNER (1u << 11) // of 2^18 places
#define ID_ROOM 16

static const struct id16 known_key = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

struct ids {
	char (*chosen)[ID_ROOM], (*ordinary)[ID_ROOM];
};

static int ids_make(void **state)
{
	struct ids *x = calloc(1, sizeof(*x));
	uint32_t tried = 0;

	assert_non_null(x);
	x->chosen = calloc(FLOOD, ID_ROOM);
	x->ordinary = calloc(FLOOD, ID_ROOM);
	assert_true(x->chosen && x->ordinary);
	for (size_t n = 0; n < FLOOD; tried++) {
		int size = snprintf(x->chosen[n], ID_ROOM, "c%09u", tried);
		uint64_t hash = sip_hash(&known_key, x->chosen[n], (size_t)size);
		n += (hash & 0x3ffff) < CORNER;
	}
	for (uint32_t n = 0; n < FLOOD; n++)
		(void)snprintf(x->ordinary[n], ID_ROOM, "c%09u", n);
	*state = x;
	return 0;
}

static int ids_drop(void **state)
{
	struct ids *x = *state;

	free(x->chosen);
	free(x->ordinary);
	free(x);
	return 0;
}

static void clients_fill(const void *things, size_t count, const void *key)
{
	const char(*ids)[ID_ROOM] = things;
	struct client_table t;
	uint32_t number;

	client_table_init(&t, key);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(client_table_add(&t, ids[i], ROLE_CLIENT, &number), ERR_OK);
	for (size_t i = 0; i < count; i++)
		assert_true(client_table_find(&t, ids[i]) == i);
	client_table_fini(&t, NULL);
}

static void values_fill(const void *things, size_t count, const void *key)
{
	const char(*values)[ID_ROOM] = things;
	struct intern in;

	intern_init(&in, key);
	for (size_t i = 0; i < count; i++)
		assert_true(intern_take(&in, bytes_of(values[i], strlen(values[i]))) == i + 1);
	for (size_t i = 0; i < count; i++)
		assert_true(intern_take(&in, bytes_of(values[i], strlen(values[i]))) == i + 1);
	intern_fini(&in);
}

static void flood(const char *table, flood_fill *fill, const struct ids *x)
{
	struct id16 secret;

	random_fill(&secret, sizeof(secret));
	flood_judge(&(struct flood){table, fill, .ordinary = x->ordinary, .chosen = x->chosen,
		.secret = &secret, .control = x->chosen, .control_secret = &known_key});
}

static void C10_chosen_ids_cost_a_server_no_more_than_others(void **state)
{
	flood("clients", clients_fill, *state);
}

static void C10_chosen_texts_cost_a_server_no_more_than_others(void **state)
{
	flood("interned values", values_fill, *state);
}

static void C10_the_key_is_drawn_anew_with_every_start(void **state)
{
	struct rig *r = *state;
	struct id16 first = r->core->hash_key;

	assert_memory_equal(&r->core->clients.key, &first, sizeof(first));
	assert_memory_equal(&r->core->interned.key, &first, sizeof(first));
	rig_restart(r);
	assert_memory_not_equal(&r->core->hash_key, &first, sizeof(first));
	assert_memory_equal(&r->core->clients.key, &r->core->hash_key, sizeof(first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C10_chosen_ids_cost_a_server_no_more_than_others),
		cmocka_unit_test(C10_chosen_texts_cost_a_server_no_more_than_others),
		cmocka_unit_test_setup_teardown(
			C10_the_key_is_drawn_anew_with_every_start, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests_name("flooding", tests, ids_make, ids_drop);
}
