// SDL2.
#include "client/display/screen.h"

#include "client/display/display_limits.h"
#include "proto/base/log.h"
#include <stdlib.h>
#include <string.h>

#include <SDL.h>
#include <SDL_syswm.h>

#define TEXTURES_MAX 6

struct texture {
	uint64_t ticket;
	SDL_Texture *sdl; // NULL: free
	uint32_t w, h;
};

struct screen {
	SDL_Window *window;
	SDL_Renderer *renderer;
	char renderer_name[32];
	uint32_t w, h; // as the glass has them
	uint32_t rotate;
	int event_fd;
	int64_t poll_ms;
	bool shown;
	struct texture textures[TEXTURES_MAX];
};

// ---- opening

static void hints_set(void)
{
	// Signals are the program's own; pictures arrive at their final size.
	SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	SDL_SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "linear");
	SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "1");
	SDL_SetHint(SDL_HINT_VIDEO_MINIMIZE_ON_FOCUS_LOSS, "0");
	SDL_SetHint(SDL_HINT_APP_NAME, "helio-display");
	// Nothing here listens to keys, sticks or sound.
	SDL_SetHint(SDL_HINT_JOYSTICK_DEVICE, "");
}

static enum err window_open(struct screen *s, const struct screen_wish *wish)
{
	uint32_t flags = SDL_WINDOW_HIDDEN | SDL_WINDOW_ALLOW_HIGHDPI;
	int number = (int)wish->number;
	SDL_Rect place;

	if (number >= SDL_GetNumVideoDisplays()) {
		log_warn("SCREEN-ABSENT", "screen=%d used=0", number);
		number = 0;
	}
	if (SDL_GetDisplayBounds(number, &place) < 0)
		return err_set(ERR_UNSUPPORTED, "there is no screen: %s", SDL_GetError());
	if (wish->windowed) {
		place.x = place.y = (int)SDL_WINDOWPOS_CENTERED_DISPLAY((unsigned)number);
		place.w = (int)wish->w;
		place.h = (int)wish->h;
		flags |= SDL_WINDOW_RESIZABLE;
	} else {
		flags |= SDL_WINDOW_BORDERLESS | SDL_WINDOW_FULLSCREEN_DESKTOP;
	}
	s->window = SDL_CreateWindow(wish->title, place.x, place.y, place.w, place.h, flags);
	if (!s->window)
		return err_set(ERR_UNSUPPORTED, "cannot open a window: %s", SDL_GetError());
	return ERR_OK;
}

typedef const unsigned char *(*gl_get_string)(unsigned name);

// Mesa's renderers without hardware draw with threads and hundreds of megabytes what SDL's own
// software renderer does with memcpy.
static bool renderer_is_emulated(void)
{
	const unsigned gl_renderer = 0x1F01;
	gl_get_string get = NULL;
	void *address = SDL_GL_GetCurrentContext() ? SDL_GL_GetProcAddress("glGetString") : NULL;

	if (!address)
		return false;
	memcpy(&get, &address, sizeof(get));
	const char *name = (const char *)get(gl_renderer);
	return name &&
	       (strstr(name, "llvmpipe") || strstr(name, "softpipe") || strstr(name, "SWR"));
}

static enum err renderer_open(struct screen *s, bool software)
{
	SDL_RendererInfo info;

	if (!software) {
		s->renderer = SDL_CreateRenderer(
			s->window, -1, SDL_RENDERER_ACCELERATED | SDL_RENDERER_PRESENTVSYNC);
		if (s->renderer && renderer_is_emulated()) {
			SDL_DestroyRenderer(s->renderer);
			s->renderer = NULL;
		}
	}
	if (!s->renderer) {
		SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
		s->renderer = SDL_CreateRenderer(s->window, -1, SDL_RENDERER_SOFTWARE);
	}
	if (!s->renderer || SDL_GetRendererInfo(s->renderer, &info) < 0)
		return err_set(ERR_UNSUPPORTED, "no renderer: %s", SDL_GetError());
	bool fits = str_copy(s->renderer_name, sizeof(s->renderer_name), info.name);
	(void)fits;
	return ERR_OK;
}

