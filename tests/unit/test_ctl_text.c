// What reaches a terminal or a script: escapes, widths, tables, JSON.
#include "tests/unit/helper.h"

#include "server/ctl/ctl.h"
#include "server/ctl/progress.h"
#include "server/ctl/text.h"
#include <locale.h>

static const char *escaped(const char *s, size_t size)
{
	static char out[4096];
	SCOPED_BUF struct buf b;

	buf_init(&b, sizeof(out) - 1);
	assert_int_equal(text_escape(&b, s, size), ERR_OK);
	memcpy(out, b.data ? (char *)b.data : "", b.size);
	out[b.size] = '\0';
	return out;
}

static void C11_hostile_text_cannot_reach_the_terminal(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain text", "plain text"},
		{"", ""},
		{"\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"},
		{"a\r\nb\tc", "a\\x0d\\x0ab\\x09c"},
		{"\x7f", "\\x7f"},
		{"\xc2\x9b"
		 "31m",
			"\\u{9b}31m"}, // CSI as one character
		{"\xe2\x80\xae"
		 "gnp.exe",
			"\\u{202e}gnp.exe"}, // right to left
		{"\xe2\x81\xa6x\xe2\x81\xa9", "\\u{2066}x\\u{2069}"},
		{"\xe2\x80\x8b", "\\u{200b}"}, // zero width
		{"\xef\xbb\xbf", "\\u{feff}"},
		{"\xf3\xa0\x81\x81", "\\u{e0041}"}, // tag characters
		{"\xff\xfe", "\\xff\\xfe"},
		{"\xc0\xaf", "\\xc0\\xaf"},                   // overlong
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"},          // surrogate
		{"\xe2\x82", "\\xe2\\x82"},                   // cut short
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, // beyond Unicode
		{"Gr\xc3\xbc\xc3\x9f"
		 "e \xe2\x82\xac \xf0\x9f\x8c\x85",
			"Gr\xc3\xbc\xc3\x9f"
			"e \xe2\x82\xac \xf0\x9f\x8c\x85"},
	};

	(void)state;
	for (size_t i = 0; i < CTL_COUNT(cases); i++)
		assert_string_equal(escaped(cases[i].in, strlen(cases[i].in)), cases[i].out);
	assert_string_equal(escaped("a\0b", 3), "a\\x00b");
	assert_string_equal(ctl_safe("\x1b[2J"), "\\x1b[2J");
	// Whatever byte comes, no control character leaves.
	for (int a = 0; a < 256; a++) {
		for (int b = 0; b < 256; b++) {
			char two[2] = {(char)a, (char)b};
			const char *out = escaped(two, 2);

			for (; *out; out++)
				assert_true((unsigned char)*out >= ' ' && *out != 0x7f);
		}
	}
}

