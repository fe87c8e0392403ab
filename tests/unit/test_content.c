// Packages: what is built reads back, and every rule of content.h refuses what breaks it.
#include "proto/content.h"
#include "tests/unit/bad_paths.h"
#include "proto/digest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

#define ARENA (8 * 1024 * 1024)

static struct digest digest_of(const char *s)
{
	return sha256(s, strlen(s));
}

// ---- round trip

struct built {
	struct manifest_builder *b;
	struct buf root;
	const struct built_page *pages;
	size_t page_count;
};

static const struct manifest info = {.kind = PACKAGE_IMAGES,
	.name = "spring",
	.version = "1",
	.product = "",
	.hw_class = "",
	.min_agent = ""};

static struct built build_begin(void)
{
	struct built x = {0};

	buf_init(&x.root, LIMIT_MANIFEST_ROOT);
	assert_int_equal(manifest_builder_new(&info, &x.b), ERR_OK);
	return x;
}

static void build_end(struct built *x)
{
	assert_int_equal(
		manifest_builder_finish(x->b, &x->root, &x->pages, &x->page_count), ERR_OK);
}

static void build_free(struct built *x)
{
	manifest_builder_free(x->b);
	buf_fini(&x->root);
}

static void add_small(struct built *x, const char *path, const char *content)
{
	struct file_entry e = {
		.path = path, .size_bytes = strlen(content), .sha256 = digest_of(content)};

	assert_int_equal(manifest_builder_add(x->b, &e), ERR_OK);
}

// A file of `count` chunks that are only names here: sizes and hashes are made up.
static void add_large(struct built *x, const char *path, size_t count)
{
	struct digest *hashes = calloc(count, sizeof *hashes);
	uint32_t *sizes = calloc(count, sizeof *sizes);
	uint64_t total = 0;

	assert_non_null(hashes);
	assert_non_null(sizes);
	for (size_t i = 0; i < count; i++) {
		char name[600];
		snprintf(name, sizeof name, "%s %zu", path, i % 5000);
		hashes[i] = digest_of(name);
		sizes[i] = 100000 + (uint32_t)(i % 5000);
		total += sizes[i];
	}
	struct file_entry e = {.path = path,
		.size_bytes = total,
		.sha256 = digest_of(path),
		.chunk_sha256 = bytes_of(hashes, count * sizeof *hashes),
		.chunk_size = sizes,
		.chunk_count = count};
	assert_int_equal(manifest_builder_add(x->b, &e), ERR_OK);
	free(hashes);
	free(sizes);
}

// Reads all as an agent would. Returns the first error.
static enum err read_all(const struct built *x, uint64_t *place_bytes)
{
	SCOPED_ARENA struct arena a, p;
	struct manifest m;
	struct page_carry carry = {0};

	arena_init(&a, ARENA, 1 << 20);
	arena_init(&p, ARENA, 1 << 20);
	TRY(manifest_decode(&a, buf_bytes(&x->root), &m));
	TRY(manifest_check(&m));
	assert_int_equal(m.page_count, x->page_count);
	*place_bytes = 0;
	for (size_t i = 0; i < m.page_count; i++) {
		struct manifest_page page;
		struct page_plan plan;
		arena_reset(&p);
		struct digest is = sha256(x->pages[i].bytes.data, x->pages[i].bytes.size);
		assert_true(digest_equal(&is, &m.pages[i].sha256));
		assert_int_equal(x->pages[i].bytes.size, m.pages[i].size_bytes);
		TRY(manifest_page_decode(&p, x->pages[i].bytes, &page));
		TRY(page_plan_make(&p, &page, &m.pages[i], &carry, &plan));
		for (size_t k = 0; k < plan.place_count; k++) {
			assert_true(plan.places[k].chunk < plan.chunk_count);
			assert_true(plan.places[k].file < page.file_count);
			*place_bytes += plan.chunks[plan.places[k].chunk].size;
		}
	}
	return page_carry_finish(&carry, &m);
}

static void a_package_reads_back(void **state)
{
	(void)state;
	struct built x = build_begin();
	uint64_t bytes = 0;

	add_small(&x, "0001-sea.jpg", "sea");
	add_small(&x, "0002-empty", "");
	add_large(&x, "big.bin", 3);
	add_small(&x, "sub/a", "sea"); // the same chunk again
	build_end(&x);
	assert_int_equal(x.page_count, 1);
	assert_int_equal(x.pages[0].ref.chunk_count, 4);
	assert_int_equal(x.pages[0].ref.file_count, 4);
	assert_int_equal(read_all(&x, &bytes), ERR_OK);
	assert_int_equal(bytes, 3 + 3 + 300003);
	build_free(&x);
}

static void equal_content_gives_the_equal_package_id(void **state)
{
	(void)state;
	struct digest ids[2];

	for (int i = 0; i < 2; i++) {
		struct built x = build_begin();
		add_small(&x, "a", "one");
		add_large(&x, "b", 7000);
		build_end(&x);
		ids[i] = package_id(buf_bytes(&x.root));
		build_free(&x);
	}
	assert_true(digest_equal(&ids[0], &ids[1]));
}

static void a_file_crosses_pages(void **state)
{
	(void)state;
	struct built x = build_begin();
	uint64_t bytes = 0, want = 0;

	add_small(&x, "a", "one");
	add_large(&x, "b.bin", 30000);
	add_small(&x, "c", "two");
	add_large(&x, "d.bin", 9000);
	build_end(&x);
	for (size_t i = 0; i < 30000; i++)
		want += 100000 + i % 5000;
	for (size_t i = 0; i < 9000; i++)
		want += 100000 + i % 5000;
	assert_true(x.page_count >= 12);
	assert_int_equal(read_all(&x, &bytes), ERR_OK);
	assert_int_equal(bytes, want + 6);
	build_free(&x);
}

