// Ingest: pictures come out upright and clean, and every bad one is refused with its word.
#include "proto/base/file.h"
#include "proto/digest.h"
#include "server/publisher/ingest.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <webp/encode.h>
#include <zlib.h>

#include <cmocka.h>
#include <jpeglib.h>

#define W 96u
#define H 64u

// Four quadrants: red, green, blue, white; so that every orientation can be told.
static void paint(struct raster *r, uint32_t channels)
{
	static const uint8_t colours[4][4] = {
		{230, 20, 20, 255}, {20, 200, 20, 255}, {20, 20, 220, 255}, {250, 250, 250, 255}};

	assert_true(raster_new(r, W, H, channels));
	for (uint32_t y = 0; y < H; y++)
		for (uint32_t x = 0; x < W; x++)
			memcpy(r->pixels + (y * W + x) * channels,
				colours[(y >= H / 2) * 2 + (x >= W / 2)], channels);
}

static int file_with(const void *data, size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, data, size), ERR_OK);
	return fd;
}

static struct ingested ingest(const void *data, size_t size)
{
	struct ingested i;
	SCOPED_FD int fd = file_with(data, size);

	assert_int_equal(ingest_run(fd, NULL, &i), ERR_OK);
	return i;
}

static void refused(const void *data, size_t size, enum picture_word word)
{
	struct ingested i = ingest(data, size);

	if (i.word != word)
		fail_msg("%s instead of %s: %s", picture_word(i.word), picture_word(word), i.text);
	assert_int_equal(i.fd, -1);
	assert_true(strlen(i.text) > 10);
}

static struct buf bytes_read(const struct ingested *i)
{
	struct buf b;

	buf_init(&b, PICTURE_OUTPUT_MAX);
	assert_int_equal(buf_reserve(&b, i->size), ERR_OK);
	assert_int_equal(fd_pread_all(i->fd, b.data, i->size, 0), ERR_OK);
	b.size = i->size;
	return b;
}

static bool holds(const struct buf *b, const char *words)
{
	return memmem(b->data, b->size, words, strlen(words)) != NULL;
}

// ---- makers of pictures

struct jpeg_make {
	bool progressive, spectral, cmyk; // spectral: progressive without refinement
	unsigned orientation;             // 0: no EXIF
	bool exif_big_endian;
	const char *comment;
};

static void exif_write(struct jpeg_compress_struct *c, const struct jpeg_make *m)
{
	static const uint8_t little[] =
		"Exif\0\0II*"
		"\0\10\0\0\0\2\0\20\1\2\0\1\0\0\0x\0\0\0\22\1\3\0\1\0\0\0\0\0\0\0\0\0\0\0";
	static const uint8_t big[] =
		"Exif\0\0MM\0*"
		"\0\0\0\10\0\2\1\20\0\2\0\0\0\1x\0\0\0\1\22\0\3\0\0\0\1\0\0\0\0\0\0\0\0";
	uint8_t b[sizeof little];

	memcpy(b, m->exif_big_endian ? big : little, sizeof b);
	b[m->exif_big_endian ? 37 : 36] = (uint8_t)m->orientation;
	jpeg_write_marker(c, JPEG_APP0 + 1, b, sizeof b - 1);
}

static struct buf jpeg_of(const struct raster *r, const struct jpeg_make *m)
{
	static const jpeg_scan_info spectral[] = {{3, {0, 1, 2}, 0, 0, 0, 0}, {1, {0}, 1, 63, 0, 0},
		{1, {1}, 1, 63, 0, 0}, {1, {2}, 1, 63, 0, 0}};
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	unsigned char *out = NULL;
	unsigned long size = 0;
	struct buf b;

	memset(&c, 0, sizeof c);
	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &out, &size);
	c.image_width = r->width;
	c.image_height = r->height;
	c.input_components = (int)r->channels;
	c.in_color_space = m->cmyk ? JCS_CMYK : r->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, 95, TRUE);
	if (m->progressive)
		jpeg_simple_progression(&c);
	if (m->spectral) {
		c.scan_info = spectral;
		c.num_scans = 4;
	}
	jpeg_start_compress(&c, TRUE);
	if (m->orientation)
		exif_write(&c, m);
	if (m->comment)
		jpeg_write_marker(
			&c, JPEG_COM, (const uint8_t *)m->comment, (unsigned)strlen(m->comment));
	while (c.next_scanline < c.image_height) {
		uint8_t *row = r->pixels + (size_t)c.next_scanline * r->width * r->channels;
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	buf_init(&b, PICTURE_OUTPUT_MAX);
	assert_int_equal(buf_append(&b, out, size), ERR_OK);
	free(out);
	return b;
}

static struct buf test_jpeg(const struct jpeg_make *m)
{
	struct raster r;

