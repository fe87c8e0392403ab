// One turn: take what happened, ask the show plan, do what it says, sleep until it says.
#include "client/display/display.h"

#include "client/display/display_parts.h"
#include "client/display/waiting.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

// ---- the waiting picture

static const char *card_line_of(const struct display *d, const struct show_plan *p)
{
	switch (p->why) {
	case WAIT_NO_PLAYLIST:
		return d->list ? "" : "Waiting for the first pictures";
	case WAIT_EMPTY:
		return "There are no pictures to show";
	case WAIT_HOURS:
		return ""; // the sky: nobody before the screen has to know
	case WAIT_UNREADABLE:
		return "The pictures cannot be read";
	case WAIT_LOADING:
		break;
	}
	return "";
}

// While the first picture is decoded there is only the sky, so that no text flashes by.
static void card_prepare(struct display *d, const struct show_plan *p)
{
	const char *line = card_line_of(d, p);
	bool is_seen = p->front == 0 || (p->fading && p->below == 0);
	bool same = strcmp(line, d->card_line) == 0 && !d->card_stale;

	if (!is_seen || (screen_has(d->screen, 0) && (same || p->front != 0)))
		return;
	struct frame_memory m;

	if (frame_memory_new(d->w, d->h, &m) != ERR_OK) {
		log_warn("CARD-FAILED", "why=%s", log_quote(err_text()));
		return;
	}
	waiting_draw(m.frame, *line ? d->settings->client_id : "", line);
	if (screen_put(d->screen, 0, m.frame) != ERR_OK)
		log_warn("CARD-FAILED", "why=%s", log_quote(err_text()));
	frame_memory_free(&m);
	text_format(d->card_line, sizeof(d->card_line), "%s", line);
	d->card_stale = false;
	d->redraw = true;
}

// ---- drawing

static void textures_keep(struct display *d, const struct show_plan *p)
{
	const uint64_t tickets[] = {p->below, p->front, p->keep};

	screen_keep(d->screen, tickets, 3);
	pictures_keep(d, tickets, 3);
}

static uint32_t background_of(const struct display *d)
{
	return d->list ? d->list->background_rgb : 0;
}

static int64_t frame_period_ms(const struct display *d)
{
	return 1000 / d->settings->fps;
}

static void view_draw(struct display *d, const struct show_plan *p, struct now now)
{
	struct screen_view v = {p->below, p->front, p->alpha, background_of(d)};
	bool same =
		v.below == d->view.below && v.front == d->view.front && v.alpha == d->view.alpha;
	bool shoot = screenshot_is_due(d, p);

	if (!d->redraw && !shoot) {
		// Woken between two frames of a fade, or a frame that looks as the one before.
		if (p->fading && mono_since_ms(now.mono, d->frame_at) < frame_period_ms(d))
			return;
		if (same) {
			d->frame_at = now.mono;
			return;
		}
	}
	if (shoot)
		screenshot_begin(d);
	enum err e = screen_draw(
		d->screen, &v, shoot && d->screenshot_busy ? &d->screenshot.frame : NULL);
	if (e != ERR_OK)
		log_warn("DRAW-FAILED", "why=%s", log_quote(err_text()));
	if (shoot)
		screenshot_send(d, TICKET_SCREENSHOT, e == ERR_OK);
	d->view = v;
	d->redraw = false;
	d->frame_at = now.mono;
}

// ---- news

static void screen_take(struct display *d)
{
	struct screen_news news = screen_poll(d->screen);

	d->redraw = d->redraw || news.exposed || news.resized;
	if (news.closed) {
		log_info("WINDOW-CLOSED", "why=\"by its user\"");
		display_stop(d);
	}
	if (!news.resized && !news.lost)
		return;
	screen_size(d->screen, &d->w, &d->h);
	log_info("SCREEN-SIZE", "width=%u height=%u", d->w, d->h);
	d->status.screen_w = d->w;
	d->status.screen_h = d->h;
	d->status_news = d->card_stale = true;
	pictures_again(d);
}

static void answers_take(struct display *d, struct now now)
{
	struct decoder_answer a;
	bool have = false;
	enum err e;

	while ((e = decoder_take(&d->decoder, &a, &have)) == ERR_OK && have) {
		if (a.ticket == TICKET_SCREENSHOT)
			screenshot_end(d, &a);
		else
			picture_take(d, &a, now);
	}
	if (e != ERR_OK)
		decoder_restart(d, now);
}

// ---- what the plan says

struct shown_row ended_row(const struct display *d, const struct show_ended *ended)
{
	return (struct shown_row){
		.package = ended->picture->package,
		.path = ended->picture->path,
		.from = d->front_since,
		.duration_ms = ended->duration_ms,
		.clock = d->clock.quality,
		.planned_ms = ended->picture->duration_ms,
		.result = ended->result,
		.reason = ended->reason,
	};
}

static void row_record(struct display *d, const struct shown_row *row, struct now now)
{
	log_debug("SHOWN", "image=%s ms=%" PRId64 " result=%s", row->path, row->duration_ms,
		shown_result_word(row->result));
	if (d->has_ledger && shown_append(&d->ledger, row) != ERR_OK)
		fault_add(d, now, "LEDGER-LOST", "shown.log", err_text());
}

