// What the process has of memory, by the kernel: how much the highest was above the beginning.
#ifndef HELIO_TESTS_UNIT_MEMORY_METER_H
#define HELIO_TESTS_UNIT_MEMORY_METER_H

#include "tests/unit/helper.h"

#include "proto/base/file.h"
#include <fcntl.h>

static inline size_t status_kib(const char *field)
{
	char line[256];
	size_t kib = 0;
	FILE *f = fopen("/proc/self/status", "re");

	assert_non_null(f);
	while (kib == 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, field, strlen(field)) == 0)
			kib = strtoul(line + strlen(field) + 1, NULL, 10);
	fclose(f);
	return kib;
}

// From here on. Returns what it has now.
static inline size_t meter_begin_kib(void)
{
	SCOPED_FD int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0 && write(fd, "5", 1) == 1);
	return status_kib("VmRSS:");
}

static inline size_t meter_grown_kib(size_t begin_kib)
{
	size_t peak = status_kib("VmHWM:");

	return peak > begin_kib ? peak - begin_kib : 0;
}

#endif
