// Selection and what follows from it, as tables of cases: plans, limits, order, time, sizes, why.
#include "helper.h"

#include "server/publisher/picture.h"
#include "server/publisher/show_package.h"

#define DAY (INT64_C(86400000))
#define NOW (INT64_C(20000) * DAY)
#define IMAGES 8

struct world {
	struct catalog_image images[IMAGES];
	struct catalog catalog;
	struct shipped shipped_as[SELECTION_FITS][IMAGES];
	const struct shipped *shipped[SELECTION_FITS];
	struct plan_part parts[3];
	struct package_order order;
	struct selection s;
};

static const char *const tags[IMAGES][3] = {{"sea"}, {"sea", "night"}, {"city"}, {"city", "night"},
	{"sea", "rating=5"}, {"forest"}, {"sea", "city"}, {"sea"}};

// Picture i has i + 1 hundred bytes and came on day i.
static void world_make(struct world *w)
{
	memset(w, 0, sizeof *w);
	for (uint32_t i = 0; i < IMAGES; i++) {
		struct catalog_image *c = &w->images[i];
		size_t n = 0;
		c->sha256.b[0] = (uint8_t)(i * 37 + 1);
		c->format = i % 2 ? PICTURE_PNG : PICTURE_JPEG;
		while (n < 3 && tags[i][n])
			n++;
		c->facts = (struct criteria_picture){.title = "A title",
			.licence = "",
			.tags = tags[i],
			.tag_count = n,
			.width_px = 1920,
			.height_px = 1080,
			.size_bytes = (i + 1) * 100,
			.added_unix_ms = NOW - (IMAGES - i) * DAY};
		for (size_t k = 0; k < SELECTION_FITS; k++)
			w->shipped_as[k][i] = (struct shipped){
				c->sha256, 1920, 1080, c->facts.size_bytes, false, false};
	}
	for (size_t k = 0; k < SELECTION_FITS; k++)
		w->shipped[k] = w->shipped_as[k];
	w->catalog = (struct catalog){w->images, IMAGES};
	w->parts[0] = (struct plan_part){.plan = "one", .expression = "sea", .order = ""};
	w->parts[1] = (struct plan_part){.plan = "two", .expression = "city", .order = ""};
	w->order = (struct package_order){.order = "c.x",
		.revision = 1,
		.customer = "x",
		.name = "x",
		.parts = w->parts,
		.part_count = 1};
}

static void select_now(struct world *w)
{
	selection_fini(&w->s);
	assert_int_equal(
		selection_make(&w->order, &w->catalog, w->shipped, (struct wall){NOW}, &w->s),
		ERR_OK);
}

// Pictures that were picked, as a text of their numbers.
static const char *picked(struct world *w)
{
	static char out[100];
	size_t n = 0;

	select_now(w);
	for (size_t i = 0; i < w->s.pick_count; i++)
		n += (size_t)snprintf(
			out + n, sizeof out - n, "%s%u", n ? " " : "", w->s.picks[i].image);
	out[n] = 0;
	return out;
}

static const char *why_of(struct world *w, size_t image)
{
	static char out[LIMIT_TEXT + 1];

	select_now(w);
	selection_explain(&w->order, &w->catalog, &w->s,
		selection_telling_part(&w->order, &w->s, &w->catalog, image), image, out);
	return out;
}

static void an_expression_takes_what_it_says(void **state)
{
	struct world w;
	static const char *const cases[][2] = {{"sea", "0 1 4 6 7"},
		{"sea and not night", "0 4 6 7"}, {"(sea or city) and night", "1 3"},
		{"rating > 4", "4"}, {"bytes >= 700", "6 7"}, {"*", "0 1 2 3 4 5 6 7"}, {"", ""},
		{"sea and", ""}, {"desert", ""}};

	(void)state;
	world_make(&w);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		w.parts[0].expression = cases[i][0];
		assert_string_equal(picked(&w), cases[i][1]);
	}
	selection_fini(&w.s);
}

