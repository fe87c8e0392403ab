// Making and applying patches; see delta.h.
#include "proto/delta.h"
#include <stdlib.h>
#include <string.h>

#define ANCHOR_MIN 24 // a shorter one is not worth a triple
#define NEAR 8        // an anchor that gains no more bytes than this over where we stand is none
#define TABLE_BITS 21
#define VARINT_MAX 5

// ---- numbers

static size_t varint_put(uint8_t out[VARINT_MAX], uint32_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		out[n++] = (uint8_t)(v | 0x80);
	out[n++] = (uint8_t)v;
	return n;
}

static enum err varint_get(struct bytes *in, uint32_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < VARINT_MAX && i < in->size; i++) {
		v |= (uint64_t)(in->data[i] & 0x7f) << (7 * i);
		if (in->data[i] & 0x80)
			continue;
		if (v > UINT32_MAX)
			break;
		*in = bytes_of(in->data + i + 1, in->size - i - 1);
		*out = (uint32_t)v;
		return ERR_OK;
	}
	return err_set(ERR_FORMAT, "a patch with a number that does not end");
}

static uint32_t zigzag(int64_t v)
{
	return v < 0 ? (uint32_t)(-v * 2 - 1) : (uint32_t)(v * 2);
}

static int64_t unzigzag(uint32_t v)
{
	return v & 1 ? -(int64_t)(v / 2) - 1 : (int64_t)(v / 2);
}

// ---- applying

struct patch_reader {
	struct bytes control, diff, extra, base;
	size_t at; // in the base; at most its size
	uint8_t *out;
	size_t left;
};

static struct bytes bytes_take(struct bytes *from, size_t n)
{
	struct bytes taken = {from->data, n};

	*from = bytes_of(from->data + n, from->size - n);
	return taken;
}

static enum err split(struct bytes patch, struct patch_reader *r)
{
	uint32_t control = 0, diff = 0;

	TRY(varint_get(&patch, &control));
	TRY(varint_get(&patch, &diff));
	if (control > patch.size || diff > patch.size - control)
		return err_set(ERR_FORMAT, "a patch shorter than it says");
	r->control = bytes_take(&patch, control);
	r->diff = bytes_take(&patch, diff);
	r->extra = patch;
	return ERR_OK;
}

static enum err triple_apply(struct patch_reader *r)
{
	uint32_t diff = 0, extra = 0, seek = 0;

	TRY(varint_get(&r->control, &diff));
	TRY(varint_get(&r->control, &extra));
	TRY(varint_get(&r->control, &seek));
	if (diff > r->left || extra > r->left - diff)
		return err_set(ERR_FORMAT, "a patch that yields more than it may");
	if (diff > r->diff.size || diff > r->base.size - r->at || extra > r->extra.size)
		return err_set(ERR_FORMAT, "a patch that reads beyond what it has");
	struct bytes d = bytes_take(&r->diff, diff), e = bytes_take(&r->extra, extra);
	for (size_t i = 0; i < diff; i++)
		r->out[i] = (uint8_t)(r->base.data[r->at + i] + d.data[i]);
	if (extra > 0)
		memcpy(r->out + diff, e.data, extra);
	r->out += diff + extra;
	r->left -= diff + extra;
	int64_t at = (int64_t)(r->at + diff) + unzigzag(seek);
	if (at < 0 || at > (int64_t)r->base.size)
		return err_set(ERR_FORMAT, "a patch that leaves its base");
	r->at = (size_t)at;
	return ERR_OK;
}

enum err delta_apply(struct bytes base, struct bytes patch, uint8_t *out, size_t size)
{
	struct patch_reader r = {.base = base, .out = out, .left = size};

	TRY(split(patch, &r));
	while (r.control.size > 0)
		TRY(triple_apply(&r));
	if (r.left > 0 || r.diff.size > 0 || r.extra.size > 0)
		return err_set(ERR_FORMAT, "a patch that ends too early");
	return ERR_OK;
}

// ---- making

