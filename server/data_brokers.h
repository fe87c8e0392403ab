// The data brokers of the fleet, as the presence server sees them (S002-2, S002-4).
//
// Two sources, and nothing else: our own connection says whether a broker is reachable; its $SYS
// topics, read over that connection, say how busy it is and that it still lives. A broker is fresh
// when its uptime was seen within 3 x sys_interval. Mosquitto does not republish an unchanged load
// and lets it expire, so an absent load means its last value; only the uptime proves life. Of a
// broker that tells nothing (broker_load.h) the connection proves life, and what was granted is its
// load.
//
// Pure: bytes and times come in, values go out. The connections belong to server.c.
#ifndef HELIO_SERVER_DATA_BROKERS_H
#define HELIO_SERVER_DATA_BROKERS_H

#include "proto/base/clock.h"
#include "proto/base/mem.h"
#include "proto/limits.h"
#include "proto/message.h"

struct broker_load;

#define DATA_BROKERS_MAX 64
#define DATA_BROKER_HOST 256

struct waiting; // presence.h

struct data_broker {
	char id[LIMIT_ID + 1], host[DATA_BROKER_HOST], ip[64];
	uint16_t port;
	bool tls;
	uint64_t capacity_bytes_per_s;  // at least 1
	const struct broker_load *load; // how its load is read; never NULL

	bool up;              // our own connection stands
	struct mono up_since; // or down since
	bool refused;         // the probe found what would lose data
	char why[LIMIT_TEXT + 1];

	bool uptime_seen;
	struct mono uptime_at;
	uint64_t uptime_s;
	double sent_bytes_per_s; // moving average of one minute
	uint64_t dropped;        // messages, since its start
	uint64_t clients;
	char version[LIMIT_ID + 1];

	// Kept by the presence server.
	uint64_t budget_bytes_per_s; // an operator's; 0: none
	bool budget_known;           // it was said since the server's start
	struct mono budget_since;    // it was said otherwise; 0: never
	uint32_t leases, placements;
	uint64_t granted_bytes_per_s; // of all leases
	uint64_t fresh_bytes_per_s;   // of leases too young to be in the measured load
	uint64_t slots_bytes;         // of its memory, for transfers (windows.h)
	struct wall last_target;      // 0: never
	struct mono target_at;        // the same, in this life of the server; 0: not in it
	bool is_relay;                // of sites alone (relays.h)
	struct waiting *line;         // clients that wait for one of its slots, the first one first
	uint32_t in_line;             // so many
	uint64_t tickets;             // given to those who ever stood there
};

struct data_brokers {
	struct data_broker *items; // [count], owned
	size_t count;
	uint32_t sys_interval_s;
	struct relay *relays; // [relay_count], relays.h
	size_t relay_count;
};

// One line of settings: "id name ip port capacity_bytes_per_s [load]"; "-" for a name or an ip that
// does not exist; load: a word of broker_load.h. Errors: ERR_FORMAT, ERR_RANGE.
enum err data_broker_parse(const char *line, bool tls, struct data_broker *out) MUST_CHECK;

// Parses all lines; ids are unique. Freed with data_brokers_fini. Errors: ERR_FORMAT, ERR_RANGE,
// ERR_EXISTS.
enum err data_brokers_init(struct data_brokers *b, char *const *lines, size_t count, bool tls,
	uint32_t sys_interval_s) MUST_CHECK;
void data_brokers_fini(struct data_brokers *b);
struct data_broker *data_brokers_find(struct data_brokers *b, const char *id); // NULL: none

void data_broker_link(struct data_broker *b, bool up, const char *why, struct now now);
bool data_broker_is_fresh(const struct data_broker *b, uint32_t sys_interval_s, struct mono now);
// Not reachable, or silent on a connection that stands, for so long; or refused. What is wanted
// moves.
bool data_broker_is_away(
	const struct data_broker *b, uint32_t sys_interval_s, uint32_t away_s, struct mono now);
// Reachable, fresh and not refused.
bool data_broker_is_candidate(
	const struct data_broker *b, uint32_t sys_interval_s, struct mono now);
// What an operator allows it by now.
void data_broker_budget(struct data_broker *b, uint64_t bytes_per_s, struct mono now);
// Over the last minute a quarter more left it than its budget, which has stood for a while:
// somebody takes more than was told. No client's word counts in it.
bool data_broker_is_overdrawn(const struct data_broker *b, struct mono now);
// Measured bytes out and rate granted but not yet measured, per capacity.
double data_broker_busy(const struct data_broker *b);

// Where content of it is fetched from or sent to. Borrows from b.
struct address data_broker_address(const struct data_broker *b, const char *topic);

#endif
