// What the publisher saw of files decides what it reads, and never what a package is: each build is
// held against one of the same tree that remembers nothing.
#include "proto/base/clock.h"
#include "tests/unit/failing_readdir.h"
#include "tests/unit/package_helper.h"
#include "tests/unit/publisher_fixture.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define NOW 1000000

struct fixture {
	struct store_home home;
	struct seen seen; // as the rows say
	unsigned version;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	store_home_make(&f->home);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	seen_fini(&f->seen);
	store_home_drop(&f->home);
	free(f);
	return 0;
}

static void path_of(const struct fixture *f, const char *name, char out[160])
{
	snprintf(out, 160, "%s/%s", f->home.tree, name);
}

static void file_put(const struct fixture *f, const char *name, size_t size, uint64_t seed)
{
	char path[160];
	uint8_t *data = malloc(size + 8);

	assert_non_null(data);
	test_fill(data, size, seed);
	path_of(f, name, path);
	assert_int_equal(file_write_atomic(path, data, size, 0644), ERR_OK);
	free(data);
}

// In place; the file keeps its size, and the time it says it was modified.
static void file_change(const struct fixture *f, const char *name, off_t at, size_t size)
{
	char path[160];
	struct stat s;
	uint8_t *data = malloc(size + 8);
	SCOPED_FD int fd = -1;

	assert_non_null(data);
	test_fill(data, size, (uint64_t)at + 99);
	path_of(f, name, path);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &s), 0);
	assert_int_equal(pwrite(fd, data, size, at), size);
	const struct timespec times[2] = {s.st_atim, s.st_mtim};
	assert_int_equal(futimens(fd, times), 0);
	free(data);
}

// Bytes in front of what was there.
static void file_insert(const struct fixture *f, const char *name, size_t at, size_t size)
{
	SCOPED_BUF struct buf was, is;
	char path[160];

	path_of(f, name, path);
	buf_init(&was, 64 * MIB);
	buf_init(&is, 64 * MIB);
	assert_int_equal(file_read(path, &was), ERR_OK);
	assert_int_equal(buf_append(&is, was.data, at), ERR_OK);
	assert_int_equal(buf_append(&is, was.data + at / 2, size), ERR_OK);
	assert_int_equal(buf_append(&is, was.data + at, was.size - at), ERR_OK);
	assert_int_equal(file_write_atomic(path, is.data, is.size, 0644), ERR_OK);
}

struct how {
	const struct seen *seen;
	bool read_all;
	const char *version;
};

static void build(struct fixture *f, const struct how *how, struct package_built *out)
{
	struct tree t;
	SCOPED_FD int fd = open(f->home.tree, O_RDONLY | O_DIRECTORY);
	struct pack_job job = {.info = {.kind = PACKAGE_SOFTWARE,
				       .name = "app",
				       .version = how->version ? how->version : "1"},
		.root_fd = fd,
		.images = &f->home.store.images,
		.objects = &f->home.store.objects,
		.known = &f->home.store.known,
		.seen = how->seen,
		.read_all = how->read_all,
		.profile = {.zstd_level = 3, .keep_percent = 95}};

	assert_int_equal(tree_walk(fd, UINT64_MAX, &t), ERR_OK);
	struct pack_file *files = calloc(t.count, sizeof *files);
	assert_non_null(files);
	for (size_t i = 0; i < t.count; i++)
		files[i] = (struct pack_file){
			.path = t.files[i].path, .tree = &t.files[i], .size = t.files[i].size};
	job.files = files;
	job.file_count = t.count;
	if (package_build(&job, out) != ERR_OK)
		fail_msg("%s", err_text());
	free(files);
	tree_fini(&t);
}

static uint64_t tree_bytes(const struct fixture *f)
{
	struct tree t;
	SCOPED_FD int fd = open(f->home.tree, O_RDONLY | O_DIRECTORY);

	assert_int_equal(tree_walk(fd, UINT64_MAX, &t), ERR_OK);
	uint64_t bytes = t.bytes;
	tree_fini(&t);
	return bytes;
}

static void seen_again(struct fixture *f)
{
	seen_fini(&f->seen);
	assert_int_equal(seen_load(&f->home.store, "app", &f->seen), ERR_OK);
}

