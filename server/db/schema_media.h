// The table of media orders, as part of version 4 of the schema. Belongs to rows_media.
#ifndef HELIO_SERVER_DB_SCHEMA_MEDIA_H
#define HELIO_SERVER_DB_SCHEMA_MEDIA_H

#define SCHEMA_MEDIA                                                                               \
	"CREATE TABLE media_order (number INTEGER PRIMARY KEY, client TEXT NOT NULL, publisher "   \
	"TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, kind INTEGER NOT NULL, "        \
	"package BLOB NOT NULL, activate INTEGER NOT NULL, state INTEGER NOT NULL, reason TEXT "   \
	"NOT NULL, medium_kind TEXT NOT NULL, path TEXT NOT NULL, sha256 BLOB NOT NULL, "          \
	"size_bytes INTEGER NOT NULL, detail TEXT NOT NULL, failed_op INTEGER NOT NULL, "          \
	"created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL);"                               \
	"CREATE INDEX media_client ON media_order (client, package);"                              \
	"CREATE INDEX media_state ON media_order (state);"

#endif
