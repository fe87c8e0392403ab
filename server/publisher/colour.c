// Relative colorimetric with black points matched, as viewers do it. Gray goes through a table.
#include "server/publisher/colour.h"

#include <lcms2.h>
#include <stdlib.h>
#include <string.h>

#define SAME_STEPS 2
#define FLAGS (cmsFLAGS_BLACKPOINTCOMPENSATION | cmsFLAGS_COPY_ALPHA)

struct colour {
	cmsHTRANSFORM transform; // NULL: gray
	uint8_t gray[256];
	uint32_t step; // bytes of a pixel of the source
};

static cmsHPROFILE srgb; // made once, lives as long as the program

static void nothing_said(cmsContext context, cmsUInt32Number code, const char *text)
{
	(void)context;
	(void)code;
	(void)text;
}

void colour_ready(void)
{
	cmsSetLogErrorHandler(nothing_said);
	if (!srgb)
		srgb = cmsCreate_sRGBProfile();
}

enum colour_pixels colour_pixels_of(uint32_t channels)
{
	return channels == 1 ? COLOUR_GRAY : channels == 4 ? COLOUR_RGBA : COLOUR_RGB;
}

static cmsUInt32Number form_of(enum colour_pixels pixels)
{
	switch (pixels) {
	case COLOUR_GRAY:
		return TYPE_GRAY_8;
	case COLOUR_RGBA:
		return TYPE_RGBA_8;
	case COLOUR_CMYK:
		return TYPE_CMYK_8;
	case COLOUR_CMYK_INVERTED:
		return TYPE_CMYK_8_REV;
	case COLOUR_RGB:
		break;
	}
	return TYPE_RGB_8;
}

static cmsColorSpaceSignature space_of(enum colour_pixels pixels)
{
	switch (pixels) {
	case COLOUR_GRAY:
		return cmsSigGrayData;
	case COLOUR_CMYK:
	case COLOUR_CMYK_INVERTED:
		return cmsSigCmykData;
	case COLOUR_RGB:
	case COLOUR_RGBA:
		break;
	}
	return cmsSigRgbData;
}

static bool is_near(const uint8_t *a, const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (abs(a[i] - b[i]) > SAME_STEPS)
			return false;
	return true;
}

// A grid of nine steps along each axis says enough of a smooth thing.
static bool is_srgb(cmsHPROFILE profile)
{
	static uint8_t grid[9 * 9 * 9 * 3], seen[sizeof grid];
	cmsHTRANSFORM t = cmsCreateTransform(
		profile, TYPE_RGB_8, srgb, TYPE_RGB_8, INTENT_RELATIVE_COLORIMETRIC, FLAGS);

	if (!t)
		return true; // nothing can be made of it
	for (unsigned i = 0; i < 9 * 9 * 9; i++) {
		grid[i * 3] = (uint8_t)(i / 81 * 255 / 8);
		grid[i * 3 + 1] = (uint8_t)(i / 9 % 9 * 255 / 8);
		grid[i * 3 + 2] = (uint8_t)(i % 9 * 255 / 8);
	}
	cmsDoTransform(t, grid, seen, 9 * 9 * 9);
	cmsDeleteTransform(t);
	return is_near(grid, seen, sizeof grid);
}

// False: it is the gray of sRGB.
static bool gray_fill(struct colour *c, cmsHPROFILE profile)
{
	uint8_t in[256], out[256 * 3];
	cmsHTRANSFORM t = cmsCreateTransform(
		profile, TYPE_GRAY_8, srgb, TYPE_RGB_8, INTENT_RELATIVE_COLORIMETRIC, FLAGS);

	if (!t)
		return false;
	for (unsigned i = 0; i < 256; i++)
		in[i] = (uint8_t)i;
	cmsDoTransform(t, in, out, 256);
	cmsDeleteTransform(t);
	for (unsigned i = 0; i < 256; i++)
		c->gray[i] = out[i * 3 + 1];
	return !is_near(in, c->gray, sizeof in);
}

static bool colour_fill(struct colour *c, cmsHPROFILE profile, enum colour_pixels pixels)
{
	bool cmyk = space_of(pixels) == cmsSigCmykData;

	if (cmsGetColorSpace(profile) != space_of(pixels))
		return false;
	c->step = pixels == COLOUR_GRAY ? 1 : pixels == COLOUR_RGB ? 3 : 4;
	if (pixels == COLOUR_GRAY)
		return gray_fill(c, profile);
	if (!cmyk && is_srgb(profile))
		return false;
	c->transform = cmsCreateTransform(profile, form_of(pixels), srgb,
		cmyk ? TYPE_RGB_8 : form_of(pixels), INTENT_RELATIVE_COLORIMETRIC, FLAGS);
	return c->transform != NULL;
}

struct colour *colour_open(struct bytes data, enum colour_pixels pixels)
{
	struct colour *c = NULL;

	if (data.size < 128 || data.size > COLOUR_PROFILE_MAX)
		return NULL;
	colour_ready();
	cmsHPROFILE profile = cmsOpenProfileFromMem(data.data, (cmsUInt32Number)data.size);
	if (profile && srgb)
		c = calloc(1, sizeof *c);
	if (c && !colour_fill(c, profile, pixels)) {
		colour_free(c);
		c = NULL;
	}
	if (profile)
		cmsCloseProfile(profile);
	return c;
}

void colour_free(struct colour *c)
{
	if (c && c->transform)
		cmsDeleteTransform(c->transform);
	free(c);
}

void colour_row(const struct colour *c, const uint8_t *from, uint8_t *to, uint32_t width)
{
	if (c->transform) {
		cmsDoTransform(c->transform, from, to, width);
		return;
	}
	for (uint32_t x = 0; x < width; x++)
		to[x] = c->gray[from[x]];
}

void colour_raster(const struct colour *c, struct raster *r)
{
	size_t line = (size_t)r->width * c->step;

	for (uint32_t y = 0; y < r->height; y++)
		colour_row(c, r->pixels + y * line, r->pixels + y * line, r->width);
}
