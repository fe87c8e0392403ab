// The rows of customers, and of the orders that follow from them. Texts go into the arena.
#ifndef HELIO_SERVER_DB_ROWS_CUSTOMER_H
#define HELIO_SERVER_DB_ROWS_CUSTOMER_H

#include "server/customers.h"
#include "server/db/db.h"

// ---- customer

enum err rows_customer_put(struct db *db, const struct customer *c) MUST_CHECK;
// Removed ones too. Errors: ERR_NOT_FOUND, ERR_FULL.
enum err rows_customer_find(
	struct db *db, const char *id, struct arena *a, struct customer *out) MUST_CHECK;
// By id, from the one after `after` on; none that was removed.
enum err rows_customer_list(struct db *db, const char *after, size_t max, struct arena *a,
	struct customer **out, size_t *count) MUST_CHECK;
// With its places and plans. Errors: ERR_NOT_FOUND (or removed), ERR_FULL.
enum err rows_customer_whole(
	struct db *db, const char *id, struct arena *a, struct customer_whole *out) MUST_CHECK;
struct customer_counts {
	uint64_t customers; // in all
	uint64_t clients, places, plans, orders;
};
enum err rows_customer_count(struct db *db, const char *id, struct customer_counts *out) MUST_CHECK;

// ---- place, plan

enum err rows_place_put(
	struct db *db, const char *customer, const struct customer_place *p) MUST_CHECK;
enum err rows_place_delete(struct db *db, const char *customer, const char *id) MUST_CHECK;
enum err rows_plan_put(
	struct db *db, const char *customer, const struct customer_plan *p) MUST_CHECK;
enum err rows_plan_delete(struct db *db, const char *customer, const char *id) MUST_CHECK;

// ---- client

enum err rows_customer_client_put(
	struct db *db, const char *customer, const struct customer_client *c) MUST_CHECK;
enum err rows_customer_client_delete(struct db *db, const char *client) MUST_CHECK;
// owner: into the arena. Errors: ERR_NOT_FOUND, ERR_FULL.
enum err rows_customer_client_find(struct db *db, const char *client, struct arena *a,
	const char **owner, struct customer_client *out) MUST_CHECK;
// By id, those after `after`, at most max; *count says how many were handed over. Texts are
// borrowed until `each` returns.
enum err rows_customer_client_each(struct db *db, const char *customer, const char *after,
	size_t max, size_t *count, enum err (*each)(void *ctx, const struct customer_client *c),
	void *ctx) MUST_CHECK;
enum err rows_customer_client_at(
	struct db *db, const char *customer, const char *place, uint64_t *count) MUST_CHECK;

// ---- history

struct customer_edit {
	const char *customer, *seat, *verb, *item;
	uint64_t revision; // that the edit made
	int64_t at_ms;
	const char *before, *after; // JSON; "": there was none
};

enum err rows_customer_edit_put(struct db *db, const struct customer_edit *e) MUST_CHECK;
// Newest first, with revisions below `below` (0: all).
enum err rows_customer_edit_list(struct db *db, const char *customer, uint64_t below, size_t max,
	struct arena *a, struct customer_edit **out, size_t *count) MUST_CHECK;

// ---- order

struct order_row {
	const char *id, *customer, *publisher, *seat, *verb;
	uint64_t revision;
	bool withdrawn;
	struct bytes body; // an encoded PackageOrder of revision 1, without its flow
	uint64_t clients, flow;
	uint64_t answered;            // the revision that its publisher answered last, 0: none
	struct digest package, shown; // of the last outcome; of the event appended last
	uint32_t matched, included;
	uint64_t size_bytes;
	const char *reason, *warnings; // warnings: one a line
	int64_t changed_ms, answered_ms;
};

enum err rows_order_put(struct db *db, const struct order_row *r) MUST_CHECK;
// Those that are withdrawn and answered, of revisions below this one: one that comes back under the
// same id is numbered above it.
enum err rows_order_prune(struct db *db, const char *customer, uint64_t revision) MUST_CHECK;
enum err rows_order_find(
	struct db *db, const char *id, struct arena *a, struct order_row *out) MUST_CHECK;
// Of a customer (NULL: of all), by id, those after `after`.
enum err rows_order_list(struct db *db, const char *customer, const char *after, size_t max,
	struct arena *a, struct order_row **out, size_t *count) MUST_CHECK;

#endif
