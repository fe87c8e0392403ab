// Stand-ins, put in by the linker (--wrap) for this program alone: a run must be repeatable, and a
// sign-in must cost what a hash costs. A MAC is a fast hash that the key begins, so that damage, a
// wrong key and a wrong topic are seen as ever; a signature is that under the public key, a shared
// secret the sum of two secrets. The digests are the real ones.
#include "tests/fleet/sim/sim.h"

#include <string.h>

static struct rng crypto_random;

void __wrap_sign_parts(const struct sign_key *key, const struct sha256_part *parts, size_t count,
	struct signature *out);
struct digest __wrap_hmac_sha256(
	const struct key32 *key, const struct sha256_part *parts, size_t count);
enum err __wrap_verify_parts(const struct key32 *public_key, const struct sha256_part *parts,
	size_t count, struct bytes signature);
void __wrap_x25519_generate(struct key32 *secret, struct key32 *share);
enum err __wrap_x25519_shared(
	const struct key32 *own_secret, const struct key32 *peer_share, struct key32 *out);

void crypto_seed(uint64_t seed)
{
	crypto_random.state = seed;
}

struct digest __wrap_hmac_sha256(
	const struct key32 *key, const struct sha256_part *parts, size_t count)
{
	uint64_t hash = hash_bytes(key->b, sizeof(key->b), 1);
	struct digest out;

	for (size_t i = 0; i < count; i++)
		hash = hash_bytes(parts[i].data, parts[i].size, hash);
	struct rng r = {hash};
	rng_fill(&r, out.b, sizeof(out.b));
	return out;
}

static struct digest stand_in(
	const struct key32 *public_key, const struct sha256_part *parts, size_t count)
{
	return __wrap_hmac_sha256(public_key, parts, count);
}

void __wrap_sign_parts(const struct sign_key *key, const struct sha256_part *parts, size_t count,
	struct signature *out)
{
	struct digest d = stand_in(sign_key_public(key), parts, count);

	memcpy(out->b, d.b, 32);
	memcpy(out->b + 32, d.b, 32);
}

enum err __wrap_verify_parts(const struct key32 *public_key, const struct sha256_part *parts,
	size_t count, struct bytes signature)
{
	struct digest d = stand_in(public_key, parts, count);

	if (signature.size != 64 || memcmp(signature.data, d.b, 32) != 0 ||
		memcmp(signature.data + 32, d.b, 32) != 0)
		return err_set(ERR_AUTH, "the signature does not hold");
	return ERR_OK;
}

void __wrap_x25519_generate(struct key32 *secret, struct key32 *share)
{
	rng_fill(&crypto_random, secret->b, sizeof(secret->b));
	*share = *secret;
}

enum err __wrap_x25519_shared(
	const struct key32 *own_secret, const struct key32 *peer_share, struct key32 *out)
{
	for (size_t i = 0; i < sizeof(out->b); i++)
		out->b[i] = (uint8_t)(own_secret->b[i] + peer_share->b[i]);
	return ERR_OK;
}
