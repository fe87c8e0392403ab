// The content of a queue element: an encoded ResponseBody without ids, from which the responses to
// all the clients that take it are made.
#ifndef HELIO_SERVER_EVENT_BODY_H
#define HELIO_SERVER_EVENT_BODY_H

#include "server/core_inside.h"

// Checks that the event has exactly the part its type needs, and looks its packages up. Into the
// core's arena. Errors: ERR_RANGE, ERR_NOT_FOUND (package), ERR_FULL.
enum err event_body_make(
	struct core *core, const struct event *e, struct response_body **out) MUST_CHECK;
enum err event_body_encode(const struct response_body *body, struct buf *out) MUST_CHECK;
// One line for people: "nightsky/3", "exec show art-1".
const char *event_body_text(
	struct arena *a, enum element_type type, const struct response_body *body);
// One DISPLAY event that covers the run: newest value per key, newest package per name. out borrows
// from the arena and from `body`. Errors: ERR_FULL when one response could not hold it.
enum err event_body_merge(struct arena *a, struct buf *body, struct element *const *run,
	size_t count, struct element_data *out) MUST_CHECK;
// Of each package name and each key what `from` says replaces what *to says. Errors: ERR_FULL. *to
// has room for as many as one response may name.
enum err event_body_add(
	struct retrieve_information *to, const struct retrieve_information *from) MUST_CHECK;
bool event_body_names(struct core *core, const struct element *e, const struct digest *package);

#endif
