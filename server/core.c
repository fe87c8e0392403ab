// The core's own loop: messages and ticks change the state; departures.c commits it and lets the
// answers go. See core.h for the promise, core_inside.h for the rooms.
#include "server/core_inside.h"
#include "server/db/rows_content.h"
#include <stdlib.h>
#include <string.h>

void core_config_default(struct core_config *c)
{
	*c = (struct core_config){
		.server_id = "server.1",
		.interval_ms = 30000,
		.interval_busy_ms = 2000,
		.interval_min_ms = HEARTBEAT_MIN_MS,
		.interval_max_ms = HEARTBEAT_MAX_MS,
		.silent_after_s = 600,
		.reconnect_spread_s = 5,
		.mass_silence_percent = 5,
		.session_life_ms = SESSION_LIFE_MS,
		.offers_per_s = 1000,
		.offers_per_client_min = 30,
		.attempts_max = 3,
		.mismatch_limit = 5,
		.resend_limit = 10,
		.resyncs_per_s = 100,
		.operations_per_s = 5000,
		.busy_beats_per_s = 1000,
		.op_deadline_s = 600,
		.private_in_a_row = 4,
		.queue_high_water = 64,
		.queue_max = 1024,
		.view_period_s = 30,
		.usage_keep_days = 400,
		.usage_rows_max = 1000000,
		.views_per_s = 2000,
		.host_period_ms = 5000,
		.save_period_s = 30,
		.why_entries = 65536,
	};
}

static enum err config_check(const struct core_config *c)
{
	if (!c->server_id || !id_is_valid(c->server_id) || !c->online_key)
		return err_set(ERR_RANGE, "the core needs a server id and an online key");
	if (c->interval_min_ms < HEARTBEAT_MIN_MS || c->interval_max_ms > HEARTBEAT_MAX_MS ||
		c->interval_ms < c->interval_min_ms || c->interval_ms > c->interval_max_ms ||
		c->interval_busy_ms < c->interval_min_ms ||
		c->interval_busy_ms > c->interval_max_ms)
		return err_set(ERR_RANGE,
			"an interval lies between the least and the longest, and those between %d "
			"and %d ms",
			HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS);
	if (c->attempts_max < 1 || c->queue_high_water < 2 || c->queue_max < c->queue_high_water ||
		c->why_entries < 1 || c->views_per_s < 1 || c->host_period_ms < 100 ||
		c->offers_per_client_min < 1)
		return err_set(ERR_RANGE, "a limit of the core is too small");
	return ERR_OK;
}

// ---- small things for the rooms

bool number_list_add(struct number_list *l, uint32_t number)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 256;
		uint32_t *items = realloc(l->items, cap * sizeof(*items));
		if (!items)
			return false;
		l->items = items;
		l->cap = cap;
	}
	l->items[l->count++] = number;
	return true;
}

void number_list_settle(struct number_list *l)
{
	if (l->first < l->count && l->first < l->cap / 2)
		return;
	l->count -= l->first;
	if (l->count)
		memmove(l->items, l->items + l->first, l->count * sizeof(*l->items));
	l->first = 0;
}

enum err outbox_send(struct core *core, const char *broker, const char *topic,
	const struct buf *payload, int qos, bool retained)
{
	return outbox_add(&core->outbox, &(struct outbox_message){.broker = broker,
						 .topic = topic,
						 .payload = buf_bytes(payload),
						 .qos = qos,
						 .retained = retained});
}

struct db *core_db(struct core *core)
{
	return core->db;
}

struct now core_now(const struct core *core)
{
	return core->now;
}

struct arena *core_arena(struct core *core)
{
	return &core->arena;
}

const struct id16 *core_boot(const struct core *core)
{
	return &core->boot;
}

uint64_t core_incarnation(const struct core *core)
{
	return core->incarnation;
}

void core_random(struct core *core, void *out, size_t size)
{
	core->ports.random(core->ports.ctx, out, size);
}

// Rises over all starts, and stays below 2^53: JSON can carry it.
uint64_t core_flow_new(struct core *core)
{
	return ((uint64_t)core->incarnation << 22) + ++core->flow_count;
}

const struct core_config *core_get_config(const struct core *core)
{
	return &core->config;
}

