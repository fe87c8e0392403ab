// The glyphs, as paths: M x y begins, L x y draws a line, Q cx cy x y a curve,
// A cx cy rx ry from to an arc in degrees (0 right, 90 down).
#include "client/display/font.h"

#include <math.h>
#include <stdlib.h>

struct glyph_path {
	char c;
	float advance;
	const char *path;
};

static const struct glyph_path glyphs[] = {
	{' ', 7, ""},
	{'!', 5, "M2.5 0 L2.5 14 M2.5 20 L2.5 20"},
	{'"', 8, "M2 0 L2 5 M6 0 L6 5"},
	{'#', 15, "M5 1 L3 19 M12 1 L10 19 M1 6.5 L14 6.5 M1 13.5 L14 13.5"},
	{'%', 19, "A5 5 3.6 4.6 0 360 M15.5 0 L3.5 20 A14 15 3.6 4.6 0 360"},
	{'&', 17,
		"M16 20 L5 7.5 A8 4.2 4 4.2 135 405 M10.8 7.2 L3.5 12 A6.6 15 5.2 5 -140 -270 "
		"M6.6 20 Q13 20 15 11"},
	{'\'', 4, "M2 0 L2 5"},
	{'(', 7, "M6 -2 Q-1.5 10 6 23"},
	{')', 7, "M1 -2 Q8.5 10 1 23"},
	{'*', 11, "M5.5 1 L5.5 11 M1.2 3.5 L9.8 8.5 M9.8 3.5 L1.2 8.5"},
	{'+', 14, "M7 6 L7 18 M1 12 L13 12"},
	{',', 5, "M2.5 20 L1.5 23.5"},
	{'-', 10, "M1.5 12 L8.5 12"},
	{'.', 5, "M2.5 20 L2.5 20"},
	{'/', 10, "M1 23 L9 -2"},
	{'0', 14, "A7 10 5.5 10 0 360"},
	{'1', 9, "M2 4 L6.5 0 L6.5 20"},
	{'2', 14, "A7 5.7 5.2 5.7 180 385 L1.5 20 L12.7 20"},
	{'3', 14, "A6.7 5 4.8 5 200 450 A6.7 15 5.3 5 -90 160"},
	{'4', 14, "M10 20 L10 0 L1 14 L13 14"},
	{'5', 14, "M11.5 0 L3.2 0 L2.5 9.6 A6.8 13.7 5.6 6.3 -140 150"},
	{'6', 14, "A7 13.7 5.5 6.3 0 360 M1.6 13 Q1.8 3 10 0"},
	{'7', 14, "M1.5 0 L12.5 0 L5 20"},
	{'8', 14, "A7 5 4.6 5 0 360 A7 15 5.4 5 0 360"},
	{'9', 14, "A7 6.3 5.5 6.3 0 360 M12.4 7 Q12.2 17 4 20"},
	{':', 5, "M2.5 9 L2.5 9 M2.5 20 L2.5 20"},
	{';', 5, "M2.5 9 L2.5 9 M2.5 20 L1.5 23.5"},
	{'<', 13, "M12 5 L2 12 L12 19"},
	{'=', 14, "M1 9 L13 9 M1 15 L13 15"},
	{'>', 13, "M1 5 L11 12 L1 19"},
	{'?', 13, "A6.5 5 5 5 185 390 Q9 9.5 7.2 11 Q6.5 12 6.5 14.5 M6.5 20 L6.5 20"},
	{'@', 22,
		"A11 11 4.4 4.8 0 360 M15.4 6.5 L15.4 13 Q16 16 18.5 15 Q20.5 13.5 20.5 10 "
		"A11 10.5 9.5 10 0 -310"},
	{'A', 16, "M1 20 L8 0 L15 20 M3.6 13 L12.4 13"},
	{'B', 15,
		"M2 0 L2 20 L8.5 20 M2 0 L8 0 A8 5 5 5 -90 90 L2 10 M8 10 L8.5 10 A8.5 15 5 5 -90 "
		"90"},
	{'C', 18, "A10 10 9 10 -48 -312"},
	{'D', 17, "M6 20 L2 20 L2 0 L6 0 A6 10 9 10 -90 90"},
	{'E', 13, "M12 0 L2 0 L2 20 L12 20 M2 10 L10.5 10"},
	{'F', 13, "M12 0 L2 0 L2 20 M2 10 L10.5 10"},
	{'G', 20, "A10 10 9 10 -48 -360 L12 10"},
	{'H', 16, "M2 0 L2 20 M14 0 L14 20 M2 10 L14 10"},
	{'I', 4, "M2 0 L2 20"},
	{'J', 11, "M9 0 L9 15 A5 15 4 5 0 180"},
	{'K', 14, "M2 0 L2 20 M13 0 L2 12 M6 8 L13 20"},
	{'L', 12, "M2 0 L2 20 L11 20"},
	{'M', 19, "M2 20 L2 0 L9.5 14 L17 0 L17 20"},
	{'N', 16, "M2 20 L2 0 L14 20 L14 0"},
	{'O', 20, "A10 10 9 10 0 360"},
	{'P', 14, "M2 20 L2 0 L8 0 A8 5.5 5.2 5.5 -90 90 L2 11"},
	{'Q', 20, "A10 10 9 10 0 360 M12.5 14 L18 21"},
	{'R', 15, "M2 20 L2 0 L8 0 A8 5.5 5.2 5.5 -90 90 L2 11 M8 11 L13.5 20"},
	{'S', 14, "A7 5 5.3 5 -30 -270 A7 15 5.7 5 -90 150"},
	{'T', 15, "M1 0 L14 0 M7.5 0 L7.5 20"},
	{'U', 16, "M2 0 L2 13 A8 13 6 7 180 0 L14 0"},
	{'V', 16, "M1 0 L8 20 L15 0"},
	{'W', 23, "M1 0 L6 20 L11.5 2 L17 20 L22 0"},
	{'X', 15, "M1 0 L14 20 M14 0 L1 20"},
	{'Y', 15, "M1 0 L7.5 10 L7.5 20 M14 0 L7.5 10"},
	{'Z', 15, "M1.5 0 L13.5 0 L1.5 20 L13.5 20"},
	{'[', 7, "M6 -2 L2 -2 L2 23 L6 23"},
	{']', 7, "M1 -2 L5 -2 L5 23 L1 23"},
	{'_', 13, "M1 23 L12 23"},
	{'a', 14.5F, "A7 13.5 5.5 6.5 0 360 M12.5 7 L12.5 20"},
	{'b', 15, "M2 0 L2 20 A7.5 13.5 5.5 6.5 0 360"},
	{'c', 13, "A7.3 13.5 5.8 6.5 -48 -312"},
	{'d', 14.5F, "A7 13.5 5.5 6.5 0 360 M12.5 0 L12.5 20"},
	{'e', 14, "M1.7 13.5 L12.7 13.5 A7.2 13.5 5.5 6.5 0 -312"},
	{'f', 9, "M9 0.2 Q4 -1 4 5 L4 20 M1 7 L8.5 7"},
	{'g', 14.5F, "A7 13.5 5.5 6.5 0 360 M12.5 7 L12.5 20.5 A7 20.5 5.5 5.3 0 150"},
	{'h', 14, "M2 0 L2 20 M2 12 A7 12 5 5 180 360 L12 20"},
	{'i', 4, "M2 7 L2 20 M2 1.5 L2 1.5"},
	{'j', 5, "M3 7 L3 22 Q3 26 -1 25.6 M3 1.5 L3 1.5"},
	{'k', 12, "M2 0 L2 20 M11 7 L2 15 M5.2 12.2 L11.5 20"},
	{'l', 4, "M2 0 L2 20"},
	{'m', 21,
		"M2 7 L2 20 M2 11.5 A6.2 11.5 4.2 4.5 180 360 L10.5 20 M10.5 11.5 "
		"A14.8 11.5 4.2 4.5 180 360 L19 20"},
	{'n', 14, "M2 7 L2 20 M2 12 A7 12 5 5 180 360 L12 20"},
	{'o', 14, "A7 13.5 5.8 6.5 0 360"},
	{'p', 15, "M2 7 L2 26 A7.5 13.5 5.5 6.5 0 360"},
	{'q', 14.5F, "A7 13.5 5.5 6.5 0 360 M12.5 7 L12.5 26"},
	{'r', 9, "M2 7 L2 20 M2 12.5 Q2.3 7 8.5 7.2"},
	{'s', 11.5F, "A5.7 10.2 4 3.2 -30 -270 A5.7 16.7 4.4 3.3 -90 150"},
	{'t', 9, "M4 2 L4 16 Q4 20.4 8.5 19.7 M1 7 L8 7"},
	{'u', 14, "M2 7 L2 15 A7 15 5 5 180 0 M12 7 L12 20"},
	{'v', 12, "M1 7 L6 20 L11 7"},
	{'w', 18, "M1 7 L5 20 L9 8.5 L13 20 L17 7"},
	{'x', 12, "M1 7 L11 20 M11 7 L1 20"},
	{'y', 12, "M1 7 L6.3 20 M11.3 7 L6.3 20 L4.8 23.5 Q3.8 26 1 25.7"},
	{'z', 11.5F, "M1.5 7 L10 7 L1.5 20 L10 20"},
};

