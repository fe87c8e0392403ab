// Which lines of a log answer a question.
#include "client/logs.h"
#include "tests/unit/helper.h"

#include <time.h>

static const struct wall now = {1795255245000}; // 2026-11-21T10:00:45Z

static void assert_chosen(const char *text, bool begins_inside, const struct log_question *q,
	const char *want, bool want_truncated)
{
	SCOPED_BUF struct buf out;
	bool truncated;
	buf_init(&out, 4096);
	assert_int_equal(
		logs_choose(bytes_of(text, strlen(text)), begins_inside, q, now, &out, &truncated),
		ERR_OK);
	assert_int_equal(buf_append(&out, "", 1), ERR_OK);
	assert_string_equal((const char *)out.data, want);
	assert_int_equal(truncated, want_truncated);
}

static void the_time_of_a_line_is_read_in_the_usual_forms(void **state)
{
	static const struct {
		const char *line;
		int64_t ms;
	} cases[] = {
		{"2026-11-21T05:17:55.123Z helio-agent", 1795238275123},
		{"2026-11-21 05:17:55Z x", 1795238275000},
		{"2026-11-21T06:17:55,5+01:00 x", 1795238275500},
		{"2026-11-21T06:17:55+0100 x", 1795238275000},
		{"2026-11-20T21:17:55-08:00 x", 1795238275000},
		{"Nov 21 05:17:55 host kernel: x", 1795238275000},
		{"Dec  1 00:00:00 host of last year", 1764547200000},
		{"1999 bottles", -1},
		{"Now is no month 1", -1},
		{"", -1},
		{"\t at somewhere", -1},
	};
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t have = log_line_time(cases[i].line, strlen(cases[i].line), now);
		if (have != cases[i].ms)
			fail_msg("%s: %lld", cases[i].line, (long long)have);
	}
}

static void lines_are_chosen_by_time_pattern_number_and_size(void **state)
{
	static const char text[] = "no time yet\n"
				   "2026-11-20T00:00:00Z old\n"
				   "  and its second line\n"
				   "2026-11-21T00:00:00Z new one\n"
				   "  and its second line\n"
				   "2026-11-21T01:00:00Z new two\n";
	struct log_question q = {.pattern = "", .max_bytes = 1000};
	(void)state;
	assert_chosen(text, false, &q, text, false);
	q.since_unix_ms = 1795219200000; // 2026-11-21
	assert_chosen(text, false, &q,
		"no time yet\n2026-11-21T00:00:00Z new one\n  and its second line\n"
		"2026-11-21T01:00:00Z new two\n",
		false);
	q.pattern = "new";
	assert_chosen(text, false, &q,
		"2026-11-21T00:00:00Z new one\n2026-11-21T01:00:00Z new two\n", false);
	q.lines = 1;
	assert_chosen(text, false, &q, "2026-11-21T01:00:00Z new two\n", false);
	q.lines = 0;
	q.max_bytes = 40;
	assert_chosen(text, false, &q, "2026-11-21T01:00:00Z new two\n", true);
	q.max_bytes = 5;
	assert_chosen(text, false, &q, "", true);
	q.since_unix_ms = INT64_MAX;
	q.pattern = "new";
	assert_chosen(text, false, &q, "", false);
}

static void the_end_of_a_log_begins_with_a_whole_line(void **state)
{
	struct log_question q = {.pattern = "", .max_bytes = 1000, .lines = 2};
	(void)state;
	assert_chosen("alf a line\none\ntwo\n", true, &q, "one\ntwo\n", false);
	q.lines = 3; // there may be a third before what was read
	assert_chosen("alf a line\none\ntwo\n", true, &q, "one\ntwo\n", true);
	q.lines = 0;
	assert_chosen("", false, &q, "", false);
	assert_chosen("no newline at the end", false, &q, "no newline at the end\n", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_time_of_a_line_is_read_in_the_usual_forms),
		cmocka_unit_test(lines_are_chosen_by_time_pattern_number_and_size),
		cmocka_unit_test(the_end_of_a_log_begins_with_a_whole_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
