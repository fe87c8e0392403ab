// status, why, queue, operations, flow: what is, and why.
#include "server/ctl/flow.h"
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <string.h>

// What a person has to do about discs and sticks.
static void media_say(const struct term *t, const cJSON *fleet)
{
	uint64_t pending = json_u64(fleet, "media_pending"),
		 recorded = json_u64(fleet, "media_recorded");

	if (pending || recorded)
		fprintf(t->file, "media: %" PRIu64 " to be posted, %" PRIu64 " not yet recorded\n",
			recorded, pending);
	if (*json_text(fleet, "media_why"))
		fprintf(t->file, "%smedium %s waits: %s%s\n", term_begin(t, STYLE_WARN),
			ctl_safe(json_text(fleet, "media_waits")),
			ctl_safe(json_text(fleet, "media_why")), term_end(t, STYLE_WARN));
	fputc('\n', t->file);
}

void status_show(const struct term *t, const cJSON *fleet, size_t limit)
{
	int64_t now = (int64_t)json_number(fleet, "server_unix_ms");

	fprintf(t->file, "%s%s%s  up %s, incarnation %" PRIu64 "%s%s\n", term_begin(t, STYLE_BOLD),
		ctl_safe(json_text(fleet, "server")), term_end(t, STYLE_BOLD),
		show_ago(fleet, "started_unix_ms", now), json_u64(fleet, "incarnation"),
		json_bool(fleet, "degraded") ? ", DEGRADED: the store does not take writes" : "",
		json_bool(fleet, "mass_silence") ? ", MASS SILENCE: decisions wait for you" : "");
	fprintf(t->file,
		"%" PRIu64 " client%s: %s%" PRIu64 " online%s, %" PRIu64 " late, %s%" PRIu64
		" silent%s, %" PRIu64 " never heard\n",
		json_u64(fleet, "total"), json_u64(fleet, "total") == 1 ? "" : "s",
		term_begin(t, STYLE_GOOD), json_u64(fleet, "online"), term_end(t, STYLE_GOOD),
		json_u64(fleet, "late"),
		term_begin(t, json_u64(fleet, "silent") ? STYLE_BAD : STYLE_PLAIN),
		json_u64(fleet, "silent"),
		term_end(t, json_u64(fleet, "silent") ? STYLE_BAD : STYLE_PLAIN),
		json_u64(fleet, "never"));
	media_say(t, fleet);
	show_clients(t, cJSON_GetObjectItem(fleet, "clients"), now, limit);
}

static void fleet_show(const struct ctl *c, const cJSON *document)
{
	status_show(&c->out, document, 0);
}

enum exit_code cmd_status(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "status"};

	api_verb_add(&v, "channel", args_get(a, "channel", NULL));
	api_verb_add(&v, "reach", args_get(a, "reach", NULL));
	api_verb_add(&v, "client", a->word_count > 0 ? a->words[0] : NULL);
	return api_show_all(c, &v, "clients", fleet_show);
}

// ---- why

static void why_row(struct table *t, const cJSON *e)
{
	const char *kind = json_text(e, "kind"), *text = json_text(e, "text");
	uint64_t count = json_u64(e, "count"), seq = json_u64(e, "event_seq");

	table_add(t, show_time(e, "last_unix_ms"));
	if (count > 1)
		table_addf(t, "x%" PRIu64, count);
	else
		table_add(t, "");
	table_add_style(t, kind, strcmp(kind, "no-action") == 0 ? STYLE_DIM : STYLE_GOOD);
	table_add_style(t, text, STYLE_BOLD);
	if (json_u64(e, "rule") > 0)
		table_addf(t, "%" PRIu64 " %s", json_u64(e, "rule"), json_text(e, "rule_name"));
	else
		table_add(t, "");
	if (seq > 0)
		table_addf(t, "%s #%" PRIu64, json_text(e, "queue"), seq);
	else
		table_add(t, json_text(e, "queue"));
	table_add_style(t, json_text(e, "reason"), STYLE_DIM);
	table_add(t, json_text(e, "state"));
	show_count(t, json_u64(e, "attempt"));
	if (json_u64(e, "interval_ms") > 0)
		table_addf(t, "%g s, %s", json_number(e, "interval_ms") / 1000,
			json_text(e, "interval_by"));
	else
		table_add(t, "");
	show_count(t, json_u64(e, "flow"));
}

