// Envelope: payload, type and signatures, unjudged.
#include "proto/codec_envelope.h"

#include "helio.pb-c.h"
#include "proto/codec.h"

static const struct codec_row envelope_signature_rows[] = {
	ROW_FIXED(envelope_signature, key_id, CODEC_REQUIRED),
	ROW_FIXED(envelope_signature, signature, CODEC_REQUIRED),
};
CODEC_TABLE(envelope_signature, signature)

static const struct codec_row envelope_parts_rows[] = {
	ROW_BYTES(envelope_parts, payload, LIMIT_INDEX, CODEC_REQUIRED | CODEC_RECEIVED),
	ROW_TEXT(envelope_parts, payload_type, 128, CODEC_REQUIRED),
	ROW_MESSAGES(envelope_parts, signatures, signature_count, envelope_signature,
		LIMIT_SIGNATURES, CODEC_REQUIRED),
};
// The largest payload is an index; topics.c has the same sum for its topic.
CODEC_TABLE(envelope_parts, envelope, .limit = LIMIT_INDEX + 4096, .unknown_allowed = true)

CODEC_DOOR(envelope_parts)