	paint(&r, 3);
	struct buf b = jpeg_of(&r, m);
	raster_free(&r);
	return b;
}

// Decoded with a decoder that knows nothing of ours: row after row of RGB.
static void jpeg_pixels(const struct buf *b, struct raster *r)
{
	struct jpeg_decompress_struct d;
	struct jpeg_error_mgr errors;

	memset(&d, 0, sizeof d);
	d.err = jpeg_std_error(&errors);
	jpeg_create_decompress(&d);
	jpeg_mem_src(&d, b->data, (unsigned long)b->size);
	jpeg_save_markers(&d, JPEG_APP0 + 1, 0xffff);
	jpeg_save_markers(&d, JPEG_COM, 0xffff);
	jpeg_read_header(&d, TRUE);
	assert_null(d.marker_list); // no EXIF, no comment
	assert_false(d.progressive_mode);
	d.out_color_space = JCS_RGB;
	jpeg_start_decompress(&d);
	assert_true(raster_new(r, d.output_width, d.output_height, 3));
	while (d.output_scanline < d.output_height) {
		uint8_t *row = r->pixels + (size_t)d.output_scanline * r->width * 3;
		jpeg_read_scanlines(&d, &row, 1);
	}
	assert_int_equal(errors.num_warnings, 0);
	jpeg_finish_decompress(&d);
	jpeg_destroy_decompress(&d);
}

// The quadrant colours of an upright picture at its four quarters.
static void is_upright(const struct raster *r, uint32_t width, uint32_t height)
{
	static const int dominant[4] = {0, 1, 2, -1};

	assert_int_equal(r->width, width);
	assert_int_equal(r->height, height);
	for (uint32_t q = 0; q < 4; q++) {
		uint32_t x = width / 4 + (q & 1) * width / 2,
			 y = height / 4 + (q >> 1) * height / 2;
		const uint8_t *p = r->pixels + (y * width + x) * r->channels;
		for (int i = 0; i < 3; i++)
			if (dominant[q] < 0 || i == dominant[q])
				assert_true(p[i] > 150);
			else
				assert_true(p[i] < 90);
	}
}

static struct buf png_of(const struct raster *r, int interlace)
{
	struct picture p = {0};
	struct buf b;
	png_image image = {.version = PNG_IMAGE_VERSION, .width = r->width, .height = r->height};
	size_t size = 0;

	(void)p;
	(void)interlace;
	image.format = r->channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
	buf_init(&b, PICTURE_OUTPUT_MAX);
	assert_true(png_image_write_get_memory_size(image, size, 0, r->pixels, 0, NULL));
	assert_int_equal(buf_reserve(&b, size), ERR_OK);
	assert_true(png_image_write_to_memory(&image, b.data, &size, 0, r->pixels, 0, NULL));
	b.size = size;
	return b;
}

static void png_pixels(const struct buf *b, struct raster *r, uint32_t channels)
{
	png_image image = {.version = PNG_IMAGE_VERSION};

	assert_true(png_image_begin_read_from_memory(&image, b->data, b->size));
	image.format = channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
	assert_true(raster_new(r, image.width, image.height, channels));
	assert_true(png_image_finish_read(&image, NULL, r->pixels, 0, NULL));
}

