// The table of protocol.md, and where a heartbeat stands in it; see accordance.h.
#include "server/accordance.h"

#include <assert.h>

#define PATIENCE 2 // NO_ACTIONs while DONE waits for its report

// ---- axes

static const struct axis {
	const char *name;
	unsigned first; // bit of place 0
	unsigned count;
	const char *words[9];
} axes[AXIS_COUNT] = {
	[AXIS_STATE] = {"state", 0, 7,
		{"-", "idle", "await-info", "await-retrieve", "await-command", "resync",
			"clone-suspect"}},
	[AXIS_SHOWN] = {"shows", 7, SHOWS_COUNT,
		{"D", "after D", "older incarnation", "P", "between P and D", "before P",
			"beyond V", "higher incarnation"}},
	[AXIS_OP] = {"operation", 15, NAMES_COUNT,
		{"none", "the open one", "the one being cancelled", "the last one", "another",
			"one never given"}},
	[AXIS_STATUS] = {"status", 21, 8,
		{"none", "accepted", "running", "done", "failed", "refused", "cancelled",
			"unknown"}},
	[AXIS_ACK] = {"ack", 29, 5, {"-", "nothing", "response", "resend", "busy"}},
	[AXIS_PROOF] = {"proof", 34, PROOF_COUNT, {"there", "awaited", "missing"}},
	[AXIS_TOLD] = {"told again", 37, 2, {"below the limit", "at the limit"}},
	[AXIS_ASKED] = {"unheard", 39, 2, {"below the limit", "at the limit"}},
};

const char *accordance_axis_word(enum accordance_axis axis)
{
	return axes[axis].name;
}

const char *accordance_word(enum accordance_axis axis, unsigned place)
{
	return place < axes[axis].count ? axes[axis].words[place] : NULL;
}

uint64_t accordance_bit(enum accordance_axis axis, unsigned place)
{
	assert(place < axes[axis].count);
	return (uint64_t)1 << (axes[axis].first + place);
}

// ---- rules

// The same numbers as in `axes`, as constants.
#define STATE(s) ((uint64_t)1 << (CS_##s))
#define SHOWS(s) ((uint64_t)1 << (7 + SHOWS_##s))
#define NAMES(n) ((uint64_t)1 << (15 + NAMES_##n))
#define STATUS(s) ((uint64_t)1 << (21 + OP_##s))
#define ACK(a) ((uint64_t)1 << (29 + ACK_##a))
#define PROOF(p) ((uint64_t)1 << (34 + PROOF_##p))
#define TOLD_OFTEN ((uint64_t)1 << 38)
#define TOLD_ANY ((uint64_t)3 << 37)
#define ASKED_OFTEN ((uint64_t)1 << 40)
#define ASKED_ANY ((uint64_t)3 << 39)

#define STATE_ANY ((uint64_t)0x7f)
#define STATE_OPEN                                                                                 \
	(STATE(AWAIT_INFO) | STATE(AWAIT_RETRIEVE) | STATE(AWAIT_COMMAND) | STATE(RESYNC))
#define SHOWS_ANY ((uint64_t)0xff << 7)
#define SHOWS_RECEIVED (SHOWS(D) | SHOWS(AFTER_D) | SHOWS(OLDER))
#define SHOWS_LOST (SHOWS(P) | SHOWS(BETWEEN))
#define NAMES_ANY ((uint64_t)0x3f << 15)
#define STATUS_ANY ((uint64_t)0xff << 21)
#define STATUS_FINAL (STATUS(DONE) | STATUS_NOT_DONE)
#define STATUS_NOT_DONE (STATUS(FAILED) | STATUS(REFUSED) | STATUS(CANCELLED) | STATUS(UNKNOWN))
#define STATUS_GOES_ON (STATUS(ACCEPTED) | STATUS(RUNNING))
#define ACK_ANY ((uint64_t)0x1f << 29)
#define PROOF_ANY ((uint64_t)7 << 34)

