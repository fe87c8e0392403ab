// The publisher's store and packager: what is built is complete, small in its update, and gone when
// it is removed; a full disk leaves nothing half-written.
#include "proto/base/clock.h"
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/order_store.h"
#include "server/publisher/packager.h"
#include "tests/unit/publisher_fixture.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct store_home home;
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

	store_home_drop(&f->home);
	free(f);
	return 0;
}

// ---- makers

static void noise_fill(uint8_t *p, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 56);
	}
}

static void file_put(
	const struct fixture *f, const char *path, const void *data, size_t size, mode_t mode)
{
	char full[400];

	snprintf(full, sizeof full, "%s/%s", f->home.tree, path);
	char *slash = strrchr(full, '/');
	*slash = 0;
	assert_int_equal(dir_make(full), ERR_OK);
	*slash = '/';
	assert_int_equal(file_write_atomic(full, data, size, mode), ERR_OK);
}

static void noise_put(const struct fixture *f, const char *path, size_t size, uint64_t seed)
{
	uint8_t *p = malloc(size + 1);

	assert_non_null(p);
	noise_fill(p, size, seed);
	file_put(f, path, p, size, 0644);
	free(p);
}

// A picture of noise: for the packager pictures are bytes.
static struct digest image_put(struct fixture *f, size_t size, uint64_t seed, const char *tag)
{
	struct image i = {
		.format = 1, .size_bytes = size, .width = 10, .height = 10, .tag_count = 1};
	uint8_t *p = malloc(size);
	bool duplicate = true;

	assert_non_null(p);
	noise_fill(p, size, seed);
	i.sha256 = i.original = sha256(p, size);
	i.added_unix_ms = (int64_t)seed;
	snprintf(i.title, sizeof i.title, "Picture %llu", (unsigned long long)seed);
	(void)str_copy(i.tags[0], sizeof i.tags[0], tag);
	assert_int_equal(blob_put(&f->home.store.images, &i.sha256, bytes_of(p, size)), ERR_OK);
	assert_int_equal(
		store_end(&f->home.store, image_add(&f->home.store, &i, &duplicate)), ERR_OK);
	assert_false(duplicate);
	free(p);
	return i.sha256;
}

static bool build_small;              // the profile of build_tree
static const struct key32 *build_key; // what it and read_package are sealed with

static enum err build_tree(
	struct fixture *f, const char *version, struct package_built *out, bool *existing)
{
	struct tree t;
	SCOPED_FD int fd = open(f->home.tree, O_RDONLY | O_DIRECTORY);
	struct package p = {.kind = PACKAGE_SOFTWARE, .built_unix_ms = 1};
	struct pack_job job = {
		.info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = version},
		.root_fd = fd,
		.images = &f->home.store.images,
		.objects = &f->home.store.objects,
		.known = &f->home.store.known,
		.small = build_small,
		.key = build_key,
		.profile = {.zstd_level = build_small ? 19 : 3, .keep_percent = 95}};

	TRY(tree_walk(fd, UINT64_MAX, &t));
	struct pack_file *files = calloc(t.count, sizeof *files);
	assert_non_null(files);
	for (size_t i = 0; i < t.count; i++)
		files[i] = (struct pack_file){
			.path = t.files[i].path, .tree = &t.files[i], .size = t.files[i].size};
	job.files = files;
	job.file_count = t.count;
	enum err e = package_build(&job, out);
	(void)str_copy(p.name, sizeof p.name, "app");
	(void)str_copy(p.version, sizeof p.version, version);
	if (e == ERR_OK) {
		e = package_add(&f->home.store, &p, out, NULL, 0, existing);
		if (e != ERR_OK || *existing)
			package_built_undo(&job, out);
		if (e != ERR_OK)
			package_built_fini(out);
	}
	free(files);
	tree_fini(&t);
	return e;
}

static void build_images(struct fixture *f, const char *version, const struct digest *images,
	size_t count, struct package_built *out)
{
	struct package p = {.kind = PACKAGE_IMAGES, .built_unix_ms = 1};
	struct pack_file *files = calloc(count, sizeof *files);
	char(*paths)[32] = calloc(count, sizeof *paths);
	bool existing = true;
	struct pack_job job = {.info = {.kind = PACKAGE_IMAGES, .name = "show", .version = version},
		.files = files,
		.file_count = count,
		.root_fd = -1,
		.images = &f->home.store.images,
		.objects = &f->home.store.objects,
		.known = &f->home.store.known};

	assert_non_null(files);
	assert_non_null(paths);
	for (size_t i = 0; i < count; i++) {
		struct image row;
		assert_int_equal(image_find(&f->home.store, &images[i], &row), ERR_OK);
		snprintf(paths[i], sizeof paths[i], "%04zu-p.jpg", i + 1);
		files[i] = (struct pack_file){
			.path = paths[i], .image = images[i], .size = row.size_bytes};
	}
	(void)str_copy(p.name, sizeof p.name, "show");
	(void)str_copy(p.version, sizeof p.version, version);
	assert_int_equal(package_build(&job, out), ERR_OK);
	assert_int_equal(package_add(&f->home.store, &p, out, images, count, &existing), ERR_OK);
	assert_false(existing);
	free(files);
	free(paths);
}

// ---- reading a package from its objects alone, as a device does

struct reading {
	struct store *store;
	struct object_decoder *decoder;
	struct buf transported;
	uint64_t fetched; // bytes of objects that a holder of `held` lacks
	const struct known *held;
	struct known seen;
	uint64_t plain;
	struct digest told_with[4096]; // chunks that came, and where
	size_t told_at[4096], told_count;
	struct buf came, prefix;
};

static void came_add(
	struct reading *r, const struct object *o, const struct chunk_ref *run, struct bytes plain)
{
	size_t at = r->came.size;

	assert_int_equal(buf_append(&r->came, plain.data, plain.size), ERR_OK);
	for (uint32_t i = 0; i < o->chunk_count; i++) {
		assert_true(r->told_count < 4096);
		r->told_with[r->told_count] = run[i].sha256;
		r->told_at[r->told_count++] = at;
		at += run[i].size;
	}
}

