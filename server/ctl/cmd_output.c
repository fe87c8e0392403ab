// output CLIENT OPERATION, and exec --wait --output: all that the program of a command said.
//
//   ask output -> (the client sends it in parts) -> reports -> of this operation? -> bytes
#include "proto/digest.h"
#include "server/ctl/output.h"
#include "server/ctl/report_data.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// The client says why not, in its detail.
static enum err answer_wait(struct api *api, struct ctl *c, const cJSON *event, uint32_t limit_ms)
{
	struct api_result flow;
	char id[24];

	snprintf(id, sizeof(id), "%" PRIu64, json_u64(event, "flow"));
	TRY(flow_wait(api, c, id, limit_ms, &flow));
	enum err e = ERR_OK;
	if (flow_exit_code(flow.document) != EXIT_DONE) {
		const cJSON *one =
			cJSON_GetArrayItem(cJSON_GetObjectItem(flow.document, "clients"), 0);

		e = err_set(ERR_NOT_FOUND, "%s: %s", json_text(one, "client"),
			json_text(one, "detail"));
	}
	api_result_free(&flow);
	return e;
}

static enum err output_ask(
	struct api *api, struct ctl *c, const char *client, const char *op, uint32_t limit_ms)
{
	const struct arg args[] = {{"client", client}, {"what", "output"}, {"op", op}};
	struct api_result event;

	TRY(api_call(api, "ask", args, CTL_COUNT(args), bytes_of(NULL, 0), &event));
	enum err e = ERR_OK;
	if (!json_bool(event.document, "fresh"))
		e = answer_wait(api, c, event.document, limit_ms);
	api_result_free(&event);
	return e;
}

// The server keeps the last output of a client: another seat may have asked meanwhile.
static enum err output_fetch(struct api *api, struct ctl *c, const char *client, const char *op,
	uint32_t limit_ms, struct api_result *report)
{
	const struct arg args[] = {{"client", client}, {"what", "output"}};
	uint64_t number = 0;

	TRY(number_parse(op, "OPERATION", 1, UINT64_MAX, &number));
	TRY(output_ask(api, c, client, op, limit_ms));
	TRY(api_call(api, "reports", args, CTL_COUNT(args), bytes_of(NULL, 0), report));
	if (json_u64(report->document, "output_of") == number)
		return ERR_OK;
	api_result_free(report);
	return err_set(ERR_NOT_NOW, "somebody asked for another output meanwhile: ask again");
}

// Puts size and hash of the bytes beside them.
static enum err output_decode(cJSON *report, struct buf *data)
{
	char hex[65];

	TRY(report_data_decode(json_text(report, "data"), data));
	struct digest sum = sha256(data->data, data->size);
	hex_encode(sum.b, sizeof(sum.b), hex);
	cJSON_AddNumberToObject(report, "bytes", (double)data->size);
	cJSON_AddStringToObject(report, "sha256", hex);
	return ERR_OK;
}

static enum err output_give(struct ctl *c, cJSON *report, const struct output_wish *wish)
{
	SCOPED_BUF struct buf data;

	buf_init(&data, LIMIT_REPORT_BYTES + 3);
	TRY(output_decode(report, &data));
	if (wish->file) {
		TRY(report_data_write(buf_bytes(&data), wish->file));
		cJSON_DeleteItemFromObject(report, "data");
	}
	if (json_bool(report, "truncated"))
		ctl_note(c, "more was said than the limit lets through");
	if (c->json)
		return ERR_OK;
	if (wish->file)
		ctl_say(c, "%zu bytes in %s", data.size, ctl_safe(wish->file));
	else
		report_lines_show(buf_bytes(&data));
	return ERR_OK;
}

enum err output_after(struct api *api, struct ctl *c, const cJSON *flow, void *ctx)
{
	const struct output_wish *wish = ctx;
	const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItem(flow, "clients"), 0);
	struct api_result report;
	char op[24];

	snprintf(op, sizeof(op), "%" PRIu64, json_u64(one, "op_id"));
	if (!c->json && !c->quiet)
		flow_show(c, flow);
	if (strcmp(op, "0") == 0)
		return err_set(ERR_NOT_FOUND, "%s did not run it", json_text(one, "client"));
	TRY(output_fetch(api, c, json_text(one, "client"), op, wish->limit_ms, &report));
	enum err e = output_give(c, report.document, wish);
	if (e == ERR_OK && c->json) {
		SCOPED_JSON cJSON *both = cJSON_Duplicate(flow, true);

		cJSON_AddItemReferenceToObject(both, "output", report.document);
		json_print(stdout, both, true);
	}
	api_result_free(&report);
	return e;
}

enum exit_code cmd_output(struct ctl *c, const struct args *a)
{
	const struct output_wish wish = {args_get(a, "out", NULL), flow_limit_ms(c, a)};
	struct api_result report;
	struct api *api = NULL;
	enum err e = api_open(c, &api);

	if (e == ERR_OK)
		e = output_fetch(api, c, a->words[0], a->words[1], wish.limit_ms, &report);
	if (e == ERR_OK) {
		e = output_give(c, report.document, &wish);
		if (e == ERR_OK && c->json)
			json_print(stdout, report.document, true);
		api_result_free(&report);
	}
	enum exit_code code = e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
	api_close(api);
	return code;
}
