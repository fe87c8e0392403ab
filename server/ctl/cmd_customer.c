// customer add|set|remove|plan|plan-remove|place|place-remove|client|client-remove: the edits of a
// customer. Each edits the revision that it saw: the one given with --revision, else the one that
// stands when it asks. With --dry-run nothing is written, and what would follow is shown.
#include "server/ctl/customer.h"

#include "proto/topics.h"
#include "server/criteria.h"
#include "server/ctl/show.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---------------------------------------------------------------- arguments

// Texts that are made for the arguments live as long as the command.
struct edit {
	struct ctl *c;
	const struct args *a;
	struct api_verb v;
	char revision[24], width[24], height[24], from[24], until[24];
};

static void edit_begin(struct edit *e, struct ctl *c, const struct args *a, const char *verb)
{
	*e = (struct edit){.c = c, .a = a, .v = {.verb = verb}};
	api_verb_add(&e->v, "customer", a->words[0]);
	if (args_has(a, "dry-run"))
		api_verb_add(&e->v, "dry_run", "true");
}

static void option_add(struct edit *e, const char *option, const char *name)
{
	api_verb_add(&e->v, name, args_get(e->a, option, NULL));
}

// WIDTHxHEIGHT; "auto" is 0x0.
static enum err size_add(struct edit *e, const char *option, const char *width, const char *height)
{
	const char *text = args_get(e->a, option, NULL), *x = text ? strchr(text, 'x') : NULL;

	if (!text)
		return ERR_OK;
	if (strcmp(text, "auto") == 0) {
		api_verb_add(&e->v, width, "0");
		api_verb_add(&e->v, height, "0");
		return ERR_OK;
	}
	if (!x || x == text || !x[1] || strspn(text, "0123456789") != (size_t)(x - text) ||
		x[1 + strspn(x + 1, "0123456789")] || strlen(text) > 20)
		return err_set(ERR_FORMAT, "--%s is WIDTHxHEIGHT, as 1920x1080, or auto", option);
	(void)snprintf(e->width, sizeof(e->width), "%.*s", (int)(x - text), text);
	(void)snprintf(e->height, sizeof(e->height), "%s", x + 1);
	api_verb_add(&e->v, width, e->width);
	api_verb_add(&e->v, height, e->height);
	return ERR_OK;
}

static enum err day_add(struct edit *e, const char *option, const char *name, char out[24])
{
	const char *text = args_get(e->a, option, NULL);
	int64_t unix_ms = 0;

	if (!text)
		return ERR_OK;
	if (strcmp(text, "always") != 0 && !criteria_date(text, &unix_ms))
		return err_set(ERR_FORMAT, "--%s is a day, as 2026-12-24, or always", option);
	(void)snprintf(out, 24, "%" PRId64, unix_ms);
	api_verb_add(&e->v, name, out);
	return ERR_OK;
}

static enum err flag_add(struct edit *e, const char *on, const char *off, const char *name)
{
	if (args_has(e->a, on) && args_has(e->a, off))
		return err_set(ERR_FORMAT, "--%s and --%s", on, off);
	if (args_has(e->a, on) || args_has(e->a, off))
		api_verb_add(&e->v, name, args_has(e->a, on) ? "true" : "false");
	return ERR_OK;
}

// ---------------------------------------------------------------- an edit

static enum err revision_add(struct edit *e, struct api *api)
{
	const struct arg question[] = {{"customer", e->a->words[0]}, {"max", "1"}};
	const char *given = args_get(e->a, "revision", NULL);
	struct api_result r;

	if (given) {
		api_verb_add(&e->v, "revision", given);
		return ERR_OK;
	}
	TRY(api_call(api, "customer-history", question, 2, (struct bytes){0}, &r));
	(void)snprintf(
		e->revision, sizeof(e->revision), "%" PRIu64, json_u64(r.document, "revision"));
	api_result_free(&r);
	api_verb_add(&e->v, "revision", e->revision);
	return ERR_OK;
}

static void orders_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"ORDER", false, true, false},
		{"SCREEN", false, false, false}, {"CLIENTS", true, false, false},
		{"PLANS", false, true, true}, {"CHANGE", false, false, false}};
	const cJSON *orders = cJSON_GetObjectItem(document, "orders"), *one;
	struct table *t = table_new(columns, CTL_COUNT(columns));

	cJSON_ArrayForEach(one, orders)
	{
		const char *change = json_text(one, "change");

		if (strcmp(change, "same") == 0)
			continue;
		table_add_style(t, json_text(one, "order"), STYLE_BOLD);
		table_add(t, json_text(one, "screen"));
		table_addf(t, "%.0f", json_number(one, "clients"));
		table_add(t, customer_plans(one));
		table_add_style(
			t, change, strcmp(change, "withdrawn") == 0 ? STYLE_WARN : STYLE_GOOD);
	}
	if (table_rows(t))
		table_print(t, &c->out);
	table_free(t);
}

