// The publisher's store: rows in SQLite, bytes in two content-addressed folders beside it.
//
//   STATE/publisher.db     image, image_tag, image_original, variant, package, package_image,
//                          package_object, package_order, order_package, object, broker,
//                          placement, object_on, meta, seen_file, seen_name
//   STATE/images/          what devices show
//   STATE/objects/         what lies on data brokers, shared by all packages
//
// Bytes come first, rows after them, and one commit per act of a caller: a row names only what is
// on the disk. A failed commit is rolled back and the act is refused with its reason (ERR_NO_SPACE,
// ERR_READ_ONLY, ...); nothing is kept in memory that the rows do not say. One thread.
#ifndef HELIO_PUBLISHER_STORE_H
#define HELIO_PUBLISHER_STORE_H

#include "blob_store.h"
#include "known.h"
#include "packager.h"
#include "proto/base/clock.h"
#include "proto/message.h"
#include "server/db/db.h"

struct store {
	struct db *db;
	struct blob_store images, objects;
	struct known known;
	int lock_fd;
	char dir[400];
	enum err failing; // why the disk takes nothing now
	struct mono failing_since, probe_at;
};

// Errors: ERR_EXISTS (another publisher has it), ERR_VERSION (made by a newer program), ERR_CORRUPT
// ...
enum err store_open(struct store *s, const char *dir) MUST_CHECK;
void store_close(struct store *s);
// Brings the tables to the present version. Errors: ERR_VERSION (made by a newer program).
enum err store_schema_make(struct db *db) MUST_CHECK;
// Ends an act: commits when e is ERR_OK, else rolls back. Returns e, or the commit's error.
enum err store_end(struct store *s, enum err e) MUST_CHECK;
// The outcome of an act; store_end calls it. A disk that is full (PUBLISHER-STORE-FULL) or takes no
// writes (PUBLISHER-STORE-READ-ONLY, PUBLISHER-STORE-IO) is said once.
void store_judge(struct store *s, enum err e);
// While the disk takes nothing: tries once a second. True once, when it does again
// (PUBLISHER-STORE-RECOVERED).
bool store_tick(struct store *s, struct mono now);

// ---- images

struct image {
	struct digest sha256, original;
	char title[LIMIT_TEXT + 1], licence[LIMIT_ID + 1];
	char tags[LIMIT_TAGS][LIMIT_ID + 1];
	size_t tag_count;
	uint32_t format; // enum picture_format
	uint64_t size_bytes;
	uint32_t width, height, weight;
	int64_t added_unix_ms, released_unix_ms, expires_unix_ms; // 0: not set
	int64_t retired_unix_ms; // soft-deleted since then: in no new package; 0: not retired
};

// Adds the row; an image that is there gains the tags (*duplicate), and is no longer retired. The
// bytes are in s->images.
enum err image_add(struct store *s, const struct image *i, bool *duplicate) MUST_CHECK;
enum err image_find(struct store *s, const struct digest *sha256, struct image *out) MUST_CHECK;
// The image that this file became when it was ingested. Errors: ERR_NOT_FOUND.
enum err image_of_original(
	struct store *s, const struct digest *original, struct digest *image) MUST_CHECK;
// What may be edited is set: title, licence, tags, weight, released, expires, retired.
enum err image_update(struct store *s, const struct image *i) MUST_CHECK;
// Refused with ERR_NOT_NOW while a package lists it, which the sentence names. Removes row and
// bytes, and those of its variants.
enum err image_remove(struct store *s, const struct digest *sha256) MUST_CHECK;
// Images that have all the tags (none: all), in order of arrival, retired ones too. each returns
// false to stop.
typedef bool image_each(void *ctx, const struct image *i);
enum err image_list(struct store *s, const char *const *tags, size_t tag_count, image_each *each,
	void *ctx) MUST_CHECK;
enum err image_count(struct store *s, uint64_t *count) MUST_CHECK;

