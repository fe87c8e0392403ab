// A device and a server in memory, for tests of the agent's core: the port records what the core
// asks for, and the server side answers with real keys, seals and payloads.
#ifndef HELIO_TESTS_UNIT_AGENT_HELPER_H
#define HELIO_TESTS_UNIT_AGENT_HELPER_H

#include "client/agent.h"
#include "proto/digest.h"
#include "tests/unit/helper.h"

#define WORLD_ID "f1"
#define WORLD_SENT 512

struct world_sent {
	enum topic_kind kind;
	char topic[LIMIT_TOPIC];
	uint8_t bytes[4096];
	size_t size;
};

// An answer of the server, with all it points to.
struct world_answer {
	struct response r;
	struct response_body b;
	struct reason reason;
	struct execute_command execute;
	const char *args[1];
	struct retrieve_information retrieve;
	struct send_information send;
};

struct world {
	struct now now;
	struct sign_key *client_key, *online_key;
	struct key32 client_secret;
	struct key32 online_public;
	struct root root;
	struct agent_config config;
	struct agent_core core;
	bool core_there;
	struct arena scratch, arena;
	struct buf out;
	// the disk
	uint8_t saved[AGENT_STATE_MAX];
	size_t saved_size;
	unsigned saves;
	bool save_fails;
	// what the core asked for
	struct world_sent sent[WORLD_SENT];
	size_t sent_count;
	uint64_t looked_bytes;
	unsigned fetches, fetch_stops, commands, command_stops, command_fetches, activations,
		elsewhere, host_subscriptions, change_calls;
	uint64_t pace_rate;
	bool pace_hold;
	char verb[64], arg[64];
	uint64_t command_op;
	uint64_t fetch_floor;
	bool package_complete, activate_fails, activate_later, command_answers_at_once;
	const char *refusal; // of software
	uint64_t switch_cancelled;
	uint64_t random;
	// the server
	bool session;
	uint64_t session_id, response_id, grant_seq;
	struct session_keys keys;
	struct id16 boot;
	struct digest package;
	struct world_answer answer;
};

// ---- the port

static enum err world_save(void *ctx, struct bytes state)
{
	struct world *w = ctx;
	if (w->save_fails)
		return err_set(ERR_NO_SPACE, "the test's disk is full");
	memcpy(w->saved, state.data, state.size);
	w->saved_size = state.size;
	w->saves++;
	return ERR_OK;
}

static enum err world_publish(void *ctx, const char *topic, struct bytes payload, int qos)
{
	struct world *w = ctx;
	struct topic_parts parts;
	assert_int_equal(topic_parse(topic, strlen(topic), &parts), ERR_OK);
	assert_int_equal(qos, parts.kind == TOPIC_HB ? 0 : 1);
	assert_true(w->sent_count < WORLD_SENT);
	struct world_sent *s = &w->sent[w->sent_count++];
	assert_true(payload.size <= sizeof s->bytes);
	s->kind = parts.kind;
	assert_true(str_copy(s->topic, sizeof s->topic, topic));
	memcpy(s->bytes, payload.data, payload.size);
	s->size = payload.size;
	return ERR_OK;
}

static void world_subscribe(void *ctx, const char *const *topics, size_t count, int qos)
{
	struct world *w = ctx;
	(void)qos;
	if (count == 1 && strstr(topics[0], "/host/") != NULL)
		w->host_subscriptions++;
}

static void world_unsubscribe(void *ctx, const char *topic)
{
	(void)ctx;
	(void)topic;
}

static void world_view(void *ctx, struct arena *a, struct agent_view *out)
{
	(void)ctx;
	(void)a;
	out->ip[0] = 127;
	out->ip[3] = 1;
	out->ip_size = 4;
	out->free_bytes = 1000000;
	out->showing_image = out->showing_name = out->showing_version = out->trouble = "";
}

static void world_holdings(void *ctx, struct arena *a, struct holdings *out)
{
	struct world *w = ctx;
	out->items = arena_array(a, 1, sizeof *out->items);
	out->items[0] = (struct holding){.package = w->package, .complete = w->package_complete};
	out->item_count = 1;
}

static void world_holding(void *ctx, const struct digest *package, struct holding *out)
{
	struct world *w = ctx;
	out->complete = w->package_complete && digest_equal(package, &w->package);
}

