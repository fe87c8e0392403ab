// A package read back from the publisher's own store, page by page, as a device would read it: each
// object hashed, decoded and held against the manifest. Memory is one page and one object.
//
// Objects that are told with other chunks of the package can be read only after those: where one
// page has such, all pages are unpacked into a file without a name.
#ifndef HELIO_PUBLISHER_PACKAGE_READER_H
#define HELIO_PUBLISHER_PACKAGE_READER_H

#include "blob_store.h"
#include "proto/content.h"
#include "spool.h"

struct package_reader {
	struct blob_store *objects; // borrowed
	struct arena head, page_arena;
	struct manifest manifest;
	struct index index;
	struct object_decoder *decoder;
	struct page_carry carry;
	struct buf transported;
	// of the page that was read last; until the next one
	struct buf page_bytes;
	struct page_plan plan;
	struct index_page index_page;
	bool unpacks;
	struct spool earlier;  // plain chunks of unpacked pages
	uint64_t *page_places; // of the chunks of this page; in page_arena
	struct buf prefix, plain;
};

// dir of `objects` takes the file without a name. manifest, index: payloads as the store has them;
// copied. Errors: ERR_FORMAT, ERR_RANGE, ERR_MEMORY. After an error package_reader_close is still
// to be called.
enum err package_reader_open(struct package_reader *r, struct blob_store *objects,
	struct bytes manifest, struct bytes index) MUST_CHECK;
void package_reader_close(struct package_reader *r);
// Pages in order from 0. Errors: ERR_NOT_FOUND (an object was removed), ERR_CORRUPT ...
enum err package_reader_page(struct package_reader *r, uint32_t number) MUST_CHECK;
// What an object of the page yields; borrowed until the next call.
enum err package_reader_object(
	struct package_reader *r, const struct object *o, struct bytes *plain) MUST_CHECK;

#endif
