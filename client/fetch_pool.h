// Verifies and writes what arrived: two workers of libuv's pool that take object after object for
// as long as there is any, so that no object waits for the loop. A third job tells the kernel to
// begin writing what they wrote, so that neither they nor the end of the fetch wait for the disk.
//
//   loop: fetch_pool_put -> ring -> worker: object_open, staging_write -> done -> loop: events
#ifndef HELIO_CLIENT_FETCH_POOL_H
#define HELIO_CLIENT_FETCH_POOL_H

#include "client/base_source.h"
#include "client/staging.h"
#include "proto/mqtt_link.h"

#include <uv.h>

#define POOL_WORKERS 2
// Flushed by name: a flush is due when so many files or so many bytes were written since.
#define POOL_FLUSH_FILES 64
#define POOL_FLUSH_BYTES (4 * 1024 * 1024)

struct fetch_pool;

// One object. The payload is the pool's from fetch_pool_put on.
struct pool_object {
	const struct object *object; // of the index page
	uint32_t item;               // the caller's
	struct link_payload payload;
	enum err result;
};

struct pool_worker {
	struct fetch_pool *pool;
	uv_work_t work;
	struct object_decoder *decoder;
	struct staging_pen pen; // kept from run to run: a run is often of one object
	bool busy;
};

struct pool_flush {
	struct fetch_pool *pool;
	uv_work_t work;
	uint32_t files[POOL_FLUSH_FILES];
	size_t count;
	bool busy;
};

struct fetch_pool {
	uv_loop_t *loop;
	uv_async_t *wake; // borrowed: its callback calls fetch_pool_drain
	void (*idle)(void *ctx);
	void *ctx;
	const struct staging *staging; // of the page at work
	const struct staged_page *page;
	const struct base_source *bases; // NULL: no object needs other bytes
	const struct key32 *key;         // of a sealed package; NULL: none
	struct pool_worker workers[POOL_WORKERS];
	struct pool_flush flush;
	uint32_t files[POOL_FLUSH_FILES]; // written since the last flush
	size_t file_count;
	uint64_t unflushed_bytes;

	// One object at a time is made of old bytes: what that takes in memory is there once.
	uv_mutex_t base_lock; // over the two below
	struct object_decoder *base_decoder;
	struct buf base_bytes;

	uv_mutex_t lock; // over all below
	struct pool_object ring[FETCH_WINDOW_MAX];
	size_t head, count;
	struct pool_object done[FETCH_WINDOW_MAX];
	size_t done_count;
	size_t held;   // in ring, at work, done and not drained: at most FETCH_WINDOW_MAX
	char why[256]; // of the last failure
};

// idle: called on the loop each time a worker or the flush has ended.
enum err fetch_pool_init(struct fetch_pool *p, uv_loop_t *loop, uv_async_t *wake,
	void (*idle)(void *ctx), void *ctx) MUST_CHECK;
// Every object is opened with it. Borrowed.
void fetch_pool_key(struct fetch_pool *p, const struct key32 *key);
// Nothing may be under way.
void fetch_pool_fini(struct fetch_pool *p);

// The page whose objects come next. Nothing may be under way.
void fetch_pool_page(struct fetch_pool *p, const struct staging *s, const struct staged_page *page,
	const struct base_source *bases);
// All of its objects are written: the files are closed. Nothing may be under way.
void fetch_pool_page_end(struct fetch_pool *p);
// Errors: ERR_FULL; the payload stays the caller's.
enum err fetch_pool_put(struct fetch_pool *p, const struct object *o, uint32_t item,
	struct link_payload *payload) MUST_CHECK;
// What is done, in order of its end, at most `room`. why: of the last failure among them.
size_t fetch_pool_drain(
	struct fetch_pool *p, struct pool_object *out, size_t room, char *why, size_t why_size);
// Forgets what no worker has begun.
void fetch_pool_drop(struct fetch_pool *p);
// A worker or the flush is under way.
bool fetch_pool_is_busy(const struct fetch_pool *p);

#endif
