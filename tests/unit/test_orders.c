// Customers' edits, the orders that follow, and what becomes of outcomes: with the real core, store
// and presence server.
#include "server/core_inside.h"
#include "server/orders_inside.h"
#include "tests/unit/operator_world.h"
#include <stdarg.h>
#include <time.h>

#define ARGS_MOST 12

// edit(w, verb, "name", "value", ..., NULL): what the verb answers, freed with the next one.
static cJSON *said;

static enum err edit(struct world *w, const char *verb, ...)
{
	struct arg args[ARGS_MOST];
	size_t count = 0;
	enum err e;
	va_list list;

	va_start(list, verb);
	for (const char *name; (name = va_arg(list, const char *)); count++) {
		assert_true(count < ARGS_MOST);
		args[count] = (struct arg){name, va_arg(list, const char *)};
	}
	va_end(list);
	cJSON_Delete(said);
	said = ask(w, verb, args, count, &e);
	return e;
}

#define EDITED(...) assert_int_equal(edit(w, __VA_ARGS__, NULL), ERR_OK)
#define REFUSED(error, ...) assert_int_equal(edit(w, __VA_ARGS__, NULL), error)

static int world_begin(void **state)
{
	return world_make(state);
}

static int world_end(void **state)
{
	cJSON_Delete(said);
	said = NULL;
	return world_drop(state);
}

// An inn with f1, of revision 3, and a shop with f2.
static void two_customers(struct world *w)
{
	EDITED("customer-add", "customer", "inn");
	EDITED("customer-plan-set", "customer", "inn", "revision", "1", "plan", "all", "expression",
		"sea");
	EDITED("customer-client-set", "customer", "inn", "revision", "2", "client", "f1");
	EDITED("customer-add", "customer", "shop");
	EDITED("customer-plan-set", "customer", "shop", "revision", "1", "plan", "all",
		"expression", "city");
	EDITED("customer-client-set", "customer", "shop", "revision", "2", "client", "f2");
}

static uint64_t order_revision(struct world *w, const char *id)
{
	struct order_row r;

	assert_int_equal(rows_order_find(w->db, id, &w->arena, &r), ERR_OK);
	return r.revision;
}

static struct order_row order_get(struct world *w, const char *id)
{
	struct order_row r;

	assert_int_equal(rows_order_find(w->db, id, &w->arena, &r), ERR_OK);
	return r;
}

// As the publisher says it. package NULL: none, because of reason.
static enum err outcome(
	struct world *w, const char *order, const struct digest *package, const char *reason)
{
	struct order_outcome o = {.order = order,
		.revision = order_revision(w, order),
		.matched = 2,
		.included = package ? 2 : 0,
		.reason = reason};

	if (package)
		o.package = *package;
	enum err e = orders_outcome(&w->orders, "pub", &o);
	core_turn_end(w->core, w->now);
	return e;
}

static size_t events_of(struct world *w, const char *channel)
{
	struct channel_info ch;

	return core_channel_find(w->core, channel, &ch) == ERR_OK ? (size_t)ch.tail_seq : 0;
}

static const char *channel_of_client(struct world *w, const char *client)
{
	static struct client_info info;

	assert_int_equal(core_client_find(w->core, client, &info), ERR_OK);
	return info.channel;
}

static struct digest shown_on(struct world *w, const char *channel)
{
	struct channel_slot *slots = NULL;
	size_t count = 0;

	assert_int_equal(core_channel_slots(w->core, channel, &w->arena, &slots, &count), ERR_OK);
	return count ? slots[0].package : (struct digest){{0}};
}

static const char *last_event(struct world *w, const char *channel)
{
	static char text[256];
	struct db_rows rows;

	assert_int_equal(db_query(w->db, &rows,
				 "SELECT type, text, author FROM event WHERE queue = $1 ORDER BY "
				 "seq DESC LIMIT 1",
				 DB_T(channel)),
		ERR_OK);
	assert_true(db_next(&rows));
	(void)snprintf(text, sizeof(text), "%s %s of %s",
		db_int(&rows, 0) == ELEMENT_DISPLAY ? "display" : "?", db_text(&rows, 1),
		db_text(&rows, 2));
	assert_int_equal(db_end(&rows), ERR_OK);
	return text;
}

// ---------------------------------------------------------------- one event

