// The peer that heliod is measured against: the same link, inbox, loop, TLS, sizes and QoS, but
// nothing is decoded and nothing is remembered. Each heartbeat is answered on the client's response
// topic with a payload of its own size that begins with the heartbeat's first 8 bytes.
//
//   echo_server PORT [RESPONSE_BYTES [QOS [CA CERT KEY]]]
#include "proto/mqtt_link.h"
#include "proto/topics.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mqtt_link *server_link;
static size_t response_bytes = 170;
static int response_qos;

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

static void on_message(void *ctx, const struct link_message *m)
{
	uint8_t payload[1024];
	char topic[LIMIT_TOPIC] = "helio/v1/rsp/";
	const char *id = strrchr(m->topic, '/');

	(void)ctx;
	if (!id || m->payload.size < 8 || !str_copy(topic + 13, sizeof(topic) - 13, id + 1))
		return;
	memset(payload, 0x5a, sizeof(payload));
	memcpy(payload, m->payload.data, 8);
	if (link_publish(server_link, topic, bytes_of(payload, response_bytes), response_qos, false, 0) != ERR_OK)
		fputs("dropped\n", stderr);
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
	uv_signal_init(loop, &stop);
	uv_signal_start(&stop, on_stop, SIGTERM);
	uv_run(loop, UV_RUN_DEFAULT);
	return 0;
}
