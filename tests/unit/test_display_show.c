// The show plan, under a clock of our own: a small stage plays the decoder and writes down what
// would be on the screen.
#include "client/display/display_limits.h"
#include "client/display/show.h"
#include "proto/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PACKAGE_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PACKAGE_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct stage {
	struct show show;
	int64_t now_ms, decode_ms;
	int64_t wall_step_ms, switch_ms; // switch_ms: of the next list that is given
	struct zone zone;
	const char *broken; // letters of pictures that cannot be read
	uint64_t loading;   // ticket, and when it is ready
	int64_t ready_ms;
	bool loading_ok;
	struct {
		uint64_t ticket;
		char letter;
	} decoded[64];
	size_t decoded_count;
	char log[2048];   // what became front: letters; '.' the waiting picture
	char ended[2048]; // "a1000 b1000 "
	char missed[512], cut[16];
	char front;
	struct show_plan plan;
	struct playlist *lists[16];
	size_t list_count;
	int loads;
};

// images: a letter each; "a.jpg" and so on.
static struct playlist *list_new(
	const char *package, const char *images, int transition_ms, const char *command)
{
	SCOPED_BUF struct buf b;
	struct playlist *p;

	buf_init(&b, 65536);
	assert_int_equal(buf_printf(&b,
				 "helio-playlist\t1\npackage\t%s\tn\t1\ndir\t/d\n"
				 "defaults\t1000\t%d\tfit\t000000\n%s",
				 package, transition_ms, command),
		ERR_OK);
	for (; *images; images++)
		assert_int_equal(buf_printf(&b, "image\t%c.jpg\t0\t-\t\n", *images), ERR_OK);
	struct digest d = sha256(b.data, b.size);
	assert_int_equal(buf_printf(&b, "end\t%s\n", digest_hex(&d)), ERR_OK);
	assert_int_equal(playlist_parse(buf_bytes(&b), &p), ERR_OK);
	return p;
}

// 2026-11-21 12:00 UTC, when the stage begins.
#define WALL_MS 1795262400000LL

static struct mono at(const struct stage *s)
{
	return (struct mono){s->now_ms};
}

static struct show_time time_at(const struct stage *s)
{
	return (struct show_time){
		.mono = at(s), .wall = {.unix_ms = WALL_MS + s->wall_step_ms + s->now_ms}};
}

static void append(char *to, size_t size, const char *text)
{
	size_t n = strlen(to);

	snprintf(to + n, size - n, "%s", text);
}

static enum show_command_result give(struct stage *s, const char *package, const char *images,
	int transition_ms, const char *command)
{
	enum show_command_result result;
	struct playlist *p = list_new(package, images, transition_ms, command);

	s->lists[s->list_count++] = p;
	struct show_offer offer = {.list = p, .zone = &s->zone, .switch_ms = s->switch_ms};
	assert_int_equal(show_playlist(&s->show, &offer, time_at(s), &result), ERR_OK);
	return result;
}

// Version 2: a package of hours, dates and orders.
static void give_plan(struct stage *s, const char *body)
{
	SCOPED_BUF struct buf b;
	struct playlist *p;
	enum show_command_result result;

	buf_init(&b, 65536);
	assert_int_equal(buf_printf(&b,
				 "helio-playlist 2\npackage\t" PACKAGE_A
				 "\tn\t1\ndir\t/d\ndefaults\t1000\t0\tfit\t000000\n%s",
				 body),
		ERR_OK);
	struct digest d = sha256(b.data, b.size);
	assert_int_equal(buf_printf(&b, "end\t%s\n", digest_hex(&d)), ERR_OK);
	assert_int_equal(playlist_parse(buf_bytes(&b), &p), ERR_OK);
	s->lists[s->list_count++] = p;
	struct show_offer offer = {.list = p, .zone = &s->zone, .switch_ms = s->switch_ms};
	assert_int_equal(show_playlist(&s->show, &offer, time_at(s), &result), ERR_OK);
}

// Of the stage's wall clock, n ms from now.
static long long wall_in(const struct stage *s, int64_t n)
{
	return time_at(s).wall.unix_ms + n;
}

