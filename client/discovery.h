// What the agent says once the control broker was found (link_addresses.h): by which way, and from
// which address of its own.
#ifndef HELIO_CLIENT_DISCOVERY_H
#define HELIO_CLIENT_DISCOVERY_H

#include "proto/fleet_settings.h"

// Says which one it was.
void discovery_log(const struct link_address *via, const char *peer);
// Local address of the route to the broker that is used: 4 or 16 bytes; 0.0.0.0 when there is none.
void discovery_own_address(
	const struct control_settings *s, const char *peer, uint8_t out[16], size_t *size);

#endif