static void orders_of_a_plan(void **state)
{
	struct world w;
	char first[100];

	(void)state;
	world_make(&w);
	w.parts[0].order = "newest";
	w.images[1].facts.released_unix_ms = NOW - DAY / 2;
	assert_string_equal(picked(&w), "1 7 6 4 0");
	w.parts[0].order = "weight";
	w.images[6].facts.weight = 9;
	w.images[4].facts.weight = 3;
	assert_string_equal(picked(&w), "6 4 0 1 7");
	w.parts[0].order = "shuffle";
	w.parts[0].expression = "*";
	assert_true(str_copy(first, sizeof first, picked(&w)));
	assert_string_equal(picked(&w), first);
	assert_string_not_equal(first, "0 1 2 3 4 5 6 7");
	w.parts[0].seed = 1;
	assert_string_not_equal(picked(&w), first);
	selection_fini(&w.s);
}

// What is added moves nothing else, so that a device keeps its order and fetches one picture.
static void a_shuffle_keeps_its_order_when_a_picture_goes(void **state)
{
	struct world w;
	char all[100], rest[100] = "";

	(void)state;
	world_make(&w);
	w.parts[0] =
		(struct plan_part){.plan = "one", .expression = "*", .order = "shuffle", .seed = 5};
	assert_true(str_copy(all, sizeof all, picked(&w)));
	for (const char *c = all; *c; c++)
		if (*c != ' ' && *c != '3')
			snprintf(rest + strlen(rest), sizeof rest - strlen(rest), "%s%c",
				rest[0] ? " " : "", *c);
	w.images[3].retired_unix_ms = 1;
	assert_string_equal(picked(&w), rest);
	selection_fini(&w.s);
}

static void limits_of_a_plan(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.parts[0].max_images = 2;
	assert_string_equal(picked(&w), "0 1");
	assert_int_equal(w.s.matched, 5);
	assert_int_equal(w.s.included, 2);
	assert_string_equal(why_of(&w, 4), "plan one: it has as many pictures as it takes");
	w.parts[0].max_images = 0;
	w.parts[0].max_bytes = 900; // 100 + 200 + 500; 700 and 800 do not fit any more
	assert_string_equal(picked(&w), "0 1 4");
	assert_int_equal(w.s.size_bytes, 800);
	w.parts[0].order = "newest";
	assert_string_equal(picked(&w), "7 0"); // 800, then the small one that still fits
	assert_string_equal(why_of(&w, 6), "plan one: there is no room left in the bytes it takes");
	selection_fini(&w.s);
}

static void plans_take_turns_in_a_full_package(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.order.part_count = 2;
	assert_string_equal(picked(&w), "0 1 4 6 7 2 3 6");
	assert_int_equal(w.s.included, 7); // picture 6 stands in both groups and goes out once
	assert_int_equal(w.s.size_bytes, 100 + 200 + 500 + 700 + 800 + 300 + 400);
	w.order.max_images = 3;
	assert_string_equal(picked(&w), "0 1 2");
	assert_string_equal(
		why_of(&w, 3), "plan two: the package has as many pictures as it takes");
	w.order.max_images = 5; // the second plan has three
	assert_string_equal(picked(&w), "0 1 4 2 3");
	selection_fini(&w.s);
}

static void time_takes_pictures_in_and_out(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.images[0].facts.expires_unix_ms = NOW;
	w.images[1].facts.expires_unix_ms = NOW + 3 * DAY;
	w.images[4].facts.released_unix_ms = NOW + SELECTION_AHEAD_MS;
	w.images[6].facts.released_unix_ms = NOW + SELECTION_AHEAD_MS + 2 * DAY;
	w.images[7].retired_unix_ms = NOW - 1;
	assert_string_equal(picked(&w), "1 4");
	assert_int_equal(w.s.change_unix_ms, NOW + 2 * DAY);
	assert_string_equal(why_of(&w, 0), "plan one: the picture expired on 2024-10-04");
	assert_string_equal(why_of(&w, 6), "plan one: the picture is released only on 2024-10-13");
	assert_string_equal(why_of(&w, 7), "plan one: the picture is retired");
	w.parts[0].until_unix_ms = NOW + DAY;
	assert_string_equal(picked(&w), "1 4");
	assert_int_equal(w.s.change_unix_ms, NOW + DAY);
	w.parts[0].until_unix_ms = NOW;
	assert_string_equal(picked(&w), "");
	assert_string_equal(why_of(&w, 1), "plan one: the plan is over");
	assert_int_equal(w.s.change_unix_ms, 0);
	selection_fini(&w.s);
}

