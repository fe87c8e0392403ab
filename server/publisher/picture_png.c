// PNG, with libpng. The chunk list is walked first, by ourselves: size, number of chunks, end and
// EXIF are known before libpng sees a byte, and libpng is told to skip every chunk that is not
// needed for the pixels, so that text and profile bombs are never inflated (C1).
//
// A colour profile is inflated by ourselves, up to what one may have (colour.h).
//
// What stands upright, is not interlaced, has at most 8 bits and colours of sRGB keeps its
// compressed pixels: only IHDR, PLTE, tRNS, IDAT and IEND are carried over, after all of it decoded
// without an error.
#include "server/publisher/colour.h"
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SIGNATURE 8

struct png_door {
	struct picture *picture;
	struct bytes in;
	size_t at;
	jmp_buf back;
	enum picture_word word;
};

struct png_layout {
	unsigned bit_depth, interlace;
	unsigned orientation;
	struct bytes profile; // of iCCP, as it is stored
	bool is_srgb;
};

// ---- the chunk list

static uint32_t be32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

// The chunk at *at: its data; *at goes to the next one. NULL when it is cut off.
static const uint8_t *chunk_next(struct bytes in, size_t *at, struct bytes *data)
{
	const uint8_t *c = in.data + *at;

	if (in.size - *at < 12)
		return NULL;
	uint32_t n = be32(c);
	if (n > in.size - *at - 12)
		return NULL;
	*data = bytes_of(c + 8, n);
	*at += 12 + (size_t)n;
	return c;
}

static bool chunk_is(const uint8_t *chunk, const char *type)
{
	return memcmp(chunk + 4, type, 4) == 0;
}

static enum picture_word header_look(
	struct picture *p, const uint8_t *chunk, struct bytes data, struct png_layout *l)
{
	if (!chunk_is(chunk, "IHDR") || data.size != 13)
		return picture_refuse(p, PICTURE_DAMAGED, "the PNG does not begin with its header");
	l->bit_depth = data.data[8];
	l->interlace = data.data[12];
	return picture_limits_check(p, be32(data.data), be32(data.data + 4));
}

static enum picture_word chunks_look(struct picture *p, struct png_layout *l)
{
	size_t at = SIGNATURE;
	struct bytes data = {0};

	*l = (struct png_layout){.orientation = 1};
	for (unsigned count = 0; count < PICTURE_CHUNKS_MAX; count++) {
		const uint8_t *chunk = chunk_next(p->in, &at, &data);
		if (!chunk)
			return picture_refuse(p, PICTURE_TRUNCATED, "the PNG ends in the middle");
		if (chunk_is(chunk, "IEND"))
			return PICTURE_GOOD;
		if (chunk_is(chunk, "eXIf"))
			l->orientation = exif_orientation(data);
		if (chunk_is(chunk, "iCCP"))
			l->profile = data;
		l->is_srgb = l->is_srgb || chunk_is(chunk, "sRGB");
		if (count > 0)
			continue;
		enum picture_word w = header_look(p, chunk, data, l);
		if (w != PICTURE_GOOD)
			return w;
	}
	return picture_refuse(
		p, PICTURE_BOMB, "the PNG has more than %d chunks", PICTURE_CHUNKS_MAX);
}

// ---- libpng

NORETURN static void door_error(png_structp png, png_const_charp text)
{
	struct png_door *d = png_get_error_ptr(png);

	d->word = picture_refuse(
		d->picture, strstr(text, "memory") ? PICTURE_BOMB : PICTURE_DAMAGED, "%s", text);
	longjmp(d->back, 1);
}

static void door_warning(png_structp png, png_const_charp text)
{
	(void)png;
	(void)text;
}

static void door_read(png_structp png, png_bytep to, size_t n)
{
	struct png_door *d = png_get_io_ptr(png);

	if (n > d->in.size - d->at)
		png_error(png, "the PNG ends in the middle");
	memcpy(to, d->in.data + d->at, n);
	d->at += n;
}

static void door_write(png_structp png, png_bytep from, size_t n)
{
	struct png_door *d = png_get_io_ptr(png);

	if (buf_append(&d->picture->out, from, n) != ERR_OK)
		png_error(png, "out of memory: the written PNG is too large");
}

static void door_flush(png_structp png)
{
	(void)png;
}

struct png_work {
	struct png_door door;
	png_structp png;
	png_infop info;
	bool writing;
	struct raster raster;
	uint8_t **rows;
};

