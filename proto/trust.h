// The root of trust as every program reads it: which keys may do what, signed by the root key whose
// public half stands in its own file. It is verified before a field of it is read.
#ifndef HELIO_TRUST_H
#define HELIO_TRUST_H

#include "proto/base/clock.h"
#include "proto/message.h"

struct trust {
	struct arena arena;
	struct root root; // points into the arena
};

// key_file NULL: root.pub beside root_file. After an error there is nothing to close.
// Errors: those of file_read; ERR_AUTH, ERR_FORMAT, ERR_RANGE.
enum err trust_open(struct trust *t, const char *root_file, const char *key_file) MUST_CHECK;
// Nothing for one that is zeroed or closed.
void trust_close(struct trust *t);
// ERR_AUTH unless the root lists this key as an online key; ERR_STALE when the root has expired.
enum err trust_check_online(
	const struct trust *t, const struct key32 *online, struct wall now) MUST_CHECK;

#endif
