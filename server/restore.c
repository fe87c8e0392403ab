// Start, and start again after the store failed: everything in memory comes from the rows. A plain
// restart changes nothing for the fleet but the boot and the incarnation; a store that turns out to
// be older than what we or a client remember opens a new epoch.
//
// The incarnation has a second copy in a file outside the backups: "intent N M" before the commit
// of M, "sealed M" after it. A store that holds neither what was sealed nor what was intended was
// restored; so was one that says of itself that it is a backup, of this incarnation even.
#include "proto/base/file.h"
#include "server/core_inside.h"
#include "server/db/rows_letter.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t core_response_id(const struct core *core, const struct client *c, uint32_t v)
{
	return (uint64_t)core->incarnations[c->shard] << 32 | v;
}

// ---- incarnation

struct incarnation_copy {
	bool known, sealed;
	uint32_t before, now;
};

static enum err copy_read(const struct core *core, struct incarnation_copy *out)
{
	SCOPED_BUF struct buf b;
	char text[64];

	*out = (struct incarnation_copy){0};
	buf_init(&b, sizeof(text) - 1);
	if (!core->incarnation_file)
		return ERR_OK;
	enum err e = file_read(core->incarnation_file, &b);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	TRY(e);
	memcpy(text, b.data, b.size);
	text[b.size] = '\0';
	out->known = true;
	if (sscanf(text, "sealed %" SCNu32, &out->now) == 1)
		out->sealed = true;
	else if (sscanf(text, "intent %" SCNu32 " %" SCNu32, &out->before, &out->now) != 2)
		return err_set(
			ERR_CORRUPT, "%s does not hold an incarnation", core->incarnation_file);
	return ERR_OK;
}

static enum err copy_write(const struct core *core, const char *text)
{
	if (!core->incarnation_file)
		return ERR_OK;
	return file_write_atomic(core->incarnation_file, text, strlen(text), 0600);
}

static bool store_is_older(
	const struct core *core, const struct incarnation_copy *copy, uint32_t stored)
{
	if (!core->incarnation_file)
		return false;
	if (core->config.store_is_shared)
		return copy->known && stored < (copy->sealed ? copy->now : copy->before);
	if (!copy->known)
		return stored != 0;
	return copy->sealed ? stored != copy->now : stored != copy->now && stored != copy->before;
}

// Nobody else takes the same one, also where several start at once.
static enum err incarnation_draw(struct core *core, uint32_t least)
{
	int64_t drawn = 0;

	TRY(rows_meta_draw(core->db, "incarnation", least, &drawn));
	core->incarnation = (uint32_t)drawn;
	return ERR_OK;
}

static enum err incarnation_take(struct core *core, uint32_t stored, uint32_t floor)
{
	char text[64];
	uint32_t clock = core->now.wall.ms > 0 ? (uint32_t)(core->now.wall.ms / 1000) : 0;
	uint32_t highest = stored > floor ? stored : floor;

	TRY(incarnation_draw(core, highest + 1 > clock ? highest + 1 : clock));
	for (size_t i = 0; i < SHARDS; i++)
		core->incarnations[i] = core->incarnation;
	(void)snprintf(
		text, sizeof(text), "intent %" PRIu32 " %" PRIu32 "\n", stored, core->incarnation);
	return copy_write(core, text);
}

enum err incarnation_gain(struct core *core, const bool *gained)
{
	TRY(incarnation_draw(core, 1));
	for (size_t i = 0; i < SHARDS; i++)
		if (gained[i])
			core->incarnations[i] = core->incarnation;
	return ERR_OK;
}

enum err incarnation_open(struct core *core)
{
	struct incarnation_copy copy;
	int64_t stored = 0, is_backup = 0;

	TRY(copy_read(core, &copy));
	TRY(rows_meta_number(core->db, "incarnation", &stored));
	TRY(rows_meta_number(core->db, "is-backup", &is_backup));
	core->restored =
		core->leads && (is_backup != 0 || store_is_older(core, &copy, (uint32_t)stored));
	if (is_backup)
		TRY(rows_meta_put_number(core->db, "is-backup", 0));
	return incarnation_take(
		core, (uint32_t)stored, copy.now > copy.before ? copy.now : copy.before);
}

