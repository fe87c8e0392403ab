// image-add, image-list, image-remove.
#include "catalog.h"
#include "ingest.h"
#include "orders.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/digest.h"
#include "publisher.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIME_MAX (UINT64_C(1) << 52) // JSON keeps whole numbers up to here

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
		text_format(w->why, sizeof w->why, "%s", err_text());
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
		text_format(w->why, sizeof w->why, "%s", err_text());
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

enum err image_details(struct call *c, struct image *i)
{
	const char *licence_key = call_string(c, "license") ? "license" : "licence";
	const char *text = NULL;
	uint64_t weight = 0, released = 0, expires = 0;

	TRY(call_line(c, "title", 200, &text));
	if (call_string(c, "title"))
		(void)str_copy(i->title, sizeof i->title, text);
	TRY(call_line(c, licence_key, LIMIT_ID, &text));
	if (call_string(c, licence_key))
		(void)str_copy(i->licence, sizeof i->licence, text);
	if (!call_number(c, "weight", i->weight, LIMIT_WEIGHT, &weight) ||
		!call_number(c, "released_unix_ms", (uint64_t)i->released_unix_ms, TIME_MAX,
			&released) ||
		!call_number(
			c, "expires_unix_ms", (uint64_t)i->expires_unix_ms, TIME_MAX, &expires))
		return err_set(ERR_RANGE,
			"weight is 0..%d; released_unix_ms and expires_unix_ms are times",
			LIMIT_WEIGHT);
	if (expires != 0 && expires <= released)
		return err_set(ERR_RANGE, "the picture would expire before it is released");
	i->weight = (uint32_t)weight;
	i->released_unix_ms = (int64_t)released;
	i->expires_unix_ms = (int64_t)expires;
	return ERR_OK;
}

// A file that became an image before: its tags grow, nothing is decoded. Whoever was cut in the
// middle of a large import begins again with this.
static enum err image_known(struct publisher *p, struct call *c, struct image *i)
{
	struct store *s = &p->store;
	struct image_work w = {.call = c};
	struct digest image;
	bool duplicate = false;

	TRY(call_digest(c, "original", &i->original));
	TRY(image_of_original(s, &i->original, &image));
	TRY(image_find(s, &image, &w.image));
	struct image row = w.image;
	row.original = i->original;
	row.tag_count = i->tag_count;
	memcpy(row.tags, i->tags, sizeof row.tags);
	bool gains = row.retired_unix_ms != 0;
	for (size_t t = 0; t < i->tag_count; t++) {
		bool has = false;
		for (size_t k = 0; k < w.image.tag_count; k++)
			has |= strcmp(w.image.tags[k], i->tags[t]) == 0;
		gains |= !has;
	}
	if (gains) {
		TRY(store_end(s, image_add(s, &row, &duplicate)));
		orders_images_changed(p->orders);
	}
	image_reply(&w, true);
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
	enum err e = image_details(c, &w->image);
	if (e == ERR_OK)
		e = call_tags(c, "tags", w->image.tags, &w->image.tag_count);
	if (e == ERR_OK && w->fd < 0) {
		e = call_string(c, "original")
			    ? image_known(p, c, &w->image)
			    : err_set(ERR_FORMAT, "no file came with the request");
		if (e == ERR_OK) {
			free(w);
			return;
		}
	} else if (e == ERR_OK) {
		e = work_add(&p->work, &w->work);
		if (e == ERR_OK)
			return;
	}
	publisher_refuse(p, c, e);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

// ---- listing

static const char *orientation_word(const struct image *i)
{
	return i->width == i->height ? "square" : i->width > i->height ? "landscape" : "portrait";
}

cJSON *image_json(const struct image *i)
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
	cJSON_AddStringToObject(j, "orientation", orientation_word(i));
	cJSON_AddStringToObject(j, "licence", i->licence);
	cJSON_AddNumberToObject(j, "weight", i->weight);
	cJSON_AddNumberToObject(j, "added_unix_ms", (double)i->added_unix_ms);
	cJSON_AddNumberToObject(j, "released_unix_ms", (double)i->released_unix_ms);
	cJSON_AddNumberToObject(j, "expires_unix_ms", (double)i->expires_unix_ms);
	cJSON_AddNumberToObject(j, "retired_unix_ms", (double)i->retired_unix_ms);
	return j;
}

struct image_listing {
	struct lister list;
	struct criteria criteria;
	bool by_criteria, retired;
};

static bool image_is_wanted(const struct image_listing *l, const struct image *i)
{
	const char *tags[LIMIT_TAGS];

	if (!l->by_criteria)
		return true;
	for (size_t t = 0; t < i->tag_count; t++)
		tags[t] = i->tags[t];
	const struct criteria_picture p = image_facts(i, tags);

	return criteria_match(&l->criteria, &p, NULL);
}

static bool image_put(void *ctx, const struct image *i)
{
	struct image_listing *l = ctx;

	if ((i->retired_unix_ms != 0) == l->retired && image_is_wanted(l, i))
		lister_add(&l->list, image_json(i));
	return true;
}

void verb_image_list(struct publisher *p, struct call *c)
{
	const char *tag = call_string(c, "tag"), *where = call_string(c, "where");
	struct image_listing *l = calloc(1, sizeof *l);
	enum err e = ERR_OK;

	if (!l)
		abort();
	lister_init(&l->list, c, "images");
	l->by_criteria = where != NULL;
	l->retired = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(call_json(c), "retired"));
	if (where)
		e = criteria_parse(where, &l->criteria);
	if (e == ERR_OK)
		e = image_list(&p->store, &tag, tag && tag[0] ? 1 : 0, image_put, l);
	if (e == ERR_OK) {
		lister_end(&l->list, NULL);
	} else {
		buf_fini(&l->list.items);
		publisher_refuse(p, c, e);
	}
	free(l);
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
