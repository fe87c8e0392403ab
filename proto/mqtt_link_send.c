// Publishes and subscriptions.
//
// Order is kept: once one publish waits, every later one waits behind it. What is handed to Paho is
// bounded: `outstanding_max` that expect an answer, and for QoS 0 what is not written yet. As many
// outstanding as the broker takes, or more than 4 large ones, make Paho 1.3.12 crawl (its sending
// thread then waits for its one-second tick), so the next one is handed over from the completion.
#include "proto/mqtt_link_internal.h"

#include <stdlib.h>
#include <string.h>

static bool can_send(const struct mqtt_link *l, int qos, uint64_t token)
{
	const struct link_conn *c = l->conn;

	if (qos > 0 || token != 0)
		return l->outstanding < l->outstanding_limit;
	return atomic_load(&c->unwritten) < LINK_UNWRITTEN_MESSAGES &&
	       atomic_load(&c->unwritten_bytes) < LINK_UNWRITTEN_BYTES;
}

static enum err send_error(int rc, const char *topic)
{
	switch (rc) {
	case MQTTASYNC_DISCONNECTED:
		return err_set(ERR_CLOSED, "%s was not sent: the connection just broke", topic);
	case MQTTASYNC_BAD_UTF8_STRING:
		return err_set(ERR_FORMAT, "a topic is not UTF-8");
	case MQTTASYNC_NO_MORE_MSGIDS:
	case MQTTASYNC_MAX_BUFFERED_MESSAGES:
		return err_set(ERR_FULL, "%s was not sent: too much is under way", topic);
	default:
		return err_set(ERR_IO, "%s was not sent: Paho answered %d", topic, rc);
	}
}

static void slot_free(struct mqtt_link *l, struct pub_slot *slot)
{
	TAILQ_REMOVE(&l->pubs, slot, entry);
	l->outstanding--;
	l->completions++;
	free(slot);
}

static struct pub_slot *slot_new(struct mqtt_link *l, size_t size, int qos, uint64_t token)
{
	struct pub_slot *slot = malloc(sizeof(*slot));

	if (!slot)
		return NULL;
	*slot = (struct pub_slot){.conn = l->conn, .token = token, .size = size, .qos = qos};
	TAILQ_INSERT_TAIL(&l->pubs, slot, entry);
	l->outstanding++;
	return slot;
}

static enum err hand_over(struct mqtt_link *l, const char *topic, struct bytes payload, int qos,
	bool retained, uint64_t token)
{
	struct link_conn *c = l->conn;
	struct pub_slot *slot = NULL;

	if (qos > 0 || token != 0) {
		slot = slot_new(l, payload.size, qos, token);
		if (!slot)
			return err_set(ERR_MEMORY, "no memory for a publish");
	} else {
		atomic_fetch_add(&c->unwritten, 1);
		atomic_fetch_add(&c->unwritten_bytes, payload.size);
	}
	int rc = publish_paho(c, topic, payload, qos, retained, slot);
	if (rc == MQTTASYNC_SUCCESS) {
		l->stats.sent_messages++;
		l->stats.sent_bytes += payload.size;
		link_nudge(l);
		return ERR_OK;
	}
	if (slot) {
		slot_free(l, slot);
	} else {
		atomic_fetch_sub(&c->unwritten, 1);
		atomic_fetch_sub(&c->unwritten_bytes, payload.size);
	}
	return send_error(rc, topic);
}

static enum err wait_in_outbox(struct mqtt_link *l, const char *topic, struct bytes payload,
	int qos, bool retained, uint64_t token)
{
	size_t topic_size = strlen(topic) + 1;

	if (l->waiting >= l->config.outbox_max)
		return err_set(ERR_FULL, "%zu publishes wait already", l->waiting);
	struct waiting *w = malloc(sizeof(*w) + topic_size + payload.size);
	if (!w)
		return err_set(ERR_MEMORY, "no memory for a waiting publish");
	*w = (struct waiting){
		.token = token, .qos = qos, .retained = retained, .size = payload.size};
	memcpy(w->topic, topic, topic_size);
	w->payload = (uint8_t *)w->topic + topic_size;
	if (payload.size)
		memcpy(w->payload, payload.data, payload.size);
	TAILQ_INSERT_TAIL(&l->outbox, w, entry);
	l->waiting++;
	return ERR_OK;
}

static enum err check(const struct mqtt_link *l, const char *topic, struct bytes payload, int qos)
{
	size_t length = strlen(topic);

	if (length == 0 || length > 65535 || strpbrk(topic, "#+"))
		return err_set(ERR_RANGE, "a message cannot be published on '%.80s'", topic);
	if (qos < 0 || qos > 2)
		return err_set(ERR_RANGE, "there is no QoS %d", qos);
	// Packet: fixed header, topic, packet id, properties.
	if (l->packet_max > 0 && payload.size + length + 16 > l->packet_max)
		return err_set(ERR_RANGE, "%zu bytes for %.80s are more than the broker takes (%u)",
			payload.size, topic, l->packet_max);
	return ERR_OK;
}