// As if all files had been left alone before they were read: a stamp cannot be set back.
static void settle(struct fixture *f)
{
	for (size_t i = 0; i < f->seen.count; i++)
		f->seen.files[i].settled = true;
}

// The package with what was seen, held against the package without; then it is in the store, and
// what was seen is that of now. Returns how many bytes were read.
static uint64_t pack(struct fixture *f, bool read_all)
{
	struct package_built b, plain;
	struct package p = {.kind = PACKAGE_SOFTWARE, .name = "app", .built_unix_ms = 1};
	bool existing = false;
	const struct seen_limit limit = {.bytes_max = 1 << 20, .now_unix_ms = NOW};

	if (f->seen.count == 0)
		seen_again(f);
	snprintf(p.version, sizeof p.version, "%u", ++f->version);
	build(f, &(struct how){.version = p.version}, &plain);
	build(f, &(struct how){&f->seen, read_all, p.version}, &b);
	assert_int_equal(plain.read_bytes, tree_bytes(f));
	assert_true(bytes_equal(buf_bytes(&b.manifest), buf_bytes(&plain.manifest)));
	assert_true(bytes_equal(buf_bytes(&b.index), buf_bytes(&plain.index)));
	assert_int_equal(seen_put(&f->home.store, "app", &f->seen, &b.seen, &limit), ERR_OK);
	assert_int_equal(package_add(&f->home.store, &p, &b, NULL, 0, &existing), ERR_OK);
	assert_false(existing);
	seen_again(f);
	settle(f);
	uint64_t bytes = b.read_bytes;
	package_built_fini(&b);
	package_built_fini(&plain);
	return bytes;
}

static void some_files(struct fixture *f)
{
	file_put(f, "big", 9 * MIB, 1);
	file_put(f, "empty", 0, 2);
	file_put(f, "large", 300 * 1024, 3);
	for (unsigned i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof name, "small-%02u", i);
		file_put(f, name, 5000 + i, 10 + i);
	}
}

static void an_unchanged_tree_is_not_read(void **state)
{
	struct fixture *f = *state;

	some_files(f);
	assert_int_equal(pack(f, false), tree_bytes(f));
	assert_int_equal(pack(f, false), 0);
	assert_int_equal(pack(f, true), tree_bytes(f));
	assert_int_equal(pack(f, false), 0);
}

static void a_file_that_changed_behind_its_size_and_time_is_read(void **state)
{
	struct fixture *f = *state;

	some_files(f);
	(void)pack(f, false);
	file_change(f, "big", 4 * MIB, 1000);
	assert_int_equal(pack(f, false), 9 * MIB);
	file_change(f, "large", 299 * 1024, 10);
	assert_int_equal(pack(f, false), 300 * 1024);
	file_put(f, "large", 300 * 1024, 3); // another file of this name
	assert_int_equal(pack(f, false), 300 * 1024);
	assert_int_equal(pack(f, false), 0);
}

// Small chunks stand in groups: of those that are made anew the neighbours are read too.
static void a_small_file_that_changed_is_read_with_its_neighbours(void **state)
{
	struct fixture *f = *state;

	some_files(f);
	(void)pack(f, false);
	file_put(f, "small-05", 5005, 1000);
	uint64_t bytes = pack(f, false);
	assert_in_range(bytes, 5005, 200 * 1024);
	assert_int_equal(pack(f, false), 0);
	file_put(f, "small-21", 7000, 1001);
	assert_in_range(pack(f, false), 7000, 200 * 1024);
}

static void a_file_that_was_just_written_is_read_again(void **state)
{
	struct fixture *f = *state;
	struct tree_file t = {
		.stamp = {.modified_ns = 5000 * 1000000ll, .changed_ns = 7000 * 1000000ll}};

	assert_false(seen_is_settled(&t, 7000));
	assert_false(seen_is_settled(&t, 7000 + SEEN_SETTLE_MS));
	assert_true(seen_is_settled(&t, 7001 + SEEN_SETTLE_MS));
	t.stamp.modified_ns = 9000 * 1000000ll; // in the future
	assert_false(seen_is_settled(&t, 7001 + SEEN_SETTLE_MS));
	some_files(f);
	(void)pack(f, false);
	seen_again(f); // as the rows say: written within the settling time
	for (size_t i = 0; i < f->seen.count; i++)
		assert_false(f->seen.files[i].settled);
	assert_int_equal(pack(f, false), tree_bytes(f));
}

