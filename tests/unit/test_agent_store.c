// The depot on disk: what is staged, resumed, found on the device, installed, switched and
// recovered, with the process ending before every single step.
#include "client/display_side.h"
#include "client/installer.h"
#include "client/staging.h"
#include "tests/unit/failing_readdir.h"
#include "tests/unit/package_helper.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

// A file system that does not tell A from a, below files/: as vfat, or ext4 that folds case.
static bool folds_case;

int open(const char *path, int flags, ...)
{
	char folded[PATH_MAX];
	mode_t mode = 0;
	va_list args;
	va_start(args, flags);
	if ((flags & O_CREAT) != 0)
		mode = va_arg(args, mode_t);
	va_end(args);
	(void)str_copy(folded, sizeof folded, path);
	char *at = folds_case ? strstr(folded, "/files/") : NULL;
	for (; at != NULL && *at != '\0'; at++)
		*at = (char)tolower((unsigned char)*at);
	return (int)syscall(SYS_openat, AT_FDCWD, folded, flags, mode);
}

// A file system without links, as vfat; or a file that has as many as it may.
static bool has_no_links;

int link(const char *from, const char *to)
{
	if (!has_no_links)
		return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
	errno = EPERM;
	return -1;
}

struct lab {
	char dir[200];
	struct test_keys keys;
	struct depot depot;
	struct test_package v1, v2;
};

static int lab_setup(void **state)
{
	struct lab *x = calloc(1, sizeof *x);
	char dir[] = "/tmp/helio-unit-XXXXXX";
	assert_non_null(mkdtemp(dir));
	assert_true(str_copy(x->dir, sizeof x->dir, dir));
	test_keys_init(&x->keys);
	assert_int_equal(depot_open(&x->depot, x->dir, &x->keys.root), ERR_OK);
	// v2 keeps a, changes b, renames c, adds d; e stands twice.
	test_package_add(&x->v1, "a.jpg", 300000, 1);
	test_package_add(&x->v1, "b.jpg", 2000000, 2);
	test_package_add(&x->v1, "c.jpg", 50000, 3);
	test_package_add(&x->v1, "empty.jpg", 0, 0);
	test_package_add(&x->v1, "sub/e.jpg", 700000, 5);
	test_package_add(&x->v1, "sub/f.jpg", 700000, 5);
	struct manifest info = {.kind = PACKAGE_IMAGES, .name = "spring", .version = "1"};
	test_package_build(&x->v1, &x->keys, &info);
	test_package_add(&x->v2, "a.jpg", 300000, 1);
	struct test_file *b = test_package_add(&x->v2, "b.jpg", 2000000, 2);
	memset(b->data + 900000, 0x55, 10000);
	test_package_add(&x->v2, "c2.jpg", 50000, 3);
	test_package_add(&x->v2, "d.jpg", 120000, 4);
	info.version = "2";
	test_package_build(&x->v2, &x->keys, &info);
	install_step_hook = NULL;
	*state = x;
	return 0;
}

static int lab_teardown(void **state)
{
	struct lab *x = *state;
	test_package_free(&x->v1);
	test_package_free(&x->v2);
	test_keys_fini(&x->keys);
	install_step_hook = NULL;
	enum err e = tree_remove(x->dir);
	free(x);
	return e == ERR_OK ? 0 : -1;
}

struct staged {
	struct staging s;
	struct arena head, page;
	struct manifest m;
	struct page_carry carry;
	uint32_t fetched; // chunks that were not on the device
};

static enum err stage_begin(struct lab *x, const struct test_package *p, struct staged *t)
{
	*t = (struct staged){0};
	arena_init(&t->head, 4 * 1024 * 1024, 100000);
	arena_init(&t->page, 16 * 1024 * 1024, 200000);
	TRY(manifest_open(&x->keys.root, buf_bytes(&p->envelope), &p->id, &t->head, &t->m));
	const struct staging_order order = {
		.id = p->id, .manifest = &t->m, .envelope = buf_bytes(&p->envelope)};
	return staging_open(&t->s, &x->depot, &order);
}

static void stage_end(struct staged *t)
{
	staging_close(&t->s);
	arena_fini(&t->head);
	arena_fini(&t->page);
}

