// Who waits for which object of the shelf, and whose turn it is (broker-conf/shelf).
#include "tests/unit/helper.h"

#include "broker-conf/shelf/shelf_queue.h"

#define MIB (1024 * 1024)
#define MEMORY (100 * MIB)
#define STUCK_MS 5000
#define NO_LESS (MEMORY / 2) // memory says nothing that is not known

static struct shelf_queue *queue_of(uint64_t client_bytes, uint64_t budget_bytes)
{
	const struct shelf_limits limits = {client_bytes, budget_bytes, MEMORY, STUCK_MS, 1000};

	return shelf_queue_new(&limits);
}

// Of a turn that begins so.
static const char *next(struct shelf_queue *q, int64_t now_ms)
{
	shelf_queue_turn(q, NO_LESS, now_ms);
	return shelf_queue_next(q);
}

// One round as the plugin makes it; what was handed, or NULL.
static const char *hand(struct shelf_queue *q, const char *client, size_t size, int64_t now_ms)
{
	static char topic[SHELF_TOPIC_MAX];
	const char *found = next(q, now_ms);

	if (!found)
		return NULL;
	snprintf(topic, sizeof(topic), "%s", found);
	shelf_queue_hand(q, size);
	if (size)
		assert_true(shelf_queue_take(q, client, topic, size, now_ms));
	return topic;
}

static void who_subscribes_is_handed_it_once(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);

	(void)state;
	assert_null(next(q, 0));
	shelf_queue_want(q, "f1", "a");
	shelf_queue_want(q, "f1", "b");
	assert_string_equal(hand(q, "f1", 10, 0), "a");
	assert_false(shelf_queue_take(q, "f1", "a", 10, 0)); // once
	assert_false(shelf_queue_take(q, "f2", "a", 10, 0)); // and nobody else
	assert_string_equal(hand(q, "f1", 10, 0), "b");
	assert_null(hand(q, "f1", 10, 0));
	shelf_queue_want(q, "f1", "a"); // subscribed anew
	assert_string_equal(hand(q, "f1", 10, 0), "a");
	assert_int_equal(shelf_queue_recent_bytes(q), 40);
	shelf_queue_free(q);
}

static void all_who_wait_for_an_object_take_it_at_once(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);

	(void)state;
	shelf_queue_want(q, "f1", "a");
	shelf_queue_want(q, "f2", "a");
	shelf_queue_want(q, "f2", "b");
	assert_string_equal(hand(q, "f1", 10, 0), "a");
	assert_true(shelf_queue_take(q, "f2", "a", 10, 0));
	assert_string_equal(hand(q, "f2", 10, 0), "b");
	assert_null(next(q, 0));
	shelf_queue_free(q);
}

static void who_unsubscribes_or_leaves_waits_no_more(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);

	(void)state;
	shelf_queue_want(q, "f1", "a");
	shelf_queue_want(q, "f1", "b");
	shelf_queue_drop(q, "f1", "a");
	shelf_queue_drop(q, "f1", "nothing");
	shelf_queue_drop(q, "f9", "a");
	shelf_queue_gone(q, "f2");
	shelf_queue_gone(q, "f9");
	assert_string_equal(next(q, 0), "b");
	shelf_queue_drop(q, "f1", "b"); // between its turn and the hand
	shelf_queue_hand(q, 10);
	assert_null(next(q, 0));
	assert_int_equal(shelf_queue_clients(q), 0);
	shelf_queue_free(q);
}

static void what_is_not_there_is_waited_for_no_more(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);

	(void)state;
	shelf_queue_want(q, "f1", "a");
	shelf_queue_want(q, "f1", "b");
	assert_string_equal(hand(q, "f1", 0, 0), "a");
	assert_string_equal(hand(q, "f1", 0, 0), "b");
	assert_int_equal(shelf_queue_clients(q), 0);
	shelf_queue_free(q);
}

