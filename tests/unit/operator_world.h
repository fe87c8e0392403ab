// The rooms behind the operator API, joined as the program joins them, without a network: core,
// store in memory, presence server, customers' orders; two clients, a publisher and a seat are
// enrolled.
#ifndef HELIO_TESTS_UNIT_OPERATOR_WORLD_H
#define HELIO_TESTS_UNIT_OPERATOR_WORLD_H

#include "tests/unit/content_fixture.h"

#include "proto/base/log.h"
#include "server/content_keys.h"
#include "server/customer_edit.h"
#include "server/db/rows_content.h"
#include "server/operator.h"
#include "store_rig.h"

struct world {
	struct fixture_keys keys;
	struct sign_key *online;
	struct db *db;
	struct core *core;
	struct data_brokers brokers;
	struct presence *presence;
	struct findings findings;
	struct trust trust;
	struct operator_room room;
	struct orders orders;
	struct content_keys content_keys;
	struct arena arena;
	struct now now;
	uint64_t lease;
	uint64_t request;
};

static inline void port_publish(void *ctx, const char *broker, const char *topic,
	struct bytes payload, int qos, bool retained)
{
	(void)ctx;
	(void)broker;
	(void)topic;
	(void)payload;
	(void)qos;
	(void)retained;
}

static inline void port_random(void *ctx, void *out, size_t size)
{
	(void)ctx;
	random_fill(out, size);
}

static inline void port_x25519(void *ctx, struct key32 *secret, struct key32 *share)
{
	(void)ctx;
	x25519_generate(secret, share);
}

static inline enum err hook_package_find(void *ctx, struct core *core, const struct digest *package,
	struct arena *arena, struct package_ref *out)
{
	struct world *w = ctx;
	struct package *k = presence_find(w->presence, package);

	(void)core;
	if (!k)
		return err_set(ERR_NOT_FOUND, "no package");
	*out = (struct package_ref){.package = *package,
		.publisher = arena_strdup(arena, k->publisher),
		.kind = k->kind,
		.name = arena_strdup(arena, k->name),
		.version = arena_strdup(arena, k->version)};
	return ERR_OK;
}

static inline enum err port_directive(void *ctx, const char *publisher, struct directive *m)
{
	(void)ctx;
	(void)publisher;
	(void)m;
	return ERR_OK;
}

static inline enum err port_grant(void *ctx, const char *client, struct grant *m)
{
	(void)ctx;
	(void)client;
	(void)m;
	return ERR_OK;
}

static inline enum err port_key(void *ctx, const char *publisher, struct key32 *out)
{
	(void)publisher;
	*out = *sign_key_public(((struct world *)ctx)->keys.publisher);
	return ERR_OK;
}

static inline bool port_meant(void *ctx, const char *client, const struct digest *package)
{
	(void)ctx;
	(void)client;
	(void)package;
	return true;
}

static inline uint32_t port_interval(void *ctx, const char *client)
{
	(void)ctx;
	(void)client;
	return 1000;
}

static inline struct route_client port_client(void *ctx, const char *client)
{
	(void)ctx;
	(void)client;
	return (struct route_client){.reach = REACH_ONLINE};
}

static inline uint64_t port_lease(void *ctx)
{
	return ++((struct world *)ctx)->lease;
}

static inline void port_readback(void *ctx, const char *broker, const struct readback_order *order)
{
	(void)ctx;
	(void)broker;
	(void)order;
}

static inline enum err port_ordered(void *ctx, const char *publisher, const struct order_outcome *m)
{
	return orders_outcome(&((struct world *)ctx)->orders, publisher, m);
}

static inline void enrol_id(struct world *w, const char *id, enum role role)
{
	struct key32 secret, public_key;
	struct enrolment e = {.id = id, .role = role, .name = "label"};

	x25519_generate(&secret, &public_key);
	e.public_key = public_key;
	assert_int_equal(core_enrol(w->core, &e), ERR_OK);
}

