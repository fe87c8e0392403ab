// A start that does not wait for its fleet. Channels, events and whatever is open come at once; the
// clients come while the server answers already: whoever speaks, or is spoken of, is loaded first,
// the others in the order of their ids, a few between two turns. The store stays the truth: a
// client that is not in memory yet is a row that nobody has changed since.
//
//   core_load -> loading_begin   the first LOAD_AT_START, and the source behind client_table_find
//   between turns                core_load_some
//   whoever needs all of them    loading_finish
//
// Until all are there no channel is trimmed, because nobody knows yet who stands where, and
// last_heard is not saved.
#include "server/core_inside.h"

#define LOAD_AT_START 4096u // about 10 ms; a fleet up to this size never notices

struct load {
	struct core *core;
	size_t count;
};

static enum err load_next(void *ctx, const struct client_row *row)
{
	struct load *load = ctx;
	struct core *core = load->core;

	load->count++;
	(void)str_copy(core->loaded_up_to, sizeof(core->loaded_up_to), row->id);
	if (!client_table_holds(&core->clients, row->id))
		return principal_load(core, row);
	return share_take(core, client_table_find(&core->clients, row->id));
}

static enum err load_end(struct core *core)
{
	bool trim = core->trim_waits;

	loading_forget(core);
	for (uint32_t i = 0; i < core->channel_count && trim; i++)
		TRY(channel_trim(core, &core->channels[i]->queue));
	log_info("LOADED", "principals=%u clients=%u", core->clients.count, core->clients.clients);
	return ERR_OK;
}

static enum err load_more(struct core *core, size_t max)
{
	struct load load = {.core = core};
	char after[LIMIT_ID + 1];

	(void)str_copy(after, sizeof(after), core->loaded_up_to);
	TRY(rows_client_after(core->db, after, max, load_next, &load));
	return load.count < max ? load_end(core) : ERR_OK;
}

static void fetch(void *ctx, const char *id)
{
	struct core *core = ctx;
	enum err e = rows_client_of(core->db, id, principal_load, core);

	if (e != ERR_OK)
		db_fail(core->db, e);
}

enum err loading_begin(struct core *core)
{
	core->source = (struct client_source){core, fetch};
	core->clients.source = &core->source;
	core->loading = true;
	core->loaded_up_to[0] = '\0';
	return load_more(core, LOAD_AT_START);
}

enum err loading_finish(struct core *core)
{
	while (core->loading)
		TRY(load_more(core, LOAD_AT_START));
	return ERR_OK;
}

void loading_forget(struct core *core)
{
	core->loading = core->trim_waits = false;
	core->clients.source = NULL;
}

bool core_load_some(struct core *core, size_t max, struct now now)
{
	core->now = now;
	if (!core->loading || core->degraded || core->db->failed)
		return false;
	enum err e = load_more(core, max);
	if (e != ERR_OK)
		db_fail(core->db, e);
	return core->loading && e == ERR_OK;
}

bool core_is_loading(const struct core *core)
{
	return core->loading;
}
