// Tables of packages, placements and leases, and of the operator API, as part of version 1 of the
// schema (schema.c runs it). Belongs to rows_package, rows_placement, rows_lease, rows_api.
#ifndef HELIO_SERVER_DB_SCHEMA_CONTENT_H
#define HELIO_SERVER_DB_SCHEMA_CONTENT_H

#define SCHEMA_CONTENT_1                                                                           \
	"CREATE TABLE package (id BLOB PRIMARY KEY, publisher TEXT NOT NULL, kind INTEGER NOT "    \
	"NULL, name TEXT NOT NULL, version TEXT NOT NULL, size_bytes INTEGER NOT NULL, "           \
	"object_bytes INTEGER NOT NULL, envelope BLOB NOT NULL, offered_ms INTEGER NOT NULL) "     \
	"WITHOUT ROWID;"                                                                           \
	"CREATE INDEX package_name ON package (name);"                                             \
	"CREATE TABLE placement (package BLOB PRIMARY KEY, state INTEGER NOT NULL, broker TEXT "   \
	"NOT NULL, directive INTEGER NOT NULL, directive_id INTEGER NOT NULL, answered INTEGER "   \
	"NOT NULL, since_ms INTEGER NOT NULL, verified_ms INTEGER NOT NULL, mark BLOB NOT NULL, "  \
	"index_sha256 BLOB NOT NULL, viewed INTEGER NOT NULL, barred INTEGER NOT NULL, detail TEXT NOT NULL) WITHOUT "      \
	"ROWID;"                                                                                   \
	"CREATE TABLE data_target (broker TEXT PRIMARY KEY, last_ms INTEGER NOT NULL) WITHOUT "    \
	"ROWID;"                                                                                   \
	"CREATE TABLE lease (id INTEGER PRIMARY KEY, client TEXT NOT NULL, package BLOB NOT "      \
	"NULL, broker TEXT NOT NULL, request_id INTEGER NOT NULL, granted_ms INTEGER NOT NULL, "   \
	"ttl_ms INTEGER NOT NULL, rate INTEGER NOT NULL);"                                         \
	"CREATE TABLE api_answer (seat TEXT NOT NULL, request_id INTEGER NOT NULL, verb TEXT NOT " \
	"NULL, error_word TEXT NOT NULL, error TEXT NOT NULL, json BLOB NOT NULL, at_ms INTEGER "  \
	"NOT NULL, PRIMARY KEY (seat, request_id)) WITHOUT ROWID;"                                 \
	"CREATE TABLE flow (flow INTEGER PRIMARY KEY, queue TEXT NOT NULL, seq INTEGER NOT NULL, " \
	"package BLOB NOT NULL, verb TEXT NOT NULL, seat TEXT NOT NULL, at_ms INTEGER NOT NULL);"  \
	"CREATE TABLE enrol_seen (sha256 BLOB PRIMARY KEY, id TEXT NOT NULL, at_ms INTEGER NOT "   \
	"NULL) WITHOUT ROWID;"

// Version 2. report_part: a report that is not whole yet; question: when the server last asked of
// its own accord, so that a device that cannot answer is not asked again and again.
#define SCHEMA_CONTENT_2                                                                           \
	"CREATE TABLE report_part (client TEXT NOT NULL, part INTEGER NOT NULL, report_id "        \
	"INTEGER NOT NULL, what INTEGER NOT NULL, parts INTEGER NOT NULL, body BLOB NOT NULL, "    \
	"PRIMARY KEY (client, part)) WITHOUT ROWID;"                                               \
	"CREATE TABLE question (client TEXT NOT NULL, what INTEGER NOT NULL, asked_ms INTEGER "    \
	"NOT NULL, PRIMARY KEY (client, what)) WITHOUT ROWID;"

// Version 5. A package may lie on several data brokers; the ids of its directives rise over all.
#define SCHEMA_CONTENT_5                                                                           \
	"ALTER TABLE placement ADD COLUMN directive_top INTEGER NOT NULL DEFAULT 0;"               \
	"CREATE TABLE placement_copy (package BLOB NOT NULL, broker TEXT NOT NULL, state "         \
	"INTEGER NOT NULL, directive INTEGER NOT NULL, directive_id INTEGER NOT NULL, answered "   \
	"INTEGER NOT NULL, since_ms INTEGER NOT NULL, mark BLOB NOT NULL, index_sha256 BLOB NOT "  \
	"NULL, PRIMARY KEY (package, broker)) WITHOUT ROWID;"

#endif
