// Packages made in memory for tests: manifest, pages, index and raw objects, signed by test keys.
#ifndef HELIO_TESTS_UNIT_PACKAGE_HELPER_H
#define HELIO_TESTS_UNIT_PACKAGE_HELPER_H

#include "proto/chunker.h"
#include "proto/content.h"
#include "proto/digest.h"
#include "proto/topics.h"
#include "tests/unit/helper.h"

#define PACKAGE_FILES 512

struct test_file {
	char path[128];
	uint8_t *data;
	size_t size;
	bool executable;
};

struct test_object {
	struct digest sha256;
	struct bytes bytes; // borrowed from the file or the page
};

struct test_package {
	struct digest id;
	struct test_file files[PACKAGE_FILES];
	size_t file_count;
	struct manifest_builder *builder;
	struct buf root, envelope, index;
	const struct built_page *pages;
	size_t page_count;
	struct test_object *objects;
	size_t object_count, object_cap;
	struct buf *index_pages;
	struct chunk_ref *chunks; // of all pages, with repeats
};

struct test_keys {
	struct sign_key *image, *software, *publisher;
	struct key32 image_public, software_public;
	struct root root;
};

static inline struct sign_key *test_key(void)
{
	struct key32 secret;
	struct sign_key *key;
	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &key), ERR_OK);
	return key;
}

static inline void test_keys_init(struct test_keys *k)
{
	k->image = test_key();
	k->software = test_key();
	k->publisher = test_key();
	k->image_public = *sign_key_public(k->image);
	k->software_public = *sign_key_public(k->software);
	k->root = (struct root){.version = 1,
		.fleet = "test",
		.image_keys = &k->image_public,
		.image_key_count = 1,
		.software_keys = &k->software_public,
		.software_key_count = 1,
		.software_threshold = 1};
}

static inline void test_keys_fini(struct test_keys *k)
{
	sign_key_free(k->image);
	sign_key_free(k->software);
	sign_key_free(k->publisher);
}

// Bytes that do not compress and are the same for the same seed.
static inline void test_fill(uint8_t *out, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t z = (seed += 0x9e3779b97f4a7c15u);
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		memcpy(out + i, &z, size - i < 8 ? size - i : 8);
	}
}

// In ascending path order.
static inline struct test_file *test_package_add(
	struct test_package *p, const char *path, size_t size, uint64_t seed)
{
	struct test_file *f = &p->files[p->file_count++];
	assert_true(p->file_count <= PACKAGE_FILES);
	assert_true(str_copy(f->path, sizeof f->path, path));
	f->size = size;
	f->data = malloc(size + 8);
	assert_non_null(f->data);
	test_fill(f->data, size, seed);
	return f;
}

static inline void test_object_add(
	struct test_package *p, const struct digest *d, struct bytes bytes)
{
	if (p->object_count == p->object_cap) {
		p->object_cap = p->object_cap * 2 + 64;
		p->objects = realloc(p->objects, p->object_cap * sizeof *p->objects);
		assert_non_null(p->objects);
	}
	p->objects[p->object_count++] = (struct test_object){.sha256 = *d, .bytes = bytes};
}

static inline void test_builder_add(struct test_package *p, const struct test_file *f)
{
	size_t count = 0, max = f->size / CHUNK_MIN + 2;
	uint8_t *hashes = malloc(32 * max);
	uint32_t *sizes = malloc(sizeof *sizes * max);
	for (size_t at = 0; at < f->size; count++) {
		size_t rest = f->size - at;
		size_t n = chunk_cut(f->data + at, rest < CHUNK_MAX ? rest : CHUNK_MAX);
		struct digest d = sha256(f->data + at, n);
		memcpy(hashes + 32 * count, d.b, 32);
		sizes[count] = (uint32_t)n;
		test_object_add(p, &d, bytes_of(f->data + at, n));
		at += n;
	}
	struct picture_info picture = {
		.width_px = 8, .height_px = 8, .title = "a title", .fit = ""};
	struct file_entry e = {.path = f->path,
		.size_bytes = f->size,
		.sha256 = sha256(f->data, f->size),
		.executable = f->executable,
		.chunk_sha256 = bytes_of(hashes, 32 * count),
		.chunk_size = sizes,
		.chunk_count = count,
		.picture = f->executable ? NULL : &picture};
	if (count <= 1) {
		e.chunk_count = 0;
		e.chunk_sha256 = bytes_of(NULL, 0);
	}
	assert_int_equal(manifest_builder_add(p->builder, &e), ERR_OK);
	free(hashes);
	free(sizes);
}