static void put32(struct buf *b, uint32_t v)
{
	const uint8_t bytes[4] = {
		(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	assert_int_equal(buf_append(b, bytes, 4), ERR_OK);
}

static void chunk_put(struct buf *b, const char *type, const void *data, size_t size)
{
	uLong crc = crc32(crc32(0, NULL, 0), (const uint8_t *)type, 4);

	put32(b, (uint32_t)size);
	assert_int_equal(buf_append(b, type, 4), ERR_OK);
	if (size > 0) {
		assert_int_equal(buf_append(b, data, size), ERR_OK);
		crc = crc32(crc, data, (uInt)size);
	}
	put32(b, (uint32_t)crc);
}

// A PNG of zeros: header as told, and the deflated rows of `rows_bytes` zeros.
static struct buf png_zeros(uint32_t w, uint32_t h, uint8_t depth, uint8_t type, size_t rows_bytes)
{
	struct buf b;
	uint8_t head[13] = {(uint8_t)(w >> 24), (uint8_t)(w >> 16), (uint8_t)(w >> 8), (uint8_t)w,
		(uint8_t)(h >> 24), (uint8_t)(h >> 16), (uint8_t)(h >> 8), (uint8_t)h, depth, type};
	uLongf size = compressBound(rows_bytes);
	SCOPED_FREE uint8_t *zeros = calloc(1, rows_bytes ? rows_bytes : 1);
	SCOPED_FREE uint8_t *packed = malloc(size);

	assert_non_null(zeros);
	assert_non_null(packed);
	assert_int_equal(compress2(packed, &size, zeros, rows_bytes, 9), Z_OK);
	buf_init(&b, PICTURE_OUTPUT_MAX);
	assert_int_equal(buf_append(&b, "\x89PNG\r\n\x1a\n", 8), ERR_OK);
	chunk_put(&b, "IHDR", head, sizeof head);
	chunk_put(&b, "IDAT", packed, size);
	return b;
}

// ---- good pictures

static void a_jpeg_comes_out_without_loss_and_without_metadata(void **state)
{
	(void)state;
	struct buf in =
		test_jpeg(&(struct jpeg_make){.comment = "secret comment", .orientation = 1});
	struct ingested i = ingest(in.data, in.size);
	struct raster before, after;

	assert_int_equal(i.word, PICTURE_GOOD);
	assert_int_equal(i.format, PICTURE_JPEG);
	struct digest original = sha256(in.data, in.size);
	assert_true(digest_equal(&i.original, &original));
	struct buf out = bytes_read(&i);
	assert_false(holds(&out, "secret"));
	assert_false(holds(&out, "Exif"));
	jpeg_pixels(&out, &after);
	is_upright(&after, W, H);
	struct buf clean = test_jpeg(&(struct jpeg_make){0});
	jpeg_pixels(&clean, &before);
	assert_memory_equal(before.pixels, after.pixels, W * H * 3);
	raster_free(&before);
	raster_free(&after);
	buf_fini(&clean);
	buf_fini(&out);
	buf_fini(&in);
	ingested_close(&i);
}

static void a_progressive_jpeg_becomes_baseline_without_loss(void **state)
{
	(void)state;
	struct buf in = test_jpeg(&(struct jpeg_make){.progressive = true});
	struct ingested i = ingest(in.data, in.size);
	struct raster r;

	assert_int_equal(i.word, PICTURE_GOOD);
	struct buf out = bytes_read(&i);
	jpeg_pixels(&out, &r);
	is_upright(&r, W, H);
	raster_free(&r);
	buf_fini(&out);
	buf_fini(&in);
	ingested_close(&i);
}

// The picture is stored turned, so that the orientation in EXIF turns it upright again.
static void store_turned(struct raster *r, unsigned orientation)
{
	static const unsigned inverse[9] = {0, 1, 2, 3, 4, 5, 8, 7, 6};

	paint(r, 3);
	assert_true(raster_orient(r, inverse[orientation]));
}

static void every_exif_orientation_comes_out_upright(void **state)
{
	(void)state;
	for (unsigned o = 1; o <= 8; o++)
		for (int big = 0; big < 2; big++) {
			struct raster r;
			store_turned(&r, o);
			struct buf in = jpeg_of(
				&r, &(struct jpeg_make){.orientation = o, .exif_big_endian = big});
			raster_free(&r);
			struct ingested i = ingest(in.data, in.size);
			assert_int_equal(i.word, PICTURE_GOOD);
			assert_int_equal(i.width, W);
			assert_int_equal(i.height, H);
			struct buf out = bytes_read(&i);
			jpeg_pixels(&out, &r);
			is_upright(&r, W, H);
			raster_free(&r);
			buf_fini(&out);
			buf_fini(&in);
			ingested_close(&i);
		}
}

static void a_cmyk_jpeg_becomes_rgb(void **state)
{
	(void)state;
	struct raster r, out_r;
	assert_true(raster_new(&r, W, H, 4));
	for (size_t k = 0; k < (size_t)W * H; k++)
		memcpy(r.pixels + k * 4, "\xff\x10\x10\xff", 4); // Adobe, inverted: full red light
	struct buf in = jpeg_of(&r, &(struct jpeg_make){.cmyk = true});
	struct ingested i = ingest(in.data, in.size);

	assert_int_equal(i.word, PICTURE_GOOD);
	struct buf out = bytes_read(&i);
	jpeg_pixels(&out, &out_r);
	assert_true(out_r.pixels[0] > 230 && out_r.pixels[1] < 50 && out_r.pixels[2] < 50);
	raster_free(&r);
	raster_free(&out_r);
	buf_fini(&out);
	buf_fini(&in);
	ingested_close(&i);
}

static void a_png_keeps_its_pixels_and_loses_its_text(void **state)
{
	(void)state;
	for (uint32_t channels = 3; channels <= 4; channels++) {
		struct raster r, out_r;
		paint(&r, channels);
		if (channels == 4)
			r.pixels[3] = 7; // some alpha
		struct buf plain = png_of(&r, 0), in;
		buf_init(&in, PICTURE_OUTPUT_MAX);
		assert_int_equal(buf_append(&in, plain.data, 33), ERR_OK);
		chunk_put(&in, "tEXt", "Author\0secret author", 20);
		assert_int_equal(buf_append(&in, plain.data + 33, plain.size - 33), ERR_OK);
		assert_int_equal(buf_append(&in, "trailing secret", 15), ERR_OK);
		struct ingested i = ingest(in.data, in.size);
		assert_int_equal(i.word, PICTURE_GOOD);
		assert_int_equal(i.format, PICTURE_PNG);
		struct buf out = bytes_read(&i);
		assert_false(holds(&out, "secret"));
		png_pixels(&out, &out_r, channels);
		assert_memory_equal(r.pixels, out_r.pixels, (size_t)W * H * channels);
		raster_free(&r);
		raster_free(&out_r);
		buf_fini(&plain);
		buf_fini(&out);
		buf_fini(&in);
		ingested_close(&i);
	}
}

static void a_png_with_16_bits_becomes_8(void **state)
{
	(void)state;
	struct buf in = png_zeros(W, H, 16, 2, (W * 6 + 1) * H);
	chunk_put(&in, "IEND", NULL, 0);
	struct ingested i = ingest(in.data, in.size);

	assert_int_equal(i.word, PICTURE_GOOD);
	struct buf out = bytes_read(&i);
	assert_int_equal(out.data[24], 8);
	buf_fini(&out);
	buf_fini(&in);
	ingested_close(&i);
}

static void a_png_orientation_is_applied(void **state)
{
	(void)state;
	struct raster r, out_r;
	store_turned(&r, 6);
	struct buf plain = png_of(&r, 0), in;
	buf_init(&in, PICTURE_OUTPUT_MAX);
	assert_int_equal(buf_append(&in, plain.data, 33), ERR_OK);
	chunk_put(&in, "eXIf", "MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 26);
	assert_int_equal(buf_append(&in, plain.data + 33, plain.size - 33), ERR_OK);
	struct ingested i = ingest(in.data, in.size);
	assert_int_equal(i.word, PICTURE_GOOD);
	struct buf out = bytes_read(&i);
	png_pixels(&out, &out_r, 3);
	is_upright(&out_r, W, H);
	raster_free(&r);
	raster_free(&out_r);
	buf_fini(&plain);
	buf_fini(&in);
	buf_fini(&out);
	ingested_close(&i);
}

static void webp_becomes_jpeg_or_png(void **state)
{
	(void)state;
	static const struct {
		uint32_t channels;
		bool lossless;
		enum picture_format format;
	} cases[] = {{3, false, PICTURE_JPEG}, {3, true, PICTURE_PNG}, {4, false, PICTURE_PNG}};

	for (size_t c = 0; c < 3; c++) {
		struct raster r, out_r;
		uint8_t *webp = NULL;
		size_t size = 0;
		paint(&r, cases[c].channels);
		if (cases[c].channels == 4)
			for (size_t k = 0; k < 800; k++)
				r.pixels[k * 4 + 3] = 100;
		int stride = (int)(W * cases[c].channels);
		if (cases[c].channels == 4)
			size = WebPEncodeRGBA(r.pixels, W, H, stride, 90, &webp);
		else if (cases[c].lossless)
			size = WebPEncodeLosslessRGB(r.pixels, W, H, stride, &webp);
		else
			size = WebPEncodeRGB(r.pixels, W, H, stride, 90, &webp);
		assert_true(size > 0);
		struct ingested i = ingest(webp, size);
		assert_int_equal(i.word, PICTURE_GOOD);
		assert_int_equal(i.format, cases[c].format);
		struct buf out = bytes_read(&i);
		if (i.format == PICTURE_JPEG)
			jpeg_pixels(&out, &out_r);
		else
			png_pixels(&out, &out_r, cases[c].channels);
		is_upright(&out_r, W, H);
		refused(webp, size / 2, PICTURE_TRUNCATED);
		WebPFree(webp);
		raster_free(&r);
		raster_free(&out_r);
		buf_fini(&out);
		ingested_close(&i);
	}
}

static void the_same_picture_comes_out_as_the_same_bytes(void **state)
{
	(void)state;
	struct buf in = test_jpeg(&(struct jpeg_make){.orientation = 6});
	struct ingested a = ingest(in.data, in.size), b = ingest(in.data, in.size);
	struct buf x = bytes_read(&a), y = bytes_read(&b);

	assert_true(bytes_equal(buf_bytes(&x), buf_bytes(&y)));
	buf_fini(&x);
	buf_fini(&y);
	buf_fini(&in);
	ingested_close(&a);
	ingested_close(&b);
}

// What came out goes in again unchanged: nothing is lost by a second ingest.
static void ingest_of_an_ingested_picture_changes_nothing(void **state)
{
	(void)state;
	struct buf in = test_jpeg(&(struct jpeg_make){.progressive = true});
	struct ingested a = ingest(in.data, in.size);
	struct buf x = bytes_read(&a);
	struct ingested b = ingest(x.data, x.size);
	struct buf y = bytes_read(&b);

	assert_true(bytes_equal(buf_bytes(&x), buf_bytes(&y)));
	buf_fini(&x);
	buf_fini(&y);
	buf_fini(&in);
	ingested_close(&a);
	ingested_close(&b);
}

// ---- smaller

static struct ingested resized(const struct buf *in, uint32_t width, uint32_t height)
{
	struct ingest_limits limits = {.width = width, .height = height};
	struct ingested i;
	SCOPED_FD int fd = file_with(in->data, in->size);

	assert_int_equal(ingest_run(fd, &limits, &i), ERR_OK);
	return i;
}

// Every new pixel is the mean of those it covers, exactly; a transparent one has no colour.
static void a_smaller_raster_is_the_mean_of_what_it_covers(void **state)
{
	(void)state;
	struct raster r, out;

	assert_true(raster_new(&r, 3, 2, 1));
	memcpy(r.pixels, "\x00\x30\x60\x90\xc0\xf0", 6);
	assert_true(raster_shrink(&r, 1, 1, &out));
	assert_int_equal(out.pixels[0], 0x78);
	raster_free(&out);
	assert_true(raster_shrink(&r, 3, 2, &out)); // the same size: the same pixels
	assert_memory_equal(out.pixels, r.pixels, 6);
	raster_free(&out);
	assert_true(raster_shrink(&r, 2, 1, &out)); // columns 0 and half of 1; half of 1 and 2
	assert_int_equal(out.pixels[0], (2 * (0x00 + 0x90) + 0x30 + 0xc0 + 3) / 6);
	raster_free(&out);
	assert_false(raster_shrink(&r, 4, 1, &out)); // never larger
	raster_free(&r);
	assert_true(raster_new(&r, 2, 1, 4));
	memcpy(r.pixels, "\xff\x00\x00\xff\x00\xff\x00\x00",
		8); // red, and a green that is not seen
	assert_true(raster_shrink(&r, 1, 1, &out));
	assert_memory_equal(out.pixels, "\xff\x00\x00\x80", 4);
	raster_free(&out);
	raster_free(&r);
}

static void a_picture_gets_the_size_of_a_screen(void **state)
{
	(void)state;
	static const uint32_t sides[][2] = {{48, 32}, {95, 63}, {10, 7}, {1, 1}, {96, 64}};
	struct raster r, small;

	paint(&r, 3);
	struct buf jpeg = test_jpeg(&(struct jpeg_make){0}), png = png_of(&r, 0);
	for (size_t k = 0; k < sizeof sides / sizeof sides[0]; k++)
		for (int as_png = 0; as_png < 2; as_png++) {
			struct ingested i =
				resized(as_png ? &png : &jpeg, sides[k][0], sides[k][1]);
			struct ingested again =
				resized(as_png ? &png : &jpeg, sides[k][0], sides[k][1]);
			assert_int_equal(i.word, PICTURE_GOOD);
			assert_int_equal(i.width, sides[k][0]);
			assert_int_equal(i.height, sides[k][1]);
			assert_int_equal(i.format, as_png ? PICTURE_PNG : PICTURE_JPEG);
			struct buf out = bytes_read(&i), same = bytes_read(&again);
			assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&same)));
			if (as_png)
				png_pixels(&out, &small, 3);
			else
				jpeg_pixels(&out, &small);
			if (sides[k][0] >= 10)
				is_upright(&small, sides[k][0], sides[k][1]);
			raster_free(&small);
			buf_fini(&out);
			buf_fini(&same);
			ingested_close(&i);
			ingested_close(&again);
		}
	struct ingested larger = resized(&png, W + 1, H);
	assert_int_equal(larger.word, PICTURE_DAMAGED);
	raster_free(&r);
	buf_fini(&jpeg);
	buf_fini(&png);
}

