// What the files of the packager's clockwork share; nobody else includes this.
#ifndef HELIO_PUBLISHER_ORDERS_INSIDE_H
#define HELIO_PUBLISHER_ORDERS_INSIDE_H

#include "server/publisher/order_store.h"
#include "server/publisher/orders.h"

#define ORDER_PAUSE_MS 1000

enum order_phase {
	ORDER_RESTS,
	ORDER_OFFERS, // waits for the answer to PUB_OFFER
	ORDER_TELLS   // waits for the answer to PUB_ORDERED
};

struct order {
	struct order_row row; // body, reason and warnings are its own
	bool dirty;
	bool making; // its package is being built: what the row says is of before
	int64_t change_unix_ms; // when time alone changes it; 0: never
	enum order_phase phase;
	uint64_t request_id;
};

struct order_job; // order_build.c

struct orders {
	struct publisher *p;
	struct library library;
	bool library_stale;
	struct order **list; // sorted by id
	size_t count, cap;
	size_t dirty_count, waiting;           // waiting: orders that are not at rest
	struct mono changed_at, changed_first; // pictures; ms 0: nothing changed
	struct mono period_at;
	struct mono pause_until; // after what should have worked
	struct order_job *job;   // the one that is being built
	size_t sizing;           // pictures whose sizes are being made
	uv_timer_t timer;        // goes on at once while orders wait
	struct log_gate gate;
	bool ended;
};

struct order *order_find(struct orders *o, const char *id);
void order_dirty(struct orders *o, struct order *r);
// Writes and remembers what became of it, when that is something else than before.
void order_outcome(struct orders *o, struct order *r, const struct order_row *outcome);
// The next orders, as many as fit into one turn.
void orders_work(struct orders *o);

// order_evaluate.c: decides about one order; begins a job when something is to be made.
void order_run(struct orders *o, struct order *r);

// order_build.c
// Takes over e->pack. The order is looked at again when the package is there.
enum err order_build(struct orders *o, struct order *r, struct evaluation *e) MUST_CHECK;
// A package of this content that stands already, signed: true.
bool order_package_stands(
	struct orders *o, const struct show_package *pack, struct digest *package, uint64_t *bytes);
// Sizes for the screens of what was picked and is wanted. Those that are under way count too.
enum err order_sizes(struct orders *o, const struct evaluation *e) MUST_CHECK;

#endif
