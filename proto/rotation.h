// Rotation of an identity key: one sign-in that the present key and the next one both signed.
//
// The message carries next_key and next_proof and is sealed with the present key as every sign-in
// is. next_proof is the next key's Ed25519 signature over
//
//   "heliograph rotate-key v1" NUL id NUL public_key next_key nonce x25519_share
//
// so that it proves who holds the next key, for this id, after this key, in this sign-in alone.
#ifndef HELIO_ROTATION_H
#define HELIO_ROTATION_H

#include "proto/message.h"
#include "proto/sign.h"

// Fills in->next_key and in->next_proof; everything else of *in that it covers is set.
void rotation_prove(const char *id, struct sign_in *in, const struct sign_key *next);
// Errors: ERR_AUTH; ERR_RANGE when the next key is the present one.
enum err rotation_check(const char *id, const struct sign_in *in) MUST_CHECK;
bool sign_in_rotates(const struct sign_in *in);

#endif