static void why_show(const struct ctl *c, const cJSON *why)
{
	static const struct table_column columns[] = {{"LAST", false, false, false},
		{"", true, false, false}, {"ANSWER", false, false, false},
		{"BECAUSE", false, true, false}, {"RULE", false, true, true},
		{"EVENT", false, true, false}, {"REASON", false, false, true},
		{"STATE SET", false, false, true}, {"TRY", true, false, true},
		{"INTERVAL", false, true, true}, {"FLOW", true, false, true}};
	const char *reach = json_text(why, "reach");
	const cJSON *e, *entries = cJSON_GetObjectItem(why, "entries"),
			*newest = cJSON_GetArrayItem(entries, 0);
	struct table *t = table_new(columns, CTL_COUNT(columns));

	printf("%s%s%s is %s%s%s, state %s", term_begin(&c->out, STYLE_BOLD),
		ctl_safe(json_text(why, "client")), term_end(&c->out, STYLE_BOLD),
		term_begin(&c->out, show_reach_style(reach)), ctl_safe(reach),
		term_end(&c->out, show_reach_style(reach)), ctl_safe(json_text(why, "state")));
	if (newest)
		printf(".\nIts last answer was %s, because: %s\n\n",
			ctl_safe(json_text(newest, "kind")),
			ctl_safe(*json_text(newest, "text") ? json_text(newest, "text")
							    : json_text(newest, "reason")));
	else
		puts(".\nIt was never answered: no heartbeat of it was accepted.");
	cJSON_ArrayForEach(e, entries) why_row(t, e);
	if (table_rows(t) > 0)
		table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_why(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "why"};

	api_verb_add(&v, "client", a->words[0]);
	api_verb_add(&v, "max", args_get(a, "max", NULL));
	return api_show(c, &v, why_show);
}

// ---- queue

#define HERE_MAX 6
#define STRIP_MAX 9 // elements drawn in one line, with HEAD and TAIL

static bool pointer_is_here(const cJSON *pointer, const cJSON *element)
{
	const char *where = json_text(pointer, "at"), *type = json_text(element, "type");
	uint64_t seq = json_u64(pointer, "seq");
	bool is_null = strcmp(where, "head") == 0 || strcmp(where, "tail") == 0;

	if (is_null || strcmp(type, "head") == 0 || strcmp(type, "tail") == 0)
		return strcmp(where, type) == 0;
	return seq == json_u64(element, "seq");
}

// How many pointers stand on an element, and names of some.
static void pointers_text(const cJSON *pointers, const cJSON *element, char *out, size_t size)
{
	uint64_t standing = json_u64(element, "standing"), named = 0;
	const cJSON *p;

	out[0] = '\0';
	cJSON_ArrayForEach(p, pointers)
	{
		if (named < HERE_MAX && pointer_is_here(p, element)) {
			text_join(out, size, "%s", json_text(p, "client"));
			named++;
		}
	}
	if (standing > named)
		text_join(out, size, named ? "and %" PRIu64 " more" : "%" PRIu64, standing - named);
}

static const char *element_word(const cJSON *e, char *out, size_t size)
{
	const char *type = json_text(e, "type");

	if (strcmp(type, "head") == 0)
		snprintf(out, size, "HEAD");
	else if (strcmp(type, "tail") == 0)
		snprintf(out, size, "TAIL");
	else
		snprintf(out, size, "%" PRIu64 " %s", json_u64(e, "seq"), type);
	return out;
}

