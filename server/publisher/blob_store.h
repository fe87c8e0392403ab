// A content-addressed folder: DIR/<first 2 hex digits>/<64 hex digits>. A file is written under a
// temporary name and renamed when it is whole, so a name that is there holds what it says, but for
// a power cut before blob_sync: rows are committed after it, and blob_sweep removes at start what
// no row names. Files are 0400. May be used from any thread.
#ifndef HELIO_PUBLISHER_BLOB_STORE_H
#define HELIO_PUBLISHER_BLOB_STORE_H

#include "proto/base/mem.h"

struct blob_store {
	char dir[512];
};

// Makes DIR when it is not there. Errors: ERR_RANGE (path too long), as dir_make.
enum err blob_store_open(struct blob_store *s, const char *dir) MUST_CHECK;

// Nothing half-written remains when it fails. Errors: ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO.
enum err blob_put(struct blob_store *s, const struct digest *name, struct bytes data) MUST_CHECK;
// The same from a descriptor, offset 0, exactly size bytes; on the disk when it returns.
enum err blob_put_fd(
	struct blob_store *s, const struct digest *name, int fd, size_t size) MUST_CHECK;
// Who puts opens a watch first (a descriptor, closed by the caller). Of writes that fail behind its
// back the kernel tells each descriptor once, and none that was opened when another had heard of
// it.
enum err blob_watch(struct blob_store *s, int *watch) MUST_CHECK;
// Everything put since the watch was opened is on the disk.
enum err blob_sync(struct blob_store *s, int watch) MUST_CHECK;

// Errors: ERR_NOT_FOUND.
enum err blob_open(struct blob_store *s, const struct digest *name, int *fd) MUST_CHECK;
// Whole, hashed again. Errors: ERR_NOT_FOUND, ERR_CORRUPT, ERR_FULL (out->max).
enum err blob_read(struct blob_store *s, const struct digest *name, struct buf *out) MUST_CHECK;
// Absent is success.
enum err blob_remove(struct blob_store *s, const struct digest *name) MUST_CHECK;

// Removes temporary files and everything that keep() does not want. Returns how many.
typedef bool blob_keep(void *ctx, const struct digest *name);
size_t blob_sweep(struct blob_store *s, blob_keep *keep, void *ctx);

#endif
