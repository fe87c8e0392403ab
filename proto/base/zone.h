// Time zones by their IANA name, from the system's zoneinfo: how far local time is from UTC at a
// moment. Nothing of the process is changed (no TZ, no tzset), so that any thread may ask.
#ifndef HELIO_BASE_ZONE_H
#define HELIO_BASE_ZONE_H

#include "proto/base/err.h"

#include <stdint.h>

#define ZONE_FOLDER "/usr/share/zoneinfo"

// Seconds that local time is ahead of UTC. "" and "UTC" are UTC, without any file.
// Errors: ERR_NOT_FOUND (no such zone here), ERR_RANGE (no name of a zone), ERR_CORRUPT, ERR_IO.
enum err zone_offset(const char *zone, int64_t unix_s, int32_t *out) MUST_CHECK;

#endif
