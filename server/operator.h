// The operator API: what an operator may ask and order, as rows of a table. A row names the verb,
// its arguments with types and help, and the function that answers; so `help` can tell everything
// that helioctl's completion needs, and no argument is looked at in two places. API.md is the
// contract.
//
// One request, one effect: a request that changes something is remembered by (seat, request_id) in
// the same commit as its effect.
#ifndef HELIO_SERVER_OPERATOR_H
#define HELIO_SERVER_OPERATOR_H

#include "proto/trust.h"
#include "server/core.h"
#include "server/findings.h"
#include "server/presence.h"
#include <cjson/cJSON.h>

enum arg_type {
	ARG_ID = 1,
	ARG_TEXT,
	ARG_U32,
	ARG_U64,
	ARG_BOOL,
	ARG_PACKAGE, // digest, or the first 8 digits or more of a known package
	ARG_WORD,    // one of `words`
	ARG_LIST,    // texts; may be repeated, at most LIMIT_ARGS
	ARG_LONG     // a text of up to 2 KiB
};

struct arg_row {
	const char *name;
	enum arg_type type;
	bool required;
	const char *words; // "a|b|c" of ARG_WORD
	const char *help;
};

#define VERB_ARGS 24

struct operator_call;

struct verb_row {
	const char *name, *help;
	bool writes; // remembered by request id
	bool body;   // takes bytes
	enum err (*run)(struct operator_call *c);
	struct arg_row args[VERB_ARGS]; // ends with name NULL
};

struct verb_table {
	const struct verb_row *rows;
	size_t count;
};

// The rooms an operator can see. All borrowed.
struct operator_room {
	struct core *core;
	struct presence *presence;
	const struct trust *trust;
	const char *server_id, *state_dir;
	struct wall started;
	struct findings *findings;
	struct freshness *freshness;
	struct media *media;
	struct content_keys *content_keys;
	struct orders *orders;
	// Adds what is not written down but looked up: disk, brokers, clients.
	void (*look)(void *ctx, struct findings *out);
	void *ctx;
};

struct operator_call {
	struct operator_room *room;
	const struct verb_row *verb;
	const char *seat;
	const struct arg *args;
	size_t arg_count;
	struct bytes body;
	struct arena *arena;
	struct now now;
	cJSON *json; // the answer, an object
};

// ---- the table

const struct verb_row *operator_verb_find(const char *name); // NULL: none
// Every verb: index from 0; NULL at the end.
const struct verb_row *operator_verb_at(size_t index);

// Pure. Every argument is known, of its type, given once (lists: LIMIT_ARGS times), and none that
// is required is missing; a body comes exactly with verbs that take one. Errors: ERR_FORMAT,
// ERR_RANGE.
enum err operator_args_check(const struct verb_row *verb, const struct arg *args, size_t count,
	struct bytes body) MUST_CHECK;

const char *arg_type_word(enum arg_type t);

// ---- for the verbs

const char *call_text(const struct operator_call *c, const char *name); // NULL: not given
uint64_t call_u64(const struct operator_call *c, const char *name, uint64_t otherwise);
bool call_bool(const struct operator_call *c, const char *name, bool otherwise);
// Errors: ERR_NOT_FOUND, ERR_RANGE (several packages begin so).
enum err call_package(struct operator_call *c, const char *name, struct package **out) MUST_CHECK;
// Exactly one of the two is given. queue: "channel" or "@client", in the arena. A client must
// exist.
enum err call_queue(struct operator_call *c, const char **queue) MUST_CHECK;
// Errors: ERR_NOT_FOUND for an id that is no client's.
enum err call_client(struct operator_call *c, const char *name, struct client_info *out) MUST_CHECK;

// Appends, remembers the flow, and writes EVENT.
enum err call_append(struct operator_call *c, const char *queue, struct event *e,
	const struct digest *package) MUST_CHECK;
enum err call_event_done(struct operator_call *c, const char *queue, uint64_t flow, uint64_t seq,
	const struct digest *package) MUST_CHECK;

// JSON in the forms of API.md.
void put_text(cJSON *o, const char *name, const char *value);
void put_number(cJSON *o, const char *name, uint64_t value); // exact
void put_time(cJSON *o, const char *name, struct wall w);
void put_id(cJSON *o, const char *name, uint64_t id);                // decimal string
void put_digest(cJSON *o, const char *name, const struct digest *d); // "" when zero
void put_bool(cJSON *o, const char *name, bool value);
cJSON *put_list(cJSON *o, const char *name);
cJSON *put_object(cJSON *o, const char *name);
// A page of a list over a table: true when the row before *cursor's place is listed; else "next"
// says where the following page begins. listed counts.
bool page_takes(struct operator_call *c, size_t row, size_t *listed);
cJSON *put_item(cJSON *list);

// Shapes that several verbs write.
void json_operation(cJSON *o, const struct operation_info *op);
void json_client(struct operator_call *c, cJSON *o, const struct client_info *i);
void json_lease(struct operator_call *c, cJSON *o, const struct lease *l);
void json_leases(
	struct operator_call *c, cJSON *o, const char *client, const struct digest *package);

extern const struct verb_table operator_status_verbs, operator_client_verbs, operator_channel_verbs,
	operator_work_verbs, operator_command_verbs, operator_package_verbs, operator_media_verbs,
	operator_customer_verbs, operator_usage_verbs, operator_key_verbs, operator_rate_verbs,
	operator_share_verbs;

// ---- a request

void handle_api(struct operator_room *room, const char *seat, enum role role,
	const struct api_request *m, struct arena *a, struct now now);

#endif
