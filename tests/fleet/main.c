// helio-fleet: many devices in one process, for load and failure tests.
//
//   helio-fleet enrol  --prefix P --count N --enrol-key PEM --out DIR
//       writes N enrolments (deterministic keys) that heliod takes from its enrol_dir
//   helio-fleet beats  --prefix P --count N --port P --root-file F --root-key K --rate R --seconds S
//       signs N devices in, then sends R heartbeats a second in all, open loop: the latency of a beat
//       counts from the moment it should have been sent. --echo speaks to tests/bench/echo_server
//       instead: same sizes, topics and QoS, nothing decoded. --server-pid and --broker-pid add the
//       CPU time of these processes within the measured window. With --steps the devices stay and
//       each line "RATE SECONDS [SERVER_PID [SIZE]]" of standard input is one measurement: devices that
//       came back with an empty memory would disagree with the server first, and that would be measured.
//   helio-fleet reconnect  --prefix P --count N --port P --root-file F --root-key K
//       signs N devices in; then each line of standard input is one measurement: for one interval everybody
//       beats on its grid, the line {"armed":true} follows, somebody restarts the broker, and it is counted how
//       long it took from the first link that broke until all were connected, and until all were answered. With
//       --echo the devices draw their rest from --spread MS and beat every --interval MS.
//   helio-fleet publish    --prefix P --count N --port P --root-file F --root-key K --content FILE
//       signs N devices in; then each line of standard input is one measurement of publish.c. FILE names the
//       topics of the package. With --dir what is fetched is written to a file there, and synced.
//
// Prints one line of JSON for each measurement.
#include "tests/fleet/fleet.h"

#include "proto/base/file.h"
#include "proto/base/program.h"
#include "proto/mqtt_link.h"
#include <arpa/inet.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// What a process has used of the CPU so far, all its threads; 0 when there is none.
static int64_t cpu_us(int pid)
{
	char path[64], line[1024];
	unsigned long long user = 0, system = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = pid > 0 ? fopen(path, "r") : NULL;
	if (!f)
		return 0;
	const char *at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	if (!at || sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
		return 0;
	return (int64_t)((user + system) * 1000000 / (unsigned long long)sysconf(_SC_CLK_TCK));
}

int fleet_fail(const char *what)
{
	fprintf(stderr, "helio-fleet: %s: %s\n", what, err_text());
	return 1;
}

// ---------------------------------------------------------------- enrol

static enum err enrolment_write(const struct options *o, struct sign_key *enrol_key, size_t index)
{
	SCOPED_BUF struct buf payload, envelope;
	struct key32 secret = fleet_secret(o->prefix, o->seed, index);
	struct sign_key *key;
	char id[LIMIT_ID + 1], path[4096];

	buf_init(&payload, 4096);
	buf_init(&envelope, 8192);
	TRY(sign_key_load(&secret, &key));
	fleet_id(o->prefix, index, id);
	struct enrolment e = { .id = id, .role = ROLE_CLIENT, .public_key = *sign_key_public(key), .name = id };
	sign_key_free(key);
	TRY(enrolment_encode(&e, &payload));
	TRY(envelope_make(PURPOSE_ENROLMENT, buf_bytes(&payload), &enrol_key, 1, &envelope));
	snprintf(path, sizeof(path), "%s/%s.enrol", o->out, id);
	FILE *f = fopen(path, "wb");
	if (!f)
		return err_set_errno("cannot write %s", path);
	size_t n = fwrite(envelope.data, 1, envelope.size, f);
	if (fclose(f) != 0 || n != envelope.size)
		return err_set_errno("cannot write %s", path);
	return ERR_OK;
}

static int enrol_run(const struct options *o)
{
	struct sign_key *key;

	if (!o->enrol_key || !o->out)
		return fprintf(stderr, "helio-fleet: enrol needs --enrol-key and --out\n"), 2;
	if (dir_make(o->out) != ERR_OK || sign_key_read(o->enrol_key, &key) != ERR_OK)
		return fleet_fail("enrol");
	for (size_t i = 0; i < o->count; i++) {
		if (enrolment_write(o, key, o->first + i) != ERR_OK)
			return fleet_fail("enrol");
	}
	sign_key_free(key);
	printf("{\"enrolled\":%zu}\n", o->count);
	return 0;
}

// ---------------------------------------------------------------- beats

struct figures {
	uint64_t sent, answered;
	uint64_t answered_by_end; // of the sending
	bool overrun;             // stopped early, the queue was too long
	uint32_t *latency_us;     // in the order of the answers
	size_t latency_max;
};

static struct figures figures;
static bool measuring;

static void latency_note(int64_t intended_us)
{
	int64_t us = now_us() - intended_us;

	if (!measuring)
		return;
	if (figures.answered < figures.latency_max)
		figures.latency_us[figures.answered] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)(us < 0 ? 0 : us);
	figures.answered++;
}

