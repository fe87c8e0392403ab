// Leases of shards: who owns what, what a term that is over may still do (nothing), on both
// engines.
#include "server/db/db_engine.h"
#include "server/shard_plan.h"
#include "server/shards.h"
#include "store_fixture.h"
#include <signal.h>
#include <sys/wait.h>

#define LEASE_MS 400
#define WRITES_MAX 1000 // of a leader whom nobody stops

// For a test about another process that writes the same store.
#define store_must_be_postgres()                                                                   \
	do {                                                                                       \
		if (!store_is_postgres()) {                                                        \
			print_message("only PostgreSQL is written by several servers\n");          \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

static int setup(void **state)
{
	return fixture_make(state, store_open);
}

static void nap(int ms)
{
	usleep((useconds_t)ms * 1000);
}

// ---- the plan

static size_t spread(enum shard_owner *owner, size_t mine, size_t others)
{
	for (size_t i = 0; i < SHARD_PLACES; i++)
		owner[i] = i < mine ? SHARD_MINE : i < mine + others ? SHARD_OTHERS : SHARD_FREE;
	return 0;
}

static void what_is_free_is_taken_up_to_the_share(void **state)
{
	static const struct {
		size_t mine, others, servers;
		bool all;
		size_t take, give;
	} cases[] = {
		{0, 0, 1, false, 256, 0},
		{0, 0, 2, false, 128, 0},
		{0, 0, 3, false, 86, 0},
		{0, 128, 2, false, 128, 0},
		{0, 256, 2, false, 0, 0}, // nothing is free: the other gives
		{256, 0, 2, false, 0, 16},
		{130, 126, 2, false, 0, 2},
		{128, 128, 2, false, 0, 0},
		{128, 0, 1, false, 128, 0}, // the other is gone
		{0, 0, 3, true, 256, 0},
		{100, 0, 3, true, 156, 0},
		{256, 0, 3, true, 0, 0},
		{0, 0, 0, false, 256, 0},
	};
	enum shard_owner owner[SHARD_PLACES];
	struct shard_moves moves;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)spread(owner, cases[i].mine, cases[i].others);
		owner[SHARD_LEAD] = i % 2 ? SHARD_FREE : SHARD_OTHERS;
		shard_plan(owner, cases[i].servers, cases[i].all, &moves);
		assert_int_equal(moves.take_count, cases[i].take + i % 2);
		assert_int_equal(moves.give_count, cases[i].give);
		assert_int_equal(moves.unsettled,
			cases[i].mine + cases[i].take - cases[i].give !=
				(cases[i].all ? 256
					      : (255 + (cases[i].servers ? cases[i].servers : 1)) /
							(cases[i].servers ? cases[i].servers : 1)));
		for (size_t k = 0; k < moves.take_count; k++)
			assert_int_equal(owner[moves.take[k]], SHARD_FREE);
		for (size_t k = 0; k < moves.give_count; k++)
			assert_int_equal(owner[moves.give[k]], SHARD_MINE);
	}
}

// ---- terms, two of them in one process: the second begins where the first one's guard is off

static void begin(struct shards *s, struct fixture *f, const char *holder, uint32_t lease_ms)
{
	if (shards_begin(s, f->db, holder, lease_ms, false, clock_now()) != ERR_OK)
		fail_msg("term: %s", err_text());
}

static enum err tick_now(struct shards *s, bool *changed)
{
	s->renew_at = (struct mono){0};
	return shards_tick(s, clock_now(), changed);
}

// One of two that share a connection here.
static enum err tick_as(struct shards *s, bool *changed)
{
	db_guard(s->db, NULL, NULL);
	return tick_now(s, changed);
}

// The others stood still for a lease, as far as s has seen: only what their rows say now counts.
static void watched(struct shards *s)
{
	assert_true(s->watch.count > 0);
	for (size_t i = 0; i < s->watch.count; i++)
		s->watch.seen[i].still_ms = s->lease_ms;
}

static void the_first_server_has_all_and_gives_the_second_its_share(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", 60000);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	assert_true(changed);
	assert_int_equal(a.count, 256);
	assert_true(shards_lead(&a, clock_now()));
	begin(&b, f, "server.2", 60000);
	assert_true(b.fencing > a.fencing);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(tick_as(&a, &changed), ERR_OK);
		assert_int_equal(changed, i < 8); // 16 at a time
		assert_int_equal(tick_as(&b, &changed), ERR_OK);
	}
	assert_int_equal(a.count, 128);
	assert_int_equal(b.count, 128);
	assert_true(shards_lead(&a, clock_now()));
	assert_false(shards_lead(&b, clock_now()));
	for (unsigned i = 0; i < SHARDS; i++)
		assert_int_equal(
			shards_own(&a, i, clock_now()) + shards_own(&b, i, clock_now()), 1);
}

