// See recorder.h.
#include "recorder.h"

#include "medium_note.h"
#include "medium_set.h"
#include "medium_shelf.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IMAGE_FRAME (400 * 1024) // what an image is larger than its files

struct recording {
	struct work work;
	struct publisher *p;
	struct recording *next;
	uint64_t order;
	char client[LIMIT_ID + 1], path[PATH_MAX];
	struct digest package;
	bool iso;
	struct buf order_bytes;
	struct medium_set set;
	enum err result;
	char why[LIMIT_TEXT + 1];
	struct digest sha256;
	uint64_t size, about; // about: before it is written
};

static void recording_free(struct recording *r)
{
	buf_fini(&r->order_bytes);
	medium_set_fini(&r->set);
	free(r);
}

static void answer(struct publisher *p, const struct digest *package, const struct recording *r,
	uint64_t order, const char *failed)
{
	char why[LIMIT_TEXT + 1];
	struct medium_outcome o = {.order = order,
		.medium_kind = r && r->iso ? "iso9660" : "folder",
		.path = r && !failed[0] ? r->path : "",
		.failed = why};
	struct publisher_msg m = {.state = PUB_RECORDED, .package = *package, .recorded = &o};

	text_format(why, sizeof(why), "%s", failed);
	if (r && !failed[0]) {
		o.sha256 = r->sha256;
		o.size_bytes = r->size;
	}
	control_tell(p->control, &m);
}

// ---- what was recorded before: a line beside the medium

static const char *kind_of(const struct recording *r)
{
	return r->iso ? ".iso" : "";
}

static bool note_read(struct recording *r)
{
	char path[PATH_MAX];
	struct medium_note n;
	struct stat st;

	if (shelf_path(r->p, r->order, r->iso ? ".iso" MEDIUM_NOTE : MEDIUM_NOTE, path) != ERR_OK ||
		stat(r->path, &st) != 0 || medium_note_read(&n, path) != ERR_OK)
		return false;
	r->sha256 = n.sha256;
	r->size = n.size;
	return true;
}

// ---- the work

// The signed order stays, for a medium of several that somebody makes by hand.
static enum err medium_make(struct recording *r, const char *made)
{
	const struct medium_content *content = &r->set.content;

	TRY(shelf_file_put(r->p, r->order, ".order", r->order_bytes.data, r->order_bytes.size));
	r->size = r->about; // of an image: told exactly below
	TRY(r->iso ? medium_write_iso(content, made, &r->sha256, &r->size)
		   : medium_write_folder(content, made));
	return shelf_place(r->p, r->order, kind_of(r), &r->sha256, r->size);
}

// What nobody is told of does not stay; the order does, for a medium by hand.
static void record_run(struct work *w)
{
	struct recording *r = (struct recording *)w;
	char made[PATH_MAX] = "";

	r->result = shelf_making_path(r->p, r->order, kind_of(r), made);
	if (r->result == ERR_OK)
		r->result = medium_make(r, made);
	if (r->result == ERR_OK)
		return;
	if (!str_copy(r->why, sizeof(r->why), err_text()))
		(void)str_copy(r->why, sizeof(r->why), err_word(r->result));
	if (made[0] && tree_remove(made) != ERR_OK) // the next start tries again
		log_warn("MEDIUM-REST-KEPT", "path=%s why=%s", log_quote(made),
			log_quote(err_text()));
}

static void recording_end(struct recording *r)
{
	for (struct recording **at = &r->p->recordings; *at; at = &(*at)->next)
		if (*at == r) {
			*at = r->next;
			break;
		}
	recording_free(r);
}

static void record_done(struct work *w)
{
	struct recording *r = (struct recording *)w;

	if (!w->cancelled && !r->p->stopping) {
		if (r->result == ERR_OK) {
			shelf_add(r->p->shelf, r->order, r->size);
			log_info("MEDIUM-RECORDED",
				"order=%" PRIu64 " client=%s package=%s path=%s bytes=%" PRIu64,
				r->order, r->client, digest_short(&r->package), log_quote(r->path),
				r->size);
		} else
			log_warn("MEDIUM-FAILED", "order=%" PRIu64 " client=%s word=%s why=%s",
				r->order, r->client, err_word(r->result), log_quote(r->why));
		answer(r->p, &r->package, r, r->order, r->result == ERR_OK ? "" : r->why);
	}
	recording_end(r);
}

