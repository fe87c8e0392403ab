// Many clients of one process that fetch the same package, for row fan_out: real fetchers of the
// agent, each with a store of its own, or raw subscribers with hash.
//
//   fan_out agents COUNT FIRST PORTS --root-file F --root-key F --package HEX --publisher ID
//           --publisher-key HEX --dir DIR [--window-bytes N] [--rate N]
//   fan_out raw COUNT FIRST PORTS --topics FILE [--window W] [--receive-maximum R] [--dir DIR]
//
// With --dir a raw subscriber writes what comes into a file of its own: the same work but for
// trust. fan_out_verify is the same program, whose agents verify and write nothing: the same work
// as a raw subscriber without --dir, but for trust.
//
// PORTS: brokers on this machine, 7001,7002; client n takes the (n mod brokers)-th. FIRST: the
// number of the first client. Says "ready", waits for a line, begins, and prints `end N MS` for
// each client as it has everything, counted from that line.
#include "client/fetcher.h"
#include "proto/digest.h"
#include "proto/mqtt_link.h"
#include "proto/trust.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PORTS_MAX 8
#define RAW_BATCH 64
#define KEPT_BYTES (64 * 1024 * 1024)

struct client {
	struct bench *bench;
	size_t number;
	char id[32];
	bool over;

	// An agent.
	struct depot depot;
	struct fetcher_config config;
	struct fetcher *fetcher;
	char dir[256];

	// A raw subscriber.
	struct mqtt_link *link;
	size_t asked, arrived, open_count, done_count;
	const char *open[2 * RAW_BATCH], *done[RAW_BATCH]; // topics
	uint8_t mixed; // of the digests, so that no compiler drops them
	int file;      // -1: none
};

struct bench {
	uv_loop_t loop;
	bool agents;
	size_t count, first, left;
	uint16_t ports[PORTS_MAX];
	size_t port_count;
	uint64_t begun_ns;
	struct client *clients;

	const char *root_file, *root_key, *package, *publisher, *publisher_key, *dir;
	uint64_t window_bytes, rate;
	struct trust trust;
	struct package_ref ref;

	const char *topics_file;
	char **topics;
	size_t topic_count, window;
	uint16_t receive_maximum;
};

// Each of its agents stands for a device of its own: together they have no more workers than there
// are processors, which is what as many raw subscribers take.
static void workers_bound(void)
{
	char count[8];

	snprintf(count, sizeof(count), "%ld", sysconf(_SC_NPROCESSORS_ONLN) % 1000);
	setenv("UV_THREADPOOL_SIZE", count, 0);
}

static void die(const char *what)
{
	fprintf(stderr, "fan_out: %s: %s\n", what, err_text());
	exit(1);
}

static void client_end(struct client *c, const char *why)
{
	struct bench *b = c->bench;

	if (c->over)
		return;
	c->over = true;
	if (why) {
		fprintf(stderr, "fan_out: client %zu: %s\n", c->number, why);
		exit(1);
	}
	printf("end %zu %.3f\n", c->number, (double)(uv_hrtime() - b->begun_ns) / 1e6);
	if (--b->left == 0) {
		fflush(stdout);
		exit(0); // what they made is the caller's to remove
	}
}

// ---- agents

static void on_progress(void *ctx, uint32_t have, uint32_t total)
{
	(void)ctx;
	(void)have;
	(void)total;
}

static void on_done(void *ctx, const struct fetch_result *r)
{
	(void)r;
	client_end(ctx, NULL);
}

static void on_failed(void *ctx, const char *word, const char *text)
{
	(void)word;
	client_end(ctx, text);
}

static void on_missing(void *ctx, const struct digest *objects, size_t count)
{
	(void)objects;
	(void)count;
	client_end(ctx, "the broker lacks objects");
}

static void on_broker_failed(void *ctx, const char *why)
{
	client_end(ctx, why);
}

static void on_idle(void *ctx)
{
	(void)ctx;
}

static void agent_prepare(struct client *c)
{
	static const struct fetcher_events events = {.progress = on_progress,
		.done = on_done,
		.failed = on_failed,
		.missing = on_missing,
		.broker_failed = on_broker_failed,
		.idle = on_idle};
	struct bench *b = c->bench;

	if (snprintf(c->dir, sizeof(c->dir), "%s/%zu", b->dir, c->number) >= (int)sizeof(c->dir))
		exit(2);
	if (depot_open(&c->depot, c->dir, &b->trust.root) != ERR_OK)
		die("store");
	c->config = (struct fetcher_config){.client_id = c->id,
		.hw_class = "",
		.product = "",
		.root = &b->trust.root,
		.store = &c->depot,
		.state_dir = c->dir,
		.window_bytes = b->window_bytes,
		.connect_timeout_s = 60};
	if (fetcher_new(&b->loop, &c->config, &events, c, &c->fetcher) != ERR_OK)
		die("fetcher");
}