static void a_client_holds_at_most_its_share_until_it_unsubscribes(void **state)
{
	struct shelf_queue *q = queue_of(20, MIB);

	(void)state;
	for (const char *t = "a\0b\0c\0d\0"; *t; t += 2)
		shelf_queue_want(q, "f1", t);
	assert_non_null(hand(q, "f1", 10, 0));
	assert_non_null(hand(q, "f1", 10, 0));
	assert_null(hand(q, "f1", 10, 100000)); // time alone gives it nothing
	shelf_queue_want(q, "f2", "a");
	assert_string_equal(hand(q, "f2", 10, 100000), "a"); // others go on
	shelf_queue_drop(q, "f1", "a");
	assert_string_equal(hand(q, "f1", 10, 100000), "c");
	assert_null(hand(q, "f1", 10, 100000));
	shelf_queue_want(q, "f1", "b"); // anew: it may have the one of before, too
	assert_null(hand(q, "f1", 10, 100000));
	shelf_queue_drop(q, "f1", "b");
	assert_string_equal(hand(q, "f1", 10, 100000), "d");
	for (int i = 0; i < 3; i++)
		shelf_queue_want(q, "f2", "a"); // the same object again and again
	assert_string_equal(hand(q, "f2", 10, 100000), "a");
	shelf_queue_want(q, "f2", "a");
	assert_null(hand(q, "f2", 10, 100000));
	assert_int_equal(shelf_queue_held_bytes(q), 40);
	shelf_queue_drop(q, "f2", "a");
	assert_int_equal(shelf_queue_held_bytes(q), 20);
	shelf_queue_free(q);
}

static void one_object_larger_than_the_share_or_the_budget_passes(void **state)
{
	struct shelf_queue *q = queue_of(5, 5);

	(void)state;
	shelf_queue_want(q, "f1", "a");
	shelf_queue_want(q, "f1", "b");
	assert_string_equal(hand(q, "f1", 10, 0), "a");
	assert_null(hand(q, "f1", 10, 2000));
	shelf_queue_drop(q, "f1", "a");
	assert_string_equal(hand(q, "f1", 10, 2000), "b");
	shelf_queue_free(q);
}

static void what_was_handed_lately_stays_within_the_budget(void **state)
{
	struct shelf_queue *q = queue_of(MIB, 60);
	char topic[8], client[8];
	int handed = 0;

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(topic, sizeof(topic), "t%d", i);
		snprintf(client, sizeof(client), "f%d", i);
		shelf_queue_want(q, client, topic);
	}
	for (const char *t; (t = next(q, 0)); handed++) {
		snprintf(topic, sizeof(topic), "%s", t);
		snprintf(client, sizeof(client), "f%s", topic + 1);
		shelf_queue_hand(q, 10);
		assert_true(shelf_queue_take(q, client, topic, 10, 0));
	}
	assert_int_equal(handed, 3);
	assert_null(next(q, 999));
	shelf_queue_drop(q, "f0", "t0"); // it has it: room for one more
	assert_string_equal(hand(q, "f3", 10, 999), "t3");
	assert_null(next(q, 999));
	assert_non_null(next(q, 1000)); // the others have settled
	assert_int_equal(shelf_queue_recent_bytes(q), 20);
	shelf_queue_free(q);
}

static void memory_that_says_less_ends_the_wait_early(void **state)
{
	struct shelf_queue *q = queue_of(MIB, 60);

	(void)state;
	for (const char *t = "a\0b\0c\0d\0e\0"; *t; t += 2)
		shelf_queue_want(q, "f1", t);
	for (int i = 0; i < 3; i++)
		assert_non_null(hand(q, "f1", 10, 0));
	assert_null(hand(q, "f1", 10, 0));
	shelf_queue_turn(q, 50, 0); // some of it has left: one object more
	assert_string_equal(shelf_queue_next(q), "d");
	shelf_queue_hand(q, 10);
	assert_null(shelf_queue_next(q));
	assert_true(shelf_queue_take(q, "f1", "d", 10, 0));
	assert_null(shelf_queue_next(q));
	shelf_queue_turn(q, 70, 0);
	assert_null(shelf_queue_next(q));
	// What left is unsubscribed at last, and what is slow is still there.
	shelf_queue_drop(q, "f1", "c");
	shelf_queue_turn(q, 60, 0);
	assert_null(shelf_queue_next(q));
	shelf_queue_turn(q, 59, 0);
	assert_string_equal(shelf_queue_next(q), "e");
	shelf_queue_free(q);
}

