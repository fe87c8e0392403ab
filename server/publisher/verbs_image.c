// image-add, image-list, image-remove.
#include "ingest.h"
#include "orders.h"
#include "proto/base/log.h"
#include "proto/digest.h"
#include "publisher.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *format_word(uint32_t format)
{
	return format == PICTURE_PNG ? "png" : "jpeg";
}

// ---- adding

struct image_work {
	struct work work;
	struct publisher *publisher;
	struct call *call;
	int fd;
	struct image image;
	struct ingested result;
	enum err e;
	char why[400];
};

static enum err image_make(struct image_work *w)
{
	TRY(ingest_run(w->fd, NULL, &w->result));
	if (w->result.word != PICTURE_GOOD)
		return ERR_OK;
	TRY(ingested_hash(&w->result, &w->image.sha256));
	w->image.original = w->result.original;
	w->image.format = (uint32_t)w->result.format;
	w->image.size_bytes = w->result.size;
	w->image.width = w->result.width;
	w->image.height = w->result.height;
	return blob_put_fd(
		&w->publisher->store.images, &w->image.sha256, w->result.fd, w->result.size);
}

static void image_run(struct work *work)
{
	struct image_work *w = (struct image_work *)work;

	w->result.fd = -1;
	w->e = image_make(w);
	if (w->e != ERR_OK)
		snprintf(w->why, sizeof w->why, "%s", err_text());
}

static void image_reply(struct image_work *w, bool duplicate)
{
	cJSON *body = cJSON_CreateObject();

	cJSON_AddStringToObject(body, "image", digest_hex(&w->image.sha256));
	cJSON_AddNumberToObject(body, "width", w->image.width);
	cJSON_AddNumberToObject(body, "height", w->image.height);
	cJSON_AddNumberToObject(body, "size_bytes", (double)w->image.size_bytes);
	cJSON_AddStringToObject(body, "format", format_word(w->image.format));
	cJSON_AddBoolToObject(body, "duplicate", duplicate);
	call_answer(w->call, body);
}

static enum err image_record(struct image_work *w, bool *duplicate)
{
	struct store *s = &w->publisher->store;
	struct image old;

	w->image.added_unix_ms = clock_now().wall.ms;
	enum err e = store_end(s, image_add(s, &w->image, duplicate));
	if (e != ERR_OK) {
		snprintf(w->why, sizeof w->why, "%s", err_text());
		if (image_find(s, &w->image.sha256, &old) == ERR_NOT_FOUND &&
			blob_remove(&s->images, &w->image.sha256) != ERR_OK)
			log_warn("IMAGE-LEFT-BEHIND", "image=%s", digest_short(&w->image.sha256));
		(void)err_set(e, "%s", w->why);
	}
	return e;
}

static void image_done(struct work *work)
{
	struct image_work *w = (struct image_work *)work;
	bool duplicate = false;
	enum err e = w->e;

	if (work->cancelled)
		e = err_set(ERR_CLOSED, "the publisher ends");
	else if (e != ERR_OK)
		(void)err_set(e, "%s", w->why);
	else if (w->result.word == PICTURE_GOOD)
		e = image_record(w, &duplicate);
	if (e != ERR_OK) {
		publisher_refuse(w->publisher, w->call, e);
	} else if (w->result.word != PICTURE_GOOD) {
		log_info("IMAGE-REFUSED", "word=%s why=%s", picture_word(w->result.word),
			log_quote(w->result.text));
		call_refuse(w->call, picture_word(w->result.word), w->result.text);
	} else {
		log_info("IMAGE-ADDED", "image=%s width=%u height=%u duplicate=%s",
			digest_short(&w->image.sha256), w->image.width, w->image.height,
			duplicate ? "yes" : "no");
		orders_images_changed(w->publisher->orders);
		image_reply(w, duplicate);
	}
	if (!work->cancelled)
		ingested_close(&w->result);
	close(w->fd);
	free(w);
}

static enum err image_arguments(struct call *c, struct image *i)
{
	const char *title = NULL, *licence = NULL;

	TRY(call_line(c, "title", 200, &title));
	TRY(call_line(c, call_string(c, "license") ? "license" : "licence", LIMIT_ID, &licence));
	TRY(call_tags(c, "tags", i->tags, &i->tag_count));
	(void)str_copy(i->title, sizeof i->title, title);
	(void)str_copy(i->licence, sizeof i->licence, licence);
	return ERR_OK;
}

void verb_image_add(struct publisher *p, struct call *c)
{
	struct image_work *w = calloc(1, sizeof *w);

	if (!w)
		abort();
	w->publisher = p;
	w->call = c;
	w->work.class = WORK_PICTURE;
	w->work.run = image_run;
	w->work.done = image_done;
	w->fd = call_take_fd(c);
	enum err e = w->fd < 0 ? err_set(ERR_FORMAT, "no file came with the request")
			       : image_arguments(c, &w->image);
	if (e == ERR_OK)
		e = work_add(&p->work, &w->work);
	if (e == ERR_OK)
		return;
	publisher_refuse(p, c, e);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

// ---- listing

static bool image_put(void *ctx, const struct image *i)
{
	cJSON *j = cJSON_CreateObject();

	cJSON_AddStringToObject(j, "image", digest_hex(&i->sha256));
	cJSON_AddStringToObject(j, "original", digest_hex(&i->original));
	cJSON_AddStringToObject(j, "title", i->title);
	cJSON *tags = cJSON_AddArrayToObject(j, "tags");
	for (size_t t = 0; t < i->tag_count; t++)
		cJSON_AddItemToArray(tags, cJSON_CreateString(i->tags[t]));
	cJSON_AddStringToObject(j, "format", format_word(i->format));
	cJSON_AddNumberToObject(j, "size_bytes", (double)i->size_bytes);
	cJSON_AddNumberToObject(j, "width", i->width);
	cJSON_AddNumberToObject(j, "height", i->height);
	cJSON_AddStringToObject(j, "licence", i->licence);
	cJSON_AddNumberToObject(j, "added_unix_ms", (double)i->added_unix_ms);
	lister_add(ctx, j);
	return true;
}

void verb_image_list(struct publisher *p, struct call *c)
{
	const char *tag = call_string(c, "tag");
	struct lister l;

	lister_init(&l, c, "images");
	enum err e = image_list(&p->store, &tag, tag && tag[0] ? 1 : 0, image_put, &l);
	if (e == ERR_OK) {
		lister_end(&l, NULL);
		return;
	}
	buf_fini(&l.items);
	publisher_refuse(p, c, e);
}

// ---- removing

void verb_image_remove(struct publisher *p, struct call *c)
{
	struct digest image;
	enum err e = call_digest(c, "image", &image);

	if (e == ERR_OK)
		e = store_end(&p->store, image_remove(&p->store, &image));
	if (e != ERR_OK) {
		publisher_refuse(p, c, e);
		return;
	}
	orders_images_changed(p->orders);
	cJSON *body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "image", digest_hex(&image));
	call_answer(c, body);
}
