// Where the control broker is: its name first, then its address (S001-c31). No downgrade: the
// certificate must hold for what was tried.
#ifndef HELIO_CLIENT_DISCOVERY_H
#define HELIO_CLIENT_DISCOVERY_H

#include "client/settings.h"
#include "proto/mqtt_link.h"

// out has 2. Returns the number of addresses; they borrow from s.
size_t discovery_addresses(const struct agent_settings *s, struct link_address *out);
// Says which one it was.
void discovery_log(const struct link_address *via, const char *peer);
// Local address of the route to the broker that is used: 4 or 16 bytes; 0.0.0.0 when there is none.
void discovery_own_address(
	const struct agent_settings *s, const char *peer, uint8_t out[16], size_t *size);

#endif
