// The playlist file that the agent writes, read whole and checked whole before one line counts.
//
// Text, one record a line, fields separated by single tabs, values percent-encoded (%HH) where
// they hold a tab, a control character or '%':
//
//   helio-playlist 1             (a blank here, a tab is taken too)
//   package   <64 hex>  <name>  <version>
//   dir       <absolute folder of the pictures>
//   defaults  <duration_ms>  <transition_ms>  <fit>  <rrggbb>
//   command   <n>  show|pause|resume  [args]
//   image     <path>  <duration_ms>  <fit>  <title>
//   end       <64 hex: SHA-256 of all bytes before this line>
//
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

struct playlist_image {
	const char *path, *title;
	uint32_t duration_ms;
	enum fit fit;
};

struct playlist {
	struct digest package, sum; // sum: what `end` says
	const char *name, *version, *dir;
	uint32_t duration_ms, transition_ms, background_rgb;
	enum fit fit;
	struct playlist_command command;
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

// True when both show the same pictures of the same package in the same way; the command may
// differ.
bool playlist_same_show(const struct playlist *a, const struct playlist *b);

// The image that `show ARG` means: a number from 1, a path, a path without its folder, or a title;
// the number only when ARG is all digits. Returns count when there is none.
size_t playlist_find(const struct playlist *p, const char *arg);

#endif
