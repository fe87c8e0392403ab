// order-list, order-preview, image-why: what was ordered, what it would be, and why a picture is in
// or out. Nothing is stored.
#include "orders.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "publisher.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ORDER_ARENA (1 << 20)

static void lines_add(cJSON *j, const char *key, const char *lines)
{
	SCOPED_FREE char *copy = strdup(lines);
	cJSON *list = cJSON_AddArrayToObject(j, key);
	char *next = copy;

	while (next && *next)
		cJSON_AddItemToArray(list, cJSON_CreateString(strsep(&next, "\n")));
}

// ---- order-list

static void parts_add(cJSON *j, const struct package_order *o)
{
	cJSON *list = cJSON_AddArrayToObject(j, "plans");

	for (size_t i = 0; i < o->part_count; i++) {
		cJSON *p = cJSON_CreateObject();
		cJSON_AddStringToObject(p, "plan", o->parts[i].plan);
		cJSON_AddStringToObject(p, "expression", o->parts[i].expression);
		cJSON_AddStringToObject(p, "order", o->parts[i].order);
		cJSON_AddItemToArray(list, p);
	}
}

static bool order_put(void *ctx, const struct order_view *v)
{
	cJSON *j = cJSON_CreateObject();

	cJSON_AddStringToObject(j, "order", v->id);
	cJSON_AddNumberToObject(j, "revision", (double)v->revision);
	cJSON_AddBoolToObject(j, "withdrawn", v->withdrawn);
	if (v->order) {
		cJSON_AddStringToObject(j, "customer", v->order->customer);
		cJSON_AddStringToObject(j, "name", v->order->name);
		cJSON_AddNumberToObject(j, "screen_width", v->order->screen_width_px);
		cJSON_AddNumberToObject(j, "screen_height", v->order->screen_height_px);
		parts_add(j, v->order);
	}
	cJSON_AddStringToObject(
		j, "package", digest_is_zero(&v->package) ? "" : digest_hex(&v->package));
	cJSON_AddNumberToObject(j, "matched", v->matched);
	cJSON_AddNumberToObject(j, "included", v->included);
	cJSON_AddNumberToObject(j, "size_bytes", (double)v->size_bytes);
	cJSON_AddStringToObject(j, "reason", v->reason);
	lines_add(j, "warnings", v->warnings);
	cJSON_AddNumberToObject(j, "changed_unix_ms", (double)v->changed_unix_ms);
	cJSON_AddBoolToObject(j, "told", v->told);
	cJSON_AddBoolToObject(j, "busy", v->busy);
	lister_add(ctx, j);
	return true;
}

void verb_order_list(struct publisher *p, struct call *c)
{
	struct lister l;

	lister_init(&l, c, "orders");
	orders_list(p->orders, order_put, &l);
	lister_end(&l, NULL);
}

// ---- order-preview

// As hex digits in the request, or, of any length, as the bytes of a file that came along.
static enum err order_bytes(struct call *c, struct buf *out)
{
	SCOPED_FD int fd = call_take_fd(c);
	const char *hex = call_string(c, "order");
	size_t n = hex ? strlen(hex) : 0;
	struct stat st;

	if (fd >= 0) {
		if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
			st.st_size > LIMIT_DIRECTIVE)
			return err_set(ERR_FORMAT, "the file is no order");
		TRY(buf_reserve(out, (size_t)st.st_size));
		out->size = (size_t)st.st_size;
		return fd_pread_all(fd, out->data, out->size, 0);
	}
	if (n == 0 || n % 2 != 0)
		return err_set(ERR_FORMAT, "order is hex digits");
	TRY(buf_reserve(out, n / 2));
	out->size = n / 2;
	return hex_decode(hex, out->data, n / 2);
}

static enum err order_take(struct call *c, struct arena *a, struct package_order *out)
{
	SCOPED_BUF struct buf bytes;

	buf_init(&bytes, LIMIT_DIRECTIVE);
	TRY(order_bytes(c, &bytes));
	struct bytes kept = arena_copy(a, buf_bytes(&bytes));
	if (!kept.data)
		return err_set(ERR_FULL, "the order is too large");
	return package_order_decode(a, kept, out);
}

// In how many plans it is, for pictures that no plan wants the one that came closest.
static void picture_put(struct lister *l, const struct evaluation *e, size_t image)
{
	const struct catalog *catalog = &e->library->catalog;
	size_t part = selection_telling_part(e->order, &e->selection, catalog, image);
	char why[LIMIT_TEXT + 1] = "there are no plans";
	bool in = false;

	if (e->order->part_count > 0) {
		selection_explain(e->order, catalog, &e->selection, part, image, why);
		in = e->selection.why[part * catalog->count + image] == WHY_IN;
	}
	cJSON *j = cJSON_CreateObject();
	cJSON_AddStringToObject(j, "image", digest_hex(&catalog->images[image].sha256));
	cJSON_AddStringToObject(j, "title", catalog->images[image].facts.title);
	cJSON_AddBoolToObject(j, "in", in);
	cJSON_AddStringToObject(j, "plan", e->order->part_count ? e->order->parts[part].plan : "");
	cJSON_AddStringToObject(j, "why", why);
	lister_add(l, j);
}

// Pictures that are in come first, in the order of showing; then the others.
static void pictures_put(struct lister *l, const struct evaluation *e)
{
	size_t n = e->library->catalog.count;
	SCOPED_FREE uint8_t *said = calloc(1, n + 1);

	if (!said || !e->selection.why)
		return;
	for (size_t i = 0; i < e->selection.pick_count; i++) {
		size_t image = e->selection.picks[i].image;
		if (!said[image])
			picture_put(l, e, image);
		said[image] = 1;
	}
	for (size_t i = 0; i < n; i++)
		if (!said[i])
			picture_put(l, e, i);
}

