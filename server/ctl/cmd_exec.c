// exec, cancel, interval: what a client is told to do. A command goes inline, or, with
// --by-reference, as a signed object that lies on a data broker.
#include "proto/base/file.h"
#include "proto/envelope.h"
#include "server/ctl/flow.h"
#include "server/ctl/output.h"
#include "server/ctl/publisher.h"
#include "server/ctl/show.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// What is to be run, as it stands on the command line.
struct order {
	struct ctl *c;
	const struct args *a;
	const char *client, *channel; // one of them
	const char *verb;
	const char **args;
	size_t arg_count;
	uint64_t timeout_ms, max_output, expires_unix_ms; // 0: not given
};

static enum err order_read(struct ctl *c, const struct args *a, struct order *o)
{
	uint64_t seconds = 0;
	size_t first;

	*o = (struct order){.c = c, .a = a, .channel = args_get(a, "channel", NULL)};
	first = o->channel ? 0 : 1;
	if (a->word_count <= first)
		return err_set(ERR_FORMAT, "the verb is missing");
	if (a->word_count - first - 1 > LIMIT_ARGS)
		return err_set(ERR_FORMAT, "more than %d arguments", LIMIT_ARGS);
	o->client = o->channel ? NULL : a->words[0];
	o->verb = a->words[first];
	o->args = (const char **)(uintptr_t)&a->words[first + 1];
	o->arg_count = a->word_count - first - 1;
	if (args_has(a, "run-timeout"))
		TRY(args_number(a, "run-timeout", 1, UINT32_MAX, &o->timeout_ms));
	if (args_has(a, "max-output"))
		TRY(args_number(a, "max-output", 1, UINT32_MAX, &o->max_output));
	if (args_has(a, "expires")) {
		TRY(args_number(a, "expires", 1, 366ull * 24 * 3600, &seconds));
		o->expires_unix_ms = (uint64_t)clock_now().wall.ms + seconds * 1000;
	}
	return ERR_OK;
}

static void whom_add(struct api_verb *v, const struct order *o)
{
	api_verb_add(v, o->channel ? "channel" : "client", o->channel ? o->channel : o->client);
}

static enum exit_code order_act(const struct order *o, const struct api_verb *v)
{
	struct output_wish wish = {args_get(o->a, "out", NULL), flow_limit_ms(o->c, o->a)};
	bool output = args_has(o->a, "output");

	return flow_act(o->c, o->a, v, NULL, output ? output_after : NULL, &wish);
}

static enum exit_code exec_inline(const struct order *o)
{
	struct api_verb v = {.verb = "exec"};
	char expires[24];

	snprintf(expires, sizeof(expires), "%" PRIu64, o->expires_unix_ms);
	whom_add(&v, o);
	api_verb_add(&v, "verb", o->verb);
	for (size_t i = 0; i < o->arg_count; i++)
		api_verb_add(&v, "arg", o->args[i]);
	api_verb_add(&v, "timeout", args_get(o->a, "run-timeout", NULL));
	api_verb_add(&v, "max_output", args_get(o->a, "max-output", NULL));
	api_verb_add(&v, "expires", o->expires_unix_ms ? expires : NULL);
	return order_act(o, &v);
}

// ---- by reference

static enum err order_sign(const struct order *o, struct buf *envelope)
{
	const char *dir = args_get(o->a, "ca", o->c->settings.ca_dir);
	struct execute_command command = {
		.verb = o->verb,
		.args = o->args,
		.arg_count = o->arg_count,
		.timeout_ms = (uint32_t)o->timeout_ms,
		.max_output_bytes = (uint32_t)o->max_output,
		.expires_unix_ms = (int64_t)o->expires_unix_ms,
	};
	struct signed_command signed_command = {
		.client_id = o->client ? o->client : "", .command = &command};
	SCOPED_BUF struct buf payload;
	struct sign_key *key = NULL;
	char path[PATH_MAX];

	buf_init(&payload, LIMIT_ENVELOPE);
	if (!*dir)
		return err_set(ERR_NOT_FOUND, "no software key: set [ca] dir, or give --ca DIR");
	TRY(path_join(path, sizeof(path), dir, "keys/software.key"));
	TRY(signed_command_encode(&signed_command, &payload));
	TRY(sign_key_read(path, &key));
	enum err e = envelope_make(PURPOSE_COMMAND, buf_bytes(&payload), &key, 1, envelope);
	sign_key_free(key);
	return e;
}

// The server names the data broker, the publisher lays the command there.
static enum err order_place(const struct order *o, struct bytes envelope, cJSON **placed)
{
	struct api_result place;
	struct api *api = NULL;
	SCOPED_FREE char *hex = malloc(2 * envelope.size + 1);

	if (!hex)
		return err_set(ERR_MEMORY, "no memory for a command");
	hex_encode(envelope.data, envelope.size, hex);
	enum err e = api_open(o->c, &api);
	if (e == ERR_OK)
		e = api_call(api, "command-place", NULL, 0, bytes_of(NULL, 0), &place);
	api_close(api);
	TRY(e);
	cJSON *request = cJSON_Duplicate(place.document, true);
	api_result_free(&place);
	cJSON_AddStringToObject(request, "envelope", hex);
	return publisher_simple(o->c, "command-put", request, placed);
}

static enum err reference_make(const struct order *o, cJSON **placed, cJSON **status)
{
	SCOPED_BUF struct buf envelope;

	buf_init(&envelope, LIMIT_ENVELOPE);
	TRY(order_sign(o, &envelope));
	TRY(order_place(o, buf_bytes(&envelope), placed));
	return publisher_simple(o->c, "status", cJSON_CreateObject(), status);
}

