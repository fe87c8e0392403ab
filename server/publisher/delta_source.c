// See delta_source.h.
#include "delta_source.h"
#include "proto/base/file.h"
#include "proto/delta.h"
#include "proto/digest.h"
#include "spool.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GRAM_BITS 22
#define STEP 8
#define VOTE_MIN 256    // an old chunk costs 37 bytes to name
#define NEIGHBOUR 1000  // votes for the old neighbour of an equal neighbour
#define FOLLOW_LEAST 64 // a longer match is left a gram before its end

// ---- chunks

static size_t slot_of(const struct delta_source *s, const struct digest *d)
{
	return digest_place(d, s->odd, s->slot_count);
}

int64_t delta_source_find(const struct delta_source *s, const struct digest *chunk)
{
	if (s->slot_count == 0)
		return -1;
	for (size_t at = slot_of(s, chunk); s->slots[at] != 0; at = (at + 1) & (s->slot_count - 1))
		if (digest_equal(&s->chunks[s->slots[at] - 1].sha256, chunk))
			return s->slots[at] - 1;
	return -1;
}

static enum err slots_make(struct delta_source *s, size_t count)
{
	s->odd = random_u64() | 1;
	s->slot_count = 1024;
	while (s->slot_count < 2 * count)
		s->slot_count *= 2;
	s->slots = calloc(s->slot_count, sizeof *s->slots);
	s->chunks = calloc(count + 1, sizeof *s->chunks);
	s->cap = count;
	return s->slots && s->chunks ? ERR_OK : err_set(ERR_MEMORY, "no memory for an old package");
}

static enum err bytes_add(struct delta_source *s, struct bytes b, struct delta_old *o)
{
	if (s->size + b.size > DELTA_SOURCE_MAX)
		return err_set(ERR_FULL, "the old package is too large for a delta");
	o->at = s->size;
	o->size = (uint32_t)b.size;
	s->size += b.size;
	return fd_write_all(s->fd, b.data, b.size);
}

// The chunk at s->count has a name and takes its place.
static void slot_take(struct delta_source *s)
{
	size_t at = slot_of(s, &s->chunks[s->count].sha256);

	while (s->slots[at] != 0)
		at = (at + 1) & (s->slot_count - 1);
	s->slots[at] = (uint32_t)++s->count;
}

static enum err chunk_add(struct delta_source *s, const struct chunk_ref *c, struct bytes plain)
{
	if (delta_source_find(s, &c->sha256) >= 0)
		return ERR_OK; // on two pages
	if (s->count == s->cap)
		return err_set(ERR_FORMAT, "an old package has more chunks than it says");
	s->chunks[s->count].sha256 = c->sha256;
	TRY(bytes_add(s, plain, &s->chunks[s->count]));
	slot_take(s);
	return ERR_OK;
}

// ---- reading

static enum err page_chunks_add(struct delta_source *s, struct package_reader *r)
{
	struct bytes plain;

	for (size_t i = 0; i < r->index_page.object_count; i++) {
		const struct object *o = &r->index_page.objects[i];
		const struct chunk_ref *c = r->plan.chunks + o->first_chunk;
		TRY(package_reader_object(r, o, &plain));
		for (uint32_t k = 0; k < o->chunk_count; k++) {
			TRY(chunk_add(s, &c[k], bytes_of(plain.data, c[k].size)));
			plain = bytes_of(plain.data + c[k].size, plain.size - c[k].size);
		}
	}
	return ERR_OK;
}

// Pages lie behind the chunks: nobody votes for them.
static enum err page_add(struct delta_source *s, struct package_reader *r, uint32_t number)
{
	struct delta_old *p = &s->pages[s->page_count++];

	p->sha256 = r->manifest.pages[number].sha256;
	return bytes_add(s, buf_bytes(&r->page_bytes), p);
}

static enum err all_read(struct delta_source *s, struct package_reader *r, _Atomic bool *cancel)
{
	TRY(slots_make(s, r->manifest.chunk_count));
	s->pages = calloc(r->manifest.page_count, sizeof *s->pages);
	if (!s->pages)
		return err_set(ERR_MEMORY, "no memory for an old package");
	for (uint32_t i = 0; i < r->manifest.page_count; i++) {
		if (cancel && *cancel)
			return err_set(ERR_NOT_NOW, "the delta was cancelled");
		TRY(package_reader_page(r, i));
		TRY(page_chunks_add(s, r));
		TRY(page_add(s, r, i));
	}
	return ERR_OK;
}

// ---- grams

static enum err grams_make(struct delta_source *s, uint64_t size)
{
	s->step = STEP;
	while (size / s->step > (UINT32_C(1) << GRAM_BITS))
		s->step *= 2;
	s->grams = calloc((size_t)1 << GRAM_BITS, sizeof *s->grams);
	s->votes = calloc(s->cap + 1, sizeof *s->votes);
	s->touched = calloc(s->cap + 1, sizeof *s->touched);
	return s->grams && s->votes && s->touched
		       ? ERR_OK
		       : err_set(ERR_MEMORY, "no memory for an old package");
}

static void grams_of(struct delta_source *s, const struct delta_old *c)
{
	uint64_t at = (c->at + s->step - 1) / s->step * s->step;

	for (; at + DELTA_GRAM <= c->at + c->size; at += s->step)
		s->grams[delta_gram_slot(s->map + at, GRAM_BITS)] = (uint32_t)(at / s->step) + 1;
}

static enum err map_make(struct delta_source *s, int fd, uint64_t size)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

	if (map == MAP_FAILED)
		return err_set_errno("cannot map an old package");
	s->map = map;
	s->map_size = size;
	return ERR_OK;
}

