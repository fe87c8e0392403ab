// Commands at the device: what control changes, how a cancel ends, what is fetched and run once,
// the rotation of the identity key over power cuts, when a reboot is done, and one program as a
// process.
#include "client/process.h"
#include "client/reboot.h"
#include "client/settings.h"
#include "proto/envelope.h"
#include "proto/rotation.h"
#include "tests/unit/agent_helper.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

// ---- control

static void control_send(struct world *w, const char *word, bool hold, uint64_t rate)
{
	struct world_answer *x = world_answer_execute(w, "control", word);
	x->r.hold = hold;
	x->r.rate_bytes_per_s = rate;
	x->r.epoch = 3;
	world_answer_send(w);
}

static void a_control_event_is_answered_and_the_response_decides(void **state)
{
	struct world *w = *state;
	control_send(w, "pause", true, 0);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_string_equal(w->core.state.op.detail, "pause: hold=1 rate=0 epoch=3");
	assert_true(w->pace_hold);
	world_run(w, 1000);
	control_send(w, "rate", false, 5000);
	assert_int_equal(w->pace_rate, 5000);
	// A pause reached late, after a resume: the response says hold no more.
	world_run(w, 1000);
	control_send(w, "pause", false, 5000);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_false(w->pace_hold);
	assert_int_equal(w->commands, 0);
	world_run(w, 1000);
	control_send(w, "explode", false, 0);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
}

// ---- cancel

static bool program_lingers;

static bool lingers(void *ctx, uint64_t op_id)
{
	(void)ctx;
	(void)op_id;
	return program_lingers;
}

static uint64_t cancel_of_a_running_command(struct world *w, struct agent_port *port, bool linger)
{
	char text[32];
	*port = world_port;
	port->command_ends = lingers;
	w->core.port = port;
	program_lingers = linger;
	world_execute(w, "backup", NULL);
	uint64_t op = w->command_op;
	world_run(w, 1000);
	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)op);
	world_execute(w, "cancel", text);
	assert_int_equal(w->command_stops, 1);
	return op;
}

static void a_cancel_is_done_when_the_program_is_gone(void **state)
{
	struct world *w = *state;
	struct agent_port port;
	uint64_t op = cancel_of_a_running_command(w, &port, true);
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
	world_run(w, 1000);
	agent_command_stopped(&w->core, w->now, op + 5); // of another one
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
	agent_command_stopped(&w->core, w->now, op);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_non_null(strstr(w->core.state.op.detail, "was given up"));
}

static void a_cancel_of_what_is_gone_already_is_done_at_once(void **state)
{
	struct agent_port port;
	struct world *w = *state;
	(void)cancel_of_a_running_command(w, &port, false);
	assert_int_equal(w->core.state.op.status, OP_DONE);
}

static void progress_is_told_and_100_is_said_by_done_alone(void **state)
{
	struct world *w = *state;
	world_execute(w, "backup", NULL);
	agent_command_progress(&w->core, w->command_op, 40, "copying");
	struct heartbeat h = world_next_beat(w);
	assert_int_equal(h.op->percent, 40);
	assert_string_equal(h.op->detail, "copying");
	agent_command_progress(&w->core, w->command_op, 100, NULL);
	world_no_action(w);
	assert_int_equal(world_next_beat(w).op->percent, 99);
	agent_command_progress(&w->core, w->command_op + 1, 5, NULL);
	struct command_result r = {.status = OP_DONE, .detail = "rc=0"};
	agent_command_done(&w->core, w->now, w->command_op, &r);
	world_no_action(w);
	assert_int_equal(world_next_beat(w).op->percent, 100);
}

// ---- by reference

static void reference_send(struct world *w)
{
	struct command_ref ref = {.publisher = "pub", .sha256 = sha256("x", 1)};
	struct retrieve_information r = {.command = &ref};
	world_answer_retrieve(w, &r);
	world_answer_send(w);
}

