// The presence server: offers, directives, read-back, grants, leases and what brings content back,
// with the real store in memory and everybody else played by the test (S002).
#include "tests/unit/content_fixture.h"

#include "proto/base/log.h"
#include "server/broker_load.h"
#include "server/copies.h"
#include "server/offer.h"
#include "server/presence.h"
#include "server/relays.h"
#include "store_rig.h"

struct sent {
	char to[LIMIT_ID + 1];
	struct directive directive;
	struct grant grant;
	char broker[LIMIT_ID + 1], reason[LIMIT_TEXT + 1];
	size_t objects;
};

struct world {
	struct fixture_keys keys;
	struct data_brokers brokers;
	struct db *db;
	struct presence *p;
	struct now now;
	struct sent directive, grant; // the last ones
	int directives, grants, readbacks;
	struct readback_order order;
	char order_broker[LIMIT_ID + 1];
	uint64_t leases;
	bool meant;
	struct buf envelope;
	struct digest package;
	struct arena arena;
	uint64_t request;
	uint64_t holders; // of every older package
	struct digest bases[PRESENCE_BASES_MAX];
	size_t base_count;
	unsigned bases_told;
};

// ---------------------------------------------------------------- everybody else

static enum err fake_directive(void *ctx, const char *publisher, struct directive *m)
{
	struct world *w = ctx;

	if (m->kind == DIRECTIVE_SERVE_BASES) {
		w->base_count = m->held_count;
		for (size_t i = 0; i < m->held_count; i++)
			w->bases[i] = m->held[i];
		w->bases_told++;
		return ERR_OK;
	}
	w->directive = (struct sent){.directive = *m, .objects = m->object_count};
	str_copy(w->directive.to, sizeof(w->directive.to), publisher);
	str_copy(w->directive.broker, sizeof(w->directive.broker), m->to ? m->to->broker_id : "");
	str_copy(w->directive.reason, sizeof(w->directive.reason), m->reason ? m->reason : "");
	w->directives++;
	return ERR_OK;
}

static enum err fake_grant(void *ctx, const char *client, struct grant *m)
{
	struct world *w = ctx;

	w->grant = (struct sent){.grant = *m};
	str_copy(w->grant.to, sizeof(w->grant.to), client);
	str_copy(w->grant.broker, sizeof(w->grant.broker), m->from ? m->from->broker_id : "");
	str_copy(w->grant.reason, sizeof(w->grant.reason), m->reason ? m->reason : "");
	w->grants++;
	return ERR_OK;
}

static enum err fake_key(void *ctx, const char *publisher, struct key32 *out)
{
	struct world *w = ctx;

	(void)publisher;
	*out = *sign_key_public(w->keys.publisher);
	return ERR_OK;
}

static bool fake_meant(void *ctx, const char *client, const struct digest *package)
{
	struct world *w = ctx;

	(void)client;
	(void)package;
	return w->meant;
}

static uint32_t fake_interval(void *ctx, const char *client)
{
	(void)ctx;
	(void)client;
	return 1000;
}

static struct route_client fake_client(void *ctx, const char *client)
{
	(void)ctx;
	(void)client;
	return (struct route_client){.reach = REACH_ONLINE};
}

static uint64_t fake_lease(void *ctx)
{
	return ++((struct world *)ctx)->leases;
}

static void fake_readback(void *ctx, const char *broker, const struct readback_order *order)
{
	struct world *w = ctx;

	w->order = *order;
	str_copy(w->order_broker, sizeof(w->order_broker), broker);
	w->readbacks++;
}

// Clients named in `holds` hold every package but the one that is at hand.
static uint64_t fake_holders(void *ctx, const struct digest *package, const struct digest *but)
{
	const struct world *w = ctx;

	(void)but;
	return digest_equal(package, &w->package) ? 0 : w->holders;
}

static bool fake_holds(void *ctx, const char *client, const struct digest *package)
{
	const struct world *w = ctx;

	return strcmp(client, "holder") == 0 && !digest_equal(package, &w->package);
}

// Who is called l... stands in the lobby.
static const char *fake_site(void *ctx, const char *client)
{
	(void)ctx;
	return client[0] == 'l' ? "acme/lobby" : client[0] == 'b' ? "acme/bar" : "";
}

// ---------------------------------------------------------------- the world

static bool many_are_silent;

static bool fake_mass_silence(void *ctx)
{
	(void)ctx;
	return many_are_silent;
}

static struct presence *presence_make(struct world *w)
{
	const struct presence_config config = {
		.recent_period_s = 0,
		.linger_s = 10,
		.first_viewer_grace_s = 100,
		.lease_ttl_s = 5,
		.broker_away_s = 3,
		.unreachable_s = 60,
		.directive_repeat_ms = 5000,
		.route = {.attempts_max = 3},
	};
	const struct presence_ports ports = {
		.ctx = w,
		.send_directive = fake_directive,
		.send_grant = fake_grant,
		.publisher_key = fake_key,
		.is_meant = fake_meant,
		.told_interval_ms = fake_interval,
		.client = fake_client,
		.lease_id = fake_lease,
		.mass_silence = fake_mass_silence,
		.readback = fake_readback,
		.holders = fake_holders,
		.holds = fake_holds,
		.site = fake_site,
	};

	return presence_new(&config, &ports, &w->brokers, w->db);
}

static void pass(struct world *w, int seconds)
{
	for (int i = 0; i < seconds; i++) {
		w->now.mono.ms += 1000;
		w->now.wall.ms += 1000;
		for (size_t b = 0; b < w->brokers.count; b++)
			if (w->brokers.items[b].up)
				broker_load_mosquitto.take(&w->brokers.items[b],
					"$SYS/broker/uptime", bytes_of("1000 seconds", 12), w->now);
		presence_tick(w->p, w->now);
	}
}

static int world_make(void **state)
{
	static char *lines[] = {"da h 127.0.0.1 1 1000000", "db h 127.0.0.1 2 1000000"};
	struct world *w = calloc(1, sizeof(*w));

	fixture_keys_make(&w->keys);
	buf_init(&w->envelope, LIMIT_ENVELOPE);
	arena_init(&w->arena, 1 << 20, 4096);
	w->now = (struct now){{1000000}, {1700000000000}};
	w->meant = true;
	assert_int_equal(data_brokers_init(&w->brokers, lines, 2, true, 10), ERR_OK);
	assert_int_equal(store_open(":memory:", &w->db), ERR_OK);
	assert_int_equal(schema_migrate(w->db), ERR_OK);
	w->p = presence_make(w);
	assert_int_equal(presence_load(w->p, w->now), ERR_OK);
	presence_control(w->p, true);
	presence_broker(w->p, "da", true, "", w->now);
	presence_broker(w->p, "db", true, "", w->now);
	pass(w, 2);
	*state = w;
	return 0;
}

static int world_drop(void **state)
{
	struct world *w = *state;

	assert_int_equal(presence_store_error(w->p), ERR_OK);
	presence_free(w->p);
	data_brokers_fini(&w->brokers);
	db_close(w->db);
	fixture_keys_free(&w->keys);
	buf_fini(&w->envelope);
	arena_fini(&w->arena);
	free(w);
	return 0;
}

// A restart: nothing but the rows is left.
static void restart(struct world *w)
{
	assert_int_equal(presence_store_error(w->p), ERR_OK);
	assert_int_equal(db_commit(w->db), ERR_OK);
	presence_free(w->p);
	for (size_t i = 0; i < w->brokers.count; i++)
		data_broker_link(&w->brokers.items[i], false, "restart", w->now);
	w->p = presence_make(w);
	assert_int_equal(presence_load(w->p, w->now), ERR_OK);
	presence_control(w->p, true);
}

static void tell(struct world *w, const char *publisher, struct publisher_msg *m)
{
	m->publisher = publisher;
	m->detail = m->detail ? m->detail : "";
	m->broker_id = m->broker_id ? m->broker_id : "";
	m->request_id = ++w->request;
	handle_pub(w->p, &w->keys.root, publisher, m, &w->arena, w->now);
	arena_reset(&w->arena);
}

static void offer(struct world *w, const char *publisher)
{
	struct publisher_msg m = {.state = PUB_OFFER,
		.package = w->package,
		.manifest = buf_bytes(&w->envelope),
		.object_bytes = 77};

	tell(w, publisher, &m);
}

static void offer_images(struct world *w, const char *version)
{
	fixture_manifest(
		PACKAGE_IMAGES, "art", version, &w->keys.image, 1, &w->envelope, &w->package);
	offer(w, "pub");
}

static struct package *pack(struct world *w)
{
	struct package *k = presence_find(w->p, &w->package);

	assert_non_null(k);
	return k;
}

