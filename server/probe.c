#include "server/probe.h"

#include "proto/base/log.h"
#include "proto/base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum step {
	STEP_IDLE,
	STEP_BASE,
	STEP_DENIED,
	STEP_RETAIN,
	STEP_TRIPS,
	STEP_CLEAR,
	STEP_LARGE,
};

struct probe {
	struct probe_config config;
	struct probe_ports ports;
	struct findings *findings;
	char broker[LIMIT_ID + 1];
	struct topic own, foreign;
	enum step step;
	struct mono deadline, sent;
	bool arrived, acked, was_large_fatal;
	int trip;
	int64_t base_ms, trip_ms; // sums over the later half
	uint64_t token;
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

static const char *packet_line(const struct probe *p)
{
	return p->config.kind == TOPIC_DATA
		       ? "message_size_limit 1114112 and max_packet_size 1900000"
		       : "max_packet_size 1900000";
}

static enum err say(struct probe *p, const char *topic, const void *data, size_t size,
	bool retained, struct now now)
{
	p->arrived = p->acked = false;
	p->sent = now.mono;
	return p->ports.publish(p->ports.ctx, topic, bytes_of(data, size), retained, ++p->token);
}

static enum err look(struct probe *p, int qos, struct now now)
{
	p->arrived = p->acked = false;
	p->sent = now.mono;
	return p->ports.subscribe(p->ports.ctx, p->own.s, qos, ++p->token);
}

static int64_t mean_ms(int64_t sum_ms)
{
	return sum_ms / (PROBE_TRIPS / 2);
}

static void finish(struct probe *p)
{
	bool usable;

	p->step = STEP_IDLE;
	p->ports.unsubscribe(p->ports.ctx, p->own.s);
	found(p, FINDING_OK, "PROBE-PERSISTENCE",
		"not to be seen from outside: mosquitto.conf must say persistence false", "");
	usable = !findings_have_error(p->findings, p->broker);
	log_info("PROBE", "broker=%s usable=%s base_ms=%lld trip_ms=%lld", p->broker,
		usable ? "yes" : "no", (long long)mean_ms(p->base_ms),
		(long long)mean_ms(p->trip_ms));
	p->ports.done(p->ports.ctx, usable);
}

static enum err large_say(struct probe *p, struct now now)
{
	char *large = malloc(p->config.large_bytes);
	enum err e;

