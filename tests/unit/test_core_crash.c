// kill -9 at every statement, before and after every commit, of what changes a queue, an epoch, a
// pointer or a key: a child does it and dies, and the next start finds all of it or nothing.
#include "core_rig.h"
#include <sys/wait.h>

#define STATEMENTS_MAX 400u

struct crash {
	struct rig *r;
	struct agent *a;
	struct digest package;
	struct channel_info before, after; // of the channel, in the next start
};

struct act {
	void (*prepare)(struct crash *c); // in the parent
	void (*run)(struct crash *c);     // in the child, and dies in it
	bool dies_in_start;               // the start of the server is what dies
	void (*check)(struct crash *c);   // the next start, in the parent
};

static struct channel_info look(struct rig *r)
{
	struct channel_info info;
	struct queue_check found;

	assert_int_equal(core_channel_find(r->core, "default", &info), ERR_OK);
	if (core_queue_check(r->core, "default", &found) != ERR_OK)
		fail_msg("%s", err_text());
	assert_int_equal(found.at_elements + found.at_tail + found.detached, info.clients);
	return info;
}

// True when the child died of it.
static bool dies(struct crash *c, const struct act *act, unsigned at)
{
	struct rig *r = c->r;
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		r->steps_left = act->dies_in_start ? at : 0;
		rig_start(r);
		r->steps_left = at;
		if (act->run)
			act->run(c);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
	return WIFSIGNALED(status);
}

static void everywhere(struct crash *c, const struct act *act)
{
	struct rig *r = c->r;
	unsigned at = 1;

	for (bool died = true; died; at++) {
		assert_true(at < STATEMENTS_MAX);
		arena_reset(&r->arena);
		act->prepare(c);
		c->before = look(r);
		rig_kill(r);
		sent_clear(r);
		rig_advance(r, 61000); // as many sign-ins as it needs
		died = dies(c, act, at);
		rig_advance(r, 2000);
		rig_start(r);
		c->after = look(r);
		act->check(c);
	}
	assert_true(at > 3); // it did die of it
}

static struct crash crash_of(void **state)
{
	struct rig *r = *state;
	struct crash c = {.r = r, .a = rig_settled(r, "f1")};

	(void)rig_settled(r, "f2");
	(void)rig_agent(r, "f3", ROLE_CLIENT); // detached
	c.package = rig_add_package(r, "menu", "1", PACKAGE_IMAGES);
	return c;
}

static void nothing(struct crash *c)
{
	(void)c;
}

// ---- appending

static void append_run(struct crash *c)
{
	append_display(c->r, "default", &c->package);
}

static void append_check(struct crash *c)
{
	uint64_t more = c->after.tail_seq - c->before.tail_seq;

	assert_in_range(more, 0, 1);
	assert_int_equal(c->after.elements, c->before.elements + more);
	assert_int_equal(c->after.pointers, c->before.pointers);
}

static void S004_9_an_event_is_appended_whole_or_not_at_all(void **state)
{
	struct crash c = crash_of(state);
	const struct act act = {.prepare = nothing, .run = append_run, .check = append_check};

	everywhere(&c, &act);
}

// ---- consolidating

static void run_prepare(struct crash *c)
{
	for (int i = 0; i < 4; i++)
		append_display(c->r, "default", &c->package);
}

static void consolidate_run(struct crash *c)
{
	struct consolidated *runs = NULL;
	size_t count = 0;

	if (core_channel_consolidate(
		    c->r->core, "default", core_arena(c->r->core), &runs, &count) != ERR_OK)
		_exit(1);
	core_turn_end(c->r->core, c->r->now);
}

static void consolidate_check(struct crash *c)
{
	assert_int_equal(c->after.tail_seq, c->before.tail_seq);
	assert_int_equal(c->after.pointers, c->before.pointers);
	assert_true(c->after.elements == c->before.elements || c->after.elements == 1);
}

static void S004_14_a_consolidation_that_dies_leaves_every_pointer_on_an_element(void **state)
{
	struct crash c = crash_of(state);
	const struct act act = {
		.prepare = run_prepare, .run = consolidate_run, .check = consolidate_check};

	everywhere(&c, &act);
}

// ---- closing

static void close_prepare(struct crash *c)
{
	assert_int_equal(
		core_channel_control(c->r->core, "default", CONTROL_RESUME, 0, "alice.1", NULL),
		ERR_OK);
	core_turn_end(c->r->core, c->r->now);
}

static void close_run(struct crash *c)
{
	if (core_channel_control(c->r->core, "default", CONTROL_CLOSE, 0, "alice.1", NULL) !=
		ERR_OK)
		_exit(1);
	core_turn_end(c->r->core, c->r->now);
}

static void close_check(struct crash *c)
{
	assert_false(c->before.closed);
	// The state and the event that records it are one.
	assert_int_equal(c->after.tail_seq - c->before.tail_seq, c->after.closed);
}

static void S004_3_a_channel_is_closed_with_its_event_or_not_at_all(void **state)
{
	struct crash c = crash_of(state);
	const struct act act = {.prepare = close_prepare, .run = close_run, .check = close_check};

	everywhere(&c, &act);
}

// ---- giving: recorded, the pointer moved, sent

static void give_prepare(struct crash *c)
{
	append_display(c->r, "default", &c->package);
}

