// Pictures inside the child that decodes them: from untrusted JPEG, PNG or WebP bytes to an upright
// baseline JPEG or a PNG in the colours of sRGB, without metadata, written by our own encoders.
//
// These files run without keys, network or file system (ingest_child.c) and may be killed at any
// moment. Every limit is checked against the header before anything is decoded (attack C1). A word
// says why a picture is refused; nothing here is trusted by the parent.
#ifndef HELIO_PUBLISHER_PICTURE_H
#define HELIO_PUBLISHER_PICTURE_H

#include "proto/base/mem.h"

#define PICTURE_INPUT_MAX (64u * 1024 * 1024)
#define PICTURE_OUTPUT_MAX (256u * 1024 * 1024)
#define PICTURE_SIDE_MAX 16384u
#define PICTURE_PIXELS_MAX (64u * 1024 * 1024)
#define PICTURE_SCANS_MAX 100    // of a progressive JPEG; cameras write about 10
#define PICTURE_CHUNKS_MAX 65536 // of a PNG
#define PICTURE_JPEG_QUALITY 92

enum picture_word {
	PICTURE_GOOD,
	PICTURE_NOT_A_PICTURE, // none of the three formats, by its first bytes
	PICTURE_TRUNCATED,
	PICTURE_DAMAGED,
	PICTURE_TOO_LARGE,
	PICTURE_BOMB, // wants more memory or work than a picture may
	PICTURE_TIMEOUT,
	PICTURE_WORD_COUNT
};
const char *picture_word(enum picture_word w);

enum picture_format {
	PICTURE_JPEG = 1,
	PICTURE_PNG,
	PICTURE_WEBP
};

// Pixels of 8 bits: 1 gray, 3 RGB, 4 RGBA, row after row without padding.
struct raster {
	uint32_t width, height, channels;
	uint8_t *pixels;
};
// Errors: false when there is no memory. Freed with raster_free.
bool raster_new(struct raster *r, uint32_t width, uint32_t height, uint32_t channels);
void raster_free(struct raster *r);
// Applies an EXIF orientation 1..8 in place (5..8 swap width and height). False: no memory.
bool raster_orient(struct raster *r, unsigned orientation);

// What one picture is on its way through.
struct picture {
	struct bytes in;
	enum picture_format out_format;
	uint32_t width, height;
	struct buf out; // at most PICTURE_OUTPUT_MAX
	char text[200]; // why not
};

// Writes the sentence and returns the word.
enum picture_word picture_refuse(struct picture *p, enum picture_word w, const char *format, ...)
	PRINTF_LIKE(3, 4);
// 0 < sides <= PICTURE_SIDE_MAX, pixels <= PICTURE_PIXELS_MAX.
enum picture_word picture_limits_check(struct picture *p, uint64_t width, uint64_t height);

// Orientation of an EXIF block that begins with its TIFF header; 1 when there is none, or when it
// is not what it should be. Reads at most one directory of 512 entries. Pure.
unsigned exif_orientation(struct bytes tiff);

enum picture_word jpeg_convert(struct picture *p);
enum picture_word png_convert(struct picture *p);
enum picture_word webp_convert(struct picture *p);

// Encoders: from pixels into p->out. The JPEG has no alpha.
enum picture_word jpeg_write(struct picture *p, const struct raster *r);
enum picture_word png_write(struct picture *p, const struct raster *r);

// Decoders: upright pixels of p->in, which was made by the encoders above. A JPEG is decoded no
// larger than it must be to have at least these sides. raster_free in every case.
enum picture_word jpeg_raster(struct picture *p, uint32_t width, uint32_t height, struct raster *r);
enum picture_word png_raster(struct picture *p, struct raster *r);

// Decodes p->out to nowhere, as a device would, and compares its size with p. The last check.
enum picture_word jpeg_read_back(struct picture *p);
enum picture_word png_read_back(struct picture *p);

// Smaller, by the mean of the pixels that each new one covers; transparency weighs. Sides are not
// above those of r. False: no memory.
bool raster_shrink(const struct raster *r, uint32_t width, uint32_t height, struct raster *out);
// p->in, a picture of the store, with these sides, in its own format.
enum picture_word picture_resize(struct picture *p, uint32_t width, uint32_t height);

// All of it: looks at the first bytes, converts, reads back.
enum picture_word picture_convert(struct picture *p);

#endif
