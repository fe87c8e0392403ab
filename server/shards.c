// See shards.h.
#include "server/shards.h"
#include "proto/base/log.h"
#include "server/shard_plan.h"
#include <string.h>

static enum err guard(void *ctx, struct db *db)
{
	const struct shards *s = ctx;

	return rows_server_guard(db, s->holder, s->fencing);
}

static void term_held(struct shards *s, struct mono asked)
{
	s->good_until = mono_add_ms(asked, s->lease_ms - s->lease_ms / SHARDS_MARGIN);
	s->renew_at = mono_add_ms(asked, s->lease_ms / SHARDS_RENEW);
}

enum err shards_begin(struct shards *s, struct db *db, const char *holder, uint32_t lease_ms,
	bool all, struct now now)
{
	*s = (struct shards){.db = db, .lease_ms = lease_ms, .all = all};
	if (!str_copy(s->holder, sizeof(s->holder), holder))
		return err_set(ERR_RANGE, "the id of the server is too long");
	db_guard(db, NULL, NULL);
	enum err e = rows_server_term(db, s->holder, lease_ms, &s->fencing);
	if (e != ERR_OK) {
		db_rollback(db);
		return e;
	}
	TRY(db_commit(db));
	term_held(s, now.mono);
	db_guard(db, guard, s);
	log_info("SHARD-TERM", "holder=%s fencing=%llu", s->holder, (unsigned long long)s->fencing);
	return ERR_OK;
}

static enum err moves_make(struct shards *s, struct shard_moves *moves)
{
	size_t servers = 0;

	TRY(rows_servers_count(s->db, &servers));
	TRY(rows_shards_read(s->db, s->holder, s->fencing, s->owner));
	// Who stands by takes nothing while another has the lead.
	if (s->all && s->owner[SHARD_LEAD] == SHARD_OTHERS)
		return ERR_OK;
	shard_plan(s->owner, servers, s->all, moves);
	s->unsettled = moves->unsettled;
	for (size_t i = 0; i < moves->take_count; i++)
		TRY(rows_shard_take(s->db, moves->take[i], s->holder, s->fencing));
	if (moves->give_count && s->leaving)
		TRY(s->leaving(s->ctx, moves->give, moves->give_count));
	for (size_t i = 0; i < moves->give_count; i++)
		TRY(rows_shard_give(s->db, moves->give[i], s->holder, s->fencing));
	return moves->take_count + moves->give_count
		       ? rows_shards_read(s->db, s->holder, s->fencing, s->owner)
		       : ERR_OK;
}

static enum err committed(struct db *db, enum err e)
{
	if (e == ERR_OK)
		return db_commit(db);
	db_rollback(db);
	return e;
}

static enum err term_renew(struct shards *s, struct now now)
{
	enum err e = rows_server_renew(s->db, s->holder, s->fencing, s->lease_ms);

	TRY(committed(s->db, e));
	term_held(s, now.mono);
	return ERR_OK;
}

static void owned_forget(struct shards *s)
{
	for (size_t i = 0; i < SHARD_PLACES; i++)
		s->owner[i] = SHARD_FREE;
	s->count = 0;
	s->fencing = 0;
}

static bool owned_differs(struct shards *s, const enum shard_owner *before)
{
	bool differs = false;

	s->count = 0;
	for (size_t i = 0; i < SHARD_PLACES; i++) {
		s->count += i < SHARDS && s->owner[i] == SHARD_MINE;
		differs |= (s->owner[i] == SHARD_MINE) != (before[i] == SHARD_MINE);
	}
	return differs;
}

static enum err other_see(void *ctx, const struct server_row *row)
{
	struct shards *s = ctx;

	if (strcmp(row->holder, s->holder) != 0)
		shard_watch_see(&s->watch, row);
	return ERR_OK;
}

static enum err others_look(struct shards *s)
{
	int64_t passed_ms = shard_watch_begin(&s->watch, s->lease_ms, clock_now().mono);

