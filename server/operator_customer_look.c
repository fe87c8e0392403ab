// Verbs that tell of customers: what stands in the store, what became of its orders, and who edited
// it.
#include "server/media_orders.h"
#include "server/operator_customer.h"

#include <inttypes.h>
#include <stdlib.h>

#define LISTED_MOST 1000u
#define CLIENTS_MOST 10000u
#define HISTORY_MOST 1000u

// ---------------------------------------------------------------- orders

static void json_warnings(cJSON *list, const char *lines)
{
	while (lines[0]) {
		size_t n = strcspn(lines, "\n");
		char line[LIMIT_TEXT + 1] = "";

		if (n < sizeof(line))
			memcpy(line, lines, n);
		cJSON_AddItemToArray(list, cJSON_CreateString(line));
		lines += n + (lines[n] == '\n');
	}
}

// What its publisher made of it last.
static void json_outcome(cJSON *o, const struct order_row *r)
{
	bool is_known = r->id != NULL && r->answered > 0;

	put_id(o, "flow", r->id ? r->flow : 0);
	put_text(o, "publisher", r->publisher);
	put_bool(o, "answered", is_known && r->answered == r->revision);
	put_digest(o, "package", &r->package);
	put_digest(o, "shown", &r->shown);
	put_number(o, "matched", r->matched);
	put_number(o, "included", r->included);
	put_number(o, "size_bytes", r->size_bytes);
	put_text(o, "reason", r->reason ? r->reason : "");
	json_warnings(put_list(o, "warnings"), r->warnings ? r->warnings : "");
	put_time(o, "changed_unix_ms", (struct wall){r->changed_ms});
	put_time(o, "answered_unix_ms", (struct wall){r->answered_ms});
}

static enum err json_encoded(cJSON *o, const struct package_order *order)
{
	SCOPED_BUF struct buf b = {0};
	SCOPED_FREE char *hex = NULL;

	buf_init(&b, LIMIT_DIRECTIVE);
	TRY(package_order_encode(order, &b));
	hex = malloc(2 * b.size + 1);
	if (!hex)
		return err_set(ERR_MEMORY, "no memory for an order");
	hex_encode(b.data, b.size, hex);
	put_text(o, "encoded", hex);
	return ERR_OK;
}

static enum err json_order(cJSON *o, const struct order_would *w, enum order_bytes bytes)
{
	const struct package_order *order = &w->order;
	struct screen class = {order->screen_width_px, order->screen_height_px};
	char word[24];
	cJSON *plans;

	put_text(o, "order", order->order);
	put_number(o, "revision", order->revision);
	put_text(o, "change", order_change_word(w->change));
	put_text(o, "screen", screen_word(class, word));
	put_text(o, "time_zone", order->show ? order->show->time_zone : "");
	put_number(o, "clients", w->group ? w->group->clients : 0);
	plans = put_list(o, "plans");
	for (size_t i = 0; i < order->part_count; i++)
		cJSON_AddItemToArray(plans, cJSON_CreateString(order->parts[i].plan));
	json_outcome(o, &w->row);
	bool is_told =
		bytes == BYTES_OF_ALL || (bytes == BYTES_OF_CHANGED && w->change != ORDER_SAME);
	return is_told ? json_encoded(o, order) : ERR_OK;
}

enum err json_orders(
	cJSON *list, const struct order_would *orders, size_t count, enum order_bytes bytes)
{
	for (size_t i = 0; i < count; i++)
		TRY(json_order(put_item(list), &orders[i], bytes));
	return ERR_OK;
}

struct order_list {
	struct order_would *items;
	size_t count;
};

// As they stand: what an edit that changes nothing would leave.
static enum err orders_now(
	struct operator_call *c, const struct customer_whole *w, struct order_list *out)
{
	struct order_groups *groups = NULL;

	TRY(orders_derive(c->room->orders, w, NULL, c->arena, &groups));
	return orders_compare(c->room->orders, w, groups, c->arena, &out->items, &out->count);
}

