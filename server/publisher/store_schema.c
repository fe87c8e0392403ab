// The tables of the publisher's store, version after version: a store of an older program is
// brought to the present version in one transaction, one of a newer program is refused.
#include "store.h"
#include <stdio.h>

static const char *const version_1[] = {
	"CREATE TABLE image (sha256 BLOB PRIMARY KEY, original BLOB NOT NULL, title TEXT NOT NULL,"
	" licence TEXT NOT NULL, format INTEGER NOT NULL, size_bytes INTEGER NOT NULL,"
	" width INTEGER NOT NULL, height INTEGER NOT NULL, added_unix_ms INTEGER NOT NULL)",
	"CREATE TABLE image_tag (image BLOB NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (image, tag))"
	" WITHOUT ROWID",
	"CREATE INDEX image_tag_tag ON image_tag (tag, image)",
	"CREATE TABLE package (id BLOB PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL,"
	" version TEXT NOT NULL, state INTEGER NOT NULL, size_bytes INTEGER NOT NULL,"
	" object_bytes INTEGER NOT NULL, new_bytes INTEGER NOT NULL, files INTEGER NOT NULL,"
	" chunks INTEGER NOT NULL, objects INTEGER NOT NULL, built_unix_ms INTEGER NOT NULL,"
	" directive_id INTEGER NOT NULL DEFAULT 0, manifest BLOB NOT NULL,"
	" envelope BLOB, package_index BLOB NOT NULL)",
	"CREATE TABLE package_image (package BLOB NOT NULL, ordinal INTEGER NOT NULL,"
	" image BLOB NOT NULL, PRIMARY KEY (package, ordinal)) WITHOUT ROWID",
	"CREATE INDEX package_image_image ON package_image (image)",
	"CREATE TABLE object (sha256 BLOB PRIMARY KEY, size_bytes INTEGER NOT NULL,"
	" coding INTEGER NOT NULL, chunks BLOB NOT NULL) WITHOUT ROWID",
	"CREATE TABLE package_object (package BLOB NOT NULL, ordinal INTEGER NOT NULL,"
	" object BLOB NOT NULL, PRIMARY KEY (package, ordinal)) WITHOUT ROWID",
	"CREATE INDEX package_object_object ON package_object (object, package)",
	"CREATE TABLE broker (broker TEXT PRIMARY KEY, mark BLOB NOT NULL, host TEXT NOT NULL,"
	" ip TEXT NOT NULL, port INTEGER NOT NULL, tls INTEGER NOT NULL) WITHOUT ROWID",
	"CREATE TABLE placement (package BLOB NOT NULL, broker TEXT NOT NULL, state INTEGER NOT "
	"NULL,"
	" directive_id INTEGER NOT NULL, PRIMARY KEY (package, broker)) WITHOUT ROWID",
	"CREATE TABLE object_on (broker TEXT NOT NULL, object BLOB NOT NULL,"
	" PRIMARY KEY (broker, object)) WITHOUT ROWID",
	"CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
};