// An image in the size of a screen. sha256 zero: not made yet; the image's own: nothing was gained.
struct variant {
	struct digest image, sha256;
	uint32_t width, height;
	uint64_t size_bytes;
};
enum err variant_add(struct store *s, const struct variant *v) MUST_CHECK;
typedef bool variant_each(void *ctx, const struct variant *v);
enum err variant_list(struct store *s, variant_each *each, void *ctx) MUST_CHECK;

// Removes the variants that are not wanted: rows first, in one commit, then those bytes that no
// other row names. dry: removes nothing.
struct variant_gc {
	bool dry;
	bool (*wanted)(
		void *ctx, uint32_t image_width, uint32_t image_height, const struct variant *v);
	void *ctx;
	uint64_t removed, bytes;
};
enum err variant_collect(struct store *s, struct variant_gc *gc) MUST_CHECK;

// Removes for good what was retired before `before` and what nothing names any more: no package of
// the store in any state (so no lease, no placement, no version to roll back to, no medium). Rows
// first, in one commit, bytes after it: after a crash in between the sweep at start removes them.
// dry: removes nothing. each is told of every retired image; kept: "" or why it stays.
struct image_gc {
	struct wall before;
	bool dry;
	void (*each)(void *ctx, const struct image *i, const char *kept);
	void *ctx;
	uint64_t removed, bytes;
};
enum err image_collect(struct store *s, struct image_gc *gc) MUST_CHECK;

// ---- packages

enum package_state {
	PACKAGE_BUILT = 1,
	PACKAGE_SIGNED,
	PACKAGE_OFFERED,
	PACKAGE_WITHDRAWN
};
const char *package_state_word(enum package_state s);

struct package {
	struct digest id;
	enum package_kind kind;
	char name[LIMIT_ID + 1], version[LIMIT_ID + 1];
	enum package_state state;
	uint64_t size_bytes, object_bytes, new_bytes;
	uint32_t files, chunks, objects;
	int64_t built_unix_ms;
	uint64_t directive_id; // highest one obeyed
};

// Rows of a build. images: of a picture package, in order. *existing: the package was there
// already, and nothing was changed.
enum err package_add(struct store *s, const struct package *p, const struct package_built *b,
	const struct digest *images, size_t image_count, bool *existing) MUST_CHECK;
enum err package_find(struct store *s, const struct digest *id, struct package *out) MUST_CHECK;
typedef bool package_each(void *ctx, const struct package *p);
enum err package_list(struct store *s, package_each *each, void *ctx) MUST_CHECK;
// Those of this name and version; several when they were built of different content by hand.
enum err package_named(struct store *s, const char *name, const char *version, package_each *each,
	void *ctx) MUST_CHECK;
enum err package_set_state(
	struct store *s, const struct digest *id, enum package_state state) MUST_CHECK;
enum err package_set_directive(
	struct store *s, const struct digest *id, uint64_t directive_id) MUST_CHECK;
enum err package_set_envelope(
	struct store *s, const struct digest *id, struct bytes envelope) MUST_CHECK;
// The payload, the envelope (empty when unsigned), the index payload; each may be NULL.
enum err package_bytes(struct store *s, const struct digest *id, struct buf *manifest,
	struct buf *envelope, struct buf *index) MUST_CHECK;
enum err package_images(struct store *s, const struct digest *id, struct digest **images,
	size_t *count) MUST_CHECK; // free
// Refused while it lies on a broker. Removes its deltas, and the objects that no other package
// uses.
enum err package_remove(struct store *s, const struct digest *id, uint64_t *freed_bytes) MUST_CHECK;
// The list of objects under this id, and those of them that nothing else uses; what else goes with
// it is `more`'s, in the same commit. For package_remove and delta_remove.
enum err objects_release(struct store *s, const struct digest *id,
	enum err (*more)(struct store *s, void *ctx), void *ctx, uint64_t *freed_bytes) MUST_CHECK;

// ---- what lies where

