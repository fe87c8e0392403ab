// The managed event queue alone: what a broadcast, a taken element and a consolidation cost when
// 10^3 to 10^6 pointers stand in the queue.
#ifndef HELIO_TESTS_BENCH_CORE_QUEUE_ROWS_H
#define HELIO_TESTS_BENCH_CORE_QUEUE_ROWS_H

void queue_rows(void);

#endif
