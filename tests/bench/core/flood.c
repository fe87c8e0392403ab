#include "tests/bench/core/flood.h"

#include "proto/mqtt_link.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNDER_WAY 16384 // beats between the broker and the loop: the inbox never overflows

struct flooding {
	struct bench_fleet *fleet; // NULL: only counts
	const struct beats *beats;
	struct mqtt_link *link;
	uv_loop_t *loop;
	struct now now;
	int listener;
	atomic_size_t taken;
	struct meter begin;
	double seconds;
	bool started;
};

// ---- the broker

static void read_all(int fd, uint8_t *to, size_t size)
{
	for (ssize_t n; size; to += n, size -= (size_t)n)
		if ((n = recv(fd, to, size, 0)) <= 0)
			exit(1);
}

static void send_all(int fd, const uint8_t *from, size_t size)
{
	for (ssize_t n; size; from += n, size -= (size_t)n)
		if ((n = send(fd, from, size, MSG_NOSIGNAL)) <= 0)
			return;
}

static uint8_t packet_read(int fd, uint8_t *body, size_t max)
{
	uint8_t type, byte = 0x80;
	size_t size = 0;

	read_all(fd, &type, 1);
	for (unsigned shift = 0; byte & 0x80; shift += 7) {
		read_all(fd, &byte, 1);
		size |= (size_t)(byte & 0x7f) << shift;
	}
	if (size > max)
		exit(1);
	read_all(fd, body, size);
	return type & 0xf0;
}

static void packet_add(struct buf *out, const char *topic, struct bytes payload)
{
	size_t length = strlen(topic), size = 2 + length + 1 + payload.size;
	uint8_t head[8] = {0x30}, n = 1;

	for (size_t left = size; left || n == 1; left >>= 7)
		head[n++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
	head[n++] = (uint8_t)(length >> 8);
	head[n++] = (uint8_t)length;
	MUST(buf_append(out, head, n));
	MUST(buf_append(out, topic, length));
	MUST(buf_append(out, "", 1)); // no properties
	MUST(buf_append(out, payload.data, payload.size));
}

static void stream(struct flooding *f, int fd)
{
	SCOPED_BUF struct buf out;

	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < f->beats->count; i++) {
		packet_add(&out, f->beats->topic[i].s, beats_payload(f->beats, i));
		if (i % 64 != 63 && i + 1 != f->beats->count)
			continue;
		send_all(fd, out.data, out.size);
		buf_clear(&out);
		while (i > atomic_load(&f->taken) + UNDER_WAY)
			usleep(200);
	}
}

static void *broker_run(void *ctx)
{
	static const uint8_t connack[] = {0x20, 3, 0, 0, 0};
	uint8_t body[1024], suback[] = {0x90, 4, 0, 0, 0, 0};
	struct flooding *f = ctx;
	int fd = accept(f->listener, NULL, NULL);

	while (packet_read(fd, body, sizeof(body)) != 0x80) // SUBSCRIBE
		send_all(fd, connack, sizeof(connack));
	memcpy(suback + 2, body, 2);
	send_all(fd, suback, sizeof(suback));
	stream(f, fd);
	while (recv(fd, body, sizeof(body), 0) > 0)
		;
	close(fd);
	return NULL;
}

// ---- the subscriber

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	static const char *const filter = "helio/v1/hb/+/+";
	struct flooding *f = ctx;

	(void)via;
	(void)session_present;
	MUST(link_subscribe(f->link, &filter, 1, 0, 0));
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct flooding *f = ctx;

	if (!f->started) {
		f->started = true;
		f->begin = meter_now();
	}
	if (f->fleet)
		core_message(f->fleet->core, NULL, m->topic, m->topic_length, m->payload,
			m->retained, f->now);
	if (atomic_fetch_add(&f->taken, 1) + 1 < f->beats->count)
		return;
	f->seconds = (double)meter_since(f->begin).ns / 1e9;
	uv_stop(f->loop);
}

static void on_ahead(void *ctx, const char *topic, size_t topic_length)
{
	struct flooding *f = ctx;

	if (f->fleet)
		core_ahead(f->fleet->core, topic, topic_length);
}

static void turn_before(void *ctx)
{
	((struct flooding *)ctx)->now = clock_now();
}

static void turn_after(void *ctx)
{
	struct flooding *f = ctx;

	if (f->fleet)
		core_turn_end(f->fleet->core, f->now);
}

static uint16_t listen_on(int *listener)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listener < 0 || bind(*listener, (struct sockaddr *)&at, sizeof(at)) != 0 ||
		listen(*listener, 1) != 0 ||
		getsockname(*listener, (struct sockaddr *)&at, &size) != 0)
		bench_die("listen");
	return ntohs(at.sin_port);
}

double flood(struct bench_fleet *fleet, const struct beats *b, bool counts_only)
{
	static const struct link_events events = {
		.up = on_up, .message = on_message, .ahead = on_ahead};
	struct flooding f = {.fleet = counts_only ? NULL : fleet, .beats = b};
	struct link_address address = {.host = "127.0.0.1", .via = LINK_VIA_IP};
	struct link_config config = {.client_id = "server.1",
		.addresses = &address,
		.address_count = 1,
		.keepalive_s = 60,
		.connect_timeout_s = 5,
		.backoff_min_ms = 100,
		.backoff_max_ms = 1000,
		.outstanding_max = 15,
		.outbox_max = 1024,
		.inbox_messages = 65536,
		.inbox_bytes = 64u << 20};
	uv_loop_t loop;
	pthread_t broker;

	address.port = listen_on(&f.listener);
	link_library_init();
	if (uv_loop_init(&loop) != 0 || pthread_create(&broker, NULL, broker_run, &f) != 0)
		bench_die("start");
	f.loop = &loop;
	MUST(link_new(&loop, &config, &events, &f, &f.link));
	link_set_turn(f.link, BENCH_TURN, turn_before, turn_after);
	uv_run(&loop, UV_RUN_DEFAULT);
	link_close(f.link, false);
	uv_run(&loop, UV_RUN_DEFAULT);
	pthread_join(broker, NULL);
	close(f.listener);
	(void)uv_loop_close(&loop);
	return (double)b->count / f.seconds;
}
