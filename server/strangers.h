// Negative probes over connections of their own (attack B5): who should not come in, must not.
//
//   anonymous   TLS without a client certificate must fail
//   identity    our own certificate with foreign client ids: the broker must give both connections
//   our own
//               identity, so the second one ends the first; otherwise a device could take another's
//               place
//
// The identity probe also ends a main connection of ours, so it runs before there is one: at a
// planned start. After a crash what was found before it holds, because the first heartbeats wait.
#ifndef HELIO_SERVER_STRANGERS_H
#define HELIO_SERVER_STRANGERS_H

#include "proto/mqtt_link.h"
#include "server/findings.h"

#define STRANGERS_MS 8000 // for all of it
#define STRANGERS_KICK_MS 2000

struct strangers;

// config: the main link's, with its certificates; borrowed until the probe is over. broker: for
// findings; borrowed. done is called once from the loop, or never after strangers_free.
// with_identity false: only the anonymous probe.
enum err strangers_new(uv_loop_t *loop, const struct link_config *config, const char *broker,
	bool with_identity, struct findings *findings, void (*done)(void *ctx), void *ctx,
	struct strangers **out) MUST_CHECK;
void strangers_free(struct strangers *s);                 // NULL is fine
bool strangers_are_over(const struct strangers *s);       // done was called
bool strangers_identity_holds(const struct strangers *s); // found so
void strangers_tick(struct strangers *s, struct now now);

#endif