#define ANYWHERE (ACK_ANY | PROOF_ANY | TOLD_ANY | ASKED_ANY)
#define DONE_OF_OPEN (SHOWS_ANY | NAMES(OPEN) | STATUS(DONE) | ACK_ANY | ASKED_ANY)

static const struct accordance_rule rules[] = {
	{.name = "a suspect is left alone",
		.covers = STATE(CLONE_SUSPECT) | SHOWS_ANY | NAMES_ANY | STATUS_ANY | ANYWHERE,
		.outcome = ACCORD,
		.why = ""},

	// A final status of the open operation always counts, whatever else is shown.
	{.name = "done",
		.covers = STATE_OPEN | DONE_OF_OPEN | PROOF(THERE) | TOLD_ANY,
		.outcome = ACCORD,
		.why = "",
		.ends = true},
	{.name = "done, the report is on its way",
		.covers = STATE_OPEN | DONE_OF_OPEN | PROOF(AWAITED) | TOLD_ANY,
		.outcome = ACCORD,
		.why = "",
		.waits = true},
	{.name = "done without proof, told often",
		.covers = STATE_OPEN | DONE_OF_OPEN | PROOF(MISSING) | TOLD_OFTEN,
		.outcome = ACCORD_RESYNC,
		.code = REASON_RESYNC,
		.why = "the client does not do what it was told, though told again and again",
		.mismatch = true},
	{.name = "done without its report",
		.covers = STATE(AWAIT_INFO) | DONE_OF_OPEN | PROOF(MISSING) | TOLD_ANY,
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_MISMATCH,
		.why = "the client says done but its report did not arrive",
		.mismatch = true},
	{.name = "done without the package",
		.covers = STATE(AWAIT_RETRIEVE) | DONE_OF_OPEN | PROOF(MISSING) | TOLD_ANY,
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_MISMATCH,
		.why = "the client says done but its holdings lack the package",
		.mismatch = true},
	{.name = "resync done without holdings",
		.covers = STATE(RESYNC) | DONE_OF_OPEN | PROOF(MISSING) | TOLD_ANY,
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_MISMATCH,
		.why = "the client says done but did not tell everything it holds",
		.mismatch = true},
	{.name = "failed, refused, cancelled, unknown",
		.covers = STATE_OPEN | SHOWS_ANY | NAMES(OPEN) | STATUS_NOT_DONE | ANYWHERE,
		.outcome = ACCORD,
		.why = "",
		.ends = true},

	// Where the client stands in what it was told.
	{.name = "remembers a later start",
		.covers = (STATE_ANY & ~STATE(CLONE_SUSPECT)) | SHOWS(HIGHER) | NAMES_ANY |
			  STATUS_ANY | ANYWHERE,
		.outcome = ACCORD_RESTORED,
		.code = REASON_RESYNC,
		.why = "the client remembers a later start of the server",
		.mismatch = true},
	{.name = "lost again and again",
		.covers = STATE_OPEN | SHOWS_LOST | NAMES_ANY | STATUS_ANY | ACK_ANY | PROOF_ANY |
			  TOLD_ANY | ASKED_OFTEN,
		.outcome = ACCORD_RESYNC,
		.code = REASON_RESYNC,
		.why = "the same response was sent again and again and did not arrive",
		.mismatch = true},
	{.name = "lost, asked for",
		.covers = STATE_OPEN | SHOWS_LOST | NAMES_ANY | STATUS_ANY | ACK(RESEND) |
			  PROOF_ANY | TOLD_ANY | ASKED_ANY,
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_ASKED,
		.why = "the client asked for it again"},
	{.name = "lost",
		.covers = STATE_OPEN | SHOWS_LOST | NAMES_ANY | STATUS_ANY | ANYWHERE,
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_LOST,
		.why = "the last response did not arrive"},
	{.name = "a strange id",
		.covers = (STATE_ANY & ~STATE(CLONE_SUSPECT)) | SHOWS_LOST | SHOWS(BEFORE) |
			  SHOWS(BEYOND) | NAMES_ANY | STATUS_ANY | ANYWHERE,
		.outcome = ACCORD_RESYNC,
		.code = REASON_RESYNC,
		.why = "the client shows a response that it was not given",
		.mismatch = true},
	{.name = "hears nothing",
		.covers = (STATE_ANY & ~STATE(CLONE_SUSPECT) & ~STATE(RESYNC)) | SHOWS_RECEIVED |
			  NAMES_ANY | STATUS_ANY | ACK(RESEND) | PROOF_ANY | TOLD_ANY | ASKED_OFTEN,
		.outcome = ACCORD_RESYNC,
		.code = REASON_RESYNC,
		.why = "the client asked for an answer again and again",
		.mismatch = true},

	// D was received, and an operation is open.
	{.name = "at work",
		.covers = STATE_OPEN | SHOWS_RECEIVED | NAMES(OPEN) | STATUS_GOES_ON | ANYWHERE,
		.outcome = ACCORD,
		.why = ""},
	{.name = "the one being cancelled ended by itself",
		.covers = STATE_OPEN | SHOWS_RECEIVED | NAMES(PASSED) | STATUS_FINAL | ANYWHERE,
		.outcome = ACCORD,
		.why = "",
		.ends_passed = true},
	{.name = "still at the one being cancelled",
		.covers = STATE_OPEN | SHOWS_RECEIVED | NAMES(PASSED) | STATUS_GOES_ON | ANYWHERE,
		.outcome = ACCORD,
		.why = ""},
	{.name = "not at work, told often",
		.covers = STATE_OPEN | SHOWS_RECEIVED | NAMES_ANY | STATUS_ANY | ACK_ANY |
			  PROOF_ANY | TOLD_OFTEN | ASKED_ANY,
		.outcome = ACCORD_RESYNC,
		.code = REASON_RESYNC,
		.why = "the client does not work at what it was told, though told again and again",
		.mismatch = true},
	{.name = "not at work",
		.covers = STATE_OPEN | SHOWS_RECEIVED | NAMES(NONE) | STATUS_ANY | ANYWHERE,
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_MISMATCH,
		.why = "the client received the operation and does not show it",
		.mismatch = true},
	{.name = "at another",
		.covers = STATE_OPEN | SHOWS_RECEIVED | NAMES(LAST) | NAMES(OTHER) | NAMES(NEVER) |
			  STATUS_ANY | ANYWHERE,
		.outcome = ACCORD_RESEND,
		.code = REASON_RESEND_MISMATCH,
		.why = "the client works at another operation than it was told",
		.mismatch = true},

	// D was received, and nothing is open.
	{.name = "idle",
		.covers = STATE(IDLE) | SHOWS_RECEIVED | NAMES(NONE) | STATUS_ANY | ANYWHERE,
		.outcome = ACCORD,
		.why = ""},
	{.name = "what ended is still shown",
		.covers = STATE(IDLE) | SHOWS_RECEIVED | NAMES(LAST) | NAMES(OTHER) | STATUS_FINAL |
			  ANYWHERE,
		.outcome = ACCORD,
		.why = ""},
	{.name = "goes on with what has ended",
		.covers = STATE(IDLE) | SHOWS_RECEIVED | NAMES(LAST) | STATUS_GOES_ON | ANYWHERE,
		.outcome = ACCORD_CANCEL,
		.code = REASON_CANCEL_UNKNOWN,
		.why = "the client works at an operation that has ended",
		.mismatch = true},
	{.name = "works at what it was not given",
		.covers = STATE(IDLE) | SHOWS_RECEIVED | NAMES(OTHER) | NAMES(NEVER) |
			  STATUS_GOES_ON | ANYWHERE,
		.outcome = ACCORD_CANCEL,
		.code = REASON_CANCEL_UNKNOWN,
		.why = "the client works at an operation that it was not given",
		.mismatch = true},
	{.name = "ended what it was never given",
		.covers = STATE(IDLE) | SHOWS_RECEIVED | NAMES(NEVER) | STATUS_FINAL | ANYWHERE,
		.outcome = ACCORD_RESYNC,
		.code = REASON_RESYNC,
		.why = "the client shows an operation that was never given",
		.mismatch = true},

	// Nothing gets here that accordance_place makes; a broken record is mended like a stranger.
	{.name = "no such place",
		.covers = UINT64_MAX,
		.outcome = ACCORD_RESYNC,
		.code = REASON_RESYNC,
		.why = "the record of the client contradicts itself",
		.mismatch = true},
};

