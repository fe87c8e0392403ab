#include "server/router.h"

#include <string.h>

// One QoS for all heartbeats: mixed ones overtake each other.
const struct router_filter router_control_filters[ROUTER_CONTROL_FILTERS] = {
	{TOPIC_HB, 0},
	{TOPIC_REPORT, 1},
	{TOPIC_WANT, 1},
	{TOPIC_PUB, 1},
	{TOPIC_BYE, 1},
	{TOPIC_API, 1},
};

static bool is_readback(enum topic_kind kind)
{
	return kind == TOPIC_MARK || kind == TOPIC_PKG || kind == TOPIC_IDX || kind == TOPIC_CHUNK;
}

enum route_to router_pick(bool from_data, const char *topic, size_t length, const char *probe_topic,
	struct topic_parts *parts)
{
	if (strlen(topic) != length)
		return TO_CORE; // a NUL inside: the gate counts it
	if (strncmp(topic, "$SYS/", 5) == 0)
		return TO_SYS;
	if (strcmp(topic, probe_topic) == 0)
		return TO_PROBE;
	if (!from_data)
		return TO_CORE;
	if (topic_take_apart(topic, length, parts) == ERR_OK && is_readback(parts->kind))
		return TO_READBACK;
	return TO_CORE;
}
