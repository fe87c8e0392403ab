// A disk that gives no more names of a folder from some call on. Of a test program, not of a header
// of many: it takes the place of the C library's readdir.
#ifndef HELIO_TESTS_UNIT_FAILING_READDIR_H
#define HELIO_TESTS_UNIT_FAILING_READDIR_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

// Calls that the disk still answers, the one that says the end too; -1: all.
static int listings_left = -1;

struct dirent *readdir(DIR *d)
{
	static struct dirent *(*next)(DIR *);
	void *at = next ? NULL : dlsym(RTLD_NEXT, "readdir64");

	if (at)
		memcpy(&next, &at, sizeof next);
	if (listings_left == 0) {
		errno = EIO;
		return NULL;
	}
	listings_left -= listings_left > 0;
	return next(d);
}

#endif
