// The publisher's conversation with the server, against a real Mosquitto and a server that
// misbehaves on request: sign-in, requests repeated until answered, directives that must not be
// believed, restarts.
#include "proto/session.h"
#include "proto/topics.h"
#include "publisher_broker.h"
#include "server/publisher/control.h"

#define PUB "p1"

struct fixture {
	char dir[64];
	struct broker broker;
	uv_loop_t loop;
	uv_timer_t timer;
	struct store store;
	struct sign_key *identity, *online;
	struct root root;
	struct link_address address;
	struct publisher_config config;
	struct control *control;
	// the server
	struct mqtt_link *server;
	bool server_up;
	struct session_keys keys;
	uint64_t session, seq;
	struct id16 boot;
	size_t sign_ins, requests; // in-session messages that are no PUB_ALIVE
	size_t refuse;             // so many requests stay without an answer
	bool wrong_key, deaf;      // deaf: offers nothing, answers nothing
	uint64_t last_request;
	enum publisher_state last_state;
	struct id16 last_boot, last_lineage;
	// the publisher
	size_t sessions, directives, asked, stops;
	struct directive last;
};

static void key_make(struct sign_key **out)
{
	struct key32 secret;

	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, out), ERR_OK);
}

// ---- the server

static void server_send(struct fixture *f, enum topic_kind kind, struct buf *b, bool retained)
{
	struct topic t = topic_of(kind, PUB);

	assert_int_equal(link_publish(f->server, t.s, buf_bytes(b), 1, retained, 0), ERR_OK);
}

static void directive_seal(struct fixture *f, struct directive *d, struct buf *b)
{
	d->publisher = PUB;
	d->session_id = f->session;
	d->seq = d->seq ? d->seq : ++f->seq;
	d->boot = f->boot;
	assert_int_equal(directive_encode(d, b), ERR_OK);
	assert_int_equal(seal_mac(b, topic_of(TOPIC_PUBCMD, PUB).s, &f->keys.mac_down), ERR_OK);
}

static void directive_give(struct fixture *f, struct directive d)
{
	struct buf b;

	buf_init(&b, LIMIT_DIRECTIVE);
	directive_seal(f, &d, &b);
	server_send(f, TOPIC_PUBCMD, &b, false);
	buf_fini(&b);
}

static void offer_give(struct fixture *f, const struct sign_in *in, struct bytes sign_in)
{
	struct key32 secret, share;
	struct buf b;
	struct sign_key *key = f->online;

	if (f->wrong_key)
		key_make(&key);
	x25519_generate(&secret, &share);
	f->session++;
	f->seq = 0;
	struct session_offer o = {.principal = PUB,
		.session_id = f->session,
		.x25519_share = share,
		.nonce = in->nonce,
		.boot = f->boot,
		.server_key_id = key_id(sign_key_public(f->online)),
		.next_lineage = {{(uint8_t)f->session}},
		.sign_in_sha256 = sha256(sign_in.data, sign_in.size),
		.server_unix_ms = 1,
		.incarnation = 1};
	buf_init(&b, LIMIT_OFFER);
	assert_int_equal(session_offer_encode(&o, &b), ERR_OK);
	assert_int_equal(seal_signature(&b, topic_of(TOPIC_OFFER, PUB).s, key), ERR_OK);
	assert_int_equal(
		session_derive(&secret, &in->x25519_share, sign_in, buf_bytes(&b), &f->keys),
		ERR_OK);
	server_send(f, TOPIC_OFFER, &b, false);
	buf_fini(&b);
	if (f->wrong_key)
		sign_key_free(key);
}

static void server_take(struct fixture *f, const struct publisher_msg *m)
{
	bool stale = memcmp(&m->boot, &f->boot, 16) != 0;

	f->last_boot = m->boot;
	if (stale) { // as heliod: learn the present boot
		directive_give(f, (struct directive){.kind = DIRECTIVE_NOTED, .reason = "boot"});
		return;
	}
	if (m->state != PUB_ALIVE) {
		f->requests++;
		f->last_request = m->request_id;
		f->last_state = m->state;
		if (f->refuse > 0) {
			f->refuse--;
			return;
		}
	}
	directive_give(f, (struct directive){.kind = DIRECTIVE_NOTED,
				  .request_id = m->request_id,
				  .package = m->package,
				  .reason = ""});
}

