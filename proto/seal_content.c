// See seal_content.h. AES-256-GCM of OpenSSL stays behind this file.
#include "proto/seal_content.h"

#include "proto/base/file.h"
#include <openssl/evp.h>
#include <string.h>

#define TAG_BYTES 16
#define NONCE_BYTES 12

static const uint8_t zeros[32];

static struct key32 derive(const struct key32 *k, const uint8_t salt[32], const char *info)
{
	return hkdf_sha256(bytes_of(k->b, sizeof(k->b)), bytes_of(salt, 32), info);
}

static struct id16 derive16(const struct key32 *k, const char *info)
{
	struct key32 all = derive(k, zeros, info);
	struct id16 out;

	memcpy(out.b, all.b, sizeof(out.b));
	secret_wipe(&all, sizeof(all));
	return out;
}

struct id16 content_key_id(const struct key32 *k)
{
	return derive16(k, "helio/v1 key id");
}

struct id16 content_page_salt(const struct key32 *k)
{
	return derive16(k, "helio/v1 page salt");
}

struct digest content_pad(const struct key32 *k)
{
	struct key32 all = derive(k, zeros, "helio/v1 chunk pad");
	struct digest out;

	memcpy(out.b, all.b, sizeof(out.b));
	secret_wipe(&all, sizeof(all));
	return out;
}

// ---- AES-256-GCM

static void scope_cipher(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}
#define SCOPED_CIPHER __attribute__((cleanup(scope_cipher)))

// out: plain.size + TAG_BYTES.
static enum err gcm_seal(const struct key32 *key, const uint8_t nonce[NONCE_BYTES],
	struct bytes aad, struct bytes plain, uint8_t *out)
{
	SCOPED_CIPHER EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n = 0;

	if (!c || plain.size > INT32_MAX ||
		EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->b, nonce) != 1 ||
		(aad.size && EVP_EncryptUpdate(c, NULL, &n, aad.data, (int)aad.size) != 1) ||
		(plain.size && EVP_EncryptUpdate(c, out, &n, plain.data, (int)plain.size) != 1) ||
		EVP_EncryptFinal_ex(c, out + plain.size, &n) != 1 ||
		EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out + plain.size) != 1)
		return err_set(ERR_MEMORY, "AES-256-GCM cannot be used");
	return ERR_OK;
}

// sealed: with its tag. out: sealed.size - TAG_BYTES; to be used only after ERR_OK.
static enum err gcm_open(const struct key32 *key, const uint8_t nonce[NONCE_BYTES],
	struct bytes aad, struct bytes sealed, uint8_t *out)
{
	SCOPED_CIPHER EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t tag[TAG_BYTES];
	int n = 0, size = (int)(sealed.size - TAG_BYTES);

	memcpy(tag, sealed.data + size, sizeof(tag));
	if (!c || EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key->b, nonce) != 1 ||
		(aad.size && EVP_DecryptUpdate(c, NULL, &n, aad.data, (int)aad.size) != 1) ||
		(size && EVP_DecryptUpdate(c, out, &n, sealed.data, size) != 1) ||
		EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) != 1)
		return err_set(ERR_MEMORY, "AES-256-GCM cannot be used");
	if (EVP_DecryptFinal_ex(c, out + size, &n) != 1)
		return err_set(ERR_AUTH, "what is sealed does not open with this key");
	return ERR_OK;
}

// ---- objects

static struct key32 object_key(const struct key32 *k, const uint8_t name[32])
{
	return derive(k, name, "helio/v1 object key");
}

enum err content_seal(const struct key32 *k, struct bytes plain, struct buf *out)
{
	struct key32 naming = derive(k, zeros, "helio/v1 object name");
	struct digest name = hmac_sha256(&naming, &(struct sha256_part){plain.data, plain.size}, 1);
	struct key32 key = object_key(k, name.b);

	buf_clear(out);
	enum err e = buf_reserve(out, plain.size + SEAL_BYTES);
	if (e == ERR_OK) {
		memcpy(out->data, name.b, sizeof(name.b));
		e = gcm_seal(&key, zeros, bytes_of(NULL, 0), plain, out->data + sizeof(name.b));
	}
	if (e == ERR_OK)
		out->size = plain.size + SEAL_BYTES;
	secret_wipe(&naming, sizeof(naming));
	secret_wipe(&key, sizeof(key));
	return e;
}

enum err content_open(const struct key32 *k, struct bytes sealed, struct buf *out)
{
	if (sealed.size < SEAL_BYTES)
		return err_set(ERR_FORMAT, "%zu bytes are no sealed object", sealed.size);
	struct key32 key = object_key(k, sealed.data);

