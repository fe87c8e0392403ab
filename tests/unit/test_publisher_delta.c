// Deltas: what a device that holds the old package makes of the index and its objects is the new
// package, byte for byte.
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/delta_build.h"
#include "server/publisher/packager.h"
#include "tests/unit/publisher_fixture.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES (1500 * 1000)

struct fixture {
	struct object_home at;
	struct package_built built[2];
	uint8_t *content[2];
	bool small; // the profile
	struct delta_built delta;
};

static void noise_fill(uint8_t *p, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(seed >> 56);
	}
}

static void fixture_begin(struct fixture *f)
{
	memset(f, 0, sizeof *f);
	object_home_make(&f->at);
	for (int i = 0; i < 2; i++)
		assert_non_null(f->content[i] = calloc(1, FILE_BYTES));
	noise_fill(f->content[0], FILE_BYTES, 1);
	memcpy(f->content[1], f->content[0], FILE_BYTES);
}

static void fixture_end(struct fixture *f)
{
	for (int i = 0; i < 2; i++) {
		package_built_fini(&f->built[i]);
		free(f->content[i]);
	}
	delta_built_fini(&f->delta);
	object_home_drop(&f->at);
}

static void build(struct fixture *f, int which)
{
	char path[160];
	struct tree t = {0};

	snprintf(path, sizeof path, "%s/bundle", f->at.dir);
	assert_int_equal(file_write_atomic(path, f->content[which], FILE_BYTES, 0644), ERR_OK);
	SCOPED_FD int fd = open(path, O_RDONLY);
	assert_int_equal(tree_single(fd, "bundle", UINT64_MAX, &t), ERR_OK);
	struct pack_file file = {
		.path = t.files[0].path, .tree = &t.files[0], .size = t.files[0].size};
	struct pack_job job = {.info = {.kind = PACKAGE_SOFTWARE, .name = "app", .version = "1"},
		.root_fd = fd,
		.single_file = true,
		.images = &f->at.images,
		.objects = &f->at.objects,
		.known = &f->at.known,
		.files = &file,
		.file_count = 1,
		.small = f->small,
		.profile = {.zstd_level = 3, .keep_percent = 95}};
	assert_int_equal(package_build(&job, &f->built[which]), ERR_OK);
	tree_fini(&t);
}

static enum err delta_make_of(struct fixture *f, _Atomic bool *cancel)
{
	const struct package_built *b = f->built;
	struct delta_job job = {.objects = &f->at.objects,
		.manifest = b[1].manifest,
		.index = b[1].index,
		.base_manifest = b[0].manifest,
		.base_index = b[0].index,
		.cancel = cancel};

	return delta_build(&job, &f->delta);
}

// ---- a device

struct device {
	struct fixture *f;
	struct arena a;
	struct manifest m[2];
	struct manifest_page page[2];
	struct page_plan plan[2];
	struct index x;
	struct object_decoder *decoder;
	struct buf transported, prefix, old_page;
};

static void page_plain(struct device *d, const struct object *o, const struct chunk_ref *run,
	struct bytes prefix, struct bytes *plain)
{
	assert_int_equal(blob_read(&d->f->at.objects, &o->sha256, &d->transported), ERR_OK);
	assert_int_equal(d->transported.size, o->size_bytes);
	assert_int_equal(
		object_open(d->decoder, o, run, buf_bytes(&d->transported), prefix, plain), ERR_OK);
}

static void old_package_read(struct device *d)
{
	const struct package_built *old = &d->f->built[0];
	struct page_carry carry = {0};
	struct index x;
	struct bytes plain;

	assert_int_equal(manifest_decode(&d->a, buf_bytes(&old->manifest), &d->m[0]), ERR_OK);
	assert_int_equal(index_decode(&d->a, buf_bytes(&old->index), &x), ERR_OK);
	assert_int_equal(index_check(&x, &d->m[0], &old->id), ERR_OK);
	struct chunk_ref run = page_chunk_ref(&d->m[0].pages[0]);
	page_plain(d, &x.page_objects[0], &run, (struct bytes){0}, &plain);
	assert_int_equal(buf_append(&d->old_page, plain.data, plain.size), ERR_OK);
	assert_int_equal(manifest_page_decode(&d->a, buf_bytes(&d->old_page), &d->page[0]), ERR_OK);
	assert_int_equal(
		page_plan_make(&d->a, &d->page[0], &d->m[0].pages[0], &carry, &d->plan[0]), ERR_OK);
}