static void what_is_handed_counts_before_it_is_taken(void **state)
{
	struct shelf_queue *q = queue_of(MIB, 60);
	char topic[8];
	int handed = 0;

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(topic, sizeof(topic), "t%d", i);
		shelf_queue_want(q, "f1", topic);
	}
	shelf_queue_turn(q, NO_LESS, 0);
	for (; shelf_queue_next(q); handed++)
		shelf_queue_hand(q, 10);
	assert_int_equal(handed, 3);
	assert_null(shelf_queue_next(q));
	// None was delivered: acl_file said no. The next turn is not the poorer for it.
	assert_non_null(next(q, 0));
	shelf_queue_free(q);
}

static void who_shares_a_copy_waits_when_the_budget_is_spent(void **state)
{
	struct shelf_queue *q = queue_of(MIB, 40);
	char client[8];
	int took = 0;

	(void)state;
	for (int i = 0; i < 10; i++) {
		snprintf(client, sizeof(client), "f%d", i);
		shelf_queue_want(q, client, "a");
	}
	assert_string_equal(next(q, 0), "a");
	shelf_queue_hand(q, 10);
	for (int i = 9; i >= 0; i--) { // the one whose turn it is comes last
		snprintf(client, sizeof(client), "f%d", i);
		took += shelf_queue_take(q, client, "a", 10, 0);
	}
	assert_int_equal(took, 3);
	assert_false(shelf_queue_take(q, "f0", "a", 10, 0)); // it had it
	assert_int_equal(shelf_queue_recent_bytes(q), 40);
	shelf_queue_turn(q, 0, 0);
	assert_string_equal(shelf_queue_next(q), "a"); // the others still wait
	shelf_queue_free(q);
}

static void full_memory_gives_one_object_to_who_holds_none(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);

	(void)state;
	shelf_queue_want(q, "f1", "a");
	assert_string_equal(hand(q, "f1", 10, 0), "a");
	shelf_queue_want(q, "f1", "b");
	shelf_queue_want(q, "f2", "c");
	shelf_queue_want(q, "f2", "d");
	shelf_queue_turn(q, MEMORY, 5000);
	assert_string_equal(shelf_queue_next(q), "c");
	shelf_queue_hand(q, 10);
	assert_null(shelf_queue_next(q));
	assert_true(shelf_queue_take(q, "f2", "c", 10, 5000));
	shelf_queue_turn(q, MEMORY, 9000);
	assert_null(shelf_queue_next(q)); // both hold something
	shelf_queue_drop(q, "f1", "a");
	assert_string_equal(shelf_queue_next(q), "b");
	shelf_queue_hand(q, 10);
	assert_true(shelf_queue_take(q, "f1", "b", 10, 9000));
	shelf_queue_want(q, "f1", "e");
	assert_string_equal(shelf_queue_next(q), "e"); // it reads
	shelf_queue_turn(q, MEMORY - 1, 9000);         // room again
	assert_string_equal(hand(q, "f1", 10, 9000), "e");
	assert_string_equal(hand(q, "f2", 10, 9000), "d");
	shelf_queue_free(q);
}

static void the_next_objects_are_asked_of_the_disk_once(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);
	char topic[16];
	int count = 0;

	(void)state;
	assert_null(shelf_queue_ahead(q));
	for (int i = 0; i < SHELF_AHEAD - 1; i++) {
		snprintf(topic, sizeof(topic), "f1-%d", i);
		shelf_queue_want(q, "f1", topic);
	}
	shelf_queue_want(q, "f2", "f2-0");
	shelf_queue_want(q, "f2", "f2-1");
	for (const char *t; (t = shelf_queue_ahead(q)); count++)
		assert_string_not_equal(t, "f2-1");
	assert_int_equal(count, SHELF_AHEAD);
	assert_string_equal(hand(q, "f1", 10, 0), "f1-0");
	assert_string_equal(shelf_queue_ahead(q), "f2-1");
	assert_null(shelf_queue_ahead(q));
	shelf_queue_want(q, "f1", "f1-0"); // again
	assert_string_equal(shelf_queue_ahead(q), "f1-0");
	shelf_queue_free(q);
}

