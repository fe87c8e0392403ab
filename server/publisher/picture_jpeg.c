// JPEG, with libjpeg-turbo. A picture that stands upright is carried over without loss: its
// coefficients are read and written again as a baseline file, without any marker but those the
// decoder needs. Only what is turned by EXIF, is CMYK, or has colours of its own (colour.h) goes
// through pixels, and what a baseline file cannot hold: divisors of 16 bits.
//
// A warning of the library means that bytes are missing or wrong, which it paints over in gray:
// that is a refusal here. Two harmless kinds are let pass: stray bytes between markers, and a
// profile that is incomplete.
#include "server/publisher/colour.h"
#include "server/publisher/picture.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// jpeglib.h wants stdio.h before it, and jerror.h, whose last numbers depend on it, comes behind.
#include <jpeglib.h>

#include <jerror.h>

struct jpeg_door {
	struct jpeg_error_mgr base; // first: libjpeg hands back its address
	jmp_buf back;
	struct picture *picture;
	enum picture_word word;
	struct jpeg_progress_mgr progress;
};

static struct jpeg_door *door_of(j_common_ptr c)
{
	return (struct jpeg_door *)(void *)c->err;
}

static enum picture_word word_of(int code)
{
	switch (code) {
	case JERR_OUT_OF_MEMORY:
		return PICTURE_BOMB;
	case JERR_INPUT_EMPTY:
	case JERR_INPUT_EOF:
	case JWRN_JPEG_EOF:
	case JWRN_HIT_MARKER:
		return PICTURE_TRUNCATED;
	case JERR_IMAGE_TOO_BIG:
		return PICTURE_TOO_LARGE;
	default:
		return PICTURE_DAMAGED;
	}
}

NORETURN static void door_leave(j_common_ptr c)
{
	struct jpeg_door *d = door_of(c);
	char text[JMSG_LENGTH_MAX];

	c->err->format_message(c, text);
	d->word = picture_refuse(d->picture, word_of(c->err->msg_code), "%s", text);
	longjmp(d->back, 1);
}

static void door_message(j_common_ptr c, int level)
{
	if (level < 0 && c->err->msg_code != JWRN_EXTRANEOUS_DATA &&
		c->err->msg_code != JWRN_BOGUS_ICC)
		door_leave(c);
}

// A progressive file may hold any number of scans over all pixels: work without end (C1).
static void door_progress(j_common_ptr c)
{
	struct jpeg_door *d = door_of(c);

	if (c->is_decompressor && ((j_decompress_ptr)c)->input_scan_number > PICTURE_SCANS_MAX) {
		d->word = picture_refuse(d->picture, PICTURE_BOMB,
			"the JPEG has more than %d scans", PICTURE_SCANS_MAX);
		longjmp(d->back, 1);
	}
}

static void door_init(struct jpeg_door *d, struct picture *p)
{
	memset(d, 0, sizeof *d);
	jpeg_std_error(&d->base);
	d->base.error_exit = door_leave;
	d->base.emit_message = door_message;
	d->progress.progress_monitor = door_progress;
	d->picture = p;
}

// What one conversion holds; freed by its owner whatever happened.
struct jpeg_work {
	struct jpeg_door door;
	struct jpeg_decompress_struct in;
	struct jpeg_compress_struct out;
	struct raster raster;
	uint8_t *row;
	struct colour *colour; // NULL: the numbers stay
	JOCTET *profile;
	unsigned char *written;
	unsigned long written_size;
};

static struct jpeg_work *work_new(struct picture *p)
{
	struct jpeg_work *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	door_init(&w->door, p);
	w->in.err = &w->door.base;
	w->out.err = &w->door.base;
	return w;
}

static void work_free(struct jpeg_work *w)
{
	jpeg_destroy_decompress(&w->in);
	jpeg_destroy_compress(&w->out);
	raster_free(&w->raster);
	colour_free(w->colour);
	free(w->profile);
	free(w->row);
	free(w->written);
	free(w);
}

// ---- reading

static unsigned orientation_of(const struct jpeg_work *w)
{
	for (jpeg_saved_marker_ptr m = w->in.marker_list; m; m = m->next)
		if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 &&
			memcmp(m->data, "Exif\0\0", 6) == 0)
			return exif_orientation(bytes_of(m->data + 6, m->data_length - 6));
	return 1;
}

static enum picture_word header_read(struct jpeg_work *w, struct bytes in)
{
	jpeg_create_decompress(&w->in);
	w->in.progress = &w->door.progress;
	jpeg_mem_src(&w->in, in.data, (unsigned long)in.size);
	jpeg_save_markers(&w->in, JPEG_APP0 + 1, 0xffff);
	jpeg_save_markers(&w->in, JPEG_APP0 + 2, 0xffff);
	jpeg_read_header(&w->in, TRUE);
	return picture_limits_check(w->door.picture, w->in.image_width, w->in.image_height);
}

