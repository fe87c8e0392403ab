// Deltas as the server wants them: SERVE_BASES names the packages that clients hold and update
// from; for each a delta is made, one at a time, on a thread of the lowest priority, and lies where
// the package lies. Publishing never waits for it: a delta that is not there costs bytes, nothing
// else. What is not named any more is withdrawn and removed.
//
// What is wanted lives in memory: the server says it again when a session begins. What was made is
// in the store, and is not made twice.
#ifndef HELIO_PUBLISHER_DELTAS_H
#define HELIO_PUBLISHER_DELTAS_H

#include "control.h"
#include "transmit.h"

struct deltas;

#define DELTAS_MAX 256 // wanted at a time

// All borrowed for its life.
enum err deltas_new(uv_loop_t *loop, struct store *store, struct control *control,
	struct transmit *transmit, struct deltas **out) MUST_CHECK;
// Ends the thread; deltas_free when the loop has ended.
void deltas_stop(struct deltas *d);
void deltas_free(struct deltas *d);

void deltas_directive(struct deltas *d, const struct directive *m);
// What became of a job at a station.
void deltas_report(void *ctx, const struct job_report *r);

// For people: how many are wanted, made, and what is being made.
struct deltas_status {
	size_t wanted, made;
	bool making;
};
void deltas_get_status(const struct deltas *d, struct deltas_status *out);

#endif
