// Geometry of fit, fill, stretch and center.
#include "client/display/fit.h"

#include <math.h>
#include <string.h>

static uint32_t side_clamp(double side, uint32_t box)
{
	double r = floor(side + 0.5);

	if (r < 1)
		return 1;
	return r > box ? box : (uint32_t)r;
}

static struct fit_plan contain_make(double pw, double ph, uint32_t bw, uint32_t bh)
{
	double scale = fmin(bw / pw, bh / ph);

	return (struct fit_plan){
		.crop_w = pw,
		.crop_h = ph,
		.w = side_clamp(pw * scale, bw),
		.h = side_clamp(ph * scale, bh),
	};
}

static struct fit_plan fill_make(double pw, double ph, uint32_t bw, uint32_t bh)
{
	double scale = fmax(bw / pw, bh / ph);
	double cw = fmin(pw, bw / scale), ch = fmin(ph, bh / scale);

	return (struct fit_plan){
		.crop_x = (pw - cw) / 2,
		.crop_y = (ph - ch) / 2,
		.crop_w = cw,
		.crop_h = ch,
		.w = bw,
		.h = bh,
	};
}

// Cropped on whole pixels, so that pixel for pixel stays true.
static struct fit_plan center_make(uint32_t pw, uint32_t ph, uint32_t bw, uint32_t bh)
{
	uint32_t w = pw < bw ? pw : bw, h = ph < bh ? ph : bh;

	return (struct fit_plan){
		.crop_x = (pw - w) / 2,
		.crop_y = (ph - h) / 2,
		.crop_w = w,
		.crop_h = h,
		.w = w,
		.h = h,
	};
}

struct fit_plan fit_make(
	enum fit fit, uint32_t picture_w, uint32_t picture_h, uint32_t box_w, uint32_t box_h)
{
	struct fit_plan p = {.crop_w = picture_w, .crop_h = picture_h, .w = box_w, .h = box_h};

	switch (fit) {
	case FIT_CONTAIN:
		p = contain_make(picture_w, picture_h, box_w, box_h);
		break;
	case FIT_FILL:
		p = fill_make(picture_w, picture_h, box_w, box_h);
		break;
	case FIT_CENTER:
		p = center_make(picture_w, picture_h, box_w, box_h);
		break;
	case FIT_STRETCH:
		break;
	}
	p.x = (box_w - p.w) / 2;
	p.y = (box_h - p.h) / 2;
	return p;
}

static const struct {
	const char *word;
	enum fit fit;
} words[] = {
	{"fit", FIT_CONTAIN},
	{"contain", FIT_CONTAIN},
	{"fill", FIT_FILL},
	{"stretch", FIT_STRETCH},
	{"center", FIT_CENTER},
};

bool fit_parse(const char *word, enum fit *out)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i].word) == 0) {
			*out = words[i].fit;
			return true;
		}
	}
	return false;
}

const char *fit_word(enum fit fit)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].fit == fit)
			return words[i].word;
	}
	return "fit";
}
