#include "control.h"
#include "proto/base/file.h"
#include "proto/base/log.h"
#include "proto/session.h"
#include "proto/topics.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS_MAX 1024
#define REPEAT_MIN_MS 1000
#define REPEAT_MAX_MS 15000
#define ALIVE_MS 15000
#define SILENCE_MS 20000 // of the server while a request waits: sign in again
#define SIGN_IN_MIN_MS 2000
#define SIGN_IN_MAX_MS 30000
#define ARENA_BYTES (512 * 1024)

// A request that waits for its directive, as its encoded parts: the template is encoded again for
// each send, because seq and boot are fresh every time.
struct request {
	uint64_t id;
	struct publisher_msg m; // pointers into `bytes`
	struct arena bytes;
	struct mono next;
	int64_t interval_ms;
};

struct control {
	const struct publisher_config *config;
	struct store *store;
	struct control_events events;
	struct mqtt_link *link;
	struct topic topic_pub, topic_pubcmd, topic_offer;
	bool up, subscribed, in_session;
	uint64_t subscribe_token, last_token;
	struct arena arena;
	// sign-in
	struct sign_in sign_in;
	struct key32 share_secret;
	struct buf sign_in_payload;
	struct mono sign_in_next;
	int64_t sign_in_interval_ms;
	// session
	uint64_t session_id, seq_out, seq_in;
	struct id16 boot, lineage;
	struct session_keys keys;
	struct mono heard; // the last directive, or the begin of the session
	struct mono alive_next;
	uint64_t last_request_id;
	struct request *requests[REQUESTS_MAX];
	size_t request_count;
	struct log_gate refused_gate;
};

// ---- requests

static void request_free(struct request *r)
{
	arena_fini(&r->bytes);
	free(r);
}

static void request_drop(struct control *c, size_t at)
{
	request_free(c->requests[at]);
	c->request_count--;
	memmove(&c->requests[at], &c->requests[at + 1],
		(c->request_count - at) * sizeof c->requests[0]);
}

// NULL when it does not fit.
static struct order_outcome *outcome_copy(struct arena *a, const struct order_outcome *from)
{
	struct order_outcome *o = arena_alloc(a, sizeof *o);

	if (!o)
		return NULL;
	*o = *from;
	o->order = arena_strdup(a, from->order);
	o->reason = arena_strdup(a, from->reason ? from->reason : "");
	o->warnings = arena_array(a, from->warning_count + 1, sizeof *o->warnings);
	if (!o->order || !o->reason || !o->warnings)
		return NULL;
	for (size_t i = 0; i < from->warning_count; i++) {
		o->warnings[i] = arena_strdup(a, from->warnings[i]);
		if (!o->warnings[i])
			return NULL;
	}
	return o;
}

static const char *ordered_id(const struct publisher_msg *m)
{
	return m->ordered ? m->ordered->order : "";
}

// One takes the place of the other while it waits.
static bool is_same_request(const struct publisher_msg *a, const struct publisher_msg *b)
{
	return a->state == b->state && digest_equal(&a->package, &b->package) &&
	       a->directive_id == b->directive_id && digest_equal(&a->base, &b->base) &&
	       strcmp(ordered_id(a), ordered_id(b)) == 0;
}

static enum err request_copy(const struct publisher_msg *m, struct request *r)
{
	r->m = *m;
	r->m.broker_id = arena_strdup(&r->bytes, m->broker_id ? m->broker_id : "");
	r->m.detail = arena_strdup(&r->bytes, m->detail ? m->detail : "");
	r->m.manifest = m->manifest.size ? arena_copy(&r->bytes, m->manifest) : (struct bytes){0};
	if (m->ordered)
		r->m.ordered = outcome_copy(&r->bytes, m->ordered);
	if (!r->m.broker_id || !r->m.detail || (m->manifest.size && !r->m.manifest.data) ||
		(m->ordered && !r->m.ordered))
		return err_set(ERR_FULL, "a message to the server is too large");
	return ERR_OK;
}

