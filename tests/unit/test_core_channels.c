// The managed queue as clients meet it: epochs and the other control events, several channels of
// different weight, detaching, and a random history with kills at every kind of moment.
#include "core_rig.h"
#include "proto/base/log.h"

static void turn(struct rig *r)
{
	core_turn_end(r->core, r->now);
}

static void check(struct rig *r, const char *channel)
{
	struct queue_check found;

	if (core_queue_check(r->core, channel, &found) != ERR_OK)
		fail_msg("%s", err_text());
}

static struct channel_info channel(struct rig *r, const char *name)
{
	struct channel_info info;

	assert_int_equal(core_channel_find(r->core, name, &info), ERR_OK);
	return info;
}

static void append_change(struct rig *r, const char *queue, const char *key, const char *value)
{
	const struct change c = {.change_id = 1, .key = key, .value = value};
	const struct event e = {
		.type = ELEMENT_DISPLAY, .changes = &c, .change_count = 1, .author = "alice.1"};

	assert_int_equal(core_append_event(r->core, queue, &e, NULL, NULL), ERR_OK);
	turn(r);
}

static void control(struct rig *r, const char *name, enum channel_control what, uint64_t value)
{
	assert_int_equal(core_channel_control(r->core, name, what, value, "alice.1", NULL), ERR_OK);
	turn(r);
}

static void put_in(struct rig *r, const char *client, const char *a, const char *b)
{
	const char *names[2] = {a, b};

	assert_int_equal(core_client_set_channels(r->core, client, names, b ? 2 : 1), ERR_OK);
	turn(r);
}

// Answers what a client is asked until nothing waits for it; returns how many responses of kinds 2
// to 4 it took.
static int agent_catch_up(struct rig *r, struct agent *a)
{
	int taken = 0;

	for (int i = 0; i < 40; i++) {
		if (a->op.op_id && a->op.status == OP_ACCEPTED) {
			if (a->kind == KIND_SEND_INFORMATION)
				agent_report_holdings(r, a);
			a->op.status = OP_DONE;
		}
		if (agent_step(a) == KIND_NO_ACTION) {
			if (a->got.body->reason->code == REASON_CAUGHT_UP)
				return taken;
			continue;
		}
		taken++;
		const struct retrieve_information *got = a->got.body->retrieve;
		for (size_t k = 0; got && k < got->package_count; k++)
			agent_hold(a, &got->packages[k].package);
	}
	fail_msg("%s is not caught up: %s", a->id, a->got.body->reason->text);
	return taken;
}

#define assert_control(a, what)                                                                    \
	do {                                                                                       \
		assert_string_equal((a)->got.body->execute->verb, "control");                      \
		assert_string_equal((a)->got.body->execute->args[0], what);                        \
	} while (0)

// ---- S004-3

static void restore_backup(struct rig *r, const char *copy)
{
	char journal[128];

	rig_kill(r);
	(void)snprintf(journal, sizeof(journal), "%s-wal", r->file);
	(void)remove(journal);
	assert_int_equal(rename(copy, r->file), 0);
	sent_clear(r);
	rig_advance(r, 2000);
	rig_start(r);
}