static void what_runs_out_is_taken_over_and_its_former_owner_writes_nothing(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;
	int64_t n = 0;

	begin(&a, f, "server.1", LEASE_MS);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	begin(&b, f, "server.2", 60000);
	assert_int_equal(tick_as(&b, &changed), ERR_OK); // the first one lives: nothing is taken
	assert_int_equal(b.count, 0);
	begin(&a, f, "server.1", LEASE_MS); // a new term of the same one
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	assert_int_equal(rows_meta_put_number(f->db, "a", 1), ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	nap(LEASE_MS + 50);
	assert_false(shards_lead(&a, clock_now())); // silent, before anybody took over
	watched(&b);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_true(changed);
	assert_int_equal(b.count, 256);
	assert_true(shards_lead(&b, clock_now()));
	// The former owner, with its guard.
	struct shards late = a;
	db_guard(f->db, NULL, NULL);
	assert_int_equal(tick_as(&late, &changed), ERR_STALE);
	assert_int_equal(late.fencing, 0);
	begin(&late, f, "server.3", 60000);
	late.fencing = a.fencing; // its number is of a term that is over
	assert_int_equal(rows_meta_put_number(f->db, "a", 2), ERR_STALE);
	assert_int_equal(db_commit(f->db), ERR_STALE);
	assert_int_equal(rows_meta_number(f->db, "a", &n), ERR_OK);
	assert_int_equal(n, 1);
}

static void who_leaves_in_order_is_not_waited_for(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", 60000);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	assert_int_equal(shards_leave(&a), ERR_OK);
	assert_false(shards_lead(&a, clock_now()));
	begin(&b, f, "server.2", 60000);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_int_equal(b.count, 256);
	assert_true(shards_lead(&b, clock_now()));
}

static void who_stands_by_takes_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", 60000);
	a.all = true;
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	begin(&b, f, "server.2", 60000);
	b.all = true;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(tick_as(&b, &changed), ERR_OK);
		assert_int_equal(b.count, 0);
		assert_int_equal(tick_as(&a, &changed), ERR_OK);
		assert_int_equal(a.count, 256);
	}
	assert_int_equal(shards_leave(&a), ERR_OK);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_int_equal(b.count, 256);
}

// ---- who judges whom

// Who stays away is judged, a lease later.
static void taken_over_after_a_lease(struct shards *s)
{
	struct mono from = clock_now().mono;
	bool changed = false;

	for (int i = 0; i < 500 && s->count < 256; i++) {
		nap(20);
		assert_int_equal(tick_as(s, &changed), ERR_OK);
	}
	assert_int_equal(s->count, 256);
	assert_true(mono_since_ms(clock_now().mono, from) >= LEASE_MS / 2);
}

// The database or the machine stood still, again and again: all leases ran out, and everybody
// lives.
static void who_stood_still_with_the_others_judges_nobody(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", LEASE_MS);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	begin(&b, f, "server.2", LEASE_MS);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	for (int i = 0; i < 4; i++) {
		nap(LEASE_MS + 50);
		assert_int_equal(tick_as(&b, &changed), ERR_OK);
		assert_int_equal(tick_as(&a, &changed), ERR_OK); // and not ERR_STALE
	}
	taken_over_after_a_lease(&b);
	assert_int_equal(tick_as(&a, &changed), ERR_STALE);
}

// It cannot know whether the others stood still before it came.
static void who_has_just_begun_judges_nobody(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", LEASE_MS);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	nap(LEASE_MS + 50);
	begin(&b, f, "server.2", LEASE_MS);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_int_equal(b.count, 0);
	assert_int_equal(tick_as(&a, &changed), ERR_OK); // and not ERR_STALE
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	taken_over_after_a_lease(&b);
	assert_int_equal(tick_as(&a, &changed), ERR_STALE);
}

static enum err until_note(void *ctx, const struct server_row *row)
{
	*(int64_t *)ctx = row->until_ms;
	return ERR_OK;
}

