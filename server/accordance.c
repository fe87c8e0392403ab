// The tables of protocol.md, one function per question.
#include "server/accordance.h"

#define PATIENCE 2 // NO_ACTIONs while DONE waits for its report
// A client takes the answers to this many of its beats: one that shows an id so recent hears us,
// only late. To resync it would make an overloaded server's work harder.
#define ANSWERS_UNDER_WAY 16

enum shows {
	SHOWS_D,
	SHOWS_LOST,
	SHOWS_LATER,
	SHOWS_STRANGE
};

static uint32_t incarnation_of(uint64_t response_id)
{
	return (uint32_t)(response_id >> 32);
}

static enum shows position(const struct accordance_state *s, const struct accordance_shown *h)
{
	uint64_t shown = h->last_response_id;

	if (incarnation_of(shown) > s->incarnation)
		return SHOWS_LATER;
	if (shown >= s->d && (shown <= s->v || incarnation_of(shown) < s->incarnation))
		return SHOWS_D;
	if (s->open_op && shown >= s->p && shown < s->d)
		return SHOWS_LOST;
	return SHOWS_STRANGE;
}

static struct accordance resync(const char *why)
{
	return (struct accordance){
		.outcome = ACCORD_RESYNC, .code = REASON_RESYNC, .why = why, .mismatch = true};
}

static struct accordance accord(void)
{
	return (struct accordance){.outcome = ACCORD, .why = "", .received = true};
}

// The client does not do, or has not done, what D said.
static struct accordance mismatch(const struct accordance_state *s, const char *why)
{
	if (s->resends >= s->mismatch_limit)
		return resync("the client does not work at what it was told, though told again and "
			      "again");
	return (struct accordance){
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_MISMATCH,
		.why = why,
		.mismatch = true,
		.received = true,
	};
}

static struct accordance done_info(const struct accordance_state *s)
{
	struct accordance a = accord();

	if (s->reported) {
		a.completes = OP_DONE;
		return a;
	}
	if (s->patience >= PATIENCE)
		return mismatch(s, "the client says done but its report did not arrive");
	a.waits = true;
	return a;
}

static struct accordance done(const struct accordance_state *s)
{
	struct accordance a = accord();

	if (s->state == CS_AWAIT_INFO)
		return done_info(s);
	if (s->state == CS_AWAIT_RETRIEVE && !s->complete)
		return mismatch(s, "the client says done but its holdings lack the package");
	if (s->is_resync && !s->full_holdings)
		return mismatch(s, "the client says done but did not tell everything it holds");
	a.completes = OP_DONE;
	return a;
}

static struct accordance final_status(const struct accordance_state *s, enum op_status status)
{
	if (status == OP_DONE)
		return done(s);
	struct accordance a = accord();
	a.completes = status;
	return a;
}

static struct accordance judge_open(
	const struct accordance_state *s, const struct accordance_shown *h)
{
	if (h->op_id == s->open_op)
		return op_status_is_final(h->op_status) ? final_status(s, h->op_status) : accord();
	if (s->passed_op && h->op_id == s->passed_op) {
		// The cancel was received and has not been worked off, or what it passed ended by
		// itself.
		struct accordance a = accord();
		if (op_status_is_final(h->op_status))
			a.passed_completes = h->op_status;
		return a;
	}
	return mismatch(s, h->op_id ? "the client works at another operation than it was told"
				    : "the client received the operation and does not show it");
}

static struct accordance judge_idle(
	const struct accordance_state *s, const struct accordance_shown *h)
{
	if (h->op_id == 0)
		return accord();
	if (h->op_id > s->v && incarnation_of(h->op_id) >= s->incarnation)
		return (struct accordance){
			.outcome = op_status_is_final(h->op_status) ? ACCORD_RESYNC : ACCORD_CANCEL,
			.code = op_status_is_final(h->op_status) ? REASON_RESYNC
								 : REASON_CANCEL_UNKNOWN,
			.why = "the client shows an operation that was never given",
			.mismatch = true,
			.received = true,
		};
	if (op_status_is_final(h->op_status))
		return accord();
	return (struct accordance){
		.outcome = ACCORD_CANCEL,
		.code = REASON_CANCEL_UNKNOWN,
		.why = h->op_id == s->d ? "the client works at an operation that has ended"
					: "the client works at an operation that it was not given",
		.mismatch = true,
		.received = true,
	};
}

static struct accordance judge_lost(
	const struct accordance_state *s, const struct accordance_shown *h)
{
	if (h->ack == ACK_RESEND && s->ack_resends >= s->resend_limit)
		return resync("the client asked for the same response again and again");
	return (struct accordance){
		.outcome = ACCORD_RESEND,
		.code = h->ack == ACK_RESEND ? REASON_RESEND_ASKED : REASON_RESEND_LOST,
		.why = h->ack == ACK_RESEND ? "the client asked for it again"
					    : "the last response did not arrive",
	};
}

struct accordance accordance_judge(
	const struct accordance_state *s, const struct accordance_shown *h)
{
	if (s->state == CS_CLONE_SUSPECT)
		return accord();
	if (s->open_op && h->op_id == s->open_op && op_status_is_final(h->op_status))
		return final_status(s, h->op_status);
	switch (position(s, h)) {
	case SHOWS_LATER:
		return (struct accordance){
			.outcome = ACCORD_RESTORED,
			.code = REASON_RESYNC,
			.why = "the client remembers a later start of the server",
			.mismatch = true,
		};
	case SHOWS_LOST:
		return judge_lost(s, h);
	case SHOWS_STRANGE:
		return resync("the client shows a response that it was not given");
	case SHOWS_D:
		break;
	}
	if (h->ack == ACK_RESEND && s->ack_resends >= s->resend_limit && s->state != CS_RESYNC &&
		s->v - h->last_response_id > ANSWERS_UNDER_WAY)
		return resync("the client asked for an answer again and again");
	return s->open_op ? judge_open(s, h) : judge_idle(s, h);
}