static void prefix_add(struct reading *r, const struct digest *d, uint32_t size)
{
	for (size_t i = r->told_count; i-- > 0;) {
		if (!digest_equal(&r->told_with[i], d))
			continue;
		assert_int_equal(
			buf_append(&r->prefix, r->came.data + r->told_at[i], size), ERR_OK);
		return;
	}
	fail_msg("chunk %s did not come before", digest_short(d));
}

// chunks: of the page, for its own runs.
static void prefix_make(struct reading *r, const struct object *o, const struct chunk_ref *chunks)
{
	buf_clear(&r->prefix);
	for (size_t i = 0; i < o->base_count; i++)
		prefix_add(r, &o->base_chunks[i], o->base_sizes[i]);
	for (size_t i = 0; i < o->own_run_count; i += 2)
		for (uint32_t c = 0; c < o->own_runs[i + 1]; c++) {
			const struct chunk_ref *own = &chunks[o->own_runs[i] + c];
			prefix_add(r, &own->sha256, own->size);
		}
}

static struct bytes open_object(
	struct reading *r, const struct object *o, const struct chunk_ref *run)
{
	struct bytes plain = {0};
	bool lacks = false;

	assert_int_equal(blob_read(&r->store->objects, &o->sha256, &r->transported), ERR_OK);
	prefix_make(r, o, o->own_run_count ? run - o->first_chunk : run);
	assert_int_equal(
		object_open(r->decoder, o, run, buf_bytes(&r->transported),
			r->prefix.size ? buf_bytes(&r->prefix) : (struct bytes){0}, &plain),
		ERR_OK);
	for (uint32_t i = 0; i < o->chunk_count; i++)
		lacks |= !r->held || !known_has(r->held, &run[i].sha256);
	if (lacks && !known_has(&r->seen, &o->sha256)) {
		struct object one = {.chunk_count = 1};
		assert_int_equal(known_add(&r->seen, &one, &o->sha256), ERR_OK);
		r->fetched += o->size_bytes;
	}
	return plain;
}

static void read_page(
	struct reading *r, struct manifest *m, struct index *x, size_t n, struct page_carry *carry)
{
	SCOPED_ARENA struct arena a;
	struct chunk_ref page_ref = page_chunk_ref(&m->pages[n]);
	struct chunk_ref index_ref = index_page_chunk_ref(&x->pages[n]);
	struct manifest_page page;
	struct index_page index;
	struct page_plan plan;

	arena_init(&a, 16 * 1024 * 1024, 1 << 20);
	struct bytes plain = arena_copy(&a, open_object(r, &x->page_objects[n], &page_ref));
	assert_int_equal(manifest_page_decode(&a, plain, &page), ERR_OK);
	assert_int_equal(page_plan_make(&a, &page, &m->pages[n], carry, &plan), ERR_OK);
	plain = arena_copy(&a, open_object(r, x->pages[n].object, &index_ref));
	assert_int_equal(index_page_decode(&a, plain, &index), ERR_OK);
	assert_int_equal(index_page_check(&index, &plan, false), ERR_OK);
	for (size_t i = 0; i < index.object_count; i++) {
		struct object *o = &index.objects[i];
		struct bytes got = open_object(r, o, plan.chunks + o->first_chunk);
		r->plain += got.size;
		came_add(r, o, plan.chunks + o->first_chunk, got);
	}
}

// Bytes of objects that a device fetches which holds the chunks of `held` (NULL: nothing).
static uint64_t read_package(struct fixture *f, const struct digest *id, const struct known *held)
{
	struct reading r = {.store = &f->home.store, .held = held};
	SCOPED_BUF struct buf root;
	SCOPED_BUF struct buf index_bytes;
	SCOPED_ARENA struct arena a;
	struct page_carry carry = {0};
	struct manifest m;
	struct index x;

	buf_init(&root, LIMIT_MANIFEST_ROOT);
	buf_init(&index_bytes, LIMIT_INDEX);
	buf_init(&r.transported, LIMIT_OBJECT);
	buf_init(&r.came, SIZE_MAX);
	buf_init(&r.prefix, OBJECT_BASE_MAX);
	arena_init(&a, 1024 * 1024, 65536);
	assert_int_equal(object_decoder_new(&r.decoder), ERR_OK);
	object_decoder_key(r.decoder, build_key);
	assert_int_equal(package_bytes(&f->home.store, id, &root, NULL, &index_bytes), ERR_OK);
	struct digest is = package_id(buf_bytes(&root));
	assert_true(digest_equal(&is, id));
	assert_int_equal(manifest_decode(&a, buf_bytes(&root), &m), ERR_OK);
	assert_int_equal(manifest_check(&m), ERR_OK);
	assert_int_equal(index_decode(&a, buf_bytes(&index_bytes), &x), ERR_OK);
	assert_int_equal(index_check(&x, &m, id), ERR_OK);
	for (size_t n = 0; n < m.page_count; n++)
		read_page(&r, &m, &x, n, &carry);
	assert_int_equal(page_carry_finish(&carry, &m), ERR_OK);
	object_decoder_free(r.decoder);
	buf_fini(&r.transported);
	buf_fini(&r.came);
	buf_fini(&r.prefix);
	known_fini(&r.seen);
	return r.fetched + root.size + index_bytes.size;
}

static size_t files_below(const char *dir)
{
	size_t n = 0;
	DIR *d = opendir(dir);

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		char path[700];
		struct stat s;
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		assert_int_equal(stat(path, &s), 0);
		n += S_ISDIR(s.st_mode) ? files_below(path) : 1;
	}
	closedir(d);
	return n;
}

// ---- packages

