// What the files of the display share among themselves.
#ifndef HELIO_DISPLAY_PARTS_H
#define HELIO_DISPLAY_PARTS_H

#include "client/display/display.h"

// ---- display.c
void display_turn(struct display *d);
struct shown_row ended_row(const struct display *d, const struct show_ended *ended);
// Turns that were lost, into the ledger.
void missed_record(struct display *d, struct now now);

// ---- display_loop.c
void timer_rang(uv_timer_t *t);
// One line in the log and one in the status.
void fault_add(
	struct display *d, struct now now, const char *id, const char *what, const char *why);

void decoder_restart(struct display *d, struct now now);

// ---- display_time.c
// The time with the best wall clock there is.
struct now display_now(struct display *d);
struct show_time display_time(const struct display *d, struct now now);
// The list's zone, or the device's; a zone that is not installed is a fault, and the device's
// counts.
void zone_choose(struct display *d, const char *name, struct now now);
// Where a shuffle of this package stood.
struct schedule_place place_read(const struct display *d, const struct digest *package);
void place_keep(struct display *d);

// ---- display_pictures.c: files to frames to textures
// Begins to decode. Returns false when it failed at once, which the show then knows.
bool picture_begin(struct display *d, const struct show_picture *wanted, struct now now);
void picture_take(struct display *d, const struct decoder_answer *a, struct now now);
void pictures_keep(struct display *d, const uint64_t *tickets, size_t count);
// The screen has another size: what is on it and what comes next is decoded again.
void pictures_again(struct display *d);
// After the decoder was restarted.
void pictures_resume(struct display *d, struct now now);

// ---- display_playlist.c
enum err playlist_watch(struct display *d) MUST_CHECK;
void playlist_look(struct display *d, struct now now);
// When a list for a later moment becomes the one in use; INT64_MAX: never.
int64_t playlist_wake_ms(const struct display *d, struct now now);
void playlist_begin(struct display *d, struct now now);
void playlist_keep(struct display *d);

// ---- display_screenshot.c
// Reads what the agent asks for.
void screenshot_ask(struct display *d);
bool screenshot_is_due(const struct display *d, const struct show_plan *p);
void screenshot_begin(struct display *d);
void screenshot_send(struct display *d, uint64_t ticket, bool drawn);
void screenshot_drop(struct display *d);
void screenshot_end(struct display *d, const struct decoder_answer *a);

#endif
