// What turns want to say, kept until their commits are on the disk. Bytes of one block, no
// allocation per message.
#ifndef HELIO_SERVER_OUTBOX_H
#define HELIO_SERVER_OUTBOX_H

#include "proto/base/mem.h"

#define OUTBOX_BYTES (256u * 1024 * 1024) // a full outbox refuses the message
#define OUTBOX_MESSAGES (1u << 20)

struct outbox_entry {
	uint32_t broker, topic, payload,
		size; // places in bytes; broker: UINT32_MAX for the control broker
	uint8_t qos;
	bool retained;
};

struct outbox {
	struct buf bytes;
	struct outbox_entry *entries;
	size_t count, cap;
};

struct outbox_message {
	const char *broker, *topic;
	struct bytes payload;
	int qos;
	bool retained;
};

void outbox_init(struct outbox *o);
void outbox_fini(struct outbox *o);
void outbox_clear(struct outbox *o);
// Copies. Errors: ERR_FULL, ERR_MEMORY.
enum err outbox_add(struct outbox *o, const struct outbox_message *m) MUST_CHECK;
void outbox_swap(struct outbox *a, struct outbox *b);
struct outbox_message outbox_get(const struct outbox *o, size_t i);

#endif
