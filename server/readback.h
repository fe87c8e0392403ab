// The server's own look at what lies on a data broker: by fresh subscriptions, because only a
// retained message that arrives on a new subscription proves that the broker still has it (S002-7,
// F3, F6). An object, whose name is its content, counts unmarked too: a broker with a shelf
// (broker-conf/shelf) keeps objects elsewhere. Mark, manifest and index are always retained.
//
// One per data broker. Orders are read in batches: first mark, manifest and index of each; then the
// last object that each index names, and the objects a client missed. MQTT has no "not found": a
// mark is not there when nothing came for the deadline. What else has not come by then may be large
// and the line to the broker slow: the mark is asked for once more. It is sent behind all that was
// asked for before, so what has not arrived before it is not there. Filters are explicit, and
// unsubscribed when the batch is over, so that the next subscription is a fresh one.
#ifndef HELIO_SERVER_READBACK_H
#define HELIO_SERVER_READBACK_H

#include "proto/topics.h"
#include "server/presence.h"

#define READBACK_BATCH 12
#define READBACK_DEADLINE_MS 3000
#define READBACK_FENCE_MS 60000 // for what is slow, and for the mark behind it, no longer than this
#define READBACK_QUEUE 4096     // packages; more come again by presence_tick

struct readback;

struct readback_ports {
	void *ctx;
	// count 1..64. An error ends the batch as broken.
	enum err (*subscribe)(
		void *ctx, const char *broker, const char *const *filters, size_t count);
	void (*unsubscribe)(
		void *ctx, const char *broker, const char *const *filters, size_t count);
	void (*done)(void *ctx, const char *broker, const struct digest *package,
		enum readback_verdict verdict, const char *why, struct now now);
};

// broker and root are borrowed.
struct readback *readback_new(
	const char *broker, const struct root *root, const struct readback_ports *ports);
void readback_free(struct readback *r);
// Copied. Full: done is called with READBACK_BROKEN.
void readback_add(struct readback *r, const struct readback_order *order, struct now now);
// True when the topic was one that is being read back.
bool readback_message(struct readback *r, const struct topic_parts *topic, struct bytes payload,
	bool retained, struct now now);
// The connection broke: everything ends as broken, without unsubscribing.
void readback_reset(struct readback *r, struct now now);
// At least once a second. Also begins a batch.
void readback_tick(struct readback *r, struct now now);
bool readback_is_idle(const struct readback *r);

#endif
