// Budgets that operators set while the server runs (budgets.h), as part of version 6 of the schema.
// Belongs to rows_budget.
#ifndef HELIO_SERVER_DB_SCHEMA_BUDGET_H
#define HELIO_SERVER_DB_SCHEMA_BUDGET_H

#define SCHEMA_BUDGET                                                                              \
	"CREATE TABLE budget (kind INTEGER NOT NULL, name TEXT NOT NULL, bytes_per_s INTEGER NOT " \
	"NULL, fetches INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;"

#endif
