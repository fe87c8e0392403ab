// Rows of deltas. A delta lies on brokers as a package does: its id, of package and base together,
// stands for it in package_object and placement, so claims, withdrawal and shared objects are those
// of claims.c and package_store.c.
#ifndef HELIO_PUBLISHER_DELTA_STORE_H
#define HELIO_PUBLISHER_DELTA_STORE_H

#include "delta_build.h"
#include "proto/sign.h"
#include "store.h"

struct digest delta_id(const struct digest *package, const struct digest *base);

// Commits. There already: nothing changes.
enum err delta_add(struct store *s, const struct delta_built *b) MUST_CHECK;
// index: its payload, may be NULL. Errors: ERR_NOT_FOUND.
enum err delta_find(struct store *s, const struct digest *package, const struct digest *base,
	struct buf *index, uint64_t *object_bytes) MUST_CHECK;
struct delta_row {
	struct digest package, base;
	uint64_t object_bytes;
};
typedef bool delta_each(void *ctx, const struct delta_row *d);
// package NULL: all.
enum err delta_list(
	struct store *s, const struct digest *package, delta_each *each, void *ctx) MUST_CHECK;
// Removes its rows, and the objects that nothing else uses. Commits. Refused with ERR_NOT_NOW while
// it lies on a broker.
enum err delta_remove(
	struct store *s, const struct digest *package, const struct digest *base) MUST_CHECK;

// What lies on brokers beside objects: the signed manifest and the index of the package, or, with a
// base that is not zero, of its delta; signed now. Both are begun here. Errors: ERR_NOT_NOW (the
// package is not signed), ERR_NOT_FOUND.
enum err envelopes_make(struct store *s, const struct sign_key *identity,
	const struct digest *package, const struct digest *base, struct buf *manifest,
	struct buf *index) MUST_CHECK;

#endif
