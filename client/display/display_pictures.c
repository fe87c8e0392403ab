// From a file to a texture: the decoder works, the show hears of it.
#include "client/display/display_parts.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct display_picture *row_find(struct display *d, uint64_t ticket)
{
	for (size_t i = 0; i < DISPLAY_PICTURES; i++) {
		if (d->pictures[i].ticket == ticket)
			return &d->pictures[i];
	}
	return NULL;
}

static void row_free(struct display_picture *r)
{
	frame_memory_free(&r->frame);
	*r = (struct display_picture){.frame = {.fd = -1}};
}

// A row in decoding stays until its answer, even when nobody wants it any more.
void pictures_keep(struct display *d, const uint64_t *tickets, size_t count)
{
	for (size_t i = 0; i < DISPLAY_PICTURES; i++) {
		struct display_picture *r = &d->pictures[i];
		bool wanted = r->frame.fd >= 0;

		for (size_t k = 0; k < count; k++)
			wanted = wanted || tickets[k] == r->ticket;
		if (!wanted && r->ticket != 0)
			row_free(r);
	}
}

// Opens without following a link and without waiting for a pipe's other end.
static enum err decode_begin(struct display *d, struct display_picture *r)
{
	SCOPED_FD int fd = open(r->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return err_set_errno("cannot open the picture");
	frame_memory_free(&r->frame);
	TRY(frame_memory_new(d->w, d->h, &r->frame));
	return decoder_decode(&d->decoder, r->ticket, fd, &r->frame, &r->wish);
}

static enum err row_make(
	struct display *d, const struct show_picture *wanted, struct display_picture *r)
{
	int n = snprintf(r->file, sizeof(r->file), "%s/%s", d->list->dir, wanted->path);

	if (n < 0 || (size_t)n >= sizeof(r->file))
		return err_set(ERR_RANGE, "the path of the picture is too long");
	r->ticket = wanted->ticket;
	r->wish = (struct picture_wish){
		.fit = d->list->images[wanted->index].fit,
		.background_rgb = d->list->background_rgb,
		.memory_bytes = DECODE_MEMORY_BYTES / 4 * 3,
	};
	return decode_begin(d, r);
}

static void picture_failed(struct display *d, uint64_t ticket, struct now now)
{
	bool known = show_loaded(&d->show, ticket, false, now.mono);

	(void)known;
	missed_record(d, now);
}

bool picture_begin(struct display *d, const struct show_picture *wanted, struct now now)
{
	struct display_picture *r = row_find(d, 0);
	enum err e = r ? row_make(d, wanted, r) : err_set(ERR_FULL, "too many pictures at a time");

	if (e == ERR_OK)
		return true;
	if (r)
		row_free(r);
	fault_add(d, now, "PICTURE-UNREADABLE", wanted->path, err_text());
	picture_failed(d, wanted->ticket, now);
	return false;
}

static const char *name_of(const struct display_picture *r)
{
	const char *slash = strrchr(r->file, '/');

	return slash ? slash + 1 : r->file;
}

void picture_take(struct display *d, const struct decoder_answer *a, struct now now)
{
	struct display_picture *r = row_find(d, a->ticket);

	if (!r)
		return;
	bool is_current = r->frame.frame.w == d->w && r->frame.frame.h == d->h;
	bool ok = a->err == ERR_OK;
	const char *why = a->text;

	if (ok && screen_put(d->screen, r->ticket, r->frame.frame) != ERR_OK) {
		ok = false;
		why = err_text();
	}
	if (ok)
		log_debug("DECODED", "image=%s width=%u height=%u ms=%u", name_of(r), a->facts.w,
			a->facts.h, a->took_ms);
	else
		fault_add(d, now, "PICTURE-UNREADABLE", name_of(r), why);
	frame_memory_free(&r->frame);
	if (!show_loaded(&d->show, a->ticket, ok, now.mono) && ok &&
		a->ticket == d->show.front.ticket)
		d->redraw = true;
	missed_record(d, now);
	// The screen changed its size meanwhile.
	if (ok && !is_current)
		pictures_again(d);
}

void pictures_again(struct display *d)
{
	for (size_t i = 0; i < DISPLAY_PICTURES; i++) {
		struct display_picture *r = &d->pictures[i];

		if (r->ticket == 0 || r->frame.fd >= 0)
			continue;
		// A failure keeps the texture of the old size: drawn larger or smaller, but there.
		if (decode_begin(d, r) != ERR_OK) {
			log_debug("PICTURE-AGAIN", "image=%s why=%s", name_of(r),
				log_quote(err_text()));
			frame_memory_free(&r->frame);
		}
	}
}

void pictures_resume(struct display *d, struct now now)
{
	for (size_t i = 0; i < DISPLAY_PICTURES; i++) {
		struct display_picture *r = &d->pictures[i];

		if (r->ticket == 0 || r->frame.fd < 0)
			continue;
		if (decode_begin(d, r) == ERR_OK)
			continue;
		fault_add(d, now, "PICTURE-UNREADABLE", name_of(r), err_text());
		frame_memory_free(&r->frame);
		picture_failed(d, r->ticket, now);
	}
	if (d->screenshot_busy)
		screenshot_drop(d);
}
