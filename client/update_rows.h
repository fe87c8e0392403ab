// What the settings say of updates: section [update], one line of each kind for a name of software.
//
//   handler  = NAME symlink /ROOT | NAME rauc [/PATH ARG...] | NAME swupdate [/PATH ARG...] |
//              NAME script /PATH ARG...
//   restart  = NAME none | exec | exit | reboot | /PATH ARG...
//   check    = NAME /PATH ARG...        the application's own word in the trial: 0 is good
//   commit   = NAME /PATH ARG...        swupdate: makes the boot loader keep what runs
//   rollback = NAME /PATH ARG...        swupdate: makes it start what ran before
//   window   = NAME|* HH:MM-HH:MM [ZONE]
//
// Software without a handler is no update of the device: it is switched to in its slot, and that
// is all.
#ifndef HELIO_CLIENT_UPDATE_ROWS_H
#define HELIO_CLIENT_UPDATE_ROWS_H

#include "client/settings.h"
#include "client/update.h"

struct update_handler;

enum update_restart {
	RESTART_NONE,
	RESTART_EXEC, // this agent, in its own process
	RESTART_EXIT, // this agent ends, and its supervisor starts it
	RESTART_REBOOT,
	RESTART_PROGRAM
};

struct update_row {
	char name[AGENT_NAME_MAX + 1];
	const struct update_handler *handler;
	char root[256];       // symlink
	struct words program; // rauc, swupdate, script
	enum update_restart restart;
	struct words restart_program;
	struct words check, commit, rollback; // argc 0: none
	struct update_window window;
};

struct update_table {
	struct update_row rows[UPDATES_MAX];
	size_t count;
};

// Errors: ERR_FORMAT, ERR_RANGE, ERR_FULL; the sentence begins with "[update] key".
enum err update_table_parse(
	const struct agent_settings *settings, struct update_table *out) MUST_CHECK;
const struct update_row *update_row_find(const struct update_table *t, const char *name);
// The one that is this agent itself, or NULL.
const struct update_row *update_row_self(const struct update_table *t);

#endif
