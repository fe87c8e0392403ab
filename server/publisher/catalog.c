#include "server/publisher/catalog.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_BUDGET (512u * 1024 * 1024)

void library_init(struct library *l)
{
	*l = (struct library){0};
	arena_init(&l->words, WORDS_BUDGET, 64u * LIMIT_FILES);
}

static void shipped_drop(struct library *l)
{
	for (size_t k = 0; k < SELECTION_FITS; k++) {
		free(l->shipped[k]);
		l->shipped[k] = NULL;
	}
	l->shipped_valid = false;
}

void library_fini(struct library *l)
{
	shipped_drop(l);
	free(l->catalog.images);
	free(l->variants);
	arena_fini(&l->words);
	*l = (struct library){0};
}

// ---- loading

static enum err no_memory(void)
{
	return err_set(ERR_MEMORY, "no memory for the catalog of pictures");
}

struct load {
	struct library *library;
	enum err e;
};

struct criteria_picture image_facts(const struct image *i, const char *const *tags)
{
	return (struct criteria_picture){.title = i->title,
		.licence = i->licence,
		.tags = tags,
		.tag_count = i->tag_count,
		.width_px = i->width,
		.height_px = i->height,
		.weight = i->weight,
		.size_bytes = i->size_bytes,
		.added_unix_ms = i->added_unix_ms,
		.released_unix_ms = i->released_unix_ms,
		.expires_unix_ms = i->expires_unix_ms};
}

static enum err image_fill(struct library *l, const struct image *i, struct catalog_image *out)
{
	const char **tags = arena_array(&l->words, i->tag_count + 1, sizeof *tags);

	*out = (struct catalog_image){
		.sha256 = i->sha256, .format = i->format, .retired_unix_ms = i->retired_unix_ms};
	out->facts = image_facts(i, tags);
	out->facts.title = arena_strdup(&l->words, i->title);
	out->facts.licence = arena_strdup(&l->words, i->licence);
	if (!tags || !out->facts.title || !out->facts.licence)
		return no_memory();
	for (size_t t = 0; t < i->tag_count; t++) {
		tags[t] = arena_strdup(&l->words, i->tags[t]);
		if (!tags[t])
			return no_memory();
	}
	return ERR_OK;
}

static bool image_take(void *ctx, const struct image *i)
{
	struct load *load = ctx;
	struct library *l = load->library;

	if (l->catalog.count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		struct catalog_image *more =
			realloc(l->catalog.images, cap * sizeof *l->catalog.images);
		if (!more) {
			load->e = no_memory();
			return false;
		}
		l->catalog.images = more;
		l->cap = cap;
	}
	load->e = image_fill(l, i, &l->catalog.images[l->catalog.count]);
	l->catalog.count += load->e == ERR_OK;
	return load->e == ERR_OK;
}

static int variant_order(const void *a, const void *b)
{
	const struct variant *x = a, *y = b;
	int c = digest_compare(&x->image, &y->image);

	if (c != 0)
		return c;
	if (x->width != y->width)
		return x->width < y->width ? -1 : 1;
	return x->height < y->height ? -1 : x->height > y->height;
}

static bool variant_take(void *ctx, const struct variant *v)
{
	struct load *load = ctx;
	struct library *l = load->library;

	if (l->variant_count == l->variant_cap) {
		size_t cap = l->variant_cap ? l->variant_cap * 2 : 256;
		struct variant *more = realloc(l->variants, cap * sizeof *more);
		if (!more) {
			load->e = no_memory();
			return false;
		}
		l->variants = more;
		l->variant_cap = cap;
	}
	l->variants[l->variant_count++] = *v;
	return true;
}

static void variants_sort(struct library *l)
{
	if (l->variant_count > 0)
		qsort(l->variants, l->variant_count, sizeof *l->variants, variant_order);
}

enum err library_load(struct library *l, struct store *s)
{
	struct load load = {l, ERR_OK};

	library_fini(l);
	library_init(l);
	enum err e = image_list(s, NULL, 0, image_take, &load);
	if (e == ERR_OK && load.e == ERR_OK)
		e = variant_list(s, variant_take, &load);
	e = e == ERR_OK ? load.e : e;
	variants_sort(l);
	if (e != ERR_OK) {
		library_fini(l);
		library_init(l);
	}
	return e;
}

enum err library_variant_add(struct library *l, const struct variant *v)
{
	struct load load = {l, ERR_OK};

	shipped_drop(l);
	if (variant_take(&load, v))
		variants_sort(l);
	return load.e;
}

// ---- what goes out

static const struct variant *variant_find(
	const struct library *l, const struct digest *image, uint32_t width, uint32_t height)
{
	struct variant key = {.image = *image, .width = width, .height = height};

	return l->variant_count
		       ? bsearch(&key, l->variants, l->variant_count, sizeof key, variant_order)
		       : NULL;
}

static void shipped_fill(struct library *l, const char *fit, struct shipped *out)
{
	for (size_t i = 0; i < l->catalog.count; i++) {
		const struct catalog_image *c = &l->catalog.images[i];
		uint32_t w = 0, h = 0;
		out[i] = (struct shipped){.sha256 = c->sha256,
			.width = c->facts.width_px,
			.height = c->facts.height_px,
			.size_bytes = c->facts.size_bytes};
		if (!variant_size(c->facts.width_px, c->facts.height_px, l->screen_w, l->screen_h,
			    fit, &w, &h))
			continue;
		const struct variant *v = variant_find(l, &c->sha256, w, h);
		if (!v || !digest_equal(&v->sha256, &c->sha256)) {
			out[i].width = w;
			out[i].height = h;
		}
		out[i].wanted = !v;
		out[i].broken = v && digest_is_zero(&v->sha256);
		if (v) {
			out[i].sha256 = v->sha256;
			out[i].size_bytes = v->size_bytes;
		}
	}
}

enum err library_shipped(struct library *l, uint32_t screen_w, uint32_t screen_h,
	const struct shipped *out[SELECTION_FITS])
{
	static const char *const fits[SELECTION_FITS] = {"fit", "fill", "center"};

	if (!l->shipped_valid || l->screen_w != screen_w || l->screen_h != screen_h) {
		shipped_drop(l);
		l->screen_w = screen_w;
		l->screen_h = screen_h;
		for (size_t k = 0; k < SELECTION_FITS; k++) {
			l->shipped[k] = calloc(l->catalog.count + 1, sizeof *l->shipped[k]);
			if (!l->shipped[k]) {
				shipped_drop(l);
				return no_memory();
			}
			shipped_fill(l, fits[k], l->shipped[k]);
		}
		l->shipped_valid = true;
	}
	for (size_t k = 0; k < SELECTION_FITS; k++)
		out[k] = l->shipped[k];
	return ERR_OK;
}

enum err library_find(const struct library *l, const struct digest *image, size_t *at)
{
	for (size_t i = 0; i < l->catalog.count; i++)
		if (digest_equal(&l->catalog.images[i].sha256, image)) {
			*at = i;
			return ERR_OK;
		}
	return err_set(ERR_NOT_FOUND, "there is no image %s", digest_hex(image));
}
