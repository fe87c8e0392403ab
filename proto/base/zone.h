// The hours of a place: how far its clocks stand from UTC at an instant, and when that changes.
//
// Read from the system's zoneinfo (TZif, RFC 8536), without touching the process's own TZ: a file's
// transitions, and behind them the rule in its last line (two days of the year on which the clocks
// change, or none). Nothing of the process is changed, so that any thread may ask. Pure after
// reading: no file and no clock.
#ifndef HELIO_BASE_ZONE_H
#define HELIO_BASE_ZONE_H

#include "proto/base/mem.h"

#define ZONE_FOLDER "/usr/share/zoneinfo"
#define ZONE_TRANSITIONS_MAX 2000 // the richest zone has some 240
#define ZONE_FILE_MAX (256 * 1024)

// A day of each year and a local time of it: Mm.w.d/time of POSIX; Jn and n as well.
struct zone_day {
	char kind; // 'M', 'J', or 'n' (counts leap days, from 0)
	int month, week, weekday, day;
	int32_t time_s;
};

struct zone_rule {
	bool is, has_summer;
	int32_t offset_s, summer_offset_s;
	struct zone_day begin, end; // of summer time
};

struct zone {
	size_t count;
	int64_t *at_s;     // rising
	int32_t *offset_s; // from there on
	int32_t first_offset_s;
	struct zone_rule rule; // behind the last transition
};

// UTC, without a file.
void zone_init_utc(struct zone *z);
// The bytes of a TZif file. Errors: ERR_FORMAT, ERR_RANGE, ERR_MEMORY; then z is UTC.
enum err zone_parse(struct zone *z, struct bytes tzif) MUST_CHECK;
// name: IANA, below the system's folder; "": the device's own (/etc/localtime; UTC when there is
// none). Errors: ERR_NOT_FOUND, ERR_RANGE (no name of a zone), and as above; then z is UTC.
enum err zone_load(struct zone *z, const char *name) MUST_CHECK;
void zone_fini(struct zone *z);

// Seconds east of UTC at this instant.
int32_t zone_offset_s(const struct zone *z, int64_t unix_s);
// The first instant after unix_s at which the offset may be another; INT64_MAX: never.
int64_t zone_next_change_s(const struct zone *z, int64_t unix_s);

// One question of one zone. "" and "UTC" are UTC, without any file. Errors: ERR_NOT_FOUND (no such
// zone here), ERR_RANGE (no name of a zone), and as above.
enum err zone_offset(const char *zone, int64_t unix_s, int32_t *out) MUST_CHECK;

#endif
