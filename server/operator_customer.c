// Verbs about customers: the edits of their store. What is asked stands in operator_customer_look.
//
// An edit gives only what changes; the rest stays. Each names the revision that it edits. With
// dry_run nothing is written, and the answer tells the orders as they would stand.
#include "server/operator_customer.h"

#include "proto/base/log.h"
#include "server/content_keys.h"
#include <errno.h>
#include <stdlib.h>

// ---------------------------------------------------------------- reading what changes

static const char *text_or(struct operator_call *c, const char *name, const char *otherwise)
{
	const char *s = call_text(c, name);

	return s ? s : otherwise;
}

static uint32_t u32_or(struct operator_call *c, const char *name, uint32_t otherwise)
{
	return (uint32_t)call_u64(c, name, otherwise);
}

static int64_t time_or(struct operator_call *c, const char *name, int64_t otherwise)
{
	return (int64_t)call_u64(c, name, (uint64_t)otherwise);
}

// rrggbb
static enum err colour_or(struct operator_call *c, const char *name, uint32_t *colour)
{
	const char *s = call_text(c, name);

	if (!s)
		return ERR_OK;
	if (strlen(s) != 6 || s[strspn(s, "0123456789abcdefABCDEF")])
		return err_set(ERR_FORMAT, "%s is a colour: six hex digits, rrggbb", name);
	*colour = (uint32_t)strtoul(s, NULL, 16);
	return ERR_OK;
}

// Of a shuffle that nobody gave a seed: one that can be read back and given again.
static uint64_t seed_or(
	struct operator_call *c, const char *order, const char *before, uint64_t seed)
{
	uint64_t fresh = 0;

	if (call_text(c, "seed"))
		return call_u64(c, "seed", 0);
	if (seed || strcmp(order, "shuffle") != 0 || strcmp(before, "shuffle") == 0)
		return seed;
	core_random(c->room->core, &fresh, sizeof(fresh));
	return (fresh & CUSTOMER_SEED_MAX) | 1;
}

// ---------------------------------------------------------------- the answer

static enum err edit_done(struct operator_call *c, struct customer_editing *e)
{
	put_text(c->json, "customer", e->whole.customer.id);
	put_number(c->json, "revision", e->whole.customer.revision);
	put_bool(c->json, "changed", !e->is_same);
	put_bool(c->json, "dry_run", call_bool(c, "dry_run", false));
	if (e->before[0])
		cJSON_AddRawToObject(c->json, "before", e->before);
	if (e->after[0])
		cJSON_AddRawToObject(c->json, "after", e->after);
	return json_orders(put_list(c->json, "orders"), e->orders_would, e->order_count,
		call_bool(c, "dry_run", false) ? BYTES_OF_CHANGED : BYTES_OF_NONE);
}

static enum err edit_finish(
	struct operator_call *c, struct customer_editing *e, const struct customer_change *change)
{
	TRY(customer_edit_try(e, change));
	if (!call_bool(c, "dry_run", false))
		TRY(customer_edit_keep(e, change, c->verb->name, c->seat));
	return edit_done(c, e);
}

static enum err edit_begin(struct operator_call *c, struct customer_editing *e)
{
	uint64_t revision = call_u64(c, "revision", 0);

	if (revision == 0)
		return err_set(ERR_RANGE, "an edit names the revision that it edits, from 1 on");
	return customer_edit_begin(
		e, c->room->orders, call_text(c, "customer"), revision, c->arena);
}

// ---------------------------------------------------------------- customer

static enum err customer_fill(struct operator_call *c, struct customer *f)
{
	const char *order = text_or(c, "order", f->order);

	f->seed = seed_or(c, order, f->order, f->seed);
	f->order = order;
	f->name = text_or(c, "name", f->name);
	f->publisher = text_or(c, "publisher", f->publisher);
	f->time_zone = text_or(c, "time_zone", f->time_zone);
	f->duration_ms = u32_or(c, "duration_ms", f->duration_ms);
	f->transition_ms = u32_or(c, "transition_ms", f->transition_ms);
	f->fit = text_or(c, "fit", f->fit);
	f->max_images = u32_or(c, "max_images", f->max_images);
	f->max_bytes = call_u64(c, "max_bytes", f->max_bytes);
	return colour_or(c, "background", &f->background_rgb);
}

// The one publisher that there is.
static enum err publisher_only(struct operator_call *c, const char **out)
{
	struct client_brief one;
	size_t cursor = 0;