static void device_answered(struct fleet_device *d, uint64_t seq)
{
	latency_note(d->intended_us[seq % BEATS_REMEMBERED]);
	way_answered(&d->back);
}

static uint8_t echo_payload[512];
static size_t echo_size = 210; // of the real heartbeat of a simulated device, measured

static void echo_up(struct mini_client *c, uint8_t reason)
{
	struct echo_device *d = c->ctx;
	const char *filter = d->rsp.s;

	if (reason == 0 && mini_subscribe(c, &filter, 1, 1) == ERR_OK)
		d->up = true;
}

static void echo_message(struct mini_client *c, const char *topic, struct bytes payload, bool retained)
{
	struct echo_device *d = c->ctx;
	int64_t intended;

	(void)topic;
	(void)retained;
	if (payload.size < sizeof(intended))
		return;
	memcpy(&intended, payload.data, sizeof(intended));
	latency_note(intended);
	way_answered(&d->back);
	if (d->answered)
		d->answered(d->ctx);
}

static const struct mini_events echo_events = { .up = echo_up, .message = echo_message };

// Ports that a broker's end left waiting are not free yet: an address has room for both.
struct sockaddr_in address_of(size_t i)
{
	struct sockaddr_in from = { .sin_family = AF_INET };

	from.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(i / 8000));
	return from;
}

static enum err device_connect(struct fleet *f, size_t i)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(f->o->port) }, from = address_of(i);

	if (inet_pton(AF_INET, f->o->host, &to.sin_addr) != 1)
		return err_set(ERR_FORMAT, "%s is not an IPv4 address", f->o->host);
	struct mini_client *link = f->o->echo ? &f->echoes[i].link : &f->devices[i].link;
	return mini_connect(link, &f->loop, &to, &from, f->tls, "localhost");
}

static enum err device_open(struct fleet *f, size_t i)
{
	if (f->o->echo) {
		struct echo_device *d = &f->echoes[i];
		char id[LIMIT_ID + 1];

		fleet_id(f->o->prefix, f->o->first + i, id);
		d->link = (struct mini_client){ .events = &echo_events, .ctx = d, .fd = -1, .keepalive_s = 120 };
		memcpy(d->link.client_id, id, sizeof(id));
		d->hb = topic_hb(id);
		d->rsp = topic_of(TOPIC_RSP, id);
		return device_connect(f, i);
	}
	struct fleet_device *d = &f->devices[i];
	TRY(fleet_device_init(d, f->o->prefix, f->o->seed, f->o->first + i, &f->trust.root, &f->scratch, &f->out));
	d->answered = device_answered;
	d->link.keepalive_s = 120;
	return device_connect(f, i);
}

struct mini_client *link_of(const struct fleet *f, size_t i)
{
	return f->o->echo ? &f->echoes[i].link : &f->devices[i].link;
}

struct way_back *way_of(const struct fleet *f, size_t i)
{
	return f->o->echo ? &f->echoes[i].back : &f->devices[i].back;
}

uint32_t spread_of(const struct fleet *f, size_t i)
{
	return f->o->echo ? f->o->spread_ms : f->devices[i].core.state.reconnect_spread_ms;
}

