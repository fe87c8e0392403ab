// What programs said: whole, of the last few operations, and never half of it.
#include "client/output_shelf.h"
#include "tests/unit/helper.h"

#include <sys/stat.h>

static void said(struct output_shelf *s, uint64_t op, const char *text)
{
	shelf_begin(s, op, 0);
	for (const char *p = text; *p; p++) // as it comes
		shelf_add(s, p, 1);
	shelf_end(s);
}

static void assert_kept(const struct output_shelf *s, uint64_t op, const char *want, bool was_cut)
{
	SCOPED_BUF struct buf out;
	bool cut;

	buf_init(&out, 1000);
	assert_int_equal(shelf_find(s, op, &out, &cut), ERR_OK);
	assert_int_equal(out.size, strlen(want));
	assert_memory_equal(out.data, want, out.size);
	assert_int_equal(cut, was_cut);
}

static void assert_gone(const struct output_shelf *s, uint64_t op)
{
	SCOPED_BUF struct buf out;
	bool cut;

	buf_init(&out, 1000);
	assert_int_equal(shelf_find(s, op, &out, &cut), ERR_NOT_FOUND);
}

static void the_last_ones_are_kept_and_outlive_the_process(void **state)
{
	struct output_shelf s, next;

	assert_int_equal(shelf_init(&s, *state, 3, 100), ERR_OK);
	said(&s, 9, "nine");
	said(&s, 10, "ten"); // a number, not a name: 10 is younger than 9
	said(&s, 100, "");
	assert_kept(&s, 9, "nine", false);
	said(&s, 101, "a hundred and one");
	assert_gone(&s, 9);
	assert_kept(&s, 10, "ten", false);
	assert_kept(&s, 100, "", false);
	shelf_fini(&s);
	assert_int_equal(shelf_init(&next, *state, 2, 100), ERR_OK);
	assert_gone(&next, 10); // the settings allow fewer now
	assert_kept(&next, 101, "a hundred and one", false);
	shelf_fini(&next);
}

static void what_exceeds_the_limit_is_cut_and_says_so(void **state)
{
	struct output_shelf s;

	assert_int_equal(shelf_init(&s, *state, 3, 6), ERR_OK);
	said(&s, 1, "sixsix");
	said(&s, 2, "sevense");
	shelf_begin(&s, 3, 2); // the operator wants less
	shelf_add(&s, "abc", 3);
	shelf_end(&s);
	assert_kept(&s, 1, "sixsix", false);
	assert_kept(&s, 2, "sevens", true);
	assert_kept(&s, 3, "ab", true);
	said(&s, 4, "younger");
	assert_gone(&s, 1);
	shelf_begin(&s, 5, 7000); // and never more than the settings
	shelf_add(&s, "abcdefghi", 9);
	shelf_end(&s);
	assert_kept(&s, 5, "abcdef", true);
	assert_gone(&s, 2); // cut ones age as well
	shelf_fini(&s);
}

static void an_interrupted_one_is_none(void **state)
{
	struct output_shelf s, next;

	assert_int_equal(shelf_init(&s, *state, 3, 100), ERR_OK);
	shelf_begin(&s, 7, 0);
	shelf_add(&s, "half", 4);
	assert_gone(&s, 7);
	shelf_fini(&s); // the process ends
	assert_int_equal(shelf_init(&next, *state, 3, 100), ERR_OK);
	assert_gone(&next, 7);
	char path[200];
	struct stat st;
	(void)snprintf(path, sizeof path, "%s/outputs/7.part", (const char *)*state);
	assert_int_equal(stat(path, &st), -1);
	shelf_begin(&next, 8, 0);
	shelf_drop(&next); // its program could not be run
	assert_gone(&next, 8);
	shelf_fini(&next);
}

static void nothing_is_kept_when_the_settings_say_so(void **state)
{
	struct output_shelf s;

	assert_int_equal(shelf_init(&s, *state, 0, 100), ERR_OK);
	said(&s, 1, "text");
	assert_gone(&s, 1);
	shelf_fini(&s);
	shelf_fini(&(struct output_shelf){0}); // never begun: no descriptor is closed
}

int main(void)
{
#define SHELF_TEST(name) cmocka_unit_test_setup_teardown(name, temp_dir_make, temp_dir_drop)
	const struct CMUnitTest tests[] = {
		SHELF_TEST(the_last_ones_are_kept_and_outlive_the_process),
		SHELF_TEST(what_exceeds_the_limit_is_cut_and_says_so),
		SHELF_TEST(an_interrupted_one_is_none),
		SHELF_TEST(nothing_is_kept_when_the_settings_say_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
