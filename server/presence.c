#include "server/presence.h"

#include "server/bases.h"
#include "server/copies.h"
#include "server/lease_rates.h"

#include "proto/base/log.h"
#include "proto/topics.h"
#include "server/db/rows_content.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

struct presence *presence_new(const struct presence_config *config,
	const struct presence_ports *ports, struct data_brokers *brokers, struct db *db)
{
	struct presence *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	p->config = *config;
	p->spread_ms = (int64_t)config->reconnect_spread_s * 1000;
	p->ports = *ports;
	p->brokers = brokers;
	p->db = db;
	p->leases = leases_new();
	p->rates = lease_rates_new(config);
	p->unreachable = unreachable_new(config->unreachable_s);
	return p;
}

static void package_free(struct presence *p, struct package *k)
{
	struct waiting *w, *next;

	HASH_ITER(hh, k->waiting, w, next)
	{
		waiting_drop(p, k, w);
	}
	copies_free(k);
	HASH_DEL(p->packages, k);
	free(k);
}

void presence_clear(struct presence *p)
{
	struct package *k, *next;

	HASH_ITER(hh, p->packages, k, next)
	{
		package_free(p, k);
	}
	leases_clear(p->leases);
	rates_clear(p->rates);
	for (size_t i = 0; i < p->brokers->count; i++) {
		struct data_broker *b = &p->brokers->items[i];

		b->leases = b->placements = 0;
		b->slots_bytes = 0;
		b->granted_bytes_per_s = b->fresh_bytes_per_s = 0;
	}
}

void presence_free(struct presence *p)
{
	if (!p)
		return;
	presence_clear(p);
	leases_free(p->leases);
	rates_free(p->rates);
	unreachable_free(p->unreachable);
	free(p);
}

int64_t presence_attended_ms(const struct presence *p, struct now now)
{
	int64_t since_ms = p->ticked ? mono_since_ms(now.mono, p->last_tick) : 0;

	if (!p->attended || p->spread_left_ms > 0 || since_ms < 0 || since_ms > 5000)
		return p->attended_ms;
	return p->attended_ms + since_ms;
}

struct package *presence_find(struct presence *p, const struct digest *id)
{
	struct package *k;

	HASH_FIND(hh, p->packages, id, sizeof(*id), k);
	return k;
}

void presence_store(struct presence *p, enum err e)
{
	if (e == ERR_OK || p->store_error != ERR_OK)
		return;
	p->store_error = e;
	log_error("PRESENCE-STORE", "why=%s", log_quote(err_text()));
}

enum err presence_store_error(struct presence *p)
{
	enum err e = p->store_error;

	p->store_error = ERR_OK;
	return e == ERR_OK ? ERR_OK : err_set(e, "a row of the presence server was not written");
}

// ---------------------------------------------------------------- packages

bool package_is_wanted(const struct package *k)
{
	return k->leases > 0 || HASH_COUNT(k->waiting) > 0;
}

void package_store(struct presence *p, const struct package *k)
{
	struct placement_row row = {
		.package = k->id,
		.state = (int)k->state,
		.broker = k->broker,
		.directive = k->directive,
		.directive_id = k->directive_id,
		.directive_top = k->directive_top,
		.answered = k->answered,
		.since_ms = k->since.ms,
		.verified_ms = k->verified.ms,
		.mark = k->mark,
		.index_sha256 = k->index_sha256,
		.viewed = k->viewed,
		.barred = k->barred,
		.detail = k->detail,
	};

	presence_store(p, rows_placement_put(p->db, &row));
}

bool place_is_on_broker(enum place_state s)
{
	return s == PLACE_SENDING || s == PLACE_VERIFYING || s == PLACE_STORED ||
	       s == PLACE_LINGER || s == PLACE_STOPPING;
}

bool place_is_stored(enum place_state s)
{
	return s == PLACE_STORED || s == PLACE_LINGER;
}

bool package_step(struct presence *p, struct package *k, enum place_event e, const char *because,
	struct now now)
{
	enum place_state to = place_step(k->state, e);

