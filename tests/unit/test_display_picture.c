// Pictures of known pixels, made here: what comes out of every format and fit, what is refused, and
// what it costs in memory.
#include "client/display/decoder.h"
#include "client/display/display_limits.h"
#include "client/display/picture.h"

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jpeglib.h>
#include <png.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_FACTOR 8
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEMORY_FACTOR 8
#endif
#endif
#ifndef MEMORY_FACTOR
#define MEMORY_FACTOR 1
#endif

static const struct picture_wish contain = {FIT_CONTAIN, 0x112233, 64 << 20};

// ---- making pictures

// A quarter of the picture in each of four colours.
static uint32_t quadrant(uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
	if (y < h / 2)
		return x < w / 2 ? 0xff0000 : 0x00ff00;
	return x < w / 2 ? 0x0000ff : 0xffff00;
}

static int file_new(void)
{
	int fd = memfd_create("picture", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static FILE *stream_of(int fd)
{
	FILE *f = fdopen(dup(fd), "wb");

	assert_non_null(f);
	return f;
}

struct jpeg_kind {
	bool grey, cmyk, progressive;
};

static int jpeg_make(uint32_t w, uint32_t h, struct jpeg_kind kind)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	int fd = file_new(), components = kind.grey ? 1 : (kind.cmyk ? 4 : 3);
	FILE *f = stream_of(fd);
	uint8_t *row = calloc(w, 4);

	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_stdio_dest(&c, f);
	c.image_width = w;
	c.image_height = h;
	c.input_components = components;
	c.in_color_space = kind.grey ? JCS_GRAYSCALE : (kind.cmyk ? JCS_CMYK : JCS_RGB);
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, 92, TRUE);
	if (kind.progressive)
		jpeg_simple_progression(&c);
	jpeg_start_compress(&c, TRUE);
	for (uint32_t y = 0; y < h; y++) {
		JSAMPROW rows[1] = {row};

		for (uint32_t x = 0; x < w; x++) {
			uint32_t rgb = quadrant(x, y, w, h);

			if (kind.grey) {
				row[x] = (uint8_t)(x < w / 2 ? 40 : 200);
				continue;
			}
			for (int i = 0; i < 3; i++)
				row[x * (uint32_t)components + (uint32_t)i] =
					(uint8_t)(rgb >> (16 - 8 * i));
			// libjpeg writes the Adobe mark: inks inverted, full key.
			if (kind.cmyk)
				row[x * 4 + 3] = 255;
		}
		jpeg_write_scanlines(&c, rows, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	fclose(f);
	free(row);
	return fd;
}

struct png_kind {
	int type, depth;
	bool interlaced;
	uint8_t alpha; // for the kinds that have it
};

static void png_pixel(const struct png_kind *k, uint8_t *row, uint32_t x, uint32_t rgb)
{
	uint8_t v[4] = {(uint8_t)(rgb >> 16), (uint8_t)(rgb >> 8), (uint8_t)rgb, k->alpha};
	uint8_t index = rgb == 0xff0000 ? 0 : (rgb == 0x00ff00 ? 1 : (rgb == 0x0000ff ? 2 : 3));

	if (k->type == PNG_COLOR_TYPE_PALETTE) {
		row[x / 4] = (uint8_t)(row[x / 4] | index << (6 - 2 * (x % 4)));
		return;
	}
	if (k->type == PNG_COLOR_TYPE_GRAY || k->type == PNG_COLOR_TYPE_GRAY_ALPHA) {
		v[0] = (uint8_t)(index * 80);
		v[1] = k->alpha;
	}
	uint32_t n = k->type == PNG_COLOR_TYPE_RGB_ALPHA
			     ? 4
			     : (k->type == PNG_COLOR_TYPE_RGB
					       ? 3
					       : (k->type == PNG_COLOR_TYPE_GRAY_ALPHA ? 2 : 1));
	uint32_t bytes = (uint32_t)k->depth / 8;
	for (uint32_t i = 0; i < n; i++)
		memset(row + (x * n + i) * bytes, v[i], bytes);
}

static int png_make(uint32_t w, uint32_t h, struct png_kind k)
{
	static const png_color palette[4] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}};
	png_structp p = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(p);
	int fd = file_new();
	FILE *f = stream_of(fd);

	png_init_io(p, f);
	png_set_compression_level(p, 1);
	png_set_IHDR(p, info, w, h, k.depth, k.type,
		k.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
		PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
	if (k.type == PNG_COLOR_TYPE_PALETTE)
		png_set_PLTE(p, info, palette, 4);
	png_write_info(p, info);
	size_t size = png_get_rowbytes(p, info);
	uint8_t *row = malloc(size);
	int passes = k.interlaced ? png_set_interlace_handling(p) : 1;
	for (int pass = 0; pass < passes; pass++) {
		for (uint32_t y = 0; y < h; y++) {
			memset(row, 0, size);
			for (uint32_t x = 0; x < w; x++)
				png_pixel(&k, row, x, quadrant(x, y, w, h));
			png_write_row(p, row);
		}
	}
	png_write_end(p, NULL);
	png_destroy_write_struct(&p, &info);
	fclose(f);
	free(row);
	return fd;
}

// ---- looking at frames

static struct frame frame_new(uint32_t w, uint32_t h)
{
	struct frame f = {malloc((size_t)w * h * 4), w, h};

	assert_non_null(f.px);
	memset(f.px, 0x7e, (size_t)w * h * 4);
	return f;
}

static void assert_pixel(struct frame f, uint32_t x, uint32_t y, uint32_t rgb, int tolerance)
{
	uint32_t is = f.px[(size_t)y * f.w + x];

	for (int shift = 0; shift < 24; shift += 8) {
		int d = (int)(is >> shift & 255) - (int)(rgb >> shift & 255);

		if (d > tolerance || d < -tolerance)
			fail_msg("pixel %u,%u is %06x, not %06x", x, y, is, rgb);
	}
}

static void assert_quadrants(
	struct frame f, uint32_t x, uint32_t y, uint32_t w, uint32_t h, int tolerance)
{
	for (uint32_t i = 1; i < 8; i += 2) {
		for (uint32_t k = 1; k < 8; k += 2)
			assert_pixel(
				f, x + w * i / 8, y + h * k / 8, quadrant(i, k, 8, 8), tolerance);
	}
}

static void assert_decodes(int fd, const struct picture_wish *wish, struct frame f)
{
	struct picture_facts facts;

	if (picture_decode(fd, wish, f, &facts) != ERR_OK)
		fail_msg("%s", err_text());
	close(fd);
}

static void assert_refused(int fd, enum err err, const char *reason)
{
	struct frame f = frame_new(64, 64);
	struct picture_facts facts;
	enum err e = picture_decode(fd, &contain, f, &facts);

	if (e != err || !strstr(err_text(), reason))
		fail_msg("%s: %s", err_word(e), err_text());
	close(fd);
	free(f.px);
}

// ---- fit

static const struct fit_case {
	enum fit fit;
	uint32_t pw, ph, bw, bh, x, y, w, h;
	double cx, cy, cw, ch;
} fit_cases[] = {
	{FIT_CONTAIN, 1000, 500, 1920, 1080, 0, 60, 1920, 960, 0, 0, 1000, 500},
	{FIT_CONTAIN, 500, 1000, 1920, 1080, 690, 0, 540, 1080, 0, 0, 500, 1000},
	{FIT_CONTAIN, 1920, 1080, 1920, 1080, 0, 0, 1920, 1080, 0, 0, 1920, 1080},
	{FIT_CONTAIN, 30000, 1, 100, 100, 0, 49, 100, 1, 0, 0, 30000, 1},
	{FIT_FILL, 1000, 1000, 200, 100, 0, 0, 200, 100, 0, 250, 1000, 500},
	{FIT_FILL, 1000, 250, 200, 100, 0, 0, 200, 100, 250, 0, 500, 250},
	{FIT_STRETCH, 3, 700, 200, 100, 0, 0, 200, 100, 0, 0, 3, 700},
	{FIT_CENTER, 100, 50, 200, 100, 50, 25, 100, 50, 0, 0, 100, 50},
	{FIT_CENTER, 1001, 50, 200, 100, 0, 25, 200, 50, 400, 0, 200, 50},
};

static void test_each_fit_has_its_geometry(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fit_cases) / sizeof(fit_cases[0]); i++) {
		const struct fit_case *c = &fit_cases[i];
		struct fit_plan p = fit_make(c->fit, c->pw, c->ph, c->bw, c->bh);

		if (p.x != c->x || p.y != c->y || p.w != c->w || p.h != c->h ||
			fabs(p.crop_x - c->cx) > 0.01 || fabs(p.crop_y - c->cy) > 0.01 ||
			fabs(p.crop_w - c->cw) > 0.01 || fabs(p.crop_h - c->ch) > 0.01)
			fail_msg("case %zu: %u,%u %ux%u of %.1f,%.1f %.1fx%.1f", i, p.x, p.y, p.w,
				p.h, p.crop_x, p.crop_y, p.crop_w, p.crop_h);
	}
}