static void claim(struct world *w, uint64_t directive_id)
{
	struct publisher_msg m = {.state = PUB_STORED,
		.package = w->package,
		.directive_id = directive_id,
		.broker_id = pack(w)->broker,
		.mark = {{9}},
		.index_sha256 = {{8}}};

	tell(w, "pub", &m);
}

static void stored(struct world *w)
{
	offer_images(w, "1");
	claim(w, pack(w)->directive_id);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_int_equal(pack(w)->state, PLACE_LINGER);
}

static void want(struct world *w, const char *client, struct fetch_request f)
{
	struct want m = {.client_id = client};

	f.package = w->package;
	f.publisher = "pub";
	f.failed_broker = f.failed_broker ? f.failed_broker : "";
	m.fetch = &f;
	handle_want(w->p, client, &m, w->now);
}

static void release(struct world *w, const char *client, uint64_t lease)
{
	struct fetch_release r = {
		.package = w->package, .lease = lease, .outcome = OP_DONE, .request_id = 99};
	struct want m = {.client_id = client, .release = &r};

	handle_want(w->p, client, &m, w->now);
}

// ---------------------------------------------------------------- offers

static void S002_3_an_offer_obtains_one_directive(void **state)
{
	struct world *w = *state;

	offer_images(w, "1");
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_TRANSMIT);
	assert_int_equal(w->directive.directive.request_id, w->request);
	assert_int_equal(w->directive.directive.directive_id, 1);
	assert_true(digest_equal(&w->directive.directive.package, &w->package));
	assert_string_equal(w->directive.to, "pub");
	assert_string_equal(w->directive.broker, "da");
	assert_int_equal(w->directives, 1);
	offer(w, "pub"); // said again: the same directive, nothing new
	assert_int_equal(w->directive.directive.directive_id, 1);
	assert_int_equal(w->directive.directive.request_id, w->request);
}

static void S002_3_a_bad_offer_is_refused(void **state)
{
	struct world *w = *state;
	struct sign_key *both[2] = {w->keys.software[0], w->keys.software[1]};
	struct {
		const char *name;
		enum package_kind kind;
		struct sign_key **keys;
		size_t count;
		bool good;
	} cases[] = {
		{"signed by a stranger", PACKAGE_IMAGES, &w->keys.stranger, 1, false},
		{"images signed by a software key", PACKAGE_IMAGES, both, 2, false},
		{"software signed by an image key", PACKAGE_SOFTWARE, &w->keys.image, 1, false},
		{"software below the threshold", PACKAGE_SOFTWARE, both, 1, false},
		{"software signed by both", PACKAGE_SOFTWARE, both, 2, true},
		{"images signed by the image key", PACKAGE_IMAGES, &w->keys.image, 1, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char version[8];

		snprintf(version, sizeof(version), "%d", (int)i);
		fixture_manifest(cases[i].kind, cases[i].kind == PACKAGE_IMAGES ? "art" : "app",
			version, cases[i].keys, cases[i].count, &w->envelope, &w->package);
		offer(w, "pub");
		if ((presence_find(w->p, &w->package) != NULL) != cases[i].good)
			fail_msg("%s: %s", cases[i].name, w->directive.reason);
		if (!cases[i].good) {
			assert_int_equal(w->directive.directive.kind, DIRECTIVE_NOTED);
			assert_memory_equal(w->directive.reason, "refused: ", 9);
		}
	}
}

static void S002_14_a_package_and_its_name_belong_to_one_publisher(void **state)
{
	struct world *w = *state;
	struct publisher_msg stop = {.state = PUB_WITHDRAWN};

	offer_images(w, "1");
	offer(w, "other");
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_NOTED);
	assert_memory_equal(w->directive.reason, "refused: ", 9);
	stop.package = w->package;
	tell(w, "other", &stop);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	fixture_manifest(PACKAGE_IMAGES, "art", "2", &w->keys.image, 1, &w->envelope, &w->package);
	offer(w, "other"); // another package of the same name
	assert_null(presence_find(w->p, &w->package));
	assert_memory_equal(w->directive.reason, "refused: ", 9);
}

static void an_offer_whose_id_is_not_its_manifests_is_refused(void **state)
{
	struct world *w = *state;

	fixture_manifest(PACKAGE_IMAGES, "art", "1", &w->keys.image, 1, &w->envelope, &w->package);
	w->package.b[0] ^= 1;
	offer(w, "pub");
	assert_null(presence_find(w->p, &w->package));
	assert_memory_equal(w->directive.reason, "refused: ", 9);
}

// ---------------------------------------------------------------- directives

static void only_the_answer_to_the_directive_in_force_counts(void **state)
{
	struct world *w = *state;

	offer_images(w, "1");
	claim(w, 7);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	assert_int_equal(w->readbacks, 0);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_TRANSMIT); // told what is in force
	claim(w, 1);
	assert_int_equal(pack(w)->state, PLACE_VERIFYING);
	assert_int_equal(w->readbacks, 1);
	claim(w, 1); // said again
	assert_int_equal(w->readbacks, 1);
}

static void directive_ids_rise_and_survive_a_restart(void **state)
{
	struct world *w = *state;
	uint64_t last = 0;

	stored(w);
	for (int i = 0; i < 3; i++) {
		struct publisher_msg m = {.state = PUB_FAILED, .package = w->package};

		assert_true(pack(w)->directive_id > last);
		last = pack(w)->directive_id;
		m.directive_id = last;
		tell(w, "pub", &m);
		restart(w);
		presence_broker(w->p, "da", true, "", w->now);
		presence_broker(w->p, "db", true, "", w->now);
		pass(w, 20);
	}
}

static void an_unanswered_directive_is_said_again_also_after_a_restart(void **state)
{
	struct world *w = *state;
	int before;

	offer_images(w, "1");
	before = w->directives;
	pass(w, 6);
	assert_true(w->directives > before);
	assert_int_equal(w->directive.directive.directive_id, 1);
	restart(w);
	w->directive = (struct sent){0};
	pass(w, 2); // the brokers are not away, only not reached yet
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_TRANSMIT);
	assert_int_equal(w->directive.directive.directive_id, 1);
	presence_broker(w->p, "da", true, "", w->now);
	pass(w, 10);
	assert_int_equal(w->directive.directive.directive_id, 1);
}

static void a_failed_publisher_is_sent_to_another_broker(void **state)
{
	struct world *w = *state;
	struct publisher_msg m = {
		.state = PUB_FAILED, .detail = "the broker is full", .directive_id = 1};

	offer_images(w, "1");
	m.package = w->package;
	assert_string_equal(pack(w)->broker, "da");
	tell(w, "pub", &m);
	assert_int_equal(pack(w)->state, PLACE_DEFERRED);
	pass(w, 5);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	assert_string_equal(pack(w)->broker, "db");
}

// ---------------------------------------------------------------- grants

static void S002_7_nothing_is_granted_before_our_own_read_back(void **state)
{
	struct world *w = *state;

	offer_images(w, "1");
	want(w, "f1", (struct fetch_request){.request_id = 1});
	assert_false(w->grant.grant.granted);
	assert_true(w->grant.grant.retry_after_ms > 0);
	claim(w, 1);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	assert_false(w->grant.grant.granted);
	assert_memory_equal(w->order.mark.b, ((struct id16){{9}}).b, 16);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	// Whoever waited is served unasked, under its own request.
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.to, "f1");
	assert_int_equal(w->grant.grant.request_id, 1);
	assert_string_equal(w->grant.broker, "da");
	assert_memory_equal(&w->grant.grant.publisher_key, sign_key_public(w->keys.publisher), 32);
	assert_int_equal(pack(w)->state, PLACE_STORED);
}

static void S002_8_a_request_is_answered_once_and_the_same_again(void **state)
{
	struct world *w = *state;
	uint64_t lease;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 5});
	assert_true(w->grant.grant.granted);
	lease = w->grant.grant.lease;
	want(w, "f1", (struct fetch_request){.request_id = 5});
	assert_int_equal(w->grant.grant.lease, lease);
	assert_int_equal(w->grant.grant.request_id, 5);
	assert_int_equal(pack(w)->leases, 1);
	want(w, "f2", (struct fetch_request){.request_id = 5});
	assert_true(w->grant.grant.lease != lease);
	assert_int_equal(pack(w)->leases, 2);
	assert_int_equal(w->grant.grant.rate_bytes_per_s, 500000); // half of the broker
}

static void S002_8_what_is_not_meant_or_not_known_is_refused(void **state)
{
	struct world *w = *state;

	stored(w);
	w->meant = false;
	want(w, "f1", (struct fetch_request){.request_id = 1});
	assert_false(w->grant.grant.granted);
	assert_memory_equal(w->grant.reason, "not-meant", 9);
	w->meant = true;
	w->package.b[5] ^= 1;
	want(w, "f1", (struct fetch_request){.request_id = 2});
	assert_false(w->grant.grant.granted);
	assert_memory_equal(w->grant.reason, "unknown", 7);
	w->package.b[5] ^= 1;
	assert_int_equal(pack(w)->leases, 0);
	assert_int_equal(leases_count(w->p->leases), 0);
}

