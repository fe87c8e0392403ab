// Ed25519 and X25519 from OpenSSL's libcrypto.
#include "proto/sign.h"

#include "proto/base/file.h"
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

struct sign_key {
	EVP_PKEY *pkey;
	struct key32 public_key;
};

static void scope_pkey(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

static void scope_pkey_ctx(EVP_PKEY_CTX **p)
{
	EVP_PKEY_CTX_free(*p);
}

static void scope_md_ctx(EVP_MD_CTX **p)
{
	EVP_MD_CTX_free(*p);
}

static void scope_bio(BIO **p)
{
	BIO_free_all(*p);
}

#define SCOPED_PKEY __attribute__((cleanup(scope_pkey)))
#define SCOPED_PKEY_CTX __attribute__((cleanup(scope_pkey_ctx)))
#define SCOPED_MD_CTX __attribute__((cleanup(scope_md_ctx)))
#define SCOPED_BIO __attribute__((cleanup(scope_bio)))

void sign_key_generate(struct key32 *secret)
{
	random_fill(secret->b, sizeof(secret->b));
}

// Takes pkey.
static enum err sign_key_of(EVP_PKEY *pkey, struct sign_key **out)
{
	struct sign_key *key = calloc(1, sizeof(*key));
	size_t size = sizeof(key->public_key.b);

	if (!key || EVP_PKEY_get_raw_public_key(pkey, key->public_key.b, &size) != 1 || size != 32) {
		free(key);
		EVP_PKEY_free(pkey);
		return err_set(ERR_FORMAT, "not an Ed25519 key");
	}
	key->pkey = pkey;
	*out = key;
	return ERR_OK;
}

enum err sign_key_load(const struct key32 *secret, struct sign_key **out)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret->b, 32);

	if (!pkey)
		return err_set(ERR_FORMAT, "not an Ed25519 key");
	return sign_key_of(pkey, out);
}

void sign_key_free(struct sign_key *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

const struct key32 *sign_key_public(const struct sign_key *key)
{
	return &key->public_key;
}

enum err sign_key_read(const char *pem_path, struct sign_key **out)
{
	SCOPED_BUF struct buf pem;

	buf_init(&pem, 16 * 1024);
	TRY(file_read_secret(pem_path, &pem));
	SCOPED_BIO BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

	secret_wipe(pem.data, pem.size);
	if (!pkey || EVP_PKEY_get_id(pkey) != EVP_PKEY_ED25519) {
		EVP_PKEY_free(pkey);
		return err_set(ERR_FORMAT, "%s is not an Ed25519 key in PEM", pem_path);
	}
	return sign_key_of(pkey, out);
}

enum err sign_key_write(const char *pem_path, const struct key32 *secret)
{
	SCOPED_PKEY EVP_PKEY *pkey =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret->b, 32);
	SCOPED_BIO BIO *bio = BIO_new(BIO_s_mem());
	char *pem;

	if (!pkey || !bio || PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) != 1)
		return err_set(ERR_MEMORY, "cannot write a key as PEM");
	long size = BIO_get_mem_data(bio, &pem);
	enum err e = file_write_atomic(pem_path, pem, (size_t)size, 0600);

	secret_wipe(pem, (size_t)size);
	return e;
}

enum err public_key_read(const char *path, struct key32 *out)
{
	SCOPED_BUF struct buf text;

	buf_init(&text, 128);
	TRY(file_read(path, &text));
	while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
		text.size--;
	char hex[65];
	if (text.size != 64)
		return err_set(ERR_FORMAT, "%s does not hold 64 hex digits", path);
	memcpy(hex, text.data, 64);
	hex[64] = '\0';
	if (hex_decode(hex, out->b, sizeof(out->b)) != ERR_OK)
		return err_set(ERR_FORMAT, "%s does not hold 64 hex digits", path);
	return ERR_OK;
}

// Ed25519 signs a message in one piece.
static enum err parts_join(const struct sha256_part *parts, size_t count, struct buf *out)
{
	buf_init(out, SIZE_MAX / 2);
	for (size_t i = 0; i < count; i++)
		TRY(buf_append(out, parts[i].data, parts[i].size));
	return buf_reserve(out, 1);
}

void sign_parts(const struct sign_key *key, const struct sha256_part *parts, size_t count,
	struct signature *out)
{
	SCOPED_BUF struct buf message;
	SCOPED_MD_CTX EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t size = sizeof(out->b);

	if (parts_join(parts, count, &message) != ERR_OK || !ctx ||
	        EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) != 1 ||
	        EVP_DigestSign(ctx, out->b, &size, message.data, message.size) != 1)
		abort();
}

enum err verify_parts(const struct key32 *public_key, const struct sha256_part *parts, size_t count,
	struct bytes signature)
{
	SCOPED_BUF struct buf message;
	SCOPED_MD_CTX EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	SCOPED_PKEY EVP_PKEY *pkey =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key->b, 32);

	buf_init(&message, 0);
	if (signature.size != 64)
		return err_set(ERR_AUTH, "a signature has %zu bytes, not 64", signature.size);
	TRY(parts_join(parts, count, &message));
	if (!ctx || !pkey || EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) != 1)
		return err_set(ERR_AUTH, "a public key cannot be used");
	if (EVP_DigestVerify(ctx, signature.data, 64, message.data, message.size) != 1)
		return err_set(ERR_AUTH, "the signature does not hold");
	return ERR_OK;
}

struct digest key_id(const struct key32 *public_key)
{
	return sha256(public_key->b, sizeof(public_key->b));
}

void x25519_generate(struct key32 *secret, struct key32 *share)
{
	random_fill(secret->b, sizeof(secret->b));
	x25519_public(secret, share);
}

void x25519_public(const struct key32 *secret, struct key32 *share)
{
	SCOPED_PKEY EVP_PKEY *pkey =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret->b, 32);
	size_t size = sizeof(share->b);

	if (!pkey || EVP_PKEY_get_raw_public_key(pkey, share->b, &size) != 1)
		abort();
}

enum err x25519_shared(const struct key32 *secret, const struct key32 *peer_share, struct key32 *out)
{
	SCOPED_PKEY EVP_PKEY *own =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret->b, 32);
	SCOPED_PKEY EVP_PKEY *peer =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer_share->b, 32);
	SCOPED_PKEY_CTX EVP_PKEY_CTX *ctx = own ? EVP_PKEY_CTX_new(own, NULL) : NULL;
	size_t size = sizeof(out->b);

	if (!ctx || !peer || EVP_PKEY_derive_init(ctx) != 1 ||
	        EVP_PKEY_derive_set_peer(ctx, peer) != 1 ||
	        EVP_PKEY_derive(ctx, out->b, &size) != 1 || size != 32)
		return err_set(ERR_AUTH, "an X25519 share cannot be used");
	return ERR_OK;
}
