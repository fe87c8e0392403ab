// Which pictures an order shows, in which order, and why each one is in or out. Pure: an order, the
// catalog and the time in, a selection out.
//
// A picture is taken by a plan when the plan's expression holds for it (criteria.h), it is not
// retired, not expired, and released within SELECTION_AHEAD_MS: devices keep its day themselves, so
// it is there in time without a network. Plans take theirs in their own order, within their own
// limits; one that is too large for what is left of a plan's bytes is passed over, a smaller one
// behind it is not. When the whole order takes only so many pictures, the plans take turns.
//
// The order of a plan: list (as they came into the store), newest (released, else added, last one
// first), weight (heaviest first, then list), shuffle (by a hash of seed and picture: a picture
// that is added or taken away moves no other).
//
// Sizes are those of the files that go out: pictures larger than the screens of the order are sent
// in a smaller variant. What was not made yet is counted as the picture is and told as `wanted`:
// make those, select again (requirements c9.c, c13).
#ifndef HELIO_PUBLISHER_SELECTION_H
#define HELIO_PUBLISHER_SELECTION_H

#include "proto/base/clock.h"
#include "proto/message.h"
#include "server/criteria.h"

#define SELECTION_AHEAD_MS (INT64_C(7) * 24 * 3600 * 1000)

struct catalog_image {
	struct digest sha256;
	struct criteria_picture facts; // texts live as long as the catalog
	uint32_t format;               // enum picture_format
	int64_t retired_unix_ms;
};

// In order of arrival.
struct catalog {
	struct catalog_image *images;
	size_t count;
};

// The sides a picture has on screens of screen_w x screen_h: false when it goes out as it is,
// because it is not (much) larger, or nothing is known of the screens, or it is shown as it is
// (center).
bool variant_size(uint32_t width, uint32_t height, uint32_t screen_w, uint32_t screen_h,
	const char *fit, uint32_t *to_width, uint32_t *to_height);

// What goes out of a picture, at [fit][image]: fit 0 fit, 1 fill and stretch, 2 center.
#define SELECTION_FITS 3
size_t fit_class(const char *fit);
// Of a plan in its order: its own fit, else the order's.
size_t plan_fit_class(const struct package_order *o, size_t part);
struct shipped {
	struct digest sha256;
	uint32_t width, height;
	uint64_t size_bytes;
	bool wanted; // not made yet: sides are those it is to have, size that of the picture
	bool broken; // cannot be made: is left out
};

enum selection_why {
	WHY_IN,
	WHY_NO_MATCH,
	WHY_EMPTY, // the plan has no expression
	WHY_UNREADABLE,
	WHY_RETIRED,
	WHY_EXPIRED,
	WHY_NOT_RELEASED,
	WHY_PLAN_OVER,
	WHY_PLAN_IMAGES,
	WHY_PLAN_BYTES,
	WHY_ORDER_IMAGES,
	WHY_BROKEN,
	WHY_COUNT
};

struct pick {
	uint32_t image, part; // in catalog and order
};

struct selection {
	struct arena words;
	struct pick *picks; // part after part
	size_t pick_count;
	uint32_t matched, included; // distinct pictures
	uint64_t size_bytes;        // distinct files
	int64_t change_unix_ms;     // when time alone changes it; 0: never
	uint8_t *why;               // [part * catalog.count + image], enum selection_why
	const char *warnings[LIMIT_WARNINGS];
	size_t warning_count;
};

// shipped[fit][image]. Errors: ERR_MEMORY, ERR_FULL (more than LIMIT_FILES). selection_fini always.
enum err selection_make(const struct package_order *o, const struct catalog *c,
	const struct shipped *const shipped[SELECTION_FITS], struct wall now,
	struct selection *out) MUST_CHECK;
void selection_fini(struct selection *s);

// One sentence about a picture in one plan: "`not night` does not hold".
void selection_explain(const struct package_order *o, const struct catalog *c,
	const struct selection *s, size_t part, size_t image, char out[LIMIT_TEXT + 1]);
// The plan that says most about it: one that takes it, else the one that came closest.
size_t selection_telling_part(const struct package_order *o, const struct selection *s,
	const struct catalog *c, size_t image);

// Whether what was selected fits: false with the word and figures as OrderOutcome.reason has them.
// max_bytes: of any package of this publisher.
bool selection_fits(const struct package_order *o, const struct selection *s, uint64_t max_bytes,
	char why[LIMIT_TEXT + 1]);

#endif
