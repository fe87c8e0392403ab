// The workers of a fetch; see fetch_pool.h.
#include "client/fetch_pool.h"

#include "proto/digest.h"

#include <string.h>

// The loop is told of what is done in lots: each wake-up of another CPU costs as much as hashing
// half an object.
#define TELL_LOT 4

// ---- worker

static enum err delta_open(struct fetch_pool *p, const struct object *o,
	const struct chunk_ref *run, struct bytes transported, struct bytes *plain)
{
	struct digest have = sha256(transported.data, transported.size);
	if (!digest_equal(&have, &o->sha256)) // before the disk is asked for anything
		return err_set(ERR_CORRUPT, "object %s has other bytes", digest_short(&o->sha256));
	if (p->bases == NULL)
		return err_set(ERR_NOT_FOUND, "an object needs a base");
	if (p->base_decoder == NULL)
		TRY(object_decoder_new(&p->base_decoder));
	object_decoder_key(p->base_decoder, p->key);
	TRY(base_source_read(p->bases, o, &p->base_bytes));
	return object_open(p->base_decoder, o, run, transported, buf_bytes(&p->base_bytes), plain);
}

static enum err delta_store(struct pool_worker *w, const struct pool_object *it)
{
	struct fetch_pool *p = w->pool;
	const struct object *o = it->object;
	struct bytes plain;
	uv_mutex_lock(&p->base_lock);
	enum err e =
		delta_open(p, o, &p->page->plan.chunks[o->first_chunk], it->payload.bytes, &plain);
	if (e == ERR_OK)
		e = staging_write(
			p->staging, p->page, &w->pen, o->first_chunk, o->chunk_count, plain);
	uv_mutex_unlock(&p->base_lock);
	return e;
}

static enum err object_store(struct pool_worker *w, struct pool_object *it)
{
	const struct fetch_pool *p = w->pool;
	const struct object *o = it->object;
	if (coding_has_base(o->coding))
		return delta_store(w, it);
	const struct chunk_ref *run = &p->page->plan.chunks[o->first_chunk];
	struct bytes plain;
	TRY(object_open(w->decoder, o, run, it->payload.bytes, bytes_of(NULL, 0), &plain));
	return staging_write(p->staging, p->page, &w->pen, o->first_chunk, o->chunk_count, plain);
}

// False: there is none.
static bool take(struct fetch_pool *p, struct pool_object *out)
{
	if (p->count == 0)
		return false;
	*out = p->ring[p->head];
	p->head = (p->head + 1) % FETCH_WINDOW_MAX;
	p->count--;
	return true;
}

static void worker_run(uv_work_t *work)
{
	struct pool_worker *w = work->data;
	struct fetch_pool *p = w->pool;
	struct pool_object it;
	uv_mutex_lock(&p->lock);
	while (take(p, &it)) {
		uv_mutex_unlock(&p->lock);
		it.result = object_store(w, &it);
		link_payload_free(&it.payload);
		uv_mutex_lock(&p->lock);
		if (it.result != ERR_OK && !str_copy(p->why, sizeof p->why, err_text()))
			(void)str_copy(p->why, sizeof p->why, err_word(it.result));
		p->done[p->done_count++] = it;
		if (p->done_count >= TELL_LOT)
			uv_async_send(p->wake);
	}
	uv_mutex_unlock(&p->lock);
}

static void workers_start(struct fetch_pool *p);

static void worker_after(uv_work_t *work, int status)
{
	struct pool_worker *w = work->data;
	struct fetch_pool *p = w->pool;
	(void)status;
	w->busy = false;
	workers_start(p); // for what was put while it was ending
	p->idle(p->ctx);
}

// One worker for the first object that waits, the second when more do.
static void workers_start(struct fetch_pool *p)
{
	uv_mutex_lock(&p->lock);
	size_t waiting = p->count;
	uv_mutex_unlock(&p->lock);
	for (size_t i = 0; i < POOL_WORKERS && waiting > i; i++) {
		struct pool_worker *w = &p->workers[i];
		if (w->busy)
			continue;
		w->work.data = w;
		w->busy = uv_queue_work(p->loop, &w->work, worker_run, worker_after) == 0;
	}
}

// ---- flush

static void flush_run(uv_work_t *work)
{
	const struct pool_flush *f = work->data;
	staging_flush(f->pool->staging, f->pool->page, f->files, f->count);
}

static void flush_after(uv_work_t *work, int status)
{
	struct pool_flush *f = work->data;
	(void)status;
	f->busy = false;
	f->pool->idle(f->pool->ctx);
}

static void flush_start(struct fetch_pool *p)
{
	struct pool_flush *f = &p->flush;
	if (f->busy)
		return;
	memcpy(f->files, p->files, p->file_count * sizeof p->files[0]);
	f->count = p->file_count;
	p->file_count = 0;
	p->unflushed_bytes = 0;
	f->work.data = f;
	f->busy = uv_queue_work(p->loop, &f->work, flush_run, flush_after) == 0;
}

