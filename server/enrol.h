// Enrolments: files of a folder and bodies of the API, each an envelope signed by an enrol key. A
// file is taken once: what was removed by an operator does not come back with the next start.
#ifndef HELIO_SERVER_ENROL_H
#define HELIO_SERVER_ENROL_H

#include "server/core.h"

struct root;

// Verifies and decodes; strings in the arena. own_id: nobody may enrol as this server. A role
// SERVER is refused with ERR_UNSUPPORTED (servers are known by the root alone). Errors: ERR_AUTH,
// ERR_FORMAT, ERR_RANGE, ERR_DENIED.
enum err enrol_open(const struct root *root, const char *own_id, struct bytes envelope,
	struct arena *a, struct enrolment *out) MUST_CHECK;

struct enrol_result {
	size_t files, added, known, bad;
};

// Reads DIR/*.enrol in the order of names, at most ENROL_FILES of them. A bad file is logged and
// passed over. Writes rows: call it inside a turn. Errors: those of the folder, ERR_IO of the
// store.
#define ENROL_FILES 100000
enum err enrol_scan(struct core *core, const struct root *root, const char *own_id, const char *dir,
	struct now now, struct enrol_result *out) MUST_CHECK;

// One envelope through the API: taken even if its file was seen before.
enum err enrol_take(struct core *core, const struct root *root, const char *own_id,
	struct bytes envelope, struct arena *a, struct now now, struct enrolment *out) MUST_CHECK;

#endif