	*out = NULL;
	while (core_client_walk(c->room->core, &cursor, &one)) {
		if (one.role != ROLE_PUBLISHER || one.revoked)
			continue;
		if (*out)
			return err_set(ERR_FORMAT, "there are several publishers: name one");
		*out = arena_strdup(c->arena, one.id);
	}
	return *out ? ERR_OK : err_set(ERR_NOT_FOUND, "no publisher is enrolled");
}

static enum err run_add(struct operator_call *c)
{
	struct customer_change change = {.item = ITEM_CUSTOMER, .id = call_text(c, "customer")};
	struct customer_editing e;

	change.customer = (struct customer){
		.id = change.id,
		.name = "",
		.time_zone = "",
		.order = "list",
		.duration_ms = 10000,
		.transition_ms = 500,
		.fit = "fit",
	};
	if (!call_text(c, "publisher"))
		TRY(publisher_only(c, &change.customer.publisher));
	TRY(customer_fill(c, &change.customer));
	TRY(customer_edit_begin_new(&e, c->room->orders, &change.customer, c->arena));
	return edit_finish(c, &e, &change);
}

static enum err run_set(struct operator_call *c)
{
	struct customer_change change = {.item = ITEM_CUSTOMER};
	struct customer_editing e;

	TRY(edit_begin(c, &e));
	const char *before = e.whole.customer.publisher;
	change.customer = e.whole.customer;
	change.id = e.whole.customer.id;
	TRY(customer_fill(c, &change.customer));
	TRY(edit_finish(c, &e, &change));
	return call_bool(c, "dry_run", false) ? ERR_OK
					      : content_keys_moved(c->room->content_keys, change.id,
							before, e.whole.customer.publisher);
}

static enum err run_remove(struct operator_call *c)
{
	struct customer_change change = {.item = ITEM_CUSTOMER, .removes = true};
	struct customer_editing e;

	TRY(edit_begin(c, &e));
	change.id = e.whole.customer.id;
	TRY(edit_finish(c, &e, &change));
	return call_bool(c, "dry_run", false) ? ERR_OK
					      : content_keys_moved(c->room->content_keys, change.id,
							e.whole.customer.publisher, NULL);
}

// ---------------------------------------------------------------- places

static enum err run_place_set(struct operator_call *c)
{
	struct customer_change change = {.item = ITEM_PLACE, .id = call_text(c, "place")};
	const struct customer_place *was;
	struct customer_editing e;

	TRY(edit_begin(c, &e));
	was = customer_place_find(&e.whole, change.id);
	change.place = was ? *was : (struct customer_place){change.id, "", "", ""};
	change.place.name = text_or(c, "name", change.place.name);
	change.place.address = text_or(c, "address", change.place.address);
	change.place.time_zone = text_or(c, "time_zone", change.place.time_zone);
	return edit_finish(c, &e, &change);
}

static enum err run_place_remove(struct operator_call *c)
{
	struct customer_change change = {
		.item = ITEM_PLACE, .removes = true, .id = call_text(c, "place")};
	struct customer_editing e;

	TRY(edit_begin(c, &e));
	return edit_finish(c, &e, &change);
}

// ---------------------------------------------------------------- plans

static enum err plan_fill(struct operator_call *c, struct customer_plan *p)
{
	const char *order = text_or(c, "order", p->order);
	struct daypart parts[LIMIT_DAYPARTS];
	char places[CUSTOMER_PLACES_TEXT], dayparts[CUSTOMER_DAYPARTS_TEXT];
	size_t count = 0;

	p->seed = seed_or(c, order, p->order, p->seed);
	p->order = order;
	p->expression = text_or(c, "expression", p->expression);
	p->min_width_px = u32_or(c, "min_width", p->min_width_px);
	p->min_height_px = u32_or(c, "min_height", p->min_height_px);
	p->max_images = u32_or(c, "max_images", p->max_images);
	p->max_bytes = call_u64(c, "max_bytes", p->max_bytes);
	p->duration_ms = u32_or(c, "duration_ms", p->duration_ms);
	p->fit = text_or(c, "fit", p->fit);
	p->weight = u32_or(c, "weight", p->weight);
	p->from_unix_ms = time_or(c, "from_unix_ms", p->from_unix_ms);
	p->until_unix_ms = time_or(c, "until_unix_ms", p->until_unix_ms);
	p->orientation = text_or(c, "orientation", p->orientation);
	p->paused = call_bool(c, "paused", p->paused);
	TRY(dayparts_parse(text_or(c, "dayparts", p->dayparts), parts, &count));
	TRY(dayparts_format(parts, count, dayparts));
	TRY(places_normal(text_or(c, "places", p->places), places));
	p->dayparts = arena_strdup(c->arena, dayparts);
	p->places = arena_strdup(c->arena, places);
	return p->dayparts && p->places ? ERR_OK : err_set(ERR_FULL, "no memory for this request");
}

