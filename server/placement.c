#include "server/placement.h"

#include <string.h>

static const char *const state_words[PLACE_STATE_COUNT] = {
	[PLACE_OFFERED] = "offered",
	[PLACE_DEFERRED] = "deferred",
	[PLACE_SENDING] = "sending",
	[PLACE_VERIFYING] = "verifying",
	[PLACE_STORED] = "stored",
	[PLACE_LINGER] = "linger",
	[PLACE_STOPPING] = "stopping",
	[PLACE_WAITING] = "waiting",
	[PLACE_WITHDRAWN] = "withdrawn",
};

static const char *const event_words[PLACE_EVENT_COUNT] = {
	[PLACE_EV_OFFER] = "offer",
	[PLACE_EV_CHOSEN] = "chosen",
	[PLACE_EV_NO_BROKER] = "no-broker",
	[PLACE_EV_CLAIMED] = "claimed",
	[PLACE_EV_DOUBT] = "doubt",
	[PLACE_EV_PROVEN] = "proven",
	[PLACE_EV_LOST] = "lost",
	[PLACE_EV_FAILED] = "failed",
	[PLACE_EV_LEASED] = "leased",
	[PLACE_EV_UNLEASED] = "unleased",
	[PLACE_EV_ADOPTED] = "adopted",
	[PLACE_EV_UNWANTED] = "unwanted",
	[PLACE_EV_STOPPED] = "stopped",
	[PLACE_EV_WITHDRAW] = "withdraw",
};

