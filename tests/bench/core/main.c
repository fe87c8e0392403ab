// The rows of the benchmark that need no broker: the core of heliod alone, bytes in, bytes out.
//
//   bench_core heartbeats  [--clients N] [--beats N] [--pairs N] [--dir D]
//   bench_core through_paho [--clients N] [--beats N] [--pairs N]
//   bench_core growth      [--clients N] [--beats N] [--dir D]
//   bench_core instructions [--clients N] [--beats N] [--dir D]   under callgrind
//   bench_core state_bytes [--clients N]
//   bench_core restart     [--clients N] [--dir D]         opening, loading, first answer
//   bench_core media       [--clients N] [--dir D]         the walk for those who are away
//   bench_core orders      [--clients N] [--dir D]         100 plans: from clients to orders
//   bench_core queue                                       10^3 .. 10^6 clients
//   bench_core placement                                   10,000 clients, 16 data brokers
//   bench_core shares                                      10,000 leases, 1,000 limited sites
//   bench_core fill FILE CHANNEL_EPOCH POINTER FIRST COUNT rows of clients into heliod's store
//
// Prints lines of key=value, one a measurement, for tests/bench/bench.py.
#include "proto/base/log.h"
#include "tests/bench/core/flood.h"
#include "tests/bench/core/media_rows.h"
#include "tests/bench/core/order_rows.h"
#include "tests/bench/core/placement_row.h"
#include "tests/bench/core/queue_rows.h"
#include "tests/bench/core/reference.h"
#include "tests/bench/core/share_row.h"
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

struct options {
	size_t clients, beats, pairs;
	const char *dir;
};

static void warm_up(struct bench_fleet *f, struct beats *b, size_t count)
{
	for (size_t left = count; left;) {
		size_t n = left < 50000 ? left : 50000;
		beats_make(f, b, n);
		beats_give(f, b);
		left -= n;
	}
}

static void answers_check(struct bench_fleet *f, uint64_t before, uint64_t beats)
{
	if (bench_counter(f, "answers.no-action") - before != beats ||
		bench_counter(f, "mismatches") != 0) {
		fprintf(stderr, "bench_core: %llu answers to %llu beats, %llu mismatches\n",
			(unsigned long long)(bench_counter(f, "answers.no-action") - before),
			(unsigned long long)beats,
			(unsigned long long)bench_counter(f, "mismatches"));
		exit(1);
	}
}

static void heartbeats(const struct options *o)
{
	struct bench_fleet f;
	struct beats b;

	bench_fleet_init(&f, o->clients, o->dir);
	bench_fleet_start(&f, NULL, NULL);
	bench_load_all(&f);
	struct reference *r = reference_new(o->clients);
	beats_init(&b, o->beats > 50000 ? o->beats : 50000);
	warm_up(&f, &b, o->clients);
	for (size_t i = 0; i < o->pairs; i++) {
		beats_make(&f, &b, o->beats);
		uint64_t before = bench_counter(&f, "answers.no-action");
		uint64_t rows = bench_counter(&f, "statements"), views = bench_counter(&f, "views");
		struct meter m = meter_now();
		beats_give(&f, &b);
		m = meter_since(m);
		answers_check(&f, before, o->beats);
		struct meter p = meter_now();
		reference_give(r, &b);
		p = meter_since(p);
		double beats = (double)o->beats;
		printf("clients=%zu beats=%zu per_s=%.0f ns=%.0f cpu_ns=%.0f instructions=%.0f "
		       "peer_per_s=%.0f peer_cpu_ns=%.0f peer_instructions=%.0f rows=%llu "
		       "views=%llu bytes=%zu\n",
			o->clients, o->beats, beats * 1e9 / (double)m.cpu_ns, (double)m.ns / beats,
			(double)m.cpu_ns / beats, (double)m.instructions / beats,
			beats * 1e9 / (double)p.cpu_ns, (double)p.cpu_ns / beats,
			(double)p.instructions / beats,
			(unsigned long long)(bench_counter(&f, "statements") - rows),
			(unsigned long long)(bench_counter(&f, "views") - views),
			b.bytes.size / o->beats);
		fflush(stdout);
	}
	reference_free(r);
	beats_fini(&b);
	bench_fleet_fini(&f);
}

