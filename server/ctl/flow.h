// Following an operator's act to its end at every client.
#ifndef HELIO_CTL_FLOW_H
#define HELIO_CTL_FLOW_H

#include "server/ctl/api.h"

// Polls until nobody is waiting or open, with a bar. Errors: ERR_TIMEOUT (the sentence says how far
// it came), those of api_call. out: the last FLOW document.
enum err flow_wait(struct api *a, struct ctl *c, const char *flow, uint32_t limit_ms,
	struct api_result *out) MUST_CHECK;
// --timeout when it was given, else ten minutes.
uint32_t flow_limit_ms(const struct ctl *c, const struct args *a);
// The rows of a FLOW document, and one line of sums.
void flow_show(const struct ctl *c, const cJSON *flow);
// EXIT_DONE when every client is done, else EXIT_FAILED.
enum exit_code flow_exit_code(const cJSON *flow);

// One verb that gives an EVENT; --wait follows it. Prints for people or --json, and gives the exit
// code. after: called with the finished FLOW, or NULL when the answer says that it is fresh and nothing
// was begun; for what a command wants to add; may be NULL.
typedef enum err (*flow_after)(struct api *a, struct ctl *c, const cJSON *flow, void *ctx);
enum exit_code flow_act(struct ctl *c, const struct args *a, const struct api_verb *v,
	const char *package_arg, flow_after after, void *ctx);

#endif
