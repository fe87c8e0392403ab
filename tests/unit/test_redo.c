// The redo log alone: what comes back after its file was cut, torn or taken over.
#include "helper.h"
#include "proto/base/file.h"
#include "server/db/redo.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	char *folder, file[128];
	struct redo *log;
	uint64_t group; // the last that was sealed
};

struct seen {
	uint64_t first, last;
	size_t statements;
	int64_t sum;
	enum err stop;
	bool gaps; // of groups that the store was synced for
};

static const char insert_sql[] = "INSERT INTO t VALUES ($1, $2, $3, $4, $5)";
static const char delete_sql[] = "DELETE FROM t";

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	if (temp_dir_make((void **)&f->folder) != 0)
		return -1;
	(void)snprintf(f->file, sizeof(f->file), "%s/store-redo", f->folder);
	return redo_open(f->file, 7, &f->log) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	redo_close(f->log);
	int rc = temp_dir_drop((void **)&f->folder);
	free(f);
	return rc;
}

static void note(struct fixture *f, int64_t n, size_t bytes)
{
	static char filling[70000];

	redo_note(f->log, insert_sql,
		(const struct db_value[]){
			DB_I(n), DB_R(0.5), DB_T("word"), DB_B(bytes_of(filling, bytes)), DB_N()},
		5);
}

static void group_write(struct fixture *f, int64_t n, size_t bytes)
{
	note(f, n, bytes);
	redo_note(f->log, delete_sql, NULL, 0);
	assert_true(redo_seal(f->log, ++f->group));
	redo_begin(f->log);
	assert_int_equal(redo_write(f->log), 0);
}

static enum err see(
	void *ctx, uint64_t group, const char *sql, const struct db_value *values, size_t count)
{
	struct seen *s = ctx;

	assert_true(s->gaps ? group >= s->last : !s->last || group - s->last <= 1);
	s->first = s->first ? s->first : group;
	s->last = group;
	s->statements++;
	if (strcmp(sql, delete_sql) == 0) {
		assert_int_equal(count, 0);
		return s->stop;
	}
	assert_string_equal(sql, insert_sql);
	assert_int_equal(count, 5);
	s->sum += values[0].i;
	assert_true(values[1].type == DB_REAL && values[1].r > 0.4 && values[1].r < 0.6);
	assert_true(bytes_equal(values[2].b, bytes_of("word", 4)));
	assert_true(values[3].type == DB_BLOB && values[4].type == DB_NULL);
	return ERR_OK;
}

static struct seen read_back(struct fixture *f, uint64_t id)
{
	struct seen s = {0};

	assert_int_equal(redo_read(f->file, id, see, &s), ERR_OK);
	return s;
}

static void what_was_written_comes_back_in_order(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(read_back(f, 7).statements, 0);
	for (int i = 1; i <= 300; i++)
		group_write(f, i, (size_t)i);
	// Two groups of one batch, and one that did not come to be between them.
	note(f, 1000, 1);
	assert_true(redo_seal(f->log, ++f->group));
	note(f, 50000, 1);
	redo_note(f->log, delete_sql, NULL, 0);
	redo_drop(f->log);
	note(f, 2000, 1);
	redo_note(f->log, delete_sql, NULL, 0);
	assert_true(redo_seal(f->log, ++f->group));
	redo_begin(f->log);
	assert_int_equal(redo_write(f->log), 0);
	note(f, 70000, 1); // open
	struct seen s = read_back(f, 7);
	assert_true(s.first == 1 && s.last == 302);
	assert_int_equal(s.statements, 603);
	assert_int_equal(s.sum, 300 * 301 / 2 + 3000);
	assert_int_equal(read_back(f, 8).statements, 0); // another log
}

