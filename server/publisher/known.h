// What chunks the object store already yields: an index in memory from a chunk to an object that
// begins with it. The packager asks it for every chunk, so it is a table of 40 bytes a chunk and
// not a query. Filled from the rows at start; changed only while no build runs.
#ifndef HELIO_PUBLISHER_KNOWN_H
#define HELIO_PUBLISHER_KNOWN_H

#include "proto/content.h"

struct known_object {
	struct digest sha256;
	uint32_t size_bytes;
	enum coding coding;
	uint32_t chunk_first, chunk_count; // in known.chunks
	uint32_t base_first, base_count;   // in known.bases: the chunks it is told with, in order
};

struct known_base {
	struct digest name; // as its chunks are named
	uint32_t size;
};

struct known {
	struct known_object *objects;
	size_t object_count, object_cap;
	struct digest *chunks; // of all objects, run after run
	size_t chunk_count, chunk_cap;
	uint32_t *slots; // index of a chunk in `chunks`, + 1
	uint32_t *owner; // object of each chunk
	struct known_base *bases;
	size_t base_count, base_cap;
	size_t slot_count, owner_cap;
	uint64_t odd; // digest_place
};

void known_init(struct known *k);
void known_fini(struct known *k);
// o: base_chunks and base_sizes name all that it is told with; its own_runs are not looked at.
enum err known_add(struct known *k, const struct object *o, const struct digest *chunks) MUST_CHECK;
// An object of another index, as it is kept there.
enum err known_copy(
	struct known *to, const struct known *from, const struct known_object *o) MUST_CHECK;

// Some object yields this chunk.
bool known_has(const struct known *k, const struct digest *chunk);
// The longest object whose whole run is run[0..], at most count chunks. NULL when there is none.
const struct known_object *known_run(
	const struct known *k, const struct chunk_ref *run, size_t count);

// Objects that are sealed with a customer's key are kept under names of their own: the chunk's hash
// exclusive-or a pad that follows from the key (seal_content.h), so that they are found only by who
// has the same key. A pad of zeros changes nothing.
struct digest known_name(const struct digest *chunk, const struct digest *pad);
// fits: whether an object that is told with others can be used here; NULL: none can.
typedef bool known_fits(void *ctx, const struct known *k, const struct known_object *o);
const struct known_object *known_run_named(const struct known *k, const struct chunk_ref *run,
	size_t count, const struct digest *pad, known_fits *fits, void *ctx);

// The bases of an object as a row keeps them. put: appended; get: two arrays of *count, freed by
// the caller. Errors: ERR_MEMORY, ERR_FORMAT.
enum err known_bases_put(
	const struct known *k, const struct known_object *o, struct buf *out) MUST_CHECK;
enum err known_bases_get(
	struct bytes row, struct digest **names, uint32_t **sizes, size_t *count) MUST_CHECK;

#endif
