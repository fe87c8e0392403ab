// Data brokers as settings name them, and what $SYS says of them.
#include "tests/unit/helper.h"

#include "server/broker_load.h"
#include "server/data_brokers.h"
#include "server/router.h"

static const struct {
	const char *line;
	enum err e;
} lines[] = {
	{"da localhost 127.0.0.1 8883 100000000", ERR_OK},
	{"da - 10.0.0.7 8883 1", ERR_OK},
	{"da host.example - 8883 1", ERR_OK},
	{"da - - 8883 1", ERR_FORMAT},
	{"da localhost 127.0.0.1 8883", ERR_FORMAT},
	{"da localhost 127.0.0.1 8883 1 2", ERR_FORMAT},
	{"da localhost 127.0.0.1 8883 1 mosquitto", ERR_OK},
	{"da localhost 127.0.0.1 8883 1 none", ERR_OK},
	{"da localhost 127.0.0.1 8883 1 none more", ERR_FORMAT},
	{"da localhost 127.0.0.1 8883 1 emqx", ERR_FORMAT},
	{"d/a localhost 127.0.0.1 8883 1", ERR_FORMAT},
	{"da localhost 127.0.0.1 0 1", ERR_RANGE},
	{"da localhost 127.0.0.1 65536 1", ERR_RANGE},
	{"da localhost 127.0.0.1 -1 1", ERR_FORMAT},
	{"da localhost 127.0.0.1 80x 1", ERR_FORMAT},
	{"da localhost 127.0.0.1 8883 0", ERR_RANGE},
	{"", ERR_FORMAT},
};

static void a_line_of_settings_is_read_or_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct data_broker b;

		if (data_broker_parse(lines[i].line, true, &b) != lines[i].e)
			fail_msg("'%s': %s", lines[i].line, err_text());
	}
}

static void two_brokers_of_one_id_are_refused(void **state)
{
	char *two[] = {"da h 1.2.3.4 1 1", "da h 1.2.3.4 2 1"};
	struct data_brokers b;

	(void)state;
	assert_int_equal(data_brokers_init(&b, two, 2, true, 10), ERR_EXISTS);
	assert_int_equal(data_brokers_init(&b, two, 1, true, 10), ERR_OK);
	assert_non_null(data_brokers_find(&b, "da"));
	assert_null(data_brokers_find(&b, "db"));
	data_brokers_fini(&b);
}

static struct now at(int64_t ms)
{
	return (struct now){{ms}, {ms}};
}

static struct bytes text(const char *s)
{
	return bytes_of(s, strlen(s));
}

static void a_broker_is_a_candidate_only_while_its_uptime_is_seen(void **state)
{
	struct data_broker b;

	(void)state;
	assert_int_equal(data_broker_parse("da h - 1 100", true, &b), ERR_OK);
	assert_false(data_broker_is_candidate(&b, 10, at(0).mono));
	data_broker_link(&b, true, "", at(0));
	assert_false(
		data_broker_is_candidate(&b, 10, at(0).mono)); // reachable, but no sign of life yet
	assert_false(broker_load_mosquitto.take(
		&b, "$SYS/broker/uptime", text("100 seconds"), at(1000)));
	assert_true(data_broker_is_candidate(&b, 10, at(31000).mono));
	assert_false(data_broker_is_candidate(&b, 10, at(31001).mono));
	b.refused = true;
	assert_false(data_broker_is_candidate(&b, 10, at(2000).mono));
	b.refused = false;
	data_broker_link(&b, false, "gone", at(2000));
	assert_false(data_broker_is_candidate(&b, 10, at(2000).mono));
	assert_string_equal(b.why, "gone");
	data_broker_link(
		&b, true, "", at(3000)); // an old sign of life proves nothing of a new connection
	assert_false(data_broker_is_candidate(&b, 10, at(3000).mono));
}