// Old chunks by their hash: where the device finds them in its own file.
static int64_t old_chunk(const struct device *d, const struct digest *sha256_of, uint64_t *at)
{
	for (size_t i = 0; i < d->plan[0].place_count; i++) {
		const struct chunk_place *p = &d->plan[0].places[i];
		*at = p->offset;
		if (digest_equal(&d->plan[0].chunks[p->chunk].sha256, sha256_of))
			return p->chunk;
	}
	return -1;
}

static void prefix_fill(struct device *d, const struct object *o)
{
	buf_clear(&d->prefix);
	for (size_t i = 0; i < o->base_count; i++) {
		uint64_t at = 0;
		assert_true(old_chunk(d, &o->base_chunks[i], &at) >= 0);
		assert_int_equal(
			buf_append(&d->prefix, d->f->content[0] + at, o->base_sizes[i]), ERR_OK);
	}
}

static void new_page_read(struct device *d)
{
	const struct object *o = &d->x.page_objects[0];
	struct chunk_ref run = page_chunk_ref(&d->m[1].pages[0]);
	struct page_carry carry = {0};
	struct bytes plain;

	if (o->base_count > 0)
		assert_true(digest_equal(&o->base_chunks[0], &d->m[0].pages[0].sha256));
	page_plain(d, o, &run, o->base_count ? buf_bytes(&d->old_page) : (struct bytes){0}, &plain);
	struct bytes kept = arena_copy(&d->a, plain);
	assert_int_equal(manifest_page_decode(&d->a, kept, &d->page[1]), ERR_OK);
	assert_int_equal(
		page_plan_make(&d->a, &d->page[1], &d->m[1].pages[0], &carry, &d->plan[1]), ERR_OK);
}

static void index_page_read(struct device *d, struct index_page *out)
{
	struct chunk_ref run = index_page_chunk_ref(&d->x.pages[0]);
	struct bytes plain;

	page_plain(d, d->x.pages[0].object, &run, (struct bytes){0}, &plain);
	struct bytes kept = arena_copy(&d->a, plain);
	assert_int_equal(index_page_decode(&d->a, kept, out), ERR_OK);
	assert_int_equal(index_page_check(out, &d->plan[1], true), ERR_OK);
}

static void chunks_write(const struct device *d, uint32_t chunk, const uint8_t *from, uint8_t *out)
{
	for (size_t i = 0; i < d->plan[1].place_count; i++)
		if (d->plan[1].places[i].chunk == chunk)
			memcpy(out + d->plan[1].places[i].offset, from,
				d->plan[1].chunks[chunk].size);
}

// Everything that the index yields, and from the old file what it does not.
static void device_makes(struct device *d, uint8_t *out)
{
	struct index_page x;
	struct bytes plain;

	index_page_read(d, &x);
	for (uint32_t c = 0; c < d->plan[1].chunk_count; c++) {
		uint64_t at = 0;
		if (old_chunk(d, &d->plan[1].chunks[c].sha256, &at) >= 0)
			chunks_write(d, c, d->f->content[0] + at, out);
	}
	for (size_t i = 0; i < x.object_count; i++) {
		const struct object *o = &x.objects[i];
		prefix_fill(d, o);
		page_plain(d, o, d->plan[1].chunks + o->first_chunk, buf_bytes(&d->prefix), &plain);
		for (uint32_t c = 0; c < o->chunk_count; c++) {
			chunks_write(d, o->first_chunk + c, plain.data, out);
			uint32_t size = d->plan[1].chunks[o->first_chunk + c].size;
			plain = bytes_of(plain.data + size, plain.size - size);
		}
	}
}

static void device_updates(struct fixture *f)
{
	struct device d = {.f = f};
	const struct package_built *news = &f->built[1];
	uint8_t *out = calloc(1, FILE_BYTES);

	arena_init(&d.a, 16 * 1024 * 1024, 100000);
	buf_init(&d.transported, LIMIT_OBJECT);
	buf_init(&d.prefix, OBJECT_BASE_MAX);
	buf_init(&d.old_page, LIMIT_PAGE);
	assert_non_null(out);
	assert_int_equal(object_decoder_new(&d.decoder), ERR_OK);
	old_package_read(&d);
	assert_int_equal(manifest_decode(&d.a, buf_bytes(&news->manifest), &d.m[1]), ERR_OK);
	assert_int_equal(index_decode(&d.a, buf_bytes(&f->delta.index), &d.x), ERR_OK);
	assert_int_equal(index_check(&d.x, &d.m[1], &news->id), ERR_OK);
	assert_true(digest_equal(&d.x.base, &f->built[0].id));
	new_page_read(&d);
	device_makes(&d, out);
	assert_memory_equal(out, f->content[1], FILE_BYTES);
	free(out);
	object_decoder_free(d.decoder);
	buf_fini(&d.transported);
	buf_fini(&d.prefix);
	buf_fini(&d.old_page);
	arena_fini(&d.a);
}