static void test_every_plan_lies_inside_screen_and_picture(void **state)
{
	uint32_t seed = 7;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint32_t v[4];

		for (int k = 0; k < 4; k++) {
			seed = seed * 1664525 + 1013904223;
			v[k] = 1 + (seed >> 8) % (i % 2 ? 50 : 30000);
		}
		struct fit_plan p = fit_make((enum fit)(i % 4), v[0], v[1], v[2], v[3]);
		assert_true(p.w >= 1 && p.h >= 1 && p.x + p.w <= v[2] && p.y + p.h <= v[3]);
		assert_true(p.crop_x >= 0 && p.crop_y >= 0 && p.crop_w > 0 && p.crop_h > 0);
		assert_true(
			p.crop_x + p.crop_w <= v[0] + 1e-6 && p.crop_y + p.crop_h <= v[1] + 1e-6);
	}
}

// ---- formats

static void test_png_of_every_kind_gives_its_pixels(void **state)
{
	static const struct png_kind kinds[] = {
		{PNG_COLOR_TYPE_RGB, 8, false, 255},
		{PNG_COLOR_TYPE_RGB, 16, false, 255},
		{PNG_COLOR_TYPE_RGB_ALPHA, 8, false, 255},
		{PNG_COLOR_TYPE_RGB_ALPHA, 16, false, 255},
		{PNG_COLOR_TYPE_PALETTE, 2, false, 255},
		{PNG_COLOR_TYPE_RGB, 8, true, 255},
		{PNG_COLOR_TYPE_RGB_ALPHA, 16, true, 255},
		{PNG_COLOR_TYPE_PALETTE, 2, true, 255},
	};
	struct frame f = frame_new(200, 100);

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		// Pixel for pixel, so exact: 100 x 100 in the middle of 200 x 100.
		assert_decodes(png_make(100, 100, kinds[i]), &contain, f);
		assert_quadrants(f, 50, 0, 100, 100, 0);
		assert_pixel(f, 10, 50, 0x112233, 0);
		assert_pixel(f, 190, 50, 0x112233, 0);
		// Made smaller and larger.
		assert_decodes(png_make(740, 740, kinds[i]), &contain, f);
		assert_quadrants(f, 50, 0, 100, 100, 2);
		assert_decodes(png_make(20, 20, kinds[i]), &contain, f);
		assert_quadrants(f, 50, 0, 100, 100, 2);
	}
	free(f.px);
}

