// See package_reader.h.
#include "package_reader.h"
#include "proto/digest.h"
#include <string.h>

#define HEAD_ARENA (4 * 1024 * 1024)
#define PAGE_ARENA (8 * 1024 * 1024)
#define ARENA_COUNT 200000

static enum err object_read(struct package_reader *r, const struct object *o,
	const struct chunk_ref *run, struct bytes prefix, struct bytes *plain)
{
	TRY(blob_read(r->objects, &o->sha256, &r->transported));
	return object_open(r->decoder, o, run, buf_bytes(&r->transported), prefix, plain);
}

static enum err single_read(struct package_reader *r, const struct object *o,
	const struct chunk_ref *run, struct bytes *plain)
{
	return object_read(r, o, run, (struct bytes){0}, plain);
}

// ---- pages whose objects need each other

static enum err earlier_read(struct package_reader *r, const struct chunk_ref *c)
{
	uint64_t place;

	if (!spool_find(&r->earlier, c, &place))
		return err_set(ERR_FORMAT,
			"an object is told with chunk %s, which is not before it",
			digest_short(&c->sha256));
	return spool_read(&r->earlier, place, c->size, &r->prefix);
}

static enum err prefix_read(struct package_reader *r, const struct object *o)
{
	buf_clear(&r->prefix);
	for (size_t i = 0; i < o->base_count; i++) {
		struct chunk_ref c = {.sha256 = o->base_chunks[i], .size = o->base_sizes[i]};
		TRY(earlier_read(r, &c));
	}
	for (size_t i = 0; i + 1 < o->own_run_count; i += 2)
		for (uint32_t c = 0; c < o->own_runs[i + 1]; c++) {
			uint32_t ordinal = o->own_runs[i] + c;
			TRY(spool_read(&r->earlier, r->page_places[ordinal],
				r->plan.chunks[ordinal].size, &r->prefix));
		}
	return ERR_OK;
}

static enum err object_unpack(struct package_reader *r, const struct object *o)
{
	struct bytes plain;

	TRY(prefix_read(r, o));
	TRY(object_read(r, o, r->plan.chunks + o->first_chunk, buf_bytes(&r->prefix), &plain));
	for (uint32_t i = o->first_chunk; i < o->first_chunk + o->chunk_count; i++) {
		const struct chunk_ref *c = &r->plan.chunks[i];
		TRY(spool_put(&r->earlier, c, plain.data, &r->page_places[i]));
		plain = bytes_of(plain.data + c->size, plain.size - c->size);
	}
	return ERR_OK;
}

static enum err page_unpack(struct package_reader *r)
{
	if (r->earlier.fd < 0)
		TRY(spool_open(&r->earlier, r->objects->dir));
	r->page_places =
		arena_array(&r->page_arena, r->plan.chunk_count + 1, sizeof *r->page_places);
	if (!r->page_places)
		return err_set(ERR_MEMORY, "no memory to read a package");
	for (size_t i = 0; i < r->index_page.object_count; i++)
		TRY(object_unpack(r, &r->index_page.objects[i]));
	return ERR_OK;
}

static bool page_needs_unpacking(const struct index_page *x)
{
	for (size_t i = 0; i < x->object_count; i++)
		if (coding_has_base(x->objects[i].coding))
			return true;
	return false;
}

// Any page may need any earlier one, so one that does decides for all. The pages are looked through
// beforehand for that alone.
static enum err pages_look(struct package_reader *r)
{
	for (size_t i = 0; i < r->index.page_count && !r->unpacks; i++) {
		struct chunk_ref run = index_page_chunk_ref(&r->index.pages[i]);
		struct index_page page;
		struct bytes plain;
		arena_reset(&r->page_arena);
		TRY(single_read(r, r->index.pages[i].object, &run, &plain));
		TRY(index_page_decode(&r->page_arena, plain, &page));
		r->unpacks = page_needs_unpacking(&page);
	}
	return ERR_OK;
}

enum err package_reader_object(
	struct package_reader *r, const struct object *o, struct bytes *plain)
{
	if (!r->unpacks)
		return single_read(r, o, r->plan.chunks + o->first_chunk, plain);
	buf_clear(&r->plain);
	for (uint32_t i = o->first_chunk; i < o->first_chunk + o->chunk_count; i++)
		TRY(spool_read(&r->earlier, r->page_places[i], r->plan.chunks[i].size, &r->plain));
	*plain = buf_bytes(&r->plain);
	return ERR_OK;
}

enum err package_reader_open(struct package_reader *r, struct blob_store *objects,
	struct bytes manifest, struct bytes index)
{
	*r = (struct package_reader){.objects = objects};
	spool_init(&r->earlier);
	buf_init(&r->prefix, OBJECT_BASE_MAX);
	buf_init(&r->plain, OBJECT_OUTPUT_MAX);
	arena_init(&r->head, HEAD_ARENA, ARENA_COUNT);
	arena_init(&r->page_arena, PAGE_ARENA, ARENA_COUNT);
	buf_init(&r->transported, LIMIT_OBJECT);
	buf_init(&r->page_bytes, LIMIT_PAGE);
	TRY(object_decoder_new(&r->decoder));
	struct bytes m = arena_copy(&r->head, manifest), x = arena_copy(&r->head, index);
	if (!m.data || !x.data)
		return err_set(ERR_MEMORY, "no memory to read a package");
	TRY(manifest_decode(&r->head, m, &r->manifest));
	TRY(manifest_check(&r->manifest));
	static const struct id16 none;
	if (memcmp(&r->manifest.key_id, &none, sizeof none) != 0)
		return err_set(ERR_UNSUPPORTED, "no delta is made of a sealed package");
	TRY(index_decode(&r->head, x, &r->index));
	struct digest id = package_id(m);
	TRY(index_check(&r->index, &r->manifest, &id));
	return pages_look(r);
}

void package_reader_close(struct package_reader *r)
{
	object_decoder_free(r->decoder);
	buf_fini(&r->transported);
	buf_fini(&r->page_bytes);
	buf_fini(&r->prefix);
	buf_fini(&r->plain);
	spool_close(&r->earlier);
	arena_fini(&r->head);
	arena_fini(&r->page_arena);
}

enum err package_reader_page(struct package_reader *r, uint32_t number)
{
	const struct page_ref *ref = &r->manifest.pages[number];
	const struct index_page_ref *index_ref = &r->index.pages[number];
	struct chunk_ref run = page_chunk_ref(ref), index_run = index_page_chunk_ref(index_ref);
	struct manifest_page page;
	struct bytes plain;

	arena_reset(&r->page_arena);
	TRY(single_read(r, &r->index.page_objects[number], &run, &plain));
	buf_clear(&r->page_bytes);
	TRY(buf_append(&r->page_bytes, plain.data, plain.size));
	TRY(manifest_page_decode(&r->page_arena, buf_bytes(&r->page_bytes), &page));
	TRY(page_plan_make(&r->page_arena, &page, ref, &r->carry, &r->plan));
	TRY(single_read(r, index_ref->object, &index_run, &plain));
	struct bytes kept = arena_copy(&r->page_arena, plain);
	if (!kept.data)
		return err_set(ERR_MEMORY, "no memory to read a package");
	TRY(index_page_decode(&r->page_arena, kept, &r->index_page));
	TRY(index_page_check(&r->index_page, &r->plan, false));
	return r->unpacks ? page_unpack(r) : ERR_OK;
}
