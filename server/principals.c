// Who may sign in: enrolment, revocation, removal; and what other rooms may ask about a client.
#include "server/core_inside.h"

#include "proto/base/log.h"
#include "server/db/rows_letter.h"
#include <stdlib.h>
#include <string.h>

void rare_free(struct client_rare *rare)
{
	if (!rare)
		return;
	if (rare->open)
		free(rare->open->passed);
	free(rare->open);
	free(rare->retry);
	free(rare->parts);
	private_queue_free(rare);
	free(rare->more);
	free(rare);
}

void principal_forget(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	offers_forget(core, number);
	if (c->v > core->forgotten_v)
		core->forgotten_v = c->v;
	if (c->role == ROLE_CLIENT)
		memberships_leave(core, c);
	rare_free(c->rare);
	c->rare = NULL;
	(void)client_set_ip(c, &core->interned, bytes_of(NULL, 0));
	intern_drop(&core->interned, c->profile);
	intern_drop(&core->interned, c->showing);
	intern_drop(&core->interned, c->holdings);
	c->profile = c->showing = c->holdings = 0;
	if (!c->elsewhere)
		client_count(core, c, -1);
	client_table_remove(&core->clients, number);
}

// A client that was enrolled without one gets its box key; one that has one keeps it.
static enum err box_key_add(
	struct core *core, const struct enrolment *e, const struct principal_row *row)
{
	static const struct key32 none;

	if (memcmp(&row->box_key, &none, sizeof(none)) != 0 ||
		memcmp(&e->box_key, &none, sizeof(none)) == 0)
		return ERR_OK;
	log_info("BOX-KEY", "id=%s", e->id);
	return rows_principal_box(core->db, e->id, &e->box_key);
}

static enum err enrolled_before(struct core *core, const struct enrolment *e)
{
	struct principal_row row;

	bool known = false;

	// An enrolment is read again at each start; one of a key that was rotated since changes
	// nothing.
	TRY(rows_principal_find(core->db, e->id, &core->arena, &row));
	TRY(rows_principal_had_key(core->db, e->id, &e->public_key, &known));
	if (!known || row.role != e->role)
		return err_set(ERR_EXISTS,
			"%s is enrolled with another key or role: remove it first", e->id);
	if (row.revoked)
		return err_set(
			ERR_DENIED, "%s is revoked: remove it before it can enrol again", e->id);
	return box_key_add(core, e, &row);
}

// Its server may still write of who was removed.
static enum err let_go_check(struct core *core, const struct enrolment *e)
{
	bool waits = false;

	if (!core->shared || e->role != ROLE_CLIENT)
		return ERR_OK;
	TRY(rows_letter_waits(core->db, e->id, LETTER_REMOVED, &waits));
	if (!waits)
		TRY(rows_letter_waits(core->db, e->id, LETTER_LEFT, &waits));
	core->enrolment_waits = core->enrolment_waits || waits;
	return waits ? err_set(ERR_NOT_NOW,
			       "%s was removed a moment ago, and the server that answered it has "
			       "not let go of it yet: try again in a few seconds",
			       e->id)
		     : ERR_OK;
}

enum err core_enrol(struct core *core, const struct enrolment *e)
{
	struct channel *ch = NULL;
	uint32_t number = CLIENT_NONE;