static void a_tree_of_software_reads_back(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	bool existing = true;

	noise_put(f, "bin/app", 3000000, 1);
	noise_put(f, "bin/app-copy", 3000000, 1);
	for (int i = 0; i < 300; i++) {
		char path[64], text[200];
		snprintf(path, sizeof path, "share/locale-%03d/messages.txt", i);
		int n = snprintf(text, sizeof text,
			"message catalogue number %d, much the same as others\n", i);
		file_put(f, path, text, (size_t)n, 0644);
	}
	file_put(f, "empty", "", 0, 0644);
	file_put(f, "run.sh", "#!/bin/sh\n", 10, 0755);
	assert_int_equal(build_tree(f, "1", &b, &existing), ERR_OK);
	assert_false(existing);
	assert_int_equal(b.file_count, 304);
	assert_true(b.object_bytes < 3000000 + 60000); // the copy costs nothing, text is packed
	assert_true(b.objects.object_count < 40);
	assert_true(read_package(f, &b.id, NULL) >= b.object_bytes);
	package_built_fini(&b);
}

// Words repeat within a megabyte, not within a chunk: the groups of the small profile see it.
static void text_put(const struct fixture *f, const char *path, size_t size)
{
	SCOPED_FREE uint8_t *words = malloc(100000);
	SCOPED_FREE uint8_t *text = malloc(size);
	uint64_t random = 5;

	assert_non_null(words);
	assert_non_null(text);
	noise_fill(words, 100000, 5);
	for (size_t at = 0; at < size; at += 50) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		memcpy(text + at, words + (random >> 33) % 99950, size - at < 50 ? size - at : 50);
	}
	file_put(f, path, text, size, 0644);
}

static void the_small_profile_reads_back_and_is_smaller(void **state)
{
	struct fixture *f = *state;
	struct package_built fast, small, again;
	bool existing = false;

	text_put(f, "bin/program", 3 * 1000 * 1000);
	noise_put(f, "etc/small", 100, 3);
	assert_int_equal(build_tree(f, "1", &fast, &existing), ERR_OK);
	build_small = true;
	assert_int_equal(build_tree(f, "2", &small, &existing), ERR_OK);
	assert_int_equal(build_tree(f, "3", &again, &existing), ERR_OK);
	build_small = false;
	(void)read_package(f, &small.id, NULL);
	assert_true(small.object_bytes * 10 < fast.object_bytes * 9);
	assert_true(again.new_bytes * 2 < small.object_bytes); // whole groups are used again
	(void)read_package(f, &fast.id, NULL);
	package_built_fini(&fast);
	package_built_fini(&small);
	package_built_fini(&again);
}