static void reference_come(struct world *w, struct sign_key *key, const char *client)
{
	SCOPED_BUF struct buf payload;
	SCOPED_BUF struct buf envelope;
	struct execute_command e = {.verb = "backup"};
	struct signed_command c = {.client_id = client, .command = &e};
	buf_init(&payload, LIMIT_ENVELOPE);
	buf_init(&envelope, LIMIT_ENVELOPE);
	assert_int_equal(signed_command_encode(&c, &payload), ERR_OK);
	assert_int_equal(
		envelope_make(PURPOSE_COMMAND, buf_bytes(&payload), &key, 1, &envelope), ERR_OK);
	agent_command_fetched(
		&w->core, w->now, w->core.state.op.op_id, ERR_OK, buf_bytes(&envelope));
}

static void a_command_by_reference_runs_once_and_is_never_begun_again(void **state)
{
	struct world *w = *state;
	reference_send(w);
	assert_int_equal(w->command_fetches, 1);
	reference_come(w, w->online_key, WORLD_ID);
	assert_int_equal(w->commands, 1);
	uint64_t op = w->core.state.op.op_id;
	// The same response again, and after a power cut: the operation is known.
	world_run(w, 1000);
	w->response_id--;
	reference_send(w);
	world_power_cut(w);
	assert_int_equal(w->core.state.op.status, OP_UNKNOWN);
	world_sign_in(w);
	w->response_id--;
	reference_send(w);
	assert_int_equal(w->core.state.op.op_id, op);
	// Under another response id, as no honest server does.
	world_run(w, 1000);
	world_execute(w, "ping", NULL);
	world_run(w, 1000);
	struct command_ref ref = {.publisher = "pub", .sha256 = sha256("x", 1)};
	struct retrieve_information r = {.command = &ref};
	world_answer_retrieve(w, &r)->b.op_id = op;
	world_answer_send(w);
	assert_int_equal(w->core.state.op.status, OP_UNKNOWN);
	assert_int_equal(w->command_fetches, 1);
	assert_int_equal(w->commands, 1);
}

static void a_command_that_was_not_begun_is_fetched_again_after_a_power_cut(void **state)
{
	struct world *w = *state;
	reference_send(w);
	world_power_cut(w);
	world_sign_in(w);
	assert_int_equal(w->command_fetches, 2);
	assert_int_equal(w->commands, 0);
}

static void a_command_of_a_wrong_signature_or_for_another_client_does_not_run(void **state)
{
	struct world *w = *state;
	reference_send(w);
	reference_come(w, w->client_key, WORLD_ID); // no release key
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	world_run(w, 1000);
	reference_send(w);
	reference_come(w, w->online_key, "f2");
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_int_equal(w->commands, 0);
	world_run(w, 1000); // control: any client's runs
	reference_send(w);
	reference_come(w, w->online_key, "");
	assert_int_equal(w->commands, 1);
}

// ---- rotation

// The device's two keys, and the one the server believes.
static struct {
	struct sign_key *old_key, *next;
	struct key32 old_public, next_public;
	bool next_on_disk, commit_fails, cut_after_next;
	unsigned commits;
	struct agent_port port;
} ring;

static enum err ring_next(void *ctx, const struct sign_key **next)
{
	struct world *w = ctx;
	w->save_fails = ring.cut_after_next;
	ring.next_on_disk = true;
	*next = ring.next;
	return ERR_OK;
}

static enum err ring_commit(void *ctx)
{
	struct world *w = ctx;
	if (ring.commit_fails)
		return err_set(ERR_IO, "the test's disk");
	ring.commits++;
	ring.next_on_disk = false;
	w->config.key = ring.next;
	w->config.next_key = NULL;
	w->client_key = ring.next;
	return ERR_OK;
}

static void ring_power_cut(struct world *w)
{
	w->config.next_key = ring.next_on_disk ? ring.next : NULL;
	world_power_cut(w);
	w->core.port = &ring.port;
	agent_link_up(&w->core, w->now);
}

static int ring_setup(void **state)
{
	(void)world_setup_in_session(state);
	struct world *w = *state;
	struct key32 secret;
	sign_key_generate(&secret);
	memset(&ring, 0, sizeof ring);
	assert_int_equal(sign_key_load(&secret, &ring.next), ERR_OK);
	ring.old_key = w->client_key;
	ring.old_public = *sign_key_public(ring.old_key);
	ring.next_public = *sign_key_public(ring.next);
	ring.port = world_port;
	ring.port.key_next = ring_next;
	ring.port.key_commit = ring_commit;
	w->core.port = &ring.port;
	return 0;
}