static const struct order_row *order_row_of(const struct order_list *orders, const char *id)
{
	for (size_t i = 0; i < orders->count; i++)
		if (strcmp(orders->items[i].order.order, id) == 0)
			return &orders->items[i].row;
	return NULL;
}

// ---------------------------------------------------------------- verbs

enum err customer_run_list(struct operator_call *c)
{
	uint64_t max = call_u64(c, "max", LISTED_MOST);
	const char *after = call_text(c, "after");
	cJSON *list = put_list(c->json, "customers");
	struct customer *rows = NULL;
	struct customer_counts counts;
	size_t count = 0;

	max = max < LISTED_MOST ? max : LISTED_MOST;
	TRY(rows_customer_list(
		core_db(c->room->core), after ? after : "", (size_t)max, c->arena, &rows, &count));
	for (size_t i = 0; i < count; i++) {
		cJSON *o = put_item(list);

		TRY(rows_customer_count(core_db(c->room->core), rows[i].id, &counts));
		json_customer(o, &rows[i]);
		put_number(o, "revision", rows[i].revision);
		put_number(o, "clients", counts.clients);
		put_number(o, "places", counts.places);
		put_number(o, "plans", counts.plans);
		put_number(o, "orders", counts.orders);
		put_time(o, "changed_unix_ms", (struct wall){rows[i].changed_ms});
	}
	if (count == max && count)
		put_text(c->json, "next", rows[count - 1].id);
	return ERR_OK;
}

struct listing {
	struct operator_call *c;
	struct order_groups *groups;
	const struct order_list *orders;
	cJSON *list;
	char last[LIMIT_ID + 1];
};