// The small profile makes pages anew, byte for byte: they are those that the first one names.
static void an_undone_build_takes_nothing_of_others_away(void **state)
{
	struct fixture *f = *state;
	struct package_built fast, small;
	bool existing = false;

	text_put(f, "bin/program", 400 * 1000);
	noise_put(f, "etc/small", 100, 3);
	assert_int_equal(build_tree(f, "1", &fast, &existing), ERR_OK);
	(void)read_package(f, &fast.id, NULL);
	build_small = true;
	assert_int_equal(build_tree(f, "1", &small, &existing), ERR_OK);
	build_small = false;
	assert_true(existing && digest_equal(&fast.id, &small.id)); // so it was undone
	assert_true(small.fresh.object_count > 0);
	(void)read_package(f, &fast.id, NULL);
	package_built_fini(&fast);
	package_built_fini(&small);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

// Lines out of a stock of 600: what several files have in common.
static size_t lines_make(char *out, size_t size, uint64_t seed)
{
	size_t n = 0;

	while (n + 200 < size) {
		uint64_t line = next_random(&seed) % 600, words = 600 + line;
		for (int w = 0; w < 8; w++)
			n += (size_t)snprintf(out + n, size - n, "%llx ",
				(unsigned long long)next_random(&words));
		n += (size_t)snprintf(out + n, size - n, "of line %u\n", (unsigned)line);
	}
	return n;
}

// Under a customer's key the same: what an object is told with is named inside of what is sealed.
static void the_small_profile_of_a_sealed_package_reads_back(void **state)
{
	struct fixture *f = *state;
	const struct key32 key = {{7}};
	struct package_built first, again;
	bool existing = false;

	text_put(f, "bin/program", 3 * 1000 * 1000);
	build_small = true;
	build_key = &key;
	assert_int_equal(build_tree(f, "1", &first, &existing), ERR_OK);
	noise_put(f, "etc/small", 100, 3);
	assert_int_equal(build_tree(f, "2", &again, &existing), ERR_OK);
	assert_true(again.new_bytes * 2 < first.object_bytes); // found by who has the key
	(void)read_package(f, &first.id, NULL);
	(void)read_package(f, &again.id, NULL);
	build_key = NULL;
	build_small = false;
	package_built_fini(&first);
	package_built_fini(&again);
}

// Many small files on several pages: those of later pages are told with earlier ones, by name.
static void pages_of_small_files_are_told_with_each_other(void **state)
{
	struct fixture *f = *state;
	struct package_built fast, small, again;
	static char text[12 * 1024];
	bool existing = false;

	for (unsigned i = 0; i < 1200; i++) {
		char name[32];
		snprintf(name, sizeof name, "src/file-%04u", i);
		file_put(f, name, text, lines_make(text, 1000 + i * 7 % 1500, i), 0644);
	}
	assert_int_equal(build_tree(f, "1", &fast, &existing), ERR_OK);
	build_small = true;
	assert_int_equal(build_tree(f, "2", &small, &existing), ERR_OK);
	file_put(f, "src/file-0600", text, lines_make(text, 5000, 9999), 0644);
	assert_int_equal(build_tree(f, "3", &again, &existing), ERR_OK);
	build_small = false;
	struct manifest m;
	SCOPED_ARENA struct arena a;
	arena_init(&a, 1024 * 1024, 65536);
	assert_int_equal(manifest_decode(&a, buf_bytes(&small.manifest), &m), ERR_OK);
	assert_true(m.page_count >= 2);
	(void)read_package(f, &small.id, NULL);
	(void)read_package(f, &again.id, NULL);
	assert_true(small.object_bytes * 4 < fast.object_bytes * 3);
	// One file of 1200 changed: what stands far from it is used again.
	assert_true(again.new_bytes < small.object_bytes);
	package_built_fini(&fast);
	package_built_fini(&small);
	package_built_fini(&again);
}

static void equal_content_gives_the_equal_package_and_no_object(void **state)
{
	struct fixture *f = *state;
	struct package_built a, b;
	bool existing = true;

	noise_put(f, "x", 1000000, 2);
	noise_put(f, "y", 1000, 3);
	assert_int_equal(build_tree(f, "1", &a, &existing), ERR_OK);
	size_t files = files_below(f->home.store.objects.dir);
	assert_int_equal(build_tree(f, "1", &b, &existing), ERR_OK);
	assert_true(existing);
	assert_true(digest_equal(&a.id, &b.id));
	assert_true(bytes_equal(buf_bytes(&a.index), buf_bytes(&b.index)));
	assert_int_equal(files_below(f->home.store.objects.dir), files);
	package_built_fini(&a);
	package_built_fini(&b);
}

// A clean store gives the same package as well: nothing of this machine or time is in it.
static void another_store_gives_the_equal_package(void **state)
{
	struct fixture *f = *state;
	struct package_built a, b;
	bool existing = true;
	char other[100];

	noise_put(f, "x", 1000000, 2);
	noise_put(f, "sub/y", 1000, 3);
	assert_int_equal(build_tree(f, "1", &a, &existing), ERR_OK);
	store_close(&f->home.store);
	snprintf(other, sizeof other, "%s/other", f->home.dir);
	assert_int_equal(store_open(&f->home.store, other), ERR_OK);
	assert_int_equal(build_tree(f, "1", &b, &existing), ERR_OK);
	assert_true(digest_equal(&a.id, &b.id));
	package_built_fini(&a);
	package_built_fini(&b);
}

static void chunks_remember(struct known *held, const struct package_built *b)
{
	for (size_t i = 0; i < b->fresh.object_count; i++) {
		const struct known_object *k = &b->fresh.objects[i];
		struct object o = {.sha256 = k->sha256, .chunk_count = k->chunk_count};
		assert_int_equal(known_add(held, &o, &b->fresh.chunks[k->chunk_first]), ERR_OK);
	}
}

// Requirement of the wire: 10 % new pictures cost at most 1.02 x the new pictures + 8 kB.
static void update_costs(struct fixture *f, size_t size)
{
	struct digest images[60];
	struct package_built v1, v2;
	struct known held;
	uint64_t fresh = 0;

	for (size_t i = 0; i < 60; i++)
		images[i] = image_put(f, size + i * 7, size + i, "all");
	build_images(f, "1", images, 60, &v1);
	(void)read_package(f, &v1.id, NULL);
	known_init(&held);
	chunks_remember(&held, &v1);
	for (size_t i = 5; i < 60; i += 10) { // some in the middle
		images[i] = image_put(f, size, size + 1000 + i, "new");
		fresh += size;
	}
	build_images(f, "2", images, 60, &v2);
	uint64_t cost = read_package(f, &v2.id, &held);
	print_message("pictures of %zu: %llu bytes for %llu new ones\n", size,
		(unsigned long long)cost, (unsigned long long)fresh);
	assert_true(cost <= fresh * 102 / 100 + 8000);
	if (size >= OBJECT_PACK_MIN) // of small ones the groups that broke are packed anew
		assert_true(v2.new_bytes <= fresh * 102 / 100 + 8000);
	known_fini(&held);
	package_built_fini(&v1);
	package_built_fini(&v2);
}

static void a_tenth_of_new_pictures_costs_little_more_than_itself(void **state)
{
	update_costs(*state, 400000);
	update_costs(*state, 90000);
	update_costs(*state, 30000); // packed together
	update_costs(*state, 2000);
}

static void removing_a_package_keeps_what_another_needs(void **state)
{
	struct fixture *f = *state;
	struct package_built v1, v2;
	bool existing = true;
	uint64_t freed = 0;

	noise_put(f, "a", 1000000, 10);
	noise_put(f, "b", 1000000, 11);
	noise_put(f, "small", 100, 12);
	assert_int_equal(build_tree(f, "1", &v1, &existing), ERR_OK);
	noise_put(f, "b", 1000000, 13);
	assert_int_equal(build_tree(f, "2", &v2, &existing), ERR_OK);
	assert_true(v2.new_bytes < 1100000);
	assert_int_equal(package_remove(&f->home.store, &v1.id, &freed), ERR_OK);
	assert_in_range(freed, 1000000, 1100000);
	(void)read_package(f, &v2.id, NULL);
	assert_int_equal(package_remove(&f->home.store, &v1.id, &freed), ERR_NOT_FOUND);
	assert_int_equal(package_remove(&f->home.store, &v2.id, &freed), ERR_OK);
	assert_int_equal(files_below(f->home.store.objects.dir), 0);
	assert_int_equal(f->home.store.known.object_count, 0);
	package_built_fini(&v1);
	assert_int_equal(build_tree(f, "2", &v1, &existing), ERR_OK); // and it can be made again
	assert_false(existing);
	package_built_fini(&v1);
	package_built_fini(&v2);
}

static void a_package_outlives_its_source_and_a_restart(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	bool existing = true;

	noise_put(f, "a", 500000, 20);
	noise_put(f, "s", 5000, 21);
	assert_int_equal(build_tree(f, "1", &b, &existing), ERR_OK);
	assert_int_equal(tree_remove(f->home.tree), ERR_OK);
	size_t known = f->home.store.known.object_count;
	store_close(&f->home.store);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
	assert_int_equal(f->home.store.known.object_count, known);
	(void)read_package(f, &b.id, NULL);
	package_built_fini(&b);
}

// ---- what may not be in a tree

static void a_tree_with_something_else_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	bool existing = false;
	char path[400];

	file_put(f, "good", "x", 1, 0644);
	static const char *const bad[] = {
		"link", "pipe", "socket", ".hidden", "a b", "caf\xc3\xa9", "x\ny"};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		snprintf(path, sizeof path, "%s/%s", f->home.tree, bad[i]);
		SCOPED_FD int s = -1;
		if (i == 0)
			assert_int_equal(symlink("/etc/passwd", path), 0);
		else if (i == 1)
			assert_int_equal(mkfifo(path, 0600), 0);
		else if (i == 2) {
			s = socket(AF_UNIX, SOCK_STREAM, 0);
			assert_true(str_copy(a.sun_path, sizeof a.sun_path, path));
			assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof a), 0);
		} else {
			assert_int_equal(file_write_atomic(path, "x", 1, 0644), ERR_OK);
		}
		assert_int_equal(build_tree(f, "1", &b, &existing), ERR_FORMAT);
		// What is no text is told as a blank.
		assert_non_null(strstr(err_text(), strcmp(bad[i], "x\ny") == 0 ? "x y" : bad[i]));
		assert_int_equal(unlink(path), 0);
		assert_int_equal(files_below(f->home.store.objects.dir), 0);
	}
	assert_int_equal(build_tree(f, "1", &b, &existing), ERR_OK);
	package_built_fini(&b);
}

