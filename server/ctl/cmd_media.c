// media list|show|route|order|posted|cancel: what goes to clients on a disc or a stick
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <string.h>

static enum style state_style(const char *state)
{
	if (strcmp(state, "arrived") == 0)
		return STYLE_GOOD;
	return strcmp(state, "pending") == 0 ? STYLE_WARN : STYLE_PLAIN;
}

static void media_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"ORDER", true, true, false},
		{"CLIENT", false, true, false}, {"PACKAGE", false, true, false},
		{"STATE", false, true, false}, {"WHY", false, false, false},
		{"SINCE", false, false, true}, {"WHERE", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "media"))
	{
		const char *state = json_text(one, "state"), *path = json_text(one, "path");

		table_add_style(t, json_text(one, "order"), STYLE_BOLD);
		table_add(t, json_text(one, "client"));
		table_addf(t, "%s %s", json_text(one, "name"), json_text(one, "version"));
		table_add_style(t, state, state_style(state));
		table_add(t, json_text(one, "reason"));
		table_add(t, show_when(one, "changed_unix_ms"));
		table_add(t, path[0] ? path : json_text(one, "detail"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_media_list(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "media-list"};

	api_verb_add(&v, "client", args_get(a, "client", NULL));
	api_verb_add(&v, "state", args_get(a, "state", NULL));
	return api_show(c, &v, media_show);
}

static void medium_show(const struct ctl *c, const cJSON *m)
{
	ctl_say(c, "medium %s for %s: %s", ctl_safe(json_text(m, "order")),
		ctl_safe(json_text(m, "client")), ctl_safe(json_text(m, "state")));
	ctl_say(c, "  package  %s %s", ctl_safe(json_text(m, "name")),
		ctl_safe(json_text(m, "version")));
	ctl_say(c, "  why      %s", ctl_safe(json_text(m, "reason")));
	if (json_number(m, "activate_unix_ms") > 0)
		ctl_say(c, "  shown    not before %s", show_time(m, "activate_unix_ms"));
	if (json_text(m, "path")[0])
		ctl_say(c, "  where    %s at publisher %s", ctl_safe(json_text(m, "path")),
			ctl_safe(json_text(m, "publisher")));
	if (json_text(m, "sha256")[0])
		ctl_say(c, "  sha256   %s", ctl_safe(json_text(m, "sha256")));
	if (json_text(m, "detail")[0])
		ctl_say(c, "  detail   %s", ctl_safe(json_text(m, "detail")));
}

static void ordered_show(const struct ctl *c, const cJSON *document)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "media")) medium_show(c, one);
}

enum exit_code cmd_media_order(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "media-order"};

	api_verb_add(&v, "client", a->words[0]);
	api_verb_add(&v, "package", args_get(a, "package", NULL));
	if (api_verb_moment(&v, a, "at") != ERR_OK)
		return ctl_usage(c, "%s", err_text());
	return api_show(c, &v, ordered_show);
}

static enum exit_code order_verb(struct ctl *c, const struct args *a, const char *verb)
{
	struct api_verb v = {.verb = verb};

	api_verb_add(&v, "order", a->words[0]);
	return api_show(c, &v, medium_show);
}

enum exit_code cmd_media_show(struct ctl *c, const struct args *a)
{
	return order_verb(c, a, "media-show");
}

enum exit_code cmd_media_posted(struct ctl *c, const struct args *a)
{
	return order_verb(c, a, "media-posted");
}

enum exit_code cmd_media_cancel(struct ctl *c, const struct args *a)
{
	return order_verb(c, a, "media-cancel");
}

static void route_show(const struct ctl *c, const cJSON *r)
{
	ctl_say(c, "%s goes by %s: %s (%s, silent for %.0f s)", ctl_safe(json_text(r, "client")),
		ctl_safe(json_text(r, "via")), ctl_safe(json_text(r, "reason")),
		ctl_safe(json_text(r, "reach")), json_number(r, "silent_ms") / 1000);
}

enum exit_code cmd_media_route(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "media-route"};

	api_verb_add(&v, "client", a->words[0]);
	return api_show(c, &v, route_show);
}
