// What consumers ask for (S002-8 to S002-11, S001-c26, c28): a lease and the address of a data
// broker whose copy we read back ourselves, or the reason why not yet.
//
// The same request id obtains the same lease again. A refusal is no state: the question is answered
// anew.
#include "proto/base/log.h"
#include "proto/base/ratelimit.h"
#include "proto/base/text.h"
#include "proto/digest.h"
#include "proto/topics.h"
#include "server/bases.h"
#include "server/copies.h"
#include "server/db/rows_content.h"
#include "server/lease_rates.h"
#include "server/presence.h"
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

// ---------------------------------------------------------------- who waits

static void line_leave(struct waiting *w)
{
	if (!w->at)
		return;
	DL_DELETE(w->at->line, w);
	w->at->in_line--;
	w->at = NULL;
}

// At the end, unless it stands there already: who asks again keeps its place.
static void line_join(struct waiting *w, struct data_broker *b)
{
	if (w->at == b)
		return;
	line_leave(w);
	DL_APPEND(b->line, w);
	b->in_line++;
	w->ticket = ++b->tickets;
	w->at = b;
}

void waiting_drop(struct presence *p, struct package *k, struct waiting *w)
{
	line_leave(w);
	HASH_DEL(k->waiting, w);
	p->waiting_count--;
	free(w);
}

static struct waiting *waiting_find(const struct package *k, const char *client)
{
	struct waiting *w;

	HASH_FIND_STR(k->waiting, client, w);
	return w;
}

void waiting_add(struct presence *p, struct package *k, const char *client, uint64_t request_id,
	const struct digest *base)
{
	uint32_t told_ms = p->ports.told_interval_ms(p->ports.ctx, client);
	struct waiting *w = waiting_find(k, client);

	if (!w) {
		if (p->waiting_count >= PRESENCE_WAITING_MAX)
			return; // it comes again by itself
		w = calloc(1, sizeof(*w));
		if (!w)
			abort();
		str_copy(w->client, sizeof(w->client), client);
		w->package = k;
		HASH_ADD_STR(k->waiting, client, w);
		p->waiting_count++;
	}
	w->request_id = request_id;
	w->base = *base;
	w->until_attended_ms = p->attended_ms + lease_ttl_ms(p->config.lease_ttl_s * 1000, told_ms);
}

// ---------------------------------------------------------------- answers

static void grant_send(struct presence *p, const char *client, struct grant *g)
{
	if (p->ports.send_grant(p->ports.ctx, client, g) != ERR_OK)
		log_info("GRANT-UNSENT", "client=%s package=%s why=%s", client,
			digest_short(&g->package), log_quote(err_text()));
}

// retry_after_ms 0: asking again is of no use, and the client ends its operation.
static void deny(struct presence *p, const char *client, const struct digest *package,
	uint64_t request_id, const char *reason, uint32_t retry_after_ms)
{
	char why[LIMIT_TEXT + 1];
	struct grant g = {
		.request_id = request_id,
		.package = *package,
		.reason = why,
		.retry_after_ms = retry_after_ms,
	};

	text_format(why, sizeof(why), "%s", reason);
	p->denials++;
	log_debug("GRANT-DENIED", "client=%s package=%s why=%s retry_ms=%u", client,
		digest_short(package), log_quote(reason), retry_after_ms);
	grant_send(p, client, &g);
}

// From what the client is served: judged each time it asks.
static void lease_rebase(
	struct presence *p, const struct package *k, struct lease *l, const struct digest *named)
{
	bool is_first = strcmp(l->broker, k->broker) == 0; // deltas lie beside the first copy
	const struct digest *base = is_first ? bases_choose(p, k, l->client, named) : NULL;

	l->base = base ? *base : (struct digest){{0}};
}

static void grant_lease(struct presence *p, struct package *k, struct lease *l)
{
	struct data_broker *b = data_brokers_find(p->brokers, l->broker);
	struct topic prefix = topic_pkg(k->publisher, &k->id);
	struct address from;
	struct grant g = {
		.request_id = l->request_id,
		.package = k->id,
		.granted = true,
		.lease = l->id,
		.ttl_ms = l->ttl_ms,
		.rate_bytes_per_s = l->rate_bytes_per_s,
		.window = FETCH_WINDOW_MAX,
		.window_bytes = l->window_bytes,
		.publisher = k->publisher,
		.index_base = l->base,
	};

	if (!b || p->ports.publisher_key(p->ports.ctx, k->publisher, &g.publisher_key) != ERR_OK) {
		deny(p, l->client, &k->id, l->request_id, "publisher: its key is not known",
			PRESENCE_REFUSED_RETRY_MS);
		return;
	}
	from = data_broker_address(b, prefix.s);
	g.from = &from;
	grant_send(p, l->client, &g);
}