static void a_hundred_thousand_small_files_fit(void **state)
{
	(void)state;
	struct built x = build_begin();
	uint64_t bytes = 0;

	for (int i = 0; i < LIMIT_FILES; i++) {
		char path[64], content[32];
		snprintf(path, sizeof path, "folder-%02d/file-%06d.jpg", i / 1000, i);
		snprintf(content, sizeof content, "%06d", i);
		add_small(&x, path, content);
	}
	struct file_entry e = {.path = "z", .size_bytes = 1, .sha256 = digest_of("z")};
	assert_int_equal(manifest_builder_add(x.b, &e), ERR_FULL);
	build_end(&x);
	assert_int_equal(read_all(&x, &bytes), ERR_OK);
	assert_int_equal(bytes, 6 * LIMIT_FILES);
	build_free(&x);
}

// A changed file changes the page it is on and leaves the others as they are.
static void versions_share_their_pages(void **state)
{
	(void)state;
	struct built x[2];
	size_t shared = 0;

	for (int v = 0; v < 2; v++) {
		x[v] = build_begin();
		for (int i = 0; i < 20000; i++) {
			char path[64], content[32];
			if (v == 1 && i == 5000)
				continue;
			snprintf(path, sizeof path, "%06d.jpg", i);
			snprintf(content, sizeof content, "%d %d", i, i == 12000 ? v : 0);
			add_small(&x[v], path, content);
		}
		build_end(&x[v]);
	}
	assert_true(x[0].page_count > 10);
	for (size_t i = 0; i < x[0].page_count; i++)
		for (size_t k = 0; k < x[1].page_count; k++)
			shared +=
				digest_equal(&x[0].pages[i].ref.sha256, &x[1].pages[k].ref.sha256);
	assert_true(shared + 4 >= x[0].page_count);
	build_free(&x[0]);
	build_free(&x[1]);
}

static void the_builder_refuses_what_is_out_of_order(void **state)
{
	(void)state;
	struct built x = build_begin();
	struct file_entry b = {.path = "b", .size_bytes = 1, .sha256 = digest_of("b")};
	struct file_entry a = {.path = "a", .size_bytes = 1, .sha256 = digest_of("a")};
	struct file_entry big = {
		.path = "c", .size_bytes = LIMIT_CHUNK + 1, .sha256 = digest_of("c")};

	assert_int_equal(manifest_builder_add(x.b, &b), ERR_OK);
	assert_int_equal(manifest_builder_add(x.b, &b), ERR_RANGE);
	assert_int_equal(manifest_builder_add(x.b, &a), ERR_RANGE);
	assert_int_equal(manifest_builder_add(x.b, &big), ERR_RANGE);
	build_free(&x);
}

// ---- pages that break a rule

static struct file_entry file_of(const char *path, const char *content)
{
	return (struct file_entry){
		.path = path, .size_bytes = strlen(content), .sha256 = digest_of(content)};
}

static enum err plan_files(
	struct file_entry *files, size_t count, uint32_t chunks, struct page_carry *carry)
{
	SCOPED_ARENA struct arena a;
	struct manifest_page page = {.files = files, .file_count = count};
	struct page_ref ref = {.size_bytes = 4000, .chunk_count = chunks};
	struct page_plan plan;
	struct page_carry none = {0};

	arena_init(&a, ARENA, 1000);
	for (size_t i = 0; i < count; i++)
		ref.file_count += !files[i].continued;
	return page_plan_make(&a, &page, &ref, carry ? carry : &none, &plan);
}

static void C3_a_path_that_leaves_its_folder_is_refused(void **state)
{
	(void)state;
	bad_paths_make();
	for (size_t i = 0; i < BAD_PATH_COUNT; i++) {
		struct file_entry f = file_of(bad_paths[i], "x");
		if (plan_files(&f, 1, 1, NULL) != ERR_FORMAT)
			fail_msg("accepted: %s", bad_paths[i]);
	}
	struct file_entry good = file_of("a/b-c/d_e.0", "x");
	assert_int_equal(plan_files(&good, 1, 1, NULL), ERR_OK);
}

static void C6_paths_out_of_order_or_twice_are_refused(void **state)
{
	(void)state;
	struct file_entry sorted[] = {file_of("a", "1"), file_of("b", "2")};
	struct file_entry reversed[] = {file_of("b", "1"), file_of("a", "2")};
	struct file_entry twice[] = {file_of("a", "1"), file_of("a", "1")};

	assert_int_equal(plan_files(sorted, 2, 2, NULL), ERR_OK);
	assert_int_equal(plan_files(reversed, 2, 2, NULL), ERR_FORMAT);
	assert_int_equal(plan_files(twice, 2, 1, NULL), ERR_FORMAT);
}

static void order_holds_across_pages(void **state)
{
	(void)state;
	struct page_carry carry = {0};
	struct file_entry b = file_of("b", "1"), a = file_of("a", "2");

	assert_int_equal(plan_files(&b, 1, 1, &carry), ERR_OK);
	assert_int_equal(plan_files(&a, 1, 1, &carry), ERR_FORMAT);
}

