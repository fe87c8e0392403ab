// Land: mountains, dunes, forest, city, and two heliograph stations.
#include "scenes.h"

#include <math.h>

// Everything below y(x) in a colour that turns to mist with depth.
static void ridge(struct paint *p, const float *top, rgb colour, rgb mist, float depth, float most)
{
	for (int x = 0; x < p->w; x++) {
		int from = top[x] > 0 ? (int)top[x] : 0;

		for (int y = from; y < p->h; y++) {
			float cover = clamp01((float)y + 1 - top[x]);
			float fog = smooth(0, depth, (float)y - top[x]) * most;

			paint_over(p, x, y, mix(colour, mist, fog), cover);
		}
	}
}

#define WIDTH_MAX 4096

// colours: sky from the top (3), sun, far ridge, near ridge
void scene_mountains(struct paint *p, const struct look *k)
{
	static float top[WIDTH_MAX];
	float w = (float)p->w, h = (float)p->h, sun_x = w * (0.25F + 0.5F * chance(k->seed, 1));
	float sun_y = h * (0.30F + 0.14F * chance(k->seed, 2));

	paint_sky(p, k->colours, 3, 0.72F);
	paint_glow(p, sun_x, sun_y, h * 0.85F, hex(k->colours[3]), 0.75F);
	paint_disc(p, sun_x, sun_y, h * 0.055F, mix(hex(k->colours[3]), hex(0xffffff), 0.55F), 1);
	for (int layer = 0; layer < 6; layer++) {
		float t = (float)layer / 5, base = 0.50F + 0.085F * (float)layer;
		float height = 0.24F - 0.025F * (float)layer, wide = 3.2F - 0.25F * (float)layer;
		uint32_t seed = k->seed * 31 + (uint32_t)layer * 7;

		for (int x = 0; x < p->w; x++) {
			float u = (float)x / h * wide;
			float sharp =
				1 - fabsf(2 * fbm(u, (float)layer * 9.1F, 6, seed) - 1) * 1.6F;
			float soft = fbm(u * 0.6F, (float)layer, 3, seed + 99);

			top[x] = h * (base + 0.10F - height * (0.55F * sharp + 0.75F * soft));
		}
		ridge(p, top, mix(hex(k->colours[4]), hex(k->colours[5]), t), hex(k->colours[2]),
			h * 0.30F, 0.62F * (1 - t));
	}
	paint_finish(p, 0.35F, 0.012F);
}

static float dune_line(float u, int layer, uint32_t seed)
{
	return sinf(u * 1.7F + (float)layer * 2.3F + (float)(seed % 7)) * 0.45F +
	       sinf(u * 3.9F + (float)layer * 1.1F) * 0.18F +
	       (fbm(u * 0.8F, (float)layer * 5, 3, seed) - 0.5F);
}

// colours: sky (2), sun, lit sand, shadow, haze
void scene_dunes(struct paint *p, const struct look *k)
{
	float w = (float)p->w, h = (float)p->h, sun_x = w * (0.2F + 0.6F * chance(k->seed, 3));

	paint_sky(p, k->colours, 2, 0.55F);
	paint_glow(p, sun_x, h * 0.24F, h * 0.7F, hex(k->colours[2]), 0.7F);
	paint_disc(p, sun_x, h * 0.24F, h * 0.06F, mix(hex(k->colours[2]), hex(0xffffff), 0.6F), 1);
	for (int layer = 0; layer < 5; layer++) {
		float base = h * (0.47F + 0.12F * (float)layer),
		      height = h * (0.06F + 0.022F * (float)layer);
		float haze = 0.65F * (1 - (float)layer / 4);

		for (int x = 0; x < p->w; x++) {
			float u = (float)x / h, top = base - height * dune_line(u, layer, k->seed);

			for (int y = top > 0 ? (int)top : 0; y < p->h; y++) {
				// The shadow leans away from the crest with depth.
				float depth = ((float)y - top) / h,
				      lean = u + depth * (1.1F - 0.1F * (float)layer);
				float slope = dune_line(lean + 0.02F, layer, k->seed) -
					      dune_line(lean - 0.02F, layer, k->seed);
				float shade =
					smooth(-0.012F, 0.012F, slope) * smooth(0.5F, 0, depth);
				float ripple =
					sinf(((float)y * 0.55F / (0.5F + (float)layer) +
						fbm(u * 7, depth * 9, 3, k->seed + 5) * 26)) *
					0.018F;
				rgb sand = mix(hex(k->colours[3]), hex(k->colours[4]),
						   0.15F + 0.75F * shade) +
					   ripple;

				paint_over(p, x, y, mix(sand, hex(k->colours[5]), haze),
					clamp01((float)y + 1 - top));
			}
		}
	}
	paint_finish(p, 0.4F, 0.014F);
}

