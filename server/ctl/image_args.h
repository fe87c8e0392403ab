// Options that say something about a picture, as `image add` and `image set` have them.
#ifndef HELIO_CTL_IMAGE_ARGS_H
#define HELIO_CTL_IMAGE_ARGS_H

#include "server/ctl/ctl.h"

// title, licence, weight, released, expires (YYYY-MM-DD, or `none`), each only when it is given.
// Errors: ERR_FORMAT, ERR_RANGE.
enum err image_details_add(const struct args *a, cJSON *request) MUST_CHECK;
// Every value of a repeated option, as a list.
void options_add(const struct args *a, const char *option, cJSON *request, const char *key);

#endif
