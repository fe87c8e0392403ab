// One server of several: it answers the clients of its shards and is silent about the others; what
// a shard brings when it comes, and leaves when it goes. The other server is a second start on the
// same store, so each engine will do.
#include "core_rig.h"
#include "server/db/rows.h"
#include "server/db/rows_content.h"
#include "server/db/rows_letter.h"
#include "server/db/rows_shard.h"
#include "server/share.h"

static bool owned[SHARD_PLACES];
static uint64_t other_term, other_writes; // of the other server

static bool owns(void *ctx, unsigned place)
{
	(void)ctx;
	return owned[place];
}

static void own_all(bool yes)
{
	for (size_t i = 0; i < SHARD_PLACES; i++)
		owned[i] = yes;
}

// A rig that shares: alone at first.
static int setup_shared(void **state)
{
	struct rig *r = rig_new();

	*state = r;
	assert_int_equal(rows_server_term(r->db, "server.1", 5000, &r->term), ERR_OK);
	assert_int_equal(rows_server_term(r->db, "server.2", 5000, &other_term), ERR_OK);
	assert_int_equal(db_commit(r->db), ERR_OK);
	other_writes = 0;
	rig_kill(r);
	own_all(true);
	r->owns = owns;
	r->config.store_is_shared = true;
	rig_start(r);
	return 0;
}

static void shares(struct rig *r)
{
	core_turn_end(r->core, r->now);
	core_share_changed(r->core, r->now);
	core_turn_end(r->core, r->now);
}

static void letters_pass(struct rig *r)
{
	rig_advance(r, 300);
	core_share_tick(r->core, r->now);
	core_turn_end(r->core, r->now);
}

// The next beat, obeyed; 0: silence.
static enum response_kind says(struct agent *a)
{
	return agent_step(a);
}

static void who_is_anothers_is_not_answered_and_not_refused(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1"), *b = rig_settled(r, "f2");
	uint8_t shard = shard_byte("f1");

	assert_int_not_equal(shard, shard_byte("f2"));
	owned[shard] = false;
	shares(r);
	assert_int_equal(says(a), 0);
	assert_int_equal(says(b), KIND_NO_ACTION);
	assert_int_equal(rig_counter(r, "reject.session"), 0);
	assert_int_equal(rig_counter(r, "reject.unknown-client"), 0);
	assert_int_equal(rig_counter(r, "messages-of-others"), 1);
	owned[shard] = true;
	shares(r);
	assert_int_equal(says(a), KIND_NO_ACTION);
	assert_int_equal(a->got.body->reason->code, REASON_STALE_BOOT);
	assert_int_equal(says(a), KIND_NO_ACTION);
	assert_int_equal(rig_counter(r, "messages-of-others"), 1);
}

// What was recorded while its shard was here before is of an earlier boot.
static void a_recorded_beat_is_worth_nothing_when_the_shard_has_come_back(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct topic topic = topic_hb("f1");
	struct buf recorded;

	assert_int_equal(says(a), KIND_NO_ACTION);
	buf_init(&recorded, LIMIT_HEARTBEAT);
	assert_int_equal(buf_append(&recorded, a->last.data, a->last.size), ERR_OK);
	owned[shard_byte("f1")] = false;
	shares(r);
	owned[shard_byte("f1")] = true;
	shares(r);
	uint64_t beats = rig_counter(r, "heartbeats");
	rig_give(r, topic.s, buf_bytes(&recorded), false);
	assert_int_equal(rig_counter(r, "heartbeats"), beats);
	assert_int_equal(rig_counter(r, "reject.boot"), 1);
	buf_fini(&recorded);
}

// Ids rise and nobody takes the store for an older one.
static void a_client_that_comes_back_is_answered_under_a_higher_number(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct channel_info before, after;

	assert_int_equal(core_channel_find(r->core, "default", &before), ERR_OK);
	for (int i = 0; i < 3; i++) {
		uint64_t shown = a->last_response_id;
		owned[shard_byte("f1")] = false;
		shares(r);
		owned[shard_byte("f1")] = true;
		shares(r);
		assert_int_equal(says(a), KIND_NO_ACTION);
		assert_int_equal(says(a), KIND_NO_ACTION);
		assert_true(a->last_response_id >> 32 > shown >> 32);
	}
	assert_int_equal(agent_info(r, a).mismatches, 0);
	assert_int_equal(core_channel_find(r->core, "default", &after), ERR_OK);
	assert_int_equal(after.epoch, before.epoch);
	assert_int_equal(rig_counter(r, "stores-restored"), 0);
}

