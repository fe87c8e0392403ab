// A server core without a network: a store in a private folder (or in PostgreSQL: store_rig.h), a
// clock that the test turns, ports that keep what was published, and agents of a few lines that
// speak the real bytes.
#ifndef HELIO_TESTS_UNIT_CORE_RIG_H
#define HELIO_TESTS_UNIT_CORE_RIG_H

#include "helper.h"
#include "proto/rotation.h"
#include "proto/session.h"
#include "proto/topics.h"
#include "server/core.h"
#include "server/db/db.h"
#include "store_rig.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RIG_SENT 512
#define RIG_AGENTS 20

struct sent {
	char topic[LIMIT_TOPIC];
	uint8_t *data;
	size_t size;
	int qos;
	bool retained;
};

struct rig {
	char folder[64], file[96], incarnation[96];
	struct db *db;
	struct db_engine engine; // of db, so that a test can make it fail
	enum err commit_fails;
	unsigned steps_left; // kill -9 at that statement, before or after a commit; 0: never
	struct core *core;
	struct core_config config;
	struct sign_key *online;
	struct now now;
	struct sent sent[RIG_SENT];
	size_t sent_count;
	bool deaf; // what is published is lost
	bool (*owns)(void *ctx, unsigned place);
	uint64_t term; // of this server among several
	uint64_t random;
	struct arena arena;
	struct package_ref packages[8];
	size_t package_count;
	struct operation_info ended[64];
	size_t ended_count;
	size_t wants, requests, reports, renewals;
	struct agent *agents[RIG_AGENTS]; // those of rig_agent, freed with the rig
	size_t agent_count;
};

static struct rig *rig_of_db; // the engine's functions get no context

static const struct db_engine *rig_engine; // the one of the store, before a rig came between

static inline void rig_step_taken(void)
{
	if (rig_of_db->steps_left && --rig_of_db->steps_left == 0)
		(void)kill(getpid(), SIGKILL);
}

static inline enum err rig_step(struct db_stmt *s, bool *row)
{
	rig_step_taken();
	return rig_engine->step(s, row);
}

static inline enum err rig_commit(struct db *db)
{
	rig_step_taken();
	if (rig_of_db->commit_fails)
		return err_set(rig_of_db->commit_fails, "the test says so");
	enum err e = rig_engine->commit(db);
	rig_step_taken();
	return e;
}

static inline void rig_publish(void *ctx, const char *broker, const char *topic,
	struct bytes payload, int qos, bool retained)
{
	struct rig *r = ctx;

	(void)broker;
	if (r->deaf)
		return;
	assert_true(r->sent_count < RIG_SENT);
	struct sent *s = &r->sent[r->sent_count++];
	(void)str_copy(s->topic, sizeof(s->topic), topic);
	s->data = malloc(payload.size + 1);
	if (payload.size)
		memcpy(s->data, payload.data, payload.size);
	s->size = payload.size;
	s->qos = qos;
	s->retained = retained;
}

static inline void rig_random(void *ctx, void *out, size_t size)
{
	struct rig *r = ctx;
	uint8_t *p = out;

	for (size_t i = 0; i < size; i++) {
		r->random = r->random * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = (uint8_t)(r->random >> 56);
	}
}

static inline void rig_x25519(void *ctx, struct key32 *secret, struct key32 *share)
{
	(void)ctx;
	x25519_generate(secret, share);
}

static inline uint64_t rig_term(void *ctx)
{
	const struct rig *r = ctx;

	return r->term;
}

static inline void sent_clear(struct rig *r)
{
	for (size_t i = 0; i < r->sent_count; i++)
		free(r->sent[i].data);
	r->sent_count = 0;
}

// The last message on the topic since the last clear; NULL: none.
static inline const struct sent *sent_find(const struct rig *r, const char *topic)
{
	for (size_t i = r->sent_count; i-- > 0;)
		if (strcmp(r->sent[i].topic, topic) == 0)
			return &r->sent[i];
	return NULL;
}

static inline size_t sent_at(const struct rig *r, const char *topic)
{
	for (size_t i = 0; i < r->sent_count; i++)
		if (strcmp(r->sent[i].topic, topic) == 0)
			return i;
	return SIZE_MAX;
}

