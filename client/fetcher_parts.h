// What the files of the fetcher share. No other room includes this.
//
//   fetcher.c        the life of a fetch, its link, single topics, one page after the other
//   fetch_head.c     index and manifest: what is believed, and why not
//   fetch_delta.c    a delta index in the place of the full one, and the way back
//   fetch_objects.c  the window of one page
//   fetch_memory.c   what it needs of memory, asked for at once
//   fetch_pool.c     the workers that verify and write (a room of its own)
//   fetch_medium.c   a folder in the place of a broker
//   fetch_install.c  staging and installing, in the pool
#ifndef HELIO_CLIENT_FETCHER_PARTS_H
#define HELIO_CLIENT_FETCHER_PARTS_H

#include "client/fetch_plan.h"
#include "client/fetch_pool.h"
#include "client/fetcher.h"
#include "client/staging.h"
#include "proto/base/log.h"

#define FETCH_SINGLES 2

enum fetch_phase {
	FETCH_CONNECT,
	FETCH_HEAD,       // index and manifest
	FETCH_STAGE,      // pool: staging_open
	FETCH_PAGE,       // the page's bytes (and its index page at once when nothing is held)
	FETCH_PLAN,       // pool: staging_begin_page
	FETCH_INDEX_PAGE, // the index page's bytes
	FETCH_BASES,      // pool: where the old bytes of its objects lie
	FETCH_OBJECTS,
	FETCH_INSTALL, // pool
	FETCH_OVER,    // told; waits for the pool
};

// A topic of its own, outside of the window.
struct fetch_single {
	bool wanted, done;
	char topic[LIMIT_TOPIC];
	size_t limit;
	struct digest digest; // of an object, zero for index and manifest
	struct buf bytes;
	uint32_t tries;
};

// A medium in the place of a broker: what is subscribed to is read, one file after the other.
#define MEDIUM_QUEUE 128
struct fetch_medium {
	char dir[512]; // "": there is none
	char topics[MEDIUM_QUEUE][LIMIT_TOPIC];
	size_t first, count;
	uv_work_t work;
	bool busy;
	struct buf bytes;
	enum err result;
	char why[256]; // of what was not read
	size_t odd;    // such files; a few are told
};

struct fetch {
	struct fetcher *owner;
	const struct fetcher_config *config;
	enum fetch_phase phase;
	char fail_word[32];

	// the order, copied
	struct digest package, base;
	enum package_kind kind;
	bool activate;
	uint64_t floor;
	char publisher[LIMIT_ID + 1], host[256], ip[64], broker[LIMIT_ID + 1];
	uint16_t port;
	bool tls;
	struct key32 publisher_key;
	uint32_t window;
	uint64_t window_bytes;

	struct fetch_medium *medium; // NULL: the link
	struct mqtt_link *link;
	bool up;
	uint32_t link_tries;
	struct mono subscribed_at;
	struct fetch_pace pace;
	uv_timer_t timer;
	bool timer_closed;
	enum fetch_timer {
		TIMER_NONE,
		TIMER_PUMP,
		TIMER_RELINK
	} timer_for;
	struct fetch_single singles[FETCH_SINGLES];

	struct arena head_arena;
	struct buf envelope; // of the manifest
	struct manifest manifest;
	struct index index;
	bool staged;
	struct staging staging;
	struct look look; // of the pool, at what lies here
	struct rot rot;

	struct arena page_arena;
	struct page_carry carry, carry_before; // before the page whose number is carry_of
	uint32_t page, carry_of;
	bool carry_moved;
	struct staged_page staged_page;
	struct index_page index_page;
	bool index_page_there;
	struct fetch_plan plan;
	bool planned;
	struct base_source bases; // of the page, when its objects are told with other bytes
	bool has_bases;
	struct fetch_parked {
		struct link_payload payload;
		uint32_t item;
	} parked[FETCH_WINDOW_MAX]; // objects whose own page lacks what they are told with
	size_t parked_count;
	bool index_failed;              // of the two of the head it was the index
	bool falls_back;                // to the full index, as soon as the pool is idle
	uint64_t to_come;               // bytes of objects, as far as the indexes tell
	struct object_decoder *decoder; // of the loop's thread
	struct key32 key;               // of an encrypted package
	struct fetch_pool pool;

