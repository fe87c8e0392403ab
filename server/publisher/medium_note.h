// The note beside a medium (7.iso.recorded): what was recorded, and which file or folder that is.
// What bears the name of a medium, and is not the one of the note, is somebody else's: an image
// that was unpacked, a copy that was put in its place.
#ifndef HELIO_PUBLISHER_MEDIUM_NOTE_H
#define HELIO_PUBLISHER_MEDIUM_NOTE_H

#include "proto/base/mem.h"

#define MEDIUM_NOTE ".recorded" // behind the name of the medium

struct medium_note {
	struct digest sha256; // zero: a folder
	uint64_t size;
	uint64_t inode;  // 0: an older note, which does not say
	int64_t born_ns; // numbers of inodes are given again; 0: the file system does not say
};

// inode, born_ns of what lies at this path. Errors: ERR_NOT_FOUND, ERR_IO ...
enum err medium_note_mark(struct medium_note *n, const char *medium) MUST_CHECK;
enum err medium_note_write(const struct medium_note *n, const char *path) MUST_CHECK;
// Errors: ERR_NOT_FOUND, ERR_IO ..., ERR_FORMAT.
enum err medium_note_read(struct medium_note *n, const char *path) MUST_CHECK;
// What lies there now is the very one; of an older note: something lies there.
bool medium_note_is_of(const struct medium_note *n, const char *medium);

#endif
