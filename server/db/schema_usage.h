// What version 4 of the schema adds to the ledger of what was shown: the boot of the device, so
// that rows can be told apart as its own ledger tells them, and the customer whose client it was
// when the row came, so that a later change of owner changes no account. Belongs to rows_usage.
#ifndef HELIO_SERVER_DB_SCHEMA_USAGE_H
#define HELIO_SERVER_DB_SCHEMA_USAGE_H

#define SCHEMA_USAGE                                                                               \
	"ALTER TABLE usage ADD COLUMN boot INTEGER NOT NULL DEFAULT 0;"                            \
	"ALTER TABLE usage ADD COLUMN customer TEXT NOT NULL DEFAULT '';"

#endif