enum err delta_source_open(
	struct delta_source *s, const char *dir, struct package_reader *old, _Atomic bool *cancel)
{
	*s = (struct delta_source){.fd = -1};
	TRY(spool_file(dir, &s->fd));
	TRY(all_read(s, old, cancel));
	if (s->size == 0)
		return err_set(ERR_RANGE, "the old package is empty");
	TRY(map_make(s, s->fd, s->size));
	TRY(grams_make(s, s->size));
	for (size_t i = 0; i < s->count; i++)
		grams_of(s, &s->chunks[i]);
	return ERR_OK;
}

enum err delta_source_watch(struct delta_source *s, int fd, uint64_t size, size_t chunks)
{
	*s = (struct delta_source){.fd = -1};
	if (size == 0 || size > DELTA_SOURCE_MAX)
		return err_set(
			ERR_FULL, "%llu bytes are no source of a delta", (unsigned long long)size);
	TRY(slots_make(s, chunks));
	TRY(map_make(s, fd, size));
	return grams_make(s, size);
}

size_t delta_source_tell(struct delta_source *s, const struct chunk_ref *c, uint64_t at)
{
	int64_t there = delta_source_find(s, &c->sha256);

	if (there >= 0)
		return (size_t)there;
	assert(s->count < s->cap && at >= s->size && at + c->size <= s->map_size);
	s->chunks[s->count] = (struct delta_old){.sha256 = c->sha256, .size = c->size, .at = at};
	grams_of(s, &s->chunks[s->count]);
	s->size = at + c->size;
	slot_take(s);
	return s->count - 1;
}

void delta_source_close(struct delta_source *s)
{
	if (s->map)
		munmap(s->map, s->map_size);
	if (s->fd >= 0)
		close(s->fd);
	free(s->chunks);
	free(s->pages);
	free(s->slots);
	free(s->grams);
	free(s->votes);
	free(s->touched);
	*s = (struct delta_source){.fd = -1};
}

// ---- votes

static void vote(struct delta_source *s, size_t chunk, double weight)
{
	if (s->votes[chunk] == 0)
		s->touched[s->touched_count++] = (uint32_t)chunk;
	s->votes[chunk] += weight;
}

static size_t chunk_at(const struct delta_source *s, uint64_t at)
{
	size_t low = 0, high = s->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (s->chunks[middle].at <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static void vote_span(struct delta_source *s, uint64_t at, size_t length)
{
	for (size_t c = chunk_at(s, at); c < s->count && length > 0; c++) {
		uint64_t here = s->chunks[c].at + s->chunks[c].size - at;
		size_t n = here < length ? (size_t)here : length;
		vote(s, c, (double)n);
		at += n;
		length -= n;
	}
}

static size_t match_length(const struct delta_source *s, struct bytes plain, uint64_t at)
{
	size_t n = 0;

	while (n < plain.size && at + n < s->size && s->map[at + n] == plain.data[n])
		n++;
	return n;
}

static void vote_all(struct delta_source *s, struct bytes plain)
{
	size_t p = 0;

	while (p + DELTA_GRAM <= plain.size) {
		uint32_t q = s->grams[delta_gram_slot(plain.data + p, GRAM_BITS)];
		uint64_t at = q ? (uint64_t)(q - 1) * s->step : 0;
		size_t n = q ? match_length(s, bytes_of(plain.data + p, plain.size - p), at) : 0;
		if (n < DELTA_GRAM) {
			p++;
			continue;
		}
		vote_span(s, at, n);
		p += n > FOLLOW_LEAST ? n - DELTA_GRAM : n;
	}
}

static int vote_order(const void *a, const void *b, void *votes)
{
	double x = ((const double *)votes)[*(const uint32_t *)a];
	double y = ((const double *)votes)[*(const uint32_t *)b];

	if (x != y)
		return x < y ? 1 : -1;
	return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

static int ordinal_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

// Those with most votes first; the votes are forgotten.
static size_t votes_count(struct delta_source *s, double least, uint32_t *picks, size_t max)
{
	size_t n = 0, bytes = 0;

	qsort_r(s->touched, s->touched_count, sizeof *s->touched, vote_order, s->votes);
	for (size_t i = 0; i < s->touched_count && n < max; i++) {
		uint32_t c = s->touched[i];
		if (s->votes[c] < least)
			break;
		if ((s->barred && s->barred[c]) || bytes + s->chunks[c].size > OBJECT_BASE_MAX)
			continue;
		bytes += s->chunks[c].size;
		picks[n++] = c;
	}
	for (size_t i = 0; i < s->touched_count; i++)
		s->votes[s->touched[i]] = 0;
	s->touched_count = 0;
	return n;
}

size_t delta_source_best(
	struct delta_source *s, struct bytes plain, double least, uint32_t *picks, size_t max)
{
	vote_all(s, plain);
	return votes_count(s, least, picks, max);
}

size_t delta_source_pick(struct delta_source *s, struct bytes plain, int64_t before, int64_t after,
	uint32_t picks[DELTA_PICKS])
{
	vote_all(s, plain);
	if (before >= 0 && (size_t)before + 1 < s->count)
		vote(s, (size_t)before + 1, NEIGHBOUR);
	if (after > 0)
		vote(s, (size_t)after - 1, NEIGHBOUR);
	size_t n = votes_count(s, VOTE_MIN, picks, DELTA_PICKS);
	qsort(picks, n, sizeof *picks, ordinal_order);
	return n;
}
