// The life of a lease, rates and windows.
#include "tests/unit/helper.h"

#include "server/leases.h"

static struct lease lease_make(uint64_t id, const char *client, uint8_t package)
{
	struct lease l = {
		.id = id, .ttl_ms = 1000, .expires_attended_ms = 1000, .rate_bytes_per_s = 5};

	str_copy(l.client, sizeof(l.client), client);
	l.package.b[0] = package;
	return l;
}

static void one_lease_per_client_and_package(void **state)
{
	struct leases *l = leases_new();
	struct lease a = lease_make(1, "f1", 1), b = lease_make(2, "f1", 1),
		     c = lease_make(1, "f2", 1), d = lease_make(3, "f1", 2);

	(void)state;
	assert_int_equal(leases_add(l, &a), ERR_OK);
	assert_int_equal(leases_add(l, &b), ERR_EXISTS);
	assert_int_equal(leases_add(l, &c), ERR_EXISTS); // the id is taken
	assert_int_equal(leases_add(l, &d), ERR_OK);
	assert_int_equal(leases_count(l), 2);
	assert_int_equal(leases_of_client(l, "f1", &a.package)->id, 1);
	assert_int_equal(leases_of_client(l, "f1", &d.package)->id, 3);
	assert_null(leases_of_client(l, "f2", &a.package));
	leases_remove(l, leases_find(l, 1));
	assert_null(leases_find(l, 1));
	assert_null(leases_of_client(l, "f1", &a.package));
	assert_int_equal(leases_add(l, &b), ERR_OK);
	leases_free(l);
}

static void a_heartbeat_renews_only_its_own_lease(void **state)
{
	struct leases *l = leases_new();
	struct lease a = lease_make(7, "f1", 1);

	(void)state;
	assert_int_equal(leases_add(l, &a), ERR_OK);
	assert_false(leases_renew(l, 7, "f2", 5000, 3000));
	assert_int_equal(leases_find(l, 7)->expires_attended_ms, 1000);
	assert_false(leases_renew(l, 8, "f1", 5000, 3000));
	assert_true(leases_renew(l, 7, "f1", 5000, 3000));
	assert_int_equal(leases_find(l, 7)->expires_attended_ms, 8000);
	leases_free(l);
}

static void every_lease_is_walked_and_may_be_removed_on_the_way(void **state)
{
	struct leases *l = leases_new();
	uint64_t sum = 0;
	void *cursor = NULL;

	(void)state;
	for (uint64_t i = 1; i <= 100; i++) {
		char id[16];
		struct lease one;

		snprintf(id, sizeof(id), "f%d", (int)i);
		one = lease_make(i, id, 1);
		assert_int_equal(leases_add(l, &one), ERR_OK);
	}
	for (struct lease *one; (one = leases_next(l, &cursor));) {
		sum += one->id;
		if (one->id % 2)
			leases_remove(l, one);
	}
	assert_int_equal(sum, 5050);
	assert_int_equal(leases_count(l), 50);
	cursor = NULL;
	leases_clear(l);
	assert_null(leases_next(l, &cursor));
	leases_free(l);
}

static void ttl_is_at_least_three_intervals(void **state)
{
	(void)state;
	assert_int_equal(lease_ttl_ms(90000, 300), 90000);
	assert_int_equal(lease_ttl_ms(90000, 60000), 180000);
	assert_int_equal(lease_ttl_ms(1, UINT32_MAX), UINT32_MAX);
}

static void the_newest_of_a_client_is_known_whichever_ends_first(void **state)
{
	struct leases *l = leases_new();

	(void)state;
	assert_null(leases_newest(l, "f1"));
	for (uint8_t i = 1; i <= 3; i++) {
		struct lease one = lease_make(i, "f1", i), other = lease_make(10u + i, "f10", i);

		assert_int_equal(leases_add(l, &one), ERR_OK);
		assert_int_equal(leases_add(l, &other), ERR_OK);
		assert_int_equal(leases_newest(l, "f1")->id, i);
	}
	leases_remove(l, leases_find(l, 2));
	assert_int_equal(leases_newest(l, "f1")->id, 3);
	leases_remove(l, leases_find(l, 3));
	assert_int_equal(leases_newest(l, "f1")->id, 1);
	leases_remove(l, leases_find(l, 1));
	assert_null(leases_newest(l, "f1"));
	assert_int_equal(leases_newest(l, "f10")->id, 13);
	leases_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_lease_per_client_and_package),
		cmocka_unit_test(a_heartbeat_renews_only_its_own_lease),
		cmocka_unit_test(every_lease_is_walked_and_may_be_removed_on_the_way),
		cmocka_unit_test(ttl_is_at_least_three_intervals),
		cmocka_unit_test(the_newest_of_a_client_is_known_whichever_ends_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
