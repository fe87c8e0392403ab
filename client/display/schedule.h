// The schedule: which pictures of a playlist may be shown at an instant and until when, and which
// one is next. Pure: it is given the time, and what the seed says it says again.
//
// Open is a picture whose own dates, whose group's dates and one of whose group's hours hold. Hours
// are those of a clock on the wall of the playlist's zone: what lies in the hour that a spring day
// leaves out does not come on that day, what lies in the hour that an autumn day has twice comes
// twice.
//
// When the time is not known (no server and no NTP ever told it, and the clock stands before the
// newest moment that a server told) the hours cannot be judged: all count. A picture must then be
// known to have begun, and must not be known to be over: both by that newest moment.
//
// Orders:
//   list     as the images come, round after round
//   shuffle  each once before any comes again; a round's order follows from seed and round; over
//            the seam of two rounds none comes twice in a row while another one is open
//   weight   shares: first among the groups by their weights, then in the group by the images';
//            evenly spread, the same every time
//
// peek says what would come next at an instant and changes nothing that counts; take says it came.
#ifndef HELIO_DISPLAY_SCHEDULE_H
#define HELIO_DISPLAY_SCHEDULE_H

#include "client/display/playlist.h"
#include "proto/base/zone.h"

#define SCHEDULE_NONE SIZE_MAX

struct schedule_time {
	int64_t unix_ms;
	bool unknown;
	int64_t floor_ms; // the newest moment that a server told; 0: never
};

// Where a shuffle stands, to be kept over a restart.
struct schedule_place {
	uint64_t round;
	size_t at;
};

struct schedule {
	const struct playlist *list; // borrowed; NULL: none
	const struct zone *zone;     // borrowed
	struct schedule_place place;
	size_t last;     // image taken last; SCHEDULE_NONE
	uint32_t *order; // images of this round; NULL: as they come
	int32_t *credit; // images, then groups with 0; NULL: not by weight
};

// One question: at this time, and still so after stand_ms; images whose bad_until_ms lies behind
// mono_ms are passed over (one number for each image, NULL: none).
struct schedule_ask {
	struct schedule_time time;
	int64_t stand_ms;
	const int64_t *bad_until_ms;
	int64_t mono_ms;
};

// list and zone are borrowed until schedule_fini. Errors: ERR_MEMORY; then there is no list.
enum err schedule_init(struct schedule *s, const struct playlist *list, const struct zone *zone,
	struct schedule_place place) MUST_CHECK;
void schedule_fini(struct schedule *s);

bool schedule_is_open(const struct schedule *s, size_t image, const struct schedule_time *t);
// The instant at which an open picture closes; INT64_MAX: not within eight days. Of one that is
// not open: now.
int64_t schedule_closes_ms(const struct schedule *s, size_t image, const struct schedule_time *t);
// The instant at which its dates are over, whatever the hours; INT64_MAX: never.
int64_t schedule_over_ms(const struct schedule *s, size_t image);
// The first later instant at which a picture may open or close; INT64_MAX: none.
int64_t schedule_changes_ms(const struct schedule *s, const struct schedule_time *t);

// SCHEDULE_NONE: nothing is open and good.
size_t schedule_peek(struct schedule *s, const struct schedule_ask *ask);
void schedule_take(struct schedule *s, size_t image, const struct schedule_ask *ask);
// A picture was shown out of turn: in list order it goes on behind it.
void schedule_jumped(struct schedule *s, size_t image);

#endif
