// The rules of packages, for readers: manifest root, pages, index. Everything here is pure and
// works on one page at a time. What a page cannot know about its neighbours goes through
// page_carry.
//
// No rule trusts a signature: a signed package that breaks one is refused like any other, because
// the path, the size and the order decide what is written to the disk of a device.
#include "proto/content.h"
#include "proto/base/file.h"
#include "proto/digest.h"
#include "proto/topics.h"
#include <stdlib.h>
#include <string.h>

struct digest package_id(struct bytes manifest_payload)
{
	return sha256(manifest_payload.data, manifest_payload.size);
}

struct chunk_ref page_chunk_ref(const struct page_ref *ref)
{
	return (struct chunk_ref){.sha256 = ref->sha256, .size = ref->size_bytes};
}

struct chunk_ref index_page_chunk_ref(const struct index_page_ref *ref)
{
	return (struct chunk_ref){.sha256 = ref->sha256, .size = ref->size_bytes};
}

// ---- root

// Name and version become folder names and words on a command line.
static bool label_is_safe(const char *s)
{
	return id_is_valid(s) && s[0] != '.' && s[0] != '-';
}

static enum err page_ref_check(const struct page_ref *p, size_t number)
{
	if (p->size_bytes == 0 || p->size_bytes > LIMIT_PAGE)
		return err_set(ERR_RANGE, "page %zu has %u bytes, 1..%d are allowed", number,
			(unsigned)p->size_bytes, LIMIT_PAGE);
	// A chunk costs a page at least its hash, a file at least its path and hash.
	if (p->chunk_count > p->size_bytes / 32 || p->file_count > p->size_bytes / 32)
		return err_set(ERR_RANGE, "page %zu promises more than its size holds", number);
	return ERR_OK;
}

static enum err show_check(const struct show_defaults *show)
{
	static const char *const fits[] = {"", "fit", "fill", "stretch", "center"};

	if (show->duration_ms > 24u * 3600 * 1000 || show->transition_ms > show->duration_ms)
		return err_set(ERR_RANGE, "pictures of %u ms with a transition of %u ms",
			(unsigned)show->duration_ms, (unsigned)show->transition_ms);
	if (show->background_rgb > 0xffffff)
		return err_set(ERR_RANGE, "background is not a colour");
	for (size_t i = 0; i < sizeof fits / sizeof fits[0]; i++)
		if (strcmp(show->fit, fits[i]) == 0)
			return ERR_OK;
	return err_set(ERR_RANGE, "fit is not one of fit, fill, stretch, center");
}

enum err manifest_check(const struct manifest *m)
{
	uint64_t chunks = 0, files = 0;

	if (m->kind != PACKAGE_IMAGES && m->kind != PACKAGE_SOFTWARE)
		return err_set(ERR_RANGE, "package kind %d", (int)m->kind);
	if (!label_is_safe(m->name) || !label_is_safe(m->version))
		return err_set(ERR_FORMAT,
			"name and version of a package are 1..64 of letters, digits, . _ - "
			"and begin with none of . -");
	if (m->page_count == 0 || m->page_count > LIMIT_PAGES)
		return err_set(ERR_RANGE, "package of %zu pages, 1..%d are allowed", m->page_count,
			LIMIT_PAGES);
	for (size_t i = 0; i < m->page_count; i++) {
		TRY(page_ref_check(&m->pages[i], i));
		chunks += m->pages[i].chunk_count;
		files += m->pages[i].file_count;
	}
	if (files != m->file_count || chunks != m->chunk_count)
		return err_set(ERR_FORMAT,
			"the pages hold %llu files and %llu chunks, the root "
			"promises %u and %u",
			(unsigned long long)files, (unsigned long long)chunks,
			(unsigned)m->file_count, (unsigned)m->chunk_count);
	if (files == 0 || files > LIMIT_FILES)
		return err_set(ERR_RANGE, "package of %llu files, 1..%d are allowed",
			(unsigned long long)files, LIMIT_FILES);
	if (m->size_bytes > (uint64_t)INT64_MAX)
		return err_set(
			ERR_RANGE, "package of %llu bytes", (unsigned long long)m->size_bytes);
	return m->show ? show_check(m->show) : ERR_OK;
}