bool core_is_degraded(const struct core *core)
{
	return core->degraded;
}

// ---- life

static void core_init(struct core *core)
{
	arena_init(&core->arena, CORE_ARENA_BYTES, CORE_ARENA_COUNT);
	buf_init(&core->body, LIMIT_RESPONSE);
	buf_init(&core->message, LIMIT_API);
	buf_init(&core->scratch, LIMIT_API);
	no_action_init(&core->no_action);
	outbox_init(&core->outbox);
	outbox_init(&core->views);
	outbox_init(&core->outbox_leaving);
	outbox_init(&core->views_leaving);
	core->key_id = key_id(sign_key_public(core->config.online_key));
	core->attended_at = core->host_at = core->save_at = core->now.mono;
	core->prune_at = mono_add_ms(core->now.mono, 60000);
	core->intervals = (struct frequency_policy){
		.idle_ms = core->config.interval_ms,
		.busy_ms = core->config.interval_busy_ms,
		.min_ms = core->config.interval_min_ms,
		.max_ms = core->config.interval_max_ms,
		.busy_per_s = core->config.busy_beats_per_s,
	};
	// A burst of half a second: many change at once when the network goes. VIEWS_PER_TURN
	// keeps it from holding up answers.
	uint32_t views = core->config.views_per_s;
	ratelimit_init(&core->views_allowed, views, views / 2 + 1, core->now.mono);
	ratelimit_init(&core->views_unchanged, views / 4 + 1, views / 100 + 1, core->now.mono);
	ratelimit_init(&core->resyncs_allowed, core->config.resyncs_per_s,
		core->config.resyncs_per_s, core->now.mono);
	// Of a quarter of a second, so that a crowd which beats together begins together; where
	// others are answered all the time, as many as these do not feel.
	uint32_t operations = core->config.operations_per_s, unfelt = operations / 100 + 10;
	uint32_t burst = operations / 4 > unfelt ? operations / 4 : unfelt;
	ratelimit_init(&core->operations_allowed, operations, burst, core->now.mono);
	core->operations_spared = burst - unfelt;
	ratelimit_init(&core->tellings, TELLINGS_PER_S, 10 * TELLINGS_PER_S, core->now.mono);
	ratelimit_init(&core->raises_allowed, 1, RAISE_COST * RAISES_AT_ONCE, core->now.mono);
	ratelimit_init(&core->offers.all, core->config.offers_per_s, core->config.offers_per_s,
		core->now.mono);
}

enum err core_new(const struct core_config *config, struct db *db, const struct core_ports *ports,
	struct now now, struct core **out)
{
	*out = NULL;
	TRY(config_check(config));
	struct core *core = calloc(1, sizeof(*core));
	if (!core)
		return err_set(ERR_MEMORY, "no memory for the core");
	core->config = *config;
	core->server_id = strdup(config->server_id);
	core->incarnation_file = config->incarnation_file ? strdup(config->incarnation_file) : NULL;
	core->ports = *ports;
	core->db = db;
	core->now = now;
	core_init(core);
	enum err e = !core->server_id || (config->incarnation_file && !core->incarnation_file)
			     ? err_set(ERR_MEMORY, "no memory for the core")
			     : core_load(core);
	if (e != ERR_OK) {
		core_free(core);
		return e;
	}
	*out = core;
	return ERR_OK;
}

void core_free(struct core *core)
{
	if (!core)
		return;
	db_rollback(core->db);
	core_unload(core);
	outbox_fini(&core->outbox);
	outbox_fini(&core->views);
	outbox_fini(&core->outbox_leaving);
	outbox_fini(&core->views_leaving);
	buf_fini(&core->body);
	buf_fini(&core->message);
	buf_fini(&core->scratch);
	no_action_fini(&core->no_action);
	arena_fini(&core->arena);
	free(core->dirty.items);
	free(core->view_due.items);
	free(core->view_old.items);
	reach_fini(core);
	mirrors_fini(core);
	free(core->server_id);
	free(core->incarnation_file);
	secret_wipe(&core->lineage_key, sizeof(core->lineage_key));
	free(core);
}

void core_set_hooks(struct core *core, const struct core_hooks *hooks)
{
	core->hooks = *hooks;
}

