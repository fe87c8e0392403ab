// The server's process: the core, its store, its turns. It is killed at the places where a crash
// hurts most: with messages taken and nothing committed, with all committed and nothing said, and
// in the middle of saying it. The store is a database in memory that outlives the process.
#include "tests/fleet/sim/sim.h"

#include "proto/base/file.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_EVERY_MS 500
#define TURN_MAX_MS 6

struct now host_now(const struct sim *s)
{
	return (struct now){
		{s->now + s->server.mono_base}, {SIM_EPOCH_MS + s->now + s->server.wall_offset}};
}

// ---- ports

static void port_publish(void *ctx, const char *broker, const char *topic, struct bytes payload,
	int qos, bool retained)
{
	struct sim *s = ctx;
	struct server_host *h = &s->server;

	if (broker && strcmp(broker, CORE_ALL_BROKERS) != 0)
		return;
	if (!h->committed) {
		h->committed = true;
		if (db_is_dirty(h->db))
			violate(s, "%s is published before its turn is committed", topic);
		ledger_commit(s);
	}
	if (h->publishes_left == 0)
		return;
	if (h->publishes_left > 0)
		h->publishes_left--;
	if (qos == 1 && strncmp(topic, "helio/v1/rsp/", 13) == 0) // NO_ACTION goes with QoS 0
		ledger_published(s, topic, payload);
	if (!h->deaf)
		broker_from_server(s, topic, payload, qos, retained);
	h->deaf = false;
}

static void port_random(void *ctx, void *out, size_t size)
{
	struct sim *s = ctx;

	rng_fill(&s->ids, out, size);
}

static void port_x25519(void *ctx, struct key32 *secret, struct key32 *share)
{
	(void)ctx;
	x25519_generate(secret, share);
}

// ---- hooks

static const char *const slot_names[SIM_SLOTS] = {"lobby", "window", "bar", "player"};

enum err sim_package_find(void *ctx, struct core *core, const struct digest *package,
	struct arena *arena, struct package_ref *out)
{
	struct sim *s = ctx;
	uint32_t index = package_index(package);

	(void)core;
	bool gone = s->config.broken == BREAK_SNAPSHOT && s->server.core &&
		    index % SIM_SLOTS == 1 && s->quiet;
	if (index >= s->package_count || gone)
		return err_set(ERR_NOT_FOUND, "no package %s", digest_short(package));
	*out = (struct package_ref){
		.package = *package,
		.publisher = "pub.1",
		.kind = package_is_software(index) ? PACKAGE_SOFTWARE : PACKAGE_IMAGES,
		.name = slot_names[index % SIM_SLOTS],
		.version = arena_printf(arena, "%u", index),
		.size_bytes = 1000,
	};
	return out->version ? ERR_OK : err_set(ERR_FULL, "no room for a version");
}

static void hook_want(void *ctx, struct core *core, const struct caller *who, const struct want *m)
{
	struct sim *s = ctx;
	struct address from = {.broker_id = "data.1", .host = "data", .ip = "", .port = 1883};
	struct grant g = {.reason = ""};

	if (m->release) {
		g.request_id = m->release->request_id;
		g.package = m->release->package;
		g.release_acked = true;
	} else {
		g.request_id = m->fetch->request_id;
		g.package = m->fetch->package;
		g.publisher = "pub.1";
		g.granted = s->quiet || !rng_chance(&s->fate, 150);
		g.retry_after_ms = g.granted ? 0 : (uint32_t)rng_between(&s->fate, 200, 4000);
		g.from = g.granted ? &from : NULL;
		g.lease = ++s->server.lease;
		g.ttl_ms = 60000;
		g.window = 8;
		g.publisher_key = s->online_public;
	}
	if (core_send_grant(core, who->id, &g) != ERR_OK)
		violate(s, "no grant for %s: %s", who->id, err_text());
}

static uint32_t client_index(const char *id)
{
	return (uint32_t)strtoul(id + 1, NULL, 10);
}

static void hook_ended(void *ctx, struct core *core, const struct operation_info *op)
{
	(void)core;
	struct sim *s = ctx;
	struct note n = {.kind = NOTE_ENDED, .client = client_index(op->client), .op = *op};

	ledger_note(s, &n);
	n.op.outcome = op->outcome == OP_DONE ? OP_FAILED : OP_DONE;
	if (s->config.broken == BREAK_OUTCOME)
		ledger_note(s, &n);
}

static void hook_report(
	void *ctx, struct core *core, const struct caller *who, const struct report *m)
{
	struct sim *s = ctx;
	struct note n = {.kind = NOTE_REPORT, .client = client_index(who->id)};

	(void)core;
	n.op.op_id = m->op_id;
	ledger_note(s, &n);
	if (s->config.broken == BREAK_REPORT)
		ledger_note(s, &n);
}

