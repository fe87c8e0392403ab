// Descriptors run out: what needs one fails here and there, in libraries too. So that this has one
// name in the log, a program looks once a second whether a few more can be had (program_signals
// does it for every program), and says when they are gone and when they are back.
#ifndef HELIO_BASE_DESCRIPTORS_H
#define HELIO_BASE_DESCRIPTORS_H

#include "proto/base/clock.h"
#include <stdbool.h>

// A connection, a file and a child take so many at a time.
#define DESCRIPTORS_NEEDED 4

// Logs DESCRIPTORS-EXHAUSTED and DESCRIPTORS-RECOVERED, each once.
void descriptors_look(struct mono now);
// What the last look found.
bool descriptors_are_exhausted(void);

#endif
