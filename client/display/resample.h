// Streaming resampler: takes the rows of a picture from top to bottom, one at a time, and writes
// the part of it that a fit_plan names into a frame, at the size that the plan names. Memory is a
// few rows, whatever the picture's size.
//
// A picture that is several times too large is first averaged in blocks of whole pixels, then a
// Catmull-Rom kernel (widened when it shrinks) makes the rest: sharp, without stair-steps or moire.
#ifndef HELIO_DISPLAY_RESAMPLE_H
#define HELIO_DISPLAY_RESAMPLE_H

#include "client/display/fit.h"

// Pixels of a screen: 0x00RRGGBB, w * h of them, row by row.
struct frame {
	uint32_t *px;
	uint32_t w, h;
};

struct resample;

// Rows of picture_w x picture_h; the plan's x, y, w, h lie inside the frame. The frame is borrowed
// until resample_free. Errors: ERR_MEMORY.
enum err resample_new(uint32_t picture_w, uint32_t picture_h, const struct fit_plan *plan,
	struct frame frame, struct resample **out) MUST_CHECK;
// The next row: picture_w pixels of four bytes, red green blue and one that does not count.
void resample_row(struct resample *r, const uint8_t *rgbx);
// True when every pixel of the plan is written; more rows may still be given.
bool resample_is_done(const struct resample *r);
void resample_free(struct resample *r);

#endif
