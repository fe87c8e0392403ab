// The broker probe: does this broker do what we rely on? It asks through the real connection, at
// the start and every hour, and says which line of mosquitto.conf is missing. What would lose data,
// or let one identity act for another, is an error: a data broker with an error gets no content, a
// control broker with one is refused.
//
// The server speaks to itself on a topic that only it may both write and read (its own grant on the
// control broker, its own inbox on a data broker). Steps:
//   base      10 publishes of QoS 1, one after the other: how long one packet and its answer take
//   denied    a publish on a topic that is not the server's must come back with reason 135
//   retain    a retained message is set; its PUBACK comes
//   trips     10 times: a fresh subscription of QoS 0 brings it. The broker then writes two small
//   packets,
//             and we nothing: if it waits for our kernel's acknowledgement in between (Nagle), a
//             trip takes 40 ms longer than a base trip
//   clear     the retained message goes
//   large     the largest message of this broker's topics passes whole, and with QoS 1
// What cannot be seen from outside (persistence false, memory_limit) is said to be unseen.
// Everything it says begins with PROBE_WORD, so that whoever reads the wire knows what it is.
//
// A state machine without a socket: server.c hands it the events of the link.
#ifndef HELIO_SERVER_PROBE_H
#define HELIO_SERVER_PROBE_H

#include "proto/base/clock.h"
#include "proto/topics.h"
#include "server/findings.h"

#define PROBE_WORD "helio-probe "
#define PROBE_TRIPS 10
#define PROBE_STEP_MS 5000
#define PROBE_NAGLE_MS 20 // more than a base trip, on average of the later half
#define PROBE_REASON_DENIED 135

struct probe;

struct probe_config {
	const char *broker; // "control", or the data broker's id; copied
	const char *server_id;
	enum topic_broker kind;
	bool secured; // TLS with client certificates: rules of access are expected
	size_t large_bytes;
};

struct probe_ports {
	void *ctx;
	enum err (*publish)(
		void *ctx, const char *topic, struct bytes payload, bool retained, uint64_t token);
	enum err (*subscribe)(void *ctx, const char *filter, int qos, uint64_t token);
	void (*unsubscribe)(void *ctx, const char *filter);
	void (*done)(void *ctx, bool usable); // after the last step
};

struct probe *probe_new(const struct probe_config *config, const struct probe_ports *ports,
	struct findings *findings);
void probe_free(struct probe *p);

// Tokens of publishes and subscriptions have this bit.
#define PROBE_TOKEN (UINT64_C(1) << 63)

void probe_begin(struct probe *p, struct now now); // the link is up
void probe_link_down(struct probe *p, const char *why);
// True when the topic is the probe's.
bool probe_message(struct probe *p, const char *topic, struct bytes payload, int qos, bool retained,
	struct now now);
void probe_published(struct probe *p, uint64_t token, int reason, struct now now);
void probe_subscribed(struct probe *p, uint64_t token, int reason, struct now now);
void probe_tick(struct probe *p, struct now now);
bool probe_is_running(const struct probe *p);
const char *probe_topic(const struct probe *p);

// From $SYS/broker/version: "mosquitto version 2.0.11". Older than 2.0.11 is a warning.
void probe_version(struct probe *p, const char *version);

#endif