// ---- when the store fails

// What was done since the last commit is not stored: nobody may hear of it. Memory goes, and comes
// back from the rows. What was committed still leaves when it is on the disk.
void core_fail(struct core *core, enum err e, const char *what)
{
	core->commits_failed++;
	if (!core->degraded) {
		core->recover_ms = RECOVER_FIRST_MS;
		log_error("STATE-WRITE", "fatal state-write word=%s what=%s why=%s", err_word(e),
			what, log_quote(err_text()));
	} else {
		log_warn("STATE-WRITE-AGAIN", "word=%s what=%s retry_ms=%lld why=%s", err_word(e),
			what, (long long)core->recover_ms, log_quote(err_text()));
		core->recover_ms = core->recover_ms * 2 < RECOVER_MAX_MS ? core->recover_ms * 2
									 : RECOVER_MAX_MS;
	}
	core->degraded = true;
	core->recover_at = mono_add_ms(core->now.mono, core->recover_ms);
	db_rollback(core->db);
	core->rest = (struct rest){0};
	said_forget(core);
	core_unload(core);
}

void core_recover_within(struct core *core, int64_t ms, struct now now)
{
	struct mono at = mono_add_ms(now.mono, ms);

	if (mono_since_ms(core->recover_at, at) > 0)
		core->recover_at = at;
}

static void core_recover(struct core *core)
{
	if (core->now.mono.ms < core->recover_at.ms)
		return;
	db_rollback(core->db); // of those that did not know
	enum err e = departures_settle(core);
	if (e == ERR_OK)
		e = core_load(core);
	if (e == ERR_OK && core->hooks.reload)
		e = core->hooks.reload(core->hooks.ctx, core);
	if (e != ERR_OK) {
		core_fail(core, e, "reload");
		return;
	}
	core->degraded = false;
	log_warn("STATE-WRITE-RECOVERED", "failed=%llu", (unsigned long long)core->commits_failed);
	host_publish(core, true);
}

// ---- the turn

void core_ahead(struct core *core, const char *topic, size_t topic_length)
{
	const char *slash = memrchr(topic, '/', topic_length);

	if (slash && !core->degraded)
		client_table_ahead(
			&core->clients, slash + 1, topic_length - (size_t)(slash + 1 - topic));
}

void core_message(struct core *core, const char *from_broker, const char *topic,
	size_t topic_length, struct bytes payload, bool retained, struct now now)
{
	core->now = now;
	if (core->degraded || core->db->failed) {
		core->skipped_messages++;
		return;
	}
	attended_advance(core);
	arena_reset(&core->arena);
	gate_message(core, from_broker, topic, topic_length, payload, retained);
	arena_reset(&core->arena);
}

// last_heard and status of a part of the fleet, so that no turn writes all of it. They are told
// again by every heartbeat: of a large fleet each is saved less often, not more rows a second.
static void save_some(struct core *core)
{
	size_t share =
		core->clients.high / (core->config.save_period_s ? core->config.save_period_s : 1) +
		1;
	uint32_t number = CLIENT_NONE;

	if (share > SAVE_ROWS_PER_S)
		share = SAVE_ROWS_PER_S;

	for (size_t i = 0; i < share; i++) {
		number = client_table_next(&core->clients, &core->save_cursor);
		if (number == CLIENT_NONE) {
			core->save_cursor = 0;
			return;
		}
		if (client_at(&core->clients, number)->flags & CLIENT_STALE_ROW)
			client_dirty(core, number);
	}
}

static enum err history_prune(struct core *core)
{
	int64_t before = core->now.wall.ms - HISTORY_MS;

	TRY(rows_answer_prune(core->db, before));
	TRY(rows_operation_prune(core->db, before));
	TRY(rows_fetched_prune(core->db, before));
	return rows_event_prune(core->db, before);
}

void core_set_load(struct core *core, double server, double broker, struct now now)
{
	struct frequency *f = &core->frequency;

	if (frequency_load(f, &core->intervals, server > broker ? server : broker, now.mono))
		log_info("FREQUENCY", "level=%u permille=%u load=%.2f server=%.2f broker=%.2f",
			f->level, frequency_permille(f->level), f->load, server, broker);
}

