// The media that were recorded and are kept, in medium_dir: an image or a folder, its signed order
// (N.order), what was recorded (N.iso.recorded, N.recorded), and since when nobody needs it
// (N.ended).
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

#define SHELF_MAX 100000 // media kept at a time

struct medium_shelf;

// Reads what lies there. A medium without its note was never told to anybody, because a crash came
// before that: it goes, whole or in part, and is made again when the server asks again. So does an
// order that nobody recorded within medium_keep_s. Errors: ERR_MEMORY.
enum err shelf_open(struct publisher *p, struct medium_shelf **out) MUST_CHECK;
void shelf_free(struct medium_shelf *s);

// Room for a medium of about so many bytes. Errors: ERR_FULL, with a sentence.
enum err shelf_room(struct medium_shelf *s, uint64_t bytes) MUST_CHECK;
void shelf_add(struct medium_shelf *s, uint64_t order, uint64_t bytes);
void shelf_ended(struct medium_shelf *s, uint64_t order);
// A session began: everything is told once more.
void shelf_session(struct medium_shelf *s);
void shelf_tick(struct medium_shelf *s, struct now now);

#endif
