// image list|set|retire|restore|gc|thumb|why|remove: the pictures of the publisher's store; package
// orders: what it makes of them for the server.
#include "server/ctl/api.h"
#include "server/ctl/image_args.h"
#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WHY_TRIES 15
#define WHY_NAP_MS 200

// ---- list, remove

// The end of a command that asks once: --json prints the answer as it came, else `show` says it.
static enum exit_code answer_show(struct ctl *c, enum err e, const cJSON *answer,
	void (*show)(const struct ctl *c, const cJSON *answer))
{
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	else
		show(c, answer);
	return EXIT_DONE;
}

static void images_show(const struct ctl *c, const cJSON *answer)
{
	static const struct table_column columns[] = {{"IMAGE", false, false, false},
		{"SIZE", true, false, false}, {"WIDTH", true, false, false},
		{"HEIGHT", true, false, false}, {"TITLE", false, true, false},
		{"TAGS", false, true, true}, {"LICENCE", false, true, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one, *tag;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(answer, "images"))
	{
		char tags[256] = "";

		cJSON_ArrayForEach(tag, cJSON_GetObjectItem(one, "tags"))
		{
			if (cJSON_IsString(tag))
				text_join(tags, sizeof(tags), "%s", tag->valuestring);
		}
		table_add_style(t, show_digest(one, "image"), STYLE_BOLD);
		table_add(t, amount_text(json_u64(one, "size_bytes")));
		table_addf(t, "%.0f", json_number(one, "width"));
		table_addf(t, "%.0f", json_number(one, "height"));
		table_add(t, json_text(one, "title"));
		table_add(t, tags);
		table_add(t, json_text(one, "licence"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_image_list(struct ctl *c, const struct args *a)
{
	cJSON *request = cJSON_CreateObject();
	SCOPED_JSON cJSON *answer = NULL;

	if (args_has(a, "tag"))
		cJSON_AddStringToObject(request, "tag", args_get(a, "tag", ""));
	if (args_has(a, "where"))
		cJSON_AddStringToObject(request, "where", args_get(a, "where", ""));
	cJSON_AddBoolToObject(request, "retired", args_has(a, "retired"));
	enum err e = publisher_simple(c, "image-list", request, &answer);
	return answer_show(c, e, answer, images_show);
}

// ---- one picture

// The image that a word names, also among those that are retired.
static enum err image_resolve(struct publisher *p, const char *text, char image[65])
{
	SCOPED_JSON cJSON *list = NULL, *retired = NULL;
	cJSON *request = cJSON_CreateObject(), *images;

	if (strlen(text) == 64) {
		cJSON_Delete(request);
		return str_copy(image, 65, text) ? ERR_OK : err_set(ERR_RANGE, "no image id");
	}
	cJSON_AddBoolToObject(request, "retired", true);
	TRY(publisher_call(p, "image-list", request, -1, NULL, &retired));
	TRY(publisher_call(p, "image-list", cJSON_CreateObject(), -1, NULL, &list));
	images = cJSON_GetObjectItem(list, "images");
	for (cJSON *one;
		(one = cJSON_DetachItemFromArray(cJSON_GetObjectItem(retired, "images"), 0));)
		cJSON_AddItemToArray(images, one);
	return image_choose(images, text, image);
}

// Opens, finds the image, asks; request is freed here.
static enum err image_call(
	struct ctl *c, const char *verb, const char *text, cJSON *request, int fd, cJSON **answer)
{
	SCOPED_JSON cJSON *owned = request;
	struct publisher p;
	char image[65];

	TRY(publisher_open(c, &p));
	enum err e = image_resolve(&p, text, image);
	if (e == ERR_OK) {
		cJSON_AddStringToObject(owned, "image", image);
		request = owned;
		owned = NULL;
		e = publisher_call(&p, verb, request, fd, NULL, answer);
	}
	publisher_close(&p);
	return e;
}

static enum exit_code image_answer(
	struct ctl *c, enum err e, const cJSON *answer, const char *became)
{
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	ctl_say(c, "%s %s", show_digest(answer, "image"), became);
	return EXIT_DONE;
}

enum exit_code cmd_image_remove(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = image_call(c, "image-remove", a->words[0], cJSON_CreateObject(), -1, &answer);

	return image_answer(c, e, answer, "removed");
}

enum exit_code cmd_image_retire(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = image_call(c, "image-retire", a->words[0], cJSON_CreateObject(), -1, &answer);

	return image_answer(c, e, answer, "is retired; `image restore` takes it back");
}

enum exit_code cmd_image_restore(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = image_call(c, "image-restore", a->words[0], cJSON_CreateObject(), -1, &answer);

	return image_answer(c, e, answer, "is back");
}

enum exit_code cmd_image_set(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	cJSON *request = cJSON_CreateObject();
	enum err e = image_details_add(a, request);

	options_add(a, "tag", request, "tags");
	options_add(a, "add-tag", request, "add_tags");
	options_add(a, "remove-tag", request, "remove_tags");
	if (e != ERR_OK || cJSON_GetArraySize(request) == 0) {
		cJSON_Delete(request);
		return e != ERR_OK ? ctl_fail(c, e) : ctl_usage(c, "what is to be set?");
	}
	e = image_call(c, "image-set", a->words[0], request, -1, &answer);
	return answer_show(c, e, answer, show_document);
}

// ---- gc

static void gc_show(const struct ctl *c, const cJSON *answer)
{
	static const struct table_column columns[] = {{"IMAGE", false, false, false},
		{"SIZE", true, false, false}, {"TITLE", false, true, false},
		{"RETIRED", false, false, true}, {"STAYS BECAUSE", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(answer, "images"))
	{
		table_add_style(t, show_digest(one, "image"), STYLE_BOLD);
		table_add(t, amount_text(json_u64(one, "size_bytes")));
		table_add(t, json_text(one, "title"));
		table_add(t, show_when(one, "retired_unix_ms"));
		table_add(t, json_text(one, "kept"));
	}
	if (table_rows(t) > 0)
		table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_image_gc(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	cJSON *request = cJSON_CreateObject();
	uint64_t days = 7;
	enum err e = args_number(a, "older-than", 0, 3650, &days);

	cJSON_AddNumberToObject(request, "grace_s", (double)days * 24 * 3600);
	cJSON_AddBoolToObject(request, "dry_run", args_has(a, "dry-run"));
	if (e == ERR_OK)
		e = publisher_simple(c, "image-gc", request, &answer);
	else
		cJSON_Delete(request);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (c->json)
		json_print(stdout, answer, true);
	else
		gc_show(c, answer);
	ctl_say(c, "%.0f pictures, %s, and %.0f sizes for screens that nobody has, %s: %s",
		json_number(answer, "removed"), amount_text(json_u64(answer, "bytes")),
		json_number(answer, "sizes_removed"), amount_text(json_u64(answer, "sizes_bytes")),
		json_bool(answer, "dry_run") ? "would go; nothing was touched" : "gone");
	return EXIT_DONE;
}

// ---- thumb

enum exit_code cmd_image_thumb(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	SCOPED_FD int fd = memfd_create("helio-thumb", MFD_CLOEXEC);
	cJSON *request = cJSON_CreateObject();
	uint64_t side = 256;
	char buffer[16384];
	ssize_t n = 0;
	enum err e = fd < 0 ? err_set_errno("no memory for a thumbnail")
			    : args_number(a, "side", 16, 1024, &side);

	cJSON_AddNumberToObject(request, "side", (double)side);
	if (e == ERR_OK)
		e = image_call(c, "image-thumb", a->words[0], request, fd, &answer);
	else
		cJSON_Delete(request);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	if (isatty(STDOUT_FILENO))
		return ctl_usage(c, "a picture is no text: send it to a file with >");
	(void)lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		if (fwrite(buffer, 1, (size_t)n, stdout) != (size_t)n)
			return ctl_fail(c, err_set_errno("cannot write the thumbnail"));
	}
	return EXIT_DONE;
}

// ---- why

// The orders of a client are its channels that are called like one.
static enum err client_orders(struct ctl *c, const char *client, cJSON *request)
{
	struct api *api = NULL;
	struct api_result r;
	struct arg arg = {"client", client};
	const cJSON *one;

	TRY(api_open(c, &api));
	enum err e = api_call(api, "client-show", &arg, 1, bytes_of(NULL, 0), &r);
	if (e == ERR_OK) {
		cJSON *orders = cJSON_AddArrayToObject(request, "orders");
		cJSON_ArrayForEach(one, cJSON_GetObjectItem(r.document, "channels"))
		{
			cJSON_AddItemToArray(orders, cJSON_CreateString(json_text(one, "channel")));
		}
		api_result_free(&r);
	}
	api_close(api);
	return e;
}

static enum err is_order(struct publisher *p, const char *word, bool *found)
{
	SCOPED_JSON cJSON *list = NULL;
	const cJSON *one;

	TRY(publisher_call(p, "order-list", cJSON_CreateObject(), -1, NULL, &list));
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(list, "orders"))
	{
		*found |= strcmp(json_text(one, "order"), word) == 0;
	}
	return ERR_OK;
}

static enum err why_request(struct ctl *c, const struct args *a, cJSON *request)
{
	struct publisher p;
	bool order = false;

	if (a->word_count < 2)
		return ERR_OK;
	TRY(publisher_open(c, &p));
	enum err e = is_order(&p, a->words[1], &order);
	publisher_close(&p);
	TRY(e);
	if (!order)
		return client_orders(c, a->words[1], request);
	cJSON_AddItemToArray(
		cJSON_AddArrayToObject(request, "orders"), cJSON_CreateString(a->words[1]));
	return ERR_OK;
}

static void why_show(const struct ctl *c, const cJSON *answer)
{
	static const struct table_column columns[] = {{"ORDER", false, true, false},
		{"IN", false, false, false}, {"WHY", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one, *plan;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(answer, "orders"))
	{
		cJSON_ArrayForEach(plan, cJSON_GetObjectItem(one, "plans"))
		{
			bool in = json_bool(plan, "in");
			table_add_style(t, json_text(one, "order"), STYLE_BOLD);
			table_add_style(t, in ? "yes" : "no", in ? STYLE_GOOD : STYLE_DIM);
			table_add(t, json_text(plan, "why"));
		}
		if (*json_text(one, "reason")) {
			table_add_style(t, json_text(one, "order"), STYLE_BOLD);
			table_add_style(t, "no", STYLE_DIM);
			table_add(t, json_text(one, "reason"));
		}
	}
	table_print(t, &c->out);
	table_free(t);
}

// What was just decided is on its way to the publisher: that is waited for, a moment.
static enum err why_ask(struct ctl *c, const struct args *a, cJSON **answer)
{
	for (int left = WHY_TRIES; true; left--) {
		cJSON *request = cJSON_CreateObject();
		enum err e = why_request(c, a, request);
		if (e != ERR_OK) {
			cJSON_Delete(request);
			return e;
		}
		bool of_client = cJSON_GetArraySize(cJSON_GetObjectItem(request, "orders")) > 0;
		e = image_call(c, "image-why", a->words[0], request, -1, answer);
		if (e != ERR_NOT_FOUND || !of_client || left == 0)
			return e;
		(void)poll(NULL, 0, WHY_NAP_MS);
	}
}

enum exit_code cmd_image_why(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = why_ask(c, a, &answer);

	return answer_show(c, e, answer, why_show);
}

// ---- what was ordered

static void orders_show(const struct ctl *c, const cJSON *answer)
{
	static const struct table_column columns[] = {{"ORDER", false, true, false},
		{"REVISION", true, false, true}, {"PACKAGE", false, false, false},
		{"PICTURES", true, false, false}, {"SIZE", true, false, false},
		{"SINCE", false, false, true}, {"REMARK", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one, *warning;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(answer, "orders"))
	{
		char remark[600] = "";

		if (!json_bool(one, "told"))
			text_join(remark, sizeof(remark), "(not told yet)");
		if (*json_text(one, "reason"))
			text_join(remark, sizeof(remark), "%s", json_text(one, "reason"));
		cJSON_ArrayForEach(warning, cJSON_GetObjectItem(one, "warnings"))
		{
			if (cJSON_IsString(warning))
				text_join(remark, sizeof(remark), "%s", warning->valuestring);
		}
		table_add_style(t, json_text(one, "order"), STYLE_BOLD);
		table_addf(t, "%.0f", json_number(one, "revision"));
		table_add_style(t,
			*json_text(one, "package") ? show_digest(one, "package") : "none",
			*json_text(one, "package") ? STYLE_DIM : STYLE_BAD);
		table_addf(t, "%.0f of %.0f", json_number(one, "included"),
			json_number(one, "matched"));
		table_add(t, amount_text(json_u64(one, "size_bytes")));
		table_add(t, show_when(one, "changed_unix_ms"));
		table_add(t, remark);
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_package_orders(struct ctl *c, const struct args *a)
{
	SCOPED_JSON cJSON *answer = NULL;
	enum err e = publisher_simple(c, "order-list", cJSON_CreateObject(), &answer);

	(void)a;
	return answer_show(c, e, answer, orders_show);
}
