// Token bucket. Pure: the caller gives the monotonic time.
#ifndef HELIO_BASE_RATELIMIT_H
#define HELIO_BASE_RATELIMIT_H

#include "proto/base/clock.h"
#include <stdbool.h>

struct ratelimit {
	uint64_t rate_per_s; // 0: no limit
	uint64_t burst;
	double tokens; // may be negative: a debt that time pays
	struct mono last;
};

// Of two rates, in which 0 says that there is no limit, the lower one.
static inline uint64_t rate_lower(uint64_t a, uint64_t b)
{
	if (a == 0 || b == 0)
		return a ? a : b;
	return a < b ? a : b;
}

void ratelimit_init(struct ratelimit *r, uint64_t rate_per_s, uint64_t burst, struct mono now);
// Changes the rate in mid-flight; tokens saved so far stay, cut to the new burst.
void ratelimit_set(struct ratelimit *r, uint64_t rate_per_s, uint64_t burst, struct mono now);
// True when n tokens, or a full bucket, are there now, and takes them.
bool ratelimit_take(struct ratelimit *r, uint64_t n, struct mono now);
// The same, of what is above `spared` tokens.
bool ratelimit_take_above(struct ratelimit *r, uint64_t n, uint64_t spared, struct mono now);
// Milliseconds until take(n) can be true; 0 now.
int64_t ratelimit_wait_ms(const struct ratelimit *r, uint64_t n, struct mono now);

#endif
