// The status file: what is shown now, for the agent. Replaced by rename, not synced: it says what
// is, not what was. Lines of fields separated by tabs:
//
//   state    showing|waiting|paused
//   package  <64 hex>            only while something is shown
//   image    <path>              only while something is shown
//   screen   <w>  <h>
//   pid      <n>
//   unix_ms  <n>                 when this was written; renewed every STATUS_PERIOD_MS
//   fault    <unix_ms>  <what>  <why>   the last few, oldest first, values percent-encoded
//
// A status older than a few periods is that of a display that hangs or ended.
#ifndef HELIO_DISPLAY_STATUS_H
#define HELIO_DISPLAY_STATUS_H

#include "client/display/display_limits.h"
#include "client/display/show.h"

struct status_fault {
	struct wall when;
	char what[200], why[200];
};

struct status {
	char path[600];
	enum show_state state;
	struct digest package;
	char image[SHOW_PATH_MAX];
	uint32_t screen_w, screen_h;
	struct status_fault faults[FAULTS_MAX]; // a ring
	size_t fault_count;                     // ever
};

void status_fault_add(struct status *s, struct wall now, const char *what, const char *why);
enum err status_write(const struct status *s, struct wall now) MUST_CHECK;

#endif