// ---- pages: distinct chunks

// Open addressing from digest to ordinal + 1. At most half full.
struct chunk_set {
	struct chunk_ref *chunks;
	size_t count, max;
	uint32_t *slots;
	size_t mask;
};

static enum err chunk_set_init(struct arena *a, size_t max, struct chunk_set *s)
{
	size_t slots = 16;

	while (slots < max * 2)
		slots *= 2;
	*s = (struct chunk_set){.max = max, .mask = slots - 1};
	s->chunks = arena_array(a, max ? max : 1, sizeof *s->chunks);
	s->slots = arena_array(a, slots, sizeof *s->slots);
	if (!s->chunks || !s->slots)
		return err_set(ERR_FULL, "a page of %zu chunks does not fit into its memory", max);
	return ERR_OK;
}

static size_t slot_of(const struct chunk_set *s, const struct digest *d)
{
	uint32_t h = 0;

	memcpy(&h, d->b, sizeof h);
	return h & s->mask;
}

// Ordinal of the chunk, a new one when it is not there. Two sizes for one hash is a lie.
static enum err chunk_set_put(
	struct chunk_set *s, const struct digest *d, uint32_t size, uint32_t *ordinal)
{
	size_t at = slot_of(s, d);

	for (; s->slots[at] != 0; at = (at + 1) & s->mask) {
		struct chunk_ref *c = &s->chunks[s->slots[at] - 1];
		if (!digest_equal(&c->sha256, d))
			continue;
		if (c->size != size)
			return err_set(
				ERR_FORMAT, "chunk %s is listed with two sizes", digest_short(d));
		*ordinal = s->slots[at] - 1;
		return ERR_OK;
	}
	if (s->count == s->max)
		return err_set(ERR_FORMAT,
			"the page lists more than the %zu chunks its reference promises", s->max);
	s->chunks[s->count] = (struct chunk_ref){.sha256 = *d, .size = size};
	*ordinal = (uint32_t)s->count++;
	s->slots[at] = (uint32_t)s->count;
	return ERR_OK;
}

// ---- pages: paths

// Earlier paths that are prefixes of the last one are kept as bits of their length: enough to find
// `a/b` when `a` is a file, whatever stands between the two.
static void prefix_keep(struct page_carry *c, const char *path)
{
	size_t common = 0;

	while (path[common] != 0 && path[common] == c->path[common])
		common++;
	size_t last = strlen(c->path);
	if (last > 0 && common == last)
		c->prefixes[last / 64] |= UINT64_C(1) << (last % 64);
	for (size_t n = common + 1; n <= last; n++)
		c->prefixes[n / 64] &= ~(UINT64_C(1) << (n % 64));
}

static bool is_below_a_file(const struct page_carry *c, const char *path)
{
	for (size_t n = 1; path[n] != 0; n++)
		if (path[n] == '/' && (c->prefixes[n / 64] >> (n % 64) & 1))
			return true;
	return false;
}

static enum err file_begin(struct page_carry *c, const struct file_entry *f)
{
	if (c->file_done != c->file_size)
		return err_set(ERR_FORMAT, "%s ends %llu bytes short", c->path,
			(unsigned long long)(c->file_size - c->file_done));
	if (!path_is_safe(f->path))
		return err_set(ERR_FORMAT,
			"a path leaves its folder or has other characters than "
			"letters, digits, . _ - in levels that begin with no dot");
	if (strcmp(f->path, c->path) <= 0)
		return err_set(ERR_FORMAT, "%s is not after %s", f->path, c->path);
	prefix_keep(c, f->path);
	if (is_below_a_file(c, f->path))
		return err_set(ERR_FORMAT, "%s lies below a file", f->path);
	if (f->size_bytes > (uint64_t)INT64_MAX)
		return err_set(ERR_RANGE, "%s is too large", f->path);
	if (!str_copy(c->path, sizeof c->path, f->path))
		return err_set(ERR_RANGE, "a path is too long");
	c->executable = f->executable;
	c->file_sha256 = f->sha256;
	c->file_size = f->size_bytes;
	c->file_done = 0;
	c->files++;
	return ERR_OK;
}

