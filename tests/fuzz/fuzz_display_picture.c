// Files that a display is to show (C1, C2): whatever they are, a frame is filled or an error is
// told, and nothing beyond the frame is written.
#include "client/display/picture.h"
#include "tests/fuzz/fuzz_picture.h"

#include <sys/mman.h>
#include <unistd.h>

#define WIDTH 31
#define HEIGHT 17
#define GUARD 64

static void picture_try(struct bytes in, enum fit fit)
{
	uint32_t pixels[WIDTH * HEIGHT + 2 * GUARD];
	const struct picture_wish wish = {
		.fit = fit, .background_rgb = 0x204060, .memory_bytes = 32 << 20};
	struct frame frame = {.px = pixels + GUARD, .w = WIDTH, .h = HEIGHT};
	struct picture_facts facts = {0};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	FUZZ_HOLDS(fd >= 0 && write(fd, in.data, in.size) == (ssize_t)in.size);
	memset(pixels, 0xa5, sizeof(pixels));
	enum err e = picture_is_slow(in) ? ERR_RANGE : picture_decode(fd, &wish, frame, &facts);
	FUZZ_HOLDS(e != ERR_OK || (facts.w > 0 && facts.h > 0));
	for (size_t i = 0; i < GUARD; i++)
		FUZZ_HOLDS(pixels[i] == 0xa5a5a5a5 &&
			   pixels[GUARD + WIDTH * HEIGHT + i] == 0xa5a5a5a5);
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *mended = png_mended(data, size);

	for (int fit = 0; fit < 4; fit++) {
		picture_try(bytes_of(data, size), (enum fit)fit);
		picture_try(bytes_of(mended, size), (enum fit)fit);
	}
	free(mended);
	return 0;
}
