// Who said lately that it cannot fetch from which data broker (S001-c26).
//
// The server reaches that broker itself, so the fault lies between the two; another broker may do.
// Two complaints within the period, and the broker is out of question for that client until the
// period is over. In memory alone: after a restart the clients complain again. Pure.
#ifndef HELIO_SERVER_UNREACHABLE_H
#define HELIO_SERVER_UNREACHABLE_H

#include "proto/base/clock.h"
#include "proto/base/mem.h"
#include <stdbool.h>
#include <stdint.h>

#define UNREACHABLE_MAX 100000 // pairs of client and broker; then the oldest is forgotten
#define UNREACHABLE_COMPLAINTS 2

struct unreachable;

struct unreachable *unreachable_new(uint32_t period_s); // aborts when out of memory
void unreachable_free(struct unreachable *u);

// One more complaint. What is out of question already stays so no longer than it would have.
void unreachable_note(
	struct unreachable *u, const char *client, const char *broker, struct mono now);
// The client fetched from it.
void unreachable_forget(struct unreachable *u, const char *client, const char *broker);
bool unreachable_is(
	const struct unreachable *u, const char *client, const char *broker, struct mono now);

#endif
