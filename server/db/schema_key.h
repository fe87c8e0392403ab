// The table of customers' keys for content, as part of version 4 of the schema. Belongs to rows_key.
#ifndef HELIO_SERVER_DB_SCHEMA_KEY_H
#define HELIO_SERVER_DB_SCHEMA_KEY_H

#define SCHEMA_KEY                                                                                 \
	"CREATE TABLE content_key (key_id BLOB PRIMARY KEY, customer TEXT NOT NULL, secret BLOB "  \
	"NOT NULL, current INTEGER NOT NULL, created_ms INTEGER NOT NULL) WITHOUT ROWID;"          \
	"CREATE INDEX content_key_customer ON content_key (customer, current);"

#endif