enum err incarnation_seal(struct core *core)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "sealed %" PRIu32 "\n", core->incarnation);
	return copy_write(core, text);
}

bool incarnation_raise(struct core *core, uint32_t shown)
{
	uint64_t clock = core->now.wall.ms > 0 ? (uint64_t)core->now.wall.ms / 1000 : 0;
	uint32_t before = core->incarnation;
	size_t cursor = 0;

	if (shown > clock + DAY_S ||
		!ratelimit_take(&core->raises_allowed, RAISE_COST, core->now.mono))
		return false;
	enum err e = incarnation_take(core, before, shown);
	if (e != ERR_OK) {
		db_fail(core->db, e);
		return false;
	}
	for (uint32_t n = 0; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;)
		client_at(&core->clients, n)->v = 0;
	core->restored = true;
	core->restored_count++;
	log_error("STORE-OLDER",
		"incarnation=%u shown=%u why=\"a client remembers a later start of the server\"",
		before, shown);
	return true;
}

// ---- rows into memory

enum err principal_load(void *ctx, const struct client_row *row)
{
	struct core *core = ctx;
	uint32_t number = CLIENT_NONE;
	struct channel *ch = channel_find(core, row->channel);

	if (!share_loads(core, row))
		return ERR_OK;
	if (!ch)
		ch = channel_find(core, "default");
	if (!ch)
		return err_set(ERR_CORRUPT, "%s stands in channel %s, which does not exist",
			row->id, row->channel);
	TRY(client_table_add(&core->clients, row->id, row->role, &number));
	struct client *c = client_at(&core->clients, number);
	c->channel = ch->number;
	c->elsewhere = row->role == ROLE_CLIENT && !core->ours[c->shard];
	TRY(client_fill(core, number, row));
	if (row->role != ROLE_CLIENT || row->state == 0)
		return ERR_OK;
	c->pointer = pointer_of_row(ch, row->epoch, row->pointer);
	ch->clients++;
	queue_stand(&ch->queue, c->pointer);
	if (!c->elsewhere)
		client_begin(core, number);
	return ERR_OK;
}

void client_begin(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);

	client_count(core, c, 1);
	c->heard_tick = attended_tick(core) - reach_silent_ticks(core, c);
	reach_watch(core, number);
}

enum err client_fill(struct core *core, uint32_t number, const struct client_row *row)
{
	struct client *c = client_at(&core->clients, number);

	c->mac_up = row->mac_up;
	c->session_id = (uint32_t)row->session_id;
	c->session_expires_s = (uint32_t)(row->session_expires_ms / 1000);
	c->flags |= CLIENT_FRESH | (row->revoked ? CLIENT_REVOKED : 0);
	c->told_interval_ms =
		row->told_interval_ms ? row->told_interval_ms : core->config.interval_ms;
	if (row->role != ROLE_CLIENT || row->state == 0)
		return ERR_OK;
	c->flags |= row->holdings_known ? CLIENT_HOLDINGS_KNOWN : 0;
	c->state = (uint8_t)row->state;
	c->reach = (uint8_t)row->reach;
	c->d = row->d;
	c->mismatches = (uint16_t)row->mismatches;
	c->last_kind = (uint8_t)row->last_kind;
	(void)client_set_ip(c, &core->interned, row->ip);
	(void)intern_set(&core->interned, &c->profile, row->profile);
	(void)intern_set(&core->interned, &c->showing, row->showing);
	(void)intern_set(&core->interned, &c->holdings, row->holdings);
	client_set_heard(c, (struct wall){row->last_heard_ms});
	if (!row->interval_set_ms && !row->change_id && !row->report_id && !c->rare)
		return ERR_OK;
	struct client_rare *rare = client_rare_get(c);
	if (!rare)
		return err_set(ERR_MEMORY, "no memory for clients");
	rare->interval_set_ms = row->interval_set_ms;
	rare->change_id = row->change_id;
	rare->report_id = row->report_id;
	return ERR_OK;
}

static enum err queue_load_row(void *ctx, const struct queue_row *row)
{
	return row->name[0] == '@' ? ERR_OK : channel_load(ctx, row);
}

