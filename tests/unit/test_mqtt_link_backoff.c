// How long a link rests: growing until a connection has lasted, and never less than the spread of
// its fleet allows.
#include "link_helper.h"

#include <pthread.h>
#include <stdatomic.h>

static void X_7_a_rest_is_drawn_from_the_larger_of_back_off_and_spread(void **state)
{
	static const struct {
		uint32_t min, max, spread, rounds, most;
	} cases[] = {
		{1000, 60000, 0, 0, 1000},
		{1000, 60000, 0, 3, 8000},
		{1000, 60000, 0, 31, 60000},
		{1000, 60000, 0, UINT32_MAX, 60000},
		{1000, 60000, 10000, 0, 10000}, // the first try of 15,000 clients waits, too
		{1000, 60000, 10000, 3, 10000},
		{1000, 60000, 10000, 4, 16000},
		{1000, 60000, 666000, 9, 666000},
		{0, 0, 0, 0, 0},
		{UINT32_MAX, UINT32_MAX, 0, 40, UINT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t most = cases[i].most;
#define REST(random)                                                                               \
	link_rest_ms(cases[i].min, cases[i].max, cases[i].spread, cases[i].rounds, random)
		assert_int_equal(REST(0), 0);
		assert_int_equal(REST(most), most);
		assert_int_equal(REST(most + 1), 0); // every moment as likely as any other
		assert_in_range(REST(UINT64_MAX), 0, most);
	}
}

// 15,000 clients lose their broker at one moment: never more than half as many again in a second
// than it is planned for.
static void X_7_a_fleet_that_draws_its_moments_comes_evenly(void **state)
{
	static uint32_t per_second[11];
	uint64_t random = 88172645463325252u;

	(void)state;
	for (int i = 0; i < 15000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		per_second[link_rest_ms(1000, 60000, 10000, 0, random) / 1000]++;
	}
	for (int s = 0; s < 10; s++)
		assert_in_range(per_second[s], 1350, 1650);
}

// ---- a broker that takes every connection, and ends it after a while

struct fickle {
	int listener;
	uint16_t port;
	pthread_t thread;
	atomic_uint hold_ms, accepted;
	atomic_bool end;
};

static void *fickle_run(void *arg)
{
	static const uint8_t connack[] = {0x20, 0x03, 0x00, 0x00, 0x00};
	struct fickle *k = arg;
	uint8_t connect_packet[256];
	int fd;

	while (!atomic_load(&k->end) && (fd = accept(k->listener, NULL, NULL)) >= 0) {
		atomic_fetch_add(&k->accepted, 1);
		if (read(fd, connect_packet, sizeof(connect_packet)) > 0)
			(void)!write(fd, connack, sizeof(connack));
		usleep(atomic_load(&k->hold_ms) * 1000 + 5000);
		close(fd);
	}
	return NULL;
}

static void fickle_start(struct fickle *k)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(a);

	k->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(k->listener, (struct sockaddr *)&a, length), 0);
	assert_int_equal(listen(k->listener, 4), 0);
	assert_int_equal(getsockname(k->listener, (struct sockaddr *)&a, &length), 0);
	k->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&k->thread, NULL, fickle_run, k), 0);
}

static void fickle_stop(struct fickle *k)
{
	atomic_store(&k->end, true);
	shutdown(k->listener, SHUT_RDWR);
	pthread_join(k->thread, NULL);
	close(k->listener);
}

static int64_t longest_rest(struct client *c, unsigned downs)
{
	int64_t longest = 0;

	for (unsigned seen = c->downs; seen < downs; seen = c->downs) {
		assert_true(until(c->downs > seen, 20000));
		longest = c->retry_ms > longest ? c->retry_ms : longest;
	}
	return longest;
}

static void a_connection_that_breaks_at_once_lets_the_rests_grow(void **state)
{
	struct fickle k = {0};
	struct client c = {0};

	(void)state;
	fickle_start(&k);
	struct link_address at = local(k.port);
	struct link_config config = config_of("one", &at, 1);
	config.backoff_min_ms = 10;
	config.backoff_max_ms = 200;
	client_open(&c, &config);
	// All ten within the first rest: once in 10^9 runs. So they grew, though each was up.
	assert_true(longest_rest(&c, 10) > 10);
	assert_int_equal(c.ups, c.downs);
	// A connection that lasted for the longest rest ends that.
	atomic_store(&k.hold_ms, 2000); // also where either of us is held up
	for (unsigned seen = c.downs; c.downs < seen + 2;) {
		unsigned ups = c.ups, downs = c.downs;
		assert_true(until(c.ups > ups, 10000));
		assert_true(until(c.downs > downs, 10000));
	}
	assert_in_range(c.retry_ms, 0, 10);
	client_close(&c, true);
	fickle_stop(&k);
}

static void X_7_a_lost_broker_is_sought_again_within_the_spread_from_the_first_try_on(void **state)
{
	enum {
		CLIENTS = 40,
		SPREAD_MS = 3000
	};
	struct broker b = broker_start("", NULL);
	struct link_address at = local(b.port);
	static struct client all[CLIENTS];
	int64_t least = INT64_MAX, most = 0;

	(void)state;
	memset(all, 0, sizeof(all));
	for (size_t i = 0; i < CLIENTS; i++) {
		char id[16];
		snprintf(id, sizeof(id), "c%zu", i);
		struct link_config config = config_of(id, &at, 1);
		client_open(&all[i], &config);
		connected(&all[i]);
		// The last one was never told: it comes at once, and shows what the others do not.
		if (i + 1 < CLIENTS)
			link_set_spread(all[i].link, SPREAD_MS);
	}
	broker_kill(&b, SIGKILL);
	for (size_t i = 0; i < CLIENTS; i++)
		assert_true(until(all[i].downs > 0, 5000));
	for (size_t i = 0; i + 1 < CLIENTS; i++) {
		assert_in_range(all[i].retry_ms, 0, SPREAD_MS);
		least = all[i].retry_ms < least ? all[i].retry_ms : least;
		most = all[i].retry_ms > most ? all[i].retry_ms : most;
	}
	assert_true(most - least > SPREAD_MS / 2);
	assert_in_range(all[CLIENTS - 1].retry_ms, 0, 100);
	for (size_t i = 0; i < CLIENTS; i++)
		client_close(&all[i], false);
	broker_end(&b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, loop_open, loop_done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(X_7_a_rest_is_drawn_from_the_larger_of_back_off_and_spread),
		T(X_7_a_fleet_that_draws_its_moments_comes_evenly),
		T(a_connection_that_breaks_at_once_lets_the_rests_grow),
		T(X_7_a_lost_broker_is_sought_again_within_the_spread_from_the_first_try_on),
	};

	return cmocka_run_group_tests(tests, group_open, group_done);
}
