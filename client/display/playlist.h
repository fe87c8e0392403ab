// The playlist file that the agent writes, read whole and checked whole before one line counts.
//
// Text, one record a line, fields separated by single tabs, values percent-encoded (%HH) where
// they hold a tab, a control character or '%':
//
//   helio-playlist 2             (a blank here, a tab is taken too)
//   package   <64 hex>  <name>  <version>
//   dir       <absolute folder of the pictures>
//   defaults  <duration_ms>  <transition_ms>  <fit>  <rrggbb>
//   order     list|shuffle|weight  <seed>  <IANA time zone>
//   activate  <unix_ms>          not before this moment, and then at once; 0: at the next boundary
//   group     <plan>  <duration_ms>  <fit>  <weight>  <from_unix_ms>  <until_unix_ms>  <hours>
//   command   <n>  show|pause|resume  [args]
//   image     <path>  <duration_ms>  <fit>  <title>  <group>  <weight>  <from_unix_ms>
//             <until_unix_ms>
//   end       <64 hex: SHA-256 of all bytes before this line>
//
// Version 1 has no order, activate and group, and an image ends with its title; both are read.
// Groups are numbered from 1 as they come; an image's group 0 is none. Hours are parts of the week,
// WEEKDAYS:FROM-UNTIL in minutes with commas between (bit 0 of WEEKDAYS is Monday); "" is always.
// The zone "" is the device's own. An instant 0 is no bound, a weight 0 counts as 1.
// `end` is the last line; a file that was cut or altered does not pass it. An image's duration 0
// and fit "" or "-" stand for the default. Durations are clamped to what a screen can do; paths
// must be safe and relative. Of several commands the last counts. A record of an unknown word is
// passed over: what cannot be passed over raises the number in the first line.
// A playlist without images is a good one: it says that nothing is to be shown.
#ifndef HELIO_DISPLAY_PLAYLIST_H
#define HELIO_DISPLAY_PLAYLIST_H

#include "client/display/fit.h"

enum playlist_verb {
	VERB_NONE,
	VERB_SHOW,
	VERB_PAUSE,
	VERB_RESUME,
	VERB_UNKNOWN
};

struct playlist_command {
	uint64_t n; // 0: there is none
	enum playlist_verb verb;
	const char *arg; // "" when there is none
};

enum show_order {
	ORDER_LIST,
	ORDER_SHUFFLE,
	ORDER_WEIGHT
};

// A part of the week in local time; until <= from goes over midnight and belongs to the day on
// which it begins.
struct playlist_hours {
	uint32_t weekdays, from_minute, until_minute;
};

// What a run of pictures has in common.
struct playlist_group {
	const char *plan;
	uint32_t duration_ms, weight; // duration 0: the default
	enum fit fit;
	int64_t from_unix_ms, until_unix_ms; // until exclusive; 0: no bound
	struct playlist_hours *hours;
	size_t hour_count;
};

struct playlist_image {
	const char *path, *title;
	uint32_t duration_ms, weight;
	int64_t from_unix_ms, until_unix_ms;
	uint32_t group; // 1-based; 0: none
	enum fit fit;
};

struct playlist {
	struct digest package, sum; // sum: what `end` says
	const char *name, *version, *dir;
	uint32_t duration_ms, transition_ms, background_rgb;
	enum fit fit;
	struct playlist_command command;
	enum show_order order;
	uint64_t seed;
	const char *time_zone;
	int64_t activate_unix_ms;
	struct playlist_group *groups;
	size_t group_count;
	struct playlist_image *images;
	size_t count;
	struct arena arena; // owns all the strings
};

// *out is the caller's, freed by playlist_free. Errors: ERR_CORRUPT (no or wrong `end`),
// ERR_VERSION, ERR_FORMAT, ERR_RANGE, ERR_FULL, ERR_MEMORY; the sentence names line and field.
enum err playlist_parse(struct bytes text, struct playlist **out) MUST_CHECK;
// Errors: as above, and ERR_NOT_FOUND, ERR_IO.
enum err playlist_read(const char *path, struct playlist **out) MUST_CHECK;
void playlist_free(struct playlist *p);

// True when both show the same pictures of the same package in the same way and at the same hours;
// the command and the moment of activation may differ.
bool playlist_same_show(const struct playlist *a, const struct playlist *b);

// The image that `show ARG` means: a number from 1, a path, a path without its folder, or a title;
// the number only when ARG is all digits. Returns count when there is none.
size_t playlist_find(const struct playlist *p, const char *arg);

#endif
