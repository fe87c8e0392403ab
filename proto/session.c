// Session keys and the seal: field 2047, always last on the wire.
#include "proto/session.h"

#include <string.h>

struct key32 session_mac_down(const struct key32 *mac_up)
{
	static const char label[] = "helio/v1 mac-down";
	struct digest d =
		hmac_sha256(mac_up, &(struct sha256_part){ label, sizeof(label) - 1 }, 1);
	struct key32 key;

	memcpy(key.b, d.b, sizeof(key.b));
	return key;
}

enum err session_derive(const struct key32 *own_secret, const struct key32 *peer_share,
	struct bytes sign_in, struct bytes offer, struct session_keys *out)
{
	struct key32 secret;
	struct sha256_part transcript[] = { { sign_in.data, sign_in.size }, { offer.data, offer.size } };
	struct digest salt = sha256_parts(transcript, 2);

	TRY(x25519_shared(own_secret, peer_share, &secret));
	struct bytes ikm = bytes_of(secret.b, sizeof(secret.b)), salt_bytes = bytes_of(salt.b, 32);
	out->mac_up = hkdf_sha256(ikm, salt_bytes, "helio/v1 mac-up");
	out->mac_down = session_mac_down(&out->mac_up);
	out->enc = hkdf_sha256(ikm, salt_bytes, "helio/v1 enc");
	secret_wipe(&secret, sizeof(secret));
	return ERR_OK;
}

// Tag of field 2047, wire type 2: (2047 << 3 | 2) as varint.
static const uint8_t auth_tag[2] = { 0xfa, 0x7f };

// What is authenticated: topic NUL payload-before-auth.
static size_t sealed_parts(struct sha256_part parts[2], const char *topic, struct bytes body)
{
	parts[0] = (struct sha256_part){ topic, strlen(topic) + 1 };
	parts[1] = (struct sha256_part){ body.data, body.size };
	return 2;
}

static enum err auth_append(struct buf *payload, const uint8_t *auth, uint8_t size)
{
	TRY(buf_reserve(payload, sizeof(auth_tag) + 1 + (size_t)size));
	TRY(buf_append(payload, auth_tag, sizeof(auth_tag)));
	TRY(buf_append(payload, &size, 1));
	return buf_append(payload, auth, size);
}

enum err seal_mac(struct buf *payload, const char *topic, const struct key32 *mac_key)
{
	struct sha256_part parts[2];
	size_t count = sealed_parts(parts, topic, buf_bytes(payload));
	struct digest mac = hmac_sha256(mac_key, parts, count);

	return auth_append(payload, mac.b, sizeof(mac.b));
}

enum err seal_signature(struct buf *payload, const char *topic, const struct sign_key *key)
{
	struct sha256_part parts[2];
	struct signature signature;
	size_t count = sealed_parts(parts, topic, buf_bytes(payload));

	sign_parts(key, parts, count, &signature);
	return auth_append(payload, signature.b, sizeof(signature.b));
}

enum err seal_split(struct bytes payload, struct sealed *out)
{
	static const uint8_t sizes[] = { 32, 64 };

	for (size_t i = 0; i < sizeof(sizes); i++) {
		size_t tail = sizeof(auth_tag) + 1 + (size_t)sizes[i];

		if (payload.size < tail)
			continue;
		const uint8_t *at = payload.data + payload.size - tail;
		if (memcmp(at, auth_tag, sizeof(auth_tag)) == 0 && at[2] == sizes[i]) {
			out->body = bytes_of(payload.data, payload.size - tail);
			out->auth = bytes_of(at + 3, sizes[i]);
			return ERR_OK;
		}
	}
	return err_set(ERR_FORMAT, "the message does not end with signature information");
}

enum err seal_check_mac(struct bytes payload, const char *topic, const struct key32 *mac_key)
{
	struct sealed s;
	struct sha256_part parts[2];

	TRY(seal_split(payload, &s));
	if (s.auth.size != 32)
		return err_set(ERR_AUTH, "a signature where a MAC belongs");
	struct digest mac = hmac_sha256(mac_key, parts, sealed_parts(parts, topic, s.body));
	if (!mac_equal(s.auth, bytes_of(mac.b, sizeof(mac.b))))
		return err_set(ERR_AUTH, "the MAC does not hold");
	return ERR_OK;
}

enum err seal_check_signature(struct bytes payload, const char *topic, const struct key32 *public_key)
{
	struct sealed s;
	struct sha256_part parts[2];

	TRY(seal_split(payload, &s));
	if (s.auth.size != 64)
		return err_set(ERR_AUTH, "a MAC where a signature belongs");
	return verify_parts(public_key, parts, sealed_parts(parts, topic, s.body), s.auth);
}
