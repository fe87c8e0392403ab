// See delta_build.h.
#include "delta_build.h"
#include "delta_source.h"
#include "package_reader.h"
#include "proto/digest.h"
#include <stdlib.h>
#include <string.h>

#define LEVEL 19
#define PAGE_TRIES 3 // old pages that a new one is held against

struct delta_work {
	struct delta_job *job;
	struct delta_built *out;
	struct package_reader news, olds;
	struct delta_source source;
	struct object_encoder *deltas, *fulls;
	// of the page at hand
	struct arena arena;
	struct object *objects;
	size_t object_count;
	// of the group at hand: new chunks [first, first + count) of the page
	uint32_t first, count;
	struct buf plain, prefix;
	size_t tile_first; // full objects that yield the group and nothing else; tile_count 0: none
	size_t tile_count;
	bool raw; // the full objects of its chunks are
	uint64_t tile_bytes;
};

// ---- objects of the delta

static enum err object_count_in(struct delta_work *w, const struct object *o, bool fresh)
{
	struct delta_built *b = w->out;

	for (size_t i = 0; i < b->count; i++)
		if (digest_equal(&b->objects[i].sha256, &o->sha256))
			return ERR_OK;
	if (b->count == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64;
		struct delta_object *more = realloc(b->objects, cap * sizeof *more);
		if (!more)
			return err_set(ERR_MEMORY, "no memory for a delta");
		b->objects = more;
		b->cap = cap;
	}
	b->objects[b->count++] = (struct delta_object){
		.sha256 = o->sha256, .size_bytes = o->size_bytes, .fresh = fresh};
	b->object_bytes += o->size_bytes;
	b->new_bytes += fresh ? o->size_bytes : 0;
	return ERR_OK;
}

static enum err object_new(struct delta_work *w, const struct object *o, struct bytes transported)
{
	TRY(blob_put(w->job->objects, &o->sha256, transported));
	return object_count_in(w, o, true);
}

static enum err bases_name(
	struct delta_work *w, const struct delta_old *const *olds, size_t count, struct object *o)
{
	o->base_chunks = arena_array(&w->arena, count + 1, sizeof *o->base_chunks);
	o->base_sizes = arena_array(&w->arena, count + 1, sizeof *o->base_sizes);
	if (!o->base_chunks || !o->base_sizes)
		return err_set(ERR_MEMORY, "no memory for a delta");
	o->base_count = o->base_size_count = count;
	buf_clear(&w->prefix);
	for (size_t i = 0; i < count; i++) {
		o->base_chunks[i] = olds[i]->sha256;
		o->base_sizes[i] = olds[i]->size;
		TRY(buf_append(&w->prefix, w->source.map + olds[i]->at, olds[i]->size));
	}
	return ERR_OK;
}

// ---- groups

static bool tiles_are_as_cheap(const struct delta_work *w, const struct object *o)
{
	return w->tile_count > 0 && w->tile_bytes <= o->size_bytes + o->base_count * 37;
}

static enum err tiles_use(struct delta_work *w)
{
	for (size_t i = 0; i < w->tile_count; i++) {
		struct object *o = &w->objects[w->object_count++];
		*o = w->news.index_page.objects[w->tile_first + i];
		TRY(object_count_in(w, o, false));
		object_to_index(o);
	}
	return ERR_OK;
}

static int64_t old_of(const struct delta_work *w, uint64_t chunk)
{
	const struct page_plan *p = &w->news.plan;

	return chunk < p->chunk_count ? delta_source_find(&w->source, &p->chunks[chunk].sha256)
				      : -1;
}

// Pictures and archives have nothing in common with their elders and do not shrink: as they are.
static bool group_is_hopeless(const struct delta_work *w, size_t picks)
{
	return picks == 0 && w->tile_count > 0 && w->raw;
}

static enum err group_encode(struct delta_work *w, struct object *o, struct bytes *transported)
{
	const struct chunk_ref *run = w->news.plan.chunks + w->first;
	const struct delta_old *olds[DELTA_PICKS];
	uint32_t picks[DELTA_PICKS];
	int64_t before = w->first > 0 ? old_of(w, w->first - 1) : -1;
	size_t n = delta_source_pick(&w->source, buf_bytes(&w->plain), before,
		old_of(w, (uint64_t)w->first + w->count), picks);

	if (group_is_hopeless(w, n))
		return ERR_OK;
	for (size_t i = 0; i < n; i++)
		olds[i] = &w->source.chunks[picks[i]];
	if (n == 0)
		return object_encode(w->fulls, run, buf_bytes(&w->plain), o, transported);
	TRY(bases_name(w, olds, n, o));
	return object_encode_delta(
		w->deltas, run, buf_bytes(&w->plain), buf_bytes(&w->prefix), o, transported);
}

