// The tables of several servers on one store, as part of version 5 of the schema. Belongs to
// rows_shard.
//
//   server_lease  one row a living server: its fencing number, and until when it lives if it says
//                 nothing more, by the clock of the database
//   shard_lease   who owns a shard (0..255) or the lead (256), and under which fencing number; ''
//                 nobody
#ifndef HELIO_SERVER_DB_SCHEMA_SHARD_H
#define HELIO_SERVER_DB_SCHEMA_SHARD_H

#define SCHEMA_SHARD                                                                               \
	"CREATE TABLE server_lease (holder TEXT PRIMARY KEY, fencing INTEGER NOT NULL, until_ms "  \
	"INTEGER NOT NULL) WITHOUT ROWID;"                                                         \
	"CREATE TABLE shard_lease (shard INTEGER PRIMARY KEY, holder TEXT NOT NULL, fencing "      \
	"INTEGER NOT NULL);"

// Version 6. letter: what the servers of one store have to tell each other (rows_letter.h).
#define SCHEMA_LETTER                                                                              \
	"CREATE TABLE letter (number INTEGER PRIMARY KEY, place INTEGER NOT NULL, kind INTEGER "   \
	"NOT NULL, client TEXT NOT NULL, text TEXT NOT NULL, a INTEGER NOT NULL, b INTEGER NOT "   \
	"NULL, body BLOB NOT NULL, at_ms INTEGER NOT NULL);"

// Version 7. client_change: the last change of a client's row or channels that was not the
// leader's: which term wrote it (a fencing number), and as which of its writes.
#define SCHEMA_CHANGE                                                                              \
	"CREATE TABLE client_change (client TEXT PRIMARY KEY, term INTEGER NOT NULL, number "      \
	"INTEGER NOT NULL) WITHOUT ROWID;"                                                         \
	"CREATE INDEX client_change_number ON client_change (term, number);"

#endif
