#include "server/publisher/show_package.h"

#include "proto/digest.h"
#include "server/publisher/picture.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define WORDS_BUDGET (256u * 1024 * 1024)
#define DURATION_MS 8000 // when the order does not say
#define TRANSITION_MS 800
#define VERSION_DIGITS 12

// ---- names

void slug_make(const char *title, char out[SLUG_MAX + 1])
{
	size_t n = 0;

	for (; *title && n < SLUG_MAX; title++) {
		unsigned char c = (unsigned char)*title;
		if (c < 0x80 && isalnum(c))
			out[n++] = (char)tolower(c);
		else if (n > 0 && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n > 0 && out[n - 1] == '-')
		n--;
	out[n] = 0;
	if (n == 0)
		(void)str_copy(out, SLUG_MAX + 1, "picture");
}

const char *picture_path(
	struct arena *a, size_t at, size_t count, const char *title, uint32_t format)
{
	char slug[SLUG_MAX + 1];

	slug_make(title, slug);
	return arena_printf(a, "%0*zu-%s.%s", count > 9999 ? 6 : 4, at + 1, slug,
		format == PICTURE_PNG ? "png" : "jpg");
}

// ---- making

struct composing {
	const struct package_order *order;
	const struct catalog *catalog;
	const struct shipped *const *shipped;
	const struct selection *selection;
	struct show_package *out;
	uint32_t group_of[LIMIT_PLANS]; // 1-based; 0: the plan has no pictures
};

static enum err no_memory(void)
{
	return err_set(ERR_MEMORY, "no memory for a package");
}

static const char *word(struct arena *a, const char *text)
{
	return arena_strdup(a, text ? text : "");
}

static enum err group_make(struct composing *x, const struct plan_part *p, struct show_group *g)
{
	struct arena *a = &x->out->words;

	*g = (struct show_group){.plan = word(a, p->plan),
		.duration_ms = p->duration_ms,
		.fit = word(a, p->fit),
		.weight = p->weight,
		.from_unix_ms = p->from_unix_ms,
		.until_unix_ms = p->until_unix_ms,
		.dayparts = arena_array(a, p->daypart_count + 1, sizeof *g->dayparts),
		.daypart_count = p->daypart_count};
	if (!g->plan || !g->fit || !g->dayparts)
		return no_memory();
	if (p->daypart_count > 0)
		memcpy(g->dayparts, p->dayparts, p->daypart_count * sizeof *g->dayparts);
	return ERR_OK;
}

static enum err groups_make(struct composing *x)
{
	struct manifest *m = &x->out->info;

	m->groups = arena_array(&x->out->words, x->order->part_count + 1, sizeof *m->groups);
	if (!m->groups)
		return no_memory();
	for (size_t i = 0; i < x->selection->pick_count; i++) {
		uint32_t part = x->selection->picks[i].part;
		if (x->group_of[part] != 0)
			continue;
		TRY(group_make(x, &x->order->parts[part], &m->groups[m->group_count]));
		x->group_of[part] = (uint32_t)++m->group_count;
	}
	return ERR_OK;
}

static enum err show_make(struct composing *x)
{
	const struct show_defaults *s = x->order->show;
	struct arena *a = &x->out->words;
	struct show_defaults *d = arena_alloc(a, sizeof *d);

	if (!d)
		return no_memory();
	*d = s ? *s : (struct show_defaults){.transition_ms = TRANSITION_MS};
	if (d->duration_ms == 0)
		d->duration_ms = DURATION_MS;
	d->fit = word(a, s && s->fit && s->fit[0] ? s->fit : "fit");
	d->order = word(a, s ? s->order : "");
	d->time_zone = word(a, s ? s->time_zone : "");
	x->out->info.show = d;
	return d->fit && d->order && d->time_zone ? ERR_OK : no_memory();
}

static enum err info_make(struct composing *x, const struct pick *k, const struct shipped *f,
	struct picture_info **out)
{
	const struct criteria_picture *p = &x->catalog->images[k->image].facts;
	struct arena *a = &x->out->words;
	struct picture_info *i = arena_alloc(a, sizeof *i);

	if (!i)
		return no_memory();
	*i = (struct picture_info){.width_px = f->width,
		.height_px = f->height,
		.fit = "",
		.title = word(a, p->title),
		.tags = arena_array(a, p->tag_count + 1, sizeof *i->tags),
		.tag_count = p->tag_count,
		.group = x->group_of[k->part],
		.weight = p->weight,
		.from_unix_ms = p->released_unix_ms,
		.until_unix_ms = p->expires_unix_ms};
	if (!i->title || !i->tags)
		return no_memory();
	for (size_t t = 0; t < p->tag_count; t++) {
		i->tags[t] = word(a, p->tags[t]);
		if (!i->tags[t])
			return no_memory();
	}
	*out = i;
	return ERR_OK;
}

static enum err file_make(struct composing *x, size_t at)
{
	const struct pick *k = &x->selection->picks[at];
	const struct shipped *f = &x->shipped[plan_fit_class(x->order, k->part)][k->image];
	const struct catalog_image *i = &x->catalog->images[k->image];
	struct pack_file *file = &x->out->files[at];

	file->image = f->sha256;
	file->size = f->size_bytes;
	file->path = picture_path(
		&x->out->words, at, x->selection->pick_count, i->facts.title, i->format);
	x->out->images[at] = i->sha256;
	return file->path ? info_make(x, k, f, &file->picture) : no_memory();
}

static enum err files_make(struct composing *x)
{
	struct show_package *out = x->out;

	out->file_count = x->selection->pick_count;
	out->files = arena_array(&out->words, out->file_count + 1, sizeof *out->files);
	out->images = arena_array(&out->words, out->file_count + 1, sizeof *out->images);
	if (!out->files || !out->images)
		return no_memory();
	for (size_t i = 0; i < out->file_count; i++)
		TRY(file_make(x, i));
	return ERR_OK;
}

// ---- digest: every field with its length, so that no two contents write the same bytes

static void put(struct sha256_stream *s, const void *data, size_t size)
{
	uint64_t n = size;

	sha256_add(s, &n, sizeof n);
	sha256_add(s, data, size);
}

static void put_text(struct sha256_stream *s, const char *text)
{
	put(s, text, strlen(text));
}

static void put_numbers(struct sha256_stream *s, const uint64_t *numbers, size_t count)
{
	put(s, numbers, count * sizeof *numbers);
}

#define PUT_NUMBERS(s, ...)                                                                        \
	put_numbers(s, (const uint64_t[]){__VA_ARGS__},                                            \
		sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void group_digest(struct sha256_stream *s, const struct show_group *g)
{
	put_text(s, g->plan);
	put_text(s, g->fit);
	PUT_NUMBERS(s, g->duration_ms, g->weight, (uint64_t)g->from_unix_ms,
		(uint64_t)g->until_unix_ms, g->daypart_count);
	for (size_t i = 0; i < g->daypart_count; i++)
		PUT_NUMBERS(s, g->dayparts[i].weekdays, g->dayparts[i].from_minute,
			g->dayparts[i].until_minute);
}

static void file_digest(struct sha256_stream *s, const struct pack_file *f)
{
	const struct picture_info *i = f->picture;

	put_text(s, f->path);
	put(s, f->image.b, sizeof f->image.b);
	put_text(s, i->title);
	PUT_NUMBERS(s, f->size, i->width_px, i->height_px, i->group, i->weight,
		(uint64_t)i->from_unix_ms, (uint64_t)i->until_unix_ms, i->tag_count);
	for (size_t t = 0; t < i->tag_count; t++)
		put_text(s, i->tags[t]);
}

static void content_digest(struct show_package *p)
{
	struct sha256_stream *s = sha256_new();
	const struct show_defaults *d = p->info.show;

	put_text(s, "helio-show 1");
	put_text(s, p->info.name);
	put_text(s, d->fit);
	put_text(s, d->order);
	put_text(s, d->time_zone);
	PUT_NUMBERS(s, d->duration_ms, d->transition_ms, d->background_rgb, d->seed,
		p->info.group_count, p->file_count);
	for (size_t i = 0; i < p->info.group_count; i++)
		group_digest(s, &p->info.groups[i]);
	for (size_t i = 0; i < p->file_count; i++)
		file_digest(s, &p->files[i]);
	p->content = sha256_end(s);
	sha256_free(s);
}

enum err show_package_make(const struct package_order *o, const struct catalog *c,
	const struct shipped *const shipped[SELECTION_FITS], const struct selection *s,
	struct show_package *out)
{
	struct composing x = {
		.order = o, .catalog = c, .shipped = shipped, .selection = s, .out = out};

	*out = (struct show_package){.info = {.kind = PACKAGE_IMAGES,
					     .version = "",
					     .product = "",
					     .hw_class = "",
					     .min_agent = ""}};
	arena_init(&out->words, WORDS_BUDGET, 64u * LIMIT_FILES);
	out->info.name = word(&out->words, o->name);
	if (!out->info.name)
		return no_memory();
	TRY(show_make(&x));
	TRY(groups_make(&x));
	TRY(files_make(&x));
	content_digest(out);
	out->info.version =
		arena_printf(&out->words, "%.*s", VERSION_DIGITS, digest_hex(&out->content));
	return out->info.version ? ERR_OK : no_memory();
}

enum err show_package_seal(struct show_package *p, const struct id16 *key_id)
{
	const struct sha256_part parts[] = {
		{p->content.b, sizeof p->content.b}, {key_id->b, sizeof key_id->b}};

	p->content = sha256_parts(parts, 2);
	p->info.version =
		arena_printf(&p->words, "%.*s", VERSION_DIGITS, digest_hex(&p->content));
	return p->info.version ? ERR_OK : no_memory();
}

void show_package_fini(struct show_package *p)
{
	arena_fini(&p->words);
	*p = (struct show_package){0};
}