static char letter_of(const struct stage *s, uint64_t ticket)
{
	for (size_t i = s->decoded_count; i-- > 0;) {
		if (s->decoded[i].ticket == ticket)
			return s->decoded[i].letter;
	}
	return '.';
}

static void ended_write(struct stage *s, const struct show_ended *e)
{
	char text[40];

	snprintf(text, sizeof(text), "%c%lld ", e->picture->path[0], (long long)e->duration_ms);
	append(s->ended, sizeof(s->ended), text);
	// Cut means shorter than planned, and only of a cut it is said why.
	bool cut = e->duration_ms < e->picture->duration_ms;
	assert_int_equal(e->result, cut ? SHOWN_CUT : SHOWN_WHOLE);
	assert_int_equal(e->reason[0] != '\0', cut);
	if (cut)
		snprintf(s->cut, sizeof(s->cut), "%s", e->reason);
}

// Turns that were lost: "-x" failed, "~x" skipped.
static void missed_write(struct stage *s)
{
	struct show_missed m;

	while (show_missed(&s->show, time_at(s), &m)) {
		char text[4] = {m.result == SHOWN_FAILED ? '-' : '~', m.picture.path[0], 0};

		assert_true(m.result == SHOWN_FAILED || m.result == SHOWN_SKIPPED);
		append(s->missed, sizeof(s->missed), text);
	}
}

static void step(struct stage *s)
{
	if (s->loading && s->now_ms >= s->ready_ms) {
		uint64_t ticket = s->loading;

		s->loading = 0;
		show_loaded(&s->show, ticket, s->loading_ok, at(s));
		missed_write(s);
	}
	s->plan = show_step(&s->show, time_at(s));
	missed_write(s);
	if (s->plan.ended.is)
		ended_write(s, &s->plan.ended);
	if (s->plan.load) {
		char letter = s->plan.wanted.path[0];

		s->loads++;
		s->loading = s->plan.wanted.ticket;
		s->ready_ms = s->now_ms + s->decode_ms;
		s->loading_ok = !s->broken || !strchr(s->broken, letter);
		s->decoded[s->decoded_count].ticket = s->loading;
		s->decoded[s->decoded_count++ % 64].letter = letter;
		assert_true(s->decoded_count < 64);
	}
	char front = letter_of(s, s->plan.front);
	if (front != s->front) {
		char text[2] = {front, 0};

		append(s->log, sizeof(s->log), text);
		s->front = front;
	}
}

static void run(struct stage *s, int64_t ms)
{
	for (int64_t end = s->now_ms + ms; s->now_ms < end; s->now_ms += 10)
		step(s);
}

static int setup(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));

	s->now_ms = 1000000;
	s->decode_ms = 50;
	s->front = '.';
	show_init(&s->show);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;

	for (size_t i = 0; i < s->list_count; i++)
		playlist_free(s->lists[i]);
	show_fini(&s->show);
	free(s);
	return 0;
}

static void test_nothing_given_waits_without_waking(void **state)
{
	struct stage *s = *state;

	step(s);
	assert_int_equal(s->plan.state, SHOW_WAITING);
	assert_int_equal(s->plan.why, WAIT_NO_PLAYLIST);
	assert_int_equal(s->plan.front, 0);
	assert_false(s->plan.has_wake);
	assert_false(s->plan.load);
}

static void test_an_empty_playlist_waits_and_says_so(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "", 0, "");
	run(s, 3000);
	assert_int_equal(s->plan.state, SHOW_WAITING);
	assert_int_equal(s->plan.why, WAIT_EMPTY);
	assert_string_equal(s->log, "");
}

static void test_pictures_come_in_order_and_each_has_its_time(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 5000);
	assert_string_equal(s->log, "abcab");
	assert_string_equal(s->ended, "a1000 b1000 c1000 a1000 ");
	assert_int_equal(s->plan.state, SHOW_SHOWING);
}

