// brokers: which data brokers there are, what lies on them and for whom, who fetches it and how
// fast.
#include "server/ctl/flow.h"
#include "server/ctl/progress.h"
#include "server/ctl/show.h"
#include "server/ctl/text.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PLACES_SHOWN 50

static void rate_cell(struct table *t, uint64_t rate)
{
	table_addf(t, "%s%s", rate ? amount_text(rate) : "-", rate ? "/s" : "");
}

// ---- brokers

static void link_cell(struct table *t, const cJSON *b)
{
	if (!json_bool(b, "reachable"))
		table_add_style(t, "down", STYLE_BAD);
	else if (json_bool(b, "refused"))
		table_add_style(t, "refused", STYLE_BAD);
	else if (json_bool(b, "stale"))
		table_add_style(t, "stale", STYLE_WARN);
	else
		table_add_style(t, "up", STYLE_GOOD);
}

// How much lies there; before it, what is wrong with a broker that is not used.
static void holds_cell(struct table *t, const cJSON *b)
{
	const cJSON *holds = cJSON_GetObjectItem(b, "holds"), *h;
	bool is_used = json_bool(b, "reachable") && !json_bool(b, "refused");
	const char *why = is_used ? "" : json_text(b, "why");
	int count = cJSON_GetArraySize(holds);
	uint64_t bytes = 0;

	cJSON_ArrayForEach(h, holds)
	{
		bytes += json_u64(h, "object_bytes");
	}
	if (count == 0)
		table_add(t, *why ? why : "nothing");
	else
		table_addf(t, "%s%s%d package%s, %s", why, *why ? "; " : "", count,
			count == 1 ? "" : "s", amount_text(bytes));
}

static void broker_row(struct table *t, const cJSON *b)
{
	uint64_t limit = json_u64(b, "fetches_max");
	char sites[512] = "", limit_text[32];
	const cJSON *site;

	snprintf(limit_text, sizeof(limit_text), " of %" PRIu64, limit);
	cJSON_ArrayForEach(site, cJSON_GetObjectItem(b, "sites"))
	{
		text_join(sites, sizeof(sites), "%s", site->valuestring ? site->valuestring : "?");
	}
	table_add_style(t, json_text(b, "id"), STYLE_BOLD);
	link_cell(t, b);
	table_addf(t, "%s:%.0f", *json_text(b, "host") ? json_text(b, "host") : json_text(b, "ip"),
		json_number(b, "port"));
	table_addf(t, "%.0f%%", json_number(b, "busy") * 100);
	table_addf(t, "%s/s", amount_text((uint64_t)json_number(b, "sent_bytes_per_s")));
	table_addf(t, "%s/s", amount_text(json_u64(b, "granted_bytes_per_s")));
	table_addf(t, "%s/s", amount_text(json_u64(b, "budget_bytes_per_s")));
	table_addf(t, "%.0f%s%s", json_number(b, "leases"), limit ? limit_text : "",
		json_u64(b, "in_line") ? "+" : "");
	table_add(t, *sites ? sites : "all");
	holds_cell(t, b);
}

static void brokers_table(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"BROKER", false, false, false},
		{"LINK", false, false, false}, {"ADDRESS", false, true, true},
		{"BUSY", true, false, false}, {"SENDING", true, false, false},
		{"GRANTED", true, false, true}, {"BUDGET", true, false, true},
		{"FETCHING", true, false, false}, {"SERVES", false, true, true},
		{"HOLDS", false, true, false}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	const cJSON *b;

	cJSON_ArrayForEach(b, cJSON_GetObjectItem(document, "brokers"))
	{
		broker_row(t, b);
	}
	table_print(t, &c->out);
	table_free(t);
}

// ---- places

static enum style state_style(const char *state)
{
	if (strcmp(state, "stored") == 0)
		return STYLE_GOOD;
	return strcmp(state, "linger") == 0 ? STYLE_PLAIN : STYLE_WARN;
}

