// Ed25519 signatures (RFC 8032) and X25519 shares (RFC 7748). Keys are raw 32 bytes.
#ifndef HELIO_SIGN_H
#define HELIO_SIGN_H

#include "proto/base/mem.h"
#include "proto/digest.h"

struct signature {
	uint8_t b[64];
};

// A signing key, loaded once; signing does not parse it again. Freed with sign_key_free.
struct sign_key;

void sign_key_generate(struct key32 *secret);
enum err sign_key_load(const struct key32 *secret, struct sign_key **out) MUST_CHECK;
void sign_key_free(struct sign_key *key);
const struct key32 *sign_key_public(const struct sign_key *key);

// PEM PKCS#8, so that `openssl pkeyutl` can use the same file; 0600, refused when others can read it.
enum err sign_key_read(const char *pem_path, struct sign_key **out) MUST_CHECK;
enum err sign_key_write(const char *pem_path, const struct key32 *secret) MUST_CHECK;
// Raw 32 bytes of a public key as 64 hex digits and a newline.
enum err public_key_read(const char *path, struct key32 *out) MUST_CHECK;

void sign_parts(const struct sign_key *key, const struct sha256_part *parts, size_t count,
                struct signature *out);
// Errors: ERR_AUTH.
enum err verify_parts(const struct key32 *public_key, const struct sha256_part *parts, size_t count,
                      struct bytes signature) MUST_CHECK;

// SHA-256 of the raw public key.
struct digest key_id(const struct key32 *public_key);

// The share that goes with a secret.
void x25519_public(const struct key32 *secret, struct key32 *share);
void x25519_generate(struct key32 *secret, struct key32 *share);
// Errors: ERR_AUTH for a share of small order.
enum err x25519_shared(const struct key32 *secret, const struct key32 *peer_share,
                       struct key32 *out) MUST_CHECK;

#endif
