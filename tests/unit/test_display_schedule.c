// Zones, hours and orders, over weeks of a clock of our own. The C library's own reading of the
// zones (TZ and localtime) is the witness for every local time.
#include "client/display/display_limits.h"
#include "client/display/schedule.h"
#include "proto/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PACKAGE "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define MINUTE_MS 60000LL
#define DAY_MS (1440 * MINUTE_MS)

// Weeks with the days on which clocks change, some before and some behind the tables of the files.
#define BERLIN_AUTUMN_MS 1792533600000LL // Tue 2026-10-20 22:00 UTC
#define BERLIN_SPRING_MS 1806102000000LL // Fri 2027-03-26 23:00 UTC
#define FAR_SPRING_MS 2216142000000LL    // Sat 2040-03-23 23:00 UTC

static struct playlist *list_new(const char *body)
{
	SCOPED_BUF struct buf b;
	struct playlist *p = NULL;

	buf_init(&b, PLAYLIST_BYTES_MAX);
	assert_int_equal(buf_printf(&b,
				 "helio-playlist 2\npackage\t" PACKAGE "\tn\t1\ndir\t/d\n"
				 "defaults\t1000\t0\tfit\t000000\n%s",
				 body),
		ERR_OK);
	struct digest d = sha256(b.data, b.size);
	assert_int_equal(buf_printf(&b, "end\t%s\n", digest_hex(&d)), ERR_OK);
	if (playlist_parse(buf_bytes(&b), &p) != ERR_OK)
		fail_msg("%s", err_text());
	return p;
}

static struct tm local_by_libc(const char *zone, int64_t unix_ms)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm;

	setenv("TZ", zone, 1);
	tzset();
	assert_non_null(localtime_r(&t, &tm));
	return tm;
}

// ---- zones

static void test_zones_are_those_of_the_c_library(void **state)
{
	static const char *const names[] = {"Europe/Berlin", "America/New_York", "Asia/Kathmandu",
		"Australia/Lord_Howe", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Tehran",
		"Pacific/Apia", "Europe/Dublin", "Antarctica/Troll", "UTC", "America/Nuuk"};

	(void)state;
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		struct zone z;

		assert_int_equal(zone_load(&z, names[n]), ERR_OK);
		// 1950 to 2060, every 5 hours and 7 minutes of some, and each change by itself.
		for (int64_t t = -631152000; t < 2840140800; t += 18420 * 11) {
			long want = local_by_libc(names[n], t * 1000).tm_gmtoff;

			if (zone_offset_s(&z, t) != want)
				fail_msg("%s at %lld: %d, not %ld", names[n], (long long)t,
					zone_offset_s(&z, t), want);
		}
		int changes = 0;
		for (int64_t t = 1700000000; t < 2500000000;) {
			int64_t next = zone_next_change_s(&z, t);

			if (next == INT64_MAX)
				break;
			assert_true(next > t);
			assert_int_equal(local_by_libc(names[n], next * 1000).tm_gmtoff,
				zone_offset_s(&z, next));
			assert_int_equal(local_by_libc(names[n], next * 1000 - 1000).tm_gmtoff,
				zone_offset_s(&z, next - 1));
			assert_int_equal(zone_offset_s(&z, t), zone_offset_s(&z, next - 1));
			t = next;
			changes++;
		}
		if (strcmp(names[n], "Europe/Berlin") == 0)
			assert_int_equal(changes, 51); // two a year
		zone_fini(&z);
	}
}

static void test_what_is_no_zone_is_refused_and_utc(void **state)
{
	static const char *const bad[] = {"Europe/Atlantis", "../etc/passwd", "/etc/localtime",
		"Europe/../../../etc/passwd", "Europe", "a b"};
	struct zone z;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_not_equal(zone_load(&z, bad[i]), ERR_OK);
		assert_int_equal(zone_offset_s(&z, 1800000000), 0);
	}
	assert_int_equal(zone_parse(&z, bytes_of("TZif2", 5)), ERR_FORMAT);
}

static void test_a_zones_file_that_is_cut_anywhere_is_refused(void **state)
{
	uint8_t whole[8192];
	FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "re");
	struct zone z;

	(void)state;
	assert_non_null(f);
	size_t size = fread(whole, 1, sizeof(whole), f);
	fclose(f);
	assert_int_equal(zone_parse(&z, bytes_of(whole, size)), ERR_OK);
	zone_fini(&z);
	for (size_t cut = 0; cut < size; cut++) {
		uint8_t *part = malloc(cut + 1); // of its own, so that a sanitizer sees its end
		memcpy(part, whole, cut);
		assert_int_not_equal(zone_parse(&z, bytes_of(part, cut)), ERR_OK);
		free(part);
	}
}

