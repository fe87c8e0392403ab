// Screenshots: the pixels that were drawn, made into a PNG by the decoder's child, put in place by
// rename.
//
// By SIGUSR1 or --screenshot into the file of the settings. For the agent through the folder: it
// renames `screenshot.ask` into it (n TAB number, max_bytes TAB number); the answer is
// `screenshot.sent.png` and then, by rename, `screenshot.answer` with the same number n and either
// size TAB w TAB h or error TAB sentence. What is larger than max_bytes is drawn smaller.
#include "client/display/display_parts.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void path_name(const struct display *d, char out[610])
{
	if (d->ask != 0)
		snprintf(out, 610, "%s/screenshot.sent.png", d->settings->folder);
	else
		snprintf(out, 610, "%s", d->screenshot_path);
}

static void temporary_name(const struct display *d, char out[620])
{
	char path[610];

	path_name(d, path);
	snprintf(out, 620, "%s.tmp", path);
}

// ---- what the agent asks for

void screenshot_ask(struct display *d)
{
	char path[600], text[200] = "";
	SCOPED_BUF struct buf b;
	uint64_t n, max_bytes;

	buf_init(&b, sizeof(text) - 1);
	if (!d->ask_news || d->screenshot_busy)
		return;
	d->ask_news = false;
	if (path_join(path, sizeof(path), d->settings->folder, "screenshot.ask") != ERR_OK ||
		file_read(path, &b) != ERR_OK)
		return;
	memcpy(text, b.data, b.size);
	if (sscanf(text, "n\t%" SCNu64 "\nmax_bytes\t%" SCNu64 "\n", &n, &max_bytes) != 2 ||
		n == 0) {
		log_warn("SCREENSHOT-ASK", "why=\"what the agent asks for cannot be read\"");
		return;
	}
	d->ask = n;
	d->ask_max_bytes = max_bytes;
	d->screenshot_wanted = true;
}

static void ask_answer(struct display *d, const char *error)
{
	char path[600], text[300];
	int size;

	if (d->ask == 0)
		return;
	if (error != NULL)
		size = snprintf(text, sizeof(text), "n\t%" PRIu64 "\nerror\t%.*s\n", d->ask,
			text_most(error, 200), error);
	else
		size = snprintf(text, sizeof(text), "n\t%" PRIu64 "\nsize\t%u\t%u\n", d->ask,
			d->screenshot.frame.w, d->screenshot.frame.h);
	d->ask = 0;
	if (path_join(path, sizeof(path), d->settings->folder, "screenshot.answer") != ERR_OK ||
		file_write_atomic(path, text, (size_t)size, 0644) != ERR_OK)
		log_warn("SCREENSHOT-ANSWER", "why=%s", log_quote(err_text()));
}

// ---- making

// The first one waits for a picture that stands.
bool screenshot_is_due(const struct display *d, const struct show_plan *p)
{
	if (d->screenshot_busy)
		return false;
	if (d->screenshot_wanted)
		return true;
	bool is_waiting = p->state == SHOW_WAITING && p->why != WAIT_LOADING;

	return d->screenshot_first && !p->fading && (p->front != 0 || is_waiting);
}

static enum err file_begin(struct display *d)
{
	char temporary[620];

	temporary_name(d, temporary);
	d->screenshot_fd =
		open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	return d->screenshot_fd < 0 ? err_set_errno("cannot create %s", temporary) : ERR_OK;
}

static void screenshot_failed(struct display *d, const char *why)
{
	char copy[200];

	text_format(copy, sizeof(copy), "%s", why);
	log_warn("SCREENSHOT-FAILED", "why=%s", log_quote(copy));
	ask_answer(d, copy);
}

void screenshot_begin(struct display *d)
{
	d->screenshot_wanted = d->screenshot_first = false;
	enum err e = file_begin(d);
	if (e == ERR_OK)
		e = frame_memory_new(d->w, d->h, &d->screenshot);
	d->screenshot_busy = e == ERR_OK;
	if (e == ERR_OK)
		return;
	if (d->screenshot_fd >= 0)
		close(d->screenshot_fd);
	d->screenshot_fd = -1;
	screenshot_failed(d, err_text());
}

