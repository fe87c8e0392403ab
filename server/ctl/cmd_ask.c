// ask CLIENT WHAT, report CLIENT WHAT: what a client says of itself.
#include "server/ctl/flow.h"
#include "server/ctl/report_data.h"
#include "server/ctl/show.h"
#include <inttypes.h>
#include <string.h>

struct question {
	const char *client, *what, *out;
};

// ---- for people

static void usage_show(const struct ctl *c, const cJSON *rows)
{
	static const struct table_column columns[] = {{"FROM", false, false, false},
		{"SECONDS", true, false, false}, {"PICTURE", false, true, false},
		{"ENDED", false, false, true}, {"PACKAGE", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, rows)
	{
		table_add(t, show_when(one, "from_unix_ms"));
		table_addf(t, "%.1f", json_number(one, "duration_ms") / 1000);
		table_add(t, json_text(one, "image"));
		table_add(t, json_text(one, "result"));
		table_add(t, show_digest(one, "package"));
	}
	table_print(t, &c->out);
	table_free(t);
}

static void software_show(const struct ctl *c, const cJSON *rows)
{
	static const struct table_column columns[] = {{"NAME", false, true, false},
		{"VERSION", false, true, false}, {"PACKAGE", false, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, rows)
	{
		table_add(t, json_text(one, "name"));
		table_add(t, json_text(one, "version"));
		table_add(t, *json_text(one, "package") ? show_digest(one, "package") : "");
	}
	table_print(t, &c->out);
	table_free(t);
}

static void holdings_show(const struct ctl *c, const cJSON *rows)
{
	static const struct table_column columns[] = {{"PACKAGE", false, false, false},
		{"COMPLETE", false, false, false}, {"CHUNKS", true, false, false},
		{"OF", true, false, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, rows)
	{
		table_add(t, show_digest(one, "package"));
		table_add(t, cJSON_IsTrue(cJSON_GetObjectItem(one, "complete")) ? "yes" : "no");
		table_addf(t, "%.0f", json_number(one, "chunks_have"));
		table_addf(t, "%.0f", json_number(one, "chunks_total"));
	}
	table_print(t, &c->out);
	table_free(t);
}

static void head_show(const cJSON *d)
{
	printf("%s: %s of %s, report %" PRIu64 "%s\n", ctl_safe(json_text(d, "client")),
		ctl_safe(json_text(d, "what")), show_when(d, "received_unix_ms"),
		json_u64(d, "report_id"),
		cJSON_IsTrue(cJSON_GetObjectItem(d, "truncated"))
			? " (more was there than the limit lets through)"
			: "");
}

static void report_print(const struct ctl *c, const cJSON *d, struct bytes data)
{
	const char *what = json_text(d, "what");

	head_show(d);
	if (strcmp(what, "usage") == 0)
		usage_show(c, cJSON_GetObjectItem(d, "usage"));
	else if (strcmp(what, "software") == 0)
		software_show(c, cJSON_GetObjectItem(d, "software"));
	else if (strcmp(what, "holdings") == 0)
		holdings_show(c, cJSON_GetObjectItem(d, "holdings"));
	else if (strcmp(what, "logs") == 0 || strcmp(what, "output") == 0)
		report_lines_show(data);
	else if (strcmp(what, "screenshot") == 0)
		printf("a PNG of %zu bytes: --out FILE writes it\n", data.size);
	else
		show_document(c, cJSON_GetObjectItem(d, "display"));
}

static enum err report_show(struct ctl *c, const struct question *q, const struct api_result *r)
{
	const cJSON *coded = cJSON_GetObjectItem(r->document, "data");
	SCOPED_BUF struct buf data;

	buf_init(&data, 64 * 1024 * 1024);
	if (cJSON_IsString(coded))
		TRY(report_data_decode(coded->valuestring, &data));
	if (q->out && !coded)
		return err_set(ERR_UNSUPPORTED, "a report of %s is no file", q->what);
	if (q->out) {
		TRY(report_data_write(buf_bytes(&data), q->out));
		ctl_note(c, "%zu bytes in %s", data.size, ctl_safe(q->out));
		cJSON_DeleteItemFromObject(r->document, "data");
	}
	if (c->json)
		json_print(stdout, r->document, true);
	else if (q->out)
		head_show(r->document);
	else
		report_print(c, r->document, buf_bytes(&data));
	return ERR_OK;
}

static enum err report_take(struct api *api, struct ctl *c, const struct question *q)
{
	struct arg args[] = {{"client", q->client}, {"what", q->what}};
	struct api_result r;

	TRY(api_call(api, "reports", args, 2, bytes_of(NULL, 0), &r));
	enum err e = report_show(c, q, &r);
	api_result_free(&r);
	return e;
}

static enum err answer_show(struct api *api, struct ctl *c, const cJSON *flow, void *ctx)
{
	if (flow && flow_exit_code(flow) != EXIT_DONE) {
		const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItem(flow, "clients"), 0);

		return err_set(ERR_NOT_NOW, "%s did not answer: %s", json_text(one, "client"),
			json_text(one, "detail"));
	}
	return report_take(api, c, ctx);
}

enum exit_code cmd_ask(struct ctl *c, const struct args *a)
{
	static const char *const passed[][2] = {{"since", "since"}, {"max-bytes", "max_bytes"},
		{"unit", "unit"}, {"pattern", "pattern"}, {"lines", "lines"}, {"to", "to"},
		{"max-age", "max_age"}};
	struct question q = {a->words[0], a->words[1], args_get(a, "out", NULL)};
	struct api_verb v = {.verb = "ask"};

	api_verb_add(&v, "client", q.client);
	api_verb_add(&v, "what", q.what);
	for (size_t i = 0; i < CTL_COUNT(passed); i++)
		api_verb_add(&v, passed[i][1], args_get(a, passed[i][0], NULL));
	return flow_act(c, a, &v, NULL, answer_show, &q);
}

enum exit_code cmd_reports(struct ctl *c, const struct args *a)
{
	struct question q = {
		a->words[0], a->word_count > 1 ? a->words[1] : "display", args_get(a, "out", NULL)};
	struct api *api = NULL;
	enum err e = api_open(c, &api);

	if (e == ERR_OK)
		e = report_take(api, c, &q);
	enum exit_code code = e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
	api_close(api);
	return code;
}

// freshness [WHAT AGE]: how old an answer may be before the server asks of its own accord.
static void freshness_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"WHAT", false, false, false},
		{"OLDEST, S", true, false, false}, {"BY SETTINGS", true, false, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "freshness"))
	{
		table_add(t, json_text(one, "what"));
		if (json_u64(one, "max_age_s") > 0)
			table_addf(t, "%" PRIu64, json_u64(one, "max_age_s"));
		else
			table_add(t, "-");
		table_addf(t, "%" PRIu64, json_u64(one, "by_settings_s"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_freshness(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "freshness"};

	if (a->word_count > 0)
		api_verb_add(&v, "what", a->words[0]);
	if (a->word_count > 1 && strcmp(a->words[1], "settings") == 0)
		api_verb_add(&v, "reset", "true");
	else if (a->word_count > 1)
		api_verb_add(&v, "max_age", a->words[1]);
	return api_show(c, &v, freshness_show);
}