static void test_grey_png_becomes_grey(void **state)
{
	static const struct png_kind kinds[] = {
		{PNG_COLOR_TYPE_GRAY, 8, false, 255},
		{PNG_COLOR_TYPE_GRAY, 16, false, 255},
		{PNG_COLOR_TYPE_GRAY_ALPHA, 8, false, 255},
	};
	struct frame f = frame_new(40, 40);

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		assert_decodes(png_make(40, 40, kinds[i]), &contain, f);
		assert_pixel(f, 5, 5, 0x000000, 0);
		assert_pixel(f, 35, 5, 0x505050, 0);
		assert_pixel(f, 5, 35, 0xa0a0a0, 0);
		assert_pixel(f, 35, 35, 0xf0f0f0, 0);
	}
	free(f.px);
}

static void test_transparency_shows_the_background(void **state)
{
	struct frame f = frame_new(40, 40);

	(void)state;
	assert_decodes(png_make(40, 40, (struct png_kind){PNG_COLOR_TYPE_RGB_ALPHA, 8, false, 0}),
		&contain, f);
	assert_pixel(f, 5, 5, 0x112233, 0);
	assert_decodes(png_make(40, 40, (struct png_kind){PNG_COLOR_TYPE_RGB_ALPHA, 8, false, 128}),
		&contain, f);
	assert_pixel(f, 5, 5, 0x881119, 1);
	free(f.px);
}

