// Blocks, then a separable kernel: columns of each row first, then rows out of a ring.
#include "client/display/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// One pixel as four floats, which the compiler keeps in one register.
typedef float vec4 __attribute__((vector_size(16)));

// Weights of one axis: for each output pixel, the first input and `taps` weights.
struct axis {
	uint32_t out, in, taps;
	int32_t *first;
	float *weight;
};

struct resample {
	struct frame frame;
	struct fit_plan plan;
	uint32_t picture_w, picture_h, block; // block: side of the averaged squares
	uint32_t w, h;                        // size after averaging
	struct axis x, y;
	bool copy;                         // nothing to be scaled: rows go straight through
	uint32_t *sums;                    // block rows being added up: w * 3
	uint32_t summed;                   // rows in sums
	vec4 *row;                         // one averaged row
	vec4 *ring;                        // y.taps + 1 rows of plan.w
	uint32_t given, rows_in, rows_out; // picture rows, averaged rows, output rows
};

// ---- weights

static double kernel(double x)
{
	x = fabs(x);
	if (x < 1)
		return (1.5 * x - 2.5) * x * x + 1;
	if (x < 2)
		return ((-0.5 * x + 2.5) * x - 4) * x + 2;
	return 0;
}

static void weights_fill(struct axis *a, uint32_t o, double centre, double width)
{
	int32_t first = (int32_t)floor(centre - 2 * width + 0.5);
	float *w = a->weight + (size_t)o * a->taps;
	double sum = 0;

	if (first > (int32_t)(a->in - a->taps))
		first = (int32_t)(a->in - a->taps);
	if (first < 0)
		first = 0;
	a->first[o] = first;
	for (uint32_t t = 0; t < a->taps; t++) {
		double k = kernel((first + (double)t + 0.5 - centre) / width);

		w[t] = (float)k;
		sum += k;
	}
	for (uint32_t t = 0; t < a->taps; t++)
		w[t] = (float)(w[t] / sum);
}

static enum err axis_init(struct axis *a, uint32_t in, uint32_t out, double from, double size)
{
	double scale = size / out, width = scale > 1 ? scale : 1;
	uint32_t taps = (uint32_t)ceil(4 * width) + 1;

	a->in = in;
	a->out = out;
	a->taps = taps > in ? in : taps;
	a->first = calloc(out, sizeof(*a->first));
	a->weight = calloc((size_t)out * a->taps, sizeof(*a->weight));
	if (!a->first || !a->weight)
		return err_set(ERR_MEMORY, "no memory to scale a picture");
	for (uint32_t o = 0; o < out; o++)
		weights_fill(a, o, from + (o + 0.5) * scale, width);
	return ERR_OK;
}

// ---- life

static uint32_t block_choose(const struct fit_plan *p)
{
	double scale = fmin(p->crop_w / p->w, p->crop_h / p->h);

	return scale < 3 ? 1 : (uint32_t)(scale / 1.5);
}

static bool is_copy(const struct fit_plan *p)
{
	return p->crop_w == p->w && p->crop_h == p->h && p->crop_x == floor(p->crop_x) &&
	       p->crop_y == floor(p->crop_y);
}

static enum err buffers_init(struct resample *r)
{
	const struct fit_plan *p = &r->plan;
	double b = r->block;

	TRY(axis_init(&r->x, r->w, p->w, p->crop_x / b, p->crop_w / b));
	TRY(axis_init(&r->y, r->h, p->h, p->crop_y / b, p->crop_h / b));
	r->sums = calloc((size_t)r->w * 3, sizeof(*r->sums));
	r->row = calloc(r->w, sizeof(*r->row));
	r->ring = calloc((size_t)(r->y.taps + 1) * p->w, sizeof(*r->ring));
	if (!r->sums || !r->row || !r->ring)
		return err_set(ERR_MEMORY, "no memory to scale a picture");
	return ERR_OK;
}

enum err resample_new(uint32_t picture_w, uint32_t picture_h, const struct fit_plan *plan,
	struct frame frame, struct resample **out)
{
	struct resample *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (!r)
		return err_set(ERR_MEMORY, "no memory to scale a picture");
	r->frame = frame;
	r->plan = *plan;
	r->picture_w = picture_w;
	r->picture_h = picture_h;
	r->copy = is_copy(plan);
	r->block = block_choose(plan);
	r->w = (picture_w + r->block - 1) / r->block;
	r->h = (picture_h + r->block - 1) / r->block;
	enum err e = r->copy ? ERR_OK : buffers_init(r);
	if (e != ERR_OK) {
		resample_free(r);
		return e;
	}
	*out = r;
	return ERR_OK;
}

