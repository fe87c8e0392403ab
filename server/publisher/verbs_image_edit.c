// image-set, image-retire, image-restore, image-gc, image-thumb: what becomes of pictures that are
// in the store.
#include "ingest.h"
#include "orders.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "publisher.h"
#include "variant_gc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRACE_MAX_S (UINT64_C(10) * 365 * 24 * 3600)
#define THUMB_MIN 16
#define THUMB_MAX 1024
#define THUMB_SIDE 256

// ---- editing

static void tag_remove(struct image *i, const char *tag)
{
	for (size_t t = 0; t < i->tag_count; t++) {
		if (strcmp(i->tags[t], tag) != 0)
			continue;
		i->tag_count--;
		memmove(i->tags[t], i->tags[t + 1], (i->tag_count - t) * sizeof i->tags[0]);
		return;
	}
}

static enum err tags_edit(struct call *c, struct image *i)
{
	char more[LIMIT_TAGS][LIMIT_ID + 1];
	size_t count = 0;

	if (cJSON_HasObjectItem(call_json(c), "tags"))
		TRY(call_tags(c, "tags", i->tags, &i->tag_count));
	TRY(call_tags(c, "remove_tags", more, &count));
	for (size_t t = 0; t < count; t++)
		tag_remove(i, more[t]);
	TRY(call_tags(c, "add_tags", more, &count));
	for (size_t t = 0; t < count; t++) {
		tag_remove(i, more[t]);
		if (i->tag_count == LIMIT_TAGS)
			return err_set(ERR_FULL, "a picture has at most %d tags", LIMIT_TAGS);
		memcpy(i->tags[i->tag_count++], more[t], sizeof more[t]);
	}
	return ERR_OK;
}

// Edits the row with edit(); answers with the image as it is then.
static void image_edit(
	struct publisher *p, struct call *c, enum err (*edit)(struct call *c, struct image *i))
{
	struct digest image;
	struct image i;
	enum err e = call_digest(c, "image", &image);

	if (e == ERR_OK)
		e = image_find(&p->store, &image, &i);
	if (e == ERR_OK)
		e = edit(c, &i);
	if (e == ERR_OK)
		e = store_end(&p->store, image_update(&p->store, &i));
	if (e == ERR_OK)
		e = image_find(&p->store, &image, &i);
	if (e != ERR_OK) {
		publisher_refuse(p, c, e);
		return;
	}
	orders_images_changed(p->orders);
	call_answer(c, image_json(&i));
}

static enum err set(struct call *c, struct image *i)
{
	TRY(image_details(c, i));
	return tags_edit(c, i);
}

void verb_image_set(struct publisher *p, struct call *c)
{
	image_edit(p, c, set);
}

static enum err retire(struct call *c, struct image *i)
{
	(void)c;
	if (i->retired_unix_ms == 0)
		i->retired_unix_ms = clock_now().wall.ms;
	return ERR_OK;
}

void verb_image_retire(struct publisher *p, struct call *c)
{
	image_edit(p, c, retire);
}

static enum err restore(struct call *c, struct image *i)
{
	(void)c;
	i->retired_unix_ms = 0;
	return ERR_OK;
}

void verb_image_restore(struct publisher *p, struct call *c)
{
	image_edit(p, c, restore);
}

// ---- collecting

static void gc_put(void *ctx, const struct image *i, const char *kept)
{
	cJSON *j = image_json(i);

	cJSON_AddStringToObject(j, "kept", kept);
	lister_add(ctx, j);
}

// What runs on the pool may just be reading an image, or writing one that is collected here.
static enum err gc_check(const struct publisher *p)
{
	if (p->work.running[WORK_BUILD] > 0 || p->work.running[WORK_PICTURE] > 0)
		return err_set(ERR_NOT_NOW,
			"pictures are being read or packed; try again when that is done");
	return ERR_OK;
}

