// The show plan: which picture stands, which comes next, how far the fade is, when to look again.
// Pure: no file, no clock, no SDL. The caller tells what happened (a playlist, a picture decoded,
// the time) and does what the plan says.
//
// Rules:
//   - a picture's time begins with its own fade-in and ends with the next one's, so that every
//     moment of the screen belongs to exactly one picture;
//   - the next picture is asked for as soon as the fade into the present one is over, and the
//     present one stays until the next is decoded: late is better than black;
//   - a picture that cannot be read is passed over, and tried again after RETRY_BAD_MS;
//   - a new playlist takes effect at the next picture boundary: a new package begins with its first
//     picture, the same package goes on where it was. One with a moment of its own is given a
//     little before it: what stands goes on to that very moment, and its first picture comes then;
//   - what is next is what the schedule lets come at the moment at which it will come. A picture
//     that closes (its date is over, its hours end) goes at that moment, also when it is paused or
//     nothing else is ready: then the waiting picture comes, never black and never an old picture;
//   - pause holds the picture and its remaining time; `show` jumps as soon as its picture is
//     decoded, whatever the hour, if its dates hold.
//
// A seat holds its own copy of what must be known of its picture, so a playlist may be freed as
// soon as another was given.
#ifndef HELIO_DISPLAY_SHOW_H
#define HELIO_DISPLAY_SHOW_H

#include "client/display/schedule.h"
#include "proto/base/clock.h"
#include "proto/shown.h"

#define SHOW_PATH_MAX 520

struct show_time {
	struct mono mono;
	struct schedule_time wall;
};

// What one picture needs to be shown and recorded. ticket names its decoded pixels; 0 stands for
// the waiting picture.
struct show_picture {
	uint64_t ticket;
	struct digest package;
	char path[SHOW_PATH_MAX];
	uint32_t duration_ms, transition_ms;
	size_t index; // in the playlist of its time
};

enum show_state {
	SHOW_WAITING,
	SHOW_SHOWING,
	SHOW_PAUSED
};

// Why nothing is shown.
enum show_wait {
	WAIT_NO_PLAYLIST,
	WAIT_EMPTY,
	WAIT_HOURS, // nothing may be shown now
	WAIT_LOADING,
	WAIT_UNREADABLE
};

enum next_state {
	NEXT_NONE,
	NEXT_WANTED,
	NEXT_LOADING,
	NEXT_READY,
	NEXT_SAME,
	NEXT_CARD
};

struct show {
	const struct playlist *list;
	struct show_picture front, next, gone; // gone: the last that ended
	enum next_state next_state;
	uint64_t from; // ticket below the front while it fades in
	struct mono fade_start;
	uint32_t fade_ms; // 0: no fade runs
	struct mono since, due;
	uint64_t last_ticket;
	struct schedule schedule;
	int64_t closes_ms; // wall: when the front must go; INT64_MAX: not known
	int64_t switch_ms; // wall: what is next comes at this moment; 0: when the front is due
	int64_t opens_ms;  // wall: nothing may come before; look then. 0: not waiting
	uint64_t command_n;
	bool paused, jump; // jump: next is due at once
	bool jumped;       // the front came out of turn: only its dates end it
	struct mono paused_at;
	// For each image of list: 0 good; passed over until then (mono); BAD_AGAIN: it is tried
	// once more, but that it failed was told.
	int64_t *bad_until_ms;
	size_t bad_count;
	struct show_picture failed; // to be told; ticket 0: none
	uint64_t round;             // of the schedule, when the round's bad ones were told
	size_t skip_at;             // images from here on are looked at; SIZE_MAX: told
	struct mono round_since, round_before; // begin of this one and of the one before
	struct mono retry_at;
};

// A picture whose time is over, for the ledger.
struct show_ended {
	bool is;
	const struct show_picture *picture; // borrowed until the next call
	struct mono since;
	int64_t duration_ms;
	enum shown_result result; // whole, or cut
	const char *reason;       // of a cut: command, over, switch, stop; else ""
};

// A picture whose turn was lost because it cannot be read: it failed, or it was skipped, once a
// round, since it had failed before. (By weight there are no rounds: then only failures are told.)
struct show_missed {
	enum shown_result result;
	struct show_picture picture;
};

struct show_plan {
	enum show_state state;
	enum show_wait why;    // when state is SHOW_WAITING
	uint64_t below, front; // tickets: draw below, then front over it with alpha; below counts
			       // while fading
	bool fading;
	uint8_t alpha; // of the front; 255 when it does not fade
	uint64_t keep; // a third ticket that is still needed (the one decoded ahead), 0 for none
	bool load;     // begin to decode `wanted` now; said once for each ticket
	struct show_picture wanted;
	struct show_ended ended;
	bool has_wake;
	struct mono
		wake; // look again then, at the latest; while fading: as often as frames are made
};

enum show_command_result {
	COMMAND_NONE,
	COMMAND_DONE,
	COMMAND_NOT_FOUND,
	COMMAND_UNKNOWN
};

// A playlist, borrowed with its zone until the next one was taken.
struct show_offer {
	const struct playlist *list;
	const struct zone *zone;
	struct schedule_place place; // where its shuffle stood before a restart
	int64_t switch_ms;           // wall: comes at this moment; 0: at the next boundary
};

void show_init(struct show *s);
void show_fini(struct show *s);

// Takes a playlist and its command if it is newer than the last one. Errors: ERR_MEMORY; then the
// old list stays.
enum err show_playlist(struct show *s, const struct show_offer *offer, struct show_time now,
	enum show_command_result *command) MUST_CHECK;

// There is no playlist any more: the waiting picture comes at the next boundary.
void show_nothing(struct show *s);

// The picture of a ticket is decoded, or cannot be. Returns false when nobody waits for it any
// more.
bool show_loaded(struct show *s, uint64_t ticket, bool ok, struct mono now);
// Takes the next lost turn that is not told yet. To be asked after show_loaded and show_step.
bool show_missed(struct show *s, struct show_time now, struct show_missed *out);
// Where the shuffle of the present list stands.
struct schedule_place show_place(const struct show *s);

// Moves the show to `now`: crosses a boundary that is due, names what to draw and when to come
// again.
struct show_plan show_step(struct show *s, struct show_time now);

// Ends what runs, for the ledger, at shutdown.
struct show_ended show_end(struct show *s, struct mono now);

const char *show_state_word(enum show_state state);

#endif
