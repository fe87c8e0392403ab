// See lease_rates.h.
#include "server/lease_rates.h"

#include "proto/base/log.h"
#include "server/db/rows_budget.h"
#include "server/db/rows_content.h"
#include <inttypes.h>

struct rates *lease_rates_new(const struct presence_config *config)
{
	struct rates *r = rates_new(config->client_rate_bytes_per_s);

	for (size_t i = 0; i < config->budget_count; i++)
		if (budgets_line(rates_budgets(r), config->budgets[i]) != ERR_OK)
			log_warn("BUDGET-REFUSED", "why=%s", log_quote(err_text()));
	return r;
}

static enum err load_budget(void *ctx, const struct budget *b)
{
	struct presence *p = ctx;

	if (budget_check(b) != ERR_OK)
		return err_set(ERR_CORRUPT, "a stored budget makes no sense");
	return budgets_put(rates_budgets(p->rates), b);
}

enum err lease_rates_load(struct presence *p)
{
	budgets_unset_all(rates_budgets(p->rates));
	TRY(rows_budget_each(p->db, load_budget, p));
	rates_budgets_changed(p->rates);
	return ERR_OK;
}

// Silent for longer than this, it may hear us no more.
uint32_t lease_told_for_ms(uint32_t interval_ms)
{
	return 3 * interval_ms + 1000;
}

static void flow_begin(
	struct presence *p, struct lease *l, bool is_restored, uint64_t stored, struct now now)
{
	const struct data_broker *b = data_brokers_find(p->brokers, l->broker);
	// What a relay sends stays within its site.
	bool has_site = p->ports.site && !(b && b->is_relay);
	struct rates_lease flow = {
		.id = l->id,
		.client = l->client,
		.broker = l->broker,
		.site = has_site ? p->ports.site(p->ports.ctx, l->client) : "",
		.capacity_bytes_per_s = b ? b->capacity_bytes_per_s : 0,
		.told_for_ms =
			lease_told_for_ms(p->ports.told_interval_ms(p->ports.ctx, l->client)),
		.is_restored = is_restored,
		.stored = stored,
	};

	l->progress = (struct lease_progress){
		.moved_attended_ms = p->attended_ms, .heard_attended_ms = p->attended_ms};
	l->rate_bytes_per_s = rates_join(p->rates, &flow, now.mono);
	broker_count(p, l->broker, 1, l);
}

void lease_rate_begin(struct presence *p, struct lease *l, struct now now)
{
	flow_begin(p, l, false, 0, now);
}

void lease_rate_restore(struct presence *p, struct lease *l, uint64_t stored, struct now now)
{
	flow_begin(p, l, true, stored, now);
}

uint64_t lease_rate_share(const struct presence *p, const struct data_broker *b)
{
	return rates_of_broker(p->rates, b->id, b->capacity_bytes_per_s) / (b->leases + 1);
}

uint64_t lease_rate_next(const struct presence *p, const char *client, const struct data_broker *b)
{
	uint64_t part = lease_rate_share(p, b);
	uint64_t cap = rates_client_cap(p->rates, client);

	return cap && cap < part ? cap : part ? part : 1;
}

// Of several servers the one that comes to answer the client, or to lead, reads it in the store.
static void rate_changed(struct presence *p, struct lease *l, uint64_t rate)
{
	struct data_broker *b = data_brokers_find(p->brokers, l->broker);

	if (rate == l->rate_bytes_per_s)
		return;
	log_debug("RATE", "client=%s broker=%s lease=%" PRIu64 " rate_bytes_per_s=%" PRIu64,
		l->client, l->broker, l->id, rate);
	if (b)
		b->granted_bytes_per_s += rate - l->rate_bytes_per_s;
	l->rate_bytes_per_s = rate;
	if (p->config.store_is_shared)
		presence_store(p, rows_lease_rate_put(p->db, l->id, rate));
}

