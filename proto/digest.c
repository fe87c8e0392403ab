// SHA-256 and its relatives, from OpenSSL's libcrypto.
//
// Each thread keeps one hash and one MAC context and gives it a new key each time: 2.2 M short MACs
// a second against 0.9 M with the one-shot call.
#include "proto/digest.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// Contexts that a thread keeps; freed by the key's destructor when it ends.
struct thread_kit {
	EVP_MD_CTX *hash;
	EVP_MAC_CTX *mac;
};

static pthread_key_t kit_key;
static pthread_once_t kit_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256_method;
static EVP_MAC *hmac_method;

static void kit_free(void *p)
{
	struct thread_kit *kit = p;

	EVP_MD_CTX_free(kit->hash);
	EVP_MAC_CTX_free(kit->mac);
	free(kit);
}

static void kit_at_exit(void)
{
	struct thread_kit *kit = pthread_getspecific(kit_key);

	// A thread that ends the process does not run its own destructor.
	pthread_setspecific(kit_key, NULL);
	if (kit)
		kit_free(kit);
	EVP_MAC_free(hmac_method);
	EVP_MD_free(sha256_method);
}

static void kit_prepare(void)
{
	sha256_method = EVP_MD_fetch(NULL, "SHA256", NULL);
	hmac_method = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (!sha256_method || !hmac_method || pthread_key_create(&kit_key, kit_free) != 0)
		abort();
	atexit(kit_at_exit);
}

static struct thread_kit *kit_new(void)
{
	struct thread_kit *kit = calloc(1, sizeof(*kit));
	char name[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end(),
	};

	if (!kit || !(kit->hash = EVP_MD_CTX_new()) || !(kit->mac = EVP_MAC_CTX_new(hmac_method)) ||
	        EVP_MAC_CTX_set_params(kit->mac, params) != 1)
		abort();
	return kit;
}

static struct thread_kit *kit_get(void)
{
	pthread_once(&kit_once, kit_prepare);
	struct thread_kit *kit = pthread_getspecific(kit_key);

	if (!kit) {
		kit = kit_new();
		pthread_setspecific(kit_key, kit);
	}
	return kit;
}

struct digest sha256_parts(const struct sha256_part *parts, size_t count)
{
	EVP_MD_CTX *hash = kit_get()->hash;
	struct digest d;
	bool ok = EVP_DigestInit_ex2(hash, sha256_method, NULL) == 1;

	for (size_t i = 0; i < count; i++)
		ok = ok && EVP_DigestUpdate(hash, parts[i].data, parts[i].size) == 1;
	ok = ok && EVP_DigestFinal_ex(hash, d.b, NULL) == 1;
	if (!ok)
		abort();
	return d;
}

struct digest sha256(const void *data, size_t size)
{
	return sha256_parts(&(struct sha256_part){ data, size }, 1);
}

struct sha256_stream {
	EVP_MD_CTX *hash;
};

struct sha256_stream *sha256_new(void)
{
	struct sha256_stream *s = calloc(1, sizeof(*s));

	(void)kit_get();
	if (!s || !(s->hash = EVP_MD_CTX_new()) || EVP_DigestInit_ex2(s->hash, sha256_method, NULL) != 1)
		abort();
	return s;
}

void sha256_add(struct sha256_stream *s, const void *data, size_t size)
{
	if (EVP_DigestUpdate(s->hash, data, size) != 1)
		abort();
}

struct digest sha256_end(struct sha256_stream *s)
{
	struct digest d;

	if (EVP_DigestFinal_ex(s->hash, d.b, NULL) != 1 ||
	        EVP_DigestInit_ex2(s->hash, sha256_method, NULL) != 1)
		abort();
	return d;
}

void sha256_free(struct sha256_stream *s)
{
	if (!s)
		return;
	EVP_MD_CTX_free(s->hash);
	free(s);
}

struct digest hmac_sha256(const struct key32 *key, const struct sha256_part *parts, size_t count)
{
	EVP_MAC_CTX *mac = kit_get()->mac;
	struct digest d;
	size_t size = 0;
	bool ok = EVP_MAC_init(mac, key->b, sizeof(key->b), NULL) == 1;

	for (size_t i = 0; i < count; i++)
		ok = ok && EVP_MAC_update(mac, parts[i].data, parts[i].size) == 1;
	ok = ok && EVP_MAC_final(mac, d.b, &size, sizeof(d.b)) == 1 && size == sizeof(d.b);
	if (!ok)
		abort();
	return d;
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
