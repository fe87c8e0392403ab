// Letters between servers (share.h): how the core writes them, and what each makes the core do. A
// letter goes with the commit of what it did. One that cannot be obeyed (the client is gone, the
// operation is over) is told in the log and taken all the same; a failed store keeps it.
#include "server/away.h"
#include "server/core_inside.h"
#include "server/db/rows_letter.h"
#include <string.h>

#define LETTERS_AT_ONCE 256u
#define LETTERS_BYTES (512u * 1024) // of them: they are decoded in the same arena
#define LETTERS_IN_A_ROW 8u         // such batches, until heartbeats are looked at again
#define LETTER_CHANNELS_MAX LIMIT_CLIENT_CHANNELS

// ---- writing

static enum err letter_post(struct core *core, unsigned place, const struct letter_said *l)
{
	return rows_letter_put(core->db,
		&(struct letter_row){.place = place,
			.kind = l->kind,
			.client = l->client,
			.text = l->text,
			.a = l->a,
			.b = l->b,
			.body = l->body},
		core->now.wall.ms);
}

enum err core_letter_to_lead(struct core *core, const struct letter_said *l)
{
	return letter_post(core, SHARD_LEAD, l);
}

enum err letter_to_client(
	struct core *core, const char *client, enum letter kind, const struct letter_said *l)
{
	struct letter_said said = l ? *l : (struct letter_said){0};

	said.kind = kind;
	said.client = client;
	return letter_post(core, shard_byte(client), &said);
}

enum err core_letter_to_owner(struct core *core, const struct letter_said *l)
{
	return letter_post(core, shard_byte(l->client), l);
}

enum err letter_to_all(struct core *core, const struct letter_said *l)
{
	return letter_post(core, LETTER_TO_ALL, l);
}

enum err channels_tell(struct core *core)
{
	for (uint32_t i = 0; i < core->channel_count && core->channels_told; i++) {
		struct channel *ch = core->channels[i];
		if (!ch->told)
			continue;
		ch->told = false;
		core->channels_told--;
		TRY(letter_to_all(core,
			&(struct letter_said){.kind = LETTER_CHANNEL, .text = ch->queue.name}));
	}
	return ERR_OK;
}

// ---- obeying: the owner of a client

static enum err grant_pass(struct core *core, const struct letter_said *l)
{
	struct grant m;

	TRY(grant_decode(&core->arena, l->body, &m));
	TRY(core_send_grant(core, l->client, &m));
	if (core->hooks.granted)
		core->hooks.granted(core->hooks.ctx, core, l->client, &m);
	return ERR_OK;
}

// The elements behind those that are known here.
static enum err queue_read(struct core *core, const struct letter_said *l)
{
	char name[LIMIT_ID + 2] = "@";
	uint32_t number = client_table_find(&core->clients, l->client);

	if (number == CLIENT_NONE)
		return err_set(ERR_NOT_FOUND, "no client %s", l->client);
	const struct client_rare *rare = client_at(&core->clients, number)->rare;
	(void)str_copy(name + 1, sizeof(name) - 1, l->client);
	return rows_event_of(core->db, name, rare && rare->private ? rare->private->tail_seq : 0,
		private_event_load, core);
}

static enum err channels_set(struct core *core, const struct letter_said *l)
{
	const char *names[LETTER_CHANNELS_MAX];
	size_t count = 0;

	for (char *at = arena_strdup(&core->arena, l->text), *next; at && *at; at = next) {
		next = strchr(at, '\t');
		if (!next || count == LETTER_CHANNELS_MAX)
			return err_set(ERR_FORMAT, "the letter names no channels");
		*next++ = '\0';
		if (!channel_find(core, at))
			TRY(channel_follow(core, at));
		names[count++] = at;
	}
	return core_client_set_channels(core, l->client, names, count);
}

static enum err client_enrolled(struct core *core, const struct letter_said *l)
{
	if (client_table_holds(&core->clients, l->client))
		return ERR_OK;
	return rows_client_of(core->db, l->client, principal_load, core);
}

