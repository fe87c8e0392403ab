// The link against a real Mosquitto: what it does when all is well, and what it refuses.
#include "link_helper.h"

#include <dirent.h>
#include <netinet/tcp.h>

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
	struct broker b = {.port = port_free()};
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
	for (int i = 0; i < PATIENCE_MS / 5 && !port_answers(b.port); i++)
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
	at.port = port_free();
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
	uint16_t dead = port_free();
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
		int fd = (int)strtol(e->d_name, NULL, 10), on = 0;
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
	uint64_t least = UINT64_MAX;

	(void)state;
	client_open(&one, &config);
	connected(&one);
	subscribe(&one, "t", 1);
	// Paho is about to poll the first socket for a second. The least of several times counts.
	config.client_id = "two";
	for (int i = 0; i < 8 && least >= 500; i++) {
		if (i)
			client_close(&two, true);
		two = (struct client){0};
		uint64_t from = uv_hrtime();
		client_open(&two, &config);
		connected(&two);
		uint64_t ms = (uv_hrtime() - from) / 1000000;
		least = ms < least ? ms : least;
	}
	assert_true(least < 500);
	client_close(&one, true);
	client_close(&two, true);
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
		T(turns_are_bounded_and_balanced),
		T(nodelay_is_set_on_each_socket),
		T(second_link_connects_at_once),
		T(route_tells_the_local_address),
		T(wrong_settings_are_refused),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, group_open, group_done);
}
