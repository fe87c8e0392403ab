// Rows of orders: what the server wants, as it said it, and what became of it. An outcome is told
// to the server until it answers, over any number of starts of the publisher: `told`.
#ifndef HELIO_PUBLISHER_ORDER_STORE_H
#define HELIO_PUBLISHER_ORDER_STORE_H

#include "server/publisher/store.h"

struct order_row {
	char id[LIMIT_ID + 1];
	uint64_t revision;
	struct bytes body;              // PackageOrder, encoded
	struct digest content, package; // zero: no package, and reason says why
	uint32_t matched, included;
	uint64_t size_bytes;
	const char *reason;
	const char *warnings; // one a line
	int64_t changed_unix_ms;
	bool told;
};

// A new order, or a new revision of one: its outcome is kept until there is another, untold.
enum err order_put(struct store *s, const struct order_row *r) MUST_CHECK;
// Its outcome. A package is also written into the order's history.
enum err order_set_outcome(struct store *s, const struct order_row *r) MUST_CHECK;
enum err order_set_told(struct store *s, const char *id, bool told) MUST_CHECK;
// Strings and body are borrowed for the call.
typedef bool order_each(void *ctx, const struct order_row *r);
enum err order_list(struct store *s, order_each *each, void *ctx) MUST_CHECK;

// Packages that were made for orders, are the present package of none, and are not among the last
// `keep` before the present one of any: nobody goes back to them.
typedef bool old_package_each(void *ctx, const struct digest *package);
enum err order_old_packages(
	struct store *s, uint32_t keep, old_package_each *each, void *ctx) MUST_CHECK;
enum err order_forget_package(struct store *s, const struct digest *package) MUST_CHECK;

#endif