	if (!id_is_valid(e->id))
		return err_set(ERR_RANGE, "an id has 1 to %d of A-Z a-z 0-9 . _ -", LIMIT_ID);
	if (e->role != ROLE_CLIENT && e->role != ROLE_PUBLISHER && e->role != ROLE_OPERATOR)
		return err_set(ERR_RANGE, "only clients, publishers and operators sign in");
	if (client_table_find(&core->clients, e->id) != CLIENT_NONE)
		return enrolled_before(core, e);
	TRY(let_go_check(core, e));
	TRY(channel_make(core, "default", &ch));
	TRY(rows_principal_put(core->db, &(struct principal_row){
						 .id = e->id,
						 .name = e->name,
						 .role = e->role,
						 .public_key = e->public_key,
						 .box_key = e->box_key,
						 .enrolled_ms = core->now.wall.ms,
					 }));
	TRY(client_table_add(&core->clients, e->id, e->role, &number));
	struct client *c = client_at(&core->clients, number);
	c->channel = ch->number;
	c->told_interval_ms = core->config.interval_ms;
	c->v = core->forgotten_v; // who was removed and comes back is given no id a second time
	log_info("ENROLLED", "id=%s role=%s", e->id, role_word(e->role));
	if (e->role != ROLE_CLIENT)
		return ERR_OK;
	ch->clients++;
	channel_touch(core, ch);
	TRY(client_row_write(core, number));
	c->elsewhere = !core->ours[c->shard];
	if (c->elsewhere)
		return letter_to_client(core, e->id, LETTER_ENROLLED, NULL);
	view_due(core, number);
	return ERR_OK;
}

// Its owner lets go of it too.
static enum err owner_tell(struct core *core, const struct client *c, enum letter kind)
{
	return c->elsewhere ? letter_to_client(core, client_id(&core->clients, c), kind, NULL)
			    : ERR_OK;
}

static void gone_tell(struct core *core, const char *id, enum role role)
{
	if (core->hooks.principal_gone)
		core->hooks.principal_gone(core->hooks.ctx, core, id, role);
}

void principal_revoked(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	const char *id = client_id(&core->clients, c);

	c->flags |= CLIENT_REVOKED;
	c->session_id = 0;
	secret_wipe(&c->mac_up, sizeof(c->mac_up));
	offers_forget(core, number);
	log_warn("REVOKED", "id=%s", id);
	gone_tell(core, id, (enum role)c->role);
}

void principal_removed(struct core *core, uint32_t number)
{
	const struct client *c = client_at(&core->clients, number);
	const char *id = client_id(&core->clients, c);

	log_warn("REMOVED", "id=%s role=%s", id, role_word((enum role)c->role));
	gone_tell(core, id, (enum role)c->role);
	principal_forget(core, number);
}

enum err core_principal_revoke(struct core *core, const char *id)
{
	uint32_t number = client_table_find(&core->clients, id);

	if (number == CLIENT_NONE)
		return err_set(ERR_NOT_FOUND, "%s is not enrolled", id);
	const struct client *c = client_at(&core->clients, number);
	TRY(rows_principal_revoke(core->db, id));
	TRY(owner_tell(core, c, LETTER_REVOKED));
	principal_revoked(core, number);
	return ERR_OK;
}

enum err core_principal_remove(struct core *core, const char *id)
{
	uint32_t number = client_table_find(&core->clients, id);

	if (number == CLIENT_NONE)
		return err_set(ERR_NOT_FOUND, "%s is not enrolled", id);
	const struct client *c = client_at(&core->clients, number);
	enum role role = (enum role)c->role;
	bool here = !c->elsewhere;
	TRY(owner_tell(core, c, LETTER_REMOVED));
	TRY(rows_principal_delete(core->db, id));
	principal_removed(core, number);
	if (role == ROLE_CLIENT && here)
		view_remove(core, id);
	return ERR_OK;
}

enum err core_principal_key(struct core *core, const char *id, enum role role, struct key32 *out)
{
	struct principal_row row;

	TRY(rows_principal_find(core->db, id, &core->arena, &row));
	if (row.role != role)
		return err_set(ERR_NOT_FOUND, "%s is no %s", id, role_word(role));
	if (row.revoked)
		return err_set(ERR_DENIED, "%s is revoked", id);
	*out = row.public_key;
	return ERR_OK;
}

// ---- what is known of a client

