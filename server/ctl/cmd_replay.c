// replay: mosquitto_sub -F '%U %t %x' | helioctl replay --set mismatch_limit=2
#include "server/ctl/replay.h"

#include "proto/topics.h"
#include "server/accordance.h"
#include "server/ctl/ctl.h"
#include "server/ctl/decode.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include "server/policy.h"
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// ---- policies

// Those that a recording can answer, for an error.
static const char *names_seen(char out[256])
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < policy_row_count; i++)
		if (policy_rows[i].seen && at < 200)
			at += (size_t)snprintf(
				out + at, 256 - at, "%s%s", at ? ", " : "", policy_rows[i].name);
	return out;
}

static const struct policy_row *row_of(const char *name, size_t size)
{
	for (size_t i = 0; i < policy_row_count; i++)
		if (strlen(policy_rows[i].name) == size &&
			strncmp(policy_rows[i].name, name, size) == 0)
			return &policy_rows[i];
	return NULL;
}

static enum err policy_set(struct policy *p, const char *text)
{
	const char *equals = strchr(text, '=');
	const struct policy_row *row = equals ? row_of(text, (size_t)(equals - text)) : NULL;
	char names[256], *end = NULL;

	if (!equals)
		return err_set(ERR_FORMAT, "%s: give KEY=VALUE, with %s", ctl_safe(text),
			names_seen(names));
	if (!row)
		return err_set(ERR_FORMAT,
			"%.*s is no setting of [server] that decides an answer: those are %s",
			(int)(equals - text < 64 ? equals - text : 64), ctl_safe(text),
			names_seen(names));
	if (!row->seen)
		return err_set(ERR_UNSUPPORTED,
			"what %s decides cannot be seen in a recording: it is not replayed",
			row->name);
	unsigned long value = strtoul(equals + 1, &end, 10);
	if (equals[1] < '0' || equals[1] > '9' || *end || value < row->least || value > row->most)
		return err_set(ERR_RANGE, "%s is a number from %u to %u", row->name, row->least,
			row->most);
	*(uint32_t *)((char *)p + row->offset) = (uint32_t)value;
	return ERR_OK;
}

static struct replay_policy replay_policy_of(const struct policy *p)
{
	return (struct replay_policy){
		.mismatch_limit = p->mismatch_limit,
		.resend_limit = p->resend_limit,
		.attempts_max = p->attempts_max,
		.op_deadline_s = p->op_deadline_s,
		.intervals = {.idle_ms = p->interval_ms,
			.busy_ms = policy_busy_ms(p),
			.min_ms = p->interval_min_ms,
			.max_ms = p->interval_max_ms},
	};
}

static enum err policies(
	const struct args *a, struct replay_policy *was, struct replay_policy *would)
{
	struct policy p;

	policy_default(&p);
	for (size_t i = 0; i < a->option_count; i++)
		if (strcmp(a->options[i].name, "was") == 0)
			TRY(policy_set(&p, a->options[i].value));
	*was = replay_policy_of(&p);
	for (size_t i = 0; i < a->option_count; i++)
		if (strcmp(a->options[i].name, "set") == 0)
			TRY(policy_set(&p, a->options[i].value));
	*would = replay_policy_of(&p);
	return ERR_OK;
}

// ---- the recording

struct reading {
	struct replay *replay;
	struct arena arena;
	struct table *table;
	cJSON *list;
	uint64_t lines, skipped; // skipped: topics that are neither heartbeat nor response
};

static void difference_add(struct reading *r, const struct replay_difference *d)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToArray(r->list, o);
	cJSON_AddNumberToObject(o, "at_unix_ms", (double)d->at_ms);
	cJSON_AddStringToObject(o, "client", d->client);
	cJSON_AddNumberToObject(o, "seq", (double)d->seq);
	cJSON_AddStringToObject(o, "was", replay_act_word(d->was));
	cJSON_AddNumberToObject(o, "was_rule", d->was_rule);
	cJSON_AddStringToObject(o, "was_rule_name", accordance_rule_name(d->was_rule));
	cJSON_AddStringToObject(o, "would_be", replay_act_word(d->would_be));
	cJSON_AddNumberToObject(o, "would_rule", d->would_rule);
	cJSON_AddStringToObject(o, "would_rule_name", accordance_rule_name(d->would_rule));
	cJSON_AddStringToObject(o, "why", d->why);
	table_add(r->table, show_time(o, "at_unix_ms"));
	table_add(r->table, d->client);
	table_addf(r->table, "%" PRIu64, d->seq);
	table_addf(r->table, "%s (%u %s)", replay_act_word(d->was), d->was_rule,
		accordance_rule_name(d->was_rule));
	table_addf(r->table, "%s (%u %s)", replay_act_word(d->would_be), d->would_rule,
		accordance_rule_name(d->would_rule));
	table_add(r->table, d->why);
}

static enum err message_take(
	struct reading *r, enum topic_kind kind, struct bytes payload, int64_t at_ms)
{
	struct replay_difference d;
	bool found = false;

	arena_reset(&r->arena);
	if (kind == TOPIC_HB) {
		struct heartbeat h;

		TRY(heartbeat_decode(&r->arena, payload, &h));
		return replay_heartbeat(r->replay, at_ms, &h);
	}
	struct response m;
	TRY(response_decode(&r->arena, payload, &m));
	TRY(replay_response(r->replay, &m, &found, &d));
	if (found)
		difference_add(r, &d);
	return ERR_OK;
}

