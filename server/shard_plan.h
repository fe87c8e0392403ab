// Which shards a server takes and which it gives up, when several share them. Pure.
//
// Nobody is told what to take: each looks at the same rows and at its own share, which is the same
// for all. What is free is taken up to the share; who has more gives up the rest, a few at a time,
// so that its clients move to the others without a crowd. The lead is taken where it is free, and
// never given up: it moves when its server ends.
#ifndef HELIO_SERVER_SHARD_PLAN_H
#define HELIO_SERVER_SHARD_PLAN_H

#include "server/db/rows_shard.h"

#define SHARD_GIVES_AT_ONCE 16

struct shard_moves {
	unsigned take[SHARD_PLACES], give[SHARD_GIVES_AT_ONCE];
	size_t take_count, give_count;
	bool unsettled; // more is to come or to go than this time
};

// owner: [SHARD_PLACES]. servers: the living ones, this one among them (0 counts as 1). all: take
// whatever is free, as one does who stands in for the others.
void shard_plan(const enum shard_owner *owner, size_t servers, bool all, struct shard_moves *out);

#endif
