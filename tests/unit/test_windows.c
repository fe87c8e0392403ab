// Windows and slots: whatever comes and goes, a broker's memory and a client's queue are never
// promised twice.
#include "server/windows.h"
#include "tests/unit/helper.h"

#define MIB (1024 * 1024)

static uint32_t noise(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(*seed >> 33);
}

static struct window chosen(uint64_t budget, uint64_t rate, uint64_t package, uint64_t taken)
{
	struct window_limits l = {.budget_bytes = budget};
	struct window_wish wish = {rate, package, taken};
	struct window w;

	assert_true(window_choose(&l, &wish, &w));
	return w;
}

static void a_window_is_a_tenth_of_a_second_of_its_rate(void **state)
{
	(void)state;
	assert_int_equal(chosen(0, 50000000, 0, 0).bytes, 5000000);
	assert_int_equal(chosen(0, 1, 0, 0).bytes, WINDOW_LEAST_BYTES);
	assert_int_equal(chosen(0, UINT64_MAX, 0, 0).bytes, WINDOW_MOST_BYTES);
	assert_int_equal(chosen(0, 0, 0, 0).bytes, WINDOW_MOST_BYTES); // no limit
}

static void a_slot_has_room_for_the_largest_object_and_for_no_more_than_there_is(void **state)
{
	(void)state;
	assert_int_equal(chosen(0, 1, 0, 0).slot_bytes, LIMIT_OBJECT);
	assert_int_equal(chosen(0, 50000000, 0, 0).slot_bytes, 5000000);
	assert_int_equal(chosen(0, 50000000, 2 * MIB, 0).slot_bytes, 2 * MIB);
	assert_true(chosen(0, 50000000, 77, 0).slot_bytes >= LIMIT_INDEX_PAGE); // its index
	for (uint64_t rate = 1; rate < UINT64_MAX / 8; rate *= 3)
		for (uint64_t package = 1; package < UINT64_MAX / 8; package *= 5)
			assert_true(chosen(0, rate, package, 0).slot_bytes <=
				    window_slot_most(package));
}

static void a_clients_queue_bounds_its_window(void **state)
{
	struct window_limits l = {.queue_bytes = 3 * MIB};
	struct window_wish wish = {.rate_bytes_per_s = 1000000000};
	struct window w;

	(void)state;
	assert_true(window_choose(&l, &wish, &w));
	assert_int_equal(w.bytes, 3 * MIB);
	l.queue_bytes = 1; // then one object goes alone
	assert_true(window_choose(&l, &wish, &w));
	assert_int_equal(w.bytes, 1);
	assert_int_equal(w.slot_bytes, LIMIT_OBJECT);
}

// Leases come and go at random; the control forgets what the others took.
static uint64_t most_promised(uint64_t seed, uint64_t budget, bool counts, size_t *refused)
{
	struct window_limits l = {.budget_bytes = budget};
	uint64_t slots[4000], taken = 0, most = 0;
	size_t live = 0;

	*refused = 0;
	for (int i = 0; i < 4000; i++) {
		if (live && noise(&seed) % 4 == 0) {
			size_t ends = noise(&seed) % live;
			taken -= slots[ends];
			slots[ends] = slots[--live];
			continue;
		}
		struct window_wish wish = {(uint64_t)noise(&seed) << noise(&seed) % 8,
			noise(&seed) % 3 ? 10 * MIB : noise(&seed), counts ? taken : 0};
		struct window w;
		if (!window_choose(&l, &wish, &w)) {
			++*refused;
			continue;
		}
		assert_true(w.bytes >= 1 && w.slot_bytes >= w.bytes / 64);
		slots[live++] = w.slot_bytes;
		taken += w.slot_bytes;
		most = taken > most ? taken : most;
	}
	return most;
}

static void the_sum_of_all_slots_stays_in_the_budget(void **state)
{
	size_t refused;

	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		uint64_t budget = (uint64_t)(1 + seed * 7) * MIB;
		assert_true(most_promised(seed, budget, true, &refused) <= budget);
		assert_true(refused > 0);
		assert_true(most_promised(seed, budget, false, &refused) > budget); // the control
	}
}

static void the_first_ones_leave_room_for_those_after_them(void **state)
{
	struct window_limits l = {.budget_bytes = UINT64_C(2048) * MIB};
	uint64_t taken = 0;
	size_t n = 0;
	struct window w;

	(void)state;
	for (;; n++) {
		struct window_wish wish = {1000000000 / (n + 1), 10 * MIB, taken}; // they share
		if (!window_choose(&l, &wish, &w))
			break;
		taken += w.slot_bytes;
	}
	assert_true(n > 1000 && n < 2048);
	assert_true(l.budget_bytes - taken < LIMIT_OBJECT); // and nothing is left over
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_window_is_a_tenth_of_a_second_of_its_rate),
		cmocka_unit_test(
			a_slot_has_room_for_the_largest_object_and_for_no_more_than_there_is),
		cmocka_unit_test(a_clients_queue_bounds_its_window),
		cmocka_unit_test(the_sum_of_all_slots_stays_in_the_budget),
		cmocka_unit_test(the_first_ones_leave_room_for_those_after_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
