// The core's entry: events are handed to the part that decides, time is handed to all of them.
#include "client/agent_parts.h"

#include <stdlib.h>
#include <string.h>

#define SAVE_AGAIN_MS 2000
#define LOG_PERIOD_MS 10000
#define IDLE_MS 60000

int64_t agent_backoff_ms(struct agent_core *c, uint32_t tries, int64_t first_ms, int64_t max_ms)
{
	uint64_t random;
	int64_t delay = first_ms;
	for (uint32_t i = 0; i < tries && delay < max_ms; i++)
		delay *= 2;
	if (delay > max_ms)
		delay = max_ms;
	c->port->random(c->ctx, &random, sizeof random);
	return delay / 2 + (int64_t)(random % (uint64_t)(delay / 2 + 1));
}

enum err agent_state_save(struct agent_core *c)
{
	SCOPED_BUF struct buf text;
	buf_init(&text, AGENT_STATE_MAX);
	c->state.generation++;
	enum err e = agent_state_encode(&c->state, &text);
	if (e == ERR_OK)
		e = c->port->save(c->ctx, buf_bytes(&text));
	c->unsaved = e != ERR_OK;
	return e;
}

void state_save_soon(struct agent_core *c, struct now now)
{
	if (agent_state_save(c) == ERR_OK)
		return;
	c->save_next = mono_add_ms(now.mono, SAVE_AGAIN_MS);
	if (log_gate_open(&c->save_gate, now.mono.ms, LOG_PERIOD_MS))
		log_error("STATE-UNSAVED", "client=%s why=%s", c->config->client_id,
			log_quote(err_text()));
}

static void boot_store(struct agent_core *c, struct now now)
{
	if (mono_since_ms(c->save_next, now.mono) > 0)
		return;
	state_save_soon(c, now);
	c->ready = c->ready || !c->unsaved;
}

enum err agent_init(struct agent_core *c, const struct agent_config *config,
	const struct agent_port *port, void *ctx, struct agent_state *state)
{
	if (!id_is_valid(config->client_id))
		return err_set(ERR_RANGE, "the client id is not made of [A-Za-z0-9._-]{1,64}");
	*c = (struct agent_core){.config = config, .port = port, .ctx = ctx, .state = *state};
	buf_init(&c->session.ask, LIMIT_HEARTBEAT);
	c->state.boot_counter++;
	c->last_response_id = c->state.last_response_id;
	c->grid.interval_ms = beat_interval_clamp(
		c->state.interval_ms != 0 ? c->state.interval_ms : config->interval_ms);
	c->request_counter = c->state.boot_counter << 32;
	c->key = config->key;
	c->next_key = config->next_key;
	operation_recover(c);
	return ERR_OK;
}

void agent_fini(struct agent_core *c)
{
	retrieve_fini(c);
	session_fini(&c->session);
	agent_state_fini(&c->state);
}

void agent_link_up(struct agent_core *c, struct now now)
{
	arena_reset(c->config->scratch);
	struct topic offer = topic_of(TOPIC_OFFER, c->config->client_id);
	struct topic rsp = topic_of(TOPIC_RSP, c->config->client_id);
	struct topic grant = topic_of(TOPIC_GRANT, c->config->client_id);
	const char *topics[] = {offer.s, rsp.s, grant.s};
	c->link_up = true;
	c->host = (struct host_watch){0};
	c->port->subscribe(c->ctx, topics, 3, 1);
	if (!c->ready)
		boot_store(c, now);
	if (!c->session.current)
		c->session.ask_next = now.mono;
	session_watch(c, now);
}

void agent_link_down(struct agent_core *c, struct now now)
{
	(void)now;
	c->link_up = false;
	c->host = (struct host_watch){0};
	c->session.asking = false;
}

// ---- a response

