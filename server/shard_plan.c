// See shard_plan.h.
#include "server/shard_plan.h"

static size_t count_mine(const enum shard_owner *owner)
{
	size_t n = 0;

	for (size_t i = 0; i < SHARDS; i++)
		n += owner[i] == SHARD_MINE;
	return n;
}

void shard_plan(const enum shard_owner *owner, size_t servers, bool all, struct shard_moves *out)
{
	size_t living = servers ? servers : 1;
	size_t share = all ? SHARDS : (SHARDS + living - 1) / living;
	size_t mine = count_mine(owner);

	*out = (struct shard_moves){0};
	if (owner[SHARD_LEAD] == SHARD_FREE)
		out->take[out->take_count++] = SHARD_LEAD;
	for (unsigned i = 0; i < SHARDS && mine < share; i++) {
		if (owner[i] != SHARD_FREE)
			continue;
		out->take[out->take_count++] = i;
		mine++;
	}
	// From the end, where the others begin least often.
	for (unsigned i = SHARDS;
		i-- > 0 && mine > share && out->give_count < SHARD_GIVES_AT_ONCE;) {
		if (owner[i] != SHARD_MINE)
			continue;
		out->give[out->give_count++] = i;
		mine--;
	}
	out->unsettled = mine != share;
}
