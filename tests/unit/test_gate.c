// The gate: what is refused, by which word, and that nothing changed; offers and sessions in time.
#include "core_rig.h"
#include "proto/base/log.h"
#include "server/core_inside.h"

static uint64_t rejected(struct rig *r, enum reject why)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "reject.%s", reject_word(why));
	return rig_counter(r, name);
}

static void every_reason_has_a_word_and_a_counter(void **state)
{
	for (int why = 0; why < REJECT_COUNT; why++) {
		assert_non_null(reject_word((enum reject)why));
		assert_int_equal(rejected(*state, (enum reject)why), 0);
	}
}

static void what_is_no_topic_of_ours_is_refused(void **state)
{
	struct rig *r = *state;
	struct topic other = topic_hb("f2");
	static const char *const topics[] = {"", "helio/v1/hb", "helio/v1/hb/zz/f1",
		"helio/v2/hb/00/f1", "helio/v1/rsp/f1", "helio/v1/view/state/f1",
		"$SYS/broker/uptime", "helio/v1/hb/+/#"};

	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
		rig_give(r, topics[i], bytes_of("x", 1), false);
		assert_int_equal(rejected(r, REJECT_TOPIC), i + 1);
	}
	// The right pattern under another client's shard.
	char wrong[LIMIT_TOPIC];
	(void)snprintf(wrong, sizeof(wrong), "%.12s%.2s/f1", other.s, other.s + 12);
	struct topic right = topic_hb("f1");
	assert_string_not_equal(wrong, right.s);
	rig_give(r, wrong, bytes_of("x", 1), false);
	assert_int_equal(rejected(r, REJECT_TOPIC), 9);
	// A NUL inside.
	core_message(r->core, NULL, "helio/v1/api/a\0b", 16, bytes_of("x", 1), false, r->now);
	assert_int_equal(rejected(r, REJECT_TOPIC), 10);
	core_message(r->core, "data.1", right.s, strlen(right.s), bytes_of("x", 1), false, r->now);
	assert_int_equal(rejected(r, REJECT_TOPIC), 11);
	core_turn_end(r->core, r->now);
}

static void X_1_empty_oversized_and_malformed_are_refused(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct topic topic = topic_hb("f1");
	static uint8_t large[LIMIT_HEARTBEAT + 1];

	struct client_info before = agent_info(r, a);
	sent_clear(r);
	rig_give(r, topic.s, bytes_of(NULL, 0), false);
	rig_give(r, topic.s, bytes_of(large, sizeof(large)), false);
	assert_int_equal(rejected(r, REJECT_SIZE), 2);
	rig_give(r, topic.s, bytes_of(large, 100), false);
	assert_int_equal(rejected(r, REJECT_SIGNATURE), 1);
	for (int i = 0; i < 20000; i++) {
		uint8_t noise[256];
		rig_random(r, noise, sizeof(noise));
		size_t size = 1u + noise[0];
		if (size > 36 && (i & 1)) { // shaped like a MAC
			noise[size - 35] = 0xfa;
			noise[size - 34] = 0x7f;
			noise[size - 33] = 0x20;
		}
		core_message(r->core, NULL, topic.s, strlen(topic.s),
			bytes_of(noise, size > 256 ? 256 : size), false, r->now);
	}
	core_turn_end(r->core, r->now);
	assert_int_equal(r->sent_count, 0);
	assert_client_unchanged(a, before);
}

// Bytes with a right MAC and wrong content: the fields of a heartbeat, one altered at a time.
static void X_1_an_authentic_beat_with_a_value_outside_its_enum_is_refused(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct topic topic = topic_hb("f1");

	static const struct {
		uint8_t tag, value;
		enum reject why;
	} rows[] = {{0x08, 2, REJECT_SCHEMA}, {0x40, 0, REJECT_FORMAT}, {0x40, 9, REJECT_FORMAT}};
	for (size_t i = 0; i < 3; i++) {
		uint64_t before = rejected(r, rows[i].why);
		agent_beat_bytes(a, &a->last);
		a->last.size -= 35; // the seal
		uint8_t *at = memchr(a->last.data, rows[i].tag, a->last.size);
		while (rows[i].tag == 0x40 && at && at[1] != ACK_RESPONSE)
			at = memchr(at + 1, rows[i].tag,
				a->last.size - (size_t)(at + 1 - a->last.data));
		assert_non_null(at);
		at[1] = rows[i].value;
		assert_int_equal(seal_mac(&a->last, topic.s, &a->keys.mac_up), ERR_OK);
		sent_clear(r);
		rig_give(r, topic.s, buf_bytes(&a->last), false);
		assert_int_equal(rejected(r, rows[i].why), before + 1);
		assert_int_equal(r->sent_count, 0);
	}
}