static void lease_store(struct presence *p, const struct lease *l)
{
	struct lease_row row = {
		.id = l->id,
		.request_id = l->request_id,
		.rate = l->rate_bytes_per_s,
		.client = l->client,
		.broker = l->broker,
		.package = l->package,
		.granted_ms = l->granted.ms,
		.ttl_ms = l->ttl_ms,
	};

	presence_store(p, rows_lease_put(p->db, &row));
}

// A slot for one more that fetches there: of those that may at once, and of the broker's memory.
// False: none is free, or others wait for it.
static bool slot_find(const struct presence *p, const struct package *k, const char *place,
	const char *client, struct window *out)
{
	const struct data_broker *b = data_brokers_find(p->brokers, place);
	uint32_t fetches = rates_fetches(p->rates, place);
	struct window_wish wish = {lease_rate_next(p, client, b), k->object_bytes, b->slots_bytes};

	if ((fetches && b->leases >= fetches) || (b->line && strcmp(b->line->client, client) != 0))
		return false;
	return window_choose(&p->config.windows, &wish, out);
}

static void lease_grant(struct presence *p, struct package *k, const char *place,
	const struct window *slot, const struct waiting *w, struct now now)
{
	const char *client = w->client;
	struct lease *added;
	struct copy *at = copies_find(k, place);
	uint32_t told_ms = p->ports.told_interval_ms(p->ports.ctx, client);
	struct lease l = {
		.id = p->ports.lease_id(p->ports.ctx),
		.package = k->id,
		.request_id = w->request_id,
		.granted = now.wall,
		.granted_attended_ms = p->attended_ms,
		.ttl_ms = lease_ttl_ms(p->config.lease_ttl_s * 1000, told_ms),
		.window_bytes = slot->bytes,
		.slot_bytes = slot->slot_bytes,
	};

	l.expires_attended_ms = p->attended_ms + l.ttl_ms;
	str_copy(l.client, sizeof(l.client), client);
	str_copy(l.broker, sizeof(l.broker), place);
	lease_rebase(p, k, &l, &w->base);
	if (leases_add(p->leases, &l) != ERR_OK) {
		deny(p, client, &k->id, w->request_id, err_text(), PRESENCE_REFUSED_RETRY_MS);
		return;
	}
	added = leases_find(p->leases, l.id);
	lease_rate_begin(p, added, now);
	k->leases++;
	if (at)
		at->leases++;
	k->viewed = true;
	p->grants++;
	lease_store(p, added);
	if (place_step(k->state, PLACE_EV_LEASED))
		package_step(p, k, PLACE_EV_LEASED, "a client has a lease", now);
	log_info("LEASE-GRANTED",
		"client=%s package=%s broker=%s lease=%" PRIu64 " rate_bytes_per_s=%" PRIu64
		" window_bytes=%" PRIu64 " ttl_ms=%u leases=%u",
		client, digest_short(&k->id), l.broker, l.id, added->rate_bytes_per_s,
		l.window_bytes, l.ttl_ms, k->leases);
	grant_lease(p, k, added);
}

bool other_broker_exists(
	const struct presence *p, const struct package *k, const char *client, struct mono now)
{
	for (size_t i = 0; i < p->brokers->count; i++) {
		const struct data_broker *b = &p->brokers->items[i];

		if (strcmp(b->id, k->broker) != 0 && !b->is_relay &&
			data_broker_is_candidate(b, p->brokers->sys_interval_s, now) &&
			!unreachable_is(p->unreachable, client, b->id, now))
			return true;
	}
	return false;
}

// For this client the package has to lie elsewhere.
static bool wants_elsewhere(
	const struct presence *p, const struct package *k, const char *client, struct mono now)
{
	return unreachable_is(p->unreachable, client, k->broker, now) &&
	       other_broker_exists(p, k, client, now);
}