static int ring_teardown(void **state)
{
	struct world *w = *state;
	w->client_key = ring.old_key;
	world_free(w);
	sign_key_free(ring.next);
	return 0;
}

// The last sign-in, as the server's gate sees it: which key sealed it, and does it rotate?
static struct sign_in sign_in_of(struct world *w, const struct key32 *sealed_by)
{
	struct heartbeat h;
	const struct world_sent *s = world_last(w, TOPIC_HB);
	arena_reset(&w->arena);
	assert_int_equal(heartbeat_decode(&w->arena, world_bytes(s), &h), ERR_OK);
	assert_int_equal(h.session_id, 0);
	assert_int_equal(seal_check_signature(world_bytes(s), s->topic, sealed_by), ERR_OK);
	return *h.sign_in;
}

static void offer_names_next(struct session_offer *o)
{
	o->identity_key_id = key_id(&ring.next_public);
}
static void offer_names_old(struct session_offer *o)
{
	o->identity_key_id = key_id(&ring.old_public);
}

static void a_rotation_is_one_sign_in_that_both_keys_signed(void **state)
{
	struct world *w = *state;
	world_execute(w, "rotate-key", NULL);
	assert_true(ring.next_on_disk);
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
	agent_tick(&w->core, w->now);
	struct sign_in in = sign_in_of(w, &ring.old_public);
	assert_memory_equal(&in.next_key, &ring.next_public, 32);
	assert_int_equal(rotation_check(WORLD_ID, &in), ERR_OK);
	assert_int_equal(rotation_check("f2", &in), ERR_AUTH);
	struct sign_in bent = in;
	bent.nonce.b[0] ^= 1;
	assert_int_equal(rotation_check(WORLD_ID, &bent), ERR_AUTH);
	world_offer(w, offer_names_next);
	assert_int_equal(ring.commits, 0); // the offer alone changes nothing
	world_no_action(w);
	assert_int_equal(ring.commits, 1);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	assert_ptr_equal(w->core.key, ring.next);
	assert_null(w->core.next_key);
}

// Cut after each step. The server has the key it has; what matters is that it can be signed in to.
static void a_power_cut_at_any_step_leaves_a_device_that_signs_in(void **state)
{
	struct world *w = *state;
	for (int step = 0; step < 3; step++) {
		bool server_has_next = step == 2;
		world_execute(w, "rotate-key", NULL);
		if (step >= 1)
			agent_tick(&w->core, w->now);
		if (step >= 2)
			world_offer(w, offer_names_next); // and the first beat reached the server
		ring_power_cut(w);
		// The first sign-in is signed by both, which a server that rotated refuses.
		struct sign_in in = sign_in_of(w, &ring.old_public);
		assert_memory_equal(&in.next_key, &ring.next_public, 32);
		if (server_has_next) {
			size_t before = world_count(w, TOPIC_HB);
			while (world_count(w, TOPIC_HB) == before)
				world_run(w, 500);
			in = sign_in_of(w, &ring.next_public);
			assert_memory_equal(&in.public_key, &ring.next_public, 32);
			assert_false(sign_in_rotates(&in));
			w->client_key = ring.next;
		}
		world_offer(w, offer_names_next);
		world_no_action(w);
		assert_int_equal(ring.commits, 1);
		assert_int_equal(w->core.state.op.status, OP_DONE);
		// Again from the start.
		world_run(w, 1000);
		ring.commits = 0;
		w->config.key = w->client_key = ring.old_key;
		ring_power_cut(w);
		world_offer(w, NULL);
		world_no_action(w);
		world_run(w, 1000);
	}
}

static void a_cut_after_the_key_was_named_still_ends_done(void **state)
{
	struct world *w = *state;
	world_execute(w, "rotate-key", NULL);
	agent_tick(&w->core, w->now);
	world_offer(w, offer_names_next);
	w->save_fails = true; // the outcome does not reach the disk, the key did
	world_no_action(w);
	assert_int_equal(ring.commits, 1);
	w->save_fails = false;
	ring_power_cut(w);
	assert_int_equal(w->core.state.op.status, OP_DONE);
	(void)sign_in_of(w, &ring.next_public);
}