// ---- turns

static void inbox_clear(struct server_host *h)
{
	for (size_t i = 0; i < h->inbox_count; i++)
		message_free(h->inbox[i]);
	h->inbox_count = 0;
}

bool host_commit(struct sim *s)
{
	struct server_host *h = &s->server;

	h->committed = false;
	h->turns++;
	core_turn_end(h->core, host_now(s));
	if (core_is_degraded(h->core)) {
		ledger_forget(s);
		return false;
	}
	if (!h->committed)
		ledger_commit(s);
	return true;
}

void host_deliver(struct sim *s, struct message *m)
{
	struct server_host *h = &s->server;

	if (!h->core)
		return;
	if (h->inbox_count == h->inbox_cap) {
		h->inbox_cap = h->inbox_cap ? 2 * h->inbox_cap : 64;
		h->inbox = realloc(h->inbox, h->inbox_cap * sizeof(struct message *));
		if (!h->inbox)
			abort();
	}
	m->refs++;
	h->inbox[h->inbox_count++] = m;
	s->result->messages++;
	sim_mix(s, hash_bytes(m->data, m->topic_length + 1 + m->size, (uint64_t)s->now));
	if (h->turn_waits)
		return;
	h->turn_waits = true;
	heap_push(s, s->now + (int64_t)rng_below(&s->way, TURN_MAX_MS + 1), EVENT_TURN, 0,
		h->start_token, NULL, 0);
}

static void inbox_drain(struct sim *s)
{
	struct server_host *h = &s->server;

	h->heard_count = 0;
	for (size_t i = 0; i < h->inbox_count; i++) {
		const struct message *m = h->inbox[i];
		if (h->heard_count < SIM_HEARD)
			h->heard[h->heard_count++] = client_index(strrchr(m->data, '/') + 1);
		core_message(h->core, NULL, m->data, m->topic_length,
			bytes_of(m->data + m->topic_length + 1, m->size), m->retained, host_now(s));
	}
	inbox_clear(h);
}

static void heard_check(struct sim *s)
{
	for (size_t i = 0; i < s->server.heard_count; i++)
		check_client(s, s->server.heard[i]);
}

void host_turn(struct sim *s)
{
	struct server_host *h = &s->server;
	enum kill_place kill = h->inbox_count ? h->kill_next : KILL_NOT;

	if (h->stalled)
		return; // the turn still waits
	h->turn_waits = false;
	inbox_drain(s);
	if (kill == KILL_BEFORE_COMMIT) {
		ledger_forget(s);
		host_kill(s, rng_between(&s->fate, 50, 6000));
		return;
	}
	h->publishes_left = kill == KILL_BEFORE_PUBLISH     ? 0
			    : kill == KILL_WHILE_PUBLISHING ? rng_between(&s->fate, 1, 3)
							    : -1;
	if (host_commit(s))
		heard_check(s);
	h->heard_count = 0;
	server_bend(s);
	if (kill != KILL_NOT)
		host_kill(s, rng_between(&s->fate, 50, 6000));
}

void host_tick(struct sim *s)
{
	struct server_host *h = &s->server;

	heap_push(s, s->now + TICK_EVERY_MS, EVENT_SERVER_TICK, 0, h->start_token, NULL, 0);
	if (h->stalled)
		return;
	core_tick(h->core, host_now(s));
	host_commit(s);
}

// ---- starts and ends

static void will_keep(struct sim *s)
{
	struct buf out;
	struct topic topic = topic_of(TOPIC_HOST, "server.1");

	buf_init(&out, LIMIT_OFFER);
	if (core_host_will(s->server.core, &out) != ERR_OK)
		abort();
	message_free(s->server.will);
	s->server.will = message_new(topic.s, buf_bytes(&out), true);
	buf_fini(&out);
}

// A store that came back from a backup may hold a device for revoked that was enrolled again since.
static void revoked_look(struct sim *s)
{
	struct client_info info;

	for (uint32_t i = 0; i < s->config.agents && s->restored; i++) {
		struct device *d = &s->devices[i];
		if (d->revoked || core_client_find(s->server.core, d->id, &info) != ERR_OK ||
			!info.revoked)
			continue;
		d->revoked = true;
		heap_push(s, s->now + rng_between(&s->fate, 500, 5000), EVENT_MEND, i, 0, NULL,
			FAULT_REVOKE);
	}
}

