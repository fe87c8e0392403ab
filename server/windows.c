#include "server/windows.h"

_Static_assert(FETCH_WINDOW_MAX < BROKER_MAX_QUEUED, "a window fits a client's queue");

#define SHARE_OF_FREE 16
// Index, manifest, a page and its index page come before the objects.
#define HEAD_BYTES (LIMIT_INDEX + LIMIT_ENVELOPE + LIMIT_PAGE + LIMIT_INDEX_PAGE)

_Static_assert(HEAD_BYTES <= WINDOW_SLOT_LEAST, "the least slot has room for a package's head");

static uint64_t between(uint64_t least, uint64_t value, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

static uint64_t slot_of(uint64_t window_bytes, uint64_t package_bytes)
{
	uint64_t one = window_bytes > WINDOW_SLOT_LEAST ? window_bytes : WINDOW_SLOT_LEAST;

	return package_bytes && package_bytes < one ? between(HEAD_BYTES, package_bytes, one) : one;
}

static uint64_t bytes_of_rate(uint64_t rate_bytes_per_s)
{
	if (!rate_bytes_per_s)
		return WINDOW_MOST_BYTES;
	return between(WINDOW_LEAST_BYTES, rate_bytes_per_s / 10, WINDOW_MOST_BYTES);
}

bool window_choose(
	const struct window_limits *l, const struct window_wish *wish, struct window *out)
{
	uint64_t bytes = bytes_of_rate(wish->rate_bytes_per_s), free_bytes = UINT64_MAX;

	if (l->budget_bytes)
		free_bytes = l->budget_bytes > wish->taken_bytes
				     ? l->budget_bytes - wish->taken_bytes
				     : 0;
	if (bytes > free_bytes / SHARE_OF_FREE)
		bytes = between(WINDOW_LEAST_BYTES, free_bytes / SHARE_OF_FREE, bytes);
	if (l->queue_bytes && bytes > l->queue_bytes)
		bytes = l->queue_bytes;
	*out = (struct window){bytes, slot_of(bytes, wish->package_bytes)};
	return out->slot_bytes <= free_bytes;
}

uint64_t window_slot_most(uint64_t package_bytes)
{
	return slot_of(WINDOW_MOST_BYTES, package_bytes);
}
