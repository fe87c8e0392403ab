// The whole output of a command, fetched from the device that ran it.
#ifndef HELIO_CTL_OUTPUT_H
#define HELIO_CTL_OUTPUT_H

#include "server/ctl/flow.h"

struct output_wish {
	const char *file; // NULL: onto stdout, line by line
	uint32_t limit_ms;
};

// A flow_after of a command for one client: its rows, then what its program said. ctx: struct
// output_wish.
enum err output_after(struct api *api, struct ctl *c, const cJSON *flow, void *ctx) MUST_CHECK;

#endif
