// odd_jpeg KIND WIDTH HEIGHT <RGB >JPEG: files that other programs write and that a careless reader
// shows wrongly. By libjpeg, which here only writes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum how {
	FROM_RGB,
	INKS,       // CMYK as Adobe stores it: inverted, with its marker
	PLAIN_INKS, // CMYK without a marker: 255 is full ink
	MIXED_INKS, // YCCK
	GRAY
};

static const struct kind {
	const char *name;
	enum how how;
} kinds[] = {{"baseline", FROM_RGB}, {"progressive", FROM_RGB}, {"arithmetic", FROM_RGB},
	{"restarts", FROM_RGB}, {"rough", FROM_RGB}, {"rgb", FROM_RGB}, {"cmyk", INKS},
	{"cmyk-plain", PLAIN_INKS}, {"ycck", MIXED_INKS}, {"gray", GRAY}};

static struct jpeg_compress_struct c;

static void kind_set(const char *kind, enum how how)
{
	if (strcmp(kind, "progressive") == 0)
		jpeg_simple_progression(&c);
	if (strcmp(kind, "arithmetic") == 0)
		c.arith_code = TRUE;
	if (strcmp(kind, "restarts") == 0)
		c.restart_interval = 1;
	if (strcmp(kind, "rough") == 0) { // 16 bits a divisor, 1 of brightness that stays
		jpeg_set_linear_quality(&c, 20, FALSE);
		for (int i = 1; i < 64; i++)
			c.quant_tbl_ptrs[0]->quantval[i] = 300;
	}
	if (strcmp(kind, "rgb") == 0)
		jpeg_set_colorspace(&c, JCS_RGB);
	if (how == MIXED_INKS)
		jpeg_set_colorspace(&c, JCS_YCCK);
	if (how == PLAIN_INKS)
		c.write_Adobe_marker = FALSE;
}

static void row_of(const unsigned char *rgb, unsigned char *row, unsigned width, enum how how)
{
	for (unsigned x = 0; x < width; x++, rgb += 3) {
		if (how == GRAY)
			row[x] = rgb[0];
		else if (how == FROM_RGB)
			memcpy(row + 3 * x, rgb, 3);
		else
			for (int i = 0; i < 4; i++) {
				unsigned light = i < 3 ? rgb[i] : 255;
				row[4 * x + (unsigned)i] =
					(unsigned char)(how == PLAIN_INKS ? 255 - light : light);
			}
	}
}

int main(int argc, char **argv)
{
	const struct kind *k = NULL;
	struct jpeg_error_mgr errors;

	for (size_t i = 0; argc == 4 && i < sizeof kinds / sizeof kinds[0]; i++)
		k = strcmp(argv[1], kinds[i].name) == 0 ? &kinds[i] : k;
	if (!k)
		return 2;
	unsigned width = (unsigned)strtoul(argv[2], NULL, 10),
		 height = (unsigned)strtoul(argv[3], NULL, 10);
	unsigned char *rgb = malloc(3ul * width), *row = malloc(4ul * width);
	if (!rgb || !row)
		return 1;
	c.err = jpeg_std_error(&errors);
	jpeg_create_compress(&c);
	jpeg_stdio_dest(&c, stdout);
	c.image_width = width;
	c.image_height = height;
	c.input_components = k->how == GRAY ? 1 : k->how == FROM_RGB ? 3 : 4;
	c.in_color_space = k->how == GRAY ? JCS_GRAYSCALE : k->how == FROM_RGB ? JCS_RGB : JCS_CMYK;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, 95, TRUE);
	kind_set(k->name, k->how);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		if (fread(rgb, 3, width, stdin) != width)
			return 1;
		row_of(rgb, row, width, k->how);
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	return fflush(stdout) == 0 ? 0 : 1;
}