// A file that goes on from the page before says so with the same words, once, at the top.
static enum err file_continue(struct page_carry *c, const struct file_entry *f, size_t ordinal)
{
	if (ordinal != 0 || c->file_done == c->file_size)
		return err_set(ERR_FORMAT, "%s continues nothing", f->path);
	if (strcmp(f->path, c->path) != 0 || f->size_bytes != c->file_size ||
		!digest_equal(&f->sha256, &c->file_sha256) || f->executable != c->executable)
		return err_set(ERR_FORMAT, "%s continues as another file", c->path);
	if (f->chunk_count == 0 || f->picture)
		return err_set(ERR_FORMAT, "%s continues with nothing new", c->path);
	return ERR_OK;
}

// ---- pages: chunks of a file

struct page_maker {
	struct chunk_set set;
	struct page_plan *plan;
	struct page_carry *carry;
};

static enum err place_put(
	struct page_maker *p, uint32_t file, const struct digest *d, uint64_t size)
{
	struct page_carry *c = p->carry;
	uint32_t chunk = 0;

	if (size == 0 || size > LIMIT_CHUNK)
		return err_set(ERR_RANGE, "%s has a chunk of %llu bytes, 1..%d are allowed",
			c->path, (unsigned long long)size, LIMIT_CHUNK);
	if (size > c->file_size - c->file_done)
		return err_set(ERR_FORMAT, "the chunks of %s are longer than the file", c->path);
	TRY(chunk_set_put(&p->set, d, (uint32_t)size, &chunk));
	p->plan->places[p->plan->place_count++] =
		(struct chunk_place){.file = file, .chunk = chunk, .offset = c->file_done};
	c->file_done += size;
	c->bytes += size;
	return ERR_OK;
}

// The two short forms: an empty file has no chunk, a file of one chunk does not list it.
static enum err file_short(struct page_maker *p, uint32_t file, const struct file_entry *f)
{
	if (f->size_bytes > 0)
		return place_put(p, file, &f->sha256, f->size_bytes);
	struct digest empty = sha256(NULL, 0);
	if (!digest_equal(&empty, &f->sha256))
		return err_set(ERR_FORMAT, "%s is empty and has the hash of something", f->path);
	return ERR_OK;
}

static enum err file_chunks(struct page_maker *p, uint32_t file, const struct file_entry *f)
{
	if (f->chunk_sha256.size != f->chunk_count * sizeof(struct digest))
		return err_set(ERR_FORMAT, "%s has %zu chunk sizes and %zu bytes of hashes",
			f->path, f->chunk_count, f->chunk_sha256.size);
	if (f->chunk_count == 0)
		return file_short(p, file, f);
	if (!f->continued && f->chunk_count == 1 && f->chunk_size[0] == f->size_bytes)
		return err_set(ERR_FORMAT, "%s lists its only chunk", f->path);
	for (size_t i = 0; i < f->chunk_count; i++) {
		struct digest d;
		memcpy(d.b, f->chunk_sha256.data + i * sizeof d, sizeof d);
		TRY(place_put(p, file, &d, f->chunk_size[i]));
	}
	return ERR_OK;
}

// Places are at most chunk references; counted before anything is allocated.
static size_t place_count_of(const struct manifest_page *page)
{
	size_t n = 0;

	for (size_t i = 0; i < page->file_count; i++)
		n += page->files[i].chunk_count ? page->files[i].chunk_count : 1;
	return n;
}