	if (!large)
		return err_set(ERR_MEMORY, "no memory for a large message");
	memset(large, 'L', p->config.large_bytes);
	if (p->config.large_bytes >= sizeof(PROBE_WORD))
		memcpy(large, PROBE_WORD, sizeof(PROBE_WORD) - 1);
	e = look(p, 1, now);
	if (e == ERR_OK)
		e = say(p, p->own.s, large, p->config.large_bytes, false, now);
	free(large);
	return e;
}

static enum err step_say(struct probe *p, enum step step, struct now now)
{
	p->step = step;
	p->deadline = mono_add_ms(now.mono, PROBE_STEP_MS);
	switch (step) {
	case STEP_BASE:
		return say(p, p->own.s, PROBE_WORD "b", sizeof(PROBE_WORD), false, now);
	case STEP_DENIED:
		return say(p, p->foreign.s, PROBE_WORD "d", sizeof(PROBE_WORD), false, now);
	case STEP_RETAIN:
		return say(p, p->own.s, PROBE_WORD "r", sizeof(PROBE_WORD), true, now);
	case STEP_TRIPS:
		return look(p, 0, now);
	case STEP_CLEAR:
		return say(p, p->own.s, NULL, 0, true, now);
	case STEP_LARGE:
		return large_say(p, now);
	case STEP_IDLE:
		break;
	}
	return ERR_OK;
}

static void step_to(struct probe *p, enum step step, struct now now)
{
	if (step == STEP_DENIED && !p->config.secured)
		step = STEP_RETAIN;
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
	int64_t base_ms = mean_ms(p->base_ms), trip_ms = mean_ms(p->trip_ms);
	char what[200];

	if (trip_ms - base_ms < PROBE_NAGLE_MS) {
		text_format(what, sizeof(what), "a subscription brings its message in %lld ms",
			(long long)trip_ms);
		found(p, FINDING_OK, "PROBE-NODELAY", what, "");
		return;
	}
	text_format(what, sizeof(what),
		"a subscription brings its message in %lld ms, a publish its answer in %lld: the "
		"broker waits before it sends small packets",
		(long long)trip_ms, (long long)base_ms);
	found(p, FINDING_WARN, "PROBE-NODELAY", what, "set_tcp_nodelay true");
}

// One round of BASE or TRIPS. The first half does not count: the kernel acknowledges it at once.
static void round_done(struct probe *p, int64_t *sum_ms, enum step next, struct now now)
{
	if (p->trip >= PROBE_TRIPS / 2)
		*sum_ms += mono_since_ms(now.mono, p->sent);
	if (++p->trip < PROBE_TRIPS) {
		step_to(p, p->step, now);
		return;
	}
	p->trip = 0;
	step_to(p, next, now);
}

static void trip_done(struct probe *p, struct now now)
{
	if (!p->arrived || !p->acked)
		return;
	p->ports.unsubscribe(p->ports.ctx, p->own.s);
	round_done(p, &p->trip_ms, STEP_CLEAR, now);
	if (p->step != STEP_CLEAR)
		return;
	found(p, FINDING_OK, "PROBE-RETAIN", "retained messages are kept", "");
	nagle_judge(p);
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
	step_to(p, STEP_RETAIN, now);
}

static void large_done(struct probe *p, struct now now)
{
	char what[120];

	if (!p->arrived || !p->acked)
		return;
	text_format(what, sizeof(what), "a message of %zu bytes passes", p->config.large_bytes);
	found(p, FINDING_OK, "PROBE-PACKET", what, "");
	step_to(p, STEP_IDLE, now);
}

bool probe_message(struct probe *p, const char *topic, struct bytes payload, int qos, bool retained,
	struct now now)
{
	if (strcmp(topic, p->own.s) != 0)
		return strcmp(topic, p->foreign.s) == 0;
	if (p->step == STEP_TRIPS && retained) {
		p->arrived = true;
		trip_done(p, now);
	} else if (p->step == STEP_LARGE && payload.size == p->config.large_bytes) {
		if (qos < 1)
			found(p, FINDING_ERROR, "PROBE-QOS",
				"messages of QoS 1 arrive with QoS 0: they may be lost",
				"max_qos 2");
		p->arrived = true;
		large_done(p, now);
	}
	return true; // others are copies by an overlapping subscription
}

static void publish_refused(struct probe *p, int reason, struct now now)
{
	char what[160];

	text_format(what, sizeof(what), "the broker refuses our message with reason %d", reason);
	if (p->step == STEP_LARGE) {
		found(p, FINDING_ERROR, "PROBE-PACKET", what, packet_line(p));
		step_to(p, STEP_IDLE, now);
		return;
	}
	found(p, FINDING_ERROR, "PROBE-OWN-TOPIC", what,
		"acl_file /etc/heliograph/acl (helioctl broker-conf makes it)");
	finish(p);
}

void probe_published(struct probe *p, uint64_t token, int reason, struct now now)
{
	if (token != p->token || p->step == STEP_IDLE || p->step == STEP_TRIPS || reason < 0)
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
	if (p->step == STEP_BASE)
		round_done(p, &p->base_ms, STEP_DENIED, now);
	else if (p->step == STEP_RETAIN)
		step_to(p, STEP_TRIPS, now);
	else if (p->step == STEP_CLEAR)
		step_to(p, STEP_LARGE, now);
	else
		large_done(p, now);
}

void probe_subscribed(struct probe *p, uint64_t token, int reason, struct now now)
{
	if (token != p->token || p->step != STEP_TRIPS || reason < 0 || reason >= 128)
		return;
	p->acked = true;
	trip_done(p, now);
}

void probe_begin(struct probe *p, struct now now)
{
	p->trip = 0;
	p->base_ms = p->trip_ms = 0;
	step_to(p, STEP_BASE, now);
}

void probe_link_down(struct probe *p, const char *why)
{
	if (p->step == STEP_LARGE) {
		p->was_large_fatal = true;
		found(p, FINDING_ERROR, "PROBE-PACKET",
			"the broker closes the connection at our largest message", packet_line(p));
	} else if (p->step == STEP_RETAIN) {
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
		found(p, FINDING_ERROR, "PROBE-RETAIN",
			"a retained message does not come with a fresh subscription",
			"retain_available true, and the server's own topic in acl_file");
		step_to(p, STEP_CLEAR, now);
		break;
	case STEP_LARGE:
		found(p, FINDING_ERROR, "PROBE-PACKET", "our largest message does not come back",
			packet_line(p));
		step_to(p, STEP_IDLE, now);
		break;
	case STEP_BASE:
	case STEP_DENIED:
	case STEP_RETAIN:
	case STEP_CLEAR:
		found(p, FINDING_WARN, "PROBE-SLOW", "the broker does not acknowledge in 5 s",
			"a less busy machine for the broker");
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

	text_format(what, sizeof(what), "the broker says it is %s", version);
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
