// The operator's session against a server made of the same primitives, seen from the other side.
#include "tests/unit/helper.h"

#include "server/ctl/api_session.h"
#include "server/ctl/seat.h"

struct double_server {
	struct sign_key *online, *seat, *stranger;
	struct root root;
	struct seat_memory memory;
	struct api_session s;
	struct session_keys keys; // the server's side
	uint64_t session_id, seq;
	struct id16 boot;
};

static struct sign_key *key_make(void)
{
	struct key32 secret;
	struct sign_key *key;

	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &key), ERR_OK);
	return key;
}

static struct key32 root_keys[1], other_keys[1];

static int server_make(void **state)
{
	struct double_server *d = calloc(1, sizeof(*d));

	d->online = key_make();
	d->seat = key_make();
	d->stranger = key_make();
	root_keys[0] = *sign_key_public(d->online);
	other_keys[0] = *sign_key_public(d->stranger);
	d->root = (struct root){.online_keys = root_keys, .online_key_count = 1};
	d->memory.boot_counter = 3;
	random_fill(d->memory.store_id.b, 16);
	api_session_init(&d->s, "alice.1", d->seat, &d->root, &d->memory);
	*state = d;
	return 0;
}

static int server_drop(void **state)
{
	struct double_server *d = *state;

	api_session_fini(&d->s);
	sign_key_free(d->online);
	sign_key_free(d->seat);
	sign_key_free(d->stranger);
	free(d);
	return 0;
}

// What heliod does with a sign-in: checks it, and answers with an offer. twist changes the offer.
static enum err offer_make(struct double_server *d, struct bytes sign_in,
	const struct sign_key *signer, const char *principal, const char *topic, struct buf *out)
{
	SCOPED_ARENA struct arena a;
	struct api_request m;
	struct key32 secret;
	struct session_offer offer = {.principal = principal, .session_id = ++d->session_id};

	arena_init(&a, 64 * 1024, 256);
	assert_int_equal(
		seal_check_signature(sign_in, "helio/v1/api/alice.1", sign_key_public(d->seat)),
		ERR_OK);
	assert_int_equal(api_request_decode(&a, sign_in, &m), ERR_OK);
	assert_string_equal(m.verb, "sign-in");
	assert_non_null(m.sign_in);
	assert_string_equal(m.answer_level, d->s.level);
	assert_int_equal(m.sign_in->boot_counter, 3);
	x25519_generate(&secret, &offer.x25519_share);
	random_fill(offer.nonce.b, 16);
	random_fill(offer.boot.b, 16);
	random_fill(offer.next_lineage.b, 16);
	d->boot = offer.boot;
	offer.server_key_id = key_id(sign_key_public(signer));
	offer.sign_in_sha256 = sha256(sign_in.data, sign_in.size);
	offer.incarnation = 7;
	offer.server_unix_ms = 1700000000000;
	TRY(session_offer_encode(&offer, out));
	TRY(seal_signature(out, topic, signer));
	d->seq = 0;
	return session_derive(&secret, &m.sign_in->x25519_share, sign_in, buf_bytes(out), &d->keys);
}

#define OFFER_TOPIC "helio/v1/offer/alice.1"

static void sign_in(struct double_server *d)
{
	SCOPED_BUF struct buf in, offer;

	buf_init(&in, LIMIT_API);
	buf_init(&offer, LIMIT_OFFER);
	assert_int_equal(api_session_sign_in(&d->s, 1700000000000, &in), ERR_OK);
	assert_int_equal(
		offer_make(d, buf_bytes(&in), d->online, "alice.1", OFFER_TOPIC, &offer), ERR_OK);
	assert_int_equal(api_session_offer(&d->s, OFFER_TOPIC, buf_bytes(&offer)), ERR_OK);
	assert_true(d->s.signed_in);
}

static void both_sides_come_to_the_same_keys(void **state)
{
	struct double_server *d = *state;

	sign_in(d);
	assert_memory_equal(&d->s.keys, &d->keys, sizeof(d->keys));
	assert_memory_equal(d->s.boot.b, d->boot.b, 16);
	// A second session is another one.
	struct session_keys first = d->keys;
	sign_in(d);
	assert_memory_not_equal(&first, &d->keys, sizeof(first));
	assert_int_equal(d->s.session_id, 2);
}