static void long_text_is_cut_not_overrun(void **state)
{
	char big[5000];

	(void)state;
	memset(big, 0x1b, sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_true(strlen(ctl_safe(big)) < 1024);
}

static void widths_count_columns_not_bytes(void **state)
{
	(void)state;
	assert_int_equal(text_width("abc"), 3);
	assert_int_equal(text_width("\xc3\xa4"), 1);
	assert_int_equal(text_cut("abcdef", 3), 3);
	assert_int_equal(text_cut("\xc3\xa4\xc3\xa4\xc3\xa4", 2), 4);
	assert_int_equal(text_cut("ab", 10), 2);
	if (setlocale(LC_CTYPE, "C.UTF-8")) {
		assert_int_equal(text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4); // two wide ones
		assert_int_equal(text_cut("\xe6\x97\xa5\xe6\x9c\xac", 3), 3);
	}
}

static char *printed(const struct table *t, size_t width, bool colour)
{
	static char text[8192];
	FILE *f = fmemopen(text, sizeof(text), "w");
	struct term term = {
		.file = f, .width = width, .colour = colour, .tty = colour, .utf8 = true};

	assert_non_null(f);
	table_print(t, &term);
	fclose(f);
	return text;
}

static struct table *table_sample(void)
{
	static const struct table_column columns[] = {{"NAME", false, true, false},
		{"N", true, false, true}, {"TEXT", false, true, false}};
	struct table *t = table_new(columns, 3);

	table_add(t, "lobby");
	table_addf(t, "%d", 7);
	table_add_style(t, "fine", STYLE_GOOD);
	table_add(t, "e\x1b[31mvil");
	table_addf(t, "%d", 12345);
	table_add(t, "a text that is rather long for such a table");
	return t;
}

static void a_table_is_aligned_and_escaped(void **state)
{
	struct table *t = table_sample();

	(void)state;
	assert_int_equal(table_rows(t), 2);
	assert_string_equal(printed(t, 0, false),
		"NAME              N  TEXT\n"
		"lobby             7  fine\n"
		"e\\x1b[31mvil  12345  a text that is rather long for such a table\n");
	table_free(t);
}

static void a_narrow_table_cuts_what_may_be_cut(void **state)
{
	struct table *t = table_sample();
	char *text = printed(t, 40, false);

	(void)state;
	setlocale(LC_CTYPE, "C.UTF-8");
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		assert_true(text_width(line) <= 40);
	}
	text = printed(t, 40, false);
	assert_non_null(strstr(text, "\xe2\x80\xa6\n"));
	table_free(t);
}

static void a_column_is_left_out_before_a_text_says_nothing_any_more(void **state)
{
	struct table *t = table_sample();
	const char *text = printed(t, 60, false);

	(void)state;
	assert_null(strstr(text, "12345"));
	assert_non_null(strstr(text, "a text that is rather long for such a table\n"));
	table_free(t);
}

static void long_lines_break_between_words(void **state)
{
	static char text[256];
	FILE *f = fmemopen(text, sizeof(text), "w");
	struct term term = {.file = f, .width = 20};

	(void)state;
	assert_non_null(f);
	term_wrap(&term, "one two three four", 12, 4);
	term_wrap(&term, "a-word-that-is-longer-than-a-line and", 0, 2);
	term.width = 0;
	term_wrap(&term, "no terminal,  no break at all, however long", 12, 4);
	fclose(f);
	assert_string_equal(text, "one two\n"
				  "    three four\n"
				  "a-word-that-is-longer-than-a-line\n"
				  "  and\n"
				  "no terminal,  no break at all, however long\n");
}

static void a_table_that_cannot_be_cut_further_loses_a_column(void **state)
{
	struct table *t = table_sample();
	const char *text = printed(t, 20, false);

	(void)state;
	assert_null(strstr(text, "12345"));
	assert_non_null(strstr(text, "NAME"));
	assert_non_null(strstr(text, "TEXT"));
	// Nothing left to drop: it is as narrow as it gets, and still whole lines.
	text = printed(t, 3, false);
	assert_non_null(strstr(text, "NAME"));
	table_free(t);
}

static void colours_are_for_terminals(void **state)
{
	struct table *t = table_sample();

	(void)state;
	assert_null(strchr(printed(t, 0, false), 0x1b));
	assert_non_null(strstr(printed(t, 80, true), "\x1b[32mfine\x1b[0m"));
	setenv("NO_COLOR", "1", 1);
	assert_false(term_of(stderr).colour);
	unsetenv("NO_COLOR");
	table_free(t);
}

static void no_line_of_a_table_ends_in_a_blank(void **state)
{
	struct table *t = table_sample();

	(void)state;
	table_add(t, "empty");
	table_add(t, "");
	table_add(t, "");
	for (size_t width = 0; width <= 60; width += 20)
		assert_null(strstr(printed(t, width, false), " \n"));
	table_free(t);
}

static void amounts_and_ages_read_well(void **state)
{
	(void)state;
	assert_string_equal(amount_text(0), "0 B");
	assert_string_equal(amount_text(999), "999 B");
	assert_string_equal(amount_text(1000), "1.0 kB");
	assert_string_equal(amount_text(1434567), "1.4 MB");
	assert_string_equal(amount_text(999499999), "999 MB");
	assert_string_equal(amount_text(999600000), "1.0 GB");
	assert_string_equal(amount_text(UINT64_MAX), "18 EB");
	assert_string_equal(age_text(-1), "-");
	assert_string_equal(age_text(400), "0.4 s");
	assert_string_equal(age_text(59000), "59 s");
	assert_string_equal(age_text(3600000), "60 min");
	assert_string_equal(age_text(48ll * 3600000), "2 d");
}

