// Malformed payloads in the name of a client that is signed in, most of them with its right MAC:
// each is refused and counted, none is answered, none changes anything, and the good go on.
#include "core_rig.h"
#include "malformed.h"
#include "proto/base/log.h"
#include "server/core_inside.h"

static uint64_t rejects(struct rig *r)
{
	uint64_t all = 0;

	for (int why = 0; why < REJECT_COUNT; why++)
		all += r->core->rejects[why];
	return all;
}

struct flood {
	struct rig *r;
	struct agent *victim;
	struct chance chance;
	struct buf seeds[3], sign_in, bytes;
	struct topic topics[3];
	uint64_t sent;
};

// One message of each kind with everything in it, and without its seal. Its session is another one,
// in many bits: what is still well-formed after its change is refused too.
static void seeds_make(struct flood *f)
{
	struct agent *a = f->victim;
	struct heartbeat h = sample_heartbeat;
	struct report report = sample_report_holdings;
	struct want want = sample_want_fetch;
	struct heartbeat sign_in = sample_heartbeat_sign_in;

	h.client_id = report.client_id = want.client_id = a->id;
	h.session_id = report.session_id = want.session_id = a->session_id ^ 0x5555555555;
	h.boot = report.boot = want.boot = a->boot;
	h.seq = report.seq = want.seq = 2;
	sign_in.client_id = "somebody.else";
	assert_int_equal(heartbeat_encode(&h, &f->seeds[0]), ERR_OK);
	assert_int_equal(report_encode(&report, &f->seeds[1]), ERR_OK);
	assert_int_equal(want_encode(&want, &f->seeds[2]), ERR_OK);
	assert_int_equal(heartbeat_encode(&sign_in, &f->sign_in), ERR_OK);
}

static void flood_open(struct flood *f, struct rig *r)
{
	*f = (struct flood){.r = r, .chance = {0x2545f4914f6cdd1d}};
	for (int i = 0; i < 3; i++)
		buf_init(&f->seeds[i], MALFORMED_ROOM);
	buf_init(&f->sign_in, MALFORMED_ROOM);
	buf_init(&f->bytes, 2 * MALFORMED_ROOM);
	f->victim = rig_settled(r, "f1");
	f->topics[0] = topic_hb("f1");
	f->topics[1] = topic_report("f1");
	f->topics[2] = topic_want("f1");
	seeds_make(f);
}

static void flood_close(struct flood *f)
{
	for (int i = 0; i < 3; i++)
		buf_fini(&f->seeds[i]);
	buf_fini(&f->sign_in);
	buf_fini(&f->bytes);
}

static void seal_somehow(struct flood *f, const char *topic, bool is_sign_in)
{
	struct agent *a = f->victim;
	const struct key32 wrong = {{1}};
	uint32_t how = chance_below(&f->chance, 16);
	enum err e = ERR_OK;

	if (is_sign_in)
		e = seal_signature(&f->bytes, topic, a->key);
	else if (how == 0)
		e = seal_mac(&f->bytes, topic, &wrong);
	else if (how > 1) // 1: without a seal
		e = seal_mac(&f->bytes, topic, &a->keys.mac_up);
	assert_int_equal(e, ERR_OK);
}

static void flood_one(struct flood *f)
{
	bool is_sign_in = chance_below(&f->chance, 256) == 0;
	uint32_t kind = is_sign_in ? 0 : chance_below(&f->chance, 8);
	kind = kind < 3 ? kind : 0;
	const struct buf *seed = is_sign_in ? &f->sign_in : &f->seeds[kind];
	const char *topic = f->topics[kind].s;

	buf_clear(&f->bytes);
	assert_int_equal(buf_append(&f->bytes, seed->data, seed->size), ERR_OK);
	malform(&f->chance, &f->bytes, buf_bytes(&f->seeds[chance_below(&f->chance, 3)]));
	seal_somehow(f, topic, is_sign_in);
	// exactly this long, so that a sanitizer sees one byte too many
	uint8_t *exact = malloc(f->bytes.size ? f->bytes.size : 1);
	assert_non_null(exact);
	if (f->bytes.size)
		memcpy(exact, f->bytes.data, f->bytes.size);
	core_message(f->r->core, NULL, topic, strlen(topic), bytes_of(exact, f->bytes.size), false,
		f->r->now);
	free(exact);
	f->sent++;
}

static void assert_reached_the_decoder(struct flood *f)
{
	const uint64_t *n = f->r->core->rejects;
	uint64_t inside = n[REJECT_FORMAT] + n[REJECT_SCHEMA] + n[REJECT_IP] + n[REJECT_NO_STATUS];

	printf("payloads %llu", (unsigned long long)f->sent);
	for (int why = 0; why < REJECT_COUNT; why++)
		if (n[why])
			printf(" %s %llu", reject_word((enum reject)why),
				(unsigned long long)n[why]);
	printf("\n");
	assert_true(inside > f->sent / 2);
	assert_true(n[REJECT_FORMAT] && n[REJECT_SCHEMA] && n[REJECT_IP]);
	assert_true(n[REJECT_SIGNATURE] && n[REJECT_IDENTITY]);
}

static void X_1_malformed_payloads_change_nothing_and_the_good_go_on(void **state)
{
	struct rig *r = *state;
	struct agent *good = rig_settled(r, "f2");
	size_t count = malformed_count();
	struct flood f;

	flood_open(&f, r);
	rig_pass(r, 1000); // what is to be shown of the good ones is shown
	struct client_info before = agent_info(r, f.victim);
	uint64_t rejected = rejects(r);
	for (size_t i = 0; i < count; i++) {
		if (i % 1000 == 0) // an honest client in between
			agent_gets(good, KIND_NO_ACTION);
		sent_clear(r);
		uint64_t commits = r->db->commits;
		flood_one(&f);
		if (i % 64 == 63)
			core_turn_end(r->core, r->now);
		assert_int_equal(r->sent_count, 0);
		assert_int_equal(r->db->commits, commits);
		assert_int_equal(rejects(r), rejected + f.sent);
	}
	core_turn_end(r->core, r->now);
	assert_int_equal(r->sent_count, 0);
	assert_client_unchanged(f.victim, before);
	assert_reached_the_decoder(&f);
	// The client itself is well, and its next good beat shows that a change would be seen.
	agent_gets(f.victim, KIND_NO_ACTION);
	assert_true(agent_info(r, f.victim).last_heard.ms > before.last_heard.ms);
	assert_int_equal(rejects(r), rejected + f.sent);
	flood_close(&f);
}

int main(void)
{
	log_init("test_gate_malformed", LOG_ERROR);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			X_1_malformed_payloads_change_nothing_and_the_good_go_on, rig_setup,
			rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
