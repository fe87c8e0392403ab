// What comes back on a stick: a client's own account of orders and of what was shown, merged with
// its own time stamps (S001-c3; the return path of a medium).
//
//   helioctl media merge -> one part, an Envelope of MediumReturn -> the signature of the client's
//   identity -> usage rows, each once by (client, store, number) -> orders: ARRIVED, or why not
//
// Merged again, or again an older one, it changes nothing. It is no communication over the link:
// neither reach nor last_heard is touched.
#ifndef HELIO_SERVER_MEDIA_RETURN_H
#define HELIO_SERVER_MEDIA_RETURN_H

#include "server/media_orders.h"

struct media_merged {
	uint32_t part, parts;
	int64_t written_ms;
	size_t rows, rows_new;     // of the ledger
	size_t orders, orders_new; // whose state or detail changed
};

// client: whose it is said to be. Errors: ERR_NOT_FOUND (no such client), ERR_DENIED (revoked),
// ERR_AUTH (not signed by its identity, or bent), ERR_FORMAT, ERR_RANGE.
enum err media_merge(struct media *m, const char *client, struct bytes envelope,
	struct media_merged *out) MUST_CHECK;

#endif
