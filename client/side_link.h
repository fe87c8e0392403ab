// One errand at a data broker: leave a report in the inbox there, or fetch a command by reference.
// A link of its own that lives as long as the errand, and never longer than its time.
#ifndef HELIO_CLIENT_SIDE_LINK_H
#define HELIO_CLIENT_SIDE_LINK_H

#include "client/fetcher.h"

#define ERRAND_MS 30000
#define ERRAND_PARTS 8

struct side_link;

struct side_events {
	// A report was acknowledged by the broker, or could not be left there.
	void (*left)(void *ctx, enum err e);
	// The bytes on the topic, or an error with err_text().
	void (*fetched)(void *ctx, enum err e, struct bytes payload);
};

// config: for identity, TLS and time-outs; borrowed.
enum err side_link_new(uv_loop_t *loop, const struct fetcher_config *config,
	const struct side_events *events, void *ctx, struct side_link **out) MUST_CHECK;
void side_link_free(struct side_link *s);

// Leaves payload (copied) at topic. While an errand to the same broker runs, it is added to it; a
// different errand ends first, unfinished.
void side_link_leave(
	struct side_link *s, const struct address *to, const char *topic, struct bytes payload);
// Fetches the retained bytes of topic, at most `limit`, whose SHA-256 is `sha256`.
void side_link_fetch(struct side_link *s, const struct address *from, const char *topic,
	const struct digest *sha256, size_t limit);
void side_link_stop(struct side_link *s);

#endif
