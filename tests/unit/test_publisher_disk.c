// A disk that loses what it was given: an ext2 on a loop device whose file has no room any more, so
// that the kernel's writes fail behind everybody's back. Skipped where none can be mounted.
#include "tests/unit/package_helper.h"

#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/blob_store.h"
#include "server/publisher/packager.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

struct fixture {
	char dir[64], ram[80], disk[80], tree[80];
	struct blob_store blobs;
};

static bool run(const char *const *words)
{
	int status = -1;
	pid_t pid;

	if (posix_spawnp(&pid, words[0], NULL, NULL, (char *const *)(uintptr_t)words, environ) != 0)
		return false;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

// 32 MiB that are not there: what is written takes room of the 12 MiB below.
static bool disk_mount(const struct fixture *f)
{
	char image[100];

	snprintf(image, sizeof image, "%s/image", f->ram);
	if (mount("tmpfs", f->ram, "tmpfs", 0, "size=12m") != 0)
		return false;
	SCOPED_FD int fd = open(image, O_RDWR | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 32 * MIB), 0);
	return run((const char *const[]){"mkfs.ext2", "-q", "-F", image, NULL}) &&
	       run((const char *const[]){"mount", "-o", "loop", image, f->disk, NULL});
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char objects[100];

	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/helio-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->ram, sizeof f->ram, "%s/ram", f->dir);
	snprintf(f->disk, sizeof f->disk, "%s/disk", f->dir);
	snprintf(f->tree, sizeof f->tree, "%s/tree", f->dir);
	assert_int_equal(dir_make(f->ram), ERR_OK);
	assert_int_equal(dir_make(f->disk), ERR_OK);
	assert_int_equal(dir_make(f->tree), ERR_OK);
	*state = f;
	if (!disk_mount(f))
		return 0;
	snprintf(objects, sizeof objects, "%s/objects", f->disk);
	assert_int_equal(blob_store_open(&f->blobs, objects), ERR_OK);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)umount2(f->disk, MNT_DETACH);
	(void)umount2(f->ram, MNT_DETACH);
	assert_int_equal(tree_remove(f->dir), ERR_OK);
	free(f);
	return 0;
}

static int sync_anew(const char *dir)
{
	SCOPED_FD int fd = open(dir, O_RDONLY | O_DIRECTORY);

	assert_true(fd >= 0);
	return syncfs(fd);
}

static void room_take(const struct fixture *f)
{
	static const char zeros[65536];
	char path[100];

	snprintf(path, sizeof path, "%s/filler", f->ram);
	SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(sync_anew(f->disk), 0);
	while (write(fd, zeros, sizeof zeros) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

// As the kernel words it: some say why.
static bool is_lost(enum err e)
{
	return e == ERR_IO || e == ERR_NO_SPACE;
}

static void what_others_heard_of_is_heard_too(void **state)
{
	struct fixture *f = *state;
	SCOPED_FREE uint8_t *data = malloc(4 * MIB);
	SCOPED_FD int watch = -1;
	struct digest name;

	if (!f->blobs.dir[0])
		skip();
	assert_non_null(data);
	test_fill(data, 4 * MIB, 1);
	name = sha256(data, 4 * MIB);
	assert_int_equal(blob_watch(&f->blobs, &watch), ERR_OK);
	assert_int_equal(blob_sync(&f->blobs, watch), ERR_OK);
	room_take(f);
	assert_int_equal(blob_put(&f->blobs, &name, bytes_of(data, 4 * MIB)), ERR_OK);
	assert_int_equal(sync_anew(f->disk), -1);
	assert_int_equal(sync_anew(f->disk), 0); // the control: who comes later hears nothing
	assert_true(is_lost(blob_sync(&f->blobs, watch)));
	assert_int_equal(blob_sync(&f->blobs, watch), ERR_OK); // told once
}

struct nosy {
	const char *dir;
	atomic_bool over;
	unsigned heard;
};

static void *nosy_main(void *arg)
{
	struct nosy *n = arg;

	while (!n->over)
		n->heard += sync_anew(n->dir) != 0;
	return NULL;
}

static enum err build(const struct fixture *f)
{
	struct package_built b;
	struct known known;
	struct tree t;
	SCOPED_FD int fd = open(f->tree, O_RDONLY | O_DIRECTORY);

	known_init(&known);
	assert_int_equal(tree_walk(fd, UINT64_MAX, &t), ERR_OK);
	const struct pack_file file = {
		.path = t.files[0].path, .tree = &t.files[0], .size = t.files[0].size};
	struct blob_store objects = f->blobs;
	const struct pack_job job = {
		.info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = "1"},
		.files = &file,
		.file_count = 1,
		.root_fd = fd,
		.images = &objects,
		.objects = &objects,
		.known = &known};
	enum err e = package_build(&job, &b);
	if (e == ERR_OK)
		package_built_fini(&b);
	tree_fini(&t);
	return e;
}

static void a_package_is_not_built_where_others_hear_that_it_was_lost(void **state)
{
	struct fixture *f = *state;
	SCOPED_FREE uint8_t *data = malloc(6 * MIB);
	struct nosy nosy = {.dir = f->disk};
	char path[100];
	pthread_t thread;

	if (!f->blobs.dir[0])
		skip();
	assert_non_null(data);
	test_fill(data, 6 * MIB, 2);
	snprintf(path, sizeof path, "%s/app", f->tree);
	assert_int_equal(file_write_atomic(path, data, 64 * 1024, 0644), ERR_OK);
	if (build(f) != ERR_OK) // the control: as long as there is room
		fail_msg("%s", err_text());
	assert_int_equal(file_write_atomic(path, data, 6 * MIB, 0644), ERR_OK);
	room_take(f);
	assert_int_equal(pthread_create(&thread, NULL, nosy_main, &nosy), 0);
	enum err e = build(f);
	nosy.over = true;
	assert_int_equal(pthread_join(thread, NULL), 0);
	print_message("somebody else heard of it %u times\n", nosy.heard);
	assert_true(is_lost(e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_others_heard_of_is_heard_too, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_package_is_not_built_where_others_hear_that_it_was_lost, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