static void a_broker_is_away_when_it_is_down_or_silent_for_long(void **state)
{
	struct data_broker b = {.up_since = {1000}, .load = &broker_load_mosquitto};
	struct now now = {{1000}, {0}};

	(void)state;
	assert_false(data_broker_is_away(&b, 10, 5, (struct mono){5999}));
	assert_true(data_broker_is_away(&b, 10, 5, (struct mono){6000}));
	data_broker_link(&b, true, "", now);
	assert_false(data_broker_is_away(&b, 10, 5, (struct mono){35999}));
	assert_true(data_broker_is_away(&b, 10, 5, (struct mono){36000}));
	now.mono.ms = 35000;
	broker_load_mosquitto.take(&b, "$SYS/broker/uptime", bytes_of("9 seconds", 9), now);
	assert_false(data_broker_is_away(&b, 10, 5, (struct mono){69999}));
	assert_true(data_broker_is_away(&b, 10, 5, (struct mono){70000}));
	b.refused = true;
	assert_true(data_broker_is_away(&b, 10, 5, now.mono));
}

static void load_is_what_is_measured_and_what_is_too_young_to_be(void **state)
{
	struct data_broker b;

	(void)state;
	assert_int_equal(data_broker_parse("da h - 1 100", true, &b), ERR_OK);
	assert_true(data_broker_busy(&b) == 0);
	broker_load_mosquitto.take(&b, "$SYS/broker/load/bytes/sent/1min", text("3000.00"), at(1));
	assert_true(data_broker_busy(&b) == 0.5);
	b.fresh_bytes_per_s = 50;
	assert_true(data_broker_busy(&b) == 1.0);
	broker_load_mosquitto.take(&b, "$SYS/broker/load/bytes/sent/1min", text("nonsense"), at(2));
	broker_load_mosquitto.take(&b, "$SYS/broker/load/bytes/sent/1min", text("-5"), at(2));
	broker_load_mosquitto.take(&b, "$SYS/broker/load/bytes/sent/1min", text(""), at(2));
	broker_load_mosquitto.take(&b, "$SYS/broker/heap/current", text("9"), at(2));
	assert_true(data_broker_busy(&b) == 1.0);
}

static void who_takes_more_than_a_budget_is_seen_when_it_has_stood_for_a_while(void **state)
{
	struct data_broker b;

	(void)state;
	assert_int_equal(data_broker_parse("da h - 1 100000", true, &b), ERR_OK);
	broker_load_mosquitto.take(&b, "$SYS/broker/load/bytes/sent/1min", text("60000.00"),
		at(1000)); // 1,000 a second
	data_broker_budget(&b, 0, at(1000).mono);
	assert_false(data_broker_is_overdrawn(&b, at(1000000).mono)); // its capacity is no promise
	data_broker_budget(&b, 700, at(2000).mono);
	assert_false(data_broker_is_overdrawn(&b, at(301999).mono));
	data_broker_budget(&b, 700, at(100000).mono);
	assert_true(data_broker_is_overdrawn(&b, at(302000).mono));
	data_broker_budget(&b, 900, at(302000).mono);
	assert_false(data_broker_is_overdrawn(&b, at(9000000).mono)); // near enough
	// Of a budget that stood when the server began nobody knows better.
	assert_int_equal(data_broker_parse("da h - 1 100000", true, &b), ERR_OK);
	b.sent_bytes_per_s = 1000;
	data_broker_budget(&b, 700, at(5).mono);
	assert_true(data_broker_is_overdrawn(&b, at(5).mono));
	b.load = &broker_load_none;
	assert_false(data_broker_is_overdrawn(&b, at(5).mono));
}

static void a_lower_uptime_is_a_restart(void **state)
{
	struct data_broker b;

	(void)state;
	assert_int_equal(data_broker_parse("da h - 1 100", true, &b), ERR_OK);
	assert_false(
		broker_load_mosquitto.take(&b, "$SYS/broker/uptime", text("50 seconds"), at(1)));
	assert_false(
		broker_load_mosquitto.take(&b, "$SYS/broker/uptime", text("60 seconds"), at(2)));
	assert_true(broker_load_mosquitto.take(&b, "$SYS/broker/uptime", text("1 seconds"), at(3)));
	broker_load_mosquitto.take(&b, "$SYS/broker/version", text("mosquitto\x01version"), at(3));
	assert_string_equal(b.version, "mosquitto?version");
}

