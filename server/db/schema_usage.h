// What version 4 of the schema adds to the ledger of what was shown: the boot of the device, so
// that rows can be told apart as its own ledger tells them, and the customer whose client it was
// when the row came, so that a later change of owner changes no account. Belongs to rows_usage.
#ifndef HELIO_SERVER_DB_SCHEMA_USAGE_H
#define HELIO_SERVER_DB_SCHEMA_USAGE_H

#define SCHEMA_USAGE                                                                               \
	"ALTER TABLE usage ADD COLUMN boot INTEGER NOT NULL DEFAULT 0;"                            \
	"ALTER TABLE usage ADD COLUMN customer TEXT NOT NULL DEFAULT '';"

// Version 6: how each turn ended. The boot is part of a row's name: a power cut may take rows that
// were told already, and their numbers come again. source: the time that each boot of each ledger
// covers by a clock that is known to be right; doubt: rows of a time that two of them cover.
#define SCHEMA_USAGE_6                                                                             \
	"CREATE TABLE usage_6 (client TEXT NOT NULL, store_id BLOB NOT NULL, ledger_seq INTEGER "  \
	"NOT NULL, boot INTEGER NOT NULL, customer TEXT NOT NULL, package BLOB NOT NULL, image "   \
	"TEXT NOT NULL, from_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL, clock_quality "    \
	"INTEGER NOT NULL, planned_ms INTEGER NOT NULL DEFAULT 0, result INTEGER NOT NULL "        \
	"DEFAULT 0, reason TEXT NOT NULL DEFAULT '', doubt INTEGER NOT NULL DEFAULT 0, PRIMARY "   \
	"KEY (client, store_id, ledger_seq, boot)) WITHOUT ROWID;"                                 \
	"INSERT INTO usage_6 (client, store_id, ledger_seq, boot, customer, package, image, "      \
	"from_ms, duration_ms, clock_quality) SELECT client, store_id, ledger_seq, boot, "         \
	"customer, package, image, from_ms, duration_ms, clock_quality FROM usage;"                \
	"DROP TABLE usage;"                                                                        \
	"ALTER TABLE usage_6 RENAME TO usage;"                                                     \
	"CREATE INDEX usage_from ON usage (client, from_ms);"                                      \
	"CREATE INDEX usage_doubt ON usage (client) WHERE doubt = 1;"                              \
	"CREATE TABLE usage_source (client TEXT NOT NULL, store_id BLOB NOT NULL, boot INTEGER "   \
	"NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, PRIMARY KEY (client, "     \
	"store_id, boot)) WITHOUT ROWID;"                                                          \
	"CREATE INDEX usage_source_last ON usage_source (client, last_ms);"                        \
	"INSERT INTO usage_source (client, store_id, boot, first_ms, last_ms) SELECT client, "     \
	"store_id, boot, min(from_ms), max(from_ms) FROM usage WHERE clock_quality > 1 AND boot "  \
	"<> 0 GROUP BY client, store_id, boot;"

#endif
