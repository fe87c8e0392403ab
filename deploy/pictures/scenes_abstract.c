// Shapes and colours: circles, marble, cut paper, stained glass.
#include "scenes.h"

#include <math.h>

// Ink on paper: colours multiply.
static void ink(struct paint *p, int x, int y, rgb colour, float cover)
{
	rgb *px = at(p, x, y);

	*px = *px * mix(hex(0xffffff), colour, cover);
}

struct shape {
	float cx, cy, r, turn;
	int kind; // 0 disc, 1 ring, 2 half disc, 3 bar
};

static float shape_cover(const struct shape *s, float x, float y)
{
	float dx = x - s->cx, dy = y - s->cy, d = hypotf(dx, dy);
	float u = dx * cosf(s->turn) + dy * sinf(s->turn),
	      v = dy * cosf(s->turn) - dx * sinf(s->turn);

	switch (s->kind) {
	case 0:
		return clamp01(s->r - d + 0.5F);
	case 1:
		return clamp01(s->r * 0.09F - fabsf(d - s->r) + 0.5F);
	case 2:
		return clamp01(s->r - d + 0.5F) * clamp01(v + 0.5F);
	default:
		return clamp01(s->r * 1.5F - fabsf(u) + 0.5F) *
		       clamp01(s->r * 0.07F - fabsf(v) + 0.5F);
	}
}

// colours: paper, four inks, dark
void scene_circles(struct paint *p, const struct look *k)
{
	float w = (float)p->w, h = (float)p->h;

	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++)
			*at(p, x, y) = hex(k->colours[0]) *
				       (0.97F + 0.05F * fbm((float)x / 60, (float)y / 60, 4, 3));
	}
	for (uint32_t i = 0; i < 22; i++) {
		uint32_t s = k->seed * 100 + i * 8;
		struct shape shape = {w * (0.06F + 0.88F * chance(s, 1)),
			h * (0.08F + 0.84F * chance(s, 2)),
			h * (0.04F + 0.24F * powf(chance(s, 3), 1.6F)),
			floorf(chance(s, 4) * 8) * 0.785398F,
			i % 11 == 0 ? 3 : (int)(chance(s, 5) * 3)};
		rgb colour = shape.kind == 1 || shape.kind == 3 ? hex(k->colours[5])
								: hex(k->colours[1 + i % 4]);

		for (int y = 0; y < p->h; y++) {
			for (int x = 0; x < p->w; x++) {
				float cover = shape_cover(&shape, (float)x + 0.5F, (float)y + 0.5F);

				if (cover > 0)
					ink(p, x, y, colour, cover * 0.94F);
			}
		}
	}
	paint_finish(p, 0.18F, 0.02F);
}

// colours: six along the ramp
void scene_marble(struct paint *p, const struct look *k)
{
	float h = (float)p->h;

	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float u = (float)x / h * 1.5F, v = (float)y / h * 1.5F;
			float a = fbm(u, v, 4, k->seed), b = fbm(u + 5, v + 2, 4, k->seed + 1);
			float c = fbm(u + 2.6F * a, v + 2.6F * b, 5, k->seed + 2);
			float vein = smooth(0.045F, 0, fabsf(c - 0.5F)) * 0.35F;
			rgb colour =
				ramp(k->colours, 6, smooth(0.18F, 0.82F, c) + 0.12F * (a - 0.5F));

			*at(p, x, y) = mix(colour, hex(0xffffff), vein) * (0.86F + 0.28F * b);
		}
	}
	paint_finish(p, 0.25F, 0.010F);
}

static float paper_line(float u, int layer, uint32_t seed)
{
	float way = chance(seed, (uint32_t)layer) * 6.28F;

	return sinf(u * (1.6F + 0.3F * (float)(layer % 3)) + way) * 0.6F +
	       sinf(u * 3.7F + way * 2) * 0.25F + sinf(u * 0.7F - way) * 0.3F;
}

// colours: six, from behind to the front
void scene_paper(struct paint *p, const struct look *k)
{
	float h = (float)p->h;

	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float u = (float)x / h;
			rgb c = ramp(k->colours, 6, 0) * (1.04F - 0.12F * (float)y / h);

			for (int layer = 0; layer < 9; layer++) {
				float top = h * (0.14F + 0.095F * (float)layer) -
					    h * 0.065F * paper_line(u, layer, k->seed);
				float below = (float)y - top;
				rgb sheet = ramp(k->colours, 6, ((float)layer + 1) / 9) *
					    (1.05F - 0.14F * clamp01(below / (h * 0.2F)));

				// The sheet in front throws its shadow on what lies behind it.
				if (below < 0)
					c = c * (1 - 0.42F * expf(below / (h * 0.014F)));
				c = mix(c, sheet, clamp01(below + 0.5F));
			}
			*at(p, x, y) = c * (0.985F + 0.03F * noise((float)x / 3, (float)y / 3, 5));
		}
	}
	paint_finish(p, 0.2F, 0.012F);
}

// The nearest and the second nearest point of a jittered lattice.
static void nearest(float u, float v, uint32_t seed, float *first, float *second, uint32_t *id)
{
	int cx = (int)floorf(u), cy = (int)floorf(v);

	*first = *second = 9;
	for (int y = cy - 1; y <= cy + 1; y++) {
		for (int x = cx - 1; x <= cx + 1; x++) {
			uint32_t cell = (uint32_t)(x + 100) * 971 + (uint32_t)(y + 100);
			float dx = (float)x + 0.12F + 0.76F * chance(seed, cell * 2) - u;
			float dy = (float)y + 0.12F + 0.76F * chance(seed, cell * 2 + 1) - v;
			float d = sqrtf(dx * dx + dy * dy);

			if (d < *first) {
				*second = *first;
				*first = d;
				*id = cell;
			} else if (d < *second) {
				*second = d;
			}
		}
	}
}

// colours: five glasses, lead
void scene_glass(struct paint *p, const struct look *k)
{
	float h = (float)p->h, w = (float)p->w;

	for (int y = 0; y < p->h; y++) {
		for (int x = 0; x < p->w; x++) {
			float u = (float)x / h * 6.5F, v = (float)y / h * 6.5F, first, second;
			uint32_t id = 0;

			nearest(u, v, k->seed, &first, &second, &id);
			float field = fbm(u * 0.22F, v * 0.22F, 3, k->seed + 4);
			float pick = clamp01((field - 0.22F) * 1.5F +
					     0.22F * (chance(k->seed, id * 3 + 2) - 0.5F));
			float sun =
				1.18F - 0.55F * hypotf((float)x / w - 0.5F, (float)y / h - 0.42F);
			float streak =
				0.90F + 0.16F * fbm(u * 2 + first, v * 9, 3, k->seed + id % 17);
			rgb colour = ramp(k->colours, 5, pick) *
				     (sun * streak * (1.10F - 0.25F * first));

			*at(p, x, y) = mix(
				hex(k->colours[5]), colour, smooth(0.035F, 0.075F, second - first));
		}
	}
	paint_finish(p, 0.3F, 0.012F);
}
