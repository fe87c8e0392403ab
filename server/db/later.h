// Writes that wait to be run: statements and their values, copied, in their order.
//
//   db_run_later ─► later_add ─► later_run, by whoever has the connection, ─► later_clear
//
// Not safe for threads; the whole changes hands (later_swap).
#ifndef HELIO_SERVER_DB_LATER_H
#define HELIO_SERVER_DB_LATER_H

#include "server/db/db.h"

#define LATER_VALUES 64 // of a statement

struct later {
	struct buf records;
};

void later_init(struct later *l, size_t bytes_max);
void later_fini(struct later *l); // what it held is wiped
// False: it is full, or there is no memory; nothing was added. sql is a literal.
bool later_add(struct later *l, const char *sql, const struct db_value *values, size_t count);
size_t later_bytes(const struct later *l);
void later_clear(struct later *l);
void later_swap(struct later *a, struct later *b);

// values are borrowed.
typedef enum err (*later_fn)(
	void *ctx, const char *sql, const struct db_value *values, size_t count);

// The first error ends it and is its result.
enum err later_run(const struct later *l, later_fn fn, void *ctx) MUST_CHECK;

#endif
