// Does a heartbeat accord with the state that the last response set? (US 7,779,090 claim 1,
// protocol.md "The conversation".) Pure: structs in, a value out.
//
// One table: what the server keeps and what the heartbeat shows are placed on eight axes, a rule
// says which places of each axis it covers, and the first rule that covers a heartbeat judges it.
// ACCORDANCE.md is written from the same rules (`heliod --accordance`).
//
//   D  id of the last response of kinds 2 to 4       P  the one before it       V  the last id
//   issued
#ifndef HELIO_SERVER_ACCORDANCE_H
#define HELIO_SERVER_ACCORDANCE_H

#include "proto/message.h"

// What is open at the server for this client.
struct accordance_state {
	enum client_state state;
	uint64_t d, p, v; // v: whole id; D when nothing was issued in this incarnation
	uint32_t incarnation;
	uint64_t open_op;   // 0: none
	uint64_t passed_op; // still open behind the open cancel, 0: none
	bool reported;      // AWAIT_INFO: the report has arrived
	bool complete;      // AWAIT_RETRIEVE: holdings show every package
	bool is_resync,
		full_holdings; // the open operation is a resync; this beat brings everything
	uint32_t patience;     // beats that said DONE before the report arrived
	uint32_t resends;      // of D in a row because of a mismatch
	uint32_t ack_resends;  // beats in a row that it did not reach, or that asked for it
	uint32_t mismatch_limit, resend_limit;
};

struct accordance_shown {
	uint64_t last_response_id;
	enum ack ack;
	uint64_t op_id; // 0: no operation
	enum op_status op_status;
};

enum accordance_outcome {
	ACCORD = 1,
	ACCORD_RESEND,   // D again, the same body
	ACCORD_CANCEL,   // EXECUTE_COMMAND cancel of shown.op_id
	ACCORD_RESYNC,   // EXECUTE_COMMAND resync
	ACCORD_RESTORED, // the client remembers a later incarnation
};

struct accordance {
	enum accordance_outcome outcome;
	enum reason_code code;           // of the correction
	const char *why;                 // one sentence; a literal
	bool mismatch;                   // counts as a mismatch of the client
	bool waits;                      // DONE was said too early: patience is spent
	enum op_status completes;        // the open operation ended so; 0: it goes on
	enum op_status passed_completes; // the operation that the cancel passed ended so
	unsigned rule;                   // number of the rule that judged, as in ACCORDANCE.md
};

// ---- the table

enum accordance_axis {
	AXIS_STATE, // the client's state at the server
	AXIS_SHOWN, // last_response_id
	AXIS_OP,    // the operation that `op` names
	AXIS_STATUS,
	AXIS_ACK,
	AXIS_PROOF, // what DONE needs beside the word
	AXIS_TOLD,  // was D resent for a mismatch up to the limit
	AXIS_ASKED, // did the same answer not reach it, up to the limit
	AXIS_COUNT
};

// Places of the axes that are not an enum of message.h.
enum accordance_shows {
	SHOWS_D,
	SHOWS_AFTER_D, // up to V
	SHOWS_OLDER,   // of an older incarnation, not before D
	SHOWS_P,       // while D's operation is open
	SHOWS_BETWEEN, // P and D, while D's operation is open
	SHOWS_BEFORE,  // anything before that
	SHOWS_BEYOND,  // above V
	SHOWS_HIGHER,  // of a higher incarnation
	SHOWS_COUNT
};

enum accordance_op {
	NAMES_NONE,
	NAMES_OPEN,   // the open operation
	NAMES_PASSED, // the one that the open cancel passed
	NAMES_LAST,   // the one that ended last
	NAMES_OTHER,
	NAMES_NEVER, // an id that was not given yet
	NAMES_COUNT
};

enum accordance_proof {
	PROOF_THERE,
	PROOF_AWAITED, // the report may be on its way
	PROOF_MISSING,
	PROOF_COUNT
};

// A heartbeat's place on all axes: one bit of each axis.
struct accordance_place {
	uint64_t bits;
};

struct accordance_rule {
	uint64_t covers; // bits, at least one of each axis
	const char *name;
	enum accordance_outcome outcome;
	enum reason_code code;
	const char *why;
	bool mismatch, waits;
	bool ends;        // the open operation ends with the status shown
	bool ends_passed; // the passed one does
};

const struct accordance_rule *accordance_rules(size_t *count);
struct accordance_place accordance_place(
	const struct accordance_state *s, const struct accordance_shown *h);
// The rule that judges this place. The last rule covers everything.
const struct accordance_rule *accordance_rule(struct accordance_place place);
// Name of a rule by its number, from 1 on; "" when there is none.
const char *accordance_rule_name(unsigned number);
// Word of a place of an axis for people; NULL behind the last.
const char *accordance_word(enum accordance_axis axis, unsigned place);
const char *accordance_axis_word(enum accordance_axis axis);
// Bit of a place of an axis.
uint64_t accordance_bit(enum accordance_axis axis, unsigned place);
// What is said against what is shown, as two tables on one screen; part of the following.
enum err accordance_glance(struct buf *out) MUST_CHECK;
// Rules and their graph as Markdown, for ACCORDANCE.md.
enum err accordance_describe(struct buf *out) MUST_CHECK;

struct accordance accordance_judge(
	const struct accordance_state *s, const struct accordance_shown *h);

#endif
