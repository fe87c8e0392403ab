// Rows of what was seen of files: by name of a package, and by path. What is longest unused goes
// first when there is too much.
#include "proto/base/file.h"
#include "proto/limits.h"
#include "store.h"
#include <stdlib.h>
#include <string.h>

#define CHUNK_ROW (sizeof(struct digest) + 4 + sizeof(struct id16))
#define PATH_SIZE 640
#define FILE_ROW 160 // bytes of a row beside path and chunks, about

enum err seen_key(struct store *s, struct key32 *out)
{
	bool found = false;

	TRY(meta_get(s, "seen_key", out->b, sizeof out->b, &found));
	if (found)
		return ERR_OK;
	random_fill(out->b, sizeof out->b);
	return store_end(s, meta_set(s, "seen_key", out->b, sizeof out->b));
}

// ---- reading

static bool chunk_get(const uint8_t *at, bool last, struct seen_chunk *c)
{
	const uint8_t *n = at + sizeof c->sha256.b;

	memcpy(c->sha256.b, at, sizeof c->sha256.b);
	c->size = (uint32_t)n[0] << 24 | (uint32_t)n[1] << 16 | (uint32_t)n[2] << 8 | n[3];
	memcpy(c->mark.b, n + 4, sizeof c->mark.b);
	return c->size >= (last ? 1 : CHUNK_MIN) && c->size <= CHUNK_MAX;
}

static bool chunks_get(struct bytes row, struct seen_chunk *chunks, struct seen_file *f)
{
	uint64_t size = 0;

	f->chunks = chunks;
	f->chunk_count = row.size / CHUNK_ROW;
	for (size_t i = 0; i < f->chunk_count; i++) {
		if (!chunk_get(row.data + i * CHUNK_ROW, i + 1 == f->chunk_count, &chunks[i]))
			return false;
		size += chunks[i].size;
	}
	return row.size % CHUNK_ROW == 0 && size == f->size;
}

// A row that cannot be is as if it were not there.
static enum err file_get(struct db_rows *rows, struct seen *out)
{
	struct bytes row = db_blob(rows, 8);
	SCOPED_FREE struct seen_chunk *chunks = calloc(row.size / CHUNK_ROW + 1, sizeof *chunks);
	struct seen_file f = {.size = (uint64_t)db_int(rows, 1),
		.stamp = {.device = (uint64_t)db_int(rows, 2),
			.inode = (uint64_t)db_int(rows, 3),
			.modified_ns = db_int(rows, 4),
			.changed_ns = db_int(rows, 5)},
		.settled = db_int(rows, 6) != 0};
	char path[PATH_SIZE];

	if (!chunks)
		return err_set(ERR_MEMORY, "no memory for what was seen of files");
	if (!str_copy(path, sizeof path, db_text(rows, 0)) ||
		!db_fixed(rows, 7, f.sha256.b, sizeof f.sha256.b) || !chunks_get(row, chunks, &f))
		return ERR_OK;
	f.path = path;
	return seen_add(out, &f);
}

enum err seen_load(struct store *s, const char *name, struct seen *out)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(seen_key(s, &out->key));
	TRY(db_query(s->db, &rows,
		"SELECT path, size_bytes, device, inode, modified_ns, changed_ns, settled, sha256,"
		" chunks FROM seen_file WHERE name = $1 ORDER BY path",
		DB_T(name)));
	while (e == ERR_OK && db_next(&rows))
		e = file_get(&rows, out);
	enum err ended = db_end(&rows);
	return e != ERR_OK ? e : ended;
}

// ---- writing

static enum err chunks_put(const struct seen_file *f, struct buf *out)
{
	buf_clear(out);
	for (size_t i = 0; i < f->chunk_count; i++) {
		const struct seen_chunk *c = &f->chunks[i];
		const uint8_t size[4] = {(uint8_t)(c->size >> 24), (uint8_t)(c->size >> 16),
			(uint8_t)(c->size >> 8), (uint8_t)c->size};
		TRY(buf_append(out, c->sha256.b, sizeof c->sha256.b));
		TRY(buf_append(out, size, sizeof size));
		TRY(buf_append(out, c->mark.b, sizeof c->mark.b));
	}
	return ERR_OK;
}

