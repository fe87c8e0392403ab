// What the presence server does as time passes, and when a connection to a data broker comes or
// goes.
#include "server/presence.h"

#include "proto/base/log.h"
#include "server/bases.h"
#include "server/copies.h"
#include <inttypes.h>

void presence_broker(
	struct presence *p, const char *broker, bool up, const char *why, struct now now)
{
	struct data_broker *b = data_brokers_find(p->brokers, broker);
	struct package *k, *next;

	if (!b)
		return;
	data_broker_link(b, up, why, now);
	HASH_ITER(hh, p->packages, k, next)
	{
		copies_broker(p, k, broker, up, now);
		if (strcmp(k->broker, broker) != 0)
			continue;
		if (!up)
			k->reading_back = false;
		if (place_is_stored(k->state))
			package_step(p, k, PLACE_EV_DOUBT,
				up ? "connected anew" : "our connection broke", now);
		if (up)
			package_read_back(p, k);
	}
}

void presence_spread(struct presence *p, uint32_t spread_ms)
{
	p->spread_ms = spread_ms;
}

void presence_control(struct presence *p, bool up)
{
	if (up && !p->attended)
		p->spread_left_ms = p->spread_ms;
	p->attended = up;
}

static void attended_advance(struct presence *p, struct now now)
{
	int64_t passed_ms = p->ticked ? mono_since_ms(now.mono, p->last_tick) : 0;

	p->last_tick = now.mono;
	p->ticked = true;
	if (passed_ms <= 0)
		return;
	if (passed_ms > 5000) { // we were stopped: nobody was heard meanwhile
		p->spread_left_ms = p->spread_ms;
		return;
	}
	if (!p->attended)
		return;
	if (p->spread_left_ms > 0) {
		p->spread_left_ms -= passed_ms;
		return;
	}
	p->attended_ms += passed_ms;
}

// Ends what is over, and counts what the brokers have not measured yet.
static void leases_tick(struct presence *p, struct now now)
{
	void *cursor = NULL;

	for (size_t i = 0; i < p->brokers->count; i++) {
		p->brokers->items[i].fresh_bytes_per_s = 0;
		p->brokers->items[i].placements = 0;
		data_broker_budget(&p->brokers->items[i],
			rates_of_broker(p->rates, p->brokers->items[i].id, 0), now.mono);
	}
	for (struct lease *l; (l = leases_next(p->leases, &cursor));) {
		struct data_broker *b = data_brokers_find(p->brokers, l->broker);

		if (l->expires_attended_ms <= p->attended_ms)
			lease_end(p, l, "expired: no heartbeat lists it", now);
		else if (b && p->attended_ms - l->granted_attended_ms < PRESENCE_MEASURED_MS)
			b->fresh_bytes_per_s += l->rate_bytes_per_s;
	}
}

static void waiting_tick(struct presence *p, struct package *k)
{
	struct waiting *w, *next;

	HASH_ITER(hh, k->waiting, w, next)
	{
		if (w->until_attended_ms > p->attended_ms)
			continue;
		waiting_drop(p, k, w);
		k->idle_since_attended_ms = p->attended_ms;
	}
}

// Nobody has wanted it for its time.
static bool package_is_over(const struct presence *p, const struct package *k)
{
	uint32_t limit_s = k->viewed ? p->config.linger_s : p->config.first_viewer_grace_s;

	if (package_is_wanted(k) || (!k->viewed && limit_s == 0))
		return false;
	if (p->ports.mass_silence && p->ports.mass_silence(p->ports.ctx))
		return false; // their leases ended because nobody hears them
	return p->attended_ms - k->idle_since_attended_ms >= (int64_t)limit_s * 1000;
}

static bool broker_is_away(struct presence *p, const struct package *k, struct now now)
{
	const struct data_broker *b = data_brokers_find(p->brokers, k->broker);

	return !b || data_broker_is_away(
			     b, p->brokers->sys_interval_s, p->config.broker_away_s, now.mono);
}

static void package_on_broker_tick(struct presence *p, struct package *k, struct now now)
{
	// What was never seen stays until it was stored and nobody came; not at a broker that is
	// none of ours any more, which nobody will read back.
	bool is_ours = data_brokers_find(p->brokers, k->broker) != NULL;
	bool may_stop =
		k->state == PLACE_LINGER || ((k->viewed || !is_ours) && k->state != PLACE_STORED);

	if (may_stop && package_is_over(p, k)) {
		package_stop(
			p, k, k->viewed ? "nobody wants it any more" : "nobody asked for it", now);
		return;
	}
	if (broker_is_away(p, k, now) && (package_is_wanted(k) || k->state == PLACE_SENDING)) {
		memcpy(k->avoid, k->broker, sizeof(k->avoid));
		if (now.mono.ms >= k->retry_at_ms) {
			k->retry_at_ms = now.mono.ms + PRESENCE_RETRY_MS;
			package_place(p, k, 0, "its data broker is away", now);
		}
		return;
	}
	package_read_back(p, k);
	waiting_move(p, k, now);
}

// A publisher cannot withdraw from a broker that is away; whoever wants the content need not wait
// for that.
static void stopping_tick(struct presence *p, struct package *k, struct now now)
{
	if (!package_is_wanted(k) || !broker_is_away(p, k, now))
		return;
	if (!package_step(p, k, PLACE_EV_STOPPED, "its data broker is away", now))
		return;
	memcpy(k->avoid, k->broker, sizeof(k->avoid));
	package_place(p, k, 0, "a client asks for it", now);
}

static void package_tick(struct presence *p, struct package *k, struct now now)
{
	struct data_broker *b = data_brokers_find(p->brokers, k->broker);

	if (b && place_is_on_broker(k->state))
		b->placements++;
	copies_tick(p, k, now);
	waiting_tick(p, k);
	switch (k->state) {
	case PLACE_DEFERRED:
	case PLACE_OFFERED:
		if (k->viewed && package_is_over(p, k) && k->state == PLACE_DEFERRED)
			package_stop(p, k, "nobody wants it any more", now);
		else if (now.mono.ms >= k->retry_at_ms)
			package_place(p, k, 0, "it waited for a data broker", now);
		break;
	case PLACE_SENDING:
	case PLACE_VERIFYING:
	case PLACE_STORED:
	case PLACE_LINGER:
		package_on_broker_tick(p, k, now);
		break;
	case PLACE_WAITING:
		if (package_is_wanted(k) && now.mono.ms >= k->retry_at_ms)
			package_place(p, k, 0, "a client asks for it", now);
		break;
	case PLACE_STOPPING:
		stopping_tick(p, k, now);
		break;
	case PLACE_WITHDRAWN:
	case PLACE_STATE_COUNT:
		break;
	}
	if (!k->answered && k->directive &&
		mono_since_ms(now.mono, k->directive_sent) >= p->config.directive_repeat_ms)
		directive_send(p, k, 0, now);
}

void presence_tick(struct presence *p, struct now now)
{
	struct package *k, *next;

	attended_advance(p, now);
	leases_tick(p, now);
	rates_settle(p->rates, now.mono);
	HASH_ITER(hh, p->packages, k, next)
	{
		package_tick(p, k, now);
	}
	lines_serve(p, now);
	bases_tick(p, now);
}
