// Rows of images.
#include "store.h"
#include <stdio.h>
#include <string.h>

#define IMAGE_COLUMNS                                                                              \
	"sha256, original, title, licence, format, size_bytes, width, height, added_unix_ms"

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
		.added_unix_ms = db_int(rows, 8)};
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

enum err image_add(struct store *s, const struct image *i, bool *duplicate)
{
	struct image old;
	enum err e = image_find(s, &i->sha256, &old);

	*duplicate = e == ERR_OK;
	if (e != ERR_OK && e != ERR_NOT_FOUND)
		return e;
	if (!*duplicate)
		TRY(db_run(s->db,
			"INSERT INTO image (sha256, original, title, licence, format, size_bytes, "
			"width, height,"
			" added_unix_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			DB_D(&i->sha256), DB_D(&i->original), DB_T(i->title), DB_T(i->licence),
			DB_I(i->format), DB_I(i->size_bytes), DB_I(i->width), DB_I(i->height),
			DB_I(i->added_unix_ms)));
	for (size_t t = 0; t < i->tag_count; t++)
		TRY(db_run(s->db, "INSERT OR IGNORE INTO image_tag (image, tag) VALUES ($1, $2)",
			DB_D(&i->sha256), DB_T(i->tags[t])));
	return ERR_OK;
}

static enum err users_check(struct store *s, const struct digest *sha256)
{
	struct db_rows rows;
	char user[200] = "";

	TRY(db_query(s->db, &rows,
		"SELECT p.name, p.version FROM package_image i JOIN package p ON p.id = i.package"
		" WHERE i.image = $1 LIMIT 1",
		DB_D(sha256)));
	if (db_next(&rows))
		snprintf(user, sizeof user, "%s %s", db_text(&rows, 0), db_text(&rows, 1));
	TRY(db_end(&rows));
	if (user[0])
		return err_set(ERR_NOT_NOW, "package %s shows this image", user);
	return ERR_OK;
}

enum err image_remove(struct store *s, const struct digest *sha256)
{
	struct image i;

	TRY(image_find(s, sha256, &i));
	TRY(users_check(s, sha256));
	TRY(db_run(s->db, "DELETE FROM image_tag WHERE image = $1", DB_D(sha256)));
	TRY(db_run(s->db, "DELETE FROM image WHERE sha256 = $1", DB_D(sha256)));
	TRY(db_commit(s->db));
	return blob_remove(&s->images, sha256);
}

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
