// Who of the other servers says nothing any more, by what the judge itself has seen (a decider: no
// database, no clock).
//
// A server that lives renews its row several times in a lease. The judge looks as often, and counts
// by its own monotonic clock how long a row stood still from look to look. Between two looks no
// more than a part of the lease counts, however long it took: where the machine, the database or
// the judge stood still, the others did too, and have the rest of a lease to come back. So who has
// just begun judges nobody before it has watched for a whole lease; and where all is slow for long,
// some more looks suffice.
//
// Dead is whose row says so by the database's clock and stood still for a lease by ours: neither
// clock judges alone, and a server with a longer lease than the judge's has that.
#ifndef HELIO_SERVER_SHARD_WATCH_H
#define HELIO_SERVER_SHARD_WATCH_H

#include "proto/base/clock.h"
#include "proto/limits.h"
#include "server/db/rows_shard.h"

#define SHARD_WATCHED 64   // servers at a time, those of the oldest terms
#define SHARD_WATCH_PART 4 // of the lease: counts between two looks at the most

struct shard_seen {
	char holder[LIMIT_ID + 1];
	uint64_t fencing;
	int64_t until_ms; // by the database's clock
	int64_t still_ms; // by ours
	bool is_over;     // by the database's clock
	bool is_here;     // in this look
};

struct shard_watch {
	struct shard_seen seen[SHARD_WATCHED];
	size_t count;
	struct mono looked_at;
	bool has_looked;
	int64_t step_ms; // that this look counts
};

// One look: begin, see of each row, end. One that fails before its end is followed by another
// begin. Returns what passed since the last one, of which step_ms counts.
int64_t shard_watch_begin(struct shard_watch *w, uint32_t lease_ms, struct mono now);
void shard_watch_see(struct shard_watch *w, const struct server_row *row);
void shard_watch_end(struct shard_watch *w, struct mono now);

bool shard_watch_is_dead(const struct shard_seen *s, uint32_t lease_ms);
// Until somebody could be, at the earliest; never more than a lease.
int64_t shard_watch_left_ms(const struct shard_watch *w, uint32_t lease_ms);

#endif