static enum err run_plan_set(struct operator_call *c)
{
	struct customer_change change = {.item = ITEM_PLAN, .id = call_text(c, "plan")};
	const struct customer_plan *was;
	struct customer_editing e;

	TRY(edit_begin(c, &e));
	was = customer_plan_find(&e.whole, change.id);
	change.plan = was ? *was
			  : (struct customer_plan){
				    .id = change.id,
				    .expression = "",
				    .order = "list",
				    .fit = "",
				    .dayparts = "",
				    .places = "",
				    .orientation = "",
			    };
	TRY(plan_fill(c, &change.plan));
	return edit_finish(c, &e, &change);
}

static enum err run_plan_remove(struct operator_call *c)
{
	struct customer_change change = {
		.item = ITEM_PLAN, .removes = true, .id = call_text(c, "plan")};
	struct customer_editing e;

	TRY(edit_begin(c, &e));
	return edit_finish(c, &e, &change);
}

// ---------------------------------------------------------------- clients

static enum err run_client_set(struct operator_call *c)
{
	struct customer_change change = {.item = ITEM_CLIENT, .id = call_text(c, "client")};
	struct customer_client *f = &change.client;
	struct customer_editing e;
	const char *owner = "";
	enum err found;

	TRY(edit_begin(c, &e));
	found = rows_customer_client_find(core_db(c->room->core), change.id, c->arena, &owner, f);
	if (found == ERR_NOT_FOUND)
		*f = (struct customer_client){
			.client = change.id, .place = "", .name = "", .orientation = ""};
	else
		TRY(found);
	f->place = text_or(c, "place", f->place);
	f->name = text_or(c, "name", f->name);
	f->width_px = u32_or(c, "width", f->width_px);
	f->height_px = u32_or(c, "height", f->height_px);
	f->orientation = text_or(c, "orientation", f->orientation);
	return edit_finish(c, &e, &change);
}

static enum err run_client_remove(struct operator_call *c)
{
	struct customer_change change = {
		.item = ITEM_CLIENT, .removes = true, .id = call_text(c, "client")};
	struct customer_editing e;

	TRY(edit_begin(c, &e));
	return edit_finish(c, &e, &change);
}

// ---------------------------------------------------------------- the table

#define CUSTOMER                                                                                   \
	{                                                                                          \
		"customer", ARG_ID, true, NULL, "which customer"                                   \
	}
#define REVISION                                                                                   \
	{                                                                                          \
		"revision", ARG_U64, true, NULL, "that is edited: the customer's as it was seen"   \
	}
#define DRY_RUN                                                                                    \
	{                                                                                          \
		"dry_run", ARG_BOOL, false, NULL, "nothing is written: what would follow"          \
	}
#define CUSTOMER_FIELDS                                                                            \
	{"name", ARG_TEXT, false, NULL, "for people"},                                             \
		{"publisher", ARG_ID, false, NULL,                                                 \
			"makes its packages; the only one if not said"},                           \
		{"time_zone", ARG_TEXT, false, NULL, "of its hours, as Europe/Athens"},            \
		{"order", ARG_WORD, false, "list|shuffle|weight", "in which pictures are shown"},  \
		{"seed", ARG_U64, false, NULL, "of shuffle"},                                      \
		{"duration_ms", ARG_U32, false, NULL, "of a picture (10000)"},                     \
		{"transition_ms", ARG_U32, false, NULL, "from one to the next (500)"},             \
		{"fit", ARG_WORD, false, "fit|fill|stretch|center", "into the screen"},            \
		{"background", ARG_TEXT, false, NULL, "rrggbb (000000)"},                          \
		{"max_images", ARG_U32, false, NULL, "of a package; 0: no limit"},                 \
		{"max_bytes", ARG_U64, false, NULL, "of a package; 0: no limit"}, DRY_RUN

