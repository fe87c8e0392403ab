// What every part of the publisher needs to know of itself. Borrowed from the settings and from
// main.
#ifndef HELIO_PUBLISHER_CONFIG_H
#define HELIO_PUBLISHER_CONFIG_H

#include "proto/message.h"
#include "proto/mqtt_link.h"
#include "proto/sign.h"

struct publisher_config {
	uv_loop_t *loop;
	const char *id;                  // the publisher's identity, also on brokers
	const struct sign_key *identity; // signs sign-ins and indexes
	const struct root *root;         // who may speak for the server, and sign packages
	bool tls;                        // false only on loopback
	const char *ca_file, *cert_file, *key_file;
	const struct link_address *control;
	size_t control_count;
	uint32_t station_patience_ms; // how long a data broker may be out of reach
};

#endif
