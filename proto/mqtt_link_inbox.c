// The meeting point of Paho's threads and the loop.
//
// Two batches: Paho's threads append to one under the lock, the loop empties the other without a
// lock and swaps. A small message is copied and Paho's memory freed at once, on the thread that
// made it (its heap takes a lock and a tree for each piece); of a large one, Paho's own memory is
// kept and freed by the loop: MQTTAsync_free and MQTTAsync_freeMessage are guarded by that same
// heap lock, so any thread may call them.
// Messages are bounded in number and bytes: what does not fit is dropped and counted, and Paho's
// thread never waits. Events are bounded by what was asked for, and are never dropped.
#include "proto/mqtt_link_internal.h"

#include <stdlib.h>
#include <string.h>

#define SMALL 4096
// An emptied batch larger than this gives its memory back.
#define KEEP_BYTES (256 * 1024)
#define KEEP_ITEMS 4096

void inbox_init(struct link_inbox *b, size_t messages_max, size_t bytes_max)
{
	*b = (struct link_inbox){.messages_max = messages_max, .bytes_max = bytes_max};
	pthread_mutex_init(&b->lock, NULL);
}

static void batch_clear(struct link_batch *batch)
{
	if (batch->cap > KEEP_ITEMS) {
		free(batch->items);
		batch->items = NULL;
		batch->cap = 0;
	}
	if (batch->bytes_cap > KEEP_BYTES) {
		free(batch->bytes);
		batch->bytes = NULL;
		batch->bytes_cap = 0;
	}
	batch->count = batch->next = batch->used = 0;
}

static bool grow(void **memory, size_t *cap, size_t needed, size_t unit, size_t first)
{
	if (needed <= *cap)
		return true;
	size_t cap_new = *cap ? *cap : first;
	while (cap_new < needed)
		cap_new *= 2;
	void *fresh = realloc(*memory, cap_new * unit);
	if (!fresh)
		return false;
	*memory = fresh;
	*cap = cap_new;
	return true;
}

static struct link_item *batch_append(struct link_batch *batch)
{
	if (!grow((void **)&batch->items, &batch->cap, batch->count + 1, sizeof(*batch->items), 64))
		return NULL;
	return &batch->items[batch->count++];
}

static bool batch_append_small(
	struct link_batch *batch, struct link_item *item, const char *topic, const void *payload)
{
	size_t topic_size = (size_t)item->message.topic_length + 1;
	size_t size = topic_size + item->message.payload_size;

	if (!grow((void **)&batch->bytes, &batch->bytes_cap, batch->used + size, 1, 16384))
		return false;
	uint8_t *to = batch->bytes + batch->used;
	memcpy(to, topic, topic_size - 1);
	to[topic_size - 1] = '\0';
	if (item->message.payload_size)
		memcpy(to + topic_size, payload, item->message.payload_size);
	item->message.at = batch->used;
	batch->used += size;
	return true;
}

static bool has_room(struct link_inbox *b, size_t size)
{
	return atomic_load_explicit(&b->messages, memory_order_relaxed) < b->messages_max &&
	       atomic_load_explicit(&b->bytes, memory_order_relaxed) + size <= b->bytes_max;
}

static void count_on(struct link_inbox *b, size_t size)
{
	atomic_fetch_add_explicit(&b->messages, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&b->bytes, size, memory_order_relaxed);
}

static void count_off(struct link_inbox *b, size_t size)
{
	atomic_fetch_sub_explicit(&b->messages, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&b->bytes, size, memory_order_relaxed);
}

// False: no memory. The caller frees what Paho gave.
static bool append_message(struct link_inbox *b, struct link_item *item, char *topic,
	MQTTAsync_message *message, bool small)
{
	if (small && !batch_append_small(&b->in, item, topic, message->payload))
		return false;
	struct link_item *to = batch_append(&b->in);
	if (!to)
		return false;
	if (!small) {
		item->message.large = message;
		item->message.large_topic = topic;
	}
	*to = *item;
	return true;
}