void screenshot_drop(struct display *d)
{
	if (d->screenshot_fd >= 0)
		close(d->screenshot_fd);
	d->screenshot_fd = -1;
	frame_memory_free(&d->screenshot);
	d->screenshot_busy = false;
	d->ask = 0;
}

void screenshot_send(struct display *d, uint64_t ticket, bool drawn)
{
	if (!d->screenshot_busy)
		return;
	if (drawn &&
		decoder_write_png(&d->decoder, ticket, d->screenshot_fd, &d->screenshot) == ERR_OK)
		return;
	screenshot_failed(d, err_text());
	screenshot_drop(d);
}

// ---- making it smaller

static enum err frame_shrink(const struct frame *from, struct frame to)
{
	const struct fit_plan plan = {.crop_w = from->w, .crop_h = from->h, .w = to.w, .h = to.h};
	struct resample *r;
	uint8_t row[SCREEN_SIDE_MAX * 4];

	TRY(resample_new(from->w, from->h, &plan, to, &r));
	for (uint32_t y = 0; y < from->h && !resample_is_done(r); y++) {
		for (uint32_t x = 0; x < from->w; x++) {
			uint32_t px = from->px[(size_t)y * from->w + x];

			row[4 * x] = (uint8_t)(px >> 16);
			row[4 * x + 1] = (uint8_t)(px >> 8);
			row[4 * x + 2] = (uint8_t)px;
			row[4 * x + 3] = 255;
		}
		resample_row(r, row);
	}
	resample_free(r);
	return ERR_OK;
}

static uint32_t side_scaled(uint32_t side, double factor)
{
	double scaled = floor(side * factor);

	return scaled < 1 ? 1 : (uint32_t)scaled;
}

// A PNG's size goes with its area, more or less.
static enum err screenshot_again(struct display *d, uint64_t size)
{
	struct frame_memory smaller = {.fd = -1};
	struct frame *f = &d->screenshot.frame;
	double factor = 0.95 * sqrt((double)d->ask_max_bytes / (double)size);

	if (factor > 0.9)
		factor = 0.9;
	if (factor < 0.05)
		factor = 0.05;
	if (f->w <= SCREENSHOT_SIDE_MIN || f->h <= SCREENSHOT_SIDE_MIN)
		return err_set(ERR_RANGE, "%u x %u still takes %" PRIu64 " bytes, at most %" PRIu64,
			f->w, f->h, size, d->ask_max_bytes);
	TRY(frame_memory_new(side_scaled(f->w, factor), side_scaled(f->h, factor), &smaller));
	enum err e = frame_shrink(f, smaller.frame);
	if (e != ERR_OK) {
		frame_memory_free(&smaller);
		return e;
	}
	frame_memory_free(&d->screenshot);
	d->screenshot = smaller;
	close(d->screenshot_fd);
	TRY(file_begin(d));
	return decoder_write_png(&d->decoder, TICKET_SCREENSHOT, d->screenshot_fd, &d->screenshot);
}

// ---- done

static enum err screenshot_place(struct display *d)
{
	char temporary[620], path[610];

	temporary_name(d, temporary);
	path_name(d, path);
	if (rename(temporary, path) < 0)
		return err_set_errno("cannot place %s", path);
	log_info("SCREENSHOT", "file=%s width=%u height=%u", log_quote(path), d->screenshot.frame.w,
		d->screenshot.frame.h);
	ask_answer(d, NULL);
	return ERR_OK;
}

void screenshot_end(struct display *d, const struct decoder_answer *a)
{
	char temporary[620];
	struct stat st;

	if (!d->screenshot_busy)
		return;
	temporary_name(d, temporary);
	enum err e = a->err != ERR_OK ? err_set(a->err, "%s", a->text) : ERR_OK;
	if (e == ERR_OK && fstat(d->screenshot_fd, &st) < 0)
		e = err_set_errno("cannot look at %s", temporary);
	if (e == ERR_OK && d->ask != 0 && (uint64_t)st.st_size > d->ask_max_bytes) {
		e = screenshot_again(d, (uint64_t)st.st_size);
		if (e == ERR_OK)
			return;
	} else if (e == ERR_OK) {
		e = screenshot_place(d);
	}
	if (e != ERR_OK) {
		screenshot_failed(d, err_text());
		unlink(temporary);
	}
	screenshot_drop(d);
}