static void a_link_to_a_folder_is_not_followed(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	bool existing = false;
	char path[400];

	file_put(f, "good", "x", 1, 0644);
	snprintf(path, sizeof path, "%s/etc", f->home.tree);
	assert_int_equal(symlink("/etc", path), 0);
	assert_int_equal(build_tree(f, "1", &b, &existing), ERR_FORMAT);
	assert_non_null(strstr(err_text(), "etc is a symbolic link"));
}

static void a_sparse_giant_is_refused_before_it_is_read(void **state)
{
	struct fixture *f = *state;
	struct tree t;
	char path[400];

	snprintf(path, sizeof path, "%s/giant", f->home.tree);
	SCOPED_FD int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
	SCOPED_FD int root = open(f->home.tree, O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_walk(root, UINT64_C(1) << 34, &t), ERR_FULL);
}

// ---- images

static void an_image_is_known_by_its_content(void **state)
{
	struct fixture *f = *state;
	struct image i;
	bool duplicate = false;
	uint64_t count = 0;

	struct digest d = image_put(f, 1000, 1, "sea");
	assert_int_equal(image_find(&f->home.store, &d, &i), ERR_OK);
	(void)str_copy(i.tags[0], sizeof i.tags[0], "city");
	assert_int_equal(
		store_end(&f->home.store, image_add(&f->home.store, &i, &duplicate)), ERR_OK);
	assert_true(duplicate);
	assert_int_equal(image_find(&f->home.store, &d, &i), ERR_OK);
	assert_int_equal(i.tag_count, 2); // both tags now
	assert_int_equal(image_count(&f->home.store, &count), ERR_OK);
	assert_int_equal(count, 1);
}

static bool count_one(void *ctx, const struct image *i)
{
	(void)i;
	(*(size_t *)ctx)++;
	return true;
}

static void images_are_listed_by_tags(void **state)
{
	struct fixture *f = *state;
	const char *sea[] = {"sea"}, *both[] = {"sea", "city"},
		   *none[] = {"'; DROP TABLE image; --"};
	size_t n = 0;

	(void)image_put(f, 1000, 1, "sea");
	(void)image_put(f, 1000, 2, "city");
	(void)image_put(f, 1000, 3, "sea");
	assert_int_equal(image_list(&f->home.store, sea, 1, count_one, &n), ERR_OK);
	assert_int_equal(n, 2);
	n = 0;
	assert_int_equal(image_list(&f->home.store, both, 2, count_one, &n), ERR_OK);
	assert_int_equal(n, 0);
	assert_int_equal(image_list(&f->home.store, none, 1, count_one, &n), ERR_OK);
	assert_int_equal(n, 0);
	assert_int_equal(image_list(&f->home.store, NULL, 0, count_one, &n), ERR_OK);
	assert_int_equal(n, 3);
}

static void an_image_in_a_package_stays(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	uint64_t freed = 0;
	struct digest d[2] = {image_put(f, 1000, 1, "a"), image_put(f, 1000, 2, "a")};

	build_images(f, "7", d, 2, &b);
	assert_int_equal(image_remove(&f->home.store, &d[0]), ERR_NOT_NOW);
	assert_non_null(strstr(err_text(), "show 7"));
	assert_int_equal(package_remove(&f->home.store, &b.id, &freed), ERR_OK);
	assert_int_equal(image_remove(&f->home.store, &d[0]), ERR_OK);
	assert_int_equal(files_below(f->home.store.images.dir), 1);
	package_built_fini(&b);
}

static void a_damaged_picture_ends_the_build(void **state)
{
	struct fixture *f = *state;
	struct digest d = image_put(f, 5000, 1, "a");
	struct pack_file file = {.path = "0001-a.jpg", .image = d, .size = 5000};
	struct package_built b;
	struct pack_job job = {.info = {.kind = PACKAGE_IMAGES, .name = "x", .version = "1"},
		.files = &file,
		.file_count = 1,
		.root_fd = -1,
		.images = &f->home.store.images,
		.objects = &f->home.store.objects,
		.known = &f->home.store.known};
	uint8_t wrong[5000] = {1};

	assert_int_equal(
		blob_put(&f->home.store.images, &d, bytes_of(wrong, sizeof wrong)), ERR_OK);
	assert_int_equal(package_build(&job, &b), ERR_CORRUPT);
	assert_int_equal(files_below(f->home.store.objects.dir), 0);
}

// ---- claims