static void S004_4_a_package_that_follows_from_an_edit_is_one_event_of_its_channel(void **state)
{
	struct world *w = *state;
	struct digest one, two;
	size_t inn, shop;

	two_customers(w);
	assert_string_equal(channel_of_client(w, "f1"), "c.inn.any");
	assert_string_equal(channel_of_client(w, "f2"), "c.shop.any");
	shop = events_of(w, "c.shop.any");
	inn = events_of(w, "c.inn.any");
	offer_named(w, "c.inn", "1", &one);
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	assert_int_equal(events_of(w, "c.inn.any"), inn + 1);
	assert_string_equal(last_event(w, "c.inn.any"), "display c.inn@1 of alice.1");
	struct digest now = shown_on(w, "c.inn.any");
	assert_true(digest_equal(&now, &one));

	// Said again, and after an edit that yields the same: nothing is appended.
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	EDITED("customer-plan-set", "customer", "inn", "revision", "3", "plan", "all", "expression",
		"sea or sea");
	assert_int_equal(order_revision(w, "c.inn.any"), 4);
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	assert_int_equal(events_of(w, "c.inn.any"), inn + 1);
	// Pictures came: another package without an edit is the publisher's event.
	offer_named(w, "c.inn", "2", &two);
	assert_int_equal(outcome(w, "c.inn.any", &two, ""), ERR_OK);
	assert_int_equal(events_of(w, "c.inn.any"), inn + 2);
	assert_string_equal(last_event(w, "c.inn.any"), "display c.inn@2 of pub");
	assert_int_equal(events_of(w, "c.shop.any"), shop); // not the other's
}

static void an_outcome_without_a_package_replaces_nothing(void **state)
{
	struct world *w = *state;
	struct digest one, now;
	size_t before;

	two_customers(w);
	offer_named(w, "c.inn", "1", &one);
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	before = events_of(w, "c.inn.any");
	EDITED("customer-plan-set", "customer", "inn", "revision", "3", "plan", "all", "expression",
		"unicorn");
	assert_int_equal(
		outcome(w, "c.inn.any", NULL, "empty-match: no picture has unicorn"), ERR_OK);
	assert_int_equal(events_of(w, "c.inn.any"), before);
	now = shown_on(w, "c.inn.any");
	assert_true(digest_equal(&now, &one));
	EDITED("customer-show", "customer", "inn");
	const cJSON *order = cJSON_GetArrayItem(cJSON_GetObjectItem(said, "orders"), 0);
	assert_string_equal(text_of(order, "package"), "");
	assert_string_equal(text_of(order, "shown"), digest_hex(&one));
	assert_string_equal(text_of(order, "reason"), "empty-match: no picture has unicorn");
	orders_look(&w->orders, &w->findings);
	assert_int_equal(w->findings.count, 1);
	assert_non_null(strstr(w->findings.items[0].what, "unicorn"));
	// It matches again: the same package that is shown is no event.
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	assert_int_equal(events_of(w, "c.inn.any"), before);
}

static void what_an_operator_put_there_stays_until_the_order_yields_something_else(void **state)
{
	struct world *w = *state;
	struct digest one, two, now;

	two_customers(w);
	offer_named(w, "c.inn", "1", &one);
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	offer_named(w, "c.inn", "2", &two);
	assert_int_equal(outcome(w, "c.inn.any", &two, ""), ERR_OK);
	EDITED("channel-rollback", "channel", "c.inn.any");
	assert_int_equal(outcome(w, "c.inn.any", &two, ""), ERR_OK);
	now = shown_on(w, "c.inn.any");
	assert_true(digest_equal(&now, &one));
	EDITED("customer-set", "customer", "inn", "revision", "3", "duration_ms", "5000");
	assert_int_equal(outcome(w, "c.inn.any", &two, ""), ERR_OK);
	now = shown_on(w, "c.inn.any");
	assert_true(digest_equal(&now, &two));
}

static void a_closed_channel_takes_its_package_when_it_is_open_again(void **state)
{
	struct world *w = *state;
	struct digest one, now;

	two_customers(w);
	EDITED("channel-close", "channel", "c.inn.any");
	offer_named(w, "c.inn", "1", &one);
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	struct order_row row = order_get(w, "c.inn.any");

	assert_true(digest_is_zero(&row.shown));
	assert_non_null(strstr(order_get(w, "c.inn.any").reason, "closed"));
	EDITED("channel-resume", "channel", "c.inn.any");
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	now = shown_on(w, "c.inn.any");
	assert_true(digest_equal(&now, &one));
	assert_string_equal(order_get(w, "c.inn.any").reason, "");
}