static void S004_3_a_restored_store_opens_an_epoch_that_each_client_is_told_once(void **state)
{
	struct rig *r = *state;
	struct agent *agents[2] = {rig_settled(r, "f1"), rig_settled(r, "f2")};
	char copy[128];

	store_must_be_file();
	(void)snprintf(copy, sizeof(copy), "%s/backup.db", r->folder);
	uint64_t first = channel(r, "default").epoch;
	append_command(r, "default", "before");
	assert_int_equal(db_backup(r->db, copy), ERR_OK);
	// Control: a plain restart opens none.
	rig_restart(r);
	assert_int_equal(channel(r, "default").epoch, first);
	restore_backup(r, copy);
	uint64_t second = channel(r, "default").epoch;
	assert_true(second > first);
	check(r, "default");
	for (int i = 0; i < 2; i++) {
		struct agent *a = agents[i];
		int epochs = 0, others = 0;
		assert_true(agent_sign_in(r, a)); // backups hold no session
		for (int beat = 0; beat < 8; beat++) {
			if (a->op.status == OP_ACCEPTED) {
				if (a->kind == KIND_SEND_INFORMATION)
					agent_report_holdings(r, a);
				a->op.status = OP_DONE;
			}
			if (agent_step(a) != KIND_EXECUTE_COMMAND)
				continue;
			if (strcmp(a->got.body->execute->verb, "control") == 0) {
				assert_control(a, "epoch");
				assert_int_equal(
					strtoull(a->got.body->execute->args[1], NULL, 10), second);
				epochs++;
			} else {
				others++;
			}
			// A plain restart in between tells nobody again.
			if (i == 0)
				rig_restart(r);
		}
		assert_int_equal(epochs, 1);
		assert_int_equal(others, 0);
		assert_int_equal(a->got.epoch, second);
		assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_TAIL);
	}
	// The command of before was passed over, and its author can see that.
	struct skipped_event *skipped = NULL;
	size_t count = 0;
	assert_int_equal(
		core_skipped(r->core, "f2", NULL, 0, 10, &r->arena, &skipped, &count), ERR_OK);
	assert_int_equal(count, 1);
	assert_string_equal(skipped[0].author, "alice.1");
	assert_string_equal(skipped[0].text, "exec before");
	check(r, "default");
}

static void S004_3_pause_resume_rate_and_close_are_told_in_their_order(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	static const char *const words[] = {"pause", "resume", "rate", "close"};

	control(r, "default", CONTROL_PAUSE, 0);
	control(r, "default", CONTROL_RESUME, 0);
	control(r, "default", CONTROL_RATE, 4096);
	append_command(r, "default", "last");
	control(r, "default", CONTROL_CLOSE, 0);
	for (int i = 0; i < 4; i++) {
		if (i == 3) {
			agent_done_gets(a, KIND_EXECUTE_COMMAND);
			assert_string_equal(a->got.body->execute->verb, "last");
		}
		a->op.status = a->op.op_id ? OP_DONE : 0;
		agent_gets(a, KIND_EXECUTE_COMMAND);
		assert_control(a, words[i]);
		assert_int_equal(a->got.rate_bytes_per_s, 4096);
		assert_false(a->got.hold);
	}
	// Closed: nothing is taken any more, and what a client changes ends quietly.
	struct execute_command command = {.verb = "ping", .timeout_ms = 1000};
	const struct event e = {.type = ELEMENT_COMMAND, .command = &command, .author = "alice.1"};
	assert_int_equal(core_append_event(r->core, "default", &e, NULL, NULL), ERR_NOT_NOW);
	struct change change = {9, "showing", "x"};
	a->changes = &change;
	a->change_count = 1;
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.acked_change_id, 9);
	control(r, "default", CONTROL_RESUME, 0);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_control(a, "resume");
	append_command(r, "default", "again");
	agent_done_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "again");
}

static void S004_3_a_client_that_names_a_control_event_creates_none(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	static const char *const keys[] = {"epoch", "pause", "resume", "rate", "close", "control"};

	uint64_t tail = channel(r, "default").tail_seq, epoch = channel(r, "default").epoch;
	for (size_t i = 0; i < 6; i++) {
		struct change change = {i + 1, keys[i], "7"};
		a->changes = &change;
		a->change_count = 1;
		agent_gets(a, KIND_NO_ACTION);
		assert_int_equal(a->got.acked_change_id, i + 1);
	}
	assert_int_equal(channel(r, "default").tail_seq, tail);
	assert_int_equal(channel(r, "default").epoch, epoch);
	assert_false(channel(r, "default").paused);
	// No operator opens an epoch either; control: what it may do, it does.
	assert_int_equal(
		core_channel_control(r->core, "default", CONTROL_EPOCH, 9, "alice.1", NULL),
		ERR_RANGE);
	control(r, "default", CONTROL_PAUSE, 0);
	assert_int_equal(channel(r, "default").tail_seq, tail + 1);
}