static void S002_11_stop_comes_when_the_last_lease_is_gone_for_linger(void **state)
{
	struct world *w = *state;
	uint64_t one, two;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	one = w->grant.grant.lease;
	want(w, "f2", (struct fetch_request){.request_id = 1});
	two = w->grant.grant.lease;
	release(w, "f1", one);
	assert_true(w->grant.grant.release_acked);
	release(w, "f1", two); // not its own: acknowledged, and nothing ends
	assert_int_equal(pack(w)->leases, 1);
	for (int i = 0; i < 30; i++) {
		presence_lease_renew(w->p, "f2", two, 1000);
		pass(w, 1);
		assert_int_equal(pack(w)->state, PLACE_STORED);
	}
	release(w, "f2", two);
	assert_int_equal(pack(w)->state, PLACE_LINGER);
	pass(w, 9);
	assert_int_equal(pack(w)->state, PLACE_LINGER);
	pass(w, 2);
	assert_int_equal(pack(w)->state, PLACE_STOPPING);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_STOP);
}

static void S003_7_in_a_mass_silence_nothing_is_withdrawn_for_want_of_demand(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	many_are_silent = true;
	pass(w, 100); // the lease ended, and nobody asks
	assert_int_equal(pack(w)->leases, 0);
	assert_int_equal(pack(w)->state, PLACE_LINGER);
	many_are_silent = false; // they were heard, or a person said that they are gone
	pass(w, 1);
	assert_int_equal(pack(w)->state, PLACE_STOPPING);
}

static void S002_11_a_dead_client_holds_nothing_for_ever(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	pass(w, 4);
	assert_int_equal(pack(w)->leases, 1);
	pass(w, 2);
	assert_int_equal(pack(w)->leases, 0);
	pass(w, 11);
	assert_int_equal(pack(w)->state, PLACE_STOPPING);
}

static void a_lease_does_not_age_while_nobody_can_be_heard(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	presence_control(w->p, false);
	pass(w, 100);
	assert_int_equal(pack(w)->leases, 1);
	presence_control(w->p, true);
	w->now.mono.ms += 60000; // we were stopped for a minute
	pass(w, 1);
	assert_int_equal(pack(w)->leases, 1);
	pass(w, 6);
	assert_int_equal(pack(w)->leases, 0);
}

static void S002_12_after_stop_it_waits_until_somebody_asks(void **state)
{
	struct world *w = *state;
	struct publisher_msg m = {.state = PUB_STOPPED}, alive = {.state = PUB_ALIVE};
	int before;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	release(w, "f1", w->grant.grant.lease);
	pass(w, 11);
	m.package = alive.package = w->package;
	m.directive_id = pack(w)->directive_id;
	want(w, "f2", (struct fetch_request){.request_id = 2}); // no grant while it stops
	assert_false(w->grant.grant.granted);
	release(w, "f2", 0);
	tell(w, "pub", &m);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_WAIT);
	assert_int_equal(w->directive.directive.request_id, w->request);
	assert_int_equal(pack(w)->state, PLACE_WAITING);
	before = w->directives;
	pass(w, 60);
	assert_int_equal(w->directives, before);
	restart(w);
	presence_broker(w->p, "da", true, "", w->now);
	presence_broker(w->p, "db", true, "", w->now);
	pass(w, 2);
	tell(w, "pub", &alive); // a publisher that restarted asks, and waits on
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_WAIT);
	want(w, "f3", (struct fetch_request){.request_id = 3});
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_TRANSMIT);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	assert_false(w->grant.grant.granted);
	claim(w, pack(w)->directive_id);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.to, "f3");
}

static void S002_15_what_nobody_asks_for_goes_after_its_grace(void **state)
{
	struct world *w = *state;

	stored(w);
	pass(w, 99);
	assert_int_equal(pack(w)->state, PLACE_LINGER);
	pass(w, 2);
	assert_int_equal(pack(w)->state, PLACE_STOPPING);
}

static void S002_15_with_grace_0_it_stays(void **state)
{
	struct world *w = *state;

	w->p->config.first_viewer_grace_s = 0;
	stored(w);
	pass(w, 1000);
	assert_int_equal(pack(w)->state, PLACE_LINGER);
}

// ---------------------------------------------------------------- what goes wrong

static void a_broker_that_forgot_is_filled_again_only_if_somebody_wants_it(void **state)
{
	struct world *w = *state;

	stored(w);
	presence_broker(w->p, "da", false, "killed", w->now);
	assert_int_equal(pack(w)->state, PLACE_VERIFYING);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	assert_false(w->grant.grant.granted);
	presence_broker(w->p, "da", true, "", w->now);
	pass(w, 1);
	assert_int_equal(w->readbacks, 2);
	presence_readback(
		w->p, w->order_broker, &w->package, READBACK_LOST, "the mark is gone", w->now);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_TRANSMIT);
	assert_int_equal(w->directive.directive.directive_id, 2);
}

static void a_broker_that_forgot_what_nobody_wants_stays_empty(void **state)
{
	struct world *w = *state;

	stored(w);
	presence_broker(w->p, "da", false, "killed", w->now);
	presence_broker(w->p, "da", true, "", w->now);
	pass(w, 1);
	presence_readback(
		w->p, w->order_broker, &w->package, READBACK_LOST, "the mark is gone", w->now);
	assert_int_equal(pack(w)->state, PLACE_STOPPING);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_STOP);
}

static void content_that_is_wanted_moves_when_its_broker_stays_away(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	presence_broker(w->p, "da", false, "killed", w->now);
	pass(w, 1);
	assert_int_equal(pack(w)->state, PLACE_VERIFYING);
	pass(w, 3);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	assert_string_equal(pack(w)->broker, "db");
	assert_int_equal(leases_count(w->p->leases), 0); // old grants die
	claim(w, pack(w)->directive_id);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.broker, "db");
	assert_int_equal(w->grant.grant.request_id, 1);
}

static void missing_objects_are_looked_for_and_repaired(void **state)
{
	struct world *w = *state;
	struct digest missing[2] = {{{1}}, {{2}}};

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	want(w, "f1",
		(struct fetch_request){
			.request_id = 2, .missing_objects = missing, .missing_count = 2});
	assert_false(w->grant.grant.granted);
	assert_int_equal(w->order.object_count, 2);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_OBJECTS_MISSING, "", w->now);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_REPAIR);
	assert_int_equal(w->directive.objects, 2);
	assert_int_equal(pack(w)->leases, 1); // the others go on fetching
	claim(w, pack(w)->directive_id);
	assert_int_equal(w->order.object_count, 2); // granted again only after reading them back
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_true(w->grant.grant.granted);
	assert_int_equal(w->grant.grant.request_id, 2);
}

static void a_wrong_complaint_is_looked_at_once(void **state)
{
	struct world *w = *state;
	struct digest missing[1] = {{{1}}};
	struct fetch_request f = {.request_id = 2, .missing_objects = missing, .missing_count = 1};
	int before;

	stored(w);
	presence_broker(w->p, "db", false, "away", w->now); // there is no other
	want(w, "f1", (struct fetch_request){.request_id = 1});
	want(w, "f1", f);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	before = w->readbacks;
	for (uint64_t i = 3; i < 10; i++) {
		f.request_id = i;
		want(w, "f1", f);
		assert_true(w->grant.grant.granted);
		assert_int_equal(w->grant.grant.request_id, i);
	}
	assert_int_equal(w->readbacks, before);
}

static void complaints_of_two_clients_do_not_wear_each_other_out(void **state)
{
	struct world *w = *state;
	struct digest a[1] = {{{1}}}, b[1] = {{{2}}};
	struct fetch_request one = {.missing_objects = a, .missing_count = 1};
	struct fetch_request two = {.missing_objects = b, .missing_count = 1};
	int before = 0;

	stored(w);
	presence_broker(w->p, "db", false, "away", w->now);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	want(w, "f2", (struct fetch_request){.request_id = 1});
	for (uint64_t round = 2; round < 6; round++) {
		one.request_id = two.request_id = round;
		want(w, "f1", one);
		presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
		want(w, "f2", two);
		presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
		before = round == 2 ? w->readbacks : before;
	}
	assert_int_equal(w->readbacks, before);
	assert_true(w->grant.grant.granted);
}

// It lies there for us and not for the client: it is believed the second time it says so.
static void who_misses_again_what_is_there_is_served_from_elsewhere(void **state)
{
	struct world *w = *state;
	struct digest missing = sha256("object", 6);
	struct fetch_request r = {.missing_objects = &missing, .missing_count = 1};

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	r.request_id = 2;
	want(w, "f1", r);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_string_equal(w->grant.broker, "da");
	for (int i = 0; i < 20; i++) { // however long it took to find out
		presence_lease_renew(w->p, "f1", w->grant.grant.lease, 1000);
		pass(w, 1);
	}
	r.request_id = 3;
	want(w, "f1", r);
	assert_false(w->grant.grant.granted);
	assert_string_equal(pack(w)->broker, "db");
	assert_int_equal(pack(w)->state, PLACE_SENDING);
}

