// Packages from a medium: a folder (a stick, a mounted disc) or an ISO 9660 image, while the agent
// runs or without it (S001-c3 to c5).
//
//   helio-agent import PATH -> lock is free:  this process installs, without a link
//                           -> lock is taken: STATE/import/request -> the running agent installs
//   both:  orders for this client, newest first -> signature of the server -> not older than what
//          was obeyed -> fetcher with the folder in the place of a broker -> the same store, slots
//          and playlist as over the link -> STATE/import/result
//
// The link comes first: an import waits while the agent fetches, and what it has staged by then is
// not read again. A package obeyed by an order or a response of a later time is never replaced.
#ifndef HELIO_CLIENT_RUNTIME_IMPORT_H
#define HELIO_CLIENT_RUNTIME_IMPORT_H

#include "client/runtime.h"

enum err import_open(struct runtime *rt) MUST_CHECK;
void import_close(struct runtime *rt);
// A thread works for it, and may sign with the key of now.
bool import_is_working(const struct runtime *rt);
// Begins at once; the process ends with it when the runtime has no link. path: absolute.
enum err import_begin(struct runtime *rt, const char *path, const char *token) MUST_CHECK;
// The link wants the fetcher: an import steps back.
void import_yield(struct runtime *rt);
// A package of this name was installed over the link, as the operation in the slot said.
void import_note_link(struct runtime *rt, enum package_kind kind, const char *name);

// The command line: asks the running agent, and tells what came of it. Returns the exit code.
int import_ask(const struct agent_settings *settings, const char *path);
// Prints STATE/import/result. Returns the exit code.
int import_tell(const struct agent_settings *settings);

#endif