static inline int world_make(void **state)
{
	static char *lines[] = {"da h 127.0.0.1 1 1000000"};
	const struct presence_config config = {
		.linger_s = 10, .lease_ttl_s = 5, .broker_away_s = 5, .directive_repeat_ms = 5000};
	struct world *w = calloc(1, sizeof(*w));
	const struct core_ports ports = {
		.ctx = w, .publish = port_publish, .random = port_random, .x25519 = port_x25519};
	const struct core_hooks hooks = {.ctx = w, .package_find = hook_package_find};
	const struct presence_ports pp = {
		.ctx = w,
		.send_directive = port_directive,
		.send_grant = port_grant,
		.publisher_key = port_key,
		.is_meant = port_meant,
		.told_interval_ms = port_interval,
		.client = port_client,
		.lease_id = port_lease,
		.readback = port_readback,
		.ordered = port_ordered,
	};
	struct core_config cc;

	fixture_keys_make(&w->keys);
	w->online = fixture_key();
	w->trust.root = w->keys.root;
	w->now = clock_now();
	arena_init(&w->arena, 64 << 20, 1 << 20);
	assert_int_equal(store_open(":memory:", &w->db), ERR_OK);
	assert_int_equal(schema_migrate(w->db), ERR_OK);
	core_config_default(&cc);
	cc.online_key = w->online;
	assert_int_equal(core_new(&cc, w->db, &ports, w->now, &w->core), ERR_OK);
	assert_int_equal(data_brokers_init(&w->brokers, lines, 1, true, 10), ERR_OK);
	w->presence = presence_new(&config, &pp, &w->brokers, w->db);
	core_set_hooks(w->core, &hooks);
	assert_int_equal(presence_load(w->presence, w->now), ERR_OK);
	orders_init(&w->orders, w->core, w->presence);
	assert_int_equal(orders_load(&w->orders), ERR_OK);
	assert_int_equal(content_keys_init(&w->content_keys, w->core, &w->trust.root), ERR_OK);
	w->room = (struct operator_room){.core = w->core,
		.presence = w->presence,
		.trust = &w->trust,
		.server_id = "server.1",
		.findings = &w->findings,
		.orders = &w->orders,
		.content_keys = &w->content_keys,
		.started = w->now.wall};
	enrol_id(w, "f1", ROLE_CLIENT);
	enrol_id(w, "f2", ROLE_CLIENT);
	enrol_id(w, "alice.1", ROLE_OPERATOR);
	enrol_id(w, "pub", ROLE_PUBLISHER);
	core_turn_end(w->core, w->now);
	*state = w;
	return 0;
}

static inline int world_drop(void **state)
{
	struct world *w = *state;

	core_free(w->core);
	orders_fini(&w->orders);
	content_keys_fini(&w->content_keys);
	presence_free(w->presence);
	data_brokers_fini(&w->brokers);
	db_close(w->db);
	sign_key_free(w->online);
	fixture_keys_free(&w->keys);
	arena_fini(&w->arena);
	free(w);
	return 0;
}

// Runs a verb as handle_api does; the answer is the caller's to delete. NULL: refused with *e.
static inline cJSON *ask(
	struct world *w, const char *verb, const struct arg *args, size_t count, enum err *e)
{
	struct operator_call c = {.room = &w->room,
		.verb = operator_verb_find(verb),
		.seat = "alice.1",
		.args = args,
		.arg_count = count,
		.arena = &w->arena,
		.now = w->now,
		.json = cJSON_CreateObject()};

	assert_non_null(c.verb);
	*e = operator_args_check(c.verb, args, count, c.body);
	if (*e == ERR_OK)
		*e = c.verb->run(&c);
	core_turn_end(w->core, w->now);
	if (*e == ERR_OK)
		return c.json;
	cJSON_Delete(c.json);
	return NULL;
}

static inline const char *text_of(const cJSON *o, const char *name)
{
	const cJSON *i = cJSON_GetObjectItem(o, name);

	return cJSON_IsString(i) ? i->valuestring : "(none)";
}

static inline double number_of(const cJSON *o, const char *name)
{
	const cJSON *i = cJSON_GetObjectItem(o, name);

	assert_non_null(i);
	return cJSON_IsRaw(i) ? strtod(i->valuestring, NULL) : i->valuedouble;
}

static inline void offer_named(
	struct world *w, const char *name, const char *version, struct digest *package)
{
	struct buf envelope;
	struct publisher_msg m = {
		.state = PUB_OFFER, .detail = "", .broker_id = "", .publisher = "pub"};

	buf_init(&envelope, LIMIT_ENVELOPE);
	fixture_manifest(PACKAGE_IMAGES, name, version, &w->keys.image, 1, &envelope, package);
	m.package = *package;
	m.manifest = buf_bytes(&envelope);
	handle_pub(w->presence, &w->keys.root, "pub", &m, &w->arena, w->now);
	assert_non_null(presence_find(w->presence, package));
	core_turn_end(w->core, w->now);
	buf_fini(&envelope);
}

static inline void offer(struct world *w, const char *version, struct digest *package)
{
	offer_named(w, "art", version, package);
}

#endif
