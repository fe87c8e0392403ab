// The command line: options, and a table of commands that is complete.
#include "tests/unit/helper.h"

#include "server/ctl/ctl.h"

static const struct option_row rows[] = {
	{"wait", NULL, "w"}, {"tag", "TAG", "t"}, {"max", "N", "m"}};
static const struct option_row more[] = {{"json", NULL, "j"}, {"tag", NULL, "shadowed"}};

static enum err parsed(struct args *out, int argc, const char *const *argv)
{
	return args_parse(rows, 3, more, 2, argc, (char **)(uintptr_t)argv, out);
}
#define PARSED(out, ...)                                                                           \
	parsed(out, (int)CTL_COUNT(((const char *const[]){__VA_ARGS__})),                          \
		(const char *const[]){__VA_ARGS__})

static void options_stand_anywhere(void **state)
{
	struct args a;
	uint64_t n = 7;

	(void)state;
	assert_int_equal(PARSED(&a, "f1", "--wait", "--tag", "sea", "ping", "--tag=sky", "--json",
				 "--max", "12"),
		ERR_OK);
	assert_int_equal(a.word_count, 2);
	assert_string_equal(a.words[0], "f1");
	assert_string_equal(a.words[1], "ping");
	assert_true(args_has(&a, "wait") && args_has(&a, "json") && !args_has(&a, "quiet"));
	assert_string_equal(args_get(&a, "tag", ""), "sky");
	assert_int_equal(a.option_count, 5);
	assert_string_equal(a.options[1].value, "sea");
	assert_int_equal(args_number(&a, "max", 0, 100, &n), ERR_OK);
	assert_int_equal(n, 12);
	assert_int_equal(args_number(&a, "max", 0, 11, &n), ERR_RANGE);
	assert_int_equal(args_number(&a, "tag", 0, 11, &n), ERR_RANGE);
	assert_int_equal(args_number(&a, "absent", 0, 11, &n), ERR_OK);
	assert_int_equal(n, 12);
	args_free(&a);
}

static void after_two_dashes_everything_is_a_word(void **state)
{
	struct args a;

	(void)state;
	assert_int_equal(PARSED(&a, "x", "--", "--wait", "-rf", "--"), ERR_OK);
	assert_int_equal(a.word_count, 4);
	assert_string_equal(a.words[1], "--wait");
	assert_string_equal(a.words[3], "--");
	assert_false(args_has(&a, "wait"));
	args_free(&a);
}

static void one_dash_is_a_word(void **state)
{
	struct args a;

	(void)state;
	assert_int_equal(PARSED(&a, "-rf", "-", "-1"), ERR_OK);
	assert_int_equal(a.word_count, 3);
	args_free(&a);
}

static void wrong_options_are_refused(void **state)
{
	struct args a;

	(void)state;
	assert_int_equal(PARSED(&a, "--nonsense"), ERR_FORMAT);
	args_free(&a);
	assert_int_equal(PARSED(&a, "--tag"), ERR_FORMAT);
	args_free(&a);
	assert_int_equal(PARSED(&a, "--wait=yes"), ERR_FORMAT);
	args_free(&a);
	assert_int_equal(PARSED(&a, "--wai"), ERR_FORMAT);
	args_free(&a);
}

static void numbers_are_numbers(void **state)
{
	static const char *const bad[] = {
		"", "-1", "1x", " 1", "+1", "0x10", "99999999999999999999999"};
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < CTL_COUNT(bad); i++)
		assert_int_equal(number_parse(bad[i], "n", 0, UINT64_MAX, &n), ERR_RANGE);
	assert_int_equal(number_parse("18446744073709551615", "n", 0, UINT64_MAX, &n), ERR_OK);
	assert_true(n == UINT64_MAX);
}

static void every_command_is_complete_and_unique(void **state)
{
	(void)state;
	assert_true(ctl_command_count > 40);
	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct command *k = &ctl_commands[i];

		assert_true(*k->name && k->args && *k->help && k->run);
		assert_true(k->words_min <= k->words_max);
		assert_true((k->options == NULL) == (k->option_count == 0));
		for (size_t o = 0; o < k->option_count; o++)
			assert_true(*k->options[o].name && *k->options[o].help);
		for (size_t j = i + 1; j < ctl_command_count; j++)
			assert_string_not_equal(k->name, ctl_commands[j].name);
	}
}

static void no_command_is_hidden_by_a_group(void **state)
{
	(void)state;
	// "channel" and "channel list" could not both be commands.
	for (size_t i = 0; i < ctl_command_count; i++) {
		size_t n = strlen(ctl_commands[i].name);

		if (strchr(ctl_commands[i].name, ' '))
			continue;
		for (size_t j = 0; j < ctl_command_count; j++)
			assert_false(strncmp(ctl_commands[j].name, ctl_commands[i].name, n) == 0 &&
				     ctl_commands[j].name[n] == ' ');
	}
}

static void every_error_has_an_exit_code(void **state)
{
	(void)state;
	assert_int_equal(ctl_exit_code(ERR_OK), EXIT_DONE);
	assert_int_equal(ctl_exit_code(ERR_NOT_FOUND), EXIT_NOT_FOUND);
	assert_int_equal(ctl_exit_code(ERR_DENIED), EXIT_REFUSED);
	assert_int_equal(ctl_exit_code(ERR_EXISTS), EXIT_REFUSED);
	assert_int_equal(ctl_exit_code(ERR_TIMEOUT), EXIT_UNREACHABLE);
	assert_int_equal(ctl_exit_code(ERR_CLOSED), EXIT_UNREACHABLE);
	for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
		enum exit_code code = ctl_exit_code((enum err)e);

		assert_true(code > EXIT_DONE && code <= EXIT_NOT_FOUND && code != EXIT_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_stand_anywhere),
		cmocka_unit_test(after_two_dashes_everything_is_a_word),
		cmocka_unit_test(one_dash_is_a_word),
		cmocka_unit_test(wrong_options_are_refused),
		cmocka_unit_test(numbers_are_numbers),
		cmocka_unit_test(every_command_is_complete_and_unique),
		cmocka_unit_test(no_command_is_hidden_by_a_group),
		cmocka_unit_test(every_error_has_an_exit_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
