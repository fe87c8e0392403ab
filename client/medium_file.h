// Files of a medium: regular ones, below its folder, of a bounded size. Links, pipes and devices
// are refused, whatever they are called.
#ifndef HELIO_CLIENT_MEDIUM_FILE_H
#define HELIO_CLIENT_MEDIUM_FILE_H

#include "proto/base/mem.h"

#include <dirent.h>

// Appends nothing on error. ERR_IO is of the medium: it was pulled, or is worn. What is odd about one
// name is ERR_DENIED (no regular file, behind a link, no right), ERR_FULL (more than out->max),
// ERR_CORRUPT (it becomes shorter); ERR_NOT_NOW is ours, and another try may do (no descriptor is
// left, a name was changed meanwhile). And ERR_NOT_FOUND, ERR_MEMORY.
enum err medium_file_read(const char *dir, const char *path, struct buf *out) MUST_CHECK;

// The folder, to be closed by the caller. Errors: as medium_file_read.
enum err medium_folder_open(const char *dir, const char *path, DIR **out) MUST_CHECK;

// Replaces the file as a whole by what `fill` writes, with the folders on the way to it. Errors:
// ERR_READ_ONLY, ERR_NO_SPACE, ERR_DENIED (a link on the way, or no right), ERR_IO, those of fill.
enum err medium_file_put(const char *dir, const char *path, void *ctx,
	enum err (*fill)(void *ctx, int fd)) MUST_CHECK;

// An ISO 9660 image becomes a folder: only names that a medium has, only regular files, at most
// so many files, folders and bytes. into: made here, and to be removed by the caller, also after an
// error. Errors: ERR_FORMAT (no image, or one that was cut), ERR_DENIED (a name, a link), ERR_FULL,
// ERR_IO.
struct medium_most {
	size_t files, folders;
	uint64_t bytes;
};
enum err medium_image_open(
	const char *image, const char *into, const struct medium_most *most) MUST_CHECK;

#endif