static void info_texts(const struct core *core, const struct client *c, struct client_info *out)
{
	const char *image = NULL;
	struct profile profile;

	profile_split(intern_get(&core->interned, c->profile), &profile);
	(void)str_copy(out->agent_version, sizeof(out->agent_version), profile.agent_version);
	(void)str_copy(out->agent_state, sizeof(out->agent_state), profile.state);
	(void)str_copy(out->hw_class, sizeof(out->hw_class), profile.hw_class);
	showing_split(intern_get(&core->interned, c->showing), &out->showing_package, &image);
	(void)str_copy(out->showing_image, sizeof(out->showing_image), image);
	uint8_t room[4];
	struct bytes ip = client_ip(c, &core->interned, room);
	out->ip_size = ip.size <= sizeof(out->ip) ? ip.size : 0;
	if (out->ip_size)
		memcpy(out->ip, ip.data, out->ip_size);
	out->holding_count = intern_get(&core->interned, c->holdings).size / sizeof(struct digest);
}

static void info_place(struct place p, struct client_place *out)
{
	const struct event_queue *q = &p.channel->queue;

	out->weight = p.channel->weight;
	out->pointer_seq = 0;
	out->pointer_at = ELEMENT_HEAD;
	(void)str_copy(out->channel, sizeof(out->channel), q->name);
	if (queue_is_detached(q, *p.pointer))
		return;
	const struct element *e = queue_show(q, *p.pointer);
	out->pointer_seq = e ? e->seq : q->tail_seq;
	out->pointer_at = e ? e->type : ELEMENT_TAIL;
}

static void info_places(const struct core *core, struct client *c, struct client_info *out)
{
	out->place_count = membership_count(c);
	for (size_t i = 0; i < out->place_count; i++)
		info_place(membership_at(core, c, i), &out->places[i]);
	memcpy(out->channel, out->places[0].channel, sizeof(out->channel));
	out->pointer_seq = out->places[0].pointer_seq;
	out->pointer_at = out->places[0].pointer_at;
}

const struct client_place *client_info_place(const struct client_info *info, const char *channel)
{
	for (size_t i = 0; i < info->place_count; i++)
		if (strcmp(info->places[i].channel, channel) == 0)
			return &info->places[i];
	return NULL;
}

static void info_fill(const struct core *core, struct client *c, struct client_info *out)
{
	const struct client_rare *rare = c->rare;

	// Each by itself: most of the struct is room for texts and channels that few have, and a
	// walk over the fleet would clear all of it for every client.
	out->role = (enum role)c->role;
	out->revoked = c->flags & CLIENT_REVOKED;
	out->state = (enum client_state)c->state;
	out->reach = (enum reach)c->reach;
	out->session_id = c->session_id;
	out->seq = c->seq;
	out->response_id = c->v && !c->last_was_resend ? core_response_id(core, c, c->v) : c->d;
	out->last_kind = (enum response_kind)c->last_kind;
	out->last_reason = (enum reason_code)c->last_reason;
	out->last_heard = client_heard(c);
	out->mismatches = c->mismatches;
	out->free_bytes = free_unpack(c->free);
	out->interval_ms = c->told_interval_ms;
	out->interval_status_ms = c->told_interval_ms;
	out->name[0] = '\0';
	out->interval_set_ms = out->private_elements = 0;
	out->has_operation = false;
	(void)str_copy(out->id, sizeof(out->id), client_id(&core->clients, c));
	info_texts(core, c, out);
	info_places(core, c, out);
	if (!rare)
		return;
	out->interval_set_ms = rare->interval_set_ms;
	if (rare->status_interval_ms)
		out->interval_status_ms = rare->status_interval_ms;
	out->private_elements = rare->private ? rare->private->count : 0;
	out->has_operation = rare->open != NULL;
	if (out->has_operation)
		memset(&out->operation, 0, sizeof(out->operation));
}

bool core_client_screen(struct core *core, const char *id, uint32_t *width_px, uint32_t *height_px)
{
	uint32_t number = client_table_find(&core->clients, id);

	*width_px = *height_px = 0;
	if (number == CLIENT_NONE || client_at(&core->clients, number)->role != ROLE_CLIENT)
		return false;
	showing_screen(intern_get(&core->interned, client_at(&core->clients, number)->showing),
		width_px, height_px);
	return true;
}

size_t core_client_count(const struct core *core)
{
	return core->clients.clients;
}