static void an_only_consumer_that_cannot_reach_the_broker_gets_another(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	want(w, "f1", (struct fetch_request){.request_id = 2, .failed_broker = "da"});
	assert_true(w->grant.grant.granted); // it was read back a moment ago
	want(w, "f1", (struct fetch_request){.request_id = 3, .failed_broker = "da"});
	assert_false(w->grant.grant.granted);
	assert_string_equal(pack(w)->broker, "db");
	assert_int_equal(pack(w)->state, PLACE_SENDING);
}

static struct fetch_request failed(uint64_t request_id, const char *broker)
{
	return (struct fetch_request){.request_id = request_id, .failed_broker = broker};
}

static void S001_c26_who_cannot_reach_a_broker_waits_until_nobody_fetches_there(void **state)
{
	struct world *w = *state;
	uint64_t lease;

	stored(w);
	want(w, "f2", (struct fetch_request){.request_id = 1});
	lease = w->grant.grant.lease;
	want(w, "f1", (struct fetch_request){.request_id = 1});
	want(w, "f1", failed(2, "da"));
	assert_true(w->grant.grant.granted);
	want(w, "f1", failed(3, "da"));
	assert_false(w->grant.grant.granted);
	assert_memory_equal(w->grant.reason, "elsewhere", 9);
	assert_true(w->grant.grant.retry_after_ms > 0);
	assert_string_equal(pack(w)->broker, "da"); // f2 fetches there
	assert_null(leases_of_client(w->p->leases, "f1", &w->package));
	pass(w, 1);
	assert_int_equal(pack(w)->state, PLACE_STORED);
	release(w, "f2", lease);
	pass(w, 1);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	assert_string_equal(pack(w)->broker, "db");
	claim(w, pack(w)->directive_id);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_true(w->grant.grant.granted); // unasked: it waited
	assert_string_equal(w->grant.to, "f1");
	assert_string_equal(w->grant.broker, "db");
}

static void S001_c26_a_broker_is_out_of_question_for_one_client_and_its_next_package(void **state)
{
	struct world *w = *state;
	uint64_t lease;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	want(w, "f1", failed(2, "da"));
	want(w, "f1", failed(3, "da"));
	claim(w, pack(w)->directive_id);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_string_equal(w->grant.broker, "db");
	lease = w->grant.grant.lease;
	release(w, "f1", lease);
	// The next package lies on da: f2 is granted it there, f1 is not.
	offer_images(w, "2");
	claim(w, pack(w)->directive_id);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	assert_string_equal(pack(w)->broker, "da");
	want(w, "f2", (struct fetch_request){.request_id = 1});
	assert_true(w->grant.grant.granted);
	lease = w->grant.grant.lease;
	want(w, "f1", (struct fetch_request){.request_id = 9});
	assert_false(w->grant.grant.granted);
	release(w, "f2", lease);
	assert_string_equal(pack(w)->broker, "da");
	pass(w, 1);
	assert_string_equal(pack(w)->broker, "db"); // nobody else fetched: moved for f1
}

static void S001_c26_who_cannot_reach_any_broker_is_granted_all_the_same(void **state)
{
	struct world *w = *state;

	stored(w);
	presence_broker(w->p, "db", false, "away", w->now);
	for (uint64_t i = 1; i < 8; i++) {
		want(w, "f1", failed(i, "da"));
		if (pack(w)->state == PLACE_VERIFYING)
			presence_readback(
				w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
		assert_true(w->grant.grant.granted); // its own tries end the operation
		assert_string_equal(w->grant.broker, "da");
	}
}

static void leases_and_placements_survive_a_restart(void **state)
{
	struct world *w = *state;
	uint64_t lease;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 4});
	lease = w->grant.grant.lease;
	restart(w);
	assert_int_equal(pack(w)->state, PLACE_VERIFYING); // our connection is a new one
	assert_int_equal(pack(w)->leases, 1);
	assert_int_equal(w->brokers.items[0].leases, 1);
	presence_broker(w->p, "da", true, "", w->now);
	pass(w, 1);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	want(w, "f1", (struct fetch_request){.request_id = 4});
	assert_true(w->grant.grant.granted);
	assert_int_equal(w->grant.grant.lease, lease);
}

// ---------------------------------------------------------------- further copies

static void answer_copy(struct world *w, enum publisher_state state, const char *broker)
{
	const struct copy *c = copies_find(pack(w), broker);
	struct publisher_msg m = {.state = state,
		.package = w->package,
		.broker_id = broker,
		.mark = {{7}},
		.index_sha256 = {{8}}};

	assert_non_null(c);
	m.directive_id = c->directive_id;
	tell(w, "pub", &m);
}

// Four leases are all that da serves well; the fifth waits for a copy and is granted it there.
static void crowd(struct world *w)
{
	char client[16];

	stored(w);
	w->p->config.share_bytes_per_s = 250000;
	for (uint64_t i = 1; i <= 5; i++) {
		snprintf(client, sizeof(client), "c%d", (int)i);
		want(w, client, (struct fetch_request){.request_id = i});
	}
	assert_int_equal(pack(w)->leases, 4);
	assert_false(w->grant.grant.granted);
	assert_non_null(strstr(w->grant.reason, "further copy"));
	assert_int_equal(pack(w)->copy_count, 1);
	assert_string_equal(pack(w)->copies[0].broker, "db");
}

static void four_go_on(struct world *w, int seconds)
{
	static const char *const clients[] = {"c1", "c2", "c3", "c4"};

	for (int i = 0; i < seconds; i++) {
		for (uint64_t lease = 1; lease <= 4; lease++)
			presence_lease_renew(w->p, clients[lease - 1], lease, 1000);
		pass(w, 1);
	}
}

static void a_crowd_gets_a_further_copy_on_another_broker(void **state)
{
	struct world *w = *state;

	crowd(w);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_TRANSMIT);
	assert_string_equal(w->directive.broker, "db");
	assert_int_equal(w->directive.directive.directive_id, 2);
	answer_copy(w, PUB_STORED, "db");
	assert_string_equal(w->order_broker, "db");
	assert_int_equal(pack(w)->leases, 4); // nobody before our own read-back
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.to, "c5");
	assert_string_equal(w->grant.broker, "db");
	assert_int_equal(copies_first_leases(pack(w)), 4);
	assert_int_equal(pack(w)->state, PLACE_STORED);
	// The first placement's own word is still the one in force for it.
	assert_int_equal(pack(w)->directive_id, 1);
	assert_int_equal(pack(w)->directive_top, 2);
	// The next goes to where the share is largest.
	want(w, "c6", (struct fetch_request){.request_id = 6});
	assert_string_equal(w->grant.broker, "db");
}

// A thousand clients ask in the same second: each is answered, has one lease or waits, and in the
// end all are granted, on both brokers.
static void a_thousand_that_ask_in_the_same_second_are_all_served(void **state)
{
	struct world *w = *state;
	char client[16];
	int answered = w->grants;

	stored(w);
	w->p->config.share_bytes_per_s = 10000;
	for (uint64_t round = 0; round < 2; round++) // impatient ones ask twice
		for (int i = 0; i < 1000; i++) {
			snprintf(client, sizeof(client), "c%d", i);
			want(w, client, (struct fetch_request){.request_id = 1 + round});
		}
	assert_int_equal(w->grants - answered, 2000);
	assert_int_equal(pack(w)->leases, 100); // the share of the first broker
	assert_int_equal(HASH_COUNT(pack(w)->waiting), 900);
	assert_int_equal(pack(w)->copy_count, 1);
	answer_copy(w, PUB_STORED, "db");
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	assert_int_equal(pack(w)->leases, 1000); // there is no third broker: the share gets small
	assert_int_equal(HASH_COUNT(pack(w)->waiting), 0);
	assert_int_equal(pack(w)->copies[0].leases, 500);
	assert_int_equal(w->brokers.items[0].leases, 500);
	restart(w);
	assert_int_equal(pack(w)->leases, 1000);
	assert_int_equal(pack(w)->copies[0].leases, 500);
	assert_int_equal(leases_count(w->p->leases), 1000);
}