static size_t letters_waiting(struct rig *r)
{
	struct db_rows rows;
	size_t count = 0;

	assert_int_equal(
		db_query_values(r->db, &rows, "SELECT count(*) FROM letter", NULL, 0), ERR_OK);
	if (db_next(&rows))
		count = (size_t)db_int(&rows, 0);
	assert_int_equal(db_end(&rows), ERR_OK);
	return count;
}

// A server that starts anew, has this client's shard only, and does not lead.
static void owns_alone(struct rig *r, const char *client)
{
	own_all(false);
	owned[shard_byte(client)] = true;
	rig_restart(r);
}

// What an operator does to a client that another server answers waits for that one in the store.
static void an_act_upon_anothers_client_is_done_by_its_owner_once(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	uint64_t seq = 0, flow = 0;
	struct execute_command command = {.verb = "ping", .timeout_ms = 1000};
	const struct event e = {.type = ELEMENT_COMMAND, .command = &command, .author = "alice.1"};

	owned[shard_byte("f1")] = false;
	shares(r);
	size_t before = letters_waiting(r);
	assert_int_equal(core_append_event(r->core, "@f1", &e, &seq, &flow), ERR_OK);
	assert_int_equal(core_client_set_interval(r->core, "f1", 5000), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_int_equal(letters_waiting(r), before + 2);
	letters_pass(r); // not ours to obey
	assert_int_equal(letters_waiting(r), before + 2);
	// The owner, after a start of its own, and not the leader any more.
	owns_alone(r, "f1");
	letters_pass(r);
	assert_int_equal(letters_waiting(r), before);
	assert_int_equal(says(a), KIND_NO_ACTION); // the new boot
	assert_int_equal(says(a), KIND_EXECUTE_COMMAND);
	assert_int_equal(a->interval_ms, 5000);
	agent_done_gets(a, KIND_NO_ACTION);
	letters_pass(r);
	for (int i = 0; i < 3; i++)
		assert_int_equal(says(a), KIND_NO_ACTION);
}

// What the leader would write: an element from first_seq to seq with the body of element `like`.
static void leader_writes(struct rig *r, uint32_t first_seq, uint32_t seq, uint64_t like)
{
	struct channel_info channel;
	struct bytes body;

	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(rows_event_body(r->db, "default", like, &r->arena, &body), ERR_OK);
	assert_int_equal(rows_event_put(r->db, &(struct event_row){.queue = "default",
						       .text = "again",
						       .author = "alice.1",
						       .seq = seq,
						       .first_seq = first_seq,
						       .type = ELEMENT_REQUEST,
						       .body = body,
						       .flow_id = seq,
						       .at_ms = r->now.wall.ms}),
		ERR_OK);
	assert_int_equal(rows_queue_put(r->db, &(struct queue_row){.name = "default",
						       .epoch = channel.epoch,
						       .tail_seq = seq + 1,
						       .weight = channel.weight}),
		ERR_OK);
	assert_int_equal(rows_letter_put(r->db,
				 &(struct letter_row){.place = LETTER_TO_ALL,
					 .kind = LETTER_CHANNEL,
					 .client = "",
					 .text = "default"},
				 r->now.wall.ms),
		ERR_OK);
	assert_int_equal(db_commit(r->db), ERR_OK);
}

static uint64_t tail_of(struct rig *r)
{
	struct channel_info channel;

	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	return channel.tail_seq;
}

static void answers_request(struct rig *r, struct agent *a)
{
	assert_int_equal(says(a), KIND_SEND_INFORMATION);
	agent_report(r, a, INFO_DISPLAY, NULL);
	agent_done_gets(a, KIND_NO_ACTION);
}

static void who_does_not_lead_reads_channels_by_their_sequence(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	uint32_t seq = (uint32_t)tail_of(r);

	append_request(r, "default");
	answers_request(r, a);
	owns_alone(r, "f1");
	assert_int_equal(says(a), KIND_NO_ACTION); // the new boot
	assert_int_equal(says(a), KIND_NO_ACTION);
	leader_writes(r, seq + 1, seq + 1, seq);
	assert_int_equal(says(a), KIND_NO_ACTION); // not read yet
	letters_pass(r);
	answers_request(r, a);
	// One that spans more than one number is read with the whole channel; what was taken stays
	// so.
	leader_writes(r, seq + 2, seq + 4, seq);
	letters_pass(r);
	assert_int_equal(tail_of(r), seq + 5);
	answers_request(r, a);
	letters_pass(r);
	assert_int_equal(says(a), KIND_NO_ACTION);
	// Nobody but the leader appends.
	const struct event e = {.type = ELEMENT_REQUEST,
		.request = &(struct send_information){.what = INFO_DISPLAY}};
	assert_int_equal(core_append_event(r->core, "default", &e, NULL, NULL), ERR_NOT_NOW);
	assert_int_equal(tail_of(r), seq + 5);
}

// The other server wrote the client's row.
static void other_wrote(struct rig *r, const char *client)
{
	assert_int_equal(rows_change_put(r->db, client, other_term, ++other_writes), ERR_OK);
	assert_int_equal(db_commit(r->db), ERR_OK);
}

// Trimming waits for who stands elsewhere, by its row.
static void the_leader_keeps_what_anothers_client_waits_for(void **state)
{
	struct rig *r = *state;
	struct channel_info channel;

	(void)rig_settled(r, "f1");
	struct agent *b = rig_settled(r, "f2");
	owned[shard_byte("f1")] = false;
	shares(r);
	append_request(r, "default");
	answers_request(r, b);
	for (int i = 0; i < 400; i++) // rounds of looks, and more than the longest lag
		letters_pass(r);
	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(channel.elements, 1);
	assert_int_equal(channel.pointers, 2);
	// Its owner, so to speak, moves it on.
	assert_int_equal(
		db_run(r->db, "UPDATE client SET pointer = pointer + 1 WHERE id = $1", DB_T("f1")),
		ERR_OK);
	assert_int_equal(db_commit(r->db), ERR_OK);
	for (int i = 0; i < 400; i++)
		letters_pass(r);
	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(channel.elements, 1); // a row that nobody said to have written
	other_wrote(r, "f1");
	for (int i = 0; i < 30; i++)
		letters_pass(r);
	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(channel.elements, 0);
}

static void letter_lies(struct rig *r, unsigned place, enum letter kind, const char *client)
{
	assert_int_equal(rows_letter_put(r->db,
				 &(struct letter_row){.place = place,
					 .kind = kind,
					 .client = client,
					 .text = "",
					 .a = 7000},
				 r->now.wall.ms),
		ERR_OK);
}

// A server died: what it is told waits in the store until somebody takes its shards.
static void letters_that_nobody_takes_are_in_nobodys_way(void **state)
{
	struct rig *r = *state;

	(void)rig_settled(r, "f1");
	struct agent *b = rig_settled(r, "f2");
	owned[shard_byte("f1")] = false;
	shares(r);
	letters_pass(r);
	size_t before = letters_waiting(r);
	for (int i = 0; i < 600; i++)
		letter_lies(r, shard_byte("f1"), LETTER_INTERVAL, "f1");
	letter_lies(r, shard_byte("f2"), LETTER_INTERVAL, "f2");
	assert_int_equal(db_commit(r->db), ERR_OK);
	letters_pass(r);
	assert_int_equal(letters_waiting(r), before + 600);
	assert_int_equal(says(b), KIND_NO_ACTION);
	assert_int_equal(b->interval_ms, 7000);
	// Then they are taken at once, several batches in a row.
	owned[shard_byte("f1")] = true;
	shares(r);
	letters_pass(r);
	assert_int_equal(letters_waiting(r), before);
}

// What the owner of a client did when the leader had told it the client's channels.
static void the_leader_hears_that_anothers_client_left_a_channel(void **state)
{
	static const char *const both[] = {"default", "lobby"};
	struct rig *r = *state;
	struct channel_info channel;

	(void)rig_settled(r, "f1");
	assert_int_equal(core_client_set_channels(r->core, "f1", both, 2), ERR_OK);
	core_turn_end(r->core, r->now);
	owned[shard_byte("f1")] = false;
	shares(r);
	letters_pass(r);
	assert_int_equal(core_channel_find(r->core, "lobby", &channel), ERR_OK);
	assert_int_equal(channel.clients, 1);
	assert_int_equal(rows_membership_clear(r->db, "f1"), ERR_OK);
	assert_int_equal(db_commit(r->db), ERR_OK);
	letters_pass(r); // nobody said anything
	assert_int_equal(core_channel_find(r->core, "lobby", &channel), ERR_OK);
	assert_int_equal(channel.clients, 1);
	other_wrote(r, "f1");
	letters_pass(r);
	assert_int_equal(core_channel_find(r->core, "lobby", &channel), ERR_OK);
	assert_int_equal(channel.clients, 0);
	assert_int_equal(channel.pointers, 0);
	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(channel.clients, 1);
	// And its owner says so, when it takes the letter of the leader.
	assert_int_equal(core_client_set_channels(r->core, "f1", both, 2), ERR_OK);
	core_turn_end(r->core, r->now);
	owns_alone(r, "f1");
	uint64_t wrote = 0, writes = 0;
	assert_int_equal(rows_change_last(r->db, r->term, &wrote), ERR_OK);
	letters_pass(r);
	assert_int_equal(rows_change_last(r->db, r->term, &writes), ERR_OK);
	assert_true(writes > wrote);
}

static enum err client_note(void *ctx, const struct client_row *row)
{
	(void)strncat(ctx, row->id, 16);
	return ERR_OK;
}

static enum err place_note(void *ctx, const struct membership_row *row)
{
	char *seen = ctx;

	(void)strncat(seen, ":", 2);
	(void)strncat(seen, row->channel, 16);
	return ERR_OK;
}

// In the order of the writes; each once, where it was written last; of one term alone.
static void changes_are_read_from_where_one_stopped(void **state)
{
	static const char *const three[] = {"default", "lobby", "bar"};
	struct rig *r = *state;
	char seen[64] = "";
	struct change_reader read = {.ctx = seen, .client = client_note, .place = place_note};
	uint64_t last = 1;

	(void)rig_settled(r, "f1");
	(void)rig_settled(r, "f2");
	(void)rig_settled(r, "f3");
	assert_int_equal(core_client_set_channels(r->core, "f2", three, 3), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_int_equal(rows_change_put(r->db, "f2", other_term, 1), ERR_OK);
	assert_int_equal(rows_change_put(r->db, "f1", other_term, 2), ERR_OK);
	assert_int_equal(rows_change_put(r->db, "f3", other_term + 1, 3), ERR_OK);
	assert_int_equal(rows_change_put(r->db, "f2", other_term, 4), ERR_OK);
	assert_int_equal(rows_change_after(r->db, other_term, 0, 1, &read), ERR_OK);
	assert_int_equal(read.last, 2);
	assert_int_equal(read.count, 1);
	assert_string_equal(seen, "f1");
	assert_int_equal(rows_change_after(r->db, other_term, read.last, 1, &read), ERR_OK);
	assert_int_equal(read.last, 4);
	assert_int_equal(read.count, 1);
	assert_string_equal(seen, "f1f2:lobby:bar");
	assert_int_equal(rows_change_after(r->db, other_term, read.last, 9, &read), ERR_OK);
	assert_int_equal(read.last, 4);
	assert_int_equal(read.count, 0);
	assert_int_equal(core_principal_remove(r->core, "f3"), ERR_OK);
	assert_int_equal(rows_change_last(r->db, other_term + 1, &last), ERR_OK);
	assert_int_equal(last, 0);
	assert_int_equal(db_commit(r->db), ERR_OK);
}

// Who comes to answer a client that fetches, or to lead, reads how fast it may go.
static void a_leases_rate_stands_in_its_row(void **state)
{
	struct rig *r = *state;
	struct lease_row row = {.id = 7, .client = "f1", .broker = "da", .rate = 300000};
	uint64_t rate = 1;

	assert_int_equal(rows_lease_rate(r->db, 7, &rate), ERR_NOT_FOUND);
	assert_int_equal(rows_lease_put(r->db, &row), ERR_OK);
	assert_int_equal(rows_lease_rate(r->db, 7, &rate), ERR_OK);
	assert_int_equal(rate, 300000);
	assert_int_equal(rows_lease_rate_put(r->db, 7, 150000), ERR_OK);
	assert_int_equal(rows_lease_rate_put(r->db, 8, 1), ERR_OK); // it has ended
	assert_int_equal(rows_lease_rate(r->db, 7, &rate), ERR_OK);
	assert_int_equal(rate, 150000);
	assert_int_equal(rows_lease_rate(r->db, 8, &rate), ERR_NOT_FOUND);
	assert_int_equal(db_commit(r->db), ERR_OK);
}

// ---- who is removed

static int64_t number_of(struct rig *r, const char *query)
{
	struct db_rows rows;
	int64_t n = -1;

	assert_int_equal(db_query_values(r->db, &rows, query, NULL, 0), ERR_OK);
	if (db_next(&rows))
		n = db_int(&rows, 0);
	assert_int_equal(db_end(&rows), ERR_OK);
	return n;
}

static enum err enrolled_again(struct rig *r, const struct agent *a)
{
	enum err e = core_enrol(r->core, &(struct enrolment){.id = a->id,
						 .role = ROLE_CLIENT,
						 .public_key = *sign_key_public(a->key),
						 .name = a->id});
	core_turn_end(r->core, r->now);
	return e;
}

// The letter is late: meanwhile another device was enrolled under the id.
static void an_owner_forgets_who_was_removed_and_deletes_nothing(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	owns_alone(r, "f1");
	assert_int_equal(says(a), KIND_NO_ACTION);
	assert_int_equal(says(a), KIND_NO_ACTION);
	// What the leader does, in its own transaction.
	assert_int_equal(rows_principal_delete(r->db, "f1"), ERR_OK);
	letter_lies(r, shard_byte("f1"), LETTER_REMOVED, "f1");
	assert_int_equal(rows_principal_put(r->db, &(struct principal_row){.id = "f1",
							   .name = "another",
							   .role = ROLE_CLIENT,
							   .enrolled_ms = 1}),
		ERR_OK);
	assert_int_equal(db_commit(r->db), ERR_OK);
	letters_pass(r);
	assert_int_equal(number_of(r, "SELECT count(*) FROM principal WHERE id = 'f1'"), 1);
	assert_int_equal(says(a), 0);
	assert_int_equal(core_client_count(r->core), 0);
	// The leader hears of it, with the letter taken.
	assert_int_equal(number_of(r, "SELECT count(*) FROM letter WHERE place = 256"), 1);
	assert_int_equal(
		number_of(r, "SELECT count(*) FROM letter WHERE place < 256 AND client = 'f1'"), 0);
}

// Its server wrote of it until the letter came, or died before; then its shard is another's.
static void rows_of_who_was_removed_go_when_its_server_has_let_go_of_it(void **state)
{
	static const char left[] = "SELECT (SELECT count(*) FROM skipped WHERE client = 'f1')"
				   " + (SELECT count(*) FROM client_change WHERE client = 'f1')"
				   " + (SELECT count(*) FROM client WHERE id = 'f1')";
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	owned[shard_byte("f1")] = false;
	shares(r);
	assert_int_equal(core_principal_remove(r->core, "f1"), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_int_equal(number_of(r, left), 0);
	// Its server has not read that yet.
	assert_int_equal(db_run_values(r->db,
				 "INSERT INTO skipped (client, queue, seq, at_ms) VALUES"
				 " ('f1', 'default', 7, 7)",
				 NULL, 0),
		ERR_OK);
	other_wrote(r, "f1");
	assert_int_equal(enrolled_again(r, a), ERR_NOT_NOW);
	letters_pass(r);
	assert_int_equal(core_client_count(r->core), 0); // the change of who is nobody
	assert_int_equal(enrolled_again(r, a), ERR_NOT_NOW);
	assert_int_equal(number_of(r, left), 2);
	owned[shard_byte("f1")] = true; // of who died there
	shares(r);
	letters_pass(r);
	letters_pass(r);
	assert_int_equal(number_of(r, left), 0);
	assert_int_equal(number_of(r, "SELECT count(*) FROM letter WHERE client = 'f1'"), 0);
	assert_int_equal(enrolled_again(r, a), ERR_OK);
	assert_int_equal(number_of(r, "SELECT count(*) FROM principal WHERE id = 'f1'"), 1);
}

static enum err when_it_left; // what an enrolment came to in the turn of that letter

static enum err enrols_who_left(void *ctx, struct core *core, const struct letter_said *l)
{
	const struct agent *a = ctx;

	if (l->kind == LETTER_LEFT)
		when_it_left = core_enrol(core, &(struct enrolment){.id = l->client,
							.role = ROLE_CLIENT,
							.public_key = *sign_key_public(a->key),
							.name = l->client});
	return ERR_OK;
}

static void who_waits_to_be_enrolled_again_is_when_its_letter_is_gone(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	owned[shard_byte("f1")] = false;
	shares(r);
	assert_int_equal(core_principal_remove(r->core, "f1"), ERR_OK);
	core_turn_end(r->core, r->now);
	assert_int_equal(enrolled_again(r, a), ERR_NOT_NOW);
	owned[shard_byte("f1")] = true;
	shares(r);
	core_set_hooks(r->core, &(struct core_hooks){.ctx = a, .letter = enrols_who_left});
	when_it_left = ERR_IO;
	for (int i = 0; i < 3; i++)
		letters_pass(r);
	assert_int_equal(when_it_left, ERR_OK);
	assert_int_equal(number_of(r, "SELECT count(*) FROM principal WHERE id = 'f1'"), 1);
	assert_int_equal(number_of(r, "SELECT count(*) FROM letter WHERE client = 'f1'"), 0);
}

static void who_is_revoked_elsewhere_is_silenced_there(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	owns_alone(r, "f1");
	assert_int_equal(says(a), KIND_NO_ACTION);
	assert_int_equal(says(a), KIND_NO_ACTION);
	assert_int_equal(rows_principal_revoke(r->db, "f1"), ERR_OK);
	letter_lies(r, shard_byte("f1"), LETTER_REVOKED, "f1");
	assert_int_equal(db_commit(r->db), ERR_OK);
	letters_pass(r);
	assert_int_equal(says(a), 0);
	assert_int_equal(number_of(r, "SELECT count(*) FROM session WHERE id = 'f1'"), 0);
}

// ---- what a leader must not miss

// It takes a shard before it has read what its former server wrote last.
static void a_leader_that_takes_a_shard_keeps_no_channel_that_was_left(void **state)
{
	static const char *const both[] = {"default", "lobby"};
	struct rig *r = *state;
	struct channel_info channel;

	(void)rig_settled(r, "f1");
	assert_int_equal(core_client_set_channels(r->core, "f1", both, 2), ERR_OK);
	core_turn_end(r->core, r->now);
	owned[shard_byte("f1")] = false;
	shares(r);
	letters_pass(r);
	assert_int_equal(rows_membership_clear(r->db, "f1"), ERR_OK);
	other_wrote(r, "f1");
	owned[shard_byte("f1")] = true;
	shares(r);
	assert_int_equal(core_channel_find(r->core, "lobby", &channel), ERR_OK);
	assert_int_equal(channel.clients, 0);
	assert_int_equal(channel.pointers, 0);
	assert_int_equal(core_channel_find(r->core, "default", &channel), ERR_OK);
	assert_int_equal(channel.clients, 1);
	// Control: one that was not left is kept.
	assert_int_equal(core_client_set_channels(r->core, "f1", both, 2), ERR_OK);
	core_turn_end(r->core, r->now);
	owned[shard_byte("f1")] = false;
	shares(r);
	owned[shard_byte("f1")] = true;
	shares(r);
	assert_int_equal(core_channel_find(r->core, "lobby", &channel), ERR_OK);
	assert_int_equal(channel.clients, 1);
}

// A walk begins with one look at all that changed: what is asked then is answered from memory.
static void a_walk_asks_the_store_for_no_client_of_the_others(void **state)
{
	struct rig *r = *state;
	struct digest held = sha256("a", 1), other = sha256("b", 1);
	struct client_brief c;
	struct client_info info;
	size_t cursor = 0, clients = 0, holders = 0;
	char id[16];

	for (int i = 0; i < RIG_AGENTS; i++) {
		snprintf(id, sizeof(id), "f%d", i);
		(void)rig_settled(r, id);
	}
	for (size_t i = 0; i < SHARDS; i++)
		owned[i] = false;
	shares(r);
	letters_pass(r);
	assert_int_equal(db_run(r->db,
				 "UPDATE client SET holdings = $1, holdings_known = 1 WHERE id = "
				 "'f7'",
				 DB_B(bytes_of(held.b, sizeof(held.b)))),
		ERR_OK);
	other_wrote(r, "f7");
	rig_advance(r, 3000);
	uint64_t before = r->db->statements;
	while (core_client_walk(r->core, &cursor, &c)) {
		assert_true(core_client_at(r->core, c.place, &info));
		holders += core_client_holds_at(r->core, c.place, &held);
		assert_false(core_client_holds_at(r->core, c.place, &other));
		clients++;
	}
	assert_int_equal(clients, RIG_AGENTS);
	assert_int_equal(holders, 1);
	assert_true(r->db->statements - before < 10);
	// Control: who asks for one by its id has the store asked.
	before = r->db->statements;
	assert_true(core_client_holds(r->core, "f7", &held));
	assert_false(core_client_holds(r->core, "f8", &held));
	assert_true(r->db->statements - before >= 2);
}

static void lobby_left_by(struct rig *r, const char *server, bool and_gone)
{
	static const char *const both[] = {"default", "lobby"};
	struct channel_info channel;
	uint64_t term = 0;

	owned[shard_byte("f1")] = true;
	shares(r);
	assert_int_equal(core_client_set_channels(r->core, "f1", both, 2), ERR_OK);
	core_turn_end(r->core, r->now);
	owned[shard_byte("f1")] = false;
	shares(r);
	letters_pass(r);
	assert_int_equal(core_channel_find(r->core, "lobby", &channel), ERR_OK);
	assert_int_equal(channel.clients, 1);
	assert_int_equal(rows_server_term(r->db, server, 5000, &term), ERR_OK);
	assert_int_equal(rows_membership_clear(r->db, "f1"), ERR_OK);
	assert_int_equal(rows_change_put(r->db, "f1", term, 1), ERR_OK);
	if (and_gone)
		assert_int_equal(rows_server_leave(r->db, server, term), ERR_OK);
	assert_int_equal(db_commit(r->db), ERR_OK);
	letters_pass(r);
	assert_int_equal(core_channel_find(r->core, "lobby", &channel), ERR_OK);
	assert_int_equal(channel.clients, 0);
}

static void what_a_server_wrote_that_came_and_went_between_two_looks_is_read(void **state)
{
	struct rig *r = *state;

	(void)rig_settled(r, "f1");
	lobby_left_by(r, "server.3", false);
	lobby_left_by(r, "server.4", true);
	lobby_left_by(r, "server.5", true);
}

static void more_servers_than_shards_are_followed_too(void **state)
{
	struct rig *r = *state;
	char server[16];
	uint64_t term = 0;

	(void)rig_settled(r, "f1");
	for (int i = 0; i < 300; i++) {
		snprintf(server, sizeof(server), "many.%d", i);
		assert_int_equal(rows_server_term(r->db, server, 60000, &term), ERR_OK);
	}
	assert_int_equal(db_commit(r->db), ERR_OK);
	letters_pass(r);
	assert_false(core_is_degraded(r->core));
	lobby_left_by(r, "many.299", false);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_shared, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(who_is_anothers_is_not_answered_and_not_refused),
		T(a_client_that_comes_back_is_answered_under_a_higher_number),
		T(a_recorded_beat_is_worth_nothing_when_the_shard_has_come_back),
		T(an_act_upon_anothers_client_is_done_by_its_owner_once),
		T(who_does_not_lead_reads_channels_by_their_sequence),
		T(the_leader_keeps_what_anothers_client_waits_for),
		T(letters_that_nobody_takes_are_in_nobodys_way),
		T(the_leader_hears_that_anothers_client_left_a_channel),
		T(changes_are_read_from_where_one_stopped),
		T(a_leases_rate_stands_in_its_row),
		T(an_owner_forgets_who_was_removed_and_deletes_nothing),
		T(rows_of_who_was_removed_go_when_its_server_has_let_go_of_it),
		T(who_waits_to_be_enrolled_again_is_when_its_letter_is_gone),
		T(who_is_revoked_elsewhere_is_silenced_there),
		T(a_leader_that_takes_a_shard_keeps_no_channel_that_was_left),
		T(a_walk_asks_the_store_for_no_client_of_the_others),
		T(what_a_server_wrote_that_came_and_went_between_two_looks_is_read),
		T(more_servers_than_shards_are_followed_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
