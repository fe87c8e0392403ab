#ifndef HELIO_TESTS_BENCH_CORE_ORDER_ROWS_H
#define HELIO_TESTS_BENCH_CORE_ORDER_ROWS_H

#include <stddef.h>

// The store in `dir` (NULL: a new one) gets 100 customers, each with one plan and its part of the
// clients.
void order_rows(size_t clients, const char *dir);

#endif
