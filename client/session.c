// Sign-in in two beats, and which answers are taken.
//
// A sign-in is a heartbeat of session 0, signed; its offer is signed by an online key that the root
// lists, names this sign-in by its hash, serves once and lives 60 s. The lineage token of an offer
// is on disk before the session begins. A response is taken when it carries the MAC of the session,
// answers one of the last 16 beats of ours, is younger than response_max_age, and was not taken
// before. The old session goes on until the new one is there.
#include "client/agent_parts.h"

#include "proto/seal_content.h"

#include <string.h>

#define SIGN_IN_FIRST_MS 2000
#define SIGN_IN_MAX_MS 60000
#define HOST_PERIODS 3
#define HOST_PERIOD_MIN_MS 200
#define HOST_PERIOD_MAX_MS 600000
#define UNANSWERED_WITHOUT_HOST (10 * BEATS_WITHOUT_ANSWER)

void session_fini(struct client_session *s)
{
	buf_fini(&s->ask);
	secret_wipe(&s->ask_secret, sizeof s->ask_secret);
	secret_wipe(&s->keys, sizeof s->keys);
}

enum err session_publish(struct agent_core *c, const char *topic, int qos)
{
	struct client_session *s = &c->session;
	TRY(seal_mac(c->config->out, topic, &s->keys.mac_up));
	return c->port->publish(c->ctx, topic, buf_bytes(c->config->out), qos);
}

// ---- sign-in

static enum err sign_in_publish(
	struct agent_core *c, const char *topic, const struct sign_key *signs)
{
	struct client_session *s = &c->session;
	TRY(seal_signature(c->config->out, topic, signs));
	buf_clear(&s->ask);
	TRY(buf_append(&s->ask, c->config->out->data, c->config->out->size));
	return c->port->publish(c->ctx, topic, buf_bytes(&s->ask), 0);
}

static enum err sign_in_encode(struct agent_core *c, struct now now, const struct sign_key **signs)
{
	struct client_session *s = &c->session;
	struct sign_in in = {
		.store_id = c->state.store_id,
		.boot_counter = c->state.boot_counter,
		.lineage = c->state.lineage,
	};
	x25519_generate(&s->ask_secret, &in.x25519_share);
	c->port->random(c->ctx, in.nonce.b, sizeof in.nonce.b);
	rotate_ask(c, &in, signs);
	struct agent_view view = {0};
	c->port->view(c->ctx, c->config->scratch, &view);
	struct status status = {
		.state = "signing-in",
		.agent_version = c->config->version,
		.free_bytes = view.free_bytes,
		.interval_ms = c->grid.interval_ms,
		.clock_quality = view.clock_is_ntp ? 3 : 1,
		.hw_class = c->config->hw_class,
	};
	struct heartbeat h = {
		.client_id = c->config->client_id,
		.ip_address = bytes_of(view.ip, view.ip_size),
		.seq = ++c->counters.sign_ins,
		.sent_unix_ms = now.wall.ms,
		.last_response_id = c->last_response_id,
		.ack = ACK_NOTHING,
		.status = &status,
		.sign_in = &in,
	};
	return heartbeat_encode(&h, c->config->out);
}

void session_sign_in(struct agent_core *c, struct now now)
{
	struct client_session *s = &c->session;
	struct topic topic = topic_hb(c->config->client_id);
	s->asking = false;
	s->ask_next = mono_add_ms(
		now.mono, agent_backoff_ms(c, s->ask_tries++, SIGN_IN_FIRST_MS, SIGN_IN_MAX_MS));
	const struct sign_key *signs = c->key;
	enum err e = sign_in_encode(c, now, &signs);
	if (e == ERR_OK)
		e = sign_in_publish(c, topic.s, signs);
	if (e != ERR_OK) {
		log_warn("SIGN-IN-UNSENT", "client=%s why=%s", c->config->client_id,
			log_quote(err_text()));
		return;
	}
	s->asking = true;
	s->ask_sent = now.mono;
	log_debug("SIGN-IN", "client=%s try=%u boot_counter=%llu", c->config->client_id,
		s->ask_tries, (unsigned long long)c->state.boot_counter);
}

