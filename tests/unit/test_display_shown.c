// The ledger: numbers that rise for ever, whatever a crash leaves behind.
#include "client/display/display_limits.h"
#include "client/display/shown.h"
#include "client/display/status.h"
#include "proto/base/file.h"
#include "proto/base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PART (1024 * 1024)

static char dir[64];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/helio-shown-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return tree_remove(dir) == ERR_OK ? 0 : -1;
}

static const char *file(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static struct shown_row row_of(const char *path, int64_t from_ms, int64_t duration_ms)
{
	struct shown_row r = {.path = path,
		.from = {from_ms},
		.duration_ms = duration_ms,
		.clock = 3,
		.planned_ms = 8000,
		.result = SHOWN_CUT,
		.reason = "command"};

	memset(r.package.b, 0xab, 32);
	return r;
}

static void append(struct shown_log *s, const char *path, int64_t from_ms)
{
	struct shown_row r = row_of(path, from_ms, 1000);

	assert_int_equal(shown_append(s, &r), ERR_OK);
}

static char *content(const char *name)
{
	static struct buf b;

	buf_fini(&b);
	buf_init(&b, 64 << 20);
	if (file_read(file(name), &b) != ERR_OK)
		return NULL;
	assert_int_equal(buf_append(&b, "", 1), ERR_OK);
	return (char *)b.data;
}

// Every line has ten fields and the numbers rise by one. Returns the last.
static uint64_t check_rows(const char *text, uint64_t first)
{
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		char boot[64], package[128], path[256], result[16], reason[16];
		uint64_t seq;
		int64_t from, duration;
		unsigned clock, planned;

		assert_non_null(strchr(line, '\n'));
		assert_int_equal(sscanf(line,
					 "%" SCNu64 "\t%63s\t%127s\t%255s\t%" SCNd64 "\t%" SCNd64
					 "\t%u\t%u\t%15s\t%15s\n",
					 &seq, boot, package, path, &from, &duration, &clock,
					 &planned, result, reason),
			10);
		assert_int_equal(seq, first++);
		assert_int_equal(strlen(boot), 32);
		assert_int_equal(strlen(package), 64);
	}
	return first - 1;
}

static void test_a_row_names_what_when_and_how_long(void **state)
{
	struct shown_log s;

	(void)state;
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	append(&s, "0001-a.jpg", 1763700000123);
	shown_close(&s);
	char want[256];
	snprintf(want, sizeof(want),
		"1\t%s\t%s\t0001-a.jpg\t1763700000123\t1000\t3\t8000\tcut\tcommand\n", s.boot,
		"abababababababababababababababababababababababababababababababab");
	assert_string_equal(content("shown.log"), want);
}

static void test_numbers_go_on_after_a_restart(void **state)
{
	struct shown_log s;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
		append(&s, "a.jpg", i);
		append(&s, "b.jpg", i);
		shown_close(&s);
	}
	assert_int_equal(check_rows(content("shown.log"), 1), 10);
}

static void test_a_last_line_torn_anywhere_is_cut_off(void **state)
{
	struct shown_log s;
	struct stat st;

	(void)state;
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	append(&s, "a.jpg", 1);
	append(&s, "b.jpg", 2);
	shown_close(&s);
	assert_int_equal(stat(file("shown.log"), &st), 0);
	off_t half = st.st_size / 2;
	for (off_t size = st.st_size - 1; size > half; size--) {
		assert_int_equal(truncate(file("shown.log"), size), 0);
		assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
		assert_int_equal(s.seq, 1);
		append(&s, "b.jpg", 2);
		shown_close(&s);
		assert_int_equal(check_rows(content("shown.log"), 1), 2);
	}
}

static void test_zeros_of_a_power_cut_are_cut_off(void **state)
{
	struct shown_log s;
	static const char zeros[5000];

	(void)state;
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	append(&s, "a.jpg", 1);
	shown_close(&s);
	int fd = open(file("shown.log"), O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, zeros, sizeof(zeros)), sizeof(zeros));
	assert_int_equal(write(fd, "\n9\tjunk\n", 8), 8);
	close(fd);
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	append(&s, "b.jpg", 1);
	shown_close(&s);
	assert_int_equal(check_rows(content("shown.log"), 1), 2);
}

static void test_a_full_part_is_turned_and_nothing_is_lost_of_two_parts(void **state)
{
	struct shown_log s;
	struct stat st;

	(void)state;
	assert_int_equal(shown_open(&s, dir, 2000), ERR_OK);
	for (int i = 0; i < 25; i++)
		append(&s, "picture.jpg", i);
	shown_close(&s);
	assert_int_equal(stat(file("shown.log"), &st), 0);
	assert_true(st.st_size <= 2000);
	char *text = content("shown.log.1");
	assert_non_null(text);
	uint64_t first = strtoull(text, NULL, 10);
	uint64_t last = check_rows(text, first);
	assert_int_equal(check_rows(content("shown.log"), last + 1), 25);
	// Also when only the old part is left.
	assert_int_equal(unlink(file("shown.log")), 0);
	assert_int_equal(shown_open(&s, dir, 2000), ERR_OK);
	assert_int_equal(s.seq, last);
	shown_close(&s);
}

static void test_what_a_crash_left_open_becomes_a_row_once(void **state)
{
	struct shown_log s;
	struct shown_row r = row_of("c.jpg", 5, 4321);

	(void)state;
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	append(&s, "a.jpg", 1);
	assert_int_equal(shown_note(&s, &r), ERR_OK);
	close(s.fd);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
		assert_int_equal(s.seq, 2);
		shown_close(&s);
	}
	assert_int_equal(check_rows(content("shown.log"), 1), 2);
	assert_non_null(strstr(content("shown.log"), "c.jpg\t5\t4321"));
}

