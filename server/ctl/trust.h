// The root of trust as helioctl needs it: read, checked against its key, kept until closed.
#ifndef HELIO_CTL_TRUST_H
#define HELIO_CTL_TRUST_H

#include "proto/message.h"

struct trust;

// key_file NULL: root.pub beside root_file. Errors: ERR_NOT_FOUND, ERR_AUTH, ERR_FORMAT.
enum err trust_open_root(
	const char *root_file, const char *key_file, struct trust **out) MUST_CHECK;
void trust_close(struct trust *t); // NULL is fine
const struct root *trust_root(const struct trust *t);

#endif
