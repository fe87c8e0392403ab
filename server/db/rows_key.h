// Keys of customers for content. A key stays for as long as a package that is sealed with it may
// be fetched; at most one of a customer is current. Secrets: as readable as the store's file.
#ifndef HELIO_SERVER_DB_ROWS_KEY_H
#define HELIO_SERVER_DB_ROWS_KEY_H

#include "proto/message.h"
#include "server/db/db.h"

struct key_row {
	struct id16 key_id;
	char customer[LIMIT_ID + 1];
	struct key32 secret;
	bool current;
	int64_t created_ms;
	char publisher[LIMIT_ID + 1]; // that makes packages for the customer now; read only
};

// Becomes the current one of its customer, or none is (row NULL).
enum err rows_key_turn(struct db *db, const char *customer, const struct key_row *row) MUST_CHECK;
// Errors: ERR_NOT_FOUND.
enum err rows_key_find(struct db *db, const struct id16 *key_id, struct key_row *out) MUST_CHECK;
enum err rows_key_current(struct db *db, const char *customer, struct key_row *out) MUST_CHECK;
// The current one of a customer, else the last that was. Errors: ERR_NOT_FOUND.
enum err rows_key_newest(struct db *db, const char *customer, struct key_row *out) MUST_CHECK;
// Of every customer that ever had a key the newest row, by customer, those after `after`, at most
// max. publisher: only of customers for which this one makes packages; NULL: all. Errors: of each.
typedef enum err rows_key_each(void *ctx, const struct key_row *row);
enum err rows_key_customers(struct db *db, const char *publisher, const char *after, size_t max,
	void *ctx, rows_key_each *each) MUST_CHECK;

#endif
