// The peer that heliod is measured against: the same link, inbox, loop, TLS, sizes and QoS, but
// nothing is decoded and nothing is remembered. Each heartbeat is answered on the client's response
// topic with a payload of its own size that begins with the heartbeat's first 8 bytes.
//
//   echo_server [--record FILE] PORT [RESPONSE_BYTES [QOS [CA CERT KEY]]]
//
// With --record it is the peer of answers that set a state: each answer of a turn is first appended to
// a file, which reaches the disk once a turn, before any of them leaves.
#include "proto/mqtt_link.h"
#include "proto/topics.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct answer {
	char topic[LIMIT_TOPIC];
	uint8_t payload[1024];
};

static struct mqtt_link *server_link;
static size_t response_bytes = 170;
static int response_qos;
static int record = -1;        // the file of answers
static struct answer *waiting; // of this turn
static size_t waiting_count, waiting_max;

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	static const char *const filters[] = { "helio/v1/hb/+/+" };

	(void)ctx;
	(void)via;
	(void)session_present;
	if (link_subscribe(server_link, filters, 1, 0, 0) != ERR_OK)
		exit(1);
	puts("ready");
	fflush(stdout);
}

static void answer_send(const struct answer *a)
{
	if (link_publish(server_link, a->topic, bytes_of(a->payload, response_bytes), response_qos, false, 0) != ERR_OK)
		fputs("dropped\n", stderr);
}

static void answer_keep(const struct answer *a)
{
	if (waiting_count == waiting_max) {
		waiting_max = waiting_max ? 2 * waiting_max : 256;
		waiting = realloc(waiting, waiting_max * sizeof(*waiting));
		if (!waiting)
			exit(1);
	}
	waiting[waiting_count++] = *a;
}

static void turn_begin(void *ctx)
{
	(void)ctx;
}

static void turn_end(void *ctx)
{
	(void)ctx;
	for (size_t i = 0; i < waiting_count; i++)
		if (write(record, waiting[i].payload, response_bytes) != (ssize_t)response_bytes)
			exit(1);
	if (waiting_count && fdatasync(record) != 0)
		exit(1);
	for (size_t i = 0; i < waiting_count; i++)
		answer_send(&waiting[i]);
	waiting_count = 0;
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct answer a = { .topic = "helio/v1/rsp/" };
	const char *id = strrchr(m->topic, '/');

	(void)ctx;
	if (!id || m->payload.size < 8 || !str_copy(a.topic + 13, sizeof(a.topic) - 13, id + 1))
		return;
	memset(a.payload, 0x5a, sizeof(a.payload));
	memcpy(a.payload, m->payload.data, 8);
	if (record < 0)
		answer_send(&a);
	else
		answer_keep(&a);
}

static void on_stop(uv_signal_t *handle, int number)
{
	(void)number;
	uv_stop(handle->loop);
}

int main(int argc, char **argv)
{
	struct link_events events = { .up = on_up, .message = on_message };
	struct link_address address = { .host = "127.0.0.1", .via = LINK_VIA_IP };
	uv_signal_t stop;

	if (argc > 2 && strcmp(argv[1], "--record") == 0) {
		record = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (record < 0)
			return 1;
		argc -= 2;
		argv += 2;
	}
	if (argc < 2)
		return 2;
	address.port = (uint16_t)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		response_bytes = strtoul(argv[2], NULL, 10);
	if (argc > 3)
		response_qos = strcmp(argv[3], "1") == 0;
	if (response_bytes < 8 || response_bytes > 1024)
		return 2;
	struct link_config config = { .client_id = "server.1", .addresses = &address, .address_count = 1,
		.tls = argc > 6, .ca_file = argc > 6 ? argv[4] : NULL, .cert_file = argc > 6 ? argv[5] : NULL,
		.key_file = argc > 6 ? argv[6] : NULL, .keepalive_s = 60, .connect_timeout_s = 5,
		.backoff_min_ms = 100, .backoff_max_ms = 1000, .outstanding_max = 15, .outbox_max = 65536,
		.inbox_messages = 65536, .inbox_bytes = 64u << 20 };
	uv_loop_t *loop = uv_default_loop();
	link_library_init();
	if (link_new(loop, &config, &events, NULL, &server_link) != ERR_OK) {
		fprintf(stderr, "%s\n", err_text());
		return 1;
	}
	if (record >= 0)
		link_set_turn(server_link, 0, turn_begin, turn_end);
	uv_signal_init(loop, &stop);
	uv_signal_start(&stop, on_stop, SIGTERM);
	uv_run(loop, UV_RUN_DEFAULT);
	return 0;
}