static void a_claim_knows_what_lies_where(void **state)
{
	struct fixture *f = *state;
	struct package_built v1, v2;
	struct send_object *o = NULL;
	size_t n = 0, there = 0;
	bool existing = false;
	const struct address at = {.broker_id = "da", .host = "h", .ip = "1.2.3.4", .port = 1};
	const struct id16 mark = {{7}}, other = {{8}};
	struct id16 is;
	struct store *s = &f->home.store;

	noise_put(f, "a", 600000, 1);
	noise_put(f, "b", 600000, 2);
	assert_int_equal(build_tree(f, "1", &v1, &existing), ERR_OK);
	noise_put(f, "b", 600000, 3);
	assert_int_equal(build_tree(f, "2", &v2, &existing), ERR_OK);
	assert_int_equal(store_end(s, broker_put(s, &at)), ERR_OK);
	assert_int_equal(store_end(s, broker_forget(s, "da", &mark)), ERR_OK);
	assert_int_equal(broker_mark(s, "da", &is), ERR_OK);
	assert_memory_equal(&is, &mark, 16);
	assert_int_equal(store_end(s, claim_package(s, "da", &v1.id, 1, &o, &n)), ERR_OK);
	assert_int_equal(n, v1.objects.object_count);
	free(o);
	// not complete yet: nothing counts as there
	assert_int_equal(store_end(s, claim_package(s, "da", &v2.id, 1, &o, &n)), ERR_OK);
	for (size_t i = 0; i < n; i++)
		assert_false(o[i].there);
	free(o);
	assert_int_equal(store_end(s, claim_complete(s, "da", &v1.id)), ERR_OK);
	assert_int_equal(store_end(s, claim_package(s, "da", &v2.id, 1, &o, &n)), ERR_OK);
	for (size_t i = 0; i < n; i++)
		there += o[i].there;
	assert_true(there >= 2 && there < n);
	free(o);
	// what v2 claims is not withdrawn with v1
	assert_int_equal(store_end(s, withdraw_begin(s, "da", &v1.id, 2, &o, &n)), ERR_OK);
	assert_int_equal(n, v1.objects.object_count - there);
	free(o);
	assert_int_equal(store_end(s, withdraw_end(s, "da", &v1.id)), ERR_OK);
	uint64_t freed = 0;
	assert_int_equal(package_remove(s, &v2.id, &freed), ERR_NOT_NOW);
	// a broker that forgot
	assert_int_equal(store_end(s, claim_complete(s, "da", &v2.id)), ERR_OK);
	assert_int_equal(store_end(s, broker_forget(s, "da", &other)), ERR_OK);
	assert_int_equal(store_end(s, claim_package(s, "da", &v2.id, 3, &o, &n)), ERR_OK);
	for (size_t i = 0; i < n; i++)
		assert_false(o[i].there);
	free(o);
	package_built_fini(&v1);
	package_built_fini(&v2);
}

// ---- faults

static void what_no_row_names_is_swept_at_start(void **state)
{
	struct fixture *f = *state;
	struct digest d = sha256("x", 1);
	char path[600];

	assert_int_equal(blob_put(&f->home.store.objects, &d, bytes_of("x", 1)), ERR_OK);
	assert_int_equal(blob_put(&f->home.store.images, &d, bytes_of("x", 1)), ERR_OK);
	snprintf(path, sizeof path, "%s/tmp-0123", f->home.store.objects.dir);
	assert_int_equal(file_write_atomic(path, "half", 4, 0600), ERR_OK);
	struct digest kept = image_put(f, 1000, 5, "a");
	store_close(&f->home.store);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
	assert_int_equal(files_below(f->home.store.objects.dir), 0);
	assert_int_equal(files_below(f->home.store.images.dir), 1);
	struct image i;
	assert_int_equal(image_find(&f->home.store, &kept, &i), ERR_OK);
}

static void a_second_publisher_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store second;

	assert_int_equal(store_open(&second, f->home.state), ERR_EXISTS);
}

static void a_newer_store_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(
		db_run_values(f->home.store.db, "PRAGMA user_version = 99", NULL, 0), ERR_OK);
	assert_int_equal(db_commit(f->home.store.db), ERR_OK);
	store_close(&f->home.store);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_VERSION);
	f->home.store.lock_fd = -1;
}

// ---- editing and collecting

static void image_retire(struct fixture *f, const struct digest *d, int64_t at)
{
	struct image i;

	assert_int_equal(image_find(&f->home.store, d, &i), ERR_OK);
	i.retired_unix_ms = at;
	assert_int_equal(store_end(&f->home.store, image_update(&f->home.store, &i)), ERR_OK);
}

struct collected {
	size_t told, kept;
	char why[200];
};

static void collected_put(void *ctx, const struct image *i, const char *kept)
{
	struct collected *c = ctx;

	(void)i;
	c->told++;
	c->kept += kept[0] != 0;
	if (kept[0])
		(void)str_copy(c->why, sizeof c->why, kept);
}

static uint64_t collect(struct fixture *f, int64_t before, bool dry, struct collected *c)
{
	struct image_gc gc = {.before = {before}, .dry = dry, .each = collected_put, .ctx = c};

	*c = (struct collected){0};
	assert_int_equal(image_collect(&f->home.store, &gc), ERR_OK);
	return gc.removed;
}

static void an_image_is_edited(void **state)
{
	struct fixture *f = *state;
	struct image i, back;
	struct digest d = image_put(f, 100, 1, "a"), found;

	assert_int_equal(image_find(&f->home.store, &d, &i), ERR_OK);
	(void)str_copy(i.title, sizeof i.title, "It's \"new\"");
	(void)str_copy(i.tags[1], sizeof i.tags[1], "b");
	i.tag_count = 2;
	i.weight = 7;
	i.released_unix_ms = 1000;
	i.expires_unix_ms = 2000;
	assert_int_equal(store_end(&f->home.store, image_update(&f->home.store, &i)), ERR_OK);
	store_close(&f->home.store);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
	assert_int_equal(image_find(&f->home.store, &d, &back), ERR_OK);
	assert_string_equal(back.title, "It's \"new\"");
	assert_int_equal(back.tag_count, 2);
	assert_string_equal(back.tags[1], "b");
	assert_int_equal(back.weight, 7);
	assert_int_equal(back.released_unix_ms, 1000);
	assert_int_equal(back.expires_unix_ms, 2000);
	assert_int_equal(image_of_original(&f->home.store, &d, &found), ERR_OK);
	assert_true(digest_equal(&found, &d));
	found.b[0] ^= 1;
	assert_int_equal(image_of_original(&f->home.store, &found, &found), ERR_NOT_FOUND);
}

