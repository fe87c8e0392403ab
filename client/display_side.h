// The agent's side of the folder it shares with the display: writes `playlist` by rename, reads
// `status` and the ledger `shown.log`. Neither program notices when the other one dies.
#ifndef HELIO_CLIENT_DISPLAY_SIDE_H
#define HELIO_CLIENT_DISPLAY_SIDE_H

#include "client/depot.h"
#include <stdio.h>

#define DISPLAY_ARGS 4

struct display_side {
	char dir[256];
	const struct depot *store;
	char command[700]; // last command's line of the playlist without newline, "" none
};

struct display_status {
	bool known, alive;
	struct digest package;
	char image[513], state[32];
	uint32_t width_px, height_px;
	int64_t pid;
};

enum err display_side_init(
	struct display_side *d, const char *state_dir, const struct depot *store) MUST_CHECK;
// The slot of images `name` becomes the playlist; no slot: the playlist goes away.
enum err display_write(struct display_side *d, const char *name) MUST_CHECK;
// What is to be shown from a moment on: playlist.next, which the display takes by itself. It is the
// record of what waits.
struct display_later {
	struct digest package;
	char name[AGENT_NAME_MAX + 1];
	int64_t at_unix_ms; // 0: nothing waits
};
enum err display_later_write(
	struct display_side *d, const struct digest *id, int64_t at_unix_ms) MUST_CHECK;
// Errors: ERR_NOT_FOUND, ERR_CORRUPT.
enum err display_later_read(const struct display_side *d, struct display_later *out) MUST_CHECK;
enum err display_later_drop(const struct display_side *d) MUST_CHECK;
// What the server says of the time: its clock less the monotonic one, and the newest moment told.
enum err display_clock_write(
	const struct display_side *d, int64_t offset_ms, int64_t floor_ms) MUST_CHECK;
// Remembers a command for the next display_write. number rises.
enum err display_command(
	struct display_side *d, uint64_t number, const char *verb, const char *arg) MUST_CHECK;
// A command that names a picture ends with the package it was for.
void display_forget_show(struct display_side *d);
void display_status_read(const struct display_side *d, struct display_status *out);
// Does the package of slot `name` hold a picture with this path (or this path without folder)?
// path: the whole one, 513 bytes.
bool display_has_picture(
	const struct display_side *d, const char *name, const char *picture, char *path);
// Asks for what the screen shows, as PNG of at most max_bytes. number rises.
enum err display_screenshot_ask(
	const struct display_side *d, uint64_t number, uint64_t max_bytes) MUST_CHECK;
// Into out. Errors: ERR_NOT_NOW (no answer yet), ERR_UNSUPPORTED with the display's sentence,
// ERR_FULL, ERR_IO.
enum err display_screenshot_take(
	const struct display_side *d, uint64_t number, struct buf *out) MUST_CHECK;
// SIGTERM to the display that wrote `status`. Errors: ERR_NOT_FOUND.
enum err display_restart(const struct display_side *d) MUST_CHECK;
// Rows of the ledger from since_unix_ms on, oldest first, each ledger_seq once: in slices, for a
// loop that has other work.
struct ledger_read {
	FILE *in[2]; // the part before, the present one
	unsigned part;
	int64_t since_unix_ms;
	uint64_t last_seq;
};
void ledger_begin(struct ledger_read *x, const struct display_side *d, int64_t since_unix_ms);
// Looks at no more than so many lines; names into the arena. Returns how many rows; *end: there is
// nothing behind them, or no memory for it.
size_t ledger_slice(struct ledger_read *x, struct arena *a, size_t lines, struct shown *rows,
	size_t max, bool *end);
// From the beginning once more, of the same files.
void ledger_rewind(struct ledger_read *x);
void ledger_end(struct ledger_read *x); // also when it was ended already

// At most max of them at once, in the arena.
void display_usage(const struct display_side *d, struct arena *a, int64_t since_unix_ms, size_t max,
	struct shown **rows, size_t *count);

#endif