	if (!to) {
		log_warn("PLACE-REFUSED", "package=%s state=%s event=%s because=%s",
			digest_short(&k->id), place_state_word(k->state), place_event_word(e),
			log_quote(because));
		return false;
	}
	if (to != k->state) {
		log_info("PLACE",
			"package=%s name=%s version=%s from=%s to=%s event=%s broker=%s because=%s",
			digest_short(&k->id), log_quote(k->name), log_quote(k->version),
			place_state_word(k->state), place_state_word(to), place_event_word(e),
			k->broker[0] ? k->broker : "-", log_quote(because));
		k->since = now.wall;
		k->idle_since_attended_ms = presence_attended_ms(p, now);
	}
	if (!place_is_stored(to))
		bases_doubt(k);
	else if (!place_is_stored(k->state))
		bases_again(k);
	k->state = to;
	if (!place_is_on_broker(to))
		k->reading_back = false;
	if (!str_copy(k->detail, sizeof(k->detail), because))
		str_copy(k->detail, sizeof(k->detail), place_event_word(e));
	package_store(p, k);
	return true;
}

// ---------------------------------------------------------------- directives

void directive_send(struct presence *p, struct package *k, uint64_t request_id, struct now now)
{
	struct data_broker *b = data_brokers_find(p->brokers, k->broker);
	struct topic prefix = topic_pkg(k->publisher, &k->id);
	struct address to = {0};
	struct directive m = {
		.request_id = request_id,
		.kind = k->directive,
		.directive_id = k->directive_id,
		.package = k->id,
		.reason = k->detail,
	};

	// STOP: wherever it still lies, unless copies have theirs to be told.
	if (b && (k->directive != DIRECTIVE_STOP || k->copy_count > 0)) {
		to = data_broker_address(b, prefix.s);
		m.to = &to;
	}
	if (k->directive == DIRECTIVE_DEFER) {
		int64_t wait_ms = k->retry_at_ms - now.mono.ms;
		m.retry_after_ms = wait_ms > 0 ? (uint32_t)wait_ms : 0;
		m.to = NULL;
	}
	if (k->directive == DIRECTIVE_REPAIR) {
		m.objects = k->missing;
		m.object_count = k->missing_count;
	}
	k->directive_sent = now.mono;
	if (p->ports.send_directive(p->ports.ctx, k->publisher, &m) != ERR_OK)
		log_info("DIRECTIVE-WAITS", "publisher=%s package=%s kind=%s why=%s", k->publisher,
			digest_short(&k->id), directive_word(k->directive), log_quote(err_text()));
}

void directive_issue(struct presence *p, struct package *k, enum directive_kind kind,
	uint64_t request_id, struct now now)
{
	k->directive = kind;
	k->directive_id = ++k->directive_top;
	k->answered = kind == DIRECTIVE_WAIT || kind == DIRECTIVE_DEFER;
	p->directives++;
	package_store(p, k);
	log_info("DIRECTIVE-ISSUED",
		"publisher=%s package=%s kind=%s directive=%" PRIu64 " broker=%s", k->publisher,
		digest_short(&k->id), directive_word(kind), k->directive_id,
		k->broker[0] ? k->broker : "-");
	directive_send(p, k, request_id, now);
}

// ---------------------------------------------------------------- the choice

// Somebody who waits for it said that it cannot reach this broker.
static bool is_beyond(
	const struct presence *p, const struct package *k, const char *broker, struct mono now)
{
	const struct waiting *w, *next;

	HASH_ITER(hh, k->waiting, w, next)
	{
		if (unreachable_is(p->unreachable, w->client, broker, now))
			return true;
	}
	return false;
}

// A target of this life of ours is as recent as the clock that never steps says.
static int64_t last_target_unix_ms(const struct data_broker *b, struct now now)
{
	if (b->target_at.ms == 0)
		return b->last_target.ms;
	return now.wall.ms - mono_since_ms(now.mono, b->target_at);
}

