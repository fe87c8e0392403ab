// Which orders follow from a customer: pure.
//
//   each client -> screen class, place's time zone, the plans meant for its place -> one group
//   each group of clients -> one order: a package made once for all of them
//
// The id of an order is the name of the channel that shows it:
//
//   c.<customer>.<class>                 clients for which no plan names their place, in the
//                                        customer's own time zone
//   c.<customer>.<class>.<12 digits>     the others: of a hash over zone and those plans
//
// So a plan that holds everywhere comes, changes and goes without moving anybody to another
// channel, and what an order costs does not depend on how many clients show it.
#ifndef HELIO_SERVER_ORDER_PLAN_H
#define HELIO_SERVER_ORDER_PLAN_H

#include "server/customers.h"

#define ORDER_GROUPS_MAX 256 // distinct orders of one customer

// Pictures are made for classes of screens, not for each size: the smallest box of the table, of
// the same way of standing, that covers the screen. {0, 0}: unknown, or larger than all: pictures
// as they are.
struct screen {
	uint32_t width_px, height_px;
};
struct screen screen_class(struct screen s);
// "1920x1080"; "any".
const char *screen_word(struct screen class, char out[24]);
// landscape, portrait, square; "" when unknown.
const char *screen_orientation(struct screen s);
// What the operator says of the screen counts, else what the device reported; and how it hangs.
struct screen screen_of_client(const struct customer_client *c, struct screen reported);

struct order_group {
	char id[LIMIT_ID + 1];
	struct screen class;
	const char *time_zone; // borrowed from the customer
	uint64_t plans[CUSTOMER_PLANS_MAX /
		       64]; // that apply, paused ones too: bit = place in the list
	uint64_t placed[CUSTOMER_PLANS_MAX / 64]; // of them those that name the place
	uint64_t clients;
	bool is_own_zone;
};

struct order_groups {
	const struct customer_whole *of;
	struct order_group items[ORDER_GROUPS_MAX];
	size_t count;
	// Which plans name a place, found once: [place_count + 1], the last for no place.
	struct order_place {
		bool known;
		uint64_t placed[CUSTOMER_PLANS_MAX / 64];
	} * at;
	uint64_t open[CUSTOMER_PLANS_MAX / 64]; // plans that name no place
};

// The customer is borrowed. Errors: ERR_FULL (arena).
enum err order_groups_init(
	struct order_groups *g, const struct customer_whole *w, struct arena *a) MUST_CHECK;
// The group of this client, made when it is the first of it. Errors: ERR_FULL
// (ORDER_GROUPS_MAX), ERR_EXISTS (two groups of one id).
enum err order_group_of(struct order_groups *g, const struct customer_client *c,
	struct screen reported, struct order_group **out) MUST_CHECK;

// The order of a group, of revision 1 and without a flow; texts in the arena or borrowed from the
// customer. Errors: ERR_FULL: more than LIMIT_PLANS apply, or the arena.
enum err order_make(const struct order_groups *g, const struct order_group *group, struct arena *a,
	struct package_order *out) MUST_CHECK;

#endif