static void pine(struct paint *p, float cx, float foot, float height, rgb colour, uint32_t seed)
{
	int from = foot - height > 0 ? (int)(foot - height) : 0;

	for (int y = from; y < p->h && (float)y < foot; y++) {
		float t = ((float)y - foot + height) / height;
		float branch = fmodf(t * (7 + 4 * chance(seed, 1)), 1.0F);
		float half = height * 0.21F * (t * 0.75F + 0.25F * t * branch) *
			     (0.85F + 0.4F * noise(t * 30, 0, seed));
		float lean = cx + (noise(t * 14, 3, seed + 3) - 0.5F) * half * 0.5F;

		if (t > 0.94F)
			half = height * 0.012F;
		for (int x = (int)(lean - half) - 1; x <= (int)(lean + half) + 1; x++) {
			if (x >= 0 && x < p->w)
				paint_over(p, x, y, colour,
					clamp01(half - fabsf((float)x + 0.5F - lean) + 0.5F));
		}
	}
}

// colours: sky (2), light, far trees, near trees, mist
void scene_forest(struct paint *p, const struct look *k)
{
	static float top[WIDTH_MAX];
	float w = (float)p->w, h = (float)p->h;

	paint_sky(p, k->colours, 2, 0.85F);
	paint_glow(p, w * (0.3F + 0.4F * chance(k->seed, 9)), h * 0.3F, h * 0.9F,
		hex(k->colours[2]), 0.8F);
	for (int layer = 0; layer < 5; layer++) {
		float t = (float)layer / 4, base = h * (0.56F + 0.10F * (float)layer);
		float height = h * (0.13F + 0.10F * (float)layer);
		rgb colour = mix(hex(k->colours[3]), hex(k->colours[4]), t);
		uint32_t seed = k->seed * 13 + (uint32_t)layer * 101;
		int count = (int)(w / (height * 0.24F));

		for (int x = 0; x < p->w; x++)
			top[x] = base +
				 h * 0.05F * (fbm((float)x / h * 2.2F, 0, 3, seed) - 0.5F) * 2;
		for (int i = 0; i < count; i++) {
			uint32_t s = seed + (uint32_t)i * 17;
			float x = ((float)i + chance(s, 2) * 0.9F) * w / (float)count;
			int column = x < w ? (int)x : p->w - 1;

			pine(p, x, top[column] + height * 0.10F,
				height * (0.6F + 0.5F * chance(s, 3)), colour, s);
		}
		ridge(p, top, colour, hex(k->colours[5]), h * 0.16F, layer == 4 ? 0.12F : 0.92F);
	}
	paint_finish(p, 0.45F, 0.012F);
}

static void windows(struct paint *p, const float box[4], rgb light, float share, uint32_t seed)
{
	float step_x = (float)p->w / 150, step_y = (float)p->h / 68;
	uint32_t i = 0;

	for (float y = box[1] + step_y * 0.9F; y < box[3] - step_y; y += step_y) {
		for (float x = box[0] + step_x * 0.6F; x < box[2] - step_x * 0.9F;
			x += step_x, i++) {
			float c = chance(seed, i);

			if (c < share)
				paint_box(p, x, y, x + step_x * 0.5F, y + step_y * 0.5F, light,
					0.45F + 0.55F * c / share);
		}
	}
}

static void tower(struct paint *p, const float box[4], rgb colour, uint32_t seed)
{
	float cx = (box[0] + box[2]) / 2, half = (box[2] - box[0]) / 2;

	paint_box(p, box[0], box[1], box[2], box[3], colour, 1);
	if (chance(seed, 11) < 0.3F)
		paint_box(p, cx - half * 0.6F, box[1] - half * 0.5F, cx + half * 0.6F, box[1],
			colour, 1);
	if (chance(seed, 12) < 0.28F)
		paint_line(p, (float[]){cx, box[1]}, (float[]){cx, box[1] - half * 2.2F}, 3, colour,
			1, 1);
}

// The lower part mirrors the upper one, wavering and darker.
static void mirror(struct paint *p, float level, rgb water, uint32_t seed)
{
	int edge = (int)(level * (float)p->h);

	for (int y = edge; y < p->h; y++) {
		float depth = (float)(y - edge) / (float)(p->h - edge);

		for (int x = 0; x < p->w; x++) {
			float wave = fbm((float)x / 90.0F, (float)(y - edge) / (1.5F + 6 * depth),
					     3, seed) -
				     0.5F;
			int from_y = edge - 1 -
				     (int)((float)(y - edge) * 0.9F + wave * (8 + 40 * depth));
			int from_x = x + (int)(wave * (6 + 26 * depth));

			from_y = from_y < 0 ? 0 : (from_y >= edge ? edge - 1 : from_y);
			from_x = from_x < 0 ? 0 : (from_x >= p->w ? p->w - 1 : from_x);
			*at(p, x, y) = mix(*at(p, from_x, from_y), water, 0.28F + 0.42F * depth);
		}
	}
}

