#include "server/order_plan.h"

#include "proto/digest.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---------------------------------------------------------------- screens

static const struct screen classes[] = {
	// landscape, ascending
	{800, 480},
	{1280, 800},
	{1920, 1080},
	{1920, 1200},
	{2560, 1440},
	{3840, 2160},
	{7680, 4320},
};

static const struct screen squares[] = {{800, 800}, {1280, 1280}, {2160, 2160}, {4320, 4320}};

static struct screen covering(const struct screen *list, size_t count, struct screen s)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].width_px >= s.width_px && list[i].height_px >= s.height_px)
			return list[i];
	return (struct screen){0};
}

static struct screen turned(struct screen s)
{
	return (struct screen){s.height_px, s.width_px};
}

struct screen screen_class(struct screen s)
{
	if (!s.width_px || !s.height_px)
		return (struct screen){0};
	if (s.width_px == s.height_px)
		return covering(squares, sizeof(squares) / sizeof(squares[0]), s);
	if (s.width_px > s.height_px)
		return covering(classes, sizeof(classes) / sizeof(classes[0]), s);
	return turned(covering(classes, sizeof(classes) / sizeof(classes[0]), turned(s)));
}

const char *screen_word(struct screen class, char out[24])
{
	if (!class.width_px)
		return "any";
	(void)snprintf(out, 24, "%" PRIu32 "x%" PRIu32, class.width_px, class.height_px);
	return out;
}

const char *screen_orientation(struct screen s)
{
	if (!s.width_px || !s.height_px)
		return "";
	if (s.width_px == s.height_px)
		return "square";
	return s.width_px > s.height_px ? "landscape" : "portrait";
}

struct screen screen_of_client(const struct customer_client *c, struct screen reported)
{
	struct screen s = c->width_px ? (struct screen){c->width_px, c->height_px} : reported;
	const char *stands = screen_orientation(s);
	bool is_told = c->orientation[0] && stands[0] && strcmp(stands, "square") != 0;

	return is_told && strcmp(stands, c->orientation) != 0 ? turned(s) : s;
}

// ---------------------------------------------------------------- groups

static void bit_set(uint64_t *bits, size_t i)
{
	bits[i / 64] |= UINT64_C(1) << i % 64;
}