static struct png_work *work_new(struct picture *p, struct bytes in, bool writing)
{
	struct png_work *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->door.picture = p;
	w->door.in = in;
	w->writing = writing;
	w->png = writing ? png_create_write_struct(
				   PNG_LIBPNG_VER_STRING, &w->door, door_error, door_warning)
			 : png_create_read_struct(
				   PNG_LIBPNG_VER_STRING, &w->door, door_error, door_warning);
	if (w->png)
		w->info = png_create_info_struct(w->png);
	return w;
}

static void work_free(struct png_work *w)
{
	if (w->png && w->writing)
		png_destroy_write_struct(&w->png, &w->info);
	else if (w->png)
		png_destroy_read_struct(&w->png, &w->info, NULL);
	raster_free(&w->raster);
	free(w->rows);
	free(w);
}

static void reader_begin(struct png_work *w)
{
	png_set_read_fn(w->png, &w->door, door_read);
	png_set_user_limits(w->png, PICTURE_SIDE_MAX, PICTURE_SIDE_MAX);
	png_set_chunk_malloc_max(w->png, 8u * 1024 * 1024);
	png_set_chunk_cache_max(w->png, 128);
	png_set_benign_errors(w->png, 0);
	png_set_keep_unknown_chunks(w->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
	png_read_info(w->png, w->info);
	int type = png_get_color_type(w->png, w->info);
	if (type == PNG_COLOR_TYPE_GRAY_ALPHA ||
		(type == PNG_COLOR_TYPE_GRAY && png_get_valid(w->png, w->info, PNG_INFO_tRNS)))
		png_set_gray_to_rgb(w->png);
	png_set_strip_16(w->png);
	png_set_expand(w->png);
	png_set_packing(w->png);
	png_set_interlace_handling(w->png);
	png_read_update_info(w->png, w->info);
}

// Gray, gray with alpha, RGB or RGBA of 8 bits; gray with alpha is widened, the rest is kept.
static enum picture_word pixels_read(struct png_work *w)
{
	struct picture *p = w->door.picture;

	reader_begin(w);
	uint32_t channels = png_get_channels(w->png, w->info);
	uint32_t width = png_get_image_width(w->png, w->info);
	uint32_t height = png_get_image_height(w->png, w->info);
	if (png_get_bit_depth(w->png, w->info) != 8 || channels < 1 || channels > 4 ||
		channels == 2 || width != p->width || height != p->height)
		return picture_refuse(
			p, PICTURE_DAMAGED, "the PNG changed its mind about its pixels");
	w->rows = calloc(height, sizeof *w->rows);
	if (!w->rows || !raster_new(&w->raster, width, height, channels))
		return picture_refuse(p, PICTURE_BOMB, "no memory for the pixels");
	for (uint32_t y = 0; y < height; y++)
		w->rows[y] = w->raster.pixels + (size_t)y * width * channels;
	png_read_image(w->png, w->rows);
	png_read_end(w->png, NULL);
	return PICTURE_GOOD;
}

static enum picture_word read_inside(struct png_work *w)
{
	if (setjmp(w->door.back) != 0)
		return w->door.word;
	return pixels_read(w);
}

static enum picture_word write_inside(struct png_work *w, const struct raster *r)
{
	static const int types[5] = {
		0, PNG_COLOR_TYPE_GRAY, 0, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGBA};

	if (setjmp(w->door.back) != 0)
		return w->door.word;
	png_set_write_fn(w->png, &w->door, door_write, door_flush);
	png_set_IHDR(w->png, w->info, r->width, r->height, 8, types[r->channels],
		PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	png_write_info(w->png, w->info);
	for (uint32_t y = 0; y < r->height; y++)
		png_write_row(w->png, r->pixels + (size_t)y * r->width * r->channels);
	png_write_end(w->png, w->info);
	return PICTURE_GOOD;
}

enum picture_word png_write(struct picture *p, const struct raster *r)
{
	struct png_work *w = work_new(p, (struct bytes){0}, true);
	enum picture_word word = PICTURE_BOMB;

	buf_clear(&p->out);
	p->out_format = PICTURE_PNG;
	if (w && w->info)
		word = write_inside(w, r);
	else
		picture_refuse(p, word, "no memory");
	if (w)
		work_free(w);
	return word;
}

// ---- carrying over

static bool is_kept(const uint8_t *chunk)
{
	return chunk_is(chunk, "IHDR") || chunk_is(chunk, "PLTE") || chunk_is(chunk, "tRNS") ||
	       chunk_is(chunk, "IDAT") || chunk_is(chunk, "IEND");
}

static enum picture_word chunks_copy(struct picture *p)
{
	size_t at = SIGNATURE;
	struct bytes data = {0};
	const uint8_t *chunk = NULL;
	enum err e = ERR_OK;

	buf_clear(&p->out);
	p->out_format = PICTURE_PNG;
	e = buf_append(&p->out, p->in.data, SIGNATURE);
	do {
		chunk = chunk_next(p->in, &at, &data);
		if (e == ERR_OK && chunk && is_kept(chunk))
			e = buf_append(&p->out, chunk, data.size + 12);
	} while (chunk && !chunk_is(chunk, "IEND"));
	if (e != ERR_OK)
		return picture_refuse(
			p, PICTURE_TOO_LARGE, "the picture does not fit: %s", err_text());
	return PICTURE_GOOD;
}

// Of an iCCP chunk: a name, a zero, the method 0, and the profile as zlib packs it. What
// unpacks to more than a profile has is none.
static struct colour *colour_of(const struct png_layout *l, uint32_t channels)
{
	const uint8_t *end =
		memchr(l->profile.data, 0, l->profile.size < 80 ? l->profile.size : 80);
	size_t at = end ? (size_t)(end - l->profile.data) + 2 : l->profile.size;
	uLongf size = COLOUR_PROFILE_MAX;

	if (l->is_srgb || at >= l->profile.size || end[1] != 0)
		return NULL;
	SCOPED_FREE uint8_t *profile = malloc(COLOUR_PROFILE_MAX);
	if (!profile ||
		uncompress(profile, &size, l->profile.data + at, l->profile.size - at) != Z_OK)
		return NULL;
	return colour_open(bytes_of(profile, size), colour_pixels_of(channels));
}

static enum picture_word raster_take(
	struct picture *p, struct raster *r, const struct png_layout *l)
{
	struct colour *c = l->profile.size > 0 ? colour_of(l, r->channels) : NULL;
	bool is_changed = c != NULL;

	if (c)
		colour_raster(c, r);
	colour_free(c);
	if (!is_changed && l->orientation == 1 && l->bit_depth <= 8 && l->interlace == 0)
		return chunks_copy(p);
	if (!raster_orient(r, l->orientation))
		return picture_refuse(p, PICTURE_BOMB, "no memory to turn the picture");
	p->width = r->width;
	p->height = r->height;
	return png_write(p, r);
}

// The pixels of p->in as they are stored; *w is NULL or freed by the caller, whatever it says.
static enum picture_word layout_and_pixels(
	struct picture *p, struct png_layout *l, struct png_work **w)
{
	enum picture_word word = chunks_look(p, l);

	*w = NULL;
	if (word != PICTURE_GOOD)
		return word;
	*w = work_new(p, p->in, false);
	if (!*w || !(*w)->info)
		return picture_refuse(p, PICTURE_BOMB, "no memory");
	return read_inside(*w);
}

enum picture_word png_convert(struct picture *p)
{
	struct png_layout l;
	struct png_work *w;
	enum picture_word word = layout_and_pixels(p, &l, &w);

	if (word == PICTURE_GOOD)
		word = raster_take(p, &w->raster, &l);
	if (w)
		work_free(w);
	return word;
}

enum picture_word png_raster(struct picture *p, struct raster *r)
{
	struct png_layout l;
	struct png_work *w;
	enum picture_word word = layout_and_pixels(p, &l, &w);

	*r = (struct raster){0};
	if (word == PICTURE_GOOD) {
		*r = w->raster;
		w->raster = (struct raster){0};
	}
	if (w)
		work_free(w);
	return word;
}

enum picture_word png_read_back(struct picture *p)
{
	struct picture again = {.in = buf_bytes(&p->out)};
	struct png_layout l;
	struct png_work *w;
	enum picture_word word = layout_and_pixels(&again, &l, &w);

	if (word == PICTURE_GOOD && (again.width != p->width || again.height != p->height))
		word = picture_refuse(p, PICTURE_DAMAGED, "what was written is not what was meant");
	else if (word != PICTURE_GOOD)
		memcpy(p->text, again.text, sizeof p->text);
	if (w)
		work_free(w);
	return word;
}