static const struct key32 *online_key_find(const struct root *root, const struct digest *id)
{
	for (size_t i = 0; i < root->online_key_count; i++) {
		struct digest have = key_id(&root->online_keys[i]);
		if (digest_equal(&have, id))
			return &root->online_keys[i];
	}
	return NULL;
}

static enum err offer_check(
	struct agent_core *c, struct now now, struct bytes payload, struct session_offer *o)
{
	struct client_session *s = &c->session;
	if (!s->asking)
		return err_set(ERR_STALE, "no sign-in is under way");
	TRY(session_offer_decode(c->config->scratch, payload, o));
	const struct key32 *key = online_key_find(c->config->root, &o->server_key_id);
	if (key == NULL)
		return err_set(ERR_AUTH, "the offer's key is not an online key of the root");
	struct topic topic = topic_of(TOPIC_OFFER, c->config->client_id);
	TRY(seal_check_signature(payload, topic.s, key));
	if (strcmp(o->principal, c->config->client_id) != 0)
		return err_set(ERR_AUTH, "the offer is for somebody else");
	struct digest asked = sha256(s->ask.data, s->ask.size);
	if (!digest_equal(&asked, &o->sign_in_sha256))
		return err_set(ERR_STALE, "the offer answers another sign-in");
	if (mono_since_ms(now.mono, s->ask_sent) > OFFER_LIFE_MS)
		return err_set(ERR_STALE, "the offer is older than its life");
	if (o->session_id <= c->state.session_id)
		return err_set(ERR_STALE, "the offer's session id does not rise");
	return ERR_OK;
}

static void session_begin(struct agent_core *c, struct now now, const struct session_offer *o,
	const struct session_keys *keys)
{
	struct client_session *s = &c->session;
	uint64_t random;
	c->port->random(c->ctx, &random, sizeof random);
	s->asking = false;
	s->ask_tries = 0;
	s->with_next = s->ask_rotates || s->ask_is_next;
	buf_fini(&s->ask);
	buf_init(&s->ask, LIMIT_HEARTBEAT);
	secret_wipe(&s->ask_secret, sizeof s->ask_secret);
	s->current = true;
	s->id = o->session_id;
	s->keys = *keys;
	s->boot = o->boot;
	s->boot_seq = 0;
	s->since = now.mono;
	s->life_ms = SESSION_LIFE_MS / 2 + (int64_t)(random % (SESSION_LIFE_MS / 2));
	s->hb_seq = s->report_seq = s->inbox_seq = s->want_seq = 0;
	s->grant_seq = s->answered_seq = 0;
	memset(s->beats, 0, sizeof s->beats);
	c->any_response = false;
	c->damaged = false;
	c->full_wanted = true;
	c->full_seq = 0;
}

// The token is stored before the session serves: a cut between the two must not look like a clone.
static enum err offer_store(struct agent_core *c, const struct session_offer *o)
{
	struct agent_state *s = &c->state;
	struct id16 lineage = s->lineage;
	uint64_t session_id = s->session_id;
	s->lineage = o->next_lineage;
	s->session_id = o->session_id;
	if (s->change_id < o->highest_change_id)
		s->change_id = o->highest_change_id;
	if (s->report_id < o->highest_report_id)
		s->report_id = o->highest_report_id;
	enum err e = agent_state_save(c);
	if (e != ERR_OK) {
		s->lineage = lineage;
		s->session_id = session_id;
	}
	return e;
}

