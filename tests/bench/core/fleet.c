#include "tests/bench/core/fleet.h"

#include "server/db/rows.h"
#include "server/db/schema.h"
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BENCH_SESSION 12
#define IMAGES 50

_Noreturn void bench_die(const char *what)
{
	fprintf(stderr, "bench_core: %s: %s\n", what, err_text());
	exit(1);
}

// ---- measuring

static uint64_t instructions_now(void)
{
	static int fd = -2;
	uint64_t count = 0;

	if (fd == -2) {
		struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
			.size = sizeof(attr),
			.config = PERF_COUNT_HW_INSTRUCTIONS,
			.exclude_kernel = 1,
			.exclude_hv = 1};
		fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	}
	return fd >= 0 && read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static int64_t ns_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct meter meter_now(void)
{
	return (struct meter){
		instructions_now(), ns_of(CLOCK_MONOTONIC), ns_of(CLOCK_THREAD_CPUTIME_ID)};
}

struct meter meter_since(struct meter begin)
{
	struct meter now = meter_now();

	return (struct meter){now.instructions - begin.instructions, now.ns - begin.ns,
		now.cpu_ns - begin.cpu_ns};
}

size_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%*u %lu", &pages) != 1)
		abort();
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

// ---- ports

static void sink(void *ctx, const char *broker, const char *topic, struct bytes payload, int qos,
	bool retained)
{
	struct bench_fleet *f = ctx;

	(void)broker;
	(void)topic;
	(void)qos;
	(void)retained;
	f->sent++;
	f->sent_bytes += payload.size;
	f->last = payload;
}

static void seeded(void *ctx, void *out, size_t size)
{
	struct bench_fleet *f = ctx;
	uint8_t *p = out;

	for (size_t i = 0; i < size; i++) {
		f->random = f->random * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = (uint8_t)(f->random >> 56);
	}
}

static void no_share(void *ctx, struct key32 *secret, struct key32 *share)
{
	(void)ctx;
	x25519_generate(secret, share);
}

// ---- the store

void bench_id(size_t client, char out[LIMIT_ID + 1])
{
	(void)snprintf(out, LIMIT_ID + 1, "dev%06zu", client);
}

void bench_keys(size_t client, struct key32 *up, struct key32 *down)
{
	uint64_t number[2] = {client, 1};
	struct digest d = sha256(number, sizeof(number));

	memcpy(up->b, d.b, sizeof(up->b));
	number[1] = 2;
	d = sha256(number, sizeof(number));
	memcpy(down->b, d.b, sizeof(down->b));
}

static struct bytes ip_of(size_t client, uint8_t out[4])
{
	out[0] = 10;
	out[1] = (uint8_t)(client >> 16);
	out[2] = (uint8_t)(client >> 8);
	out[3] = (uint8_t)client;
	return bytes_of(out, 4);
}

// What a client shows and says of itself; the store knows it already, as that of a fleet in use.
static struct status status_of(size_t client, char image[32])
{
	static const struct digest package = {{9}};
	static struct software_version software[] = {
		{"helio-agent", "0.1.0", {{1}}}, {"spring", "2026-11", {{2}}}};

	(void)snprintf(image, 32, "%04zu-bridge.jpg", client % IMAGES);
	return (struct status){.state = "idle",
		.agent_version = "0.1.0",
		.free_bytes = 123456789012,
		.showing_package = package,
		.showing_image = image,
		.interval_ms = 30000,
		.clock_quality = 2,
		.hw_class = "rpi4",
		.software = software,
		.software_count = 2,
		.screen_width_px = 1920,
		.screen_height_px = 1080};
}

// As views.c keeps it.
static void told_make(const struct status *s, struct buf *profile, struct buf *showing)
{
	buf_clear(profile);
	MUST(buf_append(profile, s->agent_version, strlen(s->agent_version) + 1));
	MUST(buf_append(profile, s->hw_class, strlen(s->hw_class) + 1));
	MUST(buf_append(profile, s->state, strlen(s->state) + 1));
	for (size_t i = 0; i < s->software_count; i++) {
		const struct software_version *v = &s->software[i];
		MUST(buf_append(profile, v->name, strlen(v->name) + 1));
		MUST(buf_append(profile, v->version, strlen(v->version) + 1));
		MUST(buf_append(profile, v->package.b, sizeof(v->package.b)));
	}
	buf_clear(showing);
	MUST(buf_append(showing, s->showing_package.b, sizeof(s->showing_package.b)));
	MUST(buf_append(showing, s->showing_image, strlen(s->showing_image) + 1));
}

