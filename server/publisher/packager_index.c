// Second pass: for each page of the manifest, which object yields which run of its chunks.
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/packager_inside.h"
#include <stdlib.h>
#include <string.h>

#define PAGE_ARENA (16 * 1024 * 1024)

// A page on its way to an index page.
struct page_pack {
	struct pack_work *work;
	struct page_plan plan;
	struct arena *arena;
	struct object *objects;
	size_t object_count;
	struct buf plain; // of the group at hand
};

static bool is_grouped(const struct page_pack *p, const struct chunk_ref *c)
{
	return p->work->job->small || c->size < OBJECT_PACK_MIN;
}

static bool group_has_room(const struct page_pack *p, size_t size, const struct chunk_ref *c)
{
	return p->work->job->small ? size + c->size <= OBJECT_OUTPUT_MAX : size < OBJECT_PACK_MIN;
}

// How many chunks from `at` on make one group: small, all old or all new, until it is large enough,
// or until an object is found that can be used again.
static uint32_t group_length(const struct page_pack *p, size_t at)
{
	const struct known *store = p->work->job->known;
	const struct chunk_ref *c = p->plan.chunks;
	struct digest name = known_name(&c[at].sha256, &p->work->pad);
	bool old = known_has(store, &name);
	size_t size = 0, end = at;

	while (end < p->plan.chunk_count && is_grouped(p, &c[end]) &&
		group_has_room(p, size, &c[end])) {
		name = known_name(&c[end].sha256, &p->work->pad);
		if (end > at &&
			(known_has(store, &name) != old ||
				pack_object_find(p->work, &c[end], p->plan.chunk_count - end)
					.object))
			break;
		size += c[end++].size;
	}
	return (uint32_t)(end - at);
}

static enum err group_read(struct page_pack *p, size_t at, uint32_t count)
{
	struct pack_work *w = p->work;

	buf_clear(&p->plain);
	for (size_t i = at; i < at + count; i++) {
		const struct chunk_ref *c = &p->plan.chunks[i];
		uint64_t place;
		if (spool_find(&w->spool, c, &place))
			TRY(spool_read(&w->spool, place, c->size, &p->plain));
		else
			TRY(pack_later_read(w, c, &p->plain));
	}
	return ERR_OK;
}

static enum err run_pack(struct page_pack *p, size_t at, struct object *o)
{
	struct pack_work *w = p->work;
	const struct chunk_ref *run = &p->plan.chunks[at];
	struct pack_found found = pack_object_find(w, run, p->plan.chunk_count - at);

	if (found.object)
		return pack_object_use(w, &found, p->arena, o);
	uint32_t count = group_length(p, at);
	if (count == 0)
		return err_set(
			ERR_CORRUPT, "no object yields chunk %s", digest_short(&run->sha256));
	TRY(group_read(p, at, count));
	if (w->own)
		return pack_object_own(w, run, count, buf_bytes(&p->plain), p->arena, o);
	return pack_object(w, w->content, run, count, buf_bytes(&p->plain), o);
}

// Later objects may be told with what this one yields.
static void run_tell(struct page_pack *p, size_t at, const struct object *o)
{
	struct pack_work *w = p->work;
	unsigned wave = own_prefix_wave(w->own, o);

	for (uint32_t i = 0; i < o->chunk_count; i++) {
		const struct chunk_ref *c = &p->plan.chunks[at + i];
		struct own_chunk told = {.ref = *c};
		if (spool_find(&w->spool, c, &told.at)) // the small profile spools all
			own_prefix_tell(w->own, &told, (uint32_t)at + i, wave);
	}
	own_prefix_object_made(w->own);
}

static enum err runs_pack(struct page_pack *p)
{
	if (p->work->own)
		TRY(own_prefix_page(p->work->own, p->plan.chunk_count));
	for (size_t at = 0; at < p->plan.chunk_count;) {
		const _Atomic bool *cancel = p->work->job->cancel;
		if (cancel && *cancel)
			return err_set(ERR_NOT_NOW, "the build was cancelled");
		struct object *o = &p->objects[p->object_count++];
		TRY(run_pack(p, at, o));
		o->first_chunk = (uint32_t)at;
		if (p->work->own)
			run_tell(p, at, o);
		at += o->chunk_count;
		object_to_index(o);
	}
	return ERR_OK;
}