static enum err world_activate(void *ctx, const struct package_ref *package)
{
	struct world *w = ctx;
	(void)package;
	w->activations++;
	if (w->activate_later)
		return err_set(ERR_NOT_NOW, "the test's handler is at work");
	return w->activate_fails ? err_set(ERR_IO, "the test's slot does not switch") : ERR_OK;
}

static const char *world_refuses(void *ctx, const struct package_ref *package)
{
	struct world *w = ctx;
	(void)package;
	return w->refusal;
}

static void world_switch_cancel(void *ctx, uint64_t op_id)
{
	struct world *w = ctx;
	w->switch_cancelled = op_id;
}

static void world_fetch(void *ctx, const struct fetch_order *order)
{
	struct world *w = ctx;
	w->fetches++;
	w->pace_rate = order->rate_bytes_per_s;
	w->fetch_floor = order->floor;
}

static void world_fetch_pace(void *ctx, uint64_t rate, bool hold)
{
	struct world *w = ctx;
	w->pace_rate = rate;
	w->pace_hold = hold;
}

static void world_fetch_stop(void *ctx)
{
	struct world *w = ctx;
	w->fetch_stops++;
}

static uint64_t world_fetch_looked_bytes(void *ctx)
{
	const struct world *w = ctx;
	return w->looked_bytes;
}

static void world_command(void *ctx, uint64_t op_id, const struct execute_command *e)
{
	struct world *w = ctx;
	w->commands++;
	w->command_op = op_id;
	assert_true(str_copy(w->verb, sizeof w->verb, e->verb));
	assert_true(str_copy(w->arg, sizeof w->arg, e->arg_count != 0 ? e->args[0] : ""));
	if (w->command_answers_at_once) {
		struct command_result r = {.status = OP_DONE, .detail = "at once"};
		agent_command_done(&w->core, w->now, op_id, &r);
	}
}

static void world_command_stop(void *ctx, uint64_t op_id)
{
	struct world *w = ctx;
	(void)op_id;
	w->command_stops++;
}

static void world_command_fetch(void *ctx, uint64_t op_id, const struct command_ref *ref)
{
	struct world *w = ctx;
	(void)ref;
	w->command_fetches++;
	w->command_op = op_id;
}

static enum err world_changes(void *ctx, const struct change *changes, size_t count)
{
	struct world *w = ctx;
	(void)changes;
	w->change_calls += (unsigned)count;
	return ERR_OK;
}

static void world_usage(
	void *ctx, struct arena *a, int64_t since, size_t max, struct shown **rows, size_t *count)
{
	(void)ctx;
	(void)since;
	(void)max;
	*rows = arena_array(a, 1, sizeof **rows);
	*count = 0;
}

static void world_send_elsewhere(
	void *ctx, const struct address *to, const char *topic, struct bytes payload)
{
	struct world *w = ctx;
	(void)to;
	(void)payload;
	assert_string_equal(topic, "helio/v1/inbox/" WORLD_ID);
	w->elsewhere++;
}

static void world_random(void *ctx, void *out, size_t size)
{
	struct world *w = ctx;
	uint8_t *b = out;
	for (size_t i = 0; i < size; i++) {
		w->random = w->random * 6364136223846793005u + 1442695040888963407u;
		b[i] = (uint8_t)(w->random >> 56);
	}
}

static void world_session_began(void *ctx, uint64_t session_id, const struct session_keys *keys)
{
	struct world *w = ctx;
	assert_int_equal(session_id, w->session_id);
	assert_memory_equal(keys, &w->keys, sizeof *keys);
}

static const struct agent_port world_port = {
	.save = world_save,
	.publish = world_publish,
	.subscribe = world_subscribe,
	.unsubscribe = world_unsubscribe,
	.view = world_view,
	.holdings = world_holdings,
	.holding = world_holding,
	.activate = world_activate,
	.refuses = world_refuses,
	.switch_cancel = world_switch_cancel,
	.fetch = world_fetch,
	.fetch_pace = world_fetch_pace,
	.fetch_stop = world_fetch_stop,
	.fetch_looked_bytes = world_fetch_looked_bytes,
	.command = world_command,
	.command_stop = world_command_stop,
	.command_fetch = world_command_fetch,
	.changes = world_changes,
	.usage = world_usage,
	.send_elsewhere = world_send_elsewhere,
	.random = world_random,
	.session_began = world_session_began,
};

