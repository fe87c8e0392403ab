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

// Whole and on the disk after ERR_OK; after an error nothing is left there. What was there before
// is lost. Errors: ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO, ERR_NOT_FOUND and ERR_CORRUPT (an object).
enum err medium_write_folder(const struct medium_content *m, const char *path) MUST_CHECK;
enum err medium_write_iso(const struct medium_content *m, const char *path, struct digest *sha256,
	uint64_t *size) MUST_CHECK;
// Into an empty file that is open for reading and writing.
//
// While an image is written it takes its size twice, there and in a file without a name in $TMPDIR:
// the folders of ISO 9660 stand before the files and say where each lies, so libarchive takes all
// content first, and copies it afterwards. Nothing of that can be linked, renamed or cloned
// instead: the file that it collects in is closed to us and has no frame around its content, and
// objects of the store, whose files could be cloned block by block, begin in an image at sectors of
// 2048 bytes, half of them inside of a block. Only a writer of ISO 9660 of our own would do
// without. A folder takes its size once.
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