// ---- who writes behind a stamp

// A write of the whole file that the kernel cannot end: what it is to write from the middle on is
// not there, until let_go().
struct slow_write {
	pthread_t thread;
	int fd, faults;
	uint8_t *data;
	size_t size;
};

static void *slow_main(void *arg)
{
	struct slow_write *w = arg;

	return pwrite(w->fd, w->data, w->size, 0) == (ssize_t)w->size ? w : NULL;
}

static bool slow_begin(struct slow_write *w, const char *path, size_t size)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct pollfd fault;

	*w = (struct slow_write){.size = size, .fd = open(path, O_WRONLY)};
	assert_true(w->fd >= 0);
	w->faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (w->faults < 0)
		return false;
	assert_int_equal(ioctl(w->faults, UFFDIO_API, &api), 0);
	w->data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->data, MAP_FAILED);
	test_fill(w->data, size / 2, 77);
	struct uffdio_register missing = {.range = {(uintptr_t)w->data + size / 2, size / 2},
		.mode = UFFDIO_REGISTER_MODE_MISSING};
	assert_int_equal(ioctl(w->faults, UFFDIO_REGISTER, &missing), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, slow_main, w), 0);
	fault = (struct pollfd){.fd = w->faults, .events = POLLIN};
	assert_int_equal(poll(&fault, 1, 60000), 1);
	assert_int_equal(fault.revents, POLLIN); // it has begun, and waits
	return true;
}

static void slow_let_go(struct slow_write *w)
{
	struct uffdio_zeropage zeros = {.range = {(uintptr_t)w->data + w->size / 2, w->size / 2}};
	void *done = NULL;

	assert_int_equal(ioctl(w->faults, UFFDIO_ZEROPAGE, &zeros), 0);
	assert_int_equal(pthread_join(w->thread, &done), 0);
	assert_ptr_equal(done, w);
}

static void slow_end(struct slow_write *w)
{
	if (w->data)
		munmap(w->data, w->size);
	if (w->faults >= 0)
		close(w->faults);
	close(w->fd);
}

static struct stat stat_of(const struct fixture *f, const char *name)
{
	char path[160];
	struct stat s;

	path_of(f, name, path);
	assert_int_equal(stat(path, &s), 0);
	return s;
}

static bool stamp_is(const struct fixture *f, const char *name, const struct stat *was)
{
	struct stat s = stat_of(f, name);

	return s.st_ctim.tv_sec == was->st_ctim.tv_sec &&
	       s.st_ctim.tv_nsec == was->st_ctim.tv_nsec &&
	       s.st_mtim.tv_sec == was->st_mtim.tv_sec && s.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
}

// Until the last of them is older than what settles.
static void time_pass(const struct stat *last)
{
	int64_t until = (int64_t)last->st_ctim.tv_sec * 1000 + last->st_ctim.tv_nsec / 1000000 +
			SEEN_SETTLE_MS + 50;

	while (clock_now().wall.ms < until)
		usleep(10000);
}

static void what_is_written_long_after_its_stamp_is_read(void **state)
{
	struct fixture *f = *state;
	struct slow_write w;
	char path[160];

	file_put(f, "alone", MIB, 1);
	file_put(f, "mapped", MIB, 2);
	file_put(f, "written", MIB, 3);
	path_of(f, "mapped", path);
	SCOPED_FD int fd = open(path, O_RDWR);
	uint8_t *map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	map[0] ^= 1;
	path_of(f, "written", path);
	bool slow = slow_begin(&w, path, MIB);
	const struct stat written = stat_of(f, "written");
	time_pass(&written);
	(void)pack(f, false);
	seen_again(f);                         // as the rows say
	assert_true(f->seen.files[0].settled); // the control: as it is with a file that is alone
	map[1] ^= 1;
	if (slow)
		slow_let_go(&w);
	// No time tells of the write. Of the store into the mapping one does, where its page was
	// carried to the disk with what the package put there.
	assert_true(stamp_is(f, "written", &written));
	assert_int_equal(pack(f, false), 2 * MIB);
	slow_end(&w);
	munmap(map, MIB);
	if (!slow)
		print_message("without the write: no userfaultfd here\n");
}