static void test_jpeg_of_every_kind_and_size_gives_its_pixels(void **state)
{
	static const uint32_t sizes[] = {17, 100, 130, 400, 801, 1700, 3000};
	static const struct jpeg_kind kinds[] = {{0}, {.progressive = true}, {.cmyk = true}};
	struct frame f = frame_new(200, 100);

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			assert_decodes(jpeg_make(sizes[i], sizes[i], kinds[k]), &contain, f);
			assert_quadrants(f, 50, 0, 100, 100, 6);
			assert_pixel(f, 48, 50, 0x112233, 0);
			assert_pixel(f, 151, 50, 0x112233, 0);
		}
	}
	assert_decodes(jpeg_make(300, 300, (struct jpeg_kind){.grey = true}), &contain, f);
	assert_pixel(f, 70, 50, 0x282828, 3);
	assert_pixel(f, 130, 50, 0xc8c8c8, 3);
	free(f.px);
}

static void test_fill_crops_evenly_and_stretch_covers_all(void **state)
{
	struct frame f = frame_new(200, 100);
	struct picture_wish w = contain;

	(void)state;
	w.fit = FIT_FILL;
	assert_decodes(jpeg_make(2000, 2000, (struct jpeg_kind){0}), &w, f);
	assert_quadrants(f, 0, 0, 200, 100, 6);
	w.fit = FIT_STRETCH;
	assert_decodes(jpeg_make(500, 2000, (struct jpeg_kind){0}), &w, f);
	assert_quadrants(f, 0, 0, 200, 100, 6);
	w.fit = FIT_CENTER;
	assert_decodes(
		png_make(400, 400, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, false, 255}), &w, f);
	assert_quadrants(f, 0, 0, 200, 100, 0);
	assert_pixel(f, 99, 49, 0xff0000, 0);
	assert_pixel(f, 100, 50, 0xffff00, 0);
	assert_decodes(
		png_make(20, 20, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, false, 255}), &w, f);
	assert_pixel(f, 89, 50, 0x112233, 0);
	assert_pixel(f, 90, 40, 0xff0000, 0);
	free(f.px);
}

static void test_a_plain_colour_stays_itself_at_every_scale(void **state)
{
	(void)state;
	for (uint32_t size = 1; size < 700; size += 13) {
		struct frame f = frame_new(97, 61);
		struct frame all = {NULL, size, size * 2};
		struct fit_plan p = fit_make(FIT_STRETCH, all.w, all.h, f.w, f.h);
		struct resample *r;
		uint8_t *row = malloc(size * 4UL);

		memset(row, 200, size * 4UL);
		assert_int_equal(resample_new(all.w, all.h, &p, f, &r), ERR_OK);
		for (uint32_t y = 0; y < all.h; y++)
			resample_row(r, row);
		assert_true(resample_is_done(r));
		for (size_t i = 0; i < (size_t)f.w * f.h; i++)
			assert_int_equal(f.px[i], 0xc8c8c8);
		resample_free(r);
		free(row);
		free(f.px);
	}
}

// ---- refusals

static void test_a_jpeg_cut_anywhere_is_refused(void **state)
{
	(void)state;
	int whole = jpeg_make(640, 480, (struct jpeg_kind){0});
	struct stat st;
	assert_int_equal(fstat(whole, &st), 0);
	for (int i = 1; i < 40; i++) {
		int fd = jpeg_make(640, 480, (struct jpeg_kind){.progressive = i % 2 == 0});

		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(ftruncate(fd, st.st_size * i / 40), 0);
		assert_refused(fd, ERR_CORRUPT, "JPEG");
	}
	// Only the end mark is missing.
	assert_int_equal(fstat(whole, &st), 0);
	assert_int_equal(ftruncate(whole, st.st_size - 2), 0);
	assert_refused(whole, ERR_CORRUPT, "cut or damaged");
}

static void test_a_png_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (int i = 1; i < 40; i++) {
		int fd = png_make(640, 480, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, i % 2, 255});
		struct stat st;

		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(ftruncate(fd, st.st_size * i / 40), 0);
		assert_refused(fd, ERR_CORRUPT, "PNG");
	}
}

