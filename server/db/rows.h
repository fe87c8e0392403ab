// The rows of the conversation: each noun has its file with all of its SQL. A row is a plain
// struct; texts and bytes in a row that was read are borrowed until the reading function returns or
// goes on. Nobody outside these files writes SQL about these nouns.
#ifndef HELIO_SERVER_DB_ROWS_H
#define HELIO_SERVER_DB_ROWS_H

#include "proto/base/clock.h"
#include "proto/message.h"
#include "proto/session.h"
#include "server/db/db.h"

// ---- meta: numbers and keys of the store itself

enum err rows_meta_number(struct db *db, const char *key, int64_t *out) MUST_CHECK; // absent: 0
// Raises it by one, to `least` at the least, as nobody else does at the same time.
enum err rows_meta_draw(struct db *db, const char *key, int64_t least, int64_t *out) MUST_CHECK;
// Never lower than it was.
enum err rows_meta_raise(struct db *db, const char *key, int64_t number) MUST_CHECK;
enum err rows_meta_put_number(struct db *db, const char *key, int64_t number) MUST_CHECK;
enum err rows_meta_secret(
	struct db *db, const char *key, struct key32 *out, bool *found) MUST_CHECK;
enum err rows_meta_put_secret(
	struct db *db, const char *key, const struct key32 *secret) MUST_CHECK;

// ---- principal, session

struct principal_row {
	const char *id, *name;
	enum role role;
	struct key32 public_key, box_key;
	bool revoked;
	int64_t enrolled_ms;
};

enum err rows_principal_put(struct db *db, const struct principal_row *row) MUST_CHECK;
// Strings into the arena. Errors: ERR_NOT_FOUND.
enum err rows_principal_find(
	struct db *db, const char *id, struct arena *a, struct principal_row *out) MUST_CHECK;
// The key before becomes a former one.
enum err rows_principal_rekey(
	struct db *db, const char *id, const struct key32 *next, int64_t at_ms) MUST_CHECK;
// Its key, now or before.
enum err rows_principal_had_key(
	struct db *db, const char *id, const struct key32 *key, bool *had) MUST_CHECK;
enum err rows_principal_revoke(struct db *db, const char *id) MUST_CHECK;
enum err rows_principal_box(struct db *db, const char *id, const struct key32 *box_key) MUST_CHECK;
// And everything that hangs on it.
enum err rows_principal_delete(struct db *db, const char *id) MUST_CHECK;

struct session_row {
	const char *id;
	uint64_t session_id;
	struct session_keys keys;
	int64_t expires_ms;
};

enum err rows_session_put(struct db *db, const struct session_row *row) MUST_CHECK;
// The session's key for secrets. Errors: ERR_NOT_FOUND: it is not this session.
enum err rows_session_secret(
	struct db *db, const char *id, uint64_t session_id, struct key32 *enc) MUST_CHECK;
enum err rows_session_delete(struct db *db, const char *id) MUST_CHECK;

// ---- client

struct client_row {
	const char *id, *channel;
	enum role role;
	bool revoked;
	uint64_t session_id; // 0: no session row
	struct key32 mac_up, mac_down;
	int64_t session_expires_ms;
	uint64_t highest_session;
	enum client_state state;
	enum reach reach;
	uint64_t d, epoch;
	uint32_t pointer;
	bool holdings_known;
	uint32_t mismatches, interval_set_ms, told_interval_ms, status_interval_ms;
	uint64_t change_id, report_id;
	enum response_kind last_kind;
	int64_t last_heard_ms;
	struct bytes ip, profile, showing, holdings;
};

// Only what the conversation changes; store_id and boot_counter have their own.
enum err rows_client_put(struct db *db, const struct client_row *row) MUST_CHECK;
// Principals with their session and client row, if any, in the order of their ids: at most `max`
// behind `after` ("": from the first). Stops at the first error of fn.
enum err rows_client_after(struct db *db, const char *after, size_t max,
	enum err (*fn)(void *ctx, const struct client_row *row), void *ctx) MUST_CHECK;
// Of several servers on one store: this term (a fencing number) wrote the client's row, as its
// write of this number; they rise in the order of its commits.
enum err rows_change_put(
	struct db *db, const char *client, uint64_t term, uint64_t number) MUST_CHECK;
