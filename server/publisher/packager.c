// What both passes do with objects and chunks, and the job as a whole. First pass:
// packager_files.c; second pass: packager_index.c.
#include "server/publisher/packager.h"
#include "proto/base/file.h"
#include "proto/digest.h"
#include "proto/seal_content.h"
#include "server/publisher/packager_inside.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- objects

// Objects of the fast profile are small or of one chunk: the small profile makes its own.
static bool is_large_group(const struct known_object *o, const struct chunk_ref *run)
{
	size_t size = 0;

	for (uint32_t i = 0; i < o->chunk_count; i++)
		size += run[i].size;
	return o->chunk_count > 1 && size >= OBJECT_OUTPUT_MAX / 2;
}

static bool own_fits(void *ctx, const struct known *k, const struct known_object *o)
{
	const struct pack_work *w = ctx;

	return w->own && own_prefix_fits(w->own, k, o, &w->pad);
}

struct pack_found pack_object_find(
	const struct pack_work *w, const struct chunk_ref *run, size_t count)
{
	void *ctx = (void *)(uintptr_t)w;
	struct pack_found a = {.in = w->job->known,
		.object = known_run_named(w->job->known, run, count, &w->pad, own_fits, ctx)};
	if (a.object && w->job->small && a.object->base_count == 0 &&
		!is_large_group(a.object, run))
		a.object = NULL;
	struct pack_found b = {.in = &w->out->fresh,
		.object = known_run_named(&w->out->fresh, run, count, &w->pad, own_fits, ctx)};

	if (!a.object || (b.object && b.object->chunk_count > a.object->chunk_count))
		return b;
	return a;
}

// One of the package's; in this set an object stands for itself.
static enum err object_count(struct pack_work *w, const struct object *o)
{
	const struct object entry = {.sha256 = o->sha256,
		.size_bytes = o->size_bytes,
		.coding = o->coding,
		.chunk_count = 1};

	if (known_has(&w->out->objects, &o->sha256))
		return ERR_OK;
	w->out->object_bytes += o->size_bytes;
	return known_add(&w->out->objects, &entry, &o->sha256);
}

enum err pack_object_use(struct pack_work *w, const struct pack_found *found, struct arena *names,
	struct object *out)
{
	const struct known_object *o = found->object;

	*out = (struct object){.sha256 = o->sha256,
		.size_bytes = o->size_bytes,
		.coding = o->coding,
		.chunk_count = o->chunk_count};
	TRY(object_count(w, out));
	if (o->base_count == 0)
		return ERR_OK;
	return own_prefix_name(w->own, names, found->in, o, &w->pad, out);
}

static enum err fresh_add(struct pack_work *w, const struct object *o, const struct chunk_ref *run)
{
	SCOPED_FREE struct digest *chunks = calloc(o->chunk_count, sizeof *chunks);

	if (!chunks)
		return err_set(ERR_MEMORY, "no memory for an object");
	for (uint32_t i = 0; i < o->chunk_count; i++)
		chunks[i] = known_name(&run[i].sha256, &w->pad);
	w->out->new_bytes += o->size_bytes;
	return known_add(&w->out->fresh, o, chunks);
}

static enum err object_write(struct pack_work *w, const struct object *o,
	const struct chunk_ref *run, struct bytes transported)
{
	TRY(fresh_add(w, o, run)); // first, so that an undo finds it
	return blob_put(w->job->objects, &o->sha256, transported);
}

static bool is_there(const struct pack_work *w, const struct chunk_ref *chunk)
{
	struct pack_found found = pack_object_find(w, chunk, 1);

	// What is looked for here -- chunks of the fast profile, pages -- is told with nothing.
	return found.object && found.object->chunk_count == 1 && found.object->base_count == 0;
}

bool pack_object_is_there(struct pack_work *w, const struct chunk_ref *chunk)
{
	uv_rwlock_rdlock(&w->fresh_lock);
	bool there = is_there(w, chunk);
	uv_rwlock_rdunlock(&w->fresh_lock);
	return there;
}

enum err pack_object_written(
	struct pack_work *w, const struct object *o, const struct chunk_ref *chunk)
{
	uv_rwlock_wrlock(&w->fresh_lock);
	enum err e = is_there(w, chunk) ? ERR_OK : fresh_add(w, o, chunk);
	uv_rwlock_wrunlock(&w->fresh_lock);
	return e;
}

static struct pack_found last_written(const struct pack_work *w)
{
	const struct known *fresh = &w->out->fresh;

	return (struct pack_found){.in = fresh, .object = &fresh->objects[fresh->object_count - 1]};
}

enum err pack_object(struct pack_work *w, struct object_encoder *encoder,
	const struct chunk_ref *run, uint32_t count, struct bytes plain, struct object *out)
{
	struct pack_found found = pack_object_find(w, run, count);
	struct bytes transported = {0};
	struct object made = {.chunk_count = count};

	// What is looked for here -- chunks of the fast profile, pages -- is told with nothing.
	if (!found.object || found.object->chunk_count != count || found.object->base_count > 0) {
		TRY(object_encode(encoder, run, plain, &made, &transported));
		TRY(object_write(w, &made, run, transported));
		found = last_written(w);
	}
	return pack_object_use(w, &found, NULL, out);
}

// As a later package finds it: all that it is told with by name, in order.
static enum err own_write(struct pack_work *w, const struct object *o, const struct chunk_ref *run,
	struct bytes transported)
{
	struct own_prefix *own = w->own;
	struct object named = *o;

