// The seeds of a device: hashed once, told from the list afterwards, ended at once, and never
// believed. How much is read is the kernel's count of this process (/proc/self/io).
#include "client/seed_source.h"
#include "proto/base/file.h"
#include "proto/chunker.h"
#include "proto/digest.h"
#include "tests/unit/helper.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES (3 * 1024 * 1024)
#define FILES 3

struct lab {
	char dir[200], folder[220], list[230], disk[230];
	char *paths[2];
	uint8_t *data[FILES];
	struct seed_places places;
};

static void file_path(const struct lab *x, unsigned number, char path[300])
{
	(void)snprintf(path, 300, "%s/file-%u", x->folder, number);
}

static void file_put(struct lab *x, unsigned number)
{
	char path[300];
	file_path(x, number, path);
	assert_int_equal(file_write_atomic(path, x->data[number], FILE_BYTES, 0644), ERR_OK);
}

static int lab_setup(void **state)
{
	struct lab *x = calloc(1, sizeof *x);
	char dir[] = "/tmp/helio-unit-XXXXXX";
	assert_non_null(mkdtemp(dir));
	assert_true(str_copy(x->dir, sizeof x->dir, dir));
	(void)snprintf(x->folder, sizeof x->folder, "%s/made-with", dir);
	(void)snprintf(x->list, sizeof x->list, "%s/seeds.list", dir);
	assert_int_equal(dir_make(x->folder), ERR_OK);
	for (unsigned i = 0; i < FILES; i++) {
		uint64_t z = i + 1;
		x->data[i] = malloc(FILE_BYTES);
		for (size_t k = 0; k < FILE_BYTES; k += 8) {
			z = z * 6364136223846793005U + 1442695040888963407U;
			uint64_t word = z ^ z >> 29;
			memcpy(x->data[i] + k, &word, 8);
		}
		file_put(x, i);
	}
	(void)snprintf(x->disk, sizeof x->disk, "%s/disk.img", dir);
	x->paths[0] = x->folder;
	x->paths[1] = x->disk;
	x->places = (struct seed_places){.paths = x->paths, .count = 1, .list = x->list};
	*state = x;
	return 0;
}

static int lab_teardown(void **state)
{
	struct lab *x = *state;
	enum err e = tree_remove(x->dir);
	for (unsigned i = 0; i < FILES; i++)
		free(x->data[i]);
	free(x);
	return e == ERR_OK ? 0 : -1;
}

// Bytes that this process asked the kernel for, by the kernel's count.
static uint64_t bytes_read(void)
{
	FILE *f = fopen("/proc/self/io", "r");
	unsigned long long n = 0;
	assert_non_null(f);
	assert_int_equal(fscanf(f, "rchar: %llu", &n), 1);
	assert_int_equal(fclose(f), 0);
	return n;
}

static size_t hashed(struct lab *x, uint64_t *read)
{
	struct seed_source s;
	uint64_t before = bytes_read();
	assert_int_equal(seed_source_open(&s, &x->places, NULL), ERR_OK);
	*read = bytes_read() - before;
	assert_int_equal(s.file_count, FILES);
	size_t n = s.hashed;
	seed_source_close(&s);
	return n;
}

static bool serves(struct lab *x, unsigned number)
{
	struct seed_source s;
	SCOPED_FREE uint8_t *out = malloc(CHUNK_MAX);
	size_t n = chunk_cut(x->data[number], FILE_BYTES);
	struct chunk_ref c = {.sha256 = sha256(x->data[number], n), .size = (uint32_t)n};
	assert_int_equal(seed_source_open(&s, &x->places, NULL), ERR_OK);
	bool there = seed_source_read(&s, &c, out) && memcmp(out, x->data[number], n) == 0;
	seed_source_close(&s);
	return there;
}

static void S001_c30_seeds_are_hashed_once(void **state)
{
	struct lab *x = *state;
	uint64_t read = 0;
	assert_true(hashed(x, &read) > FILES);
	assert_true(read >= FILES * (uint64_t)FILE_BYTES);
	assert_int_equal(hashed(x, &read), 0);
	assert_true(read < 64 * 1024); // the list, and what stands in /proc
	for (unsigned i = 0; i < FILES; i++)
		assert_true(serves(x, i));
	// Control: a file that is another by its times alone is hashed, and no other one.
	char path[300];
	file_path(x, 1, path);
	assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
	assert_true(hashed(x, &read) > 1);
	assert_in_range(read, FILE_BYTES, FILE_BYTES + 64 * 1024);
	// Control: where no list is kept, all is hashed each time.
	x->places.list = NULL;
	assert_true(hashed(x, &read) > FILES);
	assert_true(hashed(x, &read) > FILES);
}

