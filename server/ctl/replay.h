// Recorded heartbeats held against another policy (S000-8, S001-c33, S001-c34): which answers would
// have been different, and why. Pure: messages and two policies in, differences out; no broker, no
// store, no fleet.
//
//   mosquitto_sub -F '%U %t %x' -> lines -> heartbeat --+
//                                           response ---+-> state at the server, as it was told
//                                                        -> accordance, next event: as was, as
//                                                        would be
//
// The state of a client is what the recorded responses set. What the wire does not carry is taken
// from the recorded answer: what its queue showed, whether a report had arrived, whether a package
// was whole. Where the policy that is said to have been in force does not lead to the recorded
// answer (a deadline passed, an operator acted), the heartbeat is counted as unexplained and not
// compared. After a difference the client is left out until its operation ends or another begins:
// what it would have said to another answer is in no recording.
#ifndef HELIO_CTL_REPLAY_H
#define HELIO_CTL_REPLAY_H

#include "proto/message.h"
#include "server/frequency.h"

#define REPLAY_CLIENTS_MAX 100000u
#define REPLAY_PENDING 8 // heartbeats of a client whose answer has not come yet

struct replay_policy {
	uint32_t mismatch_limit, resend_limit;
	uint32_t attempts_max, op_deadline_s;
	struct frequency_policy intervals; // milliseconds
};

// What an answer does, as far as the wire tells.
enum replay_act {
	REPLAY_NOTHING = 1,
	REPLAY_RESEND,
	REPLAY_CANCEL,
	REPLAY_RESYNC,
	REPLAY_RETRY,
	REPLAY_QUEUE // the next of a queue, a snapshot
};

struct replay_difference {
	int64_t at_ms; // when the heartbeat was heard
	const char *client;
	uint64_t seq; // of the heartbeat
	enum replay_act was, would_be;
	unsigned was_rule, would_rule; // of ACCORDANCE.md
	const char *why;               // a literal
};

struct replay_counts {
	uint64_t clients, heartbeats, compared;
	uint64_t different;   // answers of another kind
	uint64_t before;      // their state began before the recording
	uint64_t unexplained; // the policy said to have been in force does not lead to the answer
	uint64_t left_out;    // after a difference
	uint64_t unanswered;  // no answer in the recording
	uint64_t intervals, intervals_different, intervals_unknown;
};

struct replay;

// NULL: no memory. The policies are copied.
struct replay *replay_new(const struct replay_policy *was, const struct replay_policy *would);
void replay_free(struct replay *r);
// In the order of the recording. Errors: ERR_FULL, ERR_MEMORY.
enum err replay_heartbeat(struct replay *r, int64_t at_ms, const struct heartbeat *h) MUST_CHECK;
// *found: the answer would have been another one; *out lives until the next call.
enum err replay_response(struct replay *r, const struct response *m, bool *found,
	struct replay_difference *out) MUST_CHECK;
void replay_end(const struct replay *r, struct replay_counts *out);
const char *replay_act_word(enum replay_act act);

#endif
