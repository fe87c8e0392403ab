// A manifest page, the plan made of it, and an index page against the plan. Input: length of the
// manifest page (4 bytes, little end first), the page, the index page.
#include "proto/content.h"
#include "tests/fuzz/fuzz.h"

static int compare(const void *a, const void *b)
{
	return digest_compare(a, b);
}

static size_t distinct(struct digest *all, size_t count)
{
	size_t n = count > 0;

	qsort(all, count, sizeof(*all), compare);
	for (size_t i = 1; i < count; i++)
		n += !digest_equal(&all[i - 1], &all[i]);
	return n;
}

// A reference that promises what the page holds, so that the checks behind it are reached.
static struct page_ref ref_of(struct arena *a, const struct manifest_page *page, size_t size)
{
	struct page_ref ref = {.size_bytes = (uint32_t)size};
	size_t most = 0, count = 0;

	for (size_t i = 0; i < page->file_count; i++)
		most += page->files[i].chunk_count + 1;
	struct digest *all = arena_array(a, most, sizeof(*all));
	FUZZ_HOLDS(all);
	for (size_t i = 0; i < page->file_count; i++) {
		const struct file_entry *f = &page->files[i];

		ref.file_count += !f->continued;
		if (f->chunk_count == 0 && f->size_bytes > 0)
			all[count++] = f->sha256;
		if (f->chunk_count > 0)
			memcpy(&all[count], f->chunk_sha256.data, f->chunk_sha256.size);
		count += f->chunk_count;
	}
	ref.chunk_count = (uint32_t)distinct(all, count);
	return ref;
}

static void check_plan(const struct page_plan *plan, const struct page_carry *carry)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < plan->place_count; i++) {
		FUZZ_HOLDS(plan->places[i].chunk < plan->chunk_count);
		bytes += plan->chunks[plan->places[i].chunk].size;
	}
	FUZZ_HOLDS(bytes == carry->bytes);
}

static void check_index(struct arena *a, struct bytes in, const struct page_plan *plan, bool gaps)
{
	struct index_page page;
	uint64_t next = 0;

	if (index_page_decode(a, in, &page) != ERR_OK ||
		index_page_check(&page, plan, gaps) != ERR_OK)
		return;
	for (size_t i = 0; i < page.object_count; i++) {
		const struct object *o = &page.objects[i];

		FUZZ_HOLDS(o->first_chunk >= next);
		FUZZ_HOLDS(gaps || o->first_chunk == next);
		next = (uint64_t)o->first_chunk + o->chunk_count;
		FUZZ_HOLDS(next <= plan->chunk_count);
		FUZZ_HOLDS(!digest_is_zero(&o->sha256) && o->size_bytes > 0);
	}
	FUZZ_HOLDS(gaps || next == plan->chunk_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCOPED_ARENA struct arena arena;
	struct page_carry carry = {.files = 0};
	struct manifest_page page;
	struct page_plan plan;
	size_t page_size = 0;

	arena_init(&arena, 16 * 1024 * 1024, 100000);
	for (size_t i = 0; i < 4 && i < size; i++)
		page_size |= (size_t)data[i] << 8 * i;
	if (size < 4 || page_size > size - 4)
		return 0;
	if (manifest_page_decode(&arena, bytes_of(data + 4, page_size), &page) != ERR_OK)
		return 0;
	struct page_ref ref = ref_of(&arena, &page, page_size);
	if (page_plan_make(&arena, &page, &ref, &carry, &plan) != ERR_OK)
		return 0;
	check_plan(&plan, &carry);
	struct bytes index = bytes_of(data + 4 + page_size, size - 4 - page_size);
	check_index(&arena, index, &plan, false);
	check_index(&arena, index, &plan, true);
	return 0;
}