// How many of the first one's come before one of f2's.
static int before_other(struct shelf_queue *q)
{
	char topic[SHELF_TOPIC_MAX];
	int before = 0;

	for (const char *t; (t = next(q, 0)) && strncmp(t, "f2", 2) != 0; before++) {
		snprintf(topic, sizeof(topic), "%s", t);
		shelf_queue_hand(q, 10);
		assert_true(shelf_queue_take(q, "f1", topic, 10, 0));
	}
	return before;
}

static void clients_take_turns(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);
	char topic[16];

	(void)state;
	for (int i = 0; i < 200; i++) {
		snprintf(topic, sizeof(topic), "f1-%d", i);
		shelf_queue_want(q, "f1", topic);
	}
	shelf_queue_want(q, "f2", "f2-0");
	assert_int_equal(before_other(q), 1); // nobody knows yet whether it reads
	shelf_queue_hand(q, 10);
	shelf_queue_drop(q, "f1", "f1-0");
	shelf_queue_want(q, "f2", "f2-1");
	assert_int_equal(before_other(q), SHELF_TURN);
	shelf_queue_free(q);
}

static void who_is_stuck_gets_a_quarter_of_the_budget(void **state)
{
	struct shelf_queue *q = queue_of(MIB, 80);

	(void)state;
	for (const char *t = "a\0b\0c\0d\0e\0"; *t; t += 2)
		shelf_queue_want(q, "f1", t);
	assert_string_equal(hand(q, "f1", 10, 0), "a");
	assert_string_equal(hand(q, "f1", 10, STUCK_MS), "b");
	assert_null(next(q, STUCK_MS)); // alone, too
	assert_null(next(q, STUCK_MS + 999));
	for (const char *t = "1\0"
			     "2\0"
			     "3\0"
			     "4\0"
			     "5\0";
		*t; t += 2)
		shelf_queue_want(q, "f2", t);
	for (const char *t = "1\0"
			     "2\0"
			     "3\0"
			     "4\0";
		*t; t += 2)
		assert_string_equal(
			hand(q, "f2", 10, STUCK_MS + 1), t); // the others have all of it
	assert_null(next(q, STUCK_MS + 1));
	assert_false(shelf_queue_take(q, "f1", "c", 10, STUCK_MS)); // in nobody's turn but its own
	shelf_queue_drop(q, "f2", "1");
	assert_string_equal(hand(q, "f1", 10, STUCK_MS + 1000), "c");
	assert_string_equal(hand(q, "f2", 10, STUCK_MS + 1000), "5");
	shelf_queue_drop(q, "f1", "a"); // it reads: one of the others again
	shelf_queue_drop(q, "f2", "2");
	assert_string_equal(hand(q, "f1", 10, STUCK_MS + 1000), "d");
	shelf_queue_drop(q, "f2", "3");
	assert_string_equal(hand(q, "f1", 10, STUCK_MS + 1000), "e");
	shelf_queue_free(q);
}

static void who_may_not_read_shares_no_second_copy(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);

	(void)state;
	shelf_queue_want(q, "f1", "a");
	shelf_queue_want(q, "f1", "b");
	shelf_queue_want(q, "f2", "a");
	shelf_queue_want(q, "f2", "b");
	shelf_queue_want(q, "f2", "c");
	assert_string_equal(hand(q, "f1", 10, 0), "a");
	assert_true(shelf_queue_take(q, "f2", "a", 10, 0)); // the first one
	assert_string_equal(hand(q, "f2", 10, 0), "b");
	assert_false(shelf_queue_take(q, "f1", "b", 10, 0));
	shelf_queue_drop(q, "f1", "a"); // it reads
	assert_true(shelf_queue_take(q, "f1", "b", 10, 0));
	shelf_queue_want(q, "f1", "c");
	assert_non_null(next(q, STUCK_MS)); // and does not any more
	assert_false(shelf_queue_take(q, "f1", "c", 10, STUCK_MS));
	shelf_queue_free(q);
}

static void what_is_always_there_is_not_the_stucks_when_none_is(void **state)
{
	struct shelf_queue *q = queue_of(MIB, 60);

	(void)state;
	for (int64_t ms = 0; ms <= 3000; ms += 100)
		shelf_queue_turn(q, 60, ms);
	for (const char *t = "a\0b\0c\0d\0"; *t; t += 2)
		shelf_queue_want(q, "f1", t);
	for (int i = 0; i < 3; i++)
		assert_non_null(hand(q, "f1", 10, 3000));
	shelf_queue_turn(q, 60, 3001);
	assert_null(shelf_queue_next(q));
	shelf_queue_free(q);
}