// The last medium with this package for a client that is away; "": none.
static enum err medium_word(
	const struct listing *l, const char *client, const struct digest *package, const char **out)
{
	enum reach reach = core_client_reach(l->c->room->core, client);
	SCOPED_ARENA struct arena a = {0};
	struct media_row row;

	*out = "";
	if (reach != REACH_SILENT && reach != REACH_NEVER)
		return ERR_OK;
	arena_init(&a, 64 * 1024, 4096);
	enum err e = rows_media_last(core_db(l->c->room->core), client, package, &a, &row);
	if (e == ERR_OK)
		*out = media_state_word(row.state);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

// How far the package of its order is at this client, by what the client said last.
static enum err json_delivery(
	const struct listing *l, cJSON *o, const char *client, const char *order)
{
	const struct order_row *row = order_row_of(l->orders, order);
	const char *word = "awaited", *medium = "";
	uint64_t free_bytes = core_client_free_bytes(l->c->room->core, client);

	if (!row || !row->id || digest_is_zero(&row->shown))
		word = "none";
	else if (core_client_shows(l->c->room->core, client, &row->shown))
		word = "shown";
	else if (core_client_holds(l->c->room->core, client, &row->shown))
		word = "held";
	else
		TRY(medium_word(l, client, &row->shown, &medium));
	put_text(o, "package", word);
	put_text(o, "medium", medium);
	put_bool(o, "fits",
		strcmp(word, "awaited") != 0 || !free_bytes || row->size_bytes <= free_bytes);
	return ERR_OK;
}

static enum err client_list(void *ctx, const struct customer_client *client)
{
	struct listing *l = ctx;
	cJSON *o = put_item(l->list);
	struct order_group *g = NULL;
	struct screen reported, screen;
	bool is_known = core_client_screen(
		l->c->room->core, client->client, &reported.width_px, &reported.height_px);

	json_customer_client(o, client);
	screen = screen_of_client(client, reported);
	put_number(o, "screen_width", screen.width_px);
	put_number(o, "screen_height", screen.height_px);
	put_text(o, "screen_orientation", screen_orientation(screen));
	(void)str_copy(l->last, sizeof(l->last), client->client);
	if (!is_known)
		return ERR_OK;
	TRY(order_group_of(l->groups, client, reported, &g));
	put_text(o, "order", g->id);
	TRY(json_delivery(l, o, client->client, g->id));
	put_text(o, "reach", reach_word(core_client_reach(l->c->room->core, client->client)));
	return ERR_OK;
}

static enum err clients_list(
	struct operator_call *c, const struct customer_whole *w, const struct order_list *orders)
{
	const char *after = call_text(c, "after");
	uint64_t max = call_u64(c, "max", CLIENTS_MOST);
	struct listing l = {.c = c, .orders = orders, .list = put_list(c->json, "clients")};
	size_t count = 0;

	max = max < CLIENTS_MOST ? max : CLIENTS_MOST;
	l.groups = arena_alloc(c->arena, sizeof(*l.groups));
	if (!l.groups)
		return err_set(ERR_FULL, "no memory for this request");
	TRY(order_groups_init(l.groups, w, c->arena));
	TRY(rows_customer_client_each(core_db(c->room->core), w->customer.id, after ? after : "",
		(size_t)max, &count, client_list, &l));
	if (count == max && count)
		put_text(c->json, "next", l.last);
	return ERR_OK;
}

enum err customer_run_show(struct operator_call *c)
{
	struct customer_whole w;
	struct order_list orders;
	cJSON *list;

	TRY(rows_customer_whole(core_db(c->room->core), call_text(c, "customer"), c->arena, &w));
	json_customer(c->json, &w.customer);
	put_number(c->json, "revision", w.customer.revision);
	put_time(c->json, "created_unix_ms", (struct wall){w.customer.created_ms});
	put_time(c->json, "changed_unix_ms", (struct wall){w.customer.changed_ms});
	list = put_list(c->json, "places");
	for (size_t i = 0; i < w.place_count; i++)
		json_customer_place(put_item(list), &w.places[i]);
	list = put_list(c->json, "plans");
	for (size_t i = 0; i < w.plan_count; i++)
		json_customer_plan(put_item(list), &w.plans[i]);
	TRY(orders_now(c, &w, &orders));
	TRY(clients_list(c, &w, &orders));
	return json_orders(put_list(c->json, "orders"), orders.items, orders.count, BYTES_OF_NONE);
}

enum err customer_run_preview(struct operator_call *c)
{
	struct customer_whole w;
	struct order_list orders;

	TRY(rows_customer_whole(core_db(c->room->core), call_text(c, "customer"), c->arena, &w));
	put_text(c->json, "customer", w.customer.id);
	put_number(c->json, "revision", w.customer.revision);
	TRY(orders_now(c, &w, &orders));
	return json_orders(put_list(c->json, "orders"), orders.items, orders.count, BYTES_OF_ALL);
}

enum err customer_run_history(struct operator_call *c)
{
	uint64_t max = call_u64(c, "max", 100);
	struct customer_edit *edits = NULL;
	struct customer known;
	size_t count = 0;
	cJSON *list;

	max = max < HISTORY_MOST ? max : HISTORY_MOST;
	TRY(rows_customer_find(core_db(c->room->core), call_text(c, "customer"), c->arena, &known));
	TRY(rows_customer_edit_list(core_db(c->room->core), known.id, call_u64(c, "below", 0),
		(size_t)max, c->arena, &edits, &count));
	put_text(c->json, "customer", known.id);
	put_number(c->json, "revision", known.revision);
	put_bool(c->json, "removed", known.removed);
	list = put_list(c->json, "edits");
	for (size_t i = 0; i < count; i++) {
		cJSON *o = put_item(list);

		put_number(o, "revision", edits[i].revision);
		put_text(o, "seat", edits[i].seat);
		put_time(o, "at_unix_ms", (struct wall){edits[i].at_ms});
		put_text(o, "verb", edits[i].verb);
		put_text(o, "item", edits[i].item);
		cJSON_AddRawToObject(o, "before", edits[i].before[0] ? edits[i].before : "null");
		cJSON_AddRawToObject(o, "after", edits[i].after[0] ? edits[i].after : "null");
	}
	return ERR_OK;
}