static inline void test_index_make(struct test_package *p, const struct test_keys *k)
{
	struct arena a;
	struct page_carry carry = {0};
	SCOPED_BUF struct buf payload;
	arena_init(&a, 64 * 1024 * 1024, 1000000);
	buf_init(&payload, LIMIT_INDEX);
	struct index x = {
		.package = p->id, .page_count = p->page_count, .page_object_count = p->page_count};
	x.pages = arena_array(&a, p->page_count, sizeof *x.pages);
	x.page_objects = arena_array(&a, p->page_count, sizeof *x.page_objects);
	p->index_pages = calloc(p->page_count, sizeof *p->index_pages);
	for (size_t i = 0; i < p->page_count; i++) {
		struct manifest_page page;
		struct page_plan plan;
		struct index_page ip = {0};
		assert_int_equal(manifest_page_decode(&a, p->pages[i].bytes, &page), ERR_OK);
		assert_int_equal(
			page_plan_make(&a, &page, &p->pages[i].ref, &carry, &plan), ERR_OK);
		ip.objects = arena_array(&a, plan.chunk_count + 1, sizeof *ip.objects);
		for (size_t c = 0; c < plan.chunk_count; c++) {
			ip.objects[c] = (struct object){
				.coding = CODING_RAW, .first_chunk = (uint32_t)c, .chunk_count = 1};
			x.object_count++;
			x.object_bytes += plan.chunks[c].size;
		}
		ip.object_count = plan.chunk_count;
		buf_init(&p->index_pages[i], LIMIT_INDEX_PAGE);
		assert_int_equal(index_page_encode(&ip, &p->index_pages[i]), ERR_OK);
		struct bytes b = buf_bytes(&p->index_pages[i]);
		struct digest d = sha256(b.data, b.size);
		struct object *o = arena_alloc(&a, sizeof *o);
		*o = (struct object){.coding = CODING_RAW, .chunk_count = 1};
		x.pages[i] = (struct index_page_ref){
			.sha256 = d, .size_bytes = (uint32_t)b.size, .object = o};
		x.page_objects[i] = (struct object){
			.coding = CODING_RAW, .first_chunk = (uint32_t)i, .chunk_count = 1};
		test_object_add(p, &d, b);
		test_object_add(p, &p->pages[i].ref.sha256, p->pages[i].bytes);
	}
	assert_int_equal(index_encode(&x, &payload), ERR_OK);
	buf_init(&p->index, LIMIT_INDEX + 1024);
	assert_int_equal(
		envelope_make(PURPOSE_INDEX, buf_bytes(&payload), &k->publisher, 1, &p->index),
		ERR_OK);
	arena_fini(&a);
}

static inline void test_package_build(
	struct test_package *p, const struct test_keys *k, const struct manifest *info)
{
	struct manifest m = *info;
	if (m.product == NULL)
		m.product = "";
	if (m.hw_class == NULL)
		m.hw_class = "";
	if (m.min_agent == NULL)
		m.min_agent = "";
	struct sign_key *key = m.kind == PACKAGE_SOFTWARE ? k->software : k->image;
	buf_init(&p->root, LIMIT_MANIFEST_ROOT);
	buf_init(&p->envelope, LIMIT_ENVELOPE);
	assert_int_equal(manifest_builder_new(&m, &p->builder), ERR_OK);
	for (size_t i = 0; i < p->file_count; i++)
		test_builder_add(p, &p->files[i]);
	assert_int_equal(
		manifest_builder_finish(p->builder, &p->root, &p->pages, &p->page_count), ERR_OK);
	p->id = package_id(buf_bytes(&p->root));
	assert_int_equal(
		envelope_make(PURPOSE_MANIFEST, buf_bytes(&p->root), &key, 1, &p->envelope),
		ERR_OK);
	test_index_make(p, k);
}

static inline void test_package_free(struct test_package *p)
{
	for (size_t i = 0; i < p->file_count; i++)
		free(p->files[i].data);
	for (size_t i = 0; i < p->page_count; i++)
		buf_fini(&p->index_pages[i]);
	free(p->index_pages);
	free(p->objects);
	manifest_builder_free(p->builder);
	buf_fini(&p->root);
	buf_fini(&p->envelope);
	buf_fini(&p->index);
	*p = (struct test_package){0};
}

static inline const struct test_object *test_object_find(
	const struct test_package *p, const struct digest *d)
{
	for (size_t i = 0; i < p->object_count; i++) {
		if (digest_equal(&p->objects[i].sha256, d))
			return &p->objects[i];
	}
	return NULL;
}

#endif