struct membership_row;
// What is read of a change: the client's row, then each of its further channels; as one look at
// the store, so that neither is older than the other.
struct change_reader {
	void *ctx;
	enum err (*client)(void *ctx, const struct client_row *row);
	enum err (*place)(void *ctx, const struct membership_row *row);
	size_t count;  // clients that were read
	uint64_t last; // the number of the last one
};
// The clients whose last change was that term's, with numbers behind `after`, in their order; at
// most max.
enum err rows_change_after(struct db *db, uint64_t term, uint64_t after, size_t max,
	struct change_reader *reader) MUST_CHECK;
// The lowest term above `after` that wrote a change which stands; 0: none.
enum err rows_change_term(struct db *db, uint64_t after, uint64_t *term) MUST_CHECK;
enum err rows_change_last(struct db *db, uint64_t term, uint64_t *number) MUST_CHECK; // 0: none
// One, or none.
enum err rows_client_of(struct db *db, const char *id,
	enum err (*fn)(void *ctx, const struct client_row *row), void *ctx) MUST_CHECK;

struct device_row {
	uint64_t highest_session, boot_counter;
	struct id16 store_id; // zero: none yet
};

enum err rows_device_find(
	struct db *db, const char *id, struct device_row *out) MUST_CHECK; // absent: zeroes
enum err rows_device_put(struct db *db, const char *id, const struct device_row *row) MUST_CHECK;

// ---- operation

enum operation_place {
	PLACE_ENDED,
	PLACE_OPEN,
	PLACE_RETRY,
	PLACE_PASSED
};

struct operation_row {
	const char *client, *queue, *detail;
	uint64_t op_id, first_op_id, before_id, flow_id, event_seq;
	enum response_kind kind;
	uint32_t attempt, percent;
	struct bytes body;
	enum op_status status, outcome; // 0: none
	bool is_final, reported;
	uint64_t cancel_flow; // an operator asked to cancel it; 0: no
	enum operation_place place;
	int64_t opened_ms, ended_ms;
};

enum err rows_operation_put(struct db *db, const struct operation_row *row) MUST_CHECK;
enum err rows_operation_progress(struct db *db, const char *client, uint64_t op_id,
	enum op_status status, uint32_t percent, const char *detail, bool reported) MUST_CHECK;
enum err rows_operation_end(
	struct db *db, const struct operation_row *row) MUST_CHECK; // outcome, place, is_final ...
enum err rows_operation_place(
	struct db *db, const char *client, uint64_t op_id, enum operation_place place) MUST_CHECK;
enum err rows_operation_cancel(
	struct db *db, const char *client, uint64_t op_id, uint64_t flow) MUST_CHECK;
// Everything that is not ended.
enum err rows_operation_each_open(struct db *db,
	enum err (*fn)(void *ctx, const struct operation_row *row), void *ctx) MUST_CHECK;
// Of a client (flow 0) or a flow (client NULL), newest first. Texts and bodies into the arena.
enum err rows_operation_list(struct db *db, const char *client, uint64_t flow, size_t max,
	struct arena *a, struct operation_row **out, size_t *count) MUST_CHECK;
enum err rows_operation_prune(struct db *db, int64_t ended_before_ms) MUST_CHECK;

// ---- answer

struct answer_row {
	const char *client, *text, *queue;
	uint64_t response_id, in_reply_to, op_id, event_seq, flow_id;
	int64_t at_ms;
	enum response_kind kind;
	enum client_state state;
	enum reason_code code;
	uint32_t attempt;
	uint32_t rule, interval_ms, interval_by; // see struct why_item
};

enum err rows_answer_add(struct db *db, const struct answer_row *row) MUST_CHECK;
enum err rows_answer_list(struct db *db, const char *client, size_t max, struct arena *a,
	struct answer_row **out, size_t *count) MUST_CHECK;
enum err rows_answer_prune(struct db *db, int64_t before_ms) MUST_CHECK;

// ---- queue, event, slot, value

struct queue_row {
	const char *name;
	uint64_t epoch, rate_bytes_per_s;
	uint32_t tail_seq, weight;
	bool paused, closed;
};

struct event_row {
	const char *queue, *text, *author;
	uint32_t seq, first_seq;
	enum element_type type;
	struct bytes body;
	uint64_t flow_id;
	int64_t at_ms;
};

