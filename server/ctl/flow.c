// An act is one call; its end is polled, because answers of devices come when devices come.
#include "server/ctl/flow.h"

#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 400

uint32_t flow_limit_ms(const struct ctl *c, const struct args *a)
{
	return args_has(a, "timeout") ? c->timeout_ms : 600000;
}

static void flow_progress(struct progress *p, const cJSON *flow)
{
	char what[128];
	uint64_t total = json_u64(flow, "total"), done = json_u64(flow, "done"),
		 failed = json_u64(flow, "failed");

	snprintf(what, sizeof(what), "%" PRIu64 " open, %" PRIu64 " waiting, %" PRIu64 " failed",
		json_u64(flow, "open"), json_u64(flow, "waiting"), failed);
	progress_show(p, done + failed, total, what);
}

static enum err flow_time_out(const cJSON *flow, uint32_t limit_ms)
{
	return err_set(ERR_TIMEOUT,
		"after %u s %" PRIu64 " of %" PRIu64 " clients are done (flow %s goes on)",
		limit_ms / 1000, json_u64(flow, "done"), json_u64(flow, "total"),
		json_text(flow, "flow"));
}

enum err flow_wait(
	struct api *a, struct ctl *c, const char *flow, uint32_t limit_ms, struct api_result *out)
{
	struct mono end = mono_add_ms(clock_now().mono, limit_ms);
	struct arg arg = {"flow", flow};
	struct progress p;

	progress_begin(&p, c, false);
	for (;;) {
		enum err e = api_call(a, "flow", &arg, 1, bytes_of(NULL, 0), out);
		if (e != ERR_OK) {
			progress_end(&p);
			return e;
		}
		flow_progress(&p, out->document);
		if (json_bool(out->document, "finished"))
			break;
		if (mono_since_ms(end, clock_now().mono) <= 0)
			e = flow_time_out(out->document, limit_ms);
		api_result_free(out);
		if (e == ERR_OK)
			e = api_wait(a, POLL_MS);
		if (e != ERR_OK) {
			progress_end(&p);
			return e;
		}
	}
	progress_end(&p);
	return ERR_OK;
}

enum exit_code flow_exit_code(const cJSON *flow)
{
	return json_u64(flow, "done") == json_u64(flow, "total") ? EXIT_DONE : EXIT_FAILED;
}

static enum style flow_style(const char *state)
{
	if (strcmp(state, "done") == 0)
		return STYLE_GOOD;
	return strcmp(state, "failed") == 0 ? STYLE_BAD : STYLE_WARN;
}

static void flow_time(struct table *t, const cJSON *one, const char *key)
{
	table_add(t, json_number(one, key) > 0 ? show_time(one, key) : "");
}

static void flow_picture(struct table *t, const cJSON *one)
{
	const char *image = json_text(one, "shown_image");

	if (json_number(one, "shown_unix_ms") > 0)
		table_addf(t, "%s at %s", image, show_time(one, "shown_unix_ms"));
	else
		table_add(t, json_bool(one, "shows_it") && !*image ? "yes" : image);
}

// What the operator did.
static void flow_act_show(const cJSON *flow)
{
	if (json_number(flow, "at_unix_ms") <= 0)
		return;
	printf("%s by %s at %s: queue %s", ctl_safe(json_text(flow, "verb")),
		ctl_safe(json_text(flow, "seat")), show_time(flow, "at_unix_ms"),
		ctl_safe(json_text(flow, "queue")));
	if (json_u64(flow, "event_seq") > 0)
		printf(", event %" PRIu64, json_u64(flow, "event_seq"));
	if (*json_text(flow, "package"))
		printf(", package %.8s", ctl_safe(json_text(flow, "package")));
	puts("\n");
}