static cJSON *preview_body(struct publisher *p, const struct evaluation *e)
{
	SCOPED_ARENA struct arena a;
	struct package_order stands;
	struct digest content = {{0}};
	cJSON *body = cJSON_CreateObject();

	arena_init(&a, ORDER_ARENA, 4096);
	if (orders_find(p->orders, e->order->order, &a, &stands, &content) != ERR_OK)
		content = (struct digest){{0}};
	bool would = e->fits && !digest_equal(&content, &e->pack.content);
	cJSON_AddNumberToObject(body, "matched", e->selection.matched);
	cJSON_AddNumberToObject(body, "included", e->selection.included);
	cJSON_AddNumberToObject(body, "size_bytes", (double)e->selection.size_bytes);
	cJSON_AddBoolToObject(body, "size_is_estimate", e->wanted > 0);
	cJSON_AddBoolToObject(body, "package_would_change", would);
	cJSON_AddStringToObject(body, "version", e->fits ? e->pack.info.version : "");
	cJSON_AddStringToObject(body, "reason", e->why_not);
	cJSON *warnings = cJSON_AddArrayToObject(body, "warnings");
	for (size_t i = 0; i < e->selection.warning_count; i++)
		cJSON_AddItemToArray(warnings, cJSON_CreateString(e->selection.warnings[i]));
	return body;
}

void verb_order_preview(struct publisher *p, struct call *c)
{
	SCOPED_ARENA struct arena a;
	struct package_order order;
	struct evaluation e = {0};
	struct lister l;

	arena_init(&a, ORDER_ARENA, 4096);
	enum err done = order_take(c, &a, &order);
	if (done == ERR_OK) {
		done = orders_evaluate(p->orders, &order, &e);
		if (done != ERR_OK)
			evaluation_fini(&e);
	}
	if (done != ERR_OK) {
		publisher_refuse(p, c, done);
		return;
	}
	lister_init(&l, c, "images");
	pictures_put(&l, &e);
	lister_end(&l, preview_body(p, &e));
	evaluation_fini(&e);
}

// ---- image-why

struct why {
	struct publisher *p;
	struct digest image;
	const cJSON *orders; // ids that are asked for; NULL: all
	struct lister list;
	size_t orders_asked;
	enum err e;
};

static bool is_asked(const struct why *w, const char *id)
{
	const cJSON *one = NULL;

	if (!w->orders)
		return true;
	cJSON_ArrayForEach(one, w->orders)
	{
		if (cJSON_IsString(one) && strcmp(one->valuestring, id) == 0)
			return true;
	}
	return false;
}

static enum err why_fill(const struct evaluation *e, size_t image, cJSON *j)
{
	cJSON *plans = cJSON_AddArrayToObject(j, "plans");
	const struct catalog *catalog = &e->library->catalog;
	char why[LIMIT_TEXT + 1];
	bool any = false;

	for (size_t p = 0; p < e->order->part_count && e->selection.why; p++) {
		bool in = e->selection.why[p * catalog->count + image] == WHY_IN;
		cJSON *one = cJSON_CreateObject();
		selection_explain(e->order, catalog, &e->selection, p, image, why);
		cJSON_AddStringToObject(one, "plan", e->order->parts[p].plan);
		cJSON_AddBoolToObject(one, "in", in);
		cJSON_AddStringToObject(one, "why", why);
		cJSON_AddItemToArray(plans, one);
		any |= in;
	}
	cJSON_AddBoolToObject(j, "in", any && e->fits);
	cJSON_AddStringToObject(j, "reason", e->why_not);
	return ERR_OK;
}

static bool why_put(void *ctx, const struct order_view *v)
{
	struct why *w = ctx;
	struct evaluation e;
	size_t image = 0;

	if (!v->order || v->withdrawn || !is_asked(w, v->id))
		return true;
	w->orders_asked++;
	w->e = orders_evaluate(w->p->orders, v->order, &e);
	if (w->e == ERR_OK)
		w->e = library_find(e.library, &w->image, &image);
	if (w->e == ERR_OK) {
		cJSON *j = cJSON_CreateObject();
		cJSON_AddStringToObject(j, "order", v->id);
		cJSON_AddStringToObject(j, "customer", v->order->customer);
		w->e = why_fill(&e, image, j);
		lister_add(&w->list, j);
	}
	evaluation_fini(&e);
	return w->e == ERR_OK;
}

void verb_image_why(struct publisher *p, struct call *c)
{
	struct why w = {.p = p, .orders = cJSON_GetObjectItemCaseSensitive(call_json(c), "orders")};
	struct image i;

	lister_init(&w.list, c, "orders");
	w.e = call_digest(c, "image", &w.image);
	if (w.e == ERR_OK)
		w.e = image_find(&p->store, &w.image, &i);
	if (w.e == ERR_OK)
		orders_list(p->orders, why_put, &w);
	if (w.e == ERR_OK && w.orders && w.orders_asked == 0)
		w.e = err_set(ERR_NOT_FOUND, "none of these orders stands here");
	if (w.e != ERR_OK) {
		buf_fini(&w.list.items);
		publisher_refuse(p, c, w.e);
		return;
	}
	cJSON *body = cJSON_CreateObject();
	cJSON_AddItemToObject(body, "picture", image_json(&i));
	lister_end(&w.list, body);
}
