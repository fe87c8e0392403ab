// Verbs about packages and the data brokers they lie on.
#include "server/operator.h"

#include "server/copies.h"
#include "server/db/rows_content.h"
#include "server/offer.h"
#include "server/relays.h"

static void json_placement(cJSON *list, const struct package *k)
{
	cJSON *o;

	if (!k->broker[0])
		return;
	o = put_item(list);
	put_text(o, "broker", k->broker);
	put_text(o, "state", place_state_word(k->state));
	put_time(o, "since_unix_ms", k->since);
	put_time(o, "verified_unix_ms", k->verified);
	put_number(o, "leases", copies_first_leases(k));
}

static void json_copies(cJSON *list, const struct package *k)
{
	for (size_t i = 0; i < k->copy_count; i++) {
		const struct copy *c = &k->copies[i];
		cJSON *o = put_item(list);

		put_text(o, "broker", c->broker);
		put_text(o, "state", place_state_word(c->state));
		put_time(o, "since_unix_ms", c->since);
		put_number(o, "leases", c->leases);
	}
}

static void json_package(cJSON *o, const struct package *k)
{
	cJSON *list;

	put_digest(o, "package", &k->id);
	put_text(o, "kind", package_kind_word(k->kind));
	put_text(o, "name", k->name);
	put_text(o, "version", k->version);
	put_text(o, "publisher", k->publisher);
	put_number(o, "size_bytes", k->size_bytes);
	put_number(o, "object_bytes", k->object_bytes);
	put_text(o, "state", place_state_word(k->state));
	put_text(o, "directive", k->directive ? directive_word(k->directive) : "");
	put_number(o, "directive_id", k->directive_id);
	put_text(o, "broker", k->broker);
	put_number(o, "leases", k->leases);
	put_number(o, "waiting", HASH_COUNT(k->waiting));
	put_time(o, "offered_unix_ms", k->offered);
	put_time(o, "since_unix_ms", k->since);
	put_text(o, "detail", k->detail);
	put_number(o, "sent_bytes", k->sent_bytes);
	put_number(o, "total_bytes", k->total_bytes);
	list = put_list(o, "placements");
	json_placement(list, k);
	json_copies(list, k);
}

static enum err run_list(struct operator_call *c)
{
	const char *kind = call_text(c, "kind"), *state = call_text(c, "state");
	cJSON *list = put_list(c->json, "packages");
	struct package *k, *next;

	HASH_ITER(hh, c->room->presence->packages, k, next)
	{
		if ((kind && strcmp(kind, package_kind_word(k->kind)) != 0) ||
			(state && strcmp(state, place_state_word(k->state)) != 0))
			continue;
		json_package(put_item(list), k);
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
	o = put_object(c->json, "manifest");
	put_number(o, "file_count", m.file_count);
	put_number(o, "chunk_count", m.chunk_count);
	put_number(o, "page_count", m.page_count);
	put_text(o, "product", m.product);
	put_text(o, "hw_class", m.hw_class);
	put_number(o, "security_counter", m.security_counter);
	return ERR_OK;
}

// The older versions that clients hold, and whether a delta from them lies beside the package.
static void bases_json(struct operator_call *c, const struct package *k)
{
	cJSON *list = put_list(c->json, "bases");

	for (size_t i = 0; i < k->base_count; i++) {
		cJSON *o = put_item(list);
		const struct package *b = presence_find(c->room->presence, &k->bases[i].id);
		put_digest(o, "package", &k->bases[i].id);
		put_text(o, "version", b ? b->version : "");
		put_bool(o, "stored", k->bases[i].stored);
		put_number(o, "object_bytes", k->bases[i].object_bytes);
	}
}

static enum err run_show(struct operator_call *c)
{
	struct package *k;