// Fetches like the fetcher does, but from memory; at most `max` chunks.
static enum err stage_fill(const struct test_package *p, struct staged *t, uint32_t max)
{
	for (uint32_t n = 0; n < t->m.page_count; n++) {
		struct staged_page page;
		struct staging_pen pen = STAGING_PEN;
		if (n >= t->s.page_known)
			TRY(staging_put_page(&t->s, n, p->pages[n].bytes));
		arena_reset(&t->page);
		TRY(staging_begin_page(&t->s, n, &t->page, &t->carry, &page));
		for (uint32_t c = 0; c < page.plan.chunk_count; c++) {
			if (staging_has_chunk(&t->s, n, c))
				continue;
			if (t->fetched == max)
				return ERR_TIMEOUT;
			const struct test_object *o =
				test_object_find(p, &page.plan.chunks[c].sha256);
			enum err e = staging_write(&t->s, &page, &pen, c, 1, o->bytes);
			staging_pen_close(&pen);
			TRY(e);
			staging_mark(&t->s, n, c);
			t->fetched++;
		}
	}
	return page_carry_finish(&t->carry, &t->m);
}

static enum err stage_install(struct lab *x, struct staged *t)
{
	TRY(install_seal(&x->depot, &t->s.id, &t->m));
	TRY(install_rename(&x->depot, &t->s.id));
	TRY(depot_activate(&x->depot, t->m.kind, t->m.name, &t->s.id));
	return depot_scan(&x->depot);
}

static enum err install(struct lab *x, const struct test_package *p, uint32_t *fetched)
{
	struct staged t;
	enum err e = stage_begin(x, p, &t);
	if (e == ERR_OK)
		e = stage_fill(p, &t, UINT32_MAX);
	if (e == ERR_OK)
		e = stage_install(x, &t);
	if (fetched != NULL)
		*fetched = t.fetched;
	stage_end(&t);
	return e;
}

static void assert_files(struct lab *x, const struct test_package *p)
{
	char rest[200], path[DEPOT_PATH];
	struct buf b;
	for (size_t i = 0; i < p->file_count; i++) {
		struct stat st;
		(void)snprintf(rest, sizeof rest, "files/%s", p->files[i].path);
		depot_package_path(&x->depot, &p->id, rest, path);
		buf_init(&b, 8 * 1024 * 1024);
		assert_int_equal(file_read(path, &b), ERR_OK);
		assert_int_equal(b.size, p->files[i].size);
		if (b.size != 0)
			assert_memory_equal(b.data, p->files[i].data, b.size);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, p->files[i].executable ? 0555 : 0444);
		buf_fini(&b);
	}
}

static void assert_current(struct lab *x, const struct test_package *p)
{
	struct digest id;
	assert_int_equal(
		depot_slot(&x->depot, PACKAGE_IMAGES, "spring", SLOT_CURRENT, &id), ERR_OK);
	assert_true(digest_equal(&id, &p->id));
	assert_files(x, p);
}

// ----

static void an_installed_package_is_byte_for_byte_what_was_signed(void **state)
{
	struct lab *x = *state;
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	assert_current(x, &x->v1);
	assert_non_null(depot_find(&x->depot, &x->v1.id));
	struct digest id;
	assert_int_equal(
		depot_slot(&x->depot, PACKAGE_IMAGES, "spring", SLOT_PREVIOUS, &id), ERR_NOT_FOUND);
}

static void chunks_that_stand_twice_are_fetched_once(void **state)
{
	struct lab *x = *state;
	uint32_t fetched;
	assert_int_equal(install(x, &x->v1, &fetched), ERR_OK);
	struct arena a;
	struct manifest m;
	arena_init(&a, 1024 * 1024, 10000);
	assert_int_equal(depot_manifest(&x->depot, &x->v1.id, &a, &m), ERR_OK);
	assert_int_equal(fetched, m.chunk_count); // distinct chunks, e and f share theirs
	arena_fini(&a);
}

static void a_new_version_takes_what_it_shares_from_the_old_one(void **state)
{
	struct lab *x = *state;
	uint32_t fetched;
	struct stat a1, a2;
	char path[DEPOT_PATH];
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	assert_int_equal(install(x, &x->v2, &fetched), ERR_OK);
	assert_current(x, &x->v2);
	// Only d and the changed stretch of b.
	assert_in_range(fetched, 2, 5);
	depot_package_path(&x->depot, &x->v1.id, "files/a.jpg", path);
	assert_int_equal(stat(path, &a1), 0);
	depot_package_path(&x->depot, &x->v2.id, "files/a.jpg", path);
	assert_int_equal(stat(path, &a2), 0);
	assert_int_equal(a1.st_ino, a2.st_ino);
	assert_files(x, &x->v1);
	struct digest id;
	assert_int_equal(
		depot_slot(&x->depot, PACKAGE_IMAGES, "spring", SLOT_PREVIOUS, &id), ERR_OK);
	assert_true(digest_equal(&id, &x->v1.id));
	// And back, with nothing to fetch.
	assert_int_equal(depot_activate(&x->depot, PACKAGE_IMAGES, "spring", &x->v1.id), ERR_OK);
	assert_current(x, &x->v1);
}

