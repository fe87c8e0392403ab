// The only place that reads the clocks.
#include "proto/base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct now clock_now(void)
{
	return (struct now){ .mono = { read_ms(CLOCK_BOOTTIME) }, .wall = { read_ms(CLOCK_REALTIME) } };
}

int64_t mono_since_ms(struct mono later, struct mono earlier)
{
	return later.ms - earlier.ms;
}

struct mono mono_add_ms(struct mono m, int64_t ms)
{
	return (struct mono){ m.ms + ms };
}

void wall_format(struct wall w, char out[32])
{
	int64_t seconds = w.ms / 1000;
	int64_t rest = w.ms % 1000;

	if (rest < 0) {
		rest += 1000;
		seconds--;
	}
	time_t t = (time_t)seconds;
	struct tm tm;
	char day[24];

	if (!gmtime_r(&t, &tm) || strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
		snprintf(out, 32, "?");
		return;
	}
	snprintf(out, 32, "%s.%03dZ", day, (int)rest);
}