static bool bit_is_set(const uint64_t *bits, size_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

enum err order_groups_init(struct order_groups *g, const struct customer_whole *w, struct arena *a)
{
	memset(g, 0, sizeof(*g));
	g->of = w;
	g->at = arena_array(a, w->place_count + 1, sizeof(*g->at));
	if (!g->at || w->plan_count > CUSTOMER_PLANS_MAX)
		return err_set(ERR_FULL, "no room for the orders of %s", w->customer.id);
	for (size_t i = 0; i < w->plan_count; i++)
		if (!w->plans[i].places[0])
			bit_set(g->open, i);
	return ERR_OK;
}

static const uint64_t *plans_at(struct order_groups *g, const struct customer_place *place)
{
	const struct customer_whole *w = g->of;
	size_t at = place ? (size_t)(place - w->places) : w->place_count;

	for (size_t i = 0; !g->at[at].known && place && i < w->plan_count; i++)
		if (places_name(w->plans[i].places, place->id))
			bit_set(g->at[at].placed, i);
	g->at[at].known = true;
	return g->at[at].placed;
}

// Of all plans for the place those that may be shown on a screen that stands so.
static void plans_for(
	const struct customer_whole *w, const uint64_t *from, const char *orientation, uint64_t *to)
{
	for (size_t i = 0; i < w->plan_count; i++) {
		const char *wanted = w->plans[i].orientation;

		if (bit_is_set(from, i) && (!wanted[0] || strcmp(wanted, orientation) == 0))
			bit_set(to, i);
	}
}

static bool is_same(const struct order_group *a, const struct order_group *b)
{
	return a->class.width_px == b->class.width_px && a->class.height_px == b->class.height_px &&
	       strcmp(a->time_zone, b->time_zone) == 0 && a->is_own_zone == b->is_own_zone &&
	       memcmp(a->placed, b->placed, sizeof(a->placed)) == 0;
}

static void group_hash(const struct customer_whole *w, const struct order_group *g, char out[13])
{
	struct sha256_stream *s = sha256_new();
	struct digest d;

	if (g->is_own_zone)
		sha256_add(s, g->time_zone, strlen(g->time_zone));
	sha256_add(s, "", 1);
	for (size_t i = 0; i < w->plan_count; i++)
		if (bit_is_set(g->placed, i))
			sha256_add(s, w->plans[i].id, strlen(w->plans[i].id) + 1);
	d = sha256_end(s);
	sha256_free(s);
	hex_encode(d.b, 6, out);
}

static void group_name(const struct customer_whole *w, struct order_group *g)
{
	static const uint64_t none[CUSTOMER_PLANS_MAX / 64];
	bool is_plain = !g->is_own_zone && memcmp(g->placed, none, sizeof(none)) == 0;
	char class[24], hash[13] = "";

	if (!is_plain)
		group_hash(w, g, hash);
	(void)snprintf(g->id, sizeof(g->id), "c.%s.%s%s%s", w->customer.id,
		screen_word(g->class, class), is_plain ? "" : ".", hash);
}

enum err order_group_of(struct order_groups *g, const struct customer_client *c,
	struct screen reported, struct order_group **out)
{
	const struct customer_whole *w = g->of;
	const struct customer_place *place = c->place[0] ? customer_place_find(w, c->place) : NULL;
	const char *own = place ? place->time_zone : "";
	struct order_group one = {.class = screen_class(screen_of_client(c, reported))};

	one.is_own_zone = own[0] && strcmp(own, w->customer.time_zone) != 0;
	one.time_zone = one.is_own_zone ? own : w->customer.time_zone;
	plans_for(w, plans_at(g, place), screen_orientation(one.class), one.placed);
	for (size_t i = 0; i < g->count; i++)
		if (is_same(&g->items[i], &one)) {
			*out = &g->items[i];
			return ERR_OK;
		}
	if (g->count == ORDER_GROUPS_MAX)
		return err_set(ERR_FULL, "%s would need more than %d distinct packages",
			w->customer.id, ORDER_GROUPS_MAX);
	plans_for(w, g->open, screen_orientation(one.class), one.plans);
	for (size_t i = 0; i < sizeof(one.plans) / sizeof(one.plans[0]); i++)
		one.plans[i] |= one.placed[i];
	group_name(w, &one);
	for (size_t i = 0; i < g->count; i++)
		if (strcmp(g->items[i].id, one.id) == 0)
			return err_set(ERR_EXISTS, "two orders would be called %s", one.id);
	g->items[g->count] = one;
	*out = &g->items[g->count++];
	return ERR_OK;
}

// ---------------------------------------------------------------- one order

// The least resolution is a condition of the expression, and an empty one stays empty.
static const char *expression_of(const struct customer_plan *p, struct arena *a)
{
	if (!p->expression[strspn(p->expression, " ")] || (!p->min_width_px && !p->min_height_px))
		return p->expression;
	if (!p->min_height_px)
		return arena_printf(
			a, "(%s) and width >= %" PRIu32, p->expression, p->min_width_px);
	if (!p->min_width_px)
		return arena_printf(
			a, "(%s) and height >= %" PRIu32, p->expression, p->min_height_px);
	return arena_printf(a, "(%s) and width >= %" PRIu32 " and height >= %" PRIu32,
		p->expression, p->min_width_px, p->min_height_px);
}

static enum err part_make(const struct customer_plan *p, struct arena *a, struct plan_part *out)
{
	*out = (struct plan_part){
		.plan = p->id,
		.expression = expression_of(p, a),
		.max_images = p->max_images,
		.max_bytes = p->max_bytes,
		.order = p->order,
		.seed = p->seed,
		.duration_ms = p->duration_ms,
		.fit = p->fit,
		.weight = p->weight,
		.from_unix_ms = p->from_unix_ms,
		.until_unix_ms = p->until_unix_ms,
		.dayparts = arena_array(a, LIMIT_DAYPARTS, sizeof(*out->dayparts)),
	};
	if (!out->expression || !out->dayparts)
		return err_set(ERR_FULL, "no room for an order");
	return dayparts_parse(p->dayparts, out->dayparts, &out->daypart_count);
}

static enum err show_make(
	const struct customer *c, const char *zone, struct arena *a, struct package_order *out)
{
	out->show = arena_alloc(a, sizeof(*out->show));
	out->name = arena_printf(a, "c.%s", c->id);
	if (!out->show || !out->name)
		return err_set(ERR_FULL, "no room for an order");
	*out->show = (struct show_defaults){
		.duration_ms = c->duration_ms,
		.transition_ms = c->transition_ms,
		.fit = c->fit,
		.background_rgb = c->background_rgb,
		.order = c->order,
		.seed = c->seed,
		.time_zone = zone,
	};
	return ERR_OK;
}

enum err order_make(const struct order_groups *g, const struct order_group *group, struct arena *a,
	struct package_order *out)
{
	const struct customer_whole *w = g->of;

	*out = (struct package_order){
		.order = group->id,
		.revision = 1,
		.customer = w->customer.id,
		.screen_width_px = group->class.width_px,
		.screen_height_px = group->class.height_px,
		.max_images = w->customer.max_images,
		.max_bytes = w->customer.max_bytes,
		.parts = arena_array(a, LIMIT_PLANS, sizeof(*out->parts)),
	};
	if (!out->parts)
		return err_set(ERR_FULL, "no room for an order");
	TRY(show_make(&w->customer, group->time_zone, a, out));
	for (size_t i = 0; i < w->plan_count; i++) {
		if (!bit_is_set(group->plans, i) || w->plans[i].paused)
			continue;
		if (out->part_count == LIMIT_PLANS)
			return err_set(ERR_FULL, "more than %d plans would apply to %s",
				LIMIT_PLANS, group->id);
		TRY(part_make(&w->plans[i], a, &out->parts[out->part_count++]));
	}
	return ERR_OK;
}
