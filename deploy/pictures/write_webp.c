// By libwebp.
#include "write_webp.h"

#include <stdio.h>
#include <webp/encode.h>

bool webp_is_known(void)
{
	return true;
}

bool webp_write(const char *path, const uint8_t *rgb8, int w, int h)
{
	uint8_t *out = NULL;
	size_t size = WebPEncodeRGB(rgb8, w, h, w * 3, 86, &out);
	FILE *f = size > 0 ? fopen(path, "wb") : NULL;
	bool ok = f && fwrite(out, 1, size, f) == size;

	if (f && fclose(f) != 0)
		ok = false;
	WebPFree(out);
	return ok;
}