// The last full object of the group yields more than the group: no tiles.
static void tiles_cut(struct delta_work *w)
{
	const struct object *last =
		&w->news.index_page
			 .objects[w->tile_first + (w->tile_count ? w->tile_count - 1 : 0)];

	if (w->tile_count > 0 && last->first_chunk + last->chunk_count != w->first + w->count)
		w->tile_count = 0;
}

static enum err group_end(struct delta_work *w)
{
	struct object o = {.first_chunk = w->first, .chunk_count = w->count};
	struct bytes transported = {0};

	if (w->count == 0)
		return ERR_OK;
	tiles_cut(w);
	if (w->job->cancel && *w->job->cancel)
		return err_set(ERR_NOT_NOW, "the delta was cancelled");
	TRY(group_encode(w, &o, &transported));
	if (o.size_bytes == 0 || tiles_are_as_cheap(w, &o)) {
		TRY(tiles_use(w));
	} else {
		TRY(object_new(w, &o, transported));
		object_to_index(&o);
		w->objects[w->object_count++] = o;
	}
	w->count = 0;
	buf_clear(&w->plain);
	return ERR_OK;
}

// A new chunk goes on with the group, or begins one. `from`: its object in the full index. Programs
// and pictures are no neighbours: what does not shrink lies there already.
static enum err chunk_add(struct delta_work *w, uint32_t chunk, struct bytes plain, size_t from)
{
	const struct object *o = &w->news.index_page.objects[from];
	bool raw = o->coding == CODING_RAW;

	if (w->plain.size + plain.size > OBJECT_OUTPUT_MAX || (w->count > 0 && raw != w->raw))
		TRY(group_end(w));
	if (w->count == 0) {
		w->first = chunk;
		w->tile_first = from;
		w->tile_bytes = 0;
		w->tile_count = o->first_chunk == chunk ? 1 : 0;
		w->raw = raw;
	}
	if (w->tile_count > 0) {
		w->tile_count = from - w->tile_first + 1;
		w->tile_bytes += o->first_chunk == chunk ? o->size_bytes : 0;
	}
	w->count++;
	return buf_append(&w->plain, plain.data, plain.size);
}

static enum err object_chunks(struct delta_work *w, size_t at)
{
	const struct object *o = &w->news.index_page.objects[at];
	const struct chunk_ref *c = w->news.plan.chunks;
	struct bytes plain;
	bool needed = false;

	for (uint32_t i = 0; i < o->chunk_count; i++)
		needed = needed || old_of(w, o->first_chunk + i) < 0;
	if (!needed)
		return group_end(w);
	TRY(package_reader_object(&w->news, o, &plain));
	for (uint32_t i = o->first_chunk; i < o->first_chunk + o->chunk_count; i++) {
		struct bytes one = bytes_of(plain.data, c[i].size);
		plain = bytes_of(plain.data + one.size, plain.size - one.size);
		if (old_of(w, i) < 0) {
			TRY(chunk_add(w, i, one, at));
			continue;
		}
		TRY(group_end(w));
	}
	return ERR_OK;
}

// ---- pages

static enum err single_full(
	struct delta_work *w, const struct chunk_ref *run, struct bytes plain, struct object *o)
{
	struct bytes transported;

	TRY(object_encode(w->fulls, run, plain, o, &transported));
	return object_new(w, o, transported);
}

static int64_t page_to_hold_against(const struct delta_work *w, uint32_t number, unsigned attempt)
{
	int64_t old = (int64_t)number + (attempt == 0 ? 0 : attempt == 1 ? -1 : 1);

	return old >= 0 && (size_t)old < w->source.page_count ? old : -1;
}

// The page's object: from the old page that makes it smallest, or the full package's own.
static enum err page_object(struct delta_work *w, uint32_t number, struct object *out)
{
	struct chunk_ref run = page_chunk_ref(&w->news.manifest.pages[number]);
	struct bytes plain = buf_bytes(&w->news.page_bytes), transported;
	uint32_t least = w->news.index.page_objects[number].size_bytes;
	SCOPED_BUF struct buf best;

	buf_init(&best, LIMIT_OBJECT);
	*out = w->news.index.page_objects[number];
	for (unsigned i = 0; i < PAGE_TRIES; i++) {
		struct object o = {.first_chunk = number, .chunk_count = 1};
		int64_t old = page_to_hold_against(w, number, i);
		const struct delta_old *olds[1] = {&w->source.pages[old < 0 ? 0 : old]};
		if (old < 0)
			continue;
		TRY(bases_name(w, olds, 1, &o));
		TRY(object_encode_delta(
			w->deltas, &run, plain, buf_bytes(&w->prefix), &o, &transported));
		if (o.size_bytes + 37 >= least)
			continue;
		least = o.size_bytes + 37;
		buf_clear(&best);
		TRY(buf_append(&best, transported.data, transported.size));
		*out = o;
	}
	TRY(best.size > 0 ? object_new(w, out, buf_bytes(&best)) : object_count_in(w, out, false));
	object_to_index(out);
	return ERR_OK;
}