static void state_cell(struct table *t, const cJSON *h)
{
	const char *state = json_text(h, "state");
	uint64_t total = json_u64(h, "total_bytes"), sent = json_u64(h, "sent_bytes");
	char text[64];

	snprintf(text, sizeof(text), "%.*s", text_most(state, 40), state);
	if (strcmp(state, "sending") == 0 && total > 0)
		snprintf(
			text, sizeof(text), "sending %.0f%%", 100.0 * (double)sent / (double)total);
	table_add_style(t, text, state_style(state));
}

static void place_row(struct table *t, const char *broker, const cJSON *h)
{
	uint64_t stalled = json_u64(h, "stalled"), leases = json_u64(h, "leases");
	char text[64];

	table_add(t, *broker ? broker : "-");
	table_add_style(t, show_package(h), STYLE_BOLD);
	state_cell(t, h);
	if (stalled) {
		snprintf(text, sizeof(text), "%" PRIu64 ", %" PRIu64 " stalled", leases, stalled);
		table_add_style(t, text, STYLE_BAD);
	} else
		show_count(t, leases);
	show_count(t, json_u64(h, "waiting"));
	rate_cell(t, json_u64(h, "granted_bytes_per_s"));
	rate_cell(t, json_u64(h, "measured_bytes_per_s"));
	table_add(t, json_text(h, "detail"));
	table_add(t, show_time(h, "since_unix_ms"));
	table_add(t, amount_text(json_u64(h, "object_bytes")));
}

// Something goes on there that a person may want to see before what only lies there.
static bool is_lively(const cJSON *h)
{
	const char *state = json_text(h, "state");

	return json_u64(h, "leases") > 0 || json_u64(h, "waiting") > 0 ||
	       strcmp(state, "linger") != 0;
}

static void places_add(struct table *t, const char *broker, const cJSON *list, bool lively)
{
	const cJSON *h;

	cJSON_ArrayForEach(h, list)
	{
		if (is_lively(h) == lively && table_rows(t) < PLACES_SHOWN)
			place_row(t, broker ? broker : json_text(h, "broker"), h);
	}
}

static int places_count(const cJSON *document)
{
	int count = cJSON_GetArraySize(cJSON_GetObjectItem(document, "unplaced"));
	const cJSON *b;

	cJSON_ArrayForEach(b, cJSON_GetObjectItem(document, "brokers"))
	{
		count += cJSON_GetArraySize(cJSON_GetObjectItem(b, "holds"));
	}
	return count;
}

static void places_table(const struct ctl *c, const cJSON *document)
{
	static const struct table_column columns[] = {{"AT", false, false, false},
		{"PACKAGE", false, true, false}, {"STATE", false, false, false},
		{"FETCH", true, false, false}, {"WAIT", true, false, false},
		{"GRANTED", true, false, false}, {"MEASURED", true, false, false},
		{"BECAUSE", false, true, false}, {"SINCE", true, false, true},
		{"SIZE", true, false, true}};
	struct table *t = table_new(columns, CTL_COUNT(columns));
	int count = places_count(document), shown;
	const cJSON *b;

	places_add(t, NULL, cJSON_GetObjectItem(document, "unplaced"), true);
	for (int lively = 1; lively >= 0; lively--)
		cJSON_ArrayForEach(b, cJSON_GetObjectItem(document, "brokers"))
		{
			places_add(t, json_text(b, "id"), cJSON_GetObjectItem(b, "holds"), lively);
		}
	shown = (int)table_rows(t);
	if (shown > 0) {
		printf("\n");
		table_print(t, &c->out);
	}
	if (count > shown)
		printf("and %d more: helioctl package list\n", count - shown);
	table_free(t);
}

// ---- all of it

static void brokers_show(const struct ctl *c, const cJSON *document)
{
	uint64_t shown = (uint64_t)cJSON_GetArraySize(cJSON_GetObjectItem(document, "leases"));

	brokers_table(c, document);
	places_table(c, document);
	if (json_u64(document, "lease_total") == 0)
		return;
	printf("\n");
	leases_show(c, document);
	if (json_u64(document, "lease_total") > shown)
		printf("and %" PRIu64 " more: helioctl leases\n",
			json_u64(document, "lease_total") - shown);
}

enum exit_code cmd_brokers(struct ctl *c, const struct args *a)
{
	struct api_verb v = {.verb = "brokers"};

	(void)a;
	return api_show(c, &v, brokers_show);
}