void inbox_push_message(struct link_inbox *b, uint32_t generation, char *topic, size_t topic_length,
	MQTTAsync_message *message)
{
	size_t payload_size = message->payloadlen > 0 ? (size_t)message->payloadlen : 0;
	bool small = payload_size <= SMALL, taken = false;
	struct link_item item = {.kind = ITEM_MESSAGE,
		.generation = generation,
		.message = {.topic_length = (uint32_t)topic_length,
			.payload_size = (uint32_t)payload_size,
			.qos = (uint8_t)message->qos,
			.retained = message->retained != 0,
			.duplicate = message->dup != 0}};

	// Counted before the loop can see it and count it off.
	if (has_room(b, topic_length + payload_size)) {
		count_on(b, topic_length + payload_size);
		pthread_mutex_lock(&b->lock);
		taken = append_message(b, &item, topic, message, small);
		pthread_mutex_unlock(&b->lock);
		if (!taken)
			count_off(b, topic_length + payload_size);
	}
	if (!taken)
		atomic_fetch_add_explicit(&b->dropped, 1, memory_order_relaxed);
	if (!taken || small) {
		MQTTAsync_freeMessage(&message);
		MQTTAsync_free(topic);
	}
}

void inbox_push_event(
	struct link_inbox *b, enum item_kind kind, uint32_t generation, void *slot, int reason)
{
	pthread_mutex_lock(&b->lock);
	struct link_item *item = batch_append(&b->in);
	if (item)
		*item = (struct link_item){.kind = kind,
			.generation = generation,
			.done = {.slot = slot, .reason = reason}};
	else
		atomic_store(&b->broken, true);
	pthread_mutex_unlock(&b->lock);
}

struct link_item *inbox_next(struct link_inbox *b)
{
	if (b->out.next == b->out.count) {
		batch_clear(&b->out);
		pthread_mutex_lock(&b->lock);
		struct link_batch empty = b->out;
		b->out = b->in;
		b->in = empty;
		pthread_mutex_unlock(&b->lock);
	}
	return b->out.next < b->out.count ? &b->out.items[b->out.next++] : NULL;
}

const char *inbox_ahead(const struct link_inbox *b, size_t skip, size_t *length)
{
	if (b->out.count - b->out.next <= skip)
		return NULL;
	const struct link_item *item = &b->out.items[b->out.next + skip];
	if (item->kind != ITEM_MESSAGE || item->message.large)
		return NULL;
	*length = item->message.topic_length;
	return (const char *)b->out.bytes + item->message.at;
}

struct link_message inbox_message(const struct link_inbox *b, struct link_item *item)
{
	struct link_message m = {.topic_length = item->message.topic_length,
		.qos = item->message.qos,
		.retained = item->message.retained,
		.duplicate = item->message.duplicate};

	if (item->message.large) {
		m.memory = &item->message.large;
		m.topic = item->message.large_topic;
		m.payload = bytes_of(item->message.large->payload, item->message.payload_size);
	} else {
		const uint8_t *at = b->out.bytes + item->message.at;
		m.topic = (const char *)at;
		m.payload =
			bytes_of(at + item->message.topic_length + 1, item->message.payload_size);
	}
	return m;
}

void inbox_item_free(struct link_inbox *b, struct link_item *item)
{
	if (item->kind != ITEM_MESSAGE)
		return;
	if (item->message.large)
		MQTTAsync_freeMessage(&item->message.large);
	if (item->message.large_topic)
		MQTTAsync_free(item->message.large_topic);
	item->message.large = NULL;
	item->message.large_topic = NULL;
	count_off(b, (size_t)item->message.topic_length + item->message.payload_size);
}

enum err link_message_take(const struct link_message *m, struct link_payload *out)
{
	MQTTAsync_message **large = m->memory;

	*out = (struct link_payload){.bytes = m->payload, .copied = !large};
	if (large) {
		out->memory = *large;
		*large = NULL;
		return ERR_OK;
	}
	out->memory = malloc(m->payload.size + 1);
	if (!out->memory)
		return err_set(ERR_MEMORY, "no memory for a message of %zu bytes", m->payload.size);
	if (m->payload.size)
		memcpy(out->memory, m->payload.data, m->payload.size);
	out->bytes.data = out->memory;
	return ERR_OK;
}

void link_payload_free(struct link_payload *p)
{
	MQTTAsync_message *message = p->memory;

	if (p->copied)
		free(p->memory);
	else if (message)
		MQTTAsync_freeMessage(&message);
	*p = (struct link_payload){0};
}

bool inbox_is_empty(struct link_inbox *b)
{
	if (b->out.next < b->out.count)
		return false;
	pthread_mutex_lock(&b->lock);
	bool empty = b->in.count == 0;
	pthread_mutex_unlock(&b->lock);
	return empty;
}

void inbox_fini(struct link_inbox *b)
{
	struct link_item *item;

	while ((item = inbox_next(b)))
		inbox_item_free(b, item);
	free(b->in.items);
	free(b->in.bytes);
	free(b->out.items);
	free(b->out.bytes);
	pthread_mutex_destroy(&b->lock);
}
