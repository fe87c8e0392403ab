// The presence server under a crowd: what choosing a data broker costs, without any broker.
#ifndef HELIO_TESTS_BENCH_CORE_PLACEMENT_ROW_H
#define HELIO_TESTS_BENCH_CORE_PLACEMENT_ROW_H

// 16 brokers, 10,000 clients: prints what 1,000 decisions and 1,000 whole grants cost.
void placement_row(void);

#endif
