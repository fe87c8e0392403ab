// What db.c and an engine know of each other; nobody else includes this.
#ifndef HELIO_SERVER_DB_ENGINE_H
#define HELIO_SERVER_DB_ENGINE_H

#include "server/db/db.h"
#include <stdint.h>

// Prepared statements of one connection, found by the address of their SQL literal. A test counts
// that those of the program fit. Where all places are taken another's is taken that nobody uses
// just now: who comes then is slower, and nothing fails.
#define STATEMENT_CACHE 512

// Where the search for it begins.
static inline size_t statement_place(const char *sql)
{
	return ((uintptr_t)sql >> 3) * 0x9E3779B97F4A7C15ull >> 55;
}

// At each place of a cache an engine has this first.
struct statement {
	const char *sql; // NULL: free
	bool used;       // from prepare to reset
};

// The place of this statement, a free one, or one to be taken from another. `size` of a place.
// Errors: ERR_FULL, when as many are used at a time.
enum err statement_find(
	struct statement *cache, size_t size, const char *sql, struct statement **out) MUST_CHECK;

// Engines may number $1, $2 ... as they come: another order would bind other values. Looked at
// once, when it is prepared. Errors: ERR_FORMAT.
enum err statement_check(const char *sql) MUST_CHECK;

#endif