// A profile, a comment and a thumbnail in EXIF do not travel.
static void a_profile_in_a_jpeg_is_left_behind(void **state)
{
	(void)state;
	struct buf in = test_jpeg(&(struct jpeg_make){.orientation = 1}), with;
	static const uint8_t profile[] = "\xff\xe2\x00\x20ICC_PROFILE\0\1\1secret profile..";

	buf_init(&with, PICTURE_OUTPUT_MAX);
	assert_int_equal(buf_append(&with, in.data, 2), ERR_OK);
	assert_int_equal(buf_append(&with, profile, 34), ERR_OK);
	assert_int_equal(buf_append(&with, in.data + 2, in.size - 2), ERR_OK);
	struct ingested i = ingest(with.data, with.size);
	assert_int_equal(i.word, PICTURE_GOOD);
	struct buf out = bytes_read(&i);
	assert_false(holds(&out, "ICC_PROFILE"));
	buf_fini(&out);
	buf_fini(&in);
	buf_fini(&with);
	ingested_close(&i);
}

// ---- bad pictures

static void what_is_no_picture_is_refused(void **state)
{
	(void)state;
	refused("", 0, PICTURE_NOT_A_PICTURE);
	refused("hello, I am called .jpg\n", 24, PICTURE_NOT_A_PICTURE);
	refused("GIF89a..............", 20, PICTURE_NOT_A_PICTURE);
	refused("\x7f"
		"ELF............",
		16, PICTURE_NOT_A_PICTURE);
	refused("<svg onload=alert(1)>", 21, PICTURE_NOT_A_PICTURE);
}