static void server_message(void *ctx, const struct link_message *l)
{
	struct fixture *f = ctx;
	SCOPED_ARENA struct arena a;
	struct publisher_msg m;
	const char *topic = topic_of(TOPIC_PUB, PUB).s;

	arena_init(&a, 1 << 20, 4096);
	assert_int_equal(publisher_msg_decode(&a, l->payload, &m), ERR_OK);
	if (f->deaf)
		return;
	if (m.session_id == 0) {
		const struct key32 *key = sign_key_public(f->identity);
		assert_int_equal(m.state, PUB_SIGN_IN);
		assert_int_equal(seal_check_signature(l->payload, topic, key), ERR_OK);
		assert_memory_equal(&m.sign_in->public_key, key, 32);
		f->sign_ins++;
		f->last_lineage = m.sign_in->lineage;
		offer_give(f, m.sign_in, l->payload);
		return;
	}
	if (m.session_id != f->session)
		return; // of a session that we forgot
	assert_int_equal(seal_check_mac(l->payload, topic, &f->keys.mac_up), ERR_OK);
	server_take(f, &m);
}

static void server_is_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct fixture *f = ctx;
	const char *filter[1] = {topic_of(TOPIC_PUB, PUB).s};
	struct topic t = topic_of(TOPIC_PUB, PUB);

	(void)via;
	(void)session_present;
	filter[0] = t.s;
	assert_int_equal(link_subscribe(f->server, filter, 1, 1, 1), ERR_OK);
}

static void server_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct fixture *f = ctx;

	(void)token;
	(void)reasons;
	(void)count;
	f->server_up = true;
}

static void server_down(void *ctx, const char *why, int64_t retry_ms)
{
	(void)why;
	(void)retry_ms;
	((struct fixture *)ctx)->server_up = false;
}

static void server_published(void *ctx, uint64_t token, int reason)
{
	(void)ctx;
	(void)token;
	(void)reason;
}

// ---- the publisher

static void on_session(void *ctx)
{
	((struct fixture *)ctx)->sessions++;
}

static void on_directive(void *ctx, const struct directive *d, bool asked)
{
	struct fixture *f = ctx;

	f->directives++;
	f->asked += asked;
	f->stops += d->kind == DIRECTIVE_STOP;
	f->last = *d;
	f->last.to = NULL;
	f->last.reason = NULL;
}

static void on_timer(uv_timer_t *t)
{
	struct fixture *f = t->data;

	control_tick(f->control, clock_now().mono);
}

// Of five seconds or more that is how long it takes on an idle machine, and much more is waited.
static bool run_until(struct fixture *f, const size_t *what, size_t count, int64_t ms)
{
	int64_t end = clock_now().mono.ms + (ms < 5000 ? ms : PATIENCE_MS);

	while (*what < count && clock_now().mono.ms < end)
		uv_run(&f->loop, UV_RUN_ONCE);
	return *what >= count;
}

static void run_for(struct fixture *f, int64_t ms)
{
	static const size_t never;

	(void)run_until(f, &never, 1, ms);
}

static void control_begin(struct fixture *f)
{
	const struct control_events events = {
		.ctx = f, .in_session = on_session, .directive = on_directive};

	assert_int_equal(control_new(&f->config, &f->store, &events, &f->control), ERR_OK);
}

