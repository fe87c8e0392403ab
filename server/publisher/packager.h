// The packager: files in, a package out: manifest root, index, and every object in the object
// store.
//
// Two passes. The first reads each file once, but for those that are as they were when they were
// seen last (seen.h), cuts and hashes it, writes the objects of large
// chunks that the store does not yield yet, and keeps the plain bytes of small chunks in a spool.
// The manifest is then known, and with it what stands on which page; the second pass packs the
// small chunks of each page into objects of at least OBJECT_PACK_MIN and writes the index.
//
// A group of small chunks holds either only chunks that the store already yields or only new ones:
// whoever has the version before never fetches old bytes with the new. Objects of earlier packages
// are used again wherever their run of chunks is found.
//
// Runs on libuv's pool; touches no row. Equal input gives the equal package id.
#ifndef HELIO_PUBLISHER_PACKAGER_H
#define HELIO_PUBLISHER_PACKAGER_H

#include "proto/content.h"
#include "server/publisher/blob_store.h"
#include "server/publisher/known.h"
#include "server/publisher/seen.h"
#include "server/publisher/software_tree.h"

struct pack_file {
	const char *path;             // ascending; borrowed
	struct digest image;          // from the image store, when tree is NULL
	const struct tree_file *tree; // from the folder
	uint64_t size;
	struct picture_info *picture; // NULL for software
};

struct pack_job {
	struct manifest info; // kind, name, version ...; borrowed
	const struct pack_file *files;
	size_t file_count;
	int root_fd;      // folder of tree files
	bool single_file; // root_fd is the one file itself
	struct blob_store *images, *objects;
	const struct known *known; // not changed while the job runs
	struct object_profile profile;
	bool small; // all chunks in groups of OBJECT_OUTPUT_MAX: least bytes for a first install
	const struct key32 *key; // the package is sealed with it; NULL: it is not
	const struct seen *seen; // of the package before, with a key; NULL: nothing is remembered
	bool read_all;           // also what the stamp says is unchanged
	_Atomic uint64_t *done_bytes; // progress; may be NULL
	_Atomic bool *cancel;         // may be NULL
};

struct package_built {
	struct digest id;
	struct buf manifest; // payload to be signed by the release
	struct buf index;    // payload to be signed by the publisher
	uint64_t size_bytes, object_bytes, new_bytes;
	uint32_t file_count, chunk_count;
	struct known objects; // a set: every object of the package, in order of sending
	struct known fresh;   // those that were not in the store, with their chunks
	struct seen seen;     // every file of the tree, when the job remembers
	uint64_t read_bytes;  // the others were not read
};

// On success everything fresh is on the disk (blob_sync). On failure what was written is removed.
// Errors: ERR_FORMAT, ERR_RANGE, ERR_FULL (limits), ERR_NOT_NOW (a file changed, or cancelled),
// ERR_NO_SPACE, ERR_READ_ONLY, ERR_CORRUPT (a stored picture), ERR_IO.
enum err package_build(const struct pack_job *job, struct package_built *out) MUST_CHECK;
void package_built_fini(struct package_built *b);
// Removes the fresh objects again: the package is not wanted, or its rows could not be written.
void package_built_undo(const struct pack_job *job, const struct package_built *b);

#endif