	buf_clear(out);
	enum err e = buf_reserve(out, sealed.size - SEAL_BYTES + 1);
	if (e == ERR_OK)
		e = gcm_open(&key, zeros, bytes_of(NULL, 0),
			bytes_of(sealed.data + 32, sealed.size - 32), out->data);
	if (e == ERR_OK)
		out->size = sealed.size - SEAL_BYTES;
	secret_wipe(&key, sizeof(key));
	return e;
}

// ---- keys on their way

#define AAD_MAX (3 * (LIMIT_ID + 1) + 8 + 16)

// "helio/v1" NUL what NUL receiver NUL number (8, lowest first) id (16)
static struct bytes aad_of(const struct key_purpose *p, const struct id16 *id, uint8_t out[AAD_MAX])
{
	size_t at = 0;
	const char *const words[] = {"helio/v1", p->what, p->receiver};

	for (size_t i = 0; i < 3; i++) {
		size_t n = strnlen(words[i], LIMIT_ID) + 1;
		memcpy(out + at, words[i], n - 1);
		out[at + n - 1] = 0;
		at += n;
	}
	for (int i = 0; i < 8; i++)
		out[at++] = (uint8_t)(p->number >> (8 * i));
	memcpy(out + at, id->b, sizeof(id->b));
	return bytes_of(out, at + sizeof(id->b));
}

enum err key_seal(const struct key32 *enc, const struct key32 *k, const struct key_purpose *p,
	struct sealed_key *out)
{
	uint8_t aad[AAD_MAX];

	*out = (struct sealed_key){.key_id = content_key_id(k)};
	random_fill(out->nonce.b, sizeof(out->nonce.b));
	return gcm_seal(enc, out->nonce.b, aad_of(p, &out->key_id, aad),
		bytes_of(k->b, sizeof(k->b)), out->sealed.b);
}

static enum err opened_check(const struct sealed_key *sealed, const struct key32 *k)
{
	struct id16 id = content_key_id(k);

	return memcmp(id.b, sealed->key_id.b, sizeof(id.b)) == 0
		       ? ERR_OK
		       : err_set(ERR_AUTH, "a key is not the one that it is called");
}

enum err key_open(const struct key32 *enc, const struct sealed_key *sealed,
	const struct key_purpose *p, struct key32 *k)
{
	uint8_t aad[AAD_MAX];

	TRY(gcm_open(enc, sealed->nonce.b, aad_of(p, &sealed->key_id, aad),
		bytes_of(sealed->sealed.b, sizeof(sealed->sealed.b)), k->b));
	return opened_check(sealed, k);
}

static enum err box_key(const struct key32 *secret, const struct key32 *peer,
	const struct key32 *share, const struct key32 *box, struct key32 *out)
{
	const struct sha256_part parts[] = {{share->b, 32}, {box->b, 32}};
	struct digest salt = sha256_parts(parts, 2);
	struct key32 shared;

	TRY(x25519_shared(secret, peer, &shared));
	*out = derive(&shared, salt.b, "helio/v1 key box");
	secret_wipe(&shared, sizeof(shared));
	return ERR_OK;
}

enum err key_box(const struct key32 *box_public, const struct key32 *k, const struct key_purpose *p,
	struct sealed_key *out)
{
	uint8_t aad[AAD_MAX];
	struct key32 secret, key;

	*out = (struct sealed_key){.key_id = content_key_id(k)};
	struct bytes bound = aad_of(p, &out->key_id, aad);
	const struct sha256_part parts[] = {
		{bound.data, bound.size}, {box_public->b, sizeof(box_public->b)}};
	struct digest salt = sha256_parts(parts, 2);
	secret = derive(k, salt.b, "helio/v1 key share");
	x25519_public(&secret, &out->share);
	enum err e = box_key(&secret, box_public, &out->share, box_public, &key);
	if (e == ERR_OK)
		e = gcm_seal(&key, zeros, bound, bytes_of(k->b, sizeof(k->b)), out->sealed.b);
	secret_wipe(&secret, sizeof(secret));
	secret_wipe(&key, sizeof(key));
	return e;
}

enum err key_unbox(const struct key32 *box_secret, const struct sealed_key *sealed,
	const struct key_purpose *p, struct key32 *k)
{
	uint8_t aad[AAD_MAX];
	struct key32 box, key;

	x25519_public(box_secret, &box);
	TRY(box_key(box_secret, &sealed->share, &sealed->share, &box, &key));
	enum err e = gcm_open(&key, zeros, aad_of(p, &sealed->key_id, aad),
		bytes_of(sealed->sealed.b, sizeof(sealed->sealed.b)), k->b);
	secret_wipe(&key, sizeof(key));
	return e == ERR_OK ? opened_check(sealed, k) : e;
}
