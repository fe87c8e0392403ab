// See rotation.h.
#include "proto/rotation.h"

#include <string.h>

#define PARTS 6

static const char purpose[] = "heliograph rotate-key v1";

static void parts_fill(const char *id, const struct sign_in *in, struct sha256_part parts[PARTS])
{
	const struct sha256_part all[PARTS] = {
		{purpose, sizeof(purpose)},
		{id, strlen(id) + 1},
		{in->public_key.b, sizeof(in->public_key.b)},
		{in->next_key.b, sizeof(in->next_key.b)},
		{in->nonce.b, sizeof(in->nonce.b)},
		{in->x25519_share.b, sizeof(in->x25519_share.b)},
	};

	memcpy(parts, all, sizeof(all));
}

bool sign_in_rotates(const struct sign_in *in)
{
	static const struct key32 none;

	return memcmp(in->next_key.b, none.b, sizeof(none.b)) != 0;
}

void rotation_prove(const char *id, struct sign_in *in, const struct sign_key *next)
{
	struct sha256_part parts[PARTS];
	struct signature proof;

	in->next_key = *sign_key_public(next);
	parts_fill(id, in, parts);
	sign_parts(next, parts, PARTS, &proof);
	memcpy(in->next_proof.b, proof.b, sizeof(in->next_proof.b));
}

enum err rotation_check(const char *id, const struct sign_in *in)
{
	struct sha256_part parts[PARTS];

	if (memcmp(in->next_key.b, in->public_key.b, sizeof(in->next_key.b)) == 0)
		return err_set(ERR_RANGE, "the next key of %s is the one it has", id);
	parts_fill(id, in, parts);
	return verify_parts(
		&in->next_key, parts, PARTS, bytes_of(in->next_proof.b, sizeof(in->next_proof.b)));
}
