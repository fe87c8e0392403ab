// The tables, and how an older store becomes the present one: one step per version, all steps in
// one transaction. A store made by a newer program is refused, never guessed at.
//
//   principal   who may sign in: id, role, key
//   former_key  identity keys that were rotated away
//   session     session keys; the only table that backups leave out
//   client      one row per client: what the next heartbeat is judged by
//   operation   every operation, open or with its one outcome
//   answer      answers of kinds 2 to 4, for `why`
//   queue       channels and private queues; event: their elements; slot, value: what a channel
//               wants now
//   membership  the channels of a client after its first
//   detached    where a client stood in a queue when it was detached; skipped: what it passed over
//   media_order what goes to a client on a disc or a stick
//   customer*   who owns which clients, and what is to be seen on them; package_order: what follows
//   server_lease, shard_lease, letter, client_change  several servers on one store
//   budget      what operators said while running
//   report      the last report of each kind; usage: the ledger of what was shown
#include "server/db/schema.h"
#include "server/db/db.h"
#include "server/db/schema_budget.h"
#include "server/db/schema_content.h"
#include "server/db/schema_customer.h"
#include "server/db/schema_key.h"
#include "server/db/schema_media.h"
#include "server/db/schema_shard.h"
#include "server/db/schema_usage.h"

static const char version_1[] =
	"CREATE TABLE meta (key TEXT PRIMARY KEY, number INTEGER NOT NULL DEFAULT 0, data BLOB) "
	"WITHOUT ROWID;"
	"CREATE TABLE principal (id TEXT PRIMARY KEY, role INTEGER NOT NULL, public_key BLOB NOT "
	"NULL,"
	" box_key BLOB NOT NULL, name TEXT NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,"
	" enrolled_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE session (id TEXT PRIMARY KEY, session_id INTEGER NOT NULL, mac_up BLOB NOT "
	"NULL,"
	" mac_down BLOB NOT NULL, enc BLOB NOT NULL, expires_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE client (id TEXT PRIMARY KEY, highest_session INTEGER NOT NULL, state INTEGER "
	"NOT NULL,"
	" reach INTEGER NOT NULL, d INTEGER NOT NULL, channel TEXT NOT NULL, epoch INTEGER NOT "
	"NULL,"
	" pointer INTEGER NOT NULL, holdings_known INTEGER NOT NULL, store_id BLOB, boot_counter "
	"INTEGER NOT NULL,"
	" mismatches INTEGER NOT NULL, interval_set_ms INTEGER NOT NULL, told_interval_ms INTEGER "
	"NOT NULL,"
	" change_id INTEGER NOT NULL, report_id INTEGER NOT NULL, last_kind INTEGER NOT NULL,"
	" last_heard_ms INTEGER NOT NULL, status_interval_ms INTEGER NOT NULL, ip BLOB, profile "
	"BLOB, showing BLOB,"
	" holdings BLOB) WITHOUT ROWID;"
	"CREATE TABLE operation (client TEXT NOT NULL, op_id INTEGER NOT NULL, first_op_id INTEGER "
	"NOT NULL,"
	" before_id INTEGER NOT NULL, kind INTEGER NOT NULL, attempt INTEGER NOT NULL, flow "
	"INTEGER NOT NULL,"
	" queue TEXT NOT NULL, event_seq INTEGER NOT NULL, body BLOB NOT NULL, status INTEGER NOT "
	"NULL,"
	" percent INTEGER NOT NULL, detail TEXT NOT NULL, outcome INTEGER NOT NULL, is_final "
	"INTEGER NOT NULL,"
	" place INTEGER NOT NULL, reported INTEGER NOT NULL, cancel_flow INTEGER NOT NULL, "
	"opened_ms "
	"INTEGER NOT NULL,"
	" ended_ms INTEGER NOT NULL, PRIMARY KEY (client, op_id)) WITHOUT ROWID;"
	"CREATE INDEX operation_place ON operation (place) WHERE place <> 0;"
	"CREATE INDEX operation_flow ON operation (flow);"
	"CREATE TABLE answer (number INTEGER PRIMARY KEY, client TEXT NOT NULL, response_id "
	"INTEGER NOT NULL,"
	" at_ms INTEGER NOT NULL, in_reply_to INTEGER NOT NULL, op_id INTEGER NOT NULL, kind "
	"INTEGER NOT NULL,"
	" state INTEGER NOT NULL, code INTEGER NOT NULL, text TEXT NOT NULL, queue TEXT NOT NULL,"
	" event_seq INTEGER NOT NULL, flow INTEGER NOT NULL, attempt INTEGER NOT NULL);"
	"CREATE INDEX answer_client ON answer (client, number);"
	"CREATE TABLE queue (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, tail_seq INTEGER NOT "
	"NULL,"
	" paused INTEGER NOT NULL, closed INTEGER NOT NULL, rate INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE event (queue TEXT NOT NULL, seq INTEGER NOT NULL, first_seq INTEGER NOT NULL,"
	" type INTEGER NOT NULL, body BLOB NOT NULL, text TEXT NOT NULL, author TEXT NOT NULL, "
	"flow INTEGER NOT NULL,"
	" at_ms INTEGER NOT NULL, live INTEGER NOT NULL, PRIMARY KEY (queue, seq)) WITHOUT ROWID;"
	"CREATE INDEX event_live ON event (live) WHERE live = 1;"
	"CREATE INDEX event_at ON event (at_ms);"
	"CREATE TABLE slot (queue TEXT NOT NULL, kind INTEGER NOT NULL, name TEXT NOT NULL, "
	"version TEXT NOT NULL,"
	" package BLOB NOT NULL, previous BLOB NOT NULL, activate INTEGER NOT NULL, seq INTEGER "
	"NOT NULL,"
	" flow INTEGER NOT NULL, PRIMARY KEY (queue, kind, name)) WITHOUT ROWID;"
	"CREATE TABLE value (queue TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "
	"change_id INTEGER NOT NULL,"
	" seq INTEGER NOT NULL, PRIMARY KEY (queue, key)) WITHOUT ROWID;"
	"CREATE TABLE skipped (client TEXT NOT NULL, queue TEXT NOT NULL, seq INTEGER NOT NULL, "
	"at_ms INTEGER NOT NULL,"
	" PRIMARY KEY (client, queue, seq)) WITHOUT ROWID;"
	"CREATE TABLE report (client TEXT NOT NULL, what INTEGER NOT NULL, report_id INTEGER NOT "
	"NULL,"
	" received_ms INTEGER NOT NULL, body BLOB NOT NULL, data BLOB, PRIMARY KEY (client, what)) "
	"WITHOUT "
	"ROWID;"
	"CREATE TABLE usage (client TEXT NOT NULL, store_id BLOB NOT NULL, ledger_seq INTEGER NOT "
	"NULL,"
	" package BLOB NOT NULL, image TEXT NOT NULL, from_ms INTEGER NOT NULL, duration_ms "
	"INTEGER NOT NULL,"
	" clock_quality INTEGER NOT NULL, PRIMARY KEY (client, store_id, ledger_seq)) WITHOUT "
	"ROWID;"
	"CREATE INDEX usage_from ON usage (client, from_ms);";

