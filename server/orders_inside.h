// What the files of the orders' room share.
#ifndef HELIO_SERVER_ORDERS_INSIDE_H
#define HELIO_SERVER_ORDERS_INSIDE_H

#include "server/orders.h"

// One for each order that stands, and for each withdrawn one that was not answered yet.
struct order_told {
	char id[LIMIT_ID + 1], publisher[LIMIT_ID + 1];
	struct mono next;
	uint32_t times;
	bool settled; // answered in this session
	UT_hash_handle hh;
};

struct order_seen {
	char publisher[LIMIT_ID + 1];
	uint64_t session_id;
	UT_hash_handle hh;
};

// A customer whose clients are looked at, those up to `after` are done.
struct order_walk {
	char customer[LIMIT_ID + 1], after[LIMIT_ID + 1];
	bool again;  // something was edited meanwhile
	bool derive; // a screen changed: the orders first
	UT_hash_handle hh;
};

struct order_told *order_told_of(struct orders *o, const char *id, const char *publisher);
void order_tell_now(struct order_told *t);
void order_told_end(struct orders *o, const char *id);

enum err orders_walks_load(struct orders *o) MUST_CHECK;
void orders_walks_forget(struct orders *o);
void orders_walk_some(struct orders *o);

#endif
