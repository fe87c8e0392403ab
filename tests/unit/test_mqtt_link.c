// The link against a real Mosquitto on loopback, and against a broker of a few raw bytes where
// Mosquitto is too polite. Each test has its own broker, port, folder and loop; what it waits for
// is a fact, never a time.
#include "tests/unit/helper.h"

#include "proto/limits.h"
#include "proto/mqtt_link.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

// ---- a broker

struct broker {
	pid_t pid;
	uint16_t port;
	char dir[64];
};

static char certs[64];
// What a failed test left behind; its teardown ends it.
static struct broker left[4];
static size_t left_count;

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static bool answers(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool yes = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	close(fd);
	return yes;
}

static void broker_run(struct broker *b)
{
	char conf[128];

	snprintf(conf, sizeof(conf), "%s/mosquitto.conf", b->dir);
	b->pid = fork();
	if (b->pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execlp("mosquitto", "mosquitto", "-c", conf, (char *)NULL);
		execl("/usr/sbin/mosquitto", "mosquitto", "-c", conf, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000 && !answers(b->port); i++)
		usleep(5000);
	assert_true(answers(b->port));
}

static void file_put(const char *dir, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

// more: further lines of mosquitto.conf; acl: NULL for none.
static struct broker broker_start(const char *more, const char *acl)
{
	struct broker b = {.port = free_port()};
	char text[1024];

	snprintf(b.dir, sizeof(b.dir), "/tmp/helio-link-XXXXXX");
	assert_non_null(mkdtemp(b.dir));
	int n = snprintf(text, sizeof(text),
		"user root\nlistener %u 127.0.0.1\nallow_anonymous true\npersistence false\n"
		"set_tcp_nodelay true\nmax_queued_messages 20000\n%s\n",
		b.port, more);
	if (acl) {
		file_put(b.dir, "acl", acl);
		snprintf(text + n, sizeof(text) - (size_t)n, "acl_file %s/acl\n", b.dir);
	}
	file_put(b.dir, "mosquitto.conf", text);
	broker_run(&b);
	assert_true(left_count < 4);
	left[left_count++] = b;
	return b;
}

static struct broker broker_start_tls(const char *more)
{
	char lines[512];

	snprintf(lines, sizeof(lines),
		"cafile %s/ca.crt\ncertfile %s/broker.crt\nkeyfile %s/broker.key\n"
		"require_certificate true\nuse_identity_as_username true\n%s",
		certs, certs, certs, more);
	return broker_start(lines, NULL);
}

static void broker_kill(struct broker *b, int with)
{
	if (b->pid > 0) {
		kill(b->pid, with);
		waitpid(b->pid, NULL, 0);
	}
	b->pid = 0;
}

static void broker_end(struct broker *b)
{
	broker_kill(b, SIGKILL);
	for (size_t i = 0; i < left_count; i++)
		if (strcmp(left[i].dir, b->dir) == 0)
			left[i] = left[--left_count];
	assert_int_equal(tree_remove(b->dir), ERR_OK);
}

// ---- a client: a link that writes down what it is told

struct heard {
	uint64_t token;
	int reason;
};

struct client {
	struct mqtt_link *link;
	unsigned ups, downs, messages, turns_begun, turns_ended, closed_calls;
	char why[512];
	int64_t retry_ms;
	enum link_via via;
	struct heard published[64];
	size_t published_count;
	int reasons[64];
	size_t reasons_count;
	unsigned subscribed;
	char topic[128], payload[128];
	size_t topic_length, payload_size;
	bool retained;
	unsigned in_order; // messages that carried the number expected
	unsigned stay_away_ms;
	const char *subscribe_at_up;
	bool close_in_message, closed;
};

static uv_loop_t loop;
static struct client *clients[64];
static size_t clients_count;

static void client_close(struct client *c, bool graceful)
{
	c->closed = true;
	for (size_t i = 0; i < clients_count; i++)
		if (clients[i] == c)
			clients[i] = clients[--clients_count];
	link_close(c->link, graceful);
}

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct client *c = ctx;

	assert_false(c->closed);
	assert_false(session_present);
	c->ups++;
	c->via = via->via;
	if (c->subscribe_at_up)
		assert_int_equal(link_subscribe(c->link, &c->subscribe_at_up, 1, 1, 1), ERR_OK);
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct client *c = ctx;

	assert_false(c->closed);
	c->downs++;
	c->retry_ms = retry_ms;
	snprintf(c->why, sizeof(c->why), "%s", why);
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct client *c = ctx;

	assert_false(c->closed);
	c->messages++;
	c->retained = m->retained;
	c->topic_length = m->topic_length;
	c->payload_size = m->payload.size;
	memcpy(c->topic, m->topic, m->topic_length < 128 ? m->topic_length + 1 : 128);
	snprintf(c->payload, sizeof(c->payload), "%.*s",
		(int)(m->payload.size < 127 ? m->payload.size : 127),
		(const char *)m->payload.data);
	uint32_t number;
	if (m->payload.size >= sizeof(number)) {
		memcpy(&number, m->payload.data, sizeof(number));
		c->in_order += number == c->in_order;
	}
	if (c->stay_away_ms) {
		usleep(c->stay_away_ms * 1000);
		c->stay_away_ms = 0;
	}
	if (c->close_in_message)
		client_close(c, true);
}

static void on_published(void *ctx, uint64_t token, int reason)
{
	struct client *c = ctx;

	assert_false(c->closed);
	if (c->published_count < 64)
		c->published[c->published_count] = (struct heard){token, reason};
	c->published_count++;
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct client *c = ctx;

	(void)token;
	assert_false(c->closed);
	c->subscribed++;
	c->reasons_count = count;
	memcpy(c->reasons, reasons, count * sizeof(*reasons));
}

static const struct link_events events = {.up = on_up,
	.down = on_down,
	.message = on_message,
	.published = on_published,
	.subscribed = on_subscribed};

static struct link_config config_of(
	const char *id, const struct link_address *addresses, size_t count)
{
	return (struct link_config){.client_id = id,
		.addresses = addresses,
		.address_count = count,
		.keepalive_s = 60,
		.connect_timeout_s = 3,
		.backoff_min_ms = 10,
		.backoff_max_ms = 100,
		.outstanding_max = 15,
		.outbox_max = 20000};
}

static struct link_address local(uint16_t port)
{
	return (struct link_address){"127.0.0.1", port, LINK_VIA_IP};
}

static void client_open(struct client *c, const struct link_config *config)
{
	assert_int_equal(link_new(&loop, config, &events, c, &c->link), ERR_OK);
	clients[clients_count++] = c;
}

static void on_guard(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

// Runs the loop until the fact holds. False after limit_ms.
#define until(fact, limit_ms)                                                                      \
	({                                                                                         \
		bool late_ = false;                                                                \
		uv_timer_t guard_;                                                                 \
		uv_timer_init(&loop, &guard_);                                                     \
		guard_.data = &late_;                                                              \
		uv_timer_start(&guard_, on_guard, (limit_ms), 0);                                  \
		while (!(fact) && !late_)                                                          \
			uv_run(&loop, UV_RUN_ONCE);                                                \
		bool held_ = (fact);                                                               \
		uv_close((uv_handle_t *)&guard_, NULL);                                            \
		uv_run(&loop, UV_RUN_NOWAIT);                                                      \
		held_;                                                                             \
	})

#define connected(c) assert_true(until((c)->ups > 0, 5000))

static void subscribe(struct client *c, const char *filter, int qos)
{
	unsigned before = c->subscribed;

	assert_int_equal(link_subscribe(c->link, &filter, 1, qos, 1), ERR_OK);
	assert_true(until(c->subscribed > before, 5000));
	assert_int_equal(c->reasons[0], qos);
}

static void publish(struct client *c, const char *topic, const char *text, int qos, bool retained,
	uint64_t token)
{
	assert_int_equal(
		link_publish(c->link, topic, bytes_of(text, strlen(text)), qos, retained, token),
		ERR_OK);
}

static int loop_open(void **state)
{
	(void)state;
	return uv_loop_init(&loop);
}

// Every handle is closed and every link freed, or the loop does not end.
static int loop_done(void **state)
{
	bool late = false;
	uv_timer_t guard;

	(void)state;
	while (clients_count > 0) {
		link_close(clients[0]->link, false);
		clients[0]->closed = true;
		clients[0] = clients[--clients_count];
	}
	while (left_count > 0) {
		struct broker b = left[0];
		broker_end(&b);
	}
	uv_timer_init(&loop, &guard);
	guard.data = &late;
	uv_timer_start(&guard, on_guard, 15000, 0);
	uv_unref((uv_handle_t *)&guard);
	while (uv_run(&loop, UV_RUN_ONCE) && !late) {
	}
	if (late) {
		fprintf(stderr, "a link was not freed\n");
		_exit(1);
	}
	uv_close((uv_handle_t *)&guard, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

// ---- tests

static void ten_thousand_messages_arrive_in_order(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);

	(void)state;
	for (int qos = 0; qos <= 1; qos++) {
		struct client c = {0};
		client_open(&c, &config);
		connected(&c);
		subscribe(&c, "t/#", qos);
		for (uint32_t i = 0; i < 10000; i++)
			assert_int_equal(link_publish(c.link, "t/x", bytes_of(&i, sizeof(i)), qos,
						 false, qos ? i + 1 : 0),
				ERR_OK);
		assert_true(until(
			c.messages == 10000 && (qos == 0 || c.published_count == 10000), 10000));
		assert_int_equal(c.in_order, 10000);
		struct link_stats stats;
		link_get_stats(c.link, &stats);
		assert_int_equal(stats.received_messages, 10000);
		assert_int_equal(stats.sent_messages, 10000);
		assert_int_equal(stats.dropped_messages, 0);
		assert_int_equal(stats.outstanding, 0);
		assert_int_equal(stats.waiting, 0);
		if (qos)
			for (size_t i = 0; i < 64; i++) {
				assert_int_equal(c.published[i].token, i + 1);
				assert_int_equal(c.published[i].reason, 0);
			}
		client_close(&c, true);
	}
	broker_end(&b);
}

static void outstanding_publishes_are_bounded(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client c = {0};
	struct link_stats stats;

	(void)state;
	config.outstanding_max = 4;
	config.outbox_max = 10;
	client_open(&c, &config);
	assert_int_equal(link_publish(c.link, "t", bytes_of("x", 1), 1, false, 1), ERR_CLOSED);
	connected(&c);
	for (uint64_t i = 1; i <= 14; i++)
		publish(&c, "t", "x", 1, false, i);
	link_get_stats(c.link, &stats);
	assert_int_equal(stats.outstanding, 4);
	assert_int_equal(stats.waiting, 10);
	assert_int_equal(link_publish(c.link, "t", bytes_of("x", 1), 1, false, 15), ERR_FULL);
	assert_int_equal(link_publish(c.link, "t", bytes_of("x", 1), 0, false, 0), ERR_FULL);
	assert_true(until(c.published_count == 14, 5000));
	for (size_t i = 0; i < 14; i++) {
		assert_int_equal(c.published[i].token, i + 1);
		assert_int_equal(c.published[i].reason, 0);
	}
	assert_int_equal(link_publish(c.link, "a/#", bytes_of("x", 1), 0, false, 0), ERR_RANGE);
	client_close(&c, true);
	broker_end(&b);
}

static void retained_message_arrives_as_retained(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client c = {0};

	(void)state;
	client_open(&c, &config);
	connected(&c);
	publish(&c, "kept", "old", 1, true, 1);
	assert_true(until(c.published_count == 1, 5000));
	subscribe(&c, "kept", 1);
	assert_true(until(c.messages == 1, 5000));
	assert_true(c.retained);
	assert_string_equal(c.topic, "kept");
	assert_string_equal(c.payload, "old");
	publish(&c, "kept", "new", 1, true, 2);
	assert_true(until(c.messages == 2, 5000));
	assert_false(c.retained);
	// Unsubscribed means silence: what comes after a marker on another topic would be late.
	const char *filter = "kept";
	assert_int_equal(link_unsubscribe(c.link, &filter, 1), ERR_OK);
	publish(&c, "kept", "unheard", 1, true, 3);
	subscribe(&c, "marker", 1);
	publish(&c, "marker", "m", 1, false, 4);
	assert_true(until(c.messages == 3, 5000));
	assert_string_equal(c.topic, "marker");
	client_close(&c, true);
	broker_end(&b);
}

static void will_is_published_only_without_a_goodbye(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("watcher", &at, 1);
	struct client watcher = {0}, polite = {0}, lost = {0};

	(void)state;
	client_open(&watcher, &config);
	connected(&watcher);
	subscribe(&watcher, "bye/#", 1);
	config.client_id = "mortal";
	config.will_topic = "bye/mortal";
	config.will_payload = bytes_of("gone\0dead", 9);
	config.will_qos = 1;
	client_open(&polite, &config);
	connected(&polite);
	publish(&polite, "bye/polite", "last word", 1, false, 0);
	client_close(&polite, true);
	assert_true(until(watcher.messages == 1, 5000));
	assert_string_equal(watcher.payload, "last word");
	client_open(&lost, &config);
	connected(&lost);
	client_close(&lost, false);
	assert_true(until(watcher.messages == 2, 5000));
	assert_string_equal(watcher.topic, "bye/mortal");
	assert_int_equal(watcher.payload_size, 9);
	client_close(&watcher, true);
	broker_end(&b);
}

static void refused_publish_and_subscribe_say_why(void **state)
{
	struct broker b = broker_start("", "topic write allowed/#\ntopic read allowed/#\n");
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client c = {0};
	const char *filters[] = {"allowed/a", "allowed/b"}, *bad = "a/#/b";

	(void)state;
	client_open(&c, &config);
	connected(&c);
	publish(&c, "forbidden", "x", 1, false, 7);
	publish(&c, "allowed/x", "x", 1, false, 8);
	assert_true(until(c.published_count == 2, 5000));
	assert_int_equal(c.published[0].token, 7);
	assert_int_equal(c.published[0].reason, 135);
	assert_string_equal(link_reason_text(135), "not authorized");
	assert_int_equal(c.published[1].reason, 0);
	assert_int_equal(link_subscribe(c.link, filters, 2, 1, 9), ERR_OK);
	assert_true(until(c.subscribed == 1, 5000));
	assert_int_equal(c.reasons_count, 2);
	assert_int_equal(c.reasons[0], 1);
	assert_int_equal(c.reasons[1], 1);
	// Mosquitto ends a connection that subscribes to nonsense, and says so.
	assert_int_equal(link_subscribe(c.link, &bad, 1, 1, 10), ERR_OK);
	assert_true(until(c.downs == 1, 5000));
	assert_non_null(strstr(c.why, "malformed packet (129)"));
	client_close(&c, true);
	broker_end(&b);
}

static void refused_connect_says_why(void **state)
{
	struct broker b = broker_start("allow_anonymous false", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client c = {0}, nobody = {0};

	(void)state;
	client_open(&c, &config);
	assert_true(until(c.downs == 1, 5000));
	assert_non_null(strstr(c.why, "refused us: not authorized (135)"));
	client_close(&c, true);
	broker_kill(&b, SIGTERM);
	config.once = true;
	client_open(&nobody, &config);
	assert_true(until(nobody.downs == 1, 5000));
	assert_int_equal(nobody.retry_ms, -1);
	assert_non_null(strstr(nobody.why, "connection refused"));
	client_close(&nobody, true);
	broker_end(&b);
}

static struct link_config config_tls(const char *id, const struct link_address *at, size_t count)
{
	static char ca[96], cert[96], key[96];
	struct link_config config = config_of(id, at, count);

	snprintf(ca, sizeof(ca), "%s/ca.crt", certs);
	snprintf(cert, sizeof(cert), "%s/client.crt", certs);
	snprintf(key, sizeof(key), "%s/client.key", certs);
	config.tls = true;
	config.ca_file = ca;
	config.cert_file = cert;
	config.key_file = key;
	return config;
}

static void tls_carries_messages_by_name_and_by_address(void **state)
{
	struct broker b = broker_start_tls("");
	struct link_address at = {"localhost", b.port, LINK_VIA_NAME};
	struct link_config config = config_tls("client", &at, 1);
	size_t size = 300000;
	char *large = malloc(size);

	(void)state;
	memset(large, 'x', size);
	for (int by_name = 1; by_name >= 0; by_name--) {
		struct client c = {0};
		at.host = by_name ? "localhost" : "127.0.0.1";
		client_open(&c, &config);
		connected(&c);
		subscribe(&c, "t", 1);
		for (uint64_t i = 1; i <= 20; i++)
			assert_int_equal(
				link_publish(c.link, "t", bytes_of(large, size), 1, false, i),
				ERR_OK);
		assert_true(until(c.published_count == 20 && c.messages == 20, 10000));
		assert_int_equal(c.payload_size, size);
		client_close(&c, true);
	}
	free(large);
	broker_end(&b);
}

static void assert_tls_refused(const struct link_config *config, const char *why)
{
	struct client c = {0};

	client_open(&c, config);
	if (!until(c.downs == 1 || c.ups == 1, 8000) || c.ups > 0)
		fail_msg("not '%s': ups %u, downs %u, '%s'", why, c.ups, c.downs, c.why);
	if (!strstr(c.why, why))
		fail_msg("'%s' does not say '%s'", c.why, why);
	client_close(&c, true);
}

// Mosquitto's tls_version is a minimum; this one speaks nothing newer.
static struct broker tls_1_2_start(void)
{
	struct broker b = {.port = free_port()};
	char port[8];

	snprintf(b.dir, sizeof(b.dir), "/tmp/helio-link-XXXXXX");
	assert_non_null(mkdtemp(b.dir));
	snprintf(port, sizeof(port), "%u", b.port);
	b.pid = fork();
	if (b.pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		if (chdir(certs) == 0)
			execlp("openssl", "openssl", "s_server", "-accept", port, "-cert",
				"broker.crt", "-key", "broker.key", "-www", "-tls1_2",
				(char *)NULL);
		_exit(127);
	}
	left[left_count++] = b;
	for (int i = 0; i < 1000 && !answers(b.port); i++)
		usleep(5000);
	return b;
}

static void tls_refuses_what_it_cannot_trust(void **state)
{
	struct broker b = broker_start_tls(""), old = tls_1_2_start();
	struct link_address at = {"127.0.0.1", b.port, LINK_VIA_IP};
	struct link_config config = config_tls("client", &at, 1);
	const char *trusted = config.ca_file;
	char path[96];

	(void)state;
	snprintf(path, sizeof(path), "%s/stranger.crt", certs);
	config.once = true;
	config.ca_file = path;
	assert_tls_refused(&config, "certificate verify failed");
	config.ca_file = trusted;
	at.host = "127.1"; // the same machine, by a name that no certificate carries
	assert_tls_refused(&config, "does not carry the name '127.1'");
	at.host = "127.0.0.1";
	config.cert_file = config.key_file = NULL;
	assert_tls_refused(&config, "not accept our certificate");
	config = config_tls("client", &at, 1);
	config.once = true;
	at.port = old.port;
	assert_tls_refused(&config, "TLS with");
	at.port = free_port();
	assert_tls_refused(&config, "connection refused");
	config.ca_file = NULL;
	struct mqtt_link *none = NULL;
	assert_int_equal(link_new(&loop, &config, &events, NULL, &none), ERR_RANGE);
	broker_end(&b);
	broker_end(&old);
}

static void addresses_are_walked_name_first(void **state)
{
	struct broker b = broker_start("", NULL);
	uint16_t dead = free_port();
	struct link_address at[] = {{"nowhere.invalid", b.port, LINK_VIA_NAME},
		{"127.0.0.1", dead, LINK_VIA_NAME}, {"127.0.0.1", b.port, LINK_VIA_IP}};
	struct link_config config = config_of("one", at, 3);
	struct client c = {0};
	char peer[64];

	(void)state;
	client_open(&c, &config);
	assert_true(until(c.downs == 1, 8000));
	assert_non_null(strstr(c.why, "nowhere.invalid d")); // does, or did, not resolve
	assert_int_equal(c.retry_ms, 0);
	assert_true(until(c.ups == 1, 8000));
	assert_int_equal(c.downs, 2);
	assert_int_equal(c.via, LINK_VIA_IP);
	snprintf(peer, sizeof(peer), "127.0.0.1:%u", b.port);
	assert_string_equal(link_peer(c.link), peer);
	// After a good connection the walk begins at the name again.
	broker_kill(&b, SIGKILL);
	assert_true(until(c.downs == 3, 5000));
	assert_string_equal(link_peer(c.link), "");
	assert_true(until(c.downs == 4, 8000));
	assert_non_null(strstr(c.why, "nowhere.invalid"));
	client_close(&c, true);
	broker_end(&b);
}

static void restarted_broker_is_found_again(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client c = {.subscribe_at_up = "t"};

	(void)state;
	config.outstanding_max = 2;
	client_open(&c, &config);
	assert_true(until(c.subscribed == 1, 5000));
	kill(b.pid, SIGSTOP);
	for (uint64_t i = 1; i <= 5; i++)
		publish(&c, "t", "x", 1, false, i);
	broker_kill(&b, SIGKILL);
	assert_true(until(c.downs == 1, 5000));
	assert_false(link_is_up(c.link));
	assert_non_null(strstr(c.why, "broke"));
	assert_in_range(c.retry_ms, 0, 100);
	assert_int_equal(c.published_count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(c.published[i].token, i + 1);
		assert_int_equal(c.published[i].reason, -1);
	}
	assert_true(until(c.downs >= 4, 5000)); // refused meanwhile
	assert_in_range(c.retry_ms, 0, 100);
	broker_run(&b);
	left[0].pid = b.pid;
	assert_true(until(c.ups == 2 && c.subscribed == 2, 5000));
	// Nothing of the old connection leaves through the new one.
	publish(&c, "t", "first", 1, false, 9);
	assert_true(until(c.messages == 1, 5000));
	assert_string_equal(c.payload, "first");
	client_close(&c, true);
	broker_end(&b);
}

static void stopped_broker_is_noticed(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client c = {0};

	(void)state;
	config.keepalive_s = 4;
	client_open(&c, &config);
	connected(&c);
	kill(b.pid, SIGSTOP);
	uint64_t from = uv_hrtime();
	publish(&c, "t", "x", 1, false, 1);
	assert_true(until(c.downs == 1, 8000));
	assert_in_range((uv_hrtime() - from) / 1000000, 1000, 6000);
	assert_int_equal(c.published[0].reason, -1);
	kill(b.pid, SIGCONT);
	assert_true(until(c.ups == 2, 5000));
	client_close(&c, true);
	broker_end(&b);
}

static void full_inbox_drops_and_counts(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("hearer", &at, 1);
	struct client hearer = {0}, talker = {0};
	struct link_stats stats;

	(void)state;
	config.inbox_messages = 100;
	client_open(&hearer, &config);
	connected(&hearer);
	subscribe(&hearer, "t", 0);
	config.client_id = "talker";
	client_open(&talker, &config);
	connected(&talker);
	hearer.stay_away_ms = 300;
	for (int i = 0; i < 2000; i++)
		publish(&talker, "t", "x", 0, false, 0);
	publish(&talker, "t", "the end", 1, false, 1);
	assert_true(until(talker.published_count == 1, 5000));
	link_get_stats(hearer.link, &stats);
	assert_true(until((link_get_stats(hearer.link, &stats),
				  stats.received_messages + stats.dropped_messages == 2001),
		5000));
	assert_true(stats.dropped_messages > 0);
	assert_true(stats.received_messages >= 100);
	// By bytes too, and events still come: nothing but messages is dropped.
	client_close(&hearer, true);
	client_close(&talker, true);
	broker_end(&b);
}

static void close_is_safe_at_any_time(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at[] = {local(b.port), {"192.0.2.1", 1883, LINK_VIA_IP},
		{"nowhere.invalid", 1883, LINK_VIA_NAME}};

	(void)state;
	// Before anything, while resolving, while connecting into the void, and after 0..20 turns.
	for (size_t which = 0; which < 3; which++) {
		struct link_config config = config_of("one", &at[which], 1);
		for (int turns = 0; turns < 20; turns += which ? 10 : 1) {
			struct client c = {.subscribe_at_up = "t"};
			client_open(&c, &config);
			for (int i = 0; i < turns; i++)
				uv_run(&loop, UV_RUN_NOWAIT);
			client_close(&c, turns % 2 == 0);
			uv_run(&loop, UV_RUN_NOWAIT);
		}
	}
	// With publishes under way to a broker that does not answer: a second at most.
	struct link_config config = config_of("one", &at[0], 1);
	struct client c = {0};
	client_open(&c, &config);
	connected(&c);
	kill(b.pid, SIGSTOP);
	for (uint64_t i = 1; i <= 40; i++)
		publish(&c, "t", "x", 1, false, i);
	uint64_t from = uv_hrtime();
	client_close(&c, true);
	while (uv_run(&loop, UV_RUN_ONCE)) {
	}
	assert_in_range((uv_hrtime() - from) / 1000000, 900, 2000);
	kill(b.pid, SIGCONT);
	broker_end(&b);
}

static void before(void *ctx)
{
	struct client *c = ctx;

	assert_int_equal(c->turns_begun, c->turns_ended);
	c->turns_begun++;
}

static void after(void *ctx)
{
	struct client *c = ctx;

	c->turns_ended++;
	assert_int_equal(c->turns_begun, c->turns_ended);
}

static void turns_are_bounded_and_balanced(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client c = {0};

	(void)state;
	client_open(&c, &config);
	link_set_turn(c.link, 10, before, after);
	connected(&c);
	subscribe(&c, "t", 1);
	unsigned turns = c.turns_begun;
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(
			link_publish(c.link, "t", bytes_of(&i, sizeof(i)), 0, false, 0), ERR_OK);
	assert_true(until(c.messages == 500, 5000));
	assert_true(c.turns_begun - turns >= 50);
	// A link may be closed by its own message, and the turn that began is ended.
	c.close_in_message = true;
	publish(&c, "t", "end", 1, false, 0);
	assert_true(until(c.messages == 501, 5000));
	assert_int_equal(c.turns_begun, c.turns_ended);
	broker_end(&b);
}

// Sockets of this process with that remote port: how many, and how many with TCP_NODELAY and
// FD_CLOEXEC.
static void sockets_count(uint16_t port, int *found, int *right)
{
	DIR *dir = opendir("/proc/self/fd");

	*found = *right = 0;
	for (struct dirent *e; (e = readdir(dir));) {
		struct sockaddr_in peer;
		socklen_t size = sizeof(peer), one = sizeof(int);
		int fd = atoi(e->d_name), on = 0;
		if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0 ||
			ntohs(peer.sin_port) != port)
			continue;
		assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &one), 0);
		*found += 1;
		*right += on != 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
	}
	closedir(dir);
}

static void nodelay_is_set_on_each_socket(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client one = {0}, two = {0};
	int found, right;

	(void)state;
	client_open(&one, &config);
	config.client_id = "two";
	client_open(&two, &config);
	connected(&one);
	connected(&two);
	sockets_count(b.port, &found, &right);
	assert_int_equal(found, 2);
	assert_int_equal(right, 2);
	client_close(&one, true);
	client_close(&two, true);
	broker_end(&b);
}

static void second_link_connects_at_once(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	struct client one = {0}, two = {0};

	(void)state;
	client_open(&one, &config);
	connected(&one);
	subscribe(&one, "t", 1);
	// Paho is about to poll the first socket for a second.
	config.client_id = "two";
	uint64_t from = uv_hrtime();
	client_open(&two, &config);
	connected(&two);
	assert_true((uv_hrtime() - from) / 1000000 < 500);
	client_close(&one, true);
	client_close(&two, true);
	broker_end(&b);
}

// ---- a broker of raw bytes

struct raw {
	int listener, fd;
	uint16_t port;
	pthread_t thread;
	const uint8_t *say; // after CONNECT was read
	size_t size;
	bool swallow; // reads all that comes, but not at once
	atomic_size_t swallowed;
	atomic_bool end;
};

static void *raw_run(void *arg)
{
	struct raw *r = arg;
	uint8_t connect_packet[256];

	r->fd = accept(r->listener, NULL, NULL);
	if (read(r->fd, connect_packet, sizeof(connect_packet)) > 0 && r->size)
		(void)!write(r->fd, r->say, r->size);
	while (!atomic_load(&r->end)) {
		static uint8_t trash[65536];
		usleep(2000);
		ssize_t n = r->swallow ? recv(r->fd, trash, sizeof(trash), MSG_DONTWAIT) : 0;
		for (; n > 0; n = recv(r->fd, trash, sizeof(trash), MSG_DONTWAIT))
			atomic_fetch_add(&r->swallowed, (size_t)n);
	}
	close(r->fd);
	return NULL;
}

static void raw_start(struct raw *r, const uint8_t *say, size_t size)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(a);

	int small = 65536;

	r->listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(r->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(bind(r->listener, (struct sockaddr *)&a, length), 0);
	assert_int_equal(listen(r->listener, 4), 0);
	assert_int_equal(getsockname(r->listener, (struct sockaddr *)&a, &length), 0);
	r->port = ntohs(a.sin_port);
	r->say = say;
	r->size = size;
	atomic_store(&r->end, false);
	assert_int_equal(pthread_create(&r->thread, NULL, raw_run, r), 0);
}

static void raw_stop(struct raw *r)
{
	atomic_store(&r->end, true);
	shutdown(r->listener, SHUT_RDWR);
	pthread_join(r->thread, NULL);
	close(r->listener);
}

#define CONNACK 0x20, 0x03, 0x00, 0x00, 0x00

static void topic_with_nul_is_delivered_whole(void **state)
{
	static const uint8_t say[] = {CONNACK, 0x30, 11, 0, 5, 'a', '/', 0, 'b', 'c', 0, 'h', 'e',
		'y', 0x30, 7, 0, 2, 0xc0, 0xaf, 0, 'y', 'o'};
	struct raw r;
	struct client c = {0};

	(void)state;
	raw_start(&r, say, sizeof(say));
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	client_open(&c, &config);
	assert_true(until(c.messages >= 1 || c.downs > 0, 5000));
	assert_int_equal(c.messages >= 1, 1);
	if (c.messages == 1) {
		assert_int_equal(c.topic_length, 5);
		assert_memory_equal(c.topic, "a/\0bc", 5);
		assert_string_equal(c.payload, "hey");
	}
	client_close(&c, true);
	raw_stop(&r);
}

static void disconnect_of_the_broker_is_told(void **state)
{
	static const uint8_t say[] = {CONNACK, 0xe0, 0x02, 0x8b, 0x00};
	struct raw r;
	struct client c = {0};

	(void)state;
	raw_start(&r, say, sizeof(say));
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	client_open(&c, &config);
	assert_true(until(c.downs >= 1, 5000));
	assert_int_equal(c.ups, 1);
	assert_non_null(strstr(c.why, "ended the connection: server is shutting down (139)"));
	client_close(&c, true);
	raw_stop(&r);
}

static void silent_peer_is_given_up(void **state)
{
	struct raw r;
	struct client c = {0};

	(void)state;
	raw_start(&r, NULL, 0);
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	uint64_t from = uv_hrtime();
	client_open(&c, &config);
	assert_true(until(c.downs == 1, 6000));
	assert_in_range((uv_hrtime() - from) / 1000000, 2900, 3500);
	assert_non_null(strstr(c.why, "did not answer within 3 s"));
	client_close(&c, true);
	raw_stop(&r);
}

static void limits_of_the_broker_are_kept(void **state)
{
	// Receive Maximum 3, Maximum Packet Size 100.
	static const uint8_t say[] = {
		0x20, 11, 0x00, 0x00, 8, 0x21, 0x00, 0x03, 0x27, 0x00, 0x00, 0x00, 0x64};
	struct raw r;
	struct client c = {0};
	struct link_stats stats;
	char large[100];

	(void)state;
	raw_start(&r, say, sizeof(say));
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	client_open(&c, &config);
	connected(&c);
	memset(large, 'x', sizeof(large));
	assert_int_equal(link_publish(c.link, "t", bytes_of(large, 100), 1, false, 1), ERR_RANGE);
	for (uint64_t i = 1; i <= 5; i++)
		publish(&c, "t", "x", 1, false, i);
	link_get_stats(c.link, &stats);
	assert_int_equal(stats.outstanding, 2);
	assert_int_equal(stats.waiting, 3);
	raw_stop(&r);
	assert_true(until(c.downs == 1, 5000));
	assert_int_equal(c.published_count, 5);
	client_close(&c, true);
}

// A large publish to a slow peer is written in parts. Paho alone sleeps about a second over each.
static void large_publishes_to_a_slow_peer_flow(void **state)
{
	static const uint8_t say[] = {CONNACK};
	struct raw r = {.swallow = true};
	struct client c = {0};
	size_t size = 1024 * 1024;
	char *large = calloc(1, size);

	(void)state;
	raw_start(&r, say, sizeof(say));
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	config.outstanding_max = 4;
	client_open(&c, &config);
	connected(&c);
	uint64_t from = uv_hrtime();
	for (uint64_t i = 1; i <= 12; i++)
		assert_int_equal(
			link_publish(c.link, "t", bytes_of(large, size), 0, false, i), ERR_OK);
	assert_true(until(c.published_count == 12, 10000));
	assert_true((uv_hrtime() - from) / 1000000 < 2000);
	assert_true(until(atomic_load(&r.swallowed) > 12 * size, 5000));
	client_close(&c, true);
	raw_stop(&r);
	free(large);
}

// Paho loses what waits behind a blocked socket when its handle is destroyed.
static void nothing_is_lost_of_what_waits_behind_a_blocked_socket(void **state)
{
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	struct link_config config = config_of("one", &at, 1);
	size_t size = 4000000;
	char *large = calloc(1, size);
	struct mallinfo2 before = {0};

	(void)state;
	config.outstanding_max = 4;
	for (int round = 0; round < 4; round++) {
		struct client c = {0};
		client_open(&c, &config);
		connected(&c);
		kill(b.pid, SIGSTOP);
		for (uint64_t i = 1; i <= 4; i++)
			assert_int_equal(
				link_publish(c.link, "t", bytes_of(large, size), 1, false, i),
				ERR_OK);
		assert_false(until(c.published_count > 0, 50));
		client_close(&c, false);
		while (uv_run(&loop, UV_RUN_ONCE)) {
		}
		kill(b.pid, SIGCONT);
		if (round == 0)
			before = mallinfo2();
	}
	struct mallinfo2 now = mallinfo2();
	assert_true(now.uordblks + now.hblkhd < before.uordblks + before.hblkhd + 1000000);
	free(large);
	broker_end(&b);
}

static void route_tells_the_local_address(void **state)
{
	uint8_t address[16];
	size_t size = 0;

	(void)state;
	assert_int_equal(route_local_address("127.0.0.1", 1883, address, &size), ERR_OK);
	assert_int_equal(size, 4);
	assert_memory_equal(address, "\x7f\0\0\1", 4);
	assert_int_equal(
		route_local_address("nowhere.invalid", 1883, address, &size), ERR_NOT_FOUND);
}

static void wrong_settings_are_refused(void **state)
{
	struct link_address at = local(1883);
	struct link_config config = config_of("one", &at, 1);
	struct mqtt_link *l = NULL;

	(void)state;
	config.connect_timeout_s = 2;
	assert_int_equal(link_new(&loop, &config, &events, NULL, &l), ERR_RANGE);
	config = config_of("one", &at, 0);
	assert_int_equal(link_new(&loop, &config, &events, NULL, &l), ERR_RANGE);
	config = config_of("", &at, 1);
	assert_int_equal(link_new(&loop, &config, &events, NULL, &l), ERR_RANGE);
	at.port = 0;
	config = config_of("one", &at, 1);
	assert_int_equal(link_new(&loop, &config, &events, NULL, &l), ERR_RANGE);
}

// ---- certificates

static void run(const char *const *argv)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		if (chdir(certs) == 0)
			execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void make_ca(const char *name)
{
	char key[64], crt[64];

	snprintf(key, sizeof(key), "%s.key", name);
	snprintf(crt, sizeof(crt), "%s.crt", name);
	run((const char *const[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
		"ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", crt, "-subj",
		"/CN=test ca", "-days", "30", NULL});
}

static void make_certificate(const char *name)
{
	char key[64], csr[64], crt[64], subject[64];

	snprintf(key, sizeof(key), "%s.key", name);
	snprintf(csr, sizeof(csr), "%s.csr", name);
	snprintf(crt, sizeof(crt), "%s.crt", name);
	snprintf(subject, sizeof(subject), "/CN=%s", name);
	run((const char *const[]){"openssl", "req", "-newkey", "ec", "-pkeyopt",
		"ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr, "-subj", subject,
		NULL});
	run((const char *const[]){"openssl", "x509", "-req", "-in", csr, "-CA", "ca.crt", "-CAkey",
		"ca.key", "-CAcreateserial", "-days", "30", "-extfile", "names", "-out", crt,
		NULL});
}

static int group_open(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	// A proxy of the environment must not carry MQTT.
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("https_proxy", "http://127.0.0.1:1", 1);
	link_library_init();
	snprintf(certs, sizeof(certs), "/tmp/helio-certs-XXXXXX");
	if (!mkdtemp(certs))
		return -1;
	file_put(certs, "names", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
	make_ca("ca");
	make_ca("stranger");
	make_certificate("broker");
	make_certificate("client");
	return 0;
}

static int group_done(void **state)
{
	(void)state;
	return tree_remove(certs) == ERR_OK ? 0 : -1;
}

#define T(f) cmocka_unit_test_setup_teardown(f, loop_open, loop_done)

// An argument chooses tests by name, with *.
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(ten_thousand_messages_arrive_in_order),
		T(outstanding_publishes_are_bounded),
		T(retained_message_arrives_as_retained),
		T(will_is_published_only_without_a_goodbye),
		T(refused_publish_and_subscribe_say_why),
		T(refused_connect_says_why),
		T(tls_carries_messages_by_name_and_by_address),
		T(tls_refuses_what_it_cannot_trust),
		T(addresses_are_walked_name_first),
		T(restarted_broker_is_found_again),
		T(stopped_broker_is_noticed),
		T(full_inbox_drops_and_counts),
		T(close_is_safe_at_any_time),
		T(turns_are_bounded_and_balanced),
		T(nodelay_is_set_on_each_socket),
		T(second_link_connects_at_once),
		T(topic_with_nul_is_delivered_whole),
		T(disconnect_of_the_broker_is_told),
		T(silent_peer_is_given_up),
		T(limits_of_the_broker_are_kept),
		T(large_publishes_to_a_slow_peer_flow),
		T(nothing_is_lost_of_what_waits_behind_a_blocked_socket),
		T(route_tells_the_local_address),
		T(wrong_settings_are_refused),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, group_open, group_done);
}
