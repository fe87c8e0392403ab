// The store of a run: a database in memory. One serves all the runs of the process, emptied after
// each, to the page: when the disk is full, what is free in the file decides how far a run comes.
// Its tables are made and its statements are prepared once. A run that changes to a backup closes
// its own, and the next one begins with a new one.
#include "tests/fleet/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define TABLES_MAX 100

static struct db *kept;
// One statement a table; their addresses are their names to the store, so they stay.
static char clear[TABLES_MAX][80];
static size_t tables;

static void clear_write(struct db *db)
{
	struct db_rows rows;

	if (db_query_values(db, &rows,
		    "SELECT name FROM sqlite_master WHERE type = 'table'"
		    " AND name NOT LIKE 'sqlite_%' AND name != 'schema_version'",
		    NULL, 0) != ERR_OK)
		abort();
	while (db_next(&rows)) {
		if (tables == TABLES_MAX)
			abort();
		snprintf(clear[tables++], sizeof(clear[0]), "DELETE FROM %s", db_text(&rows, 0));
	}
	if (db_end(&rows) != ERR_OK)
		abort();
}

static enum err clear_all(struct db *db)
{
	for (size_t i = 0; i < tables; i++)
		TRY(db_run_values(db, clear[i], NULL, 0));
	TRY(db_commit(db));
	return db->engine->exec(db, "PRAGMA incremental_vacuum");
}

struct db *store_take(void)
{
	struct db *db = kept;

	kept = NULL;
	if (db)
		return db;
	if (db_sqlite_open(":memory:", &db) != ERR_OK ||
		db->engine->exec(db, "PRAGMA auto_vacuum=INCREMENTAL; VACUUM") != ERR_OK ||
		schema_migrate(db) != ERR_OK)
		abort();
	if (!tables)
		clear_write(db);
	return db;
}

void store_give_back(struct db *db, bool read_only)
{
	db_rollback(db);
	// These cost all statements their plans.
	if (read_only && db->engine->exec(db, "PRAGMA query_only=OFF;"
					      "PRAGMA max_page_count=1073741823") != ERR_OK)
		abort();
	if (kept || clear_all(db) != ERR_OK)
		db_close(db);
	else
		kept = db;
}
