// Where a broker is: its name first, then its IP address (S001-c31). No downgrade: the certificate
// must hold for the one that is tried.
#ifndef HELIO_LINK_ADDRESSES_H
#define HELIO_LINK_ADDRESSES_H

#include "proto/mqtt_link.h"

// Returns how many of out are filled; "" is left out. They borrow name and ip.
size_t link_addresses(const char *name, const char *ip, uint32_t port, struct link_address out[2]);

// The same behind a service, whose records are tried first. It borrows srv.
#define LINK_WAYS 3
size_t link_ways(const char *srv, const char *name, const char *ip, uint32_t port,
	struct link_address out[LINK_WAYS]);

#endif