// ---- S004-6

static void S004_6_only_an_available_client_is_given_an_event(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_command(r, "default", "one");
	append_command(r, "default", "two");
	for (int i = 0; i < 5; i++) {
		a->ack = ACK_BUSY;
		agent_gets(a, KIND_NO_ACTION);
		assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_COMMAND);
	}
	agent_gets(a, KIND_EXECUTE_COMMAND);
	uint64_t op = a->got.body->op_id;
	a->op.status = OP_RUNNING;
	for (int i = 0; i < 5; i++)
		agent_gets(a, KIND_NO_ACTION);
	// The only thing that may come meanwhile is the same response again.
	a->last_response_id = 0;
	a->op = (struct operation){0};
	for (int i = 0; i < 3; i++) {
		assert_true(agent_beat(r, a, &a->got));
		if (a->got.body->kind != KIND_NO_ACTION &&
			strcmp(a->got.body->execute->verb, "resync") != 0)
			assert_int_equal(a->got.body->op_id, op);
	}
}

// ---- S004-10 .. 14

struct taken {
	char values[3][8]; // of showing, skip, orientation
	struct digest shown;
	size_t responses;
};

static void taken_add(struct taken *t, const struct retrieve_information *got)
{
	static const char *const keys[] = {"showing", "skip", "orientation"};

	t->responses++;
	for (size_t i = 0; i < got->change_count; i++)
		for (size_t k = 0; k < 3; k++)
			if (strcmp(keys[k], got->changes[i].key) == 0)
				(void)str_copy(
					t->values[k], sizeof(t->values[k]), got->changes[i].value);
	for (size_t i = 0; i < got->package_count; i++)
		if (got->packages[i].activate)
			t->shown = got->packages[i].package;
}

static void take_all(struct agent *a, struct taken *t)
{
	for (int i = 0; i < 20; i++) {
		a->op.status = OP_DONE;
		enum response_kind kind = agent_step(a);
		if (kind == KIND_NO_ACTION)
			return;
		if (kind != KIND_RETRIEVE_INFORMATION)
			continue;
		taken_add(t, a->got.body->retrieve);
		for (size_t k = 0; k < a->got.body->retrieve->package_count; k++)
			agent_hold(a, &a->got.body->retrieve->packages[k].package);
	}
}

static void S004_11_one_consolidated_response_equals_the_separate_ones(void **state)
{
	struct rig *r = *state;
	struct agent *one_by_one = rig_settled(r, "f1"), *at_once = rig_settled(r, "f2");
	struct digest art[2] = {rig_add_package(r, "art", "1", PACKAGE_IMAGES),
		rig_add_package(r, "art", "2", PACKAGE_IMAGES)};
	struct digest sky = rig_add_package(r, "sky", "1", PACKAGE_IMAGES);
	struct taken separate = {0}, joined = {0};
	struct consolidated *runs = NULL;
	size_t count = 0;

	append_display(r, "default", &art[0]);
	append_change(r, "default", "showing", "a");
	append_display(r, "default", &sky);
	append_change(r, "default", "skip", "b");
	append_change(r, "default", "showing", "c");
	append_display(r, "default", &art[1]);
	take_all(one_by_one, &separate);
	assert_int_equal(separate.responses, 6);
	assert_int_equal(
		core_channel_consolidate(r->core, "default", &r->arena, &runs, &count), ERR_OK);
	turn(r);
	assert_int_equal(count, 1);
	assert_int_equal(runs[0].count, 6);
	assert_int_equal(runs[0].into, runs[0].chose[5]);
	check(r, "default");
	take_all(at_once, &joined);
	assert_int_equal(joined.responses, 1);
	assert_memory_equal(joined.values, separate.values, sizeof(joined.values));
	assert_true(digest_equal(&joined.shown, &separate.shown));
	assert_true(digest_equal(&joined.shown, &art[1]));
	assert_false(core_client_holds(r->core, "f2", &art[0])); // the newest version only
	agent_gets(at_once, KIND_NO_ACTION);
	assert_true(core_client_holds(r->core, "f2", &sky));
}

