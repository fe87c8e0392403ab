// See copies.h.
#include "server/copies.h"

#include "proto/base/log.h"
#include "proto/topics.h"
#include "server/bases.h"
#include "server/db/rows_content.h"
#include "server/lease_rates.h"
#include "server/relays.h"
#include <inttypes.h>

struct copy *copies_find(const struct package *k, const char *broker)
{
	for (size_t i = 0; i < k->copy_count; i++)
		if (strcmp(k->copies[i].broker, broker) == 0)
			return &k->copies[i];
	return NULL;
}

uint32_t copies_first_leases(const struct package *k)
{
	uint32_t elsewhere = 0;

	for (size_t i = 0; i < k->copy_count; i++)
		elsewhere += k->copies[i].leases;
	return k->leases - elsewhere;
}

void copies_free(struct package *k)
{
	free(k->copies);
	k->copies = NULL;
	k->copy_count = 0;
}

static struct copy *copy_add(struct package *k, const char *broker)
{
	struct copy *more = realloc(k->copies, (k->copy_count + 1) * sizeof(*more));

	if (!more)
		abort();
	k->copies = more;
	more = &k->copies[k->copy_count++];
	*more = (struct copy){0};
	str_copy(more->broker, sizeof(more->broker), broker);
	return more;
}

static void copy_store(struct presence *p, const struct package *k, const struct copy *c)
{
	const struct copy_row row = {
		.package = k->id,
		.broker = c->broker,
		.state = (int)c->state,
		.directive = c->directive,
		.directive_id = c->directive_id,
		.answered = c->answered,
		.since_ms = c->since.ms,
		.mark = c->mark,
		.index_sha256 = c->index_sha256,
	};

	presence_store(p, rows_copy_put(p->db, &row));
}

static void copy_remove(struct presence *p, struct package *k, struct copy *c)
{
	presence_store(p, rows_copy_delete(p->db, &k->id, c->broker));
	k->copy_count--;
	memmove(c, c + 1, (size_t)(&k->copies[k->copy_count] - c) * sizeof(*c));
}

static bool copy_step(struct presence *p, struct package *k, struct copy *c, enum place_event e,
	const char *because, struct now now)
{
	enum place_state to = place_step(c->state, e);

	if (!to) {
		log_warn("COPY-REFUSED", "package=%s broker=%s state=%s event=%s",
			digest_short(&k->id), c->broker, place_state_word(c->state),
			place_event_word(e));
		return false;
	}
	if (to != c->state) {
		log_info("COPY", "package=%s broker=%s from=%s to=%s event=%s because=%s",
			digest_short(&k->id), c->broker, place_state_word(c->state),
			place_state_word(to), place_event_word(e), log_quote(because));
		c->since = now.wall;
		c->idle_since_attended_ms = presence_attended_ms(p, now);
	}
	c->state = to;
	if (to != PLACE_VERIFYING)
		c->reading_back = false;
	copy_store(p, k, c);
	return true;
}

// ---------------------------------------------------------------- directives

static void copy_send(struct presence *p, struct package *k, struct copy *c, struct now now)
{
	const struct data_broker *b = data_brokers_find(p->brokers, c->broker);
	struct topic prefix = topic_pkg(k->publisher, &k->id);
	struct address to;
	struct directive m = {
		.kind = c->directive,
		.directive_id = c->directive_id,
		.package = k->id,
		.reason = c->directive == DIRECTIVE_STOP ? "this copy is not wanted any more"
							 : "a further copy",
	};

	if (!b)
		return;
	to = data_broker_address(b, prefix.s);
	m.to = &to;
	c->directive_sent = now.mono;
	if (p->ports.send_directive(p->ports.ctx, k->publisher, &m) != ERR_OK)
		log_info("COPY-WAITS", "publisher=%s package=%s broker=%s why=%s", k->publisher,
			digest_short(&k->id), c->broker, log_quote(err_text()));
}

static void copy_issue(struct presence *p, struct package *k, struct copy *c,
	enum directive_kind kind, struct now now)
{
	c->directive = kind;
	c->directive_id = ++k->directive_top;
	c->answered = false;
	p->directives++;
	package_store(p, k); // the highest id
	copy_store(p, k, c);
	log_info("COPY-DIRECTED", "publisher=%s package=%s broker=%s kind=%s directive=%" PRIu64,
		k->publisher, digest_short(&k->id), c->broker, directive_word(kind),
		c->directive_id);
	copy_send(p, k, c, now);
}

