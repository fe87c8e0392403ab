// How fast a heartbeat is read and a response written, one core, nothing else: the share of the
// codecs in the `heartbeats` row. Prints one line a form; run by hand:  BUILD/tests/micro_codec
// [ROUNDS]
#include "proto/base/clock.h"
#include "proto/message.h"
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 2000000

static struct software_version software[] = {
	{"helio-agent", "0.1.0", {{1}}}, {"spring", "2026-11", {{2}}}};
static struct holding items[] = {{{{1}}, 0, true, 10, 10, 0}, {{{2}}, 7, false, 60, 100, 0}};
static struct holdings holdings = {true, items, 2};
static struct operation operation = {UINT64_C(1763700000) << 32 | 5, OP_DONE, "", 100};
static struct status status = {.state = "idle",
	.agent_version = "0.1.0",
	.free_bytes = 123456789012,
	.showing_package = {{9}},
	.showing_image = "0001-bridge.jpg",
	.interval_ms = 30000,
	.clock_quality = 3,
	.hw_class = "rpi4",
	.software = software,
	.software_count = 2,
	.screen_width_px = 1920,
	.screen_height_px = 1080};
static struct status status_bare = {.state = "idle", .interval_ms = 30000, .clock_quality = 3};
static const uint8_t ip[4] = {10, 0, 0, 7};
static struct heartbeat heartbeat = {.client_id = "screen-000123",
	.ip_address = {ip, sizeof(ip)},
	.session_id = 12,
	.seq = 123456,
	.sent_unix_ms = 1763700000123,
	.last_response_id = UINT64_C(1763700000) << 32 | 9,
	.ack = ACK_RESPONSE,
	.status = &status_bare,
	.boot = {{5}}};
static struct reason reason = {REASON_CAUGHT_UP, "nothing waits"};
static struct response_body body = {.response_id = UINT64_C(1763700000) << 32 | 10,
	.kind = KIND_NO_ACTION,
	.state = CS_IDLE,
	.reason = &reason,
	.channel = "lobby"};
static struct response response = {.client_id = "screen-000123",
	.session_id = 12,
	.in_reply_to_seq = 123456,
	.boot = {{5}},
	.server_unix_ms = 1763700000456,
	.heartbeat_interval_ms = 30000,
	.epoch = 3};

static struct arena arena;
static struct buf in, body_bytes, out;

static void read_one(void)
{
	struct heartbeat h;

	arena_reset(&arena);
	if (heartbeat_decode(&arena, buf_bytes(&in), &h) != ERR_OK)
		abort();
}

static void write_one(void)
{
	if (response_body_encode(&body, &body_bytes) != ERR_OK)
		abort();
	response.body_bytes = buf_bytes(&body_bytes);
	if (response_encode(&response, &out) != ERR_OK)
		abort();
}

static void both(void)
{
	read_one();
	write_one();
}

static void measure(const char *form, const char *what, void (*once)(void), long rounds)
{
	for (long i = 0; i < rounds / 10; i++)
		once();
	struct mono begin = clock_now().mono;
	for (long i = 0; i < rounds; i++)
		once();
	double ns = (double)mono_since_ms(clock_now().mono, begin) * 1e6 / (double)rounds;

	printf("bench codec form=%s op=%s heartbeat_bytes=%zu ns=%.0f per_s=%.0f\n", form, what,
		in.size, ns, 1e9 / ns);
}

static void measure_form(const char *form, long rounds)
{
	if (heartbeat_encode(&heartbeat, &in) != ERR_OK) {
		fprintf(stderr, "%s\n", err_text());
		exit(1);
	}
	measure(form, "decode_heartbeat", read_one, rounds);
	measure(form, "encode_response", write_one, rounds);
	measure(form, "both", both, rounds);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : ROUNDS;

	if (rounds < 1000) {
		fprintf(stderr, "usage: micro_codec [ROUNDS]  (1000 or more)\n");
		return 2;
	}
	arena_init(&arena, 1024 * 1024, 4096);
	buf_init(&in, LIMIT_HEARTBEAT);
	buf_init(&body_bytes, LIMIT_RESPONSE);
	buf_init(&out, LIMIT_RESPONSE);
	measure_form("bare", rounds);
	heartbeat.status = &status;
	heartbeat.op = &operation;
	measure_form("usual", rounds);
	heartbeat.holdings = &holdings;
	measure_form("full", rounds);
	arena_fini(&arena);
	buf_fini(&in);
	buf_fini(&body_bytes);
	buf_fini(&out);
	return 0;
}
