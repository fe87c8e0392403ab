// A few threads that share out the steps of one job: begun once, asked round after round.
//
//   caller: crew_run(steps) -> each member takes the next step that nobody has -> all are through
//
// Steps are taken in ascending order; what one does must depend on no other of its round.
#ifndef HELIO_PUBLISHER_CREW_H
#define HELIO_PUBLISHER_CREW_H

#include "proto/base/err.h"

#define CREW_MAX 8 // members, the caller among them

struct crew;
// step: 0..steps - 1. member: 0..crew_size - 1, each in one thread at a time; 0 is the caller.
typedef void crew_step(void *ctx, size_t step, size_t member);

// As many members as there are processors, at most `members`; at least the caller. Errors:
// ERR_MEMORY.
enum err crew_new(size_t members, struct crew **out) MUST_CHECK;
void crew_free(struct crew *c);
size_t crew_size(const struct crew *c);
// Returns when all steps are done.
void crew_run(struct crew *c, size_t steps, crew_step *step, void *ctx);

#endif
