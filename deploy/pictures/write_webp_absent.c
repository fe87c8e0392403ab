// Without libwebp the picture becomes a JPEG.
#include "write_webp.h"

bool webp_is_known(void)
{
	return false;
}

bool webp_write(const char *path, const uint8_t *rgb8, int w, int h)
{
	(void)path;
	(void)rgb8;
	(void)w;
	(void)h;
	return false;
}