static void json_keeps_large_numbers_whole(void **state)
{
	const char *text =
		"{\"op_id\":7678901234567890123,\"small\":42,\"text\":\"id 12345678901234567890 "
		"\\\" 1\","
		"\"n\":-1234567890123456789,\"f\":1.25e3,\"list\":[18446744073709551615,1]}";
	SCOPED_JSON cJSON *j = NULL;

	(void)state;
	assert_int_equal(json_parse(bytes_of(text, strlen(text)), &j), ERR_OK);
	assert_true(json_u64(j, "op_id") == 7678901234567890123ull);
	assert_int_equal(json_u64(j, "small"), 42);
	assert_string_equal(json_text(j, "text"), "id 12345678901234567890 \" 1");
	assert_string_equal(json_text(j, "n"), "-1234567890123456789");
	assert_true(json_number(j, "f") == 1250.0);
	assert_string_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(j, "list"), 0)->valuestring,
		"18446744073709551615");
	assert_string_equal(json_text(j, "absent"), "");
	assert_int_equal(json_u64(j, "absent"), 0);
	assert_false(json_bool(j, "small"));
}

static void what_is_not_json_is_refused(void **state)
{
	static const char *const bad[] = {"", "{", "{}x", "nonsense", "[1,2", "{\"a\":1}{\"b\":2}"};
	cJSON *j = NULL;

	(void)state;
	for (size_t i = 0; i < CTL_COUNT(bad); i++)
		assert_int_equal(json_parse(bytes_of(bad[i], strlen(bad[i])), &j), ERR_FORMAT);
	assert_int_equal(json_parse(bytes_of("{\"a\":1}", 5), &j), ERR_FORMAT);
}

static void C11_json_for_scripts_is_safe_on_a_terminal_too(void **state)
{
	static char text[512];
	const char *in = "{\"a\":\"\xc2\x9b\xe2\x80\xae\x7f\xf3\xa0\x81\x81 \xc3\xa4 \xff\"}";
	FILE *f = fmemopen(text, sizeof(text), "w");
	SCOPED_JSON cJSON *j = NULL;

	(void)state;
	json_print_bytes(f, bytes_of(in, strlen(in)));
	fclose(f);
	assert_string_equal(
		text, "{\"a\":\"\\u009b\\u202e\\u007f\\udb40\\udc41 \xc3\xa4 \\ufffd\"}\n");
	assert_int_equal(json_parse(bytes_of(text, strlen(text)), &j), ERR_OK);
	assert_memory_equal(json_text(j, "a"), "\xc2\x9b\xe2\x80\xae\x7f\xf3\xa0\x81\x81 ", 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(C11_hostile_text_cannot_reach_the_terminal),
		cmocka_unit_test(long_text_is_cut_not_overrun),
		cmocka_unit_test(widths_count_columns_not_bytes),
		cmocka_unit_test(a_table_is_aligned_and_escaped),
		cmocka_unit_test(a_narrow_table_cuts_what_may_be_cut),
		cmocka_unit_test(a_column_is_left_out_before_a_text_says_nothing_any_more),
		cmocka_unit_test(long_lines_break_between_words),
		cmocka_unit_test(a_table_that_cannot_be_cut_further_loses_a_column),
		cmocka_unit_test(colours_are_for_terminals),
		cmocka_unit_test(no_line_of_a_table_ends_in_a_blank),
		cmocka_unit_test(amounts_and_ages_read_well),
		cmocka_unit_test(json_keeps_large_numbers_whole),
		cmocka_unit_test(what_is_not_json_is_refused),
		cmocka_unit_test(C11_json_for_scripts_is_safe_on_a_terminal_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
