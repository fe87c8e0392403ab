// Sky and water: sea, aurora, clouds, planets.
#include "scenes.h"

#include <math.h>

// colours: sky (3), sun, water far, water near
void scene_sea(struct paint *p, const struct look *k)
{
	float w = (float)p->w, h = (float)p->h, level = h * 0.56F;
	float sun_x = w * (0.3F + 0.4F * chance(k->seed, 1)),
	      sun_y = level - h * (0.02F + 0.13F * chance(k->seed, 2));
	rgb sun = hex(k->colours[3]);

	paint_sky(p, k->colours, 3, 0.56F);
	paint_glow(p, sun_x, sun_y, h * 0.9F, sun, 0.75F);
	paint_disc(p, sun_x, sun_y, h * 0.075F, mix(sun, hex(0xffffff), 0.5F), 1);
	for (int y = 0; y < (int)level; y++) {
		for (int x = 0; x < p->w; x++) {
			float v = (float)y / level, c = fbm((float)x / h * 1.6F, v * 9, 5, k->seed);
			float cover = smooth(0.52F, 0.78F, c) * smooth(0.1F, 0.6F, v) * 0.55F;
			float near = 1 - clamp01(hypotf((float)x - sun_x, (float)y - sun_y) /
						 (h * 0.9F));

			paint_over(p, x, y,
				mix(hex(k->colours[1]), mix(sun, hex(0xffffff), 0.3F), near),
				cover);
		}
	}
	for (int y = (int)level; y < p->h; y++) {
		float depth = ((float)y - level) / (h - level), far = 0.02F + depth;

		for (int x = 0; x < p->w; x++) {
			float u = ((float)x - w / 2) / h;
			float wave = fbm(u * 5 / far, 9 / far, 4, k->seed + 3);
			float fine = noise(u * 40 / far, 70 / far, k->seed + 4);
			float dx = ((float)x - sun_x) / (h * (0.05F + 0.30F * depth));
			float path =
				expf(-dx * dx) * smooth(0.42F, 0.85F, wave * 0.55F + fine * 0.5F);
			rgb water =
				mix(hex(k->colours[4]), hex(k->colours[5]), smooth(0, 1, depth));

			water = water * (0.82F + 0.36F * wave);
			*at(p, x, y) = mix(water, mix(sun, hex(0xffffff), 0.35F),
				path * (0.95F - 0.35F * depth));
		}
	}
	paint_finish(p, 0.35F, 0.012F);
}

static void curtain(struct paint *p, float place, rgb low, rgb high, uint32_t seed)
{
	float h = (float)p->h;

	for (int x = 0; x < p->w; x++) {
		float u = (float)x / h;
		float foot = h * (place + 0.30F * (fbm(u * 1.1F, 0.5F, 3, seed) - 0.5F));
		float rays = 0.35F + 0.65F * fbm(u * 16, 2, 3, seed + 8);
		float reach = h * (0.16F + 0.30F * fbm(u * 3, 7, 2, seed + 5));
		float strong = smooth(0.28F, 0.62F, fbm(u * 1.3F, 4, 2, seed + 2)) * rays;

		for (int y = 0; y < p->h; y++) {
			float up = (foot - (float)y) / reach;
			float light =
				up < 0 ? expf(up * 14) : expf(-up * 1.5F) * clamp01(2.6F - up);
			rgb *px = at(p, x, y);

			*px += (1 - *px) * mix(low, high, clamp01(up * 0.75F)) *
			       clamp01(light * strong * 0.85F);
		}
	}
}

static float snow_line(float u, int layer, uint32_t seed)
{
	float rough = fbm(
		u * (1.7F - 0.4F * (float)layer), (float)layer * 4, 5, seed + 70 + (uint32_t)layer);

	return 0.74F + 0.10F * (float)layer - 0.26F * (rough - 0.35F) * (1 - 0.22F * (float)layer);
}

// Lit by the lights from the left: the slope decides, and fades with depth.
static void snow_hill(struct paint *p, const struct look *k, int layer)
{
	float h = (float)p->h;

	for (int x = 0; x < p->w; x++) {
		float u = (float)x / h, top = h * snow_line(u, layer, k->seed);

		for (int y = top > 0 ? (int)top : 0; y < p->h; y++) {
			float depth = ((float)y - top) / h, v = u + depth * 0.7F;
			float slope = snow_line(v + 0.012F, layer, k->seed) -
				      snow_line(v - 0.012F, layer, k->seed);
			float lit = smooth(0.006F, -0.006F, slope) * smooth(0.34F, 0, depth);
			rgb snow = mix(hex(k->colours[5]) * 0.62F, hex(k->colours[4]) * 0.72F,
				0.10F + 0.80F * lit);

			snow += hex(k->colours[2]) * (0.10F * smooth(0.18F, 0, depth));
			paint_over(p, x, y, snow * (0.62F + 0.19F * (float)layer),
				clamp01((float)y + 1 - top));
		}
	}
}

// colours: sky (2), low light, high light, snow, shadow
void scene_aurora(struct paint *p, const struct look *k)
{
	paint_sky(p, k->colours, 2, 0.8F);
	paint_stars(p, 900, 0.8F, k->seed);
	for (uint32_t i = 0; i < 3; i++)
		curtain(p, 0.42F + 0.09F * (float)i, hex(k->colours[2]), hex(k->colours[3]),
			k->seed + i * 50);
	for (int layer = 0; layer < 3; layer++)
		snow_hill(p, k, layer);
	paint_finish(p, 0.4F, 0.012F);
}