// A device whose link broke comes back as an agent does: at a moment within the spread that its server
// told it, and later and later while nobody answers.
static void device_return(struct fleet *f, size_t i, struct mono now)
{
	struct mini_client *link = link_of(f, i);
	struct way_back *w = way_of(f, i);

	if (link->state == MINI_UP)
		w->rounds = 0;
	if (link->state != MINI_CLOSED)
		return;
	if (w->at.ms == 0) {
		w->at = mono_add_ms(now, link_rest_ms(1000, 60000, spread_of(f, i), w->rounds++, random_u64()));
	} else if (mono_since_ms(now, w->at) >= 0) {
		w->at.ms = 0;
		mini_client_fini(link);
		(void)device_connect(f, i); // not even begun: it draws again
	}
}

void devices_return(struct fleet *f)
{
	static struct mono looked;
	struct mono now = clock_now().mono;

	if (mono_since_ms(now, looked) < 50)
		return;
	looked = now;
	for (size_t i = 0; i < f->o->count; i++)
		device_return(f, i, now);
}

static size_t ready_count(const struct fleet *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->o->count; i++)
		n += f->o->echo ? f->echoes[i].up : f->devices[i].signed_in;
	return n;
}

#define GATHER_MOST 400

// All connected and signed in, at most 60 s, and 10 ms more for each.
static enum err fleet_gather(struct fleet *f)
{
	int64_t end = now_us() + 60 * 1000000ll + (int64_t)f->o->count * 10000, tick = 0;
	size_t opened = 0, ready;

	while ((ready = ready_count(f)) < f->o->count) {
		if (now_us() > end)
			return err_set(ERR_TIMEOUT, "%zu of %zu devices are signed in in time", ready, f->o->count);
		// A hundred at a time: the broker's backlog is 100. And no more than it can take in before they ask again.
		for (size_t i = 0; i < 50 && opened < f->o->count && opened - ready < GATHER_MOST; i++)
			TRY(device_open(f, opened++));
		mini_loop_run(&f->loop, 5);
		if (now_us() < tick)
			continue;
		tick = now_us() + 20000;
		for (size_t i = 0; i < opened && !f->o->echo; i++)
			fleet_device_tick(&f->devices[i], clock_now());
	}
	return ERR_OK;
}

enum err echo_send(struct echo_device *d, int64_t intended_us)
{
	memcpy(echo_payload, &intended_us, sizeof(intended_us));
	return mini_publish(&d->link, d->hb.s, bytes_of(echo_payload, echo_size), 0, false, NULL);
}

static void beat_one(struct fleet *f, size_t i, int64_t intended_us)
{
	if (!f->o->echo)
		fleet_device_beat(&f->devices[i], clock_now(), intended_us);
	else if (echo_send(&f->echoes[i], intended_us) != ERR_OK)
		return;
	figures.sent++;
}

// An agent takes the answers to its last 16 beats: half of that on the way to everybody is the end.
#define QUEUE_MAX_BEATS 8

static bool is_overrun(const struct fleet *f)
{
	figures.overrun = measuring && figures.sent - figures.answered > QUEUE_MAX_BEATS * f->o->count;
	return figures.overrun;
}

static void beats_send(struct fleet *f, double seconds)
{
	int64_t began = now_us(), due = began;
	size_t next = 0;

	while (now_us() - began < (int64_t)(seconds * 1e6) && !is_overrun(f)) {
		for (int burst = 0; burst < 256 && due <= now_us(); burst++) {
			beat_one(f, next, due);
			next = (next + 1) % f->o->count;
			due = began + (int64_t)((double)(figures.sent) * 1e6 / f->o->rate);
		}
		// Asleep until the next one: a loop that spins takes a CPU from what it measures.
		int64_t rest_us = due - now_us();
		mini_loop_run_us(&f->loop, rest_us > 1000 ? 1000 : rest_us > 0 ? rest_us : 0);
		devices_return(f);
	}
}

