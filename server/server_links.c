// The links to the brokers: what is subscribed, and where each event of a link goes.
#include "server/server_inside.h"

#include "proto/base/log.h"
#include "server/broker_load.h"
#include "server/db/rows.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct server_link *server_link_find(struct server *s, const char *broker)
{
	for (size_t i = 0; i < s->brokers.count; i++)
		if (strcmp(s->data[i].name, broker) == 0)
			return &s->data[i];
	return NULL;
}

// ---------------------------------------------------------------- load

#define SYS_RECEIVED "$SYS/broker/messages/received"
#define IDENTITY_KEY 400

static uint64_t cpu_us(int who)
{
	struct rusage u;

	if (getrusage(who, &u) != 0)
		return 0;
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

void server_load_tick(struct server *s)
{
	struct load_reading r = {
		.idle_ns = uv_metrics_idle_time(s->loop),
		.other_us = cpu_us(RUSAGE_SELF) - cpu_us(RUSAGE_THREAD),
	};
	struct link_stats stats = {0};

	if (s->control.link)
		link_get_stats(s->control.link, &stats);
	r.dropped = stats.dropped_messages;
	double server = load_of_server(&s->load, &r, s->now.mono);
	core_set_load(s->core, server,
		load_of_broker(&s->load, s->settings->control_messages_per_s, s->now.mono), s->now);
}

static void control_count(struct server *s, struct bytes payload)
{
	char text[24], *end;

	if (payload.size == 0 || payload.size >= sizeof(text))
		return;
	memcpy(text, payload.data, payload.size);
	text[payload.size] = 0;
	unsigned long long count = strtoull(text, &end, 10);
	if (end != text)
		load_broker_count(&s->load, count, s->now.mono);
}

// ---------------------------------------------------------------- subscriptions

static void subscribe_one(struct server_link *l, const char *filter, int qos)
{
	if (link_subscribe(l->link, &filter, 1, qos, 1) != ERR_OK)
		log_warn("SUBSCRIBE-FAILED", "broker=%s filter=%s why=%s", l->name,
			log_quote(filter), log_quote(err_text()));
}

static void subscribe_control(struct server_link *l)
{
	for (size_t i = 0; i < ROUTER_CONTROL_FILTERS; i++) {
		struct topic filter = topic_filter(router_control_filters[i].kind);

		subscribe_one(l, filter.s, router_control_filters[i].qos);
	}
	subscribe_one(l, broker_load_mosquitto.version_topic, 0);
	subscribe_one(l, SYS_RECEIVED, 0);
}

static void subscribe_data(struct server_link *l)
{
	struct topic inbox = topic_filter(TOPIC_INBOX);

	subscribe_one(l, inbox.s, 1);
	for (size_t i = 0; i < l->broker->load->topic_count; i++)
		subscribe_one(l, l->broker->load->topics[i], 0);
}

// ---------------------------------------------------------------- events of a link

static void turn_before(void *ctx)
{
	struct server_link *l = ctx;

	l->server->now = clock_now();
	l->server->in_turn = 0;
}

static void turn_after(void *ctx)
{
	struct server_link *l = ctx;

	server_turn_end(l->server);
}

static void probe_done(void *ctx, bool usable);

static void probe_start(struct server_link *l)
{
	if (!l->server->settings->probe)
		return;
	probe_begin(l->probe, l->server->now);
	l->probe_next = mono_add_ms(
		l->server->now.mono, (int64_t)l->server->settings->probe_period_s * 1000);
}

// Nothing of what we do works there. Said once; the link goes on asking, for somebody may put
// another broker in its place.
static void too_old_judge(struct server_link *l)
{
	struct server *s = l->server;
	bool was = l->too_old;

	l->too_old = l->link && link_is_too_old(l->link);
	if (l->too_old == was)
		return;
	if (!l->too_old) {
		findings_forget(&s->findings, l->name);
		if (l->broker)
			l->broker->refused = false;
		return;
	}
	finding_tell(&s->findings, FINDING_ERROR, l->name, "PROBE-MQTT5",
		"it speaks no MQTT 5, only MQTT 3.1.1 or older: it cannot say what it refuses, and "
		"is not used",
		"a broker of MQTT 5 that keeps retained messages, such as mosquitto 2.0");
	probe_done(l, false);
}

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct server_link *l = ctx;
	struct server *s = l->server;

	(void)session_present;
	s->now = clock_now();
	l->up = true;
	l->load_missed = false;
	too_old_judge(l);
	log_info("LINK-UP", "broker=%s peer=%s via=%s", l->name, link_peer(l->link),
		link_via_word(via->via));
	if (l->broker) {
		subscribe_data(l);
		presence_broker(s->presence, l->name, true, "", s->now);
	} else {
		subscribe_control(l);
		core_link(s->core, true, s->now);
		presence_spread(s->presence, core_reconnect_spread_ms(s->core));
		presence_control(s->presence, true);
	}
	core_host_say(s->core, s->now);
	probe_start(l);
	server_turn_end(s);
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct server_link *l = ctx;
	struct server *s = l->server;

	s->now = clock_now();
	too_old_judge(l);
	if (l->up || retry_ms > 1000)
		log_warn("LINK-DOWN", "broker=%s why=%s retry_ms=%lld", l->name, log_quote(why),
			(long long)retry_ms);
	probe_link_down(l->probe, why);
	if (l->broker) {
		readback_reset(l->readback, s->now);
		presence_broker(s->presence, l->name, false, why, s->now);
	} else if (l->up) {
		core_link(s->core, false, s->now);
		presence_control(s->presence, false);
	}
	l->up = false;
	server_turn_end(s);
}