static void a_term_that_was_renewed_as_it_was_judged_goes_on(void **state)
{
	struct fixture *f = *state;
	struct shards a;
	int64_t before = 0, after = 0;
	bool changed = false, ended = true;

	begin(&a, f, "server.1", 60000);
	assert_int_equal(rows_servers_each(f->db, until_note, &before), ERR_OK);
	nap(5);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	assert_int_equal(rows_servers_each(f->db, until_note, &after), ERR_OK);
	assert_true(after > before);
	assert_int_equal(rows_server_bury(f->db, "server.1", a.fencing, before, &ended), ERR_OK);
	assert_false(ended);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	assert_int_equal(rows_servers_each(f->db, until_note, &after), ERR_OK);
	assert_int_equal(rows_server_bury(f->db, "server.1", a.fencing, after, &ended), ERR_OK);
	assert_true(ended);
	assert_int_equal(db_commit(f->db), ERR_OK);
	assert_int_equal(tick_as(&a, &changed), ERR_STALE);
}

static const struct db_engine *engine_below;

static enum err prepare_late(struct db *db, const char *sql, struct db_stmt **out)
{
	if (strstr(sql, "ORDER BY fencing"))
		nap(LEASE_MS + 50);
	return engine_below->prepare(db, sql, out);
}

// It stood still between the renewal and the look at the others.
static void who_was_late_in_judging_judged_nobody(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", LEASE_MS);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	begin(&b, f, "server.2", LEASE_MS);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	engine_below = f->db->engine;
	struct db_engine slow = *engine_below;
	slow.prepare = prepare_late;
	f->db->engine = &slow;
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	f->db->engine = engine_below;
	assert_int_equal(tick_as(&a, &changed), ERR_OK); // and not ERR_STALE
}

static void clock_back(struct fixture *f, const char *holder, int64_t by_ms)
{
	db_guard(f->db, NULL, NULL);
	assert_int_equal(
		db_run(f->db, "UPDATE server_lease SET until_ms = until_ms + $1 WHERE holder = $2",
			DB_I(by_ms), DB_T(holder)),
		ERR_OK);
	assert_int_equal(db_commit(f->db), ERR_OK);
}

// What the rows look like after the database's clock was set back.
static void a_clock_that_was_set_back_keeps_no_dead_server_alive(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", 5000);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	begin(&b, f, "server.2", 5000);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	// Both live: each comes to renew before the other judges it.
	clock_back(f, "server.1", 3600000);
	clock_back(f, "server.2", 3600000);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_int_equal(b.count, 0);
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	// Control: one that can be so long is believed.
	begin(&b, f, "server.2", 5000);
	clock_back(f, "server.1", 50000);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	watched(&b);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_true(b.count < 256);
	clock_back(f, "server.1", 3600000);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_true(b.count < 256);
	watched(&b);
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_int_equal(b.count, 256);
	assert_int_equal(tick_as(&a, &changed), ERR_STALE);
}

static const struct db_engine *real_engine;
static unsigned commits_until_lost;

static enum err commit_lost(struct db *db)
{
	enum err e = real_engine->commit(db);

	if (e != ERR_OK || --commits_until_lost > 0)
		return e;
	db->in_transaction = false; // it is done, and only its answer was lost
	return err_set(ERR_CLOSED, "the answer was lost");
}

// Its commit is done, and it does not know: another may answer for what it gave away.
static void who_may_have_given_shards_away_ends_its_term(void **state)
{
	struct fixture *f = *state;
	struct db_engine lossy = *f->db->engine;
	struct shards a, b;
	bool changed = false;

	begin(&a, f, "server.1", 60000);
	real_engine = f->db->engine;
	lossy.commit = commit_lost;
	// Something was taken: that is seen the next time.
	commits_until_lost = 2;
	f->db->engine = &lossy;
	assert_int_equal(tick_as(&a, &changed), ERR_CLOSED);
	assert_false(shards_lead(&a, clock_now()));
	f->db->engine = real_engine;
	assert_int_equal(tick_as(&a, &changed), ERR_OK);
	assert_true(changed);
	assert_int_equal(a.count, 256);
	begin(&b, f, "server.2", 60000);
	commits_until_lost = 2;
	f->db->engine = &lossy;
	assert_int_equal(tick_as(&a, &changed), ERR_STALE);
	f->db->engine = real_engine;
	for (unsigned i = 0; i < SHARD_PLACES; i++)
		assert_false(shards_own(&a, i, clock_now()));
	assert_int_equal(tick_as(&b, &changed), ERR_OK);
	assert_int_equal(b.count, SHARD_GIVES_AT_ONCE);
}

