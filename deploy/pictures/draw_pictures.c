// helio-pictures: draws the pictures of the quickstart by program, so that nothing has to be
// fetched and nobody's rights are touched. The same seed draws the same pictures.
//
//   helio-pictures DIR [COUNT [SEED]]
//
// Pictures are 1920 x 1080, mostly JPEG of quality 88, every eighth a PNG, one a WebP; each carries
// its number and its title. With another seed the scenes are the same and their shapes differ:
// version 2 of a package is `helio-pictures --only 3,7 DIR 40 2` over version 1.
#include "client/display/canvas.h"
#include "client/display/picture.h"
#include "proto/base/program.h"
#include "scenes.h"
#include "write_webp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jpeglib.h>

#define W 1920
#define H 1080

static const struct scene {
	void (*draw)(struct paint *p, const struct look *k);
	struct look look;
} scenes[] = {
	{scene_mountains, {"Morning in the ranges", 11,
				  {0x27406b, 0xd98f7a, 0xf6cfa0, 0xffd9a0, 0xa98a9a, 0x1c2438}}},
	{scene_sea, {"Evening at sea", 5,
			    {0x1c2b55, 0xa3586b, 0xf3a46b, 0xffd08a, 0xb5745f, 0x131c38}}},
	{scene_city, {"Harbour at dusk", 3,
			     {0x141c3d, 0x6b4a78, 0xf0a070, 0x4c4468, 0x14172b, 0xffd98a}}},
	{scene_paper, {"Cut paper, coral", 8,
			      {0xfde8d0, 0xf9c49a, 0xf28f79, 0xc9586d, 0x7d3a63, 0x3a2149}}},
	{scene_signal, {"The heliograph", 6,
			       {0x0a1330, 0x35406f, 0xe39a72, 0xffe6b0, 0x54506f, 0x0b1020}}},
	{scene_aurora, {"Northern lights", 4,
			       {0x050a1c, 0x12304a, 0x45f0a0, 0x8a5af0, 0xd8ecff, 0x28405e}}},
	{scene_marble, {"Marble, sea glass", 9,
			       {0x06283d, 0x0f5c6e, 0x3aa6a0, 0xa8dcc8, 0xf4efd8, 0xe0a458}}},
	{scene_dunes,
		{"Dunes at noon", 7, {0x3f86c4, 0xcfe3ea, 0xfff2cf, 0xeebf7c, 0x9a5a35, 0xe9d3b0}}},
	{scene_circles, {"Composition in red", 2,
				{0xf4ead6, 0xe4572e, 0xf3a712, 0x2e86ab, 0xa8c686, 0x2b2d42}}},
	{scene_forest, {"Forest in mist", 12,
			       {0x8fb0b8, 0xdfe6dc, 0xfff4d8, 0x9db3ae, 0x15281f, 0xd7e2dc}}},
	{scene_planet, {"The ringed world", 3,
			       {0x05060f, 0x0e1026, 0xa8743f, 0xf0dcb0, 0x6a7fd0, 0xd9c7a0}}},
	{scene_clouds, {"Summer clouds", 21,
			       {0x2f74c0, 0x6fb0e6, 0xcfe8f6, 0xffffff, 0x8ba4bf, 0xfff6dc}}},
	{scene_glass, {"Stained glass, blue", 4,
			      {0x12235a, 0x1f6fb5, 0x4cc0c8, 0xf2c14e, 0xd1495b, 0x0a0a12}}},
	{scene_mountains,
		{"Blue hour", 23, {0x0c1a3f, 0x3d5f9c, 0xa9c3de, 0xdce8f6, 0x7f9cc4, 0x0d1a35}}},
	{scene_sea,
		{"Silver water", 17, {0x5c7f9c, 0xa9c4d2, 0xf0ead8, 0xfffbe8, 0x9db4bf, 0x27485c}}},
	{scene_city, {"City before dawn", 29,
			     {0x0a1026, 0x223a66, 0x8fa8c8, 0x2d4468, 0x0b1222, 0xffe9b8}}},
	{scene_paper, {"Cut paper, forest", 14,
			      {0xeef3d6, 0xc3d69b, 0x86b06c, 0x4c8559, 0x255746, 0x102f2e}}},
	{scene_signal, {"Answer from the far hill", 15,
			       {0x1b1030, 0x6a3565, 0xf2895e, 0xfff0c4, 0x7a3f5e, 0x170a1c}}},
	{scene_aurora,
		{"Violet night", 19, {0x0b0620, 0x2a1a4a, 0xc05af0, 0x4a7af5, 0xe6dcff, 0x35305e}}},
	{scene_marble, {"Marble, ember", 31,
			       {0x180a14, 0x5a1424, 0xb23a2e, 0xf08a3c, 0xfbd489, 0xfff5df}}},
	{scene_dunes, {"Dunes in the evening", 18,
			      {0x46335f, 0xe38e6a, 0xffc98a, 0xd9773f, 0x5c2434, 0xe0916c}}},
	{scene_circles, {"Composition in green", 26,
				{0xeef0e2, 0x4f9d69, 0xf2c57c, 0x3e7cb1, 0xef8275, 0x20302b}}},
	{scene_forest, {"Forest at sunrise", 33,
			       {0xd98a5c, 0xffdf9f, 0xfff0b8, 0xd99a6c, 0x2a1420, 0xf6c98c}}},
	{scene_planet, {"Blue giant", 8, {0x03060f, 0x081a2c, 0x1c4f9c, 0x9fd8f0, 0x4fa3ff, 0}}},
	{scene_clouds, {"Clouds at sunset", 42,
			       {0x33407a, 0xb8698a, 0xffc08a, 0xffe2c0, 0x84587c, 0xffd9a0}}},
	{scene_glass, {"Stained glass, rose", 13,
			      {0x4a1240, 0xa8325f, 0xf0736a, 0xf7c873, 0x7cc6b0, 0x120810}}},
	{scene_mountains,
		{"Last light", 37, {0x3a1f4a, 0xc4526a, 0xf9b06a, 0xffd27a, 0xb06a72, 0x230f22}}},
	{scene_sea,
		{"Green flash", 28, {0x0f3f4a, 0x5aa68c, 0xf4e6a0, 0xfff6c0, 0x6fa88c, 0x0a2a33}}},
	{scene_city,
		{"Neon evening", 44, {0x1a0b33, 0x6a1f72, 0xff6a88, 0x4a2468, 0x150a26, 0x7af0ff}}},
	{scene_paper, {"Cut paper, ocean", 22,
			      {0xe8f6f3, 0xa6dce0, 0x5ab4cf, 0x2e7fb2, 0x1e4f8a, 0x13254f}}},
	{scene_aurora,
		{"Green fire", 51, {0x04121a, 0x0a3a3f, 0x9af55a, 0x2fd0b0, 0xdaf5ec, 0x1f4a4a}}},
	{scene_marble,
		{"Marble, dusk", 47, {0x14123a, 0x3d2f7a, 0x8a58a8, 0xe08aa8, 0xf9c8b0, 0xfdf3e2}}},
	{scene_dunes, {"Moonlit dunes", 39,
			      {0x070d22, 0x33476e, 0xdfe9ff, 0x8a9cc0, 0x141c36, 0x4a5f88}}},
	{scene_circles, {"Composition in blue", 35,
				{0xe9eef4, 0x2f6fb0, 0x74b3ce, 0xf0b67f, 0xd64550, 0x1c2541}}},
	{scene_forest, {"Forest at night", 48,
			       {0x0a1838, 0x35588a, 0xcfe0ff, 0x3f5f86, 0x060c1a, 0x4a6a94}}},
	{scene_planet,
		{"Red neighbour", 16, {0x080405, 0x1c0c0e, 0x7a2a18, 0xe89a5a, 0xf0805a, 0}}},
	{scene_clouds, {"Storm light", 4093,
			       {0x2a3542, 0x5a6c7c, 0xd8cfae, 0xf4ead0, 0x3c4652, 0xffe8b0}}},
	{scene_glass, {"Stained glass, meadow", 27,
			      {0x1d4a2c, 0x4f8f3a, 0xc4d65a, 0xf6e27a, 0x5aa6c8, 0x0a100a}}},
	{scene_signal, {"Signal by starlight", 43,
			       {0x03060f, 0x0f2440, 0x3f7a8c, 0xd8f4ff, 0x1f4252, 0x04090f}}},
	{scene_mountains, {"Green valleys", 61,
				  {0x5f9fc8, 0xbfe0dc, 0xf4f0d0, 0xfff8d8, 0x8fb8a0, 0x173a2c}}},
};
#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

