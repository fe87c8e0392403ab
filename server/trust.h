// The root of trust: which keys may do what. Read once at start and on SIGHUP; signed by the root
// key whose public half stands in its own file.
#ifndef HELIO_SERVER_TRUST_H
#define HELIO_SERVER_TRUST_H

#include "proto/base/clock.h"
#include "proto/envelope.h"
#include "proto/message.h"

struct trust {
	struct arena arena;
	struct root root; // points into the arena
};

// Errors: those of file_read; ERR_AUTH, ERR_FORMAT.
enum err trust_open(struct trust *t, const char *root_file, const char *key_file) MUST_CHECK;
void trust_close(struct trust *t);
// ERR_AUTH unless the root lists this key as an online key; ERR_STALE when the root has expired.
enum err trust_check_online(
	const struct trust *t, const struct key32 *online, struct wall now) MUST_CHECK;

#endif