static void agent_begin(struct client *c)
{
	struct bench *b = c->bench;
	struct address from = {.broker_id = "da",
		.host = "",
		.ip = "127.0.0.1",
		.port = b->ports[c->number % b->port_count],
		.topic = ""};
	struct grant g = {.granted = true,
		.from = &from,
		.lease = 1,
		.window = FETCH_WINDOW_MAX,
		.publisher = b->publisher,
		.reason = ""};
	struct fetch_order order = {.package = &b->ref, .grant = &g, .rate_bytes_per_s = b->rate};

	if (hex_decode(b->publisher_key, g.publisher_key.b, 32) != ERR_OK)
		die("--publisher-key");
	fetcher_begin(c->fetcher, &order);
}

// ---- raw subscribers

static void raw_ask(struct client *c, size_t most)
{
	struct bench *b = c->bench;
	size_t n = b->topic_count - c->asked < most ? b->topic_count - c->asked : most;

	if (n > 0 && link_subscribe(c->link, (const char *const *)b->topics + c->asked, n, 1, 0) !=
			     ERR_OK)
		die("subscribe");
	for (size_t i = 0; i < n; i++)
		c->open[c->open_count++] = b->topics[c->asked++];
}

static void raw_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct client *c = ctx;

	(void)via;
	(void)session_present;
	raw_ask(c, c->bench->window);
}

static void raw_down(void *ctx, const char *why, int64_t retry_ms)
{
	(void)retry_ms;
	client_end(ctx, why);
}

// One of those that it asked for, which a shelf may hand in another order. NULL: none of them.
static const char *raw_take(struct client *c, const char *topic)
{
	for (size_t i = 0; i < c->open_count; i++) {
		const char *found = c->open[i];

		if (strcmp(found, topic) != 0)
			continue;
		c->open_count--;
		memmove(c->open + i, c->open + i + 1, (c->open_count - i) * sizeof(*c->open));
		return found;
	}
	return NULL;
}

static void raw_message(void *ctx, const struct link_message *m)
{
	struct client *c = ctx;
	struct bench *b = c->bench;
	size_t batch = b->window / 2 > 0 ? b->window / 2 : 1;
	const char *topic = raw_take(c, m->topic);

	if (!topic)
		client_end(c, "it was sent what it did not ask for");
	c->arrived++;
	c->mixed ^= sha256(m->payload.data, m->payload.size).b[0];
	if (c->file >= 0 &&
		write(c->file, m->payload.data, m->payload.size) != (ssize_t)m->payload.size)
		client_end(c, "its file cannot be written");
	c->done[c->done_count++] = topic;
	if (c->done_count == batch || c->arrived == b->topic_count) {
		if (link_unsubscribe(c->link, c->done, c->done_count) != ERR_OK)
			die("unsubscribe");
		c->done_count = 0;
		raw_ask(c, batch);
	}
	if (c->arrived == b->topic_count) {
		if (c->file >= 0 && fsync(c->file) != 0)
			client_end(c, "its file is not on the disk");
		link_close(c->link, true);
		client_end(c, NULL);
	}
}

static void raw_begin(struct client *c)
{
	static const struct link_events events = {
		.up = raw_up, .down = raw_down, .message = raw_message};
	struct bench *b = c->bench;
	struct link_address address = {
		"127.0.0.1", b->ports[c->number % b->port_count], LINK_VIA_IP};
	struct link_config config = {.client_id = c->id,
		.addresses = &address,
		.address_count = 1,
		.keepalive_s = 60,
		.receive_maximum = b->receive_maximum,
		.connect_timeout_s = 60,
		.once = true};

	c->file = -1;
	if (b->dir && snprintf(c->dir, sizeof(c->dir), "%s/%zu", b->dir, c->number) > 0 &&
		(c->file = open(c->dir, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600)) < 0)
		die(c->dir);
	if (link_new(&b->loop, &config, &events, c, &c->link) != ERR_OK)
		die("link");
}

