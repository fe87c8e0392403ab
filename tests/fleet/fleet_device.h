// One simulated device: the agent's core (client/agent.h) over a mini_mqtt connection, with its state
// in memory. A package it is told to retrieve is answered with FAILED, reason "unsupported", unless
// somebody fetches for it (publish.c); it holds the last one, so to speak. Everything else of the conversation is the real core's.
#ifndef HELIO_TESTS_FLEET_DEVICE_H
#define HELIO_TESTS_FLEET_DEVICE_H

#include "client/agent.h"
#include "tests/fleet/mini_mqtt.h"

#define BEATS_REMEMBERED 64

// Of a device whose link broke.
struct way_back {
	struct mono at;  // it connects again then; 0: it has not drawn yet
	uint32_t rounds; // tries that failed in a row
	// Since helio-fleet reconnect asked: that it broke; when it was up and answered again, 0: not yet.
	bool broke;
	int64_t up_us, answered_us;
};

struct fleet_device {
	struct mini_client link;
	struct agent_core core;
	struct agent_config config;
	struct sign_key *key;
	char id[LIMIT_ID + 1];
	bool core_ready, signed_in;
	struct way_back back;
	struct fetch_order order;          // refused at the next tick
	struct digest order_package;
	bool order_waiting;
	int64_t intended_us[BEATS_REMEMBERED]; // of beat seq, when it should have been sent
	uint64_t answered_seq;
	void (*answered)(struct fleet_device *d, uint64_t seq);
	void (*heard)(struct fleet_device *d);                                  // a message; may be NULL
	void (*fetch)(struct fleet_device *d, const struct fetch_order *order); // NULL: refused
	void (*fetch_stop)(struct fleet_device *d); // set together with fetch
	struct digest held;                                                     // the last one fetched
	void *ctx;
};

// Deterministic: the key of device `index` of a fleet named by prefix and seed.
struct key32 fleet_secret(const char *prefix, uint64_t seed, size_t index);
void fleet_id(const char *prefix, size_t index, char out[LIMIT_ID + 1]);

enum err fleet_device_init(struct fleet_device *d, const char *prefix, uint64_t seed, size_t index,
	const struct root *root, struct arena *scratch, struct buf *out) MUST_CHECK;
void fleet_device_fini(struct fleet_device *d);
// One beat now, counted from intended_us for its latency.
void fleet_device_beat(struct fleet_device *d, struct now now, int64_t intended_us);
void fleet_device_tick(struct fleet_device *d, struct now now);

extern const struct mini_events fleet_device_events;

#endif
