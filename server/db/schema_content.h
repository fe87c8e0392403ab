// Tables of packages, placements and leases, as part of version 1 of the schema (schema.c runs it).
// Belongs to the rooms rows_package, rows_placement, rows_lease.
#ifndef HELIO_SERVER_DB_SCHEMA_CONTENT_H
#define HELIO_SERVER_DB_SCHEMA_CONTENT_H

#define SCHEMA_CONTENT_1 ""

#endif
