// Which way a package goes, and the life of a medium; the rows of the orders.
#include "server/db/rows_media.h"
#include "server/distribute.h"
#include "server/media_state.h"
#include "store_rig.h"
#include "tests/unit/helper.h"
#include <stdio.h>
#include <time.h>

// ---- the route

struct route_case {
	const char *what;
	struct route_client c;
	struct route_policy p;
	enum route route;
	enum route_reason why;
};

#define DAY_MS (86400ll * 1000)
#define DAY_PERIOD                                                                                 \
	{                                                                                          \
		.has_medium = true, .period_ms = DAY_MS, .never_ms = 1000                          \
	}

static const struct route_case routes[] = {
	{"heard", {.reach = REACH_ONLINE}, DAY_PERIOD, ROUTE_LINK, ROUTE_REACHABLE},
	{"late is heard", {.reach = REACH_LATE, .silent_ms = 2 * DAY_MS}, DAY_PERIOD, ROUTE_LINK,
		ROUTE_REACHABLE},
	{"below the period", {.reach = REACH_SILENT, .silent_ms = DAY_MS - 1}, DAY_PERIOD,
		ROUTE_LINK, ROUTE_PATIENCE},
	{"exactly the period counts as heard", {.reach = REACH_SILENT, .silent_ms = DAY_MS},
		DAY_PERIOD, ROUTE_LINK, ROUTE_PATIENCE},
	{"above the period", {.reach = REACH_SILENT, .silent_ms = DAY_MS + 1}, DAY_PERIOD,
		ROUTE_MEDIUM, ROUTE_SILENT},
	{"another period", {.reach = REACH_SILENT, .silent_ms = DAY_MS + 1},
		{.has_medium = true, .period_ms = 2 * DAY_MS}, ROUTE_LINK, ROUTE_PATIENCE},
	{"never heard, lately enrolled", {.reach = REACH_NEVER, .silent_ms = 1000}, DAY_PERIOD,
		ROUTE_LINK, ROUTE_PATIENCE},
	{"never heard", {.reach = REACH_NEVER, .silent_ms = 1001}, DAY_PERIOD, ROUTE_MEDIUM,
		ROUTE_NEVER_HEARD},
	{"never heard, at once", {.reach = REACH_NEVER}, {.has_medium = true, .period_ms = DAY_MS},
		ROUTE_MEDIUM, ROUTE_NEVER_HEARD},
	{"never heard, our clock went back", {.reach = REACH_NEVER, .silent_ms = -5}, DAY_PERIOD,
		ROUTE_LINK, ROUTE_PATIENCE},
	{"no medium", {.reach = REACH_SILENT, .silent_ms = 9 * DAY_MS}, {.period_ms = DAY_MS},
		ROUTE_LINK, ROUTE_NO_MEDIUM},
	{"many at once", {.reach = REACH_SILENT, .silent_ms = 9 * DAY_MS, .mass_silence = true},
		DAY_PERIOD, ROUTE_LINK, ROUTE_MASS_SILENCE},
	{"who asks is there", {.reach = REACH_SILENT, .silent_ms = 9 * DAY_MS, .asks = true},
		DAY_PERIOD, ROUTE_LINK, ROUTE_ASKED},
	{"the link failed", {.reach = REACH_ONLINE, .failed_attempts = 3},
		{.has_medium = true, .period_ms = DAY_MS, .attempts_max = 3}, ROUTE_MEDIUM,
		ROUTE_SEND_FAILED},
	{"the link may yet do", {.reach = REACH_ONLINE, .failed_attempts = 2},
		{.has_medium = true, .period_ms = DAY_MS, .attempts_max = 3}, ROUTE_LINK,
		ROUTE_REACHABLE},
	{"the link failed, many are silent",
		{.reach = REACH_ONLINE, .failed_attempts = 3, .mass_silence = true},
		{.has_medium = true, .period_ms = DAY_MS, .attempts_max = 3}, ROUTE_MEDIUM,
		ROUTE_SEND_FAILED},
	{"the link failed, no medium", {.reach = REACH_ONLINE, .failed_attempts = 3},
		{.attempts_max = 3}, ROUTE_LINK, ROUTE_NO_MEDIUM},
};

