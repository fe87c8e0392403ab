// The bytes of an Envelope, for envelope.c alone: it decides what they are worth. Nothing here
// knows a key or trusts a signature.
#ifndef HELIO_CODEC_ENVELOPE_H
#define HELIO_CODEC_ENVELOPE_H

#include "proto/limits.h"
#include "proto/sign.h"

struct envelope_signature {
	struct digest key_id; // a hint, never the proof
	struct signature signature;
};

struct envelope_parts {
	struct bytes payload;     // decoded: borrows from the received bytes, not from the arena
	const char *payload_type; // decoded: in the arena
	struct envelope_signature
		*signatures; // [signature_count], 1..LIMIT_SIGNATURES; decoded: in the arena
	size_t signature_count;
};

// Clears out, then writes the envelope. Errors: ERR_RANGE (no payload, type or signature, or too
// much of them), ERR_FULL.
enum err envelope_parts_encode(const struct envelope_parts *e, struct buf *out) MUST_CHECK;

// An arena of 128 KiB and 256 allocations is enough for every envelope.
// Errors: ERR_FORMAT, ERR_RANGE, ERR_FULL.
enum err envelope_parts_decode(
	struct arena *a, struct bytes envelope, struct envelope_parts *out) MUST_CHECK;

#endif
