// Which way a package goes to a client: over the link, or on a medium (S001-c1, c3 to c8).
//
// Pure. A client that asks is reachable, whatever the clock says: a FetchRequest always goes by
// LINK. "Heard" is what reach.c calls so: any authenticated message of the client itself, and
// silence is counted in attended time alone, so neither a stepped clock nor an outage of ours sends
// anybody a disc.
#ifndef HELIO_SERVER_DISTRIBUTE_H
#define HELIO_SERVER_DISTRIBUTE_H

#include "proto/base/clock.h"
#include "proto/message.h"

enum route {
	ROUTE_LINK = 1,
	ROUTE_MEDIUM
};

enum route_reason {
	ROUTE_ASKED = 1,    // the client itself asks for it now
	ROUTE_REACHABLE,    // heard within its time
	ROUTE_PATIENCE,     // silent, but not for longer than the period
	ROUTE_NO_MEDIUM,    // would go by medium, and the policy has none
	ROUTE_MASS_SILENCE, // so many are silent that the fault may be ours: wait
	ROUTE_NEVER_HEARD,  // enrolled and never heard
	ROUTE_SILENT,       // silent for longer than the period
	ROUTE_SEND_FAILED,  // the link failed too often
	ROUTE_REASON_COUNT
};

struct route_client {
	enum reach reach;
	bool asks;
	int64_t silent_ms;        // attended, since last heard; of one never heard: since enrolled
	uint32_t failed_attempts; // deliveries of this package over the link
	bool mass_silence;
};

struct route_policy {
	bool has_medium;
	int64_t period_ms;     // silent for exactly so long still counts as heard
	int64_t never_ms;      // the same for who was enrolled and never heard
	uint32_t attempts_max; // 0: no limit
};

struct route_decision {
	enum route route;
	enum route_reason why;
};

struct route_decision route_decide(const struct route_client *c, const struct route_policy *policy);
const char *route_word(enum route r);               // "LINK", "MEDIUM"
const char *route_reason_word(enum route_reason r); // "asked" ...

#endif
