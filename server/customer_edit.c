#include "server/customer_edit.h"

#include "proto/base/log.h"
#include "proto/base/zone.h"
#include "server/customer_json.h"
#include "server/db/rows.h"
#include <inttypes.h>
#include <string.h>

static struct db *db_of(const struct customer_editing *e)
{
	return core_db(e->orders->core);
}

// ---------------------------------------------------------------- beginning

enum err customer_edit_begin(struct customer_editing *e, struct orders *o, const char *customer,
	uint64_t revision, struct arena *a)
{
	*e = (struct customer_editing){.orders = o, .arena = a, .before = "", .after = ""};
	TRY(rows_customer_whole(db_of(e), customer, a, &e->whole));
	if (revision && revision != e->whole.customer.revision)
		return err_set(ERR_STALE,
			"%s stands at revision %" PRIu64 ", not %" PRIu64
			": somebody edited it meanwhile; look again",
			customer, e->whole.customer.revision, revision);
	return ERR_OK;
}

enum err customer_edit_begin_new(
	struct customer_editing *e, struct orders *o, const struct customer *fresh, struct arena *a)
{
	struct customer_counts counts;
	struct customer was = {0};
	enum err found;

	*e = (struct customer_editing){
		.orders = o, .arena = a, .before = "", .after = "", .is_new = true};
	found = rows_customer_find(db_of(e), fresh->id, a, &was);
	if (found == ERR_OK && !was.removed)
		return err_set(ERR_EXISTS, "there is a customer %s", fresh->id);
	if (found != ERR_OK && found != ERR_NOT_FOUND)
		return found;
	TRY(rows_customer_count(db_of(e), fresh->id, &counts));
	if (counts.customers >= CUSTOMERS_MAX)
		return err_set(ERR_FULL, "there are %d customers", CUSTOMERS_MAX);
	e->whole.customer = *fresh;
	e->whole.customer.revision = was.revision; // of a removed one the numbers go on
	e->whole.customer.created_ms = core_now(o->core).wall.ms;
	e->whole.places = arena_array(a, 1, sizeof(*e->whole.places));
	e->whole.plans = arena_array(a, 1, sizeof(*e->whole.plans));
	if (!e->whole.places || !e->whole.plans)
		return err_set(ERR_FULL, "no room for a customer");
	return ERR_OK;
}

// ---------------------------------------------------------------- the change in memory

// A zone that this machine knows nothing of is a slip of the hand, when it knows any.
static enum err zone_known(const char *zone)
{
	int32_t offset;

	if (!zone[0] || zone_offset("Europe/Berlin", 0, &offset) != ERR_OK)
		return ERR_OK;
	if (zone_offset(zone, 0, &offset) == ERR_OK)
		return ERR_OK;
	return err_set(ERR_RANGE, "there is no time zone %s; one is Europe/Athens", zone);
}

static enum err publisher_known(struct customer_editing *e, const char *publisher)
{
	struct key32 key;

	return core_principal_key(e->orders->core, publisher, ROLE_PUBLISHER, &key);
}

// A publisher keeps the name of the packages that it made first.
static enum err publisher_kept(struct customer_editing *e, const char *publisher)
{
	struct order_row *rows = NULL;
	size_t count = 0;

	if (e->is_new || strcmp(publisher, e->whole.customer.publisher) == 0)
		return ERR_OK;
	TRY(rows_order_list(
		db_of(e), e->whole.customer.id, "", ORDER_GROUPS_MAX, e->arena, &rows, &count));
	for (size_t i = 0; i < count; i++)
		if (!rows[i].withdrawn || rows[i].answered < rows[i].revision)
			return err_set(ERR_NOT_NOW,
				"publisher %s makes packages for %s; take its clients away first",
				e->whole.customer.publisher, e->whole.customer.id);
	return ERR_OK;
}

static enum err customer_try(struct customer_editing *e, const struct customer_change *c)
{
	struct customer *now = &e->whole.customer;
	struct customer_counts counts;
	struct customer fresh = c->customer;

	TRY(rows_customer_count(db_of(e), now->id, &counts));
	if (!e->is_new)
		TRY(customer_json_text(e->arena, now, &e->before));
	if (c->removes) {
		if (counts.clients)
			return err_set(ERR_NOT_NOW,
				"%s still has clients (%" PRIu64 "); take them away first", now->id,
				counts.clients);
		now->removed = true;
		e->whole.place_count = e->whole.plan_count = 0;
		return ERR_OK;
	}
	TRY(customer_check(&fresh));
	TRY(zone_known(fresh.time_zone));
	TRY(publisher_known(e, fresh.publisher));
	TRY(publisher_kept(e, fresh.publisher));
	fresh.id = now->id;
	fresh.revision = now->revision;
	fresh.created_ms = now->created_ms;
	*now = fresh;
	return customer_json_text(e->arena, now, &e->after);
}