static void C2_a_jpeg_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (int progressive = 0; progressive < 2; progressive++) {
		struct buf in = test_jpeg(&(struct jpeg_make){.progressive = progressive});
		for (size_t n = 4; n < in.size; n += in.size / 12)
			refused(in.data, n, PICTURE_TRUNCATED);
		refused(in.data, in.size - 2, PICTURE_TRUNCATED); // only the end marker is missing
		buf_fini(&in);
	}
}

static void C2_a_png_cut_anywhere_is_refused(void **state)
{
	(void)state;
	struct raster r;
	paint(&r, 3);
	struct buf in = png_of(&r, 0);

	for (size_t n = 8; n < in.size; n += in.size / 12)
		refused(in.data, n, PICTURE_TRUNCATED);
	refused(in.data, in.size - 1, PICTURE_TRUNCATED);
	raster_free(&r);
	buf_fini(&in);
}

static void C2_a_damaged_png_is_refused(void **state)
{
	(void)state;
	struct raster r;
	paint(&r, 3);
	struct buf in = png_of(&r, 0);

	in.data[in.size / 2] ^= 0x55;
	refused(in.data, in.size, PICTURE_DAMAGED);
	raster_free(&r);
	buf_fini(&in);
	struct buf short_rows = png_zeros(W, H, 8, 2, (W * 3 + 1) * (H / 2));
	chunk_put(&short_rows, "IEND", NULL, 0);
	refused(short_rows.data, short_rows.size, PICTURE_DAMAGED);
	buf_fini(&short_rows);
}

