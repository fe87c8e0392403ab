// The display as a whole: a loop that sleeps until something happens, and one turn that brings
// playlist, show plan, decoder, screen, ledger and status together.
//
//   playlist -> show -> decoder -> screen -> shown.log
//
// It has no network and no keys. It meets the agent in the files of one folder: reads `playlist`,
// `playlist.next` (one for a moment to come) and `clock`, keeps `show.place` for itself,
// writes `shown.log`, `shown.open`, `status`, `playlist.kept` (the last good playlist, for a start
// with a bad one) and screenshots (display_screenshot.c). Whatever fails, the picture that stands
// goes on standing.
#ifndef HELIO_DISPLAY_DISPLAY_H
#define HELIO_DISPLAY_DISPLAY_H

#include "client/display/decoder.h"
#include "client/display/screen.h"
#include "client/display/settings.h"
#include "client/display/show.h"
#include "client/display/shown.h"
#include "client/display/status.h"
#include <uv.h>

// What is known of a picture in decoding or on the screen.
struct display_picture {
	uint64_t ticket; // 0: the row is free
	char file[1100];
	struct picture_wish wish;
	struct frame_memory frame; // while it is decoded
};

#define DISPLAY_PICTURES 6

// What is known of the time: by the kernel, and by the agent in the file `clock`.
struct display_clock {
	int64_t offset_ms; // server's time less the monotonic clock's
	bool has_server;   // offset_ms is of this boot
	bool news;         // the file was replaced
	int64_t floor_ms;
	unsigned quality; // 1 none, 2 server, 3 NTP
	struct mono looked;
};

struct display {
	const struct display_settings *settings;
	uv_loop_t *loop;
	uv_prepare_t prepare;
	uv_timer_t timer;
	uv_poll_t *decoder_poll, *inotify_poll, *screen_events;
	uv_signal_t screenshot_signal;
	bool stopping;

	struct decoder decoder;
	struct mono decoder_since; // last restart
	struct screen *screen;
	uint32_t w, h;
	struct show show;
	struct playlist *list;
	struct buf list_text; // of the playlist in use, until it is kept
	int inotify, watch, lock;
	bool list_news;
	struct zone zone;       // of the list in use
	struct playlist *later; // for a moment to come; NULL: none, or it is the list in use
	struct buf later_text;
	bool later_news, later_counts; // counts: its moment is so near that it is the list in use
	struct schedule_place place;   // as it was saved last
	struct display_clock clock;
	struct mono looked; // when the playlist's file was last looked at
	int64_t list_stamp[3];

	struct display_picture pictures[DISPLAY_PICTURES];
	struct screen_view view; // as last drawn
	bool redraw, card_stale;
	char card_line[80];
	struct mono frame_at;

	struct shown_log ledger;
	bool has_ledger;
	struct wall front_since;
	uint64_t front_noted;
	struct mono note_at;
	struct status status;
	bool status_news;
	struct mono status_at;

	char screenshot_path[600];
	bool screenshot_wanted, screenshot_first, screenshot_busy;
	int screenshot_fd;
	struct frame_memory screenshot;
	bool ask_news; // the agent asks for a screenshot
	uint64_t ask;  // its number, while it is in work; 0: SIGUSR1 or --screenshot
	uint64_t ask_max_bytes;
};

// The keeper of the decoder must be forked before uv and SDL begin: decoder is taken over.
// screenshot: NULL, or the file of the first screenshot. Errors: as of its parts.
enum err display_open(struct display *d, const struct display_settings *settings, uv_loop_t *loop,
	struct decoder decoder, const char *screenshot) MUST_CHECK;
// Ends the loop softly.
void display_stop(struct display *d);
// Writes the last row, closes all. After the loop has ended.
void display_close(struct display *d);

#endif
