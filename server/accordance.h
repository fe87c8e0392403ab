// Does a heartbeat accord with the state that the last response set? (US 7,779,090 claim 1,
// protocol.md "The conversation".) Pure: structs in, a value out.
//
//   D  id of the last response of kinds 2 to 4       P  the one before it       V  the last id
//   issued
//
//   heartbeat shows                                     then
//   D <= shown <= V, or >= D of an older incarnation    D was received
//   P <= shown < D while D's operation is open          D was lost: resend it
//   an incarnation above ours                           our store is older than the client's memory
//   anything else                                       resync
//
// `op` is judged only when D was received; a final status of the open operation always counts.
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
	uint32_t ack_resends;  // beats in a row that asked for it
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
	bool received;                   // D was received
	enum op_status completes;        // the open operation ended so; 0: it goes on
	enum op_status passed_completes; // the operation that the cancel passed ended so
};

struct accordance accordance_judge(
	const struct accordance_state *s, const struct accordance_shown *h);

#endif