// SDL has no descriptor for its events; X11 does. Wayland must answer its compositor, so it is
// looked at often; the others have nothing to say.
static void events_find(struct screen *s)
{
	SDL_SysWMinfo info;

	s->event_fd = -1;
	s->poll_ms = 1000;
	SDL_VERSION(&info.version);
	if (!SDL_GetWindowWMInfo(s->window, &info))
		return;
	if (info.subsystem == SDL_SYSWM_X11)
		s->event_fd = ConnectionNumber(info.info.x11.display);
	else if (info.subsystem == SDL_SYSWM_WAYLAND)
		s->poll_ms = 100;
}

static void size_read(struct screen *s)
{
	int w = 0, h = 0;

	if (SDL_GetRendererOutputSize(s->renderer, &w, &h) < 0 || w < 1 || h < 1)
		return;
	s->w = w > SCREEN_SIDE_MAX ? SCREEN_SIDE_MAX : (uint32_t)w;
	s->h = h > SCREEN_SIDE_MAX ? SCREEN_SIDE_MAX : (uint32_t)h;
}

enum err screen_open(const struct screen_wish *wish, struct screen **out)
{
	struct screen *s = calloc(1, sizeof(*s));

	*out = NULL;
	if (!s)
		return err_set(ERR_MEMORY, "no memory for a screen");
	hints_set();
	enum err e = ERR_OK;
	if (SDL_InitSubSystem(SDL_INIT_VIDEO) < 0)
		e = err_set(ERR_UNSUPPORTED, "no video: %s", SDL_GetError());
	if (e == ERR_OK)
		e = window_open(s, wish);
	if (e == ERR_OK)
		e = renderer_open(s, wish->software);
	if (e != ERR_OK) {
		screen_close(s);
		return e;
	}
	SDL_DisableScreenSaver();
	SDL_ShowCursor(SDL_DISABLE);
	s->w = wish->w;
	s->h = wish->h;
	s->rotate = wish->rotate;
	size_read(s);
	events_find(s);
	*out = s;
	return ERR_OK;
}

void screen_close(struct screen *s)
{
	if (!s)
		return;
	screen_keep(s, NULL, 0);
	if (s->renderer)
		SDL_DestroyRenderer(s->renderer);
	if (s->window)
		SDL_DestroyWindow(s->window);
	SDL_Quit();
	free(s);
}

// ---- turning

static bool is_on_side(uint32_t rotate)
{
	return rotate == 90 || rotate == 270;
}

// Where the pixels of a frame turned clockwise come from: the first, and the steps to the next one
// of the row and of the column.
static void turn_steps(
	struct frame f, uint32_t rotate, int64_t *first, int64_t *right, int64_t *down)
{
	int64_t w = f.w, size = (int64_t)f.w * f.h;

	*first = rotate == 90 ? size - w : rotate == 180 ? size - 1 : rotate == 270 ? w - 1 : 0;
	*right = rotate == 90 ? -w : rotate == 180 ? -1 : rotate == 270 ? w : 1;
	*down = rotate == 90 ? 1 : rotate == 180 ? -w : rotate == 270 ? -1 : w;
}

// out: as large as the turned frame.
static void frame_turn(struct frame f, uint32_t rotate, struct frame out)
{
	int64_t first, right, down;

	turn_steps(f, rotate, &first, &right, &down);
	for (uint32_t y = 0; y < out.h; y++) {
		const uint32_t *from = f.px + first + down * y;
		uint32_t *to = out.px + (size_t)out.w * y;

		for (uint32_t x = 0; x < out.w; x++, from += right)
			to[x] = *from;
	}
}

// ---- asking

void screen_size(const struct screen *s, uint32_t *w, uint32_t *h)
{
	bool on_side = is_on_side(s->rotate);

	*w = on_side ? s->h : s->w;
	*h = on_side ? s->w : s->h;
}

