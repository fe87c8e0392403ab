// See rates.h.
#include "server/rates.h"

#include "proto/base/ratelimit.h"
#include "server/rate_share.h"
#include <stdlib.h>
#include <string.h>

#define uthash_fatal(text) abort()
#include <uthash.h>

#define LINKS_SWEPT 64 // empty sites, at least
#define FLOWS_A_MS 200 // leases that may be worked out in each millisecond between two settlings

struct link_key {
	uint32_t kind; // enum budget_kind
	char name[BUDGET_NAME + 1];
};

// A broker or a site with flows.
struct rates_link {
	struct link_key key;
	uint32_t place;    // in r->links and r->share_links
	uint64_t capacity; // of a broker
	bool is_guarded;   // an operator's budget
	uint32_t flows;
	uint64_t told;  // sum
	uint32_t loose; // flows of which nobody knows how fast they go at most
	UT_hash_handle hh;
};

struct flow {
	uint64_t lease;
	uint32_t place; // in r->flows and r->share_flows
	char client[LIMIT_ID + 1];
	uint64_t own_cap, channel_cap;
	uint64_t told;
	bool is_told;     // it was told something; 0: no limit
	bool is_restored; // that was before a start of ours: it may have been told more
	uint64_t offered; // last, to the server that answers its client
	struct mono told_until;
	UT_hash_handle hh;
};

struct rates {
	struct budgets *budgets;
	uint64_t client_cap;
	struct rates_link *by_name, **links; // links by place
	struct share_link *share_links;
	size_t link_count, link_room, empty_sites;
	struct flow *by_lease, **flows; // flows by place
	struct share_flow *share_flows;
	size_t flow_count, flow_room;
	bool is_dirty;
	struct mono settled;
};

struct rates *rates_new(uint64_t client_cap_bytes_per_s)
{
	struct rates *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->budgets = budgets_new();
	r->client_cap = client_cap_bytes_per_s;
	return r;
}

void rates_clear(struct rates *r)
{
	HASH_CLEAR(hh, r->by_lease);
	HASH_CLEAR(hh, r->by_name);
	while (r->flow_count)
		free(r->flows[--r->flow_count]);
	while (r->link_count)
		free(r->links[--r->link_count]);
	r->empty_sites = 0;
	r->is_dirty = false;
}

void rates_free(struct rates *r)
{
	if (!r)
		return;
	rates_clear(r);
	budgets_free(r->budgets);
	free(r->links);
	free(r->share_links);
	free(r->flows);
	free(r->share_flows);
	free(r);
}

struct budgets *rates_budgets(struct rates *r)
{
	return r->budgets;
}

size_t rates_count(const struct rates *r)
{
	return r->flow_count;
}

// ---------------------------------------------------------------- what budgets say

uint64_t rates_of_broker(const struct rates *r, const char *broker, uint64_t capacity_bytes_per_s)
{
	const struct budget *b = budgets_find(r->budgets, BUDGET_BROKER, broker);

	return rate_lower(capacity_bytes_per_s, b ? b->bytes_per_s : 0);
}

uint32_t rates_fetches(const struct rates *r, const char *broker)
{
	const struct budget *b = budgets_find(r->budgets, BUDGET_BROKER, broker);

	return b ? b->fetches : 0;
}

uint64_t rates_client_cap(const struct rates *r, const char *client)
{
	const struct budget *b = budgets_find(r->budgets, BUDGET_CLIENT, client);

	return b ? b->bytes_per_s : r->client_cap;
}

static void link_measure(struct rates *r, struct rates_link *l)
{
	const struct budget *b =
		budgets_find(r->budgets, (enum budget_kind)l->key.kind, l->key.name);

	l->is_guarded = b && b->bytes_per_s;
	r->share_links[l->place].bytes_per_s = rate_lower(l->capacity, b ? b->bytes_per_s : 0);
}

static void flow_measure(struct rates *r, struct flow *f)
{
	r->share_flows[f->place].cap = rate_lower(f->own_cap, f->channel_cap);
}