enum err link_publish(struct mqtt_link *l, const char *topic, struct bytes payload, int qos,
	bool retained, uint64_t token)
{
	if (l->state != LINK_UP)
		return err_set(ERR_CLOSED, "not connected to the broker");
	TRY(check(l, topic, payload, qos));
	if (TAILQ_EMPTY(&l->outbox) && can_send(l, qos, token))
		return hand_over(l, topic, payload, qos, retained, token);
	TRY(wait_in_outbox(l, topic, payload, qos, retained, token));
	send_pump(l);
	return ERR_OK;
}

void send_pump(struct mqtt_link *l)
{
	struct waiting *w;

	while (l->conn && (w = TAILQ_FIRST(&l->outbox))) {
		if (!can_send(l, w->qos, w->token)) {
			// Asked for first and looked at again, so that no write slips between.
			atomic_store(&l->pump_wanted, true);
			if (!can_send(l, w->qos, w->token))
				return;
		}
		if (hand_over(l, w->topic, (struct bytes){w->payload, w->size}, w->qos, w->retained,
			    w->token) != ERR_OK)
			return; // the connection broke: its end is on the way and tells the token
		TAILQ_REMOVE(&l->outbox, w, entry);
		l->waiting--;
		free(w);
	}
}

void send_published(struct mqtt_link *l, struct pub_slot *slot, int reason)
{
	uint64_t token = slot->token;

	slot_free(l, slot);
	if (token != 0 && !l->closing && l->events.published)
		l->events.published(l->ctx, token, reason);
}

void send_abandon(struct mqtt_link *l)
{
	struct pub_slot *slot;
	struct waiting *w;
	struct sub_slot *sub;

	while ((slot = TAILQ_FIRST(&l->pubs)))
		send_published(l, slot, -1);
	while ((w = TAILQ_FIRST(&l->outbox))) {
		uint64_t token = w->token;
		TAILQ_REMOVE(&l->outbox, w, entry);
		l->waiting--;
		free(w);
		if (token != 0 && !l->closing && l->events.published)
			l->events.published(l->ctx, token, -1);
	}
	while ((sub = TAILQ_FIRST(&l->subs))) {
		TAILQ_REMOVE(&l->subs, sub, entry);
		l->subs_count--;
		free(sub);
	}
}

bool send_is_idle(const struct mqtt_link *l)
{
	return TAILQ_EMPTY(&l->pubs) && TAILQ_EMPTY(&l->outbox) &&
	       (!l->conn || atomic_load(&l->conn->unwritten) == 0);
}

size_t send_unsure_bytes(const struct mqtt_link *l)
{
	size_t sum = l->conn ? atomic_load(&l->conn->unwritten_bytes) : 0;
	const struct pub_slot *slot;

	TAILQ_FOREACH(slot, &l->pubs, entry)
	sum += slot->size;
	return sum;
}

// ---- subscriptions

static enum err filters_check(const struct mqtt_link *l, const char *const *filters, size_t count)
{
	if (l->state != LINK_UP)
		return err_set(ERR_CLOSED, "not connected to the broker");
	if (count == 0 || count > LINK_FILTERS_MAX)
		return err_set(ERR_RANGE, "%zu filters in one packet, 1 to %d are possible", count,
			LINK_FILTERS_MAX);
	for (size_t i = 0; i < count; i++)
		if (filters[i][0] == '\0' || strlen(filters[i]) > 65535)
			return err_set(ERR_RANGE, "filter %zu is empty or too long", i);
	return ERR_OK;
}

enum err link_subscribe(
	struct mqtt_link *l, const char *const *filters, size_t count, int qos, uint64_t token)
{
	TRY(filters_check(l, filters, count));
	if (l->subs_count >= LINK_SUBSCRIBES_MAX)
		return err_set(
			ERR_FULL, "%zu subscriptions wait for their answer already", l->subs_count);
	struct sub_slot *slot = calloc(1, sizeof(*slot));
	if (!slot)
		return err_set(ERR_MEMORY, "no memory for a subscription");
	slot->conn = l->conn;
	slot->token = token;
	slot->count = count;
	TAILQ_INSERT_TAIL(&l->subs, slot, entry);
	l->subs_count++;
	int rc = subscribe_paho(l->conn, filters, count, qos, slot);
	if (rc == MQTTASYNC_SUCCESS) {
		link_nudge(l);
		return ERR_OK;
	}
	TAILQ_REMOVE(&l->subs, slot, entry);
	l->subs_count--;
	free(slot);
	return send_error(rc, "a subscription");
}

void send_subscribed(struct mqtt_link *l, struct sub_slot *slot)
{
	TAILQ_REMOVE(&l->subs, slot, entry);
	l->subs_count--;
	l->completions++;
	if (!l->closing && l->events.subscribed)
		l->events.subscribed(l->ctx, slot->token, slot->reasons, slot->count);
	free(slot);
}

enum err link_unsubscribe(struct mqtt_link *l, const char *const *filters, size_t count)
{
	TRY(filters_check(l, filters, count));
	int rc = unsubscribe_paho(l->conn, filters, count);
	return rc == MQTTASYNC_SUCCESS ? ERR_OK : send_error(rc, "an unsubscription");
}
