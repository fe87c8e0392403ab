// Verbs about rates: budgets of brokers, sites and clients, and who fetches how fast.
#include "server/lease_rates.h"
#include "server/operator.h"

#define ROWS_MOST 400 // of the longest names an answer stays below LIMIT_API

static void json_budget(cJSON *o, const struct budget *b)
{
	put_text(o, "kind", budget_word(b->kind));
	put_text(o, "name", b->name);
	put_number(o, "bytes_per_s", b->bytes_per_s);
	put_number(o, "fetches", b->fetches);
	put_text(o, "by", b->is_stored ? "operator" : "settings");
}

static int budget_compare(const void *a, const void *b)
{
	const struct budget *const *x = a, *const *y = b;

	return (*x)->kind != (*y)->kind ? (int)(*x)->kind - (int)(*y)->kind
					: strcmp((*x)->name, (*y)->name);
}

// A page of rows: at most ROWS_MOST, from `from` on.
static bool row_takes(struct operator_call *c, size_t row, size_t *listed)
{
	if (*listed < ROWS_MOST)
		return page_takes(c, row, listed);
	if (!cJSON_HasObjectItem(c->json, "next"))
		put_number(c->json, "next", row);
	return false;
}

// Of each kind by name.
static enum err run_list(struct operator_call *c)
{
	const struct budgets *all = rates_budgets(c->room->presence->rates);
	const char *kind = call_text(c, "kind");
	const struct budget **list = arena_array(c->arena, BUDGETS_MAX, sizeof(*list));
	size_t count = 0, listed = 0;
	cJSON *out = put_list(c->json, "budgets");
	void *cursor = NULL;

	if (!list)
		return err_set(ERR_FULL, "no memory for this request");
	for (const struct budget *b; (b = budgets_next(all, &cursor)) && count < BUDGETS_MAX;)
		if (!kind || strcmp(kind, budget_word(b->kind)) == 0)
			list[count++] = b;
	qsort(list, count, sizeof(*list), budget_compare);
	for (size_t i = 0; i < count; i++)
		if (row_takes(c, i, &listed))
			json_budget(put_item(out), list[i]);
	put_number(c->json, "client_bytes_per_s", rates_client_cap(c->room->presence->rates, "*"));
	return ERR_OK;
}

static enum err budget_named(struct operator_call *c, struct budget *out)
{
	*out = (struct budget){.is_stored = true};
	TRY(budget_kind_parse(call_text(c, "kind"), &out->kind));
	if (!str_copy(out->name, sizeof(out->name), call_text(c, "name")))
		return err_set(ERR_RANGE, "the name is too long");
	return budget_check(out);
}

// A name that does not exist is a slip of the hand: it would limit nobody.
static enum err name_check(struct operator_call *c, const struct budget *b)
{
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));

	if (strcmp(b->name, "*") == 0 || b->kind == BUDGET_SITE)
		return ERR_OK;
	if (b->kind == BUDGET_BROKER)
		return data_brokers_find(c->room->presence->brokers, b->name)
			       ? ERR_OK
			       : err_set(ERR_NOT_FOUND, "no data broker %s", b->name);
	if (!info)
		return err_set(ERR_FULL, "no memory for this request");
	return call_client(c, "name", info);
}

static enum err run_set(struct operator_call *c)
{
	struct budget b;
	uint64_t fetches = call_u64(c, "fetches", 0);

	TRY(budget_named(c, &b));
	TRY(name_check(c, &b));
	b.bytes_per_s = call_u64(c, "bytes_per_s", 0);
	b.fetches = fetches > UINT32_MAX ? UINT32_MAX : (uint32_t)fetches;
	TRY(lease_budget_set(c->room->presence, &b));
	json_budget(c->json, &b);
	return ERR_OK;
}

static enum err run_unset(struct operator_call *c)
{
	const struct budget *left;
	struct budget b;

	TRY(budget_named(c, &b));
	TRY(lease_budget_unset(c->room->presence, b.kind, b.name));
	left = budgets_find(rates_budgets(c->room->presence->rates), b.kind, b.name);
	put_text(c->json, "kind", budget_word(b.kind));
	put_text(c->json, "name", b.name);
	put_number(c->json, "bytes_per_s", left ? left->bytes_per_s : 0);
	return ERR_OK;
}

static bool lease_is_asked_for(const struct operator_call *c, const struct lease *l)
{
	const char *broker = call_text(c, "broker"), *client = call_text(c, "client");
	const char *site = call_text(c, "site");
	struct rates_view v;

	return (!broker || strcmp(broker, l->broker) == 0) &&
	       (!client || strcmp(client, l->client) == 0) &&
	       (!site || (rates_look(c->room->presence->rates, l->id, &v) &&
				 strcmp(site, v.site) == 0));
}

// In the order of granting.
static enum err run_leases(struct operator_call *c)
{
	cJSON *list = put_list(c->json, "leases");
	size_t at = 0, listed = 0;
	void *cursor = NULL;

	for (const struct lease *l; (l = leases_next(c->room->presence->leases, &cursor));) {
		if (!lease_is_asked_for(c, l))
			continue;
		if (row_takes(c, at++, &listed))
			json_lease(c, put_item(list), l);
	}
	put_number(c->json, "total", at);
	return ERR_OK;
}

static const struct verb_row rows[] = {
	{.name = "budget-list",
		.help = "budgets of brokers, sites and clients",
		.run = run_list,
		.args = {{"kind", ARG_WORD, false, "broker|site|client", "only of this kind"},
			{"from", ARG_U32, false, NULL, "`next` of the answer before"},
			{"max", ARG_U32, false, NULL, "at most so many"}}},
	{.name = "budget-set",
		.help = "how many bytes a second may leave a broker, go to a site, to a client",
		.writes = true,
		.run = run_set,
		.args = {{"kind", ARG_WORD, true, "broker|site|client", "of what"},
			{"name", ARG_TEXT, true, NULL,
				"its id, CUSTOMER/PLACE of a site, or * for each that has none"},
			{"bytes_per_s", ARG_U64, true, NULL, "bytes per second; 0: no limit"},
			{"fetches", ARG_U32, false, NULL,
				"transfers at once, of a broker; 0: no limit"}}},
	{.name = "budget-unset",
		.help = "takes back what budget-set said: the settings count again",
		.writes = true,
		.run = run_unset,
		.args = {{"kind", ARG_WORD, true, "broker|site|client", "of what"},
			{"name", ARG_TEXT, true, NULL, "as in budget-set"}}},
	{.name = "leases",
		.help = "who fetches what from where, how fast, how far",
		.run = run_leases,
		.args = {{"broker", ARG_ID, false, NULL, "only from this data broker"},
			{"client", ARG_ID, false, NULL, "only of this client"},
			{"site", ARG_TEXT, false, NULL, "only at this site"},
			{"from", ARG_U32, false, NULL, "`next` of the answer before"},
			{"max", ARG_U32, false, NULL, "at most so many"}}},
};

const struct verb_table operator_rate_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
