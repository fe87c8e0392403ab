// One growing block; it keeps its size from turn to turn.
#include "server/outbox.h"
#include <stdlib.h>
#include <string.h>

#define NO_BROKER UINT32_MAX

void outbox_init(struct outbox *o)
{
	*o = (struct outbox){0};
	buf_init(&o->bytes, OUTBOX_BYTES);
}

void outbox_fini(struct outbox *o)
{
	buf_fini(&o->bytes);
	free(o->entries);
	*o = (struct outbox){0};
}

void outbox_clear(struct outbox *o)
{
	buf_clear(&o->bytes);
	o->count = 0;
}

void outbox_swap(struct outbox *a, struct outbox *b)
{
	struct outbox keep = *a;

	*a = *b;
	*b = keep;
}

static enum err entry_reserve(struct outbox *o)
{
	if (o->count < o->cap)
		return ERR_OK;
	if (o->count == OUTBOX_MESSAGES)
		return err_set(ERR_FULL, "outbox holds %u messages", OUTBOX_MESSAGES);
	size_t cap = o->cap ? o->cap * 2 : 256;
	struct outbox_entry *entries = realloc(o->entries, cap * sizeof(*entries));
	if (!entries)
		return err_set(ERR_MEMORY, "no memory for the outbox");
	o->entries = entries;
	o->cap = cap;
	return ERR_OK;
}

static enum err bytes_put(struct outbox *o, const void *data, size_t size, uint32_t *at)
{
	*at = (uint32_t)o->bytes.size;
	return buf_append(&o->bytes, data, size);
}

enum err outbox_add(struct outbox *o, const struct outbox_message *m)
{
	struct outbox_entry e = {.broker = NO_BROKER,
		.size = (uint32_t)m->payload.size,
		.qos = (uint8_t)m->qos,
		.retained = m->retained};

	TRY(entry_reserve(o));
	if (m->broker)
		TRY(bytes_put(o, m->broker, strlen(m->broker) + 1, &e.broker));
	TRY(bytes_put(o, m->topic, strlen(m->topic) + 1, &e.topic));
	TRY(bytes_put(o, m->payload.data, m->payload.size, &e.payload));
	o->entries[o->count++] = e;
	return ERR_OK;
}

struct outbox_message outbox_get(const struct outbox *o, size_t i)
{
	const struct outbox_entry *e = &o->entries[i];
	const uint8_t *base = o->bytes.data;

	return (struct outbox_message){
		.broker = e->broker == NO_BROKER ? NULL : (const char *)base + e->broker,
		.topic = (const char *)base + e->topic,
		.payload = bytes_of(base + e->payload, e->size),
		.qos = e->qos,
		.retained = e->retained,
	};
}
