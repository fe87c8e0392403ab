// What unit tests share: cmocka's includes, and a private folder per test.
#ifndef HELIO_TESTS_UNIT_HELPER_H
#define HELIO_TESTS_UNIT_HELPER_H

// cmocka.h wants these four before it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// then
#include <cmocka.h>

#include "proto/base/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// *state becomes the path of a fresh folder.
static inline int temp_dir_make(void **state)
{
	char *path = strdup("/tmp/helio-unit-XXXXXX");

	if (!path || !mkdtemp(path))
		return -1;
	*state = path;
	return 0;
}

static inline int temp_dir_drop(void **state)
{
	enum err e = tree_remove(*state);

	free(*state);
	return e == ERR_OK ? 0 : -1;
}

#endif
