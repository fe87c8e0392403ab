// The session of a client, publisher or operator with the server.
//
// Two beats make it: a signed sign-in obtains a SessionOffer; the first valid message inside the
// offered session makes it current. CN 101217512; protocol.md "The conversation".
//
// The key schedule; `|` joins bytes:
//
//   salt      SHA-256(sign-in | offer)          the whole payloads, auth included
//   mac-up    HKDF(X25519 secret, salt, info "helio/v1 mac-up")       what the server receives
//   enc       HKDF(X25519 secret, salt, info "helio/v1 enc")          customers' keys
//   mac-down  HMAC-SHA256(key mac-up, "helio/v1 mac-down")            what the server sends
//
// mac-down follows from mac-up, instead of being a third output of the HKDF, because a server of a
// million sessions keeps one key of each in memory (32 of the 128 bytes of a client) and in its
// row, and because deriving it anew is one HMAC of one short block: less than the cache miss of
// fetching it. Nothing is lost by it:
//
//   - Both ends hold both keys in any case: a MAC is symmetric, so who knows mac-up is one of the
//     two. What the directions are apart for is that no message can be sent back to its author,
//     and for that the keys need only differ.
//   - HMAC is a pseudo-random function: mac-down tells nothing of mac-up. HKDF-Expand itself is
//     this step (HMAC of the info and a byte 01).
//   - No seal can be made to give the key away. mac-up seals `topic NUL payload`, which always
//     holds a NUL and begins with "helio/v1/"; the label holds none, and a blank there.
//   - enc, the one key that keeps a secret, is not reached from either.
//
// Also the seal of a payload: `auth`, field 2047, appended last, over  topic NUL payload-before-auth.
#ifndef HELIO_SESSION_H
#define HELIO_SESSION_H

#include "proto/sign.h"

struct session_keys {
	struct key32 mac_up, mac_down, enc;
};

// mac-down = HMAC(mac-up, "helio/v1 mac-down"): a server of a million sessions remembers one key each.
struct key32 session_mac_down(const struct key32 *mac_up);

// sign_in and offer: the whole payloads as they were on the wire, auth included.
enum err session_derive(const struct key32 *own_secret, const struct key32 *peer_share,
                        struct bytes sign_in, struct bytes offer, struct session_keys *out) MUST_CHECK;

// Adds auth to a payload that was encoded without one.
enum err seal_mac(struct buf *payload, const char *topic, const struct key32 *mac_key) MUST_CHECK;
enum err seal_signature(struct buf *payload, const char *topic, const struct sign_key *key) MUST_CHECK;

// Splits a received payload. Errors: ERR_FORMAT when the last field is not auth of 32 or 64 bytes
// written as FA 7F 20 or FA 7F 40.
struct sealed {
	struct bytes body;     // before auth
	struct bytes auth;     // 32 or 64 bytes
};
enum err seal_split(struct bytes payload, struct sealed *out) MUST_CHECK;

// Errors: ERR_FORMAT, ERR_AUTH (also when auth has the other length).
enum err seal_check_mac(struct bytes payload, const char *topic, const struct key32 *mac_key) MUST_CHECK;
enum err seal_check_signature(struct bytes payload, const char *topic, const struct key32 *public_key) MUST_CHECK;

#endif