static void a_cut_right_after_the_next_key_was_written_still_ends_done(void **state)
{
	struct world *w = *state;
	ring.cut_after_next = true;
	world_execute(w, "rotate-key", NULL);
	w->save_fails = false;
	ring_power_cut(w);
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
	world_offer(w, offer_names_next);
	world_no_action(w);
	assert_int_equal(ring.commits, 1);
	assert_int_equal(w->core.state.op.status, OP_DONE);
}

static void a_key_that_cannot_be_named_is_named_at_the_next_answer(void **state)
{
	struct world *w = *state;
	world_execute(w, "rotate-key", NULL);
	agent_tick(&w->core, w->now);
	ring.commit_fails = true;
	world_offer(w, offer_names_next);
	world_no_action(w);
	assert_int_equal(w->core.state.op.status, OP_RUNNING);
	ring.commit_fails = false;
	world_run(w, 1000);
	world_no_action(w);
	assert_int_equal(w->core.state.op.status, OP_DONE);
}

static void a_server_that_does_not_rotate_leaves_the_key_as_it_is(void **state)
{
	struct world *w = *state;
	world_execute(w, "rotate-key", NULL);
	agent_tick(&w->core, w->now);
	world_offer(w, offer_names_old);
	assert_int_equal(w->core.state.op.status, OP_FAILED);
	assert_ptr_equal(w->core.key, ring.old_key);
	assert_int_equal(ring.commits, 0);
	world_run(w, 1000);
	world_no_action(w); // the session goes on
	assert_true(w->core.any_response);
}

static void without_a_place_for_keys_a_rotation_is_refused(void **state)
{
	struct world *w = *state;
	world_execute(w, "rotate-key", NULL);
	assert_int_equal(w->core.state.op.status, OP_REFUSED);
}

// ---- reboot

static void a_reboot_waits_for_who_defers_it_but_not_for_ever(void **state)
{
	const struct reboot_limits limits = {.defer_max_ms = 1000, .wait_max_ms = 500};
	const struct id16 a = {{1}}, b = {{2}};
	struct {
		bool ordered, deferred;
		int64_t mono_ms;
		struct id16 boot_id;
		enum reboot_step step;
	} cases[] = {
		{false, false, 100, a, REBOOT_ORDER},
		{false, true, 100, a, REBOOT_WAIT},
		{false, true, 1099, a, REBOOT_WAIT},
		{false, true, 1100, a, REBOOT_ORDER},
		{false, true, 5, b, REBOOT_HAPPENED}, // somebody else did it
		{true, true, 2000, a, REBOOT_WAIT},   // an order is an order
		{true, false, 2500, a, REBOOT_WAIT},
		{true, false, 2501, a, REBOOT_MISSED},
		{true, false, 5, b, REBOOT_HAPPENED},
		{true, false, 9999, b, REBOOT_HAPPENED},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct reboot_record r = {.op_id = 1,
			.boot_id = a,
			.ordered = cases[i].ordered,
			.begun_ms = 100,
			.ordered_ms = 2000};
		struct reboot_look look = {.boot_id = cases[i].boot_id,
			.mono_ms = cases[i].mono_ms,
			.deferred = cases[i].deferred};
		assert_int_equal(reboot_decide(&r, &limits, &look), cases[i].step);
	}
	struct reboot_record r = {.begun_ms = 100};
	assert_int_equal(reboot_percent(&r, &limits, 100), 0);
	assert_int_equal(reboot_percent(&r, &limits, 600), 49);
	assert_int_equal(reboot_percent(&r, &limits, 9000), 99);
}

