// The life of a medium: which state an order goes to at which event (S001-c5, c7). Pure; one table.
//
//   PENDING   decided; a publisher is told to record it, again until it has
//   RECORDED  the publisher holds it, and said its hash
//   POSTED    an operator gave it to the post
//   ARRIVED   the client holds the package, and had it from the medium
//   CANCELLED given up before it was recorded, or by an operator
//   SUPERSEDED recorded, and of no use any more: the link was faster, or a newer one was ordered
#ifndef HELIO_SERVER_MEDIA_STATE_H
#define HELIO_SERVER_MEDIA_STATE_H

#include "proto/message.h"

enum media_event {
	MEDIA_EV_RECORD = 1, // the publisher recorded it
	MEDIA_EV_POST,       // an operator says that it is on its way
	MEDIA_EV_CANCEL,     // an operator gives it up
	MEDIA_EV_RETURN,     // the client came back and fetches over the link
	MEDIA_EV_BY_LINK,    // the client holds the package, and fetched it
	MEDIA_EV_BY_MEDIUM,  // the client holds the package, and did not fetch it
	MEDIA_EV_NEWER,      // another order of the same client and package name was made
	MEDIA_EVENT_COUNT
};

// 0: the event changes nothing in this state, and is refused where somebody asks for it.
enum media_state media_step(enum media_state from, enum media_event e);
const char *media_state_word(enum media_state s); // "pending" ...
const char *media_event_word(enum media_event e);
bool media_is_open(enum media_state s); // PENDING, RECORDED, POSTED

#endif
