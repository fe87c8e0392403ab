// What lies on a medium of one order or of several: the union of their signed orders, manifests,
// indexes and objects by path, each once, and one label for people.
#ifndef HELIO_PUBLISHER_MEDIUM_SET_H
#define HELIO_PUBLISHER_MEDIUM_SET_H

#include "medium_write.h"
#include "publisher.h"

#define MEDIUM_SET_MAX 256 // orders on one medium

struct medium_part;

struct medium_set {
	struct publisher *p;
	struct medium_part *parts; // owned, the newest first
	size_t part_count;
	struct medium_entry *entries;
	size_t count, cap;
	struct buf label;
	char volume[33];
	struct medium_content content; // after medium_set_finish; borrows all of the above
};

void medium_set_init(struct medium_set *s, struct publisher *p);
void medium_set_fini(struct medium_set *s);

// The envelope of a Medium, signed by an online key; what it says, in the arena. Errors: ERR_AUTH,
// ERR_FORMAT.
struct medium_order {
	struct bytes envelope; // borrowed
	struct medium says;
};
enum err medium_order_open(const struct publisher *p, struct bytes envelope, struct arena *a,
	struct medium_order *out) MUST_CHECK;

// held: packages that its client holds; objects whose every chunk is theirs are left out. Errors:
// ERR_NOT_FOUND (no such package), ERR_NOT_NOW (it is not signed), ERR_FULL.
enum err medium_set_add(struct medium_set *s, const struct medium_order *order,
	const struct digest *held, size_t held_count) MUST_CHECK;
// Label, order of paths, each path once.
enum err medium_set_finish(struct medium_set *s) MUST_CHECK;
// About how much it will take, after that.
uint64_t medium_set_bytes(const struct medium_set *s);

#endif