static void C1_a_png_bomb_is_refused_by_its_header(void **state)
{
	(void)state;
	static const uint32_t sides[][2] = {
		{16000, 16000}, {0x80000000u, 1}, {0x7fffffff, 0x7fffffff}, {16385, 1}, {1, 16385}};

	for (size_t k = 0; k < sizeof sides / sizeof sides[0]; k++) {
		struct buf in = png_zeros(sides[k][0], sides[k][1], 8, 2, 100000);
		chunk_put(&in, "IEND", NULL, 0);
		refused(in.data, in.size, PICTURE_TOO_LARGE);
		buf_fini(&in);
	}
	struct buf none = png_zeros(0, 5, 8, 2, 100);
	refused(none.data, none.size, PICTURE_DAMAGED);
	buf_fini(&none);
}

// 60 MB of text in 60 kB, and a profile: never inflated, the picture is as good as any.
static void C1_text_and_profile_bombs_are_skipped(void **state)
{
	(void)state;
	uLongf size = compressBound(60000000);
	SCOPED_FREE uint8_t *zeros = calloc(1, 60000000);
	SCOPED_FREE uint8_t *packed = malloc(size + 9);
	struct raster r;
	struct buf in;

	assert_non_null(zeros);
	assert_non_null(packed);
	memcpy(packed, "Comment\0\0", 9);
	assert_int_equal(compress2(packed + 9, &size, zeros, 60000000, 9), Z_OK);
	paint(&r, 3);
	struct buf plain = png_of(&r, 0);
	buf_init(&in, PICTURE_OUTPUT_MAX);
	assert_int_equal(buf_append(&in, plain.data, 33), ERR_OK);
	chunk_put(&in, "zTXt", packed, size + 9);
	chunk_put(&in, "iCCP", packed, size + 9);
	assert_int_equal(buf_append(&in, plain.data + 33, plain.size - 33), ERR_OK);
	struct ingested i = ingest(in.data, in.size);
	assert_int_equal(i.word, PICTURE_GOOD);
	assert_true(i.size <= plain.size);
	ingested_close(&i);
	raster_free(&r);
	buf_fini(&plain);
	buf_fini(&in);
}

static void C1_a_png_of_a_million_chunks_is_refused(void **state)
{
	(void)state;
	struct buf in = png_zeros(W, H, 8, 2, (W * 3 + 1) * H);

	for (int k = 0; k < 1000000; k++)
		chunk_put(&in, "tEXt", "", 0);
	chunk_put(&in, "IEND", NULL, 0);
	refused(in.data, in.size, PICTURE_BOMB);
	buf_fini(&in);
}