enum err core_client_find(struct core *core, const char *id, struct client_info *out)
{
	uint32_t number = client_table_find(&core->clients, id);
	struct principal_row row;

	if (number == CLIENT_NONE)
		return err_set(ERR_NOT_FOUND, "no client %s", id);
	mirror_look(core, number);
	struct client *c = client_at(&core->clients, number);
	memset(out, 0, sizeof(*out)); // two of them can be compared
	info_fill(core, c, out);
	if (out->has_operation)
		operation_describe(core, c, c->rare->open, &out->operation);
	TRY(rows_principal_find(core->db, id, &core->arena, &row));
	(void)str_copy(out->name, sizeof(out->name), row.name);
	return ERR_OK;
}

static uint32_t walk_step(struct core *core, size_t *cursor)
{
	enum err e = *cursor == 0 ? loading_finish(core) : ERR_OK;

	if (*cursor == 0 && e == ERR_OK)
		e = mirrors_look_all(core);

	if (e != ERR_OK)
		db_fail(core->db, e);
	return client_table_next(&core->clients, cursor);
}

bool core_client_walk(struct core *core, size_t *cursor, struct client_brief *out)
{
	uint32_t number = walk_step(core, cursor);

	if (number == CLIENT_NONE)
		return false;
	const struct client *c = client_at(&core->clients, number);
	*out = (struct client_brief){
		.place = number,
		.id = client_id(&core->clients, c),
		.role = (enum role)c->role,
		.revoked = c->flags & CLIENT_REVOKED,
		.state = (enum client_state)c->state,
		.reach = (enum reach)c->reach,
		.free_bytes = free_unpack(c->free),
	};
	return true;
}

bool core_client_is_in(struct core *core, size_t place, const char *channel)
{
	struct client *c = client_at(&core->clients, (uint32_t)place);
	size_t count = membership_count(c);

	for (size_t i = 0; i < count; i++)
		if (strcmp(membership_at(core, c, i).channel->queue.name, channel) == 0)
			return true;
	return false;
}

bool core_client_next(struct core *core, size_t *cursor, struct client_info *out)
{
	uint32_t number = walk_step(core, cursor);

	if (number == CLIENT_NONE)
		return false;
	info_fill(core, client_at(&core->clients, number), out);
	return true;
}

size_t core_client_places(const struct core *core)
{
	return core->clients.high;
}

bool core_client_at(struct core *core, size_t place, struct client_info *out)
{
	if (place >= core->clients.high)
		return false;
	struct client *c = client_at(&core->clients, (uint32_t)place);
	if (!(c->flags & CLIENT_USED))
		return false;
	info_fill(core, c, out);
	return true;
}

static struct client *client_find(struct core *core, const char *id)
{
	uint32_t number = client_table_find(&core->clients, id);
	if (number != CLIENT_NONE)
		mirror_look(core, number);
	struct client *c = number == CLIENT_NONE ? NULL : client_at(&core->clients, number);

	return c && c->role == ROLE_CLIENT ? c : NULL;
}

bool core_client_holds(struct core *core, const char *id, const struct digest *package)
{
	const struct client *c = client_find(core, id);

	return c && client_holds(core, c, package);
}

bool core_client_holds_at(struct core *core, size_t place, const struct digest *package)
{
	return client_holds(core, client_at(&core->clients, (uint32_t)place), package);
}

bool core_client_shows(struct core *core, const char *id, const struct digest *package)
{
	const struct client *c = client_find(core, id);
	struct digest showing;
	const char *image;

	if (!c)
		return false;
	showing_split(intern_get(&core->interned, c->showing), &showing, &image);
	return digest_equal(&showing, package);
}

uint64_t core_client_free_bytes(struct core *core, const char *id)
{
	const struct client *c = client_find(core, id);

	return c ? free_unpack(c->free) : 0;
}

static bool set_has(struct bytes set, const struct digest *d)
{
	for (size_t at = 0; at + sizeof(*d) <= set.size; at += sizeof(*d))
		if (memcmp(set.data + at, d->b, sizeof(*d)) == 0)
			return true;
	return false;
}