// New clients are asked for what they hold first; what is measured is the life after that.
static void warm_up(struct fleet *f, double beats)
{
	double rate = f->o->rate < 2000 ? f->o->rate : 2000;
	struct options calm = *f->o;
	const struct options *asked = f->o;

	calm.rate = rate;
	f->o = &calm;
	figures.sent = 0;
	beats_send(f, beats * (double)f->o->count / rate);
	int64_t end = now_us() + 500000;
	while (now_us() < end)
		mini_loop_run(&f->loop, 10);
	f->o = asked;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t percentile(uint32_t *values, size_t count, double p)
{
	qsort(values, count, sizeof(*values), compare_u32);
	return count ? values[(size_t)((double)(count - 1) * p)] : 0;
}

static bool figures_begin(double rate, double seconds)
{
	free(figures.latency_us);
	figures = (struct figures){ .latency_max = (size_t)(rate * seconds * 1.2) + 1000 };
	figures.latency_us = calloc(figures.latency_max, sizeof(uint32_t));
	return figures.latency_us != NULL;
}

// late_p50_us is the median of the last quarter: a queue that grows shows there, a short stall of the
// machine does not.
static void figures_print(const struct fleet *f)
{
	size_t n = figures.answered < figures.latency_max ? figures.answered : figures.latency_max;
	uint32_t *all = figures.latency_us, late = percentile(all + n * 3 / 4, n - n * 3 / 4, 0.5);
	uint32_t p50 = percentile(all, n, 0.5), p99 = percentile(all, n, 0.99), most = percentile(all, n, 1.0);

	printf("{\"clients\":%zu,\"rate\":%.0f,\"seconds\":%.1f,\"sent\":%llu,\"answered\":%llu,\"answered_by_end\":%llu,"
	       "\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"late_p50_us\":%u,\"overrun\":%s",
		f->o->count, f->o->rate, f->o->seconds, (unsigned long long)figures.sent,
		(unsigned long long)figures.answered, (unsigned long long)figures.answered_by_end, p50, p99, most, late, figures.overrun ? "true" : "false");
}

struct cpu_times {
	int64_t server_us, broker_us, own_us;
};

static struct cpu_times cpu_look(const struct options *o)
{
	return (struct cpu_times){ cpu_us(o->server_pid), cpu_us(o->broker_pid), cpu_us(getpid()) };
}

static void measure(struct fleet *f)
{
	struct cpu_times before = cpu_look(f->o);

	measuring = true;
	beats_send(f, f->o->seconds);
	figures.answered_by_end = figures.answered;
	// What is still under way may come for a second; a queue that built up shows as missing answers.
	int64_t end = now_us() + 1000000;
	while (now_us() < end && figures.answered < figures.sent)
		mini_loop_run(&f->loop, 10);
	measuring = false;
	struct cpu_times after = cpu_look(f->o);
	double beats = figures.sent ? (double)figures.sent : 1;
	figures_print(f);
	printf(",\"server_cpu_us\":%.2f,\"broker_cpu_us\":%.2f,\"generator_cpu_us\":%.2f}\n",
		(double)(after.server_us - before.server_us) / beats, (double)(after.broker_us - before.broker_us) / beats,
		(double)(after.own_us - before.own_us) / beats);
	fflush(stdout);
}

// The next line of standard input; the connections live on meanwhile.
bool step_read(struct fleet *f, struct options *step)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	char line[128];

	while (poll(&in, 1, 0) == 0) {
		mini_loop_run(&f->loop, 10);
		for (size_t i = 0; i < f->o->count; i++)
			mini_keepalive(f->o->echo ? &f->echoes[i].link : &f->devices[i].link, clock_now().mono);
	}
	if (!fgets(line, sizeof(line), stdin) ||
		sscanf(line, "%lf %lf %d %zu", &step->rate, &step->seconds, &step->server_pid, &echo_size) < 2)
		return false;
	return step->rate > 0 && step->seconds > 0 && echo_size >= 8 && echo_size <= sizeof(echo_payload);
}

static void steps_run(struct fleet *f)
{
	struct options step = *f->o;

	setvbuf(stdin, NULL, _IONBF, 0);
	puts("{\"ready\":true}");
	fflush(stdout);
	f->o = &step;
	while (step_read(f, &step) && figures_begin(step.rate, step.seconds))
		measure(f);
}

static void fleet_fini(struct fleet *f)
{
	for (size_t i = 0; i < f->o->count; i++) {
		if (f->o->echo)
			mini_client_fini(&f->echoes[i].link);
		else
			fleet_device_fini(&f->devices[i]);
	}
	free(f->devices);
	free(f->echoes);
	free(figures.latency_us);
	arena_fini(&f->scratch);
	trust_close(&f->trust);
	buf_fini(&f->out);
	mini_tls_free(f->tls);
	mini_loop_fini(&f->loop);
}

