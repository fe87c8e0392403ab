// Rows of images.
#include "store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_COLUMNS                                                                              \
	"sha256, original, title, licence, format, size_bytes, width, height, added_unix_ms,"      \
	" released_unix_ms, expires_unix_ms, weight, retired_unix_ms"

static enum err tags_read(struct store *s, struct image *i)
{
	struct db_rows rows;

	i->tag_count = 0;
	TRY(db_query(s->db, &rows, "SELECT tag FROM image_tag WHERE image = $1 ORDER BY tag",
		DB_D(&i->sha256)));
	while (i->tag_count < LIMIT_TAGS && db_next(&rows))
		if (str_copy(i->tags[i->tag_count], sizeof i->tags[0], db_text(&rows, 0)))
			i->tag_count++;
	return db_end(&rows);
}

static void image_row(struct db_rows *rows, struct image *i)
{
	*i = (struct image){.format = (uint32_t)db_int(rows, 4),
		.size_bytes = (uint64_t)db_int(rows, 5),
		.width = (uint32_t)db_int(rows, 6),
		.height = (uint32_t)db_int(rows, 7),
		.added_unix_ms = db_int(rows, 8),
		.released_unix_ms = db_int(rows, 9),
		.expires_unix_ms = db_int(rows, 10),
		.weight = (uint32_t)db_int(rows, 11),
		.retired_unix_ms = db_int(rows, 12)};
	(void)db_fixed(rows, 0, i->sha256.b, sizeof i->sha256.b);
	(void)db_fixed(rows, 1, i->original.b, sizeof i->original.b);
	(void)str_copy(i->title, sizeof i->title, db_text(rows, 2));
	(void)str_copy(i->licence, sizeof i->licence, db_text(rows, 3));
}

enum err image_find(struct store *s, const struct digest *sha256, struct image *out)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows, "SELECT " IMAGE_COLUMNS " FROM image WHERE sha256 = $1",
		DB_D(sha256)));
	bool found = db_next(&rows);
	if (found)
		image_row(&rows, out);
	TRY(db_end(&rows));
	if (!found)
		return err_set(ERR_NOT_FOUND, "there is no image %s", digest_hex(sha256));
	return tags_read(s, out);
}

static enum err tags_add(struct store *s, const struct image *i)
{
	for (size_t t = 0; t < i->tag_count; t++)
		TRY(db_run(s->db, "INSERT OR IGNORE INTO image_tag (image, tag) VALUES ($1, $2)",
			DB_D(&i->sha256), DB_T(i->tags[t])));
	return ERR_OK;
}

static enum err image_insert(struct store *s, const struct image *i)
{
	return db_run(s->db,
		"INSERT INTO image (sha256, original, title, licence, format, size_bytes, width,"
		" height, added_unix_ms, released_unix_ms, expires_unix_ms, weight)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
		DB_D(&i->sha256), DB_D(&i->original), DB_T(i->title), DB_T(i->licence),
		DB_I(i->format), DB_I(i->size_bytes), DB_I(i->width), DB_I(i->height),
		DB_I(i->added_unix_ms), DB_I(i->released_unix_ms), DB_I(i->expires_unix_ms),
		DB_I(i->weight));
}

enum err image_add(struct store *s, const struct image *i, bool *duplicate)
{
	struct image old;
	enum err e = image_find(s, &i->sha256, &old);

	*duplicate = e == ERR_OK;
	if (e != ERR_OK && e != ERR_NOT_FOUND)
		return e;
	if (!*duplicate)
		TRY(image_insert(s, i));
	else if (old.retired_unix_ms != 0)
		TRY(db_run(s->db, "UPDATE image SET retired_unix_ms = 0 WHERE sha256 = $1",
			DB_D(&i->sha256)));
	TRY(db_run(s->db, "INSERT OR REPLACE INTO image_original (original, image) VALUES ($1, $2)",
		DB_D(&i->original), DB_D(&i->sha256)));
	return tags_add(s, i);
}

