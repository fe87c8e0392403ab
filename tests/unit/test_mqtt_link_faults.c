// The link against brokers that stop, vanish, flood, and say what Mosquitto is too polite to say.
#include "link_helper.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>

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
	assert_in_range((uv_hrtime() - from) / 1000000, 1000, 30000); // by keepalive, not by TCP
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
	config.inbox_messages = 20; // 64 are on their way while the hearer stays away
	client_open(&hearer, &config);
	connected(&hearer);
	subscribe(&hearer, "t", 0);
	config.client_id = "talker";
	client_open(&talker, &config);
	connected(&talker);
	hearer.stay_for_drop = true;
	for (int i = 0; i < 2000; i++)
		publish(&talker, "t", "x", 0, false, 0);
	publish(&talker, "t", "the end", 1, false, 1);
	assert_true(until(talker.published_count == 1, 5000));
	link_get_stats(hearer.link, &stats);
	assert_true(until((link_get_stats(hearer.link, &stats),
				  stats.received_messages + stats.dropped_messages == 2001),
		5000));
	assert_true(stats.dropped_messages > 0);
	assert_true(stats.received_messages >= 20);
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
	assert_in_range((uv_hrtime() - from) / 1000000, 900, 20000); // not for ever
	kill(b.pid, SIGCONT);
	broker_end(&b);
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

static void assert_topic_delivered(
	const uint8_t *say, size_t size, const char *topic, size_t length)
{
	struct raw r = {0};
	struct client c = {0};

	raw_start(&r, say, size);
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	client_open(&c, &config);
	assert_true(until(c.messages == 1 || c.downs > 0, 5000));
	assert_int_equal(c.messages, 1);
	assert_int_equal(c.topic_length, length);
	assert_memory_equal(c.topic, topic, length);
	assert_string_equal(c.payload, "hey");
	client_close(&c, true);
	raw_stop(&r);
}

// The router refuses them; it has to see them whole for that.
static void topics_that_are_no_topics_are_delivered_whole(void **state)
{
	static const uint8_t nul[] = {
		CONNACK, 0x30, 11, 0, 5, 'a', '/', 0, 'b', 'c', 0, 'h', 'e', 'y'};
	static const uint8_t latin[] = {CONNACK, 0x30, 9, 0, 3, 'a', 0xc0, 0xaf, 0, 'h', 'e', 'y'};
	static const uint8_t empty[] = {CONNACK, 0x30, 6, 0, 0, 0, 'h', 'e', 'y'};

	(void)state;
	assert_topic_delivered(nul, sizeof(nul), "a/\0bc", 5);
	assert_topic_delivered(latin, sizeof(latin), "a\xc0\xaf", 3);
	assert_topic_delivered(empty, sizeof(empty), "", 0);
}

static void disconnect_of_the_broker_is_told(void **state)
{
	static const uint8_t say[] = {CONNACK, 0xe0, 0x02, 0x8b, 0x00};
	struct raw r = {0};
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
	struct raw r = {0};
	struct client c = {0};

	(void)state;
	raw_start(&r, NULL, 0);
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	config.connect_timeout_s = 3;
	uint64_t from = uv_hrtime();
	client_open(&c, &config);
	assert_true(until(c.downs == 1, 6000));
	assert_in_range((uv_hrtime() - from) / 1000000, 2900, 30000);
	assert_non_null(strstr(c.why, "did not answer within 3 s"));
	client_close(&c, true);
	raw_stop(&r);
}

static void limits_of_the_broker_are_kept(void **state)
{
	// Receive Maximum 3, Maximum Packet Size 100.
	static const uint8_t say[] = {
		0x20, 11, 0x00, 0x00, 8, 0x21, 0x00, 0x03, 0x27, 0x00, 0x00, 0x00, 0x64};
	struct raw r = {0};
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

#define LARGE ((size_t)1024 * 1024)

// How long twelve large publishes take to a peer that reads now and then.
static uint64_t large_publishes_ms(const char *large)
{
	static const uint8_t say[] = {CONNACK};
	struct raw r = {.swallow = true};
	struct client c = {0};

	raw_start(&r, say, sizeof(say));
	struct link_address at = local(r.port);
	struct link_config config = config_of("one", &at, 1);
	config.outstanding_max = 4;
	client_open(&c, &config);
	connected(&c);
	uint64_t from = uv_hrtime();
	for (uint64_t i = 1; i <= 12; i++)
		assert_int_equal(
			link_publish(c.link, "t", bytes_of(large, LARGE), 0, false, i), ERR_OK);
	assert_true(until(c.published_count == 12, 10000));
	uint64_t took_ms = (uv_hrtime() - from) / 1000000;
	assert_true(until(atomic_load(&r.swallowed) > 12 * LARGE, 5000));
	client_close(&c, true);
	raw_stop(&r);
	return took_ms;
}

// A large publish to a slow peer is written in parts. Paho alone sleeps about a second over each.
// What the machine does beside it only adds: the least of several times counts.
static void large_publishes_to_a_slow_peer_flow(void **state)
{
	char *large = calloc(1, LARGE);
	uint64_t least = UINT64_MAX;

	(void)state;
	for (int i = 0; i < 8 && least >= 2000; i++) {
		uint64_t ms = large_publishes_ms(large);
		least = ms < least ? ms : least;
	}
	assert_true(least < 2000);
	free(large);
}

// An argument chooses tests by name, with *.
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(restarted_broker_is_found_again),
		T(stopped_broker_is_noticed),
		T(full_inbox_drops_and_counts),
		T(close_is_safe_at_any_time),
		T(nothing_is_lost_of_what_waits_behind_a_blocked_socket),
		T(topics_that_are_no_topics_are_delivered_whole),
		T(disconnect_of_the_broker_is_told),
		T(silent_peer_is_given_up),
		T(limits_of_the_broker_are_kept),
		T(large_publishes_to_a_slow_peer_flow),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, group_open, group_done);
}