static void S004_15_the_queue_stays_below_high_water_by_itself(void **state)
{
	struct rig *r = *state;
	char value[8];

	r->config.queue_high_water = 16;
	r->config.queue_max = 64;
	rig_restart(r);
	struct agent *fast = rig_settled(r, "f1");
	rig_settled(r, "f2"); // silent from here on
	for (int i = 0; i < 50; i++) {
		(void)snprintf(value, sizeof(value), "%d", i);
		append_change(r, "default", i % 2 ? "showing" : "skip", value);
		assert_true(channel(r, "default").elements <= 17);
		check(r, "default");
		if (i % 5 == 4) {
			struct taken t = {0};
			take_all(fast, &t);
			assert_true(t.responses >= 1);
			assert_string_equal(t.values[i % 2 ? 0 : 1], value);
			assert_int_equal(agent_info(r, fast).pointer_at, ELEMENT_TAIL);
		}
	}
	// Control: with consolidation off it grows to all 50.
	r->config.queue_high_water = 1000;
	r->config.queue_max = 1000;
	rig_restart(r);
	size_t before = channel(r, "default").elements;
	for (int i = 0; i < 50; i++)
		append_change(r, "default", "showing", "x");
	assert_int_equal(channel(r, "default").elements, before + 50);
}

// ---- S004-18

static void S004_18_what_a_detached_client_was_never_told_is_recorded(void **state)
{
	struct rig *r = *state;
	struct skipped_event *skipped = NULL;
	size_t count = 0;

	r->config.queue_max = 4;
	r->config.queue_high_water = 4;
	rig_restart(r);
	struct agent *a = rig_settled(r, "f1");
	append_change(r, "default", "showing", "old");
	for (int i = 0; i < 6; i++)
		append_command(r, "default", "ping");
	append_change(r, "default", "showing", "new");
	agent_gets(a, KIND_SEND_INFORMATION);
	assert_int_equal(a->got.body->send->what, INFO_HOLDINGS);
	// Appended after it was detached and before its snapshot: passed over too, over a restart.
	append_command(r, "default", "late");
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION);
	agent_report_holdings(r, a);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->retrieve->change_count, 1);
	assert_string_equal(a->got.body->retrieve->changes[0].value, "new");
	agent_done_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(
		core_skipped(r->core, "f1", NULL, 0, 20, &r->arena, &skipped, &count), ERR_OK);
	assert_int_equal(count, 7);
	assert_string_equal(skipped[0].text, "exec late");
	assert_int_equal(core_skipped(r->core, NULL, "default", skipped[0].seq, 20, &r->arena,
				 &skipped, &count),
		ERR_OK);
	assert_int_equal(count, 1);
	assert_string_equal(skipped[0].client, "f1");
	// Control: who was told is not in the list.
	append_command(r, "default", "told");
	agent_gets(a, KIND_EXECUTE_COMMAND);
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(
		core_skipped(r->core, "f1", NULL, 0, 20, &r->arena, &skipped, &count), ERR_OK);
	assert_int_equal(count, 7);
	check(r, "default");
}