static void test_a_damaged_png_is_refused(void **state)
{
	int fd = png_make(640, 480, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, false, 255});
	struct stat st;
	uint8_t b;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	off_t at = st.st_size - 40;
	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x55;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	assert_refused(fd, ERR_CORRUPT, "PNG");
}

static void test_what_is_no_picture_is_refused(void **state)
{
	int fd = file_new();

	(void)state;
	assert_refused(fd, ERR_FORMAT, "empty");
	fd = file_new();
	assert_int_equal(write(fd, "GIF89a and so on", 16), 16);
	assert_refused(fd, ERR_FORMAT, "neither JPEG nor PNG");
	fd = file_new();
	assert_int_equal(write(fd, "\xff\xd8\xff\xe0 not really", 15), 15);
	assert_refused(fd, ERR_CORRUPT, "JPEG");
	int pipes[2];
	assert_int_equal(pipe(pipes), 0);
	close(pipes[1]);
	assert_refused(pipes[0], ERR_FORMAT, "not a file");
}

static void test_C1_sizes_are_refused_from_the_header(void **state)
{
	// A PNG whose header promises 2^31-1 x 2^31-1, with the right CRC.
	static const uint8_t huge[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13,
		'I', 'H', 'D', 'R', 0, 0, 0x75, 0x31, 0, 0, 0x75, 0x31, 8, 2, 0, 0, 0};
	int fd = file_new();
	uint8_t crc[4];

	(void)state;
	uint32_t c = 0xffffffff;
	for (size_t i = 12; i < sizeof(huge); i++) {
		c ^= huge[i];
		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
	}
	c = ~c;
	for (int i = 0; i < 4; i++)
		crc[i] = (uint8_t)(c >> (24 - 8 * i));
	assert_int_equal(write(fd, huge, sizeof(huge)), sizeof(huge));
	assert_int_equal(write(fd, crc, 4), 4);
	assert_refused(fd, ERR_CORRUPT, "PNG");
	fd = jpeg_make(30001, 1, (struct jpeg_kind){0});
	assert_refused(fd, ERR_RANGE, "30001");
	fd = jpeg_make(20000, 7000, (struct jpeg_kind){.grey = true});
	assert_refused(fd, ERR_RANGE, "20000 x 7000");
}

static void test_C1_what_needs_too_much_memory_is_refused(void **state)
{
	(void)state;
	assert_refused(png_make(4000, 4000, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, true, 255}),
		ERR_FULL, "interlaced");
	assert_refused(
		jpeg_make(8000, 8000, (struct jpeg_kind){.progressive = true}), ERR_FULL, "memory");
}

// Damage of every kind, the same in every run: whatever comes out, nothing is read or written
// outside, and the next good picture is good. Builds with sanitizers see what this one cannot.
static void test_C2_thousands_of_damaged_pictures_do_no_harm(void **state)
{
	const int kinds[] = {
		jpeg_make(90, 70, (struct jpeg_kind){0}),
		jpeg_make(90, 70, (struct jpeg_kind){.progressive = true}),
		jpeg_make(90, 70, (struct jpeg_kind){.cmyk = true}),
		png_make(90, 70, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, false, 255}),
		png_make(90, 70, (struct png_kind){PNG_COLOR_TYPE_PALETTE, 2, true, 255}),
		png_make(90, 70, (struct png_kind){PNG_COLOR_TYPE_RGB_ALPHA, 16, false, 128}),
	};
	struct frame f = frame_new(64, 48);
	uint32_t seed = 20261121, refused = 0;

	(void)state;
	for (int i = 0; i < 6000; i++) {
		static uint8_t data[65536];
		int good = kinds[i % 6], fd = file_new();
		ssize_t size = pread(good, data, sizeof(data), 0);
		struct picture_wish wish = {(enum fit)(i % 4), 0x112233, 8 << 20};
		struct picture_facts facts;

		assert_true(size > 100);
		for (int k = 0; k < 1 + i % 5; k++) {
			seed = seed * 1664525 + 1013904223;
			// Half of the damage goes to the headers.
			uint32_t place =
				(seed >> 9) % (uint32_t)(k % 2 ? size : (size < 700 ? size : 700));
			seed = seed * 1664525 + 1013904223;
			data[place] = (uint8_t)(seed >> 16);
		}
		assert_int_equal(write(fd, data, (size_t)size), size);
		refused += picture_decode(fd, &wish, f, &facts) != ERR_OK;
		close(fd);
	}
	assert_true(refused > 2000);
	struct frame g = frame_new(200, 100);
	assert_decodes(kinds[3], &(struct picture_wish){FIT_STRETCH, 0, 8 << 20}, g);
	assert_quadrants(g, 0, 0, 200, 100, 2);
	free(f.px);
	free(g.px);
	for (int i = 0; i < 6; i++)
		close(kinds[i]);
}

