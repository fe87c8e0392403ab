// The version of the store that this program reads and writes.
#ifndef HELIO_SERVER_DB_SCHEMA_H
#define HELIO_SERVER_DB_SCHEMA_H

#define SCHEMA_VERSION 7

#endif