static void a_mapping_of_a_tmpfs_leaves_no_time(void **state)
{
	struct fixture *f = *state;
	char path[160];

	if (mount("tmpfs", f->home.tree, "tmpfs", 0, "size=4m") != 0)
		skip();
	file_put(f, "mapped", 4096, 1);
	path_of(f, "mapped", path);
	SCOPED_FD int fd = open(path, O_RDWR);
	volatile uint8_t *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t was = map[0];
	const struct stat before = stat_of(f, "mapped");
	while (clock_now().wall.ms <
		before.st_ctim.tv_sec * 1000 + before.st_ctim.tv_nsec / 1000000 + 20)
		usleep(1000);
	map[0] = was ^ 1;
	bool told = !stamp_is(f, "mapped", &before);
	bool trusted = tree_stamp_is_the_kernels(fd);
	munmap((void *)(uintptr_t)map, 4096);
	close(fd);
	fd = -1;
	assert_int_equal(umount2(f->home.tree, MNT_DETACH), 0);
	assert_false(told); // the control
	assert_false(trusted);
}

static void a_store_that_lost_an_object_makes_it_again(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	uint64_t freed = 0;

	some_files(f);
	(void)pack(f, false);
	build(f, &(struct how){&f->seen, false, "1"}, &b);
	assert_int_equal(b.read_bytes, 0);
	struct digest id = b.id;
	package_built_fini(&b);
	assert_int_equal(package_remove(&f->home.store, &id, &freed), ERR_OK);
	assert_true(freed > 9 * MIB);
	seen_again(f);
	settle(f);
	assert_int_equal(pack(f, false), tree_bytes(f)); // small ones too: their groups are new
	assert_int_equal(pack(f, false), 0);
}

static void a_group_whose_file_changed_unseen_is_refused(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	struct tree t;

	file_put(f, "a", 5000, 1);
	file_put(f, "b", 5000, 2);
	(void)pack(f, false);
	file_change(f, "a", 100, 50);
	file_put(f, "b", 5000, 3);
	SCOPED_FD int fd = open(f->home.tree, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_walk(fd, UINT64_MAX, &t), ERR_OK);
	f->seen.files[0].stamp = t.files[0].stamp; // as if no time had told
	struct pack_file files[2];
	for (size_t i = 0; i < 2; i++)
		files[i] = (struct pack_file){
			.path = t.files[i].path, .tree = &t.files[i], .size = t.files[i].size};
	struct pack_job job = {.info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = "2"},
		.files = files,
		.file_count = 2,
		.root_fd = fd,
		.images = &f->home.store.images,
		.objects = &f->home.store.objects,
		.known = &f->home.store.known,
		.seen = &f->seen};
	assert_int_equal(package_build(&job, &b), ERR_NOT_NOW);
	job.read_all = true;
	assert_int_equal(package_build(&job, &b), ERR_OK);
	package_built_fini(&b);
	tree_fini(&t);
}

static void a_folder_that_cannot_be_read_is_no_part_of_itself(void **state)
{
	struct fixture *f = *state;
	struct tree t;

	file_put(f, "a", 5000, 1);
	file_put(f, "b", 5000, 2);
	file_put(f, "c", 5000, 3);
	SCOPED_FD int fd = open(f->home.tree, O_RDONLY | O_DIRECTORY);
	listings_left = 3; // with . and .. one file at least
	enum err e = tree_walk(fd, UINT64_MAX, &t);
	listings_left = -1;
	if (e == ERR_OK)
		fail_msg("%zu of 3 files are a package", t.count);
	assert_int_equal(e, ERR_IO);
	assert_int_equal(tree_walk(fd, UINT64_MAX, &t), ERR_OK); // the control
	assert_int_equal(t.count, 3);
	tree_fini(&t);
}

// ---- marks

