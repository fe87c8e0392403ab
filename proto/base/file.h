// Files that survive a power cut. Everything that must last is written to a temporary name,
// fsynced, renamed, and the folder fsynced: the old content or the new one, never neither.
#ifndef HELIO_BASE_FILE_H
#define HELIO_BASE_FILE_H

#include "proto/base/mem.h"
#include <dirent.h>
#include <sys/types.h>

// Creates dir and its parents, 0700. An existing folder is kept as it is.
enum err dir_make(const char *dir) MUST_CHECK;
enum err dir_sync(const char *dir) MUST_CHECK;
// Removes a tree; links are removed, never followed. Absent is success.
enum err tree_remove(const char *path) MUST_CHECK;

// Whole file into out, at most out->max bytes. Errors: ERR_NOT_FOUND, ERR_FULL, ERR_IO.
enum err file_read(const char *path, struct buf *out) MUST_CHECK;
// tmp + fsync + rename + fsync of the folder.
enum err file_write_atomic(const char *path, const void *data, size_t size, mode_t mode) MUST_CHECK;
// Refuses group- or world-readable files: for keys. Errors as file_read, ERR_DENIED.
enum err file_read_secret(const char *path, struct buf *out) MUST_CHECK;
// Writes all of it, retrying short writes.
enum err fd_write_all(int fd, const void *data, size_t size) MUST_CHECK;
enum err fd_pwrite_all(int fd, const void *data, size_t size, off_t at) MUST_CHECK;
// Fewer than size bytes is ERR_CORRUPT.
enum err fd_pread_all(int fd, void *data, size_t size, off_t at) MUST_CHECK;

// The next entry of a folder; *out NULL: it has no more. What cannot be listed is no end: without
// it, files that are there would be taken for absent. Errors: ERR_IO ..., that name `path`.
enum err folder_next(DIR *d, const char *path, const struct dirent **out) MUST_CHECK;

// A relative path of levels [A-Za-z0-9._-]{1,100} without a leading dot, at most 16 levels and
// 512 characters (attack C3: no other path ever reaches the file system).
bool path_is_safe(const char *relative);
// Joins into out. Errors: ERR_RANGE when it does not fit.
enum err path_join(char *out, size_t out_size, const char *dir, const char *name) MUST_CHECK;

// Holds an exclusive lock for the life of the process. Errors: ERR_EXISTS when another has it.
enum err lock_take(const char *path, int *fd) MUST_CHECK;

// Free bytes for an unprivileged writer.
enum err disk_free(const char *path, uint64_t *bytes) MUST_CHECK;

// Cryptographic randomness; aborts when the kernel has none.
void random_fill(void *out, size_t size);
uint64_t random_u64(void);

#endif
