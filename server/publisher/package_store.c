// Rows of packages and of the objects they are made of.
#include "delta_store.h"
#include "store.h"
#include <stdlib.h>
#include <string.h>

#define PACKAGE_COLUMNS                                                                            \
	"id, kind, name, version, state, size_bytes, object_bytes, new_bytes, files, chunks, "     \
	"objects,"                                                                                 \
	" built_unix_ms, directive_id"

const char *package_state_word(enum package_state s)
{
	static const char *const words[] = {"?", "built", "signed", "offered", "withdrawn"};

	return (unsigned)s < sizeof words / sizeof words[0] ? words[s] : "?";
}

static void package_row(struct db_rows *rows, struct package *p)
{
	*p = (struct package){.kind = (enum package_kind)db_int(rows, 1),
		.state = (enum package_state)db_int(rows, 4),
		.size_bytes = (uint64_t)db_int(rows, 5),
		.object_bytes = (uint64_t)db_int(rows, 6),
		.new_bytes = (uint64_t)db_int(rows, 7),
		.files = (uint32_t)db_int(rows, 8),
		.chunks = (uint32_t)db_int(rows, 9),
		.objects = (uint32_t)db_int(rows, 10),
		.built_unix_ms = db_int(rows, 11),
		.directive_id = (uint64_t)db_int(rows, 12)};
	(void)db_fixed(rows, 0, p->id.b, sizeof p->id.b);
	(void)str_copy(p->name, sizeof p->name, db_text(rows, 2));
	(void)str_copy(p->version, sizeof p->version, db_text(rows, 3));
}

enum err package_find(struct store *s, const struct digest *id, struct package *out)
{
	struct db_rows rows;

	TRY(db_query(
		s->db, &rows, "SELECT " PACKAGE_COLUMNS " FROM package WHERE id = $1", DB_D(id)));
	bool found = db_next(&rows);
	if (found)
		package_row(&rows, out);
	TRY(db_end(&rows));
	return found ? ERR_OK : err_set(ERR_NOT_FOUND, "there is no package %s", digest_hex(id));
}

static enum err packages_read(struct db_rows *rows, package_each *each, void *ctx)
{
	while (db_next(rows)) {
		struct package p;
		package_row(rows, &p);
		if (!each(ctx, &p))
			break;
	}
	return db_end(rows);
}

enum err package_list(struct store *s, package_each *each, void *ctx)
{
	struct db_rows rows;

	TRY(db_query_values(s->db, &rows,
		"SELECT " PACKAGE_COLUMNS " FROM package ORDER BY built_unix_ms, id", NULL, 0));
	return packages_read(&rows, each, ctx);
}

enum err package_named(
	struct store *s, const char *name, const char *version, package_each *each, void *ctx)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows,
		"SELECT " PACKAGE_COLUMNS " FROM package WHERE name = $1 AND version = $2",
		DB_T(name), DB_T(version)));
	return packages_read(&rows, each, ctx);
}

// ---- adding

static enum err objects_add(struct store *s, const struct package_built *b)
{
	SCOPED_BUF struct buf bases;

	buf_init(&bases, LIMIT_INDEX_PAGE);
	for (size_t i = 0; i < b->fresh.object_count; i++) {
		const struct known_object *o = &b->fresh.objects[i];
		const struct digest *chunks = &b->fresh.chunks[o->chunk_first];
		buf_clear(&bases);
		TRY(known_bases_put(&b->fresh, o, &bases));
		TRY(db_run(s->db,
			"INSERT OR REPLACE INTO object (sha256, size_bytes, coding, chunks, bases)"
			" VALUES ($1, $2, $3, $4, $5)",
			DB_D(&o->sha256), DB_I(o->size_bytes), DB_I(o->coding),
			DB_B(bytes_of(chunks, o->chunk_count * sizeof *chunks)),
			DB_B(bases.size ? buf_bytes(&bases) : bytes_of("", 0))));
	}
	for (size_t i = 0; i < b->objects.object_count; i++)
		TRY(db_run(s->db,
			"INSERT INTO package_object (package, ordinal, object) VALUES ($1, $2, $3)",
			DB_D(&b->id), DB_I(i), DB_D(&b->objects.objects[i].sha256)));
	return ERR_OK;
}

static enum err known_extend(struct store *s, const struct package_built *b)
{
	for (size_t i = 0; i < b->fresh.object_count; i++)
		TRY(known_copy(&s->known, &b->fresh, &b->fresh.objects[i]));
	return ERR_OK;
}

