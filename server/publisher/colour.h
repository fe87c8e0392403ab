// Colours: from what an ICC profile says to sRGB, which is what devices show (they know no
// profiles). Runs inside the decoding child, behind the header's limits; lcms2 stands here alone.
//
// What cannot be used (it is none, of another kind than the pixels, damaged) is left aside: then
// the numbers are taken as sRGB, as any viewer does. So is what says the same as sRGB, within two
// steps of 255 everywhere: a picture whose numbers stay need not be written anew.
#ifndef HELIO_PUBLISHER_COLOUR_H
#define HELIO_PUBLISHER_COLOUR_H

#include "server/publisher/picture.h"

#define COLOUR_PROFILE_MAX (4u * 1024 * 1024) // those of presses have 0.5 to 3 MB

enum colour_pixels {
	COLOUR_GRAY, // 8 bits each
	COLOUR_RGB,
	COLOUR_RGBA,
	COLOUR_CMYK,         // 0 is no ink
	COLOUR_CMYK_INVERTED // 255 is no ink
};

// To be called before the child locks itself in: the library asks for the time zone once.
void colour_ready(void);

struct colour;
// The profile is not kept. NULL: the pixels stay as they are.
struct colour *colour_open(struct bytes profile, enum colour_pixels pixels);
void colour_free(struct colour *c); // NULL too
// One row; in place unless the source is CMYK, whose target is RGB.
void colour_row(const struct colour *c, const uint8_t *from, uint8_t *to, uint32_t width);
void colour_raster(const struct colour *c, struct raster *r);

// What kind of pixels a raster of so many channels has.
enum colour_pixels colour_pixels_of(uint32_t channels);

#endif