static enum err offer_take(struct agent_core *c, struct now now, struct bytes payload)
{
	struct session_offer o;
	struct session_keys keys;
	TRY(offer_check(c, now, payload, &o));
	TRY(rotate_offer_check(c, now, &o));
	TRY(session_derive(&c->session.ask_secret, &o.x25519_share, buf_bytes(&c->session.ask),
		payload, &keys));
	TRY(offer_store(c, &o));
	session_begin(c, now, &o, &keys);
	secret_wipe(&keys, sizeof keys);
	return ERR_OK;
}

void session_offer(struct agent_core *c, struct now now, struct bytes payload)
{
	struct client_session *s = &c->session;
	if (offer_take(c, now, payload) != ERR_OK) {
		log_warn("OFFER-REFUSED", "client=%s why=%s", c->config->client_id,
			log_quote(err_text()));
		return;
	}
	c->counters.offers++;
	c->port->session_began(c->ctx, s->id, &s->keys);
	log_info("SESSION", "client=%s session=%llu", c->config->client_id,
		(unsigned long long)s->id);
	if (!c->grid.running) {
		uint64_t random;
		c->port->random(c->ctx, &random, sizeof random);
		beat_grid_start(&c->grid, now.mono, c->grid.interval_ms, random);
	}
	heartbeat_send(c, now);
	retrieve_session_changed(c, now);
	operation_resume(c, now);
}

// ---- responses

static struct beat_record *beat_find(struct client_session *s, uint64_t seq)
{
	struct beat_record *b = &s->beats[seq % ANSWER_WINDOW_BEATS];
	return seq != 0 && b->seq == seq ? b : NULL;
}

// What was decided and by whom it was said; the operation's id decides later whether it begins.
static enum err response_order_check(
	struct agent_core *c, const struct response_body *b, bool *resend)
{
	*resend = false;
	if (b->kind == KIND_NO_ACTION)
		return ERR_OK;
	if (b->op_id == 0 || b->response_id == 0)
		return err_set(
			ERR_RANGE, "reason=id: a response of kind %d without an id", (int)b->kind);
	if (b->response_id < c->state.last_response_id)
		return err_set(ERR_STALE, "reason=stale: the response is older than the last one");
	*resend = b->response_id == c->state.last_response_id;
	return ERR_OK;
}

static enum err response_header_check(
	struct agent_core *c, struct now now, const struct response *r, bool *duplicate)
{
	struct client_session *s = &c->session;
	if (strcmp(r->client_id, c->config->client_id) != 0)
		return err_set(ERR_AUTH, "reason=client: the response is for somebody else");
	if (r->session_id != s->id)
		return err_set(ERR_STALE, "reason=session: the response is of another session");
	struct beat_record *b = beat_find(s, r->in_reply_to_seq);
	if (b == NULL)
		return err_set(ERR_STALE, "reason=seq: none of the last %d beats has this number",
			ANSWER_WINDOW_BEATS);
	if (mono_since_ms(now.mono, b->sent) > c->config->response_max_age_ms)
		return err_set(ERR_STALE, "reason=age: the beat it answers is too old");
	*duplicate = b->answered_by == r->body->response_id + 1;
	if (b->answered_by != 0 && !*duplicate)
		return err_set(ERR_STALE, "reason=replay: this beat was answered before");
	b->answered_by = r->body->response_id + 1;
	return ERR_OK;
}

const char *session_puzzle(struct agent_core *c)
{
	static const char *const ways[] = {"response.body.", "response_body."};
	const char *text = err_text();
	for (size_t i = 0; i < 2; i++) {
		if (strncmp(text, ways[i], strlen(ways[i])) == 0)
			text += strlen(ways[i]);
	}
	text = arena_strdup(c->config->scratch, text);
	return text != NULL ? text : "";
}