static void on_sys(struct server_link *l, const char *topic, struct bytes payload)
{
	bool restarted = false;
	char version[LIMIT_ID + 1];

	if (!l->broker && strcmp(topic, SYS_RECEIVED) == 0)
		control_count(l->server, payload);
	if (l->broker)
		restarted = l->broker->load->take(l->broker, topic, payload, l->server->now);
	if (restarted)
		log_warn("BROKER-RESTARTED", "broker=%s uptime_s=%llu", l->name,
			(unsigned long long)l->broker->uptime_s);
	if (strcmp(topic, broker_load_mosquitto.version_topic) == 0 &&
		payload.size < sizeof(version)) {
		memcpy(version, payload.data, payload.size);
		version[payload.size] = 0;
		probe_version(l->probe, version);
	}
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct server_link *l = ctx;
	struct server *s = l->server;
	struct topic_parts parts;

	l->heard = s->now.mono;
	switch (router_pick(
		l->broker != NULL, m->topic, m->topic_length, probe_topic(l->probe), &parts)) {
	case TO_SYS:
		on_sys(l, m->topic, m->payload);
		break;
	case TO_PROBE:
		probe_message(l->probe, m->topic, m->payload, m->qos, m->retained, s->now);
		break;
	case TO_READBACK:
		readback_message(l->readback, &parts, m->payload, m->retained, s->now);
		break;
	case TO_CORE:
		if (!server_may_speak(s))
			break;
		core_message(s->core, l->broker ? l->name : NULL, m->topic, m->topic_length,
			m->payload, m->retained, s->now);
		break;
	case TO_NOBODY:
		break;
	}
	// One commit for a whole drain; without one, Paho sends while the rest is judged.
	if (++s->in_turn >= TURN_CLEAN && core_is_clean(s->core)) {
		s->in_turn = 0;
		server_turn_end(s);
	}
}

static void on_ahead(void *ctx, const char *topic, size_t topic_length)
{
	struct server_link *l = ctx;

	core_ahead(l->server->core, topic, topic_length);
}

static void on_published(void *ctx, uint64_t token, int reason)
{
	struct server_link *l = ctx;

	if (token & PROBE_TOKEN)
		probe_published(l->probe, token, reason, l->server->now);
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct server_link *l = ctx;

	if ((token & PROBE_TOKEN) && count > 0)
		probe_subscribed(l->probe, token, reasons[0], l->server->now);
	for (size_t i = 0; i < count; i++)
		if (reasons[i] >= 128) {
			finding_add(&l->server->findings, FINDING_ERROR, l->name, "PROBE-SUBSCRIBE",
				"the broker refuses a subscription of the server",
				"acl_file /etc/heliograph/acl (helioctl broker-conf makes it)");
			log_error("SERVER-SUBSCRIBE-REFUSED", "broker=%s reason=%d", l->name,
				reasons[i]);
		}
}