struct slot_row {
	const char *queue, *name, *version;
	enum package_kind kind;
	struct digest package, previous;
	bool activate;
	int64_t activate_unix_ms; // in the column of activate: 0 not, 1 at once, else the moment
	uint32_t seq;
	uint64_t flow_id;
};

struct value_row {
	const char *queue, *key, *value;
	uint64_t change_id;
	uint32_t seq;
};

enum err rows_queue_put(struct db *db, const struct queue_row *row) MUST_CHECK;
// The highest number ever given in the queue; 0: none.
enum err rows_event_highest(struct db *db, const char *queue, uint32_t *seq) MUST_CHECK;
enum err rows_queue_delete(struct db *db, const char *name) MUST_CHECK;
enum err rows_queue_each(struct db *db, enum err (*fn)(void *ctx, const struct queue_row *row),
	void *ctx) MUST_CHECK;
// One, or none.
enum err rows_queue_of(struct db *db, const char *name,
	enum err (*fn)(void *ctx, const struct queue_row *row), void *ctx) MUST_CHECK;
enum err rows_event_put(struct db *db, const struct event_row *row) MUST_CHECK;
// No longer in the queue; kept as history until pruned.
enum err rows_event_retire(
	struct db *db, const char *queue, uint32_t from_seq, uint32_t to_seq) MUST_CHECK;
enum err rows_event_each_live(struct db *db, enum err (*fn)(void *ctx, const struct event_row *row),
	void *ctx) MUST_CHECK;
// Those of one queue from this number on, in their order.
enum err rows_event_of(struct db *db, const char *queue, uint32_t from_seq,
	enum err (*fn)(void *ctx, const struct event_row *row), void *ctx) MUST_CHECK;
enum err rows_event_waiting(struct db *db, const char *queue, uint32_t *count) MUST_CHECK;
// REQUEST and COMMAND elements from `pointer` on, below `tail`, are written down as passed over by
// this client.
enum err rows_event_skip(struct db *db, const char *client, const char *queue, uint32_t pointer,
	uint32_t tail, int64_t at_ms) MUST_CHECK;
// The same for everybody who stands in the queue, of the epoch that ends.
enum err rows_event_skip_all(
	struct db *db, const char *queue, uint64_t epoch, uint32_t tail, int64_t at_ms) MUST_CHECK;
// The body of one event, live or not, into the arena. Errors: ERR_NOT_FOUND.
enum err rows_event_body(struct db *db, const char *queue, uint64_t seq, struct arena *a,
	struct bytes *out) MUST_CHECK;
enum err rows_event_prune(struct db *db, int64_t before_ms) MUST_CHECK;
enum err rows_slot_put(struct db *db, const struct slot_row *row) MUST_CHECK;
// One slot; package zero when there is none.
enum err rows_slot_find(struct db *db, const char *queue, enum package_kind kind, const char *name,
	struct slot_row *out) MUST_CHECK;
// In the order in which they were last set; texts into the arena.
enum err rows_slot_list(struct db *db, const char *queue, struct arena *a, struct slot_row **out,
	size_t *count) MUST_CHECK;
enum err rows_slot_wants(struct db *db, const struct digest *package, bool *wanted) MUST_CHECK;
enum err rows_value_put(struct db *db, const struct value_row *row) MUST_CHECK;
enum err rows_value_list(struct db *db, const char *queue, struct arena *a, struct value_row **out,
	size_t *count) MUST_CHECK;

// ---- membership, detached, skipped

struct membership_row {
	const char *client, *channel;
	uint32_t place; // 1.. : the first channel stands in the client's own row
	uint64_t epoch;
	uint32_t pointer;
};

enum err rows_membership_put(struct db *db, const struct membership_row *row) MUST_CHECK;
enum err rows_membership_clear(struct db *db, const char *client) MUST_CHECK;
// By client and place.
enum err rows_membership_each(struct db *db,
	enum err (*fn)(void *ctx, const struct membership_row *row), void *ctx) MUST_CHECK;
enum err rows_membership_of(struct db *db, const char *client,
	enum err (*fn)(void *ctx, const struct membership_row *row), void *ctx) MUST_CHECK;

