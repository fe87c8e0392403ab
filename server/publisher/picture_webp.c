// WebP, with libwebp. Devices know JPEG and PNG only: what has alpha or was stored without loss
// becomes PNG, the rest JPEG. Animations are refused.
#include "server/publisher/colour.h"
#include <string.h>
#include <webp/decode.h>

static uint32_t le32(const uint8_t *b)
{
	return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

// A chunk of the RIFF list; empty: there is none.
static struct bytes chunk_find(struct bytes in, const char *type)
{
	size_t at = 12;

	for (int i = 0; i < 64 && in.size - at >= 8; i++) {
		uint32_t n = le32(in.data + at + 4);
		struct bytes data = bytes_of(in.data + at + 8, n);
		if (n > in.size - at - 8)
			break;
		if (memcmp(in.data + at, type, 4) == 0)
			return data;
		if (n + (n & 1) >= in.size - at - 8)
			break;
		at += 8 + (size_t)n + (n & 1);
	}
	return (struct bytes){0};
}

// Some writers put the JPEG prefix before the TIFF header.
static unsigned orientation_of(struct bytes in)
{
	struct bytes exif = chunk_find(in, "EXIF");

	if (exif.size > 6 && memcmp(exif.data, "Exif\0\0", 6) == 0)
		exif = bytes_of(exif.data + 6, exif.size - 6);
	return exif_orientation(exif);
}

static enum picture_word status_refuse(struct picture *p, VP8StatusCode status)
{
	if (status == VP8_STATUS_NOT_ENOUGH_DATA || status == VP8_STATUS_SUSPENDED)
		return picture_refuse(p, PICTURE_TRUNCATED, "the WebP ends in the middle");
	if (status == VP8_STATUS_OUT_OF_MEMORY)
		return picture_refuse(p, PICTURE_BOMB, "no memory for the pixels");
	if (status == VP8_STATUS_UNSUPPORTED_FEATURE)
		return picture_refuse(
			p, PICTURE_NOT_A_PICTURE, "the WebP has a feature that is not known");
	return picture_refuse(p, PICTURE_DAMAGED, "the WebP is damaged");
}

static enum picture_word pixels_read(struct picture *p, WebPDecoderConfig *c, struct raster *r)
{
	bool alpha = c->input.has_alpha;

	if (!raster_new(r, p->width, p->height, alpha ? 4 : 3))
		return picture_refuse(p, PICTURE_BOMB, "no memory for the pixels");
	c->output.colorspace = alpha ? MODE_RGBA : MODE_RGB;
	c->output.is_external_memory = 1;
	c->output.u.RGBA.rgba = r->pixels;
	c->output.u.RGBA.stride = (int)(r->width * r->channels);
	c->output.u.RGBA.size = (size_t)r->width * r->height * r->channels;
	c->options.use_threads = 0;
	VP8StatusCode status = WebPDecode(p->in.data, p->in.size, c);
	return status == VP8_STATUS_OK ? PICTURE_GOOD : status_refuse(p, status);
}

static enum picture_word raster_write(struct picture *p, struct raster *r, bool as_png)
{
	struct colour *c = colour_open(chunk_find(p->in, "ICCP"), colour_pixels_of(r->channels));

	if (c)
		colour_raster(c, r);
	colour_free(c);
	if (!raster_orient(r, orientation_of(p->in)))
		return picture_refuse(p, PICTURE_BOMB, "no memory to turn the picture");
	p->width = r->width;
	p->height = r->height;
	return as_png ? png_write(p, r) : jpeg_write(p, r);
}

enum picture_word webp_convert(struct picture *p)
{
	WebPDecoderConfig c;
	struct raster r = {0};

	if (!WebPInitDecoderConfig(&c))
		return picture_refuse(
			p, PICTURE_DAMAGED, "libwebp has another version than was built for");
	VP8StatusCode status = WebPGetFeatures(p->in.data, p->in.size, &c.input);
	if (status != VP8_STATUS_OK)
		return status_refuse(p, status);
	if (c.input.has_animation)
		return picture_refuse(p, PICTURE_NOT_A_PICTURE, "the WebP is an animation");
	enum picture_word word =
		picture_limits_check(p, (uint64_t)c.input.width, (uint64_t)c.input.height);
	bool as_png = c.input.has_alpha || c.input.format == 2;
	if (word == PICTURE_GOOD)
		word = pixels_read(p, &c, &r);
	if (word == PICTURE_GOOD)
		word = raster_write(p, &r, as_png);
	raster_free(&r);
	return word;
}