// Of media that are being written, and are not on the shelf yet.
static uint64_t under_way(const struct publisher *p)
{
	uint64_t sum = 0;

	for (const struct recording *r = p->recordings; r; r = r->next)
		sum += r->about;
	return sum;
}

// Whose it is and where it lies; *known: it is recorded.
static enum err recording_name(struct recording *r, const struct medium_order *order, bool *known)
{
	const struct medium *m = &order->says;

	r->order = m->order;
	r->package = m->package->package;
	(void)str_copy(r->client, sizeof(r->client), m->client_id);
	TRY(shelf_path(r->p, r->order, kind_of(r), r->path));
	TRY(buf_append(&r->order_bytes, order->envelope.data, order->envelope.size));
	*known = note_read(r);
	return ERR_OK;
}

static enum err recording_fill(struct recording *r, const struct directive *d, bool *known)
{
	SCOPED_ARENA struct arena a;
	struct medium_order order;

	arena_init(&a, 64 * 1024, 1024);
	TRY(medium_order_open(r->p, d->medium, &a, &order));
	TRY(recording_name(r, &order, known));
	if (*known)
		return ERR_OK;
	TRY(shelf_ready(r->p->shelf));
	TRY(medium_set_add(&r->set, &order, d->held, d->held_count));
	TRY(medium_set_finish(&r->set));
	r->about = medium_set_bytes(&r->set) + (r->iso ? IMAGE_FRAME : 0);
	return shelf_room(r->p->shelf, r->about + under_way(r->p));
}

static bool is_running(const struct publisher *p, uint64_t order)
{
	for (const struct recording *r = p->recordings; r; r = r->next)
		if (r->order == order)
			return true;
	return false;
}

static struct recording *recording_new(struct publisher *p)
{
	struct recording *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->p = p;
	r->iso = strcmp(p->settings->medium_kind, "iso9660") == 0;
	r->work = (struct work){.class = WORK_BUILD, .run = record_run, .done = record_done};
	buf_init(&r->order_bytes, LIMIT_MEDIUM_ENVELOPE);
	medium_set_init(&r->set, p);
	return r;
}

static enum err recording_begin(struct recording *r)
{
	struct publisher *p = r->p;

	TRY(work_add(&p->work, &r->work));
	r->next = p->recordings;
	p->recordings = r;
	return ERR_OK;
}

void recorder_directive(struct publisher *p, const struct directive *d)
{
	struct recording *r = recording_new(p);
	bool known = false;

	if (!r)
		return;
	enum err e = recording_fill(r, d, &known);
	bool running = e == ERR_OK && is_running(p, r->order);
	if (e == ERR_OK && !known && !running) {
		e = recording_begin(r);
		if (e == ERR_OK)
			return;
	}
	if (e != ERR_OK)
		log_warn("MEDIUM-REFUSED", "word=%s why=%s", err_word(e), log_quote(err_text()));
	if (r->order && !running)
		answer(p, &r->package, r, r->order, e == ERR_OK ? "" : err_text());
	recording_free(r);
}

void recorder_say(struct publisher *p, struct bytes envelope)
{
	SCOPED_ARENA struct arena a;
	struct medium_order order;
	struct recording *r = recording_new(p);
	bool known = false;

	if (!r)
		return;
	arena_init(&a, 64 * 1024, 1024);
	if (medium_order_open(p, envelope, &a, &order) != ERR_OK ||
		recording_name(r, &order, &known) != ERR_OK)
		log_warn("MEDIUM-UNTOLD", "why=%s", log_quote(err_text()));
	else if (known)
		answer(p, &r->package, r, r->order, "");
	recording_free(r);
}