static void S001_c6_heard_means_heard_within_the_period(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		struct route_decision d = route_decide(&routes[i].c, &routes[i].p);

		if (d.route != routes[i].route || d.why != routes[i].why)
			fail_msg("%s: %s because %s", routes[i].what, route_word(d.route),
				route_reason_word(d.why));
	}
	for (int r = ROUTE_ASKED; r < ROUTE_REASON_COUNT; r++)
		assert_string_not_equal(route_reason_word((enum route_reason)r), "?");
}

// ---- the life of an order

static void a_medium_has_one_life(void **state)
{
	(void)state;
	assert_int_equal(media_step(MEDIA_PENDING, MEDIA_EV_RECORD), MEDIA_RECORDED);
	assert_int_equal(media_step(MEDIA_RECORDED, MEDIA_EV_POST), MEDIA_POSTED);
	assert_int_equal(media_step(MEDIA_POSTED, MEDIA_EV_BY_MEDIUM), MEDIA_ARRIVED);
	// A client that came back: what is recorded stays, what is not is not recorded any more.
	assert_int_equal(media_step(MEDIA_PENDING, MEDIA_EV_RETURN), MEDIA_CANCELLED);
	assert_int_equal(media_step(MEDIA_RECORDED, MEDIA_EV_RETURN), MEDIA_SUPERSEDED);
	assert_int_equal(media_step(MEDIA_POSTED, MEDIA_EV_RETURN), 0);
	assert_int_equal(media_step(MEDIA_POSTED, MEDIA_EV_NEWER), 0);
	assert_int_equal(media_step(MEDIA_PENDING, MEDIA_EV_POST), 0);
	assert_int_equal(media_step(MEDIA_RECORDED, MEDIA_EV_RECORD), 0);
}

static void what_ended_stays_ended(void **state)
{
	(void)state;
	for (int s = 0; s <= MEDIA_SUPERSEDED + 1; s++) {
		bool open = media_is_open((enum media_state)s);

		for (int e = 0; e <= MEDIA_EVENT_COUNT; e++) {
			enum media_state to = media_step((enum media_state)s, (enum media_event)e);
			assert_true(open || to == 0);
			assert_true(to != (enum media_state)s || to == 0);
			assert_true(to == 0 || (int)to > s); // so it always ends
		}
		if (open)
			assert_int_not_equal(media_step((enum media_state)s, MEDIA_EV_BY_LINK), 0);
	}
	for (int s = MEDIA_PENDING; s <= MEDIA_SUPERSEDED; s++)
		assert_string_not_equal(media_state_word((enum media_state)s), "?");
	for (int e = MEDIA_EV_RECORD; e < MEDIA_EVENT_COUNT; e++)
		assert_string_not_equal(media_event_word((enum media_event)e), "?");
}

// ---- rows

static struct media_row row_make(uint64_t number, const char *client, enum media_state state)
{
	return (struct media_row){.number = number,
		.client = client,
		.publisher = "pub",
		.name = "art",
		.version = "1",
		.kind = PACKAGE_IMAGES,
		.package = {{(uint8_t)number}},
		.activate = true,
		.state = state,
		.reason = "silent",
		.medium_kind = "iso9660",
		.path = "/a/b.iso",
		.sha256 = {{7}},
		.size_bytes = 99,
		.detail = "it's \"quoted\"",
		.failed_op = 11,
		.created_ms = 5,
		.changed_ms = 6};
}