static void an_outcome_that_is_not_ours_is_refused(void **state)
{
	struct world *w = *state;
	struct digest one, other;
	struct order_outcome o = {.order = "c.inn.any", .reason = ""};

	two_customers(w);
	offer_named(w, "c.inn", "1", &one);
	offer_named(w, "art", "1", &other);
	o.package = one;
	o.revision = 2; // older
	assert_int_equal(orders_outcome(&w->orders, "pub", &o), ERR_STALE);
	o.revision = 4; // never made
	assert_int_equal(orders_outcome(&w->orders, "pub", &o), ERR_STALE);
	o.revision = 3;
	assert_int_equal(orders_outcome(&w->orders, "mallory", &o), ERR_DENIED);
	o.order = "c.nobody.any";
	assert_int_equal(orders_outcome(&w->orders, "pub", &o), ERR_NOT_FOUND);
	o.order = "c.inn.any";
	o.package = other; // another name: would come to another slot
	assert_int_equal(orders_outcome(&w->orders, "pub", &o), ERR_DENIED);
	o.package = (struct digest){{9}}; // was not offered
	assert_int_equal(orders_outcome(&w->orders, "pub", &o), ERR_NOT_FOUND);
	assert_int_equal(order_get(w, "c.inn.any").answered, 0);
	core_turn_end(w->core, w->now);
}

// ---------------------------------------------------------------- edits

static uint64_t rows_of_store(struct world *w)
{
	struct db_rows rows;
	uint64_t n = 0;

	assert_int_equal(db_query_values(w->db, &rows,
				 "SELECT (SELECT sum(revision) FROM customer)"
				 " + (SELECT count(*) FROM customer_history) * 1000"
				 " + (SELECT count(*) FROM customer_plan) * 1000000"
				 " + (SELECT count(*) FROM customer_client) * 100000000"
				 " + (SELECT total(revision) FROM package_order) * 10000000000",
				 NULL, 0),
		ERR_OK);
	if (db_next(&rows))
		n = (uint64_t)db_int(&rows, 0);
	assert_int_equal(db_end(&rows), ERR_OK);
	return n;
}

static void S001_c9b_a_client_belongs_to_one_customer(void **state)
{
	struct world *w = *state;

	two_customers(w);
	uint64_t before = rows_of_store(w);
	REFUSED(ERR_EXISTS, "customer-client-set", "customer", "shop", "revision", "3", "client",
		"f1");
	REFUSED(ERR_NOT_FOUND, "customer-client-set", "customer", "shop", "revision", "3", "client",
		"f9");
	REFUSED(ERR_NOT_FOUND, "customer-client-set", "customer", "shop", "revision", "3", "client",
		"pub");
	REFUSED(ERR_NOT_FOUND, "customer-client-remove", "customer", "shop", "revision", "3",
		"client", "f9");
	assert_int_equal(rows_of_store(w), before);
	EDITED("customer-client-remove", "customer", "inn", "revision", "3", "client", "f1");
	assert_string_equal(channel_of_client(w, "f1"), "default");
	assert_true(order_get(w, "c.inn.any").withdrawn);
	EDITED("customer-client-set", "customer", "shop", "revision", "3", "client", "f1");
	assert_string_equal(channel_of_client(w, "f1"), "c.shop.any");
	assert_int_equal(order_get(w, "c.shop.any").clients, 2);
}

static void S001_c12_who_edits_what_somebody_else_edited_meanwhile_is_told_so(void **state)
{
	struct world *w = *state;

	two_customers(w);
	EDITED("customer-plan-set", "customer", "inn", "revision", "3", "plan", "all", "weight",
		"7");
	assert_true(number_of(said, "revision") == 4);
	uint64_t before = rows_of_store(w);
	REFUSED(ERR_STALE, "customer-plan-set", "customer", "inn", "revision", "3", "plan", "all",
		"expression", "mine");
	assert_non_null(strstr(err_text(), "revision 4, not 3"));
	REFUSED(ERR_STALE, "customer-set", "customer", "inn", "revision", "5", "name", "x");
	REFUSED(ERR_RANGE, "customer-set", "customer", "inn", "revision", "0", "name", "x");
	REFUSED(ERR_NOT_FOUND, "customer-set", "customer", "out", "revision", "1", "name", "x");
	REFUSED(ERR_EXISTS, "customer-add", "customer", "inn");
	assert_int_equal(rows_of_store(w), before);
	// Nothing changed: no revision, no history.
	EDITED("customer-plan-set", "customer", "inn", "revision", "4", "plan", "all", "weight",
		"7");
	assert_int_equal(rows_of_store(w), before);
	assert_false(cJSON_IsTrue(cJSON_GetObjectItem(said, "changed")));
}

