// See rate_share.h.
#include "server/rate_share.h"

#include <stdbool.h>
#include <stdlib.h>

// A link and a level at which it is full: that of the look at it, which only rises while flows stop
// below it. So the top is looked at again before it counts, and the others need not be.
struct rung {
	uint64_t level;
	uint32_t link;
};

struct fill {
	const struct share_link *links;
	struct share_flow *flows;
	uint64_t *left;    // [links] not given yet
	uint32_t *open;    // [links] flows that still rise
	struct rung *heap; // of each link that has a limit and flows, the lowest first
	size_t heap_count;
	uint32_t *first, *of; // flows of link l: of[first[l]] .. of[first[l + 1] - 1]
	uint32_t *by_cap;     // flows, rising; those without a cap last
	size_t next;          // in by_cap
	bool *done;           // [flows]
	size_t rising;
};

static void *array(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size);

	if (!p)
		abort();
	return p;
}

// A flow that names a link twice crosses it once.
static bool crosses_again(const struct share_flow *f, int i)
{
	return i > 0 && f->link[i] == f->link[0];
}

static int cap_compare(const void *a, const void *b, void *flows)
{
	const struct share_flow *x = &((const struct share_flow *)flows)[*(const uint32_t *)a];
	const struct share_flow *y = &((const struct share_flow *)flows)[*(const uint32_t *)b];
	uint64_t p = x->cap ? x->cap : UINT64_MAX, q = y->cap ? y->cap : UINT64_MAX;

	return p < q ? -1 : p > q;
}

static bool rung_is_lower(const struct rung *a, const struct rung *b)
{
	return a->level != b->level ? a->level < b->level : a->link < b->link;
}

static void heap_sink(struct fill *f, size_t at)
{
	for (;;) {
		size_t least = at;

		for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < f->heap_count;
			child++)
			if (rung_is_lower(&f->heap[child], &f->heap[least]))
				least = child;
		if (least == at)
			return;
		struct rung moved = f->heap[at];
		f->heap[at] = f->heap[least];
		f->heap[least] = moved;
		at = least;
	}
}

static void fill_init(struct fill *f, size_t link_count, size_t flow_count)
{
	uint32_t *at;

	f->left = array(link_count, sizeof(*f->left));
	f->open = array(link_count, sizeof(*f->open));
	f->heap = array(link_count, sizeof(*f->heap));
	f->first = array(link_count + 1, sizeof(*f->first));
	f->of = array(flow_count * SHARE_LINKS, sizeof(*f->of));
	f->by_cap = array(flow_count, sizeof(*f->by_cap));
	f->done = array(flow_count, sizeof(*f->done));
	f->rising = flow_count;
	for (size_t i = 0; i < flow_count; i++) {
		f->by_cap[i] = (uint32_t)i;
		for (int k = 0; k < SHARE_LINKS; k++)
			if (!crosses_again(&f->flows[i], k))
				f->open[f->flows[i].link[k]]++;
	}
	for (size_t l = 0; l < link_count; l++) {
		f->left[l] = f->links[l].bytes_per_s;
		f->first[l + 1] = f->first[l] + f->open[l];
		if (f->left[l] && f->open[l])
			f->heap[f->heap_count++] =
				(struct rung){f->left[l] / f->open[l], (uint32_t)l};
	}
	for (size_t i = f->heap_count / 2; i-- > 0;)
		heap_sink(f, i);
	at = array(link_count, sizeof(*at));
	for (size_t i = 0; i < flow_count; i++)
		for (int k = 0; k < SHARE_LINKS; k++)
			if (!crosses_again(&f->flows[i], k)) {
				uint32_t l = f->flows[i].link[k];
				f->of[f->first[l] + at[l]++] = (uint32_t)i;
			}
	free(at);
	qsort_r(f->by_cap, flow_count, sizeof(*f->by_cap), cap_compare, f->flows);
}

static void fill_fini(struct fill *f)
{
	free(f->left);
	free(f->open);
	free(f->heap);
	free(f->first);
	free(f->of);
	free(f->by_cap);
	free(f->done);
}

static void flow_stop(struct fill *f, uint32_t i, uint64_t rate)
{
	struct share_flow *flow = &f->flows[i];

	f->done[i] = true;
	f->rising--;
	flow->rate = rate ? rate : 1;
	for (int k = 0; k < SHARE_LINKS; k++) {
		uint32_t l = flow->link[k];
		if (crosses_again(flow, k))
			continue;
		f->open[l]--;
		f->left[l] -= rate < f->left[l] ? rate : f->left[l];
	}
}

// The lowest level at which a link is full; UINT64_MAX: none limits those that still rise.
static uint64_t level_of(struct fill *f, uint32_t *link)
{
	while (f->heap_count) {
		struct rung *top = &f->heap[0];
		uint32_t l = top->link;

		if (!f->open[l]) {
			*top = f->heap[--f->heap_count];
		} else if (top->level < f->left[l] / f->open[l]) {
			top->level = f->left[l] / f->open[l];
		} else {
			*link = l;
			return top->level;
		}
		heap_sink(f, 0);
	}
	return UINT64_MAX;
}

// Who has its cap below the level stays at it. False: nobody.
static bool caps_stop(struct fill *f, uint64_t level, size_t flow_count)
{
	size_t before = f->rising;

	for (; f->next < flow_count; f->next++) {
		uint32_t i = f->by_cap[f->next];
		if (!f->flows[i].cap || f->flows[i].cap > level)
			break;
		if (!f->done[i])
			flow_stop(f, i, f->flows[i].cap);
	}
	return f->rising < before;
}

void rate_share(const struct share_link *links, size_t link_count, struct share_flow *flows,
	size_t flow_count)
{
	struct fill f = {.links = links, .flows = flows};

	for (size_t i = 0; i < flow_count; i++)
		flows[i].rate = 0;
	fill_init(&f, link_count, flow_count);
	while (f.rising) {
		uint32_t l = 0;
		uint64_t level = level_of(&f, &l);

		if (caps_stop(&f, level, flow_count))
			continue;
		if (level == UINT64_MAX)
			break;
		for (uint32_t at = f.first[l]; at < f.first[l + 1]; at++)
			if (!f.done[f.of[at]])
				flow_stop(&f, f.of[at], level);
	}
	fill_fini(&f);
}
