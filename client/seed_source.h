// What lies on this device beside packages and may hold chunks of one: the software it was made
// with, the release that runs. [agent] seed names folders and files.
//
//   first page that lacks something -> every file: its chunks from the list that was kept (the same
//     file by device, inode, size and times), or cut and hashed -> chunks by hash; the list kept
//   that page and each later one    -> chunks it lacks that are among them: read, hashed again
//
// Files are cut where a publisher cuts them, so equal stretches are equal chunks. Nothing is
// believed for having been listed: a seed may change at any time, and then serves no more. Links
// are not followed and other file systems not entered. Bounded: SEED_CHUNKS_MAX, then the rest is
// not looked at. What was hashed when it is ended stays listed.
#ifndef HELIO_CLIENT_SEED_SOURCE_H
#define HELIO_CLIENT_SEED_SOURCE_H

#include "client/look.h"
#include "client/seed_list.h"
#include "proto/content.h"

#define SEED_CHUNKS_MAX 65536 // some 12 GB; 24 bytes each, for as long as a fetch lasts
#define SEED_FILE_LEAST 4096  // smaller ones are fetched: they cost less than the list

struct seed_chunk {
	uint64_t hash; // the first bytes of its digest
	uint64_t offset;
	uint32_t file;
};

struct seed_source {
	struct seed_chunk *chunks; // by hash
	size_t count, cap;
	char **files;
	size_t file_count, file_cap;
	size_t hashed; // chunks that no list told
};

struct seed_places {
	char *const *paths;
	size_t count;
	const char *list; // where the list is kept; NULL: nowhere
};

// Blocking, and long the first time. A path that is not there, or may not be read, is left out.
// look: may be NULL. Errors: ERR_MEMORY; ERR_CLOSED: it was ended.
enum err seed_source_open(
	struct seed_source *s, const struct seed_places *places, struct look *look) MUST_CHECK;
void seed_source_close(struct seed_source *s);
// The chunk's bytes into out[c->size]: hashed now. False: no seed has it any more, or ever had.
bool seed_source_read(const struct seed_source *s, const struct chunk_ref *c, uint8_t *out);

#endif
