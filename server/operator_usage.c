// usage, usage-rows, usage-gaps: what was shown, as clients reported it.
//
//   display's ledger -> report -> usage table -> sums, rows in pages, gaps
//
// Sums are made by the store at each question. A customer's part is that of rows which came while
// the client was theirs. What two devices of one name said of the same time is in no sum
// (usage_take.h); `usage-gaps` says which two.
#include "server/db/rows_usage.h"
#include "server/operator.h"
#include "server/usage_take.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MOST 500 // of the longest names an answer stays below LIMIT_API
#define SUMS_MOST 1000
#define GAPS_MOST 1000
#define PAIRS_MOST 100
#define KEY_MOST 600

static const char *text_or(const struct operator_call *c, const char *name, const char *otherwise)
{
	const char *text = call_text(c, name);

	return text ? text : otherwise;
}

static enum err filter_make(struct operator_call *c, struct usage_filter *f)
{
	uint64_t since = call_u64(c, "since", 0), until = call_u64(c, "until", INT64_MAX);

	*f = (struct usage_filter){
		.client = text_or(c, "client", ""),
		.customer = text_or(c, "customer", ""),
		.since_ms = since < INT64_MAX ? (int64_t)since : INT64_MAX,
		.until_ms = until < INT64_MAX ? (int64_t)until : INT64_MAX,
	};
	if (f->since_ms > f->until_ms)
		return err_set(ERR_RANGE, "since lies behind until");
	return ERR_OK;
}

static size_t max_of(const struct operator_call *c, size_t most)
{
	uint64_t max = call_u64(c, "max", most);

	// Two at least: behind the sum of nobody's clients, whose key is "", there is no `next`.
	return max < 2 || max > most ? (max == 1 ? 2 : most) : (size_t)max;
}

// ---- sums

struct sum_list {
	cJSON *list;
	enum usage_key key;
	struct usage_sum all;
	size_t count;
	char last[KEY_MOST];
};

static void sum_numbers(cJSON *o, const struct usage_sum *sum)
{
	put_number(o, "shown", sum->shown);
	put_number(o, "duration_ms", sum->duration_ms);
	put_number(o, "cut", sum->cut);
	put_number(o, "skipped", sum->skipped);
	put_number(o, "failed", sum->failed);
	put_number(o, "doubtful", sum->doubtful);
}

static enum err sum_put(void *ctx, const struct usage_sum *sum)
{
	struct sum_list *x = ctx;
	cJSON *o = put_item(x->list);

	put_text(o, "key", sum->key);
	sum_numbers(o, sum);
	put_time(o, "first_unix_ms", (struct wall){sum->first_ms});
	put_time(o, "last_unix_ms", (struct wall){sum->last_ms});
	x->all.shown += sum->shown;
	x->all.duration_ms += sum->duration_ms;
	x->all.cut += sum->cut;
	x->all.skipped += sum->skipped;
	x->all.failed += sum->failed;
	x->all.doubtful += sum->doubtful;
	x->count++;
	return str_copy(x->last, sizeof(x->last), sum->key)
		       ? ERR_OK
		       : err_set(ERR_RANGE, "a picture's name is too long");
}

static enum err run_sums(struct operator_call *c)
{
	static const char *const words[] = {
		"picture", "client", "customer", "hour", "package", "name"};
	const char *by = text_or(c, "by", "picture");
	struct sum_list *x = arena_alloc(c->arena, sizeof(*x));
	size_t max = max_of(c, SUMS_MOST);
	struct usage_filter f;

	if (!x)
		return err_set(ERR_FULL, "no memory for this request");
	TRY(filter_make(c, &f));
	put_text(c->json, "by", by);
	*x = (struct sum_list){.list = put_list(c->json, "sums")};
	while (strcmp(words[x->key], by) != 0)
		x->key++;
	TRY(rows_usage_sums(
		core_db(c->room->core), &f, x->key, text_or(c, "after", ""), max, x, sum_put));
	sum_numbers(c->json, &x->all);
	if (x->count == max)
		put_text(c->json, "next", x->last);
	return ERR_OK;
}

// ---- rows

// client/store/number/boot, as `next` said it.
static enum err place_parse(const char *text, char client[LIMIT_ID + 1], struct usage_place *out)
{
	char hex[33] = "";
	uint64_t seq, boot;

	*out = (struct usage_place){.client = client};
	client[0] = '\0';
	if (!text)
		return ERR_OK;
	if (sscanf(text, "%64[A-Za-z0-9._-]/%32[0-9a-f]/%" SCNu64 "/%" SCNu64, client, hex, &seq,
		    &boot) != 4 ||
		hex_decode(hex, out->store_id.b, sizeof(out->store_id.b)) != ERR_OK)
		return err_set(ERR_FORMAT, "after is not what an answer's `next` said");
	out->ledger_seq = seq;
	out->boot = boot;
	return ERR_OK;
}

struct row_list {
	cJSON *list;
	size_t count;
	char last[LIMIT_ID + 80];
};

static enum err row_put(void *ctx, const struct usage_whole *w)
{
	struct row_list *x = ctx;
	cJSON *o = put_item(x->list);
	char store[33], boot[20];

