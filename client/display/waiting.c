// A dusk sky over three ranges of hills, and a heliograph that has caught the last light.
#include "client/display/waiting.h"

#include "client/display/canvas.h"
#include <math.h>
#include <stdlib.h>

static const struct canvas_stop sky[] = {
	{0.00F, 0x0b1730},
	{0.45F, 0x24406b},
	{0.68F, 0x7d6c8c},
	{0.80F, 0xe2a07a},
	{0.90F, 0xf6d3a0},
	{1.00F, 0xf6d3a0},
};

static const struct range {
	float base, height; // of the frame's height
	float phase;
	uint32_t rgb;
} ranges[] = {
	{0.80F, 0.035F, 0.4F, 0x6d6486},
	{0.86F, 0.040F, 2.1F, 0x3f4567},
	{0.93F, 0.045F, 4.0F, 0x1a2440},
};

static void range_draw(struct frame f, const struct range *r)
{
	float *y = calloc(f.w, sizeof(*y));

	if (!y)
		return;
	for (uint32_t x = 0; x < f.w; x++) {
		float t = (float)x / (float)f.h + r->phase * 3;
		float wave = sinf(t * 1.9F + r->phase) * 0.55F +
			     sinf(t * 4.3F + r->phase * 2) * 0.3F + sinf(t * 9.7F) * 0.1F +
			     sinf(t * 23.0F + r->phase) * 0.04F;

		y[x] = (float)f.h * (r->base - r->height * wave);
	}
	canvas_ground(f, y, r->rgb);
	free(y);
}

// Mirror, sighting cross and rays; the beam goes out to the right.
static void mark_draw(struct frame f, float cx, float cy, float r)
{
	const uint32_t light = 0xfff1d6;
	const float beam[2] = {cx + r * 9, cy - r * 3.4F};

	canvas_glow(f, cx, cy, r * 6, 0xffd9a0, 0.42F);
	canvas_line(f, (float[]){cx, cy}, beam, r * 0.10F, light, 0.75F, 0);
	canvas_line(f, (float[]){cx, cy}, beam, r * 0.34F, light, 0.20F, 0);
	canvas_disc(f, cx, cy, r, 0xffe9c4, 0.96F);
	canvas_disc(f, cx, cy, r * 0.82F, 0xfff8ea, 0.9F);
	canvas_ring(f, cx, cy, r * 1.28F, r * 0.07F, light, 0.85F);
	for (int i = 0; i < 12; i++) {
		float a = (float)i * 3.14159265F / 6, c = cosf(a), s = sinf(a);
		float near = r * 1.55F, far = r * (i % 3 == 0 ? 2.15F : 1.85F);

		canvas_line(f, (float[]){cx + c * near, cy + s * near},
			(float[]){cx + c * far, cy + s * far}, r * 0.07F, light, 0.85F, 0.25F);
	}
}

static void text_centre(struct frame f, struct canvas_text t, float y, const char *s)
{
	float width = canvas_text_width(&t, s), room = (float)f.w * 0.9F;

	if (width > room) {
		t.size *= room / width;
		t.spacing *= room / width;
		width = room;
	}
	canvas_text_draw(f, &t, ((float)f.w - width) / 2, y, s);
}

void waiting_draw(struct frame f, const char *client, const char *line)
{
	float w = (float)f.w, h = (float)f.h, unit = fminf(w * 0.8F, h) / 100;

	canvas_gradient(f, sky, sizeof(sky) / sizeof(sky[0]));
	canvas_glow(f, w * 0.5F, h * 0.86F, fmaxf(w, h) * 0.45F, 0xffd8a8, 0.35F);
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		range_draw(f, &ranges[i]);
	if (!*client && !*line)
		return;
	mark_draw(f, w / 2, h * 0.27F, unit * 4.6F);
	text_centre(f,
		(struct canvas_text){unit * 2.2F, unit * 0.28F, unit * 1.5F, 0xfff1d6, 0.85F},
		h * 0.27F + unit * 17, "HELIOGRAPH");
	text_centre(f,
		(struct canvas_text){unit * 5.2F, unit * 0.52F, unit * 0.35F, 0xffffff, 0.97F},
		h * 0.27F + unit * 29, client);
	text_centre(f,
		(struct canvas_text){unit * 2.3F, unit * 0.26F, unit * 0.25F, 0xffffff, 0.85F},
		h * 0.27F + unit * 36.5F, line);
}