void bench_rows_add(struct db *db, size_t first, size_t count, uint64_t epoch, uint32_t pointer)
{
	struct key32 enc = {{3}};
	int64_t now_ms = clock_now().wall.ms;
	char id[LIMIT_ID + 1], image[32];
	uint8_t ip[4];
	SCOPED_BUF struct buf profile;
	SCOPED_BUF struct buf showing;

	buf_init(&profile, 4096);
	buf_init(&showing, 4096);
	for (size_t i = first; i < first + count; i++) {
		struct session_row s = {.id = id,
			.session_id = BENCH_SESSION,
			.keys = {.enc = enc},
			.expires_ms = now_ms + SESSION_LIFE_MS};
		struct status told = status_of(i, image);
		told_make(&told, &profile, &showing);
		bench_id(i, id);
		bench_keys(i, &s.keys.mac_up, &s.keys.mac_down);
		MUST(rows_principal_put(db,
			&(struct principal_row){
				.id = id, .name = id, .role = ROLE_CLIENT, .enrolled_ms = now_ms}));
		MUST(rows_session_put(db, &s));
		MUST(rows_client_put(db, &(struct client_row){.id = id,
						 .channel = "default",
						 .highest_session = BENCH_SESSION,
						 .state = CS_IDLE,
						 .reach = REACH_ONLINE,
						 .d = 0,
						 .epoch = epoch,
						 .pointer = pointer,
						 .holdings_known = true,
						 .told_interval_ms = 30000,
						 .last_heard_ms = now_ms,
						 .last_kind = KIND_NO_ACTION,
						 .profile = buf_bytes(&profile),
						 .showing = buf_bytes(&showing),
						 .ip = ip_of(i, ip)}));
		if (i % 100000 == 99999)
			MUST(db_commit(db));
	}
	MUST(db_commit(db));
}

static void store_make(struct bench_fleet *f)
{
	struct channel_info channel;

	bench_fleet_start(f, NULL, NULL); // makes the channel
	MUST(core_channel_find(f->core, "default", &channel));
	bench_fleet_stop(f);
	MUST(db_sqlite_open(f->file, &f->db));
	MUST(f->db->engine->exec(f->db, "PRAGMA synchronous=OFF; PRAGMA cache_size=-400000"));
	bench_rows_add(f->db, 0, f->count, channel.epoch, (uint32_t)channel.tail_seq);
	db_close(f->db);
	f->db = NULL;
}

static void order_make(struct bench_fleet *f)
{
	uint64_t x = 88172645463325252ull;

	for (size_t i = 0; i < f->count; i++)
		f->order[i] = (uint32_t)i;
	for (size_t i = f->count; i-- > 1;) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		size_t j = x % (i + 1);
		uint32_t t = f->order[i];
		f->order[i] = f->order[j];
		f->order[j] = t;
	}
}

void bench_fleet_init(struct bench_fleet *f, size_t count, const char *folder)
{
	struct key32 secret = {{7}};
	struct stat st;

	*f = (struct bench_fleet){.count = count, .random = 1, .keep = folder != NULL};
	(void)snprintf(
		f->folder, sizeof(f->folder), "%s", folder ? folder : "/tmp/helio-core-XXXXXX");
	if (folder ? mkdir(folder, 0700) != 0 && stat(folder, &st) != 0 : !mkdtemp(f->folder))
		bench_die("folder");
	(void)snprintf(f->file, sizeof(f->file), "%s/heliod.db", f->folder);
	(void)snprintf(f->incarnation, sizeof(f->incarnation), "%s/incarnation", f->folder);
	MUST(sign_key_load(&secret, &f->online));
	core_config_default(&f->config);
	f->config.online_key = f->online;
	f->config.incarnation_file = f->incarnation;
	f->clients = calloc(count ? count : 1, sizeof(*f->clients));
	f->order = calloc(count ? count : 1, sizeof(*f->order));
	if (!f->clients || !f->order)
		bench_die("memory");
	order_make(f);
	memset(f->clients, 1, count * sizeof(*f->clients)); // resident before anything is measured
	if (stat(f->file, &st) != 0)
		store_make(f);
}

void bench_fleet_start(struct bench_fleet *f, double *open_s, double *load_s)
{
	const struct core_ports ports = {
		.ctx = f, .publish = sink, .random = seeded, .x25519 = no_share};
	struct meter begin = meter_now();

	MUST(db_sqlite_open(f->file, &f->db));
	MUST(schema_migrate(f->db));
	struct meter opened = meter_since(begin);
	f->random += (uint64_t)begin.ns;
	MUST(core_new(&f->config, f->db, &ports, clock_now(), &f->core));
	struct meter loaded = meter_since(begin);
	core_link(f->core, true, clock_now());
	memset(f->clients, 0, f->count * sizeof(*f->clients));
	if (open_s)
		*open_s = (double)opened.ns / 1e9;
	if (load_s)
		*load_s = (double)(loaded.ns - opened.ns) / 1e9;
}