// then: NULL, an open loop of beats.
static int beats_run(const struct options *o, enum err (*then)(struct fleet *f))
{
	struct fleet f = { .o = o };

	f.devices = o->echo ? NULL : calloc(o->count, sizeof(*f.devices));
	f.echoes = o->echo ? calloc(o->count, sizeof(*f.echoes)) : NULL;
	arena_init(&f.scratch, 1 << 20, 10000);
	buf_init(&f.out, LIMIT_REPORT * 2);
	if (!figures_begin(o->rate, o->seconds) || (!f.devices && !f.echoes))
		return fprintf(stderr, "helio-fleet: no memory\n"), 1;
	if (mini_loop_init(&f.loop) != ERR_OK || (!o->echo && trust_open(&f.trust, o->root_file, o->root_key) != ERR_OK))
		return fleet_fail("start");
	if (o->ca && mini_tls_new(o->ca, o->cert, o->key, &f.tls) != ERR_OK)
		return fleet_fail("TLS");
	if (fleet_gather(&f) != ERR_OK)
		return fleet_fail("sign-in");
	warm_up(&f, then == reconnects_run ? 3 : 8);
	enum err e = ERR_OK;
	if (then) {
		e = then(&f);
	} else if (o->steps) {
		steps_run(&f);
	} else {
		figures.sent = 0;
		measure(&f);
	}
	f.o = o;
	if (e != ERR_OK)
		return fleet_fail("measurement");
	fleet_fini(&f);
	return 0;
}

// ---------------------------------------------------------------- command line

enum { OPT_PREFIX = 1, OPT_COUNT, OPT_SEED, OPT_ENROL_KEY, OPT_OUT, OPT_HOST, OPT_PORT, OPT_ROOT_FILE, OPT_ROOT_KEY,
	OPT_RATE, OPT_SECONDS, OPT_ECHO, OPT_CA, OPT_CERT, OPT_KEY, OPT_FIRST, OPT_SIZE,
	OPT_SERVER_PID, OPT_BROKER_PID, OPT_STEPS, OPT_SPREAD, OPT_INTERVAL, OPT_CONTENT, OPT_DATA_PORT, OPT_DIR, OPT_HELP, OPT_VERSION };

static const char usage[] =
	"usage: helio-fleet enrol --prefix P --count N --enrol-key PEM --out DIR\n"
	"       helio-fleet beats --prefix P --count N --port P --root-file F --root-key K --rate R --seconds S\n"
	"                   [--host H] [--ca F --cert F --key F] [--seed N] [--first N] [--size N] [--echo] [--steps]\n"
	"                   [--server-pid N] [--broker-pid N]\n"
	"       helio-fleet reconnect --prefix P --count N --port P --root-file F --root-key K --rate R\n"
	"                   [--ca F --cert F --key F] [--echo --spread MS --interval MS]\n"
	"       helio-fleet publish --prefix P --count N --port P --root-file F --root-key K --rate R --content FILE\n"
	"                   [--echo --data-port P] [--dir DIR]\n"
	"       helio-fleet --help | --version\n"
	"the head of tests/fleet/main.c says what each is for";

static const struct option long_options[] = {
	{ "prefix", 1, NULL, OPT_PREFIX }, { "count", 1, NULL, OPT_COUNT }, { "seed", 1, NULL, OPT_SEED },
	{ "enrol-key", 1, NULL, OPT_ENROL_KEY }, { "out", 1, NULL, OPT_OUT }, { "host", 1, NULL, OPT_HOST },
	{ "port", 1, NULL, OPT_PORT }, { "root-file", 1, NULL, OPT_ROOT_FILE }, { "root-key", 1, NULL, OPT_ROOT_KEY },
	{ "rate", 1, NULL, OPT_RATE }, { "seconds", 1, NULL, OPT_SECONDS }, { "echo", 0, NULL, OPT_ECHO },
	{ "ca", 1, NULL, OPT_CA }, { "cert", 1, NULL, OPT_CERT }, { "key", 1, NULL, OPT_KEY },
	{ "first", 1, NULL, OPT_FIRST }, { "size", 1, NULL, OPT_SIZE },
	{ "spread", 1, NULL, OPT_SPREAD }, { "interval", 1, NULL, OPT_INTERVAL },
	{ "content", 1, NULL, OPT_CONTENT }, { "data-port", 1, NULL, OPT_DATA_PORT }, { "dir", 1, NULL, OPT_DIR },
	{ "steps", 0, NULL, OPT_STEPS }, { "server-pid", 1, NULL, OPT_SERVER_PID }, { "broker-pid", 1, NULL, OPT_BROKER_PID },
	{ "help", 0, NULL, OPT_HELP }, { "version", 0, NULL, OPT_VERSION }, { NULL, 0, NULL, 0 }
};

