// An edit of a customer: one change, checked as a whole with what follows from it, then written
// with its history, or thrown away (a dry run). Each edit names the revision that it edits; who
// comes second is told so (ERR_STALE) and looks again.
//
//   customer_edit_begin   the customer as it stands
//   customer_edit_try     the change in memory; the orders as they would stand
//   customer_edit_keep    row, history, revision and orders in one commit; the walk begins
#ifndef HELIO_SERVER_CUSTOMER_EDIT_H
#define HELIO_SERVER_CUSTOMER_EDIT_H

#include "server/orders.h"

enum customer_item {
	ITEM_CUSTOMER = 1,
	ITEM_PLACE,
	ITEM_PLAN,
	ITEM_CLIENT
};

// What is to be: the part that belongs to the item. Removal: only its id.
struct customer_change {
	enum customer_item item;
	bool removes;
	const char *id;
	struct customer customer;
	struct customer_place place;
	struct customer_plan plan;
	struct customer_client client;
};

struct customer_editing {
	struct orders *orders;
	struct arena *arena;
	struct customer_whole whole; // as it would be, after customer_edit_try
	struct order_would *orders_would;
	size_t order_count;
	const char *before, *after; // JSON of what changes; "": there is none
	bool is_new;                // the customer itself
	bool is_same;               // nothing changes: nothing is written
};

// revision 0: whichever stands (for the server's own edits). Errors: ERR_NOT_FOUND, ERR_STALE.
enum err customer_edit_begin(struct customer_editing *e, struct orders *o, const char *customer,
	uint64_t revision, struct arena *a) MUST_CHECK;
// Of a customer that is not there yet, or was removed. Errors: ERR_EXISTS, ERR_FULL.
enum err customer_edit_begin_new(struct customer_editing *e, struct orders *o,
	const struct customer *fresh, struct arena *a) MUST_CHECK;
// Errors: those of the checks; ERR_EXISTS (the client is another customer's), ERR_NOT_FOUND,
// ERR_NOT_NOW (something still stands on what is removed), ERR_FULL.
enum err customer_edit_try(struct customer_editing *e, const struct customer_change *c) MUST_CHECK;
enum err customer_edit_keep(struct customer_editing *e, const struct customer_change *c,
	const char *verb, const char *seat) MUST_CHECK;

// A client was removed from the fleet: it is nobody's any more.
void customer_client_gone(struct orders *o, const char *client);

#endif