void host_start(struct sim *s)
{
	struct server_host *h = &s->server;
	const struct core_hooks hooks = {
		.ctx = s,
		.want = hook_want,
		.operation_ended = hook_ended,
		.report = hook_report,
		.package_find = sim_package_find,
	};

	h->mono_base = rng_between(&s->fate, 1000, 1000000) - s->now;
	h->start_token++;
	h->publishes_left = -1;
	h->kill_next = KILL_NOT;
	h->turn_waits = h->stalled = h->deaf = false;
	if (core_new(&h->config, h->db, &h->ports, host_now(s), &h->core) != ERR_OK) {
		if (!h->read_only)
			violate(s, "the server does not start: %s", err_text());
		h->core = NULL;
		heap_push(s, s->now + 1000, EVENT_SERVER_START, 0, h->start_token, NULL, 0);
		return;
	}
	core_set_hooks(h->core, &hooks);
	h->starts++;
	revoked_look(s);
	trace(s, "the server starts, incarnation %llu",
		(unsigned long long)core_incarnation(h->core));
	will_keep(s);
	heap_push(s, s->now + rng_between(&s->fate, 1, 400), EVENT_SERVER_LINK, 0, h->link_token,
		NULL, 0);
	heap_push(s, s->now + TICK_EVERY_MS, EVENT_SERVER_TICK, 0, h->start_token, NULL, 0);
}

void host_link(struct sim *s, bool up)
{
	struct server_host *h = &s->server;

	if (!h->core || (up && !s->broker.up)) {
		if (h->core)
			heap_push(s, s->now + 300, EVENT_SERVER_LINK, 0, h->link_token, NULL, 0);
		return;
	}
	if (h->link_up == up)
		return;
	h->link_up = up;
	h->link_token++;
	s->broker.server_up_last = s->broker.server_down_last = 0;
	core_link(h->core, up, host_now(s));
	if (!up) {
		broker_will_of_server(s);
		heap_push(s, s->now + rng_between(&s->fate, 50, 3000), EVENT_SERVER_LINK, 0,
			h->link_token, NULL, 0);
	}
}

static void process_end(struct sim *s, int64_t away_ms)
{
	struct server_host *h = &s->server;

	core_free(h->core);
	h->core = NULL;
	inbox_clear(h);
	h->start_token++;
	h->link_up = false;
	h->link_token++;
	s->any_restart = true;
	heap_push(s, s->now + away_ms, EVENT_SERVER_START, 0, h->start_token, NULL, 0);
}

void host_kill(struct sim *s, int64_t away_ms)
{
	if (!s->server.core)
		return;
	trace(s, "the server is killed, for %lld ms", (long long)away_ms);
	ledger_forget(s);
	if (s->server.link_up)
		broker_will_of_server(s);
	process_end(s, away_ms);
}

void host_shutdown(struct sim *s, int64_t away_ms)
{
	if (!s->server.core || s->server.stalled)
		return;
	trace(s, "the server ends, for %lld ms", (long long)away_ms);
	inbox_drain(s);
	core_shutdown(s->server.core, host_now(s));
	host_commit(s);
	process_end(s, away_ms);
}

// ---- the store

void host_read_only(struct sim *s, bool on)
{
	struct server_host *h = &s->server;

	trace(s, "the store %s", on ? "takes no writes" : "is well");
	h->read_only = on;
	if (h->db->engine->exec(h->db, on ? "PRAGMA query_only=ON" : "PRAGMA query_only=OFF") !=
		ERR_OK)
		abort();
}

// Not a page more. What it then says is SQLite's own word for a full disk; `read_only` stands for
// both, to everybody who asks whether the store takes writes.
void host_disk_full(struct sim *s, bool on)
{
	struct server_host *h = &s->server;

	trace(s, "the server's disk %s", on ? "is full" : "has room");
	h->read_only = h->disk_full = on;
	if (h->db->engine->exec(h->db,
		    on ? "PRAGMA max_page_count=1" : "PRAGMA max_page_count=1073741823") != ERR_OK)
		abort();
}

// ---- revoked, and enrolled again

static bool can_write(const struct sim *s)
{
	const struct server_host *h = &s->server;

	return h->core && !h->stalled && !h->read_only && !core_is_degraded(h->core);
}

bool host_revoke(struct sim *s, uint32_t index)
{
	struct device *d = &s->devices[index];

	if (!can_write(s) || d->revoked)
		return false;
	trace(s, "%s is revoked", d->id);
	if (core_principal_revoke(s->server.core, d->id) != ERR_OK)
		violate(s, "%s cannot be revoked: %s", d->id, err_text());
	s->server.publishes_left = -1;
	return d->revoked = host_commit(s);
}

