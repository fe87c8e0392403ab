// See bases.h.
#include "server/bases.h"

#include "proto/base/log.h"
#include <inttypes.h>

struct choice {
	struct digest id;
	uint64_t holders;
};

static struct package_base *base_find(struct package *k, const struct digest *id)
{
	for (size_t i = 0; i < k->base_count; i++)
		if (digest_equal(&k->bases[i].id, id))
			return &k->bases[i];
	return NULL;
}

void bases_again(struct package *k)
{
	k->bases_due = true;
	k->bases_told = false;
}

void bases_doubt(struct package *k)
{
	for (size_t i = 0; i < k->base_count; i++)
		k->bases[i].stored = false;
}

void bases_said(struct package *k, const struct publisher_msg *m)
{
	struct package_base *b = base_find(k, &m->base);

	if (!b || !place_is_stored(k->state) || strcmp(m->broker_id, k->broker) != 0)
		return;
	b->stored = m->state == PUB_STORED;
	b->object_bytes = m->object_bytes;
	log_info("BASE", "package=%s base=%s stored=%d object_bytes=%" PRIu64 " detail=%s",
		digest_short(&k->id), digest_short(&b->id), b->stored, b->object_bytes,
		log_quote(m->detail));
}

const struct digest *bases_choose(const struct presence *p, const struct package *k,
	const char *client, const struct digest *named)
{
	const struct package_base *best = NULL;

	if (digest_is_zero(named))
		return NULL; // it wants none
	for (size_t i = 0; i < k->base_count; i++) {
		const struct package_base *b = &k->bases[i];
		bool has = digest_equal(&b->id, named) ||
			   (p->ports.holds && p->ports.holds(p->ports.ctx, client, &b->id));
		if (b->stored && has && (!best || b->object_bytes < best->object_bytes))
			best = b;
	}
	return best ? &best->id : NULL;
}

// ---------------------------------------------------------------- the list

static bool is_fetched_from(struct presence *p, const struct package *k, const struct digest *base)
{
	void *cursor = NULL;

	for (struct lease *l; k->leases > 0 && (l = leases_next(p->leases, &cursor));)
		if (digest_equal(&l->package, &k->id) && digest_equal(&l->base, base))
			return true;
	return false;
}

static void choice_put(struct choice *best, size_t *count, struct choice c)
{
	size_t at = *count;

	while (at > 0 && best[at - 1].holders < c.holders)
		at--;
	if (at == PRESENCE_BASES_MAX)
		return;
	size_t kept = *count < PRESENCE_BASES_MAX ? *count : PRESENCE_BASES_MAX - 1;
	memmove(&best[at + 1], &best[at], (kept - at) * sizeof(best[0]));
	best[at] = c;
	*count = kept + 1;
}

static size_t bases_wanted(struct presence *p, const struct package *k, struct choice *best)
{
	struct package *b, *next;
	size_t count = 0;

	if (!place_is_stored(k->state))
		return 0;
	HASH_ITER(hh, p->packages, b, next)
	{
		struct choice c = {.id = b->id};
		if (b == k || b->kind != k->kind || strcmp(b->name, k->name) != 0 ||
			strcmp(b->publisher, k->publisher) != 0)
			continue;
		c.holders = p->ports.holders(p->ports.ctx, &b->id, &k->id);
		if (c.holders == 0 && is_fetched_from(p, k, &b->id))
			c.holders = 1;
		if (c.holders > 0)
			choice_put(best, &count, c);
	}
	return count;
}

// True when the list is another one than before.
static bool bases_take(struct package *k, const struct choice *best, size_t count)
{
	struct package_base bases[PRESENCE_BASES_MAX] = {0};
	bool changed = count != k->base_count;

	for (size_t i = 0; i < count; i++) {
		const struct package_base *old = base_find(k, &best[i].id);
		bases[i] = old ? *old : (struct package_base){.id = best[i].id};
		changed = changed || !old;
	}
	memcpy(k->bases, bases, sizeof(bases));
	k->base_count = count;
	return changed;
}

static void bases_tell(struct presence *p, struct package *k)
{
	struct digest held[PRESENCE_BASES_MAX];
	struct directive m = {.kind = DIRECTIVE_SERVE_BASES,
		.package = k->id,
		.reason = "",
		.held = held,
		.held_count = k->base_count};

	for (size_t i = 0; i < k->base_count; i++)
		held[i] = k->bases[i].id;
	k->bases_told = p->ports.send_directive(p->ports.ctx, k->publisher, &m) == ERR_OK;
	log_info("BASES", "package=%s name=%s version=%s bases=%zu", digest_short(&k->id),
		log_quote(k->name), log_quote(k->version), k->base_count);
}

static void package_look(struct presence *p, struct package *k)
{
	struct choice best[PRESENCE_BASES_MAX + 1];
	bool again = k->bases_due && !k->bases_told;
	size_t count = bases_wanted(p, k, best);

	k->bases_due = false;
	if (bases_take(k, best, count) || (again && count > 0))
		bases_tell(p, k);
}

void bases_tick(struct presence *p, struct now now)
{
	struct package *k, *next;
	bool look =
		p->holdings_changed && mono_since_ms(now.mono, p->bases_looked) >= BASES_LOOK_MS;

	if (!p->ports.holders)
		return;
	if (look) {
		p->holdings_changed = false;
		p->bases_looked = now.mono;
	}
	HASH_ITER(hh, p->packages, k, next)
	{
		if (k->bases_due || (look && place_is_stored(k->state)))
			package_look(p, k);
	}
}