// Who is not root cannot open a sealed file for writing, and a linked one is the installed
// package's too: an attempt that goes on must not give it other rights.
static void what_an_attempt_links_keeps_its_rights(void **state)
{
	bool root = geteuid() == 0;
	struct staged t;
	struct stat st;
	char path[DEPOT_PATH];
	void *mine = NULL;
	(void)state;
	assert_int_equal(root ? seteuid(65534) : 0, 0);
	assert_int_equal(lab_setup(&mine), 0);
	struct lab *x = mine;
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(stage_begin(x, &x->v2, &t), ERR_OK);
		assert_int_equal(stage_fill(&x->v2, &t, 0), ERR_TIMEOUT);
		stage_end(&t);
		depot_package_path(&x->depot, &x->v1.id, "files/a.jpg", path);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_nlink, 2);
		assert_files(x, &x->v1);
	}
	assert_int_equal(install(x, &x->v2, NULL), ERR_OK);
	assert_current(x, &x->v2);
	assert_files(x, &x->v1);
	assert_int_equal(lab_teardown(&mine), 0);
	assert_int_equal(root ? seteuid(0) : 0, 0);
}

// An attempt holds the first chunk of a.jpg when v1, with the whole of it, comes to lie beside it.
static void where_no_links_are_what_stood_there_is_kept(void **state)
{
	struct lab *x = *state;
	struct staged t;
	uint32_t fetched;
	assert_int_equal(stage_begin(x, &x->v2, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v2, &t, 1), ERR_TIMEOUT);
	stage_end(&t);
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	has_no_links = true;
	enum err e = install(x, &x->v2, &fetched);
	has_no_links = false;
	assert_int_equal(e, ERR_OK);
	assert_current(x, &x->v2);
	assert_in_range(fetched, 2, 5); // copied where it cannot be linked
	assert_files(x, &x->v1);
}

static void a_rotten_base_is_not_copied(void **state)
{
	struct lab *x = *state;
	char path[DEPOT_PATH];
	uint32_t fetched;
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	depot_package_path(&x->depot, &x->v1.id, "files/a.jpg", path);
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "rot", 3, 1000), 3);
	close(fd);
	assert_int_equal(install(x, &x->v2, &fetched), ERR_OK);
	assert_current(x, &x->v2);
}

static void what_stands_after_a_kill_is_not_fetched_again(void **state)
{
	struct lab *x = *state;
	struct staged t;
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_false(t.s.resumed);
	assert_int_equal(stage_fill(&x->v1, &t, 6), ERR_TIMEOUT);
	stage_end(&t);
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_true(t.s.resumed);
	assert_int_equal(t.s.have, 6);
	uint32_t total = t.s.page_first[t.m.page_count];
	assert_int_equal(stage_fill(&x->v1, &t, UINT32_MAX), ERR_OK);
	assert_int_equal(t.fetched, total - 6);
	assert_int_equal(stage_install(x, &t), ERR_OK);
	stage_end(&t);
	assert_current(x, &x->v1);
}