static inline struct bytes sent_bytes(const struct sent *s)
{
	return bytes_of(s->data, s->size);
}

static inline enum err rig_package(void *ctx, struct core *core, const struct digest *package,
	struct arena *a, struct package_ref *out)
{
	struct rig *r = ctx;

	(void)core;
	(void)a;
	for (size_t i = 0; i < r->package_count; i++)
		if (digest_equal(&r->packages[i].package, package)) {
			*out = r->packages[i];
			return ERR_OK;
		}
	return err_set(ERR_NOT_FOUND, "no such package");
}

static inline void rig_ended(void *ctx, struct core *core, const struct operation_info *op)
{
	struct rig *r = ctx;

	(void)core;
	assert_true(r->ended_count < 64);
	r->ended[r->ended_count++] = *op;
}

static inline void rig_want(
	void *ctx, struct core *core, const struct caller *who, const struct want *m)
{
	struct rig *r = ctx;
	struct grant g = {.request_id = m->fetch ? m->fetch->request_id : 0,
		.reason = "later",
		.retry_after_ms = 500};

	r->wants++;
	if (m->fetch)
		g.package = m->fetch->package;
	assert_int_equal(core_send_grant(core, who->id, &g), ERR_OK);
}

static inline void rig_api(
	void *ctx, struct core *core, const struct caller *who, const struct api_request *m)
{
	struct rig *r = ctx;

	r->requests++;
	assert_int_equal(core_send_api_answer(core, who->id,
				 &(struct api_reply){.request_id = m->request_id,
					 .answer_level = m->answer_level,
					 .json = bytes_of("{}", 2)}),
		ERR_OK);
}

static inline void rig_report(
	void *ctx, struct core *core, const struct caller *who, const struct report *m)
{
	struct rig *r = ctx;

	(void)core;
	(void)who;
	(void)m;
	r->reports++;
}

static inline void rig_renew(void *ctx, struct core *core, const char *client,
	const struct holding *h, uint32_t told, struct now now)
{
	struct rig *r = ctx;

	(void)core;
	(void)client;
	(void)h;
	(void)told;
	(void)now;
	r->renewals++;
}

// A start of the server on the store as it is.
static inline void rig_start(struct rig *r)
{
	const struct core_ports ports = {.ctx = r,
		.publish = rig_publish,
		.random = rig_random,
		.x25519 = rig_x25519,
		.owns = r->owns,
		.term = rig_term};
	const struct core_hooks hooks = {
		.ctx = r,
		.package_find = rig_package,
		.operation_ended = rig_ended,
		.want = rig_want,
		.api = rig_api,
		.report = rig_report,
		.lease_renew = rig_renew,
	};

	if (store_open(r->file, &r->db) != ERR_OK || schema_migrate(r->db) != ERR_OK)
		fail_msg("store: %s", err_text());
	rig_engine = r->db->engine;
	r->engine = *rig_engine;
	r->engine.commit = rig_commit;
	r->engine.step = rig_step;
	r->db->engine = &r->engine;
	rig_of_db = r;
	if (core_new(&r->config, r->db, &ports, r->now, &r->core) != ERR_OK)
		fail_msg("core_new: %s", err_text());
	core_set_hooks(r->core, &hooks);
	core_link(r->core, true, r->now);
	core_turn_end(r->core, r->now);
}

// As kill -9: nothing is saved.
static inline void rig_kill(struct rig *r)
{
	db_rollback(r->db);
	core_free(r->core);
	db_close(r->db);
	r->core = NULL;
	r->db = NULL;
}

static inline void rig_restart(struct rig *r)
{
	rig_kill(r);
	sent_clear(r);
	r->deaf = false;
	r->now.wall.ms += 2000;
	r->now.mono.ms += 2000;
	rig_start(r);
}