// ---- memory

// Decodes in a child and returns its peak memory beyond that of a child that does nothing, in
// bytes.
static long peak_of(int fd, const struct picture_wish *wish)
{
	long peak[2];

	for (int run = 0; run < 2; run++) {
		int pipes[2];
		struct rusage usage;

		assert_int_equal(pipe(pipes), 0);
		pid_t child = fork();
		if (child == 0) {
			struct frame f = {calloc(1920 * 1080, 4), 1920, 1080};
			struct picture_facts facts;

			memset(f.px, 1, 1920 * 1080 * 4);
			if (run == 1 && picture_decode(fd, wish, f, &facts) != ERR_OK)
				_exit(1);
			getrusage(RUSAGE_SELF, &usage);
			_exit(write(pipes[1], &usage, sizeof(usage)) == sizeof(usage) ? 0 : 2);
		}
		int status;
		waitpid(child, &status, 0);
		assert_int_equal(status, 0);
		assert_int_equal(read(pipes[0], &usage, sizeof(usage)), sizeof(usage));
		peak[run] = usage.ru_maxrss * 1024;
		close(pipes[0]);
		close(pipes[1]);
	}
	return peak[1] - peak[0];
}

static void test_display_a_100_megapixel_picture_stays_in_bounded_memory(void **state)
{
	const long limit = 12L * 1024 * 1024 * MEMORY_FACTOR;

	(void)state;
	int fd = jpeg_make(10000, 10000, (struct jpeg_kind){0});
	long jpeg = peak_of(fd, &contain);
	close(fd);
	fd = png_make(10000, 10000, (struct png_kind){PNG_COLOR_TYPE_RGB, 8, false, 255});
	long png = peak_of(fd, &contain);
	close(fd);
	print_message(
		"peak beyond the frame: JPEG %ld KiB, PNG %ld KiB\n", jpeg / 1024, png / 1024);
	assert_true(jpeg < limit);
	assert_true(png < limit);
}

// ---- the decoder's processes

static struct decoder_answer answer_of(struct decoder *d)
{
	struct pollfd p = {.fd = d->fd, .events = POLLIN};
	struct decoder_answer a = {0};
	bool have = false;

	assert_int_equal(poll(&p, 1, 90000), 1);
	assert_int_equal(decoder_take(d, &a, &have), ERR_OK);
	assert_true(have);
	return a;
}

static void test_C2_the_decoder_answers_in_order_and_goes_on_after_a_bad_picture(void **state)
{
	struct decoder d;
	struct frame_memory f;

	(void)state;
	assert_int_equal(decoder_open(&d), ERR_OK);
	assert_int_equal(frame_memory_new(200, 100, &f), ERR_OK);
	int good = jpeg_make(400, 400, (struct jpeg_kind){0}), bad = file_new();
	assert_int_equal(decoder_decode(&d, 1, bad, &f, &contain), ERR_OK);
	assert_int_equal(decoder_decode(&d, 2, good, &f, &contain), ERR_OK);
	struct decoder_answer a = answer_of(&d);
	assert_int_equal(a.ticket, 1);
	assert_int_equal(a.err, ERR_FORMAT);
	assert_string_equal(a.text, "the picture's file is empty");
	a = answer_of(&d);
	assert_int_equal(a.ticket, 2);
	assert_int_equal(a.err, ERR_OK);
	assert_int_equal(a.facts.w, 400);
	assert_quadrants(f.frame, 50, 0, 100, 100, 6);
	// And back to a PNG that says the same.
	int out = file_new();
	struct frame back = frame_new(200, 100);
	assert_int_equal(decoder_write_png(&d, 3, out, &f), ERR_OK);
	assert_int_equal(answer_of(&d).err, ERR_OK);
	assert_decodes(out, &contain, back);
	assert_memory_equal(back.px, f.frame.px, 200 * 100 * 4);
	free(back.px);
	frame_memory_free(&f);
	decoder_close(&d);
	close(good);
	close(bad);
}