// A client may be in several channels: the first stands in its row, the others here. What weighs
// more is served first.
static const char version_2[] =
	"ALTER TABLE queue ADD COLUMN weight INTEGER NOT NULL DEFAULT 100;"
	"CREATE TABLE membership (client TEXT NOT NULL, place INTEGER NOT NULL, channel TEXT NOT "
	"NULL,"
	" epoch INTEGER NOT NULL, pointer INTEGER NOT NULL, PRIMARY KEY (client, place)) WITHOUT "
	"ROWID;"
	"CREATE TABLE detached (client TEXT NOT NULL, queue TEXT NOT NULL, seq INTEGER NOT NULL,"
	" PRIMARY KEY (client, queue)) WITHOUT ROWID;"
	"CREATE INDEX skipped_event ON skipped (queue, seq);"
	"CREATE TABLE former_key (id TEXT NOT NULL, public_key BLOB NOT NULL, until_ms INTEGER NOT "
	"NULL,"
	" PRIMARY KEY (id, public_key)) WITHOUT ROWID;";

// Which rule of accordance judged the heartbeat, and what the interval came from. From where a
// client was last allowed to fetch a package: a lease ends, this stays.
static const char version_3[] =
	"ALTER TABLE answer ADD COLUMN rule INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE answer ADD COLUMN interval_ms INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE answer ADD COLUMN interval_by INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE fetched (client TEXT NOT NULL, package BLOB NOT NULL, broker TEXT NOT NULL,"
	" granted_ms INTEGER NOT NULL, PRIMARY KEY (client, package)) WITHOUT ROWID;";

#define PARTS 4 // rooms that add to one version

static const char *const steps[SCHEMA_VERSION][PARTS] = {
	{version_1, SCHEMA_CONTENT_1},
	{version_2, SCHEMA_CONTENT_2},
	{version_3},
	{SCHEMA_MEDIA, SCHEMA_CUSTOMER, SCHEMA_USAGE, SCHEMA_KEY},
	{SCHEMA_CONTENT_5, SCHEMA_SHARD},
	{SCHEMA_LETTER, SCHEMA_USAGE_6, SCHEMA_BUDGET},
	{SCHEMA_CHANGE},
};

static enum err version_read(struct db *db, int64_t *version)
{
	struct db_rows rows;

	*version = 0;
	TRY(db->engine->exec(db, "CREATE TABLE IF NOT EXISTS schema_version"
				 " (one INTEGER PRIMARY KEY, version INTEGER NOT NULL)"));
	TRY(db_query_values(
		db, &rows, "SELECT version FROM schema_version WHERE one = 1", NULL, 0));
	if (db_next(&rows))
		*version = db_int(&rows, 0);
	return db_end(&rows);
}

enum err schema_migrate(struct db *db)
{
	int64_t version = 0;

	TRY(version_read(db, &version));
	if (version > SCHEMA_VERSION)
		return err_set(ERR_VERSION,
			"the store has schema %lld and this program knows up to %d: start the "
			"newer program, or restore a "
			"backup made before the upgrade",
			(long long)version, SCHEMA_VERSION);
	if (version == SCHEMA_VERSION)
		return ERR_OK;
	TRY(db_run(db, "INSERT OR REPLACE INTO schema_version (one, version) VALUES (1, $1)",
		DB_I(SCHEMA_VERSION)));
	for (int64_t v = version; v < SCHEMA_VERSION; v++) {
		for (int part = 0; part < PARTS && steps[v][part]; part++) {
			enum err e = db->engine->exec(db, steps[v][part]);
			if (e != ERR_OK) {
				db_rollback(db);
				return e;
			}
		}
	}
	return db_commit(db);
}
