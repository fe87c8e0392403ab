// Opening the store: lock, the index of chunks, and the sweep of what no row names.
#include "store.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROBE_MS 1000
#define PROBE_BYTES (256 * 1024)

// ---- objects in memory

static enum err known_row(struct store *s, struct db_rows *rows)
{
	struct bytes chunks = db_blob(rows, 3);
	SCOPED_FREE struct digest *copy = malloc(chunks.size + 1);
	SCOPED_FREE struct digest *names = NULL;
	SCOPED_FREE uint32_t *sizes = NULL;
	struct object o = {.size_bytes = (uint32_t)db_int(rows, 1),
		.coding = (enum coding)db_int(rows, 2),
		.chunk_count = (uint32_t)(chunks.size / sizeof(struct digest))};

	if (chunks.size == 0)
		return ERR_OK; // of a delta
	if (!copy || !db_fixed(rows, 0, o.sha256.b, sizeof o.sha256.b))
		return err_set(ERR_CORRUPT, "a row of the object store is damaged");
	memcpy(copy, chunks.data, chunks.size);
	TRY(known_bases_get(db_blob(rows, 4), &names, &sizes, &o.base_count));
	o.base_chunks = names;
	o.base_sizes = sizes;
	return known_add(&s->known, &o, copy);
}

static enum err known_load(struct store *s)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	known_fini(&s->known);
	TRY(db_query_values(s->db, &rows,
		"SELECT sha256, size_bytes, coding, chunks, bases FROM object", NULL, 0));
	while (e == ERR_OK && db_next(&rows))
		e = known_row(s, &rows);
	enum err ended = db_end(&rows);
	return e != ERR_OK ? e : ended;
}

static bool row_exists(struct store *s, const char *sql, const struct digest *d)
{
	struct db_rows rows;
	const struct db_value value[] = {DB_D(d)};

	if (db_query_values(s->db, &rows, sql, value, 1) != ERR_OK)
		return true; // in doubt nothing is removed
	bool found = db_next(&rows);
	return db_end(&rows) != ERR_OK || found;
}

static bool image_is_kept(void *ctx, const struct digest *d)
{
	return row_exists(ctx,
		"SELECT 1 FROM image WHERE sha256 = $1"
		" UNION ALL SELECT 1 FROM variant WHERE sha256 = $1",
		d);
}

static bool object_is_kept(void *ctx, const struct digest *d)
{
	return row_exists(ctx, "SELECT 1 FROM object WHERE sha256 = $1", d);
}

// ---- life

static enum err folders_open(struct store *s)
{
	char path[512];

	TRY(path_join(path, sizeof path, s->dir, "images"));
	TRY(blob_store_open(&s->images, path));
	TRY(path_join(path, sizeof path, s->dir, "objects"));
	return blob_store_open(&s->objects, path);
}

static enum err store_begin(struct store *s, const char *dir)
{
	char path[512];

	if (!str_copy(s->dir, sizeof s->dir, dir))
		return err_set(ERR_RANGE, "the path of the state folder is too long");
	TRY(dir_make(dir));
	TRY(path_join(path, sizeof path, dir, "lock"));
	TRY(lock_take(path, &s->lock_fd));
	TRY(folders_open(s));
	TRY(path_join(path, sizeof path, dir, "publisher.db"));
	TRY(db_sqlite_open(path, &s->db));
	TRY(store_schema_make(s->db));
	TRY(known_load(s));
	size_t swept = blob_sweep(&s->images, image_is_kept, s) +
		       blob_sweep(&s->objects, object_is_kept, s);
	if (swept > 0)
		log_info("PUBLISHER-STORE-SWEPT", "files=%zu", swept);
	return ERR_OK;
}

enum err store_open(struct store *s, const char *dir)
{
	*s = (struct store){.lock_fd = -1};
	known_init(&s->known);
	enum err e = store_begin(s, dir);
	if (e != ERR_OK)
		store_close(s);
	return e;
}

void store_close(struct store *s)
{
	if (s->db)
		db_close(s->db);
	s->db = NULL;
	known_fini(&s->known);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	s->lock_fd = -1;
}

// ---- when the disk says no

static void store_fails(struct store *s, enum err e)
{
	struct mono now = clock_now().mono;
	const char *id = e == ERR_NO_SPACE    ? "PUBLISHER-STORE-FULL"
			 : e == ERR_READ_ONLY ? "PUBLISHER-STORE-READ-ONLY"
					      : "PUBLISHER-STORE-IO";

	if (s->failing != ERR_OK)
		return;
	log_error(id, "state=%s why=%s", log_quote(s->dir), log_quote(err_text()));
	s->failing = e;
	s->failing_since = now;
	s->probe_at = mono_add_ms(now, PROBE_MS);
}

void store_judge(struct store *s, enum err e)
{
	if (e == ERR_NO_SPACE || e == ERR_READ_ONLY)
		store_fails(s, e);
}

static enum err file_probe(struct store *s)
{
	SCOPED_BUF struct buf b;
	char path[512];

	buf_init(&b, PROBE_BYTES);
	TRY(buf_reserve(&b, PROBE_BYTES));
	memset(b.data, 0xa5, PROBE_BYTES);
	TRY(path_join(path, sizeof path, s->dir, "probe"));
	enum err e = file_write_atomic(path, b.data, PROBE_BYTES, 0600);
	(void)unlink(path);
	return e;
}

// SQLite does not always tell why a write failed; a file does.
static enum err io_cause(struct store *s, const char *why)
{
	enum err e = file_probe(s);

	return e == ERR_NO_SPACE || e == ERR_READ_ONLY ? e : err_set(ERR_IO, "%s", why);
}

// As an act does it: bytes to a file, then a row.
static enum err store_probe(struct store *s)
{
	TRY(file_probe(s));
	enum err e = meta_set(s, "probe", &s->failing_since, sizeof s->failing_since);
	if (e == ERR_OK)
		e = db_commit(s->db);
	if (e != ERR_OK)
		db_rollback(s->db);
	return e;
}

bool store_tick(struct store *s, struct mono now)
{
	if (s->failing == ERR_OK || now.ms < s->probe_at.ms)
		return false;
	s->probe_at = mono_add_ms(now, PROBE_MS);
	if (store_probe(s) != ERR_OK)
		return false;
	s->failing = ERR_OK;
	log_warn("PUBLISHER-STORE-RECOVERED", "after_ms=%lld",
		(long long)mono_since_ms(now, s->failing_since));
	return true;
}

// ---- the end of an act

enum err store_end(struct store *s, enum err e)
{
	char why[512];

	if (e == ERR_OK)
		e = db_commit(s->db);
	if (e == ERR_OK)
		return ERR_OK;
	text_format(why, sizeof why, "%s", err_text());
	db_rollback(s->db);
	e = e == ERR_IO ? io_cause(s, why) : err_set(e, "%s", why);
	if (e == ERR_IO)
		store_fails(s, e);
	store_judge(s, e);
	return e;
}

// ---- small values

enum err meta_get(struct store *s, const char *name, void *out, size_t size, bool *found)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows, "SELECT value FROM meta WHERE name = $1", DB_T(name)));
	*found = db_next(&rows) && db_fixed(&rows, 0, out, size);
	return db_end(&rows);
}

enum err meta_set(struct store *s, const char *name, const void *value, size_t size)
{
	return db_run(s->db, "INSERT OR REPLACE INTO meta (name, value) VALUES ($1, $2)",
		DB_T(name), DB_B(bytes_of(value, size)));
}
