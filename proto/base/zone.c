// TZif: a head, a block with 32-bit times that is passed over, the same with 64-bit times, and one
// line of text with the rule for all time after it.
#include "proto/base/zone.h"

#include "proto/base/file.h"
#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define HEAD_BYTES 44

// ---- days

// Days from 1970-01-01 to the first of March of a year, by the calendar that always was; then on.
static int64_t days_of(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400, in_era = y - era * 400;
	int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static bool is_leap(int64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t year_of(int64_t unix_s)
{
	int64_t days = unix_s >= 0 ? unix_s / DAY_S : -((-unix_s + DAY_S - 1) / DAY_S);
	int64_t year = 1970 + days / 146097 * 400 + days % 146097 * 400 / 146097;

	while (days_of(year + 1, 1, 1) <= days)
		year++;
	while (days_of(year, 1, 1) > days)
		year--;
	return year;
}

// Days since 1970 of a rule's day.
static int64_t rule_day(const struct zone_day *d, int64_t year)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (d->kind == 'n')
		return days_of(year, 1, 1) + d->day;
	if (d->kind == 'J')
		return days_of(year, 1, 1) + d->day - 1 + (is_leap(year) && d->day > 59);
	int64_t first = days_of(year, d->month, 1);
	int64_t weekday = (first % 7 + 7 + 4) % 7; // 1970-01-01 was a Thursday
	int64_t day = (d->weekday - weekday + 7) % 7 + (d->week - 1) * 7;
	int length = lengths[d->month - 1] + (d->month == 2 && is_leap(year));

	while (day >= length)
		day -= 7;
	return first + day;
}

// ---- the rule's text: CET-1CEST,M3.5.0,M10.5.0/3

static bool number_take(const char **s, int max, int *out)
{
	int n = 0, digits = 0;

	for (; **s >= '0' && **s <= '9' && digits < 4; ++*s, digits++)
		n = n * 10 + (**s - '0');
	*out = n;
	return digits > 0 && n <= max;
}

static bool name_take(const char **s)
{
	const char *begin = *s;

	if (**s == '<') {
		*s = strchr(*s, '>');
		return *s ? (++*s, true) : false;
	}
	while ((**s >= 'A' && **s <= 'Z') || (**s >= 'a' && **s <= 'z'))
		++*s;
	return *s - begin >= 3;
}

// [+-]hh[:mm[:ss]]
static bool time_take(const char **s, int32_t *out)
{
	int sign = **s == '-' ? -1 : 1, h, m = 0, sec = 0;

	if (**s == '-' || **s == '+')
		++*s;
	if (!number_take(s, 167, &h))
		return false;
	if (**s == ':' && (++*s, !number_take(s, 59, &m)))
		return false;
	if (**s == ':' && (++*s, !number_take(s, 59, &sec)))
		return false;
	*out = sign * (h * 3600 + m * 60 + sec);
	return true;
}

static bool month_day_take(const char **s, struct zone_day *d)
{
	return number_take(s, 12, &d->month) && d->month >= 1 && *(*s)++ == '.' &&
	       number_take(s, 5, &d->week) && d->week >= 1 && *(*s)++ == '.' &&
	       number_take(s, 6, &d->weekday);
}

static bool day_take(const char **s, struct zone_day *d)
{
	bool good;

	*d = (struct zone_day){.kind = 'n', .time_s = 2 * 3600};
	if (*(*s)++ != ',')
		return false;
	if (**s == 'M' || **s == 'J')
		d->kind = *(*s)++;
	if (d->kind == 'M')
		good = month_day_take(s, d);
	else
		good = number_take(s, 365, &d->day) && (d->kind == 'n' || d->day >= 1);
	if (good && **s == '/') {
		++*s;
		good = time_take(s, &d->time_s);
	}
	return good;
}

static bool rule_parse(const char *s, struct zone_rule *r)
{
	int32_t west;

	*r = (struct zone_rule){0};
	if (!name_take(&s) || !time_take(&s, &west))
		return false;
	r->is = true;
	r->offset_s = -west;
	if (*s == '\0')
		return true;
	if (!name_take(&s))
		return false;
	r->has_summer = true;
	r->summer_offset_s = r->offset_s + 3600;
	if (*s != ',') {
		if (!time_take(&s, &west))
			return false;
		r->summer_offset_s = -west;
	}
	return day_take(&s, &r->begin) && day_take(&s, &r->end) && *s == '\0';
}

// The instants of a year at which summer time begins and ends.
static void rule_year(const struct zone_rule *r, int64_t year, int64_t *begin, int64_t *end)
{
	*begin = rule_day(&r->begin, year) * DAY_S + r->begin.time_s - r->offset_s;
	*end = rule_day(&r->end, year) * DAY_S + r->end.time_s - r->summer_offset_s;
}

static int32_t rule_offset(const struct zone_rule *r, int64_t unix_s)
{
	int64_t best = INT64_MIN, year = year_of(unix_s);
	int32_t offset = r->offset_s;

	if (!r->has_summer)
		return offset;
	for (int64_t y = year - 1; y <= year + 1; y++) {
		int64_t begin, end;

		rule_year(r, y, &begin, &end);
		if (begin <= unix_s && begin > best) {
			best = begin;
			offset = r->summer_offset_s;
		}
		if (end <= unix_s && end > best) {
			best = end;
			offset = r->offset_s;
		}
	}
	return offset;
}

static int64_t rule_next(const struct zone_rule *r, int64_t unix_s)
{
	int64_t best = INT64_MAX, year = year_of(unix_s);

	if (!r->has_summer)
		return best;
	for (int64_t y = year - 1; y <= year + 1; y++) {
		int64_t begin, end;

		rule_year(r, y, &begin, &end);
		if (begin > unix_s && begin < best)
			best = begin;
		if (end > unix_s && end < best)
			best = end;
	}
	return best;
}

// ---- the file

struct tzif {
	const uint8_t *p, *end;
	uint32_t ut_count, std_count, leap_count, time_count, type_count, char_count;
};

#define OFFSET_MAX_S (26 * 3600)

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static enum err head_take(struct tzif *t)
{
	if (t->end - t->p < HEAD_BYTES || memcmp(t->p, "TZif", 4) != 0 || t->p[4] < '2')
		return err_set(ERR_FORMAT, "the time zone's file is not TZif of version 2");
	t->ut_count = be32(t->p + 20);
	t->std_count = be32(t->p + 24);
	t->leap_count = be32(t->p + 28);
	t->time_count = be32(t->p + 32);
	t->type_count = be32(t->p + 36);
	t->char_count = be32(t->p + 40);
	if (t->time_count > ZONE_TRANSITIONS_MAX || t->type_count == 0 || t->type_count > 256 ||
		t->char_count > 4096 || t->leap_count > 4096 || t->ut_count > 256 ||
		t->std_count > 256)
		return err_set(ERR_RANGE, "the time zone's file has too many entries");
	t->p += HEAD_BYTES;
	return ERR_OK;
}

static size_t block_bytes(const struct tzif *t, size_t time_bytes)
{
	return t->time_count * (time_bytes + 1) + t->type_count * 6UL + t->char_count +
	       t->leap_count * (time_bytes + 4) + t->std_count + t->ut_count;
}

static bool offset_is_good(int32_t offset_s)
{
	return offset_s >= -OFFSET_MAX_S && offset_s <= OFFSET_MAX_S;
}

static enum err block_take(struct zone *z, struct tzif *t)
{
	const uint8_t *times = t->p, *kinds = times + t->time_count * 8UL,
		      *types = kinds + t->time_count;

	z->at_s = calloc(t->time_count + 1UL, sizeof(*z->at_s));
	z->offset_s = calloc(t->time_count + 1UL, sizeof(*z->offset_s));
	if (!z->at_s || !z->offset_s)
		return err_set(ERR_MEMORY, "no memory for a time zone");
	z->first_offset_s = (int32_t)be32(types);
	if (!offset_is_good(z->first_offset_s))
		return err_set(ERR_RANGE, "the time zone's file has an hour that is none");
	for (uint32_t i = 0; i < t->time_count; i++) {
		uint64_t at = (uint64_t)be32(times + i * 8UL) << 32 | be32(times + i * 8UL + 4);

		if (kinds[i] >= t->type_count)
			return err_set(ERR_FORMAT, "the time zone's file names an unknown type");
		z->at_s[i] = (int64_t)at;
		z->offset_s[i] = (int32_t)be32(types + kinds[i] * 6UL);
		if (!offset_is_good(z->offset_s[i]))
			return err_set(ERR_RANGE, "the time zone's file has an hour that is none");
		if (i > 0 && z->at_s[i] <= z->at_s[i - 1])
			return err_set(ERR_FORMAT, "the time zone's file is out of order");
		z->count++;
	}
	return ERR_OK;
}

static enum err file_take(struct zone *z, struct tzif *t)
{
	char line[128];

	TRY(head_take(t));
	if ((size_t)(t->end - t->p) < block_bytes(t, 4))
		return err_set(ERR_FORMAT, "the time zone's file is cut short");
	t->p += block_bytes(t, 4);
	TRY(head_take(t));
	if ((size_t)(t->end - t->p) < block_bytes(t, 8))
		return err_set(ERR_FORMAT, "the time zone's file is cut short");
	TRY(block_take(z, t));
	t->p += block_bytes(t, 8);
	size_t left = (size_t)(t->end - t->p);
	if (left < 2 || left > sizeof(line) || t->p[0] != '\n' || t->end[-1] != '\n')
		return err_set(ERR_FORMAT, "the time zone's file has no last line");
	memcpy(line, t->p + 1, left - 2);
	line[left - 2] = '\0';
	if (line[0] != '\0' && !rule_parse(line, &z->rule))
		return err_set(ERR_FORMAT, "the time zone's rule cannot be read");
	return ERR_OK;
}

void zone_init_utc(struct zone *z)
{
	*z = (struct zone){0};
}

void zone_fini(struct zone *z)
{
	free(z->at_s);
	free(z->offset_s);
	zone_init_utc(z);
}

enum err zone_parse(struct zone *z, struct bytes tzif)
{
	struct tzif t = {.p = tzif.data, .end = tzif.data + tzif.size};

	zone_init_utc(z);
	enum err e = file_take(z, &t);
	if (e != ERR_OK)
		zone_fini(z);
	return e;
}

// A name is a path below the folder: nothing that leads out of it, no "posix/../..".
static bool name_is_good(const char *name)
{
	if (strlen(name) > 100 || name[0] == '/' || strstr(name, "..") || strstr(name, "//"))
		return false;
	return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				 "+-_/")] == '\0';
}