static void S001_c12_bad_input_leaves_the_row_as_it_was(void **state)
{
	struct world *w = *state;

	two_customers(w);
	uint64_t before = rows_of_store(w);
	REFUSED(ERR_FORMAT, "customer-plan-set", "customer", "inn", "revision", "3", "plan", "all",
		"expression", "sea\nharbour");
	REFUSED(ERR_FORMAT, "customer-plan-set", "customer", "inn", "revision", "3", "plan", "all",
		"max_bytes", "-1");
	REFUSED(ERR_FORMAT, "customer-plan-set", "customer", "inn", "revision", "3", "plan", "all",
		"expression", "sea and (");
	REFUSED(ERR_NOT_FOUND, "customer-plan-set", "customer", "inn", "revision", "3", "plan",
		"all", "places", "attic");
	REFUSED(ERR_RANGE, "customer-set", "customer", "inn", "revision", "3", "time_zone",
		"Europe/Nowhere");
	REFUSED(ERR_FORMAT, "customer-set", "customer", "inn", "revision", "3", "background",
		"blue");
	REFUSED(ERR_NOT_FOUND, "customer-set", "customer", "inn", "revision", "3", "publisher",
		"nobody");
	REFUSED(ERR_NOT_NOW, "customer-remove", "customer", "inn", "revision", "3");
	assert_int_equal(rows_of_store(w), before);
}

static void a_dry_run_tells_what_would_follow_and_writes_nothing(void **state)
{
	struct world *w = *state;
	struct package_order order;
	uint8_t bytes[4096];

	two_customers(w);
	uint64_t before = rows_of_store(w);
	EDITED("customer-plan-set", "customer", "inn", "revision", "3", "plan", "more",
		"expression", "harbour", "dry_run", "true");
	assert_int_equal(rows_of_store(w), before);
	assert_true(number_of(said, "revision") == 4);
	const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItem(said, "orders"), 0);
	assert_string_equal(text_of(one, "change"), "changed");
	size_t size = strlen(text_of(one, "encoded")) / 2;
	assert_true(size > 0 && size < sizeof(bytes));
	assert_int_equal(hex_decode(text_of(one, "encoded"), bytes, size), ERR_OK);
	assert_int_equal(package_order_decode(&w->arena, bytes_of(bytes, size), &order), ERR_OK);
	assert_int_equal(order.part_count, 2);
	assert_int_equal(order.revision, 4);
	// A client that would move: two orders, one new.
	EDITED("customer-client-set", "customer", "inn", "revision", "3", "client", "f1", "width",
		"1920", "height", "1080", "dry_run", "true");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(said, "orders")), 2);
	EDITED("customer-preview", "customer", "inn");
	one = cJSON_GetArrayItem(cJSON_GetObjectItem(said, "orders"), 0);
	assert_string_equal(text_of(one, "change"), "same");
	assert_int_equal(rows_of_store(w), before);
}

static void the_history_tells_who_when_and_what_it_was_before(void **state)
{
	struct world *w = *state;

	two_customers(w);
	EDITED("customer-plan-set", "customer", "inn", "revision", "3", "plan", "all", "expression",
		"city");
	EDITED("customer-plan-remove", "customer", "inn", "revision", "4", "plan", "all");
	EDITED("customer-history", "customer", "inn");
	const cJSON *edits = cJSON_GetObjectItem(said, "edits");
	assert_int_equal(cJSON_GetArraySize(edits), 5);
	const cJSON *last = cJSON_GetArrayItem(edits, 0), *change = cJSON_GetArrayItem(edits, 1);
	assert_string_equal(text_of(last, "verb"), "customer-plan-remove");
	assert_string_equal(text_of(last, "seat"), "alice.1");
	char *text = cJSON_PrintUnformatted(change);
	assert_non_null(strstr(text, "\"before\":{\"plan\":\"all\",\"expression\":\"sea\""));
	assert_non_null(strstr(text, "\"after\":{\"plan\":\"all\",\"expression\":\"city\""));
	free(text);
	// A removed customer keeps its history, and its revisions go on.
	EDITED("customer-client-remove", "customer", "inn", "revision", "5", "client", "f1");
	EDITED("customer-remove", "customer", "inn", "revision", "6");
	REFUSED(ERR_NOT_FOUND, "customer-show", "customer", "inn");
	EDITED("customer-add", "customer", "inn");
	assert_true(number_of(said, "revision") == 8);
	EDITED("customer-show", "customer", "inn");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(said, "plans")), 0);
}

