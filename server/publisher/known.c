#include "server/publisher/known.h"
#include "proto/base/file.h"
#include "proto/digest.h"
#include <stdlib.h>
#include <string.h>

void known_init(struct known *k)
{
	*k = (struct known){0};
}

void known_fini(struct known *k)
{
	free(k->objects);
	free(k->chunks);
	free(k->slots);
	free(k->owner);
	free(k->bases);
	known_init(k);
}

static bool grow(void *array_pointer, size_t *cap, size_t need, size_t item)
{
	void *old = NULL, *bigger = NULL;
	size_t n = *cap ? *cap : 256;

	if (need <= *cap)
		return true;
	while (n < need)
		n *= 2;
	memcpy(&old, array_pointer, sizeof old);
	bigger = realloc(old, n * item);
	if (!bigger)
		return false;
	memcpy(array_pointer, &bigger, sizeof bigger);
	*cap = n;
	return true;
}

static size_t slot_of(const struct known *k, const struct digest *d)
{
	return digest_place(d, k->odd, k->slot_count);
}

static void slot_put(struct known *k, size_t chunk)
{
	size_t at = slot_of(k, &k->chunks[chunk]);

	while (k->slots[at] != 0)
		at = (at + 1) & (k->slot_count - 1);
	k->slots[at] = (uint32_t)chunk + 1;
}

// At most half full, or empty again twice as large.
static bool slots_room(struct known *k, size_t chunks)
{
	size_t n = k->slot_count ? k->slot_count : 1024;

	while (n < chunks * 2)
		n *= 2;
	if (n == k->slot_count)
		return true;
	if (k->slot_count == 0)
		k->odd = random_u64() | 1;
	uint32_t *slots = calloc(n, sizeof *slots);
	if (!slots)
		return false;
	free(k->slots);
	k->slots = slots;
	k->slot_count = n;
	for (size_t i = 0; i < k->chunk_count; i++)
		slot_put(k, i);
	return true;
}

// The object as k keeps it, all but its place there; bases: of o->base_count.
static enum err entry_add(struct known *k, const struct known_object *o,
	const struct digest *chunks, const struct known_base *bases)
{
	size_t total = k->chunk_count + o->chunk_count;

	if (total >= UINT32_MAX / 2 ||
		!grow(&k->objects, &k->object_cap, k->object_count + 1, sizeof *k->objects) ||
		!grow(&k->chunks, &k->chunk_cap, total, sizeof *k->chunks) ||
		!grow(&k->owner, &k->owner_cap, total, sizeof *k->owner) || !slots_room(k, total) ||
		!grow(&k->bases, &k->base_cap, k->base_count + o->base_count, sizeof *k->bases))
		return err_set(ERR_MEMORY, "no memory for the index of chunks");
	struct known_object *at = &k->objects[k->object_count];
	*at = *o;
	at->chunk_first = (uint32_t)k->chunk_count;
	at->base_first = (uint32_t)k->base_count;
	if (o->base_count)
		memcpy(&k->bases[k->base_count], bases, o->base_count * sizeof *bases);
	k->base_count += o->base_count;
	for (uint32_t i = 0; i < o->chunk_count; i++) {
		k->chunks[k->chunk_count] = chunks[i];
		k->owner[k->chunk_count] = (uint32_t)k->object_count;
		slot_put(k, k->chunk_count++);
	}
	k->object_count++;
	return ERR_OK;
}

enum err known_add(struct known *k, const struct object *o, const struct digest *chunks)
{
	SCOPED_FREE struct known_base *bases =
		o->base_count ? calloc(o->base_count, sizeof *bases) : NULL;

	if (!bases && o->base_count)
		return err_set(ERR_MEMORY, "no memory for the index of chunks");
	for (size_t i = 0; i < o->base_count; i++)
		bases[i] = (struct known_base){.name = o->base_chunks[i], .size = o->base_sizes[i]};
	const struct known_object entry = {.sha256 = o->sha256,
		.size_bytes = o->size_bytes,
		.coding = o->coding,
		.chunk_count = o->chunk_count,
		.base_count = (uint32_t)o->base_count};
	return entry_add(k, &entry, chunks, bases);
}