static enum exit_code exec_by_reference(const struct order *o)
{
	SCOPED_JSON cJSON *placed = NULL;
	SCOPED_JSON cJSON *status = NULL;
	struct api_verb v = {.verb = "exec-ref"};
	enum err e = reference_make(o, &placed, &status);

	if (e != ERR_OK)
		return ctl_fail(o->c, e);
	ctl_note(o->c, "signed command %s/%s/%s", ctl_safe(json_text(placed, "broker")),
		ctl_safe(json_text(status, "publisher")), ctl_safe(json_text(placed, "command")));
	whom_add(&v, o);
	api_verb_add(&v, "publisher", json_text(status, "publisher"));
	api_verb_add(&v, "sha256", json_text(placed, "command"));
	api_verb_add(&v, "broker", json_text(placed, "broker"));
	return order_act(o, &v);
}

// BROKER/PUBLISHER/SHA256, cut apart in `text`.
static bool reference_add(struct api_verb *v, const char *reference, char text[256])
{
	char *publisher, *sha256;

	if (!str_copy(text, 256, reference) || !(publisher = strchr(text, '/')) ||
		!(sha256 = strchr(publisher + 1, '/')))
		return false;
	*publisher++ = *sha256++ = '\0';
	api_verb_add(v, "publisher", publisher);
	api_verb_add(v, "sha256", sha256);
	api_verb_add(v, "broker", text);
	return true;
}

// One that lies there already.
static enum exit_code exec_reference(struct ctl *c, const struct args *a)
{
	const char *channel = args_get(a, "channel", NULL);
	struct api_verb v = {.verb = "exec-ref"};
	char text[256];

	if (a->word_count != (channel ? 0 : 1) ||
		!reference_add(&v, args_get(a, "reference", ""), text))
		return ctl_usage(
			c, "--reference BROKER/PUBLISHER/SHA256 stands in place of a verb");
	api_verb_add(&v, channel ? "channel" : "client", channel ? channel : a->words[0]);
	return flow_act(c, a, &v, NULL, NULL, NULL);
}

// ---- taking it back: the server first, so that nobody is told while the publisher takes it away

static enum err command_take_away(struct ctl *c, const cJSON *withdrawn)
{
	SCOPED_JSON cJSON *status = NULL;
	SCOPED_JSON cJSON *taken = NULL;
	const char *publisher = json_text(withdrawn, "publisher");

	TRY(publisher_simple(c, "status", cJSON_CreateObject(), &status));
	if (strcmp(json_text(status, "publisher"), publisher) != 0)
		return err_set(ERR_NOT_FOUND,
			"nobody is told of it any more, but it lies on %s until %s takes it away",
			json_text(withdrawn, "broker"), publisher);
	return publisher_simple(c, "command-put", cJSON_Duplicate(withdrawn, true), &taken);
}

enum exit_code cmd_command_withdraw(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "command-withdraw"};
	struct api_result r;
	struct api *api = NULL;
	char text[256];

	if (!strchr(a->words[0], '/'))
		api_verb_add(&v, "flow", a->words[0]);
	else if (!reference_add(&v, a->words[0], text))
		return ctl_usage(c, "FLOW, or BROKER/PUBLISHER/SHA256");
	enum err e = api_open(c, &api);
	if (e == ERR_OK)
		e = api_call(api, v.verb, v.args, v.arg_count, v.body, &r);
	api_close(api);
	if (e != ERR_OK)
		return ctl_fail(c, e);
	e = command_take_away(c, r.document);
	if (e == ERR_OK && c->json)
		json_print_bytes(stdout, buf_bytes(&r.json));
	else if (e == ERR_OK)
		ctl_say(c, "withdrawn: nobody is told of it any more; told to give it up: %.0f",
			json_number(r.document, "cancelled"));
	api_result_free(&r);
	return e == ERR_OK ? EXIT_DONE : ctl_fail(c, e);
}

enum exit_code cmd_exec(struct ctl *c, const struct args *a)
{
	struct order o;

	if (args_has(a, "reference"))
		return exec_reference(c, a);

	if (order_read(c, a, &o) != ERR_OK)
		return ctl_usage(c, "%s", err_text());
	if (args_has(a, "output") && (!o.client || !args_has(a, "wait")))
		return ctl_usage(c, "--output is of one client, and comes with --wait");
	if (args_has(a, "out") && !args_has(a, "output"))
		return ctl_usage(c, "--out comes with --output");
	return args_has(a, "by-reference") ? exec_by_reference(&o) : exec_inline(&o);
}

enum exit_code cmd_cancel(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "cancel"};

	api_verb_add(&v, "client", a->words[0]);
	api_verb_add(&v, "op", a->word_count > 1 ? a->words[1] : NULL);
	return flow_act(c, a, &v, NULL, NULL, NULL);
}

enum exit_code cmd_interval(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "interval"};
	struct api_result r;
	enum exit_code code;

	api_verb_add(&v, "client", a->words[0]);
	api_verb_add(&v, "ms", a->words[1]);
	if (args_has(a, "operation")) {
		api_verb_add(&v, "operation", "true");
		return flow_act(c, a, &v, NULL, NULL, NULL);
	}
	if (api_simple(c, &v, &r, &code))
		return code;
	ctl_say(c, "%s: heartbeat every %.0f ms, told with the next response",
		ctl_safe(a->words[0]), json_number(r.document, "interval_ms"));
	api_result_free(&r);
	return EXIT_DONE;
}

enum exit_code cmd_silence_release(struct ctl *c, const struct args *a)
{
	const struct api_verb v = {.verb = "silence-release"};
	struct api_result r;
	enum exit_code code;

	(void)a;
	if (api_simple(c, &v, &r, &code))
		return code;
	ctl_say(c, "what waited for the silent clients goes on");
	api_result_free(&r);
	return EXIT_DONE;
}
