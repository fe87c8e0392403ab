// 16 brokers, and sites of ten transfers each with a budget of its own: what it costs that a
// transfer comes or goes and every rate is worked out anew, and to tell each client its own.
#include "tests/bench/core/share_row.h"

#include "server/rates.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BROKERS 16
#define LEASES_A_SITE 10
#define TURNS 50

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void join(struct rates *r, uint64_t lease, unsigned sites)
{
	char client[16], broker[16], site[32];

	snprintf(client, sizeof(client), "f%u", (unsigned)lease);
	snprintf(broker, sizeof(broker), "d%02u", (unsigned)(lease / sites % BROKERS));
	snprintf(site, sizeof(site), "acme/p%u", (unsigned)(lease % sites));
	(void)rates_join(r,
		&(struct rates_lease){.id = lease,
			.client = client,
			.broker = broker,
			.site = site,
			.capacity_bytes_per_s = 100000000,
			.told_for_ms = 3000},
		(struct mono){1});
}

static void measure(unsigned sites)
{
	struct rates *r = rates_new(0);
	unsigned leases = sites * LEASES_A_SITE;
	double settle = 0, tell;
	uint64_t told = 0;
	char line[80];

	for (unsigned s = 0; s < sites; s++) {
		snprintf(line, sizeof(line), "site acme/p%u %u", s, 500000 + 977 * s);
		if (budgets_line(rates_budgets(r), line) != ERR_OK) {
			fprintf(stderr, "shares: %s\n", err_text());
			exit(1);
		}
	}
	for (uint64_t i = 1; i <= leases; i++)
		join(r, i, sites);
	for (int turn = 0; turn < TURNS; turn++) {
		rates_leave(r, (uint64_t)turn + 1);
		join(r, leases + (uint64_t)turn + 1, sites);
		double from = cpu_ms();
		if (!rates_settle(r, (struct mono){turn + 2}))
			exit(1);
		settle += cpu_ms() - from;
	}
	tell = cpu_ms();
	for (uint64_t i = TURNS + 1; i <= leases; i++)
		told += rates_tell(r, i, 0, 3000, (struct mono){TURNS + 3});
	tell = cpu_ms() - tell;
	printf("leases=%u sites=%u settle_ms=%.3f tell_us=%.3f told_per_lease=%.0f\n", leases,
		sites, settle / TURNS, tell * 1e3 / (leases - TURNS),
		(double)told / (leases - TURNS));
	rates_free(r);
}

void share_row(void)
{
	measure(100);
	measure(1000);
}