// The memory of a broker is what bounds how many fetch there at once, and who waits is granted as
// soon as somebody is done.
static void who_finds_no_slot_waits_and_is_granted_when_one_is_free(void **state)
{
	struct world *w = *state;
	uint64_t first, taken = 0;

	stored(w);
	pack(w)->object_bytes = 10 << 20;
	w->p->config.windows.budget_bytes = 3 * (uint64_t)LIMIT_OBJECT;
	want(w, "c1", (struct fetch_request){.request_id = 1});
	first = w->grant.grant.lease;
	assert_in_range(w->grant.grant.window_bytes, 1, LIMIT_OBJECT);
	want(w, "c2", (struct fetch_request){.request_id = 2});
	want(w, "c3", (struct fetch_request){.request_id = 3});
	assert_true(w->grant.grant.granted);
	want(w, "c4", (struct fetch_request){.request_id = 4});
	assert_false(w->grant.grant.granted);
	assert_memory_equal(w->grant.reason, "slots: ", 7);
	assert_true(w->grant.grant.retry_after_ms >= PRESENCE_RETRY_MS);
	want(w, "c5", (struct fetch_request){.request_id = 5});
	want(w, "c4", (struct fetch_request){.request_id = 4}); // impatient
	assert_int_equal(HASH_COUNT(pack(w)->waiting), 2);
	assert_int_equal(pack(w)->leases, 3);
	release(w, "c1", first);
	assert_true(w->grant.grant.granted); // nobody asked again
	assert_string_equal(w->grant.to, "c4");
	assert_int_equal(HASH_COUNT(pack(w)->waiting), 1);
	for (size_t b = 0; b < w->brokers.count; b++)
		taken += w->brokers.items[b].slots_bytes;
	assert_int_equal(taken, 3 * LIMIT_OBJECT);
	for (int i = 0; i < 2; i++) { // also of a reload
		restart(w); // what they were granted is not known any more: the most that it can be
		taken = 0;
		for (size_t b = 0; b < w->brokers.count; b++)
			taken += w->brokers.items[b].slots_bytes;
		assert_int_equal(taken, 3 * window_slot_most(pack(w)->object_bytes));
	}
}

static uint64_t slots_of(const struct world *w, const char *broker)
{
	for (size_t b = 0; b < w->brokers.count; b++)
		if (strcmp(w->brokers.items[b].id, broker) == 0)
			return w->brokers.items[b].slots_bytes;
	return UINT64_MAX;
}

// As the wire has it: what grants promised, until each of them is released.
static void a_thousand_windows_stay_in_the_memory_of_the_broker_and_all_have_their_turn(
	void **state)
{
	struct world *w = *state;
	const uint64_t budget = 40 << 20;
	uint64_t most = 0;
	char client[16];
	int served = 0;

	stored(w);
	pack(w)->object_bytes = 100 << 20;
	w->p->config.windows.budget_bytes = budget;
	for (int i = 0; i < 1000; i++) {
		snprintf(client, sizeof(client), "c%d", i);
		want(w, client, (struct fetch_request){.request_id = 1});
		assert_true(w->grant.grant.granted || w->grant.grant.retry_after_ms > 0);
	}
	assert_int_equal(pack(w)->leases + HASH_COUNT(pack(w)->waiting), 1000);
	assert_in_range(pack(w)->leases, 20, 40);
	while (pack(w)->leases > 0) {
		void *cursor = NULL;
		struct lease *l = leases_next(w->p->leases, &cursor);
		uint64_t sum = slots_of(w, "da");

		assert_true(sum <= budget);
		most = sum > most ? sum : most;
		snprintf(client, sizeof(client), "%.15s", l->client);
		release(w, client, l->id);
		served++;
	}
	assert_int_equal(served, 1000);
	assert_int_equal(HASH_COUNT(pack(w)->waiting), 0);
	assert_int_equal(slots_of(w, "da"), 0);
	assert_true(most > budget * 9 / 10); // and none of it lies idle
}

static void budget_of_da(struct world *w, uint64_t bytes_per_s, uint32_t fetches)
{
	const struct budget b = {.kind = BUDGET_BROKER,
		.name = "da",
		.bytes_per_s = bytes_per_s,
		.fetches = fetches,
		.is_stored = true};

	assert_int_equal(budgets_put(rates_budgets(w->p->rates), &b), ERR_OK);
	rates_budgets_changed(w->p->rates);
}

static uint32_t turn_told(
	struct world *w, const char *client, uint64_t request_id, const char *text)
{
	want(w, client, (struct fetch_request){.request_id = request_id});
	assert_false(w->grant.grant.granted);
	assert_non_null(strstr(w->grant.reason, text));
	return w->grant.grant.retry_after_ms;
}

// Two at once share 1 MB/s, of 4 MB each: every four seconds one of them is done.
static void who_waits_for_a_slot_is_told_when_its_turn_comes(void **state)
{
	struct world *w = *state;
	uint64_t lease;

	stored(w);
	pack(w)->object_bytes = 4000000;
	budget_of_da(w, 1000000, 2);
	want(w, "c1", (struct fetch_request){.request_id = 1});
	lease = w->grant.grant.lease;
	want(w, "c2", (struct fetch_request){.request_id = 1});
	assert_true(w->grant.grant.granted);
	assert_int_equal(turn_told(w, "c3", 1, "2 fetch at once from da, 1 wait"), 4000);
	assert_int_equal(turn_told(w, "c4", 1, "2 wait for their turn, this one about 8 s"), 8000);
	assert_int_equal(turn_told(w, "c5", 1, "about 12 s"), 12000);
	assert_int_equal(turn_told(w, "c4", 2, "about 8 s"), 8000); // it keeps its place
	release(w, "c1", lease);
	assert_string_equal(w->grant.to, "c3");
	assert_int_equal(turn_told(w, "c5", 2, "about 8 s"), 8000); // and comes forward
	budget_of_da(w, 10000, 2);
	assert_int_equal(turn_told(w, "c4", 3, "about 400 s"), PRESENCE_TURN_MS);
	pack(w)->object_bytes = 1000;
	assert_int_equal(turn_told(w, "c4", 4, "about 0 s"), PRESENCE_RETRY_MS);
}

static void when_no_further_broker_may_be_chosen_the_share_is_small(void **state)
{
	struct world *w = *state;

	stored(w);
	w->p->config.share_bytes_per_s = 1000000;
	presence_broker(w->p, "db", false, "gone", w->now);
	want(w, "c1", (struct fetch_request){.request_id = 1});
	want(w, "c2", (struct fetch_request){.request_id = 2});
	assert_int_equal(pack(w)->leases, 2);
	assert_int_equal(pack(w)->copy_count, 0);
}

static void who_waits_for_a_copy_waits_a_bounded_time(void **state)
{
	struct world *w = *state;

	crowd(w);
	four_go_on(w, COPY_PATIENCE_MS / 1000 + 1);
	want(w, "c5", (struct fetch_request){.request_id = 5});
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.broker, "da");
}

static void a_copy_that_nobody_fetches_from_goes_and_the_first_one_stays(void **state)
{
	struct world *w = *state;

	a_crowd_gets_a_further_copy_on_another_broker(state);
	for (int i = 5; i <= 6; i++) {
		char client[16];
		snprintf(client, sizeof(client), "c%d", i);
		release(w, client, 0);
	}
	assert_int_equal(pack(w)->leases, 4);
	four_go_on(w, 12);
	assert_int_equal(pack(w)->leases, 4);
	assert_int_equal(pack(w)->copies[0].state, PLACE_STOPPING);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_STOP);
	assert_string_equal(w->directive.broker, "db");
	answer_copy(w, PUB_STOPPED, "db");
	assert_int_equal(pack(w)->copy_count, 0);
	assert_int_equal(pack(w)->state, PLACE_STORED);
}

static void a_copy_takes_the_place_of_a_first_one_that_is_lost(void **state)
{
	struct world *w = *state;
	int before;

	a_crowd_gets_a_further_copy_on_another_broker(state);
	before = w->directives;
	presence_broker(w->p, "da", false, "gone", w->now);
	for (int i = 0; i < 4; i++) {
		for (uint64_t lease = 5; lease <= 6; lease++) {
			char client[16];
			snprintf(client, sizeof(client), "c%d", (int)lease);
			presence_lease_renew(w->p, client, lease, 1000);
		}
		pass(w, 1);
	}
	assert_string_equal(pack(w)->broker, "db");
	assert_string_equal(w->order_broker, "db");
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	assert_int_equal(pack(w)->state, PLACE_STORED);
	assert_int_equal(pack(w)->leases, 6); // those of da are served here
	// Nothing was transmitted again; what lies at da is to be withdrawn.
	assert_true(w->directives > before);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_STOP);
	assert_string_equal(w->directive.broker, "da");
}

static void copies_and_their_leases_survive_a_restart(void **state)
{
	struct world *w = *state;
	uint64_t top;

	a_crowd_gets_a_further_copy_on_another_broker(state);
	top = pack(w)->directive_top;
	restart(w);
	assert_int_equal(pack(w)->copy_count, 1);
	assert_int_equal(pack(w)->copies[0].state, PLACE_VERIFYING);
	assert_int_equal(pack(w)->copies[0].leases, 2);
	assert_int_equal(pack(w)->leases, 6);
	assert_int_equal(pack(w)->directive_top, top);
	presence_broker(w->p, "db", true, "", w->now);
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	assert_int_equal(pack(w)->copies[0].state, PLACE_STORED);
}

