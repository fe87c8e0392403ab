// Verbs about packages and the data brokers they lie on.
#include "server/operator.h"

#include "server/db/rows_content.h"
#include "server/offer.h"

static void json_placement(cJSON *list, const struct package *k)
{
	cJSON *o;

	if (!k->broker[0])
		return;
	o = json_item(list);
	json_text(o, "broker", k->broker);
	json_text(o, "state", place_state_word(k->state));
	json_time(o, "since_unix_ms", k->since);
	json_time(o, "verified_unix_ms", k->verified);
	json_number(o, "leases", k->leases);
}

static void json_package(cJSON *o, const struct package *k)
{
	json_digest(o, "package", &k->id);
	json_text(o, "kind", package_kind_word(k->kind));
	json_text(o, "name", k->name);
	json_text(o, "version", k->version);
	json_text(o, "publisher", k->publisher);
	json_number(o, "size_bytes", k->size_bytes);
	json_number(o, "object_bytes", k->object_bytes);
	json_text(o, "state", place_state_word(k->state));
	json_text(o, "directive", k->directive ? directive_word(k->directive) : "");
	json_number(o, "directive_id", k->directive_id);
	json_text(o, "broker", k->broker);
	json_number(o, "leases", k->leases);
	json_number(o, "waiting", HASH_COUNT(k->waiting));
	json_time(o, "offered_unix_ms", k->offered);
	json_time(o, "since_unix_ms", k->since);
	json_text(o, "detail", k->detail);
	json_number(o, "sent_bytes", k->sent_bytes);
	json_number(o, "total_bytes", k->total_bytes);
	json_placement(json_list(o, "placements"), k);
}

static enum err run_list(struct operator_call *c)
{
	const char *kind = call_text(c, "kind"), *state = call_text(c, "state");
	cJSON *list = json_list(c->json, "packages");
	struct package *k, *next;

	HASH_ITER(hh, c->room->presence->packages, k, next)
	{
		if ((kind && strcmp(kind, package_kind_word(k->kind)) != 0) ||
			(state && strcmp(state, place_state_word(k->state)) != 0))
			continue;
		json_package(json_item(list), k);
	}
	return ERR_OK;
}

static enum err json_manifest(struct operator_call *c, const struct package *k)
{
	struct bytes envelope;
	struct manifest m;
	struct digest id;
	cJSON *o;

	TRY(rows_package_envelope(core_db(c->room->core), &k->id, c->arena, &envelope));
	TRY(offer_open(&c->room->trust->root, envelope, c->arena, &m, &id));
	o = json_object(c->json, "manifest");
	json_number(o, "file_count", m.file_count);
	json_number(o, "chunk_count", m.chunk_count);
	json_number(o, "page_count", m.page_count);
	json_text(o, "product", m.product);
	json_text(o, "hw_class", m.hw_class);
	json_number(o, "security_counter", m.security_counter);
	return ERR_OK;
}

static enum err run_show(struct operator_call *c)
{
	struct package *k;

	TRY(call_package(c, "package", &k));
	json_package(c->json, k);
	json_leases(c, c->json, NULL, &k->id);
	json_bool(c->json, "wanted", core_package_is_wanted(c->room->core, &k->id));
	return json_manifest(c, k);
}

static enum err answer_state(struct operator_call *c, const struct package *k)
{
	json_digest(c->json, "package", &k->id);
	json_text(c->json, "state", place_state_word(k->state));
	return ERR_OK;
}

static enum err run_withdraw(struct operator_call *c)
{
	struct package *k;

	TRY(call_package(c, "package", &k));
	TRY(presence_withdraw(c->room->presence, &k->id, c->now));
	return answer_state(c, k);
}

static enum err run_restore(struct operator_call *c)
{
	struct package *k;

	TRY(call_package(c, "package", &k));
	TRY(presence_restore(c->room->presence, &k->id, c->now));
	return answer_state(c, k);
}

// ---------------------------------------------------------------- brokers

static void json_holds(struct operator_call *c, cJSON *list, const struct data_broker *b)
{
	struct package *k, *next;

	HASH_ITER(hh, c->room->presence->packages, k, next)
	{
		cJSON *o;

		if (strcmp(k->broker, b->id) != 0)
			continue;
		o = json_item(list);
		json_digest(o, "package", &k->id);
		json_text(o, "name", k->name);
		json_text(o, "version", k->version);
		json_text(o, "state", place_state_word(k->state));
		json_number(o, "leases", k->leases);
		json_number(o, "object_bytes", k->object_bytes);
	}
}

static void json_broker(struct operator_call *c, cJSON *o, const struct data_broker *b)
{
	const struct data_brokers *all = c->room->presence->brokers;

	json_text(o, "id", b->id);
	json_text(o, "host", b->host);
	json_text(o, "ip", b->ip);
	json_number(o, "port", b->port);
	json_number(o, "capacity_bytes_per_s", b->capacity_bytes_per_s);
	json_bool(o, "reachable", b->up);
	json_bool(o, "stale", !data_broker_is_fresh(b, all->sys_interval_s, c->now.mono));
	json_bool(o, "refused", b->refused);
	cJSON_AddNumberToObject(o, "busy", data_broker_busy(b));
	json_number(o, "sent_bytes_per_s", (uint64_t)b->sent_bytes_per_s);
	json_number(o, "granted_bytes_per_s", b->granted_bytes_per_s);
	json_number(o, "clients", b->clients);
	json_number(o, "leases", b->leases);
	json_number(o, "placements", b->placements);
	json_time(o, "last_target_unix_ms", b->last_target);
	json_number(o, "uptime_s", b->uptime_s);
	json_text(o, "version", b->version);
	json_text(o, "why", b->why);
	json_holds(c, json_list(o, "holds"), b);
}

static enum err run_brokers(struct operator_call *c)
{
	const struct presence *p = c->room->presence;
	cJSON *list = json_list(c->json, "brokers");

	for (size_t i = 0; i < p->brokers->count; i++)
		json_broker(c, json_item(list), &p->brokers->items[i]);
	json_number(c->json, "recent_period_s", p->config.recent_period_s);
	json_text(c->json, "policy", p->config.recent_fallback_oldest ? "oldest" : "defer");
	return ERR_OK;
}

static const struct verb_row rows[] = {
	{.name = "package-list",
		.help = "packages that publishers offered",
		.run = run_list,
		.args = {{"kind", ARG_WORD, false, "images|software", "only of this kind"},
			{"state", ARG_WORD, false,
				"offered|deferred|sending|verifying|stored|linger|stopping|waiting|"
				"withdrawn",
				"only in this state"}}},
	{.name = "package-show",
		.help = "one package: what it is, where it lies, who fetches it",
		.run = run_show,
		.args = {{"package", ARG_PACKAGE, true, NULL, "which"}}},
	{.name = "package-withdraw",
		.help = "gives a package to nobody any more, until package-restore",
		.writes = true,
		.run = run_withdraw,
		.args = {{"package", ARG_PACKAGE, true, NULL, "which"}}},
	{.name = "package-restore",
		.help = "allows a package again that an operator withdrew",
		.writes = true,
		.run = run_restore,
		.args = {{"package", ARG_PACKAGE, true, NULL, "which"}}},
	{.name = "brokers",
		.help = "the data brokers: load, who holds what, for whom, how fast",
		.run = run_brokers},
};

const struct verb_table operator_package_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