uint64_t lease_rate_tell(struct presence *p, const char *client, uint64_t channel_rate,
	uint32_t told_interval_ms, struct now now)
{
	struct lease *l = leases_newest(p->leases, client);
	uint64_t rate;

	if (!l)
		return 0;
	rate = rates_tell(
		p->rates, l->id, channel_rate, lease_told_for_ms(told_interval_ms), now.mono);
	rate_changed(p, l, rate);
	return rate;
}

bool lease_rate_offer(struct presence *p, const char *client, uint64_t lease,
	const struct rates_shown *shown, struct now now, uint64_t *rate)
{
	struct lease *l = leases_newest(p->leases, client);
	bool is_new;

	if (!l || l->id != lease)
		return false; // what it fetches by now, its server was told with the grant
	*rate = l->rate_bytes_per_s;
	is_new = rates_offer(p->rates, l->id, shown, now.mono, rate);
	rate_changed(p, l, *rate);
	return is_new;
}

static void lease_stalled(
	struct presence *p, struct lease *l, const struct holding *h, struct now now)
{
	l->progress.is_stalled = true;
	p->stalls++;
	log_warn("FETCH-STALLED",
		"client=%s package=%s broker=%s lease=%" PRIu64 " chunks=%u/%u "
		"rate_bytes_per_s=%" PRIu64 " for_s=%" PRId64,
		l->client, digest_short(&l->package), l->broker, l->id, h->chunks_have,
		h->chunks_total, l->rate_bytes_per_s,
		(p->attended_ms - l->progress.moved_attended_ms) / 1000);
	if (lease_move(p, l, now))
		return;
	l->progress.is_stalled = false; // it is looked at again after the same patience
	l->progress.moved_attended_ms = p->attended_ms;
}

void lease_progress_heard(struct presence *p, const char *client, const struct holding *h,
	uint32_t told_interval_ms, struct now now)
{
	struct lease *l = leases_find(p->leases, h->lease);
	const struct package *k = l ? presence_find(p, &l->package) : NULL;
	int64_t patience_ms;

	if (!k || strcmp(l->client, client) != 0)
		return;
	lease_progress_note(&l->progress, &(struct lease_shown){
						  .have = h->chunks_have,
						  .total = h->chunks_total,
						  .looked_mb = h->looked_mb,
						  .object_bytes = k->object_bytes,
						  .silence_ms = lease_told_for_ms(told_interval_ms),
						  .attended_ms = p->attended_ms,
						  .now = now.mono,
					  });
	if (p->config.stalled_after_s == 0 || l->progress.is_stalled)
		return;
	patience_ms = lease_patience_ms(
		p->config.stalled_after_s * 1000, told_interval_ms, l->rate_bytes_per_s);
	if (lease_progress_stands(&l->progress, p->attended_ms, patience_ms))
		lease_stalled(p, l, h, now);
}

enum err lease_budget_set(struct presence *p, const struct budget *b)
{
	struct budget stored = *b;

	stored.is_stored = true;
	TRY(budget_check(b));
	TRY(budgets_put(rates_budgets(p->rates), &stored));
	TRY(rows_budget_put(
		p->db, &stored)); // one that fails fails the turn, and all is loaded again
	rates_budgets_changed(p->rates);
	log_info("BUDGET-SET", "kind=%s name=%s bytes_per_s=%" PRIu64 " fetches=%u",
		budget_word(b->kind), log_quote(b->name), b->bytes_per_s, b->fetches);
	return ERR_OK;
}

enum err lease_budget_unset(struct presence *p, enum budget_kind kind, const char *name)
{
	if (!budgets_unset(rates_budgets(p->rates), kind, name))
		return err_set(ERR_NOT_FOUND, "nobody set a budget of %s %s while running",
			budget_word(kind), name);
	rates_budgets_changed(p->rates);
	log_info("BUDGET-UNSET", "kind=%s name=%s", budget_word(kind), log_quote(name));
	return rows_budget_delete(p->db, kind, name);
}