static void a_file_below_a_file_is_refused(void **state)
{
	(void)state;
	struct file_entry near[] = {file_of("a", "1"), file_of("a/b", "2")};
	struct file_entry far[] = {file_of("a", "1"), file_of("a-b", "2"), file_of("a-b.c", "3"),
		file_of("a.d", "4"), file_of("a/b", "5")};
	struct file_entry deep[] = {
		file_of("x/y", "1"), file_of("x/y.z", "2"), file_of("x/y/z/q", "3")};
	struct file_entry good[] = {file_of("a", "1"), file_of("a-b", "2"), file_of("ab/c", "3"),
		file_of("ac", "4"), file_of("ac.d/e", "5")};
	struct page_carry carry = {0};

	assert_int_equal(plan_files(near, 2, 2, NULL), ERR_FORMAT);
	assert_int_equal(plan_files(far, 5, 5, NULL), ERR_FORMAT);
	assert_int_equal(plan_files(deep, 3, 3, NULL), ERR_FORMAT);
	assert_int_equal(plan_files(good, 5, 5, NULL), ERR_OK);
	assert_int_equal(plan_files(far, 4, 4, &carry), ERR_OK); // and from page to page
	assert_int_equal(plan_files(&far[4], 1, 1, &carry), ERR_FORMAT);
}

static void an_empty_file_has_no_chunk_and_the_hash_of_nothing(void **state)
{
	(void)state;
	struct file_entry good[] = {file_of("a", ""), file_of("b", "x")};
	struct file_entry bad[] = {file_of("a", ""), file_of("b", "x")};

	bad[0].sha256 = digest_of("x");
	assert_int_equal(plan_files(good, 2, 1, NULL), ERR_OK);
	assert_int_equal(plan_files(bad, 2, 1, NULL), ERR_FORMAT);
}

// A file of two chunks, to be spoilt.
struct two {
	struct digest hashes[2];
	uint32_t sizes[2];
	struct file_entry f;
};

static struct file_entry *two_make(struct two *t)
{
	t->hashes[0] = digest_of("p");
	t->hashes[1] = digest_of("q");
	t->sizes[0] = 1000;
	t->sizes[1] = 500;
	t->f = (struct file_entry){.path = "f",
		.size_bytes = 1500,
		.sha256 = digest_of("f"),
		.chunk_sha256 = bytes_of(t->hashes, sizeof t->hashes),
		.chunk_size = t->sizes,
		.chunk_count = 2};
	return &t->f;
}

static void chunk_sizes_must_add_up(void **state)
{
	(void)state;
	struct two t;

	assert_int_equal(plan_files(two_make(&t), 1, 2, NULL), ERR_OK);
	two_make(&t)->size_bytes = 1499;
	assert_int_equal(plan_files(&t.f, 1, 2, NULL), ERR_FORMAT);
	two_make(&t);
	t.sizes[0] = 0;
	assert_int_equal(plan_files(&t.f, 1, 2, NULL), ERR_RANGE);
	two_make(&t)->size_bytes = UINT64_MAX;
	assert_int_equal(plan_files(&t.f, 1, 2, NULL), ERR_RANGE);
	two_make(&t)->size_bytes = 3000000;
	t.sizes[0] = LIMIT_CHUNK + 1;
	assert_int_equal(plan_files(&t.f, 1, 2, NULL), ERR_RANGE);
	two_make(&t)->chunk_sha256.size = 63;
	assert_int_equal(plan_files(&t.f, 1, 2, NULL), ERR_FORMAT);
	t.f = file_of("f", "x");
	t.f.size_bytes = LIMIT_CHUNK + 1;
	assert_int_equal(plan_files(&t.f, 1, 1, NULL), ERR_RANGE);
}

static void a_file_is_written_in_one_way_only(void **state)
{
	(void)state;
	struct two t;

	two_make(&t)->chunk_count = 1;
	t.f.chunk_sha256.size = 32;
	t.f.size_bytes = 1000;
	assert_int_equal(plan_files(&t.f, 1, 1, NULL), ERR_FORMAT);
}

static void one_hash_has_one_size(void **state)
{
	(void)state;
	struct two t;

	two_make(&t);
	t.hashes[1] = t.hashes[0];
	assert_int_equal(plan_files(&t.f, 1, 1, NULL), ERR_FORMAT);
	t.sizes[1] = 1000;
	t.f.size_bytes = 2000;
	assert_int_equal(plan_files(&t.f, 1, 1, NULL), ERR_OK);
}

static void a_page_holds_what_its_reference_promises(void **state)
{
	(void)state;
	struct two t;
	struct file_entry none = {0};

	assert_int_equal(plan_files(two_make(&t), 1, 1, NULL), ERR_FORMAT);
	assert_int_equal(plan_files(two_make(&t), 1, 3, NULL), ERR_FORMAT);
	assert_int_equal(plan_files(&none, 0, 0, NULL), ERR_RANGE);
}

static void a_file_continues_only_as_itself(void **state)
{
	(void)state;
	struct two t, u;
	struct page_carry carry = {0}, again;

	two_make(&t)->size_bytes = 3000;
	assert_int_equal(plan_files(&t.f, 1, 2, &carry), ERR_OK);
	two_make(&u)->size_bytes = 3000;
	u.f.continued = true;
	again = carry;
	assert_int_equal(plan_files(&u.f, 1, 2, &again), ERR_OK);
	assert_int_equal(again.file_done, 3000);
	assert_int_equal(plan_files(&u.f, 1, 2, &again), ERR_FORMAT); // it is complete
	again = carry;
	u.f.path = "g";
	assert_int_equal(plan_files(&u.f, 1, 2, &again), ERR_FORMAT);
	again = carry;
	u.f.path = "f";
	u.f.executable = true;
	assert_int_equal(plan_files(&u.f, 1, 2, &again), ERR_FORMAT);
	again = carry;
	u.f.executable = false;
	u.f.sha256 = digest_of("other");
	assert_int_equal(plan_files(&u.f, 1, 2, &again), ERR_FORMAT);
	again = carry;
	struct file_entry next = file_of("g", "x"); // before f is complete
	assert_int_equal(plan_files(&next, 1, 1, &again), ERR_FORMAT);
}

