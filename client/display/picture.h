// Pictures: a JPEG or PNG file becomes the whole frame of a screen, background and all, in bounded
// memory. What is in the file decides nothing but the pixels: sizes are checked before anything is
// allocated, a JPEG that is too large is decoded at 1/2, 1/4 or 1/8, a PNG is taken row by row.
//
// A picture that is cut or damaged is refused: half a picture on a screen is worse than the next
// one. Pictures are shipped upright, so an orientation tag is not looked at; there is no colour
// management. libjpeg and libpng stay behind this door. Runs in the decoder's child; also usable
// directly.
#ifndef HELIO_DISPLAY_PICTURE_H
#define HELIO_DISPLAY_PICTURE_H

#include "client/display/resample.h"
#include <stdio.h>

struct picture_wish {
	enum fit fit;
	uint32_t background_rgb; // 0x00RRGGBB
	size_t memory_bytes;     // the most a decoder may take
};

struct picture_facts {
	uint32_t w, h; // of the file
};

// Fills the whole frame. fd is read from its beginning and stays open. After an error the frame
// holds anything. Errors: ERR_FORMAT (no picture), ERR_CORRUPT (cut or damaged), ERR_RANGE (too
// many pixels), ERR_FULL (needs too much memory), ERR_UNSUPPORTED, ERR_IO, ERR_MEMORY.
enum err picture_decode(int fd, const struct picture_wish *wish, struct frame frame,
	struct picture_facts *facts) MUST_CHECK;

// Writes the frame as PNG from the beginning of fd.
enum err picture_write_png(int fd, struct frame frame) MUST_CHECK;

// ---- the two formats; for picture.c
enum err picture_decode_jpeg(int fd, const struct picture_wish *wish, struct frame frame,
	struct picture_facts *facts) MUST_CHECK;
enum err picture_decode_png(int fd, const struct picture_wish *wish, struct frame frame,
	struct picture_facts *facts) MUST_CHECK;
enum err picture_size_check(uint64_t w, uint64_t h) MUST_CHECK;
void frame_fill(struct frame frame, uint32_t rgb);
// A stream of its own over what fd names, from its beginning; NULL with errno.
FILE *picture_file_open(int fd, const char *mode);

#endif