static const struct link_events link_callbacks = {
	on_up, on_down, on_message, on_ahead, on_published, on_subscribed};

// ---------------------------------------------------------------- ports of probe and read-back

static enum err probe_publish(
	void *ctx, const char *topic, struct bytes payload, bool retained, uint64_t token)
{
	struct server_link *l = ctx;

	return link_publish(l->link, topic, payload, 1, retained, token);
}

static enum err probe_subscribe(void *ctx, const char *filter, int qos, uint64_t token)
{
	struct server_link *l = ctx;

	return link_subscribe(l->link, &filter, 1, qos, token);
}

static void unsubscribe_any(struct server_link *l, const char *const *filters, size_t count)
{
	if (link_is_up(l->link) && link_unsubscribe(l->link, filters, count) != ERR_OK)
		log_debug("UNSUBSCRIBE-FAILED", "broker=%s why=%s", l->name, log_quote(err_text()));
}

static void probe_unsubscribe(void *ctx, const char *filter)
{
	// The server's own inbox stays subscribed with all others.
	unsubscribe_any(ctx, &filter, 1);
}

static void probe_done(void *ctx, bool usable)
{
	struct server_link *l = ctx;
	struct server *s = l->server;

	if (!s->settings->probe_refuse)
		usable = true;
	if (l->broker) {
		l->broker->refused = !usable;
		str_copy(l->broker->why, sizeof(l->broker->why),
			usable ? "" : "refused by the probe: see doctor");
		return;
	}
	if (usable)
		return;
	log_error("PROBE-REFUSED", "broker=control why=%s",
		log_quote("it would lose messages or let strangers act; helioctl doctor and the "
			  "lines above say what to change"));
	s->exit_code = EXIT_FAILED;
	server_stop(s);
}

static enum err readback_subscribe(
	void *ctx, const char *broker, const char *const *filters, size_t count)
{
	struct server *s = ctx;
	struct server_link *l = server_link_find(s, broker);

	return link_subscribe(l->link, filters, count, 1, 1);
}

static void readback_unsubscribe(
	void *ctx, const char *broker, const char *const *filters, size_t count)
{
	struct server *s = ctx;

	unsubscribe_any(server_link_find(s, broker), filters, count);
}

static void readback_done(void *ctx, const char *broker, const struct digest *package,
	enum readback_verdict verdict, const char *why, struct now now)
{
	struct server *s = ctx;

	presence_readback(s->presence, broker, package, verdict, why, now);
}

// ---------------------------------------------------------------- life

static void link_config_fill(struct server_link *l, const char *host, const char *ip, uint32_t port)
{
	struct server *s = l->server;

	l->config = (struct link_config){
		.client_id = s->settings->fleet.id,
		.addresses = l->addresses,
		.address_count = link_addresses(host, ip, port, l->addresses),
		.tls = s->settings->fleet.tls,
		.ca_file = s->settings->fleet.ca,
		.cert_file = s->settings->fleet.cert,
		.key_file = s->settings->fleet.tls_key,
		.keepalive_s = 15,
		.connect_timeout_s = 5,
		.backoff_min_ms = 200,
		.backoff_max_ms = 5000,
		.outstanding_max = SERVER_OUTSTANDING,
		.outbox_max = 200000,
		.inbox_messages = INBOX_MESSAGES,
		.inbox_bytes = INBOX_BYTES,
		.will_topic = s->will_topic.s,
		.will_payload = buf_bytes(&s->will),
		.will_qos = 1,
		.will_retained = true,
	};
}

