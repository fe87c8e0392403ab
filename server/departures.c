// What turns said leaves when their commits are on the disk, never before: a power cut must not
// take back what somebody was told. The loop does not wait for the disk meanwhile:
//
//   turn -> commit (written) -> said ---swap, flush begins---> leaving --flush ended--> published
//                                 ^ the turns of meanwhile gather here
//
// One flush at a time, and it takes all that gathered: the slower the disk, the larger the group.
// Without a pipelined store (db.h) a commit is on the disk when it returns, and all leaves at once.
// What follows a waiting message waits with it, also when it needs no commit: the order of the
// turns is kept.
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

static void said_note(struct core *core)
{
	core->outbox_said = outbox_mark(&core->outbox);
	core->views_said = outbox_mark(&core->views);
}

static void said_publish(struct core *core)
{
	outbox_publish(core, &core->views);
	outbox_publish(core, &core->outbox);
	said_note(core);
}

static void leaving_begin(struct core *core)
{
	outbox_swap(&core->views, &core->views_leaving);
	outbox_swap(&core->outbox, &core->outbox_leaving);
	said_note(core);
	db_flush_begin(core->db);
}

static void leaving_publish(struct core *core)
{
	outbox_publish(core, &core->views_leaving);
	outbox_publish(core, &core->outbox_leaving);
}

void turn_leave(struct core *core)
{
	if (!db_is_pending(core->db))
		said_publish(core);
	else if (!db_is_flushing(core->db))
		leaving_begin(core);
	else
		said_note(core);
}

void turn_forget(struct core *core)
{
	outbox_cut(&core->outbox, core->outbox_said);
	outbox_cut(&core->views, core->views_said);
}

void departures_forget(struct core *core)
{
	outbox_clear(&core->outbox);
	outbox_clear(&core->views);
	outbox_clear(&core->outbox_leaving);
	outbox_clear(&core->views_leaving);
	said_note(core);
}

size_t turn_answers(const struct core *core)
{
	return core->outbox.count - core->outbox_said.count;
}

void core_stored(struct core *core, struct now now)
{
	core->now = now;
	if (!db_flush_is_over(core->db))
		return;
	enum err e = db_flush_end(core->db);
	if (e != ERR_OK) {
		departures_forget(core);
		core_fail(core, e, "flush");
		return;
	}
	leaving_publish(core);
	if (db_is_pending(core->db))
		leaving_begin(core);
	else
		said_publish(core);
}

void core_settle(struct core *core, struct now now)
{
	core->now = now;
	enum err e = db_settle(core->db);
	if (e != ERR_OK) {
		departures_forget(core);
		core_fail(core, e, "settle");
		return;
	}
	leaving_publish(core);
	said_publish(core);
}
