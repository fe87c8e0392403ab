// How a picture meets a screen: pure geometry. Which part of the picture is taken, and which part
// of the screen it covers. What it does not cover shows the background.
#ifndef HELIO_DISPLAY_FIT_H
#define HELIO_DISPLAY_FIT_H

#include "proto/base/mem.h"

enum fit {
	FIT_CONTAIN, // all of the picture, as large as it goes ("fit", "contain")
	FIT_FILL,    // all of the screen, the picture cropped evenly
	FIT_STRETCH, // all of both, the shape gives way
	FIT_CENTER,  // pixel for pixel, cropped evenly when larger
};

struct fit_plan {
	double crop_x, crop_y, crop_w, crop_h; // of the picture, pixels
	uint32_t x, y, w, h;                   // of the screen, pixels
};

// Sizes are at least 1. w and h are at least 1 and lie inside the box.
struct fit_plan fit_make(
	enum fit fit, uint32_t picture_w, uint32_t picture_h, uint32_t box_w, uint32_t box_h);

// "fit" and "contain" are the same. Returns false for any other word.
bool fit_parse(const char *word, enum fit *out);
const char *fit_word(enum fit fit);

#endif