// ---------------------------------------------------------------- who is where

static void channels_follow_from_screen_and_place(void **state)
{
	struct world *w = *state;
	struct client_info info;
	const char *more[] = {"c.inn.any", "updates"};

	two_customers(w);
	assert_int_equal(core_client_set_channels(w->core, "f1", more, 2), ERR_OK);
	EDITED("customer-place-set", "customer", "inn", "revision", "3", "place", "bar",
		"time_zone", "Atlantic/Azores");
	EDITED("customer-client-set", "customer", "inn", "revision", "4", "client", "f1", "width",
		"1080", "height", "1920");
	assert_string_equal(channel_of_client(w, "f1"), "c.inn.1080x1920");
	assert_true(order_get(w, "c.inn.any").withdrawn);
	EDITED("customer-client-set", "customer", "inn", "revision", "5", "client", "f1", "place",
		"bar");
	assert_int_equal(strncmp(channel_of_client(w, "f1"), "c.inn.1080x1920.", 16), 0);
	assert_int_equal(core_client_find(w->core, "f1", &info), ERR_OK);
	assert_int_equal(info.place_count, 2);
	assert_string_equal(info.places[1].channel, "updates"); // the operator's own stays
	REFUSED(ERR_NOT_NOW, "customer-place-remove", "customer", "inn", "revision", "6", "place",
		"bar");
	// Back again: its order stands anew, with a higher revision than when it ended.
	uint64_t ended = order_revision(w, "c.inn.any");
	EDITED("customer-client-set", "customer", "inn", "revision", "6", "client", "f1", "place",
		"", "width", "0", "height", "0");
	assert_string_equal(channel_of_client(w, "f1"), "c.inn.any");
	assert_false(order_get(w, "c.inn.any").withdrawn);
	assert_true(order_revision(w, "c.inn.any") > ended);
	EDITED("customer-place-remove", "customer", "inn", "revision", "7", "place", "bar");
}

// Orders that ended and were answered do not pile up, and one that comes back is above what it was.
static void an_order_that_ended_is_forgotten_and_comes_back_above_it(void **state)
{
	struct world *w = *state;
	struct order_row r;

	two_customers(w);
	EDITED("customer-client-set", "customer", "inn", "revision", "3", "client", "f1", "width",
		"1920", "height", "1080");
	uint64_t ended = order_revision(w, "c.inn.any");
	EDITED("customer-set", "customer", "inn", "revision", "4", "name", "x");
	assert_int_equal(order_revision(w, "c.inn.any"), ended); // not answered yet
	assert_int_equal(outcome(w, "c.inn.any", NULL, "withdrawn"), ERR_OK);
	EDITED("customer-set", "customer", "inn", "revision", "5", "name", "y");
	assert_int_equal(rows_order_find(w->db, "c.inn.any", &w->arena, &r), ERR_NOT_FOUND);
	assert_int_equal(w->orders.standing, 2);
	EDITED("customer-client-set", "customer", "inn", "revision", "6", "client", "f1", "width",
		"0", "height", "0");
	assert_true(order_revision(w, "c.inn.any") > ended);
}

static void a_client_that_is_removed_from_the_fleet_is_nobodys(void **state)
{
	struct world *w = *state;

	two_customers(w);
	assert_int_equal(core_principal_revoke(w->core, "f1"), ERR_OK);
	customer_client_gone(&w->orders, "f1"); // as the hook does
	EDITED("customer-show", "customer", "inn");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(said, "clients")), 1);
	assert_int_equal(core_principal_remove(w->core, "f1"), ERR_OK);
	customer_client_gone(&w->orders, "f1");
	core_turn_end(w->core, w->now);
	EDITED("customer-show", "customer", "inn");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(said, "clients")), 0);
	assert_true(number_of(said, "revision") == 4);
	assert_true(order_get(w, "c.inn.any").withdrawn);
}

