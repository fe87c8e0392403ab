// Relays: data brokers that belong to sites, and serve the clients there before any other does.
//
//   [data] broker = r1 ...          a data broker like any other: connected, watched, probed
//   [data] relay = r1 acme/lobby    it serves this site alone: CUSTOMER/PLACE, or CUSTOMER/* for
//   all
//                                   places of the customer; several lines, several sites
//
// A relay is filled on demand: when a client of its site asks for a package, a further copy is sent
// there (copies.h), and goes again when nobody fetches it there. It is never the place where a
// package lies first, and nobody else is sent there. When it is away, or cannot be filled in time,
// its clients are served where everybody is. It is trusted as little as any broker: hashes and
// signatures decide at the client. Pure, in memory.
#ifndef HELIO_SERVER_RELAYS_H
#define HELIO_SERVER_RELAYS_H

#include "server/data_brokers.h"

#define RELAYS_MAX 10000 // lines
#define RELAYS_OF_SITE 4 // brokers that serve one site

// One line of settings. The broker is there and becomes a relay. Errors: ERR_FORMAT, ERR_NOT_FOUND
// (no such broker), ERR_EXISTS (said twice), ERR_FULL.
enum err relay_add(struct data_brokers *b, const char *line) MUST_CHECK;
// All lines. There is a broker that is no relay, or none at all. Errors: those of relay_add,
// ERR_RANGE.
enum err relays_init(struct data_brokers *b, char *const *lines, size_t count) MUST_CHECK;
void relays_fini(struct data_brokers *b); // by data_brokers_fini

// Whether a client of this site ("": of none) may be served there: no relay, or one of its own.
bool relay_serves(const struct data_brokers *b, const struct data_broker *broker, const char *site);
// The relays of a site; their number.
size_t relays_of(struct data_brokers *b, const char *site, struct data_broker *out[RELAYS_OF_SITE]);
// The n-th site that this broker serves, in the order of the settings; NULL: there are no more.
const char *relay_site(const struct data_brokers *b, const char *broker, size_t n);

#endif
