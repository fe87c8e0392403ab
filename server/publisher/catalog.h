// The pictures of the store in memory, as selection.h wants them, and the variants that were made
// of them: read in one go when something changed, so that an order costs a walk over memory and no
// query. About 300 bytes a picture.
#ifndef HELIO_PUBLISHER_CATALOG_H
#define HELIO_PUBLISHER_CATALOG_H

#include "server/publisher/selection.h"
#include "server/publisher/store.h"

struct library {
	struct arena words;
	struct catalog catalog;
	size_t cap;
	struct variant *variants; // sorted by image and sides
	size_t variant_count, variant_cap;
	// what goes out on screens of this size, computed once for all orders that share it
	struct shipped *shipped[SELECTION_FITS];
	uint32_t screen_w, screen_h;
	bool shipped_valid;
};

void library_init(struct library *l);
void library_fini(struct library *l);
// Errors: ERR_MEMORY, those of the store; the library is empty then.
enum err library_load(struct library *l, struct store *s) MUST_CHECK;
// What criteria look at: texts are those of i, tags those given (i->tag_count of them).
struct criteria_picture image_facts(const struct image *i, const char *const *tags);
// A variant was made. Errors: ERR_MEMORY.
enum err library_variant_add(struct library *l, const struct variant *v) MUST_CHECK;

// Borrowed until the next call or change. Errors: ERR_MEMORY.
enum err library_shipped(struct library *l, uint32_t screen_w, uint32_t screen_h,
	const struct shipped *out[SELECTION_FITS]) MUST_CHECK;
// The place of an image in the catalog. Errors: ERR_NOT_FOUND.
enum err library_find(const struct library *l, const struct digest *image, size_t *at) MUST_CHECK;

#endif