void rates_budgets_changed(struct rates *r)
{
	for (size_t i = 0; i < r->link_count; i++)
		link_measure(r, r->links[i]);
	for (size_t i = 0; i < r->flow_count; i++) {
		r->flows[i]->own_cap = rates_client_cap(r, r->flows[i]->client);
		flow_measure(r, r->flows[i]);
	}
	r->is_dirty = true;
}

// ---------------------------------------------------------------- links

static void *grown(void *array, size_t room, size_t size)
{
	void *more = reallocarray(array, room, size);

	if (!more)
		abort();
	return more;
}

static bool link_is_empty(const struct rates_link *l)
{
	return l->flows == 0 && l->key.kind == BUDGET_SITE; // brokers are few and stay
}

static struct rates_link *link_of(
	struct rates *r, enum budget_kind kind, const char *name, uint64_t capacity)
{
	struct link_key key;
	struct rates_link *l;

	memset(&key, 0, sizeof(key));
	key.kind = kind;
	if (!str_copy(key.name, sizeof(key.name), name))
		key.name[0] = 0;
	HASH_FIND(hh, r->by_name, &key, sizeof(key), l);
	if (l) {
		r->empty_sites -= link_is_empty(l); // its first flow follows
		return l;
	}
	if (r->link_count == r->link_room) {
		r->link_room = r->link_room ? 2 * r->link_room : 16;
		r->links = grown(r->links, r->link_room, sizeof(*r->links));
		r->share_links = grown(r->share_links, r->link_room, sizeof(*r->share_links));
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		abort();
	l->key = key;
	l->capacity = capacity;
	l->place = (uint32_t)r->link_count++;
	r->links[l->place] = l;
	HASH_ADD(hh, r->by_name, key, sizeof(l->key), l);
	link_measure(r, l);
	return l;
}

static struct rates_link *flow_link(const struct rates *r, const struct flow *f, int i)
{
	return r->links[r->share_flows[f->place].link[i]];
}

// Sites that nobody fetches for go, many at a time; the others move together.
static void links_sweep(struct rates *r)
{
	uint32_t *to;
	size_t kept = 0;

	if (r->empty_sites < LINKS_SWEPT || r->empty_sites < r->link_count / 2)
		return;
	to = grown(NULL, r->link_count, sizeof(*to));
	for (size_t i = 0; i < r->link_count; i++) {
		struct rates_link *l = r->links[i];

		if (link_is_empty(l)) {
			HASH_DEL(r->by_name, l);
			free(l);
			continue;
		}
		to[i] = l->place = (uint32_t)kept;
		r->links[kept] = l;
		r->share_links[kept++] = r->share_links[i];
	}
	for (size_t i = 0; i < r->flow_count; i++)
		for (int k = 0; k < SHARE_LINKS; k++)
			r->share_flows[i].link[k] = to[r->share_flows[i].link[k]];
	free(to);
	r->link_count = kept;
	r->empty_sites = 0;
}

// ---------------------------------------------------------------- told

// Each link of the flow once.
static int flow_links(
	const struct rates *r, const struct flow *f, struct rates_link *out[SHARE_LINKS])
{
	int n = 0;

	for (int i = 0; i < SHARE_LINKS; i++) {
		out[n] = flow_link(r, f, i);
		n += n == 0 || out[n] != out[0];
	}
	return n;
}

// Of rates 0 is the highest: no limit.
static bool rate_is_above(uint64_t a, uint64_t b)
{
	return a == 0 ? b != 0 : b != 0 && a > b;
}

static bool is_loose(const struct flow *f)
{
	return f->is_told && (f->told == 0 || f->is_restored);
}

static void told_put(struct rates *r, struct flow *f, const struct flow *next)
{
	struct rates_link *l[SHARE_LINKS];
	int n = flow_links(r, f, l);

	for (int i = 0; i < n; i++) {
		l[i]->told += next->told - f->told;
		l[i]->loose += (uint32_t)is_loose(next) - (uint32_t)is_loose(f);
	}
	f->told = next->told;
	f->is_told = next->is_told;
	f->is_restored = next->is_restored;
}

static void told_set(struct rates *r, struct flow *f, uint64_t told)
{
	told_put(r, f, &(struct flow){.told = told, .is_told = true});
}

// What the others were told leaves so much of every guarded budget.
static uint64_t room_for(const struct rates *r, const struct flow *f)
{
	struct rates_link *l[SHARE_LINKS];
	uint64_t room = UINT64_MAX;
	int n = flow_links(r, f, l);

	for (int i = 0; i < n; i++) {
		uint64_t limit = r->share_links[l[i]->place].bytes_per_s;
		uint64_t others = l[i]->told - f->told;
		bool is_known = l[i]->loose == is_loose(f);
		uint64_t left = is_known && others < limit ? limit - others : 0;

		if (l[i]->is_guarded && left < room)
			room = left;
	}
	return room;
}

// Down at once; up as far as there is room.
static uint64_t told_next(const struct rates *r, const struct flow *f, uint64_t due)
{
	uint64_t room = room_for(r, f);

	if (f->is_told && !rate_is_above(due, f->told))
		return due;
	if (room < f->told)
		room = f->told;
	if (due && due <= room)
		return due;
	return room == UINT64_MAX ? 0 : room ? room : 1;
}

// Before all is worked out anew: nobody is due less than the equal part of each link.
static uint64_t part_at_least(const struct rates *r, const struct flow *f)
{
	struct rates_link *l[SHARE_LINKS];
	uint64_t part = r->share_flows[f->place].cap;
	int n = flow_links(r, f, l);

	for (int i = 0; i < n; i++) {
		uint64_t limit = r->share_links[l[i]->place].bytes_per_s;

		if (limit)
			part = rate_lower(part, limit / l[i]->flows ? limit / l[i]->flows : 1);
	}
	return part;
}

// ---------------------------------------------------------------- flows

static struct flow *flow_find(const struct rates *r, uint64_t lease)
{
	struct flow *f;

