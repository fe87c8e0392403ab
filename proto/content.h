// Packages as both sides see them: manifest root, pages, chunks, objects, index.
//
//   file   -> chunks  (plain content: SHA-256, length)            what a package IS      manifest
//   chunks -> objects (what lies on a topic: SHA-256, coding)     what LIES on a broker  index
//
// A page lists files; its distinct chunks, in order of first appearance, have ordinals 0.. inside
// that page. Index page i tells, for manifest page i, which object yields which run of ordinals.
// Whoever reads works page by page: memory does not grow with the package. What two pages have in
// common is listed in both, so the root's chunk_count is the sum over the pages; file_count counts
// files where they begin.
//
// Order of trust for an object (protocol.md): hash and length of the transported bytes; base chunks
// hashed again; decoding bounded to the exact length; each plain chunk against the manifest.
//
// An object may be told with bytes that the device has by then (ZSTD_PREFIX): chunks of another
// package or of earlier pages, by their hash, and chunks that stand before it on its own page, by
// their ordinal. So a package whose chunks resemble each other is nearly as small as one stream,
// and each object is still verified before a decompressor sees it. "Before it" is what keeps it
// free of circles; how deep one rests on another is bounded (OBJECT_WAVES): objects of one wave
// need nothing of each other and may come in any order.
//
// How an agent reads (every step may refuse, none trusts the next):
//   envelope_open, manifest_decode, manifest_check, package_id        the root
//   envelope_open, index_decode, index_check                          what lies on this broker
//   for each page i: object_open(index.page_objects[i], page_chunk_ref(&m.pages[i]))
//                    manifest_page_decode, page_plan_make             where every byte goes
//                    object_open(index.pages[i].object, index_page_chunk_ref(&index.pages[i]))
//                    index_page_decode, index_page_check              which objects yield it
//                    for each object: object_open -> its run of chunks
//   page_carry_finish
#ifndef HELIO_CONTENT_H
#define HELIO_CONTENT_H

#include "proto/envelope.h"
#include "proto/message.h"

#define OBJECT_PACK_MIN (64 * 1024)       // small chunks are packed together up to here
#define OBJECT_OUTPUT_MAX LIMIT_CHUNK     // plain bytes an object may yield
#define OBJECT_BASE_MAX (2 * LIMIT_CHUNK) // old or earlier bytes an object may need
#define OBJECT_OWN_RUNS_MAX 128           // numbers: 64 runs of earlier chunks of its page
#define OBJECT_WAVES 64                   // an object, what it needs, what that needs, ...

// package id = SHA-256 of the manifest payload
struct digest package_id(struct bytes manifest_payload);

// ---- reading

// Checks what one field cannot: name and version that are safe as a folder name, sums, page sizes.
// Errors: ERR_RANGE, ERR_FORMAT.
enum err manifest_check(const struct manifest *m) MUST_CHECK;

struct chunk_ref {
	struct digest sha256;
	uint32_t size;
};

// Where a chunk goes: file ordinal in the page (page->files[file]), byte offset in that file.
struct chunk_place {
	uint32_t file, chunk; // chunk: ordinal in page_plan.chunks
	uint64_t offset;
};

struct page_plan {
	struct chunk_ref *chunks; // distinct, in order of first appearance
	size_t chunk_count;
	struct chunk_place *places; // by file and offset; covers every byte of the page
	size_t place_count;
};

// What goes from one page to the next: the last path (order, uniqueness) and the file that
// continues. Zeroed before the first page. Do not look inside but for files, bytes and chunks.
struct page_carry {
	char path[513];
	uint64_t prefixes[9]; // bit n: an earlier path is the first n characters of this one
	bool executable;
	struct digest file_sha256;
	uint64_t file_size, file_done;
	uint64_t files, bytes, chunks; // totals so far, for the root's promises
};

// Checks the page against its reference (its hash is the caller's), the carry and the rules: safe
// paths, strictly ascending, no path below a file, sizes that add up, chunk sizes 1..LIMIT_CHUNK,
// one way only to write a file (of one chunk: no list; empty: no chunk). Then lists its chunks.
// Works in `a`: about 70 bytes a chunk and place. Errors: ERR_FORMAT, ERR_RANGE, ERR_FULL.
enum err page_plan_make(struct arena *a, const struct manifest_page *page,
	const struct page_ref *ref, struct page_carry *carry, struct page_plan *out) MUST_CHECK;
// After the last page: everything the root promised has come. Errors: ERR_FORMAT.
enum err page_carry_finish(const struct page_carry *carry, const struct manifest *m) MUST_CHECK;

// Checks the index against the manifest it serves: package, page counts, sizes; and fills in
// sha256 and size_bytes of RAW objects. page_objects[i] yields manifest page i and nothing else,
// pages[i].object yields index page i. object_count and object_bytes are for progress only.
// Errors: ERR_FORMAT, ERR_RANGE, ERR_UNSUPPORTED (a coding this program does not know).
enum err index_check(
	struct index *x, const struct manifest *m, const struct digest *package) MUST_CHECK;

// Checks an index page against the plan: runs inside the page, disjoint and ascending, every
// ordinal is yielded by one object (allow_gaps: a delta index leaves out what its base holds),
// sizes inside limits. Fills in sha256 and size_bytes of RAW single-chunk objects.
// Errors: ERR_FORMAT, ERR_RANGE, ERR_UNSUPPORTED.
enum err index_page_check(
	struct index_page *page, const struct page_plan *plan, bool allow_gaps) MUST_CHECK;

