// Drawing by program into a frame: gradients without bands, soft light, smooth lines, text. For the
// waiting picture; nothing here knows SDL.
#ifndef HELIO_DISPLAY_CANVAS_H
#define HELIO_DISPLAY_CANVAS_H

#include "client/display/resample.h"

struct canvas_stop {
	float at; // 0 the top, 1 the bottom
	uint32_t rgb;
};

struct canvas_text {
	float size;    // height of a capital, pixels
	float weight;  // width of the strokes, pixels
	float spacing; // between letters beyond their own, pixels
	uint32_t rgb;
	float alpha; // 0 to 1
};

// Fills the frame from top to bottom; stops rise, at least two.
void canvas_gradient(struct frame f, const struct canvas_stop *stops, size_t count);
// Light that falls off softly to nothing at r.
void canvas_glow(struct frame f, float cx, float cy, float r, uint32_t rgb, float alpha);
// A line with round ends whose alpha runs from alpha0 to alpha1.
void canvas_line(struct frame f, const float from[2], const float to[2], float width, uint32_t rgb,
	float alpha0, float alpha1);
void canvas_ring(
	struct frame f, float cx, float cy, float r, float width, uint32_t rgb, float alpha);
void canvas_disc(struct frame f, float cx, float cy, float r, uint32_t rgb, float alpha);
// Everything below the line of heights (one y a column) in one colour.
void canvas_ground(struct frame f, const float *y, uint32_t rgb);

float canvas_text_width(const struct canvas_text *t, const char *s);
// x, y: left end of the baseline.
void canvas_text_draw(struct frame f, const struct canvas_text *t, float x, float y, const char *s);

#endif
