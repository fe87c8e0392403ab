// Runs one program that the settings name: argv, no shell, its own process group, a time limit,
// a bounded memory of what it said. One at a time.
#ifndef HELIO_CLIENT_PROCESS_H
#define HELIO_CLIENT_PROCESS_H

#include "proto/base/mem.h"

#include <uv.h>

#define PROCESS_OUTPUT_MAX (64 * 1024)

struct process_order {
	const char *const *argv; // NULL-terminated
	const char *cwd;
	uint32_t timeout_ms;
	size_t output_max; // of stdout and stderr together; the rest is read and dropped
};

struct process_end {
	bool timed_out;
	int exit_code;       // of a program that ended by itself
	int signal;          // 0: none
	struct bytes output; // borrowed
};

struct process;

// done is called once, on the loop, after the program and its output have ended.
enum err process_start(uv_loop_t *loop, const struct process_order *order,
	void (*done)(void *ctx, const struct process_end *end), void *ctx,
	struct process **out) MUST_CHECK;
// Kills the group; done is not called any more.
void process_kill(struct process *p);

#endif