static void what_a_list_says_of_a_file_that_changed_is_not_believed(void **state)
{
	struct lab *x = *state;
	uint64_t read = 0;
	char path[300];
	(void)hashed(x, &read);
	file_path(x, 0, path);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "rot", 3, 1000), 3);
	assert_int_equal(close(fd), 0);
	assert_false(serves(x, 0));
	assert_true(serves(x, 1));
	file_put(x, 0);
	assert_true(serves(x, 0));
	assert_int_equal(unlink(path), 0);
	assert_false(serves(x, 0));
}

// The list says that a file holds what it never held: it is read, hashed and not served.
static void a_list_that_lies_serves_nothing(void **state)
{
	struct lab *x = *state;
	struct seed_draft list;
	struct stat st;
	char path[300];
	file_path(x, 0, path);
	assert_int_equal(stat(path, &st), 0);
	struct seed_stamp stamp = seed_stamp_of(&st);
	size_t n = chunk_cut(x->data[1], FILE_BYTES);
	struct digest d = sha256(x->data[1], n);
	struct seed_entry e = {.size = (uint32_t)n};
	memcpy(&e.hash, d.b, sizeof e.hash);
	assert_int_equal(seed_list_begin(&list), ERR_OK);
	assert_int_equal(seed_list_add(&list, path, &stamp, &e, 1), ERR_OK);
	assert_int_equal(seed_list_write(&list, x->list), ERR_OK);
	seed_draft_fini(&list);
	file_path(x, 1, path);
	assert_int_equal(unlink(path), 0);
	assert_false(serves(x, 1));
	assert_false(serves(x, 0)); // and what it keeps silent about is not there
}

static void damage(const struct lab *x, const struct buf *good, size_t at, bool cut)
{
	SCOPED_BUF struct buf b;
	buf_init(&b, SEED_LIST_MAX);
	assert_int_equal(buf_append(&b, good->data, cut ? at : good->size), ERR_OK);
	if (!cut)
		b.data[at] ^= 0x41;
	assert_int_equal(file_write_atomic(x->list, b.data, b.size, 0600), ERR_OK);
}

// Whatever stands where the list was is an empty list, and is replaced.
static void a_damaged_list_costs_the_time_to_hash(void **state)
{
	struct lab *x = *state;
	SCOPED_BUF struct buf good;
	uint64_t read = 0;
	(void)hashed(x, &read);
	buf_init(&good, SEED_LIST_MAX);
	assert_int_equal(file_read(x->list, &good), ERR_OK);
	for (size_t at = 0; at < good.size; at += at < 200 ? 7 : 211) {
		for (unsigned cut = 0; cut < 2; cut++) {
			struct seed_list l;
			damage(x, &good, at, cut == 1);
			assert_int_equal(seed_list_read(&l, x->list), ERR_OK);
			assert_int_equal(l.count, 0);
			seed_list_close(&l);
		}
	}
	assert_true(hashed(x, &read) > FILES);
	assert_int_equal(hashed(x, &read), 0);
}

// With a right digest at the end, as a program of another mind would write it.
static void a_record_that_cannot_be_is_refused(void **state)
{
	struct lab *x = *state;
	SCOPED_BUF struct buf good;
	uint64_t read = 0;
	size_t refused = 0;
	(void)hashed(x, &read);
	buf_init(&good, SEED_LIST_MAX);
	assert_int_equal(file_read(x->list, &good), ERR_OK);
	for (size_t at = 24; at < good.size - 32; at += at < 120 ? 1 : 97) {
		struct seed_list l;
		SCOPED_BUF struct buf b;
		buf_init(&b, SEED_LIST_MAX);
		assert_int_equal(buf_append(&b, good.data, good.size), ERR_OK);
		b.data[at] ^= 0xff;
		struct digest d = sha256(b.data, b.size - sizeof d.b);
		memcpy(b.data + b.size - sizeof d.b, d.b, sizeof d.b);
		assert_int_equal(file_write_atomic(x->list, b.data, b.size, 0600), ERR_OK);
		assert_int_equal(seed_list_read(&l, x->list), ERR_OK);
		refused += l.count == 0;
		for (size_t i = 0; i < l.count; i++) {
			uint64_t sum = 0;
			for (uint32_t k = 0; k < l.records[i].entry_count; k++)
				sum += seed_record_entry(&l.records[i], k).size;
			assert_true(sum <= l.records[i].stamp.size);
		}
		seed_list_close(&l);
	}
	assert_true(refused > 10);
}

struct ender {
	struct look look;
	uint64_t after_bytes;
};

static void *end_it(void *arg)
{
	struct ender *e = arg;
	while (atomic_load(&e->look.bytes) < e->after_bytes)
		usleep(100);
	atomic_store(&e->look.ended, true);
	return NULL;
}

// A hole is read as fast as memory: a seed that takes seconds, and no room on the disk.
static void big_seed(struct lab *x, off_t size)
{
	int fd = open(x->disk, O_WRONLY | O_CREAT, 0644);
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(close(fd), 0);
	x->places.count = 2;
}