	TRY(call_package(c, "package", &k));
	json_package(c->json, k);
	json_leases(c, c->json, NULL, &k->id);
	bases_json(c, k);
	put_bool(c->json, "wanted", core_package_is_wanted(c->room->core, &k->id));
	return json_manifest(c, k);
}

static enum err answer_state(struct operator_call *c, const struct package *k)
{
	put_digest(c->json, "package", &k->id);
	put_text(c->json, "state", place_state_word(k->state));
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

#define FETCHES_LISTED 100

// What all who fetch a package at one broker have together.
struct place_sum {
	struct place_key {
		struct digest package;
		char broker[LIMIT_ID + 1];
	} key;
	uint64_t granted_bytes_per_s, measured_bytes_per_s;
	uint32_t stalled;
	UT_hash_handle hh;
};

static struct place_key key_of(const struct digest *package, const char *broker)
{
	struct place_key key;

	memset(&key, 0, sizeof(key));
	key.package = *package;
	str_copy(key.broker, sizeof(key.broker), broker);
	return key;
}

static struct place_sum *sum_find(struct place_sum *sums, const struct place_key *key)
{
	struct place_sum *s;

	HASH_FIND(hh, sums, key, sizeof(*key), s);
	return s;
}

static enum err sums_make(struct operator_call *c, struct place_sum **sums)
{
	const struct leases *leases = c->room->presence->leases;
	struct place_sum *all = arena_array(c->arena, leases_count(leases) + 1, sizeof(*all));
	const struct lease *l;
	void *cursor = NULL;

	*sums = NULL;
	if (!all)
		return err_set(ERR_FULL, "no memory for this request");
	while ((l = leases_next(c->room->presence->leases, &cursor))) {
		struct place_key key = key_of(&l->package, l->broker);
		struct place_sum *s = sum_find(*sums, &key);

		if (!s) {
			s = all++;
			*s = (struct place_sum){.key = key};
			HASH_ADD(hh, *sums, key, sizeof(s->key), s);
		}
		s->granted_bytes_per_s += l->rate_bytes_per_s;
		s->measured_bytes_per_s += l->progress.bytes_per_s;
		s->stalled += l->progress.is_stalled;
	}
	return ERR_OK;
}

static const char *copy_detail(const struct copy *at, const struct data_broker *b)
{
	if (at->state == PLACE_STOPPING)
		return at->failures ? "its withdrawal failed and is tried again"
				    : "it is not wanted here any more";
	return b->is_relay ? "for the sites that it serves" : "a further copy";
}

// b NULL: it lies nowhere.
static void json_held(
	cJSON *o, const struct package *k, const struct data_broker *b, struct place_sum *sums)
{
	const struct copy *at = b ? copies_find(k, b->id) : NULL;
	const struct place_key key = key_of(&k->id, b ? b->id : "");
	const struct place_sum *s = sum_find(sums, &key);

	put_digest(o, "package", &k->id);
	put_text(o, "name", k->name);
	put_text(o, "version", k->version);
	put_text(o, "publisher", k->publisher);
	put_text(o, "state", place_state_word(at ? at->state : k->state));
	put_text(o, "detail", at ? copy_detail(at, b) : k->detail);
	put_time(o, "since_unix_ms", at ? at->since : k->since);
	put_number(o, "leases", at ? at->leases : b ? copies_first_leases(k) : 0);
	put_number(o, "waiting", at ? 0 : HASH_COUNT(k->waiting));
	put_number(o, "stalled", s ? s->stalled : 0);
	put_number(o, "granted_bytes_per_s", s ? s->granted_bytes_per_s : 0);
	put_number(o, "measured_bytes_per_s", s ? s->measured_bytes_per_s : 0);
	put_number(o, "object_bytes", k->object_bytes);
	put_number(o, "sent_bytes", at ? 0 : k->sent_bytes);
	put_number(o, "total_bytes", at ? 0 : k->total_bytes);
}

static void json_holds(
	struct operator_call *c, cJSON *list, const struct data_broker *b, struct place_sum *sums)
{
	struct package *k, *next;

