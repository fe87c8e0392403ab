#ifndef HELIO_TESTS_BENCH_CORE_MEDIA_ROWS_H
#define HELIO_TESTS_BENCH_CORE_MEDIA_ROWS_H

#include <stddef.h>

// The store in `dir` (NULL: a new one) gets AWAY clients more, that were never heard.
void media_rows(size_t clients, const char *dir);

#endif
