// The response that a fleet gets most, NO_ACTION, from pieces that the codec made before:
//
//   response   schema client_id session_id in_reply_to_seq | boot | server_unix_ms | interval ..
//   spread
//              written here                                 piece   written here     piece
//   body       response_id    | kind state reason channel
//              written here     piece
//
// A piece is cut out of a message that the codec encoded from the very same values; what it was
// made from is its key. So the bytes are those of response_body_encode and response_encode, and
// whatever does not fit goes to these two.
#ifndef HELIO_NO_ACTION_H
#define HELIO_NO_ACTION_H

#include "proto/message.h"

#define NO_ACTION_HEADS 8
#define NO_ACTION_TAILS 64
#define NO_ACTION_PIECE 160 // bytes; what is longer is encoded whole each time

struct no_action_head {
	struct response key;     // what is written here, and the body, zeroed
	uint8_t boot_size, size; // size 0: empty
	uint8_t bytes[NO_ACTION_PIECE];
};

struct no_action_tail {
	enum client_state state;
	enum reason_code code;
	uint8_t size; // 0: empty
	char text[NO_ACTION_PIECE], channel[LIMIT_ID + 1];
	uint8_t bytes[NO_ACTION_PIECE];
};

struct no_action {
	struct buf body, whole;
	struct no_action_head heads[NO_ACTION_HEADS];
	struct no_action_tail tails[NO_ACTION_TAILS];
};

void no_action_init(struct no_action *n);
void no_action_fini(struct no_action *n);
// header: as for response_encode, without its body. Clears out first; it holds a whole message or
// nothing. Errors: those of the codec.
enum err no_action_encode(struct no_action *n, const struct response *header, uint64_t response_id,
	enum client_state state, const struct reason *reason, const char *channel,
	struct buf *out) MUST_CHECK;

#endif
