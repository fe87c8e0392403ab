// The root of trust: which keys may do what. Read once at start and on SIGHUP; signed by the root
// key whose public half stands in its own file.
#ifndef HELIO_SERVER_TRUST_H
#define HELIO_SERVER_TRUST_H

#include "proto/base/clock.h"
#include "proto/envelope.h"
#include "proto/message.h"

struct server_trust {
	struct arena arena;
	struct root root; // points into the arena
};

// Errors: those of file_read; ERR_AUTH, ERR_FORMAT.
enum err server_trust_open(struct server_trust *t, const char *root_file, const char *key_file) MUST_CHECK;
void server_trust_close(struct server_trust *t);
// ERR_AUTH unless the root lists this key as an online key; ERR_STALE when the root has expired.
enum err server_trust_check_online(
	const struct server_trust *t, const struct key32 *online, struct wall now) MUST_CHECK;

#endif
