// Customers: what is valid, how it is written, which orders follow, and the rows that keep it.
#include "server/criteria.h"
#include "server/db/rows_customer.h"
#include "server/order_plan.h"
#include "tests/unit/helper.h"
#include "store_rig.h"
#include <time.h>

// ---------------------------------------------------------------- dayparts and places

static void dayparts_are_read_as_people_write_them(void **state)
{
	static const struct {
		const char *text, *normal;
		enum err e;
	} cases[] = {
		{"", "", ERR_OK},
		{"  ", "", ERR_OK},
		{"daily 08:00-18:00", "daily 08:00-18:00", ERR_OK},
		{"Mon-Fri 08:00-18:00;sat,sun 10:00-24:00",
			"mon-fri 08:00-18:00; sat,sun 10:00-24:00", ERR_OK},
		{"fri-mon 22:00-02:00", "mon,fri-sun 22:00-02:00", ERR_OK},
		{"mon-sun 00:00-24:00", "daily 00:00-24:00", ERR_OK},
		{"wed 9:00-18:00", NULL, ERR_FORMAT},
		{"wed 09:00-18:60", NULL, ERR_RANGE},
		{"wed 24:00-02:00", NULL, ERR_RANGE},
		{"wed 09:00-24:01", NULL, ERR_RANGE},
		{"wed 09:00-09:00", NULL, ERR_RANGE},
		{"09:00-18:00", NULL, ERR_FORMAT},
		{"wed09:00-18:00", NULL, ERR_FORMAT},
		{"wed 09:00-18:00, thu 09:00-18:00", NULL, ERR_FORMAT},
		{"someday 09:00-18:00", NULL, ERR_FORMAT},
		{"mon- 09:00-18:00", NULL, ERR_FORMAT},
	};
	struct daypart parts[LIMIT_DAYPARTS];
	char text[CUSTOMER_DAYPARTS_TEXT];
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum err e = dayparts_parse(cases[i].text, parts, &count);

		if (e != cases[i].e)
			fail_msg("%s: %s", cases[i].text, err_text());
		if (e != ERR_OK)
			continue;
		assert_int_equal(dayparts_format(parts, count, text), ERR_OK);
		assert_string_equal(text, cases[i].normal);
	}
	assert_int_equal(dayparts_parse("fri 22:00-02:00", parts, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_int_equal(parts[0].weekdays, 1u << 4);
	assert_int_equal(parts[0].from_minute, 22 * 60);
	assert_int_equal(parts[0].until_minute, 120);
}

static void more_dayparts_than_a_plan_has_are_refused(void **state)
{
	struct daypart parts[LIMIT_DAYPARTS];
	char text[CUSTOMER_DAYPARTS_TEXT] = "";
	size_t count = 0, used = 0;

	(void)state;
	for (int i = 0; i < LIMIT_DAYPARTS; i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "mon %02d:00-%02d:30;", i, i);
	assert_int_equal(dayparts_parse(text, parts, &count), ERR_OK);
	assert_int_equal(count, LIMIT_DAYPARTS);
	(void)snprintf(text + used, sizeof(text) - used, "tue 00:00-01:00");
	assert_int_equal(dayparts_parse(text, parts, &count), ERR_FULL);
}

static void a_list_of_places_has_one_form(void **state)
{
	char out[CUSTOMER_PLACES_TEXT];

	(void)state;
	assert_int_equal(places_normal("lobby, bar,lobby", out), ERR_OK);
	assert_string_equal(out, "bar,lobby");
	assert_true(places_name(out, "bar"));
	assert_true(places_name(out, "lobby"));
	assert_false(places_name(out, "lob"));
	assert_false(places_name(out, "ar"));
	assert_false(places_name(out, ""));
	assert_false(places_name("", "bar"));
	assert_int_equal(places_normal("a/b", out), ERR_FORMAT);
	assert_int_equal(places_normal("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", out), ERR_FULL);
}

// ---------------------------------------------------------------- screens

static void a_screen_belongs_to_the_smallest_class_that_covers_it(void **state)
{
	static const struct {
		struct screen s;
		const char *class, *orientation;
	} cases[] = {
		{{1920, 1080}, "1920x1080", "landscape"},
		{{1080, 1920}, "1080x1920", "portrait"},
		{{1024, 768}, "1280x800", "landscape"},
		{{768, 1024}, "800x1280", "portrait"},
		{{1921, 1080}, "2560x1440", "landscape"},
		{{1, 2}, "480x800", "portrait"},
		{{600, 600}, "800x800", "square"},
		{{9000, 5000}, "any", "landscape"},
		{{0, 0}, "any", ""},
		{{1920, 0}, "any", ""},
	};
	char word[24];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct screen c = screen_class(cases[i].s);

		assert_string_equal(screen_word(c, word), cases[i].class);
		assert_string_equal(screen_orientation(cases[i].s), cases[i].orientation);
		assert_true(!c.width_px || (c.width_px >= cases[i].s.width_px &&
						   c.height_px >= cases[i].s.height_px));
	}
}

