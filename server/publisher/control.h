// The conversation with heliod through the control broker: sign-in in two beats, then messages
// under the session's MAC. A request is repeated under the same id, with back-off, until a
// Directive answers it; twenty silent seconds and we sign in again.
// Directives are handed on only when MAC, session and rising seq hold; nothing else on the topic is
// believed.
#ifndef HELIO_PUBLISHER_CONTROL_H
#define HELIO_PUBLISHER_CONTROL_H

#include "publisher_config.h"
#include "store.h"

struct control;

struct control_events {
	void *ctx;
	// A session began: offer everything again, ask for directives.
	void (*in_session)(void *ctx);
	// An authenticated directive. asked: it answers a request of ours that waited. Borrowed.
	void (*directive)(void *ctx, const struct directive *d, bool asked);
};

struct control_status {
	bool up, in_session;
	char peer[128];
	uint64_t session_id;
	size_t waiting; // requests without an answer
};

// config and store are borrowed. Connects at once.
enum err control_new(const struct publisher_config *config, struct store *store,
	const struct control_events *events, struct control **out) MUST_CHECK;
void control_free(struct control *c);

// Queues a request; publisher, session, seq, boot and request_id are set here. A waiting request of
// the same state and package (PUB_ORDERED: order) is replaced. *request_id: what the answering
// directive will name. Errors: ERR_FULL, ERR_RANGE.
enum err control_request(
	struct control *c, const struct publisher_msg *m, uint64_t *request_id) MUST_CHECK;
// Sent once when in session, never repeated: progress.
void control_tell(struct control *c, const struct publisher_msg *m);

void control_tick(struct control *c, struct mono now);
void control_get_status(const struct control *c, struct control_status *out);

// The present session's key for secrets, and its id. Errors: ERR_NOT_NOW.
enum err control_secret(
	const struct control *c, struct key32 *enc, uint64_t *session_id) MUST_CHECK;

#endif
