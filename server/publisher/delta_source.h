// The old package of a delta, or what stands before an object in its own package: its chunks one
// after the other in a file without a name, and an index of grams over them that says which old
// chunks have bytes in common with a run of new ones.
//
// A gram is 16 bytes at every eighth place (more seldom in a package of gigabytes); a match of one
// is followed as far as it goes, and its length is a vote for the chunks it lies in. Distinct
// chunks in order of first appearance: neighbours in the file are neighbours here.
#ifndef HELIO_PUBLISHER_DELTA_SOURCE_H
#define HELIO_PUBLISHER_DELTA_SOURCE_H

#include "package_reader.h"

struct delta_old {
	struct digest sha256;
	uint32_t size;
	uint64_t at; // in delta_source.map
};

struct delta_source {
	struct delta_old *chunks;
	size_t count, cap;
	struct delta_old *pages; // the manifest's, as they lie there
	size_t page_count;
	uint32_t *slots; // by digest, ordinal + 1
	size_t slot_count;
	uint64_t odd; // digest_place
	int fd;
	uint64_t size;
	uint8_t *map;
	uint64_t map_size;
	uint32_t *grams; // place / step + 1
	unsigned step;
	const uint8_t *barred; // chunks that are not to be picked; NULL: all may be
	double *votes;         // of each chunk
	uint32_t *touched;     // chunks with votes
	size_t touched_count;
};

#define DELTA_SOURCE_MAX (UINT64_C(4) << 30) // plain bytes of an old package
#define DELTA_PICKS 24                       // old chunks an object may name

// Reads the whole package. dir: where the file without a name lies. Errors: ERR_FULL (too large),
// those of package_reader, ERR_NOT_NOW (cancelled), ERR_NO_SPACE. After an error
// delta_source_close is still to be called.
enum err delta_source_open(struct delta_source *s, const char *dir, struct package_reader *old,
	_Atomic bool *cancel) MUST_CHECK;
void delta_source_close(struct delta_source *s);

// The same over `size` bytes of a file that is whole, whose chunks are told of one after the other
// as they may be used. fd: borrowed until this returns. Errors: ERR_FULL, ERR_MEMORY.
enum err delta_source_watch(
	struct delta_source *s, int fd, uint64_t size, size_t chunks) MUST_CHECK;
// The next chunk; `at` rises. There already: nothing changes. Returns its ordinal.
size_t delta_source_tell(struct delta_source *s, const struct chunk_ref *c, uint64_t at);

// Ordinal, -1: not an old chunk.
int64_t delta_source_find(const struct delta_source *s, const struct digest *chunk);
// The chunks that help most to tell `plain`, ascending, of at most OBJECT_BASE_MAX bytes together.
// before, after: old ordinals of the new neighbours, -1: new or none.
size_t delta_source_pick(struct delta_source *s, struct bytes plain, int64_t before, int64_t after,
	uint32_t picks[DELTA_PICKS]);
// At most `max` that have at least `least` bytes in common with `plain`, best first, of at most
// OBJECT_BASE_MAX bytes together.
size_t delta_source_best(
	struct delta_source *s, struct bytes plain, double least, uint32_t *picks, size_t max);

#endif
