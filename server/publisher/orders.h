// The packager's clockwork: what the server ordered becomes packages, whenever an order, a picture
// or the day changes, and on a period.
//
//   Directive PACKAGE_ORDER -> row -> evaluate (selection.h) -> sizes for the screens -> build
//     -> sign (image_key) -> PUB_OFFER, until answered -> PUB_ORDERED, until answered
//
// Every step stands in the store before the next one begins, and is taken up again after a crash:
// an order that is not `told` is evaluated again, which finds what was built. What did not change
// costs a comparison: an order is evaluated only when it, a picture or a day that it waits for
// changed, and a package is built only when its content is another (show_package.h).
//
// An outcome without a package is told as such; what was shown before stays offered. Packages that
// nobody shows any more are withdrawn when `keep` newer ones were made for every order they served.
#ifndef HELIO_PUBLISHER_ORDERS_H
#define HELIO_PUBLISHER_ORDERS_H

#include "server/publisher/catalog.h"
#include "server/publisher/publisher.h"
#include "server/publisher/show_package.h"

#define ORDERS_MAX 50000

// Reads the orders of the store. Errors: ERR_MEMORY, those of the store.
enum err orders_new(struct publisher *p, struct orders **out) MUST_CHECK;
void orders_free(struct orders *o); // ends within the loop

void orders_directive(struct orders *o, const struct directive *d);
// The server answered a request of ours.
void orders_answered(struct orders *o, const struct directive *d);
// A picture came, went or was edited: evaluated when it is quiet for settle_ms.
void orders_images_changed(struct orders *o);
void orders_tick(struct orders *o, struct now now);

// ---- looking

struct order_view {
	const char *id;
	uint64_t revision;
	bool withdrawn, told, busy;
	const struct package_order *order; // NULL when it cannot be read
	struct digest package;
	uint32_t matched, included;
	uint64_t size_bytes;
	const char *reason, *warnings; // warnings: one a line
	int64_t changed_unix_ms;
};
typedef bool order_view_each(void *ctx, const struct order_view *v);
void orders_list(struct orders *o, order_view_each *each, void *ctx);

// What an order would be with the pictures of now. Borrowed until the next call into this room.
struct evaluation {
	const struct package_order *order;
	struct selection selection;
	struct show_package pack; // empty when nothing was selected
	const struct library *library;
	const struct shipped *shipped[SELECTION_FITS];
	size_t wanted; // pictures whose size for these screens is not known yet
	bool fits;
	bool sealed;    // with key
	bool lacks_key; // it is to be, and there is none here
	struct key32 key;
	char why_not[LIMIT_TEXT + 1];
};
enum err orders_evaluate(
	struct orders *o, const struct package_order *order, struct evaluation *out) MUST_CHECK;
void evaluation_fini(struct evaluation *e);
// The order of this id as it was taken; in `a`. Errors: ERR_NOT_FOUND.
enum err orders_find(struct orders *o, const char *id, struct arena *a, struct package_order *out,
	struct digest *content) MUST_CHECK;

#endif
