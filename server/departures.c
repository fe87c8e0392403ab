// The end of turns. What a turn said leaves when what it ran is on the disk, never before: a power
// cut must not take back what somebody was told. The loop does not wait for the disk meanwhile:
//
//   turns -> said, in one open transaction
//              |  no flush under way: the group is flushed, its commit follows, views are signed
//              v
//            leaving -- the flush is over --> published; the group of meanwhile is next
//
// One flush at a time, and all turns of meanwhile are one group: the slower the disk, the larger
// the group. What follows a waiting message waits with it, also when it ran nothing: the order of
// the turns is kept. A flush may be over when it began (db.h): then the answers leave at once, each
// behind the view of its state (S000-7), and what nobody waits for, the commit and more views, is
// done when no message waits, or after some groups (core_rest). Where groups come faster than that,
// or thousands are answered in a second, the loop is pressed: views are left to the rest, and are
// fewer. Without a pipelined store a commit is on the disk when it returns, each turn is a group,
// and all leaves at once.
#include "server/core_inside.h"

#define REST_GROUPS 32
#define REST_PRESSED 8 // in the time of one rest: two thousand a second
#define REST_MS 8
#define PACE_MS 100
#define PACE_PRESSED 200 // answers in that time
#define PACE_LASTING_MS 2000

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

static enum err group_close(struct core *core)
{
	if (core->db->failed)
		return db_commit(core->db); // refuses, with the sentence of what failed
	TRY(clients_flush(core));
	if (core->hooks.before_commit)
		TRY(core->hooks.before_commit(core->hooks.ctx, core));
	return channels_tell(core);
}

// A group that took a higher incarnation: nobody hears of it before that is sealed.
static enum err restored_end(struct core *core)
{
	TRY(db_commit_all(core->db));
	TRY(db_settle(core->db));
	TRY(incarnation_seal(core));
	core->restored = false;
	return ERR_OK;
}

static enum err group_store(struct core *core)
{
	TRY(group_close(core));
	if (core->restored)
		return restored_end(core);
	TRY(db_flush_begin(core->db));
	if (db_flush_is_over(core->db))
		return db_flush_end(core->db);
	return db_is_dirty(core->db) ? db_commit(core->db) : ERR_OK; // no pipeline
}

// What nobody waits for.
static void rest_do(struct core *core)
{
	enum err e = db_commit(core->db);

	if (e != ERR_OK) {
		core_fail(core, e, "commit");
		return;
	}
	views_flush(core, core->rest.answers);
	channels_flush_views(core);
	// What the store has no time for now comes with the next.
	core->rest = (struct rest){.groups = db_is_waiting(core->db), .since = core->now.mono};
}

// Who beats and wants nothing: a crowd that has something to do is not counted.
void pace_count_idle(struct core *core)
{
	core->pace.idle++;
}

bool pace_lasts(const struct core *core)
{
	const struct pace *p = &core->pace;
	int64_t ms = mono_since_ms(core->now.mono, p->since);
	double left = ms < PACE_LASTING_MS ? 1 - (double)ms / PACE_LASTING_MS : 0;

	return left * p->idle_per_s * PACE_MS >= PACE_PRESSED * 1000.0;
}

// A view costs more than its answer: signed, and published at QoS 1. While thousands are answered
// in a second they are few, and come when nobody waits.
static bool is_pressed(struct core *core)
{
	struct pace *p = &core->pace;
	int64_t ms = mono_since_ms(core->now.mono, p->since);

	if (ms >= PACE_MS) {
		double part = ms < PACE_LASTING_MS ? (double)ms / PACE_LASTING_MS : 1;
		p->idle_per_s += part * ((double)p->idle * 1000.0 / (double)ms - p->idle_per_s);
		p->pressed = p->answers >= PACE_PRESSED && ms < 2 * PACE_MS;
		p->since = core->now.mono;
		p->answers = p->idle = 0;
	}
	p->answers += core->outbox.count;
	return p->pressed || core->rest.groups >= REST_PRESSED;
}

static void group_end(struct core *core)
{
	enum err e = group_store(core);

	if (e != ERR_OK) {
		core_fail(core, e, "commit");
		return;
	}
	bool pressed = is_pressed(core), answers = core->outbox.count > 0;
	core->rest.groups++;
	if (core->rest.groups == 1)
		core->rest.since = core->now.mono;
	core->rest.answers = core->rest.answers || answers;
	if (!db_is_flushing(core->db)) {
		if (!pressed)
			views_flush(core, answers);
		said_publish(core);
		return;
	}
	rest_do(core); // while the disk is at work
	if (!core->degraded)
		leaving_take(core);
}

// What rooms that did not know wrote since: it is not kept, and nobody waits for its locks.
static void degraded_end(struct core *core)
{
	said_forget(core);
	if (db_is_dirty(core->db))
		db_rollback(core->db);
}

// Neither those that leave, whose flush failed, nor those behind them.
static void flush_failed(struct core *core, enum err e, const char *what)
{
	leaving_forget(core);
	core_fail(core, e, what);
}

void core_turn_tell(struct core *core, struct now now)
{
	core->now = now;
	if (core->degraded)
		degraded_end(core);
	else if (!db_is_flushing(core->db))
		group_end(core);
	arena_reset(&core->arena);
}

bool core_rest_waits(const struct core *core)
{
	return core->rest.groups > 0;
}

bool core_rest_is_urgent(const struct core *core, struct now now)
{
	return core->rest.groups >= REST_GROUPS ||
	       mono_since_ms(now.mono, core->rest.since) >= REST_MS;
}

// A group that waits for a flush under way rests when that is over.
void core_rest(struct core *core, struct now now)
{
	core->now = now;
	if (core->degraded || !core_rest_waits(core) || db_is_flushing(core->db))
		return;
	rest_do(core);
	if (!core->degraded)
		said_publish(core);
}

void core_turn_end(struct core *core, struct now now)
{
	core_turn_tell(core, now);
	core_rest(core, now);
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
	if (e == ERR_OK)
		core_rest(core, now);
	if (e == ERR_OK && !core->degraded)
		e = db_commit_all(core->db);
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