static void candidates_fill(struct presence *p, const struct package *k, bool use_avoid,
	struct place_candidate *c, struct now now)
{
	for (size_t i = 0; i < p->brokers->count; i++) {
		const struct data_broker *b = &p->brokers->items[i];
		bool avoided = use_avoid &&
			       (strcmp(b->id, k->avoid) == 0 || copies_find(k, b->id) != NULL ||
				       is_beyond(p, k, b->id, now.mono));

		c[i] = (struct place_candidate){
			.id = b->id,
			.usable =
				data_broker_is_candidate(b, p->brokers->sys_interval_s, now.mono) &&
				!avoided && !b->is_relay,
			.busy = data_broker_busy(b),
			.leases = b->leases,
			.last_target_unix_ms = last_target_unix_ms(b, now),
		};
	}
}

static void choice_log(const struct package *k, const struct place_candidate *c, size_t count,
	const struct place_choice *choice)
{
	char scores[1024] = "";
	size_t used = 0;

	for (size_t i = 0; i < count && used < sizeof(scores) - 1; i++) {
		int n = snprintf(scores + used, sizeof(scores) - used, "%s%s=%.2f%s", i ? " " : "",
			c[i].id, (double)place_score(c[i].busy) / 100, c[i].usable ? "" : "(out)");
		used += n > 0 ? (size_t)n : 0;
	}
	log_info("PLACE-CHOICE", "package=%s chosen=%s fallback=%s retry_ms=%lld scores=%s",
		digest_short(&k->id), choice->verdict == PLACE_CHOSEN ? c[choice->index].id : "-",
		choice->fallback ? "yes" : "no", (long long)choice->retry_after_ms,
		log_quote(scores));
}

static struct place_policy policy_of(const struct presence *p)
{
	return (struct place_policy){
		.recent_period_ms = (int64_t)p->config.recent_period_s * 1000,
		.fallback_oldest = p->config.recent_fallback_oldest,
	};
}

struct data_broker *package_choose_further(struct presence *p, struct package *k, struct now now)
{
	const struct place_policy policy = policy_of(p);
	struct place_candidate c[DATA_BROKERS_MAX];
	struct place_choice choice;

	candidates_fill(p, k, true, c, now);
	for (size_t i = 0; i < p->brokers->count; i++)
		c[i].usable = c[i].usable && strcmp(c[i].id, k->broker) != 0;
	choice = place_choose(c, p->brokers->count, &policy, now.wall.ms);
	if (choice.verdict != PLACE_CHOSEN)
		return NULL;
	choice_log(k, c, p->brokers->count, &choice);
	return &p->brokers->items[choice.index];
}

// What lies somewhere, and cannot be reached just now, stays as it is until there is a better
// place.
static bool may_be_deferred(const struct package *k)
{
	return k->state != PLACE_DEFERRED && place_step(k->state, PLACE_EV_NO_BROKER);
}

static struct place_choice package_choose(struct presence *p, struct package *k, struct now now)
{
	const struct place_policy policy = policy_of(p);
	struct place_candidate c[DATA_BROKERS_MAX];
	struct place_choice choice;
	size_t count = p->brokers->count;

	candidates_fill(p, k, true, c, now);
	choice = place_choose(c, count, &policy, now.wall.ms);
	if (choice.verdict == PLACE_NONE) { // better an avoided one than none
		candidates_fill(p, k, false, c, now);
		choice = place_choose(c, count, &policy, now.wall.ms);
	}
	if (choice.verdict == PLACE_NONE)
		choice.retry_after_ms = PRESENCE_RETRY_MS;
	if (choice.verdict == PLACE_CHOSEN || may_be_deferred(k))
		choice_log(k, c, count, &choice);
	return choice;
}

void leases_to_waiting(struct presence *p, struct package *k, const char *broker, struct now now)
{
	void *cursor = NULL;

	for (struct lease *l; k->leases > 0 && (l = leases_next(p->leases, &cursor));) {
		char client[LIMIT_ID + 1];
		uint64_t request_id = l->request_id;
		struct digest base = l->base;

		if (!digest_equal(&l->package, &k->id) || strcmp(l->broker, broker) != 0)
			continue;
		memcpy(client, l->client, sizeof(client));
		waiting_add(p, k, client, request_id, &base);
		lease_end(p, l, "the copy it names is gone", now);
	}
}

