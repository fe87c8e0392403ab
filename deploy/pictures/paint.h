// A picture in floating point, noise, and the few shapes that the scenes are made of. Everything
// follows from a seed, so that the same command draws the same pictures everywhere.
#ifndef HELIO_DEPLOY_PAINT_H
#define HELIO_DEPLOY_PAINT_H

#include <stddef.h>
#include <stdint.h>

// Red, green, blue from 0 to 1, and one that does not count.
typedef float rgb __attribute__((vector_size(16)));

struct paint {
	rgb *px;
	int w, h;
	uint32_t seed;
};

// What makes one picture of a kind differ from the next.
struct look {
	const char *title;
	uint32_t seed;
	uint32_t colours[6]; // 0xRRGGBB, meaning by the scene
};

static inline rgb *at(struct paint *p, int x, int y)
{
	return p->px + (size_t)y * (size_t)p->w + x;
}

rgb hex(uint32_t colour);
rgb mix(rgb a, rgb b, float t);
float clamp01(float v);
float smooth(float from, float to, float v); // 0 to 1 with soft ends; from may be above to
// 0 to 1, the same for the same arguments.
float chance(uint32_t seed, uint32_t i);
// Smooth noise, 0 to 1.
float noise(float x, float y, uint32_t seed);
float fbm(float x, float y, int octaves, uint32_t seed);

// Colours of stops evenly spread from 0 to 1.
rgb ramp(const uint32_t *colours, int count, float t);

void paint_sky(struct paint *p, const uint32_t *colours, int count, float horizon);
// cover from 0 to 1.
void paint_over(struct paint *p, int x, int y, rgb colour, float cover);
void paint_disc(struct paint *p, float cx, float cy, float r, rgb colour, float cover);
// Light added, falling off to nothing at r.
void paint_glow(struct paint *p, float cx, float cy, float r, rgb colour, float strength);
void paint_line(struct paint *p, const float from[2], const float to[2], float width, rgb colour,
	float cover0, float cover1);
void paint_box(struct paint *p, float x0, float y0, float x1, float y1, rgb colour, float cover);
void paint_stars(struct paint *p, int count, float bottom, uint32_t seed);
// Darker towards the corners, and a breath of grain.
void paint_finish(struct paint *p, float corners, float grain);

#endif
