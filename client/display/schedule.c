// Dates, hours, orders.
#include "client/display/schedule.h"

#include "client/display/display_limits.h"

#include <stdlib.h>
#include <string.h>

#define DAY_S 86400
#define HORIZON_MS (8LL * DAY_S * 1000)

// ---- dates and hours

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

// What a clock on the wall says.
struct local {
	int64_t day; // since 1970
	uint32_t weekday, second;
	int32_t offset_s;
};

static struct local local_of(const struct schedule *s, int64_t unix_ms)
{
	int64_t unix_s = floor_div(unix_ms, 1000);
	int32_t offset = zone_offset_s(s->zone, unix_s);
	int64_t day = floor_div(unix_s + offset, DAY_S);

	return (struct local){
		.day = day,
		.weekday = (uint32_t)((day % 7 + 7 + 3) % 7), // 1970-01-01 was a Thursday
		.second = (uint32_t)(unix_s + offset - day * DAY_S),
		.offset_s = offset,
	};
}

static bool hours_hold(const struct playlist_hours *h, const struct local *l)
{
	uint32_t minute = l->second / 60;
	bool today = h->weekdays >> l->weekday & 1,
	     yesterday = h->weekdays >> (l->weekday + 6) % 7 & 1;

	if (h->from_minute < h->until_minute)
		return today && minute >= h->from_minute && minute < h->until_minute;
	return (today && minute >= h->from_minute) || (yesterday && minute < h->until_minute);
}

static bool group_hours_hold(
	const struct schedule *s, const struct playlist_group *g, int64_t unix_ms)
{
	struct local l = local_of(s, unix_ms);
	bool hold = g->hour_count == 0;

	for (size_t i = 0; i < g->hour_count && !hold; i++)
		hold = hours_hold(&g->hours[i], &l);
	return hold;
}

// Begun by the one instant, not over by the other.
static bool dates_hold(int64_t from, int64_t until, const struct schedule_time *t)
{
	int64_t at = t->unknown ? t->floor_ms : t->unix_ms;

	return (from == 0 || at >= from) && (until == 0 || at < until);
}

static const struct playlist_group *group_of(const struct schedule *s, size_t image)
{
	uint32_t group = s->list->images[image].group;

	return group == 0 ? NULL : &s->list->groups[group - 1];
}

static bool group_is_open(
	const struct schedule *s, const struct playlist_group *g, const struct schedule_time *t)
{
	return dates_hold(g->from_unix_ms, g->until_unix_ms, t) &&
	       (t->unknown || group_hours_hold(s, g, t->unix_ms));
}

bool schedule_is_open(const struct schedule *s, size_t image, const struct schedule_time *t)
{
	const struct playlist_image *i = &s->list->images[image];
	const struct playlist_group *g = group_of(s, image);

	return dates_hold(i->from_unix_ms, i->until_unix_ms, t) && (!g || group_is_open(s, g, t));
}

// ---- when it changes

static void earlier(int64_t *best, int64_t at_ms, int64_t after_ms)
{
	if (at_ms > after_ms && at_ms < *best)
		*best = at_ms;
}

// The next instant at which a clock on the wall shows this minute of a day, while its offset holds.
static int64_t minute_next_ms(const struct local *l, uint32_t minute)
{
	int64_t second = (int64_t)minute * 60;
	int64_t day = l->day + (second > l->second ? 0 : 1);

	return (day * DAY_S + second - l->offset_s) * 1000;
}

static int64_t hours_change_ms(
	const struct schedule *s, const struct playlist_group *g, int64_t unix_ms)
{
	struct local l = local_of(s, unix_ms);
	int64_t best = INT64_MAX, change = zone_next_change_s(s->zone, floor_div(unix_ms, 1000));

	if (g->hour_count == 0)
		return best;
	if (change < INT64_MAX / 1000)
		earlier(&best, change * 1000, unix_ms);
	for (size_t i = 0; i < g->hour_count; i++) {
		earlier(&best, minute_next_ms(&l, g->hours[i].from_minute), unix_ms);
		earlier(&best, minute_next_ms(&l, g->hours[i].until_minute % 1440), unix_ms);
	}
	return best;
}

