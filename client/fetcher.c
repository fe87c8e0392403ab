// The life of a fetch; see fetcher.h and fetcher_parts.h.
#include "client/fetcher_parts.h"
#include "proto/base/text.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_ARENA (2 * 1024 * 1024)
#define PAGE_ARENA (8 * 1024 * 1024)
#define ARENA_COUNT 100000
#define RELINK_FIRST_MS 500
#define RELINK_TRIES 3
#define WINDOW_DEFAULT 32
#define KEEPALIVE_S 30
#define INBOX_SPARE (2 * 1024 * 1024)

struct mono fetch_now(void)
{
	return clock_now().mono;
}

// ---- ending

static void fetch_free(struct fetch *f)
{
	for (size_t i = 0; i < FETCH_SINGLES; i++)
		buf_fini(&f->singles[i].bytes);
	fetch_pool_fini(&f->pool);
	object_decoder_free(f->decoder);
	if (f->staged)
		staging_close(&f->staging);
	buf_fini(&f->envelope);
	arena_fini(&f->head_arena);
	arena_fini(&f->page_arena);
	if (f->medium != NULL)
		buf_fini(&f->medium->bytes);
	free(f->medium);
	secret_wipe(&f->key, sizeof f->key);
	free(f);
}

static void on_owner_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void owner_free_if_done(struct fetcher *o)
{
	if (o->closing && o->now == NULL && o->draining == NULL && o->waiting == NULL &&
		!uv_is_closing((uv_handle_t *)&o->told))
		uv_close((uv_handle_t *)&o->told, on_owner_closed);
}

static void fetch_connect(struct fetch *f);

// The pool is idle: what nobody needs can go.
static void fetch_start(struct fetch *f)
{
	struct fetcher *o = f->owner;
	o->now = f;
	if (depot_collect(o->config.store, &f->package, DEPOT_STAGING_KEPT) != ERR_OK)
		log_warn("STORE-COLLECT", "why=%s", log_quote(err_text()));
	fetch_connect(f);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct fetch *f = handle->data;
	struct fetcher *o = f->owner;
	fetch_free(f);
	o->draining = NULL;
	if (o->waiting != NULL && !o->closing) {
		struct fetch *next = o->waiting;
		o->waiting = NULL;
		fetch_start(next);
		return;
	}
	if (!o->closing)
		o->events.idle(o->ctx);
	owner_free_if_done(o);
}