static enum err payload_seal(struct control *c, struct publisher_msg *m, struct buf *out)
{
	m->publisher = c->config->id;
	m->session_id = c->session_id;
	m->seq = ++c->seq_out;
	m->boot = c->boot;
	TRY(publisher_msg_encode(m, out));
	return seal_mac(out, c->topic_pub.s, &c->keys.mac_up);
}

static enum err message_send(struct control *c, struct publisher_msg *m)
{
	SCOPED_BUF struct buf b;

	buf_init(&b, LIMIT_PUBLISHER_MSG);
	TRY(payload_seal(c, m, &b));
	return link_publish(c->link, c->topic_pub.s, buf_bytes(&b), 1, false, 0);
}

static void request_send(struct control *c, struct request *r, struct mono now)
{
	r->interval_ms = r->interval_ms ? r->interval_ms * 2 : REPEAT_MIN_MS;
	if (r->interval_ms > REPEAT_MAX_MS)
		r->interval_ms = REPEAT_MAX_MS;
	r->next = mono_add_ms(now, r->interval_ms);
	if (message_send(c, &r->m) != ERR_OK)
		log_warn("CONTROL-SEND-FAILED", "why=%s", log_quote(err_text()));
}

// Everything that waits is sent now, as after a sign-in or a new boot.
static void requests_now(struct control *c)
{
	for (size_t i = 0; i < c->request_count; i++) {
		c->requests[i]->interval_ms = 0;
		c->requests[i]->next.ms = 0;
	}
}

enum err control_request(struct control *c, const struct publisher_msg *m, uint64_t *request_id)
{
	for (size_t i = c->request_count; i-- > 0;)
		if (is_same_request(&c->requests[i]->m, m))
			request_drop(c, i);
	if (c->request_count == REQUESTS_MAX)
		return err_set(ERR_FULL, "%d messages wait for the server", REQUESTS_MAX);
	struct request *r = calloc(1, sizeof *r);
	if (!r)
		return err_set(ERR_MEMORY, "no memory for a message");
	arena_init(&r->bytes, LIMIT_PUBLISHER_MSG, 8 + LIMIT_WARNINGS);
	enum err e = request_copy(m, r);
	if (e != ERR_OK) {
		request_free(r);
		return e;
	}
	r->id = ++c->last_request_id;
	r->m.request_id = r->id;
	c->requests[c->request_count++] = r;
	if (request_id)
		*request_id = r->id;
	if (c->in_session)
		request_send(c, r, clock_now().mono);
	return ERR_OK;
}

void control_tell(struct control *c, const struct publisher_msg *m)
{
	struct publisher_msg copy = *m;

	if (!c->in_session || !c->up)
		return;
	copy.request_id = ++c->last_request_id;
	if (message_send(c, &copy) != ERR_OK)
		log_debug("CONTROL-TELL-FAILED", "why=%s", log_quote(err_text()));
}

// ---- sign-in

// A fresh nonce and share for each attempt; only an offer for the last one is taken.
static enum err sign_in_make(struct control *c)
{
	struct sign_in *s = &c->sign_in;
	struct publisher_msg m = {.publisher = c->config->id,
		.seq = 1,
		.request_id = ++c->last_request_id,
		.state = PUB_SIGN_IN,
		.broker_id = "",
		.detail = "",
		.sign_in = s};

	s->public_key = *sign_key_public(c->config->identity);
	s->lineage = c->lineage;
	random_fill(s->nonce.b, sizeof s->nonce.b);
	x25519_generate(&c->share_secret, &s->x25519_share);
	TRY(publisher_msg_encode(&m, &c->sign_in_payload));
	return seal_signature(&c->sign_in_payload, c->topic_pub.s, c->config->identity);
}

