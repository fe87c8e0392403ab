// Where a message goes: the core, a broker's $SYS values, a read-back, or the probe. A table
// lookup, and no decision of its own.
#ifndef HELIO_SERVER_ROUTER_H
#define HELIO_SERVER_ROUTER_H

#include "proto/topics.h"

enum route_to {
	TO_NOBODY,
	TO_CORE,
	TO_SYS,
	TO_READBACK, // parts are filled in
	TO_PROBE
};

// from_data: it came over a data broker's link. probe_topic: what the server says to itself there.
enum route_to router_pick(bool from_data, const char *topic, size_t length, const char *probe_topic,
	struct topic_parts *parts);

// What the server subscribes to on a control broker, and with which QoS.
struct router_filter {
	enum topic_kind kind;
	int qos;
};
#define ROUTER_CONTROL_FILTERS 6
extern const struct router_filter router_control_filters[ROUTER_CONTROL_FILTERS];

#endif
