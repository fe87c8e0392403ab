// Verb about the servers of one store: who answers which shards, who leads, and what waits to be
// read. All of it as the store has it now.
#include "server/operator.h"

#include "server/db/rows_letter.h"
#include "server/db/rows_shard.h"
#include <stdio.h>

struct holder {
	const char *id;
	uint64_t fencing;
	int64_t until_ms, left_ms;
	bool leads;
	bool owns[SHARDS];
};

#define HOLDERS_MAX SHARDS // more than that own nothing

struct look {
	struct arena *arena;
	struct holder *holders; // [count], the first is nobody
	size_t count;
	bool is_shared;
};

static enum err server_note(void *ctx, const struct server_row *row)
{
	struct look *look = ctx;
	struct holder *h = &look->holders[look->count];

	if (look->count == HOLDERS_MAX)
		return ERR_OK;
	*h = (struct holder){.id = arena_strdup(look->arena, row->holder),
		.fencing = row->fencing,
		.until_ms = row->until_ms,
		.left_ms = row->left_ms > 0 ? row->left_ms : 0};
	look->count++;
	return h->id ? ERR_OK : err_set(ERR_FULL, "no memory for this request");
}

static enum err shard_note(void *ctx, unsigned shard, const char *holder)
{
	struct look *look = ctx;
	struct holder *h = look->holders;

	for (size_t i = 1; i < look->count; i++)
		if (strcmp(look->holders[i].id, holder) == 0)
			h = &look->holders[i];
	look->is_shared = true;
	if (shard < SHARDS)
		h->owns[shard] = true;
	else if (shard == SHARD_LEAD && h != look->holders)
		h->leads = true;
	return ERR_OK;
}

// Nobody shares the store: this server has it all.
static void alone_fill(struct look *look, const struct operator_call *c)
{
	struct holder *h = &look->holders[look->count++];

	*h = (struct holder){.id = c->room->server_id, .leads = true};
	for (size_t i = 0; i < SHARDS; i++)
		h->owns[i] = true;
}

// Shards, as runs of two hex digits, and what waits for them.
static void put_shards(cJSON *o, const struct holder *h, const uint64_t *waiting)
{
	uint64_t count = 0, letters = h->leads ? waiting[SHARD_LEAD] : 0;
	cJSON *ranges = put_list(o, "ranges");
	char text[8];

	for (unsigned first = 0, end; first < SHARDS; first = end + 1) {
		for (end = first; end < SHARDS && h->owns[end]; end++)
			letters += waiting[end];
		count += end - first;
		snprintf(text, sizeof(text), "%02x-%02x", first, (end - 1) & 0xff);
		if (end > first)
			cJSON_AddItemToArray(ranges, cJSON_CreateString(text));
	}
	put_number(o, "shards", count);
	put_number(o, "letters", letters);
}

static void json_server(cJSON *o, const struct holder *h, const uint64_t *waiting)
{
	put_text(o, "server", h->id);
	put_bool(o, "leads", h->leads);
	put_number(o, "fencing", h->fencing);
	put_time(o, "until_unix_ms", (struct wall){.ms = h->until_ms});
	put_number(o, "left_ms", (uint64_t)h->left_ms);
	put_shards(o, h, waiting);
}

static enum err run_servers(struct operator_call *c)
{
	struct db *db = core_db(c->room->core);
	struct look look = {.arena = c->arena, .count = 1};
	uint64_t waiting[LETTER_PLACES];
	cJSON *list = put_list(c->json, "servers");

	look.holders = arena_array(c->arena, HOLDERS_MAX + 1, sizeof(*look.holders));
	if (!look.holders)
		return err_set(ERR_FULL, "no memory for this request");
	TRY(rows_servers_each(db, server_note, &look));
	TRY(rows_shards_each(db, shard_note, &look));
	TRY(rows_letter_count(db, waiting));
	if (look.count == 1) {
		memset(look.holders, 0, sizeof(*look.holders));
		look.is_shared = false;
		alone_fill(&look, c);
	}
	for (size_t i = 1; i < look.count; i++)
		json_server(put_item(list), &look.holders[i], waiting);
	put_bool(c->json, "shared", look.is_shared);
	put_shards(put_object(c->json, "nobody"), &look.holders[0], waiting);
	put_number(c->json, "letters_to_all", waiting[LETTER_TO_ALL]);
	return ERR_OK;
}

static const struct verb_row rows[] = {
	{.name = "servers",
		.help = "who answers which shards, who leads, what waits to be read",
		.run = run_servers},
};

const struct verb_table operator_share_verbs = {rows, sizeof(rows) / sizeof(rows[0])};
