// A fleet on paper for the bench of the core: a store with N clients that are signed in, the core
// on it with a sink in place of the links, and heartbeats with real MACs made before the clock
// runs.
//
//   store -> core_new -> [ beats_make -> core_message ... core_turn_end ] -> sink counts answers
#ifndef HELIO_TESTS_BENCH_CORE_FLEET_H
#define HELIO_TESTS_BENCH_CORE_FLEET_H

#include "proto/session.h"
#include "proto/topics.h"
#include "server/core.h"
#include "server/db/db.h"

#define BENCH_TURN 1024    // messages of a turn at most, as in heliod
#define BENCH_TURN_US 2560 // 400,000 heartbeats a second

// What a client remembers.
struct bench_client {
	uint32_t seq, answers; // of this boot
};

struct bench_fleet {
	char folder[96], file[128], incarnation[128];
	bool keep; // the folder stays
	size_t count;
	struct db *db;
	struct core *core;
	struct core_config config;
	struct sign_key *online;
	struct bench_client *clients;
	uint32_t *order; // a random permutation of the clients, walked again and again
	size_t at;
	uint64_t random;
	int64_t tick_ms;           // of the last tick
	int64_t virtual_us;        // not 0: the clock, and a turn takes BENCH_TURN_US
	uint64_t sent, sent_bytes; // by the core, into the sink
	struct bytes last;         // borrowed from the outbox, within a turn
};

// Heartbeats ready to be handed in.
struct beats {
	size_t count;
	uint32_t *client;
	struct topic *topic;
	struct buf bytes;
	uint32_t *at; // of the payloads in bytes; at[count] is the end
};

// Makes the store with `count` clients in a new folder (or takes the folder that holds one).
void bench_fleet_init(struct bench_fleet *f, size_t count, const char *folder);
// The program starts on the store; seconds of both steps, NULL: not asked.
void bench_fleet_start(struct bench_fleet *f, double *open_s, double *load_s);
void bench_load_all(struct bench_fleet *f);   // what heliod loads between turns
void bench_fleet_stop(struct bench_fleet *f); // as kill -9
void bench_fleet_fini(struct bench_fleet *f);
void bench_id(size_t client, char out[LIMIT_ID + 1]);
void bench_keys(size_t client, struct key32 *up, struct key32 *down);
// Adds rows of clients first..first+count-1 to an open store.
void bench_rows_add(struct db *db, size_t first, size_t count, uint64_t epoch, uint32_t pointer);

void beats_init(struct beats *b, size_t max);
void beats_fini(struct beats *b);
// The next `count` clients of the permutation beat.
void beats_make(struct bench_fleet *f, struct beats *b, size_t count);
// Hands them in, in turns; a tick about every second.
void beats_give(struct bench_fleet *f, const struct beats *b);

struct bytes beats_payload(const struct beats *b, size_t i);
uint64_t bench_counter(struct bench_fleet *f, const char *name);

// ---- measuring: user instructions of this thread, CPU nanoseconds, resident bytes

struct meter {
	uint64_t instructions; // 0 when the machine does not count
	int64_t ns, cpu_ns;
};
struct meter meter_now(void);
struct meter meter_since(struct meter begin);
size_t resident_bytes(void);

#define MUST(e)                                                                                    \
	do {                                                                                       \
		if ((e) != ERR_OK)                                                                 \
			bench_die(#e);                                                             \
	} while (0)
_Noreturn void bench_die(const char *what);

#endif