static void a_store_that_is_read_again_goes_on(void **state)
{
	struct world *w = *state;
	struct digest one;

	two_customers(w);
	offer_named(w, "c.inn", "1", &one);
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	// As if a crash had come between the edit and the moving.
	assert_int_equal(core_client_set_channel(w->core, "f1", "default"), ERR_OK);
	assert_int_equal(orders_load(&w->orders), ERR_OK);
	assert_int_equal(w->orders.standing, 2);
	assert_int_equal(HASH_COUNT(w->orders.told), 2); // told once more, answered or not
	customer_orders_work(&w->orders, w->now);
	core_turn_end(w->core, w->now);
	assert_string_equal(channel_of_client(w, "f1"), "c.inn.any");
}

static void full_is_an_answer(void **state)
{
	struct world *w = *state;
	char revision[24], plan[24];
	uint64_t before;

	two_customers(w);
	for (int i = 0; i < LIMIT_PLANS - 1; i++) {
		(void)snprintf(revision, sizeof(revision), "%d", 3 + i);
		(void)snprintf(plan, sizeof(plan), "p%d", i);
		EDITED("customer-plan-set", "customer", "inn", "revision", revision, "plan", plan,
			"expression", "sea");
	}
	before = rows_of_store(w);
	(void)snprintf(revision, sizeof(revision), "%d", 3 + LIMIT_PLANS - 1);
	REFUSED(ERR_FULL, "customer-plan-set", "customer", "inn", "revision", revision, "plan",
		"one-more", "expression", "sea");
	assert_non_null(strstr(err_text(), "more than 32 plans"));
	assert_int_equal(rows_of_store(w), before);
	EDITED("customer-plan-set", "customer", "inn", "revision", revision, "plan", "one-more",
		"expression", "sea", "paused", "true");
}

// ---------------------------------------------------------------- what it costs

#define FLEET 10000u

// Of this process's own work: what the machine does for others is not counted.
static double ms_since(const struct timespec *from)
{
	struct timespec to;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	return (double)(to.tv_sec - from->tv_sec) * 1e3 +
	       (double)(to.tv_nsec - from->tv_nsec) / 1e6;
}

// A customer with 10,000 clients at 100 places and 100 plans, 31 of which hold everywhere.
static void ten_thousand(struct world *w)
{
	struct customer_client c = {.name = "", .orientation = ""};
	char id[24], place[24];

	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(id, sizeof(id), "q%02u", i);
		const struct customer_place p = {id, "", "", ""};
		const struct customer_plan plan = {.id = id,
			.expression = "sea and not night",
			.order = "list",
			.fit = "",
			.dayparts = "",
			.places = i < 31 ? "" : id,
			.orientation = ""};

		assert_int_equal(rows_place_put(w->db, "big", &p), ERR_OK);
		assert_int_equal(rows_plan_put(w->db, "big", &plan), ERR_OK);
	}
	for (unsigned i = 0; i < FLEET; i++) {
		const struct enrolment e = {.id = id, .role = ROLE_CLIENT, .name = ""};

		(void)snprintf(id, sizeof(id), "s%05u", i);
		(void)snprintf(place, sizeof(place), "q%02u", i % 100);
		assert_int_equal(core_enrol(w->core, &e), ERR_OK);
		c.client = id;
		c.place = place;
		c.width_px = i % 3 ? 1920 : 1080;
		c.height_px = i % 3 ? 1080 : 1920;
		assert_int_equal(rows_customer_client_put(w->db, "big", &c), ERR_OK);
	}
	core_turn_end(w->core, w->now);
}

static void orders_cost_by_distinct_packages_and_not_by_clients(void **state)
{
	struct world *w = *state;
	struct timespec from;
	double edit_ms, walk_ms;

	EDITED("customer-add", "customer", "big");
	ten_thousand(w);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	EDITED("customer-plan-set", "customer", "big", "revision", "1", "plan", "q00", "expression",
		"sea");
	double first_ms = ms_since(&from);
	size_t orders = (size_t)cJSON_GetArraySize(cJSON_GetObjectItem(said, "orders"));
	assert_int_equal(w->orders.standing, orders);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	while (w->orders.walks) {
		customer_orders_work(&w->orders, w->now);
		core_turn_end(w->core, w->now);
	}
	walk_ms = ms_since(&from);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	EDITED("customer-plan-set", "customer", "big", "revision", "2", "plan", "q00", "expression",
		"sea and land");
	edit_ms = ms_since(&from);
	print_message("%u clients, 100 plans: %zu orders; first edit %.0f ms, all into their "
		      "channels %.0f ms, an edit %.0f ms\n",
		FLEET, orders, first_ms, walk_ms, edit_ms);
	// 69 places that a plan names, and the others; two classes of screens.
	assert_int_equal(orders, 2 * 70);
	assert_string_equal(channel_of_client(w, "s00000"), "c.big.1080x1920");
	assert_true(edit_ms < 5000);
}

