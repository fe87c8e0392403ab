// How often a client is asked to say that it is there (S001-c34): slow while it has nothing to do,
// fast while an operation of it is open, slower while the server or its broker has more to do than
// it can, always between two limits; an operator's own value is obeyed as it is, between the same
// limits. Pure: loads, times and settings come in, an interval goes out.
//
//   load of server, load of broker -> frequency_load -> level --+
//   operator's value, operation open ---------------------------+-> frequency_interval -> response
//
// A crowd that works at the same time, a rollout, shares busy_per_s: each of its clients beats less
// often, down to the idle interval, so that what it asks for is not late for the sake of its beats.
//
// The level stretches every interval that is not an operator's. It cannot swing: a step down makes
// the load at most FREQUENCY_STEP times as large, which from below FREQUENCY_LOW stays below
// FREQUENCY_HIGH; it is taken when the load was that low at every moment of a round, in which each
// client has come with the present interval; and a step up waits until all were told the one
// before.
//
// Clients whose beats are spread evenly over an interval of 10 s, and are all told 15 s, would be
// silent together for 5 s, and that in every round. So a client that comes t after the step is told
// old + (new - old) x t / old once, and only then the new one: evenly spread they were, evenly
// spread they stay, and none of them needs a jitter of its own.
#ifndef HELIO_SERVER_FREQUENCY_H
#define HELIO_SERVER_FREQUENCY_H

#include "proto/base/clock.h"
#include "proto/limits.h"
#include <stdbool.h>
#include <stdint.h>

#define FREQUENCY_LEVELS 7       // 0: not stretched; the last one: 11 times
#define FREQUENCY_HIGH 0.75      // above: slower
#define FREQUENCY_LOW 0.40       // below: faster again
#define FREQUENCY_STEP 1.5       // LOW x STEP < HIGH
#define FREQUENCY_SMOOTH_MS 3000 // a shorter burst of work is nobody's load
#define FREQUENCY_UP_MS 5000     // between steps: at least these
#define FREQUENCY_DOWN_MS 30000
// Measured: a core of the broker takes 400 a second with TLS on both sides, more without.
#define RECONNECTS_PER_S 1500

// Milliseconds; min <= busy, idle <= max.
struct frequency_policy {
	uint32_t idle_ms, busy_ms;
	uint32_t min_ms, max_ms;
	uint32_t busy_per_s; // beats of all that are busy; 0: no bound
};

// One for all clients of a server. Begins as zeros.
struct frequency {
	uint32_t level, from; // from: the level before the last step
	uint32_t working;     // clients that beat and have an operation open, at this moment
	bool seen;
	double load;       // 0..1, smoothed
	double highest;    // of this round
	struct mono round; // its begin; in a round every client has come with the present interval
	struct mono at;    // of the last load
	struct mono stepped; // when the level was changed last
};

// For one response at this moment. operator_ms 0: none.
uint32_t frequency_interval(const struct frequency_policy *p, const struct frequency *f,
	uint32_t operator_ms, bool busy, struct mono now);
// What decided it, for `why`.
enum frequency_by {
	FREQUENCY_BY_OPERATOR = 1,
	FREQUENCY_BY_IDLE,
	FREQUENCY_BY_BUSY,
	FREQUENCY_BY_LOAD, // stretched, idle or busy
	FREQUENCY_BY_LIMIT // would be shorter or longer than is allowed
};
enum frequency_by frequency_by(const struct frequency_policy *p, const struct frequency *f,
	uint32_t operator_ms, bool busy);
// "" for anything that is not one of them.
const char *frequency_by_word(enum frequency_by by);
// How long a fleet of so many takes to find its way back to a broker: so many milliseconds at
// least, and a second for each RECONNECTS_PER_S of them; at most RECONNECT_SPREAD_MAX_MS. Each
// client draws a moment in it, so that a broker that restarts is met by no more than that at once.
uint32_t reconnect_spread_ms(uint32_t least_ms, uint32_t clients);
// 1000: not stretched.
uint32_t frequency_permille(uint32_t level);
// The larger of the loads at this moment, about once a second. True when the level changed.
bool frequency_load(
	struct frequency *f, const struct frequency_policy *p, double load, struct mono now);

#endif