struct delta_maker {
	uint32_t places[1u << TABLE_BITS]; // last place in the base of this gram, + 1
	struct buf control, diff, extra;
};

enum err delta_maker_new(struct delta_maker **out)
{
	struct delta_maker *m = malloc(sizeof *m);

	if (!m)
		return err_set(ERR_MEMORY, "no memory for a delta");
	buf_init(&m->control, DELTA_PATCH_MAX);
	buf_init(&m->diff, DELTA_PATCH_MAX);
	buf_init(&m->extra, DELTA_PATCH_MAX);
	*out = m;
	return ERR_OK;
}

void delta_maker_free(struct delta_maker *m)
{
	if (!m)
		return;
	buf_fini(&m->control);
	buf_fini(&m->diff);
	buf_fini(&m->extra);
	free(m);
}

// Where the making stands: everything before `done` is written, aligned by `offset` (place in the
// base = place in the output + offset); `scan` is where the next anchor is looked for.
struct aligner {
	struct delta_maker *m;
	struct bytes base, plain;
	size_t done, scan;
	int64_t offset;
	size_t found; // place in the base of the anchor at scan
};

static bool in_base(const struct aligner *a, int64_t at)
{
	return at >= 0 && at < (int64_t)a->base.size;
}

static bool same_at(const struct aligner *a, size_t plain, int64_t base)
{
	return in_base(a, base) && a->base.data[base] == a->plain.data[plain];
}

static size_t run_at(const struct aligner *a, size_t plain, int64_t base)
{
	size_t n = 0;

	if (base < 0)
		return 0;
	while (plain + n < a->plain.size && (size_t)base + n < a->base.size &&
		a->plain.data[plain + n] == a->base.data[(size_t)base + n])
		n++;
	return n;
}

// The place of the base that begins like the output at scan, and how far they go together.
static size_t anchor_at(const struct aligner *a, size_t *place)
{
	if (a->scan + DELTA_GRAM >= a->plain.size)
		return 0;
	uint32_t p = a->m->places[delta_gram_slot(a->plain.data + a->scan, TABLE_BITS)];
	if (p == 0)
		return 0;
	*place = p - 1;
	return run_at(a, a->scan, (int64_t)p - 1);
}

static size_t same_as_now(const struct aligner *a, size_t length)
{
	size_t same = 0;

	for (size_t i = 0; i < length; i++)
		same += same_at(a, a->scan + i, (int64_t)(a->scan + i) + a->offset);
	return same;
}

// Moves scan to the next anchor that is worth leaving the present alignment for, or to the end.
static void anchor_next(struct aligner *a)
{
	for (; a->scan < a->plain.size; a->scan++) {
		size_t place = 0, length = anchor_at(a, &place);
		size_t here = run_at(a, a->scan, (int64_t)a->scan + a->offset);
		if (here >= DELTA_GRAM && here >= length) {
			a->scan += here - 1;
			continue;
		}
		if (length < ANCHOR_MIN || (int64_t)place - (int64_t)a->scan == a->offset)
			continue;
		if (same_as_now(a, length) + NEAR < length) {
			a->found = place;
			return;
		}
		a->scan += length - DELTA_GRAM; // as good as it is: nothing to look for in it
	}
}

// How far the present alignment is worth being kept behind `done`: where most bytes more are equal
// than not.
static size_t forward_length(const struct aligner *a)
{
	int64_t score = 0, best = 0;
	size_t length = 0;

	for (size_t i = 0; a->done + i < a->scan; i++) {
		int64_t at = (int64_t)(a->done + i) + a->offset;
		if (!in_base(a, at))
			break;
		score += same_at(a, a->done + i, at) ? 1 : -1;
		if (score > best) {
			best = score;
			length = i + 1;
		}
	}
	return length;
}