static void a_copy_that_is_not_there_is_left_and_its_clients_are_served_elsewhere(void **state)
{
	struct world *w = *state;

	a_crowd_gets_a_further_copy_on_another_broker(state);
	presence_broker(w->p, "db", false, "restarted", w->now);
	presence_broker(w->p, "db", true, "", w->now);
	presence_readback(w->p, "db", &w->package, READBACK_LOST, "the mark is gone", w->now);
	assert_int_equal(pack(w)->copies[0].state, PLACE_STOPPING);
	assert_int_equal(pack(w)->copies[0].leases, 0);
	assert_int_equal(copies_first_leases(pack(w)), 6);
	assert_string_equal(w->grant.broker, "da");
}

static void a_complaint_of_a_copy_is_no_matter_of_the_first_one(void **state)
{
	struct world *w = *state;
	struct digest missing = sha256("object", 6);
	struct fetch_request r = {.missing_objects = &missing, .missing_count = 1};

	a_crowd_gets_a_further_copy_on_another_broker(state);
	pass(w, 1);
	for (r.request_id = 7; r.request_id < 10; r.request_id++) { // it asks again
		want(w, "c5", r);
		assert_int_equal(pack(w)->copies[0].state, PLACE_VERIFYING);
		assert_int_equal(pack(w)->state, PLACE_STORED);
	}
}

static void who_cannot_reach_the_first_broker_is_served_by_a_further_copy(void **state)
{
	struct world *w = *state;

	a_crowd_gets_a_further_copy_on_another_broker(state);
	want(w, "c1", (struct fetch_request){.request_id = 7, .failed_broker = "da"});
	want(w, "c1", (struct fetch_request){.request_id = 8, .failed_broker = "da"});
	assert_true(w->grant.grant.granted); // at once, whoever else fetches
	assert_string_equal(w->grant.broker, "db");
	assert_string_equal(pack(w)->broker, "da");
	assert_int_equal(pack(w)->state, PLACE_STORED);
}

static void a_copy_on_a_broker_that_is_none_of_ours_any_more_is_forgotten(void **state)
{
	struct world *w = *state;

	a_crowd_gets_a_further_copy_on_another_broker(state);
	(void)str_copy(w->brokers.items[1].id, sizeof(w->brokers.items[1].id), "dz");
	presence_broker(w->p, "dz", false, "none of ours", w->now);
	pass(w, 1);
	assert_int_equal(pack(w)->copy_count, 0);
	assert_int_equal(copies_first_leases(pack(w)), 4);
	assert_int_equal(HASH_COUNT(pack(w)->waiting), 2); // who fetched there is to be served anew
}

// ---------------------------------------------------------------- what is left and taken back

static void what_a_placement_leaves_is_withdrawn_there(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "c1", (struct fetch_request){.request_id = 1});
	presence_broker(w->p, "da", false, "gone", w->now);
	for (int i = 0; i < 4; i++) {
		presence_lease_renew(w->p, "c1", 1, 1000);
		pass(w, 1);
	}
	assert_string_equal(pack(w)->broker, "db");
	assert_int_equal(pack(w)->copy_count, 1);
	assert_string_equal(pack(w)->copies[0].broker, "da");
	assert_int_equal(pack(w)->copies[0].state, PLACE_STOPPING);
	// It could not, for the broker is away; it is told again when that is back, until it has.
	answer_copy(w, PUB_FAILED, "da");
	presence_broker(w->p, "da", true, "", w->now);
	pass(w, 3);
	assert_false(pack(w)->copies[0].answered);
	answer_copy(w, PUB_STOPPED, "da");
	assert_int_equal(pack(w)->copy_count, 0);
}

static void say_of_directive(struct world *w, enum publisher_state state, const char *broker)
{
	struct publisher_msg m = {.state = state,
		.package = w->package,
		.directive_id = pack(w)->directive_id,
		.broker_id = broker};

	tell(w, "pub", &m);
}

static void it_is_stopped_at_da_until_it_has(struct world *w)
{
	assert_int_equal(pack(w)->copy_count, 1);
	assert_string_equal(pack(w)->copies[0].broker, "da");
	assert_int_equal(pack(w)->copies[0].state, PLACE_STOPPING);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_STOP);
	assert_string_equal(w->directive.broker, "da");
	answer_copy(w, PUB_FAILED, "da");
	pass(w, 3);
	assert_false(pack(w)->copies[0].answered); // told once more
	answer_copy(w, PUB_STOPPED, "da");
	assert_int_equal(pack(w)->copy_count, 0);
	pass(w, 100);
	assert_int_equal(pack(w)->copy_count, 0);
}

static void S002_11_a_withdrawal_that_failed_is_told_again_until_it_is_done(void **state)
{
	struct world *w = *state;

	stored(w);
	pass(w, 101);
	assert_int_equal(pack(w)->state, PLACE_STOPPING);
	say_of_directive(w, PUB_FAILED, "da");
	assert_int_equal(pack(w)->state, PLACE_WAITING);
	assert_int_equal(pack(w)->directive, DIRECTIVE_WAIT);
	it_is_stopped_at_da_until_it_has(w);
	assert_int_equal(pack(w)->state, PLACE_WAITING);
}

static void S002_11_an_operators_withdrawal_that_failed_is_told_again(void **state)
{
	struct world *w = *state;

	stored(w);
	assert_int_equal(presence_withdraw(w->p, &w->package, w->now), ERR_OK);
	say_of_directive(w, PUB_FAILED, "da");
	it_is_stopped_at_da_until_it_has(w);
	assert_int_equal(pack(w)->state, PLACE_WITHDRAWN);
}

static void S002_11_a_publishers_own_withdrawal_that_failed_is_told_again(void **state)
{
	struct world *w = *state;
	struct publisher_msg m = {.state = PUB_WITHDRAWN, .package = w->package};

	stored(w);
	m.package = w->package;
	tell(w, "pub", &m);
	assert_int_equal(pack(w)->state, PLACE_WITHDRAWN);
	m.state = PUB_FAILED; // to the directive of before
	m.broker_id = "da";
	m.directive_id = 1;
	tell(w, "pub", &m);
	it_is_stopped_at_da_until_it_has(w);
}

// Its line was taken out of the settings while nobody had asked for it yet.
static void S002_15_what_lies_at_a_broker_of_before_goes_after_its_grace(void **state)
{
	struct world *w = *state;

	stored(w);
	(void)str_copy(w->brokers.items[0].id, sizeof(w->brokers.items[0].id), "dz");
	restart(w);
	presence_broker(w->p, "dz", true, "", w->now);
	presence_broker(w->p, "db", true, "", w->now);
	pass(w, 99);
	assert_int_equal(pack(w)->state, PLACE_VERIFYING);
	pass(w, 2);
	assert_int_equal(pack(w)->state, PLACE_STOPPING);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_STOP);
	assert_string_equal(w->directive.broker, ""); // wherever the publisher knows that it lies
	say_of_directive(w, PUB_STOPPED, "da");
	assert_int_equal(pack(w)->state, PLACE_WAITING);
}

static void S002_5_a_step_of_the_clock_makes_nobody_less_recent(void **state)
{
	struct world *w = *state;

	w->p->config.recent_period_s = 100;
	offer_images(w, "1");
	assert_string_equal(w->directive.broker, "da");
	w->now.wall.ms += 3600000;
	offer_images(w, "2");
	assert_string_equal(w->directive.broker, "db");
	offer_images(w, "3");
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_DEFER);
	w->now.wall.ms -= 7200000;
	offer_images(w, "4");
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_DEFER);
	assert_in_range(w->directive.directive.retry_after_ms, 99000, 100000);
	pass(w, 98);
	assert_int_equal(pack(w)->state, PLACE_DEFERRED);
	pass(w, 3);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
}

static void S002_4_what_was_granted_and_not_measured_yet_counts_over_a_restart(void **state)
{
	struct world *w = *state;
	uint64_t fresh;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	pass(w, 1);
	fresh = w->brokers.items[0].fresh_bytes_per_s;
	assert_int_equal(fresh, 1000000);
	restart(w);
	presence_lease_renew(w->p, "f1", 1, 60000);
	pass(w, 1);
	assert_int_equal(w->brokers.items[0].fresh_bytes_per_s, fresh);
	pass(w, 60); // the broker's own average shows it by now
	assert_int_equal(pack(w)->leases, 1);
	assert_int_equal(w->brokers.items[0].fresh_bytes_per_s, 0);
	restart(w);
	pass(w, 1);
	assert_int_equal(w->brokers.items[0].fresh_bytes_per_s, 0);
}