void host_backup(struct sim *s)
{
	struct server_host *h = &s->server;
	char path[96];

	if (!h->core || h->read_only || core_is_degraded(h->core) || db_is_dirty(h->db))
		return;
	snprintf(path, sizeof(path), "%s/backup%u.db", h->folder, ++h->stores);
	if (db_backup(h->db, path) != ERR_OK) {
		violate(s, "no backup: %s", err_text());
		return;
	}
	trace(s, "backup %u", h->stores);
	if (h->has_backup)
		(void)unlink(h->backup);
	(void)str_copy(h->backup, sizeof(h->backup), path);
	h->has_backup = true;
	h->backup_act = s->act_count;
}

void host_restore(struct sim *s)
{
	struct server_host *h = &s->server;

	if (!h->has_backup || h->read_only)
		return;
	trace(s, "the store comes back from a backup");
	host_kill(s, rng_between(&s->fate, 50, 2000));
	db_close(h->db);
	if (db_sqlite_open(h->backup, &h->db) != ERR_OK || schema_migrate(h->db) != ERR_OK)
		violate(s, "the backup does not open: %s", err_text());
	h->has_backup = false;
	s->restored = true;
	ledger_restored(s, h->backup_act);
}

// ---- the first start

static void enrol_one(struct sim *s, const struct device *d)
{
	char channel[8];
	const struct enrolment e = {.id = d->id,
		.role = ROLE_CLIENT,
		.public_key = *sign_key_public(d->config.key),
		.name = d->id};

	snprintf(channel, sizeof(channel), "c%u", d->channel);
	if (core_enrol(s->server.core, &e) != ERR_OK ||
		core_client_set_channel(s->server.core, d->id, channel) != ERR_OK)
		violate(s, "no enrolment: %s", err_text());
}

bool host_enrol_again(struct sim *s, uint32_t index)
{
	struct device *d = &s->devices[index];

	if (!can_write(s))
		return false;
	trace(s, "%s is enrolled again", d->id);
	if (core_principal_remove(s->server.core, d->id) != ERR_OK)
		violate(s, "%s cannot be removed: %s", d->id, err_text());
	enrol_one(s, d);
	s->server.publishes_left = -1;
	if (!host_commit(s))
		return false;
	d->revoked = false;
	ledger_enrolled_again(s, index);
	return true;
}

static void enrol_all(struct sim *s)
{
	for (uint32_t i = 0; i < s->config.agents; i++)
		enrol_one(s, &s->devices[i]);
	if (!host_commit(s))
		violate(s, "no enrolment: the commit failed");
}

static void config_fill(struct sim *s)
{
	struct core_config *c = &s->server.config;
	bool large = s->config.agents > 100;

	core_config_default(c);
	c->online_key = s->online;
	c->interval_ms = s->interval_ms;
	c->interval_busy_ms = (uint32_t)rng_between(&s->fate, 300, s->interval_ms);
	c->silent_after_s = 20;
	c->reconnect_spread_s = 2;
	c->op_deadline_s = (uint32_t)rng_between(&s->fate, 30, 90);
	c->why_entries = large ? 4096 : 128;
	c->queue_high_water = (uint32_t)rng_between(&s->fate, 2, 16);
	c->queue_max = c->queue_high_water + (uint32_t)rng_between(&s->fate, 1, 20);
	c->private_in_a_row = (uint32_t)rng_between(&s->fate, 1, 4);
	c->mismatch_limit = 5;
	c->resyncs_per_s = 100;
	c->views_per_s = 200;
	if (s->config.faults & FAULT_RESTORE)
		c->incarnation_file = s->server.incarnation;
}

static void folder_make(struct server_host *h)
{
	bool memory = access("/dev/shm", W_OK) == 0;

	snprintf(h->folder, sizeof(h->folder), "%s/helio-sim-XXXXXX", memory ? "/dev/shm" : "/tmp");
	if (!mkdtemp(h->folder))
		abort();
	snprintf(h->incarnation, sizeof(h->incarnation), "%s/incarnation", h->folder);
}

void host_init(struct sim *s)
{
	struct server_host *h = &s->server;

	if (s->config.faults & FAULT_RESTORE)
		folder_make(h);
	config_fill(s);
	h->ports = (struct core_ports){
		.ctx = s, .publish = port_publish, .random = port_random, .x25519 = port_x25519};
	h->db = store_take();
	host_start(s);
	if (h->core)
		enrol_all(s);
}

void host_fini(struct sim *s)
{
	struct server_host *h = &s->server;

	core_free(h->core);
	if (s->restored)
		db_close(h->db);
	else
		store_give_back(h->db, h->read_only);
	inbox_clear(h);
	free(h->inbox);
	message_free(h->will);
	if (h->folder[0] && tree_remove(h->folder) != ERR_OK)
		fprintf(stderr, "helio-sim: %s stays: %s\n", h->folder, err_text());
}
