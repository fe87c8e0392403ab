// Budgets that operators set while the server runs (schema_budget.h).
#ifndef HELIO_SERVER_DB_ROWS_BUDGET_H
#define HELIO_SERVER_DB_ROWS_BUDGET_H

#include "server/budgets.h"
#include "server/db/db.h"

enum err rows_budget_put(struct db *db, const struct budget *b) MUST_CHECK;
enum err rows_budget_delete(struct db *db, enum budget_kind kind, const char *name) MUST_CHECK;
enum err rows_budget_each(
	struct db *db, enum err (*each)(void *ctx, const struct budget *b), void *ctx) MUST_CHECK;

#endif