// Divisors above 255 make a file that is not baseline, and decoders in hardware refuse it.
static bool divisors_are_baseline(const struct jpeg_work *w)
{
	for (int t = 0; t < NUM_QUANT_TBLS; t++) {
		const JQUANT_TBL *table = w->in.quant_tbl_ptrs[t];

		for (int i = 0; table && i < DCTSIZE2; i++)
			if (table->quantval[i] > 255)
				return false;
	}
	return true;
}

static bool is_cmyk(const struct jpeg_work *w)
{
	return w->in.jpeg_color_space == JCS_CMYK || w->in.jpeg_color_space == JCS_YCCK;
}

static void colour_look(struct jpeg_work *w)
{
	unsigned size = 0;
	enum colour_pixels pixels =
		is_cmyk(w) ? w->in.saw_Adobe_marker ? COLOUR_CMYK_INVERTED : COLOUR_CMYK
		: w->in.jpeg_color_space == JCS_GRAYSCALE ? COLOUR_GRAY
							  : COLOUR_RGB;

	if (jpeg_read_icc_profile(&w->in, &w->profile, &size))
		w->colour = colour_open(bytes_of(w->profile, size), pixels);
}

// One row of CMYK to RGB. Adobe stores inks inverted: 255 is no ink.
static void cmyk_to_rgb(const uint8_t *from, uint8_t *to, uint32_t width, bool inverted)
{
	for (uint32_t x = 0; x < width; x++, from += 4, to += 3)
		for (int i = 0; i < 3; i++) {
			unsigned ink = inverted ? from[i] : 255u - from[i];
			unsigned black = inverted ? from[3] : 255u - from[3];
			to[i] = (uint8_t)((ink * black + 127) / 255);
		}
}

static void rows_read(struct jpeg_work *w)
{
	uint32_t n = w->raster.channels;
	bool cmyk = is_cmyk(w);

	while (w->in.output_scanline < w->in.output_height) {
		uint8_t *to =
			w->raster.pixels + (size_t)w->in.output_scanline * w->raster.width * n;
		uint8_t *line = cmyk ? w->row : to;
		jpeg_read_scanlines(&w->in, &line, 1);
		if (w->colour)
			colour_row(w->colour, line, to, w->raster.width);
		else if (cmyk)
			cmyk_to_rgb(w->row, to, w->raster.width, w->in.saw_Adobe_marker);
	}
	jpeg_finish_decompress(&w->in);
}

static enum picture_word pixels_read(struct jpeg_work *w)
{
	bool gray = w->in.jpeg_color_space == JCS_GRAYSCALE;

	w->in.out_color_space = is_cmyk(w) ? JCS_CMYK : gray ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_start_decompress(&w->in);
	w->row = malloc((size_t)w->in.output_width * 4);
	if (!w->row ||
		!raster_new(&w->raster, w->in.output_width, w->in.output_height, gray ? 1 : 3))
		return picture_refuse(w->door.picture, PICTURE_BOMB, "no memory for the pixels");
	rows_read(w);
	return PICTURE_GOOD;
}

// ---- writing

static enum picture_word written_take(struct jpeg_work *w)
{
	struct picture *p = w->door.picture;

	buf_clear(&p->out);
	p->out_format = PICTURE_JPEG;
	if (buf_append(&p->out, w->written, w->written_size) != ERR_OK)
		return picture_refuse(
			p, PICTURE_TOO_LARGE, "the picture does not fit: %s", err_text());
	return PICTURE_GOOD;
}

static void writer_begin(struct jpeg_work *w)
{
	jpeg_create_compress(&w->out);
	jpeg_mem_dest(&w->out, &w->written, &w->written_size);
}

// Coefficients to coefficients: no pixel changes.
static enum picture_word coefficients_copy(struct jpeg_work *w)
{
	jvirt_barray_ptr *coefficients = jpeg_read_coefficients(&w->in);

	writer_begin(w);
	jpeg_copy_critical_parameters(&w->in, &w->out);
	w->out.optimize_coding = TRUE;
	jpeg_write_coefficients(&w->out, coefficients);
	jpeg_finish_compress(&w->out);
	jpeg_finish_decompress(&w->in);
	return written_take(w);
}

