// What one device with valid credentials may cost: everything it can say again and again has a
// bound here, so that the others are served as if it were not there.
//
//   messages     more in a second than the limit are dropped before they are read
//   sign-ins     so many in a minute, whether they succeed or not
//   changes      so many in a minute; what is more is not acknowledged, and comes again
//   disagreeing  each correction waits longer than the one before, and one alert; only a while of
//                agreeing makes it new again
//   beats        more often than told are seen, also when the client says otherwise
//   log lines    of what devices do wrong, of all of them together
#include "server/core_inside.h"
#include <string.h>

#define CHANGES_PER_MINUTE 120u
#define PEOPLE_TIMES 50u
#define HASTY_TIMES 4 // as often as told; less is jitter, and the network
#define CANCELS_AT_ONCE 4u
#define AGREED_BEATS 64u // as long as the longest wait between two corrections

static bool minute_take(struct per_minute *m, struct mono now, uint32_t limit)
{
	uint32_t minute = (uint32_t)(now.ms / 60000);

	if (m->minute != minute)
		*m = (struct per_minute){.minute = minute};
	if (m->count >= limit)
		return false;
	m->count++;
	return true;
}

bool patience_sign_in(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = client_rare_get(c);
	// Each command of an operator is a sign-in.
	uint32_t times = c->role == ROLE_CLIENT ? 1 : PEOPLE_TIMES;

	return rare && minute_take(&rare->sign_ins, core->now.mono,
			       core->config.offers_per_client_min * times);
}

bool patience_change(struct core *core, struct client_rare *rare)
{
	return minute_take(&rare->changes, core->now.mono, CHANGES_PER_MINUTE);
}

// Two numbers may share a place: the limit is far above what a fleet sends in a second to one.
bool patience_message(struct core *core, uint32_t number)
{
	struct message_meter *m = &core->meter;
	int64_t second = core->now.mono.ms / 1000;

	if (core->config.messages_per_s == 0)
		return true;
	if (m->second != second) {
		memset(m->counts, 0, sizeof(m->counts));
		m->second = second;
	}
	uint16_t *count = &m->counts[number % METER_PLACES];
	if (*count >= core->config.messages_per_s)
		return false;
	++*count;
	return true;
}

// A clock that was set back says nothing.
void patience_pace(
	struct core *core, uint32_t number, uint32_t beats, int64_t span_ms, uint32_t told_ms)
{
	struct client *c = client_at(&core->clients, number);
	bool hasty = span_ms >= 0 && span_ms * HASTY_TIMES < (int64_t)beats * told_ms;
	struct client_rare *rare = hasty || c->rare ? client_rare_get(c) : NULL;

	if (!rare || rare->hasty == hasty)
		return;
	rare->hasty = hasty;
	if (!hasty)
		return;
	core->hasty++;
	c->mismatches = (uint16_t)(c->mismatches + (c->mismatches < UINT16_MAX));
	c->flags |= CLIENT_STALE_ROW;
	view_due(core, number);
	if (patience_tell(core))
		log_warn("CLIENT-HASTY", "client=%s told_ms=%u keeps_ms=%lld",
			client_id(&core->clients, c), told_ms, (long long)(span_ms / beats));
}

bool patience_tell(struct core *core)
{
	if (ratelimit_take(&core->tellings, 1, core->now.mono))
		return true;
	core->untold++;
	return false;
}

void patience_disagreed(struct core *core, uint32_t number, bool by_cancel, const char *why)
{
	struct client *c = client_at(&core->clients, number);
	struct client_rare *rare = c->rare;

	rare->corrections = (uint16_t)(rare->corrections + (rare->corrections < UINT16_MAX));
	uint32_t distance = rare->corrections;
	if (by_cancel) // the first ones at once: the operations may be several
		distance = distance > CANCELS_AT_ONCE ? distance - CANCELS_AT_ONCE : 0;
	rare->correction_wait = (uint16_t)(distance ? 1u << (distance < 6 ? distance : 6) : 0);
	rare->agreed_beats = 0;
	if (rare->corrections <= core->config.mismatch_limit || rare->alerted)
		return;
	rare->alerted = true;
	core->alerts++;
	log_error("CLIENT-DISAGREES", "client=%s corrections=%u why=%s",
		client_id(&core->clients, c), rare->corrections, log_quote(why));
}

void patience_judged(struct client_rare *rare, const struct accordance *a)
{
	if (rare->correction_wait > 0)
		rare->correction_wait--;
	if (rare->corrections == 0)
		return;
	rare->agreed_beats = (uint8_t)(a->mismatch ? 0 : rare->agreed_beats + 1);
	if (rare->agreed_beats < AGREED_BEATS)
		return;
	rare->corrections = rare->correction_wait = rare->agreed_beats = 0;
	rare->alerted = false;
}