// ---- life

static inline void world_power_on(struct world *w)
{
	static const struct id16 store = {{7, 7, 7}};
	struct agent_state state;
	agent_state_init(&state, &store);
	if (w->saved_size != 0)
		assert_int_equal(
			agent_state_decode(bytes_of(w->saved, w->saved_size), &state), ERR_OK);
	assert_int_equal(agent_init(&w->core, &w->config, &world_port, w, &state), ERR_OK);
	w->core_there = true;
}

static inline void world_power_off(struct world *w)
{
	if (w->core_there)
		agent_fini(&w->core);
	w->core_there = false;
}

static inline void world_power_cut(struct world *w)
{
	world_power_off(w);
	world_power_on(w);
}

static inline struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof *w);
	struct key32 secret;
	static const char *const hosts[] = {"data-1.example", "10.0.0.9:8884"};
	w->now = (struct now){.mono = {1000000}, .wall = {1700000000000}};
	sign_key_generate(&w->client_secret);
	assert_int_equal(sign_key_load(&w->client_secret, &w->client_key), ERR_OK);
	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &w->online_key), ERR_OK);
	w->online_public = *sign_key_public(w->online_key);
	w->root = (struct root){.version = 1,
		.fleet = "test",
		.online_keys = &w->online_public,
		.online_key_count = 1,
		.software_keys = &w->online_public,
		.software_key_count = 1,
		.software_threshold = 1};
	arena_init(&w->scratch, 4 * 1024 * 1024, 100000);
	arena_init(&w->arena, 4 * 1024 * 1024, 100000);
	buf_init(&w->out, LIMIT_REPORT);
	w->config = (struct agent_config){.client_id = WORLD_ID,
		.version = "0.1.0",
		.hw_class = "pi4",
		.key = w->client_key,
		.root = &w->root,
		.interval_ms = 1000,
		.response_max_age_ms = 10000,
		.report_hosts = hosts,
		.report_host_count = 2,
		.scratch = &w->scratch,
		.out = &w->out};
	w->package = sha256("package", 7);
	w->random = 1;
	w->response_id = 5ull << 32;
	w->session_id = 10;
	memset(w->boot.b, 9, sizeof w->boot.b);
	world_power_on(w);
	return w;
}

static inline void world_free(struct world *w)
{
	world_power_off(w);
	sign_key_free(w->client_key);
	sign_key_free(w->online_key);
	arena_fini(&w->scratch);
	arena_fini(&w->arena);
	buf_fini(&w->out);
	free(w);
}

static inline void world_pass(struct world *w, int64_t ms)
{
	w->now.mono.ms += ms;
	w->now.wall.ms += ms;
	agent_tick(&w->core, w->now);
}

// Passes time in steps as a loop would, at the core's own deadlines.
static inline void world_run(struct world *w, int64_t ms)
{
	int64_t end = w->now.mono.ms + ms;
	for (;;) {
		int64_t at = agent_deadline(&w->core, w->now.mono).ms;
		if (at > end || at <= w->now.mono.ms)
			at = at > end ? end : w->now.mono.ms + 1;
		world_pass(w, at - w->now.mono.ms);
		if (w->now.mono.ms >= end)
			return;
	}
}

static inline size_t world_count(const struct world *w, enum topic_kind kind)
{
	size_t n = 0;
	for (size_t i = 0; i < w->sent_count; i++)
		n += w->sent[i].kind == kind ? 1 : 0;
	return n;
}

static inline const struct world_sent *world_last(const struct world *w, enum topic_kind kind)
{
	for (size_t i = w->sent_count; i-- > 0;) {
		if (w->sent[i].kind == kind)
			return &w->sent[i];
	}
	fail_msg("nothing was sent on %s", topic_row(kind)->name);
	return NULL;
}

static inline struct bytes world_bytes(const struct world_sent *s)
{
	return bytes_of(s->bytes, s->size);
}

// The last heartbeat, its seal checked. Lives in w->arena until the next call.
static inline struct heartbeat world_beat(struct world *w)
{
	struct heartbeat h;
	const struct world_sent *s = world_last(w, TOPIC_HB);
	arena_reset(&w->arena);
	assert_int_equal(heartbeat_decode(&w->arena, world_bytes(s), &h), ERR_OK);
	if (h.session_id == 0)
		assert_int_equal(seal_check_signature(
					 world_bytes(s), s->topic, sign_key_public(w->client_key)),
			ERR_OK);
	else
		assert_int_equal(seal_check_mac(world_bytes(s), s->topic, &w->keys.mac_up), ERR_OK);
	return h;
}

