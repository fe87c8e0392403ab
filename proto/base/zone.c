// See zone.h. The file is that of RFC 8536: a header and tables, the second copy of which has times
// of 64 bits, and behind them the rule (POSIX TZ) for what comes after the last transition.
#include "proto/base/zone.h"

#include "proto/base/file.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX (256 * 1024)
#define HEADER_SIZE 44
#define DAY_S 86400

struct tables {
	const uint8_t *times, *kinds, *types; // 64-bit times, their type numbers, 6 bytes a type
	uint32_t time_count, type_count;
	const char *rule;
	size_t rule_size;
};

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t get_i64(const uint8_t *p)
{
	return (int64_t)((uint64_t)get_u32(p) << 32 | get_u32(p + 4));
}

// ---- the file

// The size of the tables that follow a header, or SIZE_MAX when it is none.
static size_t tables_size(const uint8_t *h, size_t size, size_t time_size)
{
	if (size < HEADER_SIZE || memcmp(h, "TZif", 4) != 0)
		return SIZE_MAX;
	uint64_t isut = get_u32(h + 20), isstd = get_u32(h + 24), leap = get_u32(h + 28);
	uint64_t times = get_u32(h + 32), types = get_u32(h + 36), chars = get_u32(h + 40);
	uint64_t sum =
		times * (time_size + 1) + types * 6 + chars + leap * (time_size + 4) + isstd + isut;
	return sum <= FILE_MAX ? (size_t)sum : SIZE_MAX;
}

static enum err tables_find(struct bytes file, struct tables *out)
{
	size_t first = tables_size(file.data, file.size, 4);
	if (first == SIZE_MAX || file.size < HEADER_SIZE + first || file.data[4] < '2')
		return err_set(ERR_CORRUPT, "a zone's file is broken");
	const uint8_t *h = file.data + HEADER_SIZE + first;
	size_t left = file.size - HEADER_SIZE - first, second = tables_size(h, left, 8);
	if (second == SIZE_MAX || left < HEADER_SIZE + second)
		return err_set(ERR_CORRUPT, "a zone's file is cut");
	out->time_count = get_u32(h + 32);
	out->type_count = get_u32(h + 36);
	out->times = h + HEADER_SIZE;
	out->kinds = out->times + 8 * (size_t)out->time_count;
	out->types = out->kinds + out->time_count;
	out->rule = (const char *)h + HEADER_SIZE + second;
	out->rule_size = left - HEADER_SIZE - second;
	return out->type_count != 0 ? ERR_OK : err_set(ERR_CORRUPT, "a zone's file has no types");
}

static enum err type_offset(const struct tables *t, uint32_t type, int32_t *out)
{
	if (type >= t->type_count)
		return err_set(ERR_CORRUPT, "a zone's file names a type that it lacks");
	*out = (int32_t)get_u32(t->types + 6 * (size_t)type);
	return ERR_OK;
}

// ---- the rule: std offset [dst [offset] , Mm.w.d[/time] , Mm.w.d[/time]]

struct rule_day {
	int month, week, day;
	int32_t time_s;
};

static bool name_skip(const char **p)
{
	const char *start = *p;
	if (**p == '<') {
		while (**p != '\0' && **p != '>')
			++*p;
		if (**p == '>')
			++*p;
	} else {
		while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z'))
			++*p;
	}
	return *p - start >= 3;
}

static bool number_take(const char **p, int most, int *out)
{
	char *end;
	if (**p < '0' || **p > '9')
		return false;
	long n = strtol(*p, &end, 10);
	*p = end;
	*out = (int)n;
	return n <= most;
}

// [+-]h[:m[:s]]
static bool time_take(const char **p, int32_t *out)
{
	int sign = **p == '-' ? -1 : 1, parts[3] = {0};
	if (**p == '-' || **p == '+')
		++*p;
	if (!number_take(p, 167, &parts[0]))
		return false;
	for (int i = 1; i < 3 && **p == ':'; i++) {
		++*p;
		if (!number_take(p, 59, &parts[i]))
			return false;
	}
	*out = sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]);
	return true;
}