// ---- hours

static bool hours_by_libc(const char *zone, int64_t unix_ms, const struct playlist_hours *h)
{
	struct tm tm = local_by_libc(zone, unix_ms);
	unsigned minute = (unsigned)(tm.tm_hour * 60 + tm.tm_min);
	unsigned today = (unsigned)(tm.tm_wday + 6) % 7, before = (today + 6) % 7;

	if (h->from_minute < h->until_minute)
		return h->weekdays >> today & 1 && minute >= h->from_minute &&
		       minute < h->until_minute;
	return (h->weekdays >> today & 1 && minute >= h->from_minute) ||
	       (h->weekdays >> before & 1 && minute < h->until_minute);
}

// Minute by minute over nine days, against the library; and each change exactly where it is said.
static void week_check(const char *zone_name, int64_t begin_ms, const char *hours)
{
	char body[400];
	struct zone z;
	struct schedule s;

	snprintf(body, sizeof(body),
		"order\tlist\t0\t%s\ngroup\tp\t0\t\t1\t0\t0\t%s\nimage\ta.jpg\t0\t\t\t1\t0\t0\t0\n",
		zone_name, hours);
	struct playlist *p = list_new(body);
	assert_int_equal(zone_load(&z, zone_name), ERR_OK);
	assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
	int64_t change = begin_ms;
	bool was = false;

	for (int64_t t = begin_ms; t < begin_ms + 9 * DAY_MS; t += MINUTE_MS) {
		struct schedule_time now = {.unix_ms = t};
		bool want = false, is = schedule_is_open(&s, 0, &now);

		for (size_t i = 0; i < p->groups[0].hour_count; i++)
			want = want || hours_by_libc(zone_name, t, &p->groups[0].hours[i]);
		if (is != want)
			fail_msg("%s %s at %lld: %d, not %d", zone_name, hours, (long long)t, is,
				want);
		if (t > begin_ms && is != was)
			assert_int_equal(t, change); // it was said before
		if (t >= change)
			change = schedule_changes_ms(&s, &now);
		assert_true(change > t);
		if (is) {
			int64_t closes = schedule_closes_ms(&s, 0, &now);
			struct schedule_time before = {.unix_ms = closes - 1},
					     at = {.unix_ms = closes};

			assert_true(closes > t);
			if (closes != INT64_MAX) {
				assert_true(schedule_is_open(&s, 0, &before));
				assert_false(schedule_is_open(&s, 0, &at));
			}
		}
		was = is;
	}
	schedule_fini(&s);
	zone_fini(&z);
	playlist_free(p);
}

static void test_S001_c9h_a_week_of_hours_at_high_speed_also_when_the_clocks_change(void **state)
{
	static const char *const hours[] = {
		"31:480-1080",                       // Monday to Friday, eight to six
		"127:0-1440",                        // always
		"96:1320-120",                       // the nights of Saturday and Sunday
		"64:135-165",                        // in the hour that changes, on Sundays
		"127:1380-60,31:540-720,31:720-780", // a seam at noon
		"1:0-1,2:1439-1440,4:600-600",       // one minute; a whole day from ten to ten
	};

	(void)state;
	for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
		week_check("Europe/Berlin", BERLIN_AUTUMN_MS, hours[i]);
		week_check("Europe/Berlin", BERLIN_SPRING_MS, hours[i]);
		week_check("Europe/Berlin", FAR_SPRING_MS, hours[i]);
		week_check("Australia/Lord_Howe", 1790200800000LL,
			hours[i]); // its spring: half an hour
		week_check("America/New_York", 1793000000000LL - 1793000000000LL % MINUTE_MS,
			hours[i]);
		week_check("Asia/Kathmandu", BERLIN_AUTUMN_MS, hours[i]); // 5:45 from UTC
	}
}

static void test_the_hour_that_is_left_out_does_not_come_and_the_double_one_comes_twice(
	void **state)
{
	struct zone z;
	struct schedule s;
	struct playlist *p = list_new("order\tlist\t0\tEurope/Berlin\n"
				      "group\tp\t0\t\t1\t0\t0\t64:135-165\n"
				      "image\ta.jpg\t0\t\t\t1\t0\t0\t0\n");
	const int64_t weeks[2] = {BERLIN_SPRING_MS, BERLIN_AUTUMN_MS};
	int minutes[2] = {0};

	(void)state;
	assert_int_equal(zone_load(&z, "Europe/Berlin"), ERR_OK);
	assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
	for (int w = 0; w < 2; w++) {
		for (int64_t t = weeks[w]; t < weeks[w] + 6 * DAY_MS; t += MINUTE_MS)
			minutes[w] +=
				schedule_is_open(&s, 0, &(struct schedule_time){.unix_ms = t});
	}
	assert_int_equal(minutes[0], 0);
	assert_int_equal(minutes[1], 60);
	schedule_fini(&s);
	zone_fini(&z);
	playlist_free(p);
}