static enum err place_try(struct customer_editing *e, const struct customer_change *c)
{
	struct customer_whole *w = &e->whole;
	struct customer_place *was =
		(struct customer_place *)(uintptr_t)customer_place_find(w, c->id);
	size_t at = 0;
	uint64_t standing = 0;

	if (was)
		TRY(place_json_text(e->arena, was, &e->before));
	if (c->removes && !was)
		return err_set(ERR_NOT_FOUND, "%s has no place %s", w->customer.id, c->id);
	if (c->removes) {
		TRY(rows_customer_client_at(db_of(e), w->customer.id, c->id, &standing));
		for (size_t i = 0; i < w->plan_count; i++)
			standing += places_name(w->plans[i].places, c->id);
		if (standing)
			return err_set(ERR_NOT_NOW,
				"%" PRIu64 " clients and plans name the place %s", standing, c->id);
		at = (size_t)(was - w->places);
		memmove(was, was + 1, (w->place_count - at - 1) * sizeof(*was));
		w->place_count--;
		return ERR_OK;
	}
	TRY(customer_place_check(&c->place));
	TRY(zone_known(c->place.time_zone));
	TRY(place_json_text(e->arena, &c->place, &e->after));
	if (was) {
		*was = c->place;
		return ERR_OK;
	}
	if (w->place_count == CUSTOMER_PLACES_MAX)
		return err_set(ERR_FULL, "%s has %zu places", w->customer.id, w->place_count);
	while (at < w->place_count && strcmp(w->places[at].id, c->id) < 0)
		at++;
	memmove(&w->places[at + 1], &w->places[at], (w->place_count - at) * sizeof(*was));
	w->places[at] = c->place;
	w->place_count++;
	return ERR_OK;
}

static enum err plan_try(struct customer_editing *e, const struct customer_change *c)
{
	struct customer_whole *w = &e->whole;
	struct customer_plan *was = customer_plan_find(w, c->id);
	size_t at = 0;

	if (was)
		TRY(plan_json_text(e->arena, was, &e->before));
	if (c->removes && !was)
		return err_set(ERR_NOT_FOUND, "%s has no plan %s", w->customer.id, c->id);
	if (c->removes) {
		at = (size_t)(was - w->plans);
		memmove(was, was + 1, (w->plan_count - at - 1) * sizeof(*was));
		w->plan_count--;
		return ERR_OK;
	}
	TRY(customer_plan_check(w, &c->plan));
	TRY(plan_json_text(e->arena, &c->plan, &e->after));
	if (was) {
		*was = c->plan;
		return ERR_OK;
	}
	if (w->plan_count == CUSTOMER_PLANS_MAX)
		return err_set(ERR_FULL, "%s has %zu plans", w->customer.id, w->plan_count);
	while (at < w->plan_count && strcmp(w->plans[at].id, c->id) < 0)
		at++;
	memmove(&w->plans[at + 1], &w->plans[at], (w->plan_count - at) * sizeof(*was));
	w->plans[at] = c->plan;
	w->plan_count++;
	return ERR_OK;
}

static enum err client_exists(struct customer_editing *e, const char *client)
{
	uint32_t width_px, height_px;

	return core_client_screen(e->orders->core, client, &width_px, &height_px)
		       ? ERR_OK
		       : err_set(ERR_NOT_FOUND, "no client %s", client);
}

static enum err client_try(struct customer_editing *e, const struct customer_change *c)
{
	const char *id = e->whole.customer.id, *owner = "";
	struct customer_client was;
	struct customer_counts counts;
	enum err found = rows_customer_client_find(db_of(e), c->id, e->arena, &owner, &was);

	if (found != ERR_OK && found != ERR_NOT_FOUND)
		return found;
	if (found == ERR_OK && strcmp(owner, id) != 0)
		return err_set(ERR_EXISTS, "client %s belongs to customer %s", c->id, owner);
	if (found == ERR_OK)
		TRY(customer_client_json_text(e->arena, &was, &e->before));
	if (c->removes)
		return found == ERR_OK ? ERR_OK
				       : err_set(ERR_NOT_FOUND, "%s has no client %s", id, c->id);
	TRY(client_exists(e, c->id));
	TRY(customer_client_check(&e->whole, &c->client));
	TRY(rows_customer_count(db_of(e), id, &counts));
	if (found == ERR_NOT_FOUND && counts.clients >= CUSTOMER_CLIENTS_MAX)
		return err_set(ERR_FULL, "%s has %" PRIu64 " clients", id, counts.clients);
	return customer_client_json_text(e->arena, &c->client, &e->after);
}

