// What the files of helio-fleet share: a fleet of simulated devices, or of echo clients, on one loop.
//
//   main.c        enrol, beats: an open loop of heartbeats
//   reconnect.c   what it takes until all are back
//   publish.c     what it takes until all have a package
#ifndef HELIO_TESTS_FLEET_H
#define HELIO_TESTS_FLEET_H

#include "proto/trust.h"
#include "tests/fleet/fleet_device.h"

struct options {
	const char *prefix, *enrol_key, *out, *root_file, *root_key, *host;
	size_t count;
	uint64_t seed;
	uint16_t port;
	double rate, seconds;
	bool echo, steps;
	const char *ca, *cert, *key;
	size_t first;
	const char *content; // file of topics
	const char *dir; // NULL: what is fetched is not kept
	uint16_t data_port;
	int server_pid, broker_pid;
	uint32_t spread_ms, interval_ms; // of --echo: a server would tell
};

// The echo peer: 8 bytes of intended time come back in a payload of the same size.
struct echo_device {
	struct mini_client link;
	struct topic hb, rsp;
	bool up;
	struct way_back back;
	struct beat_grid grid;
	void (*answered)(void *ctx); // may be NULL
	void *ctx;
};

struct fleet {
	const struct options *o;
	struct mini_loop loop;
	struct mini_tls *tls;
	struct fleet_device *devices;
	struct echo_device *echoes;
	struct arena scratch;
	struct buf out;
	struct trust trust;
};

int64_t now_us(void);
int fleet_fail(const char *what); // says why, 1
struct mini_client *link_of(const struct fleet *f, size_t i);
struct way_back *way_of(const struct fleet *f, size_t i);
uint32_t spread_of(const struct fleet *f, size_t i);
// Where connections of the i-th come from.
struct sockaddr_in address_of(size_t i);
// Devices whose link broke come back; looks 20 times a second.
void devices_return(struct fleet *f);
// One beat of the echo client: the time comes back.
enum err echo_send(struct echo_device *d, int64_t intended_us) MUST_CHECK;
// The next line of standard input; the connections live on meanwhile.
bool step_read(struct fleet *f, struct options *step);
uint32_t percentile(uint32_t *values, size_t count, double p);

// reconnect.c
void way_answered(struct way_back *w);
enum err reconnects_run(struct fleet *f) MUST_CHECK;
// publish.c
enum err publishes_run(struct fleet *f) MUST_CHECK;

#endif