void copies_send(struct presence *p, struct package *k, struct now now)
{
	for (size_t i = 0; i < k->copy_count; i++)
		copy_send(p, k, &k->copies[i], now);
}

// ---------------------------------------------------------------- the end of a copy

static void copy_stop(
	struct presence *p, struct package *k, struct copy *c, const char *because, struct now now)
{
	if (c->state == PLACE_STOPPING)
		return;
	if (c->leases > 0)
		leases_to_waiting(p, k, c->broker, now);
	if (c->state == PLACE_STORED)
		copy_step(p, k, c, PLACE_EV_UNLEASED, because, now);
	if (copy_step(p, k, c, PLACE_EV_UNWANTED, because, now))
		copy_issue(p, k, c, DIRECTIVE_STOP, now);
}

void copies_stop(struct presence *p, struct package *k, const char *because, struct now now)
{
	for (size_t i = 0; i < k->copy_count; i++)
		copy_stop(p, k, &k->copies[i], because, now);
}

void copies_drop(struct presence *p, struct package *k)
{
	while (k->copy_count > 0)
		copy_remove(p, k, &k->copies[k->copy_count - 1]);
}

void copies_leave(struct presence *p, struct package *k, const char *broker, const char *because,
	struct now now)
{
	struct copy *c = copies_find(k, broker);

	if (c || !data_brokers_find(p->brokers, broker))
		return; // it is on its way out already, or no broker of ours any more
	c = copy_add(k, broker);
	c->state = PLACE_STOPPING;
	c->since = now.wall;
	log_info("COPY-LEFT", "package=%s broker=%s because=%s", digest_short(&k->id), broker,
		log_quote(because));
	copy_issue(p, k, c, DIRECTIVE_STOP, now);
}

void copies_yield(struct presence *p, struct package *k, const char *broker)
{
	struct copy *c = copies_find(k, broker);

	if (c)
		copy_remove(p, k, c);
}

bool copies_adopt(struct presence *p, struct package *k, const char *because, struct now now)
{
	struct copy *best = NULL;

	for (size_t i = 0; i < k->copy_count; i++) {
		struct copy *c = &k->copies[i];
		const struct data_broker *b = data_brokers_find(p->brokers, c->broker);

		if (place_is_stored(c->state) && strcmp(c->broker, k->broker) != 0 && b &&
			!b->is_relay &&
			data_broker_is_candidate(b, p->brokers->sys_interval_s, now.mono) &&
			(!best || c->leases > best->leases))
			best = c;
	}
	if (!best || !place_step(k->state, PLACE_EV_ADOPTED))
		return false;
	struct copy c = *best;
	char left[LIMIT_ID + 1];
	memcpy(left, k->broker, sizeof(left));
	copy_remove(p, k, best);
	leases_to_waiting(p, k, left, now);
	memcpy(k->broker, c.broker, sizeof(k->broker));
	k->directive = c.directive;
	k->directive_id = c.directive_id;
	k->answered = true;
	k->mark = c.mark;
	k->index_sha256 = c.index_sha256;
	k->missing_count = 0;
	k->reading_back = false; // of the broker of before
	log_info("COPY-ADOPTED", "package=%s broker=%s instead=%s because=%s", digest_short(&k->id),
		k->broker, left[0] ? left : "-", log_quote(because));
	if (left[0])
		copies_leave(p, k, left, because, now);
	package_step(p, k, PLACE_EV_ADOPTED, because, now);
	package_read_back(p, k);
	return true;
}

// ---------------------------------------------------------------- a further copy

static uint64_t share_wanted(const struct presence *p)
{
	uint64_t cap = rates_client_cap(p->rates, "*");

	return cap && cap < p->config.share_bytes_per_s ? cap : p->config.share_bytes_per_s;
}

// Who is to be served, and whether even by a broker that it could not reach lately.
struct served {
	const char *client, *site;
	bool anyhow;
};

static const char *site_of(const struct presence *p, const char *client)
{
	return p->brokers->relay_count > 0 && p->ports.site ? p->ports.site(p->ports.ctx, client)
							    : "";
}

static bool may_serve(const struct presence *p, const struct served *who,
	const struct data_broker *b, struct mono now)
{
	return data_broker_is_candidate(b, p->brokers->sys_interval_s, now) &&
	       relay_serves(p->brokers, b, who->site) &&
	       (who->anyhow || !unreachable_is(p->unreachable, who->client, b->id, now));
}

struct best {
	const struct data_broker *b; // NULL: none yet
	uint64_t share;
};

