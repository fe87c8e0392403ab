// SRV records: where a service is, by the name of the service (RFC 2782, S001-c31). Each target is
// reached and its certificate checked by its own name: a record can lead to a broker of the fleet's
// authority and to no other.
#ifndef HELIO_SRV_H
#define HELIO_SRV_H

#include "proto/base/err.h"
#include "proto/base/mem.h"
#include <stdint.h>

#define SRV_TARGETS_MAX 8 // more are left out, the least wanted first
#define SRV_WAIT_S 2      // for one name server, asked once

struct srv_target {
	char host[256];
	uint16_t port, priority, weight;
};

struct srv_list {
	struct srv_target targets[SRV_TARGETS_MAX];
	size_t count;
};

// A DNS answer, whole. Records of other kinds are passed over. Errors: ERR_FORMAT, ERR_NOT_FOUND
// (no target, or "." which says that there is no such service).
enum err srv_parse(struct bytes answer, struct srv_list *out) MUST_CHECK;
// The order in which to try them: the lowest priority first; among equal ones by chance, each as
// often the first as its weight says. random: any number, a new one each time.
void srv_order(struct srv_list *l, uint64_t (*random)(void *ctx), void *ctx);
// Asks the name servers of the machine and waits for the answer: for a thread that may.
// Errors: ERR_NOT_FOUND, ERR_TIMEOUT, ERR_FORMAT, ERR_IO.
enum err srv_query(const char *name, struct srv_list *out) MUST_CHECK;

#endif