static void tick_run(struct core *core)
{
	offers_expire(core);
	reach_run(core);
	if (core->now.mono.ms >= core->host_at.ms) {
		core->host_at = mono_add_ms(core->now.mono, core->config.host_period_ms);
		host_publish(core, true);
	}
	if (core->now.mono.ms >= core->save_at.ms && !core->loading) {
		core->save_at = mono_add_ms(core->now.mono, 1000);
		save_some(core);
	}
	if (core->leads && core->now.mono.ms >= core->prune_at.ms) {
		core->prune_at = mono_add_ms(core->now.mono, 3600 * 1000);
		if (history_prune(core) != ERR_OK)
			log_warn("PRUNE-FAILED", "why=%s", log_quote(err_text()));
	}
}

void core_tick(struct core *core, struct now now)
{
	core->now = now;
	attended_advance(core);
	arena_reset(&core->arena);
	if (core->degraded)
		core_recover(core);
	if (!core->degraded && !core->db->failed)
		tick_run(core);
	arena_reset(&core->arena);
}

bool core_is_clean(const struct core *core)
{
	return !core->dirty.count && !db_is_dirty(core->db) && !core->degraded;
}

void core_shutdown(struct core *core, struct now now)
{
	size_t cursor = 0;

	core->now = now;
	if (core->degraded)
		return;
	for (uint32_t n = 0; (n = client_table_next(&core->clients, &cursor)) != CLIENT_NONE;)
		if (client_at(&core->clients, n)->flags & CLIENT_STALE_ROW)
			client_dirty(core, n);
	reach_note(core);
	host_publish(core, false);
}

// ---- sending

enum err client_seal(const struct client *c, struct buf *payload, const char *topic)
{
	struct key32 mac_down = session_mac_down(&c->mac_up);

	return seal_mac(payload, topic, &mac_down);
}

static struct client *peer_find(
	struct core *core, const char *id, enum role role, struct client_rare **rare)
{
	uint32_t number = client_table_find(&core->clients, id);
	struct client *c = number == CLIENT_NONE ? NULL : client_at(&core->clients, number);

	if (!c || c->role != role || c->session_id == 0 || c->flags & CLIENT_REVOKED)
		return NULL;
	*rare = client_rare_get(c);
	return *rare ? c : NULL;
}

static enum err no_session(const char *id)
{
	return err_set(ERR_NOT_FOUND, "%s is not signed in", id);
}

// What stands encoded in core->message.
static enum err peer_send(struct core *core, const struct client *c, const struct topic *topic)
{
	TRY(client_seal(c, &core->message, topic->s));
	return outbox_send(core, NULL, topic->s, &core->message, 1, false);
}

// A session outlives a start of ours, what was counted in it does not: the numbers of each start
// are above all of those before.
static uint64_t seq_next(const struct core *core, uint64_t *seq)
{
	if (*seq == 0)
		*seq = (uint64_t)core->incarnation << 32;
	return ++*seq;
}

enum err core_send_grant(struct core *core, const char *client, struct grant *m)
{
	struct client_rare *rare = NULL;
	struct client *c = peer_find(core, client, ROLE_CLIENT, &rare);

	if (!c)
		return no_session(client);
	struct topic topic = topic_of(TOPIC_GRANT, client);
	m->client_id = client;
	m->session_id = c->session_id;
	m->seq = seq_next(core, &rare->grant_seq);
	m->boot = client_boot(core, c);
	TRY(grant_encode(m, &core->message));
	if (c->elsewhere) // its owner fills in session, number and boot
		return letter_to_client(core, client, LETTER_GRANT,
			&(struct letter_said){.body = buf_bytes(&core->message)});
	return peer_send(core, c, &topic);
}

enum err core_send_directive(struct core *core, const char *publisher, struct directive *m)
{
	struct client_rare *rare = NULL;
	struct client *c = peer_find(core, publisher, ROLE_PUBLISHER, &rare);

	if (!c)
		return no_session(publisher);
	struct topic topic = topic_of(TOPIC_PUBCMD, publisher);
	m->publisher = publisher;
	m->session_id = c->session_id;
	m->seq = seq_next(core, &rare->directive_seq);
	m->boot = core->boot;
	TRY(directive_encode(m, &core->message));
	return peer_send(core, c, &topic);
}

