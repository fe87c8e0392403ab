// The end of turns. What a turn said leaves when its commit is on the disk, never before: a power
// cut must not take back what somebody was told. The loop does not wait for the disk meanwhile:
//
//   turns -> said, in one open transaction
//              |  no flush under way: commit (written), a flush begins, views are signed meanwhile
//              v
//            leaving -- the flush is over --> published; the group of meanwhile is next
//
// One flush at a time, and all turns of meanwhile are one commit: the slower the disk, the larger
// the group and the fewer pages are written. What follows a waiting message waits with it, also
// when it needs no commit: the order of the turns is kept. Without a pipelined store (db.h) a
// commit is on the disk when it returns, each turn is a group, and all leaves at once.
#include "server/core_inside.h"

static void outbox_publish(struct core *core, struct outbox *o)
{
	for (size_t i = 0; i < o->count; i++) {
		struct outbox_message m = outbox_get(o, i);
		core->ports.publish(
			core->ports.ctx, m.broker, m.topic, m.payload, m.qos, m.retained);
	}
	outbox_clear(o);
}

void said_forget(struct core *core)
{
	outbox_clear(&core->outbox);
	outbox_clear(&core->views);
}

static void said_publish(struct core *core)
{
	outbox_publish(core, &core->views);
	outbox_publish(core, &core->outbox);
}

static void leaving_publish(struct core *core)
{
	outbox_publish(core, &core->views_leaving);
	outbox_publish(core, &core->outbox_leaving);
}

static void leaving_forget(struct core *core)
{
	outbox_clear(&core->outbox_leaving);
	outbox_clear(&core->views_leaving);
}

// Nothing is leaving before.
static void leaving_take(struct core *core)
{
	outbox_swap(&core->views, &core->views_leaving);
	outbox_swap(&core->outbox, &core->outbox_leaving);
}

static enum err leaving_wait(struct core *core)
{
	if (!db_is_flushing(core->db))
		return ERR_OK;
	TRY(db_flush_end(core->db));
	leaving_publish(core);
	return ERR_OK;
}

static enum err group_commit(struct core *core)
{
	if (core->db->failed)
		return db_commit(core->db); // refuses, with the sentence of what failed
	TRY(clients_flush(core));
	if (core->hooks.before_commit)
		TRY(core->hooks.before_commit(core->hooks.ctx, core));
	TRY(channels_tell(core));
	TRY(db_commit(core->db));
	if (!core->restored)
		return ERR_OK;
	TRY(db_settle(core->db)); // this group took a higher incarnation
	return incarnation_seal(core);
}

static void group_end(struct core *core)
{
	enum err e = group_commit(core);

	if (e != ERR_OK) {
		core_fail(core, e, "commit");
		return;
	}
	core->restored = false;
	bool waits = db_is_pending(core->db);
	if (waits)
		db_flush_begin(core->db);
	views_flush(core);
	channels_flush_views(core);
	if (waits)
		leaving_take(core);
	else
		said_publish(core);
}

// Neither those that leave, whose flush failed, nor those behind them.
static void flush_failed(struct core *core, enum err e, const char *what)
{
	leaving_forget(core);
	core_fail(core, e, what);
}

void core_turn_end(struct core *core, struct now now)
{
	core->now = now;
	if (core->degraded)
		said_forget(core);
	else if (!db_is_flushing(core->db))
		group_end(core);
	arena_reset(&core->arena);
}

void core_stored(struct core *core, struct now now)
{
	core->now = now;
	if (!db_flush_is_over(core->db))
		return;
	enum err e = leaving_wait(core);
	if (e != ERR_OK)
		flush_failed(core, e, "flush");
	else if (!core->degraded)
		group_end(core);
}

void core_settle(struct core *core, struct now now)
{
	core->now = now;
	enum err e = leaving_wait(core);
	if (e == ERR_OK && !core->degraded) {
		group_end(core);
		e = leaving_wait(core);
	}
	if (e != ERR_OK)
		flush_failed(core, e, "settle");
}

enum err departures_settle(struct core *core)
{
	enum err e = leaving_wait(core);

	if (e != ERR_OK)
		leaving_forget(core);
	return e == ERR_OK ? db_settle(core->db) : e;
}
