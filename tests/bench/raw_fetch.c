// The raw windowed client of row fetch_1g: what the link itself can carry.
//
//   raw_fetch HOST PORT TOPICS [--tls CA CERT KEY] [--window W] [--receive-maximum R] [--sha256]
//             [--put BYTES]
//
// TOPICS is a file with one topic a line. Each topic is subscribed to at QoS 1 as one of W explicit
// filters; when half a window has arrived, UNSUBSCRIBE and the refill go out together. Prints
// bytes, seconds and MB/s from the first SUBSCRIBE to the last message. With --put, first publishes
// retained random bytes of that size on each topic, four outstanding.
#include "proto/digest.h"
#include "proto/mqtt_link.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct fetch {
	struct mqtt_link *link;
	char **topics;
	size_t count, asked, arrived, put, put_acked;
	size_t window, batch, put_size;
	const char *done[64];
	size_t done_count;
	bool hash, failed;
	uint64_t bytes, started_ns, ended_ns, put_started_ns;
	uint8_t *content;
	uint8_t mixed; // of the digests, so that no compiler drops them
};

static void die(const char *what)
{
	fprintf(stderr, "raw_fetch: %s: %s\n", what, err_text());
	exit(1);
}

static void ask(struct fetch *f)
{
	size_t n = f->count - f->asked < f->batch ? f->count - f->asked : f->batch;

	if (n > 0 && link_subscribe(f->link, (const char *const *)f->topics + f->asked, n, 1, 0) !=
			     ERR_OK)
		die("subscribe");
	f->asked += n;
}

static void fetch_start(struct fetch *f)
{
	f->started_ns = uv_hrtime();
	while (f->asked < f->count && f->asked + f->batch <= f->window)
		ask(f);
}

static void put_next(struct fetch *f)
{
	if (f->put >= f->count)
		return;
	memcpy(f->content, &f->put, sizeof(f->put));
	if (link_publish(f->link, f->topics[f->put], bytes_of(f->content, f->put_size), 1, true,
		    f->put + 1) != ERR_OK)
		die("publish");
	f->put++;
}

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct fetch *f = ctx;

	(void)via;
	(void)session_present;
	if (f->put_size == 0) {
		fetch_start(f);
		return;
	}
	f->put_started_ns = uv_hrtime();
	for (int i = 0; i < 4; i++)
		put_next(f);
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct fetch *f = ctx;

	fprintf(stderr, "raw_fetch: %s (next try in %lld ms)\n", why, (long long)retry_ms);
	f->failed = true;
	link_close(f->link, false);
}

static void on_published(void *ctx, uint64_t token, int reason)
{
	struct fetch *f = ctx;

	(void)token;
	if (reason >= 128 || reason < 0) {
		fprintf(stderr, "raw_fetch: publish: %s\n", link_reason_text(reason));
		exit(1);
	}
	if (++f->put_acked < f->count) {
		put_next(f);
		return;
	}
	double s = (double)(uv_hrtime() - f->put_started_ns) / 1e9;
	double mb = (double)f->put_size * (double)f->count / 1e6;
	printf("bench raw_put bytes=%.0f seconds=%.3f mb_per_s=%.1f\n", mb * 1e6, s, mb / s);
	fetch_start(f);
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct fetch *f = ctx;

	f->bytes += m->payload.size;
	if (f->hash)
		f->mixed ^= sha256(m->payload.data, m->payload.size).b[0];
	// Arrivals are in the order of the asking, one broker and one connection.
	f->done[f->done_count++] = f->topics[f->arrived++];
	if (f->done_count == f->batch || f->arrived == f->count) {
		if (link_unsubscribe(f->link, f->done, f->done_count) != ERR_OK)
			die("unsubscribe");
		f->done_count = 0;
		ask(f);
	}
	if (f->arrived == f->count) {
		f->ended_ns = uv_hrtime();
		link_close(f->link, true);
	}
}

static void topics_read(struct fetch *f, const char *path)
{
	FILE *in = fopen(path, "r");
	char line[512];

	if (!in) {
		perror(path);
		exit(1);
	}
	while (fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = '\0';
		f->topics = realloc(f->topics, (f->count + 1) * sizeof(*f->topics));
		f->topics[f->count++] = strdup(line);
	}
	fclose(in);
}

static void put_prepare(struct fetch *f, const char *size)
{
	f->put_size = strtoul(size, NULL, 10);
	f->content = malloc(f->put_size);
	for (size_t at = 0; at < f->put_size; at += 256)
		if (getrandom(f->content + at, f->put_size - at < 256 ? f->put_size - at : 256, 0) <
			0)
			exit(1);
}

static void usage(void)
{
	fprintf(stderr, "usage: raw_fetch HOST PORT TOPICS [--tls CA CERT KEY] [--window W]\n"
			"                 [--receive-maximum R] [--sha256] [--put BYTES]\n");
	exit(2);
}

static void options_read(int argc, char **argv, struct fetch *f, struct link_config *config)
{
	for (int i = 4; i < argc; i++) {
		if (strcmp(argv[i], "--sha256") == 0) {
			f->hash = true;
		} else if (strcmp(argv[i], "--tls") == 0 && i + 3 < argc) {
			config->tls = true;
			config->ca_file = argv[i + 1];
			config->cert_file = argv[i + 2];
			config->key_file = argv[i + 3];
			i += 3;
		} else if (strcmp(argv[i], "--window") == 0 && i + 1 < argc) {
			f->window = strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--receive-maximum") == 0 && i + 1 < argc) {
			config->receive_maximum = (uint16_t)strtoul(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--put") == 0 && i + 1 < argc) {
			put_prepare(f, argv[++i]);
		} else {
			usage();
		}
	}
	f->batch = f->window / 2;
	if (f->batch < 1 || f->batch > 64)
		usage();
}

// Of this program alone: what getrusage tells begins with the one it was forked from.
static unsigned long peak_kib(void)
{
	char line[128];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "VmHWM:", 6) == 0)
			kib = strtoul(line + 6, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

int main(int argc, char **argv)
{
	struct fetch f = {.window = 32};
	struct link_address address = {0};
	struct link_config config = {.client_id = "raw.fetch",
		.addresses = &address,
		.address_count = 1,
		.keepalive_s = 60,
		.receive_maximum = 8,
		.connect_timeout_s = 10,
		.outstanding_max = 4,
		.once = true};
	const struct link_events events = {
		.up = on_up, .down = on_down, .published = on_published, .message = on_message};
	uv_loop_t loop;

	if (argc < 4)
		usage();
	address =
		(struct link_address){argv[1], (uint16_t)strtoul(argv[2], NULL, 10), LINK_VIA_NAME};
	topics_read(&f, argv[3]);
	options_read(argc, argv, &f, &config);
	link_library_init();
	uv_loop_init(&loop);
	if (link_new(&loop, &config, &events, &f, &f.link) != ERR_OK)
		die("link");
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	double s = (double)(f.ended_ns - f.started_ns) / 1e9;
	if (f.failed || f.arrived < f.count)
		return 1;
	printf("bench raw_fetch bytes=%llu seconds=%.3f mb_per_s=%.1f tls=%d sha256=%d window=%zu "
	       "receive_maximum=%u peak_kib=%lu\n",
		(unsigned long long)f.bytes, s, (double)f.bytes / 1e6 / s, config.tls, f.hash,
		f.window, config.receive_maximum, peak_kib());
	return 0;
}
