// topics: the table of proto/topics.c, for people and for the tests that hold the ACL against it.
#include "server/ctl/ctl.h"

#include "proto/topics.h"
#include <string.h>

static const struct {
	unsigned bit;
	const char *word;
} roles[] = {{TOPIC_CLIENT, "client"}, {TOPIC_SERVER, "server"}, {TOPIC_PUBLISHER, "publisher"},
	{TOPIC_OPERATOR, "operator"}},
  brokers[] = {{TOPIC_CONTROL, "control"}, {TOPIC_DATA, "data"}};

static cJSON *roles_json(unsigned bits)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; i < CTL_COUNT(roles); i++) {
		if (bits & roles[i].bit)
			cJSON_AddItemToArray(list, cJSON_CreateString(roles[i].word));
	}
	return list;
}

static cJSON *row_json(const struct topic_row *r)
{
	cJSON *j = cJSON_CreateObject(), *where = cJSON_CreateArray();

	for (size_t i = 0; i < CTL_COUNT(brokers); i++) {
		if (r->brokers & brokers[i].bit)
			cJSON_AddItemToArray(where, cJSON_CreateString(brokers[i].word));
	}
	cJSON_AddStringToObject(j, "name", r->name);
	cJSON_AddStringToObject(j, "pattern", r->pattern);
	cJSON_AddStringToObject(j, "filter", topic_filter(r->kind).s);
	cJSON_AddItemToObject(j, "writers", roles_json(r->writers));
	cJSON_AddItemToObject(j, "readers", roles_json(r->readers));
	cJSON_AddItemToObject(j, "brokers", where);
	cJSON_AddNumberToObject(j, "qos", r->qos);
	cJSON_AddBoolToObject(j, "retained", r->retained);
	cJSON_AddBoolToObject(j, "writer_is_level", r->writer_is_level);
	cJSON_AddBoolToObject(j, "reader_is_level", r->reader_is_level);
	cJSON_AddNumberToObject(j, "limit_bytes", (double)r->limit);
	cJSON_AddStringToObject(j, "message", r->message);
	return j;
}

static void roles_text(unsigned bits, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < CTL_COUNT(roles) && at < size; i++) {
		if (bits & roles[i].bit)
			at += (size_t)snprintf(
				out + at, size - at, "%s%s", at ? " " : "", roles[i].word);
	}
}

enum exit_code cmd_topics(struct ctl *c, const struct args *a)
{
	static const struct table_column columns[] = {{"FILTER", false, false, false},
		{"FROM", false, true, false}, {"TO", false, true, false},
		{"BROKER", false, false, false}, {"QOS", true, false, true},
		{"RETAINED", false, false, true}, {"MESSAGE", false, false, false}};
	SCOPED_JSON cJSON *j = cJSON_CreateArray();
	struct table *t = table_new(columns, CTL_COUNT(columns));

	(void)a;
	for (int i = 0; i < TOPIC_KIND_COUNT; i++) {
		const struct topic_row *r = topic_row((enum topic_kind)i);
		char words[64];

		cJSON_AddItemToArray(j, row_json(r));
		table_add_style(t, topic_filter(r->kind).s, STYLE_BOLD);
		roles_text(r->writers, words, sizeof(words));
		table_add(t, words);
		roles_text(r->readers, words, sizeof(words));
		table_add(t, words);
		table_add(t, r->brokers == (TOPIC_CONTROL | TOPIC_DATA) ? "both"
			     : r->brokers & TOPIC_DATA                  ? "data"
									: "control");
		table_addf(t, "%d", r->qos);
		table_add(t, r->retained ? "yes" : "no");
		table_add(t, *r->message ? r->message : "bytes");
	}
	if (c->json)
		json_print(stdout, j, true);
	else
		table_print(t, &c->out);
	table_free(t);
	return EXIT_DONE;
}
