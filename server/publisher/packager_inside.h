// What the two passes of the packager share; nobody else includes this.
#ifndef HELIO_PUBLISHER_PACKAGER_INSIDE_H
#define HELIO_PUBLISHER_PACKAGER_INSIDE_H

#include "server/publisher/blob_flush.h"
#include "server/publisher/crew.h"
#include "server/publisher/own_prefix.h"
#include "server/publisher/packager.h"
#include "server/publisher/spool.h"
#include <uv.h>

// Small chunks of files that were not read: read when a group needs their bytes.
struct pack_later {
	struct known chunks; // object i is one chunk, which stands at places[i]
	struct later_place {
		size_t file;
		uint64_t offset;
	} * places;
	size_t cap;
};

struct pack_work {
	const struct pack_job *job;
	struct package_built *out;
	struct manifest_builder *builder;
	struct object_encoder *content, *pages; // pages are text-like: worth a higher level
	struct spool spool;                     // small chunks
	struct pack_later later;
	int watch;                // of the objects, since before the first was put
	struct blob_flush *flush; // of a job that is worth a thread; else NULL
	uv_rwlock_t fresh_lock;   // of out->fresh, while the first pass writes objects
	struct own_prefix *own;   // of the small profile, from the second pass on; NULL: not used
	struct digest pad;        // known_name; zero: not sealed
	struct id16 salt;
};

// The object that yields exactly this run: one of the store, one made before in this job, or a new
// one, written now. It is counted for the package. plain: the run's bytes.
enum err pack_object(struct pack_work *w, struct object_encoder *encoder,
	const struct chunk_ref *run, uint32_t count, struct bytes plain,
	struct object *out) MUST_CHECK;
struct pack_found {
	const struct known *in;
	const struct known_object *object;
};
// The same without a new one: `object` is NULL when there is none yet.
struct pack_found pack_object_find(
	const struct pack_work *w, const struct chunk_ref *run, size_t count);
// names: where what it is told with is named; NULL: it is told with nothing.
enum err pack_object_use(struct pack_work *w, const struct pack_found *found, struct arena *names,
	struct object *out) MUST_CHECK;
// A new one, told with earlier chunks of the package where that helps.
enum err pack_object_own(struct pack_work *w, const struct chunk_ref *run, uint32_t count,
	struct bytes plain, struct arena *names, struct object *out) MUST_CHECK;

// Objects that a step of the first pass makes: whether this chunk has one, asked by any of the
// crew; and that it is written, said by one at a time. There already: nothing changes.
bool pack_object_is_there(struct pack_work *w, const struct chunk_ref *chunk);
enum err pack_object_written(
	struct pack_work *w, const struct object *o, const struct chunk_ref *chunk) MUST_CHECK;
// Of the job's profile and key.
enum err pack_encoder_new(const struct pack_work *w, struct object_encoder **out) MUST_CHECK;

// A chunk that is packed with others, in the second pass.
bool pack_is_small(const struct pack_work *w, uint32_t size);
enum err pack_file_open(const struct pack_work *w, const struct pack_file *p, int *fd) MUST_CHECK;

// What was seen: packager_seen.c. The file need not be read: it is as it was, and what it consists
// of is in the store. NULL: it has to be.
const struct seen_file *pack_unread(struct pack_work *w, const struct pack_file *p);
enum err pack_later_put(
	struct pack_work *w, const struct chunk_ref *c, size_t file, uint64_t offset) MUST_CHECK;
// Appends the chunk. Errors: ERR_CORRUPT (nobody put it), ERR_NOT_NOW (the file changed) ...
enum err pack_later_read(
	struct pack_work *w, const struct chunk_ref *c, struct buf *out) MUST_CHECK;
void pack_later_end(struct pack_later *l);

// First pass. Errors as package_build.
enum err pack_files(struct pack_work *w) MUST_CHECK;
// Second pass. Errors as package_build.
enum err pack_index(
	struct pack_work *w, const struct built_page *pages, size_t page_count) MUST_CHECK;

#endif