static void an_operators_withdrawal_holds_until_it_is_taken_back(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	assert_int_equal(presence_withdraw(w->p, &w->package, w->now), ERR_OK);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_STOP);
	assert_int_equal(leases_count(w->p->leases), 0);
	want(w, "f1", (struct fetch_request){.request_id = 2});
	assert_memory_equal(w->grant.reason, "withdrawn", 9);
	assert_int_equal(w->grant.grant.retry_after_ms, 0);
	restart(w);
	presence_broker(w->p, "da", true, "", w->now);
	pass(w, 2);
	offer(w, "pub"); // a publisher offers everything again when it restarts
	assert_int_equal(pack(w)->state, PLACE_WITHDRAWN);
	assert_memory_equal(w->directive.reason, "refused: ", 9);
	assert_int_equal(presence_restore(w->p, &w->package, w->now), ERR_OK);
	assert_int_equal(pack(w)->state, PLACE_SENDING);
	assert_int_equal(presence_restore(w->p, &w->package, w->now), ERR_NOT_NOW);
}

static void a_removed_client_holds_no_lease(void **state)
{
	struct world *w = *state;

	stored(w);
	want(w, "f1", (struct fetch_request){.request_id = 1});
	presence_principal_gone(w->p, "f1", ROLE_CLIENT, w->now);
	assert_int_equal(leases_count(w->p->leases), 0);
	assert_int_equal(w->brokers.items[0].leases, 0);
	presence_principal_gone(w->p, "pub", ROLE_PUBLISHER, w->now);
	assert_int_equal(pack(w)->state, PLACE_WITHDRAWN);
}

// ---------------------------------------------------------------- deltas

static struct digest two_versions(struct world *w)
{
	stored(w);
	struct digest old = w->package;
	offer_images(w, "2");
	claim(w, pack(w)->directive_id);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	return old;
}

static void delta_said(struct world *w, const struct digest *base, enum publisher_state state)
{
	struct publisher_msg m = {.state = state,
		.package = w->package,
		.base = *base,
		.broker_id = pack(w)->broker,
		.mark = {{9}},
		.object_bytes = 5};

	tell(w, "pub", &m);
}

static void bases_that_clients_hold_are_told_to_the_publisher(void **state)
{
	struct world *w = *state;

	w->holders = 3;
	struct digest old = two_versions(w);
	pass(w, 1);
	assert_int_equal(w->base_count, 1);
	assert_true(digest_equal(&w->bases[0], &old));
	unsigned told = w->bases_told;
	pass(w, 5);
	assert_int_equal(w->bases_told, told); // nothing changed
	offer(w, "pub");                       // a new session of the publisher
	pass(w, 1);
	assert_int_equal(w->bases_told, told + 1);
}

static void a_grant_names_a_base_only_when_its_delta_lies_there(void **state)
{
	struct world *w = *state;

	w->holders = 1;
	struct digest old = two_versions(w);
	pass(w, 1);
	want(w, "c1", (struct fetch_request){.request_id = 1, .base = old});
	assert_true(digest_is_zero(&w->grant.grant.index_base));
	delta_said(w, &old, PUB_STORED);
	want(w, "c1", (struct fetch_request){.request_id = 2, .base = old});
	assert_true(digest_equal(&w->grant.grant.index_base, &old));
	want(w, "c2", (struct fetch_request){.request_id = 3}); // wants none
	assert_true(digest_is_zero(&w->grant.grant.index_base));
	want(w, "c3", (struct fetch_request){.request_id = 4, .base = {{4}}}); // of another
	assert_true(digest_is_zero(&w->grant.grant.index_base));
	want(w, "holder", (struct fetch_request){.request_id = 5, .base = {{4}}}); // holds it too
	assert_true(digest_equal(&w->grant.grant.index_base, &old));
	delta_said(w, &old, PUB_FAILED);
	want(w, "c1", (struct fetch_request){.request_id = 6, .base = old});
	assert_true(digest_is_zero(&w->grant.grant.index_base));
}

static void a_base_is_dropped_when_nobody_holds_or_fetches_from_it(void **state)
{
	struct world *w = *state;

	w->holders = 1;
	struct digest old = two_versions(w);
	pass(w, 1);
	delta_said(w, &old, PUB_STORED);
	want(w, "c1", (struct fetch_request){.request_id = 1, .base = old});
	w->holders = 0;
	w->p->holdings_changed = true;
	pass(w, 3);
	assert_int_equal(w->base_count, 1); // c1 fetches from it
	release(w, "c1", w->grant.grant.lease);
	w->p->holdings_changed = true;
	pass(w, 3);
	assert_int_equal(w->base_count, 0);
	want(w, "c2", (struct fetch_request){.request_id = 2, .base = old});
	assert_true(digest_is_zero(&w->grant.grant.index_base));
}

static void a_copy_in_doubt_has_no_deltas(void **state)
{
	struct world *w = *state;

	w->holders = 1;
	struct digest old = two_versions(w);
	pass(w, 1);
	delta_said(w, &old, PUB_STORED);
	unsigned told = w->bases_told;
	presence_broker(w->p, pack(w)->broker, false, "gone", w->now);
	presence_broker(w->p, pack(w)->broker, true, "", w->now);
	presence_readback(w->p, w->order_broker, &w->package, READBACK_PROVEN, "", w->now);
	pass(w, 1);
	assert_int_equal(w->bases_told, told + 1); // asked for anew
	want(w, "c1", (struct fetch_request){.request_id = 1, .base = old});
	assert_true(digest_is_zero(&w->grant.grant.index_base));
	delta_said(w, &old, PUB_STORED);
	want(w, "c1", (struct fetch_request){.request_id = 2, .base = old});
	assert_true(digest_equal(&w->grant.grant.index_base, &old));
}

// ---------------------------------------------------------------- relays

// db is the relay of the lobby; l1 asks, and waits for it to be filled.
static void relay_asked(struct world *w)
{
	assert_int_equal(relay_add(&w->brokers, "db acme/lobby"), ERR_OK);
	w->p->config.relay_patience_s = 60;
	stored(w);
	assert_string_equal(pack(w)->broker, "da");
	want(w, "l1", (struct fetch_request){.request_id = 1});
	assert_false(w->grant.grant.granted);
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_TRANSMIT);
	assert_string_equal(w->directive.broker, "db");
	assert_int_equal(pack(w)->copy_count, 1);
}

static void relay_filled(struct world *w)
{
	relay_asked(w);
	answer_copy(w, PUB_STORED, "db");
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.to, "l1");
	assert_string_equal(w->grant.broker, "db");
}

static void expect_place(struct world *w, const char *client, uint64_t request, const char *broker)
{
	want(w, client, (struct fetch_request){.request_id = request});
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.to, client);
	assert_string_equal(w->grant.broker, broker);
}

static void a_relay_is_filled_when_its_site_asks_and_serves_nobody_else(void **state)
{
	struct world *w = *state;

	relay_asked(w);
	want(w, "l2", (struct fetch_request){.request_id = 1}); // one copy for all of the site
	assert_false(w->grant.grant.granted);
	assert_int_equal(pack(w)->copy_count, 1);
	expect_place(w, "b1", 1, "da"); // another site waits for nothing
	expect_place(w, "x1", 1, "da");
	answer_copy(w, PUB_STORED, "db");
	assert_int_equal(pack(w)->leases, 2); // nobody before our own read-back
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	assert_int_equal(pack(w)->copies[0].leases, 2);
	expect_place(w, "l3", 1, "db"); // however many fetch there already
	expect_place(w, "x2", 1, "da");
	expect_place(w, "b2", 1, "da");
}

static void the_first_placement_is_never_a_relay(void **state)
{
	struct world *w = *state;

	assert_int_equal(relay_add(&w->brokers, "db acme/lobby"), ERR_OK);
	presence_broker(w->p, "da", false, "gone", w->now);
	offer_images(w, "1");
	assert_int_equal(w->directive.directive.kind, DIRECTIVE_DEFER);
	presence_broker(w->p, "da", true, "", w->now);
	pass(w, 3);
	assert_string_equal(w->directive.broker, "da");
}

static void a_crowd_elsewhere_gets_no_copy_on_a_relay(void **state)
{
	struct world *w = *state;

	assert_int_equal(relay_add(&w->brokers, "db acme/lobby"), ERR_OK);
	stored(w);
	w->p->config.share_bytes_per_s = 900000;
	expect_place(w, "x1", 1, "da");
	expect_place(w, "x2", 1, "da");
	assert_int_equal(pack(w)->copy_count, 0);
}