static void edit_show(const struct ctl *c, const cJSON *r)
{
	bool dry = json_bool(r, "dry_run");

	if (!json_bool(r, "changed"))
		ctl_say(c, "customer %s stays as it is: revision %.0f",
			ctl_safe(json_text(r, "customer")), json_number(r, "revision"));
	else
		ctl_say(c, "customer %s%s revision %.0f", ctl_safe(json_text(r, "customer")),
			dry ? " would be at" : ":", json_number(r, "revision"));
	customer_change_show(c, r);
	orders_show(c, r);
}

static enum err edit_run(struct edit *e, struct api *api)
{
	struct api_result r;
	enum err done = ERR_OK;

	if (strcmp(e->v.verb, "customer-add") != 0)
		TRY(revision_add(e, api));
	TRY(api_call(api, e->v.verb, e->v.args, e->v.arg_count, e->v.body, &r));
	if (args_has(e->a, "dry-run"))
		done = customer_would(e->c, api, r.document);
	if (done == ERR_OK && e->c->json)
		json_print(stdout, r.document, true);
	else if (done == ERR_OK && !e->c->quiet) {
		edit_show(e->c, r.document);
		customer_pictures_show(e->c, r.document);
	}
	api_result_free(&r);
	return done;
}

static enum exit_code edit_end(struct edit *e, enum err before)
{
	struct api *api = NULL;
	enum err done = before;

	if (done == ERR_OK)
		done = api_open(e->c, &api);
	if (done == ERR_OK)
		done = edit_run(e, api);
	api_close(api);
	return done == ERR_OK ? EXIT_DONE : ctl_fail(e->c, done);
}

// ---------------------------------------------------------------- the commands

static void customer_fill(struct edit *e)
{
	option_add(e, "name", "name");
	option_add(e, "publisher", "publisher");
	option_add(e, "time-zone", "time_zone");
	option_add(e, "order", "order");
	option_add(e, "seed", "seed");
	option_add(e, "duration", "duration_ms");
	option_add(e, "transition", "transition_ms");
	option_add(e, "fit", "fit");
	option_add(e, "background", "background");
	option_add(e, "max-images", "max_images");
	option_add(e, "max-bytes", "max_bytes");
}

enum exit_code cmd_customer_add(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-add");
	customer_fill(&e);
	return edit_end(&e, ERR_OK);
}

enum exit_code cmd_customer_set(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-set");
	customer_fill(&e);
	return edit_end(&e, ERR_OK);
}

enum exit_code cmd_customer_remove(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-remove");
	return edit_end(&e, ERR_OK);
}

static enum err plan_fill(struct edit *e)
{
	option_add(e, "expression", "expression");
	option_add(e, "max-images", "max_images");
	option_add(e, "max-bytes", "max_bytes");
	option_add(e, "order", "order");
	option_add(e, "seed", "seed");
	option_add(e, "duration", "duration_ms");
	option_add(e, "fit", "fit");
	option_add(e, "weight", "weight");
	option_add(e, "dayparts", "dayparts");
	option_add(e, "places", "places");
	option_add(e, "orientation", "orientation");
	TRY(size_add(e, "min-size", "min_width", "min_height"));
	TRY(day_add(e, "from", "from_unix_ms", e->from));
	TRY(day_add(e, "until", "until_unix_ms", e->until));
	return flag_add(e, "pause", "resume", "paused");
}

enum exit_code cmd_customer_plan(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-plan-set");
	api_verb_add(&e.v, "plan", a->words[1]);
	return edit_end(&e, plan_fill(&e));
}

enum exit_code cmd_customer_plan_remove(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-plan-remove");
	api_verb_add(&e.v, "plan", a->words[1]);
	return edit_end(&e, ERR_OK);
}

enum exit_code cmd_customer_place(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-place-set");
	api_verb_add(&e.v, "place", a->words[1]);
	option_add(&e, "name", "name");
	option_add(&e, "address", "address");
	option_add(&e, "time-zone", "time_zone");
	return edit_end(&e, ERR_OK);
}

enum exit_code cmd_customer_place_remove(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-place-remove");
	api_verb_add(&e.v, "place", a->words[1]);
	return edit_end(&e, ERR_OK);
}

enum exit_code cmd_customer_client(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-client-set");
	api_verb_add(&e.v, "client", a->words[1]);
	option_add(&e, "place", "place");
	option_add(&e, "name", "name");
	option_add(&e, "orientation", "orientation");
	return edit_end(&e, size_add(&e, "screen", "width", "height"));
}

enum exit_code cmd_customer_client_remove(struct ctl *c, const struct args *a)
{
	struct edit e;

	edit_begin(&e, c, a, "customer-client-remove");
	api_verb_add(&e.v, "client", a->words[1]);
	return edit_end(&e, ERR_OK);
}