static void every_inclusion_is_explained(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.parts[0].expression = "sea and not night";
	w.order.part_count = 2;
	// The term that decided: the last one that had to agree, the first that did not.
	assert_string_equal(why_of(&w, 0), "plan one: `night` does not hold, as it should not");
	assert_string_equal(why_of(&w, 1), "plan one: `night` holds, and is not wanted");
	assert_string_equal(why_of(&w, 5), "plan one: `sea` does not hold");
	assert_string_equal(why_of(&w, 2), "plan two: `city` holds");
	w.parts[0].expression = "";
	w.order.part_count = 1;
	assert_string_equal(why_of(&w, 0), "plan one: it has no expression and so no pictures");
	selection_fini(&w.s);
}

static void warnings_name_what_is_wrong(void **state)
{
	struct world w;

	(void)state;
	world_make(&w);
	w.parts[0].expression = "sea or dessert";
	select_now(&w);
	assert_int_equal(w.s.warning_count, 1);
	assert_string_equal(w.s.warnings[0], "plan one: no picture has the tag dessert");
	w.parts[0].expression = "sea or (";
	select_now(&w);
	assert_int_equal(w.s.warning_count, 1);
	assert_non_null(strstr(w.s.warnings[0], "plan one: column"));
	assert_int_equal(w.s.pick_count, 0);
	selection_fini(&w.s);
}

static void what_does_not_fit_is_said_with_figures(void **state)
{
	struct world w;
	char why[LIMIT_TEXT + 1];

	(void)state;
	world_make(&w);
	select_now(&w);
	assert_true(selection_fits(&w.order, &w.s, UINT64_MAX, why));
	w.order.max_bytes = 2300; // exactly
	assert_true(selection_fits(&w.order, &w.s, UINT64_MAX, why));
	w.order.max_bytes = 2299;
	assert_false(selection_fits(&w.order, &w.s, UINT64_MAX, why));
	assert_string_equal(
		why, "too-large: 5 pictures have 2300 bytes, the order takes 2299: 1 too many");
	w.order.max_bytes = 0;
	assert_false(selection_fits(&w.order, &w.s, 1000, why));
	w.parts[0].expression = "desert";
	select_now(&w);
	assert_false(selection_fits(&w.order, &w.s, UINT64_MAX, why));
	assert_string_equal(why,
		"empty-match: no picture is wanted by any plan; plan one: no picture has "
		"the tag desert");
	selection_fini(&w.s);
}

