// How many bytes a fetch has asked for and not yet stored: the window, measured by its receiver.
// Pure: the caller says what came when.
//
// The broker sends what is subscribed to, so the subscriber is the one who must not ask for more
// than the line, the broker's queue and its own memory bear. Models:
//  - TCP's congestion window, slow start and halving after a loss (RFC 5681); a window that was not
//    used does not grow (RFC 7661); what was asked for twice tells no round trip (Karn)
//  - LEDBAT (RFC 6817): the queue is counted in time, round trip less the shortest one seen, and is
//    kept below a target of 100 ms, so that a site's other traffic lives
//  - TCP Vegas (Brakmo, Peterson 1995): between two bounds the window rests
//  - BBR (Cardwell et al. 2016): rounds, and a probe of the shortest round trip
//
//   round trip of an object = SUBSCRIBE -> its last byte; base = the shortest one
//   queue = mean round trip of a round - base
//   target = 100 ms, but at least the time of two objects: one comes while one is asked for
//
//   opening           each byte that came opens one more (doubles a round), until the queue passes
//                     the target
//   queue < target/2  one object more a round
//   .. < target       one object more while the rate still grows, else it rests
//   .. < 2 x target   one object less
//   above             a quarter less, at least what keeps the line and half a target full
//   loss              half, at least one object. Three quarters of where it happened is a ceiling
//                     that rises by one object in 30 s: a broker's queue does not grow, and each
//                     try costs a silence
//   reconnect         as at the beginning
//
// The base is measured anew when it was not met for 10 s: two objects alone are on the way until
// one of them came (BBR's probe). So a longer way is not taken for a queue, nor a line that became
// slow for a long one; when the base has doubled, the window opens as at the beginning.
#ifndef HELIO_CLIENT_FETCH_WINDOW_H
#define HELIO_CLIENT_FETCH_WINDOW_H

#include "proto/base/clock.h"
#include "proto/limits.h"
#include <stdbool.h>
#include <stdint.h>

#define WINDOW_FIRST_BYTES (2 * CHUNK_AVG)
#define WINDOW_TARGET_MS 100
#define WINDOW_ROUND_MS 20 // a shorter round tells no rate

struct fetch_window {
	uint64_t most_bytes;
	double bytes, ceiling;  // open, 1..ceiling; 1..most_bytes
	struct mono ceiling_at; // raised or lowered
	bool opening;
	bool full;           // a request waited for room since the last judgement
	double object_bytes; // smoothed
	double base_ms;      // shortest round trip, -1: none seen
	struct mono base_at; // met
	double probed_from;  // bytes that were open before the probe under way, 0: none
	struct mono probe_at;
	double rate; // bytes/ms, of the best round of late

	// The round under way.
	struct mono from;
	uint64_t round_bytes;
	double trips_ms;
	uint32_t trips;

	uint32_t losses, rounds; // in all
};

void fetch_window_init(struct fetch_window *w, uint64_t most_bytes, struct mono now);
// What may be asked for and not yet stored; one object alone may be larger.
uint64_t fetch_window_bytes(const struct fetch_window *w);
// Something waits for room in the window, and for nothing else.
void fetch_window_full(struct fetch_window *w);
// trip_ms: since its SUBSCRIBE; -1: it was asked for more than once.
void fetch_window_arrived(
	struct fetch_window *w, uint32_t size_bytes, int64_t trip_ms, struct mono now);
// What was asked for did not come.
void fetch_window_lost(struct fetch_window *w, struct mono now);
// Time passed in which nothing was asked for: it tells nothing.
void fetch_window_rested(struct fetch_window *w, struct mono now);
// A new connection: all that was measured is forgotten.
void fetch_window_restart(struct fetch_window *w, struct mono now);

#endif