void resample_free(struct resample *r)
{
	if (!r)
		return;
	free(r->x.first);
	free(r->x.weight);
	free(r->y.first);
	free(r->y.weight);
	free(r->sums);
	free(r->row);
	free(r->ring);
	free(r);
}

bool resample_is_done(const struct resample *r)
{
	return r->rows_out == r->plan.h;
}

// ---- rows

static uint32_t *frame_row(const struct resample *r, uint32_t y)
{
	return r->frame.px + (size_t)(r->plan.y + y) * r->frame.w + r->plan.x;
}

static void row_copy(struct resample *r, const uint8_t *rgbx)
{
	uint32_t top = (uint32_t)r->plan.crop_y;

	if (r->given < top || resample_is_done(r))
		return;
	uint32_t *out = frame_row(r, r->rows_out++);
	const uint8_t *p = rgbx + (size_t)r->plan.crop_x * 4;

	for (uint32_t x = 0; x < r->plan.w; x++, p += 4)
		out[x] = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static void row_from_pixels(struct resample *r, const uint8_t *p)
{
	for (uint32_t x = 0; x < r->w; x++, p += 4)
		r->row[x] = (vec4){p[0], p[1], p[2], 0};
}

static void sums_add(struct resample *r, const uint8_t *p)
{
	uint32_t *sum = r->sums;

	for (uint32_t x = 0; x < r->picture_w; sum += 3) {
		uint32_t end = x + r->block < r->picture_w ? x + r->block : r->picture_w;

		for (; x < end; x++, p += 4) {
			sum[0] += p[0];
			sum[1] += p[1];
			sum[2] += p[2];
		}
	}
	r->summed++;
}

static void row_from_sums(struct resample *r)
{
	const uint32_t *sum = r->sums;
	uint32_t tail = r->picture_w - (r->w - 1) * r->block;

	for (uint32_t x = 0; x < r->w; x++, sum += 3) {
		float n = (float)((x + 1 < r->w ? r->block : tail) * r->summed);

		r->row[x] = (vec4){(float)sum[0] / n, (float)sum[1] / n, (float)sum[2] / n, 0};
	}
	memset(r->sums, 0, (size_t)r->w * 3 * sizeof(*r->sums));
	r->summed = 0;
}

static bool row_is_needed(const struct resample *r)
{
	uint32_t last = r->plan.h - 1;

	return (int32_t)r->rows_in >= r->y.first[r->rows_out] &&
	       r->rows_in < (uint32_t)r->y.first[last] + r->y.taps;
}

static void columns_scale(struct resample *r)
{
	vec4 *out = r->ring + (size_t)(r->rows_in % (r->y.taps + 1)) * r->plan.w;

	for (uint32_t o = 0; o < r->x.out; o++) {
		const vec4 *in = r->row + r->x.first[o];
		const float *w = r->x.weight + (size_t)o * r->x.taps;
		vec4 sum = {0};

		for (uint32_t t = 0; t < r->x.taps; t++)
			sum += in[t] * w[t];
		out[o] = sum;
	}
}

static uint32_t level(float v)
{
	v += 0.5F;
	if (v < 0)
		return 0;
	return v > 255 ? 255 : (uint32_t)v;
}

static void row_emit(struct resample *r)
{
	uint32_t y = r->rows_out++, taps = r->y.taps;
	const float *w = r->y.weight + (size_t)y * taps;
	uint32_t *out = frame_row(r, y);

	for (uint32_t x = 0; x < r->plan.w; x++) {
		vec4 sum = {0};

		for (uint32_t t = 0; t < taps; t++) {
			uint32_t slot = ((uint32_t)r->y.first[y] + t) % (taps + 1);

			sum += r->ring[(size_t)slot * r->plan.w + x] * w[t];
		}
		out[x] = level(sum[0]) << 16 | level(sum[1]) << 8 | level(sum[2]);
	}
}

static void averaged_row(struct resample *r)
{
	if (!resample_is_done(r) && row_is_needed(r))
		columns_scale(r);
	r->rows_in++;
	while (!resample_is_done(r) && (uint32_t)r->y.first[r->rows_out] + r->y.taps <= r->rows_in)
		row_emit(r);
}

void resample_row(struct resample *r, const uint8_t *rgbx)
{
	if (r->copy) {
		row_copy(r, rgbx);
		r->given++;
		return;
	}
	r->given++;
	if (resample_is_done(r))
		return;
	if (r->block == 1) {
		row_from_pixels(r, rgbx);
		averaged_row(r);
		return;
	}
	sums_add(r, rgbx);
	if (r->summed == r->block || r->given == r->picture_h) {
		row_from_sums(r);
		averaged_row(r);
	}
}