// Other values of the table are no lists of digests: none of their places holds one.
uint64_t core_holders(struct core *core, const struct digest *package, const struct digest *but)
{
	struct bytes set;
	uint64_t holders = 0;
	uint32_t at = 0, users = 0;

	while (intern_next(&core->interned, &at, &set, &users))
		if (set.size % sizeof(*package) == 0 && set_has(set, package) && !set_has(set, but))
			holders += users;
	return holders;
}

enum err core_client_holdings(
	struct core *core, const char *id, struct arena *a, struct digest **out, size_t *count)
{
	const struct client *c = client_find(core, id);

	*count = 0;
	if (!c)
		return err_set(ERR_NOT_FOUND, "no client %s", id);
	struct bytes set = intern_get(&core->interned, c->holdings);
	*out = arena_array(a, set.size / sizeof(**out) + 1, sizeof(**out));
	if (!*out)
		return err_set(ERR_FULL, "no room for the holdings of %s", id);
	if (set.size)
		memcpy(*out, set.data, set.size);
	*count = set.size / sizeof(**out);
	return ERR_OK;
}

enum err core_client_software(struct core *core, const char *id, struct arena *a,
	struct software_version **out, size_t *count)
{
	const struct client *c = client_find(core, id);
	struct profile profile;

	*count = 0;
	if (!c)
		return err_set(ERR_NOT_FOUND, "no client %s", id);
	profile_split(intern_get(&core->interned, c->profile), &profile);
	return profile_software(profile.software, a, out, count);
}

enum err core_client_updates(struct core *core, const char *id, struct arena *a,
	struct update_status **out, size_t *count)
{
	const struct client *c = client_find(core, id);
	struct profile profile;

	*count = 0;
	if (!c)
		return err_set(ERR_NOT_FOUND, "no client %s", id);
	profile_split(intern_get(&core->interned, c->profile), &profile);
	return told_updates_read(profile.updates, a, out, count);
}

enum err core_client_set_interval(struct core *core, const char *id, uint32_t interval_ms)
{
	struct client *c = client_find(core, id);
	struct client_rare *rare = c ? client_rare_get(c) : NULL;

	if (!c)
		return err_set(ERR_NOT_FOUND, "no client %s", id);
	if (c->elsewhere)
		return letter_to_client(
			core, id, LETTER_INTERVAL, &(struct letter_said){.a = interval_ms});
	if (!rare)
		return err_set(ERR_MEMORY, "no memory for an interval");
	if (interval_ms && interval_ms < core->config.interval_min_ms)
		interval_ms = core->config.interval_min_ms;
	if (interval_ms > core->config.interval_max_ms)
		interval_ms = core->config.interval_max_ms;
	rare->interval_set_ms = interval_ms;
	client_dirty(core, client_table_find(&core->clients, id));
	log_info("INTERVAL-SET", "client=%s interval_ms=%u", id, interval_ms);
	return ERR_OK;
}

enum err core_client_clear_clone(struct core *core, const char *id)
{
	uint32_t number = client_table_find(&core->clients, id);

	if (!client_find(core, id))
		return err_set(ERR_NOT_FOUND, "no client %s", id);
	if (client_at(&core->clients, number)->state != CS_CLONE_SUSPECT)
		return err_set(ERR_NOT_NOW, "%s is not suspected to be a clone", id);
	if (client_at(&core->clients, number)->elsewhere)
		return letter_to_client(core, id, LETTER_CLONE, NULL);
	TRY(operations_abandon(core, number, "an operator cleared the suspicion"));
	client_set_state(core, number, CS_IDLE, "an operator cleared the suspicion");
	return channel_detach(core, number, "an operator cleared the suspicion");
}

enum reach core_client_reach(struct core *core, const char *id)
{
	const struct client *c = client_find(core, id);

	return c ? (enum reach)c->reach : 0;
}

uint32_t core_client_told_interval_ms(struct core *core, const char *id)
{
	const struct client *c = client_find(core, id);

	return c && c->told_interval_ms ? c->told_interval_ms : core->config.interval_ms;
}