static inline struct heartbeat world_next_beat(struct world *w)
{
	world_run(w, 1000);
	return world_beat(w);
}

static inline struct want world_want(struct world *w)
{
	struct want x;
	const struct world_sent *s = world_last(w, TOPIC_WANT);
	arena_reset(&w->arena);
	assert_int_equal(seal_check_mac(world_bytes(s), s->topic, &w->keys.mac_up), ERR_OK);
	assert_int_equal(want_decode(&w->arena, world_bytes(s), &x), ERR_OK);
	return x;
}

// ---- the server

static inline void world_deliver(struct world *w, enum topic_kind kind, struct buf *payload)
{
	struct topic topic = topic_of(kind, WORLD_ID);
	agent_message(&w->core, w->now, topic.s, strlen(topic.s), buf_bytes(payload), false);
}

// Answers the last sign-in. mutate: may break the offer before it is signed.
static inline void world_offer(struct world *w, void (*mutate)(struct session_offer *o))
{
	const struct world_sent *in = world_last(w, TOPIC_HB);
	struct heartbeat h = world_beat(w);
	struct key32 secret;
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_OFFER);
	assert_int_equal(h.session_id, 0);
	struct session_offer o = {.principal = WORLD_ID,
		.session_id = w->session_id + 1,
		.boot = w->boot,
		.server_key_id = key_id(&w->online_public),
		.sign_in_sha256 = sha256(in->bytes, in->size),
		.server_unix_ms = w->now.wall.ms,
		.incarnation = 5};
	o.nonce.b[0] = 1;
	memset(o.next_lineage.b, (int)(w->session_id + 1), sizeof o.next_lineage.b);
	x25519_generate(&secret, &o.x25519_share);
	if (mutate != NULL)
		mutate(&o);
	assert_int_equal(session_offer_encode(&o, &out), ERR_OK);
	struct topic topic = topic_of(TOPIC_OFFER, WORLD_ID);
	assert_int_equal(seal_signature(&out, topic.s, w->online_key), ERR_OK);
	struct session_keys before = w->keys;
	assert_int_equal(session_derive(&secret, &h.sign_in->x25519_share, world_bytes(in),
				 buf_bytes(&out), &w->keys),
		ERR_OK);
	w->session_id++;
	uint64_t was = w->core.session.id;
	world_deliver(w, TOPIC_OFFER, &out);
	if (w->core.session.id == was) {
		w->keys = before;
		w->session_id--;
	}
}

static inline void world_sign_in(struct world *w)
{
	agent_link_up(&w->core, w->now);
	world_offer(w, NULL);
	assert_true(w->core.session.current);
}

// Begins an answer to the last beat, to be changed by the test before world_answer_send.
static inline struct world_answer *world_answer(struct world *w, enum response_kind kind)
{
	struct world_answer *x = &w->answer;
	*x = (struct world_answer){.reason = {.text = ""}};
	x->reason.code = kind == KIND_NO_ACTION ? REASON_CAUGHT_UP : REASON_EVENT;
	x->b = (struct response_body){.response_id = ++w->response_id,
		.kind = kind,
		.op_id = kind == KIND_NO_ACTION ? 0 : w->response_id,
		.state = kind == KIND_NO_ACTION              ? CS_IDLE
			 : kind == KIND_SEND_INFORMATION     ? CS_AWAIT_INFO
			 : kind == KIND_RETRIEVE_INFORMATION ? CS_AWAIT_RETRIEVE
							     : CS_AWAIT_COMMAND,
		.channel = "lobby",
		.reason = &x->reason};
	x->r = (struct response){.client_id = WORLD_ID,
		.session_id = w->session_id,
		.in_reply_to_seq = w->core.session.hb_seq,
		.boot = w->boot,
		.server_unix_ms = w->now.wall.ms,
		.heartbeat_interval_ms = 1000};
	return x;
}

