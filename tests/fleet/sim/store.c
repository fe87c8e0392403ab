// The store of a run: a database in memory. One serves all the runs of the process, emptied after
// each: its tables are made and its statements are prepared once. A run that changes to a backup
// closes its own, and the next one begins with a new one.
#include "tests/fleet/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define CLEAR_MAX 4096

static struct db *kept;
static char clear[CLEAR_MAX];

static void clear_write(struct db *db)
{
	struct db_rows rows;
	size_t at = (size_t)snprintf(clear, sizeof(clear), "BEGIN;");

	if (db_query_values(db, &rows,
		    "SELECT name FROM sqlite_master WHERE type = 'table'"
		    " AND name NOT LIKE 'sqlite_%' AND name != 'schema_version'",
		    NULL, 0) != ERR_OK)
		abort();
	while (db_next(&rows) && at < sizeof(clear))
		at += (size_t)snprintf(
			clear + at, sizeof(clear) - at, "DELETE FROM %s;", db_text(&rows, 0));
	if (at < sizeof(clear))
		at += (size_t)snprintf(clear + at, sizeof(clear) - at, "COMMIT;");
	if (db_end(&rows) != ERR_OK || at >= sizeof(clear))
		abort();
}

struct db *store_take(void)
{
	struct db *db = kept;

	kept = NULL;
	if (db)
		return db;
	if (db_sqlite_open(":memory:", &db) != ERR_OK || schema_migrate(db) != ERR_OK)
		abort();
	if (!clear[0])
		clear_write(db);
	return db;
}

void store_give_back(struct db *db)
{
	db_rollback(db);
	db->failed = false;
	if (kept || db->engine->exec(db, "PRAGMA query_only=OFF") != ERR_OK ||
		db->engine->exec(db, clear) != ERR_OK)
		db_close(db);
	else
		kept = db;
}
