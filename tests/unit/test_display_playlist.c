// The playlist file: what passes, and the name of every reason to refuse one.
#include "client/display/display_limits.h"
#include "tests/unit/bad_paths.h"
#include "client/display/playlist.h"
#include "proto/base/file.h"
#include "proto/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PACKAGE "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEAD "helio-playlist 1\npackage\t" PACKAGE "\tart\t1.2\ndir\t/srv/art\n"
#define DEFAULTS "defaults\t10000\t500\tfit\t102030\n"
#define IMAGES "image\t0001-a.jpg\t0\t\tSun\nimage\tb/0002-b.png\t3000\tfill\tSea %25 50%09x\n"

// The text with its end line, as the agent makes it.
static void sealed(const char *text, struct buf *out)
{
	struct digest sum = sha256(text, strlen(text));

	buf_init(out, PLAYLIST_BYTES_MAX);
	assert_int_equal(buf_printf(out, "%send\t%s\n", text, digest_hex(&sum)), ERR_OK);
}

static enum err parse(const char *text, struct playlist **out)
{
	SCOPED_BUF struct buf b;

	sealed(text, &b);
	return playlist_parse(buf_bytes(&b), out);
}

static void test_a_good_playlist_is_read_whole(void **state)
{
	struct playlist *p;

	(void)state;
	assert_int_equal(parse(HEAD DEFAULTS "command\t7\tshow\t2\n" IMAGES, &p), ERR_OK);
	assert_string_equal(digest_hex(&p->package), PACKAGE);
	assert_string_equal(p->name, "art");
	assert_string_equal(p->version, "1.2");
	assert_string_equal(p->dir, "/srv/art");
	assert_int_equal(p->transition_ms, 500);
	assert_int_equal(p->background_rgb, 0x102030);
	assert_int_equal(p->count, 2);
	assert_string_equal(p->images[0].path, "0001-a.jpg");
	assert_int_equal(p->images[0].duration_ms, 10000);
	assert_int_equal(p->images[0].fit, FIT_CONTAIN);
	assert_int_equal(p->images[1].duration_ms, 3000);
	assert_int_equal(p->images[1].fit, FIT_FILL);
	assert_string_equal(p->images[1].title, "Sea % 50\tx");
	assert_int_equal(p->command.n, 7);
	assert_int_equal(p->command.verb, VERB_SHOW);
	assert_string_equal(p->command.arg, "2");
	playlist_free(p);
}

static void test_a_playlist_without_images_is_a_good_one(void **state)
{
	struct playlist *p;

	(void)state;
	assert_int_equal(parse(HEAD DEFAULTS, &p), ERR_OK);
	assert_int_equal(p->count, 0);
	playlist_free(p);
}

static void test_durations_are_clamped_to_what_a_screen_can_do(void **state)
{
	struct playlist *p;

	(void)state;
	assert_int_equal(parse(HEAD "defaults\t1\t4000000000\tstretch\tffffff\n"
				    "image\ta.jpg\t4294967295\t-\t\nimage\tb.jpg\t0\t-\t\n",
				 &p),
		ERR_OK);
	assert_int_equal(p->transition_ms, TRANSITION_MAX_MS);
	assert_int_equal(p->images[0].duration_ms, DURATION_MAX_MS);
	assert_int_equal(p->images[0].fit, FIT_STRETCH);
	assert_int_equal(p->images[1].duration_ms, DURATION_MIN_MS);
	playlist_free(p);
}

static void test_the_last_command_counts_and_an_unknown_record_is_passed_over(void **state)
{
	struct playlist *p;

	(void)state;
	assert_int_equal(
		parse(HEAD DEFAULTS "weather\tsunny\ncommand\t3\tpause\ncommand\t4\tdance\n" IMAGES,
			&p),
		ERR_OK);
	assert_int_equal(p->command.n, 4);
	assert_int_equal(p->command.verb, VERB_UNKNOWN);
	assert_int_equal(p->count, 2);
	playlist_free(p);
}