static void through_paho(const struct options *o)
{
	struct bench_fleet f;
	struct beats b;

	bench_fleet_init(&f, o->clients, o->dir);
	bench_fleet_start(&f, NULL, NULL);
	bench_load_all(&f);
	beats_init(&b, o->beats > 50000 ? o->beats : 50000);
	warm_up(&f, &b, 100000);
	for (size_t i = 0; i < o->pairs; i++) {
		beats_make(&f, &b, o->beats);
		uint64_t before = bench_counter(&f, "answers.no-action");
		double counted = flood(&f, &b, true), answered = flood(&f, &b, false);
		answers_check(&f, before, o->beats);
		printf("clients=%zu beats=%zu per_s=%.0f counted_per_s=%.0f\n", o->clients,
			o->beats, answered, counted);
		fflush(stdout);
	}
	beats_fini(&b);
	bench_fleet_fini(&f);
}

static void growth(const struct options *o)
{
	struct bench_fleet f;
	struct beats b;
	struct channel_info channel;
	size_t cursor = 0, seen = 0, in = 0, full = 0;
	struct client_brief brief;
	struct client_info info;

	bench_fleet_init(&f, o->clients, o->dir);
	bench_fleet_start(&f, NULL, NULL);
	bench_load_all(&f);
	beats_init(&b, o->beats > 50000 ? o->beats : 50000);
	warm_up(&f, &b, o->clients > 100000 ? o->clients : 100000);
	beats_make(&f, &b, o->beats);
	struct meter m = meter_now();
	beats_give(&f, &b);
	m = meter_since(m);
	struct meter walk = meter_now();
	for (; core_client_walk(f.core, &cursor, &brief); seen++)
		in += brief.role == ROLE_CLIENT && !brief.revoked &&
		      core_client_is_in(f.core, brief.place, "default");
	walk = meter_since(walk);
	struct meter fill = meter_now();
	for (cursor = 0; core_client_next(f.core, &cursor, &info);)
		full++;
	fill = meter_since(fill);
	struct meter event = meter_now();
	MUST(core_channel_control(f.core, "default", CONTROL_RATE, 1000000, "bench", NULL));
	core_turn_end(f.core, clock_now());
	event = meter_since(event);
	MUST(core_channel_find(f.core, "default", &channel));
	printf("clients=%zu cpu_ns=%.0f walk_ns_per_client=%.1f fill_ns_per_client=%.1f seen=%zu "
	       "broadcast_us=%.0f "
	       "elements=%zu\n",
		o->clients, (double)m.cpu_ns / (double)o->beats, (double)walk.cpu_ns / (double)seen,
		(double)fill.cpu_ns / (double)full, in, (double)event.ns / 1e3, channel.elements);
	beats_fini(&b);
	bench_fleet_fini(&f);
}

// Under callgrind: only the heartbeats that are measured are counted, by a clock that does not know
// how slow it is.
static void instructions(const struct options *o)
{
	struct bench_fleet f;
	struct beats b;

	bench_fleet_init(&f, o->clients, o->dir);
	f.config.views_per_s = 1; // a budget of time, the same for every fleet
	bench_fleet_start(&f, NULL, NULL);
	bench_load_all(&f);
	f.virtual_us = clock_now().mono.ms * 1000;
	beats_init(&b, 50000);
	warm_up(&f, &b, o->clients > 200000 ? o->clients : 200000);
	beats_make(&f, &b, o->beats < 50000 ? o->beats : 50000);
	f.tick_ms = f.virtual_us / 1000; // what a tick saves does not grow with the fleet
	CALLGRIND_START_INSTRUMENTATION;
	beats_give(&f, &b);
	CALLGRIND_STOP_INSTRUMENTATION;
	beats_fini(&b);
	bench_fleet_fini(&f);
}

