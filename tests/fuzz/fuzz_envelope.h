// The one payload that the key of fuzz_envelope ever signed: whatever else opens was forged.
#ifndef HELIO_TESTS_FUZZ_ENVELOPE_H
#define HELIO_TESTS_FUZZ_ENVELOPE_H

#include "proto/envelope.h"

#define FUZZ_SIGNED "heliograph"
static const struct key32 fuzz_secret = {{0x68, 0x65, 0x6c, 0x69, 0x6f}};

#endif
