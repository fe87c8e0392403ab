// See own_prefix.h.
#include "server/publisher/own_prefix.h"
#include <stdlib.h>
#include <string.h>

#define OWN_EARLIER UINT32_MAX
#define LEAST_VOTES 64 // naming a run costs 4 bytes
#define HALF (OBJECT_WAVES / 2)
#define VOTED_MAX 40 // runs; the rest is for neighbours
#define DEEP 1       // in barred[]
#define TAKEN 2

enum err own_prefix_open(struct own_prefix *p, int spool, uint64_t size, size_t chunks)
{
	*p = (struct own_prefix){.source.fd = -1};
	buf_init(&p->prefix, OBJECT_BASE_MAX);
	TRY(delta_source_watch(&p->source, spool, size, chunks));
	p->ordinal = calloc(chunks + 1, sizeof *p->ordinal);
	p->barred = calloc(chunks + 1, 1);
	p->source.barred = p->barred;
	return p->ordinal && p->barred ? ERR_OK
				       : err_set(ERR_MEMORY, "no memory for earlier chunks");
}

void own_prefix_close(struct own_prefix *p)
{
	delta_source_close(&p->source);
	free(p->ordinal);
	free(p->barred);
	free(p->on_page);
	free(p->wave);
	buf_fini(&p->prefix);
}

enum err own_prefix_page(struct own_prefix *p, size_t chunks)
{
	for (size_t i = 0; i < p->source.count; i++)
		p->ordinal[i] = OWN_EARLIER;
	memset(p->barred, 0, p->source.count);
	p->page_count = 0;
	p->objects = 0;
	if (chunks <= p->page_cap)
		return ERR_OK;
	free(p->on_page);
	free(p->wave);
	p->on_page = calloc(chunks, sizeof *p->on_page);
	p->wave = calloc(chunks, 1);
	p->page_cap = p->on_page && p->wave ? chunks : 0;
	return p->page_cap ? ERR_OK : err_set(ERR_MEMORY, "no memory for earlier chunks");
}

// ---- names

// Picks as they stand in the prefix: what is named by hash first, then by ordinal.
static uint64_t place_of(const struct own_prefix *p, uint32_t chunk)
{
	return p->ordinal[chunk] == OWN_EARLIER ? chunk : (UINT64_C(1) << 32) + p->ordinal[chunk];
}

static int place_order(const void *a, const void *b, void *ctx)
{
	uint64_t x = place_of(ctx, *(const uint32_t *)a), y = place_of(ctx, *(const uint32_t *)b);

	return x < y ? -1 : x > y;
}

static void run_add(struct object *o, uint32_t ordinal)
{
	uint32_t *last = o->own_run_count ? &o->own_runs[o->own_run_count - 2] : NULL;

	if (last && last[0] + last[1] == ordinal) {
		last[1]++;
		return;
	}
	o->own_runs[o->own_run_count++] = ordinal;
	o->own_runs[o->own_run_count++] = 1;
}

// The picks, in their order, as names in o.
static enum err picks_name(struct own_prefix *p, struct arena *a, struct object *o)
{
	size_t n = p->pick_count;

	o->base_chunks = arena_array(a, n + 1, sizeof *o->base_chunks);
	o->base_sizes = arena_array(a, n + 1, sizeof *o->base_sizes);
	o->own_runs = arena_array(a, 2 * n + 2, sizeof *o->own_runs);
	if (!o->base_chunks || !o->base_sizes || !o->own_runs)
		return err_set(ERR_MEMORY, "no memory for the names of earlier chunks");
	o->base_count = o->own_run_count = 0;
	for (size_t i = 0; i < n; i++) {
		const struct delta_old *c = &p->source.chunks[p->picks[i]];
		uint32_t ordinal = p->ordinal[p->picks[i]];
		if (ordinal != OWN_EARLIER) {
			run_add(o, ordinal);
			continue;
		}
		o->base_sizes[o->base_count] = c->size;
		o->base_chunks[o->base_count++] = c->sha256;
	}
	o->base_size_count = o->base_count;
	return ERR_OK;
}

// The same as bytes, and as a later package knows them.
static enum err picks_join(struct own_prefix *p)
{
	buf_clear(&p->prefix);
	for (size_t i = 0; i < p->pick_count; i++) {
		const struct delta_old *c = &p->source.chunks[p->picks[i]];
		p->names[i] = c->sha256;
		p->sizes[i] = c->size;
		TRY(buf_append(&p->prefix, p->source.map + c->at, c->size));
	}
	return ERR_OK;
}

// ---- choosing

static unsigned wave_limit(const struct own_prefix *p)
{
	return p->objects < HALF ? p->objects : HALF + p->objects % HALF;
}

static void deep_ones_bar(struct own_prefix *p)
{
	unsigned limit = wave_limit(p);

	for (size_t i = 0; i < p->page_count; i++)
		p->barred[p->on_page[i]] = p->wave[i] >= limit ? DEEP : 0;
}

