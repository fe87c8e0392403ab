// The verbs of SOCKET.md: a table, and what several of them need.
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/topics.h"
#include "publisher.h"
#include <stdlib.h>
#include <string.h>

// ---- arguments

enum err call_digest(struct call *c, const char *key, struct digest *out)
{
	const char *text = call_string(c, key);

	if (!text || strlen(text) != 64 || hex_decode(text, out->b, sizeof out->b) != ERR_OK)
		return err_set(ERR_FORMAT, "%s is 64 hex digits", key);
	return ERR_OK;
}

// Bytes of one UTF-8 character, 0 when it is none, or a control character.
static size_t character_size(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		uint32_t least;
	} forms[] = {
		{0x80, 0x00, ' '}, {0xe0, 0xc0, 0xa0}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	for (size_t n = 0; n < 4; n++) {
		if ((s[0] & forms[n].mask) != forms[n].lead)
			continue;
		uint32_t c = s[0] & (unsigned char)~forms[n].mask;
		for (size_t i = 1; i <= n; i++) {
			if ((s[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[i] & 0x3f);
		}
		bool good = c >= forms[n].least && c != 0x7f && c <= 0x10ffff &&
			    (c < 0xd800 || c > 0xdfff);
		return good ? n + 1 : 0;
	}
	return 0;
}

// A word, a text, or a typed tag NAME=VALUE as criteria.h reads them.
static bool tag_is_good(const char *tag)
{
	size_t at = 0, n = strlen(tag);

	if (n == 0 || n > LIMIT_ID || tag[0] == ' ' || tag[n - 1] == ' ' || strchr(tag, '"'))
		return false;
	while (tag[at]) {
		size_t c = character_size((const unsigned char *)tag + at);
		if (c == 0)
			return false;
		at += c;
	}
	return true;
}

enum err call_tags(
	struct call *c, const char *key, char tags[LIMIT_TAGS][LIMIT_ID + 1], size_t *count)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(call_json(c), key);
	const cJSON *item = NULL;

	*count = 0;
	cJSON_ArrayForEach(item, list)
	{
		const char *tag = cJSON_GetStringValue(item);
		if (!tag || !tag_is_good(tag) || *count == LIMIT_TAGS)
			return err_set(ERR_FORMAT,
				"%s: a tag is a text of 1..%d bytes without quotes and control "
				"characters; at most %d of them",
				key, LIMIT_ID, LIMIT_TAGS);
		(void)str_copy(tags[(*count)++], LIMIT_ID + 1, tag);
	}
	return ERR_OK;
}

enum err call_line(struct call *c, const char *key, size_t max, const char **out)
{
	const char *text = call_string(c, key);
	size_t at = 0;

	*out = text ? text : "";
	while ((*out)[at]) {
		size_t n = character_size((const unsigned char *)*out + at);
		if (n == 0)
			return err_set(ERR_FORMAT, "%s has a character that is no text", key);
		at += n;
	}
	return at <= max ? ERR_OK : err_set(ERR_RANGE, "%s has more than %zu bytes", key, max);
}

void publisher_refuse(struct publisher *p, struct call *call, enum err e)
{
	store_judge(&p->store, e);
	call_refuse_err(call, e);
}

// ---- status

static enum err store_bytes(struct store *s, uint64_t *bytes)
{
	struct db_rows rows;

	TRY(db_query_values(s->db, &rows,
		"SELECT coalesce((SELECT sum(size_bytes) FROM object), 0) +"
		" coalesce((SELECT sum(size_bytes) FROM image), 0), (SELECT count(*) FROM package)",
		NULL, 0));
	bytes[0] = db_next(&rows) ? (uint64_t)db_int(&rows, 0) : 0;
	bytes[1] = (uint64_t)db_int(&rows, 1);
	return db_end(&rows);
}

static void status_control(struct publisher *p, cJSON *body)
{
	struct control_status s;
	cJSON *c = cJSON_AddObjectToObject(body, "control");

	control_get_status(p->control, &s);
	cJSON_AddBoolToObject(c, "up", s.up);
	cJSON_AddStringToObject(c, "peer", s.peer);
	cJSON_AddBoolToObject(c, "in_session", s.in_session);
	cJSON_AddNumberToObject(c, "session", (double)s.session_id);
	cJSON_AddNumberToObject(c, "waiting", (double)s.waiting);
}

static void status_stations(struct publisher *p, cJSON *body)
{
	struct station_status all[STATIONS_MAX];
	size_t n = transmit_stations(p->transmit, all);
	cJSON *list = cJSON_AddArrayToObject(body, "stations");

	for (size_t i = 0; i < n; i++) {
		cJSON *s = cJSON_CreateObject();
		cJSON_AddStringToObject(s, "broker", all[i].broker);
		cJSON_AddBoolToObject(s, "up", all[i].up);
		cJSON_AddStringToObject(s, "job",
			all[i].job == JOB_TRANSMIT   ? "transmit"
			: all[i].job == JOB_WITHDRAW ? "withdraw"
			: all[i].job == JOB_COMMAND  ? "command"
						     : "");
		cJSON_AddNumberToObject(s, "jobs", (double)all[i].jobs);
		cJSON_AddNumberToObject(s, "sent_bytes", (double)all[i].sent_bytes);
		cJSON_AddNumberToObject(s, "total_bytes", (double)all[i].total_bytes);
		cJSON_AddItemToArray(list, s);
	}
}

static void verb_status(struct publisher *p, struct call *c)
{
	uint64_t images = 0, sums[2] = {0}, free_bytes = 0;
	enum err e = image_count(&p->store, &images);

	if (e == ERR_OK)
		e = store_bytes(&p->store, sums);
	if (e == ERR_OK)
		e = disk_free(p->store.dir, &free_bytes);
	if (e != ERR_OK) {
		publisher_refuse(p, c, e);
		return;
	}
	cJSON *body = cJSON_CreateObject();
	cJSON_AddStringToObject(body, "publisher", p->config.id);
	cJSON_AddNumberToObject(body, "images", (double)images);
	cJSON_AddNumberToObject(body, "packages", (double)sums[1]);
	cJSON_AddNumberToObject(body, "store_bytes", (double)sums[0]);
	cJSON_AddNumberToObject(body, "free_bytes", (double)free_bytes);
	cJSON_AddStringToObject(body, "store", err_word(p->store.failing));
	cJSON_AddNumberToObject(body, "jobs", (double)work_count(&p->work));
	status_control(p, body);
	status_stations(p, body);
	call_answer(c, body);
}

// ---- table

static const struct {
	const char *name;
	void (*run)(struct publisher *p, struct call *c);
} verbs[] = {
	{"image-add", verb_image_add},
	{"image-list", verb_image_list},
	{"image-remove", verb_image_remove},
	{"image-set", verb_image_set},
	{"image-retire", verb_image_retire},
	{"image-restore", verb_image_restore},
	{"image-gc", verb_image_gc},
	{"image-thumb", verb_image_thumb},
	{"image-why", verb_image_why},
	{"order-list", verb_order_list},
	{"order-preview", verb_order_preview},
	{"package-build", verb_package_build},
	{"package-sign", verb_package_sign},
	{"package-publish", verb_package_publish},
	{"package-withdraw", verb_package_withdraw},
	{"package-remove", verb_package_remove},
	{"package-list", verb_package_list},
	{"package-show", verb_package_show},
	{"command-put", verb_command_put},
	{"media-record", verb_media_record},
	{"status", verb_status},
};

void publisher_serve(void *ctx, struct call *call)
{
	struct publisher *p = ctx;
	const char *name = call_verb(call);

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
		if (strcmp(verbs[i].name, name) == 0) {
			log_debug("REQUEST", "verb=%s", name);
			verbs[i].run(p, call);
			return;
		}
	call_refuse(call, err_word(ERR_UNSUPPORTED), "there is no such verb; see SOCKET.md");
}
