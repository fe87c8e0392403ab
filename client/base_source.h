// Old bytes for delta objects: where on this device the base chunks of a page's objects lie, read
// and hashed each time they are used. Only installed packages serve; nothing is believed for lying
// there: one rotten byte is an error, and the full objects serve instead.
#ifndef HELIO_CLIENT_BASE_SOURCE_H
#define HELIO_CLIENT_BASE_SOURCE_H

#include "client/depot.h"

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
};

// Looks for all base chunks that `page` names in the package `base`. Everything lives in `a`.
// Blocking. Errors: ERR_MEMORY. A chunk or a package that is not there is no error.
enum err base_source_find(struct base_source *s, struct arena *a, const struct depot *store,
	const struct digest *base, const struct index_page *page) MUST_CHECK;
// All base chunks of this object are here.
bool base_source_has(const struct base_source *s, const struct object *o);
// Them, one after the other, hashed now. Errors: ERR_NOT_FOUND (one is not what it was), ERR_IO,
// ERR_FULL (out->max).
enum err base_source_read(
	const struct base_source *s, const struct object *o, struct buf *out) MUST_CHECK;
// The bytes of a manifest page of the package, by its hash. Errors: ERR_NOT_FOUND.
enum err base_page_read(const struct depot *store, const struct digest *base,
	const struct digest *page, struct buf *out) MUST_CHECK;

#endif