// An attempt at v1 in staging, one chunk of what v2 shares with it damaged: v2 takes the rest.
static void S001_c30_a_new_version_takes_what_an_interrupted_attempt_holds(void **state)
{
	struct lab *x = *state;
	struct staged t;
	char path[DEPOT_PATH];
	struct stat st;
	uint32_t fetched;
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, 6), ERR_TIMEOUT);
	uint32_t total = t.s.page_first[t.m.page_count];
	stage_end(&t);
	assert_true(total > 8);
	depot_staging_path(&x->depot, &x->v1.id, "files/a.jpg", path);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "rot", 3, 1000), 3);
	close(fd);
	assert_int_equal(stage_begin(x, &x->v2, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v2, &t, UINT32_MAX), ERR_OK);
	uint32_t all = t.s.page_first[t.m.page_count];
	assert_true(t.fetched < all);
	uint32_t taken = all - t.fetched;
	assert_in_range(taken, 2, 5); // the damaged one is not among them
	assert_int_equal(stage_install(x, &t), ERR_OK);
	stage_end(&t);
	assert_current(x, &x->v2);
	// Copied, not linked: the attempt may be written again without touching the package.
	depot_package_path(&x->depot, &x->v2.id, "files/a.jpg", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_nlink, 1);
	// Control: without the attempt everything is fetched.
	assert_int_equal(staging_drop(&x->depot, &x->v1.id), ERR_OK);
	depot_package_path(&x->depot, &x->v2.id, "", path);
	assert_int_equal(tree_remove(path), ERR_OK);
	assert_int_equal(depot_scan(&x->depot), ERR_OK);
	assert_int_equal(install(x, &x->v2, &fetched), ERR_OK);
	assert_int_equal(fetched, all);
	assert_current(x, &x->v2);
}

// The files of v1 as a device was made with them: under other names, one with a byte more, one
// behind a link.
static void seeds_make(struct lab *x, char *folder, size_t size)
{
	const struct test_file *f = x->v1.files;
	char path[300], link[300];
	assert_true((size_t)snprintf(folder, size, "%s/made-with", x->dir) < size);
	(void)snprintf(path, sizeof path, "%s/deep", folder);
	assert_int_equal(dir_make(path), ERR_OK);
	(void)snprintf(path, sizeof path, "%s/deep/one", folder);
	assert_int_equal(file_write_atomic(path, f[0].data, f[0].size, 0644), ERR_OK);
	(void)snprintf(path, sizeof path, "%s/two", folder);
	uint8_t *grown = malloc(f[1].size + 1);
	assert_non_null(grown);
	grown[0] = 7; // where it is cut follows the content
	memcpy(grown + 1, f[1].data, f[1].size);
	assert_int_equal(file_write_atomic(path, grown, f[1].size + 1, 0644), ERR_OK);
	free(grown);
	(void)snprintf(path, sizeof path, "%s/outside", x->dir);
	assert_int_equal(file_write_atomic(path, f[4].data, f[4].size, 0644), ERR_OK);
	(void)snprintf(link, sizeof link, "%s/linked", folder);
	assert_int_equal(symlink(path, link), 0);
}

static void S001_c30_what_no_package_installed_serves_too(void **state)
{
	struct lab *x = *state;
	char folder[250], nowhere[] = "/nowhere/at/all";
	char *seeds[2] = {nowhere, folder};
	struct staged t;
	seeds_make(x, folder, sizeof folder);
	x->depot.seeds = seeds;
	x->depot.seed_count = 2;
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, UINT32_MAX), ERR_OK);
	uint32_t all = t.s.page_first[t.m.page_count], with = t.fetched;
	assert_true(t.s.copied_bytes >= 300000 + 1200000); // the first, and most of the second
	assert_true(t.s.copied_bytes <= 2300000);          // not what is behind a link
	assert_int_equal(t.s.seeds.file_count, 2);
	assert_int_equal(stage_install(x, &t), ERR_OK);
	stage_end(&t);
	assert_current(x, &x->v1);
	// Control: without seeds everything is fetched.
	char path[DEPOT_PATH];
	depot_package_path(&x->depot, &x->v1.id, "", path);
	assert_int_equal(tree_remove(path), ERR_OK);
	assert_int_equal(depot_scan(&x->depot), ERR_OK);
	x->depot.seed_count = 0;
	uint32_t fetched = 0;
	assert_int_equal(install(x, &x->v1, &fetched), ERR_OK);
	assert_int_equal(fetched, all);
	assert_true(with <= all / 2);
}

// It is read and hashed when it is used, not when it was listed.
static void a_seed_that_changed_serves_no_more(void **state)
{
	struct lab *x = *state;
	char folder[250], path[300];
	char *seeds[1] = {folder};
	SCOPED_FREE uint8_t *out = malloc(CHUNK_MAX);
	struct seed_source s;
	const struct test_file *f = &x->v1.files[0];
	size_t n = chunk_cut(f->data, f->size);
	struct chunk_ref c = {.sha256 = sha256(f->data, n), .size = (uint32_t)n};
	seeds_make(x, folder, sizeof folder);
	const struct seed_places places = {.paths = seeds, .count = 1};
	assert_int_equal(seed_source_open(&s, &places, NULL), ERR_OK);
	assert_true(seed_source_read(&s, &c, out));
	assert_memory_equal(out, f->data, n);
	(void)snprintf(path, sizeof path, "%s/deep/one", folder);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "rot", 3, 1000), 3);
	assert_int_equal(close(fd), 0);
	assert_false(seed_source_read(&s, &c, out));
	assert_int_equal(truncate(path, 10), 0);
	assert_false(seed_source_read(&s, &c, out));
	assert_int_equal(unlink(path), 0);
	assert_false(seed_source_read(&s, &c, out));
	seed_source_close(&s);
}

