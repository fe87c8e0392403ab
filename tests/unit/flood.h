// Time of a table that is filled with what somebody chose. Of several times the least counts: what
// the machine does beside it only adds.
#ifndef HELIO_TESTS_UNIT_FLOOD_H
#define HELIO_TESTS_UNIT_FLOOD_H

#include "tests/unit/helper.h"
#include <time.h>

#if defined(__SANITIZE_ADDRESS__)
#define FLOOD 8000 // so slow, it is about memory alone
#else
#define FLOOD 100000 // ids of a flood (attack C10)
#endif
#define FLOOD_CONTROL 6000 // of them, where it hurts: that time grows with their square
#define FLOOD_TIMES 8      // at most, of the ones whose time is judged

// CPU time of this thread alone.
static inline int64_t flood_clock_ns(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// Makes a table, puts `count` of the things in and finds each of them again.
typedef void flood_fill(const void *things, size_t count, const void *secret);

static inline int64_t flood_ns(
	flood_fill *fill, const void *things, size_t count, const void *secret)
{
	int64_t began = flood_clock_ns();

	fill(things, count, secret);
	return flood_clock_ns() - began;
}

struct flood {
	const char *table;
	flood_fill *fill;
	const void *ordinary, *chosen, *secret; // FLOOD of each
	// What is chosen with this secret, and how often more than ordinary ones that costs.
	const void *control, *control_secret;
};

static inline int64_t flood_least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

// Chosen ones cost at most twice the time of ordinary ones; where the secret is known, much more.
static inline void flood_judge(const struct flood *f)
{
	int64_t ordinary = INT64_MAX, chosen = INT64_MAX, usual = INT64_MAX;

	for (int i = 0; i < FLOOD_TIMES && (i < 2 || chosen > 2 * ordinary); i++) {
		ordinary = flood_least(ordinary, flood_ns(f->fill, f->ordinary, FLOOD, f->secret));
		chosen = flood_least(chosen, flood_ns(f->fill, f->chosen, FLOOD, f->secret));
	}
	for (int i = 0; i < 3; i++)
		usual = flood_least(
			usual, flood_ns(f->fill, f->ordinary, FLOOD_CONTROL, f->control_secret));
	int64_t hurt = flood_ns(f->fill, f->control, FLOOD_CONTROL, f->control_secret);
	print_message("%s: %d chosen %.2f of ordinary (%.1f ms); with the secret %d of them %.1f\n",
		f->table, FLOOD, (double)chosen / (double)ordinary, (double)ordinary / 1e6,
		FLOOD_CONTROL, (double)hurt / (double)usual);
	assert_true(chosen <= 2 * ordinary);
	assert_true(hurt > 3 * usual); // they are chosen well
}

#endif