// A relay before all others; then who has more to give, if it may serve the client at all.
static void best_take(struct presence *p, const struct served *who, const char *broker,
	struct best *best, struct now now)
{
	const struct data_broker *b = data_brokers_find(p->brokers, broker);
	uint64_t share = b ? lease_rate_share(p, b) : 0;
	bool is_better =
		b && (!best->b || (b->is_relay != best->b->is_relay ? b->is_relay
								    : share > best->share));

	if (is_better && may_serve(p, who, b, now.mono))
		*best = (struct best){b, share};
}

static const char *place_of(
	struct presence *p, const struct package *k, const struct served *who, struct now now)
{
	struct best best = {0};

	if (place_is_stored(k->state))
		best_take(p, who, k->broker, &best, now);
	for (size_t i = 0; i < k->copy_count; i++)
		if (place_is_stored(k->copies[i].state))
			best_take(p, who, k->copies[i].broker, &best, now);
	return best.b ? best.b->id : NULL;
}

const char *copies_choose(
	struct presence *p, const struct package *k, const char *client, struct now now)
{
	struct served who = {client, site_of(p, client), false};
	const char *place = place_of(p, k, &who, now);

	if (place || other_broker_exists(p, k, client, now.mono))
		return place;
	who.anyhow = true; // better one that it could not reach than none
	return place_of(p, k, &who, now);
}

static void copy_begin(struct presence *p, struct package *k, struct data_broker *b, struct now now)
{
	struct copy *c = copy_add(k, b->id);

	c->state = PLACE_SENDING;
	c->since = now.wall;
	c->begun = c->heard = now.mono;
	target_note(p, b, now);
	copy_issue(p, k, c, DIRECTIVE_TRANSMIT, now);
}

// One is made: a broker is chosen and the publisher told. False: none may be chosen now.
static bool copy_make(struct presence *p, struct package *k, struct now now)
{
	struct data_broker *b = package_choose_further(p, k, now);

	if (!b) { // a crowd asks once a second, not once a client
		k->copy_retry_at_ms = now.mono.ms + PRESENCE_RETRY_MS;
		return false;
	}
	copy_begin(p, k, b, now);
	return true;
}

static bool is_on_its_way(const struct copy *c)
{
	return c->state == PLACE_SENDING || c->state == PLACE_VERIFYING;
}

static bool copies_wait_for_share(
	struct presence *p, struct package *k, const struct data_broker *b, struct now now)
{
	if (b->leases == 0 || lease_rate_share(p, b) >= share_wanted(p) ||
		!place_is_stored(k->state))
		return false;
	for (size_t i = 0; i < k->copy_count; i++) {
		const struct copy *c = &k->copies[i];
		const struct data_broker *at = data_brokers_find(p->brokers, c->broker);

		if (is_on_its_way(c) && at && !at->is_relay)
			return mono_since_ms(now.mono, c->begun) < COPY_PATIENCE_MS;
	}
	if (now.mono.ms < k->copy_retry_at_ms)
		return false;
	return copy_make(p, k, now);
}

// This relay is being filled; begun now, if it can be.
static bool copies_wait_for_relay(
	struct presence *p, struct package *k, struct data_broker *relay, struct now now)
{
	const struct copy *c = copies_find(k, relay->id);

	if (c)
		return is_on_its_way(c) && mono_since_ms(now.mono, c->begun) <
						   (int64_t)p->config.relay_patience_s * 1000;
	if (now.mono.ms < k->copy_retry_at_ms || !place_is_stored(k->state))
		return false;
	copy_begin(p, k, relay, now);
	return true;
}

// The first placement has a delta for this client, of so few bytes that a relay would have to serve
// several before what is sent there pays.
static bool delta_is_small(
	const struct presence *p, const struct package *k, const struct waiting *w)
{
	const struct digest *base = bases_choose(p, k, w->client, &w->base);

	for (size_t i = 0; base && i < k->base_count; i++)
		if (digest_equal(&k->bases[i].id, base))
			return k->bases[i].object_bytes <= k->object_bytes / RELAY_PAYS;
	return false;
}

bool copies_wait(struct presence *p, struct package *k, const struct waiting *w, const char *place,
	struct now now)
{
	const struct data_broker *b = data_brokers_find(p->brokers, place);
	const struct served who = {w->client, site_of(p, w->client), false};
	struct data_broker *relays[RELAYS_OF_SITE];
	size_t count = relays_of(p->brokers, who.site, relays);