static void C6_two_paths_that_are_one_file_here_are_not_installed(void **state)
{
	struct lab *x = *state;
	struct manifest info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = "1"};
	struct test_package p = {0};
	struct staged t;
	test_package_add(&p, "Mod", 9000, 31);
	test_package_add(&p, "mod", 9000, 32);
	test_package_build(&p, &x->keys, &info);
	folds_case = true;
	assert_int_equal(stage_begin(x, &p, &t), ERR_OK);
	assert_int_equal(stage_fill(&p, &t, UINT32_MAX), ERR_OK);
	assert_int_equal(stage_install(x, &t), ERR_FORMAT);
	assert_non_null(strstr(err_text(), "2 paths of the package are 1 files here"));
	stage_end(&t);
	folds_case = false;
	assert_int_equal(staging_drop(&x->depot, &p.id), ERR_OK);
	assert_null(depot_find(&x->depot, &p.id));
	// Control: where they are two files it is a package as any other.
	assert_int_equal(stage_begin(x, &p, &t), ERR_OK);
	assert_int_equal(stage_fill(&p, &t, UINT32_MAX), ERR_OK);
	assert_int_equal(stage_install(x, &t), ERR_OK);
	stage_end(&t);
	assert_non_null(depot_find(&x->depot, &p.id));
	test_package_free(&p);
}

static void a_file_that_the_manifest_does_not_name_is_not_installed(void **state)
{
	struct lab *x = *state;
	struct staged t;
	char path[DEPOT_PATH];
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, UINT32_MAX), ERR_OK);
	depot_staging_path(&x->depot, &x->v1.id, "files/sub/planted", path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(stage_install(x, &t), ERR_FORMAT);
	assert_non_null(strstr(err_text(), "has 6 paths, and 7 files lie here"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(stage_install(x, &t), ERR_OK);
	stage_end(&t);
	assert_current(x, &x->v1);
}

static void one_damaged_chunk_is_the_only_one_fetched_again(void **state)
{
	struct lab *x = *state;
	struct staged t;
	char path[DEPOT_PATH];
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, UINT32_MAX), ERR_OK);
	stage_end(&t);
	depot_staging_path(&x->depot, &x->v1.id, "files/b.jpg", path);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 500000), 1);
	close(fd);
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, UINT32_MAX), ERR_OK);
	assert_int_equal(t.fetched, 1);
	assert_int_equal(stage_install(x, &t), ERR_OK);
	stage_end(&t);
	assert_current(x, &x->v1);
}

static void a_damaged_page_in_staging_counts_for_nothing(void **state)
{
	struct lab *x = *state;
	struct staged t;
	char path[DEPOT_PATH];
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, 3), ERR_TIMEOUT);
	stage_end(&t);
	depot_staging_path(&x->depot, &x->v1.id, "pages/000", path);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 20), 1);
	close(fd);
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(t.s.page_known, 0);
	assert_int_equal(stage_fill(&x->v1, &t, UINT32_MAX), ERR_OK);
	assert_int_equal(stage_install(x, &t), ERR_OK);
	stage_end(&t);
	assert_current(x, &x->v1);
}

static void a_deleted_staging_folder_restarts_the_transfer(void **state)
{
	struct lab *x = *state;
	struct staged t;
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, 3), ERR_TIMEOUT);
	stage_end(&t);
	assert_int_equal(staging_drop(&x->depot, &x->v1.id), ERR_OK);
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	assert_current(x, &x->v1);
}

static void too_little_space_is_said_before_a_byte_is_fetched(void **state)
{
	struct lab *x = *state;
	struct arena a;
	struct manifest m;
	struct staging s;
	arena_init(&a, 1024 * 1024, 10000);
	assert_int_equal(
		manifest_open(&x->keys.root, buf_bytes(&x->v1.envelope), &x->v1.id, &a, &m),
		ERR_OK);
	const struct staging_order order = {.id = x->v1.id,
		.manifest = &m,
		.envelope = buf_bytes(&x->v1.envelope),
		.reserve_bytes = UINT64_MAX / 4};
	assert_int_equal(staging_open(&s, &x->depot, &order), ERR_NO_SPACE);
	staging_close(&s);
	arena_fini(&a);
}