// Kept over a restart of the device: the fleet may come back from the same power cut.
static void spread_keep(struct agent_core *c, uint32_t spread_ms)
{
	if (c->state.reconnect_spread_ms == spread_ms)
		return;
	c->state.reconnect_spread_ms = spread_ms;
	if (agent_state_save(c) != ERR_OK)
		log_debug("SPREAD-UNSAVED", "client=%s why=%s", c->config->client_id,
			log_quote(err_text())); // the next save takes it along
}

void agent_pace(struct agent_core *c, uint64_t rate_bytes_per_s, bool hold)
{
	bool same = rate_bytes_per_s == c->paced_bytes_per_s && hold == c->hold;
	c->hold = hold;
	if (same)
		return;
	c->paced_bytes_per_s = rate_bytes_per_s;
	c->port->fetch_pace(c->ctx, rate_bytes_per_s, hold);
}

// A response that tells no rate leaves the grant's.
static void pace_obey(struct agent_core *c, const struct response *r)
{
	uint64_t rate = r->rate_bytes_per_s;
	if (rate == 0 && c->retrieve.phase == RETRIEVE_FETCH)
		rate = c->retrieve.granted_bytes_per_s;
	c->rate_bytes_per_s = r->rate_bytes_per_s;
	agent_pace(c, rate, r->hold);
}

static void control_obey(struct agent_core *c, struct now now, const struct response *r)
{
	struct client_session *s = &c->session;
	s->answered_seq = r->in_reply_to_seq;
	bool is_new_boot = memcmp(&s->boot, &r->boot, sizeof s->boot) != 0;
	s->boot = r->boot;
	if (is_new_boot)
		retrieve_session_changed(c, now); // the server took nothing that named the old one
	pace_obey(c, r);
	if (r->heartbeat_interval_ms != 0) {
		uint32_t interval = beat_interval_clamp(r->heartbeat_interval_ms);
		c->state.interval_ms = interval;
		beat_grid_set(&c->grid, now.mono, interval);
	}
	if (r->next_beat_ms != 0)
		beat_grid_once(&c->grid, now.mono, r->next_beat_ms);
	spread_keep(c, r->reconnect_spread_ms);
	c->epoch = r->epoch;
	if (r->server_unix_ms > 0) {
		c->server_offset_ms = r->server_unix_ms - now.mono.ms;
		c->server_time_known = true;
		if (r->server_unix_ms > c->state.time_floor_ms)
			c->state.time_floor_ms = r->server_unix_ms;
	}
	if (r->body->reason->code == REASON_STALE_BOOT)
		return; // the beat counted for nothing
	if (c->full_seq != 0 && r->in_reply_to_seq >= c->full_seq) {
		c->full_wanted = false;
		c->full_seq = 0;
	}
	agent_state_drop_changes(&c->state, r->acked_change_id);
	send_info_told(c, now, r);
}

static void response_refused(struct agent_core *c, struct now now, enum err e)
{
	if (e == ERR_EXISTS)
		return; // the broker gave the same bytes twice
	c->counters.refused++;
	if (log_gate_open(&c->refused_gate, now.mono.ms, 1000))
		log_warn("RSP-REFUSED", "client=%s word=%s why=%s refused=%llu",
			c->config->client_id, err_word(e), log_quote(err_text()),
			(unsigned long long)c->counters.refused);
}

static void nothing_to_do(struct agent_core *c, const struct response_body *b)
{
	if (b->response_id > c->last_response_id)
		c->last_response_id = b->response_id;
	// The server waits for nothing of ours: no command that we forgot will come again.
	if (b->reason->code == REASON_CAUGHT_UP)
		c->state.uncertain = false;
}

