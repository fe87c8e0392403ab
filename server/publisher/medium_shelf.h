// The media that were recorded and are kept, in medium_dir: an image or a folder, its signed order
// (N.order), what was recorded (N.iso.recorded, N.recorded), and since when nobody needs it
// (N.ended). People come here too, and unpack and copy: a medium is ours while it is the very file
// or folder of its note; and what is being made lies in .making, where nothing is anybody else's.
//
//   recorded -> kept -> the server says that the order is over -> medium_keep_s later, or as soon
//   as room is wanted, it goes
//
// A medium that is still needed never goes by itself: when those take medium_bytes_max, the next
// one is not recorded, and the server is told why. Each session and each hour the server is told of
// all that is kept, and answers for those that are over.
#ifndef HELIO_PUBLISHER_MEDIUM_SHELF_H
#define HELIO_PUBLISHER_MEDIUM_SHELF_H

#include "publisher.h"
#include <limits.h>

#define SHELF_MAX 100000 // media kept at a time

struct medium_shelf;

// Takes the folder for this publisher alone (.lock), and reads what lies there. What a crash left
// half made goes, and is made again when the server asks again; so does an order that nobody
// recorded within medium_keep_s. A folder that cannot be used is a warning: it is tried again for
// each medium. Errors: ERR_EXISTS (it is that of another publisher, which runs), ERR_MEMORY. *out
// is to be freed after an error too, unless it is NULL.
enum err shelf_open(struct publisher *p, struct medium_shelf **out) MUST_CHECK;
void shelf_free(struct medium_shelf *s);

// Where media lie; ending: "", ".iso", ".order" ... Errors: ERR_RANGE.
enum err shelf_path(const struct publisher *p, uint64_t order, const char *ending,
	char out[PATH_MAX]) MUST_CHECK;
// Where they are made; the same file system.
enum err shelf_making_path(const struct publisher *p, uint64_t order, const char *ending,
	char out[PATH_MAX]) MUST_CHECK;
// A small file that is replaced as a whole.
enum err shelf_file_put(const struct publisher *p, uint64_t order, const char *ending,
	const void *data, size_t size) MUST_CHECK;
// What was made as a whole takes its place, and then its note. kind: "" or ".iso". Errors:
// ERR_EXISTS (something of that name lies there, and stays).
enum err shelf_place(const struct publisher *p, uint64_t order, const char *kind,
	const struct digest *sha256, uint64_t size) MUST_CHECK;

// Before something is made there. Errors: as shelf_open, and why the folder cannot be used.
enum err shelf_ready(struct medium_shelf *s) MUST_CHECK;
// Room for a medium of about so many bytes. Errors: ERR_FULL, with a sentence.
enum err shelf_room(struct medium_shelf *s, uint64_t bytes) MUST_CHECK;
void shelf_add(struct medium_shelf *s, uint64_t order, uint64_t bytes);
void shelf_ended(struct medium_shelf *s, uint64_t order);
// A session began: everything is told once more.
void shelf_session(struct medium_shelf *s);
void shelf_tick(struct medium_shelf *s, struct now now);

#endif