// HEAD | 17 display | 18 control | ... | TAIL, and below it how many pointers stand where.
static void strip_show(const struct ctl *c, const cJSON *elements)
{
	int count = cJSON_GetArraySize(elements), at = 0;
	char word[64], counts[64];
	const cJSON *e;

	SCOPED_BUF struct buf above, below;
	buf_init(&above, 4096);
	buf_init(&below, 4096);
	cJSON_ArrayForEach(e, elements)
	{
		bool shown =
			count <= STRIP_MAX || at < STRIP_MAX / 2 || at >= count - STRIP_MAX / 2;
		uint64_t standing = json_u64(e, "standing");
		bool gap = !shown && at == STRIP_MAX / 2;

		at++;
		if (!shown && !gap)
			continue;
		if (gap)
			snprintf(word, sizeof(word), "...");
		else
			element_word(e, word, sizeof(word));
		counts[0] = '\0';
		if (standing && shown)
			snprintf(counts, sizeof(counts), "^%" PRIu64, standing);
		int width = (int)strlen(word) > (int)strlen(counts) ? (int)strlen(word)
								    : (int)strlen(counts);
		if (buf_printf(&above, "%s%-*s", at > 1 ? " | " : "  ", width, word) != ERR_OK ||
			buf_printf(&below, "%s%-*s", at > 1 ? "   " : "  ", width, counts) !=
				ERR_OK)
			return;
	}
	printf("%s%.*s%s\n%.*s\n\n", term_begin(&c->out, STYLE_BOLD), (int)above.size,
		(const char *)above.data, term_end(&c->out, STYLE_BOLD), (int)below.size,
		(const char *)below.data);
}

static void queue_headline(const struct ctl *c, const cJSON *queue)
{
	uint64_t rate = json_u64(queue, "rate_bytes_per_s"), detached = json_u64(queue, "detached");

	printf("queue %s%s%s, epoch %" PRIu64 ", weight %" PRIu64 ", %" PRIu64 " waiting, %" PRIu64
	       " pointer%s",
		term_begin(&c->out, STYLE_BOLD), ctl_safe(json_text(queue, "queue")),
		term_end(&c->out, STYLE_BOLD), json_u64(queue, "epoch"), json_u64(queue, "weight"),
		json_u64(queue, "element_total"), json_u64(queue, "pointer_total"),
		json_u64(queue, "pointer_total") == 1 ? "" : "s");
	if (detached)
		printf(", %" PRIu64 " detached", detached);
	if (rate)
		printf(", at most %s/s each", amount_text(rate));
	printf("%s%s\n\n", json_bool(queue, "paused") ? ", paused" : "",
		json_bool(queue, "closed") ? ", closed" : "");
}

static void queue_table(const struct ctl *c, const cJSON *queue)
{
	static const struct table_column columns[] = {{"SEQ", true, false, false},
		{"TYPE", false, false, false}, {"EVENT", false, true, false},
		{"POINTERS HERE", false, true, false}, {"FLOW", true, false, true}};
	const cJSON *e, *pointers = cJSON_GetObjectItem(queue, "pointers");
	const cJSON *elements = cJSON_GetObjectItem(queue, "elements");
	struct table *t = table_new(columns, CTL_COUNT(columns));
	uint64_t left_out =
		json_u64(queue, "element_total") + 2 - (uint64_t)cJSON_GetArraySize(elements);
	uint64_t last = 0;
	char here[512];

	cJSON_ArrayForEach(e, elements)
	{
		const char *type = json_text(e, "type");
		uint64_t seq = json_u64(e, "seq"), first = json_u64(e, "first_seq");
		bool null = strcmp(type, "tail") == 0 || strcmp(type, "head") == 0;

		if (left_out && last && first > last + 1) {
			table_add(t, "");
			table_add_style(t, "...", STYLE_DIM);
			table_addf(t, "%" PRIu64 " more", left_out);
			table_add(t, "");
			table_add(t, "");
		}
		pointers_text(pointers, e, here, sizeof(here));
		table_addf(t, "%" PRIu64, seq);
		table_add_style(t, type, null ? STYLE_DIM : STYLE_BOLD);
		table_add(t, json_text(e, "text"));
		table_add(t, here);
		show_count(t, json_u64(e, "flow"));
		last = seq;
	}
	table_print(t, &c->out);
	table_free(t);
}