// The server is killed after the queue let go of the slowest, and before that one came again: that
// it is detached, and what it was never told, stands nowhere but in the pointer and the events.
static void S004_18_killed_before_the_detached_client_comes_nothing_of_it_is_lost(void **state)
{
	struct rig *r = *state;
	struct skipped_event *skipped = NULL;
	size_t count = 0;

	r->config.queue_max = 4;
	r->config.queue_high_water = 4;
	rig_restart(r);
	struct agent *a = rig_settled(r, "f1"), *b = rig_settled(r, "f2");
	append_change(r, "default", "showing", "old");
	agent_gets(b, KIND_RETRIEVE_INFORMATION);
	agent_done_gets(b, KIND_NO_ACTION);
	for (int i = 0; i < 6; i++) {
		append_command(r, "default", "ping");
		agent_gets(b, KIND_EXECUTE_COMMAND);
		agent_done_gets(b, KIND_NO_ACTION);
	}
	append_change(r, "default", "showing", "new");
	assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_HEAD);
	for (int kills = 0; kills < 2; kills++) {
		rig_restart(r);
		assert_int_equal(agent_info(r, a).pointer_at, ELEMENT_HEAD);
		assert_int_not_equal(agent_info(r, b).pointer_at, ELEMENT_HEAD);
		check(r, "default");
	}
	agent_gets(a, KIND_NO_ACTION); // of another boot
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report_holdings(r, a);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_string_equal(a->got.body->retrieve->changes[0].value, "new");
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(
		core_skipped(r->core, "f1", NULL, 0, 20, &r->arena, &skipped, &count), ERR_OK);
	assert_int_equal(count, 6);
	// Control: the one that kept up is told the last one alone, and passed over nothing.
	agent_gets(b, KIND_NO_ACTION);
	agent_gets(b, KIND_RETRIEVE_INFORMATION);
	agent_done_gets(b, KIND_NO_ACTION);
	assert_int_equal(
		core_skipped(r->core, "f2", NULL, 0, 20, &r->arena, &skipped, &count), ERR_OK);
	assert_int_equal(count, 0);
	check(r, "default");
}

// ---- several channels

static void the_heaviest_channel_is_served_first_and_its_values_count(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_change(r, "urgent", "skip", "u1");
	put_in(r, "f1", "default", "urgent");
	assert_int_equal(core_channel_set_weight(r->core, "urgent", 500), ERR_OK);
	assert_int_equal(core_channel_set_weight(r->core, "urgent", 1001), ERR_RANGE);
	turn(r);
	agent_catch_up(r, a);
	assert_int_equal(agent_info(r, a).place_count, 2);
	append_command(r, "default", "light");
	append_command(r, "urgent", "heavy");
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "heavy");
	assert_string_equal(a->got.body->channel, "urgent");
	agent_done_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "light");
	agent_done_gets(a, KIND_NO_ACTION);
	// The lighter one says something of a key that the heavier sets, and of one that it does
	// not.
	append_change(r, "default", "skip", "d1");
	agent_gets(a, KIND_NO_ACTION);
	append_change(r, "default", "orientation", "portrait");
	agent_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_string_equal(a->got.body->retrieve->changes[0].key, "orientation");
	agent_done_gets(a, KIND_NO_ACTION);
	check(r, "default");
	check(r, "urgent");
}

