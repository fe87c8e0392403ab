// heliod, wired: the loop, the links to the control broker and the data brokers, the core, the
// presence server, the operator API and the probes. All decisions are made elsewhere; here bytes
// are carried.
//
// Order of a turn: messages -> core / presence -> stored (core_turn_tell) -> publishes; then, when no
// message waits, the rest (core_rest).
#ifndef HELIO_SERVER_SERVER_H
#define HELIO_SERVER_SERVER_H

#include "server/settings.h"
#include <uv.h>

struct server;

// Opens store, keys, core and links, and starts the timers. settings are borrowed.
enum err server_start(
	uv_loop_t *loop, const struct heliod_settings *settings, struct server **out) MUST_CHECK;
// Says that it is down, saves what is in memory, and closes its handles: the loop then ends.
void server_stop(struct server *s);
// After the loop has ended.
void server_free(struct server *s);
// The exit code that the program should end with: EXIT_FAILED when a probe refused the control
// broker.
int server_exit_code(const struct server *s);
// SIGHUP: enrolments and the root of trust are read again.
void server_reread(struct server *s);

#endif
