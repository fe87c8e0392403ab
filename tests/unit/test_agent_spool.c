// The parts of a report on disk: the same whenever they are read, gone when anything is wrong.
#include "client/report_spool.h"
#include "proto/base/file.h"
#include "tests/unit/helper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/helio-spool-XXXXXX";

static void spool_fill(struct report_spool *s, uint64_t id, unsigned parts)
{
	struct report r = {.what = INFO_LOGS};
	char text[100];
	assert_int_equal(spool_init(s, dir), ERR_OK);
	assert_int_equal(spool_begin(s, id), ERR_OK);
	for (unsigned i = 0; i < parts; i++) {
		int n = snprintf(text, sizeof text, "part %u of %llu", i, (unsigned long long)id);
		r.data = bytes_of(text, (size_t)n);
		r.truncated = i == 1;
		assert_int_equal(spool_add(s, &r), ERR_OK);
	}
}

static void assert_part(struct report_spool *s, uint32_t part, const char *want)
{
	SCOPED_ARENA struct arena a;
	struct report r;
	arena_init(&a, 100000, 100);
	assert_int_equal(spool_read(s, &a, part, &r), ERR_OK);
	assert_int_equal(r.what, INFO_LOGS);
	assert_int_equal(r.truncated, part == 1);
	assert_int_equal(r.data.size, strlen(want));
	assert_memory_equal(r.data.data, want, strlen(want));
}

static void what_was_kept_is_read_by_the_next_process(void **state)
{
	struct report_spool s, next;
	SCOPED_ARENA struct arena a;
	struct report r;
	(void)state;
	arena_init(&a, 1000, 10);
	spool_fill(&s, 7, 3);
	assert_int_equal(spool_commit(&s), ERR_OK);
	assert_part(&s, 2, "part 2 of 7");
	spool_fini(&s);
	assert_int_equal(spool_init(&next, dir), ERR_OK);
	assert_int_equal(spool_open(&next, 8), ERR_NOT_FOUND); // of another report
	assert_int_equal(spool_open(&next, 7), ERR_OK);
	assert_int_equal(next.parts, 3);
	assert_part(&next, 0, "part 0 of 7");
	assert_part(&next, 1, "part 1 of 7");
	assert_int_equal(spool_read(&next, &a, 3, &r), ERR_NOT_FOUND);
	spool_drop(&next);
	assert_int_equal(spool_open(&next, 7), ERR_NOT_FOUND);
	spool_fini(&next);
}

static void half_a_report_is_none(void **state)
{
	struct report_spool s, next;
	(void)state;
	spool_fill(&s, 7, 2); // killed before it was whole
	spool_fini(&s);
	assert_int_equal(spool_init(&next, dir), ERR_OK);
	assert_int_equal(spool_open(&next, 7), ERR_NOT_FOUND);
	spool_drop(&next);
	spool_fini(&next);
}

static void a_flipped_bit_or_a_cut_anywhere_is_seen(void **state)
{
	struct report_spool s, next;
	struct stat st;
	(void)state;
	spool_fill(&s, 7, 2);
	assert_int_equal(spool_commit(&s), ERR_OK);
	int fd = open(s.path, O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(spool_init(&next, dir), ERR_OK);
	for (off_t at = 0; at < st.st_size; at++) {
		uint8_t byte, flipped;
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		flipped = byte ^ 0x10;
		assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
		assert_int_not_equal(spool_open(&next, 7), ERR_OK);
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	assert_int_equal(spool_open(&next, 7), ERR_OK);
	for (off_t size = st.st_size - 1; size >= 0; size -= 7) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_int_not_equal(spool_open(&next, 7), ERR_OK);
	}
	close(fd);
	spool_fini(&s);
	spool_drop(&next);
	spool_fini(&next);
}

static void more_parts_than_the_limit_are_refused(void **state)
{
	struct report_spool s;
	struct report r = {.what = INFO_LOGS};
	(void)state;
	spool_fill(&s, 7, SPOOL_PARTS_MAX);
	assert_int_equal(spool_add(&s, &r), ERR_FULL);
	assert_int_equal(spool_commit(&s), ERR_OK);
	assert_int_equal(spool_open(&s, 7), ERR_OK);
	assert_int_equal(s.parts, SPOOL_PARTS_MAX);
	spool_drop(&s);
	spool_fini(&s);
}

static int dir_open(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

static int dir_close(void **state)
{
	(void)state;
	return tree_remove(dir) != ERR_OK;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_kept_is_read_by_the_next_process),
		cmocka_unit_test(half_a_report_is_none),
		cmocka_unit_test(a_flipped_bit_or_a_cut_anywhere_is_seen),
		cmocka_unit_test(more_parts_than_the_limit_are_refused),
	};
	return cmocka_run_group_tests(tests, dir_open, dir_close);
}
