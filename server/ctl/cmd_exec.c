// exec, cancel, interval: what a client is told to do.
#include "server/ctl/flow.h"
#include "server/ctl/show.h"
#include <stdlib.h>
#include <string.h>

enum exit_code cmd_exec(struct ctl *c, const struct args *a)
{
	const char *channel = args_get(a, "channel", NULL);
	size_t first = channel ? 0 : 1;
	struct api_verb v = {.verb = "exec"};

	if (a->word_count <= first)
		return ctl_usage(c, "the verb is missing");
	if (a->word_count - first - 1 > LIMIT_ARGS)
		return ctl_usage(c, "more than %d arguments", LIMIT_ARGS);
	api_verb_add(&v, channel ? "channel" : "client", channel ? channel : a->words[0]);
	api_verb_add(&v, "verb", a->words[first]);
	for (size_t i = first + 1; i < a->word_count; i++)
		api_verb_add(&v, "arg", a->words[i]);
	api_verb_add(&v, "timeout", args_get(a, "run-timeout", NULL));
	api_verb_add(&v, "max_output", args_get(a, "max-output", NULL));
	return flow_act(c, a, &v, NULL, NULL, NULL);
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
	if (api_simple(c, &v, &r, &code))
		return code;
	ctl_say(c, "%s: heartbeat every %.0f ms, told with the next response",
		ctl_safe(a->words[0]), json_number(r.document, "interval_ms"));
	api_result_free(&r);
	return EXIT_DONE;
}