// The lease again, for another request of its client.
static void lease_again(
	struct presence *p, struct package *k, struct lease *l, const struct waiting *w)
{
	l->expires_attended_ms = p->attended_ms + l->ttl_ms;
	lease_rebase(p, k, l, &w->base);
	if (l->request_id != w->request_id) {
		l->request_id = w->request_id;
		lease_store(p, l);
	}
	grant_lease(p, k, l);
}

static bool is_up(const struct presence *p, const char *broker, struct mono now)
{
	const struct data_broker *b = data_brokers_find(p->brokers, broker);

	return b && data_broker_is_candidate(b, p->brokers->sys_interval_s, now);
}

// A place that can still serve its lease: read back, and within the client's reach.
static bool lease_is_good(
	struct presence *p, const struct package *k, const struct lease *l, struct mono now)
{
	const struct copy *c = copies_find(k, l->broker);

	return place_is_stored(c ? c->state : k->state) &&
	       (c || strcmp(k->broker, l->broker) == 0) && is_up(p, l->broker, now) &&
	       !unreachable_is(p->unreachable, l->client, l->broker, now);
}

// Grants it where it is best for this client. False: it has to wait.
static bool serve(struct presence *p, struct package *k, const struct waiting *w, struct now now)
{
	struct lease *l = leases_of_client(p->leases, w->client, &k->id);
	struct window slot;
	const char *place;

	if (l && lease_is_good(p, k, l, now.mono)) {
		lease_again(p, k, l, w);
		return true;
	}
	place = copies_choose(p, k, w->client, now);
	if (!place)
		return false;
	if (l && strcmp(l->broker, place) == 0) {
		lease_again(p, k, l, w); // there is no better one
		return true;
	}
	if (copies_wait(p, k, w, place, now) || !slot_find(p, k, place, w->client, &slot))
		return false;
	if (l)
		lease_end(p, l, "another copy serves its client", now);
	lease_grant(p, k, place, &slot, w, now);
	return true;
}

// Who was not told to wait for a slot, and needs one, stands in its broker's line all the same.
static void line_find(struct presence *p, struct package *k, struct waiting *w, struct now now)
{
	const char *place = copies_choose(p, k, w->client, now);
	struct window slot;

	if (place && !copies_wait(p, k, w, place, now) && !slot_find(p, k, place, w->client, &slot))
		line_join(w, data_brokers_find(p->brokers, place));
}

void waiting_serve(struct presence *p, struct package *k, struct now now)
{
	struct waiting *w, *next;

	HASH_ITER(hh, k->waiting, w, next)
	{
		struct waiting one = *w;

		if (serve(p, k, &one, now))
			waiting_drop(p, k, w);
		else
			line_find(p, k, w, now);
	}
}

static void line_serve(struct presence *p, struct data_broker *b, struct now now)
{
	for (struct waiting *w; (w = b->line);) {
		struct waiting one = *w;
		const char *place = copies_choose(p, w->package, w->client, now);

		if (!place || strcmp(place, b->id) != 0)
			line_leave(w); // it waits for something else by now
		else if (serve(p, w->package, &one, now))
			waiting_drop(p, one.package, w);
		else
			return;
	}
}

void lines_serve(struct presence *p, struct now now)
{
	for (size_t i = 0; i < p->brokers->count; i++)
		line_serve(p, &p->brokers->items[i], now);
}

// ---------------------------------------------------------------- requests

struct want_call {
	struct presence *p;
	const char *client;
	const struct fetch_request *m;
	struct package *k;
	struct now now;
};

static void wait_for(const struct want_call *c, const char *reason)
{
	waiting_add(c->p, c->k, c->client, c->m->request_id, &c->m->base);
	deny(c->p, c->client, &c->k->id, c->m->request_id, reason, PRESENCE_RETRY_MS);
}

// Its place in the line, from 1. Who left it from the middle may still be counted.
static uint32_t line_place(const struct waiting *w)
{
	uint64_t place = w->ticket - w->at->line->ticket + 1;

	return place < w->at->in_line ? (uint32_t)place : w->at->in_line;
}

// Until its turn comes: those that fetch, and those before it, take about as long as it will.
static uint64_t turn_ms(const struct presence *p, const struct waiting *w)
{
	const struct data_broker *b = w->at;
	uint64_t leases = b->leases ? b->leases : 1;
	uint64_t each = rates_of_broker(p->rates, b->id, b->capacity_bytes_per_s) / leases;
	uint64_t rate = rate_lower(each, rates_client_cap(p->rates, w->client));

	return w->package->object_bytes * 1000 / (rate ? rate : 1) * line_place(w) / leases;
}

