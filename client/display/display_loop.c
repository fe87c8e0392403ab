// The loop: what wakes the display, and its life from open to close.
#include "client/display/display_parts.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fault_add(struct display *d, struct now now, const char *id, const char *what, const char *why)
{
	char copy[200];

	// err_text is overwritten by whatever fails next.
	text_format(copy, sizeof(copy), "%s", why);
	log_warn(id, "what=%s why=%s", log_quote(what), log_quote(copy));
	status_fault_add(&d->status, now.wall, what, copy);
	d->status_news = true;
}

// ---- what wakes

// The turn itself runs in the prepare step, just before the loop sleeps.
void timer_rang(uv_timer_t *t)
{
	(void)t;
}

static void descriptor_ready(uv_poll_t *p, int status, int events)
{
	(void)p;
	(void)status;
	(void)events;
}

static void screenshot_asked(uv_signal_t *s, int number)
{
	struct display *d = s->data;

	(void)number;
	d->screenshot_wanted = true;
}

static void prepare_turn(uv_prepare_t *p)
{
	display_turn(p->data);
}

// Freed by its closing, which the loop does later.
static void poll_closed(uv_handle_t *p)
{
	free(p);
}

static enum err poll_begin(struct display *d, uv_poll_t **out, int fd)
{
	uv_poll_t *p = calloc(1, sizeof(*p));

	if (!p || uv_poll_init(d->loop, p, fd) != 0) {
		free(p);
		return err_set(ERR_IO, "cannot wait for a descriptor");
	}
	*out = p;
	if (uv_poll_start(p, UV_READABLE, descriptor_ready) != 0)
		return err_set(ERR_IO, "cannot wait for a descriptor");
	return ERR_OK;
}

static void poll_end(uv_poll_t **p)
{
	if (!*p)
		return;
	uv_poll_stop(*p);
	uv_close((uv_handle_t *)*p, poll_closed);
	*p = NULL;
}

static enum err handles_open(struct display *d)
{
	TRY(poll_begin(d, &d->inotify_poll, d->inotify));
	TRY(poll_begin(d, &d->decoder_poll, d->decoder.fd));
	if (screen_event_fd(d->screen) >= 0)
		TRY(poll_begin(d, &d->screen_events, screen_event_fd(d->screen)));
	uv_timer_init(d->loop, &d->timer);
	uv_signal_init(d->loop, &d->screenshot_signal);
	d->screenshot_signal.data = d;
	uv_signal_start(&d->screenshot_signal, screenshot_asked, SIGUSR1);
	uv_prepare_init(d->loop, &d->prepare);
	d->prepare.data = d;
	uv_prepare_start(&d->prepare, prepare_turn);
	return ERR_OK;
}

// The keeper is gone: killed from outside. A new one is forked, and what was in work is begun
// again.
void decoder_restart(struct display *d, struct now now)
{
	if (d->decoder_since.ms != 0 &&
		mono_since_ms(now.mono, d->decoder_since) < DECODER_RESTART_MS)
		return;
	d->decoder_since = now.mono;
	poll_end(&d->decoder_poll);
	decoder_close(&d->decoder);
	enum err e = decoder_open(&d->decoder);
	if (e == ERR_OK)
		e = poll_begin(d, &d->decoder_poll, d->decoder.fd);
	if (e != ERR_OK) {
		log_error("DECODER-FAILED", "why=%s", log_quote(err_text()));
		return;
	}
	log_warn("DECODER-RESTARTED", "pid=%d", (int)d->decoder.keeper);
	pictures_resume(d, now);
}

// ---- life

static void screenshot_path_set(struct display *d, const char *screenshot)
{
	const char *path = screenshot ? screenshot : d->settings->screenshot;

	d->screenshot_fd = -1;
	d->screenshot.fd = -1;
	d->screenshot_first = screenshot != NULL;
	if (*path)
		snprintf(d->screenshot_path, sizeof(d->screenshot_path), "%.590s", path);
	else
		snprintf(d->screenshot_path, sizeof(d->screenshot_path), "%s/screenshot.png",
			d->settings->folder);
}

static enum err folder_open(struct display *d)
{
	char path[600];

	TRY(dir_make(d->settings->folder));
	TRY(path_join(path, sizeof(path), d->settings->folder, "display.lock"));
	TRY(lock_take(path, &d->lock));
	TRY(path_join(d->status.path, sizeof(d->status.path), d->settings->folder, "status"));
	// Without a ledger the show goes on; its absence is a fault that the agent sees.
	enum err e =
		shown_open(&d->ledger, d->settings->folder, (size_t)d->settings->ledger_mib << 20);
	d->has_ledger = e == ERR_OK;
	if (e != ERR_OK)
		fault_add(d, clock_now(), "LEDGER-ABSENT", "shown.log", err_text());
	return playlist_watch(d);
}

static enum err screen_begin(struct display *d)
{
	const struct screen_wish wish = {
		.title = "Heliograph",
		.windowed = d->settings->windowed,
		.software = strcmp(d->settings->renderer, "software") == 0,
		.w = d->settings->width,
		.h = d->settings->height,
		.number = d->settings->screen,
		.rotate = (uint32_t)strtoul(d->settings->rotate, NULL, 10),
	};

	TRY(screen_open(&wish, &d->screen));
	screen_size(d->screen, &d->w, &d->h);
	d->status.screen_w = d->w;
	d->status.screen_h = d->h;
	log_info("SCREEN", "driver=%s renderer=%s width=%u height=%u", screen_driver(d->screen),
		screen_renderer(d->screen), d->w, d->h);
	return ERR_OK;
}

enum err display_open(struct display *d, const struct display_settings *settings, uv_loop_t *loop,
	struct decoder decoder, const char *screenshot)
{
	*d = (struct display){.settings = settings,
		.loop = loop,
		.decoder = decoder,
		.inotify = -1,
		.watch = -1,
		.lock = -1,
		.ledger = {.fd = -1},
		.redraw = true,
		.status_news = true};
	for (size_t i = 0; i < DISPLAY_PICTURES; i++)
		d->pictures[i].frame.fd = -1;
	show_init(&d->show);
	screenshot_path_set(d, screenshot);
	TRY(folder_open(d));
	TRY(screen_begin(d));
	playlist_begin(d, display_now(d));
	return handles_open(d);
}

void display_stop(struct display *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	uv_stop(d->loop);
}

static void last_row_write(struct display *d)
{
	struct now now = display_now(d);
	struct show_ended ended = show_end(&d->show, now.mono);
	struct shown_row row = ended_row(d, &ended);

	if (!ended.is || !d->has_ledger)
		return;
	if (shown_append(&d->ledger, &row) != ERR_OK)
		log_warn("LEDGER-LOST", "why=%s", log_quote(err_text()));
}

void display_close(struct display *d)
{
	last_row_write(d);
	place_keep(d);
	if (d->has_ledger)
		shown_close(&d->ledger);
	if (*d->status.path)
		unlink(d->status.path);
	screen_close(d->screen);
	decoder_close(&d->decoder);
	for (size_t i = 0; i < DISPLAY_PICTURES; i++)
		frame_memory_free(&d->pictures[i].frame);
	show_fini(&d->show);
	playlist_free(d->list);
	playlist_free(d->later);
	buf_fini(&d->list_text);
	buf_fini(&d->later_text);
	zone_fini(&d->zone);
	if (d->inotify >= 0)
		close(d->inotify);
	if (d->lock >= 0)
		close(d->lock);
}
