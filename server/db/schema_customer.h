// Tables of customers and of the orders that follow from them, as part of version 4 of the schema.
// Belongs to rows_customer and rows_order.
//
//   customer         who pays: what holds for all of its screens; a removed one stays, so that its
//                    history and its revisions go on when the id comes back
//   customer_client  which client system is whose: a client belongs to one customer
//   customer_place   where its clients stand
//   customer_plan    image plans: which pictures, in which order, when, where
//   customer_history who edited what, when, and what it was before
//   package_order    one row for each distinct order, and what its publisher made of it
#ifndef HELIO_SERVER_DB_SCHEMA_CUSTOMER_H
#define HELIO_SERVER_DB_SCHEMA_CUSTOMER_H

#define SCHEMA_CUSTOMER                                                                            \
	"CREATE TABLE customer (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, removed INTEGER "  \
	"NOT NULL, name TEXT NOT NULL, publisher TEXT NOT NULL, time_zone TEXT NOT NULL, "         \
	"show_order TEXT NOT NULL, seed INTEGER NOT NULL, duration_ms INTEGER NOT NULL, "          \
	"transition_ms INTEGER NOT NULL, fit TEXT NOT NULL, background INTEGER NOT NULL, "         \
	"max_images INTEGER NOT NULL, max_bytes INTEGER NOT NULL, created_ms INTEGER NOT NULL, "   \
	"changed_ms INTEGER NOT NULL) WITHOUT ROWID;"                                              \
	"CREATE TABLE customer_client (client TEXT PRIMARY KEY, customer TEXT NOT NULL, place "    \
	"TEXT NOT NULL, name TEXT NOT NULL, width_px INTEGER NOT NULL, height_px INTEGER NOT "     \
	"NULL, orientation TEXT NOT NULL) WITHOUT ROWID;"                                          \
	"CREATE INDEX customer_client_of ON customer_client (customer, client);"                   \
	"CREATE TABLE customer_place (customer TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT "    \
	"NULL, address TEXT NOT NULL, time_zone TEXT NOT NULL, PRIMARY KEY (customer, id)) "       \
	"WITHOUT ROWID;"                                                                           \
	"CREATE TABLE customer_plan (customer TEXT NOT NULL, id TEXT NOT NULL, expression TEXT "   \
	"NOT NULL, min_width_px INTEGER NOT NULL, min_height_px INTEGER NOT NULL, max_images "     \
	"INTEGER NOT NULL, max_bytes INTEGER NOT NULL, pick TEXT NOT NULL, seed INTEGER NOT "      \
	"NULL, duration_ms INTEGER NOT NULL, fit TEXT NOT NULL, weight INTEGER NOT NULL, from_ms " \
	"INTEGER NOT NULL, until_ms INTEGER NOT NULL, dayparts TEXT NOT NULL, places TEXT NOT "    \
	"NULL, orientation TEXT NOT NULL, paused INTEGER NOT NULL, PRIMARY KEY (customer, id)) "   \
	"WITHOUT ROWID;"                                                                           \
	"CREATE TABLE customer_history (customer TEXT NOT NULL, revision INTEGER NOT NULL, seat "  \
	"TEXT NOT NULL, at_ms INTEGER NOT NULL, verb TEXT NOT NULL, item TEXT NOT NULL, before "   \
	"TEXT NOT NULL, after TEXT NOT NULL, PRIMARY KEY (customer, revision)) WITHOUT ROWID;"     \
	"CREATE TABLE package_order (id TEXT PRIMARY KEY, customer TEXT NOT NULL, publisher TEXT " \
	"NOT NULL, revision INTEGER NOT NULL, withdrawn INTEGER NOT NULL, body BLOB NOT NULL, "    \
	"clients INTEGER NOT NULL, flow INTEGER NOT NULL, seat TEXT NOT NULL, verb TEXT NOT "      \
	"NULL, answered INTEGER NOT NULL, package BLOB NOT NULL, shown BLOB NOT NULL, matched "    \
	"INTEGER NOT NULL, included INTEGER NOT NULL, size_bytes INTEGER NOT NULL, reason TEXT "   \
	"NOT NULL, warnings TEXT NOT NULL, changed_ms INTEGER NOT NULL, answered_ms INTEGER NOT "  \
	"NULL) WITHOUT ROWID;"                                                                     \
	"CREATE INDEX package_order_customer ON package_order (customer, id);"

#endif