const char *screen_driver(const struct screen *s)
{
	(void)s;
	const char *name = SDL_GetCurrentVideoDriver();

	return name ? name : "none";
}

const char *screen_renderer(const struct screen *s)
{
	return s->renderer_name;
}

int screen_event_fd(const struct screen *s)
{
	return s->event_fd;
}

int64_t screen_poll_ms(const struct screen *s)
{
	return s->poll_ms;
}

// ---- news

static void window_event(uint8_t event, struct screen_news *news)
{
	switch (event) {
	case SDL_WINDOWEVENT_CLOSE:
		news->closed = true;
		break;
	case SDL_WINDOWEVENT_EXPOSED:
	case SDL_WINDOWEVENT_SHOWN:
	case SDL_WINDOWEVENT_RESTORED:
	case SDL_WINDOWEVENT_SIZE_CHANGED:
	case SDL_WINDOWEVENT_DISPLAY_CHANGED:
		news->exposed = true;
		break;
	default:
		break;
	}
}

struct screen_news screen_poll(struct screen *s)
{
	struct screen_news news = {0};
	uint32_t w = s->w, h = s->h;
	SDL_Event e;

	while (SDL_PollEvent(&e)) {
		switch (e.type) {
		case SDL_WINDOWEVENT:
			window_event(e.window.event, &news);
			break;
		case SDL_QUIT:
			news.closed = true;
			break;
		case SDL_RENDER_TARGETS_RESET:
			news.exposed = true;
			break;
		case SDL_RENDER_DEVICE_RESET:
			news.lost = news.exposed = true;
			break;
		default:
			break;
		}
	}
	size_read(s);
	news.resized = s->w != w || s->h != h;
	return news;
}

// ---- textures

static struct texture *texture_find(const struct screen *s, uint64_t ticket)
{
	for (size_t i = 0; i < TEXTURES_MAX; i++) {
		const struct texture *t = &s->textures[i];

		if (t->sdl && t->ticket == ticket)
			return (struct texture *)t;
	}
	return NULL;
}

bool screen_has(const struct screen *s, uint64_t ticket)
{
	return texture_find(s, ticket) != NULL;
}

static void texture_drop(struct texture *t)
{
	if (t->sdl)
		SDL_DestroyTexture(t->sdl);
	*t = (struct texture){0};
}

void screen_keep(struct screen *s, const uint64_t *tickets, size_t count)
{
	for (size_t i = 0; i < TEXTURES_MAX; i++) {
		bool wanted = false;

		for (size_t k = 0; k < count; k++)
			wanted = wanted || tickets[k] == s->textures[i].ticket;
		if (!wanted)
			texture_drop(&s->textures[i]);
	}
}

static struct texture *texture_free_find(struct screen *s)
{
	for (size_t i = 0; i < TEXTURES_MAX; i++) {
		if (!s->textures[i].sdl)
			return &s->textures[i];
	}
	return NULL;
}

static enum err texture_make(struct screen *s, struct texture *t, struct frame frame)
{
	t->sdl = SDL_CreateTexture(s->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STATIC,
		(int)frame.w, (int)frame.h);
	if (!t->sdl)
		return err_set(
			ERR_MEMORY, "no texture of %u x %u: %s", frame.w, frame.h, SDL_GetError());
	t->w = frame.w;
	t->h = frame.h;
	return ERR_OK;
}

static enum err texture_put(struct screen *s, uint64_t ticket, struct frame frame)
{
	struct texture *t = texture_find(s, ticket);

	if (t && (t->w != frame.w || t->h != frame.h))
		texture_drop(t);
	else if (!t)
		t = texture_free_find(s);
	if (!t)
		return err_set(ERR_FULL, "more than %d pictures at a time", TEXTURES_MAX);
	if (!t->sdl)
		TRY(texture_make(s, t, frame));
	t->ticket = ticket;
	if (SDL_UpdateTexture(t->sdl, NULL, frame.px, (int)frame.w * 4) < 0) {
		texture_drop(t);
		return err_set(ERR_MEMORY, "cannot fill a texture: %s", SDL_GetError());
	}
	return ERR_OK;
}