// The end of the hours that hold now: over seams between parts of the week.
static int64_t hours_close_ms(
	const struct schedule *s, const struct playlist_group *g, int64_t unix_ms)
{
	int64_t at = hours_change_ms(s, g, unix_ms);

	while (at < unix_ms + HORIZON_MS && group_hours_hold(s, g, at))
		at = hours_change_ms(s, g, at);
	return at < unix_ms + HORIZON_MS ? at : INT64_MAX;
}

int64_t schedule_over_ms(const struct schedule *s, size_t image)
{
	const struct playlist_image *i = &s->list->images[image];
	const struct playlist_group *g = group_of(s, image);
	int64_t best = i->until_unix_ms != 0 ? i->until_unix_ms : INT64_MAX;

	if (g && g->until_unix_ms != 0 && g->until_unix_ms < best)
		best = g->until_unix_ms;
	return best;
}

int64_t schedule_closes_ms(const struct schedule *s, size_t image, const struct schedule_time *t)
{
	const struct playlist_group *g = group_of(s, image);

	if (!schedule_is_open(s, image, t))
		return t->unix_ms;
	if (t->unknown)
		return INT64_MAX;
	int64_t best = schedule_over_ms(s, image);
	int64_t hours = g ? hours_close_ms(s, g, t->unix_ms) : INT64_MAX;

	return hours < best ? hours : best;
}

int64_t schedule_changes_ms(const struct schedule *s, const struct schedule_time *t)
{
	int64_t best = INT64_MAX, now = t->unix_ms;

	if (!s->list || t->unknown)
		return best;
	for (size_t i = 0; i < s->list->group_count; i++) {
		const struct playlist_group *g = &s->list->groups[i];

		earlier(&best, g->from_unix_ms, now);
		earlier(&best, g->until_unix_ms, now);
		earlier(&best, hours_change_ms(s, g, now), now);
	}
	for (size_t i = 0; i < s->list->count; i++) {
		earlier(&best, s->list->images[i].from_unix_ms, now);
		earlier(&best, s->list->images[i].until_unix_ms, now);
	}
	return best;
}

// ---- rounds

// SplitMix64: one seed, one row of numbers, everywhere.
static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void round_make(struct schedule *s)
{
	uint64_t state = s->list->seed ^ s->place.round * 0xd1342543de82ef95ULL;

	for (size_t i = 0; i < s->list->count; i++)
		s->order[i] = (uint32_t)i;
	for (size_t i = s->list->count; i > 1; i--) {
		size_t k = (size_t)(mix(&state) % i);
		uint32_t swap = s->order[i - 1];

		s->order[i - 1] = s->order[k];
		s->order[k] = swap;
	}
}

enum err schedule_init(struct schedule *s, const struct playlist *list, const struct zone *zone,
	struct schedule_place place)
{
	size_t count = list->count + 1;

	*s = (struct schedule){.list = list, .zone = zone, .last = SCHEDULE_NONE};
	if (list->order == ORDER_SHUFFLE) {
		s->order = calloc(count, sizeof(*s->order));
		s->place = place;
		if (s->order)
			round_make(s);
	}
	if (list->order == ORDER_WEIGHT)
		s->credit = calloc(count + PLAYLIST_GROUPS_MAX, sizeof(*s->credit));
	if ((list->order == ORDER_SHUFFLE && !s->order) ||
		(list->order == ORDER_WEIGHT && !s->credit)) {
		schedule_fini(s);
		return err_set(ERR_MEMORY, "no memory for a playlist of %zu images", list->count);
	}
	return ERR_OK;
}

void schedule_fini(struct schedule *s)
{
	free(s->order);
	free(s->credit);
	*s = (struct schedule){.last = SCHEDULE_NONE};
}

// ---- what is next

static bool may_come(const struct schedule *s, size_t image, const struct schedule_ask *ask)
{
	struct schedule_time later = ask->time;

	if (ask->bad_until_ms && ask->bad_until_ms[image] > ask->mono_ms)
		return false;
	later.unix_ms += ask->stand_ms;
	return schedule_is_open(s, image, &ask->time) &&
	       (ask->stand_ms == 0 || schedule_is_open(s, image, &later));
}

static size_t image_at(const struct schedule *s, size_t at)
{
	return s->order ? s->order[at] : at;
}

static size_t place_find(const struct schedule *s, size_t from, const struct schedule_ask *ask)
{
	while (from < s->list->count && !may_come(s, image_at(s, from), ask))
		from++;
	return from;
}