static enum err change_try(struct customer_editing *e, const struct customer_change *c)
{
	switch (c->item) {
	case ITEM_CUSTOMER:
		return customer_try(e, c);
	case ITEM_PLACE:
		return place_try(e, c);
	case ITEM_PLAN:
		return plan_try(e, c);
	case ITEM_CLIENT:
		return client_try(e, c);
	}
	return err_set(ERR_RANGE, "nothing to change");
}

enum err customer_edit_try(struct customer_editing *e, const struct customer_change *c)
{
	struct order_groups *groups = NULL;
	struct orders_if as = {0};

	TRY(change_try(e, c));
	e->is_same = e->after[0] && strcmp(e->before, e->after) == 0;
	e->whole.customer.revision += !e->is_same;
	if (c->item == ITEM_CLIENT && c->removes)
		as.without = c->id;
	else if (c->item == ITEM_CLIENT)
		as.put = &c->client;
	TRY(orders_derive(e->orders, &e->whole, &as, e->arena, &groups));
	return orders_compare(
		e->orders, &e->whole, groups, e->arena, &e->orders_would, &e->order_count);
}

// ---------------------------------------------------------------- keeping it

static enum err removed_keep(struct customer_editing *e)
{
	const char *id = e->whole.customer.id;
	struct customer_whole was;

	TRY(rows_customer_whole(db_of(e), id, e->arena, &was));
	for (size_t i = 0; i < was.place_count; i++)
		TRY(rows_place_delete(db_of(e), id, was.places[i].id));
	for (size_t i = 0; i < was.plan_count; i++)
		TRY(rows_plan_delete(db_of(e), id, was.plans[i].id));
	return ERR_OK;
}

static enum err item_keep(struct customer_editing *e, const struct customer_change *c)
{
	const char *id = e->whole.customer.id;

	switch (c->item) {
	case ITEM_CUSTOMER:
		return c->removes ? removed_keep(e) : ERR_OK;
	case ITEM_PLACE:
		return c->removes ? rows_place_delete(db_of(e), id, c->id)
				  : rows_place_put(db_of(e), id, &c->place);
	case ITEM_PLAN:
		return c->removes ? rows_plan_delete(db_of(e), id, c->id)
				  : rows_plan_put(db_of(e), id, &c->plan);
	case ITEM_CLIENT:
		return c->removes ? rows_customer_client_delete(db_of(e), c->id)
				  : rows_customer_client_put(db_of(e), id, &c->client);
	}
	return err_set(ERR_RANGE, "nothing to keep");
}

enum err customer_edit_keep(struct customer_editing *e, const struct customer_change *c,
	const char *verb, const char *seat)
{
	struct customer *customer = &e->whole.customer;
	const struct customer_edit edit = {
		.customer = customer->id,
		.seat = seat,
		.verb = verb,
		.item = c->id,
		.revision = customer->revision,
		.at_ms = core_now(e->orders->core).wall.ms,
		.before = e->before,
		.after = e->after,
	};

	if (e->is_same)
		return ERR_OK;
	customer->changed_ms = edit.at_ms;
	TRY(item_keep(e, c));
	TRY(rows_customer_put(db_of(e), customer));
	TRY(rows_customer_edit_put(db_of(e), &edit));
	TRY(rows_order_prune(db_of(e), customer->id, customer->revision));
	TRY(orders_settle(e->orders, e->orders_would, e->order_count, verb, seat));
	log_info("CUSTOMER-EDIT", "customer=%s revision=%" PRIu64 " seat=%s verb=%s item=%s",
		customer->id, customer->revision, seat, verb, c->id);
	if (c->item == ITEM_CLIENT && c->removes)
		TRY(orders_release(e->orders, c->id));
	orders_walk(e->orders, customer->id);
	return ERR_OK;
}

// ---------------------------------------------------------------- a client that is gone

static enum err client_forget(struct orders *o, const char *client, struct arena *a)
{
	struct customer_change c = {.item = ITEM_CLIENT, .removes = true, .id = client};
	struct customer_editing e;
	struct customer_client was;
	struct principal_row row;
	const char *owner = NULL;
	enum err known = rows_principal_find(core_db(o->core), client, a, &row);

	if (known != ERR_NOT_FOUND)
		return known; // only revoked
	enum err found = rows_customer_client_find(core_db(o->core), client, a, &owner, &was);
	if (found != ERR_OK)
		return found == ERR_NOT_FOUND ? ERR_OK : found;
	TRY(customer_edit_begin(&e, o, owner, 0, a));
	TRY(customer_edit_try(&e, &c));
	return customer_edit_keep(&e, &c, "client-remove", "server");
}

void customer_client_gone(struct orders *o, const char *client)
{
	SCOPED_ARENA struct arena a = {0};

	arena_init(&a, 256 * 1024 * 1024, 1u << 20);
	if (client_forget(o, client, &a) != ERR_OK)
		log_warn("CUSTOMER-CLIENT", "client=%s why=%s", client, log_quote(err_text()));
}
