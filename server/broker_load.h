// How the load of a data broker is read: one row per kind of broker, and nothing else in the server
// knows what a broker tells of itself.
//
//   mosquitto   $SYS of Mosquitto: uptime (it lives), bytes out in a minute, clients, messages
//               that it dropped in silence, version
//   none        it tells nothing: it lives while our connection stands, and its load is what was
//               granted; for any MQTT 5 broker that keeps retained messages
//
// The word stands behind the broker's line in the settings; without one it is mosquitto. A further
// kind is a further row: its topics, and a function that takes what they say.
#ifndef HELIO_SERVER_BROKER_LOAD_H
#define HELIO_SERVER_BROKER_LOAD_H

#include "server/data_brokers.h"

struct broker_load {
	const char *word;
	const char *const *topics; // [topic_count], worth a subscription
	size_t topic_count;
	const char *version_topic; // NULL: it does not say; one of the topics
	// It tells of its life and its bytes. False: our connection and the grants stand for them.
	bool is_told;
	// A message of one of the topics; nonsense changes nothing. True: it shows that the broker
	// was started again since it was last seen.
	bool (*take)(
		struct data_broker *b, const char *topic, struct bytes payload, struct now now);
};

extern const struct broker_load broker_load_mosquitto, broker_load_none;
const struct broker_load *broker_load_find(const char *word); // NULL: there is none

#endif
