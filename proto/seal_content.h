// Content that only a customer's own devices can read: a layer around the bytes of an object, and
// how the customer's key travels. protocol.md "Encryption"; requirement S001-c29.
//
// A customer key K is 32 random bytes, named in signed manifests by an id that tells nothing of it.
// Everything else follows from K by HKDF-SHA256, `|` joins bytes:
//
//   id    HKDF(K, salt 0, "helio/v1 key id"), first 16 bytes
//   salt  HKDF(K, salt 0, "helio/v1 page salt"), first 16: stands in every page of a manifest and
//         of an index, so that their hashes, which lie open, confirm no guess of what they list
//   name  HMAC-SHA256(HKDF(K, salt 0, "helio/v1 object name"), what is sealed)
//   key   HKDF(K, salt name, "helio/v1 object key")
//   object as transported:  name (32) | AES-256-GCM(key, nonce 0, what is sealed) | tag (16)
//
// What is sealed is the object after compression. Its key is made from a keyed hash of these very
// bytes, so that one key never sees two plaintexts, whatever compressed them at which level, and
// the nonce may be zero; and equal objects of one customer stay one object, which no other customer
// and no broker can tell. The address of an object is the SHA-256 of what is transported: it is
// checked before a key is touched; then the tag; then each plain chunk against the manifest.
//
// K itself travels sealed for one receiver (struct sealed_key):
//   in session  AES-256-GCM under the session's enc key, random nonce, AAD of who and what for
//   on a medium AES-256-GCM, nonce 0, under HKDF(X25519(share, box key), salt SHA-256(share | box
//               key), "helio/v1 key box"); the share is made from K and the AAD, so that the same
//               medium is written with the same bytes
#ifndef HELIO_SEAL_CONTENT_H
#define HELIO_SEAL_CONTENT_H

#include "proto/message.h"
#include "proto/sign.h"

// Reason of a directive that brings no key: it is not yours any more, forget it.
#define CONTENT_KEY_GONE "gone"

#define SEAL_BYTES (32 + 16) // an object grows by so much

struct id16 content_key_id(const struct key32 *k);
struct id16 content_page_salt(const struct key32 *k);
// What a publisher keeps in the place of plain chunk hashes, exclusive-or: one key's objects are
// never taken for another's.
struct digest content_pad(const struct key32 *k);

// out is cleared first. Errors: ERR_FULL, ERR_MEMORY.
enum err content_seal(const struct key32 *k, struct bytes plain, struct buf *out) MUST_CHECK;
// Errors: ERR_FORMAT (too short), ERR_AUTH (another key, or not sealed), ERR_MEMORY.
enum err content_open(const struct key32 *k, struct bytes sealed, struct buf *out) MUST_CHECK;

// What a key is sealed for: role of the message, receiver, number. The same on both sides.
struct key_purpose {
	const char *what, *receiver; // "response", "directive", "medium"
	uint64_t number;             // response id, session id, order
};
enum err key_seal(const struct key32 *enc, const struct key32 *k, const struct key_purpose *p,
	struct sealed_key *out) MUST_CHECK;
// Errors: ERR_AUTH.
enum err key_open(const struct key32 *enc, const struct sealed_key *sealed,
	const struct key_purpose *p, struct key32 *k) MUST_CHECK;
enum err key_box(const struct key32 *box_public, const struct key32 *k, const struct key_purpose *p,
	struct sealed_key *out) MUST_CHECK;
enum err key_unbox(const struct key32 *box_secret, const struct sealed_key *sealed,
	const struct key_purpose *p, struct key32 *k) MUST_CHECK;

#endif