static bool day_take(const char **p, struct rule_day *out)
{
	out->time_s = 7200;
	if (strncmp(*p, ",M", 2) != 0)
		return false;
	*p += 2;
	if (!number_take(p, 12, &out->month) || *(*p)++ != '.' || !number_take(p, 5, &out->week) ||
		*(*p)++ != '.' || !number_take(p, 6, &out->day) || out->month < 1 || out->week < 1)
		return false;
	if (**p != '/')
		return true;
	++*p;
	return time_take(p, &out->time_s);
}

// Days since 1970 of a date of the Gregorian calendar (Hinnant's days_from_civil).
static int64_t days_of(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t yoe = year - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t year_of(int64_t unix_s)
{
	int64_t days = unix_s / DAY_S - (unix_s % DAY_S < 0), year = 1970 + days / 366 - 1;
	while (days_of(year + 1, 1, 1) <= days)
		year++;
	return year;
}

// Local seconds since 1970 at which the rule's day begins to count in that year.
static int64_t day_of_year(const struct rule_day *r, int64_t year)
{
	int64_t first = days_of(year, r->month, 1);
	int64_t next = r->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, r->month + 1, 1);
	int64_t weekday = ((first + 4) % 7 + 7) % 7;
	int64_t day = first + (r->day - weekday + 7) % 7 + 7 * (r->week - 1);
	while (day >= next)
		day -= 7;
	return day * DAY_S + r->time_s;
}

static bool rule_offset(const char *p, int64_t unix_s, int32_t *out)
{
	struct rule_day on, off;
	int32_t standard, summer;
	if (!name_skip(&p) || !time_take(&p, &standard))
		return false;
	standard = -standard;
	*out = standard;
	if (*p == '\0')
		return true;
	if (!name_skip(&p))
		return false;
	summer = standard + 3600;
	if (*p != ',') {
		if (!time_take(&p, &summer))
			return false;
		summer = -summer;
	}
	if (!day_take(&p, &on) || !day_take(&p, &off))
		return false;
	int64_t year = year_of(unix_s + standard);
	int64_t from = day_of_year(&on, year) - standard, until = day_of_year(&off, year) - summer;
	bool is_summer =
		from < until ? unix_s >= from && unix_s < until : unix_s >= from || unix_s < until;
	*out = is_summer ? summer : standard;
	return true;
}

static enum err after_last(const struct tables *t, int64_t unix_s, int32_t *out)
{
	char rule[128];
	if (t->rule_size < 2 || t->rule_size - 2 >= sizeof rule || t->rule[0] != '\n')
		return err_set(ERR_CORRUPT, "a zone's file has no rule");
	memcpy(rule, t->rule + 1, t->rule_size - 2);
	rule[t->rule_size - 2] = '\0';
	return rule_offset(rule, unix_s, out)
		       ? ERR_OK
		       : err_set(ERR_UNSUPPORTED, "the rule %s of a zone is not understood", rule);
}

// ---- asking

static enum err offset_in(struct bytes file, int64_t unix_s, int32_t *out)
{
	struct tables t = {0};
	TRY(tables_find(file, &t));
	uint32_t low = 0, high = t.time_count; // transitions at or before the moment
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (get_i64(t.times + 8 * (size_t)middle) <= unix_s)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == t.time_count)
		return after_last(&t, unix_s, out);
	return type_offset(&t, low == 0 ? 0 : t.kinds[low - 1], out);
}

enum err zone_offset(const char *zone, int64_t unix_s, int32_t *out)
{
	char path[256];
	SCOPED_BUF struct buf file;
	*out = 0;
	if (zone[0] == '\0' || strcmp(zone, "UTC") == 0)
		return ERR_OK;
	if (!path_is_safe(zone))
		return err_set(ERR_RANGE, "%s is no name of a time zone", zone);
	buf_init(&file, FILE_MAX);
	TRY(path_join(path, sizeof path, ZONE_FOLDER, zone));
	enum err e = file_read(path, &file);
	if (e == ERR_NOT_FOUND)
		return err_set(ERR_NOT_FOUND, "the time zone %s is not in " ZONE_FOLDER, zone);
	TRY(e);
	return offset_in(buf_bytes(&file), unix_s, out);
}