static enum picture_word pixels_write(struct jpeg_work *w, const struct raster *r)
{
	writer_begin(w);
	w->out.image_width = r->width;
	w->out.image_height = r->height;
	w->out.input_components = (int)r->channels;
	w->out.in_color_space = r->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_set_defaults(&w->out);
	jpeg_set_quality(&w->out, PICTURE_JPEG_QUALITY, TRUE);
	w->out.optimize_coding = TRUE;
	jpeg_start_compress(&w->out, TRUE);
	while (w->out.next_scanline < w->out.image_height) {
		uint8_t *line = r->pixels + (size_t)w->out.next_scanline * r->width * r->channels;
		jpeg_write_scanlines(&w->out, &line, 1);
	}
	jpeg_finish_compress(&w->out);
	return written_take(w);
}

// ---- doors: each sets the jump, so that nothing above can be left with a stale one

static enum picture_word convert_inside(struct jpeg_work *w, const struct raster *r)
{
	(void)r;
	struct picture *p = w->door.picture;

	if (setjmp(w->door.back) != 0)
		return w->door.word;
	enum picture_word word = header_read(w, p->in);
	if (word != PICTURE_GOOD)
		return word;
	unsigned orientation = orientation_of(w);
	colour_look(w);
	if (orientation == 1 && !is_cmyk(w) && !w->colour && w->in.data_precision == 8 &&
		divisors_are_baseline(w))
		return coefficients_copy(w);
	word = pixels_read(w);
	if (word != PICTURE_GOOD)
		return word;
	if (!raster_orient(&w->raster, orientation))
		return picture_refuse(p, PICTURE_BOMB, "no memory to turn the picture");
	p->width = w->raster.width;
	p->height = w->raster.height;
	return pixels_write(w, &w->raster);
}

static enum picture_word write_inside(struct jpeg_work *w, const struct raster *r)
{
	if (setjmp(w->door.back) != 0)
		return w->door.word;
	return pixels_write(w, r);
}

static enum picture_word pixels_inside(struct jpeg_work *w, const struct raster *wanted)
{
	struct picture *p = w->door.picture;

	if (setjmp(w->door.back) != 0)
		return w->door.word;
	enum picture_word word = header_read(w, p->in);
	if (word != PICTURE_GOOD)
		return word;
	w->in.scale_denom = 8;
	for (unsigned n = 1; n <= 8; n++) { // eighths that still have the sides
		w->in.scale_num = n;
		jpeg_calc_output_dimensions(&w->in);
		if (w->in.output_width >= wanted->width && w->in.output_height >= wanted->height)
			break;
	}
	return pixels_read(w);
}

// A baseline file of 8 bits that decodes without a warning.
static enum picture_word read_back_inside(struct jpeg_work *w, const struct raster *r)
{
	(void)r;
	struct picture *p = w->door.picture;
	uint32_t width = p->width, height = p->height;

	if (setjmp(w->door.back) != 0)
		return w->door.word;
	enum picture_word word = header_read(w, buf_bytes(&p->out));
	if (word != PICTURE_GOOD)
		return word;
	if (p->width != width || p->height != height || w->in.progressive_mode ||
		w->in.arith_code || !divisors_are_baseline(w))
		return picture_refuse(p, PICTURE_DAMAGED, "what was written is not what was meant");
	jpeg_start_decompress(&w->in);
	w->row = malloc((size_t)w->in.output_width * 4);
	if (!w->row)
		return picture_refuse(p, PICTURE_BOMB, "no memory for a row");
	while (w->in.output_scanline < w->in.output_height)
		jpeg_read_scanlines(&w->in, &w->row, 1);
	jpeg_finish_decompress(&w->in);
	return PICTURE_GOOD;
}

static enum picture_word work_do(struct picture *p, const struct raster *r,
	enum picture_word (*inside)(struct jpeg_work *w, const struct raster *r))
{
	struct jpeg_work *w = work_new(p);

	if (!w)
		return picture_refuse(p, PICTURE_BOMB, "no memory");
	enum picture_word word = inside(w, r);
	work_free(w);
	return word;
}

enum picture_word jpeg_convert(struct picture *p)
{
	return work_do(p, NULL, convert_inside);
}

enum picture_word jpeg_raster(struct picture *p, uint32_t width, uint32_t height, struct raster *r)
{
	struct raster wanted = {.width = width, .height = height};
	struct jpeg_work *w = work_new(p);

	*r = (struct raster){0};
	if (!w)
		return picture_refuse(p, PICTURE_BOMB, "no memory");
	enum picture_word word = pixels_inside(w, &wanted);
	if (word == PICTURE_GOOD) {
		*r = w->raster;
		w->raster = (struct raster){0};
	}
	work_free(w);
	return word;
}

enum picture_word jpeg_write(struct picture *p, const struct raster *r)
{
	return work_do(p, r, write_inside);
}

enum picture_word jpeg_read_back(struct picture *p)
{
	return work_do(p, NULL, read_back_inside);
}
