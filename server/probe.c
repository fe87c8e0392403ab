#include "server/probe.h"

#include "proto/base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum step {
	STEP_IDLE,
	STEP_TRIPS,
	STEP_DENIED,
	STEP_RETAIN_SET,
	STEP_RETAIN_READ,
	STEP_RETAIN_CLEAR,
	STEP_LARGE,
};

struct probe {
	struct probe_config config;
	struct probe_ports ports;
	struct findings *findings;
	char broker[LIMIT_ID + 1];
	struct topic own, foreign;
	enum step step;
	struct mono deadline, sent, echo_at, ack_at;
	bool echoed, acked, was_large_fatal;
	int trip;
	int64_t gap_ms, trip_ms;
	uint64_t token;
	char trip_text[40]; // of the round trip that is under way
	size_t trip_text_size;
};

struct probe *probe_new(const struct probe_config *config, const struct probe_ports *ports,
	struct findings *findings)
{
	struct probe *p = calloc(1, sizeof(*p));
	struct digest nothing = {{0}};

	if (!p)
		abort();
	p->config = *config;
	p->ports = *ports;
	p->findings = findings;
	p->token = PROBE_TOKEN;
	str_copy(p->broker, sizeof(p->broker), config->broker);
	p->own = topic_of(
		config->kind == TOPIC_CONTROL ? TOPIC_GRANT : TOPIC_INBOX, config->server_id);
	// Nobody's: a client "probe" has no such key, and a server is no publisher.
	p->foreign = config->kind == TOPIC_CONTROL ? topic_hb("probe.denied")
						   : topic_chunk("probe.denied", &nothing);
	return p;
}

void probe_free(struct probe *p)
{
	free(p);
}

const char *probe_topic(const struct probe *p)
{
	return p->own.s;
}

bool probe_is_running(const struct probe *p)
{
	return p->step != STEP_IDLE;
}

static void found(struct probe *p, enum finding_level level, const char *id, const char *what,
	const char *mend)
{
	finding_tell(p->findings, level, p->broker, id, what, mend);
}

// ---------------------------------------------------------------- steps

static enum err say(struct probe *p, const char *topic, const void *data, size_t size,
	bool retained, struct now now)
{
	p->echoed = p->acked = false;
	p->sent = now.mono;
	return p->ports.publish(p->ports.ctx, topic, bytes_of(data, size), retained, ++p->token);
}

static void finish(struct probe *p)
{
	bool usable;

	p->step = STEP_IDLE;
	p->ports.unsubscribe(p->ports.ctx, p->own.s);
	found(p, FINDING_OK, "PROBE-PERSISTENCE",
		"whether it saves to disk cannot be seen from outside: it must say persistence "
		"false",
		"");
	usable = !findings_have_error(p->findings, p->broker);
	log_info("PROBE", "broker=%s usable=%s trip_ms=%lld gap_ms=%lld", p->broker,
		usable ? "yes" : "no", (long long)(p->trip_ms / (PROBE_TRIPS / 2)),
		(long long)(p->gap_ms / (PROBE_TRIPS / 2)));
	p->ports.done(p->ports.ctx, usable);
}

// Every round trip has a text of its own.
static size_t trip_text(char *out, size_t size, uint64_t token)
{
	int n = snprintf(out, size, PROBE_WORD "%llx", (unsigned long long)token);

	return n > 0 && (size_t)n < size ? (size_t)n : size - 1;
}

static enum err step_say(struct probe *p, enum step step, struct now now)
{
	char *large = NULL;
	enum err e;

	p->step = step;
	p->deadline = mono_add_ms(now.mono, PROBE_STEP_MS);
	switch (step) {
	case STEP_TRIPS:
		p->trip_text_size = trip_text(p->trip_text, sizeof(p->trip_text), p->token + 1);
		return say(p, p->own.s, p->trip_text, p->trip_text_size, false, now);
	case STEP_DENIED:
		return say(p, p->foreign.s, PROBE_WORD "d", sizeof(PROBE_WORD), false, now);
	case STEP_RETAIN_SET:
		p->ports.unsubscribe(p->ports.ctx, p->own.s);
		return say(p, p->own.s, PROBE_WORD "r", sizeof(PROBE_WORD), true, now);
	case STEP_RETAIN_READ:
		return p->ports.subscribe(p->ports.ctx, p->own.s);
	case STEP_RETAIN_CLEAR:
		return say(p, p->own.s, NULL, 0, true, now);
	case STEP_LARGE:
		large = calloc(1, p->config.large_bytes);
		if (!large)
			return err_set(ERR_MEMORY, "no memory for a large message");
		memset(large, 'L', p->config.large_bytes);
		if (p->config.large_bytes >= sizeof(PROBE_WORD))
			memcpy(large, PROBE_WORD, sizeof(PROBE_WORD) - 1);
		e = say(p, p->own.s, large, p->config.large_bytes, false, now);
		free(large);
		return e;
	case STEP_IDLE:
		break;
	}
	return ERR_OK;
}