void verb_image_gc(struct publisher *p, struct call *c)
{
	struct lister l;
	struct image_gc gc = {.each = gc_put,
		.ctx = &l,
		.dry = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(call_json(c), "dry_run"))};
	uint64_t grace_s = 0;
	enum err e = gc_check(p);

	lister_init(&l, c, "images");
	if (e == ERR_OK && !call_number(c, "grace_s", 0, GRACE_MAX_S, &grace_s))
		e = err_set(ERR_RANGE, "grace_s is a number of seconds");
	gc.before.ms = clock_now().wall.ms - (int64_t)grace_s * 1000;
	if (e == ERR_OK)
		e = image_collect(&p->store, &gc);
	struct variant_gc sizes = {.dry = gc.dry};
	if (e == ERR_OK)
		e = variants_unused_collect(p, &sizes);
	if (e != ERR_OK) {
		buf_fini(&l.items);
		publisher_refuse(p, c, e);
		return;
	}
	if (gc.removed + sizes.removed > 0 && !gc.dry)
		orders_images_changed(p->orders);
	log_info("IMAGES-COLLECTED", "images=%llu bytes=%llu sizes=%llu size_bytes=%llu dry_run=%s",
		(unsigned long long)gc.removed, (unsigned long long)gc.bytes,
		(unsigned long long)sizes.removed, (unsigned long long)sizes.bytes,
		gc.dry ? "yes" : "no");
	cJSON *body = cJSON_CreateObject();
	cJSON_AddNumberToObject(body, "removed", (double)gc.removed);
	cJSON_AddNumberToObject(body, "bytes", (double)gc.bytes);
	cJSON_AddNumberToObject(body, "sizes_removed", (double)sizes.removed);
	cJSON_AddNumberToObject(body, "sizes_bytes", (double)sizes.bytes);
	cJSON_AddBoolToObject(body, "dry_run", gc.dry);
	lister_end(&l, body);
}

// ---- thumbnails

struct thumb_work {
	struct work work;
	struct publisher *publisher;
	struct call *call;
	int from, to;
	struct ingest_limits limits;
	struct ingested result;
	enum err e;
	char why[LIMIT_TEXT + 1];
};

static enum err thumb_make(struct thumb_work *w)
{
	SCOPED_FREE uint8_t *bytes = NULL;

	TRY(ingest_run(w->from, &w->limits, &w->result));
	if (w->result.word != PICTURE_GOOD)
		return err_set(ERR_CORRUPT, "%s", w->result.text);
	bytes = malloc(w->result.size);
	if (!bytes)
		return err_set(ERR_MEMORY, "no memory for a thumbnail");
	TRY(fd_pread_all(w->result.fd, bytes, w->result.size, 0));
	return fd_pwrite_all(w->to, bytes, w->result.size, 0);
}

static void thumb_run(struct work *work)
{
	struct thumb_work *w = (struct thumb_work *)work;

	w->result.fd = -1;
	w->e = thumb_make(w);
	if (w->e != ERR_OK)
		text_format(w->why, sizeof w->why, "%s", err_text());
}

static void thumb_free(struct thumb_work *w)
{
	if (w->from >= 0)
		close(w->from);
	if (w->to >= 0)
		close(w->to);
	ingested_close(&w->result);
	free(w);
}

static void thumb_done(struct work *work)
{
	struct thumb_work *w = (struct thumb_work *)work;

	if (work->cancelled || w->e != ERR_OK) {
		publisher_refuse(w->publisher, w->call,
			work->cancelled ? err_set(ERR_CLOSED, "the publisher ends")
					: err_set(w->e, "%s", w->why));
	} else {
		cJSON *body = cJSON_CreateObject();
		cJSON_AddNumberToObject(body, "width", w->result.width);
		cJSON_AddNumberToObject(body, "height", w->result.height);
		cJSON_AddNumberToObject(body, "size_bytes", (double)w->result.size);
		cJSON_AddStringToObject(
			body, "format", w->result.format == PICTURE_PNG ? "png" : "jpeg");
		call_answer(w->call, body);
	}
	thumb_free(w);
}

// Into a file of the caller, who could otherwise hold up a thread by not reading.
static enum err thumb_prepare(struct thumb_work *w)
{
	struct digest image;
	struct image i;
	struct stat st;
	uint64_t side = 0;

	TRY(call_digest(w->call, "image", &image));
	TRY(image_find(&w->publisher->store, &image, &i));
	if (!call_number(w->call, "side", THUMB_SIDE, THUMB_MAX, &side) || side < THUMB_MIN)
		return err_set(ERR_RANGE, "side is %d..%d", THUMB_MIN, THUMB_MAX);
	if (w->to < 0 || fstat(w->to, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(ERR_FORMAT, "no file to write to came with the request");
	if (!variant_size(i.width, i.height, (uint32_t)side, (uint32_t)side, "fit",
		    &w->limits.width, &w->limits.height)) {
		w->limits.width = i.width;
		w->limits.height = i.height;
	}
	return blob_open(&w->publisher->store.images, &image, &w->from);
}

void verb_image_thumb(struct publisher *p, struct call *c)
{
	struct thumb_work *w = calloc(1, sizeof *w);

	if (!w)
		abort();
	w->publisher = p;
	w->call = c;
	w->from = -1;
	w->result.fd = -1;
	w->to = call_take_fd(c);
	w->work.class = WORK_PICTURE;
	w->work.run = thumb_run;
	w->work.done = thumb_done;
	enum err e = thumb_prepare(w);
	if (e == ERR_OK)
		e = work_add(&p->work, &w->work);
	if (e == ERR_OK)
		return;
	publisher_refuse(p, c, e);
	thumb_free(w);
}
