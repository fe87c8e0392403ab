// Distances make coverage, coverage makes smooth edges; a little noise before rounding hides bands.
#include "client/display/canvas.h"

#include "client/display/font.h"
#include <math.h>

struct box {
	uint32_t x0, y0, x1, y1;
};

static struct box box_make(struct frame f, float x0, float y0, float x1, float y1)
{
	struct box b = {0, 0, f.w, f.h};

	if (x0 > 0)
		b.x0 = x0 < (float)f.w ? (uint32_t)x0 : f.w;
	if (y0 > 0)
		b.y0 = y0 < (float)f.h ? (uint32_t)y0 : f.h;
	if (x1 < (float)f.w)
		b.x1 = x1 > 0 ? (uint32_t)x1 : 0;
	if (y1 < (float)f.h)
		b.y1 = y1 > 0 ? (uint32_t)y1 : 0;
	return b;
}

// -0.5 to 0.5, the same for the same pixel.
static float noise(uint32_t x, uint32_t y)
{
	uint32_t h = x * 374761393U + y * 668265263U;

	h = (h ^ h >> 13) * 1274126177U;
	return (float)((h ^ h >> 16) & 0xffff) / 65535.0F - 0.5F;
}

static uint32_t level(float v)
{
	if (v < 0)
		return 0;
	return v > 255 ? 255 : (uint32_t)(v + 0.5F);
}

static void blend(struct frame f, uint32_t x, uint32_t y, uint32_t rgb, float alpha)
{
	uint32_t *px = f.px + (size_t)y * f.w + x;
	uint32_t out = 0;
	float grain = noise(x, y) * (alpha < 0.99F ? 1.0F : 0.0F);

	for (unsigned shift = 0; shift < 24; shift += 8) {
		float under = (float)(*px >> shift & 255), over = (float)(rgb >> shift & 255);

		out |= level(under + (over - under) * alpha + grain) << shift;
	}
	*px = out;
}

static float clamp01(float v)
{
	return v < 0 ? 0 : (v > 1 ? 1 : v);
}

// ---- surfaces

static void row_gradient(struct frame f, uint32_t y, const struct canvas_stop *a,
	const struct canvas_stop *b, float t)
{
	uint32_t *px = f.px + (size_t)y * f.w;
	float c[3];

	for (int i = 0; i < 3; i++) {
		float from = (float)(a->rgb >> (16 - 8 * i) & 255);

		c[i] = from + ((float)(b->rgb >> (16 - 8 * i) & 255) - from) * t;
	}
	for (uint32_t x = 0; x < f.w; x++) {
		float n = noise(x, y);

		px[x] = level(c[0] + n) << 16 | level(c[1] + n) << 8 | level(c[2] + n);
	}
}

void canvas_gradient(struct frame f, const struct canvas_stop *stops, size_t count)
{
	size_t i = 0;

	for (uint32_t y = 0; y < f.h; y++) {
		float at = ((float)y + 0.5F) / (float)f.h;

		while (i + 2 < count && at > stops[i + 1].at)
			i++;
		float t = clamp01((at - stops[i].at) / (stops[i + 1].at - stops[i].at));

		row_gradient(f, y, &stops[i], &stops[i + 1], t * t * (3 - 2 * t));
	}
}

void canvas_glow(struct frame f, float cx, float cy, float r, uint32_t rgb, float alpha)
{
	struct box b = box_make(f, cx - r, cy - r, cx + r + 1, cy + r + 1);

	for (uint32_t y = b.y0; y < b.y1; y++) {
		for (uint32_t x = b.x0; x < b.x1; x++) {
			float dx = (float)x + 0.5F - cx, dy = (float)y + 0.5F - cy;
			float d = (dx * dx + dy * dy) / (r * r);

			if (d < 1)
				blend(f, x, y, rgb, alpha * (1 - d) * (1 - d) * (1 - d));
		}
	}
}

void canvas_disc(struct frame f, float cx, float cy, float r, uint32_t rgb, float alpha)
{
	struct box b = box_make(f, cx - r - 1, cy - r - 1, cx + r + 2, cy + r + 2);

	for (uint32_t y = b.y0; y < b.y1; y++) {
		for (uint32_t x = b.x0; x < b.x1; x++) {
			float d = hypotf((float)x + 0.5F - cx, (float)y + 0.5F - cy);
			float cover = clamp01(r - d + 0.5F);

			if (cover > 0)
				blend(f, x, y, rgb, cover * alpha);
		}
	}
}