// A private queue that has a row is held: commands of a restored store wait for an operator.
static enum err queue_hold_row(void *ctx, const struct queue_row *row)
{
	struct core *core = ctx;
	uint32_t number =
		row->name[0] == '@' ? share_client(core, row->name + 1, false) : CLIENT_NONE;
	struct event_queue *q = NULL;

	if (number == CLIENT_NONE || !client_at(&core->clients, number)->rare)
		return ERR_OK;
	q = client_at(&core->clients, number)->rare->private;
	if (q)
		q->paused = row->paused;
	return ERR_OK;
}

struct element_data element_data_of(const struct event_row *row)
{
	return (struct element_data){
		.type = row->type,
		.body = row->body,
		.text = row->text,
		.author = row->author,
		.flow_id = row->flow_id,
		.at = {row->at_ms},
	};
}

void channel_epoch_note(struct core *core, struct channel *ch, const struct element *e)
{
	if (e->type == ELEMENT_CONTROL && element_is_epoch(core, e))
		ch->epoch_seq = e->seq;
}

static enum err channel_event_load(void *ctx, const struct event_row *row)
{
	struct channel *ch = channel_find(ctx, row->queue);
	struct element_data data = element_data_of(row);

	if (row->queue[0] == '@')
		return ERR_OK;
	if (!ch)
		return err_set(
			ERR_CORRUPT, "event %u of %s, which does not exist", row->seq, row->queue);
	TRY(queue_load(&ch->queue, row->first_seq, row->seq, &data));
	channel_epoch_note(ctx, ch, ch->queue.last);
	return ERR_OK;
}

enum err private_event_load(void *ctx, const struct event_row *row)
{
	struct core *core = ctx;
	uint32_t number =
		row->queue[0] == '@' ? share_client(core, row->queue + 1, false) : CLIENT_NONE;
	struct element_data data = element_data_of(row);

	if (number == CLIENT_NONE)
		return ERR_OK;
	struct client_rare *rare = client_rare_get(client_at(&core->clients, number));
	if (!rare)
		return err_set(ERR_MEMORY, "no memory for private queues");
	if (!rare->private) {
		rare->private = malloc(sizeof(*rare->private));
		if (!rare->private)
			return err_set(ERR_MEMORY, "no memory for private queues");
		queue_init(rare->private, row->queue, core->incarnation, row->first_seq);
	} else {
		queue_leave(rare->private, rare->private_pointer);
	}
	TRY(queue_load(rare->private, row->first_seq, row->seq, &data));
	rare->private_pointer = rare->private->floor_seq;
	queue_stand(rare->private, rare->private_pointer);
	return ERR_OK;
}

static enum err operation_load(void *ctx, const struct operation_row *row)
{
	struct core *core = ctx;
	uint32_t number = share_client(core, row->client, false);
	struct client_rare *rare =
		number == CLIENT_NONE ? NULL : client_rare_get(client_at(&core->clients, number));
	struct open_operation *op = rare ? operation_from_row(row) : NULL;

	if (number == CLIENT_NONE)
		return ERR_OK;
	if (!op)
		return err_set(ERR_MEMORY, "no memory for operations");
	op->deadline_tick = operation_deadline(core, op);
	if (row->place == PLACE_RETRY) {
		free(rare->retry);
		rare->retry = op;
		return ERR_OK;
	}
	// Rows come by rising id: the passed operation first, then the cancel that holds it.
	op->passed = rare->open;
	op->resync =
		row->place == PLACE_OPEN && client_at(&core->clients, number)->state == CS_RESYNC;
	rare->open = op;
	return ERR_OK;
}

// ---- a restored store

static enum err commands_hold(struct core *core, uint32_t number)
{
	struct client *c = client_at(&core->clients, number);
	struct event_queue *q = c->rare ? c->rare->private : NULL;
	bool command = false;

	for (const struct element *e = q ? q->head : NULL; e; e = e->after)
		command = command || e->type == ELEMENT_COMMAND;
	if (command) {
		q->paused = true;
		log_warn("COMMANDS-HELD",
			"client=%s why=\"the store was restored: an operator confirms\"",
			client_id(&core->clients, c));
		TRY(rows_queue_put(core->db, &(struct queue_row){.name = q->name,
						     .epoch = q->epoch,
						     .tail_seq = q->tail_seq,
						     .paused = true}));
	}
	return operations_abandon(core, number, "the store was restored");
}

