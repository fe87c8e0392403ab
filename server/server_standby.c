// Several servers on one store. With stand_by one serves, the others stand by; with share each
// serves the clients of its shards (share.h), and waits only until somebody has led the store once.
//
//   start -> a term of our own (shards.h) -> somebody else has the lead: look again a few times in
//   each lease -> it is free: everything is loaded as at any start, and served
//
// Who serves renews at its ticks. It judges no message once its lease could be over, before anybody
// else can have it; and where its term was ended it ends itself, so that its supervisor makes it
// one that stands by. What it had said and not committed is refused by the store.
#include "server/db/rows.h"
#include "server/server_inside.h"

#define LOOKS_IN_A_LEASE 8

static enum err term_begin(struct server *s)
{
	bool changed;

	TRY(shards_begin(&s->shards, s->db, s->settings->fleet.id, s->settings->lease_ms,
		s->settings->stand_by, s->now));
	s->shards.leaving = server_share_leaving;
	s->shards.ctx = s;
	s->shards.renew_at = s->now.mono;
	return shards_tick(&s->shards, s->now, &changed);
}

// A store that nobody has led yet has no channels.
static enum err led_note(void *ctx, const struct queue_row *row)
{
	(void)row;
	*(bool *)ctx = true;
	return ERR_OK;
}

static bool may_serve(struct server *s)
{
	bool was_led = false;

	if (shards_lead(&s->shards, s->now) || s->settings->stand_by)
		return shards_lead(&s->shards, s->now);
	return rows_queue_of(s->db, "default", led_note, &was_led) == ERR_OK && was_led;
}

const char *server_leader(struct server *s)
{
	static char leader[LIMIT_ID + 1];

	if (shards_leader(&s->shards, leader) != ERR_OK || !leader[0])
		return "nobody";
	return leader;
}

static void standing_end(struct server *s)
{
	if (s->stands_by)
		uv_close((uv_handle_t *)&s->standing, NULL);
	s->stands_by = false;
}

static void serve_now(struct server *s)
{
	standing_end(s);
	log_info("SERVER-TAKES-OVER", "id=%s fencing=%llu", s->shards.holder,
		(unsigned long long)s->shards.fencing);
	if (server_serve(s) == ERR_OK)
		return;
	log_error("SERVER-START", "why=%s", log_quote(err_text()));
	s->exit_code = EXIT_FAILED;
	server_stop(s);
}

static void on_standing(uv_timer_t *timer)
{
	struct server *s = timer->data;
	bool changed;

	s->now = clock_now();
	enum err e = s->shards.fencing ? shards_tick(&s->shards, s->now, &changed) : term_begin(s);
	if (e != ERR_OK) {
		db_rollback(s->db);
		log_warn("SERVER-STANDS-BY", "word=%s why=%s", err_word(e), log_quote(err_text()));
	} else if (may_serve(s)) {
		serve_now(s);
	}
}

enum err server_stand_by(struct server *s)
{
	TRY(term_begin(s));
	if (may_serve(s))
		return server_serve(s);
	log_info("SERVER-STANDS-BY", "id=%s", s->shards.holder);
	uint64_t every_ms = s->settings->lease_ms / LOOKS_IN_A_LEASE;
	uv_timer_init(s->loop, &s->standing);
	s->standing.data = s;
	s->stands_by = true;
	uv_timer_start(&s->standing, on_standing, every_ms, every_ms);
	return ERR_OK;
}

bool server_may_speak(const struct server *s)
{
	if (s->settings->share)
		return shards_live(&s->shards, s->now); // the gate knows whose it is
	return !s->settings->stand_by || shards_lead(&s->shards, s->now);
}

// Whoever renews a lease keeps the others from taking its clients over: it is not to wait longer
// until it answers them than they would have waited.
static void renewed_note(struct server *s, struct mono before)
{
	if (mono_since_ms(s->shards.good_until, before) > 0)
		core_recover_within(s->core, s->settings->lease_ms, s->now);
}

bool server_term_hold(struct server *s)
{
	bool changed = false;
	struct mono before = s->shards.good_until;

	if (!heliod_is_one_of_several(s->settings))
		return true;
	if (db_is_dirty(s->db))
		server_turn_end(s);
	enum err e = shards_tick(&s->shards, s->now, &changed);
	if (e == ERR_OK && changed && s->settings->share)
		server_share_changed(s);
	if (e == ERR_OK) {
		renewed_note(s, before);
		return true;
	}
	if (e != ERR_STALE) { // the core tells what ails the store
		s->shards.renew_at =
			mono_add_ms(s->now.mono, s->settings->lease_ms / LOOKS_IN_A_LEASE);
		return true;
	}
	log_error("SERVER-REPLACED", "id=%s why=%s", s->shards.holder, log_quote(err_text()));
	s->exit_code = EXIT_FAILED;
	server_stop(s);
	return false;
}

void server_term_end(struct server *s)
{
	standing_end(s);
	if (!heliod_is_one_of_several(s->settings) || !s->db)
		return;
	db_rollback(s->db);
	if (shards_leave(&s->shards) != ERR_OK)
		log_warn("SHARD-LEAVE", "why=%s", log_quote(err_text()));
}