static void test_dates_hold_from_their_first_to_before_their_last_moment(void **state)
{
	struct zone z = {0};
	struct schedule s;
	struct playlist *p = list_new("group\tp\t0\t\t1\t3000\t9000\t\n"
				      "image\ta.jpg\t0\t\t\t1\t1\t0\t0\n"
				      "image\tb.jpg\t0\t\t\t1\t1\t4000\t8000\n"
				      "image\tc.jpg\t0\t\t\t0\t1\t0\t5000\n");

	(void)state;
	assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
	for (int64_t t = 1000; t < 10000; t += 500) {
		struct schedule_time now = {.unix_ms = t};

		assert_int_equal(schedule_is_open(&s, 0, &now), t >= 3000 && t < 9000);
		assert_int_equal(schedule_is_open(&s, 1, &now), t >= 4000 && t < 8000);
		assert_int_equal(schedule_is_open(&s, 2, &now), t < 5000);
	}
	assert_int_equal(schedule_changes_ms(&s, &(struct schedule_time){.unix_ms = 1}), 3000);
	assert_int_equal(schedule_changes_ms(&s, &(struct schedule_time){.unix_ms = 4000}), 5000);
	assert_int_equal(
		schedule_changes_ms(&s, &(struct schedule_time){.unix_ms = 9000}), INT64_MAX);
	assert_int_equal(schedule_closes_ms(&s, 1, &(struct schedule_time){.unix_ms = 4000}), 8000);
	schedule_fini(&s);
	playlist_free(p);
}

// The time is not known: hours do not count, begun must be known, over must not be known.
static void test_an_unknown_time_shows_what_is_known_to_have_begun_and_not_known_to_be_over(
	void **state)
{
	struct zone z = {0};
	struct schedule s;
	struct playlist *p = list_new("group\tp\t0\t\t1\t0\t0\t1:0-1\n"
				      "image\thours.jpg\t0\t\t\t1\t1\t0\t0\n"
				      "image\tover.jpg\t0\t\t\t0\t1\t0\t5000\n"
				      "image\tlater.jpg\t0\t\t\t0\t1\t9000\t0\n"
				      "image\tgood.jpg\t0\t\t\t0\t1\t4000\t9000\n");
	struct schedule_time t = {.unix_ms = 10, .unknown = true, .floor_ms = 6000};

	(void)state;
	assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
	assert_true(schedule_is_open(&s, 0, &t));
	assert_false(schedule_is_open(&s, 1, &t));
	assert_false(schedule_is_open(&s, 2, &t));
	assert_true(schedule_is_open(&s, 3, &t));
	assert_int_equal(schedule_changes_ms(&s, &t), INT64_MAX);
	schedule_fini(&s);
	playlist_free(p);
}

// ---- orders

// Letters of what comes, n of them.
static void draw(struct schedule *s, int64_t unix_ms, int n, char *out)
{
	struct schedule_ask ask = {.time = {.unix_ms = unix_ms}};

	for (int i = 0; i < n; i++) {
		size_t image = schedule_peek(s, &ask);

		assert_int_equal(schedule_peek(s, &ask), image); // to ask changes nothing
		if (image == SCHEDULE_NONE) {
			out[i] = '.';
			continue;
		}
		out[i] = s->list->images[image].path[0];
		schedule_take(s, image, &ask);
	}
	out[n] = '\0';
}

static struct playlist *letters(const char *head, const char *images)
{
	char body[4000];
	size_t n = (size_t)snprintf(body, sizeof(body), "%s", head);

	for (; *images; images++)
		n += (size_t)snprintf(
			body + n, sizeof(body) - n, "image\t%c.jpg\t0\t\t\t0\t1\t0\t0\n", *images);
	return list_new(body);
}

static void test_a_shuffle_brings_each_once_before_any_again_and_never_twice_in_a_row(void **state)
{
	struct zone z = {0};
	char first[201], again[201], other[201];

	(void)state;
	for (int seed = 1; seed < 200; seed++) {
		char head[60];
		struct schedule s;

		snprintf(head, sizeof(head), "order\tshuffle\t%d\t\n", seed);
		struct playlist *p = letters(head, "abcde");
		assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
		draw(&s, 1, 200, first);
		for (int round = 0; round < 40; round++) {
			for (const char *c = "abcde"; *c; c++)
				assert_non_null(memchr(first + round * 5, *c, 5));
		}
		for (int i = 1; i < 200; i++)
			assert_int_not_equal(first[i], first[i - 1]);
		schedule_fini(&s);
		assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
		draw(&s, 1, 200, again);
		assert_string_equal(first, again); // the same seed
		schedule_fini(&s);
		playlist_free(p);
		if (seed > 1)
			assert_string_not_equal(first, other);
		memcpy(other, first, sizeof(other));
	}
}