static void step_to(struct probe *p, enum step step, struct now now)
{
	if (step == STEP_DENIED && !p->config.secured)
		step = STEP_RETAIN_SET;
	if (step == STEP_LARGE && p->was_large_fatal)
		step = STEP_IDLE; // it breaks the connection: once was enough
	if (step == STEP_IDLE) {
		finish(p);
		return;
	}
	if (step_say(p, step, now) != ERR_OK) {
		log_info("PROBE-BROKEN", "broker=%s why=%s", p->broker, log_quote(err_text()));
		p->step = STEP_IDLE; // the link is down, or will say so
	}
}

// ---------------------------------------------------------------- what came of them

static void nagle_judge(struct probe *p)
{
	char what[200];
	int64_t gap_ms = p->gap_ms / (PROBE_TRIPS / 2), trip_ms = p->trip_ms / (PROBE_TRIPS / 2);

	if (gap_ms < PROBE_NAGLE_MS) {
		snprintf(what, sizeof(what), "a round trip takes %lld ms", (long long)trip_ms);
		found(p, FINDING_OK, "PROBE-NODELAY", what, "");
		return;
	}
	snprintf(what, sizeof(what),
		"a message and its acknowledgement come %lld ms apart: the broker waits before it "
		"sends small packets",
		(long long)gap_ms);
	found(p, FINDING_WARN, "PROBE-NODELAY", what, "set_tcp_nodelay true");
}

static void trip_done(struct probe *p, struct now now)
{
	int64_t gap_ms = mono_since_ms(p->echo_at, p->ack_at);

	if (p->trip >= PROBE_TRIPS / 2) { // the kernel acknowledges the first ones at once
		p->gap_ms += gap_ms < 0 ? -gap_ms : gap_ms;
		p->trip_ms += mono_since_ms(now.mono, p->sent);
	}
	if (++p->trip < PROBE_TRIPS) {
		step_to(p, STEP_TRIPS, now);
		return;
	}
	nagle_judge(p);
	step_to(p, STEP_DENIED, now);
}

static void denied_done(struct probe *p, int reason, struct now now)
{
	if (reason == PROBE_REASON_DENIED)
		found(p, FINDING_OK, "PROBE-ACL", "a publish on a foreign topic is denied", "");
	else
		found(p, FINDING_ERROR, "PROBE-ACL",
			"the broker takes a publish on a topic that is not the server's: anybody "
			"can speak for anybody",
			"acl_file /etc/heliograph/acl (helioctl broker-conf makes it)");
	step_to(p, STEP_RETAIN_SET, now);
}

static void both_done(struct probe *p, struct now now)
{
	if (!p->echoed || !p->acked)
		return;
	if (p->step == STEP_TRIPS) {
		trip_done(p, now);
	} else if (p->step == STEP_LARGE) {
		char what[120];

		snprintf(
			what, sizeof(what), "a message of %zu bytes passes", p->config.large_bytes);
		found(p, FINDING_OK, "PROBE-PACKET", what, "");
		step_to(p, STEP_IDLE, now);
	}
}

static void retain_read(struct probe *p, bool retained, struct now now)
{
	if (!retained)
		return;
	found(p, FINDING_OK, "PROBE-RETAIN", "retained messages are kept", "");
	step_to(p, STEP_RETAIN_CLEAR, now);
}

bool probe_message(struct probe *p, const char *topic, struct bytes payload, int qos, bool retained,
	struct now now)
{
	if (strcmp(topic, p->own.s) != 0)
		return strcmp(topic, p->foreign.s) == 0;
	if (p->step == STEP_RETAIN_READ) {
		retain_read(p, retained, now);
		return true;
	}
	if (retained || p->echoed || (p->step != STEP_TRIPS && p->step != STEP_LARGE))
		return true;
	if (p->step == STEP_LARGE
			? payload.size != p->config.large_bytes
			: !bytes_equal(payload, bytes_of(p->trip_text, p->trip_text_size)))
		return true; // an overlapping subscription brought an earlier one again
	if (qos < 1)
		found(p, FINDING_ERROR, "PROBE-QOS",
			"messages of QoS 1 arrive with QoS 0: they may be lost", "max_qos 2");
	p->echoed = true;
	p->echo_at = now.mono;
	both_done(p, now);
	return true;
}

