// See next_event.h.
#include "server/next_event.h"

static struct next_event nothing(enum reason_code code, const char *why)
{
	return (struct next_event){NEXT_NOTHING, code, why};
}

static struct next_event later(void)
{
	return nothing(REASON_RESYNC,
		"the client disagrees again; the next correction waits for its turn");
}

static struct next_event correction(const struct next_input *in)
{
	const struct accordance *a = in->accordance;

	switch (a->outcome) {
	case ACCORD_RESEND:
		return (struct next_event){NEXT_RESEND, a->code, a->why};
	case ACCORD_CANCEL:
		if (in->correction_waits && a->mismatch)
			return later();
		return (struct next_event){NEXT_CANCEL, a->code, a->why};
	case ACCORD_RESYNC:
	case ACCORD_RESTORED:
		if (in->correction_waits)
			return later();
		return (struct next_event){NEXT_RESYNC, a->code, a->why};
	case ACCORD:
		break;
	}
	return nothing(REASON_CAUGHT_UP, "");
}

static struct next_event from_channel(const struct next_input *in)
{
	switch (in->channel_shows) {
	case QUEUE_DETACHED:
		if (in->held)
			return nothing(REASON_HOLD, "the channel is paused");
		if (in->resting)
			return nothing(REASON_ATTEMPTS_EXHAUSTED,
				"every attempt failed; the next one waits for its time, or for "
				"something new");
		if (!in->holdings_known)
			return (struct next_event){NEXT_ASK_HOLDINGS, REASON_SNAPSHOT,
				"the client is new or was away: what does it hold"};
		return (struct next_event){
			NEXT_SNAPSHOT, REASON_SNAPSHOT, "everything the client lacks, at once"};
	case QUEUE_ELEMENT:
		if (in->held && in->channel_type != ELEMENT_CONTROL)
			return nothing(REASON_HOLD, "the channel is paused");
		return (struct next_event){NEXT_CHANNEL, REASON_EVENT, ""};
	case QUEUE_NONE:
	case QUEUE_TAIL:
		break;
	}
	return nothing(REASON_CAUGHT_UP,
		in->asked_again ? "nothing waits; the answer asked for again held nothing"
				: "nothing waits for this client");
}

size_t next_channel_choose(const struct channel_offer *offers, size_t count, bool resting)
{
	size_t holds_back = count;

	for (size_t i = 0; i < count; i++) {
		const struct channel_offer *o = &offers[i];
		bool waits = o->shows == QUEUE_ELEMENT || o->shows == QUEUE_DETACHED;
		bool held = o->held && !(o->shows == QUEUE_ELEMENT && o->type == ELEMENT_CONTROL);
		if (waits && !held && !(o->shows == QUEUE_DETACHED && resting))
			return i;
		if (waits && holds_back == count)
			holds_back = i;
	}
	return holds_back < count ? holds_back : 0;
}

struct next_event next_event_of_queues(const struct next_input *in)
{
	bool private_waits = in->private_shows == QUEUE_ELEMENT;

	if (private_waits && in->private_in_a_row < in->private_limit)
		return (struct next_event){NEXT_PRIVATE, REASON_EVENT, ""};
	struct next_event channel = from_channel(in);
	if (channel.act == NEXT_NOTHING && private_waits)
		return (struct next_event){NEXT_PRIVATE, REASON_EVENT, ""};
	return channel;
}

static struct next_event unhurried(const struct next_input *in)
{
	if (in->state == CS_CLONE_SUSPECT)
		return nothing(REASON_CLONE_SUSPECT,
			"two devices seem to use this identity: an operator decides");
	if (in->degraded)
		return nothing(REASON_DEGRADED, "the server cannot store what it would begin");
	if (in->accordance->outcome != ACCORD)
		return correction(in);
	if (in->cancel_asked && in->open)
		return (struct next_event){
			NEXT_CANCEL_OPEN, REASON_EVENT, "an operator cancels the open operation"};
	if (in->busy)
		return nothing(REASON_BUSY, "the client asked to be left alone");
	if (in->open && !in->overtakes)
		return nothing(REASON_OPERATION_OPEN,
			in->accordance->waits
				? "the client says done; its report has not arrived yet"
				: "the client is at work");
	if (in->retry && !in->open)
		return (struct next_event){
			NEXT_RETRY, REASON_RETRY, "the operation failed and is tried again"};
	return next_event_of_queues(in);
}

bool next_event_is_of_many(const struct next_input *in, const struct next_event *next)
{
	return (next->act == NEXT_CHANNEL && in->channel_type != ELEMENT_CONTROL) ||
	       next->act == NEXT_ASK_HOLDINGS || next->act == NEXT_SNAPSHOT ||
	       next->act == NEXT_RETRY;
}

struct next_event next_event_decide(const struct next_input *in)
{
	struct next_event next = unhurried(in);

	if (in->turn_waits && next_event_is_of_many(in, &next))
		return nothing(
			REASON_TURN, "many are given something at once; this client's turn comes");
	return next;
}
