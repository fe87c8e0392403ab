// One package that lies on all of 16 brokers, and 10,000 clients that each ask for it once: the
// choice of a broker for a grant (copies_choose), the choice of a target for a publisher
// (place_choose), and the whole grant with its row, in a store in memory and inside one transaction
// a thousand.
#include "tests/bench/core/placement_row.h"

#include "proto/digest.h"
#include "server/broker_load.h"
#include "server/copies.h"
#include "server/db/rows_content.h"
#include "server/db/schema.h"
#include <stdio.h>
#include <time.h>

#define BROKERS 16
#define CLIENTS 10000
#define BATCH 1000
#define LOOPS 20

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static enum err directive_sink(void *ctx, const char *publisher, struct directive *m)
{
	(void)ctx;
	(void)publisher;
	(void)m;
	return ERR_OK;
}

static uint64_t granted;

static enum err grant_sink(void *ctx, const char *client, struct grant *m)
{
	(void)ctx;
	(void)client;
	granted += m->granted;
	return ERR_OK;
}

static enum err key_any(void *ctx, const char *publisher, struct key32 *out)
{
	(void)ctx;
	(void)publisher;
	*out = (struct key32){{1}};
	return ERR_OK;
}

static bool meant_any(void *ctx, const char *client, const struct digest *package)
{
	(void)ctx;
	(void)client;
	(void)package;
	return true;
}

static uint32_t interval_any(void *ctx, const char *client)
{
	(void)ctx;
	(void)client;
	return 30000;
}

static struct route_client client_any(void *ctx, const char *client)
{
	(void)ctx;
	(void)client;
	return (struct route_client){.reach = REACH_ONLINE};
}

static uint64_t lease_next(void *ctx)
{
	return ++*(uint64_t *)ctx;
}

static void readback_none(void *ctx, const char *broker, const struct readback_order *order)
{
	(void)ctx;
	(void)broker;
	(void)order;
}

static void must(enum err e)
{
	if (e == ERR_OK)
		return;
	fprintf(stderr, "placement: %s\n", err_text());
	exit(1);
}

static void brokers_make(struct data_brokers *b, struct now now)
{
	char text[BROKERS][80], *lines[BROKERS];

	for (int i = 0; i < BROKERS; i++) {
		snprintf(text[i], sizeof(text[i]), "d%02d host 127.0.0.1 %d 100000000", i, i + 1);
		lines[i] = text[i];
	}
	must(data_brokers_init(b, lines, BROKERS, true, 10));
	for (size_t i = 0; i < b->count; i++) {
		data_broker_link(&b->items[i], true, "", now);
		broker_load_mosquitto.take(
			&b->items[i], "$SYS/broker/uptime", bytes_of("9 seconds", 9), now);
	}
}

// Stored everywhere: the first placement and 15 copies, as rows.
static void package_make(struct db *db, const struct digest *id)
{
	const struct package_row package = {.id = *id,
		.publisher = "pub",
		.name = "app",
		.version = "1",
		.kind = PACKAGE_SOFTWARE,
		.envelope = bytes_of("x", 1)};
	const struct placement_row first = {.package = *id,
		.state = PLACE_STORED,
		.broker = "d00",
		.directive = DIRECTIVE_TRANSMIT,
		.directive_id = 1,
		.answered = true,
		.detail = ""};
	char broker[8];

	must(rows_package_put(db, &package));
	must(rows_placement_put(db, &first));
	for (int i = 1; i < BROKERS; i++) {
		snprintf(broker, sizeof(broker), "d%02d", i);
		must(rows_copy_put(db, &(struct copy_row){.package = *id,
					       .broker = broker,
					       .state = PLACE_STORED,
					       .directive = DIRECTIVE_TRANSMIT,
					       .directive_id = (uint64_t)i + 1,
					       .answered = true}));
	}
	must(db_commit(db));
}

static double choices_time(struct presence *p, const struct package *k, struct now now)
{
	char client[16];
	double began = seconds();
	size_t found = 0;

	for (int i = 0; i < LOOPS * BATCH; i++) {
		snprintf(client, sizeof(client), "c%d", i % CLIENTS);
		found += copies_choose(p, k, client, now) != NULL;
	}
	if (found != LOOPS * BATCH)
		must(err_set(ERR_CORRUPT, "no place was chosen"));
	return (seconds() - began) / LOOPS;
}

static double targets_time(const struct data_brokers *b, struct now now)
{
	const struct place_policy policy = {.recent_period_ms = 5000};
	struct place_candidate c[BROKERS];
	double began = seconds();
	size_t sum = 0;

	for (int loop = 0; loop < LOOPS * BATCH; loop++) {
		for (size_t i = 0; i < b->count; i++)
			c[i] = (struct place_candidate){.id = b->items[i].id,
				.usable = data_broker_is_candidate(&b->items[i], 10, now.mono),
				.busy = data_broker_busy(&b->items[i]),
				.leases = b->items[i].leases};
		sum += place_choose(c, b->count, &policy, now.wall.ms).index;
	}
	return sum == SIZE_MAX ? 0 : (seconds() - began) / LOOPS;
}

static double grants_time(
	struct presence *p, struct db *db, const struct digest *id, struct now now)
{
	double began = seconds();
	char client[16];
	struct fetch_request f = {
		.request_id = 1, .package = *id, .publisher = "pub", .failed_broker = ""};

	for (int i = 0; i < CLIENTS; i++) {
		const struct want m = {.client_id = client, .fetch = &f};

		snprintf(client, sizeof(client), "c%d", i);
		handle_want(p, client, &m, now);
		if (i % BATCH == BATCH - 1)
			must(db_commit(db));
	}
	return (seconds() - began) / (CLIENTS / BATCH);
}

void placement_row(void)
{
	const struct presence_config config = {.linger_s = 300,
		.lease_ttl_s = 90,
		.broker_away_s = 15,
		.directive_repeat_ms = 5000,
		.share_bytes_per_s = 1000000};
	const struct now now = {{1000000}, {1700000000000}};
	const struct digest id = sha256("package", 7);
	struct data_brokers brokers;
	struct db *db = NULL;
	uint64_t leases = 0;
	const struct presence_ports ports = {.ctx = &leases,
		.send_directive = directive_sink,
		.send_grant = grant_sink,
		.publisher_key = key_any,
		.is_meant = meant_any,
		.told_interval_ms = interval_any,
		.client = client_any,
		.lease_id = lease_next,
		.readback = readback_none};

	brokers_make(&brokers, now);
	must(db_sqlite_open(":memory:", &db));
	must(schema_migrate(db));
	package_make(db, &id);
	struct presence *p = presence_new(&config, &ports, &brokers, db);
	must(presence_load(p, now));
	struct package *k = presence_find(p, &id);
	k->state = PLACE_STORED;
	for (size_t i = 0; i < k->copy_count; i++)
		k->copies[i].state = PLACE_STORED;
	double whole = grants_time(p, db, &id, now);
	double place = choices_time(p, k, now), target = targets_time(&brokers, now);
	printf("clients=%d brokers=%d leases=%zu granted=%llu "
	       "place_ms_per_1000_grants=%.3f target_ms_per_1000=%.3f whole_ms_per_1000=%.2f\n",
		CLIENTS, BROKERS, leases_count(p->leases), (unsigned long long)granted,
		place * 1000, target * 1000, whole * 1000);
	presence_free(p);
	db_close(db);
	data_brokers_fini(&brokers);
}