// Whatever state the package is in, as long as its row is there somebody may show it, fetch it or
// go back to it.
static void what_a_package_names_is_never_collected(void **state)
{
	struct fixture *f = *state;
	struct digest images[3];
	struct package_built b;
	struct collected c;
	uint64_t freed = 0;

	for (uint64_t i = 0; i < 3; i++)
		images[i] = image_put(f, 1000 + i, 40 + i, "a");
	build_images(f, "1", images, 2, &b);
	for (size_t i = 0; i < 3; i++)
		image_retire(f, &images[i], 100);
	for (enum package_state s = PACKAGE_BUILT; s <= PACKAGE_WITHDRAWN; s++) {
		assert_int_equal(
			store_end(&f->home.store, package_set_state(&f->home.store, &b.id, s)),
			ERR_OK);
		assert_int_equal(collect(f, 1000, true, &c), 1); // dry: only the third would go
		assert_int_equal(c.told, 3);
		assert_int_equal(c.kept, 2);
		assert_string_equal(c.why, "package show 1 shows this image");
	}
	assert_int_equal(collect(f, 99, false, &c), 0); // retired only lately
	assert_int_equal(files_below(f->home.store.images.dir), 3);
	assert_int_equal(collect(f, 100, false, &c), 1);
	assert_int_equal(files_below(f->home.store.images.dir), 2);
	assert_int_equal(collect(f, 100, false, &c), 0);
	// The last one that named them is gone: they may go, and take their variants along.
	struct variant v = {.image = images[0], .sha256 = {{9}}, .width = 1, .height = 1};
	assert_int_equal(blob_put(&f->home.store.images, &v.sha256, bytes_of("v", 1)), ERR_OK);
	assert_int_equal(store_end(&f->home.store, variant_add(&f->home.store, &v)), ERR_OK);
	assert_int_equal(package_remove(&f->home.store, &b.id, &freed), ERR_OK);
	assert_int_equal(collect(f, 100, false, &c), 2);
	assert_int_equal(files_below(f->home.store.images.dir), 0);
	package_built_fini(&b);
}

// Bytes that two rows name stay as long as one of them does: a variant of one image may be another
// image of the store.
static void bytes_that_are_named_twice_stay(void **state)
{
	struct fixture *f = *state;
	struct collected c;
	struct digest a = image_put(f, 2000, 1, "a"), small = image_put(f, 100, 2, "a");
	struct variant v = {
		.image = a, .sha256 = small, .width = 1, .height = 1, .size_bytes = 100};

	assert_int_equal(store_end(&f->home.store, variant_add(&f->home.store, &v)), ERR_OK);
	image_retire(f, &small, 5);
	assert_int_equal(collect(f, 10, false, &c), 1);
	assert_int_equal(files_below(f->home.store.images.dir), 2); // the variant needs it
	store_close(&f->home.store);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
	assert_int_equal(files_below(f->home.store.images.dir), 2);
	struct digest again = image_put(f, 100, 2, "a");
	assert_true(digest_equal(&again, &small));
	image_retire(f, &a, 5);
	assert_int_equal(collect(f, 10, false, &c), 1);
	assert_int_equal(files_below(f->home.store.images.dir), 1); // and the image needs it
}

// Killed between the commit of the rows and the removal of the bytes: the sweep at start ends it.
static void a_collection_that_was_cut_is_ended_at_the_start(void **state)
{
	struct fixture *f = *state;
	struct digest d = image_put(f, 100, 1, "a");

	assert_int_equal(
		db_run(f->home.store.db, "DELETE FROM image WHERE sha256 = $1", DB_D(&d)), ERR_OK);
	assert_int_equal(db_commit(f->home.store.db), ERR_OK);
	assert_int_equal(files_below(f->home.store.images.dir), 1);
	store_close(&f->home.store);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
	assert_int_equal(files_below(f->home.store.images.dir), 0);
}

static void a_store_of_version_1_is_brought_along(void **state)
{
	static const char *const back[] = {"DROP TABLE variant", "DROP TABLE image_original",
		"DROP TABLE package_order", "DROP TABLE order_package", "DROP TABLE delta",
		"DROP INDEX package_name", "ALTER TABLE image DROP COLUMN released_unix_ms",
		"ALTER TABLE image DROP COLUMN expires_unix_ms",
		"ALTER TABLE image DROP COLUMN weight",
		"ALTER TABLE image DROP COLUMN retired_unix_ms",
		"ALTER TABLE object DROP COLUMN bases", "DROP TABLE directive",
		"DROP TABLE seen_file", "DROP TABLE seen_name", "PRAGMA user_version = 1"};
	struct fixture *f = *state;
	struct digest d = image_put(f, 100, 1, "a"), found;
	struct image i;

	for (size_t k = 0; k < sizeof back / sizeof back[0]; k++)
		if (db_run_values(f->home.store.db, back[k], NULL, 0) != ERR_OK)
			fail_msg("%s: %s", back[k], err_text());
	assert_int_equal(db_commit(f->home.store.db), ERR_OK);
	store_close(&f->home.store);
	if (store_open(&f->home.store, f->home.state) != ERR_OK)
		fail_msg("%s", err_text());
	assert_int_equal(image_find(&f->home.store, &d, &i), ERR_OK);
	assert_int_equal(i.weight, 0);
	assert_int_equal(image_of_original(&f->home.store, &i.original, &found), ERR_OK);
	assert_int_equal(files_below(f->home.store.images.dir), 1);
}

// ---- orders

struct old_list {
	struct digest list[16];
	size_t count;
};

static bool old_put(void *ctx, const struct digest *package)
{
	struct old_list *l = ctx;

	l->list[l->count++] = *package;
	return true;
}

static void outcome_put(struct fixture *f, const char *id, uint8_t package)
{
	struct order_row r = {.reason = "", .warnings = ""};

	(void)str_copy(r.id, sizeof r.id, id);
	r.package.b[0] = package;
	assert_int_equal(store_end(&f->home.store, order_set_outcome(&f->home.store, &r)), ERR_OK);
}

static size_t old_count(struct fixture *f, uint32_t keep, struct old_list *l)
{
	l->count = 0;
	assert_int_equal(order_old_packages(&f->home.store, keep, old_put, l), ERR_OK);
	return l->count;
}

static bool order_look(void *ctx, const struct order_row *r)
{
	assert_string_equal(r->id, "a");
	assert_int_equal(r->revision, 3);
	assert_true(bytes_equal(r->body, bytes_of("three", 5)));
	assert_string_equal(r->reason, "why not");
	assert_string_equal(r->warnings, "one\ntwo");
	assert_int_equal(r->matched, 9);
	*(bool *)ctx = r->told;
	return true;
}

