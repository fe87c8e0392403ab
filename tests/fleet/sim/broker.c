// The model broker. It knows who is connected, keeps what is retained, publishes wills, and is
// where messages are lost, doubled and held up. A link is a connection: what was on its way when it
// broke is gone, and a restart of the broker breaks all of them.
//
// QoS 0 may vanish. QoS 1 is said again after a while, as a client that misses the PUBACK does, and
// vanishes only with its link, or where a queue overflowed. Without FAULT_REORDER a link keeps the
// order of what it carries.
#include "tests/fleet/sim/sim.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct message *message_new(const char *topic, struct bytes payload, bool retained)
{
	size_t length = strlen(topic);
	struct message *m = malloc(sizeof(*m) + length + 1 + payload.size);

	if (!m)
		abort();
	*m = (struct message){.refs = 1,
		.topic_length = (uint32_t)length,
		.size = (uint32_t)payload.size,
		.retained = retained};
	memcpy(m->data, topic, length + 1);
	if (payload.size)
		memcpy(m->data + length + 1, payload.data, payload.size);
	return m;
}

void message_free(struct message *m)
{
	if (m && --m->refs == 0)
		free(m);
}

void broker_init(struct sim *s)
{
	s->broker = (struct model_broker){.up = true, .token = 1};
}

void broker_fini(struct sim *s)
{
	message_free(s->broker.host);
	s->broker.host = NULL;
}

// ---- a message's way

struct way {
	uint32_t to, link_token;
	int64_t *last; // the link keeps its order up to here
	int qos;
};

static void way_put(struct sim *s, const struct way *w, struct message *m, int64_t at)
{
	if (s->quiet || !(s->config.faults & FAULT_REORDER)) {
		if (at < *w->last)
			at = *w->last;
		*w->last = at;
	}
	m->refs++;
	heap_push(s, at, EVENT_DELIVER, w->to, w->link_token, m, s->broker.token);
}

static struct message *damaged(struct sim *s, struct message *m)
{
	struct bytes payload = bytes_of(m->data + m->topic_length + 1, m->size);
	struct message *copy = message_new(m->data, payload, m->retained);

	if (copy->size)
		copy->data[copy->topic_length + 1 + rng_below(&s->way, copy->size)] ^=
			(char)(1u << rng_below(&s->way, 8));
	return copy;
}

static void way_send(struct sim *s, const struct way *w, struct message *original)
{
	struct message *m = original;
	unsigned faults = s->quiet ? 0 : s->config.faults;
	int64_t at = s->now + 1 + (int64_t)rng_below(&s->way, 4);

	if (faults & FAULT_DELAY && rng_chance(&s->way, 10))
		at += rng_between(&s->way, 100, 3 * (int64_t)s->interval_ms);
	if (faults & FAULT_REORDER && rng_chance(&s->way, s->reorder))
		at += rng_between(&s->way, 1, 2 * (int64_t)s->interval_ms);
	if (faults & FAULT_DAMAGE && rng_chance(&s->way, 20))
		m = damaged(s, original);
	bool lost = faults & FAULT_LOSS && rng_chance(&s->way, s->loss);
	bool for_good = w->qos == 0 || rng_chance(&s->way, 200);
	if (!lost)
		way_put(s, w, m, at);
	else if (!for_good)
		way_put(s, w, m, at + rng_between(&s->way, 200, 3000));
	if (faults & FAULT_DUP && rng_chance(&s->way, s->dup))
		way_put(s, w, m, at + rng_between(&s->way, 0, 2000));
	if (m != original)
		message_free(m);
}

void broker_from_device(struct device *d, const char *topic, struct bytes payload, int qos)
{
	struct sim *s = d->sim;
	struct way w = {DEST_SERVER, s->server.link_token, &s->broker.server_down_last, qos};

	if (!s->server.link_up || !s->broker.up)
		return; // nobody is subscribed
	struct message *m = message_new(topic, payload, false);
	w.last = &d->up_last;
	way_send(s, &w, m);
	message_free(m);
}

static void to_device(struct sim *s, struct device *d, struct message *m, int qos)
{
	struct way w = {d->index, d->link_token, &d->down_last, qos};

	if (d->link_up)
		way_send(s, &w, m);
}

static struct device *device_of_topic(struct sim *s, const char *topic)
{
	const char *id = strrchr(topic, '/');
	unsigned long index = id && id[1] == 'd' ? strtoul(id + 2, NULL, 10) : ULONG_MAX;

	return index < s->config.agents ? &s->devices[index] : NULL;
}

static void host_state(struct sim *s, const char *topic, struct bytes payload)
{
	message_free(s->broker.host);
	s->broker.host = message_new(topic, payload, true);
	struct message *live = message_new(topic, payload, false);
	for (uint32_t i = 0; i < s->config.agents; i++)
		if (s->devices[i].host_wanted)
			to_device(s, &s->devices[i], live, 1);
	message_free(live);
}

void broker_from_server(
	struct sim *s, const char *topic, struct bytes payload, int qos, bool retained)
{
	if (!s->broker.up || !s->server.link_up)
		return;
	if (strncmp(topic, "helio/v1/host/", 14) == 0) {
		host_state(s, topic, payload);
		return;
	}
	if (retained) {
		s->broker.views++;
		return;
	}
	struct device *d = device_of_topic(s, topic);
	if (!d)
		return;
	struct message *m = message_new(topic, payload, false);
	to_device(s, d, m, qos);
	message_free(m);
}

void broker_arrive(struct sim *s, const struct event_item *e)
{
	struct message *m = e->message;

	if (e->more != s->broker.token)
		return;
	if (e->who == DEST_SERVER) {
		if (e->token == s->server.link_token && s->server.link_up)
			host_deliver(s, m);
		return;
	}
	struct device *d = &s->devices[e->who];
	if (d->alive && d->link_up && e->token == d->link_token)
		device_message(d, m);
}

// ---- retained, wills, restarts

void broker_host_wanted(struct device *d, bool wanted)
{
	struct sim *s = d->sim;

	d->host_wanted = wanted;
	if (wanted && s->broker.host && s->broker.up)
		to_device(s, d, s->broker.host, 1);
}

void broker_will_of_server(struct sim *s)
{
	struct message *w = s->server.will;

	if (w && s->broker.up)
		host_state(s, w->data, bytes_of(w->data + w->topic_length + 1, w->size));
}

void broker_restart(struct sim *s)
{
	trace(s, "broker restarts");
	s->broker.up = false;
	s->broker.token++;
	message_free(s->broker.host);
	s->broker.host = NULL;
	host_link(s, false);
	for (uint32_t i = 0; i < s->config.agents; i++)
		device_link(&s->devices[i], false);
	heap_push(s, s->now + rng_between(&s->fate, 100, 3000), EVENT_BROKER, 0, s->broker.token,
		NULL, 0);
}
