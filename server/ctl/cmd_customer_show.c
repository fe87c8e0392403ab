// customer list|show|history|diff: what stands in the store of customers, and who changed it.
#include "server/ctl/customer.h"
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *customer_plans(const cJSON *order)
{
	static char rooms[4][512];
	static unsigned next;
	char *room = rooms[next++ % 4];
	const cJSON *plan;

	room[0] = 0;
	cJSON_ArrayForEach(plan, cJSON_GetObjectItem(order, "plans"))
	{
		if (cJSON_IsString(plan))
			text_join(room, sizeof(rooms[0]), "%s", plan->valuestring);
	}
	return room;
}

// ---------------------------------------------------------------- list

static void customers_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"CUSTOMER", false, true, false},
		{"NAME", false, true, true}, {"REVISION", true, false, false},
		{"CLIENTS", true, false, false}, {"PLANS", true, false, false},
		{"PACKAGES", true, false, false}, {"TIME ZONE", false, true, true},
		{"CHANGED", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "customers"))
	{
		table_add_style(t, json_text(one, "customer"), STYLE_BOLD);
		table_add(t, json_text(one, "name"));
		table_addf(t, "%.0f", json_number(one, "revision"));
		table_addf(t, "%.0f", json_number(one, "clients"));
		table_addf(t, "%.0f", json_number(one, "plans"));
		table_addf(t, "%.0f", json_number(one, "orders"));
		table_add(t, json_text(one, "time_zone"));
		table_add(t, show_when(one, "changed_unix_ms"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_customer_list(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "customer-list"};

	(void)a;
	return api_show(c, &v, customers_show);
}

// ---------------------------------------------------------------- show

static void plans_show(const struct ctl *c, const cJSON *plans)
{
	static const struct table_column columns[] = {{"PLAN", false, true, false},
		{"EXPRESSION", false, true, false}, {"ORDER", false, false, true},
		{"MOST", true, false, true}, {"WHEN", false, true, true},
		{"WHERE", false, true, true}, {"", false, false, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, plans)
	{
		const char *expression = json_text(one, "expression");
		double most = json_number(one, "max_images");

		table_add_style(t, json_text(one, "plan"), STYLE_BOLD);
		table_add(t, *expression ? expression : "(nothing)");
		table_add(t, json_text(one, "order"));
		if (most > 0)
			table_addf(t, "%.0f", most);
		else
			table_add(t, "");
		table_add(t, json_text(one, "dayparts"));
		table_addf(t, "%s%s%s", json_text(one, "places"),
			*json_text(one, "orientation") ? " " : "", json_text(one, "orientation"));
		table_add_style(t, json_bool(one, "paused") ? "paused" : "", STYLE_WARN);
	}
	table_print(t, &c->out);
	table_free(t);
}

// How far the package of its order is at a client.
static void package_add(struct table *t, const cJSON *client)
{
	const char *word = json_text(client, "package"), *medium = json_text(client, "medium");

	if (strcmp(word, "shown") == 0)
		table_add_style(t, "shown", STYLE_GOOD);
	else if (strcmp(word, "held") == 0)
		table_add(t, "held, not shown");
	else if (*medium)
		table_addf(t, "medium %s", medium);
	else if (strcmp(word, "awaited") == 0 && !json_bool(client, "fits"))
		table_add_style(t, "more than is free there", STYLE_WARN);
	else if (strcmp(word, "awaited") == 0)
		table_add_style(t, "on its way", STYLE_WARN);
	else
		table_add(t, "none yet");
}

static void clients_show(const struct ctl *c, const cJSON *clients)
{
	static const struct table_column columns[] = {{"CLIENT", false, true, false},
		{"NAME", false, true, true}, {"PLACE", false, true, false},
		{"SCREEN", false, false, false}, {"REACH", false, false, false},
		{"PACKAGE", false, false, false}, {"OF", false, true, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, clients)
	{
		double width = json_number(one, "screen_width");
		const char *reach = json_text(one, "reach");

		table_add_style(t, json_text(one, "client"), STYLE_BOLD);
		table_add(t, json_text(one, "name"));
		table_add(t, json_text(one, "place"));
		if (width > 0)
			table_addf(t, "%.0fx%.0f", width, json_number(one, "screen_height"));
		else
			table_add(t, "unknown");
		table_add_style(t, *reach ? reach : "gone", show_reach_style(reach));
		package_add(t, one);
		table_add(t, json_text(one, "order"));
	}
	table_print(t, &c->out);
	table_free(t);
}

// What became of an order, in one cell.
static void outcome_add(struct table *t, const cJSON *one)
{
	const char *reason = json_text(one, "reason");

	if (!json_bool(one, "answered"))
		table_add_style(t, "waits for its publisher", STYLE_WARN);
	else if (!*json_text(one, "package"))
		table_add_style(t, *reason ? reason : "nothing", STYLE_WARN);
	else if (strcmp(json_text(one, "package"), json_text(one, "shown")) != 0)
		table_add_style(t, *reason ? reason : "not given to the channel", STYLE_WARN);
	else
		table_addf(t, "%s, %.0f of %.0f pictures, %s", show_digest(one, "package"),
			json_number(one, "included"), json_number(one, "matched"),
			amount_text(json_u64(one, "size_bytes")));
}

static void packages_show(const struct ctl *c, const cJSON *orders)
{
	static const struct table_column columns[] = {{"PACKAGE FOR", false, true, false},
		{"CLIENTS", true, false, false}, {"PLANS", false, true, true},
		{"IS", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one, *warning;

	cJSON_ArrayForEach(one, orders)
	{
		table_add_style(t, json_text(one, "order"), STYLE_BOLD);
		table_addf(t, "%.0f", json_number(one, "clients"));
		table_add(t, customer_plans(one));
		outcome_add(t, one);
	}
	table_print(t, &c->out);
	table_free(t);
	cJSON_ArrayForEach(one, orders)
	{
		cJSON_ArrayForEach(warning, cJSON_GetObjectItem(one, "warnings"))
		{
			ctl_say(c, "  %s: %s", ctl_safe(json_text(one, "order")),
				ctl_safe(cJSON_IsString(warning) ? warning->valuestring : ""));
		}
	}
}

static void customer_show(const struct ctl *c, const cJSON *d)
{
	const cJSON *places = cJSON_GetObjectItem(d, "places"), *one;

	ctl_say(c, "customer %s %s", ctl_safe(json_text(d, "customer")),
		ctl_safe(json_text(d, "name")));
	ctl_say(c, "  revision %.0f of %s, publisher %s, time zone %s", json_number(d, "revision"),
		show_when(d, "changed_unix_ms"), ctl_safe(json_text(d, "publisher")),
		*json_text(d, "time_zone") ? ctl_safe(json_text(d, "time_zone")) : "UTC");
	ctl_say(c, "  %s, %.0f ms each, %s", ctl_safe(json_text(d, "order")),
		json_number(d, "duration_ms"), ctl_safe(json_text(d, "fit")));
	cJSON_ArrayForEach(one, places)
	{
		ctl_say(c, "  place %s %s %s", ctl_safe(json_text(one, "place")),
			ctl_safe(json_text(one, "name")), ctl_safe(json_text(one, "time_zone")));
	}
	plans_show(c, cJSON_GetObjectItem(d, "plans"));
	packages_show(c, cJSON_GetObjectItem(d, "orders"));
	clients_show(c, cJSON_GetObjectItem(d, "clients"));
	if (*json_text(d, "next"))
		ctl_say(c, "and more clients after %s", ctl_safe(json_text(d, "next")));
}

enum exit_code cmd_customer_show(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "customer-show"};

	api_verb_add(&v, "customer", a->words[0]);
	return api_show(c, &v, customer_show);
}

// ---------------------------------------------------------------- history

static void value_text(const cJSON *v, char *out, size_t size)
{
	if (cJSON_IsString(v))
		(void)snprintf(out, size, "\"%s\"", ctl_safe(v->valuestring));
	else if (cJSON_IsBool(v))
		(void)snprintf(out, size, "%s", cJSON_IsTrue(v) ? "yes" : "no");
	else
		(void)snprintf(out, size, "%.0f", cJSON_IsNumber(v) ? v->valuedouble : 0);
}

static bool is_empty(const cJSON *v)
{
	return !v || (cJSON_IsString(v) && !*v->valuestring) ||
	       (cJSON_IsNumber(v) && v->valuedouble == 0) || cJSON_IsFalse(v);
}

void customer_change_show(const struct ctl *c, const cJSON *edit)
{
	const cJSON *before = cJSON_GetObjectItem(edit, "before");
	const cJSON *after = cJSON_GetObjectItem(edit, "after"), *field;
	bool is_gone = !cJSON_IsObject(after);

	const cJSON *fields = is_gone ? before : after;

	cJSON_ArrayForEach(field, fields)
	{
		const cJSON *old = cJSON_GetObjectItem(before, field->string);
		char from[600], to[600];

		if (is_gone || cJSON_Compare(old, field, true) ||
			(is_empty(old) && is_empty(field)))
			continue;
		value_text(field, to, sizeof(to));
		value_text(old, from, sizeof(from));
		if (is_empty(old))
			ctl_say(c, "  %s: %s", field->string, to);
		else
			ctl_say(c, "  %s: %s -> %s", field->string, from, to);
	}
	if (is_gone && cJSON_IsObject(before))
		ctl_say(c, "  removed");
}

static void edits_show(const struct ctl *c, const cJSON *document, uint64_t since)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "edits"))
	{
		if (json_u64(one, "revision") <= since)
			break;
		ctl_say(c, "%.0f  %s  %s  %s %s", json_number(one, "revision"),
			show_when(one, "at_unix_ms"), ctl_safe(json_text(one, "seat")),
			ctl_safe(json_text(one, "verb")), ctl_safe(json_text(one, "item")));
		customer_change_show(c, one);
	}
}

// The number of the oldest edit that came; what is older was left out.
static uint64_t oldest_edit(const cJSON *document)
{
	const cJSON *edits = cJSON_GetObjectItem(document, "edits");
	int count = cJSON_GetArraySize(edits);

	return count ? json_u64(cJSON_GetArrayItem(edits, count - 1), "revision") : 1;
}

static void history_show(const struct ctl *c, const cJSON *document)
{
	uint64_t oldest = oldest_edit(document);

	edits_show(c, document, 0);
	if (oldest > 1)
		ctl_say(c, "%" PRIu64 " older edits: --max", oldest - 1);
}

enum exit_code cmd_customer_history(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "customer-history"};

	api_verb_add(&v, "customer", a->words[0]);
	api_verb_add(&v, "max", args_get(a, "max", NULL));
	return api_show(c, &v, history_show);
}

// ---------------------------------------------------------------- diff

// The history since a revision, item by item: the first `before` beside the last `after`.
static cJSON *difference(const cJSON *edits, uint64_t since)
{
	cJSON *items = cJSON_CreateArray(), *item;
	const cJSON *one;

	cJSON_ArrayForEach(one, edits) // newest first
	{
		bool is_known = false;

		if (json_u64(one, "revision") <= since)
			break;
		cJSON_ArrayForEach(item, items)
		{
			if (strcmp(json_text(item, "item"), json_text(one, "item")) != 0 ||
				strncmp(json_text(item, "verb"), json_text(one, "verb"), 12) != 0)
				continue;
			is_known = true;
			cJSON_ReplaceItemInObject(item, "before",
				cJSON_Duplicate(cJSON_GetObjectItem(one, "before"), true));
			break;
		}
		if (!is_known)
			cJSON_AddItemToArray(items, cJSON_Duplicate(one, true));
	}
	return items;
}

static enum err diff(struct ctl *c, const struct args *a, uint64_t since)
{
	const struct arg question[] = {{"customer", a->words[0]}, {"max", "1000"}};
	SCOPED_JSON cJSON *found = cJSON_CreateObject();
	struct api *api = NULL;
	struct api_result r;
	const cJSON *one;

	enum err e = api_open(c, &api);
	if (e == ERR_OK)
		e = api_call(api, "customer-history", question, 2, (struct bytes){0}, &r);
	api_close(api);
	TRY(e);
	if (oldest_edit(r.document) > since + 1)
		ctl_note(c, "only the last 1000 edits are compared: since revision %" PRIu64,
			oldest_edit(r.document) - 1);
	cJSON *items = difference(cJSON_GetObjectItem(r.document, "edits"), since);
	cJSON_AddStringToObject(found, "customer", a->words[0]);
	json_add_u64(found, "since", since);
	json_add_u64(found, "revision", json_u64(r.document, "revision"));
	cJSON_AddItemToObject(found, "items", items);
	api_result_free(&r);
	if (c->json)
		json_print(stdout, found, true);
	cJSON_ArrayForEach(one, items)
	{
		ctl_say(c, "%s %s", ctl_safe(json_text(one, "verb")),
			ctl_safe(json_text(one, "item")));
		customer_change_show(c, one);
	}
	return ERR_OK;
}

enum exit_code cmd_customer_diff(struct ctl *c, const struct args *a)
{
	uint64_t since = 0;
	enum err e = number_parse(a->words[1], "REVISION", 0, INT64_MAX, &since);

	if (e == ERR_OK)
		e = diff(c, a, since);
	return e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
}
