// See blob_flush.h.
#include "server/publisher/blob_flush.h"
#include <stdlib.h>
#include <uv.h>

#define ENOUGH_BYTES ((size_t)2 << 20)

struct blob_flush {
	struct blob_store *store;
	int watch;
	uv_thread_t thread;
	uv_mutex_t mutex;
	uv_cond_t changed;
	size_t bytes; // put since the last sync began
	bool over;
	enum err fault; // the first
	char why[256];
};

static bool enough_await(struct blob_flush *f)
{
	uv_mutex_lock(&f->mutex);
	while (f->bytes < ENOUGH_BYTES && !f->over)
		uv_cond_wait(&f->changed, &f->mutex);
	f->bytes = 0;
	bool over = f->over;
	uv_mutex_unlock(&f->mutex);
	return !over;
}

// The kernel tells of a write that failed once: who hears it here must not forget it.
static void flush_main(void *arg)
{
	struct blob_flush *f = arg;

	while (enough_await(f)) {
		enum err e = blob_sync(f->store, f->watch);
		if (e == ERR_OK || f->fault != ERR_OK)
			continue;
		f->fault = e;
		if (!str_copy(f->why, sizeof f->why, err_text()))
			(void)str_copy(f->why, sizeof f->why, err_word(e));
	}
}

enum err blob_flush_begin(struct blob_store *s, int watch, struct blob_flush **out)
{
	struct blob_flush *f = calloc(1, sizeof *f);

	if (!f)
		return err_set(ERR_MEMORY, "no memory for a thread");
	f->store = s;
	f->watch = watch;
	if (uv_mutex_init(&f->mutex) != 0 || uv_cond_init(&f->changed) != 0)
		abort(); // out of memory
	if (uv_thread_create(&f->thread, flush_main, f) == 0) {
		*out = f;
		return ERR_OK;
	}
	uv_cond_destroy(&f->changed);
	uv_mutex_destroy(&f->mutex);
	free(f);
	return err_set(ERR_MEMORY, "no thread to be had");
}

void blob_flush_put(struct blob_flush *f, size_t bytes)
{
	uv_mutex_lock(&f->mutex);
	f->bytes += bytes;
	if (f->bytes >= ENOUGH_BYTES)
		uv_cond_signal(&f->changed);
	uv_mutex_unlock(&f->mutex);
}

// Returns what failed meanwhile.
static enum err flush_stop(struct blob_flush *f)
{
	uv_mutex_lock(&f->mutex);
	f->over = true;
	uv_cond_signal(&f->changed);
	uv_mutex_unlock(&f->mutex);
	uv_thread_join(&f->thread);
	uv_cond_destroy(&f->changed);
	uv_mutex_destroy(&f->mutex);
	enum err e = f->fault == ERR_OK ? ERR_OK : err_set(f->fault, "%s", f->why);
	free(f);
	return e;
}

enum err blob_flush_end(struct blob_flush *f)
{
	struct blob_store *store = f->store;
	int watch = f->watch;

	TRY(flush_stop(f));
	return blob_sync(store, watch);
}

void blob_flush_drop(struct blob_flush *f)
{
	if (f && flush_stop(f) != ERR_OK)
		return; // what was put is removed anyway
}