static void a_reboot_on_disk_is_left_to_its_witness_after_a_start(void **state)
{
	struct world *w = *state;
	world_execute(w, "reboot", NULL);
	assert_int_equal(w->commands, 1);
	uint64_t op = w->command_op;
	w->core.state.reboot = (struct reboot_record){
		.op_id = op, .boot_id = {{9}}, .ordered = true, .begun_ms = 5, .ordered_ms = 7};
	assert_int_equal(agent_state_save(&w->core), ERR_OK);
	world_power_cut(w);
	assert_int_equal(w->core.state.reboot.op_id, op);
	assert_int_equal(w->core.state.reboot.boot_id.b[0], 9);
	assert_true(w->core.state.reboot.ordered);
	assert_int_equal(w->core.state.reboot.ordered_ms, 7);
	assert_false(op_status_is_final(w->core.state.op.status));
	struct command_result r = {.status = OP_DONE, .detail = "rebooted"};
	agent_command_done(&w->core, w->now, op, &r);
	world_sign_in(w);
	assert_int_equal(world_beat(w).op->status, OP_DONE);
	assert_int_equal(w->commands, 1); // not begun again
}

static void a_reboot_of_which_nothing_is_on_disk_was_interrupted(void **state)
{
	struct world *w = *state;
	world_execute(w, "reboot", NULL);
	world_power_cut(w);
	assert_int_equal(w->core.state.op.status, OP_FAILED);
}

// ---- a program

static struct {
	bool ended;
	struct process_end end;
	uint8_t tail[1024];
	uint32_t percents[16];
	size_t percent_count;
} seen;

static void seen_done(void *ctx, const struct process_end *end)
{
	(void)ctx;
	seen.ended = true;
	seen.end = *end;
	if (end->tail.size > 0)
		memcpy(seen.tail, end->tail.data, end->tail.size);
}

static void seen_percent(void *ctx, uint32_t percent)
{
	(void)ctx;
	assert_true(seen.percent_count < 16);
	seen.percents[seen.percent_count++] = percent;
}

static struct process *program(uv_loop_t *loop, const char *const *argv, uint32_t timeout_ms)
{
	struct process_order order = {
		.argv = argv, .cwd = "/", .timeout_ms = timeout_ms, .tail_max = 16};
	struct process_events events = {.done = seen_done, .percent = seen_percent};
	struct process *p = NULL;
	memset(&seen, 0, sizeof seen);
	assert_int_equal(uv_loop_init(loop), 0);
	assert_int_equal(process_start(loop, &order, &events, NULL, &p), ERR_OK);
	return p;
}

static void program_end(uv_loop_t *loop)
{
	uv_run(loop, UV_RUN_DEFAULT);
	assert_true(seen.ended);
	assert_int_equal(uv_loop_close(loop), 0);
}

static void lines_that_say_how_far_it_is_are_no_output(void **state)
{
	static const char text[] =
		"begin\nPERCENT 5\nPERCENT\nPERCENT 101\nPERCENT 1000\nPERC\n"
		"PERCENT x\n PERCENT 7\nPERCENT 60\nPERCENT 100\nend PERCENT 3\nPERC";
	static const char rest[] = "begin\nPERCENT\nPERCENT 101\nPERCENT 1000\nPERC\n"
				   "PERCENT x\n PERCENT 7\nend PERCENT 3\nPERC";
	const char *argv[] = {"/usr/bin/printf", "%s", text, NULL};
	uv_loop_t loop;
	(void)state;
	(void)program(&loop, argv, 60000);
	program_end(&loop);
	assert_int_equal(seen.end.exit_code, 0);
	assert_int_equal(seen.percent_count, 3);
	assert_int_equal(seen.percents[0], 5);
	assert_int_equal(seen.percents[1], 60);
	assert_int_equal(seen.percents[2], 100);
	assert_int_equal(seen.end.output_bytes, sizeof rest - 1);
	struct digest sum = sha256(rest, sizeof rest - 1);
	assert_true(digest_equal(&sum, &seen.end.output_sha256));
	assert_int_equal(seen.end.tail.size, 16);
	assert_memory_equal(seen.tail, rest + sizeof rest - 1 - 16, 16);
}

static void the_tail_of_a_long_output_is_its_end(void **state)
{
	const char *argv[] = {"/usr/bin/seq", "200000", NULL};
	uv_loop_t loop;
	(void)state;
	(void)program(&loop, argv, 60000);
	program_end(&loop);
	assert_int_equal(seen.end.output_bytes, 1288895); // seq 200000 | wc -c
	assert_memory_equal(seen.tail + 1, "\n199999\n200000\n", 15);
}