static void test_version_2_says_order_hours_weights_and_dates(void **state)
{
	struct playlist *p;

	(void)state;
	assert_int_equal(
		parse("helio-playlist 2\npackage\t" PACKAGE "\tart\t1.2\ndir\t/srv/art\n" DEFAULTS
		      "order\tshuffle\t18446744073709551615\tEurope/"
		      "Berlin\nactivate\t1795262400000\n"
		      "group\tspring\t7000\tfill\t3\t1000\t2000\t31:480-1080,96:1320-120\n"
		      "group\talways\t0\t\t0\t0\t0\t\n"
		      "image\ta.jpg\t0\t\tA\t1\t5\t100\t200\n"
		      "image\tb.jpg\t4000\tcenter\tB\t1\t0\t0\t0\n"
		      "image\tc.jpg\t0\t\tC\t2\t1\t0\t0\nimage\td.jpg\t0\t\tD\n",
			&p),
		ERR_OK);
	assert_int_equal(p->order, ORDER_SHUFFLE);
	assert_true(p->seed == UINT64_MAX);
	assert_string_equal(p->time_zone, "Europe/Berlin");
	assert_int_equal(p->activate_unix_ms, 1795262400000);
	assert_int_equal(p->group_count, 2);
	assert_string_equal(p->groups[0].plan, "spring");
	assert_int_equal(p->groups[0].weight, 3);
	assert_int_equal(p->groups[0].from_unix_ms, 1000);
	assert_int_equal(p->groups[0].until_unix_ms, 2000);
	assert_int_equal(p->groups[0].hour_count, 2);
	assert_int_equal(p->groups[0].hours[1].weekdays, 96);
	assert_int_equal(p->groups[0].hours[1].from_minute, 1320);
	assert_int_equal(p->groups[0].hours[1].until_minute, 120);
	assert_int_equal(p->groups[1].weight, 1);
	assert_int_equal(p->groups[1].hour_count, 0);
	// The picture's own, else its group's, else the package's.
	assert_int_equal(p->images[0].duration_ms, 7000);
	assert_int_equal(p->images[0].fit, FIT_FILL);
	assert_int_equal(p->images[0].weight, 5);
	assert_int_equal(p->images[0].from_unix_ms, 100);
	assert_int_equal(p->images[0].until_unix_ms, 200);
	assert_int_equal(p->images[1].duration_ms, 4000);
	assert_int_equal(p->images[1].fit, FIT_CENTER);
	assert_int_equal(p->images[1].weight, 1);
	assert_int_equal(p->images[2].duration_ms, 10000);
	assert_int_equal(p->images[2].group, 2);
	assert_int_equal(p->images[3].group, 0);
	playlist_free(p);
}

static const struct refusal {
	const char *text;
	enum err err;
	const char *reason; // part of the sentence
} refusals[] = {
	{"", ERR_FORMAT, "empty"},
	{"helio-playlists\t1\n", ERR_FORMAT, "not a playlist"},
	{"helio-playlist\t3\n", ERR_VERSION, "version"},
	{HEAD "order\trandom\t0\t\n", ERR_RANGE, "random"},
	{HEAD "order\tlist\t-1\t\n", ERR_FORMAT, "not a number"},
	{HEAD "order\tlist\t1\n", ERR_FORMAT, "2 fields"},
	{HEAD "activate\tnoon\n", ERR_FORMAT, "not a number"},
	{HEAD "group\tp\t0\t\t1\t0\t0\n", ERR_FORMAT, "6 fields"},
	{HEAD "group\tp\t0\t\t1\t0\t0\t0:1-2\n", ERR_RANGE, "hours"},
	{HEAD "group\tp\t0\t\t1\t0\t0\t128:1-2\n", ERR_RANGE, "hours"},
	{HEAD "group\tp\t0\t\t1\t0\t0\t1:1440-2\n", ERR_RANGE, "hours"},
	{HEAD "group\tp\t0\t\t1\t0\t0\t1:0-1441\n", ERR_RANGE, "hours"},
	{HEAD "group\tp\t0\t\t1\t0\t0\t1:0-2,\n", ERR_RANGE, "hours"},
	{HEAD "group\tp\t0\t\t1\t0\t0\t1:0-\n", ERR_RANGE, "hours"},
	{HEAD "group\tp\t0\tzoom\t1\t0\t0\t\n", ERR_RANGE, "zoom"},
	{HEAD DEFAULTS "image\ta\t0\t\t\t0\t1\t0\t0\ngroup\tp\t0\t\t1\t0\t0\t\n", ERR_FORMAT,
		"after the images"},
	{HEAD DEFAULTS "image\ta\t0\t\t\t1\t1\t0\t0\n", ERR_RANGE, "above 0"},
	{"helio-playlist\t1\n", ERR_FORMAT, "package line"},
	{"helio-playlist\t1\npackage\t" PACKAGE "\ta\t1\n", ERR_FORMAT, "dir line"},
	{HEAD, ERR_FORMAT, "defaults line"},
	{"helio-playlist\t1\npackage\t12\ta\t1\n", ERR_FORMAT, "64 hex digits"},
	{"helio-playlist\t1\npackage\t" PACKAGE "\ta\n", ERR_FORMAT, "2 fields"},
	{"helio-playlist\t1\ndir\tart\n", ERR_RANGE, "not absolute"},
	{HEAD DEFAULTS "image\t../a.jpg\t0\t\t\n", ERR_RANGE, "not safe"},
	{HEAD DEFAULTS "image\t/a.jpg\t0\t\t\n", ERR_RANGE, "not safe"},
	{HEAD DEFAULTS "image\t%2e%2e/a.jpg\t0\t\t\n", ERR_RANGE, "not safe"},
	{HEAD DEFAULTS "image\ta%00.jpg\t0\t\t\n", ERR_FORMAT, "bad %HH"},
	{HEAD DEFAULTS "image\ta%4.jpg\t0\t\t\n", ERR_FORMAT, "bad %HH"},
	{HEAD DEFAULTS "image\ta%\t0\t\t\n", ERR_FORMAT, "bad %HH"},
	{HEAD DEFAULTS "image\ta.jpg\tten\t\t\n", ERR_FORMAT, "not a number"},
	{HEAD DEFAULTS "image\ta.jpg\t-1\t\t\n", ERR_FORMAT, "not a number"},
	{HEAD DEFAULTS "image\ta.jpg\t4294967296\t\t\n", ERR_RANGE, "above 4294967295"},
	{HEAD DEFAULTS "image\ta.jpg\t0\tzoom\t\n", ERR_RANGE, "zoom"},
	{HEAD DEFAULTS "image\ta.jpg\n", ERR_FORMAT, "1 fields"},
	{HEAD DEFAULTS "image\ta\t0\t\t1\t2\t3\t4\t5\t6\n", ERR_FULL, "more than 8 fields"},
	{HEAD DEFAULTS "image\ta\x01\t0\t\t\n", ERR_FORMAT, "control character"},
	{HEAD "image\ta.jpg\t0\t\t\n", ERR_FORMAT, "before the defaults"},
	{HEAD "defaults\t1\t2\tfit\tred\n", ERR_FORMAT, "rrggbb"},
	{HEAD "defaults\t1\t2\tfit\n", ERR_FORMAT, "3 fields"},
	{HEAD DEFAULTS "command\t5\tpause\ncommand\t5\tresume\n", ERR_RANGE, "must rise"},
};

