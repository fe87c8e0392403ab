// Media orders: what goes to a client on a disc or a stick, because the link is no way to it
// (S001-c1, c3, c5 to c8; trust in the medium is the client's affair).
//
//   event appended ─┐
//   every few s ────┴─> walk: who is away, what awaits them -> route_decide -> order, PENDING
//   last attempt failed ───────────────────────────────────────────────────> order, PENDING
//   PENDING -> the package's publisher is told to record it, again until it says so -> RECORDED
//   the client fetches, holds, or an operator acts -> media_step
//
// The rows are the state: a start goes on from them, and the walk finds again whatever a crash cut
// off, because it asks what clients lack and not what was appended. An event's cost does not grow
// with the fleet: the walk looks at so many records a tick, and asks the store only about those
// that are away. In a fleet of up to MEDIA_NAMED_MAX clients it names each client's way in the log.
//
// Every entrance runs inside a turn of the core.
#ifndef HELIO_SERVER_MEDIA_ORDERS_H
#define HELIO_SERVER_MEDIA_ORDERS_H

#include "server/away.h"
#include "server/db/rows_media.h"
#include "server/distribute.h"
#include "server/findings.h"
#include "server/media_state.h"
#include "server/presence.h"

#define MEDIA_LOOKED_PER_TICK 8192 // records of the table, about 1 ms
#define MEDIA_AWAY_PER_TICK 64     // clients whose wants are read, about 3 ms
#define MEDIA_NAMED_MAX 256
#define MEDIA_PRUNED_PER_TICK 64
#define MEDIA_LOOKED_AT 256 // orders that `doctor` counts
#define MEDIA_WALK_PERIOD_MS 5000
#define MEDIA_TOLD_PER_TICK 16
#define MEDIA_TELL_AGAIN_MS 5000
#define MEDIA_TELL_MAX_MS 300000
#define MEDIA_OPEN_MAX 100000 // orders that are open; then nobody is sent more

struct media_config {
	struct route_policy route;
	uint32_t keep; // orders that are over
};

struct media_ports {
	void *ctx;
	// Tells the publisher to record the order. Errors: ERR_NOT_FOUND (it is not signed in),
	// others: the order cannot be made, with the sentence that a person is to read.
	enum err (*record)(void *ctx, const struct media_row *order);
	// Nobody needs what the publisher recorded for this order any more. It asks again.
	void (*ended)(void *ctx, const char *publisher, uint64_t order);
};

struct media_asked; // when a publisher was last told about an order

struct media {
	struct media_config config;
	struct media_ports ports;
	struct core *core;
	struct media_asked *asked;
	size_t cursor;
	bool walking, again, named; // again: something was appended since the walk began
	struct mono walk_next;
	bool counted; // in this tick
	uint64_t pending;
	uint64_t pending_after; // where the telling goes on
	bool prune;             // something ended since the history was looked at
	uint64_t pruned_after;
	uint64_t ordered; // since the start
};

void media_init(struct media *m, const struct media_config *config, const struct media_ports *ports,
	struct core *core);
void media_fini(struct media *m);
void media_tick(struct media *m, struct now now);
// The control broker was reached: it may have forgotten the views.
void media_say_open(struct media *m);

// media_prune.c: the history is kept short.
void media_prune(struct media *m);
// It says that its client, heard last then, gets no other medium of this package.
bool media_settles(const struct media_row *r, int64_t last_heard_ms);

// ---- what happens elsewhere

void media_distributed(struct media *m);
void media_operation_ended(struct media *m, const struct operation_info *op);
void media_fetches(struct media *m, const char *client, const struct digest *package);
void media_held(struct media *m, const char *client);

// What a publisher says of an order.
struct media_recorded {
	uint64_t order;
	const char *medium_kind, *path;
	struct digest sha256; // of the image file; of a folder: zero
	uint64_t size_bytes;
	const char *failed; // "" recorded; else why not: it is told again, later
};
void media_recorded(struct media *m, const char *publisher, const struct media_recorded *r);

// What the device itself says of an order, on the stick that came back. *changed: it was news.
enum err media_told(struct media *m, struct media_row *row, bool has_it, const char *detail,
	bool *changed) MUST_CHECK;

// ---- an operator

// Errors: ERR_NOT_FOUND, ERR_NOT_NOW with the state that refuses.
enum err media_act(struct media *m, uint64_t order, enum media_event e, struct arena *a,
	struct media_row *out) MUST_CHECK;
// Which way would the package go to the client now? Errors: ERR_NOT_FOUND.
enum err media_route(struct media *m, const char *client, struct away_client *at,
	struct route_decision *out) MUST_CHECK;
// What waits for a person, for `doctor`.
void media_look(struct media *m, struct findings *out);
bool media_is_by_hand(const struct media_row *order);
// Orders because an operator wants them: of the package, or (NULL) of all that the client awaits.
// at_unix_ms: not shown before; 0: as the channel says, else at once. Errors: ERR_NOT_FOUND
// (nothing awaits the client), ERR_EXISTS (one is open).
enum err media_order_by_hand(struct media *m, const char *client, const struct package *k,
	int64_t at_unix_ms, struct arena *a, struct media_row **out, size_t *count) MUST_CHECK;

#endif