static void what_the_operator_says_of_a_screen_counts(void **state)
{
	struct customer_client c = {.orientation = ""};
	struct screen s = screen_of_client(&c, (struct screen){1920, 1080});

	(void)state;
	assert_int_equal(s.width_px, 1920);
	c.orientation = "portrait";
	s = screen_of_client(&c, (struct screen){1920, 1080});
	assert_int_equal(s.width_px, 1080);
	c.width_px = 800;
	c.height_px = 1280;
	s = screen_of_client(&c, (struct screen){1920, 1080});
	assert_int_equal(s.width_px, 800);
	c.orientation = "landscape";
	s = screen_of_client(&c, (struct screen){0, 0});
	assert_int_equal(s.width_px, 1280);
}

// ---------------------------------------------------------------- orders

static struct customer_plan plan_of(const char *id, const char *expression, const char *places)
{
	return (struct customer_plan){.id = id,
		.expression = expression,
		.order = "list",
		.fit = "",
		.dayparts = "",
		.places = places,
		.orientation = ""};
}

static struct customer customer_of(const char *id)
{
	return (struct customer){.id = id,
		.name = "",
		.publisher = "pub",
		.time_zone = "Europe/Athens",
		.order = "list",
		.duration_ms = 10000,
		.transition_ms = 500,
		.fit = "fit"};
}

static struct customer_client client_of(const char *id, const char *place)
{
	return (struct customer_client){
		.client = id, .place = place, .name = "", .orientation = ""};
}

struct house {
	struct customer_place places[2];
	struct customer_plan plans[4];
	struct customer_whole w;
	struct order_groups g;
	struct arena a;
};

static int setup(void **state)
{
	struct house *h = calloc(1, sizeof(*h));

	arena_init(&h->a, 4 << 20, 10000);
	h->places[0] = (struct customer_place){"bar", "", "", "Atlantic/Azores"};
	h->places[1] = (struct customer_place){"lobby", "", "", ""};
	h->plans[0] = plan_of("all", "sea", "");
	h->plans[1] = plan_of("drinks", "drink and not wine", "bar");
	h->w = (struct customer_whole){.customer = customer_of("inn"),
		.places = h->places,
		.place_count = 2,
		.plans = h->plans,
		.plan_count = 2};
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct house *h = *state;

	arena_fini(&h->a);
	free(h);
	return 0;
}

static const char *group_id(struct house *h, const char *place, uint32_t w, uint32_t hgt)
{
	struct customer_client c = client_of("f1", place);
	struct order_group *g = NULL;

	assert_int_equal(order_group_of(&h->g, &c, (struct screen){w, hgt}, &g), ERR_OK);
	g->clients++;
	return g->id;
}