enum placement_state {
	PLACEMENT_SENDING = 1, // claimed: some of it may lie there
	PLACEMENT_STORED,      // complete, and the mark was read back
	PLACEMENT_STOPPING,    // being withdrawn: some of it may still lie there
	PLACEMENT_FAILED,      // given up in the middle
	PLACEMENT_LOST         // the broker forgot everything
};
const char *placement_state_word(enum placement_state s);

struct placement {
	struct digest package;
	char broker[LIMIT_ID + 1];
	enum placement_state state;
	uint64_t directive_id;
};
typedef bool placement_each(void *ctx, const struct placement *p);
// package NULL: all.
enum err placement_list(
	struct store *s, const struct digest *package, placement_each *each, void *ctx) MUST_CHECK;

// Where a broker is, as the server told it last; kept so that we can withdraw by ourselves.
enum err broker_put(struct store *s, const struct address *a) MUST_CHECK;
enum err broker_address(
	struct store *s, const char *broker, struct arena *a, struct address *out) MUST_CHECK;
// The mark that we put on this broker; zero when there is none.
enum err broker_mark(struct store *s, const char *broker, struct id16 *mark) MUST_CHECK;
// A new mark: what we claimed there before is gone.
enum err broker_forget(struct store *s, const char *broker, const struct id16 *mark) MUST_CHECK;

struct send_object {
	struct digest sha256;
	uint32_t size_bytes;
	bool there; // lies there already, by our own claim under the present mark
	bool done;  // acknowledged in this transmission
	bool noted; // and that is in the store
};

// Claims the package on the broker (committed by the caller before anything is sent) and lists its
// objects in order. Freed by the caller.
enum err claim_package(struct store *s, const char *broker, const struct digest *package,
	uint64_t directive_id, struct send_object **objects, size_t *count) MUST_CHECK;
// These of the objects were acknowledged (done) and are counted as there: a transmission that is
// interrupted goes on behind them. Marks them as noted.
enum err claim_objects(
	struct store *s, const char *broker, struct send_object *objects, size_t count) MUST_CHECK;
// All of it is acknowledged and the mark was read back.
enum err claim_complete(
	struct store *s, const char *broker, const struct digest *package) MUST_CHECK;
enum err claim_fail(struct store *s, const char *broker, const struct digest *package) MUST_CHECK;
// The package is being withdrawn: lists the objects that no other package claims on this broker,
// and counts them as absent from now on.
enum err withdraw_begin(struct store *s, const char *broker, const struct digest *package,
	uint64_t directive_id, struct send_object **objects, size_t *count) MUST_CHECK;
enum err withdraw_end(struct store *s, const char *broker, const struct digest *package) MUST_CHECK;

// ---- directives: the highest one obeyed, of a package at a broker. "" is of no broker: STOP
// everywhere, WAIT, DEFER.

struct directives {
	uint64_t at, of_none, highest; // at this broker; without one; of all
};

enum err directive_look(struct store *s, const struct digest *package, const char *broker,
	struct directives *out) MUST_CHECK;
// anew: the server counts from elsewhere now, and what was said before is forgotten.
enum err directive_note(struct store *s, const struct digest *package, const char *broker,
	uint64_t directive_id, bool anew) MUST_CHECK;

// ---- what was seen of files, by the name of a package

// The secret of marks; made at the first asking.
enum err seen_key(struct store *s, struct key32 *out) MUST_CHECK;
// Into an empty list, with the key.
enum err seen_load(struct store *s, const char *name, struct seen *out) MUST_CHECK;
struct seen_limit {
	uint64_t bytes_max; // of all names; 0: nothing is remembered
	int64_t now_unix_ms;
};
// now: every file of the package; before: as it was loaded. Names that were not used for longest
// are forgotten where it is too much. Part of the caller's act.
enum err seen_put(struct store *s, const char *name, const struct seen *before,
	const struct seen *now, const struct seen_limit *limit) MUST_CHECK;

// ---- small values (16 bytes or a number), by name

enum err meta_get(
	struct store *s, const char *name, void *out, size_t size, bool *found) MUST_CHECK;
enum err meta_set(struct store *s, const char *name, const void *value, size_t size) MUST_CHECK;

#endif
