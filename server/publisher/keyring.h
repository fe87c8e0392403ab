// The keys of customers whose packages are sealed (proto/seal_content.h), as the server tells them:
// one file a customer, STATE/keys/<customer>, 32 bytes, 0600. Who can read the store of pictures
// can read them; they keep content from brokers and discs, not from the machine that makes it.
#ifndef HELIO_PUBLISHER_KEYRING_H
#define HELIO_PUBLISHER_KEYRING_H

#include "publisher.h"

void keyring_directive(struct publisher *p, const struct directive *d);
// False: the customer's packages are not sealed. Errors: of reading what is there.
enum err keyring_find(
	const struct publisher *p, const char *customer, struct key32 *out, bool *found) MUST_CHECK;

#endif
