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

// Reads DIR/*.enrol in the order of names, at most ENROL_FILES of them, some at a time. A bad file
// is logged and passed over. Root and strings are borrowed until the end.
#define ENROL_FILES 100000
#define ENROL_AT_START 256 // a folder with more is read when the server answers already
struct dirent;
struct enrol_scan {
	struct core *core;
	const struct root *root;
	const char *own_id, *dir;
	struct enrol_result result;
	struct dirent **list; // NULL: not begun, or over
	int count, next;
};
// Lists the folder; a scan that is open is begun anew. Errors: those of the folder.
enum err enrol_scan_begin(struct enrol_scan *s) MUST_CHECK;
// Takes at most max files. Writes rows: call it inside a turn. True: more are left.
bool enrol_scan_some(struct enrol_scan *s, size_t max, struct now now);
bool enrol_scan_is_open(const struct enrol_scan *s);
void enrol_scan_end(struct enrol_scan *s);
bool enrol_dir_is_large(const char *dir);

// One envelope through the API: taken even if its file was seen before.
enum err enrol_take(struct core *core, const struct root *root, const char *own_id,
	struct bytes envelope, struct arena *a, struct now now, struct enrolment *out) MUST_CHECK;

#endif
