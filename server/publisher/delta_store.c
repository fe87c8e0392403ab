// See delta_store.h.
#include "delta_store.h"
#include "proto/digest.h"
#include "proto/envelope.h"
#include <string.h>

struct digest delta_id(const struct digest *package, const struct digest *base)
{
	uint8_t both[2 * sizeof(struct digest)];

	memcpy(both, package->b, sizeof package->b);
	memcpy(both + sizeof package->b, base->b, sizeof base->b);
	return sha256(both, sizeof both);
}

// Without chunks: no package is ever built of them.
static enum err objects_insert(
	struct store *s, const struct digest *id, const struct delta_built *b)
{
	static const uint8_t nothing[1];

	for (size_t i = 0; i < b->count; i++) {
		const struct delta_object *o = &b->objects[i];
		if (o->fresh)
			TRY(db_run(s->db,
				"INSERT OR IGNORE INTO object (sha256, size_bytes, coding, chunks)"
				" VALUES ($1, $2, $3, $4)",
				DB_D(&o->sha256), DB_I(o->size_bytes), DB_I(CODING_ZSTD_PREFIX),
				DB_B(bytes_of(nothing, 0))));
		TRY(db_run(s->db,
			"INSERT INTO package_object (package, ordinal, object) VALUES ($1, $2, $3)",
			DB_D(id), DB_I(i), DB_D(&o->sha256)));
	}
	return ERR_OK;
}

static enum err delta_insert(struct store *s, const struct digest *id, const struct delta_built *b)
{
	TRY(db_run(s->db,
		"INSERT INTO delta (id, package, base, object_bytes, delta_index)"
		" VALUES ($1, $2, $3, $4, $5)",
		DB_D(id), DB_D(&b->package), DB_D(&b->base), DB_I(b->object_bytes),
		DB_B(buf_bytes(&b->index))));
	return objects_insert(s, id, b);
}

enum err delta_add(struct store *s, const struct delta_built *b)
{
	struct digest id = delta_id(&b->package, &b->base);
	uint64_t bytes = 0;
	enum err e = delta_find(s, &b->package, &b->base, NULL, &bytes);

	if (e != ERR_NOT_FOUND)
		return e;
	return store_end(s, delta_insert(s, &id, b));
}

enum err delta_find(struct store *s, const struct digest *package, const struct digest *base,
	struct buf *index, uint64_t *object_bytes)
{
	struct digest id = delta_id(package, base);
	struct db_rows rows;
	enum err e = ERR_OK;

	TRY(db_query(s->db, &rows, "SELECT object_bytes, delta_index FROM delta WHERE id = $1",
		DB_D(&id)));
	if (!db_next(&rows)) {
		e = err_set(ERR_NOT_FOUND, "there is no such delta");
	} else {
		struct bytes payload = db_blob(&rows, 1);
		*object_bytes = (uint64_t)db_int(&rows, 0);
		if (index)
			e = buf_append(index, payload.data, payload.size);
	}
	enum err ended = db_end(&rows);
	return e != ERR_OK ? e : ended;
}

enum err delta_list(struct store *s, const struct digest *package, delta_each *each, void *ctx)
{
	struct db_rows rows;

	if (package)
		TRY(db_query(s->db, &rows,
			"SELECT package, base, object_bytes FROM delta WHERE package = $1",
			DB_D(package)));
	else
		TRY(db_query_values(
			s->db, &rows, "SELECT package, base, object_bytes FROM delta", NULL, 0));
	while (db_next(&rows)) {
		struct delta_row d = {.object_bytes = (uint64_t)db_int(&rows, 2)};
		(void)db_fixed(&rows, 0, d.package.b, sizeof d.package.b);
		(void)db_fixed(&rows, 1, d.base.b, sizeof d.base.b);
		if (!each(ctx, &d))
			break;
	}
	return db_end(&rows);
}

static enum err delta_delete(struct store *s, void *ctx)
{
	return db_run(s->db, "DELETE FROM delta WHERE id = $1", DB_D((const struct digest *)ctx));
}

enum err delta_remove(struct store *s, const struct digest *package, const struct digest *base)
{
	struct digest id = delta_id(package, base);
	uint64_t freed = 0;

	return objects_release(s, &id, delta_delete, &id, &freed);
}

enum err envelopes_make(struct store *s, const struct sign_key *identity,
	const struct digest *package, const struct digest *base, struct buf *manifest,
	struct buf *index)
{
	struct sign_key *const keys[1] = {(struct sign_key *)(uintptr_t)identity};
	SCOPED_BUF struct buf payload;
	uint64_t bytes = 0;

	buf_init(&payload, LIMIT_INDEX);
	buf_init(manifest, LIMIT_ENVELOPE);
	buf_init(index, LIMIT_INDEX + 4096);
	TRY(package_bytes(s, package, NULL, manifest, &payload));
	if (manifest->size == 0)
		return err_set(ERR_NOT_NOW, "the package is not signed");
	if (!digest_is_zero(base)) {
		buf_clear(&payload);
		TRY(delta_find(s, package, base, &payload, &bytes));
	}
	return envelope_make(PURPOSE_INDEX, buf_bytes(&payload), keys, 1, index);
}
