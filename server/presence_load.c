// The presence server after a start, or after a commit that failed: everything from the rows.
#include "server/presence.h"

#include "proto/base/log.h"
#include "server/copies.h"
#include "server/db/rows_content.h"
#include "server/lease_rates.h"
#include <inttypes.h>

static enum err load_package(void *ctx, const struct package_row *r)
{
	struct presence *p = ctx;
	struct package *k = calloc(1, sizeof(*k));

	if (!k)
		return err_set(ERR_MEMORY, "no memory for a package");
	k->id = r->id;
	k->kind = r->kind;
	k->size_bytes = r->size_bytes;
	k->object_bytes = r->object_bytes;
	k->offered.ms = r->offered_ms;
	k->state = PLACE_OFFERED;
	HASH_ADD(hh, p->packages, id, sizeof(k->id), k);
	if (!str_copy(k->publisher, sizeof(k->publisher), r->publisher) ||
		!str_copy(k->name, sizeof(k->name), r->name) ||
		!str_copy(k->version, sizeof(k->version), r->version))
		return err_set(ERR_CORRUPT, "package %s has a text that is too long",
			digest_short(&r->id));
	return ERR_OK;
}

static enum err load_placement(void *ctx, const struct placement_row *r)
{
	struct presence *p = ctx;
	struct package *k = presence_find(p, &r->package);

	if (!k)
		return err_set(ERR_CORRUPT, "a placement of package %s, which is not there",
			digest_short(&r->package));
	if (r->state < PLACE_OFFERED || r->state >= PLACE_STATE_COUNT)
		return err_set(
			ERR_CORRUPT, "package %s is in state %d", digest_short(&k->id), r->state);
	k->state = (enum place_state)r->state;
	k->directive = r->directive;
	k->directive_id = r->directive_id;
	k->directive_top = r->directive_top > r->directive_id ? r->directive_top : r->directive_id;
	k->answered = r->answered;
	k->since.ms = r->since_ms;
	k->verified.ms = r->verified_ms;
	k->mark = r->mark;
	k->index_sha256 = r->index_sha256;
	k->viewed = r->viewed;
	k->barred = r->barred;
	k->idle_since_attended_ms = p->attended_ms;
	if (!str_copy(k->broker, sizeof(k->broker), r->broker) ||
		!str_copy(k->detail, sizeof(k->detail), r->detail))
		return err_set(ERR_CORRUPT, "package %s has a text that is too long",
			digest_short(&k->id));
	return ERR_OK;
}

struct lease_load {
	struct presence *p;
	struct now now;
};

// In attended time, which begins anew: as long ago as the clock says, so that what the broker
// cannot have measured yet counts as before.
static int64_t granted_attended_ms(const struct lease_load *load, const struct lease_row *r)
{
	int64_t age_ms = load->now.wall.ms - r->granted_ms;

	if (age_ms < 0 || age_ms > PRESENCE_MEASURED_MS)
		age_ms = PRESENCE_MEASURED_MS;
	return load->p->attended_ms - age_ms;
}

static enum err load_lease(void *ctx, const struct lease_row *r)
{
	const struct lease_load *load = ctx;
	struct presence *p = load->p;
	struct package *k = presence_find(p, &r->package);
	struct lease l = {
		.id = r->id,
		.package = r->package,
		.request_id = r->request_id,
		.granted.ms = r->granted_ms,
		.granted_attended_ms = granted_attended_ms(load, r),
		.expires_attended_ms = p->attended_ms + r->ttl_ms,
		.ttl_ms = r->ttl_ms,
	};
	struct window slot;
	struct copy *at;

	if (!str_copy(l.client, sizeof(l.client), r->client) ||
		!str_copy(l.broker, sizeof(l.broker), r->broker) || !k)
		return err_set(ERR_CORRUPT, "lease %" PRIu64 " makes no sense", r->id);
	(void)window_choose(
		&p->config.windows, &(struct window_wish){r->rate, k->object_bytes, 0}, &slot);
	l.window_bytes = slot.bytes; // if it is granted again
	l.slot_bytes = window_slot_most(k->object_bytes);
	TRY(leases_add(p->leases, &l));
	lease_rate_restore(p, leases_find(p->leases, l.id), r->rate, load->now);
	k->leases++;
	at = copies_find(k, l.broker);
	if (at)
		at->leases++;
	return ERR_OK;
}

static enum err load_target(void *ctx, const char *broker, int64_t last_ms)
{
	struct presence *p = ctx;
	struct data_broker *b = data_brokers_find(p->brokers, broker);

	if (b)
		b->last_target.ms = last_ms;
	return ERR_OK;
}

enum err presence_load(struct presence *p, struct now now)
{
	struct lease_load load = {p, now};
	struct package *k, *next;

	presence_clear(p);
	p->store_error = ERR_OK;
	for (size_t i = 0; i < p->brokers->count; i++) {
		p->brokers->items[i].target_at.ms = 0;
		if (!p->brokers->items[i].up) // not away: not reached yet
			p->brokers->items[i].up_since = now.mono;
	}
	TRY(rows_target_each(p->db, load_target, p));
	TRY(rows_package_each(p->db, load_package, p));
	TRY(rows_placement_each(p->db, load_placement, p));
	TRY(copies_load(p, now));
	TRY(lease_rates_load(p));
	TRY(rows_lease_each(p->db, load_lease, &load));
	HASH_ITER(hh, p->packages, k, next)
	{
		// Stored under another connection: to be read back over this one.
		if (place_is_stored(k->state))
			k->state = PLACE_VERIFYING;
		// What was to be repaired is no longer known: all of it again.
		if (k->directive == DIRECTIVE_REPAIR && !k->answered)
			k->directive = DIRECTIVE_TRANSMIT;
		k->directive_sent = mono_add_ms(now.mono, -(int64_t)p->config.directive_repeat_ms);
	}
	log_info("PRESENCE-LOADED", "packages=%u leases=%zu brokers=%zu", HASH_COUNT(p->packages),
		leases_count(p->leases), p->brokers->count);
	return ERR_OK;
}