static enum err package_insert(struct store *s, const struct package *p,
	const struct package_built *b, const struct digest *images, size_t image_count)
{
	TRY(db_run(s->db,
		"INSERT INTO package (id, kind, name, version, state, size_bytes, object_bytes, "
		"new_bytes,"
		" files, chunks, objects, built_unix_ms, manifest, package_index)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
		DB_D(&b->id), DB_I(p->kind), DB_T(p->name), DB_T(p->version), DB_I(PACKAGE_BUILT),
		DB_I(b->size_bytes), DB_I(b->object_bytes), DB_I(b->new_bytes), DB_I(b->file_count),
		DB_I(b->chunk_count), DB_I(b->objects.object_count), DB_I(p->built_unix_ms),
		DB_B(buf_bytes(&b->manifest)), DB_B(buf_bytes(&b->index))));
	for (size_t i = 0; i < image_count; i++)
		TRY(db_run(s->db,
			"INSERT INTO package_image (package, ordinal, image) VALUES ($1, $2, $3)",
			DB_D(&b->id), DB_I(i), DB_D(&images[i])));
	return objects_add(s, b);
}

enum err package_add(struct store *s, const struct package *p, const struct package_built *b,
	const struct digest *images, size_t image_count, bool *existing)
{
	struct package old;
	enum err e = package_find(s, &b->id, &old);

	*existing = e == ERR_OK;
	if (e != ERR_NOT_FOUND)
		return e;
	TRY(store_end(s, package_insert(s, p, b, images, image_count)));
	return known_extend(s, b);
}

// ---- changing

enum err package_set_state(struct store *s, const struct digest *id, enum package_state state)
{
	return db_run(s->db, "UPDATE package SET state = $1 WHERE id = $2", DB_I(state), DB_D(id));
}

enum err package_set_directive(struct store *s, const struct digest *id, uint64_t directive_id)
{
	return db_run(s->db, "UPDATE package SET directive_id = $1 WHERE id = $2",
		DB_I(directive_id), DB_D(id));
}

enum err package_set_envelope(struct store *s, const struct digest *id, struct bytes envelope)
{
	return db_run(
		s->db, "UPDATE package SET envelope = $1 WHERE id = $2", DB_B(envelope), DB_D(id));
}

static enum err column_take(struct db_rows *rows, int column, struct buf *out)
{
	struct bytes b = db_blob(rows, column);

	if (!out)
		return ERR_OK;
	buf_clear(out);
	return b.size ? buf_append(out, b.data, b.size) : ERR_OK;
}

enum err package_bytes(struct store *s, const struct digest *id, struct buf *manifest,
	struct buf *envelope, struct buf *index)
{
	struct db_rows rows;

	TRY(db_query(s->db, &rows,
		"SELECT manifest, envelope, package_index FROM package WHERE id = $1", DB_D(id)));
	enum err e = db_next(&rows)
			     ? ERR_OK
			     : err_set(ERR_NOT_FOUND, "there is no package %s", digest_hex(id));
	if (e == ERR_OK)
		e = column_take(&rows, 0, manifest);
	if (e == ERR_OK)
		e = column_take(&rows, 1, envelope);
	if (e == ERR_OK)
		e = column_take(&rows, 2, index);
	enum err ended = db_end(&rows);
	return e != ERR_OK ? e : ended;
}

static enum err image_ids_read(struct db_rows *rows, struct digest **images, size_t *count)
{
	size_t cap = 0;

	while (db_next(rows)) {
		if (*count == cap) {
			cap = cap ? cap * 2 : 64;
			struct digest *more = realloc(*images, cap * sizeof *more);
			if (!more)
				return err_set(ERR_MEMORY, "no memory for a list of images");
			*images = more;
		}
		(void)db_fixed(rows, 0, (*images)[(*count)++].b, sizeof(struct digest));
	}
	return ERR_OK;
}

enum err package_images(
	struct store *s, const struct digest *id, struct digest **images, size_t *count)
{
	struct db_rows rows;

	*images = NULL;
	*count = 0;
	TRY(db_query(s->db, &rows,
		"SELECT image FROM package_image WHERE package = $1 ORDER BY ordinal", DB_D(id)));
	enum err e = image_ids_read(&rows, images, count);
	enum err ended = db_end(&rows);
	e = e != ERR_OK ? e : ended;
	if (e != ERR_OK) {
		free(*images);
		*images = NULL;
	}
	return e;
}

// ---- removing

static enum err placement_check(struct store *s, const struct digest *id)
{
	struct db_rows rows;
	char broker[LIMIT_ID + 1] = "";