static void state_bytes(const struct options *o)
{
	struct bench_fleet f;
	struct beats b;

	bench_fleet_init(&f, o->clients, o->dir);
	beats_init(&b, 50000);
	beats_make(&f, &b, 0);
	malloc_trim(0);
	size_t before = resident_bytes();
	bench_fleet_start(&f, NULL, NULL);
	bench_load_all(&f);
	size_t loaded = resident_bytes();
	size_t made = 0;
	for (size_t left = o->clients; left;) {
		size_t n = left < 50000 ? left : 50000, at = resident_bytes();
		beats_make(&f, &b, n);
		made += resident_bytes() - at; // the bench's own
		beats_give(&f, &b);
		left -= n;
	}
	size_t after = resident_bytes() - made;
	printf("clients=%zu bytes_per_client=%.1f loaded_bytes_per_client=%.1f\n", o->clients,
		(double)(after - before) / (double)o->clients,
		(double)(loaded - before) / (double)o->clients);
	beats_fini(&b);
	bench_fleet_fini(&f);
}

static void restart(const struct options *o)
{
	struct bench_fleet f;
	struct beats b;
	double open_s, load_s;

	bench_fleet_init(&f, o->clients, o->dir);
	beats_init(&b, 50000);
	for (size_t i = 0; i < o->pairs; i++) {
		struct meter begin = meter_now();
		bench_fleet_start(&f, &open_s, &load_s);
		beats_make(&f, &b, 1);
		beats_give(&f, &b);
		struct meter m = meter_since(begin);
		answers_check(&f, 0, 1);
		struct meter rest = meter_now();
		bench_load_all(&f);
		rest = meter_since(rest);
		printf("clients=%zu open_ms=%.1f load_ms=%.1f rest_ms=%.0f first_answer_ms=%.1f "
		       "cpu_ms=%.1f\n",
			o->clients, open_s * 1e3, load_s * 1e3, (double)rest.ns / 1e6,
			(double)m.ns / 1e6, (double)m.cpu_ns / 1e6);
		fflush(stdout);
		bench_fleet_stop(&f);
	}
	beats_fini(&b);
	bench_fleet_fini(&f);
}

static int fill(int argc, char **argv)
{
	struct db *db = NULL;

	if (argc != 5)
		return 2;
	MUST(db_sqlite_open(argv[0], &db));
	MUST(db->engine->exec(db, "PRAGMA synchronous=OFF; PRAGMA cache_size=-400000"));
	bench_rows_add(db, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
		strtoull(argv[1], NULL, 10), (uint32_t)strtoul(argv[2], NULL, 10));
	db_close(db);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"clients", 1, NULL, 'c'}, {"beats", 1, NULL, 'b'},
		{"pairs", 1, NULL, 'p'}, {"dir", 1, NULL, 'd'}, {NULL, 0, NULL, 0}};
	struct options o = {.clients = 1000000, .beats = 200000, .pairs = 5};

	for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
		if (c == 'c')
			o.clients = strtoull(optarg, NULL, 10);
		else if (c == 'b')
			o.beats = strtoull(optarg, NULL, 10);
		else if (c == 'p')
			o.pairs = strtoull(optarg, NULL, 10);
		else if (c == 'd')
			o.dir = optarg;
		else
			return 2;
	}
	log_init("bench_core", LOG_WARN);
	const char *row = optind < argc ? argv[optind] : "";
	if (strcmp(row, "heartbeats") == 0)
		heartbeats(&o);
	else if (strcmp(row, "through_paho") == 0)
		through_paho(&o);
	else if (strcmp(row, "growth") == 0)
		growth(&o);
	else if (strcmp(row, "instructions") == 0)
		instructions(&o);
	else if (strcmp(row, "state_bytes") == 0)
		state_bytes(&o);
	else if (strcmp(row, "restart") == 0)
		restart(&o);
	else if (strcmp(row, "queue") == 0)
		queue_rows();
	else if (strcmp(row, "media") == 0)
		media_rows(o.clients, o.dir);
	else if (strcmp(row, "orders") == 0)
		order_rows(o.clients, o.dir);
	else if (strcmp(row, "placement") == 0)
		placement_row();
	else if (strcmp(row, "shares") == 0)
		share_row();
	else if (strcmp(row, "fill") == 0)
		return fill(argc - optind - 1, argv + optind + 1);
	else
		return fprintf(stderr, "bench_core: the head of main.c says what there is\n"), 2;
	return 0;
}
