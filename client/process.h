// Runs one program that the settings name: argv, no shell, its own process group, a time limit,
// the end of what it said and the hash of all of it. A line "PERCENT n" on its output (n is 0 to
// 100) is how far it is, and no output. Who is stopped, or takes too long, gets SIGTERM for the
// whole group and a while later SIGKILL.
#ifndef HELIO_CLIENT_PROCESS_H
#define HELIO_CLIENT_PROCESS_H

#include "proto/base/mem.h"
#include "proto/digest.h"

#include <uv.h>

#define PROCESS_GRACE_MS 2000 // between SIGTERM and SIGKILL

struct process_order {
	const char *const *argv; // NULL-terminated
	const char *cwd;
	const char *temporary; // TMPDIR, NULL: none
	uint32_t timeout_ms;
	size_t tail_max; // of stdout and stderr together: so many of the last bytes are kept
};

struct process_end {
	bool timed_out, stopped; // the group was ended: by time, by process_stop
	int exit_code;           // of a program that ended by itself
	int signal;              // 0: none
	struct bytes tail;       // borrowed
	uint64_t output_bytes;   // of the whole output
	struct digest output_sha256;
};

struct process_events {
	// Once, on the loop, after the program and its output have ended.
	void (*done)(void *ctx, const struct process_end *end);
	void (*percent)(void *ctx, uint32_t percent); // may be NULL
	// What is hashed, in its order, as it comes. May be NULL.
	void (*output)(void *ctx, const char *data, size_t size);
};

struct process;

// events are copied.
enum err process_start(uv_loop_t *loop, const struct process_order *order,
	const struct process_events *events, void *ctx, struct process **out) MUST_CHECK;
// SIGTERM to the group, SIGKILL after the grace; then done, with `stopped`.
void process_stop(struct process *p);
// SIGKILL to the group at once; nothing is called any more.
void process_kill(struct process *p);

#endif
