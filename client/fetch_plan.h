// Which objects to subscribe to now, which to let go, when to ask again. Pure: the plan of one
// page.
//
// Rules (protocol.md "Fetch", measured on Mosquitto 2.0.11):
//  - explicit topics only, in an order of the client's own (seeded runs of neighbours), because a
//    filter that all subscribers hold at a time costs each of them O(subscribers)
//  - in a window of objects and of bytes: what is subscribed and not yet stored is what the agent
//    holds in memory at most, and the broker for it. Its bytes are measured (fetch_window.h)
//  - refilled in batches of at least a quarter of the window, and of four objects where it has as
//    many twice: few SUBSCRIBE packets; what arrived is unsubscribed in the same breath; a live
//    filter is never subscribed again
//  - rate: a token bucket that delays refills
//  - watchdog: nothing for max(1 s, 4 x round trip, twice what the bytes on the way should take)
//    -> UNSUBSCRIBE and SUBSCRIBE one missing object; after three tries all that is live is missing
//    here and the plan ends. When that one comes, those that were asked for before it are lost: a
//    broker answers in the order of the asking. They are asked for again at once
// Objects that are told with others of the page come after those: wave by wave, in an order of the
// client's own within a wave. One that comes before what it needs is parked: it counts in the
// window, and nothing waits for it.
#ifndef HELIO_CLIENT_FETCH_PLAN_H
#define HELIO_CLIENT_FETCH_PLAN_H

#include "client/fetch_window.h"
#include "proto/base/clock.h"
#include "proto/base/mem.h"
#include "proto/base/ratelimit.h"
#include "proto/limits.h"

#define FETCH_BATCH FETCH_WINDOW_MAX
#define FETCH_TRIES 3

enum item_state {
	ITEM_WAITING,
	ITEM_LIVE,
	ITEM_ARRIVED,
	ITEM_STORED,
	ITEM_MISSING
};

struct fetch_item {
	struct digest topic; // the object's digest
	uint32_t size_bytes;
	uint32_t tag;      // the caller's
	uint32_t rank;     // in the order of the asking
	uint32_t asked_ms; // monotonic, its lower bits
	uint8_t wave;      // index_page_waves
	uint8_t state;     // enum item_state
	uint8_t tries;
	bool parked;
	bool subscribed; // a filter of ours stands at the broker
};

// Lives as long as the connection: what was learned about it, and the bucket.
struct fetch_pace {
	uint32_t window; // objects, 1..FETCH_WINDOW_MAX
	struct fetch_window open;
	struct ratelimit bucket;
	bool hold;
	double round_trip_ms; // smoothed
	double bytes_per_ms;  // smoothed, 0: not known yet
	struct mono progress; // last arrival or subscription of an empty window
	uint64_t since_bytes; // arrived since `rate_from`
	struct mono rate_from;
	uint32_t alarms; // watchdog fires in a row
};

struct fetch_plan {
	struct fetch_item *items; // the caller's array, by ascending topic
	size_t count;
	uint32_t *order; // the caller's array of count
	size_t next;     // in order
	uint32_t ranks;  // given so far
	size_t live, arrived, stored, missing;
	size_t parked;      // of those that arrived
	uint64_t out_bytes; // live and arrived: what the window counts
	uint64_t live_bytes;
	uint32_t gone[FETCH_BATCH]; // arrived and not yet unsubscribed
	size_t gone_count;
	bool given_up; // silence went on: what was live is missing here
	struct fetch_pace *pace;
};

struct fetch_step {
	uint32_t unsubscribe[2 * FETCH_BATCH];
	size_t unsubscribe_count;
	uint32_t subscribe[FETCH_BATCH];
	size_t subscribe_count;
	int64_t wait_ms; // until fetch_plan_step has something to do again, -1: an arrival must
			 // come first
	bool finished;   // nothing waits, nothing is on its way, and no filter is left
};

// window, window_bytes: the most, never passed.
void fetch_pace_init(struct fetch_pace *p, uint32_t window, uint64_t window_bytes,
	uint64_t rate_bytes_per_s, struct mono now);
void fetch_pace_set(struct fetch_pace *p, uint64_t rate_bytes_per_s, bool hold, struct mono now);
void fetch_pace_round_trip(struct fetch_pace *p, int64_t ms);
// Objects that the broker sends ahead of our PUBACK, and holds a copy of for it: half of the
// window. The other half waits its turn as a reference to what lies there.
uint16_t fetch_receive_maximum(uint32_t window);
// How long silence lasts before an object is asked for again.
int64_t fetch_pace_patience_ms(const struct fetch_pace *p, uint64_t live_bytes);

// items: topic, size_bytes, wave and tag are set; sorted here. order: room for count.
void fetch_plan_init(struct fetch_plan *p, struct fetch_pace *pace, struct fetch_item *items,
	uint32_t *order, size_t count, uint64_t seed, struct mono now);
// Item of a topic, -1: not of this plan.
int64_t fetch_plan_find(const struct fetch_plan *p, const struct digest *topic);
// The bytes came. False: they are not awaited (a copy, or late).
bool fetch_plan_arrived(struct fetch_plan *p, uint32_t item, struct mono now);
// What they need is not there yet, or now it is.
void fetch_plan_park(struct fetch_plan *p, uint32_t item, bool parked);
// They are stored.
void fetch_plan_stored(struct fetch_plan *p, uint32_t item);
// They were wrong: asked for again, at most FETCH_TRIES times.
void fetch_plan_bad(struct fetch_plan *p, uint32_t item);
// The connection ended: no filter stands any more.
void fetch_plan_disconnected(struct fetch_plan *p, struct mono now);
void fetch_plan_step(struct fetch_plan *p, struct mono now, struct fetch_step *out);

#endif