static int setup(void **state)
{
	static const struct link_events events = {.up = server_is_up,
		.down = server_down,
		.message = server_message,
		.published = server_published,
		.subscribed = server_subscribed};
	struct fixture *f = calloc(1, sizeof *f);

	snprintf(f->dir, sizeof f->dir, "/tmp/helio-control-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	broker_start(&f->broker, NULL);
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->timer);
	f->timer.data = f;
	uv_timer_start(&f->timer, on_timer, 50, 50);
	key_make(&f->identity);
	key_make(&f->online);
	f->root.online_keys = (struct key32 *)(uintptr_t)sign_key_public(f->online);
	f->root.online_key_count = 1;
	f->boot.b[0] = 1;
	f->address = (struct link_address){"127.0.0.1", f->broker.port, LINK_VIA_IP};
	struct link_config c = {.client_id = "server.1",
		.addresses = &f->address,
		.address_count = 1,
		.keepalive_s = 10,
		.connect_timeout_s = 20,
		.backoff_min_ms = 100,
		.backoff_max_ms = 500,
		.outstanding_max = 15,
		.outbox_max = 100,
		.inbox_messages = 1000,
		.inbox_bytes = 1 << 20};
	assert_int_equal(store_open(&f->store, f->dir), ERR_OK);
	f->config = (struct publisher_config){.loop = &f->loop,
		.id = PUB,
		.identity = f->identity,
		.root = &f->root,
		.control = &f->address,
		.control_count = 1};
	assert_int_equal(link_new(&f->loop, &c, &events, f, &f->server), ERR_OK);
	control_begin(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uv_close((uv_handle_t *)&f->timer, NULL);
	control_free(f->control);
	link_close(f->server, true);
	while (uv_loop_close(&f->loop) == UV_EBUSY)
		uv_run(&f->loop, UV_RUN_ONCE);
	store_close(&f->store);
	sign_key_free(f->identity);
	sign_key_free(f->online);
	broker_end(&f->broker);
	assert_int_equal(tree_remove(f->dir), ERR_OK);
	free(f);
	return 0;
}

static void signed_in(struct fixture *f)
{
	assert_true(run_until(f, &f->sessions, 1, 10000));
	assert_true(run_until(f, &f->asked, 1, 5000)); // the first message inside is answered
}

static uint64_t ask(struct fixture *f, enum publisher_state state, uint8_t package)
{
	struct publisher_msg m = {
		.state = state, .package = {{package}}, .manifest = bytes_of("m", 1)};
	uint64_t id = 0;

	assert_int_equal(control_request(f->control, &m, &id), ERR_OK);
	return id;
}

// ---- tests

static void sign_in_takes_two_beats(void **state)
{
	struct fixture *f = *state;
	struct control_status s;

	signed_in(f);
	control_get_status(f->control, &s);
	assert_true(s.up && s.in_session);
	assert_int_equal(s.session_id, f->session);
}

static void a_request_is_repeated_until_it_is_answered(void **state)
{
	struct fixture *f = *state;
	struct control_status s;

	signed_in(f);
	size_t asked = f->asked;
	f->refuse = 2;
	uint64_t id = ask(f, PUB_OFFER, 7);
	assert_true(run_until(f, &f->asked, asked + 1, 15000));
	assert_int_equal(f->last_request, id);
	assert_int_equal(f->requests, 3); // twice in vain, the same id each time
	run_for(f, 2500);
	assert_int_equal(f->requests, 3); // and never again
	control_get_status(f->control, &s);
	assert_int_equal(s.waiting, 0);
}

static void only_an_authentic_fresh_directive_is_believed(void **state)
{
	struct fixture *f = *state;
	struct directive d = {
		.kind = DIRECTIVE_STOP, .directive_id = 1, .package = {{1}}, .reason = ""};
	struct buf good, bad;

	signed_in(f);
	buf_init(&good, LIMIT_DIRECTIVE);
	buf_init(&bad, LIMIT_DIRECTIVE);
	directive_seal(f, &d, &good);
	for (size_t bit = 0; bit < good.size * 8; bit += 3) { // forged
		buf_clear(&bad);
		assert_int_equal(buf_append(&bad, good.data, good.size), ERR_OK);
		bad.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		server_send(f, TOPIC_PUBCMD, &bad, false);
		run_for(f, 1);
	}
	server_send(
		f, TOPIC_PUBCMD, &good, true); // authentic, but the broker kept it: as a live copy
	assert_true(run_until(f, &f->stops, 1, 5000));
	server_send(f, TOPIC_PUBCMD, &good, false); // replayed
	d.seq = 1;
	directive_seal(f, &d, &bad); // older
	server_send(f, TOPIC_PUBCMD, &bad, false);
	d.seq = 0;
	f->session++;
	directive_seal(f, &d, &bad); // of another session
	f->session--;
	server_send(f, TOPIC_PUBCMD, &bad, false);
	run_for(f, 1000);
	assert_int_equal(f->stops, 1);
	bad.size = 0;
	server_send(f, TOPIC_PUBCMD, &bad, true); // take the retained one away again
	run_for(f, 200);
	buf_fini(&good);
	buf_fini(&bad);
}

static void an_offer_of_a_foreign_key_is_refused(void **state)
{
	struct fixture *f = *state;

	f->wrong_key = true;
	assert_true(run_until(f, &f->sign_ins, 1, 10000));
	run_for(f, 500);
	assert_int_equal(f->sessions, 0);
	f->wrong_key = false; // tried again with a fresh share
	assert_true(run_until(f, &f->sessions, 1, 15000));
	assert_true(f->sign_ins >= 2);
}

static void a_restarted_server_is_asked_again(void **state)
{
	struct fixture *f = *state;

	signed_in(f);
	size_t sessions = f->sessions, asked = f->asked;
	f->boot.b[0] = 2; // the session survives, the boot does not
	(void)ask(f, PUB_OFFER, 7);
	assert_true(run_until(f, &f->asked, asked + 1, 10000));
	assert_int_equal(f->sessions, sessions + 1); // offers are made again
	assert_int_equal(f->last_boot.b[0], 2);
	assert_int_equal(f->sign_ins, 1);
}

static void a_server_that_forgot_the_session_gets_a_new_sign_in(void **state)
{
	struct fixture *f = *state;

	signed_in(f);
	uint8_t lineage = (uint8_t)f->session;
	f->session += 5; // what we send is of a session it does not know
	(void)ask(f, PUB_OFFER, 7);
	assert_true(run_until(f, &f->requests, 1, 60000));
	assert_int_equal(f->sign_ins, 2);
	assert_int_equal(f->last_lineage.b[0], lineage); // and shows whose offer it held
	assert_int_equal(f->last_state, PUB_OFFER);
}

static void a_restarted_broker_changes_nothing(void **state)
{
	struct fixture *f = *state;

	signed_in(f);
	broker_kill(&f->broker);
	run_for(f, 300);
	size_t asked = f->asked;
	(void)ask(f, PUB_OFFER, 9); // waits
	broker_run(&f->broker);
	assert_true(run_until(f, &f->asked, asked + 1, 20000));
	assert_int_equal(f->sign_ins, 1);
}

static void identity_of_the_store_survives_a_restart(void **state)
{
	struct fixture *f = *state;
	uint64_t boots[2] = {0};
	bool found = false;

	signed_in(f);
	assert_int_equal(meta_get(&f->store, "boot_counter", &boots[0], 8, &found), ERR_OK);
	control_free(f->control);
	f->sessions = f->asked = 0;
	control_begin(f);
	signed_in(f);
	assert_int_equal(meta_get(&f->store, "boot_counter", &boots[1], 8, &found), ERR_OK);
	assert_true(found);
	assert_int_equal(boots[1], boots[0] + 1);
	assert_int_equal(f->last_lineage.b[0], (uint8_t)(f->session - 1));
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	link_library_init();
	const struct CMUnitTest tests[] = {
		WITH(sign_in_takes_two_beats),
		WITH(a_request_is_repeated_until_it_is_answered),
		WITH(only_an_authentic_fresh_directive_is_believed),
		WITH(an_offer_of_a_foreign_key_is_refused),
		WITH(a_restarted_server_is_asked_again),
		WITH(a_server_that_forgot_the_session_gets_a_new_sign_in),
		WITH(a_restarted_broker_changes_nothing),
		WITH(identity_of_the_store_survives_a_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