static void nobody_waits_for_memory_that_the_stuck_fill(void **state)
{
	struct shelf_queue *q = queue_of(MIB, 60);

	(void)state;
	shelf_queue_turn(q, 0, 0);
	for (const char *t = "a\0b\0c\0"; *t; t += 2)
		shelf_queue_want(q, "f1", t);
	for (int i = 0; i < 3; i++)
		assert_non_null(hand(q, "f1", 10, 0));
	for (const char *t = "1\0"
			     "2\0"
			     "3\0"
			     "4\0"
			     "5\0"
			     "6\0"
			     "7\0";
		*t; t += 2)
		shelf_queue_want(q, "f2", t);
	for (int64_t ms = 0; ms <= STUCK_MS; ms += 500)
		shelf_queue_turn(q, 60, ms); // all of it is still there
	for (const char *t = "1\0"
			     "2\0"
			     "3\0";
		*t; t += 2) {
		assert_string_equal(shelf_queue_next(q), t);
		shelf_queue_hand(q, 10);
		assert_true(shelf_queue_take(q, "f2", t, 10, STUCK_MS));
	}
	assert_null(shelf_queue_next(q));
	shelf_queue_turn(q, 100, STUCK_MS); // f2 took 20 of its 60, the others' 60 are there
	assert_string_equal(shelf_queue_next(q), "4");
	shelf_queue_hand(q, 10);
	assert_null(shelf_queue_next(q));
	// What the stuck hold may have left long ago: what goes up and down is not theirs.
	assert_true(shelf_queue_take(q, "f2", "4", 10, STUCK_MS));
	shelf_queue_turn(q, 5, STUCK_MS);
	shelf_queue_turn(q, 60, STUCK_MS);
	assert_string_equal(shelf_queue_next(q), "5");
	shelf_queue_hand(q, 10);
	assert_null(shelf_queue_next(q));
	shelf_queue_free(q);
}

static void wants_of_one_client_are_bounded(void **state)
{
	struct shelf_queue *q = queue_of(MIB, MIB);
	char topic[SHELF_TOPIC_MAX + 8];
	int handed = 0;

	(void)state;
	for (int i = 0; i < SHELF_WANTS_MAX + 50; i++) {
		snprintf(topic, sizeof(topic), "t%d", i);
		shelf_queue_want(q, "f1", topic);
	}
	memset(topic, 'x', sizeof(topic) - 1);
	topic[sizeof(topic) - 1] = 0;
	shelf_queue_want(q, "f2", topic); // too long to be one of ours
	while (hand(q, "f1", 1, 0))
		handed++;
	assert_int_equal(handed, SHELF_WANTS_MAX);
	shelf_queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_subscribes_is_handed_it_once),
		cmocka_unit_test(all_who_wait_for_an_object_take_it_at_once),
		cmocka_unit_test(who_unsubscribes_or_leaves_waits_no_more),
		cmocka_unit_test(what_is_not_there_is_waited_for_no_more),
		cmocka_unit_test(a_client_holds_at_most_its_share_until_it_unsubscribes),
		cmocka_unit_test(one_object_larger_than_the_share_or_the_budget_passes),
		cmocka_unit_test(what_was_handed_lately_stays_within_the_budget),
		cmocka_unit_test(memory_that_says_less_ends_the_wait_early),
		cmocka_unit_test(what_is_handed_counts_before_it_is_taken),
		cmocka_unit_test(who_shares_a_copy_waits_when_the_budget_is_spent),
		cmocka_unit_test(full_memory_gives_one_object_to_who_holds_none),
		cmocka_unit_test(the_next_objects_are_asked_of_the_disk_once),
		cmocka_unit_test(clients_take_turns),
		cmocka_unit_test(who_is_stuck_gets_a_quarter_of_the_budget),
		cmocka_unit_test(who_may_not_read_shares_no_second_copy),
		cmocka_unit_test(what_is_always_there_is_not_the_stucks_when_none_is),
		cmocka_unit_test(nobody_waits_for_memory_that_the_stuck_fill),
		cmocka_unit_test(wants_of_one_client_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