static void test_a_fade_rises_from_below_to_front_and_ends(void **state)
{
	struct stage *s = *state;
	int last = -1;

	give(s, PACKAGE_A, "ab", 400, "");
	run(s, 1040);
	assert_string_equal(s->log, "a");
	uint64_t a = s->plan.front;
	run(s, 20);
	assert_string_equal(s->log, "ab");
	for (int i = 0; i < 60 && s->plan.fading; i++) {
		assert_true(s->plan.alpha >= last);
		assert_int_equal(s->plan.below, a);
		assert_true(s->plan.has_wake);
		last = s->plan.alpha;
		run(s, 10);
	}
	assert_true(last > 240);
	assert_false(s->plan.fading);
	assert_int_equal(s->plan.alpha, 255);
	assert_int_equal(s->plan.below, s->plan.front);
}

static void test_the_next_is_decoded_before_it_is_due(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 200, "");
	run(s, 500);
	assert_string_equal(s->log, "a");
	assert_int_equal(s->show.next_state, NEXT_READY);
	assert_int_equal(s->plan.keep, s->show.next.ticket);
	assert_true(s->plan.has_wake);
	assert_int_equal(s->plan.wake.ms, s->show.due.ms);
}

static void test_a_late_picture_leaves_the_one_before_standing(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 100);
	s->decode_ms = 3000;
	s->ready_ms += 3000;
	run(s, 2500);
	assert_string_equal(s->log, "a");
	assert_true(s->plan.front != 0);
	run(s, 2500);
	assert_string_equal(s->log, "ab");
	assert_true(strtoll(s->ended + 1, NULL, 10) > 2500);
}

static void test_a_fade_takes_at_most_half_of_a_pictures_time(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 5000, "");
	run(s, 60);
	assert_int_equal(s->show.fade_ms, 500);
}

static void test_an_unreadable_picture_is_passed_over_and_not_tried_each_round(void **state)
{
	struct stage *s = *state;

	s->broken = "b";
	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 6000);
	assert_string_equal(s->log, "acacac");
	int b = 0;
	for (size_t i = 0; i < s->decoded_count; i++)
		b += s->decoded[i].letter == 'b';
	assert_int_equal(b, 1);
}

static void test_an_unreadable_picture_is_tried_again_after_a_while(void **state)
{
	struct stage *s = *state;

	s->broken = "b";
	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 2000);
	s->broken = NULL;
	s->now_ms += RETRY_BAD_MS;
	run(s, 3000);
	assert_non_null(strchr(s->log, 'b'));
}

static void test_when_all_are_unreadable_it_waits_and_tries_again(void **state)
{
	struct stage *s = *state;

	s->broken = "ab";
	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 1000);
	assert_int_equal(s->plan.why, WAIT_UNREADABLE);
	assert_int_equal(s->loads, 2);
	assert_true(s->plan.has_wake);
	s->broken = "";
	run(s, RETRY_ALL_BAD_MS);
	assert_string_equal(s->log, "a");
}

static void test_a_new_package_that_cannot_be_read_leaves_the_old_picture(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 500);
	s->broken = "xy";
	give(s, PACKAGE_B, "xy", 0, "");
	run(s, 5000);
	assert_string_equal(s->log, "a");
	assert_int_equal(s->plan.state, SHOW_SHOWING);
}

static void test_one_picture_is_decoded_once_and_recorded_each_round(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "a", 300, "");
	run(s, 4200);
	assert_int_equal(s->loads, 1);
	assert_string_equal(s->log, "a");
	assert_string_equal(s->ended, "a1000 a1000 a1000 a1000 ");
}

static void test_one_good_picture_among_bad_ones_is_decoded_once(void **state)
{
	struct stage *s = *state;

	s->broken = "bc";
	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 4200);
	assert_int_equal(s->loads, 3);
	assert_string_equal(s->log, "a");
}

static void test_a_new_package_begins_at_the_next_boundary_with_its_first_picture(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 1500);
	assert_string_equal(s->log, "ab");
	give(s, PACKAGE_B, "xyz", 0, "");
	run(s, 400);
	assert_string_equal(s->log, "ab");
	run(s, 3000);
	assert_string_equal(s->log, "abxyz");
	assert_memory_equal(s->ended, "a1000 b1000 x1000 ", 18);
}

static void test_the_same_package_goes_on_where_it_was(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 1500);
	give(s, PACKAGE_A, "wxabc", 0, "");
	run(s, 2000);
	assert_string_equal(s->log, "abcw");
}

