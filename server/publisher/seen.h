// What the files of a package were when they were read last, for the next package of that name.
//
//   rows (seen_store.c) -> struct seen, by path -> first pass of the packager:
//        the stamp of then    -> the file is not read: its chunks are those of then
//        another stamp        -> it is read, and hashed; as long as it goes on as it did, a chunk
//        is
//                                known by its mark: its end is not looked for, and only the hash of
//                                the file is made of it, not its own
//   first pass -> package_built.seen -> rows
//
// A stamp says that nothing changed only when the file had been left alone for a while before it
// was read (SEEN_SETTLE_MS): clocks of file systems are coarse, and what is written within one tick
// of being read has the stamp of what was read. And only when nobody could write to it any more as
// the reading began (tree_file_is_left_alone): a write takes any time behind its stamp. A mark is a
// one-time authenticator: under a key that follows from the store's own secret and the chunk's
// SHA-256, so that nobody can make another chunk that bears it. Of every file that is read the
// SHA-256 is of what was read, whatever the marks say.
#ifndef HELIO_PUBLISHER_SEEN_H
#define HELIO_PUBLISHER_SEEN_H

#include "proto/digest.h"
#include "server/publisher/software_tree.h"

#define SEEN_SETTLE_MS 2000

struct seen_chunk {
	struct digest sha256;
	uint32_t size;
	struct id16 mark;
};

struct seen_file {
	char *path; // owned
	uint64_t size;
	struct file_stamp stamp;
	bool settled; // the stamp can be relied on
	bool kept;    // not read: as it was seen before, and no more than the path stands here
	struct digest sha256;
	struct seen_chunk *chunks; // owned
	size_t chunk_count;
};

struct seen {
	struct seen_file *files; // ascending by path
	size_t count, cap;
	struct key32 key; // of marks
};

void seen_init(struct seen *s);
void seen_fini(struct seen *s);
// The next file in ascending order; its path is copied, its chunks too. Errors: ERR_MEMORY.
enum err seen_add(struct seen *s, const struct seen_file *f) MUST_CHECK;
// NULL: none of this path.
const struct seen_file *seen_find(const struct seen *s, const char *path);
// The listed file is still the one that was seen.
bool seen_is_same(const struct seen_file *seen, const struct tree_file *f);
// A file whose reading began at this time has been left alone for long enough.
bool seen_is_settled(const struct tree_file *f, int64_t began_unix_ms);
struct id16 seen_mark(struct onetime_mac *m, const struct key32 *key, const struct digest *sha256,
	struct bytes plain);

// Where a file that is read stands in what it was.
struct seen_follow {
	const struct seen_file *file; // NULL: it was not there
	size_t next;                  // chunk that would follow
	size_t met;                   // behind the last that was met
	bool lost;                    // it does not go on as it did
};
// The chunk that may come here. left: bytes of the file from here on that are at hand. NULL: none,
// or a cut here might depend on more than the bytes of the chunk.
const struct seen_chunk *seen_expected(const struct seen_follow *f, size_t left);
void seen_met(struct seen_follow *f);
void seen_missed(struct seen_follow *f);
// A chunk of this size was found here instead: is that the way back?
void seen_found(struct seen_follow *f, size_t size);

#endif