static void a_program_that_takes_too_long_is_ended(void **state)
{
	const char *argv[] = {"/usr/bin/sleep", "60", NULL};
	uv_loop_t loop;
	(void)state;
	(void)program(&loop, argv, 100);
	program_end(&loop);
	assert_true(seen.end.timed_out);
	assert_int_equal(seen.end.signal, SIGTERM);
	assert_false(seen.end.stopped);
}

static void a_stopped_program_that_ignores_sigterm_is_killed(void **state)
{
	const char *argv[] = {
		"/bin/sh", "-c", "trap '' TERM; echo PERCENT 1; exec sleep 600", NULL};
	uv_loop_t loop;
	(void)state;
	struct process *p = program(&loop, argv, 300000);
	while (seen.percent_count == 0 && !seen.ended) // the signal is set aside
		uv_run(&loop, UV_RUN_ONCE);
	process_stop(p);
	uint64_t begin = uv_hrtime();
	program_end(&loop);
	assert_true(seen.end.stopped);
	assert_int_equal(seen.end.signal, SIGKILL);
	assert_true((uv_hrtime() - begin) / 1000000 >= PROCESS_GRACE_MS - 100);
}

static void a_line_of_a_program_is_words_and_never_a_shell(void **state)
{
	struct words w;
	(void)state;
	assert_int_equal(words_split(&w, "/bin/echo  $(id) ; `x`|y \t'a b'"), ERR_OK);
	const char *expected[] = {"/bin/echo", "$(id)", ";", "`x`|y", "'a", "b'"};
	assert_int_equal(w.argc, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(w.argv[i], expected[i]);
	assert_null(w.argv[6]);
	assert_int_equal(words_split(&w, ""), ERR_FORMAT);
	assert_int_equal(words_split(&w, "systemctl reboot"), ERR_FORMAT);
}

#define IN_SESSION(test)                                                                           \
	cmocka_unit_test_setup_teardown(test, world_setup_in_session, world_teardown)
#define WITH_KEYS(test) cmocka_unit_test_setup_teardown(test, ring_setup, ring_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SESSION(a_control_event_is_answered_and_the_response_decides),
		IN_SESSION(a_cancel_is_done_when_the_program_is_gone),
		IN_SESSION(a_cancel_of_what_is_gone_already_is_done_at_once),
		IN_SESSION(progress_is_told_and_100_is_said_by_done_alone),
		IN_SESSION(a_command_by_reference_runs_once_and_is_never_begun_again),
		IN_SESSION(a_command_that_was_not_begun_is_fetched_again_after_a_power_cut),
		IN_SESSION(a_command_of_a_wrong_signature_or_for_another_client_does_not_run),
		WITH_KEYS(a_rotation_is_one_sign_in_that_both_keys_signed),
		WITH_KEYS(a_power_cut_at_any_step_leaves_a_device_that_signs_in),
		WITH_KEYS(a_cut_after_the_key_was_named_still_ends_done),
		WITH_KEYS(a_cut_right_after_the_next_key_was_written_still_ends_done),
		WITH_KEYS(a_key_that_cannot_be_named_is_named_at_the_next_answer),
		WITH_KEYS(a_server_that_does_not_rotate_leaves_the_key_as_it_is),
		IN_SESSION(without_a_place_for_keys_a_rotation_is_refused),
		cmocka_unit_test(a_reboot_waits_for_who_defers_it_but_not_for_ever),
		IN_SESSION(a_reboot_on_disk_is_left_to_its_witness_after_a_start),
		IN_SESSION(a_reboot_of_which_nothing_is_on_disk_was_interrupted),
		cmocka_unit_test(lines_that_say_how_far_it_is_are_no_output),
		cmocka_unit_test(the_tail_of_a_long_output_is_its_end),
		cmocka_unit_test(a_program_that_takes_too_long_is_ended),
		cmocka_unit_test(a_stopped_program_that_ignores_sigterm_is_killed),
		cmocka_unit_test(a_line_of_a_program_is_words_and_never_a_shell),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
