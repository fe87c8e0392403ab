// What the three formats have in common: words, limits, pixels, orientation.
#include "server/publisher/picture.h"
#include "proto/base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *picture_word(enum picture_word w)
{
	static const char *const words[PICTURE_WORD_COUNT] = {
		"good", "not-a-picture", "truncated", "damaged", "too-large", "bomb", "timeout"};

	return (unsigned)w < PICTURE_WORD_COUNT ? words[w] : "?";
}

enum picture_word picture_refuse(struct picture *p, enum picture_word w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->text, sizeof p->text, format, args);
	va_end(args);
	p->text[text_whole(p->text, strlen(p->text))] = '\0';
	return w;
}

enum picture_word picture_limits_check(struct picture *p, uint64_t width, uint64_t height)
{
	if (width == 0 || height == 0)
		return picture_refuse(p, PICTURE_DAMAGED, "the picture has no area");
	if (width > PICTURE_SIDE_MAX || height > PICTURE_SIDE_MAX ||
		width * height > PICTURE_PIXELS_MAX)
		return picture_refuse(p, PICTURE_TOO_LARGE,
			"the picture has %llu x %llu pixels; at most %u a side and %u in all",
			(unsigned long long)width, (unsigned long long)height, PICTURE_SIDE_MAX,
			PICTURE_PIXELS_MAX);
	p->width = (uint32_t)width;
	p->height = (uint32_t)height;
	return PICTURE_GOOD;
}

// ---- pixels

bool raster_new(struct raster *r, uint32_t width, uint32_t height, uint32_t channels)
{
	*r = (struct raster){.width = width, .height = height, .channels = channels};
	r->pixels = malloc((size_t)width * height * channels);
	return r->pixels != NULL;
}

void raster_free(struct raster *r)
{
	free(r->pixels);
	r->pixels = NULL;
}

// Where the pixel for (x, y) of the upright picture stands, as offset + x * step + y * stride in
// pixels of the stored one: every orientation is such a walk.
struct walk {
	ptrdiff_t start, step, stride;
};

static struct walk walk_of(unsigned orientation, ptrdiff_t w, ptrdiff_t h)
{
	switch (orientation) {
	case 2:
		return (struct walk){w - 1, -1, w};
	case 3:
		return (struct walk){w * h - 1, -1, -w};
	case 4:
		return (struct walk){w * (h - 1), 1, -w};
	case 5:
		return (struct walk){0, w, 1};
	case 6:
		return (struct walk){w * (h - 1), -w, 1};
	case 7:
		return (struct walk){w * h - 1, -w, -1};
	case 8:
		return (struct walk){w - 1, w, -1};
	default:
		return (struct walk){0, 1, w};
	}
}

bool raster_orient(struct raster *r, unsigned orientation)
{
	struct raster up;
	bool turned = orientation >= 5;
	struct walk k = walk_of(orientation, (ptrdiff_t)r->width, (ptrdiff_t)r->height);
	ptrdiff_t n = (ptrdiff_t)r->channels;

	if (orientation < 2 || orientation > 8)
		return true;
	if (!raster_new(
		    &up, turned ? r->height : r->width, turned ? r->width : r->height, r->channels))
		return false;
	uint8_t *to = up.pixels;
	for (ptrdiff_t y = 0; y < (ptrdiff_t)up.height; y++)
		for (ptrdiff_t x = 0; x < (ptrdiff_t)up.width; x++, to += n)
			memcpy(to, r->pixels + (k.start + y * k.stride + x * k.step) * n,
				(size_t)n);
	raster_free(r);
	*r = up;
	return true;
}

// ---- EXIF

static unsigned get16(const uint8_t *b, bool big)
{
	return big ? (unsigned)b[0] << 8 | b[1] : (unsigned)b[1] << 8 | b[0];
}

static uint32_t get32(const uint8_t *b, bool big)
{
	return big ? (uint32_t)get16(b, big) << 16 | get16(b + 2, big)
		   : (uint32_t)get16(b + 2, big) << 16 | get16(b, big);
}

