// Which of the four responses is next, and why. Pure: what the rooms know comes in, one decision
// comes out; it always has a reason, NO_ACTION too.
//
// Order: what may not be begun at all (suspect, degraded); the correction; busy; the open
// operation, unless a newer version of what it fetches comes next; a retry; the operator's cancel
// before those; then the queues, the private one first but only so often in a row; a detached
// client tells its holdings and gets one snapshot.
#ifndef HELIO_SERVER_NEXT_EVENT_H
#define HELIO_SERVER_NEXT_EVENT_H

#include "server/accordance.h"

enum queue_shows {
	QUEUE_NONE,
	QUEUE_DETACHED,
	QUEUE_ELEMENT,
	QUEUE_TAIL
};

struct next_input {
	enum client_state state;
	const struct accordance *accordance;
	bool degraded;
	bool busy;        // ack BUSY
	bool asked_again; // ack RESEND with nothing to resend: a new answer
	bool open;        // an operation is open after this beat
	bool overtakes;   // what the queues give next is newer than what the open RETRIEVE asks for
	bool correction_waits; // one is due, but its back-off has not passed
	bool cancel_asked;     // an operator cancels the open operation
	bool retry;            // a failed operation waits for its next attempt
	bool held;             // the channel is paused
	bool holdings_known;
	bool turn_waits; // more is begun at once than there may be
	bool resting;    // attempts were exhausted; the snapshot waits
	enum queue_shows private_shows, channel_shows;
	enum element_type channel_type; // of the element the channel's pointer shows
	uint32_t private_in_a_row, private_limit;
};

// A client's channels, the heaviest first: which of them is served. The first that has something to
// give; where none has, the first that holds something back, for its reason.
struct channel_offer {
	enum queue_shows shows;
	enum element_type type; // of the element shown
	bool held;              // the channel is paused
};
size_t next_channel_choose(const struct channel_offer *offers, size_t count, bool resting);

enum next_act {
	NEXT_NOTHING = 1, // NO_ACTION
	NEXT_RESEND,
	NEXT_CANCEL,
	NEXT_CANCEL_OPEN,
	NEXT_RESYNC,
	NEXT_RETRY,
	NEXT_PRIVATE, // the element of the private queue
	NEXT_CHANNEL,
	NEXT_ASK_HOLDINGS, // SEND_INFORMATION(holdings) to a detached client
	NEXT_SNAPSHOT,     // RETRIEVE what it lacks; nothing lacking: straight to the tail
};

struct next_event {
	enum next_act act;
	enum reason_code code;
	const char *why; // a literal; "" where the element's own text says it
};

struct next_event next_event_decide(const struct next_input *in);
// It begins an operation that others are given at the same time; a private one, an order of the
// channel itself and a correction are none.
bool next_event_is_of_many(const struct next_input *in, const struct next_event *next);
// What the queues alone would give, were nothing open.
struct next_event next_event_of_queues(const struct next_input *in);

#endif