static inline struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct key32 secret;

	(void)snprintf(r->folder, sizeof(r->folder), "/tmp/helio-core-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	(void)snprintf(r->file, sizeof(r->file), "%s/heliod.db", r->folder);
	(void)snprintf(r->incarnation, sizeof(r->incarnation), "%s/incarnation", r->folder);
	sign_key_generate(&secret);
	assert_int_equal(sign_key_load(&secret, &r->online), ERR_OK);
	arena_init(&r->arena, 16 << 20, 100000);
	core_config_default(&r->config);
	r->config.online_key = r->online;
	r->config.incarnation_file = r->incarnation;
	r->config.interval_ms = 1000;
	r->config.interval_busy_ms = 1000;
	r->config.silent_after_s = 10;
	r->config.reconnect_spread_s = 1;
	r->config.why_entries = 1024;
	r->now = (struct now){{1000000}, {1795000000000}};
	rig_start(r);
	return r;
}

static inline void rig_advance(struct rig *r, int64_t ms)
{
	r->now.mono.ms += ms;
	r->now.wall.ms += ms;
}

// Time passes in steps of a second, as the program's timer makes it.
static inline void rig_pass(struct rig *r, int64_t ms)
{
	for (int64_t left = ms; left > 0; left -= 1000) {
		rig_advance(r, left < 1000 ? left : 1000);
		core_tick(r->core, r->now);
		core_turn_end(r->core, r->now);
	}
}

static inline void rig_give(struct rig *r, const char *topic, struct bytes payload, bool retained)
{
	core_message(r->core, NULL, topic, strlen(topic), payload, retained, r->now);
	core_turn_end(r->core, r->now);
}

// name and version: literals.
static inline struct digest rig_add_package(
	struct rig *r, const char *name, const char *version, enum package_kind kind)
{
	char text[160];
	struct package_ref *p = &r->packages[r->package_count++];

	(void)snprintf(text, sizeof(text), "%s/%s", name, version);
	*p = (struct package_ref){.package = sha256(text, strlen(text)),
		.publisher = "pub.1",
		.kind = kind,
		.size_bytes = 1000};
	p->name = name;
	p->version = version;
	return p->package;
}

static inline uint64_t rig_counter(struct rig *r, const char *name)
{
	struct core_counter all[64];
	size_t count = core_counters(r->core, all, 64);

	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].name, name) == 0)
			return all[i].value;
	fail_msg("no counter %s", name);
	return 0;
}

// ---- events, by an operator

static inline void append_display(struct rig *r, const char *channel, const struct digest *package)
{
	const struct event e = {
		.type = ELEMENT_DISPLAY, .packages = package, .package_count = 1, .activate = true};

	assert_int_equal(core_append_event(r->core, channel, &e, NULL, NULL), ERR_OK);
	core_turn_end(r->core, r->now);
}

static inline void append_request_for(struct rig *r, const char *queue, enum info_kind what)
{
	struct send_information send = {.what = what};
	const struct event e = {.type = ELEMENT_REQUEST, .request = &send, .author = "alice.1"};

	assert_int_equal(core_append_event(r->core, queue, &e, NULL, NULL), ERR_OK);
	core_turn_end(r->core, r->now);
}

static inline void append_request(struct rig *r, const char *queue)
{
	append_request_for(r, queue, INFO_DISPLAY);
}

static inline void append_command(struct rig *r, const char *queue, const char *verb)
{
	struct execute_command command = {.verb = verb, .timeout_ms = 1000};
	const struct event e = {.type = ELEMENT_COMMAND, .command = &command, .author = "alice.1"};

	assert_int_equal(core_append_event(r->core, queue, &e, NULL, NULL), ERR_OK);
	core_turn_end(r->core, r->now);
}

// ---- an agent

struct agent {
	struct rig *rig;
	struct response got; // the last answer of agent_step; lives until the rig's arena is reset
	char id[LIMIT_ID + 1];
	enum role role;
	struct key32 secret;
	struct sign_key *key;
	const struct sign_key *next_key; // the next sign-in rotates to it; NULL: it does not
	struct id16 store_id, lineage, boot;
	uint64_t boot_counter, session_id, seq, peer_seq, want_seq, report_seq;
	struct session_keys keys;
	uint64_t last_response_id;
	struct operation op; // op_id 0: none
	enum ack ack;
	struct holdings holdings; // sent when item_count or full
	struct holding items[8];
	struct digest showing;
	uint32_t interval_ms;
	struct change *changes;
	size_t change_count;
	struct update_status *updates;
	size_t update_count;
	uint64_t report_id;
	enum response_kind kind; // of the operation
	struct buf last;         // bytes of the last beat
};

