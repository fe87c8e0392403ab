// SHA-256, HMAC-SHA256, HKDF-SHA256, Poly1305. OpenSSL stays behind this door and sign.h.
#ifndef HELIO_DIGEST_H
#define HELIO_DIGEST_H

#include "proto/base/mem.h"
#include <string.h>

struct digest sha256(const void *data, size_t size);

struct sha256_stream;                      // for large inputs
struct sha256_stream *sha256_new(void);    // aborts when out of memory
void sha256_add(struct sha256_stream *s, const void *data, size_t size);
struct digest sha256_end(struct sha256_stream *s);   // result; ready to begin again
void sha256_free(struct sha256_stream *s);

struct sha256_part {
	const void *data;
	size_t size;
};
struct digest sha256_parts(const struct sha256_part *parts, size_t count);

// Where a table of `count` places, a power of two, looks for it first (attack C10). Whoever makes
// content chooses bits of its digests, by trying; `odd`, drawn for each table, mixes them again.
static inline size_t digest_place(const struct digest *d, uint64_t odd, size_t count)
{
	uint64_t h = 0;

	memcpy(&h, d->b, sizeof h);
	return (size_t)((h * odd) >> 32) & (count - 1);
}

// MAC over the parts in order. Never fails for a key of 32 bytes.
struct digest hmac_sha256(const struct key32 *key, const struct sha256_part *parts, size_t count);
// Constant time.
bool mac_equal(struct bytes a, struct bytes b);

// RFC 5869 with a salt of exactly 32 bytes and 32 bytes of output. info is text without its NUL.
struct key32 hkdf_sha256(struct bytes secret, struct bytes salt, const char *info);

// Poly1305 (RFC 8439, 2.5): several times as fast as a hash, and safe only under a key that is used
// for one message alone. new: aborts when out of memory.
struct onetime_mac;
struct onetime_mac *onetime_mac_new(void);
void onetime_mac_free(struct onetime_mac *m);
struct id16 onetime_mac(
	struct onetime_mac *m, const struct key32 *once, const void *data, size_t size);

#endif
