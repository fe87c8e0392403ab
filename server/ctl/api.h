// The operator API over MQTT, as a call that waits: question in, document out.
//
// One connection and one session for the life of the process. A question is sent again under its id
// until it is answered or the time is up; after two silent repeats the session is made anew (the
// server may have started again). Nothing is believed that api_session.h does not vouch for.
#ifndef HELIO_CTL_API_H
#define HELIO_CTL_API_H

#include "server/ctl/ctl.h"
#include "server/ctl/seat.h"

struct api;

// Connects and signs in. Errors: ERR_TIMEOUT (nobody answers), ERR_CLOSED (no broker), those of
// seat_take.
enum err api_open(struct ctl *c, struct api **out) MUST_CHECK;
void api_close(struct api *a); // NULL is fine

struct api_result {
	struct buf json; // the document as it came
	cJSON *document;
	char error_word[LIMIT_ID + 1];
};
void api_result_free(struct api_result *r);

// A refusal gives the error of its word (ERR_DENIED for a word not known here), and its sentence.
// out is filled only on success and freed with api_result_free.
enum err api_call(struct api *a, const char *verb, const struct arg *args, size_t count,
	struct bytes body, struct api_result *out) MUST_CHECK;

bool api_interrupted(const struct api *a); // Ctrl-C
const char *api_seat(const struct api *a);
// Lets `ms` pass with the loop running (for polls). Errors: ERR_CLOSED after an interrupt (Ctrl-C).
enum err api_wait(struct api *a, uint32_t ms) MUST_CHECK;

// Called for every message on a filter that api_watch subscribed. payload is borrowed.
typedef void (*api_watcher)(void *ctx, const char *topic, struct bytes payload, bool retained);
enum err api_watch(struct api *a, const char *const *filters, size_t count, api_watcher take,
	void *ctx) MUST_CHECK;
const struct root *api_root(const struct api *a);

// ---- most commands: one call, one document

// Opens, calls, closes. With --json prints the document as it came and sets *out to empty.
struct api_verb {
	const char *verb;
	struct arg args[LIMIT_ARGS + 8];
	size_t arg_count;
	struct bytes body;
	char moments[2][24]; // texts of api_verb_moment
	size_t moment_count;
};
void api_verb_add(struct api_verb *v, const char *name, const char *value); // NULL value: left out
// The option of this name, a moment (ctl_moment), as unix ms; not given: left out. Errors:
// ERR_RANGE, with a sentence for ctl_usage.
enum err api_verb_moment(struct api_verb *v, const struct args *a, const char *name) MUST_CHECK;
// *code is set when true is returned to end with (an error, or --json was served).
bool api_simple(
	struct ctl *c, const struct api_verb *v, struct api_result *out, enum exit_code *code);
// The same for an answer that comes in pages: while it names a `next`, the rows of `list` that
// follow are asked for and added, so that people and --json get all of them as one document.
enum exit_code api_show_all(struct ctl *c, const struct api_verb *v, const char *list,
	void (*show)(const struct ctl *c, const cJSON *document));
// The whole of a command that asks once and shows the answer to people by `show`.
enum exit_code api_show(struct ctl *c, const struct api_verb *v,
	void (*show)(const struct ctl *c, const cJSON *document));

#endif