static void written(struct fetch_pool *p, const struct object *o)
{
	const struct staged_page *page = p->page;
	for (uint32_t c = o->first_chunk; c < o->first_chunk + o->chunk_count; c++) {
		uint32_t place = page->place_of[page->place_first[c]];
		uint32_t file = page->plan.places[place].file;
		p->unflushed_bytes += page->plan.chunks[c].size;
		if (p->file_count != 0 && p->files[p->file_count - 1] == file)
			continue;
		if (p->file_count == POOL_FLUSH_FILES)
			return; // the last fsync finds it
		p->files[p->file_count++] = file;
	}
	if (p->unflushed_bytes >= POOL_FLUSH_BYTES || p->file_count == POOL_FLUSH_FILES)
		flush_start(p);
}

// ---- the loop's side

enum err fetch_pool_init(
	struct fetch_pool *p, uv_loop_t *loop, uv_async_t *wake, void (*idle)(void *ctx), void *ctx)
{
	*p = (struct fetch_pool){.loop = loop, .wake = wake, .idle = idle, .ctx = ctx};
	p->flush.pool = p;
	for (size_t i = 0; i < POOL_WORKERS; i++)
		p->workers[i] = (struct pool_worker){.pool = p, .pen = STAGING_PEN};
	buf_init(&p->base_bytes, OBJECT_BASE_MAX);
	if (uv_mutex_init(&p->lock) != 0 || uv_mutex_init(&p->base_lock) != 0)
		return err_set(ERR_MEMORY, "no lock for the pool");
	for (size_t i = 0; i < POOL_WORKERS; i++)
		TRY(object_decoder_new(&p->workers[i].decoder));
	return ERR_OK;
}

void fetch_pool_key(struct fetch_pool *p, const struct key32 *key)
{
	p->key = key;
	for (size_t i = 0; i < POOL_WORKERS; i++)
		object_decoder_key(p->workers[i].decoder, key);
}

void fetch_pool_fini(struct fetch_pool *p)
{
	if (p->loop == NULL)
		return;
	fetch_pool_drop(p);
	fetch_pool_page_end(p);
	for (size_t i = 0; i < POOL_WORKERS; i++)
		object_decoder_free(p->workers[i].decoder);
	object_decoder_free(p->base_decoder);
	buf_fini(&p->base_bytes);
	uv_mutex_destroy(&p->base_lock);
	uv_mutex_destroy(&p->lock);
	p->loop = NULL;
}

void fetch_pool_page(struct fetch_pool *p, const struct staging *s, const struct staged_page *page,
	const struct base_source *bases)
{
	p->staging = s;
	p->page = page;
	p->bases = bases;
	p->file_count = 0;
}

void fetch_pool_page_end(struct fetch_pool *p)
{
	for (size_t i = 0; i < POOL_WORKERS; i++)
		staging_pen_close(&p->workers[i].pen);
}

enum err fetch_pool_put(
	struct fetch_pool *p, const struct object *o, uint32_t item, struct link_payload *payload)
{
	uv_mutex_lock(&p->lock);
	bool full = p->held == FETCH_WINDOW_MAX;
	if (!full) {
		p->ring[(p->head + p->count) % FETCH_WINDOW_MAX] =
			(struct pool_object){.object = o, .item = item, .payload = *payload};
		p->count++;
		p->held++;
	}
	uv_mutex_unlock(&p->lock);
	if (full)
		return err_set(ERR_FULL, "more objects than the window holds");
	*payload = (struct link_payload){0};
	workers_start(p);
	return ERR_OK;
}

size_t fetch_pool_drain(
	struct fetch_pool *p, struct pool_object *out, size_t room, char *why, size_t why_size)
{
	uv_mutex_lock(&p->lock);
	size_t n = p->done_count < room ? p->done_count : room;
	memcpy(out, p->done, n * sizeof *out);
	memmove(p->done, p->done + n, (p->done_count - n) * sizeof *out);
	p->done_count -= n;
	p->held -= n;
	(void)str_copy(why, why_size, p->why);
	uv_mutex_unlock(&p->lock);
	for (size_t i = 0; i < n; i++) {
		if (out[i].result == ERR_OK)
			written(p, out[i].object);
	}
	return n;
}

void fetch_pool_drop(struct fetch_pool *p)
{
	struct pool_object it;
	uv_mutex_lock(&p->lock);
	while (take(p, &it)) {
		link_payload_free(&it.payload);
		p->held--;
	}
	uv_mutex_unlock(&p->lock);
}

bool fetch_pool_is_busy(const struct fetch_pool *p)
{
	bool busy = p->flush.busy;
	for (size_t i = 0; i < POOL_WORKERS; i++)
		busy = busy || p->workers[i].busy;
	return busy;
}
