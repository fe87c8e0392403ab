// help, status, counters, doctor: the fleet and the server at a glance.
#include "server/operator.h"

#include "server/media_orders.h"

#include <arpa/inet.h>

static void help_verb(cJSON *list, const struct verb_row *v)
{
	cJSON *o = put_item(list), *args;

	put_text(o, "name", v->name);
	put_text(o, "help", v->help);
	put_bool(o, "body", v->body);
	put_bool(o, "writes", v->writes);
	args = put_list(o, "args");
	for (size_t i = 0; i < VERB_ARGS && v->args[i].name; i++) {
		cJSON *a = put_item(args);

		put_text(a, "name", v->args[i].name);
		put_text(a, "type", arg_type_word(v->args[i].type));
		put_bool(a, "required", v->args[i].required);
		put_text(a, "words", v->args[i].words);
		put_text(a, "help", v->args[i].help);
	}
}

static enum err run_help(struct operator_call *c)
{
	const char *name = call_text(c, "verb");
	cJSON *list = put_list(c->json, "verbs");
	const struct verb_row *v;

	if (name && !operator_verb_find(name))
		return err_set(ERR_NOT_FOUND, "no such verb as %s", name);
	for (size_t i = 0; (v = operator_verb_at(i)); i++)
		if (!name || strcmp(name, v->name) == 0)
			help_verb(list, v);
	return ERR_OK;
}

static bool status_matches(const struct operator_call *c, const struct client_brief *i)
{
	const char *client = call_text(c, "client"), *channel = call_text(c, "channel"),
		   *reach = call_text(c, "reach");

	return i->role == ROLE_CLIENT && (!client || strcmp(client, i->id) == 0) &&
	       (!channel || core_client_is_in(c->room->core, i->place, channel)) &&
	       (!reach || strcmp(reach, reach_word(i->reach)) == 0);
}

// What goes on a disc, and why something does not.
static enum err media_count(struct operator_call *c)
{
	struct db *db = core_db(c->room->core);
	struct media_row *rows = NULL;
	uint64_t pending = 0, recorded = 0;
	size_t count = 0;

	TRY(rows_media_count(db, MEDIA_PENDING, &pending));
	TRY(rows_media_count(db, MEDIA_RECORDED, &recorded));
	put_number(c->json, "media_pending", pending);
	put_number(c->json, "media_recorded", recorded);
	TRY(rows_media_list(db,
		&(struct media_filter){.state = MEDIA_PENDING, .told = true, .max = 1}, c->arena,
		&rows, &count));
	if (count) {
		put_id(c->json, "media_waits", rows[0].number);
		put_text(c->json, "media_why", rows[0].detail);
	}
	return ERR_OK;
}

static enum err run_status(struct operator_call *c)
{
	struct core *core = c->room->core;
	uint64_t reach[REACH_SILENT + 1] = {0}, total = 0;
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	struct client_brief brief;
	size_t cursor = 0, listed = 0;
	cJSON *list;

	if (!info)
		return err_set(ERR_FULL, "no memory for this request");
	put_text(c->json, "server", c->room->server_id);
	put_number(c->json, "incarnation", core_incarnation(core));
	put_time(c->json, "server_unix_ms", c->now.wall);
	put_time(c->json, "started_unix_ms", c->room->started);
	put_bool(c->json, "degraded", core_is_degraded(core));
	put_bool(c->json, "mass_silence", core_mass_silence(core));
	list = cJSON_CreateArray();
	while (core_client_walk(core, &cursor, &brief)) {
		if (!status_matches(c, &brief))
			continue;
		total++;
		if (brief.reach <= REACH_SILENT)
			reach[brief.reach]++;
		if (page_takes(c, brief.place, &listed) && core_client_at(core, brief.place, info))
			json_client(c, put_item(list), info);
	}
	put_number(c->json, "total", total);
	put_number(c->json, "online", reach[REACH_ONLINE]);
	put_number(c->json, "late", reach[REACH_LATE]);
	put_number(c->json, "silent", reach[REACH_SILENT]);
	put_number(c->json, "never", reach[REACH_NEVER]);
	TRY(media_count(c));
	cJSON_AddItemToObject(c->json, "clients", list);
	return ERR_OK;
}

static enum err run_counters(struct operator_call *c)
{
	struct core_counter counters[256];
	size_t n = core_counters(c->room->core, counters, 256);
	cJSON *o = put_object(c->json, "counters");
	const struct presence *p = c->room->presence;

	for (size_t i = 0; i < n && i < 256; i++)
		put_number(o, counters[i].name, counters[i].value);
	put_number(o, "presence.grants", p->grants);
	put_number(o, "presence.denials", p->denials);
	put_number(o, "presence.directives", p->directives);
	put_number(o, "presence.leases", leases_count(p->leases));
	put_number(o, "presence.waiting", p->waiting_count);
	put_number(o, "presence.stalls", p->stalls);
	put_number(o, "presence.moves", p->moves);
	return ERR_OK;
}

static enum err run_doctor(struct operator_call *c)
{
	struct findings *f = arena_alloc(c->arena, sizeof(*f));
	cJSON *list;
	bool ok = true;

	if (!f)
		return err_set(ERR_FULL, "no memory for this request");
	*f = *c->room->findings;
	if (c->room->look)
		c->room->look(c->room->ctx, f);
	for (size_t i = 0; i < f->count; i++)
		ok = ok && f->items[i].level == FINDING_OK;
	put_bool(c->json, "ok", ok);
	list = put_list(c->json, "findings");
	for (int level = FINDING_ERROR; level >= FINDING_OK; level--)
		for (size_t i = 0; i < f->count; i++) {
			const struct finding *one = &f->items[i];
			cJSON *o;

			if ((int)one->level != level)
				continue;
			o = put_item(list);
			put_text(o, "level", finding_level_word(one->level));
			put_text(o, "id", one->id);
			put_text(o, "where", one->where);
			put_text(o, "what", one->what);
			put_text(o, "mend", one->mend);
		}
	return ERR_OK;
}

static enum err run_silence_release(struct operator_call *c)
{
	TRY(core_mass_silence_release(c->room->core, c->seat));
	put_bool(c->json, "mass_silence", core_mass_silence(c->room->core));
	return ERR_OK;
}

static const struct verb_row rows[] = {
	{.name = "help",
		.help = "the verbs, their arguments and what they are for",
		.run = run_help,
		.args = {{"verb", ARG_ID, false, NULL, "only this one"}}},
	{.name = "status",
		.help = "every client: state, reach, last heard, operation, what is shown",
		.run = run_status,
		.args = {{"channel", ARG_ID, false, NULL, "only clients of this channel"},
			{"client", ARG_ID, false, NULL, "only this client"},
			{"reach", ARG_WORD, false, "never|online|late|silent",
				"only clients within or out of reach"},
			{"max", ARG_U32, false, NULL, "how many in one answer (10000)"},
			{"from", ARG_U64, false, NULL, "goes on at the next of an answer"}}},
	{.name = "counters", .help = "numbers since the start of the server", .run = run_counters},
	{.name = "doctor",
		.help = "what is not well at the server and its brokers, and the line that mends "
			"it",
		.run = run_doctor},
	{.name = "silence-release",
		.help = "the clients that fell silent at once are gone indeed: what waited goes on",
		.writes = true,
		.run = run_silence_release},
};

const struct verb_table operator_status_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