void canvas_ring(
	struct frame f, float cx, float cy, float r, float width, uint32_t rgb, float alpha)
{
	float out = r + width / 2 + 1;
	struct box b = box_make(f, cx - out, cy - out, cx + out + 1, cy + out + 1);

	for (uint32_t y = b.y0; y < b.y1; y++) {
		for (uint32_t x = b.x0; x < b.x1; x++) {
			float d = fabsf(hypotf((float)x + 0.5F - cx, (float)y + 0.5F - cy) - r);
			float cover = clamp01(width / 2 - d + 0.5F);

			if (cover > 0)
				blend(f, x, y, rgb, cover * alpha);
		}
	}
}

void canvas_ground(struct frame f, const float *y, uint32_t rgb)
{
	for (uint32_t x = 0; x < f.w; x++) {
		float top = y[x] > 0 ? y[x] : 0;

		for (uint32_t row = (uint32_t)top; row < f.h; row++)
			blend(f, x, row, rgb, clamp01((float)row + 1 - top));
	}
}

// ---- lines

// Distance of a point to a segment; *t: where on it, 0 to 1.
static float segment_distance(const struct font_segment *s, float x, float y, float *t)
{
	float dx = s->x1 - s->x0, dy = s->y1 - s->y0, length = dx * dx + dy * dy;

	*t = length > 0 ? clamp01(((x - s->x0) * dx + (y - s->y0) * dy) / length) : 0;
	return hypotf(x - s->x0 - *t * dx, y - s->y0 - *t * dy);
}

void canvas_line(struct frame f, const float from[2], const float to[2], float width, uint32_t rgb,
	float alpha0, float alpha1)
{
	struct font_segment s = {from[0], from[1], to[0], to[1]};
	float air = width / 2 + 1;
	struct box b = box_make(f, fminf(s.x0, s.x1) - air, fminf(s.y0, s.y1) - air,
		fmaxf(s.x0, s.x1) + air + 1, fmaxf(s.y0, s.y1) + air + 1);

	for (uint32_t y = b.y0; y < b.y1; y++) {
		for (uint32_t x = b.x0; x < b.x1; x++) {
			float t, d = segment_distance(&s, (float)x + 0.5F, (float)y + 0.5F, &t);
			float cover = clamp01(width / 2 - d + 0.5F);

			if (cover > 0)
				blend(f, x, y, rgb, cover * (alpha0 + (alpha1 - alpha0) * t));
		}
	}
}

// ---- text

float canvas_text_width(const struct canvas_text *t, const char *s)
{
	float width = 0;

	for (; *s; s++)
		width += font_advance(*s) * t->size / FONT_CAP + (s[1] ? t->spacing : 0);
	return width;
}

static float glyph_cover(const struct font_glyph *g, float x, float y, float half)
{
	float least = 1e9F, t;

	for (size_t i = 0; i < g->count; i++)
		least = fminf(least, segment_distance(&g->segments[i], x, y, &t));
	return clamp01(half - least + 0.5F);
}

// The glyph moved and scaled to pixels, so that distances are pixels.
static void glyph_place(struct font_glyph *g, float scale, float x, float y)
{
	for (size_t i = 0; i < g->count; i++) {
		struct font_segment *s = &g->segments[i];

		*s = (struct font_segment){x + s->x0 * scale, y + (s->y0 - FONT_CAP) * scale,
			x + s->x1 * scale, y + (s->y1 - FONT_CAP) * scale};
	}
}

static float glyph_draw(struct frame f, const struct canvas_text *t, float x, float y, char c)
{
	struct font_glyph g;
	float scale = t->size / FONT_CAP, air = t->weight + 1;

	font_glyph_get(c, &g);
	glyph_place(&g, scale, x, y);
	struct box b = box_make(f, x - air - scale, y + (FONT_TOP - FONT_CAP) * scale - air,
		x + g.advance * scale + air, y + (FONT_BOTTOM - FONT_CAP) * scale + air);

	for (uint32_t py = b.y0; py < b.y1; py++) {
		for (uint32_t px = b.x0; px < b.x1; px++) {
			float cover =
				glyph_cover(&g, (float)px + 0.5F, (float)py + 0.5F, t->weight / 2);

			if (cover > 0)
				blend(f, px, py, t->rgb, cover * t->alpha);
		}
	}
	return g.advance * scale + t->spacing;
}

void canvas_text_draw(struct frame f, const struct canvas_text *t, float x, float y, const char *s)
{
	for (; *s; s++)
		x += glyph_draw(f, t, x, y, *s);
}
