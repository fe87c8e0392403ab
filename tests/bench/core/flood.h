// Heartbeats through Paho: a broker of three packets that sends them as fast as they are taken, and
// two subscribers, the core and one that only counts. Answers go into the sink.
#ifndef HELIO_TESTS_BENCH_CORE_FLOOD_H
#define HELIO_TESTS_BENCH_CORE_FLOOD_H

#include "tests/bench/core/fleet.h"

// Beats per second of wall time. core NULL: they are counted.
double flood(struct bench_fleet *f, const struct beats *b, bool counts_only);

#endif