// "time topic hex", as mosquitto_sub -F '%U %t %x' prints it. The line is cut apart in place.
static enum err line_take(struct reading *r, char *line)
{
	struct topic_parts parts;
	char *end = NULL, *topic = strchr(line, ' ');
	char *hex = topic ? strchr(topic + 1, ' ') : NULL;
	double at_s = strtod(line, &end);

	if (!topic || !hex || end != topic || !(at_s >= 0 && at_s < 1e11))
		return err_set(
			ERR_FORMAT, "not `time topic hex`: use mosquitto_sub -F '%%U %%t %%x'");
	*hex++ = '\0';
	size_t size = strcspn(hex, " \r\n") / 2;
	TRY(topic_parse(topic + 1, strlen(topic + 1), &parts));
	if (parts.kind != TOPIC_HB && parts.kind != TOPIC_RSP) {
		r->skipped++;
		return ERR_OK;
	}
	hex[size * 2] = '\0';
	SCOPED_FREE uint8_t *payload = malloc(size + 1);
	if (!payload)
		return err_set(ERR_MEMORY, "no memory for a payload");
	TRY(hex_decode(hex, payload, size));
	return message_take(r, parts.kind, bytes_of(payload, size), (int64_t)(at_s * 1000));
}

static unsigned long lines_read(struct ctl *c, struct reading *r, FILE *from)
{
	unsigned long bad = 0;
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, from) >= 0) {
		r->lines++;
		if (line[0] == '\n')
			continue;
		if (strlen(line) > DECODE_LINE_MAX)
			(void)err_set(ERR_RANGE, "longer than a packet can be");
		else if (line_take(r, line) == ERR_OK)
			continue;
		bad++;
		ctl_note(c, "helioctl: line %" PRIu64 ": %s", r->lines, ctl_safe(err_text()));
	}
	free(line);
	return bad;
}

// ---- telling

static void counts_json(cJSON *j, const struct replay_counts *n)
{
	cJSON_AddNumberToObject(j, "clients", (double)n->clients);
	cJSON_AddNumberToObject(j, "heartbeats", (double)n->heartbeats);
	cJSON_AddNumberToObject(j, "compared", (double)n->compared);
	cJSON_AddNumberToObject(j, "different", (double)n->different);
	cJSON_AddNumberToObject(j, "before", (double)n->before);
	cJSON_AddNumberToObject(j, "unexplained", (double)n->unexplained);
	cJSON_AddNumberToObject(j, "left_out", (double)n->left_out);
	cJSON_AddNumberToObject(j, "unanswered", (double)n->unanswered);
	cJSON_AddNumberToObject(j, "intervals", (double)n->intervals);
	cJSON_AddNumberToObject(j, "intervals_different", (double)n->intervals_different);
	cJSON_AddNumberToObject(j, "intervals_unknown", (double)n->intervals_unknown);
}

static void counts_show(const struct replay_counts *n)
{
	printf("%" PRIu64 " heartbeats of %" PRIu64 " clients, %" PRIu64
	       " answers compared: %" PRIu64 " would have been different\n",
		n->heartbeats, n->clients, n->compared, n->different);
	printf("intervals: %" PRIu64 " of %" PRIu64 " would have been different, %" PRIu64
	       " came from an operator or from load\n",
		n->intervals_different, n->intervals, n->intervals_unknown);
	printf("not compared: %" PRIu64 " began before the recording, %" PRIu64
	       " without an answer in it, %" PRIu64 " that this policy does not explain (--was),\n"
	       "%" PRIu64 " after a difference: what the client would have said then is in no "
	       "recording\n",
		n->before, n->unanswered, n->unexplained, n->left_out);
}

static enum exit_code replay_run(struct ctl *c, struct reading *r, FILE *from)
{
	SCOPED_JSON cJSON *document = cJSON_CreateObject();
	struct replay_counts counts;

	r->list = cJSON_AddArrayToObject(document, "differences");
	unsigned long bad = lines_read(c, r, from);
	replay_end(r->replay, &counts);
	counts_json(document, &counts);
	if (c->json) {
		json_print(stdout, document, true);
	} else {
		if (table_rows(r->table) > 0) {
			table_print(r->table, &c->out);
			putchar('\n');
		}
		counts_show(&counts);
	}
	return bad > 0 ? EXIT_FAILED : EXIT_DONE;
}

enum exit_code cmd_replay(struct ctl *c, const struct args *a)
{
	static const struct table_column columns[] = {{"WHEN", false, false, false},
		{"CLIENT", false, true, false}, {"BEAT", true, false, true},
		{"THE ANSWER WAS", false, true, false}, {"WOULD BE", false, true, false},
		{"BECAUSE", false, true, true}};
	struct replay_policy was, would;
	struct reading r = {0};
	FILE *from = stdin;
	enum err e = policies(a, &was, &would);

	if (e == ERR_OK && a->word_count > 0 && !(from = fopen(a->words[0], "re")))
		e = err_set(ERR_NOT_FOUND, "cannot read %s", ctl_safe(a->words[0]));
	if (e != ERR_OK)
		return ctl_fail(c, e);
	r.replay = replay_new(&was, &would);
	r.table = table_new(columns, CTL_COUNT(columns));
	arena_init(&r.arena, LIMIT_PACKET * 8, 65536);
	enum exit_code code =
		r.replay ? replay_run(c, &r, from) : ctl_fail(c, err_set(ERR_MEMORY, "no memory"));
	if (from != stdin)
		fclose(from);
	arena_fini(&r.arena);
	table_free(r.table);
	replay_free(r.replay);
	return code;
}
