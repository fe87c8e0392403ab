// When a reboot that was asked for is done (verb reboot). What is at work may defer it, but not for
// ever; then the program that reboots is started once, ever. That it happened is told by the
// kernel: another boot id. Pure: the doer is runtime_reboot.c.
#ifndef HELIO_CLIENT_REBOOT_H
#define HELIO_CLIENT_REBOOT_H

#include "client/agent_state.h"

struct reboot_limits {
	int64_t defer_max_ms; // after it nobody defers it any more
	int64_t wait_max_ms;  // after the order; then it did not happen
};

struct reboot_look {
	struct id16 boot_id; // of the kernel, now
	int64_t mono_ms;
	bool deferred; // somebody wants it later, or has not been heard yet
};

enum reboot_step {
	REBOOT_WAIT,
	REBOOT_ORDER,    // start the program, after this is on disk
	REBOOT_HAPPENED, // whoever did it
	REBOOT_MISSED
};

enum reboot_step reboot_decide(const struct reboot_record *r, const struct reboot_limits *l,
	const struct reboot_look *look);
// Of the longest deferral; 99 once it was ordered.
uint32_t reboot_percent(
	const struct reboot_record *r, const struct reboot_limits *l, int64_t mono_ms);

#endif