// Authentic, so never a transmission error: what is wrong with it stays wrong when it is sent
// again. An operation whose content is not understood is refused by its id, once.
static enum err response_read(struct agent_core *c, struct bytes payload, struct taken *out)
{
	enum err e = response_decode(c->config->scratch, payload, &out->response);
	if (e != ERR_FORMAT && e != ERR_RANGE)
		return e;
	const char *puzzle = session_puzzle(c);
	if (response_outline(c->config->scratch, payload, &out->response) == ERR_OK) {
		out->puzzle = puzzle;
		return ERR_OK;
	}
	return err_set(
		e, "reason=%s: %s", strncmp(puzzle, "kind ", 5) == 0 ? "kind" : "format", puzzle);
}

// What does not open is not kept; the fetch says that it has no key.
static void response_keys_take(struct agent_core *c, const struct response *r)
{
	const struct key_purpose purpose = {
		"response", c->config->client_id, r->body != NULL ? r->body->response_id : 0};
	struct key32 key;
	for (size_t i = 0; i < r->key_count && c->port->content_key != NULL; i++) {
		enum err e = key_open(&c->session.keys.enc, &r->keys[i], &purpose, &key);
		if (e == ERR_OK)
			e = c->port->content_key(c->ctx, &key);
		if (e != ERR_OK)
			log_warn("CONTENT-KEY-REFUSED", "client=%s why=%s", c->config->client_id,
				log_quote(err_text()));
	}
	secret_wipe(&key, sizeof key);
}

enum err session_response(
	struct agent_core *c, struct now now, struct bytes payload, struct taken *out)
{
	struct client_session *s = &c->session;
	bool duplicate = false;
	*out = (struct taken){0};
	if (!s->current)
		return err_set(ERR_NOT_NOW, "reason=session: no session is current");
	struct topic topic = topic_of(TOPIC_RSP, c->config->client_id);
	enum err e = seal_check_mac(payload, topic.s, &s->keys.mac_down);
	if (e == ERR_OK)
		e = response_read(c, payload, out);
	if (e != ERR_OK) {
		c->damaged = true;
		c->counters.damaged++;
		return e;
	}
	TRY(response_header_check(c, now, &out->response, &duplicate));
	if (duplicate)
		return ERR_EXISTS;
	TRY(response_order_check(c, out->response.body, &out->resend));
	response_keys_take(c, &out->response);
	return ERR_OK;
}

enum err session_grant(struct agent_core *c, struct bytes payload, struct grant *out)
{
	struct client_session *s = &c->session;
	if (!s->current)
		return err_set(ERR_NOT_NOW, "no session is current");
	struct topic topic = topic_of(TOPIC_GRANT, c->config->client_id);
	TRY(seal_check_mac(payload, topic.s, &s->keys.mac_down));
	TRY(grant_decode(c->config->scratch, payload, out));
	if (strcmp(out->client_id, c->config->client_id) != 0 || out->session_id != s->id)
		return err_set(ERR_STALE, "the grant is of another client or session");
	if (out->seq <= s->grant_seq)
		return err_set(ERR_STALE, "the grant was seen before");
	s->grant_seq = out->seq;
	return ERR_OK;
}

// ---- the server's own sign of life, watched only while answers are missing: a filter that all
// clients share costs the broker O(clients) for each SUBSCRIBE

static struct host_seen *host_seen_of(struct host_watch *w, const char *server)
{
	struct host_seen *oldest = &w->of[0];
	for (size_t i = 0; i < HOSTS_WATCHED; i++) {
		struct host_seen *h = &w->of[i];
		if (h->server[0] == '\0' || strcmp(h->server, server) == 0)
			return h;
		if (mono_since_ms(oldest->heard, h->heard) > 0)
			oldest = h;
	}
	*oldest = (struct host_seen){0};
	return oldest;
}

static enum err host_check(struct agent_core *c, struct bytes payload, const struct host_state *h)
{
	if (!id_is_valid(h->server))
		return err_set(ERR_FORMAT, "the host state names no server");
	struct topic topic = topic_of(TOPIC_HOST, h->server);
	enum err e = err_set(ERR_AUTH, "the root lists no online key");
	for (size_t i = 0; i < c->config->root->online_key_count && e != ERR_OK; i++)
		e = seal_check_signature(payload, topic.s, &c->config->root->online_keys[i]);
	return e;
}