// Pictures get what plans ask for, and orders of the server are kept.
static const char *const version_2[] = {
	"ALTER TABLE image ADD COLUMN released_unix_ms INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE image ADD COLUMN expires_unix_ms INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE image ADD COLUMN weight INTEGER NOT NULL DEFAULT 0",
	"ALTER TABLE image ADD COLUMN retired_unix_ms INTEGER NOT NULL DEFAULT 0",
	"CREATE TABLE image_original (original BLOB PRIMARY KEY, image BLOB NOT NULL) WITHOUT "
	"ROWID",
	"CREATE INDEX image_original_image ON image_original (image)",
	"INSERT OR IGNORE INTO image_original (original, image) SELECT original, sha256 FROM image",
	"CREATE TABLE variant (image BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT "
	"NULL,"
	" sha256 BLOB NOT NULL, size_bytes INTEGER NOT NULL, PRIMARY KEY (image, width, height))"
	" WITHOUT ROWID",
	"CREATE INDEX variant_sha256 ON variant (sha256)",
	"CREATE INDEX package_name ON package (name, version)",
	"CREATE TABLE package_order (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, body BLOB NOT "
	"NULL,"
	" content BLOB NOT NULL, package BLOB NOT NULL, matched INTEGER NOT NULL,"
	" included INTEGER NOT NULL, size_bytes INTEGER NOT NULL, reason TEXT NOT NULL,"
	" warnings TEXT NOT NULL, changed_unix_ms INTEGER NOT NULL, told INTEGER NOT NULL)"
	" WITHOUT ROWID",
	"CREATE TABLE order_package (id TEXT NOT NULL, package BLOB NOT NULL, at INTEGER NOT NULL,"
	" PRIMARY KEY (id, package)) WITHOUT ROWID",
	"CREATE INDEX order_package_package ON order_package (package)",
	"CREATE TABLE delta (id BLOB PRIMARY KEY, package BLOB NOT NULL, base BLOB NOT NULL,"
	" object_bytes INTEGER NOT NULL, delta_index BLOB NOT NULL) WITHOUT ROWID",
	"CREATE INDEX delta_package ON delta (package)",
};

// Objects that are told with other chunks of their package. A package may lie on several brokers:
// the highest directive of each counts; '' is of none.
static const char *const version_3[] = {
	"ALTER TABLE object ADD COLUMN bases BLOB NOT NULL DEFAULT x''",
	"CREATE TABLE directive (package BLOB NOT NULL, broker TEXT NOT NULL,"
	" directive_id INTEGER NOT NULL, PRIMARY KEY (package, broker)) WITHOUT ROWID",
	"INSERT INTO directive (package, broker, directive_id)"
	" SELECT id, '', directive_id FROM package WHERE directive_id > 0",
};

// What was seen of the files of packages, by the package's name.
static const char *const version_4[] = {
	"CREATE TABLE seen_file (name TEXT NOT NULL, path TEXT NOT NULL, size_bytes INTEGER NOT "
	"NULL,"
	" device INTEGER NOT NULL, inode INTEGER NOT NULL, modified_ns INTEGER NOT NULL,"
	" changed_ns INTEGER NOT NULL, settled INTEGER NOT NULL, sha256 BLOB NOT NULL,"
	" chunks BLOB NOT NULL, PRIMARY KEY (name, path))",
	"CREATE TABLE seen_name (name TEXT PRIMARY KEY, used_unix_ms INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL) WITHOUT ROWID",
};

#define VERSION(list)                                                                              \
	{                                                                                          \
		list, sizeof list / sizeof list[0]                                                 \
	}

static const struct {
	const char *const *statements;
	size_t count;
} versions[] = {VERSION(version_1), VERSION(version_2), VERSION(version_3), VERSION(version_4)};

#define STORE_VERSION ((int)(sizeof versions / sizeof versions[0]))

static enum err schema_version(struct db *db, int64_t *version)
{
	struct db_rows rows;

	TRY(db_query_values(db, &rows, "PRAGMA user_version", NULL, 0));
	*version = db_next(&rows) ? db_int(&rows, 0) : 0;
	return db_end(&rows);
}

enum err store_schema_make(struct db *db)
{
	static const char *const marks[] = {"PRAGMA user_version = 1", "PRAGMA user_version = 2",
		"PRAGMA user_version = 3", "PRAGMA user_version = 4"};
	int64_t version = 0;

	TRY(schema_version(db, &version));
	if (version > STORE_VERSION || version < 0)
		return err_set(ERR_VERSION,
			"the publisher's store has version %lld and this program knows up to %d: "
			"start the newer program",
			(long long)version, STORE_VERSION);
	for (int v = (int)version; v < STORE_VERSION; v++) {
		for (size_t i = 0; i < versions[v].count; i++)
			TRY(db_run_values(db, versions[v].statements[i], NULL, 0));
		TRY(db_run_values(db, marks[v], NULL, 0));
	}
	return db_commit(db);
}