// Cells left out refuse.
static const enum place_state table[PLACE_STATE_COUNT][PLACE_EVENT_COUNT] = {
	[PLACE_OFFERED] =
		{
			[PLACE_EV_OFFER] = PLACE_OFFERED,
			[PLACE_EV_CHOSEN] = PLACE_SENDING,
			[PLACE_EV_NO_BROKER] = PLACE_DEFERRED,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_DEFERRED] =
		{
			[PLACE_EV_ADOPTED] = PLACE_VERIFYING,
			[PLACE_EV_CHOSEN] = PLACE_SENDING,
			[PLACE_EV_NO_BROKER] = PLACE_DEFERRED,
			[PLACE_EV_UNWANTED] = PLACE_STOPPING,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_SENDING] =
		{
			[PLACE_EV_ADOPTED] = PLACE_VERIFYING,
			[PLACE_EV_CHOSEN] = PLACE_SENDING,
			[PLACE_EV_NO_BROKER] = PLACE_DEFERRED,
			[PLACE_EV_CLAIMED] = PLACE_VERIFYING,
			[PLACE_EV_FAILED] = PLACE_DEFERRED,
			[PLACE_EV_UNWANTED] = PLACE_STOPPING,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_VERIFYING] =
		{
			[PLACE_EV_ADOPTED] = PLACE_VERIFYING,
			[PLACE_EV_CHOSEN] = PLACE_SENDING,
			[PLACE_EV_CLAIMED] = PLACE_VERIFYING,
			[PLACE_EV_DOUBT] = PLACE_VERIFYING,
			[PLACE_EV_PROVEN] = PLACE_STORED,
			[PLACE_EV_LOST] = PLACE_DEFERRED,
			[PLACE_EV_FAILED] = PLACE_DEFERRED,
			[PLACE_EV_UNWANTED] = PLACE_STOPPING,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_STORED] =
		{
			[PLACE_EV_ADOPTED] = PLACE_VERIFYING,
			[PLACE_EV_CHOSEN] = PLACE_SENDING,
			[PLACE_EV_CLAIMED] = PLACE_STORED,
			[PLACE_EV_DOUBT] = PLACE_VERIFYING,
			[PLACE_EV_PROVEN] = PLACE_STORED,
			[PLACE_EV_FAILED] = PLACE_DEFERRED,
			[PLACE_EV_LEASED] = PLACE_STORED,
			[PLACE_EV_UNLEASED] = PLACE_LINGER,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_LINGER] =
		{
			[PLACE_EV_ADOPTED] = PLACE_VERIFYING,
			[PLACE_EV_CHOSEN] = PLACE_SENDING,
			[PLACE_EV_CLAIMED] = PLACE_LINGER,
			[PLACE_EV_DOUBT] = PLACE_VERIFYING,
			[PLACE_EV_PROVEN] = PLACE_LINGER,
			[PLACE_EV_FAILED] = PLACE_DEFERRED,
			[PLACE_EV_LEASED] = PLACE_STORED,
			[PLACE_EV_UNLEASED] = PLACE_LINGER,
			[PLACE_EV_UNWANTED] = PLACE_STOPPING,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_STOPPING] =
		{
			[PLACE_EV_STOPPED] = PLACE_WAITING,
			[PLACE_EV_FAILED] = PLACE_WAITING,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_WAITING] =
		{
			[PLACE_EV_ADOPTED] = PLACE_VERIFYING,
			[PLACE_EV_CHOSEN] = PLACE_SENDING,
			[PLACE_EV_NO_BROKER] = PLACE_DEFERRED,
			[PLACE_EV_STOPPED] = PLACE_WAITING,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
	[PLACE_WITHDRAWN] =
		{
			[PLACE_EV_OFFER] = PLACE_OFFERED,
			[PLACE_EV_STOPPED] = PLACE_WITHDRAWN,
			[PLACE_EV_WITHDRAW] = PLACE_WITHDRAWN,
		},
};

const char *place_state_word(enum place_state s)
{
	return s >= PLACE_OFFERED && s < PLACE_STATE_COUNT ? state_words[s] : "?";
}

const char *place_event_word(enum place_event e)
{
	return (unsigned)e < PLACE_EVENT_COUNT ? event_words[e] : "?";
}

enum err place_state_parse(const char *word, enum place_state *out)
{
	for (int s = PLACE_OFFERED; s < PLACE_STATE_COUNT; s++)
		if (strcmp(state_words[s], word) == 0) {
			*out = (enum place_state)s;
			return ERR_OK;
		}
	return err_set(ERR_FORMAT, "'%s' is no state of a placement", word);
}

enum place_state place_step(enum place_state s, enum place_event e)
{
	if (s < PLACE_OFFERED || s >= PLACE_STATE_COUNT || (unsigned)e >= PLACE_EVENT_COUNT)
		return 0;
	return table[s][e];
}

// Time until the recent period of this candidate is over; 0: it is no recent target.
static int64_t recent_left_ms(
	const struct place_candidate *c, const struct place_policy *policy, int64_t now_unix_ms)
{
	int64_t age_ms = now_unix_ms - c->last_target_unix_ms;

	if (!c->last_target_unix_ms || age_ms < 0 || age_ms >= policy->recent_period_ms)
		return 0;
	return policy->recent_period_ms - age_ms;
}

int64_t place_score(double busy)
{
	return busy < 1e12 ? (int64_t)(busy * 100 + 0.5) : INT64_C(100000000000000);
}

static bool is_less_busy(const struct place_candidate *a, const struct place_candidate *b)
{
	int64_t one = place_score(a->busy), other = place_score(b->busy);

	if (one != other)
		return one < other;
	if (a->leases != b->leases)
		return a->leases < b->leases;
	return strcmp(a->id, b->id) < 0;
}

struct place_choice place_choose(const struct place_candidate *c, size_t count,
	const struct place_policy *policy, int64_t now_unix_ms)
{
	const struct place_candidate *best = NULL, *oldest = NULL;
	int64_t shortest_ms = 0;

	for (size_t i = 0; i < count; i++) {
		int64_t left_ms = recent_left_ms(&c[i], policy, now_unix_ms);

		if (!c[i].usable)
			continue;
		if (left_ms == 0 && (!best || is_less_busy(&c[i], best)))
			best = &c[i];
		if (left_ms > 0 && (!oldest || left_ms < shortest_ms)) {
			oldest = &c[i];
			shortest_ms = left_ms;
		}
	}
	if (best)
		return (struct place_choice){.verdict = PLACE_CHOSEN, .index = (size_t)(best - c)};
	if (!oldest)
		return (struct place_choice){.verdict = PLACE_NONE};
	if (policy->fallback_oldest)
		return (struct place_choice){
			.verdict = PLACE_CHOSEN, .index = (size_t)(oldest - c), .fallback = true};
	return (struct place_choice){.verdict = PLACE_DEFER, .retry_after_ms = shortest_ms};
}
