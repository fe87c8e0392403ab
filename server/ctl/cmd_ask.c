// ask CLIENT WHAT, report CLIENT WHAT: what a client says of itself.
#include "server/ctl/flow.h"
#include "server/ctl/show.h"
#include <inttypes.h>
#include <string.h>

struct question {
	const char *client, *what, *out;
};

// Logs and screenshots come as base64: to a file, or logs to standard output.
static enum err data_write(const char *base64, const char *path, size_t *size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	SCOPED_BUF struct buf out;
	uint32_t bits = 0;
	int have = 0;

	buf_init(&out, 64 * 1024 * 1024);
	for (const char *p = base64; *p && *p != '='; p++) {
		const char *at = strchr(digits, *p);

		if (!at)
			return err_set(ERR_FORMAT, "the report's data is not base64");
		bits = bits << 6 | (uint32_t)(at - digits);
		have += 6;
		if (have >= 8) {
			uint8_t byte = (uint8_t)(bits >> (have - 8));

			have -= 8;
			TRY(buf_append(&out, &byte, 1));
		}
	}
	*size = out.size;
	FILE *f = fopen(path, "wb");
	if (!f)
		return err_set_errno("cannot create %s", path);
	size_t n = out.size ? fwrite(out.data, 1, out.size, f) : 0;
	if (fclose(f) != 0 || n != out.size)
		return err_set_errno("cannot write %s", path);
	return ERR_OK;
}

static enum err report_show(struct ctl *c, const struct question *q, const struct api_result *r)
{
	const char *data = json_text(r->document, "data");
	size_t size = 0;

	if (*data && q->out) {
		TRY(data_write(data, q->out, &size));
		ctl_note(c, "%zu bytes in %s", size, ctl_safe(q->out));
		cJSON_DeleteItemFromObject(r->document, "data");
	}
	if (c->json)
		json_print(stdout, r->document, true);
	else
		show_document(c, r->document);
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
	if (flow_exit_code(flow) != EXIT_DONE) {
		const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItem(flow, "clients"), 0);

		return err_set(ERR_NOT_NOW, "%s did not answer: %s", json_text(one, "client"),
			json_text(one, "detail"));
	}
	return report_take(api, c, ctx);
}

enum exit_code cmd_ask(struct ctl *c, const struct args *a)
{
	static const char *const passed[][2] = {{"since", "since"}, {"max-bytes", "max_bytes"},
		{"unit", "unit"}, {"pattern", "pattern"}, {"lines", "lines"}, {"to", "to"}};
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