static void test_each_bad_playlist_is_refused_by_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		struct playlist *p;
		enum err e = parse(refusals[i].text, &p);

		if (e != refusals[i].err || p || !strstr(err_text(), refusals[i].reason))
			fail_msg("case %zu: %s: %s", i, err_word(e), err_text());
	}
}

// Percent-encoded, as the agent would write it: the path itself is judged.
static void test_C3_no_picture_leaves_the_folder(void **state)
{
	char text[16384], path[3 * 4096 + 1];

	(void)state;
	bad_paths_make();
	for (size_t i = 0; i < BAD_PATH_COUNT; i++) {
		struct playlist *p;
		size_t at = 0;

		for (const char *s = bad_paths[i]; *s; s++)
			at += (size_t)snprintf(
				path + at, sizeof(path) - at, "%%%02x", (unsigned char)*s);
		path[at] = '\0';
		snprintf(text, sizeof(text), HEAD DEFAULTS "image\t%s\t0\t\t\n", path);
		if (parse(text, &p) == ERR_OK || p)
			fail_msg("accepted: %s", bad_paths[i]);
	}
	struct playlist *p;
	assert_int_equal(parse(HEAD DEFAULTS "image\t%61%2d1.jpg\t0\t\t\n", &p), ERR_OK);
	playlist_free(p);
}

static void test_a_cut_or_altered_playlist_is_corrupt_at_every_length(void **state)
{
	SCOPED_BUF struct buf b;
	struct playlist *p;

	(void)state;
	sealed(HEAD DEFAULTS IMAGES, &b);
	for (size_t size = 0; size < b.size; size++)
		assert_int_equal(playlist_parse(bytes_of(b.data, size), &p), ERR_CORRUPT);
	for (size_t i = 0; i < b.size; i++) {
		b.data[i] ^= 1;
		assert_int_not_equal(playlist_parse(buf_bytes(&b), &p), ERR_OK);
		b.data[i] ^= 1;
	}
	assert_int_equal(buf_append(&b, "x", 1), ERR_OK);
	assert_int_equal(playlist_parse(buf_bytes(&b), &p), ERR_CORRUPT);
}

static void test_an_overlong_line_and_too_many_lines_are_refused(void **state)
{
	SCOPED_BUF struct buf text;
	SCOPED_BUF struct buf b;
	struct playlist *p;

	(void)state;
	buf_init(&text, PLAYLIST_BYTES_MAX);
	assert_int_equal(
		buf_printf(&text, "%s%simage\t%05000d\t0\t\t\n", HEAD, DEFAULTS, 1), ERR_OK);
	assert_int_equal(buf_append(&text, "", 1), ERR_OK);
	assert_int_equal(parse((const char *)text.data, &p), ERR_FULL);
	buf_clear(&text);
	for (int i = 0; i < 101100; i++)
		assert_int_equal(buf_append(&text, "x\n", 2), ERR_OK);
	assert_int_equal(buf_append(&text, "", 1), ERR_OK);
	sealed((const char *)text.data, &b);
	assert_int_equal(playlist_parse(buf_bytes(&b), &p), ERR_FULL);
}