struct own_budget {
	size_t bytes, named, runs, runs_max;
};

// Takes the chunk when there is room for its bytes and its name.
static bool pick_take(struct own_prefix *p, struct own_budget *b, uint32_t chunk)
{
	uint32_t size = p->source.chunks[chunk].size;
	bool earlier = p->ordinal[chunk] == OWN_EARLIER;

	if (p->pick_count == OWN_PICKS || b->bytes + size > OBJECT_BASE_MAX ||
		(earlier && b->named == DELTA_PICKS) || (!earlier && b->runs == b->runs_max))
		return false;
	b->bytes += size;
	b->named += earlier;
	b->runs += !earlier;
	p->barred[chunk] = TAKEN;
	p->picks[p->pick_count++] = chunk;
	return true;
}

// What stands just before the object, as far as there is room. Neighbours make one run.
static void neighbours_take(struct own_prefix *p, struct own_budget *b)
{
	bool joined = false;

	b->runs_max = OBJECT_OWN_RUNS_MAX / 2;
	for (size_t i = p->page_count; i-- > 0;) {
		uint32_t chunk = p->on_page[i];
		if (p->barred[chunk] == 0) {
			b->runs -= joined;
			if (!pick_take(p, b, chunk))
				return;
		}
		joined = p->barred[chunk] == TAKEN;
	}
	for (size_t i = p->source.count; i-- > 0 && b->named < DELTA_PICKS;)
		if (p->ordinal[i] == OWN_EARLIER && !p->barred[i] && !pick_take(p, b, (uint32_t)i))
			return;
}

enum err own_prefix_choose(
	struct own_prefix *p, struct arena *a, struct bytes plain, struct object *o)
{
	struct own_budget b = {.runs_max = VOTED_MAX};
	uint32_t best[OWN_PICKS];

	deep_ones_bar(p);
	p->pick_count = 0;
	size_t n = delta_source_best(&p->source, plain, LEAST_VOTES, best, OWN_PICKS);
	for (size_t i = 0; i < n; i++)
		(void)pick_take(p, &b, best[i]);
	neighbours_take(p, &b);
	for (size_t i = 0; i < p->pick_count; i++)
		p->barred[p->picks[i]] = 0;
	qsort_r(p->picks, p->pick_count, sizeof *p->picks, place_order, p);
	TRY(picks_join(p));
	return picks_name(p, a, o);
}

// ---- objects of earlier packages

bool own_prefix_fits(struct own_prefix *p, const struct known *k, const struct known_object *o,
	const struct digest *pad)
{
	uint64_t last = 0;
	size_t runs = 0;
	unsigned wave = 0;

	if (o->base_count > OWN_PICKS)
		return false;
	for (uint32_t i = 0; i < o->base_count; i++) {
		struct digest chunk = known_name(&k->bases[o->base_first + i].name, pad);
		int64_t at = delta_source_find(&p->source, &chunk);
		if (at < 0)
			return false;
		uint32_t ordinal = p->ordinal[at];
		uint64_t place = place_of(p, (uint32_t)at);
		if (ordinal == OWN_EARLIER && last > UINT32_MAX)
			return false; // what is named by hash stands first
		if (ordinal != OWN_EARLIER) {
			runs += place != last + 1;
			wave = p->wave[ordinal] >= wave ? p->wave[ordinal] + 1u : wave;
		}
		last = place;
		p->picks[i] = (uint32_t)at;
	}
	p->pick_count = o->base_count;
	return wave < OBJECT_WAVES && runs <= OBJECT_OWN_RUNS_MAX / 2;
}

enum err own_prefix_name(struct own_prefix *p, struct arena *a, const struct known *k,
	const struct known_object *o, const struct digest *pad, struct object *out)
{
	if (!own_prefix_fits(p, k, o, pad))
		return err_set(ERR_CORRUPT, "an object lost what it is told with");
	return picks_name(p, a, out);
}

// ---- going on

unsigned own_prefix_wave(const struct own_prefix *p, const struct object *o)
{
	unsigned wave = 0;

	for (size_t i = 0; i + 1 < o->own_run_count; i += 2)
		for (uint32_t c = o->own_runs[i]; c < o->own_runs[i] + o->own_runs[i + 1]; c++)
			if (p->wave[c] >= wave)
				wave = p->wave[c] + 1u;
	return wave;
}

void own_prefix_tell(
	struct own_prefix *p, const struct own_chunk *c, uint32_t ordinal, unsigned wave)
{
	size_t chunk = delta_source_tell(&p->source, &c->ref, c->at);

	p->ordinal[chunk] = ordinal;
	p->on_page[ordinal] = (uint32_t)chunk;
	p->wave[ordinal] = (uint8_t)wave;
	p->page_count = ordinal + 1u;
}

void own_prefix_object_made(struct own_prefix *p)
{
	p->objects++;
}
