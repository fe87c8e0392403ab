// Before every source of the build "integer": uthash's hash in one function, which integer.ignore can name. By default it is
// a macro, and would wrap in every function that uses a table.
#ifndef HELIO_TESTS_INTEGER_H
#define HELIO_TESTS_INTEGER_H

#include <stddef.h>

static inline unsigned integer_hash(const void *key, size_t size)
{
	const unsigned char *p = key;
	unsigned h = 2166136261U;

	for (size_t i = 0; i < size; i++)
		h = (h ^ p[i]) * 16777619U;
	return h ^ h >> 15;
}

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = integer_hash((keyptr), (keylen)))

#endif
