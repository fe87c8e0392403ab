// Plain chunks, one after the other, each once, in a file without a name: on the disk of the folder
// it is opened in, or in memory where that file system has no such files.
#ifndef HELIO_PUBLISHER_SPOOL_H
#define HELIO_PUBLISHER_SPOOL_H

#include "known.h"

struct spool {
	int fd; // -1: not open
	uint64_t size;
	struct known chunks; // object i is one chunk, which begins at places[i]
	uint64_t *places;
	size_t cap;
};

// The file alone. Errors: ERR_IO ...
enum err spool_file(const char *dir, int *fd) MUST_CHECK;

// Not open, and empty: closing does nothing, and nothing is found.
void spool_init(struct spool *s);
// Errors: those of spool_file.
enum err spool_open(struct spool *s, const char *dir) MUST_CHECK;
void spool_close(struct spool *s);

// plain: c->size bytes. A chunk that is there already is not written again. place may be NULL.
// Errors: ERR_MEMORY, ERR_NO_SPACE, ERR_IO.
enum err spool_put(struct spool *s, const struct chunk_ref *c, const uint8_t *plain,
	uint64_t *place) MUST_CHECK;
bool spool_find(const struct spool *s, const struct chunk_ref *c, uint64_t *place);
// Appends `size` bytes from `place` on. Errors: ERR_FULL (out's limit), ERR_IO.
enum err spool_read(
	const struct spool *s, uint64_t place, uint32_t size, struct buf *out) MUST_CHECK;

#endif