static const struct verb_row rows[] = {
	{.name = "customer-add",
		.help = "makes a customer",
		.writes = true,
		.run = run_add,
		.args = {CUSTOMER, CUSTOMER_FIELDS}},
	{.name = "customer-set",
		.help = "edits what holds for all screens of a customer",
		.writes = true,
		.run = run_set,
		.args = {CUSTOMER, REVISION, CUSTOMER_FIELDS}},
	{.name = "customer-remove",
		.help = "ends a customer that has no clients; its history stays",
		.writes = true,
		.run = run_remove,
		.args = {CUSTOMER, REVISION, DRY_RUN}},
	{.name = "customer-place-set",
		.help = "makes or edits a place where screens stand",
		.writes = true,
		.run = run_place_set,
		.args = {CUSTOMER, REVISION, {"place", ARG_ID, true, NULL, "which"},
			{"name", ARG_TEXT, false, NULL, "for people"},
			{"address", ARG_TEXT, false, NULL, "for the post"},
			{"time_zone", ARG_TEXT, false, NULL, "its own; empty: the customer's"},
			DRY_RUN}},
	{.name = "customer-place-remove",
		.help = "ends a place where nothing stands",
		.writes = true,
		.run = run_place_remove,
		.args = {CUSTOMER, REVISION, {"place", ARG_ID, true, NULL, "which"}, DRY_RUN}},
	{.name = "customer-plan-set",
		.help = "makes or edits an image plan: which pictures, in which order, when, where",
		.writes = true,
		.run = run_plan_set,
		.args = {CUSTOMER, REVISION, {"plan", ARG_ID, true, NULL, "which"},
			{"expression", ARG_LONG, false, NULL,
				"tags with and, or, not; empty: nothing"},
			{"min_width", ARG_U32, false, NULL, "of its pictures, in pixels"},
			{"min_height", ARG_U32, false, NULL, "of its pictures, in pixels"},
			{"max_images", ARG_U32, false, NULL, "at most so many; 0: all"},
			{"max_bytes", ARG_U64, false, NULL, "at most so much; 0: no limit"},
			{"order", ARG_WORD, false, "list|shuffle|weight|newest",
				"which come first, within its limits"},
			{"seed", ARG_U64, false, NULL, "of shuffle"},
			{"duration_ms", ARG_U32, false, NULL, "0: the customer's"},
			{"fit", ARG_WORD, false, "|fit|fill|stretch|center",
				"empty: the customer's"},
			{"weight", ARG_U32, false, NULL, "share of showings, to 1000"},
			{"from_unix_ms", ARG_U64, false, NULL, "not before; 0: always"},
			{"until_unix_ms", ARG_U64, false, NULL, "no longer; 0: for ever"},
			{"dayparts", ARG_TEXT, false, NULL, "mon-fri 08:00-18:00; sat 10:00-16:00"},
			{"places", ARG_LONG, false, NULL, "PLACE,PLACE...; empty: everywhere"},
			{"orientation", ARG_WORD, false, "|landscape|portrait|square",
				"only on screens that stand so"},
			{"paused", ARG_BOOL, false, NULL, "kept, and not shown"}, DRY_RUN}},
	{.name = "customer-plan-remove",
		.help = "ends an image plan",
		.writes = true,
		.run = run_plan_remove,
		.args = {CUSTOMER, REVISION, {"plan", ARG_ID, true, NULL, "which"}, DRY_RUN}},
	{.name = "customer-client-set",
		.help = "gives a client to a customer, or edits its place and screen",
		.writes = true,
		.run = run_client_set,
		.args = {CUSTOMER, REVISION, {"client", ARG_ID, true, NULL, "which"},
			{"place", ARG_TEXT, false, NULL, "where it stands"},
			{"name", ARG_TEXT, false, NULL, "for people"},
			{"width", ARG_U32, false, NULL, "of its screen; 0: as it reports"},
			{"height", ARG_U32, false, NULL, "of its screen; 0: as it reports"},
			{"orientation", ARG_WORD, false, "|landscape|portrait",
				"how its screen hangs; empty: as its pixels say"},
			DRY_RUN}},
	{.name = "customer-client-remove",
		.help = "takes a client from its customer",
		.writes = true,
		.run = run_client_remove,
		.args = {CUSTOMER, REVISION, {"client", ARG_ID, true, NULL, "which"}, DRY_RUN}},
	{.name = "customer-list",
		.help = "customers, and how many clients and plans they have",
		.run = customer_run_list,
		.args = {{"max", ARG_U32, false, NULL, "how many in one answer (1000)"},
			{"after", ARG_ID, false, NULL, "goes on after this one"}}},
	{.name = "customer-show",
		.help = "everything known of a customer; what became of its orders",
		.run = customer_run_show,
		.args = {CUSTOMER, {"max", ARG_U32, false, NULL, "clients in one answer (10000)"},
			{"after", ARG_ID, false, NULL, "clients after this one"}}},
	{.name = "customer-history",
		.help = "who edited what, when, and what it was before",
		.run = customer_run_history,
		.args = {CUSTOMER, {"max", ARG_U32, false, NULL, "how many (100)"},
			{"below", ARG_U64, false, NULL, "revisions below this one"}}},
	{.name = "customer-preview",
		.help = "the orders as they stand, for the publisher's order-preview",
		.run = customer_run_preview,
		.args = {CUSTOMER}},
};

const struct verb_table operator_customer_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