static enum err restored_settle(struct core *core)
{
	size_t cursor = 0;

	core->restored_count++;
	TRY(loading_finish(core));
	log_error("STORE-RESTORED",
		"incarnation=%u why=\"the store is older than its copy outside the backups\"",
		core->incarnation);
	for (uint32_t n = 0; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;) {
		if (client_at(&core->clients, n)->role != ROLE_CLIENT)
			continue;
		TRY(commands_hold(core, n));
		client_at(&core->clients, n)->flags &= (uint8_t)~CLIENT_HOLDINGS_KNOWN;
	}
	return channels_new_epoch(core, "the store was restored from a backup");
}

static enum err secret_load(struct core *core)
{
	bool found = false;

	TRY(rows_meta_secret(core->db, "lineage-key", &core->lineage_key, &found));
	if (found)
		return ERR_OK;
	core_random(core, core->lineage_key.b, sizeof(core->lineage_key.b));
	return rows_meta_put_secret(core->db, "lineage-key", &core->lineage_key);
}

static enum err rows_load(struct core *core)
{
	struct channel *first = NULL;

	TRY(rows_queue_each(core->db, queue_load_row, core));
	TRY(rows_event_each_live(core->db, channel_event_load, core));
	if (core->leads)
		TRY(channel_make(core, "default", &first));
	else if (!channel_find(core, "default"))
		return err_set(ERR_NOT_NOW, "no server has led this store yet");
	TRY(reach_load(core));
	TRY(loading_begin(core));
	return client_rows_load(core);
}

enum err client_rows_load(struct core *core)
{
	TRY(rows_membership_each(core->db, membership_load, core));
	TRY(rows_event_each_live(core->db, private_event_load, core));
	TRY(rows_queue_each(core->db, queue_hold_row, core));
	TRY(rows_report_parts_each_open(core->db, core, report_parts_load));
	return rows_operation_each_open(core->db, operation_load, core);
}

// The first commit of this start; nobody is answered before it.
enum err core_load(struct core *core)
{
	core_random(core, core->boot.b, sizeof(core->boot.b));
	core_random(core, core->hash_key.b, sizeof(core->hash_key.b));
	client_table_init(&core->clients, &core->hash_key);
	intern_init(&core->interned, &core->hash_key);
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		core->wheel[i] = CLIENT_NONE;
	core->wheel_tick = attended_tick(core) / WHEEL_SLOT_TICKS * WHEEL_SLOT_TICKS;
	core->flow_count = 0;
	memset(core->gains, 0, sizeof(core->gains));
	share_read(core);
	core->enrolment_waits = core->shared; // who did, in a turn that failed, is not known
	TRY(rows_letter_last(core->db, &core->letters_seen));
	TRY(mirrors_begin(core));
	TRY(why_init(&core->why, core->config.why_entries));
	TRY(secret_load(core));
	TRY(incarnation_open(core));
	TRY(session_ids_load(core));
	core->host_counter = (uint64_t)core->incarnation << 20; // rises over restarts too
	TRY(rows_load(core));
	if (core->restored)
		TRY(restored_settle(core));
	TRY(clients_flush(core));
	TRY(channels_tell(core));
	TRY(db_commit_all(core->db));
	TRY(db_settle(core->db));
	TRY(incarnation_seal(core));
	log_info("STARTED",
		"incarnation=%u principals=%u clients=%u more=%d channels=%u restored=%d",
		core->incarnation, core->clients.count, core->clients.clients, core->loading,
		core->channel_count, core->restored);
	return ERR_OK;
}

void core_unload(struct core *core)
{
	offers_fini(core);
	loading_forget(core);
	client_table_fini(&core->clients, rare_free);
	intern_fini(&core->interned);
	channels_fini(core);
	why_fini(&core->why);
	core->channels_told = 0;
	core->dirty.count = core->view_due.count = core->view_due.first = core->view_old.count = 0;
	core->views_beyond = core->views_again = false;
	core->views_cursor = 0;
	reach_fini(core);
}