// ---- files

static uint8_t byte_of(float v)
{
	return (uint8_t)(clamp01(v) * 255 + 0.5F);
}

static void frame_fill_from(struct frame f, const struct paint *p)
{
	for (size_t i = 0; i < (size_t)W * H; i++)
		f.px[i] = (uint32_t)byte_of(p->px[i][0]) << 16 |
			  (uint32_t)byte_of(p->px[i][1]) << 8 | byte_of(p->px[i][2]);
}

static void rgb8_from_frame(uint8_t *out, struct frame f)
{
	for (size_t i = 0; i < (size_t)f.w * f.h; i++) {
		out[i * 3] = (uint8_t)(f.px[i] >> 16);
		out[i * 3 + 1] = (uint8_t)(f.px[i] >> 8);
		out[i * 3 + 2] = (uint8_t)f.px[i];
	}
}

static bool jpeg_write(const char *path, uint8_t *rgb8)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr errors;
	FILE *f = fopen(path, "wb");

	if (!f)
		return false;
	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_stdio_dest(&c, f);
	c.image_width = W;
	c.image_height = H;
	c.input_components = 3;
	c.in_color_space = JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, 88, TRUE);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < H) {
		JSAMPROW row[1] = {rgb8 + (size_t)c.next_scanline * W * 3};

		jpeg_write_scanlines(&c, row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	return fclose(f) == 0;
}

static bool png_write(const char *path, struct frame f)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return false;
	enum err e = picture_write_png(fd, f);
	return close(fd) == 0 && e == ERR_OK;
}