	uv_work_t work; // staging, page, install
	bool work_busy;
	enum err work_result;
	char work_why[256];
	uint64_t received_bytes;
	struct mono begun;
	struct mono told;
};

struct fetcher {
	uv_loop_t *loop;
	struct fetcher_config config;
	struct fetcher_events events;
	void *ctx;
	struct fetch *now;      // at work
	struct fetch *draining; // told, or stopped; the pool still holds it
	struct fetch *waiting;  // begins when the other has drained
	uv_async_t told;        // the workers have something for fetch_objects_drain
	bool closing;
};

struct mono fetch_now(void);
// Ends the fetch with one of the four endings; nothing of it is used after the event.
void fetch_fail(struct fetch *f, const char *word, const char *text);
void fetch_fail_err(struct fetch *f, enum err e, const char *word, const char *text);
void fetch_broker_failed(struct fetch *f, const char *why);
void fetch_missing(struct fetch *f, const struct digest *objects, size_t count);
// fetch_delta.c: the index in use is one of a delta; it failed, and the full one takes its place.
// At once, or when the workers have let go.
bool fetch_is_delta(const struct fetch *f);
void fetch_fall_back(struct fetch *f, const char *why);
void fetch_fall_back_later(struct fetch *f, const char *why);
// Old bytes of a manifest page's object into `out`.
enum err fetch_page_base(struct fetch *f, const struct object *o, struct buf *out) MUST_CHECK;
// The index page yields all that is missing, from bases that are here.
bool fetch_index_serves(const struct fetch *f);
void fetch_head_want(struct fetch *f);
// What is to come is told.
void fetch_tell_bytes(struct fetch *f);

// The pool let go of something: frees what waits for it.
void fetch_released(struct fetch *f);

// Subscribes to the singles that are wanted and not there. True: all are there.
bool fetch_singles_ready(struct fetch *f);
void fetch_single_want(
	struct fetch *f, size_t i, const char *topic, size_t limit, const struct digest *d);
void fetch_subscribe(struct fetch *f, const struct topic *topics, size_t count);
void fetch_unsubscribe(struct fetch *f, const struct topic *topics, size_t count);
void fetch_timer_set(struct fetch *f, int64_t ms, enum fetch_timer what);
void fetch_next_page(struct fetch *f);
void fetch_page_planned(struct fetch *f);

// fetch_head.c: index and manifest have come. Errors with f->fail_word set.
enum err fetch_head_check(struct fetch *f) MUST_CHECK;

// fetch_objects.c
enum err fetch_objects_begin(struct fetch *f) MUST_CHECK;
void fetch_objects_message(
	struct fetch *f, const struct digest *object, const struct link_message *m);
void fetch_objects_pump(struct fetch *f);
// Forgets what is parked.
void fetch_parked_drop(struct fetch *f);
// Takes over what the workers have done, and pumps.
void fetch_objects_drain(struct fetch *f);

// fetch_memory.c: takes from the system what a fetch with this window needs, and gives it to the
// heap. Errors: ERR_MEMORY.
enum err fetch_memory_reserve(size_t window_bytes) MUST_CHECK;

// The link is up: subscribe to what is wanted.
void fetch_is_up(struct fetch *f);
void fetch_message(struct fetch *f, const struct link_message *m);

// fetch_medium.c
void medium_subscribe(struct fetch *f, const struct topic *topics, size_t count);

// fetch_install.c
void fetch_stage_start(struct fetch *f);
void fetch_plan_start(struct fetch *f);
void fetch_bases_start(struct fetch *f);
void fetch_bases_found(struct fetch *f);
void fetch_install_start(struct fetch *f);

#endif