enum err known_copy(struct known *to, const struct known *from, const struct known_object *o)
{
	return entry_add(to, o, &from->chunks[o->chunk_first],
		o->base_count ? &from->bases[o->base_first] : NULL);
}

bool known_has(const struct known *k, const struct digest *chunk)
{
	if (k->slot_count == 0)
		return false;
	for (size_t at = slot_of(k, chunk); k->slots[at] != 0; at = (at + 1) & (k->slot_count - 1))
		if (digest_equal(&k->chunks[k->slots[at] - 1], chunk))
			return true;
	return false;
}

struct digest known_name(const struct digest *chunk, const struct digest *pad)
{
	struct digest out;

	for (size_t i = 0; i < sizeof out.b; i++)
		out.b[i] = chunk->b[i] ^ pad->b[i];
	return out;
}

static bool run_equals(const struct known *k, const struct known_object *o,
	const struct chunk_ref *run, size_t count, const struct digest *pad)
{
	if (o->chunk_count > count)
		return false;
	for (uint32_t i = 0; i < o->chunk_count; i++) {
		struct digest name = known_name(&run[i].sha256, pad);
		if (!digest_equal(&k->chunks[o->chunk_first + i], &name))
			return false;
	}
	return true;
}

const struct known_object *known_run_named(const struct known *k, const struct chunk_ref *run,
	size_t count, const struct digest *pad, known_fits *fits, void *ctx)
{
	const struct known_object *best = NULL;

	if (k->slot_count == 0 || count == 0)
		return NULL;
	struct digest first = known_name(&run[0].sha256, pad);
	for (size_t at = slot_of(k, &first); k->slots[at] != 0;
		at = (at + 1) & (k->slot_count - 1)) {
		size_t chunk = k->slots[at] - 1;
		const struct known_object *o = &k->objects[k->owner[chunk]];
		if (o->chunk_first == chunk && run_equals(k, o, run, count, pad) &&
			(!best || o->chunk_count > best->chunk_count) &&
			(o->base_count == 0 || (fits && fits(ctx, k, o))))
			best = o;
	}
	return best;
}

const struct known_object *known_run(
	const struct known *k, const struct chunk_ref *run, size_t count)
{
	static const struct digest open = {{0}};

	return known_run_named(k, run, count, &open, NULL, NULL);
}

// ---- rows

#define ROW_BASE (sizeof(struct digest) + 4)

enum err known_bases_put(const struct known *k, const struct known_object *o, struct buf *out)
{
	for (uint32_t i = 0; i < o->base_count; i++) {
		const struct known_base *b = &k->bases[o->base_first + i];
		const uint8_t size[4] = {(uint8_t)(b->size >> 24), (uint8_t)(b->size >> 16),
			(uint8_t)(b->size >> 8), (uint8_t)b->size};
		TRY(buf_append(out, b->name.b, sizeof b->name.b));
		TRY(buf_append(out, size, sizeof size));
	}
	return ERR_OK;
}

enum err known_bases_get(struct bytes row, struct digest **names, uint32_t **sizes, size_t *count)
{
	*count = row.size / ROW_BASE;
	*names = calloc(*count + 1, sizeof **names);
	*sizes = calloc(*count + 1, sizeof **sizes);
	if (!*names || !*sizes)
		return err_set(ERR_MEMORY, "no memory for the bases of an object");
	if (row.size % ROW_BASE != 0)
		return err_set(ERR_FORMAT, "the bases of a stored object are damaged");
	for (size_t i = 0; i < *count; i++) {
		const uint8_t *at = row.data + i * ROW_BASE, *n = at + sizeof(struct digest);
		memcpy((*names)[i].b, at, sizeof(struct digest));
		(*sizes)[i] =
			(uint32_t)n[0] << 24 | (uint32_t)n[1] << 16 | (uint32_t)n[2] << 8 | n[3];
	}
	return ERR_OK;
}