static void sides_on_a_screen(void **state)
{
	static const struct {
		uint32_t w, h, sw, sh;
		const char *fit;
		bool smaller;
		uint32_t tw, th;
	} cases[] = {{4000, 3000, 1920, 1080, "fit", true, 1440, 1080},
		{4000, 3000, 1920, 1080, "", true, 1440, 1080},
		{4000, 3000, 1920, 1080, "fill", true, 1920, 1440},
		{4000, 3000, 1920, 1080, "stretch", true, 1920, 1440},
		{3000, 4000, 1920, 1080, "fit", true, 810, 1080},
		{3000, 4000, 1080, 1920, "fill", true, 1440, 1920},
		{4000, 3000, 1920, 1080, "center", false, 0, 0},
		{4000, 3000, 0, 0, "fit", false, 0, 0},
		{1920, 1080, 1920, 1080, "fit", false, 0, 0},
		{2000, 1125, 1920, 1080, "fit", false, 0, 0}, // hardly larger
		{800, 600, 1920, 1080, "fit", false, 0, 0},
		{16384, 1, 100, 100, "fit", true, 100, 1},
		{16384, 1, 100, 100, "fill", false, 0, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint32_t tw = 0, th = 0;
		assert_int_equal(variant_size(cases[i].w, cases[i].h, cases[i].sw, cases[i].sh,
					 cases[i].fit, &tw, &th),
			cases[i].smaller);
		assert_int_equal(tw, cases[i].tw);
		assert_int_equal(th, cases[i].th);
	}
}

static struct digest content(struct world *w)
{
	struct show_package p;

	select_now(w);
	assert_int_equal(show_package_make(&w->order, &w->catalog, w->shipped, &w->s, &p), ERR_OK);
	assert_int_equal(strlen(p.info.version), 12);
	assert_memory_equal(p.info.version, digest_hex(&p.content), 12);
	struct digest d = p.content;
	show_package_fini(&p);
	return d;
}

// The version follows from what devices see, and from nothing else.
static void equal_content_is_the_equal_version(void **state)
{
	struct world w;
	struct daypart noon = {0x7f, 720, 780};

	(void)state;
	world_make(&w);
	struct digest first = content(&w), same;
	w.order.order = "c.y";
	w.order.revision = 9;
	w.order.max_images = 50;
	w.images[5].facts.title = "in no package";
	w.parts[0].expression = "sea or bytes < 0";
	same = content(&w);
	assert_true(digest_equal(&first, &same));
#define CHANGES(statement)                                                                         \
	do {                                                                                       \
		statement;                                                                         \
		struct digest other = content(&w);                                                 \
		assert_false(digest_equal(&first, &other));                                        \
		selection_fini(&w.s);                                                              \
		world_make(&w);                                                                    \
	} while (0)
	selection_fini(&w.s);
	world_make(&w);
	CHANGES(w.images[0].facts.title = "Another");
	CHANGES(w.images[0].facts.weight = 2);
	CHANGES(w.images[0].facts.expires_unix_ms = NOW + 1);
	CHANGES(w.images[0].retired_unix_ms = 1);
	CHANGES(w.shipped_as[0][0].sha256.b[5] = 1);
	CHANGES(w.parts[0].duration_ms = 5000);
	CHANGES(w.parts[0].fit = "fill");
	CHANGES(w.parts[0].dayparts = &noon; w.parts[0].daypart_count = 1);
	CHANGES(w.parts[0].plan = "other");
	CHANGES(w.order.name = "y");
	selection_fini(&w.s);
}

static void groups_carry_the_plans(void **state)
{
	struct world w;
	struct show_package p;
	struct daypart noon = {0x1f, 720, 780};
	struct show_defaults show = {0, 100, "", 7, "shuffle", 3, "Europe/Athens"};

	(void)state;
	world_make(&w);
	w.order.part_count = 3;
	w.order.show = &show;
	w.parts[0].expression = "desert"; // no pictures: no group
	w.parts[1].dayparts = &noon;
	w.parts[1].daypart_count = 1;
	w.parts[1].weight = 4;
	w.parts[2] = (struct plan_part){
		.plan = "three", .expression = "forest", .until_unix_ms = NOW + DAY, .fit = "fill"};
	w.images[2].facts.released_unix_ms = NOW - DAY;
	select_now(&w);
	assert_int_equal(show_package_make(&w.order, &w.catalog, w.shipped, &w.s, &p), ERR_OK);
	assert_int_equal(p.info.group_count, 2);
	assert_string_equal(p.info.groups[0].plan, "two");
	assert_int_equal(p.info.groups[0].weight, 4);
	assert_int_equal(p.info.groups[0].daypart_count, 1);
	assert_int_equal(p.info.groups[0].dayparts[0].from_minute, 720);
	assert_string_equal(p.info.groups[1].fit, "fill");
	assert_int_equal(p.info.groups[1].until_unix_ms, NOW + DAY);
	assert_int_equal(p.file_count, 4);
	assert_string_equal(p.files[0].path, "0001-a-title.jpg");
	assert_string_equal(p.files[1].path, "0002-a-title.png");
	assert_int_equal(p.files[0].picture->group, 1);
	assert_int_equal(p.files[0].picture->from_unix_ms, NOW - DAY);
	assert_int_equal(p.files[3].picture->group, 2);
	assert_string_equal(p.info.show->time_zone, "Europe/Athens");
	assert_string_equal(p.info.show->fit, "fit");
	assert_int_equal(p.info.show->duration_ms, 8000);
	show_package_fini(&p);
	selection_fini(&w.s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_expression_takes_what_it_says),
		cmocka_unit_test(orders_of_a_plan),
		cmocka_unit_test(a_shuffle_keeps_its_order_when_a_picture_goes),
		cmocka_unit_test(limits_of_a_plan),
		cmocka_unit_test(plans_take_turns_in_a_full_package),
		cmocka_unit_test(time_takes_pictures_in_and_out),
		cmocka_unit_test(every_inclusion_is_explained),
		cmocka_unit_test(warnings_name_what_is_wrong),
		cmocka_unit_test(what_does_not_fit_is_said_with_figures),
		cmocka_unit_test(sides_on_a_screen),
		cmocka_unit_test(equal_content_is_the_equal_version),
		cmocka_unit_test(groups_carry_the_plans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