static inline void world_answer_encode(struct world *w, struct buf *out)
{
	struct world_answer *x = &w->answer;
	SCOPED_BUF struct buf body;
	buf_init(&body, LIMIT_RESPONSE);
	assert_int_equal(response_body_encode(&x->b, &body), ERR_OK);
	x->r.body_bytes = buf_bytes(&body);
	assert_int_equal(response_encode(&x->r, out), ERR_OK);
	struct topic topic = topic_of(TOPIC_RSP, WORLD_ID);
	assert_int_equal(seal_mac(out, topic.s, &w->keys.mac_down), ERR_OK);
}

static inline void world_answer_send(struct world *w)
{
	SCOPED_BUF struct buf out;
	buf_init(&out, LIMIT_RESPONSE);
	world_answer_encode(w, &out);
	world_deliver(w, TOPIC_RSP, &out);
}

static inline void world_no_action(struct world *w)
{
	world_answer(w, KIND_NO_ACTION);
	world_answer_send(w);
}

static inline struct world_answer *world_answer_execute(
	struct world *w, const char *verb, const char *arg)
{
	struct world_answer *x = world_answer(w, KIND_EXECUTE_COMMAND);
	x->args[0] = arg;
	x->execute = (struct execute_command){
		.verb = verb, .args = x->args, .arg_count = arg != NULL ? 1 : 0};
	x->b.execute = &x->execute;
	return x;
}

static inline void world_execute(struct world *w, const char *verb, const char *arg)
{
	world_answer_execute(w, verb, arg);
	world_answer_send(w);
}

static inline struct world_answer *world_answer_retrieve(
	struct world *w, const struct retrieve_information *r)
{
	struct world_answer *x = world_answer(w, KIND_RETRIEVE_INFORMATION);
	x->retrieve = *r;
	x->b.retrieve = &x->retrieve;
	return x;
}

static inline void world_retrieve_kind(struct world *w, enum package_kind kind)
{
	struct package_ref ref = {.package = w->package,
		.publisher = "pub",
		.kind = kind,
		.name = "spring",
		.version = "1",
		.size_bytes = 1000,
		.activate = true};
	struct retrieve_information r = {.packages = &ref, .package_count = 1};
	world_answer_retrieve(w, &r);
	world_answer_send(w);
}

static inline void world_retrieve(struct world *w)
{
	world_retrieve_kind(w, PACKAGE_IMAGES);
}

static inline void world_ask(struct world *w, enum info_kind what, struct address *to)
{
	struct world_answer *x = world_answer(w, KIND_SEND_INFORMATION);
	x->send = (struct send_information){.what = what, .to = to};
	x->b.send = &x->send;
	world_answer_send(w);
}

// Answers the last want. mutate: may change the grant.
static inline void world_grant(struct world *w, void (*mutate)(struct grant *g))
{
	struct want want = world_want(w);
	SCOPED_BUF struct buf out;
	struct address from = {.broker_id = "data.1",
		.host = "data-1.example",
		.ip = "",
		.port = 8883,
		.tls = true,
		.topic = ""};
	buf_init(&out, LIMIT_GRANT);
	struct grant g = {.client_id = WORLD_ID,
		.session_id = w->session_id,
		.seq = ++w->grant_seq,
		.boot = w->boot,
		.package = w->package};
	if (want.fetch != NULL) {
		g.request_id = want.fetch->request_id;
		g.granted = true;
		g.from = &from;
		g.lease = 77;
		g.ttl_ms = 60000;
		g.window = 32;
		g.publisher = "pub";
		g.publisher_key.b[0] = 1;
		g.reason = "";
	} else {
		g.request_id = want.release->request_id;
		g.release_acked = true;
	}
	if (mutate != NULL)
		mutate(&g);
	assert_int_equal(grant_encode(&g, &out), ERR_OK);
	struct topic topic = topic_of(TOPIC_GRANT, WORLD_ID);
	assert_int_equal(seal_mac(&out, topic.s, &w->keys.mac_down), ERR_OK);
	world_deliver(w, TOPIC_GRANT, &out);
}

static inline int world_setup(void **state)
{
	*state = world_new();
	return 0;
}

static inline int world_setup_in_session(void **state)
{
	(void)world_setup(state);
	world_sign_in(*state);
	return 0;
}

// In session, and told to retrieve a package whose grant came.
static inline int world_setup_fetching(void **state)
{
	(void)world_setup_in_session(state);
	world_retrieve(*state);
	world_grant(*state, NULL);
	return 0;
}

static inline int world_teardown(void **state)
{
	world_free(*state);
	return 0;
}

#endif