static void test_a_shuffle_goes_on_after_a_restart(void **state)
{
	struct zone z = {0};
	struct schedule s;
	struct playlist *p = letters("order\tshuffle\t7\t\n", "abcdefgh");
	char first[65], part[65];

	(void)state;
	assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
	draw(&s, 1, 11, part);
	struct schedule_place place = s.place;
	draw(&s, 1, 5, first); // what would have come to the end of the round
	schedule_fini(&s);
	assert_int_equal(schedule_init(&s, p, &z, place), ERR_OK);
	draw(&s, 1, 5, part);
	assert_string_equal(part, first);
	schedule_fini(&s);
	playlist_free(p);
}

static void test_weights_are_shares_of_groups_and_then_of_pictures(void **state)
{
	struct zone z = {0};
	struct schedule s;
	struct playlist *p = list_new("order\tweight\t0\t\n"
				      "group\tone\t0\t\t3\t0\t0\t\ngroup\ttwo\t0\t\t1\t0\t0\t\n"
				      "image\ta.jpg\t0\t\t\t1\t2\t0\t0\n"
				      "image\tb.jpg\t0\t\t\t1\t1\t0\t0\n"
				      "image\tc.jpg\t0\t\t\t2\t5\t0\t0\n"
				      "image\td.jpg\t0\t\t\t2\t5\t0\t0\n");
	char out[1201];
	int n[128] = {0};

	(void)state;
	assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
	draw(&s, 1, 1200, out);
	for (int i = 0; i < 1200; i++)
		n[(int)out[i]]++;
	assert_int_equal(n['a'], 600);
	assert_int_equal(n['b'], 300);
	assert_int_equal(n['c'], 150);
	assert_int_equal(n['d'], 150);
	// Spread, not in heaps: in each hundred the shares hold.
	for (int h = 0; h < 1200; h += 100) {
		int a = 0;
		for (int i = h; i < h + 100; i++)
			a += out[i] == 'a';
		assert_in_range(a, 48, 52);
	}
	schedule_fini(&s);
	playlist_free(p);
}

static void test_what_is_closed_or_bad_is_passed_over(void **state)
{
	struct zone z = {0};
	struct schedule s;
	struct playlist *p = list_new("image\ta.jpg\t0\t\t\t0\t1\t0\t5000\n"
				      "image\tb.jpg\t0\t\t\t0\t1\t0\t0\n"
				      "image\tc.jpg\t0\t\t\t0\t1\t6000\t0\n");
	int64_t bad[3] = {0, 100, 0};
	struct schedule_ask ask = {.time = {.unix_ms = 5500}, .bad_until_ms = bad, .mono_ms = 50};
	char out[10];

	(void)state;
	assert_int_equal(schedule_init(&s, p, &z, (struct schedule_place){0}), ERR_OK);
	draw(&s, 1000, 4, out);
	assert_string_equal(out, "abab");
	draw(&s, 7000, 4, out);
	assert_string_equal(out, "cbcb");
	draw(&s, 5500, 2, out);
	assert_string_equal(out, "bb");
	assert_int_equal(schedule_peek(&s, &ask), SCHEDULE_NONE);
	ask.mono_ms = 100;
	assert_int_equal(schedule_peek(&s, &ask), 1);
	schedule_fini(&s);
	playlist_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zones_are_those_of_the_c_library),
		cmocka_unit_test(test_what_is_no_zone_is_refused_and_utc),
		cmocka_unit_test(test_a_zones_file_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(
			test_S001_c9h_a_week_of_hours_at_high_speed_also_when_the_clocks_change),
		cmocka_unit_test(
			test_the_hour_that_is_left_out_does_not_come_and_the_double_one_comes_twice),
		cmocka_unit_test(test_dates_hold_from_their_first_to_before_their_last_moment),
		cmocka_unit_test(
			test_an_unknown_time_shows_what_is_known_to_have_begun_and_not_known_to_be_over),
		cmocka_unit_test(
			test_a_shuffle_brings_each_once_before_any_again_and_never_twice_in_a_row),
		cmocka_unit_test(test_a_shuffle_goes_on_after_a_restart),
		cmocka_unit_test(test_weights_are_shares_of_groups_and_then_of_pictures),
		cmocka_unit_test(test_what_is_closed_or_bad_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
