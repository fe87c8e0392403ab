// The delta of a package from an older one: an index that yields what the older one does not have,
// and its objects.
//
// New chunks that are neighbours are taken together, up to 1 MiB; the old chunks that have most
// bytes in common with them, up to 2 MiB, are what they are told with (object_encode_delta). Where
// objects of the full package serve as cheaply, those are listed, and nothing new lies on the
// broker. Pages of the manifest travel the same way, from the old page that resembles them most.
//
// Runs on a thread of its own; reads and adds blobs, touches no row.
#ifndef HELIO_PUBLISHER_DELTA_BUILD_H
#define HELIO_PUBLISHER_DELTA_BUILD_H

#include "blob_store.h"
#include "proto/content.h"

struct delta_job {
	struct blob_store *objects;
	struct buf manifest, index;           // payloads of the new package
	struct buf base_manifest, base_index; // of the old one
	_Atomic bool *cancel;                 // may be NULL
};

struct delta_object {
	struct digest sha256;
	uint32_t size_bytes;
	bool fresh; // written by this job; else an object of the full package
};

struct delta_built {
	struct digest package, base;
	struct buf index;             // payload to be signed by the publisher
	struct delta_object *objects; // each once, in order of sending
	size_t count, cap;
	uint64_t object_bytes, new_bytes;
};

// On success everything is on the disk. On failure some of it may lie there, and no row names it:
// the sweep at the next start finds it. Errors: as package_reader and delta_source; ERR_FULL (the
// index has no room), ERR_NOT_NOW (cancelled).
enum err delta_build(struct delta_job *job, struct delta_built *out) MUST_CHECK;
void delta_built_fini(struct delta_built *b);

#endif