static enum err index_page_object(struct delta_work *w, struct index_page_ref *ref)
{
	struct index_page page = {.objects = w->objects, .object_count = w->object_count};
	SCOPED_BUF struct buf bytes;

	buf_init(&bytes, LIMIT_INDEX_PAGE);
	TRY(index_page_encode(&page, &bytes));
	ref->sha256 = sha256(bytes.data, bytes.size);
	ref->size_bytes = (uint32_t)bytes.size;
	struct chunk_ref run = index_page_chunk_ref(ref);
	*ref->object = (struct object){.chunk_count = 1};
	TRY(single_full(w, &run, buf_bytes(&bytes), ref->object));
	object_to_index(ref->object);
	return ERR_OK;
}

static enum err page_build(
	struct delta_work *w, uint32_t number, struct object *page, struct index_page_ref *ref)
{
	TRY(package_reader_page(&w->news, number));
	TRY(page_object(w, number, page));
	w->objects = arena_array(&w->arena, w->news.plan.chunk_count + 1, sizeof *w->objects);
	if (!w->objects)
		return err_set(ERR_MEMORY, "no memory for a delta");
	w->object_count = 0;
	for (size_t i = 0; i < w->news.index_page.object_count; i++)
		TRY(object_chunks(w, i));
	TRY(group_end(w));
	return index_page_object(w, ref);
}

// ---- all

static enum err index_build(struct delta_work *w)
{
	size_t pages = w->news.manifest.page_count;
	struct index x = {.package = w->out->package,
		.base = w->out->base,
		.page_object_count = pages,
		.page_count = pages};
	struct object *objects = arena_array(&w->news.head, pages, sizeof *objects);

	x.page_objects = arena_array(&w->news.head, pages, sizeof *x.page_objects);
	x.pages = arena_array(&w->news.head, pages, sizeof *x.pages);
	if (!objects || !x.page_objects || !x.pages)
		return err_set(ERR_MEMORY, "no memory for a delta");
	// Base lists of the pages' objects stay until the index is written.
	arena_init(&w->arena, (size_t)64 * 1024 * 1024, 1 << 22);
	for (uint32_t i = 0; i < pages; i++) {
		x.pages[i].object = &objects[i];
		TRY(page_build(w, i, &x.page_objects[i], &x.pages[i]));
	}
	x.object_count = (uint32_t)w->out->count;
	x.object_bytes = w->out->object_bytes;
	return index_encode(&x, &w->out->index);
}

static enum err build(struct delta_work *w)
{
	const struct object_profile profile = {.zstd_level = LEVEL, .keep_percent = 97};
	struct delta_job *job = w->job;
	SCOPED_FD int watch = -1;

	TRY(blob_watch(job->objects, &watch));
	TRY(package_reader_open(&w->olds, job->objects, buf_bytes(&job->base_manifest),
		buf_bytes(&job->base_index)));
	TRY(delta_source_open(&w->source, job->objects->dir, &w->olds, job->cancel));
	TRY(package_reader_open(
		&w->news, job->objects, buf_bytes(&job->manifest), buf_bytes(&job->index)));
	TRY(object_encoder_new(&profile, &w->deltas));
	TRY(object_encoder_new(&profile, &w->fulls));
	w->out->package = package_id(buf_bytes(&job->manifest));
	w->out->base = package_id(buf_bytes(&job->base_manifest));
	TRY(index_build(w));
	return blob_sync(job->objects, watch);
}

enum err delta_build(struct delta_job *job, struct delta_built *out)
{
	struct delta_work *w = calloc(1, sizeof *w);

	*out = (struct delta_built){0};
	buf_init(&out->index, LIMIT_INDEX);
	if (!w)
		return err_set(ERR_MEMORY, "no memory for a delta");
	w->job = job;
	w->out = out;
	w->source.fd = -1;
	buf_init(&w->plain, OBJECT_OUTPUT_MAX);
	buf_init(&w->prefix, OBJECT_BASE_MAX);
	enum err e = build(w);
	package_reader_close(&w->news);
	package_reader_close(&w->olds);
	delta_source_close(&w->source);
	object_encoder_free(w->deltas);
	object_encoder_free(w->fulls);
	buf_fini(&w->plain);
	buf_fini(&w->prefix);
	arena_fini(&w->arena);
	free(w);
	if (e != ERR_OK)
		delta_built_fini(out);
	return e;
}

void delta_built_fini(struct delta_built *b)
{
	buf_fini(&b->index);
	free(b->objects);
	*b = (struct delta_built){0};
}