static void test_a_note_of_a_row_already_written_is_not_a_second_row(void **state)
{
	struct shown_log s;
	struct shown_row r = row_of("c.jpg", 5, 900);

	(void)state;
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	assert_int_equal(shown_note(&s, &r), ERR_OK);
	append(&s, "c.jpg", 5);
	close(s.fd);
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	assert_int_equal(s.seq, 1);
	shown_close(&s);
	assert_int_equal(check_rows(content("shown.log"), 1), 1);
}

static void test_a_lost_ledger_does_not_use_numbers_twice(void **state)
{
	struct shown_log s;
	struct shown_row r = row_of("d.jpg", 5, 900);

	(void)state;
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	for (int i = 0; i < 41; i++)
		append(&s, "a.jpg", i);
	assert_int_equal(shown_note(&s, &r), ERR_OK);
	close(s.fd);
	assert_int_equal(truncate(file("shown.log"), 0), 0);
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	append(&s, "e.jpg", 1);
	assert_true(s.seq > 41);
	shown_close(&s);
}

static void test_a_full_disk_leaves_whole_rows_only(void **state)
{
	struct shown_log s;
	struct shown_row r = row_of("picture.jpg", 1, 1000);
	struct rlimit old, small = {1000, RLIM_INFINITY};

	(void)state;
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	enum err e = ERR_OK;
	for (int i = 0; i < 20 && e == ERR_OK; i++)
		e = shown_append(&s, &r);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_not_equal(e, ERR_OK);
	uint64_t lost = s.seq;
	uint64_t last = check_rows(content("shown.log"), 1);
	assert_int_equal(last, lost - 1);
	// There is room again: the lost number is the gap.
	append(&s, "after.jpg", 2);
	assert_int_equal(s.seq, lost + 1);
	shown_close(&s);
}

// A process that writes as fast as it can is killed at some moment, again and again.
static void test_kill_9_at_any_moment_keeps_every_row_and_number(void **state)
{
	struct shown_log s;
	uint64_t before = 0;

	(void)state;
	for (int round = 0; round < 20; round++) {
		int ends[2], status;
		char row;

		assert_int_equal(pipe(ends), 0);
		assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
		pid_t child = fork();
		if (child == 0) {
			if (shown_open(&s, dir, PART) != ERR_OK)
				_exit(1);
			for (;;) {
				struct shown_row r = row_of("k.jpg", 1, 10);
				if (shown_note(&s, &r) != ERR_OK || shown_append(&s, &r) != ERR_OK)
					_exit(2);
				ssize_t n = write(ends[1], "r", 1); // nobody need read it
				(void)n;
			}
		}
		// It has written two; then some moment.
		for (int i = 0; i < 2; i++)
			assert_int_equal(read(ends[0], &row, 1), 1);
		usleep((useconds_t)round * 700);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		assert_true(WIFSIGNALED(status));
		close(ends[0]);
		close(ends[1]);
	}
	assert_int_equal(shown_open(&s, dir, PART), ERR_OK);
	before = s.seq;
	shown_close(&s);
	assert_true(before > 20);
	char *old = content("shown.log.1");
	uint64_t first = 1;
	if (old) {
		first = strtoull(old, NULL, 10);
		first = check_rows(old, first) + 1;
	}
	assert_int_equal(check_rows(content("shown.log"), first), before);
}

static void test_the_status_names_what_is_shown_and_the_last_faults(void **state)
{
	struct status s = {.state = SHOW_SHOWING, .screen_w = 1920, .screen_h = 1080};
	struct wall now = {77};

	(void)state;
	snprintf(s.path, sizeof(s.path), "%s/status", dir);
	snprintf(s.image, sizeof(s.image), "0001-a.jpg");
	for (int i = 0; i < FAULTS_MAX + 3; i++) {
		char what[32];

		snprintf(what, sizeof(what), "p%d.jpg", i);
		status_fault_add(&s, now, what, "cut\tor 50% damaged\n");
	}
	assert_int_equal(status_write(&s, now), ERR_OK);
	char *text = content("status");
	assert_memory_equal(text, "state\tshowing\npackage\t0000", 26);
	assert_non_null(strstr(text, "\nimage\t0001-a.jpg\nscreen\t1920\t1080\npid\t"));
	assert_non_null(strstr(text, "\nunix_ms\t77\n"));
	assert_null(strstr(text, "p0.jpg"));
	assert_non_null(strstr(text, "fault\t77\tp3.jpg\tcut%09or 50%25 damaged%0a\n"));
	assert_non_null(strstr(text, "p7.jpg"));
	s.state = SHOW_WAITING;
	assert_int_equal(status_write(&s, now), ERR_OK);
	assert_null(strstr(content("status"), "image"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_row_names_what_when_and_how_long),
		T(test_numbers_go_on_after_a_restart),
		T(test_a_last_line_torn_anywhere_is_cut_off),
		T(test_zeros_of_a_power_cut_are_cut_off),
		T(test_a_full_part_is_turned_and_nothing_is_lost_of_two_parts),
		T(test_what_a_crash_left_open_becomes_a_row_once),
		T(test_a_note_of_a_row_already_written_is_not_a_second_row),
		T(test_a_lost_ledger_does_not_use_numbers_twice),
		T(test_a_full_disk_leaves_whole_rows_only),
		T(test_kill_9_at_any_moment_keeps_every_row_and_number),
		T(test_the_status_names_what_is_shown_and_the_last_faults),
	};

	log_init("test", LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
