// Who is in which channel: it follows from customer, place and screen. A customer that was edited,
// or all of them after a start, is walked over its clients, some at a time; what is as it should be
// costs a look.
#include "server/orders_inside.h"

#include "proto/base/log.h"
#include <stdio.h>

// ---------------------------------------------------------------- one client

static bool is_customers(const char *channel)
{
	return strncmp(channel, "c.", 2) == 0;
}

// The order's channel first, then those that an operator gave besides. NULL: none of a customer.
static size_t channels_wanted(
	const struct client_info *info, const char *order, const char *out[LIMIT_CLIENT_CHANNELS])
{
	size_t count = 0;

	if (order)
		out[count++] = order;
	for (size_t i = 0; i < info->place_count && count < LIMIT_CLIENT_CHANNELS; i++) {
		const char *channel = info->places[i].channel;

		if (!is_customers(channel) && (!order || strcmp(channel, "default") != 0))
			out[count++] = channel;
	}
	if (count == 0)
		out[count++] = "default";
	return count;
}

static enum err client_settle(struct orders *o, const char *client, const char *order)
{
	const char *wanted[LIMIT_CLIENT_CHANNELS];
	struct client_info info;

	enum err e = core_client_find(o->core, client, &info);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	TRY(e);
	size_t count = channels_wanted(&info, order, wanted);
	bool same = count == info.place_count;

	for (size_t i = 0; same && i < count; i++)
		same = strcmp(info.places[i].channel, wanted[i]) == 0;
	return same ? ERR_OK : core_client_set_channels(o->core, client, wanted, count);
}

enum err orders_release(struct orders *o, const char *client)
{
	return client_settle(o, client, NULL);
}

// ---------------------------------------------------------------- a customer's clients

struct walking {
	struct orders *o;
	struct order_groups *groups;
	struct order_walk *walk;
};

static enum err client_walk(void *ctx, const struct customer_client *c)
{
	struct walking *w = ctx;
	struct order_group *g = NULL;
	struct screen reported;

	(void)str_copy(w->walk->after, sizeof(w->walk->after), c->client);
	if (!core_client_screen(w->o->core, c->client, &reported.width_px, &reported.height_px))
		return ERR_OK;
	TRY(order_group_of(w->groups, c, reported, &g));
	return client_settle(w->o, c->client, g->id);
}

static enum err derive_again(struct orders *o, const struct customer_whole *w, struct arena *a)
{
	struct order_groups *groups = NULL;
	struct order_would *list = NULL;
	size_t count = 0;

	TRY(orders_derive(o, w, NULL, a, &groups));
	TRY(orders_compare(o, w, groups, a, &list, &count));
	return orders_settle(o, list, count, "screen", w->customer.id);
}

// *walked: how many were looked at; fewer than asked: that was all.
static enum err customer_walk(
	struct orders *o, struct order_walk *walk, size_t most, size_t *walked)
{
	SCOPED_ARENA struct arena a = {0};
	struct walking w = {.o = o, .walk = walk};
	char after[LIMIT_ID + 1]; // the statement keeps it while the walk goes on
	struct customer_whole whole;
	enum err e;

	arena_init(&a, 256 * 1024 * 1024, 1u << 20);
	*walked = 0;
	e = rows_customer_whole(core_db(o->core), walk->customer, &a, &whole);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	TRY(e);
	if (walk->derive)
		TRY(derive_again(o, &whole, &a));
	walk->derive = false;
	w.groups = arena_alloc(&a, sizeof(*w.groups));
	if (!w.groups)
		return err_set(ERR_FULL, "no room to look at the clients of %s", walk->customer);
	TRY(order_groups_init(w.groups, &whole, &a));
	(void)str_copy(after, sizeof(after), walk->after);
	return rows_customer_client_each(
		core_db(o->core), walk->customer, after, most, walked, client_walk, &w);
}

// ---------------------------------------------------------------- all that wait

static void walk_end(struct orders *o, struct order_walk *w)
{
	if (w->again) {
		w->again = false;
		w->after[0] = 0;
		return;
	}
	HASH_DEL(o->walks, w);
	free(w);
}

// Somebody else may wait: whoever failed comes again with the next edit or start.
static size_t walk_step(struct orders *o, struct order_walk *w, size_t most)
{
	size_t walked = 0;

	if (customer_walk(o, w, most, &walked) != ERR_OK) {
		log_warn("ORDER-WALK", "customer=%s why=%s", w->customer, log_quote(err_text()));
		walk_end(o, w);
	} else if (walked < most) {
		walk_end(o, w);
	}
	return walked;
}

void orders_walk_some(struct orders *o)
{
	struct order_walk *w, *next;
	size_t left = ORDERS_WALK_PER_TICK;

	HASH_ITER(hh, o->walks, w, next)
	{
		size_t walked = walk_step(o, w, left);

		// One customer costs some even without clients.
		left -= walked < left ? walked + 1 < left ? walked + 1 : left : left;
		if (left == 0)
			return;
	}
}

static struct order_walk *walk_of(struct orders *o, const char *customer)
{
	struct order_walk *w;

	HASH_FIND_STR(o->walks, customer, w);
	if (w) {
		w->again = true;
		return w;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		abort();
	(void)str_copy(w->customer, sizeof(w->customer), customer);
	HASH_ADD_STR(o->walks, customer, w);
	return w;
}

void orders_walk(struct orders *o, const char *customer)
{
	struct order_walk *w = walk_of(o, customer);

	if (!core_is_loading(o->core) && !w->again)
		(void)walk_step(o, w, ORDERS_WALK_PER_TICK);
}

void orders_walks_forget(struct orders *o)
{
	struct order_walk *w, *next;

	HASH_ITER(hh, o->walks, w, next)
	{
		HASH_DEL(o->walks, w);
		free(w);
	}
}

#define CUSTOMERS_READ 256

enum err orders_walks_load(struct orders *o)
{
	char after[LIMIT_ID + 1] = "";
	struct customer *list = NULL;
	size_t count = CUSTOMERS_READ;

	orders_walks_forget(o);
	while (count == CUSTOMERS_READ) {
		SCOPED_ARENA struct arena a = {0};

		arena_init(&a, CUSTOMERS_READ * 8192, CUSTOMERS_READ * 16);
		TRY(rows_customer_list(core_db(o->core), after, CUSTOMERS_READ, &a, &list, &count));
		for (size_t i = 0; i < count; i++)
			walk_of(o, list[i].id)->derive = true;
		if (count)
			(void)str_copy(after, sizeof(after), list[count - 1].id);
	}
	return ERR_OK;
}

// ---------------------------------------------------------------- screens

void orders_screen(struct orders *o, const char *client)
{
	SCOPED_ARENA struct arena a = {0};
	struct customer_client c;
	const char *owner = NULL;

	arena_init(&a, 16384, 64);
	if (rows_customer_client_find(core_db(o->core), client, &a, &owner, &c) == ERR_OK)
		walk_of(o, owner)->derive = true;
}