enum err zone_load(struct zone *z, const char *name)
{
	SCOPED_BUF struct buf b;
	char path[300] = "/etc/localtime";

	buf_init(&b, ZONE_FILE_MAX);
	zone_init_utc(z);
	if (*name && !name_is_good(name))
		return err_set(ERR_RANGE, "\"%.40s\" is no name of a time zone", name);
	if (*name)
		TRY(path_join(path, sizeof(path), ZONE_FOLDER, name));
	enum err e = file_read(path, &b);
	if (e == ERR_NOT_FOUND && !*name)
		return ERR_OK; // a device without a zone lives in UTC
	if (e == ERR_NOT_FOUND)
		return err_set(ERR_NOT_FOUND, "the time zone %.40s is not installed", name);
	TRY(e);
	return zone_parse(z, buf_bytes(&b));
}

// ---- asking

// Transitions at or before the instant.
static size_t passed_count(const struct zone *z, int64_t unix_s)
{
	size_t low = 0, high = z->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (z->at_s[middle] <= unix_s)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int32_t zone_offset_s(const struct zone *z, int64_t unix_s)
{
	size_t passed = passed_count(z, unix_s);

	if (passed == z->count && z->rule.is)
		return rule_offset(&z->rule, unix_s);
	return passed == 0 ? z->first_offset_s : z->offset_s[passed - 1];
}

int64_t zone_next_change_s(const struct zone *z, int64_t unix_s)
{
	size_t passed = passed_count(z, unix_s);

	if (passed < z->count)
		return z->at_s[passed];
	return z->rule.is ? rule_next(&z->rule, unix_s) : INT64_MAX;
}

enum err zone_offset(const char *zone, int64_t unix_s, int32_t *out)
{
	struct zone z;

	*out = 0;
	if (zone[0] == '\0' || strcmp(zone, "UTC") == 0)
		return ERR_OK;
	TRY(zone_load(&z, zone));
	*out = zone_offset_s(&z, unix_s);
	zone_fini(&z);
	return ERR_OK;
}