	HASH_FIND(hh, r->by_lease, &lease, sizeof(lease), f);
	return f;
}

static struct flow *flow_add(struct rates *r, const struct rates_lease *lease)
{
	struct rates_link *l[SHARE_LINKS];
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	if (r->flow_count == r->flow_room) {
		r->flow_room = r->flow_room ? 2 * r->flow_room : 64;
		r->flows = grown(r->flows, r->flow_room, sizeof(*r->flows));
		r->share_flows = grown(r->share_flows, r->flow_room, sizeof(*r->share_flows));
	}
	l[0] = link_of(r, BUDGET_BROKER, lease->broker, lease->capacity_bytes_per_s);
	l[1] = lease->site[0] ? link_of(r, BUDGET_SITE, lease->site, 0) : l[0];
	f->lease = lease->id;
	str_copy(f->client, sizeof(f->client), lease->client);
	f->own_cap = rates_client_cap(r, f->client);
	f->place = (uint32_t)r->flow_count++;
	r->flows[f->place] = f;
	r->share_flows[f->place] =
		(struct share_flow){.link = {l[0]->place, l[1]->place}, .cap = f->own_cap};
	l[0]->flows++;
	l[1]->flows += l[1] != l[0];
	HASH_ADD(hh, r->by_lease, lease, sizeof(f->lease), f);
	return f;
}

uint64_t rates_join(struct rates *r, const struct rates_lease *lease, struct mono now)
{
	struct flow *f = flow_add(r, lease);
	struct flow first = {
		.told = lease->stored, .is_told = true, .is_restored = lease->is_restored};

	r->is_dirty = true;
	r->share_flows[f->place].rate = part_at_least(r, f);
	if (!lease->is_restored)
		first.told = told_next(r, f, r->share_flows[f->place].rate);
	told_put(r, f, &first);
	f->offered = f->told; // by its grant, or by a letter before this start
	f->told_until = mono_add_ms(now, lease->told_for_ms);
	return f->told;
}

void rates_leave(struct rates *r, uint64_t lease)
{
	struct flow *f = flow_find(r, lease);
	struct rates_link *l[SHARE_LINKS];
	uint32_t last = (uint32_t)r->flow_count - 1;
	int n;

	if (!f)
		return;
	told_put(r, f, &(struct flow){0});
	n = flow_links(r, f, l);
	HASH_DEL(r->by_lease, f);
	r->flow_count--;
	if (f->place != last) {
		r->flows[f->place] = r->flows[last];
		r->share_flows[f->place] = r->share_flows[last];
		r->flows[f->place]->place = f->place;
	}
	free(f);
	r->is_dirty = true;
	for (int i = 0; i < n; i++) {
		l[i]->flows--;
		r->empty_sites += link_is_empty(l[i]);
	}
}

bool rates_settle(struct rates *r, struct mono now)
{
	bool was_dirty = r->is_dirty;

	if (was_dirty) {
		links_sweep(r);
		rate_share(r->share_links, r->link_count, r->share_flows, r->flow_count);
		r->is_dirty = false;
		r->settled = now;
	}
	// Who was told more than it is due and is not heard any more does not hold up the others.
	for (size_t i = 0; i < r->flow_count; i++) {
		struct flow *f = r->flows[i];
		uint64_t due = r->share_flows[i].rate;

		if (mono_since_ms(now, f->told_until) <= 0)
			continue;
		if (due && rate_is_above(f->told, due))
			told_set(r, f, due);
		else if (f->is_restored)
			told_set(r, f, f->told);
	}
	return was_dirty;
}

// Its client was heard, whose channel allows it so much: the rate that it is due now.
static uint64_t due_now(struct rates *r, struct flow *f, uint64_t channel_cap, struct mono now)
{
	uint64_t due;

	if (f->channel_cap != channel_cap) {
		f->channel_cap = channel_cap;
		flow_measure(r, f);
		r->is_dirty = true;
	}
	if (r->is_dirty && mono_since_ms(now, r->settled) >= (int64_t)(r->flow_count / FLOWS_A_MS))
		rates_settle(r, now);
	due = r->share_flows[f->place].rate;
	return r->is_dirty ? rate_lower(due, part_at_least(r, f)) : due;
}

uint64_t rates_tell(struct rates *r, uint64_t lease, uint64_t channel_cap, uint32_t told_for_ms,
	struct mono now)
{
	struct flow *f = flow_find(r, lease);