// What may lie at the broker of before is withdrawn.
static void package_leave(
	struct presence *p, struct package *k, const char *because, struct now now)
{
	char left[LIMIT_ID + 1];

	memcpy(left, k->broker, sizeof(left));
	k->broker[0] = 0;
	if (left[0])
		copies_leave(p, k, left, because, now);
}

static void package_defer(struct presence *p, struct package *k, uint64_t request_id,
	const struct place_choice *choice, struct now now)
{
	bool is_new = may_be_deferred(k) ||
		      (k->state == PLACE_DEFERRED && k->directive != DIRECTIVE_DEFER);
	const char *because = choice->verdict == PLACE_DEFER
				      ? "every data broker was a target lately"
				      : "no data broker is reachable, fresh and fit";

	k->retry_at_ms = now.mono.ms + choice->retry_after_ms;
	if (!is_new && (!request_id || k->state != PLACE_DEFERRED))
		return;
	if (!package_step(p, k, PLACE_EV_NO_BROKER, because, now))
		return;
	leases_to_waiting(p, k, k->broker, now);
	package_leave(p, k, because, now);
	directive_issue(p, k, DIRECTIVE_DEFER, request_id, now);
}

void target_note(struct presence *p, struct data_broker *b, struct now now)
{
	b->last_target = now.wall;
	b->target_at = now.mono;
	presence_store(p, rows_target_put(p->db, b->id, now.wall.ms));
}

void package_place(struct presence *p, struct package *k, uint64_t request_id, const char *because,
	struct now now)
{
	struct place_choice choice;
	struct data_broker *b;

	if (copies_adopt(p, k, because, now))
		return;
	choice = package_choose(p, k, now);
	if (choice.verdict != PLACE_CHOSEN) {
		package_defer(p, k, request_id, &choice, now);
		return;
	}
	b = &p->brokers->items[choice.index];
	if (!place_step(k->state, PLACE_EV_CHOSEN))
		return;
	leases_to_waiting(p, k, k->broker, now);
	copies_yield(p, k, b->id);
	if (strcmp(k->broker, b->id) != 0)
		package_leave(p, k, because, now);
	memcpy(k->broker, b->id, sizeof(k->broker));
	k->missing_count = 0;
	k->verified.ms = 0;
	k->sent_bytes = k->total_bytes = 0;
	if (!package_step(p, k, PLACE_EV_CHOSEN, because, now))
		return;
	target_note(p, b, now);
	directive_issue(p, k, DIRECTIVE_TRANSMIT, request_id, now);
}

void package_stop(struct presence *p, struct package *k, const char *because, struct now now)
{
	assert(k->leases == 0);
	copies_stop(p, k, because, now);
	if (package_step(p, k, PLACE_EV_UNWANTED, because, now))
		directive_issue(p, k, DIRECTIVE_STOP, 0, now);
}

// ---------------------------------------------------------------- read-back

void package_read_back(struct presence *p, struct package *k)
{
	struct data_broker *b = data_brokers_find(p->brokers, k->broker);
	struct readback_order order = {
		.package = k->id,
		.publisher = k->publisher,
		.mark = k->mark,
		.index_sha256 = k->index_sha256,
		.objects = k->missing,
		.object_count = k->missing_count,
	};

	if (k->state != PLACE_VERIFYING || k->reading_back || !b || !b->up)
		return;
	if (p->ports.publisher_key(p->ports.ctx, k->publisher, &order.publisher_key) != ERR_OK)
		return;
	k->reading_back = true;
	p->ports.readback(p->ports.ctx, k->broker, &order);
}