static const char *ending_of(size_t number)
{
	if (number == 24 && webp_is_known())
		return "webp";
	return number % 8 == 5 ? "png" : "jpg";
}

// "0007-marble-sea-glass.jpg"
static void name_make(char *out, size_t size, const char *dir, size_t number, const char *title)
{
	int n = snprintf(out, size, "%s/%04zu-", dir, number);
	size_t at_end = n > 0 ? (size_t)n : 0;

	for (; *title && at_end + 6 < size; title++) {
		char c = *title;

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (c >= 'a' && c <= 'z')
			out[at_end++] = c;
		else if (c == ' ' && out[at_end - 1] != '-')
			out[at_end++] = '-';
	}
	snprintf(out + at_end, size - at_end, ".%s", ending_of(number));
}

// ---- one picture

// Mean brightness of where the caption goes, 0 to 255.
static uint32_t ground_of(struct frame f)
{
	uint64_t sum = 0, count = 0;

	for (uint32_t y = H - 70; y < H - 36; y++) {
		for (uint32_t x = W - 360; x < W - 40; x++, count++) {
			uint32_t px = f.px[(size_t)y * f.w + x];

			sum += ((px >> 16 & 255) * 3 + (px >> 8 & 255) * 6 + (px & 255)) / 10;
		}
	}
	return (uint32_t)(sum / count);
}

static void caption_draw(struct frame f, size_t number, const char *title)
{
	bool is_bright = ground_of(f) > 140;
	uint32_t ink = is_bright ? 0x18202c : 0xffffff, halo = is_bright ? 0xffffff : 0x000000;
	const struct canvas_text strong = {20, 2.4F, 1.5F, ink, 0.92F},
				 light = {20, 1.7F, 1.0F, ink, 0.88F};
	const struct canvas_text under[] = {
		{20, 5.0F, 1.5F, halo, 0.3F}, {20, 4.2F, 1.0F, halo, 0.3F}};
	char text[8];

	snprintf(text, sizeof(text), "%02zu", number);
	float wide = canvas_text_width(&strong, text),
	      x = (float)W - 48 - canvas_text_width(&light, title);
	float y = (float)H - 44;

	canvas_text_draw(f, &under[0], x - wide - 16, y, text);
	canvas_text_draw(f, &under[1], x, y, title);
	canvas_text_draw(f, &strong, x - wide - 16, y, text);
	canvas_text_draw(f, &light, x, y, title);
}

