// Leases of a fleet in memory, for tests of their rates.
#ifndef HELIO_TESTS_UNIT_RATES_HELPER_H
#define HELIO_TESTS_UNIT_RATES_HELPER_H

#include "helper.h"
#include "server/rates.h"

static inline struct mono at_ms(int64_t ms)
{
	return (struct mono){.ms = ms};
}

static inline struct rates_lease lease_of(uint64_t id, const char *client, const char *site)
{
	return (struct rates_lease){.id = id,
		.client = client,
		.broker = "da",
		.site = site,
		.capacity_bytes_per_s = 1000000,
		.told_for_ms = 3000};
}

static inline uint64_t joined(struct rates *r, uint64_t id, const char *client, const char *site)
{
	struct rates_lease l = lease_of(id, client, site);

	return rates_join(r, &l, at_ms(1000));
}

// Before a start of this server: the rate in its row.
static inline void restored(
	struct rates *r, uint64_t id, const char *client, const char *site, uint64_t stored)
{
	struct rates_lease l = lease_of(id, client, site);

	l.is_restored = true;
	l.stored = stored;
	assert_int_equal(rates_join(r, &l, at_ms(1000)), stored);
}

static inline void budget_put(
	struct rates *r, enum budget_kind kind, const char *name, uint64_t rate, uint32_t fetches)
{
	struct budget b = {
		.kind = kind, .bytes_per_s = rate, .fetches = fetches, .is_stored = true};

	assert_true(str_copy(b.name, sizeof(b.name), name));
	assert_int_equal(budgets_put(rates_budgets(r), &b), ERR_OK);
	rates_budgets_changed(r);
}

#endif