static void a_message_goes_to_one_room(void **state)
{
	static const struct {
		bool from_data;
		const char *topic;
		enum route_to to;
	} rows[] = {
		{false, "helio/v1/hb/00/f1", TO_CORE},
		{false, "helio/v1/pub/pub", TO_CORE},
		{false, "$SYS/broker/version", TO_SYS},
		{true, "$SYS/broker/uptime", TO_SYS},
		{false, "helio/v1/grant/server.1", TO_PROBE},
		{true, "helio/v1/inbox/f1", TO_CORE},
		{true, "helio/v1/mark/pub", TO_READBACK},
		{false, "helio/v1/mark/pub", TO_CORE}, // no content lies on a control broker
		{true, "nonsense", TO_CORE},
	};
	struct topic_parts parts;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(router_pick(rows[i].from_data, rows[i].topic,
					 strlen(rows[i].topic), "helio/v1/grant/server.1", &parts),
			rows[i].to);
	assert_int_equal(router_pick(true, "helio/v1/mark/pub", 30, "x", &parts), TO_CORE);
}

static void a_broker_that_tells_nothing_lives_while_it_is_connected(void **state)
{
	struct data_broker b, told;

	(void)state;
	assert_int_equal(data_broker_parse("da h - 1 1000 none", true, &b), ERR_OK);
	assert_int_equal(data_broker_parse("db h - 1 1000 mosquitto", true, &told), ERR_OK);
	assert_false(data_broker_is_candidate(&b, 10, at(1000).mono));
	data_broker_link(&b, true, "", at(1000));
	data_broker_link(&told, true, "", at(1000));
	assert_true(data_broker_is_candidate(&b, 10, at(1000000).mono));
	assert_false(data_broker_is_candidate(&told, 10, at(1000).mono)); // it has to say so
	assert_false(data_broker_is_away(&b, 10, 15, at(1000000).mono));
	assert_true(data_broker_is_away(&told, 10, 15, at(1000000).mono));
	// What was granted is its load, however long ago; what it says is not heard.
	b.granted_bytes_per_s = 500;
	b.fresh_bytes_per_s = 0;
	assert_false(b.load->take(&b, "$SYS/broker/load/bytes/sent/1min", text("60000.00"), at(1)));
	assert_true(data_broker_busy(&b) > 0.499 && data_broker_busy(&b) < 0.501);
	told.granted_bytes_per_s = 500;
	assert_true(data_broker_busy(&told) < 0.001);
	data_broker_link(&b, false, "gone", at(2000000));
	assert_false(data_broker_is_candidate(&b, 10, at(2000000).mono));
	assert_true(data_broker_is_away(&b, 10, 15, at(2015000).mono));
	b.refused = true;
	data_broker_link(&b, true, "", at(3000000));
	assert_false(data_broker_is_candidate(&b, 10, at(3000000).mono));
	assert_true(data_broker_is_away(&b, 10, 15, at(3000000).mono));
}

static void every_kind_of_broker_has_its_row(void **state)
{
	(void)state;
	assert_ptr_equal(broker_load_find("mosquitto"), &broker_load_mosquitto);
	assert_ptr_equal(broker_load_find("none"), &broker_load_none);
	assert_null(broker_load_find(""));
	for (size_t i = 0; i < broker_load_mosquitto.topic_count; i++)
		assert_memory_equal(broker_load_mosquitto.topics[i], "$SYS/", 5);
	assert_int_equal(broker_load_none.topic_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_of_settings_is_read_or_refused),
		cmocka_unit_test(every_kind_of_broker_has_its_row),
		cmocka_unit_test(a_broker_that_tells_nothing_lives_while_it_is_connected),
		cmocka_unit_test(two_brokers_of_one_id_are_refused),
		cmocka_unit_test(a_broker_is_a_candidate_only_while_its_uptime_is_seen),
		cmocka_unit_test(a_broker_is_away_when_it_is_down_or_silent_for_long),
		cmocka_unit_test(load_is_what_is_measured_and_what_is_too_young_to_be),
		cmocka_unit_test(
			who_takes_more_than_a_budget_is_seen_when_it_has_stood_for_a_while),
		cmocka_unit_test(a_lower_uptime_is_a_restart),
		cmocka_unit_test(a_message_goes_to_one_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