enum err image_of_original(struct store *s, const struct digest *original, struct digest *image)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows, "SELECT image FROM image_original WHERE original = $1",
		DB_D(original)));
	bool found = db_next(&rows) && db_fixed(&rows, 0, image->b, sizeof image->b);
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "this file was not added yet");
}

enum err image_update(struct store *s, const struct image *i)
{
	TRY(db_run(s->db,
		"UPDATE image SET title = $1, licence = $2, weight = $3, released_unix_ms = $4,"
		" expires_unix_ms = $5, retired_unix_ms = $6 WHERE sha256 = $7",
		DB_T(i->title), DB_T(i->licence), DB_I(i->weight), DB_I(i->released_unix_ms),
		DB_I(i->expires_unix_ms), DB_I(i->retired_unix_ms), DB_D(&i->sha256)));
	TRY(db_run(s->db, "DELETE FROM image_tag WHERE image = $1", DB_D(&i->sha256)));
	return tags_add(s, i);
}

// ---- variants

enum err variant_add(struct store *s, const struct variant *v)
{
	return db_run(s->db,
		"INSERT OR REPLACE INTO variant (image, width, height, sha256, size_bytes)"
		" VALUES ($1, $2, $3, $4, $5)",
		DB_D(&v->image), DB_I(v->width), DB_I(v->height), DB_D(&v->sha256),
		DB_I(v->size_bytes));
}

enum err variant_list(struct store *s, variant_each *each, void *ctx)
{
	struct db_rows rows;
	struct variant v = {0};

	TRY(db_query_values(s->db, &rows,
		"SELECT image, sha256, width, height, size_bytes FROM variant", NULL, 0));
	while (db_next(&rows)) {
		(void)db_fixed(&rows, 0, v.image.b, sizeof v.image.b);
		(void)db_fixed(&rows, 1, v.sha256.b, sizeof v.sha256.b);
		v.width = (uint32_t)db_int(&rows, 2);
		v.height = (uint32_t)db_int(&rows, 3);
		v.size_bytes = (uint64_t)db_int(&rows, 4);
		if (!each(ctx, &v))
			break;
	}
	return db_end(&rows);
}

// ---- removing for good

// user: the package that lists it, "" when none does.
static enum err user_find(struct store *s, const struct digest *sha256, char *user, size_t size)
{
	struct db_rows rows;

	user[0] = 0;
	TRY(db_query(s->db, &rows,
		"SELECT p.name, p.version FROM package_image i JOIN package p ON p.id = i.package"
		" WHERE i.image = $1 LIMIT 1",
		DB_D(sha256)));
	if (db_next(&rows))
		snprintf(user, size, "package %s %s shows this image", db_text(&rows, 0),
			db_text(&rows, 1));
	return db_end(&rows);
}

// The rows of an image; `bytes` gains the names of what lies on the disk for it alone.
static enum err rows_delete(struct store *s, const struct digest *sha256, struct known *bytes)
{
	struct object o = {.sha256 = *sha256, .chunk_count = 1};
	struct db_rows rows;
	enum err e = known_add(bytes, &o, sha256);

	TRY(e);
	TRY(db_query(s->db, &rows,
		"SELECT v.sha256 FROM variant v WHERE v.image = $1 AND NOT EXISTS"
		" (SELECT 1 FROM image i WHERE i.sha256 = v.sha256) AND NOT EXISTS"
		" (SELECT 1 FROM variant w WHERE w.sha256 = v.sha256 AND w.image != $1)",
		DB_D(sha256)));
	while (e == ERR_OK && db_next(&rows)) {
		(void)db_fixed(&rows, 0, o.sha256.b, sizeof o.sha256.b);
		e = known_add(bytes, &o, &o.sha256);
	}
	TRY(rows_close(&rows, e));
	TRY(db_run(s->db, "DELETE FROM variant WHERE image = $1", DB_D(sha256)));
	TRY(db_run(s->db, "DELETE FROM image_tag WHERE image = $1", DB_D(sha256)));
	TRY(db_run(s->db, "DELETE FROM image_original WHERE image = $1", DB_D(sha256)));
	return db_run(s->db, "DELETE FROM image WHERE sha256 = $1", DB_D(sha256));
}