// ---- the order of trust at the manifest

static void manifests_are_believed_only_with_the_right_keys_and_id(void **state)
{
	struct lab *x = *state;
	struct arena a;
	struct manifest m;
	SCOPED_BUF struct buf other;
	arena_init(&a, 4 * 1024 * 1024, 100000);
	buf_init(&other, LIMIT_ENVELOPE);
	struct bytes root = buf_bytes(&x->v1.root);
	// The key of another role.
	assert_int_equal(
		envelope_make(PURPOSE_MANIFEST, root, &x->keys.software, 1, &other), ERR_OK);
	assert_int_equal(
		manifest_open(&x->keys.root, buf_bytes(&other), &x->v1.id, &a, &m), ERR_AUTH);
	// A key that the root does not know.
	assert_int_equal(
		envelope_make(PURPOSE_MANIFEST, root, &x->keys.publisher, 1, &other), ERR_OK);
	assert_int_equal(
		manifest_open(&x->keys.root, buf_bytes(&other), &x->v1.id, &a, &m), ERR_AUTH);
	// An envelope of another purpose.
	assert_int_equal(envelope_make(PURPOSE_INDEX, root, &x->keys.image, 1, &other), ERR_OK);
	assert_int_not_equal(
		manifest_open(&x->keys.root, buf_bytes(&other), &x->v1.id, &a, &m), ERR_OK);
	// Another package under this id.
	assert_int_equal(
		manifest_open(&x->keys.root, buf_bytes(&x->v2.envelope), &x->v1.id, &a, &m),
		ERR_CORRUPT);
	// Two signatures wanted, the same one twice given.
	struct root two = x->keys.root;
	two.software_threshold = 2;
	struct sign_key *twice[] = {x->keys.software, x->keys.software};
	if (envelope_make(PURPOSE_MANIFEST, root, twice, 2, &other) == ERR_OK)
		assert_int_not_equal(
			manifest_open(&two, buf_bytes(&other), &x->v1.id, &a, &m), ERR_OK);
	arena_fini(&a);
}