static pid_t child_of(pid_t parent)
{
	char path[64], text[32] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	for (int i = 0; i < 60000 && !*text; i++) {
		FILE *f = fopen(path, "r");

		if (!f)
			return 0;
		if (!fgets(text, sizeof(text), f))
			*text = '\0';
		fclose(f);
		usleep(1000);
	}
	return (pid_t)strtol(text, NULL, 10);
}

static void test_C2_a_decoder_that_is_killed_costs_one_picture(void **state)
{
	struct decoder d;
	struct frame_memory f;
	struct decoder_answer a;

	(void)state;
	assert_int_equal(decoder_open(&d), ERR_OK);
	assert_int_equal(frame_memory_new(200, 100, &f), ERR_OK);
	int slow = jpeg_make(11000, 11000, (struct jpeg_kind){0});
	int good = jpeg_make(100, 100, (struct jpeg_kind){0});
	assert_int_equal(decoder_decode(&d, 1, slow, &f, &contain), ERR_OK);
	pid_t child = child_of(d.keeper);
	if (child > 0)
		kill(child, SIGKILL);
	a = answer_of(&d);
	if (child > 0) {
		assert_int_equal(a.err, ERR_CORRUPT);
		assert_string_equal(a.text, "the decoder was ended by signal 9");
	}
	assert_int_equal(decoder_decode(&d, 2, good, &f, &contain), ERR_OK);
	assert_int_equal(answer_of(&d).err, ERR_OK);
	// The keeper itself: found out, named, and a new one can be made.
	kill(d.keeper, SIGKILL);
	struct pollfd p = {.fd = d.fd, .events = POLLIN};
	bool have;
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(decoder_take(&d, &a, &have), ERR_CLOSED);
	decoder_close(&d);
	frame_memory_free(&f);
	close(slow);
	close(good);
}

static void test_a_frames_size_cannot_be_changed_by_the_child(void **state)
{
	struct frame_memory f;

	(void)state;
	assert_int_equal(frame_memory_new(64, 64, &f), ERR_OK);
	assert_int_equal(ftruncate(f.fd, 0), -1);
	assert_int_equal(ftruncate(f.fd, 1 << 20), -1);
	frame_memory_free(&f);
	assert_int_equal(frame_memory_new(0, 64, &f), ERR_RANGE);
	assert_int_equal(frame_memory_new(64, SCREEN_SIDE_MAX + 1, &f), ERR_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_fit_has_its_geometry),
		cmocka_unit_test(test_every_plan_lies_inside_screen_and_picture),
		cmocka_unit_test(test_png_of_every_kind_gives_its_pixels),
		cmocka_unit_test(test_grey_png_becomes_grey),
		cmocka_unit_test(test_transparency_shows_the_background),
		cmocka_unit_test(test_jpeg_of_every_kind_and_size_gives_its_pixels),
		cmocka_unit_test(test_fill_crops_evenly_and_stretch_covers_all),
		cmocka_unit_test(test_a_plain_colour_stays_itself_at_every_scale),
		cmocka_unit_test(test_a_jpeg_cut_anywhere_is_refused),
		cmocka_unit_test(test_a_png_cut_anywhere_is_refused),
		cmocka_unit_test(test_a_damaged_png_is_refused),
		cmocka_unit_test(test_what_is_no_picture_is_refused),
		cmocka_unit_test(test_C1_sizes_are_refused_from_the_header),
		cmocka_unit_test(test_C1_what_needs_too_much_memory_is_refused),
		cmocka_unit_test(test_C2_thousands_of_damaged_pictures_do_no_harm),
		cmocka_unit_test(test_display_a_100_megapixel_picture_stays_in_bounded_memory),
		cmocka_unit_test(
			test_C2_the_decoder_answers_in_order_and_goes_on_after_a_bad_picture),
		cmocka_unit_test(test_C2_a_decoder_that_is_killed_costs_one_picture),
		cmocka_unit_test(test_a_frames_size_cannot_be_changed_by_the_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