static inline void agent_init(struct rig *r, struct agent *a, const char *id, enum role role)
{
	*a = (struct agent){
		.rig = r, .role = role, .boot_counter = 1, .ack = ACK_NOTHING, .interval_ms = 1000};
	(void)str_copy(a->id, sizeof(a->id), id);
	sign_key_generate(&a->secret);
	assert_int_equal(sign_key_load(&a->secret, &a->key), ERR_OK);
	rig_random(r, a->store_id.b, sizeof(a->store_id.b));
	buf_init(&a->last, LIMIT_REPORT);
	const struct enrolment e = {
		.id = a->id, .role = role, .public_key = *sign_key_public(a->key), .name = id};
	assert_int_equal(core_enrol(r->core, &e), ERR_OK);
	core_turn_end(r->core, r->now);
}

static inline void agent_fini(struct agent *a)
{
	sign_key_free(a->key);
	buf_fini(&a->last);
}

static inline struct topic agent_topic(const struct agent *a)
{
	if (a->role == ROLE_CLIENT)
		return topic_hb(a->id);
	return topic_of(a->role == ROLE_PUBLISHER ? TOPIC_PUB : TOPIC_API, a->id);
}

static inline void agent_sign_in_bytes(
	struct rig *r, struct agent *a, struct buf *out, struct key32 *secret)
{
	static const uint8_t ip[4] = {10, 0, 0, 1};
	struct sign_in in = {.public_key = *sign_key_public(a->key),
		.store_id = a->store_id,
		.boot_counter = a->boot_counter,
		.lineage = a->lineage};
	struct status status = {.state = "signing-in",
		.agent_version = "1",
		.interval_ms = a->interval_ms,
		.clock_quality = 1};
	struct topic topic = agent_topic(a);

	rig_random(r, in.nonce.b, sizeof(in.nonce.b));
	x25519_generate(secret, &in.x25519_share);
	if (a->next_key)
		rotation_prove(a->id, &in, a->next_key);
	const struct heartbeat h = {.client_id = a->id,
		.ip_address = bytes_of(ip, 4),
		.ack = ACK_NOTHING,
		.status = &status,
		.seq = 1,
		.last_response_id = a->last_response_id,
		.sign_in = &in};
	const struct api_request q = {
		.seat = a->id, .verb = "sign-in", .answer_level = "x", .sign_in = &in};
	const struct publisher_msg p = {.publisher = a->id, .state = PUB_SIGN_IN, .sign_in = &in};
	enum err e = a->role == ROLE_CLIENT     ? heartbeat_encode(&h, out)
		     : a->role == ROLE_OPERATOR ? api_request_encode(&q, out)
						: publisher_msg_encode(&p, out);
	if (e != ERR_OK)
		fail_msg("sign-in: %s", err_text());
	assert_int_equal(seal_signature(out, topic.s, a->key), ERR_OK);
}

// True when an offer came and was taken.
static inline bool agent_take_offer(
	struct rig *r, struct agent *a, struct bytes sign_in, const struct key32 *secret)
{
	struct topic offer_topic = topic_of(TOPIC_OFFER, a->id);
	const struct sent *s = sent_find(r, offer_topic.s);
	struct session_offer offer;

	if (!s)
		return false;
	struct digest hash = sha256(sign_in.data, sign_in.size);
	assert_int_equal(
		seal_check_signature(sent_bytes(s), offer_topic.s, sign_key_public(r->online)),
		ERR_OK);
	struct arena a2;
	arena_init(&a2, 1 << 20, 1000);
	assert_int_equal(session_offer_decode(&a2, sent_bytes(s), &offer), ERR_OK);
	assert_true(digest_equal(&hash, &offer.sign_in_sha256));
	assert_int_equal(
		session_derive(secret, &offer.x25519_share, sign_in, sent_bytes(s), &a->keys),
		ERR_OK);
	a->session_id = offer.session_id;
	a->boot = offer.boot;
	a->lineage = offer.next_lineage;
	a->seq = a->peer_seq = a->want_seq = a->report_seq = 0;
	arena_fini(&a2);
	return true;
}