static void give_run(struct crash *c)
{
	(void)agent_step(c->a); // learns the boot
	(void)agent_step(c->a);
}

static void give_check(struct crash *c)
{
	struct agent *a = c->a;
	struct operation_info *ops = NULL;
	size_t count = 0, given = 0;

	sent_clear(c->r);
	while (agent_step(a) == KIND_NO_ACTION)
		assert_true(a->seq < 1000000);
	assert_int_equal(a->got.body->kind, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(
		core_operations(c->r->core, "f1", 0, 8, core_arena(c->r->core), &ops, &count),
		ERR_OK);
	for (size_t i = 0; i < count; i++)
		given += ops[i].event_seq == a->got.body->event_seq &&
			 ops[i].kind == KIND_RETRIEVE_INFORMATION;
	assert_int_equal(given, 1);
	assert_int_equal(agent_info(c->r, a).pointer_at, ELEMENT_TAIL);
	c->r->ended_count = 0;
	a->holdings.item_count = 0;
	agent_hold(a, &c->package);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(c->r->ended_count, 1);
}

static void S004_9_what_was_recorded_and_not_sent_is_sent_by_the_next_start_once(void **state)
{
	struct crash c = crash_of(state);
	const struct act act = {.prepare = give_prepare, .run = give_run, .check = give_check};

	everywhere(&c, &act);
}

// ---- a new epoch

static void backup_make(struct rig *r)
{
	char to[160];

	(void)snprintf(to, sizeof(to), "%s/fresh.db", r->folder);
	(void)unlink(to);
	assert_int_equal(db_backup(r->db, to), ERR_OK);
}

static void backup_bring(struct rig *r)
{
	char from[160], wal[160];

	(void)snprintf(from, sizeof(from), "%s/fresh.db", r->folder);
	(void)snprintf(wal, sizeof(wal), "%s-wal", r->file);
	(void)unlink(wal);
	assert_int_equal(rename(from, r->file), 0);
}

static void epoch_check(struct crash *c)
{
	assert_true(c->after.epoch > c->before.epoch);
	// All are to be told of it, and detached with that.
	assert_int_equal(c->after.elements, 1);
	assert_int_equal(c->after.pointers, c->after.clients);
	assert_int_equal(c->after.pointers_at_tail, 0);
}

// Each start on an older store opens one, whatever became of the start before.
static void S004_3_a_restored_store_opens_its_epoch_though_the_start_dies(void **state)
{
	struct crash c = crash_of(state);
	struct rig *r = c.r;
	const struct act act = {.dies_in_start = true};
	unsigned at = 1;

	store_must_be_file();
	for (bool died = true; died; at++) {
		assert_true(at < STATEMENTS_MAX);
		arena_reset(&r->arena);
		backup_make(r);
		c.before = look(r);
		rig_restart(r); // later than the backup
		rig_kill(r);
		backup_bring(r);
		rig_advance(r, 2000);
		died = dies(&c, &act, at);
		rig_advance(r, 2000);
		rig_start(r);
		c.after = look(r);
		epoch_check(&c);
	}
	assert_true(at > 10);
}

// ---- a new key

static struct key32 key_of_f1(struct rig *r)
{
	struct key32 key;

	assert_int_equal(core_principal_key(r->core, "f1", ROLE_CLIENT, &key), ERR_OK);
	return key;
}

static struct sign_key *next_key;

static void rotate_prepare(struct crash *c)
{
	struct key32 secret;

	sign_key_free(next_key);
	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &next_key), ERR_OK);
	c->a->boot_counter++;
}

static void rotate_run(struct crash *c)
{
	c->a->next_key = next_key;
	if (!agent_sign_in(c->r, c->a) || agent_step(c->a) == 0)
		_exit(1);
}

static void rotate_check(struct crash *c)
{
	struct agent *a = c->a;
	struct key32 key = key_of_f1(c->r);
	bool rotated = memcmp(&key, sign_key_public(next_key), sizeof(key)) == 0;

	assert_true(rotated || memcmp(&key, sign_key_public(a->key), sizeof(key)) == 0);
	// One of the two keys signs in, and the other one does not.
	struct sign_key *other = rotated ? a->key : next_key;
	a->key = rotated ? next_key : a->key;
	next_key = other;
	a->lineage = (struct id16){0}; // the token is the child's
	a->boot_counter++;
	assert_true(agent_sign_in(c->r, a));
	struct sign_key *right = a->key;
	a->key = next_key;
	assert_false(agent_sign_in(c->r, a));
	a->key = right;
}

static void S003_3_a_key_is_rotated_whole_or_not_at_all(void **state)
{
	struct crash c = crash_of(state);
	const struct act act = {
		.prepare = rotate_prepare, .run = rotate_run, .check = rotate_check};

	everywhere(&c, &act);
	sign_key_free(next_key);
	next_key = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(S004_9_an_event_is_appended_whole_or_not_at_all),
		TEST(S004_14_a_consolidation_that_dies_leaves_every_pointer_on_an_element),
		TEST(S004_3_a_channel_is_closed_with_its_event_or_not_at_all),
		TEST(S004_9_what_was_recorded_and_not_sent_is_sent_by_the_next_start_once),
		TEST(S004_3_a_restored_store_opens_its_epoch_though_the_start_dies),
		TEST(S003_3_a_key_is_rotated_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