static void ended_record(struct display *d, const struct show_ended *ended, struct now now)
{
	struct shown_row row = ended_row(d, ended);

	row_record(d, &row, now);
	d->front_since = now.wall;
}

void missed_record(struct display *d, struct now now)
{
	struct show_missed missed;

	while (show_missed(&d->show, display_time(d, now), &missed)) {
		struct shown_row row = {
			.package = missed.picture.package,
			.path = missed.picture.path,
			.from = now.wall,
			.clock = d->clock.quality,
			.planned_ms = missed.picture.duration_ms,
			.result = missed.result,
			.reason = "unreadable",
		};

		row_record(d, &row, now);
	}
}

static void front_follow(struct display *d, const struct show_plan *p, struct now now)
{
	const struct show_picture *front = &d->show.front;

	if (p->front != d->view.front || p->state != d->status.state)
		d->status_news = true;
	if (p->front != d->view.front) {
		d->front_since = now.wall;
		d->note_at = (struct mono){0};
		if (p->front != 0)
			log_info("SHOWING", "image=%s package=%s", front->path,
				digest_short(&front->package));
		else
			log_info("WAITING", "why=%s",
				p->why == WAIT_HOURS ? "hours" : log_quote(card_line_of(d, p)));
	}
	d->status.state = p->state;
	d->status.package = front->package;
	snprintf(d->status.image, sizeof(d->status.image), "%s", front->path);
}

// What runs, for the case that this process does not live to see its end.
static void front_note(struct display *d, struct now now)
{
	if (d->show.front.ticket == 0 || !d->has_ledger ||
		(d->note_at.ms != 0 && mono_since_ms(now.mono, d->note_at) < SHOWN_OPEN_MS))
		return;
	struct show_ended so_far = show_end(&d->show, now.mono);
	struct shown_row row = ended_row(d, &so_far);

	if (row.result == SHOWN_CUT)
		row.reason = "crash";
	d->note_at = now.mono;
	if (shown_note(&d->ledger, &row) != ERR_OK)
		log_debug("NOTE-FAILED", "why=%s", log_quote(err_text()));
}

static void status_follow(struct display *d, struct now now)
{
	if (!d->status_news && mono_since_ms(now.mono, d->status_at) < STATUS_PERIOD_MS)
		return;
	d->status_news = false;
	d->status_at = now.mono;
	if (status_write(&d->status, now.wall) != ERR_OK)
		log_warn("STATUS-FAILED", "why=%s", log_quote(err_text()));
}

// What may touch the disk and take long waits for the moment after a fade.
static void quiet_work(struct display *d, struct now now)
{
	status_follow(d, now);
	playlist_keep(d);
	place_keep(d);
	if (d->has_ledger && shown_sync(&d->ledger, now.mono, false) != ERR_OK)
		fault_add(d, now, "LEDGER-SYNC", "shown.log", err_text());
}

// ---- time

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void sleep_set(struct display *d, const struct show_plan *p, struct now now)
{
	int64_t wait = min64(screen_poll_ms(d->screen), STATUS_PERIOD_MS);

	if (p->fading) {
		wait = frame_period_ms(d) - mono_since_ms(clock_now().mono, d->frame_at);
	} else if (screen_event_fd(d->screen) >= 0) {
		wait = STATUS_PERIOD_MS - mono_since_ms(now.mono, d->status_at);
		if (d->show.front.ticket != 0)
			wait = min64(wait, SHOWN_OPEN_MS);
	}
	if (!p->fading && p->has_wake)
		wait = min64(wait, mono_since_ms(p->wake, now.mono));
	wait = min64(wait, playlist_wake_ms(d, now));
	uv_update_time(d->loop);
	uv_timer_start(&d->timer, timer_rang, wait > 0 ? (uint64_t)wait : 0, 0);
}

// A load that fails at once (no such file) lets the plan choose again, a few times a turn.
static struct show_plan plan_follow(struct display *d, struct now now)
{
	struct show_plan p;

	for (int i = 0; i < 8; i++) {
		p = show_step(&d->show, display_time(d, now));
		if (p.ended.is)
			ended_record(d, &p.ended, now);
		if (p.ended.is)
			d->note_at = (struct mono){0};
		missed_record(d, now);
		if (!p.load || picture_begin(d, &p.wanted, now))
			return p;
	}
	p.has_wake = true;
	p.wake = now.mono;
	return p;
}

void display_turn(struct display *d)
{
	struct now now = display_now(d);

	screen_take(d);
	playlist_look(d, now);
	screenshot_ask(d);
	answers_take(d, now);
	if (d->stopping)
		return;
	struct show_plan p = plan_follow(d, now);

	front_follow(d, &p, now);
	card_prepare(d, &p);
	textures_keep(d, &p);
	view_draw(d, &p, now);
	front_note(d, now);
	if (!p.fading)
		quiet_work(d, now);
	sleep_set(d, &p, now);
}
