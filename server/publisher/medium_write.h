// Writes what lies on a medium: a folder, or an ISO 9660 image with Rock Ridge and Joliet names.
// Blocking: runs on the pool.
#ifndef HELIO_PUBLISHER_MEDIUM_WRITE_H
#define HELIO_PUBLISHER_MEDIUM_WRITE_H

#include "blob_store.h"
#include "proto/base/clock.h"
#include "proto/medium.h"
#include "proto/topics.h"

struct medium_entry {
	char path[LIMIT_TOPIC];
	struct bytes bytes;   // borrowed; empty: the blob
	struct digest object; // of the publisher's objects
	uint32_t size;        // of the blob
};

struct medium_content {
	const struct medium_entry *entries; // by rising path
	size_t count;
	struct blob_store *objects;
	const char *volume;         // at most 32 of A-Z 0-9 _
	struct wall created;        // what every file says of its time
	const _Atomic bool *cancel; // ends the writing with ERR_CLOSED; may be NULL
};

// To be asked before each entry. Errors: ERR_CLOSED.
static inline enum err medium_check(const struct medium_content *m)
{
	return m->cancel && *m->cancel ? err_set(ERR_CLOSED, "the publisher ends") : ERR_OK;
}

// path appears by rename when it is whole and on the disk. Errors: ERR_NO_SPACE, ERR_READ_ONLY,
// ERR_IO, ERR_NOT_FOUND and ERR_CORRUPT (an object).
enum err medium_write_folder(const struct medium_content *m, const char *path) MUST_CHECK;
enum err medium_write_iso(const struct medium_content *m, const char *path, struct digest *sha256,
	uint64_t *size) MUST_CHECK;
// Into an empty file that is open for reading and writing.
enum err medium_write_image(
	const struct medium_content *m, int fd, struct digest *sha256, uint64_t *size) MUST_CHECK;
// One entry after the other: size of the path (2 bytes), of the content (4), path, content; the
// lowest byte first; a last path of no bytes. For a reader that has rights which we have not, and
// who takes something every patience_ms, or gets no more: others wait for their turn. Errors:
// ERR_TIMEOUT.
#define MEDIUM_PATIENCE_MS 120000
enum err medium_write_stream(
	const struct medium_content *m, int fd, uint32_t patience_ms, uint64_t *size) MUST_CHECK;

#endif