static void leaving_a_channel_brings_the_other_ones_values_back(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct digest day = rig_add_package(r, "show", "day", PACKAGE_IMAGES);
	struct digest alarm = rig_add_package(r, "show", "alarm", PACKAGE_IMAGES);

	append_display(r, "default", &day);
	append_display(r, "urgent", &alarm);
	append_change(r, "default", "showing", "d");
	append_change(r, "urgent", "showing", "u");
	assert_int_equal(core_channel_set_weight(r->core, "urgent", 500), ERR_OK);
	agent_catch_up(r, a);
	put_in(r, "f1", "default", "urgent");
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report_holdings(r, a);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_int_equal(a->got.body->retrieve->package_count, 1);
	assert_true(digest_equal(&a->got.body->retrieve->packages[0].package, &alarm));
	assert_true(a->got.body->retrieve->packages[0].activate);
	assert_string_equal(a->got.body->retrieve->changes[0].value, "u");
	agent_hold(a, &alarm);
	a->showing = alarm;
	agent_done_gets(a, KIND_NO_ACTION);
	// Over a restart it is in both, and where it was.
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(agent_info(r, a).place_count, 2);
	assert_int_equal(agent_info(r, a).places[1].pointer_at, ELEMENT_TAIL);
	put_in(r, "f1", "default", NULL);
	assert_int_equal(agent_info(r, a).place_count, 1);
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report_holdings(r, a);
	agent_done_gets(a, KIND_RETRIEVE_INFORMATION);
	assert_true(digest_equal(&a->got.body->retrieve->packages[0].package, &day));
	assert_string_equal(a->got.body->retrieve->changes[0].value, "d");
	// Control: what the left channel says now is not for it.
	append_command(r, "urgent", "not-for-f1");
	agent_hold(a, &day);
	a->showing = day;
	agent_done_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_NO_ACTION);
	check(r, "default");
	check(r, "urgent");
	assert_int_equal(channel(r, "urgent").clients, 0);
}

static void a_paused_channel_does_not_hold_another(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	append_change(r, "urgent", "skip", "x");
	put_in(r, "f1", "default", "urgent");
	agent_catch_up(r, a);
	control(r, "default", CONTROL_PAUSE, 0);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_true(a->got.hold);
	append_command(r, "default", "held");
	append_command(r, "urgent", "goes");
	agent_done_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "goes");
	assert_false(a->got.hold); // its channel is not paused
	agent_done_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_HOLD);
	control(r, "default", CONTROL_RESUME, 0);
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_string_equal(a->got.body->execute->verb, "held");
}

static void channels_are_refused_that_cannot_be(void **state)
{
	struct rig *r = *state;
	const char *twice[2] = {"a", "a"}, *many[9] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};

	rig_settled(r, "f1");
	assert_int_equal(core_client_set_channels(r->core, "f1", twice, 2), ERR_RANGE);
	assert_int_equal(core_client_set_channels(r->core, "f1", many, 9), ERR_RANGE);
	assert_int_equal(core_client_set_channels(r->core, "f1", many, 0), ERR_RANGE);
	assert_int_equal(core_client_set_channels(r->core, "nobody", many, 1), ERR_NOT_FOUND);
	assert_int_equal(core_client_set_channels(r->core, "f1", many, 8), ERR_OK);
	turn(r);
	rig_restart(r);
	struct client_info info;
	assert_int_equal(core_client_find(r->core, "f1", &info), ERR_OK);
	assert_int_equal(info.place_count, 8);
	assert_string_equal(info.places[7].channel, "h");
	assert_int_equal(core_principal_remove(r->core, "f1"), ERR_OK);
	turn(r);
	check(r, "a");
	assert_int_equal(channel(r, "h").clients, 0);
}

static void a_private_queue_is_there_only_while_it_is_used(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct queue_view view;

	assert_int_equal(core_queue_view(r->core, "@f1", &r->arena, &view), ERR_NOT_FOUND);
	append_command(r, "@f1", "ping");
	assert_int_equal(core_queue_view(r->core, "@f1", &r->arena, &view), ERR_OK);
	assert_int_equal(view.element_total, 1);
	uint64_t seq = view.elements[1].seq;
	agent_gets(a, KIND_EXECUTE_COMMAND);
	assert_int_equal(core_queue_view(r->core, "@f1", &r->arena, &view), ERR_NOT_FOUND);
	agent_done_gets(a, KIND_NO_ACTION);
	// Numbers go on; a restart does not bring it back.
	rig_restart(r);
	assert_int_equal(core_queue_view(r->core, "@f1", &r->arena, &view), ERR_NOT_FOUND);
	append_command(r, "@f1", "pong");
	assert_int_equal(core_queue_view(r->core, "@f1", &r->arena, &view), ERR_OK);
	assert_int_equal(view.elements[1].seq, seq + 1);
}