static float cloud_density(float u, float v, uint32_t seed)
{
	float big = fbm(u * 1.1F, v * 1.7F, 2, seed + 40), d = fbm(u * 2.2F, v * 3.4F, 6, seed);

	return d * 0.62F + big * 0.48F;
}

// colours: sky (3), lit cloud, shaded cloud, sun
void scene_clouds(struct paint *p, const struct look *k)
{
	float w = (float)p->w, h = (float)p->h, sun_x = w * (0.2F + 0.6F * chance(k->seed, 1));

	paint_sky(p, k->colours, 3, 1);
	paint_glow(p, sun_x, h * 0.2F, h * 0.8F, hex(k->colours[5]), 0.7F);
	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float u = (float)x / h, v = (float)y / h;
			float d = cloud_density(u, v, k->seed);
			float cover = smooth(0.50F, 0.64F, d + 0.06F * (v - 0.5F));

			if (cover <= 0)
				continue;
			float towards =
				cloud_density(u + (sun_x / h - u) * 0.04F, v - 0.045F, k->seed);
			float lit = clamp01(0.58F + (d - towards) * 5.5F - (d - 0.56F) * 1.2F);

			paint_over(p, x, y, mix(hex(k->colours[4]), hex(k->colours[3]), lit),
				cover * 0.96F);
		}
	}
	paint_glow(p, sun_x, h * 0.2F, h * 0.5F, hex(k->colours[5]), 0.35F);
	paint_finish(p, 0.3F, 0.010F);
}

struct ball {
	float cx, cy, r, tilt;
	uint32_t low, high, air, seed;
	float bands;
};

static void ball_draw(struct paint *p, const struct ball *b)
{
	rgb air = hex(b->air);

	paint_glow(p, b->cx, b->cy, b->r * 1.5F, air, 0.35F);
	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float dx = ((float)x + 0.5F - b->cx) / b->r,
			      dy = ((float)y + 0.5F - b->cy) / b->r;
			float d = sqrtf(dx * dx + dy * dy), cover = clamp01((1 - d) * b->r + 0.5F);

			if (cover <= 0)
				continue;
			float z = sqrtf(fmaxf(0, 1 - d * d)), lat = dy + dx * b->tilt;
			float warp = fbm(dx * 3 / (0.4F + z), lat * 6, 4, b->seed);
			float band =
				fbm(lat * b->bands + warp * 1.6F, warp * 2 + dx, 4, b->seed + 9);
			float sun = clamp01(-dx * 0.62F - dy * 0.48F + z * 0.62F);
			rgb c = mix(hex(b->low), hex(b->high), smooth(0.25F, 0.75F, band)) *
				(0.03F + 1.15F * sun);

			c += air * (powf(1 - z, 3) * 0.75F * (0.1F + sun));
			paint_over(p, x, y, c, cover);
		}
	}
}

static void ring_draw(struct paint *p, const struct ball *b, rgb colour, int front)
{
	float c = cosf(-0.32F), s = sinf(-0.32F);

	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float dx = (float)x - b->cx, dy = (float)y - b->cy;
			float u = (dx * c - dy * s) / b->r, v = (dx * s + dy * c) / b->r / 0.24F;
			float d = sqrtf(u * u + v * v);

			if ((v > 0) != (front != 0) || d < 1.28F || d > 2.25F)
				continue;
			float gap = 0.35F + 0.65F * noise(d * 26, 0, b->seed + 3);
			float edge = smooth(1.28F, 1.34F, d) * smooth(2.25F, 2.15F, d) *
				     (1 - 0.85F * smooth(0.035F, 0.015F, fabsf(d - 1.86F)));

			paint_over(p, x, y, colour, edge * gap * 0.85F);
		}
	}
}

// colours: space (2), planet low, planet high, air, ring (0: none)
void scene_planet(struct paint *p, const struct look *k)
{
	float w = (float)p->w, h = (float)p->h;
	struct ball b = {w * (0.42F + 0.2F * chance(k->seed, 1)), h * 0.54F, h * 0.31F, 0.28F,
		k->colours[2], k->colours[3], k->colours[4], k->seed, 5};
	struct ball moon = {w * (b.cx > w / 2 ? 0.16F : 0.85F), h * 0.22F, h * 0.05F, 0, 0x777068,
		0xc9c2b8, 0x334455, k->seed + 1, 2};

	paint_sky(p, k->colours, 2, 1);
	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float u = (float)x / h, v = (float)y / h,
			      n = fbm(u * 1.5F + v, v * 1.5F - u * 0.5F, 6, k->seed + 60);

			paint_over(p, x, y, hex(k->colours[4]), smooth(0.50F, 0.95F, n) * 0.5F);
		}
	}
	paint_stars(p, 1500, 1.7F, k->seed);
	ball_draw(p, &moon);
	if (k->colours[5])
		ring_draw(p, &b, hex(k->colours[5]), 0);
	ball_draw(p, &b);
	if (k->colours[5])
		ring_draw(p, &b, hex(k->colours[5]), 1);
	paint_finish(p, 0.4F, 0.014F);
}