static void the_root_is_held_to_its_promise(void **state)
{
	(void)state;
	struct page_carry carry = {0};
	struct manifest m = {.file_count = 1, .size_bytes = 1500, .chunk_count = 2};
	struct two t;

	assert_int_equal(plan_files(two_make(&t), 1, 2, &carry), ERR_OK);
	assert_int_equal(page_carry_finish(&carry, &m), ERR_OK);
	m.size_bytes++;
	assert_int_equal(page_carry_finish(&carry, &m), ERR_FORMAT);
	m.size_bytes--;
	m.file_count++;
	assert_int_equal(page_carry_finish(&carry, &m), ERR_FORMAT);
	m.file_count--;
	m.chunk_count--;
	assert_int_equal(page_carry_finish(&carry, &m), ERR_FORMAT);
	m.chunk_count++;
	carry.file_done--;
	assert_int_equal(page_carry_finish(&carry, &m), ERR_FORMAT);
}

// ---- root

static void manifest_spoil(struct manifest *m, struct page_ref *page)
{
	*page = (struct page_ref){.size_bytes = 1000, .chunk_count = 3, .file_count = 2};
	*m = info;
	m->pages = page;
	m->page_count = 1;
	m->file_count = 2;
	m->chunk_count = 3;
	m->size_bytes = 12;
}

static void a_root_that_breaks_a_rule_is_refused(void **state)
{
	(void)state;
	struct manifest m;
	struct page_ref page;
	static const char *const labels[] = {
		"", ".", "..", ".x", "-rf", "a/b", "a b", "a\n", "\xc3\xa4"};

	manifest_spoil(&m, &page);
	assert_int_equal(manifest_check(&m), ERR_OK);
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		manifest_spoil(&m, &page);
		m.name = labels[i];
		assert_int_equal(manifest_check(&m), ERR_FORMAT);
		manifest_spoil(&m, &page);
		m.version = labels[i];
		assert_int_equal(manifest_check(&m), ERR_FORMAT);
	}
#define SPOILT(change, error)                                                                      \
	manifest_spoil(&m, &page);                                                                 \
	change;                                                                                    \
	assert_int_equal(manifest_check(&m), error)
	SPOILT(m.kind = 0, ERR_RANGE);
	SPOILT(m.page_count = 0, ERR_RANGE);
	SPOILT(m.page_count = LIMIT_PAGES + 1, ERR_RANGE);
	SPOILT(m.file_count++, ERR_FORMAT);
	SPOILT(m.chunk_count--, ERR_FORMAT);
	SPOILT(page.size_bytes = 0, ERR_RANGE);
	SPOILT(page.size_bytes = LIMIT_PAGE + 1, ERR_RANGE);
	SPOILT(page.chunk_count = UINT32_MAX, ERR_RANGE);
	SPOILT(m.size_bytes = UINT64_MAX, ERR_RANGE);
	struct show_defaults show = {.duration_ms = 8000, .transition_ms = 900, .fit = "fit"};
	SPOILT(m.show = &show, ERR_OK);
	show.transition_ms = 8001;
	SPOILT(m.show = &show, ERR_RANGE);
	show.transition_ms = 0;
	show.fit = "zoom";
	SPOILT(m.show = &show, ERR_RANGE);
#undef SPOILT
}

// ---- index

struct index_case {
	struct chunk_ref chunks[4];
	struct page_plan plan;
	struct object objects[4];
	struct index_page page;
};

// raw 0, zstd 1..2, raw 3
static struct index_page *index_make(struct index_case *x)
{
	memset(x, 0, sizeof *x);
	for (uint32_t i = 0; i < 4; i++) {
		char name[2] = {(char)('a' + i), 0};
		x->chunks[i] = (struct chunk_ref){.sha256 = digest_of(name), .size = 1000 + i};
	}
	x->plan = (struct page_plan){.chunks = x->chunks, .chunk_count = 4};
	x->objects[0] = (struct object){.coding = CODING_RAW, .first_chunk = 0, .chunk_count = 1};
	x->objects[1] = (struct object){.coding = CODING_ZSTD,
		.first_chunk = 1,
		.chunk_count = 2,
		.sha256 = digest_of("z"),
		.size_bytes = 77};
	x->objects[2] = (struct object){.coding = CODING_RAW, .first_chunk = 3, .chunk_count = 1};
	x->page = (struct index_page){.objects = x->objects, .object_count = 3};
	return &x->page;
}

static void a_good_index_is_filled_in(void **state)
{
	(void)state;
	struct index_case x;

	assert_int_equal(index_page_check(index_make(&x), &x.plan, false), ERR_OK);
	assert_true(digest_equal(&x.objects[0].sha256, &x.chunks[0].sha256));
	assert_int_equal(x.objects[2].size_bytes, 1003);
	object_to_index(&x.objects[0]);
	assert_true(digest_is_zero(&x.objects[0].sha256));
}