void flow_show(const struct ctl *c, const cJSON *flow)
{
	static const struct table_column columns[] = {{"CLIENT", false, true, false},
		{"STATE", false, false, false}, {"ANSWER", false, false, false},
		{"TOLD", false, false, true}, {"FETCHED FROM", false, true, true},
		{"THE CLIENT SAYS", false, false, false}, {"%", true, false, false},
		{"ENDED", false, false, true}, {"SHOWN", false, true, true},
		{"TRY", true, false, true}, {"DETAIL", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	flow_act_show(flow);
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(flow, "clients"))
	{
		table_add_style(t, json_text(one, "client"), STYLE_BOLD);
		table_add_style(t, json_text(one, "state"), flow_style(json_text(one, "state")));
		table_add(t, json_text(one, "kind"));
		flow_time(t, one, "told_unix_ms");
		table_add(t, json_text(one, "fetched_from"));
		table_add(t, json_text(one, "status"));
		table_addf(t, "%.0f", json_number(one, "percent"));
		flow_time(t, one, "ended_unix_ms");
		flow_picture(t, one);
		show_count(t, json_u64(one, "attempt"));
		table_add(t, json_text(one, "detail"));
	}
	if (table_rows(t) > 0)
		table_print(t, &c->out);
	table_free(t);
	printf("%" PRIu64 " of %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " open, %" PRIu64
	       " waiting",
		json_u64(flow, "done"), json_u64(flow, "total"), json_u64(flow, "failed"),
		json_u64(flow, "open"), json_u64(flow, "waiting"));
	if (json_u64(flow, "expired") > 0)
		printf(", %" PRIu64 " expired", json_u64(flow, "expired"));
	putchar('\n');
}

// ---- an act, and perhaps the wait for its end

// Numbers of more than 15 digits come as text (json.h), shorter ones as numbers.
static void flow_text(const cJSON *event, char out[24])
{
	snprintf(out, 24, "%" PRIu64, json_u64(event, "flow"));
}

static enum err act_wait(struct api *api, struct ctl *c, const struct args *a, const cJSON *event,
	flow_after after, void *ctx, enum exit_code *code)
{
	struct api_result flow;
	char id[24];

	flow_text(event, id);
	TRY(flow_wait(api, c, id, flow_limit_ms(c, a), &flow));
	*code = flow_exit_code(flow.document);
	enum err e = ERR_OK;
	if (after)
		e = after(api, c, flow.document, ctx);
	else if (c->json)
		json_print_bytes(stdout, buf_bytes(&flow.json));
	else if (!c->quiet)
		flow_show(c, flow.document);
	api_result_free(&flow);
	return e;
}

static void event_say(const struct ctl *c, const cJSON *event)
{
	char id[24];
	const char *package = *json_text(event, "name") ? show_package(event) : "";

	flow_text(event, id);
	ctl_say(c, "%s%squeue %s, event %.0f, flow %s", ctl_safe(package), *package ? ": " : "",
		ctl_safe(json_text(event, "queue")), json_number(event, "seq"), id);
}

static enum err act(struct api *api, struct ctl *c, const struct args *a, struct api_verb *v,
	const char *package_arg, flow_after after, void *ctx, enum exit_code *code)
{
	struct api_result event;
	char package[65];

	if (package_arg) {
		TRY(package_resolve(api, package_arg, package));
		api_verb_add(v, "package", package);
	}
	TRY(api_call(api, v->verb, v->args, v->arg_count, v->body, &event));
	enum err e = ERR_OK;
	if (after && cJSON_IsTrue(cJSON_GetObjectItem(event.document, "fresh")))
		e = after(api, c, NULL, ctx); // answered already: nothing was begun
	else if (args_has(a, "wait"))
		e = act_wait(api, c, a, event.document, after, ctx, code);
	else if (c->json)
		json_print_bytes(stdout, buf_bytes(&event.json));
	else
		event_say(c, event.document);
	api_result_free(&event);
	return e;
}

enum exit_code flow_act(struct ctl *c, const struct args *a, const struct api_verb *v,
	const char *package_arg, flow_after after, void *ctx)
{
	struct api_verb verb = *v;
	struct api *api = NULL;
	enum exit_code code = EXIT_DONE;
	enum err e = api_open(c, &api);

	if (e == ERR_OK)
		e = act(api, c, a, &verb, package_arg, after, ctx, &code);
	if (e != ERR_OK)
		code = ctl_fail(c, e);
	api_close(api);
	return code;
}
