#include "server/customers.h"

#include "proto/topics.h"
#include "server/criteria.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// ---------------------------------------------------------------- finding

const struct customer_place *customer_place_find(const struct customer_whole *w, const char *id)
{
	size_t low = 0, high = w->place_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(w->places[middle].id, id);

		if (order == 0)
			return &w->places[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct customer_plan *customer_plan_find(const struct customer_whole *w, const char *id)
{
	for (size_t i = 0; i < w->plan_count; i++)
		if (strcmp(w->plans[i].id, id) == 0)
			return &w->plans[i];
	return NULL;
}

// ---------------------------------------------------------------- words and numbers

// words: "a|b|c"; "|a|b" when nothing will do too.
static enum err word_check(const char *what, const char *word, const char *words)
{
	bool may_be_empty = words[0] == '|';
	size_t n = strlen(word);

	if (n == 0 && may_be_empty)
		return ERR_OK;
	for (const char *w = words; w && n; w = strchr(w, '|')) {
		w += *w == '|';
		if (strcspn(w, "|") == n && strncmp(w, word, n) == 0)
			return ERR_OK;
	}
	return err_set(ERR_RANGE, "%s is one of %s", what, words + may_be_empty);
}

static enum err number_check(const char *what, uint64_t value, uint64_t max)
{
	return value <= max ? ERR_OK : err_set(ERR_RANGE, "%s is at most %" PRIu64, what, max);
}

static enum err zone_check(const char *zone)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";

	if (strlen(zone) > LIMIT_ID || zone[0] == '/' || zone[strspn(zone, letters)])
		return err_set(ERR_RANGE, "time_zone is no name of a time zone, as Europe/Athens");
	return ERR_OK;
}

enum err site_check(const char *site, bool all_places)
{
	const char *slash = strchr(site, '/');
	char customer[CUSTOMER_ID_MAX + 1];
	size_t n = slash ? (size_t)(slash - site) : 0;

	if (n > 0 && n <= CUSTOMER_ID_MAX) {
		memcpy(customer, site, n);
		customer[n] = 0;
		if (id_is_valid(customer) &&
			(id_is_valid(slash + 1) || (all_places && strcmp(slash + 1, "*") == 0)))
			return ERR_OK;
	}
	return err_set(ERR_FORMAT, "'%.101s' is no site: CUSTOMER/PLACE%s", site,
		all_places ? ", or CUSTOMER/*" : "");
}

static enum err side_check(uint32_t width_px, uint32_t height_px)
{
	if (!width_px != !height_px)
		return err_set(ERR_RANGE, "a resolution has a width and a height");
	TRY(number_check("a width", width_px, 65535));
	return number_check("a height", height_px, 65535);
}

enum err customer_check(const struct customer *c)
{
	if (!id_is_valid(c->id) || strlen(c->id) > CUSTOMER_ID_MAX)
		return err_set(
			ERR_RANGE, "a customer's id has 1 to %d of A-Za-z0-9._-", CUSTOMER_ID_MAX);
	TRY(number_check("the length of a name", strlen(c->name), LIMIT_TEXT));
	TRY(zone_check(c->time_zone));
	TRY(word_check("order", c->order, "list|shuffle|weight"));
	TRY(number_check("seed", c->seed, CUSTOMER_SEED_MAX));
	TRY(number_check("duration_ms", c->duration_ms, HEARTBEAT_MAX_MS));
	if (c->duration_ms < 1000)
		return err_set(ERR_RANGE, "duration_ms is at least 1000");
	TRY(number_check("transition_ms", c->transition_ms, c->duration_ms));
	TRY(word_check("fit", c->fit, "fit|fill|stretch|center"));
	TRY(number_check("background", c->background_rgb, 0xffffff));
	return number_check("max_images", c->max_images, LIMIT_FILES);
}

enum err customer_place_check(const struct customer_place *p)
{
	if (!id_is_valid(p->id))
		return err_set(ERR_RANGE, "a place's id has 1 to %d of A-Za-z0-9._-", LIMIT_ID);
	TRY(number_check("the length of a name", strlen(p->name), LIMIT_TEXT));
	TRY(number_check("the length of an address", strlen(p->address), LIMIT_TEXT));
	return zone_check(p->time_zone);
}

enum err customer_client_check(const struct customer_whole *w, const struct customer_client *c)
{
	if (c->place[0] && !customer_place_find(w, c->place))
		return err_set(ERR_NOT_FOUND, "%s has no place %s", w->customer.id, c->place);
	TRY(number_check("the length of a name", strlen(c->name), LIMIT_TEXT));
	TRY(word_check("orientation", c->orientation, "|landscape|portrait"));
	return side_check(c->width_px, c->height_px);
}

// ---------------------------------------------------------------- plans

static enum err plan_places_check(const struct customer_whole *w, const struct customer_plan *p)
{
	char list[CUSTOMER_PLACES_TEXT], *rest = NULL;

	TRY(places_normal(p->places, list));
	for (char *one = strtok_r(list, ",", &rest); one; one = strtok_r(NULL, ",", &rest))
		if (!customer_place_find(w, one))
			return err_set(ERR_NOT_FOUND, "%s has no place %s", w->customer.id, one);
	return ERR_OK;
}

static enum err plan_when_check(const struct customer_plan *p)
{
	struct daypart parts[LIMIT_DAYPARTS];
	size_t count = 0;

	if (p->from_unix_ms < 0 || p->until_unix_ms < 0)
		return err_set(ERR_RANGE, "a day before 1970 is none of ours");
	if (p->from_unix_ms && p->until_unix_ms && p->until_unix_ms <= p->from_unix_ms)
		return err_set(ERR_RANGE, "until is not after from");
	return dayparts_parse(p->dayparts, parts, &count);
}

enum err customer_plan_check(const struct customer_whole *w, const struct customer_plan *p)
{
	// What the least resolution adds to the expression has its room.
	static const size_t longest = LIMIT_EXPRESSION - 64;
	struct criteria criteria;

	if (!id_is_valid(p->id))
		return err_set(ERR_RANGE, "a plan's id has 1 to %d of A-Za-z0-9._-", LIMIT_ID);
	if (strlen(p->expression) > longest)
		return err_set(ERR_RANGE, "an expression has at most %zu bytes", longest);
	TRY(criteria_parse(p->expression, &criteria));
	TRY(number_check("min_width", p->min_width_px, 65535));
	TRY(number_check("min_height", p->min_height_px, 65535));
	TRY(number_check("max_images", p->max_images, LIMIT_FILES));
	TRY(word_check("order", p->order, "list|shuffle|weight|newest"));
	TRY(number_check("seed", p->seed, CUSTOMER_SEED_MAX));
	TRY(number_check("duration_ms", p->duration_ms, HEARTBEAT_MAX_MS));
	if (p->duration_ms && p->duration_ms < 1000)
		return err_set(ERR_RANGE, "duration_ms is at least 1000, or 0 for the customer's");
	TRY(word_check("fit", p->fit, "|fit|fill|stretch|center"));
	TRY(number_check("weight", p->weight, LIMIT_WEIGHT));
	TRY(word_check("orientation", p->orientation, "|landscape|portrait|square"));
	TRY(plan_when_check(p));
	return plan_places_check(w, p);
}

// ---------------------------------------------------------------- dayparts

static const char *const day_words[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

static enum err day_take(const char **s, size_t *day)
{
	for (size_t i = 0; i < 7; i++)
		if (strncasecmp(*s, day_words[i], 3) == 0) {
			*s += 3;
			*day = i;
			return ERR_OK;
		}
	return err_set(
		ERR_FORMAT, "a day is one of mon tue wed thu fri sat sun, or daily, not %.12s", *s);
}

static enum err days_take(const char **s, uint32_t *days)
{
	size_t from, until;

	*days = 0;
	if (strncasecmp(*s, "daily", 5) == 0) {
		*s += 5;
		*days = 0x7f;
		return ERR_OK;
	}
	for (;; (*s)++) {
		TRY(day_take(s, &from));
		until = from;
		if (**s == '-') {
			(*s)++;
			TRY(day_take(s, &until));
		}
		for (size_t d = from;; d = (d + 1) % 7) { // fri-mon goes over the end of the week
			*days |= 1u << d;
			if (d == until)
				break;
		}
		if (**s != ',')
			return ERR_OK;
	}
}

// HH:MM
static enum err minute_take(const char **s, uint32_t *minute)
{
	const char *t = *s;
	bool shaped = true;

	for (size_t i = 0; i < 5 && shaped; i++)
		shaped = i == 2 ? t[i] == ':' : t[i] >= '0' && t[i] <= '9';
	if (!shaped)
		return err_set(ERR_FORMAT, "a time is HH:MM, as 08:00, not %.8s", t);
	uint32_t hour = (uint32_t)(t[0] - '0') * 10 + (uint32_t)(t[1] - '0');
	uint32_t rest = (uint32_t)(t[3] - '0') * 10 + (uint32_t)(t[4] - '0');

	*minute = hour * 60 + rest;
	if (rest > 59 || *minute > 24 * 60)
		return err_set(ERR_RANGE, "%.5s is no time of a day", t);
	*s += 5;
	return ERR_OK;
}

static void spaces_skip(const char **s)
{
	while (**s == ' ')
		(*s)++;
}

static enum err daypart_take(const char **s, struct daypart *d)
{
	TRY(days_take(s, &d->weekdays));
	if (**s != ' ')
		return err_set(ERR_FORMAT,
			"after the days comes a blank and HH:MM-HH:MM, as in mon-fri 08:00-18:00, "
			"not %.12s",
			*s);
	spaces_skip(s);
	TRY(minute_take(s, &d->from_minute));
	if (**s != '-')
		return err_set(ERR_FORMAT, "hours are HH:MM-HH:MM");
	(*s)++;
	TRY(minute_take(s, &d->until_minute));
	if (d->from_minute == 24 * 60)
		return err_set(ERR_RANGE, "a daypart begins before 24:00");
	if (d->from_minute == d->until_minute)
		return err_set(ERR_RANGE, "a daypart ends when it begins; 00:00-24:00 is a day");
	spaces_skip(s);
	return ERR_OK;
}

enum err dayparts_parse(const char *text, struct daypart out[LIMIT_DAYPARTS], size_t *count)
{
	const char *s = text;

	*count = 0;
	if (strlen(text) >= CUSTOMER_DAYPARTS_TEXT)
		return err_set(
			ERR_RANGE, "dayparts have at most %d bytes", CUSTOMER_DAYPARTS_TEXT - 1);
	spaces_skip(&s);
	while (*s) {
		if (*count == LIMIT_DAYPARTS)
			return err_set(ERR_FULL, "a plan has at most %d dayparts", LIMIT_DAYPARTS);
		TRY(daypart_take(&s, &out[(*count)++]));
		if (*s && *s != ';')
			return err_set(ERR_FORMAT, "dayparts are parted by ; not by %.4s", s);
		s += *s == ';';
		spaces_skip(&s);
	}
	return ERR_OK;
}

static enum err text_add(char *out, size_t size, const char *more)
{
	size_t used = strlen(out);

	if (!str_copy(out + used, size - used, more))
		return err_set(ERR_FULL, "no room for this text");
	return ERR_OK;
}

static enum err days_format(uint32_t days, char *out, size_t size)
{
	bool first = true;

	if (days == 0x7f)
		return text_add(out, size, "daily");
	for (size_t d = 0; d < 7; d++) {
		size_t end = d;

		if (!(days >> d & 1))
			continue;
		while (end < 6 && days >> (end + 1) & 1)
			end++;
		if (!first)
			TRY(text_add(out, size, ","));
		first = false;
		TRY(text_add(out, size, day_words[d]));
		if (end > d) {
			TRY(text_add(out, size, end == d + 1 ? "," : "-"));
			TRY(text_add(out, size, day_words[end]));
		}
		d = end;
	}
	return ERR_OK;
}

enum err dayparts_format(
	const struct daypart *parts, size_t count, char out[CUSTOMER_DAYPARTS_TEXT])
{
	char hours[64];

	out[0] = 0;
	for (size_t i = 0; i < count; i++) {
		const struct daypart *d = &parts[i];

		if (i)
			TRY(text_add(out, CUSTOMER_DAYPARTS_TEXT, "; "));
		TRY(days_format(d->weekdays, out, CUSTOMER_DAYPARTS_TEXT));
		(void)snprintf(hours, sizeof(hours), " %02u:%02u-%02u:%02u", d->from_minute / 60,
			d->from_minute % 60, d->until_minute / 60, d->until_minute % 60);
		TRY(text_add(out, CUSTOMER_DAYPARTS_TEXT, hours));
	}
	return ERR_OK;
}

// ---------------------------------------------------------------- lists of places

static void place_insert(const char *list[CUSTOMER_PLAN_PLACES], size_t *count, const char *place)
{
	size_t at = *count;

	while (at > 0 && strcmp(list[at - 1], place) > 0) {
		list[at] = list[at - 1];
		at--;
	}
	list[at] = place;
	++*count;
}

static bool is_listed(const char *const *list, size_t count, const char *place)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], place) == 0)
			return true;
	return false;
}

