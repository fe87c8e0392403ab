// Signed envelopes for what is stored: manifest, index, command, root, enrolment.
// DSSE v1 pre-authentication encoding, so that a signature made for one purpose is good for no other.
// Verify first, parse afterwards; the bytes that were verified are the bytes handed on.
#ifndef HELIO_ENVELOPE_H
#define HELIO_ENVELOPE_H

#include "proto/sign.h"

enum purpose {
	PURPOSE_MANIFEST,       // application/vnd.heliograph.manifest.v1+protobuf
	PURPOSE_INDEX,
	PURPOSE_COMMAND,
	PURPOSE_ROOT,
	PURPOSE_ENROLMENT,
	PURPOSE_MEDIUM,
	PURPOSE_MEDIUM_RETURN,         // signed by a client's identity
	PURPOSE_COUNT
};

const char *purpose_type(enum purpose p);

// payload is wrapped and signed by keys[count]. out is cleared first.
enum err envelope_make(enum purpose p, struct bytes payload, struct sign_key *const *keys,
                       size_t count, struct buf *out) MUST_CHECK;

// Checks type, at most LIMIT_SIGNATURES signatures, and that at least `threshold` (>= 1) different
// keys of keys[count] signed. *payload borrows from `envelope`, not from memory of ours.
// Errors: ERR_FORMAT, ERR_AUTH, ERR_RANGE (threshold 0 or above count, size).
enum err envelope_open(enum purpose p, struct bytes envelope, const struct key32 *keys, size_t count,
                       size_t threshold, struct bytes *payload) MUST_CHECK;

#endif