// Not the one that was just shown, while another one may come.
static size_t seam_mend(struct schedule *s, size_t at, const struct schedule_ask *ask)
{
	if (!s->order || s->order[at] != s->last)
		return at;
	size_t other = place_find(s, at + 1, ask);
	if (other == s->list->count)
		return at;
	s->order[at] = s->order[other];
	s->order[other] = (uint32_t)s->last;
	return at;
}

static size_t round_peek(struct schedule *s, const struct schedule_ask *ask)
{
	size_t at = place_find(s, s->place.at, ask);

	if (at == s->list->count && s->place.at > 0) {
		// The round is over. Nothing is lost when it is only asked: who asks again finds
		// the same new round.
		if (place_find(s, 0, ask) == s->list->count)
			return SCHEDULE_NONE;
		s->place.round++;
		s->place.at = 0;
		if (s->order)
			round_make(s);
		at = place_find(s, 0, ask);
	}
	return at == s->list->count ? SCHEDULE_NONE : image_at(s, seam_mend(s, at, ask));
}

// ---- shares

#define GROUP_SLOTS (PLAYLIST_GROUPS_MAX + 1)

static int32_t group_weight(const struct schedule *s, size_t group)
{
	return group == 0 ? 1 : (int32_t)s->list->groups[group - 1].weight;
}

// Smooth weighted round robin: everybody earns its weight, the richest comes and pays for all.
static size_t share_peek(const struct schedule *s, const struct schedule_ask *ask)
{
	const int32_t *groups = s->credit + s->list->count;
	bool has[GROUP_SLOTS] = {false};
	size_t best_group = GROUP_SLOTS, best = SCHEDULE_NONE;

	for (size_t i = 0; i < s->list->count; i++) {
		size_t g = s->list->images[i].group;

		has[g] = has[g] || may_come(s, i, ask);
	}
	for (size_t g = 0; g < GROUP_SLOTS; g++) {
		if (has[g] && (best_group == GROUP_SLOTS ||
				      groups[g] + group_weight(s, g) >
					      groups[best_group] + group_weight(s, best_group)))
			best_group = g;
	}
	for (size_t i = 0; i < s->list->count; i++) {
		const struct playlist_image *image = &s->list->images[i];

		if (image->group == best_group && may_come(s, i, ask) &&
			(best == SCHEDULE_NONE ||
				s->credit[i] + (int32_t)image->weight >
					s->credit[best] + (int32_t)s->list->images[best].weight))
			best = i;
	}
	return best;
}

static void share_take(struct schedule *s, size_t taken, const struct schedule_ask *ask)
{
	int32_t *groups = s->credit + s->list->count, all = 0, all_groups = 0;
	size_t group = s->list->images[taken].group;
	bool has[GROUP_SLOTS] = {false};

	for (size_t i = 0; i < s->list->count; i++) {
		const struct playlist_image *image = &s->list->images[i];

		if (i != taken && !may_come(s, i, ask))
			continue;
		has[image->group] = true;
		if (image->group != group)
			continue;
		s->credit[i] += (int32_t)image->weight;
		all += (int32_t)image->weight;
	}
	s->credit[taken] -= all;
	for (size_t g = 0; g < GROUP_SLOTS; g++) {
		if (!has[g])
			continue;
		groups[g] += group_weight(s, g);
		all_groups += group_weight(s, g);
	}
	groups[group] -= all_groups;
}

// ---- the two questions

size_t schedule_peek(struct schedule *s, const struct schedule_ask *ask)
{
	if (!s->list || s->list->count == 0)
		return SCHEDULE_NONE;
	return s->credit ? share_peek(s, ask) : round_peek(s, ask);
}

void schedule_take(struct schedule *s, size_t image, const struct schedule_ask *ask)
{
	s->last = image;
	if (s->credit) {
		share_take(s, image, ask);
		return;
	}
	for (size_t at = s->order ? s->place.at : image; at < s->list->count; at++) {
		if (image_at(s, at) == image) {
			s->place.at = at + 1;
			return;
		}
	}
}

void schedule_jumped(struct schedule *s, size_t image)
{
	s->last = image;
	if (!s->order && !s->credit)
		s->place.at = image + 1;
}
