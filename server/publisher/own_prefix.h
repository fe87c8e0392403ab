// What an object of the small profile is told with: earlier chunks of its own package.
//
//   spool of plain chunks -> as far as objects were made: delta_source -> votes for the run at hand
//     -> the best of them, and the bytes just before -> names in the object, prefix for the encoder
//
// A first install so costs about what one zstd stream over the whole package would, although each
// object stands for itself and none needs more than 2 MiB. How deep objects rest on one another
// within a page is kept below OBJECT_WAVES: once half of that is reached, it falls back to the half
// every so many objects, so that there is always much to choose from.
#ifndef HELIO_PUBLISHER_OWN_PREFIX_H
#define HELIO_PUBLISHER_OWN_PREFIX_H

#include "server/publisher/delta_source.h"
#include "server/publisher/known.h"

#define OWN_PICKS 192

struct own_prefix {
	struct delta_source source;
	uint32_t *ordinal; // of each chunk told of, on the page at hand; OWN_EARLIER: before it
	uint8_t *barred;   // of each: too deep for the object at hand, or taken
	uint32_t *on_page; // chunk of each ordinal of the page at hand
	uint8_t *wave;     // of its object
	size_t page_count, page_cap;
	uint32_t objects; // of the page at hand
	uint32_t picks[OWN_PICKS];
	struct digest names[OWN_PICKS]; // of the picks, in order of the prefix
	uint32_t sizes[OWN_PICKS];
	size_t pick_count;
	struct buf prefix;
};

// spool: chunks one after the other, each once, in order of first appearance. Errors: ERR_FULL (too
// large), ERR_MEMORY.
enum err own_prefix_open(struct own_prefix *p, int spool, uint64_t size, size_t chunks) MUST_CHECK;
void own_prefix_close(struct own_prefix *p);
// The next page, of so many chunks, begins.
enum err own_prefix_page(struct own_prefix *p, size_t chunks) MUST_CHECK;

// Chooses what helps to tell `plain`: names it in o (lists in a), names[] and sizes[], and joins
// it in p->prefix; nothing helps: pick_count is 0.
enum err own_prefix_choose(
	struct own_prefix *p, struct arena *a, struct bytes plain, struct object *o) MUST_CHECK;
// Whether an object of an earlier package can be told here, with what it was told with then.
bool own_prefix_fits(struct own_prefix *p, const struct known *k, const struct known_object *o,
	const struct digest *pad);
// Names it in `out`. It fits.
enum err own_prefix_name(struct own_prefix *p, struct arena *a, const struct known *k,
	const struct known_object *o, const struct digest *pad, struct object *out) MUST_CHECK;

// The object stands in the index: its chunks, each at a place of the spool, may be used.
struct own_chunk {
	struct chunk_ref ref;
	uint64_t at;
};
unsigned own_prefix_wave(const struct own_prefix *p, const struct object *o);
void own_prefix_tell(
	struct own_prefix *p, const struct own_chunk *c, uint32_t ordinal, unsigned wave);
void own_prefix_object_made(struct own_prefix *p);

#endif