	if (passed_ms > s->lease_ms / 2)
		log_info("SHARDS-LATE", "holder=%s by_ms=%lld", s->holder, (long long)passed_ms);
	TRY(rows_servers_each(s->db, other_see, s));
	shard_watch_end(&s->watch, clock_now().mono);
	return ERR_OK;
}

// Whose row is locked goes the next time.
static enum err others_judge(struct shards *s)
{
	for (size_t i = 0; i < s->watch.count; i++) {
		const struct shard_seen *o = &s->watch.seen[i];
		bool ended = false;

		if (!shard_watch_is_dead(o, s->lease_ms))
			continue;
		TRY(rows_server_bury(s->db, o->holder, o->fencing, o->until_ms, &ended));
		if (ended)
			log_warn("SHARD-TERM-ENDED", "holder=%s fencing=%llu still_ms=%lld",
				o->holder, (unsigned long long)o->fencing, (long long)o->still_ms);
	}
	return ERR_OK;
}

// A commit that failed may have been done: then what was given away is another's by now.
static enum err shards_move(struct shards *s)
{
	struct shard_moves moves = {0};
	enum err e = others_look(s);

	if (e == ERR_OK)
		e = others_judge(s);
	if (e == ERR_OK)
		e = moves_make(s, &moves);
	if (e != ERR_OK) {
		db_rollback(s->db);
		return e;
	}
	e = db_commit(s->db);
	return e == ERR_OK || !moves.give_count
		       ? e
		       : err_set(ERR_STALE, "whether shards were given away is not known");
}

static void look_soon(struct shards *s, struct mono from, int64_t in_ms)
{
	struct mono at = mono_add_ms(from, in_ms);

	if (mono_since_ms(s->renew_at, at) > 0)
		s->renew_at = at;
}

// What is owned counts when the commit has said so.
enum err shards_tick(struct shards *s, struct now now, bool *changed)
{
	enum shard_owner before[SHARD_PLACES];

	*changed = false;
	if (!s->fencing)
		return err_set(ERR_STALE, "this server has no term");
	if (mono_since_ms(now.mono, s->renew_at) < 0)
		return ERR_OK;
	if (db_is_dirty(s->db))
		return err_set(ERR_NOT_NOW, "leases are renewed between turns");
	memcpy(before, s->owner, sizeof(before));
	enum err e = term_renew(s, now);
	if (e == ERR_OK)
		e = shards_move(s);
	if (e == ERR_STALE) {
		owned_forget(s);
		return e;
	}
	if (e != ERR_OK) {
		memcpy(s->owner, before, sizeof(before));
		return e;
	}
	look_soon(s, now.mono, s->unsettled ? SHARDS_SOON_MS : s->lease_ms);
	look_soon(s, s->watch.looked_at, shard_watch_left_ms(&s->watch, s->lease_ms));
	*changed = owned_differs(s, before);
	if (*changed)
		log_info("SHARDS", "holder=%s owned=%zu lead=%d", s->holder, s->count,
			s->owner[SHARD_LEAD] == SHARD_MINE);
	return ERR_OK;
}

enum err shards_leader(struct shards *s, char out[LIMIT_ID + 1])
{
	return rows_shard_holder(s->db, SHARD_LEAD, out);
}

bool shards_live(const struct shards *s, struct now now)
{
	return s->fencing && mono_since_ms(s->good_until, now.mono) > 0;
}

bool shards_own(const struct shards *s, unsigned shard, struct now now)
{
	return shard < SHARD_PLACES && s->owner[shard] == SHARD_MINE && shards_live(s, now);
}

bool shards_lead(const struct shards *s, struct now now)
{
	return shards_own(s, SHARD_LEAD, now);
}

enum err shards_leave(struct shards *s)
{
	if (!s->fencing)
		return ERR_OK;
	enum err e = rows_server_leave(s->db, s->holder, s->fencing);
	e = e == ERR_OK ? db_commit(s->db) : e;
	db_guard(s->db, NULL, NULL);
	owned_forget(s);
	return e;
}
