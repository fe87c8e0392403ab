// Verify before parse, and count every key once however often or under whatever id it signs.
#include "proto/envelope.h"

#include "proto/codec_envelope.h"
#include "proto/limits.h"
#include <stdio.h>
#include <string.h>

static const char *const types[PURPOSE_COUNT] = {
	[PURPOSE_MANIFEST] = "application/vnd.heliograph.manifest.v1+protobuf",
	[PURPOSE_INDEX] = "application/vnd.heliograph.index.v1+protobuf",
	[PURPOSE_COMMAND] = "application/vnd.heliograph.command.v1+protobuf",
	[PURPOSE_ROOT] = "application/vnd.heliograph.root.v1+protobuf",
	[PURPOSE_ENROLMENT] = "application/vnd.heliograph.enrolment.v1+protobuf",
	[PURPOSE_MEDIUM] = "application/vnd.heliograph.medium.v1+protobuf",
	[PURPOSE_MEDIUM_RETURN] = "application/vnd.heliograph.medium-return.v1+protobuf",
};

const char *purpose_type(enum purpose p)
{
	return types[p];
}

// PAE: "DSSEv1" SP len(type) SP type SP len(payload) SP payload. head holds all but the payload.
static size_t pae_parts(enum purpose p, struct bytes payload, char head[128], struct sha256_part parts[2])
{
	int n = snprintf(head, 128, "DSSEv1 %zu %s %zu ", strlen(types[p]), types[p], payload.size);

	parts[0] = (struct sha256_part){ head, (size_t)n };
	parts[1] = (struct sha256_part){ payload.data, payload.size };
	return 2;
}

enum err envelope_make(enum purpose p, struct bytes payload, struct sign_key *const *keys,
	size_t count, struct buf *out)
{
	struct envelope_signature signatures[LIMIT_SIGNATURES];
	struct sha256_part parts[2];
	char head[128];

	if (count == 0 || count > LIMIT_SIGNATURES)
		return err_set(ERR_RANGE, "an envelope takes 1 to %d signatures", LIMIT_SIGNATURES);
	size_t part_count = pae_parts(p, payload, head, parts);
	for (size_t i = 0; i < count; i++) {
		signatures[i].key_id = key_id(sign_key_public(keys[i]));
		sign_parts(keys[i], parts, part_count, &signatures[i].signature);
	}
	struct envelope_parts e = {
		.payload = payload, .payload_type = types[p], .signatures = signatures, .signature_count = count
	};
	return envelope_parts_encode(&e, out);
}

static bool key_is_repeated(const struct key32 *keys, size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (memcmp(keys[i].b, keys[at].b, sizeof(keys[at].b)) == 0)
			return true;
	}
	return false;
}

// Is there a signature of this very key? The id is only a hint which ones to try.
static bool key_has_signed(const struct envelope_parts *e, const struct key32 *key,
	const struct sha256_part *parts, size_t part_count)
{
	struct digest id = key_id(key);

	for (size_t i = 0; i < e->signature_count; i++) {
		const struct envelope_signature *s = &e->signatures[i];

		if (digest_equal(&s->key_id, &id) &&
		        verify_parts(key, parts, part_count, bytes_of(s->signature.b, 64)) == ERR_OK)
			return true;
	}
	return false;
}

enum err envelope_open(enum purpose p, struct bytes envelope, const struct key32 *keys, size_t count,
	size_t threshold, struct bytes *payload)
{
	SCOPED_ARENA struct arena arena;
	struct envelope_parts e;
	struct sha256_part parts[2];
	char head[128];
	size_t signers = 0;

	arena_init(&arena, 128 * 1024, 256);
	if (threshold == 0 || threshold > count)
		return err_set(ERR_RANGE, "%zu signatures of %zu keys cannot be asked for", threshold, count);
	if (envelope.size > LIMIT_INDEX + 4096)
		return err_set(ERR_RANGE, "an envelope of %zu bytes", envelope.size);
	TRY(envelope_parts_decode(&arena, envelope, &e));
	if (strcmp(e.payload_type, types[p]) != 0)
		return err_set(ERR_AUTH, "an envelope of another purpose (%.80s)", e.payload_type);
	size_t part_count = pae_parts(p, e.payload, head, parts);
	for (size_t i = 0; i < count && signers < threshold; i++) {
		if (!key_is_repeated(keys, i) && key_has_signed(&e, &keys[i], parts, part_count))
			signers++;
	}
	if (signers < threshold)
		return err_set(ERR_AUTH, "%zu of %zu needed signatures hold", signers, threshold);
	*payload = e.payload;
	return ERR_OK;
}