static void queue_show(const struct ctl *c, const cJSON *queue)
{
	queue_headline(c, queue);
	strip_show(c, cJSON_GetObjectItem(queue, "elements"));
	queue_table(c, queue);
	if (json_u64(queue, "detached") > 0)
		printf("who is at HEAD is detached: it gets a snapshot, then stands at TAIL\n");
}

static void check_show(const struct ctl *c, const cJSON *found)
{
	ctl_say(c,
		"queue %s is whole: %" PRIu64 " elements, %" PRIu64 " pointers on them, %" PRIu64
		" at the tail, %" PRIu64 " detached",
		ctl_safe(json_text(found, "channel")), json_u64(found, "elements"),
		json_u64(found, "at_elements"), json_u64(found, "at_tail"),
		json_u64(found, "detached"));
}

enum exit_code cmd_queue(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = args_has(a, "check") ? "queue-check" : "queue"};
	const char *name = a->words[0];

	if (name[0] == '@')
		api_verb_add(&v, "client", name + 1);
	else
		api_verb_add(&v, "channel", name);
	return api_show(c, &v, args_has(a, "check") ? check_show : queue_show);
}

// ---- operations, flow

static enum style outcome_style(const char *outcome)
{
	if (strcmp(outcome, "done") == 0)
		return STYLE_GOOD;
	return strcmp(outcome, "open") == 0 ? STYLE_WARN : STYLE_BAD;
}

static void operations_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"OPENED", false, false, false},
		{"CLIENT", false, true, false}, {"OPERATION", true, false, false},
		{"KIND", false, false, false}, {"OUTCOME", false, false, false},
		{"TRY", true, false, true}, {"DETAIL", false, true, false},
		{"FLOW", true, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *o;

	cJSON_ArrayForEach(o, cJSON_GetObjectItem(document, "operations"))
	{
		const char *outcome = json_text(o, "outcome");

		table_add(t, show_time(o, "opened_unix_ms"));
		table_add(t, json_text(o, "client"));
		show_count(t, json_u64(o, "op_id"));
		table_add(t, json_text(o, "kind"));
		table_add_style(t, outcome, outcome_style(outcome));
		show_count(t, json_u64(o, "attempt"));
		table_add(t, json_text(o, "detail"));
		show_count(t, json_u64(o, "flow"));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_operations(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "operations"};

	api_verb_add(&v, "client", a->words[0]);
	api_verb_add(&v, "max", args_get(a, "max", NULL));
	return api_show(c, &v, operations_show);
}

static enum err flow_once(
	struct api *api, struct ctl *c, const struct args *a, enum exit_code *code)
{
	struct arg arg = {"flow", a->words[0]};
	struct api_result r;

	if (args_has(a, "wait"))
		TRY(flow_wait(api, c, arg.value, flow_limit_ms(c, a), &r));
	else
		TRY(api_call(api, "flow", &arg, 1, bytes_of(NULL, 0), &r));
	if (c->json)
		json_print_bytes(stdout, buf_bytes(&r.json));
	else
		flow_show(c, r.document);
	if (args_has(a, "wait"))
		*code = flow_exit_code(r.document);
	api_result_free(&r);
	return ERR_OK;
}

enum exit_code cmd_flow(struct ctl *c, const struct args *a)
{
	struct api *api = NULL;
	enum exit_code code = EXIT_DONE;
	enum err e = api_open(c, &api);

	if (e == ERR_OK)
		e = flow_once(api, c, a, &code);
	if (e != ERR_OK)
		code = ctl_fail(c, e);
	api_close(api);
	return code;
}

// ---- counters

static void counters_show(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {
		{"COUNTER", false, true, false}, {"SINCE START", true, false, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(document, "counters"))
	{
		table_add(t, one->string);
		table_addf(t, "%.0f", cJSON_GetNumberValue(one));
	}
	table_print(t, &c->out);
	table_free(t);
}

enum exit_code cmd_counters(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "counters"};

	(void)a;
	return api_show(c, &v, counters_show);
}
