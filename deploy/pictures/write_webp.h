// WebP, where libwebp is there.
#ifndef HELIO_DEPLOY_WRITE_WEBP_H
#define HELIO_DEPLOY_WRITE_WEBP_H

#include <stdbool.h>
#include <stdint.h>

bool webp_is_known(void);
// rgb8: w * h * 3 bytes. False when it did not work.
bool webp_write(const char *path, const uint8_t *rgb8, int w, int h);

#endif
