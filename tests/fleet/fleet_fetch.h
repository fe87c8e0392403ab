// The fetch of a simulated device: a connection of its own to a data broker, stage after stage of
// topics (index and manifest; page and index page; objects), each object hashed and compared with
// its name. What a real agent does besides is left out: it verifies two signatures, and writes.
#ifndef HELIO_TESTS_FLEET_FETCH_H
#define HELIO_TESTS_FLEET_FETCH_H

#include "tests/fleet/mini_mqtt.h"

#define FETCH_STAGES 3
#define FETCH_STAGE_TOPICS 512

// Read from a file of lines "STAGE TOPIC", STAGE 0 to 2.
struct fleet_content {
	char *topics[FETCH_STAGES][FETCH_STAGE_TOPICS];
	size_t count[FETCH_STAGES];
};

struct fleet_fetch {
	struct mini_client link;
	const struct fleet_content *content;
	bool at_once; // all stages in one: a raw subscriber
	int file;     // what comes is written there too, and synced at the end; -1: none
	size_t stage, arrived;
	void (*up)(void *ctx); // connected
	void (*over)(void *ctx, bool good);
	void *ctx;
};

enum err fleet_content_read(const char *path, struct fleet_content *out) MUST_CHECK;
void fleet_content_fini(struct fleet_content *c);

// Set content, at_once, file, up, over, ctx and link.client_id before. `over` is called once,
// inside of mini_loop_run, or not at all when this fails.
enum err fleet_fetch_begin(struct fleet_fetch *f, struct mini_loop *loop,
	const struct sockaddr_in *to, const struct sockaddr_in *from) MUST_CHECK;

#endif
