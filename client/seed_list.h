// What the seeds of this device hold, as it was found last: one file of the state folder.
//
//   head, per file {what stat said, its path, its chunks in order}, SHA-256 of all before
//
// A list that is damaged, of another program or of another byte order is an empty one: nothing is
// lost but the time to hash. Nothing is believed for being listed; see seed_source.h. Bounded by
// SEED_LIST_MAX; what does not fit is hashed anew.
#ifndef HELIO_CLIENT_SEED_LIST_H
#define HELIO_CLIENT_SEED_LIST_H

#include "proto/base/mem.h"

#include <sys/stat.h>

#define SEED_LIST_MAX (4u * 1024 * 1024)
#define SEED_FILES_MAX 16384

// A file with the same is taken for the same file.
struct seed_stamp {
	uint64_t dev, inode, size;
	int64_t modified_ns, changed_ns;
};

struct seed_entry {
	uint64_t hash; // the first bytes of its digest
	uint32_t size;
};

struct seed_record {
	const char *path; // into the bytes of the list
	struct seed_stamp stamp;
	const uint8_t *entries;
	uint32_t entry_count;
	struct bytes raw;
	bool seen;
};

struct seed_list {
	struct buf bytes;
	struct seed_record *records; // by path
	size_t count;
};

struct seed_stamp seed_stamp_of(const struct stat *st);
bool seed_stamp_equal(const struct seed_stamp *a, const struct seed_stamp *b);

// path NULL, or nothing usable there: an empty list. Errors: ERR_MEMORY.
enum err seed_list_read(struct seed_list *l, const char *path) MUST_CHECK;
void seed_list_close(struct seed_list *l);
// NULL: not listed, or another file by now.
struct seed_record *seed_list_find(struct seed_list *l, const char *path);
struct seed_entry seed_record_entry(const struct seed_record *r, uint32_t i);

// A new list, record after record: no more than can be read again.
struct seed_draft {
	struct buf bytes;
	size_t count;
};
void seed_draft_fini(struct seed_draft *d);
// Errors: ERR_FULL (the draft is as it was), ERR_MEMORY.
enum err seed_list_begin(struct seed_draft *out) MUST_CHECK;
enum err seed_list_add(struct seed_draft *out, const char *path, const struct seed_stamp *stamp,
	const struct seed_entry *entries, size_t count) MUST_CHECK;
enum err seed_list_add_raw(struct seed_draft *out, const struct seed_record *r) MUST_CHECK;
// Ends it and puts it in the place of the one before; out is as it was.
enum err seed_list_write(struct seed_draft *out, const char *path) MUST_CHECK;

#endif