// A detached client comes back at the tail of then: what was appended since `seq` is passed over.
enum err rows_detached_put(
	struct db *db, const char *client, const char *queue, uint32_t seq) MUST_CHECK;
enum err rows_detached_end(struct db *db, const char *client, const char *queue, uint32_t tail,
	int64_t at_ms) MUST_CHECK;
enum err rows_detached_forget(struct db *db, const char *client) MUST_CHECK;

struct skipped_row {
	const char *client, *queue, *author, *text;
	uint32_t seq;
	enum element_type type;
	uint64_t flow_id;
	int64_t at_ms;
};
// Of a client (queue NULL), or of one event of a queue (client NULL), newest first; texts into the
// arena.
enum err rows_skipped_list(struct db *db, const char *client, const char *queue, uint32_t seq,
	size_t max, struct arena *a, struct skipped_row **out, size_t *count) MUST_CHECK;

// ---- report, usage

struct report_row {
	const char *client;
	enum info_kind what;
	uint64_t report_id;
	int64_t received_ms;
	struct bytes body, data; // the encoded Report of its last part, and the data of all parts
};

enum err rows_report_put(struct db *db, const struct report_row *row) MUST_CHECK;
// Parts of a report that is not whole yet: one report a client, its parts from 0 on.
struct report_part_row {
	const char *client;
	uint64_t report_id;
	enum info_kind what;
	uint32_t part, parts;
	struct bytes body; // the encoded Report of this part
	size_t bytes;      // each_open: of all parts
};
enum err rows_report_part_put(struct db *db, const struct report_part_row *row) MUST_CHECK;
enum err rows_report_parts_drop(struct db *db, const char *client) MUST_CHECK;
// In order.
enum err rows_report_parts_each(struct db *db, const char *client, void *ctx,
	enum err (*each)(void *ctx, const struct report_part_row *row)) MUST_CHECK;
// The last part of each report that is not whole.
enum err rows_report_parts_each_open(struct db *db, void *ctx,
	enum err (*each)(void *ctx, const struct report_part_row *row)) MUST_CHECK;
// What an operation of a client, open or ended, said. Into the arena. Errors: ERR_NOT_FOUND.
enum err rows_operation_body(struct db *db, const char *client, uint64_t op_id, struct arena *a,
	struct bytes *body) MUST_CHECK;
// Whether its question was answered. An operation that is unknown was not.
enum err rows_operation_answered(
	struct db *db, const char *client, uint64_t op_id, bool *answered) MUST_CHECK;
enum err rows_operation_answer(struct db *db, const char *client, uint64_t op_id) MUST_CHECK;
// When the server last asked for this of its own accord; 0: never.
enum err rows_question_find(
	struct db *db, const char *client, enum info_kind what, int64_t *asked_ms) MUST_CHECK;
enum err rows_question_put(
	struct db *db, const char *client, enum info_kind what, int64_t asked_ms) MUST_CHECK;
// When the last report of a kind came; 0: never.
enum err rows_report_age(
	struct db *db, const char *client, enum info_kind what, int64_t *received_ms) MUST_CHECK;
// Into the arena. Errors: ERR_NOT_FOUND.
enum err rows_report_find(struct db *db, const char *client, enum info_kind what, struct arena *a,
	struct report_row *out) MUST_CHECK;
// A row that is there already (client, store, ledger number, boot) is kept: each showing is
// recorded once. When it says something else than the one that comes, it becomes doubtful.
enum err rows_usage_add(struct db *db, const char *client, const struct id16 *store_id,
	const struct shown *shown) MUST_CHECK;
// How many there are of a store between two numbers, both included.
enum err rows_usage_count(struct db *db, const char *client, const struct id16 *store_id,
	uint64_t first_seq, uint64_t last_seq, uint64_t *count) MUST_CHECK;
struct usage_item {
	struct digest package;
	const char *image;
	int64_t from_unix_ms;
	uint32_t duration_ms;
	enum shown_result result;
};
// The first picture of a package that was shown from then on. Errors: ERR_NOT_FOUND.
enum err rows_usage_first(struct db *db, const char *client, const struct digest *package,
	int64_t from_ms, struct arena *a, struct usage_item *out) MUST_CHECK;
enum err rows_usage_list(struct db *db, const char *client, size_t max, struct arena *a,
	struct usage_item **out, size_t *count) MUST_CHECK;

#endif