static enum err file_put(
	struct store *s, const char *name, const struct seen_file *f, struct buf *chunks)
{
	TRY(chunks_put(f, chunks));
	return db_run(s->db,
		"INSERT OR REPLACE INTO seen_file (name, path, size_bytes, device, inode,"
		" modified_ns, changed_ns, settled, sha256, chunks)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		DB_T(name), DB_T(f->path), DB_I(f->size), DB_I(f->stamp.device),
		DB_I(f->stamp.inode), DB_I(f->stamp.modified_ns), DB_I(f->stamp.changed_ns),
		DB_I(f->settled), DB_D(&f->sha256),
		DB_B(chunks->size ? buf_bytes(chunks) : bytes_of("", 0)));
}

static enum err gone_delete(
	struct store *s, const char *name, const struct seen *before, const struct seen *now)
{
	for (size_t i = 0; i < before->count; i++)
		if (!seen_find(now, before->files[i].path))
			TRY(db_run(s->db, "DELETE FROM seen_file WHERE name = $1 AND path = $2",
				DB_T(name), DB_T(before->files[i].path)));
	return ERR_OK;
}

static uint64_t row_bytes(const struct seen *before, const struct seen_file *f)
{
	const struct seen_file *is = f->kept ? seen_find(before, f->path) : f;

	return FILE_ROW + strlen(f->path) + (is ? is->chunk_count * CHUNK_ROW : 0);
}

static enum err name_forget(struct store *s, const char *name)
{
	TRY(db_run(s->db, "DELETE FROM seen_file WHERE name = $1", DB_T(name)));
	return db_run(s->db, "DELETE FROM seen_name WHERE name = $1", DB_T(name));
}

static enum err oldest_find(struct store *s, char name[LIMIT_ID + 1], uint64_t *bytes)
{
	struct db_rows rows;

	*bytes = 0;
	TRY(db_query_values(s->db, &rows,
		"SELECT name, (SELECT SUM(bytes) FROM seen_name) FROM seen_name"
		" ORDER BY used_unix_ms, name LIMIT 1",
		NULL, 0));
	if (db_next(&rows)) {
		*bytes = (uint64_t)db_int(&rows, 1);
		(void)str_copy(name, LIMIT_ID + 1, db_text(&rows, 0));
	}
	return db_end(&rows);
}

static enum err too_much_forget(struct store *s, uint64_t bytes_max)
{
	char name[LIMIT_ID + 1];
	uint64_t bytes = 0;

	for (;;) {
		TRY(oldest_find(s, name, &bytes));
		if (bytes <= bytes_max)
			return ERR_OK;
		TRY(name_forget(s, name));
	}
}

enum err seen_put(struct store *s, const char *name, const struct seen *before,
	const struct seen *now, const struct seen_limit *limit)
{
	SCOPED_BUF struct buf chunks;
	uint64_t bytes = 0;

	buf_init(&chunks, UINT32_MAX);
	for (size_t i = 0; i < now->count; i++)
		bytes += row_bytes(before, &now->files[i]);
	if (bytes > limit->bytes_max) {
		TRY(name_forget(s, name));
		return too_much_forget(s, limit->bytes_max);
	}
	for (size_t i = 0; i < now->count; i++)
		if (!now->files[i].kept)
			TRY(file_put(s, name, &now->files[i], &chunks));
	TRY(gone_delete(s, name, before, now));
	TRY(db_run(s->db,
		"INSERT OR REPLACE INTO seen_name (name, used_unix_ms, bytes) VALUES ($1, $2, $3)",
		DB_T(name), DB_I(limit->now_unix_ms), DB_I(bytes)));
	return too_much_forget(s, limit->bytes_max);
}
