// Screenshots: the pixels that were drawn, made into a PNG by the decoder's child, put in place by
// rename.
#include "client/display/display_parts.h"
#include "proto/base/log.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void temporary_name(const struct display *d, char out[610])
{
	snprintf(out, 610, "%s.tmp", d->screenshot_path);
}

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

void screenshot_begin(struct display *d)
{
	char temporary[610];

	d->screenshot_wanted = d->screenshot_first = false;
	temporary_name(d, temporary);
	d->screenshot_fd =
		open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (d->screenshot_fd < 0) {
		enum err e = err_set_errno("cannot create %s", temporary);
		log_warn(
			"SCREENSHOT-FAILED", "error=%s why=%s", err_word(e), log_quote(err_text()));
		return;
	}
	if (frame_memory_new(d->w, d->h, &d->screenshot) != ERR_OK) {
		log_warn("SCREENSHOT-FAILED", "why=%s", log_quote(err_text()));
		close(d->screenshot_fd);
		return;
	}
	d->screenshot_busy = true;
}

void screenshot_drop(struct display *d)
{
	close(d->screenshot_fd);
	d->screenshot_fd = -1;
	frame_memory_free(&d->screenshot);
	d->screenshot_busy = false;
}

void screenshot_send(struct display *d, uint64_t ticket, bool drawn)
{
	if (!d->screenshot_busy)
		return;
	if (drawn &&
		decoder_write_png(&d->decoder, ticket, d->screenshot_fd, &d->screenshot) == ERR_OK)
		return;
	log_warn("SCREENSHOT-FAILED", "why=%s", log_quote(err_text()));
	screenshot_drop(d);
}

void screenshot_end(struct display *d, const struct decoder_answer *a)
{
	char temporary[610];

	if (!d->screenshot_busy)
		return;
	temporary_name(d, temporary);
	if (a->err != ERR_OK || rename(temporary, d->screenshot_path) < 0) {
		log_warn("SCREENSHOT-FAILED", "why=%s",
			log_quote(a->err != ERR_OK ? a->text : "rename"));
		unlink(temporary);
	} else {
		log_info("SCREENSHOT", "file=%s width=%u height=%u", log_quote(d->screenshot_path),
			d->screenshot.frame.w, d->screenshot.frame.h);
	}
	screenshot_drop(d);
}