// What an operator wrote stands in a view, at most so much of it.
static void C11_a_queue_is_told_wherever_its_texts_are_cut(void **state)
{
	struct rig *r = *state;
	SCOPED_BUF struct buf out;
	struct queue_view view;

	buf_init(&out, LIMIT_VIEW);
	(void)rig_settled(r, "f1");
	for (size_t before = 0; before < 4; before++) {
		char text[240] = "aaa";
		text[before] = '\0';
		for (size_t at = before; at < sizeof(text) - 4; at += 4)
			memcpy(text + at, "\U0001f600", 5);
		const char *args[] = {text};
		struct execute_command command = {
			.verb = "say", .timeout_ms = 1000, .args = args, .arg_count = 1};
		const struct event said = {
			.type = ELEMENT_COMMAND, .command = &command, .author = "alice.1"};
		assert_int_equal(core_append_event(r->core, "@f1", &said, NULL, NULL), ERR_OK);
		turn(r);
		assert_int_equal(core_queue_view(r->core, "@f1", &r->arena, &view), ERR_OK);
		if (queue_view_encode(&view, &out) != ERR_OK)
			fail_msg("%s", err_text());
		buf_clear(&out);
	}
}

// ---- a random history, with kills

#define READERS 3
#define KEYS 3

static const char *const key_names[KEYS] = {"showing", "skip", "orientation"};

struct reader {
	struct agent *agent;
	char values[KEYS][8];
	uint32_t commands[64]; // how often each was executed
};

struct history {
	struct rig *rig;
	struct reader readers[READERS];
	char truth[KEYS][8];
	uint32_t commands;
	uint64_t seed;
};

static uint32_t dice(struct history *h, uint32_t sides)
{
	h->seed = h->seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(h->seed >> 33) % sides;
}

static void reader_obey(struct reader *p, uint64_t done_before)
{
	struct agent *a = p->agent;
	const struct response_body *b = a->got.body;

	if (b->kind == KIND_NO_ACTION || b->op_id == done_before)
		return; // a resend of what it has
	if (b->retrieve)
		for (size_t i = 0; i < b->retrieve->change_count; i++)
			for (size_t k = 0; k < KEYS; k++)
				if (strcmp(key_names[k], b->retrieve->changes[i].key) == 0)
					(void)str_copy(p->values[k], sizeof(p->values[k]),
						b->retrieve->changes[i].value);
	if (b->execute && strcmp(b->execute->verb, "count") == 0)
		p->commands[strtoul(b->execute->args[0], NULL, 10) % 64]++;
}

// A beat; the answer may be lost on the way.
static void reader_beat(struct history *h, struct reader *p)
{
	struct agent *a = p->agent;
	struct rig *r = h->rig;

	if (a->op.op_id && a->op.status == OP_ACCEPTED) {
		if (a->kind == KIND_SEND_INFORMATION)
			agent_report_holdings(r, a);
		a->op.status = OP_DONE;
	}
	a->holdings.full = a->op.op_id && a->kind == KIND_EXECUTE_COMMAND;
	uint64_t before = a->op.op_id;
	if (agent_step(a))
		reader_obey(p, before);
	arena_reset(&r->arena);
}

static void history_event(struct history *h)
{
	char value[8];
	struct consolidated *runs;
	size_t count, key = dice(h, KEYS);
	uint32_t what = dice(h, 10);

	(void)snprintf(value, sizeof(value), "%u", dice(h, 1000));
	if (what < 6) {
		append_change(h->rig, "default", key_names[key], value);
		(void)str_copy(h->truth[key], sizeof(h->truth[key]), value);
	} else if (what < 8 && h->commands < 64) {
		char number[8];
		(void)snprintf(number, sizeof(number), "%u", h->commands++);
		const char *args[1] = {number};
		struct execute_command command = {
			.verb = "count", .args = args, .arg_count = 1, .timeout_ms = 1000};
		const struct event e = {
			.type = ELEMENT_COMMAND, .command = &command, .author = "alice.1"};
		assert_int_equal(
			core_append_event(h->rig->core, "default", &e, NULL, NULL), ERR_OK);
		turn(h->rig);
	} else if (what == 8) {
		assert_int_equal(core_channel_consolidate(
					 h->rig->core, "default", &h->rig->arena, &runs, &count),
			ERR_OK);
		turn(h->rig);
	} else {
		control(h->rig, "default", dice(h, 2) ? CONTROL_PAUSE : CONTROL_RESUME, 0);
	}
}

