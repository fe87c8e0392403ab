// A small built-in typeface of strokes: no font file can be missing. Letters are lines, curves and
// arcs on a grid (capitals 20 high, baseline at 20, descenders to 26), so they are sharp at any
// size.
#ifndef HELIO_DISPLAY_FONT_H
#define HELIO_DISPLAY_FONT_H

#include <stddef.h>

#define FONT_CAP 20.0F
#define FONT_TOP (-2.0F)  // of the tallest glyph
#define FONT_BOTTOM 26.0F // of the deepest
#define FONT_SEGMENTS_MAX 96

struct font_segment {
	float x0, y0, x1, y1;
};

struct font_glyph {
	float advance;
	size_t count;
	struct font_segment segments[FONT_SEGMENTS_MAX];
};

// A character that the typeface does not have becomes a question mark.
void font_glyph_get(char c, struct font_glyph *out);
float font_advance(char c);

#endif