// An image may be a variant of another one: its bytes stay then.
static enum err bytes_delete(struct store *s, const struct known *bytes)
{
	for (size_t i = 0; i < bytes->object_count; i++) {
		const struct digest *d = &bytes->objects[i].sha256;
		struct db_rows rows;
		TRY(db_query(
			s->db, &rows, "SELECT 1 FROM variant WHERE sha256 = $1 LIMIT 1", DB_D(d)));
		bool used = db_next(&rows);
		TRY(db_end(&rows));
		if (!used)
			TRY(blob_remove(&s->images, d));
	}
	return ERR_OK;
}

enum err image_remove(struct store *s, const struct digest *sha256)
{
	struct image i;
	struct known bytes;
	char user[200];

	TRY(image_find(s, sha256, &i));
	TRY(user_find(s, sha256, user, sizeof user));
	if (user[0])
		return err_set(ERR_NOT_NOW, "%s", user);
	known_init(&bytes);
	enum err e = rows_delete(s, sha256, &bytes);
	if (e == ERR_OK)
		e = db_commit(s->db);
	if (e == ERR_OK)
		e = bytes_delete(s, &bytes);
	known_fini(&bytes);
	return e;
}

// ---- collecting sizes

struct unwanted {
	struct variant *list;
	size_t count, cap;
};

static enum err unwanted_add(struct unwanted *u, const struct variant *v)
{
	if (u->count == u->cap) {
		size_t cap = u->cap ? u->cap * 2 : 64;
		struct variant *more = realloc(u->list, cap * sizeof *more);
		if (!more)
			return err_set(ERR_MEMORY, "no memory for a list of variants");
		u->list = more;
		u->cap = cap;
	}
	u->list[u->count++] = *v;
	return ERR_OK;
}

static enum err unwanted_find(struct store *s, struct variant_gc *gc, struct unwanted *u)
{
	struct db_rows rows;
	struct variant v = {0};
	enum err e = ERR_OK;

	TRY(db_query_values(s->db, &rows,
		"SELECT v.image, v.sha256, v.width, v.height, v.size_bytes, i.width, i.height"
		" FROM variant v JOIN image i ON i.sha256 = v.image",
		NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		(void)db_fixed(&rows, 0, v.image.b, sizeof v.image.b);
		(void)db_fixed(&rows, 1, v.sha256.b, sizeof v.sha256.b);
		v.width = (uint32_t)db_int(&rows, 2);
		v.height = (uint32_t)db_int(&rows, 3);
		v.size_bytes = (uint64_t)db_int(&rows, 4);
		if (!gc->wanted(
			    gc->ctx, (uint32_t)db_int(&rows, 5), (uint32_t)db_int(&rows, 6), &v))
			e = unwanted_add(u, &v);
	}
	return rows_close(&rows, e);
}

// Whether a row names these bytes, of an image or of a variant that stays.
static enum err bytes_named(struct store *s, const struct digest *sha256, bool *out)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows,
		"SELECT 1 FROM variant WHERE sha256 = $1 UNION ALL"
		" SELECT 1 FROM image WHERE sha256 = $1 LIMIT 1",
		DB_D(sha256)));
	*out = db_next(&rows);
	return db_end(&rows);
}

// Leaves in u only those whose bytes go too.
static enum err unwanted_delete(struct store *s, struct variant_gc *gc, struct unwanted *u)
{
	size_t kept = 0;