unsigned exif_orientation(struct bytes tiff)
{
	const uint8_t *b = tiff.data;

	if (tiff.size < 14 || (memcmp(b, "II*\0", 4) != 0 && memcmp(b, "MM\0*", 4) != 0))
		return 1;
	bool big = b[0] == 'M';
	size_t at = get32(b + 4, big);
	if (at > tiff.size - 2)
		return 1;
	unsigned count = get16(b + at, big);
	for (at += 2; count > 0 && count <= 512 && tiff.size - at >= 12; count--, at += 12) {
		if (get16(b + at, big) != 0x0112 || get16(b + at + 2, big) != 3)
			continue;
		unsigned value = get16(b + at + 8, big);
		return value >= 1 && value <= 8 ? value : 1;
	}
	return 1;
}

// ---- smaller

// How much of each old column (or row) stands in a new one, in 1/65536 of an old one.
struct share {
	uint32_t first, count; // old ones
	uint32_t *weights;
};

static bool shares_make(uint32_t from, uint32_t to, struct share **out, uint32_t **weights)
{
	size_t each = from / to + 2, at = 0;
	struct share *s = calloc(to, sizeof *s);
	uint32_t *w = calloc((size_t)to * each, sizeof *w);

	*out = s;
	*weights = w;
	if (!s || !w)
		return false;
	for (uint32_t i = 0; i < to; i++) {
		uint64_t begin = ((uint64_t)i * from << 16) / to;
		uint64_t end = ((uint64_t)(i + 1) * from << 16) / to;
		s[i].first = (uint32_t)(begin >> 16);
		s[i].weights = w + at;
		for (uint64_t x = begin; x < end; s[i].count++) {
			uint64_t next = ((x >> 16) + 1) << 16;
			next = next < end ? next : end;
			s[i].weights[s[i].count] = (uint32_t)(next - x);
			x = next;
		}
		at += s[i].count;
	}
	return true;
}

// One pixel: the mean of its old ones; of colours weighed by their alpha.
static void pixel_mean(
	const struct raster *r, const struct share *x, const struct share *y, uint8_t *to)
{
	uint64_t sum[4] = {0}, weight = 0, alpha = 0;
	uint32_t n = r->channels;

	for (uint32_t j = 0; j < y->count; j++) {
		const uint8_t *p = r->pixels + ((size_t)(y->first + j) * r->width + x->first) * n;
		for (uint32_t i = 0; i < x->count; i++, p += n) {
			uint64_t w = (uint64_t)x->weights[i] * y->weights[j] >> 12;
			uint64_t a = n == 4 ? w * p[3] : w;
			for (uint32_t c = 0; c < n && c < 3; c++)
				sum[c] += a * p[c];
			alpha += a;
			weight += w;
		}
	}
	for (uint32_t c = 0; c < n && c < 3; c++)
		to[c] = (uint8_t)(alpha ? (sum[c] + alpha / 2) / alpha : 0);
	if (n == 4)
		to[3] = (uint8_t)(weight ? (alpha + weight / 2) / weight : 0);
}

bool raster_shrink(const struct raster *r, uint32_t width, uint32_t height, struct raster *out)
{
	struct share *xs = NULL, *ys = NULL;
	uint32_t *xw = NULL, *yw = NULL;
	bool good = width <= r->width && height <= r->height &&
		    shares_make(r->width, width, &xs, &xw) &&
		    shares_make(r->height, height, &ys, &yw);

	*out = (struct raster){0};
	good = good && raster_new(out, width, height, r->channels);
	for (uint32_t y = 0; good && y < height; y++)
		for (uint32_t x = 0; x < width; x++)
			pixel_mean(r, &xs[x], &ys[y],
				out->pixels + ((size_t)y * width + x) * r->channels);
	free(xs);
	free(ys);
	free(xw);
	free(yw);
	return good;
}

// ---- all formats

static enum picture_word read_back(struct picture *p)
{
	return p->out_format == PICTURE_JPEG ? jpeg_read_back(p) : png_read_back(p);
}