static void probe_make(struct server_link *l)
{
	const struct probe_config config = {
		.broker = l->name,
		.server_id = l->server->settings->fleet.id,
		.kind = l->broker ? TOPIC_DATA : TOPIC_CONTROL,
		.secured = l->server->settings->fleet.tls,
		.large_bytes = l->broker ? LIMIT_OBJECT : LIMIT_API,
	};
	const struct probe_ports ports = {
		l, probe_publish, probe_subscribe, probe_unsubscribe, probe_done};

	l->probe = probe_new(&config, &ports, &l->server->findings);
}

enum err server_links_init(struct server *s)
{
	const struct readback_ports ports = {
		s, readback_subscribe, readback_unsubscribe, readback_done};
	const struct control_settings *control = &s->settings->fleet.control;

	buf_init(&s->will, LIMIT_VIEW);
	s->will_topic = topic_of(TOPIC_HOST, s->settings->fleet.id);
	TRY(core_host_will(s->core, &s->will));
	s->data = calloc(s->brokers.count ? s->brokers.count : 1, sizeof(*s->data));
	if (!s->data)
		return err_set(ERR_MEMORY, "no memory for links");
	s->control.server = s;
	s->control.name = "control";
	link_config_fill(&s->control, control->name, control->ip, control->port);
	s->control.config.address_count = control_addresses(control, s->control.addresses);
	probe_make(&s->control);
	for (size_t i = 0; i < s->brokers.count; i++) {
		struct server_link *l = &s->data[i];

		l->server = s;
		l->broker = &s->brokers.items[i];
		l->name = l->broker->id;
		link_config_fill(l, l->broker->host, l->broker->ip, l->broker->port);
		l->readback = readback_new(l->name, &s->trust.root, &ports);
		probe_make(l);
	}
	return ERR_OK;
}

static void main_link_open(struct server_link *l)
{
	if (link_new(l->server->loop, &l->config, &link_callbacks, l, &l->link) != ERR_OK) {
		log_error("LINK-NEW", "broker=%s why=%s", l->name, log_quote(err_text()));
		l->server->exit_code = EXIT_FAILED;
		server_stop(l->server);
		return;
	}
	link_set_turn(l->link, 1024, turn_before, turn_after);
}

// ---- what the identity probe of this broker found, until a planned end

static void identity_key(const struct server_link *l, char out[IDENTITY_KEY])
{
	(void)snprintf(out, IDENTITY_KEY, "identity-probe %s %s:%u", l->name, l->addresses[0].host,
		l->addresses[0].port);
}

static void identity_remember(struct server_link *l, bool holds)
{
	struct server *s = l->server;
	char key[IDENTITY_KEY];

	identity_key(l, key);
	if (!core_is_degraded(s->core) &&
		rows_meta_put_number(s->db, key, holds ? s->now.wall.ms : 0) != ERR_OK)
		log_debug("IDENTITY-PROBE", "broker=%s why=%s", l->name, log_quote(err_text()));
}

static bool identity_is_remembered(struct server_link *l)
{
	char key[IDENTITY_KEY];
	int64_t found_ms = 0;

	identity_key(l, key);
	if (rows_meta_number(l->server->db, key, &found_ms) != ERR_OK || !found_ms)
		return false;
	finding_tell(&l->server->findings, FINDING_OK, l->name, "PROBE-IDENTITY",
		"the certificate decides who somebody is: found before the crash", "");
	l->nobody_waits = true;
	return true;
}

static void strangers_done(void *ctx)
{
	struct server_link *l = ctx;
	struct server *s = l->server;

	if (s->stopping || l->link)
		return;
	s->now = clock_now();
	identity_remember(l, l->strangers && strangers_identity_holds(l->strangers));
	main_link_open(l);
	server_turn_end(s);
}

// The identity probe would end a main connection: it comes first, where it is not known already.
static enum err link_open(struct server_link *l)
{
	struct server *s = l->server;

	if (!s->settings->fleet.tls || !s->settings->probe || identity_is_remembered(l)) {
		main_link_open(l);
		return ERR_OK;
	}
	return strangers_new(
		s->loop, &l->config, l->name, true, &s->findings, strangers_done, l, &l->strangers);
}

enum err server_links_open(struct server *s)
{
	TRY(link_open(&s->control));
	for (size_t i = 0; i < s->brokers.count; i++)
		TRY(link_open(&s->data[i]));
	return ERR_OK;
}