static void who_is_unknown_or_of_another_role_is_refused(void **state)
{
	struct rig *r = *state;
	struct agent *pub = rig_agent(r, "pub.1", ROLE_PUBLISHER);
	struct topic hb = topic_hb("nobody"), as_client = topic_hb("pub.1");

	rig_give(r, hb.s, bytes_of("x", 1), false);
	rig_give(r, as_client.s, bytes_of("x", 1), false);
	assert_int_equal(rejected(r, REJECT_UNKNOWN), 1);
	assert_int_equal(rejected(r, REJECT_ROLE), 1);
	assert_true(agent_sign_in(r, pub));
}

static void a_sign_in_with_another_key_than_the_enrolled_one_gets_nothing(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	struct agent *b = rig_agent(r, "f2", ROLE_CLIENT);

	(void)str_copy(b->id, sizeof(b->id), "f1");
	assert_false(agent_sign_in(r, b));
	assert_int_equal(rejected(r, REJECT_SIGNATURE), 1);
	assert_true(agent_sign_in(r, a));
}

static void an_offer_lives_sixty_seconds_and_serves_once(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);

	assert_true(agent_sign_in(r, a));
	rig_pass(r, OFFER_LIFE_MS + 1000);
	assert_false(agent_beat(r, a, &a->got));
	assert_int_equal(agent_info(r, a).session_id, 0);
	agent_settle(r, a);
}

static void offers_are_limited_per_client_and_in_all(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	struct agent *b = rig_agent(r, "f2", ROLE_CLIENT);

	for (int i = 0; i < 30; i++)
		assert_true(agent_sign_in(r, a));
	assert_false(agent_sign_in(r, a));
	assert_int_equal(rejected(r, REJECT_OFFERS), 1);
	assert_true(agent_sign_in(r, b));
	rig_pass(r, OFFER_LIFE_MS + 1000);
	assert_true(agent_sign_in(r, a));
}

static void session_ids_rise_and_an_older_offer_cannot_replace_a_newer_session(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);

	assert_true(agent_sign_in(r, a));
	struct agent *older = rig_copy(r, a);
	assert_true(agent_sign_in(r, a));
	assert_true(a->session_id > older->session_id);
	agent_gets(a, KIND_SEND_INFORMATION);
	assert_false(agent_beat(r, older, &older->got));
	assert_int_equal(agent_info(r, a).session_id, a->session_id);
	assert_int_equal(rejected(r, REJECT_SESSION), 1);
}

static void a_session_ends_after_a_day(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	rig_advance(r, SESSION_LIFE_MS * 8 / 10);
	assert_true(agent_beat(r, a, &a->got));
	rig_advance(r, SESSION_LIFE_MS * 3 / 10);
	assert_false(agent_beat(r, a, &a->got));
	assert_int_equal(rejected(r, REJECT_SESSION), 1);
	assert_true(agent_sign_in(r, a));
	assert_true(agent_beat(r, a, &a->got));
}

static void a_want_passes_the_same_gate_and_cannot_make_a_session_current(void **state)
{
	struct rig *r = *state;
	struct topic topic = topic_want("f1"), grant_topic = topic_of(TOPIC_GRANT, "f1");
	struct fetch_request fetch = {.publisher = "pub.1", .request_id = 1};
	struct buf b;
	struct grant g;

	memset(&fetch.package, 3, sizeof(fetch.package));
	struct agent *a = rig_agent(r, "f1", ROLE_CLIENT);
	assert_true(agent_sign_in(r, a));
	buf_init(&b, LIMIT_WANT);
	for (int current = 0; current < 2; current++) {
		const struct want w = {.client_id = "f1",
			.session_id = a->session_id,
			.seq = ++a->want_seq,
			.boot = a->boot,
			.fetch = &fetch};
		assert_int_equal(want_encode(&w, &b), ERR_OK);
		assert_int_equal(seal_mac(&b, topic.s, &a->keys.mac_up), ERR_OK);
		rig_give(r, topic.s, buf_bytes(&b), false);
		assert_int_equal(r->wants, current);
		if (!current)
			agent_gets(a, KIND_SEND_INFORMATION);
	}
	rig_give(r, topic.s, buf_bytes(&b), false);
	assert_int_equal(r->wants, 1);
	assert_int_equal(rejected(r, REJECT_REPLAY), 1);
	const struct sent *s = sent_find(r, grant_topic.s);
	assert_non_null(s);
	assert_int_equal(seal_check_mac(sent_bytes(s), grant_topic.s, &a->keys.mac_down), ERR_OK);
	assert_int_equal(grant_decode(&r->arena, sent_bytes(s), &g), ERR_OK);
	assert_int_equal(g.session_id, a->session_id);
	assert_memory_equal(g.boot.b, a->boot.b, sizeof(a->boot.b));
	buf_fini(&b);
}