static void S001_c30_a_look_is_ended_at_once_and_goes_on_where_it_was(void **state)
{
	struct lab *x = *state;
	struct seed_source s;
	struct ender e = {.after_bytes = FILES * (uint64_t)FILE_BYTES + CHUNK_MAX};
	pthread_t thread;
	big_seed(x, (off_t)8 << 30);
	assert_int_equal(pthread_create(&thread, NULL, end_it, &e), 0);
	assert_int_equal(seed_source_open(&s, &x->places, &e.look), ERR_CLOSED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_string_equal(err_text(), "nobody waits for it any more");
	assert_null(s.chunks);
	uint64_t looked = atomic_load(&e.look.bytes);
	assert_true(looked >= e.after_bytes); // it was told while it went on
	assert_true(looked < UINT64_C(6) << 30);
	// What was hashed before is listed: only the rest is hashed.
	assert_int_equal(truncate(x->disk, FILE_BYTES), 0);
	assert_int_equal(seed_source_open(&s, &x->places, NULL), ERR_OK);
	assert_int_equal(s.file_count, FILES + 1);
	assert_int_equal(s.hashed, FILE_BYTES / CHUNK_MAX);
	seed_source_close(&s);
}

// Ended before it began: what was listed stays listed.
static void a_look_that_is_ended_forgets_nothing(void **state)
{
	struct lab *x = *state;
	struct seed_source s;
	struct look look = {.ended = true};
	uint64_t read = 0;
	(void)hashed(x, &read);
	assert_int_equal(seed_source_open(&s, &x->places, &look), ERR_CLOSED);
	assert_int_equal(hashed(x, &read), 0);
}

static void the_list_is_bounded(void **state)
{
	struct seed_draft b;
	struct seed_entry e = {.hash = 1, .size = 4096};
	struct seed_stamp stamp = {.size = 1 << 20};
	char path[1000];
	size_t count = 0;
	(void)state;
	memset(path, 'a', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	assert_int_equal(seed_list_begin(&b), ERR_OK);
	while (seed_list_add(&b, path, &stamp, &e, 1) == ERR_OK)
		count++;
	assert_true(count > 1000 && b.bytes.size <= SEED_LIST_MAX - 32);
	seed_draft_fini(&b);
	path[10] = '\0';
	assert_int_equal(seed_list_begin(&b), ERR_OK);
	for (count = 0; seed_list_add(&b, path, &stamp, &e, 1) == ERR_OK; count++)
		;
	assert_int_equal(count, SEED_FILES_MAX);
	seed_draft_fini(&b);
}

// What was listed once and what is found now are together more than a list may hold: it is one that
// can be read again, and holds what was hashed.
static void a_look_that_is_ended_keeps_a_list_that_can_be_read(void **state)
{
	struct lab *x = *state;
	struct ender e = {.after_bytes = FILES * (uint64_t)FILE_BYTES + CHUNK_MAX};
	struct seed_entry entry = {.hash = 1, .size = 4096};
	struct seed_stamp stamp = {.size = 1 << 20};
	struct seed_draft d;
	struct seed_source s;
	pthread_t thread;
	char path[40];
	assert_int_equal(seed_list_begin(&d), ERR_OK);
	for (unsigned i = 0; i < SEED_FILES_MAX; i++) {
		(void)snprintf(path, sizeof path, "/nowhere/%u", i);
		assert_int_equal(seed_list_add(&d, path, &stamp, &entry, 1), ERR_OK);
	}
	assert_int_equal(seed_list_write(&d, x->list), ERR_OK);
	seed_draft_fini(&d);
	big_seed(x, (off_t)8 << 30);
	assert_int_equal(pthread_create(&thread, NULL, end_it, &e), 0);
	assert_int_equal(seed_source_open(&s, &x->places, &e.look), ERR_CLOSED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(truncate(x->disk, FILE_BYTES), 0);
	assert_int_equal(seed_source_open(&s, &x->places, NULL), ERR_OK);
	assert_int_equal(s.file_count, FILES + 1);
	assert_int_equal(s.hashed, FILE_BYTES / CHUNK_MAX);
	seed_source_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			S001_c30_seeds_are_hashed_once, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(
			what_a_list_says_of_a_file_that_changed_is_not_believed, lab_setup,
			lab_teardown),
		cmocka_unit_test_setup_teardown(
			a_list_that_lies_serves_nothing, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(
			a_damaged_list_costs_the_time_to_hash, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(
			a_record_that_cannot_be_is_refused, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(
			S001_c30_a_look_is_ended_at_once_and_goes_on_where_it_was, lab_setup,
			lab_teardown),
		cmocka_unit_test_setup_teardown(
			a_look_that_is_ended_forgets_nothing, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(a_look_that_is_ended_keeps_a_list_that_can_be_read,
			lab_setup, lab_teardown),
		cmocka_unit_test(the_list_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