static enum err page_files(struct page_maker *p, const struct manifest_page *page)
{
	for (size_t i = 0; i < page->file_count; i++) {
		const struct file_entry *f = &page->files[i];
		TRY(f->continued ? file_continue(p->carry, f, i) : file_begin(p->carry, f));
		TRY(file_chunks(p, (uint32_t)i, f));
		if (i + 1 < page->file_count && p->carry->file_done != p->carry->file_size)
			return err_set(
				ERR_FORMAT, "%s ends short in the middle of a page", f->path);
	}
	return ERR_OK;
}

enum err page_plan_make(struct arena *a, const struct manifest_page *page,
	const struct page_ref *ref, struct page_carry *carry, struct page_plan *out)
{
	size_t place_max = place_count_of(page);
	struct page_maker p = {.plan = out, .carry = carry};
	uint64_t files = carry->files;

	TRY(page_ref_check(ref, 0));
	if (page->file_count == 0 || place_max > LIMIT_PAGE)
		return err_set(ERR_RANGE, "a page of %zu files and %zu chunks", page->file_count,
			place_max);
	*out = (struct page_plan){0};
	out->places = arena_array(a, place_max, sizeof *out->places);
	if (!out->places)
		return err_set(
			ERR_FULL, "a page of %zu chunks does not fit into its memory", place_max);
	TRY(chunk_set_init(a, ref->chunk_count, &p.set));
	TRY(page_files(&p, page));
	if (carry->files - files != ref->file_count || p.set.count != ref->chunk_count)
		return err_set(ERR_FORMAT,
			"the page holds %llu files and %zu chunks, its reference promises %u and "
			"%u",
			(unsigned long long)(carry->files - files), p.set.count,
			(unsigned)ref->file_count, (unsigned)ref->chunk_count);
	out->chunks = p.set.chunks;
	out->chunk_count = p.set.count;
	carry->chunks += p.set.count;
	return ERR_OK;
}

enum err page_carry_finish(const struct page_carry *carry, const struct manifest *m)
{
	if (carry->file_done != carry->file_size)
		return err_set(ERR_FORMAT, "%s ends %llu bytes short", carry->path,
			(unsigned long long)(carry->file_size - carry->file_done));
	if (carry->files != m->file_count || carry->bytes != m->size_bytes ||
		carry->chunks != m->chunk_count)
		return err_set(ERR_FORMAT,
			"%llu files, %llu bytes and %llu chunks came; the root promises %u, %llu "
			"and %u",
			(unsigned long long)carry->files, (unsigned long long)carry->bytes,
			(unsigned long long)carry->chunks, (unsigned)m->file_count,
			(unsigned long long)m->size_bytes, (unsigned)m->chunk_count);
	return ERR_OK;
}

// ---- index

bool coding_has_base(enum coding c)
{
	return c == CODING_ZSTD_PREFIX || c == CODING_BSDIFF_ZSTD;
}

// The run of an object: what it yields, and what it says of itself.
static enum err object_base_check(const struct object *o, uint64_t own_bytes)
{
	uint64_t sum = 0;

	if (o->base_count != o->base_size_count)
		return err_set(ERR_FORMAT, "an object has %zu base chunks and %zu base sizes",
			o->base_count, o->base_size_count);
	if (coding_has_base(o->coding) != (o->base_count + o->own_run_count > 0))
		return err_set(ERR_FORMAT, "an object of coding %d has %zu base chunks",
			(int)o->coding, o->base_count);
	for (size_t i = 0; i < o->base_size_count; i++) {
		if (o->base_sizes[i] == 0 || o->base_sizes[i] > LIMIT_CHUNK)
			return err_set(
				ERR_RANGE, "a base chunk of %u bytes", (unsigned)o->base_sizes[i]);
		sum += o->base_sizes[i];
	}
	sum += own_bytes;
	if (sum > OBJECT_BASE_MAX)
		return err_set(ERR_RANGE, "an object needs %llu base bytes, %d are allowed",
			(unsigned long long)sum, OBJECT_BASE_MAX);
	return ERR_OK;
}