	HASH_ITER(hh, c->room->presence->packages, k, next)
	{
		if (copies_find(k, b->id) || strcmp(k->broker, b->id) == 0)
			json_held(put_item(list), k, b, sums);
	}
}

// What is to lie on a broker and does not, or on one that is none of ours any more.
static void json_unplaced(struct operator_call *c, cJSON *list)
{
	const struct presence *p = c->room->presence;
	struct package *k, *next;

	HASH_ITER(hh, p->packages, k, next)
	{
		bool is_due = k->state == PLACE_OFFERED || k->state == PLACE_DEFERRED ||
			      place_is_on_broker(k->state) || package_is_wanted(k);
		cJSON *o;

		if (!is_due || data_brokers_find(p->brokers, k->broker))
			continue;
		o = put_item(list);
		json_held(o, k, NULL, NULL);
		put_text(o, "broker", k->broker);
	}
}

static void json_broker(
	struct operator_call *c, cJSON *o, const struct data_broker *b, struct place_sum *sums)
{
	const struct data_brokers *all = c->room->presence->brokers;
	const char *site;
	cJSON *sites;

	put_text(o, "id", b->id);
	put_text(o, "host", b->host);
	put_text(o, "ip", b->ip);
	put_number(o, "port", b->port);
	put_number(o, "capacity_bytes_per_s", b->capacity_bytes_per_s);
	put_bool(o, "reachable", b->up);
	put_bool(o, "stale", !data_broker_is_fresh(b, all->sys_interval_s, c->now.mono));
	put_bool(o, "refused", b->refused);
	cJSON_AddNumberToObject(o, "busy", data_broker_busy(b));
	put_number(o, "sent_bytes_per_s", (uint64_t)b->sent_bytes_per_s);
	put_number(o, "granted_bytes_per_s", b->granted_bytes_per_s);
	put_number(o, "budget_bytes_per_s",
		rates_of_broker(c->room->presence->rates, b->id, b->capacity_bytes_per_s));
	put_number(o, "fetches_max", rates_fetches(c->room->presence->rates, b->id));
	put_number(o, "in_line", b->in_line);
	put_number(o, "clients", b->clients);
	put_number(o, "leases", b->leases);
	put_number(o, "transfers_bytes", b->slots_bytes);
	put_number(o, "placements", b->placements);
	put_time(o, "last_target_unix_ms", b->last_target);
	put_number(o, "uptime_s", b->uptime_s);
	put_text(o, "version", b->version);
	put_text(o, "why", b->why);
	json_holds(c, put_list(o, "holds"), b, sums);
	sites = put_list(o, "sites");
	for (size_t i = 0; (site = relay_site(all, b->id, i)); i++)
		cJSON_AddItemToArray(sites, cJSON_CreateString(site));
}

// Who fetches now: the first of them.
static void json_fetches(struct operator_call *c)
{
	const struct presence *p = c->room->presence;
	cJSON *list = put_list(c->json, "leases");
	void *cursor = NULL;
	const struct lease *l;

	for (int i = 0; i < FETCHES_LISTED && (l = leases_next(p->leases, &cursor)); i++)
		json_lease(c, put_item(list), l);
	put_number(c->json, "lease_total", leases_count(p->leases));
}

static enum err run_brokers(struct operator_call *c)
{
	const struct presence *p = c->room->presence;
	cJSON *list = put_list(c->json, "brokers");
	struct place_sum *sums;

	TRY(sums_make(c, &sums));
	for (size_t i = 0; i < p->brokers->count; i++)
		json_broker(c, put_item(list), &p->brokers->items[i], sums);
	HASH_CLEAR(hh, sums);
	json_unplaced(c, put_list(c->json, "unplaced"));
	json_fetches(c);
	put_number(c->json, "recent_period_s", p->config.recent_period_s);
	put_text(c->json, "policy", p->config.recent_fallback_oldest ? "oldest" : "defer");
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