const struct accordance_rule *accordance_rules(size_t *count)
{
	*count = sizeof(rules) / sizeof(rules[0]);
	return rules;
}

const struct accordance_rule *accordance_rule(struct accordance_place place)
{
	const struct accordance_rule *r = rules;

	while (place.bits & ~r->covers)
		r++;
	return r;
}

const char *accordance_rule_name(unsigned number)
{
	return number >= 1 && number <= sizeof(rules) / sizeof(rules[0]) ? rules[number - 1].name
									 : "";
}

// ---- where a heartbeat stands

static uint32_t incarnation_of(uint64_t response_id)
{
	return (uint32_t)(response_id >> 32);
}

static enum accordance_shows shows(const struct accordance_state *s, uint64_t shown)
{
	if (shown == s->d)
		return SHOWS_D;
	if (incarnation_of(shown) > s->incarnation)
		return SHOWS_HIGHER;
	if (shown > s->d && incarnation_of(shown) < s->incarnation)
		return SHOWS_OLDER;
	if (shown > s->d)
		return shown <= s->v ? SHOWS_AFTER_D : SHOWS_BEYOND;
	if (!s->open_op || shown < s->p)
		return SHOWS_BEFORE;
	return shown == s->p ? SHOWS_P : SHOWS_BETWEEN;
}