static void test_a_hundred_thousand_images_are_read(void **state)
{
	SCOPED_BUF struct buf text;
	struct playlist *p;

	(void)state;
	buf_init(&text, PLAYLIST_BYTES_MAX);
	assert_int_equal(buf_printf(&text, "%s%s", HEAD, DEFAULTS), ERR_OK);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(
			buf_printf(&text, "image\t%06d-picture.jpg\t0\t\ttitle %d\n", i, i),
			ERR_OK);
	assert_int_equal(buf_append(&text, "", 1), ERR_OK);
	assert_int_equal(parse((const char *)text.data, &p), ERR_OK);
	assert_int_equal(p->count, 100000);
	assert_string_equal(p->images[99999].path, "099999-picture.jpg");
	playlist_free(p);
}

static void test_show_finds_by_number_path_name_and_title(void **state)
{
	struct playlist *p;

	(void)state;
	assert_int_equal(parse(HEAD DEFAULTS IMAGES, &p), ERR_OK);
	assert_int_equal(playlist_find(p, "1"), 0);
	assert_int_equal(playlist_find(p, "2"), 1);
	assert_int_equal(playlist_find(p, "0"), p->count);
	assert_int_equal(playlist_find(p, "3"), p->count);
	assert_int_equal(playlist_find(p, "99999999999999999999999"), p->count);
	assert_int_equal(playlist_find(p, "b/0002-b.png"), 1);
	assert_int_equal(playlist_find(p, "0002-b.png"), 1);
	assert_int_equal(playlist_find(p, "Sun"), 0);
	assert_int_equal(playlist_find(p, ""), p->count);
	assert_int_equal(playlist_find(p, "Moon"), p->count);
	playlist_free(p);
}

static void test_only_the_command_may_differ_between_same_shows(void **state)
{
	struct playlist *a, *b, *c;

	(void)state;
	assert_int_equal(parse(HEAD DEFAULTS IMAGES, &a), ERR_OK);
	assert_int_equal(parse(HEAD DEFAULTS "command\t1\tpause\n" IMAGES, &b), ERR_OK);
	assert_int_equal(parse(HEAD DEFAULTS IMAGES "image\tc.jpg\t0\t\t\n", &c), ERR_OK);
	assert_true(playlist_same_show(a, b));
	assert_false(playlist_same_show(a, c));
	playlist_free(a);
	playlist_free(b);
	playlist_free(c);
}

// Damaged text under an end line that holds: the reader itself must stand it.
static void test_thousands_of_damaged_playlists_do_no_harm(void **state)
{
	static const char whole[] = HEAD DEFAULTS "command\t7\tshow\t2\n" IMAGES;
	uint32_t seed = 7, refused = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char text[sizeof(whole)];
		struct playlist *p;

		memcpy(text, whole, sizeof(whole));
		for (int k = 0; k < 1 + i % 4; k++) {
			static const char nasty[] = "\t\n%/.09f-\x7f\xff\x01 ";

			seed = seed * 1664525 + 1013904223;
			text[(seed >> 9) % (sizeof(whole) - 1)] =
				nasty[(seed >> 24) % (sizeof(nasty) - 1)];
		}
		refused += parse(text, &p) != ERR_OK;
		playlist_free(p);
	}
	assert_true(refused > 5000);
}

static void test_an_absent_file_is_not_found(void **state)
{
	struct playlist *p;

	(void)state;
	assert_int_equal(playlist_read("/nonexistent/playlist", &p), ERR_NOT_FOUND);
	assert_null(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_playlist_is_read_whole),
		cmocka_unit_test(test_a_playlist_without_images_is_a_good_one),
		cmocka_unit_test(test_durations_are_clamped_to_what_a_screen_can_do),
		cmocka_unit_test(test_the_last_command_counts_and_an_unknown_record_is_passed_over),
		cmocka_unit_test(test_version_2_says_order_hours_weights_and_dates),
		cmocka_unit_test(test_each_bad_playlist_is_refused_by_name),
		cmocka_unit_test(test_C3_no_picture_leaves_the_folder),
		cmocka_unit_test(test_a_cut_or_altered_playlist_is_corrupt_at_every_length),
		cmocka_unit_test(test_an_overlong_line_and_too_many_lines_are_refused),
		cmocka_unit_test(test_a_hundred_thousand_images_are_read),
		cmocka_unit_test(test_show_finds_by_number_path_name_and_title),
		cmocka_unit_test(test_only_the_command_may_differ_between_same_shows),
		cmocka_unit_test(test_thousands_of_damaged_playlists_do_no_harm),
		cmocka_unit_test(test_an_absent_file_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
