// How rates are divided among many transfers (server/rate_share.h), and told, without any broker.
#ifndef HELIO_TESTS_BENCH_CORE_SHARE_ROW_H
#define HELIO_TESTS_BENCH_CORE_SHARE_ROW_H

// A line for 1,000 leases of 100 limited sites, and one for 10,000 of 1,000.
void share_row(void);

#endif