static void test_the_same_playlist_again_disturbs_nothing(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abc", 200, "");
	run(s, 600);
	int loads = s->loads;
	give(s, PACKAGE_A, "abc", 200, "");
	run(s, 200);
	assert_int_equal(s->loads, loads);
	assert_int_equal(s->show.next_state, NEXT_READY);
}

static void test_an_emptied_playlist_ends_the_picture_at_its_boundary(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 500);
	give(s, PACKAGE_B, "", 0, "");
	run(s, 1000);
	assert_string_equal(s->log, "a.");
	assert_string_equal(s->ended, "a1000 ");
	assert_int_equal(s->plan.state, SHOW_WAITING);
	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 200);
	assert_string_equal(s->log, "a.a");
}

static void test_a_playlist_taken_away_ends_the_picture_at_its_boundary(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 200, "");
	run(s, 500);
	show_nothing(&s->show);
	run(s, 400);
	assert_string_equal(s->log, "a");
	run(s, 1000);
	assert_string_equal(s->log, "a.");
	assert_int_equal(s->plan.why, WAIT_NO_PLAYLIST);
	assert_false(s->plan.has_wake);
	give(s, PACKAGE_A, "ab", 200, "");
	run(s, 500);
	assert_string_equal(s->log, "a.a");
}

static void test_pause_holds_the_picture_and_its_remaining_time(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 460);
	assert_int_equal(give(s, PACKAGE_A, "ab", 0, "command\t1\tpause\n"), COMMAND_DONE);
	run(s, 5000);
	assert_string_equal(s->log, "a");
	assert_int_equal(s->plan.state, SHOW_PAUSED);
	assert_false(s->plan.has_wake);
	give(s, PACKAGE_A, "ab", 0, "command\t2\tresume\n");
	run(s, 400);
	assert_string_equal(s->log, "a");
	run(s, 250);
	assert_string_equal(s->log, "ab");
	assert_true(strtoll(s->ended + 1, NULL, 10) >= 6000);
}

static void test_pause_before_the_first_picture_shows_it_and_holds(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "command\t1\tpause\n");
	run(s, 5000);
	assert_string_equal(s->log, "a");
	assert_int_equal(s->plan.state, SHOW_PAUSED);
}

static void test_show_jumps_as_soon_as_its_picture_is_there(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abcd", 0, "");
	run(s, 300);
	assert_int_equal(give(s, PACKAGE_A, "abcd", 0, "command\t1\tshow\t3\n"), COMMAND_DONE);
	run(s, 100);
	assert_string_equal(s->log, "ac");
	run(s, 1000);
	assert_string_equal(s->log, "acd");
}

static void test_show_while_paused_jumps_and_holds(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 300);
	give(s, PACKAGE_A, "abc", 0, "command\t1\tpause\n");
	run(s, 300);
	give(s, PACKAGE_A, "abc", 0, "command\t2\tshow\tc.jpg\n");
	run(s, 5000);
	assert_string_equal(s->log, "ac");
	assert_int_equal(s->plan.state, SHOW_PAUSED);
}

static void test_an_old_command_is_not_obeyed_twice(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abc", 0, "command\t5\tshow\t3\n");
	run(s, 500);
	assert_string_equal(s->log, "c");
	assert_int_equal(give(s, PACKAGE_B, "xyz", 0, "command\t5\tshow\t3\n"), COMMAND_NONE);
	run(s, 1000);
	assert_string_equal(s->log, "cx");
	assert_int_equal(give(s, PACKAGE_B, "xyz", 0, "command\t4\tpause\n"), COMMAND_NONE);
}

static void test_show_of_what_is_not_there_changes_nothing(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 300);
	assert_int_equal(give(s, PACKAGE_A, "ab", 0, "command\t1\tshow\t9\n"), COMMAND_NOT_FOUND);
	assert_int_equal(give(s, PACKAGE_A, "ab", 0, "command\t2\tdance\n"), COMMAND_UNKNOWN);
	run(s, 1000);
	assert_string_equal(s->log, "ab");
}

