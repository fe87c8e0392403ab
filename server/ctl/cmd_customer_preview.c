// customer preview, and the pictures of a dry run: heliod knows the orders, the publisher on this
// machine the pictures; each is asked for its half.
#include "server/ctl/customer.h"

#include "proto/base/file.h"
#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

// ---------------------------------------------------------------- asking

#define PACKET_ROOM 60000 // of the publisher's 64 KiB

// An order of many plans is longer than a packet: then its bytes go along as a file.
static enum err order_file(const char *encoded, int *fd)
{
	SCOPED_BUF struct buf bytes;
	size_t n = strlen(encoded) / 2;

	buf_init(&bytes, n);
	TRY(buf_reserve(&bytes, n));
	TRY(hex_decode(encoded, bytes.data, n));
	*fd = memfd_create("helio-order", MFD_CLOEXEC);
	if (*fd < 0)
		return err_set_errno("no memory file");
	return fd_write_all(*fd, bytes.data, n);
}

static enum err order_ask(struct publisher *p, const char *encoded, cJSON **answer)
{
	SCOPED_FD int fd = -1;
	bool is_long = strlen(encoded) > PACKET_ROOM;

	if (is_long)
		TRY(order_file(encoded, &fd));
	cJSON *request = cJSON_CreateObject();
	if (!is_long)
		cJSON_AddStringToObject(request, "order", encoded);
	return publisher_call(p, "order-preview", request, fd, NULL, answer);
}

static const cJSON *picture_in(const cJSON *pictures, const char *image)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, pictures)
	{
		if (json_bool(one, "in") && strcmp(json_text(one, "image"), image) == 0)
			return one;
	}
	return NULL;
}

// Those that are in one and not in the other.
static cJSON *pictures_without(const cJSON *pictures, const cJSON *others)
{
	cJSON *list = cJSON_CreateArray();
	const cJSON *one;

	cJSON_ArrayForEach(one, pictures)
	{
		if (json_bool(one, "in") && !picture_in(others, json_text(one, "image")))
			cJSON_AddItemToArray(list, cJSON_Duplicate(one, true));
	}
	return list;
}

static const char *encoded_of(const cJSON *orders, const char *order)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, orders)
	{
		if (strcmp(json_text(one, "order"), order) == 0)
			return json_text(one, "encoded");
	}
	return "";
}

// One order with what the publisher says of it; now: its bytes as it stands, "" for none.
static enum err order_would_have(struct publisher *p, cJSON *order, const char *now)
{
	SCOPED_JSON cJSON *would = NULL;
	SCOPED_JSON cJSON *stands = NULL;
	bool ends = strcmp(json_text(order, "change"), "withdrawn") == 0;
	const cJSON *pictures;

	if (!ends)
		TRY(order_ask(p, json_text(order, "encoded"), &would));
	if (*now)
		TRY(order_ask(p, now, &stands));
	pictures = cJSON_GetObjectItem(stands, "images");
	cJSON *images = cJSON_DetachItemFromObject(would, "images");
	cJSON_AddItemToObject(order, "added", pictures_without(images, pictures));
	cJSON_AddItemToObject(order, "removed", pictures_without(pictures, images));
	cJSON_AddItemToObject(order, "pictures", images ? images : cJSON_CreateArray());
	if (would) {
		cJSON_DeleteItemFromObject(would, "request");
		cJSON_DeleteItemFromObject(would, "ok");
		cJSON_AddItemToObject(order, "publisher_says", would);
		would = NULL;
	}
	return ERR_OK;
}

static enum err orders_would_have(struct ctl *c, cJSON *orders, const cJSON *now)
{
	struct publisher p;
	cJSON *one;
	enum err e = publisher_open(c, &p);

	if (e != ERR_OK) {
		ctl_note(c, "which pictures: the publisher is not asked: %s", err_text());
		return ERR_OK;
	}
	cJSON_ArrayForEach(one, orders)
	{
		if (e == ERR_OK && *json_text(one, "encoded"))
			e = order_would_have(&p, one, encoded_of(now, json_text(one, "order")));
	}
	publisher_close(&p);
	return e;
}

