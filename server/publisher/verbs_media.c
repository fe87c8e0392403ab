// media-record: orders that were recorded before, of one client or of several, onto one medium: an
// image into the file that the caller opened, or a stream for a stick that only the caller may
// write to.
#include "medium_set.h"
#include "medium_shelf.h"
#include "proto/base/file.h"
#include "proto/base/text.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct media_work {
	struct work work;
	struct publisher *publisher;
	struct call *call;
	struct medium_set set;
	bool iso;
	int fd;
	enum err e;
	char why[256];
	struct digest sha256;
	uint64_t size;
};

static void media_run(struct work *w)
{
	struct media_work *m = (struct media_work *)w;

	m->e = m->iso ? medium_write_image(&m->set.content, m->fd, &m->sha256, &m->size)
		      : medium_write_stream(&m->set.content, m->fd, MEDIUM_PATIENCE_MS, &m->size);
	if (m->e != ERR_OK)
		text_format(m->why, sizeof(m->why), "%s", err_text());
}

static void media_free(struct media_work *m)
{
	medium_set_fini(&m->set);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

static void media_done(struct work *w)
{
	struct media_work *m = (struct media_work *)w;

	if (w->cancelled) {
		call_drop(m->call);
	} else if (m->e != ERR_OK) {
		call_refuse(m->call, err_word(m->e), m->why);
	} else {
		cJSON *body = cJSON_CreateObject();
		cJSON_AddNumberToObject(body, "orders", (double)m->set.part_count);
		cJSON_AddNumberToObject(body, "files", (double)m->set.count);
		cJSON_AddNumberToObject(body, "size_bytes", (double)m->size);
		cJSON_AddStringToObject(body, "sha256", m->iso ? digest_hex(&m->sha256) : "");
		call_answer(m->call, body);
	}
	media_free(m);
}

static enum err order_add(struct media_work *m, const char *text)
{
	char path[PATH_MAX], *end = NULL;
	SCOPED_ARENA struct arena a;
	SCOPED_BUF struct buf envelope;
	struct medium_order order;
	uint64_t number = text ? strtoull(text, &end, 10) : 0;

	arena_init(&a, 64 * 1024, 1024);
	buf_init(&envelope, LIMIT_MEDIUM_ENVELOPE);
	if (!text || !number || *end)
		return err_set(ERR_FORMAT, "orders: a list of numbers");
	TRY(shelf_path(m->publisher, number, ".order", path));
	if (file_read(path, &envelope) != ERR_OK)
		return err_set(ERR_NOT_FOUND, "medium %s was not recorded here", text);
	TRY(medium_order_open(m->publisher, buf_bytes(&envelope), &a, &order));
	return medium_set_add(&m->set, &order, NULL, 0);
}

static enum err media_begin(struct media_work *m)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(call_json(m->call), "orders");
	const cJSON *item = NULL;
	const char *kind = call_string(m->call, "kind");

	m->iso = kind && strcmp(kind, "iso9660") == 0;
	if (!m->iso && (!kind || strcmp(kind, "stream") != 0))
		return err_set(ERR_FORMAT, "kind is iso9660 or stream");
	m->fd = call_take_fd(m->call);
	if (m->fd < 0)
		return err_set(ERR_FORMAT, "a descriptor to write to goes along");
	cJSON_ArrayForEach(item, list) TRY(order_add(m, cJSON_GetStringValue(item)));
	if (m->set.part_count == 0)
		return err_set(ERR_FORMAT, "orders: which");
	TRY(medium_set_finish(&m->set));
	return work_add(&m->publisher->work, &m->work);
}

void verb_media_record(struct publisher *p, struct call *c)
{
	struct media_work *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->publisher = p;
	m->call = c;
	m->fd = -1;
	m->work = (struct work){.class = WORK_BUILD, .run = media_run, .done = media_done};
	medium_set_init(&m->set, p);
	enum err e = media_begin(m);
	if (e == ERR_OK)
		return;
	publisher_refuse(p, c, e);
	media_free(m);
}