// A progressive JPEG whose last scan is repeated ten thousand times.
static void C1_a_jpeg_of_ten_thousand_scans_is_refused(void **state)
{
	(void)state;
	struct buf in = test_jpeg(&(struct jpeg_make){.spectral = true}), bomb;
	size_t last = 0;

	for (size_t k = 0; k + 1 < in.size; k++)
		if (in.data[k] == 0xff && in.data[k + 1] == 0xda)
			last = k;
	assert_true(last > 0);
	buf_init(&bomb, PICTURE_OUTPUT_MAX);
	assert_int_equal(buf_append(&bomb, in.data, in.size - 2), ERR_OK);
	for (int k = 0; k < 10000; k++)
		assert_int_equal(buf_append(&bomb, in.data + last, in.size - 2 - last), ERR_OK);
	assert_int_equal(buf_append(&bomb, "\xff\xd9", 2), ERR_OK);
	refused(bomb.data, bomb.size, PICTURE_BOMB);
	buf_fini(&bomb);
	buf_fini(&in);
}

static void C1_a_file_above_64_mib_is_refused(void **state)
{
	(void)state;
	struct ingested i;
	SCOPED_FD int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, (off_t)PICTURE_INPUT_MAX + 1), 0);
	assert_int_equal(ingest_run(fd, NULL, &i), ERR_OK);
	assert_int_equal(i.word, PICTURE_TOO_LARGE);
}

// The child is killed from outside or dies: a word about the picture, and the next one works.
static void C2_a_dying_or_hanging_decoder_is_a_bad_picture(void **state)
{
	(void)state;
	static const struct {
		const char *program;
		enum picture_word word;
	} cases[] = {{"/tmp/helio-test-decoder-hangs", PICTURE_TIMEOUT},
		{"/tmp/helio-test-decoder-dies", PICTURE_DAMAGED}};
	char folder[] = "/tmp/helio-ingest-XXXXXX";
	struct ingested i;

	assert_non_null(mkdtemp(folder));
	for (size_t k = 0; k < 2; k++) {
		char path[64];
		const char *script =
			k == 0 ? "#!/bin/sh\nexec sleep 60\n" : "#!/bin/sh\nkill -SEGV $$\n";
		snprintf(path, sizeof path, "%s/decoder", folder);
		assert_int_equal(file_write_atomic(path, script, strlen(script), 0700), ERR_OK);
		struct ingest_limits limits = {
			.deadline_ms = k == 0 ? 300 : 60000, .program = path};
		struct buf in = test_jpeg(&(struct jpeg_make){0});
		SCOPED_FD int fd = file_with(in.data, in.size);
		assert_int_equal(ingest_run(fd, &limits, &i), ERR_OK);
		assert_int_equal(i.word, cases[k].word);
		assert_int_equal(ingest_run(fd, NULL, &i), ERR_OK);
		assert_int_equal(i.word, PICTURE_GOOD);
		ingested_close(&i);
		buf_fini(&in);
	}
	assert_int_equal(tree_remove(folder), ERR_OK);
}

static size_t open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

// Again and again: no descriptor, no child and no picture is left behind. HELIO_LONG=1: a thousand.
static void C2_a_decoder_that_crashes_a_thousand_times_leaves_nothing_behind(void **state)
{
	const char *more = getenv("HELIO_LONG");
	int rounds = more && more[0] == '1' ? 1000 : 50;
	struct ingest_limits limits = {.deadline_ms = 60000, .program = "/bin/false"};
	struct buf in = test_jpeg(&(struct jpeg_make){0});
	SCOPED_FD int fd = file_with(in.data, in.size);
	struct ingested i;

	(void)state;
	assert_int_equal(ingest_run(fd, &limits, &i), ERR_OK);
	size_t files = open_files();
	for (int n = 0; n < rounds; n++) {
		assert_int_equal(ingest_run(fd, &limits, &i), ERR_OK);
		assert_int_equal(i.word, PICTURE_DAMAGED);
		assert_int_equal(i.fd, -1);
	}
	assert_int_equal(open_files(), files);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(ingest_run(fd, NULL, &i), ERR_OK); // the control
	assert_int_equal(i.word, PICTURE_GOOD);
	ingested_close(&i);
	buf_fini(&in);
}

// A header that promises more than is decoded, in each format that has one.
static void C1_a_jpeg_and_a_webp_bomb_are_refused_by_their_headers(void **state)
{
	struct buf in = test_jpeg(&(struct jpeg_make){0});
	uint8_t webp[30] = "RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0";

	(void)state;
	for (size_t k = 0; k + 9 < in.size; k++) {
		if (in.data[k] == 0xff && (in.data[k + 1] == 0xc0 || in.data[k + 1] == 0xc1)) {
			memcpy(in.data + k + 5, "\xff\xdc\xff\xdc", 4); // 65,500 x 65,500
			break;
		}
	}
	refused(in.data, in.size, PICTURE_TOO_LARGE);
	buf_fini(&in);
	struct ingested i = ingest(webp, sizeof(webp));
	assert_int_not_equal(i.word, PICTURE_GOOD);
	assert_int_equal(i.fd, -1);
}