enum err customer_would(struct ctl *c, struct api *api, cJSON *document)
{
	const struct arg question[] = {{"customer", json_text(document, "customer")}};
	cJSON *orders = cJSON_GetObjectItem(document, "orders");
	struct api_result r = {0};
	enum err e = api_call(api, "customer-preview", question, 1, (struct bytes){0}, &r);

	if (e != ERR_OK && e != ERR_NOT_FOUND) // not there yet: a dry run of an add
		return e;
	e = orders_would_have(c, orders, cJSON_GetObjectItem(r.document, "orders"));
	api_result_free(&r);
	return e;
}

// ---------------------------------------------------------------- showing

static void pictures_say(const struct ctl *c, const cJSON *list, const char *sign)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, list)
	{
		ctl_say(c, "  %s %s  %s  %s", sign, show_digest(one, "image"),
			ctl_safe(json_text(one, "title")), ctl_safe(json_text(one, "why")));
	}
}

// What a dry run comes to for the screens.
static const char *would_be(const cJSON *order, const cJSON *says)
{
	static char text[1200];
	const char *reason = json_text(says, "reason");

	if (!says)
		return "";
	if (*reason) {
		(void)snprintf(text, sizeof(text), "; no package: %s%s", ctl_safe(reason),
			*json_text(order, "shown") ? "; the screens keep what they show" : "");
		return text;
	}
	if (!json_bool(says, "package_would_change"))
		return "; the package stays the same";
	return cJSON_GetArraySize(cJSON_GetObjectItem(order, "added")) ||
			       cJSON_GetArraySize(cJSON_GetObjectItem(order, "removed"))
		       ? "; a new package"
		       : "; a new package of the same pictures";
}

void customer_pictures_show(const struct ctl *c, const cJSON *document)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "orders"))
	{
		const cJSON *says = cJSON_GetObjectItem(one, "publisher_says");
		const cJSON *added = cJSON_GetObjectItem(one, "added");
		const cJSON *removed = cJSON_GetObjectItem(one, "removed");

		if (!added)
			continue;
		ctl_say(c, "%s: pictures that come %d, that go %d%s",
			ctl_safe(json_text(one, "order")), cJSON_GetArraySize(added),
			cJSON_GetArraySize(removed), would_be(one, says));
		pictures_say(c, added, "+");
		pictures_say(c, removed, "-");
	}
}

// Every picture, in and out, and why.
static void preview_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"", false, false, false},
		{"IMAGE", false, false, false}, {"TITLE", false, true, false},
		{"WHY", false, true, false}};
	const cJSON *one, *picture;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "orders"))
	{
		struct table *t = table_new(columns, CTL_COUNT(columns));

		ctl_say(c, "%s, clients %.0f, plans %s", ctl_safe(json_text(one, "order")),
			json_number(one, "clients"), ctl_safe(customer_plans(one)));
		cJSON_ArrayForEach(picture, cJSON_GetObjectItem(one, "pictures"))
		{
			bool in = json_bool(picture, "in");

			table_add_style(t, in ? "in" : "out", in ? STYLE_GOOD : STYLE_DIM);
			table_add(t, show_digest(picture, "image"));
			table_add(t, json_text(picture, "title"));
			table_add(t, json_text(picture, "why"));
		}
		table_print(t, &c->out);
		table_free(t);
	}
}

static enum err preview(struct ctl *c, struct api *api, const struct args *a)
{
	const struct arg question[] = {{"customer", a->words[0]}};
	struct api_result r;

	TRY(api_call(api, "customer-preview", question, 1, (struct bytes){0}, &r));
	enum err e = orders_would_have(c, cJSON_GetObjectItem(r.document, "orders"), NULL);
	if (e == ERR_OK && c->json)
		json_print(stdout, r.document, true);
	else if (e == ERR_OK && !c->quiet)
		preview_show(c, r.document);
	api_result_free(&r);
	return e;
}

enum exit_code cmd_customer_preview(struct ctl *c, const struct args *a)
{
	struct api *api = NULL;
	enum err e = api_open(c, &api);

	if (e == ERR_OK)
		e = preview(c, api, a);
	api_close(api);
	return e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
}
