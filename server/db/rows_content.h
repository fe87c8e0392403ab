// The rows of the presence server and of the operator API: each noun has its file with all of its
// SQL. Texts and bytes of a row handed to `each` are borrowed until it returns.
#ifndef HELIO_SERVER_DB_ROWS_CONTENT_H
#define HELIO_SERVER_DB_ROWS_CONTENT_H

#include "proto/message.h"
#include "server/db/db.h"

// ---- package: what was offered, and by whom

struct package_row {
	struct digest id;
	const char *publisher, *name, *version;
	enum package_kind kind;
	uint64_t size_bytes, object_bytes;
	struct bytes envelope;
	int64_t offered_ms;
};

enum err rows_package_put(struct db *db, const struct package_row *row) MUST_CHECK;
// Without the envelope.
enum err rows_package_each(struct db *db,
	enum err (*each)(void *ctx, const struct package_row *row), void *ctx) MUST_CHECK;
// Errors: ERR_NOT_FOUND, ERR_FULL.
// out->package says which; strings into the arena. *withdrawn: its placement is in that state.
// Errors: ERR_NOT_FOUND.
enum err rows_package_ref(struct db *db, struct arena *a, struct package_ref *out,
	int withdrawn_state, bool *withdrawn) MUST_CHECK;
enum err rows_package_envelope(
	struct db *db, const struct digest *id, struct arena *a, struct bytes *out) MUST_CHECK;

// ---- placement: where it lies, and what the publisher was told

struct placement_row {
	struct digest package;
	int state; // enum place_state
	const char *broker;
	enum directive_kind directive; // 0: none yet
	uint64_t directive_id, directive_top;
	bool answered;
	int64_t since_ms, verified_ms;
	struct id16 mark;
	struct digest index_sha256;
	bool viewed, barred;
	const char *detail;
};

enum err rows_placement_put(struct db *db, const struct placement_row *row) MUST_CHECK;
enum err rows_placement_each(struct db *db,
	enum err (*each)(void *ctx, const struct placement_row *row), void *ctx) MUST_CHECK;
// Further copies of a package (copies.h).
struct copy_row {
	struct digest package;
	const char *broker;
	int state; // enum place_state
	enum directive_kind directive;
	uint64_t directive_id;
	bool answered;
	int64_t since_ms;
	struct id16 mark;
	struct digest index_sha256;
};

enum err rows_copy_put(struct db *db, const struct copy_row *row) MUST_CHECK;
enum err rows_copy_delete(
	struct db *db, const struct digest *package, const char *broker) MUST_CHECK;
enum err rows_copy_each(struct db *db, enum err (*each)(void *ctx, const struct copy_row *row),
	void *ctx) MUST_CHECK;
enum err rows_target_put(struct db *db, const char *broker, int64_t last_ms) MUST_CHECK;
enum err rows_target_each(struct db *db,
	enum err (*each)(void *ctx, const char *broker, int64_t last_ms), void *ctx) MUST_CHECK;

// ---- lease

struct lease_row {
	uint64_t id, request_id, rate;
	const char *client, *broker;
	struct digest package;
	int64_t granted_ms;
	uint32_t ttl_ms;
};

enum err rows_lease_put(struct db *db, const struct lease_row *row) MUST_CHECK;
// From where a client was last allowed to fetch a package; "" and 0: never.
enum err rows_fetched_find(struct db *db, const char *client, const struct digest *package,
	struct arena *a, const char **broker, int64_t *granted_ms) MUST_CHECK;
enum err rows_fetched_prune(struct db *db, int64_t before_ms) MUST_CHECK;
enum err rows_lease_delete(struct db *db, uint64_t id) MUST_CHECK;
enum err rows_lease_rate_put(struct db *db, uint64_t id, uint64_t rate) MUST_CHECK;
// Errors: ERR_NOT_FOUND.
enum err rows_lease_rate(struct db *db, uint64_t id, uint64_t *rate) MUST_CHECK;
enum err rows_lease_each(struct db *db, enum err (*each)(void *ctx, const struct lease_row *row),
	void *ctx) MUST_CHECK;

// ---- api: answers to requests that changed something, and the flows they began

#define API_ANSWERS_KEPT 256 // of each seat

struct api_answer_row {
	const char *seat, *verb, *error_word, *error;
	uint64_t request_id;
	struct bytes json;
	int64_t at_ms;
};

// Keeps the newest API_ANSWERS_KEPT of the seat.
enum err rows_api_put(struct db *db, const struct api_answer_row *row) MUST_CHECK;
// Errors: ERR_NOT_FOUND, ERR_STALE (older than everything remembered), ERR_FULL.
enum err rows_api_find(struct db *db, const char *seat, uint64_t request_id, struct arena *a,
	struct api_answer_row *out) MUST_CHECK;

struct flow_row {
	uint64_t flow, seq;
	const char *queue, *verb, *seat;
	struct digest package; // zero: none
	int64_t at_ms;
};

enum err rows_flow_put(struct db *db, const struct flow_row *row) MUST_CHECK;
// Errors: ERR_NOT_FOUND, ERR_FULL.
enum err rows_flow_find(
	struct db *db, uint64_t flow, struct arena *a, struct flow_row *out) MUST_CHECK;

// ---- enrolments that were taken: a file is taken once, so that a removed principal stays removed

enum err rows_enrol_put(
	struct db *db, const struct digest *sha256, const char *id, int64_t at_ms) MUST_CHECK;
enum err rows_enrol_is_known(struct db *db, const struct digest *sha256, bool *known) MUST_CHECK;

#endif