static enum err api_part_send(struct core *core, const struct client *c, struct client_rare *rare,
	const char *seat, const char *level, struct api_answer *m)
{
	struct topic topic = topic_apir(seat, level);

	m->seat = seat;
	m->session_id = c->session_id;
	m->seq = seq_next(core, &rare->answer_seq);
	TRY(api_answer_encode(m, &core->message));
	return peer_send(core, c, &topic);
}

enum err core_send_api_answer(struct core *core, const char *seat, const struct api_reply *r)
{
	struct client_rare *rare = NULL;
	struct client *c = peer_find(core, seat, ROLE_OPERATOR, &rare);
	size_t parts = r->json.size ? (r->json.size + API_PART_BYTES - 1) / API_PART_BYTES : 1;

	if (!c)
		return no_session(seat);
	if (!id_is_valid(r->answer_level))
		return err_set(ERR_RANGE, "the answer level of %s is not a topic level", seat);
	for (size_t i = 0; i < parts; i++) {
		size_t at = i * API_PART_BYTES, left = r->json.size - at;
		struct api_answer m = {
			.request_id = r->request_id,
			.ok = !r->error_word,
			.error = r->error_word ? r->error : "",
			.error_word = r->error_word,
			.json = bytes_of(r->json.data ? r->json.data + at : NULL,
				left < API_PART_BYTES ? left : API_PART_BYTES),
			.part = (uint32_t)i,
			.parts = (uint32_t)parts,
		};
		TRY(api_part_send(core, c, rare, seat, r->answer_level, &m));
	}
	return ERR_OK;
}

enum err core_unretain(struct core *core, const char *topic)
{
	return outbox_add(
		&core->views, &(struct outbox_message){.topic = topic, .qos = 1, .retained = true});
}

enum err core_publish_signed(struct core *core, const char *broker, const char *topic,
	struct buf *payload, int qos, bool retained)
{
	TRY(seal_signature(payload, topic, core->config.online_key));
	return outbox_send(core, broker, topic, payload, qos, retained);
}

// ---- counters

size_t core_counters(const struct core *core, struct core_counter *out, size_t max)
{
	static const char *const reject_names[REJECT_COUNT] = {"reject.topic", "reject.retained",
		"reject.size", "reject.unknown-client", "reject.revoked", "reject.signature",
		"reject.schema", "reject.format", "reject.no-status", "reject.ip",
		"reject.identity", "reject.session", "reject.boot", "reject.replay", "reject.key",
		"reject.offers", "reject.too-many", "reject.role"};
	const struct core_counter all[] = {
		{"heartbeats", core->heartbeats},
		{"answers.no-action", core->answers[KIND_NO_ACTION]},
		{"answers.send-information", core->answers[KIND_SEND_INFORMATION]},
		{"answers.retrieve-information", core->answers[KIND_RETRIEVE_INFORMATION]},
		{"answers.execute-command", core->answers[KIND_EXECUTE_COMMAND]},
		{"answers.stale-boot", core->stale_boots},
		{"resends", core->resends},
		{"mismatches", core->mismatches},
		{"sign-ins", core->sign_ins},
		{"reports", core->reports},
		{"wants", core->wants},
		{"publisher-messages", core->publisher_messages},
		{"requests", core->requests},
		{"views", core->views_sent},
		{"load.permille", (uint64_t)(core->frequency.load * 1000)},
		{"interval.permille", frequency_permille(core->frequency.level)},
		{"commits", core->db->commits},
		{"statements", core->db->statements},
		{"commits-failed", core->commits_failed},
		{"stores-restored", core->restored_count},
		{"skipped-messages", core->skipped_messages},
		{"messages-of-others", core->of_others},
		{"log.untold", core->untold},
		{"alerts.client-disagrees", core->alerts},
		{"alerts.client-hasty", core->hasty},
		{"alerts.update-failed", core->updates_failed},
	};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && count < max; i++)
		out[count++] = all[i];
	for (size_t i = 0; i < REJECT_COUNT && count < max; i++)
		out[count++] = (struct core_counter){reject_names[i], core->rejects[i]};
	return count;
}
