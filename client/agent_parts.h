// What the files of the agent's core call in each other. No other room includes this.
#ifndef HELIO_CLIENT_AGENT_PARTS_H
#define HELIO_CLIENT_AGENT_PARTS_H

#include "client/agent.h"
#include "proto/base/log.h"

// Delay before try n (0-based): first << n, at most max, spread over its upper half.
int64_t agent_backoff_ms(struct agent_core *c, uint32_t tries, int64_t first_ms, int64_t max_ms);
// What the doer is to keep from now on; told only when it is another than before.
void agent_pace(struct agent_core *c, uint64_t rate_bytes_per_s, bool hold);

// session.c
void session_sign_in(struct agent_core *c, struct now now);
void session_offer(struct agent_core *c, struct now now, struct bytes payload);
// A response that was taken; it lives in config->scratch.
struct taken {
	struct response response;
	bool resend; // it repeats the last response
	// NULL, or why its content is not understood: then send, retrieve and execute are NULL.
	const char *puzzle;
};
enum err session_response(
	struct agent_core *c, struct now now, struct bytes payload, struct taken *out) MUST_CHECK;
// The sentence of a failed decode of a response, without the way to its body. In the arena.
const char *session_puzzle(struct agent_core *c);
enum err session_grant(struct agent_core *c, struct bytes payload, struct grant *out) MUST_CHECK;
void session_host(struct agent_core *c, struct now now, struct bytes payload);
void session_watch(struct agent_core *c, struct now now);
void session_fini(struct client_session *s);
// Seals config->out for `topic` and hands it over. Errors: as port.publish.
enum err session_publish(struct agent_core *c, const char *topic, int qos) MUST_CHECK;

// heartbeat.c
void heartbeat_send(struct agent_core *c, struct now now);

// operations.c
void operation_obey(struct agent_core *c, struct now now, const struct taken *t);
void operation_recover(struct agent_core *c);
// Goes on with the open operation after a start or a new session.
void operation_resume(struct agent_core *c, struct now now);
void operation_end(struct agent_core *c, struct now now, enum op_status status, const char *format,
	...) PRINTF_LIKE(4, 5);
bool operation_is_open(const struct agent_core *c);
// Stored now, or as soon as the disk takes it.
void state_save_soon(struct agent_core *c, struct now now);

// execute.c
void operation_execute(struct agent_core *c, struct now now, const struct execute_command *e);
void command_stop(struct agent_core *c);
bool command_recover(struct agent_core *c, const struct execute_command *e);

// rotate.c
void rotate_execute(struct agent_core *c, struct now now);
bool rotate_recover(struct agent_core *c);
// Fills the keys of a sign-in whose nonce and share are set; *signs seals it.
void rotate_ask(struct agent_core *c, struct sign_in *in, const struct sign_key **signs);
// ERR_UNSUPPORTED: the server knows nothing of the next key, and the rotation is given up.
enum err rotate_offer_check(
	struct agent_core *c, struct now now, const struct session_offer *o) MUST_CHECK;
void rotate_answered(struct agent_core *c, struct now now);

// retrieve.c
void retrieve_begin(struct agent_core *c, struct now now, const struct retrieve_information *r);
void retrieve_step(struct agent_core *c, struct now now);
void retrieve_grant(struct agent_core *c, struct now now, const struct grant *g);
void retrieve_stop(struct agent_core *c, struct now now, enum op_status outcome);
void retrieve_tick(struct agent_core *c, struct now now);
bool retrieve_deadline(const struct agent_core *c, struct mono *out);
void retrieve_session_changed(struct agent_core *c, struct now now);
void retrieve_fini(struct agent_core *c);

// send_info.c
void send_info_begin(struct agent_core *c, struct now now, const struct send_information *s);
void send_info_tick(struct agent_core *c, struct now now);
// What a response says of reports: held whole up to acked, and of one report some parts.
void send_info_told(struct agent_core *c, struct now now, const struct response *r);
void send_info_stop(struct agent_core *c);

#endif
