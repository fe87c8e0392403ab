// What db.c and an engine know of each other; nobody else includes this.
#ifndef HELIO_SERVER_DB_ENGINE_H
#define HELIO_SERVER_DB_ENGINE_H

#include "server/db/db.h"
#include <stdint.h>

// Prepared statements of one connection, found by the address of their SQL literal.
#define STATEMENT_CACHE 256

// Where the search for it begins.
static inline size_t statement_place(const char *sql)
{
	return ((uintptr_t)sql >> 3) * 0x9E3779B97F4A7C15ull >> 56;
}

// Engines may number $1, $2 ... as they come: another order would bind other values. Looked at
// once, when it is prepared. Errors: ERR_FORMAT.
enum err statement_check(const char *sql) MUST_CHECK;

#endif
