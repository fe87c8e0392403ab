// SHA-256 and its relatives, from OpenSSL's libcrypto.
//
// The plain SHA-256 functions and not EVP: a heartbeat costs two short MACs, each under another key,
// and the fetching, the initialising and the copying of EVP's contexts cost as much as the hashing
// (3.9 M short MACs a second against 2.2 M with a kept and re-keyed EVP_MAC). Same code underneath.
// A MAC of a short message goes past their buffering too: message and padding are laid out in one
// piece, whose blocks are hashed with one call.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "proto/digest.h"

#include <assert.h>
#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
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

// ---- short messages

#define SHORT_MAX 1024 // bytes with their padding: a heartbeat has some 300

// What SHA-256 remembers between two blocks.
struct words {
	SHA_LONG h[8];
};

static const struct words first_words = { { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 } }; // FIPS 180-4, 5.3.3

// Whole blocks: nothing is kept back, so what a context holds besides does not matter.
static inline void words_add(struct words *w, const uint8_t *blocks, size_t size)
{
	SHA256_CTX state;

	memcpy(state.h, w->h, sizeof(w->h));
	if (size == SHA256_CBLOCK) {
		SHA256_Transform(&state, blocks);
	} else {
		state.Nl = state.Nh = 0;
		state.num = 0;
		state_add(&state, blocks, size);
	}
	memcpy(w->h, state.h, sizeof(w->h));
}

static void words_store(const struct words *w, uint8_t out[SHA256_DIGEST_LENGTH])
{
	for (size_t i = 0; i < 8; i++) {
		uint32_t word = htobe32(w->h[i]);
		memcpy(out + 4 * i, &word, sizeof(word));
	}
}

// The end of a message of which `before` bytes were hashed, then `size` that stand in front of `to`.
// Returns how many bytes it took.
static size_t padding_write(uint8_t *to, size_t before, size_t size)
{
	uint64_t bits = htobe64((before + size) * 8);
	size_t zeros = (2 * SHA256_CBLOCK - 1 - sizeof(bits) - size % SHA256_CBLOCK) % SHA256_CBLOCK;

	*to = 0x80;
	memset(to + 1, 0, zeros);
	memcpy(to + 1 + zeros, &bits, sizeof(bits));
	return 1 + zeros + sizeof(bits);
}

static size_t parts_size(const struct sha256_part *parts, size_t count)
{
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += parts[i].size;
	return size;
}

// ---- HMAC

// RFC 2104 for a key that is shorter than a block: the key, padded with zeros, over ipad and opad.
static void keyed_begin(struct words *w, const struct key32 *key, uint64_t pad)
{
	uint64_t block[SHA256_CBLOCK / 8];

	memcpy(block, key->b, sizeof(key->b));
	for (size_t i = 0; i < sizeof(key->b) / 8; i++)
		block[i] ^= pad;
	for (size_t i = sizeof(key->b) / 8; i < SHA256_CBLOCK / 8; i++)
		block[i] = pad;
	*w = first_words;
	words_add(w, (const uint8_t *)block, sizeof(block));
	secret_wipe(block, sizeof(key->b));
}

// The key that was used last, as the two states behind its pads: a server checks a heartbeat with one
// key and derives the key of the answer from the same.
static _Thread_local struct {
	struct key32 key;
	bool known;
	struct words inner, outer;
} last;

static void last_set(const struct key32 *key)
{
	if (last.known && memcmp(&last.key, key, sizeof(last.key)) == 0)
		return;
	keyed_begin(&last.inner, key, 0x3636363636363636);
	keyed_begin(&last.outer, key, 0x5c5c5c5c5c5c5c5c);
	last.key = *key;
	last.known = true;
}

static void inner_short(struct words *w, const struct sha256_part *parts, size_t count)
{
	uint8_t room[SHORT_MAX];
	size_t size = 0;

	for (size_t i = 0; i < count; i++) {
		if (parts[i].size)
			memcpy(room + size, parts[i].data, parts[i].size);
		size += parts[i].size;
	}
	size += padding_write(room + size, SHA256_CBLOCK, size);
	words_add(w, room, size);
	secret_wipe(room, size);
}

static void inner_long(struct words *w, const struct sha256_part *parts, size_t count)
{
	SHA256_CTX state;

	state_begin(&state);
	memcpy(state.h, w->h, sizeof(w->h));
	state.Nl = SHA256_CBLOCK * 8;
	for (size_t i = 0; i < count; i++)
		state_add(&state, parts[i].data, parts[i].size);
	struct digest d = state_end(&state); // wipes the state
	for (size_t i = 0; i < 8; i++) {
		uint32_t word;
		memcpy(&word, d.b + 4 * i, sizeof(word));
		w->h[i] = be32toh(word);
	}
}

// The second hash is always of one more block: the first one's result and its padding.
static void outer_end(struct words *w, const struct words *inner)
{
	uint8_t block[SHA256_CBLOCK];

	words_store(inner, block);
	(void)padding_write(block + SHA256_DIGEST_LENGTH, SHA256_CBLOCK, SHA256_DIGEST_LENGTH);
	words_add(w, block, sizeof(block));
	secret_wipe(block, SHA256_DIGEST_LENGTH);
}

struct digest hmac_sha256(const struct key32 *key, const struct sha256_part *parts, size_t count)
{
	struct words inner, outer;
	struct digest mac;

	last_set(key);
	inner = last.inner;
	outer = last.outer;
	if (parts_size(parts, count) <= SHORT_MAX - 2 * SHA256_CBLOCK)
		inner_short(&inner, parts, count);
	else
		inner_long(&inner, parts, count);
	outer_end(&outer, &inner);
	words_store(&outer, mac.b);
	secret_wipe(&inner, sizeof(inner));
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

// ---- one message a key

struct onetime_mac {
	EVP_MAC *kind;
	EVP_MAC_CTX *state;
};

struct onetime_mac *onetime_mac_new(void)
{
	struct onetime_mac *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->kind = EVP_MAC_fetch(NULL, "POLY1305", NULL);
	m->state = m->kind ? EVP_MAC_CTX_new(m->kind) : NULL;
	if (!m->state)
		abort();
	return m;
}

void onetime_mac_free(struct onetime_mac *m)
{
	if (!m)
		return;
	EVP_MAC_CTX_free(m->state);
	EVP_MAC_free(m->kind);
	free(m);
}

struct id16 onetime_mac(
	struct onetime_mac *m, const struct key32 *once, const void *data, size_t size)
{
	struct id16 out;
	size_t length = 0;

	if (EVP_MAC_init(m->state, once->b, sizeof(once->b), NULL) != 1 ||
		(size && EVP_MAC_update(m->state, data, size) != 1) ||
		EVP_MAC_final(m->state, out.b, &length, sizeof(out.b)) != 1 || length != sizeof(out.b))
		abort();
	return out;
}
