// The bytes that objects are told with: where on this device the base chunks of a page's objects
// lie -- in the package that a delta is from, or on earlier pages of the one that is being fetched
// -- read and hashed each time they are used, as chunks of the page itself are. Nothing is believed
// for lying there: one rotten byte is an error, and the full objects serve instead.
#ifndef HELIO_CLIENT_BASE_SOURCE_H
#define HELIO_CLIENT_BASE_SOURCE_H

#include "client/staging.h"

struct base_chunk {
	struct digest sha256;
	uint32_t size;
	uint32_t file; // in base_source.files; UINT32_MAX: it is not here
	uint64_t offset;
};

struct base_source {
	struct arena *a;
	struct base_chunk *chunks; // by digest
	size_t count, found;
	const char **files; // absolute paths
	size_t file_count, file_cap;
	const struct staging *staging; // of the page at work
	const struct staged_page *page;
	struct rot *rot;    // borrowed
	struct digest base; // zero: none
};

// Looks for all base chunks that `index` names in the package `base` (zero: none) and on the pages
// before `page`. Everything lives in the page's arena. Blocking. Errors: ERR_MEMORY. A chunk or a
// package that is not there is no error.
enum err base_source_find(struct base_source *s, const struct staging *staging,
	const struct staged_page *page, const struct digest *base,
	const struct index_page *index) MUST_CHECK;
// All base chunks of this object are here.
bool base_source_has(const struct base_source *s, const struct object *o);
// All chunks of its own page that this object is told with are stored.
bool base_source_is_ready(const struct base_source *s, const struct object *o);
// All that it is told with, one after the other, hashed now. Errors: ERR_NOT_FOUND (one is not what
// it was), ERR_IO, ERR_FULL (out->max).
enum err base_source_read(
	const struct base_source *s, const struct object *o, struct buf *out) MUST_CHECK;
// The bytes of a manifest page of the package, by its hash. Errors: ERR_NOT_FOUND.
enum err base_page_read(const struct depot *store, const struct digest *base,
	const struct digest *page, struct rot *rot, struct buf *out) MUST_CHECK;

#endif
