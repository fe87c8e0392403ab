// What the server keeps of a client and sets by its responses: the state, in one table and changed
// by one function; the row that goes to the store; and the set of packages it holds.
#include "server/core_inside.h"
#include <stdlib.h>
#include <string.h>

// From row to column: which changes of state exist.
//                     IDLE INFO RETR COMM RESY CLONE
static const bool known_change[7][7] = {
	[CS_IDLE] = {0, 1, 1, 1, 1, 1, 1},
	[CS_AWAIT_INFO] = {0, 1, 1, 1, 1, 1, 1},
	[CS_AWAIT_RETRIEVE] = {0, 1, 1, 1, 1, 1, 1},
	[CS_AWAIT_COMMAND] = {0, 1, 1, 1, 1, 1, 1},
	[CS_RESYNC] = {0, 1, 0, 0, 0, 1, 1}, // nothing is begun before the client agrees again
	[CS_CLONE_SUSPECT] = {0, 1, 0, 0, 0, 0, 1}, // an operator clears it
};

bool client_state_change_is_known(enum client_state from, enum client_state to)
{
	return from >= CS_IDLE && from <= CS_CLONE_SUSPECT && to >= CS_IDLE &&
	       to <= CS_CLONE_SUSPECT && known_change[from][to];
}

static bool is_working(const struct client *c)
{
	return c->state != CS_IDLE && c->state != CS_CLONE_SUSPECT &&
	       (c->reach == REACH_ONLINE || c->reach == REACH_LATE);
}

void client_count(struct core *core, const struct client *c, int by)
{
	core->silent_count += (uint32_t)(c->reach == REACH_SILENT ? by : 0);
	core->frequency.working += (uint32_t)(is_working(c) ? by : 0);
}

void client_set_state(struct core *core, uint32_t number, enum client_state to, const char *because)
{
	struct client *c = client_at(&core->clients, number);
	enum client_state from = (enum client_state)c->state;

	client_dirty(core, number);
	if (from == to)
		return;
	if (!client_state_change_is_known(from, to)) {
		log_error("STATE-CHANGE-REFUSED", "client=%s from=%s to=%s because=%s",
			client_id(&core->clients, c), client_state_word(from),
			client_state_word(to), log_quote(because));
		return;
	}
	log_debug("STATE-CHANGE", "client=%s from=%s to=%s because=%s",
		client_id(&core->clients, c), client_state_word(from), client_state_word(to),
		log_quote(because));
	client_count(core, c, -1);
	c->state = (uint8_t)to;
	client_count(core, c, 1);
	view_due(core, number);
}

void client_set_reach(struct core *core, uint32_t number, enum reach to, const char *because)
{
	struct client *c = client_at(&core->clients, number);

	if (c->reach == to)
		return;
	log_debug("REACH-CHANGE", "client=%s from=%s to=%s because=%s",
		client_id(&core->clients, c), reach_word((enum reach)c->reach), reach_word(to),
		log_quote(because));
	client_count(core, c, -1);
	c->reach = (uint8_t)to;
	client_count(core, c, 1);
	c->flags |= CLIENT_STALE_ROW;
	view_due(core, number);
	if (to == REACH_ONLINE && core->hooks.online)
		core->hooks.online(core->hooks.ctx, core, number);
}

// ---- the row

void client_dirty(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	if (c->flags & CLIENT_DIRTY)
		return;
	c->flags |= CLIENT_DIRTY;
	if (!number_list_add(&core->dirty, number))
		db_fail(core->db, err_set(ERR_MEMORY, "no memory for the rows of this turn"));
}

enum err client_row_write(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	const struct channel *ch = channel_of(core, c);
	const struct client_rare *rare = c->rare;
	uint8_t ip[4];

	if (rare && rare->more_count)
		TRY(memberships_write(core, number));
	TRY(mirror_tell(core, number));
	return rows_client_put(
		core->db, &(struct client_row){
				  .id = client_id(&core->clients, c),
				  .channel = ch->queue.name,
				  .highest_session = c->session_id,
				  .state = (enum client_state)c->state,
				  .reach = (enum reach)c->reach,
				  .d = c->d,
				  .epoch = ch->queue.epoch,
				  .pointer = c->pointer,
				  .holdings_known = c->flags & CLIENT_HOLDINGS_KNOWN,
				  .mismatches = c->mismatches,
				  .interval_set_ms = rare ? rare->interval_set_ms : 0,
				  .told_interval_ms = c->told_interval_ms,
				  .status_interval_ms = rare ? rare->status_interval_ms : 0,
				  .change_id = rare ? rare->change_id : 0,
				  .report_id = rare ? rare->report_id : 0,
				  .last_kind = (enum response_kind)c->last_kind,
				  .last_heard_ms = client_heard(c).ms,
				  .ip = client_ip(c, &core->interned, ip),
				  .profile = intern_get(&core->interned, c->profile),
				  .showing = intern_get(&core->interned, c->showing),
				  .holdings = intern_get(&core->interned, c->holdings),
			  });
}

enum err clients_flush(struct core *core)
{
	for (size_t i = 0; i < core->dirty.count; i++) {
		struct client *c = client_at(&core->clients, core->dirty.items[i]);
		if (!(c->flags & CLIENT_USED) || !(c->flags & CLIENT_DIRTY) || c->elsewhere)
			continue;
		c->flags &= (uint8_t) ~(CLIENT_DIRTY | CLIENT_STALE_ROW);
		if (c->role == ROLE_CLIENT)
			TRY(client_row_write(core, core->dirty.items[i]));
	}
	core->dirty.count = 0;
	return ERR_OK;
}

// ---- holdings

static int digest_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

bool client_holds(const struct core *core, const struct client *c, const struct digest *package)
{
	struct bytes set = intern_get(&core->interned, c->holdings);

	return set.size && bsearch(package, set.data, set.size / sizeof(struct digest),
				   sizeof(struct digest), digest_order);
}

static void set_add(struct digest *set, size_t *count, size_t max, const struct digest *d)
{
	for (size_t i = 0; i < *count; i++)
		if (digest_equal(&set[i], d))
			return;
	if (*count < max)
		set[(*count)++] = *d;
}

static void set_remove(struct digest *set, size_t *count, const struct digest *d)
{
	for (size_t i = 0; i < *count; i++)
		if (digest_equal(&set[i], d))
			set[i--] = set[--*count];
}

bool client_merge_holdings(struct core *core, struct client *c, const struct holdings *h)
{
	struct digest set[2 * LIMIT_HOLDINGS];
	struct bytes before = intern_get(&core->interned, c->holdings);
	size_t count = 0;

	if (!h->full && before.size <= sizeof(set)) {
		count = before.size / sizeof(struct digest);
		if (count)
			memcpy(set, before.data, before.size);
	}
	for (size_t i = 0; i < h->item_count; i++) {
		if (h->items[i].complete)
			set_add(set, &count, 2 * LIMIT_HOLDINGS, &h->items[i].package);
		else
			set_remove(set, &count, &h->items[i].package);
	}
	qsort(set, count, sizeof(set[0]), digest_order);
	if (!intern_set(&core->interned, &c->holdings, bytes_of(set, count * sizeof(set[0]))))
		return false;
	if (core->hooks.held)
		core->hooks.held(core->hooks.ctx, core, client_id(&core->clients, c));
	return true;
}