static void sign_in_send(struct control *c, struct mono now)
{
	c->sign_in_interval_ms =
		c->sign_in_interval_ms ? c->sign_in_interval_ms * 2 : SIGN_IN_MIN_MS;
	if (c->sign_in_interval_ms > SIGN_IN_MAX_MS)
		c->sign_in_interval_ms = SIGN_IN_MAX_MS;
	// up to a quarter more, so that a fleet does not come in step
	c->sign_in_next = mono_add_ms(
		now, c->sign_in_interval_ms +
			     (int64_t)(random_u64() % ((uint64_t)c->sign_in_interval_ms / 4)));
	enum err e = sign_in_make(c);
	if (e == ERR_OK)
		e = link_publish(
			c->link, c->topic_pub.s, buf_bytes(&c->sign_in_payload), 1, false, 0);
	if (e != ERR_OK)
		log_warn("SIGN-IN-FAILED", "why=%s", log_quote(err_text()));
}

static void session_leave(struct control *c, const char *why)
{
	if (c->in_session)
		log_info("SESSION-ENDED", "session=%llu why=%s", (unsigned long long)c->session_id,
			log_quote(why));
	c->in_session = false;
	c->sign_in_interval_ms = 0;
	c->sign_in_next.ms = 0;
}

static const struct key32 *online_key_find(struct control *c, const struct digest *id)
{
	const struct root *r = c->config->root;

	for (size_t i = 0; i < r->online_key_count; i++) {
		struct digest d = key_id(&r->online_keys[i]);
		if (digest_equal(&d, id))
			return &r->online_keys[i];
	}
	return NULL;
}

static enum err offer_check(struct control *c, struct bytes payload, struct session_offer *o)
{
	TRY(session_offer_decode(&c->arena, payload, o));
	const struct key32 *key = online_key_find(c, &o->server_key_id);
	if (!key)
		return err_set(
			ERR_AUTH, "the offer is signed by a key that the root does not list");
	TRY(seal_check_signature(payload, c->topic_offer.s, key));
	struct digest own = sha256(c->sign_in_payload.data, c->sign_in_payload.size);
	if (strcmp(o->principal, c->config->id) != 0 || !digest_equal(&o->sign_in_sha256, &own) ||
		c->sign_in_payload.size == 0)
		return err_set(ERR_STALE, "the offer answers another sign-in");
	if (o->session_id <= c->session_id && c->session_id != 0)
		return err_set(ERR_STALE, "the offered session is not newer than the last one");
	return ERR_OK;
}

static enum err lineage_keep(struct control *c, const struct id16 *next)
{
	c->lineage = *next;
	return store_end(c->store, meta_set(c->store, "lineage", next->b, sizeof next->b));
}

static enum err session_begin(struct control *c, struct bytes payload)
{
	struct session_offer o;

	TRY(offer_check(c, payload, &o));
	TRY(session_derive(&c->share_secret, &o.x25519_share, buf_bytes(&c->sign_in_payload),
		payload, &c->keys));
	TRY(lineage_keep(c, &o.next_lineage));
	c->session_id = o.session_id;
	c->boot = o.boot;
	c->seq_out = 0;
	c->seq_in = 0;
	c->heard = clock_now().mono;
	c->in_session = true;
	buf_clear(&c->sign_in_payload); // an offer serves once
	secret_wipe(&c->share_secret, sizeof c->share_secret);
	log_info("SESSION-BEGUN", "session=%llu", (unsigned long long)c->session_id);
	return ERR_OK;
}

static void ask_alive(struct control *c, struct mono now)
{
	struct publisher_msg m = {.state = PUB_ALIVE};

	c->alive_next = mono_add_ms(now, ALIVE_MS);
	if (control_request(c, &m, NULL) != ERR_OK)
		log_warn("CONTROL-SEND-FAILED", "why=%s", log_quote(err_text()));
}

static void offer_came(struct control *c, struct bytes payload)
{
	if (c->in_session)
		return;
	if (session_begin(c, payload) != ERR_OK) {
		log_warn("OFFER-REFUSED", "why=%s", log_quote(err_text()));
		return;
	}
	// The first message inside the session makes it current.
	ask_alive(c, clock_now().mono);
	requests_now(c);
	c->events.in_session(c->events.ctx);
}

// ---- directives