static void readback_proven(struct presence *p, struct package *k, struct now now)
{
	if (!package_step(p, k, PLACE_EV_PROVEN, "read back by a fresh subscription", now))
		return;
	k->failures = 0;
	k->missing_count = 0;
	k->avoid[0] = 0;
	k->verified = now.wall;
	k->verified_mono = now.mono;
	package_store(p, k);
	waiting_serve(p, k, now);
	if (k->leases == 0 && k->state == PLACE_STORED)
		package_step(p, k, PLACE_EV_UNLEASED,
			k->viewed ? "nobody has a lease" : "nobody has asked yet", now);
}

static int64_t backoff_ms(uint32_t failures)
{
	uint32_t shift = failures > 6 ? 6 : failures;

	return failures <= 1 ? 0 : INT64_C(1000) << shift;
}

// Nothing of it can be relied on at this broker. Wanted, or never seen by anybody: send it again.
static void package_lost(
	struct presence *p, struct package *k, enum place_event e, const char *why, struct now now)
{
	int64_t wait_ms = backoff_ms(++k->failures);

	log_warn("PLACE-LOST", "package=%s broker=%s failures=%u wanted=%s why=%s",
		digest_short(&k->id), k->broker, k->failures, package_is_wanted(k) ? "yes" : "no",
		log_quote(why));
	if (k->failures >= 2)
		memcpy(k->avoid, k->broker, sizeof(k->avoid));
	if (!package_is_wanted(k) && k->verified.ms != 0 && e == PLACE_EV_LOST) {
		package_stop(p, k, why, now);
		return;
	}
	leases_to_waiting(p, k, k->broker, now);
	if (!package_step(p, k, e, why, now))
		return;
	k->retry_at_ms = now.mono.ms +
			 (wait_ms < PRESENCE_BACKOFF_MAX_MS ? wait_ms : PRESENCE_BACKOFF_MAX_MS);
	if (wait_ms == 0)
		package_place(p, k, 0, why, now);
}

static void readback_repair(struct presence *p, struct package *k, const char *why, struct now now)
{
	if (k->missing_count == 0 || ++k->failures > 2) {
		package_lost(p, k, PLACE_EV_LOST, why, now);
		return;
	}
	if (package_step(p, k, PLACE_EV_CHOSEN, why, now))
		directive_issue(p, k, DIRECTIVE_REPAIR, 0, now);
}

void presence_readback(struct presence *p, const char *broker, const struct digest *package,
	enum readback_verdict verdict, const char *why, struct now now)
{
	struct package *k = presence_find(p, package);

	if (!k || copies_readback(p, k, broker, verdict, why, now))
		return;
	if (!k->reading_back || strcmp(k->broker, broker) != 0)
		return; // overtaken by events
	k->reading_back = false;
	if (k->state != PLACE_VERIFYING)
		return;
	switch (verdict) {
	case READBACK_PROVEN:
		readback_proven(p, k, now);
		break;
	case READBACK_LOST:
		package_lost(p, k, PLACE_EV_LOST, why, now);
		break;
	case READBACK_OBJECTS_MISSING:
		readback_repair(p, k, why, now);
		break;
	case READBACK_BROKEN:
		break; // asked again when the broker is back
	}
}

// ---------------------------------------------------------------- leases

void broker_count(struct presence *p, const char *broker, int sign, const struct lease *l)
{
	struct data_broker *b = data_brokers_find(p->brokers, broker);

	if (!b)
		return;
	if (sign > 0) {
		b->leases++;
		b->granted_bytes_per_s += l->rate_bytes_per_s;
		b->fresh_bytes_per_s += l->rate_bytes_per_s;
		b->slots_bytes += l->slot_bytes;
		return;
	}
	b->slots_bytes -= b->slots_bytes < l->slot_bytes ? b->slots_bytes : l->slot_bytes;
	b->leases -= b->leases > 0;
	b->granted_bytes_per_s -= b->granted_bytes_per_s < l->rate_bytes_per_s
					  ? b->granted_bytes_per_s
					  : l->rate_bytes_per_s;
}