static bool option_take(struct options *o, int option, const char *value)
{
	switch (option) {
	case OPT_PREFIX: o->prefix = value; return true;
	case OPT_COUNT: o->count = strtoul(value, NULL, 10); return true;
	case OPT_SEED: o->seed = strtoull(value, NULL, 10); return true;
	case OPT_ENROL_KEY: o->enrol_key = value; return true;
	case OPT_OUT: o->out = value; return true;
	case OPT_HOST: o->host = value; return true;
	case OPT_PORT: o->port = (uint16_t)strtoul(value, NULL, 10); return true;
	case OPT_ROOT_FILE: o->root_file = value; return true;
	case OPT_ROOT_KEY: o->root_key = value; return true;
	case OPT_RATE: o->rate = strtod(value, NULL); return true;
	case OPT_SECONDS: o->seconds = strtod(value, NULL); return true;
	case OPT_ECHO: o->echo = true; return true;
	case OPT_CA: o->ca = value; return true;
	case OPT_CERT: o->cert = value; return true;
	case OPT_KEY: o->key = value; return true;
	case OPT_FIRST: o->first = strtoul(value, NULL, 10); return true;
	case OPT_STEPS: o->steps = true; return true;
	case OPT_CONTENT: o->content = value; return true;
	case OPT_DATA_PORT: o->data_port = (uint16_t)strtoul(value, NULL, 10); return true;
	case OPT_DIR: o->dir = value; return true;
	case OPT_SPREAD: o->spread_ms = (uint32_t)strtoul(value, NULL, 10); return true;
	case OPT_INTERVAL: o->interval_ms = (uint32_t)strtoul(value, NULL, 10); return o->interval_ms > 0;
	case OPT_SERVER_PID: o->server_pid = (int)strtol(value, NULL, 10); return o->server_pid > 0;
	case OPT_BROKER_PID: o->broker_pid = (int)strtol(value, NULL, 10); return o->broker_pid > 0;
	case OPT_SIZE: echo_size = strtoul(value, NULL, 10); return echo_size >= 8 && echo_size <= sizeof(echo_payload);
	default: return false;
	}
}

int main(int argc, char **argv)
{
	struct options o = { .prefix = "dev", .count = 10, .host = "127.0.0.1", .port = 1883, .rate = 100, .seconds = 5, .interval_ms = 10000 };
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == OPT_HELP || option == OPT_VERSION) {
			puts(option == OPT_HELP ? usage : "helio-fleet " HELIO_VERSION);
			return 0;
		}
		if (!option_take(&o, option, optarg))
			return 2;
	}
	log_init("helio-fleet", LOG_WARN);
	(void)signal(SIGPIPE, SIG_IGN); // TLS writes into a connection that broke
	(void)prctl(PR_SET_TIMERSLACK, 1000ul, 0, 0, 0); // 1 us: beats are due to the microsecond
	const char *what = optind < argc ? argv[optind] : "";
	if (strcmp(what, "enrol") == 0)
		return enrol_run(&o);
	if (strcmp(what, "beats") == 0 && o.count > 0 && o.rate > 0)
		return beats_run(&o, NULL);
	if (strcmp(what, "reconnect") == 0 && o.count > 0)
		return beats_run(&o, reconnects_run);
	if (strcmp(what, "publish") == 0 && o.count > 0)
		return beats_run(&o, publishes_run);
	fprintf(stderr, "%s\n", usage);
	return 2;
}