// So many fetch that the broker has no slot: it is told when one is free, and to ask again only for
// the case that this gets lost.
static void wait_for_slot(const struct want_call *c, const char *place)
{
	struct data_broker *b = data_brokers_find(c->p->brokers, place);
	struct waiting *w;
	char reason[160];
	uint64_t turn = PRESENCE_RETRY_MS;

	waiting_add(c->p, c->k, c->client, c->m->request_id, &c->m->base);
	w = waiting_find(c->k, c->client);
	if (w)
		line_join(w, b);
	if (w)
		turn = turn_ms(c->p, w);
	snprintf(reason, sizeof(reason),
		"slots: %u fetch at once from %s, %u wait for their turn, this one about %" PRIu64
		" s",
		b->leases, b->id, b->in_line, turn / 1000);
	turn = turn < PRESENCE_RETRY_MS ? PRESENCE_RETRY_MS : turn;
	deny(c->p, c->client, &c->k->id, c->m->request_id, reason,
		turn < PRESENCE_TURN_MS ? (uint32_t)turn : PRESENCE_TURN_MS);
}

static void package_move(struct presence *p, struct package *k, struct now now)
{
	memcpy(k->avoid, k->broker, sizeof(k->avoid));
	package_place(p, k, 0, "who wants it cannot reach the broker", now);
}

// What we saw ourselves needs no second word of the client.
static void broker_blame(
	struct presence *p, const char *client, const char *broker, struct mono now)
{
	for (int i = 0; i < UNREACHABLE_COMPLAINTS; i++)
		unreachable_note(p->unreachable, client, broker, now);
}

bool lease_move(struct presence *p, struct lease *l, struct now now)
{
	struct package *k = presence_find(p, &l->package);
	struct waiting w = {.request_id = l->request_id, .base = l->base};
	const char *place;

	if (!k)
		return false;
	broker_blame(p, l->client, l->broker, now.mono);
	memcpy(w.client, l->client, sizeof(w.client));
	place = copies_choose(p, k, w.client, now);
	if (place && strcmp(place, l->broker) != 0) {
		bool served = serve(p, k, &w, now);
		p->moves += served;
		return served;
	}
	if (place || k->leases > 1 || strcmp(l->broker, k->broker) != 0 ||
		!wants_elsewhere(p, k, w.client, now.mono))
		return false;
	p->moves++;
	lease_end(p, l, "its client makes no progress there", now);
	waiting_add(p, k, w.client, w.request_id, &w.base);
	package_move(p, k, now);
	return true;
}

void waiting_move(struct presence *p, struct package *k, struct now now)
{
	const struct waiting *w, *next;
	bool wanted = false;

	if (!place_is_stored(k->state) || k->leases > 0 || now.mono.ms < k->retry_at_ms)
		return;
	HASH_ITER(hh, k->waiting, w, next)
	{
		wanted = wanted || wants_elsewhere(p, k, w->client, now.mono);
	}
	if (!wanted)
		return;
	k->retry_at_ms = now.mono.ms + PRESENCE_RETRY_MS;
	package_move(p, k, now);
}

// This client cannot reach the broker, though we can: let the package lie elsewhere, as soon as
// nobody else fetches it here. True when the request is answered.
static bool moved(const struct want_call *c, struct lease *l)
{
	struct package *k = c->k;

	if (!wants_elsewhere(c->p, k, c->client, c->now.mono) ||
		copies_choose(c->p, k, c->client, c->now)) // there is a copy within its reach
		return false;
	if (l)
		lease_end(c->p, l, "its client cannot reach the broker", c->now);
	waiting_add(c->p, k, c->client, c->m->request_id, &c->m->base);
	if (k->leases > 0) {
		wait_for(c, "elsewhere: it moves when the others have fetched it");
		return true;
	}
	package_move(c->p, k, c->now);
	wait_for(c, "moving: it is sent to another data broker");
	return true;
}

static void missing_take(const struct want_call *c)
{
	struct package *k = c->k;

	k->missing_count = c->m->missing_count < PRESENCE_MISSING_MAX ? c->m->missing_count
								      : PRESENCE_MISSING_MAX;
	for (size_t i = 0; i < k->missing_count; i++)
		k->missing[i] = c->m->missing_objects[i];
}

