// leases; budget list|set|unset: who fetches how fast, and who may.
#include "server/ctl/flow.h"
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void rate_cell(struct table *t, uint64_t rate)
{
	table_addf(t, "%s%s", rate ? amount_text(rate) : "-", rate ? "/s" : "");
}

static void lease_row(struct table *t, const cJSON *l)
{
	uint64_t total = json_u64(l, "chunks_total"), have = json_u64(l, "chunks_have");
	uint64_t looked = json_u64(l, "looked_mb");
	bool stalled = json_bool(l, "stalled");

	table_add(t, json_text(l, "broker"));
	table_add_style(t, json_text(l, "client"), STYLE_BOLD);
	table_add(t, json_text(l, "site"));
	table_add(t, show_package(l));
	rate_cell(t, json_u64(l, "rate_bytes_per_s"));
	rate_cell(t, json_u64(l, "due_bytes_per_s"));
	if (stalled)
		table_add_style(t, "stalled", STYLE_BAD);
	else if (looked)
		table_addf(t, "looks, %" PRIu64 " MB", looked);
	else
		rate_cell(t, json_u64(l, "measured_bytes_per_s"));
	table_addf(t, "%.0f%%", total ? 100.0 * (double)have / (double)total : 0.0);
	table_add(t, show_time(l, "granted_unix_ms"));
}

void leases_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"BROKER", false, false, false},
		{"CLIENT", false, true, false}, {"SITE", false, true, true},
		{"PACKAGE", false, true, false}, {"GRANTED", true, false, false},
		{"DUE", true, false, true}, {"MEASURED", true, false, false},
		{"DONE", true, false, false}, {"SINCE", true, false, true}};
	const cJSON *list = cJSON_GetObjectItem(document, "leases"), *l;
	struct table *t = table_new(columns, CTL_COUNT(columns));

	cJSON_ArrayForEach(l, list) lease_row(t, l);
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_leases(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "leases"};

	api_verb_add(&v, "broker", args_get(a, "broker", NULL));
	api_verb_add(&v, "client", args_get(a, "client", NULL));
	api_verb_add(&v, "site", args_get(a, "site", NULL));
	return api_show_all(c, &v, "leases", leases_show);
}

static void budgets_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"KIND", false, false, false},
		{"NAME", false, true, false}, {"RATE", true, false, false},
		{"FETCHES", true, false, false}, {"BY", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *b;

	cJSON_ArrayForEach(b, cJSON_GetObjectItem(document, "budgets"))
	{
		table_add(t, json_text(b, "kind"));
		table_add_style(t, json_text(b, "name"), STYLE_BOLD);
		rate_cell(t, json_u64(b, "bytes_per_s"));
		show_count(t, json_u64(b, "fetches"));
		table_add(t, json_text(b, "by"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_budget_list(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "budget-list"};

	api_verb_add(&v, "kind", a->word_count ? a->words[0] : NULL);
	return api_show_all(c, &v, "budgets", budgets_show);
}

static enum exit_code budget_say(struct ctl *c, const struct api_verb *v)
{
	struct api_result r;
	enum exit_code code;

	if (api_simple(c, v, &r, &code))
		return code;
	uint64_t rate = json_u64(r.document, "bytes_per_s");
	ctl_say(c, "%s %s: %s%s", ctl_safe(json_text(r.document, "kind")),
		ctl_safe(json_text(r.document, "name")), rate ? amount_text(rate) : "no limit",
		rate ? "/s" : "");
	api_result_free(&r);
	return EXIT_DONE;
}

enum exit_code cmd_budget_set(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "budget-set"};

	api_verb_add(&v, "kind", a->words[0]);
	api_verb_add(&v, "name", a->words[1]);
	api_verb_add(&v, "bytes_per_s", a->words[2]);
	api_verb_add(&v, "fetches", args_get(a, "fetches", NULL));
	return budget_say(c, &v);
}

enum exit_code cmd_budget_unset(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "budget-unset"};

	api_verb_add(&v, "kind", a->words[0]);
	api_verb_add(&v, "name", a->words[1]);
	return budget_say(c, &v);
}