static void a_file_that_changed_here_and_there_is_cut_as_it_would_be_anew(void **state)
{
	struct fixture *f = *state;

	file_put(f, "big", 30 * MIB, 1);
	(void)pack(f, false);
	file_change(f, "big", 0, 100);
	file_change(f, "big", 7 * MIB, 2 * MIB);
	file_change(f, "big", 30 * MIB - 1, 1);
	assert_int_equal(pack(f, false), 30 * MIB);
	file_insert(f, "big", 11 * MIB, 5000);
	(void)pack(f, false);
	file_insert(f, "big", 0, 0);
	(void)pack(f, false);
	char path[160];
	path_of(f, "big", path);
	for (size_t size = 29 * MIB; size > 100; size = size / 2 + 17) { // ends anywhere
		assert_int_equal(truncate(path, (off_t)size), 0);
		assert_int_equal(pack(f, false), size);
		if (size / 2 + 17 >= size)
			break;
	}
}

static void file_append(const struct fixture *f, const char *name, size_t size)
{
	struct stat s;
	char path[160];

	path_of(f, name, path);
	assert_int_equal(stat(path, &s), 0);
	assert_int_equal(truncate(path, s.st_size + 1), 0);
	file_insert(f, name, (size_t)s.st_size, size - 1);
}

// How long a chunk is may follow from where the file ends.
static void a_file_that_ends_elsewhere_is_cut_as_it_would_be_anew(void **state)
{
	static const size_t behind[] = {0, 1, 1000, 40000};
	struct fixture *f = *state;
	char path[160];

	file_put(f, "big", 3 * MIB, 5);
	path_of(f, "big", path);
	for (size_t more = 1; more < MIB; more *= 7) {
		(void)pack(f, false);
		file_append(f, "big", more); // the last chunk of before goes on
	}
	(void)pack(f, false);
	while (f->seen.files[0].chunk_count > 2) {
		const struct seen_file *now = &f->seen.files[0];
		uint64_t end = now->size - now->chunks[now->chunk_count - 1].size -
			       now->chunks[now->chunk_count - 2].size;
		for (size_t i = 4; i-- > 0;) { // a little behind the end of a chunk, and there
			assert_int_equal(truncate(path, (off_t)(end + behind[i])), 0);
			assert_int_equal(pack(f, false), end + behind[i]);
		}
	}
}

// The control of the ones above: marks are what chunks are known by.
static void what_a_mark_says_is_taken(void **state)
{
	struct fixture *f = *state;
	struct package_built b, plain;

	file_put(f, "big", 9 * MIB, 1);
	(void)pack(f, false);
	struct seen_chunk *c = &f->seen.files[0].chunks[3];
	const struct digest other = sha256("", 0);
	struct digest own = c->sha256;
	SCOPED_BUF struct buf all;
	char path[160];
	size_t at = 0;

	path_of(f, "big", path);
	buf_init(&all, 64 * MIB);
	assert_int_equal(file_read(path, &all), ERR_OK);
	for (size_t i = 0; i < 3; i++)
		at += f->seen.files[0].chunks[i].size;
	struct onetime_mac *m = onetime_mac_new();
	c->sha256 = other; // a row that lies, with the right key
	c->mark = seen_mark(m, &f->seen.key, &other, bytes_of(all.data + at, c->size));
	build(f, &(struct how){0}, &plain);
	build(f, &(struct how){&f->seen, true, NULL}, &b);
	assert_false(bytes_equal(buf_bytes(&b.manifest), buf_bytes(&plain.manifest)));
	package_built_fini(&b);
	// With another key it is not believed, nor is a mark of another chunk.
	struct key32 key = f->seen.key;
	key.b[0] ^= 1;
	c->mark = seen_mark(m, &key, &other, bytes_of(all.data + at, c->size));
	build(f, &(struct how){&f->seen, true, NULL}, &b);
	assert_true(bytes_equal(buf_bytes(&b.manifest), buf_bytes(&plain.manifest)));
	package_built_fini(&b);
	c->sha256 = own;
	c->mark.b[15] ^= 1;
	build(f, &(struct how){&f->seen, true, NULL}, &b);
	assert_true(bytes_equal(buf_bytes(&b.manifest), buf_bytes(&plain.manifest)));
	package_built_fini(&b);
	package_built_fini(&plain);
	onetime_mac_free(m);
}

static void a_mark_is_poly1305(void **state)
{
	// RFC 8439, 2.5.2
	static const char key_hex[] =
		"85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b";
	static const char text[] = "Cryptographic Forum Research Group";
	struct onetime_mac *m = onetime_mac_new();
	struct key32 key;
	char hex[33];

	(void)state;
	assert_int_equal(hex_decode(key_hex, key.b, sizeof key.b), ERR_OK);
	for (int i = 0; i < 2; i++) { // the second is not touched by the first
		struct id16 tag = onetime_mac(m, &key, text, strlen(text));
		hex_encode(tag.b, sizeof tag.b, hex);
		assert_string_equal(hex, "a8061dc1305136c6c22b8baf0c0127a9");
	}
	onetime_mac_free(m);
}