static enum err directive_check(struct control *c, struct bytes payload, struct directive *d)
{
	if (!c->in_session)
		return err_set(ERR_STALE, "there is no session");
	TRY(seal_check_mac(payload, c->topic_pubcmd.s, &c->keys.mac_down));
	TRY(directive_decode(&c->arena, payload, d));
	if (strcmp(d->publisher, c->config->id) != 0 || d->session_id != c->session_id)
		return err_set(ERR_STALE, "the directive is one of another session");
	if (d->seq <= c->seq_in)
		return err_set(ERR_STALE, "the directive came before");
	return ERR_OK;
}

static void directive_came(struct control *c, struct bytes payload)
{
	struct directive d;

	if (directive_check(c, payload, &d) != ERR_OK) {
		if (log_gate_open(&c->refused_gate, clock_now().mono.ms, 1000))
			log_warn("DIRECTIVE-REFUSED", "why=%s", log_quote(err_text()));
		return;
	}
	c->seq_in = d.seq;
	c->heard = clock_now().mono;
	bool restarted = memcmp(c->boot.b, d.boot.b, sizeof d.boot.b) != 0;
	if (restarted) { // what we asked before its restart was not heard: ask again, with its word
		log_info("SERVER-RESTARTED", "session=%llu", (unsigned long long)c->session_id);
		c->boot = d.boot;
		requests_now(c);
		c->events.in_session(c->events.ctx);
		return;
	}
	bool asked = false;
	for (size_t i = c->request_count; i-- > 0;)
		if (c->requests[i]->id == d.request_id) {
			request_drop(c, i);
			asked = true;
		}
	c->events.directive(c->events.ctx, &d, asked);
}

// ---- link

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct control *c = ctx;
	const char *filters[2] = {c->topic_offer.s, c->topic_pubcmd.s};

	(void)session_present;
	c->up = true;
	c->subscribed = false;
	c->subscribe_token = ++c->last_token;
	log_info("CONTROL-UP", "at=%s via=%s", link_peer(c->link), link_via_word(via->via));
	if (link_subscribe(c->link, filters, 2, 1, c->subscribe_token) != ERR_OK)
		log_error("CONTROL-SUBSCRIBE-FAILED", "why=%s", log_quote(err_text()));
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct control *c = ctx;

	if (c->up)
		log_warn("CONTROL-DOWN", "why=%s retry_ms=%lld", log_quote(why),
			(long long)retry_ms);
	else
		log_info("CONTROL-UNREACHABLE", "why=%s retry_ms=%lld", log_quote(why),
			(long long)retry_ms);
	c->up = false;
	c->subscribed = false;
}

static void on_message(void *ctx, const struct link_message *m)
{
	struct control *c = ctx;

	if (m->retained || m->topic_length != strlen(m->topic))
		return; // a directive is never retained: whoever wrote that is not the server
	arena_reset(&c->arena);
	if (strcmp(m->topic, c->topic_offer.s) == 0 && m->payload.size <= LIMIT_OFFER)
		offer_came(c, m->payload);
	else if (strcmp(m->topic, c->topic_pubcmd.s) == 0 && m->payload.size <= LIMIT_DIRECTIVE)
		directive_came(c, m->payload);
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct control *c = ctx;

	if (token != c->subscribe_token)
		return;
	for (size_t i = 0; i < count; i++)
		if (reasons[i] >= 128)
			log_error("CONTROL-SUBSCRIBE-REFUSED", "reason=%d", reasons[i]);
	c->subscribed = true;
	c->heard = clock_now().mono; // a broker that was away is no silent server
	requests_now(c);
	control_tick(c, clock_now().mono);
}

static void on_published(void *ctx, uint64_t token, int reason)
{
	(void)ctx;
	(void)token;
	(void)reason; // PUBACK is never delivery: the directive is
}

// ---- time

static void requests_tick(struct control *c, struct mono now)
{
	bool repeated = false;

	for (size_t i = 0; i < c->request_count; i++) {
		struct request *r = c->requests[i];
		if (mono_since_ms(now, r->next) < 0)
			continue;
		repeated |= r->interval_ms != 0;
		request_send(c, r, now);
	}
	if (repeated && mono_since_ms(now, c->heard) > SILENCE_MS)
		session_leave(c, "the server does not answer");
}

