// One operator's session with heliod, without a socket: what is sent, and what may be believed.
//
//   api_session_sign_in    -> payload for helio/v1/api/<seat>, signed by the seat's identity key
//   api_session_offer      <- helio/v1/offer/<seat>: signed by an online key of the root, over this
//                             very sign-in; the session's keys follow from both
//   api_session_request    -> payload, MAC mac-up
//   api_session_answer     <- helio/v1/apir/<seat>/<level>: MAC mac-down, own level, seq has risen
//
// A request keeps its id when it is sent again, also in a new session: it has one effect.
#ifndef HELIO_CTL_API_SESSION_H
#define HELIO_CTL_API_SESSION_H

#include "proto/message.h"
#include "proto/session.h"
#include "proto/topics.h"

// What a seat remembers between two runs; all numbers rise.
struct seat_memory {
	struct id16 store_id;
	uint64_t boot_counter, request_id;
	struct id16 lineage;
};

struct api_session {
	char seat[LIMIT_ID + 1], level[17];
	const struct sign_key *identity; // borrowed
	const struct root *root;         // borrowed
	struct seat_memory memory;
	struct key32 secret;
	struct buf sign_in; // the payload sent, whole
	bool signed_in;
	uint64_t session_id, seq_out, seq_in;
	struct id16 boot;
	struct session_keys keys;
};

void api_session_init(struct api_session *s, const char *seat, const struct sign_key *identity,
	const struct root *root, const struct seat_memory *memory);
void api_session_fini(struct api_session *s);

// Forgets the present session. out is cleared first.
enum err api_session_sign_in(
	struct api_session *s, int64_t now_unix_ms, struct buf *out) MUST_CHECK;
// Errors: ERR_FORMAT, ERR_AUTH, ERR_STALE (an offer for another sign-in), ERR_NOT_NOW (not asked
// for).
enum err api_session_offer(
	struct api_session *s, const char *topic, struct bytes payload) MUST_CHECK;

struct api_question {
	uint64_t request_id;
	const char *verb;
	const struct arg *args;
	size_t arg_count;
	struct bytes body;
};
// Errors: ERR_NOT_NOW (not signed in), ERR_RANGE.
enum err api_session_request(
	struct api_session *s, const struct api_question *q, struct buf *out) MUST_CHECK;
// Ids of a seat rise from run to run.
uint64_t api_session_next_request(struct api_session *s, int64_t now_unix_ms);
// Errors: ERR_AUTH, ERR_STALE (seq), ERR_FORMAT.
enum err api_session_answer(struct api_session *s, struct arena *a, const char *topic,
	struct bytes payload, struct api_answer *out) MUST_CHECK;

// ---- an answer comes in parts

#define ANSWER_PARTS_MAX 1024
#define ANSWER_BYTES_MAX (48u * 1024 * 1024)

struct answer_parts {
	uint64_t request_id;
	uint32_t parts, have;
	bool ok;
	char error[LIMIT_TEXT + 1], error_word[LIMIT_ID + 1];
	struct buf *part; // [parts]
};
void answer_parts_begin(struct answer_parts *p, uint64_t request_id);
void answer_parts_end(struct answer_parts *p);
// True when the answer is whole. Answers to other requests, repeated parts and parts that do not
// fit the first one are left out.
bool answer_parts_take(struct answer_parts *p, const struct api_answer *a);
// Errors: ERR_FULL.
enum err answer_parts_join(const struct answer_parts *p, struct buf *out) MUST_CHECK;

#endif
