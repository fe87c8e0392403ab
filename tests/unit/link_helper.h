// What the tests of the link share: a real Mosquitto on loopback with its own port and folder, a
// client that writes down what it is told, a loop, certificates. Tests wait for facts, never for
// a time.
#ifndef HELIO_TESTS_UNIT_LINK_HELPER_H
#define HELIO_TESTS_UNIT_LINK_HELPER_H

#include "helper.h"
#include "port.h"

#include "proto/mqtt_link.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

// However busy the machine is, what is waited for comes.
#define PATIENCE_MS 60000

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

static inline void broker_run(struct broker *b)
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
	for (int i = 0; i < PATIENCE_MS / 5 && !port_answers(b->port); i++)
		usleep(5000);
	assert_true(port_answers(b->port));
}

static inline void file_put(const char *dir, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

// more: further lines of mosquitto.conf; acl: NULL for none.
static inline struct broker broker_start(const char *more, const char *acl)
{
	struct broker b = {.port = port_free()};
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

static inline struct broker broker_start_tls(const char *more)
{
	char lines[512];

	snprintf(lines, sizeof(lines),
		"cafile %s/ca.crt\ncertfile %s/broker.crt\nkeyfile %s/broker.key\n"
		"require_certificate true\nuse_identity_as_username true\n%s",
		certs, certs, certs, more);
	return broker_start(lines, NULL);
}

static inline void broker_kill(struct broker *b, int with)
{
	if (b->pid > 0) {
		kill(b->pid, with);
		waitpid(b->pid, NULL, 0);
	}
	b->pid = 0;
}

static inline void broker_end(struct broker *b)
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
	unsigned in_order;  // messages that carried the number expected
	bool stay_for_drop; // in the next message, until another one is dropped
	const char *subscribe_at_up;
	bool close_in_message, closed;
};

static uv_loop_t loop;
static struct client *clients[64];
static size_t clients_count;

static inline void client_close(struct client *c, bool graceful)
{
	c->closed = true;
	for (size_t i = 0; i < clients_count; i++)
		if (clients[i] == c)
			clients[i] = clients[--clients_count];
	link_close(c->link, graceful);
}

static inline void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct client *c = ctx;

	assert_false(c->closed);
	assert_false(session_present);
	c->ups++;
	c->via = via->via;
	if (c->subscribe_at_up)
		assert_int_equal(link_subscribe(c->link, &c->subscribe_at_up, 1, 1, 1), ERR_OK);
}

static inline void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct client *c = ctx;

	assert_false(c->closed);
	c->downs++;
	c->retry_ms = retry_ms;
	snprintf(c->why, sizeof(c->why), "%s", why);
}

static inline void on_message(void *ctx, const struct link_message *m)
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
	struct link_stats stats = {0};
	for (int i = 0; c->stay_for_drop && i < PATIENCE_MS && !stats.dropped_messages; i++) {
		usleep(1000);
		link_get_stats(c->link, &stats);
	}
	c->stay_for_drop = false;
	if (c->close_in_message)
		client_close(c, true);
}

static inline void on_published(void *ctx, uint64_t token, int reason)
{
	struct client *c = ctx;

	assert_false(c->closed);
	if (c->published_count < 64)
		c->published[c->published_count] = (struct heard){token, reason};
	c->published_count++;
}

static inline void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
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

static inline struct link_config config_of(
	const char *id, const struct link_address *addresses, size_t count)
{
	return (struct link_config){.client_id = id,
		.addresses = addresses,
		.address_count = count,
		.keepalive_s = 60,
		.connect_timeout_s = 20, // TLS on a busy machine
		.backoff_min_ms = 10,
		.backoff_max_ms = 100,
		.outstanding_max = 15,
		.outbox_max = 20000};
}

static inline struct link_address local(uint16_t port)
{
	return (struct link_address){"127.0.0.1", port, LINK_VIA_IP};
}

static inline void client_open(struct client *c, const struct link_config *config)
{
	assert_int_equal(link_new(&loop, config, &events, c, &c->link), ERR_OK);
	clients[clients_count++] = c;
}

static inline void on_guard(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

// Runs the loop until the fact holds. False after limit_ms; of a second or more that is how long it
// takes on an idle machine, and PATIENCE_MS at the least are waited.
#define until(fact, limit_ms)                                                                      \
	({                                                                                         \
		bool late_ = false;                                                                \
		uv_timer_t guard_;                                                                 \
		uint64_t limit_ = (limit_ms);                                                      \
		uv_timer_init(&loop, &guard_);                                                     \
		guard_.data = &late_;                                                              \
		if (limit_ >= 1000 && limit_ < PATIENCE_MS)                                        \
			limit_ = PATIENCE_MS;                                                      \
		uv_timer_start(&guard_, on_guard, limit_, 0);                                      \
		while (!(fact) && !late_)                                                          \
			uv_run(&loop, UV_RUN_ONCE);                                                \
		bool held_ = (fact);                                                               \
		uv_close((uv_handle_t *)&guard_, NULL);                                            \
		uv_run(&loop, UV_RUN_NOWAIT);                                                      \
		held_;                                                                             \
	})

#define connected(c) assert_true(until((c)->ups > 0, 5000))

static inline void subscribe(struct client *c, const char *filter, int qos)
{
	unsigned before = c->subscribed;

	assert_int_equal(link_subscribe(c->link, &filter, 1, qos, 1), ERR_OK);
	assert_true(until(c->subscribed > before, 5000));
	assert_int_equal(c->reasons[0], qos);
}

static inline void publish(struct client *c, const char *topic, const char *text, int qos,
	bool retained, uint64_t token)
{
	assert_int_equal(
		link_publish(c->link, topic, bytes_of(text, strlen(text)), qos, retained, token),
		ERR_OK);
}

static inline int loop_open(void **state)
{
	(void)state;
	return uv_loop_init(&loop);
}

// Every handle is closed and every link freed, or the loop does not end.
static inline int loop_done(void **state)
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
	uv_timer_start(&guard, on_guard, PATIENCE_MS, 0);
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
static inline struct link_config config_tls(
	const char *id, const struct link_address *at, size_t count)
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

// ---- certificates

static inline void run(const char *const *argv)
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

static inline void make_ca(const char *name)
{
	char key[64], crt[64];

	snprintf(key, sizeof(key), "%s.key", name);
	snprintf(crt, sizeof(crt), "%s.crt", name);
	run((const char *const[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
		"ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", crt, "-subj",
		"/CN=test ca", "-days", "30", NULL});
}

static inline void make_certificate(const char *name)
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

static inline int group_open(void **state)
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

static inline int group_done(void **state)
{
	(void)state;
	return tree_remove(certs) == ERR_OK ? 0 : -1;
}
#define T(f) cmocka_unit_test_setup_teardown(f, loop_open, loop_done)

#endif