	for (size_t i = 0; i < u->count; i++)
		TRY(db_run(s->db,
			"DELETE FROM variant WHERE image = $1 AND width = $2 AND height = $3",
			DB_D(&u->list[i].image), DB_I(u->list[i].width), DB_I(u->list[i].height)));
	gc->removed = u->count;
	for (size_t i = 0; i < u->count; i++) {
		bool is_named = true;
		TRY(bytes_named(s, &u->list[i].sha256, &is_named));
		if (is_named || digest_is_zero(&u->list[i].sha256))
			continue;
		gc->bytes += u->list[i].size_bytes;
		u->list[kept++] = u->list[i];
	}
	u->count = kept;
	return ERR_OK;
}

enum err variant_collect(struct store *s, struct variant_gc *gc)
{
	struct unwanted u = {0};

	gc->removed = gc->bytes = 0;
	enum err e = unwanted_find(s, gc, &u);
	if (e == ERR_OK)
		e = unwanted_delete(s, gc, &u);
	if (gc->dry)
		db_rollback(s->db);
	else
		e = store_end(s, e);
	for (size_t i = 0; e == ERR_OK && !gc->dry && i < u.count; i++)
		e = blob_remove(&s->images, &u.list[i].sha256);
	free(u.list);
	return e;
}

// ---- collecting what was retired

struct retired {
	struct digest *images;
	size_t count, cap;
};

static bool retired_put(void *ctx, const struct image *i)
{
	struct retired *r = ctx;

	if (i->retired_unix_ms == 0)
		return true;
	if (r->count == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct digest *more = realloc(r->images, cap * sizeof *more);
		if (!more)
			return false;
		r->images = more;
		r->cap = cap;
	}
	r->images[r->count++] = i->sha256;
	return true;
}

static enum err collect_one(
	struct store *s, struct image_gc *gc, const struct digest *sha256, struct known *bytes)
{
	struct image i;
	char kept[200];

	TRY(image_find(s, sha256, &i));
	TRY(user_find(s, sha256, kept, sizeof kept));
	if (!kept[0] && i.retired_unix_ms > gc->before.ms)
		(void)str_copy(kept, sizeof kept, "it was retired only lately");
	gc->each(gc->ctx, &i, kept);
	if (kept[0])
		return ERR_OK;
	gc->removed++;
	gc->bytes += i.size_bytes;
	return gc->dry ? ERR_OK : rows_delete(s, sha256, bytes);
}

enum err image_collect(struct store *s, struct image_gc *gc)
{
	struct retired r = {0};
	struct known bytes;

	known_init(&bytes);
	gc->removed = gc->bytes = 0;
	enum err e = image_list(s, NULL, 0, retired_put, &r);
	for (size_t i = 0; e == ERR_OK && i < r.count; i++)
		e = collect_one(s, gc, &r.images[i], &bytes);
	e = store_end(s, e);
	if (e == ERR_OK)
		e = bytes_delete(s, &bytes);
	free(r.images);
	known_fini(&bytes);
	return e;
}

// ---- listing

static bool has_tags(const struct image *i, const char *const *tags, size_t count)
{
	for (size_t t = 0; t < count; t++) {
		bool found = false;
		for (size_t k = 0; k < i->tag_count; k++)
			found |= strcmp(i->tags[k], tags[t]) == 0;
		if (!found)
			return false;
	}
	return true;
}

enum err image_list(
	struct store *s, const char *const *tags, size_t tag_count, image_each *each, void *ctx)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query_values(s->db, &rows,
		"SELECT " IMAGE_COLUMNS " FROM image ORDER BY added_unix_ms, sha256", NULL, 0));
	while (e == ERR_OK && db_next(&rows)) {
		struct image i;
		image_row(&rows, &i);
		e = tags_read(s, &i);
		if (e == ERR_OK && has_tags(&i, tags, tag_count) && !each(ctx, &i))
			break;
	}
	enum err ended = db_end(&rows);
	return e != ERR_OK ? e : ended;
}

enum err image_count(struct store *s, uint64_t *count)
{
	struct db_rows rows;

	TRY(db_query_values(s->db, &rows, "SELECT count(*) FROM image", NULL, 0));
	*count = db_next(&rows) ? (uint64_t)db_int(&rows, 0) : 0;
	return db_end(&rows);
}