static void a_request_is_sealed_and_rises(void **state)
{
	struct double_server *d = *state;
	SCOPED_BUF struct buf out;
	SCOPED_ARENA struct arena a;
	struct api_request m;
	struct arg args[] = {{"client", "f1"}, {"what", "display"}};
	struct api_question q = {.verb = "ask", .args = args, .arg_count = 2};

	buf_init(&out, LIMIT_API);
	arena_init(&a, 64 * 1024, 256);
	assert_int_equal(api_session_request(&d->s, &q, &out), ERR_NOT_NOW);
	sign_in(d);
	q.request_id = api_session_next_request(&d->s, 1700000000000);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		assert_int_equal(api_session_request(&d->s, &q, &out), ERR_OK);
		assert_int_equal(
			seal_check_mac(buf_bytes(&out), "helio/v1/api/alice.1", &d->keys.mac_up),
			ERR_OK);
		assert_int_equal(api_request_decode(&a, buf_bytes(&out), &m), ERR_OK);
		assert_int_equal(m.seq, seq);
		assert_int_equal(m.request_id, q.request_id); // the same one: one effect
		assert_int_equal(m.session_id, d->s.session_id);
		assert_memory_equal(m.boot.b, d->boot.b, 16);
		assert_string_equal(m.args[1].value, "display");
		assert_null(m.sign_in);
	}
}

static void request_ids_rise_also_when_the_clock_falls(void **state)
{
	struct double_server *d = *state;
	uint64_t last = 0;

	for (int i = 0; i < 100; i++) {
		uint64_t id = api_session_next_request(&d->s, i < 50 ? 1700000000000 : 0);

		assert_true(id > last);
		last = id;
	}
	assert_true(api_session_next_request(&d->s, INT64_MIN) > last);
}