	hex_encode(w->place.store_id.b, sizeof(w->place.store_id.b), store);
	snprintf(boot, sizeof(boot), "%016" PRIx64, w->shown.boot_counter);
	put_text(o, "client", w->place.client);
	put_text(o, "customer", w->customer);
	put_text(o, "store", store);
	put_text(o, "boot", boot);
	put_number(o, "seq", w->place.ledger_seq);
	put_text(o, "image", w->image);
	put_digest(o, "package", &w->shown.package);
	put_time(o, "from_unix_ms", (struct wall){w->shown.from_unix_ms});
	put_number(o, "duration_ms", w->shown.duration_ms);
	put_text(o, "clock",
		w->shown.clock_quality == 3   ? "ntp"
		: w->shown.clock_quality == 2 ? "server"
					      : "none");
	put_number(o, "planned_ms", w->shown.planned_ms);
	put_text(o, "result", w->shown.result ? shown_result_word(w->shown.result) : "");
	put_text(o, "reason", w->shown.reason);
	put_bool(o, "doubtful", w->doubt);
	snprintf(x->last, sizeof(x->last), "%s/%s/%" PRIu64 "/%" PRIu64, w->place.client, store,
		w->place.ledger_seq, w->place.boot);
	x->count++;
	return ERR_OK;
}

static enum err run_rows(struct operator_call *c)
{
	char client[LIMIT_ID + 1];
	struct usage_place after;
	struct usage_filter f;
	struct row_list x = {.list = put_list(c->json, "usage")};
	size_t max = max_of(c, ROWS_MOST);

	TRY(filter_make(c, &f));
	TRY(place_parse(call_text(c, "after"), client, &after));
	TRY(rows_usage_page(core_db(c->room->core), &f, &after, max, &x, row_put));
	if (x.count == max)
		put_text(c->json, "next", x.last);
	return ERR_OK;
}

// ---- gaps

struct gap_list {
	cJSON *list;
	uint64_t missing;
};

static enum err gap_put(void *ctx, const struct usage_gap *gap)
{
	struct gap_list *x = ctx;
	cJSON *o = put_item(x->list);
	char store[33];

	hex_encode(gap->store_id.b, sizeof(gap->store_id.b), store);
	put_text(o, "store", store);
	put_number(o, "from_seq", gap->from_seq);
	put_number(o, "to_seq", gap->to_seq);
	put_bool(o, "first", gap->is_first);
	x->missing += gap->to_seq - gap->from_seq + 1;
	return ERR_OK;
}

// Two that answer to one name, and the time that both speak of.
static void source_names(
	cJSON *o, const char *store_name, const char *boot_name, const struct usage_source *s)
{
	char store[33], boot[20];

	hex_encode(s->store_id.b, sizeof(s->store_id.b), store);
	snprintf(boot, sizeof(boot), "%016" PRIx64, s->boot);
	put_text(o, store_name, store);
	put_text(o, boot_name, boot);
}

static enum err pair_put(void *ctx, const struct usage_source *a, const struct usage_source *b)
{
	cJSON *o = put_item(ctx);
	int64_t from_ms = a->first_ms > b->first_ms ? a->first_ms : b->first_ms;
	int64_t until_ms = a->last_ms < b->last_ms ? a->last_ms : b->last_ms;

	source_names(o, "store", "boot", a);
	source_names(o, "other_store", "other_boot", b);
	put_time(o, "from_unix_ms", (struct wall){from_ms});
	put_time(o, "until_unix_ms", (struct wall){until_ms});
	return ERR_OK;
}

static enum err run_gaps(struct operator_call *c)
{
	struct client_info *info = arena_alloc(c->arena, sizeof(*info));
	struct gap_list x = {.list = put_list(c->json, "gaps")};

	if (!info)
		return err_set(ERR_FULL, "no memory for this request");
	TRY(call_client(c, "client", info));
	put_text(c->json, "client", info->id);
	TRY(rows_usage_gaps(core_db(c->room->core), info->id, GAPS_MOST, &x, gap_put));
	put_number(c->json, "missing", x.missing);
	uint64_t doubtful = 0;
	TRY(rows_usage_doubts(core_db(c->room->core), info->id, &doubtful));
	put_number(c->json, "doubtful", doubtful);
	return rows_usage_pairs(core_db(c->room->core), info->id, USAGE_OVERLAP_MS, PAIRS_MOST,
		put_list(c->json, "twins"), pair_put);
}

#define SPAN                                                                                       \
	{"client", ARG_ID, false, NULL, "only of this client"},                                    \
		{"customer", ARG_ID, false, NULL, "only of this customer's clients"},              \
		{"since", ARG_U64, false, NULL, "unix_ms"},                                        \
	{                                                                                          \
		"until", ARG_U64, false, NULL, "unix_ms, exclusive"                                \
	}

static const struct verb_row rows[] = {
	{.name = "usage",
		.help = "sums of what was shown",
		.run = run_sums,
		.args = {{"by", ARG_WORD, false, "picture|client|customer|hour|package|name",
				 "one sum for each"},
			SPAN, {"after", ARG_LONG, false, NULL, "`next` of the answer before"},
			{"max", ARG_U32, false, NULL, "sums at most"}}},
	{.name = "usage-rows",
		.help = "each showing, in pages",
		.run = run_rows,
		.args = {SPAN, {"after", ARG_LONG, false, NULL, "`next` of the answer before"},
			{"max", ARG_U32, false, NULL, "rows at most"}}},
	{.name = "usage-gaps",
		.help = "what a client's ledger has and never came, and what two of one name said",
		.run = run_gaps,
		.args = {{"client", ARG_ID, true, NULL, "which"}}},
};

const struct verb_table operator_usage_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