static void an_index_that_breaks_a_rule_is_refused(void **state)
{
	(void)state;
	struct index_case x;
	uint32_t base_size = 5;
	struct digest base = digest_of("base");

#define SPOILT(change, error)                                                                      \
	index_make(&x);                                                                            \
	change;                                                                                    \
	assert_int_equal(index_page_check(&x.page, &x.plan, false), error)
	SPOILT(x.page.object_count = 2, ERR_FORMAT);              // ends short
	SPOILT(x.objects[1].first_chunk = 2, ERR_FORMAT);         // gap
	SPOILT(x.objects[2].first_chunk = 2, ERR_FORMAT);         // overlap
	SPOILT(x.objects[1].first_chunk = 0, ERR_FORMAT);         // overlap
	SPOILT(x.objects[0].chunk_count = 0, ERR_RANGE);          // yields nothing
	SPOILT(x.objects[2].chunk_count = 2, ERR_RANGE);          // beyond the page
	SPOILT(x.objects[2].chunk_count = UINT32_MAX, ERR_RANGE); // beyond the page, wrapping
	SPOILT(x.objects[1].size_bytes = 0, ERR_RANGE);
	SPOILT(x.objects[1].size_bytes = LIMIT_OBJECT + 1, ERR_RANGE);
	SPOILT(memset(&x.objects[1].sha256, 0, 32), ERR_RANGE);
	SPOILT(x.objects[0].size_bytes = 999, ERR_FORMAT); // raw differs from its chunk
	SPOILT(x.objects[0].sha256 = digest_of("other"), ERR_FORMAT);
	SPOILT(x.objects[1].coding = CODING_RAW, ERR_FORMAT); // raw of two chunks, wrong size
	SPOILT(x.objects[1].coding = (enum coding)(CODING_BSDIFF_ZSTD + 1), ERR_UNSUPPORTED);
	SPOILT(x.objects[1].coding = CODING_BSDIFF_ZSTD, ERR_FORMAT); // without a base
	SPOILT(x.objects[1].coding = CODING_ZSTD_PREFIX, ERR_FORMAT); // without a base
	SPOILT((x.objects[1].base_chunks = &base, x.objects[1].base_count = 1), ERR_FORMAT);
	SPOILT((x.chunks[1].size = LIMIT_CHUNK, x.chunks[2].size = 1),
		ERR_RANGE); // yields too much
	index_make(&x);
	x.objects[1].coding = CODING_ZSTD_PREFIX;
	x.objects[1].base_chunks = &base;
	x.objects[1].base_sizes = &base_size;
	x.objects[1].base_count = x.objects[1].base_size_count = 1;
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_OK);
	base_size = LIMIT_CHUNK + 1;
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_RANGE);
#undef SPOILT
}

// Chunks 1 and 2 are told with chunk 0, chunk 3 with what `runs` say.
static void own_make(struct index_case *x, uint32_t runs[4], size_t numbers)
{
	static uint32_t first[] = {0, 1};

	index_make(x);
	x->objects[1].coding = CODING_ZSTD_PREFIX;
	x->objects[1].own_runs = first;
	x->objects[1].own_run_count = 2;
	x->objects[2] = x->objects[1];
	x->objects[2].first_chunk = 3;
	x->objects[2].chunk_count = 1;
	x->objects[2].own_runs = runs;
	x->objects[2].own_run_count = numbers;
}

static void an_object_is_told_with_what_stands_before_it_only(void **state)
{
	struct index_case x;
	uint8_t waves[3];
	uint32_t runs[4] = {1, 2, 0, 1};

	(void)state;
	own_make(&x, runs, 4);
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_OK);
	assert_int_equal(index_page_waves(&x.page, &x.plan, waves), ERR_OK);
	assert_int_equal(waves[0], 0);
	assert_int_equal(waves[1], 1);
	assert_int_equal(waves[2], 2);
	runs[0] = 0; // beside the other, on the first alone: any order of the two will do
	runs[1] = 1;
	assert_int_equal(index_page_waves(&x.page, &x.plan, waves), ERR_OK);
	assert_int_equal(waves[2], 1);
#define REFUSED(from, count, numbers)                                                              \
	runs[0] = from;                                                                            \
	runs[1] = count;                                                                           \
	own_make(&x, runs, numbers);                                                               \
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_FORMAT)
	REFUSED(3, 1, 2);          // itself
	REFUSED(2, 2, 2);          // into itself
	REFUSED(4, 1, 2);          // beyond the page
	REFUSED(UINT32_MAX, 2, 2); // beyond the page, wrapping
	REFUSED(0, UINT32_MAX, 2);
	REFUSED(1, 0, 2); // nothing
	REFUSED(1, 2, 3); // half a pair
	REFUSED(1, 2, OBJECT_OWN_RUNS_MAX + 2);
#undef REFUSED
	own_make(&x, runs, 2);
	x.objects[2].coding = CODING_ZSTD; // has no use for it
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_FORMAT);
	// A circle: chunk 0 is told with chunk 3, which is told with chunk 0.
	own_make(&x, (uint32_t[4]){0, 1}, 2);
	x.objects[0] = (struct object){.sha256 = digest_of("first"),
		.size_bytes = 70,
		.coding = CODING_ZSTD_PREFIX,
		.chunk_count = 1,
		.own_runs = (uint32_t[2]){3, 1},
		.own_run_count = 2};
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_FORMAT);
}

