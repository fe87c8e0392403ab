// channel create|list|publish|rollback|pause|resume|rate|close|weight, consolidate
#include "server/ctl/flow.h"
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <string.h>

enum exit_code cmd_channel_create(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-create"};
	struct api_result r;
	enum exit_code code;

	api_verb_add(&v, "channel", a->words[0]);
	if (api_simple(c, &v, &r, &code))
		return code;
	ctl_say(c, "channel %s", ctl_safe(json_text(r.document, "channel")));
	api_result_free(&r);
	return EXIT_DONE;
}

static void channels_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"CHANNEL", false, true, false},
		{"WEIGHT", true, false, true}, {"CLIENTS", true, false, false},
		{"CAUGHT UP", true, false, false}, {"ELEMENTS", true, false, false},
		{"STATE", false, false, false}, {"RATE", true, false, true},
		{"WANTS", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one, *slot;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "channels"))
	{
		char wants[512] = "";

		cJSON_ArrayForEach(slot, cJSON_GetObjectItem(one, "slots"))
		{
			text_join(wants, sizeof(wants), "%s", show_package(slot));
		}
		uint64_t rate = json_u64(one, "rate_bytes_per_s");
		bool paused = json_bool(one, "paused"), closed = json_bool(one, "closed");

		table_add_style(t, json_text(one, "channel"), STYLE_BOLD);
		table_addf(t, "%.0f", json_number(one, "weight"));
		table_addf(t, "%.0f", json_number(one, "clients"));
		table_addf(t, "%.0f", json_number(one, "caught_up"));
		table_addf(t, "%.0f", json_number(one, "elements"));
		table_add_style(t,
			closed   ? "closed"
			: paused ? "paused"
				 : "open",
			closed || paused ? STYLE_WARN : STYLE_GOOD);
		table_addf(t, "%s%s", rate ? amount_text(rate) : "-", rate ? "/s" : "");
		table_add(t, wants);
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_channel_list(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-list"};

	(void)a;
	return api_show(c, &v, channels_show);
}

enum exit_code cmd_channel_publish(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-publish"};

	api_verb_add(&v, "channel", a->words[0]);
	api_verb_add(&v, "activate", args_has(a, "no-activate") ? "false" : NULL);
	if (api_verb_moment(&v, a, "at") != ERR_OK)
		return ctl_usage(c, "%s", err_text());
	return flow_act(c, a, &v, a->words[1], NULL, NULL);
}

enum exit_code cmd_channel_rollback(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-rollback"};

	api_verb_add(&v, "channel", a->words[0]);
	api_verb_add(&v, "name", a->word_count > 1 ? a->words[1] : NULL);
	api_verb_add(&v, "kind", args_get(a, "kind", NULL));
	return flow_act(c, a, &v, NULL, NULL, NULL);
}

enum exit_code cmd_channel_pause(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-pause"};

	api_verb_add(&v, "channel", a->words[0]);
	return flow_act(c, a, &v, NULL, NULL, NULL);
}

enum exit_code cmd_channel_resume(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-resume"};

	api_verb_add(&v, "channel", a->words[0]);
	return flow_act(c, a, &v, NULL, NULL, NULL);
}

enum exit_code cmd_channel_rate(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-rate"};

	api_verb_add(&v, "channel", a->words[0]);
	api_verb_add(&v, "bytes_per_s", a->words[1]);
	return flow_act(c, a, &v, NULL, NULL, NULL);
}

enum exit_code cmd_channel_close(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-close"};

	api_verb_add(&v, "channel", a->words[0]);
	return flow_act(c, a, &v, NULL, NULL, NULL);
}

static void weight_show(const struct ctl *c, const cJSON *document)
{
	ctl_say(c, "channel %s weighs %" PRIu64, ctl_safe(json_text(document, "channel")),
		json_u64(document, "weight"));
}

enum exit_code cmd_channel_weight(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-weight"};

	api_verb_add(&v, "channel", a->words[0]);
	api_verb_add(&v, "weight", a->words[1]);
	return api_show(c, &v, weight_show);
}

static void consolidated_show(const struct ctl *c, const cJSON *document)
{
	const cJSON *run, *seq;

	cJSON_ArrayForEach(run, cJSON_GetObjectItem(document, "runs"))
	{
		bool first = true;

		printf("consolidate chose=");
		cJSON_ArrayForEach(seq, cJSON_GetObjectItem(run, "chose"))
		{
			printf("%s%.0f", first ? "" : ",", seq->valuedouble);
			first = false;
		}
		printf(" into=%" PRIu64 "\n", json_u64(run, "into"));
	}
	if (cJSON_GetArraySize(cJSON_GetObjectItem(document, "runs")) == 0)
		ctl_say(c, "nothing to consolidate in %s",
			ctl_safe(json_text(document, "channel")));
}

enum exit_code cmd_consolidate(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "channel-consolidate"};

	api_verb_add(&v, "channel", a->words[0]);
	return api_show(c, &v, consolidated_show);
}