void control_tick(struct control *c, struct mono now)
{
	if (!c->up || !c->subscribed)
		return;
	if (!c->in_session) {
		if (mono_since_ms(now, c->sign_in_next) >= 0)
			sign_in_send(c, now);
		return;
	}
	if (mono_since_ms(now, c->alive_next) >= 0)
		ask_alive(c, now);
	requests_tick(c, now);
}

void control_get_status(const struct control *c, struct control_status *out)
{
	*out = (struct control_status){.up = c->up,
		.in_session = c->in_session,
		.session_id = c->session_id,
		.waiting = c->request_count};
	snprintf(out->peer, sizeof out->peer, "%s", c->up ? link_peer(c->link) : "");
}

// ---- life

// store_id is drawn with the state folder, the boot counter rises with each start.
static enum err identity_load(struct control *c)
{
	struct sign_in *s = &c->sign_in;
	bool found = false;

	TRY(meta_get(c->store, "store_id", s->store_id.b, sizeof s->store_id.b, &found));
	if (!found) {
		random_fill(s->store_id.b, sizeof s->store_id.b);
		TRY(meta_set(c->store, "store_id", s->store_id.b, sizeof s->store_id.b));
	}
	TRY(meta_get(c->store, "boot_counter", &s->boot_counter, sizeof s->boot_counter, &found));
	s->boot_counter++;
	TRY(meta_set(c->store, "boot_counter", &s->boot_counter, sizeof s->boot_counter));
	TRY(meta_get(c->store, "lineage", c->lineage.b, sizeof c->lineage.b, &found));
	return ERR_OK;
}

static enum err link_start(struct control *c)
{
	static const struct link_events events = {.up = on_up,
		.down = on_down,
		.message = on_message,
		.published = on_published,
		.subscribed = on_subscribed};
	const struct publisher_config *p = c->config;
	struct link_config l = {.client_id = p->id,
		.addresses = p->control,
		.address_count = p->control_count,
		.tls = p->tls,
		.ca_file = p->ca_file,
		.cert_file = p->cert_file,
		.key_file = p->key_file,
		.keepalive_s = 20,
		.receive_maximum = 20,
		.connect_timeout_s = 5,
		.backoff_min_ms = 250,
		.backoff_max_ms = 10000,
		.outstanding_max = CONTROL_OUTSTANDING,
		.outbox_max = 4096,
		.inbox_messages = 4096,
		.inbox_bytes = 8 * 1024 * 1024};

	return link_new(p->loop, &l, &events, c, &c->link);
}

enum err control_new(const struct publisher_config *config, struct store *store,
	const struct control_events *events, struct control **out)
{
	struct control *c = calloc(1, sizeof *c);

	if (!c)
		return err_set(ERR_MEMORY, "no memory for the control session");
	c->config = config;
	c->store = store;
	c->events = *events;
	c->topic_pub = topic_of(TOPIC_PUB, config->id);
	c->topic_pubcmd = topic_of(TOPIC_PUBCMD, config->id);
	c->topic_offer = topic_of(TOPIC_OFFER, config->id);
	c->last_request_id = (uint64_t)clock_now().wall.ms << 16;
	arena_init(&c->arena, ARENA_BYTES, 16384);
	buf_init(&c->sign_in_payload, LIMIT_PUBLISHER_MSG);
	enum err e = store_end(store, identity_load(c));
	if (e == ERR_OK)
		e = link_start(c);
	if (e != ERR_OK)
		control_free(c);
	else
		*out = c;
	return e;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	if (c->link)
		link_close(c->link, true);
	while (c->request_count > 0)
		request_drop(c, c->request_count - 1);
	arena_fini(&c->arena);
	buf_fini(&c->sign_in_payload);
	secret_wipe(&c->keys, sizeof c->keys);
	secret_wipe(&c->share_secret, sizeof c->share_secret);
	free(c);
}

enum err control_secret(const struct control *c, struct key32 *enc, uint64_t *session_id)
{
	if (!c->in_session)
		return err_set(ERR_NOT_NOW, "there is no session with the server");
	*enc = c->keys.enc;
	*session_id = c->session_id;
	return ERR_OK;
}