struct pen {
	float x, y;
	struct font_glyph *out;
};

static const struct glyph_path *path_find(char c)
{
	const struct glyph_path *unknown = NULL;

	for (size_t i = 0; i < sizeof(glyphs) / sizeof(glyphs[0]); i++) {
		if (glyphs[i].c == c)
			return &glyphs[i];
		if (glyphs[i].c == '?')
			unknown = &glyphs[i];
	}
	return unknown;
}

static void line_to(struct pen *p, float x, float y)
{
	if (p->out->count < FONT_SEGMENTS_MAX)
		p->out->segments[p->out->count++] = (struct font_segment){p->x, p->y, x, y};
	p->x = x;
	p->y = y;
}

static void curve_to(struct pen *p, const float n[4])
{
	float x0 = p->x, y0 = p->y;

	for (int i = 1; i <= 8; i++) {
		float t = (float)i / 8, u = 1 - t;

		line_to(p, u * u * x0 + 2 * u * t * n[0] + t * t * n[2],
			u * u * y0 + 2 * u * t * n[1] + t * t * n[3]);
	}
}

static void arc(struct pen *p, const float n[6])
{
	const float degree = 3.14159265F / 180;
	int steps = (int)(fabsf(n[5] - n[4]) / 12) + 1;

	p->x = n[0] + n[2] * cosf(n[4] * degree);
	p->y = n[1] + n[3] * sinf(n[4] * degree);
	for (int i = 1; i <= steps; i++) {
		float a = (n[4] + (n[5] - n[4]) * (float)i / (float)steps) * degree;

		line_to(p, n[0] + n[2] * cosf(a), n[1] + n[3] * sinf(a));
	}
}

static const char *numbers_read(const char *s, float *n, int count)
{
	for (int i = 0; i < count; i++) {
		char *end;

		n[i] = strtof(s, &end);
		s = end;
	}
	return s;
}

static const char *step_draw(struct pen *p, const char *s)
{
	float n[6] = {0};

	switch (*s++) {
	case 'M':
		s = numbers_read(s, n, 2);
		p->x = n[0];
		p->y = n[1];
		break;
	case 'L':
		s = numbers_read(s, n, 2);
		line_to(p, n[0], n[1]);
		break;
	case 'Q':
		s = numbers_read(s, n, 4);
		curve_to(p, n);
		break;
	case 'A':
		s = numbers_read(s, n, 6);
		arc(p, n);
		break;
	default: // the blank between two steps
		break;
	}
	return s;
}

void font_glyph_get(char c, struct font_glyph *out)
{
	const struct glyph_path *g = path_find(c);
	struct pen p = {.out = out};

	out->count = 0;
	out->advance = g->advance;
	for (const char *s = g->path; *s;)
		s = step_draw(&p, s);
}

float font_advance(char c)
{
	return path_find(c)->advance;
}
