// Tokens are kept as a fraction, so that a slow rate is kept exactly.
#include "proto/base/ratelimit.h"

void ratelimit_init(struct ratelimit *r, uint64_t rate_per_s, uint64_t burst, struct mono now)
{
	*r = (struct ratelimit){
		.rate_per_s = rate_per_s, .burst = burst, .tokens = (double)burst, .last = now};
}

static double tokens_at(const struct ratelimit *r, struct mono now)
{
	double passed_s = (double)mono_since_ms(now, r->last) / 1000.0;
	double tokens = r->tokens + (passed_s > 0 ? passed_s * (double)r->rate_per_s : 0);

	return tokens > (double)r->burst ? (double)r->burst : tokens;
}

void ratelimit_set(struct ratelimit *r, uint64_t rate_per_s, uint64_t burst, struct mono now)
{
	r->tokens = tokens_at(r, now);
	r->last = now;
	r->rate_per_s = rate_per_s;
	r->burst = burst;
	if (r->tokens > (double)burst)
		r->tokens = (double)burst;
}

bool ratelimit_take(struct ratelimit *r, uint64_t n, struct mono now)
{
	if (r->rate_per_s == 0)
		return true;
	double tokens = tokens_at(r, now);
	// What is larger than the bucket may go when the bucket is full, and leaves a debt.
	if (tokens < (double)n && tokens < (double)r->burst)
		return false;
	r->tokens = tokens - (double)n;
	r->last = now;
	return true;
}

bool ratelimit_take_above(struct ratelimit *r, uint64_t n, uint64_t spared, struct mono now)
{
	return (r->rate_per_s == 0 || tokens_at(r, now) >= (double)(n + spared)) &&
	       ratelimit_take(r, n, now);
}

int64_t ratelimit_wait_ms(const struct ratelimit *r, uint64_t n, struct mono now)
{
	if (r->rate_per_s == 0)
		return 0;
	double target = (double)(n < r->burst ? n : r->burst);
	double lacking = target - tokens_at(r, now);

	if (lacking <= 0)
		return 0;
	return (int64_t)(lacking * 1000.0 / (double)r->rate_per_s) + 1;
}
