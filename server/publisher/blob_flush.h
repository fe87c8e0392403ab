// Brings to the disk what is put into a store while more is put, so that who waits for the last of
// it waits for little: a thread that syncs the store each time enough has come together.
#ifndef HELIO_PUBLISHER_BLOB_FLUSH_H
#define HELIO_PUBLISHER_BLOB_FLUSH_H

#include "server/publisher/blob_store.h"

struct blob_flush;

// watch: borrowed. Errors: ERR_MEMORY.
enum err blob_flush_begin(struct blob_store *s, int watch, struct blob_flush **out) MUST_CHECK;
// So much was put. From any thread.
void blob_flush_put(struct blob_flush *f, size_t bytes);
// Everything put is on the disk, and f is freed. Errors: of any sync since the beginning.
enum err blob_flush_end(struct blob_flush *f) MUST_CHECK;
// Frees f without the last sync; NULL: does nothing.
void blob_flush_drop(struct blob_flush *f);

#endif