static void an_order_is_a_customer_its_plans_a_class_and_a_zone(void **state)
{
	struct house *h = *state;
	const char *lobby, *bar;
	struct package_order order;

	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	lobby = group_id(h, "lobby", 1920, 1080);
	assert_string_equal(lobby, "c.inn.1920x1080");
	assert_ptr_equal(group_id(h, "", 1900, 1000), lobby); // the same class, no place
	bar = group_id(h, "bar", 1920, 1080);
	assert_string_not_equal(bar, lobby);
	assert_int_equal(strncmp(bar, "c.inn.1920x1080.", 16), 0);
	assert_string_equal(group_id(h, "lobby", 1080, 1920), "c.inn.1080x1920");
	assert_string_equal(group_id(h, "lobby", 0, 0), "c.inn.any");
	assert_int_equal(h->g.count, 4);
	assert_int_equal(h->g.items[0].clients, 2);

	assert_int_equal(order_make(&h->g, &h->g.items[0], &h->a, &order), ERR_OK);
	assert_int_equal(order.part_count, 1);
	assert_string_equal(order.parts[0].plan, "all");
	assert_string_equal(order.show->time_zone, "Europe/Athens");
	assert_string_equal(order.name, "c.inn");
	assert_int_equal(order.screen_width_px, 1920);
	assert_int_equal(order_make(&h->g, &h->g.items[1], &h->a, &order), ERR_OK);
	assert_int_equal(order.part_count, 2);
	assert_string_equal(order.show->time_zone, "Atlantic/Azores");
}

static void a_plan_that_holds_everywhere_moves_nobody_to_another_channel(void **state)
{
	struct house *h = *state;
	char bar[LIMIT_ID + 1];

	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	(void)str_copy(bar, sizeof(bar), group_id(h, "bar", 1920, 1080));
	h->plans[2] = plan_of("more", "harbour", "");
	h->w.plan_count = 3;
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	assert_string_equal(group_id(h, "bar", 1920, 1080), bar);
	h->plans[0].paused = true;
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	assert_string_equal(group_id(h, "bar", 1920, 1080), bar);
	struct package_order order;
	assert_int_equal(order_make(&h->g, &h->g.items[0], &h->a, &order), ERR_OK);
	assert_int_equal(order.part_count, 2); // the paused one is not in it
	// One that names the place does.
	h->plans[2].places = "bar";
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	assert_string_not_equal(group_id(h, "bar", 1920, 1080), bar);
}

static void a_plan_may_want_a_screen_that_stands(void **state)
{
	struct house *h = *state;
	struct package_order order;

	h->plans[0].orientation = "portrait";
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	(void)group_id(h, "lobby", 1920, 1080);
	(void)group_id(h, "lobby", 1080, 1920);
	assert_int_equal(order_make(&h->g, &h->g.items[0], &h->a, &order), ERR_OK);
	assert_int_equal(order.part_count, 0);
	assert_int_equal(order_make(&h->g, &h->g.items[1], &h->a, &order), ERR_OK);
	assert_int_equal(order.part_count, 1);
}

static bool matches(const char *expression, uint32_t width, uint32_t height)
{
	static const char *const tags[] = {"sea"};
	const struct criteria_picture p = {.title = "",
		.licence = "",
		.tags = tags,
		.tag_count = 1,
		.width_px = width,
		.height_px = height};
	struct criteria c;

	assert_int_equal(criteria_parse(expression, &c), ERR_OK);
	return criteria_match(&c, &p, NULL);
}

static void a_least_resolution_is_a_condition_and_an_empty_criterion_matches_nothing(void **state)
{
	struct house *h = *state;
	struct package_order order;

	h->plans[0].expression = "city or sea";
	h->plans[0].min_width_px = 1000;
	h->plans[0].min_height_px = 500;
	h->plans[1] = plan_of("empty", " ", "");
	h->plans[1].min_width_px = 1;
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	(void)group_id(h, "", 1920, 1080);
	assert_int_equal(order_make(&h->g, &h->g.items[0], &h->a, &order), ERR_OK);
	assert_int_equal(order.part_count, 2);
	assert_true(matches(order.parts[0].expression, 1000, 500));
	assert_false(matches(order.parts[0].expression, 999, 500));
	assert_false(matches(order.parts[0].expression, 1000, 499));
	assert_false(matches(order.parts[1].expression, 1000, 500));
}