static inline bool agent_sign_in(struct rig *r, struct agent *a)
{
	struct buf b;
	struct key32 secret;
	struct topic topic = agent_topic(a);

	buf_init(&b, LIMIT_HEARTBEAT);
	sent_clear(r);
	agent_sign_in_bytes(r, a, &b, &secret);
	rig_give(r, topic.s, buf_bytes(&b), false);
	bool taken = agent_take_offer(r, a, buf_bytes(&b), &secret);
	buf_fini(&b);
	return taken;
}

static inline void agent_beat_bytes(struct agent *a, struct buf *out)
{
	static const uint8_t ip[4] = {10, 0, 0, 1};
	struct status status = {.state = "idle",
		.agent_version = "1.0",
		.interval_ms = a->interval_ms,
		.clock_quality = 2,
		.free_bytes = 81234567890,
		.hw_class = "x86",
		.showing_package = a->showing,
		.showing_image = digest_is_zero(&a->showing) ? "" : "0001-a.jpg",
		.updates = a->updates,
		.update_count = a->update_count};
	struct topic topic = topic_hb(a->id);
	const struct heartbeat h = {
		.client_id = a->id,
		.ip_address = bytes_of(ip, 4),
		.session_id = a->session_id,
		.seq = ++a->seq,
		.last_response_id = a->last_response_id,
		.ack = a->ack,
		.op = a->op.op_id ? &a->op : NULL,
		.status = &status,
		.holdings = a->holdings.item_count || a->holdings.full ? &a->holdings : NULL,
		.changes = a->changes,
		.change_count = a->change_count,
		.boot = a->boot,
	};

	if (heartbeat_encode(&h, out) != ERR_OK)
		fail_msg("beat: %s", err_text());
	assert_int_equal(seal_mac(out, topic.s, &a->keys.mac_up), ERR_OK);
}

// Sends a beat. True when a response came; it is checked, and decoded into the rig's arena, but not
// obeyed.
static inline bool agent_beat(struct rig *r, struct agent *a, struct response *out)
{
	struct topic topic = topic_hb(a->id), rsp = topic_of(TOPIC_RSP, a->id);

	rig_advance(r, 1000);
	sent_clear(r);
	agent_beat_bytes(a, &a->last);
	rig_give(r, topic.s, buf_bytes(&a->last), false);
	const struct sent *s = sent_find(r, rsp.s);
	if (!s)
		return false;
	assert_int_equal(seal_check_mac(sent_bytes(s), rsp.s, &a->keys.mac_down), ERR_OK);
	struct bytes copy = arena_copy(&r->arena, sent_bytes(s));
	assert_int_equal(response_decode(&r->arena, copy, out), ERR_OK);
	assert_int_equal(out->session_id, a->session_id);
	assert_int_equal(out->in_reply_to_seq, a->seq);
	return true;
}

static inline void agent_obey(struct agent *a, const struct response *m)
{
	a->boot = m->boot;
	a->ack = ACK_RESPONSE;
	a->interval_ms = m->heartbeat_interval_ms;
	if (m->body->response_id > a->last_response_id)
		a->last_response_id = m->body->response_id;
	if (m->body->kind == KIND_NO_ACTION || m->body->op_id == a->op.op_id)
		return;
	a->op = (struct operation){.op_id = m->body->op_id, .status = OP_ACCEPTED, .detail = ""};
	a->kind = m->body->kind;
}

// A beat whose response, a->got, arrives and is obeyed. Returns its kind; 0: no response.
static inline enum response_kind agent_step(struct agent *a)
{
	if (!agent_beat(a->rig, a, &a->got))
		return 0;
	agent_obey(a, &a->got);
	return a->got.body->kind;
}