static enum err object_raw_fill(struct object *o, const struct chunk_ref *only, uint64_t total)
{
	if (!only) {
		if (o->size_bytes != total || digest_is_zero(&o->sha256))
			return err_set(ERR_FORMAT, "a raw object of %u bytes for chunks of %llu",
				(unsigned)o->size_bytes, (unsigned long long)total);
		return ERR_OK;
	}
	if ((o->size_bytes != 0 && o->size_bytes != only->size) ||
		(!digest_is_zero(&o->sha256) && !digest_equal(&o->sha256, &only->sha256)))
		return err_set(ERR_FORMAT, "a raw object differs from its only chunk");
	o->size_bytes = only->size;
	o->sha256 = only->sha256;
	return ERR_OK;
}

static enum err object_check(struct object *o, const struct chunk_ref *run, uint64_t own_bytes)
{
	uint64_t total = 0;

	if (o->coding != CODING_RAW && o->coding != CODING_ZSTD && !coding_has_base(o->coding))
		return err_set(ERR_UNSUPPORTED,
			"an object has coding %d, which this program does not know",
			(int)o->coding);
	TRY(object_base_check(o, own_bytes));
	for (uint32_t i = 0; i < o->chunk_count; i++)
		total += run[i].size;
	if (total > OBJECT_OUTPUT_MAX)
		return err_set(ERR_RANGE, "an object yields %llu bytes, %d are allowed",
			(unsigned long long)total, OBJECT_OUTPUT_MAX);
	if (o->coding == CODING_RAW)
		return object_raw_fill(o, o->chunk_count == 1 ? run : NULL, total);
	if (o->size_bytes == 0 || o->size_bytes > LIMIT_OBJECT || digest_is_zero(&o->sha256))
		return err_set(ERR_RANGE, "a compressed object of %u bytes, 1..%d are allowed",
			(unsigned)o->size_bytes, LIMIT_OBJECT);
	return ERR_OK;
}

// An object that yields one thing, at this ordinal.
static enum err single_check(struct object *o, uint32_t ordinal, struct chunk_ref yields)
{
	if (!o || o->first_chunk != ordinal || o->chunk_count != 1)
		return err_set(ERR_FORMAT, "the object of page %u yields something else",
			(unsigned)ordinal);
	if (o->own_run_count > 0)
		return err_set(ERR_FORMAT, "the object of page %u rests on chunks of a page",
			(unsigned)ordinal);
	return object_check(o, &yields, 0);
}

enum err index_check(struct index *x, const struct manifest *m, const struct digest *package)
{
	if (!digest_equal(&x->package, package))
		return err_set(ERR_FORMAT, "the index is one of package %s, not of %s",
			digest_short(&x->package), digest_short(package));
	if (x->page_count != m->page_count || x->page_object_count != m->page_count)
		return err_set(ERR_FORMAT,
			"an index of %zu pages and %zu page objects for %zu pages", x->page_count,
			x->page_object_count, m->page_count);
	for (size_t i = 0; i < x->page_count; i++) {
		struct index_page_ref *p = &x->pages[i];
		if (p->size_bytes == 0 || p->size_bytes > LIMIT_INDEX_PAGE)
			return err_set(ERR_RANGE, "index page %zu has %u bytes, 1..%d are allowed",
				i, (unsigned)p->size_bytes, LIMIT_INDEX_PAGE);
		TRY(single_check(&x->page_objects[i], (uint32_t)i, page_chunk_ref(&m->pages[i])));
		TRY(single_check(p->object, 0, index_page_chunk_ref(p)));
	}
	return ERR_OK;
}