void lease_end(struct presence *p, struct lease *l, const char *because, struct now now)
{
	struct package *k = presence_find(p, &l->package);
	struct copy *at;

	log_info("LEASE-END", "client=%s package=%s broker=%s lease=%" PRIu64 " because=%s",
		l->client, digest_short(&l->package), l->broker, l->id, log_quote(because));
	presence_store(p, rows_lease_delete(p->db, l->id));
	broker_count(p, l->broker, -1, l);
	rates_leave(p->rates, l->id);
	at = k ? copies_find(k, l->broker) : NULL;
	leases_remove(p->leases, l);
	if (!k || k->leases == 0)
		return;
	k->leases--;
	if (at && at->leases > 0 && --at->leases == 0)
		at->idle_since_attended_ms = presence_attended_ms(p, now);
	if (k->leases == 0 && k->state == PLACE_STORED)
		package_step(p, k, PLACE_EV_UNLEASED, "the last lease ended", now);
	else if (k->leases == 0)
		k->idle_since_attended_ms = presence_attended_ms(p, now);
}

// ---------------------------------------------------------------- acts of others

void presence_lease_renew(
	struct presence *p, const char *client, uint64_t lease, uint32_t told_interval_ms)
{
	leases_renew(p->leases, lease, client, p->attended_ms,
		lease_ttl_ms(p->config.lease_ttl_s * 1000, told_interval_ms));
}

static void package_leases_end(
	struct presence *p, struct package *k, const char *because, struct now now)
{
	void *cursor = NULL;
	struct waiting *w, *next;

	HASH_ITER(hh, k->waiting, w, next)
	{
		waiting_drop(p, k, w);
	}
	for (struct lease *l; k->leases > 0 && (l = leases_next(p->leases, &cursor));)
		if (digest_equal(&l->package, &k->id))
			lease_end(p, l, because, now);
}

enum err presence_withdraw(struct presence *p, const struct digest *id, struct now now)
{
	struct package *k = presence_find(p, id);

	if (!k)
		return err_set(ERR_NOT_FOUND, "no package %s", digest_short(id));
	if (k->state == PLACE_WITHDRAWN && k->barred)
		return ERR_OK;
	package_leases_end(p, k, "the package was withdrawn", now);
	k->barred = true;
	copies_stop(p, k, "the package was withdrawn", now);
	if (!package_step(p, k, PLACE_EV_WITHDRAW, "withdrawn by an operator", now))
		return err_set(ERR_NOT_NOW, "it cannot be withdrawn now");
	directive_issue(p, k, DIRECTIVE_STOP, 0, now);
	return ERR_OK;
}

enum err presence_restore(struct presence *p, const struct digest *id, struct now now)
{
	struct package *k = presence_find(p, id);

	if (!k)
		return err_set(ERR_NOT_FOUND, "no package %s", digest_short(id));
	if (k->state != PLACE_WITHDRAWN || !k->barred)
		return err_set(ERR_NOT_NOW, "package %s was not withdrawn by an operator",
			digest_short(id));
	k->barred = false;
	k->viewed = false;
	if (package_step(p, k, PLACE_EV_OFFER, "restored by an operator", now))
		package_place(p, k, 0, "restored by an operator", now);
	return ERR_OK;
}

void presence_principal_gone(struct presence *p, const char *id, enum role role, struct now now)
{
	struct package *k, *next;
	void *cursor = NULL;

	if (role == ROLE_CLIENT) {
		for (struct lease *l; (l = leases_next(p->leases, &cursor));)
			if (strcmp(l->client, id) == 0)
				lease_end(p, l, "the client was revoked or removed", now);
		HASH_ITER(hh, p->packages, k, next)
		{
			struct waiting *w;

			HASH_FIND_STR(k->waiting, id, w);
			if (w)
				waiting_drop(p, k, w);
		}
		return;
	}
	HASH_ITER(hh, p->packages, k, next)
	{
		if (role != ROLE_PUBLISHER || strcmp(k->publisher, id) != 0)
			continue;
		package_leases_end(p, k, "its publisher is gone", now);
		copies_drop(p, k);
		package_step(p, k, PLACE_EV_WITHDRAW, "its publisher was revoked or removed", now);
		k->answered = true;
		package_store(p, k);
	}
}
