// Which data brokers are relays, and whom they serve.
#include "tests/unit/helper.h"

#include "server/relays.h"

static int brokers_make(void **state)
{
	static char *lines[] = {"da h 127.0.0.1 1 1000", "r1 h 127.0.0.1 2 1000",
		"r2 h 127.0.0.1 3 1000", "r3 h 127.0.0.1 4 1000"};
	struct data_brokers *b = calloc(1, sizeof(*b));

	assert_int_equal(data_brokers_init(b, lines, 4, true, 10), ERR_OK);
	*state = b;
	return 0;
}

static int brokers_drop(void **state)
{
	data_brokers_fini(*state);
	free(*state);
	return 0;
}

static bool serves(struct data_brokers *b, const char *broker, const char *site)
{
	return relay_serves(b, data_brokers_find(b, broker), site);
}

static void a_relay_serves_its_sites_and_no_other(void **state)
{
	static char *lines[] = {"r1 acme/lobby", "r1 acme/bar", "r2 acme/*", "r3 other/lobby"};
	struct data_broker *of[RELAYS_OF_SITE];
	struct data_brokers *b = *state;

	assert_int_equal(relays_init(b, lines, 4), ERR_OK);
	assert_true(serves(b, "r1", "acme/lobby"));
	assert_true(serves(b, "r1", "acme/bar"));
	assert_false(serves(b, "r1", "acme/lobby2"));
	assert_false(serves(b, "r1", "acme/lob"));
	assert_false(serves(b, "r1", "other/lobby"));
	assert_false(serves(b, "r1", ""));
	assert_true(serves(b, "r2", "acme/lobby"));
	assert_true(serves(b, "r2", "acme/anything"));
	assert_false(serves(b, "r2", "acme/"));
	assert_false(serves(b, "r2", "acme2/lobby"));
	assert_false(serves(b, "r2", ""));
	assert_true(serves(b, "da", "")); // no relay: everybody
	assert_true(serves(b, "da", "acme/lobby"));
	assert_int_equal(relays_of(b, "acme/lobby", of), 2);
	assert_string_equal(of[0]->id, "r1");
	assert_string_equal(of[1]->id, "r2");
	assert_int_equal(relays_of(b, "other/lobby", of), 1);
	assert_int_equal(relays_of(b, "other/bar", of), 0);
	assert_int_equal(relays_of(b, "", of), 0);
	assert_string_equal(relay_site(b, "r1", 1), "acme/bar");
	assert_null(relay_site(b, "r1", 2));
	assert_null(relay_site(b, "da", 0));
}

static void a_wrong_line_is_refused(void **state)
{
	static const struct {
		const char *line;
		enum err e;
	} wrong[] = {
		{"", ERR_FORMAT},
		{"r1", ERR_FORMAT},
		{"r1 acme/lobby more", ERR_FORMAT},
		{"r1 acme", ERR_FORMAT},
		{"r1 /lobby", ERR_FORMAT},
		{"r1 acme/", ERR_FORMAT},
		{"r1 acme/lob*", ERR_FORMAT},
		{"r1 */lobby", ERR_FORMAT},
		{"r1 acme/../x", ERR_FORMAT},
		{"r1 a1234567890123456789012345678901234567890/lobby", ERR_FORMAT},
		{"r9 acme/lobby", ERR_NOT_FOUND},
		{"r1 acme/bar", ERR_EXISTS},
	};
	struct data_brokers *b = *state;

	assert_int_equal(relay_add(b, "r1 acme/bar"), ERR_OK);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (relay_add(b, wrong[i].line) != wrong[i].e)
			fail_msg("'%s': %s", wrong[i].line, err_text());
	assert_int_equal(b->relay_count, 1);
}

static void one_broker_is_for_all(void **state)
{
	static char *lines[] = {"da a/b", "r1 a/b", "r2 a/b", "r3 a/b"};
	struct data_brokers *b = *state;

	assert_int_equal(relays_init(b, lines, 4), ERR_RANGE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, brokers_make, brokers_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_relay_serves_its_sites_and_no_other),
		T(a_wrong_line_is_refused),
		T(one_broker_is_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
