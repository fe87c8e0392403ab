// JPEG by libjpeg-turbo. Scaled by the decoder itself, so that a huge picture costs the memory of a
// small one. libjpeg jumps out of errors: everything that must be freed stands in one struct, and
// one function holds the landing place.
#include "client/display/picture.h"

#include "client/display/display_limits.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jpeglib.h>

#include <jerror.h> // its last numbers depend on jpeglib.h

struct jpeg {
	struct jpeg_error_mgr errors; // first: libjpeg hands us a pointer to it
	struct jpeg_progress_mgr progress;
	jmp_buf landing;
	struct jpeg_decompress_struct in;
	const struct picture_wish *wish;
	struct frame frame;
	FILE *file;
	uint8_t *row, *rgbx; // cmyk is converted from one to the other
	struct resample *resample;
	enum err err;
};

// ---- what libjpeg calls

static NORETURN void on_error(j_common_ptr c)
{
	struct jpeg *j = (struct jpeg *)c->err;
	char text[JMSG_LENGTH_MAX];

	if (j->err == ERR_OK) {
		bool memory = c->err->msg_code == JERR_OUT_OF_MEMORY ||
			      c->err->msg_code == JERR_NO_BACKING_STORE;

		c->err->format_message(c, text);
		j->err = err_set(memory ? ERR_FULL : ERR_CORRUPT,
			memory ? "the JPEG needs more memory than it may have (%s)"
			       : "the JPEG is damaged: %s",
			text);
	}
	longjmp(j->landing, 1);
}

// A warning of libjpeg is a picture with a grey half: refused. Only stray bytes do no harm.
static void on_message(j_common_ptr c, int level)
{
	struct jpeg *j = (struct jpeg *)c->err;
	char text[JMSG_LENGTH_MAX];

	if (level >= 0 || c->err->msg_code == JWRN_EXTRANEOUS_DATA)
		return;
	c->err->format_message(c, text);
	j->err = err_set(ERR_CORRUPT, "the JPEG is cut or damaged: %s", text);
	longjmp(j->landing, 1);
}

static void on_output(j_common_ptr c)
{
	(void)c;
}

// A progressive JPEG may have thousands of scans, each a pass over everything.
static void on_progress(j_common_ptr c)
{
	struct jpeg *j = (struct jpeg *)c->err;

	if (c->is_decompressor && ((j_decompress_ptr)c)->input_scan_number > PICTURE_SCANS_MAX) {
		j->err = err_set(ERR_RANGE, "the JPEG has more than %d scans", PICTURE_SCANS_MAX);
		longjmp(j->landing, 1);
	}
}

// ---- the way of one picture

// The smallest of 1, 1/2, 1/4, 1/8 that still has every pixel the screen can show.
static unsigned scale_choose(const struct jpeg *j, const struct fit_plan *p)
{
	unsigned down = 8;

	(void)j;
	while (down > 1 && (p->crop_w / down < p->w || p->crop_h / down < p->h))
		down /= 2;
	return down;
}

static enum err header_take(struct jpeg *j, struct picture_facts *facts)
{
	jpeg_read_header(&j->in, TRUE);
	facts->w = j->in.image_width;
	facts->h = j->in.image_height;
	TRY(picture_size_check(facts->w, facts->h));
	if (j->in.num_components != 1 && j->in.num_components != 3 && j->in.num_components != 4)
		return err_set(
			ERR_UNSUPPORTED, "the JPEG has %d colour components", j->in.num_components);
	struct fit_plan plan = fit_make(j->wish->fit, facts->w, facts->h, j->frame.w, j->frame.h);

	j->in.scale_num = 1;
	j->in.scale_denom = j->wish->fit == FIT_CENTER ? 1 : scale_choose(j, &plan);
	j->in.out_color_space = j->in.num_components == 4 ? JCS_CMYK : JCS_EXT_RGBX;
	j->in.dct_method = JDCT_ISLOW;
	return ERR_OK;
}

static enum err rows_prepare(struct jpeg *j)
{
	jpeg_start_decompress(&j->in);
	uint32_t w = j->in.output_width, h = j->in.output_height;
	struct fit_plan plan = fit_make(j->wish->fit, w, h, j->frame.w, j->frame.h);

	j->row = malloc((size_t)w * 4);
	j->rgbx = j->in.out_color_space == JCS_CMYK ? malloc((size_t)w * 4) : NULL;
	if (!j->row || (j->in.out_color_space == JCS_CMYK && !j->rgbx))
		return err_set(ERR_MEMORY, "no memory for a row of a JPEG");
	return resample_new(w, h, &plan, j->frame, &j->resample);
}

// Adobe's programs store the inks inverted, and nearly all CMYK JPEGs are theirs.
static void cmyk_convert(const struct jpeg *j)
{
	bool inverted = j->in.saw_Adobe_marker;
	const uint8_t *in = j->row;
	uint8_t *out = j->rgbx;

	for (uint32_t x = 0; x < j->in.output_width; x++, in += 4, out += 4) {
		for (int c = 0; c < 3; c++) {
			unsigned ink = inverted ? in[c] : 255U - in[c];
			unsigned key = inverted ? in[3] : 255U - in[3];

			out[c] = (uint8_t)(ink * key / 255);
		}
	}
}

static void rows_take(struct jpeg *j)
{
	while (j->in.output_scanline < j->in.output_height) {
		JSAMPROW rows[1] = {j->row};

		jpeg_read_scanlines(&j->in, rows, 1);
		if (j->rgbx)
			cmyk_convert(j);
		resample_row(j->resample, j->rgbx ? j->rgbx : j->row);
	}
	// Reads to the end mark: a file cut in its last rows is found here.
	jpeg_finish_decompress(&j->in);
}

static enum err jpeg_run(struct jpeg *j, struct picture_facts *facts)
{
	j->in.err = jpeg_std_error(&j->errors);
	j->errors.error_exit = on_error;
	j->errors.emit_message = on_message;
	j->errors.output_message = on_output;
	j->progress.progress_monitor = on_progress;
	if (setjmp(j->landing))
		return j->err;
	jpeg_create_decompress(&j->in);
	j->in.progress = &j->progress;
	j->in.mem->max_memory_to_use = (long)j->wish->memory_bytes;
	jpeg_stdio_src(&j->in, j->file);
	TRY(header_take(j, facts));
	TRY(rows_prepare(j));
	rows_take(j);
	return ERR_OK;
}

enum err picture_decode_jpeg(
	int fd, const struct picture_wish *wish, struct frame frame, struct picture_facts *facts)
{
	struct jpeg *j = calloc(1, sizeof(*j));

	if (!j)
		return err_set(ERR_MEMORY, "no memory for a JPEG");
	j->wish = wish;
	j->frame = frame;
	j->file = picture_file_open(fd, "rb");
	enum err e = j->file ? ERR_OK : err_set_errno("cannot open the picture");
	if (e == ERR_OK) {
		frame_fill(frame, wish->background_rgb);
		e = jpeg_run(j, facts);
		jpeg_destroy_decompress(&j->in);
		fclose(j->file);
	}
	resample_free(j->resample);
	free(j->row);
	free(j->rgbx);
	free(j);
	return e;
}