// ---- a leader that is stopped, in another process (PostgreSQL)

// What the child does: writes as the leader until a write is refused. stop: it stops itself with a
// turn open.
static int leader(const char *file, int to, bool stop, bool guarded)
{
	struct db *db = NULL;
	struct shards s;
	bool changed = false;
	enum err e = ERR_OK;

	if (store_postgres_of(file, true, &db) != ERR_OK ||
		shards_begin(&s, db, "server.1", LEASE_MS, true, clock_now()) != ERR_OK ||
		tick_now(&s, &changed) != ERR_OK || s.count != 256)
		return 1;
	if (!guarded)
		db_guard(db, NULL, NULL);
	for (int64_t n = 1; e == ERR_OK && n <= WRITES_MAX; n++) {
		e = rows_meta_put_number(db, "by-the-leader", n);
		if (stop && n == 3)
			(void)raise(SIGSTOP);
		enum err committed = db_commit(db);
		e = e == ERR_OK ? committed : e;
		if (e == ERR_OK && write(to, &n, sizeof(n)) != sizeof(n))
			return 2;
		nap(1);
	}
	if (e == ERR_OK)
		return 3; // nobody refused anything
	return e == ERR_STALE || e == ERR_CLOSED ? 0 : 4;
}

struct took {
	int64_t before, after; // the leader's last number: at the take-over, and in the end
	int64_t ms;            // from the stop to the take-over
	int verdict;           // what the child came to
};

static int64_t by_the_leader(struct db *db)
{
	int64_t n = 0;

	assert_int_equal(rows_meta_number(db, "by-the-leader", &n), ERR_OK);
	return n;
}

static struct took take_over(struct fixture *f, bool stop, bool guarded)
{
	struct took t = {0};
	struct shards s;
	bool changed = false;
	int channel[2], status = 0;
	int64_t n = 0;

	db_close(f->db);
	f->db = NULL;
	assert_int_equal(pipe(channel), 0);
	pid_t child = fork();
	if (child == 0)
		_exit(leader(f->file, channel[1], stop, guarded));
	close(channel[1]);
	for (int i = 0; i < 2; i++)
		assert_int_equal(read(channel[0], &n, sizeof(n)), sizeof(n));
	if (!stop)
		assert_int_equal(kill(child, SIGSTOP), 0);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status));
	struct mono stopped = clock_now().mono;
	assert_int_equal(store_postgres_of(f->file, true, &f->db), ERR_OK);
	assert_int_equal(shards_begin(&s, f->db, "server.2", LEASE_MS, true, clock_now()), ERR_OK);
	while (!shards_lead(&s, clock_now())) {
		assert_true(mono_since_ms(clock_now().mono, stopped) < 60000);
		assert_int_equal(tick_now(&s, &changed), ERR_OK);
		nap(20);
	}
	t.ms = mono_since_ms(clock_now().mono, stopped);
	t.before = by_the_leader(f->db);
	assert_int_equal(kill(child, SIGCONT), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(channel[0]);
	t.verdict = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	t.after = by_the_leader(f->db);
	return t;
}

static void a_stopped_leader_that_goes_on_writes_nothing(void **state)
{
	store_must_be_postgres();
	struct took t = take_over(*state, false, true);

	assert_int_equal(t.verdict, 0);
	assert_true(t.before >= 2);
	assert_int_equal(t.after, t.before);
	assert_in_range(t.ms, 1, 30000); // how soon on an idle machine, tests/bench says
}

// It holds its row while it is stopped: the database ends that turn.
static void a_leader_that_is_stopped_within_a_turn_does_not_end_it(void **state)
{
	store_must_be_postgres();
	struct took t = take_over(*state, true, true);

	assert_int_equal(t.verdict, 0);
	assert_int_equal(t.before, 2);
	assert_int_equal(t.after, 2);
	assert_in_range(t.ms, 1, 30000); // how soon on an idle machine, tests/bench says
}

// server.1 with a lease and a connection of its own, beside that of the fixture.
static struct db *begun_beside(struct fixture *f, struct shards *first)
{
	struct db *db = NULL;
	bool changed = false;