static void topics_read(struct bench *b)
{
	FILE *in = fopen(b->topics_file, "r");
	char line[512];

	if (!in) {
		perror(b->topics_file);
		exit(1);
	}
	while (fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = '\0';
		b->topics = realloc(b->topics, (b->topic_count + 1) * sizeof(*b->topics));
		b->topics[b->topic_count++] = strdup(line);
	}
	fclose(in);
}

// ---- the run

static void on_line(uv_stream_t *in, ssize_t n, const uv_buf_t *buf)
{
	struct bench *b = in->data;

	(void)buf;
	if (n <= 0)
		exit(1);
	uv_read_stop(in);
	b->begun_ns = uv_hrtime();
	for (size_t i = 0; i < b->count; i++) {
		if (b->agents)
			agent_begin(&b->clients[i]);
		else
			raw_begin(&b->clients[i]);
	}
}

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	static char room[64];

	(void)handle;
	(void)size;
	*buf = uv_buf_init(room, sizeof(room));
}

static void ports_read(struct bench *b, const char *text)
{
	for (const char *at = text; *at && b->port_count < PORTS_MAX;) {
		char *end;
		b->ports[b->port_count++] = (uint16_t)strtoul(at, &end, 10);
		at = *end == ',' ? end + 1 : end + strlen(end);
	}
}

static void options_read(struct bench *b, int argc, char **argv)
{
	const struct {
		const char *name, **value;
	} texts[] = {{"--root-file", &b->root_file}, {"--root-key", &b->root_key},
		{"--package", &b->package}, {"--publisher", &b->publisher},
		{"--publisher-key", &b->publisher_key}, {"--dir", &b->dir},
		{"--topics", &b->topics_file}};

	for (int i = 5; i + 1 < argc; i += 2) {
		for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++)
			if (strcmp(argv[i], texts[k].name) == 0)
				*texts[k].value = argv[i + 1];
		if (strcmp(argv[i], "--window-bytes") == 0)
			b->window_bytes = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--rate") == 0)
			b->rate = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--window") == 0)
			b->window = strtoul(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--receive-maximum") == 0)
			b->receive_maximum = (uint16_t)strtoul(argv[i + 1], NULL, 10);
	}
}

static void agents_prepare(struct bench *b)
{
	if (!b->root_file || !b->root_key || !b->package || !b->publisher || !b->publisher_key ||
		!b->dir)
		die("options are missing");
	if (trust_open(&b->trust, b->root_file, b->root_key) != ERR_OK)
		die("root");
	b->ref = (struct package_ref){.publisher = b->publisher,
		.kind = PACKAGE_SOFTWARE,
		.name = "bench",
		.version = "1"};
	if (hex_decode(b->package, b->ref.package.b, 32) != ERR_OK)
		die("--package");
	for (size_t i = 0; i < b->count; i++)
		agent_prepare(&b->clients[i]);
}

int main(int argc, char **argv)
{
	struct bench b = {.window_bytes = 1 << 20, .window = 8, .receive_maximum = 4};
	uv_pipe_t in;

	if (argc < 5)
		return 2;
	b.agents = strcmp(argv[1], "agents") == 0;
	b.count = b.left = strtoul(argv[2], NULL, 10);
	b.first = strtoul(argv[3], NULL, 10);
	ports_read(&b, argv[4]);
	options_read(&b, argc, argv);
	if (b.count == 0 || b.port_count == 0 || b.window == 0 || b.window > RAW_BATCH)
		return 2;
	workers_bound();
	link_library_init();
	// As helio-agent, whose heap keeps what one fetch needs; this one fetches many times at
	// once.
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
	log_init("fan_out", LOG_WARN);
	uv_loop_init(&b.loop);
	b.clients = calloc(b.count, sizeof(*b.clients));
	for (size_t i = 0; i < b.count; i++) {
		struct client *c = &b.clients[i];
		c->bench = &b;
		c->number = b.first + i;
		snprintf(c->id, sizeof(c->id), "fan%06zu", c->number);
	}
	if (b.agents)
		agents_prepare(&b);
	else
		topics_read(&b);
	uv_pipe_init(&b.loop, &in, 0);
	uv_pipe_open(&in, 0);
	in.data = &b;
	printf("ready\n");
	fflush(stdout);
	uv_read_start((uv_stream_t *)&in, on_room, on_line);
	uv_run(&b.loop, UV_RUN_DEFAULT);
	return 1;
}
