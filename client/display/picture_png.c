// PNG by libpng, row by row: each row is laid over the background, then scaled. An interlaced PNG
// has its rows all at once in the end, so it is taken only when the whole of it fits the memory.
// libpng jumps out of errors, as libjpeg does: one struct, one landing place.
#include "client/display/picture.h"

#include "client/display/display_limits.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <png.h>

struct png {
	png_structp in;
	png_infop info;
	const struct picture_wish *wish;
	struct frame frame;
	FILE *file;
	uint8_t *pixels; // one row, or all rows of an interlaced one
	struct resample *resample;
	uint32_t w, h;
	int passes;
	enum err err;
};

static NORETURN void on_error(png_structp in, png_const_charp text)
{
	struct png *p = png_get_error_ptr(in);

	if (p->err == ERR_OK)
		p->err = err_set(ERR_CORRUPT, "the PNG is cut or damaged: %s", text);
	png_longjmp(in, 1);
}

static void on_warning(png_structp in, png_const_charp text)
{
	(void)in;
	(void)text;
}

static enum err header_take(struct png *p, struct picture_facts *facts)
{
	png_set_user_limits(p->in, PICTURE_SIDE_MAX, PICTURE_SIDE_MAX);
	png_set_chunk_cache_max(p->in, 64);
	png_set_chunk_malloc_max(p->in, 8 * 1024 * 1024);
	png_init_io(p->in, p->file);
	png_read_info(p->in, p->info);
	p->w = facts->w = png_get_image_width(p->in, p->info);
	p->h = facts->h = png_get_image_height(p->in, p->info);
	return picture_size_check(p->w, p->h);
}

// Whatever it is, it becomes rows of red, green, blue, alpha of 8 bits.
static void rows_define(struct png *p)
{
	png_set_expand(p->in);
	png_set_scale_16(p->in);
	png_set_gray_to_rgb(p->in);
	png_set_add_alpha(p->in, 0xff, PNG_FILLER_AFTER);
	p->passes = png_set_interlace_handling(p->in);
	png_read_update_info(p->in, p->info);
}

static enum err rows_prepare(struct png *p)
{
	struct fit_plan plan = fit_make(p->wish->fit, p->w, p->h, p->frame.w, p->frame.h);
	size_t row = (size_t)p->w * 4, size = p->passes > 1 ? row * p->h : row;

	if (png_get_rowbytes(p->in, p->info) != row)
		return err_set(ERR_UNSUPPORTED, "the PNG has rows of an unknown kind");
	if (size > p->wish->memory_bytes / 2)
		return err_set(ERR_FULL, "the PNG is interlaced and needs %zu MiB; at most %zu",
			size >> 20, p->wish->memory_bytes / 2 >> 20);
	p->pixels = calloc(1, size);
	if (!p->pixels)
		return err_set(ERR_MEMORY, "no memory for a PNG");
	return resample_new(p->w, p->h, &plan, p->frame, &p->resample);
}

// Lays one row over the background.
static void row_flatten(const struct png *p, uint8_t *px)
{
	uint32_t back[3] = {p->wish->background_rgb >> 16 & 255, p->wish->background_rgb >> 8 & 255,
		p->wish->background_rgb & 255};

	for (uint32_t x = 0; x < p->w; x++, px += 4) {
		uint32_t a = px[3];

		if (a == 255)
			continue;
		for (int c = 0; c < 3; c++)
			px[c] = (uint8_t)((px[c] * a + back[c] * (255 - a) + 127) / 255);
	}
}

static void rows_take(struct png *p)
{
	size_t row = (size_t)p->w * 4;
	bool whole = p->passes > 1;

	for (int pass = 0; pass + 1 < p->passes; pass++) {
		for (uint32_t y = 0; y < p->h; y++)
			png_read_row(p->in, p->pixels + y * row, NULL);
	}
	for (uint32_t y = 0; y < p->h; y++) {
		uint8_t *px = p->pixels + (whole ? y * row : 0);

		png_read_row(p->in, px, NULL);
		row_flatten(p, px);
		resample_row(p->resample, px);
	}
	png_read_end(p->in, NULL);
}

static enum err png_run(struct png *p, struct picture_facts *facts)
{
	p->in = png_create_read_struct(PNG_LIBPNG_VER_STRING, p, on_error, on_warning);
	p->info = p->in ? png_create_info_struct(p->in) : NULL;
	if (!p->info)
		return err_set(ERR_MEMORY, "no memory for a PNG");
	if (setjmp(png_jmpbuf(p->in)))
		return p->err;
	TRY(header_take(p, facts));
	rows_define(p);
	TRY(rows_prepare(p));
	rows_take(p);
	return ERR_OK;
}

enum err picture_decode_png(
	int fd, const struct picture_wish *wish, struct frame frame, struct picture_facts *facts)
{
	struct png *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(ERR_MEMORY, "no memory for a PNG");
	p->wish = wish;
	p->frame = frame;
	p->file = picture_file_open(fd, "rb");
	enum err e = p->file ? ERR_OK : err_set_errno("cannot open the picture");
	if (e == ERR_OK) {
		frame_fill(frame, wish->background_rgb);
		e = png_run(p, facts);
		png_destroy_read_struct(&p->in, &p->info, NULL);
		fclose(p->file);
	}
	resample_free(p->resample);
	free(p->pixels);
	free(p);
	return e;
}

// ---- writing

struct png_out {
	png_structp out;
	png_infop info;
	uint8_t *row;
	struct frame frame;
	FILE *file;
	enum err err;
};

static NORETURN void on_write_error(png_structp out, png_const_charp text)
{
	struct png_out *o = png_get_error_ptr(out);

	o->err = err_set(ERR_IO, "cannot write the PNG: %s", text);
	png_longjmp(out, 1);
}

static void rows_write(struct png_out *o)
{
	for (uint32_t y = 0; y < o->frame.h; y++) {
		const uint32_t *in = o->frame.px + (size_t)y * o->frame.w;
		uint8_t *out = o->row;

		for (uint32_t x = 0; x < o->frame.w; x++, out += 3) {
			out[0] = (uint8_t)(in[x] >> 16);
			out[1] = (uint8_t)(in[x] >> 8);
			out[2] = (uint8_t)in[x];
		}
		png_write_row(o->out, o->row);
	}
}

static enum err png_write_run(struct png_out *o)
{
	o->out = png_create_write_struct(PNG_LIBPNG_VER_STRING, o, on_write_error, on_warning);
	o->info = o->out ? png_create_info_struct(o->out) : NULL;
	o->row = malloc((size_t)o->frame.w * 3);
	if (!o->info || !o->row)
		return err_set(ERR_MEMORY, "no memory for a PNG");
	if (setjmp(png_jmpbuf(o->out)))
		return o->err;
	png_init_io(o->out, o->file);
	png_set_IHDR(o->out, o->info, o->frame.w, o->frame.h, 8, PNG_COLOR_TYPE_RGB,
		PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_set_compression_level(o->out, 4);
	png_write_info(o->out, o->info);
	rows_write(o);
	png_write_end(o->out, NULL);
	return fflush(o->file) == 0 ? ERR_OK : err_set_errno("cannot write the PNG");
}

enum err picture_write_png(int fd, struct frame frame)
{
	struct png_out o = {.frame = frame, .file = picture_file_open(fd, "wb")};

	if (!o.file)
		return err_set_errno("cannot open the file of the PNG");
	enum err e = png_write_run(&o);
	png_destroy_write_struct(&o.out, &o.info);
	fclose(o.file);
	free(o.row);
	return e;
}