	for (size_t i = 0; i < own->pick_count; i++)
		own->names[i] = known_name(&own->names[i], &w->pad);
	named.base_chunks = own->names;
	named.base_sizes = own->sizes;
	named.base_count = o->base_count + o->own_run_count > 0 ? own->pick_count : 0;
	return object_write(w, &named, run, transported);
}

enum err pack_object_own(struct pack_work *w, const struct chunk_ref *run, uint32_t count,
	struct bytes plain, struct arena *names, struct object *out)
{
	struct object made = {.chunk_count = count};
	struct bytes transported = {0};

	TRY(own_prefix_choose(w->own, names, plain, &made));
	if (w->own->pick_count == 0)
		TRY(object_encode(w->content, run, plain, &made, &transported));
	else
		TRY(object_encode_own(
			w->content, run, plain, buf_bytes(&w->own->prefix), &made, &transported));
	TRY(own_write(w, &made, run, transported));
	*out = made;
	return object_count(w, out);
}

// ---- all

enum err pack_encoder_new(const struct pack_work *w, struct object_encoder **out)
{
	struct object_profile profile = w->job->profile;

	if (w->job->key && profile.zstd_level == 0)
		profile.zstd_level = 1; // what is sealed is a frame, also when nothing is gained
	TRY(object_encoder_new(&profile, out));
	object_encoder_key(*out, w->job->key);
	return ERR_OK;
}

static void key_begin(struct pack_work *w)
{
	const struct key32 *key = w->job->key;

	w->pad = content_pad(key);
	w->salt = content_page_salt(key);
	manifest_builder_salt(w->builder, &w->salt);
	object_encoder_key(w->pages, key);
}

static enum err work_begin(struct pack_work *w)
{
	const struct object_profile for_pages = {.zstd_level = 9, .keep_percent = 97};

	TRY(blob_watch(w->job->objects, &w->watch));
	TRY(spool_open(&w->spool, w->job->objects->dir));
	struct manifest info = w->job->info;
	if (w->job->key)
		info.key_id = content_key_id(w->job->key);
	TRY(manifest_builder_new(&info, &w->builder));
	TRY(pack_encoder_new(w, &w->content));
	TRY(object_encoder_new(&for_pages, &w->pages));
	if (w->job->key)
		key_begin(w);
	return ERR_OK;
}

static void work_end(struct pack_work *w)
{
	manifest_builder_free(w->builder);
	object_encoder_free(w->content);
	object_encoder_free(w->pages);
	spool_close(&w->spool);
	pack_later_end(&w->later);
	blob_flush_drop(w->flush);
	if (w->watch >= 0)
		close(w->watch);
	uv_rwlock_destroy(&w->fresh_lock);
}

static enum err root_take(struct package_built *out)
{
	SCOPED_ARENA struct arena a;
	struct manifest m;

	arena_init(&a, 256 * 1024, 4096);
	TRY(manifest_decode(&a, buf_bytes(&out->manifest), &m));
	TRY(manifest_check(&m));
	out->id = package_id(buf_bytes(&out->manifest));
	out->size_bytes = m.size_bytes;
	out->file_count = m.file_count;
	out->chunk_count = m.chunk_count;
	return ERR_OK;
}

static enum err build(struct pack_work *w)
{
	const struct built_page *pages = NULL;
	size_t page_count = 0;

	TRY(work_begin(w));
	TRY(pack_files(w));
	TRY(manifest_builder_finish(w->builder, &w->out->manifest, &pages, &page_count));
	TRY(root_take(w->out));
	TRY(pack_index(w, pages, page_count));
	struct blob_flush *flush = w->flush;
	w->flush = NULL;
	return flush ? blob_flush_end(flush) : blob_sync(w->job->objects, w->watch);
}

enum err package_build(const struct pack_job *job, struct package_built *out)
{
	struct pack_work w = {.job = job, .out = out, .watch = -1};

	*out = (struct package_built){0};
	buf_init(&out->manifest, LIMIT_MANIFEST_ROOT);
	buf_init(&out->index, LIMIT_INDEX);
	known_init(&out->objects);
	known_init(&out->fresh);
	seen_init(&out->seen);
	spool_init(&w.spool);
	known_init(&w.later.chunks);
	if (uv_rwlock_init(&w.fresh_lock) != 0)
		abort(); // out of memory
	enum err e = build(&w);
	work_end(&w);
	if (e != ERR_OK) {
		package_built_undo(job, out);
		package_built_fini(out);
	}
	return e;
}

void package_built_fini(struct package_built *b)
{
	buf_fini(&b->manifest);
	buf_fini(&b->index);
	known_fini(&b->objects);
	known_fini(&b->fresh);
	seen_fini(&b->seen);
}

static int name_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

// An object that was made anew may be one that other packages name: a page, made by the same level.
void package_built_undo(const struct pack_job *job, const struct package_built *b)
{
	size_t count = b->fresh.object_count;
	SCOPED_FREE struct digest *names = calloc(count + 1, sizeof *names);
	SCOPED_FREE bool *named = calloc(count + 1, sizeof *named);

	if (!names || !named)
		return; // the sweep at the next start finds them
	for (size_t i = 0; i < count; i++)
		names[i] = b->fresh.objects[i].sha256;
	qsort(names, count, sizeof *names, name_order);
	for (size_t i = 0; count && i < job->known->object_count; i++) {
		const struct digest *at = bsearch(
			&job->known->objects[i].sha256, names, count, sizeof *names, name_order);
		if (at)
			named[at - names] = true;
	}
	for (size_t i = 0; i < count; i++)
		if (!named[i] && blob_remove(job->objects, &names[i]) != ERR_OK)
			continue; // as above
}