// And the new one before the anchor.
static size_t backward_length(const struct aligner *a)
{
	int64_t score = 0, best = 0;
	size_t length = 0;

	if (a->scan >= a->plain.size)
		return 0;
	for (size_t i = 1; i <= a->scan - a->done && i <= a->found; i++) {
		score += a->base.data[a->found - i] == a->plain.data[a->scan - i] ? 1 : -1;
		if (score > best) {
			best = score;
			length = i;
		}
	}
	return length;
}

// Where both claim the same bytes, the border that leaves most of them equal.
static void overlap_split(const struct aligner *a, size_t *forward, size_t *backward)
{
	size_t end = a->done + *forward, begin = a->scan - *backward, border = 0;
	int64_t score = 0, best = 0;

	if (end <= begin)
		return;
	for (size_t i = 0; i < end - begin; i++) {
		score += same_at(a, begin + i, (int64_t)(begin + i) + a->offset);
		score -= same_at(a, begin + i, (int64_t)(a->found - *backward + i));
		if (score > best) {
			best = score;
			border = i + 1;
		}
	}
	*forward -= end - begin - border;
	*backward -= border;
}

static enum err number_put(struct buf *b, uint32_t v)
{
	uint8_t bytes[VARINT_MAX];

	return buf_append(b, bytes, varint_put(bytes, v));
}

static enum err triple_put(struct aligner *a, size_t forward, size_t extra, int64_t seek)
{
	struct delta_maker *m = a->m;

	TRY(number_put(&m->control, (uint32_t)forward));
	TRY(number_put(&m->control, (uint32_t)extra));
	TRY(number_put(&m->control, zigzag(seek)));
	TRY(buf_reserve(&m->diff, forward));
	for (size_t i = 0; i < forward; i++)
		m->diff.data[m->diff.size++] =
			(uint8_t)(a->plain.data[a->done + i] -
				  a->base.data[(size_t)((int64_t)(a->done + i) + a->offset)]);
	return extra > 0 ? buf_append(&m->extra, a->plain.data + a->done + forward, extra) : ERR_OK;
}

static enum err align_all(struct aligner *a)
{
	for (;;) {
		anchor_next(a);
		bool last = a->scan >= a->plain.size;
		if (last)
			a->scan = a->plain.size;
		size_t forward = forward_length(a), backward = backward_length(a);
		overlap_split(a, &forward, &backward);
		int64_t from = (int64_t)(a->done + forward) + a->offset;
		int64_t to = last ? from : (int64_t)(a->found - backward);
		TRY(triple_put(a, forward, a->scan - backward - a->done - forward, to - from));
		if (last)
			return ERR_OK;
		a->done = a->scan - backward;
		a->offset = (int64_t)a->found - (int64_t)a->scan;
	}
}

static enum err patch_write(const struct delta_maker *m, struct buf *patch)
{
	buf_clear(patch);
	TRY(number_put(patch, (uint32_t)m->control.size));
	TRY(number_put(patch, (uint32_t)m->diff.size));
	TRY(buf_append(patch, m->control.data, m->control.size));
	TRY(m->diff.size ? buf_append(patch, m->diff.data, m->diff.size) : ERR_OK);
	TRY(m->extra.size ? buf_append(patch, m->extra.data, m->extra.size) : ERR_OK);
	return patch->size <= DELTA_PATCH_MAX
		       ? ERR_OK
		       : err_set(ERR_FULL, "a patch of %zu bytes", patch->size);
}

enum err delta_make(struct delta_maker *m, struct bytes base, struct bytes plain, struct buf *patch)
{
	struct aligner a = {.m = m, .base = base, .plain = plain};

	if (base.size > INT32_MAX || plain.size > INT32_MAX)
		return err_set(ERR_RANGE, "too many bytes for a delta");
	memset(m->places, 0, sizeof m->places);
	for (size_t i = 0; i + DELTA_GRAM < base.size; i++)
		m->places[delta_gram_slot(base.data + i, TABLE_BITS)] = (uint32_t)i + 1;
	buf_clear(&m->control);
	buf_clear(&m->diff);
	buf_clear(&m->extra);
	TRY(align_all(&a));
	return patch_write(m, patch);
}
