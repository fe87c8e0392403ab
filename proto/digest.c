// SHA-256 and its relatives, from OpenSSL's libcrypto.
//
// The plain SHA-256 functions and not EVP: a heartbeat costs two short MACs, each under another key,
// and the fetching, the initialising and the copying of EVP's contexts cost as much as the hashing
// (3.9 M short MACs a second against 2.2 M with a kept and re-keyed EVP_MAC). Same code underneath.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "proto/digest.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

static void state_begin(SHA256_CTX *state)
{
	if (SHA256_Init(state) != 1)
		abort();
}

static void state_add(SHA256_CTX *state, const void *data, size_t size)
{
	if (size && SHA256_Update(state, data, size) != 1)
		abort();
}

static struct digest state_end(SHA256_CTX *state)
{
	struct digest d;

	if (SHA256_Final(d.b, state) != 1)
		abort();
	return d;
}

struct digest sha256_parts(const struct sha256_part *parts, size_t count)
{
	SHA256_CTX state;

	state_begin(&state);
	for (size_t i = 0; i < count; i++)
		state_add(&state, parts[i].data, parts[i].size);
	return state_end(&state);
}

struct digest sha256(const void *data, size_t size)
{
	return sha256_parts(&(struct sha256_part){ data, size }, 1);
}

struct sha256_stream {
	SHA256_CTX state;
};

struct sha256_stream *sha256_new(void)
{
	struct sha256_stream *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	state_begin(&s->state);
	return s;
}

void sha256_add(struct sha256_stream *s, const void *data, size_t size)
{
	state_add(&s->state, data, size);
}

struct digest sha256_end(struct sha256_stream *s)
{
	struct digest d = state_end(&s->state);

	state_begin(&s->state);
	return d;
}

void sha256_free(struct sha256_stream *s)
{
	free(s);
}

// RFC 2104 for a key that is shorter than a block: the key, padded with zeros, over ipad and opad.
static void keyed_begin(SHA256_CTX *state, const struct key32 *key, uint8_t pad)
{
	uint8_t block[SHA256_CBLOCK];

	for (size_t i = 0; i < sizeof(key->b); i++)
		block[i] = key->b[i] ^ pad;
	memset(block + sizeof(key->b), pad, sizeof(block) - sizeof(key->b));
	state_begin(state);
	state_add(state, block, sizeof(block));
	secret_wipe(block, sizeof(block));
}

// The key that was used last, as the two states behind its pads: a server checks a heartbeat with one
// key and derives the key of the answer from the same.
static _Thread_local struct {
	struct key32 key;
	bool known;
	SHA256_CTX inner, outer;
} last;

static void last_set(const struct key32 *key)
{
	if (last.known && memcmp(&last.key, key, sizeof(last.key)) == 0)
		return;
	keyed_begin(&last.inner, key, 0x36);
	keyed_begin(&last.outer, key, 0x5c);
	last.key = *key;
	last.known = true;
}

// The second hash of an HMAC is always of one more block: the first one's result, its padding, and
// the length of both blocks in bits.
static struct digest outer_end(const SHA256_CTX *outer, const struct digest *inner)
{
	uint8_t block[SHA256_CBLOCK] = { 0 };
	SHA256_CTX state = *outer;
	struct digest d;

	memcpy(block, inner->b, sizeof(inner->b));
	block[sizeof(inner->b)] = 0x80;
	block[SHA256_CBLOCK - 2] = (SHA256_CBLOCK + sizeof(inner->b)) * 8 >> 8;
	SHA256_Transform(&state, block);
	for (size_t i = 0; i < sizeof(d.b); i++)
		d.b[i] = (uint8_t)(state.h[i / 4] >> (24 - 8 * (i % 4)));
	secret_wipe(block, sizeof(inner->b));
	return d;
}

struct digest hmac_sha256(const struct key32 *key, const struct sha256_part *parts, size_t count)
{
	SHA256_CTX state;

	last_set(key);
	state = last.inner;
	for (size_t i = 0; i < count; i++)
		state_add(&state, parts[i].data, parts[i].size);
	struct digest inner = state_end(&state);
	struct digest mac = outer_end(&last.outer, &inner);
	secret_wipe(&inner, sizeof(inner)); // SHA256_Final wipes the state
	return mac;
}

bool mac_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && CRYPTO_memcmp(a.data, b.data, a.size) == 0;
}

struct key32 hkdf_sha256(struct bytes secret, struct bytes salt, const char *info)
{
	struct key32 extract_key = { { 0 } }, out;
	struct digest prk, block;
	static const uint8_t one = 1;

	// RFC 5869: PRK = HMAC(salt, secret); the first block of output is HMAC(PRK, info | 0x01).
	// HMAC hashes a key longer than its block and pads a shorter one with zeros; our salts have 32 bytes.
	assert(salt.size == sizeof(extract_key.b));
	memcpy(extract_key.b, salt.data, salt.size);
	prk = hmac_sha256(&extract_key, &(struct sha256_part){ secret.data, secret.size }, 1);
	struct sha256_part parts[] = { { info, strlen(info) }, { &one, 1 } };
	struct key32 prk_key;

	memcpy(prk_key.b, prk.b, sizeof(prk_key.b));
	block = hmac_sha256(&prk_key, parts, 2);
	memcpy(out.b, block.b, sizeof(out.b));
	secret_wipe(&prk, sizeof(prk));
	secret_wipe(&prk_key, sizeof(prk_key));
	secret_wipe(&block, sizeof(block));
	return out;
}
