// The staging folder of one package, page by page. Blocking: runs in libuv's pool.
//
// The data is its own witness: there is no list of what came. Whoever goes on after a cut hashes
// what stands in the files, and what a hash confirms is not fetched again. Chunks that an installed
// package, an interrupted attempt at another one, an earlier page of this one or a seed holds are
// read from there, hashed, and written; a whole file that an installed package holds is linked.
// What is left is the list of what must be fetched.
//
// Memory: one page at a time, its plan, and one bit for every chunk of the package.
#ifndef HELIO_CLIENT_STAGING_H
#define HELIO_CLIENT_STAGING_H

#include "client/depot.h"
#include "client/look.h"
#include "client/seed_source.h"
#include "proto/content.h"

// What an installed package no longer holds although its manifest says so: a disk that forgets, or
// somebody who wrote there. Nothing wrong comes of it; it is told.
#define ROT_MAX 64
struct rot {
	struct digest package; // of the first
	struct digest chunks[ROT_MAX];
	uint32_t count; // different chunks; ROT_MAX: or more
};
// r: may be NULL.
void rot_note(struct rot *r, const struct digest *package, const struct digest *chunk);

struct staging {
	struct rot *rot;     // borrowed; NULL: nobody asks
	struct look *look;   // borrowed; NULL: nobody waits
	struct depot *store; // borrowed; only its paths and list of packages are used
	struct digest id;
	struct manifest manifest; // points into memory of the owner
	uint8_t *present;         // one bit a chunk, pages one after the other; owned
	uint32_t *page_first;     // bit of the first chunk of each page, page_count + 1; owned
	uint32_t page_known;      // pages whose plan was made and whose bits are right
	uint32_t have;            // bits set
	bool resumed;             // something stood there before
	uint64_t copied_bytes;    // found on this device instead of fetched
	bool seeds_listed;        // by the first page that lacked something
	struct seed_source seeds;
};

// A page at work. Everything in arena `a` until the next page.
struct staged_page {
	struct arena *a;
	uint32_t number;
	struct manifest_page page;
	struct page_plan plan;
	uint32_t *place_first; // chunk -> places: place_of[place_first[c] .. place_first[c + 1])
	uint32_t *place_of;
	bool *linked; // file: is another package's inode, never written
};

struct staging_order {
	struct digest id;
	const struct manifest *manifest; // decoded and checked
	struct bytes envelope;           // its signed bytes
	uint64_t reserve_bytes;          // of the disk, beyond what is missing
	struct look *look;               // may be NULL
};

// Makes the folder, checks the space, looks at what stands there.
// Errors: ERR_NO_SPACE, ERR_READ_ONLY, ERR_IO, ERR_MEMORY, ERR_CLOSED.
enum err staging_open(
	struct staging *s, struct depot *store, const struct staging_order *order) MUST_CHECK;
void staging_close(struct staging *s);
// Removes the folder.
enum err staging_drop(const struct depot *store, const struct digest *id) MUST_CHECK;

// True when page `number` lies there whole; then `out` is not needed from the broker.
bool staging_has_page(const struct staging *s, uint32_t number);
// The plain bytes of a page, hash checked by the caller.
enum err staging_put_page(struct staging *s, uint32_t number, struct bytes plain) MUST_CHECK;

// Plans the page, makes its files, marks what is there, and looks for the rest on this device.
// carry: after the page before; moved on. Errors: ERR_FORMAT, ERR_RANGE (a page that lies),
// ERR_NO_SPACE, ERR_IO, ERR_MEMORY, ERR_FULL, ERR_CLOSED.
enum err staging_begin_page(struct staging *s, uint32_t number, struct arena *a,
	struct page_carry *carry, struct staged_page *out) MUST_CHECK;

bool staging_has_chunk(const struct staging *s, uint32_t page, uint32_t chunk);
void staging_mark(struct staging *s, uint32_t page, uint32_t chunk);
uint32_t staging_page_missing(const struct staging *s, const struct staged_page *p);

// The file that was written to last: who writes chunk after chunk opens it once. Of one thread and
// one page; closed before the package is installed, for nobody may run what is open for writing.
struct staging_pen {
	int fd; // -1: none
	uint32_t file;
};
#define STAGING_PEN ((struct staging_pen){.fd = -1})
void staging_pen_close(struct staging_pen *pen);

// Writes verified chunks [first, first + count) to all their places. Does not mark them. Several
// threads may write different chunks, each with a pen of its own.
enum err staging_write(const struct staging *s, const struct staged_page *p,
	struct staging_pen *pen, uint32_t first, uint32_t count, struct bytes plain) MUST_CHECK;

// A chunk that stands there, as the disk has it: hashing is the caller's. out: as long as the
// chunk.
enum err staging_read(const struct staging *s, const struct staged_page *p, uint32_t chunk,
	uint8_t *out) MUST_CHECK;

// Tells the kernel to begin writing these files of the page to the disk; the fsync of the
// installation then finds little left. Only a hint.
void staging_flush(
	const struct staging *s, const struct staged_page *p, const uint32_t *files, size_t count);

// A name in the package's folder for a link that is to take a file's place.
void staging_link_path(const struct staging *s, char *out);

// local_source.c: fills chunks of p from installed packages, interrupted attempts, earlier pages
// and seeds; marks them.
enum err staging_fill_local(struct staging *s, struct staged_page *p) MUST_CHECK;

#endif
