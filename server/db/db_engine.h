// What db.c and an engine know of each other; nobody else includes this.
#ifndef HELIO_SERVER_DB_ENGINE_H
#define HELIO_SERVER_DB_ENGINE_H

#include "server/db/db.h"

// Prepared statements of one connection, found by the address of their SQL literal.
#define STATEMENT_CACHE 256

#endif