static void more_earlier_bytes_than_a_device_holds_are_refused(void **state)
{
	struct index_case x;
	uint32_t base_size = LIMIT_CHUNK - 1000, runs[4] = {0, 1};
	struct digest base = digest_of("base");

	(void)state;
	own_make(&x, runs, 2);
	x.chunks[0].size = LIMIT_CHUNK;
	x.objects[2].base_chunks = &base;
	x.objects[2].base_sizes = &base_size;
	x.objects[2].base_count = x.objects[2].base_size_count = 1;
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_OK);
	base_size = LIMIT_CHUNK;
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_OK);
	runs[2] = 1;
	runs[3] = 1;
	x.objects[2].own_run_count = 4; // one chunk too many
	assert_int_equal(index_page_check(&x.page, &x.plan, false), ERR_RANGE);
}

// Each object rests on the one before it.
static enum err chain_check(uint32_t length)
{
	struct chunk_ref chunks[OBJECT_WAVES + 1];
	struct object objects[OBJECT_WAVES + 1];
	uint32_t runs[OBJECT_WAVES + 1][2];
	struct index_page page = {.objects = objects, .object_count = length};
	struct page_plan plan = {.chunks = chunks, .chunk_count = length};

	for (uint32_t i = 0; i < length; i++) {
		char name[16];
		snprintf(name, sizeof name, "%u", (unsigned)i);
		chunks[i] = (struct chunk_ref){.sha256 = digest_of(name), .size = 1000};
		runs[i][0] = i - 1;
		runs[i][1] = 1;
		objects[i] = (struct object){.sha256 = digest_of(name),
			.size_bytes = 70,
			.coding = i ? CODING_ZSTD_PREFIX : CODING_ZSTD,
			.first_chunk = i,
			.chunk_count = 1,
			.own_runs = runs[i],
			.own_run_count = i ? 2 : 0};
	}
	return index_page_check(&page, &plan, false);
}

static void a_chain_that_is_too_long_is_refused(void **state)
{
	(void)state;
	assert_int_equal(chain_check(OBJECT_WAVES), ERR_OK);
	assert_int_equal(chain_check(OBJECT_WAVES + 1), ERR_RANGE);
}

static void a_delta_index_may_leave_gaps_but_not_overlap(void **state)
{
	(void)state;
	struct index_case x;

	index_make(&x);
	x.page.object_count = 2;
	assert_int_equal(index_page_check(&x.page, &x.plan, true), ERR_OK);
	index_make(&x);
	x.objects[2].first_chunk = 2;
	assert_int_equal(index_page_check(&x.page, &x.plan, true), ERR_FORMAT);
}

static void an_index_serves_its_own_manifest_only(void **state)
{
	(void)state;
	struct page_ref page = {.sha256 = digest_of("page"), .size_bytes = 900};
	struct manifest m = {.pages = &page, .page_count = 1};
	struct digest package = digest_of("package"), other = digest_of("other");
	struct object page_object = {.coding = CODING_RAW, .chunk_count = 1};
	struct object index_object = {.coding = CODING_RAW, .chunk_count = 1};
	struct index_page_ref ref = {
		.sha256 = digest_of("index page"), .size_bytes = 50, .object = &index_object};
	struct index x = {.package = package,
		.page_objects = &page_object,
		.page_object_count = 1,
		.pages = &ref,
		.page_count = 1};

	assert_int_equal(index_check(&x, &m, &package), ERR_OK);
	assert_true(digest_equal(&page_object.sha256, &page.sha256));
	assert_int_equal(index_object.size_bytes, 50);
	assert_int_equal(index_check(&x, &m, &other), ERR_FORMAT);
	x.page_object_count = 0;
	assert_int_equal(index_check(&x, &m, &package), ERR_FORMAT);
	x.page_object_count = 1;
	page_object.first_chunk = 1;
	assert_int_equal(index_check(&x, &m, &package), ERR_FORMAT);
	page_object.first_chunk = 0;
	page_object.own_runs = (uint32_t[2]){0, 1}; // a page is told with no chunk of a page
	page_object.own_run_count = 2;
	page_object.coding = CODING_ZSTD_PREFIX;
	assert_int_equal(index_check(&x, &m, &package), ERR_FORMAT);
	page_object = (struct object){.coding = CODING_RAW, .chunk_count = 1};
	ref.size_bytes = LIMIT_INDEX_PAGE + 1;
	assert_int_equal(index_check(&x, &m, &package), ERR_RANGE);
}

// ---- objects

struct object_case {
	uint8_t plain[3000];
	struct chunk_ref run[2];
	struct object o;
	struct bytes transported;
	struct object_encoder *e;
	struct object_decoder *d;
};

static void object_make(struct object_case *x, int level, bool compressible)
{
	const struct object_profile profile = {.zstd_level = level, .keep_percent = 90};

	uint64_t noise = 1;

	memset(x, 0, sizeof *x);
	for (size_t i = 0; i < sizeof x->plain; i++) {
		noise = noise * 6364136223846793005u + 1442695040888963407u;
		x->plain[i] = compressible ? (uint8_t)(i % 7) : (uint8_t)(noise >> 56);
	}
	x->run[0] = (struct chunk_ref){.sha256 = sha256(x->plain, 1000), .size = 1000};
	x->run[1] = (struct chunk_ref){.sha256 = sha256(x->plain + 1000, 2000), .size = 2000};
	x->o.chunk_count = 2;
	assert_int_equal(object_encoder_new(&profile, &x->e), ERR_OK);
	assert_int_equal(object_decoder_new(&x->d), ERR_OK);
	assert_int_equal(
		object_encode(x->e, x->run, bytes_of(x->plain, 3000), &x->o, &x->transported),
		ERR_OK);
}

static void object_fini(struct object_case *x)
{
	object_encoder_free(x->e);
	object_decoder_free(x->d);
}