static void every_flipped_bit_of_a_manifest_is_refused(void **state)
{
	struct lab *x = *state;
	struct arena a;
	struct manifest m;
	arena_init(&a, 4 * 1024 * 1024, 100000);
	struct buf *e = &x->v1.envelope;
	unsigned accepted = 0;
	for (size_t bit = 0; bit < e->size * 8; bit++) {
		e->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		arena_reset(&a);
		struct bytes payload;
		// Only the hint that names the key is outside of what is signed.
		if (manifest_open(&x->keys.root, buf_bytes(e), &x->v1.id, &a, &m) == ERR_OK) {
			assert_int_equal(envelope_open(PURPOSE_MANIFEST, buf_bytes(e),
						 &x->keys.image_public, 1, 1, &payload),
				ERR_OK);
			assert_memory_equal(payload.data, x->v1.root.data, x->v1.root.size);
			accepted++;
		}
		e->data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	assert_true(accepted <= 34 * 8);
	arena_fini(&a);
}

// ---- stopped before every step

static int steps_left;
static int steps_seen;
static bool hook_count(const char *step)
{
	(void)step;
	steps_seen++;
	return steps_left < 0 || steps_left-- > 0;
}

static void a_stop_before_any_step_leaves_the_old_or_the_new_version(void **state)
{
	struct lab *x = *state;
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	install_step_hook = hook_count;
	bool finished = false;
	int stops = 0;
	for (int stop = 0; !finished; stop++) {
		struct digest id;
		steps_left = stop;
		struct staged t;
		assert_true(stop < 100);
		assert_int_equal(stage_begin(x, &x->v2, &t), ERR_OK);
		assert_int_equal(stage_fill(&x->v2, &t, UINT32_MAX), ERR_OK);
		finished = stage_install(x, &t) == ERR_OK;
		stage_end(&t);
		stops += finished ? 0 : 1;
		// The process ends here. What a start finds:
		steps_left = -1;
		assert_int_equal(depot_open(&x->depot, x->dir, &x->keys.root), ERR_OK);
		assert_int_equal(
			depot_slot(&x->depot, PACKAGE_IMAGES, "spring", SLOT_CURRENT, &id), ERR_OK);
		bool is_new = digest_equal(&id, &x->v2.id);
		assert_true(is_new || digest_equal(&id, &x->v1.id));
		assert_files(x, is_new ? &x->v2 : &x->v1);
		// Recovery changes nothing when it is done again.
		assert_int_equal(depot_open(&x->depot, x->dir, &x->keys.root), ERR_OK);
		struct digest again;
		assert_int_equal(
			depot_slot(&x->depot, PACKAGE_IMAGES, "spring", SLOT_CURRENT, &again),
			ERR_OK);
		assert_true(digest_equal(&id, &again));
		// The operation goes on: held already, or what stands is used.
		if (depot_find(&x->depot, &x->v2.id) != NULL)
			assert_int_equal(
				depot_activate(&x->depot, PACKAGE_IMAGES, "spring", &x->v2.id),
				ERR_OK);
		else
			assert_int_equal(install(x, &x->v2, NULL), ERR_OK);
		assert_current(x, &x->v2);
		if (finished)
			break;
		// Back to v1 alone for the next stop.
		assert_int_equal(
			depot_activate(&x->depot, PACKAGE_IMAGES, "spring", &x->v1.id), ERR_OK);
		char path[DEPOT_PATH];
		(void)snprintf(path, sizeof path, "%s/slots/images/spring/previous", x->dir);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(depot_collect(&x->depot, NULL, 0), ERR_OK);
	}
	assert_true(stops >= 8);
}

static void recovery_falls_back_to_the_version_before_when_the_current_one_is_gone(void **state)
{
	struct lab *x = *state;
	char path[DEPOT_PATH];
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	assert_int_equal(install(x, &x->v2, NULL), ERR_OK);
	depot_package_path(&x->depot, &x->v2.id, "manifest", path);
	assert_int_equal(chmod(path, 0600), 0);
	int fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "zzzz", 4, 30), 4);
	close(fd);
	assert_int_equal(depot_open(&x->depot, x->dir, &x->keys.root), ERR_OK);
	assert_current(x, &x->v1);
	assert_null(depot_find(&x->depot, &x->v2.id));
	// Its bytes are in staging, and count after they were hashed.
	uint32_t fetched;
	assert_int_equal(install(x, &x->v2, &fetched), ERR_OK);
	assert_int_equal(fetched, 0);
	assert_current(x, &x->v2);
}

static void garbage_is_what_no_slot_names(void **state)
{
	struct lab *x = *state;
	char path[DEPOT_PATH];
	struct stat st;
	for (int i = 0; i < 6; i++) {
		struct test_package p = {0};
		char version[16];
		test_package_add(&p, "a.jpg", 1000, (uint64_t)(100 + i));
		(void)snprintf(version, sizeof version, "%d", 10 + i);
		struct manifest info = {
			.kind = PACKAGE_IMAGES, .name = "spring", .version = version};
		test_package_build(&p, &x->keys, &info);
		assert_int_equal(install(x, &p, NULL), ERR_OK);
		assert_int_equal(depot_collect(&x->depot, NULL, 0), ERR_OK);
		assert_current(x, &p);
		test_package_free(&p);
	}
	assert_int_equal(x->depot.held_count, 2);
	(void)snprintf(path, sizeof path, "%s/packages", x->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_nlink, 2 + 2);
	// Held for later counts as named.
	struct staged t;
	assert_int_equal(stage_begin(x, &x->v1, &t), ERR_OK);
	assert_int_equal(stage_fill(&x->v1, &t, UINT32_MAX), ERR_OK);
	assert_int_equal(install_seal(&x->depot, &x->v1.id, &t.m), ERR_OK);
	assert_int_equal(install_rename(&x->depot, &x->v1.id), ERR_OK);
	assert_int_equal(depot_keep(&x->depot, PACKAGE_IMAGES, "spring", &x->v1.id), ERR_OK);
	assert_int_equal(depot_scan(&x->depot), ERR_OK);
	stage_end(&t);
	assert_int_equal(depot_collect(&x->depot, NULL, 0), ERR_OK);
	assert_non_null(depot_find(&x->depot, &x->v1.id));
}

// ---- the display's folder