	db_close(f->db);
	assert_int_equal(store_postgres_of(f->file, true, &db), ERR_OK);
	assert_int_equal(store_postgres_of(f->file, true, &f->db), ERR_OK);
	assert_int_equal(shards_begin(first, db, "server.1", LEASE_MS, false, clock_now()), ERR_OK);
	assert_int_equal(tick_now(first, &changed), ERR_OK);
	return db;
}

// The database cannot end it by itself: it still tells the stopped server something, or was told to
// wait for ever. Whoever takes over ends it, and goes on renewing what it has.
static void a_turn_that_never_ends_keeps_nobody_waiting(void **state)
{
	struct fixture *f = *state;
	struct db *stuck = NULL;
	struct shards a, b;
	bool changed = false;

	store_must_be_postgres();
	stuck = begun_beside(f, &a);
	assert_int_equal(
		stuck->engine->exec(stuck, "SET idle_in_transaction_session_timeout = 0"), ERR_OK);
	assert_int_equal(rows_meta_put_number(stuck, "a", 1), ERR_OK);
	assert_int_equal(rows_meta_number(stuck, "a", &(int64_t){0}), ERR_OK); // it is there
	assert_int_equal(shards_begin(&b, f->db, "server.2", LEASE_MS, false, clock_now()), ERR_OK);
	struct mono from = clock_now().mono;
	while (b.count < 256) {
		assert_true(mono_since_ms(clock_now().mono, from) < 60000);
		assert_int_equal(tick_now(&b, &changed), ERR_OK);
		nap(20);
	}
	assert_int_not_equal(db_commit(stuck), ERR_OK);
	db_close(stuck);
}

#define LIVES_MS 400 // below what the others take for a turn that stands still

// It is late and lives: it came to its turn as the other came to judge it. Where this machine held
// us up between the two, it stood still indeed, and that says nothing: again.
static void a_turn_that_goes_on_is_not_ended_by_others(void **state)
{
	struct fixture *f = *state;
	struct shards a, b;
	bool changed = false, was_quick = false;

	store_must_be_postgres();
	for (int i = 0; i < 20 && !was_quick; i++) {
		struct db *late = begun_beside(f, &a);
		assert_int_equal(
			shards_begin(&b, f->db, "server.2", 60000, false, clock_now()), ERR_OK);
		assert_int_equal(tick_now(&b, &changed), ERR_OK);
		nap(LEASE_MS + 50);
		watched(&b);
		struct mono from = clock_now().mono;
		assert_int_equal(rows_meta_put_number(late, "a", 1), ERR_OK);
		enum err there = rows_meta_number(late, "a", &(int64_t){0});
		enum err judged = tick_now(&b, &changed);
		was_quick = mono_since_ms(clock_now().mono, from) < LIVES_MS;
		enum err committed = db_commit(late);
		if (was_quick && (there != ERR_OK || judged != ERR_OK || committed != ERR_OK))
			fail_msg("%d %d %d: %s", there, judged, committed, err_text());
		db_close(late);
	}
	assert_true(was_quick);
}

// What those that are stopped would do without the fencing number.
static void without_its_guard_a_late_leader_would_write(void **state)
{
	store_must_be_postgres();
	struct took t = take_over(*state, false, false);

	assert_int_equal(t.verdict, 3);
	assert_int_equal(t.after, WRITES_MAX);
	assert_true(t.before < t.after);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, fixture_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_free_is_taken_up_to_the_share),
		T(the_first_server_has_all_and_gives_the_second_its_share),
		T(what_runs_out_is_taken_over_and_its_former_owner_writes_nothing),
		T(who_leaves_in_order_is_not_waited_for),
		T(who_stands_by_takes_all_or_nothing),
		T(who_stood_still_with_the_others_judges_nobody),
		T(who_has_just_begun_judges_nobody),
		T(a_term_that_was_renewed_as_it_was_judged_goes_on),
		T(who_was_late_in_judging_judged_nobody),
		T(a_clock_that_was_set_back_keeps_no_dead_server_alive),
		T(who_may_have_given_shards_away_ends_its_term),
		T(a_stopped_leader_that_goes_on_writes_nothing),
		T(a_leader_that_is_stopped_within_a_turn_does_not_end_it),
		T(a_turn_that_never_ends_keeps_nobody_waiting),
		T(a_turn_that_goes_on_is_not_ended_by_others),
		T(without_its_guard_a_late_leader_would_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
