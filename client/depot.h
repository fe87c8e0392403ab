// The packages of a device on disk.
//
//   packages/<id>/{manifest,pages/NNN,files/...}   complete, immutable; the folder appears by
//   rename staging/<id>/...                               the same layout, being filled
//   slots/<kind>/<name>/{current,previous,next}    links to ../../../packages/<id>
//
// The folder is the truth: what a start finds is recovered by looking at it, and looking twice
// changes nothing more. `manifest` holds the bytes of the signed envelope, so that a package can
// be judged again by whoever holds the root. Not thread-safe but for the path builders and
// depot_staged; the list of what is held lives in memory and is the loop's.
#ifndef HELIO_CLIENT_DEPOT_H
#define HELIO_CLIENT_DEPOT_H

#include "client/agent_state.h"
#include "proto/content.h"
#include "proto/message.h"

#define DEPOT_PATH 1024
#define DEPOT_STAGING_KEPT 2 // interrupted attempts of other packages that may stay

struct held_package {
	struct digest id;
	enum package_kind kind;
	char name[AGENT_NAME_MAX + 1], version[AGENT_NAME_MAX + 1];
	uint32_t chunk_count;
	uint64_t security_counter;
};

struct depot {
	char root_dir[256];
	const struct root *root; // keys; borrowed
	struct held_package held[LIMIT_HOLDINGS];
	size_t held_count;
	char *const *seeds; // paths that seed_source.h looks at; borrowed; none: seed_count is 0
	size_t seed_count;
};

enum slot_link {
	SLOT_CURRENT,
	SLOT_PREVIOUS,
	SLOT_NEXT
};

// Makes the folders where they lack, recovers, and lists what is held.
// Errors: ERR_IO, ERR_READ_ONLY, ERR_NO_SPACE, ERR_RANGE (the folder's name is too long).
enum err depot_open(struct depot *s, const char *state_dir, const struct root *root) MUST_CHECK;
// Lists packages/ again.
enum err depot_scan(struct depot *s) MUST_CHECK;
// A package with a byte that is not its manifest's: it counts no longer, and what is whole of it is
// not fetched again.
enum err depot_demote(struct depot *s, const struct digest *id) MUST_CHECK;
const struct held_package *depot_find(const struct depot *s, const struct digest *id);

// Paths: out has DEPOT_PATH. They fit by construction (state_dir is limited).
void depot_package_path(
	const struct depot *s, const struct digest *id, const char *rest, char *out);
void depot_staging_path(
	const struct depot *s, const struct digest *id, const char *rest, char *out);
// Interrupted attempts but that of `but`, newest first, at most max. Reads the folder alone, so it
// may be asked from the pool.
size_t depot_staged(
	const struct depot *s, const struct digest *but, struct digest *out, size_t max);
const char *depot_kind_folder(enum package_kind kind);

// Verifies a manifest envelope against the root by the keys of its kind and the package id.
// out lives in a; *payload borrows from envelope.
// Errors: ERR_AUTH (signature), ERR_CORRUPT (another package), ERR_FORMAT, ERR_RANGE.
enum err manifest_open(const struct root *root, struct bytes envelope, const struct digest *id,
	struct arena *a, struct manifest *out) MUST_CHECK;
// The same from packages/<id>/manifest.
enum err depot_manifest(const struct depot *s, const struct digest *id, struct arena *a,
	struct manifest *out) MUST_CHECK;

// A page of a package or of an attempt, from its file; out lives in a. Its hash is the caller's
// affair. Errors: those of file_read; ERR_FORMAT, ERR_RANGE, ERR_MEMORY.
enum err page_file_read(const char *path, struct arena *a, struct manifest_page *out) MUST_CHECK;

// The package a slot's link names. Errors: ERR_NOT_FOUND.
enum err depot_slot(const struct depot *s, enum package_kind kind, const char *name,
	enum slot_link which, struct digest *out) MUST_CHECK;
// Software that is switched to now: versions in a. At most LIMIT_SOFTWARE.
void depot_software(
	const struct depot *s, struct arena *a, struct software_version **out, size_t *count);

// current -> id, previous -> what was current. Nothing changes when it is current already.
enum err depot_activate(struct depot *s, enum package_kind kind, const char *name,
	const struct digest *id) MUST_CHECK;
// next -> id: held for later.
enum err depot_keep(struct depot *s, enum package_kind kind, const char *name,
	const struct digest *id) MUST_CHECK;

// Removes packages that no slot names, and staging but `keep` (may be NULL) and the newest others.
enum err depot_collect(struct depot *s, const struct digest *keep, size_t staging_kept) MUST_CHECK;

#endif