static void more_plans_than_an_order_holds_are_refused(void **state)
{
	struct house *h = *state;
	struct customer_plan many[LIMIT_PLANS + 1];
	char ids[LIMIT_PLANS + 1][8];
	struct package_order order;

	for (size_t i = 0; i < LIMIT_PLANS + 1; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "p%02zu", i);
		many[i] = plan_of(ids[i], "sea", "");
	}
	h->w.plans = many;
	h->w.plan_count = LIMIT_PLANS;
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	(void)group_id(h, "", 0, 0);
	assert_int_equal(order_make(&h->g, &h->g.items[0], &h->a, &order), ERR_OK);
	h->w.plan_count++;
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	(void)group_id(h, "", 0, 0);
	assert_int_equal(order_make(&h->g, &h->g.items[0], &h->a, &order), ERR_FULL);
}

// ---------------------------------------------------------------- what is valid

static void a_plan_is_checked_field_by_field(void **state)
{
	struct house *h = *state;
	struct customer_plan good = plan_of("p", "sea", "bar"), p;

	assert_int_equal(customer_plan_check(&h->w, &good), ERR_OK);
#define REFUSED(field, value, error)                                                               \
	p = good;                                                                                  \
	p.field = value;                                                                           \
	assert_int_equal(customer_plan_check(&h->w, &p), error)
	REFUSED(id, "a b", ERR_RANGE);
	REFUSED(expression, "sea and", ERR_FORMAT);
	REFUSED(expression, "sea\nharbour", ERR_FORMAT);
	REFUSED(places, "cellar", ERR_NOT_FOUND);
	REFUSED(order, "random", ERR_RANGE);
	REFUSED(order, "", ERR_RANGE);
	REFUSED(fit, "zoom", ERR_RANGE);
	REFUSED(weight, LIMIT_WEIGHT + 1, ERR_RANGE);
	REFUSED(duration_ms, 999, ERR_RANGE);
	REFUSED(seed, CUSTOMER_SEED_MAX + 1, ERR_RANGE);
	REFUSED(dayparts, "always", ERR_FORMAT);
	REFUSED(orientation, "upright", ERR_RANGE);
	REFUSED(from_unix_ms, -1, ERR_RANGE);
	p = good;
	p.from_unix_ms = p.until_unix_ms = 5;
	assert_int_equal(customer_plan_check(&h->w, &p), ERR_RANGE);
	struct customer c = h->w.customer;
	assert_int_equal(customer_check(&c), ERR_OK);
	c.time_zone = "../etc/passwd";
	assert_int_equal(customer_check(&c), ERR_RANGE);
	c = customer_of("this-is-a-name-longer-than-36-letters");
	assert_int_equal(customer_check(&c), ERR_RANGE);
	struct customer_client screen = client_of("f1", "");
	screen.width_px = 1920;
	assert_int_equal(customer_client_check(&h->w, &screen), ERR_RANGE);
}

// ---------------------------------------------------------------- rows

static enum err client_same(void *ctx, const struct customer_client *c)
{
	const char **list = ctx;

	assert_string_equal(c->client, *list == NULL ? "f2" : *list);
	*list = "f3";
	return ERR_OK;
}

