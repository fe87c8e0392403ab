// The old package of a delta: its chunks one after the other in a file without a name, and an index
// of grams over them that says which old chunks have bytes in common with a run of new ones.
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
	int fd;
	uint64_t size;
	uint8_t *map;
	uint32_t *grams; // place / step + 1
	unsigned step;
	double *votes;     // of each chunk
	uint32_t *touched; // chunks with votes
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

// Ordinal, -1: not an old chunk.
int64_t delta_source_find(const struct delta_source *s, const struct digest *chunk);
// The chunks that help most to tell `plain`, ascending, of at most OBJECT_BASE_MAX bytes together.
// before, after: old ordinals of the new neighbours, -1: new or none.
size_t delta_source_pick(struct delta_source *s, struct bytes plain, int64_t before, int64_t after,
	uint32_t picks[DELTA_PICKS]);

#endif