static bool picture_make(
	const char *dir, size_t number, uint32_t seed, struct paint *p, struct frame f)
{
	const struct scene *s = &scenes[(number - 1) % SCENES];
	struct look look = s->look;
	char path[1200];
	uint8_t *rgb8 = malloc((size_t)W * H * 3);
	bool ok = false;

	if (!rgb8)
		return false;
	look.seed += (seed - 1) * 1009 + (uint32_t)((number - 1) / SCENES) * 7919;
	p->seed = look.seed;
	s->draw(p, &look);
	frame_fill_from(f, p);
	caption_draw(f, number, look.title);
	rgb8_from_frame(rgb8, f);
	name_make(path, sizeof(path), dir, number, look.title);
	const char *ending = ending_of(number);
	if (strcmp(ending, "webp") == 0)
		ok = webp_write(path, rgb8, W, H);
	else
		ok = strcmp(ending, "png") == 0 ? png_write(path, f) : jpeg_write(path, rgb8);
	free(rgb8);
	if (ok)
		printf("%s\n", path);
	else
		fprintf(stderr, "helio-pictures: cannot write %s\n", path);
	return ok;
}

// ---- command line

struct wish {
	const char *dir, *only;
	size_t count;
	uint32_t seed;
};

static bool is_wanted(const struct wish *w, size_t number)
{
	if (!w->only)
		return true;
	for (const char *s = w->only; s; s = strchr(s, ',')) {
		s += *s == ',';
		if (strtoul(s, NULL, 10) == number)
			return true;
	}
	return false;
}

static bool wish_read(int argc, char **argv, struct wish *w)
{
	int at_arg = 1;

	*w = (struct wish){.count = SCENES, .seed = 1};
	if (argc > 3 && strcmp(argv[1], "--only") == 0) {
		w->only = argv[2];
		at_arg = 3;
	}
	if (argc <= at_arg || argc > at_arg + 3 || argv[at_arg][0] == '-')
		return false;
	w->dir = argv[at_arg];
	if (argc > at_arg + 1)
		w->count = strtoul(argv[at_arg + 1], NULL, 10);
	if (argc > at_arg + 2)
		w->seed = (uint32_t)strtoul(argv[at_arg + 2], NULL, 10);
	return w->count >= 1 && w->count <= 9999 && w->seed >= 1;
}

static void usage_print(FILE *to)
{
	fprintf(to,
		"usage: helio-pictures [--only N,N...] DIR [COUNT [SEED]]\n"
		"       helio-pictures --help | --version\n\n"
		"draws COUNT (%zu) pictures of 1920 x 1080 into DIR, the same ones for the same "
		"SEED;\n"
		"--only draws those of these numbers\n",
		SCENES);
}

int main(int argc, char **argv)
{
	struct wish w;
	struct paint p = {.w = W, .h = H};
	struct frame f = {.w = W, .h = H};
	bool ok = true;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		usage_print(stdout);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("helio-pictures " HELIO_VERSION);
		return 0;
	}
	if (!wish_read(argc, argv, &w)) {
		usage_print(stderr);
		return 2;
	}
	if (mkdir(w.dir, 0755) < 0 && errno != EEXIST) {
		fprintf(stderr, "helio-pictures: cannot make %s: %s\n", w.dir, strerror(errno));
		return 1;
	}
	p.px = aligned_alloc(16, (size_t)W * H * sizeof(*p.px));
	f.px = malloc((size_t)W * H * sizeof(*f.px));
	if (!p.px || !f.px)
		return 1;
	for (size_t i = 1; i <= w.count && ok; i++) {
		if (is_wanted(&w, i))
			ok = picture_make(w.dir, i, w.seed, &p, f);
	}
	free(p.px);
	free(f.px);
	return ok ? 0 : 1;
}