enum err screen_put(struct screen *s, uint64_t ticket, struct frame frame)
{
	bool on_side = is_on_side(s->rotate);
	struct frame turned = {.w = on_side ? frame.h : frame.w, .h = on_side ? frame.w : frame.h};

	if (s->rotate == 0)
		return texture_put(s, ticket, frame);
	turned.px = malloc((size_t)turned.w * turned.h * 4);
	if (!turned.px)
		return err_set(ERR_MEMORY, "no memory to turn a frame");
	frame_turn(frame, s->rotate, turned);
	enum err e = texture_put(s, ticket, turned);
	free(turned.px);
	return e;
}

// ---- drawing

// A frame made for another size (the window was just resized) is fitted in until its successor
// comes.
static void texture_paint(struct screen *s, struct texture *t, uint8_t alpha)
{
	bool blend = alpha < 255;

	SDL_SetTextureBlendMode(t->sdl, blend ? SDL_BLENDMODE_BLEND : SDL_BLENDMODE_NONE);
	SDL_SetTextureAlphaMod(t->sdl, alpha);
	if (t->w == s->w && t->h == s->h) {
		SDL_RenderCopy(s->renderer, t->sdl, NULL, NULL);
		return;
	}
	struct fit_plan p = fit_make(FIT_CONTAIN, t->w, t->h, s->w, s->h);
	SDL_Rect to = {(int)p.x, (int)p.y, (int)p.w, (int)p.h};

	SDL_RenderCopy(s->renderer, t->sdl, NULL, &to);
}

static void view_paint(struct screen *s, const struct screen_view *v)
{
	struct texture *below = texture_find(s, v->below), *front = texture_find(s, v->front);

	SDL_SetRenderDrawColor(s->renderer, (uint8_t)(v->background_rgb >> 16),
		(uint8_t)(v->background_rgb >> 8), (uint8_t)v->background_rgb, 255);
	SDL_RenderClear(s->renderer);
	if (below && v->alpha < 255)
		texture_paint(s, below, 255);
	if (front)
		texture_paint(s, front, below ? v->alpha : 255);
}

// What was drawn, upright.
static enum err pixels_read(struct screen *s, struct frame *into)
{
	struct frame glass = {.px = into->px, .w = s->w, .h = s->h};
	uint32_t w, h;
	enum err e = ERR_OK;

	screen_size(s, &w, &h);
	if (into->w != w || into->h != h)
		return err_set(ERR_NOT_NOW, "the screen's size has changed");
	if (s->rotate != 0)
		glass.px = malloc((size_t)w * h * 4);
	if (!glass.px)
		return err_set(ERR_MEMORY, "no memory to turn a screenshot");
	if (SDL_RenderReadPixels(
		    s->renderer, NULL, SDL_PIXELFORMAT_RGB888, glass.px, (int)glass.w * 4) < 0)
		e = err_set(ERR_IO, "cannot read the screen: %s", SDL_GetError());
	else if (s->rotate != 0)
		frame_turn(glass, 360 - s->rotate, *into);
	if (s->rotate != 0)
		free(glass.px);
	return e;
}

enum err screen_draw(struct screen *s, const struct screen_view *view, struct frame *into)
{
	view_paint(s, view);
	enum err e = into ? pixels_read(s, into) : ERR_OK;
	SDL_RenderPresent(s->renderer);
	if (!s->shown) {
		// Shown only now, with a first frame in it: no black flash. Some servers clear a
		// window when it appears, so it is painted once more.
		s->shown = true;
		SDL_ShowWindow(s->window);
		size_read(s);
		view_paint(s, view);
		SDL_RenderPresent(s->renderer);
	}
	return e;
}
