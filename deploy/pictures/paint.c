// Noise and shapes.
#include "paint.h"

#include <math.h>

rgb hex(uint32_t c)
{
	return (rgb){(float)(c >> 16 & 255) / 255, (float)(c >> 8 & 255) / 255,
		(float)(c & 255) / 255, 0};
}

rgb mix(rgb a, rgb b, float t)
{
	return a + (b - a) * t;
}

float clamp01(float v)
{
	return v < 0 ? 0 : (v > 1 ? 1 : v);
}

float smooth(float from, float to, float v)
{
	float t = clamp01((v - from) / (to - from));

	return t * t * (3 - 2 * t);
}

static uint32_t hash(uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t h = a * 0x9e3779b1U ^ b * 0x85ebca77U ^ c * 0xc2b2ae3dU;

	h = (h ^ h >> 15) * 0x2c1b3c6dU;
	h = (h ^ h >> 12) * 0x297a2d39U;
	return h ^ h >> 15;
}

float chance(uint32_t seed, uint32_t i)
{
	return (float)(hash(seed, i, 77) >> 8) / 16777216.0F;
}

static float corner(int x, int y, uint32_t seed)
{
	return (float)(hash((uint32_t)x, (uint32_t)y, seed) >> 8) / 16777216.0F;
}

float noise(float x, float y, uint32_t seed)
{
	float fx = floorf(x), fy = floorf(y);
	int ix = (int)fx, iy = (int)fy;
	float tx = x - fx, ty = y - fy;

	tx = tx * tx * tx * (tx * (tx * 6 - 15) + 10);
	ty = ty * ty * ty * (ty * (ty * 6 - 15) + 10);
	float a = corner(ix, iy, seed), b = corner(ix + 1, iy, seed);
	float c = corner(ix, iy + 1, seed), d = corner(ix + 1, iy + 1, seed);

	return (a + (b - a) * tx) * (1 - ty) + (c + (d - c) * tx) * ty;
}

float fbm(float x, float y, int octaves, uint32_t seed)
{
	float sum = 0, weight = 0.5F, all = 0;

	for (int i = 0; i < octaves; i++) {
		sum += noise(x, y, seed + (uint32_t)i) * weight;
		all += weight;
		weight *= 0.5F;
		// Turned a little, so that the lattices do not line up.
		float turned = x * 1.6F + y * 1.2F;
		y = y * 1.6F - x * 1.2F;
		x = turned;
	}
	return sum / all;
}

rgb ramp(const uint32_t *colours, int count, float t)
{
	float place = clamp01(t) * (float)(count - 1);
	int i = (int)place;

	if (i > count - 2)
		i = count - 2;
	return mix(hex(colours[i]), hex(colours[i + 1]), smooth(0, 1, place - (float)i));
}

void paint_over(struct paint *p, int x, int y, rgb colour, float cover)
{
	rgb *px = at(p, x, y);

	*px = mix(*px, colour, cover);
}

void paint_sky(struct paint *p, const uint32_t *colours, int count, float horizon)
{
	for (int y = 0; y < p->h; y++) {
		rgb c = ramp(colours, count, (float)y / (float)p->h / horizon);

		for (int x = 0; x < p->w; x++)
			*at(p, x, y) = c;
	}
}

struct area {
	int x0, y0, x1, y1;
};

static struct area area_make(const struct paint *p, float x0, float y0, float x1, float y1)
{
	struct area a = {(int)floorf(x0), (int)floorf(y0), (int)ceilf(x1) + 1, (int)ceilf(y1) + 1};

	a.x0 = a.x0 < 0 ? 0 : a.x0;
	a.y0 = a.y0 < 0 ? 0 : a.y0;
	a.x1 = a.x1 > p->w ? p->w : a.x1;
	a.y1 = a.y1 > p->h ? p->h : a.y1;
	return a;
}

