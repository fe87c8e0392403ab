#include "server/distribute.h"

static const char *const reason_words[ROUTE_REASON_COUNT] = {
	[ROUTE_ASKED] = "asked",
	[ROUTE_REACHABLE] = "reachable",
	[ROUTE_PATIENCE] = "patience",
	[ROUTE_NO_MEDIUM] = "no-medium",
	[ROUTE_MASS_SILENCE] = "mass-silence",
	[ROUTE_NEVER_HEARD] = "never-heard",
	[ROUTE_SILENT] = "silent",
	[ROUTE_SEND_FAILED] = "send-failed",
};

// Why the link is no way to this client; ROUTE_REACHABLE or ROUTE_PATIENCE when it is one.
static enum route_reason link_verdict(const struct route_client *c, const struct route_policy *p)
{
	bool never = c->reach == REACH_NEVER;

	if (p->attempts_max && c->failed_attempts >= p->attempts_max)
		return ROUTE_SEND_FAILED;
	if (c->reach == REACH_ONLINE || c->reach == REACH_LATE)
		return ROUTE_REACHABLE;
	if (c->silent_ms <= (never ? p->never_ms : p->period_ms) && !(never && !p->never_ms))
		return ROUTE_PATIENCE;
	return never ? ROUTE_NEVER_HEARD : ROUTE_SILENT;
}

struct route_decision route_decide(const struct route_client *c, const struct route_policy *policy)
{
	enum route_reason why = link_verdict(c, policy);

	if (c->asks)
		return (struct route_decision){ROUTE_LINK, ROUTE_ASKED};
	if (why == ROUTE_REACHABLE || why == ROUTE_PATIENCE)
		return (struct route_decision){ROUTE_LINK, why};
	if (!policy->has_medium)
		return (struct route_decision){ROUTE_LINK, ROUTE_NO_MEDIUM};
	if (c->mass_silence && why != ROUTE_SEND_FAILED)
		return (struct route_decision){ROUTE_LINK, ROUTE_MASS_SILENCE};
	return (struct route_decision){ROUTE_MEDIUM, why};
}

const char *route_word(enum route r)
{
	return r == ROUTE_LINK ? "LINK" : r == ROUTE_MEDIUM ? "MEDIUM" : "?";
}

const char *route_reason_word(enum route_reason r)
{
	return r >= ROUTE_ASKED && r < ROUTE_REASON_COUNT ? reason_words[r] : "?";
}
