// Two clocks that cannot be mixed up. Only the loop of a program reads them; deciders are given
// the time as an argument.
#ifndef HELIO_BASE_CLOCK_H
#define HELIO_BASE_CLOCK_H

#include <stdint.h>

// Monotonic: never steps, starts anywhere, counts through suspend (CLOCK_BOOTTIME).
struct mono {
	int64_t ms;
};

// Wall clock, Unix milliseconds; may step.
struct wall {
	int64_t ms;
};

struct now {
	struct mono mono;
	struct wall wall;
};

struct now clock_now(void);
int64_t mono_since_ms(struct mono later, struct mono earlier);
struct mono mono_add_ms(struct mono m, int64_t ms);

// "2026-11-21T05:17:55.123Z"; out has room for 32.
void wall_format(struct wall w, char out[32]);

#endif