static void test_show_of_an_unreadable_picture_goes_on_in_order(void **state)
{
	struct stage *s = *state;

	s->broken = "c";
	give(s, PACKAGE_A, "abcd", 0, "");
	run(s, 300);
	give(s, PACKAGE_A, "abcd", 0, "command\t1\tshow\t3\n");
	run(s, 1000);
	assert_string_equal(s->log, "ab");
}

static void test_an_answer_nobody_waits_for_is_ignored(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "");
	step(s);
	uint64_t old = s->loading;
	give(s, PACKAGE_B, "xy", 0, "");
	assert_false(show_loaded(&s->show, old, true, at(s)));
	assert_false(show_loaded(&s->show, 999, false, at(s)));
	s->loading = 0;
	run(s, 200);
	assert_string_equal(s->log, "x");
}

static void test_a_long_sleep_shows_the_next_picture_once(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "abc", 300, "");
	run(s, 800);
	s->now_ms += 3600 * 1000;
	run(s, 100);
	assert_string_equal(s->log, "ab");
}

static void test_the_end_records_what_runs(void **state)
{
	struct stage *s = *state;

	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 460);
	struct show_ended e = show_end(&s->show, at(s));
	assert_true(e.is);
	assert_string_equal(e.picture->path, "a.jpg");
	assert_in_range(e.duration_ms, 390, 420);
}

static void test_a_cut_says_what_cut_it(void **state)
{
	struct stage *s = *state;
	char body[400];

	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 460);
	assert_string_equal(show_end(&s->show, at(s)).reason, "stop");
	give(s, PACKAGE_A, "abc", 0, "command\t1\tshow\tc.jpg\n");
	run(s, 200);
	assert_string_equal(s->cut, "command");
	// Paused for long and then left: it stood for its whole time.
	s->cut[0] = '\0';
	give(s, PACKAGE_A, "abc", 0, "command\t2\tpause\n");
	run(s, 3000);
	give(s, PACKAGE_A, "abc", 0, "command\t3\tshow\ta.jpg\n");
	run(s, 200);
	assert_string_equal(s->cut, "");
	give(s, PACKAGE_A, "abc", 0, "command\t4\tresume\n");
	s->switch_ms = wall_in(s, 400);
	give(s, PACKAGE_B, "x", 0, "");
	run(s, 450);
	assert_string_equal(s->cut, "switch");
	s->switch_ms = 0;
	snprintf(body, sizeof(body), "image\ta.jpg\t0\t\t\t0\t1\t0\t%lld\n", wall_in(s, 1400));
	give_plan(s, body);
	run(s, 2000);
	assert_string_equal(s->cut, "over");
	assert_string_equal(s->missed, "");
}

static void test_a_picture_that_cannot_be_read_fails_once_and_is_skipped_in_each_later_round(
	void **state)
{
	struct stage *s = *state;

	s->broken = "b";
	give(s, PACKAGE_A, "abc", 0, "");
	run(s, 2500);
	assert_string_equal(s->missed, "-b");
	run(s, 2000); // the second round is over
	assert_string_equal(s->missed, "-b~b");
	run(s, 4000);
	assert_string_equal(s->missed, "-b~b~b~b");
	// It is tried again after a while, and that is a failure again.
	s->now_ms += 31 * 60 * 1000;
	run(s, 1500);
	assert_non_null(strstr(s->missed + 2, "-b"));
}

static void test_where_nothing_can_be_read_each_picture_is_told_once(void **state)
{
	struct stage *s = *state;

	s->broken = "ab";
	give(s, PACKAGE_A, "ab", 0, "");
	run(s, 60000);
	assert_true(s->loads > 8);
	assert_string_equal(s->missed, "-a-b");
	assert_string_equal(s->ended, "");
}

// Every moment between the first picture and the end belongs to exactly one row.
static void test_rows_cover_the_time_without_gap_or_overlap(void **state)
{
	struct stage *s = *state;
	int64_t sum = 0;

	s->broken = "d";
	give(s, PACKAGE_A, "abcde", 300, "");
	run(s, 10);
	int64_t begin = s->now_ms + 40;
	for (int i = 0; i < 20; i++) {
		s->decode_ms = 50 + i * 97 % 400;
		run(s, 730);
	}
	for (char *p = s->ended; *p; p = strchr(p, ' ') + 1)
		sum += strtoll(p + 1, NULL, 10);
	struct show_ended e = show_end(&s->show, at(s));
	assert_in_range(sum + e.duration_ms, s->now_ms - begin - 20, s->now_ms - begin + 20);
}