static void customers_are_read_as_they_were_written(void **state)
{
	struct house *h = *state;
	struct db *db = NULL;
	struct customer c = customer_of("inn"), *list = NULL;
	struct customer_whole w;
	struct customer_client f = client_of("f2", "bar"), found;
	struct customer_counts counts;
	const char *owner = NULL, *order = "f2";
	size_t count = 0;

	c.revision = 7;
	c.name = "It's \"the\" inn";
	c.background_rgb = 0x102030;
	c.max_bytes = UINT64_C(1) << 40;
	assert_int_equal(store_open(":memory:", &db), ERR_OK);
	assert_int_equal(schema_migrate(db), ERR_OK);
	assert_int_equal(rows_customer_put(db, &c), ERR_OK);
	assert_int_equal(rows_place_put(db, "inn", &h->places[1]), ERR_OK);
	assert_int_equal(rows_place_put(db, "inn", &h->places[0]), ERR_OK);
	h->plans[1].min_width_px = 3;
	h->plans[1].weight = 9;
	h->plans[1].paused = true;
	h->plans[1].dayparts = "daily 08:00-09:00";
	assert_int_equal(rows_plan_put(db, "inn", &h->plans[1]), ERR_OK);
	assert_int_equal(rows_plan_put(db, "other", &h->plans[0]), ERR_OK);
	assert_int_equal(rows_customer_whole(db, "inn", &h->a, &w), ERR_OK);
	assert_string_equal(w.customer.name, c.name);
	assert_int_equal(w.customer.revision, 7);
	assert_int_equal(w.customer.max_bytes, c.max_bytes);
	assert_int_equal(w.place_count, 2);
	assert_string_equal(w.places[0].id, "bar");
	assert_string_equal(customer_place_find(&w, "bar")->time_zone, "Atlantic/Azores");
	assert_null(customer_place_find(&w, "attic"));
	assert_int_equal(w.plan_count, 1);
	assert_string_equal(w.plans[0].expression, "drink and not wine");
	assert_int_equal(w.plans[0].weight, 9);
	assert_true(w.plans[0].paused);
	assert_string_equal(w.plans[0].dayparts, "daily 08:00-09:00");

	f.width_px = 1920;
	f.height_px = 1080;
	assert_int_equal(rows_customer_client_put(db, "inn", &f), ERR_OK);
	f.client = "f3";
	assert_int_equal(rows_customer_client_put(db, "inn", &f), ERR_OK);
	assert_int_equal(rows_customer_client_find(db, "f2", &h->a, &owner, &found), ERR_OK);
	assert_string_equal(owner, "inn");
	assert_int_equal(found.width_px, 1920);
	assert_int_equal(rows_customer_client_find(db, "f9", &h->a, &owner, &found), ERR_NOT_FOUND);
	assert_int_equal(
		rows_customer_client_each(db, "inn", "", 9, &count, client_same, &order), ERR_OK);
	assert_int_equal(count, 2);
	assert_int_equal(rows_customer_count(db, "inn", &counts), ERR_OK);
	assert_int_equal(counts.clients, 2);
	assert_int_equal(counts.plans, 1);
	c.removed = true;
	assert_int_equal(rows_customer_put(db, &c), ERR_OK);
	assert_int_equal(rows_customer_whole(db, "inn", &h->a, &w), ERR_NOT_FOUND);
	assert_int_equal(rows_customer_list(db, "", 9, &h->a, &list, &count), ERR_OK);
	assert_int_equal(count, 0);
	db_close(db);
}