static void publish_refused(struct probe *p, int reason, struct now now)
{
	char what[160];

	snprintf(what, sizeof(what), "the broker refuses our message with reason %d", reason);
	if (p->step == STEP_LARGE) {
		found(p, FINDING_ERROR, "PROBE-PACKET", what,
			p->config.kind == TOPIC_DATA
				? "message_size_limit 1114112 and max_packet_size 1900000"
				: "max_packet_size 1900000");
		step_to(p, STEP_IDLE, now);
		return;
	}
	found(p, FINDING_ERROR, "PROBE-OWN-TOPIC", what,
		"acl_file /etc/heliograph/acl (helioctl broker-conf makes it)");
	p->step = STEP_IDLE;
	finish(p);
}

void probe_published(struct probe *p, uint64_t token, int reason, struct now now)
{
	if (token != p->token || p->step == STEP_IDLE || reason < 0)
		return;
	if (p->step == STEP_DENIED) {
		denied_done(p, reason, now);
		return;
	}
	if (reason >= 128) {
		publish_refused(p, reason, now);
		return;
	}
	p->acked = true;
	p->ack_at = now.mono;
	if (p->step == STEP_RETAIN_SET)
		step_to(p, STEP_RETAIN_READ, now);
	else if (p->step == STEP_RETAIN_CLEAR)
		step_to(p, STEP_LARGE, now);
	else
		both_done(p, now);
}

void probe_begin(struct probe *p, struct now now)
{
	p->trip = 0;
	p->gap_ms = p->trip_ms = 0;
	if (p->ports.subscribe(p->ports.ctx, p->own.s) == ERR_OK)
		step_to(p, STEP_TRIPS, now);
}

void probe_link_down(struct probe *p, const char *why)
{
	if (p->step == STEP_LARGE) {
		p->was_large_fatal = true;
		found(p, FINDING_ERROR, "PROBE-PACKET",
			"the broker closes the connection at our largest message",
			p->config.kind == TOPIC_DATA
				? "message_size_limit 1114112 and max_packet_size 1900000"
				: "max_packet_size 1900000");
	} else if (p->step == STEP_RETAIN_SET) {
		found(p, FINDING_ERROR, "PROBE-RETAIN",
			"the broker closes the connection at a retained message",
			"retain_available true");
	} else if (p->step != STEP_IDLE) {
		log_info("PROBE-BROKEN", "broker=%s why=%s", p->broker, log_quote(why));
	}
	p->step = STEP_IDLE;
}

static void step_late(struct probe *p, struct now now)
{
	switch (p->step) {
	case STEP_TRIPS:
		found(p, FINDING_ERROR, "PROBE-OWN-TOPIC",
			"what the server says to itself does not come back",
			"acl_file /etc/heliograph/acl (helioctl broker-conf makes it)");
		p->step = STEP_IDLE;
		finish(p);
		break;
	case STEP_RETAIN_READ:
		found(p, FINDING_ERROR, "PROBE-RETAIN",
			"a retained message does not come with a fresh subscription",
			"retain_available true");
		step_to(p, STEP_RETAIN_CLEAR, now);
		break;
	case STEP_LARGE:
		found(p, FINDING_ERROR, "PROBE-PACKET", "our largest message does not come back",
			p->config.kind == TOPIC_DATA
				? "message_size_limit 1114112 and max_packet_size 1900000"
				: "max_packet_size 1900000");
		step_to(p, STEP_IDLE, now);
		break;
	case STEP_DENIED:
	case STEP_RETAIN_SET:
	case STEP_RETAIN_CLEAR:
		found(p, FINDING_WARN, "PROBE-SLOW", "the broker does not acknowledge in 5 s", "");
		p->step = STEP_IDLE;
		finish(p);
		break;
	case STEP_IDLE:
		break;
	}
}

void probe_tick(struct probe *p, struct now now)
{
	if (p->step != STEP_IDLE && mono_since_ms(now.mono, p->deadline) >= 0)
		step_late(p, now);
}

void probe_version(struct probe *p, const char *version)
{
	unsigned major = 0, minor = 0, patch = 0;
	char what[160];

	snprintf(what, sizeof(what), "the broker says it is %.100s", version);
	if (sscanf(version, "mosquitto version %u.%u.%u", &major, &minor, &patch) < 2) {
		found(p, FINDING_OK, "PROBE-VERSION", what, "");
		return;
	}
	if (major < 2 || (major == 2 && minor == 0 && patch < 11))
		found(p, FINDING_WARN, "PROBE-VERSION", what,
			"apt-get install mosquitto, 2.0.11 or later");
	else
		found(p, FINDING_OK, "PROBE-VERSION", what, "");
}
