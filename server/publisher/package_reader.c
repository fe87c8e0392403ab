// See package_reader.h.
#include "package_reader.h"
#include "proto/digest.h"
#include <string.h>

#define HEAD_ARENA (4 * 1024 * 1024)
#define PAGE_ARENA (8 * 1024 * 1024)
#define ARENA_COUNT 200000

enum err package_reader_open(struct package_reader *r, struct blob_store *objects,
	struct bytes manifest, struct bytes index)
{
	*r = (struct package_reader){.objects = objects};
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
	return index_check(&r->index, &r->manifest, &id);
}

void package_reader_close(struct package_reader *r)
{
	object_decoder_free(r->decoder);
	buf_fini(&r->transported);
	buf_fini(&r->page_bytes);
	arena_fini(&r->head);
	arena_fini(&r->page_arena);
}

static enum err object_read(struct package_reader *r, const struct object *o,
	const struct chunk_ref *run, struct bytes *plain)
{
	TRY(blob_read(r->objects, &o->sha256, &r->transported));
	return object_open(
		r->decoder, o, run, buf_bytes(&r->transported), (struct bytes){0}, plain);
}

enum err package_reader_object(
	struct package_reader *r, const struct object *o, struct bytes *plain)
{
	return object_read(r, o, r->plan.chunks + o->first_chunk, plain);
}

enum err package_reader_page(struct package_reader *r, uint32_t number)
{
	const struct page_ref *ref = &r->manifest.pages[number];
	const struct index_page_ref *index_ref = &r->index.pages[number];
	struct chunk_ref run = page_chunk_ref(ref), index_run = index_page_chunk_ref(index_ref);
	struct manifest_page page;
	struct bytes plain;

	arena_reset(&r->page_arena);
	TRY(object_read(r, &r->index.page_objects[number], &run, &plain));
	buf_clear(&r->page_bytes);
	TRY(buf_append(&r->page_bytes, plain.data, plain.size));
	TRY(manifest_page_decode(&r->page_arena, buf_bytes(&r->page_bytes), &page));
	TRY(page_plan_make(&r->page_arena, &page, ref, &r->carry, &r->plan));
	TRY(object_read(r, index_ref->object, &index_run, &plain));
	struct bytes kept = arena_copy(&r->page_arena, plain);
	if (!kept.data)
		return err_set(ERR_MEMORY, "no memory to read a package");
	TRY(index_page_decode(&r->page_arena, kept, &r->index_page));
	return index_page_check(&r->index_page, &r->plan, false);
}