static enum err client_revoked(struct core *core, const struct letter_said *l)
{
	uint32_t number = client_table_find(&core->clients, l->client);

	if (number != CLIENT_NONE)
		principal_revoked(core, number);
	return rows_session_delete(core->db, l->client);
}

static enum err client_removed(struct core *core, const struct letter_said *l)
{
	uint32_t number = client_table_find(&core->clients, l->client);

	if (number != CLIENT_NONE && !core->leads)
		principal_removed(core, number);
	view_remove(core, l->client);
	return core_letter_to_lead(
		core, &(struct letter_said){.kind = LETTER_LEFT, .client = l->client});
}

static enum err private_go_on(struct core *core, const struct letter_said *l)
{
	char name[LIMIT_ID + 2] = "@";

	(void)str_copy(name + 1, sizeof(name) - 1, l->client);
	return core_channel_control(core, name, CONTROL_RESUME, 0, l->text, NULL);
}

// ---- obeying: the leader

// What was written of it since goes too. Nobody enrolled it again before.
static enum err removed_rows_go(struct core *core, const char *client)
{
	if (client_table_find(&core->clients, client) != CLIENT_NONE)
		return err_set(ERR_EXISTS, "%s is enrolled", client);
	log_debug("REMOVED-ROWS", "client=%s", client);
	return rows_principal_delete(core->db, client);
}

static enum err changes_append(struct core *core, const struct letter_said *l)
{
	struct response_body body;
	const struct event e = {.type = ELEMENT_DISPLAY, .author = l->client};
	const struct channel *ch = channel_find(core, l->text);

	if (!ch || ch->queue.closed)
		return err_set(ERR_NOT_NOW, "channel %s is closed", l->text);
	TRY(response_body_decode(&core->arena, l->body, &body));
	return channel_append(core, l->text, &e, &body, NULL, NULL);
}

static enum err store_is_older(struct core *core, const struct letter_said *l)
{
	if (!incarnation_raise(core, (uint32_t)l->a))
		return ERR_OK;
	return channels_new_epoch(core, "a client remembers a later start of the server");
}

static enum err room_hears(struct core *core, const struct letter_said *l)
{
	uint32_t number = client_table_find(&core->clients, l->client);

	if (number != CLIENT_NONE && (l->kind == LETTER_HELD || l->kind == LETTER_SCREEN))
		mirror_look_anew(core, number);
	else if (number != CLIENT_NONE)
		mirror_look(core, number);
	return core->hooks.letter ? core->hooks.letter(core->hooks.ctx, core, l) : ERR_OK;
}

// ---- obeying: everybody

static enum err command_withdrawn(struct core *core, const struct letter_said *l)
{
	struct command_ref ref = {.publisher = l->text};
	size_t cancelled = 0;

	if (l->body.size != sizeof(ref.sha256.b))
		return err_set(ERR_FORMAT, "the letter names no command");
	memcpy(ref.sha256.b, l->body.data, sizeof(ref.sha256.b));
	return operations_withdraw(core, &ref, l->client, &cancelled);
}

static enum err letter_obey(struct core *core, const struct letter_said *l)
{
	switch (l->kind) {
	case LETTER_WANT:
	case LETTER_RENEW:
	case LETTER_ENDED:
	case LETTER_HELD:
	case LETTER_SCREEN:
	case LETTER_RATE:
		return room_hears(core, l);
	case LETTER_CHANGES:
		return changes_append(core, l);
	case LETTER_OLDER:
		return store_is_older(core, l);
	case LETTER_GRANT:
		return grant_pass(core, l);
	case LETTER_QUEUE:
		return queue_read(core, l);
	case LETTER_CHANNELS:
		return channels_set(core, l);
	case LETTER_INTERVAL:
		return core_client_set_interval(core, l->client, (uint32_t)l->a);
	case LETTER_CLONE:
		return core_client_clear_clone(core, l->client);
	case LETTER_CANCEL:
		return operation_cancel_as(core, l->client, l->a, l->text, l->b);
	case LETTER_MEDIUM:
		return core_client_to_medium(core, l->client, l->text);
	case LETTER_RESUME:
		return private_go_on(core, l);
	case LETTER_ENROLLED:
		return client_enrolled(core, l);
	case LETTER_REVOKED:
		return client_revoked(core, l);
	case LETTER_REMOVED:
		return client_removed(core, l);
	case LETTER_LEFT:
		return removed_rows_go(core, l->client);
	case LETTER_CHANNEL:
		return channel_follow(core, l->text);
	case LETTER_WITHDRAWN:
		return command_withdrawn(core, l);
	case LETTER_KINDS:
		break;
	}
	return err_set(ERR_VERSION, "a letter of kind %d", (int)l->kind);
}

