// The managed event queue (US 9,288,284): elements are stored once, and all that a client has is a
// pointer.
//
//   HEAD | 17 DISPLAY | 18 CONTROL | 19 DISPLAY | TAIL(20)
//
// A pointer is a sequence number and shows the first element whose number is not below it. 0, and
// whatever lies below the floor, is NULL_HEAD: detached. The number of the tail is NULL_TAIL:
// caught up. Append turns the tail into the new element in place, so every caught-up pointer shows
// it without being touched. A consolidated element keeps its last member's number, so pointers at
// members show it by themselves. Each element counts the pointers that stand on it; the head is
// trimmed when nobody does.
//
// A ring finds the element of a number: append, show, advance, trim and detach are O(1),
// consolidation O(1) per element it looks at. This room knows neither clients nor the store:
// callers tell it who stands where (queue_stand, queue_leave), and write the rows.
#ifndef HELIO_SERVER_EVENT_QUEUE_H
#define HELIO_SERVER_EVENT_QUEUE_H

#include "proto/base/clock.h"
#include "proto/message.h"

#define POINTER_HEAD 0u
#define QUEUE_SPAN_MAX (1u << 20) // numbers between head and tail; beyond, the head is dropped

struct element {
	struct element *before, *after;
	uint32_t seq, first_seq; // a consolidated element covers first_seq..seq
	uint32_t standing;       // pointers that show it
	enum element_type type;
	uint64_t flow_id;
	struct wall at;
	struct bytes body;   // an encoded ResponseBody without ids, owned
	char *text, *author; // owned
};

struct event_queue {
	char name[LIMIT_ID + 2]; // "channel" or "@client"
	uint64_t epoch;
	struct element *head, *last; // NULL when empty
	struct element **ring;       // element of number n: ring[n % ring_size]
	uint32_t ring_size;
	uint32_t tail_seq;  // the next number
	uint32_t floor_seq; // pointers below it are detached
	uint32_t count;     // elements
	uint32_t standing_tail;
	uint32_t looked_seq; // consolidation has looked at everything below
	uint64_t detached;   // pointers lost by queue_drop_head
	bool paused, closed;
	uint64_t rate_bytes_per_s;
};

struct element_data {
	enum element_type type;
	struct bytes body;
	const char *text, *author;
	uint64_t flow_id;
	struct wall at;
};

// tail_seq >= 1. name is copied.
void queue_init(struct event_queue *q, const char *name, uint64_t epoch, uint32_t tail_seq);
void queue_fini(struct event_queue *q);

// Copies. *out is borrowed. Errors: ERR_FULL (numbers used up), ERR_MEMORY.
enum err queue_append(
	struct event_queue *q, const struct element_data *d, struct element **out) MUST_CHECK;
// While loading, before any pointer stands: elements in ascending order without gaps; sets the tail
// behind it.
enum err queue_load(struct event_queue *q, uint32_t first_seq, uint32_t seq,
	const struct element_data *d) MUST_CHECK;

bool queue_is_detached(const struct event_queue *q, uint32_t pointer);
// The element that the pointer shows; NULL at the tail. Not for detached pointers.
struct element *queue_show(const struct event_queue *q, uint32_t pointer);
// A pointer begins to stand, or stops. Detached pointers count nowhere.
void queue_stand(struct event_queue *q, uint32_t pointer);
void queue_leave(struct event_queue *q, uint32_t pointer);
// The element was taken: *pointer shows what follows.
void queue_advance(struct event_queue *q, uint32_t *pointer);
// Frees head elements on which nobody stands and that came before this moment. Returns how many;
// *up_to is the last number gone.
uint32_t queue_trim(struct event_queue *q, int64_t before_ms, uint32_t *up_to);
// Frees the head though pointers stand on it: they are detached from now on.
void queue_drop_head(struct event_queue *q);

// Replaces each run of two or more neighbouring DISPLAY elements by one. merge writes the body and
// text that cover run[count] into `out` (borrowed until it is called again). Only what was appended
// since the last call, and the run it continues, is looked at. Returns the elements that went away.
struct queue_merge {
	void *ctx;
	enum err (*merge)(
		void *ctx, struct element *const *run, size_t count, struct element_data *out);
	// The run became `into`; called before the members are freed.
	enum err (*merged)(
		void *ctx, struct element *const *run, size_t count, const struct element *into);
};
enum err queue_consolidate(
	struct event_queue *q, const struct queue_merge *m, size_t *gone) MUST_CHECK;

// The invariants, for tests and `queue check`: every number of the ring shows an element that
// covers it, counts agree, order ascends. Errors: ERR_CORRUPT with a sentence.
enum err queue_check(const struct event_queue *q) MUST_CHECK;

#endif