// The first one of a server may have lain at the broker for long: it is fresh when it rises.
static enum err host_take(struct agent_core *c, struct now now, struct bytes payload)
{
	struct host_state h;
	TRY(host_state_decode(c->config->scratch, payload, &h));
	if (!h.up)
		return ERR_OK; // a will is a hint
	TRY(host_check(c, payload, &h));
	struct host_seen *w = host_seen_of(&c->host, h.server);
	bool seen = w->server[0] != '\0';
	bool same_boot = seen && memcmp(&h.boot, &w->boot, sizeof h.boot) == 0;
	if (same_boot && h.counter <= w->counter)
		return ERR_OK;
	w->risen = same_boot || (seen && h.counter > w->counter);
	(void)str_copy(w->server, sizeof w->server, h.server); // an id
	w->boot = h.boot;
	w->counter = h.counter;
	w->period_ms = h.period_ms < HOST_PERIOD_MIN_MS   ? HOST_PERIOD_MIN_MS
		       : h.period_ms > HOST_PERIOD_MAX_MS ? HOST_PERIOD_MAX_MS
							  : h.period_ms;
	w->heard = now.mono;
	return ERR_OK;
}

void session_host(struct agent_core *c, struct now now, struct bytes payload)
{
	if (host_take(c, now, payload) != ERR_OK)
		log_debug("HOST-REFUSED", "client=%s why=%s", c->config->client_id,
			log_quote(err_text()));
}

// Of any of them: whoever lives takes over the clients of who does not.
enum host_trust agent_host_trust(const struct agent_core *c, struct mono now)
{
	enum host_trust trust = HOST_UNKNOWN;
	for (size_t i = 0; i < HOSTS_WATCHED; i++) {
		const struct host_seen *h = &c->host.of[i];
		if (!h->risen)
			continue;
		if (mono_since_ms(now, h->heard) <= (int64_t)HOST_PERIODS * h->period_ms)
			return HOST_FRESH;
		trust = HOST_STALE;
	}
	return trust;
}

uint64_t agent_unanswered(const struct agent_core *c)
{
	return c->session.hb_seq - c->session.answered_seq;
}

static void host_subscribe(struct agent_core *c, bool wanted)
{
	struct host_watch *w = &c->host;
	if (wanted == w->subscribed)
		return;
	struct topic filter = topic_filter(TOPIC_HOST);
	const char *one = filter.s;
	if (wanted)
		c->port->subscribe(c->ctx, &one, 1, 1);
	else
		c->port->unsubscribe(c->ctx, filter.s);
	*w = (struct host_watch){.subscribed = wanted};
}

void session_watch(struct agent_core *c, struct now now)
{
	struct client_session *s = &c->session;
	if (!c->link_up || !c->ready)
		return;
	bool again = false;
	const char *why = "";
	if (s->current) {
		uint64_t missing = agent_unanswered(c);
		host_subscribe(c, missing > 2);
		if (missing > UNANSWERED_WITHOUT_HOST ||
			(missing > BEATS_WITHOUT_ANSWER &&
				agent_host_trust(c, now.mono) == HOST_FRESH)) {
			again = true;
			why = "unanswered";
		} else if (mono_since_ms(now.mono, s->since) > s->life_ms) {
			again = true;
			why = "age";
		} else if (c->next_key != NULL && !s->with_next) {
			again = true;
			why = "rotation";
		}
	} else {
		again = true;
		why = "none";
	}
	if (!again || mono_since_ms(s->ask_next, now.mono) > 0)
		return;
	if (s->current && s->ask_tries == 0)
		log_info("SESSION-OVER", "client=%s session=%llu why=%s", c->config->client_id,
			(unsigned long long)s->id, why);
	session_sign_in(c, now);
}