	TRY(db_query(s->db, &rows,
		"SELECT broker FROM placement WHERE package = $1 AND state != $2 LIMIT 1", DB_D(id),
		DB_I(PLACEMENT_LOST)));
	if (db_next(&rows))
		(void)str_copy(broker, sizeof broker, db_text(&rows, 0));
	TRY(db_end(&rows));
	if (broker[0])
		return err_set(
			ERR_NOT_NOW, "the package lies on broker %s; withdraw it first", broker);
	return ERR_OK;
}

// Objects that are in this package and in no other.
static enum err orphans_list(
	struct store *s, const struct digest *id, struct known *out, uint64_t *bytes)
{
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(s->db, &rows,
		"SELECT DISTINCT o.sha256, o.size_bytes FROM package_object p JOIN object o ON "
		"o.sha256 = p.object"
		" WHERE p.package = $1 AND NOT EXISTS (SELECT 1 FROM package_object q"
		" WHERE q.object = p.object AND q.package != $1)",
		DB_D(id)));
	while (e == ERR_OK && db_next(&rows)) {
		struct object o = {.size_bytes = (uint32_t)db_int(&rows, 1), .chunk_count = 1};
		(void)db_fixed(&rows, 0, o.sha256.b, sizeof o.sha256.b);
		*bytes += o.size_bytes;
		e = known_add(out, &o, &o.sha256);
	}
	enum err ended = db_end(&rows);
	return e != ERR_OK ? e : ended;
}

static enum err orphans_delete(
	struct store *s, const struct digest *id, const struct known *orphans)
{
	for (size_t i = 0; i < orphans->object_count; i++)
		TRY(db_run(s->db, "DELETE FROM object WHERE sha256 = $1",
			DB_D(&orphans->objects[i].sha256)));
	TRY(db_run(s->db, "DELETE FROM package_object WHERE package = $1", DB_D(id)));
	TRY(db_run(s->db, "DELETE FROM directive WHERE package = $1", DB_D(id)));
	return db_run(s->db, "DELETE FROM placement WHERE package = $1", DB_D(id));
}

static enum err package_delete(struct store *s, void *ctx)
{
	const struct digest *id = ctx;

	TRY(db_run(s->db, "DELETE FROM package_image WHERE package = $1", DB_D(id)));
	return db_run(s->db, "DELETE FROM package WHERE id = $1", DB_D(id));
}

static enum err known_without(struct store *s, const struct known *orphans)
{
	struct known kept;
	enum err e = ERR_OK;

	known_init(&kept);
	for (size_t i = 0; e == ERR_OK && i < s->known.object_count; i++) {
		const struct known_object *k = &s->known.objects[i];
		if (!known_has(orphans, &k->sha256))
			e = known_copy(&kept, &s->known, k);
	}
	if (e != ERR_OK) {
		known_fini(&kept);
		return e;
	}
	known_fini(&s->known);
	s->known = kept;
	return ERR_OK;
}

// What no package was ever made of need not be forgotten.
static bool any_is_known(const struct store *s, const struct known *orphans)
{
	for (size_t i = 0; i < s->known.object_count; i++)
		if (known_has(orphans, &s->known.objects[i].sha256))
			return true;
	return false;
}

enum err objects_release(struct store *s, const struct digest *id,
	enum err (*more)(struct store *s, void *ctx), void *ctx, uint64_t *freed_bytes)
{
	struct known orphans;

	TRY(placement_check(s, id));
	known_init(&orphans);
	enum err e = orphans_list(s, id, &orphans, freed_bytes);
	if (e == ERR_OK)
		e = orphans_delete(s, id, &orphans);
	if (e == ERR_OK)
		e = more(s, ctx);
	e = store_end(s, e);
	if (e == ERR_OK && any_is_known(s, &orphans))
		e = known_without(s, &orphans);
	for (size_t i = 0; e == ERR_OK && i < orphans.object_count; i++)
		e = blob_remove(&s->objects, &orphans.objects[i].sha256);
	known_fini(&orphans);
	return e;
}

struct bases {
	struct digest of[64];
	size_t count;
};

static bool base_collect(void *ctx, const struct delta_row *d)
{
	struct bases *b = ctx;

	b->of[b->count++] = d->base;
	return b->count < sizeof b->of / sizeof b->of[0];
}

enum err package_remove(struct store *s, const struct digest *id, uint64_t *freed_bytes)
{
	struct package p;
	struct bases b = {0};
	struct digest own = *id;

	*freed_bytes = 0;
	TRY(package_find(s, id, &p));
	TRY(placement_check(s, id));
	TRY(delta_list(s, id, base_collect, &b));
	for (size_t i = 0; i < b.count; i++)
		TRY(delta_remove(s, id, &b.of[i]));
	return objects_release(s, id, package_delete, &own, freed_bytes);
}
