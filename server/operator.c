// The table of verbs, its arguments, and the forms of the answers.
#include "server/operator.h"

#include "proto/topics.h"
#include "server/db/rows_content.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static const struct verb_table *const tables[] = {
	&operator_status_verbs,
	&operator_client_verbs,
	&operator_channel_verbs,
	&operator_work_verbs,
	&operator_command_verbs,
	&operator_package_verbs,
	&operator_media_verbs,
	&operator_customer_verbs,
	&operator_usage_verbs,
	&operator_key_verbs,
	&operator_rate_verbs,
	&operator_share_verbs,
};

const struct verb_row *operator_verb_at(size_t index)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		if (index < tables[t]->count)
			return &tables[t]->rows[index];
		index -= tables[t]->count;
	}
	return NULL;
}

const struct verb_row *operator_verb_find(const char *name)
{
	const struct verb_row *v;

	for (size_t i = 0; (v = operator_verb_at(i)); i++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

// ---------------------------------------------------------------- arguments

static const char *const type_words[] = {
	[ARG_ID] = "id",
	[ARG_TEXT] = "text",
	[ARG_U32] = "u32",
	[ARG_U64] = "u64",
	[ARG_BOOL] = "bool",
	[ARG_PACKAGE] = "package",
	[ARG_WORD] = "word",
	[ARG_LIST] = "list",
	[ARG_LONG] = "text",
};

const char *arg_type_word(enum arg_type t)
{
	return t >= ARG_ID && t <= ARG_LONG ? type_words[t] : "?";
}

#define LONG_TEXT 2048u

static enum err number_check(const struct arg *a, uint64_t max)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(a->value, &end, 10);
	if (a->value[0] < '0' || a->value[0] > '9' || *end)
		return err_set(ERR_FORMAT, "%s is a number", a->name);
	if (errno || n > max)
		return err_set(ERR_RANGE, "%s is at most %" PRIu64, a->name, max);
	return ERR_OK;
}

static bool word_is_listed(const char *words, const char *word)
{
	size_t n = strlen(word);

	if (n == 0) // "|a|b": nothing will do too
		return words[0] == '|';
	if (strchr(word, '|'))
		return false;
	for (const char *w = words; w; w = strchr(w, '|')) {
		w += *w == '|';
		if (strncmp(w, word, n) == 0 && (w[n] == '|' || !w[n]))
			return true;
	}
	return false;
}

static enum err package_text_check(const struct arg *a)
{
	size_t n = strspn(a->value, "0123456789abcdef");

	if (a->value[n] || n < 8 || n > 64)
		return err_set(ERR_FORMAT, "%s is a package id: 8 to 64 hex digits", a->name);
	return ERR_OK;
}

static enum err value_check(const struct arg_row *row, const struct arg *a)
{
	size_t most = row->type == ARG_LONG ? LONG_TEXT : LIMIT_TEXT;

	if (strlen(a->value) > most)
		return err_set(ERR_RANGE, "%s is longer than %zu bytes", a->name, most);
	switch (row->type) {
	case ARG_ID:
		return id_is_valid(a->value) ? ERR_OK
					     : err_set(ERR_FORMAT, "%s has 1 to %d of A-Za-z0-9._-",
						       a->name, LIMIT_ID);
	case ARG_U32:
		return number_check(a, UINT32_MAX);
	case ARG_U64:
		return number_check(a, INT64_MAX);
	case ARG_BOOL:
		return word_is_listed("true|false", a->value)
			       ? ERR_OK
			       : err_set(ERR_FORMAT, "%s is true or false", a->name);
	case ARG_PACKAGE:
		return package_text_check(a);
	case ARG_WORD:
		return word_is_listed(row->words, a->value)
			       ? ERR_OK
			       : err_set(ERR_FORMAT, "%s is one of %s", a->name, row->words);
	case ARG_TEXT:
	case ARG_LIST:
	case ARG_LONG:
		return ERR_OK;
	}
	return err_set(ERR_FORMAT, "%s has no type", a->name);
}

static const struct arg_row *row_find(const struct verb_row *verb, const char *name)
{
	for (size_t i = 0; i < VERB_ARGS && verb->args[i].name; i++)
		if (strcmp(verb->args[i].name, name) == 0)
			return &verb->args[i];
	return NULL;
}

static size_t args_named(const struct arg *args, size_t count, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += strcmp(args[i].name, name) == 0;
	return n;
}

enum err operator_args_check(
	const struct verb_row *verb, const struct arg *args, size_t count, struct bytes body)
{
	if (body.size > 0 && !verb->body)
		return err_set(ERR_FORMAT, "%s takes no body", verb->name);
	if (body.size == 0 && verb->body)
		return err_set(ERR_FORMAT, "%s needs a body", verb->name);
	for (size_t i = 0; i < count; i++) {
		const struct arg_row *row = row_find(verb, args[i].name);

		if (!row)
			return err_set(
				ERR_FORMAT, "%s has no argument %s", verb->name, args[i].name);
		if (args_named(args, count, args[i].name) >
			(row->type == ARG_LIST ? (size_t)LIMIT_ARGS : 1))
			return err_set(ERR_FORMAT, "%s is given too often", args[i].name);
		TRY(value_check(row, &args[i]));
	}
	for (size_t i = 0; i < VERB_ARGS && verb->args[i].name; i++)
		if (verb->args[i].required && !args_named(args, count, verb->args[i].name))
			return err_set(ERR_FORMAT, "%s needs %s", verb->name, verb->args[i].name);
	return ERR_OK;
}

// ---------------------------------------------------------------- reading them

const char *call_text(const struct operator_call *c, const char *name)
{
	for (size_t i = 0; i < c->arg_count; i++)
		if (strcmp(c->args[i].name, name) == 0)
			return c->args[i].value;
	return NULL;
}

uint64_t call_u64(const struct operator_call *c, const char *name, uint64_t otherwise)
{
	const char *s = call_text(c, name);

	return s ? strtoull(s, NULL, 10) : otherwise;
}

bool call_bool(const struct operator_call *c, const char *name, bool otherwise)
{
	const char *s = call_text(c, name);

	return s ? strcmp(s, "true") == 0 : otherwise;
}

static bool digest_begins(const struct digest *d, const char *hex)
{
	char text[2 * sizeof(d->b) + 1];

	hex_encode(d->b, sizeof(d->b), text);
	return strncmp(text, hex, strlen(hex)) == 0;
}

enum err call_package(struct operator_call *c, const char *name, struct package **out)
{
	const char *hex = call_text(c, name);
	struct package *k, *next;

	*out = NULL;
	HASH_ITER(hh, c->room->presence->packages, k, next)
	{
		if (!digest_begins(&k->id, hex))
			continue;
		if (*out)
			return err_set(ERR_RANGE, "several packages begin with %s", hex);
		*out = k;
	}
	return *out ? ERR_OK : err_set(ERR_NOT_FOUND, "no package %s was offered", hex);
}

enum err call_client(struct operator_call *c, const char *name, struct client_info *out)
{
	const char *id = call_text(c, name);

	TRY(core_client_find(c->room->core, id, out));
	if (out->role != ROLE_CLIENT)
		return err_set(ERR_NOT_FOUND, "%s is no client but a %s", id, role_word(out->role));
	return ERR_OK;
}

enum err call_queue(struct operator_call *c, const char **queue)
{
	const char *channel = call_text(c, "channel"), *client = call_text(c, "client");
	struct client_info info;

	if (!channel == !client)
		return err_set(ERR_FORMAT, "%s needs either a channel or a client", c->verb->name);
	if (channel) {
		struct channel_info ch;

		TRY(core_channel_find(c->room->core, channel, &ch));
		*queue = channel;
		return ERR_OK;
	}
	TRY(call_client(c, "client", &info));
	*queue = arena_printf(c->arena, "@%s", client);
	return *queue ? ERR_OK : err_set(ERR_FULL, "no memory for this request");
}

enum err call_event_done(struct operator_call *c, const char *queue, uint64_t flow, uint64_t seq,
	const struct digest *package)
{
	struct flow_row row = {
		.flow = flow,
		.seq = seq,
		.queue = queue,
		.verb = c->verb->name,
		.seat = c->seat,
		.at_ms = c->now.wall.ms,
	};

	if (package)
		row.package = *package;
	TRY(rows_flow_put(core_db(c->room->core), &row));
	put_id(c->json, "flow", flow);
	put_number(c->json, "seq", seq);
	put_text(c->json, "queue", queue);
	return ERR_OK;
}

enum err call_append(
	struct operator_call *c, const char *queue, struct event *e, const struct digest *package)
{
	uint64_t seq = 0, flow = 0;

	e->author = c->seat;
	TRY(core_append_event(c->room->core, queue, e, &seq, &flow));
	return call_event_done(c, queue, flow, seq, package);
}

#define PAGE_MOST 10000u // of a million clients the answer alone would fill the memory

bool page_takes(struct operator_call *c, size_t row, size_t *listed)
{
	uint64_t max = call_u64(c, "max", PAGE_MOST);

	if (row < call_u64(c, "from", 0) || cJSON_HasObjectItem(c->json, "next"))
		return false;
	if (*listed == (max < PAGE_MOST ? max : PAGE_MOST)) {
		put_number(c->json, "next", row);
		return false;
	}
	++*listed;
	return true;
}

// ---------------------------------------------------------------- forms

void put_text(cJSON *o, const char *name, const char *value)
{
	cJSON_AddStringToObject(o, name, value ? value : "");
}

void put_number(cJSON *o, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	cJSON_AddRawToObject(o, name, text);
}

void put_time(cJSON *o, const char *name, struct wall w)
{
	put_number(o, name, w.ms > 0 ? (uint64_t)w.ms : 0);
}

void put_id(cJSON *o, const char *name, uint64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, id);
	cJSON_AddStringToObject(o, name, text);
}

void put_digest(cJSON *o, const char *name, const struct digest *d)
{
	put_text(o, name, digest_is_zero(d) ? "" : digest_hex(d));
}

void put_bool(cJSON *o, const char *name, bool value)
{
	cJSON_AddBoolToObject(o, name, value);
}

cJSON *put_list(cJSON *o, const char *name)
{
	return cJSON_AddArrayToObject(o, name);
}

cJSON *put_object(cJSON *o, const char *name)
{
	return cJSON_AddObjectToObject(o, name);
}

cJSON *put_item(cJSON *list)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddItemToArray(list, o);
	return o;
}