// Chunks of this page that the object is told with: all before it, so nothing rests on itself.
static enum err own_runs_check(
	const struct object *o, const struct page_plan *plan, uint64_t *bytes)
{
	*bytes = 0;
	if (o->own_run_count % 2 != 0 || o->own_run_count > OBJECT_OWN_RUNS_MAX)
		return err_set(
			ERR_FORMAT, "an object with %zu numbers of its own runs", o->own_run_count);
	for (size_t i = 0; i < o->own_run_count; i += 2) {
		uint64_t first = o->own_runs[i], end = first + o->own_runs[i + 1];
		if (first == end || end > o->first_chunk)
			return err_set(ERR_FORMAT,
				"the object of chunk %u is told with chunks %llu to %llu, which do "
				"not come before it",
				(unsigned)o->first_chunk, (unsigned long long)first,
				(unsigned long long)end);
		for (; first < end && *bytes <= OBJECT_BASE_MAX; first++)
			*bytes += plan->chunks[first].size;
	}
	return ERR_OK;
}

static unsigned wave_of(const struct object *o, const uint8_t *of_chunk)
{
	unsigned wave = 0;

	for (size_t i = 0; i + 1 < o->own_run_count; i += 2)
		for (uint32_t c = o->own_runs[i]; c < o->own_runs[i] + o->own_runs[i + 1]; c++)
			if (of_chunk[c] >= wave)
				wave = of_chunk[c] + 1u;
	return wave;
}

enum err index_page_waves(
	const struct index_page *page, const struct page_plan *plan, uint8_t *waves)
{
	// Of a chunk that no object yields nothing is known but that the device has it.
	SCOPED_FREE uint8_t *of_chunk = calloc(plan->chunk_count + 1, 1);

	if (!of_chunk)
		return err_set(ERR_MEMORY, "no memory to look through an index");
	for (size_t i = 0; i < page->object_count; i++) {
		const struct object *o = &page->objects[i];
		unsigned wave = wave_of(o, of_chunk);
		if (wave >= OBJECT_WAVES)
			return err_set(
				ERR_RANGE, "an object rests on %u others, one on the other", wave);
		waves[i] = (uint8_t)wave;
		memset(&of_chunk[o->first_chunk], (int)wave, o->chunk_count);
	}
	return ERR_OK;
}

static enum err waves_check(const struct index_page *page, const struct page_plan *plan)
{
	SCOPED_FREE uint8_t *waves = calloc(page->object_count + 1, 1);

	return waves ? index_page_waves(page, plan, waves)
		     : err_set(ERR_MEMORY, "no memory to look through an index");
}

enum err index_page_check(struct index_page *page, const struct page_plan *plan, bool allow_gaps)
{
	uint64_t next = 0, own_bytes;

	for (size_t i = 0; i < page->object_count; i++) {
		struct object *o = &page->objects[i];
		uint64_t end = (uint64_t)o->first_chunk + o->chunk_count;
		if (o->chunk_count == 0 || end > plan->chunk_count)
			return err_set(ERR_RANGE,
				"object %zu yields chunks %u + %u of a page of %zu", i,
				(unsigned)o->first_chunk, (unsigned)o->chunk_count,
				plan->chunk_count);
		if (o->first_chunk < next)
			return err_set(
				ERR_FORMAT, "chunk %u is yielded twice", (unsigned)o->first_chunk);
		if (o->first_chunk > next && !allow_gaps)
			return err_set(
				ERR_FORMAT, "nothing yields chunk %llu", (unsigned long long)next);
		TRY(own_runs_check(o, plan, &own_bytes));
		TRY(object_check(o, plan->chunks + o->first_chunk, own_bytes));
		next = end;
	}
	if (next != plan->chunk_count && !allow_gaps)
		return err_set(ERR_FORMAT, "nothing yields chunk %llu", (unsigned long long)next);
	return waves_check(page, plan);
}