static void test_S001_c9h_a_picture_that_is_over_goes_at_that_moment_and_never_comes_again(
	void **state)
{
	struct stage *s = *state;
	char body[400];

	snprintf(body, sizeof(body),
		"image\ta.jpg\t0\t\t\t0\t1\t0\t%lld\nimage\tb.jpg\t0\t\t\t0\t1\t0\t0\n",
		wall_in(s, 2500));
	give_plan(s, body);
	run(s, 8000);
	assert_string_equal(s->log, "abab");
	assert_string_equal(s->ended, "a1000 b1000 a450 b1000 b1000 b1000 b1000 b1000 ");
}

// Nothing that may be shown: the waiting picture, also when the last one was paused, also when the
// next one is still being decoded.
static void test_S001_c9h_nothing_valid_now_is_the_waiting_picture(void **state)
{
	struct stage *s = *state;
	char body[400];

	snprintf(body, sizeof(body),
		"image\ta.jpg\t0\t\t\t0\t1\t0\t%lld\nimage\tb.jpg\t0\t\t\t0\t1\t%lld\t0\n"
		"command\t1\tpause\n",
		wall_in(s, 1500), wall_in(s, 4000));
	give_plan(s, body);
	run(s, 3000);
	assert_string_equal(s->log, "a.");
	assert_int_equal(s->plan.state, SHOW_WAITING);
	assert_int_equal(s->plan.why, WAIT_HOURS);
	assert_true(s->plan.has_wake);
	assert_int_equal(s->loads, 2); // b is ready before its time
	run(s, 990);
	assert_string_equal(s->log, "a.");
	run(s, 20);
	assert_string_equal(s->log, "a.b");
	assert_string_equal(s->ended, "a1450 ");
}

static void test_a_slow_next_picture_does_not_keep_one_that_is_over(void **state)
{
	struct stage *s = *state;
	char body[400];

	s->decode_ms = 700;
	snprintf(body, sizeof(body),
		"image\ta.jpg\t0\t\t\t0\t1\t0\t%lld\nimage\tb.jpg\t0\t\t\t0\t1\t0\t0\n",
		wall_in(s, 1000));
	give_plan(s, body);
	run(s, 2000);
	assert_string_equal(s->log, "a.b");
	assert_int_equal(s->loads, 2);
}

static void test_a_clock_that_is_set_changes_what_may_be_shown(void **state)
{
	struct stage *s = *state;
	char body[400];

	snprintf(body, sizeof(body),
		"image\ta.jpg\t0\t\t\t0\t1\t0\t%lld\nimage\tb.jpg\t0\t\t\t0\t1\t%lld\t0\n",
		wall_in(s, 3600000), wall_in(s, 3600000));
	give_plan(s, body);
	run(s, 1500);
	s->wall_step_ms += 3600000;
	run(s, 500);
	s->wall_step_ms -= 3600000;
	run(s, 500);
	// At once the waiting picture, then what holds now.
	assert_string_equal(s->log, "a.b.a");
}

static void test_S001_c9h_a_list_with_a_moment_comes_at_that_moment(void **state)
{
	static const int64_t moments[] = {300, 1990, 2500, 4321, 7777};

	for (size_t i = 0; i < 5; i++) {
		struct stage *s = *state;
		int64_t begin = s->now_ms;

		give(s, PACKAGE_A, "ab", 0, "");
		run(s, 160);
		s->switch_ms = wall_in(s, moments[i]);
		give(s, PACKAGE_B, "c", 0, "");
		run(s, moments[i] - 10);
		assert_null(strchr(s->log, 'c'));
		run(s, 20);
		assert_string_equal(s->log, "ac"); // what stands goes on to the moment
		assert_in_range(strtoll(s->ended + 1, NULL, 10), moments[i] + 90, moments[i] + 130);
		(void)begin;
		teardown(state);
		setup(state);
	}
}