enum err places_normal(const char *text, char out[CUSTOMER_PLACES_TEXT])
{
	const char *list[CUSTOMER_PLAN_PLACES];
	char copy[4 * CUSTOMER_PLACES_TEXT], *rest = NULL;
	size_t count = 0;

	out[0] = 0;
	if (!str_copy(copy, sizeof(copy), text))
		return err_set(ERR_RANGE, "the list of places is too long");
	for (char *one = strtok_r(copy, ", ", &rest); one; one = strtok_r(NULL, ", ", &rest)) {
		if (!id_is_valid(one))
			return err_set(ERR_FORMAT, "%.20s is not a place's id", one);
		if (is_listed(list, count, one))
			continue;
		if (count == CUSTOMER_PLAN_PLACES)
			return err_set(
				ERR_FULL, "a plan names at most %d places", CUSTOMER_PLAN_PLACES);
		place_insert(list, &count, one);
	}
	for (size_t i = 0; i < count; i++) {
		TRY(text_add(out, CUSTOMER_PLACES_TEXT, i ? "," : ""));
		TRY(text_add(out, CUSTOMER_PLACES_TEXT, list[i]));
	}
	return ERR_OK;
}

bool places_name(const char *list, const char *place)
{
	size_t n = strlen(place);

	for (const char *s = list; n && s && *s; s = strchr(s, ',')) {
		s += *s == ',';
		if (strncmp(s, place, n) == 0 && (s[n] == ',' || !s[n]))
			return true;
	}
	return false;
}