void fetch_released(struct fetch *f)
{
	struct fetcher *o = f->owner;
	if (f->phase != FETCH_OVER)
		return;
	atomic_store(&f->look.ended, true);
	if (o->now == f)
		o->now = NULL;
	o->draining = f;
	fetch_pool_drop(&f->pool);
	fetch_parked_drop(f);
	if (f->link != NULL)
		link_close(f->link, true);
	f->link = NULL;
	bool reads = f->medium != NULL && f->medium->busy;
	if (fetch_pool_is_busy(&f->pool) || f->work_busy || reads || f->timer_closed)
		return;
	f->timer_closed = true;
	uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

void fetch_fail(struct fetch *f, const char *word, const char *text)
{
	struct fetcher *o = f->owner;
	char kept_word[32], kept_text[256];
	if (f->phase == FETCH_OVER)
		return;
	if (!str_copy(kept_word, sizeof kept_word, word))
		(void)str_copy(kept_word, sizeof kept_word, "io");
	text_format(kept_text, sizeof kept_text, "%s", text[0] != '\0' ? text : word);
	log_warn("FETCH-FAILED", "package=%s reason=%s why=%s", digest_short(&f->package),
		kept_word, log_quote(kept_text));
	f->phase = FETCH_OVER;
	fetch_released(f);
	o->events.failed(o->ctx, kept_word, kept_text);
}

// A full disk is given back what this fetch took: others need it, and a retry begins anew.
void fetch_fail_err(struct fetch *f, enum err e, const char *word, const char *text)
{
	if (e == ERR_NO_SPACE)
		word = "no-space";
	else if (e == ERR_READ_ONLY)
		word = "read-only";
	else if (e == ERR_MEMORY)
		word = "memory";
	else if (e == ERR_AUTH)
		word = "wrong-key"; // the right bytes, and the key does not open them
	else if (e == ERR_IO || e == ERR_NOT_FOUND)
		word = "io";
	else if (strncmp(text, "reason=path", 11) == 0 || strstr(text, "path") != NULL)
		word = "path";
	if (e == ERR_NO_SPACE && (depot_collect(f->config->store, NULL, 0) != ERR_OK ||
					 staging_drop(f->config->store, &f->package) != ERR_OK))
		log_warn("STAGING-STUCK", "why=%s", log_quote(err_text()));
	fetch_fail(f, word, text);
}

void fetch_broker_failed(struct fetch *f, const char *why)
{
	struct fetcher *o = f->owner;
	char kept[256];
	if (f->phase == FETCH_OVER)
		return;
	text_format(kept, sizeof kept, "%s", why);
	f->phase = FETCH_OVER;
	fetch_released(f);
	o->events.broker_failed(o->ctx, kept);
}

void fetch_missing(struct fetch *f, const struct digest *objects, size_t count)
{
	struct fetcher *o = f->owner;
	if (f->phase == FETCH_OVER)
		return;
	f->phase = FETCH_OVER;
	fetch_released(f);
	o->events.missing(o->ctx, objects, count);
}

// ---- subscriptions

void fetch_subscribe(struct fetch *f, const struct topic *topics, size_t count)
{
	const char *list[FETCH_BATCH];
	for (size_t i = 0; i < count; i++)
		list[i] = topics[i].s;
	f->subscribed_at = fetch_now();
	if (f->medium != NULL)
		medium_subscribe(f, topics, count);
	else if (link_subscribe(f->link, list, count, 1, 1) != ERR_OK)
		log_debug("FETCH-SUBSCRIBE", "why=%s", log_quote(err_text()));
}

void fetch_unsubscribe(struct fetch *f, const struct topic *topics, size_t count)
{
	const char *list[FETCH_BATCH];
	for (size_t i = 0; i < count; i++)
		list[i] = topics[i].s;
	if (count != 0 && f->medium == NULL && link_unsubscribe(f->link, list, count) != ERR_OK)
		log_debug("FETCH-UNSUBSCRIBE", "why=%s", log_quote(err_text()));
}

static void on_timer(uv_timer_t *timer);

void fetch_timer_set(struct fetch *f, int64_t ms, enum fetch_timer what)
{
	f->timer_for = what;
	if (ms < 0)
		uv_timer_stop(&f->timer);
	else
		uv_timer_start(&f->timer, on_timer, (uint64_t)ms, 0);
}

// ---- single topics

void fetch_single_want(
	struct fetch *f, size_t i, const char *topic, size_t limit, const struct digest *d)
{
	struct fetch_single *s = &f->singles[i];
	s->wanted = true;
	s->done = false;
	s->tries = 0;
	s->limit = limit;
	s->digest = d != NULL ? *d : (struct digest){{0}};
	buf_clear(&s->bytes);
	if (!str_copy(s->topic, sizeof s->topic, topic))
		s->topic[0] = '\0';
}

static void singles_subscribe(struct fetch *f, bool again)
{
	struct topic topics[FETCH_SINGLES];
	size_t count = 0;
	for (size_t i = 0; i < FETCH_SINGLES; i++) {
		if (f->singles[i].wanted && !f->singles[i].done)
			(void)str_copy(topics[count++].s, sizeof topics[0].s, f->singles[i].topic);
	}
	if (count == 0 || !f->up)
		return;
	if (again)
		fetch_unsubscribe(f, topics, count);
	fetch_subscribe(f, topics, count);
	fetch_timer_set(f, fetch_pace_patience_ms(&f->pace, LIMIT_INDEX_PAGE), TIMER_PUMP);
}

bool fetch_singles_ready(struct fetch *f)
{
	for (size_t i = 0; i < FETCH_SINGLES; i++) {
		if (f->singles[i].wanted && !f->singles[i].done)
			return false;
	}
	return true;
}

static void singles_clear(struct fetch *f)
{
	for (size_t i = 0; i < FETCH_SINGLES; i++) {
		f->singles[i].wanted = false;
		buf_fini(&f->singles[i].bytes);
		buf_init(&f->singles[i].bytes, LIMIT_INDEX_PAGE + LIMIT_PAGE);
	}
}

static void singles_timeout(struct fetch *f)
{
	for (size_t i = 0; i < FETCH_SINGLES; i++) {
		struct fetch_single *s = &f->singles[i];
		if (!s->wanted || s->done || ++s->tries < FETCH_TRIES)
			continue;
		struct digest lacking = s->digest;
		if (fetch_is_delta(f) && (i == 0 || f->phase != FETCH_HEAD)) {
			fetch_fall_back(f, "the broker does not have it");
			return;
		}
		if (digest_is_zero(&lacking))
			fetch_broker_failed(
				f, "the broker has no index or manifest of this package");
		else
			fetch_missing(f, &lacking, 1);
		return;
	}
	f->pace.alarms++;
	singles_subscribe(f, true);
}

// ---- pages

static bool single_open(struct fetch *f, size_t i, const struct object *o,
	const struct chunk_ref *run, struct bytes *plain)
{
	struct fetch_single *s = &f->singles[i];
	SCOPED_BUF struct buf base;
	enum err e = fetch_page_base(f, o, &base);
	if (e == ERR_OK)
		e = object_open(f->decoder, o, run, buf_bytes(&s->bytes), buf_bytes(&base), plain);
	if (e == ERR_OK)
		return true;
	if (e != ERR_CORRUPT && fetch_is_delta(f)) {
		fetch_fall_back(f, err_text());
		return false;
	}
	if (e != ERR_CORRUPT) {
		fetch_fail_err(f, e, "hash", err_text());
		return false;
	}
	log_warn("FETCH-WRONG-BYTES", "object=%s broker=%s why=%s", digest_short(&s->digest),
		f->broker, log_quote(err_text()));
	s->done = false;
	buf_clear(&s->bytes);
	if (++s->tries >= FETCH_TRIES) {
		struct digest bad = s->digest;
		if (fetch_is_delta(f)) {
			fetch_fall_back(f, "an object of its pages is not what it should be");
			return false;
		}
		fetch_missing(f, &bad, 1);
		return false;
	}
	singles_subscribe(f, true);
	return false;
}

static void want_object(struct fetch *f, size_t i, const struct object *o)
{
	struct topic topic = topic_chunk(f->publisher, &o->sha256);
	fetch_single_want(f, i, topic.s, LIMIT_OBJECT, &o->sha256);
}

// The index page's bytes are there: into the page's arena.
static bool index_page_take(struct fetch *f)
{
	const struct index_page_ref *ref = &f->index.pages[f->page];
	struct chunk_ref run = index_page_chunk_ref(ref);
	struct bytes plain;
	if (!single_open(f, 1, ref->object, &run, &plain))
		return false;
	struct bytes kept = arena_copy(&f->page_arena, plain);
	enum err e = kept.data != NULL ? index_page_decode(&f->page_arena, kept, &f->index_page)
				       : err_set(ERR_MEMORY, "no memory for a page of the index");
	if (e == ERR_OK)
		e = index_page_check(&f->index_page, &f->staged_page.plan, fetch_is_delta(f));
	if (e != ERR_OK && fetch_is_delta(f)) {
		fetch_fall_back(f, err_text());
		return false;
	}
	if (e != ERR_OK) {
		fetch_fail_err(f, e, "index", err_text());
		return false;
	}
	return true;
}

static void page_done(struct fetch *f)
{
	f->page++;
	fetch_next_page(f);
}

static void objects_start(struct fetch *f)
{
	if (!index_page_take(f))
		return;
	singles_clear(f);
	f->has_bases = fetch_is_delta(f);
	for (size_t i = 0; i < f->index_page.object_count && !f->has_bases; i++)
		f->has_bases = coding_has_base(f->index_page.objects[i].coding);
	if (f->has_bases)
		fetch_bases_start(f);
	else
		fetch_bases_found(f);
}

void fetch_bases_found(struct fetch *f)
{
	bool serves = !f->has_bases || fetch_index_serves(f);
	if (!serves && fetch_is_delta(f)) {
		fetch_fall_back(f, "it does not yield all that is missing here");
		return;
	}
	enum err e = serves ? fetch_objects_begin(f)
			    : err_set(ERR_FORMAT, "an object is told with a chunk that is nowhere");
	if (e != ERR_OK) {
		fetch_fail_err(f, e, "index", err_text());
		return;
	}
	f->phase = FETCH_OBJECTS;
	fetch_objects_pump(f);
}

void fetch_page_planned(struct fetch *f)
{
	if (staging_page_missing(&f->staging, &f->staged_page) == 0) {
		singles_clear(f);
		page_done(f);
		return;
	}
	f->phase = FETCH_INDEX_PAGE;
	if (f->singles[1].wanted && f->singles[1].done) {
		objects_start(f);
		return;
	}
	want_object(f, 1, f->index.pages[f->page].object);
	singles_subscribe(f, false);
}

static void page_bytes_there(struct fetch *f)
{
	const struct page_ref *ref = &f->manifest.pages[f->page];
	struct chunk_ref run = page_chunk_ref(ref);
	struct bytes plain;
	if (!single_open(f, 0, &f->index.page_objects[f->page], &run, &plain))
		return;
	enum err e = staging_put_page(&f->staging, f->page, plain);
	if (e != ERR_OK) {
		fetch_fail_err(f, e, "io", err_text());
		return;
	}
	f->singles[0].wanted = false;
	fetch_plan_start(f);
}

void fetch_next_page(struct fetch *f)
{
	if (f->page == f->manifest.page_count) {
		if (f->link != NULL)
			link_close(f->link, true);
		f->link = NULL;
		f->up = false;
		uv_timer_stop(&f->timer);
		fetch_install_start(f);
		return;
	}
	if (f->page < f->staging.page_known) {
		fetch_plan_start(f);
		return;
	}
	f->phase = FETCH_PAGE;
	want_object(f, 0, &f->index.page_objects[f->page]);
	if (f->config->store->held_count == 0)
		want_object(f, 1, f->index.pages[f->page].object);
	singles_subscribe(f, false);
}

static void singles_there(struct fetch *f)
{
	uv_timer_stop(&f->timer);
	if (f->phase == FETCH_HEAD) {
		if (fetch_head_check(f) != ERR_OK) {
			if (fetch_is_delta(f) && f->index_failed) {
				fetch_fall_back(f, err_text());
				return;
			}
			fetch_fail(f, f->fail_word, err_text());
			return;
		}
		singles_clear(f);
		f->to_come = f->index.object_bytes;
		fetch_tell_bytes(f);
		if (f->staged)
			fetch_next_page(f);
		else
			fetch_stage_start(f);
	} else if (f->phase == FETCH_PAGE) {
		page_bytes_there(f);
	} else if (f->phase == FETCH_INDEX_PAGE) {
		objects_start(f);
	}
}

// ---- the link's events

void fetch_is_up(struct fetch *f)
{
	f->up = true;
	if (f->phase == FETCH_CONNECT) {
		fetch_head_want(f);
	}
	if (f->phase == FETCH_OBJECTS)
		fetch_objects_pump(f);
	else
		singles_subscribe(f, false);
}

static void on_up(void *ctx, const struct link_address *via, bool session_present)
{
	struct fetch *f = ctx;
	(void)session_present;
	log_info("FETCH-CONNECT", "broker=%s connect via=%s addr=%s", f->broker,
		via->via == LINK_VIA_NAME ? "name" : "ip", link_peer(f->link));
	fetch_is_up(f);
}

static void on_down(void *ctx, const char *why, int64_t retry_ms)
{
	struct fetch *f = ctx;
	bool was_up = f->up;
	f->up = false;
	if (f->phase == FETCH_OVER)
		return;
	if (f->planned && was_up)
		fetch_plan_disconnected(&f->plan, fetch_now());
	log_info("FETCH-DOWN", "broker=%s why=%s", f->broker, log_quote(why));
	if (retry_ms >= 0)
		return;
	if (++f->link_tries >= RELINK_TRIES || f->phase <= FETCH_HEAD) {
		fetch_broker_failed(f, why);
		return;
	}
	fetch_timer_set(f, (int64_t)RELINK_FIRST_MS << f->link_tries, TIMER_RELINK);
}

static void single_message(struct fetch *f, struct fetch_single *s, const struct link_message *m)
{
	if (m->payload.size == 0 || m->payload.size > s->limit)
		return;
	buf_clear(&s->bytes);
	if (buf_append(&s->bytes, m->payload.data, m->payload.size) != ERR_OK)
		return;
	struct topic topic;
	(void)str_copy(topic.s, sizeof topic.s, s->topic);
	s->done = true;
	f->pace.alarms = 0;
	fetch_unsubscribe(f, &topic, 1);
	if (fetch_singles_ready(f))
		singles_there(f);
}

void fetch_message(struct fetch *f, const struct link_message *m)
{
	struct topic_parts parts;
	if (f->phase == FETCH_OVER)
		return;
	f->received_bytes += m->payload.size + m->topic_length;
	for (size_t i = 0; i < FETCH_SINGLES; i++) {
		struct fetch_single *s = &f->singles[i];
		if (s->wanted && !s->done && strlen(s->topic) == m->topic_length &&
			memcmp(s->topic, m->topic, m->topic_length) == 0) {
			single_message(f, s, m);
			return;
		}
	}
	if (f->phase == FETCH_OBJECTS && topic_parse(m->topic, m->topic_length, &parts) == ERR_OK &&
		parts.kind == TOPIC_CHUNK && strcmp(parts.id, f->publisher) == 0)
		fetch_objects_message(f, &parts.digest, m);
}

static void on_message(void *ctx, const struct link_message *m)
{
	fetch_message(ctx, m);
}

static void on_subscribed(void *ctx, uint64_t token, const int *reasons, size_t count)
{
	struct fetch *f = ctx;
	(void)token;
	if (f->phase == FETCH_OVER)
		return;
	fetch_pace_round_trip(&f->pace, mono_since_ms(fetch_now(), f->subscribed_at));
	for (size_t i = 0; i < count; i++) {
		if (reasons[i] >= 128) {
			fetch_broker_failed(f, "the broker refuses a subscription");
			return;
		}
	}
}

static void on_turn(void *ctx)
{
	struct fetch *f = ctx;
	fetch_objects_pump(f);
}

static void on_turn_begin(void *ctx)
{
	(void)ctx;
}

static void fetch_connect(struct fetch *f)
{
	static const struct link_events events = {
		.up = on_up, .down = on_down, .message = on_message, .subscribed = on_subscribed};
	struct link_address addresses[2];
	size_t count = 0;
	if (f->medium != NULL) {
		fetch_is_up(f);
		return;
	}
	if (f->host[0] != '\0')
		addresses[count++] = (struct link_address){
			.host = f->host, .port = f->port, .via = LINK_VIA_NAME};
	if (f->ip[0] != '\0')
		addresses[count++] =
			(struct link_address){.host = f->ip, .port = f->port, .via = LINK_VIA_IP};
	struct link_config config = {
		.client_id = f->config->client_id,
		.addresses = addresses,
		.address_count = count,
		.tls = f->tls,
		.ca_file = f->config->ca_file,
		.cert_file = f->config->cert_file,
		.key_file = f->config->key_file,
		.keepalive_s = KEEPALIVE_S,
		.receive_maximum = fetch_receive_maximum(f->window),
		.connect_timeout_s = f->config->connect_timeout_s,
		.backoff_min_ms = RELINK_FIRST_MS,
		.backoff_max_ms = 4 * RELINK_FIRST_MS,
		.outstanding_max = 1,
		.outbox_max = 4,
		.inbox_messages = 1024,
		.inbox_bytes = (size_t)f->config->window_bytes + INBOX_SPARE,
		.once = true,
	};
	if (count == 0 || link_new(f->owner->loop, &config, &events, f, &f->link) != ERR_OK) {
		fetch_broker_failed(f, count == 0 ? "the grant names no address" : err_text());
		return;
	}
	link_set_turn(f->link, FETCH_WINDOW_MAX, on_turn_begin, on_turn);
}

static void on_timer(uv_timer_t *timer)
{
	struct fetch *f = timer->data;
	if (f->phase == FETCH_OVER)
		return;
	if (f->timer_for == TIMER_RELINK) {
		if (f->link != NULL)
			link_close(f->link, false);
		f->link = NULL;
		fetch_connect(f);
	} else if (f->phase == FETCH_OBJECTS) {
		fetch_objects_pump(f);
	} else {
		singles_timeout(f);
	}
}

// ---- the workers

static void on_pool_idle(void *ctx)
{
	struct fetch *f = ctx;
	if (f->phase == FETCH_OVER)
		fetch_released(f);
	else
		fetch_objects_drain(f);
}

static void on_told(uv_async_t *told)
{
	struct fetcher *o = told->data;
	if (o->now != NULL)
		fetch_objects_drain(o->now);
}

// ---- orders

static enum err order_medium(struct fetch *f, const char *dir)
{
	f->medium = calloc(1, sizeof *f->medium);
	if (f->medium == NULL)
		return err_set(ERR_MEMORY, "no memory to read a medium");
	buf_init(&f->medium->bytes, LIMIT_OBJECT);
	return str_copy(f->medium->dir, sizeof f->medium->dir, dir) &&
			       str_copy(f->broker, sizeof f->broker, "medium")
		       ? ERR_OK
		       : err_set(ERR_RANGE, "the path of the medium is too long");
}

static enum err order_copy(struct fetch *f, const struct fetch_order *order)
{
	const struct grant *g = order->grant;
	f->package = order->package->package;
	f->kind = order->package->kind;
	f->activate = order->package->activate && order->package->activate_unix_ms == 0;
	f->floor = order->floor;
	f->base = g->index_base;
	f->publisher_key = g->publisher_key;
	f->window = g->window == 0 ? WINDOW_DEFAULT : g->window;
	f->window_bytes = f->config->window_bytes;
	if (g->window_bytes != 0 && g->window_bytes < f->window_bytes)
		f->window_bytes = g->window_bytes;
	if (!str_copy(f->publisher, sizeof f->publisher, g->publisher))
		return err_set(ERR_RANGE, "the name of the publisher is too long");
	if (order->medium != NULL)
		return order_medium(f, order->medium);
	f->port = (uint16_t)g->from->port;
	f->tls = g->from->tls && f->config->tls;
	if (g->from->tls != f->config->tls)
		return err_set(ERR_DENIED, "the broker and the settings do not agree on TLS");
	if (!str_copy(f->host, sizeof f->host, g->from->host) ||
		!str_copy(f->ip, sizeof f->ip, g->from->ip) ||
		!str_copy(f->broker, sizeof f->broker, g->from->broker_id))
		return err_set(ERR_RANGE, "the address of the broker is too long");
	return ERR_OK;
}

static enum err fetch_init(struct fetcher *o, const struct fetch_order *order, struct fetch *f)
{
	f->owner = o;
	f->config = &o->config;
	f->begun = fetch_now();
	arena_init(&f->head_arena, HEAD_ARENA, ARENA_COUNT);
	arena_init(&f->page_arena, PAGE_ARENA, ARENA_COUNT);
	buf_init(&f->envelope, LIMIT_ENVELOPE);
	for (size_t i = 0; i < FETCH_SINGLES; i++)
		buf_init(&f->singles[i].bytes, LIMIT_INDEX_PAGE + LIMIT_PAGE);
	TRY(order_copy(f, order));
	TRY(fetch_memory_reserve((size_t)o->config.window_bytes));
	TRY(object_decoder_new(&f->decoder));
	TRY(fetch_pool_init(&f->pool, o->loop, &o->told, on_pool_idle, f));
	fetch_pace_init(&f->pace, f->window, f->window_bytes, order->rate_bytes_per_s, f->begun);
	f->pace.hold = order->hold;
	return ERR_OK;
}

void fetcher_begin(struct fetcher *o, const struct fetch_order *order)
{
	fetcher_stop(o);
	struct fetch *f = calloc(1, sizeof *f);
	enum err e =
		f != NULL ? fetch_init(o, order, f) : err_set(ERR_MEMORY, "no memory for a fetch");
	if (e == ERR_OK && uv_timer_init(o->loop, &f->timer) != 0)
		e = err_set(ERR_IO, "no timer for a fetch");
	if (e != ERR_OK) {
		char why[256];
		if (!str_copy(why, sizeof why, err_text()))
			why[0] = '\0';
		if (f != NULL)
			fetch_free(f);
		o->events.broker_failed(o->ctx, why);
		return;
	}
	f->timer.data = f;
	log_info("FETCH", "package=%s broker=%s window_bytes=%llu rate=%llu",
		digest_short(&f->package), f->broker, (unsigned long long)f->window_bytes,
		(unsigned long long)order->rate_bytes_per_s);
	if (o->draining != NULL)
		o->waiting = f;
	else
		fetch_start(f);
}

void fetcher_pace(struct fetcher *o, uint64_t rate_bytes_per_s, bool hold)
{
	struct fetch *f = o->now != NULL ? o->now : o->waiting;
	if (f == NULL)
		return;
	fetch_pace_set(&f->pace, rate_bytes_per_s, hold, fetch_now());
	if (f == o->now)
		fetch_objects_pump(f);
}

static void on_waiting_closed(uv_handle_t *handle)
{
	fetch_free(handle->data);
}

static void waiting_drop(struct fetcher *o)
{
	struct fetch *f = o->waiting;
	if (f == NULL)
		return;
	o->waiting = NULL;
	uv_close((uv_handle_t *)&f->timer, on_waiting_closed);
}

void fetcher_stop(struct fetcher *o)
{
	waiting_drop(o);
	struct fetch *f = o->now;
	if (f == NULL)
		return;
	f->phase = FETCH_OVER;
	fetch_released(f);
}

uint64_t fetcher_looked_bytes(const struct fetcher *o)
{
	const struct fetch *f = o->now;
	bool looks = f != NULL && (f->phase == FETCH_STAGE || f->phase == FETCH_PLAN);
	return looks ? atomic_load(&f->look.bytes) : 0;
}

bool fetcher_is_idle(const struct fetcher *o)
{
	return o->now == NULL && o->draining == NULL && o->waiting == NULL;
}

enum err fetcher_new(uv_loop_t *loop, const struct fetcher_config *config,
	const struct fetcher_events *events, void *ctx, struct fetcher **out)
{
	struct fetcher *o = calloc(1, sizeof *o);
	if (o == NULL)
		return err_set(ERR_MEMORY, "no memory for the fetcher");
	if (uv_async_init(loop, &o->told, on_told) != 0) {
		free(o);
		return err_set(ERR_IO, "no wake-up for the fetcher");
	}
	uv_unref((uv_handle_t *)&o->told);
	o->told.data = o;
	o->loop = loop;
	o->config = *config;
	o->events = *events;
	o->ctx = ctx;
	*out = o;
	return ERR_OK;
}

void fetcher_free(struct fetcher *o)
{
	o->closing = true;
	fetcher_stop(o);
	owner_free_if_done(o);
}
