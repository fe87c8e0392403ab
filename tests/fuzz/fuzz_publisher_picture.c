// Pictures from strangers, as the child that decodes them meets them (C1, C2). Whatever they are,
// what comes out is a picture of ours: within the limits, and unchanged when it comes in again.
#include "server/publisher/picture.h"
#include "tests/fuzz/fuzz_picture.h"

static void good_is_ours(const struct picture *p)
{
	struct picture again = {.in = buf_bytes(&p->out)};
	bool jpeg = p->out_format == PICTURE_JPEG;

	FUZZ_HOLDS(p->out_format == PICTURE_JPEG || p->out_format == PICTURE_PNG);
	FUZZ_HOLDS(p->out.size > 8 &&
		   memcmp(p->out.data, jpeg ? "\xff\xd8\xff" : "\x89PNG", jpeg ? 3 : 4) == 0);
	FUZZ_HOLDS(p->width > 0 && p->width <= PICTURE_SIDE_MAX);
	FUZZ_HOLDS(p->height > 0 && p->height <= PICTURE_SIDE_MAX);
	buf_init(&again.out, PICTURE_OUTPUT_MAX);
	FUZZ_HOLDS(picture_convert(&again) == PICTURE_GOOD);
	FUZZ_HOLDS(again.width == p->width && again.height == p->height);
	FUZZ_HOLDS(again.out.size == p->out.size &&
		   memcmp(again.out.data, p->out.data, p->out.size) == 0);
	buf_fini(&again.out);
}

static void picture_try(struct bytes in)
{
	struct picture p = {.in = in};

	if (picture_is_slow(in))
		return;
	buf_init(&p.out, PICTURE_OUTPUT_MAX);
	enum picture_word w = picture_convert(&p);
	FUZZ_HOLDS(w >= PICTURE_GOOD && w < PICTURE_WORD_COUNT);
	if (w == PICTURE_GOOD)
		good_is_ours(&p);
	else
		FUZZ_HOLDS(p.text[0] != '\0');
	buf_fini(&p.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *mended = png_mended(data, size);

	picture_try(bytes_of(data, size));
	picture_try(bytes_of(mended, size));
	free(mended);
	return exif_orientation(bytes_of(data, size)) > 8; // 0
}
