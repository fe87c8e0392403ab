#include "server/publisher/selection.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORDS_BUDGET (64u * 1024 * 1024)
#define VARIANT_PER_MILLE 900 // a variant of more than nine tenths of the sides is not worth it

// ---- sizes

size_t fit_class(const char *fit)
{
	if (!fit || !fit[0] || strcmp(fit, "fit") == 0)
		return 0;
	return strcmp(fit, "center") == 0 ? 2 : 1;
}

size_t plan_fit_class(const struct package_order *o, size_t part)
{
	const char *fit = o->parts[part].fit;

	if (fit && fit[0])
		return fit_class(fit);
	return fit_class(o->show ? o->show->fit : "");
}

static uint32_t scaled(uint32_t side, uint64_t num, uint64_t den)
{
	uint64_t n = (side * num + den / 2) / den;

	return n ? (uint32_t)n : 1;
}

bool variant_size(uint32_t width, uint32_t height, uint32_t screen_w, uint32_t screen_h,
	const char *fit, uint32_t *to_width, uint32_t *to_height)
{
	size_t class = fit_class(fit);

	if (class == 2 || !screen_w || !screen_h || !width || !height)
		return false;
	// The scale is screen_w / width or screen_h / height: the smaller one to be inside, the
	// larger one to cover.
	bool by_width = ((uint64_t)screen_w * height <= (uint64_t)screen_h * width) == (class == 0);
	uint64_t num = by_width ? screen_w : screen_h, den = by_width ? width : height;
	if (num * 1000 > den * VARIANT_PER_MILLE)
		return false;
	*to_width = scaled(width, num, den);
	*to_height = scaled(height, num, den);
	return true;
}

// ---- one plan

struct candidate {
	uint32_t image;
	uint64_t key; // smaller comes first
};

struct making {
	const struct package_order *order;
	const struct catalog *catalog;
	const struct shipped *const *shipped;
	struct wall now;
	struct selection *out;
	struct candidate *candidates; // of the plan at hand
	size_t count;
	uint32_t *chosen[LIMIT_PLANS]; // images of each plan, in order
	size_t chosen_count[LIMIT_PLANS], taken[LIMIT_PLANS];
	uint8_t *matched;                 // [image]
	uint8_t *counted[SELECTION_FITS]; // [image]: bytes are in size_bytes
	struct criteria criteria;
};

static void warn(struct making *m, const char *plan, const char *sentence)
{
	struct selection *s = m->out;
	char *text =
		arena_printf(&s->words, "plan %s: %.*s", plan, text_most(sentence, 400), sentence);

	if (text && s->warning_count < LIMIT_WARNINGS)
		s->warnings[s->warning_count++] = text;
}

