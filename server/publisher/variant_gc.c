// Which sizes of pictures somebody still has a screen for; the others are collected. What lies on
// brokers and media is made of objects (store.h), never of these files: a size that is collected
// costs the work of making it again when its screens come back, and nothing else.
#include "server/publisher/variant_gc.h"

#include <stdlib.h>
#include <string.h>

#define CLASSES_MAX 4096 // distinct screens and fits of all orders

struct screen_fit {
	uint32_t width, height;
	size_t fit;
};

struct screens {
	struct screen_fit *items;
	size_t count, cap;
	bool failed; // too many: then everything stays
};

static void screen_add(struct screens *s, struct screen_fit one)
{
	for (size_t i = 0; i < s->count; i++)
		if (memcmp(&s->items[i], &one, sizeof one) == 0)
			return;
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct screen_fit *more =
			cap <= CLASSES_MAX ? realloc(s->items, cap * sizeof *more) : NULL;
		s->failed = s->failed || !more;
		if (!more)
			return;
		s->items = more;
		s->cap = cap;
	}
	s->items[s->count++] = one;
}

static bool order_look(void *ctx, const struct order_view *v)
{
	struct screens *s = ctx;

	if (!v->order && !v->withdrawn)
		s->failed = true; // an order that cannot be read may want anything
	for (size_t i = 0; v->order && !v->withdrawn && i < v->order->part_count; i++)
		screen_add(s, (struct screen_fit){.width = v->order->screen_width_px,
				      .height = v->order->screen_height_px,
				      .fit = plan_fit_class(v->order, i)});
	return !s->failed;
}

static bool is_wanted(
	void *ctx, uint32_t image_width, uint32_t image_height, const struct variant *v)
{
	static const char *const fits[SELECTION_FITS] = {"fit", "fill", "center"};
	const struct screens *s = ctx;
	uint32_t w = 0, h = 0;

	for (size_t i = 0; i < s->count; i++)
		if (variant_size(image_width, image_height, s->items[i].width, s->items[i].height,
			    fits[s->items[i].fit], &w, &h) &&
			w == v->width && h == v->height)
			return true;
	return false;
}

enum err variants_unused_collect(struct publisher *p, struct variant_gc *gc)
{
	struct screens s = {0};

	orders_list(p->orders, order_look, &s);
	gc->wanted = is_wanted;
	gc->ctx = &s;
	enum err e = s.failed ? ERR_OK : variant_collect(&p->store, gc);
	free(s.items);
	return e;
}
