// The Unix socket of SOCKET.md: packets in, JSON out, descriptors along. Knows no verb. A call
// lives until it is answered, also when its caller is gone by then; the loop is never blocked by a
// caller who does not read.
#ifndef HELIO_PUBLISHER_SOCKET_H
#define HELIO_PUBLISHER_SOCKET_H

#include "proto/base/mem.h"
#include <cjson/cJSON.h>
#include <uv.h>

#define SOCKET_PACKET_MAX (64 * 1024)
#define SOCKET_FDS_MAX 4
#define SOCKET_CALLERS_MAX 64

struct socket_server;
struct call;

// Takes over the call: ends with call_answer, call_refuse or call_drop.
typedef void socket_handler(void *ctx, struct call *call);

// Removes a stale socket file, listens, mode 0600. Errors: ERR_IO, ERR_RANGE (path too long).
enum err socket_open(uv_loop_t *loop, const char *path, socket_handler *handler, void *ctx,
	struct socket_server **out) MUST_CHECK;
// Ends all connections; calls that are under way answer to nobody.
void socket_close(struct socket_server *s);

const cJSON *call_json(const struct call *c);
const char *call_verb(const struct call *c);
// A string of the request; NULL when absent or no string.
const char *call_string(const struct call *c, const char *key);
// A whole number; def when absent; false when it is none or above max.
bool call_number(const struct call *c, const char *key, uint64_t def, uint64_t max, uint64_t *out);
// The first descriptor, handed over to the caller; -1 when none came.
int call_take_fd(struct call *c);
bool call_is_alone(const struct call *c); // its caller has gone

// body: an object, freed here; NULL: nothing to say. The call is freed.
void call_answer(struct call *c, cJSON *body);
void call_refuse(struct call *c, const char *word, const char *sentence);
// The word and sentence of an error (err_text).
void call_refuse_err(struct call *c, enum err e);
void call_drop(struct call *c);
// The call goes on.
void call_progress(struct call *c, uint64_t done, uint64_t total, const char *what);

// Lists of any length: items are put into packets with "more", the last with the answer.
struct lister {
	struct call *call;
	const char *name; // of the list
	struct buf items;
	size_t count;
};
void lister_init(struct lister *l, struct call *c, const char *name);
void lister_add(struct lister *l, cJSON *item); // freed here
// body as call_answer. The call is freed.
void lister_end(struct lister *l, cJSON *body);

#endif