// As macros, so that a failure names the line of the test.
#define agent_gets(a, kind) assert_int_equal(agent_step(a), kind)
#define agent_done_gets(a, kind) ((a)->op.status = OP_DONE, assert_int_equal(agent_step(a), kind))

static inline void agent_report(
	struct rig *r, struct agent *a, enum info_kind what, struct holdings *holdings)
{
	struct topic topic = topic_report(a->id);
	struct display_info display = {
		.showing_image = "", .showing_name = "", .showing_version = ""};
	struct report m = {.client_id = a->id,
		.session_id = a->session_id,
		.seq = ++a->report_seq,
		.boot = a->boot,
		.report_id = ++a->report_id,
		.op_id = a->op.op_id,
		.what = what,
		.parts = 1,
		.display = what == INFO_DISPLAY ? &display : NULL,
		.holdings = what == INFO_HOLDINGS ? holdings : NULL};
	struct buf b;

	buf_init(&b, LIMIT_REPORT);
	if (report_encode(&m, &b) != ERR_OK)
		fail_msg("report: %s", err_text());
	assert_int_equal(seal_mac(&b, topic.s, &a->keys.mac_up), ERR_OK);
	rig_give(r, topic.s, buf_bytes(&b), false);
	buf_fini(&b);
}

static inline void agent_hold(struct agent *a, const struct digest *package)
{
	a->items[a->holdings.item_count++] =
		(struct holding){.package = *package, .complete = true};
	a->holdings.items = a->items;
}

static inline void agent_report_holdings(struct rig *r, struct agent *a)
{
	struct holdings none = {.full = true};

	agent_report(r, a, INFO_HOLDINGS, a->holdings.item_count ? &a->holdings : &none);
}

// Signs in and goes through the first exchange of a new client: holdings, then caught up.
static inline void agent_settle(struct rig *r, struct agent *a)
{
	assert_true(agent_sign_in(r, a));
	agent_gets(a, KIND_SEND_INFORMATION);
	agent_report_holdings(r, a);
	agent_done_gets(a, KIND_NO_ACTION);
}

static inline struct client_info agent_info(struct rig *r, const struct agent *a)
{
	struct client_info info;

	assert_int_equal(core_client_find(r->core, a->id, &info), ERR_OK);
	return info;
}

#define assert_client_unchanged(a, before)                                                         \
	do {                                                                                       \
		struct client_info now_ = agent_info((a)->rig, a);                                 \
		assert_memory_equal(&(before), &now_, sizeof(now_));                               \
	} while (0)

// Enrolled, and owned by the rig.
static inline struct agent *rig_agent(struct rig *r, const char *id, enum role role)
{
	struct agent *a = calloc(1, sizeof(*a));

	assert_true(a && r->agent_count < RIG_AGENTS);
	agent_init(r, a, id, role);
	r->agents[r->agent_count++] = a;
	return a;
}

// A client that signed in, told what it holds and has nothing to do.
static inline struct agent *rig_settled(struct rig *r, const char *id)
{
	struct agent *a = rig_agent(r, id, ROLE_CLIENT);

	agent_settle(r, a);
	return a;
}

// The same device a second time, as it is now.
static inline struct agent *rig_copy(struct rig *r, const struct agent *a)
{
	struct agent *copy = calloc(1, sizeof(*copy));

	assert_true(copy && r->agent_count < RIG_AGENTS);
	*copy = *a;
	assert_int_equal(sign_key_load(&a->secret, &copy->key), ERR_OK);
	buf_init(&copy->last, LIMIT_HEARTBEAT);
	r->agents[r->agent_count++] = copy;
	return copy;
}

static inline void rig_free(struct rig *r)
{
	for (size_t i = 0; i < r->agent_count; i++) {
		agent_fini(r->agents[i]);
		free(r->agents[i]);
	}
	rig_kill(r);
	sent_clear(r);
	sign_key_free(r->online);
	arena_fini(&r->arena);
	assert_int_equal(tree_remove(r->folder), ERR_OK);
	free(r);
}

static inline int rig_setup(void **state)
{
	*state = rig_new();
	return 0;
}

static inline int rig_teardown(void **state)
{
	rig_free(*state);
	return 0;
}

#endif