static void a_report_said_again_is_recorded_once(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct stored_report stored;

	size_t before = r->reports;
	agent_report(r, a, INFO_DISPLAY, NULL); // nobody asked
	assert_int_equal(r->reports, before);
	append_request(r, "@f1");
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report(r, a, INFO_DISPLAY, NULL);
	a->report_id--;
	agent_report(r, a, INFO_DISPLAY, NULL);
	assert_int_equal(r->reports, before + 1);
	assert_int_equal(core_report_find(r->core, "f1", INFO_DISPLAY, &r->arena, &stored), ERR_OK);
	assert_non_null(stored.report.display);
	assert_int_equal(
		core_report_find(r->core, "f1", INFO_LOGS, &r->arena, &stored), ERR_NOT_FOUND);
}

static void report_part(
	struct rig *r, struct agent *a, uint32_t part, uint32_t parts, const char *text)
{
	struct topic topic = topic_report(a->id);
	const struct report m = {.client_id = a->id,
		.session_id = a->session_id,
		.seq = ++a->report_seq,
		.boot = a->boot,
		.report_id = a->report_id,
		.op_id = a->op.op_id,
		.what = INFO_LOGS,
		.part = part,
		.parts = parts,
		.data = bytes_of(text, strlen(text))};
	struct buf b;

	buf_init(&b, LIMIT_REPORT);
	if (report_encode(&m, &b) != ERR_OK)
		fail_msg("report: %s", err_text());
	assert_int_equal(seal_mac(&b, topic.s, &a->keys.mac_up), ERR_OK);
	rig_give(r, topic.s, buf_bytes(&b), false);
	buf_fini(&b);
}

static void a_report_in_parts_is_put_together_in_order(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct stored_report stored;

	append_request_for(r, "@f1", INFO_LOGS);
	agent_gets(a, KIND_SEND_INFORMATION);
	a->report_id++;
	report_part(r, a, 0, 3, "one ");
	report_part(r, a, 2, 3, "lost its place ");
	assert_int_equal(
		core_report_find(r->core, "f1", INFO_LOGS, &r->arena, &stored), ERR_NOT_FOUND);
	report_part(r, a, 1, 3, "two ");
	report_part(r, a, 2, 3, "three");
	assert_int_equal(core_report_find(r->core, "f1", INFO_LOGS, &r->arena, &stored), ERR_OK);
	assert_int_equal(stored.report.data.size, 13);
	assert_memory_equal(stored.report.data.data, "one two three", 13);
}

static void a_lease_in_the_holdings_is_renewed_by_every_accepted_beat(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");

	a->items[0] = (struct holding){.lease = 9, .chunks_have = 1, .chunks_total = 2};
	memset(&a->items[0].package, 1, sizeof(a->items[0].package));
	a->holdings.items = a->items;
	a->holdings.item_count = 1;
	agent_gets(a, KIND_NO_ACTION);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(r->renewals, 2);
	struct topic topic = topic_hb("f1");
	rig_give(r, topic.s, buf_bytes(&a->last), false);
	assert_int_equal(r->renewals, 2);
}

static void S001_c34_each_client_is_told_its_own_interval(void **state)
{
	struct rig *r = *state;
	struct agent *a = rig_settled(r, "f1");
	struct agent *b = rig_settled(r, "f2");

	assert_int_equal(core_client_set_interval(r->core, "f1", 500), ERR_OK);
	core_turn_end(r->core, r->now);
	rig_restart(r);
	agent_gets(a, KIND_NO_ACTION);
	assert_int_equal(a->got.heartbeat_interval_ms, 500);
	agent_gets(b, KIND_NO_ACTION);
	assert_int_equal(b->got.heartbeat_interval_ms, 1000);
	// One that does not follow is seen.
	for (int i = 0; i < 5; i++) {
		a->interval_ms = 1000;
		agent_gets(a, KIND_NO_ACTION);
	}
	assert_int_equal(agent_info(r, a).mismatches, 1);
	assert_int_equal(agent_info(r, b).mismatches, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	log_init("test_gate", LOG_ERROR);
	const struct CMUnitTest tests[] = {
		T(every_reason_has_a_word_and_a_counter),
		T(what_is_no_topic_of_ours_is_refused),
		T(X_1_empty_oversized_and_malformed_are_refused),
		T(X_1_an_authentic_beat_with_a_value_outside_its_enum_is_refused),
		T(who_is_unknown_or_of_another_role_is_refused),
		T(a_sign_in_with_another_key_than_the_enrolled_one_gets_nothing),
		T(an_offer_lives_sixty_seconds_and_serves_once),
		T(offers_are_limited_per_client_and_in_all),
		T(session_ids_rise_and_an_older_offer_cannot_replace_a_newer_session),
		T(a_session_ends_after_a_day),
		T(a_want_passes_the_same_gate_and_cannot_make_a_session_current),
		T(a_report_said_again_is_recorded_once),
		T(a_report_in_parts_is_put_together_in_order),
		T(a_lease_in_the_holdings_is_renewed_by_every_accepted_beat),
		T(S001_c34_each_client_is_told_its_own_interval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
