// SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash, so that nobody who chooses ids or texts can
// choose where they fall in our tables.
#ifndef HELIO_SERVER_SIP_HASH_H
#define HELIO_SERVER_SIP_HASH_H

#include "proto/base/mem.h"

uint64_t sip_hash(const struct id16 *key, const void *data, size_t size);

#endif