static enum err open_it(struct object_case *x, struct bytes transported, struct bytes *plain)
{
	return object_open(x->d, &x->o, x->run, transported, (struct bytes){0}, plain);
}

static void objects_come_back_raw_and_compressed(void **state)
{
	(void)state;
	static const struct {
		int level;
		bool compressible;
		enum coding coding;
	} cases[] = {{0, true, CODING_RAW}, {3, true, CODING_ZSTD}, {19, true, CODING_ZSTD}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct object_case x;
		struct bytes plain;
		object_make(&x, cases[i].level, cases[i].compressible);
		assert_int_equal(x.o.coding, cases[i].coding);
		assert_int_equal(open_it(&x, x.transported, &plain), ERR_OK);
		assert_true(bytes_equal(plain, bytes_of(x.plain, 3000)));
		assert_int_equal(
			open_it(&x, x.transported, &plain), ERR_OK); // the decoder is reusable
		object_fini(&x);
	}
}

static void what_does_not_shrink_stays_raw(void **state)
{
	(void)state;
	struct object_case x;

	object_make(&x, 3, false);
	assert_int_equal(x.o.coding, CODING_RAW);
	assert_int_equal(x.o.size_bytes, 3000);
	assert_ptr_equal(x.transported.data, x.plain); // and is not copied
	x.o.chunk_count = 1;
	x.run[0] = (struct chunk_ref){.sha256 = sha256(x.plain, 3000), .size = 3000};
	assert_int_equal(
		object_encode(x.e, x.run, bytes_of(x.plain, 3000), &x.o, &x.transported), ERR_OK);
	assert_true(digest_equal(&x.o.sha256, &x.run[0].sha256));
	object_fini(&x);
}

static void every_flipped_bit_of_an_object_is_seen(void **state)
{
	(void)state;
	struct object_case x;
	struct bytes plain;

	object_make(&x, 3, true);
	SCOPED_FREE uint8_t *copy = malloc(x.transported.size);
	assert_non_null(copy);
	for (size_t bit = 0; bit < x.transported.size * 8; bit++) {
		memcpy(copy, x.transported.data, x.transported.size);
		copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ (1 << bit % 8));
		assert_int_equal(
			open_it(&x, bytes_of(copy, x.transported.size), &plain), ERR_CORRUPT);
	}
	object_fini(&x);
}

static void another_length_is_refused(void **state)
{
	(void)state;
	struct object_case x;
	struct bytes plain;

	object_make(&x, 3, true);
	SCOPED_FREE uint8_t *copy = calloc(1, x.transported.size + 1);
	assert_non_null(copy);
	memcpy(copy, x.transported.data, x.transported.size);
	assert_int_equal(open_it(&x, bytes_of(copy, x.transported.size + 1), &plain), ERR_CORRUPT);
	assert_int_equal(open_it(&x, bytes_of(copy, x.transported.size - 1), &plain), ERR_CORRUPT);
	assert_int_equal(open_it(&x, (struct bytes){0}, &plain), ERR_CORRUPT);
	object_fini(&x);
}

// Names the bytes truthfully, as an index that lies would: only the decoder can refuse them.
static enum err open_as(struct object_case *x, const void *data, size_t size)
{
	struct bytes plain;

	x->o.sha256 = sha256(data, size);
	x->o.size_bytes = (uint32_t)size;
	x->o.coding = CODING_ZSTD;
	return open_it(x, bytes_of(data, size), &plain);
}

static void an_object_that_lies_is_refused(void **state)
{
	(void)state;
	struct object_case x;
	uint8_t more[4096], other[3000] = {1};
	uint8_t frame[ZSTD_COMPRESSBOUND(3000)];

	object_make(&x, 3, true);
	size_t n = x.transported.size;
	memcpy(more, x.transported.data, n);
	assert_int_equal(open_as(&x, more, n), ERR_OK);
	more[n] = 0;
	assert_int_equal(open_as(&x, more, n + 1), ERR_FORMAT); // trailing byte
	memcpy(more + n, more, n);
	assert_int_equal(open_as(&x, more, n + n), ERR_FORMAT);  // a second frame
	assert_int_equal(open_as(&x, more, n - 1), ERR_FORMAT);  // cut
	assert_int_equal(open_as(&x, x.plain, 100), ERR_FORMAT); // no frame at all
	size_t size = ZSTD_compress(frame, sizeof frame, other, sizeof other, 3);
	assert_int_equal(open_as(&x, frame, size), ERR_FORMAT); // right size, other content
	size = ZSTD_compress(frame, sizeof frame, other, 2999, 3);
	assert_int_equal(open_as(&x, frame, size), ERR_FORMAT); // other size
	object_fini(&x);
}

// 64 MiB of zeros in a few kB: refused by its promise, and by its output when it hides the promise.
static void C15_a_compression_bomb_is_refused_before_it_grows(void **state)
{
	(void)state;
	struct object_case x;
	size_t big = 64u * 1024 * 1024;
	SCOPED_FREE uint8_t *zeros = calloc(1, big);
	SCOPED_FREE uint8_t *frame = malloc(ZSTD_compressBound(big));
	ZSTD_CCtx *c = ZSTD_createCCtx();

	assert_non_null(zeros);
	assert_non_null(frame);
	object_make(&x, 3, true);
	size_t n = ZSTD_compressCCtx(c, frame, ZSTD_compressBound(big), zeros, big, 3);
	assert_int_equal(open_as(&x, frame, n), ERR_FORMAT);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
	n = ZSTD_compress2(c, frame, ZSTD_compressBound(big), zeros, big);
	assert_int_equal(open_as(&x, frame, n), ERR_FORMAT);
	ZSTD_freeCCtx(c);
	object_fini(&x);
}

