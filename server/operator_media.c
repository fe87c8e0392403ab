// Verbs about media: what goes to a client on a disc or a stick.
#include "server/operator.h"

#include "server/media_return.h"

#define MEDIA_LISTED 1000

static void json_medium(cJSON *o, const struct media_row *r)
{
	put_id(o, "order", r->number);
	put_text(o, "client", r->client);
	put_digest(o, "package", &r->package);
	put_text(o, "kind", package_kind_word(r->kind));
	put_text(o, "name", r->name);
	put_text(o, "version", r->version);
	put_text(o, "publisher", r->publisher);
	put_text(o, "state", media_state_word(r->state));
	put_text(o, "reason", r->reason);
	put_text(o, "medium_kind", r->medium_kind);
	put_text(o, "path", r->path);
	put_digest(o, "sha256", &r->sha256);
	put_number(o, "size_bytes", r->size_bytes);
	put_text(o, "detail", r->detail);
	put_bool(o, "activate", r->activate);
	if (r->activate_unix_ms)
		put_time(o, "activate_unix_ms", (struct wall){r->activate_unix_ms});
	put_time(o, "created_unix_ms", (struct wall){r->created_ms});
	put_time(o, "changed_unix_ms", (struct wall){r->changed_ms});
}

static enum media_state state_of(const char *word)
{
	for (int s = MEDIA_PENDING; word && s <= MEDIA_SUPERSEDED; s++)
		if (strcmp(media_state_word((enum media_state)s), word) == 0)
			return (enum media_state)s;
	return (enum media_state)0;
}

static enum err run_list(struct operator_call *c)
{
	struct media_filter f = {
		.client = call_text(c, "client"),
		.state = state_of(call_text(c, "state")),
		.max = MEDIA_LISTED,
	};
	struct media_row *rows = NULL;
	struct package *k = NULL;
	size_t count = 0;

	if (call_text(c, "package")) {
		TRY(call_package(c, "package", &k));
		f.package = &k->id;
	}
	TRY(rows_media_list(core_db(c->room->core), &f, c->arena, &rows, &count));
	cJSON *list = put_list(c->json, "media");
	for (size_t i = 0; i < count; i++)
		json_medium(put_item(list), &rows[i]);
	return ERR_OK;
}

static enum err run_show(struct operator_call *c)
{
	struct media_row row;

	TRY(rows_media_find(core_db(c->room->core), call_u64(c, "order", 0), c->arena, &row));
	json_medium(c->json, &row);
	return ERR_OK;
}

static enum err act(struct operator_call *c, enum media_event e)
{
	struct media_row row;

	TRY(media_act(c->room->media, call_u64(c, "order", 0), e, c->arena, &row));
	json_medium(c->json, &row);
	return ERR_OK;
}

static enum err run_posted(struct operator_call *c)
{
	return act(c, MEDIA_EV_POST);
}

static enum err run_cancel(struct operator_call *c)
{
	return act(c, MEDIA_EV_CANCEL);
}

static enum err run_order(struct operator_call *c)
{
	struct client_info info;
	struct package *k = NULL;
	struct media_row *rows = NULL;
	uint64_t at = call_u64(c, "at", 0);
	size_t count = 0;

	TRY(call_client(c, "client", &info));
	if (call_text(c, "package"))
		TRY(call_package(c, "package", &k));
	if (k && k->state == PLACE_WITHDRAWN)
		return err_set(ERR_NOT_NOW, "package %s %s was withdrawn", k->name, k->version);
	if (at > INT64_MAX / 1000)
		return err_set(ERR_RANGE, "at: no such moment");
	TRY(media_order_by_hand(c->room->media, info.id, k, (int64_t)at, c->arena, &rows, &count));
	cJSON *list = put_list(c->json, "media");
	for (size_t i = 0; i < count; i++)
		json_medium(put_item(list), &rows[i]);
	return ERR_OK;
}

static enum err run_route(struct operator_call *c)
{
	struct away_client at;
	struct client_info info;
	struct route_decision way;

	TRY(call_client(c, "client", &info));
	TRY(media_route(c->room->media, info.id, &at, &way));
	put_text(c->json, "client", info.id);
	put_text(c->json, "via", route_word(way.route));
	put_text(c->json, "reason", route_reason_word(way.why));
	put_text(c->json, "reach", reach_word(at.reach));
	put_number(c->json, "silent_ms", at.silent_ms > 0 ? (uint64_t)at.silent_ms : 0);
	put_time(c->json, "last_heard_unix_ms", at.last_heard);
	return ERR_OK;
}

static enum err run_merge(struct operator_call *c)
{
	struct client_info info;
	struct media_merged merged;

	TRY(call_client(c, "client", &info));
	TRY(media_merge(c->room->media, info.id, c->body, &merged));
	put_text(c->json, "client", info.id);
	put_number(c->json, "part", merged.part);
	put_number(c->json, "parts", merged.parts);
	put_time(c->json, "written_unix_ms", (struct wall){merged.written_ms});
	put_number(c->json, "rows", merged.rows);
	put_number(c->json, "rows_new", merged.rows_new);
	put_number(c->json, "orders", merged.orders);
	put_number(c->json, "orders_new", merged.orders_new);
	return ERR_OK;
}

static const struct verb_row rows[] = {
	{.name = "media-list",
		.help = "what goes to clients on a disc or a stick",
		.run = run_list,
		.args = {{"client", ARG_ID, false, NULL, "only to this client"},
			{"state", ARG_WORD, false,
				"pending|recorded|posted|arrived|cancelled|superseded",
				"only in this state"},
			{"package", ARG_PACKAGE, false, NULL, "only of this package"}}},
	{.name = "media-show",
		.help = "one media order",
		.run = run_show,
		.args = {{"order", ARG_U64, true, NULL, "which"}}},
	{.name = "media-order",
		.help = "puts a package on a medium for a client, whatever the link does",
		.writes = true,
		.run = run_order,
		.args = {{"client", ARG_ID, true, NULL, "for whom"},
			{"package", ARG_PACKAGE, false, NULL,
				"what; else all that it is to have and does not hold"},
			{"at", ARG_U64, false, NULL, "not shown before this moment, in unix_ms"}}},
	{.name = "media-posted",
		.help = "the medium is on its way",
		.writes = true,
		.run = run_posted,
		.args = {{"order", ARG_U64, true, NULL, "which"}}},
	{.name = "media-cancel",
		.help = "gives a media order up",
		.writes = true,
		.run = run_cancel,
		.args = {{"order", ARG_U64, true, NULL, "which"}}},
	{.name = "media-merge",
		.help = "takes one part of what a client wrote back to a stick",
		.writes = true,
		.body = true,
		.run = run_merge,
		.args = {{"client", ARG_ID, true, NULL, "whose it is said to be"}}},
	{.name = "media-route",
		.help = "which way a package would go to a client now, and why",
		.run = run_route,
		.args = {{"client", ARG_ID, true, NULL, "to whom"}}},
};

const struct verb_table operator_media_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