static void an_order_is_read_as_it_was_written(void **state)
{
	struct db *db = NULL;
	struct arena a = {0};
	struct media_row row, *list = NULL;
	size_t count = 0;
	uint64_t pending = 0;

	(void)state;
	arena_init(&a, 1 << 20, 1000);
	assert_int_equal(store_open(":memory:", &db), ERR_OK);
	assert_int_equal(schema_migrate(db), ERR_OK);
	for (uint64_t i = 1; i <= 4; i++) {
		row = row_make(i, i % 2 ? "f1" : "f2",
			i == 4   ? MEDIA_CANCELLED
			: i == 3 ? MEDIA_PENDING
				 : MEDIA_POSTED);
		assert_int_equal(rows_media_put(db, &row), ERR_OK);
	}
	assert_int_equal(rows_media_find(db, 3, &a, &row), ERR_OK);
	assert_string_equal(row.client, "f1");
	assert_string_equal(row.detail, "it's \"quoted\"");
	assert_int_equal(row.state, MEDIA_PENDING);
	assert_int_equal(row.sha256.b[0], 7);
	assert_int_equal(row.size_bytes, 99);
	assert_true(row.activate);
	assert_int_equal(rows_media_find(db, 9, &a, &row), ERR_NOT_FOUND);

	struct media_filter f = {.client = "f2", .max = 10};
	assert_int_equal(rows_media_list(db, &f, &a, &list, &count), ERR_OK);
	assert_int_equal(count, 2);
	f.open = true;
	assert_int_equal(rows_media_list(db, &f, &a, &list, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].number, 2);
	f = (struct media_filter){.state = MEDIA_PENDING, .after = 3, .max = 10};
	assert_int_equal(rows_media_list(db, &f, &a, &list, &count), ERR_OK);
	assert_int_equal(count, 0);
	struct digest second = {{2}};
	f = (struct media_filter){.package = &second, .max = 10};
	assert_int_equal(rows_media_list(db, &f, &a, &list, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(rows_media_count(db, MEDIA_PENDING, &pending), ERR_OK);
	assert_int_equal(pending, 1);
	assert_int_equal(db_commit(db), ERR_OK);
	db_close(db);
	arena_fini(&a);
}

static double list_cpu_us(struct db *db, const struct media_filter *f, size_t want)
{
	struct timespec from, to;
	struct media_row *list = NULL;
	size_t count = 0;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (int i = 0; i < 50; i++) {
		struct arena a = {0};
		arena_init(&a, 1 << 20, 1000);
		assert_int_equal(rows_media_list(db, f, &a, &list, &count), ERR_OK);
		assert_int_equal(count, want);
		arena_fini(&a);
	}
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	return (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

// What is asked each tick, of one client and of what waits, costs the same among 20 orders and
// among 20,000; what reads all, the control, costs a multiple.
static void what_others_have_costs_a_question_nothing(void **state)
{
	const struct media_filter one = {.client = "f7", .open = true, .max = 10},
				  waits = {.state = MEDIA_PENDING, .max = 10},
				  all = {.told = true, .over = true, .max = 10};
	double spent[2][3];

	(void)state;
	store_must_be_file();
	for (size_t size = 0; size < 2; size++) {
		struct db *db = NULL;
		char client[16];
		assert_int_equal(store_open(":memory:", &db), ERR_OK);
		assert_int_equal(schema_migrate(db), ERR_OK);
		for (uint64_t i = 1; i <= (size ? 20000 : 20); i++) {
			(void)snprintf(client, sizeof(client), "f%llu", (unsigned long long)i);
			struct media_row row = row_make(i, client, MEDIA_POSTED);
			assert_int_equal(rows_media_put(db, &row), ERR_OK);
		}
		assert_int_equal(db_commit(db), ERR_OK);
		spent[size][0] = list_cpu_us(db, &one, 1);
		spent[size][1] = list_cpu_us(db, &waits, 0);
		spent[size][2] = list_cpu_us(db, &all, 0);
		db_close(db);
	}
	assert_true(spent[1][0] < spent[0][0] * 10 + 1000);
	assert_true(spent[1][1] < spent[0][1] * 10 + 1000);
	assert_true(spent[1][2] > spent[0][2] * 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(S001_c6_heard_means_heard_within_the_period),
		cmocka_unit_test(a_medium_has_one_life),
		cmocka_unit_test(what_ended_stays_ended),
		cmocka_unit_test(an_order_is_read_as_it_was_written),
		cmocka_unit_test(what_others_have_costs_a_question_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