// ---- reading

struct letters {
	struct core *core;
	struct letter_row *rows;
	size_t count, bytes;
	bool more; // they did not all fit
};

static enum err letter_note(void *ctx, const struct letter_row *row)
{
	struct letters *all = ctx;
	struct arena *a = &all->core->arena;
	struct letter_row *kept = &all->rows[all->count];

	all->bytes += row->body.size;
	if (all->more || (all->count > 0 && all->bytes > LETTERS_BYTES)) {
		all->more = true;
		return ERR_OK;
	}
	*kept = *row;
	kept->client = arena_strdup(a, row->client);
	kept->text = arena_strdup(a, row->text);
	kept->body = arena_copy(a, row->body);
	if (!kept->client || !kept->text || (!kept->body.data && row->body.size))
		return err_set(ERR_FULL, "no room for letters");
	all->count++;
	return ERR_OK;
}

// Whose letters are ours: a shard's, the lead's, and those to all, which the leader wrote.
static void places_fill(const struct core *core, char places[LETTER_PLACES + 1])
{
	for (unsigned p = 0; p < SHARD_PLACES; p++)
		places[p] = core->ours[p] ? '1' : '0';
	places[LETTER_TO_ALL] = core->leads ? '0' : '1';
	places[LETTER_PLACES] = '\0';
}

// As long as the letter lies there its client is not enrolled: who waits for that is told after it.
static void left_tell(struct core *core, const struct letter_said *l)
{
	if (l->kind != LETTER_LEFT || core->db->failed || !core->enrolment_waits)
		return;
	core->enrolment_waits = false;
	if (core->hooks.letter)
		share_fail(core, core->hooks.letter(core->hooks.ctx, core, l));
}

static void letter_take(struct core *core, const struct letter_row *row)
{
	const struct letter_said l = {.kind = (enum letter)row->kind,
		.client = row->client,
		.text = row->text,
		.a = row->a,
		.b = row->b,
		.body = row->body};
	enum err e = letter_obey(core, &l);

	if (e != ERR_OK && !core->db->failed)
		log_warn("LETTER-REFUSED", "kind=%u client=%s why=%s", row->kind,
			log_quote(row->client), log_quote(err_text()));
	if (core->db->failed)
		return;
	if (row->place == LETTER_TO_ALL)
		core->letters_seen = row->number;
	else
		share_fail(core, rows_letter_take(core->db, row->number));
	left_tell(core, &l);
}

// False: none waits for us any more.
static bool letters_take_some(struct core *core, const char *places)
{
	struct letters all = {.core = core};

	arena_reset(&core->arena);
	all.rows = arena_array(&core->arena, LETTERS_AT_ONCE, sizeof(*all.rows));
	if (!all.rows)
		return false;
	share_fail(core, rows_letter_each(core->db, places, core->letters_seen, LETTERS_AT_ONCE,
				 letter_note, &all));
	for (size_t i = 0; i < all.count && !core->db->failed; i++)
		letter_take(core, &all.rows[i]);
	return !core->db->failed && (all.more || all.count == LETTERS_AT_ONCE);
}

void letters_take(struct core *core)
{
	char places[LETTER_PLACES + 1];

	places_fill(core, places);
	for (unsigned i = 0; i < LETTERS_IN_A_ROW && letters_take_some(core, places); i++)
		continue;
}