static void change_at(struct making *m, int64_t unix_ms)
{
	int64_t *next = &m->out->change_unix_ms;

	if (unix_ms > m->now.ms && (*next == 0 || unix_ms < *next))
		*next = unix_ms;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t key_of(const struct plan_part *p, const struct catalog_image *i)
{
	const struct criteria_picture *f = &i->facts;
	const char *order = p->order ? p->order : "";
	uint64_t head = 0;

	if (strcmp(order, "newest") == 0)
		return UINT64_MAX -
		       (uint64_t)(f->released_unix_ms ? f->released_unix_ms : f->added_unix_ms);
	if (strcmp(order, "weight") == 0)
		return UINT64_MAX - (f->weight ? f->weight : 1);
	if (strcmp(order, "shuffle") != 0)
		return 0;
	memcpy(&head, i->sha256.b, sizeof head);
	return mix(head + mix(p->seed + UINT64_C(0x9e3779b97f4a7c15)));
}

// The catalog is in order of arrival, which decides between equals.
static int candidate_order(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->image < y->image ? -1 : x->image > y->image;
}

// What time and the store say of a picture that the expression wants.
static enum selection_why availability(struct making *m, const struct catalog_image *i)
{
	const struct criteria_picture *f = &i->facts;

	if (i->retired_unix_ms != 0)
		return WHY_RETIRED;
	if (f->expires_unix_ms != 0 && f->expires_unix_ms <= m->now.ms)
		return WHY_EXPIRED;
	change_at(m, f->expires_unix_ms);
	if (f->released_unix_ms <= m->now.ms + SELECTION_AHEAD_MS)
		return WHY_IN;
	change_at(m, f->released_unix_ms - SELECTION_AHEAD_MS);
	return WHY_NOT_RELEASED;
}

static void part_set_all(struct making *m, size_t part, enum selection_why why)
{
	memset(m->out->why + part * m->catalog->count, (int)why, m->catalog->count);
}

static void part_match(struct making *m, size_t part)
{
	const struct plan_part *p = &m->order->parts[part];
	const struct shipped *shipped = m->shipped[plan_fit_class(m->order, part)];
	uint8_t *why = m->out->why + part * m->catalog->count;

	m->count = 0;
	for (uint32_t i = 0; i < m->catalog->count; i++) {
		const struct catalog_image *image = &m->catalog->images[i];
		why[i] = WHY_NO_MATCH;
		if (!criteria_match(&m->criteria, &image->facts, NULL))
			continue;
		why[i] = (uint8_t)availability(m, image);
		if (why[i] == WHY_IN && shipped[i].broken)
			why[i] = WHY_BROKEN;
		if (why[i] != WHY_IN)
			continue;
		m->matched[i] = 1;
		m->candidates[m->count++] = (struct candidate){i, key_of(p, image)};
	}
	qsort(m->candidates, m->count, sizeof *m->candidates, candidate_order);
}

// Tags that no picture has are most often misspelt.
static void part_warn_tags(struct making *m, const struct plan_part *p)
{
	const char *tag = NULL;
	size_t cursor = 0;
	char text[200];

	while (criteria_next_tag(&m->criteria, &cursor, &tag)) {
		bool found = false;
		for (size_t i = 0; !found && i < m->catalog->count; i++) {
			const struct criteria_picture *f = &m->catalog->images[i].facts;
			for (size_t t = 0; !found && t < f->tag_count; t++)
				found = strcasecmp(f->tags[t], tag) == 0;
		}
		if (found)
			continue;
		text_format(text, sizeof text, "no picture has the tag %s", tag);
		warn(m, p->plan, text);
	}
}

static enum err part_limit(struct making *m, size_t part)
{
	const struct plan_part *p = &m->order->parts[part];
	const struct shipped *shipped = m->shipped[plan_fit_class(m->order, part)];
	uint8_t *why = m->out->why + part * m->catalog->count;
	uint64_t bytes = 0;
	size_t n = 0;

	m->chosen[part] = arena_array(&m->out->words, m->count + 1, sizeof *m->chosen[part]);
	if (!m->chosen[part])
		return err_set(ERR_MEMORY, "no memory to select pictures");
	for (size_t i = 0; i < m->count; i++) {
		uint32_t image = m->candidates[i].image;
		uint64_t size = shipped[image].size_bytes;
		if (p->max_images && n >= p->max_images) {
			why[image] = WHY_PLAN_IMAGES;
		} else if (p->max_bytes && (size > p->max_bytes || bytes > p->max_bytes - size)) {
			why[image] = WHY_PLAN_BYTES;
		} else {
			bytes += size;
			m->chosen[part][n++] = image;
		}
	}
	m->chosen_count[part] = n;
	return ERR_OK;
}

static enum err part_take(struct making *m, size_t part)
{
	const struct plan_part *p = &m->order->parts[part];

	if (p->until_unix_ms != 0 && p->until_unix_ms <= m->now.ms) {
		part_set_all(m, part, WHY_PLAN_OVER);
		return ERR_OK;
	}
	change_at(m, p->until_unix_ms);
	if (criteria_parse(p->expression ? p->expression : "", &m->criteria) != ERR_OK) {
		warn(m, p->plan, err_text());
		part_set_all(m, part, WHY_UNREADABLE);
		return ERR_OK;
	}
	if (m->criteria.step_count == 0) {
		warn(m, p->plan, "it has no expression and so no pictures");
		part_set_all(m, part, WHY_EMPTY);
		return ERR_OK;
	}
	part_match(m, part);
	part_warn_tags(m, p);
	return part_limit(m, part);
}

// ---- the whole

static size_t chosen_total(const struct making *m)
{
	size_t n = 0;

	for (size_t p = 0; p < m->order->part_count; p++)
		n += m->chosen_count[p];
	return n;
}

// Each plan in turn gives its next picture, until the order has as many as it takes.
static void order_limit(struct making *m)
{
	size_t left = chosen_total(m), max = m->order->max_images;
	bool any = true;

	if (max == 0 || max > left)
		max = left;
	for (size_t n = 0; n < max && any;) {
		any = false;
		for (size_t p = 0; p < m->order->part_count && n < max; p++) {
			if (m->taken[p] == m->chosen_count[p])
				continue;
			m->taken[p]++;
			n++;
			any = true;
		}
	}
	for (size_t p = 0; p < m->order->part_count; p++)
		for (size_t i = m->taken[p]; i < m->chosen_count[p]; i++)
			m->out->why[p * m->catalog->count + m->chosen[p][i]] = WHY_ORDER_IMAGES;
}

static void pick_add(struct making *m, size_t part, uint32_t image)
{
	struct selection *s = m->out;
	size_t fit = plan_fit_class(m->order, part);
	const struct shipped *f = &m->shipped[fit][image];
	bool known = false, same = false;

	s->picks[s->pick_count++] = (struct pick){image, (uint32_t)part};
	for (size_t k = 0; k < SELECTION_FITS; k++) {
		known |= m->counted[k][image] != 0;
		same |= m->counted[k][image] &&
			digest_equal(&m->shipped[k][image].sha256, &f->sha256);
	}
	s->included += !known;
	if (!same)
		s->size_bytes += f->size_bytes;
	m->counted[fit][image] = 1;
}

static enum err picks_make(struct making *m)
{
	size_t total = 0;

	order_limit(m);
	for (size_t p = 0; p < m->order->part_count; p++)
		total += m->taken[p];
	if (total > LIMIT_FILES)
		return err_set(
			ERR_FULL, "%zu pictures match, a package takes %d", total, LIMIT_FILES);
	m->out->picks = arena_array(&m->out->words, total + 1, sizeof *m->out->picks);
	if (!m->out->picks)
		return err_set(ERR_MEMORY, "no memory to select pictures");
	for (size_t p = 0; p < m->order->part_count; p++)
		for (size_t i = 0; i < m->taken[p]; i++)
			pick_add(m, p, m->chosen[p][i]);
	for (size_t i = 0; i < m->catalog->count; i++)
		m->out->matched += m->matched[i];
	return ERR_OK;
}

static enum err making_begin(struct making *m)
{
	struct arena *a = &m->out->words;
	size_t n = m->catalog->count + 1;

	m->candidates = arena_array(a, n, sizeof *m->candidates);
	m->out->why = arena_array(a, m->order->part_count + 1, n);
	m->matched = arena_array(a, n, 1);
	for (size_t k = 0; k < SELECTION_FITS; k++)
		m->counted[k] = arena_array(a, n, 1);
	if (!m->candidates || !m->out->why || !m->matched || !m->counted[0] || !m->counted[1] ||
		!m->counted[2])
		return err_set(ERR_MEMORY, "no memory to select pictures");
	return ERR_OK;
}

enum err selection_make(const struct package_order *o, const struct catalog *c,
	const struct shipped *const shipped[SELECTION_FITS], struct wall now, struct selection *out)
{
	SCOPED_FREE struct making *m = calloc(1, sizeof *m);

	*out = (struct selection){0};
	arena_init(&out->words, WORDS_BUDGET, 4096);
	if (!m)
		return err_set(ERR_MEMORY, "no memory to select pictures");
	*m = (struct making){.order = o, .catalog = c, .shipped = shipped, .now = now, .out = out};
	TRY(making_begin(m));
	for (size_t p = 0; p < o->part_count && p < LIMIT_PLANS; p++)
		TRY(part_take(m, p));
	return picks_make(m);
}

void selection_fini(struct selection *s)
{
	arena_fini(&s->words);
	*s = (struct selection){0};
}

// ---- why

static void day_text(int64_t unix_ms, char out[16])
{
	char whole[32];

	wall_format((struct wall){unix_ms}, whole);
	text_format(out, 16, "%.10s", whole);
}

static void term_explain(
	const struct plan_part *p, const struct catalog_image *i, bool in, char out[LIMIT_TEXT + 1])
{
	SCOPED_FREE struct criteria *c = malloc(sizeof *c);
	struct criteria_why why = {0};

	if (!c || criteria_parse(p->expression, c) != ERR_OK) {
		text_format(out, LIMIT_TEXT + 1, "plan %s cannot be read", p->plan);
		return;
	}
	(void)criteria_match(c, &i->facts, &why);
	const char *verdict = why.holds
				      ? (in ? "holds" : "holds, and is not wanted")
				      : (in ? "does not hold, as it should not" : "does not hold");
	text_format(out, LIMIT_TEXT + 1, "plan %s: `%.*s` %s", p->plan,
		(int)text_whole(c->text + why.at, why.size < 300 ? why.size : 300),
		c->text + why.at, verdict);
}

void selection_explain(const struct package_order *o, const struct catalog *c,
	const struct selection *s, size_t part, size_t image, char out[LIMIT_TEXT + 1])
{
	const struct plan_part *p = &o->parts[part];
	const struct catalog_image *i = &c->images[image];
	enum selection_why why = (enum selection_why)s->why[part * c->count + image];
	static const char *const sentences[WHY_COUNT] = {
		[WHY_EMPTY] = "it has no expression and so no pictures",
		[WHY_UNREADABLE] = "its expression cannot be read",
		[WHY_RETIRED] = "the picture is retired",
		[WHY_PLAN_OVER] = "the plan is over",
		[WHY_PLAN_IMAGES] = "it has as many pictures as it takes",
		[WHY_PLAN_BYTES] = "there is no room left in the bytes it takes",
		[WHY_ORDER_IMAGES] = "the package has as many pictures as it takes",
		[WHY_BROKEN] = "the picture cannot be made smaller for these screens"};
	char day[16];

	if (why == WHY_IN || why == WHY_NO_MATCH) {
		term_explain(p, i, why == WHY_IN, out);
		return;
	}
	if (why == WHY_EXPIRED || why == WHY_NOT_RELEASED) {
		day_text(why == WHY_EXPIRED ? i->facts.expires_unix_ms : i->facts.released_unix_ms,
			day);
		text_format(out, LIMIT_TEXT + 1, "plan %s: the picture %s on %s", p->plan,
			why == WHY_EXPIRED ? "expired" : "is released only", day);
		return;
	}
	text_format(out, LIMIT_TEXT + 1, "plan %s: %s", p->plan, sentences[why]);
}

size_t selection_telling_part(const struct package_order *o, const struct selection *s,
	const struct catalog *c, size_t image)
{
	size_t best = 0;
	int best_rank = -1;

	for (size_t p = 0; p < o->part_count; p++) {
		enum selection_why why = (enum selection_why)s->why[p * c->count + image];
		int rank = why == WHY_IN           ? 3
			   : why == WHY_NO_MATCH   ? 1
			   : why <= WHY_UNREADABLE ? 0
						   : 2;
		if (rank > best_rank) {
			best = p;
			best_rank = rank;
		}
	}
	return best;
}

// ---- fitting

bool selection_fits(const struct package_order *o, const struct selection *s, uint64_t max_bytes,
	char why[LIMIT_TEXT + 1])
{
	uint64_t max = o->max_bytes && o->max_bytes < max_bytes ? o->max_bytes : max_bytes;

	why[0] = 0;
	if (s->pick_count == 0) {
		text_format(why, LIMIT_TEXT + 1,
			"empty-match: no picture is wanted by any plan%s%s",
			s->warning_count ? "; " : "", s->warning_count ? s->warnings[0] : "");
		return false;
	}
	if (s->size_bytes <= max)
		return true;
	text_format(why, LIMIT_TEXT + 1,
		"too-large: %u pictures have %llu bytes, the order takes %llu: %llu too many",
		s->included, (unsigned long long)s->size_bytes, (unsigned long long)max,
		(unsigned long long)(s->size_bytes - max));
	return false;
}