static struct digest missing_hash(const struct fetch_request *m)
{
	return sha256(m->missing_objects, m->missing_count * sizeof(m->missing_objects[0]));
}

// It complained of the same objects before, and since then we read them there. Kept with the lease:
// clients that miss different objects do not wear out each other's complaint.
static bool is_contradicted(const struct want_call *c, struct lease *l, struct mono verified)
{
	struct digest hash = missing_hash(c->m);

	if (!l || c->m->missing_count == 0)
		return false;
	if (l->complained.ms != 0 && digest_equal(&hash, &l->complaint))
		return verified.ms >= l->complained.ms;
	l->complaint = hash;
	l->complained = c->now.mono;
	return false;
}

// We read the copy back a moment ago, and the client says nothing new.
static bool was_looked_at(
	const struct want_call *c, const struct lease *l, struct mono verified, bool contradicted)
{
	bool is_fresh =
		verified.ms != 0 && mono_since_ms(c->now.mono, verified) < PRESENCE_CHECKED_MS;

	return is_fresh && (c->m->missing_count == 0 || !l || contradicted);
}

// A complaint of this broker, where the copy was read back last. True: it was looked at, and
// another broker may do.
static bool complaint_note(
	const struct want_call *c, struct lease *l, const char *broker, struct mono verified)
{
	bool contradicted = is_contradicted(c, l, verified);

	log_warn("FETCH-COMPLAINT", "client=%s package=%s broker=%s missing=%zu again=%s",
		c->client, digest_short(&c->k->id), broker, c->m->missing_count,
		contradicted ? "yes" : "no");
	if (contradicted) // what is wrong lies between the two
		broker_blame(c->p, c->client, broker, c->now.mono);
	else if (strcmp(c->m->failed_broker, broker) == 0)
		unreachable_note(c->p->unreachable, c->client, broker, c->now.mono);
	return was_looked_at(c, l, verified, contradicted);
}

// The copy that the client complains of; NULL: it is of the first placement, or of nothing of ours.
static struct copy *complained_copy(const struct want_call *c, const struct lease *l)
{
	const char *broker = c->m->failed_broker[0] ? c->m->failed_broker : l ? l->broker : "";

	return copies_find(c->k, broker);
}

// The same of a further copy.
static bool complaint_of_copy(const struct want_call *c)
{
	struct package *k = c->k;
	struct lease *l = leases_of_client(c->p->leases, c->client, &k->id);
	bool names_broker = c->m->failed_broker[0] != 0;
	struct copy *at = complained_copy(c, l);

	if (!at || (!names_broker && c->m->missing_count == 0) || !place_is_stored(at->state) ||
		(l && l->request_id == c->m->request_id))
		return false;
	if (complaint_note(c, l, at->broker, at->verified))
		return false;
	missing_take(c);
	copies_doubt(c->p, k, at, c->now);
	wait_for(c, "checking: the copy is read back");
	return true;
}

// A client says that it could not fetch. We look for ourselves before anybody is told anything.
// True when the request is answered.
static bool complaint(const struct want_call *c)
{
	struct package *k = c->k;
	bool names_broker = c->m->failed_broker[0] && strcmp(c->m->failed_broker, k->broker) == 0;
	struct lease *l = leases_of_client(c->p->leases, c->client, &k->id);

	if ((!names_broker && c->m->missing_count == 0) || !place_is_stored(k->state))
		return false;
	if (l && l->request_id == c->m->request_id)
		return false; // the same complaint again: it was looked at
	if (complained_copy(c, l))
		return false; // no matter of the first placement
	bool looked_at = complaint_note(c, l, k->broker, k->verified_mono);
	if (moved(c, l))
		return true;
	if (looked_at)
		return false;
	missing_take(c);
	package_step(c->p, k, PLACE_EV_DOUBT, "a client misses objects or the broker", c->now);
	package_read_back(c->p, k);
	wait_for(c, "checking: the copy is read back");
	return true;
}