// ---- cases

static void a_few_changed_bytes_cost_a_few_bytes(void **state)
{
	(void)state;
	struct fixture f;

	fixture_begin(&f);
	for (size_t i = 50000; i < FILE_BYTES; i += 100000)
		f.content[1][i] ^= 0x55;
	build(&f, 0);
	build(&f, 1);
	assert_int_equal(delta_make_of(&f, NULL), ERR_OK);
	assert_in_range(f.delta.object_bytes, 1, 4000); // of which a third names old chunks
	device_updates(&f);
	fixture_end(&f);
}

// Packages whose own objects are told with each other are read back for it, old and new.
static void a_delta_of_the_small_profile_costs_a_few_bytes_too(void **state)
{
	(void)state;
	struct fixture f;

	fixture_begin(&f);
	f.small = true;
	for (size_t i = 1100000; i < FILE_BYTES; i++) // the second object is like the first
		f.content[0][i] = f.content[1][i] = f.content[0][i - 1000000];
	for (size_t i = 50000; i < FILE_BYTES; i += 100000)
		f.content[1][i] ^= 0x55;
	build(&f, 0);
	build(&f, 1);
	assert_true(f.built[0].object_bytes < 1250000); // it is told with it
	assert_int_equal(delta_make_of(&f, NULL), ERR_OK);
	assert_in_range(f.delta.object_bytes, 1, 4000);
	device_updates(&f);
	// Control: what the old package is told with is gone, and nothing is made of it.
	for (size_t i = 0; i < f.built[0].objects.object_count; i++)
		assert_int_equal(
			blob_remove(&f.at.objects, &f.built[0].objects.objects[i].sha256), ERR_OK);
	delta_built_fini(&f.delta);
	assert_int_equal(delta_make_of(&f, NULL), ERR_NOT_FOUND);
	fixture_end(&f);
}

static void inserted_bytes_move_everything_behind_them(void **state)
{
	(void)state;
	struct fixture f;

	fixture_begin(&f);
	memmove(f.content[1] + 700013, f.content[1] + 700000, FILE_BYTES - 700013);
	noise_fill(f.content[1] + 100000, 20000, 9);
	build(&f, 0);
	build(&f, 1);
	assert_int_equal(delta_make_of(&f, NULL), ERR_OK);
	assert_in_range(f.delta.object_bytes, 20000, 24000);
	device_updates(&f);
	fixture_end(&f);
}

static void what_is_wholly_new_uses_the_full_objects(void **state)
{
	(void)state;
	struct fixture f;

	fixture_begin(&f);
	noise_fill(f.content[1], FILE_BYTES, 77);
	build(&f, 0);
	build(&f, 1);
	assert_int_equal(delta_make_of(&f, NULL), ERR_OK);
	device_updates(&f);
	assert_in_range(f.delta.object_bytes, FILE_BYTES, f.built[1].object_bytes + 100);
	assert_in_range(f.delta.new_bytes, 1, 1000); // the rest lies on the broker already
	fixture_end(&f);
}

static void the_same_content_needs_no_object(void **state)
{
	(void)state;
	struct fixture f;

	fixture_begin(&f);
	build(&f, 0);
	build(&f, 1);
	assert_int_equal(delta_make_of(&f, NULL), ERR_OK);
	assert_in_range(f.delta.object_bytes, 1, 200);
	device_updates(&f);
	fixture_end(&f);
}

static void a_base_that_is_gone_or_rotten_is_an_error(void **state)
{
	(void)state;
	struct fixture f;
	_Atomic bool cancel = true;

	fixture_begin(&f);
	f.content[1][5] ^= 1;
	build(&f, 0);
	build(&f, 1);
	assert_int_equal(delta_make_of(&f, &cancel), ERR_NOT_NOW);
	const struct digest *any = &f.built[0].objects.objects[0].sha256;
	assert_int_equal(blob_remove(&f.at.objects, any), ERR_OK);
	assert_int_equal(delta_make_of(&f, NULL), ERR_NOT_FOUND);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_few_changed_bytes_cost_a_few_bytes),
		cmocka_unit_test(a_delta_of_the_small_profile_costs_a_few_bytes_too),
		cmocka_unit_test(inserted_bytes_move_everything_behind_them),
		cmocka_unit_test(what_is_wholly_new_uses_the_full_objects),
		cmocka_unit_test(the_same_content_needs_no_object),
		cmocka_unit_test(a_base_that_is_gone_or_rotten_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