static void response_take(struct agent_core *c, struct now now, struct bytes payload)
{
	struct taken t;
	enum err e = session_response(c, now, payload, &t);
	if (e != ERR_OK) {
		response_refused(c, now, e);
		return;
	}
	const struct response r = t.response;
	c->counters.responses++;
	log_debug("ANSWER", "client=%s kind=%s state=%s reason=%s resend=%d", c->config->client_id,
		response_kind_word(r.body->kind), client_state_word(r.body->state),
		reason_word(r.body->reason->code), t.resend);
	c->damaged = false;
	c->any_response = true;
	rotate_answered(c, now);
	if (r.in_reply_to_seq > c->session.answered_seq)
		control_obey(c, now, &r);
	if (r.body->state == CS_CLONE_SUSPECT &&
		log_gate_open(&c->refused_gate, now.mono.ms, LOG_PERIOD_MS))
		log_error("CLONE-SUSPECT", "client=%s the server holds this store for a copy",
			c->config->client_id);
	if (t.resend)
		c->counters.resends++;
	else if (r.body->kind != KIND_NO_ACTION)
		operation_obey(c, now, &t);
	else
		nothing_to_do(c, r.body);
}

// ---- routing

static bool topic_is(const char *topic, size_t length, const struct topic *own)
{
	return strlen(own->s) == length && memcmp(topic, own->s, length) == 0;
}

void agent_message(struct agent_core *c, struct now now, const char *topic, size_t topic_length,
	struct bytes payload, bool retained)
{
	const char *id = c->config->client_id;
	struct topic rsp = topic_of(TOPIC_RSP, id);
	struct topic offer = topic_of(TOPIC_OFFER, id);
	struct topic grant = topic_of(TOPIC_GRANT, id);
	struct topic_parts parts;
	arena_reset(c->config->scratch);
	if (topic_parse(topic, topic_length, &parts) == ERR_OK && parts.kind == TOPIC_HOST) {
		if (payload.size <= LIMIT_OFFER)
			session_host(c, now, payload);
		return;
	}
	if (retained) {
		response_refused(
			c, now, err_set(ERR_STALE, "reason=retained: an answer is never retained"));
		return;
	}
	if (topic_is(topic, topic_length, &rsp)) {
		response_take(c, now, payload);
	} else if (topic_is(topic, topic_length, &offer)) {
		session_offer(c, now, payload);
	} else if (topic_is(topic, topic_length, &grant)) {
		struct grant g;
		if (session_grant(c, payload, &g) == ERR_OK)
			retrieve_grant(c, now, &g);
		else
			log_warn("GRANT-REFUSED", "client=%s why=%s", id, log_quote(err_text()));
	} else {
		log_debug("TOPIC-STRANGE", "client=%s", id);
	}
}

// ---- time

void agent_tick(struct agent_core *c, struct now now)
{
	arena_reset(c->config->scratch);
	if (!c->ready || c->unsaved)
		boot_store(c, now);
	// A beat that was due while the link was down is sent as soon as it is up: one, and the grid
	// goes on.
	if (c->link_up && beat_grid_take(&c->grid, now.mono))
		heartbeat_send(c, now);
	session_watch(c, now);
	retrieve_tick(c, now);
	send_info_tick(c, now);
}

static void earliest(struct mono *best, struct mono candidate)
{
	if (mono_since_ms(*best, candidate) > 0)
		*best = candidate;
}

struct mono agent_deadline(const struct agent_core *c, struct mono now)
{
	struct mono best = mono_add_ms(now, IDLE_MS);
	struct mono at;
	if (!c->ready || c->unsaved)
		earliest(&best, c->save_next);
	if (c->grid.running && c->link_up)
		earliest(&best, c->grid.next);
	if (!c->session.current && c->link_up && c->ready)
		earliest(&best, c->session.ask_next);
	if (retrieve_deadline(c, &at))
		earliest(&best, at);
	if (c->report.open && !c->report.gathering)
		earliest(&best, c->report.next);
	return best;
}

int64_t agent_time_ms(const struct agent_core *c, struct now now)
{
	int64_t t = c->server_time_known ? c->server_offset_ms + now.mono.ms : now.wall.ms;
	return t > c->state.time_floor_ms ? t : c->state.time_floor_ms;
}

bool agent_was_answered(const struct agent_core *c)
{
	return c->session.current && c->any_response;
}

enum err agent_change(struct agent_core *c, const char *key, const char *value)
{
	TRY(agent_state_add_change(&c->state, key, value));
	return agent_state_save(c);
}