// How many objects of this page lie under each, one on the other: 0 needs nothing of this page.
// waves[object_count]. The page is checked, or this is a part of that. Errors: ERR_RANGE (more than
// OBJECT_WAVES), ERR_MEMORY.
enum err index_page_waves(
	const struct index_page *page, const struct page_plan *plan, uint8_t *waves) MUST_CHECK;

struct chunk_ref page_chunk_ref(const struct page_ref *ref);
struct chunk_ref index_page_chunk_ref(const struct index_page_ref *ref);

// Keeps a zstd context and a buffer of at most OBJECT_OUTPUT_MAX. One per thread.
struct object_decoder;
enum err object_decoder_new(struct object_decoder **out) MUST_CHECK;
void object_decoder_free(struct object_decoder *d);
// Of a sealed package (seal_content.h): every object is opened with the key first, after its hash
// was checked; ERR_AUTH when it does not open. key: borrowed; NULL: not sealed.
void object_decoder_key(struct object_decoder *d, const struct key32 *key);

bool coding_has_base(enum coding c);

// From transported bytes to checked plain bytes, in the order of trust. run: the chunk_count chunks
// the object yields. prefix: its base chunks and own runs one after the other, hashed again by the
// caller just now ({NULL,0} without base). *plain: exactly the chunks of the run, one after the
// other; borrowed from `transported` (RAW: nothing is copied, and hashed once) or from d until its
// next use. Errors: ERR_CORRUPT the transported bytes are not this object (fetch it again,
// elsewhere); ERR_FORMAT the right object gave wrong output (a rotten base, or an index that lies);
// ERR_UNSUPPORTED, ERR_MEMORY.
enum err object_open(struct object_decoder *d, const struct object *o, const struct chunk_ref *run,
	struct bytes transported, struct bytes prefix, struct bytes *plain) MUST_CHECK;

// ---- making

struct object_profile {
	int zstd_level;        // 0: never compress
	uint32_t keep_percent; // keep the compressed form when it is at most this much of the plain
};

// Keeps a zstd context and a buffer. One per thread.
struct object_encoder;
enum err object_encoder_new(
	const struct object_profile *profile, struct object_encoder **out) MUST_CHECK;
void object_encoder_free(struct object_encoder *e);
// From now on what object_encode yields is sealed with this key. Borrowed; NULL: not sealed.
void object_encoder_key(struct object_encoder *e, const struct key32 *key);

// Encodes the plain bytes of run[o->chunk_count] and fills in sha256, size_bytes, coding
// (first_chunk, chunk_count are the caller's). *transported: borrowed from plain (RAW) or from e
// until its next use.
enum err object_encode(struct object_encoder *e, const struct chunk_ref *run, struct bytes plain,
	struct object *o, struct bytes *transported) MUST_CHECK;

// The same with old bytes: ZSTD_PREFIX or BSDIFF_ZSTD, whichever is smaller. prefix: 1..
// OBJECT_BASE_MAX bytes, the base chunks one after the other; base_chunks and base_sizes of o are
// the caller's. An encoder of deltas encodes nothing else. *transported: borrowed from e.
enum err object_encode_delta(struct object_encoder *e, const struct chunk_ref *run,
	struct bytes plain, struct bytes prefix, struct object *o,
	struct bytes *transported) MUST_CHECK;

// With earlier bytes of the same package: ZSTD_PREFIX, or what object_encode makes of it where that
// does not pay; then o names no base and no run any more. prefix as above; base_chunks, base_sizes
// and own_runs of o are the caller's.
enum err object_encode_own(struct object_encoder *e, const struct chunk_ref *run,
	struct bytes plain, struct bytes prefix, struct object *o,
	struct bytes *transported) MUST_CHECK;

// As it is written into an index: without what RAW single-chunk objects take from the manifest.
void object_to_index(struct object *o);

// Builds pages and root from files in ascending path order. Where a page ends is decided by the
// content (the hash of its last file), so that a new version has most pages in common with the old.
struct manifest_builder;
struct built_page {
	struct page_ref ref;
	struct bytes bytes; // owned by the builder
};
// info: kind, name, version, product, hw_class, security_counter, min_agent, show. Copied.
enum err manifest_builder_new(
	const struct manifest *info, struct manifest_builder **out) MUST_CHECK;
void manifest_builder_free(struct manifest_builder *b);
// Of every page; info.key_id is set then. Before the first file.
void manifest_builder_salt(struct manifest_builder *b, const struct id16 *salt);
// One whole file: path, size_bytes, sha256, executable, picture and its chunks in order (a file of
// one chunk: chunk_count 0 or 1). Copied. Errors: ERR_RANGE (order, limits), ERR_FULL.
enum err manifest_builder_add(
	struct manifest_builder *b, const struct file_entry *entry) MUST_CHECK;
// root: the payload to be signed, at most LIMIT_MANIFEST_ROOT. Pages live until free.
enum err manifest_builder_finish(struct manifest_builder *b, struct buf *root,
	const struct built_page **pages, size_t *page_count) MUST_CHECK;

#endif
