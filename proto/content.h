// Packages as both sides see them: manifest root, pages, chunks, objects, index.
//
//   file  -> chunks (plain content: SHA-256, length)            what a package IS     manifest
//   chunks -> objects (what lies on a topic: SHA-256, coding)   what LIES on a broker index
//
// A page lists files; its distinct chunks, in order of first appearance, have ordinals 0.. inside
// that page. Index page i tells, for manifest page i, which object yields which run of ordinals.
// Whoever reads works page by page: memory does not grow with the package.
//
// Order of trust for an object (protocol.md): hash and length of the transported bytes; base chunks
// hashed again; decoding bounded to the exact length; each plain chunk against the manifest.
#ifndef HELIO_CONTENT_H
#define HELIO_CONTENT_H

#include "envelope.h"
#include "message.h"

#define OBJECT_PACK_MIN (64 * 1024)    // small chunks are packed together up to here
#define OBJECT_OUTPUT_MAX LIMIT_CHUNK  // plain bytes an object may yield

// package id = SHA-256 of the manifest payload
struct digest package_id(struct bytes manifest_payload);

// ---- reading

// Checks what one message cannot: ranges, sums, page sizes. Errors: ERR_RANGE, ERR_FORMAT.
enum err manifest_check(const struct manifest *m) MUST_CHECK;

struct chunk_ref {
	struct digest sha256;
	uint32_t size;
};

// Where a chunk goes: file ordinal in the page, byte offset in that file.
struct chunk_place {
	uint32_t file, chunk;     // chunk: ordinal in page_plan.chunks
	uint64_t offset;
};

struct page_plan {
	struct chunk_ref *chunks; // distinct, in order of first appearance
	size_t chunk_count;
	struct chunk_place *places;   // by file and offset; covers every byte of the page
	size_t place_count;
};

// What goes from one page to the next: the last path (order, uniqueness) and the file that continues.
struct page_carry {
	char path[513];
	struct digest file_sha256;
	uint64_t file_size, file_done;
	uint64_t files, bytes, chunks;    // totals so far, for the root's promises
};

// Checks the page against its reference (hash is the caller's), the carry and the rules: safe paths,
// strictly ascending, sizes that add up, chunk sizes 1..LIMIT_CHUNK. Then lists its chunks.
// An empty file has no chunk. carry: zeroed before the first page. Errors: ERR_FORMAT, ERR_RANGE, ERR_FULL.
enum err page_plan_make(struct arena *a, const struct manifest_page *page, const struct page_ref *ref,
                        struct page_carry *carry, struct page_plan *out) MUST_CHECK;
// After the last page: everything the root promised has come.
enum err page_carry_finish(const struct page_carry *carry, const struct manifest *m) MUST_CHECK;

// Checks an index page against the plan: runs inside the page, disjoint, every ordinal is yielded by one
// object (a delta index may leave out what its base holds: allow_gaps), sizes inside limits.
// Fills in sha256 and size_bytes of RAW single-chunk objects.
enum err index_page_check(struct index_page *page, const struct page_plan *plan, bool allow_gaps) MUST_CHECK;

// Decodes a transported object whose hash and length the caller has checked with object_verify().
// prefix: the base chunks in order, already hashed again by the caller ({NULL,0} without).
// out receives exactly the plain chunks of the run, one after the other; every one is checked.
enum err object_verify(const struct object *o, struct bytes transported) MUST_CHECK;
enum err object_decode(const struct object *o, const struct chunk_ref *run, struct bytes transported,
                       struct bytes prefix, struct buf *out) MUST_CHECK;

// ---- making

struct object_profile {
	int zstd_level;           // 0: never compress
	uint32_t keep_percent;    // compress only when the result is at most this much of the input
};

// Encodes the plain bytes of a run into `out` and fills sha256, size, coding (first_chunk and
// chunk_count are the caller's). A RAW single chunk leaves sha256 as the chunk's own.
enum err object_encode(const struct object_profile *profile, struct bytes plain, struct buf *out,
                       struct object *o) MUST_CHECK;

// Builds pages and root from files in ascending path order.
struct manifest_builder;
struct built_page {
	struct page_ref ref;
	struct bytes bytes;       // owned by the builder
};
// info: kind, name, version, product, hw_class, security_counter, min_agent, show. Copied.
enum err manifest_builder_new(const struct manifest *info, struct manifest_builder **out) MUST_CHECK;
void manifest_builder_free(struct manifest_builder *b);
// entry.path etc. with the chunk list; continued is the builder's. Errors: ERR_RANGE (order, limits), ERR_FULL.
enum err manifest_builder_add(struct manifest_builder *b, const struct file_entry *entry) MUST_CHECK;
// root: the payload to be signed, at most LIMIT_MANIFEST_ROOT. Pages live until free.
enum err manifest_builder_finish(struct manifest_builder *b, struct buf *root, const struct built_page **pages,
                                 size_t *page_count) MUST_CHECK;

#endif