void bench_load_all(struct bench_fleet *f)
{
	while (core_load_some(f->core, 400, clock_now()))
		;
	core_turn_end(f->core, clock_now());
}

void bench_fleet_stop(struct bench_fleet *f)
{
	db_rollback(f->db);
	core_free(f->core);
	db_close(f->db);
	f->core = NULL;
	f->db = NULL;
}

void bench_fleet_fini(struct bench_fleet *f)
{
	static const char *const names[] = {
		"heliod.db", "heliod.db-wal", "heliod.db-shm", "incarnation"};
	char path[160];

	if (f->core)
		bench_fleet_stop(f);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !f->keep; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", f->folder, names[i]);
		(void)unlink(path);
	}
	if (!f->keep)
		(void)rmdir(f->folder);
	sign_key_free(f->online);
	free(f->clients);
	free(f->order);
}

// ---- heartbeats

void beats_init(struct beats *b, size_t max)
{
	*b = (struct beats){0};
	buf_init(&b->bytes, max * LIMIT_HEARTBEAT);
	b->client = calloc(max, sizeof(*b->client));
	b->topic = calloc(max, sizeof(*b->topic));
	b->at = calloc(max + 1, sizeof(*b->at));
	if (!b->client || !b->topic || !b->at)
		bench_die("memory");
}

void beats_fini(struct beats *b)
{
	buf_fini(&b->bytes);
	free(b->client);
	free(b->topic);
	free(b->at);
}

static void beat_make(struct bench_fleet *f, uint32_t n, const char *topic, struct buf *out)
{
	struct bench_client *c = &f->clients[n];
	struct key32 up, down;
	char id[LIMIT_ID + 1], image[32];
	uint8_t ip[4];

	bench_id(n, id);
	struct status status = status_of(n, image);
	struct heartbeat h = {.client_id = id,
		.ip_address = ip_of(n, ip),
		.session_id = BENCH_SESSION,
		.seq = ++c->seq,
		.sent_unix_ms = 1763700000123,
		.ack = ACK_RESPONSE,
		.last_response_id = c->answers ? core_incarnation(f->core) << 32 | c->answers : 0,
		.status = &status,
		.boot = *core_boot(f->core)};
	c->answers++;
	bench_keys(n, &up, &down);
	MUST(heartbeat_encode(&h, out));
	MUST(seal_mac(out, topic, &up));
}

void beats_make(struct bench_fleet *f, struct beats *b, size_t count)
{
	SCOPED_BUF struct buf one;
	char id[LIMIT_ID + 1];

	buf_init(&one, LIMIT_HEARTBEAT);
	buf_clear(&b->bytes);
	b->count = count;
	for (size_t i = 0; i < count; i++) {
		uint32_t n = f->order[f->at++ % f->count];
		b->client[i] = n;
		b->at[i] = (uint32_t)b->bytes.size;
		bench_id(n, id);
		b->topic[i] = topic_hb(id);
		beat_make(f, n, b->topic[i].s, &one);
		MUST(buf_append(&b->bytes, one.data, one.size));
	}
	b->at[count] = (uint32_t)b->bytes.size;
}

struct bytes beats_payload(const struct beats *b, size_t i)
{
	return bytes_of(b->bytes.data + b->at[i], b->at[i + 1] - b->at[i]);
}

static struct now turn_now(struct bench_fleet *f)
{
	struct now now = clock_now();

	if (f->virtual_us == 0)
		return now;
	f->virtual_us += BENCH_TURN_US;
	return (struct now){{f->virtual_us / 1000}, {now.wall.ms}};
}

void beats_give(struct bench_fleet *f, const struct beats *b)
{
	for (size_t i = 0; i < b->count;) {
		struct now now = turn_now(f);
		for (size_t end = i + BENCH_TURN; i < end && i < b->count; i++) {
			if (i + CORE_AHEAD < b->count)
				core_ahead(f->core, b->topic[i + CORE_AHEAD].s,
					strlen(b->topic[i + CORE_AHEAD].s));
			core_message(f->core, NULL, b->topic[i].s, strlen(b->topic[i].s),
				beats_payload(b, i), false, now);
		}
		if (now.mono.ms - f->tick_ms >= 1000) {
			core_tick(f->core, now);
			f->tick_ms = now.mono.ms;
		}
		core_turn_end(f->core, now);
	}
}

uint64_t bench_counter(struct bench_fleet *f, const char *name)
{
	struct core_counter all[96];
	size_t count = core_counters(f->core, all, 96);

	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].name, name) == 0)
			return all[i].value;
	bench_die(name);
}