static void edits_and_orders_are_read_as_they_were_written(void **state)
{
	struct house *h = *state;
	struct db *db = NULL;
	struct customer_edit e = {"inn", "alice.1", "plan-set", "all", 1, 5, "", "{}"}, *edits;
	struct order_row r = {.id = "c.inn.any",
				 .customer = "inn",
				 .publisher = "pub",
				 .seat = "alice.1",
				 .verb = "plan-set",
				 .revision = 3,
				 .body = bytes_of("body", 4),
				 .clients = 2,
				 .answered = 3,
				 .package = {{1}},
				 .matched = 5,
				 .included = 4,
				 .reason = "limit",
				 .warnings = "a\nb"},
			 found, *list;
	size_t count = 0;

	assert_int_equal(store_open(":memory:", &db), ERR_OK);
	assert_int_equal(schema_migrate(db), ERR_OK);
	for (e.revision = 1; e.revision < 4; e.revision++)
		assert_int_equal(rows_customer_edit_put(db, &e), ERR_OK);
	assert_int_equal(rows_customer_edit_list(db, "inn", 3, 9, &h->a, &edits, &count), ERR_OK);
	assert_int_equal(count, 2);
	assert_int_equal(edits[0].revision, 2);
	assert_string_equal(edits[1].after, "{}");
	assert_int_equal(rows_order_put(db, &r), ERR_OK);
	assert_int_equal(rows_order_find(db, "c.inn.any", &h->a, &found), ERR_OK);
	assert_true(bytes_equal(found.body, r.body));
	assert_true(digest_equal(&found.package, &r.package));
	assert_true(digest_is_zero(&found.shown));
	assert_string_equal(found.warnings, "a\nb");
	assert_int_equal(found.included, 4);
	assert_int_equal(rows_order_list(db, "out", "", 9, &h->a, &list, &count), ERR_OK);
	assert_int_equal(count, 0);
	assert_int_equal(rows_order_list(db, NULL, "", 9, &h->a, &list, &count), ERR_OK);
	assert_int_equal(count, 1);
	db_close(db);
}

// ---------------------------------------------------------------- what it costs

#define MANY 10000u
#define HUNDRED 100u

// 10,000 clients at 100 places, 100 plans of which 20 name places: the figure for the record, and
// that it grows with distinct orders in memory and not with clients.
static void orders_of_ten_thousand_clients_follow_in_no_time(void **state)
{
	struct house *h = *state;
	struct customer_plan plans[HUNDRED];
	struct customer_place places[HUNDRED];
	char ids[HUNDRED][8];
	struct timespec from, to;
	char word[24];

	for (size_t i = 0; i < HUNDRED; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "p%02zu", i);
		places[i] = (struct customer_place){ids[i], "", "", ""};
		plans[i] = plan_of(ids[i], "sea", i < 20 ? ids[i] : "");
		plans[i].paused = i % 2;
	}
	h->w = (struct customer_whole){customer_of("big"), places, HUNDRED, plans, HUNDRED};
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from); // of our own work
	assert_int_equal(order_groups_init(&h->g, &h->w, &h->a), ERR_OK);
	for (size_t i = 0; i < MANY; i++)
		(void)group_id(h, ids[i % HUNDRED], i % 3 ? 1920 : 1080, i % 3 ? 1080 : 1920);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	double ms =
		(double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
	print_message("%u clients, %u plans: %zu orders (%s ...) in %.2f ms\n", MANY, HUNDRED,
		h->g.count, screen_word(h->g.items[0].class, word), ms);
	// 20 places that a plan names, and the rest; on two classes of screens.
	assert_int_equal(h->g.count, 2 * 21);
	assert_true(ms < 1000);
}

int main(void)
{
#define WITH_HOUSE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dayparts_are_read_as_people_write_them),
		cmocka_unit_test(more_dayparts_than_a_plan_has_are_refused),
		cmocka_unit_test(a_list_of_places_has_one_form),
		cmocka_unit_test(a_screen_belongs_to_the_smallest_class_that_covers_it),
		cmocka_unit_test(what_the_operator_says_of_a_screen_counts),
		WITH_HOUSE(an_order_is_a_customer_its_plans_a_class_and_a_zone),
		WITH_HOUSE(a_plan_that_holds_everywhere_moves_nobody_to_another_channel),
		WITH_HOUSE(a_plan_may_want_a_screen_that_stands),
		WITH_HOUSE(
			a_least_resolution_is_a_condition_and_an_empty_criterion_matches_nothing),
		WITH_HOUSE(more_plans_than_an_order_holds_are_refused),
		WITH_HOUSE(a_plan_is_checked_field_by_field),
		WITH_HOUSE(customers_are_read_as_they_were_written),
		WITH_HOUSE(edits_and_orders_are_read_as_they_were_written),
		WITH_HOUSE(orders_of_ten_thousand_clients_follow_in_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