// Pictures of other kinds, by their first bytes, and what makes one of ours of them.
static const struct other_kind {
	size_t at;
	const char *bytes, *what;
} other_kinds[] = {
	{0, "GIF8", "a GIF; save one picture of it: ffmpeg -i IN.gif -frames:v 1 OUT.png"},
	{4, "ftypheic",
		"a HEIC, as telephones make; save it as JPEG: heif-convert IN.heic OUT.jpg"},
	{4, "ftypheix",
		"a HEIC, as telephones make; save it as JPEG: heif-convert IN.heic OUT.jpg"},
	{4, "ftypmif1", "a HEIF; save it as JPEG: heif-convert IN.heif OUT.jpg"},
	{4, "ftypavif", "an AVIF; save it as PNG: heif-convert IN.avif OUT.png"},
	{0, "II*", "a TIFF; save it as PNG: ffmpeg -i IN.tif OUT.png"},
	{0, "MM\0*", "a TIFF; save it as PNG: ffmpeg -i IN.tif OUT.png"},
	{4, "jP  ", "a JPEG 2000; save it as PNG: ffmpeg -i IN.jp2 OUT.png"},
	{0, "\xff\x4f\xff\x51", "a JPEG 2000; save it as PNG: ffmpeg -i IN.j2k OUT.png"},
	{4, "JXL ", "a JPEG XL; save it as PNG: djxl IN.jxl OUT.png"},
	{0, "\xff\x0a", "a JPEG XL; save it as PNG: djxl IN.jxl OUT.png"},
	{0, "BM", "a BMP; save it as PNG: ffmpeg -i IN.bmp OUT.png"},
	{0, "%PDF", "a PDF; save a page of it: pdftoppm -png -r 150 IN.pdf OUT"},
	{0, "<svg",
		"an SVG; save it as PNG in the size of the screens: rsvg-convert -w 1920 IN.svg -o "
		"OUT.png"},
	{0, "<?xml",
		"an XML file; an SVG is to be saved as PNG: rsvg-convert -w 1920 IN.svg -o "
		"OUT.png"},
	{4, "ftyp", "a film; save one picture of it: ffmpeg -i IN.mp4 -frames:v 1 OUT.png"},
};

static enum picture_word kind_refuse(struct picture *p)
{
	for (size_t i = 0; i < sizeof other_kinds / sizeof other_kinds[0]; i++) {
		const struct other_kind *k = &other_kinds[i];
		size_t n = k->bytes[0] == 'M' && k->bytes[1] == 'M' ? 4 : strlen(k->bytes);

		if (p->in.size >= k->at + n && memcmp(p->in.data + k->at, k->bytes, n) == 0)
			return picture_refuse(p, PICTURE_NOT_A_PICTURE,
				"JPEG, PNG and WebP are taken; the file is %s", k->what);
	}
	return picture_refuse(p, PICTURE_NOT_A_PICTURE,
		p->in.size == 0 ? "the file is empty"
				: "the file is not a JPEG, PNG or WebP picture");
}

enum picture_word picture_convert(struct picture *p)
{
	enum picture_word w = PICTURE_NOT_A_PICTURE;
	const uint8_t *b = p->in.data;
	size_t n = p->in.size;

	if (n >= 3 && memcmp(b, "\xff\xd8\xff", 3) == 0)
		w = jpeg_convert(p);
	else if (n >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0)
		w = png_convert(p);
	else if (n >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0)
		w = webp_convert(p);
	else
		return kind_refuse(p);
	return w == PICTURE_GOOD ? read_back(p) : w;
}

enum picture_word picture_resize(struct picture *p, uint32_t width, uint32_t height)
{
	struct raster r = {0}, small = {0};
	bool jpeg = p->in.size > 3 && memcmp(p->in.data, "\xff\xd8\xff", 3) == 0;
	enum picture_word w = jpeg ? jpeg_raster(p, width, height, &r) : png_raster(p, &r);

	if (w == PICTURE_GOOD && !raster_shrink(&r, width, height, &small))
		w = picture_refuse(p, PICTURE_DAMAGED, "the picture cannot be made smaller");
	raster_free(&r);
	p->width = width;
	p->height = height;
	if (w == PICTURE_GOOD)
		w = jpeg ? jpeg_write(p, &small) : png_write(p, &small);
	raster_free(&small);
	return w == PICTURE_GOOD ? read_back(p) : w;
}