// colours: sky (3), far towers, near towers, windows
void scene_city(struct paint *p, const struct look *k)
{
	float w = (float)p->w, h = (float)p->h, shore = 0.74F;

	paint_sky(p, k->colours, 3, shore);
	paint_glow(p, w * (0.3F + 0.4F * chance(k->seed, 5)), h * shore, h * 0.8F,
		hex(k->colours[2]), 0.6F);
	for (int layer = 0; layer < 3; layer++) {
		float t = (float)layer / 2;
		rgb colour = mix(hex(k->colours[3]), hex(k->colours[4]), t);
		uint32_t i = 0;

		for (float x = -w * 0.02F; x < w; i++) {
			uint32_t s = k->seed * 7 + (uint32_t)layer * 1000 + i * 3;
			float wide = w * (0.022F + 0.035F * chance(s, 1)),
			      middle = (x / w - 0.5F) * 2;
			float height = h *
				       (0.12F + 0.42F * powf(chance(s, 2), 2) * (1 - 0.45F * t)) *
				       (1.15F - 0.5F * middle * middle);
			const float box[4] = {x, h * shore - height, x + wide, h * shore};

			tower(p, box, colour, s);
			if (layer > 0)
				windows(p, box, hex(k->colours[5]), 0.16F + 0.2F * t, s + 5);
			x += wide * (0.85F + 0.5F * chance(s, 3) * (1 - t * 0.4F));
		}
	}
	mirror(p, shore, hex(k->colours[4]), k->seed);
	paint_finish(p, 0.35F, 0.012F);
}

static void station(struct paint *p, float x, float y, float size, rgb dark, rgb light)
{
	float head[2] = {x, y - size};

	paint_glow(p, x, y - size, size * 2.6F, light, 0.9F);
	for (int leg = -1; leg <= 1; leg++)
		paint_line(p, head, (float[]){x + (float)leg * size * 0.38F, y}, size * 0.05F, dark,
			1, 1);
	paint_disc(p, x, y - size, size * 0.26F, dark, 1);
	paint_disc(p, x, y - size, size * 0.21F, mix(light, hex(0xffffff), 0.7F), 1);
}

// colours: sky (3), light, far hills, near hills
void scene_signal(struct paint *p, const struct look *k)
{
	static float top[WIDTH_MAX];
	float w = (float)p->w, h = (float)p->h, there[2] = {w * 0.79F, 0}, here[2] = {w * 0.20F, 0};
	rgb light = hex(k->colours[3]);

	paint_sky(p, k->colours, 3, 0.78F);
	paint_stars(p, 500, 0.55F, k->seed);
	paint_glow(p, w * 0.5F, h * 0.78F, h * 0.8F, hex(k->colours[2]), 0.5F);
	for (int layer = 0; layer < 4; layer++) {
		float t = (float)layer / 3, base = 0.60F + 0.09F * (float)layer;

		for (int x = 0; x < p->w; x++) {
			float u = (float)x / w,
			      hill = layer == 1
					     ? expf(-powf((u - 0.79F) * 6, 2))
					     : (layer == 3 ? expf(-powf((u - 0.20F) * 4, 2)) : 0);
			float rough = fbm(u * (4 + (float)layer), (float)layer * 3, 5,
				k->seed + (uint32_t)layer);

			top[x] = h * (base + 0.06F - 0.12F * rough - 0.13F * hill);
		}
		ridge(p, top, mix(hex(k->colours[4]), hex(k->colours[5]), t), hex(k->colours[2]),
			h * 0.25F, 0.4F * (1 - t));
		if (layer == 1)
			there[1] = top[(int)there[0]];
		if (layer == 3)
			here[1] = top[(int)here[0]];
	}
	float from[2] = {here[0], here[1] - h * 0.10F}, to[2] = {there[0], there[1] - h * 0.022F};
	paint_line(p, from, to, h * 0.016F, light, 0.20F, 0.05F);
	paint_line(p, from, to, h * 0.004F, mix(light, hex(0xffffff), 0.6F), 0.95F, 0.55F);
	station(p, there[0], there[1] + 2, h * 0.024F, hex(k->colours[5]), light);
	station(p, here[0], here[1] + 4, h * 0.10F, hex(0x05070c), light);
	paint_finish(p, 0.4F, 0.012F);
}