static void when_the_relay_is_gone_its_site_is_served_like_all(void **state)
{
	struct world *w = *state;

	relay_filled(w);
	presence_broker(w->p, "db", false, "gone", w->now);
	expect_place(w, "l2", 1, "da");
	expect_place(w, "l1", 2, "da"); // in the middle of its fetch
	assert_int_equal(copies_first_leases(pack(w)), 2);
	pass(w, 4);
	assert_int_equal(pack(w)->copies[0].state, PLACE_STOPPING);
	presence_broker(w->p, "db", true, "", w->now);
	answer_copy(w, PUB_STOPPED, "db");
	pass(w, 1);
	want(w, "l3", (struct fetch_request){.request_id = 1}); // and it is filled again
	assert_false(w->grant.grant.granted);
	assert_string_equal(w->directive.broker, "db");
}

static void a_relay_that_is_not_filled_in_time_is_not_waited_for(void **state)
{
	struct world *w = *state;

	relay_asked(w);
	w->p->config.relay_patience_s = 3;
	pass(w, 2);
	want(w, "l1", (struct fetch_request){.request_id = 2});
	assert_false(w->grant.grant.granted);
	pass(w, 1);
	expect_place(w, "l1", 3, "da");
	answer_copy(w, PUB_STORED, "db"); // late: for the next one
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	expect_place(w, "l2", 1, "db");
}

// It shows us the right bytes, and one of its clients others.
static void a_relay_that_lies_to_a_client_is_left_by_that_one(void **state)
{
	struct world *w = *state;
	struct digest wrong = sha256("object", 6);
	struct fetch_request r = {.missing_objects = &wrong, .missing_count = 1};

	relay_filled(w);
	expect_place(w, "l2", 1, "db");
	r.request_id = 2;
	want(w, "l1", r);
	assert_int_equal(pack(w)->copies[0].state, PLACE_VERIFYING);
	presence_readback(w->p, "db", &w->package, READBACK_PROVEN, "", w->now);
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.broker, "db"); // it may have been a moment's fault
	r.request_id = 3;
	want(w, "l1", r);
	assert_true(w->grant.grant.granted);
	assert_string_equal(w->grant.to, "l1");
	assert_string_equal(w->grant.broker, "da");
	expect_place(w, "l3", 1, "db"); // nobody else said anything
}

static void a_relay_that_cannot_be_filled_is_done_without(void **state)
{
	struct world *w = *state;

	relay_asked(w);
	answer_copy(w, PUB_FAILED, "db");
	expect_place(w, "l1", 2, "da");
	answer_copy(w, PUB_STOPPED, "db");
	expect_place(w, "l2", 1, "da"); // not tried again at once
	pass(w, COPY_RETRY_MS / 1000);
	want(w, "l3", (struct fetch_request){.request_id = 1});
	assert_false(w->grant.grant.granted);
}

static void who_can_be_served_a_delta_does_not_wait_for_a_relay(void **state)
{
	struct world *w = *state;

	w->holders = 1;
	struct digest old = two_versions(w);
	pass(w, 1);
	delta_said(w, &old, PUB_STORED);
	assert_int_equal(relay_add(&w->brokers, "db acme/lobby"), ERR_OK);
	w->p->config.relay_patience_s = 60;
	assert_string_equal(pack(w)->broker, "da");
	want(w, "l1", (struct fetch_request){.request_id = 1, .base = old});
	assert_true(w->grant.grant.granted);
	assert_true(digest_equal(&w->grant.grant.index_base, &old));
	assert_string_equal(w->grant.broker, "da");
	want(w, "l2", (struct fetch_request){.request_id = 1}); // has no base
	assert_false(w->grant.grant.granted);
}

static void a_relay_never_becomes_the_first_placement(void **state)
{
	struct world *w = *state;

	relay_filled(w);
	presence_broker(w->p, "da", false, "gone", w->now);
	for (int i = 0; i < 4; i++) {
		presence_lease_renew(w->p, "l1", 1, 1000);
		pass(w, 1);
	}
	assert_string_not_equal(pack(w)->broker, "db");
	want(w, "l1", (struct fetch_request){.request_id = 1});
	assert_true(w->grant.grant.granted); // its site goes on
	assert_string_equal(w->grant.broker, "db");
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_make, world_drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(S002_3_an_offer_obtains_one_directive),
		T(bases_that_clients_hold_are_told_to_the_publisher),
		T(a_grant_names_a_base_only_when_its_delta_lies_there),
		T(a_base_is_dropped_when_nobody_holds_or_fetches_from_it),
		T(a_copy_in_doubt_has_no_deltas),
		T(S002_3_a_bad_offer_is_refused),
		T(S002_14_a_package_and_its_name_belong_to_one_publisher),
		T(an_offer_whose_id_is_not_its_manifests_is_refused),
		T(only_the_answer_to_the_directive_in_force_counts),
		T(directive_ids_rise_and_survive_a_restart),
		T(an_unanswered_directive_is_said_again_also_after_a_restart),
		T(a_failed_publisher_is_sent_to_another_broker),
		T(S002_7_nothing_is_granted_before_our_own_read_back),
		T(S002_8_a_request_is_answered_once_and_the_same_again),
		T(S002_8_what_is_not_meant_or_not_known_is_refused),
		T(S002_11_stop_comes_when_the_last_lease_is_gone_for_linger),
		T(S003_7_in_a_mass_silence_nothing_is_withdrawn_for_want_of_demand),
		T(S002_11_a_dead_client_holds_nothing_for_ever),
		T(a_lease_does_not_age_while_nobody_can_be_heard),
		T(S002_12_after_stop_it_waits_until_somebody_asks),
		T(S002_15_what_nobody_asks_for_goes_after_its_grace),
		T(S002_15_with_grace_0_it_stays),
		T(a_broker_that_forgot_is_filled_again_only_if_somebody_wants_it),
		T(a_broker_that_forgot_what_nobody_wants_stays_empty),
		T(content_that_is_wanted_moves_when_its_broker_stays_away),
		T(missing_objects_are_looked_for_and_repaired),
		T(a_wrong_complaint_is_looked_at_once),
		T(who_misses_again_what_is_there_is_served_from_elsewhere),
		T(complaints_of_two_clients_do_not_wear_each_other_out),
		T(an_only_consumer_that_cannot_reach_the_broker_gets_another),
		T(S001_c26_who_cannot_reach_a_broker_waits_until_nobody_fetches_there),
		T(S001_c26_a_broker_is_out_of_question_for_one_client_and_its_next_package),
		T(S001_c26_who_cannot_reach_any_broker_is_granted_all_the_same),
		T(leases_and_placements_survive_a_restart),
		T(a_crowd_gets_a_further_copy_on_another_broker),
		T(a_thousand_that_ask_in_the_same_second_are_all_served),
		T(who_finds_no_slot_waits_and_is_granted_when_one_is_free),
		T(a_thousand_windows_stay_in_the_memory_of_the_broker_and_all_have_their_turn),
		T(who_waits_for_a_slot_is_told_when_its_turn_comes),
		T(when_no_further_broker_may_be_chosen_the_share_is_small),
		T(who_waits_for_a_copy_waits_a_bounded_time),
		T(a_relay_is_filled_when_its_site_asks_and_serves_nobody_else),
		T(the_first_placement_is_never_a_relay),
		T(a_crowd_elsewhere_gets_no_copy_on_a_relay),
		T(when_the_relay_is_gone_its_site_is_served_like_all),
		T(a_relay_that_is_not_filled_in_time_is_not_waited_for),
		T(a_relay_that_lies_to_a_client_is_left_by_that_one),
		T(a_relay_that_cannot_be_filled_is_done_without),
		T(who_can_be_served_a_delta_does_not_wait_for_a_relay),
		T(a_relay_never_becomes_the_first_placement),
		T(a_copy_that_nobody_fetches_from_goes_and_the_first_one_stays),
		T(a_copy_takes_the_place_of_a_first_one_that_is_lost),
		T(copies_and_their_leases_survive_a_restart),
		T(a_complaint_of_a_copy_is_no_matter_of_the_first_one),
		T(who_cannot_reach_the_first_broker_is_served_by_a_further_copy),
		T(a_copy_on_a_broker_that_is_none_of_ours_any_more_is_forgotten),
		T(a_copy_that_is_not_there_is_left_and_its_clients_are_served_elsewhere),
		T(what_a_placement_leaves_is_withdrawn_there),
		T(S002_11_a_withdrawal_that_failed_is_told_again_until_it_is_done),
		T(S002_11_an_operators_withdrawal_that_failed_is_told_again),
		T(S002_11_a_publishers_own_withdrawal_that_failed_is_told_again),
		T(S002_15_what_lies_at_a_broker_of_before_goes_after_its_grace),
		T(S002_5_a_step_of_the_clock_makes_nobody_less_recent),
		T(S002_4_what_was_granted_and_not_measured_yet_counts_over_a_restart),
		T(an_operators_withdrawal_holds_until_it_is_taken_back),
		T(a_removed_client_holds_no_lease),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