static void an_order_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct order_row r = {
		.id = "a", .revision = 2, .body = bytes_of("two", 3), .reason = "", .warnings = ""};
	bool told = true;

	assert_int_equal(store_end(&f->home.store, order_put(&f->home.store, &r)), ERR_OK);
	r.reason = "why not";
	r.warnings = "one\ntwo";
	r.matched = 9;
	assert_int_equal(store_end(&f->home.store, order_set_outcome(&f->home.store, &r)), ERR_OK);
	assert_int_equal(
		store_end(&f->home.store, order_set_told(&f->home.store, "a", true)), ERR_OK);
	r = (struct order_row){.id = "a",
		.revision = 3,
		.body = bytes_of("three", 5),
		.reason = "",
		.warnings = ""};
	store_close(&f->home.store);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
	assert_int_equal(store_end(&f->home.store, order_put(&f->home.store, &r)), ERR_OK);
	// A new revision is untold; what became of the order stands until there is another outcome.
	assert_int_equal(order_list(&f->home.store, order_look, &told), ERR_OK);
	assert_false(told);
}

static void old_packages_are_those_that_no_order_goes_back_to(void **state)
{
	struct fixture *f = *state;
	static const char *const ids[] = {"a", "b"};
	struct old_list l;

	for (size_t i = 0; i < 2; i++) {
		struct order_row r = {
			.revision = 1, .body = bytes_of("x", 1), .reason = "", .warnings = ""};
		(void)str_copy(r.id, sizeof r.id, ids[i]);
		assert_int_equal(store_end(&f->home.store, order_put(&f->home.store, &r)), ERR_OK);
	}
	for (uint8_t p = 1; p <= 5; p++)
		outcome_put(f, "a", p);
	assert_int_equal(old_count(f, 4, &l), 0);
	assert_int_equal(old_count(f, 3, &l), 1);
	assert_int_equal(l.list[0].b[0], 1);
	assert_int_equal(old_count(f, 1, &l), 3);
	outcome_put(f, "b", 1); // another order shows it now
	assert_int_equal(old_count(f, 1, &l), 2);
	outcome_put(f, "a", 2); // back again: the newest now
	assert_int_equal(old_count(f, 1, &l), 2);
	assert_int_equal(l.list[0].b[0] + l.list[1].b[0], 3 + 4);
	outcome_put(f, "a", 0); // no package: what was shown before is kept like a present one
	assert_int_equal(old_count(f, 1, &l), 2);
}

// On a real small file system, where the test may mount one.
static void a_full_disk_leaves_nothing_half_written(void **state)
{
	struct fixture *f = *state;
	struct package_built b;
	bool existing = false;
	char disk[100];

	store_close(&f->home.store);
	snprintf(disk, sizeof disk, "%s/disk", f->home.dir);
	assert_int_equal(dir_make(disk), ERR_OK);
	if (mount("tmpfs", disk, "tmpfs", 0, "size=8m") != 0) {
		print_message("skipped: cannot mount a tmpfs here (%s)\n", strerror(errno));
		assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
		skip();
	}
	snprintf(f->home.state, sizeof f->home.state, "%s/state", disk);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
	noise_put(f, "small", 1000000, 1);
	assert_int_equal(build_tree(f, "1", &b, &existing), ERR_OK);
	package_built_fini(&b);
	size_t files = files_below(f->home.store.objects.dir);
	noise_put(f, "large", 20000000, 2);
	enum err e = build_tree(f, "2", &b, &existing);
	assert_int_equal(e, ERR_NO_SPACE);
	assert_int_equal(files_below(f->home.store.objects.dir), files);
	noise_put(f, "large", 500000, 3); // the next good input works
	assert_int_equal(build_tree(f, "3", &b, &existing), ERR_OK);
	(void)read_package(f, &b.id, NULL);
	package_built_fini(&b);
	store_close(&f->home.store);
	assert_int_equal(umount2(disk, MNT_DETACH), 0);
	snprintf(f->home.state, sizeof f->home.state, "%s/state", f->home.dir);
	assert_int_equal(store_open(&f->home.store, f->home.state), ERR_OK);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(a_tree_of_software_reads_back),
		WITH_STORE(the_small_profile_reads_back_and_is_smaller),
		WITH_STORE(the_small_profile_of_a_sealed_package_reads_back),
		WITH_STORE(pages_of_small_files_are_told_with_each_other),
		WITH_STORE(equal_content_gives_the_equal_package_and_no_object),
		WITH_STORE(an_undone_build_takes_nothing_of_others_away),
		WITH_STORE(another_store_gives_the_equal_package),
		WITH_STORE(a_tenth_of_new_pictures_costs_little_more_than_itself),
		WITH_STORE(removing_a_package_keeps_what_another_needs),
		WITH_STORE(a_package_outlives_its_source_and_a_restart),
		WITH_STORE(a_tree_with_something_else_is_refused_by_name),
		WITH_STORE(a_link_to_a_folder_is_not_followed),
		WITH_STORE(a_sparse_giant_is_refused_before_it_is_read),
		WITH_STORE(an_image_is_known_by_its_content),
		WITH_STORE(images_are_listed_by_tags),
		WITH_STORE(an_image_in_a_package_stays),
		WITH_STORE(a_damaged_picture_ends_the_build),
		WITH_STORE(a_claim_knows_what_lies_where),
		WITH_STORE(what_no_row_names_is_swept_at_start),
		WITH_STORE(a_second_publisher_is_refused),
		WITH_STORE(an_image_is_edited),
		WITH_STORE(what_a_package_names_is_never_collected),
		WITH_STORE(bytes_that_are_named_twice_stay),
		WITH_STORE(a_collection_that_was_cut_is_ended_at_the_start),
		WITH_STORE(a_store_of_version_1_is_brought_along),
		WITH_STORE(an_order_comes_back_as_it_was),
		WITH_STORE(old_packages_are_those_that_no_order_goes_back_to),
		WITH_STORE(a_newer_store_is_refused),
		WITH_STORE(a_full_disk_leaves_nothing_half_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
