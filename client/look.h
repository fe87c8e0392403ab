// What is read and hashed on this device for a fetch, while nothing comes: how far it is, for the
// loop that tells it, and whether it is to end, for the pool that does it.
//
//   pool   look_note after each stretch      -> loop   look_bytes, with each heartbeat
//   loop   look_end when the fetch is over   -> pool   look_check before the next stretch
#ifndef HELIO_CLIENT_LOOK_H
#define HELIO_CLIENT_LOOK_H

#include "proto/base/err.h"

#include <stdatomic.h>

struct look {
	atomic_bool ended;
	_Atomic uint64_t bytes;
};

// NULL: nobody waits, and nobody ends it.
static inline void look_note(struct look *l, uint64_t bytes)
{
	if (l != NULL)
		atomic_fetch_add(&l->bytes, bytes);
}

static inline bool look_is_ended(struct look *l)
{
	return l != NULL && atomic_load(&l->ended);
}

// Errors: ERR_CLOSED.
static inline enum err look_check(struct look *l)
{
	return look_is_ended(l) ? err_set(ERR_CLOSED, "nobody waits for it any more") : ERR_OK;
}

#endif