// ---- rows

static void one_seen(
	struct fixture *f, const char *name, const char *path, int64_t used, uint64_t bytes_max)
{
	struct seen before, now;
	struct seen_chunk chunks[2] = {{.size = CHUNK_MIN}, {.size = 1}};
	const struct seen_file file = {.path = (char *)(uintptr_t)path,
		.size = CHUNK_MIN + 1,
		.settled = true,
		.chunks = chunks,
		.chunk_count = 2};
	const struct seen_limit limit = {.bytes_max = bytes_max, .now_unix_ms = used};

	seen_init(&before);
	seen_init(&now);
	assert_int_equal(seen_load(&f->home.store, name, &before), ERR_OK);
	assert_int_equal(seen_add(&now, &file), ERR_OK);
	assert_int_equal(
		store_end(&f->home.store, seen_put(&f->home.store, name, &before, &now, &limit)),
		ERR_OK);
	seen_fini(&before);
	seen_fini(&now);
}

static size_t seen_count(struct fixture *f, const char *name)
{
	struct seen s;

	seen_init(&s);
	assert_int_equal(seen_load(&f->home.store, name, &s), ERR_OK);
	size_t count = s.count;
	seen_fini(&s);
	return count;
}

static void what_is_longest_unused_is_forgotten(void **state)
{
	struct fixture *f = *state;

	one_seen(f, "a", "x", 1, 1000);
	one_seen(f, "b", "x", 2, 1000);
	one_seen(f, "a", "x", 3, 1000);
	one_seen(f, "c", "x", 4, 600); // room for two
	assert_int_equal(seen_count(f, "a"), 1);
	assert_int_equal(seen_count(f, "b"), 0);
	assert_int_equal(seen_count(f, "c"), 1);
	one_seen(f, "a", "y", 5, 600); // x is gone from the tree
	assert_int_equal(seen_count(f, "a"), 1);
	one_seen(f, "d", "x", 6, 100); // more than there is room for at all
	assert_int_equal(seen_count(f, "a") + seen_count(f, "c") + seen_count(f, "d"), 0);
}

static void a_row_that_cannot_be_is_as_if_it_were_not_there(void **state)
{
	struct fixture *f = *state;

	one_seen(f, "a", "x", 1, 1000);
	assert_int_equal(seen_count(f, "a"), 1);
	assert_int_equal(db_run_values(f->home.store.db,
				 "UPDATE seen_file SET size_bytes = size_bytes + 1", NULL, 0),
		ERR_OK);
	assert_int_equal(seen_count(f, "a"), 0);
	assert_int_equal(db_run_values(f->home.store.db,
				 "UPDATE seen_file SET size_bytes = size_bytes - 1,"
				 " chunks = substr(chunks, 2)",
				 NULL, 0),
		ERR_OK);
	assert_int_equal(seen_count(f, "a"), 0);
	assert_int_equal(store_end(&f->home.store, ERR_OK), ERR_OK);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_unchanged_tree_is_not_read),
		T(a_file_that_changed_behind_its_size_and_time_is_read),
		T(a_small_file_that_changed_is_read_with_its_neighbours),
		T(a_file_that_was_just_written_is_read_again),
		T(what_is_written_long_after_its_stamp_is_read),
		T(a_mapping_of_a_tmpfs_leaves_no_time),
		T(a_store_that_lost_an_object_makes_it_again),
		T(a_group_whose_file_changed_unseen_is_refused),
		T(a_file_that_changed_here_and_there_is_cut_as_it_would_be_anew),
		T(a_file_that_ends_elsewhere_is_cut_as_it_would_be_anew),
		T(what_a_mark_says_is_taken),
		T(a_folder_that_cannot_be_read_is_no_part_of_itself),
		cmocka_unit_test(a_mark_is_poly1305),
		T(what_is_longest_unused_is_forgotten),
		T(a_row_that_cannot_be_is_as_if_it_were_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