// Killed with a turn that was not committed; with one that was, before it was published; or just
// so.
static void history_kill(struct history *h)
{
	struct rig *r = h->rig;
	struct reader *p = &h->readers[dice(h, READERS)];
	struct topic topic = topic_hb(p->agent->id);

	switch (dice(h, 3)) {
	case 0:
		agent_beat_bytes(p->agent, &p->agent->last);
		core_message(r->core, NULL, topic.s, strlen(topic.s), buf_bytes(&p->agent->last),
			false, r->now);
		break;
	case 1:
		r->deaf = true;
		reader_beat(h, p);
		break;
	default:
		break;
	}
	rig_restart(r);
}

static void S004_9_kills_at_every_kind_of_moment_lose_and_repeat_nothing(void **state)
{
	struct history h = {.rig = *state, .seed = 20260923};
	static const char *const ids[READERS] = {"f1", "f2", "f3"};
	uint32_t kills = 0;

	for (size_t i = 0; i < READERS; i++)
		h.readers[i].agent = rig_settled(h.rig, ids[i]);
	for (int step = 0; step < 500; step++) {
		uint32_t what = dice(&h, 100);
		h.rig->ended_count = 0;
		if (what < 25)
			history_event(&h);
		else if (what < 37)
			history_kill(&h), kills++;
		else
			reader_beat(&h, &h.readers[dice(&h, READERS)]);
		check(h.rig, "default");
	}
	assert_true(kills > 40 && h.commands > 10);
	control(h.rig, "default", CONTROL_RESUME, 0);
	for (size_t i = 0; i < READERS; i++) {
		struct reader *p = &h.readers[i];
		for (int n = 0; n < 400; n++) {
			h.rig->ended_count = 0;
			reader_beat(&h, p);
			struct client_info info = agent_info(h.rig, p->agent);
			if (info.pointer_at == ELEMENT_TAIL && !info.has_operation)
				break;
		}
		assert_memory_equal(p->values, h.truth, sizeof(h.truth));
		for (uint32_t c = 0; c < h.commands; c++)
			assert_int_equal(p->commands[c], 1);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	log_init("test_core_channels", LOG_ERROR);
	const struct CMUnitTest tests[] = {
		T(S004_3_a_restored_store_opens_an_epoch_that_each_client_is_told_once),
		T(S004_3_pause_resume_rate_and_close_are_told_in_their_order),
		T(S004_3_a_client_that_names_a_control_event_creates_none),
		T(S004_6_only_an_available_client_is_given_an_event),
		T(S004_11_one_consolidated_response_equals_the_separate_ones),
		T(S004_15_the_queue_stays_below_high_water_by_itself),
		T(S004_18_what_a_detached_client_was_never_told_is_recorded),
		T(S004_18_killed_before_the_detached_client_comes_nothing_of_it_is_lost),
		T(the_heaviest_channel_is_served_first_and_its_values_count),
		T(leaving_a_channel_brings_the_other_ones_values_back),
		T(a_paused_channel_does_not_hold_another),
		T(channels_are_refused_that_cannot_be),
		T(a_private_queue_is_there_only_while_it_is_used),
		T(C11_a_queue_is_told_wherever_its_texts_are_cut),
		T(S004_9_kills_at_every_kind_of_moment_lose_and_repeat_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