	if (!f)
		return 0;
	told_set(r, f, told_next(r, f, due_now(r, f, channel_cap, now)));
	f->told_until = mono_add_ms(now, told_for_ms);
	f->offered = f->told;
	return f->told;
}

static uint64_t rate_higher(uint64_t a, uint64_t b)
{
	return rate_is_above(a, b) ? a : b;
}

// The client may not have been told yet what its server was offered. Once it was, nothing else is
// on its way, and that counts as told. After a start of ours: the store holds what was offered
// last, the server what it told; one of them may be on its way to the other.
static bool offer_waits(struct rates *r, struct flow *f, const struct rates_shown *shown)
{
	if (!shown->is_known)
		return true;
	if (f->is_restored)
		told_set(r, f, rate_higher(f->told, rate_higher(shown->rate, shown->told)));
	if (shown->rate != f->offered || rate_is_above(shown->told, f->offered))
		return true;
	told_set(r, f, f->offered);
	return false;
}

bool rates_offer(struct rates *r, uint64_t lease, const struct rates_shown *shown, struct mono now,
	uint64_t *rate)
{
	struct flow *f = flow_find(r, lease);
	uint64_t due;

	if (!f)
		return false;
	due = due_now(r, f, shown->channel_cap, now);
	f->told_until = mono_add_ms(now, shown->told_for_ms);
	if (!offer_waits(r, f, shown)) {
		f->offered = told_next(r, f, due);
		if (rate_is_above(f->offered, f->told))
			told_set(r, f, f->offered);
	}
	*rate = f->offered;
	return !shown->is_known || shown->rate != f->offered;
}

bool rates_look(const struct rates *r, uint64_t lease, struct rates_view *out)
{
	const struct flow *f = flow_find(r, lease);

	if (!f)
		return false;
	const struct rates_link *l = flow_link(r, f, 1);
	*out = (struct rates_view){
		.due_bytes_per_s = r->share_flows[f->place].rate,
		.told_bytes_per_s = f->told,
		.site = l->key.kind == BUDGET_SITE ? l->key.name : "",
	};
	return true;
}