static void offers_that_are_not_ours_are_refused(void **state)
{
	struct double_server *d = *state;
	SCOPED_BUF struct buf in, old, offer;

	buf_init(&in, LIMIT_API);
	buf_init(&old, LIMIT_API);
	buf_init(&offer, LIMIT_OFFER);
	// Before any sign-in.
	assert_int_equal(api_session_offer(&d->s, OFFER_TOPIC, bytes_of("x", 1)), ERR_NOT_NOW);
	assert_int_equal(api_session_sign_in(&d->s, 1, &old), ERR_OK);
	assert_int_equal(api_session_sign_in(&d->s, 1, &in), ERR_OK);
	struct {
		struct bytes sign_in;
		const struct sign_key *key;
		const char *principal, *topic, *arrives_on;
		enum err expected;
	} cases[] = {
		{buf_bytes(&in), d->stranger, "alice.1", OFFER_TOPIC, OFFER_TOPIC, ERR_AUTH},
		{buf_bytes(&in), d->seat, "alice.1", OFFER_TOPIC, OFFER_TOPIC, ERR_AUTH},
		{buf_bytes(&old), d->online, "alice.1", OFFER_TOPIC, OFFER_TOPIC, ERR_STALE},
		{buf_bytes(&in), d->online, "alice.2", OFFER_TOPIC, OFFER_TOPIC, ERR_STALE},
		{buf_bytes(&in), d->online, "alice.1", "helio/v1/offer/alice.2", OFFER_TOPIC,
			ERR_AUTH},
		{buf_bytes(&in), d->online, "alice.1", OFFER_TOPIC, "helio/v1/offer/alice.2",
			ERR_AUTH},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(offer_make(d, cases[i].sign_in, cases[i].key, cases[i].principal,
					 cases[i].topic, &offer),
			ERR_OK);
		assert_int_equal(api_session_offer(&d->s, cases[i].arrives_on, buf_bytes(&offer)),
			cases[i].expected);
		assert_false(d->s.signed_in);
	}
	// Every single bit of a good offer counts.
	assert_int_equal(
		offer_make(d, buf_bytes(&in), d->online, "alice.1", OFFER_TOPIC, &offer), ERR_OK);
	for (size_t bit = 0; bit < offer.size * 8; bit++) {
		offer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(
			api_session_offer(&d->s, OFFER_TOPIC, buf_bytes(&offer)), ERR_OK);
		offer.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(api_session_offer(&d->s, OFFER_TOPIC, buf_bytes(&offer)), ERR_OK);
	// It serves once.
	assert_int_equal(api_session_offer(&d->s, OFFER_TOPIC, buf_bytes(&offer)), ERR_NOT_NOW);
}

static void answer_make(
	struct double_server *d, const struct api_answer *m, const char *topic, struct buf *out)
{
	assert_int_equal(api_answer_encode(m, out), ERR_OK);
	assert_int_equal(seal_mac(out, topic, &d->keys.mac_down), ERR_OK);
}

static void only_our_own_fresh_answers_count(void **state)
{
	struct double_server *d = *state;
	SCOPED_BUF struct buf out;
	SCOPED_ARENA struct arena a;
	struct api_answer got;

	buf_init(&out, LIMIT_API);
	arena_init(&a, 1024 * 1024, 1000);
	sign_in(d);
	struct topic own = topic_apir("alice.1", d->s.level);
	struct topic foreign = topic_apir("alice.1", "0123456789abcdef");
	struct api_answer m = {.seat = "alice.1",
		.session_id = d->s.session_id,
		.seq = 5,
		.request_id = 9,
		.ok = true,
		.json = bytes_of("{}", 2),
		.parts = 1};

	answer_make(d, &m, own.s, &out);
	assert_int_equal(api_session_answer(&d->s, &a, foreign.s, buf_bytes(&out), &got), ERR_AUTH);
	for (size_t bit = 0; bit < out.size * 8; bit++) {
		out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(
			api_session_answer(&d->s, &a, own.s, buf_bytes(&out), &got), ERR_OK);
		out.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(api_session_answer(&d->s, &a, own.s, buf_bytes(&out), &got), ERR_OK);
	assert_int_equal(got.request_id, 9);
	assert_int_equal(api_session_answer(&d->s, &a, own.s, buf_bytes(&out), &got), ERR_STALE);
	m.seq = 4;
	answer_make(d, &m, own.s, &out);
	assert_int_equal(api_session_answer(&d->s, &a, own.s, buf_bytes(&out), &got), ERR_STALE);
	m.seq = 6;
	m.session_id++;
	answer_make(d, &m, own.s, &out);
	assert_int_equal(api_session_answer(&d->s, &a, own.s, buf_bytes(&out), &got), ERR_AUTH);
	m.session_id--;
	m.seat = "alice.2";
	answer_make(d, &m, own.s, &out);
	assert_int_equal(api_session_answer(&d->s, &a, own.s, buf_bytes(&out), &got), ERR_AUTH);
	// After a new sign-in the old keys are worth nothing.
	m.seat = "alice.1";
	answer_make(d, &m, own.s, &out);
	sign_in(d);
	assert_int_equal(api_session_answer(&d->s, &a, own.s, buf_bytes(&out), &got), ERR_AUTH);
}

static struct api_answer part_of(uint64_t request, uint32_t part, uint32_t parts, const char *text)
{
	return (struct api_answer){.request_id = request,
		.ok = true,
		.error = "",
		.error_word = "",
		.json = bytes_of(text, strlen(text)),
		.part = part,
		.parts = parts};
}

static void parts_are_joined_in_their_order(void **state)
{
	struct answer_parts p;
	SCOPED_BUF struct buf out;
	struct api_answer a;

	(void)state;
	buf_init(&out, 1000);
	answer_parts_begin(&p, 9);
	a = part_of(8, 0, 1, "another request");
	assert_false(answer_parts_take(&p, &a));
	a = part_of(9, 2, 3, "ghi");
	assert_false(answer_parts_take(&p, &a));
	a = part_of(9, 0, 3, "abc");
	assert_false(answer_parts_take(&p, &a));
	assert_false(answer_parts_take(&p, &a)); // twice
	a = part_of(9, 3, 3, "xxx");
	assert_false(answer_parts_take(&p, &a)); // no such part
	a = part_of(9, 1, 4, "xxx");
	assert_false(answer_parts_take(&p, &a)); // of another count
	a = part_of(9, 1, 3, "");
	assert_true(answer_parts_take(&p, &a)); // an empty part is a part
	assert_int_equal(answer_parts_join(&p, &out), ERR_OK);
	assert_int_equal(out.size, 6);
	assert_memory_equal(out.data, "abcghi", 6);
	answer_parts_end(&p);
	answer_parts_begin(&p, 1);
	a = part_of(1, 0, 2000000000, "x");
	assert_false(answer_parts_take(&p, &a)); // no memory by an unchecked number
	a = part_of(1, 0, 0, "one");
	assert_true(answer_parts_take(&p, &a));
	answer_parts_end(&p);
}

static void a_seat_remembers_and_damage_is_seen(void **state)
{
	struct seat_memory m, back;
	char path[PATH_MAX];

	assert_int_equal(seat_memory_read(*state, &m), ERR_OK); // fresh
	assert_int_equal(m.boot_counter, 0);
	m.boot_counter = 41;
	m.request_id = UINT64_MAX - 1;
	random_fill(m.lineage.b, 16);
	assert_int_equal(seat_memory_write(*state, &m), ERR_OK);
	assert_int_equal(seat_memory_read(*state, &back), ERR_OK);
	assert_memory_equal(&m, &back, sizeof(m));
	snprintf(path, sizeof(path), "%s/seat.state", (char *)*state);
	assert_int_equal(file_write_atomic(path, "store x", 7, 0600), ERR_OK);
	assert_int_equal(seat_memory_read(*state, &back), ERR_CORRUPT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			both_sides_come_to_the_same_keys, server_make, server_drop),
		cmocka_unit_test_setup_teardown(
			a_request_is_sealed_and_rises, server_make, server_drop),
		cmocka_unit_test_setup_teardown(
			request_ids_rise_also_when_the_clock_falls, server_make, server_drop),
		cmocka_unit_test_setup_teardown(
			offers_that_are_not_ours_are_refused, server_make, server_drop),
		cmocka_unit_test_setup_teardown(
			only_our_own_fresh_answers_count, server_make, server_drop),
		cmocka_unit_test(parts_are_joined_in_their_order),
		cmocka_unit_test_setup_teardown(
			a_seat_remembers_and_damage_is_seen, temp_dir_make, temp_dir_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