	if (!b || b->is_relay)
		return false;
	if (count > 0 && delta_is_small(p, k, w))
		count = 0;
	for (size_t i = 0; i < count; i++)
		if (may_serve(p, &who, relays[i], now.mono) &&
			copies_wait_for_relay(p, k, relays[i], now))
			return true;
	return copies_wait_for_share(p, k, b, now);
}

// ---------------------------------------------------------------- read-back

static void copy_read_back(struct presence *p, struct package *k, struct copy *c)
{
	const struct data_broker *b = data_brokers_find(p->brokers, c->broker);
	struct readback_order order = {
		.package = k->id,
		.publisher = k->publisher,
		.mark = c->mark,
		.index_sha256 = c->index_sha256,
		.objects = k->missing,
		.object_count = k->missing_count,
	};

	if (c->state != PLACE_VERIFYING || c->reading_back || !b || !b->up)
		return;
	if (p->ports.publisher_key(p->ports.ctx, k->publisher, &order.publisher_key) != ERR_OK)
		return;
	c->reading_back = true;
	p->ports.readback(p->ports.ctx, c->broker, &order);
}

void copies_doubt(struct presence *p, struct package *k, struct copy *c, struct now now)
{
	if (place_is_stored(c->state))
		copy_step(p, k, c, PLACE_EV_DOUBT, "a client misses objects or the broker", now);
	copy_read_back(p, k, c);
}

static void copy_proven(struct presence *p, struct package *k, struct copy *c, struct now now)
{
	if (!copy_step(p, k, c, PLACE_EV_PROVEN, "read back by a fresh subscription", now))
		return;
	c->failures = 0;
	c->verified = now.mono;
	waiting_serve(p, k, now);
}

bool copies_readback(struct presence *p, struct package *k, const char *broker,
	enum readback_verdict verdict, const char *why, struct now now)
{
	struct copy *c = copies_find(k, broker);

	if (!c || !c->reading_back)
		return false;
	c->reading_back = false;
	if (c->state != PLACE_VERIFYING || verdict == READBACK_BROKEN)
		return true;
	if (verdict == READBACK_PROVEN) {
		copy_proven(p, k, c, now);
		return true;
	}
	log_warn("COPY-LOST", "package=%s broker=%s why=%s", digest_short(&k->id), broker,
		log_quote(why));
	k->copy_retry_at_ms = now.mono.ms + COPY_RETRY_MS;
	copy_stop(p, k, c, why, now);
	waiting_serve(p, k, now);
	return true;
}

// ---------------------------------------------------------------- what publishers say

static void copy_said_stored(struct presence *p, struct package *k, struct copy *c,
	const struct publisher_msg *m, struct now now)
{
	if (c->directive != DIRECTIVE_TRANSMIT || strcmp(m->broker_id, c->broker) != 0)
		return;
	if (place_is_stored(c->state) && memcmp(&c->mark, &m->mark, sizeof(c->mark)) == 0 &&
		digest_equal(&c->index_sha256, &m->index_sha256))
		return; // said again
	c->mark = m->mark;
	c->index_sha256 = m->index_sha256;
	c->reading_back = false;
	copy_step(p, k, c, place_is_stored(c->state) ? PLACE_EV_DOUBT : PLACE_EV_CLAIMED,
		"the publisher says that it is stored", now);
	copy_read_back(p, k, c);
}

static void copy_said_failed(struct presence *p, struct package *k, struct copy *c,
	const struct publisher_msg *m, struct now now)
{
	uint32_t shift = c->failures < 6 ? c->failures : 6;

	log_warn("COPY-FAILED", "publisher=%s package=%s broker=%s why=%s", k->publisher,
		digest_short(&k->id), c->broker, log_quote(m->detail));
	c->failures++;
	k->copy_retry_at_ms = now.mono.ms + COPY_RETRY_MS;
	if (c->state == PLACE_STOPPING)
		c->retry_at_ms = now.mono.ms + (INT64_C(1000) << shift);
	else
		copy_stop(p, k, c, m->detail[0] ? m->detail : "the publisher could not", now);
}

bool copies_said(
	struct presence *p, struct package *k, const struct publisher_msg *m, struct now now)
{
	struct copy *c = NULL;

	for (size_t i = 0; i < k->copy_count && !c; i++)
		if (k->copies[i].directive_id == m->directive_id)
			c = &k->copies[i];
	if (!c || !m->directive_id)
		return false;
	c->answered = true;
	c->heard = now.mono;
	copy_store(p, k, c);
	if (m->state == PUB_STORED)
		copy_said_stored(p, k, c, m, now);
	else if (m->state == PUB_FAILED)
		copy_said_failed(p, k, c, m, now);
	else if (m->state == PUB_STOPPED && c->state == PLACE_STOPPING) {
		log_info("COPY-GONE", "package=%s broker=%s", digest_short(&k->id), c->broker);
		copy_remove(p, k, c);
	}
	return true;
}