static enum accordance_op names(const struct accordance_state *s, uint64_t op_id)
{
	if (op_id == 0)
		return NAMES_NONE;
	if (op_id == s->open_op)
		return NAMES_OPEN;
	if (op_id == s->passed_op)
		return NAMES_PASSED;
	if (op_id == s->d)
		return NAMES_LAST;
	return op_id > s->v && incarnation_of(op_id) >= s->incarnation ? NAMES_NEVER : NAMES_OTHER;
}

// DONE counts when the report has arrived, the holdings show the package, everything was told.
static enum accordance_proof proof(const struct accordance_state *s)
{
	if (s->state == CS_AWAIT_INFO && !s->reported)
		return s->patience < PATIENCE ? PROOF_AWAITED : PROOF_MISSING;
	if (s->state == CS_AWAIT_RETRIEVE && !s->complete)
		return PROOF_MISSING;
	if (s->is_resync && !s->full_holdings)
		return PROOF_MISSING;
	return PROOF_THERE;
}

struct accordance_place accordance_place(
	const struct accordance_state *s, const struct accordance_shown *h)
{
	const unsigned at[AXIS_COUNT] = {
		[AXIS_STATE] = s->state,
		[AXIS_SHOWN] = shows(s, h->last_response_id),
		[AXIS_OP] = names(s, h->op_id),
		[AXIS_STATUS] = h->op_id ? h->op_status : 0,
		[AXIS_ACK] = h->ack,
		[AXIS_PROOF] = proof(s),
		[AXIS_TOLD] = s->resends >= s->mismatch_limit,
		[AXIS_ASKED] = s->ack_resends >= s->resend_limit,
	};
	struct accordance_place place = {0};

	for (unsigned axis = 0; axis < AXIS_COUNT; axis++)
		place.bits |= (uint64_t)1 << (axes[axis].first + at[axis]);
	return place;
}

struct accordance accordance_judge(
	const struct accordance_state *s, const struct accordance_shown *h)
{
	const struct accordance_rule *r = accordance_rule(accordance_place(s, h));

	return (struct accordance){
		.outcome = r->outcome,
		.code = r->code,
		.why = r->why,
		.mismatch = r->mismatch,
		.waits = r->waits,
		.completes = r->ends ? h->op_status : 0,
		.passed_completes = r->ends_passed ? h->op_status : 0,
		.rule = (unsigned)(r - rules) + 1,
	};
}