static void nobody_ask(struct server_link *l)
{
	struct server *s = l->server;

	l->nobody_waits = false;
	if (s->settings->fleet.tls &&
		strangers_new(s->loop, &l->config, l->name, false, &s->findings, strangers_done, l,
			&l->strangers) != ERR_OK)
		log_info("PROBE-STRANGERS", "broker=%s why=%s", l->name, log_quote(err_text()));
}

static void probe_again(struct server_link *l, struct now now)
{
	struct server *s = l->server;

	if (!s->settings->probe || !l->up || probe_is_running(l->probe) || l->strangers)
		return;
	if (mono_since_ms(now.mono, l->probe_next) >= 0) {
		findings_forget(&s->findings, l->name);
		probe_start(l);
		nobody_ask(l);
	} else if (l->nobody_waits) {
		nobody_ask(l);
	}
}

// Paho's receive thread naps for 100 ms after an idle second; a PUBACK keeps it awake. Nobody but
// the server may read this topic, and watchers; nothing is said while something comes anyway.
static void stay_awake(struct server_link *l, struct now now)
{
	static const char text[] = PROBE_WORD "awake";

	if (mono_since_ms(now.mono, l->heard) < STAY_AWAKE_MS)
		return;
	l->heard = now.mono;
	if (link_publish(l->link, probe_topic(l->probe), bytes_of(text, sizeof(text) - 1), 1, false,
		    0) != ERR_OK)
		log_debug("STAY-AWAKE", "why=%s", log_quote(err_text()));
}

// A broker that should tell $SYS and does not is never chosen. Nobody would know why.
static void load_judge(struct server_link *l, struct now now)
{
	struct server *s = l->server;
	const struct data_broker *b = l->broker;

	if (!b || !l->up || !b->load->is_told || l->load_missed || b->uptime_seen ||
		mono_since_ms(now.mono, b->up_since) < (int64_t)s->brokers.sys_interval_s * 3000)
		return;
	l->load_missed = true;
	finding_tell(&s->findings, FINDING_WARN, l->name, "PROBE-LOAD",
		"it tells nothing of $SYS/broker/uptime: it counts as stale, and nothing is sent "
		"there",
		"sys_interval 10, and read $SYS/broker/# for the server; of another kind of "
		"broker: none at the end of its line in [data] broker");
}

static void link_tick(struct server_link *l, struct now now)
{
	if (l->strangers) {
		strangers_tick(l->strangers, now);
		if (strangers_are_over(l->strangers)) {
			strangers_free(l->strangers);
			l->strangers = NULL;
		}
	}
	if (!l->link)
		return;
	probe_tick(l->probe, now);
	probe_again(l, now);
	load_judge(l, now);
	if (l->readback)
		readback_tick(l->readback, now);
	if (!l->broker && l->up)
		stay_awake(l, now);
}

void server_links_tick(struct server *s)
{
	link_tick(&s->control, s->now);
	for (size_t i = 0; i < s->brokers.count && !s->stopping; i++)
		link_tick(&s->data[i], s->now);
}

static void link_end(struct server_link *l)
{
	strangers_free(l->strangers);
	l->strangers = NULL;
	if (l->link)
		link_close(l->link, true);
	l->link = NULL;
}

// Before a planned end: somebody may change a broker meanwhile, so the next start looks again.
void server_links_forget(struct server *s)
{
	for (size_t i = 0; s->data && i < s->brokers.count; i++)
		identity_remember(&s->data[i], false);
	if (s->data)
		identity_remember(&s->control, false);
}

void server_links_close(struct server *s)
{
	link_end(&s->control);
	for (size_t i = 0; s->data && i < s->brokers.count; i++)
		link_end(&s->data[i]);
}

void server_links_free(struct server *s)
{
	probe_free(s->control.probe);
	for (size_t i = 0; s->data && i < s->brokers.count; i++) {
		probe_free(s->data[i].probe);
		readback_free(s->data[i].readback);
	}
	free(s->data);
	s->data = NULL;
	buf_fini(&s->will);
}