void paint_disc(struct paint *p, float cx, float cy, float r, rgb colour, float cover)
{
	struct area a = area_make(p, cx - r - 1, cy - r - 1, cx + r + 1, cy + r + 1);

	for (int y = a.y0; y < a.y1; y++) {
		for (int x = a.x0; x < a.x1; x++) {
			float d = hypotf((float)x + 0.5F - cx, (float)y + 0.5F - cy);

			paint_over(p, x, y, colour, clamp01(r - d + 0.5F) * cover);
		}
	}
}

void paint_glow(struct paint *p, float cx, float cy, float r, rgb colour, float strength)
{
	struct area a = area_make(p, cx - r, cy - r, cx + r, cy + r);

	for (int y = a.y0; y < a.y1; y++) {
		for (int x = a.x0; x < a.x1; x++) {
			float d = hypotf((float)x + 0.5F - cx, (float)y + 0.5F - cy) / r;
			float fall = clamp01(1 - d);
			rgb *px = at(p, x, y);

			// As light does: the brighter it is, the less is added.
			*px += (1 - *px) * colour * (strength * fall * fall * (3 - 2 * fall));
		}
	}
}

void paint_line(struct paint *p, const float from[2], const float to[2], float width, rgb colour,
	float cover0, float cover1)
{
	float air = width / 2 + 1, dx = to[0] - from[0], dy = to[1] - from[1],
	      length = dx * dx + dy * dy;
	struct area a = area_make(p, fminf(from[0], to[0]) - air, fminf(from[1], to[1]) - air,
		fmaxf(from[0], to[0]) + air, fmaxf(from[1], to[1]) + air);

	for (int y = a.y0; y < a.y1; y++) {
		for (int x = a.x0; x < a.x1; x++) {
			float px = (float)x + 0.5F - from[0], py = (float)y + 0.5F - from[1];
			float t = length > 0 ? clamp01((px * dx + py * dy) / length) : 0;
			float d = hypotf(px - t * dx, py - t * dy);

			paint_over(p, x, y, colour,
				clamp01(width / 2 - d + 0.5F) * (cover0 + (cover1 - cover0) * t));
		}
	}
}

void paint_box(struct paint *p, float x0, float y0, float x1, float y1, rgb colour, float cover)
{
	struct area a = area_make(p, x0, y0, x1, y1);

	for (int y = a.y0; y < a.y1; y++) {
		float cy = clamp01((float)y + 1 - y0) * clamp01(y1 - (float)y);

		for (int x = a.x0; x < a.x1; x++)
			paint_over(p, x, y, colour,
				clamp01((float)x + 1 - x0) * clamp01(x1 - (float)x) * cy * cover);
	}
}

void paint_stars(struct paint *p, int count, float bottom, uint32_t seed)
{
	for (uint32_t i = 0; i < (uint32_t)count; i++) {
		float x = chance(seed, i * 4) * (float)p->w,
		      y = chance(seed, i * 4 + 1) * bottom * (float)p->h;
		float bright = powf(chance(seed, i * 4 + 2), 6);
		float r = 0.7F + bright * 1.4F, fade = 1 - y / (bottom * (float)p->h);
		rgb tint = mix(hex(0xffe9d0), hex(0xcfe0ff), chance(seed, i * 4 + 3));

		paint_disc(p, x, y, r, tint, (0.25F + 0.75F * bright) * smooth(0, 0.4F, fade));
		if (bright > 0.55F)
			paint_glow(p, x, y, r * 7, tint, 0.35F * smooth(0, 0.4F, fade));
	}
}

void paint_finish(struct paint *p, float corners, float grain)
{
	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float dx = (float)x / (float)p->w - 0.5F,
			      dy = (float)y / (float)p->h - 0.5F;
			float n = corner(x, y, 991) - 0.5F;
			rgb *px = at(p, x, y);

			*px = *px * (1 - corners * (dx * dx + dy * dy)) + n * grain;
		}
	}
}
