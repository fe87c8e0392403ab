// The peer of the core: the least that any server of this protocol does for a heartbeat. Decode,
// find the client in a table, check the MAC with its key, encode the answer, seal it with its other
// key, into one growing buffer. No accordance, no store, no queue, no log.
#ifndef HELIO_TESTS_BENCH_CORE_REFERENCE_H
#define HELIO_TESTS_BENCH_CORE_REFERENCE_H

#include "tests/bench/core/fleet.h"

struct reference;
struct reference *reference_new(size_t count);
void reference_free(struct reference *r);
// Answers each; the beats may be of any boot.
void reference_give(struct reference *r, const struct beats *b);

#endif