// ---- index pages

struct index_make {
	struct pack_work *work;
	struct page_carry carry;
	struct index index;
	struct object *page_objects, *index_objects;
	struct index_page_ref *refs;
};

static enum err single_pack(
	struct pack_work *w, struct bytes plain, struct chunk_ref ref, struct object *o)
{
	TRY(pack_object(w, w->pages, &ref, 1, plain, o));
	object_to_index(o);
	return ERR_OK;
}

static enum err page_index_write(struct index_make *x, struct page_pack *p, size_t number)
{
	struct index_page page = {
		.objects = p->objects, .object_count = p->object_count, .salt = x->work->salt};
	SCOPED_BUF struct buf bytes;

	buf_init(&bytes, LIMIT_INDEX_PAGE);
	TRY(index_page_encode(&page, &bytes));
	struct index_page_ref *ref = &x->refs[number];
	ref->sha256 = sha256(bytes.data, bytes.size);
	ref->size_bytes = (uint32_t)bytes.size;
	ref->object = &x->index_objects[number];
	return single_pack(x->work, buf_bytes(&bytes), index_page_chunk_ref(ref), ref->object);
}

static enum err page_pack(struct index_make *x, const struct built_page *built, size_t number)
{
	SCOPED_ARENA struct arena a;
	struct manifest_page page;
	struct page_pack p = {.work = x->work, .arena = &a};

	arena_init(&a, PAGE_ARENA, 1 << 20);
	TRY(single_pack(
		x->work, built->bytes, page_chunk_ref(&built->ref), &x->page_objects[number]));
	x->page_objects[number].first_chunk = (uint32_t)number;
	TRY(manifest_page_decode(&a, built->bytes, &page));
	TRY(page_plan_make(&a, &page, &built->ref, &x->carry, &p.plan));
	p.objects = arena_array(&a, p.plan.chunk_count + 1, sizeof *p.objects);
	if (!p.objects)
		return err_set(ERR_MEMORY, "no memory for an index page");
	buf_init(&p.plain, OBJECT_OUTPUT_MAX);
	enum err e = runs_pack(&p);
	if (e == ERR_OK)
		e = page_index_write(x, &p, number);
	buf_fini(&p.plain);
	return e;
}

static enum err index_write(struct index_make *x, size_t page_count)
{
	struct package_built *out = x->work->out;

	x->index.package = out->id;
	x->index.object_count = (uint32_t)out->objects.object_count;
	x->index.object_bytes = out->object_bytes;
	x->index.page_objects = x->page_objects;
	x->index.page_object_count = page_count;
	x->index.pages = x->refs;
	x->index.page_count = page_count;
	return index_encode(&x->index, &out->index);
}

static enum err index_make_all(
	struct index_make *x, const struct built_page *pages, size_t page_count)
{
	if (!x->page_objects || !x->index_objects || !x->refs)
		return err_set(ERR_MEMORY, "no memory for an index");
	for (size_t i = 0; i < page_count; i++)
		TRY(page_pack(x, &pages[i], i));
	return index_write(x, page_count);
}

// A package that is too large for it does without.
static enum err own_begin(struct pack_work *w, struct own_prefix *own)
{
	if (!w->job->small || w->spool.size == 0 || w->spool.size > DELTA_SOURCE_MAX)
		return ERR_OK;
	w->own = own;
	return own_prefix_open(own, w->spool.fd, w->spool.size, w->spool.chunks.object_count);
}

enum err pack_index(struct pack_work *w, const struct built_page *pages, size_t page_count)
{
	struct index_make x = {.work = w};
	struct own_prefix own;

	x.page_objects = calloc(page_count, sizeof *x.page_objects);
	x.index_objects = calloc(page_count, sizeof *x.index_objects);
	x.refs = calloc(page_count, sizeof *x.refs);
	enum err e = own_begin(w, &own);
	if (e == ERR_OK)
		e = index_make_all(&x, pages, page_count);
	if (w->own)
		own_prefix_close(w->own);
	w->own = NULL;
	free(x.page_objects);
	free(x.index_objects);
	free(x.refs);
	return e;
}