static void enrol_with_room(struct world *w, const char *id, uint64_t free_bytes)
{
	const struct enrolment e = {.id = id, .role = ROLE_CLIENT, .name = ""};
	uint32_t number;

	assert_int_equal(core_enrol(w->core, &e), ERR_OK);
	number = client_table_find(&w->core->clients, id);
	client_at(&w->core->clients, number)->free = free_pack(free_bytes);
}

static bool finds(struct world *w, const char *id)
{
	static struct findings f;

	f.count = 0;
	orders_look(&w->orders, &f);
	for (size_t i = 0; i < f.count; i++)
		if (strcmp(f.items[i].id, id) == 0)
			return true;
	return false;
}

static void a_fleet_that_is_short_of_room_is_looked_at_in_turns(void **state)
{
	struct world *w = *state;
	struct digest one;
	char id[LIMIT_ID + 1];

	two_customers(w);
	offer_named(w, "c.inn", "1", &one);
	assert_int_equal(outcome(w, "c.inn.any", &one, ""), ERR_OK);
	assert_int_equal(db_run(w->db, "UPDATE package_order SET size_bytes = 1000000"), ERR_OK);
	enrol_with_room(w, "first", 4096);
	for (unsigned i = 0; i < ORDERS_ROOM_LOOKS; i++) {
		(void)snprintf(id, sizeof(id), "x%05u", i);
		enrol_with_room(w, id, 4096); // of no order
	}
	enrol_with_room(w, "last", 4096);
	enrol_with_room(w, "wide", 4096000);
	assert_int_equal(core_client_set_channel(w->core, "first", "c.inn.any"), ERR_OK);
	assert_int_equal(core_client_set_channel(w->core, "last", "c.inn.any"), ERR_OK);
	assert_int_equal(core_client_set_channel(w->core, "wide", "c.inn.any"), ERR_OK);
	assert_true(finds(w, "ROOM-first"));
	assert_true(finds(w, "ROOM-last")); // behind those of the first look
	assert_true(finds(w, "ROOM-first"));
	assert_true(finds(w, "ROOM-MORE"));
	assert_false(finds(w, "ROOM-last"));
	assert_false(finds(w, "ROOM-wide"));
	assert_false(finds(w, "ROOM-wide"));
	core_turn_end(w->core, w->now);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, world_begin, world_end)
	const struct CMUnitTest tests[] = {
		WITH_WORLD(S004_4_a_package_that_follows_from_an_edit_is_one_event_of_its_channel),
		WITH_WORLD(an_outcome_without_a_package_replaces_nothing),
		WITH_WORLD(what_an_operator_put_there_stays_until_the_order_yields_something_else),
		WITH_WORLD(a_closed_channel_takes_its_package_when_it_is_open_again),
		WITH_WORLD(an_outcome_that_is_not_ours_is_refused),
		WITH_WORLD(S001_c9b_a_client_belongs_to_one_customer),
		WITH_WORLD(S001_c12_who_edits_what_somebody_else_edited_meanwhile_is_told_so),
		WITH_WORLD(S001_c12_bad_input_leaves_the_row_as_it_was),
		WITH_WORLD(a_dry_run_tells_what_would_follow_and_writes_nothing),
		WITH_WORLD(the_history_tells_who_when_and_what_it_was_before),
		WITH_WORLD(channels_follow_from_screen_and_place),
		WITH_WORLD(an_order_that_ended_is_forgotten_and_comes_back_above_it),
		WITH_WORLD(a_client_that_is_removed_from_the_fleet_is_nobodys),
		WITH_WORLD(a_store_that_is_read_again_goes_on),
		WITH_WORLD(full_is_an_answer),
		WITH_WORLD(orders_cost_by_distinct_packages_and_not_by_clients),
		WITH_WORLD(a_fleet_that_is_short_of_room_is_looked_at_in_turns),
	};

	log_set_level((enum log_level)(LOG_ERROR + 1));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