static void the_playlist_names_the_pictures_in_order_and_ends_with_its_hash(void **state)
{
	struct lab *x = *state;
	struct display_side d;
	char path[DEPOT_PATH], found[513];
	SCOPED_BUF struct buf b;
	buf_init(&b, 1024 * 1024);
	assert_int_equal(install(x, &x->v1, NULL), ERR_OK);
	assert_int_equal(display_side_init(&d, x->dir, &x->depot), ERR_OK);
	assert_true(display_has_picture(&d, "spring", "e.jpg", found));
	assert_string_equal(found, "sub/e.jpg");
	assert_int_equal(display_command(&d, 7, "show", found), ERR_OK);
	assert_int_equal(display_write(&d, "spring"), ERR_OK);
	(void)snprintf(path, sizeof path, "%s/display/playlist", x->dir);
	assert_int_equal(file_read(path, &b), ERR_OK);
	assert_int_equal(buf_append(&b, "", 1), ERR_OK);
	const char *text = (const char *)b.data;
	assert_memory_equal(text, "helio-playlist\t2\n", 17);
	const char *a = strstr(text, "image\ta.jpg\t0\t\ta title\t0\t0\t0\t0\n");
	const char *e = strstr(text, "image\tsub/e.jpg\t");
	assert_non_null(a);
	assert_non_null(e);
	assert_true(a < e);
	assert_non_null(strstr(text, "command\t7\tshow\tsub/e.jpg\n"));
	const char *end = strstr(text, "\nend\t");
	assert_non_null(end);
	struct digest sum = sha256(text, (size_t)(end + 1 - text));
	assert_memory_equal(end + 5, digest_hex(&sum), 64);
	// A restart keeps the command.
	assert_int_equal(display_side_init(&d, x->dir, &x->depot), ERR_OK);
	assert_string_equal(d.command, "command\t7\tshow\tsub/e.jpg");
	assert_int_equal(display_write(&d, ""), ERR_OK);
	assert_int_not_equal(access(path, F_OK), 0);
}

// What is not listed would be fetched again, and its slot would name nothing.
static void a_folder_of_packages_that_cannot_be_read_is_not_one_of_few(void **state)
{
	struct lab *x = *state;
	uint32_t fetched = 0;
	assert_int_equal(install(x, &x->v1, &fetched), ERR_OK);
	assert_int_equal(install(x, &x->v2, &fetched), ERR_OK);
	assert_int_equal(x->depot.held_count, 2);
	for (int calls = 0; calls < 5; calls++) { // ., .., the two, and the end
		listings_left = calls;
		enum err e = depot_scan(&x->depot);
		listings_left = -1;
		assert_int_equal(e, ERR_IO);
		assert_non_null(strstr(err_text(), "/packages"));
	}
	assert_int_equal(depot_scan(&x->depot), ERR_OK); // the control
	assert_int_equal(x->depot.held_count, 2);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, lab_setup, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_installed_package_is_byte_for_byte_what_was_signed),
		CASE(a_folder_of_packages_that_cannot_be_read_is_not_one_of_few),
		CASE(chunks_that_stand_twice_are_fetched_once),
		CASE(a_new_version_takes_what_it_shares_from_the_old_one),
		CASE(what_an_attempt_links_keeps_its_rights),
		CASE(where_no_links_are_what_stood_there_is_kept),
		CASE(a_rotten_base_is_not_copied),
		CASE(what_stands_after_a_kill_is_not_fetched_again),
		CASE(S001_c30_a_new_version_takes_what_an_interrupted_attempt_holds),
		CASE(S001_c30_what_no_package_installed_serves_too),
		CASE(a_seed_that_changed_serves_no_more),
		CASE(C6_two_paths_that_are_one_file_here_are_not_installed),
		CASE(a_file_that_the_manifest_does_not_name_is_not_installed),
		CASE(one_damaged_chunk_is_the_only_one_fetched_again),
		CASE(a_damaged_page_in_staging_counts_for_nothing),
		CASE(a_deleted_staging_folder_restarts_the_transfer),
		CASE(too_little_space_is_said_before_a_byte_is_fetched),
		CASE(manifests_are_believed_only_with_the_right_keys_and_id),
		CASE(every_flipped_bit_of_a_manifest_is_refused),
		CASE(a_stop_before_any_step_leaves_the_old_or_the_new_version),
		CASE(recovery_falls_back_to_the_version_before_when_the_current_one_is_gone),
		CASE(garbage_is_what_no_slot_names),
		CASE(the_playlist_names_the_pictures_in_order_and_ends_with_its_hash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
