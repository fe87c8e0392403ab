// The session of a client, publisher or operator with the server.
//
// Two beats make it: a signed sign-in obtains a SessionOffer; the first valid message inside the
// offered session makes it current. Keys: HKDF(X25519 secret, salt SHA-256(sign-in | offer)), one
// each for mac-up and enc; mac-down follows from mac-up. CN 101217512; protocol.md "The conversation".
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
