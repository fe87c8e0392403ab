#include "server/frequency.h"

static const uint32_t permille[FREQUENCY_LEVELS] = {1000, 1500, 2250, 3375, 5062, 7593, 11390};

uint32_t frequency_permille(uint32_t level)
{
	return permille[level < FREQUENCY_LEVELS ? level : FREQUENCY_LEVELS - 1];
}

static uint32_t clamp(uint64_t ms, const struct frequency_policy *p)
{
	if (ms < p->min_ms)
		return p->min_ms;
	return ms > p->max_ms ? p->max_ms : (uint32_t)ms;
}

// Times the busy interval as a whole: not each that comes and goes changes what all are told.
static uint32_t busy_ms(const struct frequency_policy *p, const struct frequency *f)
{
	uint64_t one = p->busy_ms * (uint64_t)p->busy_per_s, work = UINT64_C(1000) * f->working;
	uint64_t times = one && work > one ? (work + one - 1) / one : 1;
	uint64_t ms = times * p->busy_ms;

	return ms < p->idle_ms ? (uint32_t)ms : p->idle_ms;
}

static uint32_t at_level(const struct frequency_policy *p, uint32_t level, uint64_t ms)
{
	return clamp(ms * frequency_permille(level) / 1000, p);
}

uint32_t frequency_interval(const struct frequency_policy *p, const struct frequency *f,
	uint32_t operator_ms, bool busy, struct mono now)
{
	if (operator_ms)
		return clamp(operator_ms, p);
	uint32_t ms = busy ? busy_ms(p, f) : p->idle_ms;
	int64_t to = at_level(p, f->level, ms), from = at_level(p, f->from, ms);
	int64_t since = mono_since_ms(now, f->stepped);
	return (uint32_t)(since >= 0 && since < from ? from + (to - from) * since / from : to);
}

uint32_t reconnect_spread_ms(uint32_t least_ms, uint32_t clients)
{
	uint64_t ms = clients / RECONNECTS_PER_S * UINT64_C(1000);

	if (ms < least_ms)
		ms = least_ms;
	return ms < RECONNECT_SPREAD_MAX_MS ? (uint32_t)ms : RECONNECT_SPREAD_MAX_MS;
}

enum frequency_by frequency_by(const struct frequency_policy *p, const struct frequency *f,
	uint32_t operator_ms, bool busy)
{
	if (operator_ms)
		return clamp(operator_ms, p) == operator_ms ? FREQUENCY_BY_OPERATOR
							    : FREQUENCY_BY_LIMIT;
	if (f->level || f->from || (busy && busy_ms(p, f) > p->busy_ms))
		return FREQUENCY_BY_LOAD;
	return busy && p->busy_ms < p->idle_ms ? FREQUENCY_BY_BUSY : FREQUENCY_BY_IDLE;
}

const char *frequency_by_word(enum frequency_by by)
{
	switch (by) {
	case FREQUENCY_BY_OPERATOR:
		return "operator";
	case FREQUENCY_BY_IDLE:
		return "idle";
	case FREQUENCY_BY_BUSY:
		return "busy";
	case FREQUENCY_BY_LOAD:
		return "load";
	case FREQUENCY_BY_LIMIT:
		return "limit";
	}
	return "";
}

static void load_smooth(struct frequency *f, double load, struct mono now)
{
	int64_t passed_ms = f->seen ? mono_since_ms(now, f->at) : 0;
	double share =
		passed_ms <= 0 ? 0 : (double)passed_ms / (double)(passed_ms + FREQUENCY_SMOOTH_MS);

	load = !(load > 0) ? 0 : load > 1 ? 1 : load; // not a number is no load
	f->load = f->seen ? f->load + (load - f->load) * share : 0;
	f->at = now;
	if (!f->seen)
		f->stepped = f->round = now;
	f->seen = true;
}

static void round_begin(struct frequency *f, struct mono now)
{
	f->round = now;
	f->highest = f->load;
}

static bool step(struct frequency *f, uint32_t level, struct mono now)
{
	f->from = f->level;
	f->level = level;
	f->stepped = now;
	round_begin(f, now);
	return true;
}

bool frequency_load(
	struct frequency *f, const struct frequency_policy *p, double load, struct mono now)
{
	load_smooth(f, load, now);
	int64_t from_ms = at_level(p, f->from, p->idle_ms),
		now_ms = at_level(p, f->level, p->idle_ms);
	int64_t up_ms = from_ms > FREQUENCY_UP_MS ? from_ms : FREQUENCY_UP_MS;
	int64_t round_ms =
		from_ms + now_ms > FREQUENCY_DOWN_MS ? from_ms + now_ms : FREQUENCY_DOWN_MS;

	if (f->load > f->highest)
		f->highest = f->load;
	if (f->load > FREQUENCY_HIGH && f->level + 1 < FREQUENCY_LEVELS &&
		mono_since_ms(now, f->stepped) >= up_ms)
		return step(f, f->level + 1, now);
	if (mono_since_ms(now, f->round) < round_ms)
		return false;
	if (f->highest < FREQUENCY_LOW && f->level > 0)
		return step(f, f->level - 1, now);
	round_begin(f, now);
	return false;
}
