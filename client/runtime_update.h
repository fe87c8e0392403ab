// Updates, done: the records of update.h on disk, the handlers' programs and work, the trial.
//
// A package of software that was fetched, or held, comes in by updates_activate. From there on the
// update goes its way by itself, over starts of the agent and of the device, whether or not the
// operation that began it is still open; what became of it stands in the heartbeats' status.
#ifndef HELIO_CLIENT_RUNTIME_UPDATE_H
#define HELIO_CLIENT_RUNTIME_UPDATE_H

#include "client/runtime.h"

#define REBOOT_OF_UPDATE UINT64_MAX // in the place of an operation's id

enum err updates_open(struct runtime *rt) MUST_CHECK;
void updates_close(struct runtime *rt);
void updates_free(struct runtime *rt);

// Is there a handler for software of this name?
bool updates_handle(const struct runtime *rt, const char *name);
// ERR_OK: it runs, or it waits for its window. ERR_NOT_NOW: under way, ask again. Else why not.
// op_id: the operation that wants it; 0: none.
enum err updates_activate(struct runtime *rt, const struct held_package *h,
	const struct package_ref *package, uint64_t op_id) MUST_CHECK;
// Why this package is not tried, or NULL. Good until the next call.
const char *updates_refuse(struct runtime *rt, const struct digest *package);
// The operation is given up: so is what it began, if that is still possible.
void updates_cancel(struct runtime *rt, uint64_t op_id);
// The verb allow-update: lifts the penalties of a name or a package. Errors: ERR_NOT_FOUND, ERR_IO.
enum err updates_allow(struct runtime *rt, const char *name, char *said, size_t size) MUST_CHECK;
// Those that are under way or failed: at most LIMIT_UPDATES, in the arena.
void updates_view(struct runtime *rt, struct arena *a, struct update_status **out, size_t *count);
// What came of the reboot that an update asked for.
void updates_reboot_ended(struct runtime *rt, enum op_status status, const char *detail);

#endif
