// The first pass of the packager works in batches and with several threads: what comes out is what
// one reading of each file by itself gives.
#include "proto/base/file.h"
#include "server/publisher/crew.h"
#include "server/publisher/packager.h"
#include "tests/unit/package_helper.h"
#include "tests/unit/publisher_fixture.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

struct fixture {
	struct object_home at;
	char home[96];
	struct test_package expected;
	struct test_keys keys;
	struct tree tree;
	struct pack_file files[PACKAGE_FILES];
	struct pack_job job;
	struct package_built built;
	int fd;
};

static void fixture_begin(struct fixture *f)
{
	memset(f, 0, sizeof *f);
	object_home_make(&f->at);
	snprintf(f->home, sizeof f->home, "%s/home", f->at.dir);
	assert_int_equal(dir_make(f->home), ERR_OK);
	test_keys_init(&f->keys);
	f->fd = -1;
}

static void fixture_end(struct fixture *f)
{
	package_built_fini(&f->built);
	test_package_free(&f->expected);
	test_keys_fini(&f->keys);
	tree_fini(&f->tree);
	if (f->fd >= 0)
		close(f->fd);
	object_home_drop(&f->at);
}

// One more file, of noise, or of zeros; in ascending order of names.
static void file_put(struct fixture *f, size_t size, bool zeros)
{
	char name[32], path[160];

	snprintf(name, sizeof name, "file-%04zu", f->expected.file_count);
	struct test_file *t =
		test_package_add(&f->expected, name, size, f->expected.file_count + 1);
	if (zeros)
		memset(t->data, 0, size);
	t->executable = true;
	snprintf(path, sizeof path, "%s/%s", f->home, name);
	assert_int_equal(file_write_atomic(path, t->data, size, 0755), ERR_OK);
}

static enum err build(struct fixture *f)
{
	f->fd = open(f->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(tree_walk(f->fd, UINT64_MAX, &f->tree), ERR_OK);
	for (size_t i = 0; i < f->tree.count; i++)
		f->files[i] = (struct pack_file){.path = f->tree.files[i].path,
			.tree = &f->tree.files[i],
			.size = f->tree.files[i].size};
	f->job =
		(struct pack_job){.info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = "1"},
			.root_fd = f->fd,
			.images = &f->at.images,
			.objects = &f->at.objects,
			.known = &f->at.known,
			.files = f->files,
			.file_count = f->tree.count,
			.profile = {.zstd_level = 3, .keep_percent = 95}};
	return package_build(&f->job, &f->built);
}

static uint64_t objects_on_disk(const struct fixture *f, size_t *count)
{
	uint64_t bytes = 0;

	*count = 0;
	for (unsigned i = 0; i < 256; i++) {
		char path[128];
		snprintf(path, sizeof path, "%s/objects/%02x", f->at.dir, i);
		DIR *d = opendir(path);
		for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
			struct stat s;
			if (e->d_name[0] == '.')
				continue;
			assert_int_equal(fstatat(dirfd(d), e->d_name, &s, 0), 0);
			bytes += (uint64_t)s.st_size;
			++*count;
		}
		if (d)
			closedir(d);
	}
	return bytes;
}

static void test_files_over_many_batches_make_the_package_that_each_by_itself_makes(void **state)
{
	struct fixture f;
	const struct manifest info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = "1"};
	size_t count = 0;

	(void)state;
	fixture_begin(&f);
	file_put(&f, 0, false);
	file_put(&f, 8 * MIB, false); // a batch
	file_put(&f, 17 * MIB + 1, false);
	file_put(&f, 7 * MIB, false); // little room is left behind it
	file_put(&f, 1 * MIB, false);
	for (int i = 0; i < 300; i++) // more than a batch has room for
		file_put(&f, (size_t)(i * 7) % 900, false);
	file_put(&f, 9 * MIB, false);
	assert_int_equal(build(&f), ERR_OK);
	test_package_build(&f.expected, &f.keys, &info);
	assert_memory_equal(f.built.id.b, f.expected.id.b, sizeof f.built.id.b);
	assert_int_equal(objects_on_disk(&f, &count), f.built.new_bytes);
	assert_int_equal(count, f.built.fresh.object_count);
	assert_int_equal(count, f.built.objects.object_count);
	fixture_end(&f);
}

static void test_a_chunk_that_a_batch_has_many_times_is_one_object(void **state)
{
	struct fixture f;
	size_t count = 0;

	(void)state;
	fixture_begin(&f);
	file_put(&f, 24 * MIB, true);
	assert_int_equal(build(&f), ERR_OK);
	assert_int_equal(f.built.chunk_count <= 2, 1);
	assert_int_equal(objects_on_disk(&f, &count), f.built.new_bytes);
	assert_int_equal(count, f.built.objects.object_count);
	assert_true(count <= 4); // one or two chunks, a page, its index
	fixture_end(&f);
}

static void test_a_file_that_changed_leaves_nothing_behind(void **state)
{
	struct fixture f;
	char path[160];
	size_t count = 0;

	(void)state;
	fixture_begin(&f);
	file_put(&f, 10 * MIB, false);
	file_put(&f, 9 * MIB, false);
	assert_int_equal(build(&f), ERR_OK);
	package_built_undo(&f.job, &f.built);
	package_built_fini(&f.built);
	(void)objects_on_disk(&f, &count);
	assert_int_equal(count, 0);
	f.files[1].size++; // as if it had been longer when it was listed
	assert_int_equal(package_build(&f.job, &f.built), ERR_NOT_NOW);
	(void)objects_on_disk(&f, &count);
	assert_int_equal(count, 0);
	snprintf(path, sizeof path, "%s/file-0001", f.home);
	assert_int_equal(unlink(path), 0); // read while the first is worked on
	assert_int_equal(package_build(&f.job, &f.built), ERR_NOT_FOUND);
	(void)objects_on_disk(&f, &count);
	assert_int_equal(count, 0);
	fixture_end(&f);
}

// ---- crew

struct tally {
	_Atomic unsigned done[1000];
	_Atomic unsigned members;
};

static void tally_step(void *ctx, size_t step, size_t member)
{
	struct tally *t = ctx;

	t->done[step]++;
	t->members |= 1u << member;
}

static void test_a_crew_does_each_step_once_and_is_through_when_it_returns(void **state)
{
	static struct tally t;
	struct crew *c = NULL;

	(void)state;
	assert_int_equal(crew_new(CREW_MAX, &c), ERR_OK);
	for (unsigned round = 1; round <= 50; round++) {
		crew_run(c, round == 25 ? 0 : 1000, tally_step, &t);
		for (size_t i = 0; i < 1000; i++)
			assert_int_equal(t.done[i], round < 25 ? round : round - 1);
	}
	assert_true(t.members < 1u << crew_size(c));
	crew_free(c);
	assert_int_equal(crew_new(1, &c), ERR_OK);
	assert_int_equal(crew_size(c), 1);
	crew_run(c, 1, tally_step, &t);
	assert_int_equal(t.done[0], 50);
	crew_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_files_over_many_batches_make_the_package_that_each_by_itself_makes),
		cmocka_unit_test(test_a_chunk_that_a_batch_has_many_times_is_one_object),
		cmocka_unit_test(test_a_file_that_changed_leaves_nothing_behind),
		cmocka_unit_test(test_a_crew_does_each_step_once_and_is_through_when_it_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