// ---------------------------------------------------------------- time and brokers

void copies_broker(
	struct presence *p, struct package *k, const char *broker, bool up, struct now now)
{
	struct copy *c = copies_find(k, broker);

	if (!c)
		return;
	if (!up)
		c->reading_back = false;
	if (place_is_stored(c->state))
		copy_step(p, k, c, PLACE_EV_DOUBT, up ? "connected anew" : "our connection broke",
			now);
	if (up)
		copy_read_back(p, k, c);
}

// Nobody fetches it here, for the linger; or the package itself is not given any more.
static bool copy_is_over(const struct presence *p, const struct package *k, const struct copy *c)
{
	if (k->state == PLACE_STOPPING || k->state == PLACE_WAITING || k->state == PLACE_WITHDRAWN)
		return true;
	if (c->leases > 0 || c->state == PLACE_SENDING || c->state == PLACE_VERIFYING)
		return false;
	if (p->ports.mass_silence && p->ports.mass_silence(p->ports.ctx))
		return false;
	return p->attended_ms - c->idle_since_attended_ms >= (int64_t)p->config.linger_s * 1000;
}

static void copy_tick(struct presence *p, struct package *k, struct copy *c,
	const struct data_broker *b, struct now now)
{
	bool is_away = data_broker_is_away(
		b, p->brokers->sys_interval_s, p->config.broker_away_s, now.mono);

	if (c->state == PLACE_STOPPING) {
		if (c->answered && !is_away && now.mono.ms >= c->retry_at_ms)
			copy_issue(p, k, c, DIRECTIVE_STOP, now); // it failed: once more
	} else if (is_away)
		copy_stop(p, k, c, "its data broker is away", now);
	else if (c->state == PLACE_SENDING && mono_since_ms(now.mono, c->heard) >= COPY_SILENT_MS)
		copy_stop(p, k, c, "its publisher says nothing of it", now);
	else if (copy_is_over(p, k, c))
		copy_stop(p, k, c, "nobody fetches it here any more", now);
	else
		copy_read_back(p, k, c);
	if (!c->answered &&
		mono_since_ms(now.mono, c->directive_sent) >= p->config.directive_repeat_ms)
		copy_send(p, k, c, now);
}

void copies_tick(struct presence *p, struct package *k, struct now now)
{
	for (size_t i = k->copy_count; i-- > 0;) {
		struct copy *c = &k->copies[i];
		struct data_broker *b = data_brokers_find(p->brokers, c->broker);

		if (!b) { // it is none of ours any more: nobody can be told to stop there
			leases_to_waiting(p, k, c->broker, now);
			copy_remove(p, k, c);
			continue;
		}
		b->placements++;
		copy_tick(p, k, c, b, now);
	}
}

// ---------------------------------------------------------------- rows

static enum err load_copy(void *ctx, const struct copy_row *r)
{
	struct presence *p = ctx;
	struct package *k = presence_find(p, &r->package);
	struct copy *c;

	if (!k || !place_is_on_broker((enum place_state)r->state))
		return err_set(ERR_CORRUPT, "a copy of package %s makes no sense",
			digest_short(&r->package));
	c = copy_add(k, r->broker);
	c->state = place_is_stored((enum place_state)r->state) ? PLACE_VERIFYING
							       : (enum place_state)r->state;
	c->directive = r->directive;
	c->directive_id = r->directive_id;
	c->answered = r->answered;
	c->since.ms = r->since_ms;
	c->mark = r->mark;
	c->index_sha256 = r->index_sha256;
	c->idle_since_attended_ms = p->attended_ms;
	if (k->directive_top < c->directive_id)
		k->directive_top = c->directive_id;
	return ERR_OK;
}

enum err copies_load(struct presence *p, struct now now)
{
	struct package *k, *next;

	TRY(rows_copy_each(p->db, load_copy, p));
	HASH_ITER(hh, p->packages, k, next)
	{
		for (size_t i = 0; i < k->copy_count; i++) {
			k->copies[i].begun = k->copies[i].heard = now.mono;
			k->copies[i].directive_sent =
				mono_add_ms(now.mono, -(int64_t)p->config.directive_repeat_ms);
		}
	}
	return ERR_OK;
}
