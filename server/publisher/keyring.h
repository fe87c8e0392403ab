// The keys of customers whose packages are sealed (proto/seal_content.h), as the server tells them:
// one file a customer, STATE/keys/<customer>, 32 bytes, 0600; empty: its packages are open, as the
// server said. Only of customers for which this publisher makes packages. Who can read the store of
// pictures can read them; they keep content from brokers and discs, not from the machine that makes
// it.
#ifndef HELIO_PUBLISHER_KEYRING_H
#define HELIO_PUBLISHER_KEYRING_H

#include "publisher.h"

void keyring_directive(struct publisher *p, const struct directive *d);
enum key_found {
	KEY_UNTOLD = 1, // nothing was ever said of this customer
	KEY_OPEN,       // its packages are not sealed
	KEY_SEALS       // with the one in out
};
// Errors: of reading what is there.
enum err keyring_find(const struct publisher *p, const char *customer, struct key32 *out,
	enum key_found *found) MUST_CHECK;

#endif
