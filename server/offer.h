// What an offer must be before anything is recorded of it: a manifest signed by the keys that the
// root names for its kind. Pure.
#ifndef HELIO_SERVER_OFFER_H
#define HELIO_SERVER_OFFER_H

#include "proto/content.h"

// IMAGES need one image key, SOFTWARE needs software_threshold software keys; a signature of one
// kind is good for no other. name and version are short enough to be a slot and a line. id =
// SHA-256 of the payload. *out points into the arena. Errors: ERR_AUTH, ERR_FORMAT, ERR_RANGE,
// ERR_FULL.
enum err offer_open(const struct root *root, struct bytes envelope, struct arena *a,
	struct manifest *out, struct digest *id) MUST_CHECK;

#endif
