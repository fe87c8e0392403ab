// Orders: what publishers are to make for customers (requirements c9.c, c13, S004-4).
//
//   edit ─> derive ──> one row for each distinct order ──> PACKAGE_ORDER to its publisher, again
//             │                                            until it is answered
//             └──────> walk: each client into the channel of its order
//   PUB_ORDERED <- publisher: kept; a package that the channel does not show yet becomes ONE
//                  DISPLAY event of the channel, by the one who edited
//
// An outcome without a package (nothing matches, too large, no key) never replaces what is shown:
// it is kept and told with the customer, and to `doctor`.
//
// The rows are the state: customers, plans and orders are in the store before an edit is answered;
// memberships follow from them and are made again from wherever a crash left them. In memory stands
// only when a publisher was last told. A publisher is told again in each of its sessions, and after
// each start of ours. What an edit costs grows with the clients of one customer (one look at each,
// WALK_PER_TICK of them at once); what packages cost grows with distinct orders alone.
//
// Every entrance runs inside a turn of the core.
#ifndef HELIO_SERVER_ORDERS_H
#define HELIO_SERVER_ORDERS_H

#include "server/core.h"
#include "server/db/rows_customer.h"
#include "server/findings.h"
#include "server/order_plan.h"
#include "server/presence.h"

#define ORDERS_MAX 4096 // of all customers, standing
#define ORDERS_TOLD_PER_TICK 16
#define ORDERS_TELL_AGAIN_MS 5000
#define ORDERS_TELL_MAX_MS 300000
#define ORDERS_LATE_MS 30000 // unanswered for longer: a finding
#define ORDERS_WALK_PER_TICK 1024
#define ORDER_BODY_MAX (60 * 1024) // a directive with it stays below LIMIT_DIRECTIVE

struct order_told; // when a publisher was last told
struct order_walk; // customers whose clients are to be moved
struct order_seen; // the session a publisher was last heard in

#define ORDERS_ROOM_LOOKS 10000 // clients, in one turn

struct orders {
	struct core *core;
	struct presence *presence;
	struct order_told *told;
	struct order_walk *walks;
	struct order_seen *seen;
	size_t standing;
	size_t room_from; // place of the client where the next look for room begins
};

// presence: for packages. Loads nothing.
void orders_init(struct orders *o, struct core *core, struct presence *presence);
void orders_fini(struct orders *o);
// What stands in the store, at start and whenever the core has loaded again: every order is told
// once more, every client looked at.
enum err orders_load(struct orders *o) MUST_CHECK;
void customer_orders_work(struct orders *o, struct now now);

// ---- edits

// An edit of one client that is not in the store yet.
struct orders_if {
	const struct customer_client *put; // takes the place of its row, or is added
	const char *without;               // is left out
};
// Which groups the customer's clients make. In the arena. Errors: ERR_FULL (a limit), ERR_EXISTS.
enum err orders_derive(struct orders *o, const struct customer_whole *w, const struct orders_if *as,
	struct arena *a, struct order_groups **out) MUST_CHECK;

enum order_change {
	ORDER_SAME = 1,
	ORDER_NEW,
	ORDER_CHANGED,
	ORDER_WITHDRAWN
};
const char *order_change_word(enum order_change c);
// One order as it would stand, beside the row as it stands.
struct order_would {
	enum order_change change;
	const struct order_group *group; // NULL: withdrawn
	struct package_order order;      // as it would be told; of a withdrawn one as it was
	struct order_row row;            // id NULL: there is none
};
// What the groups would change, by id. In the arena. Errors: ERR_FULL (LIMIT_PLANS on one screen,
// ORDERS_MAX, a body too large).
enum err orders_compare(struct orders *o, const struct customer_whole *w,
	const struct order_groups *g, struct arena *a, struct order_would **out,
	size_t *count) MUST_CHECK;
// Writes it down and begins to tell it; the flows are filled in. verb and seat: of the edit.
enum err orders_settle(struct orders *o, struct order_would *list, size_t count, const char *verb,
	const char *seat) MUST_CHECK;
// Its clients are looked at from now on; the first at once.
void orders_walk(struct orders *o, const char *customer);
// A client that belongs to nobody any more leaves the channels of customers.
enum err orders_release(struct orders *o, const char *client) MUST_CHECK;

// Its orders are told once more, at once: something that they rest on changed.
void orders_again(struct orders *o, const char *customer);

// ---- what happens elsewhere

// Anything came of this publisher in this session.
void orders_publisher(struct orders *o, const char *publisher, uint64_t session_id);
// Errors: ERR_NOT_FOUND (no such order, or its package was not offered), ERR_DENIED (another
// publisher's), ERR_STALE (of an older revision).
enum err orders_outcome(
	struct orders *o, const char *publisher, const struct order_outcome *m) MUST_CHECK;
// A client reports another screen.
void orders_screen(struct orders *o, const char *client);
void orders_look(struct orders *o, struct findings *out);

#endif