static void a_prefix_object_needs_its_base(void **state)
{
	(void)state;
	struct object_case x;
	uint8_t old[2000], rotten[2000], frame[ZSTD_COMPRESSBOUND(3000)];
	uint32_t sizes[2] = {1200, 800};
	struct digest bases[2] = {{{0}}};
	struct bytes plain;
	ZSTD_CCtx *c = ZSTD_createCCtx();

	object_make(&x, 3, false);
	memcpy(old, x.plain + 500, sizeof old);
	ZSTD_CCtx_refPrefix(c, old, sizeof old);
	size_t n = ZSTD_compress2(c, frame, sizeof frame, x.plain, 3000);
	ZSTD_freeCCtx(c);
	x.o.coding = CODING_ZSTD_PREFIX;
	x.o.sha256 = sha256(frame, n);
	x.o.size_bytes = (uint32_t)n;
	x.o.base_chunks = bases;
	x.o.base_sizes = sizes;
	x.o.base_count = x.o.base_size_count = 2;
	struct bytes in = bytes_of(frame, n);
	assert_int_equal(object_open(x.d, &x.o, x.run, in, bytes_of(old, 2000), &plain), ERR_OK);
	assert_true(bytes_equal(plain, bytes_of(x.plain, 3000)));
	memcpy(rotten, old, sizeof old);
	rotten[777] ^= 1; // an authentic object on a rotten base
	assert_int_equal(
		object_open(x.d, &x.o, x.run, in, bytes_of(rotten, 2000), &plain), ERR_FORMAT);
	assert_int_equal(
		object_open(x.d, &x.o, x.run, in, bytes_of(old, 1999), &plain), ERR_FORMAT);
	assert_int_equal(object_open(x.d, &x.o, x.run, in, (struct bytes){0}, &plain), ERR_FORMAT);
	x.o.coding = CODING_ZSTD;
	assert_int_equal(
		object_open(x.d, &x.o, x.run, in, bytes_of(old, 2000), &plain), ERR_FORMAT);
	object_fini(&x);
}

static void a_run_outside_the_limits_is_refused(void **state)
{
	(void)state;
	struct object_case x;
	struct bytes plain;

	object_make(&x, 3, true);
	x.run[1].size = LIMIT_CHUNK; // 1000 more than an object may yield
	assert_int_equal(open_it(&x, x.transported, &plain), ERR_RANGE);
	x.run[1].size = 0;
	assert_int_equal(open_it(&x, x.transported, &plain), ERR_RANGE);
	x.o.chunk_count = 0;
	assert_int_equal(open_it(&x, x.transported, &plain), ERR_RANGE);
	object_fini(&x);
}

static void an_unknown_coding_is_named(void **state)
{
	(void)state;
	struct object_case x;
	struct bytes plain;

	object_make(&x, 3, true);
	x.o.coding = (enum coding)(CODING_BSDIFF_ZSTD + 1);
	assert_int_equal(open_it(&x, x.transported, &plain), ERR_UNSUPPORTED);
	object_fini(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_package_reads_back),
		cmocka_unit_test(equal_content_gives_the_equal_package_id),
		cmocka_unit_test(a_file_crosses_pages),
		cmocka_unit_test(a_hundred_thousand_small_files_fit),
		cmocka_unit_test(versions_share_their_pages),
		cmocka_unit_test(the_builder_refuses_what_is_out_of_order),
		cmocka_unit_test(C3_a_path_that_leaves_its_folder_is_refused),
		cmocka_unit_test(C6_paths_out_of_order_or_twice_are_refused),
		cmocka_unit_test(order_holds_across_pages),
		cmocka_unit_test(a_file_below_a_file_is_refused),
		cmocka_unit_test(an_empty_file_has_no_chunk_and_the_hash_of_nothing),
		cmocka_unit_test(chunk_sizes_must_add_up),
		cmocka_unit_test(a_file_is_written_in_one_way_only),
		cmocka_unit_test(one_hash_has_one_size),
		cmocka_unit_test(a_page_holds_what_its_reference_promises),
		cmocka_unit_test(a_file_continues_only_as_itself),
		cmocka_unit_test(the_root_is_held_to_its_promise),
		cmocka_unit_test(a_root_that_breaks_a_rule_is_refused),
		cmocka_unit_test(a_good_index_is_filled_in),
		cmocka_unit_test(an_index_that_breaks_a_rule_is_refused),
		cmocka_unit_test(an_object_is_told_with_what_stands_before_it_only),
		cmocka_unit_test(more_earlier_bytes_than_a_device_holds_are_refused),
		cmocka_unit_test(a_chain_that_is_too_long_is_refused),
		cmocka_unit_test(a_delta_index_may_leave_gaps_but_not_overlap),
		cmocka_unit_test(an_index_serves_its_own_manifest_only),
		cmocka_unit_test(objects_come_back_raw_and_compressed),
		cmocka_unit_test(what_does_not_shrink_stays_raw),
		cmocka_unit_test(every_flipped_bit_of_an_object_is_seen),
		cmocka_unit_test(another_length_is_refused),
		cmocka_unit_test(an_object_that_lies_is_refused),
		cmocka_unit_test(C15_a_compression_bomb_is_refused_before_it_grows),
		cmocka_unit_test(a_prefix_object_needs_its_base),
		cmocka_unit_test(a_run_outside_the_limits_is_refused),
		cmocka_unit_test(an_unknown_coding_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
