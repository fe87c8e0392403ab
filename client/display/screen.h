// The screen: a window or a whole screen, a few frames kept as textures by their tickets, one
// function that draws. The only place that knows SDL.
//
// Every draw paints the whole frame before it is presented, from textures that are complete, so
// that no frame is ever black or half. A screen that stands on its side is turned here: sizes and
// frames are those that a person before it sees; each frame is turned once, when it comes in. One
// thread. Works with the drivers x11, wayland, kmsdrm, offscreen and dummy; where no graphics
// hardware answers, or only an emulation of it, SDL's software renderer draws: it needs less memory
// and less CPU than emulated hardware.
#ifndef HELIO_DISPLAY_SCREEN_H
#define HELIO_DISPLAY_SCREEN_H

#include "client/display/resample.h"

struct screen;

struct screen_wish {
	const char *title;
	bool windowed, software;
	uint32_t w, h;   // of a window
	uint32_t number; // of the screen
	uint32_t rotate; // 0, 90, 180, 270: the picture is turned clockwise
};

struct screen_news {
	bool closed;  // somebody closed the window
	bool resized; // screen_size is another
	bool exposed; // must be drawn again
	bool lost;    // the textures are gone
};

struct screen_view {
	uint64_t below, front; // tickets
	uint8_t alpha;         // of the front
	uint32_t background_rgb;
};

// Errors: ERR_UNSUPPORTED with SDL's sentence.
enum err screen_open(const struct screen_wish *wish, struct screen **out) MUST_CHECK;
void screen_close(struct screen *s);
void screen_size(const struct screen *s, uint32_t *w, uint32_t *h);
const char *screen_driver(const struct screen *s);   // "x11"
const char *screen_renderer(const struct screen *s); // "software"
// A descriptor that becomes readable when there may be news; -1: look now and then.
int screen_event_fd(const struct screen *s);
// How often to look for news, ms.
int64_t screen_poll_ms(const struct screen *s);

// Takes all news that wait.
struct screen_news screen_poll(struct screen *s);

// Keeps a copy of the frame under the ticket, replacing what was there. Errors: ERR_FULL,
// ERR_MEMORY.
enum err screen_put(struct screen *s, uint64_t ticket, struct frame frame) MUST_CHECK;
bool screen_has(const struct screen *s, uint64_t ticket);
// Drops all but these.
void screen_keep(struct screen *s, const uint64_t *tickets, size_t count);

// Draws and presents. into may be NULL; else it takes the drawn pixels, and its size must be that
// of the screen. Errors: ERR_IO.
enum err screen_draw(
	struct screen *s, const struct screen_view *view, struct frame *into) MUST_CHECK;

#endif