static void a_group_that_is_too_large_is_not_taken_nor_those_that_wait(void **state)
{
	struct fixture *f = *state;

	group_write(f, 1, 10);
	note(f, 2, 10);
	assert_true(redo_seal(f->log, ++f->group));
	for (int i = 0; i < 40; i++)
		note(f, 3, 65000);
	assert_true(redo_is_open(f->log));
	assert_false(redo_seal(f->log, ++f->group));
	assert_false(redo_is_open(f->log) || redo_is_waiting(f->log));
	redo_retire(f->log, f->group); // the store was synced
	group_write(f, 4, 10);
	struct seen s = {.gaps = true};
	assert_int_equal(redo_read(f->file, 7, see, &s), ERR_OK);
	assert_int_equal(s.sum, 5);
}

// ---- areas

static void an_area_is_written_over_only_when_it_was_retired(void **state)
{
	struct fixture *f = *state;
	unsigned refused = 0;
	uint64_t retired = 0;

	for (int i = 0; i < 1000; i++) {
		note(f, 1, 60000);
		if (redo_seal(f->log, ++f->group)) {
			redo_begin(f->log);
			assert_int_equal(redo_write(f->log), 0);
			struct seen s = {0};
			if (i % 20 == 0) {
				assert_int_equal(redo_read(f->file, 7, see, &s), ERR_OK);
				assert_true(s.last == f->group && s.first <= retired + 1);
			}
			continue;
		}
		refused++;
		f->group--; // as if it had not been
		assert_true(redo_to_retire(f->log) > retired);
		retired = redo_to_retire(f->log);
		redo_retire(f->log, retired);
		assert_true(redo_to_retire(f->log) == 0);
	}
	assert_in_range(refused, 10, 20); // 60 MB in areas of 4
}

// ---- what a crash leaves

// Each byte of the last batch: with any of them wrong, everything but that batch is there.
static void F20_a_torn_batch_is_no_batch(void **state)
{
	struct fixture *f = *state;
	uint8_t byte;

	for (int i = 1; i <= 3; i++)
		group_write(f, i, 300);
	int fd = open(f->file, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	off_t last = 4096 + 2 * 4096;
	for (off_t at = last; at < last + 400; at++) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		struct seen s = read_back(f, 7);
		assert_true(s.last == 2 && s.sum == 3);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	assert_int_equal(read_back(f, 7).sum, 6);
	// A batch in the middle: those behind it are not reached.
	assert_int_equal(pwrite(fd, "x", 1, 4096 + 4096), 1);
	assert_int_equal(read_back(f, 7).sum, 1);
	// A file that is shorter or longer than any of ours.
	assert_int_equal(ftruncate(fd, 3 * 4096), 0);
	assert_int_equal(read_back(f, 7).statements, 0);
	close(fd);
	(void)unlink(f->file);
	assert_int_equal(read_back(f, 7).statements, 0);
}

static void a_new_log_in_the_same_file_begins_with_nothing(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;

	for (int i = 1; i <= 5; i++)
		group_write(f, i, 300);
	redo_close(f->log);
	assert_int_equal(stat(f->file, &before), 0);
	assert_int_equal(redo_open(f->file, 9, &f->log), ERR_OK);
	assert_int_equal(stat(f->file, &after), 0);
	assert_true(before.st_ino == after.st_ino && after.st_size == (off_t)REDO_FILE_BYTES);
	assert_int_equal(after.st_mode & 0777, 0600);
	assert_int_equal(read_back(f, 9).statements, 0);
	f->group = 100;
	group_write(f, 11, 10);
	assert_int_equal(read_back(f, 9).sum, 11); // and nothing of what lies behind it
}

static void an_error_of_the_reader_ends_the_reading(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.stop = ERR_STALE};

	group_write(f, 1, 10);
	group_write(f, 2, 10);
	assert_int_equal(redo_read(f->file, 7, see, &s), ERR_STALE);
	assert_int_equal(s.statements, 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_written_comes_back_in_order),
		T(a_group_that_is_too_large_is_not_taken_nor_those_that_wait),
		T(an_area_is_written_over_only_when_it_was_retired),
		T(F20_a_torn_batch_is_no_batch),
		T(a_new_log_in_the_same_file_begins_with_nothing),
		T(an_error_of_the_reader_ends_the_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
