// Where a package lies: one state chain, and the choice of the data broker.
//
//   OFFERED -> (DEFERRED) -> SENDING -> VERIFYING -> STORED <-> LINGER -> STOPPING -> WAITING ->
//   SENDING ...
//
// VERIFYING: the publisher says that it is stored; we believe our own fresh subscription. Every
// break of our connection to the broker brings a stored package back to VERIFYING. Pure.
#ifndef HELIO_SERVER_PLACEMENT_H
#define HELIO_SERVER_PLACEMENT_H

#include "proto/base/clock.h"
#include "proto/message.h"

enum place_state {
	PLACE_OFFERED = 1,
	PLACE_DEFERRED,
	PLACE_SENDING,
	PLACE_VERIFYING,
	PLACE_STORED,
	PLACE_LINGER,
	PLACE_STOPPING,
	PLACE_WAITING,
	PLACE_WITHDRAWN,
	PLACE_STATE_COUNT
};

enum place_event {
	PLACE_EV_OFFER,     // the publisher offers it again after a withdrawal
	PLACE_EV_CHOSEN,    // a broker was chosen: TRANSMIT
	PLACE_EV_NO_BROKER, // none may be chosen now: DEFER
	PLACE_EV_CLAIMED,   // the publisher says that it is stored
	PLACE_EV_DOUBT,     // our connection broke, or a client misses objects: read back again
	PLACE_EV_PROVEN,    // read back
	PLACE_EV_LOST,      // not there, and wanted
	PLACE_EV_FAILED,    // the publisher could not
	PLACE_EV_LEASED,
	PLACE_EV_UNLEASED, // the last lease is gone
	PLACE_EV_ADOPTED,  // a further copy takes its place
	PLACE_EV_UNWANTED, // linger or grace is over, or it was lost and nobody asks: STOP
	PLACE_EV_STOPPED,
	PLACE_EV_WITHDRAW,
	PLACE_EVENT_COUNT
};

const char *place_state_word(enum place_state s); // "offered"; "?" outside
const char *place_event_word(enum place_event e);
// ERR_FORMAT when it is no such word.
enum err place_state_parse(const char *word, enum place_state *out) MUST_CHECK;
// The next state; 0 when the event is refused in this state.
enum place_state place_step(enum place_state s, enum place_event e);

struct place_candidate {
	const char *id;
	bool usable; // reachable, fresh, not refused, not to be avoided
	double busy; // share of its capacity
	uint32_t leases;
	int64_t last_target_unix_ms; // 0: never
};

struct place_policy {
	int64_t recent_period_ms; // a target within this time is not chosen again; 0: no exclusion
	bool fallback_oldest;     // all recent: the one used longest ago, instead of DEFER
};

enum place_verdict {
	PLACE_CHOSEN = 1,
	PLACE_DEFER, // all usable ones are recent: retry_after_ms
	PLACE_NONE   // no usable one
};

struct place_choice {
	enum place_verdict verdict;
	size_t index; // with PLACE_CHOSEN
	int64_t retry_after_ms;
	bool fallback;
};

// What is compared of a load: hundredths of a broker's capacity. Two idle brokers never count the
// same bytes, and are equal all the same.
int64_t place_score(double busy);

// Least busy of the usable ones that were no target lately; equal: fewer leases, then id. A last
// target in the future means that the clock was set back: it excludes nobody.
struct place_choice place_choose(const struct place_candidate *c, size_t count,
	const struct place_policy *policy, int64_t now_unix_ms);

#endif