// Pixels that go on 1,000:1 behind the last row, and an animation of twenty thousand frames:
// what lies beside the picture is not inflated, or refused; never kept.
static void C1_what_goes_on_behind_the_picture_is_not_followed(void **state)
{
	struct buf surplus = png_zeros(W, H, 8, 2, 50u << 20), frames = png_zeros(W, H, 8, 2, 0);
	static const uint8_t control[26] = {0, 0, 0, 1, 0, 0, 0, W, 0, 0, 0, H};

	(void)state;
	chunk_put(&surplus, "IEND", NULL, 0);
	struct ingested i = ingest(surplus.data, surplus.size);
	assert_true(i.word != PICTURE_GOOD || i.size < 64 * 1024);
	ingested_close(&i);
	buf_clear(&frames);
	struct buf plain = png_zeros(W, H, 8, 2, (W * 3 + 1) * H);
	assert_int_equal(buf_append(&frames, plain.data, plain.size), ERR_OK);
	for (int n = 0; n < 20000; n++)
		chunk_put(&frames, "fcTL", control, sizeof(control));
	chunk_put(&frames, "IEND", NULL, 0);
	i = ingest(frames.data, frames.size);
	assert_true(i.word != PICTURE_GOOD || i.size < 64 * 1024);
	ingested_close(&i);
	buf_fini(&surplus);
	buf_fini(&frames);
	buf_fini(&plain);
}

static void exif_never_reads_beyond_its_bytes(void **state)
{
	(void)state;
	static const uint8_t good[] = "MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0";
	uint64_t z = 1;

	assert_int_equal(exif_orientation(bytes_of(good, 26)), 6);
	for (size_t n = 0; n < 20; n++)
		assert_int_equal(exif_orientation(bytes_of(good, n)), 1);
	for (int k = 0; k < 200000; k++) {
		SCOPED_FREE uint8_t *b = malloc(26); // exact, for the sanitizer
		assert_non_null(b);
		memcpy(b, good, 26);
		for (int m = 0; m < 3; m++) {
			z = z * 6364136223846793005u + 1442695040888963407u;
			b[(z >> 33) % 26] = (uint8_t)(z >> 56);
		}
		unsigned o = exif_orientation(bytes_of(b, 26));
		assert_in_range(o, 1, 8);
	}
}

int main(int argc, char **argv)
{
	ingest_child_enter(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_jpeg_comes_out_without_loss_and_without_metadata),
		cmocka_unit_test(a_progressive_jpeg_becomes_baseline_without_loss),
		cmocka_unit_test(every_exif_orientation_comes_out_upright),
		cmocka_unit_test(a_cmyk_jpeg_becomes_rgb),
		cmocka_unit_test(a_png_keeps_its_pixels_and_loses_its_text),
		cmocka_unit_test(a_png_with_16_bits_becomes_8),
		cmocka_unit_test(a_png_orientation_is_applied),
		cmocka_unit_test(webp_becomes_jpeg_or_png),
		cmocka_unit_test(the_same_picture_comes_out_as_the_same_bytes),
		cmocka_unit_test(ingest_of_an_ingested_picture_changes_nothing),
		cmocka_unit_test(a_smaller_raster_is_the_mean_of_what_it_covers),
		cmocka_unit_test(a_picture_gets_the_size_of_a_screen),
		cmocka_unit_test(a_profile_in_a_jpeg_is_left_behind),
		cmocka_unit_test(what_is_no_picture_is_refused),
		cmocka_unit_test(C2_a_jpeg_cut_anywhere_is_refused),
		cmocka_unit_test(C2_a_png_cut_anywhere_is_refused),
		cmocka_unit_test(C2_a_damaged_png_is_refused),
		cmocka_unit_test(C1_a_png_bomb_is_refused_by_its_header),
		cmocka_unit_test(C1_text_and_profile_bombs_are_skipped),
		cmocka_unit_test(C1_a_png_of_a_million_chunks_is_refused),
		cmocka_unit_test(C1_a_jpeg_of_ten_thousand_scans_is_refused),
		cmocka_unit_test(C1_a_file_above_64_mib_is_refused),
		cmocka_unit_test(C2_a_dying_or_hanging_decoder_is_a_bad_picture),
		cmocka_unit_test(C2_a_decoder_that_crashes_a_thousand_times_leaves_nothing_behind),
		cmocka_unit_test(C1_a_jpeg_and_a_webp_bomb_are_refused_by_their_headers),
		cmocka_unit_test(C1_what_goes_on_behind_the_picture_is_not_followed),
		cmocka_unit_test(exif_never_reads_beyond_its_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