static void grant_now(const struct want_call *c)
{
	struct lease *l = leases_of_client(c->p->leases, c->client, &c->k->id);
	struct waiting w = {.request_id = c->m->request_id, .base = c->m->base};
	struct window slot;
	const char *place;

	str_copy(w.client, sizeof(w.client), c->client);
	if (serve(c->p, c->k, &w, c->now))
		return;
	place = copies_choose(c->p, c->k, c->client, c->now);
	if (place && !slot_find(c->p, c->k, place, c->client, &slot))
		wait_for_slot(c, place);
	else if (place)
		wait_for(c, "preparing: a further copy is made");
	else if (!is_up(c->p, c->k->broker, c->now.mono))
		wait_for(c, "broker-away: its data broker does not answer");
	else if (!moved(c, l))
		wait_for(c, "preparing: it is sent to a data broker");
}

static void wait_deferred(const struct want_call *c)
{
	char reason[LIMIT_TEXT + 1];

	text_format(reason, sizeof(reason), "deferred: %s", c->k->detail);
	wait_for(c, reason);
}

static void fetch_known(const struct want_call *c)
{
	if (complaint_of_copy(c) || complaint(c))
		return;
	if (c->k->copy_count > 0 && copies_choose(c->p, c->k, c->client, c->now)) {
		grant_now(c);
		return;
	}
	switch (c->k->state) {
	case PLACE_STORED:
	case PLACE_LINGER:
		grant_now(c);
		break;
	case PLACE_WAITING:
		waiting_add(c->p, c->k, c->client, c->m->request_id, &c->m->base);
		package_place(c->p, c->k, 0, "a client asks for it", c->now);
		wait_for(c, "preparing: it is sent to a data broker");
		break;
	case PLACE_STOPPING:
		wait_for(c, "stopping: it comes again after that");
		break;
	case PLACE_DEFERRED:
		wait_deferred(c);
		break;
	case PLACE_OFFERED:
	case PLACE_SENDING:
	case PLACE_VERIFYING:
		wait_for(c, "preparing: it is sent to a data broker");
		break;
	case PLACE_WITHDRAWN:
	case PLACE_STATE_COUNT:
		deny(c->p, c->client, &c->k->id, c->m->request_id,
			"withdrawn: the package is not given any more", 0);
		break;
	}
}

static void fetch(
	struct presence *p, const char *client, const struct fetch_request *m, struct now now)
{
	struct want_call c = {p, client, m, presence_find(p, &m->package), now};
	struct route_client state = p->ports.client(p->ports.ctx, client);
	struct route_decision way;

	state.asks = true;
	way = route_decide(&state, &p->config.route);
	if (!c.k || (m->publisher[0] && strcmp(m->publisher, c.k->publisher) != 0)) {
		deny(p, client, &m->package, m->request_id, "unknown: no such package",
			PRESENCE_REFUSED_RETRY_MS);
		return;
	}
	if (!p->ports.is_meant(p->ports.ctx, client, &m->package)) {
		static struct log_gate gate;

		if (log_gate_open(&gate, now.mono.ms, 1000))
			log_warn("WANT-NOT-MEANT", "client=%s package=%s", client,
				digest_short(&m->package));
		deny(p, client, &m->package, m->request_id,
			"not-meant: the server did not tell this client to fetch it",
			PRESENCE_REFUSED_RETRY_MS);
		return;
	}
	log_debug("ROUTE-ASKED", "client=%s package=%s route=%s reason=%s", client,
		digest_short(&m->package), route_word(way.route), route_reason_word(way.why));
	fetch_known(&c);
}

static void release(
	struct presence *p, const char *client, const struct fetch_release *m, struct now now)
{
	struct lease *l = m->lease ? leases_find(p->leases, m->lease)
				   : leases_of_client(p->leases, client, &m->package);
	struct package *k = presence_find(p, &m->package);
	struct grant g = {
		.request_id = m->request_id,
		.package = m->package,
		.lease = m->lease,
		.release_acked = true,
	};
	struct waiting *w = k ? waiting_find(k, client) : NULL;

	if (l && strcmp(l->client, client) == 0 && digest_equal(&l->package, &m->package)) {
		if (m->outcome == OP_DONE)
			unreachable_forget(p->unreachable, client, l->broker);
		lease_end(p, l, op_status_word(m->outcome), now);
	}
	if (w)
		waiting_drop(p, k, w);
	grant_send(p, client, &g);
	lines_serve(p, now);
}

void handle_want(struct presence *p, const char *client, const struct want *m, struct now now)
{
	if (m->fetch)
		fetch(p, client, m->fetch, now);
	else if (m->release)
		release(p, client, m->release, now);
}