static void test_a_moment_counts_also_while_nothing_is_shown(void **state)
{
	struct stage *s = *state;

	s->switch_ms = wall_in(s, 2000);
	give(s, PACKAGE_B, "c", 0, "");
	run(s, 1990);
	assert_string_equal(s->log, "");
	run(s, 30);
	assert_string_equal(s->log, "c");
}

static void test_show_brings_a_picture_out_of_its_hours_but_not_out_of_its_dates(void **state)
{
	struct stage *s = *state;
	char body[500];

	snprintf(body, sizeof(body),
		"group\tnight\t0\t\t1\t0\t0\t127:0-60\n" // it is noon
		"image\ta.jpg\t0\t\t\t0\t1\t0\t0\nimage\tb.jpg\t0\t\t\t1\t1\t0\t0\n"
		"image\tc.jpg\t0\t\t\t0\t1\t%lld\t0\n",
		wall_in(s, 900000));
	give_plan(s, body);
	run(s, 300);
	append(body, sizeof(body), "command\t1\tshow\tb.jpg\n");
	give_plan(s, body);
	run(s, 300);
	assert_string_equal(s->log, "ab");
	append(body, sizeof(body), "command\t2\tshow\tc.jpg\n");
	give_plan(s, body);
	run(s, 2000);
	assert_string_equal(s->log, "aba");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_nothing_given_waits_without_waking),
		T(test_an_empty_playlist_waits_and_says_so),
		T(test_pictures_come_in_order_and_each_has_its_time),
		T(test_a_fade_rises_from_below_to_front_and_ends),
		T(test_the_next_is_decoded_before_it_is_due),
		T(test_a_late_picture_leaves_the_one_before_standing),
		T(test_a_fade_takes_at_most_half_of_a_pictures_time),
		T(test_an_unreadable_picture_is_passed_over_and_not_tried_each_round),
		T(test_an_unreadable_picture_is_tried_again_after_a_while),
		T(test_when_all_are_unreadable_it_waits_and_tries_again),
		T(test_a_new_package_that_cannot_be_read_leaves_the_old_picture),
		T(test_one_picture_is_decoded_once_and_recorded_each_round),
		T(test_one_good_picture_among_bad_ones_is_decoded_once),
		T(test_a_new_package_begins_at_the_next_boundary_with_its_first_picture),
		T(test_the_same_package_goes_on_where_it_was),
		T(test_the_same_playlist_again_disturbs_nothing),
		T(test_an_emptied_playlist_ends_the_picture_at_its_boundary),
		T(test_a_playlist_taken_away_ends_the_picture_at_its_boundary),
		T(test_pause_holds_the_picture_and_its_remaining_time),
		T(test_pause_before_the_first_picture_shows_it_and_holds),
		T(test_show_jumps_as_soon_as_its_picture_is_there),
		T(test_show_while_paused_jumps_and_holds),
		T(test_an_old_command_is_not_obeyed_twice),
		T(test_show_of_what_is_not_there_changes_nothing),
		T(test_show_of_an_unreadable_picture_goes_on_in_order),
		T(test_an_answer_nobody_waits_for_is_ignored),
		T(test_a_long_sleep_shows_the_next_picture_once),
		T(test_the_end_records_what_runs),
		T(test_a_cut_says_what_cut_it),
		T(test_a_picture_that_cannot_be_read_fails_once_and_is_skipped_in_each_later_round),
		T(test_where_nothing_can_be_read_each_picture_is_told_once),
		T(test_rows_cover_the_time_without_gap_or_overlap),
		T(test_S001_c9h_a_picture_that_is_over_goes_at_that_moment_and_never_comes_again),
		T(test_S001_c9h_nothing_valid_now_is_the_waiting_picture),
		T(test_a_slow_next_picture_does_not_keep_one_that_is_over),
		T(test_a_clock_that_is_set_changes_what_may_be_shown),
		T(test_S001_c9h_a_list_with_a_moment_comes_at_that_moment),
		T(test_a_moment_counts_also_while_nothing_is_shown),
		T(test_show_brings_a_picture_out_of_its_hours_but_not_out_of_its_dates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
