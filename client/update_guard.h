// The agent's own update, guarded by who starts it.
//
// What the system starts is an agent that no update touches (the one of the system's package). With
// a handler row whose restart is exec or exit, it looks at ROOT/current, and in its own process
// executes the agent of the release that stands there. Each start of a release on trial is counted,
// on disk, before it begins; one that was started too often, or cannot be executed, is rolled back
// before anything of it runs, like the boot attempts of a boot loader. One that hangs is ended by
// an alarm that outlives execve. So no supervisor is needed but one that starts again what ended.
#ifndef HELIO_CLIENT_UPDATE_GUARD_H
#define HELIO_CLIENT_UPDATE_GUARD_H

#include "client/update_rows.h"

#define GUARD_PROGRAM "helio-agent" // in the folder of a release
#define GUARD_ALARM_S 30            // behind the end of the trial

// Returns when this process is the one that goes on: no release, or it is the release already, or
// another agent holds the state folder (which the start then says). Does not return otherwise.
void update_guard(const struct agent_settings *settings, char **argv);
// The agent that the system started, anew in this process; argv as it was. Returns on errors alone.
void update_guard_again(char **argv);

#endif
